"""Neighbours of samples that have more copies than neighbours."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from mmfusion._typing import NumericBlock
from mmfusion.clustering.graph._spread import largest_value

COPY_DISTANCE = 1e-6  # of copies at most, by rounding, relative to the largest norm


def spread_over_copies(
    block: NumericBlock, distances: np.ndarray, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the neighbours of samples that have more copies than neighbours.

    Of many samples at distance 0 a search returns the same few for all of them, so that
    the graph is a star; if other modalities cut off its centre, it falls apart. Here
    every copy is a neighbour of as many others: the i-th of m copies has the copies
    ``i + o`` modulo m, with the same random offsets o for all.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The samples.
    distances, indices : ndarray of shape (n_samples, n_neighbors)
        Their nearest samples, without themselves.

    Returns
    -------
    distances, indices : ndarray of shape (n_samples, n_neighbors)
        The nearest samples, others of which are as near.
    """
    k = distances.shape[1]
    if k == 0:
        return distances, indices
    limit = COPY_DISTANCE * largest_value(block) * np.sqrt(block.shape[1])
    doubtful = np.flatnonzero(distances[:, -1] <= limit)
    groups = [rows for rows in _copies(block, doubtful) if len(rows) > k]
    if not groups:
        return distances, indices
    distances, indices = distances.copy(), indices.copy()
    for rows in groups:
        offsets = 1 + np.random.RandomState(0).permutation(len(rows) - 1)[:k]
        places = np.arange(len(rows))[:, None] + offsets
        indices[rows] = rows[places % len(rows)]
        distances[rows] = 0
    return distances, indices


def _copies(block: NumericBlock, rows: np.ndarray) -> list[np.ndarray]:
    """Group the rows of equal values."""
    groups: dict[bytes, list[int]] = {}
    for row in rows:
        groups.setdefault(_key(block[[row]]), []).append(row)
    return [np.array(group) for group in groups.values()]


def _key(row: NumericBlock) -> bytes:
    if isinstance(row, np.ndarray):
        return (row + 0.0).tobytes()  # -0.0 is 0.0
    row = sparse.csr_array(row, copy=True)
    row.eliminate_zeros()
    row.sort_indices()
    return row.indices.tobytes() + b"|" + row.data.tobytes()
