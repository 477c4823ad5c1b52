"""Dynamic time warping in a full table of totals.

It covers what row blocks do not: any step pattern (`accumulate_moves`), runs of limited
length (`accumulate_limited`), and open begins on which the divisor depends, where
Dinkelbach's iteration solves a fractional programme.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mmfusion._memory import check_fits
from mmfusion._threads import one_thread
from mmfusion.alignment.dtw._compilation import jit_ieee
from mmfusion.alignment.dtw._constraints import Constraints
from mmfusion.alignment.dtw._costs import (
    GIVEN,
    Costs,
    cost_matrix,
)
from mmfusion.alignment.dtw._step_patterns import StepPattern, path_divisor
from mmfusion.alignment.dtw._windows import Window, mask_outside

LARGE_COST = 2.0**900  # above, costs are divided by this power of two, which is exact
TABLE_BYTES_PER_CELL = 40  # of costs, totals and steps, at most
MAX_MOVE_TABLES = 64  # step patterns whose move tables are cached

# the last step of a path to a cell
DIAGONAL, ACROSS, DOWN = range(3)
STEP_BITS = 3
# flags of a cell: a run down from it follows a run across, a run across one down
AFTER_ACROSS, AFTER_DOWN = 4, 8

PathAndCost = tuple[np.ndarray | None, float]


def path_by_table(
    costs: Costs, window: Window, constraints: Constraints, *, wants_path: bool = True
) -> PathAndCost:
    """Find the best path in a table of all totals.

    Parameters
    ----------
    costs : Costs
        The local costs.
    window : Window
        The cells that a path may visit.
    constraints : Constraints
        The constraints of the path.
    wants_path : bool, default=True
        Without effect: the steps are in the table, and the path is always traced.

    Returns
    -------
    path : ndarray of int64 of shape (length, 2) or None
        The path; None if none has a finite cost.
    cost : float
        Its cost.

    Raises
    ------
    ValueError
        If the table does not fit into memory.
    """
    n, m = costs.n, costs.m
    check_fits(
        n * m * TABLE_BYTES_PER_CELL,
        f"the table of {n} x {m} costs",
        "shorten the sequences, or take step_pattern 'symmetric1' between closed ends "
        "without max_jump, which needs no table",
    )
    with one_thread():
        table = cost_matrix(costs).astype(np.float64, copy=False)
    if not window.whole:
        mask_outside(table, window, 0, 0)
    find = _path_of_limited_runs if constraints.limits_runs(n, m) else _path_of_moves
    begins = constraints.begin_costs(m)
    path, cost = find(table, constraints, begins, None)
    if not constraints.ratio_depends_on_begin or path is None:
        return path, cost
    if cost > LARGE_COST:  # multiples of it could overflow in the iteration
        small = replace(constraints, penalty=constraints.penalty / LARGE_COST)
        scaled = Costs(GIVEN, False, n, m, table / LARGE_COST, table)
        path, cost = path_by_table(scaled, window, small)
        return path, cost * LARGE_COST
    return _minimize_ratio(find, table, constraints, path, cost)


Finder = Callable[[np.ndarray, Constraints, np.ndarray, float | None], PathAndCost]


def _minimize_ratio(
    find: Finder,
    table: np.ndarray,
    constraints: Constraints,
    path: np.ndarray,
    cost: float,
) -> PathAndCost:
    """Find the path of least ratio of cost to frames, from any path.

    Dinkelbach's iteration: a path of least ``cost - ratio * frames``, for the ratio of
    the last path, has a smaller ratio unless that one is the least.
    """
    while cost > 0:
        ratio = cost / path_divisor(constraints.pattern, path)
        # a begin in column j covers j frames less, whose share is added to the cost
        m = table.shape[1]
        begins = constraints.begin_costs(m) + ratio * np.arange(m)
        candidate, its_cost = find(table, constraints, begins, ratio)
        if candidate is None:
            break
        if its_cost / path_divisor(constraints.pattern, candidate) >= ratio:
            break
        path, cost = candidate, its_cost
    return path, cost


def _path_of_moves(
    table: np.ndarray,
    constraints: Constraints,
    begins: np.ndarray,
    ratio: float | None,
) -> PathAndCost:
    moves = move_table(constraints.pattern, constraints.penalty)
    totals, choice = accumulate_moves(table, moves, begins)
    end = constraints.best_end(totals, len(table), ratio)
    if not np.isfinite(totals[end]):
        return None, np.inf
    return trace_moves(table, choice, moves, end)


def _path_of_limited_runs(
    table: np.ndarray,
    constraints: Constraints,
    begins: np.ndarray,
    ratio: float | None,
) -> PathAndCost:
    longest, diagonal = constraints.max_jump, constraints.diagonal_weight
    limits = RunLimits(longest or 0, float(diagonal or 1), constraints.penalty)
    totals, steps = accumulate_limited(table, limits, begins)
    end = constraints.best_end(totals, len(table), ratio)
    if not np.isfinite(totals[end]):
        return None, np.inf
    return trace_limited(table, steps, limits, end)


class MoveTable(NamedTuple):
    """The cells of all moves of a step pattern, one move after the other.

    Parameters
    ----------
    starts : ndarray of int64 of shape (n_moves + 1,)
        First cell of each move, and the number of all cells.
    rows, columns : ndarray of int64 of shape (n_cells,)
        Distance of each cell from the last cell of its move.
    weights, prices : ndarray of float64 of shape (n_cells,)
        Weight of the cost of each cell, and penalty of the step to it.
    origins : ndarray of int64 of shape (n_moves, 2)
        Distance, in rows and columns, of the begin of each move from its last cell.
    """

    starts: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    weights: np.ndarray
    prices: np.ndarray
    origins: np.ndarray


@lru_cache(maxsize=MAX_MOVE_TABLES)
def move_table(pattern: StepPattern, penalty: float) -> MoveTable:
    """Return the moves of a step pattern as arrays.

    Parameters
    ----------
    pattern : StepPattern
        The step pattern.
    penalty : float
        Price of a step that is not diagonal.

    Returns
    -------
    MoveTable
        The moves.
    """
    steps = np.array([step for move in pattern.moves for step in move])
    frames = steps[:, :2].astype(np.int64)
    starts = np.cumsum([0, *map(len, pattern.moves)])
    origins = np.add.reduceat(frames, starts[:-1])
    reached = frames.cumsum(axis=0)
    ends = np.repeat(reached[starts[1:] - 1], np.diff(starts), axis=0)
    before = np.ascontiguousarray((ends - reached).T)
    prices = penalty * (frames[:, 0] != frames[:, 1])
    weights = np.ascontiguousarray(steps[:, 2])
    return MoveTable(starts, before[0], before[1], weights, prices, origins)


def accumulate_moves(
    costs: np.ndarray, moves: MoveTable, begins: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Accumulate the costs of paths of any step pattern.

    Parameters
    ----------
    costs : ndarray of float64 of shape (n, m)
        Local costs; inf where a path may not go.
    moves : MoveTable
        The moves.
    begins : ndarray of float64 of shape (m,)
        Cost that a path which begins in a cell of the first row has in addition to that
        of the cell; inf where none may begin.

    Returns
    -------
    totals : ndarray of shape (m,)
        Least cost of a path to each cell of the last row.
    choice : ndarray of int16 of shape (n, m)
        The last move of the best path to each cell; -1 where it begins.
    """
    return _accumulate_moves(costs, *moves, begins)


