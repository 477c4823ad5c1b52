"""Soft-DTW: the soft minimum over all paths, its expected alignment and gradient.

The partition function ``Z_ij = 2**(scale c_ij) (Z_i-1,j + Z_i,j-1 + Z_i-1,j-1)``, with
scale = -1 / (gamma log 2), is accumulated itself, not its logarithm: every cell holds a
mantissa and an exponent, so that nothing over- or underflows however small gamma is,
and a cell needs one power and no logarithm. The cells of an anti-diagonal ("diagonal"
below) are independent and computed together. The expected alignment is the product of
the sums from both ends over Z of the last cell; it has the errors of a few sums, where
differences of long logarithms would lose digits.
"""

from __future__ import annotations

from math import factorial, isfinite, log
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._memory import check_fits
from mmfusion._sequences import as_sequence
from mmfusion._typing import MetricLike
from mmfusion.alignment.dtw._compilation import jit
from mmfusion.alignment.dtw._costs import Costs, fill_costs, make_costs
from mmfusion.alignment.dtw._parameters import check_bool, check_real_at_least
from mmfusion.alignment.dtw._path import dtw_distance

LOG2 = log(2)
LEAST_GAMMA = 1e-200
FORBIDDEN_EXPONENT = -1e280  # of cells whose cost is infinite, or nearly
OUTSIDE_EXPONENT = -1e300  # outside of the matrix: below that of any cell
HARD_COST_RATIO = 1e14  # of a cost to gamma: above, soft-DTW is DTW up to rounding
DIAGONAL_TILE_ROWS, DIAGONAL_TILE_COLUMNS = 128, 256  # of costs, to fit in the cache

# layout of a float64: bits of the mantissa, of the number 1, and of 2**52 and its value
_MANTISSA, _ONE = 2**52 - 1, 0x3FF0000000000000
_INTEGER_BITS, _INTEGER = 0x4330000000000000, 2.0**52
# Taylor series of 2**t, exact to the last bit for abs(t) <= 1/2
_P0, _P1, _P2, _P3, _P4, _P5, _P6, _P7, _P8, _P9, _P10, _P11, _P12, _P13 = (
    LOG2**k / factorial(k) for k in range(14)
)


@jit
def power_of_two(t):
    """Compute 2**t for abs(t) <= 1/2, by Horner's scheme."""
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


@jit
def whole_power_of_two(exponent):
    """Compute 2**exponent for a whole number below 1024; 0 below -1022."""
    # adding 2**52 moves a whole number to the lowest bits, which are shifted to those
    # of the exponent
    biased = max(exponent, -1023.0) + (_INTEGER + 1023)
    bits = np.float64(biased).view(np.int64)
    return np.int64(bits << 52).view(np.float64)


# Each loop below writes one array, or two: LLVM vectorises none with more. All start at
# index 0, since numba wraps negative indices of loops that may start elsewhere.


@jit
def split_factors(costs, scale, size, factors, shifts):
    """Write 2**(scale * cost) as a factor in [2**-0.5, 2**0.5] and an exponent."""
    for i in range(size):
        power = max(costs[i] * scale, FORBIDDEN_EXPONENT)
        whole = np.floor(power + 0.5)
        shifts[i] = whole
        factors[i] = power_of_two(power - whole)


@jit
def _largest_exponents(beside, across, size, tops):
    """Compute the largest exponent of the three neighbours of each cell."""
    for i in range(size):
        tops[i] = max(max(beside[i], beside[i + 1]), across[i])


@jit
def _add_neighbors(
    beside, beside_exponents, across, across_exponents, tops, size, sums
):
    """Sum the three neighbours of each cell, in units of the largest exponent."""
    for i in range(size):
        top = tops[i]
        # terms below 2**-1022 of the largest vanish, far below its rounding
        sums[i] = (
            beside[i] * whole_power_of_two(beside_exponents[i] - top)
            + beside[i + 1] * whole_power_of_two(beside_exponents[i + 1] - top)
            + across[i] * whole_power_of_two(across_exponents[i] - top)
        )


