"""The densities of one modality by class, with outliers and missing features."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import logsumexp

from mmfusion.fusion._class_densities import (
    ClassDensities,
    CorrelatedDensities,
    DiagonalDensities,
    Distances,
    Regularization,
    observed_patterns,
)
from mmfusion.fusion._class_mixtures import fit_class_mixtures
from mmfusion.fusion._class_moments import (
    ClassMoments,
    class_moments,
    empty_moments,
    merged,
)

DENSITY_TYPES = ("diag", "tied", "full", "mixture")
COMPLETION_MAX_ITER = 200
COMPLETION_TOLERANCE = 1e-6  # largest change of a correlation or standardised mean


@dataclass(frozen=True)
class DensityOptions:
    """Options of the densities of a modality.

    Parameters
    ----------
    covariance_type : {'diag', 'tied', 'full', 'mixture'}
        Kind of the densities.
    n_mixtures : int
        Number of components of each class, for 'mixture'.
    outlier_share, outlier_scale : float
        Prior probability of outliers, and the factor of their variances.
    regularization : Regularization
        The prior of covariances.
    """

    covariance_type: str
    n_mixtures: int
    outlier_share: float
    outlier_scale: float
    regularization: Regularization

    @property
    def is_correlated(self) -> bool:
        """Whether products of features count."""
        return self.covariance_type in ("tied", "full")


@dataclass(frozen=True)
class ModalityClasses:
    """The fitted densities of one modality.

    Values are ``(x - origin) / unit`` with powers of two as units, so that large values
    do not overflow; densities are of these.

    Parameters
    ----------
    options : DensityOptions
        How they are fitted.
    origin, unit : ndarray of shape (n_features,)
        The first mean and a power of two, of every feature.
    moments : ClassMoments
        Moments of the classes.
    densities : ClassDensities
        Densities of the classes.
    inflation : float, default=1.0
        Factor of all covariances.
    held_out_sums : ndarray of shape (2,), default=0
        Sums over held-out samples: squared distances to their class, and features.
    """

    options: DensityOptions
    origin: np.ndarray
    unit: np.ndarray
    moments: ClassMoments
    densities: ClassDensities
    inflation: float = 1.0
    held_out_sums: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def scaled(self, X: np.ndarray) -> np.ndarray:
        """Return values in the units of the densities."""
        return (X - self.origin) / self.unit

    def log_density(self, X: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
        """Return log densities of the classes, with outliers.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Samples; NaN features are marginalised.
        log_prior : ndarray of shape (n_classes,)
            Log probabilities of the classes.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Log densities. A class without the modality has that of all classes.
        """
        Z = self.scaled(X)
        inlying = self._inlying(self.densities.distances(Z), log_prior)
        return self._with_outliers(Z, inlying)

    def calibrated(
        self, X: np.ndarray, codes: np.ndarray, weight: np.ndarray
    ) -> ModalityClasses:
        """Return the densities with the inflation that fits held-out samples best.

        It is their mean squared distance to their class, for each feature, which is the
        maximum of the held-out likelihood; at least 1.
        """
        found = self.densities.held_out(self.scaled(X), codes, weight)
        own = self.densities.own_distances(found, codes)
        sums = self.held_out_sums + np.array([weight @ own, weight @ found.n_features])
        inflation = max(1.0, float(sums[0] / sums[1])) if sums[1] > 0 else 1.0
        return replace(self, held_out_sums=sums, inflation=inflation)

    def held_out(
        self,
        X: np.ndarray,
        codes: np.ndarray,
        weight: np.ndarray,
        log_prior: np.ndarray,
    ) -> np.ndarray:
        """Return log densities without the sample in the moments of its class."""
        Z = self.scaled(X)
        inlying = self._inlying(self.densities.held_out(Z, codes, weight), log_prior)
        return self._with_outliers(Z, inlying)

    def inlier_probability(
        self, X: np.ndarray, log_prior: np.ndarray, posterior: np.ndarray
    ) -> np.ndarray:
        """Return the probability that each sample is no outlier, over the classes."""
        Z = self.scaled(X)
        share = self.options.outlier_share
        if share == 0:
            return np.ones(len(Z))
        inlying = self._inlying(self.densities.distances(Z), log_prior)
        inlying += np.log1p(-share)
        both = np.logaddexp(inlying, self._log_outlier(Z)[:, None] + np.log(share))
        return (posterior * np.exp(inlying - both)).sum(axis=1)

    def _inlying(self, found: Distances, log_prior: np.ndarray) -> np.ndarray:
        """Return log densities of the classes, without outliers."""
        values = self.densities.by_class(found.log_density(self.inflation))
        return self._marginal(values, log_prior)

    def _with_outliers(self, Z: np.ndarray, inlying: np.ndarray) -> np.ndarray:
        share = self.options.outlier_share
        if share == 0:
            return inlying
        broad = self._log_outlier(Z)[:, None] + np.log(share)
        return np.logaddexp(inlying + np.log1p(-share), broad)

    def _marginal(self, values: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
        """Give classes that lack the modality the density over all others."""
        lacking = self.moments.weights == 0
        if not lacking.any():
            return values
        prior = log_prior[~lacking] - logsumexp(log_prior[~lacking])
        values = values.copy()
        values[:, lacking] = logsumexp(values[:, ~lacking] + prior, axis=1)[:, None]
        return values

    def _log_outlier(self, Z: np.ndarray) -> np.ndarray:
        means, variances = self.moments.pooled()
        broad = ClassMoments(
            np.ones(1),
            np.ones((1, len(means))),
            means[None],
            self.options.outlier_scale * variances[None],
        )
        plain = Regularization(0.0, 0.0, 0.0)
        return DiagonalDensities.fit(broad, plain).distances(Z).log_density()[:, 0]


def fit_modality(
    X: np.ndarray,
    codes: np.ndarray,
    weight: np.ndarray,
    n_classes: int,
    options: DensityOptions,
    rng: np.random.RandomState,
    before: ModalityClasses | None = None,
) -> ModalityClasses:
    """Fit the densities of one modality, in addition to the samples before.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples that have the modality.
    codes : ndarray of int of shape (n_samples,)
        Class of each sample.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    n_classes : int
        Number of classes.
    options : DensityOptions
        How the densities are fitted.
    rng : RandomState
        Draws the first centres of 'mixture'.
    before : ModalityClasses, default=None
        The densities of earlier samples.

    Returns
    -------
    ModalityClasses
        The densities.
    """
    model = before
    if model is None:
        origin, unit = _units(X)
        empty = empty_moments(n_classes, X.shape[1], options.is_correlated)
        placeholder = DiagonalDensities.fit(empty, options.regularization)
        model = ModalityClasses(options, origin, unit, empty, placeholder)
    Z = model.scaled(X)
    if options.covariance_type == "mixture":
        moments = class_moments(Z, codes, weight, n_classes, correlated=False)
        densities: ClassDensities = fit_class_mixtures(
            Z,
            codes,
            weight,
            n_classes,
            options.n_mixtures,
            options.regularization,
            rng,
        )
        return replace(model, moments=moments, densities=densities)
    new = class_moments(Z, codes, weight, n_classes, correlated=options.is_correlated)
    if options.is_correlated and np.isnan(Z).any():
        earlier = None if before is None else model.densities
        new = _completed_moments(Z, codes, weight, new, options, earlier)
    moments = merged(model.moments, new)
    return replace(model, moments=moments, densities=_densities_of(moments, options))


def _densities_of(moments: ClassMoments, options: DensityOptions) -> ClassDensities:
    if not options.is_correlated:
        return DiagonalDensities.fit(moments, options.regularization)
    return CorrelatedDensities.fit(
        moments, options.regularization, tied=options.covariance_type == "tied"
    )


def _units(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the next power of two of the deviations, by feature."""
    seen = ~np.isnan(X)
    counts = np.maximum(seen.sum(axis=0), 1)
    # divided first: the sum of large values overflows
    origin = (np.where(seen, X, 0.0) / counts).sum(axis=0)
    largest = np.abs(np.where(seen, X - origin, 0.0)).max(axis=0, initial=0.0)
    exponents = np.frexp(np.where(largest > 0, largest, 1.0))[1]
    return origin, np.ldexp(1.0, np.clip(exponents, -1000, 1000))


