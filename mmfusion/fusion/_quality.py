"""How good the clusterings of a modality are, judged without classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.metrics import adjusted_rand_score, pairwise_distances, silhouette_score

from mmfusion.fusion._clusterers import cluster_members, cluster_sums
from mmfusion.fusion._consensus import BaseClusterings, mutual_information_between

BY_VALUES = ("inverse_variance", "silhouette")
QUALITIES = ("agreement", "stability", *BY_VALUES)

SILHOUETTE_ROWS = 2000  # the cost grows with their square


def silhouette(block: Any, labels: np.ndarray, random_state: Any) -> float:
    """Mean silhouette of the runs of one modality, 0 if negative.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The scaled modality.
    labels : ndarray of int of shape (n_samples, n_runs)
        Its clusterings.
    random_state : RandomState instance
        Draws the samples that are looked at, if there are many.

    Returns
    -------
    float
        Between 0 and 1.
    """
    rows = np.arange(block.shape[0])
    if len(rows) > SILHOUETTE_ROWS:
        rows = np.sort(random_state.choice(rows, SILHOUETTE_ROWS, replace=False))
    distances = pairwise_distances(block[rows])
    np.fill_diagonal(distances, 0)
    scores = [
        silhouette_score(distances, run, metric="precomputed")
        if 2 <= len(np.unique(run)) < len(run)
        else 0.0
        for run in labels[rows].T
    ]
    return max(0.0, float(np.mean(scores)))


def stability(labels: np.ndarray) -> float:
    """Mean adjusted Rand index between the runs of one modality, 0 if negative.

    Parameters
    ----------
    labels : ndarray of int of shape (n_samples, n_runs)
        Clusterings from different seeds, at least two.

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
        adjusted_rand_score(labels[:, r], labels[:, s])
        for r in range(n_runs)
        for s in range(r)
    ]
    return max(0.0, float(np.mean(scores)))


def inverse_variance(block: Any, labels: np.ndarray) -> float:
    """Total variance of a modality over that left within its clusters.

    What clusters leave is taken for noise, so this is the inverse noise variance of
    the modality at unit total variance. Samples in no cluster are explained by none.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The scaled modality.
    labels : ndarray of int of shape (n_samples, n_runs)
        Its clusterings.

    Returns
    -------
    float
        At least 1; mean over runs.
    """
    values = block.data if sparse.issparse(block) else block.reshape(-1)
    squares = float(np.einsum("i,i->", values, values, dtype=np.float64))
    mean = np.asarray(block.mean(axis=0, dtype=np.float64)).ravel()
    total = squares - block.shape[0] * mean @ mean
    if total <= 0:
        return 1.0
    ratios = []
    for run in labels.T:
        _, members = cluster_members(run)
        sizes = members.sum(axis=0)
        means = cluster_sums(block, members) / sizes[:, None]
        between = sizes @ ((means - mean) ** 2).sum(axis=1)
        ratios.append(total / max(total - between, 1e-6 * total))
    return float(np.mean(ratios))


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
