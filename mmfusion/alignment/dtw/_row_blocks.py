"""Dynamic time warping in blocks of sixteen rows, which advance along anti-diagonals.

Row k of a block is at column t - k in step t, so that the cells of a step depend on
earlier steps only and are computed together:
``D_ij = min(D_i,j-1 + c_ij + b, D_i-1,j-1 + a c_ij, D_i-1,j + c_ij + b)`` with the
weight a of a diagonal step and the price b of another. Of the table D, checkpoints are
kept: the row above every section of rows, and the last two steps of every row block at
every `interval`-th anti-diagonal. From these the trace recomputes the parts of D that
the path crosses.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from mmfusion._compilation import jit
from mmfusion._memory import check_fits
from mmfusion._simd import (
    WIDTH,
    load,
    load_skewed,
    maximum,
    minimum,
    no_inline,
    select,
    shift,
    splat,
    store,
)
from mmfusion.alignment.dtw._constraints import Constraints
from mmfusion.alignment.dtw._costs import SQUARED, Costs
from mmfusion.alignment.dtw._panels import (
    SPARE_COLUMNS,
    aligned_array,
    fill_panel,
    pack_frames,
)
from mmfusion.alignment.dtw._windows import Window, band

STEPS_PER_PASS = 128  # steps whose costs and totals stay in the cache
HALO = WIDTH - 1  # columns by which the last row of a block lags behind the first
SMALLEST_SECTION = 2 * WIDTH  # rows that the trace recomputes at a time, at least
CELLS_PER_SECTION_ROW = 2**20  # of the table; then checkpoints of float64 need 16 MB


class RowBlock(NamedTuple):
    """Rows that advance together, and their columns within the window.

    Parameters
    ----------
    row : int
        The first row.
    n_rows : int
        Number of rows; vectors repeat the window of the last beyond it.
    begin, end : int
        First column within the window of any row, and the one after the last.
    inner_begin, inner_end : int
        The same of the columns within the windows of all rows.
    starts, stops, offsets : ndarray of shape (WIDTH,)
        First column of each row and the one after its last, and the number of the row
        in the block, in the dtype of the costs.
    """

    row: int
    n_rows: int
    begin: int
    end: int
    inner_begin: int
    inner_end: int
    starts: np.ndarray
    stops: np.ndarray
    offsets: np.ndarray


class Workspace(NamedTuple):
    """Arrays that `accumulate` overwrites.

    Parameters
    ----------
    panel : ndarray of shape ((STEPS_PER_PASS + HALO + SPARE_COLUMNS) * WIDTH,)
        Costs of columns, WIDTH numbers each.
    trail : ndarray of shape ((STEPS_PER_PASS + 2) * WIDTH,)
        Accumulated costs of the last two steps, and of those of a pass.
    row, next_row : ndarray of shape (m + 1 + 2 * WIDTH,)
        Accumulated costs of the row above a block and of its last row, from column -1
        on.
    n_rows : ndarray of int64 of shape (1,)
        Rows that were accumulated, of the last pair.
    """

    panel: np.ndarray
    trail: np.ndarray
    row: np.ndarray
    next_row: np.ndarray
    n_rows: np.ndarray


class Checkpoints(NamedTuple):
    """Parts of the table of accumulated costs that are kept for the trace.

    Parameters
    ----------
    n_rows : int
        Rows of a section, a multiple of WIDTH.
    interval : int
        Anti-diagonals between checkpoints, a multiple of STEPS_PER_PASS.
    rows : ndarray of shape (n_sections, m + 1 + 2 * WIDTH)
        The row above each section. Empty where no path is wanted.
    steps : ndarray of shape (n_row_blocks, n_checkpoints, 2 * WIDTH)
        The last two steps of each row block before each checkpoint. Empty likewise.
    """

    n_rows: int
    interval: int
    rows: np.ndarray
    steps: np.ndarray


def path_by_row_blocks(
    costs: Costs, window: Window, constraints: Constraints, *, wants_path: bool
) -> tuple[np.ndarray | None, float]:
    """Find the best path of single steps whose weights are 1, or 2 on the diagonal.

    Parameters
    ----------
    costs : Costs
        The local costs.
    window : Window
        The cells that a path may visit.
    constraints : Constraints
        Step pattern, penalty and open ends.
    wants_path : bool
        Whether the path is traced.

    Returns
    -------
    path : ndarray of int64 of shape (length, 2) or None
        The path; None if it is not wanted, or none has a finite cost.
    cost : float
        Its cost.
    """
    n, m, dtype = costs.n, costs.m, costs.x.dtype
    weights = step_weights(constraints, dtype)
    # checks that they fit into memory, before frames are copied
    checkpoints = make_checkpoints(n, m, dtype, wants_path=wants_path)
    frames, work = pack_frames(costs), make_workspace(m, dtype)
    if constraints.open_begin:  # the total before column j is that of column j - 1
        work.row[:m] = constraints.begin_costs(m)
    else:
        work.row[0] = corner_total(frames, 0, 0, weights, work)
    no_bounds = np.empty(0)
    last = accumulate(
        frames, 0, 0, m, window, weights, work, checkpoints, no_bounds, np.inf
    )
    end = constraints.best_end(last, n) if constraints.open_end else m - 1
    cost = float(last[end])
    if not wants_path or not np.isfinite(cost):
        return None, cost
    return trace_path(frames, 0, 0, window, weights, work, checkpoints, end), cost


def step_weights(constraints: Constraints, dtype: DTypeLike) -> np.ndarray:
    """Return the weight of a diagonal step, and the price of another.

    Parameters
    ----------
    constraints : Constraints
        The constraints of the path.
    dtype : dtype
        Type of the costs.

    Returns
    -------
    ndarray of shape (2,)
        Both numbers.
    """
    with np.errstate(over="ignore"):  # an infinite price forbids straight steps
        return np.array([constraints.diagonal_weight, constraints.penalty], dtype)


def make_workspace(m: int, dtype: DTypeLike) -> Workspace:
    """Allocate the arrays that `accumulate` overwrites.

    Parameters
    ----------
    m : int
        Number of frames of the second sequence.
    dtype : dtype
        Type of the costs.

    Returns
    -------
    Workspace
        The arrays; `row` is infinite.
    """
    row = np.full(m + 1 + 2 * WIDTH, np.inf, dtype)
    # aligned to lines of the cache, which vectors fill
    panel = aligned_array((STEPS_PER_PASS + HALO + SPARE_COLUMNS) * WIDTH, row)
    trail = aligned_array((STEPS_PER_PASS + 2) * WIDTH, row)
    return Workspace(panel, trail, row, row.copy(), np.zeros(1, np.int64))


def make_checkpoints(
    n: int, m: int, dtype: DTypeLike, *, wants_path: bool
) -> Checkpoints:
    """Allocate the checkpoints, whose size grows slower than the table.

    Parameters
    ----------
    n, m : int
        Numbers of frames of the sequences.
    dtype : dtype
        Type of the costs.
    wants_path : bool
        Whether any are kept.

    Returns
    -------
    Checkpoints
        Uninitialised arrays.

    Raises
    ------
    ValueError
        If they do not fit into memory.
    """
    # up to 2**30 cells, the memory for n m / n_rows numbers does not grow; beyond, it
    # grows with (n m)**(2 / 3)
    n_rows = min(
        max(SMALLEST_SECTION, n * m // CELLS_PER_SECTION_ROW), int((n * m) ** (1 / 3))
    )
    n_rows = -(-max(n_rows, SMALLEST_SECTION) // WIDTH) * WIDTH
    interval = -(-2 * n_rows // STEPS_PER_PASS) * STEPS_PER_PASS
    n_sections, n_row_blocks = -(-n // n_rows), -(-n // WIDTH)
    n_checkpoints = (m + HALO + 2) // interval + 2
    kept = int(wants_path)
    rows = n_sections * kept, m + 1 + 2 * WIDTH
    steps = n_row_blocks * kept, n_checkpoints, 2 * WIDTH
    check_fits(
        (prod(rows) + prod(steps)) * np.dtype(dtype).itemsize,
        f"the path through {n} and {m} frames",
        "take its cost alone (dtw_distance), or shorten the sequences",
    )
    return Checkpoints(n_rows, interval, np.empty(rows, dtype), np.empty(steps, dtype))


@jit
def corner_total(frames, x0, y0, weights, work):
    """Return the total before the first cell, which counts once in any step pattern.

    Parameters
    ----------
    frames, x0, y0, weights, work
        Arguments of `accumulate`.

    Returns
    -------
    float
        The first cell is reached by a diagonal step of weight a, so that (1 - a) times
        its cost makes it count once. Infinite if that cost is, since the difference of
        infinities would be NaN.
    """
    if weights[0] == 1:
        return weights[0] * 0
    fill_panel(frames, x0, 1, y0, y0 + 1, work.panel, 0)
    if work.panel[0] == np.inf:
        return work.panel[0]
    return (1 - weights[0]) * work.panel[0]


@jit
def accumulate(
    frames, x0, y0, m, window, weights, work, checkpoints, rest_bounds, limit
):
    """Accumulate the costs of paths over all rows of a window.

    Parameters
    ----------
    frames : PackedFrames
        The frames of the sequences.
    x0, y0 : int
        Row block where the first sequence starts; frame where the second does.
    m : int
        Number of frames of the second.
    window : Window
        The cells that a path may visit.
    weights : ndarray of shape (2,)
        Weight of a diagonal step, and price of another.
    work : Workspace
        Arrays to overwrite. Its `row` holds the totals above the first row.
    checkpoints : Checkpoints
        Filled unless they are empty.
    rest_bounds : ndarray of shape (n + 1,)
        Lower bound of the costs of the rows from each on; read below a finite limit
        only.
    limit : float
        Cost above which no path is wanted.

    Returns
    -------
    ndarray of shape (m,)
        Accumulated costs of the last row; all infinite if none is within the limit.
    """
    # pieces of this loop that are functions of their own take few arrays: numba counts
    # references to each array that is passed, which takes longer than a short piece
    n, panel, trail = len(window.starts), work.panel, work.trail
    row, next_row, interval = work.row, work.next_row, checkpoints.interval
    vectors = np.empty((3, WIDTH), row.dtype)
    far = splat(row.dtype.type(np.inf))
    keeps = len(checkpoints.rows) > 0
    work.n_rows[0] = n
    for i in range(0, n, WIDTH):
        block = _row_block(window, i, vectors)
        if keeps and i % checkpoints.n_rows == 0:
            _copy_values(row, checkpoints.rows[i // checkpoints.n_rows])
        last = block.n_rows - 1
        beyond = window.stops[min(i + 2 * WIDTH, n) - 1]
        _clear_row(next_row, block.begin, block.end, beyond, i + WIDTH >= n)
        store(trail, 0, far)
        store(trail, WIDTH, far)
        t, t_end = block.begin, block.end + HALO + 2
        covered = t - HALO
        lowest = np.inf
        while t < t_end:
            to_checkpoint = interval - (i + t) % interval
            if keeps and (t == block.begin or to_checkpoint == interval):
                k = (i + t) // interval - i // interval
                _copy_step_pair(trail, 0, checkpoints.steps[i // WIDTH, k], 0)
            stop = min(t_end, t + min(STEPS_PER_PASS, to_checkpoint))
            reached, covered = _advance_pass(
                frames, x0, y0, block, t, stop, covered, panel, row[t:], trail, weights
            )
            begin, end = max(t, block.begin + last), min(reached, block.end + last)
            lowest = min(lowest, _copy_last_row(trail, t, begin, end, last, next_row))
            _copy_step_pair(trail, (reached - t) * WIDTH, trail, 0)
            t = reached
        row, next_row = next_row, row
        if limit < np.inf and lowest + rest_bounds[min(i + WIDTH, n)] > limit:
            row[:] = np.inf
            work.n_rows[0] = min(i + WIDTH, n)
            break
    return row[1 : m + 1]


@jit
def _copy_values(source, target):
    for j in range(len(target)):
        target[j] = source[j]


@jit
def _copy_step_pair(source, i, target, j):
    """Copy the totals of two steps."""
    store(target, j, load(source, i))
    store(target, j + WIDTH, load(source, i + WIDTH))


@jit
def _clear_row(row, begin, end, beyond, is_last):
    """Set columns to infinity that are read below and not written by a row block.

    Columns of the block are from ``begin`` to ``end``, those of the next to ``beyond``.
    """
    if is_last:
        row[:] = np.inf
    else:
        row[begin] = np.inf
        row[end + 1 : beyond + WIDTH + 1] = np.inf


@jit
def _copy_last_row(trail, t, begin, end, last, row):
    """Copy the totals of the last row in steps begin to end, and return the least.

    ``t`` is the first step of the pass in the trail.
    """
    lowest = np.inf
    for s in range(begin, end):
        value = trail[(s - t + 2) * WIDTH + last]
        row[s - last + 1] = value
        lowest = min(lowest, value)
    return lowest


@jit
def _row_block(window, row, vectors):
    """Return the row block that starts at a row; `vectors` become its arrays."""
    n_rows = min(WIDTH, len(window.starts) - row)
    for k in range(WIDTH):
        i = row + min(k, n_rows - 1)
        vectors[0, k], vectors[1, k] = window.starts[i], window.stops[i]
        vectors[2, k] = k
    last = row + n_rows - 1
    return RowBlock(
        row,
        n_rows,
        window.starts[row],
        window.stops[last],
        window.starts[last],
        window.stops[row],
        vectors[0],
        vectors[1],
        vectors[2],
    )


@jit
def _advance_pass(frames, x0, y0, block, t, t_end, covered, panel, top, trail, weights):
    """Advance a row block by at most STEPS_PER_PASS steps, from step t on.

    ``covered`` is the first column from t - HALO on that the panel does not hold.
    Return the next step, and the value of ``covered`` there.
    """
    no_inline()
    inner_begin, inner_end = block.inner_begin + HALO, block.inner_end
    if len(frames.reversed_y):
        # the window is tested in all steps of a pass or in none
        for turn in (inner_begin, inner_end):
            if t < turn:
                t_end = min(t_end, turn)
                break
        _step_through_differences(
            frames, x0, y0, block, t, t_end - t, top, trail, weights
        )
        return t_end, covered
    _cover_columns(frames, x0, y0, block, covered, t_end, panel, covered - t + HALO)
    _step_through_panel(panel, top, trail, t_end - t, weights)
    for q in range(0, HALO * WIDTH, WIDTH):  # columns that the next pass reads again
        store(panel, q, load(panel, q + (t_end - t) * WIDTH))
    return t_end, t_end


@jit
def _cover_columns(frames, x0, y0, block, j0, j1, panel, p):
    """Compute the costs of columns j0 to j1; infinite outside of the window."""
    begin, end = max(j0, block.begin), min(j1, block.end)
    if begin >= end:
        panel[p * WIDTH : (p + j1 - j0) * WIDTH] = np.inf
        return
    i0, q = x0 + block.row // WIDTH, p + begin - j0
    fill_panel(frames, i0, block.n_rows, y0 + begin, y0 + end, panel, q)
    panel[p * WIDTH : (p + begin - j0) * WIDTH] = np.inf
    panel[(p + end - j0) * WIDTH : (p + j1 - j0) * WIDTH] = np.inf
    starts, stops = load(block.starts, 0), load(block.stops, 0)
    far = splat(panel.dtype.type(np.inf))
    for j in range(begin, end):
        if block.inner_begin <= j < block.inner_end:
            continue
        at = splat(panel.dtype.type(j))
        q = (p + j - j0) * WIDTH
        cost = select(at < starts, far, load(panel, q))
        store(panel, q, select(at < stops, cost, far))


@jit
def _next_total(own, above, across, cost, a, b):
    """Return the totals of a step from those of the last two (see the recurrence)."""
    straight, diagonal = cost + b, cost * a
    return minimum(minimum(own + straight, across + diagonal), above + straight)


@jit
def _step_through_panel(panel, top, trail, n_steps, weights):
    """Compute the totals of steps whose costs are in a panel, from its column HALO on.

    ``top`` is the row above, from the column before the first step on. The first two
    vectors of the trail are the steps taken before.
    """
    a, b = splat(weights[0]), splat(weights[1])
    # row k - 1 is above row k: shifted by one row, the last step holds the cells above,
    # and the step before it those across
    own, across = load(trail, WIDTH), shift(load(trail, 0), top[0])
    for s in range(n_steps):
        cost = load_skewed(panel, s + HALO)
        above = shift(own, top[s + 1])
        own = _next_total(own, above, across, cost, a, b)
        across = above
        store(trail, (s + 2) * WIDTH, own)


@jit
def _step_through_differences(frames, x0, y0, block, t, n_steps, top, trail, weights):
    """Compute the totals of steps of a single feature, whose costs need no panel.

    The frames of an anti-diagonal are consecutive in the reversed second sequence.
    """
    a, b = splat(weights[0]), splat(weights[1])
    own, across = load(trail, WIDTH), shift(load(trail, 0), top[0])
    x = load(frames.x[x0 + block.row // WIDTH], 0)
    last = len(frames.reversed_y) - 1 - WIDTH - (y0 + t)  # the frame of the first row
    squared = frames.kind == SQUARED
    bounded = t < block.inner_begin + HALO or t >= block.inner_end
    starts, stops = load(block.starts, 0), load(block.stops, 0)
    far = splat(trail.dtype.type(np.inf))
    column = splat(trail.dtype.type(t)) - load(block.offsets, 0)
    one = splat(trail.dtype.type(1))
    for s in range(n_steps):
        other = load(frames.reversed_y, last - s)
        cost = (x - other) * (x - other) if squared else maximum(x - other, other - x)
        if bounded:
            cost = select(column < starts, far, cost)
            cost = select(column < stops, cost, far)
            column = column + one
        above = shift(own, top[s + 1])
        own = _next_total(own, above, across, cost, a, b)
        across = above
        store(trail, (s + 2) * WIDTH, own)


@jit
def trace_path(frames, x0, y0, window, weights, work, checkpoints, end):
    """Trace the best path back, recomputing the totals it crosses from checkpoints.

    Parameters
    ----------
    frames, x0, y0, window, weights, work, checkpoints
        Arguments of `accumulate`, after it.
    end : int
        Column of the last row where the path ends.

    Returns
    -------
    ndarray of int64 of shape (length, 2)
        Rows and columns of the path; where several steps are as good, the diagonal one.
    """
    n, m = len(window.starts), checkpoints.rows.shape[1] - 1 - 2 * WIDTH
    n_rows, interval = checkpoints.n_rows, checkpoints.interval
    path = np.empty((n + m, 2), np.int64)
    dtype = work.row.dtype
    n_blocks = -(-min(n, n_rows) // WIDTH)
    table = np.empty((n_blocks, (interval + 2) * WIDTH), dtype)
    top = np.empty(interval + 1, dtype)
    i, j, at = n - 1, end, n + m
    a, b = weights[0], weights[1]
    while True:
        i0 = i // n_rows * n_rows  # first row of the section
        first = (i + j) // interval * interval  # its first anti-diagonal
        border = checkpoints.rows[i0 // n_rows]
        _recompute_section(
            frames, x0, y0, window, weights, work.panel, checkpoints, i, j, table, top
        )
        while i >= i0 and i + j >= first:
            at -= 1
            path[at, 0], path[at, 1] = i, j
            s, k = (i - i0) // WIDTH, (i - i0) % WIDTH
            x = (i + j - first + 2) * WIDTH + k
            if k:
                above, across = table[s, x - WIDTH - 1], table[s, x - 2 * WIDTH - 1]
            elif s:
                above, across = table[s - 1, x - 1], table[s - 1, x - WIDTH - 1]
            else:
                above, across = border[j + 1], border[j]
            rows, columns = _last_step(
                table[s, x], table[s, x - WIDTH], above, across, a, b
            )
            if i == 0 and rows == 1:
                return path[at:]
            i, j = i - rows, j - columns


@jit
def _recompute_section(
    frames, x0, y0, window, weights, panel, checkpoints, i, j, table, top
):
    """Recompute the totals of a section from its checkpoints up to cell (i, j).

    The totals of row block s, from the last anti-diagonals before the checkpoint on,
    become row s of ``table``; ``top`` is overwritten by the row above a block.
    """
    n_rows, interval = checkpoints.n_rows, checkpoints.interval
    i0, first, last = i // n_rows * n_rows, (i + j) // interval * interval, i + j
    vectors = np.empty((3, WIDTH), top.dtype)
    for s in range((i - i0) // WIDTH + 1):
        r = i0 + s * WIDTH
        block = _row_block(window, r, vectors)
        trail = table[s]
        trail[: (last - first + 3) * WIDTH] = np.inf
        t = max(first - r, block.begin)
        t_end = min(last + 1 - r, block.end + HALO + 2)
        if t >= t_end:
            continue
        offset = (r + t - first) * WIDTH
        steps = checkpoints.steps[r // WIDTH, (r + t) // interval - r // interval]
        _copy_step_pair(steps, 0, trail, offset)
        for q in range(t_end - t + 1):
            if s == 0:
                top[q] = checkpoints.rows[i0 // n_rows, t + q]
            else:
                top[q] = table[s - 1, offset + q * WIDTH + HALO]
        begin, covered = t, t - HALO
        while t < t_end:
            ahead = trail[offset + (t - begin) * WIDTH :]
            stop = min(t_end, t + STEPS_PER_PASS)
            above = top[t - begin :]
            t, covered = _advance_pass(
                frames, x0, y0, block, t, stop, covered, panel, above, ahead, weights
            )


@jit
def _last_step(total, before, above, across, a, b):
    """Return the step, in rows and columns, by which the best path came to a cell.

    Parameters are the totals of the cell and of its neighbours, and the weights.
    """
    straight = min(before, above) + b
    # the cost c of the cell is not stored: the smaller of two increasing functions of
    # it, a c + across and c + straight, follows from the total, their minimum
    if a == 1:
        is_diagonal = across <= straight
    else:
        is_diagonal = (total - across) / a >= total - straight
    if is_diagonal:
        return 1, 1
    if before <= above:
        return 0, 1
    return 1, 0


@jit
def pair_costs(frames, left, right, pairs, reach, weights, work, checkpoints, out):
    """Compute the costs of the best paths of many pairs.

    Parameters
    ----------
    frames : PackedFrames
        The frames of all sequences.
    left, right : tuple of ndarray of int of shape (n_sequences,)
        Row block where each of the first sequences starts, and its number of frames;
        frame where each of the second starts, and its number of frames.
    pairs : ndarray of int of shape (n_pairs, 2)
        Numbers of the first and the second sequence of each pair.
    reach : float
        Half width of the window in frames of the longer sequence; if negative, minus
        its share of them.
    weights : ndarray of shape (2,)
        Weight of a diagonal step, and price of another.
    work : Workspace
        Arrays to overwrite, for the longest of the second sequences.
    checkpoints : Checkpoints
        Empty ones.
    out : ndarray of float64 of shape (n_pairs,)
        Array to which the costs are written.
    """
    no_bounds = np.empty(0)
    for p in range(len(pairs)):
        i, j = pairs[p]
        x0, n = left[0][i], left[1][i]
        y0, m = right[0][j], right[1][j]
        window = band(n, m, -reach * max(n, m) if reach < 0 else reach)
        work.row[:] = np.inf
        work.row[0] = corner_total(frames, x0, y0, weights, work)
        last = accumulate(
            frames, x0, y0, m, window, weights, work, checkpoints, no_bounds, np.inf
        )
        out[p] = last[m - 1]
