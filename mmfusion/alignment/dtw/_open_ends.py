"""Paths of single steps whose ends are open in both sequences.

A path may begin in the first row or the first column, and end in the last row or the
last column. The totals carry along where their paths begin, so that two rows of the
table are enough to find both ends; the path between them is one between closed ends.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mmfusion._compilation import jit
from mmfusion._threads import one_thread
from mmfusion.alignment.dtw._constraints import Constraints
from mmfusion.alignment.dtw._costs import Costs, fill_costs, slice_costs
from mmfusion.alignment.dtw._open_ratio import LARGE_COST, PathAndCost
from mmfusion.alignment.dtw._row_blocks import path_by_row_blocks
from mmfusion.alignment.dtw._windows import (
    FramesLeftOut,
    Window,
    slice_window,
)

ROWS = 4  # that advance together, each a column behind the one above
TILE_ROWS, TILE_COSTS = 64, 2**20  # of local costs that are computed at a time

Cell = tuple[int, int]


def path_by_open_ends(
    costs: Costs, window: Window, constraints: Constraints, *, wants_path: bool
) -> PathAndCost:
    """Find the best path of single steps between open ends.

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
    with one_thread():
        (i0, j0), (i1, j1), cost = _best_ends(costs, window, constraints)
    if not np.isfinite(cost) or not (
        wants_path or constraints.pattern.divisor != "path"
    ):
        return None, cost
    part = slice_costs(costs, i0, i1 + 1, j0, j1 + 1)
    inside = slice_window(window, i0, i1 + 1, j0, j1 + 1)
    closed = replace(constraints, open_begin=False, open_end=False)
    # in a ratio, the cost is a difference of long sums
    path, cost = path_by_row_blocks(part, inside, closed, wants_path=wants_path)
    return None if path is None else path + np.array([i0, j0]), cost


def _best_ends(
    costs: Costs, window: Window, constraints: Constraints
) -> tuple[Cell, Cell, float]:
    """Return the first and the last cell of the best path, and its cost.

    Where costs are normalised by frames, Dinkelbach's iteration minimises the cost per
    frame: a path of least ``cost - ratio * frames``, for the ratio of the last path,
    has a smaller ratio unless that one is the least.
    """
    divisor = constraints.pattern.divisor
    frame_weights = np.array(
        [divisor in ("rows", "both"), divisor in ("columns", "both")], np.float64
    )
    scale = 1.0
    begin, end, cost = _search_ends(
        costs, window, constraints, frame_weights, None, scale
    )
    if not np.isfinite(cost):
        return begin, end, cost
    if cost > LARGE_COST:  # multiples of it could overflow in the iteration
        scale = 1 / LARGE_COST
        cost *= scale
    frames = frame_weights @ np.subtract(end, begin) + frame_weights.sum()
    while frames > 0 and cost > 0:
        ratio = cost / frames
        first, last, total = _search_ends(
            costs, window, constraints, frame_weights, ratio, scale
        )
        n_frames = frame_weights @ np.subtract(last, first) + frame_weights.sum()
        if not total / n_frames < ratio:
            break
        begin, end, cost, frames = first, last, total, n_frames
    return begin, end, cost / scale


def _search_ends(
    costs: Costs,
    window: Window,
    constraints: Constraints,
    frame_weights: np.ndarray,
    ratio: float | None,
    scale: float,
) -> tuple[Cell, Cell, float]:
    """Find the path of least cost per frame of those that are cheapest to their ends.

    For a ratio, find that of least cost minus ratio times frames. Return its ends and
    its cost, multiplied by `scale`.
    """
    n, m = costs.n, costs.m
    left_out = constraints.frames_left_out(n, m)
    offsets = np.zeros(2) if ratio is None else ratio * frame_weights
    begin_x, begin_y = _begin_costs(n, m, left_out, offsets)
    weights = np.array([constraints.diagonal_weight, constraints.penalty * scale])
    last_column, last_row = accumulate_open(
        costs, window, weights, scale, begin_x, begin_y
    )
    totals, origins, cells = _open_cells(n, m, left_out, last_column, last_row)
    begins = np.column_stack([np.maximum(-origins, 0), np.maximum(origins, 0)])
    own_costs = totals - begins @ offsets
    frames = (cells - begins + 1) @ frame_weights
    if ratio is not None:
        values = totals - (cells + 1) @ offsets
    else:
        values = own_costs / np.where(frames > 0, frames, 1)
    best = int(np.argmin(values))
    (i0, j0), (i1, j1) = begins[best].tolist(), cells[best].tolist()
    return (i0, j0), (i1, j1), float(own_costs[best])


