"""Emissions of discrete features: categories, counts of words, counts, and bits.

All are exponential families: log densities and statistics are products with matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import gammaln, xlogy

from mmfusion.graphical._gaussian import SMALLEST_COUNT
from mmfusion.graphical._standardized import chunks_of_frames

PRIOR_COUNT = 0.1  # of each category or component, and in frames of each rate


class DiscreteStatistics(NamedTuple):
    """Sums over frames, weighted by posteriors."""

    counts: np.ndarray  # (n_states, n_features): of observed values, if it matters
    sums: np.ndarray  # (n_states, n_features): of the values


class _Discrete:
    """Base of emissions of discrete features: sums of values that are observed."""

    def __init__(self, n_states: int) -> None:
        self.n_states = n_states

    def _set_all(self, pooled: np.ndarray) -> None:
        self._pooled = pooled
        self._values = np.tile(pooled, (self.n_states, 1))

    def reorder(self, order: np.ndarray) -> None:
        """Renumber the states: state i becomes the former state ``order[i]``."""
        self._values = self._values[order]

    def statistics(self) -> DiscreteStatistics:
        """Return empty sufficient statistics."""
        return DiscreteStatistics(
            np.zeros_like(self._values), np.zeros_like(self._values)
        )

    def _features(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return values, 0 where missing, and which are observed if it matters."""
        return _values_and_observed(X)

    def accumulate(
        self, statistics: DiscreteStatistics, X: np.ndarray, posteriors: np.ndarray
    ) -> None:
        """Add frames to sufficient statistics.

        Parameters
        ----------
        statistics : DiscreteStatistics
            The statistics, which are changed.
        X : ndarray of shape (n_frames, n_features)
            Frames; values that are NaN do not count.
        posteriors : ndarray of shape (n_frames, n_states)
            Weights of the frames in the states.
        """
        for rows in chunks_of_frames(X.shape[0], 2 * self._values.shape[1]):
            values, observed = self._features(X[rows])
            statistics.sums[...] += (values.T @ posteriors[rows]).T
            if observed is not None:
                statistics.counts[...] += (observed.T @ posteriors[rows]).T

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
        out = np.empty((X.shape[0], self.n_states)) if out is None else out
        of_values, of_observed = self._natural_parameters()
        for rows in chunks_of_frames(X.shape[0], 2 * self._values.shape[1]):
            values, observed = self._features(X[rows])
            out[rows] = values @ of_values.T
            if observed is not None and of_observed is not None:
                out[rows] += observed @ of_observed.T
            out[rows] += self._log_base(values)[:, None]
        return out

    def _natural_parameters(self) -> tuple[np.ndarray, np.ndarray | None]:
        raise NotImplementedError

    def _log_base(self, values: np.ndarray) -> np.ndarray:
        """Return the term that does not depend on the state."""
        return np.zeros(values.shape[0])


