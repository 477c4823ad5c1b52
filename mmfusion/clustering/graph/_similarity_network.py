"""Similarity network fusion of all pairs of samples, in single precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from sklearn.metrics.pairwise import euclidean_distances

from mmfusion._typing import NumericBlock

SLAB_COLUMNS = 256  # of a dense product, whose operands then stay in the cache
DISTANCE_ROWS = 512  # whose distances are in double precision at a time
SMALLEST_BANDWIDTH = 1e-12  # relative to the largest distance
DIAGONAL = 0.5  # of a full kernel


def all_distances(block: NumericBlock) -> tuple[np.ndarray, float]:
    """Compute the Euclidean distances of all pairs, relative to the largest.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The samples.

    Returns
    -------
    distances : ndarray of float32 of shape (n_samples, n_samples)
        Distances; 0 throughout if all samples are equal.
    largest : float
        The largest distance, as whose multiples they are given.
    """
    n = block.shape[0]
    if isinstance(block, np.ndarray):
        # equal samples become zeros, whose distances have no rounding errors
        block = block - block[0]
    distances = np.empty((n, n), dtype=np.float32)
    blocks = [slice(a, a + DISTANCE_ROWS) for a in range(0, n, DISTANCE_ROWS)]
    unit = 0.0
    for rows in blocks:
        own = euclidean_distances(block[rows], block)
        largest = max(unit, float(own.max(initial=0.0)))
        if largest > unit:  # before single precision, in which they may overflow
            distances[: rows.start] *= np.float32(unit / largest)
            unit = largest
        distances[rows] = own / unit if unit > 0 else own
    np.fill_diagonal(distances, 0)
    return distances, unit


def nearest_distances(distances: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Return the distances of each sample to its nearest others, in ascending order.

    Parameters
    ----------
    distances : ndarray of shape (n_samples, n_samples)
        Distances of all pairs.
    n_neighbors : int
        Number of neighbours, cut to the number of other samples.

    Returns
    -------
    ndarray of float64 of shape (n_samples, n_neighbors)
        The distances; a sample is not its own neighbour.
    """
    k = min(n_neighbors, len(distances) - 1)
    nearest = np.partition(distances, k, axis=1)[:, : k + 1]
    return np.sort(nearest, axis=1)[:, 1:].astype(np.float64)


def scaled_exponential(
    distances: np.ndarray, scales_i: np.ndarray, scales_j: np.ndarray, mu: float
) -> np.ndarray:
    """Compute the similarities of pairs by their distances and mean distances.

    With the bandwidth ``e_ij = (m_i + m_j + d_ij) / 3`` of the mean distances m of a
    sample to its neighbours, it is the normal density of d_ij with standard deviation
    ``mu e_ij``.

    Parameters
    ----------
    distances : ndarray of float
        Distances d_ij.
    scales_i, scales_j : ndarray that broadcast to the shape of `distances`
        Mean distances m_i and m_j.
    mu : float
        Width of the kernel.

    Returns
    -------
    ndarray of the shape of `distances`
        Similarities, up to a common factor.
    """
    widths = scales_i + scales_j + distances
    largest = float(widths.max(initial=0.0))
    if largest == 0:
        return np.ones_like(distances)
    widths *= mu / 3
    np.maximum(widths, mu / 3 * SMALLEST_BANDWIDTH * largest, out=widths)
    # relative to the narrowest: a density has the unit of 1 / distance
    narrowest = widths.min()
    ratios = distances / widths
    np.square(ratios, out=ratios)
    ratios *= -0.5
    np.exp(ratios, out=ratios)
    ratios *= narrowest / widths
    return ratios


def full_kernel(similarities: np.ndarray) -> np.ndarray:
    """Normalise similarities to a full kernel P, in place (equation 2).

    ``P_ij = W_ij / (2 sum_{l != i} W_il)`` and ``P_ii = 1/2``, then the mean with the
    transpose. A row without similarities to others has the diagonal alone.

    Parameters
    ----------
    similarities : ndarray of shape (n_samples, n_samples)
        Nonnegative similarities W; they are overwritten.

    Returns
    -------
    ndarray of shape (n_samples, n_samples)
        The symmetric kernel.
    """
    np.fill_diagonal(similarities, 0)
    sums = 2 * similarities.sum(axis=1, dtype=np.float64)
    inverse = np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)
    similarities *= inverse[:, None].astype(similarities.dtype)
    _symmetrize(similarities)
    np.fill_diagonal(similarities, DIAGONAL)
    return similarities


def _symmetrize(matrix: np.ndarray) -> None:
    """Average a matrix and its transpose, in place, in blocks that fit the cache."""
    n = len(matrix)
    for a in range(0, n, SLAB_COLUMNS):
        for b in range(a, n, SLAB_COLUMNS):
            rows, columns = slice(a, a + SLAB_COLUMNS), slice(b, b + SLAB_COLUMNS)
            mean = (matrix[rows, columns] + matrix[columns, rows].T) * 0.5
            matrix[rows, columns] = mean
            matrix[columns, rows] = mean.T


