"""Emissions of mixtures of diagonal Gaussians."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from mmfusion.graphical._discrete import PRIOR_COUNT
from mmfusion.graphical._gaussian import (
    DiagonalGaussian,
    GaussianStatistics,
)
from mmfusion.graphical._standardized import (
    chunks_of_frames,
)

SPLIT_SEED = 0  # directions in which components are separated are always the same


class MixtureStatistics(NamedTuple):
    """Sums over frames, weighted by posteriors."""

    components: GaussianStatistics
    counts: np.ndarray  # (n_states, n_mixtures)


class MixtureEmission:
    """Emission of a mixture of Gaussians with independent features.

    ``b_q(x) = sum_m c_qm N(x; m_qm, v_qm)``. Weights of components are the posterior
    mode with 0.1 frames for each.

    Parameters
    ----------
    n_states : int
        Number of states.
    n_mixtures : int, default=2
        Number of components of each state.
    prior_frames, variance_floor : float
        As in `DiagonalGaussian`, for each component.
    """

    def __init__(
        self,
        n_states: int,
        *,
        n_mixtures: int = 2,
        prior_frames: float = 2.0,
        variance_floor: float = 1e-3,
    ) -> None:
        self.n_states = n_states
        self.n_mixtures = n_mixtures
        self._components = DiagonalGaussian(
            n_states * n_mixtures,
            prior_frames=prior_frames,
            variance_floor=variance_floor,
        )

    def prepare(self, X: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        """Set the pooled moments, and all states to components around them."""
        self._components.prepare(X, sample_weight)
        self._weights = np.full((self.n_states, self.n_mixtures), 1 / self.n_mixtures)
        self.split_components()

    def split_components(self) -> None:
        """Give the components of a state means around that of the state."""
        shape = (self.n_states, self.n_mixtures, -1)
        gaussian = self._components
        weights = self._weights[:, :, None]
        means = (weights * gaussian._means.reshape(shape)).sum(axis=1, keepdims=True)
        variances = gaussian._variances.reshape(shape)
        variances = (weights * variances).sum(axis=1, keepdims=True)
        rng = np.random.RandomState(SPLIT_SEED)
        directions = rng.standard_normal((self.n_mixtures, means.shape[2]))
        directions -= directions.mean(axis=0)
        split = means + np.sqrt(variances) * directions
        gaussian._means = split.reshape(gaussian._means.shape)
        gaussian._variances = np.repeat(variances[:, 0], self.n_mixtures, axis=0)
        self._weights = np.full_like(self._weights, 1 / self.n_mixtures)

    @property
    def mixture_weights(self) -> np.ndarray:
        """Weights of the components, (n_states, n_mixtures)."""
        return self._weights

    @property
    def means(self) -> np.ndarray:
        """Means, (n_states, n_mixtures, n_features)."""
        return self._components.means.reshape(self.n_states, self.n_mixtures, -1)

    @property
    def covariances(self) -> np.ndarray:
        """Variances, (n_states, n_mixtures, n_features)."""
        variances = self._components.covariances
        return variances.reshape(self.n_states, self.n_mixtures, -1)

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        n_weights = self.n_states * (self.n_mixtures - 1)
        return self._components.n_parameters + n_weights

    def reorder(self, order: np.ndarray) -> None:
        """Renumber the states: state i becomes the former state ``order[i]``."""
        self._weights = self._weights[order]
        places = np.asarray(order)[:, None] * self.n_mixtures
        self._components.reorder((places + np.arange(self.n_mixtures)).ravel())

    def _joint(self, X: np.ndarray) -> np.ndarray:
        """Return log densities of components and frames, (n, states, mixtures)."""
        joint = self._components.log_density(X)
        joint += np.log(self._weights).ravel()
        return joint.reshape(len(X), self.n_states, self.n_mixtures)

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
        out = np.empty((len(X), self.n_states)) if out is None else out
        for rows in chunks_of_frames(len(X), X.shape[1] + self._weights.size):
            out[rows] = logsumexp(self._joint(X[rows]), axis=2)
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
        return self._components.broad_log_density(X, scale)

    def statistics(self) -> MixtureStatistics:
        """Return empty sufficient statistics."""
        return MixtureStatistics(
            self._components.statistics(), np.zeros_like(self._weights)
        )

    def accumulate(
        self, statistics: MixtureStatistics, X: np.ndarray, posteriors: np.ndarray
    ) -> None:
        """Add frames to sufficient statistics.

        Parameters
        ----------
        statistics : MixtureStatistics
            The statistics, which are changed.
        X : ndarray of shape (n_frames, n_features)
            Frames; values that are NaN do not count, nor do frames of NaN.
        posteriors : ndarray of shape (n_frames, n_states)
            Weights of the frames in the states.
        """
        for rows in chunks_of_frames(len(X), X.shape[1] + self._weights.size):
            own = self._joint(X[rows])
            own -= logsumexp(own, axis=2, keepdims=True)
            np.exp(own, out=own)
            own *= posteriors[rows][:, :, None]
            own[np.isnan(X[rows]).all(axis=1)] = 0
            statistics.counts[...] += own.sum(axis=0)
            flat = own.reshape(len(own), -1)
            self._components.accumulate(statistics.components, X[rows], flat)

    def maximize(self, statistics: MixtureStatistics) -> None:
        """Set weights, means and variances to the posterior mode; M-step.

        Parameters
        ----------
        statistics : MixtureStatistics
            Sums over all frames.
        """
        counts = statistics.counts + PRIOR_COUNT
        self._weights = counts / counts.sum(axis=1, keepdims=True)
        self._components.maximize(statistics.components)

    def log_prior(self) -> float:
        """Compute the log prior of weights and variances, up to a constant."""
        of_weights = PRIOR_COUNT * np.log(self._weights).sum()
        return float(of_weights) + self._components.log_prior()

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
        cumulative = self._weights[states].cumsum(axis=1)
        place = random_state.random_sample((len(states), 1)) * cumulative[:, -1:]
        components = (place >= cumulative).sum(axis=1)
        return self._components.sample(
            states * self.n_mixtures + components, random_state
        )