@jit
def _extract_mantissas(sums, factors, size, mantissas):
    """Write the mantissas, in [1, 2), of products."""
    for i in range(size):
        bits = np.float64(sums[i] * factors[i]).view(np.int64)
        mantissas[i] = np.int64((bits & _MANTISSA) | _ONE).view(np.float64)


@jit
def _extract_exponents(sums, factors, tops, shifts, size, exponents):
    """Write the exponents of products, increased by those of their factors."""
    for i in range(size):
        # the bits of the exponent become an integer of 2**52 + integer
        bits = np.float64(sums[i] * factors[i]).view(np.int64)
        own = np.int64((bits >> 52) | _INTEGER_BITS).view(np.float64)
        exponents[i] = tops[i] + shifts[i] + (own - (_INTEGER + 1023))


@jit
def _copy(values, size, out):
    for i in range(size):
        out[i] = values[i]


@jit
def _fill_expected(mantissas, exponents, sums, tops, total, total_exponent, size, out):
    """Compute the expected alignment: sums from both ends, over that of all paths."""
    for i in range(size):
        power = whole_power_of_two(exponents[i] + tops[i] - total_exponent)
        out[i] = mantissas[i] * sums[i] * power / total


class _DiagonalRing(NamedTuple):
    """Mantissas and exponents of a diagonal and of the two before, used cyclically.

    Parameters
    ----------
    mantissas, exponents : ndarray of shape (3, n + 2)
        The entry of row i is at index i + 1.
    """

    mantissas: np.ndarray
    exponents: np.ndarray


class _DiagonalBuffers(NamedTuple):
    """Intermediate results of one diagonal.

    Parameters
    ----------
    sums, tops : ndarray of shape (n,)
        Sums over the neighbours of each cell, and their exponents.
    factors, shifts : ndarray of shape (n,)
        Factors and exponents of the cells themselves.
    """

    sums: np.ndarray
    tops: np.ndarray
    factors: np.ndarray
    shifts: np.ndarray


@jit
def empty_diagonals(n, entry):
    """Return a ring in which only an entry before the first cell is not 0."""
    mantissas, exponents = np.zeros((3, n + 2)), np.full((3, n + 2), OUTSIDE_EXPONENT)
    mantissas[1, entry], exponents[1, entry] = 1, 0
    work = _DiagonalBuffers(np.empty(n), np.empty(n), np.empty(n), np.empty(n))
    return _DiagonalRing(mantissas, exponents), work


@jit
def _fill_diagonal(costs, scale, begin, size, ahead, done, rings, work):
    """Compute a diagonal of ``Z = 2**(scale * c) * (sum of Z over the neighbours)``.

    Parameters
    ----------
    costs : ndarray
        Local costs, from the first of the diagonal on.
    scale : float
        Factor that turns a cost into a logarithm to the base 2.
    begin, size : int
        First row of the diagonal, and its number of cells.
    ahead : int
        0 if neighbours lie in the rows above, 1 if in those below.
    done : int
        Number of diagonals that are computed.
    rings : _DiagonalRing
        The two before; receives this one.
    work : _DiagonalBuffers
        Arrays to overwrite.
    """
    split_factors(costs, scale, size, work.factors, work.shifts)
    accumulate_diagonal(begin, size, ahead, done, rings, work)


