"""Soft-DTW: the soft minimum over all paths, its expected alignment and gradient."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isfinite, log
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._memory import check_fits
from mmfusion._sequences import as_sequence
from mmfusion._typing import MetricLike
from mmfusion.alignment.dtw._costs import Costs, make_costs
from mmfusion.alignment.dtw._parameters import (
    check_bool,
    check_choice,
    check_frames_or_share,
    check_real_at_least,
)
from mmfusion.alignment.dtw._path import dtw_distance
from mmfusion.alignment.dtw._path_sums import (
    FORBIDDEN_EXPONENT,
    LOG2,
    Diagonals,
    diagonals_of,
    fill_by_diagonals,
    fill_by_rows,
    mean_costs,
    mean_costs_back,
    sum_paths,
    sum_paths_back,
)
from mmfusion.alignment.dtw._windows import Window, make_window

LEAST_GAMMA = 1e-200
HARD_COST_RATIO = 1e14  # of a cost to gamma: above, soft-DTW is DTW up to rounding
# of a cost to a logarithm, where all paths weigh the same: still infinite times inf, so
# that no path visits forbidden cells
EQUAL_WEIGHTS_SCALE = -(2.0**-1022)

FORMS = ("mean", "sharp", "soft")
SOFT_WINDOWS = ("itakura", "sakoe_chiba")


@dataclass(frozen=True)
class SoftOptions:
    """The options that the functions of soft-DTW share.

    Parameters are those of `soft_dtw`.
    """

    gamma: float = 1.0
    metric: MetricLike = "sqeuclidean"
    form: str = "soft"
    window: str | None = None
    radius: float = 0.1
    max_slope: float = 2.0
    scale: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check each option."""
        gamma = check_real_at_least(self.gamma, "gamma", 0)
        if gamma <= LEAST_GAMMA:
            raise ValueError(
                f"gamma={gamma}; soft-DTW needs one above 0: its limit at 0 is "
                "dtw_distance"
            )
        check_choice(self.form, "form", FORMS)
        if self.window is not None:
            check_choice(self.window, "window", SOFT_WINDOWS)
        checked = {
            "gamma": gamma,
            "radius": check_frames_or_share(self.radius, "radius"),
            "max_slope": check_real_at_least(self.max_slope, "max_slope", 1),
            # a factor that turns a cost into a logarithm to the base 2
            "scale": EQUAL_WEIGHTS_SCALE if self.form == "mean" else -1 / gamma / LOG2,
        }
        for name, value in checked.items():  # the class is frozen
            object.__setattr__(self, name, value)

    def window_of(self, n: int, m: int) -> Window:
        """Return the window of n and m frames."""
        return make_window(n, m, self.window, self.radius, self.max_slope)


class SoftDTWAlignment(NamedTuple):
    """Result of `soft_dtw_alignment`.

    Parameters
    ----------
    expected : ndarray of shape (n, m)
        Probability that a path, drawn in proportion to exp(-cost / gamma), visits a
        cell. The first and the last cell have 1; rows and columns add up to at least 1.
    value : float
        Soft-DTW of the two sequences.
    """

    expected: np.ndarray
    value: float


class SoftDTWGradient(NamedTuple):
    """Result of `soft_dtw_gradient`.

    Parameters
    ----------
    value : float
        Soft-DTW of the two sequences, or its divergence.
    gradient : ndarray of shape (n, d)
        Its gradient with respect to the first sequence.
    """

    value: float
    gradient: np.ndarray


