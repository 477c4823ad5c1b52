"""Checks of the Gram matrix of the training samples."""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse
from sklearn.utils import gen_batches

from mmfusion._blocks import Block
from mmfusion._infinite_cells import first_infinite_cell
from mmfusion._warnings import warn_user

EIGENVALUE_SAMPLES = 200  # a submatrix that is indefinite proves that the whole is
ROUNDED_EIGENVALUE = 1e-5  # negative eigenvalue over the norm, due to rounding
ROUNDED_ASYMMETRY = 1e-5  # difference over the largest value, due to rounding
SYMMETRY_TILE_ROWS = 256
PROBE_SHARE = 1e-3  # of a difference that counts, from which on pairs are compared
PROBE_BATCH_CELLS = 2**16  # values that stay in the processor's cache


def check_training_kernel(
    K: np.ndarray,
    name: str,
    *,
    shares: np.ndarray | None = None,
    samples: np.ndarray | None = None,
) -> np.ndarray:
    """Check that a matrix is a kernel of the training samples, and compute its means.

    The matrix is read once: it is symmetric if its products with a random vector from
    both sides are equal. Pairs are compared only where these differ.

    Parameters
    ----------
    K : ndarray of shape (n_train, n_train)
        Kernel of the training samples.
    name : str
        Name of the modality.
    shares : ndarray of shape (n_train,), default=None
        Weights of the samples in means, which add up to 1; None is equal ones.
    samples : ndarray of int of shape (n_train,), default=None
        Their positions among all samples, for errors; None is all.

    Returns
    -------
    ndarray of float64 of shape (n_train,)
        Mean kernel value of each sample with all of them.

    Raises
    ------
    ValueError
        If it is not square, not finite, or not symmetric.

    Warns
    -----
    UserWarning
        If it is not positive semi-definite on at most 200 samples.
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
    samples = np.arange(len(K)) if samples is None else samples
    # overflows are found by the exact checks
    with np.errstate(over="ignore", invalid="ignore"):
        means, asymmetry = _probe(K, shares)
    if not np.isfinite(means).all():
        _refuse_infinite(K, name, samples)
    doubt = PROBE_SHARE * ROUNDED_ASYMMETRY * float(np.abs(K.diagonal()).max(initial=0))
    if not asymmetry <= doubt:
        _check_symmetric(K, name, samples)
    _warn_if_indefinite(K, name)
    return means


def _probe(K: np.ndarray, shares: np.ndarray | None) -> tuple[np.ndarray, float]:
    """Compute means of rows, and the largest entry of ``(K - K')r`` with a random r.

    If one pair of values differs by d, two entries are random of deviation d or more:
    both are below a thousandth of it in one of a million cases.
    """
    n_samples = len(K)
    shares = np.full(n_samples, 1 / n_samples) if shares is None else shares
    direction = np.random.RandomState(0).normal(size=n_samples)
    means, products = np.empty(n_samples), np.empty(n_samples)
    products_of_columns = np.zeros(n_samples)
    # the transposed matrix of a symmetric one is itself, and has contiguous rows
    K = K.T if K.flags.f_contiguous else K
    for rows in gen_batches(n_samples, max(1, PROBE_BATCH_CELLS // n_samples)):
        part = K[rows].astype(np.float64, copy=False)
        means[rows] = part @ shares
        products[rows] = part @ direction
        products_of_columns += direction[rows] @ part
    return means, float(np.abs(products - products_of_columns).max(initial=0))


def _refuse_infinite(K: np.ndarray, name: str, samples: np.ndarray) -> None:
    cell = first_infinite_cell(K, np.ones(len(K), dtype=bool), nan_too=True)
    if cell is None:
        return
    i, j = samples[cell[0]], samples[cell[1]]
    raise ValueError(
        f"modality {name!r}: the kernel is {cell[2]} for samples {i} and {j}; compute "
        "it again so that it is finite. A sample that lacks the modality has NaN in "
        "its whole row"
    )


def _check_symmetric(K: np.ndarray, name: str, samples: np.ndarray) -> None:
    largest = max(abs(float(K.max(initial=0.0))), abs(float(K.min(initial=0.0))))
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
                f"{K[i, j]:.6g} for samples {samples[i]} and {samples[j]}, but "
                f"{K[j, i]:.6g} for {samples[j]} and {samples[i]}. Give (K + K.T) / 2 "
                "if both are meant to be the same"
            )


def _warn_if_indefinite(K: np.ndarray, name: str) -> None:
    # a slice is read several times faster than rows and columns by position
    drawn = slice(None, None, -(-len(K) // EIGENVALUE_SAMPLES))
    submatrix = K[drawn, drawn].astype(np.float64, order="C")
    n_checked = len(submatrix)
    largest = float(np.abs(submatrix).max(initial=0)) or 1.0
    submatrix /= largest
    shift = ROUNDED_EIGENVALUE * float(np.linalg.norm(submatrix))
    shift += np.finfo(np.float64).tiny
    shifted = submatrix.copy()
    shifted.flat[:: n_checked + 1] += shift
    try:
        # fails if an eigenvalue is below -shift, and is cheaper than eigenvalues
        np.linalg.cholesky(shifted)
    except np.linalg.LinAlgError:
        least = linalg.eigvalsh(submatrix, subset_by_index=[0, 0])[0] * largest
        warn_user(
            f"modality {name!r}: the kernel is not positive semi-definite: its least "
            f"eigenvalue is {least:.3g}, its largest value {largest:.3g}, on "
            f"{n_checked} samples. Solutions may not be optimal; adding {-least:.3g} "
            "to the diagonal corrects it, and for sequences "
            "kernel='global_alignment' of DTWKernel is definite",
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
