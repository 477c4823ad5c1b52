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
from mmfusion.graphical._step_beams import best_path_in_beam
from mmfusion.graphical._step_kernels import (
    BEFORE,
    StepArrays,
    backward_rows,
    best_rows,
    forward_rows,
    trace_rows,
)
from mmfusion.graphical._step_posteriors import plain_posteriors

CELLS_OF_ROWS = 1 << 19  # of rows of states that are in memory at once


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


class _Blocks:
    """Rows of states for blocks of frames, of which the last before each is kept.

    Parameters
    ----------
    arrays : StepArrays
        The states and the band.
    table : ndarray of shape (n_frames, n_columns)
        Logarithms of the emission weights.
    fills : tuple of (float or int)
        Values of the arrays of rows before they are computed.
    """

    def __init__(
        self, arrays: StepArrays, table: np.ndarray, fills: tuple[float, ...]
    ) -> None:
        self.arrays, self._table = arrays, table
        n_frames, stride = len(table), arrays.stride
        self.n_rows = n_frames
        if n_frames * stride > CELLS_OF_ROWS:
            self.n_rows = max(math.isqrt(n_frames - 1) + 1, CELLS_OF_ROWS // stride)
        self.starts = list(range(0, n_frames, self.n_rows))
        size = (min(self.n_rows, n_frames) + 1) * stride
        n_bytes = 8 * len(fills) * (size + len(self.starts) * stride)
        check_fits(
            n_bytes, "an alignment", "give a narrower band, or shorter recordings"
        )
        self.rows = [np.full(size, fill) for fill in fills]
        self._kept: list[list[np.ndarray]] = []

    def compute(self, first: int) -> None:
        """Compute the rows of the block from a frame on."""
        raise NotImplementedError

    def compute_all(self) -> bool:
        """Compute all rows once; return whether a state is possible at each frame."""
        if (self.arrays.hi <= self.arrays.lo).any():
            return False
        stride = self.arrays.stride
        last = slice(self.n_rows * stride, (self.n_rows + 1) * stride)
        for first in self.starts:
            if first:
                self._kept.append([own[last].copy() for own in self.rows])
                self._restore(first)
            self.compute(first)
        return True

    def _restore(self, first: int) -> None:
        """Write the row before a block."""
        if first:
            kept = self._kept[first // self.n_rows - 1]
            for own, row in zip(self.rows, kept, strict=True):
                own[: len(row)] = row

    def block(self, first: int) -> tuple[int, int]:
        """Compute a block again, if it is not the last; return where it is."""
        if first != self.starts[-1]:
            self._restore(first)
            self.compute(first)
        return first, min(first + self.n_rows, len(self._table))

    def last_states(self) -> tuple[slice, slice]:
        """Return the place of the last row, and its states."""
        last, arrays = len(self._table) - 1, self.arrays
        row = (last - self.starts[-1] + 1) * arrays.stride + BEFORE
        low, high = int(arrays.lo[last]), int(arrays.hi[last])
        return slice(row, row + high - low), slice(low, high)


def _log_weights(arrays: StepArrays) -> list[np.ndarray]:
    """Return the logarithms of the weights to stay, move, skip, start and end."""
    weights = arrays.stay, arrays.move, arrays.skip, arrays.start, arrays.end
    with np.errstate(divide="ignore"):
        return [np.log(own) for own in weights]


class _BestPaths(_Blocks):
    """Best scores of paths to each state."""

    def __init__(
        self, arrays: StepArrays, table: np.ndarray, log_weights: list[np.ndarray]
    ) -> None:
        super().__init__(arrays, table, (-np.inf,))
        self._logs = log_weights

    def compute(self, first: int) -> None:
        stop = min(first + self.n_rows, len(self._table))
        logs = self._table[first:stop].ravel()
        best_rows(
            self.arrays, logs, *self._logs[:4], self._table.shape[1], first, stop,
            self.rows[0],
        )  # fmt: skip

    def path(self) -> tuple[np.ndarray, float] | None:
        """Return the states of the best path, and its score; None without a path."""
        if not self.compute_all():
            return None
        own, ends = self.last_states()
        scores = self.rows[0][own] + self._logs[4][ends]
        best = int(np.argmax(scores))
        if not np.isfinite(scores[best]):
            return None
        states = np.zeros(len(self._table), dtype=np.int64)
        states[-1] = ends.start + best
        for first in reversed(self.starts):
            begin, stop = self.block(first)
            trace_rows(self.arrays, *self._logs[:3], begin, stop, self.rows[0], states)
        return states, float(scores[best])


class _Sums(_Blocks):
    """Sums over the paths to each state, as mantissas and exponents."""

    def __init__(self, arrays: StepArrays, table: np.ndarray) -> None:
        super().__init__(arrays, table, (0.0, EXPONENT_OF_ZERO))

    def compute(self, first: int) -> None:
        stop = min(first + self.n_rows, len(self._table))
        self._emissions = split(self._table[first:stop].ravel())
        forward_rows(
            self.arrays, *self._emissions, self._table.shape[1], first, stop, *self.rows
        )

    def total(self) -> tuple[float, int]:
        """Return the sum over all paths."""
        if not self.compute_all():
            return 0.0, 0
        own, ends = self.last_states()
        weights = self.rows[0][own] * self.arrays.end[ends]
        possible = weights > 0
        exponents = self.rows[1][own][possible]
        top = int(exponents.max(initial=EXPONENT_OF_ZERO))
        shifts = np.ldexp(1.0, np.maximum(exponents - top, -1100))
        return float(weights[possible] @ shifts), top

    def backward(
        self,
        total: tuple[float, int],
        *,
        states: np.ndarray | None = None,
        posteriors: np.ndarray | None = None,
        stays: np.ndarray | None = None,
    ) -> np.ndarray:
        """Compute posteriors, of a path or of all states, from the last frame on."""
        n_columns, width = self._table.shape[1], len(self.arrays.emits)
        path = np.zeros(0, dtype=np.int64) if states is None else states
        of_path = np.zeros(len(path))
        stays = np.zeros(0) if stays is None else stays
        later = np.zeros(2 * width)
        later_e = np.full(2 * width, EXPONENT_OF_ZERO, dtype=np.int64)
        for start in reversed(self.starts):
            first, stop = self.block(start)
            own = None if posteriors is None else posteriors[first:stop].reshape(-1)
            backward_rows(
                self.arrays, *self._emissions, n_columns, first, stop, *self.rows,
                later, later_e, *total, path, of_path, own, stays,
            )  # fmt: skip
        return of_path


def _posteriors_of_path(
    arrays: StepArrays, table: np.ndarray, states: np.ndarray, score: float
) -> tuple[np.ndarray, float]:
    """Return the posteriors of a path, and the logarithm of the sum over all paths."""
    found = plain_posteriors(arrays, table, states, score)
    if found is not None:
        return found
    exact = _Sums(arrays, table)
    total = exact.total()
    return exact.backward(total, states=states), _logarithm(*total)


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


def _contiguous(table: np.ndarray) -> np.ndarray:
    """Return a table of float64 or float32 that compiled functions can read."""
    dtype = np.float32 if table.dtype == np.float32 else np.float64
    # numba compiles functions of read-only arrays separately
    return np.require(table, dtype, ["C", "W"])


def best_step_path(
    chain: StepChain,
    table: np.ndarray,
    band: float | None = None,
    *,
    posteriors: bool = True,
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
    posteriors : bool, default=True
        Whether to compute the posteriors and the log-likelihood, which else are NaN.

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
    logs = _contiguous(table)
    arrays = _arrays(chain, len(logs), band)
    if (arrays.hi <= arrays.lo).any():
        return None
    log_weights = _log_weights(arrays)
    # rows of all states, which take memory and time to fill, only where they are needed
    found = (
        best_path_in_beam(arrays, logs, log_weights)
        or _BestPaths(arrays, logs, log_weights).path()
    )
    if found is None:
        return None
    states, score = found
    if not posteriors:
        return StepPath(states, np.full(len(states), np.nan), score, math.nan)
    own, log_likelihood = _posteriors_of_path(arrays, logs, states, score)
    return StepPath(states, own, score, log_likelihood)


def reached_states(chain: StepChain, table: np.ndarray) -> np.ndarray:
    """Return the last state that a path from the first frame on can be in.

    Parameters
    ----------
    chain : StepChain
        The chain.
    table : ndarray of shape (n_frames, n_columns)
        Logarithms of the emission weights.

    Returns
    -------
    ndarray of int64 of shape (n_reached,)
        The last state of each frame, before the first one that no path reaches from
        which the last state can be reached.
    """
    arrays = _arrays(chain, len(table), None)
    n_states, last = len(chain.emits), []
    possible = chain.start > 0
    for t in range(len(table)):
        if t:
            before = np.concatenate([[False, False], possible])
            possible = (before[2:] & (chain.stay > 0)) | (
                before[1:-1] & (chain.move > 0)
            )
            possible |= before[:-2] & (chain.skip > 0)
        possible &= table[t, chain.emits] > -np.inf
        states = np.arange(n_states)
        possible &= (states >= arrays.lo[t]) & (states < arrays.hi[t])
        if not possible.any():
            break
        last.append(int(np.flatnonzero(possible)[-1]))
    return np.array(last, dtype=np.int64)


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
    logs = _contiguous(table)
    sums = _Sums(_arrays(chain, len(logs), band), logs)
    total = sums.total()
    if not total[0] > 0:
        return None
    posteriors = np.zeros(logs.shape)
    stays = np.zeros(len(chain.emits) + 2)
    sums.backward(total, posteriors=posteriors, stays=stays)
    return StepCounts(_logarithm(*total), posteriors, stays[:-2])


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
    logs = _contiguous(table)
    return _logarithm(*_Sums(_arrays(chain, len(logs), band), logs).total())


def _logarithm(total: float, exponent: int) -> float:
    return math.log(total) + LN2 * exponent if total > 0 else -math.inf
