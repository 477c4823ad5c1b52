"""Lattice of the asynchronous hidden Markov model: frames, and events among them.

A chain emits a frame x_t at each of T steps, and along with it, with probability eps_i
in state i, the next of S events. With s events emitted up to step t,

    alpha(t, s, j) = p(x_t | j) ((1 - eps_j) before(t, s, j)
                                 + eps_j p(y_s | j) before(t, s - 1, j)),
    before(t, s, j) = sum_i a_ij alpha(t - 1, s, i),

and the likelihood is the sum of alpha(T, S, j). Since states without any path are the
rule (s never exceeds t), numbers are mantissas and exponents, as in
`_exponents.py`. The forward pass keeps some rows as checkpoints, from which the
backward pass computes the others again, block by block.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit
from mmfusion._memory import check_fits
from mmfusion.graphical._exponents import (
    EXPONENT_OF_ZERO,
    LN2,
    normalize,
    power,
    split_exponentials,
)


class AsynchronousChain(NamedTuple):
    """Parameters of an asynchronous hidden Markov model.

    Parameters
    ----------
    start : ndarray of shape (n_states,)
        Probabilities of the first state.
    transitions : ndarray of shape (n_states, n_states)
        Probabilities of the next state (column) given a state (row).
    event_probabilities : ndarray of shape (n_states,)
        Probability that a step emits the next event, by state.
    """

    start: np.ndarray
    transitions: np.ndarray
    event_probabilities: np.ndarray


class AsynchronousPosteriors(NamedTuple):
    """Sums over all paths and all steps of the events.

    Parameters
    ----------
    log_likelihood : float
        Log-likelihood of frames and events; -inf if no path explains them.
    states : ndarray of shape (n_steps, n_states)
        Probability of each state at each step.
    events : ndarray of shape (n_steps, n_events)
        Probability that an event is emitted at a step; columns sum to 1.
    event_states : ndarray of shape (n_events, n_states)
        Probability of the state that emits an event.
    transition_counts : ndarray of shape (n_states, n_states)
        Expected numbers of transitions.
    """

    log_likelihood: float
    states: np.ndarray
    events: np.ndarray
    event_states: np.ndarray
    transition_counts: np.ndarray


class AsynchronousPath(NamedTuple):
    """The likeliest path.

    Parameters
    ----------
    score : float
        Its log-likelihood with frames and events; -inf if there is none.
    states : ndarray of int64 of shape (n_steps,)
        Its states; -1 if there is none.
    steps : ndarray of int64 of shape (n_events,)
        The step of each event; -1 if there is none.
    """

    score: float
    states: np.ndarray
    steps: np.ndarray


class _SplitNumbers(NamedTuple):
    """Mantissas and exponents."""

    mantissas: np.ndarray
    exponents: np.ndarray


class _Weights(NamedTuple):
    """A chain and the densities of its emissions.

    Parameters
    ----------
    start, transitions : _SplitNumbers
        Of shapes (n_states,) and (n_states, n_states).
    quiet, emitting : _SplitNumbers
        Densities of the frames times 1 - eps and eps, of shape (n_steps, n_states).
    events : _SplitNumbers
        Densities of the events, of shape (1 or n_steps, n_events, n_states).
    least, most : ndarray of int64 of shape (n_steps + 1,)
        Fewest and most events after each number of steps.
    """

    start: _SplitNumbers
    transitions: _SplitNumbers
    quiet: _SplitNumbers
    emitting: _SplitNumbers
    events: _SplitNumbers
    least: np.ndarray
    most: np.ndarray


class _Rows(NamedTuple):
    """Numbers by row, events and state; those of s events are at index s + 1.

    Parameters
    ----------
    mantissas, exponents : ndarray of shape (n_rows, n_events + 3, n_states)
        The numbers.
    """

    mantissas: np.ndarray
    exponents: np.ndarray


@jit
def _empty_rows(n_rows, n_events, n_states):
    shape = n_rows, n_events + 3, n_states
    return _Rows(np.zeros(shape), np.full(shape, EXPONENT_OF_ZERO))


@jit
def _clear(rows, at, low, high):
    """Set what lies beside the events of a row to 0."""
    for s in (low, high + 2):
        rows.mantissas[at, s] = 0.0
        rows.exponents[at, s] = EXPONENT_OF_ZERO


@jit
def _density_of_event(events, t, s):
    """Return mantissas and exponents of the densities of an event."""
    at = t if len(events.mantissas) > 1 else 0
    return events.mantissas[at, s], events.exponents[at, s]


@jit
def _add(m, e, other_m, other_e):
    """Add two numbers, and return mantissa and exponent, not normalised."""
    if e >= other_e:
        return m + other_m * power(other_e - e), e
    return m * power(e - other_e) + other_m, other_e


@jit
def _mix(mantissas, exponents, matrix, matrix_e, out, out_e):
    """Multiply a row of numbers with a matrix."""
    n = len(mantissas)
    for j in range(n):
        top = EXPONENT_OF_ZERO
        for i in range(n):
            top = max(top, exponents[i] + matrix_e[i, j])
        total = 0.0
        for i in range(n):
            shift = power(exponents[i] + matrix_e[i, j] - top)
            total += mantissas[i] * matrix[i, j] * shift
        out[j], out_e[j] = total, top
    normalize(out, out_e)


@jit
def _forward_step(weights, t, before, alpha, row):
    """Compute alpha of step t, and the sums before the next, from those before it."""
    q, x = weights.quiet.mantissas[t], weights.quiet.exponents[t]
    p, y = weights.emitting.mantissas[t], weights.emitting.exponents[t]
    low, high = weights.least[t + 1], weights.most[t + 1]
    for s in range(low, high + 1):
        own, own_e = alpha.mantissas[row, s + 1], alpha.exponents[row, s + 1]
        same, same_e = before.mantissas[row, s + 1], before.exponents[row, s + 1]
        less, less_e = before.mantissas[row, s], before.exponents[row, s]
        for j in range(len(own)):
            m, e = same[j] * q[j], same_e[j] + x[j]
            if s > 0:
                density, density_e = _density_of_event(weights.events, t, s - 1)
                m, e = _add(
                    m,
                    e,
                    less[j] * p[j] * density[j],
                    less_e[j] + y[j] + density_e[j],
                )
            own[j], own_e[j] = m, e
        normalize(own, own_e)
        _mix(
            own,
            own_e,
            weights.transitions.mantissas,
            weights.transitions.exponents,
            before.mantissas[row + 1, s + 1],
            before.exponents[row + 1, s + 1],
        )
    _clear(alpha, row, low, high)
    _clear(before, row + 1, low, high)


@jit
def _start_row(weights, before):
    before.mantissas[0, 1] = weights.start.mantissas
    before.exponents[0, 1] = weights.start.exponents


@jit
def _copy_row(source, at, target, to):
    target.mantissas[to] = source.mantissas[at]
    target.exponents[to] = source.exponents[at]


@jit
def _forward_with_events(weights, checkpoints, stride):
    """Sum over the paths up to each step.

    Parameters
    ----------
    weights : _Weights
        The model.
    checkpoints : _Rows
        Receives the sums before every `stride`-th step; may be empty.
    stride : int
        Steps between checkpoints.

    Returns
    -------
    tuple of float and int
        Mantissa and exponent of the likelihood.
    """
    n_steps, n_states = weights.quiet.mantissas.shape
    n_events = weights.events.mantissas.shape[1]
    before = _empty_rows(2, n_events, n_states)
    alpha = _empty_rows(1, n_events, n_states)
    _start_row(weights, before)
    for t in range(n_steps):
        if t % stride == 0 and len(checkpoints.mantissas):
            _copy_row(before, 0, checkpoints, t // stride)
        _forward_step(weights, t, before, alpha, 0)
        _copy_row(before, 1, before, 0)
    total, top = 0.0, EXPONENT_OF_ZERO
    last, last_e = alpha.mantissas[0, n_events + 1], alpha.exponents[0, n_events + 1]
    for j in range(n_states):
        total, top = _add(total, top, last[j], last_e[j])
    return total, top


class _EventSums(NamedTuple):
    """Arrays that receive the posteriors, and the likelihood that divides them."""

    states: np.ndarray
    events: np.ndarray
    event_states: np.ndarray
    transition_counts: np.ndarray
    total: float
    top: int


@jit
def _count_step(weights, t, before, row, after, sums):
    """Add the posteriors of the states and the event of step t."""
    q, x = weights.quiet.mantissas[t], weights.quiet.exponents[t]
    p, y = weights.emitting.mantissas[t], weights.emitting.exponents[t]
    for s in range(weights.least[t + 1], weights.most[t + 1] + 1):
        w, w_e = after.mantissas[0, s + 1], after.exponents[0, s + 1]
        same, same_e = before.mantissas[row, s + 1], before.exponents[row, s + 1]
        less, less_e = before.mantissas[row, s], before.exponents[row, s]
        for j in range(len(w)):
            shift = power(same_e[j] + x[j] + w_e[j] - sums.top)
            sums.states[t, j] += same[j] * q[j] * w[j] * shift / sums.total
            if s > 0:
                d, d_e = _density_of_event(weights.events, t, s - 1)
                shift = power(less_e[j] + y[j] + d_e[j] + w_e[j] - sums.top)
                emitted = less[j] * p[j] * d[j] * w[j] * shift / sums.total
                sums.states[t, j] += emitted
                sums.events[t, s - 1] += emitted
                sums.event_states[s - 1, j] += emitted


@jit
def _backward_step(weights, t, alpha, row, after, own, own_e, sums):
    """Replace the sums after step t by those after step t - 1; count transitions."""
    q, x = weights.quiet.mantissas[t], weights.quiet.exponents[t]
    p, y = weights.emitting.mantissas[t], weights.emitting.exponents[t]
    a, a_e = weights.transitions.mantissas, weights.transitions.exponents
    n_states, n_events = len(q), weights.events.mantissas.shape[1]
    low, high = weights.least[t], weights.most[t]
    # a row of s events reads those of s and s + 1, so that it may be overwritten
    for s in range(low, high + 1):
        w, w_e = after.mantissas[0, s + 1], after.exponents[0, s + 1]
        more, more_e = after.mantissas[0, s + 2], after.exponents[0, s + 2]
        for j in range(n_states):
            m, e = w[j] * q[j], w_e[j] + x[j]
            if s < n_events:
                d, d_e = _density_of_event(weights.events, t, s)
                m, e = _add(m, e, more[j] * p[j] * d[j], more_e[j] + y[j] + d_e[j])
            own[j], own_e[j] = m, e
        normalize(own, own_e)
        f, f_e = alpha.mantissas[row, s + 1], alpha.exponents[row, s + 1]
        for i in range(n_states):
            m, e = 0.0, EXPONENT_OF_ZERO
            for j in range(n_states):
                term, term_e = a[i, j] * own[j], a_e[i, j] + own_e[j]
                shift = power(f_e[i] + term_e - sums.top)
                sums.transition_counts[i, j] += f[i] * term * shift / sums.total
                m, e = _add(m, e, term, term_e)
            w[i], w_e[i] = m, e
        normalize(w, w_e)
    _clear(after, 0, low, high)


@jit
def _backward_with_events(weights, checkpoints, stride, sums):
    """Sum over the paths from the end, and add the posteriors.

    Parameters
    ----------
    weights, checkpoints, stride
        Arguments of `_forward_with_events`, after it.
    sums : _EventSums
        Receives the posteriors.
    """
    n_steps, n_states = weights.quiet.mantissas.shape
    n_events = weights.events.mantissas.shape[1]
    before = _empty_rows(stride + 1, n_events, n_states)
    alpha = _empty_rows(stride, n_events, n_states)
    after = _empty_rows(1, n_events, n_states)
    after.mantissas[0, n_events + 1], after.exponents[0, n_events + 1] = 1.0, 0
    own, own_e = np.empty(n_states), np.empty(n_states, np.int64)
    for block in range((n_steps - 1) // stride, -1, -1):
        first = block * stride
        stop = min(first + stride, n_steps)
        _copy_row(checkpoints, block, before, 0)
        for t in range(first, stop):
            _forward_step(weights, t, before, alpha, t - first)
        for t in range(stop - 1, first - 1, -1):
            if t + 1 < n_steps:
                # the sums after step t need alpha of step t
                _backward_step(
                    weights, t + 1, alpha, t - first, after, own, own_e, sums
                )
            _count_step(weights, t, before, t - first, after, sums)


@jit
def _best_row(logs, events, quiet, emitting, t, low, high, best, own, sources):
    """Compute the values of the best paths to step t, and where they come from."""
    n_states = best.shape[1]
    at = t if len(events) > 1 else 0
    for s in range(low, high + 1):
        for j in range(n_states):
            value, source = -np.inf, 0
            for has_event in range(2):
                if has_event > s:
                    continue
                step = quiet[t, j]
                if has_event:
                    step = emitting[t, j] + events[at, s - 1, j]
                for i in range(n_states):
                    found = best[s + 1 - has_event, i] + logs[i, j] + step
                    if found > value:
                        value, source = found, 2 * i + has_event
            own[s + 1, j], sources[s, j] = value, source
    own[low] = own[high + 2] = -np.inf


@jit
def _best_path(logs, start, events, quiet, emitting, least, most, states, steps):
    """Write the likeliest path; return its log-likelihood."""
    n_steps, n_states = quiet.shape
    n_events = events.shape[1]
    sources = np.zeros((n_steps, n_events + 1, n_states), np.int32)
    rows = np.full((2, n_events + 3, n_states), -np.inf)
    # the first step has no state before: all sources have the weight of its own
    rows[0, 1, 0] = 0.0
    first = np.full((n_states, n_states), -np.inf)
    first[0] = start
    for t in range(n_steps):
        low, high = least[t + 1], most[t + 1]
        best, own = rows[t % 2], rows[(t + 1) % 2]
        moves = first if t == 0 else logs
        _best_row(moves, events, quiet, emitting, t, low, high, best, own, sources[t])
    last = rows[n_steps % 2, n_events + 1]
    state, s = np.argmax(last), n_events
    score = last[state]
    if score == -np.inf:
        return score
    for t in range(n_steps - 1, -1, -1):
        states[t] = state
        source = sources[t, s, state]
        if source % 2:
            s -= 1
            steps[s] = t
        state = source // 2
    return score


def asynchronous_path(
    chain: AsynchronousChain,
    log_frames: np.ndarray,
    log_events: np.ndarray,
    *,
    band: float | None = None,
) -> AsynchronousPath:
    """Find the likeliest states, and steps of the events.

    Parameters
    ----------
    chain, log_frames, log_events, band
        Arguments of `asynchronous_posteriors`.

    Returns
    -------
    AsynchronousPath
        The path; of equally likely ones, that of lower states, and of later events.

    Raises
    ------
    ValueError
        If there are more events than steps, or too little memory.
    """
    events = _by_step(log_events)
    n_steps, n_states = log_frames.shape
    n_events = events.shape[1]
    _check_memory(n_steps * n_states * (n_events + 1), np.int32, n_steps, n_events)
    least, most = event_bounds(n_steps, n_events, band)
    states, steps = np.full(n_steps, -1), np.full(n_events, -1)
    with np.errstate(divide="ignore"):
        quiet, emitting = _log_densities(chain, log_frames)
        logs, start = np.log(chain.transitions), np.log(chain.start)
    score = _best_path(logs, start, events, quiet, emitting, least, most, states, steps)
    return AsynchronousPath(float(score), states, steps)


def asynchronous_log_likelihood(
    chain: AsynchronousChain,
    log_frames: np.ndarray,
    log_events: np.ndarray,
    *,
    band: float | None = None,
) -> float:
    """Compute the log-likelihood of frames and events.

    Parameters
    ----------
    chain, log_frames, log_events, band
        Arguments of `asynchronous_posteriors`.

    Returns
    -------
    float
        The log-likelihood; -inf if no path explains them.

    Raises
    ------
    ValueError
        If there are more events than steps.
    """
    weights = _weights_of(chain, log_frames, _by_step(log_events), band)
    empty = _Rows(np.empty((0, 0, 0)), np.empty((0, 0, 0), np.int64))
    return _log_of_number(*_forward_with_events(weights, empty, 1))


def asynchronous_posteriors(
    chain: AsynchronousChain,
    log_frames: np.ndarray,
    log_events: np.ndarray,
    *,
    band: float | None = None,
) -> AsynchronousPosteriors:
    """Compute the posteriors of states and of the steps of events.

    Parameters
    ----------
    chain : AsynchronousChain
        The model.
    log_frames : ndarray of shape (n_steps, n_states)
        Log densities of the frames.
    log_events : ndarray of shape (n_events, n_states) or (n_steps, n_events, n_states)
        Log densities of the events, of each given a frame if there are three axes.
    band : float, default=None
        Most events by which the number of emitted ones may deviate from an even
        spread, at least 1; None has no limit.

    Returns
    -------
    AsynchronousPosteriors
        The posteriors; 0 if no path explains frames and events.

    Raises
    ------
    ValueError
        If there are more events than steps, or too little memory.
    """
    events = _by_step(log_events)
    weights = _weights_of(chain, log_frames, events, band)
    (n_steps, n_states), n_events = log_frames.shape, events.shape[1]
    stride = max(1, ceil(sqrt(n_steps)))
    n_checkpoints = (n_steps - 1) // stride + 1
    cells = (n_events + 3) * n_states
    _check_memory(3 * n_checkpoints * cells * 2, np.float64, n_steps, n_events)
    shape = n_checkpoints, n_events + 3, n_states
    checkpoints = _Rows(np.zeros(shape), np.full(shape, EXPONENT_OF_ZERO))
    total, top = _forward_with_events(weights, checkpoints, stride)
    sums = _EventSums(
        np.zeros((n_steps, n_states)),
        np.zeros((n_steps, n_events)),
        np.zeros((n_events, n_states)),
        np.zeros((n_states, n_states)),
        total,
        top,
    )
    if total > 0:
        _backward_with_events(weights, checkpoints, stride, sums)
    return AsynchronousPosteriors(_log_of_number(total, top), *sums[:4])


def event_bounds(
    n_steps: int, n_events: int, band: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the fewest and the most events after each number of steps.

    Parameters
    ----------
    n_steps, n_events : int
        Numbers of steps and events.
    band : float or None
        Most events off an even spread.

    Returns
    -------
    tuple of two ndarray of int64 of shape (n_steps + 1,)
        The bounds.

    Raises
    ------
    ValueError
        If there are more events than steps.
    """
    if n_events > n_steps:
        raise ValueError(
            f"there are {n_events} events and {n_steps} frames, and a frame has at "
            "most one event"
        )
    done = np.arange(n_steps + 1)
    least = np.maximum(0, n_events - (n_steps - done))
    most = np.minimum(n_events, done)
    if band is not None:
        even = done * (n_events / n_steps)
        least = np.maximum(least, np.ceil(even - max(band, 1)).astype(np.int64))
        most = np.minimum(most, np.floor(even + max(band, 1)).astype(np.int64))
    return least, most


