"""Several clusterings of the same samples: members, counts, agreement.

Everything works on chunks of samples and on tables of cluster against cluster, so that
nothing of size n_samples x n_samples is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import sparse
from sklearn.metrics import mutual_info_score
from sklearn.preprocessing import normalize
from sklearn.utils import gen_batches

from mmfusion._typing import NumericBlock

CLUSTERING_CHUNK_ROWS = 2**15  # bounds the indicator matrix in memory


def cluster_members(
    labels: np.ndarray, sample_weight: np.ndarray | None = None
) -> tuple[np.ndarray, sparse.csr_array]:
    """Write labels as an indicator matrix.

    Parameters
    ----------
    labels : ndarray of int of shape (n_samples,)
        Clusters; negative ones are none (noise, or a missing modality).
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples; those of weight 0 are in no cluster.

    Returns
    -------
    clusters : ndarray of int of shape (n_clusters,)
        Sorted labels of the clusters.
    members : CSR array of shape (n_samples, n_clusters)
        Weight of each sample (1 without weights) in the column of its cluster; rows
        of samples in none are empty.
    """
    weight = np.ones(len(labels)) if sample_weight is None else sample_weight
    is_member = (labels >= 0) & (weight > 0)
    clusters, codes = np.unique(labels[is_member], return_inverse=True)
    edges = np.concatenate([[0], np.cumsum(is_member)])
    shape = (len(labels), len(clusters))
    return clusters, sparse.csr_array((weight[is_member], codes, edges), shape=shape)


def cluster_sums(block: NumericBlock, members: sparse.csr_array) -> np.ndarray:
    """Sum the rows of each cluster, chunk by chunk: no copy of the block is made.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Rows to sum.
    members : CSR array of shape (n_samples, n_clusters)
        Indicator matrix of `cluster_members`.

    Returns
    -------
    ndarray of shape (n_clusters, n_features)
        Sums by cluster.
    """
    sums = np.zeros((members.shape[1], block.shape[1]))
    for rows in gen_batches(block.shape[0], CLUSTERING_CHUNK_ROWS):
        of_chunk = members[rows].T @ block[rows]
        sums += of_chunk.toarray() if sparse.issparse(of_chunk) else of_chunk
    return sums


def adjusted_rand_index(
    first: np.ndarray, second: np.ndarray, sample_weight: np.ndarray | None = None
) -> float:
    """Compute the adjusted Rand index of two clusterings of weighted samples.

    Parameters
    ----------
    first, second : ndarray of int of shape (n_samples,)
        Clusters; negative ones are clusters too.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples: how often each counts.

    Returns
    -------
    float
        Index of scikit-learn, as if samples were repeated as often as they count.
    """
    if sample_weight is None:  # scikit-learn's checks of labels take ten times as long
        sample_weight = np.ones(len(first))
    rows, columns = (np.unique(c, return_inverse=True)[1] for c in (first, second))
    table = sparse.coo_array((sample_weight, (rows, columns))).toarray()
    # ordered pairs of samples, less those of a sample with itself
    itself = float(sample_weight @ np.minimum(sample_weight, 1))
    total = float(sample_weight.sum()) ** 2 - itself
    both = float((table**2).sum()) - itself
    ones, others = (float((table.sum(axis=a) ** 2).sum()) - itself for a in (0, 1))
    expected = ones * others / total if total > 0 else 0.0
    most = (ones + others) / 2
    if most - expected <= 1e-12 * most:  # 0 / 0: one cluster, or only lone samples
        return 1.0
    return (both - expected) / (most - expected)


def agreement_by_modality(
    labels: np.ndarray,
    modality_labels: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Compute the adjusted Rand index of each modality's labels with the fused ones.

    Parameters
    ----------
    labels : ndarray of int of shape (n_samples,)
        Fused labels.
    modality_labels : ndarray of int of shape (n_samples, n_modalities)
        Labels by modality; -1 where there is none.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples: how often each counts.

    Returns
    -------
    ndarray of shape (n_modalities,)
        Indices over the samples with a label; NaN if there is none.
    """
    scores = np.full(modality_labels.shape[1], np.nan)
    for v, own in enumerate(modality_labels.T):
        labelled = own >= 0
        if labelled.any():
            weight = None if sample_weight is None else sample_weight[labelled]
            scores[v] = adjusted_rand_index(labels[labelled], own[labelled], weight)
    return scores


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
        Soft memberships of each run; empty where there are labels only.
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
        """Start of the clusters of each run among the clusters of all runs."""
        return np.concatenate([[0], np.cumsum(self.n_clusters)])

    def take(self, rows: slice | np.ndarray) -> BaseClusterings:
        """Return the clusterings of some of the samples."""
        soft = [m[rows] for m in self.memberships]
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return replace(
            self, labels=self.labels[rows], memberships=soft, sample_weight=weight
        )

    def hard(self) -> BaseClusterings:
        """Return the labels without soft memberships, with equal weights of runs."""
        return replace(self, weights=np.ones(len(self.weights)), memberships=[])

    def clustered(self) -> np.ndarray:
        """Return the positions of weighted samples in a cluster of a weighted run."""
        clustered = (self.labels >= 0) @ (self.weights > 0)
        if self.sample_weight is not None:
            clustered &= self.sample_weight > 0
        return np.flatnonzero(clustered)

    def indicator(self) -> sparse.csr_array:
        """Return the weighted membership of every sample in every base cluster."""
        n_samples, n_runs = self.labels.shape
        offsets = self.offsets
        if self.memberships:
            soft = [
                np.where(self.labels[:, [r]] >= 0, m, 0) * self.weights[r]
                for r, m in enumerate(self.memberships)
            ]
            return sparse.csr_array(np.hstack(soft))
        is_member = self.labels >= 0
        # a CSR matrix from its parts: rows are samples, sorted as the mask is read
        columns = (self.labels + offsets[:-1])[is_member]
        values = np.broadcast_to(self.weights, (n_samples, n_runs))[is_member]
        edges = np.concatenate([[0], np.cumsum(is_member.sum(axis=1))])
        shape = (n_samples, int(offsets[-1]))
        return sparse.csr_array((values, columns, edges), shape=shape)

    def weighted_rows(self, indicator: sparse.csr_array) -> sparse.csr_array:
        """Multiply the rows of these samples by the samples' weights."""
        if self.sample_weight is None:
            return indicator
        return sparse.diags(self.sample_weight, format="csr") @ indicator

    def chunks(self) -> Iterator[tuple[slice, sparse.csr_array]]:
        """Iterate over chunks of the indicator matrix, never all of it in memory."""
        for rows in gen_batches(len(self.labels), CLUSTERING_CHUNK_ROWS):
            yield rows, self.take(rows).indicator()


