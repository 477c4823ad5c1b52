"""Explicit features whose inner products are, nearly, the values of a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, sparse
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics import pairwise_distances_argmin
from sklearn.utils import gen_batches
from sklearn.utils.extmath import row_norms

from mmfusion._scaling import Scaling
from mmfusion.mkl._kernels import (
    VANISHING,
    Kernel,
    check_finite,
    check_training_kernel,
    kernel_values,
)

APPROXIMATIONS = ("nystroem", "fourier")
LANDMARK_ROWS, LANDMARK_STEPS = 2000, 5
HASHED_CELLS = 2**17
MEAN_ROWS = 2**14  # their mean is off by less than a hundredth of the spread


@dataclass(frozen=True)
class FeatureMap:
    """Features of one kernel, centred and scaled by samples of `fit`.

    Parameters
    ----------
    raw : callable
        Takes the rows of a modality and gives their features.
    mean : ndarray of shape (n_components,)
        What is subtracted.
    size : float
        What is divided by.
    unit : bool
        Whether rows are brought to unit length instead.
    """

    raw: Callable[[Any], np.ndarray]
    mean: np.ndarray
    size: float
    unit: bool

    @property
    def n_components(self) -> int:
        """Number of features."""
        return len(self.mean)

    def apply(self, X: Any) -> np.ndarray:
        """Map rows to features.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n, n_features)
            Rows.

        Returns
        -------
        ndarray of shape (n, n_components)
            Features.
        """
        raw = self.raw(X)
        Z = raw - self.mean.astype(raw.dtype)
        if not self.unit:
            return Z / Z.dtype.type(self.size)
        squares = row_norms(Z, squared=True)
        magnitudes = row_norms(raw, squared=True) + self.mean @ self.mean
        outside = squares > VANISHING * np.finfo(Z.dtype).eps * magnitudes
        Z /= np.sqrt(np.where(outside, squares, 1.0))[:, None].astype(Z.dtype)
        return Z


def fit_feature_map(
    X: Any,
    raw: Callable[[Any], np.ndarray],
    *,
    center: bool,
    normalize: str | None,
    sample_weight: np.ndarray | None = None,
) -> FeatureMap:
    """Centre and normalise features as `fit_kernel_scaling` does kernels.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_train, n_features)
        Rows of `fit`; the means are those of at most 16,384, evenly spaced.
    raw : callable
        Takes rows, gives features.
    center : bool
        Whether the mean is subtracted.
    normalize : {'trace', 'cosine'} or None
        'trace': the mean squared length is 1. 'cosine': every length is 1.
    sample_weight : ndarray of shape (n_train,), default=None
        Weights of the rows in means.

    Returns
    -------
    FeatureMap
        The map, fitted. If all rows are alike, but for rounding, it makes every
        feature 0.
    """
    n_rows = min(X.shape[0], MEAN_ROWS)
    rows = np.linspace(0, X.shape[0] - 1, n_rows).astype(int)
    shares = np.ones(n_rows) if sample_weight is None else sample_weight[rows]
    shares = shares / shares.sum() if shares.any() else np.full(n_rows, 1 / n_rows)
    Z = raw(X[rows])
    rounding = VANISHING * np.finfo(Z.dtype).eps
    Z = Z.astype(np.float64)
    before = float((Z**2).sum(axis=1).max(initial=0.0))
    mean = shares @ Z if center else np.zeros(Z.shape[1])
    squares = float(shares @ ((Z - mean) ** 2).sum(axis=1))
    if squares <= rounding * before:
        return FeatureMap(raw, mean, np.inf, unit=False)
    size = float(np.sqrt(squares)) if normalize == "trace" else 1.0
    return FeatureMap(raw, mean, size, unit=normalize == "cosine")


@dataclass(frozen=True)
class _Identity:
    """The values themselves, whose inner products the linear kernel is."""

    scaling: Scaling
    unit: bool

    def __call__(self, X: Any) -> np.ndarray:
        Z = self.scaling.apply(X)
        Z = Scaling("l2").apply(Z) if self.unit else Z
        return Z.toarray() if sparse.issparse(Z) else Z


@dataclass(frozen=True)
class _Columns:
    """Some columns of a precomputed kernel, whitened."""

    columns: np.ndarray
    whitening: np.ndarray

    def __call__(self, X: Any) -> np.ndarray:
        return X[:, self.columns] @ self.whitening


@dataclass(frozen=True)
class _Landmarks:
    """Kernel values with landmarks, whitened."""

    scaling: Scaling
    landmarks: Any
    options: tuple[Any, ...]
    whitening: np.ndarray

    def __call__(self, X: Any) -> np.ndarray:
        kernel, *options = self.options
        values = kernel_values(kernel, self.scaling.apply(X), self.landmarks, *options)
        return values @ self.whitening.astype(values.dtype)


@dataclass(frozen=True)
class _Waves:
    """Random Fourier features."""

    scaling: Scaling
    sampler: RBFSampler

    def __call__(self, X: Any) -> np.ndarray:
        return self.sampler.transform(self.scaling.apply(X))


def make_raw_map(
    how: str,
    X: Any,
    scaling: Scaling,
    options: tuple[Kernel, float | None, float, float],
    n_components: int,
    rng: np.random.RandomState,
    name: str,
    sample_weight: np.ndarray | None = None,
) -> Callable[[Any], np.ndarray]:
    """Choose and fit the features of a kernel.

    The linear and the cosine kernel of a modality of at most `n_components` features
    are exact: the features are the values.

    Parameters
    ----------
    how : {'nystroem', 'fourier'}
        'nystroem': values with landmarks, times the inverse root of the landmarks' own
        kernel (Williams and Seeger 2001). Landmarks are means that k-means finds in a
        few steps (Zhang, Tsang and Kwok 2008); of sparse tables, and of precomputed
        kernels, they are rows, drawn at random. 'fourier': random
        cosines (Rahimi and Recht 2007), of the kernel 'rbf'.
    X : ndarray or CSR matrix of shape (n_train, n_features)
        Rows of `fit`.
    scaling : Scaling
        Fitted; how rows are scaled before they are compared.
    options : tuple
        The kernel, its gamma, degree and coef0.
    n_components : int
        Most features.
    rng : RandomState
        For the draw.
    name : str
        Name of the kernel.
    sample_weight : ndarray of shape (n_train,), default=None
        Weights of the rows. One of weight 2 is drawn as two equal rows are: once, and
        twice as likely.

    Returns
    -------
    callable
        Takes rows, gives features. It pickles.

    Raises
    ------
    ValueError
        If 'fourier' is asked for another kernel than 'rbf', or values are not finite.
    """
    kernel, gamma, *_ = options
    if kernel in ("linear", "cosine") and X.shape[1] <= n_components:
        return _Identity(scaling, unit=kernel == "cosine")
    if how == "fourier":
        if kernel != "rbf":
            raise ValueError(
                f"approximation='fourier' is for kernel='rbf', not {kernel!r}; take "
                "'nystroem'"
            )
        sampler = RBFSampler(gamma=gamma, n_components=n_components, random_state=rng)
        return _Waves(scaling, sampler.fit(X[:1]))
    if kernel == "precomputed":
        drawn = _draw(X, n_components, rng, sample_weight)[0]
        return _Columns(drawn, _whitening(X[np.ix_(drawn, drawn)]))
    landmarks = _landmarks(X, scaling, n_components, rng, sample_weight)
    own = kernel_values(kernel, landmarks, landmarks, *options[1:])
    check_finite(own, kernel)
    if callable(kernel):
        check_training_kernel(own, name)
    return _Landmarks(scaling, landmarks, options, _whitening(own))


def _draw(
    X: Any, n_drawn: int, rng: np.random.RandomState, sample_weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw different rows, each as likely as it is often there; and how often it is."""
    _, first, group = np.unique(_hashes(X), return_index=True, return_inverse=True)
    counts = np.bincount(group, weights=sample_weight, minlength=len(first))
    order = np.argsort(first)  # what is drawn does not depend on the values
    first, counts = first[order], counts[order]
    # the smallest of such times are a draw in proportion to the counts
    times = rng.exponential(size=len(first)) / counts
    drawn = np.sort(np.argsort(times, kind="stable")[:n_drawn])
    return first[drawn], counts[drawn]


