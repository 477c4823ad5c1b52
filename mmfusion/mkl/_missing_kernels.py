"""Kernel values and features of samples that lack modalities."""

from __future__ import annotations

from os import PathLike

import numpy as np

from mmfusion.mkl._kernel_files import allocate_gram


def missing_factors(observed: np.ndarray) -> np.ndarray | None:
    """Compute the factors that give incomplete samples the norm of complete ones.

    Parameters
    ----------
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Modalities that each sample has.

    Returns
    -------
    ndarray of shape (n_samples,) or None
        ``sqrt(n_modalities / n_observed)``; None if no modality is missing.
    """
    if observed.all():
        return None
    return np.sqrt(observed.shape[1] / np.maximum(observed.sum(axis=1), 1))


def fill_missing(
    values: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray | None,
    row_factors: np.ndarray | None,
    column_factors: np.ndarray | None,
    folder: str | PathLike[str] | None = None,
) -> np.ndarray:
    """Multiply the values of observed samples by factors; those of others are 0.

    Parameters
    ----------
    values : ndarray of shape (n_observed, n_observed_columns)
        Kernel or features of the samples that have the modality; it may be overwritten.
    rows : ndarray of bool of shape (n,)
        Samples that have the modality.
    columns : ndarray of bool of shape (n_train,) or None
        Training samples that have it; None if columns are features.
    row_factors : ndarray of shape (n,) or None
        Factors of the rows, by `missing_factors`.
    column_factors : ndarray of shape (n_train,) or None
        Factors of the columns.
    folder : str or path-like, default=None
        Folder of the file that holds the result, as for `allocate_gram`.

    Returns
    -------
    ndarray of shape (n, n_train) or (n, n_components)
        Values of all samples.
    """
    # factors in the dtype of the values, so that float32 stays float32
    if row_factors is not None:
        values *= row_factors[rows, None].astype(values.dtype)
    if column_factors is not None and columns is not None:
        values *= column_factors[columns].astype(values.dtype)
    if rows.all() and (columns is None or columns.all()):
        return values
    width = values.shape[1] if columns is None else len(columns)
    filled = allocate_gram((len(rows), width), values.dtype, folder)
    if columns is None:
        filled[rows] = values
    else:
        filled[np.ix_(rows, columns)] = values
    return filled
