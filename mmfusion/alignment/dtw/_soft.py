"""Soft-DTW: the soft minimum over all paths, its expected alignment and gradient.

Sums over paths are formed themselves, not their logarithms: every cell holds a mantissa
and an exponent, so that nothing under- or overflows however small gamma is, and a cell
needs one power and no logarithm. Cells of a diagonal do not depend on each other and
are computed together. The expected alignment is what goes through a cell from both
ends; its errors are those of a few sums, where differences of long logarithms would
lose digits.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial, isfinite, log
from typing import Any, NamedTuple

import numpy as np

from mmfusion._memory import check_fits
from mmfusion._sequences import as_sequence
from mmfusion.alignment.dtw._costs import make_costs, shape_of
from mmfusion.alignment.dtw._kernels import Costs, _compiled, fill_costs
from mmfusion.alignment.dtw._parameters import check_real, check_truth
from mmfusion.alignment.dtw._path import dtw_distance

LOG2 = log(2)
LEAST_GAMMA = 1e-200
CLOSED = -1e280  # exponent of a cell of infinite cost, or of nearly as much
HARD = 1e14  # times gamma: costs from which soft-DTW is DTW, to rounding
OUTSIDE = -1e300  # and of what lies beside the matrix
TILE_ROWS, TILE_COLUMNS = 128, 256  # what is turned to diagonals within the cache

# layout of a float64: bits of the mantissa, of a one, and of 2**52 and its value
_MANTISSA, _ONE = 2**52 - 1, 0x3FF0000000000000
_INTEGER_BITS, _INTEGER = 0x4330000000000000, 2.0**52
# Taylor series of 2**t, to the last bit for abs(t) <= 1/2
_P0, _P1, _P2, _P3, _P4, _P5, _P6, _P7, _P8, _P9, _P10, _P11, _P12, _P13 = (
    LOG2**k / factorial(k) for k in range(14)
)


@_compiled
def _power(t):
    p = _P13 * t + _P12
    p = p * t + _P11
    p = p * t + _P10
    p = p * t + _P9
    p = p * t + _P8
    p = p * t + _P7
    p = p * t + _P6
    p = p * t + _P5
    p = p * t + _P4
    p = p * t + _P3
    p = p * t + _P2
    p = p * t + _P1
    return p * t + _P0


@_compiled
def _whole_power(exponent):
    """Two to a whole number below 1024; zero below -1022."""
    biased = max(exponent, -1023.0) + (_INTEGER + 1023)
    bits = np.float64(biased).view(np.int64)
    return np.int64(bits << 52).view(np.float64)


# Each loop below writes one array, and two at most: LLVM vectorises none with more.
# They begin at 0, for numba looks for negative indices in any other.


@_compiled
def _split(costs, scale, size, factors, shifts):
    for i in range(size):
        power = max(costs[i] * scale, CLOSED)
        whole = np.floor(power + 0.5)
        shifts[i] = whole
        factors[i] = _power(power - whole)


@_compiled
def _greatest(beside, across, size, tops):
    for i in range(size):
        tops[i] = max(max(beside[i], beside[i + 1]), across[i])


@_compiled
def _add(beside, beside_exponents, across, across_exponents, tops, size, sums):
    for i in range(size):
        top = tops[i]
        sums[i] = (
            beside[i] * _whole_power(beside_exponents[i] - top)
            + beside[i + 1] * _whole_power(beside_exponents[i + 1] - top)
            + across[i] * _whole_power(across_exponents[i] - top)
        )


@_compiled
def _take_mantissas(sums, factors, size, mantissas):
    for i in range(size):
        bits = np.float64(sums[i] * factors[i]).view(np.int64)
        mantissas[i] = np.int64((bits & _MANTISSA) | _ONE).view(np.float64)


@_compiled
def _take_exponents(sums, factors, tops, shifts, size, exponents):
    for i in range(size):
        bits = np.float64(sums[i] * factors[i]).view(np.int64)
        own = np.int64((bits >> 52) | _INTEGER_BITS).view(np.float64)
        exponents[i] = tops[i] + shifts[i] + (own - (_INTEGER + 1023))


@_compiled
def _copy(values, size, out):
    for i in range(size):
        out[i] = values[i]


@_compiled
def _meet(mantissas, exponents, sums, tops, total, total_exponent, size, shares):
    for i in range(size):
        power = _whole_power(exponents[i] + tops[i] - total_exponent)
        shares[i] = mantissas[i] * sums[i] * power / total


class _Rings(NamedTuple):
    """Mantissas and exponents of a diagonal and of the two before, in turn.

    Parameters
    ----------
    mantissas, exponents : ndarray of shape (3, n + 2)
        The entry of a row is one further than its number.
    """

    mantissas: np.ndarray
    exponents: np.ndarray


class _Work(NamedTuple):
    """Room for one diagonal.

    Parameters
    ----------
    sums, tops : ndarray of shape (n,)
        Sums over the neighbours of each cell, and their exponents.
    factors, shifts : ndarray of shape (n,)
        Mantissas and exponents of what the cells themselves contribute.
    """

    sums: np.ndarray
    tops: np.ndarray
    factors: np.ndarray
    shifts: np.ndarray


@_compiled
def _start(n, entry):
    """Make rings in which nothing but an entry before the first cell counts."""
    mantissas, exponents = np.zeros((3, n + 2)), np.full((3, n + 2), OUTSIDE)
    mantissas[1, entry], exponents[1, entry] = 1, 0
    work = _Work(np.empty(n), np.empty(n), np.empty(n), np.empty(n))
    return _Rings(mantissas, exponents), work


@_compiled
def _fill_diagonal(costs, scale, begin, size, ahead, done, rings, work):
    """Fill a diagonal of ``Z = 2**(scale * c) * (sum of Z over the neighbours)``.

    Parameters
    ----------
    costs : ndarray
        Local costs, from those of the diagonal on.
    scale : float
        What makes a cost the logarithm of a factor, to the base 2.
    begin, size : int
        First row of the diagonal, and their number.
    ahead : int
        0 where neighbours lie in the rows above, 1 where in those below.
    done : int
        How many diagonals were filled.
    rings : _Rings
        Holds the two before, and then this one.
    work : _Work
        To work in.
    """
    sums, tops, factors, shifts = work
    near, far, own = begin + ahead, begin + 2 * ahead, done % 3
    mantissas, exponents = rings.mantissas[own], rings.exponents[own]
    beside = rings.mantissas[(done + 2) % 3][near:]
    beside_exponents = rings.exponents[(done + 2) % 3][near:]
    across = rings.mantissas[(done + 1) % 3][far:]
    across_exponents = rings.exponents[(done + 1) % 3][far:]
    _split(costs, scale, size, factors, shifts)
    _greatest(beside_exponents, across_exponents, size, tops)
    _add(beside, beside_exponents, across, across_exponents, tops, size, sums)
    _take_mantissas(sums, factors, size, mantissas[begin + 1 :])
    _take_exponents(sums, factors, tops, shifts, size, exponents[begin + 1 :])
    mantissas[begin] = mantissas[begin + size + 1] = 0
    exponents[begin] = exponents[begin + size + 1] = OUTSIDE


@_compiled
def _sum_paths(costs, n, m, scale, mantissas, exponents):
    """Sum over the paths from the first cell, to every cell.

    Parameters
    ----------
    costs : ndarray of shape (n * m,)
        Local costs, diagonal by diagonal.
    n, m : int
        Frames.
    scale : float
        What makes a cost the logarithm of a factor, to the base 2.
    mantissas, exponents : ndarray of shape (n * m,)
        Become the sums, diagonal by diagonal; may be empty.

    Returns
    -------
    tuple of float
        Mantissa and exponent of the last cell.
    """
    rings, work = _start(n, 0)
    at = 0
    for k in range(n + m - 1):
        begin = max(0, k - m + 1)
        size = min(k + 1, n) - begin
        _fill_diagonal(costs[at:], scale, begin, size, 0, k, rings, work)
        if len(mantissas):
            _copy(rings.mantissas[k % 3][begin + 1 :], size, mantissas[at:])
            _copy(rings.exponents[k % 3][begin + 1 :], size, exponents[at:])
        at += size
    last = (n + m - 2) % 3
    return rings.mantissas[last, n], rings.exponents[last, n]


@_compiled
def _sum_paths_back(costs, n, m, scale, mantissas, exponents):
    """Sum over the paths from the last cell, and see what goes through each cell.

    Parameters
    ----------
    costs : ndarray of shape (n * m,)
        Local costs, diagonal by diagonal. Become the expected alignment.
    n, m, scale, mantissas, exponents
        As `_sum_paths` took and left them.
    """
    rings, work = _start(n, n + 1)
    at = n * m
    total, total_exponent = mantissas[at - 1], exponents[at - 1]
    for done in range(n + m - 1):
        k = n + m - 2 - done
        begin = max(0, k - m + 1)
        size = min(k + 1, n) - begin
        at -= size
        own = costs[at:]
        _fill_diagonal(own, scale, begin, size, 1, done, rings, work)
        passed, passed_exponents = mantissas[at:], exponents[at:]
        sums, tops = work.sums, work.tops
        _meet(passed, passed_exponents, sums, tops, total, total_exponent, size, own)


@_compiled
def _fill_by_diagonals(costs, n, m, diagonals):
    """Write local costs diagonal by diagonal.

    Parameters
    ----------
    costs : Costs
        What they are made from.
    n, m : int
        Frames.
    diagonals : ndarray of shape (n * m,)
        Where to.
    """
    room = np.empty(min(n, TILE_ROWS) * min(m, TILE_COLUMNS))
    for i0 in range(0, n, TILE_ROWS):
        i1 = min(i0 + TILE_ROWS, n)
        for j0 in range(0, m, TILE_COLUMNS):
            j1 = min(j0 + TILE_COLUMNS, m)
            fill_costs(costs, i0, i1, j0, j1, room)
            _copy_tile(room, i0, i1, j0, j1, n, m, diagonals, False)


@_compiled
def _fill_by_rows(diagonals, table):
    """Copy a matrix that is given diagonal by diagonal.

    Parameters
    ----------
    diagonals : ndarray of shape (n * m,)
        Its cells.
    table : ndarray of shape (n, m)
        Becomes the matrix.
    """
    n, m = table.shape
    room = np.empty(min(n, TILE_ROWS) * min(m, TILE_COLUMNS))
    for i0 in range(0, n, TILE_ROWS):
        i1 = min(i0 + TILE_ROWS, n)
        for j0 in range(0, m, TILE_COLUMNS):
            j1 = min(j0 + TILE_COLUMNS, m)
            _copy_tile(room, i0, i1, j0, j1, n, m, diagonals, True)
            tile = room[: (i1 - i0) * (j1 - j0)]
            table[i0:i1, j0:j1] = tile.reshape(i1 - i0, j1 - j0)


@_compiled
def _copy_tile(tile, i0, i1, j0, j1, n, m, diagonals, back):
    """Copy a tile, row by row, to its place among the diagonals, or `back`."""
    stride = np.uint64(j1 - j0 - 1)  # numba looks for negative indices in signed ones
    for k in range(i0 + j0, i1 + j1 - 1):
        begin, end = max(i0, k - j1 + 1), min(i1, k - j0 + 1)
        at = np.uint64((begin - i0) * (j1 - j0) + k - begin - j0)
        to = np.uint64(_before(k, n, m) + begin - max(0, k - m + 1))
        if back:
            for i in range(np.uint64(end - begin)):
                tile[at + i * stride] = diagonals[to + i]
        else:
            for i in range(np.uint64(end - begin)):
                diagonals[to + i] = tile[at + i * stride]


@_compiled
def _before(k, n, m):
    """Count the cells of the diagonals before the k-th."""
    above, beside = max(0, k - n), max(0, k - m)
    return (k * (k + 1) - above * (above + 1) - beside * (beside + 1)) // 2


class SoftDTWAlignment(NamedTuple):
    """What `soft_dtw_alignment` gives.

    Parameters
    ----------
    value : float
        Soft-DTW of both sequences.
    expected : ndarray of shape (n, m)
        Probability that a path, drawn in proportion to exp(-cost / gamma), visits a
        cell. The first and the last cell have 1; rows and columns add up to at least 1.
    """

    value: float
    expected: np.ndarray


class SoftDTWGradient(NamedTuple):
    """What `soft_dtw_gradient` gives.

    Parameters
    ----------
    value : float
        Soft-DTW of both sequences, or its divergence.
    gradient : ndarray of shape (n, d)
        Its gradient with respect to the first sequence.
    """

    value: float
    gradient: np.ndarray


def soft_dtw(
    x: Any,
    y: Any = None,
    *,
    gamma: float = 1.0,
    metric: str | Callable[..., Any] = "sqeuclidean",
    divergence: bool = False,
) -> float:
    """Compute soft-DTW, the soft minimum of the costs of all warping paths.

    ``-gamma log sum_paths exp(-cost / gamma)``, where the cost of a path is the sum of
    local costs along it, steps are (1, 0), (0, 1) and (1, 1), and all weigh the same.

    Parameters
    ----------
    x : array-like of shape (n, d)
        A sequence; one of shape (n,) has a single feature. For 'precomputed' the local
        costs, of shape (n, m).
    y : array-like of shape (m, d), default=None
        The other one; None for 'precomputed'.
    gamma : float, default=1.0
        Softness, in units of the local costs. Near 0 the value is that of DTW.
    metric : str or callable, default='sqeuclidean'
        Local cost of two frames: 'sqeuclidean', 'euclidean', 'cosine', 'correlation',
        'manhattan', 'precomputed', or a function of two arrays of frames that gives
        the matrix of their costs. A cost may be inf, where no path may go.
    divergence : bool, default=False
        Whether the mean of the values of `x` with itself and `y` with itself is
        subtracted, which makes the value of a sequence with itself 0.

    Returns
    -------
    float
        The value. It may be negative, and a sequence compared with itself has one
        below 0, unless `divergence`.

    Raises
    ------
    TypeError
        If an option has another type.
    ValueError
        If `gamma` is not positive, a sequence is empty or has a value that is NaN or
        infinite, the sequences have different features, no path has a finite cost, a
        divergence of costs is asked for, or the value or the memory that is needed is
        too large.

    See Also
    --------
    soft_dtw_alignment : Gives the expected alignment too.
    soft_dtw_gradient : Gives the gradient too.
    dtw_barycenter : Averages sequences under it.

    Notes
    -----
    All is computed in float64, also for float32. Memory is one number per
    cell.

    References
    ----------
    Cuturi, M. and Blondel, M. (2017). Soft-DTW: a differentiable loss function for
    time-series. ICML 34, 894-903. Equation 1.

    Blondel, M., Mensch, A. and Vert, J.-P. (2021). Differentiable divergences between
    time series. AISTATS 24, 3853-3861. (the divergence)

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
    divergence = check_truth(divergence, "divergence")
    if divergence and isinstance(metric, str) and metric == "precomputed":
        raise ValueError(
            "divergence=True needs both sequences, and metric='precomputed' has only "
            "costs; subtract (soft_dtw(costs of x, x) + soft_dtw(costs of y, y)) / 2"
        )
    value = _value(x, y, metric, gamma)
    if divergence:
        own = [_value(z, z, metric, gamma) for z in (x, y)]
        value -= (own[0] + own[1]) / 2
    return value


