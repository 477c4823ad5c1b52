"""Emissions of users: objects with ``log_density(X)`` and ``update(X, posteriors)``."""

from __future__ import annotations

from typing import Any

import numpy as np

OwnStatistics = list[tuple[np.ndarray, np.ndarray]]


class OwnEmission:
    """Emission of an object that has densities and an M-step of its own.

    Parameters
    ----------
    model : object
        Has ``log_density(X)`` of shape (n_frames, n_states), and ``update(X,
        posteriors)``, which sets its parameters from all frames of an E-step and their
        weights. Frames of NaN are not passed to it. It may have ``sample(states,
        random_state)`` and ``n_parameters``.
    n_states : int
        Number of states.
    """

    def __init__(self, model: Any, n_states: int) -> None:
        self.model = model
        self.n_states = n_states
        self._order = np.arange(n_states)

    @property
    def n_parameters(self) -> int:
        """Number of free parameters, if the object has it; else 0."""
        return int(getattr(self.model, "n_parameters", 0))

    def prepare(self, X: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        """Do nothing: the object is given with its initial parameters."""

    def reorder(self, order: np.ndarray) -> None:
        """Renumber the states: state i becomes the former state ``order[i]``."""
        self._order = self._order[order]

    def log_density(self, X: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute the log density of frames in each state.

        Parameters
        ----------
        X : ndarray of shape (n_frames, n_features)
            Frames; one of NaN has log density 0.
        out : ndarray of shape (n_frames, n_states), default=None
            Array for the result.

        Returns
        -------
        ndarray of shape (n_frames, n_states)
            Log densities.
        """
        out = np.empty((len(X), self.n_states)) if out is None else out
        out[...] = 0
        observed = ~np.isnan(X).all(axis=1)
        if observed.any():
            density = np.asarray(self.model.log_density(X[observed]))
            if density.shape != (observed.sum(), self.n_states):
                raise ValueError(
                    f"log_density of {type(self.model).__name__} has shape "
                    f"{density.shape} for {observed.sum()} frames and {self.n_states} "
                    "states"
                )
            if np.isnan(density).any():
                raise ValueError(
                    f"log_density of {type(self.model).__name__} is NaN for frames "
                    "that are not; return -inf for what a state cannot emit"
                )
            out[observed] = density[:, self._order]
        return out

    def broad_log_density(self, X: np.ndarray, scale: float) -> np.ndarray:
        """Raise an error: nothing is known of the densities of outliers."""
        raise ValueError(
            f"{type(self.model).__name__} has no outlier component: set "
            "outlier_share=0 for its modality"
        )

    def statistics(self) -> OwnStatistics:
        """Return empty statistics: a list of frames and weights."""
        return []

    def accumulate(
        self, statistics: OwnStatistics, X: np.ndarray, posteriors: np.ndarray
    ) -> None:
        """Keep frames and their weights for `maximize`."""
        observed = ~np.isnan(X).all(axis=1)
        statistics.append((X[observed], posteriors[observed]))

    def maximize(self, statistics: OwnStatistics) -> None:
        """Let the object set its parameters."""
        if not statistics:
            return
        X = np.concatenate([frames for frames, _ in statistics])
        posteriors = np.concatenate([weights for _, weights in statistics])
        self.model.update(X, posteriors[:, np.argsort(self._order)])

    def log_prior(self) -> float:
        """Return 0: the prior of the object, if any, is its own."""
        return 0.0

    def sample(
        self, states: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Draw one frame for each state, if the object has ``sample``."""
        return np.asarray(self.model.sample(self._order[states], random_state))
