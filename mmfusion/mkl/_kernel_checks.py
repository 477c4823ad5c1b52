"""Checks of the Gram matrix of the training samples."""

from __future__ import annotations

import warnings

import numpy as np
from scipy import linalg, sparse
from sklearn.utils import gen_batches

from mmfusion._blocks import Block

EIGENVALUE_SAMPLES = 500  # a submatrix that is indefinite proves that the whole is
ROUNDED_EIGENVALUE = 1e-5  # negative eigenvalue over the norm, due to rounding
ROUNDED_ASYMMETRY = 1e-5  # difference over the largest value, due to rounding
SYMMETRY_TILE_ROWS = 256


def check_training_kernel(K: np.ndarray, name: str) -> None:
    """Check that a matrix is a kernel of the training samples.

    Parameters
    ----------
    K : ndarray of shape (n_train, n_train)
        Kernel of the training samples.
    name : str
        Name of the modality.

    Raises
    ------
    ValueError
        If it is not square, or not symmetric.

    Warns
    -----
    UserWarning
        If it is not positive semi-definite on at most 500 samples.
    """
    if K.shape[0] != K.shape[1]:
        raise ValueError(
            f"modality {name!r}: a precomputed kernel has a row and a column for each "
            f"sample of fit; got {K.shape[0]} rows and {K.shape[1]} columns. A search "
            "or cross-validation splits the columns of one array only: give the "
            "kernels as an array of shape (n_samples, n_samples, n_kernels), or "
            "compute them in a Pipeline by a transformer such as ModalityKernels or "
            "DTWKernel"
        )
    largest = max(abs(float(K.max(initial=0.0))), abs(float(K.min(initial=0.0))))
    _check_symmetric(K, name, largest)
    _warn_if_indefinite(K, name, largest)


def _check_symmetric(K: np.ndarray, name: str, largest: float) -> None:
    # by tiles, because K - K.T would be another matrix of this size
    for rows in gen_batches(len(K), SYMMETRY_TILE_ROWS):
        for columns in gen_batches(rows.stop, SYMMETRY_TILE_ROWS):
            with np.errstate(over="ignore"):
                difference = np.abs(K[rows, columns] - K[columns, rows].T)
            if difference.max() <= ROUNDED_ASYMMETRY * largest:
                continue
            position = np.unravel_index(np.argmax(difference), difference.shape)
            i, j = int(position[0]) + rows.start, int(position[1]) + columns.start
            raise ValueError(
                f"modality {name!r}: the kernel is not symmetric: its value is "
                f"{K[i, j]:.6g} for samples {i} and {j}, but {K[j, i]:.6g} for {j} and "
                f"{i}. Give (K + K.T) / 2 if both are meant to be the same"
            )


def _warn_if_indefinite(K: np.ndarray, name: str, largest: float) -> None:
    n_checked = min(len(K), EIGENVALUE_SAMPLES)
    drawn = np.linspace(0, len(K) - 1, n_checked).astype(int)
    submatrix = K if len(drawn) == len(K) else K[np.ix_(drawn, drawn)]
    submatrix = submatrix / (largest or 1.0)
    shift = ROUNDED_EIGENVALUE * float(np.linalg.norm(submatrix))
    shift += np.finfo(submatrix.dtype).tiny
    try:
        # fails if an eigenvalue is below -shift, and is cheaper than eigenvalues
        linalg.cholesky(submatrix + shift * np.eye(len(submatrix)), check_finite=False)
    except linalg.LinAlgError:
        exact = submatrix.astype(np.float64)
        least = linalg.eigvalsh(exact, subset_by_index=[0, 0])[0]
        least *= largest
        warnings.warn(
            f"modality {name!r}: the kernel is not positive semi-definite: its least "
            f"eigenvalue is {least:.3g}, its largest value {largest:.3g}. Solutions "
            f"may not be optimal; adding {-least:.3g} to the diagonal corrects it, and "
            "for sequences kernel='global_alignment' of DTWKernel is definite",
            UserWarning,
            stacklevel=3,
        )


def observed_square(block: Block, observed: np.ndarray, name: str) -> np.ndarray:
    """Return the kernel of the samples that have the modality.

    Parameters
    ----------
    block : ndarray or sparse matrix of shape (n_observed, n_train)
        Rows of a precomputed kernel whose samples have the modality.
    observed : ndarray of bool of shape (n_train,)
        Samples that have the modality.
    name : str
        Name of the modality.

    Returns
    -------
    ndarray of shape (n_observed, n_observed)
        The square submatrix.

    Raises
    ------
    ValueError
        If the kernel has not a column for each sample.
    """
    if sparse.issparse(block):
        block = block.toarray()
    if block.shape[1] != len(observed):
        check_training_kernel(block, name)
        raise ValueError(
            f"modality {name!r}: a precomputed kernel of {len(observed)} samples has "
            f"as many columns; got {block.shape[1]}"
        )
    return block if observed.all() else block[:, observed]
