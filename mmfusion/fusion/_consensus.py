"""Consensus of clusterings: one clustering from many, without classes.

Everything works on chunks of samples and on tables of cluster against cluster, so that
nothing of size n_samples x n_samples is made. Each method returns labels for the
samples it was given and a `Consensus` that assigns further samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import linalg, sparse
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import KMeans
from sklearn.metrics import mutual_info_score
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from mmfusion._memory import check_fits
from mmfusion.fusion._clusterers import CHUNK_ROWS

TABLES_OF_PAIRS = 4  # of a co-association, at its peak
KMEANS_ROWS = 20_000  # the embedding repeats itself: more rows do not move the centres
TIE_BREAK = 1e-6


@dataclass(frozen=True)
class BaseClusterings:
    """Several clusterings of the same samples ('runs').

    Parameters
    ----------
    labels : ndarray of int of shape (n_samples, n_runs)
        Cluster of each sample in each run, 0 to n_clusters - 1; -1 where it has none.
    n_clusters : ndarray of int of shape (n_runs,)
        Number of clusters of each run.
    weights : ndarray of shape (n_runs,)
        Weight of each run.
    memberships : list of ndarray of shape (n_samples, n_clusters), default=()
        Soft memberships of each run; empty where labels are all there is.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weight of each sample: how often it counts. None is 1 for all.
    """

    labels: np.ndarray
    n_clusters: np.ndarray
    weights: np.ndarray
    memberships: list[np.ndarray] = field(default_factory=list)
    sample_weight: np.ndarray | None = None

    @property
    def offsets(self) -> np.ndarray:
        """Where the clusters of each run begin, among the clusters of all runs."""
        return np.concatenate([[0], np.cumsum(self.n_clusters)])

    def take(self, rows: Any) -> BaseClusterings:
        """Take samples."""
        soft = [m[rows] for m in self.memberships]
        own = None if self.sample_weight is None else self.sample_weight[rows]
        return replace(
            self, labels=self.labels[rows], memberships=soft, sample_weight=own
        )

    def hard(self) -> BaseClusterings:
        """Take the labels alone, of runs that weigh the same."""
        return replace(self, weights=np.ones(len(self.weights)), memberships=[])

    def clustered(self) -> np.ndarray:
        """Positions of samples of some weight that such a run has in a cluster."""
        clustered = (self.labels >= 0) @ (self.weights > 0)
        if self.sample_weight is not None:
            clustered &= self.sample_weight > 0
        return np.flatnonzero(clustered)

    def indicator(self) -> sparse.csr_array:
        """Weighted membership of every sample in every cluster of every run."""
        n_samples, n_runs = self.labels.shape
        offsets = self.offsets
        if self.memberships:
            soft = [
                np.where(self.labels[:, [r]] >= 0, m, 0) * self.weights[r]
                for r, m in enumerate(self.memberships)
            ]
            return sparse.csr_array(np.hstack(soft))
        given = self.labels >= 0
        columns = (self.labels + offsets[:-1])[given]
        values = np.broadcast_to(self.weights, (n_samples, n_runs))[given]
        edges = np.concatenate([[0], np.cumsum(given.sum(axis=1))])
        shape = (n_samples, int(offsets[-1]))
        return sparse.csr_array((values, columns, edges), shape=shape)

    def counted(self, indicator: Any) -> Any:
        """Multiply the rows of these samples by their weights."""
        if self.sample_weight is None:
            return indicator
        return sparse.diags(self.sample_weight, format="csr") @ indicator

    def chunks(self) -> Iterator[tuple[slice, sparse.csr_array]]:
        """Go through the indicator matrix without ever making all of it."""
        for rows in gen_batches(len(self.labels), CHUNK_ROWS):
            yield rows, self.take(rows).indicator()


def join(parts: list[BaseClusterings]) -> BaseClusterings:
    """Put the runs of several parts side by side."""
    return BaseClusterings(
        np.hstack([part.labels for part in parts]),
        np.concatenate([part.n_clusters for part in parts]),
        np.concatenate([part.weights for part in parts]),
        [m for part in parts for m in part.memberships],
    )


@dataclass(frozen=True)
class Patterns:
    """Distinct combinations of base clusters, each with a cluster.

    Parameters
    ----------
    labels : ndarray of int32 of shape (n_patterns, n_runs)
        The combinations, in the order of their bytes.
    clusters : ndarray of int of shape (n_patterns,)
        The cluster of each.
    """

    labels: np.ndarray
    clusters: np.ndarray

    def find(self, labels: np.ndarray) -> np.ndarray:
        """Return the clusters of samples; -1 for other combinations."""
        own, keys = _row_keys(self.labels), _row_keys(labels)
        place = np.minimum(np.searchsorted(own, keys), len(own) - 1)
        return np.where(own[place] == keys, self.clusters[place], -1)


def _row_keys(labels: np.ndarray) -> np.ndarray:
    """Rows as strings of bytes, which can be sorted."""
    rows = np.ascontiguousarray(labels, dtype=np.int32)
    return rows.view(f"S{rows.itemsize * rows.shape[1]}").ravel()


@dataclass(frozen=True)
class Consensus:
    """Assigns samples by a linear map of their base clusters.

    Parameters
    ----------
    projection : ndarray of shape (n_base_clusters, n_dimensions)
        What each base cluster says.
    centers : ndarray of shape (n_clusters, n_dimensions), default=None
        Clusters in the projected, row-normalised space, of which the nearest is
        taken. None: dimensions are clusters, of which the largest is taken.
    patterns : Patterns, default=None
        Combinations of base clusters whose cluster is known.
    """

    projection: np.ndarray
    centers: np.ndarray | None = None
    patterns: Patterns | None = None

    def assign(self, base: BaseClusterings) -> np.ndarray:
        """Give every sample its cluster; -1 where no run has it in one."""
        labels = np.empty(len(base.labels), dtype=np.intp)
        for rows, indicator in base.chunks():
            scores = indicator @ self.projection
            if self.centers is not None:
                # |e - c|^2 = |e|^2 - 2ec + |c|^2, where |e|^2 does not choose
                scores = normalize(scores) @ self.centers.T
                scores -= (self.centers**2).sum(axis=1) / 2
            best = scores.argmax(axis=1)
            if self.patterns is not None:
                known = self.patterns.find(base.labels[rows])
                best = np.where(known >= 0, known, best)
            labels[rows] = np.where(indicator.sum(axis=1) > 0, best, -1)
        return labels


def contingencies(base: BaseClusterings) -> np.ndarray:
    """Count the samples that each pair of base clusters shares.

    Parameters
    ----------
    base : BaseClusterings
        Their labels count, and the weights of samples; weights of runs and soft
        memberships do not.

    Returns
    -------
    ndarray of shape (n_base_clusters, n_base_clusters)
        Block (r, s) is the contingency table of runs r and s.
    """
    return _gram(base.hard())


def _gram(base: BaseClusterings, *, per_row: bool = False) -> np.ndarray:
    """Indicator' indicator; `per_row` divides each row by its sum in one factor."""
    size = int(base.offsets[-1])
    total = np.zeros((size, size))
    for rows, indicator in base.chunks():
        other = normalize(indicator, norm="l1") if per_row else indicator
        product = (indicator.T @ base.take(rows).counted(other)).tocoo()
        total[product.row, product.col] += product.data
    return total