@jit
def accumulate_diagonal(begin, size, ahead, done, rings, work):
    """Compute a diagonal of sums from the factors and exponents of its cells.

    Parameters
    ----------
    begin, size, ahead, done, rings : int, int, int, int, _DiagonalRing
        Arguments of `_fill_diagonal`.
    work : _DiagonalBuffers
        The factors and exponents of the cells, and arrays to overwrite.
    """
    sums, tops, factors, shifts = work
    near, far, own = begin + ahead, begin + 2 * ahead, done % 3
    mantissas, exponents = rings.mantissas[own], rings.exponents[own]
    beside = rings.mantissas[(done + 2) % 3][near:]
    beside_exponents = rings.exponents[(done + 2) % 3][near:]
    across = rings.mantissas[(done + 1) % 3][far:]
    across_exponents = rings.exponents[(done + 1) % 3][far:]
    _largest_exponents(beside_exponents, across_exponents, size, tops)
    _add_neighbors(beside, beside_exponents, across, across_exponents, tops, size, sums)
    _extract_mantissas(sums, factors, size, mantissas[begin + 1 :])
    _extract_exponents(sums, factors, tops, shifts, size, exponents[begin + 1 :])
    mantissas[begin] = mantissas[begin + size + 1] = 0
    exponents[begin] = exponents[begin + size + 1] = OUTSIDE_EXPONENT


@jit
def _sum_paths(costs, n, m, scale, mantissas, exponents):
    """Sum over the paths from the first cell to every cell.

    Parameters
    ----------
    costs : ndarray of shape (n * m,)
        Local costs, diagonal by diagonal.
    n, m : int
        Numbers of frames.
    scale : float
        Factor that turns a cost into a logarithm to the base 2.
    mantissas, exponents : ndarray of shape (n * m,)
        Arrays to which the sums are written, diagonal by diagonal; may be empty.

    Returns
    -------
    tuple of float
        Mantissa and exponent of the last cell.
    """
    rings, work = empty_diagonals(n, 0)
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


@jit
def _sum_paths_back(costs, n, m, scale, mantissas, exponents):
    """Sum over the paths from the last cell, and compute the expected alignment.

    Parameters
    ----------
    costs : ndarray of shape (n * m,)
        Local costs, diagonal by diagonal; overwritten by the expected alignment.
    n, m, scale, mantissas, exponents
        Arguments of `_sum_paths`, after it.
    """
    rings, work = empty_diagonals(n, n + 1)
    at = n * m
    total, total_exponent = mantissas[at - 1], exponents[at - 1]
    for done in range(n + m - 1):
        k = n + m - 2 - done
        begin = max(0, k - m + 1)
        size = min(k + 1, n) - begin
        at -= size
        own = costs[at:]
        _fill_diagonal(own, scale, begin, size, 1, done, rings, work)
        forward, forward_exponents = mantissas[at:], exponents[at:]
        sums, tops = work.sums, work.tops
        _fill_expected(
            forward, forward_exponents, sums, tops, total, total_exponent, size, own
        )


@jit
def _fill_by_diagonals(costs, n, m, diagonals):
    """Compute local costs diagonal by diagonal.

    Parameters
    ----------
    costs : Costs
        The local costs.
    n, m : int
        Numbers of frames.
    diagonals : ndarray of shape (n * m,)
        Array to which they are written.
    """
    tile = np.empty(min(n, DIAGONAL_TILE_ROWS) * min(m, DIAGONAL_TILE_COLUMNS))
    for i0 in range(0, n, DIAGONAL_TILE_ROWS):
        i1 = min(i0 + DIAGONAL_TILE_ROWS, n)
        for j0 in range(0, m, DIAGONAL_TILE_COLUMNS):
            j1 = min(j0 + DIAGONAL_TILE_COLUMNS, m)
            fill_costs(costs, i0, i1, j0, j1, tile)
            _copy_tile(tile, i0, i1, j0, j1, n, m, diagonals, False)


@jit
def _fill_by_rows(diagonals, table):
    """Copy a matrix that is stored diagonal by diagonal to rows.

    Parameters
    ----------
    diagonals : ndarray of shape (n * m,)
        Its cells.
    table : ndarray of shape (n, m)
        Array to which the matrix is written.
    """
    n, m = table.shape
    tile = np.empty(min(n, DIAGONAL_TILE_ROWS) * min(m, DIAGONAL_TILE_COLUMNS))
    for i0 in range(0, n, DIAGONAL_TILE_ROWS):
        i1 = min(i0 + DIAGONAL_TILE_ROWS, n)
        for j0 in range(0, m, DIAGONAL_TILE_COLUMNS):
            j1 = min(j0 + DIAGONAL_TILE_COLUMNS, m)
            _copy_tile(tile, i0, i1, j0, j1, n, m, diagonals, True)
            cells = tile[: (i1 - i0) * (j1 - j0)]
            table[i0:i1, j0:j1] = cells.reshape(i1 - i0, j1 - j0)


