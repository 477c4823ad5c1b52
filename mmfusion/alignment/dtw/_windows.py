"""Windows: which frames of one sequence may be aligned with which of the other."""

from __future__ import annotations

from functools import cache

import numpy as np

from mmfusion.alignment.dtw._kernels import Window, band


def whole_window(n: int, m: int) -> Window:
    """Make a window that holds every path.

    Parameters
    ----------
    n, m : int
        Frames of the sequences.

    Returns
    -------
    Window
        All columns for each row.
    """
    return Window(np.zeros(n, np.int64), np.full(n, m, np.int64), True)


def frames_of(radius: float, n: int, m: int) -> float:
    """Tell a radius in frames, which may be given as a share of the longer sequence.

    Parameters
    ----------
    radius : int or float
        An int is in frames, a float a share.
    n, m : int
        Frames of the sequences.

    Returns
    -------
    float
        In frames.
    """
    longest = max(n, m)
    # an int may be too large for a float
    return radius * longest if isinstance(radius, float) else min(radius, longest)


def sakoe_chiba(n: int, m: int, radius: float) -> Window:
    """Make a band about the straight line from the first frames to the last.

    A cell is inside if it is at most `radius` frames of the longer sequence from where
    the line crosses its frame of the shorter one.

    Parameters
    ----------
    n, m : int
        Frames of the sequences.
    radius : int or float
        In frames of the longer sequence; a float is a share of its length.

    Returns
    -------
    Window
        The band.

    Raises
    ------
    ValueError
        If no path fits in; tells the smallest radius with one.

    References
    ----------
    Sakoe, H. and Chiba, S. (1978). Dynamic programming algorithm optimization for
    spoken word recognition. IEEE Transactions on ASSP 26(1), 43-49.
    """
    check_radius(radius, n, m)
    return band(n, m, frames_of(radius, n, m))


def check_radius(radius: float, n: int, m: int) -> None:
    """Refuse a radius without a path: a frame has to bridge as many of the longer one.

    Parameters
    ----------
    radius : int or float
        In frames of the longer sequence; a float is a share of its length.
    n, m : int
        Frames of the sequences.

    Raises
    ------
    ValueError
        If no path fits in; tells the smallest radius with one.
    """
    needed = least_radius(n, m)
    if frames_of(radius, n, m) < needed:
        raise ValueError(
            f"no path fits into radius={radius} for {n} and {m} frames; the smallest "
            f"radius is {needed}"
        )


@cache
def least_radius(n: int, m: int) -> int:
    """Tell the smallest radius in whole frames that leaves a path.

    Parameters
    ----------
    n, m : int
        Frames of the sequences.

    Returns
    -------
    int
        The radius.
    """
    short, long = sorted((n, m))
    if short == 1:
        return 0
    radius = max(0, int(((long - 1) / (short - 1) - 1) // 2))
    while not _holds_a_path(band(short, long, radius), long):
        radius += 1
    return radius


def itakura(n: int, m: int, max_slope: float) -> Window:
    """Make a parallelogram of paths that are never too steep or too flat.

    A cell is inside if its center is, or if it is the nearest to the straight line from
    the first frames to the last, seen from its frame of the longer sequence. So there
    is always a path.

    Parameters
    ----------
    n, m : int
        Frames of the sequences.
    max_slope : float
        A path has at most this slope, and at least its inverse, relative to the
        straight line and seen from both of its ends; at least 1.

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
    max_slope = min(max_slope, n * m)  # which no cell is outside of
    i, line = np.arange(n), (m - 1) / (n - 1)
    steep, flat = line * max_slope, line / max_slope
    back = n - 1 - i
    low = np.maximum(flat * i, m - 1 - steep * back)
    high = np.minimum(steep * i, m - 1 - flat * back)
    nearest = band(n, m, max(line, 1 / line) / 2)
    starts = np.minimum(np.ceil(low - 1e-9), nearest.starts)
    stops = np.maximum(np.floor(high + 1e-9) + 1, nearest.stops)
    return _clipped(starts, stops, m)


def _clipped(starts: np.ndarray, stops: np.ndarray, m: int) -> Window:
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


def around(path: np.ndarray, n: int, m: int, factor: int, radius: int) -> Window:
    """Make a window about a path of sequences that were shortened.

    Parameters
    ----------
    path : ndarray of int of shape (length, 2)
        Path of the short sequences.
    n, m : int
        Frames of the long ones.
    factor : int
        How many frames became one.
    radius : int
        How many frames of the long sequences are added on each side.

    Returns
    -------
    Window
        The window.
    """
    starts, stops = np.full(n, m), np.zeros(n, np.int64)
    for i, j in path:
        rows = slice(max(i * factor - radius, 0), (i + 1) * factor + radius)
        starts[rows] = np.minimum(starts[rows], j * factor - radius)
        stops[rows] = np.maximum(stops[rows], (j + 1) * factor + radius)
    # no column of a later row lies before those of an earlier one
    starts = np.minimum.accumulate(starts[::-1])[::-1]
    return _clipped(starts, stops, m)
