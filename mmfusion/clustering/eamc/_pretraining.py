"""Pretraining of EAMC: neighbours in the modalities learn to share a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.nn._data import Batch, Batches
from mmfusion.nn._net import DeepNet, Objective
from mmfusion.nn._network import Outputs, evaluating
from mmfusion.nn.losses import cluster_size_divergence, neighbor_disagreement

MAX_NEIGHBOR_ROWS = 10_000  # samples among which neighbours are searched
SCORE_CHUNK_ROWS = 1024  # samples encoded at a time


# Pairs of neighbours


class PairedBatch(NamedTuple):
    """Samples and one neighbour of each.

    Parameters
    ----------
    batch : Batch
        The m samples, then their m neighbours.
    graphs : tensor of int of shape (m,)
        The graph each pair is an edge of.
    """

    batch: Batch
    graphs: Tensor


def neighbor_graphs(
    blocks: Sequence[np.ndarray],
    observed: np.ndarray | None,
    n_neighbors: int,
    n_jobs: int | None = None,
) -> np.ndarray:
    """Find the nearest neighbours in every modality, and in all side by side.

    Parameters
    ----------
    blocks : sequence of ndarray of shape (n, d_v)
        Prepared modalities; rows that are not observed are zeros.
    observed : ndarray of bool of shape (n, V) or None
        Which modalities of a sample are observed; None is all.
    n_neighbors : int
        Number of neighbours of a sample; at most n - 1 are found.
    n_jobs : int, default=None
        Number of threads of the search.

    Returns
    -------
    ndarray of int of shape (2 V, n, n_neighbors)
        First the graph of each modality; then, as often, that of the concatenation,
        where all modalities have one total variance. A sample that lacks a modality
        has its neighbours of the concatenation there.
    """
    n = len(blocks[0])
    n_neighbors = min(n_neighbors, n - 1)
    if n_neighbors < 1:  # a single sample is its own neighbour
        return np.zeros((2 * len(blocks), n, 1), dtype=np.intp)
    flat = [block.reshape(n, -1) for block in blocks]
    # divided by the root of the width: all modalities have one total variance
    together = np.hstack([block / np.sqrt(block.shape[1]) for block in flat])
    everywhere = _nearest_rows(together, n_neighbors, n_jobs)
    graphs = []
    for v, block in enumerate(flat):
        has_modality = np.ones(n, bool) if observed is None else observed[:, v]
        graph = everywhere.copy()
        if has_modality.sum() > n_neighbors:
            own = np.flatnonzero(has_modality)
            graph[own] = own[_nearest_rows(block[own], n_neighbors, n_jobs)]
        graphs.append(graph)
    # as many copies of it as modalities: half of all pairs are drawn from it
    return np.stack([*graphs, *[everywhere] * len(flat)])


def _nearest_rows(
    block: np.ndarray, n_neighbors: int, n_jobs: int | None
) -> np.ndarray:
    """Return the nearest other rows of every row."""
    search = NearestNeighbors(n_neighbors=n_neighbors, n_jobs=n_jobs).fit(block)
    return search.kneighbors(return_distance=False)


class NeighborPairs:
    """An epoch of samples beside a neighbour of each, from a graph drawn at random.

    Parameters
    ----------
    data : Batches
        All samples.
    rows : ndarray of int of shape (n,)
        Samples whose neighbours have been searched.
    graphs : ndarray of int of shape (G, n, n_neighbors)
        Positions in `rows` of the neighbours, as `neighbor_graphs` returns them.
    batch_size : int
        Samples of a batch, neighbours not counted.
    generator : torch.Generator
        Generator of the order and of the neighbours drawn.
    """

    def __init__(
        self,
        data: Batches,
        rows: np.ndarray,
        graphs: np.ndarray,
        batch_size: int,
        generator: torch.Generator,
    ) -> None:
        self.data = data
        self.rows, self.graphs = torch.as_tensor(rows), torch.as_tensor(graphs)
        self.batch_size = min(batch_size, len(rows))
        self.generator = generator

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def __iter__(self) -> Iterator[PairedBatch]:
        n_graphs, n, n_neighbors = self.graphs.shape
        order = torch.randperm(n, generator=self.generator)
        for step in range(len(self)):
            own = order[step * self.batch_size : (step + 1) * self.batch_size]
            graph = self._draw(n_graphs)
            neighbors = self.graphs[graph, own, self._draw(n_neighbors)]
            both = self.rows[torch.cat([own, neighbors])]
            yield PairedBatch(self.data.batch(both), graph)

    def _draw(self, high: int) -> Tensor:
        return torch.randint(high, (self.batch_size,), generator=self.generator)


@dataclass(frozen=True)
class NeighborSampler:
    """Batches of samples and neighbours; see `NeighborPairs`.

    Parameters
    ----------
    n_neighbors : int
        Number of neighbours of a sample.
    n_jobs : int, default=None
        Number of threads of the search.
    rows : ndarray of int of shape (n,), default=None
        Samples whose neighbours have been searched; None before `fit`.
    graphs : ndarray of int of shape (G, n, n_neighbors), default=None
        Their neighbours.
    """

    n_neighbors: int
    # neighbours are those of the data: they do not identify a training by themselves
    n_jobs: int | None = field(default=None, repr=False)
    rows: np.ndarray | None = field(default=None, repr=False)
    graphs: np.ndarray | None = field(default=None, repr=False)

    def fit(
        self, data: Batches, random_state: np.random.RandomState
    ) -> NeighborSampler:
        """Search the neighbours of all samples, or among some of very many."""
        rows = np.arange(len(data))
        if len(data) > MAX_NEIGHBOR_ROWS:
            rows = np.sort(random_state.permutation(len(data))[:MAX_NEIGHBOR_ROWS])
        inputs, observed, _ = data.batch(rows)
        graphs = neighbor_graphs(
            [x.cpu().numpy() for x in inputs],
            None if observed is None else observed.cpu().numpy(),
            self.n_neighbors,
            self.n_jobs,
        )
        return replace(self, rows=rows, graphs=graphs)

    def epoch(
        self, data: Batches, batch_size: int, generator: torch.Generator
    ) -> NeighborPairs:
        """Return an epoch of pairs."""
        if self.rows is None or self.graphs is None:
            raise RuntimeError("fit has not searched for neighbours")
        return NeighborPairs(data, self.rows, self.graphs, batch_size, generator)


# Trust in graphs


def sum_by_graph(pairs: Tensor, graphs: Tensor, n_graphs: int) -> tuple[Tensor, Tensor]:
    """Add up a quantity of pairs graph by graph.

    Parameters
    ----------
    pairs : tensor of shape (R, m)
        One number per clustering head and pair.
    graphs : tensor of int of shape (m,)
        The graph each pair is an edge of.
    n_graphs : int
        Number of graphs G.

    Returns
    -------
    sums : tensor of shape (R, G)
        The sums.
    counts : tensor of shape (G,)
        Number of pairs of each graph.
    """
    # a product with indicators: deterministic on every device, unlike scatter_add
    edges = F.one_hot(graphs, n_graphs).to(pairs)
    return pairs @ edges, edges.sum(0)


class GraphTrust(nn.Module):
    """Weights by which each clustering head follows each graph of neighbours.

    Edges of graph g are weighted by ``1 / D_g``, where D_g is a running mean of the
    disagreement on its edges: the gradient is that of ``sum_g log D_g``. A graph that
    contradicts the others, such as that of a modality without clusters, thus counts
    less, without a parameter (after the auto-weighted graphs of Nie, Li and Li 2016,
    who minimise a sum of roots).

    Parameters
    ----------
    n_heads : int
        Number of clustering heads R.
    n_graphs : int
        Number of graphs G.
    """

    RATE = 0.05  # of the running means
    SMALLEST_DISAGREEMENT = 0.01  # added to means: bounds the weight of any graph

    running: Tensor

    def __init__(self, n_heads: int, n_graphs: int) -> None:
        super().__init__()
        self.register_buffer("running", torch.ones(n_heads, n_graphs))

    def forward(self, pairs: Tensor, graphs: Tensor) -> Tensor:
        """Weigh pairs, of shape (R, m), by their graphs, of shape (m,)."""
        sums, counts = sum_by_graph(pairs.detach(), graphs, self.running.shape[1])
        means = sums / torch.clamp_min(counts, 1)
        self.running.lerp_(torch.where(counts > 0, means, self.running), self.RATE)
        trust = 1 / (self.running + self.SMALLEST_DISAGREEMENT)
        trust = trust / trust.mean(1, keepdim=True)
        return trust[:, graphs]


# The objective


@dataclass(frozen=True)
class NeighborAgreement(Objective):
    """Objective of pretraining (after Van Gansbeke et al. 2020).

    It is ``mean_q trust_q (-log <a_q, a_r>) + s(p) (log k - H(mean_q a_q))`` over
    samples q with a neighbour r each. The weight s of equal cluster sizes falls from
    `size_weight` to 1 with the progress p: at 1, agreement and sizes bound the mutual
    information of the clusters of neighbours. A larger weight finds the clusters, but
    would not let their sizes differ.

    Parameters
    ----------
    size_weight : float
        Weight of equal cluster sizes at first.
    """

    size_weight: float

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights of both terms at a progress of the phase."""
        size_weight = self.size_weight + (1 - self.size_weight) * progress
        return {"disagreement": 1.0, "imbalance": size_weight}

    def agreement(self, outputs: Outputs) -> tuple[Tensor, Tensor]:
        """Compute the disagreement of every pair, and the imbalance of clusters.

        Shapes are (R, m) and (R,) for R clustering heads.
        """
        logits = outputs.logits
        assignment = logits.softmax(-1).reshape(-1, *logits.shape[-2:])
        samples, neighbors = assignment.chunk(2, dim=-2)
        pairs = neighbor_disagreement(samples, neighbors)
        return pairs, cluster_size_divergence(assignment)

    def step(self, net: DeepNet, batch: PairedBatch) -> dict[str, Tensor]:
        """Train on pairs, weighted by the trust in their graphs."""
        encoded = net.encode(batch.batch, n_blocks=2)
        latents, observed = encoded.latents, encoded.observed
        # neighbours agree before attention learns which modalities to weigh
        equal = torch.full_like(net.module_.frozen, 1 / len(latents))
        pairs, imbalance = self.agreement(net.fuse(latents, observed, equal))
        trust = net.parts_["trust"](pairs, batch.graphs)
        terms = {"disagreement": (trust * pairs).mean(), "imbalance": imbalance.mean()}
        minimized = net.minimize(terms, self.weights(net.progress_))
        # the history records the plain mean, which can be compared between epochs
        return minimized | {"disagreement": pairs.detach().mean()}