@jit_ieee
def _accumulate_moves(costs, starts, rows, columns, weights, prices, origins, begins):
    n, m = costs.shape
    totals = np.full((n, m), np.inf)
    choice = np.full((n, m), np.int16(-1))
    for i in range(n):
        for j in range(m):
            if i == 0:
                totals[i, j] = begins[j] + costs[i, j]
            for k in range(len(origins)):
                before, ahead = i - origins[k, 0], j - origins[k, 1]
                if before < 0 or ahead < 0:
                    continue
                total = totals[before, ahead]
                for cell in range(starts[k], starts[k + 1]):
                    cost = costs[i - rows[cell], j - columns[cell]]
                    # 0 * inf is NaN, but a forbidden cell is forbidden at any weight
                    total += cost if cost == np.inf else weights[cell] * cost
                    total += prices[cell]
                if total < totals[i, j]:
                    totals[i, j], choice[i, j] = total, k
    return totals[n - 1].copy(), choice


def trace_moves(
    costs: np.ndarray, choice: np.ndarray, moves: MoveTable, end: int
) -> tuple[np.ndarray, float]:
    """Trace the path back that `accumulate_moves` found.

    Parameters
    ----------
    costs : ndarray of float64 of shape (n, m)
        The local costs.
    choice : ndarray of int16 of shape (n, m)
        The choices that `accumulate_moves` returned.
    moves : MoveTable
        The moves.
    end : int
        Column of the last cell, in the last row.

    Returns
    -------
    path : ndarray of int64 of shape (length, 2)
        All cells of the path, including those within a move.
    cost : float
        Its cost, without the addition of its begin.
    """
    return _trace_moves(costs, choice, *moves, end)