class CategoricalEmission(_Discrete):
    """Emission of independent categories.

    Features are integers from 0, or all columns are the indicators of one feature
    (one-hot rows). Probabilities are ``(n_qc + 0.1) / sum_c (n_qc + 0.1)``. Categories
    that no frame of fit has are taken as missing.

    Parameters
    ----------
    n_states : int
        Number of states.
    """

    def prepare(self, X: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        """Find the categories of the frames of fit, and set all states to uniform."""
        observed = X[~np.isnan(X)]
        if (observed < 0).any() or (observed != np.floor(observed)).any():
            wrong = observed[(observed < 0) | (observed != np.floor(observed))][0]
            raise ValueError(
                f"categories are integers from 0, and {wrong} is among the frames: "
                "encode them by an OrdinalEncoder, or as indicators"
            )
        self._is_one_hot = _are_indicators(X)
        if self._is_one_hot:
            sizes = np.array([X.shape[1]])
        else:
            largest = np.where(np.isnan(X), 0, X).max(axis=0, initial=0)
            sizes = largest.astype(np.int64) + 1
        self._sizes = sizes
        self._set_all(np.repeat(1 / sizes, sizes))

    @property
    def probabilities(self) -> list[np.ndarray]:
        """Probabilities of categories by feature, (n_states, n_categories)."""
        return np.split(self._values, np.cumsum(self._sizes)[:-1], axis=1)

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        return self.n_states * int((self._sizes - 1).sum())

    def _features(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        if self._is_one_hot:
            indicators = np.nan_to_num(X)
            return indicators, None
        starts = np.cumsum(self._sizes) - self._sizes
        known = (X >= 0) & (self._sizes > X)  # False for NaN
        frames, features = np.nonzero(known)
        indicators = np.zeros((len(X), int(self._sizes.sum())))
        places = starts[features] + X[known].astype(np.int64)
        indicators[frames, places] = 1
        return indicators, None

    def _natural_parameters(self) -> tuple[np.ndarray, None]:
        return np.log(self._values), None

    def broad_log_density(self, X: np.ndarray, scale: float) -> np.ndarray:
        """Compute the log density of uniform categories; `scale` has no part in it."""
        sizes = np.repeat(self._sizes, self._sizes)
        indicators, _ = self._features(X)
        return -(indicators @ np.log(sizes))

    def maximize(self, statistics: DiscreteStatistics) -> None:
        """Set the probabilities to the posterior mode; M-step."""
        starts = np.cumsum(self._sizes) - self._sizes
        counts = statistics.sums + PRIOR_COUNT
        totals = np.add.reduceat(counts, starts, axis=1)
        self._values = counts / np.repeat(totals, self._sizes, axis=1)

    def log_prior(self) -> float:
        """Compute the log prior, up to a constant."""
        return float(PRIOR_COUNT * np.log(self._values).sum())

    def sample(
        self, states: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Draw one frame for each state: integers, or one-hot rows."""
        drawn = np.empty((len(states), len(self._sizes)))
        for j, probabilities in enumerate(self.probabilities):
            cumulative = probabilities[states].cumsum(axis=1)
            place = random_state.random_sample((len(states), 1)) * cumulative[:, -1:]
            drawn[:, j] = (place >= cumulative).sum(axis=1)
        if not self._is_one_hot:
            return drawn
        return np.eye(int(self._sizes[0]))[drawn[:, 0].astype(np.int64)]


def _are_indicators(X: np.ndarray) -> bool:
    rows = X[~np.isnan(X).all(axis=1)]
    if X.shape[1] < 2 or not len(rows):
        return False
    return bool(((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all())


class MultinomialEmission(_Discrete):
    """Emission of counts of exclusive events, as of the words of a document.

    ``log b_q(x) = log (sum_j x_j)! - sum_j log x_j! + sum_j x_j log p_qj`` with
    probabilities ``(n_qj + 0.1) / sum_j (n_qj + 0.1)``. The number of events has no
    density. A frame with NaN is missing.

    Parameters
    ----------
    n_states : int
        Number of states.
    """

    def prepare(self, X: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        """Set all states to the pooled frequencies of the frames of fit."""
        counts, _ = self._features(X)
        _refuse_negative_counts(counts)
        weight = np.ones(X.shape[0]) if sample_weight is None else sample_weight
        sums = np.asarray(counts.T @ weight) + PRIOR_COUNT
        self._set_all(sums / sums.sum())

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities of the events, (n_states, n_features)."""
        return self._values

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        return self.n_states * (self._values.shape[1] - 1)

    def _features(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        if sparse.issparse(X):
            return X, None
        missing = np.isnan(X).any(axis=1)
        counts = np.where(missing[:, None], 0.0, X)
        return counts, None

    def _natural_parameters(self) -> tuple[np.ndarray, None]:
        return np.log(self._values), None

    def _log_base(self, values: np.ndarray) -> np.ndarray:
        totals = np.asarray(values.sum(axis=1)).reshape(-1)
        if not sparse.issparse(values):
            return gammaln(totals + 1) - gammaln(values + 1).sum(axis=1)
        logs = sparse.csr_array(values, copy=True)
        logs.data = gammaln(logs.data + 1)
        return gammaln(totals + 1) - np.asarray(logs.sum(axis=1)).reshape(-1)

    def broad_log_density(self, X: np.ndarray, scale: float) -> np.ndarray:
        """Compute the log density between the pooled and uniform frequencies.

        Parameters
        ----------
        X : ndarray of shape (n_frames, n_features)
            Frames.
        scale : float
            Has no part in it.

        Returns
        -------
        ndarray of shape (n_frames,)
            Log densities.
        """
        broad = (self._pooled + 1 / len(self._pooled)) / 2
        counts, _ = self._features(X)
        return counts @ np.log(broad) + self._log_base(counts)

    def maximize(self, statistics: DiscreteStatistics) -> None:
        """Set the probabilities to the posterior mode; M-step."""
        counts = statistics.sums + PRIOR_COUNT
        self._values = counts / counts.sum(axis=1, keepdims=True)
        without = statistics.sums.sum(axis=1) <= SMALLEST_COUNT
        self._values[without] = self._pooled

    def log_prior(self) -> float:
        """Compute the log prior, up to a constant."""
        return float(PRIOR_COUNT * np.log(self._values).sum())

    def sample(
        self, states: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Draw one event for each state, as indicators."""
        cumulative = self._values[states].cumsum(axis=1)
        place = random_state.random_sample((len(states), 1)) * cumulative[:, -1:]
        events = (place >= cumulative).sum(axis=1)
        return np.eye(self._values.shape[1])[events]


class PoissonEmission(_Discrete):
    """Emission of independent counts.

    ``log b_q(x) = sum_j [x_j log r_qj - r_qj - log x_j!]``; rates are the posterior
    mode with 0.1 frames of the pooled rates.

    Parameters
    ----------
    n_states : int
        Number of states.
    """

    def prepare(self, X: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        """Set all states to the pooled rates of the frames of fit."""
        counts, observed = _values_and_observed(X)
        _refuse_negative_counts(counts)
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        total = weight @ observed
        # half a count more, so that what fit never saw is not impossible
        rates = (weight @ counts + 0.5) / (total + 1)
        squares = weight @ (observed * (counts - rates) ** 2)
        self._variances = squares / np.maximum(total, 1)
        self._set_all(rates)

    @property
    def rates(self) -> np.ndarray:
        """Expected counts, (n_states, n_features)."""
        return self._values

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        return self._values.size

    def _natural_parameters(self) -> tuple[np.ndarray, np.ndarray]:
        return np.log(self._values), -self._values

    def _log_base(self, values: np.ndarray) -> np.ndarray:
        return -gammaln(values + 1).sum(axis=1)

    def broad_log_density(self, X: np.ndarray, scale: float) -> np.ndarray:
        """Compute the log density of negative binomial counts with the pooled rates.

        Parameters
        ----------
        X : ndarray of shape (n_frames, n_features)
            Frames.
        scale : float
            Variances, as a multiple of the pooled ones or of those of Poisson counts,
            whichever are larger.

        Returns
        -------
        ndarray of shape (n_frames,)
            Log densities.
        """
        counts, observed = _values_and_observed(X)
        rates = self._pooled
        excess = scale * np.maximum(self._variances, rates) - rates
        size = rates**2 / np.maximum(excess, 1e-3 * rates)
        logs = gammaln(counts + size) - gammaln(size) - gammaln(counts + 1)
        logs += size * np.log(size / (size + rates))
        logs += counts * np.log(rates / (size + rates))
        return (observed * logs).sum(axis=1)

    def maximize(self, statistics: DiscreteStatistics) -> None:
        """Set the rates to the posterior mode; M-step."""
        counts, sums = statistics
        self._values = (sums + PRIOR_COUNT * self._pooled) / (counts + PRIOR_COUNT)

    def log_prior(self) -> float:
        """Compute the log prior, up to a constant."""
        terms = xlogy(self._pooled, self._values) - self._values
        return float(PRIOR_COUNT * terms.sum())

    def sample(
        self, states: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Draw one frame of counts for each state."""
        return random_state.poisson(self._values[states]).astype(np.float64)


class BernoulliEmission(_Discrete):
    """Emission of independent bits.

    ``log b_q(x) = sum_j [x_j log p_qj + (1 - x_j) log (1 - p_qj)]`` with probabilities
    ``(n_qj1 + 0.1) / (n_qj + 0.2)``. Values between 0 and 1 are shares of frames.

    Parameters
    ----------
    n_states : int
        Number of states.
    """

    def prepare(self, X: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        """Set all states to the pooled frequencies of the frames of fit."""
        bits, observed = _values_and_observed(X)
        if (bits < 0).any() or (bits > 1).any():
            wrong = bits[(bits < 0) | (bits > 1)][0]
            raise ValueError(f"bits are 0 or 1, and {wrong} is among the frames")
        weight = np.ones(len(X)) if sample_weight is None else sample_weight
        ones = weight @ bits + PRIOR_COUNT
        self._set_all(ones / (weight @ observed + 2 * PRIOR_COUNT))

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities of ones, (n_states, n_features)."""
        return self._values

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        return self._values.size

    def _natural_parameters(self) -> tuple[np.ndarray, np.ndarray]:
        zeros = np.log1p(-self._values)
        return np.log(self._values) - zeros, zeros

    def broad_log_density(self, X: np.ndarray, scale: float) -> np.ndarray:
        """Compute the log density of bits that are 1 half of the time."""
        return np.log(0.5) * (~np.isnan(X)).sum(axis=1)

    def maximize(self, statistics: DiscreteStatistics) -> None:
        """Set the probabilities to the posterior mode; M-step."""
        counts, sums = statistics
        self._values = (sums + PRIOR_COUNT) / (counts + 2 * PRIOR_COUNT)
        without = counts <= SMALLEST_COUNT
        self._values[without] = np.broadcast_to(self._pooled, counts.shape)[without]

    def log_prior(self) -> float:
        """Compute the log prior, up to a constant."""
        terms = np.log(self._values) + np.log1p(-self._values)
        return float(PRIOR_COUNT * terms.sum())

    def sample(
        self, states: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Draw one frame of bits for each state."""
        uniform = random_state.random_sample((len(states), self._values.shape[1]))
        return (uniform < self._values[states]).astype(np.float64)


def _values_and_observed(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    observed = ~np.isnan(X)
    return np.where(observed, X, 0.0), observed.astype(np.float64)


def _refuse_negative_counts(values: np.ndarray) -> None:
    stored = values.data if sparse.issparse(values) else values
    stored = np.asarray(stored)
    if (stored < 0).any():
        wrong = stored[stored < 0].flat[0]
        raise ValueError(f"counts are not negative, and {wrong} is among the frames")
