"""Nearest samples of one modality."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

from mmfusion._typing import NumericBlock
from mmfusion.clustering.graph._copies import spread_over_copies


def nearest_samples(
    block: NumericBlock,
    n_neighbors: int,
    queries: NumericBlock | None = None,
    n_jobs: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Search the nearest samples of a block by Euclidean distance.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The samples among which neighbours are searched.
    n_neighbors : int
        Number of neighbours, cut to the number of samples there are.
    queries : ndarray or CSR matrix of shape (n_queries, n_features), default=None
        Samples whose neighbours are searched. None are those of `block`, each of which
        is not its own neighbour; see `spread_over_copies` on copies of samples.
    n_jobs : int, default=None
        Number of threads.

    Returns
    -------
    distances : ndarray of float64 of shape (n_queries, n_neighbors)
        Distances, in ascending order.
    indices : ndarray of int of shape (n_queries, n_neighbors)
        Positions of the neighbours in `block`.
    """
    n_samples = block.shape[0]
    own = queries is None
    count = min(n_neighbors, n_samples - own)
    if count < 1:
        n_queries = n_samples if queries is None else queries.shape[0]
        return np.empty((n_queries, 0)), np.empty((n_queries, 0), dtype=np.intp)
    search = NearestNeighbors(n_neighbors=count, n_jobs=n_jobs).fit(block)
    distances, indices = search.kneighbors(queries)
    distances = distances.astype(np.float64, copy=False)
    return (
        spread_over_copies(block, distances, indices) if own else (distances, indices)
    )
