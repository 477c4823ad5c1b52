"""Temperatures of held-out log densities, whose losses add up over calls.

`mmfusion.graphical._class_scores` fits temperatures to all samples at once.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

# half an octave apart; a parabola through the best three places the minimum between
TEMPERATURES = np.exp2(np.arange(-2.0, 12.25, 0.5))


def smoothed_targets(
    codes: np.ndarray, weight: np.ndarray, n_classes: int
) -> np.ndarray:
    """Return targets that keep away from 0 and 1, as after one sample of each class.

    Parameters
    ----------
    codes : ndarray of int of shape (n_samples,)
        Class of each sample.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    n_classes : int
        Number of classes.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        ``(n + 1) / (n + K)`` for the class of a sample, else ``1 / (n + K)``, so that
        scores that separate the classes have no infinite optimum.
    """
    n = weight.sum()
    targets = np.full((len(codes), n_classes), 1 / (n + n_classes))
    targets[np.arange(len(codes)), codes] += n / (n + n_classes)
    return targets


def temperature_losses(
    scores: np.ndarray, log_prior: np.ndarray, codes: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Sum the log losses of ``softmax(log prior + scores / T)`` for every temperature.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)
        Held-out log densities of the samples.
    log_prior : ndarray of shape (n_classes,)
        Log probabilities of the classes.
    codes : ndarray of int of shape (n_samples,)
        Class of each sample.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.

    Returns
    -------
    ndarray of shape (n_temperatures,)
        Losses, which add up over parts of the samples.
    """
    targets = smoothed_targets(codes, weight, scores.shape[1])
    scores = scores - scores.max(axis=1, keepdims=True)
    losses = np.empty(len(TEMPERATURES))
    for i, temperature in enumerate(TEMPERATURES):
        # classes without samples have a prior of 0
        joint = scores / temperature + log_prior
        expected = np.where(np.isneginf(joint), 0.0, targets * joint).sum(axis=1)
        losses[i] = weight @ (logsumexp(joint, axis=1) - expected)
    return losses


def best_temperature(losses: np.ndarray) -> float:
    """Return the temperature of the smallest loss.

    Parameters
    ----------
    losses : ndarray of shape (n_temperatures,)
        Sums of `temperature_losses`.

    Returns
    -------
    float
        The minimum of the parabola, over the logarithm, through the smallest loss and
        its neighbours.
    """
    i = int(np.argmin(losses))
    logs = np.log(TEMPERATURES)
    if i in (0, len(losses) - 1):
        return float(TEMPERATURES[i])
    left, middle, right = losses[i - 1 : i + 2]
    curvature = left - 2 * middle + right
    shift = 0.0 if curvature <= 0 else 0.5 * (left - right) / curvature
    return float(np.exp(logs[i] + shift * (logs[1] - logs[0])))