def mutual_information_between(base: BaseClusterings) -> np.ndarray:
    """Normalised mutual information of each pair of runs.

    Parameters
    ----------
    base : BaseClusterings
        The runs.

    Returns
    -------
    ndarray of shape (n_runs, n_runs)
        Over the samples that both have clustered; arithmetic normalisation.
    """
    tables = contingencies(base)
    offsets = base.offsets
    n_runs = len(base.n_clusters)
    scores = np.eye(n_runs)
    for r in range(n_runs):
        for s in range(r):
            table = tables[offsets[r] : offsets[r + 1], offsets[s] : offsets[s + 1]]
            scores[r, s] = scores[s, r] = _normalised_mutual_information(table)
    return scores


def _normalised_mutual_information(table: np.ndarray) -> float:
    if table.sum() == 0:
        return 0.0
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    entropy = (_entropy(rows) + _entropy(columns)) / 2
    if entropy == 0:  # one cluster each: the same
        return 1.0
    return mutual_info_score(None, None, contingency=table) / entropy


def _entropy(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def label_counts(
    base: BaseClusterings, labels: np.ndarray, n_labels: int
) -> np.ndarray:
    """Count the members of each base cluster that have each label.

    Parameters
    ----------
    base : BaseClusterings
        Their labels count, and the weights of samples; weights of runs and soft
        memberships do not.
    labels : ndarray of int of shape (n_samples,)
        Labels from 0 to n_labels - 1; -1 is none.
    n_labels : int
        Number of labels.

    Returns
    -------
    ndarray of shape (n_base_clusters, n_labels)
        The counts.
    """
    counts = np.zeros((int(base.offsets[-1]), n_labels))
    one = np.ones(1)
    for rows, indicator in base.hard().chunks():
        own = BaseClusterings(labels[rows, None], np.array([n_labels]), one)
        counted = base.take(rows).counted(own.indicator())
        counts += (indicator.T @ counted).toarray()
    return counts


def vote(base: BaseClusterings, n_clusters: int) -> tuple[np.ndarray, Consensus]:
    """Relabel every run to a reference by the Hungarian method, then vote.

    The reference is the run with the largest mean normalised mutual information with
    the others; the vote then becomes the reference of a second round. Ties go to the
    label that the voting clusters share most members with.

    Parameters
    ----------
    base : BaseClusterings
        The runs; soft memberships, where given, vote in proportion.
    n_clusters : int
        Number of clusters, which at least one run must have.

    Returns
    -------
    labels : ndarray of int of shape (n_samples,)
        Clusters.
    consensus : Consensus
        Assigns further samples.
    """
    information = mutual_information_between(base)
    eligible = (base.n_clusters == n_clusters) & (base.weights > 0)
    if not eligible.any():
        raise ValueError(
            f"no base clustering has {n_clusters} clusters (they have "
            f"{sorted(set(base.n_clusters.tolist()))}), so that a vote has nothing to "
            "relabel to; use combine='hbgf' or 'coassociation'"
        )
    # a modality of weight 0 has no say in the choice either
    merit = np.where(eligible, information @ (base.weights > 0), -1.0)
    labels = base.labels[:, np.argmax(merit)]
    for _ in range(2):
        consensus = Consensus(_relabelling(base, labels, n_clusters))
        labels = consensus.assign(base)
    return labels, consensus


def _relabelling(
    base: BaseClusterings, labels: np.ndarray, n_clusters: int
) -> np.ndarray:
    """Match the clusters of each run to labels, one to one as far as they go."""
    counts = label_counts(base, labels, n_clusters)
    matched = np.zeros_like(counts)
    for start, stop in zip(base.offsets[:-1], base.offsets[1:], strict=True):
        best = counts[start:stop].argmax(axis=1)  # for clusters that are left over
        rows, columns = linear_sum_assignment(counts[start:stop], maximize=True)
        best[rows] = columns
        matched[np.arange(start, stop), best] = 1.0
    return matched + TIE_BREAK * normalize(counts, norm="l1")


def hbgf(
    base: BaseClusterings, n_clusters: int, random_state: Any
) -> tuple[np.ndarray, Consensus]:
    """Cut the bipartite graph of samples and base clusters.

    Samples are embedded by the leading singular vectors of the indicator matrix,
    normalised by the degrees of samples and clusters, and clustered by k-means on
    rows of unit length (Fern and Brodley 2004, with the spectral cut). The vectors
    come from the small matrix of clusters against clusters: linear in n_samples.

    Parameters
    ----------
    base : BaseClusterings
        The runs.
    n_clusters : int
        Number of clusters.
    random_state : RandomState instance
        For k-means and, if there are many samples, for those it sees.

    Returns
    -------
    labels : ndarray of int of shape (n_samples,)
        Clusters.
    consensus : Consensus
        Assigns further samples.
    """
    gram = _gram(base, per_row=True)
    degrees = gram.sum(axis=0)
    scale = np.divide(
        1, np.sqrt(degrees), where=degrees > 0, out=np.zeros_like(degrees)
    )
    # runs that agree repeat eigenvalues, where Lanczos would restart from a random
    # vector that no seed controls
    size = len(gram)
    leading = [max(0, size - n_clusters), size - 1]
    normalised = gram * scale * scale[:, None]
    values, vectors = linalg.eigh(normalised, subset_by_index=leading)
    kept = values > 1e-10
    projection = scale[:, None] * vectors[:, kept] / np.sqrt(values[kept])
    rows = base.clustered()
    if len(rows) > KMEANS_ROWS:
        rows = np.sort(random_state.choice(rows, KMEANS_ROWS, replace=False))
    some = base.take(rows)
    embedded = normalize(some.indicator() @ projection)
    distinct = len(np.unique(embedded.round(8), axis=0))
    kmeans = KMeans(min(n_clusters, distinct), n_init=10, random_state=random_state)
    kmeans.fit(embedded, sample_weight=some.sample_weight)
    consensus = Consensus(projection, kmeans.cluster_centers_)
    return consensus.assign(base), consensus


def coassociation(
    base: BaseClusterings, n_clusters: int, random_state: Any, n_landmarks: int
) -> tuple[np.ndarray, Consensus]:
    """Average linkage on how often two samples are clustered together.

    Evidence accumulation (Fred and Jain 2005), with the evidence of a pair taken over
    the runs that have both. The linkage is of landmarks, all samples if there are no
    more than `n_landmarks`; others join the cluster with whose landmarks they are
    together most often, so that the cost is linear in n_samples. Samples with the same
    base clusters are one point of the linkage, and stay together.

    Parameters
    ----------
    base : BaseClusterings
        The runs.
    n_clusters : int
        Number of clusters.
    random_state : RandomState instance
        For the choice of landmarks.
    n_landmarks : int
        Most samples to link; time and memory grow with its square.

    Returns
    -------
    labels : ndarray of int of shape (n_samples,)
        Clusters.
    consensus : Consensus
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
    distance = coassociation_distance(landmarks.take(first[order]))
    linked = np.empty(len(first), dtype=np.intp)
    linked[order] = average_linkage(distance, sizes[order], n_clusters)
    consensus = Consensus(
        _mean_memberships(landmarks, linked[which]),
        patterns=Patterns(landmarks.labels[first].astype(np.int32), linked),
    )
    return consensus.assign(base), consensus


def average_linkage(
    distance: np.ndarray, sizes: np.ndarray, n_clusters: int
) -> np.ndarray:
    """Cluster groups of samples by average linkage, by the nearest-neighbor chain.

    Parameters
    ----------
    distance : ndarray of shape (n_groups, n_groups)
        Mean distances between samples of two groups. It is overwritten.
    sizes : ndarray of shape (n_groups,)
        Number of samples of each group, or their total weight.
    n_clusters : int
        Number of clusters; all groups stay apart if there are no more.

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
        # each is the nearest of the other
        gone, stays = sorted([chain.pop(), chain.pop()])
        row = distance[gone]
        merges.append((float(row[stays]), gone, stays))
        total = sizes[gone] + sizes[stays]
        row = (sizes[gone] * row + sizes[stays] * distance[stays]) / total
        row[[gone, stays]] = np.inf
        distance[stays] = distance[:, stays] = row
        distance[gone] = distance[:, gone] = np.inf
        sizes[stays], remaining[gone] = total, False
    heights = [height for height, *_ in merges]
    lowest = np.argsort(heights, kind="stable")[: max(0, n_groups - n_clusters)]
    edges = np.array([merges[m][1:] for m in lowest], np.int32).reshape(-1, 2)
    joined = sparse.coo_array(
        (np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(n_groups, n_groups)
    )
    return connected_components(joined, directed=False)[1]


def coassociation_distance(base: BaseClusterings) -> np.ndarray:
    """One minus the share of runs that put two samples together.

    Parameters
    ----------
    base : BaseClusterings
        The runs; weights count.

    Returns
    -------
    ndarray of shape (n_samples, n_samples)
        Between 0 and 1; 1 for pairs that no run has both of.
    """
    n_samples = len(base.labels)
    check_fits(
        TABLES_OF_PAIRS * n_samples**2 * np.dtype(float).itemsize,
        f"the co-association of {n_samples} distinct samples",
        "give a smaller n_landmarks, or combine='hbgf'",
    )
    roots = BaseClusterings(base.labels, base.n_clusters, np.sqrt(base.weights))
    indicator = roots.indicator()
    together = (indicator @ indicator.T).toarray()
    given = (base.labels >= 0) * roots.weights
    possible = given @ given.T
    shares = np.divide(together, possible, where=possible > 0, out=together * 0)
    distance = np.clip(1 - shares, 0, 1)
    np.fill_diagonal(distance, 0)
    return distance


def _mean_memberships(base: BaseClusterings, labels: np.ndarray) -> np.ndarray:
    """Share of each label's samples that each base cluster holds, run by run."""
    shares = label_counts(base, labels, int(labels.max()) + 1)
    for start, stop in zip(base.offsets[:-1], base.offsets[1:], strict=True):
        shares[start:stop] /= np.maximum(shares[start:stop].sum(axis=0), 1)
    return shares
