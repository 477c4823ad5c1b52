"""Weights of a branch for single samples: certainty, and distance to those of fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import NearestNeighbors

from mmfusion._typing import NumericBlock
from mmfusion.fusion.combination._opinion_pools import (
    SMALLEST_PROBABILITY,
    weighted_median,
)
from mmfusion.fusion.combination._predictor_weights import SMALLEST_WEIGHT_SHARE

N_REFERENCE_NEIGHBORS = 5
CONFORMAL_LEVEL = 0.02  # of the test that a sample is unlike those of fit


def normalised_entropy(probabilities: np.ndarray) -> np.ndarray:
    """Compute the normalised entropy ``-sum_k p_k log p_k / log K``.

    Parameters
    ----------
    probabilities : ndarray of shape (n_samples, n_classes)
        Probabilities, which add up to 1.

    Returns
    -------
    ndarray of shape (n_samples,)
        0 where one class is certain, 1 where all are equally probable.
    """
    n_classes = probabilities.shape[1]
    if n_classes < 2:
        return np.zeros(len(probabilities))
    logs = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
    return -np.einsum("ij,ij->i", probabilities, logs) / np.log(n_classes)


def certainty(probabilities: np.ndarray) -> np.ndarray:
    """Compute one minus the normalised entropy, ``1 + sum_k p_k log p_k / log K``.

    Parameters
    ----------
    probabilities : ndarray of shape (n_samples, n_classes) or \
(n_outputs, n_samples, n_classes)
        Probabilities, which add up to 1; entropies are averaged over outputs.

    Returns
    -------
    ndarray of shape (n_samples,)
        1 where one class is certain, a thousandth where all are equally probable.
    """
    by_output = probabilities.reshape(-1, *probabilities.shape[-2:])
    entropies = [normalised_entropy(own) for own in by_output]
    return np.clip(1 - np.mean(entropies, axis=0), SMALLEST_WEIGHT_SHARE, 1)


@dataclass(frozen=True)
class ReferenceSamples:
    """Samples of `fit`, with the mean distance of each to its nearest others."""

    neighbors: NearestNeighbors
    weights: np.ndarray  # of the samples of fit
    distances: np.ndarray  # mean distances, sorted
    counts: np.ndarray  # weights of the samples in the order of distances
    n_neighbors: float  # number of nearest samples in a mean, as their weights count

    def distances_to(self, matrix: NumericBlock) -> np.ndarray:
        """Compute the mean distances of samples to their nearest samples of fit."""
        distances, nearest = self.neighbors.kneighbors(matrix)
        return _mean_neighbor_distance(
            distances, self.weights[nearest], self.n_neighbors
        )

    def p_values(self, matrix: NumericBlock) -> np.ndarray:
        """Compute conformal p-values of the hypothesis that samples are like fit's.

        ``(1 + #{i : d_i >= d}) / (n + 1)`` with the mean distances d to the nearest
        samples.

        Parameters
        ----------
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Scaled samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            p-values, uniformly distributed for samples like those of fit.
        """
        below = np.concatenate([[0], np.cumsum(self.counts)])
        nearer = below[np.searchsorted(self.distances, self.distances_to(matrix))]
        return (1 + below[-1] - nearer) / (below[-1] + 1)

    def conformal_weights(self, matrix: NumericBlock) -> np.ndarray:
        """Compute small weights for samples that are significantly unlike fit's.

        Parameters
        ----------
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Scaled samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            1 where the p-value is at least the level .02, a thousandth below.
        """
        like_fit = self.p_values(matrix) >= CONFORMAL_LEVEL
        return np.where(like_fit, 1.0, SMALLEST_WEIGHT_SHARE)

    def distance_weights(self, matrix: NumericBlock) -> np.ndarray:
        """Compute weights inverse to the variance that noise adds.

        ``min(1, m^2 / d^2)`` with the mean distance d to the nearest samples and its
        median m in `fit`: noise adds its variance to squared distances.

        Parameters
        ----------
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Scaled samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            1 for samples as near as the median one of fit, less for others.
        """
        values, weights = self.distances[:, None, None], self.counts[None]
        typical = weighted_median(values, weights).item() ** 2
        squares = self.distances_to(matrix) ** 2
        # where all samples of fit are one point, m = 0 and every other point is far
        ratio = np.divide(
            typical, squares, out=np.ones_like(squares), where=squares > 0
        )
        return np.clip(ratio, SMALLEST_WEIGHT_SHARE, 1)


def _mean_neighbor_distance(
    distances: np.ndarray, weights: np.ndarray, n_neighbors: float
) -> np.ndarray:
    """Average the first distances in rising order; one of weight 2 counts as two."""
    before = np.cumsum(weights, axis=1) - weights
    used = np.clip(n_neighbors - before, 0, weights)
    return (distances * used).sum(axis=1) / used.sum(axis=1)


def fit_reference(
    matrix: NumericBlock, sample_weight: np.ndarray | None = None
) -> ReferenceSamples:
    """Compute the mean distance of every sample to its nearest others.

    Parameters
    ----------
    matrix : ndarray or CSR matrix of shape (n_samples, n_features)
        Scaled samples.
    sample_weight : ndarray of shape (n_samples,), default=None
        Positive weights of the samples: how often each counts.

    Returns
    -------
    ReferenceSamples
        The samples and their distances.
    """
    n_samples = matrix.shape[0]
    weights = np.ones(n_samples) if sample_weight is None else sample_weight
    n_neighbors = max(1, min(N_REFERENCE_NEIGHBORS, weights.sum() - 1))
    n_queried = min(N_REFERENCE_NEIGHBORS, n_samples)
    neighbors = NearestNeighbors(n_neighbors=n_queried).fit(matrix)
    if n_samples == 1:
        return ReferenceSamples(neighbors, weights, np.zeros(1), weights, n_neighbors)
    distances, nearest = neighbors.kneighbors(
        n_neighbors=min(N_REFERENCE_NEIGHBORS, n_samples - 1)
    )
    # the further copies of a sample of weight 2 or more are its nearest neighbors
    distances = np.column_stack([np.zeros(n_samples), distances])
    copies = np.maximum(weights - 1, 0)
    others = np.column_stack([copies, weights[nearest]])
    distances = _mean_neighbor_distance(distances, others, n_neighbors)
    order = np.argsort(distances, kind="stable")
    return ReferenceSamples(
        neighbors, weights, distances[order], weights[order], n_neighbors
    )
