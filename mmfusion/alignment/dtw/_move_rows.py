"""Dynamic time warping with any step pattern, row by row.

A move that leads to another row starts from totals of earlier rows, so that a row is
computed move by move, in loops over columns that compilers vectorise; moves within a
row follow, column by column. As many rows are kept as the pattern looks back. For the
trace, these rows are stored before every section of rows, from which the totals that
the path may cross are computed again: those of a move of at most S columns for each row
lie in a cone of this slope.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import ceil, inf, sqrt
from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit_ieee
from mmfusion._memory import check_fits
from mmfusion._threads import one_thread
from mmfusion.alignment.dtw._constraints import Constraints
from mmfusion.alignment.dtw._costs import GIVEN, Costs, fill_costs
from mmfusion.alignment.dtw._open_ratio import PathAndCost, path_of_least_ratio
from mmfusion.alignment.dtw._step_patterns import StepPattern
from mmfusion.alignment.dtw._windows import Window

MAX_MOVE_TABLES = 64  # step patterns whose move tables are cached
ROWS_OF_COSTS = 8  # rows whose local costs are computed at a time
COLUMNS_PER_PASS = 2048  # columns of a row that stay in the cache for all moves
SMALLEST_SECTION_ROWS = 32  # rows that the trace recomputes at a time, at least
CELLS_PER_SECTION_ROW = 2**20  # of the table, as in `_row_blocks`


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


class RowBuffers(NamedTuple):
    """Rows of costs and totals; row i is row ``i % n_rows`` of the arrays.

    Parameters
    ----------
    totals, costs : ndarray of float64 of shape (n_rows, n_columns)
        Least costs of paths to cells, and local costs; infinite outside of the window
        as far as moves reach, undefined beyond.
    tile : ndarray of shape (ROWS_OF_COSTS * n_columns,)
        Local costs in their own dtype.
    sums : ndarray of float64 of shape (COLUMNS_PER_PASS,)
        Totals along a move.
    """

    totals: np.ndarray
    costs: np.ndarray
    tile: np.ndarray
    sums: np.ndarray


class Sections(NamedTuple):
    """Division of the rows into sections, which the trace recomputes one by one.

    Parameters
    ----------
    n_rows : int
        Rows of a section.
    look_back : int
        Rows that the pattern looks back.
    slope : float
        Most columns that a path covers per row.
    above : ndarray of float64 of shape (n_sections, look_back, m)
        Totals of the rows above each section. Empty where no path is wanted.
    """

    n_rows: int
    look_back: int
    slope: float
    above: np.ndarray


def path_by_rows(
    costs: Costs, window: Window, constraints: Constraints, *, wants_path: bool = True
) -> PathAndCost:
    """Find the best path of any step pattern.

    Parameters
    ----------
    costs : Costs
        The local costs.
    window : Window
        The cells that a path may visit; rows over which moves leap may have none.
    constraints : Constraints
        Step pattern, penalty and open ends.
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
        If the rows that are kept do not fit into memory.
    """
    if costs.kind == GIVEN:  # numba compiles read-only arrays separately
        given = np.require(costs.x, requirements=["C", "W"])
        costs = costs._replace(x=given, y=given[:0])

    def finder(costs: Costs, constraints: Constraints) -> Callable[..., PathAndCost]:
        def find(begins: np.ndarray, ratio: float | None) -> PathAndCost:
            # a path is also traced where its number of frames is needed
            traces = wants_path or constraints.ratio_depends_on_begin
            return _path_of_moves(costs, window, constraints, begins, ratio, traces)

        return find

    return path_of_least_ratio(finder, costs, constraints)


def _path_of_moves(
    costs: Costs,
    window: Window,
    constraints: Constraints,
    begins: np.ndarray,
    ratio: float | None,
    traces: bool,
) -> PathAndCost:
    n, m = costs.n, costs.m
    moves = _moves_within(move_table(constraints.pattern, constraints.penalty), n, m)
    sections = _make_sections(n, m, moves, traces)
    n_kept = sections.look_back + 1
    buffers = RowBuffers(
        np.full((n_kept, m), np.inf),
        np.full((n_kept, m), np.inf),
        np.empty(min(ROWS_OF_COSTS, n) * m, costs.x.dtype),
        np.empty(min(COLUMNS_PER_PASS, m)),
    )
    with one_thread():
        _accumulate(costs, window, moves, begins, buffers, sections)
        totals = buffers.totals[(n - 1) % n_kept]
        end = constraints.best_end(totals, n, ratio)
        cost = float(totals[end])
        if not traces or not np.isfinite(cost):
            return None, cost
        path, path_cost = _trace(costs, window, moves, begins, sections, end)
    # for a ratio, totals include an addition for the begin
    return path, cost if ratio is None else path_cost


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


def _moves_within(moves: MoveTable, n: int, m: int) -> MoveTable:
    """Return the moves that fit into n rows and m columns, at least as arrays."""
    fits = (moves.origins < [n, m]).all(axis=1)
    if fits.all():
        return moves
    lengths = np.diff(moves.starts)
    cells = np.repeat(fits, lengths)
    return MoveTable(
        np.concatenate([[0], np.cumsum(lengths[fits])]),
        moves.rows[cells],
        moves.columns[cells],
        moves.weights[cells],
        moves.prices[cells],
        moves.origins[fits],
    )


def _make_sections(n: int, m: int, moves: MoveTable, traces: bool) -> Sections:
    """Choose sections for which the rows above them and their own take little memory.

    Raises
    ------
    ValueError
        If they do not fit into memory.
    """
    look_back, reach = moves.origins.max(axis=0, initial=0).tolist()
    rows, columns = moves.origins.T
    slope = inf if (rows == 0).any() else max((columns / rows).tolist(), default=0.0)
    # n m look_back / n_rows totals above sections, and costs and totals of a section of
    # n_rows x (slope n_rows), or n_rows x m without a slope: their sum is least for
    most = sqrt(n * look_back / 2)
    if slope < inf:
        most = min(n, (n * m * look_back / (4 * max(slope, 1))) ** (1 / 3))
    n_rows = max(SMALLEST_SECTION_ROWS, min(n * m // CELLS_PER_SECTION_ROW, int(most)))
    n_rows = max(n_rows, look_back)
    n_sections = -(-n // n_rows) * int(traces)
    width = m if slope == inf else min(m, ceil(slope * (n_rows + look_back)) + reach)
    n_totals = n_sections * look_back * m
    n_totals += 2 * (n_rows + look_back) * width * int(traces)
    n_totals += 2 * (look_back + 1) * m
    check_fits(
        n_totals * np.dtype(np.float64).itemsize,
        f"the path through {n} and {m} frames",
        "take its cost alone (dtw_distance), or shorten the sequences"
        if traces
        else "shorten the sequences",
    )
    return Sections(n_rows, look_back, slope, np.empty((n_sections, look_back, m)))


@jit_ieee
def _accumulate(costs, window, moves, begins, buffers, sections):
    """Compute the totals of all rows; the last ones stay in the buffers."""
    n, n_rows, look_back = costs.n, sections.n_rows, sections.look_back
    n_kept = len(buffers.totals)
    for i0 in range(0, n, n_rows):
        if len(sections.above):
            for i in range(max(0, i0 - look_back), i0):
                above = sections.above[i0 // n_rows, i - i0 + look_back]
                above[:] = buffers.totals[i % n_kept]
        i1 = min(n, i0 + n_rows)
        _fill_rows(costs, window, moves, begins, i0, i0, i1, 0, look_back, buffers)


@jit_ieee
def _fill_rows(costs, window, moves, begins, i0, first, i1, begin, look_back, buffers):
    """Compute the costs of rows i0 to i1 and the totals of those from `first` on.

    ``begin`` is the first column of the buffers.
    """
    n, n_kept = costs.n, len(buffers.totals)
    end = begin + buffers.totals.shape[1]
    reach = 0
    for k in range(len(moves.origins)):
        reach = max(reach, moves.origins[k, 1])
    tile = fill_costs(costs, i0, i0, begin, begin, buffers.tile)
    left = begin
    for i in range(i0, i1):
        if (i - i0) % ROWS_OF_COSTS == 0:
            last = min(i + ROWS_OF_COSTS, i1)
            left = min(max(window.starts[i], begin), end)
            right = max(left, min(window.stops[last - 1], end))
            if left < right:
                tile = fill_costs(costs, i, last, left, right, buffers.tile)
        start = min(max(window.starts[i], begin), end)
        stop = max(start, min(window.stops[i], end))
        # infinite outside of the window, as far as moves to later rows look
        clear_from = max(start - reach, begin) - begin
        clear_to = max(stop, min(window.stops[min(i + look_back, n - 1)], end)) - begin
        own = buffers.costs[i % n_kept]
        own[clear_from : start - begin] = np.inf
        own[stop - begin : clear_to] = np.inf
        if start < stop:
            row = tile[(i - i0) % ROWS_OF_COSTS]
            _copy_costs(
                row[start - left : stop - left], own[start - begin : stop - begin]
            )
        if i < first:
            continue
        totals = buffers.totals[i % n_kept]
        totals[clear_from:clear_to] = np.inf
        if i == 0:
            for j in range(start, stop):
                totals[j - begin] = begins[j] + own[j - begin]
        for j in range(start, stop, COLUMNS_PER_PASS):
            j1 = min(stop, j + COLUMNS_PER_PASS)
            _move_to_row(moves, i, j - begin, j1 - begin, buffers)
        _move_within_row(moves, start - begin, stop - begin, own, totals)


@jit_ieee
def _copy_costs(source, target):
    for j in range(len(source)):
        target[j] = source[j]


@jit_ieee
def _move_to_row(moves, i, start, stop, buffers):
    """Lower the totals of columns of row i by all moves from earlier rows."""
    n_kept = len(buffers.totals)
    totals = buffers.totals[i % n_kept]
    for k in range(len(moves.origins)):
        rows, columns = moves.origins[k]
        begin = max(start, columns)
        if rows == 0 or rows > i or begin >= stop:
            continue
        before = buffers.totals[(i - rows) % n_kept]
        sums = before[begin - columns : stop - columns]
        last = moves.starts[k + 1] - 1
        for cell in range(moves.starts[k], last + 1):
            row = buffers.costs[(i - moves.rows[cell]) % n_kept]
            shift = moves.columns[cell]
            added = row[begin - shift : stop - shift]
            weight, price = moves.weights[cell], moves.prices[cell]
            if cell < last:
                _add_costs(sums, added, weight, price, buffers.sums)
                sums = buffers.sums[: stop - begin]
            else:
                _lower_totals(sums, added, weight, price, totals[begin:stop])


@jit_ieee
def _add_costs(sums, costs, weight, price, out):
    """Add the weighted costs of a cell of a move."""
    for j in range(len(sums)):
        out[j] = sums[j] + (weight * costs[j] + price)


@jit_ieee
def _lower_totals(sums, costs, weight, price, totals):
    """Add those of the last cell, and lower the totals to the sums."""
    for j in range(len(sums)):
        total = sums[j] + (weight * costs[j] + price)
        # false for NaN, 0 times infinity: a cell is forbidden at any weight
        totals[j] = total if total < totals[j] else totals[j]


@jit_ieee
def _move_within_row(moves, start, stop, costs, totals):
    """Lower the totals of a row by the moves from its own earlier columns."""
    n_within, only = 0, 0
    for k in range(len(moves.origins)):
        if moves.origins[k, 0] == 0:
            n_within, only = n_within + 1, k
    if n_within == 0:
        return
    if n_within == 1 and moves.origins[only, 1] == 1:
        cell = moves.starts[only]
        weight, price = moves.weights[cell], moves.prices[cell]
        before = np.inf
        for j in range(start, stop):
            total = before + (weight * costs[j] + price)
            before = total if total < totals[j] else totals[j]
            totals[j] = before
        return
    for j in range(start, stop):
        for k in range(len(moves.origins)):
            columns = moves.origins[k, 1]
            if moves.origins[k, 0] == 0 and columns <= j:
                total = totals[j - columns]
                for cell in range(moves.starts[k], moves.starts[k + 1]):
                    cost = costs[j - moves.columns[cell]]
                    total += moves.weights[cell] * cost + moves.prices[cell]
                if total < totals[j]:
                    totals[j] = total


@jit_ieee
def _trace(costs, window, moves, begins, sections, end):
    """Trace the best path back; return it with its cost, without that of its begin."""
    n, n_rows, look_back = costs.n, sections.n_rows, sections.look_back
    path, added = np.empty((n + end, 2), np.int64), np.empty(n + end)
    i, j, at, begun = n - 1, end, n + end, False
    while not begun:
        i0 = i // n_rows * n_rows
        n_kept = i - i0 + 1 + look_back
        begin = 0
        if sections.slope < np.inf:
            begin = max(0, j - int(sections.slope * n_kept) - 1)
        width = j + 1 - begin
        buffers = RowBuffers(
            np.empty((n_kept, width)),
            np.empty((n_kept, width)),
            np.empty(ROWS_OF_COSTS * width, costs.x.dtype),
            np.empty(min(COLUMNS_PER_PASS, width)),
        )
        first = max(0, i0 - look_back)
        for q in range(first, i0):
            row = sections.above[i0 // n_rows, q - i0 + look_back]
            buffers.totals[q % n_kept] = row[begin : j + 1]
        _fill_rows(
            costs, window, moves, begins, first, i0, i + 1, begin, look_back, buffers
        )
        i, j, at, begun = _trace_section(
            moves, begins, i, j, i0, begin, buffers, path, added, at
        )
    total = added[at]  # in the order of the recurrence, so that rounding is the same
    for cell in range(at + 1, n + end):
        total += added[cell]
    return path[at:], total


@jit_ieee
def _trace_section(moves, begins, i, j, i0, begin, buffers, path, added, at):
    """Trace the path back from cell (i, j) to above row i0, or to its begin.

    Return its next cell, the number of its first cell in ``path``, and whether the path
    begins there. ``added`` becomes what each cell adds to the cost.
    """
    n_kept = len(buffers.totals)
    while i >= i0:
        k = _last_move(moves, begins, i, j, begin, buffers)
        if k < 0:
            at -= 1
            path[at, 0], path[at, 1] = i, j
            added[at] = buffers.costs[i % n_kept, j - begin]
            return i, j, at, True
        for cell in range(moves.starts[k + 1] - 1, moves.starts[k] - 1, -1):
            at -= 1
            row, column = i - moves.rows[cell], j - moves.columns[cell]
            path[at, 0], path[at, 1] = row, column
            cost = buffers.costs[row % n_kept, column - begin]
            added[at] = moves.weights[cell] * cost + moves.prices[cell]
        i, j = i - moves.origins[k, 0], j - moves.origins[k, 1]
    return i, j, at, False


@jit_ieee
def _last_move(moves, begins, i, j, begin, buffers):
    """Return the move by which the best path came to a cell; -1 where it begins."""
    n_kept, least, best = len(buffers.totals), np.inf, -1
    if i == 0:
        least = begins[j] + buffers.costs[i % n_kept, j - begin]
    for k in range(len(moves.origins)):
        rows, columns = moves.origins[k]
        if rows > i or columns > j - begin:
            continue
        total = buffers.totals[(i - rows) % n_kept, j - columns - begin]
        for cell in range(moves.starts[k], moves.starts[k + 1]):
            row = (i - moves.rows[cell]) % n_kept
            cost = buffers.costs[row, j - moves.columns[cell] - begin]
            total += moves.weights[cell] * cost + moves.prices[cell]
        if total < least:
            least, best = total, k
    return best