def _by_step(log_events: np.ndarray) -> np.ndarray:
    if log_events.ndim == 2:
        log_events = log_events[None]
    return np.ascontiguousarray(log_events, dtype=np.float64)


def _log_densities(
    chain: AsynchronousChain, log_frames: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return log densities of frames without and with an event."""
    with np.errstate(divide="ignore"):
        quiet = log_frames + np.log(1 - chain.event_probabilities)
        return quiet, log_frames + np.log(chain.event_probabilities)


def _weights_of(
    chain: AsynchronousChain,
    log_frames: np.ndarray,
    log_events: np.ndarray,
    band: float | None,
) -> _Weights:
    """Bring a chain and densities into the form of the kernels."""
    least, most = event_bounds(len(log_frames), log_events.shape[1], band)
    quiet, emitting = _log_densities(chain, log_frames)
    with np.errstate(divide="ignore"):
        logs = np.log(chain.start), np.log(chain.transitions)
    return _Weights(
        _split_numbers(logs[0]),
        _split_numbers(logs[1]),
        _split_numbers(quiet),
        _split_numbers(emitting),
        _split_numbers(log_events),
        least,
        most,
    )


def _split_numbers(logs: np.ndarray) -> _SplitNumbers:
    flat = np.ascontiguousarray(logs, dtype=np.float64).ravel()
    mantissas, exponents = np.empty(len(flat)), np.empty(len(flat), np.int64)
    split_exponentials(flat, mantissas, exponents)
    return _SplitNumbers(mantissas.reshape(logs.shape), exponents.reshape(logs.shape))


def _log_of_number(total: float, top: int) -> float:
    return float(np.log(total) + top * LN2) if total > 0 else -np.inf


def _check_memory(n_cells: int, dtype: type, n_steps: int, n_events: int) -> None:
    check_fits(
        n_cells * np.dtype(dtype).itemsize,
        f"{n_steps} frames with {n_events} events",
        "shorten the sequences, or lower n_states",
    )
