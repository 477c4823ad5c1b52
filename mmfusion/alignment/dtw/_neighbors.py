"""Nearest neighbours by dynamic time warping, of which few costs are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from mmfusion._sequences import as_collection
from mmfusion.alignment.dtw._costs import are_moderate, check_metric, make_costs
from mmfusion.alignment.dtw._kernels import Window, _compiled, band
from mmfusion.alignment.dtw._lower_bounds import (
    BOUNDED,
    clip,
    envelope,
    excess,
    excess_of_frames,
    transposed,
)
from mmfusion.alignment.dtw._pairwise import cdist_dtw, reach_of_all, runs_compiled
from mmfusion.alignment.dtw._parameters import check_integer, check_n_jobs
from mmfusion.alignment.dtw._path import (
    Constraints,
    split_options,
)
from mmfusion.alignment.dtw._row_blocks import (
    corner,
    fill_panel,
    frames_of,
    make_marks,
    make_room,
    starts_of,
    strip_starts,
    walk,
)
from mmfusion.alignment.dtw._simd import WIDTH

PARTS_PER_THREAD = 4  # some queries take longer than others
MOST_PENALTY = 1e290  # a few thousand of which do not overflow
SLACK = 1 + 1e-9  # of a threshold: a bound is rounded, and so is a cost
ENDS, ENVELOPE, BOTH_ENVELOPES, ABANDONED, IN_FULL = range(5)  # what settles a pair


class Shelf(NamedTuple):
    """Sequences one after another.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, d)
        Their frames.
    starts : ndarray of int of shape (n_sequences + 1,)
        The frame where each begins.
    made : ndarray of int of shape (n_sequences + 1,)
        Where each begins in the `Frames` of `walk`, in strips for those that are
        searched, in frames for the queries.
    """

    frames: np.ndarray
    starts: np.ndarray
    made: np.ndarray


def dtw_neighbors(
    X: Sequence[Any],
    Y: Sequence[Any] | None = None,
    *,
    n_neighbors: int = 1,
    n_jobs: int | None = None,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest sequences by dynamic time warping.

    The answer is exact, that of looking through `cdist_dtw`. It comes sooner, since
    most pairs are settled by a lower bound of their cost, or by the cost of the first
    frames of a path.

    Parameters
    ----------
    X : sequence of array-like of shape (n_i, d)
        Sequences whose neighbours are wanted.
    Y : sequence of array-like of shape (m_j, d), default=None
        Sequences to find them in; None finds them in `X`, where no sequence is a
        neighbour of itself.
    n_neighbors : int, default=1
        How many.
    n_jobs : int, default=None
        Threads; -1 is one per core.
    **options : dict
        Metric (not 'precomputed') and constraints, as `dtw_path` takes them.

    Returns
    -------
    distances : ndarray of float64 of shape (len(X), n_neighbors)
        Costs of the best alignments, in rising order.
    indices : ndarray of int64 of shape (len(X), n_neighbors)
        Which sequences of `Y` they are with; of several as near, but for rounding, the
        first.

    Raises
    ------
    TypeError, ValueError
        As `cdist_dtw` does, and if there are less than `n_neighbors` to find.

    See Also
    --------
    cdist_dtw : All costs.
    lb_keogh, lb_improved : The bounds.
    DTWKernel : The costs as a transformer, for estimators that take them.

    Notes
    -----
    For each sequence of `X`, those of `Y` are sorted by the bound of `lb_keogh`, in
    which the first and the last frames count in full, and visited until that bound
    passes the cost of the farthest neighbour so far. Each is met by the bound of
    `lb_improved` first, and then by a recurrence that ends as soon as all cells of a
    row, and the bound of the rows after it, pass that cost.

    The envelopes are of the metrics 'sqeuclidean' and 'manhattan', and of any window
    'sakoe_chiba', the better the narrower; without one they are flat. Other metrics
    have the costs of both ends and the ending. Callables, windows, step patterns and
    open ends that `cdist_dtw` does not take through compiled loops either have all
    their costs computed, as have values whose squares may overflow or vanish. The
    search by bounds is in float64, also for float32.

    References
    ----------
    Lemire, D. (2009). Faster retrieval with a two-pass dynamic-time-warping lower
    bound. Pattern Recognition 42(9), 2169-2180.

    Rakthanmanon, T. et al. (2012). Searching and mining trillions of time series
    subsequences under dynamic time warping. KDD 18, 262-270. (the ending)

    Examples
    --------
    >>> from mmfusion.alignment import dtw_neighbors
    >>> X = [[0.0, 1.0, 2.0], [5.0, 5.0]]
    >>> Y = [[4.0, 5.0, 5.0], [0.0, 0.0, 1.0, 2.0], [0.0, 3.0]]
    >>> distances, indices = dtw_neighbors(X, Y, n_neighbors=2)
    >>> indices.tolist()
    [[1, 2], [0, 2]]
    >>> distances.tolist()
    [[0.0, 2.0], [1.0, 29.0]]
    """
    return search(X, Y, n_neighbors, n_jobs, **options)[:2]


