"""Nearest neighbours by dynamic time warping, for which few costs are computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import ArrayLike

from mmfusion._compilation import jit
from mmfusion._sequences import as_collection
from mmfusion._simd import WIDTH
from mmfusion.alignment.dtw._constraints import Constraints, split_options
from mmfusion.alignment.dtw._costs import are_moderate, check_metric, make_costs
from mmfusion.alignment.dtw._lower_bounds import (
    BOUNDED_METRICS,
    clip_to_envelope,
    envelope,
    excess,
    excess_of_frames,
)
from mmfusion.alignment.dtw._neighbors_of_costs import (
    PAIRS_OF_COSTS,
    FoundNeighbors,
    join_found,
    search_all_costs,
    search_parts_of_costs,
)
from mmfusion.alignment.dtw._pairwise import (
    common_reach,
    is_fully_compiled,
)
from mmfusion.alignment.dtw._panels import (
    PackedFrames,
    fill_panel,
    frame_offsets,
    pack_frames,
    row_block_offsets,
)
from mmfusion.alignment.dtw._parameters import check_integer_at_least, check_n_jobs
from mmfusion.alignment.dtw._row_blocks import (
    accumulate,
    corner_total,
    make_checkpoints,
    make_workspace,
    step_weights,
)
from mmfusion.alignment.dtw._windows import Window, band, transposed

QUERY_TASKS_PER_THREAD = 4  # queries differ in their time
LARGEST_PENALTY = 1e290  # a few thousand such penalties do not overflow
THRESHOLD_SLACK = 1 + 1e-9  # both bounds and costs are rounded

# bounds are computed where they may exclude a pair: that of the second envelope is
# rarely larger than the first bound, and bounds of the rows abandon a recurrence early
# where they are not small beside the threshold
SECOND_BOUND_SHARE, ROW_BOUNDS_SHARE = 0.4, 0.1
# all costs take less time where a trial of the search accumulates more than this share
# of the rows: of those of all costs, or of their symmetric half, which takes half as
# long and is not exceeded by bounds that take time, too
LARGEST_SEARCH_SHARE, LARGEST_SYMMETRIC_SHARE = 0.93, 0.425
# time of the second bound and of the bounds of rows for each feature, as a share of the
# time of a recurrence, and at most
SECOND_BOUND_PRICE, ROW_BOUNDS_PRICE, PRICED_FEATURES = 0.03, 0.01, 10
# trials: queries, sequences that are searched for each neighbour; a share that exceeds
# the largest by this factor decides without the next one
TRIALS = ((2, 24), (3, 48))
DECISIVE_EXCESS = 1.05
PAIRS_PER_TRIAL_PAIR = 40  # of the whole task, at least

# how a pair is decided: by the costs of both ends, with one envelope, with both, by a
# recurrence that is abandoned, or by one that is completed
ENDS, ENVELOPE, BOTH_ENVELOPES, ABANDONED, COMPLETED = range(5)
N_DECISIONS = 5


class ConcatenatedSequences(NamedTuple):
    """Sequences one after the other.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, d)
        Their frames.
    starts : ndarray of int of shape (n_sequences + 1,)
        First frame of each, and the number of all frames.
    packed : ndarray of int of shape (n_sequences + 1,)
        Position of each in `PackedFrames`: the first row block of a sequence that is
        searched, the first frame of a query.
    """

    frames: np.ndarray
    starts: np.ndarray
    packed: np.ndarray


class Search(NamedTuple):
    """All that is the same for all queries of a search.

    Parameters
    ----------
    frames : PackedFrames
        The frames of all sequences.
    queries, others : ConcatenatedSequences
        Sequences whose neighbours are wanted, and those that are searched.
    lengths : ndarray of int of shape (n_lengths,)
        Distinct numbers of frames of those that are searched.
    length_numbers : ndarray of int of shape (n_others,)
        Number of the length of each.
    among_themselves : bool
        Whether queries and others are the same, so that none is its own neighbour.
    has_envelopes, squared : bool
        Whether envelopes bound the metric, and by squared distances from them.
    reach : float
        Half width of windows, as `common_reach` returns it.
    weights : ndarray of shape (2,)
        Weight of a diagonal step, and price of another.
    """

    frames: PackedFrames
    queries: ConcatenatedSequences
    others: ConcatenatedSequences
    lengths: np.ndarray
    length_numbers: np.ndarray
    among_themselves: bool
    has_envelopes: bool
    squared: bool
    reach: float
    weights: np.ndarray


class QueryWindows(NamedTuple):
    """Windows of a query and its envelopes, for each length of the other sequence.

    Rows of a window are frames of the other sequence, columns those of the query.

    Parameters
    ----------
    offsets : ndarray of int of shape (n_lengths + 1,)
        First row of each window.
    starts, stops : ndarray of int of shape (n_rows,)
        Columns of each row.
    whole : ndarray of bool of shape (n_lengths,)
        Whether a window holds all columns.
    lower, upper : ndarray of shape (n_rows, d)
        The envelopes.
    """

    offsets: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    whole: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


class BoundBuffers(NamedTuple):
    """Arrays for the lower bounds of a query.

    Parameters
    ----------
    bounds : ndarray of shape (n_others,)
        First lower bound of the cost to each other sequence.
    ends : ndarray of shape (n_others, 2)
        Costs of the pairs of first and of last frames.
    rest : ndarray of shape (longest_other + 1,)
        Lower bound of the costs of all rows from each on.
    clipped : ndarray of shape (longest_other, d)
        A sequence clipped to the envelope of the query.
    lower, upper : ndarray of shape (longest_query, d)
        The envelope of that.
    """

    bounds: np.ndarray
    ends: np.ndarray
    rest: np.ndarray
    clipped: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def dtw_neighbors(
    X: Sequence[ArrayLike],
    Y: Sequence[ArrayLike] | None = None,
    *,
    n_neighbors: int = 1,
    n_jobs: int | None = None,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest sequences by dynamic time warping.

    The result is exact: it is that of sorting `cdist_dtw`. It takes less time, since
    most pairs are excluded by a lower bound of their cost, or by the costs of the first
    rows of the recurrence.

    Parameters
    ----------
    X : sequence of array-like of shape (n_i, d)
        Sequences whose neighbours are wanted (the queries).
    Y : sequence of array-like of shape (m_j, d), default=None
        Sequences that are searched; None searches `X`, where no sequence is its own
        neighbour.
    n_neighbors : int, default=1
        Number of neighbours of each query.
    n_jobs : int, default=None
        Number of threads; -1 is one per core.
    **options : dict
        Metric (not 'precomputed') and constraints: the options of `dtw_path`.

    Returns
    -------
    distances : ndarray of float64 of shape (len(X), n_neighbors)
        Costs of the best alignments, in ascending order.
    indices : ndarray of int64 of shape (len(X), n_neighbors)
        Positions of the neighbours in `Y`; of several with equal costs, up to rounding,
        the first.

    Raises
    ------
    TypeError, ValueError
        Under the conditions of `cdist_dtw`, and if fewer than `n_neighbors` sequences
        are searched.

    See Also
    --------
    cdist_dtw : All costs.
    lb_keogh, lb_improved : The lower bounds.
    DTWKernel : Transformer to the matrix of costs, for other estimators.

    Notes
    -----
    For each query, the sequences of `Y` are sorted by the bound of `lb_keogh`, with the
    exact costs of the first and the last frames, and visited while that bound is below
    the cost of the farthest neighbour so far. For each, the bound of `lb_improved` is
    computed first, unless the first bound is too small for it to matter, and then the
    recurrence, which is abandoned as soon as all cells of a row, plus the bound of the
    rows after it, exceed that cost.

    Trials search few of the sequences for few of the queries, spread over all, which
    takes some 2 % of the time. Where they accumulate more than 93 % of the rows, or
    42.5 % for the symmetric costs of `X` alone, with an allowance for the bounds, all
    costs are computed. That depends on the data only, never on a clock.

    Envelopes bound the metrics 'sqeuclidean' and 'manhattan', within any window
    'sakoe_chiba', the tighter the narrower; without a window they are constant. Other
    metrics are bounded by the costs of both ends, and abandoned likewise. All costs are
    computed for callables, windows, step patterns and open ends that have no compiled
    loop in `cdist_dtw`, and for values whose squares may over- or underflow. The search
    by bounds is in float64, also for float32.

    References
    ----------
    Lemire, D. (2009). Faster retrieval with a two-pass dynamic-time-warping lower
    bound. Pattern Recognition 42(9), 2169-2180.

    Rakthanmanon, T. et al. (2012). Searching and mining trillions of time series
    subsequences under dynamic time warping. KDD 18, 262-270. (early abandoning)

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
    return search_neighbors(X, Y, n_neighbors, n_jobs, **options)[:2]


def search_neighbors(
    X: Sequence[ArrayLike],
    Y: Sequence[ArrayLike] | None,
    n_neighbors: int,
    n_jobs: int | None,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the nearest sequences, and count how pairs were decided.

    Parameters
    ----------
    X, Y, n_neighbors, n_jobs, **options
        Parameters of `dtw_neighbors`.

    Returns
    -------
    distances, indices : ndarray of shape (len(X), n_neighbors)
        The neighbours, as `dtw_neighbors` returns them.
    counts : ndarray of int64 of shape (5,)
        Pairs decided by the costs of both ends, with one envelope, with both, by an
        abandoned recurrence, and by a completed one.
    """
    metric, constraints = split_options(**options)
    check_metric(metric, precomputed=False)
    n_neighbors = check_integer_at_least(n_neighbors, "n_neighbors", 1)
    n_jobs = check_n_jobs(n_jobs)
    own = as_collection(X, "X")
    given = None if Y is None else as_collection(Y, "Y")
    queries = _as_float64(own)
    others = queries if given is None else _as_float64(given)
    n_others = len(others) - (Y is None)
    if n_neighbors > n_others:
        raise ValueError(
            f"n_neighbors={n_neighbors}, but there are {n_others} sequences to find "
            "neighbours in"
        )
    if not queries:
        empty = np.empty((0, n_neighbors))
        return empty, empty.astype(np.int64), np.zeros(N_DECISIONS, np.int64)
    # in correlations, whether a frame is constant depends on its own dtype
    is_single = [x.dtype == np.float32 for x in [*own, *(given or [])]]
    needs_dtypes = metric == "correlation" and any(is_single)
    is_compiled = is_fully_compiled(metric, constraints) and not needs_dtypes
    if not is_compiled or constraints.penalty >= LARGEST_PENALTY:
        return search_all_costs(own, given, n_neighbors, n_jobs, metric, constraints)
    by_half = Y is None and len(queries) ** 2 <= PAIRS_OF_COSTS
    searched = queries, others, str(metric), constraints, n_neighbors
    if not _search_is_short(*searched, alone=Y is None, by_half=by_half):
        if by_half:
            return search_all_costs(
                queries, None, n_neighbors, n_jobs, metric, constraints
            )
        return search_parts_of_costs(*searched, n_jobs, alone=Y is None)
    if not are_moderate(queries if Y is None else [*queries, *others]):
        # costs that overflow are detected there
        return search_all_costs(own, given, n_neighbors, n_jobs, metric, constraints)
    find = _compiled_search(*searched, Y is None)
    n_tasks = QUERY_TASKS_PER_THREAD * effective_n_jobs(n_jobs)
    tasks = np.array_split(np.arange(len(queries)), n_tasks)
    return join_found(
        Parallel(n_jobs=n_jobs, prefer="threads")(map(delayed(find), tasks))
    )