@jit
def _copy_tile(tile, i0, i1, j0, j1, n, m, diagonals, back):
    """Copy a tile, stored by rows, to its place among the diagonals, or `back`."""
    stride = np.uint64(j1 - j0 - 1)  # numba wraps negative indices of signed integers
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


@jit
def _before(k, n, m):
    """Count the cells of the diagonals before the k-th."""
    above, beside = max(0, k - n), max(0, k - m)
    return (k * (k + 1) - above * (above + 1) - beside * (beside + 1)) // 2


class SoftDTWAlignment(NamedTuple):
    """Result of `soft_dtw_alignment`.

    Parameters
    ----------
    value : float
        Soft-DTW of the two sequences.
    expected : ndarray of shape (n, m)
        Probability that a path, drawn in proportion to exp(-cost / gamma), visits a
        cell. The first and the last cell have 1; rows and columns add up to at least 1.
    """

    value: float
    expected: np.ndarray


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
) -> float:
    """Compute soft-DTW, the soft minimum of the costs of all warping paths.

    The value is ``-gamma log sum_paths exp(-cost / gamma)``, where the cost of a path
    is the sum of local costs along it; steps are (1, 0), (0, 1) and (1, 1), of weight
    1.

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

    Returns
    -------
    float
        The value. Without `divergence` it may be negative, and is for a sequence with
        itself.

    Raises
    ------
    TypeError
        If a parameter has another type.
    ValueError
        If `gamma` is not positive, a sequence is empty or has a value that is NaN or
        infinite, the sequences have different features, no path has a finite cost,
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
    frames.

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
    divergence = check_bool(divergence, "divergence")
    if divergence and isinstance(metric, str) and metric == "precomputed":
        raise ValueError(
            "divergence=True needs both sequences, and metric='precomputed' has only "
            "costs; subtract (soft_dtw(costs of x, x) + soft_dtw(costs of y, y)) / 2"
        )
    value = _soft_value(x, y, metric, gamma)
    if divergence:
        both = x, cast(ArrayLike, y)
        own, other = (_soft_value(z, z, metric, gamma) for z in both)
        value -= (own + other) / 2
    return value


def soft_dtw_alignment(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    gamma: float = 1.0,
    metric: MetricLike = "sqeuclidean",
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

    Returns
    -------
    SoftDTWAlignment
        With `value`, and `expected` of shape (n, m): the gradient of the value with
        respect to the local costs.

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
    >>> value, expected = soft_dtw_alignment([0.0, 1.0, 2.0], [0.0, 2.0], gamma=0.01)
    >>> expected.round(3).tolist()  # the middle frame may go to either
    [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]
    """
    return _expected_alignment(x, y, metric, gamma)


