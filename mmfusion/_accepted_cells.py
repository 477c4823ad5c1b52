"""Cells that the estimator of a modality accepts: NaN, text and categories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags


@dataclass(frozen=True)
class AcceptedCells:
    """Kinds of cells that an estimator accepts in addition to finite numbers.

    Parameters
    ----------
    nan : bool
        Whether cells may be NaN.
    text : bool
        Whether cells may be text, categories or other objects.
    """

    nan: bool
    text: bool


def accepted_cells(estimator: object) -> AcceptedCells:
    """Return the kinds of cells that an estimator accepts.

    They are read from the tags of scikit-learn. Those of a Pipeline or of a search do
    not describe the input of its first step or inner estimator, whose own are read.

    Parameters
    ----------
    estimator : estimator
        Estimator that receives the block of a modality.

    Returns
    -------
    AcceptedCells
        Accepted kinds of cells.
    """
    first = first_step(estimator)
    if isinstance(first, ColumnTransformer):  # its columns go to different estimators
        return AcceptedCells(nan=True, text=True)
    # without tags, as in third-party estimators, the strictest input is assumed
    if not hasattr(first, "__sklearn_tags__"):
        return AcceptedCells(nan=False, text=False)
    tags = get_tags(first)
    if tags.no_validation:
        return AcceptedCells(nan=True, text=True)
    inputs = tags.input_tags
    return AcceptedCells(inputs.allow_nan, inputs.string or inputs.categorical)


def first_step(estimator: Any) -> Any:
    """Return the inner estimator that receives the data first."""
    *_, first = receivers(estimator)
    return first


def receivers(estimator: Any) -> Iterator[Any]:
    """Iterate over an estimator, and those within it that receive its data first.

    Parameters
    ----------
    estimator : estimator
        Any estimator, such as a search of a Pipeline.

    Yields
    ------
    estimator or None
        The estimator, then one within another; None for a Pipeline without steps.
    """
    while True:
        yield estimator
        if isinstance(estimator, Pipeline):
            steps = [step for _, step in estimator.steps]
            real = [s for s in steps if s is not None and not isinstance(s, str)]
            if not real:
                yield None
                return
            estimator = real[0]
        elif hasattr(estimator, "estimator") and hasattr(estimator, "get_params"):
            estimator = estimator.estimator  # of a search, a calibration, an ensemble
        else:
            return
