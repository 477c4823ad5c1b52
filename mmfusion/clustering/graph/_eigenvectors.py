"""Leading eigenvectors of sparse symmetric matrices and operators."""

from __future__ import annotations

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from sklearn.utils import check_random_state

from mmfusion._typing import RandomStateLike

# up to which all eigenvectors at once take less time than those that lead
DENSE_GRAPH_ROWS = 300
SPARE_VECTORS = 2  # computed in addition: copies of an eigenvalue may be missed
EIGENVALUE_TOLERANCE = 1e-6
LARGEST_RESIDUAL = 1e-5
EQUAL_DECIMALS = 6  # to which eigenvalues of different parts are compared


def leading_eigenvectors(
    matrix: sparse.csr_array | np.ndarray | LinearOperator,
    n_vectors: int,
    random_state: RandomStateLike = None,
    near: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the eigenvectors of the largest eigenvalues of a symmetric matrix.

    Lanczos' method works on products with the matrix alone; small matrices are
    decomposed as a whole, and sparse ones by connected component, since Lanczos' method
    finds one copy of an eigenvalue. The largest entry of a vector is positive.

    Parameters
    ----------
    matrix : CSR matrix, ndarray or LinearOperator of shape (n, n)
        Symmetric.
    n_vectors : int
        Number of eigenvectors, at most n.
    random_state : int, RandomState instance or None, default=None
        Seed of the vector that Lanczos' method starts from.
    near : ndarray of shape (n, n_vectors), default=None
        Eigenvectors of a similar matrix, from which it starts instead.

    Returns
    -------
    values : ndarray of shape (n_vectors,)
        Eigenvalues, in descending order.
    vectors : ndarray of shape (n, n_vectors)
        Orthonormal eigenvectors.

    Raises
    ------
    ValueError
        If the vectors do not converge, and the matrix is too large to be decomposed
        as a whole.
    """
    rng = check_random_state(random_state)
    if sparse.issparse(matrix):
        n_parts, part = connected_components(matrix, directed=False)
        if n_parts > 1:
            return _vectors_by_part(matrix, part, n_vectors, rng)
    return _connected_vectors(matrix, n_vectors, rng, near)


def _vectors_by_part(
    matrix: sparse.csr_array,
    part: np.ndarray,
    n_vectors: int,
    rng: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the eigenvectors of a matrix that is block diagonal, block by block."""
    order = np.argsort(part, kind="stable")
    values, vectors, places = [], [], []
    for rows in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
        if len(rows) == 1:
            own, basis = matrix[rows, rows], np.ones((1, 1))
        else:
            block = matrix[rows][:, rows]
            own, basis = _connected_vectors(block, min(n_vectors, len(rows)), rng)
        values.append(own)
        vectors += list(basis.T)
        places += [rows] * len(own)
    together = np.concatenate(values)
    # of equal eigenvalues those of the larger parts lead: indicators of the clusters
    # that matter most, where there are more parts than vectors
    sizes = np.array([len(rows) for rows in places])
    chosen = np.lexsort((-sizes, -np.round(together, EQUAL_DECIMALS)))[:n_vectors]
    whole = np.zeros((matrix.shape[0], len(chosen)))
    for column, i in enumerate(chosen):
        whole[places[i], column] = vectors[i]
    return _descending(together[chosen], whole, n_vectors)


def _connected_vectors(
    matrix: sparse.csr_array | np.ndarray | LinearOperator,
    n_vectors: int,
    rng: np.random.RandomState,
    near: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    n = matrix.shape[0]
    # the start near the eigenvectors has a share of each
    wanted = n_vectors + (SPARE_VECTORS if near is None else 0)
    if n <= max(DENSE_GRAPH_ROWS, 2 * wanted):
        return _all_vectors(matrix, n_vectors)
    start = rng.uniform(-1, 1, n) if near is None else near.sum(axis=1)
    for n_basis in (max(2 * wanted + 1, 20), max(6 * wanted, 100)):
        try:
            values, vectors = eigsh(
                matrix,
                wanted,
                which="LA",
                v0=start,
                ncv=min(n - 1, n_basis),
                tol=EIGENVALUE_TOLERANCE,
            )
        except ArpackNoConvergence:
            continue
        values, vectors = _descending(values, vectors, n_vectors)
        residual = np.abs(matrix @ vectors - vectors * values).max()
        if residual <= LARGEST_RESIDUAL * max(1.0, float(np.abs(values).max())):
            return values, vectors
    return _all_vectors(matrix, n_vectors)


def count_parts(graph: sparse.csr_array) -> int:
    """Count the connected parts of a graph, without samples that have no edge."""
    n_parts, _ = connected_components(graph, directed=False)
    return int(n_parts - np.count_nonzero(np.diff(graph.indptr) == 0))


def _all_vectors(
    matrix: sparse.csr_array | np.ndarray | LinearOperator, n_vectors: int
) -> tuple[np.ndarray, np.ndarray]:
    n = matrix.shape[0]
    dense: np.ndarray = matrix @ np.eye(n)
    dense = (dense + dense.T) / 2
    values, vectors = linalg.eigh(dense, subset_by_index=[n - n_vectors, n - 1])
    return _descending(values, vectors, n_vectors)


def _descending(
    values: np.ndarray, vectors: np.ndarray, n_vectors: int
) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-values, kind="stable")[:n_vectors]
    values, vectors = values[order], vectors[:, order]
    largest = np.abs(vectors).argmax(axis=0)
    return values, vectors * np.where(vectors[largest, range(n_vectors)] < 0, -1, 1)
