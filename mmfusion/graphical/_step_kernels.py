"""Recursions of chains whose steps stay in a state, go on by one, or leave one out.

Rows hold the states of a band around the diagonal, which moves with the frames, between
zeros for the states next to it: there are no tests for borders in the loops. Weights
are mantissas and exponents, as in the recursions over the edges of any graph.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit
from mmfusion._simd import always_inline
from mmfusion.graphical._exponents import (
    EXPONENT_OF_ZERO,
    exponent_of,
    mantissa_of,
    power,
)

BEFORE = 2  # zeros before the states of a row


class StepArrays(NamedTuple):
    """States of a chain and the band that a path may use.

    Parameters
    ----------
    emits : ndarray of int64 of shape (n_states + 2,)
        Column of emissions of each state; two more, which no path reaches.
    stay, move, skip : ndarray of shape (n_states + 2,)
        Weights of a step into each state from itself, the state before, and the one
        before that.
    start, end : ndarray of shape (n_states + 2,)
        Weights of first and last states.
    lo, hi : ndarray of int64 of shape (n_frames,)
        First state and the one after the last that a path may be in, at each frame.
    stride : int
        Length of a row.
    """

    emits: np.ndarray
    stay: np.ndarray
    move: np.ndarray
    skip: np.ndarray
    start: np.ndarray
    end: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    stride: int

    def longer(self, n_states: int) -> StepArrays:
        """Return a copy with more states, which no path reaches."""
        own = (self.emits, self.stay, self.move, self.skip, self.start, self.end)
        emits, stay, move, skip, start, end = (
            np.concatenate([values, np.zeros(n_states, values.dtype)]) for values in own
        )
        return self._replace(
            emits=emits, stay=stay, move=move, skip=skip, start=start, end=end
        )


@jit
def sum_of_three(a, a_e, b, b_e, c, c_e):
    """Return the sum of three numbers of mantissas and exponents, and its exponent."""
    always_inline()
    # a factor 0 has no exponent: else it would shift the others to 0
    a_e = a_e if a > 0 else EXPONENT_OF_ZERO
    b_e = b_e if b > 0 else EXPONENT_OF_ZERO
    c_e = c_e if c > 0 else EXPONENT_OF_ZERO
    top = max(a_e, max(b_e, c_e))
    total = a * power(a_e - top) + b * power(b_e - top) + c * power(c_e - top)
    return total, top


@jit
def forward_rows(arrays, emissions, emissions_e, n_columns, first, stop, alpha,
                 alpha_e):  # fmt: skip
    """Compute alpha of frames from `first` on; row 0 is that of the frame before."""
    emits, stay, move, skip = arrays.emits, arrays.stay, arrays.move, arrays.skip
    lo, hi, stride, start = arrays.lo, arrays.hi, arrays.stride, arrays.start
    for t in range(first, stop):
        row = (t - first + 1) * stride
        own, place, n = row + BEFORE, (t - first) * n_columns, hi[t] - lo[t]
        state = lo[t]
        if t == 0:
            for k in range(n):
                e = place + emits[state + k]
                value = start[state + k] * emissions[e]
                alpha[own + k] = mantissa_of(value)
                alpha_e[own + k] = exponent_of(value, emissions_e[e])
        else:
            old = row - stride + BEFORE + lo[t] - lo[t - 1]
            for k in range(n):
                s, i = state + k, old + k
                total, top = sum_of_three(
                    alpha[i] * stay[s], alpha_e[i], alpha[i - 1] * move[s],
                    alpha_e[i - 1], alpha[i - 2] * skip[s], alpha_e[i - 2],
                )  # fmt: skip
                e = place + emits[s]
                value = total * emissions[e]
                alpha[own + k] = mantissa_of(value)
                alpha_e[own + k] = exponent_of(value, top + emissions_e[e])
        for k in range(own + n, row + stride):
            alpha[k], alpha_e[k] = 0.0, EXPONENT_OF_ZERO


@jit
def best_rows(arrays, logs, log_stay, log_move, log_skip, log_start, n_columns, first,
              stop, values):  # fmt: skip
    """Compute the best scores of paths to each state; row 0 is as in `forward_rows`."""
    emits, lo, hi, stride = arrays.emits, arrays.lo, arrays.hi, arrays.stride
    for t in range(first, stop):
        row = (t - first + 1) * stride
        own, place, n, state = (
            row + BEFORE,
            (t - first) * n_columns,
            hi[t] - lo[t],
            lo[t],
        )
        if t == 0:
            for k in range(n):
                s = state + k
                values[own + k] = log_start[s] + logs[place + emits[s]]
        else:
            old = row - stride + BEFORE + lo[t] - lo[t - 1]
            for k in range(n):
                s, i = state + k, old + k
                best = max(
                    values[i] + log_stay[s],
                    max(values[i - 1] + log_move[s], values[i - 2] + log_skip[s]),
                )
                values[own + k] = best + logs[place + emits[s]]
        for k in range(own + n, row + stride):
            values[k] = -np.inf


@jit
def trace_rows(arrays, log_stay, log_move, log_skip, first, stop, values, states):
    """Write the best path of the frames before `stop`, from its state there on.

    Writes the states of the frames from ``first - 1`` on. Of equal paths, that in the
    lowest states is found.
    """
    lo, stride = arrays.lo, arrays.stride
    for t in range(stop - 1, max(first, 1) - 1, -1):
        s = states[t]
        i = (t - first) * stride + BEFORE + s - lo[t - 1]
        best, back = values[i - 2] + log_skip[s], 2
        if values[i - 1] + log_move[s] > best:
            best, back = values[i - 1] + log_move[s], 1
        if values[i] + log_stay[s] > best:
            back = 0
        states[t - 1] = s - back


@jit
def backward_rows(arrays, emissions, emissions_e, n_columns, first, stop, alpha,
                  alpha_e, later, later_e, total, total_e, states, path_posteriors,
                  posteriors, stays):  # fmt: skip
    """Compute posteriors of frames, from the last to `first`.

    `later` has two rows: the product of emissions and beta at frames of even and of odd
    numbers, by state. With a table of posteriors, those of all columns are added up,
    and the expected stays of each state; without, None, those on a path are written.
    """
    emits, stay, move, skip = arrays.emits, arrays.stay, arrays.move, arrays.skip
    lo, hi, stride, end = arrays.lo, arrays.hi, arrays.stride, arrays.end
    n_frames, width = len(lo), len(emits)
    factor, factor_e = 1.0 / total, -total_e
    for t in range(stop - 1, first - 1, -1):
        own = (t - first + 1) * stride + BEFORE - lo[t]
        place = (t - first) * n_columns
        new, old = t % 2 * width, (t + 1) % 2 * width
        for s in range(lo[t], hi[t]):
            if t == n_frames - 1:
                beta, beta_e = end[s], 0
                kept, kept_e = 0.0, 0
            else:
                i = old + s
                kept, kept_e = later[i] * stay[s], later_e[i]
                beta, beta_e = sum_of_three(
                    kept, kept_e, later[i + 1] * move[s + 1], later_e[i + 1],
                    later[i + 2] * skip[s + 2], later_e[i + 2],
                )  # fmt: skip
            share, share_e = factor * alpha[own + s], factor_e + alpha_e[own + s]
            if posteriors is not None:
                # of frames that a state cannot be in, the exponents are arbitrary
                if share * beta > 0:
                    value = share * beta * power(share_e + beta_e)
                    posteriors[place + emits[s]] += value
                    if kept > 0:
                        stays[s] += share * kept * power(share_e + kept_e)
            elif s == states[t]:
                path_posteriors[t] = share * beta * power(share_e + beta_e)
            e = place + emits[s]
            value = beta * emissions[e]
            later[new + s] = mantissa_of(value)
            later_e[new + s] = exponent_of(value, beta_e + emissions_e[e])
        # the next row reads these, which an earlier row may have written
        for s in range(hi[t], hi[t] + 2):
            later[new + s], later_e[new + s] = 0.0, EXPONENT_OF_ZERO
        for s in range(lo[max(t - 1, 0)], lo[t]):
            later[new + s], later_e[new + s] = 0.0, EXPONENT_OF_ZERO
