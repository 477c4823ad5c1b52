"""Alignments of sequences with a common time axis, by a path or by weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Alignment:
    """The alignment of one sequence with the time axis of its sample.

    Aligners return them from `align`, and take them in `inverse_transform`.

    Parameters
    ----------
    path : ndarray of int64 of shape (length, 2), default=None
        Pairs of aligned frames, of the axis and of the sequence, which never go back.
        Frames of either before the first pair or after the last are not aligned.
    weights : ndarray of shape (n_axis_frames, n_frames), default=None
        Weight of each frame of the sequence in each frame of the axis; rows sum to 1.
        Where there are both, the sequence is warped by the weights, and returned to
        its own time along the path.
    cost : float, default=numpy.nan
        Normalised cost of the alignment; NaN if it has none.
    confidence : float, default=numpy.nan
        Confidence in the alignment, between 0 and 1; NaN if it is not estimated.
    shape : tuple of (int, int), default=None
        Numbers of frames of the axis and of the sequence. None is the shape of the
        weights, or that of a path that ends with the last frame of both.

    Raises
    ------
    ValueError
        If there is neither a path nor weights, or a path is no list of pairs of frames
        that never go back.

    See Also
    --------
    DTWAligner : Aligns the modalities of samples.
    DTWPath : The path of two sequences, with its cost.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.alignment import Alignment
    >>> alignment = Alignment(path=np.array([[0, 0], [0, 1], [1, 2]]))
    >>> alignment.warp(np.array([[1.0], [3.0], [5.0]])).tolist()
    [[2.0], [5.0]]
    >>> alignment.unwarp(np.array([[2.0], [5.0]])).tolist()
    [[2.0], [2.0], [5.0]]
    """

    path: np.ndarray | None = None
    weights: np.ndarray | None = None
    cost: float = np.nan
    confidence: float = np.nan
    shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check that there is a path or weights, and set the numbers of frames."""
        if self.path is not None:
            _check_path(self.path)
        if self.shape is not None:
            return
        if self.weights is not None:
            n_axis_frames, n_frames = self.weights.shape
        elif self.path is not None:
            n_axis_frames, n_frames = (self.path[-1] + 1).tolist()
        else:
            raise ValueError("an alignment needs a path or weights; give one of them")
        object.__setattr__(self, "shape", (n_axis_frames, n_frames))

    @property
    def n_axis_frames(self) -> int:
        """Number of frames of the axis."""
        assert self.shape is not None
        return self.shape[0]

    @property
    def n_frames(self) -> int:
        """Number of frames of the aligned sequence."""
        assert self.shape is not None
        return self.shape[1]

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
            dtype of the sequence; the nearest mean for frames without any.

        Raises
        ------
        ValueError
            If the sequence has another number of frames.
        """
        _check_length(sequence, self.n_frames, "the aligned sequence")
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
            dtype of the sequence; the nearest mean for frames without any.

        Raises
        ------
        ValueError
            If the sequence has not as many frames as the axis.
        """
        _check_length(sequence, self.n_axis_frames, "the axis")
        if self.path is not None:
            return mean_of_aligned(sequence, self.path[:, ::-1], self.n_frames)
        assert self.weights is not None
        weights = self.weights.T
        totals = weights.sum(axis=1, keepdims=True)
        # frames without weight on the axis are interpolated, as those a path leaps over
        reached = np.flatnonzero(totals > 0)
        means = weights[reached] / totals[reached] @ sequence
        return _interpolated(means, reached, len(weights)).astype(sequence.dtype)

    def as_path(self) -> np.ndarray:
        """Return the path; of weights, each frame of the axis with its heaviest frame.

        Returns
        -------
        ndarray of int64 of shape (length, 2)
            Pairs of frames of the axis and of the sequence.
        """
        if self.path is not None:
            return self.path
        assert self.weights is not None
        heaviest = self.weights.argmax(axis=1)
        return np.column_stack([np.arange(self.n_axis_frames), heaviest])

    def compact(self) -> Alignment:
        """Return the alignment without weights, if it has a path.

        Weights take memory for every pair of frames.

        Returns
        -------
        Alignment
            The alignment.
        """
        return self if self.path is None else replace(self, weights=None)


def _check_path(path: np.ndarray) -> None:
    """Raise an error for what is no path of pairs of frames."""
    shape, kind = np.shape(path), getattr(path, "dtype", np.dtype(object)).kind
    if kind not in "iu" or len(shape) != 2 or shape[0] == 0 or shape[1] != 2:
        raise ValueError(
            f"path is a {type(path).__name__} of shape {shape}; give an array of int "
            "of shape (length, 2), the frames of the axis and of the sequence"
        )
    if path[0].min() < 0 or (path[1:] < path[:-1]).any():
        raise ValueError("path goes back in time; give frames in their order, from 0")


def _check_length(sequence: np.ndarray, n_expected: int, what: str) -> None:
    if np.ndim(sequence) != 2 or len(sequence) != n_expected:
        raise ValueError(
            f"sequence has shape {np.shape(sequence)}, and {what} {n_expected} frames; "
            f"give an array of shape ({n_expected}, n_features)"
        )


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
        Number of frames of the axis.

    Returns
    -------
    ndarray of shape (n_frames, n_features)
        The means, of the dtype of the sequence. Frames of the axis that the path leaps
        over, as some step patterns allow, are interpolated linearly; those before its
        begin and after its end get the first and the last mean.
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
