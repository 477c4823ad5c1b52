"""Calibration of probabilities on held-out predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from mmfusion._scaling import fit_scaling

SMALLEST_CERTAINTY_GAP = 1e-15  # the log-odds of certainty would be infinite


@dataclass(frozen=True)
class Sigmoid:
    """Platt's probability ``1 / (1 + exp(-slope * score - offset))``."""

    slope: float
    offset: float

    def predict(self, scores: np.ndarray) -> np.ndarray:
        """Turn scores into probabilities."""
        return expit(self.slope * scores + self.offset)


UNCALIBRATED = Sigmoid(slope=1.0, offset=0.0)


@dataclass(frozen=True)
class Calibrator:
    """One map of scores to probabilities per class (a single one for two classes).

    Unless classes are exclusive, as labels are not, there is one for each label, and
    their probabilities do not add up to 1.
    """

    maps: tuple[Sigmoid | IsotonicRegression, ...]
    is_exclusive: bool = True

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Turn scores into calibrated probabilities.

        Parameters
        ----------
        scores : ndarray of shape (n_samples, n_classes)
            Scores like those of `fit_calibrator`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, which add up to 1 if classes are exclusive.
        """
        if self.is_exclusive and len(self.maps) == 1:
            second = self.maps[0].predict(scores[:, 1])
            return np.column_stack([1 - second, second])
        columns = [m.predict(s) for m, s in zip(self.maps, scores.T, strict=True)]
        calibrated = np.column_stack(columns)
        if not self.is_exclusive:
            return calibrated
        sums = calibrated.sum(axis=1, keepdims=True)
        # isotonic maps can give every class the probability 0
        uniform = np.full_like(calibrated, 1 / calibrated.shape[1])
        return np.divide(calibrated, sums, out=uniform, where=sums > 0)


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Compute the log-odds ``log(p / (1 - p))``, which are unbounded scores.

    Parameters
    ----------
    probabilities : ndarray
        Values between 0 and 1.

    Returns
    -------
    ndarray
        Finite log-odds.
    """
    # float32 would round 1 - SMALLEST_CERTAINTY_GAP to 1
    clipped = np.clip(
        probabilities.astype(np.float64),
        SMALLEST_CERTAINTY_GAP,
        1 - SMALLEST_CERTAINTY_GAP,
    )
    return np.log(clipped) - np.log1p(-clipped)


def fit_calibrator(
    scores: np.ndarray,
    truth: np.ndarray,
    method: str,
    sample_weight: np.ndarray | None = None,
    *,
    is_exclusive: bool = True,
) -> Calibrator:
    """Fit the maps of scores to probabilities, each class against the rest.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)
        Log-odds or decision values of held-out samples, larger for likelier classes.
    truth : ndarray of shape (n_samples, n_classes)
        1 for the class of a sample, else 0. A class that all or none of the samples
        have is not calibrated: its scores are taken as log-odds.
    method : {'sigmoid', 'isotonic'}
        Kind of the maps: Platt's sigmoid of two parameters, or any monotone function.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples.
    is_exclusive : bool, default=True
        Whether each sample has one class, instead of any number of labels.

    Returns
    -------
    Calibrator
        The fitted maps.
    """
    # of two classes the first one's probability is the complement
    is_binary = is_exclusive and scores.shape[1] == 2
    columns = [1] if is_binary else range(scores.shape[1])
    fit = _fit_sigmoid if method == "sigmoid" else _fit_isotonic
    return Calibrator(
        tuple(
            fit(scores[:, k], truth[:, k], sample_weight)
            if 0 < truth[:, k].sum() < len(truth)
            else UNCALIBRATED
            for k in columns
        ),
        is_exclusive,
    )


def _fit_isotonic(
    scores: np.ndarray, truth: np.ndarray, weight: np.ndarray | None
) -> IsotonicRegression:
    isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    return isotonic.fit(scores, truth, weight)


def _fit_sigmoid(
    scores: np.ndarray, truth: np.ndarray, weight: np.ndarray | None
) -> Sigmoid:
    """Maximise Platt's likelihood, whose targets keep away from 0 and 1."""
    weight = np.ones(len(scores)) if weight is None else weight
    positive, total = float(weight @ truth), float(weight.sum())
    # (N+ + 1) / (N+ + 2) and 1 / (N- + 2) (Platt 1999): no infinite slope where the
    # scores separate the classes
    high, low = (positive + 1) / (positive + 2), 1 / (total - positive + 2)
    targets = np.where(truth > 0, high, low)
    # standardised scores condition the search, whatever their unit
    scaling = fit_scaling(scores[:, None], "standard", weight)
    center, spread = float(scaling.center[0]), float(scaling.spread[0])
    standardised = (scores - center) / spread

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = parameters[0] * standardised + parameters[1]
        slope = weight * (expit(z) - targets)
        value = weight @ (np.logaddexp(0, z) - targets * z)
        return value / total, np.array([slope @ standardised, slope.sum()]) / total

    start = np.array([1.0, np.log((positive + 1) / (total - positive + 1))])
    slope, offset = minimize(loss, start, jac=True, method="L-BFGS-B").x
    slope = max(slope, 0.0)  # a falling map would contradict the scores
    return Sigmoid(slope / spread, offset - slope * center / spread)