def soft_dtw_alignment(
    x: Any,
    y: Any = None,
    *,
    gamma: float = 1.0,
    metric: str | Callable[..., Any] = "sqeuclidean",
) -> SoftDTWAlignment:
    """Compute soft-DTW and the expected alignment.

    Parameters
    ----------
    x : array-like of shape (n, d)
        A sequence; one of shape (n,) has a single feature. For 'precomputed' the local
        costs, of shape (n, m).
    y : array-like of shape (m, d), default=None
        The other one; None for 'precomputed'.
    gamma : float, default=1.0
        Softness, in units of the local costs. Near 0 the expected alignment is a path,
        or the mean of several that are as good.
    metric : str or callable, default='sqeuclidean'
        Local cost of two frames, as in `soft_dtw`.

    Returns
    -------
    SoftDTWAlignment
        With `value`, and `expected` of shape (n, m): the gradient of the value with
        respect to the local costs.

    Raises
    ------
    TypeError, ValueError
        As `soft_dtw` does.

    See Also
    --------
    soft_dtw : Gives the value alone, for less memory.

    Notes
    -----
    All is computed in float64, also for float32. Memory is three numbers per cell.

    References
    ----------
    Cuturi, M. and Blondel, M. (2017). Soft-DTW: a differentiable loss function for
    time-series. ICML 34, 894-903. Section 2.3.

    Examples
    --------
    >>> from mmfusion.alignment import soft_dtw_alignment
    >>> value, expected = soft_dtw_alignment([0.0, 1.0, 2.0], [0.0, 2.0], gamma=0.01)
    >>> expected.round(3).tolist()  # the middle frame goes with either
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    return _align(x, y, metric, gamma)


def soft_dtw_gradient(
    x: Any, y: Any, *, gamma: float = 1.0, divergence: bool = False
) -> SoftDTWGradient:
    """Compute soft-DTW of squared Euclidean costs and its gradient.

    Parameters
    ----------
    x : array-like of shape (n, d)
        The sequence to move; one of shape (n,) has a single feature.
    y : array-like of shape (m, d)
        The other one.
    gamma : float, default=1.0
        Softness, in units of the squared distance of two frames.
    divergence : bool, default=False
        Whether the mean of the values of `x` with itself and `y` with itself is
        subtracted. The divergence is 0 where both are the same.

    Returns
    -------
    SoftDTWGradient
        With `value`, and `gradient` of shape (n, d), with respect to `x`; in float32
        if `x` is.

    Raises
    ------
    TypeError, ValueError
        As `soft_dtw` does.

    See Also
    --------
    soft_dtw : Gives the value alone, for less memory.

    References
    ----------
    Cuturi, M. and Blondel, M. (2017). Soft-DTW: a differentiable loss function for
    time-series. ICML 34, 894-903. Section 2.3.

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
    divergence = check_truth(divergence, "divergence")
    x, y = as_sequence(x, "x"), as_sequence(y, "y")
    value, gradient = _value_and_gradient(x, y, gamma)
    if divergence:
        own, own_gradient = _value_and_gradient(x, x, gamma)
        value -= (own + soft_dtw(y, y, gamma=gamma)) / 2
        # x takes both places there, and counts half
        gradient -= own_gradient
    return SoftDTWGradient(value, gradient.astype(x.dtype, copy=False))


