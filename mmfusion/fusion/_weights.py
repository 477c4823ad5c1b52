"""How much a modality counts: in a data set, and for one sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

from mmfusion.fusion._combine import weighted_median

SMALLEST = 1e-6  # as in a product of probabilities
LEAST_SHARE = 1e-3  # a modality that is all a sample has must have some weight
N_NEIGHBORS = 5
LEVEL = 0.02  # of the test that a sample is unlike those of fit


def normalised_quality(quality: np.ndarray) -> np.ndarray:
    """Make weights of qualities.

    Parameters
    ----------
    quality : ndarray of shape (n_modalities,)
        The more the better; 0 or less is none.

    Returns
    -------
    ndarray of shape (n_modalities,)
        Proportional, with mean 1; none is below a thousandth of the largest.
    """
    quality = np.maximum(quality, max(quality.max(), SMALLEST) * LEAST_SHARE)
    return quality / quality.mean()


# Of a modality in a data set, from predictions for samples that were held out


def skill(loss: float, loss_of_prior: float) -> float:
    """Tell the share of the loss of knowing nothing that is avoided.

    Parameters
    ----------
    loss : float
        Mean loss, 0 for perfect predictions.
    loss_of_prior : float
        That of the best constant prediction.

    Returns
    -------
    float
        1 for perfect predictions, 0 for those no better than a constant.
    """
    if loss_of_prior <= 0:  # nothing to know: what is constant tells it all
        return 1.0 if loss <= 0 else 0.0
    return max(0.0, 1 - loss / loss_of_prior)


def error_rate(said: np.ndarray, truth: np.ndarray, sample_weight: Any) -> float:
    """Share of samples whose likeliest class is not theirs.

    Parameters
    ----------
    said : ndarray of shape (n_samples, n_classes)
        Probabilities.
    truth : ndarray of shape (n_samples, n_classes)
        1 for the class of a sample, else 0.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the samples.

    Returns
    -------
    float
        Between 0 and 1.
    """
    wrong = said.argmax(axis=1) != truth.argmax(axis=1)
    return float(np.average(wrong, weights=sample_weight))


def mean_log_loss(said: np.ndarray, truth: np.ndarray, sample_weight: Any) -> float:
    """Mean negative log probability of the classes of samples.

    Parameters
    ----------
    said : ndarray of shape (n_samples, n_classes)
        Probabilities.
    truth : ndarray of shape (n_samples, n_classes)
        1 for the class of a sample, else 0.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the samples.

    Returns
    -------
    float
        Not negative.
    """
    of_class = (said * truth).sum(axis=1)
    losses = -np.log(np.clip(of_class, SMALLEST, 1))
    return float(np.average(losses, weights=sample_weight))


def mean_squared_error(
    said: np.ndarray, truth: np.ndarray, sample_weight: Any
) -> float:
    """Mean squared error, summed over outputs.

    Parameters
    ----------
    said : ndarray of shape (n_samples, n_outputs)
        Predictions, or probabilities of classes.
    truth : ndarray of shape (n_samples, n_outputs)
        What they should be.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the samples.

    Returns
    -------
    float
        Not negative.
    """
    errors = ((said - truth) ** 2).sum(axis=1)
    return float(np.average(errors, weights=sample_weight))


def error_covariance(
    errors: np.ndarray, observed: np.ndarray, sample_weight: Any = None
) -> np.ndarray:
    """Estimate the covariance of the errors of several predictors, shrunk.

    Second moments about 0 over the samples of which both say something. Correlations
    shrink by the share of their squares that their sampling variance explains [1]_,
    and further until the matrix is positive definite: predictors that are the same
    share their weight.

    Parameters
    ----------
    errors : ndarray of shape (n_parts, n_samples, n_outputs)
        Errors for samples that were held out, of outputs in like units.
    observed : ndarray of bool of shape (n_samples, n_parts)
        Which part says something of which sample.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples: how often each counts.

    Returns
    -------
    ndarray of shape (n_parts, n_parts)
        Positive definite.

    References
    ----------
    .. [1] J. Schäfer, K. Strimmer (2005), A shrinkage approach to large-scale
       covariance matrix estimation and implications for functional genomics.
       Statistical Applications in Genetics and Molecular Biology 4(1), 32.
    """
    told = observed.T[:, :, None]
    weight = np.ones(len(observed)) if sample_weight is None else sample_weight
    errors = np.where(told, errors, 0) * np.sqrt(weight)[:, None]
    errors = errors.reshape(len(errors), -1)
    counts = (observed * weight[:, None]).T @ observed
    moments = errors @ errors.T / np.maximum(counts, 1)
    spread = np.sqrt(np.maximum(np.diag(moments), np.finfo(float).tiny))
    correlations = moments / np.outer(spread, spread)
    np.fill_diagonal(correlations, 0)
    correlations = np.clip(correlations, -1, 1)
    variances = (1 - correlations**2) ** 2 / np.maximum(counts, 1)
    np.fill_diagonal(variances, 0)
    squares = (correlations**2).sum()
    kept = 1 - min(1.0, variances.sum() / squares) if squares > 0 else 0.0
    lowest = np.linalg.eigvalsh(correlations)[0]
    if kept * lowest <= SMALLEST - 1:
        kept = (SMALLEST - 1) / lowest
    correlations *= kept
    np.fill_diagonal(correlations, 1)
    return correlations * np.outer(spread, spread)


# Of a modality for one sample


def confidence(probabilities: np.ndarray) -> np.ndarray:
    """Tell how sure probabilities are: one minus their normalised entropy.

    Parameters
    ----------
    probabilities : ndarray of shape (n_samples, n_classes)
        Probabilities, which add up to 1.

    Returns
    -------
    ndarray of shape (n_samples,)
        1 for certainty, a thousandth if all classes are as likely.
    """
    n_classes = probabilities.shape[1]
    if n_classes < 2:
        return np.ones(len(probabilities))
    logs = np.log(np.maximum(probabilities, SMALLEST))
    entropy = -np.einsum("ij,ij->i", probabilities, logs) / np.log(n_classes)
    return np.clip(1 - entropy, LEAST_SHARE, 1)


@dataclass(frozen=True)
class Reference:
    """Samples of fit, and how far each of them is from the others."""

    neighbors: NearestNeighbors
    weights: np.ndarray  # of the samples of fit
    distances: np.ndarray  # sorted
    counts: np.ndarray  # weights of the samples in this order
    n_neighbors: float  # how many are averaged, as weights count

    def distances_of(self, matrix: Any) -> np.ndarray:
        """Mean distance of samples to the nearest ones of fit."""
        distances, nearest = self.neighbors.kneighbors(matrix)
        return _mean_distance(distances, self.weights[nearest], self.n_neighbors)

    def p_values(self, matrix: Any) -> np.ndarray:
        """Conformal p-values of samples being like those of fit.

        Parameters
        ----------
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Samples, scaled.

        Returns
        -------
        ndarray of shape (n_samples,)
            Share of the samples of fit that are as far from the others, counting the
            sample itself. Uniform, if a sample is like them.
        """
        below = np.concatenate([[0], np.cumsum(self.counts)])
        nearer = below[np.searchsorted(self.distances, self.distances_of(matrix))]
        return (1 + below[-1] - nearer) / (below[-1] + 1)

    def conformal_weights(self, matrix: Any) -> np.ndarray:
        """Mute samples that are significantly unlike those of fit.

        Parameters
        ----------
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Samples, scaled.

        Returns
        -------
        ndarray of shape (n_samples,)
            1 where the p-value is at least the level .02, a thousandth below.
        """
        return np.where(self.p_values(matrix) >= LEVEL, 1.0, LEAST_SHARE)

    def distance_weights(self, matrix: Any) -> np.ndarray:
        """Weigh samples by the inverse of the variance that noise has added.

        Noise adds its variance to squared distances: the typical squared distance in
        `fit` over that of the sample.

        Parameters
        ----------
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Samples, scaled.

        Returns
        -------
        ndarray of shape (n_samples,)
            1 for samples as near as the median one of fit, else less.
        """
        values, weights = self.distances[:, None, None], self.counts[None]
        typical = weighted_median(values, weights).item() ** 2
        squares = self.distances_of(matrix) ** 2
        # where all samples of fit are the same point, everything else is far
        ratio = np.divide(
            typical, squares, out=np.ones_like(squares), where=squares > 0
        )
        return np.clip(ratio, LEAST_SHARE, 1)


def _mean_distance(distances: np.ndarray, weights: np.ndarray, most: float) -> Any:
    """Mean of the first distances in rising order; one of weight 2 counts as two."""
    taken = np.clip(most - (np.cumsum(weights, axis=1) - weights), 0, weights)
    return (distances * taken).sum(axis=1) / taken.sum(axis=1)


def fit_reference(matrix: Any, sample_weight: Any = None) -> Reference:
    """Measure how far samples of fit are from each other.

    Parameters
    ----------
    matrix : ndarray or CSR matrix of shape (n_samples, n_features)
        Samples, scaled.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples, positive: how often each counts.

    Returns
    -------
    Reference
        The samples and their distances.
    """
    n_samples = matrix.shape[0]
    weights = np.ones(n_samples) if sample_weight is None else sample_weight
    n_neighbors = max(1, min(N_NEIGHBORS, weights.sum() - 1))
    neighbors = NearestNeighbors(n_neighbors=min(N_NEIGHBORS, n_samples)).fit(matrix)
    if n_samples == 1:
        return Reference(neighbors, weights, np.zeros(1), weights, n_neighbors)
    distances, nearest = neighbors.kneighbors(
        n_neighbors=min(N_NEIGHBORS, n_samples - 1)
    )
    # the further copies of a sample of weight 2 or more are its nearest neighbors
    distances = np.column_stack([np.zeros(n_samples), distances])
    copies = np.maximum(weights - 1, 0)
    others = np.column_stack([copies, weights[nearest]])
    distances = _mean_distance(distances, others, n_neighbors)
    order = np.argsort(distances, kind="stable")
    return Reference(neighbors, weights, distances[order], weights[order], n_neighbors)
