"""Dynamic time warping in a full table of totals, for runs of limited length."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mmfusion._memory import check_fits
from mmfusion._threads import one_thread
from mmfusion.alignment.dtw._compilation import jit_ieee
from mmfusion.alignment.dtw._constraints import Constraints
from mmfusion.alignment.dtw._costs import Costs, cost_matrix
from mmfusion.alignment.dtw._open_ratio import PathAndCost, path_of_least_ratio
from mmfusion.alignment.dtw._windows import Window, mask_outside

TABLE_BYTES_PER_CELL = 40  # of costs, totals and steps, at most

# the last step of a path to a cell
DIAGONAL, ACROSS, DOWN = range(3)
STEP_BITS = 3
# flags of a cell: a run down from it follows a run across, a run across one down
AFTER_ACROSS, AFTER_DOWN = 4, 8


def path_by_table(
    costs: Costs, window: Window, constraints: Constraints, *, wants_path: bool = True
) -> PathAndCost:
    """Find the best path of single steps whose straight runs are limited.

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
        "shorten the sequences, or leave max_jump out, which needs no table",
    )

    def finder(costs: Costs, constraints: Constraints) -> Callable[..., PathAndCost]:
        with one_thread():
            table = cost_matrix(costs).astype(np.float64, copy=False)
        if not window.whole:
            mask_outside(table, window, 0, 0)

        def find(begins: np.ndarray, ratio: float | None) -> PathAndCost:
            return _path_of_limited_runs(table, constraints, begins, ratio)

        return find

    return path_of_least_ratio(finder, costs, constraints)


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
