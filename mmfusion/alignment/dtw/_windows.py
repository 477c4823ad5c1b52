"""Windows: the pairs of frames that a warping path may visit."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit

# corners of a window are cells although their coordinates are rounded
CORNER_TOLERANCE = 1e-9


class Window(NamedTuple):
    """Columns of each row that a path may visit.

    Parameters
    ----------
    starts, stops : ndarray of int of shape (n,)
        First column of each row, and the one after its last; neither ever decreases.
    whole : bool
        Whether the window holds all columns of all rows.
    """

    starts: np.ndarray
    stops: np.ndarray
    whole: bool


class FramesLeftOut(NamedTuple):
    """The most frames of each sequence that a path may leave out.

    Parameters
    ----------
    begin_x, begin_y : int
        Those before the first frame of the path, in the first and second sequence.
    end_x, end_y : int
        Those after its last frame.
    """

    begin_x: int = 0
    begin_y: int = 0
    end_x: int = 0
    end_y: int = 0


NONE_LEFT_OUT = FramesLeftOut()


def make_window(
    n: int,
    m: int,
    kind: str | None,
    radius: float,
    max_slope: float,
    left_out: FramesLeftOut = NONE_LEFT_OUT,
) -> Window:
    """Return the window that lengths alone define.

    Parameters
    ----------
    n, m : int
        Numbers of frames of the sequences.
    kind : {'sakoe_chiba', 'itakura'} or None
        The window; None holds every path.
    radius : int or float
        Half width of 'sakoe_chiba' (see `sakoe_chiba`).
    max_slope : float
        Largest slope of 'itakura' (see `itakura`).
    left_out : FramesLeftOut, default=none
        Frames that may be left out at open ends, for 'itakura'.

    Returns
    -------
    Window
        The window.

    Raises
    ------
    ValueError
        If no path fits into a window of this radius.
    """
    if kind == "sakoe_chiba":
        return sakoe_chiba(n, m, radius)
    if kind == "itakura":
        return itakura(n, m, max_slope, left_out)
    return whole_window(n, m)


def whole_window(n: int, m: int) -> Window:
    """Return the window that holds every path.

    Parameters
    ----------
    n, m : int
        Numbers of frames of the sequences.

    Returns
    -------
    Window
        All columns for each row.
    """
    return Window(np.zeros(n, np.int64), np.full(n, m, np.int64), True)


@jit
def band(n, m, reach):
    """Return the window around the straight line from the first frames to the last.

    Parameters
    ----------
    n, m : int
        Numbers of frames of the sequences.
    reach : float
        Half width in frames of the longer sequence.

    Returns
    -------
    Window
        The band.
    """
    starts, stops = np.zeros(n, np.int64), np.full(n, m)
    slope = (m - 1) / (n - 1) if n > 1 else 0.0
    width = (reach if m >= n else reach * slope) + CORNER_TOLERANCE
    whole = True
    for i in range(n if n > 1 else 0):
        starts[i] = max(0, math.ceil(i * slope - width))
        stops[i] = min(m, math.floor(i * slope + width) + 1)
        whole = whole and starts[i] == 0 and stops[i] == m
    return Window(starts, stops, whole)


def slice_window(window: Window, i0: int, i1: int, j0: int, j1: int) -> Window:
    """Return the part of a window in some rows and columns.

    Parameters
    ----------
    window : Window
        The window.
    i0, i1, j0, j1 : int
        First row and the one after the last; first column and the one after the last.

    Returns
    -------
    Window
        Columns of these rows, counted from `j0`.
    """
    starts = np.clip(window.starts[i0:i1] - j0, 0, j1 - j0)
    stops = np.clip(window.stops[i0:i1] - j0, 0, j1 - j0)
    return Window(starts, stops, window.whole)


@jit
def mask_outside(tile, window, i0, j0):
    """Set the costs outside of a window to infinity.

    Parameters
    ----------
    tile : ndarray of shape (rows, columns)
        The costs, changed in place.
    window : Window
        The cells that a path may visit.
    i0, j0 : int
        Row and column of the first cell of the tile.
    """
    for i in range(len(tile)):
        tile[i, : max(window.starts[i0 + i] - j0, 0)] = np.inf
        tile[i, max(window.stops[i0 + i] - j0, 0) :] = np.inf


@jit
def transposed(window, m):
    """Return the window of the same cells with rows and columns exchanged.

    Parameters
    ----------
    window : Window
        A window that holds a path.
    m : int
        Number of its columns.

    Returns
    -------
    Window
        Rows for each column.
    """
    n = len(window.starts)
    starts, stops = np.zeros(m, np.int64), np.full(m, n, np.int64)
    if window.whole:
        return Window(starts, stops, True)
    first = past = 0
    for j in range(m):
        while window.stops[first] <= j:
            first += 1
        while past < n and window.starts[past] <= j:
            past += 1
        starts[j], stops[j] = first, past
    return Window(starts, stops, False)


def radius_in_frames(radius: float, n: int, m: int) -> float:
    """Convert a radius that may be a share of the longer sequence to frames.

    Parameters
    ----------
    radius : int or float
        An int is a number of frames, a float a share of the longer sequence.
    n, m : int
        Numbers of frames of the sequences.

    Returns
    -------
    float
        The radius in frames.
    """
    longest = max(n, m)
    # an int may be too large to convert to a float
    return radius * longest if isinstance(radius, float) else min(radius, longest)


def sakoe_chiba(n: int, m: int, radius: float) -> Window:
    """Return the band of Sakoe and Chiba around the straight line between the ends.

    A cell is inside if it is at most `radius` frames of the longer sequence from the
    point where the line crosses its frame of the shorter one.

    Parameters
    ----------
    n, m : int
        Numbers of frames of the sequences.
    radius : int or float
        Half width in frames of the longer sequence; a float is a share of its length.

    Returns
    -------
    Window
        The band.

    Raises
    ------
    ValueError
        If no path fits into it; the message names the smallest radius with a path.

    References
    ----------
    Sakoe, H. and Chiba, S. (1978). Dynamic programming algorithm optimization for
    spoken word recognition. IEEE Transactions on ASSP 26(1), 43-49.
    """
    check_radius(radius, n, m)
    return band(n, m, radius_in_frames(radius, n, m))


def check_radius(radius: float, n: int, m: int) -> None:
    """Check that a path fits into a band.

    Where one sequence is longer, each frame of the shorter one has to be aligned with
    several of the longer one, which requires a band of some width. Open ends require
    the same: a row or column of the band is without gaps, so that a path of single
    steps between open ends extends, within the band, to one between closed ends.

    Parameters
    ----------
    radius : int or float
        Half width in frames of the longer sequence; a float is a share of its length.
    n, m : int
        Numbers of frames of the sequences.

    Raises
    ------
    ValueError
        If no path fits into it; the message names the smallest radius with a path.
    """
    needed, reach = least_radius(n, m), radius_in_frames(radius, n, m)
    # part of a frame may be enough, since the line passes between frames
    if reach < needed and not _holds_a_path(band(n, m, reach), m):
        raise ValueError(
            f"no path fits into radius={radius} for {n} and {m} frames; the smallest "
            f"radius is {needed}"
        )


@cache
def least_radius(n: int, m: int) -> int:
    """Return the smallest radius in whole frames whose band holds a path.

    Parameters
    ----------
    n, m : int
        Numbers of frames of the sequences.

    Returns
    -------
    int
        The radius.
    """
    short, long = sorted((n, m))
    if short == 1:
        return 0
    # half the slope of the line, to which the search adds a frame at most
    radius = max(0, int(((long - 1) / (short - 1) - 1) // 2))
    while not _holds_a_path(band(short, long, radius), long):
        radius += 1
    return radius


def itakura(
    n: int,
    m: int,
    max_slope: float,
    left_out: FramesLeftOut = NONE_LEFT_OUT,
) -> Window:
    """Return the parallelogram of Itakura, of paths within two slopes.

    A cell is inside if its centre is, or if it is the nearest to the straight line from
    the first frames to the last, as seen from its frame of the longer sequence. So the
    window always holds a path.

    Parameters
    ----------
    n, m : int
        Numbers of frames of the sequences.
    max_slope : float
        Largest slope of a path, and the inverse of its smallest one, relative to the
        straight line and seen from both of its ends; at least 1.
    left_out : FramesLeftOut, default=none
        Frames that may be left out at open ends. A cell is inside if it is as seen from
        any possible begin and from any possible end.

    Returns
    -------
    Window
        The parallelogram.

    References
    ----------
    Itakura, F. (1975). Minimum prediction residual principle applied to speech
    recognition. IEEE Transactions on ASSP 23(1), 67-72.
    """
    if min(n, m) == 1:
        return whole_window(n, m)
    max_slope = min(max_slope, n * m)  # at this slope every cell is inside
    i, line = np.arange(n), (m - 1) / (n - 1)
    steep, flat = line * max_slope, line / max_slope
    rows_left = n - 1 - i
    low = np.maximum(
        flat * (i - left_out.begin_x), m - 1 - left_out.end_y - steep * rows_left
    )
    high = np.minimum(
        left_out.begin_y + steep * i, m - 1 - flat * (rows_left - left_out.end_x)
    )
    nearest = band(n, m, max(line, 1 / line) / 2)
    starts = np.minimum(np.ceil(low - CORNER_TOLERANCE), nearest.starts)
    stops = np.maximum(np.floor(high + CORNER_TOLERANCE) + 1, nearest.stops)
    return _monotone_window(starts, stops, m)


def around_path(path: np.ndarray, n: int, m: int, factor: int, radius: int) -> Window:
    """Return the window around a path of shortened sequences.

    Parameters
    ----------
    path : ndarray of int of shape (length, 2)
        Path of the short sequences.
    n, m : int
        Numbers of frames of the long ones.
    factor : int
        Number of frames that were averaged to one.
    radius : int
        Number of frames of the longer of these that are added on each side.

    Returns
    -------
    Window
        The window.
    """
    n_short, m_short = -(-n // factor), -(-m // factor)
    low, high = np.full(n_short, m_short), np.full(n_short, -1)
    rows, first = np.unique(path[:, 0], return_index=True)
    low[rows] = path[first, 1]
    high[rows] = path[np.append(first[1:], len(path)) - 1, 1]
    # rows that the path leaps over, or leaves out, have the columns between
    low = np.minimum.accumulate(low[::-1])[::-1]
    high = np.maximum.accumulate(high)
    starts = np.repeat(low * factor, factor)[:n]
    stops = np.repeat((high + 1) * factor, factor)[:n]
    if m >= n:
        return _monotone_window(starts - radius, stops + radius, m)
    i = np.arange(n)
    starts = starts[np.maximum(i - radius, 0)]
    stops = stops[np.minimum(i + radius, n - 1)]
    return _monotone_window(starts, stops, m)


def _monotone_window(starts: np.ndarray, stops: np.ndarray, m: int) -> Window:
    """Clip the columns of a window to the matrix, and let none decrease."""
    starts = np.maximum.accumulate(np.clip(starts, 0, m - 1)).astype(np.int64)
    stops = np.maximum.accumulate(np.clip(stops, 1, m)).astype(np.int64)
    return Window(starts, stops, bool((starts == 0).all() and (stops == m).all()))


def _holds_a_path(window: Window, m: int) -> bool:
    starts, stops, _ = window
    return bool(
        starts[0] == 0
        and stops[-1] == m
        and (starts < stops).all()
        and (starts[1:] <= stops[:-1]).all()
    )