def _search_is_short(
    queries: list[np.ndarray],
    others: list[np.ndarray],
    metric: str,
    constraints: Constraints,
    n_neighbors: int,
    *,
    alone: bool,
    by_half: bool,
) -> bool:
    """Return whether the search takes less time than all costs, by trials.

    They search few sequences for few queries, spread over all. Among fewer sequences
    the nearest is farther, so that more rows are accumulated. Without pairs enough for
    a trial, the search is taken for short; with values that are not moderate, too,
    which are found later.
    """
    limit = LARGEST_SYMMETRIC_SHARE if by_half else LARGEST_SEARCH_SHARE
    n_pairs = len(queries) * len(others) // (2 if by_half else 1)
    most, share = n_pairs // PAIRS_PER_TRIAL_PAIR, 0.0
    for n_queries, n_others in TRIALS:
        n_others = min(n_others * n_neighbors, len(others), most)
        if n_others <= 2 * n_neighbors:
            return True
        some = _spread(len(queries), min(n_queries, most // n_others, len(queries)))
        among = _spread(len(others), n_others)
        if alone:
            among = np.setdiff1d(among, some)
        own, given = [queries[q] for q in some], [others[c] for c in among]
        if not are_moderate([*own, *given]):
            return True
        find = _compiled_search(own, given, metric, constraints, n_neighbors, False)
        accumulated, whole = find(np.arange(len(own))).n_rows
        share = accumulated / whole
        if share > limit * DECISIVE_EXCESS:
            break
    return share <= limit


def _spread(n: int, size: int) -> np.ndarray:
    """Return the positions of some of n, evenly spread."""
    return ((np.arange(size) + 0.5) * n // size).astype(np.int64)


def _as_float64(X: list[np.ndarray]) -> list[np.ndarray]:
    return [x.astype(np.float64, copy=False) for x in X]


def _compiled_search(
    queries: list[np.ndarray],
    others: list[np.ndarray],
    metric: str,
    constraints: Constraints,
    n_neighbors: int,
    among_themselves: bool,
) -> Callable[[np.ndarray], FoundNeighbors]:
    """Return the function that searches for some of the queries in a compiled loop."""
    query_lengths, lengths = (
        np.array(list(map(len, side))) for side in (queries, others)
    )
    reach = common_reach(queries, others, constraints)
    # concatenated, all sequences are prepared at once
    query_frames = np.concatenate(queries).copy("C")
    other_frames = np.concatenate(others).copy("C")
    costs = make_costs(other_frames, query_frames, metric)
    starts, other_starts = frame_offsets(query_lengths), frame_offsets(lengths)
    distinct, length_numbers = np.unique(lengths, return_inverse=True)
    search = Search(
        pack_frames(costs, lengths),
        ConcatenatedSequences(query_frames, starts, starts),
        ConcatenatedSequences(other_frames, other_starts, row_block_offsets(lengths)),
        distinct,
        length_numbers,
        among_themselves,
        metric in BOUNDED_METRICS,
        metric == "sqeuclidean",
        reach,
        step_weights(constraints, np.float64),
    )
    longest = int(query_lengths.max())
    no_checkpoints = make_checkpoints(1, longest, np.float64, wants_path=False)

    def find(some: np.ndarray) -> FoundNeighbors:
        distances = np.full((len(some), n_neighbors), np.inf)
        indices = np.full((len(some), n_neighbors), len(others))
        counts = np.zeros(N_DECISIONS, np.int64)
        found = FoundNeighbors(distances, indices, counts, np.zeros(2))
        work = make_workspace(longest, np.float64)
        _find_neighbors(search, some, work, no_checkpoints, found)
        return found

    return find


@jit
def _find_neighbors(search, some, work, checkpoints, found):
    """Find the neighbours of some queries.

    The rows of the recurrence are frames of the sequences that are searched: the
    envelope of the query, computed once, bounds the cost of each row.
    """
    windows, buffers = _allocate(search)
    frames, others, weights = search.frames, search.others, search.weights
    squared, bounded = search.squared, search.has_envelopes
    bounds, rest = buffers.bounds, buffers.rest
    starts, stops = windows.starts, windows.stops
    counts, n_rows = found.counts, found.n_rows
    priced = min(search.queries.frames.shape[1], PRICED_FEATURES)
    for s in range(len(some)):
        q = some[s]
        x, x0 = _frames_of(search.queries, q), search.queries.packed[q]
        n, nearest, numbers = len(x), found.distances[s], found.indices[s]
        _fill_windows(search, x, windows)
        _bound_by_first_envelope(search, q, windows, buffers, work)
        for c in np.argsort(bounds):
            threshold = nearest[-1] * THRESHOLD_SLACK
            if search.among_themselves and c == q:
                continue
            m = others.starts[c + 1] - others.starts[c]
            n_rows[1] += m
            first, last = buffers.ends[c, 0], buffers.ends[c, 1]
            if bounds[c] > threshold:
                counts[ENDS if first + last > threshold else ENVELOPE] += 1
                continue
            y, y0 = _frames_of(others, c), others.packed[c]
            k = search.length_numbers[c]
            at, to = windows.offsets[k], windows.offsets[k + 1]
            window = Window(starts[at:to], stops[at:to], windows.whole[k])
            lower, upper = windows.lower[at:to], windows.upper[at:to]
            # without enough neighbours yet, no bound excludes a pair
            if bounded and bounds[c] > SECOND_BOUND_SHARE * threshold:
                n_rows[0] += SECOND_BOUND_PRICE * priced * m
                more = _excess_of_second_envelope(
                    x, y, window, lower, upper, buffers, squared
                )
                if bounds[c] + more > threshold:
                    counts[BOTH_ENVELOPES] += 1
                    continue
            bounds_rows = bounded and bounds[c] > ROW_BOUNDS_SHARE * threshold
            _bound_rows(y, lower, upper, first, last, bounds_rows, squared, rest)
            work.row[:] = np.inf
            work.row[0] = corner_total(frames, y0, x0, weights, work)
            totals = accumulate(
                frames, y0, x0, n, window, weights, work, checkpoints, rest, threshold
            )
            n_rows[0] += work.n_rows[0] + bounds_rows * ROW_BOUNDS_PRICE * priced * m
            cost = totals[-1]
            counts[ABANDONED if cost == np.inf else COMPLETED] += 1
            _insert(cost, c, nearest, numbers)


@jit
def _bound_rows(y, lower, upper, first, last, bounded, squared, rest):
    """Bound the costs of all rows from each on, with the exact cost of the last."""
    m = len(y)
    rest[: m + 1] = 0.0
    if bounded:
        excess_of_frames(y, lower, upper, squared, rest)
    rest[m - 1] = last if m > 1 else first
    for i in range(m - 2, -1, -1):
        rest[i] += rest[i + 1]


@jit
def _allocate(search):
    """Return the arrays for the windows, and for the bounds, of any query."""
    lengths, n_others = search.lengths, len(search.length_numbers)
    d, longest = search.queries.frames.shape[1], lengths[-1]
    longest_query = np.max(np.diff(search.queries.starts))
    offsets = np.zeros(len(lengths) + 1, np.int64)
    offsets[1:] = np.cumsum(lengths)
    n_rows = offsets[-1]
    windows = QueryWindows(
        offsets,
        np.empty(n_rows, np.int64),
        np.empty(n_rows, np.int64),
        np.empty(len(lengths), np.bool_),
        np.empty((n_rows, d)),
        np.empty((n_rows, d)),
    )
    buffers = BoundBuffers(
        np.empty(n_others),
        np.empty((n_others, 2)),
        np.empty(longest + 1),
        np.empty((longest, d)),
        np.empty((longest_query, d)),
        np.empty((longest_query, d)),
    )
    return windows, buffers


@jit
def _frames_of(sequences, k):
    """Return the frames of sequence k."""
    return sequences.frames[sequences.starts[k] : sequences.starts[k + 1]]


@jit
def _fill_windows(search, x, windows):
    """Compute the windows and envelopes of a query x for all lengths of the others."""
    n, reach = len(x), search.reach
    for k in range(len(search.lengths)):
        m, at, to = search.lengths[k], windows.offsets[k], windows.offsets[k + 1]
        window = band(m, n, -reach * max(m, n) if reach < 0 else reach)
        windows.starts[at:to], windows.stops[at:to] = window.starts, window.stops
        windows.whole[k] = window.whole
        if search.has_envelopes:
            envelope(x, window, windows.lower[at:to], windows.upper[at:to])


@jit
def _bound_by_first_envelope(search, q, windows, buffers, work):
    """Bound the costs to all others, by both ends and the envelope of the query.

    The first and the last pair of frames are on every path, at their own cost; of the
    frames between, the distance from the envelope counts (`lb_keogh`).
    """
    frames, others = search.frames, search.others
    ends, bounds, panel = buffers.ends, buffers.bounds, work.panel
    x0, n = search.queries.packed[q], len(_frames_of(search.queries, q))
    for c in range(len(bounds)):
        begin, end = others.starts[c], others.starts[c + 1]
        m = end - begin
        y0, last = others.packed[c], m - 1
        fill_panel(frames, y0, m, x0, x0 + 1, panel, 0)
        ends[c, 0], ends[c, 1] = panel[0], 0.0
        if n + m > 2:  # else the first pair of frames is the last
            at = x0 + n - 1
            fill_panel(frames, y0 + last // WIDTH, 1, at, at + 1, panel, 0)
            ends[c, 1] = panel[last % WIDTH]
        bounds[c] = ends[c, 0] + ends[c, 1]
        if search.has_envelopes and m > 2:
            at = windows.offsets[search.length_numbers[c]]
            bounds[c] += excess(
                others.frames[begin + 1 : end - 1].ravel(),
                windows.lower[at + 1 : at + m - 1].ravel(),
                windows.upper[at + 1 : at + m - 1].ravel(),
                search.squared,
            )
    if search.among_themselves:
        bounds[q] = np.inf


@jit
def _excess_of_second_envelope(x, y, window, lower, upper, buffers, squared):
    """Return the increase of the first bound by `lb_improved`, without both ends.

    It is the distance of the query x from the envelope of the other sequence y, clipped
    to the envelope of the query.
    """
    n, m = len(x), len(y)
    if m == 1 or n <= 2:
        return 0.0
    clipped, own_lower, own_upper = buffers.clipped[:m], buffers.lower, buffers.upper
    clip_to_envelope(y.ravel(), lower.ravel(), upper.ravel(), clipped.ravel())
    envelope(clipped, transposed(window, n), own_lower[:n], own_upper[:n])
    return excess(
        x[1 : n - 1].ravel(),
        own_lower[1 : n - 1].ravel(),
        own_upper[1 : n - 1].ravel(),
        squared,
    )


@jit
def _insert(cost, index, costs, indices):
    """Insert a neighbour into those sorted by cost, and then by index."""
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
