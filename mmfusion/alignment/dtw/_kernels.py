"""Local costs and windows of dynamic time warping, for compiled functions."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from mmfusion.alignment.dtw._compilation import compiler

# numbers are finite or +inf, never NaN: minima need not look for it
_FAST = {"nnan", "nsz", "contract"}
_compiled = compiler(_FAST)

# kinds of local costs
SQUARED, PRODUCT, COSINE, MANHATTAN, GIVEN = range(5)

# share of the squared norms under which a cost is computed again, by bytes of a number
CANCELLED_OF_8, CANCELLED_OF_4 = 1e-4, 1e-2


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
def cancelled(x):
    """Return the share of the squared norms under which a cost is computed again.

    Parameters
    ----------
    x : ndarray of float
        An array of the type of the costs.

    Returns
    -------
    float
        The share, of that type.
    """
    return x.dtype.type(CANCELLED_OF_8 if x.itemsize == 8 else CANCELLED_OF_4)


@_compiled
def _mend_cancelled(tile, x, y):
    """Compute again, from differences, what is small beside the norms it came from."""
    rows, columns = tile.shape
    n_features = x.shape[1] - 2
    for i in range(rows):
        limit = cancelled(x) * x[i, n_features]
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
