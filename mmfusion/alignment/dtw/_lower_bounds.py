"""Lower bounds of dynamic time warping, from envelopes of sequences."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._compilation import jit, jit_reordered
from mmfusion._sequences import as_sequence, transposed_remedy
from mmfusion.alignment.dtw._parameters import check_choice, check_frames_or_share
from mmfusion.alignment.dtw._windows import sakoe_chiba, transposed, whole_window

# metrics that are sums over features, so that an envelope by feature bounds them
BOUNDED_METRICS = ("manhattan", "sqeuclidean")


@jit
def envelope(frames, window, lower, upper):
    """Compute the smallest and largest values of frames in the window of each row.

    Both are computed for 1, 2, 4, ... consecutive frames; two such runs, each of at
    least half its width, cover the window of a row. These are somewhat more comparisons
    than with a queue (Lemire 2009), but of contiguous numbers and of all features at
    once, which is vectorised.

    Parameters
    ----------
    frames : ndarray of shape (m, d)
        The frames.
    window : Window
        Columns of each of n rows.
    lower, upper : ndarray of shape (n, d)
        Arrays to which the envelope is written.
    """
    m, d = frames.shape
    n = len(window.starts)
    least, greatest = frames.ravel().copy(), frames.ravel().copy()
    # loops that write to the array they read are not vectorised
    next_least, next_greatest = np.empty(m * d), np.empty(m * d)
    flat_lower, flat_upper = lower.ravel(), upper.ravel()
    size, reach, widest = m * d, 1, 1
    while reach <= widest:
        i = 0
        while i < n:
            start, stop = window.starts[i], window.stops[i]
            run = 1  # rows of the same width, each one frame further than the last
            while (
                i + run < n
                and window.starts[i + run] == start + run
                and window.stops[i + run] == stop + run
            ):
                run += 1
            repeats = 0  # rows with the same window as the last, as in a whole window
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


@jit
def _take_least(a, b, size, out):
    for k in range(size):
        out[k] = min(a[k], b[k])


@jit
def _take_greatest(a, b, size, out):
    for k in range(size):
        out[k] = max(a[k], b[k])


@jit_reordered
def excess(values, lower, upper, squared):
    """Sum the distances of values from an envelope.

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


@jit_reordered
def excess_of_frames(frames, lower, upper, squared, shares):
    """Sum the distances of values from an envelope, frame by frame.

    Parameters
    ----------
    frames, lower, upper : ndarray of shape (n, d)
        The values and the envelope.
    squared : bool
        Whether squares are summed.
    shares : ndarray of shape (n,)
        Array to which the sums are written.
    """
    n, d = frames.shape
    for i in range(n):
        share = 0.0
        for f in range(d):
            value = frames[i, f]
            out = max(max(value - upper[i, f], lower[i, f] - value), 0.0)
            share += out * out if squared else out
        shares[i] = share


@jit
def clip_to_envelope(values, lower, upper, out):
    """Clip values to an envelope.

    Parameters
    ----------
    values, lower, upper : ndarray of shape (size,)
        The values and the envelope.
    out : ndarray of shape (size,)
        Array to which the clipped values are written.
    """
    for k in range(len(values)):
        out[k] = min(max(values[k], lower[k]), upper[k])


def lb_keogh(
    x: ArrayLike,
    y: ArrayLike,
    radius: float | None = 0.1,
    *,
    metric: str = "sqeuclidean",
) -> float:
    """Bound the cost of dynamic time warping from below by Keogh's envelope.

    Every frame of `x` is aligned with a frame of `y` within the window, at a cost of at
    least its distance from the values of `y` there. The bound is
    ``sum_i sum_f max(x_if - u_if, l_if - x_if, 0) ** 2``, where u and l are the largest
    and the smallest value of feature f of `y` in the window of frame i.

    Parameters
    ----------
    x : array-like of shape (n, d) or (n,)
        The sequence over whose frames the bound sums.
    y : array-like of shape (m, d) or (m,)
        The sequence of which the envelope is computed.
    radius : int, float or None, default=0.1
        Half width of the window 'sakoe_chiba', as in `dtw_path`: an int is a number of
        frames, a float a share of the longer sequence. None is no window.
    metric : {'sqeuclidean', 'manhattan'}, default='sqeuclidean'
        Local cost of two frames: a sum of squared or of absolute differences.

    Returns
    -------
    float
        At most ``dtw_distance(x, y, window="sakoe_chiba", radius=radius)``, for the
        same metric and any penalty. The bound is not symmetric in x and y.

    Raises
    ------
    TypeError
        If a parameter has another type.
    ValueError
        If a sequence is empty or has NaN, the sequences have different features, there
        does not bound the metric, no path fits into the radius, or the bound
        overflows.

    See Also
    --------
    lb_improved : The tighter bound of two passes.
    dtw_neighbors : Nearest neighbours by both bounds.

    Notes
    -----
    The published bound is for equal lengths. With the window of `dtw_path` it also
    holds for different ones.

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
    return _check_bound(_both_passes(x, y, radius, metric)[0])


def lb_improved(
    x: ArrayLike,
    y: ArrayLike,
    radius: float | None = 0.1,
    *,
    metric: str = "sqeuclidean",
) -> float:
    """Bound the cost of dynamic time warping from below in two passes.

    It is ``lb_keogh(x, y) + lb_keogh(y, h(x))``, where ``h(x)`` is `x` clipped to the
    envelope of `y`.

    Parameters
    ----------
    x : array-like of shape (n, d) or (n,)
        The sequence over whose frames the first pass sums.
    y : array-like of shape (m, d) or (m,)
        The sequence of which the first envelope is computed.
    radius : int, float or None, default=0.1
        Half width of the window 'sakoe_chiba', as in `dtw_path`: an int is a number of
        frames, a float a share of the longer sequence. None is no window.
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
        Under the conditions of `lb_keogh`.

    See Also
    --------
    lb_keogh : The bound of the first pass.

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
    return _check_bound(sum(_both_passes(x, y, radius, metric)))


def _check_bound(bound: float) -> float:
    """Raise an error for a bound that overflows."""
    if np.isinf(bound):
        raise ValueError(
            f"the lower bound of x and y overflows: it is larger than "
            f"{np.finfo(float).max:.2g}; rescale them (divide all by one number)"
        )
    return bound


def _both_passes(
    x: ArrayLike, y: ArrayLike, radius: float | None, metric: str
) -> tuple[float, float]:
    """Compute the sums of the first and of the second pass."""
    check_choice(metric, "metric", BOUNDED_METRICS)
    if radius is not None:
        radius = check_frames_or_share(radius, "radius")
    x, y = (
        np.ascontiguousarray(as_sequence(frames, name), np.float64)
        for frames, name in ((x, "x"), (y, "y"))
    )
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x has {x.shape[1]} features and y has {y.shape[1]}: no metric compares "
            f"them{transposed_remedy([x, y])}"
        )
    n, m = len(x), len(y)
    window = whole_window(n, m) if radius is None else sakoe_chiba(n, m, radius)
    squared = metric == "sqeuclidean"
    lower, upper, clipped = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    envelope(y, window, lower, upper)
    first = excess(x.ravel(), lower.ravel(), upper.ravel(), squared)
    clip_to_envelope(x.ravel(), lower.ravel(), upper.ravel(), clipped.ravel())
    lower, upper = np.empty_like(y), np.empty_like(y)
    envelope(clipped, transposed(window, m), lower, upper)
    return first, excess(y.ravel(), lower.ravel(), upper.ravel(), squared)
