"""Gaussian densities of classes, of samples in `fit` and of samples held out of it.

The distance of a sample to the moments of all samples but this one has a closed form:
moments lose one sample exactly, and inverse covariances by one step of rank one. So
densities can be calibrated on held-out samples without fitting twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from sklearn.metrics.pairwise import euclidean_distances

from mmfusion.fusion._class_moments import ClassMoments

LOG_TWO_PI = float(np.log(2 * np.pi))
SMALLEST_LEFT = 1e-12  # weight or variance without one sample, relative to all
CONSTANT_VARIANCE_EPS = 16  # variance of rounding alone, in squared units of rounding


class Regularization(NamedTuple):
    """Options that keep covariances of small classes away from singular ones.

    Parameters
    ----------
    variance_prior : float
        Number of samples as which the covariance within all classes counts in that of
        each class.
    var_smoothing : float
        Share of the variance of a feature that is added to its variances.
    shrinkage : float or 'auto'
        Share by which correlations are reduced.
    """

    variance_prior: float
    var_smoothing: float
    shrinkage: float | str


class Distances(NamedTuple):
    """Parts of Gaussian log densities.

    Parameters
    ----------
    squared : ndarray of shape (n_samples, n_columns)
        Mahalanobis distances, squared.
    offsets : ndarray of shape (n_samples, n_columns) or (n_columns,)
        Log determinants of the covariances, times 2 pi.
    n_features : ndarray of shape (n_samples,)
        Number of features that a sample has, without constant ones.
    """

    squared: np.ndarray
    offsets: np.ndarray
    n_features: np.ndarray

    def log_density(self, inflation: float = 1.0) -> np.ndarray:
        """Return log densities with covariances multiplied by a number."""
        more = self.n_features[:, None] * np.log(inflation)
        return -0.5 * (self.squared / inflation + more + self.offsets)


class ClassDensities(Protocol):
    """Densities of one modality, in columns that belong to classes."""

    def distances(self, X: np.ndarray) -> Distances:
        """Return distances of samples; NaN features are marginalised."""
        ...

    def held_out(
        self, X: np.ndarray, codes: np.ndarray, weight: np.ndarray
    ) -> Distances:
        """Return distances of each sample to the moments without itself."""
        ...

    def by_class(self, values: np.ndarray) -> np.ndarray:
        """Return log densities of classes from those of the columns."""
        ...

    def own_distances(self, found: Distances, codes: np.ndarray) -> np.ndarray:
        """Return the squared distance of each sample to its class."""
        ...


class _OneColumnPerClass:
    """Densities with a column for each class."""

    def by_class(self, values: np.ndarray) -> np.ndarray:
        """Return the log densities as they are."""
        return values

    def own_distances(self, found: Distances, codes: np.ndarray) -> np.ndarray:
        """Return the squared distance of each sample to its class."""
        return found.squared[np.arange(len(codes)), codes]


@dataclass(frozen=True)
class DiagonalDensities(_OneColumnPerClass):
    """Gaussian densities of independent features."""

    counts: np.ndarray
    means: np.ndarray
    squares: np.ndarray
    within: np.ndarray
    variance: np.ndarray  # of all classes together; 0 for constant features
    center: np.ndarray
    regularization: Regularization

    @classmethod
    def fit(
        cls, moments: ClassMoments, regularization: Regularization
    ) -> DiagonalDensities:
        """Fit variances by class and feature."""
        center, variance = moments.pooled()
        return cls(
            moments.counts,
            np.where(moments.counts > 0, moments.means, center),
            moments.squares,
            moments.within,
            _without_rounding(variance, center),
            center,
            regularization,
        )

    def distances(self, X: np.ndarray) -> Distances:
        """Return distances of samples; NaN features are marginalised."""
        variances = self._variances(self.counts, self.squares)
        varies = self.variance > 0
        variances = np.where(varies, variances, 1.0)
        precision = np.where(varies, 1 / variances, 0.0)
        logs = np.where(varies, np.log(variances) + LOG_TWO_PI, 0.0)
        deviations = X - self.center
        seen = ~np.isnan(deviations)
        is_complete = bool(seen.all())
        if not is_complete:
            deviations = np.where(seen, deviations, 0.0)
        shifts = self.means - self.center
        squared = deviations**2 @ precision.T
        squared -= 2 * deviations @ (shifts * precision).T
        if is_complete:
            squared += (shifts**2 * precision).sum(axis=1)
            offsets = logs.sum(axis=1)
        else:
            squared += seen @ (shifts**2 * precision).T
            offsets = seen @ logs.T
        return Distances(np.maximum(squared, 0.0), offsets, seen @ varies.astype(float))

    def held_out(
        self, X: np.ndarray, codes: np.ndarray, weight: np.ndarray
    ) -> Distances:
        """Return distances to moments without the sample in those of its class."""
        found = self.distances(X)
        varies = self.variance > 0
        part = np.minimum(weight, 1.0)[:, None]
        n = self.counts[codes]
        left = n - part
        is_alone = left <= SMALLEST_LEFT * np.maximum(n, 1.0)
        left = np.where(is_alone, 1.0, left)
        deviations = X - self.means[codes]
        squares = self.squares[codes] - part * deviations**2 * n / left
        shifted = np.where(is_alone, X - self.center, deviations * n / left)
        squares = np.where(is_alone, 0.0, np.maximum(squares, 0.0))
        variances = self._variances(np.where(is_alone, 0.0, left), squares)
        variances = np.where(varies, variances, 1.0)
        counted = varies & ~np.isnan(X)
        rows = np.arange(len(X))
        offsets = np.broadcast_to(found.offsets, found.squared.shape).copy()
        logs = np.log(variances) + LOG_TWO_PI
        found.squared[rows, codes] = np.where(counted, shifted**2 / variances, 0.0).sum(
            axis=1
        )
        offsets[rows, codes] = np.where(counted, logs, 0.0).sum(axis=1)
        return found._replace(offsets=offsets)

    def _variances(self, counts: np.ndarray, squares: np.ndarray) -> np.ndarray:
        prior = self.regularization.variance_prior
        total = counts + prior
        own = (squares + prior * self.within) / np.where(total > 0, total, 1.0)
        own = np.where(total > 0, own, self.within)
        return own + self.regularization.var_smoothing * self.variance


@dataclass(frozen=True)
class CorrelatedDensities(_OneColumnPerClass):
    """Gaussian densities with a covariance of each class, or one of all."""

    weights: np.ndarray
    means: np.ndarray  # in units of `unit`, around `center`
    covariances: np.ndarray  # (n_classes or 1, n_varying, n_varying), in these units
    center: np.ndarray
    unit: np.ndarray
    own_share: np.ndarray  # of the scatter of samples in the covariance
    regularization: Regularization

    @classmethod
    def fit(
        cls, moments: ClassMoments, regularization: Regularization, *, tied: bool
    ) -> CorrelatedDensities:
        """Fit covariances in units of the standard deviation of each feature."""
        assert moments.scatter is not None
        center, variance = moments.pooled()
        variance = _without_rounding(variance, center)
        varies = variance > 0
        unit = np.where(varies, np.sqrt(np.where(varies, variance, 1.0)), np.inf)
        own = unit[varies]
        scatter = moments.scatter[:, varies][:, :, varies] / np.outer(own, own)
        total = scatter.sum(axis=0)
        shared, kept = _shrunk(total, moments.weights.sum(), regularization.shrinkage)
        shared = shared / max(moments.weights.sum(), 1.0)
        shares = np.array([kept])
        covariances = shared[None]
        if not tied:
            covariances, shares = _by_class(
                scatter, moments.weights, shared, regularization
            )
        covariances = covariances + regularization.var_smoothing * np.eye(len(own))
        for covariance in covariances:
            _factor(covariance)  # raises the error of singular ones in fit
        means = np.where(moments.counts > 0, moments.means, center)
        return cls(
            moments.weights,
            ((means - center) / unit)[:, varies],
            covariances,
            center,
            unit,
            shares,
            regularization,
        )

    def distances(self, X: np.ndarray) -> Distances:
        """Return distances of samples; NaN features are marginalised."""
        return self._all_distances(X, None)

    def held_out(
        self, X: np.ndarray, codes: np.ndarray, weight: np.ndarray
    ) -> Distances:
        """Return distances to moments without the sample in those of its class."""
        return self._all_distances(X, (codes, weight))

    def _all_distances(
        self, X: np.ndarray, left_out: tuple[np.ndarray, np.ndarray] | None
    ) -> Distances:
        squared = np.zeros((len(X), len(self.means)))
        offsets, counts = np.zeros_like(squared), np.zeros(len(X))
        varies = np.isfinite(self.unit)
        Z = ((X - self.center) / self.unit)[:, varies]
        logs = np.log(self.unit[varies])
        for rows, columns in observed_patterns(Z):
            if columns.size == 0 or rows.size == 0:
                continue
            own = None
            if left_out is not None:
                own = left_out[0][rows], left_out[1][rows]
            part = Z[np.ix_(rows, columns)]
            squared[rows], determinants = self._distances(part, columns, own)
            constant = columns.size * LOG_TWO_PI + 2 * logs[columns].sum()
            offsets[rows] = determinants + constant
            counts[rows] = columns.size
        return Distances(squared, offsets, counts)

    def _distances(
        self,
        Z: np.ndarray,
        columns: np.ndarray,
        left_out: tuple[np.ndarray, np.ndarray] | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return squared distances and log determinants of some features."""
        n_classes, is_tied = len(self.means), len(self.covariances) == 1
        squared = np.empty((len(Z), n_classes))
        determinants = np.empty((len(Z), n_classes))
        for g, covariance in enumerate(self.covariances):
            factor = _factor(covariance[np.ix_(columns, columns)])
            classes = np.arange(n_classes) if is_tied else np.array([g])
            white = solve_triangular(factor, Z.T, lower=True).T
            means = solve_triangular(
                factor, self.means[np.ix_(classes, columns)].T, lower=True
            ).T
            squared[:, classes] = euclidean_distances(white, means, squared=True)
            determinants[:, classes] = 2 * np.log(np.diag(factor)).sum()
            if left_out is None:
                continue
            codes, weight = left_out
            if is_tied:
                squared, change = self._tied_without(white, means, codes, weight)
                determinants += change[:, None]
                continue
            rows = np.flatnonzero(codes == g)
            squared[rows, g], change = self._own_without(
                squared[rows, g], g, weight[rows], columns.size
            )
            determinants[rows, g] += change
        return squared, determinants

    def _own_without(
        self, squared: np.ndarray, c: int, weight: np.ndarray, n_features: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Downdate the covariance of a class by each of its samples."""
        n = self.weights[c]
        part = np.minimum(weight, 1.0)
        left = np.maximum(n - part, SMALLEST_LEFT * n)
        total = n + self.regularization.variance_prior
        rest = np.maximum(total - part, SMALLEST_LEFT * total)
        step = self.own_share[c] * part * n / left / total
        # (A - s d d')^-1 by Sherman and Morrison, and its determinant
        pivot = np.maximum(1 - step * squared, SMALLEST_LEFT)
        without = (n / left) ** 2 * squared / pivot * rest / total
        return without, np.log(pivot) + n_features * np.log(total / rest)

    def _tied_without(
        self,
        white: np.ndarray,
        means: np.ndarray,
        codes: np.ndarray,
        weight: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Downdate the covariance of all classes by each sample."""
        n, total = self.weights[codes], self.weights.sum()
        part = np.minimum(weight, 1.0)
        left = np.maximum(n - part, SMALLEST_LEFT * n)
        rest = np.maximum(total - part, SMALLEST_LEFT * total)
        step = self.own_share[0] * part * n / left / total
        own = white - means[codes]
        products = np.einsum("nd,nd->n", white, own)[:, None] - own @ means.T
        squared = euclidean_distances(white, means, squared=True)
        rows = np.arange(len(white))
        pivot = np.maximum(1 - step * squared[rows, codes], SMALLEST_LEFT)
        without = squared + (step / pivot)[:, None] * products**2
        without[rows, codes] *= (n / left) ** 2
        change = np.log(pivot) + white.shape[1] * np.log(total / rest)
        return without * (rest / total)[:, None], change


def observed_patterns(X: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Iterate over groups of rows with the same observed columns.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Values, NaN where they are missing.

    Yields
    ------
    rows, columns : ndarray of int
        Samples of the group, and features that they have.
    """
    seen = ~np.isnan(X)
    if seen.all():
        yield np.arange(len(X)), np.arange(X.shape[1])
        return
    patterns, codes = np.unique(seen, axis=0, return_inverse=True)
    codes = codes.ravel()
    for g, pattern in enumerate(patterns):
        yield np.flatnonzero(codes == g), np.flatnonzero(pattern)


def _without_rounding(variance: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Return variances, 0 where they are no more than the rounding of values."""
    rounding = CONSTANT_VARIANCE_EPS * (np.finfo(float).eps * center) ** 2
    return np.where(variance > rounding, variance, 0.0)


def _by_class(
    scatter: np.ndarray,
    weights: np.ndarray,
    shared: np.ndarray,
    regularization: Regularization,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the covariance of each class and the shares of their own scatter."""
    prior = regularization.variance_prior
    covariances, shares = np.empty_like(scatter), np.empty(len(scatter))
    for c, own in enumerate(scatter):
        total = weights[c] + prior
        if total == 0:
            covariances[c], shares[c] = shared, 0.0
            continue
        shrunk, shares[c] = _shrunk(own, weights[c], regularization.shrinkage)
        covariances[c] = (shrunk + prior * shared) / total
    return covariances, shares


def _shrunk(
    scatter: np.ndarray, n: float, shrinkage: float | str
) -> tuple[np.ndarray, float]:
    """Reduce correlations, and return the share that is left of them."""
    diagonal = np.diag(scatter)
    if shrinkage == "auto":
        shrinkage = _oracle_shrinkage(scatter, n)
    share = 1.0 - float(shrinkage)
    return share * scatter + (1 - share) * np.diag(diagonal), share


def _oracle_shrinkage(scatter: np.ndarray, n: float) -> float:
    """Return the shrinkage of correlations (Chen et al. 2010, equation 23)."""
    diagonal = np.diag(scatter)
    varies = diagonal > 0
    p = int(varies.sum())
    if p < 2:
        return 0.0
    own = scatter[np.ix_(varies, varies)]
    unit = np.sqrt(diagonal[varies])
    squares = float(((own / np.outer(unit, unit)) ** 2).sum())
    numerator = (1 - 2 / p) * squares + p**2
    denominator = (n + 1 - 2 / p) * (squares - p)
    return 1.0 if denominator <= 0 else min(1.0, numerator / denominator)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """Return the lower Cholesky factor."""
    try:
        return cholesky(covariance, lower=True)
    except LinAlgError as error:
        raise ValueError(
            "a covariance is singular: there are fewer samples than features, or "
            "features depend on each other; give shrinkage='auto', "
            "covariance_type='diag' or a larger var_smoothing"
        ) from error
