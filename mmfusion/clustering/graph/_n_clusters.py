"""Choice of the number of clusters of graphs, without classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg, sparse

from mmfusion._warnings import warn_user
from mmfusion.clustering.graph._eigenvectors import leading_eigenvectors
from mmfusion.clustering.graph._embeddings import fuse_graphs

MAX_AUTO_CLUSTERS = 20


def choose_n_clusters(
    whole: sparse.csr_array,
    graphs: Sequence[sparse.csr_array],
    observed: np.ndarray,
    rng: np.random.RandomState,
) -> tuple[int, dict[str, np.ndarray]]:
    """Choose the number of clusters that other modalities confirm.

    For every number from 2 to 20 the graph of all modalities is cut, and for every
    modality the mean graph of the others. The number with the largest sum of two
    modularities is chosen: that of the clusters of all in the graph of all, which small
    clusters raise too, and the mean of those of the clusters of the others in the graph
    of the modality that had no part in them, which falls where clusters are divided by
    chance. Of one modality the first decides alone.

    Parameters
    ----------
    whole : CSR matrix of shape (n_samples, n_samples)
        Normalised graph of all modalities.
    graphs : list of CSR matrix of shape (n_samples, n_samples)
        Normalised graphs of the modalities.
    observed : ndarray of bool of shape (n_samples, n_graphs)
        Which samples have which modality.
    rng : RandomState
        Source of starting vectors.

    Returns
    -------
    n_clusters : int
        The number of clusters.
    evidence : dict of str to ndarray
        All numbers, with the keys 'n_clusters', 'modularity' and, of several
        modalities, 'modularity_in_others'.

    Warns
    -----
    UserWarning
        If it is the largest number that is compared.
    """
    n_samples = whole.shape[0]
    largest = max(2, min(MAX_AUTO_CLUSTERS, n_samples // 2 - 1))
    numbers = np.arange(2, largest + 1)
    evidence = {"n_clusters": numbers}
    total = evidence["modularity"] = _modularities(whole, whole, largest, rng)
    confirmed = []
    for v, graph in enumerate(graphs):
        others = [w for w in range(len(graphs)) if w != v]
        both = np.flatnonzero(observed[:, v] & observed[:, others].any(axis=1))
        own = graph if len(both) == n_samples else graph[both][:, both]
        if own.nnz == 0:
            continue
        cut = fuse_graphs([graphs[w] for w in others], observed[:, others])
        confirmed.append(_modularities(own, cut, largest, rng, both))
    if confirmed:
        evidence["modularity_in_others"] = np.mean(confirmed, axis=0)
        total = total + evidence["modularity_in_others"]
    best = int(numbers[total.argmax()])
    if best == MAX_AUTO_CLUSTERS:
        warn_user(
            f"n_clusters='auto' chose {best}, the largest number that it compares: "
            "there may be more clusters; give n_clusters",
        )
    return best, evidence


def _modularities(
    graph: sparse.csr_array,
    cut: sparse.csr_array,
    largest: int,
    rng: np.random.RandomState,
    rows: np.ndarray | slice = slice(None),
) -> np.ndarray:
    """Compute the modularity, in a graph of some rows, of the clusters of another."""
    count = min(largest, cut.shape[0])
    _, vectors = leading_eigenvectors(cut, count, rng)
    return np.array(
        [
            modularity(graph, clusters_of_vectors(vectors[:, :k])[rows])
            for k in range(2, largest + 1)
        ]
    )


def modularity(graph: sparse.csr_array, labels: np.ndarray) -> float:
    """Compute the modularity of the clusters of a graph (Newman 2006).

    It is the share of the weights that lie within clusters, less that of a graph with
    the same degrees at random: ``sum_c (w_c / m - (d_c / m)^2)`` with the weights w_c
    within a cluster, its degrees d_c and the sum m of all weights.

    Parameters
    ----------
    graph : CSR matrix of shape (n_samples, n_samples)
        Symmetric nonnegative weights, not all 0.
    labels : ndarray of int of shape (n_samples,)
        Clusters.

    Returns
    -------
    float
        The modularity, below 1.
    """
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    total = degrees.sum()
    entries = graph.tocoo()
    within = entries.data[labels[entries.row] == labels[entries.col]].sum()
    shares = np.bincount(labels, weights=degrees) / total
    return float(within / total - (shares**2).sum())


def clusters_of_vectors(vectors: np.ndarray) -> np.ndarray:
    """Cluster samples by the eigenvectors of a graph, without a start or a seed.

    The rows of one sample of each cluster, found by the pivoted QR decomposition of the
    transpose, are rotated to the axes by their polar factor; samples go to their
    largest coordinate (Damle, Minden and Ying 2019). Pivots of rows of unit norm
    would depend on rounding.

    Parameters
    ----------
    vectors : ndarray of shape (n_samples, n_clusters)
        Leading eigenvectors.

    Returns
    -------
    ndarray of int of shape (n_samples,)
        Clusters.
    """
    pivots = linalg.qr(vectors.T, mode="r", pivoting=True)[1][: vectors.shape[1]]
    left, _, right = linalg.svd(vectors[pivots].T)
    return (vectors @ (left @ right)).argmax(axis=1)
