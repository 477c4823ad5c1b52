"""Which cells a modality's own estimator takes: NaN, text and categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags


@dataclass(frozen=True)
class AcceptedCells:
    """What an estimator takes beside finite numbers.

    Parameters
    ----------
    nan : bool
        Whether single cells may be NaN.
    text : bool
        Whether cells may be text, categories or other objects.
    """

    nan: bool
    text: bool


def accepted_cells(estimator: Any) -> AcceptedCells:
    """Return which cells an estimator takes beside finite numbers.

    The tags of scikit-learn answer for an estimator alone; those of a Pipeline and of
    a search do not, so that their first step, or what they search over, is asked.

    Parameters
    ----------
    estimator : estimator
        What a modality is handed to.

    Returns
    -------
    AcceptedCells
        What it takes.
    """
    first = _first_step(estimator)
    if isinstance(first, ColumnTransformer):  # each of its columns has its own step
        return AcceptedCells(nan=True, text=True)
    if not hasattr(first, "__sklearn_tags__"):
        return AcceptedCells(nan=False, text=False)
    tags = get_tags(first)
    if tags.no_validation:
        return AcceptedCells(nan=True, text=True)
    inputs = tags.input_tags
    return AcceptedCells(inputs.allow_nan, inputs.string or inputs.categorical)


def _first_step(estimator: Any) -> Any:
    """Return the estimator that sees the data first."""
    while True:
        if isinstance(estimator, Pipeline):
            steps = [step for _, step in estimator.steps]
            real = [s for s in steps if s is not None and not isinstance(s, str)]
            if not real:
                return None
            estimator = real[0]
        elif hasattr(estimator, "estimator") and hasattr(estimator, "get_params"):
            estimator = estimator.estimator  # of a search, a calibration, an ensemble
        else:
            return estimator
