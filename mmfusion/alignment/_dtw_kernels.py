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
