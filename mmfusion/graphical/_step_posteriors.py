"""Posteriors on a path of a chain in one order, in plain numbers.

Rows are scaled so that the path has the value 1. States that add nothing to the sum
over all paths, whatever later frames are, are left out at both ends of a row.
"""

from __future__ import annotations

import math

import numpy as np

from mmfusion._compilation import jit
from mmfusion._simd import WIDTH, any_true, load, select, splat, store
from mmfusion.graphical._exponents import scaled_exponentials
from mmfusion.graphical._step_kernels import BEFORE, StepArrays

# what is smaller is lost; it could count only if the other direction had a value above
# the largest, where the passes end
SMALLEST = 2.0**-1000
LARGEST = 2.0**900
LARGEST_WEIGHT = 2.0**100
# logarithm of the share of the best path that all paths through a state have at least,
# below which it is left out: together they are far below the rounding of the sum
LEAST_LOG_SHARE = -80.0


@jit
def largest_growth(logs, n_columns, columns, emitted, weights, growth):
    """Write the largest logarithm by which a sum over paths can grow at each frame.

    A state is followed by three of different columns at most. Weights are divided by
    that of the path; returns the largest of them.
    """
    largest = 0.0
    for t in range(len(emitted)):
        place = t * n_columns
        scaled_exponentials(logs[place : place + n_columns], emitted[t], weights)
        first, second, third = 0.0, 0.0, 0.0
        for k in columns:
            own = weights[k]
            third = max(third, min(second, own))
            second = max(second, min(first, own))
            first = max(first, own)
        growth[t] = np.log(first + second + third)
        largest = max(largest, first)
    return largest


@jit
def scaled_forward(arrays, logs, n_columns, emitted, states, floors, lows, highs,
                   weights, old, new, sums):  # fmt: skip
    """Write the logarithms of alpha on a path; return whether plain numbers do.

    Emission weights are divided by those of the path, `emitted`. First and last states
    whose logarithms are below the `floors` of their frames are left out; the others
    are from `lows` to `highs`. Arrays are longer than their states by `WIDTH`.
    """
    emits, stay, move, skip = arrays.emits, arrays.stay, arrays.move, arrays.skip
    lo, hi, start = arrays.lo, arrays.hi, arrays.start
    low, high, of_path, sum_of_logs = lo[0], hi[0], 1.0, 0.0
    factors = np.zeros(len(emits))
    smallest, largest, zero = splat(SMALLEST), splat(LARGEST), splat(0.0)
    for t in range(len(lo)):
        place, before, is_large = t * n_columns, high, False
        scaled_exponentials(logs[place : place + n_columns], emitted[t], weights)
        if t == 0:
            for s in range(low, high):
                new[s + BEFORE] = start[s] * weights[emits[s]]
        else:
            low, high = max(low, lo[t]), min(high + 2, hi[t])
            for s in range(low, high):
                factors[s] = weights[emits[s]]
            scale = splat(1.0 / of_path)
            for s in range(low, high, WIDTH):
                value = load(old, s + 2) * load(stay, s)
                value = value + load(old, s + 1) * load(move, s)
                value = value + load(old, s) * load(skip, s)
                value = value * (load(factors, s) * scale)
                is_large = is_large or any_true(largest < value)
                value = select(smallest < value, value, zero)
                store(new, s + BEFORE, value)
        if is_large:
            return False
        of_path = new[states[t] + BEFORE]
        floor = np.exp(min(floors[t] - sum_of_logs, 0.0))
        floor = min(floor, of_path)
        for s in range(high, max(before, high) + 2 + WIDTH):
            new[s + BEFORE] = 0.0
        while new[low + BEFORE] < floor:
            new[low + BEFORE] = 0.0
            low += 1
        while new[high - 1 + BEFORE] < floor:
            high -= 1
            new[high + BEFORE] = 0.0
        # the next row reads two states more on both sides
        new[low] = new[low + 1] = 0.0
        lows[t], highs[t] = low, high
        sum_of_logs += np.log(of_path)
        sums[t] = sum_of_logs
        old, new = new, old
    return True


