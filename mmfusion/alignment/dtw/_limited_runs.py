"""Dynamic time warping with runs of limited length, row by row.

As many rows are kept as a run may have steps. For the trace each cell has its last step
and the lengths of the runs that end there, in one byte each where runs have at most
255 steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit_ieee
from mmfusion._memory import check_fits
from mmfusion._threads import one_thread
from mmfusion.alignment.dtw._constraints import Constraints
from mmfusion.alignment.dtw._costs import GIVEN, Costs, fill_costs
from mmfusion.alignment.dtw._open_ratio import PathAndCost, path_of_least_ratio
from mmfusion.alignment.dtw._windows import Window

ROWS_OF_COSTS = 8  # rows whose local costs are computed at a time
BYTES_PER_KEPT_CELL = 28  # of entries, costs, tails, and where these begin, at most

# the last step of a path to a cell
DIAGONAL, ACROSS, DOWN = range(3)
STEP_BITS = 3
# flags of a cell: a run down from it follows a run across, a run across one down
AFTER_ACROSS, AFTER_DOWN = 4, 8


def path_of_limited_runs(
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
        Whether the path is traced.

    Returns
    -------
    path : ndarray of int64 of shape (length, 2) or None
        The path; None if it is not wanted, or none has a finite cost.
    cost : float
        Its cost.

    Raises
    ------
    ValueError
        If the steps, or the rows that are kept, do not fit into memory.
    """
    if costs.kind == GIVEN:  # numba compiles read-only arrays separately
        given = np.require(costs.x, requirements=["C", "W"])
        costs = costs._replace(x=given, y=given[:0])

    def finder(costs: Costs, constraints: Constraints) -> Callable[..., PathAndCost]:
        def find(begins: np.ndarray, ratio: float | None) -> PathAndCost:
            # a path is also traced where its number of frames is needed
            traces = wants_path or constraints.ratio_depends_on_begin
            return _path_of_limited_runs(
                costs, window, constraints, begins, ratio, traces
            )

        return find

    return path_of_least_ratio(finder, costs, constraints)


def _path_of_limited_runs(
    costs: Costs,
    window: Window,
    constraints: Constraints,
    begins: np.ndarray,
    ratio: float | None,
    traces: bool,
) -> PathAndCost:
    longest, diagonal = constraints.max_jump, constraints.diagonal_weight
    limits = RunLimits(longest or 0, float(diagonal or 1), constraints.penalty)
    with one_thread():
        totals, steps = accumulate_limited(costs, window, limits, begins, traces)
    end = constraints.best_end(totals, costs.n, ratio)
    cost = float(totals[end])
    if not traces or not np.isfinite(cost):
        return None, cost
    path = _trace_limited(*steps, costs.n, end)
    # for a ratio, totals include an addition for the begin
    return path, cost if ratio is None else _cost_of_path(costs, limits, path)


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
    """The last steps of the best paths to all cells, or to those of the last row.

    Parameters
    ----------
    steps : ndarray of uint8 of shape (n, m) or (1, m)
        DIAGONAL, ACROSS or DOWN; plus AFTER_ACROSS if the best path for a run down from
        the cell comes by a run across, plus AFTER_DOWN if that for a run across comes
        by a run down.
    across, down : ndarray of uint8, uint16 or int32, of the same shape
        Steps of the run across and of the run down that end in a cell.
    """

    steps: np.ndarray
    across: np.ndarray
    down: np.ndarray


class KeptRows(NamedTuple):
    """Rows of a block, from which runs down may begin.

    Parameters
    ----------
    entries : ndarray of float64 of shape (min(longest, n), m)
        Totals from which a run down may begin.
    costs : ndarray of float64 of shape (longest, m), or (1, m)
        Local costs; not used where all rows are one block.
    tails : ndarray of float64 of shape (n_tails, m)
        Least sum of a run from each row of the last block, or a later one, to its end;
        for the first rows, if fewer follow the block.
    tails_from : ndarray of int32 of shape (n_tails, m)
        Row where that run begins.
    """

    entries: np.ndarray
    costs: np.ndarray
    tails: np.ndarray
    tails_from: np.ndarray


