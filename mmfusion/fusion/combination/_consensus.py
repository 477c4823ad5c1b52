"""Consensus of clusterings: one clustering from several, without classes.

Each method returns labels for the samples that it is given and a `ConsensusMap` that
assigns further samples. The cost is linear in the number of samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg, sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize

from mmfusion._memory import check_fits
from mmfusion.fusion.combination._clusterings import (
    BaseClusterings,
    indicator_gram,
    label_counts,
    mutual_information_between,
)

DISTANCE_BLOCK_CELLS = 2**18  # of a co-association that are computed at a time
# embedded samples repeat each other: more rows hardly move the centres of k-means
CONSENSUS_KMEANS_ROWS = 20_000
VOTE_TIE_BREAK = 1e-6
SMALLEST_GRAM_EIGENVALUE = 1e-10  # of a normalised matrix, whose largest one is 1


@dataclass(frozen=True)
class LabelledPatterns:
    """Distinct combinations of base clusters, each with its consensus cluster.

    Parameters
    ----------
    labels : ndarray of int32 of shape (n_patterns, n_runs)
        Combinations, in the order of their bytes.
    clusters : ndarray of int of shape (n_patterns,)
        Cluster of each combination.
    """

    labels: np.ndarray
    clusters: np.ndarray

    def find(self, labels: np.ndarray) -> np.ndarray:
        """Look up the clusters of samples; -1 for combinations that are not listed."""
        own, keys = _row_keys(self.labels), _row_keys(labels)
        place = np.minimum(np.searchsorted(own, keys), len(own) - 1)
        return np.where(own[place] == keys, self.clusters[place], -1)


def _row_keys(labels: np.ndarray) -> np.ndarray:
    """View rows as strings of bytes, which can be sorted."""
    rows = np.ascontiguousarray(labels, dtype=np.int32)
    return rows.view(f"S{rows.itemsize * rows.shape[1]}").ravel()


@dataclass(frozen=True)
class ConsensusMap:
    """Linear map from the base clusters of samples to consensus clusters.

    The cluster of a sample with the indicator row z is ``argmin_k |z P / |z P| - c_k|``
    with centres c, or ``argmax_k (z P)_k`` without.

    Parameters
    ----------
    projection : ndarray of shape (n_base_clusters, n_dimensions)
        NumericBlock P: the coordinates of each base cluster.
    centers : ndarray of shape (n_clusters, n_dimensions), default=None
        Centres c of the clusters in the projected, row-normalised space. None if
        dimensions are clusters.
    patterns : LabelledPatterns, default=None
        Combinations of base clusters that are looked up instead.
    """

    projection: np.ndarray
    centers: np.ndarray | None = None
    patterns: LabelledPatterns | None = None

    def assign(self, base: BaseClusterings) -> np.ndarray:
        """Return the cluster of every sample; -1 where no run has it in one."""
        labels = np.empty(len(base.labels), dtype=np.intp)
        for rows, indicator in base.chunks():
            scores = indicator @ self.projection
            if self.centers is not None:
                # |e - c|^2 = |e|^2 - 2ec + |c|^2, where |e|^2 is the same for all c
                scores = normalize(scores) @ self.centers.T
                scores -= (self.centers**2).sum(axis=1) / 2
            best = scores.argmax(axis=1)
            if self.patterns is not None:
                listed = self.patterns.find(base.labels[rows])
                best = np.where(listed >= 0, listed, best)
            labels[rows] = np.where(indicator.sum(axis=1) > 0, best, -1)
        return labels


def labels_of_branches(
    base: BaseClusterings, shares: np.ndarray, n_runs: Sequence[int]
) -> np.ndarray:
    """Assign samples by the runs of each branch alone, whatever the branch weighs.

    Parameters
    ----------
    base : BaseClusterings
        Runs of all branches, branch after branch.
    shares : ndarray of shape (n_base_clusters, n_clusters)
        Shares of the consensus clusters in each base cluster; rows add up to 1.
    n_runs : list of int
        Number of runs of each branch.

    Returns
    -------
    ndarray of int of shape (n_samples, n_branches)
        Clusters; -1 for samples that a branch does not cluster.
    """
    by_shares = ConsensusMap(shares)
    hard = replace(base, memberships=[])
    return np.column_stack(
        [
            by_shares.assign(replace(hard, weights=np.repeat(alone, n_runs)))
            for alone in np.eye(len(n_runs))
        ]
    )


def shared_memberships(base: BaseClusterings, shares: np.ndarray) -> np.ndarray:
    """Compute the mean share of each consensus cluster in the clusters of a sample.

    ``P(k | i) = sum_r z_ir' S_r / sum_r |z_ir|`` with the memberships z of the sample i
    in the base clusters of the run r, and the shares S of the consensus clusters among
    their members.

    Parameters
    ----------
    base : BaseClusterings
        The runs, as they weigh.
    shares : ndarray of shape (n_base_clusters, n_clusters)
        Shares of the consensus clusters in each base cluster; rows add up to 1.

    Returns
    -------
    ndarray of shape (n_samples, n_clusters)
        Memberships, which add up to 1; NaN where no run of positive weight has the
        sample in a cluster.
    """
    memberships = np.empty((len(base.labels), shares.shape[1]))
    for rows, indicator in base.chunks():
        total = indicator.sum(axis=1)[:, None]
        memberships[rows] = np.nan
        np.divide(indicator @ shares, total, out=memberships[rows], where=total > 0)
    return memberships


def vote(base: BaseClusterings, n_clusters: int) -> tuple[np.ndarray, ConsensusMap]:
    """Match the clusters of every run to a reference, then take the weighted vote.

    Clusters are matched by the Hungarian method. The reference is the run with the
    largest mean normalised mutual information with the others; the vote becomes the
    reference of a second round. Ties go to the label that the voting clusters share
    most members with (Dimitriadou, Weingessel and Hornik 2002).

    Parameters
    ----------
    base : BaseClusterings
        The runs; soft memberships are proportional votes.
    n_clusters : int
        Number of clusters, which at least one run of positive weight must have.

    Returns
    -------
    labels : ndarray of int of shape (n_samples,)
        Clusters.
    consensus : ConsensusMap
        Assigns further samples.

    Raises
    ------
    ValueError
        If no run of positive weight has this number of clusters.
    """
    information = mutual_information_between(base)
    eligible = (base.n_clusters == n_clusters) & (base.weights > 0)
    if not eligible.any():
        raise ValueError(
            f"no base clustering has {n_clusters} clusters (they have "
            f"{sorted(set(base.n_clusters.tolist()))}), so that a vote has no "
            "reference; use combine='hbgf' or 'coassociation'"
        )
    # a modality of weight 0 has no influence on the choice either
    merit = np.where(eligible, information @ (base.weights > 0), -1.0)
    labels = base.labels[:, np.argmax(merit)]
    for _ in range(2):
        consensus = ConsensusMap(_matched_clusters(base, labels, n_clusters))
        labels = consensus.assign(base)
    return labels, consensus


def _matched_clusters(
    base: BaseClusterings, labels: np.ndarray, n_clusters: int
) -> np.ndarray:
    """Match the clusters of each run to labels, one to one where there are enough."""
    counts = label_counts(base, labels, n_clusters)
    matched = np.zeros_like(counts)
    for start, stop in zip(base.offsets[:-1], base.offsets[1:], strict=True):
        best = counts[start:stop].argmax(axis=1)  # of clusters beyond n_clusters
        rows, columns = linear_sum_assignment(counts[start:stop], maximize=True)
        best[rows] = columns
        matched[np.arange(start, stop), best] = 1.0
    return matched + VOTE_TIE_BREAK * normalize(counts, norm="l1")


def hbgf(
    base: BaseClusterings, n_clusters: int, random_state: np.random.RandomState
) -> tuple[np.ndarray, ConsensusMap]:
    """Cut the bipartite graph of samples and base clusters (HBGF).

    Minimises the normalised cut in its spectral relaxation (Fern and Brodley 2004):
    samples are embedded by the leading singular vectors of ``D_x^-1/2 Z D_c^-1/2``,
    with the indicator matrix Z and the degrees D of samples and of base clusters, and
    clustered by k-means on rows of unit length. The vectors come from the small matrix
    of clusters against clusters.

    Parameters
    ----------
    base : BaseClusterings
        The runs.
    n_clusters : int
        Number of clusters.
    random_state : RandomState instance
        Generator for k-means and, if there are many samples, for the draw of those
        that it is fitted to.

    Returns
    -------
    labels : ndarray of int of shape (n_samples,)
        Clusters.
    consensus : ConsensusMap
        Assigns further samples.
    """
    gram = indicator_gram(base, per_row=True)
    degrees = gram.sum(axis=0)
    scale = np.divide(
        1, np.sqrt(degrees), where=degrees > 0, out=np.zeros_like(degrees)
    )
    # runs that agree repeat eigenvalues, at which Lanczos iteration would restart from
    # a random vector that no seed controls
    size = len(gram)
    leading = [max(0, size - n_clusters), size - 1]
    normalised = gram * scale * scale[:, None]
    values, vectors = linalg.eigh(normalised, subset_by_index=leading)
    kept = values > SMALLEST_GRAM_EIGENVALUE
    projection = scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])
    rows = base.clustered()
    if len(rows) > CONSENSUS_KMEANS_ROWS:
        rows = np.sort(random_state.choice(rows, CONSENSUS_KMEANS_ROWS, replace=False))
    some = base.take(rows)
    embedded = normalize(some.indicator() @ projection)
    # k-means warns if it is to find more clusters than there are points
    distinct = len(np.unique(embedded.round(8), axis=0))
    kmeans = KMeans(min(n_clusters, distinct), n_init=10, random_state=random_state)
    kmeans.fit(embedded, sample_weight=some.sample_weight)
    consensus = ConsensusMap(projection, kmeans.cluster_centers_)
    return consensus.assign(base), consensus


def coassociation(
    base: BaseClusterings,
    n_clusters: int,
    random_state: np.random.RandomState,
    n_landmarks: int,
) -> tuple[np.ndarray, ConsensusMap]:
    """Cluster by average linkage on how often two samples share a base cluster.

    Evidence accumulation (Fred and Jain 2005), where the distance of two samples is
    one minus the weighted share of runs that have them in one cluster, among the runs
    that have both. The linkage is of landmarks, all samples if there are no more than
    `n_landmarks`; others join the cluster whose landmarks they share most base
    clusters with. Samples with the same base clusters are one point of the linkage.

    Parameters
    ----------
    base : BaseClusterings
        The runs.
    n_clusters : int
        Number of clusters.
    random_state : RandomState instance
        Generator for the draw of landmarks.
    n_landmarks : int
        Largest number of samples to link; time and memory grow with its square.

    Returns
    -------
    labels : ndarray of int of shape (n_samples,)
        Clusters.
    consensus : ConsensusMap
        Assigns further samples.
    """
    rows = base.clustered()
    if len(rows) > n_landmarks:
        rows = np.sort(random_state.choice(rows, n_landmarks, replace=False))
    landmarks = base.take(rows)
    keys = _row_keys(landmarks.labels)
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    sizes = np.bincount(which, weights=landmarks.sample_weight).astype(float)
    order = np.argsort(first)  # ties are broken by the order of samples
    linked = np.empty(len(first), dtype=np.intp)
    # without a name, the distances are freed before all samples are assigned
    linked[order] = average_linkage(
        coassociation_distance(landmarks.take(first[order])), sizes[order], n_clusters
    )
    consensus = ConsensusMap(
        _mean_memberships(landmarks, linked[which]),
        patterns=LabelledPatterns(landmarks.labels[first].astype(np.int32), linked),
    )
    return consensus.assign(base), consensus


def average_linkage(
    distance: np.ndarray, sizes: np.ndarray, n_clusters: int
) -> np.ndarray:
    """Cluster groups of samples by average linkage (nearest-neighbor chain).

    Parameters
    ----------
    distance : ndarray of shape (n_groups, n_groups)
        Mean distances between samples of two groups; it is overwritten.
    sizes : ndarray of shape (n_groups,)
        Number of samples of each group, or their total weight.
    n_clusters : int
        Number of clusters; every group is a cluster if there are no more.

    Returns
    -------
    ndarray of int of shape (n_groups,)
        Clusters, in the order of their first groups.
    """
    n_groups, sizes = len(distance), sizes.copy()
    np.fill_diagonal(distance, np.inf)
    merges: list[tuple[float, int, int]] = []
    chain: list[int] = []
    remaining = np.ones(n_groups, dtype=bool)
    while len(merges) < n_groups - 1:
        if not chain:
            chain = [int(remaining.argmax())]
        row = distance[chain[-1]]
        nearest = int(row.argmin())
        if len(chain) == 1 or row[chain[-2]] > row[nearest]:
            chain.append(nearest)
            continue
        # the last two are each other's nearest: one is merged into the other
        gone, stays = sorted([chain.pop(), chain.pop()])
        row = distance[gone]
        merges.append((float(row[stays]), gone, stays))
        total = sizes[gone] + sizes[stays]
        row = (sizes[gone] * row + sizes[stays] * distance[stays]) / total
        row[[gone, stays]] = np.inf
        distance[stays] = distance[:, stays] = row
        distance[gone] = distance[:, gone] = np.inf
        sizes[stays], remaining[gone] = total, False
    # the chain merges out of order: the lowest merges make the clusters
    heights = [height for height, *_ in merges]
    lowest = np.argsort(heights, kind="stable")[: max(0, n_groups - n_clusters)]
    edges = np.array([merges[m][1:] for m in lowest], np.int32).reshape(-1, 2)
    joined = sparse.coo_array(
        (np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n_groups, n_groups)
    )
    return connected_components(joined, directed=False)[1]


def coassociation_distance(base: BaseClusterings) -> np.ndarray:
    """Compute one minus the weighted share of runs that put two samples together.

    Parameters
    ----------
    base : BaseClusterings
        Runs, as they weigh.

    Returns
    -------
    ndarray of shape (n_samples, n_samples)
        Values between 0 and 1; 1 for pairs without a run that has both.
    """
    n_samples = len(base.labels)
    check_fits(
        n_samples**2 * np.dtype(float).itemsize,
        f"the co-association of {n_samples} distinct samples",
        "give a smaller n_landmarks, or combine='hbgf'",
    )
    # roots, since each weight enters a product of two rows
    roots = BaseClusterings(base.labels, base.n_clusters, np.sqrt(base.weights))
    indicator = roots.indicator()
    clustered = (base.labels >= 0) * roots.weights
    distance = np.empty((n_samples, n_samples))
    n_rows = max(1, DISTANCE_BLOCK_CELLS // n_samples)
    for start in range(0, n_samples, n_rows):
        # in blocks of rows, up to the diagonal: temporary arrays are as small as these
        stop = min(n_samples, start + n_rows)
        together = (indicator[start:stop] @ indicator[:stop].T).toarray()
        possible = clustered[start:stop] @ clustered[:stop].T
        shares = np.divide(together, possible, where=possible > 0, out=together * 0)
        block = np.clip(1 - shares, 0, 1)
        distance[start:stop, :start] = block[:, :start]
        distance[:start, start:stop] = block[:, :start].T
        # the linkage needs symmetry to the last bit, which products do not promise
        lower = np.tril(block[:, start:], -1)
        distance[start:stop, start:stop] = lower + lower.T
    return distance


def _mean_memberships(base: BaseClusterings, labels: np.ndarray) -> np.ndarray:
    """Compute the share of each label's samples in each base cluster, run by run."""
    shares = label_counts(base, labels, int(labels.max()) + 1)
    for start, stop in zip(base.offsets[:-1], base.offsets[1:], strict=True):
        shares[start:stop] /= np.maximum(shares[start:stop].sum(axis=0), 1)
    return shares