@jit_ieee
def _trace_moves(costs, choice, starts, rows, columns, weights, prices, origins, end):
    n = len(costs)
    path = np.empty((n + end, 2), np.int64)
    factors, charges = np.ones(n + end), np.zeros(n + end)
    i, j, at = n - 1, end, n + end
    while choice[i, j] >= 0:
        k = choice[i, j]
        for cell in range(starts[k + 1] - 1, starts[k] - 1, -1):
            at -= 1
            path[at, 0], path[at, 1] = i - rows[cell], j - columns[cell]
            factors[at], charges[at] = weights[cell], prices[cell]
        i, j = i - origins[k, 0], j - origins[k, 1]
    at -= 1
    path[at, 0], path[at, 1] = i, j
    total = 0.0  # in the order of the recurrence, so that rounding is the same
    for cell in range(at, n + end):
        total += factors[cell] * costs[path[cell, 0], path[cell, 1]]
        total += charges[cell]
    return path[at:], total


class RunLimits(NamedTuple):
    """Weights of steps, and the longest run of those that are not diagonal.

    Parameters
    ----------
    longest : int
        Longest run of steps in one direction that is not diagonal.
    diagonal : float
        Weight of a diagonal step.
    penalty : float
        Price of a step that is not diagonal.
    """

    longest: int
    diagonal: float
    penalty: float


class LimitedSteps(NamedTuple):
    """The last steps of the best paths to all cells.

    Parameters
    ----------
    steps : ndarray of uint8 of shape (n, m)
        DIAGONAL, ACROSS or DOWN; plus AFTER_ACROSS if the best path for a run down from
        the cell comes by a run across, plus AFTER_DOWN if that for a run across comes
        by a run down.
    across_from, down_from : ndarray of int32 of shape (n, m)
        Column and row where the run across and the run down that end in a cell begin.
    """

    steps: np.ndarray
    across_from: np.ndarray
    down_from: np.ndarray


def accumulate_limited(
    costs: np.ndarray, limits: RunLimits, begins: np.ndarray
) -> tuple[np.ndarray, LimitedSteps]:
    """Accumulate the costs of paths whose straight runs have at most L steps.

    A run that ends in a cell begins in one of the L cells before it, where the sum of
    the total there and the costs of the run is least. Cells are taken in blocks of L: a
    run begins in the block of its last cell, and its sum follows from that of the cell
    before; or in the block before that, for which the least sums from each cell on to
    the end of the block are computed at once. So the time does not depend on L, and no
    sums are subtracted, which would cancel digits.

    Parameters
    ----------
    costs : ndarray of float64 of shape (n, m)
        Local costs; inf where a path may not go.
    limits : RunLimits
        The longest run, and the weights of steps.
    begins : ndarray of float64 of shape (m,)
        Cost that a path which begins in a cell of the first row has in addition to that
        of the cell; inf where none may begin.

    Returns
    -------
    totals : ndarray of shape (m,)
        Least cost of a path to each cell of the last row.
    steps : LimitedSteps
        The last steps of the best paths.
    """
    n, m = costs.shape
    longest = max(1, min(limits.longest, max(n, m)))
    size = min(longest, n), m
    steps = LimitedSteps(
        np.zeros((n, m), np.uint8),
        np.full((n, m), -1, np.int32),
        np.full((n, m), -1, np.int32),
    )
    block = (np.empty(size), np.empty(size), np.empty(size, np.int32))
    allowed = limits.longest > 0
    weights = limits.diagonal, limits.penalty
    totals = _accumulate_limited(costs, longest, allowed, weights, begins, block, steps)
    return totals, steps


