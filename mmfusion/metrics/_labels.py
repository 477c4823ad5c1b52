"""Validation of labels: one class or cluster for each sample."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import type_of_target

from mmfusion._blocks import as_plain


def validate_labels(labels: Any, name: str) -> np.ndarray:
    """Check the classes or clusters of samples.

    Parameters
    ----------
    labels : array-like of shape (n_samples,) or (n_samples, 1)
        Labels of any type that can be sorted.
    name : str
        Name of the parameter, for errors.

    Returns
    -------
    ndarray of shape (n_samples,)
        The labels.

    Raises
    ------
    TypeError
        If it is a sparse matrix.
    ValueError
        If there is not one label for each of at least one sample, or one is missing
        (NaN, None or masked), infinite or complex, or types are mixed.
    """
    if labels is None:
        raise ValueError(f"{name} is None; give one label for each sample")
    if sparse.issparse(labels):
        raise TypeError(f"{name} is a sparse matrix; give a 1d array")
    try:
        values = np.asarray(as_plain(labels, name))
        if isinstance(labels, list | tuple) and values.dtype.kind in "US":
            values = np.array(labels, dtype=object)  # NaN would be the text 'nan'
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name} is no array of labels: {error}") from error
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"{name} has shape {values.shape}; it should be a 1d array, with one label "
            "for each sample"
        )
    if len(values) == 0:
        raise ValueError(f"{name} has 0 samples; at least 1 is needed")
    if values.dtype.kind in "cV":
        raise ValueError(f"{name} holds {values.dtype}; labels are no such values")
    missing = np.flatnonzero(_is_missing(values))
    if missing.size:
        raise ValueError(
            f"{name}: sample {missing[0]} has no label ({values[missing[0]]}; "
            f"{missing.size} of {len(values)} samples have none): leave such samples "
            "out"
        )
    if values.dtype.kind == "O":
        try:
            np.unique(values)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name} holds labels of types that cannot be sorted ({error}); give "
                "all as text, or all as numbers"
            ) from error
    return values


def _is_missing(values: np.ndarray) -> np.ndarray:
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


def warn_of_measured_values(**labels: np.ndarray) -> None:
    """Warn of labels that are numbers with fractions, as scikit-learn's scores do.

    Parameters
    ----------
    **labels : ndarray of shape (n_samples,)
        Checked labels, by name of the parameter.

    Warns
    -----
    UserWarning
        If any are such numbers.
    """
    measured = [
        name
        for name, values in labels.items()
        if values.dtype.kind == "f" and type_of_target(values) == "continuous"
    ]
    if measured:
        warnings.warn(
            f"Clustering metrics expects discrete values but received continuous "
            f"values for {' and '.join(measured)}: every value counts as a class",
            UserWarning,
            stacklevel=4,
        )
