"""Limits of the frames in a state: resolved, and checked against sequences."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._numbers import is_integer, is_real
from mmfusion.graphical._graph import ChainGraph
from mmfusion.graphical._graph_builders import left_to_right_graph

SHORTEST_STAY, LONGEST_STAY = 0.05, 0.99  # initial probabilities to stay in a state

Duration = int | float | ArrayLike | None


class Durations(NamedTuple):
    """Frames that each state of a left-to-right chain may have, and states left out.

    Parameters
    ----------
    max_skip : int
        Most states that a step may leave out.
    shortest : ndarray of int of shape (n_states,)
        Fewest frames of a state that is not left out.
    longest : ndarray of int of shape (n_states,) or None
        Most frames of a state.
    """

    max_skip: int
    shortest: np.ndarray
    longest: np.ndarray | None

    def graph(self, frames_in_state: np.ndarray) -> ChainGraph:
        """Return the graph of the chain, for mean numbers of frames in the states."""
        # of a state with copies, all but the last are left for the next one
        stay = initial_stays(frames_in_state - self.shortest + 1)
        return left_to_right_graph(
            len(self.shortest),
            max_skip=self.max_skip,
            min_duration=self.shortest,
            max_duration=self.longest,
            stay=stay,
        )

    def frame_limits(self) -> tuple[int, int | None]:
        """Return the fewest and the most frames of a sequence; None without limit."""
        fewest = self.shortest.copy()
        for k in range(1, len(fewest)):
            fewest[k] += fewest[max(k - 1 - self.max_skip, 0) : k].min()
        most = None if self.longest is None else int(self.longest.sum())
        return int(fewest[-1]), most


def initial_stays(frames_in_state: np.ndarray) -> np.ndarray:
    """Return the probabilities to stay in states of mean numbers of frames."""
    stays = 1 - 1 / np.maximum(frames_in_state, 1)
    return np.clip(stays, SHORTEST_STAY, LONGEST_STAY)


def resolve_durations(
    n_states: int,
    max_skip: int,
    min_duration: Duration,
    max_duration: Duration,
    mean_frames: float,
) -> Durations:
    """Return the limits of durations in frames.

    Parameters
    ----------
    n_states : int
        Number of states.
    max_skip : int
        Most states that a step may leave out.
    min_duration, max_duration : int, float, array-like of shape (n_states,) or None
        Fewest and most frames of a state; floats are multiples of `mean_frames`.
    mean_frames : float
        Mean number of frames in a state.

    Returns
    -------
    Durations
        The limits.

    Raises
    ------
    TypeError
        If a limit is no number.
    ValueError
        If a limit is out of range, or the most frames are less than the fewest.
    """
    shortest = _frames("min_duration", min_duration, n_states, mean_frames)
    assert shortest is not None
    longest = _frames("max_duration", max_duration, n_states, mean_frames)
    if longest is not None and (longest < shortest).any():
        k = int(np.argmax(longest < shortest))
        raise ValueError(
            f"max_duration={max_duration!r} allows state {k} up to {longest[k]} "
            f"frames, and min_duration={min_duration!r} at least {shortest[k]}"
        )
    return Durations(int(max_skip), shortest, longest)


def _frames(
    option: str, given: Duration, n_states: int, mean_frames: float
) -> np.ndarray | None:
    """Return the frames of each state."""
    if given is None:
        return None if option == "max_duration" else np.ones(n_states, dtype=np.int64)
    message = (
        f"{option}={given!r}: give a number of frames of at least 1, a positive "
        "multiple of the mean frames in a state as a float, or an array of numbers of "
        f"frames for the {n_states} states"
    )
    if np.ndim(given):
        frames = np.asarray(given)
        if frames.shape != (n_states,) or not np.issubdtype(frames.dtype, np.integer):
            raise ValueError(message)
    elif not is_real(given):
        raise TypeError(message)
    elif not 0 < float(given) < np.inf:  # type: ignore[arg-type]
        raise ValueError(message)
    else:
        unit = 1.0 if is_integer(given) else mean_frames
        rounded = max(round(float(given) * unit), 1)  # type: ignore[arg-type]
        frames = np.full(n_states, rounded)
    if (frames < 1).any():
        raise ValueError(message)
    return frames.astype(np.int64)
