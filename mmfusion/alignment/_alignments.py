"""Alignments of sequences with a common time axis, by a path or by weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Alignment:
    """The alignment of one sequence with the time axis of its sample.

    Parameters
    ----------
    path : ndarray of int64 of shape (length, 2) or None
        Pairs of aligned frames, of the axis and of the sequence. It begins with the
        first frame of both, ends with the last, and never goes back.
    weights : ndarray of shape (n_axis_frames, n_frames) or None
        Weight of each frame of the sequence in each frame of the axis; rows sum to 1.
        Where there are both, the sequence is warped by the weights, and returned to
        its own time along the path.
    cost : float
        Normalised cost of the alignment; NaN if it has none.
    confidence : float
        Confidence in the alignment, between 0 and 1; NaN if it is not estimated.
    """

    path: np.ndarray | None = None
    weights: np.ndarray | None = None
    cost: float = np.nan
    confidence: float = np.nan

    def __post_init__(self) -> None:
        """Check that there is a path or weights."""
        if self.path is None and self.weights is None:
            raise ValueError("an alignment needs a path or weights")

    @property
    def n_axis_frames(self) -> int:
        """Number of frames of the axis."""
        if self.weights is not None:
            return len(self.weights)
        assert self.path is not None
        return int(self.path[-1, 0]) + 1

    def warp(self, sequence: np.ndarray) -> np.ndarray:
        """Bring the sequence onto the axis.

        Parameters
        ----------
        sequence : ndarray of shape (n_frames, n_features)
            The sequence.

        Returns
        -------
        ndarray of shape (n_axis_frames, n_features)
            Means of the frames that are aligned with each frame of the axis, of the
            dtype of the sequence.
        """
        if self.weights is not None:
            return (self.weights @ sequence).astype(sequence.dtype, copy=False)
        assert self.path is not None
        return mean_of_aligned(sequence, self.path, self.n_axis_frames)

    def unwarp(self, sequence: np.ndarray) -> np.ndarray:
        """Return a sequence on the axis to the time of the aligned sequence.

        Parameters
        ----------
        sequence : ndarray of shape (n_axis_frames, n_features)
            The sequence on the axis.

        Returns
        -------
        ndarray of shape (n_frames, n_features)
            Means of the frames of the axis that are aligned with each frame, of the
            dtype of the sequence.
        """
        if self.path is not None:
            n_frames = int(self.path[-1, 1]) + 1
            return mean_of_aligned(sequence, self.path[:, ::-1], n_frames)
        assert self.weights is not None
        weights = self.weights.T
        totals = weights.sum(axis=1, keepdims=True)
        # frames without weight on the axis are interpolated, as those a path leaps over
        reached = np.flatnonzero(totals > 0)
        means = weights[reached] / totals[reached] @ sequence
        return _interpolated(means, reached, len(weights)).astype(sequence.dtype)

    def compact(self) -> Alignment:
        """Return the alignment without weights, if it has a path.

        Weights take memory for every pair of frames.
        """
        return self if self.path is None else replace(self, weights=None)


def mean_of_aligned(
    sequence: np.ndarray, path: np.ndarray, n_frames: int
) -> np.ndarray:
    """Average, for each frame of an axis, the frames that a path aligns with it.

    Parameters
    ----------
    sequence : ndarray of shape (n_own_frames, n_features)
        The sequence.
    path : ndarray of int of shape (length, 2)
        Frames of the axis and of the sequence; neither goes back.
    n_frames : int
        Number of frames of the axis; the path contains the first and the last.

    Returns
    -------
    ndarray of shape (n_frames, n_features)
        The means, of the dtype of the sequence. Frames of the axis that the path leaps
        over, as some step patterns allow, are interpolated linearly.
    """
    # rows of the path, which never goes back, are sorted by frames of the axis
    begins = np.flatnonzero(np.diff(path[:, 0], prepend=-1))
    at, counts = path[begins, 0], np.diff(begins, append=len(path))
    sums = np.add.reduceat(sequence[path[:, 1]], begins)
    means = sums / counts[:, None].astype(sequence.dtype)
    return _interpolated(means, at, n_frames).astype(sequence.dtype, copy=False)


def _interpolated(means: np.ndarray, at: np.ndarray, n_frames: int) -> np.ndarray:
    """Interpolate linearly between the frames at which there are means."""
    if len(at) == n_frames:
        return means
    columns = [np.interp(np.arange(n_frames), at, feature) for feature in means.T]
    return np.column_stack(columns)