def soft_dtw_gradient(
    x: ArrayLike, y: ArrayLike, *, gamma: float = 1.0, divergence: bool = False
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
    x, y = as_sequence(x, "x"), as_sequence(y, "y")
    value, gradient = _value_and_gradient(x, y, gamma)
    if divergence:
        own, own_gradient = _value_and_gradient(x, x, gamma)
        value -= (own + soft_dtw(y, y, gamma=gamma)) / 2
        # x is both arguments of its own value: half of that has the whole gradient
        gradient -= own_gradient
    return SoftDTWGradient(value, gradient.astype(x.dtype, copy=False))


def _value_and_gradient(
    x: np.ndarray, y: np.ndarray, gamma: float
) -> tuple[float, np.ndarray]:
    value, expected = _expected_alignment(x, y, "sqeuclidean", gamma)
    # sum_j E_ij 2 (x_i - y_j); centred, so that fewer digits cancel
    middle = y.mean(axis=0, dtype=np.float64)
    x, y = x - middle, y - middle
    return value, 2 * (x * expected.sum(axis=1)[:, None] - expected @ y)


def _float64_costs(x: ArrayLike, y: ArrayLike | None, metric: MetricLike) -> Costs:
    costs = make_costs(x, y, metric, np.float64)
    # one type and layout, so that compilation happens once
    own = (np.require(z, np.float64, ["C", "W"]) for z in (costs.x, costs.y))
    return Costs(costs.kind, costs.root, costs.n, costs.m, *own)


def _soft_value(
    x: ArrayLike, y: ArrayLike | None, metric: MetricLike, gamma: float
) -> float:
    gamma = _checked_gamma(gamma)
    scale = -1 / (gamma * LOG2)
    costs = _float64_costs(x, y, metric)
    n, m = costs.n, costs.m
    _check_tables_fit(n, m, n_tables=1)
    diagonals, empty = np.empty(n * m), np.empty(0)
    _fill_by_diagonals(costs, n, m, diagonals)
    mantissa, exponent = _sum_paths(diagonals, n, m, scale, empty, empty)
    if exponent <= FORBIDDEN_EXPONENT:
        return _hard_value(x, y, metric)
    return _value_of_sum(gamma, mantissa, exponent)


def _expected_alignment(
    x: ArrayLike, y: ArrayLike | None, metric: MetricLike, gamma: float
) -> SoftDTWAlignment:
    gamma = _checked_gamma(gamma)
    scale = -1 / (gamma * LOG2)
    costs = _float64_costs(x, y, metric)
    n, m = costs.n, costs.m
    _check_tables_fit(n, m, n_tables=3)
    diagonals, sums, exponents = np.empty(n * m), np.empty(n * m), np.empty(n * m)
    _fill_by_diagonals(costs, n, m, diagonals)
    mantissa, exponent = _sum_paths(diagonals, n, m, scale, sums, exponents)
    if exponent <= FORBIDDEN_EXPONENT:
        value = _hard_value(x, y, metric)
    else:
        value = _value_of_sum(gamma, mantissa, exponent)
    if value > 2 * HARD_COST_RATIO * gamma:  # beyond, exponents lose whole digits
        softer = value / HARD_COST_RATIO
        return _expected_alignment(x, y, metric, softer)._replace(value=value)
    _sum_paths_back(diagonals, n, m, scale, sums, exponents)
    expected = sums.reshape(n, m)  # the memory of the sums is free now
    _fill_by_rows(diagonals, expected)
    return SoftDTWAlignment(value, expected)


def _check_tables_fit(n: int, m: int, n_tables: int) -> None:
    check_fits(
        n_tables * n * m * np.dtype(np.float64).itemsize,
        f"soft-DTW of {n} and {m} frames",
        "shorten the sequences, or take gamma=0 (dtw_path), which needs no table",
    )


def _checked_gamma(gamma: float) -> float:
    gamma = check_real_at_least(gamma, "gamma", 0)
    if gamma <= LEAST_GAMMA:
        raise ValueError(
            f"gamma={gamma}; soft-DTW needs one above 0: its limit at 0 is dtw_distance"
        )
    return gamma


def _hard_value(x: ArrayLike, y: ArrayLike | None, metric: MetricLike) -> float:
    """Compute DTW, which equals soft-DTW up to rounding for costs that are so large.

    Raise the error for costs that overflow, or without a path.
    """
    return dtw_distance(x, y, metric=metric)


def _value_of_sum(gamma: float, mantissa: float, exponent: float) -> float:
    """Return -gamma log Z of the last cell."""
    value = -gamma * LOG2 * (exponent + log(mantissa) / LOG2)
    if not isfinite(value):
        raise ValueError(
            f"soft-DTW overflows for gamma={gamma}; rescale the sequences (divide all "
            "by one number), and gamma with the costs"
        )
    return value
