"""Lower bounds of dynamic time warping, from envelopes of sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmfusion._sequences import as_sequence
from mmfusion.alignment.dtw._compilation import compiler
from mmfusion.alignment.dtw._kernels import Window, _compiled
from mmfusion.alignment.dtw._parameters import check_choice, check_frames_or_share
from mmfusion.alignment.dtw._windows import sakoe_chiba, whole_window

BOUNDED = ("manhattan", "sqeuclidean")  # metrics that are sums over features

# bounds are compared with room for rounding, so that sums may go in any order
_FAST = {"nnan", "nsz", "contract", "reassoc"}
_summed = compiler(_FAST)


@_compiled
def transposed(window, m):
    """Make the window of the same cells with rows and columns exchanged.

    Parameters
    ----------
    window : Window
        A window that holds a path.
    m : int
        Its columns.

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


@_compiled
def envelope(frames, window, lower, upper):
    """Find least and greatest values among the frames that a window lets each row see.

    Both are found of 1, 2, 4, ... frames in a row, and those of a row of the window
    from the two of half its width or more that cover it: some more comparisons than
    with a queue (Lemire 2009), but of contiguous numbers, all features together.

    Parameters
    ----------
    frames : ndarray of shape (m, d)
        The frames.
    window : Window
        Columns for each of n rows.
    lower, upper : ndarray of shape (n, d)
        Become the envelope.
    """
    m, d = frames.shape
    n = len(window.starts)
    least, greatest = frames.ravel().copy(), frames.ravel().copy()
    # loops that write where they read are not vectorised
    next_least, next_greatest = np.empty(m * d), np.empty(m * d)
    flat_lower, flat_upper = lower.ravel(), upper.ravel()
    size, reach, widest = m * d, 1, 1
    while reach <= widest:
        i = 0
        while i < n:
            start, stop = window.starts[i], window.stops[i]
            run = 1  # rows that see as many frames, each one further than the row above
            while (
                i + run < n
                and window.starts[i + run] == start + run
                and window.stops[i + run] == stop + run
            ):
                run += 1
            repeats = 0  # of the last row, as in a whole window
            while (
                i + run + repeats < n
                and window.starts[i + run + repeats] == start + run - 1
                and window.stops[i + run + repeats] == stop + run - 1
            ):
                repeats += 1
            widest = max(widest, stop - start)
            if reach <= stop - start < 2 * reach:
                at, end = start * d, (stop - reach) * d
                _take_least(least[at:], least[end:], run * d, flat_lower[i * d :])
                _take_greatest(
                    greatest[at:], greatest[end:], run * d, flat_upper[i * d :]
                )
                for k in range(i + run, i + run + repeats):
                    lower[k], upper[k] = lower[k - 1], upper[k - 1]
            i += run + repeats
        step = reach * d
        size -= step
        _take_least(least, least[step:], size, next_least)
        _take_greatest(greatest, greatest[step:], size, next_greatest)
        least, next_least = next_least, least
        greatest, next_greatest = next_greatest, greatest
        reach *= 2


@_compiled
def _take_least(a, b, size, out):
    for k in range(size):
        out[k] = min(a[k], b[k])


@_compiled
def _take_greatest(a, b, size, out):
    for k in range(size):
        out[k] = max(a[k], b[k])


@_summed
def excess(values, lower, upper, squared):
    """Sum how far values lie outside of an envelope.

    Parameters
    ----------
    values, lower, upper : ndarray of shape (size,)
        The values and the envelope.
    squared : bool
        Whether squares are summed.

    Returns
    -------
    float
        The sum.
    """
    total = 0.0
    if squared:
        for k in range(len(values)):
            out = max(max(values[k] - upper[k], lower[k] - values[k]), 0.0)
            total += out * out
    else:
        for k in range(len(values)):
            total += max(max(values[k] - upper[k], lower[k] - values[k]), 0.0)
    return total


@_summed
def excess_of_frames(frames, lower, upper, squared, shares):
    """Sum how far values lie outside of an envelope, frame by frame.

    Parameters
    ----------
    frames, lower, upper : ndarray of shape (n, d)
        The values and the envelope.
    squared : bool
        Whether squares are summed.
    shares : ndarray of shape (n,)
        Become the sums.
    """
    n, d = frames.shape
    for i in range(n):
        share = 0.0
        for f in range(d):
            value = frames[i, f]
            out = max(max(value - upper[i, f], lower[i, f] - value), 0.0)
            share += out * out if squared else out
        shares[i] = share


@_compiled
def clip(values, lower, upper, out):
    """Write the values of the envelope that are nearest to given ones.

    Parameters
    ----------
    values, lower, upper : ndarray of shape (size,)
        The values and the envelope.
    out : ndarray of shape (size,)
        Where to.
    """
    for k in range(len(values)):
        out[k] = min(max(values[k], lower[k]), upper[k])


