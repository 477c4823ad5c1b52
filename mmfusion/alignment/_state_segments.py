"""Segments of states in time: their edges, and the alignments that they imply.

A left-to-right chain cuts a sequence into one segment for each state, in order. The
edges ``e_0 = 0 <= e_1 <= ... <= e_K = n_frames`` hold where: state k has the frames
from e_k to e_{k+1}. Two sequences that pass the same states are aligned segment by
segment, within a segment linearly in time. Edges may lie within frames: frame t covers
the time from t to t + 1.
"""

from __future__ import annotations

import numpy as np

NEAREST_EDGE = 1e-9  # edges this near to a whole frame, in frames, differ by rounding


def edges_of_states(states: np.ndarray, n_states: int) -> np.ndarray:
    """Return the edges of the segments of decoded states.

    Parameters
    ----------
    states : ndarray of int of shape (n_frames,)
        State of each frame, which never goes back.
    n_states : int
        Number of states.

    Returns
    -------
    ndarray of float64 of shape (n_states + 1,)
        The edges; a state that is skipped has a segment without length.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.alignment._state_segments import edges_of_states
    >>> edges_of_states(np.array([0, 0, 2]), 3).tolist()
    [0.0, 2.0, 2.0, 3.0]
    """
    return _cumulated(np.bincount(states, minlength=n_states))


def expected_edges(posteriors: np.ndarray) -> np.ndarray:
    """Return the expected edges of the segments.

    The edge before state k is the number of frames in earlier states, so that its
    expectation is the sum of their posterior probabilities over time: the estimate of
    least squared error of where the chain enters the state.

    Parameters
    ----------
    posteriors : ndarray of shape (n_frames, n_states)
        Posterior probabilities of the states by frame.

    Returns
    -------
    ndarray of float64 of shape (n_states + 1,)
        The edges.
    """
    edges = _cumulated(posteriors.sum(axis=0))
    edges *= len(posteriors) / edges[-1]
    whole = np.rint(edges)
    # sums of probabilities of 0 and 1 are whole, but for rounding
    return np.where(np.abs(edges - whole) < NEAREST_EDGE, whole, edges)


def _cumulated(frames_in_state: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(frames_in_state, dtype=np.float64)])


def states_of_edges(edges: np.ndarray) -> np.ndarray:
    """Return the state in whose segment the middle of each frame lies.

    Parameters
    ----------
    edges : ndarray of shape (n_states + 1,)
        Edges of the segments of a sequence.

    Returns
    -------
    ndarray of int64 of shape (n_frames,)
        The states.
    """
    middles = np.arange(round(edges[-1])) + 0.5
    # of segments without length that begin together, the last one
    found = np.searchsorted(edges, middles, side="right") - 1
    return np.minimum(found, len(edges) - 2)


def path_between(axis_edges: np.ndarray, own_edges: np.ndarray) -> np.ndarray:
    """Return the pairs of frames of an axis and of a sequence with the same states.

    Each frame of either is paired with the frame of the other in which its middle
    lies, so that all frames of both are aligned.

    Parameters
    ----------
    axis_edges : ndarray of shape (n_states + 1,)
        Edges of the segments on the axis; the last one is its number of frames.
    own_edges : ndarray of shape (n_states + 1,)
        Edges of the segments in the sequence.

    Returns
    -------
    ndarray of int64 of shape (length, 2)
        Frames of the axis and of the sequence, which never go back, by steps of at
        most one frame.

    Examples
    --------
    >>> from mmfusion.alignment._state_segments import path_between
    >>> path_between([0, 1, 2], [0, 1, 4]).tolist()
    [[0, 0], [1, 1], [1, 2], [1, 3]]
    """
    axis_edges, own_edges = np.asarray(axis_edges), np.asarray(own_edges)
    n_axis, n_own = round(axis_edges[-1]), round(own_edges[-1])
    on_axis = _frames_at(np.arange(n_own) + 0.5, own_edges, axis_edges)
    on_own = _frames_at(np.arange(n_axis) + 0.5, axis_edges, own_edges)
    # points of one curve that never goes back: sorted by one frame, then by the other
    pairs = np.concatenate(
        [
            np.column_stack([on_axis, np.arange(n_own)]),
            np.column_stack([np.arange(n_axis), on_own]),
        ]
    )
    return np.unique(pairs, axis=0)


def _frames_at(times: np.ndarray, edges: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the frames of the other sequence at times of one sequence."""
    found = np.interp(times, edges, others).astype(np.int64)
    return np.minimum(found, round(others[-1]) - 1)


def mean_edges(edges: list[np.ndarray], n_frames: float) -> np.ndarray:
    """Return the edges of an axis of mean pace.

    Parameters
    ----------
    edges : list of ndarray of shape (n_states + 1,)
        Edges of the segments of sequences; at least one sequence.
    n_frames : float
        Number of frames of the axis, which is rounded.

    Returns
    -------
    ndarray of float64 of shape (n_states + 1,)
        The mean of the edges as shares of the length of each sequence, times the number
        of frames.
    """
    shares = np.mean([e / e[-1] for e in edges], axis=0)
    shares[-1] = 1.0  # exactly, so that the last edge is whole
    return max(round(n_frames), 1) * shares
