"""Opinion pools: combine the predictions of several branches for the same samples.

Predictions are one array of shape (n_branches, n_samples, n_outputs), finite also
where a branch has no prediction; weights have shape (n_samples, n_branches) and are 0
there. Outputs are the probabilities of the classes, or the values of a regression.
"""

from __future__ import annotations

import numpy as np

SMALLEST_PROBABILITY = 1e-6  # a probability of 0 would be a veto in a product


def weighted_mean(predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the linear opinion pool ``sum_b w_b p_b / sum_b w_b``.

    Parameters
    ----------
    predictions : ndarray of shape (n_branches, n_samples, n_outputs)
        Predictions of the branches.
    weights : ndarray of shape (n_samples, n_branches)
        Weights of the branches; 0 removes a branch.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)
        Weighted means; NaN where no branch has a weight.
    """
    shares = _shares_of_weight(weights)
    # branch by branch: no second array of the size of the predictions is made
    total = shares[:, 0, None] * predictions[0]
    for values, share in zip(predictions[1:], shares.T[1:], strict=True):
        total += share[:, None] * values
    return total


def mixture_moments(
    means: np.ndarray, stds: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean and the standard deviation of a mixture of distributions.

    With shares s of the weights, the variance is the mean of the variances and that of
    the squared deviations of the means: ``sum_b s_b (std_b^2 + (m_b - mean)^2)``.

    Parameters
    ----------
    means, stds : ndarray of shape (n_branches, n_samples, n_outputs)
        Moments of the branches.
    weights : ndarray of shape (n_samples, n_branches)
        Weights of the branches, at least 0.

    Returns
    -------
    mean, std : ndarray of shape (n_samples, n_outputs)
        Moments of the mixture; NaN where no branch has a weight.
    """
    mean = weighted_mean(means, weights)
    variance = weighted_mean(stds**2 + (means - mean) ** 2, weights)
    return mean, np.sqrt(variance)


def _shares_of_weight(weights: np.ndarray) -> np.ndarray:
    sums = weights.sum(axis=1, keepdims=True)
    undefined = np.full(weights.shape, np.nan)
    # weights of 'error_covariance' can be negative: only a sum of 0 is undefined
    return np.divide(weights, sums, out=undefined, where=sums != 0)


def votes(predictions: np.ndarray) -> np.ndarray:
    """Turn probabilities into votes for the most probable class.

    Parameters
    ----------
    predictions : ndarray of shape (..., n_classes)
        Probabilities; among equal ones the first class wins.

    Returns
    -------
    ndarray of the same shape
        1 for the class voted for, else 0.
    """
    best = predictions.argmax(axis=-1)
    return (best[..., None] == np.arange(predictions.shape[-1])).astype(float)


def log_opinion_pool(
    predictions: np.ndarray, weights: np.ndarray, prior: np.ndarray
) -> np.ndarray:
    """Compute the logarithmic opinion pool, with the class prior counted once.

    ``log p(y) + sum_b w_b (log p_b(y | x_b) - log p(y))`` up to a constant: the
    posterior given all modalities, if all weights are 1 and modalities are
    independent given the class. It is the prior where all weights are 0.

    Parameters
    ----------
    predictions : ndarray of shape (n_branches, n_samples, n_classes)
        Probabilities.
    weights : ndarray of shape (n_samples, n_branches)
        Exponents of the branches' likelihood ratios.
    prior : ndarray of shape (n_classes,)
        Prior probabilities of the classes; a class of probability 0 keeps it.

    Returns
    -------
    ndarray of shape (n_samples, n_classes)
        Probabilities, which add up to 1.
    """
    log_prior = np.log(np.maximum(prior, SMALLEST_PROBABILITY))
    pooled = np.tile(log_prior, (weights.shape[0], 1))
    for probabilities, weight in zip(predictions, weights.T, strict=True):
        evidence = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
        evidence -= log_prior
        evidence *= weight[:, None]
        pooled += evidence
    pooled[:, prior <= 0] = -np.inf
    pooled -= pooled.max(axis=1, keepdims=True)  # the exponential cannot overflow
    np.exp(pooled, out=pooled)
    pooled /= pooled.sum(axis=1, keepdims=True)
    return pooled


def weighted_median(predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the weighted median of the predictions, output by output.

    Half of the weight lies on either side; where two values share the middle it is
    their mean. With equal weights it is the ordinary median.

    Parameters
    ----------
    predictions : ndarray of shape (n_branches, n_samples, n_outputs)
        Predictions of the branches.
    weights : ndarray of shape (n_samples, n_branches)
        Non-negative weights of the branches; 0 removes a branch.

    Returns
    -------
    ndarray of shape (n_samples, n_outputs)
        Medians; NaN where no branch has a weight.
    """
    order = np.argsort(predictions, axis=0, kind="stable")
    values = np.take_along_axis(predictions, order, axis=0)
    shares = _shares_of_weight(weights).T[:, :, None]
    shares = np.take_along_axis(shares, order, axis=0)
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
    """Compute the weights under which the mean has the least error variance.

    ``w = S^-1 1 / (1' S^-1 1)`` over the branches that have a prediction for a sample;
    correlated errors can make weights negative.

    Parameters
    ----------
    covariance : ndarray of shape (n_branches, n_branches)
        Covariance S of the branches' errors, positive definite.
    observed : ndarray of bool of shape (n_samples, n_branches)
        Where a branch has a prediction.

    Returns
    -------
    ndarray of shape (n_samples, n_branches)
        Weights that add up to 1; 0 in rows of samples without any prediction.
    """
    weights = np.zeros(observed.shape)
    # one linear system for each set of branches, not for each sample
    patterns, pattern_of_row = np.unique(observed, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if pattern.any():
            own = covariance[np.ix_(pattern, pattern)]
            solved = np.linalg.solve(own, np.ones(len(own)))
            row = np.zeros(len(pattern))
            row[pattern] = solved / solved.sum()
            weights[pattern_of_row.ravel() == number] = row
    return weights


def stacking_features(
    predictions: np.ndarray,
    observed: np.ndarray,
    defaults: np.ndarray,
    with_indicator: np.ndarray,
) -> np.ndarray:
    """Concatenate predictions into the features of a final estimator.

    Parameters
    ----------
    predictions : ndarray of shape (n_branches, n_samples, n_outputs)
        Predictions of the branches.
    observed : ndarray of bool of shape (n_samples, n_branches)
        Where a branch has a prediction.
    defaults : ndarray of shape (n_branches, n_outputs)
        Values in place of a branch's missing predictions.
    with_indicator : ndarray of bool of shape (n_branches,)
        Branches that get one more feature: 1 where their prediction is missing.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Outputs of branch after branch, then the indicators.
    """
    filled = np.where(observed.T[:, :, None], predictions, defaults[:, None])
    features = np.concatenate(list(filled), axis=1)
    if not with_indicator.any():
        return features
    return np.column_stack([features, ~observed[:, with_indicator]])
