"""Validation of labels: one class or cluster for each sample."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.utils.multiclass import type_of_target


def validate_labels(labels: Any, name: str) -> tuple[np.ndarray, bool]:
    """Number the classes or clusters of samples.

    Parameters
    ----------
    labels : array-like of shape (n_samples,) or (n_samples, 1)
        Labels of any type that can be sorted.
    name : str
        Name of the parameter, for errors.

    Returns
    -------
    codes : ndarray of int of shape (n_samples,)
        Position of each sample's label among the sorted labels.
    is_continuous : bool
        Whether labels are numbers with fractions, as measured values are.

    Raises
    ------
    ValueError
        If there is not one label for each of at least one sample, or one is missing
        (NaN, None or masked), infinite or complex, or types are mixed.
    """
    if labels is None:
        raise ValueError(f"{name} is None; give one label for each sample")
    try:
        values = np.ma.asarray(labels) if np.ma.isMA(labels) else np.asarray(labels)
        if isinstance(labels, list | tuple) and values.dtype.kind in "US":
            values = np.array(labels, dtype=object)  # NaN would be the text 'nan'
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} is no array of labels: {error}") from error
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"{name} has shape {values.shape}; it should be a 1d array, with one label "
            "for each sample"
        )
    if len(values) == 0:
        raise ValueError(f"{name} has 0 samples; a score needs at least 1")
    if values.dtype.kind in "cV":
        raise ValueError(f"{name} holds {values.dtype}; labels are no such values")
    missing = np.flatnonzero(_is_missing(values))
    if missing.size:
        raise ValueError(
            f"{name}: sample {missing[0]} has no label ({values[missing[0]]}; "
            f"{missing.size} of {len(values)} samples have none): leave such samples "
            "out"
        )
    values = np.asarray(values)
    try:
        codes = np.unique(values, return_inverse=True)[1]
    except TypeError as error:
        raise ValueError(
            f"{name} mixes labels of several types; give all as text, or all as numbers"
        ) from error
    is_float = values.dtype.kind == "f"
    return codes, bool(is_float and type_of_target(values) == "continuous")


def _is_missing(values: np.ndarray) -> np.ndarray:
    if np.ma.is_masked(values):
        return np.ma.getmaskarray(values)
    if values.dtype.kind == "f":
        return ~np.isfinite(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind != "O":
        return np.zeros(len(values), bool)
    return np.array([_is_no_label(value) for value in values.tolist()])


def _is_no_label(value: Any) -> bool:
    if isinstance(value, float | np.floating):
        return not np.isfinite(value)
    # pandas.NA is equal to nothing, and has no truth value
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def warn_of_measured_values(**are_continuous: bool) -> None:
    """Warn where labels are measured values, as scikit-learn's scores do.

    Parameters
    ----------
    **are_continuous : bool
        By name of the parameter, whether its labels are numbers with fractions.

    Warns
    -----
    UserWarning
        If any is.
    """
    measured = [name for name, is_so in are_continuous.items() if is_so]
    if measured:
        warnings.warn(
            f"Clustering metrics expects discrete values but received continuous "
            f"values for {' and '.join(measured)}: every value counts as a class",
            UserWarning,
            stacklevel=4,
        )
