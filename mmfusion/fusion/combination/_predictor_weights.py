"""Weights of predictors, from the quality of their held-out predictions."""

from __future__ import annotations

import numpy as np

from mmfusion.fusion.combination._opinion_pools import SMALLEST_PROBABILITY

SMALLEST_QUALITY = 1e-6
# of the largest weight: a branch may be all that a sample has, so it must have some
SMALLEST_WEIGHT_SHARE = 1e-3
SMALLEST_EIGENVALUE = 1e-6  # of a correlation matrix that is to be inverted


def normalised_weights(quality: np.ndarray) -> np.ndarray:
    """Scale qualities to weights of mean 1.

    Parameters
    ----------
    quality : ndarray of shape (n_branches,)
        Qualities, larger for better branches; 0 or less is none.

    Returns
    -------
    ndarray of shape (n_branches,)
        Weights proportional to the qualities, none below a thousandth of the largest.
    """
    largest = max(quality.max(), SMALLEST_QUALITY)
    quality = np.maximum(quality, largest * SMALLEST_WEIGHT_SHARE)
    return quality / quality.mean()


def skill(loss: float, loss_of_prior: float) -> float:
    """Compute the skill score ``max(0, 1 - loss / loss_of_prior)``.

    Parameters
    ----------
    loss : float
        Mean loss, 0 for perfect predictions.
    loss_of_prior : float
        Mean loss of the best constant prediction.

    Returns
    -------
    float
        1 for perfect predictions, 0 for those no better than a constant.
    """
    if loss_of_prior <= 0:  # a constant target, which the prior predicts perfectly
        return 1.0 if loss <= 0 else 0.0
    return max(0.0, 1 - loss / loss_of_prior)


def error_rate(
    predictions: np.ndarray, truth: np.ndarray, sample_weight: np.ndarray | None
) -> float:
    """Compute the share of samples whose most probable class is wrong.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_classes)
        Probabilities.
    truth : ndarray of shape (n_samples, n_classes)
        1 for the class of a sample, else 0.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the samples.

    Returns
    -------
    float
        Value between 0 and 1.
    """
    wrong = predictions.argmax(axis=1) != truth.argmax(axis=1)
    return float(np.average(wrong, weights=sample_weight))


def mean_log_loss(
    predictions: np.ndarray, truth: np.ndarray, sample_weight: np.ndarray | None
) -> float:
    """Compute the mean negative log probability of the true classes.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_classes)
        Probabilities.
    truth : ndarray of shape (n_samples, n_classes)
        1 for the class of a sample, else 0.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the samples.

    Returns
    -------
    float
        Non-negative value.
    """
    of_true_class = (predictions * truth).sum(axis=1)
    losses = -np.log(np.clip(of_true_class, SMALLEST_PROBABILITY, 1))
    return float(np.average(losses, weights=sample_weight))


def mean_squared_error(
    predictions: np.ndarray, truth: np.ndarray, sample_weight: np.ndarray | None
) -> float:
    """Compute the mean squared error, summed over outputs.

    Parameters
    ----------
    predictions : ndarray of shape (n_samples, n_outputs)
        Predicted values, or probabilities of classes (then this is the Brier score).
    truth : ndarray of shape (n_samples, n_outputs)
        True values, or 1 for the class of a sample.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the samples.

    Returns
    -------
    float
        Non-negative value.
    """
    errors = ((predictions - truth) ** 2).sum(axis=1)
    return float(np.average(errors, weights=sample_weight))


def error_covariance(
    errors: np.ndarray, observed: np.ndarray, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Estimate the covariance of the errors of several predictors, with shrinkage.

    Second moments about 0 over the samples for which both have a prediction.
    Correlations are multiplied by ``1 - sum_ij var(r_ij) / sum_ij r_ij^2`` [1]_, and by
    less where the matrix would not be positive definite: predictors with the same
    errors share their weight.

    Parameters
    ----------
    errors : ndarray of shape (n_branches, n_samples, n_outputs)
        Errors of held-out predictions, of outputs in the same unit.
    observed : ndarray of bool of shape (n_samples, n_branches)
        Where a branch has a prediction.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples: how often each counts.

    Returns
    -------
    ndarray of shape (n_branches, n_branches)
        Positive definite covariance.

    References
    ----------
    .. [1] J. Schäfer, K. Strimmer (2005), A shrinkage approach to large-scale
       covariance matrix estimation and implications for functional genomics.
       Statistical Applications in Genetics and Molecular Biology 4(1), 32.
    """
    weight = np.ones(len(observed)) if sample_weight is None else sample_weight
    errors = np.where(observed.T[:, :, None], errors, 0) * np.sqrt(weight)[:, None]
    errors = errors.reshape(len(errors), -1)
    counts = (observed * weight[:, None]).T @ observed
    moments = errors @ errors.T / np.maximum(counts, 1)
    spread = np.sqrt(np.maximum(np.diag(moments), np.finfo(float).tiny))
    correlations = moments / np.outer(spread, spread)
    np.fill_diagonal(correlations, 0)
    # moments of different samples need not satisfy Cauchy-Schwarz
    correlations = np.clip(correlations, -1, 1)
    variances = (1 - correlations**2) ** 2 / np.maximum(counts, 1)
    np.fill_diagonal(variances, 0)
    squares = (correlations**2).sum()
    shrinkage = 1 - min(1.0, variances.sum() / squares) if squares > 0 else 0.0
    lowest = np.linalg.eigvalsh(correlations)[0]
    # the diagonal of 1, added below, raises every eigenvalue by 1
    if shrinkage * lowest <= SMALLEST_EIGENVALUE - 1:
        shrinkage = (SMALLEST_EIGENVALUE - 1) / lowest
    correlations *= shrinkage
    np.fill_diagonal(correlations, 1)
    return correlations * np.outer(spread, spread)
