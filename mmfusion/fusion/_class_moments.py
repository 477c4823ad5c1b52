"""Moments of the samples of each class: what Gaussian densities of classes need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassMoments:
    """Sums of one modality by class, relative to the means.

    Features that are NaN count in no sum.

    Parameters
    ----------
    weights : ndarray of shape (n_classes,)
        Sum of the weights of the samples.
    counts : ndarray of shape (n_classes, n_features)
        Sum of the weights of the samples whose feature is not NaN.
    means : ndarray of shape (n_classes, n_features)
        Means; 0 where there is no sample.
    squares : ndarray of shape (n_classes, n_features)
        Sums of squared deviations from the mean.
    scatter : ndarray of shape (n_classes, n_features, n_features) or None
        Sums of products of deviations from the mean, of densities with correlations.
    """

    weights: np.ndarray
    counts: np.ndarray
    means: np.ndarray
    squares: np.ndarray
    scatter: np.ndarray | None = None

    @property
    def within(self) -> np.ndarray:
        """Variance of every feature around the means of the classes."""
        total = self.counts.sum(axis=0)
        return self.squares.sum(axis=0) / np.where(total > 0, total, 1.0)

    def pooled(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the variance of every feature over all classes."""
        total = self.counts.sum(axis=0)
        positive = np.where(total > 0, total, 1.0)
        means = (self.counts * self.means).sum(axis=0) / positive
        between = (self.counts * (self.means - means) ** 2).sum(axis=0)
        return means, (self.squares.sum(axis=0) + between) / positive


def empty_moments(n_classes: int, n_features: int, correlated: bool) -> ClassMoments:
    """Return the moments of no samples.

    Parameters
    ----------
    n_classes, n_features : int
        Numbers of classes and of features.
    correlated : bool
        Whether products of features are summed.

    Returns
    -------
    ClassMoments
        Zeros.
    """
    shape = (n_classes, n_features)
    scatter = np.zeros((*shape, n_features)) if correlated else None
    zeros = np.zeros(shape)
    return ClassMoments(np.zeros(n_classes), zeros, zeros, zeros, scatter)


def class_moments(
    X: np.ndarray,
    codes: np.ndarray,
    weight: np.ndarray,
    n_classes: int,
    *,
    correlated: bool,
) -> ClassMoments:
    """Sum the samples of every class in two passes: means, then deviations.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples; NaN features are left out, of products too.
    codes : ndarray of int of shape (n_samples,)
        Class of each sample.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    n_classes : int
        Number of classes.
    correlated : bool
        Whether products of features are summed.

    Returns
    -------
    ClassMoments
        The moments.
    """
    moments = empty_moments(n_classes, X.shape[1], correlated)
    weights, counts, means, squares, scatter = (
        moments.weights,
        moments.counts.copy(),
        moments.means.copy(),
        moments.squares.copy(),
        moments.scatter,
    )
    for c in range(n_classes):
        rows = np.flatnonzero((codes == c) & (weight > 0))
        own = weight[rows]
        weights[c] = own.sum()
        if rows.size == 0:
            continue
        values = X[rows].astype(np.float64)
        seen = ~np.isnan(values)
        values[~seen] = 0.0
        counts[c] = own @ seen
        positive = np.where(counts[c] > 0, counts[c], 1.0)
        means[c] = own @ values / positive
        values -= means[c]
        values[~seen] = 0.0
        # a second pass takes the rounding of the mean out
        shift = own @ values / positive
        means[c] += shift
        values -= np.where(seen, shift, 0.0)
        squares[c] = own @ values**2
        if scatter is not None:
            scatter[c] = (values * own[:, None]).T @ values
    return ClassMoments(weights, counts, means, squares, scatter)


def merged(a: ClassMoments, b: ClassMoments) -> ClassMoments:
    """Return the moments of two groups of samples together (Chan et al. 1983).

    Parameters
    ----------
    a, b : ClassMoments
        Moments of the same classes and features.

    Returns
    -------
    ClassMoments
        The sums over both.
    """
    counts = a.counts + b.counts
    positive = np.where(counts > 0, counts, 1.0)
    shift = np.where((a.counts > 0) & (b.counts > 0), b.means - a.means, 0.0)
    means = np.where(a.counts > 0, a.means + shift * b.counts / positive, b.means)
    between = shift**2 * a.counts * b.counts / positive
    scatter = None
    if a.scatter is not None and b.scatter is not None:
        total = a.weights + b.weights
        both = a.weights * b.weights / np.where(total > 0, total, 1.0)
        products = shift[:, :, None] * shift[:, None, :]
        scatter = a.scatter + b.scatter + both[:, None, None] * products
    return ClassMoments(
        a.weights + b.weights, counts, means, a.squares + b.squares + between, scatter
    )
