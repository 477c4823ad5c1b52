"""Mixtures of Gaussian densities within every class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, softmax
from sklearn.cluster import KMeans

from mmfusion.fusion._class_densities import (
    DiagonalDensities,
    Distances,
    Regularization,
)
from mmfusion.fusion._class_moments import ClassMoments, class_moments

MAX_ITER = 100
TOLERANCE_NATS = 1e-4  # increase of the log-likelihood per sample that ends EM


@dataclass(frozen=True)
class MixtureDensities:
    """Densities of classes that are mixtures of diagonal Gaussian components."""

    components: DiagonalDensities  # component m of class c at c * n_mixtures + m
    log_shares: np.ndarray  # of the components, (n_classes, n_mixtures)

    def distances(self, X: np.ndarray) -> Distances:
        """Return distances to the components; NaN features are marginalised."""
        return self.components.distances(X)

    def held_out(
        self, X: np.ndarray, codes: np.ndarray, weight: np.ndarray
    ) -> Distances:
        """Return distances without the sample, whose responsibilities are kept."""
        n_mixtures = self.log_shares.shape[1]
        found = self.distances(X)
        rows = np.arange(len(X))
        own = softmax(self.joint(found.log_density())[rows, codes], axis=1)
        squared = found.squared.copy()
        offsets = np.broadcast_to(found.offsets, squared.shape).copy()
        part = np.minimum(weight, 1.0)
        for m in range(n_mixtures):
            column = codes * n_mixtures + m
            without = self.components.held_out(X, column, part * own[:, m])
            squared[rows, column] = without.squared[rows, column]
            offsets[rows, column] = without.offsets[rows, column]
        return Distances(squared, offsets, found.n_features)

    def by_class(self, values: np.ndarray) -> np.ndarray:
        """Return the log densities of mixtures."""
        return logsumexp(self.joint(values), axis=2)

    def own_distances(self, found: Distances, codes: np.ndarray) -> np.ndarray:
        """Return the mean squared distance to the components of the class."""
        rows = np.arange(len(codes))
        own = softmax(self.joint(found.log_density())[rows, codes], axis=1)
        squared = found.squared.reshape(len(codes), *self.log_shares.shape)
        return (own * squared[rows, codes]).sum(axis=1)

    def joint(self, values: np.ndarray) -> np.ndarray:
        """Return log densities of components with their shares, by class."""
        return values.reshape(len(values), *self.log_shares.shape) + self.log_shares


def fit_class_mixtures(
    X: np.ndarray,
    codes: np.ndarray,
    weight: np.ndarray,
    n_classes: int,
    n_mixtures: int,
    regularization: Regularization,
    rng: np.random.RandomState,
) -> MixtureDensities:
    """Fit a mixture to each class by EM from k-means.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples; NaN features are marginalised.
    codes : ndarray of int of shape (n_samples,)
        Class of each sample.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    n_classes, n_mixtures : int
        Numbers of classes, and of components of each.
    regularization : Regularization
        The prior of variances.
    rng : RandomState
        Draws the first centres of k-means.

    Returns
    -------
    MixtureDensities
        The densities.
    """
    parts = np.zeros((len(X), n_mixtures))
    filled = _standardised(X)
    for c in range(n_classes):
        rows = np.flatnonzero((codes == c) & (weight > 0))
        k = min(n_mixtures, len(np.unique(filled[rows], axis=0)))
        if k == 0:
            continue
        k_means = KMeans(k, n_init=1, random_state=rng)
        found = k_means.fit_predict(filled[rows], sample_weight=weight[rows])
        parts[rows, found] = 1.0
    before = -np.inf
    rows = np.arange(len(X))
    for _ in range(MAX_ITER):
        fitted = _maximized_mixtures(X, codes, weight, n_classes, parts, regularization)
        joint = fitted.joint(fitted.distances(X).log_density())[rows, codes]
        value = float(weight @ logsumexp(joint, axis=1)) / weight.sum()
        if value - before < TOLERANCE_NATS:
            break
        before, parts = value, softmax(joint, axis=1)
    return fitted


def _maximized_mixtures(
    X: np.ndarray,
    codes: np.ndarray,
    weight: np.ndarray,
    n_classes: int,
    parts: np.ndarray,
    regularization: Regularization,
) -> MixtureDensities:
    by_component = [
        class_moments(X, codes, weight * part, n_classes, correlated=False)
        for part in parts.T
    ]
    moments = ClassMoments(
        *(
            np.stack([getattr(m, name) for m in by_component], axis=1).reshape(
                n_classes * parts.shape[1], *getattr(by_component[0], name).shape[1:]
            )
            for name in ("weights", "counts", "means", "squares")
        )
    )
    shares = moments.weights.reshape(n_classes, -1)
    totals = shares.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        log_shares = np.log(
            np.where(totals > 0, shares / np.where(totals > 0, totals, 1.0), 1.0)
        )
    log_shares -= logsumexp(log_shares, axis=1, keepdims=True)
    return MixtureDensities(DiagonalDensities.fit(moments, regularization), log_shares)


def _standardised(X: np.ndarray) -> np.ndarray:
    """Return standardised features, 0 where they are NaN or constant."""
    seen = ~np.isnan(X)
    counts = np.maximum(seen.sum(axis=0), 1)
    deviations = np.where(seen, X, 0.0)
    deviations = np.where(seen, X - deviations.sum(axis=0) / counts, 0.0)
    spread = np.sqrt((deviations**2).sum(axis=0) / counts)
    return deviations / np.where(spread > 0, spread, 1.0)