@jit_ieee
def _accumulate_limited(costs, longest, allowed, weights, begins, block, steps):
    """Fill `steps`, and return the totals of the last row.

    ``block`` holds, for a block of rows, the totals from which a run down may begin,
    and the least sums to the end of the block with the rows where they begin.
    """
    m = costs.shape[1]
    diagonal, penalty = weights
    totals = np.full(m, np.inf)  # of the row above
    after_diagonal, after_down = np.empty(m), np.empty(m)
    after_across, not_across = np.empty(m), np.empty(m)
    runs = np.full(m, np.inf), np.zeros(m), np.zeros(m, np.int32)
    tails = np.empty(longest), np.empty(longest, np.int32)
    for i in range(len(costs)):
        _step_diagonally(costs[i], i, begins, totals, diagonal, after_diagonal)
        after_down[:] = np.inf
        if allowed and i > 0:
            _run_down(costs, i, longest, penalty, block, runs, after_down, steps)
        for j in range(m):
            not_across[j] = min(after_diagonal[j], after_down[j])
        after_across[:] = np.inf
        if allowed:
            across_from = steps.across_from[i]
            _run_across(
                costs[i], longest, penalty, not_across, tails, after_across, across_from
            )
        _choose_steps(after_diagonal, after_across, after_down, steps.steps[i], totals)
        if allowed:
            entries = block[0][i % longest]
            for j in range(m):
                entries[j] = min(after_diagonal[j], after_across[j])
    return totals


@jit_ieee
def _step_diagonally(costs, i, begins, above, diagonal, totals):
    """Compute the totals of row i after a diagonal step, or at a begin."""
    for j in range(len(costs)):
        if i == 0:
            totals[j] = begins[j] + costs[j]
        elif j > 0:
            totals[j] = above[j - 1] + diagonal * costs[j]
        else:
            totals[j] = np.inf


@jit_ieee
def _run_down(costs, i, longest, penalty, block, runs, totals, steps):
    """Compute the totals of row i after a run down.

    ``runs`` are, by column, the least sum of a run that begins in the block of this
    row, the sum of all steps in the block, and the row where that run begins.
    """
    entries, tails, tails_from = block
    lowest, sums, begins = runs
    offset = (i - 1) % longest
    if offset == 0:  # a new block: runs from the last one enter by its tails
        if i > longest:
            first = i - 1 - longest
            for j in range(costs.shape[1]):
                _sum_tails(
                    entries[:, j],
                    costs[first + 1 : i, j],
                    penalty,
                    first,
                    tails[:, j],
                    tails_from[:, j],
                )
        lowest[:] = np.inf
        sums[:] = 0.0
    for j in range(costs.shape[1]):
        cost = costs[i, j]
        entry = entries[offset, j]
        if entry < lowest[j]:
            lowest[j], begins[j] = entry, i - 1
        lowest[j] += cost + penalty
        sums[j] += cost + penalty
        total, begin = lowest[j], begins[j]
        if i > longest and offset + 1 < longest:
            from_tail = tails[offset + 1, j] + sums[j]
            if from_tail < total:
                total, begin = from_tail, tails_from[offset + 1, j]
        totals[j], steps.down_from[i, j] = total, begin


