"""Neighbours of samples in every modality: pairs that should share a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from mmfusion.nn._data import Batch, Batches


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
        Which sample has which modality.
    n_neighbors : int
        Neighbours of a sample; at most n - 1 are found.
    n_jobs : int, default=None
        Threads of the search.

    Returns
    -------
    ndarray of int of shape (2 V, n, n_neighbors)
        First the graph of each modality; then, as often, that of the concatenation,
        where all modalities have one total variance. A sample that lacks a modality
        has its neighbours of the concatenation there.
    """
    n = len(blocks[0])
    n_neighbors = min(n_neighbors, n - 1)
    if n_neighbors < 1:
        return np.zeros((2 * len(blocks), n, 1), dtype=np.intp)
    flat = [block.reshape(n, -1) for block in blocks]
    together = np.hstack([block / np.sqrt(block.shape[1]) for block in flat])
    everywhere = _nearest(together, n_neighbors, n_jobs)
    graphs = []
    for v, block in enumerate(flat):
        present = np.ones(n, bool) if observed is None else observed[:, v]
        graph = everywhere.copy()
        if present.sum() > n_neighbors:
            own = np.flatnonzero(present)
            graph[own] = own[_nearest(block[own], n_neighbors, n_jobs)]
        graphs.append(graph)
    return np.stack([*graphs, *[everywhere] * len(flat)])


def _nearest(block: np.ndarray, n_neighbors: int, n_jobs: int | None) -> np.ndarray:
    search = NearestNeighbors(n_neighbors=n_neighbors, n_jobs=n_jobs).fit(block)
    return search.kneighbors(return_distance=False)


class NeighborPairs:
    """An epoch of samples beside a neighbour of each, from a graph drawn at random.

    Parameters
    ----------
    data : Batches
        All samples.
    rows : ndarray of int of shape (n,)
        Those whose neighbours are known.
    graphs : ndarray of int of shape (G, n, n_neighbors)
        Positions in `rows` of the neighbours, as from `neighbor_graphs`.
    batch_size : int
        Samples of a batch, neighbours not counted.
    generator : torch.Generator
        Where the order and the draws come from.
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

    def _draw(self, high: int) -> Any:
        return torch.randint(high, (self.batch_size,), generator=self.generator)