def _value_and_gradient(
    x: np.ndarray, y: np.ndarray, gamma: float
) -> tuple[float, np.ndarray]:
    value, expected = _align(x, y, "sqeuclidean", gamma)
    middle = y.mean(axis=0, dtype=np.float64)  # about it fewer digits cancel
    x, y = x - middle, y - middle
    return value, 2 * (x * expected.sum(axis=1)[:, None] - expected @ y)


def _local_costs(x: Any, y: Any, metric: str | Callable[..., Any]) -> Costs:
    costs = make_costs(x, y, metric, np.float64)
    # one type, for which all is compiled once, whatever a callable or the user gives
    own = (np.require(z, np.float64, ["C", "W"]) for z in (costs.x, costs.y))
    return Costs(costs.kind, costs.root, *own)


def _value(x: Any, y: Any, metric: Any, gamma: Any) -> float:
    gamma = _softness(gamma)
    scale = -1 / (gamma * LOG2)
    costs = _local_costs(x, y, metric)
    n, m = shape_of(costs)
    _check_fits(n, m, n_tables=1)
    diagonals, nothing = np.empty(n * m), np.empty(0)
    _fill_by_diagonals(costs, n, m, diagonals)
    mantissa, exponent = _sum_paths(diagonals, n, m, scale, nothing, nothing)
    if exponent <= CLOSED:
        return _hard_value(x, y, metric)
    return _from_sum(gamma, mantissa, exponent)


