"""Weighted graphs of nearest samples, without a bandwidth to choose."""

from __future__ import annotations

import numpy as np
from scipy import sparse

SCALE_NEIGHBOR = 7  # whose distance is the scale of a sample (Zelnik-Manor and Perona)
SMALLEST_RATIO = 1e-12  # of a scale to the largest distance, and of squared distances


def local_scales(distances: np.ndarray, largest: float) -> np.ndarray:
    """Return the scale of every sample: the distance to its 7th neighbour.

    Parameters
    ----------
    distances : ndarray of shape (n_samples, n_neighbors)
        Distances to the nearest samples, in ascending order.
    largest : float
        Largest distance of all; the scales are at least 1e-12 times as large.

    Returns
    -------
    ndarray of shape (n_samples,)
        Positive scales.
    """
    if distances.shape[1] == 0 or largest == 0:
        return np.ones(len(distances))
    scales = distances[:, min(SCALE_NEIGHBOR, distances.shape[1]) - 1]
    return np.maximum(scales, SMALLEST_RATIO * largest)


def self_tuned_graph(distances: np.ndarray, indices: np.ndarray) -> sparse.csr_array:
    """Compute the self-tuned affinities of nearest samples.

    It is ``w_ij = exp(-d_ij^2 / (s_i s_j))`` for j among the nearest samples of i or i
    among those of j, with the distance s_i of i to its 7th neighbour (Zelnik-Manor and
    Perona 2004).

    Parameters
    ----------
    distances : ndarray of shape (n_samples, n_neighbors)
        Distances to the nearest samples, in ascending order.
    indices : ndarray of int of shape (n_samples, n_neighbors)
        Positions of the nearest samples.

    Returns
    -------
    CSR matrix of shape (n_samples, n_samples)
        Symmetric affinities of at most 1.
    """
    scales = local_scales(distances, float(distances.max(initial=0.0)))
    weights = np.exp(-(distances**2) / (scales[:, None] * scales[indices]))
    graph = _from_rows(weights, indices)
    return graph.maximum(graph.T).tocsr()


def adaptive_graph(distances: np.ndarray, indices: np.ndarray) -> sparse.csr_array:
    """Compute adaptive affinities of nearest samples, which fall to 0 at the last.

    With the k nearest samples of i and the next one,

    ``w_ij = (d_{i,k+1}^2 - d_ij^2) / (k d_{i,k+1}^2 - sum_{l <= k} d_il^2)``

    so that rows add up to 1 (Nie, Wang and Huang 2014, equation 30); equal
    distances give ``1 / k``. The graph is the mean of these weights and their
    transpose.

    Parameters
    ----------
    distances : ndarray of shape (n_samples, k + 1)
        Distances to the nearest samples, in ascending order.
    indices : ndarray of int of shape (n_samples, k + 1)
        Positions of the nearest samples.

    Returns
    -------
    CSR matrix of shape (n_samples, n_samples)
        Symmetric affinities.
    """
    weights = adaptive_weights(distances)
    graph = _from_rows(weights, indices[:, : weights.shape[1]])
    return ((graph + graph.T) / 2).tocsr()


def adaptive_weights(distances: np.ndarray) -> np.ndarray:
    """Compute the weights of the k nearest of k + 1 samples; see `adaptive_graph`.

    Parameters
    ----------
    distances : ndarray of shape (n_samples, k + 1)
        Distances in ascending order.

    Returns
    -------
    ndarray of shape (n_samples, k)
        Nonnegative weights; rows add up to 1.
    """
    if distances.shape[1] < 2:  # a single neighbour has no next one to compare with
        return np.ones_like(distances)
    squares = distances**2
    gaps = squares[:, -1:] - squares[:, :-1]
    totals = gaps.sum(axis=1, keepdims=True)
    # equal distances differ by rounding only
    equal = totals <= SMALLEST_RATIO * squares[:, -1:]
    even = np.full_like(gaps, 1 / gaps.shape[1])
    return np.where(equal, even, gaps / np.where(equal, 1, totals))


def _from_rows(weights: np.ndarray, indices: np.ndarray) -> sparse.csr_array:
    n, k = weights.shape
    ends = np.arange(0, n * k + 1, k) if k else np.zeros(n + 1, dtype=int)
    return sparse.csr_array((weights.ravel(), indices.ravel(), ends), shape=(n, n))


def among_all(
    graph: sparse.csr_array, rows: np.ndarray, n_samples: int
) -> sparse.csr_array:
    """Place the graph of some samples among all samples.

    Parameters
    ----------
    graph : CSR matrix of shape (n_rows, n_rows)
        Graph of the samples that have a modality.
    rows : ndarray of int of shape (n_rows,)
        Their positions.
    n_samples : int
        Number of all samples.

    Returns
    -------
    CSR matrix of shape (n_samples, n_samples)
        The graph, in which the other samples have no edge.
    """
    if len(rows) == n_samples:
        return graph
    entries = graph.tocoo()
    places = (entries.data, (rows[entries.row], rows[entries.col]))
    return sparse.csr_array(places, shape=(n_samples, n_samples))


def normalized_adjacency(graph: sparse.csr_array) -> sparse.csr_array:
    """Normalise a graph by its degrees: ``D^-1/2 W D^-1/2``.

    Parameters
    ----------
    graph : CSR matrix of shape (n_samples, n_samples)
        Symmetric nonnegative affinities W.

    Returns
    -------
    CSR matrix of shape (n_samples, n_samples)
        The normalised graph, whose eigenvalues are in [-1, 1]. Rows of samples without
        neighbours stay empty.
    """
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    roots = np.sqrt(degrees)
    inverse = np.divide(1, roots, out=np.zeros_like(roots), where=roots > 0)
    diagonal = sparse.diags_array(inverse)
    return (diagonal @ graph @ diagonal).tocsr()


def interpolation_weights(
    distances: np.ndarray, scales: np.ndarray, indices: np.ndarray
) -> np.ndarray:
    """Compute the weights by which new samples take over the values of neighbours.

    With the ratio ``r_j = d_j^2 / (s s_j)`` of a neighbour j, the weight is
    ``exp(-r_j) / r_j``, divided by the sum over the neighbours. A sample that coincides
    with a neighbour takes its value.

    Parameters
    ----------
    distances : ndarray of shape (n_queries, n_neighbors)
        Distances of new samples to their neighbours, in ascending order.
    scales : ndarray of shape (n_samples,)
        Scales of the samples among which the neighbours are; see `local_scales`.
    indices : ndarray of int of shape (n_queries, n_neighbors)
        Positions of the neighbours.

    Returns
    -------
    ndarray of shape (n_queries, n_neighbors)
        Weights; rows add up to 1.
    """
    own = local_scales(distances, float(scales.max(initial=0.0)))
    ratios = distances**2 / (own[:, None] * scales[indices])
    ratios = np.maximum(ratios, SMALLEST_RATIO)
    # relative to the least ratio: not all weights of a far outlier underflow
    least = ratios.min(axis=1, keepdims=True)
    weights = np.exp(least - ratios) * (least / ratios)
    return weights / weights.sum(axis=1, keepdims=True)
