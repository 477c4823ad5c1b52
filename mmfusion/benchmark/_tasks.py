"""The three tasks of a comparison: clustering, classification and regression."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.utils import column_or_1d

CLUSTERING = "clustering"
CLASSIFICATION = "classification"
REGRESSION = "regression"
TASKS = (CLUSTERING, CLASSIFICATION, REGRESSION)


def check_task(task: object) -> None:
    """Raise unless this is the name of a task."""
    if not isinstance(task, str) or task not in TASKS:
        raise ValueError(f"task={task!r}; it must be one of {list(TASKS)}")


def task_of(method: str, estimator: object) -> str:
    """Return the task of an estimator; raise a TypeError if it has none.

    Parameters
    ----------
    method : str
        Name of the method, for the error.
    estimator : object
        The unfitted estimator.

    Returns
    -------
    str
        The task. What is neither a classifier nor a regressor, and has
        ``fit_predict``, is a clusterer.
    """
    if inspect.isclass(estimator):
        raise TypeError(
            f"methods: {method!r} is the class {estimator.__name__}; give an instance, "
            f"such as {estimator.__name__}()"
        )
    if not hasattr(estimator, "get_params"):
        raise TypeError(
            f"methods: {method!r} is a {type(estimator).__name__} without get_params; "
            "give a clusterer, a classifier or a regressor of scikit-learn's form"
        )
    if is_classifier(estimator):
        return CLASSIFICATION
    if is_regressor(estimator):
        return REGRESSION
    if not hasattr(estimator, "fit_predict"):
        raise TypeError(
            f"methods: {method!r} is a {type(estimator).__name__}, which is neither a "
            "classifier nor a regressor and has no fit_predict; give a clusterer, or a "
            "Pipeline that ends in a predictor"
        )
    return CLUSTERING


def common_task(methods: Iterable[Mapping[str, BaseEstimator]]) -> str:
    """Return the task that all methods have; raise if they have several."""
    first: tuple[str, str] | None = None
    for by_name in methods:
        for name, estimator in by_name.items():
            task = task_of(name, estimator)
            first = first or (name, task)
            if task != first[1]:
                raise ValueError(
                    f"methods: {first[0]!r} is for {first[1]} and {name!r} for {task}; "
                    "compare them in two calls"
                )
    if first is None:
        raise ValueError("there is nothing to compare: methods has no methods")
    return first[1]


def as_target(target: ArrayLike, task: str) -> np.ndarray:
    """Return a target as one class or value for each sample.

    Parameters
    ----------
    target : array-like of shape (n_samples,)
        The classes, or values for a regression.
    task : str
        The task.

    Returns
    -------
    ndarray of shape (n_samples,)
        Classes in their type, values as float64.
    """
    noun = "values" if task == REGRESSION else "classes"
    if isinstance(target, np.ma.MaskedArray) and np.ma.is_masked(target):
        raise ValueError(f"some of its {noun} are masked; leave these samples out")
    y = np.asarray(column_or_1d(target))
    if y.size == 0:
        raise ValueError("it has no samples")
    return _as_values(y) if task == REGRESSION else _as_classes(y)


def _as_values(y: np.ndarray) -> np.ndarray:
    try:
        values = np.asarray(y, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "its target is not numeric, and the methods are regressors; give numbers, "
            "or compare classifiers"
        ) from error
    if not np.isfinite(values).all():
        raise ValueError("its values are NaN or infinite; leave these samples out")
    return values


def _as_classes(y: np.ndarray) -> np.ndarray:
    if y.dtype.kind == "O":
        are_text = {isinstance(k, str) for k in y.tolist()}
        y = np.array(y.tolist())
        if len(are_text) > 1 or y.dtype.kind == "O":
            raise ValueError(
                "its classes are neither all text nor all numbers; give every sample "
                "a class, of one type"
            )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("its classes are NaN or infinite; give every sample a class")
    if y.dtype.kind == "f" and (y != np.floor(y)).any():
        raise ValueError(
            "its target holds measured values, not classes: they have decimals; "
            "compare regressors, or bin them, for example by numpy.digitize"
        )
    return y