def _align(x: Any, y: Any, metric: Any, gamma: Any) -> SoftDTWAlignment:
    gamma = _softness(gamma)
    scale = -1 / (gamma * LOG2)
    costs = _local_costs(x, y, metric)
    n, m = shape_of(costs)
    _check_fits(n, m, n_tables=3)
    diagonals, sums, exponents = np.empty(n * m), np.empty(n * m), np.empty(n * m)
    _fill_by_diagonals(costs, n, m, diagonals)
    mantissa, exponent = _sum_paths(diagonals, n, m, scale, sums, exponents)
    if exponent <= CLOSED:
        value = _hard_value(x, y, metric)
    else:
        value = _from_sum(gamma, mantissa, exponent)
    if value > 2 * HARD * gamma:  # beyond, sums of exponents would be rounded
        return _align(x, y, metric, value / HARD)._replace(value=value)
    _sum_paths_back(diagonals, n, m, scale, sums, exponents)
    expected = sums.reshape(n, m)  # its place is free
    _fill_by_rows(diagonals, expected)
    return SoftDTWAlignment(value, expected)


def _check_fits(n: int, m: int, n_tables: int) -> None:
    check_fits(
        n_tables * n * m * np.dtype(np.float64).itemsize,
        f"soft-DTW of {n} and {m} frames",
        "shorten the sequences, or take gamma=0 (dtw_path), which needs no table",
    )


def _softness(gamma: Any) -> float:
    gamma = check_real(gamma, "gamma", 0)
    if gamma <= LEAST_GAMMA:
        raise ValueError(
            f"gamma={gamma}; soft-DTW needs one above 0: its limit at 0 is dtw_distance"
        )
    return gamma


def _hard_value(x: Any, y: Any, metric: Any) -> float:
    """Compute DTW, which is soft-DTW to rounding where costs are that large.

    Raises the error for costs that overflow, or that leave no path.
    """
    return dtw_distance(x, y, metric=metric)


def _from_sum(gamma: float, mantissa: float, exponent: float) -> float:
    value = -gamma * LOG2 * (exponent + log(mantissa) / LOG2)
    if not isfinite(value):
        raise ValueError(
            f"soft-DTW overflows for gamma={gamma}; rescale the sequences (divide all "
            "by one number), and gamma with the costs"
        )
    return value
