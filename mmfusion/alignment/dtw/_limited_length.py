"""Paths of single steps that have no more than a number of cells.

A path through cell (i, j) has at least ``max(i, j)`` steps before it; e counts those
beyond, and never decreases along the path. So the least costs ``D_ije`` of paths with e
steps too many follow from those of the three neighbours, for e up to the limit less the
frames of the longer sequence. A path that is so short stays near the diagonals of both
ends, and cells beyond are left out.
"""

from __future__ import annotations

from math import isqrt

import numpy as np

from mmfusion._compilation import jit
from mmfusion._memory import check_fits
from mmfusion._threads import one_thread
from mmfusion.alignment.dtw._constraints import Constraints
from mmfusion.alignment.dtw._costs import Costs, fill_costs
from mmfusion.alignment.dtw._open_ratio import PathAndCost
from mmfusion.alignment.dtw._row_blocks import path_by_row_blocks
from mmfusion.alignment.dtw._windows import Window


def path_by_length(
    costs: Costs, window: Window, constraints: Constraints, *, wants_path: bool
) -> PathAndCost:
    """Find the best path of single steps that is not too long.

    Parameters
    ----------
    costs : Costs
        The local costs.
    window : Window
        The cells that a path may visit.
    constraints : Constraints
        Step pattern, penalty and the longest length.
    wants_path : bool
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
        If the totals do not fit into memory.
    """
    n, m = costs.n, costs.m
    most = constraints.most_cells(n, m)
    # the best path of any length is fast to find, and often short enough
    path, cost = path_by_row_blocks(costs, window, constraints, wants_path=True)
    if path is None or len(path) <= most:
        return path, cost
    n_totals = most - max(n, m) + 1
    inside = _near_the_ends(window, n, m, n_totals - 1)
    if inside is None:
        return None, np.inf
    # checkpoints of every so many rows, between which rows are computed again
    n_rows = max(2, isqrt(n)) if wants_path else n
    width = int((inside.stops - inside.starts).max()) + 2
    n_kept = -(-n // n_rows) + 1 + (n_rows if wants_path else 1)
    check_fits(
        n_kept * width * (n_totals + 1) * np.dtype(np.float64).itemsize,
        f"totals of {n_totals} lengths for {n} and {m} frames",
        "lower max_length, or shorten the sequences",
    )
    weights = np.array([constraints.diagonal_weight, constraints.penalty], np.float64)
    with one_thread():
        return _search(costs, inside, weights, n_totals, n_rows, width, wants_path)


def _near_the_ends(window: Window, n: int, m: int, n_extra: int) -> Window | None:
    """Return the cells of paths with so many extra steps; None if a row has none.

    Each step back towards the diagonal of either end is an extra one.
    """
    rows = np.arange(n)
    starts = np.maximum(window.starts, rows - max(n - m, 0) - n_extra)
    stops = np.minimum(window.stops, rows + max(m - n, 0) + n_extra + 1)
    if (starts >= stops).any():
        return None
    return Window(starts, stops, False)


def _search(
    costs: Costs,
    window: Window,
    weights: np.ndarray,
    n_totals: int,
    n_rows: int,
    width: int,
    wants_path: bool,
) -> PathAndCost:
    n, m = costs.n, costs.m
    n_sections = -(-n // n_rows)
    # entry e + 1 of the last axis is that of e, and entry 0 is infinite
    checkpoints = np.full((n_sections + 1, width, n_totals + 1), np.inf)
    section = np.full((n_rows if wants_path else 2, width, n_totals + 1), np.inf)
    for s in range(n_sections):
        first, stop = s * n_rows, min((s + 1) * n_rows, n)
        _fill_short_paths(costs, window, weights, first, stop, checkpoints[s], section)
        checkpoints[s + 1] = section[(stop - first - 1) % len(section)]
    totals = checkpoints[-1, m - window.starts[-1]]
    e = int(np.argmin(totals)) - 1
    cost = float(totals[e + 1])
    if not wants_path or not np.isfinite(cost):
        return None, cost
    path = np.empty((max(n, m) + e, 2), np.int64)
    place = np.array([n - 1, m - 1, e, len(path)])
    for s in range(n_sections - 1, -1, -1):
        first, stop = s * n_rows, min((s + 1) * n_rows, n)
        if s < n_sections - 1:  # the last section is still there
            _fill_short_paths(
                costs, window, weights, first, stop, checkpoints[s], section
            )
        _trace_short_path(window, weights, first, checkpoints[s], section, place, path)
    return path, cost


@jit
def _fill_short_paths(costs, window, weights, first, stop, before, section):
    """Compute the totals of rows ``first`` to ``stop``, from those of the row before.

    Row i becomes row i - first of ``section``, modulo the rows that it has; its entry k
    is that of column k - 1 from the first of the row within the window on.
    """
    j0, j1 = window.starts[first], window.stops[stop - 1]
    tile = fill_costs(
        costs,
        first,
        stop,
        j0,
        j1,
        np.empty((stop - first) * (j1 - j0), costs.x.dtype),
    )
    n_kept = len(section)
    for i in range(first, stop):
        own = section[(i - first) % n_kept]
        above = before if i == first else section[(i - first - 1) % n_kept]
        start, end = window.starts[i], window.stops[i]
        shift = start - (window.starts[i - 1] if i else 0)
        own[:] = np.inf
        for j in range(start, end):
            k, cost = j - start + 1, np.float64(tile[i - first, j - j0])
            if i == 0 and j == 0:
                own[k, 1] = cost
                continue
            q = k + shift
            if q < len(above):
                up, across = above[q], above[q - 1]
            else:  # a column beyond those of the row above
                up, across = own[0], above[q - 1] if q - 1 < len(above) else own[0]
            _fill_cell(up, across, own[k - 1], own[k], i, j, cost, weights)


@jit
def _fill_cell(up, across, left, own, i, j, cost, weights):
    """Compute the totals of a cell for each number of extra steps."""
    diagonal, straight = weights[0] * cost, cost + weights[1]
    up_from, left_from = 0 if i > j else -1, 0 if j > i else -1
    n_totals = len(own) - 1
    # numba wraps negative indices of loops that do not start at 0
    above, beside = up[1 + up_from :], left[1 + left_from :]
    slanted, out = across[1:], own[1:]
    for e in range(n_totals):
        out[e] = min(slanted[e] + diagonal, min(above[e], beside[e]) + straight)


@jit
def _trace_short_path(window, weights, first, before, section, place, path):
    """Trace the path back through a section, from a place that becomes the next one.

    ``place`` has the row, the column, the number of extra steps, and where in the path
    the cell is followed.
    """
    i, j, e, at = place
    while i >= first:
        at -= 1
        path[at, 0], path[at, 1] = i, j
        if i == 0 and j == 0:
            i = -1
            break
        own = section[i - first]
        above = before if i == first else section[i - first - 1]
        k = j - window.starts[i] + 1
        q = j - (window.starts[i - 1] if i else 0) + 1
        up_from, left_from = 0 if i > j else -1, 0 if j > i else -1
        up = above[q, e + 1 + up_from] if q < len(above) else np.inf
        left = own[k - 1, e + 1 + left_from]
        across = above[q - 1, e + 1] if 0 < q <= len(above) else np.inf
        # the cost c of the cell follows from its total (see row blocks)
        straight, total = min(up, left) + weights[1], own[k, e + 1]
        if weights[0] == 1:
            is_diagonal = across <= straight
        else:
            is_diagonal = (total - across) / weights[0] >= total - straight
        if is_diagonal:
            i, j = i - 1, j - 1
        elif left <= up:
            j, e = j - 1, e + left_from
        else:
            i, e = i - 1, e + up_from
    place[0], place[1], place[2], place[3] = i, j, e, at
