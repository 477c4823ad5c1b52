"""Folds whose held-out predictions are learned from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import PredefinedSplit, check_cv

from mmfusion._blocks import of_samples
from mmfusion._options import errors_about
from mmfusion.modalities import Modalities

Folds = list[tuple[np.ndarray, np.ndarray]]

DEFAULT_N_SPLITS = 5  # what scikit-learn takes for cv=None


def split_samples(
    cv: Any,
    frame: Modalities,
    y: np.ndarray,
    params: Mapping[str, Any],
    counted: np.ndarray,
    *,
    is_classifier: bool,
) -> Folds:
    """Split the samples that count into training and test samples.

    Parameters
    ----------
    cv : int, cross-validation generator, iterable or None
        How to split; as scikit-learn takes it.
    frame : Modalities
        All samples.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        What to predict.
    params : dict
        Metadata for the splitter, such as groups.
    counted : ndarray of bool of shape (n_samples,)
        Samples whose weight is not 0.
    is_classifier : bool
        Whether an integer means stratified folds.

    Returns
    -------
    list of tuple of ndarray
        Positions of training and test samples among those that count. Empty where
        every class has one sample, so that none can be held out.

    Raises
    ------
    ValueError
        If a position is no sample, or no sample is held out.
    """
    by_position = isinstance(cv, PredefinedSplit) or (
        cv is not None and not isinstance(cv, Integral) and not hasattr(cv, "split")
    )
    if by_position:  # of all samples
        splits = checked_folds(check_cv(cv), len(y), frame, y, **params)
        place = np.cumsum(counted) - 1
        folds = [
            (place[train[counted[train]]], place[test[counted[test]]])
            for train, test in splits
        ]
    else:
        if not counted.all():
            frame, y = frame[counted], y[counted]
            params = {key: of_samples(value, counted) for key, value in params.items()}
        if is_classifier and (cv is None or isinstance(cv, Integral)):
            cv = _at_most_members(DEFAULT_N_SPLITS if cv is None else int(cv), y)
            if cv < 2:
                return []
        splitter = check_cv(cv, y, classifier=is_classifier)
        folds = checked_folds(splitter, len(y), frame, y, **params)
    folds = [(train, test) for train, test in folds if len(train) and len(test)]
    if not folds:
        raise ValueError(
            f"cv={cv!r} gives no fold with training and test samples; give a number "
            "of folds, or a splitter or list that does (a generator is used up once)"
        )
    return folds


def _at_most_members(n_splits: int, y: np.ndarray) -> int:
    """Bound a number of stratified folds by the size of the largest class."""
    largest = int(np.unique(y, return_counts=True)[1].max())
    if largest >= n_splits:
        return n_splits
    made = f"{largest} folds are made" if largest > 1 else "no sample is held out"
    warnings.warn(
        f"cv={n_splits}, but no class has more than {largest} sample(s): {made}",
        UserWarning,
        stacklevel=5,
    )
    return largest


def checked_folds(splitter: Any, n_samples: int, *data: Any, **params: Any) -> Folds:
    """Split samples by a splitter, and check the folds.

    Parameters
    ----------
    splitter : cross-validation generator
        As from `check_cv`.
    n_samples : int
        Number of samples.
    *data : object
        What the splitter gets: X and y.
    **params : dict
        Metadata for the splitter, such as groups.

    Returns
    -------
    list of tuple of ndarray
        Positions of training and test samples.

    Raises
    ------
    ValueError
        If a fold is no such pair, or a position is no sample.
    """
    folds = []
    with errors_about("cv"):
        splits = list(splitter.split(*data, **params))
    for number, split in enumerate(splits):
        try:
            train, test = split
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"fold {number} of cv is a {type(split).__name__}, not a pair of "
                "positions of training and of test samples"
            ) from error
        folds.append(
            (_positions(train, number, n_samples), _positions(test, number, n_samples))
        )
    return folds


def _positions(rows: Any, fold: int, n_samples: int) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.dtype == bool and rows.shape == (n_samples,):
        return np.flatnonzero(rows)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ValueError(
            f"fold {fold} of cv holds {rows.dtype} of shape {rows.shape}; it needs "
            "positions of training and of test samples"
        )
    rows = rows.astype(np.intp)
    if rows.size and (rows.min() < -n_samples or rows.max() >= n_samples):
        raise ValueError(
            f"fold {fold} of cv has the position {rows[np.argmax(np.abs(rows))]}, but "
            f"there are {n_samples} samples"
        )
    return rows % n_samples
