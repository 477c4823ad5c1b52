"""Spectral embeddings of the samples of several graphs.

All take normalised graphs, one per modality, whose rows are empty for the samples that
lack the modality.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator
from sklearn.preprocessing import normalize

from mmfusion.clustering.graph._eigenvectors import leading_eigenvectors

MAX_SWEEPS = 8
SWEEP_TOLERANCE = 1e-4  # relative change of the objective
MAX_WEIGHT_ROUNDS = 15
WEIGHT_TOLERANCE = 1e-4  # change of a weight
LARGEST_GRAPH_WEIGHT = 1e6  # of a graph whose cut is perfect, relative to the least


def fuse_graphs(
    graphs: Sequence[sparse.csr_array],
    observed: np.ndarray,
    weights: np.ndarray | None = None,
) -> sparse.csr_array:
    """Add normalised graphs; each sample counts by the modalities that it has.

    It is ``C^-1/2 (sum_v w_v A_v) C^-1/2`` with the sum c_i of the weights of the
    modalities that the sample i has.

    Parameters
    ----------
    graphs : list of CSR matrix of shape (n_samples, n_samples)
        Normalised graphs A_v.
    observed : ndarray of bool of shape (n_samples, n_graphs)
        Which samples have which modality.
    weights : ndarray of shape (n_graphs,), default=None
        Weights w_v; equal by default.

    Returns
    -------
    CSR matrix of shape (n_samples, n_samples)
        The fused graph, with eigenvalues in [-1, 1].
    """
    weights = np.ones(len(graphs)) if weights is None else weights
    total = graphs[0] * weights[0]
    for graph, weight in zip(graphs[1:], weights[1:], strict=True):
        total = total + graph * weight
    counts = np.sqrt(observed @ weights)
    inverse = np.divide(1, counts, out=np.zeros_like(counts), where=counts > 0)
    diagonal = sparse.diags_array(inverse)
    return (diagonal @ total @ diagonal).tocsr()


def learn_graph_weights(
    graphs: Sequence[sparse.csr_array],
    observed: np.ndarray,
    n_vectors: int,
    rng: np.random.RandomState,
) -> np.ndarray:
    """Learn the weights of graphs by how well their common cut suits each (AMGL).

    Alternates between the leading eigenvectors F of the fused graph and
    ``w_v = 1 / (2 sqrt(tr(F' (I - A_v) F)))`` (Nie, Li and Li 2016, equation 8), for
    at most 15 rounds.

    Parameters
    ----------
    graphs : list of CSR matrix of shape (n_samples, n_samples)
        Normalised graphs A_v.
    observed : ndarray of bool of shape (n_samples, n_graphs)
        Which samples have which modality.
    n_vectors : int
        Number of eigenvectors.
    rng : RandomState
        Source of starting vectors.

    Returns
    -------
    ndarray of shape (n_graphs,)
        Weights, which add up to 1.
    """
    weights = np.full(len(graphs), 1 / len(graphs))
    for _ in range(MAX_WEIGHT_ROUNDS):
        _, F = leading_eigenvectors(
            fuse_graphs(graphs, observed, weights), n_vectors, rng
        )
        cuts = np.array(
            [
                (F[seen] ** 2).sum() - (F * (graph @ F)).sum()
                for graph, seen in zip(graphs, observed.T, strict=True)
            ]
        )
        cuts = np.maximum(cuts, cuts.max() / LARGEST_GRAPH_WEIGHT**2)
        new = 1 / (2 * np.sqrt(cuts)) if cuts.max() > 0 else np.ones_like(cuts)
        new /= new.sum()
        change, weights = np.abs(new - weights).max(), new
        if change < WEIGHT_TOLERANCE:
            break
    return weights


def co_regularized_vectors(
    graphs: Sequence[sparse.csr_array],
    n_vectors: int,
    weight: float,
    rng: np.random.RandomState,
) -> tuple[list[np.ndarray], list[float]]:
    """Compute eigenvectors of all graphs that are drawn to those of the others.

    Maximises ``sum_v tr(U_v' A_v U_v) + weight sum_{v != w} tr(U_v U_v' U_w U_w')``
    over orthonormal U_v in turn (Kumar, Rai and Daume 2011, equation 4): the leading
    eigenvectors of ``A_v + weight sum_{w != v} U_w U_w'``, by products with sparse and
    thin matrices.

    Parameters
    ----------
    graphs : list of CSR matrix of shape (n_samples, n_samples)
        Normalised graphs A_v.
    n_vectors : int
        Number of eigenvectors of each graph.
    weight : float
        Weight of the agreement; 0 leaves the eigenvectors of each graph alone.
    rng : RandomState
        Source of starting vectors.

    Returns
    -------
    vectors : list of ndarray of shape (n_samples, n_vectors)
        The eigenvectors U_v.
    objective_path : list of float
        The objective at the start and after each sweep; it does not fall.
    """
    vectors = [leading_eigenvectors(A, n_vectors, rng)[1] for A in graphs]
    path = [_agreement_objective(graphs, vectors, weight)]
    if weight == 0 or len(graphs) == 1:
        return vectors, path
    for _ in range(MAX_SWEEPS):
        for v, graph in enumerate(graphs):
            others = np.hstack([U for w, U in enumerate(vectors) if w != v])
            drawn = _plus_gram(graph, others, weight)
            values, new = leading_eigenvectors(drawn, n_vectors, rng, near=vectors[v])
            # of equal eigenvalues Lanczos' method may miss copies
            if values.sum() >= float((vectors[v] * (drawn @ vectors[v])).sum()):
                vectors[v] = new
        path.append(_agreement_objective(graphs, vectors, weight))
        if path[-1] - path[-2] <= SWEEP_TOLERANCE * abs(path[-2]):
            break
    return vectors, path


def _plus_gram(
    graph: sparse.csr_array, thin: np.ndarray, weight: float
) -> LinearOperator:
    """Return the operator ``A + weight T T'``, which no matrix holds."""

    def product(x: np.ndarray) -> np.ndarray:
        return graph @ x + weight * (thin @ (thin.T @ x))

    return LinearOperator(
        graph.shape, matvec=product, matmat=product, dtype=graph.dtype
    )


def _agreement_objective(
    graphs: Sequence[sparse.csr_array],
    vectors: Sequence[np.ndarray],
    weight: float,
) -> float:
    own = sum(float((U * (A @ U)).sum()) for A, U in zip(graphs, vectors, strict=True))
    pairs = sum(
        float(((U.T @ W) ** 2).sum())
        for v, U in enumerate(vectors)
        for w, W in enumerate(vectors)
        if v != w
    )
    return own + weight * pairs


def side_by_side(vectors: Sequence[np.ndarray], observed: np.ndarray) -> np.ndarray:
    """Put the row-normalised eigenvectors of all graphs side by side.

    Rows of a sample are divided by the root of the number of modalities that it has.
    Where samples lack modalities, the leading left singular vectors replace the
    coordinates, so that samples with different modalities can be compared.

    Parameters
    ----------
    vectors : list of ndarray of shape (n_samples, n_vectors)
        Eigenvectors of each graph.
    observed : ndarray of bool of shape (n_samples, n_graphs)
        Which samples have which modality.

    Returns
    -------
    ndarray of shape (n_samples, n_graphs * n_vectors) or (n_samples, n_vectors)
        Rows of unit norm.
    """
    together = np.hstack(_unit_blocks(vectors, observed))
    if observed.all():
        return together
    return _leading_left_vectors(together, vectors[0].shape[1])


def blend(
    fused: np.ndarray, vectors: Sequence[np.ndarray], observed: np.ndarray
) -> np.ndarray:
    """Blend the eigenvectors of the fused graph with those of each graph.

    The row-normalised eigenvectors of the fused graph stand beside those of all graphs
    divided by the root of their number; the leading left singular vectors of both,
    with rows of unit norm, are the embedding.

    Parameters
    ----------
    fused : ndarray of shape (n_samples, n_vectors)
        Eigenvectors of the fused graph.
    vectors : list of ndarray of shape (n_samples, n_vectors)
        Eigenvectors of each graph.
    observed : ndarray of bool of shape (n_samples, n_graphs)
        Which samples have which modality.

    Returns
    -------
    ndarray of shape (n_samples, n_vectors)
        Rows of unit norm.
    """
    together = np.hstack([*_unit_blocks(vectors, observed), normalize(fused)])
    return _leading_left_vectors(together, fused.shape[1])


def _unit_blocks(
    vectors: Sequence[np.ndarray], observed: np.ndarray
) -> list[np.ndarray]:
    """Scale rows so that those of a sample have unit norm side by side."""
    counts = np.sqrt(np.maximum(observed.sum(axis=1), 1))
    return [
        normalize(U) * (seen / counts)[:, None]
        for U, seen in zip(vectors, observed.T, strict=True)
    ]


def _leading_left_vectors(matrix: np.ndarray, n_vectors: int) -> np.ndarray:
    left = linalg.svd(matrix, full_matrices=False)[0][:, :n_vectors]
    left[~matrix.any(axis=1)] = 0  # no rounding errors of unit norm
    return normalize(left)
