"""Gaussian emissions with diagonal or spherical covariances.

Values are centred and scaled by the pooled moments of the frames first. Then the
quadratic form expands without cancellation, the floor of the variances is relative to
each feature, and units shift log densities by a constant.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._scaling import fit_scaling
from mmfusion.graphical._optional_compilation import compiled_at_first_call
from mmfusion.graphical._standardized import (
    PooledMoments,
    fill_gaps,
    standardized,
    standardized_chunks,
    width_of_frames,
)

LOG_TWO_PI = float(np.log(2 * np.pi))
SMALLEST_COUNT = 1e-100  # frames below which a state has no moments of its own
SMALLEST_VARIANCE = 1e-200  # of a state whose frames are equal, without prior or floor


class GaussianStatistics(NamedTuple):
    """Sums over frames, weighted by posteriors, of standardised features."""

    counts: np.ndarray  # (n_states, n_features): weight of the observed values
    sums: np.ndarray  # (n_states, 2 * n_features): of the values and of their squares


def pooled_moments(
    X: np.ndarray, sample_weight: np.ndarray | None = None
) -> PooledMoments:
    """Compute the moments of each feature over the frames that have it.

    Parameters
    ----------
    X : ndarray of shape (n_frames, n_features)
        Frames; NaN is left out.
    sample_weight : ndarray of shape (n_frames,), default=None
        Weights of the frames.

    Returns
    -------
    PooledMoments
        Means and standard deviations. A feature that is constant up to rounding has
        its absolute value as scale, or 1 if it is 0; one that no frame has, 0 and 1.
    """
    weight = sample_weight
    if weight is not None and not (weight > 0).all():
        X, weight = X[weight > 0], weight[weight > 0]
    gaps = np.isnan(X)
    if not gaps.any() and len(X):
        scaling = fit_scaling(X, "standard", weight)
        center, scale = np.asarray(scaling.center), np.array(scaling.spread)
    else:
        center, scale = np.zeros(X.shape[1]), np.full(X.shape[1], np.inf)
        for j in np.flatnonzero(~gaps.all(axis=0)):
            own = ~gaps[:, j]
            column_weight = None if weight is None else weight[own]
            scaling = fit_scaling(X[own, j][:, None], "standard", column_weight)
            center[j], scale[j] = scaling.center[0], scaling.spread[0]
    constant = ~np.isfinite(scale)
    scale[constant] = np.where(center == 0, 1.0, np.abs(center))[constant]
    return PooledMoments(center, scale, constant)


def unit_moments(means: np.ndarray) -> PooledMoments:
    """Return moments for given parameters: the mean of their means, and scales of 1."""
    center = means.mean(axis=0)
    return PooledMoments(center, np.ones_like(center), np.zeros(len(center), bool))


@compiled_at_first_call()
def write_weights(means, variances, log_scale, weights, constants):
    """Write what standardised rows are multiplied with, by columns of states.

    `constants` are terms of a feature that do not depend on the frame, with its unit.
    """
    n_states, d = means.shape
    for q in range(n_states):
        total = 0.0
        for j in range(d):
            precision = 1 / variances[q, j]
            weighted = means[q, j] * precision
            constant = LOG_TWO_PI + np.log(variances[q, j]) + means[q, j] * weighted
            constants[q, j] = -0.5 * constant - log_scale[j]
            total += constants[q, j]
            weights[j, q] = weighted
            weights[d + j, q] = -0.5 * precision
        weights[2 * d, q] = total


@compiled_at_first_call()
def write_modes(counts, sums, constant, prior, floor, is_spherical, means, variances):
    """Write means, and the posterior modes of variances."""
    n_states, d = counts.shape
    for q in range(n_states):
        all_scatter, all_total = 0.0, 0.0  # of the features that vary
        for j in range(d):
            count = counts[q, j]
            means[q, j] = sums[q, j] / count if count > SMALLEST_COUNT else 0.0
            scatter = max(sums[q, d + j] - means[q, j] * sums[q, j], 0.0) + prior
            total = count + prior
            mode = scatter / total if total > SMALLEST_COUNT else 1.0
            variances[q, j] = 1.0 if constant[j] else max(mode, floor)
            if not constant[j]:
                all_scatter += scatter
                all_total += total
        if is_spherical:
            mode = all_scatter / all_total if all_total > SMALLEST_COUNT else 1.0
            for j in range(d):
                variances[q, j] = 1.0 if constant[j] else max(mode, floor)


class DiagonalGaussian:
    """Gaussian emission with independent features.

    ``log b_q(x) = -1/2 sum_j [log(2 pi v_qj) + (x_j - m_qj)^2 / v_qj]``, where the sum
    is over the features that a frame has: others are marginalised exactly.

    Parameters
    ----------
    n_states : int
        Number of states.
    is_spherical : bool, default=False
        Whether a state has one variance for all features.
    prior_frames : float, default=2.0
        Weight of the prior of variances, as frames with the pooled variance: the
        M-step gives the posterior mode. 0 is maximum likelihood.
    variance_floor : float, default=1e-3
        Smallest variance, as a share of the pooled variance of the feature.
    """

    def __init__(
        self,
        n_states: int,
        *,
        is_spherical: bool = False,
        prior_frames: float = 2.0,
        variance_floor: float = 1e-3,
    ) -> None:
        self.n_states = n_states
        self.is_spherical = is_spherical
        self.prior_frames = prior_frames
        self.variance_floor = variance_floor

    def prepare(self, X: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        """Set the pooled moments from the frames of fit, and all states to them."""
        self._pooled = pooled_moments(X, sample_weight)
        if self.is_spherical:
            self._pooled = _with_common_scale(self._pooled)
        self._means = np.zeros((self.n_states, X.shape[1]))
        self._variances = np.ones((self.n_states, X.shape[1]))

    def set_parameters(self, means: np.ndarray, variances: np.ndarray) -> None:
        """Set means and variances, both of shape (n_states, n_features)."""
        if not hasattr(self, "_pooled"):
            self._pooled = unit_moments(means)
        center, scale, _ = self._pooled
        self._means = (means - center) / scale
        self._variances = np.array(variances / scale / scale)

    @property
    def means(self) -> np.ndarray:
        """Means, (n_states, n_features)."""
        return self._pooled.center + self._means * self._pooled.scale

    @property
    def covariances(self) -> np.ndarray:
        """Variances, (n_states, n_features), or (n_states,) if spherical."""
        with np.errstate(over="ignore"):  # of units near the largest number
            variances = self._variances * self._pooled.scale**2
        first = int(np.argmin(self._pooled.is_constant))
        return variances[:, first] if self.is_spherical else variances

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        n_varying = int((~self._pooled.is_constant).sum())
        return self.n_states * (n_varying + (1 if self.is_spherical else n_varying))

    def reorder(self, order: np.ndarray) -> None:
        """Renumber the states: state i becomes the former state ``order[i]``."""
        self._means, self._variances = self._means[order], self._variances[order]

    def log_density(self, X: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute the log density of frames in each state.

        Parameters
        ----------
        X : ndarray of shape (n_frames, n_features)
            Frames; NaN is marginalised, so that a frame of NaN has log density 0.
        out : ndarray of shape (n_frames, n_states), default=None
            Array for the result.

        Returns
        -------
        ndarray of shape (n_frames, n_states)
            Log densities.
        """
        means, variances = self._means, self._variances
        weights = np.empty((2 * means.shape[1] + 1, self.n_states))
        constants = np.empty_like(means)
        log_scale = np.log(self._pooled.scale)
        write_weights(means, variances, log_scale, weights, constants)
        out = np.empty((len(X), self.n_states)) if out is None else out
        for rows, chunk in standardized_chunks(X, self._pooled):
            density = out[rows]
            with np.errstate(over="ignore", invalid="ignore"):
                np.matmul(chunk, weights, out=density)
            if not np.isfinite(density[:, 0]).all():  # NaN, or squares that overflow
                observed = fill_gaps(chunk)
                density[:] = chunk[:, :-1] @ weights[:-1] + observed @ constants.T
        return out

    def broad_log_density(self, X: np.ndarray, scale: float) -> np.ndarray:
        """Compute the log density under pooled moments, the variances times `scale`.

        Parameters
        ----------
        X : ndarray of shape (n_frames, n_features)
            Frames.
        scale : float
            Factor of the pooled variances.

        Returns
        -------
        ndarray of shape (n_frames,)
            Log densities.
        """
        d = width_of_frames(X)
        out = np.empty(len(X))
        constants = -0.5 * (LOG_TWO_PI + np.log(scale)) - np.log(self._pooled.scale)
        weights = np.concatenate([np.zeros(d), np.full(d, -0.5 / scale), [0.0]])
        weights[-1] = constants.sum()
        for rows, chunk in standardized_chunks(X, self._pooled):
            density = out[rows]
            with np.errstate(over="ignore", invalid="ignore"):
                np.matmul(chunk, weights, out=density)
            if not np.isfinite(density).all():
                observed = fill_gaps(chunk)
                density[:] = chunk[:, :-1] @ weights[:-1] + observed @ constants
        return out

    def standardized(self, X: np.ndarray) -> np.ndarray:
        """Standardise frames once, for several calls of methods that take frames.

        Parameters
        ----------
        X : ndarray of shape (n_frames, n_features)
            Frames.

        Returns
        -------
        ndarray
            What these methods accept in place of `X`: `X`, if it is large or has gaps.
        """
        return standardized(X, self._pooled)

    def statistics(self) -> GaussianStatistics:
        """Return empty sufficient statistics."""
        n_states, d = self._means.shape
        return GaussianStatistics(np.zeros((n_states, d)), np.zeros((n_states, 2 * d)))

    def accumulate(
        self, statistics: GaussianStatistics, X: np.ndarray, posteriors: np.ndarray
    ) -> None:
        """Add frames to sufficient statistics.

        Parameters
        ----------
        statistics : GaussianStatistics
            The statistics, which are changed.
        X : ndarray of shape (n_frames, n_features)
            Frames; values that are NaN do not count.
        posteriors : ndarray of shape (n_frames, n_states)
            Weights of the frames in the states.
        """
        d = width_of_frames(X)
        for rows, chunk in standardized_chunks(X, self._pooled):
            weights = posteriors[rows]
            with np.errstate(over="ignore", invalid="ignore"):
                totals = (chunk.T @ weights).T
            if np.isfinite(totals).all():
                statistics.counts[...] += totals[:, 2 * d :]
            else:
                observed = fill_gaps(chunk)
                totals = weights.T @ chunk
                statistics.counts[...] += weights.T @ observed
            statistics.sums[...] += totals[:, : 2 * d]

    def maximize(self, statistics: GaussianStatistics) -> None:
        """Set means and the posterior modes of variances; M-step.

        ``v = (sum of squared deviations + n_0 v_0) / (n + n_0)`` with the pooled
        variance ``v_0`` and `prior_frames` ``n_0``. A state without frames gets the
        pooled moments.

        Parameters
        ----------
        statistics : GaussianStatistics
            Sums over all frames.
        """
        counts, sums = statistics
        self._means, self._variances = np.empty_like(counts), np.empty_like(counts)
        write_modes(
            counts,
            sums,
            self._pooled.is_constant,
            float(self.prior_frames),
            max(float(self.variance_floor), SMALLEST_VARIANCE),
            self.is_spherical,
            self._means,
            self._variances,
        )

    def log_prior(self) -> float:
        """Compute the log prior of the variances, up to a constant."""
        # inverse gamma, whose mode with n frames is that of `maximize`
        if not self.prior_frames:
            return 0.0
        terms = np.log(self._variances) + 1 / self._variances
        return float(-0.5 * self.prior_frames * terms.sum())

    def sample(
        self, states: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Draw one frame for each state.

        Parameters
        ----------
        states : ndarray of int of shape (n_frames,)
            States.
        random_state : RandomState
            Generator.

        Returns
        -------
        ndarray of shape (n_frames, n_features)
            Frames.
        """
        noise = random_state.standard_normal((len(states), self._means.shape[1]))
        values = self._means[states] + np.sqrt(self._variances[states]) * noise
        return self._pooled.center + values * self._pooled.scale


def _with_common_scale(pooled: PooledMoments) -> PooledMoments:
    """Return moments with one unit for all features that vary."""
    varying = pooled.scale[~pooled.is_constant]
    if not len(varying):
        return pooled
    largest = varying.max()  # squares of the rest are at most 1
    common = largest * np.sqrt(((varying / largest) ** 2).mean())
    return pooled._replace(scale=np.where(pooled.is_constant, pooled.scale, common))
