"""Folds whose held-out predictions are learned from."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.model_selection import PredefinedSplit, check_cv

from mmfusion._blocks import of_samples
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
        splits = check_cv(cv).split(frame, y, **params)
        place = np.cumsum(counted) - 1
        folds = [
            (place[train[counted[train]]], place[test[counted[test]]])
            for train, test in _checked(splits, len(y))
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
        folds = _checked(splitter.split(frame, y, **params), len(y))
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


def _checked(splits: Iterable[Any], n_samples: int) -> Folds:
    folds = []
    for number, split in enumerate(splits):
        train, test = (_positions(rows, number, n_samples) for rows in split)
        folds.append((train, test))
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
