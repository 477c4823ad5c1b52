"""Sums over all warping paths, for soft-DTW.

The partition function ``Z_ij = 2**(scale c_ij) (Z_i-1,j + Z_i,j-1 + Z_i-1,j-1)``, with
scale = -1 / (gamma log 2), is accumulated itself, not its logarithm: every cell holds a
mantissa and an exponent, so that nothing over- or underflows however small gamma is,
and a cell needs one power and no logarithm. The cells of an anti-diagonal ("diagonal"
below) are independent and computed together. The expected alignment is the product of
the sums from both ends over Z of the last cell; it has the errors of a few sums, where
differences of long logarithms would lose digits.
"""

from __future__ import annotations

from math import factorial, log
from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit
from mmfusion.alignment.dtw._costs import fill_costs

LOG2 = log(2)
FORBIDDEN_EXPONENT = -1e280  # of cells whose cost is infinite, or nearly
OUTSIDE_EXPONENT = -1e300  # outside of the matrix: below that of any cell
DIAGONAL_TILE_ROWS, DIAGONAL_TILE_COLUMNS = 128, 256  # of costs, to fit in the cache

# layout of a float64: bits of the mantissa, of the number 1, and of 2**52 and its value
_MANTISSA, _ONE = 2**52 - 1, 0x3FF0000000000000
_INTEGER_BITS, _INTEGER = 0x4330000000000000, 2.0**52
# Taylor series of 2**t, exact to the last bit for abs(t) <= 1/2
_P0, _P1, _P2, _P3, _P4, _P5, _P6, _P7, _P8, _P9, _P10, _P11, _P12, _P13 = (
    LOG2**k / factorial(k) for k in range(14)
)


@jit
def _power_of_two(t):
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
        factors[i] = _power_of_two(power - whole)


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
def extract_mantissas(sums, factors, size, mantissas):
    """Write the mantissas, in [1, 2), of products."""
    for i in range(size):
        bits = np.float64(sums[i] * factors[i]).view(np.int64)
        mantissas[i] = np.int64((bits & _MANTISSA) | _ONE).view(np.float64)


@jit
def extract_exponents(sums, factors, tops, shifts, size, exponents):
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
    """Return a ring in which only an entry before the first cell is not 0.

    Parameters
    ----------
    n : int
        Number of rows.
    entry : int
        The index of the entry, 0 or `n` + 1.

    Returns
    -------
    rings : _DiagonalRing
        The two diagonals before the first.
    work : _DiagonalBuffers
        Arrays to overwrite.
    """
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
    begin, size, ahead, done, rings
        Arguments of `_fill_diagonal`.
    work : _DiagonalBuffers
        Factors and exponents of the cells; sums and tops are overwritten.
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
    extract_mantissas(sums, factors, size, mantissas[begin + 1 :])
    extract_exponents(sums, factors, tops, shifts, size, exponents[begin + 1 :])
    mantissas[begin] = mantissas[begin + size + 1] = 0
    exponents[begin] = exponents[begin + size + 1] = OUTSIDE_EXPONENT


class Diagonals(NamedTuple):
    """Layout of the cells of a window, diagonal by diagonal.

    Parameters
    ----------
    begins : ndarray of int64 of shape (n + m - 1,)
        First row of each diagonal; its cells are in consecutive rows.
    offsets : ndarray of int64 of shape (n + m,)
        Place of the first cell of each diagonal, and the number of all cells.
    """

    begins: np.ndarray
    offsets: np.ndarray


@jit
def diagonals_of(window, m):
    """Return the layout of the cells of a window.

    Parameters
    ----------
    window : Window
        The window, of n rows.
    m : int
        Number of columns.

    Returns
    -------
    Diagonals
        The layout.
    """
    n = len(window.starts)
    begins, offsets = np.empty(n + m - 1, np.int64), np.zeros(n + m, np.int64)
    begin = end = 0
    for k in range(n + m - 1):
        # both sums increase from row to row
        while begin < n and begin + window.stops[begin] <= k:
            begin += 1
        while end < n and end + window.starts[end] <= k:
            end += 1
        begins[k], offsets[k + 1] = begin, offsets[k] + end - begin
    return Diagonals(begins, offsets)


@jit
def sum_paths(costs, diagonals, n, scale, mantissas, exponents):
    """Sum over the paths from the first cell to every cell.

    Parameters
    ----------
    costs : ndarray of shape (n_cells,)
        Local costs, diagonal by diagonal.
    diagonals : Diagonals
        Their layout.
    n : int
        Number of rows.
    scale : float
        Factor that turns a cost into a logarithm to the base 2.
    mantissas, exponents : ndarray of shape (n_cells,)
        Arrays to which the sums are written, diagonal by diagonal; may be empty.

    Returns
    -------
    tuple of float
        Mantissa and exponent of the last cell.
    """
    rings, work = empty_diagonals(n, 0)
    last = len(diagonals.begins) - 1
    for k in range(last + 1):
        begin, at = diagonals.begins[k], diagonals.offsets[k]
        size = diagonals.offsets[k + 1] - at
        _fill_diagonal(costs[at:], scale, begin, size, 0, k, rings, work)
        if len(mantissas):
            _copy(rings.mantissas[k % 3][begin + 1 :], size, mantissas[at:])
            _copy(rings.exponents[k % 3][begin + 1 :], size, exponents[at:])
    return rings.mantissas[last % 3, n], rings.exponents[last % 3, n]


