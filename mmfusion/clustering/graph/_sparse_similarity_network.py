"""Similarity network fusion that stores the largest similarities of each row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from mmfusion.clustering.graph._similarity_network import (
    DIAGONAL,
    rows_to_one,
    scaled_exponential,
)

ROW_BLOCK = 128  # of a product, before its largest entries are selected
MAX_DENSE_SAMPLES = 4096  # whose product S M takes 64 MiB in single precision
# time for an entry of a sparse product in units of that for one of a dense factor
SPARSE_ENTRY_COST = 16


def neighbor_similarities(
    distances: np.ndarray, indices: np.ndarray, n_neighbors: int, mu: float
) -> sparse.csr_array:
    """Compute the similarities of samples to their nearest ones and to themselves.

    Parameters
    ----------
    distances : ndarray of shape (n_samples, n_stored)
        Distances to the nearest samples, in ascending order.
    indices : ndarray of int of shape (n_samples, n_stored)
        Positions of the nearest samples.
    n_neighbors : int
        Number of neighbours whose mean distance is the scale of a sample.
    mu : float
        Width of the kernel.

    Returns
    -------
    CSR matrix of shape (n_samples, n_samples)
        Symmetric similarities: those that one of both samples stores.
    """
    n = len(distances)
    means = distances[:, :n_neighbors].mean(axis=1)
    own = np.arange(n)[:, None]
    indices = np.hstack([own, indices])
    distances = np.hstack([np.zeros((n, 1)), distances])
    values = scaled_exponential(distances, means[:, None], means[indices], mu)
    ends = np.arange(0, indices.size + 1, indices.shape[1])
    graph = sparse.csr_array(
        (values.astype(np.float32).ravel(), indices.ravel(), ends), shape=(n, n)
    )
    return graph.maximum(graph.T).tocsr()


def keep_largest(matrix: sparse.csr_array, n_stored: int) -> sparse.csr_array:
    """Keep the largest entries of each row.

    Parameters
    ----------
    matrix : CSR matrix of shape (n_rows, n_columns)
        Nonnegative entries.
    n_stored : int
        Number of entries that each row keeps, if it has as many.

    Returns
    -------
    CSR matrix of shape (n_rows, n_columns)
        The matrix without the other entries.
    """
    lengths = np.diff(matrix.indptr)
    if lengths.max(initial=0) <= n_stored:
        return matrix
    # rows padded to equal length by -1, which no selection prefers
    stored = np.arange(lengths.max()) < lengths[:, None]
    padded = np.full(stored.shape, -1, dtype=matrix.dtype)
    padded[stored] = matrix.data
    chosen = np.argpartition(padded, -n_stored, axis=1)[:, -n_stored:]
    chosen.sort(axis=1)
    values = np.take_along_axis(padded, chosen, axis=1)
    columns = np.zeros(stored.shape, dtype=matrix.indices.dtype)
    columns[stored] = matrix.indices
    columns = np.take_along_axis(columns, chosen, axis=1)
    kept = values >= 0
    ends = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    return sparse.csr_array((values[kept], columns[kept], ends), shape=matrix.shape)


def largest_of_rows(matrix: np.ndarray, n_stored: int) -> sparse.csr_array:
    """Keep the largest positive entries of each row of a dense matrix.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_columns)
        Nonnegative entries.
    n_stored : int
        Number of entries that each row keeps, if it has as many that are positive.

    Returns
    -------
    CSR matrix of shape (n_rows, n_columns)
        The matrix without the other entries.
    """
    n_rows, n = matrix.shape
    k = min(n_stored, n)
    least = np.partition(matrix, n - k, axis=1)[:, n - k]
    least = np.maximum(least, np.finfo(matrix.dtype).smallest_subnormal)
    kept = matrix >= least[:, None]
    counts = np.count_nonzero(kept, axis=1)
    for row in np.flatnonzero(counts > k):  # several are equal to the least
        chosen = np.argpartition(matrix[row], n - k)[n - k :]
        kept[row] = False
        kept[row, chosen] = True
        counts[row] = k
    cells = np.flatnonzero(kept)
    values, columns = matrix.ravel()[cells], cells % n
    ends = np.concatenate([[0], np.cumsum(counts)])
    return sparse.csr_array((values, columns, ends), shape=(n_rows, n))


def full_kernel_of(similarities: sparse.csr_array) -> sparse.csr_array:
    """Normalise stored similarities to a full kernel; see `full_kernel`.

    Parameters
    ----------
    similarities : CSR matrix of shape (n_samples, n_samples)
        Nonnegative similarities. Rows without any are those of missing samples.

    Returns
    -------
    CSR matrix of shape (n_samples, n_samples)
        The symmetric kernel, with the diagonal 1/2 where a row has entries.
    """
    graph = similarities.copy()
    seen = np.diff(graph.indptr) > 0
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    graph.data[graph.indices == rows] = 0
    graph = rows_to_one(graph) * np.float32(DIAGONAL)
    graph = (graph + graph.T) * np.float32(0.5)
    own = sparse.diags_array(seen.astype(np.float32) * np.float32(DIAGONAL))
    return (graph + own).tocsr()


def diffuse_stored(
    similarities: Sequence[sparse.csr_array],
    observed: np.ndarray,
    n_neighbors: int,
    n_steps: int,
    n_stored: int,
) -> sparse.csr_array:
    """Fuse stored similarities by diffusion; see `similarity_network_fusion`.

    Parameters
    ----------
    similarities : list of CSR matrix of shape (n_samples, n_samples)
        Similarities, with empty rows and columns of samples that lack the modality.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Which samples have which modality.
    n_neighbors : int
        Number of neighbours of the local kernels.
    n_steps : int
        Number of steps.
    n_stored : int
        Number of entries of a row that are kept in each step.

    Returns
    -------
    CSR matrix of shape (n_samples, n_samples)
        The fused kernel.
    """
    locals_ = [rows_to_one(keep_largest(W.copy(), n_neighbors)) for W in similarities]
    kernels = [full_kernel_of(keep_largest(W, n_stored)) for W in similarities]
    for _ in range(n_steps if len(kernels) > 1 else 0):
        total = _sum(kernels)
        kernels = [
            full_kernel_of(
                _diffused_stored(
                    S, _stored_mean_of_others(total, P, observed, v), n_stored
                )
            )
            for v, (S, P) in enumerate(zip(locals_, kernels, strict=True))
        ]
    total = _sum(kernels).tocoo()
    counts = _n_shared(observed, total.row, total.col)
    data = total.data / np.maximum(counts, 1).astype(np.float32)
    mean = sparse.csr_array((data, (total.row, total.col)), shape=total.shape)
    return full_kernel_of(mean)


def _sum(kernels: Sequence[sparse.csr_array]) -> sparse.csr_array:
    total = kernels[0]
    for kernel in kernels[1:]:
        total = total + kernel
    return total


def _n_shared(
    observed: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Count the modalities that both samples of pairs have."""
    counts = np.zeros(len(rows), dtype=np.intp)
    for seen in observed.T:
        counts += seen[rows] & seen[columns]
    return counts


