"""Nearest neighbours by dynamic time warping, where all costs are computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mmfusion._typing import MetricLike
from mmfusion.alignment.dtw._constraints import Constraints
from mmfusion.alignment.dtw._pairwise import costs_of_all_pairs

PAIRS_OF_COSTS = 2**22  # whose matrix takes little memory


class FoundNeighbors(NamedTuple):
    """Neighbours of some queries.

    Parameters
    ----------
    distances, indices : ndarray of shape (n_queries, n_neighbors)
        The neighbours, as `dtw_neighbors` returns them.
    counts : ndarray of int64 of shape (5,)
        Pairs by how they were decided, as `search_neighbors` returns them.
    n_rows : ndarray of float64 of shape (2,)
        Rows of recurrences that were accumulated, with those that take the time of the
        bounds, and the rows of all pairs.
    """

    distances: np.ndarray
    indices: np.ndarray
    counts: np.ndarray
    n_rows: np.ndarray


def search_parts_of_costs(
    queries: list[np.ndarray],
    others: list[np.ndarray],
    metric: str,
    constraints: Constraints,
    n_neighbors: int,
    n_jobs: int | None,
    *,
    alone: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the nearest sequences by all costs, of some queries at a time."""
    parts = []
    n_parts = max(1, -(-len(queries) * len(others) // PAIRS_OF_COSTS))
    for some in np.array_split(np.arange(len(queries)), n_parts):
        own = [queries[q] for q in some]
        costs = costs_of_all_pairs(own, others, metric, constraints, n_jobs)
        if alone:
            costs[np.arange(len(some)), some] = np.inf
        parts.append(_nearest_of_costs(costs, n_neighbors))
    return join_found(parts)


def search_all_costs(
    queries: list[np.ndarray],
    others: list[np.ndarray] | None,
    n_neighbors: int,
    n_jobs: int | None,
    metric: MetricLike,
    constraints: Constraints,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the nearest sequences by all costs; without others, among the queries."""
    costs = costs_of_all_pairs(queries, others, metric, constraints, n_jobs)
    if others is None:
        np.fill_diagonal(costs, np.inf)
    return _nearest_of_costs(costs, n_neighbors)[:3]


def _nearest_of_costs(costs: np.ndarray, n_neighbors: int) -> FoundNeighbors:
    if n_neighbors == 1:
        nearest = costs.argmin(axis=1)[:, None]
    else:
        nearest = np.argsort(costs, axis=1, kind="stable")[:, :n_neighbors]
    counts = np.array([0, 0, 0, 0, costs.size])
    distances = np.take_along_axis(costs, nearest, axis=1)
    return FoundNeighbors(distances, nearest, counts, np.zeros(2))


def join_found(
    parts: Sequence[FoundNeighbors],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join the neighbours of consecutive queries."""
    distances = np.concatenate([part.distances for part in parts])
    indices = np.concatenate([part.indices for part in parts])
    return distances, indices, np.sum([part.counts for part in parts], axis=0)
