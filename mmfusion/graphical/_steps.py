"""Chains in one order: labels with blanks between them, and units of a lexicon.

A path stays in a state, goes on to the next, or leaves one state out. Values at the
frames of long recordings are kept for some frames only, and computed again from there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mmfusion._memory import check_fits
from mmfusion.graphical._exponents import EXPONENT_OF_ZERO, LN2, split
from mmfusion.graphical._step_kernels import (
    BEFORE,
    StepArrays,
    backward_rows,
    best_rows,
    forward_rows,
    trace_rows,
)

CELLS_AT_ONCE = 1 << 19  # of rows of states that are in memory at once


class StepChain(NamedTuple):
    """States in one order, with the weights of steps.

    Parameters
    ----------
    emits : ndarray of int64 of shape (n_states,)
        Column of the emission table that each state reads.
    stay, move, skip : ndarray of shape (n_states,)
        Weights of a step into each state: from itself, from the state before, and from
        the one before that.
    start, end : ndarray of shape (n_states,)
        Weights of first and last states.
    """

    emits: np.ndarray
    stay: np.ndarray
    move: np.ndarray
    skip: np.ndarray
    start: np.ndarray
    end: np.ndarray


class StepPath(NamedTuple):
    """The likeliest path of a sequence.

    Parameters
    ----------
    states : ndarray of int64 of shape (n_frames,)
        State at each frame.
    posteriors : ndarray of shape (n_frames,)
        Posterior probability of this state at each frame.
    score : float
        Logarithm of the weight of the path.
    log_likelihood : float
        Logarithm of the sum over all paths.
    """

    states: np.ndarray
    posteriors: np.ndarray
    score: float
    log_likelihood: float


class StepCounts(NamedTuple):
    """Expected counts of a sequence.

    Parameters
    ----------
    log_likelihood : float
        Logarithm of the sum over all paths.
    posteriors : ndarray of shape (n_frames, n_columns)
        Posterior probability of each column at each frame.
    stays : ndarray of shape (n_states,)
        Expected number of steps from each state to itself.
    """

    log_likelihood: float
    posteriors: np.ndarray
    stays: np.ndarray


def ctc_chain(columns: np.ndarray, blank: int) -> StepChain:
    """Make the chain of connectionist temporal classification.

    A label lasts for one frame or more, and there may be blanks before, between and
    after labels: they are needed between equal ones.

    Parameters
    ----------
    columns : ndarray of int of shape (n_labels,)
        Column of the emission table of each label.
    blank : int
        Column of blanks.

    Returns
    -------
    StepChain
        The chain of 2 n_labels + 1 states; those with odd numbers are labels.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.graphical._steps import ctc_chain
    >>> ctc_chain(np.array([1, 1, 2]), blank=0).skip
    array([0., 0., 0., 0., 0., 1., 0.])
    """
    n_states = 2 * len(columns) + 1
    emits = np.full(n_states, blank, dtype=np.int64)
    emits[1::2] = columns
    stay, move = np.ones(n_states), np.ones(n_states)
    skip, start, end = np.zeros((3, n_states))
    skip[3::2] = columns[1:] != columns[:-1]
    start[:2] = end[-2:] = move[:1] = 1
    move[0] = 0
    return StepChain(emits, stay, move, skip, start, end)


def unit_chain(
    columns: np.ndarray, stay: np.ndarray, silence: int | None, labels: np.ndarray
) -> tuple[StepChain, np.ndarray]:
    """Make the chain of the states of units, with silence between labels or not.

    Parameters
    ----------
    columns : ndarray of int of shape (n_columns_in_all,)
        Columns of the states of all units, in their order.
    stay : ndarray of shape (n_columns,)
        Probability to stay in the state of each column.
    silence : int or None
        Column of the state of silence, which may be before, between and after labels;
        None is without.
    labels : ndarray of int of shape (n_columns_in_all,)
        Label that each of the states belongs to, from 0.

    Returns
    -------
    chain : StepChain
        The chain.
    label_of_state : ndarray of int64 of shape (n_states,)
        Label of each state; -1 is silence.
    """
    emits, owner = columns.astype(np.int64), labels.astype(np.int64)
    if silence is not None:
        first = np.flatnonzero(np.diff(labels, prepend=-1))
        at = np.append(first, len(columns))
        emits, owner = np.insert(emits, at, silence), np.insert(owner, at, -1)
    kept = stay[emits]
    leave = 1 - kept
    n_states = len(emits)
    move, skip, start, end = np.zeros((4, n_states))
    move[1:] = leave[:-1]
    start[0], end[-1] = 1, leave[-1]
    if silence is not None:  # which is entered or left out with equal probability
        silent = owner == -1
        inner = np.flatnonzero(silent)[1:-1]
        move[inner] *= 0.5
        move[-1] *= 0.5
        skip[inner + 1] = 0.5 * leave[inner - 1]
        start[:2] = 0.5
        end[-2] = 0.5 * leave[-2]
    return StepChain(emits, kept, move, skip, start, end), owner


class _Pass:
    """Rows of the states of a sequence in a band, for blocks of frames.

    Parameters
    ----------
    chain : StepChain
        The chain.
    table : ndarray of shape (n_frames, n_columns)
        Logarithms of the emission weights.
    band : float or None
        Largest distance from the diagonal, as a share of the states; None is any.
    with_path : bool
        Whether the likeliest path is found.
    """

    def __init__(
        self,
        chain: StepChain,
        table: np.ndarray,
        band: float | None,
        *,
        with_path: bool,
    ) -> None:
        self._table = np.ascontiguousarray(table, dtype=np.float64)
        self._arrays = _arrays(chain, len(table), band)
        self._chain, self._with_path = chain, with_path
        n_frames, stride = len(table), self._arrays.stride
        self.n_rows = n_frames
        if n_frames * stride > CELLS_AT_ONCE:
            self.n_rows = max(math.isqrt(n_frames - 1) + 1, CELLS_AT_ONCE // stride)
        self.starts = list(range(0, n_frames, self.n_rows))
        size = (min(self.n_rows, n_frames) + 1) * stride
        n_bytes = (16 + 8 * with_path) * (size + len(self.starts) * stride)
        check_fits(
            n_bytes, "an alignment", "give a narrower band, or shorter recordings"
        )
        self.alpha = np.zeros(size)
        self.alpha_e = np.full(size, EXPONENT_OF_ZERO, dtype=np.int64)
        self.values = np.full(size if with_path else 0, -np.inf)
        with np.errstate(divide="ignore"):
            a = self._arrays
            self._logs = [np.log(w) for w in (a.stay, a.move, a.skip, a.start, a.end)]
        self._kept: list[tuple[np.ndarray, ...]] = []

    def run(self) -> tuple[float, int, float]:
        """Compute all rows; return the sum over all paths and the best score."""
        if (self._arrays.hi <= self._arrays.lo).any():  # no state is possible
            return 0.0, 0, -np.inf
        for first in self.starts:
            if first:
                self._keep(first)
            self.compute(first)
        last, arrays = len(self._table) - 1, self._arrays
        row = (last - self.starts[-1] + 1) * arrays.stride + BEFORE
        n = int(arrays.hi[last] - arrays.lo[last])
        own, ends = slice(row, row + n), slice(arrays.lo[last], arrays.hi[last])
        weights = self.alpha[own] * arrays.end[ends]
        possible = weights > 0
        top = int(self.alpha_e[own][possible].max(initial=EXPONENT_OF_ZERO))
        shifts = np.ldexp(1.0, np.maximum(self.alpha_e[own][possible] - top, -1100))
        total = float(weights[possible] @ shifts)
        score = -np.inf
        if self._with_path:
            scores = self.values[own] + self._logs[4][ends]
            self.last_state = int(arrays.lo[last] + np.argmax(scores))
            score = float(scores.max())
        return total, top, score

    def _keep(self, first: int) -> None:
        """Keep the last row of a block, and make it the row before the next."""
        stride = self._arrays.stride
        begin = self.n_rows * stride
        own = slice(begin, begin + stride)
        row = self.alpha[own].copy(), self.alpha_e[own].copy(), self.values[own].copy()
        self._kept.append(row)
        self.restore(first)

    def restore(self, first: int) -> None:
        """Write the row before a block."""
        stride = self._arrays.stride
        if first == 0:
            return
        alpha, alpha_e, values = self._kept[first // self.n_rows - 1]
        self.alpha[:stride], self.alpha_e[:stride] = alpha, alpha_e
        if self._with_path:
            self.values[:stride] = values

    def compute(self, first: int) -> int:
        """Compute the rows of the block from a frame on; return where it ends."""
        stop = min(first + self.n_rows, len(self._table))
        logs = self._table[first:stop].ravel()
        self.emissions, self.emissions_e = split(logs)
        n_columns = self._table.shape[1]
        forward_rows(
            self._arrays, self.emissions, self.emissions_e, n_columns, first, stop,
            self.alpha, self.alpha_e,
        )  # fmt: skip
        if self._with_path:
            best_rows(
                self._arrays, logs, *self._logs[:4], n_columns, first, stop, self.values
            )
        return stop

    def backward(
        self,
        total: float,
        total_e: int,
        states: np.ndarray,
        path_posteriors: np.ndarray,
        posteriors: np.ndarray | None,
        stays: np.ndarray,
    ) -> None:
        """Compute posteriors from the last block to the first, and the path."""
        n_columns, width = self._table.shape[1], len(self._arrays.emits)
        later = np.zeros(2 * width)
        later_e = np.full(2 * width, EXPONENT_OF_ZERO, dtype=np.int64)
        for first in reversed(self.starts):
            stop = min(first + self.n_rows, len(self._table))
            if first != self.starts[-1]:
                self.restore(first)
                self.compute(first)
            if self._with_path:
                trace_rows(
                    self._arrays, *self._logs[:3], first, stop, self.values, states
                )
            own = None if posteriors is None else posteriors[first:stop].reshape(-1)
            backward_rows(
                self._arrays, self.emissions, self.emissions_e, n_columns, first, stop,
                self.alpha, self.alpha_e, later, later_e, total, total_e, states,
                path_posteriors, own, stays,
            )  # fmt: skip


def _arrays(chain: StepChain, n_frames: int, band: float | None) -> StepArrays:
    """Add two states that no path reaches, and find the band."""
    n_states = len(chain.emits)
    frames = np.arange(n_frames)
    # what a path reaches from the first two states, and can end from
    lo = np.maximum(n_states - 2 - 2 * (n_frames - 1 - frames), 0)
    hi = np.minimum(2 + 2 * frames, n_states)
    if band is not None:
        middle = frames * ((n_states - 1) / max(n_frames - 1, 1))
        wide = max(band * n_states, 2)
        lo = np.maximum(lo, np.floor(middle - wide).astype(np.int64))
        hi = np.minimum(hi, np.ceil(middle + wide).astype(np.int64) + 1)
    hi = np.maximum(hi, lo)
    steps = int(np.diff(hi).max(initial=0))
    stride = int((hi - lo).max()) + BEFORE + max(steps, 0) + 2
    padded = StepChain(*(np.append(own, [0, 0]) for own in chain))
    return StepArrays(**padded._asdict(), lo=lo, hi=hi, stride=stride)


def best_step_path(
    chain: StepChain, table: np.ndarray, band: float | None = None
) -> StepPath | None:
    """Find the likeliest path, with the posteriors of its states.

    Parameters
    ----------
    chain : StepChain
        The chain.
    table : ndarray of shape (n_frames, n_columns)
        Logarithms of the emission weights; finite, or -inf.
    band : float, default=None
        Largest distance of a path from the diagonal, as a share of the states.

    Returns
    -------
    StepPath or None
        The path; None if there is none in the band.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.graphical._steps import best_step_path, ctc_chain
    >>> table = np.log([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
    >>> best_step_path(ctc_chain(np.array([1, 1]), blank=0), table).states
    array([1, 2, 3])
    """
    own = _Pass(chain, table, band, with_path=True)
    total, total_e, score = own.run()
    if not np.isfinite(score):
        return None
    states = np.zeros(len(table), dtype=np.int64)
    states[-1] = own.last_state
    posteriors = np.zeros(len(table))
    own.backward(total, total_e, states, posteriors, None, np.zeros(0))
    return StepPath(states, posteriors, score, _logarithm(total, total_e))


def step_counts(
    chain: StepChain, table: np.ndarray, band: float | None = None
) -> StepCounts | None:
    """Compute the expected counts of a sequence.

    Parameters
    ----------
    chain : StepChain
        The chain.
    table : ndarray of shape (n_frames, n_columns)
        Logarithms of the emission weights.
    band : float, default=None
        Largest distance of a path from the diagonal, as a share of the states.

    Returns
    -------
    StepCounts or None
        The counts; None if there is no path in the band.
    """
    own = _Pass(chain, table, band, with_path=False)
    total, total_e, _ = own.run()
    if not total > 0:
        return None
    posteriors = np.zeros(table.shape)
    stays = np.zeros(len(chain.emits) + 2)
    unused = np.zeros(0, dtype=np.int64)
    own.backward(total, total_e, unused, np.zeros(0), posteriors, stays)
    return StepCounts(_logarithm(total, total_e), posteriors, stays[:-2])


def step_log_likelihood(
    chain: StepChain, table: np.ndarray, band: float | None = None
) -> float:
    """Compute the logarithm of the sum over all paths.

    Parameters
    ----------
    chain : StepChain
        The chain.
    table : ndarray of shape (n_frames, n_columns)
        Logarithms of the emission weights.
    band : float, default=None
        Largest distance of a path from the diagonal, as a share of the states.

    Returns
    -------
    float
        The logarithm; -inf without a path.
    """
    total, total_e, _ = _Pass(chain, table, band, with_path=False).run()
    return _logarithm(total, total_e)


def _logarithm(total: float, exponent: int) -> float:
    return math.log(total) + LN2 * exponent if total > 0 else -math.inf
