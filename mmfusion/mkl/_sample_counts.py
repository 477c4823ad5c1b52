"""Weights of samples, in bounds and as numbers of repetitions."""

from __future__ import annotations

import numpy as np

WEIGHT_LIMITS = (1e-100, 1e100)  # squares of weights within them are finite
LARGEST_COUNT = 1e9  # kernels times it, and their squares, are finite in float32


def moderate_weights(weight: np.ndarray) -> np.ndarray:
    """Rescale weights whose squares would underflow or overflow.

    Parameters
    ----------
    weight : ndarray of shape (n_samples,)
        Positive weights of samples.

    Returns
    -------
    ndarray of shape (n_samples,)
        Weights in the same proportions; they stay below 1 if they were.
    """
    largest = weight.max()
    bounded = np.clip(largest, *WEIGHT_LIMITS)
    return weight if bounded == largest else weight / largest * bounded


def effective_samples(weight: np.ndarray) -> float:
    """Count the samples that weights stand for.

    Parameters
    ----------
    weight : ndarray of shape (n_samples,)
        Positive weights of samples, whose squares are finite.

    Returns
    -------
    float
        The sum of the weights, which is that of repeated samples; or Kish's effective
        number ``(sum v)^2 / sum v^2`` where that is larger, as for weights below 1.
    """
    total = float(weight.sum())
    return max(total, total**2 / float((weight**2).sum()))


def repetition_counts(weight: np.ndarray) -> np.ndarray:
    """Rescale weights to how often the samples are repeated.

    Parameters
    ----------
    weight : ndarray of shape (n_samples,)
        Positive weights of samples.

    Returns
    -------
    ndarray of float64 of shape (n_samples,)
        Weights in the same proportions, whose sum is the number of samples that they
        stand for: integers stay as they are, weights below 1 are raised.
    """
    weight = moderate_weights(weight)
    counts = weight * (effective_samples(weight) / weight.sum())
    return counts * min(1.0, LARGEST_COUNT / counts.max())
