"""Dynamic time warping in strips of sixteen rows, which advance along anti-diagonals.

Lane k of a strip is at column t - k when step t is taken, so that all lanes depend on
earlier steps only. Of the table of accumulated costs are kept: the row above every
block of rows, and the last two steps of every strip at every `span`-th anti-diagonal.
From these the trace back fills again what the path crosses.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from mmfusion._memory import check_fits
from mmfusion.alignment.dtw._kernels import (
    COSINE,
    GIVEN,
    MANHATTAN,
    PRODUCT,
    SQUARED,
    Costs,
    _compiled,
    band,
    cancelled,
)
from mmfusion.alignment.dtw._simd import (
    WIDTH,
    holds_any,
    least,
    load,
    load_skewed,
    most,
    select,
    shift,
    splat,
    square_root,
    stay_apart,
    store,
)

PIECE = 128  # steps between looks at the scalars
HALO = WIDTH - 1  # columns before the one where a strip is
SPARE = 3  # columns after the last that may be read and written, of no meaning
SMALLEST_BLOCK = 2 * WIDTH  # rows that are filled again at a time, at least
CELLS_PER_ROW = 2**20  # of the table, for each row of a block; memory is 16 MB then


class Frames(NamedTuple):
    """Frames of sequences, one after the other, as strips read them.

    Parameters
    ----------
    kind : int
        As in `Costs`.
    root : bool
        Whether the square root of costs is taken.
    x : ndarray of shape (n_strips, d * WIDTH)
        WIDTH frames of the first sequences in a row, feature after feature; for GIVEN
        the costs, of shape (n, m).
    y : ndarray of shape (n_frames + SPARE, d)
        The second.
    backwards : ndarray of shape (n_frames + 3 * WIDTH,)
        The second, last frame first, between zeros; empty unless they are numbers.
    """

    kind: int
    root: bool
    x: np.ndarray
    y: np.ndarray
    backwards: np.ndarray


class Strip(NamedTuple):
    """Sixteen rows, and where they may be visited.

    Parameters
    ----------
    row : int
        The first.
    n_rows : int
        How many there are; lanes beyond repeat the window of the last.
    begin, end : int
        Columns that any row may visit.
    inner_begin, inner_end : int
        Columns that all rows may visit.
    starts, stops, lanes : ndarray of shape (WIDTH,)
        Columns of each row, and its number, in the dtype of the costs.
    """

    row: int
    n_rows: int
    begin: int
    end: int
    inner_begin: int
    inner_end: int
    starts: np.ndarray
    stops: np.ndarray
    lanes: np.ndarray


class Room(NamedTuple):
    """Arrays to work in.

    Parameters
    ----------
    panel : ndarray of shape ((PIECE + HALO + SPARE) * WIDTH,)
        Costs of columns, one row of WIDTH after the other.
    trail : ndarray of shape ((PIECE + 2) * WIDTH,)
        Accumulated costs of steps, after those of the last two.
    row, following : ndarray of shape (m + 1 + 2 * WIDTH,)
        Accumulated costs of the row above a strip and of its last, from column -1 on.
    """

    panel: np.ndarray
    trail: np.ndarray
    row: np.ndarray
    following: np.ndarray


class Marks(NamedTuple):
    """What is kept of the table of accumulated costs.

    Parameters
    ----------
    height : int
        Rows of a block, a multiple of WIDTH.
    span : int
        Anti-diagonals between two marks, a multiple of PIECE.
    borders : ndarray of shape (n_blocks, m + 1 + 2 * WIDTH)
        The row above each block. Empty where no path is wanted.
    steps : ndarray of shape (n_strips, n_marks, 2 * WIDTH)
        The last two steps of each strip before each mark. Empty likewise.
    """

    height: int
    span: int
    borders: np.ndarray
    steps: np.ndarray


def frames_of(costs: Costs, lengths: np.ndarray | None = None) -> Frames:
    """Lay frames out for strips.

    Parameters
    ----------
    costs : Costs
        What costs are made from.
    lengths : ndarray of int of shape (n_sequences,), default=None
        Frames of each of the first sequences, which begin a strip each; None takes
        them as one.

    Returns
    -------
    Frames
        The same frames.
    """
    dtype = costs.x.dtype
    none = np.empty(0, dtype)
    if costs.kind == GIVEN:
        x = np.require(costs.x, requirements=["C", "W"])
        return Frames(GIVEN, False, x, np.empty((0, 0), dtype), none)
    n, d = costs.x.shape
    lengths = np.array([n]) if lengths is None else lengths
    strips = strip_starts(lengths)
    padded = np.zeros((strips[-1] * WIDTH, d), dtype)
    padded[
        np.arange(n) + np.repeat(strips[:-1] * WIDTH - starts_of(lengths)[:-1], lengths)
    ] = costs.x
    x = aligned(padded.size, costs.x).reshape(-1, d, WIDTH)
    x[:] = padded.reshape(-1, WIDTH, d).transpose(0, 2, 1)
    by_feature = costs.kind in (SQUARED, MANHATTAN)
    others = costs.y.T if by_feature else costs.y
    y = np.zeros((len(others) + SPARE, d), dtype)
    y[: len(others)] = others
    has_numbers = by_feature and d == 1 and not costs.root
    around = 2 * WIDTH, WIDTH  # as far as steps before and after the sequence read
    backwards = np.pad(others[::-1, 0], around) if has_numbers else none
    return Frames(costs.kind, costs.root, x.reshape(-1, d * WIDTH), y, backwards)


def starts_of(lengths: np.ndarray) -> np.ndarray:
    """Tell where sequences begin that are laid one after the other, and where they end.

    Parameters
    ----------
    lengths : ndarray of int of shape (n_sequences,)
        Their numbers of frames.

    Returns
    -------
    ndarray of int of shape (n_sequences + 1,)
        Frames.
    """
    return np.concatenate([[0], np.cumsum(lengths)])


def strip_starts(lengths: np.ndarray) -> np.ndarray:
    """Tell the strips where sequences begin.

    Parameters
    ----------
    lengths : ndarray of int of shape (n_sequences,)
        Their numbers of frames.

    Returns
    -------
    ndarray of int of shape (n_sequences + 1,)
        Strips.
    """
    return starts_of(-(-lengths // WIDTH))


def make_room(m: int, dtype: Any) -> Room:
    """Make arrays to work in.

    Parameters
    ----------
    m : int
        Frames of the second sequence.
    dtype : dtype
        Of the costs.

    Returns
    -------
    Room
        Its row is infinite.
    """
    row = np.full(m + 1 + 2 * WIDTH, np.inf, dtype)
    panel = aligned((PIECE + HALO + SPARE) * WIDTH, row)
    return Room(panel, aligned((PIECE + 2) * WIDTH, row), row, row.copy())


def make_marks(n: int, m: int, dtype: Any, *, wants_path: bool) -> Marks:
    """Make what is kept of the table, of a size that grows slower than the table.

    Parameters
    ----------
    n, m : int
        Frames of the sequences.
    dtype : dtype
        Of the costs.
    wants_path : bool
        Whether any is kept.

    Returns
    -------
    Marks
        Not filled in.

    Raises
    ------
    ValueError
        If they do not fit into memory.
    """
    height = min(max(SMALLEST_BLOCK, n * m // CELLS_PER_ROW), int((n * m) ** (1 / 3)))
    height = -(-max(height, SMALLEST_BLOCK) // WIDTH) * WIDTH
    span = -(-2 * height // PIECE) * PIECE
    n_blocks, n_strips = -(-n // height), -(-n // WIDTH)
    n_marks = (m + HALO + 2) // span + 2
    kept = int(wants_path)
    borders = n_blocks * kept, m + 1 + 2 * WIDTH
    steps = n_strips * kept, n_marks, 2 * WIDTH
    check_fits(
        (prod(borders) + prod(steps)) * np.dtype(dtype).itemsize,
        f"the path through {n} and {m} frames",
        "take its cost alone (dtw_distance), or shorten the sequences",
    )
    return Marks(height, span, np.empty(borders, dtype), np.empty(steps, dtype))


@_compiled
def aligned(size, like):
    """Make an array that begins where a line of the cache does.

    Parameters
    ----------
    size : int
        Its length.
    like : ndarray
        Of the same dtype.

    Returns
    -------
    ndarray of shape (size,)
        Not initialised.
    """
    line = 64 // like.itemsize
    found = np.empty(size + line, like.dtype)
    start = (-found.ctypes.data % 64) // like.itemsize
    return found[start : start + size]


@_compiled
def _squared(x, y, j0, j1, panel, p):
    """Sums of squared differences; of 4 columns at a time, so that x is read once."""
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


@_compiled
def _products(x, y, j0, j1, panel, p):
    """Sums of products, likewise."""
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


@_compiled
def _absolute(x, y, j0, j1, panel, p):
    """Sums of absolute differences."""
    for j in range(j0, j1):
        cost = splat(x.dtype.type(0))
        for f in range(len(x) // WIDTH):
            own, other = load(x, f * WIDTH), splat(y[j, f])
            cost = cost + most(own - other, other - own)
        store(panel, (p + j - j0) * WIDTH, cost)


@_compiled
def _mend_cancelled(x, y, j0, j1, panel, p):
    """Compute again, from differences, what is small beside the norms it came from."""
    d = len(x) // WIDTH - 2
    limits = load(x, d * WIDTH) * splat(cancelled(x))
    q = p * WIDTH
    for j in range(j0, j1):
        if holds_any(load(panel, q) < limits):
            for k in range(WIDTH):
                if panel[q + k] < cancelled(x) * x[d * WIDTH + k]:
                    cost = x.dtype.type(0)
                    for f in range(d):
                        difference = x[f * WIDTH + k] + y[j, f] / 2
                        cost += difference * difference
                    panel[q + k] = cost
        q += WIDTH


@_compiled
def fill_panel(frames, i0, n_rows, j0, j1, panel, p):
    """Write the costs of columns j0 to j1 and WIDTH rows from i0 on.

    Parameters
    ----------
    frames : Frames
        What they are made from.
    i0, n_rows : int
        First frame of the first sequence, and how many there are.
    j0, j1 : int
        Frames of the second.
    panel : ndarray
        Where to, a row of WIDTH per column.
    p : int
        Row of the first column; up to SPARE rows after the last are written, too.
    """
    stay_apart()
    if frames.kind == GIVEN:
        for j in range(j0, j1):
            for k in range(WIDTH):
                cost = frames.x[i0 * WIDTH + min(k, n_rows - 1), j]
                panel[(p + j - j0) * WIDTH + k] = cost
        return
    x, y = frames.x[i0], frames.y
    if frames.kind == SQUARED:
        _squared(x, y, j0, j1, panel, p)
    elif frames.kind == MANHATTAN:
        _absolute(x, y, j0, j1, panel, p)
    else:
        _products(x, y, j0, j1, panel, p)
    if frames.kind == PRODUCT:
        _mend_cancelled(x, y, j0, j1, panel, p)
    elif frames.kind == COSINE:
        zero, one = splat(panel.dtype.type(0)), splat(panel.dtype.type(1))
        for q in range(p, p + j1 - j0):
            store(panel, q * WIDTH, most(one - load(panel, q * WIDTH), zero))
    if frames.root:
        for q in range(p, p + j1 - j0):
            store(panel, q * WIDTH, square_root(load(panel, q * WIDTH)))


@_compiled
def _cover(frames, x0, y0, strip, j0, j1, panel, p):
    """Costs of columns; infinite outside of the window."""
    begin, end = max(j0, strip.begin), min(j1, strip.end)
    if begin >= end:
        panel[p * WIDTH : (p + j1 - j0) * WIDTH] = np.inf
        return
    i0, q = x0 + strip.row // WIDTH, p + begin - j0
    fill_panel(frames, i0, strip.n_rows, y0 + begin, y0 + end, panel, q)
    panel[p * WIDTH : (p + begin - j0) * WIDTH] = np.inf
    panel[(p + end - j0) * WIDTH : (p + j1 - j0) * WIDTH] = np.inf
    starts, stops = load(strip.starts, 0), load(strip.stops, 0)
    far = splat(panel.dtype.type(np.inf))
    for j in range(begin, end):
        if strip.inner_begin <= j < strip.inner_end:
            continue
        at = splat(panel.dtype.type(j))
        q = (p + j - j0) * WIDTH
        cost = select(at < starts, far, load(panel, q))
        store(panel, q, select(at < stops, cost, far))


@_compiled
def _step(own, above, across, cost, a, b):
    """Accumulated costs of a step from those of the last two."""
    straight, diagonal = cost + b, cost * a
    return least(least(own + straight, across + diagonal), above + straight)


@_compiled
def _sweep(panel, top, trail, n_steps, weights):
    """Take steps whose costs are in a panel, from its column HALO on.

    ``top`` is the row above, from the column before the first step on. The first two
    steps of the trail are those taken before.
    """
    a, b = splat(weights[0]), splat(weights[1])
    own, across = load(trail, WIDTH), shift(load(trail, 0), top[0])
    for s in range(n_steps):
        cost = load_skewed(panel, s + HALO)
        above = shift(own, top[s + 1])
        own = _step(own, above, across, cost, a, b)
        across = above
        store(trail, (s + 2) * WIDTH, own)


@_compiled
def _sweep_differences(frames, x0, y0, strip, t, n_steps, top, trail, weights):
    """The same where frames are single numbers, whose costs need no panel."""
    a, b = splat(weights[0]), splat(weights[1])
    own, across = load(trail, WIDTH), shift(load(trail, 0), top[0])
    x = load(frames.x[x0 + strip.row // WIDTH], 0)
    last = len(frames.backwards) - 1 - WIDTH - (y0 + t)  # the frame of lane 0
    squared = frames.kind == SQUARED
    bounded = t < strip.inner_begin + HALO or t >= strip.inner_end
    starts, stops = load(strip.starts, 0), load(strip.stops, 0)
    far = splat(trail.dtype.type(np.inf))
    column = splat(trail.dtype.type(t)) - load(strip.lanes, 0)
    one = splat(trail.dtype.type(1))
    for s in range(n_steps):
        other = load(frames.backwards, last - s)
        cost = (x - other) * (x - other) if squared else most(x - other, other - x)
        if bounded:
            cost = select(column < starts, far, cost)
            cost = select(column < stops, cost, far)
            column = column + one
        above = shift(own, top[s + 1])
        own = _step(own, above, across, cost, a, b)
        across = above
        store(trail, (s + 2) * WIDTH, own)


@_compiled
def _strip_at(window, row, lanes):
    n_rows = min(WIDTH, len(window.starts) - row)
    for k in range(WIDTH):
        i = row + min(k, n_rows - 1)
        lanes[0, k], lanes[1, k], lanes[2, k] = window.starts[i], window.stops[i], k
    last = row + n_rows - 1
    return Strip(
        row,
        n_rows,
        window.starts[row],
        window.stops[last],
        window.starts[last],
        window.stops[row],
        lanes[0],
        lanes[1],
        lanes[2],
    )


@_compiled
def _advance(frames, x0, y0, strip, t, t_end, covered, panel, top, trail, weights):
    """Take at most PIECE steps of a strip, from t on.

    ``covered`` is the first column that the panel does not hold, after those from
    t - HALO on. Tells the next step, and what is covered then.
    """
    stay_apart()
    inner_begin, inner_end = strip.inner_begin + HALO, strip.inner_end
    if len(frames.backwards):
        for turn in (inner_begin, inner_end):
            if t < turn:
                t_end = min(t_end, turn)
                break
        _sweep_differences(frames, x0, y0, strip, t, t_end - t, top, trail, weights)
        return t_end, covered
    _cover(frames, x0, y0, strip, covered, t_end, panel, covered - t + HALO)
    _sweep(panel, top, trail, t_end - t, weights)
    for q in range(0, HALO * WIDTH, WIDTH):  # for the next piece
        store(panel, q, load(panel, q + (t_end - t) * WIDTH))
    return t_end, t_end


@_compiled
def walk(frames, x0, y0, m, window, weights, room, marks, rest, limit):
    """Accumulate over all strips of a window.

    Parameters
    ----------
    frames : Frames
        What costs are made from.
    x0, y0 : int
        The strip where the first sequence begins; the frame where the second does.
    m : int
        Frames of the second.
    window : Window
        Where a path may go.
    weights : ndarray of shape (2,)
        Of a diagonal step; the price of a step that is not diagonal.
    room : Room
        To work in. Its row begins as what lies above the first row.
    marks : Marks
        To be filled in, where they are not empty.
    rest : ndarray of shape (n + 1,)
        What the rows from each on cost at least; read below an infinite limit only.
    limit : float
        Cost above which a path is given up.

    Returns
    -------
    ndarray of shape (m,)
        Accumulated costs of the last row; all infinite if given up.
    """
    n, panel, trail = len(window.starts), room.panel, room.trail
    row, following = room.row, room.following
    lanes = np.empty((3, WIDTH), row.dtype)
    far = splat(row.dtype.type(np.inf))
    keeps = len(marks.borders) > 0
    for i in range(0, n, WIDTH):
        strip = _strip_at(window, i, lanes)
        if keeps and i % marks.height == 0:
            border = marks.borders[i // marks.height]
            for j in range(len(border)):
                border[j] = row[j]
        last = strip.n_rows - 1
        if i + WIDTH >= n:
            following[:] = np.inf
        else:
            following[strip.begin] = np.inf
            beyond = window.stops[min(i + 2 * WIDTH, n) - 1]
            following[strip.end + 1 : beyond + WIDTH + 1] = np.inf
        store(trail, 0, far)
        store(trail, WIDTH, far)
        t, t_end = strip.begin, strip.end + HALO + 2
        covered = t - HALO
        lowest = np.inf
        while t < t_end:
            to_mark = marks.span - (i + t) % marks.span
            if keeps and (t == strip.begin or to_mark == marks.span):
                steps = marks.steps[i // WIDTH, (i + t) // marks.span - i // marks.span]
                store(steps, 0, load(trail, 0))
                store(steps, WIDTH, load(trail, WIDTH))
            stop = min(t_end, t + min(PIECE, to_mark))
            reached, covered = _advance(
                frames, x0, y0, strip, t, stop, covered, panel, row[t:], trail, weights
            )
            begin = max(t, strip.begin + last)
            for s in range(begin, min(reached, strip.end + last)):
                value = trail[(s - t + 2) * WIDTH + last]
                following[s - last + 1] = value
                lowest = min(lowest, value)
            store(trail, 0, load(trail, (reached - t) * WIDTH))
            store(trail, WIDTH, load(trail, (reached - t + 1) * WIDTH))
            t = reached
        row, following = following, row
        if limit < np.inf and lowest + rest[min(i + WIDTH, n)] > limit:
            row[:] = np.inf
            break
    return row[1 : m + 1]


@_compiled
def trace(frames, x0, y0, window, weights, room, marks, end):
    """Follow the best path back, through blocks that are filled again.

    Parameters
    ----------
    frames, x0, y0, window, weights, room, marks
        As `walk` took and left them.
    end : int
        Column of the last row where the path ends.

    Returns
    -------
    ndarray of int64 of shape (length, 2)
        Rows and columns of the path; a diagonal step, where several are as good.
    """
    n, m = len(window.starts), marks.borders.shape[1] - 1 - 2 * WIDTH
    height, span = marks.height, marks.span
    path = np.empty((n + m, 2), np.int64)
    table = np.empty((-(-min(n, height) // WIDTH), (span + 2) * WIDTH), room.row.dtype)
    top = np.empty(span + 1, room.row.dtype)
    lanes = np.empty((3, WIDTH), top.dtype)
    i, j, at = n - 1, end, n + m
    a, b = weights[0], weights[1]
    while True:
        i0 = i // height * height
        border = marks.borders[i0 // height]
        first = (i + j) // span * span  # the anti-diagonal where the block begins
        for s in range((i - i0) // WIDTH + 1):
            r = i0 + s * WIDTH
            strip = _strip_at(window, r, lanes)
            trail = table[s]
            trail[: (i + j - first + 3) * WIDTH] = np.inf
            t = max(first - r, strip.begin)
            t_end = min(i + j + 1 - r, strip.end + HALO + 2)
            if t >= t_end:
                continue
            offset = (r + t - first) * WIDTH
            steps = marks.steps[r // WIDTH, (r + t) // span - r // span]
            store(trail, offset, load(steps, 0))
            store(trail, offset + WIDTH, load(steps, WIDTH))
            for q in range(t_end - t + 1):
                if s == 0:
                    top[q] = border[t + q]
                else:
                    top[q] = table[s - 1, offset + q * WIDTH + HALO]
            begin, covered = t, t - HALO
            while t < t_end:
                rest, stop = (
                    trail[offset + (t - begin) * WIDTH :],
                    min(t_end, t + PIECE),
                )
                t, covered = _advance(
                    frames,
                    x0,
                    y0,
                    strip,
                    t,
                    stop,
                    covered,
                    room.panel,
                    top[t - begin :],
                    rest,
                    weights,
                )
        while i >= i0 and i + j >= first:
            at -= 1
            path[at, 0], path[at, 1] = i, j
            s, k = (i - i0) // WIDTH, (i - i0) % WIDTH
            x = (i + j - first + 2) * WIDTH + k
            total, before = table[s, x], table[s, x - WIDTH]
            if k:
                above, across = table[s, x - WIDTH - 1], table[s, x - 2 * WIDTH - 1]
            elif s:
                above, across = table[s - 1, x - 1], table[s - 1, x - WIDTH - 1]
            else:
                above, across = border[j + 1], border[j]
            straight = min(before, above) + b
            # which of two increasing functions of the cost is less, from the result
            if a == 1:
                is_diagonal = across <= straight
            else:
                is_diagonal = (total - across) / a >= total - straight
            if i == 0 and (is_diagonal or above < before):
                return path[at:]
            if is_diagonal:
                i, j = i - 1, j - 1
            elif before <= above:
                j -= 1
            else:
                i -= 1


@_compiled
def pair_costs(frames, left, right, pairs, reach, weights, room, marks, out):
    """Cost of the best path of each of many pairs.

    Parameters
    ----------
    frames : Frames
        Of all sequences.
    left, right : tuple of ndarray of int of shape (n_sequences,)
        Where each of the first sequences begins, in strips, and its frames; where each
        of the second begins, in frames, and its frames.
    pairs : ndarray of int of shape (n_pairs, 2)
        Which.
    reach : float
        Half width of the window in frames of the longer sequence; minus its share of
        them, if it is negative.
    weights : ndarray of shape (2,)
        As `walk` takes them.
    room : Room
        To work in, for the longest of the second sequences.
    marks : Marks
        Empty ones.
    out : ndarray of float64 of shape (n_pairs,)
        Where to.
    """
    nothing = np.empty(0)
    for p in range(len(pairs)):
        i, j = pairs[p]
        x0, n = left[0][i], left[1][i]
        y0, m = right[0][j], right[1][j]
        window = band(n, m, -reach * max(n, m) if reach < 0 else reach)
        room.row[:] = np.inf
        room.row[0] = corner(frames, x0, y0, weights, room)
        last = walk(frames, x0, y0, m, window, weights, room, marks, nothing, np.inf)
        out[p] = last[m - 1]


@_compiled
def corner(frames, x0, y0, weights, room):
    """Tell what lies before the first cell, whose step weighs 1 whatever the pattern.

    Parameters
    ----------
    frames, x0, y0, weights, room
        As `walk` takes them.

    Returns
    -------
    float
        0 if a diagonal step weighs 1; infinite if the first cell is, where a
        difference of infinities would be NaN.
    """
    if weights[0] == 1:
        return weights[0] * 0
    fill_panel(frames, x0, 1, y0, y0 + 1, room.panel, 0)
    if room.panel[0] == np.inf:
        return room.panel[0]
    return (1 - weights[0]) * room.panel[0]
