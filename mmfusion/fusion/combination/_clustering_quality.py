"""Quality of the clusterings of a modality, measured without classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.metrics import pairwise_distances
from sklearn.utils.extmath import row_norms

from mmfusion._typing import NumericBlock
from mmfusion.fusion.combination._clusterings import (
    adjusted_rand_index,
    cluster_members,
    cluster_sums,
)

DISTANCE_QUALITIES = ("inverse_variance", "silhouette")  # need the values of X
CLUSTERING_QUALITIES = ("agreement", "stability", *DISTANCE_QUALITIES)

QUALITY_SILHOUETTE_ROWS = 2000  # the cost grows with their square


def silhouette(
    block: NumericBlock,
    labels: np.ndarray,
    random_state: np.random.RandomState,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Compute the mean silhouette of the runs of one modality, 0 if negative.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Scaled modality.
    labels : ndarray of int of shape (n_samples, n_runs)
        Clusterings of the modality.
    random_state : RandomState instance
        Generator for the draw of samples, if there are many.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples: how often each counts.

    Returns
    -------
    float
        Value between 0 and 1.
    """
    weight = np.ones(block.shape[0]) if sample_weight is None else sample_weight
    rows = np.flatnonzero(weight)
    if len(rows) > QUALITY_SILHOUETTE_ROWS:
        rows = np.sort(
            random_state.choice(rows, QUALITY_SILHOUETTE_ROWS, replace=False)
        )
    distances = pairwise_distances(block[rows])
    np.fill_diagonal(distances, 0)  # which rounding makes positive
    scores = [_mean_silhouette(distances, run, weight[rows]) for run in labels[rows].T]
    return max(0.0, float(np.mean(scores)))


def _mean_silhouette(
    distances: np.ndarray, labels: np.ndarray, weight: np.ndarray
) -> float:
    """Average ``(b - a) / max(a, b)`` over samples that count as often as they weigh.

    a is the mean distance to the other samples of the cluster, b that to the nearest
    other cluster.
    """
    clusters, codes = np.unique(labels, return_inverse=True)
    if len(clusters) < 2:
        return 0.0
    members = (codes[:, None] == np.arange(len(clusters))) * weight[:, None]
    sizes, sums = members.sum(axis=0), distances @ members
    rows = np.arange(len(labels))
    # a sample is not a neighbor of itself, but its further copies are
    others = sizes[codes] - np.minimum(weight, 1)
    is_alone = others <= 1e-9 * sizes[codes]
    within = sums[rows, codes] / np.where(is_alone, 1, others)
    means = sums / sizes
    means[rows, codes] = np.inf
    nearest = means.min(axis=1)
    largest = np.maximum(within, nearest)
    is_alone |= largest == 0
    scores = (nearest - within) / np.where(is_alone, 1, largest)
    return float(np.average(np.where(is_alone, 0, scores), weights=weight))


def stability(labels: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Compute the mean adjusted Rand index between the runs of one modality.

    Parameters
    ----------
    labels : ndarray of int of shape (n_samples, n_runs)
        At least two clusterings from different seeds.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples: how often each counts.

    Returns
    -------
    float
        Value between 0 and 1; negative means become 0.

    Raises
    ------
    ValueError
        If there is one run only.
    """
    n_runs = labels.shape[1]
    if n_runs < 2:
        raise ValueError(
            "weights='stability' compares runs with different seeds; give n_runs >= 2 "
            "and a clusterer with random_state"
        )
    scores = [
        adjusted_rand_index(labels[:, r], labels[:, s], sample_weight)
        for r in range(n_runs)
        for s in range(r)
    ]
    return max(0.0, float(np.mean(scores)))


def inverse_variance(
    block: NumericBlock, labels: np.ndarray, sample_weight: np.ndarray | None = None
) -> float:
    """Compute the total variance of a modality over the variance within clusters.

    The variance within clusters is taken for noise: this is the inverse noise variance
    of the modality at unit total variance. Samples in no cluster are explained by none.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Scaled modality.
    labels : ndarray of int of shape (n_samples, n_runs)
        Clusterings of the modality.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples: how often each counts.

    Returns
    -------
    float
        Mean over runs, at least 1.
    """
    squares, mean, n_samples = _moments(block, sample_weight)
    total = squares - n_samples * mean @ mean
    if total <= 0:
        return 1.0
    ratios = []
    for run in labels.T:
        _, members = cluster_members(run, sample_weight)
        sizes = members.sum(axis=0)
        means = cluster_sums(block, members) / sizes[:, None]
        between = sizes @ ((means - mean) ** 2).sum(axis=1)
        # clusters of equal points leave no variance
        ratios.append(total / max(total - between, 1e-6 * total))
    return float(np.mean(ratios))


def _moments(
    block: NumericBlock, weight: np.ndarray | None
) -> tuple[float, np.ndarray, float]:
    """Compute the sum of squares, the mean and the number of weighted samples."""
    if weight is None:
        # in float64 without a float64 copy of a float32 block
        dense: Any = block.data if sparse.issparse(block) else block
        values = dense.reshape(-1)
        squares = float(np.einsum("i,i->", values, values, dtype=np.float64))
        mean = np.asarray(block.mean(axis=0, dtype=np.float64)).ravel()
        return squares, mean, block.shape[0]
    mean = np.ravel(weight @ block) / weight.sum()
    return float(weight @ row_norms(block, squared=True)), mean, weight.sum()


def agreement_with_others(information: np.ndarray, modality: np.ndarray) -> np.ndarray:
    """Compute the mean mutual information of each modality's runs with the others'.

    The mean is over all pairs of a run of the modality and a run of another one, of
    their normalised mutual information.

    Parameters
    ----------
    information : ndarray of shape (n_runs, n_runs)
        Normalised mutual information of each pair of runs.
    modality : ndarray of int of shape (n_runs,)
        Number of the modality of each run, from 0.

    Returns
    -------
    ndarray of shape (n_modalities,)
        Values between 0 and 1; 1 for a lone modality.
    """
    scores = np.ones(modality.max() + 1)
    for v in range(len(scores)):
        others = information[np.ix_(modality == v, modality != v)]
        if others.size:
            scores[v] = others.mean()
    return scores