def _completed_moments(
    Z: np.ndarray,
    codes: np.ndarray,
    weight: np.ndarray,
    incomplete: ClassMoments,
    options: DensityOptions,
    densities: ClassDensities | None,
) -> ClassMoments:
    """Return the expected moments of samples with NaN features, by EM.

    The first densities have the variances of observed features and no correlations.
    With densities of earlier samples, one expectation under these is taken.
    """
    if isinstance(densities, CorrelatedDensities):
        return _expected_moments(Z, codes, weight, densities)
    products = np.zeros_like(incomplete.scatter)
    each = np.arange(Z.shape[1])
    shares = incomplete.weights[:, None] / np.maximum(incomplete.counts, 1e-300)
    products[:, each, each] = incomplete.squares * np.where(
        incomplete.counts > 0, shares, 0.0
    )
    moments = replace(incomplete, scatter=products)
    for _ in range(COMPLETION_MAX_ITER):
        found = _expected_moments(Z, codes, weight, _densities_of(moments, options))
        change = _largest_change(moments, found)
        moments = found
        if change < COMPLETION_TOLERANCE:
            break
    return moments


def _largest_change(before: ClassMoments, after: ClassMoments) -> float:
    """Return the largest change of a standardised mean or a correlation."""
    assert before.scatter is not None
    assert after.scatter is not None
    spread = np.sqrt(np.maximum(after.pooled()[1], 1e-300))
    of_means = np.abs(after.means - before.means) / spread
    total = np.maximum(after.weights, 1e-300)[:, None, None]
    of_products = np.abs(after.scatter - before.scatter) / total
    of_products /= np.outer(spread, spread)
    return max(of_means.max(initial=0.0), of_products.max(initial=0.0))