@jit
def sum_paths_back(costs, diagonals, n, scale, mantissas, exponents):
    """Sum over the paths from the last cell, and compute the expected alignment.

    Parameters
    ----------
    costs : ndarray of shape (n_cells,)
        Local costs, diagonal by diagonal; overwritten by the expected alignment.
    diagonals, n, scale, mantissas, exponents
        Arguments of `sum_paths`, after it.
    """
    rings, work = empty_diagonals(n, n + 1)
    n_cells = len(costs)
    total, total_exponent = mantissas[n_cells - 1], exponents[n_cells - 1]
    last = len(diagonals.begins) - 1
    for done in range(last + 1):
        k = last - done
        begin, at = diagonals.begins[k], diagonals.offsets[k]
        size = diagonals.offsets[k + 1] - at
        own = costs[at:]
        _fill_diagonal(own, scale, begin, size, 1, done, rings, work)
        forward, forward_exponents = mantissas[at:], exponents[at:]
        sums, tops = work.sums, work.tops
        _fill_expected(
            forward, forward_exponents, sums, tops, total, total_exponent, size, own
        )


@jit
def _fill_means(costs, size, begin, ahead, done, rings, work, means):
    """Compute the mean costs of paths to the cells of a diagonal.

    A path comes from each of the three neighbours in proportion to its sum, so that
    ``F_ij = c_ij + sum_neighbours (Z / sum Z) F``.

    Parameters
    ----------
    costs, size, begin, ahead, done, rings, work
        Arguments of `_fill_diagonal`, after it.
    means : ndarray of shape (3, n + 2)
        Mean costs of the two diagonals before; receives those of this one.
    """
    near, far = begin + ahead, begin + 2 * ahead
    one, two = (done + 2) % 3, (done + 1) % 3
    beside, beside_exponents = rings.mantissas[one][near:], rings.exponents[one][near:]
    across, across_exponents = rings.mantissas[two][far:], rings.exponents[two][far:]
    beside_means, across_means = means[one][near:], means[two][far:]
    own, sums, tops = means[done % 3][begin + 1 :], work.sums, work.tops
    for i in range(size):
        top = tops[i]
        w0 = beside[i] * whole_power_of_two(beside_exponents[i] - top)
        w1 = beside[i + 1] * whole_power_of_two(beside_exponents[i + 1] - top)
        w2 = across[i] * whole_power_of_two(across_exponents[i] - top)
        before = w0 * beside_means[i] + w1 * beside_means[i + 1] + w2 * across_means[i]
        # cells whose cost is infinite have no weight: a finite mean keeps it so
        cost = costs[i] if costs[i] < np.inf else 0.0
        own[i] = cost + before / (sums[i] if sums[i] > 0 else 1.0)
    means[done % 3, begin] = means[done % 3, begin + size + 1] = 0


@jit
def mean_costs(costs, diagonals, n, scale, mantissas, exponents, means):
    """Compute the mean cost of the paths from the first cell to every cell.

    Paths are weighted by the products of ``2**(scale cost)``.

    Parameters
    ----------
    costs, diagonals, n, scale, mantissas, exponents
        Arguments of `sum_paths`; its sums are written, too.
    means : ndarray of shape (n_cells,)
        Array to which the means are written; may be empty, with the other two.

    Returns
    -------
    tuple of float
        Mean cost to the last cell, and exponent of its sum.
    """
    rings, work = empty_diagonals(n, 0)
    ring = np.zeros((3, n + 2))
    last = len(diagonals.begins) - 1
    for k in range(last + 1):
        begin, at = diagonals.begins[k], diagonals.offsets[k]
        size = diagonals.offsets[k + 1] - at
        _fill_diagonal(costs[at:], scale, begin, size, 0, k, rings, work)
        _fill_means(costs[at:], size, begin, 0, k, rings, work, ring)
        if len(means):
            _copy(rings.mantissas[k % 3][begin + 1 :], size, mantissas[at:])
            _copy(rings.exponents[k % 3][begin + 1 :], size, exponents[at:])
            _copy(ring[k % 3][begin + 1 :], size, means[at:])
    return ring[last % 3, n], rings.exponents[last % 3, n]


