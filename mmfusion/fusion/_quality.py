"""How good the clusterings of a modality are, judged without classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.metrics import pairwise_distances
from sklearn.utils.extmath import row_norms

from mmfusion.fusion._clusterers import (
    adjusted_rand_index,
    cluster_members,
    cluster_sums,
)
from mmfusion.fusion._consensus import BaseClusterings, mutual_information_between

BY_VALUES = ("inverse_variance", "silhouette")
QUALITIES = ("agreement", "stability", *BY_VALUES)

SILHOUETTE_ROWS = 2000  # the cost grows with their square


def silhouette(
    block: Any, labels: np.ndarray, random_state: Any, sample_weight: Any = None
) -> float:
    """Mean silhouette of the runs of one modality, 0 if negative.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The scaled modality.
    labels : ndarray of int of shape (n_samples, n_runs)
        Its clusterings.
    random_state : RandomState instance
        Draws the samples that are looked at, if there are many.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples: how often each counts.

    Returns
    -------
    float
        Between 0 and 1.
    """
    weight = np.ones(block.shape[0]) if sample_weight is None else sample_weight
    rows = np.flatnonzero(weight)
    if len(rows) > SILHOUETTE_ROWS:
        rows = np.sort(random_state.choice(rows, SILHOUETTE_ROWS, replace=False))
    distances = pairwise_distances(block[rows])
    np.fill_diagonal(distances, 0)
    scores = [_mean_silhouette(distances, run, weight[rows]) for run in labels[rows].T]
    return max(0.0, float(np.mean(scores)))


def _mean_silhouette(
    distances: np.ndarray, labels: np.ndarray, weight: np.ndarray
) -> float:
    """Mean silhouette of samples that count as often as they weigh."""
    clusters, codes = np.unique(labels, return_inverse=True)
    if len(clusters) < 2:
        return 0.0
    members = (codes[:, None] == np.arange(len(clusters))) * weight[:, None]
    sizes, sums = members.sum(axis=0), distances @ members
    rows = np.arange(len(labels))
    others = sizes[codes] - np.minimum(weight, 1)  # without the sample itself
    is_alone = others <= 1e-9 * sizes[codes]
    within = sums[rows, codes] / np.where(is_alone, 1, others)
    means = sums / sizes
    means[rows, codes] = np.inf
    nearest = means.min(axis=1)
    largest = np.maximum(within, nearest)
    is_alone |= largest == 0
    scores = (nearest - within) / np.where(is_alone, 1, largest)
    return float(np.average(np.where(is_alone, 0, scores), weights=weight))


def stability(labels: np.ndarray, sample_weight: Any = None) -> float:
    """Mean adjusted Rand index between the runs of one modality, 0 if negative.

    Parameters
    ----------
    labels : ndarray of int of shape (n_samples, n_runs)
        Clusterings from different seeds, at least two.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples: how often each counts.

    Returns
    -------
    float
        Between 0 and 1.
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
    block: Any, labels: np.ndarray, sample_weight: Any = None
) -> float:
    """Total variance of a modality over that left within its clusters.

    What clusters leave is taken for noise, so this is the inverse noise variance of
    the modality at unit total variance. Samples in no cluster are explained by none.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The scaled modality.
    labels : ndarray of int of shape (n_samples, n_runs)
        Its clusterings.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples: how often each counts.

    Returns
    -------
    float
        At least 1; mean over runs.
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
        ratios.append(total / max(total - between, 1e-6 * total))
    return float(np.mean(ratios))


def _moments(block: Any, weight: Any) -> tuple[float, np.ndarray, float]:
    """Sum of squares, mean and number of samples, as they count."""
    if weight is None:
        values = block.data if sparse.issparse(block) else block.reshape(-1)
        squares = float(np.einsum("i,i->", values, values, dtype=np.float64))
        mean = np.asarray(block.mean(axis=0, dtype=np.float64)).ravel()
        return squares, mean, block.shape[0]
    mean = np.ravel(weight @ block) / weight.sum()
    return float(weight @ row_norms(block, squared=True)), mean, weight.sum()


def agreement_with_others(base: BaseClusterings, modality: np.ndarray) -> np.ndarray:
    """Mean normalised mutual information of each modality's runs with the others'.

    Parameters
    ----------
    base : BaseClusterings
        Runs of all modalities.
    modality : ndarray of int of shape (n_runs,)
        The modality of each run, from 0.

    Returns
    -------
    ndarray of shape (n_modalities,)
        Between 0 and 1; 1 for a lone modality.
    """
    information = mutual_information_between(base)
    scores = np.ones(modality.max() + 1)
    for v in range(len(scores)):
        others = information[np.ix_(modality == v, modality != v)]
        if others.size:
            scores[v] = others.mean()
    return scores