def _expected_moments(
    Z: np.ndarray,
    codes: np.ndarray,
    weight: np.ndarray,
    densities: ClassDensities,
) -> ClassMoments:
    """Fill NaN features by their conditional means; add conditional covariances."""
    assert isinstance(densities, CorrelatedDensities)
    varies = np.isfinite(densities.unit)
    scaled = (Z - densities.center) / densities.unit
    filled = np.where(np.isnan(scaled), 0.0, scaled)
    n_classes = len(densities.means)
    extra = np.zeros((n_classes, Z.shape[1], Z.shape[1]))
    of_varying = np.flatnonzero(varies)
    unit = np.where(varies, densities.unit, 1.0)
    for c in range(n_classes):
        covariance = densities.covariances[min(c, len(densities.covariances) - 1)]
        own = np.flatnonzero(codes == c)
        part = scaled[np.ix_(own, of_varying)]
        for rows, seen in observed_patterns(part):
            lost = np.setdiff1d(np.arange(len(of_varying)), seen)
            if lost.size == 0:
                continue
            mean = densities.means[c]
            known = covariance[np.ix_(seen, seen)]
            across = covariance[np.ix_(lost, seen)]
            slopes = cho_solve(cho_factor(known), across.T) if seen.size else across.T
            values = mean[lost] + (part[np.ix_(rows, seen)] - mean[seen]) @ slopes
            filled[np.ix_(own[rows], of_varying[lost])] = values
            left = covariance[np.ix_(lost, lost)] - across @ slopes
            units = unit[of_varying[lost]]
            cells = np.ix_(of_varying[lost], of_varying[lost])
            extra[c][cells] += weight[own[rows]].sum() * left * np.outer(units, units)
    values = filled * unit + densities.center
    complete = class_moments(values, codes, weight, n_classes, correlated=True)
    assert complete.scatter is not None
    squares = complete.squares + np.einsum("kdd->kd", extra)
    return replace(complete, squares=squares, scatter=complete.scatter + extra)
