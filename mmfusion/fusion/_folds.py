"""Folds of cross-validation, for held-out predictions."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import BaseCrossValidator, PredefinedSplit, check_cv

from mmfusion._blocks import of_samples
from mmfusion._options import errors_about
from mmfusion._typing import CrossValidationLike
from mmfusion._warnings import warn_user
from mmfusion.modalities import Modalities

Folds = list[tuple[np.ndarray, np.ndarray]]

DEFAULT_N_SPLITS = 5  # of scikit-learn for cv=None


def split_samples(
    cv: CrossValidationLike,
    frame: Modalities,
    y: np.ndarray,
    params: Mapping[str, Any],
    counted: np.ndarray,
    *,
    is_classifier: bool,
) -> Folds:
    """Split the samples of positive weight into training and test samples.

    Parameters
    ----------
    cv : int, cross-validation generator, iterable or None
        Number of folds, splitter or folds, as scikit-learn takes them.
    frame : Modalities
        All samples.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Classes or values.
    params : dict
        Metadata for the splitter, such as groups.
    counted : ndarray of bool of shape (n_samples,)
        Samples of positive weight.
    is_classifier : bool
        Whether an integer means stratified folds, unless y has several labels.

    Returns
    -------
    list of tuple of ndarray
        Positions of training and test samples among those of positive weight.
        Empty where every class has one sample, so that none can be held out.

    Raises
    ------
    ValueError
        If a position is out of range, or no fold has training and test samples.
    """
    by_position = isinstance(cv, PredefinedSplit) or (
        cv is not None and not isinstance(cv, Integral) and not hasattr(cv, "split")
    )
    if by_position:  # positions among all samples, not only those of positive weight
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
        # samples of several labels are not stratified
        is_stratified = is_classifier and y.ndim == 1
        if is_stratified and (cv is None or isinstance(cv, Integral)):
            cv = _at_most_members(DEFAULT_N_SPLITS if cv is None else int(cv), y)
            if cv < 2:
                return []
        splitter = check_cv(cv, y, classifier=is_classifier)
        try:
            folds = checked_folds(splitter, len(y), frame, y, **params)
        except ValueError as error:
            if not (is_classifier and y.ndim == 2 and "multilabel" in str(error)):
                raise
            raise ValueError(
                f"{error} Folds are not stratified by several labels: give KFold, "
                "GroupKFold, or folds of your own"
            ) from error
    folds = [(train, test) for train, test in folds if len(train) and len(test)]
    if not folds:
        raise ValueError(
            f"cv={cv!r} gives no fold with training and test samples; give a number "
            "of folds, or a splitter or list that does (a generator is used up once)"
        )
    return folds


def _at_most_members(n_splits: int, y: np.ndarray) -> int:
    """Limit a number of stratified folds to the size of the largest class."""
    largest = int(np.unique(y, return_counts=True)[1].max())
    if largest >= n_splits:
        return n_splits
    made = f"{largest} folds are made" if largest > 1 else "no sample is held out"
    warn_user(
        f"cv={n_splits}, but no class has more than {largest} sample(s): {made}",
    )
    return largest


def checked_folds(
    splitter: BaseCrossValidator, n_samples: int, *data: object, **params: Any
) -> Folds:
    """Split samples by a splitter, and check the folds.

    Parameters
    ----------
    splitter : cross-validation generator
        Splitter, as `check_cv` returns it.
    n_samples : int
        Number of samples.
    *data : object
        X and y for the splitter.
    **params : dict
        Metadata for the splitter, such as groups.

    Returns
    -------
    list of tuple of ndarray
        Positions of training and test samples.

    Raises
    ------
    ValueError
        If a fold is not a pair of positions, or a position is out of range.
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
            (
                _fold_positions(train, number, n_samples),
                _fold_positions(test, number, n_samples),
            )
        )
    return folds


def _fold_positions(rows: ArrayLike, fold: int, n_samples: int) -> np.ndarray:
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


def fold_by_splitter(
    cv: CrossValidationLike, frame: Modalities, y: np.ndarray, counted: np.ndarray
) -> np.ndarray:
    """Return the number of the fold in which each sample of a classifier is held out.

    Parameters
    ----------
    cv : cross-validation generator or iterable
        Splitter or folds.
    frame : Modalities
        All samples.
    y : ndarray of shape (n_samples,)
        Classes.
    counted : ndarray of bool of shape (n_samples,)
        Samples of positive weight.

    Returns
    -------
    ndarray of int of shape (n_counted,)
        Fold of each sample of positive weight; -1 if it is never held out.

    Raises
    ------
    ValueError
        If a sample is held out twice.
    """
    folds = np.full(int(counted.sum()), -1)
    splits = split_samples(cv, frame, y, {}, counted, is_classifier=True)
    for fold, (_, test) in enumerate(splits):
        if (folds[test] >= 0).any():
            raise ValueError(
                f"cv={cv!r} holds a sample out twice; give folds whose test sets do "
                "not overlap"
            )
        folds[test] = fold
    return folds