def soft_dtw(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    gamma: float = 1.0,
    metric: MetricLike = "sqeuclidean",
    divergence: bool = False,
    form: str = "soft",
    window: str | None = None,
    radius: float = 0.1,
    max_slope: float = 2.0,
) -> float:
    """Compute soft-DTW, the soft minimum of the costs of all warping paths.

    The value is ``-gamma log sum_paths exp(-cost / gamma)``, where the cost of a path
    is the sum of local costs along it; steps are (1, 0), (0, 1) and (1, 1), of weight
    1. Other forms are means of the costs of paths.

    Parameters
    ----------
    x : array-like of shape (n, d)
        First sequence; one of shape (n,) has a single feature. For 'precomputed' the
        local costs, of shape (n, m).
    y : array-like of shape (m, d), default=None
        Second sequence; None for 'precomputed'.
    gamma : float, default=1.0
        Softness, in units of the local costs. Near 0 the value is that of DTW.
    metric : str or callable, default='sqeuclidean'
        Local cost of two frames: 'sqeuclidean', 'euclidean', 'cosine', 'correlation',
        'manhattan', 'precomputed', or a function of two arrays of frames that returns
        the matrix of their costs. No path visits cells whose cost is inf.
    divergence : bool, default=False
        Whether the mean of the values of `x` with itself and `y` with itself is
        subtracted, which makes the value of a sequence with itself 0.
    form : {'soft', 'sharp', 'mean'}, default='soft'
        The soft minimum; the mean cost of paths that are drawn in proportion to
        ``exp(-cost / gamma)`` ('sharp': the soft minimum without its entropy, closer to
        DTW and never below it); or the mean cost of all paths, which does not depend on
        `gamma` ('mean': the limit of 'sharp' for a large one).
    window : {'sakoe_chiba', 'itakura'} or None, default=None
        Frames that may be aligned, as in `dtw_path`: paths within the window alone are
        summed, and cells outside of it take neither time nor memory.
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' in frames; a float is a share of the longer
        sequence, at most 1.
    max_slope : float, default=2.0
        Largest slope of 'itakura', relative to the straight line; at least 1.

    Returns
    -------
    float
        The value. That of 'soft' may be negative without `divergence`, and is for a
        sequence with itself.

    Raises
    ------
    TypeError
        If a parameter has another type.
    ValueError
        If `gamma` is not positive, a sequence is empty or has a value that is NaN or
        infinite, the sequences have different features, no path has a finite cost or
        fits into the window, there is no such form or window,
        `divergence` is set for precomputed costs, or the value or the memory that is
        needed is too large.

    See Also
    --------
    soft_dtw_alignment : The value and the expected alignment.
    soft_dtw_gradient : The value and its gradient.
    dtw_barycenter : Mean of sequences under soft-DTW.

    Notes
    -----
    All is computed in float64, also for float32. Memory is one number per pair of
    frames within the window.

    References
    ----------
    Cuturi, M. and Blondel, M. (2017). Soft-DTW: a differentiable loss function for
    time-series. ICML 34, 894-903. Equation 1.

    Blondel, M., Mensch, A. and Vert, J.-P. (2021). Differentiable divergences between
    time series. AISTATS 24, 3853-3861. (divergences, 'sharp' and 'mean')

    Examples
    --------
    >>> from mmfusion.alignment import soft_dtw
    >>> x, y = [0.0, 1.0, 2.0], [0.0, 2.0]
    >>> round(soft_dtw(x, y, gamma=0.01), 6)  # DTW: 1, along one of two paths
    0.993069
    >>> round(soft_dtw(x, x), 6)
    -1.190428
    >>> soft_dtw(x, x, divergence=True)
    0.0
    """
    divergence = check_bool(divergence, "divergence")
    if divergence and isinstance(metric, str) and metric == "precomputed":
        raise ValueError(
            "divergence=True needs both sequences, and metric='precomputed' has only "
            "costs; subtract (soft_dtw(costs of x, x) + soft_dtw(costs of y, y)) / 2"
        )
    options = SoftOptions(gamma, metric, form, window, radius, max_slope)
    value = soft_value(x, y, options)
    if divergence:
        both = x, cast(ArrayLike, y)
        own, other = (soft_value(z, z, options) for z in both)
        value -= (own + other) / 2
    return value