# The competition of clustering heads


def score_heads(net: DeepNet, pairs: NeighborPairs) -> Tensor:
    """Compute the objective of pretraining for every clustering head.

    All edges of all graphs count. Those that one epoch draws are too few on small sets:
    heads and restarts differ by less than the scores of two epochs.

    Parameters
    ----------
    net : DeepNet
        The net in pretraining.
    pairs : NeighborPairs
        The samples and their graphs.

    Returns
    -------
    tensor of shape (n_heads,)
        Mean over graphs of the logarithm of their disagreement, plus the imbalance of
        clusters.
    """
    with evaluating(net.module_):
        assigned = _assign_by_heads(net, pairs)
        means = torch.stack([_disagreement(assigned, graph) for graph in pairs.graphs])
        logarithms = (means + GraphTrust.SMALLEST_DISAGREEMENT).log()
        return logarithms.mean(0) + cluster_size_divergence(assigned)


def _disagreement(assigned: Tensor, graph: Tensor) -> Tensor:
    """Average the disagreement over the edges of a graph, for each of R heads."""
    by_neighbor = [
        # one neighbour of all samples at a time, which bounds the memory
        neighbor_disagreement(assigned, assigned[:, neighbors]).mean(1)
        for neighbors in graph.mT.to(assigned.device)
    ]
    return torch.stack(by_neighbor).mean(0)


