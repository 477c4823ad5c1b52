"""Gaussian emissions with full covariances, of each state or tied over all states."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from mmfusion.graphical._gaussian import (
    LOG_TWO_PI,
    SMALLEST_COUNT,
    SMALLEST_VARIANCE,
    pooled_moments,
    unit_moments,
)
from mmfusion.graphical._standardized import (
    LARGEST_DEVIATION,
    chunks_of_frames,
)

# with more features, chunks of frames are not shorter: triangular solves need many
LARGEST_CHUNK_WIDTH = 128


class FullStatistics(NamedTuple):
    """Sums over frames, weighted by posteriors, of standardised features."""

    counts: np.ndarray  # (n_states,)
    sums: np.ndarray  # (n_states, n_features)
    # (n_states, n_features, n_features), or one matrix of all states if tied
    products: np.ndarray


class FullGaussian:
    """Gaussian emission with correlated features.

    ``log b_q(x) = -1/2 [d log(2 pi) + log |C_q| + (x - m_q)' C_q^-1 (x - m_q)]``. Of
    frames with NaN it is the density of the features that they have; the M-step takes
    the expected moments of the others.

    Parameters
    ----------
    n_states : int
        Number of states.
    is_tied : bool, default=False
        Whether all states have the same covariance.
    prior_frames : float, default=2.0
        Weight of the prior of covariances, as frames with the pooled variances and
        without correlation. 0 is maximum likelihood.
    variance_floor : float, default=1e-3
        Smallest variance in any direction, in features divided by their pooled standard
        deviations.
    """

    def __init__(
        self,
        n_states: int,
        *,
        is_tied: bool = False,
        prior_frames: float = 2.0,
        variance_floor: float = 1e-3,
    ) -> None:
        self.n_states = n_states
        self.is_tied = is_tied
        self.prior_frames = prior_frames
        self.variance_floor = variance_floor

    def prepare(self, X: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        """Set the pooled moments from the frames of fit, and all states to them."""
        self._pooled = pooled_moments(X, sample_weight)
        d = X.shape[1]
        self._means = np.zeros((self.n_states, d))
        self._covariances = np.tile(
            np.eye(d), (1 if self.is_tied else self.n_states, 1, 1)
        )

    def set_parameters(self, means: np.ndarray, covariances: np.ndarray) -> None:
        """Set means, (n_states, n_features), and covariances; one matrix if tied."""
        if not hasattr(self, "_pooled"):
            self._pooled = unit_moments(means)
        center, scale, _ = self._pooled
        self._means = (means - center) / scale
        scaled = covariances / scale / scale[:, None]
        self._covariances = np.array(scaled[None] if self.is_tied else scaled)

    @property
    def means(self) -> np.ndarray:
        """Means, (n_states, n_features)."""
        return self._pooled.center + self._means * self._pooled.scale

    @property
    def covariances(self) -> np.ndarray:
        """Covariances, (n_states, n_features, n_features); one matrix if tied."""
        scale = self._pooled.scale
        with np.errstate(over="ignore"):  # of units near the largest number
            covariances = self._covariances * scale * scale[:, None]
        return covariances[0] if self.is_tied else covariances

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        d = int((~self._pooled.is_constant).sum())
        return self.n_states * d + len(self._covariances) * d * (d + 1) // 2

    def reorder(self, order: np.ndarray) -> None:
        """Renumber the states: state i becomes the former state ``order[i]``."""
        self._means = self._means[order]
        if not self.is_tied:
            self._covariances = self._covariances[order]

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
        complete: np.ndarray | None = None
        for observed, rows, Z in self._patterns(X):
            if not len(observed):  # which solvers of old SciPy refuse
                out[rows] = 0.0
                continue
            means = self._means[:, observed]
            if len(observed) < X.shape[1]:
                factors = self._factors(observed)
            else:  # the same for all chunks
                complete = self._factors(observed) if complete is None else complete
                factors = complete
            if self.is_tied:
                out[rows] = _tied_log_density(Z, means, factors[0])
            else:
                for state, (mean, factor) in enumerate(
                    zip(means, factors, strict=True)
                ):
                    out[rows, state] = _log_density(Z - mean, factor)
            out[rows] -= np.log(self._pooled.scale[observed]).sum()
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
        out = np.empty(len(X))
        for observed, rows, Z in self._patterns(X):
            constants = 0.5 * (LOG_TWO_PI + np.log(scale)) + np.log(self._pooled.scale)
            squares = np.einsum("nd,nd->n", Z, Z)
            out[rows] = -0.5 * squares / scale - constants[observed].sum()
        return out

    def _factors(self, observed: np.ndarray) -> np.ndarray:
        """Return the lower Cholesky factors of the covariances of some features."""
        return np.linalg.cholesky(self._covariances[:, observed][:, :, observed])

    def _patterns(
        self, X: np.ndarray
    ) -> Iterator[tuple[np.ndarray, slice | np.ndarray, np.ndarray]]:
        """Yield observed features, rows that have them alone, and their values."""
        center, scale, _ = self._pooled
        for chunk in chunks_of_frames(len(X), min(X.shape[1], LARGEST_CHUNK_WIDTH)):
            with np.errstate(over="ignore"):  # infinite ones are bounded
                Z = (X[chunk] - center) / scale
            np.clip(Z, -LARGEST_DEVIATION, LARGEST_DEVIATION, out=Z)
            if not np.isnan(Z.sum()):
                yield np.arange(X.shape[1]), chunk, Z
                continue
            patterns, of_rows = np.unique(~np.isnan(Z), axis=0, return_inverse=True)
            of_rows = of_rows.reshape(-1)
            for i, pattern in enumerate(patterns):
                own = np.flatnonzero(of_rows == i)
                observed = np.flatnonzero(pattern)
                yield observed, own + chunk.start, Z[own][:, observed]

    def statistics(self) -> FullStatistics:
        """Return empty sufficient statistics."""
        return FullStatistics(
            np.zeros(self.n_states),
            np.zeros_like(self._means),
            np.zeros_like(self._covariances),
        )

    def accumulate(
        self, statistics: FullStatistics, X: np.ndarray, posteriors: np.ndarray
    ) -> None:
        """Add frames to sufficient statistics.

        Parameters
        ----------
        statistics : FullStatistics
            The statistics, which are changed.
        X : ndarray of shape (n_frames, n_features)
            Frames. Of values that are NaN, the moments given the others and the state
            count; frames of NaN do not count.
        posteriors : ndarray of shape (n_frames, n_states)
            Weights of the frames in the states.
        """
        d = X.shape[1]
        for observed, rows, Z in self._patterns(X):
            if not len(observed):
                continue
            weights = posteriors[rows]
            statistics.counts[...] += weights.sum(axis=0)
            if len(observed) < d:
                sums, products = self._expected_sums(observed, Z, weights)
            elif self.is_tied:
                sums = weights.T @ Z
                products = ((Z * weights.sum(axis=1)[:, None]).T @ Z)[None]
            else:
                sums = weights.T @ Z
                products = np.stack([(Z * own[:, None]).T @ Z for own in weights.T])
            statistics.sums[...] += sums
            statistics.products[...] += products

    def _expected_sums(
        self, observed: np.ndarray, Z: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sum the expected moments of frames of which some features are observed."""
        missing = np.setdiff1d(np.arange(self._means.shape[1]), observed)
        of_missing = self._covariances[:, missing][:, :, missing]
        of_both = self._covariances[:, observed][:, :, missing]
        # x_m | x_o ~ N(m_m + B' (x_o - m_o), C_mm - B' C_om) with B = C_oo^-1 C_om
        coefficients = np.linalg.solve(
            self._covariances[:, observed][:, :, observed], of_both
        )
        rest = of_missing - coefficients.transpose(0, 2, 1) @ of_both
        frames = np.empty((self.n_states, len(Z), self._means.shape[1]))
        frames[:, :, observed] = Z
        deviations = Z - self._means[:, None, observed]
        frames[:, :, missing] = deviations @ coefficients
        frames[:, :, missing] += self._means[:, None, missing]
        weighted = frames * weights.T[:, :, None]
        products = weighted.transpose(0, 2, 1) @ frames
        products[:, missing[:, None], missing] += (
            weights.sum(axis=0)[:, None, None] * rest
        )
        if self.is_tied:
            products = products.sum(axis=0, keepdims=True)
        return weighted.sum(axis=1), products

    def maximize(self, statistics: FullStatistics) -> None:
        """Set means and the posterior modes of covariances; M-step.

        ``C = (sum of products of deviations + n_0 V_0) / (n + n_0)`` with the diagonal
        matrix of pooled variances ``V_0`` and `prior_frames` ``n_0``.

        Parameters
        ----------
        statistics : FullStatistics
            Sums over all frames.
        """
        counts, sums, products = statistics
        has_frames = np.broadcast_to(counts[:, None] > SMALLEST_COUNT, sums.shape)
        means = np.divide(
            sums, counts[:, None], out=np.zeros_like(sums), where=has_frames
        )
        within = means[:, :, None] * sums[:, None, :]
        totals = counts
        if self.is_tied:
            within, totals = (
                within.sum(axis=0, keepdims=True),
                counts.sum(keepdims=True),
            )
        prior = self.prior_frames
        eye = np.eye(sums.shape[1])
        scatter = products - (within + within.transpose(0, 2, 1)) / 2
        self._means = means
        self._covariances = np.stack(
            [
                self._bounded((own + prior * eye) / (total + prior))
                if total + prior > SMALLEST_COUNT
                else eye
                for own, total in zip(scatter, totals, strict=True)
            ]
        )
        constant = self._pooled.is_constant
        self._covariances[:, constant, constant] = 1

    def _bounded(self, covariance: np.ndarray) -> np.ndarray:
        """Raise eigenvalues to the floor: the mode among matrices that respect it."""
        floor = max(self.variance_floor, SMALLEST_VARIANCE)
        # rounding makes the smallest eigenvalues of singular matrices negative
        floor = max(floor, float(np.trace(covariance)) * np.finfo(float).eps)
        try:
            np.linalg.cholesky(covariance - floor * np.eye(len(covariance)))
        except np.linalg.LinAlgError:
            values, vectors = np.linalg.eigh(covariance)
        else:
            return covariance
        return (vectors * np.maximum(values, floor)) @ vectors.T

    def log_prior(self) -> float:
        """Compute the log prior of the covariances, up to a constant."""
        if not self.prior_frames:
            return 0.0
        # inverse Wishart, whose mode with n frames is that of `maximize`
        _, log_determinants = np.linalg.slogdet(self._covariances)
        traces = np.trace(np.linalg.inv(self._covariances), axis1=1, axis2=2)
        return float(-0.5 * self.prior_frames * (log_determinants + traces).sum())

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
        factors = np.linalg.cholesky(self._covariances)
        values = self._means[states]
        for state in np.unique(states):
            own = states == state
            values[own] += noise[own] @ factors[0 if self.is_tied else state].T
        return self._pooled.center + values * self._pooled.scale


def _log_density(deviations: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Compute log densities of deviations, with C = L L'."""
    # the squared norm of L^-1 (z - m)
    white = solve_triangular(factor, deviations.T, lower=True, check_finite=False)
    squares = np.einsum("dn,dn->n", white, white)
    return -0.5 * squares - _log_normaliser(factor)


def _tied_log_density(
    Z: np.ndarray, means: np.ndarray, factor: np.ndarray
) -> np.ndarray:
    """Compute log densities around several means, by products."""
    white = solve_triangular(factor, Z.T, lower=True, check_finite=False)
    centers = solve_triangular(factor, means.T, lower=True, check_finite=False)
    density = white.T @ centers
    density -= 0.5 * np.einsum("dk,dk->k", centers, centers)
    density -= 0.5 * np.einsum("dn,dn->n", white, white)[:, None]
    return density - _log_normaliser(factor)


def _log_normaliser(factor: np.ndarray) -> float:
    logs = np.log(np.diagonal(factor))
    return float(logs.sum()) + 0.5 * len(factor) * LOG_TWO_PI