def soft_dtw_alignment(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    gamma: float = 1.0,
    metric: MetricLike = "sqeuclidean",
    window: str | None = None,
    radius: float = 0.1,
    max_slope: float = 2.0,
) -> SoftDTWAlignment:
    """Compute soft-DTW and the expected alignment.

    The expected alignment is the probability that a path, drawn in proportion to
    ``exp(-cost / gamma)``, visits a pair of frames.

    Parameters
    ----------
    x : array-like of shape (n, d)
        First sequence; one of shape (n,) has a single feature. For 'precomputed' the
        local costs, of shape (n, m).
    y : array-like of shape (m, d), default=None
        Second sequence; None for 'precomputed'.
    gamma : float, default=1.0
        Softness, in units of the local costs. Near 0 the expected alignment is the best
        path, or the mean of all best ones.
    metric : str or callable, default='sqeuclidean'
        Local cost of two frames, as in `soft_dtw`.
    window : {'sakoe_chiba', 'itakura'} or None, default=None
        Frames that may be aligned, as in `dtw_path`: paths within the window alone are
        summed, and cells outside of it take neither time nor memory.
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' in frames; a float is a share of the longer
        sequence, at most 1.
    max_slope : float, default=2.0
        Largest slope of 'itakura', relative to the straight line; at least 1.

    Returns
    -------
    SoftDTWAlignment
        With `expected` of shape (n, m), the gradient of the value with respect to the
        local costs, and `value`.

    Raises
    ------
    TypeError, ValueError
        Under the conditions of `soft_dtw`.

    See Also
    --------
    soft_dtw : The value alone, in less memory.

    Notes
    -----
    All is computed in float64, also for float32. Memory is three numbers per
    pair of frames.

    References
    ----------
    Cuturi, M. and Blondel, M. (2017). Soft-DTW: a differentiable loss function for
    time-series. ICML 34, 894-903. Section 2.3.

    Examples
    --------
    >>> from mmfusion.alignment import soft_dtw_alignment
    >>> expected, value = soft_dtw_alignment([0.0, 1.0, 2.0], [0.0, 2.0], gamma=0.01)
    >>> expected.round(3).tolist()  # the middle frame may go to either
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    options = SoftOptions(gamma, metric, "soft", window, radius, max_slope)
    return _expected_alignment(x, y, options)


def soft_dtw_gradient(
    x: ArrayLike,
    y: ArrayLike,
    *,
    gamma: float = 1.0,
    divergence: bool = False,
    form: str = "soft",
    window: str | None = None,
    radius: float = 0.1,
    max_slope: float = 2.0,
) -> SoftDTWGradient:
    """Compute soft-DTW of squared Euclidean costs and its gradient.

    Parameters
    ----------
    x : array-like of shape (n, d)
        The sequence of the gradient; one of shape (n,) has a single feature.
    y : array-like of shape (m, d)
        Second sequence.
    gamma : float, default=1.0
        Softness, in units of the squared distance of two frames.
    divergence : bool, default=False
        Whether the mean of the values of `x` with itself and `y` with itself is
        subtracted. The divergence of equal sequences is 0.
    form : {'soft', 'sharp', 'mean'}, default='soft'
        The soft minimum, or a mean of the costs of paths, as in `soft_dtw`.
    window : {'sakoe_chiba', 'itakura'} or None, default=None
        Frames that may be aligned, as in `dtw_path`: paths within the window alone are
        summed, and cells outside of it take neither time nor memory.
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' in frames; a float is a share of the longer
        sequence, at most 1.
    max_slope : float, default=2.0
        Largest slope of 'itakura', relative to the straight line; at least 1.

    Returns
    -------
    SoftDTWGradient
        With `value`, and `gradient` of shape (n, d), with respect to `x`; in float32
        if `x` is.

    Raises
    ------
    TypeError, ValueError
        Under the conditions of `soft_dtw`.

    See Also
    --------
    soft_dtw : The value alone, in less memory.

    References
    ----------
    Cuturi, M. and Blondel, M. (2017). Soft-DTW: a differentiable loss function for
    time-series. ICML 34, 894-903. Section 2.3.

    Blondel, M., Mensch, A. and Vert, J.-P. (2021). Differentiable divergences between
    time series. AISTATS 24, 3853-3861. ('sharp', whose gradient is a product with the
    Hessian of the soft minimum, and 'mean')

    Examples
    --------
    >>> from mmfusion.alignment import soft_dtw_gradient
    >>> value, gradient = soft_dtw_gradient([0.0, 1.0, 2.0], [0.0, 2.0], gamma=0.01)
    >>> gradient.round(3).ravel().tolist()
    [0.0, 0.0, 0.0]
    >>> value, gradient = soft_dtw_gradient([0.0, 3.0], [0.0, 2.0], gamma=0.01)
    >>> gradient.round(3).ravel().tolist()
    [0.0, 2.0]
    """
    divergence = check_bool(divergence, "divergence")
    options = SoftOptions(gamma, "sqeuclidean", form, window, radius, max_slope)
    x, y = as_sequence(x, "x"), as_sequence(y, "y")
    value, gradient = _value_and_gradient(x, y, options)
    if divergence:
        own, own_gradient = _value_and_gradient(x, x, options)
        value -= (own + soft_value(y, y, options)) / 2
        # x is both arguments of its own value: half of that has the whole gradient
        gradient -= own_gradient
    return SoftDTWGradient(value, gradient.astype(x.dtype, copy=False))


def soft_value(x: ArrayLike, y: ArrayLike | None, options: SoftOptions) -> float:
    """Compute soft-DTW, without the terms of a divergence.

    Parameters
    ----------
    x, y : array-like
        The sequences, as in `soft_dtw`.
    options : SoftOptions
        The options.

    Returns
    -------
    float
        The value.
    """
    costs = _float64_costs(x, y, options.metric)
    n, m = costs.n, costs.m
    window, diagonals = _layout(options, n, m, n_tables=1)
    cells, empty = np.empty(diagonals.offsets[-1]), np.empty(0)
    fill_by_diagonals(costs, window, m, diagonals, cells)
    if options.form == "soft":
        mantissa, exponent = sum_paths(cells, diagonals, n, options.scale, empty, empty)
    else:
        mean, exponent = mean_costs(
            cells, diagonals, n, options.scale, empty, empty, empty
        )
    if exponent <= FORBIDDEN_EXPONENT:
        return _hard_value(x, y, options)
    if options.form == "soft":
        return _value_of_sum(options.gamma, mantissa, exponent)
    return _finite(float(mean), options.gamma)


def _value_and_gradient(
    x: np.ndarray, y: np.ndarray, options: SoftOptions
) -> tuple[float, np.ndarray]:
    if options.form == "soft":
        weights, value = _expected_alignment(x, y, options)
    else:
        value, weights = _mean_and_gradient(x, y, options)
    # sum_j W_ij 2 (x_i - y_j); centred, so that fewer digits cancel
    middle = y.mean(axis=0, dtype=np.float64)
    x, y = x - middle, y - middle
    return value, 2 * (x * weights.sum(axis=1)[:, None] - weights @ y)


def _float64_costs(x: ArrayLike, y: ArrayLike | None, metric: MetricLike) -> Costs:
    costs = make_costs(x, y, metric, np.float64)
    # one type and layout, so that compilation happens once
    own = (np.require(z, np.float64, ["C", "W"]) for z in (costs.x, costs.y))
    return Costs(costs.kind, costs.root, costs.n, costs.m, *own)


def _layout(
    options: SoftOptions, n: int, m: int, n_tables: int
) -> tuple[Window, Diagonals]:
    """Return the window and its diagonals; check that tables of its cells fit."""
    window = options.window_of(n, m)
    diagonals = diagonals_of(window, m)
    check_fits(
        n_tables * int(diagonals.offsets[-1]) * np.dtype(np.float64).itemsize,
        f"soft-DTW of {n} and {m} frames",
        "shorten the sequences, set a window, or take gamma=0 (dtw_path), which needs "
        "no table",
    )
    return window, diagonals


def _expected_alignment(
    x: ArrayLike, y: ArrayLike | None, options: SoftOptions
) -> SoftDTWAlignment:
    costs = _float64_costs(x, y, options.metric)
    n, m = costs.n, costs.m
    window, diagonals = _layout(options, n, m, n_tables=3)
    n_cells = diagonals.offsets[-1]
    cells, sums, exponents = (np.empty(n_cells) for _ in range(3))
    fill_by_diagonals(costs, window, m, diagonals, cells)
    mantissa, exponent = sum_paths(cells, diagonals, n, options.scale, sums, exponents)
    if exponent <= FORBIDDEN_EXPONENT:
        value = _hard_value(x, y, options)
    else:
        value = _value_of_sum(options.gamma, mantissa, exponent)
    if value > 2 * HARD_COST_RATIO * options.gamma:  # exponents would lose whole digits
        softer = replace(options, gamma=value / HARD_COST_RATIO)
        return _expected_alignment(x, y, softer)._replace(value=value)
    sum_paths_back(cells, diagonals, n, options.scale, sums, exponents)
    # the memory of the sums is free now
    expected = sums.reshape(n, m) if window.whole else np.empty((n, m))
    fill_by_rows(cells, window, diagonals, expected)
    return SoftDTWAlignment(expected, value)


def _mean_and_gradient(
    x: ArrayLike, y: ArrayLike | None, options: SoftOptions
) -> tuple[float, np.ndarray]:
    """Compute the mean cost, and its gradient with respect to the local costs."""
    costs = _float64_costs(x, y, options.metric)
    n, m = costs.n, costs.m
    window, diagonals = _layout(options, n, m, n_tables=4)
    n_cells = diagonals.offsets[-1]
    cells, sums, exponents, means = (np.empty(n_cells) for _ in range(4))
    fill_by_diagonals(costs, window, m, diagonals, cells)
    gamma = np.inf if options.form == "mean" else options.gamma
    value, exponent = mean_costs(
        cells, diagonals, n, options.scale, sums, exponents, means
    )
    if exponent <= FORBIDDEN_EXPONENT:
        value = _hard_value(x, y, options)
    if value > 2 * HARD_COST_RATIO * gamma:  # exponents would lose whole digits
        softer = replace(options, gamma=value / HARD_COST_RATIO)
        return value, _mean_and_gradient(x, y, softer)[1]
    value = _finite(float(value), options.gamma)
    mean_costs_back(cells, diagonals, n, options.scale, sums, exponents, means, gamma)
    weights = sums.reshape(n, m) if window.whole else np.empty((n, m))
    fill_by_rows(cells, window, diagonals, weights)
    return value, weights


def _hard_value(x: ArrayLike, y: ArrayLike | None, options: SoftOptions) -> float:
    """Compute DTW, which equals soft-DTW up to rounding for costs that are so large.

    Raise the error for costs that overflow, or without a path.
    """
    window: dict[str, Any] = {
        "window": options.window,
        "radius": options.radius,
        "max_slope": options.max_slope,
    }
    return dtw_distance(x, y, metric=options.metric, **window)


def _value_of_sum(gamma: float, mantissa: float, exponent: float) -> float:
    """Return -gamma log Z of the last cell."""
    return _finite(-gamma * LOG2 * (exponent + log(mantissa) / LOG2), gamma)


def _finite(value: float, gamma: float) -> float:
    if not isfinite(value):
        raise ValueError(
            f"soft-DTW overflows for gamma={gamma}; rescale the sequences (divide all "
            "by one number), and gamma with the costs"
        )
    return value
