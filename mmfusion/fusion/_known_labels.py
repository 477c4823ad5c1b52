"""Labels that are known in `fit`, as one more modality of a chain."""

from __future__ import annotations

import numpy as np

from mmfusion.graphical._clock import Frames, ModalityFrames

KNOWN_LABELS = "known__labels"  # no modality is called so: names have no '__'


class KnownLabels:
    """Emission of labels: each state has one, which it emits always.

    Its parameters are fixed. With it, expectation-maximisation finds the states inside
    labels only, and everything else about a chain is as without labels.

    Parameters
    ----------
    n_labels : int
        Number of labels.
    states_per_label : int
        Number of states of each.
    """

    n_parameters = 0

    def __init__(self, n_labels: int, states_per_label: int) -> None:
        self.n_states = n_labels * states_per_label
        self._labels = np.repeat(np.arange(n_labels), states_per_label)

    def prepare(self, X: np.ndarray, sample_weight: np.ndarray | None = None) -> None:
        """Do nothing: there is nothing to learn."""

    def log_density(self, X: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Compute log densities: 0 in the states of a frame's label, else -inf.

        Parameters
        ----------
        X : ndarray of shape (n_frames, 1)
            Numbers of labels.
        out : ndarray of shape (n_frames, n_states), default=None
            Array for the result.

        Returns
        -------
        ndarray of shape (n_frames, n_states)
            Log densities.
        """
        out = np.empty((len(X), self.n_states)) if out is None else out
        out[...] = np.where(self._labels == X, 0.0, -np.inf)
        return out

    def broad_log_density(self, X: np.ndarray, scale: float) -> np.ndarray:
        """Return 0: labels have no outliers."""
        return np.zeros(len(X))

    def statistics(self) -> None:
        """Return no statistics."""

    def accumulate(
        self, statistics: None, X: np.ndarray, posteriors: np.ndarray
    ) -> None:
        """Do nothing."""

    def maximize(self, statistics: None) -> None:
        """Do nothing."""

    def log_prior(self) -> float:
        """Return 0."""
        return 0.0

    def reorder(self, order: np.ndarray) -> None:
        """Renumber the states: state i becomes the former state ``order[i]``."""
        self._labels = self._labels[order]

    def sample(
        self, states: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Return the label of each state."""
        return self._labels[states][:, None].astype(np.float64)


def with_known_labels(frames: Frames, codes: np.ndarray) -> Frames:
    """Add the labels of all steps as a modality.

    Parameters
    ----------
    frames : Frames
        Frames on the clock.
    codes : ndarray of int of shape (n_steps,)
        Number of the label of each step.

    Returns
    -------
    Frames
        The frames with the modality `KNOWN_LABELS`.
    """
    labels = ModalityFrames(codes[:, None].astype(np.float64))
    return frames._replace(modalities=frames.modalities | {KNOWN_LABELS: labels})
