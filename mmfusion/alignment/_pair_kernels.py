"""Compiled sums over the lattice of a pair hidden Markov model, diagonal by diagonal.

As for soft-DTW (`dtw/_path_sums.py`), sums are mantissas and exponents, each state with
its own, so that no path is lost however unlikely it seems on the way, and the cells of
an anti-diagonal ("diagonal" below) are computed together. A forward pass keeps every
few diagonals as checkpoints; the backward pass computes the others again, block by
block, so that memory is that of the scores and the posteriors. The recursion is that of
`_pair_lattice.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit, jit_reordered
from mmfusion.alignment.dtw._path_sums import (
    LOG2,
    OUTSIDE_EXPONENT,
    extract_exponents,
    extract_mantissas,
    split_factors,
    whole_power_of_two,
)

M, X, Y = 0, 1, 2


class SplitWeights(NamedTuple):
    """Weights as factors near 1 and exponents to the base 2; 0 far below all others."""

    factors: np.ndarray
    shifts: np.ndarray


class LatticeModel(NamedTuple):
    """A model and the scores of gaps in the form that the kernels read.

    Parameters
    ----------
    start : SplitWeights
        Of shape (3,).
    transitions, sources : SplitWeights
        Of shape (3, 3): a row for each state, and a row for each next state.
    steps : SplitWeights
        Of shape (3,).
    gap_x, gap_y : SplitWeights
        Of shapes (n + 1,) and (m + 1,), by frames consumed, so that index 0 is not
        used. Those of y are reversed: both follow a diagonal.
    """

    start: SplitWeights
    transitions: SplitWeights
    sources: SplitWeights
    steps: SplitWeights
    gap_x: SplitWeights
    gap_y: SplitWeights


class _Lattice(NamedTuple):
    """Buffers of one diagonal.

    Parameters
    ----------
    scores : ndarray of shape (n + 1,)
        Match scores.
    emissions, shifts : ndarray of shape (3, n + 1)
        Factors and exponents of e.
    values, exponents : ndarray of shape (3, n + 1)
        Factors and exponents of f.
    matched, matched_exponents : ndarray of shape (n + 2,)
        Sums from the end after a step to a match; the entry of a cell is one after its.
    sums, tops : ndarray of shape (n + 1,)
        Sums in units of their largest exponent.
    ones, zeros : ndarray of shape (n + 1,)
        Factors and shifts that change nothing.
    """

    scores: np.ndarray
    emissions: np.ndarray
    shifts: np.ndarray
    values: np.ndarray
    exponents: np.ndarray
    matched: np.ndarray
    matched_exponents: np.ndarray
    sums: np.ndarray
    tops: np.ndarray
    ones: np.ndarray
    zeros: np.ndarray


class DiagonalSums(NamedTuple):
    """Mantissas and exponents of diagonals: sums from either end, before a state.

    Parameters
    ----------
    mantissas, exponents : ndarray of shape (n_diagonals, 3, n + 3)
        By state; the entry of row i is at index i + 1.
    """

    mantissas: np.ndarray
    exponents: np.ndarray


@jit
def _empty_sums(n_diagonals, n):
    return DiagonalSums(
        np.zeros((n_diagonals, 3, n + 3)),
        np.full((n_diagonals, 3, n + 3), OUTSIDE_EXPONENT),
    )


@jit
def _empty_lattice(n):
    size = n + 1
    return _Lattice(
        np.empty(size),
        np.empty((3, size)),
        np.empty((3, size)),
        np.empty((3, size)),
        np.empty((3, size)),
        np.empty(size + 2),
        np.empty(size + 2),
        np.empty(size),
        np.empty(size),
        np.ones(size),
        np.zeros(size),
    )


@jit
def _read_scores(match, k, begin, size, scores):
    """Copy the scores of a diagonal; there are none before the first frames."""
    for at in range(size):
        i, j = begin + at, k - begin - at
        scores[at] = match[i - 1, j - 1] if i > 0 and j > 0 else -np.inf


@jit
def _copy_gap_scores(values, size, out):
    for i in range(size):
        out[i] = values[i]


@jit
def _emit(match, model, k, begin, size, lattice):
    """Compute the emissions of a diagonal."""
    e, shifts = lattice.emissions, lattice.shifts
    _read_scores(match, k, begin, size, lattice.scores)
    split_factors(lattice.scores, 1 / LOG2, size, e[M], shifts[M])
    at = match.shape[1] - k + begin
    _copy_gap_scores(model.gap_x.factors[begin:], size, e[X])
    _copy_gap_scores(model.gap_x.shifts[begin:], size, shifts[X])
    _copy_gap_scores(model.gap_y.factors[at:], size, e[Y])
    _copy_gap_scores(model.gap_y.shifts[at:], size, shifts[Y])


@jit
def _multiply(sums, exponents, factors, shifts, size, values, out):
    """Multiply sums by factors, and add their exponents."""
    for i in range(size):
        values[i] = sums[i] * factors[i]
    for i in range(size):
        out[i] = exponents[i] + shifts[i]


@jit
def _add_three(v0, v1, v2, x0, x1, x2, weights, shifts, size, sums, tops):
    """Sum three weighted terms, in units of the largest exponent."""
    a0, a1, a2 = weights[0], weights[1], weights[2]
    s0, s1, s2 = shifts[0], shifts[1], shifts[2]
    for i in range(size):
        tops[i] = max(max(x0[i] + s0, x1[i] + s1), x2[i] + s2)
    for i in range(size):
        top = tops[i]
        # a term below 2**-1022 of the largest vanishes, far below its rounding
        sums[i] = (
            a0 * v0[i] * whole_power_of_two(x0[i] + s0 - top)
            + a1 * v1[i] * whole_power_of_two(x1[i] + s1 - top)
            + a2 * v2[i] * whole_power_of_two(x2[i] + s2 - top)
        )


@jit
def _normalize(sums, tops, factors, shifts, begin, size, mantissas, exponents):
    """Write products as mantissas and exponents, between cells that no path reaches."""
    extract_mantissas(sums, factors, size, mantissas[begin + 1 :])
    extract_exponents(sums, factors, tops, shifts, size, exponents[begin + 1 :])
    mantissas[begin] = mantissas[begin + size + 1] = 0
    exponents[begin] = exponents[begin + size + 1] = OUTSIDE_EXPONENT


@jit
def _values_before(model, begin, size, one, two, sums, lattice):
    """Compute f of a diagonal from the sums of the two before."""
    # a frame of both is one row above and two diagonals before; one of the first
    # sequence is in the row above and one of the second in the same, a diagonal before
    m, x = sums.mantissas, sums.exponents
    _add_three(
        m[two, M, begin:],
        m[one, M, begin:],
        m[one, M, begin + 1 :],
        x[two, M, begin:],
        x[one, M, begin:],
        x[one, M, begin + 1 :],
        model.steps.factors,
        model.steps.shifts,
        size,
        lattice.sums,
        lattice.tops,
    )
    v, out, e, shifts = (
        lattice.values,
        lattice.exponents,
        lattice.emissions,
        lattice.shifts,
    )
    _multiply(lattice.sums, lattice.tops, e[M], shifts[M], size, v[M], out[M])
    first = begin + 1
    _multiply(m[one, X, begin:], x[one, X, begin:], e[X], shifts[X], size, v[X], out[X])
    _multiply(m[one, Y, first:], x[one, Y, first:], e[Y], shifts[Y], size, v[Y], out[Y])


@jit
def _advance(match, model, diagonals, k, one, two, to, sums, lattice):
    """Compute the sums before the next states, sum_r a_rs f_r, on a diagonal."""
    begin = diagonals.begins[k]
    size = diagonals.offsets[k + 1] - diagonals.offsets[k]
    _emit(match, model, k, begin, size, lattice)
    _values_before(model, begin, size, one, two, sums, lattice)
    v, x = lattice.values, lattice.exponents
    for s in range(3):
        weights, shifts = model.sources.factors[s], model.sources.shifts[s]
        _add_three(
            v[0],
            v[1],
            v[2],
            x[0],
            x[1],
            x[2],
            weights,
            shifts,
            size,
            lattice.sums,
            lattice.tops,
        )
        _normalize(
            lattice.sums,
            lattice.tops,
            lattice.ones,
            lattice.zeros,
            begin,
            size,
            sums.mantissas[to, s],
            sums.exponents[to, s],
        )


@jit
def _set_origin(model, sums, at):
    """Set the sums of the diagonal that holds no consumed frame."""
    sums.mantissas[at] = 0
    sums.exponents[at] = OUTSIDE_EXPONENT
    for s in range(3):
        sums.mantissas[at, s, 1] = model.start.factors[s]
        sums.exponents[at, s, 1] = model.start.shifts[s]


@jit
def _sum_of_last_cell(lattice):
    """Return the mantissa and exponent of the sum of the states of the last cell."""
    top = max(
        max(lattice.exponents[0, 0], lattice.exponents[1, 0]), lattice.exponents[2, 0]
    )
    total = 0.0
    for s in range(3):
        total += lattice.values[s, 0] * whole_power_of_two(
            lattice.exponents[s, 0] - top
        )
    return total, top


@jit
def sum_from_start(match, model, diagonals, checkpoints, stride):
    """Sum over the paths to all cells.

    Parameters
    ----------
    match : ndarray of shape (n, m)
        Match scores.
    model : LatticeModel
        The model.
    diagonals : Diagonals
        Layout of the lattice of n + 1 rows and m + 1 columns.
    checkpoints : DiagonalSums
        Receives, for each multiple of `stride`, that diagonal and the one before; may
        be empty.
    stride : int
        Diagonals between checkpoints.

    Returns
    -------
    tuple of float
        Mantissa and exponent of the sum over all paths.
    """
    n = match.shape[0]
    sums, lattice = _empty_sums(3, n), _empty_lattice(n)
    _set_origin(model, sums, 0)
    last = len(diagonals.begins) - 1
    for k in range(last + 1):
        if k > 0:
            one, two = (k + 2) % 3, (k + 1) % 3
            _advance(match, model, diagonals, k, one, two, k % 3, sums, lattice)
        if k % stride == 0 and len(checkpoints.mantissas):
            at = 2 * (k // stride)
            for back in range(2):
                own = (k + 3 - back) % 3
                checkpoints.mantissas[at + back] = sums.mantissas[own]
                checkpoints.exponents[at + back] = sums.exponents[own]
    return _sum_of_last_cell(lattice)


@jit_reordered
def _weigh(values, exponents, others, other_exponents, size, total_exponent):
    """Sum products of values and others, over the total."""
    count = 0.0
    for i in range(size):
        power = whole_power_of_two(exponents[i] + other_exponents[i] - total_exponent)
        count += values[i] * others[i] * power
    return count


@jit
def _occupancies(values, exponents, sums, tops, total, total_exponent, size, out):
    """Compute probabilities that paths visit the cells of a diagonal in a state."""
    for i in range(size):
        power = whole_power_of_two(exponents[i] + tops[i] - total_exponent)
        out[i] = values[i] * sums[i] * power / total


@jit
def _write_match(match, k, begin, size, occupancies, out):
    """Write probabilities that pairs of frames are matched."""
    for at in range(size):
        i, j = begin + at, k - begin - at
        if i > 0 and j > 0:
            out[i - 1, j - 1] = occupancies[at]


@jit
def _sum_matches_after(model, begin, size, one, two, back, lattice):
    """Sum over the three steps to a match that follow each cell of a diagonal."""
    m, x = back.mantissas, back.exponents
    _add_three(
        m[two, M, begin + 2 :],
        m[one, M, begin + 2 :],
        m[one, M, begin + 1 :],
        x[two, M, begin + 2 :],
        x[one, M, begin + 2 :],
        x[one, M, begin + 1 :],
        model.steps.factors,
        model.steps.shifts,
        size,
        lattice.sums,
        lattice.tops,
    )
    _normalize(
        lattice.sums,
        lattice.tops,
        lattice.ones,
        lattice.zeros,
        0,
        size,
        lattice.matched,
        lattice.matched_exponents,
    )


@jit
def _step_back(match, model, diagonals, k, at, block, back, lattice, result):
    """Compute occupancies of a diagonal, and the sums from the end before its states.

    Parameters
    ----------
    match, model, diagonals, k
        Arguments of `_advance`; `lattice` holds f and e of this diagonal.
    at : int
        Its place in the block; the two places before hold the sums that precede it.
    block : DiagonalSums
        Sums from the beginning.
    back : DiagonalSums
        Sums from the end, ``e_s w_s``, of the two diagonals after in a ring of three;
        receives those of this one.
    lattice : _Lattice
        Buffers.
    result : tuple
        Probabilities of states, posterior of matches, counts of transitions and steps,
        and the total with its exponent.
    """
    occupancies, out, counts, step_counts, total, top = result
    begin = diagonals.begins[k]
    size = diagonals.offsets[k + 1] - diagonals.offsets[k]
    one, two, own = (k + 1) % 3, (k + 2) % 3, k % 3
    is_last = k == len(diagonals.begins) - 1
    e, shifts = lattice.emissions, lattice.shifts
    sums, tops = lattice.sums, lattice.tops
    _sum_matches_after(model, begin, size, one, two, back, lattice)
    v0, x0 = lattice.matched[1:], lattice.matched_exponents[1:]
    v1, x1 = back.mantissas[one, X, begin + 2 :], back.exponents[one, X, begin + 2 :]
    v2, x2 = back.mantissas[one, Y, begin + 1 :], back.exponents[one, Y, begin + 1 :]
    for r in range(3):
        weights, moves = model.transitions.factors[r], model.transitions.shifts[r]
        f, x = lattice.values[r], lattice.exponents[r]
        if is_last:
            sums[0], tops[0] = 1.0, 0.0
        else:
            _add_three(v0, v1, v2, x0, x1, x2, weights, moves, size, sums, tops)
            # counts of the transitions, a_rs apart
            counts[r, M] += _weigh(f, x, v0, x0, size, top - moves[M])
            counts[r, X] += _weigh(f, x, v1, x1, size, top - moves[X])
            counts[r, Y] += _weigh(f, x, v2, x2, size, top - moves[Y])
        _occupancies(f, x, sums, tops, total, top, size, occupancies[r])
        _normalize(
            sums,
            tops,
            e[r],
            shifts[r],
            begin,
            size,
            back.mantissas[own, r],
            back.exponents[own, r],
        )
    v0, x0 = back.mantissas[own, M, begin + 1 :], back.exponents[own, M, begin + 1 :]
    m, x = block.mantissas, block.exponents
    moves = model.steps.shifts
    for step in range(3):  # of both, of the first, of the second: b apart
        source = at - 2 if step == 0 else at - 1
        first = begin + 1 if step == 2 else begin
        step_counts[step] += _weigh(
            m[source, M, first:], x[source, M, first:], v0, x0, size, top - moves[step]
        )
    _write_match(match, k, begin, size, occupancies[M], out)


@jit
def sum_from_end(match, model, diagonals, checkpoints, stride, total, top, out):
    """Sum over the paths from the end, and compute the posteriors.

    Parameters
    ----------
    match, model, diagonals, checkpoints, stride
        Arguments of `sum_from_start`, after it.
    total, top : float
        Its result.
    out : ndarray of shape (n, m)
        Receives the probabilities of pairs of frames.

    Returns
    -------
    tuple of ndarray
        Expected numbers of transitions and of steps, and probabilities of the start.
    """
    n = match.shape[0]
    lattice, back = _empty_lattice(n), _empty_sums(3, n)
    # rows 0 and 1: the checkpoint and the diagonal before it
    block = _empty_sums(stride + 1, n)
    occupancies = np.empty((3, n + 1))
    transition_counts, step_counts = np.zeros((3, 3)), np.zeros(3)
    result = (occupancies, out, transition_counts, step_counts, total, top)
    last = len(diagonals.begins) - 1
    for number in range((last - 1) // stride, -1, -1):
        first = number * stride
        for before in range(2):
            block.mantissas[1 - before] = checkpoints.mantissas[2 * number + before]
            block.exponents[1 - before] = checkpoints.exponents[2 * number + before]
        stop = min(first + stride, last)
        for k in range(first + 1, stop):
            at = k - first + 1
            _advance(match, model, diagonals, k, at - 1, at - 2, at, block, lattice)
        for k in range(stop, first, -1):
            at = k - first + 1
            begin = diagonals.begins[k]
            size = diagonals.offsets[k + 1] - diagonals.offsets[k]
            _emit(match, model, k, begin, size, lattice)
            _values_before(model, begin, size, at - 1, at - 2, block, lattice)
            _step_back(match, model, diagonals, k, at, block, back, lattice, result)
    for r in range(3):
        step_counts[r] *= model.steps.factors[r] / total
        for s in range(3):
            weight = model.transitions.factors[r, s]
            transition_counts[r, s] *= weight / total
    starts = np.empty(3)
    # the first cells: M on diagonal 2, with the weight of its step, X and Y on 1
    for s in range(3):
        ring, row = (2, 2) if s == M else (1, 2 if s == X else 1)
        power = back.exponents[ring, s, row] + model.start.shifts[s] - top
        value = back.mantissas[ring, s, row] * model.start.factors[s] / total
        if s == M:
            power += model.steps.shifts[0]
            value *= model.steps.factors[0]
        starts[s] = value * whole_power_of_two(power)
    return transition_counts, step_counts, starts
