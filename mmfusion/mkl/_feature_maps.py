"""Explicit features whose inner products are, nearly, the values of a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, sparse
from sklearn.kernel_approximation import RBFSampler
from sklearn.metrics import pairwise_distances_argmin
from sklearn.preprocessing import normalize

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
        Z = self.raw(X)
        Z = Z - self.mean.astype(Z.dtype)
        return normalize(Z, copy=False) if self.unit else Z / Z.dtype.type(self.size)


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
        Z = Z.toarray() if sparse.issparse(Z) else Z
        return normalize(Z) if self.unit else Z


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
        drawn = _draw(X.shape[0], n_components, rng)
        return _Columns(drawn, _whitening(X[np.ix_(drawn, drawn)]))
    landmarks = _landmarks(X, scaling, n_components, rng)
    own = kernel_values(kernel, landmarks, landmarks, *options[1:])
    check_finite(own, kernel)
    if callable(kernel):
        check_training_kernel(own, name)
    return _Landmarks(scaling, landmarks, options, _whitening(own))


def _draw(n_rows: int, n_drawn: int, rng: np.random.RandomState) -> np.ndarray:
    return np.sort(rng.choice(n_rows, min(n_drawn, n_rows), replace=False))


def _landmarks(
    X: Any, scaling: Scaling, n_landmarks: int, rng: np.random.RandomState
) -> Any:
    """Rows that others are compared to: means of k-means, or rows of a sparse table."""
    if sparse.issparse(X) or len(X) <= n_landmarks:
        return scaling.apply(X[_draw(X.shape[0], n_landmarks, rng)])
    rows = scaling.apply(X[_draw(len(X), LANDMARK_ROWS, rng)])
    means = rows[_draw(len(rows), n_landmarks, rng)]
    for _ in range(LANDMARK_STEPS):
        nearest = pairwise_distances_argmin(rows, means)
        counts = np.bincount(nearest, minlength=len(means))
        places = (nearest, np.arange(len(rows)))
        sums = sparse.csr_matrix((np.ones(len(rows)), places)) @ rows
        used = np.flatnonzero(counts)
        means[used] = sums[used] / counts[used, None]
    return means


def _whitening(own: np.ndarray) -> np.ndarray:
    """The inverse root of the landmarks' kernel, without what is only rounding."""
    values, vectors = linalg.eigh(own.astype(np.float64), check_finite=False)
    kept = values > max(1e3 * np.finfo(own.dtype).eps * values[-1], 0.0)
    return vectors[:, kept] / np.sqrt(values[kept])
