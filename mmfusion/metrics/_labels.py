"""Validation of labels: the class or cluster of each sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.utils.multiclass import type_of_target

from mmfusion._blocks import as_plain
from mmfusion._warnings import warn_user


def validate_labels(labels: ArrayLike | None, name: str) -> np.ndarray:
    """Check the classes or clusters of samples.

    Parameters
    ----------
    labels : array-like of shape (n_samples,) or (n_samples, 1)
        Labels of any sortable type.
    name : str
        Name of the parameter in errors.

    Returns
    -------
    ndarray of shape (n_samples,)
        The labels.

    Raises
    ------
    TypeError
        If `labels` is a sparse matrix.
    ValueError
        If the shape differs, there is no sample, a label is missing (NaN, None or
        masked), infinite or complex, or types are mixed.
    """
    if labels is None:
        raise ValueError(f"{name} is None; give one label for each sample")
    if sparse.issparse(labels):
        raise TypeError(f"{name} is a sparse matrix; give a 1d array")
    try:
        values = np.asarray(as_plain(labels, name))
        if isinstance(labels, list | tuple) and values.dtype.kind in "US":
            values = np.array(labels, dtype=object)  # else NaN becomes the text 'nan'
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name} is not an array of labels: {error}") from error
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
        raise ValueError(f"{name} holds {values.dtype}; give text or real numbers")
    missing = np.flatnonzero(_is_missing(values))
    if missing.size:
        raise ValueError(
            f"{name}: sample {missing[0]} has no label ({values[missing[0]]}; "
            f"{missing.size} of {len(values)} samples have none): remove such samples"
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
    """Return which labels are missing or infinite."""
    if values.dtype.kind == "f":
        return ~np.isfinite(values)
    if values.dtype.kind in "mM":
        return np.isnat(values)
    if values.dtype.kind != "O":
        return np.zeros(len(values), bool)
    return np.array([_is_no_label(value) for value in values.tolist()])


def _is_no_label(value: object) -> bool:
    if isinstance(value, float | np.floating):
        return not np.isfinite(value)
    # by name, since pandas.NA == pandas.NA has no truth value
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def warn_of_measured_values(**labels: np.ndarray) -> None:
    """Warn of labels that are not integers, as the scores of scikit-learn do.

    Parameters
    ----------
    **labels : ndarray of shape (n_samples,)
        Validated labels by name of the parameter.

    Warns
    -----
    UserWarning
        If labels are floats with fractions.
    """
    measured = [
        name
        for name, values in labels.items()
        if values.dtype.kind == "f" and type_of_target(values) == "continuous"
    ]
    if measured:
        warn_user(
            f"Clustering metrics expects discrete values but received continuous "
            f"values for {' and '.join(measured)}: every distinct value is a class",
        )
