"""Choice of the number of clusters of a graph, without classes."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

from mmfusion.clustering.graph._affinities import normalized_adjacency
from mmfusion.clustering.graph._eigenvectors import leading_eigenvectors

MAX_AUTO_CLUSTERS = 20
N_CANDIDATES = 4
N_SUBSAMPLES = 5
SUBSAMPLE_SHARE = 0.8
SMALLEST_CUT = 1e-9  # of 1 minus an eigenvalue; below, clusters are disconnected
STABILITY_TIE = 0.01  # differences of stability up to which the eigengap decides


def choose_n_clusters(
    graph: sparse.csr_array, rng: np.random.RandomState
) -> tuple[int, dict[str, np.ndarray]]:
    """Choose the number of clusters by eigengap and stability.

    The four numbers k from 2 to 20 with the largest relative gap between the
    eigenvalues k and k + 1, ``(e_k - e_{k+1}) / (1 - e_{k+1})``, are compared: all
    samples, and 80 % of them five times, are clustered, and the most stable number is
    chosen, by the mean adjusted Rand index of the clusters of the samples in both. Of
    equally stable ones the larger gap decides.

    Parameters
    ----------
    graph : CSR matrix of shape (n_samples, n_samples)
        Normalised graph.
    rng : RandomState
        Source of starting vectors, subsamples and seeds.

    Returns
    -------
    n_clusters : int
        The number of clusters.
    evidence : dict of str to ndarray
        The candidates, with the keys 'n_clusters', 'eigengap' and 'stability'.
    """
    n = graph.shape[0]
    largest = max(2, min(MAX_AUTO_CLUSTERS, n // 2 - 1))
    values, vectors = leading_eigenvectors(graph, min(n, largest + 1), rng)
    # relative to what is left: gaps between small eigenvalues are large by themselves
    left = np.maximum(1 - values[2:], SMALLEST_CUT)
    gaps = (values[1:-1] - values[2:]) / left
    candidates = 2 + np.argsort(-gaps, kind="stable")[:N_CANDIDATES]
    subsamples = [
        np.sort(rng.permutation(n)[: max(2, round(SUBSAMPLE_SHARE * n))])
        for _ in range(N_SUBSAMPLES)
    ]
    seed = int(rng.randint(np.iinfo(np.int32).max))
    parts = [
        leading_eigenvectors(
            normalized_adjacency(graph[rows][:, rows]),
            min(len(rows), int(candidates.max(initial=2))),
            rng,
        )[1]
        for rows in subsamples
    ]
    stability = np.array(
        [_stability(vectors, parts, subsamples, int(k), seed) for k in candidates]
    )
    own_gaps = gaps[candidates - 2]
    tied = stability >= stability.max() - STABILITY_TIE
    best = int(candidates[np.where(tied, own_gaps, -np.inf).argmax()])
    order = np.argsort(candidates)
    evidence = {
        "n_clusters": candidates[order],
        "eigengap": own_gaps[order],
        "stability": stability[order],
    }
    return best, evidence


def _stability(
    vectors: np.ndarray,
    parts: list[np.ndarray],
    subsamples: list[np.ndarray],
    k: int,
    seed: int,
) -> float:
    whole = _cut(vectors, k, seed)
    scores = [
        adjusted_rand_score(whole[rows], _cut(part, k, seed))
        for rows, part in zip(subsamples, parts, strict=True)
    ]
    return float(np.mean(scores))


def _cut(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    k_means = KMeans(k, n_init=3, random_state=seed)
    return k_means.fit_predict(normalize(vectors[:, :k]))
