"""Combining what several predictors say of the same samples: pure functions.

What was said is one array of shape (n_parts, n_samples, n_outputs), finite also where
a part says nothing; weights have shape (n_samples, n_parts) and are 0 there. Outputs
are the probabilities of the classes, or the values of a regression.
"""

from __future__ import annotations

import numpy as np

SMALLEST = 1e-6  # a probability of 0 would be a veto in a product


def weighted_mean(said: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average what was said.

    Parameters
    ----------
    said : ndarray of shape (n_parts, n_samples, n_outputs)
        What the parts say.
    weights : ndarray of shape (n_samples, n_parts)
        Their weights; 0 removes a part.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)
        The means; NaN where no part has a weight.
    """
    shares = _shares(weights)
    total = shares[:, 0, None] * said[0]
    for own, share in zip(said[1:], shares.T[1:], strict=True):
        total += share[:, None] * own
    return total


def _shares(weights: np.ndarray) -> np.ndarray:
    sums = weights.sum(axis=1, keepdims=True)
    nothing = np.full(weights.shape, np.nan)
    return np.divide(weights, sums, out=nothing, where=sums != 0)


def votes(said: np.ndarray) -> np.ndarray:
    """Turn probabilities into votes for the likeliest class.

    Parameters
    ----------
    said : ndarray of shape (n_parts, n_samples, n_classes)
        Probabilities; of equal ones the first wins.

    Returns
    -------
    ndarray of shape (n_parts, n_samples, n_classes)
        1 for the class voted for, else 0.
    """
    best = said.argmax(axis=2)
    return (best[:, :, None] == np.arange(said.shape[2])).astype(float)


def log_opinion_pool(
    said: np.ndarray, weights: np.ndarray, prior: np.ndarray
) -> np.ndarray:
    """Multiply probabilities, with the class prior counted once.

    ``log p(y) + sum_v w_v (log p(y|x_v) - log p(y))`` up to a constant: the posterior
    of all modalities, if weights are 1 and modalities are independent given the class.
    It is the prior where weights are 0.

    Parameters
    ----------
    said : ndarray of shape (n_parts, n_samples, n_classes)
        Probabilities.
    weights : ndarray of shape (n_samples, n_parts)
        Weights of the parts' evidence.
    prior : ndarray of shape (n_classes,)
        Probabilities of the classes before anything is seen; what is 0 stays 0.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        Probabilities, which add up to 1.
    """
    log_prior = np.log(np.maximum(prior, SMALLEST))
    pooled = np.tile(log_prior, (weights.shape[0], 1))
    for own, weight in zip(said, weights.T, strict=True):
        evidence = np.log(np.maximum(own, SMALLEST))
        evidence -= log_prior
        evidence *= weight[:, None]
        pooled += evidence
    pooled[:, prior <= 0] = -np.inf
    pooled -= pooled.max(axis=1, keepdims=True)
    np.exp(pooled, out=pooled)
    pooled /= pooled.sum(axis=1, keepdims=True)
    return pooled


def weighted_median(said: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Take the median of what was said, for each output.

    Half of the weight lies on either side; where two values share the middle it is
    their mean. With equal weights it is the ordinary median.

    Parameters
    ----------
    said : ndarray of shape (n_parts, n_samples, n_outputs)
        What the parts say.
    weights : ndarray of shape (n_samples, n_parts)
        Their weights, not negative; 0 removes a part.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)
        The medians; NaN where no part has a weight.
    """
    order = np.argsort(said, axis=0, kind="stable")
    values = np.take_along_axis(said, order, axis=0)
    shares = np.take_along_axis(_shares(weights).T[:, :, None], order, axis=0)
    below = np.cumsum(shares, axis=0)
    # sums of shares such as 1/3 + 1/6 must not miss the middle by rounding
    low = np.argmax(below >= 0.5 - 1e-9, axis=0)
    high = np.argmax(below > 0.5 + 1e-9, axis=0)
    middle = [np.take_along_axis(values, e[None], axis=0)[0] for e in (low, high)]
    medians = (middle[0] + middle[1]) / 2
    return np.where(np.isnan(below[-1]), np.nan, medians)


def minimum_variance_weights(
    covariance: np.ndarray, observed: np.ndarray
) -> np.ndarray:
    """Find the weights under which a mean has the least error variance.

    ``w = S^-1 1 / (1' S^-1 1)`` over the parts that say something of a sample; errors
    that go together can make weights negative.

    Parameters
    ----------
    covariance : ndarray of shape (n_parts, n_parts)
        Covariance of the parts' errors, positive definite.
    observed : ndarray of bool of shape (n_samples, n_parts)
        Which part says something of which sample.

    Returns
    -------
    ndarray of shape (n_samples, n_parts)
        Weights that add up to 1; 0 in rows of samples of which nothing is said.
    """
    weights = np.zeros(observed.shape)
    patterns, which = np.unique(observed, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if pattern.any():
            own = covariance[np.ix_(pattern, pattern)]
            solved = np.linalg.solve(own, np.ones(len(own)))
            row = np.zeros(len(pattern))
            row[pattern] = solved / solved.sum()
            weights[which.ravel() == number] = row
    return weights


def stacking_inputs(
    said: np.ndarray,
    observed: np.ndarray,
    default: np.ndarray,
    indicated: np.ndarray,
) -> np.ndarray:
    """Put what was said side by side, as features of a final estimator.

    Parameters
    ----------
    said : ndarray of shape (n_parts, n_samples, n_outputs)
        What the parts say.
    observed : ndarray of bool of shape (n_samples, n_parts)
        Which part says something of which sample.
    default : ndarray of shape (n_parts, n_outputs)
        What stands for a part that says nothing.
    indicated : ndarray of bool of shape (n_parts,)
        Parts that get one more feature: 1 where they say nothing.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Outputs of part after part, then the indicators.
    """
    filled = np.where(observed.T[:, :, None], said, default[:, None])
    inputs = np.concatenate(list(filled), axis=1)
    if not indicated.any():
        return inputs
    return np.column_stack([inputs, ~observed[:, indicated]])
