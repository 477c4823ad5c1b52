"""Local costs of blocks of sixteen rows, in the memory layout of SIMD vectors.

A row block is WIDTH consecutive frames of the first sequence; a panel holds its local
costs, one vector of WIDTH numbers per frame of the second sequence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit
from mmfusion._simd import (
    WIDTH,
    any_true,
    load,
    maximum,
    no_inline,
    splat,
    square_root,
    store,
)
from mmfusion.alignment.dtw._costs import (
    COSINE,
    GIVEN,
    MANHATTAN,
    PRODUCT,
    SQUARED,
    Costs,
    cancellation_share,
)

# kernels take 4 columns at a time: up to 3 beyond the last are read and written
SPARE_COLUMNS = 3
CACHE_LINE_BYTES = 64


class PackedFrames(NamedTuple):
    """Frames of sequences, one sequence after the other, as row blocks read them.

    Parameters
    ----------
    kind : int
        Kind of the local costs, as in `Costs`.
    root : bool
        Whether the square root of costs is taken.
    x : ndarray of shape (n_row_blocks, d * WIDTH)
        Frames of the first sequences, a block of WIDTH in each row, feature after
        feature; for GIVEN the costs, of shape (n, m).
    y : ndarray of shape (n_frames + SPARE_COLUMNS, d)
        Frames of the second sequences.
    reversed_y : ndarray of shape (n_frames + 3 * WIDTH,)
        Those of the second, last frame first, between zeros; empty unless costs are
        differences of a single feature.
    """

    kind: int
    root: bool
    x: np.ndarray
    y: np.ndarray
    reversed_y: np.ndarray


def pack_frames(costs: Costs, lengths: np.ndarray | None = None) -> PackedFrames:
    """Copy frames to the layout of row blocks.

    Parameters
    ----------
    costs : Costs
        The local costs of the frames.
    lengths : ndarray of int of shape (n_sequences,), default=None
        Number of frames of each of the first sequences, each of which starts a row
        block; None takes all frames as one sequence.

    Returns
    -------
    PackedFrames
        The same frames.
    """
    dtype = costs.x.dtype
    empty = np.empty(0, dtype)
    if costs.kind == GIVEN:
        # numba compiles read-only arrays separately
        x = np.require(costs.x, requirements=["C", "W"])
        return PackedFrames(GIVEN, False, x, np.empty((0, 0), dtype), empty)
    n, d = costs.x.shape
    lengths = np.array([n]) if lengths is None else lengths
    blocks = row_block_offsets(lengths)
    # each sequence is padded to whole row blocks
    shifts = blocks[:-1] * WIDTH - frame_offsets(lengths)[:-1]
    padded = np.zeros((blocks[-1] * WIDTH, d), dtype)
    padded[np.arange(n) + np.repeat(shifts, lengths)] = costs.x
    x = aligned_array(padded.size, costs.x).reshape(-1, d, WIDTH)
    x[:] = padded.reshape(-1, WIDTH, d).transpose(0, 2, 1)
    by_feature = costs.kind in (SQUARED, MANHATTAN)
    others = costs.y.T if by_feature else costs.y
    y = np.zeros((len(others) + SPARE_COLUMNS, d), dtype)
    y[: len(others)] = others
    is_single = by_feature and d == 1 and not costs.root
    padding = 2 * WIDTH, WIDTH  # the reach of steps before and after the sequence
    reversed_y = np.pad(others[::-1, 0], padding) if is_single else empty
    return PackedFrames(costs.kind, costs.root, x.reshape(-1, d * WIDTH), y, reversed_y)


def frame_offsets(lengths: np.ndarray) -> np.ndarray:
    """Return the first frame of each of several concatenated sequences.

    Parameters
    ----------
    lengths : ndarray of int of shape (n_sequences,)
        Numbers of frames.

    Returns
    -------
    ndarray of int of shape (n_sequences + 1,)
        The offsets, and the number of all frames.
    """
    return np.concatenate([[0], np.cumsum(lengths)])


def row_block_offsets(lengths: np.ndarray) -> np.ndarray:
    """Return the first row block of each of several sequences.

    Parameters
    ----------
    lengths : ndarray of int of shape (n_sequences,)
        Numbers of frames.

    Returns
    -------
    ndarray of int of shape (n_sequences + 1,)
        The offsets, and the number of all row blocks.
    """
    return frame_offsets(-(-lengths // WIDTH))


@jit
def aligned_array(size, like):
    """Return an uninitialised array that starts at a line of the cache.

    Parameters
    ----------
    size : int
        Its length.
    like : ndarray
        An array of the same dtype.

    Returns
    -------
    ndarray of shape (size,)
        The array.
    """
    line = CACHE_LINE_BYTES // like.itemsize
    buffer = np.empty(size + line, like.dtype)
    start = (-buffer.ctypes.data % CACHE_LINE_BYTES) // like.itemsize
    return buffer[start : start + size]


@jit
def fill_panel(frames, i0, n_rows, j0, j1, panel, p):
    """Compute the costs of a row block and columns j0 to j1.

    Parameters
    ----------
    frames : PackedFrames
        The frames.
    i0, n_rows : int
        The row block, and the number of its rows.
    j0, j1 : int
        First frame of the second sequences, and the one after the last.
    panel : ndarray
        Array to which the costs are written, WIDTH numbers per column.
    p : int
        Index of the first column in the panel; up to SPARE_COLUMNS after the last are
        overwritten, too.
    """
    no_inline()
    if frames.kind == GIVEN:
        for j in range(j0, j1):
            for k in range(WIDTH):
                # rows beyond the last repeat it: they are computed and never read
                cost = frames.x[i0 * WIDTH + min(k, n_rows - 1), j]
                panel[(p + j - j0) * WIDTH + k] = cost
        return
    x, y = frames.x[i0], frames.y
    if frames.kind == SQUARED:
        _sum_squared_differences(x, y, j0, j1, panel, p)
    elif frames.kind == MANHATTAN:
        _sum_absolute_differences(x, y, j0, j1, panel, p)
    else:
        _sum_products(x, y, j0, j1, panel, p)
    if frames.kind == PRODUCT:
        _recompute_cancelled_panel(x, y, j0, j1, panel, p)
    elif frames.kind == COSINE:
        zero, one = splat(panel.dtype.type(0)), splat(panel.dtype.type(1))
        for q in range(p, p + j1 - j0):
            store(panel, q * WIDTH, maximum(one - load(panel, q * WIDTH), zero))
    if frames.root:
        for q in range(p, p + j1 - j0):
            store(panel, q * WIDTH, square_root(load(panel, q * WIDTH)))


@jit
def _sum_squared_differences(x, y, j0, j1, panel, p):
    """Sum squared differences, of 4 columns at a time so that x is loaded once."""
    zero = splat(x.dtype.type(0))
    for j in range(j0, j1, 4):
        c0, c1, c2, c3 = zero, zero, zero, zero
        for f in range(len(x) // WIDTH):
            own = load(x, f * WIDTH)
            d0, d1 = own - splat(y[j, f]), own - splat(y[j + 1, f])
            d2, d3 = own - splat(y[j + 2, f]), own - splat(y[j + 3, f])
            c0, c1, c2, c3 = c0 + d0 * d0, c1 + d1 * d1, c2 + d2 * d2, c3 + d3 * d3
        q = (p + j - j0) * WIDTH
        store(panel, q, c0)
        store(panel, q + WIDTH, c1)
        store(panel, q + 2 * WIDTH, c2)
        store(panel, q + 3 * WIDTH, c3)


@jit
def _sum_products(x, y, j0, j1, panel, p):
    """Sum products, likewise of 4 columns at a time."""
    zero = splat(x.dtype.type(0))
    for j in range(j0, j1, 4):
        c0, c1, c2, c3 = zero, zero, zero, zero
        for f in range(len(x) // WIDTH):
            own = load(x, f * WIDTH)
            c0, c1 = c0 + own * splat(y[j, f]), c1 + own * splat(y[j + 1, f])
            c2, c3 = c2 + own * splat(y[j + 2, f]), c3 + own * splat(y[j + 3, f])
        q = (p + j - j0) * WIDTH
        store(panel, q, c0)
        store(panel, q + WIDTH, c1)
        store(panel, q + 2 * WIDTH, c2)
        store(panel, q + 3 * WIDTH, c3)


@jit
def _sum_absolute_differences(x, y, j0, j1, panel, p):
    """Sum absolute differences."""
    for j in range(j0, j1):
        cost = splat(x.dtype.type(0))
        for f in range(len(x) // WIDTH):
            own, other = load(x, f * WIDTH), splat(y[j, f])
            cost = cost + maximum(own - other, other - own)
        store(panel, (p + j - j0) * WIDTH, cost)


@jit
def _recompute_cancelled_panel(x, y, j0, j1, panel, p):
    """Compute costs that are small beside the norms again, from differences."""
    d = len(x) // WIDTH - 2
    limits = load(x, d * WIDTH) * splat(cancellation_share(x))
    q = p * WIDTH
    for j in range(j0, j1):
        if any_true(load(panel, q) < limits):
            for k in range(WIDTH):
                if panel[q + k] < cancellation_share(x) * x[d * WIDTH + k]:
                    cost = x.dtype.type(0)
                    for f in range(d):
                        difference = x[f * WIDTH + k] + y[j, f] / 2
                        cost += difference * difference
                    panel[q + k] = cost
        q += WIDTH