@jit
def scaled_backward(arrays, logs, n_columns, emitted, states, lows, highs, weights, old,
                    new, sums):  # fmt: skip
    """Write the logarithms of beta on a path; as `scaled_forward`."""
    emits, stay, move, skip = arrays.emits, arrays.stay, arrays.move, arrays.skip
    end, of_path, sum_of_logs = arrays.end, 1.0, 0.0
    factors = np.zeros(len(emits))
    smallest, largest, zero = splat(SMALLEST), splat(LARGEST), splat(0.0)
    for t in range(len(lows) - 1, -1, -1):
        place, low, high, is_large = t * n_columns, lows[t], highs[t], False
        scaled_exponentials(logs[place : place + n_columns], emitted[t], weights)
        if t == len(lows) - 1:
            for s in range(low, high):
                new[s] = end[s] * weights[emits[s]]
        else:
            for s in range(low, high):
                factors[s] = weights[emits[s]]
            scale = splat(1.0 / of_path)
            for s in range(low, high, WIDTH):
                value = load(old, s) * load(stay, s)
                value = value + load(old, s + 1) * load(move, s + 1)
                value = value + load(old, s + 2) * load(skip, s + 2)
                value = value * (load(factors, s) * scale)
                is_large = is_large or any_true(largest < value)
                store(new, s, select(smallest < value, value, zero))
        if is_large:
            return False
        of_path = new[states[t]]
        sum_of_logs += np.log(of_path)
        sums[t] = sum_of_logs
        # the row before reads up to two states more than it has
        before = max(t - 1, 0)
        for s in range(high, max(high, highs[before]) + 2 + WIDTH):
            new[s] = 0.0
        for s in range(lows[before], low):
            new[s] = 0.0
        old, new = new, old
    return True


def plain_posteriors(
    arrays: StepArrays, table: np.ndarray, states: np.ndarray, score: float
) -> tuple[np.ndarray, float] | None:
    """Compute the posteriors of the likeliest path.

    Parameters
    ----------
    arrays : StepArrays
        The states and the band.
    table : ndarray of shape (n_frames, n_columns)
        Logarithms of the emission weights, finite or -inf.
    states : ndarray of int64 of shape (n_frames,)
        States of the path.
    score : float
        Logarithm of the weight of the path.

    Returns
    -------
    posteriors : ndarray of shape (n_frames,)
        Posterior probability of the state at each frame.
    log_likelihood : float
        Logarithm of the sum over all paths. None instead of both if plain numbers
        cannot hold the sums.
    """
    n_frames, n_columns = table.shape
    logs = table.ravel()
    emitted = table[np.arange(n_frames), arrays.emits[states]].astype(float)
    weights, growth = np.empty(n_columns), np.empty(n_frames)
    used = np.unique(arrays.emits)
    largest = largest_growth(logs, n_columns, used, emitted, weights, growth)
    if not largest <= LARGEST_WEIGHT:
        return None
    floors = np.append(growth[:0:-1].cumsum()[::-1], 0.0)
    floors = score - emitted.sum() + LEAST_LOG_SHARE - floors
    n_cells = len(arrays.emits) + BEFORE + 2 * WIDTH
    rows = np.zeros((4, n_cells))
    forward, backward = np.empty((2, n_frames))
    lows, highs = np.empty((2, n_frames), dtype=np.int64)
    long = arrays.longer(2 * WIDTH)
    own = long, logs, n_columns, emitted, states
    if not scaled_forward(
        *own, floors, lows, highs, weights, rows[0], rows[1], forward
    ) or not scaled_backward(*own, lows, highs, weights, rows[2], rows[3], backward):
        return None
    # the rows that were written last are those of the last frame
    last = rows[n_frames % 2][BEFORE:]
    ends = slice(int(lows[-1]), int(highs[-1]))
    share = (last[ends] * arrays.end[ends]).sum() / last[states[-1]]
    log_sum = forward[-1] + math.log(share)
    return np.exp(forward + backward - log_sum), float(log_sum + emitted.sum())
