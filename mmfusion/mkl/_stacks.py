"""Weighted sums of kernels and their leading subspaces, exact or by features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg
from sklearn.utils import gen_batches

from mmfusion._blocks import column_slices

DENSE_ROWS = 200  # below, LAPACK is as fast as Lanczos
FEW = 8  # times as many rows as eigenvectors make Lanczos worth while
SPARE, DEPTH, CYCLES = 8, 3, 60
PRECISE, ROUGH = 1e-6, 1e-2
CHUNK_CELLS = 2**17
ROUNDING = 1e-9


@dataclass(frozen=True)
class Subspace:
    """Leading eigenvectors H of a weighted sum of kernels.

    Parameters
    ----------
    weights : ndarray of shape (n_kernels,)
        Weights of the sum.
    basis : ndarray of shape (n_samples, k) or (n_features, k)
        H, or what the features are multiplied by to get it.
    values : ndarray of shape (k,)
        Eigenvalues, descending, all positive.
    """

    weights: np.ndarray
    basis: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class KernelStack:
    """Kernels of the same samples.

    Parameters
    ----------
    kernels : list of ndarray of shape (n_samples, n_samples)
        Symmetric tables.
    """

    kernels: Sequence[np.ndarray]

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.kernels[0])

    def of(self, which: np.ndarray) -> KernelStack:
        """The kernels at these positions."""
        return KernelStack([self.kernels[p] for p in which])

    def traces(self) -> np.ndarray:
        """Trace of each kernel, of shape (n_kernels,)."""
        return np.array([float(np.trace(K, dtype=np.float64)) for K in self.kernels])

    def top(
        self,
        weights: np.ndarray,
        k: int,
        accuracy: float = PRECISE,
        start: Subspace | None = None,
    ) -> Subspace:
        """At most k leading eigenvectors of the weighted sum, near those of `start`."""
        total = weighted_sum(self.kernels, weights)
        near = None if start is None else start.basis
        basis, values = top_eigenpairs(total, k, accuracy, near)
        return Subspace(weights, basis, values)

    def shares(self, subspace: Subspace) -> np.ndarray:
        """tr(H' K_p H) of each kernel, of shape (n_kernels,)."""
        H = subspace.basis.astype(self.kernels[0].dtype)
        return np.array([float(np.vdot(H, K @ H)) for K in self.kernels])

    def overlap(self, one: Subspace, other: Subspace) -> np.ndarray:
        """Cosines H'G of two subspaces, of shape (k, k')."""
        return one.basis.T @ other.basis

    def inner_products(self) -> np.ndarray:
        """<K_p, K_q> of all pairs, of shape (n_kernels, n_kernels)."""
        n_kernels = len(self.kernels)
        table = np.empty((n_kernels, n_kernels))
        for p in range(n_kernels):
            for q in range(p + 1):
                table[p, q] = np.vdot(self.kernels[p], self.kernels[q])
                table[q, p] = table[p, q]
        return table

    def projections(
        self, terms: Sequence[tuple[Subspace, np.ndarray]]
    ) -> list[np.ndarray | None]:
        """What each kernel's values are multiplied by, to add up to sum_j H_j R_j."""
        sums: list[np.ndarray | None] = [None] * len(self.kernels)
        for subspace, rotation in terms:
            part = subspace.basis / subspace.values @ rotation
            for p in np.flatnonzero(subspace.weights):
                own = subspace.weights[p] * part
                sums[p] = own if sums[p] is None else sums[p] + own
        return sums


@dataclass(frozen=True)
class FeatureStack:
    """Kernels of the same samples as products of explicit features Z_p Z_p'.

    All there is to know of the features is their table of inner products, so that
    nothing of the size of n_samples is kept.

    Parameters
    ----------
    gram : ndarray of shape (n_features, n_features)
        Z'Z of all features side by side.
    blocks : list of slice
        Which of them belong to each kernel.
    n_samples : int
        Number of samples.
    """

    gram: np.ndarray
    blocks: Sequence[slice]
    n_samples: int

    def of(self, which: np.ndarray) -> FeatureStack:
        """The kernels at these positions."""
        blocks = [self.blocks[p] for p in which]
        widths = [block.stop - block.start for block in blocks]
        kept = np.concatenate([np.arange(b.start, b.stop) for b in blocks])
        part = self.gram[np.ix_(kept, kept)]
        return FeatureStack(part, column_slices(widths), self.n_samples)

    def traces(self) -> np.ndarray:
        """Trace of each kernel, of shape (n_kernels,)."""
        diagonal = self.gram.diagonal()
        return np.array([diagonal[block].sum() for block in self.blocks])

    def _roots(self, weights: np.ndarray) -> np.ndarray:
        widths = [block.stop - block.start for block in self.blocks]
        return np.repeat(np.sqrt(weights), widths)

    def top(
        self,
        weights: np.ndarray,
        k: int,
        accuracy: float = PRECISE,
        start: Subspace | None = None,
    ) -> Subspace:
        """At most k leading eigenvectors of the weighted sum, near those of `start`."""
        roots = self._roots(weights)
        used = np.flatnonzero(roots)
        part = self.gram[np.ix_(used, used)] * np.outer(roots[used], roots[used])
        near = None
        if start is not None:
            inverse = np.divide(1, roots, np.zeros_like(roots), where=roots > 0)
            near = (inverse[:, None] * start.basis)[used]
        vectors, values = top_eigenpairs(part, k, accuracy, near)
        basis = np.zeros((len(roots), len(values)))
        basis[used] = roots[used, None] * vectors / np.sqrt(values)
        return Subspace(weights, basis, values)

    def shares(self, subspace: Subspace) -> np.ndarray:
        """tr(H' K_p H) of each kernel, of shape (n_kernels,)."""
        squares = ((self.gram @ subspace.basis) ** 2).sum(axis=1)
        return np.array([squares[block].sum() for block in self.blocks])

    def overlap(self, one: Subspace, other: Subspace) -> np.ndarray:
        """Cosines H'G of two subspaces, of shape (k, k')."""
        return one.basis.T @ (self.gram @ other.basis)

    def inner_products(self) -> np.ndarray:
        """<K_p, K_q> of all pairs, of shape (n_kernels, n_kernels)."""
        return np.array(
            [[(self.gram[p, q] ** 2).sum() for q in self.blocks] for p in self.blocks]
        )

    def projections(
        self, terms: Sequence[tuple[Subspace, np.ndarray]]
    ) -> list[np.ndarray | None]:
        """What each kernel's features are multiplied by, to add up to sum_j H_j R_j."""
        total = sum(subspace.basis @ rotation for subspace, rotation in terms)
        used = np.any([subspace.weights > 0 for subspace, _ in terms], axis=0)
        return [
            total[block] if own else None
            for block, own in zip(self.blocks, used, strict=True)
        ]


Stack = KernelStack | FeatureStack


def accumulate_features(chunks: Iterable[Sequence[np.ndarray]]) -> FeatureStack:
    """Sum up inner products of features, chunk by chunk.

    Parameters
    ----------
    chunks : iterable of list of ndarray of shape (n_rows, n_components)
        Features of some samples by kernel.

    Returns
    -------
    FeatureStack
        Of all samples.
    """
    gram: Any = 0.0
    n_samples = 0
    widths: list[int] = []
    for tables in chunks:
        Z = np.hstack(tables)
        gram = gram + (Z.T @ Z).astype(np.float64)
        n_samples += len(Z)
        widths = [table.shape[1] for table in tables]
    return FeatureStack(gram, column_slices(widths), n_samples)


def weighted_sum(tables: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Add up tables, some rows at a time: no other of their size is made.

    Parameters
    ----------
    tables : list of ndarray of one shape
        What is summed; tables of weight 0 are not read.
    weights : ndarray of shape (n_tables,)
        Their weights.

    Returns
    -------
    ndarray
        The sum.
    """
    used = np.flatnonzero(weights).tolist()
    total = np.zeros(tables[0].shape, tables[0].dtype)
    for rows in gen_batches(len(total), max(1, CHUNK_CELLS // total.shape[1])):
        for p in used:
            total[rows] += total.dtype.type(weights[p]) * tables[p][rows]
    return total


def top_eigenpairs(
    A: np.ndarray, k: int, accuracy: float = PRECISE, start: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the leading eigenvectors of a symmetric matrix.

    Parameters
    ----------
    A : ndarray of shape (n, n)
        Symmetric.
    k : int
        How many, at most n are given.
    accuracy : float, default=1e-6
        Largest ``|A v - l v|`` over the largest eigenvalue, where Lanczos finds them;
        the eigenvalues are as exact as its square.
    start : ndarray of shape (n, k'), default=None
        Vectors near those looked for.

    Returns
    -------
    vectors : ndarray of shape (n, k')
        Orthonormal columns; those of positive eigenvalues only.
    values : ndarray of shape (k',)
        Descending. One of 1 stands for a matrix without any, whose vector is 0.
    """
    n_rows = len(A)
    k = min(k, n_rows)
    found = None
    if n_rows > DENSE_ROWS and k * FEW <= n_rows:
        found = _block_lanczos(A, k, accuracy, start)
    if found is None:
        last = n_rows - 1
        found = linalg.eigh(A, subset_by_index=[last - k + 1, last], check_finite=False)
    values, vectors = found
    order = np.argsort(values)[::-1]
    values, vectors = values[order].astype(np.float64), vectors[:, order]
    kept = values > max(ROUNDING * values[0], 0.0)
    if not kept.any():
        return np.zeros((n_rows, 1)), np.ones(1)
    vectors = vectors[:, kept].astype(np.float64)
    largest = np.abs(vectors).argmax(axis=0)
    return vectors * np.sign(vectors[largest, np.arange(len(largest))]), values[kept]


def _block_lanczos(
    A: np.ndarray, k: int, accuracy: float, start: Any
) -> tuple[np.ndarray, np.ndarray] | None:
    """Restarted Lanczos with blocks, which read A once for all of their vectors.

    None if it has not converged.
    """
    width = k + SPARE
    rng = np.random.RandomState(0)
    X = rng.normal(size=(len(A), width)).astype(A.dtype)
    if start is not None:
        X[:, : start.shape[1]] = start[:, :width]
    accuracy = max(accuracy, 30 * float(np.finfo(A.dtype).eps))
    for _ in range(CYCLES):
        Q = linalg.qr(X, mode="economic", check_finite=False)[0]
        basis, images = [Q], [A @ Q]
        for _ in range(DEPTH - 1):
            so_far = np.hstack(basis)
            new = images[-1] - so_far @ (so_far.T @ images[-1])
            new -= so_far @ (so_far.T @ new)  # once is not orthogonal enough
            basis.append(linalg.qr(new, mode="economic", check_finite=False)[0])
            images.append(A @ basis[-1])
        Q, AQ = np.hstack(basis), np.hstack(images)
        values, turns = linalg.eigh(Q.T @ AQ, check_finite=False)
        values, turns = values[-width:], turns[:, -width:]
        X = Q @ turns
        left = AQ @ turns[:, SPARE:] - X[:, SPARE:] * values[SPARE:]
        worst = float(np.sqrt((left**2).sum(axis=0).max()))
        if worst <= accuracy * max(float(values[-1]), np.finfo(A.dtype).tiny):
            return values[SPARE:], X[:, SPARE:]
    return None