@jit_ieee
def _run_across(costs, longest, penalty, entries, tails, totals, across_from):
    """Compute the totals of a row after a run across, as `_run_down` does."""
    tail_sums, tails_from = tails
    lowest, run, begin = np.inf, 0.0, 0
    for j in range(1, len(costs)):
        cost = costs[j]
        offset = (j - 1) % longest
        if offset == 0:
            if j > longest:
                first = j - 1 - longest
                _sum_tails(
                    entries[first : j - 1],
                    costs[first + 1 : j],
                    penalty,
                    first,
                    tail_sums,
                    tails_from,
                )
            lowest, run = np.inf, 0.0
        entry = entries[j - 1]
        if entry < lowest:
            lowest, begin = entry, j - 1
        lowest += cost + penalty
        run += cost + penalty
        total, at = lowest, begin
        if j > longest and offset + 1 < longest:
            from_tail = tail_sums[offset + 1] + run
            if from_tail < total:
                total, at = from_tail, tails_from[offset + 1]
        totals[j], across_from[j] = total, at


@jit_ieee
def _sum_tails(entries, costs, penalty, first, tails, tails_from):
    """Find the least sum of a run to the end of a block, from each cell or a later one.

    The sums are formed backwards; ``tails_from`` is where each least run begins.
    """
    least, at, total = np.inf, first, 0.0
    for q in range(len(entries) - 1, -1, -1):
        total += costs[q] + penalty
        if entries[q] + total < least:
            least, at = entries[q] + total, first + q
        tails[q], tails_from[q] = least, at


@jit_ieee
def _choose_steps(after_diagonal, after_across, after_down, steps, totals):
    """Choose the last step to each cell of a row; the diagonal one if as good."""
    for j in range(len(totals)):
        step, total = DIAGONAL, after_diagonal[j]
        if after_across[j] < total:
            step, total = ACROSS, after_across[j]
        if after_down[j] < total:
            step, total = DOWN, after_down[j]
        if after_across[j] < after_diagonal[j]:
            step += AFTER_ACROSS
        if after_down[j] < after_diagonal[j]:
            step += AFTER_DOWN
        steps[j], totals[j] = step, total


def trace_limited(
    costs: np.ndarray, steps: LimitedSteps, limits: RunLimits, end: int
) -> tuple[np.ndarray, float]:
    """Trace the path back that `accumulate_limited` found.

    Parameters
    ----------
    costs : ndarray of float64 of shape (n, m)
        The local costs.
    steps : LimitedSteps
        The steps that `accumulate_limited` returned.
    limits : RunLimits
        The longest run, and the weights of steps.
    end : int
        Column of the last cell, in the last row.

    Returns
    -------
    path : ndarray of int64 of shape (length, 2)
        The path.
    cost : float
        Its cost, without the addition of its begin.
    """
    return _trace_limited(costs, *steps, limits.diagonal, limits.penalty, end)


@jit_ieee
def _trace_limited(costs, steps, across_from, down_from, diagonal, penalty, end):
    n = len(costs)
    path = np.empty((n + end, 2), np.int64)
    i, j, at = n - 1, end, n + end
    step = steps[i, j] & STEP_BITS
    while True:
        if step == DIAGONAL:
            at -= 1
            path[at, 0], path[at, 1] = i, j
            if i == 0:
                break
            i, j = i - 1, j - 1
            step = steps[i, j] & STEP_BITS
        elif step == ACROSS:
            begin = across_from[i, j]
            while j > begin:
                at -= 1
                path[at, 0], path[at, 1] = i, j
                j -= 1
            step = DOWN if steps[i, j] & AFTER_DOWN else DIAGONAL
        else:
            begin = down_from[i, j]
            while i > begin:
                at -= 1
                path[at, 0], path[at, 1] = i, j
                i -= 1
            step = ACROSS if steps[i, j] & AFTER_ACROSS else DIAGONAL
    total = costs[0, j]
    for cell in range(at + 1, n + end):
        i, j = path[cell, 0], path[cell, 1]
        if i > path[cell - 1, 0] and j > path[cell - 1, 1]:
            total += diagonal * costs[i, j]
        else:
            total += costs[i, j] + penalty
    return path[at:], total
