"""Explicit features whose inner products approximate the values of a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics import pairwise_distances_argmin
from sklearn.utils import gen_batches
from sklearn.utils.extmath import row_norms

from mmfusion._blocks import Block
from mmfusion._scaling import Scaling
from mmfusion.mkl._kernel_checks import check_training_kernel
from mmfusion.mkl._kernel_scaling import ZERO_ROUNDINGS
from mmfusion.mkl._kernels import KernelFunction, check_finite_kernel

APPROXIMATIONS = ("nystroem", "fourier")
LANDMARK_ROWS = 2000  # rows that k-means clusters to find landmarks
LANDMARK_STEPS = 5  # steps of k-means
HASH_BATCH_CELLS = 2**17
MEAN_ROWS = 2**14  # their mean is off by less than a hundredth of the spread

# features of the rows of a block, neither centred nor normalised
RawFeatures = Callable[[Block], np.ndarray]


@dataclass(frozen=True)
class FeatureMap:
    """Features of one kernel, centred and normalised by those of training samples.

    Parameters
    ----------
    raw : callable
        Function of the rows of a block that returns their features.
    mean : ndarray of shape (n_components,)
        Mean features, which are subtracted.
    size : float
        Divisor of the features.
    has_unit_norm : bool
        Whether features are divided by their norm in place of `size`.
    """

    raw: RawFeatures
    mean: np.ndarray
    size: float
    has_unit_norm: bool

    @property
    def n_components(self) -> int:
        """Number of features."""
        return len(self.mean)

    def apply(self, X: Block) -> np.ndarray:
        """Compute the features of rows.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n, n_components)
            The features.
        """
        raw = self.raw(X)
        Z = raw - self.mean.astype(raw.dtype)
        if not self.has_unit_norm:
            return Z / Z.dtype.type(self.size)
        squares = row_norms(Z, squared=True)
        magnitudes = row_norms(raw, squared=True) + self.mean @ self.mean
        # a row at the mean but for rounding has no direction: it stays 0
        is_apart = squares > ZERO_ROUNDINGS * np.finfo(Z.dtype).eps * magnitudes
        Z /= np.sqrt(np.where(is_apart, squares, 1.0))[:, None].astype(Z.dtype)
        return Z


def fit_feature_map(
    X: Block,
    raw: RawFeatures,
    *,
    center: bool,
    normalize: str | None,
    sample_weight: np.ndarray | None = None,
) -> FeatureMap:
    """Fit centring and normalisation of features, as `fit_kernel_scaling` of kernels.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_train, n_features)
        Training rows; means are those of at most 16,384 of them, evenly spaced.
    raw : callable
        Function of rows that returns their features.
    center : bool
        Whether the mean is subtracted.
    normalize : {'trace', 'cosine'} or None
        'trace': the mean squared norm is 1. 'cosine': every norm is 1.
    sample_weight : ndarray of shape (n_train,), default=None
        Weights of the rows in means.

    Returns
    -------
    FeatureMap
        The fitted map. If all rows are equal but for rounding, it makes every feature
        0.
    """
    n_rows = min(X.shape[0], MEAN_ROWS)
    rows = np.linspace(0, X.shape[0] - 1, n_rows).astype(int)
    shares = np.ones(n_rows) if sample_weight is None else sample_weight[rows]
    shares = shares / shares.sum() if shares.any() else np.full(n_rows, 1 / n_rows)
    Z = raw(X[rows])
    rounding = ZERO_ROUNDINGS * np.finfo(Z.dtype).eps
    Z = Z.astype(np.float64)
    largest = float((Z**2).sum(axis=1).max(initial=0.0))
    mean = shares @ Z if center else np.zeros(Z.shape[1])
    variance = float(shares @ ((Z - mean) ** 2).sum(axis=1))
    if variance <= rounding * largest:
        return FeatureMap(raw, mean, np.inf, has_unit_norm=False)
    size = float(np.sqrt(variance)) if normalize == "trace" else 1.0
    return FeatureMap(raw, mean, size, has_unit_norm=normalize == "cosine")


@dataclass(frozen=True)
class _ExactFeatures:
    """The scaled values, of which the linear kernel is the inner product."""

    scaling: Scaling
    has_unit_norm: bool

    def __call__(self, X: Block) -> np.ndarray:
        Z = self.scaling.apply(X)
        Z = Scaling("l2").apply(Z) if self.has_unit_norm else Z
        return Z.toarray() if sparse.issparse(Z) else Z


@dataclass(frozen=True)
class _LandmarkColumns:
    """Columns of a precomputed kernel, whitened."""

    columns: np.ndarray
    whitening: np.ndarray

    def __call__(self, X: Block) -> np.ndarray:
        return X[:, self.columns] @ self.whitening


@dataclass(frozen=True)
class _NystroemFeatures:
    """Kernel values of rows with landmarks, whitened."""

    scaling: Scaling
    landmarks: Block
    function: KernelFunction
    whitening: np.ndarray

    def __call__(self, X: Block) -> np.ndarray:
        values = self.function.pairwise(self.scaling.apply(X), self.landmarks)
        return values @ self.whitening.astype(values.dtype)


@dataclass(frozen=True)
class _FourierFeatures:
    """Random Fourier features of scaled rows."""

    scaling: Scaling
    sampler: RBFSampler

    def __call__(self, X: Block) -> np.ndarray:
        return self.sampler.transform(self.scaling.apply(X))


def fit_raw_features(
    approximation: str,
    X: Block,
    scaling: Scaling,
    function: KernelFunction,
    n_components: int,
    rng: np.random.RandomState,
    name: str,
    sample_weight: np.ndarray | None = None,
    landmarks: Block | None = None,
) -> RawFeatures:
    """Fit the features that approximate a kernel.

    The features of the linear and the cosine kernel of a modality of at most
    `n_components` features are its values, and exact.

    Parameters
    ----------
    approximation : {'nystroem', 'fourier'}
        'nystroem': ``k(X, L) k(L, L)^-1/2`` with landmarks L (Williams and Seeger
        2001), which are the centres of a few steps of k-means (Zhang, Tsang and Kwok
        2008), or rows drawn at random where a modality is sparse or precomputed.
        'fourier': ``sqrt(2 / n_components) cos(Xw + b)`` with random w and b (Rahimi
        and Recht 2007), for the kernel 'rbf'.
    X : ndarray or CSR matrix of shape (n_train, n_features)
        Training rows.
    scaling : Scaling
        Fitted scaling of the rows.
    function : KernelFunction
        The kernel of scaled rows.
    n_components : int
        Maximum number of features.
    rng : RandomState
        Random generator of the landmarks or of w and b.
    name : str
        Name of the kernel in errors.
    sample_weight : ndarray of shape (n_train,), default=None
        Weights of the rows. One of weight 2 is drawn as two equal rows are: once, and
        twice as likely.
    landmarks : ndarray or CSR matrix of shape (n_landmarks, n_features), default=None
        Landmarks of 'nystroem', not scaled; None finds at most `n_components`.

    Returns
    -------
    callable
        Function of rows that returns their features, and that can be pickled.

    Raises
    ------
    ValueError
        If the kernel is not 'rbf' but `approximation` is 'fourier', or kernel values
        are not finite.
    """
    kernel = function.kernel
    if kernel in ("linear", "cosine") and X.shape[1] <= n_components:
        return _ExactFeatures(scaling, has_unit_norm=kernel == "cosine")
    if approximation == "fourier":
        if kernel != "rbf":
            raise ValueError(
                f"approximation='fourier' is for kernel='rbf', not {kernel!r}; set "
                "'nystroem'"
            )
        gamma = function.gamma
        sampler = RBFSampler(gamma=gamma, n_components=n_components, random_state=rng)
        return _FourierFeatures(scaling, sampler.fit(X[:1]))
    if function.is_precomputed:
        drawn = _draw_distinct_rows(X, n_components, rng, sample_weight)[0]
        return _LandmarkColumns(drawn, inverse_root(X[np.ix_(drawn, drawn)]))
    if landmarks is None:
        landmarks = _find_landmarks(X, scaling, n_components, rng, sample_weight)
    else:
        landmarks = scaling.apply(landmarks)
    own = function.pairwise(landmarks, landmarks)
    check_finite_kernel(own, kernel)
    if callable(kernel):
        check_training_kernel(own, name)
    return _NystroemFeatures(scaling, landmarks, function, inverse_root(own))


def _draw_distinct_rows(
    X: Block,
    n_drawn: int,
    rng: np.random.RandomState,
    sample_weight: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw distinct rows in proportion to how often they occur.

    The result is their positions, and how often each occurs.
    """
    hashes = _hash_rows(X)
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    counts = np.bincount(group, weights=sample_weight, minlength=len(first))
    order = np.argsort(first)  # so that the draw does not depend on the values
    first, counts = first[order], counts[order]
    # the smallest of exponential times of these rates are a draw without replacement
    times = rng.exponential(size=len(first)) / counts
    drawn = np.sort(np.argsort(times, kind="stable")[:n_drawn])
    return first[drawn], counts[drawn]