def _hashes(X: Any) -> np.ndarray:
    """A number for each row, the same for rows of the same values."""
    factors = np.random.RandomState(0).randint(2**63, size=X.shape[1], dtype=np.uint64)
    factors = 2 * factors + np.uint64(1)
    if sparse.issparse(X):
        bits = _bits(X.data)
        table = sparse.csr_array((bits, X.indices, X.indptr), shape=X.shape)
        return table @ factors
    hashes = np.empty(len(X), np.uint64)
    for rows in gen_batches(len(X), max(1, HASHED_CELLS // X.shape[1])):
        hashes[rows] = (_bits(np.ascontiguousarray(X[rows])) * factors).sum(axis=1)
    return hashes


def _bits(values: np.ndarray) -> np.ndarray:
    unsigned = np.uint32 if values.dtype == np.float32 else np.uint64
    return (values + 0.0).view(unsigned).astype(np.uint64)  # -0.0 is 0.0


def _landmarks(
    X: Any,
    scaling: Scaling,
    n_landmarks: int,
    rng: np.random.RandomState,
    sample_weight: np.ndarray | None,
) -> Any:
    """Rows that others are compared to: means of k-means, or rows of a sparse table."""
    if sparse.issparse(X) or len(X) <= n_landmarks:
        return scaling.apply(X[_draw(X, n_landmarks, rng, sample_weight)[0]])
    drawn, weight = _draw(X, LANDMARK_ROWS, rng, sample_weight)
    rows = scaling.apply(X[drawn])
    means = rows[_draw(rows, n_landmarks, rng, weight)[0]]
    for _ in range(LANDMARK_STEPS):
        nearest = pairwise_distances_argmin(rows, means)
        counts = np.bincount(nearest, weights=weight, minlength=len(means))
        places = (nearest, np.arange(len(rows)))
        sums = sparse.csr_matrix((weight, places), (len(means), len(rows))) @ rows
        used = np.flatnonzero(counts)
        means[used] = sums[used] / counts[used, None]
    return means


def _whitening(own: np.ndarray) -> np.ndarray:
    """The inverse root of the landmarks' kernel, without what is only rounding."""
    values, vectors = linalg.eigh(own.astype(np.float64), check_finite=False)
    kept = values > max(1e3 * np.finfo(own.dtype).eps * values[-1], 0.0)
    return vectors[:, kept] / np.sqrt(values[kept])