def local_kernel(similarities: np.ndarray, n_neighbors: int) -> sparse.csr_array:
    """Keep the largest similarities of each row, and make the rows add up to 1.

    ``S_ij = W_ij / sum_{l in N_i} W_il`` for j among the neighbours N_i (equation 3),
    of which a sample is one itself.

    Parameters
    ----------
    similarities : ndarray of shape (n_samples, n_samples)
        Similarities W, of samples to themselves too.
    n_neighbors : int
        Number of neighbours, cut to the number of samples.

    Returns
    -------
    CSR matrix of shape (n_samples, n_samples)
        The local kernel.
    """
    n = len(similarities)
    k = min(n_neighbors, n)
    indices = np.argpartition(similarities, n - k, axis=1)[:, n - k :]
    values = np.take_along_axis(similarities, indices, axis=1)
    ends = np.arange(0, n * k + 1, k)
    local = sparse.csr_array((values.ravel(), indices.ravel(), ends), shape=(n, n))
    local.sort_indices()
    return rows_to_one(local)


def rows_to_one(matrix: sparse.csr_array) -> sparse.csr_array:
    """Divide the rows of a matrix by their sums, in place; empty ones stay empty."""
    sums = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
    inverse = np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)
    matrix.data *= np.repeat(inverse, np.diff(matrix.indptr)).astype(matrix.dtype)
    return matrix


def diffuse(
    similarities: Sequence[np.ndarray],
    observed: np.ndarray,
    n_neighbors: int,
    n_steps: int,
) -> np.ndarray:
    """Fuse similarities by diffusion; see `similarity_network_fusion`.

    Parameters
    ----------
    similarities : list of ndarray of shape (n_observed, n_observed)
        Similarities of the samples that have a modality; they are overwritten.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Which samples have which modality.
    n_neighbors : int
        Number of neighbours of the local kernels.
    n_steps : int
        Number of steps.

    Returns
    -------
    ndarray of shape (n_samples, n_samples)
        The fused kernel.
    """
    locals_ = [local_kernel(W, n_neighbors) for W in similarities]
    kernels = [full_kernel(W) for W in similarities]
    rows = [None if seen.all() else np.flatnonzero(seen) for seen in observed.T]
    for _ in range(n_steps if len(kernels) > 1 else 0):
        total, counts = _total(kernels, rows, observed)
        # all modalities step from the same total, so that their order does not count
        for v, (S, own) in enumerate(zip(locals_, rows, strict=True)):
            others = _mean_of_others(total, counts, kernels[v], own)
            kernels[v] = full_kernel(_diffused(S, others))
    total, counts = _total(kernels, rows, observed)
    total /= len(kernels) if counts is None else np.maximum(counts, 1)
    return full_kernel(total)


def _total(
    kernels: Sequence[np.ndarray],
    rows: Sequence[np.ndarray | None],
    observed: np.ndarray,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Add kernels; count the modalities of each pair, unless all samples have all."""
    n = len(observed)
    total = np.zeros((n, n), dtype=kernels[0].dtype)
    for P, own in zip(kernels, rows, strict=True):
        if own is None:
            total += P
        else:
            total[np.ix_(own, own)] += P
    if observed.all():
        return total, None
    seen = observed.astype(total.dtype)
    return total, seen @ seen.T


def _mean_of_others(
    total: np.ndarray,
    counts: np.ndarray | None,
    kernel: np.ndarray,
    own: np.ndarray | None,
) -> np.ndarray:
    """Return the mean kernel of the other modalities that both samples have.

    A pair that shares no other modality keeps its own entry.
    """
    if counts is None:
        mean = total - kernel
        mean /= round(float(total[0, 0] / DIAGONAL)) - 1
        return mean
    where = slice(None) if own is None else np.ix_(own, own)
    n_others = counts[where] - 1
    mean = (total[where] - kernel) / np.maximum(n_others, 1)
    return np.where(n_others > 0, mean, kernel)


def _diffused(local: sparse.csr_array, kernel: np.ndarray) -> np.ndarray:
    """Compute ``S M S'`` of a sparse S and a symmetric M, slab by slab."""
    n = len(kernel)
    half = np.empty_like(kernel)  # (S M)', a slab of rows at a time
    for a in range(0, n, SLAB_COLUMNS):
        slab = slice(a, a + SLAB_COLUMNS)
        half[slab] = (local @ np.ascontiguousarray(kernel[:, slab])).T
    result = np.empty_like(kernel)
    for a in range(0, n, SLAB_COLUMNS):
        slab = slice(a, a + SLAB_COLUMNS)
        result[:, slab] = local @ np.ascontiguousarray(half[:, slab])
    return result