def _begin_costs(
    n: int, m: int, left_out: FramesLeftOut, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the totals before a begin in the first column and in the first row."""
    begin_x, begin_y = offsets[0] * np.arange(n), offsets[1] * np.arange(m)
    begin_x[left_out.begin_x + 1 :] = np.inf
    begin_y[left_out.begin_y + 1 :] = np.inf
    return begin_x, begin_y


def _open_cells(
    n: int,
    m: int,
    left_out: FramesLeftOut,
    last_column: np.ndarray,
    last_row: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return totals, origins and places of the cells where a path may end."""
    i, j = n - 1 - left_out.end_x, m - 1 - left_out.end_y
    # the corner is in both; of equal ends the first is taken, nearest to the corner
    rows, columns = np.arange(n - 1, i - 1, -1), np.arange(m - 1, j - 1, -1)
    both = np.concatenate([last_row[:, columns], last_column[:, rows]], axis=1)
    along_row = np.column_stack([np.full(len(columns), n - 1), columns])
    along_column = np.column_stack([rows, np.full(len(rows), m - 1)])
    return both[0], both[1].astype(np.int64), np.concatenate([along_row, along_column])


@jit
def accumulate_open(costs, window, weights, scale, begin_x, begin_y):
    """Accumulate the costs of paths, and carry along where they begin.

    Parameters
    ----------
    costs : Costs
        The local costs.
    window : Window
        The cells that a path may visit.
    weights : ndarray of float64 of shape (2,)
        Weight of a diagonal step, and price of another.
    scale : float
        Factor of the local costs.
    begin_x, begin_y : ndarray of float64 of shape (n,) and (m,)
        Costs that paths which begin in the first column and in the first row have in
        addition to that of the cell; inf where none may begin.

    Returns
    -------
    last_column, last_row : ndarray of float64 of shape (2, n) and (2, m)
        Least costs of paths to these cells, and the begins of these paths: j for (0,
        j), -i for (i, 0).
    """
    n, m = costs.n, costs.m
    # a block of rows reads three columns beyond the last
    above, below = np.zeros((2, m + ROWS)), np.zeros((2, m + ROWS))
    above[0], last_column = np.inf, np.zeros((2, n))
    last_column[0] = np.inf
    n_rows = min(TILE_ROWS, max(ROWS, TILE_COSTS // m // ROWS * ROWS))
    tile = np.empty(min(n, n_rows) * m, costs.x.dtype)
    panel = np.full((m + ROWS, ROWS), np.inf)
    before = np.full(ROWS, np.inf)
    for i0 in range(0, n, n_rows):
        i1 = min(i0 + n_rows, n)
        j0, j1 = window.starts[i0], window.stops[i1 - 1]
        own = fill_costs(costs, i0, i1, j0, j1, tile)
        i = i0
        if i == 0:
            _fill_first_row(own[0], window.stops[0], j0, scale, begin_y, weights, above)
            last_column[0, 0], last_column[1, 0] = above[0, m - 1], above[1, m - 1]
            i = 1
        while i < i1:
            size = min(ROWS, i1 - i)
            begin, end = window.starts[i], window.stops[i + size - 1]
            _fill_skewed(own, i - i0, size, j0, window, i, begin, end, scale, panel)
            before[:] = np.inf
            before[:size] = begin_x[i : i + size]
            below[0] = np.inf
            _advance_rows(
                panel, i, size, begin, end, before, weights, above, below, last_column
            )
            above, below = below, above
            i += size
    return last_column, above[:, :m].copy()


@jit
def _fill_first_row(costs, stop, j0, scale, begin_y, weights, row):
    """Compute the totals of the first row, and their begins."""
    total, origin = np.inf, 0
    for j in range(j0, stop):
        cost = costs[j - j0] * scale
        total += cost + weights[1]
        if begin_y[j] + cost <= total:
            total, origin = begin_y[j] + cost, j
        row[0, j], row[1, j] = total, origin


@jit
def _fill_skewed(tile, first, size, j0, window, i, begin, end, scale, panel):
    """Copy rows of costs so that those of one step of `_advance_rows` are together."""
    panel[: end - begin + ROWS] = np.inf
    for k in range(size):
        for j in range(window.starts[i + k], window.stops[i + k]):
            panel[j - begin + k, k] = tile[first + k, j - j0] * scale


@jit
def _next_open(own, origin, above, above_origin, across, across_origin, cost, a, b):
    """Return the total of a cell and its begin, from those of its neighbours."""
    total, begin = across + a * cost, across_origin
    straight, straight_origin = above, above_origin
    if own < above:
        straight, straight_origin = own, origin
    straight += cost + b
    if straight < total:
        total, begin = straight, straight_origin
    return total, begin


@jit
def _advance_rows(
    panel, i, size, begin, end, before, weights, above, below, last_column
):
    """Compute the totals of rows i to i + size, row k in column t - k at step t.

    ``before`` are the totals before a begin in the first column of these rows.
    """
    a, b = weights
    far, last = np.inf, last_column.shape[1]
    m = above.shape[1] - ROWS
    t0, t1, t2, t3 = far, far, far, far  # totals, their origins, and those across
    o0, o1, o2, o3 = 0.0, 0.0, 0.0, 0.0
    d0, d1, d2, d3 = far, far, far, far
    p0, p1, p2, p3 = 0.0, 0.0, 0.0, 0.0
    if begin > 0:
        d0, p0 = above[0, begin - 1], above[1, begin - 1]
    for s in range(end - begin + size - 1):
        j = begin + s
        u3, q3 = _next_open(t3, o3, t2, o2, d3, p3, panel[s, 3], a, b)
        d3, p3 = t2, o2
        u2, q2 = _next_open(t2, o2, t1, o1, d2, p2, panel[s, 2], a, b)
        d2, p2 = t1, o1
        u1, q1 = _next_open(t1, o1, t0, o0, d1, p1, panel[s, 1], a, b)
        d1, p1 = t0, o0
        u0, q0 = _next_open(t0, o0, above[0, j], above[1, j], d0, p0, panel[s, 0], a, b)
        d0, p0 = above[0, j], above[1, j]
        if begin == 0 and s < ROWS:
            total, origin = panel[s, s] + before[s], -float(i + s)
            if s == 0 and total < u0:
                u0, q0 = total, origin
            elif s == 1 and total < u1:
                u1, q1 = total, origin
            elif s == 2 and total < u2:
                u2, q2 = total, origin
            elif s == 3 and total < u3:
                u3, q3 = total, origin
        t0, t1, t2, t3, o0, o1, o2, o3 = u0, u1, u2, u3, q0, q1, q2, q3
        if size == ROWS:
            lowest, its_origin = t3, o3
        elif size == 1:
            lowest, its_origin = t0, o0
        elif size == 2:
            lowest, its_origin = t1, o1
        else:
            lowest, its_origin = t2, o2
        if s >= size - 1:
            below[0, j - size + 1], below[1, j - size + 1] = lowest, its_origin
        k = j - m + 1  # the row that is in the last column
        if 0 <= k < size and i + k < last:
            if k == 0:
                last_column[0, i], last_column[1, i] = t0, o0
            elif k == 1:
                last_column[0, i + 1], last_column[1, i + 1] = t1, o1
            elif k == 2:
                last_column[0, i + 2], last_column[1, i + 2] = t2, o2
            else:
                last_column[0, i + 3], last_column[1, i + 3] = t3, o3