def _stored_mean_of_others(
    total: sparse.csr_array, kernel: sparse.csr_array, observed: np.ndarray, v: int
) -> sparse.csr_array:
    """Return the mean kernel of the other modalities that both samples have.

    A pair that shares no other modality keeps its own entry.
    """
    mean = total - kernel
    np.maximum(mean.data, 0, out=mean.data)  # differences of equal sums are rounding
    if observed.all():
        mean.data /= np.float32(observed.shape[1] - 1)
        return mean
    seen = observed[:, v]
    rest = mean.tocoo()
    own = seen[rest.row] & seen[rest.col]
    rows, columns, data = rest.row[own], rest.col[own], rest.data[own]
    n_others = _n_shared(observed, rows, columns) - 1
    data /= np.maximum(n_others, 1).astype(np.float32)
    data[n_others == 0] = 0
    mean = sparse.csr_array((data, (rows, columns)), shape=total.shape)
    alone = kernel.tocoo()
    only = _n_shared(observed, alone.row, alone.col) == 1
    kept = (alone.data[only], (alone.row[only], alone.col[only]))
    return mean + sparse.csr_array(kept, shape=total.shape)


def _diffused_stored(
    local: sparse.csr_array, kernel: sparse.csr_array, n_stored: int
) -> sparse.csr_array:
    """Compute the largest entries of ``S M S'``, a block of rows at a time.

    Products of a sparse and a dense matrix run over whole rows, and take less time for
    each entry than those of two sparse ones, whose columns have to be looked up.
    """
    n = local.shape[0]
    transposed = local.T.tocsr()
    halves = _dense_half(local, kernel) if n <= MAX_DENSE_SAMPLES else None
    blocks = []
    for a in range(0, n, ROW_BLOCK):
        rows = slice(a, a + ROW_BLOCK)
        if halves is None:
            few = local[rows] @ kernel
            if SPARSE_ENTRY_COST * few.nnz < few.shape[0] * n:
                blocks.append(keep_largest(few @ transposed, n_stored))
                continue
        half = few.toarray() if halves is None else halves[rows]
        product = local @ np.ascontiguousarray(half.T)
        blocks.append(largest_of_rows(np.ascontiguousarray(product.T), n_stored))
    return sparse.vstack(blocks, format="csr")


def _dense_half(local: sparse.csr_array, kernel: sparse.csr_array) -> np.ndarray:
    """Compute ``S M`` of a symmetric M, in columns that fit the cache."""
    product = np.empty(local.shape, dtype=kernel.dtype)
    for a in range(0, len(product), ROW_BLOCK):
        slab = slice(a, a + ROW_BLOCK)
        product[:, slab] = local @ kernel[slab].T.toarray(order="C")
    return product
