"""Weighted sums of kernels and their leading subspaces, exact or by features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from scipy import linalg
from sklearn.utils import gen_batches

from mmfusion._blocks import column_slices
from mmfusion.mkl._precomputed_gram import Gram, PrecomputedGram

DENSE_ROWS = 200  # LAPACK is as fast as Lanczos for fewer rows
LANCZOS_RATIO = 8  # rows per eigenvector from which on Lanczos is faster
LANCZOS_SPARE_VECTORS = 8  # beyond those wanted, which speed up convergence
LANCZOS_BLOCKS = 4  # of the Krylov space, per restart
LANCZOS_RESTARTS = 60
PRECISE_RESIDUAL = 1e-6
SINGLE_PRECISION_SIZES = 1e-15, 1e15  # of kernels whose sums and products are finite
SINGLE_PRECISION_RESIDUAL = 1e-4  # larger ones need no double precision
ROUGH_RESIDUAL = 1e-2
SUM_BATCH_CELLS = 2**17  # values that stay in the processor's cache
ZERO_EIGENVALUE = 1e-9  # relative to the largest one: a direction without variance


@dataclass(frozen=True)
class Subspace:
    """Leading eigenvectors H of a weighted sum of kernels.

    Parameters
    ----------
    weights : ndarray of shape (n_kernels,)
        Weights of the sum.
    basis : ndarray of shape (n_samples, k) or (n_features, k)
        The eigenvectors H, or the coefficients of features whose sum H is.
    values : ndarray of shape (k,)
        Eigenvalues, descending, all positive.
    search : ndarray of shape (n_samples, k'), default=None
        Vectors from which the search for those of a similar sum starts, more than k.
    """

    weights: np.ndarray
    basis: np.ndarray
    values: np.ndarray
    search: np.ndarray | None = None


@dataclass(frozen=True)
class KernelStack:
    """Kernels of the same samples, as Gram matrices.

    Parameters
    ----------
    kernels : list of ndarray of shape (n_samples, n_samples)
        The symmetric matrices. With counts D they are ``D^1/2 K D^1/2``, which has the
        eigenvalues of the kernel of the repeated samples.
    counts : ndarray of shape (n_samples,), default=None
        How often each sample counts; None is once each.
    """

    kernels: Sequence[np.ndarray]
    counts: np.ndarray | None = None

    @property
    def n_samples(self) -> float:
        """Number of samples, with repetitions."""
        return len(self.kernels[0]) if self.counts is None else self.counts.sum()

    def subset(self, positions: np.ndarray) -> KernelStack:
        """Return the kernels at some positions."""
        return KernelStack([self.kernels[p] for p in positions], self.counts)

    def traces(self) -> np.ndarray:
        """Return the trace of each kernel, of shape (n_kernels,)."""
        return np.array([float(np.trace(K, dtype=np.float64)) for K in self.kernels])

    def for_rough_vectors(self, k: int, accuracy: float) -> KernelStack:
        """Return kernels of the precision that k rough eigenvectors need.

        Sums of single precision take half the time, for solvers that need many; the
        copies take half the memory of the kernels. Kernels in files are not copied.
        """
        low, high = SINGLE_PRECISION_SIZES
        sizes = [float(np.abs(K.diagonal()).max(initial=0.0)) for K in self.kernels]
        if (
            accuracy < SINGLE_PRECISION_RESIDUAL
            or not _is_for_lanczos(len(self.kernels[0]), k)
            or self.kernels[0].dtype == np.float32
            or not all(low < size < high for size in sizes)
            or any(isinstance(K, np.memmap) for K in self.kernels)
        ):
            return self
        return KernelStack([K.astype(np.float32) for K in self.kernels], self.counts)

    def top(
        self,
        weights: np.ndarray,
        k: int,
        accuracy: float = PRECISE_RESIDUAL,
        start: Subspace | None = None,
    ) -> Subspace:
        """Compute at most k leading eigenvectors of the weighted sum.

        The search starts from the subspace `start`, if there is one.
        """
        is_rough = accuracy >= SINGLE_PRECISION_RESIDUAL
        is_rough &= _is_for_lanczos(len(self.kernels[0]), k)
        # in single precision larger kernels would overflow, and smaller ones vanish
        sizes = [float(np.abs(K.diagonal()).max(initial=0.0)) for K in self.kernels]
        low, high = SINGLE_PRECISION_SIZES
        is_rough &= low < float(np.dot(np.abs(weights), sizes)) < high
        dtype = np.float32 if is_rough else None
        total = weighted_kernel_sum(self.kernels, weights, dtype)
        first = None
        if start is not None:
            first = start.basis if start.search is None else start.search
        search: list[np.ndarray] = []
        basis, values = top_eigenpairs(total, k, accuracy, first, search)
        if self.counts is not None:  # as for repeated samples
            basis *= _signs_of_largest(basis / np.sqrt(self.counts)[:, None])
        return Subspace(weights, basis, values, search[-1] if search else None)

    def shares(self, subspace: Subspace) -> np.ndarray:
        """Compute ``tr(H' K_p H)`` of each kernel, of shape (n_kernels,)."""
        H = subspace.basis.astype(self.kernels[0].dtype)
        # summed in double precision
        products = [(K @ H).astype(np.float64) for K in self.kernels]
        return np.array([float(np.vdot(subspace.basis, KH)) for KH in products])

    def overlap(self, one: Subspace, other: Subspace) -> np.ndarray:
        """Compute the products ``H'G`` of two subspaces, of shape (k, k')."""
        return one.basis.T @ other.basis

    def inner_products(self) -> np.ndarray:
        """Compute ``<K_p, K_q>`` of all pairs, of shape (n_kernels, n_kernels)."""
        n_kernels = len(self.kernels)
        products = np.empty((n_kernels, n_kernels))
        for p in range(n_kernels):
            for q in range(p + 1):
                products[p, q] = np.vdot(self.kernels[p], self.kernels[q])
                products[q, p] = products[p, q]
        return products

    def projections(
        self, terms: Sequence[tuple[Subspace, np.ndarray]]
    ) -> list[np.ndarray | None]:
        """Compute factors of the kernels, whose products add up to ``sum_j H_j R_j``.

        By ``K H = H L`` they are ``w_p H L^-1 R``; None for kernels of weight 0.
        """
        sums: list[np.ndarray | None] = [None] * len(self.kernels)
        for subspace, rotation in terms:
            part = subspace.basis / subspace.values @ rotation
            for p in np.flatnonzero(subspace.weights):
                own = subspace.weights[p] * part
                sums[p] = own if sums[p] is None else sums[p] + own
        return sums


@dataclass(frozen=True)
class FeatureStack:
    """Kernels of the same samples, as products ``Z_p Z_p'`` of explicit features.

    Eigenvectors of ``sum_p w_p Z_p Z_p'`` follow from those of the smaller matrix
    ``W^1/2 Z'Z W^1/2``, so that no array has a row for each sample.

    Parameters
    ----------
    gram : ndarray of shape (n_features, n_features)
        Inner products ``Z'Z`` of the features of all kernels.
    blocks : list of slice
        Positions of the features of each kernel.
    n_samples : float
        Number of samples, with repetitions.
    """

    gram: np.ndarray
    blocks: Sequence[slice]
    n_samples: float

    def subset(self, positions: np.ndarray) -> FeatureStack:
        """Return the kernels at some positions."""
        blocks = [self.blocks[p] for p in positions]
        widths = [block.stop - block.start for block in blocks]
        chosen = np.concatenate([np.arange(b.start, b.stop) for b in blocks])
        part = self.gram[np.ix_(chosen, chosen)]
        return FeatureStack(part, column_slices(widths), self.n_samples)

    def for_rough_vectors(self, k: int, accuracy: float) -> FeatureStack:
        """Return the kernels themselves, whose matrix is small."""
        return self

    def traces(self) -> np.ndarray:
        """Return the trace of each kernel, of shape (n_kernels,)."""
        diagonal = self.gram.diagonal()
        return np.array([diagonal[block].sum() for block in self.blocks])

    def _roots(self, weights: np.ndarray) -> np.ndarray:
        widths = [block.stop - block.start for block in self.blocks]
        return np.repeat(np.sqrt(weights), widths)

    def top(
        self,
        weights: np.ndarray,
        k: int,
        accuracy: float = PRECISE_RESIDUAL,
        start: Subspace | None = None,
    ) -> Subspace:
        """Compute at most k leading eigenvectors of the weighted sum.

        The search starts from the subspace `start`, if there is one.
        """
        roots = self._roots(weights)
        used = np.flatnonzero(roots)
        part = self.gram[np.ix_(used, used)] * np.outer(roots[used], roots[used])
        first = None
        if start is not None:
            inverse = np.divide(1, roots, np.zeros_like(roots), where=roots > 0)
            first = (inverse[:, None] * start.basis)[used]
        vectors, values = top_eigenpairs(part, k, accuracy, first)
        basis = np.zeros((len(roots), len(values)))
        basis[used] = roots[used, None] * vectors / np.sqrt(values)
        return Subspace(weights, basis, values)

    def shares(self, subspace: Subspace) -> np.ndarray:
        """Compute ``tr(H' K_p H)`` of each kernel, of shape (n_kernels,)."""
        squares = ((self.gram @ subspace.basis) ** 2).sum(axis=1)
        return np.array([squares[block].sum() for block in self.blocks])

    def overlap(self, one: Subspace, other: Subspace) -> np.ndarray:
        """Compute the products ``H'G`` of two subspaces, of shape (k, k')."""
        return one.basis.T @ (self.gram @ other.basis)

    def inner_products(self) -> np.ndarray:
        """Compute ``<K_p, K_q>`` of all pairs, of shape (n_kernels, n_kernels)."""
        return np.array(
            [[(self.gram[p, q] ** 2).sum() for q in self.blocks] for p in self.blocks]
        )

    def projections(
        self, terms: Sequence[tuple[Subspace, np.ndarray]]
    ) -> list[np.ndarray | None]:
        """Compute factors of the features, whose products add up to ``sum_j H_j R_j``.

        They are None for kernels of weight 0.
        """
        total = sum(subspace.basis @ rotation for subspace, rotation in terms)
        used = np.any([subspace.weights > 0 for subspace, _ in terms], axis=0)
        return [
            total[block] if own else None
            for block, own in zip(self.blocks, used, strict=True)
        ]


Stack = KernelStack | FeatureStack


def stack_kernels(
    kernels: Sequence[np.ndarray], counts: np.ndarray | None
) -> KernelStack:
    """Multiply kernels, in place, by the roots of how often samples count.

    Parameters
    ----------
    kernels : list of ndarray of shape (n_samples, n_samples)
        The kernels; they are overwritten.
    counts : ndarray of shape (n_samples,) or None
        How often each sample counts; None is once each.

    Returns
    -------
    KernelStack
        The kernels.
    """
    if counts is not None:
        for K in kernels:
            roots = np.sqrt(counts).astype(K.dtype)
            K *= roots
            K *= roots[:, None]
    return KernelStack(kernels, counts)


def accumulate_features(
    batches: Iterable[Sequence[np.ndarray]], counts: np.ndarray | None = None
) -> FeatureStack:
    """Sum up inner products of features, batch by batch.

    Parameters
    ----------
    batches : iterable of list of ndarray of shape (n_rows, n_components)
        Features of some samples, one array per kernel.
    counts : ndarray of shape (n_samples,), default=None
        How often each sample counts; None is once each.

    Returns
    -------
    FeatureStack
        The kernels of all samples.
    """
    gram: Any = 0.0
    n_samples = 0
    widths: list[int] = []
    for features in batches:
        Z = np.hstack(features)
        stop = n_samples + len(Z)
        if counts is not None:
            Z *= np.sqrt(counts[n_samples:stop, None]).astype(Z.dtype)
        # in double precision from here on: rounding would add up over batches
        gram = gram + (Z.T @ Z).astype(np.float64)
        n_samples = stop
        widths = [block.shape[1] for block in features]
    n_counted = n_samples if counts is None else float(counts.sum())
    return FeatureStack(gram, column_slices(widths), n_counted)


def weighted_kernel_sum(
    kernels: Sequence[Gram], weights: np.ndarray, dtype: DTypeLike | None = None
) -> np.ndarray:
    """Compute the weighted sum of Gram matrices, some rows at a time.

    Precomputed ones are centred once, as a sum.

    Parameters
    ----------
    kernels : list of ndarray or PrecomputedGram of one shape
        The matrices; those of weight 0 are not read.
    weights : ndarray of shape (n_kernels,)
        Weights of the matrices.
    dtype : dtype, default=None
        Dtype of the sum; None is that of the first matrix.

    Returns
    -------
    ndarray
        The sum, the only new array of this size.
    """
    n_samples = len(kernels[0])
    total = np.zeros((n_samples, n_samples), dtype or kernels[0].dtype)
    shifts = np.zeros(n_samples)
    terms: list[tuple[float, np.ndarray]] = []
    for p in np.flatnonzero(weights).tolist():
        K, factor = kernels[p], float(weights[p])
        if isinstance(K, PrecomputedGram):
            factor /= K.scaling.size
            shifts += factor * K.shifts
            # the transposed matrix of a symmetric one is itself, with contiguous rows
            K = K.values.T if K.values.flags.f_contiguous else K.values
        terms.append((factor, K))
    axpy = linalg.get_blas_funcs("axpy", (total,))
    columns = shifts.astype(total.dtype) if shifts.any() else None
    n_batch = max(1, SUM_BATCH_CELLS // total.shape[1])
    for rows in gen_batches(len(total), n_batch):
        part = total[rows]
        for factor, K in terms:
            axpy(np.asarray(K[rows], total.dtype).ravel(), part.reshape(-1), a=factor)
        if columns is not None:
            part -= columns
            part -= columns[rows, None]
    return total


def weighted_features(
    features: Sequence[np.ndarray], weights: np.ndarray
) -> np.ndarray:
    """Concatenate features of kernels, whose inner product is the weighted sum.

    Parameters
    ----------
    features : list of ndarray of shape (n_samples, n_components)
        Features of the kernels whose weight is not 0.
    weights : ndarray of shape (n_kernels,)
        Weights of these kernels.

    Returns
    -------
    ndarray of float32 of shape (n_samples, n_features)
        Features, times the square roots of the weights.
    """
    width = sum(block.shape[1] for block in features)
    combined = np.empty((len(features[0]), width), dtype=np.float32)
    start = 0
    for block, weight in zip(features, weights, strict=True):
        stop = start + block.shape[1]
        out = combined[:, start:stop]
        np.multiply(block, np.sqrt(weight), out=out, casting="same_kind")
        start = stop
    return combined


def top_eigenpairs(
    A: np.ndarray,
    k: int,
    accuracy: float = PRECISE_RESIDUAL,
    start: np.ndarray | None = None,
    search: list[np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the leading eigenvectors of a symmetric matrix.

    Parameters
    ----------
    A : ndarray of shape (n, n)
        The symmetric matrix.
    k : int
        Number of eigenvectors; at most n are returned.
    accuracy : float, default=1e-6
        Largest residual ``|A v - l v|`` over the largest eigenvalue, where Lanczos
        is used; errors of eigenvalues are of the order of its square.
    start : ndarray of shape (n, k'), default=None
        Vectors near the eigenvectors, from which Lanczos starts.
    search : list, default=None
        Lanczos appends the vectors from which that of a similar matrix may start.

    Returns
    -------
    vectors : ndarray of shape (n, k')
        Orthonormal columns; those of positive eigenvalues only.
    values : ndarray of shape (k',)
        Eigenvalues, descending. If none is positive, one of 1 with a vector of 0.
    """
    n_rows = len(A)
    k = min(k, n_rows)
    found = None
    if _is_for_lanczos(n_rows, k):
        found = _mixed_lanczos(A, k, accuracy, start)
    if found is not None:
        if search is not None:
            search.append(found[1][:, ::-1])
        found = found[0][-k:], found[1][:, -k:]
    if found is None:
        last = n_rows - 1
        found = linalg.eigh(A, subset_by_index=[last - k + 1, last], check_finite=False)
    values, vectors = found
    order = np.argsort(values)[::-1]
    values, vectors = values[order].astype(np.float64), vectors[:, order]
    positive = values > max(ZERO_EIGENVALUE * values[0], 0.0)
    if not positive.any():
        return np.zeros((n_rows, 1)), np.ones(1)
    vectors = vectors[:, positive].astype(np.float64)
    return vectors * _signs_of_largest(vectors), values[positive]


def _signs_of_largest(vectors: np.ndarray) -> np.ndarray:
    """Return the sign of the largest entry of each column.

    Eigenvectors are unique up to their sign: the largest entry is positive.
    """
    largest = np.abs(vectors).argmax(axis=0)
    return np.sign(vectors[largest, np.arange(len(largest))])


def _is_for_lanczos(n_rows: int, k: int) -> bool:
    return n_rows > DENSE_ROWS and k * LANCZOS_RATIO <= n_rows


def _mixed_lanczos(
    A: np.ndarray, k: int, accuracy: float, start: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Compute leading eigenpairs as `_block_lanczos`, first in single precision."""
    if A.dtype == np.float64 and accuracy < SINGLE_PRECISION_RESIDUAL:
        # values are divided by a power of two, so that none overflows
        scale = 2.0 ** np.frexp(np.abs(A.diagonal()).max(initial=0.0))[1]
        single = (A / scale).astype(np.float32)
        rough = _block_lanczos(single, k, SINGLE_PRECISION_RESIDUAL, start)
        start = start if rough is None else rough[1]
    return _block_lanczos(A, k, accuracy, start)


def _block_lanczos(
    A: np.ndarray, k: int, accuracy: float, start: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Compute leading eigenpairs by restarted block Lanczos; None if not converged.

    Some more pairs are returned, which are less accurate; eigenvalues ascend. A block
    of vectors reads A once for all of them, where single vectors would read it once
    each.
    """
    width = k + LANCZOS_SPARE_VECTORS
    rng = np.random.RandomState(0)
    X = rng.normal(size=(len(A), width)).astype(A.dtype)
    if start is not None:
        X[:, : start.shape[1]] = start[:, :width]
    accuracy = max(accuracy, 30 * float(np.finfo(A.dtype).eps))
    spare = LANCZOS_SPARE_VECTORS
    for _ in range(LANCZOS_RESTARTS):
        Q = linalg.qr(X, mode="economic", check_finite=False)[0]
        AQ = A @ Q
        for _ in range(LANCZOS_BLOCKS - 1):
            new = AQ[:, -width:] - Q @ (Q.T @ AQ[:, -width:])
            new -= Q @ (Q.T @ new)  # rounding: once is not orthogonal enough
            new = linalg.qr(new, mode="economic", check_finite=False)[0]
            Q, AQ = np.hstack([Q, new]), np.hstack([AQ, A @ new])
        # Rayleigh-Ritz: eigenpairs of A restricted to the Krylov space
        values, rotation = linalg.eigh(Q.T @ AQ, check_finite=False)
        values, rotation = values[-width:], rotation[:, -width:]
        X = Q @ rotation
        residuals = AQ @ rotation[:, spare:] - X[:, spare:] * values[spare:]
        worst = float(np.sqrt((residuals**2).sum(axis=0).max()))
        if worst <= accuracy * max(float(values[-1]), np.finfo(A.dtype).tiny):
            return values, X
    return None
