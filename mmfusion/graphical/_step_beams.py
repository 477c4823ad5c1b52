"""Likeliest paths of chains in one order, with few states at each frame.

Most states of a frame are so unlikely that no path through them can be the best, even
if each later frame had its largest weight. With that bound, a path that is found among
the states near the best of each frame is known to be the best of all, or is not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit
from mmfusion._simd import (
    WIDTH,
    bits_of_condition,
    largest_element,
    load,
    maximum,
    splat,
    store,
)
from mmfusion.graphical._step_kernels import BEFORE, StepArrays

BEAM = 40.0  # of logarithms below the best of a frame
MOST_STATES = 256  # of a beam, at a frame
MOST_BYTES = 1 << 26  # of steps into the states of all frames
ROUNDING_OF_SCORES = 1e-9  # relative


@jit
def largest_logs(logs, n_columns, columns, largest):
    """Write the largest of some columns of each frame."""
    for t in range(len(largest)):
        best = -np.inf
        for k in columns:
            best = max(best, logs[t * n_columns + k])
        largest[t] = best


@jit
def beam_rows(arrays, logs, log_stay, log_move, log_skip, log_start, n_columns, later,
              beam, least, most, lows, highs, steps, stride, emitted, old,
              new):  # fmt: skip
    """Write steps of best paths to the states that are not left out.

    First and last states are left out that are below the best of their frame by more
    than `beam`, or whose paths cannot reach the score `least`, since `later` is the
    most that later frames add. Returns the row of the last frame, and the best score
    that paths through the others may have; +inf if more than `most` states remain.

    A step has a bit in two words of 16 states each: whether it leaves a state out, and
    whether it stays. Arrays are longer than their states by `WIDTH`.
    """
    emits, lo, hi = arrays.emits, arrays.lo, arrays.hi
    low, high, lost = lo[0], hi[0], -np.inf
    for t in range(len(lo)):
        place, before = t * n_columns, high
        if t > 0:
            low, high = max(low, lo[t]), min(high + 2, hi[t])
        if high - low > most:
            return new, np.inf
        lows[t] = low
        for s in range(low, high):
            emitted[s] = logs[place + emits[s]]
        if t == 0:
            for s in range(low, high):
                new[s + BEFORE] = log_start[s] + emitted[s]
        word = t * stride
        for s in range(low, high if t > 0 else low, WIDTH):
            skipped = load(old, s) + load(log_skip, s)
            moved = load(old, s + 1) + load(log_move, s)
            stayed = load(old, s + 2) + load(log_stay, s)
            best = maximum(moved, stayed)
            steps[word] = bits_of_condition(moved < stayed)
            steps[word + 1] = ~bits_of_condition(skipped < best)
            word += 2
            store(new, s + BEFORE, maximum(skipped, best) + load(emitted, s))
        # the next row reads two states more on both sides
        new[low] = new[low + 1] = -np.inf
        for s in range(high, max(before, high) + 2 + WIDTH):
            new[s + BEFORE] = -np.inf
        highest = splat(-np.inf)
        for s in range(low, high, WIDTH):
            highest = maximum(highest, load(new, s + BEFORE))
        floor = largest_element(highest) - beam
        if least > -np.inf:
            floor = max(floor, least - later[t])
        while low < high and new[low + BEFORE] < floor:
            lost = max(lost, new[low + BEFORE] + later[t])
            new[low + BEFORE] = -np.inf
            low += 1
        while low < high and new[high - 1 + BEFORE] < floor:
            high -= 1
            lost = max(lost, new[high + BEFORE] + later[t])
            new[high + BEFORE] = -np.inf
        if low == high:
            return new, lost
        highs[t] = high
        old, new = new, old
    return old, lost


@jit
def trace_beam(lows, steps, stride, states):
    """Write the best path before the last state."""
    for t in range(len(lows) - 1, 0, -1):
        s = states[t]
        at = s - lows[t]
        word, bit = t * stride + at // WIDTH * 2, at % WIDTH
        back = 0 if steps[word] >> bit & 1 else 1
        back = 2 if steps[word + 1] >> bit & 1 else back
        states[t - 1] = s - back


class BeamPath(NamedTuple):
    """The best path of those in a beam.

    Parameters
    ----------
    states : ndarray of int64 of shape (n_frames,)
        State at each frame.
    score : float
        Logarithm of its weight.
    """

    states: np.ndarray
    score: float


def best_path_in_beam(
    arrays: StepArrays, logs: np.ndarray, log_weights: list[np.ndarray]
) -> BeamPath | None:
    """Find the best path by few states at each frame.

    Parameters
    ----------
    arrays : StepArrays
        The states and the band.
    logs : ndarray of shape (n_frames, n_columns)
        Logarithms of the emission weights, finite or -inf.
    log_weights : list of ndarray of shape (n_states + 2,)
        Logarithms of the weights of staying, moving, skipping, starting and ending.

    Returns
    -------
    BeamPath or None
        The path; None if more states are needed, or there is no path.
    """
    n_frames, n_columns = logs.shape
    flat = logs.ravel()
    later = np.empty(n_frames)
    largest_logs(flat, n_columns, np.unique(arrays.emits), later)
    later[:] = np.append(np.cumsum(later[:0:-1])[::-1], 0.0)
    if not np.isfinite(later).all():
        return None
    lows, highs = np.zeros((2, n_frames), dtype=np.int64)
    weights = [np.append(own, np.full(WIDTH, -np.inf)) for own in log_weights]
    n_states, widest = len(arrays.emits), int((arrays.hi - arrays.lo).max())
    emitted = np.zeros(n_states + WIDTH)
    fitting = WIDTH * (MOST_BYTES // (4 * n_frames) - 1)
    least = -np.inf
    # the first path found has a score which the best path reaches at least
    for beam, most in ((BEAM, MOST_STATES), (np.inf, fitting)):
        most = max(min(most, widest), WIDTH)
        stride = 2 * (most // WIDTH + 1)
        steps = np.empty(n_frames * stride, dtype=np.uint16)
        rows = np.full((2, n_states + BEFORE + 2 * WIDTH), -np.inf)
        highs[-1] = 0
        last, lost = beam_rows(
            arrays, flat, *weights[:4], n_columns, later, beam, least, most, lows,
            highs, steps, stride, emitted, *rows,
        )  # fmt: skip
        if lost == np.inf or highs[-1] == 0:
            continue
        ends = slice(int(lows[-1]), int(highs[-1]))
        scores = last[BEFORE:][ends] + log_weights[4][ends]
        best = int(np.argmax(scores))
        score = float(scores[best])
        if not np.isfinite(score):
            continue
        least = score - ROUNDING_OF_SCORES * max(1.0, abs(score))
        if lost < least or beam == np.inf:
            states = np.empty(n_frames, dtype=np.int64)
            states[-1] = ends.start + best
            trace_beam(lows, steps, stride, states)
            return BeamPath(states, score)
    return None
