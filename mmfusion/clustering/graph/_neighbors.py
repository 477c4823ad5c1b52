"""Nearest samples of one modality."""

from __future__ import annotations

import numpy as np
from joblib import effective_n_jobs
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import gen_batches

from mmfusion._extras import import_extra
from mmfusion._typing import NumericBlock
from mmfusion.clustering.graph._copies import spread_over_copies

NEIGHBOR_SEARCHES = ("exact", "approximate")
MIN_APPROXIMATE_SAMPLES = 20_000  # below which exact search takes no longer
# of the graph that is descended: of 20,000 samples with 32 independent features, whose
# neighbours are hard to find, one of eleven misses a third of the nearest, this one 2 %
INDEX_NEIGHBORS = 30
DISTANCE_ROWS = 512  # whose neighbours' features are in memory at a time
APPROXIMATE_SEED = 0  # the graph is a function of the data, as that of exact search


def nearest_samples(
    block: NumericBlock,
    n_neighbors: int,
    queries: NumericBlock | None = None,
    n_jobs: int | None = None,
    search: str = "exact",
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
    search : {'exact', 'approximate'}, default='exact'
        'approximate' descends a graph of neighbours (Dong, Moses and Li 2011), where
        `block` is dense, has at least 20,000 samples, and there are no queries; other
        searches are exact.

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
    many = n_samples >= MIN_APPROXIMATE_SAMPLES
    if search == "approximate" and own and many and not sparse.issparse(block):
        distances, indices = _descend(block, count, n_jobs)
    else:
        finder = NearestNeighbors(n_neighbors=count, n_jobs=n_jobs).fit(block)
        distances, indices = finder.kneighbors(queries)
        distances = distances.astype(np.float64, copy=False)
    if not own:
        return distances, indices
    return spread_over_copies(block, distances, indices)


def _descend(
    block: np.ndarray, count: int, n_jobs: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Search the neighbours of all samples by descent in a graph of neighbours."""
    pynndescent = import_extra("pynndescent", "neighbors")
    most = import_extra("numba", "neighbors").config.NUMBA_NUM_THREADS
    # the search is in single precision, where an offset would cost differences digits
    centered = (block - block.mean(axis=0, dtype=np.float64)).astype(np.float32)
    index = pynndescent.NNDescent(
        centered,
        n_neighbors=max(count + 1, INDEX_NEIGHBORS),
        random_state=APPROXIMATE_SEED,
        n_jobs=min(effective_n_jobs(n_jobs), most),
    )
    found = np.asarray(index.neighbor_graph[0][:, : count + 1], dtype=np.intp)
    # places that no sample was found for are -1
    lacking = np.flatnonzero((found < 0).any(axis=1))
    if lacking.size:
        exact = NearestNeighbors(n_neighbors=count + 1, n_jobs=n_jobs).fit(block)
        found[lacking] = exact.kneighbors(block[lacking], return_distance=False)
    distances = np.empty((len(block), count))
    indices = np.empty((len(block), count), dtype=np.intp)
    for rows in gen_batches(len(block), DISTANCE_ROWS):
        near = _without_own_sample(found[rows], np.arange(rows.start, rows.stop))
        apart = _distances_to(block[rows], block[near])
        order = np.argsort(apart, axis=1, kind="stable")
        distances[rows] = np.take_along_axis(apart, order, axis=1)
        indices[rows] = np.take_along_axis(near, order, axis=1)
    return distances, indices


def _without_own_sample(indices: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Remove one entry of each row: the sample itself, or else the last."""
    is_own = indices == own[:, None]
    is_own[~is_own.any(axis=1), -1] = True
    return indices[~is_own].reshape(len(indices), -1)


def _distances_to(samples: np.ndarray, neighbors: np.ndarray) -> np.ndarray:
    """Return the distances of samples to their neighbours, in double precision."""
    apart = np.subtract(neighbors, samples[:, None], dtype=np.float64)
    return np.sqrt(np.einsum("ijk,ijk->ij", apart, apart))