def _assign_by_heads(net: DeepNet, pairs: NeighborPairs) -> Tensor:
    """Assign all samples that have graphs, by every head: shape (R, n, k)."""
    logits = [
        net.module_(*pairs.data.batch(rows)[:2]).logits
        for rows in pairs.rows.split(SCORE_CHUNK_ROWS)
    ]
    whole = torch.cat(logits, dim=-2)
    return whole.softmax(-1).reshape(-1, *whole.shape[-2:])


def score_best_head(net: DeepNet, pairs: NeighborPairs) -> float:
    """Score a restart by its best clustering head, without an end of the competition.

    Parameters
    ----------
    net : DeepNet
        The net in pretraining.
    pairs : NeighborPairs
        Samples and graphs by which restarts are compared.

    Returns
    -------
    float
        Score of the best head.
    """
    return float(score_heads(net, pairs).min())


def keep_best_head(net: DeepNet, pairs: NeighborPairs) -> float:
    """End the competition of the clustering heads.

    Parameters
    ----------
    net : DeepNet
        The net; it keeps one head, and its optimizers are made anew, since their
        running means are of parameters that are gone.
    pairs : NeighborPairs
        Samples and graphs by which the heads are compared.

    Returns
    -------
    float
        Score of the best head.
    """
    scores = score_heads(net, pairs)
    best = int(scores.argmin())
    net.module_.heads.keep(best)
    net.initialize_optimizer()
    return float(scores[best])
