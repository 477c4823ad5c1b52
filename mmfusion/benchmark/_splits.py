"""Training and test samples of every repeat, the same for all methods."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)
from sklearn.utils import check_consistent_length

from mmfusion._numbers import is_integer
from mmfusion._options import errors_about
from mmfusion._typing import CrossValidationLike
from mmfusion.benchmark._cells import Dataset, Split
from mmfusion.benchmark._tasks import CLASSIFICATION
from mmfusion.fusion._folds import checked_folds

DEFAULT_N_FOLDS = 5


def groups_by_dataset(
    groups: ArrayLike | Mapping[str, ArrayLike] | None, names: list[str]
) -> dict[str, Any]:
    """Return the groups of the samples of each data set, None where there are none."""
    if groups is None:
        return dict.fromkeys(names)
    if not isinstance(groups, Mapping) or issparse(groups):
        if len(names) > 1:
            raise ValueError(
                f"groups is one array, and there are the data sets {names}; give a "
                "dict of arrays by name"
            )
        return {names[0]: groups}
    unknown = [name for name in groups if name not in names]
    if unknown:
        raise ValueError(
            f"groups: {unknown[0]!r} is none of the data sets {names}; give its name"
        )
    return {name: groups.get(name) for name in names}


def make_splits(
    dataset: Dataset, cv: CrossValidationLike, groups: Any, seeds: list[int]
) -> list[list[Split]]:
    """Split the samples of a data set, by a seed for each repeat.

    Parameters
    ----------
    dataset : Dataset
        Data set of a classification or regression.
    cv : int, cross-validation generator, iterable or None
        Number of folds (5 for None), splitter or folds.
    groups : array-like of shape (n_samples,) or None
        Groups that are kept together.
    seeds : list of int
        Seed of each repeat, by which folds are shuffled.

    Returns
    -------
    list of list of Split
        Splits of every repeat.
    """
    if issparse(cv):  # scikit-learn would iterate over its rows
        raise TypeError("cv is a sparse matrix; give a number of folds or a splitter")
    with errors_about(f"data set {dataset.name!r}"):
        if groups is not None:
            check_consistent_length(dataset.X, groups)
        if cv is None or is_integer(cv):
            n_folds = DEFAULT_N_FOLDS if cv is None else int(cast(int, cv))
            splitter: Any = _folds(dataset, n_folds, grouped=groups is not None)
        else:
            with errors_about("cv"):
                splitter = check_cv(cv)
        numbers: dict[bytes, int] = {}
        repeats = []
        for seed in seeds:
            folds = checked_folds(
                _shuffled_by(splitter, seed),
                len(dataset.y),
                dataset.X,
                dataset.y,
                groups=groups,
            )
            if not folds:
                raise ValueError(f"cv={cv!r:.60} yields no fold; give 2 or more")
            splits = []
            for train, test in folds:
                _check_fold(train, test)
                key = train.tobytes() + b"|" + test.tobytes()
                number = numbers.setdefault(key, len(numbers))
                splits.append(Split(number, train, test))
            repeats.append(splits)
    return repeats


def make_subsamples(
    dataset: Dataset, share: float | None, seeds: list[int]
) -> list[list[Split | None]]:
    """Choose the samples of each repeat of a clustering, without their classes.

    Parameters
    ----------
    dataset : Dataset
        Data set of a clustering.
    share : float or None
        Share of the samples that is clustered; None is all of them.
    seeds : list of int
        Seed of each repeat.

    Returns
    -------
    list of list of Split or None
        One subsample for every repeat, whose test samples are those left out; or None.
    """
    if share is None:
        return [[None] for _ in seeds]
    n_samples = len(dataset.y)
    n_clustered = round(share * n_samples)
    if not 1 <= n_clustered < n_samples:
        raise ValueError(
            f"data set {dataset.name!r}: subsample={share!r} takes {n_clustered} of "
            f"{n_samples} samples; give a share that takes and leaves out at least one"
        )
    orders = [np.random.default_rng(seed).permutation(n_samples) for seed in seeds]
    return [
        [Split(repeat, order[:n_clustered], order[n_clustered:])]
        for repeat, order in enumerate(orders)
    ]


def _check_fold(train: np.ndarray, test: np.ndarray) -> None:
    if not (len(train) and len(test)):
        raise ValueError("a fold of cv has no training or no test samples")
    if len(np.intersect1d(train, test)):
        raise ValueError(
            "a fold of cv has samples that are both for training and for testing; "
            "scores on these would be of no use: give folds that are disjoint"
        )


def _folds(dataset: Dataset, n_folds: int, *, grouped: bool) -> Any:
    if n_folds < 2:
        raise ValueError(f"cv={n_folds}; give at least 2 folds, or a splitter")
    if dataset.task == CLASSIFICATION:
        kind = StratifiedGroupKFold if grouped else StratifiedKFold
    else:
        kind = GroupKFold if grouped else KFold
    return kind(n_folds, shuffle=True)


def _shuffled_by(splitter: Any, seed: int) -> Any:
    """Return a copy of a splitter that draws by this seed, if it draws at all."""
    if not hasattr(splitter, "random_state") or not getattr(splitter, "shuffle", True):
        return splitter
    seeded = copy.copy(splitter)
    seeded.random_state = seed
    return seeded