def lb_keogh(
    x: Any, y: Any, radius: float | None = 0.1, *, metric: str = "sqeuclidean"
) -> float:
    """Bound the cost of dynamic time warping from below by Keogh's envelope.

    Every frame of `x` is aligned with some frame of `y` within the window, and costs at
    least its distance from the values that `y` has there:
    ``sum_i sum_f max(x_if - u_if, l_if - x_if, 0) ** 2``, where u and l are the
    greatest and the least value of feature f of `y` in the window of frame i.

    Parameters
    ----------
    x : array-like of shape (n, d) or (n,)
        The sequence whose frames are summed over.
    y : array-like of shape (m, d) or (m,)
        The sequence that the envelope is laid about.
    radius : int, float or None, default=0.1
        Half width of the window 'sakoe_chiba', as `dtw_path` takes it: in frames, or
        for a float as a share of the longer sequence. None is no window.
    metric : {'sqeuclidean', 'manhattan'}, default='sqeuclidean'
        Local cost of two frames: a sum of squared or of absolute differences.

    Returns
    -------
    float
        At most ``dtw_distance(x, y, window="sakoe_chiba", radius=radius)``, for the
        same metric and any penalty. The bound of (y, x) is another one.

    Raises
    ------
    TypeError
        If an option has another type.
    ValueError
        If a sequence is empty or has NaN, the sequences have different features, the
        metric is another one, the radius leaves no path, or the bound overflows.

    See Also
    --------
    lb_improved : A greater bound, in some more time.
    dtw_neighbors : Searches by both.

    Notes
    -----
    The published bound is for equal lengths. The window tells what a frame may be
    aligned with for unlike ones too.

    References
    ----------
    Keogh, E. and Ratanamahatana, C. A. (2005). Exact indexing of dynamic time warping.
    Knowledge and Information Systems 7(3), 358-386.

    Examples
    --------
    >>> from mmfusion.alignment import dtw_distance, lb_keogh
    >>> x, y = [0.0, 4.0, 1.0, 0.0], [1.0, 0.0, 2.0, 1.0]
    >>> lb_keogh(x, y, radius=1)
    5.0
    >>> dtw_distance(x, y, window="sakoe_chiba", radius=1)
    6.0
    """
    return _finite(_bounds(x, y, radius, metric)[0])


def lb_improved(
    x: Any, y: Any, radius: float | None = 0.1, *, metric: str = "sqeuclidean"
) -> float:
    """Bound the cost of dynamic time warping from below in two passes.

    To the bound of `lb_keogh` it adds that of `y` against the envelope of what `x`
    becomes when it is clipped to the envelope of `y`.

    Parameters
    ----------
    x : array-like of shape (n, d) or (n,)
        The sequence whose frames the first pass sums over.
    y : array-like of shape (m, d) or (m,)
        The sequence that the first envelope is laid about.
    radius : int, float or None, default=0.1
        Half width of the window 'sakoe_chiba', as `dtw_path` takes it: in frames, or
        for a float as a share of the longer sequence. None is no window.
    metric : {'sqeuclidean', 'manhattan'}, default='sqeuclidean'
        Local cost of two frames: a sum of squared or of absolute differences.

    Returns
    -------
    float
        At least ``lb_keogh(x, y, radius)``, and at most
        ``dtw_distance(x, y, window="sakoe_chiba", radius=radius)``, for the same metric
        and any penalty.

    Raises
    ------
    TypeError, ValueError
        As `lb_keogh` does.

    See Also
    --------
    lb_keogh : The first pass alone.

    References
    ----------
    Lemire, D. (2009). Faster retrieval with a two-pass dynamic-time-warping lower
    bound. Pattern Recognition 42(9), 2169-2180.

    Examples
    --------
    >>> from mmfusion.alignment import lb_improved, lb_keogh
    >>> x, y = [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 3.0, 0.0]
    >>> lb_keogh(x, y, radius=1), lb_improved(x, y, radius=1)
    (0.0, 4.0)
    """
    return _finite(sum(_bounds(x, y, radius, metric)))


def _finite(bound: float) -> float:
    if np.isinf(bound):
        raise ValueError(
            f"the lower bound of x and y overflows: it is larger than "
            f"{np.finfo(float).max:.2g}; rescale them (divide all by one number)"
        )
    return bound


def _bounds(x: Any, y: Any, radius: float | None, metric: str) -> tuple[float, float]:
    """What both passes give."""
    check_choice(metric, "metric", BOUNDED)
    if radius is not None:
        radius = check_frames_or_share(radius, "radius")
    x, y = (
        np.ascontiguousarray(as_sequence(z, name), np.float64)
        for z, name in ((x, "x"), (y, "y"))
    )
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x has {x.shape[1]} features and y has {y.shape[1]}: no metric compares "
            "them"
        )
    n, m = len(x), len(y)
    window = whole_window(n, m) if radius is None else sakoe_chiba(n, m, radius)
    squared = metric == "sqeuclidean"
    lower, upper, clipped = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    envelope(y, window, lower, upper)
    first = excess(x.ravel(), lower.ravel(), upper.ravel(), squared)
    clip(x.ravel(), lower.ravel(), upper.ravel(), clipped.ravel())
    lower, upper = np.empty_like(y), np.empty_like(y)
    envelope(clipped, transposed(window, m), lower, upper)
    return first, excess(y.ravel(), lower.ravel(), upper.ravel(), squared)