def _hash_rows(X: Block) -> np.ndarray:
    """Hash rows, so that rows of equal values have equal hashes."""
    factors = np.random.RandomState(0).randint(2**63, size=X.shape[1], dtype=np.uint64)
    factors = 2 * factors + np.uint64(1)  # odd: multiplication modulo 2^64 is injective
    if sparse.issparse(X):
        bits = _bit_patterns(X.data)
        patterns = sparse.csr_array((bits, X.indices, X.indptr), shape=X.shape)
        return patterns @ factors
    hashes = np.empty(len(X), np.uint64)
    for rows in gen_batches(len(X), max(1, HASH_BATCH_CELLS // X.shape[1])):
        bits = _bit_patterns(np.ascontiguousarray(X[rows]))
        hashes[rows] = (bits * factors).sum(axis=1)
    return hashes


def _bit_patterns(values: np.ndarray) -> np.ndarray:
    unsigned = np.uint32 if values.dtype == np.float32 else np.uint64
    # adding 0.0 makes 0.0 of -0.0, which is equal but has other bits
    return (values + 0.0).view(unsigned).astype(np.uint64)


def _find_landmarks(
    X: Block,
    scaling: Scaling,
    n_landmarks: int,
    rng: np.random.RandomState,
    sample_weight: np.ndarray | None,
) -> Block:
    """Find landmarks: centres of k-means, or rows of a sparse or small block."""
    if sparse.issparse(X) or len(X) <= n_landmarks:
        drawn = _draw_distinct_rows(X, n_landmarks, rng, sample_weight)[0]
        return scaling.apply(X[drawn])
    drawn, weight = _draw_distinct_rows(X, LANDMARK_ROWS, rng, sample_weight)
    rows = scaling.apply(X[drawn])
    centers = rows[_draw_distinct_rows(rows, n_landmarks, rng, weight)[0]]
    for _ in range(LANDMARK_STEPS):
        nearest = pairwise_distances_argmin(rows, centers)
        counts = np.bincount(nearest, weights=weight, minlength=len(centers))
        positions = (nearest, np.arange(len(rows)))
        shape = (len(centers), len(rows))
        sums = sparse.csr_matrix((weight, positions), shape) @ rows
        used = np.flatnonzero(counts)
        centers[used] = sums[used] / counts[used, None]
    return centers


def inverse_root(K: np.ndarray) -> np.ndarray:
    """Compute ``K^-1/2`` up to a rotation, without eigenvalues due to rounding.

    Parameters
    ----------
    K : ndarray of shape (n, n)
        Kernel of the landmarks.

    Returns
    -------
    ndarray of shape (n, n_positive)
        The eigenvectors, over the roots of their eigenvalues.
    """
    values, vectors = linalg.eigh(K.astype(np.float64), check_finite=False)
    positive = values > max(1e3 * np.finfo(K.dtype).eps * values[-1], 0.0)
    return vectors[:, positive] / np.sqrt(values[positive])