def accumulate_limited(
    costs: Costs,
    window: Window,
    limits: RunLimits,
    begins: np.ndarray,
    traces: bool,
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
    costs : Costs
        Local costs.
    window : Window
        The cells that a path may visit.
    limits : RunLimits
        The longest run, and the weights of steps.
    begins : ndarray of float64 of shape (m,)
        Cost that a path which begins in a cell of the first row has in addition to that
        of the cell; inf where none may begin.
    traces : bool
        Whether the steps of all rows are kept.

    Returns
    -------
    totals : ndarray of shape (m,)
        Least cost of a path to each cell of the last row.
    steps : LimitedSteps
        The last steps of the best paths.
    """
    n, m = costs.n, costs.m
    longest = max(1, min(limits.longest, max(n, m)))
    # runs of all rows need no rows of an earlier block
    n_kept = min(longest, n)
    n_costs = longest if longest < n else 1
    n_tails = min(longest, max(n - longest, 1))
    length = np.min_scalar_type(longest)
    length = length if length in (np.uint8, np.uint16) else np.dtype(np.int32)
    n_stored = n if traces else 1
    n_bytes = n_stored * m * (1 + 2 * length.itemsize)
    check_fits(
        n_bytes + n_kept * m * BYTES_PER_KEPT_CELL,
        f"the path with max_jump through {n} and {m} frames",
        "take its cost alone (dtw_distance), or shorten the sequences"
        if traces
        else "shorten the sequences, or set a smaller max_jump",
    )
    steps = LimitedSteps(
        np.empty((n_stored, m), np.uint8),
        np.zeros((n_stored, m), length),
        np.zeros((n_stored, m), length),
    )
    rows = KeptRows(
        np.empty((n_kept, m)),
        np.empty((n_costs, m)),
        np.empty((n_tails, m)),
        np.empty((n_tails, m), np.int32),
    )
    tile = np.empty(min(ROWS_OF_COSTS, n) * m, costs.x.dtype)
    allowed = limits.longest > 0
    weights = limits.diagonal, limits.penalty
    totals = _accumulate_limited(
        costs, window, longest, allowed, weights, begins, rows, tile, steps
    )
    return totals, steps


@jit_ieee
def _accumulate_limited(
    costs, window, longest, allowed, weights, begins, rows, buffer, steps
):
    """Fill `steps`, and return the totals of the last row."""
    n, m = costs.n, costs.m
    diagonal, penalty = weights
    n_stored, n_kept = len(steps.steps), len(rows.costs)
    totals = np.full(m, np.inf)  # of the row above
    own = np.empty(m)
    after_diagonal, after_down = np.empty(m), np.empty(m)
    after_across, not_across = np.empty(m), np.empty(m)
    runs = np.full(m, np.inf), np.zeros(m), np.zeros(m, np.int32)
    tails = np.empty(longest), np.empty(longest, np.int32)
    tile = fill_costs(costs, 0, min(ROWS_OF_COSTS, n), 0, m, buffer)
    for i in range(n):
        if i % ROWS_OF_COSTS == 0 and i > 0:
            tile = fill_costs(costs, i, min(i + ROWS_OF_COSTS, n), 0, m, buffer)
        _copy_inside(tile[i % ROWS_OF_COSTS], window.starts[i], window.stops[i], own)
        _step_diagonally(own, i, begins, totals, diagonal, after_diagonal)
        after_down[:] = np.inf
        if allowed and i > 0:
            down = steps.down[i % n_stored]
            _run_down(own, i, longest, penalty, rows, runs, after_down, down)
        for j in range(m):
            not_across[j] = min(after_diagonal[j], after_down[j])
        after_across[:] = np.inf
        if allowed:
            across = steps.across[i % n_stored]
            _run_across(own, longest, penalty, not_across, tails, after_across, across)
        last = steps.steps[i % n_stored]
        _choose_steps(after_diagonal, after_across, after_down, last, totals)
        if allowed:
            entries = rows.entries[i % longest]
            for j in range(m):
                entries[j] = min(after_diagonal[j], after_across[j])
            if n_kept == longest:
                rows.costs[i % longest] = own
    return totals


@jit_ieee
def _copy_inside(costs, start, stop, out):
    """Copy a row of costs, which are infinite outside of the window."""
    out[:] = np.inf
    for j in range(start, stop):
        out[j] = costs[j]


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
def _run_down(costs, i, longest, penalty, rows, runs, totals, lengths):
    """Compute the totals of row i after a run down.

    ``runs`` are, by column, the least sum of a run that begins in the block of this
    row, the sum of all steps in the block, and the row where that run begins.
    """
    lowest, sums, begins = runs
    offset = (i - 1) % longest
    if offset == 0:  # a new block: runs from the last one enter by its tails
        if i > longest:
            _sum_tails_of_rows(rows, penalty, i - 1 - longest, lowest, sums, begins)
        lowest[:] = np.inf
        sums[:] = 0.0
    entries = rows.entries[offset]
    for j in range(len(costs)):
        if entries[j] < lowest[j]:
            lowest[j], begins[j] = entries[j], i - 1
        lowest[j] += costs[j] + penalty
        sums[j] += costs[j] + penalty
        totals[j], lengths[j] = lowest[j], i - begins[j]
    if i > longest and offset + 1 < longest:
        tails, tails_from = rows.tails[offset + 1], rows.tails_from[offset + 1]
        for j in range(len(costs)):
            from_tail = tails[j] + sums[j]
            if from_tail < totals[j]:
                totals[j], lengths[j] = from_tail, i - tails_from[j]


@jit_ieee
def _sum_tails_of_rows(rows, penalty, first, least, total, at):
    """Compute the tails of the block of rows that begins with row `first`.

    As `_sum_tails` does, for all columns; `least`, `total` and `at` are overwritten.
    """
    longest = len(rows.costs)
    least[:] = np.inf
    total[:] = 0.0
    at[:] = first
    for q in range(longest - 1, -1, -1):
        costs, entries = rows.costs[(first + 1 + q) % longest], rows.entries[q]
        for j in range(len(costs)):
            total[j] += costs[j] + penalty
            if entries[j] + total[j] < least[j]:
                least[j], at[j] = entries[j] + total[j], first + q
        if q < len(rows.tails):
            rows.tails[q], rows.tails_from[q] = least, at


@jit_ieee
def _run_across(costs, longest, penalty, entries, tails, totals, lengths):
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
        totals[j], lengths[j] = total, j - at


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


@jit_ieee
def _trace_limited(steps, across, down, n, end):
    """Trace the path back from column `end` of the last of n rows."""
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
            begin = j - np.int64(across[i, j])
            while j > begin:
                at -= 1
                path[at, 0], path[at, 1] = i, j
                j -= 1
            step = DOWN if steps[i, j] & AFTER_DOWN else DIAGONAL
        else:
            begin = i - np.int64(down[i, j])
            while i > begin:
                at -= 1
                path[at, 0], path[at, 1] = i, j
                i -= 1
            step = ACROSS if steps[i, j] & AFTER_ACROSS else DIAGONAL
    return path[at:]


def _cost_of_path(costs: Costs, limits: RunLimits, path: np.ndarray) -> float:
    """Sum the weighted costs of the cells of a path."""
    with one_thread():
        return _sum_path(costs, limits.diagonal, limits.penalty, path)


@jit_ieee
def _sum_path(costs, diagonal, penalty, path):
    cell, total = np.empty(1, costs.x.dtype), 0.0
    for k in range(len(path)):
        i, j = path[k]
        cost = np.float64(fill_costs(costs, i, i + 1, j, j + 1, cell)[0, 0])
        if k == 0:
            total += cost
        elif i > path[k - 1, 0] and j > path[k - 1, 1]:
            total += diagonal * cost
        else:
            total += cost + penalty
    return total