@jit
def mean_costs_back(costs, diagonals, n, scale, mantissas, exponents, means, gamma):
    """Compute the gradient of the mean cost with respect to the local costs.

    It is ``E_ij (1 - (M_ij - M) / gamma)`` for the expected alignment E, the mean M of
    all paths, and that of the paths through a cell, M_ij, which is the sum of the means
    from both ends less the cost of the cell.

    Parameters
    ----------
    costs : ndarray of shape (n_cells,)
        Local costs; overwritten by the gradient.
    diagonals, n, scale, mantissas, exponents, means
        Arguments of `mean_costs`, after it.
    gamma : float
        Softness; infinite if paths have equal weights.
    """
    rings, work = empty_diagonals(n, n + 1)
    ring, own_costs = np.zeros((3, n + 2)), np.empty(n)
    n_cells = len(costs)
    total, total_exponent = mantissas[n_cells - 1], exponents[n_cells - 1]
    mean = means[n_cells - 1]
    last = len(diagonals.begins) - 1
    for done in range(last + 1):
        k = last - done
        begin, at = diagonals.begins[k], diagonals.offsets[k]
        size = diagonals.offsets[k + 1] - at
        own = costs[at:]
        _copy(own, size, own_costs)
        _fill_diagonal(own, scale, begin, size, 1, done, rings, work)
        _fill_means(own, size, begin, 1, done, rings, work, ring)
        forward, forward_exponents = mantissas[at:], exponents[at:]
        sums, tops, back = work.sums, work.tops, ring[done % 3][begin + 1 :]
        _fill_expected(
            forward, forward_exponents, sums, tops, total, total_exponent, size, own
        )
        for i in range(size):
            cost = own_costs[i] if own_costs[i] < np.inf else 0.0
            excess = means[at + i] + back[i] - cost - mean
            own[i] *= 1 - excess / gamma


@jit
def fill_by_diagonals(costs, window, m, diagonals, cells):
    """Compute the local costs of a window, diagonal by diagonal.

    Parameters
    ----------
    costs : Costs
        The local costs.
    window : Window
        The window.
    m : int
        Number of columns.
    diagonals : Diagonals
        Its layout.
    cells : ndarray of shape (n_cells,)
        Array to which they are written.
    """
    n = len(window.starts)
    tile = np.empty(min(n, DIAGONAL_TILE_ROWS) * min(m, DIAGONAL_TILE_COLUMNS))
    for i0 in range(0, n, DIAGONAL_TILE_ROWS):
        i1 = min(i0 + DIAGONAL_TILE_ROWS, n)
        stop = window.stops[i1 - 1]
        for j0 in range(window.starts[i0], stop, DIAGONAL_TILE_COLUMNS):
            j1 = min(j0 + DIAGONAL_TILE_COLUMNS, stop)
            fill_costs(costs, i0, i1, j0, j1, tile)
            _copy_tile(tile, i0, i1, j0, j1, diagonals, cells, False)


@jit
def fill_by_rows(cells, window, diagonals, table):
    """Copy the cells of a window, stored diagonal by diagonal, to rows.

    Parameters
    ----------
    cells : ndarray of shape (n_cells,)
        The cells.
    window : Window
        The window.
    diagonals : Diagonals
        Its layout.
    table : ndarray of shape (n, m)
        Array to which they are written; cells outside of the window become 0.
    """
    n, m = table.shape
    if not window.whole:
        table[:] = 0
    tile = np.zeros(min(n, DIAGONAL_TILE_ROWS) * min(m, DIAGONAL_TILE_COLUMNS))
    for i0 in range(0, n, DIAGONAL_TILE_ROWS):
        i1 = min(i0 + DIAGONAL_TILE_ROWS, n)
        stop = window.stops[i1 - 1]
        for j0 in range(window.starts[i0], stop, DIAGONAL_TILE_COLUMNS):
            j1 = min(j0 + DIAGONAL_TILE_COLUMNS, stop)
            if not window.whole:
                tile[:] = 0
            _copy_tile(tile, i0, i1, j0, j1, diagonals, cells, True)
            part = tile[: (i1 - i0) * (j1 - j0)]
            table[i0:i1, j0:j1] = part.reshape(i1 - i0, j1 - j0)


@jit
def _copy_tile(tile, i0, i1, j0, j1, diagonals, cells, back):
    """Copy a tile, stored by rows, to its place among the diagonals, or `back`."""
    stride = np.uint64(j1 - j0 - 1)  # numba wraps negative indices of signed integers
    for k in range(i0 + j0, i1 + j1 - 1):
        first, offset = diagonals.begins[k], diagonals.offsets[k]
        begin = max(i0, max(k - j1 + 1, first))
        end = min(min(i1, k - j0 + 1), first + diagonals.offsets[k + 1] - offset)
        if end <= begin:
            continue
        at = np.uint64((begin - i0) * (j1 - j0) + k - begin - j0)
        to = np.uint64(offset + begin - first)
        if back:
            for i in range(np.uint64(end - begin)):
                tile[at + i * stride] = cells[to + i]
        else:
            for i in range(np.uint64(end - begin)):
                cells[to + i] = tile[at + i * stride]