def join_runs(clusterings: Sequence[BaseClusterings]) -> BaseClusterings:
    """Concatenate the runs of several clusterings of the same samples."""
    return BaseClusterings(
        np.hstack([some.labels for some in clusterings]),
        np.concatenate([some.n_clusters for some in clusterings]),
        np.concatenate([some.weights for some in clusterings]),
        [m for some in clusterings for m in some.memberships],
    )


def weigh_runs(
    base: BaseClusterings, weights: np.ndarray, n_runs: Sequence[int]
) -> BaseClusterings:
    """Divide the weight of each branch among its runs.

    Parameters
    ----------
    base : BaseClusterings
        Runs of all branches, branch after branch.
    weights : ndarray of shape (n_branches,)
        Weights of the branches.
    n_runs : list of int
        Number of runs of each branch.

    Returns
    -------
    BaseClusterings
        The runs with their weights.
    """
    return replace(base, weights=np.repeat(weights / n_runs, n_runs))


def most_frequent_n_clusters(base: BaseClusterings) -> int:
    """Return the most frequent number of clusters, the smallest of equally frequent."""
    found = base.n_clusters[(base.weights > 0) & (base.n_clusters > 0)]
    numbers, counts = np.unique(found, return_counts=True)
    return int(numbers[counts.argmax()])


def contingencies(base: BaseClusterings) -> np.ndarray:
    """Count the samples that each pair of base clusters shares.

    Parameters
    ----------
    base : BaseClusterings
        Runs, whose labels count, and the weights of samples; weights of runs and soft
        memberships do not.

    Returns
    -------
    ndarray of shape (n_base_clusters, n_base_clusters)
        Contingency table of runs r and s in block (r, s).
    """
    return indicator_gram(base.hard())


def indicator_gram(base: BaseClusterings, *, per_row: bool = False) -> np.ndarray:
    """Compute ``Z' W Z`` with the indicator matrix Z and the weights W of the samples.

    Parameters
    ----------
    base : BaseClusterings
        The runs.
    per_row : bool, default=False
        Whether the rows of the second factor are divided by their sums.

    Returns
    -------
    ndarray of shape (n_base_clusters, n_base_clusters)
        The product, summed over chunks of samples.
    """
    size = int(base.offsets[-1])
    total = np.zeros((size, size))
    for rows, indicator in base.chunks():
        other = normalize(indicator, norm="l1") if per_row else indicator
        product = (indicator.T @ base.take(rows).weighted_rows(other)).tocoo()
        total[product.row, product.col] += product.data
    return total


def mutual_information_between(base: BaseClusterings) -> np.ndarray:
    """Compute the normalised mutual information of each pair of runs.

    ``I(r, s) / ((H(r) + H(s)) / 2)`` over the samples that both runs have clustered.

    Parameters
    ----------
    base : BaseClusterings
        The runs.

    Returns
    -------
    ndarray of shape (n_runs, n_runs)
        Values between 0 and 1.
    """
    tables = contingencies(base)
    offsets = base.offsets  # tables of all pairs of runs are blocks of one matrix
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
    if entropy == 0:  # one cluster each: the same partition
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
        Runs, whose labels count, and the weights of samples; weights of runs and soft
        memberships do not.
    labels : ndarray of int of shape (n_samples,)
        Labels from 0 to n_labels - 1; -1 is none.
    n_labels : int
        Number of labels.

    Returns
    -------
    ndarray of shape (n_base_clusters, n_labels)
        Counts, as samples weigh.
    """
    counts = np.zeros((int(base.offsets[-1]), n_labels))
    one = np.ones(1)
    for rows, indicator in base.hard().chunks():
        own = BaseClusterings(labels[rows, None], np.array([n_labels]), one)
        counted = base.take(rows).weighted_rows(own.indicator())
        counts += (indicator.T @ counted).toarray()
    return counts
