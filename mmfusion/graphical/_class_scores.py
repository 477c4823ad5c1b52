"""Class scores on held-out samples: a temperature, and weights of modalities.

Log-likelihoods of sequences differ by hundreds of nats, since frames are not as
independent as models take them to be. Divided by a temperature they give probabilities
that can be used.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import log_softmax, softmax

# bounds of 1 / temperature, relative to 1 / the sum of a sample's differences
INVERSE_TEMPERATURE_RANGE = 1e6
LARGEST_EVALUATIONS = 20  # of the objective of weights: an early stop as well


def fit_temperature(
    scores: np.ndarray,
    y: np.ndarray,
    *,
    log_prior: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> float:
    """Fit the temperature of class probabilities ``softmax(scores / T + log_prior)``.

    It maximises the conditional log-likelihood of the classes, of which a share of
    ``1 / (n + 1)`` is taken as spread over all classes, for samples that weigh n
    together: scores that separate the samples would have temperature 0 otherwise.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)
        Scores of held-out samples, -inf for impossible classes.
    y : ndarray of int of shape (n_samples,)
        Column of the class of each sample.
    log_prior : ndarray of shape (n_classes,), default=None
        Logarithms of the prior probabilities.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples.

    Returns
    -------
    float
        The temperature; 1 if scores do not differ.
    """
    possible = np.isfinite(scores[np.arange(len(y)), y])
    scores, y = scores[possible], y[possible]
    weight = np.ones(len(possible)) if sample_weight is None else sample_weight
    weight = weight[possible]
    scores = scores - scores.max(axis=1, keepdims=True, initial=-np.inf)
    finite = np.isfinite(scores)
    total = float(weight.sum())
    differences = -np.where(finite, scores, 0).sum(axis=1)
    scale = float(weight @ differences) / total if total > 0 else 0.0
    if not scale > 0:
        return 1.0
    prior = np.zeros(scores.shape[1]) if log_prior is None else log_prior
    share = 1 / (total + 1)
    targets = share * finite / finite.sum(axis=1, keepdims=True)
    targets[np.arange(len(y)), y] += 1 - share

    bounded = np.where(finite, scores, 0)

    def slope(log_inverse: float) -> float:
        """Derivative of the loss, which is convex in 1 / T."""
        probabilities = softmax(scores * np.exp(log_inverse) + prior, axis=1)
        return float(weight @ ((probabilities - targets) * bounded).sum(axis=1))

    half = np.log(INVERSE_TEMPERATURE_RANGE)
    low, high = -half - np.log(scale), half - np.log(scale)
    if slope(low) >= 0:  # scores contradict the classes
        return float(np.exp(-low))
    if slope(high) <= 0:
        return float(np.exp(-high))
    return float(np.exp(-brentq(slope, low, high, xtol=1e-12)))


def discriminative_weights(
    scores_by_modality: Mapping[str, np.ndarray],
    y: np.ndarray,
    *,
    log_prior: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> dict[str, float]:
    """Fit weights of modalities by the conditional likelihood of held-out samples.

    Maximises ``sum_i log softmax(sum_v w_v scores_v / T + log_prior)[i, y_i]`` over
    weights that sum to the number of modalities, as ``w = V softmax(a)``, and over the
    temperature. Maximum likelihood of the data would have no such optimum.

    Parameters
    ----------
    scores_by_modality : dict of ndarray of shape (n_samples, n_classes)
        Scores of held-out samples by single modalities; 0 where a sample lacks one.
    y : ndarray of int of shape (n_samples,)
        Column of the class of each sample.
    log_prior : ndarray of shape (n_classes,), default=None
        Logarithms of the prior probabilities.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples.

    Returns
    -------
    dict of float
        Weights by modality.
    """
    names = list(scores_by_modality)
    stacked = np.stack([scores_by_modality[name] for name in names])
    possible = np.isfinite(stacked).all(axis=(0, 2))
    stacked, y = stacked[:, possible], y[possible]
    equal = dict.fromkeys(names, 1.0)
    if len(names) < 2 or not possible.any():
        return equal
    weight = np.ones(len(possible)) if sample_weight is None else sample_weight
    weight = weight[possible]
    start = fit_temperature(
        stacked.sum(axis=0), y, log_prior=log_prior, sample_weight=weight
    )
    weight = weight / weight.sum()
    onehot = np.zeros(stacked.shape[1:])
    onehot[np.arange(len(y)), y] = 1
    prior = np.zeros(stacked.shape[2]) if log_prior is None else log_prior

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights = len(names) * softmax(parameters[:-1])
        inverse = np.exp(-parameters[-1])
        total = np.tensordot(weights, stacked, axes=1) * inverse
        logs = log_softmax(total + prior, axis=1)
        slope = weight[:, None] * (np.exp(logs) - onehot)  # of the scores
        of_weights = inverse * np.tensordot(stacked, slope, axes=2)
        of_logits = weights * (of_weights - softmax(parameters[:-1]) @ of_weights)
        gradient = np.append(of_logits, -(slope * total).sum())
        return -float(weight @ (logs * onehot).sum(axis=1)), gradient

    initial = np.append(np.zeros(len(names)), np.log(start))
    limits = {"maxfun": LARGEST_EVALUATIONS}
    found = minimize(loss, initial, jac=True, method="L-BFGS-B", options=limits)
    weights = len(names) * softmax(found.x[:-1])
    return {name: float(w) for name, w in zip(names, weights, strict=True)}