def search(
    X: Sequence[Any],
    Y: Sequence[Any] | None,
    n_neighbors: int,
    n_jobs: int | None,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the nearest sequences, and tell by what pairs were settled.

    Parameters
    ----------
    X, Y, n_neighbors, n_jobs, **options
        As `dtw_neighbors` takes them.

    Returns
    -------
    distances, indices : ndarray of shape (len(X), n_neighbors)
        As it returns them.
    counts : ndarray of int64 of shape (5,)
        Pairs settled by the costs of both ends, by one envelope, by both, by a
        recurrence that ended early, and by one in full.
    """
    metric, constraints = split_options(**options)
    check_metric(metric, precomputed=False)
    n_neighbors = check_integer(n_neighbors, "n_neighbors", 1)
    n_jobs = check_n_jobs(n_jobs)
    own = as_collection(X, "X")
    given = None if Y is None else as_collection(Y, "Y")
    queries = _as_floats(own)
    others = queries if given is None else _as_floats(given)
    n_others = len(others) - (Y is None)
    if n_neighbors > n_others:
        raise ValueError(
            f"n_neighbors={n_neighbors}, but there are {n_others} sequences to find "
            "neighbours in"
        )
    if not queries:
        nothing = np.empty((0, n_neighbors))
        return nothing, nothing.astype(np.int64), np.zeros(5, np.int64)
    # costs that may overflow are left to where that is found out
    moderate = are_moderate([*queries, *others]) and constraints.penalty < MOST_PENALTY
    # of correlations, the own type of a frame decides whether it counts as constant
    is_single = [x.dtype == np.float32 for x in [*own, *(given or [])]]
    typed = metric == "correlation" and any(is_single)
    if not (runs_compiled(metric, constraints) and moderate) or typed:
        costs = cdist_dtw(own, given, n_jobs=n_jobs, **options)
        if Y is None:
            np.fill_diagonal(costs, np.inf)
        nearest = np.argsort(costs, axis=1, kind="stable")[:, :n_neighbors]
        counts = np.array([0, 0, 0, 0, costs.size])
        return np.take_along_axis(costs, nearest, axis=1), nearest, counts
    find = _finder(queries, others, str(metric), constraints, n_neighbors, Y is None)
    n_parts = PARTS_PER_THREAD * effective_n_jobs(n_jobs)
    parts = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(find)(some) for some in np.array_split(np.arange(len(queries)), n_parts)
    )
    distances, indices, settled = zip(*parts, strict=True)
    return np.concatenate(distances), np.concatenate(indices), np.sum(settled, axis=0)


def _as_floats(X: list[np.ndarray]) -> list[np.ndarray]:
    return [x.astype(np.float64, copy=False) for x in X]


def _finder(
    queries: list[np.ndarray],
    others: list[np.ndarray],
    metric: str,
    constraints: Constraints,
    n_neighbors: int,
    among_themselves: bool,
) -> Callable[[np.ndarray], tuple[np.ndarray, ...]]:
    """Search for some of the queries without Python between them."""
    lengths = [np.array(list(map(len, side))) for side in (queries, others)]
    reach = reach_of_all(queries, others, constraints)
    # all sequences as one: their costs are made of the same frames
    asked, searched = (np.concatenate(side).copy("C") for side in (queries, others))
    frames = frames_of(make_costs(searched, asked, metric), lengths[1])
    starts = [starts_of(side) for side in lengths]
    query_shelf = Shelf(asked, starts[0], starts[0])
    other_shelf = Shelf(searched, starts[1], strip_starts(lengths[1]))
    different, which_length = np.unique(lengths[1], return_inverse=True)
    longest = int(lengths[0].max())
    marks = make_marks(1, longest, np.float64, wants_path=False)
    weights = constraints.weights(np.float64)

    def find(some: np.ndarray) -> tuple[np.ndarray, ...]:
        distances = np.full((len(some), n_neighbors), np.inf)
        indices = np.full((len(some), n_neighbors), len(others))
        counts = np.zeros(5, np.int64)
        _find(
            frames,
            query_shelf,
            other_shelf,
            (different, which_length),
            some,
            among_themselves,
            (metric in BOUNDED, metric == "sqeuclidean"),
            reach,
            weights,
            (make_room(longest, np.float64), marks),
            distances,
            indices,
            counts,
        )
        return distances, indices, counts

    return find


@_compiled
def _find(
    frames,
    queries,
    others,
    lengths,
    some,
    among_themselves,
    bounded,
    reach,
    weights,
    work,
    distances,
    indices,
    counts,
):
    """Find the neighbours of some queries.

    The rows of a recurrence are frames of the sequences that are searched: of them an
    envelope of the query, which is made once, tells what each costs at least.
    """
    room, marks = work
    different, which_length = lengths
    has_envelopes, squared = bounded
    d, n_others = queries.frames.shape[1], len(which_length)
    places = np.zeros(len(different) + 1, np.int64)  # where what has its length begins
    places[1:] = np.cumsum(different)
    longest, longest_query = different[-1], np.max(np.diff(queries.starts))
    window_starts = np.empty(places[-1], np.int64)
    window_stops = np.empty(places[-1], np.int64)
    wholes = np.empty(len(different), np.bool_)
    lower, upper = np.empty((places[-1], d)), np.empty((places[-1], d))
    bounds, ends = np.empty(n_others), np.empty((n_others, 2))
    shares, clipped = np.empty(longest + 1), np.empty((longest, d))
    low, high = np.empty((longest_query, d)), np.empty((longest_query, d))
    for s in range(len(some)):
        q = some[s]
        x = queries.frames[queries.starts[q] : queries.starts[q + 1]]
        n = len(x)
        x0 = queries.made[q]
        for k in range(len(different)):
            m, at, to = different[k], places[k], places[k + 1]
            window = band(m, n, -reach * max(n, m) if reach < 0 else reach)
            window_starts[at:to], window_stops[at:to] = window.starts, window.stops
            wholes[k] = window.whole
            if has_envelopes:
                envelope(x, window, lower[at:to], upper[at:to])
        for c in range(n_others):
            begin, end = others.starts[c], others.starts[c + 1]
            m = end - begin
            y0, last = others.made[c], m - 1
            fill_panel(frames, y0, m, x0, x0 + 1, room.panel, 0)
            ends[c, 0], ends[c, 1] = room.panel[0], 0.0
            if n + m > 2:
                at = x0 + n - 1
                fill_panel(frames, y0 + last // WIDTH, 1, at, at + 1, room.panel, 0)
                ends[c, 1] = room.panel[last % WIDTH]
            bounds[c] = ends[c, 0] + ends[c, 1]
            if has_envelopes and m > 2:
                at = places[which_length[c]]
                bounds[c] += excess(
                    others.frames[begin + 1 : end - 1].ravel(),
                    lower[at + 1 : at + m - 1].ravel(),
                    upper[at + 1 : at + m - 1].ravel(),
                    squared,
                )
        if among_themselves:
            bounds[q] = np.inf
        own_distances, own_indices = distances[s], indices[s]
        for c in np.argsort(bounds):
            threshold = own_distances[-1] * SLACK
            if among_themselves and c == q:
                continue
            if bounds[c] > threshold:
                counts[ENDS if ends[c, 0] + ends[c, 1] > threshold else ENVELOPE] += 1
                continue
            begin, end = others.starts[c], others.starts[c + 1]
            m, k = end - begin, which_length[c]
            at, to = places[k], places[k + 1]
            window = Window(window_starts[at:to], window_stops[at:to], wholes[k])
            y = others.frames[begin:end]
            if has_envelopes and m > 1 and n > 2 and threshold < np.inf:
                clip(
                    y.ravel(),
                    lower[at:to].ravel(),
                    upper[at:to].ravel(),
                    clipped[:m].ravel(),
                )
                envelope(clipped[:m], transposed(window, n), low[:n], high[:n])
                more = excess(
                    x[1 : n - 1].ravel(),
                    low[1 : n - 1].ravel(),
                    high[1 : n - 1].ravel(),
                    squared,
                )
                if bounds[c] + more > threshold:
                    counts[BOTH_ENVELOPES] += 1
                    continue
            shares[: m + 1] = 0.0
            if has_envelopes:
                excess_of_frames(y, lower[at:to], upper[at:to], squared, shares)
            shares[m - 1] = ends[c, 1] if m > 1 else ends[c, 0]
            for i in range(m - 2, -1, -1):
                shares[i] += shares[i + 1]
            room.row[:] = np.inf
            room.row[0] = corner(frames, others.made[c], x0, weights, room)
            total = walk(
                frames,
                others.made[c],
                x0,
                n,
                window,
                weights,
                room,
                marks,
                shares[: m + 1],
                threshold,
            )
            cost = total[n - 1]
            counts[ABANDONED if cost == np.inf else IN_FULL] += 1
            _insert(cost, c, own_distances, own_indices)


@_compiled
def _insert(cost, index, costs, indices):
    """Put a pair to its place among the least, by cost and then by index."""
    last = len(costs) - 1
    if cost > costs[last] or (cost == costs[last] and index > indices[last]):
        return
    k = last
    while k > 0 and (
        cost < costs[k - 1] or (cost == costs[k - 1] and index < indices[k - 1])
    ):
        costs[k], indices[k] = costs[k - 1], indices[k - 1]
        k -= 1
    costs[k], indices[k] = cost, index
