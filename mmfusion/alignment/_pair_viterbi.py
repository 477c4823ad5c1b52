"""Likeliest path of a pair hidden Markov model.

The recursion of `_pair_lattice.py` with a maximum in place of the sum, row by row in
the log domain. A byte for each cell holds where its three states come from.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit
from mmfusion._memory import check_fits
from mmfusion.alignment._pair_kernels import M, X, Y
from mmfusion.alignment._pair_lattice import (
    PairHMM,
    PairScores,
    lattice_window,
)

STEPS = ((1, 1), (1, 0), (0, 1))  # frames that each step to a match consumes


class PairPath(NamedTuple):
    """The likeliest path of two sequences.

    Parameters
    ----------
    score : float
        Its log weight; -inf if there is no path, which then is empty.
    states : ndarray of int32 of shape (length,)
        The state of each step: 0 is a match, 1 and 2 leave out a frame of the first or
        the second sequence.
    frames : ndarray of int64 of shape (length, 2)
        The last frame of each sequence that is consumed after the step; -1 before the
        first.
    """

    score: float
    states: np.ndarray
    frames: np.ndarray

    @property
    def matches(self) -> np.ndarray:
        """Pairs of frames that are matched, of shape (n_matches, 2)."""
        return self.frames[self.states == M]


class _Logs(NamedTuple):
    """Logs of a model and the scores of gaps."""

    start: np.ndarray
    transitions: np.ndarray
    steps: np.ndarray
    gap_x: np.ndarray
    gap_y: np.ndarray


@jit
def _best_of_three(values, at, moves, s):
    """Return the best value that leads to a state, and where it comes from."""
    best, state = values[0, at] + moves[0, s], 0
    for r in range(1, 3):
        value = values[r, at] + moves[r, s]
        if value > best:
            best, state = value, r
    return best, state


@jit
def _fill_row(match, logs, i, start, stop, above, own, sources):
    """Compute the best values of a row, and where they come from.

    A byte has two bits each for the state before a match, the kind of its step, and the
    states before X and Y.
    """
    for j in range(start, stop):
        byte = 0
        if i > 0 and j > 0:
            best, state = _best_of_three(above, j - 1, logs.transitions, M)
            if i == 1 and j == 1:
                best = logs.start[M]
            best, step = best + logs.steps[0], 0
            value, other = _best_of_three(above, j, logs.transitions, M)
            if value + logs.steps[1] > best:
                best, state, step = value + logs.steps[1], other, 1
            value, other = _best_of_three(own, j - 1, logs.transitions, M)
            if value + logs.steps[2] > best:
                best, state, step = value + logs.steps[2], other, 2
            own[M, j] = best + match[i - 1, j - 1]
            byte |= state | (step << 2)
        if i > 0:
            best, state = _best_of_three(above, j, logs.transitions, X)
            is_first = i == 1 and j == 0
            own[X, j] = (logs.start[X] if is_first else best) + logs.gap_x[i - 1]
            byte |= state << 4
        if j > start:
            best, state = _best_of_three(own, j - 1, logs.transitions, Y)
            is_first = i == 0 and j == 1
            own[Y, j] = (logs.start[Y] if is_first else best) + logs.gap_y[j - 1]
            byte |= state << 6
        sources[j - start] = byte


@jit
def _fill(match, logs, starts, stops, offsets, sources):
    """Compute where all cells come from; return the best values of the last one."""
    n, m = match.shape
    rows = np.full((2, 3, m + 1), -np.inf)
    for i in range(n + 1):
        own = rows[i % 2]
        own[:] = -np.inf
        _fill_row(
            match,
            logs,
            i,
            starts[i],
            stops[i],
            rows[(i + 1) % 2],
            own,
            sources[offsets[i] :],
        )
    return rows[n % 2, :, m].copy()


@jit
def _trace_pairs(sources, starts, offsets, n, m, state, states, frames):
    """Write the path backward from its end; return its first row there."""
    at, i, j = len(states), n, m
    while i > 0 or j > 0:
        at -= 1
        byte = sources[offsets[i] + j - starts[i]]
        states[at], frames[at, 0], frames[at, 1] = state, i - 1, j - 1
        if state == M:
            di, dj = STEPS[(byte >> 2) & 3]
            i, j, state = i - di, j - dj, byte & 3
        elif state == X:
            i, state = i - 1, (byte >> 4) & 3
        else:
            j, state = j - 1, (byte >> 6) & 3
    return at


def pair_path(hmm: PairHMM, scores: PairScores) -> PairPath:
    """Return the likeliest path of two sequences.

    Of equally likely ones, the one whose last steps are matches.

    Parameters
    ----------
    hmm : PairHMM
        The model.
    scores : PairScores
        Scores of the frames.

    Returns
    -------
    PairPath
        The path.

    Raises
    ------
    MemoryError
        If a byte per pair of frames would not fit into memory.
    """
    n, m = scores.match.shape
    window = lattice_window(scores)
    offsets = np.append(0, np.cumsum(window.stops - window.starts))
    check_fits(
        int(offsets[-1]),
        f"the likeliest path of {n} and {m} frames",
        "shorten the sequences, or set a window",
    )
    sources = np.empty(offsets[-1], np.uint8)
    with np.errstate(divide="ignore"):
        logs = _Logs(
            np.log(hmm.start),
            np.log(hmm.transitions),
            np.log(hmm.steps),
            scores.gap_x,
            scores.gap_y,
        )
    ends = _fill(scores.match, logs, window.starts, window.stops, offsets, sources)
    state = int(np.argmax(ends))
    states, frames = np.empty(n + m, np.int32), np.empty((n + m, 2), np.int64)
    at = n + m
    if ends[state] > -np.inf:
        at = _trace_pairs(sources, window.starts, offsets, n, m, state, states, frames)
    return PairPath(float(ends[state]), states[at:], frames[at:])
