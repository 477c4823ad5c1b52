"""Unified graph of several modalities with as many components as clusters (GMC)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, splu

from mmfusion.clustering.graph._affinities import SMALLEST_RATIO, adaptive_weights
from mmfusion.clustering.graph._eigenvectors import leading_eigenvectors
from mmfusion.clustering.graph._simplex import nearest_on_simplex

LAPLACIAN_SHIFT = 1e-6  # of a Laplacian, relative to the mean degree, to be inverted
SMALLEST_DISTANCE = 1e-2  # of the graph of a modality to the unified one, relative
START_WEIGHT = 1.0  # of the rank constraint, doubled and halved by the rounds


@dataclass(frozen=True)
class CandidateEdges:
    """Edges that the unified graph may have: those to neighbours in any modality.

    Rows are padded to the same number of edges.

    Parameters
    ----------
    columns : ndarray of int of shape (n_samples, n_edges)
        Neighbours of each sample; padding repeats the sample itself.
    valid : ndarray of bool of shape (n_samples, n_edges)
        Which edges are no padding.
    places : list of ndarray of int of shape (n_observed, n_neighbors)
        For every modality the edges of its nearest samples, in their order.
    rows : list of ndarray of int of shape (n_observed,)
        For every modality the samples that have it.
    """

    columns: np.ndarray
    valid: np.ndarray
    places: list[np.ndarray]
    rows: list[np.ndarray]

    @classmethod
    def of(
        cls,
        n_samples: int,
        indices: Sequence[np.ndarray],
        rows: Sequence[np.ndarray],
    ) -> CandidateEdges:
        """Collect the edges of nearest samples, by their positions in a modality."""
        keys = [
            (own[:, None] * n_samples + own[near]).ravel()
            for own, near in zip(rows, indices, strict=True)
        ]
        edges, position = np.unique(np.concatenate(keys), return_inverse=True)
        starts = np.searchsorted(edges, np.arange(n_samples + 1) * n_samples)
        valid = np.arange(np.diff(starts).max()) < np.diff(starts)[:, None]
        columns = np.repeat(np.arange(n_samples)[:, None], valid.shape[1], axis=1)
        columns[valid] = edges % n_samples
        within = (np.arange(len(edges)) - np.repeat(starts[:-1], np.diff(starts)))[
            position.ravel()
        ]
        ends = np.cumsum([len(key) for key in keys])[:-1]
        pieces = np.split(within, ends)
        places = [p.reshape(i.shape) for p, i in zip(pieces, indices, strict=True)]
        return cls(columns, valid, places, list(rows))

    def graph(self, weights: np.ndarray) -> sparse.csr_array:
        """Return the mean of edges of weights (n_samples, n_edges) and their transpose.

        Edges of weight 0 are left out, so that components can be counted.
        """
        n = len(self.columns)
        row, column = np.nonzero(self.valid & (weights > 0))
        entries = (weights[row, column], (row, self.columns[row, column]))
        directed = sparse.csr_array(entries, shape=(n, n))
        return ((directed + directed.T) / 2).tocsr()


@dataclass(frozen=True)
class UnifiedGraph:
    """Result of `unify_graphs`.

    Parameters
    ----------
    graph : CSR matrix of shape (n_samples, n_samples)
        Symmetric unified graph.
    components : ndarray of int of shape (n_samples,)
        Component of each sample.
    vectors : ndarray of shape (n_samples, n_clusters)
        Eigenvectors F of the smallest eigenvalues of the Laplacian.
    eigenvalues : ndarray of shape (n_clusters,)
        These eigenvalues, in ascending order.
    weights : ndarray of shape (n_modalities,)
        Weights w_v of the modalities.
    n_iter : int
        Number of rounds.
    """

    graph: sparse.csr_array
    components: np.ndarray
    vectors: np.ndarray
    eigenvalues: np.ndarray
    weights: np.ndarray
    n_iter: int

    @property
    def n_components(self) -> int:
        """Number of components."""
        return int(self.components.max()) + 1


def unify_graphs(
    distances: Sequence[np.ndarray],
    edges: CandidateEdges,
    n_clusters: int,
    max_iter: int,
    rng: np.random.RandomState,
) -> UnifiedGraph:
    """Unify the graphs of modalities into one of `n_clusters` components.

    Alternates between the graphs of the modalities, their weights, the unified graph
    and the eigenvectors of its Laplacian; see `GMCClusterer`.

    Parameters
    ----------
    distances : list of ndarray of shape (n_observed, n_neighbors + 1)
        Distances to the nearest samples of each modality, in ascending order.
    edges : CandidateEdges
        The edges of the n_neighbors + 1 nearest samples.
    n_clusters : int
        Number of components.
    max_iter : int
        Largest number of rounds.
    rng : RandomState
        Source of starting vectors.

    Returns
    -------
    UnifiedGraph
        The graph of the last round.
    """
    squares = [d**2 for d in distances]
    graphs = [
        _placed(adaptive_weights(d), own, edges.columns.shape[1])
        for d, own in zip(distances, edges.places, strict=True)
    ]
    weights = np.full(len(graphs), 1 / len(graphs))
    unified = _mean_graph(graphs, np.ones(len(graphs)), edges)
    state = _spectrum(edges.graph(unified), n_clusters, rng)
    rank_weight, n_iter = START_WEIGHT, 0
    for _ in range(max_iter):
        n_iter += 1
        graphs = [
            modality_graph(d, unified[own], place, w)
            for d, own, place, w in zip(
                squares, edges.rows, edges.places, weights, strict=True
            )
        ]
        weights = modality_weights(graphs, unified, edges)
        costs = _squared_differences(state.vectors, edges)
        unified = unified_rows(graphs, weights, costs, rank_weight, edges)
        graph = edges.graph(unified)
        n_parts, _ = connected_components(graph, directed=False)
        if n_parts > n_clusters:  # the eigenvectors of the last round are kept
            rank_weight /= 2
            state = _Spectrum(graph, state.vectors, state.eigenvalues)
            continue
        state = _spectrum(graph, n_clusters, rng)
        if n_parts == n_clusters:
            break
        rank_weight *= 2
    _, components = connected_components(state.graph, directed=False)
    return UnifiedGraph(
        state.graph, components, state.vectors, state.eigenvalues, weights, n_iter
    )


def modality_graph(
    squares: np.ndarray, unified: np.ndarray, places: np.ndarray, weight: float
) -> np.ndarray:
    """Update the graph of a modality (its rows of nearest samples).

    With ``c_ij = d_ij^2 - 2 w u_ij`` over the k + 1 nearest samples, and the largest of
    them c_i*, it is ``s_ij = (c_i* - c_ij) / sum_l (c_i* - c_il)``: the solution for
    the regularisation at which k neighbours are left.

    Parameters
    ----------
    squares : ndarray of shape (n_observed, n_neighbors + 1)
        Squared distances.
    unified : ndarray of shape (n_observed, n_edges)
        Rows of the unified graph of the samples that have the modality.
    places : ndarray of int of shape (n_observed, n_neighbors + 1)
        Edges of the nearest samples.
    weight : float
        Weight w of the modality.

    Returns
    -------
    ndarray of shape (n_observed, n_edges)
        Rows, which add up to 1.
    """
    costs = squares - 2 * weight * np.take_along_axis(unified, places, axis=1)
    gaps = costs.max(axis=1, keepdims=True) - costs
    totals = gaps.sum(axis=1, keepdims=True)
    scale = np.abs(costs).max(axis=1, keepdims=True)
    equal = totals <= SMALLEST_RATIO * scale
    rows = np.where(equal, 1 / gaps.shape[1], gaps / np.where(equal, 1, totals))
    return _placed(rows, places, unified.shape[1])


def modality_weights(
    graphs: Sequence[np.ndarray], unified: np.ndarray, edges: CandidateEdges
) -> np.ndarray:
    """Compute the weights ``w_v = 1 / (2 ||U - S_v||_F)`` of the modalities.

    The norm of a modality that some samples lack is that of the others' rows, as if all
    rows had the same. It is at least 1 % of the norm of U.

    Parameters
    ----------
    graphs : list of ndarray of shape (n_observed, n_edges)
        Graphs S_v.
    unified : ndarray of shape (n_samples, n_edges)
        Unified graph U.
    edges : CandidateEdges
        The edges.

    Returns
    -------
    ndarray of shape (n_modalities,)
        Positive weights.
    """
    norms = [
        linalg.norm(unified[own] - graph) * np.sqrt(len(unified) / len(own))
        for graph, own in zip(graphs, edges.rows, strict=True)
    ]
    # unbounded weights of graphs that agree would outweigh the rank constraint
    return 1 / (2 * np.maximum(norms, SMALLEST_DISTANCE * linalg.norm(unified)))


def unified_rows(
    graphs: Sequence[np.ndarray],
    weights: np.ndarray,
    costs: np.ndarray,
    rank_weight: float,
    edges: CandidateEdges,
) -> np.ndarray:
    """Update the unified graph, row by row.

    The row i is the projection of ``sum_v w_v s_i^v - (lambda / 2) g_i``, divided by
    ``sum_v w_v``, on the simplex, with ``g_ij = ||f_i - f_j||^2`` and sums over the
    modalities that the sample has. It has the edges that are positive in one of them.

    Parameters
    ----------
    graphs : list of ndarray of shape (n_observed, n_edges)
        Graphs S_v.
    weights : ndarray of shape (n_modalities,)
        Weights w_v.
    costs : ndarray of shape (n_samples, n_edges)
        Squared differences g_ij.
    rank_weight : float
        Weight lambda of the rank constraint.
    edges : CandidateEdges
        The edges.

    Returns
    -------
    ndarray of shape (n_samples, n_edges)
        Rows, which add up to 1.
    """
    mean = _mean_graph(graphs, weights, edges)
    total = np.zeros(len(mean))
    for own, weight in zip(edges.rows, weights, strict=True):
        total[own] += weight
    total = np.where(total > 0, total, 1)
    target = mean - rank_weight / 2 * costs / total[:, None]
    return nearest_on_simplex(np.where(mean > 0, target, -np.inf))


def _placed(values: np.ndarray, places: np.ndarray, n_edges: int) -> np.ndarray:
    """Write the values of nearest samples to their edges; the last may have none."""
    rows = np.zeros((len(values), n_edges))
    np.put_along_axis(rows, places[:, : values.shape[1]], values, axis=1)
    return rows


def _mean_graph(
    graphs: Sequence[np.ndarray], weights: np.ndarray, edges: CandidateEdges
) -> np.ndarray:
    """Average the graphs of the modalities that each sample has."""
    n = len(edges.columns)
    mean, total = np.zeros(edges.columns.shape), np.zeros(n)
    for graph, own, weight in zip(graphs, edges.rows, weights, strict=True):
        mean[own] += weight * graph
        total[own] += weight
    return mean / np.where(total > 0, total, 1)[:, None]


def _squared_differences(vectors: np.ndarray, edges: CandidateEdges) -> np.ndarray:
    """Compute ``||f_i - f_j||^2`` of all edges."""
    norms = (vectors**2).sum(axis=1)
    products = np.empty(edges.columns.shape)
    for j, column in enumerate(edges.columns.T):
        products[:, j] = (vectors * vectors[column]).sum(axis=1)
    return np.maximum(norms[:, None] + norms[edges.columns] - 2 * products, 0)


@dataclass(frozen=True)
class _Spectrum:
    graph: sparse.csr_array
    vectors: np.ndarray
    eigenvalues: np.ndarray


def _spectrum(
    graph: sparse.csr_array, n_vectors: int, rng: np.random.RandomState
) -> _Spectrum:
    """Compute the eigenvectors of the smallest eigenvalues of the Laplacian."""
    n = graph.shape[0]
    n_parts, part = connected_components(graph, directed=False)
    sizes = np.bincount(part)
    indicators = np.zeros((n, n_parts))
    indicators[np.arange(n), part] = 1 / np.sqrt(sizes[part])
    if n_parts >= n_vectors:
        largest = np.argsort(-sizes, kind="stable")[:n_vectors]
        return _Spectrum(graph, indicators[:, largest], np.zeros(n_vectors))
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    shift = LAPLACIAN_SHIFT * degrees.mean()
    laplacian = sparse.diags_array(degrees + shift) - graph
    solve = splu(laplacian.tocsc()).solve

    def inverse(x: np.ndarray) -> np.ndarray:
        # without the eigenvectors of 0, which are known: of a repeated eigenvalue
        # Lanczos' method finds one copy
        x = x - indicators @ (indicators.T @ x)
        x = solve(x)
        return x - indicators @ (indicators.T @ x)

    operator = LinearOperator((n, n), matvec=inverse, matmat=inverse, dtype=float)
    values, vectors = leading_eigenvectors(operator, n_vectors - n_parts, rng)
    eigenvalues = np.concatenate([np.zeros(n_parts), 1 / values - shift])
    return _Spectrum(graph, np.hstack([indicators, vectors]), eigenvalues)
