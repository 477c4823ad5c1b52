"""Compiled recurrences of dynamic time warping: costs of tiles, summed in place.

A table of accumulated costs is never held. It is walked tile by tile; of a block of
tiles only the row above it and the column before it are kept, from which the trace back
fills the few blocks again that the path crosses. In a tile eight rows advance together,
each one column behind the row above, so that eight additions are under way at a time.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np

# numbers are finite or +inf, never NaN: minima need not look for it
_FAST = {"nnan", "nsz", "contract"}
_compiled: Any = numba.njit(nogil=True, cache=True, fastmath=_FAST)

# kinds of local costs
SQUARED, PRODUCT, COSINE, MANHATTAN, GIVEN = range(5)

CANCELLED = 1e-4  # of the squared norms: a cost under it is computed again


class Costs(NamedTuple):
    """What the local costs of two sequences are made from.

    Parameters
    ----------
    kind : int
        SQUARED or MANHATTAN, from differences; PRODUCT (squared differences) or COSINE,
        from a matrix product; GIVEN.
    root : bool
        Whether the square root is taken.
    x : ndarray of shape (n, d)
        The first sequence. For PRODUCT its rows are (x, |x|^2, 1), for COSINE they have
        norm 1; for GIVEN they are the costs, of shape (n, m).
    y : ndarray of shape (m, d)
        The second; of shape (d, m) for SQUARED and MANHATTAN. For PRODUCT its rows are
        (-2 y, 1, |y|^2).
    """

    kind: int
    root: bool
    x: np.ndarray
    y: np.ndarray


class Window(NamedTuple):
    """Which columns of each row a path may visit.

    Parameters
    ----------
    starts, stops : ndarray of int of shape (n,)
        First column, and the one after the last; neither ever falls.
    whole : bool
        Whether that is all of them.
    """

    starts: np.ndarray
    stops: np.ndarray
    whole: bool


class Grid(NamedTuple):
    """Sizes of tiles and blocks.

    Parameters
    ----------
    rows, columns : int
        Of a tile.
    factor : int
        Tiles of a block in each direction.
    """

    rows: int
    columns: int
    factor: int


@_compiled
def fill_costs(costs, i0, i1, j0, j1, out):
    """Write the costs of rows i0 to i1 and columns j0 to j1 to the start of `out`.

    Parameters
    ----------
    costs : Costs
        What they are made from.
    i0, i1, j0, j1 : int
        Which.
    out : ndarray of shape (size,)
        Where to.

    Returns
    -------
    ndarray of shape (i1 - i0, j1 - j0)
        The costs, a view of `out`.
    """
    rows, columns = i1 - i0, j1 - j0
    tile = out[: rows * columns].reshape(rows, columns)
    x, y = costs.x, costs.y
    if costs.kind == GIVEN:
        for i in range(rows):
            for j in range(columns):
                tile[i, j] = x[i0 + i, j0 + j]
    elif costs.kind == PRODUCT:
        np.dot(x[i0:i1], y[j0:j1].T, tile)
        _mend_cancelled(tile, x[i0:i1], y[j0:j1])
    elif costs.kind == COSINE:
        np.dot(x[i0:i1], y[j0:j1].T, tile)
        for i in range(rows):
            row = tile[i]
            for j in range(columns):
                row[j] = max(1 - row[j], 0)
    else:
        _fill_differences(costs.kind, tile, x[i0:i1], y, j0)
    if costs.root:
        for i in range(rows):
            row = tile[i]
            for j in range(columns):
                row[j] = np.sqrt(row[j])
    return tile


@_compiled
def _fill_differences(kind, tile, x, y, j0):
    rows, columns = tile.shape
    others = y[0, j0 : j0 + columns]
    for i in range(rows):
        own = x[i, 0]
        for j in range(columns):
            tile[i, j] = abs(own - others[j])
        if kind == SQUARED:
            for j in range(columns):
                tile[i, j] *= tile[i, j]
    for f in range(1, x.shape[1]):
        others = y[f, j0 : j0 + columns]
        for i in range(rows):
            own = x[i, f]
            if kind == SQUARED:
                for j in range(columns):
                    difference = own - others[j]
                    tile[i, j] += difference * difference
            else:
                for j in range(columns):
                    tile[i, j] += abs(own - others[j])


@_compiled
def _mend_cancelled(tile, x, y):
    """Compute again, from differences, what is small beside the norms it came from."""
    rows, columns = tile.shape
    n_features = x.shape[1] - 2
    for i in range(rows):
        limit = CANCELLED * x[i, n_features]
        n_small = 0  # counting is fast where looking for the least is not
        for j in range(columns):
            n_small += tile[i, j] < limit
        if n_small:
            for j in range(columns):
                if tile[i, j] < limit:
                    cost = tile[i, j] * 0
                    for f in range(n_features):
                        difference = x[i, f] + y[j, f] / 2
                        cost += difference * difference
                    tile[i, j] = cost


@_compiled
def mask(tile, window, i0, j0):
    """Make costs outside of a window infinite.

    Parameters
    ----------
    tile : ndarray of shape (rows, columns)
        The costs.
    window : Window
        What is inside.
    i0, j0 : int
        Where the tile begins.
    """
    for i in range(len(tile)):
        tile[i, : max(window.starts[i0 + i] - j0, 0)] = np.inf
        tile[i, max(window.stops[i0 + i] - j0, 0) :] = np.inf


@_compiled
def accumulate(tile, top, left, corner, weights):
    """Turn the costs of a tile into accumulated costs, in place.

    ``D_ij = c_ij + min(D_i,j-1 + b, D_i-1,j + b, D_i-1,j-1 + a c_ij)``.

    Parameters
    ----------
    tile : ndarray of shape (rows, columns)
        The costs.
    top : ndarray of shape (columns,)
        Accumulated costs of the row above.
    left : ndarray of shape (rows,)
        Those of the column before.
    corner : float
        That of the cell above and before.
    weights : ndarray of shape (2,)
        By how much the weight of a diagonal step is more than 1, a; the price of a
        step that is not diagonal, b.
    """
    rows, columns = tile.shape
    r = 0
    a, b = weights[0], weights[1]
    while r + 8 <= rows and columns >= 8:
        eight = tile[r : r + 8]
        above = top if r == 0 else tile[r - 1]
        beside = left[r : r + 8]
        across = corner if r == 0 else left[r - 1]
        for k in range(7):
            before = beside[k]
            for j in range(7 - k):
                over = above[j] if k == 0 else eight[k - 1, j]
                cost = eight[k, j]
                before = cost + min(min(before, over) + b, across + a * cost)
                eight[k, j], across = before, over
            across = beside[k]
        c0, c1, c2, c3 = eight[0], eight[1], eight[2], eight[3]
        c4, c5, c6, c7 = eight[4], eight[5], eight[6], eight[7]
        # what each row had one step ago, v, and two steps ago, u
        v0, v1, v2, v3 = c0[6], c1[5], c2[4], c3[3]
        v4, v5, v6, v7 = c4[2], c5[1], c6[0], beside[7]
        u0, u1, u2, u3 = c0[5], c1[4], c2[3], c3[2]
        u4, u5, u6 = c4[1], c5[0], beside[6]
        ahead = above[6]
        for t in range(7, columns):
            over = above[t]
            k7, k6, k5, k4 = c7[t - 7], c6[t - 6], c5[t - 5], c4[t - 4]
            k3, k2, k1, k0 = c3[t - 3], c2[t - 2], c1[t - 1], c0[t]
            n7 = k7 + min(min(v7, v6) + b, u6 + a * k7)
            n6 = k6 + min(min(v6, v5) + b, u5 + a * k6)
            n5 = k5 + min(min(v5, v4) + b, u4 + a * k5)
            n4 = k4 + min(min(v4, v3) + b, u3 + a * k4)
            n3 = k3 + min(min(v3, v2) + b, u2 + a * k3)
            n2 = k2 + min(min(v2, v1) + b, u1 + a * k2)
            n1 = k1 + min(min(v1, v0) + b, u0 + a * k1)
            n0 = k0 + min(min(v0, over) + b, ahead + a * k0)
            c7[t - 7], c6[t - 6], c5[t - 5], c4[t - 4] = n7, n6, n5, n4
            c3[t - 3], c2[t - 2], c1[t - 1], c0[t] = n3, n2, n1, n0
            u6, u5, u4, u3, u2, u1, u0 = v6, v5, v4, v3, v2, v1, v0
            v7, v6, v5, v4, v3, v2, v1, v0 = n7, n6, n5, n4, n3, n2, n1, n0
            ahead = over
        for k in range(1, 8):
            begin = columns - k
            before, across = eight[k, begin - 1], eight[k - 1, begin - 1]
            for j in range(begin, columns):
                over = eight[k - 1, j]
                cost = eight[k, j]
                before = cost + min(min(before, over) + b, across + a * cost)
                eight[k, j], across = before, over
        r += 8
    for i in range(r, rows):
        before = left[i]
        across = corner if i == 0 else left[i - 1]
        for j in range(columns):
            over = top[j] if i == 0 else tile[i - 1, j]
            cost = tile[i, j]
            before = cost + min(min(before, over) + b, across + a * cost)
            tile[i, j], across = before, over


@_compiled
def walk(costs, window, weights, grid, row, tile, borders, sides):
    """Accumulate over all tiles of a window.

    Parameters
    ----------
    costs : Costs
        The local costs.
    window : Window
        Where a path may go.
    weights : ndarray of shape (2,)
        As in `accumulate`.
    grid : Grid
        Sizes of tiles and blocks.
    row : ndarray of shape (m + 1,)
        What lies above the first row, from the corner on. It becomes the last row,
        from its second entry on.
    tile : ndarray of shape (tile_rows * tile_columns,)
        To work in.
    borders : ndarray of shape (n_block_rows, m + 1)
        Becomes the row above each block, from the corner on; may be empty.
    sides : ndarray of shape (n_block_columns, n)
        Becomes the column before each block; inf, to begin with. May be empty.
    """
    n, m = len(window.starts), len(row) - 1
    left = np.empty(grid.rows, row.dtype)
    for i0 in range(0, n, grid.rows):
        i1 = min(i0 + grid.rows, n)
        strip = i0 // grid.rows
        if len(borders) and strip % grid.factor == 0:
            borders[strip // grid.factor] = row
        first = window.starts[i0] // grid.columns * grid.columns
        corner = row[first]
        row[first] = np.inf
        left[:] = np.inf
        own = left[: i1 - i0]
        for j0 in range(first, window.stops[i1 - 1], grid.columns):
            j1 = min(j0 + grid.columns, m)
            column = j0 // grid.columns
            if len(sides) and column % grid.factor == 0:
                sides[column // grid.factor, i0:i1] = own
            table = fill_costs(costs, i0, i1, j0, j1, tile)
            if not window.whole:
                mask(table, window, i0, j0)
            following = row[j1]
            accumulate(table, row[j0 + 1 : j1 + 1], own, corner, weights)
            corner = following
            row[j0 + 1 : j1 + 1] = table[i1 - i0 - 1]
            own[:] = table[:, j1 - j0 - 1]
        if i0 == 0:
            row[j1 + 1 :] = np.inf  # a free start is in the first row


@_compiled
def trace(costs, window, weights, grid, borders, sides, end):
    """Follow the best path back, through blocks that are filled again.

    Parameters
    ----------
    costs, window, weights, grid, borders, sides
        As `walk` took and left them.
    end : int
        Column of the last row where the path ends.

    Returns
    -------
    ndarray of int64 of shape (length, 2)
        Rows and columns of the path; a diagonal step, where several are as good.
    """
    n, m = len(window.starts), borders.shape[1] - 1
    height, width = grid.rows * grid.factor, grid.columns * grid.factor
    path = np.empty((n + m, 2), np.int64)
    work = np.empty(min(n, height) * min(m, width), borders.dtype)
    i, j, at = n - 1, end, n + m
    a, b = weights[0], weights[1]
    while True:
        block_row, block_column = i // height, j // width
        i0, j0 = block_row * height, block_column * width
        i1, j1 = i + 1, j + 1  # the rest of the block cannot be on the path
        table = fill_costs(costs, i0, i1, j0, j1, work)
        if not window.whole:
            mask(table, window, i0, j0)
        top, corner = borders[block_row, j0 + 1 : j1 + 1], borders[block_row, j0]
        left = sides[block_column, i0:i1]
        accumulate(table, top, left, corner, weights)
        r, c = i - i0, j - j0
        while r >= 0 and c >= 0:
            at -= 1
            path[at, 0], path[at, 1] = i0 + r, j0 + c
            above = top[c] if r == 0 else table[r - 1, c]
            if c == 0:
                before = left[r]
                across = corner if r == 0 else left[r - 1]
            else:
                before = table[r, c - 1]
                across = top[c - 1] if r == 0 else table[r - 1, c - 1]
            straight = min(before, above) + b
            # which of two increasing functions of the cost is less, from the result
            total = table[r, c]
            if a == 0:
                is_diagonal = across <= straight
            else:
                is_diagonal = (total - across) / (1 + a) >= total - straight
            if i0 + r == 0 and (is_diagonal or above < before):
                return path[at:]
            if is_diagonal:
                r, c = r - 1, c - 1
            elif before <= above:
                c -= 1
            else:
                r -= 1
        i, j = i0 + r, j0 + c


@_compiled
def band(n, m, reach):
    """Make a window about the straight line from the first frames to the last.

    Parameters
    ----------
    n, m : int
        Frames of the sequences.
    reach : float
        Half width in frames of the longer sequence.

    Returns
    -------
    Window
        The band.
    """
    starts, stops = np.zeros(n, np.int64), np.full(n, m)
    slope = (m - 1) / (n - 1) if n > 1 else 0.0
    width = (reach if m >= n else reach * slope) + 1e-9  # corners, in spite of rounding
    whole = True
    for i in range(n if n > 1 else 0):
        starts[i] = max(0, math.ceil(i * slope - width))
        stops[i] = min(m, math.floor(i * slope + width) + 1)
        whole = whole and starts[i] == 0 and stops[i] == m
    return Window(starts, stops, whole)


@_compiled
def pair_costs(
    kind, root, left, left_starts, right, right_starts, pairs, reach, weights, out
):
    """Cost of the best path of each of many pairs.

    Parameters
    ----------
    kind : int
        As in `Costs`; not GIVEN.
    root : bool
        As in `Costs`.
    left : ndarray of shape (n_frames, d)
        Frames of all first sequences, one sequence after the other.
    left_starts : ndarray of int of shape (n_left + 1,)
        Where each begins.
    right : ndarray of shape (n_frames * d,)
        Those of the second sequences, each flattened from the shape that `Costs` says.
    right_starts : ndarray of int of shape (n_right + 1,)
        The frame where each begins.
    pairs : ndarray of int of shape (n_pairs, 2)
        Which.
    reach : float
        Half width of the window in frames of the longer sequence; minus its share of
        them, if it is negative.
    weights : ndarray of shape (2,)
        As in `accumulate`.
    out : ndarray of float64 of shape (n_pairs,)
        Where to.
    """
    d = left.shape[1]
    longest = np.max(np.diff(right_starts))
    frames = reach if reach >= 0 else -reach * longest
    grid = Grid(128, 128 if frames < longest // 2 else 512, 1)
    tile = np.empty(grid.rows * grid.columns, left.dtype)
    row = np.empty(longest + 1, left.dtype)
    borders, sides = np.empty((0, 1), left.dtype), np.empty((0, 1), left.dtype)
    by_feature = kind in (SQUARED, MANHATTAN)
    for p in range(len(pairs)):
        i, j = pairs[p]
        x = left[left_starts[i] : left_starts[i + 1]]
        n, m = len(x), right_starts[j + 1] - right_starts[j]
        flat = right[right_starts[j] * d : right_starts[j + 1] * d]
        y = flat.reshape(d, m) if by_feature else flat.reshape(m, d)
        costs = Costs(kind, root, x, y)
        frames = -reach * max(n, m) if reach < 0 else reach
        window = band(n, m, frames)
        row[:] = np.inf
        row[0] = -weights[0] * fill_costs(costs, 0, 1, 0, 1, tile)[0, 0]
        walk(costs, window, weights, grid, row[: m + 1], tile, borders, sides)
        out[p] = row[m]
