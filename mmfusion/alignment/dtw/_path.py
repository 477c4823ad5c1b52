"""Dynamic time warping of two sequences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._sequences import as_sequence
from mmfusion._typing import MetricLike
from mmfusion.alignment.dtw._constraints import (
    Constraints,
    EndLimits,
    split_options,
)
from mmfusion.alignment.dtw._costs import GIVEN, SQUARED, Costs, make_costs
from mmfusion.alignment.dtw._limited_length import path_by_length
from mmfusion.alignment.dtw._limited_runs import path_of_limited_runs
from mmfusion.alignment.dtw._move_rows import path_by_rows
from mmfusion.alignment.dtw._open_ends import path_by_open_ends
from mmfusion.alignment.dtw._open_ratio import PathAndCost
from mmfusion.alignment.dtw._parameters import check_bool
from mmfusion.alignment.dtw._row_blocks import path_by_row_blocks
from mmfusion.alignment.dtw._step_patterns import StepPattern, path_divisor
from mmfusion.alignment.dtw._windows import (
    Window,
    around_path,
    band,
    make_window,
    radius_in_frames,
    whole_window,
)

FRAMES_PER_MEAN = 8  # of the sequences in which 'multiscale' finds a first path
LEAST_MULTISCALE_FRAMES = 2048  # the exact path of fewer takes as little time

# path_by_row_blocks, path_by_length, path_by_open_ends, path_by_rows or
# path_of_limited_runs
PathSearch = Callable[..., PathAndCost]


class NoPathError(ValueError):
    """Constraints, or costs of inf, that leave no path."""


@dataclass(frozen=True)
class DTWPath:
    """A warping path and its cost, also as a pair: ``path, cost = dtw_path(x, y)``.

    Parameters
    ----------
    path : ndarray of int64 of shape (length, 2)
        Aligned frames of the first and of the second sequence.
    cost : float
        Weighted sum of the local costs along the path.
    normalized_cost : float
        `cost` divided as the step pattern requires: by the length of the path, or by
        the frames of one or both sequences.

    Examples
    --------
    >>> from mmfusion.alignment import dtw_path
    >>> found = dtw_path([0.0, 2.0], [0.0, 1.0])
    >>> found.normalized_cost
    0.5
    >>> path, cost = found
    >>> path.tolist(), cost
    ([[0, 0], [1, 1]], 1.0)
    """

    path: np.ndarray
    cost: float
    normalized_cost: float

    # the pair that other packages return

    def __len__(self) -> int:
        """Return 2, the length of the pair."""
        return 2

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the path and its cost."""
        return iter((self.path, self.cost))

    def __getitem__(self, position: int) -> Any:
        """Return the path (0) or its cost (1)."""
        return (self.path, self.cost)[position]


def dtw_path(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    metric: MetricLike = "sqeuclidean",
    step_pattern: str | StepPattern = "symmetric1",
    window: str | None = None,
    radius: float = 0.1,
    max_slope: float = 2.0,
    penalty: float = 0.0,
    max_jump: int | None = None,
    open_begin: EndLimits = False,
    open_end: EndLimits = False,
    max_length: int | float | None = None,
) -> DTWPath:
    """Align two sequences by dynamic time warping.

    Find the path of least cost through the matrix of local costs c: with the recurrence
    ``D_ij = c_ij + min(D_i-1,j, D_i,j-1, D_i-1,j-1)`` for 'symmetric1', its cost is the
    last entry of D. The path is exact, and takes much less memory than that matrix,
    unless noted otherwise for a window or a step pattern.

    Parameters
    ----------
    x : array-like of shape (n, d) or (n,)
        First sequence; for 'precomputed' the matrix of costs, of shape (n, m).
    y : array-like of shape (m, d) or (m,), default=None
        Second sequence; None for 'precomputed'.
    metric : {'sqeuclidean', 'euclidean', 'cosine', 'manhattan', 'correlation', \
            'precomputed'} or callable, default='sqeuclidean'
        Local cost of two frames. A callable takes two arrays of frames, of shapes
        (n, d) and (m, d), and returns the matrix of costs.
    step_pattern : str or StepPattern, default='symmetric1'
        Steps and their weights: 'symmetric1', 'symmetric2' (a diagonal step counts
        twice), 'asymmetric', 'rigid', 'mori2006', Sakoe and Chiba's 'symmetricP05',
        'symmetricP1', 'asymmetricP2', ..., or a type of Rabiner and Juang, such as
        'typeIIc' or 'typeVds': numbers I to IV as in Myers, V to VII as in
        `rabiner_juang`; a weighting from 'a' to 'd'; 's' for smoothed.
    window : {'sakoe_chiba', 'itakura', 'multiscale'} or None, default=None
        Frames that may be aligned: those near the straight line, those in a
        parallelogram, or those near the path of shortened sequences (for sequences of
        several thousand frames; the best path may lie outside: see the notes).
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' and 'multiscale' in frames; a float is a share of
        the longer sequence, at most 1.
    max_slope : float, default=2.0
        Largest slope of 'itakura', relative to the straight line, which is inside for
        any value; at least 1.
    penalty : float, default=0.0
        Price of every step that is not diagonal.
    max_jump : int or None, default=None
        Longest run of steps in one direction that is not diagonal; 0 leaves only
        diagonal steps.
    open_begin, open_end : bool, int, float or pair of these, default=False
        Frames of `y` that the path may leave out before its begin, or after its end:
        True for any number, an int for at most so many, a float for at most this share
        of the sequence. A pair has the frames of `x` and those of `y`; at each end the
        path leaves out frames of one of them. With True for both options, `x` is
        searched for in `y` (subsequence alignment); small numbers for both sequences
        are also known as psi-relaxation. The notes define which part is found.
    max_length : int, float or None, default=None
        Most cells of the path; a float is a multiple of the frames of the longer
        sequence, which the shortest path has. In contrast to a window, it bounds how
        much is warped, not where. With 'symmetric1' or 'symmetric2' between closed
        ends.

    Returns
    -------
    DTWPath
        With ``path``, ``cost`` and ``normalized_cost``; it unpacks as
        ``path, cost``.

    Raises
    ------
    TypeError
        If an option has another type. NumPy's scalars are accepted as Python's.
    ValueError
        If a sequence is empty or has NaN, the sequences have different features, an
        option is out of its range, open ends would allow a path of a single pair of
        frames, the constraints leave no path, or the cost or the memory that is needed
        is too large.

    See Also
    --------
    dtw_distance : The cost alone.
    dtw_subsequences : The best matches of a sequence in a longer one.
    cdist_dtw : The costs of many pairs.

    Notes
    -----
    Time is proportional to ``n m d``. Of several best paths, the one with diagonal
    steps as late as possible is returned.

    *The window 'multiscale'.* The best path of the means of 8 frames each is found
    first, within a window of its own if they are many; then that of the frames within
    `radius` frames of it, in the direction of the longer sequence. A cost is too high
    where the best path lies outside; benchmarks/dtw_speed.py measures time and error.
    Sequences of fewer than 2,048 frames, and those for which no path is left, have the
    exact path.

    *The objective with open ends.* Between any cell of the first row or column where
    the path may begin and any of the last row or column where it may end, there is a
    path of least cost. Of these, the path with the least *normalised* cost is returned,
    if the step pattern is normalised by frames: 'symmetric2' and all others of
    weighting 'd' by those of both sequences that the path covers, 'asymmetric' and
    others of weighting 'c' by those of `x`, 'mori2006' by those of `y`. So parts of
    different lengths are comparable. For patterns that are normalised by the cells of
    the path ('symmetric1', weightings 'a' and 'b'), the path of least *cost* is
    returned, as between closed ends: the cost divided by its own length would favour
    paths that linger where costs are low. An open end never increases the objective.

    Frames that are left out cost nothing, so that ends that are open in both sequences
    shorten the path: limits of a few frames, or a tenth of each sequence, leave most of
    both aligned. Limits under which all but one pair of frames could be left out are
    refused. Open ends of `x` require 'symmetric1' or 'symmetric2'.

    *Windows with open ends.* 'sakoe_chiba' stays where it is between closed ends, about
    the line from the first frames to the last: a path begins and ends within it.
    'itakura' is bounded by slopes from any possible begin and end.

    Where the divisor depends on the begin or on `x`, the problem is a fractional
    programme, which Dinkelbach's iteration solves exactly: it finds paths of least
    ``cost - r * frames`` for the normalised cost r of the last path, until r no longer
    decreases; a few times the work of one path. A `max_jump` that forbids any path
    takes the memory of as many rows of `y`, of up to 28 bytes per frame, whatever the
    number of rows; and for the path itself 3 bytes for each pair of frames, or 5 if it
    is more than 255. Step patterns other than 'symmetric1' and 'symmetric2' take 3 to
    10 times the time of these, in twice the memory.

    *A limit on the length.* If the best path is too long, the least costs of paths of
    each length are found, which takes time proportional to the product of `n`, the
    cells that a path may spare, and the lengths from the least to the limit. It is
    exact.

    References
    ----------
    Sakoe, H. and Chiba, S. (1978). Dynamic programming algorithm optimization for
    spoken word recognition. IEEE Transactions on ASSP 26(1), 43-49.

    Dinkelbach, W. (1967). On nonlinear fractional programming. Management Science
    13(7), 492-498.

    Silva, D., Batista, G. and Keogh, E. (2016). Prefix and suffix invariant dynamic
    time warping. IEEE ICDM 16, 1209-1214. (open ends of both sequences)

    Zhang, Z., Tavenard, R., Bailly, A., Tang, X., Tang, P. and Corpetti, T. (2017).
    Dynamic time warping under limited warping path length. Information Sciences 393,
    91-107.

    Examples
    --------
    >>> from mmfusion.alignment import dtw_path
    >>> found = dtw_path([0.0, 1.0, 2.0], [0.0, 1.0, 1.0, 2.0])
    >>> found.path.tolist()
    [[0, 0], [1, 1], [1, 2], [2, 3]]
    >>> found.cost
    0.0
    >>> dtw_path([9.0, 1.0, 2.0], [1.0, 2.0, 7.0], open_begin=(1, 0), open_end=1).path
    array([[1, 0],
           [2, 1]])
    """
    constraints = Constraints(
        step_pattern,
        window,
        radius,
        max_slope,
        penalty,
        max_jump,
        open_begin,
        open_end,
        max_length,
    )
    return find_path(x, y, metric, constraints, wants_path=True)


def dtw_distance(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    normalize: bool = False,
    **options: Any,
) -> float:
    """Compute the cost of the best alignment of two sequences.

    Parameters
    ----------
    x : array-like of shape (n, d) or (n,)
        First sequence; for 'precomputed' the matrix of costs, of shape (n, m).
    y : array-like of shape (m, d) or (m,), default=None
        Second sequence; None for 'precomputed'.
    normalize : bool, default=False
        Whether the normalised cost is returned (see `DTWPath`).
    **options : dict
        Metric and constraints: the options of `dtw_path`.

    Returns
    -------
    float
        The weighted sum of local costs; some packages return its square root.

    Raises
    ------
    TypeError, ValueError
        Under the conditions of `dtw_path`.

    See Also
    --------
    dtw_path : The alignment itself.

    Examples
    --------
    >>> from mmfusion.alignment import dtw_distance
    >>> dtw_distance([0.0, 1.0, 2.0], [0.0, 2.0, 2.0])
    1.0
    """
    normalize = check_bool(normalize, "normalize")
    found = find_path(x, y, *split_options(**options), wants_path=normalize)
    return found.normalized_cost if normalize else found.cost


def find_path(
    x: ArrayLike,
    y: ArrayLike | None,
    metric: MetricLike,
    constraints: Constraints,
    *,
    wants_path: bool,
) -> DTWPath:
    """Find the best path under constraints.

    Parameters
    ----------
    x, y, metric
        The sequences and their local cost, as in `dtw_path`.
    constraints : Constraints
        The constraints of the path.
    wants_path : bool
        Whether the path is needed besides its cost.

    Returns
    -------
    DTWPath
        The path; without one, the path is empty and its normalised cost NaN.
    """
    costs = make_costs(x, y, metric)
    search = _search_under(constraints, costs.n, costs.m)
    window = _make_window(x, y, metric, constraints, costs)
    path, cost = search(costs, window, constraints, wants_path=wants_path)
    if not np.isfinite(cost) and costs.x.dtype == np.float32:  # it may overflow
        costs = _in_float64(costs, x, y, metric)
        path, cost = search(costs, window, constraints, wants_path=wants_path)
    if not np.isfinite(cost) and constraints.window == "multiscale":
        window = whole_window(costs.n, costs.m)  # no path is left near the coarse one
        path, cost = search(costs, window, constraints, wants_path=wants_path)
    if not np.isfinite(cost):
        _raise_infinite_cost(costs, window, constraints, metric)
    if path is None:
        return DTWPath(np.empty((0, 2), np.int64), cost, np.nan)
    return DTWPath(path, cost, cost / path_divisor(constraints.pattern, path))


def _search_under(constraints: Constraints, n: int, m: int) -> PathSearch:
    """Return the function that finds paths of n and m frames under constraints."""
    if constraints.limits_runs(n, m):
        return path_of_limited_runs
    if constraints.diagonal_weight is None:
        return path_by_rows
    if constraints.limits_length(n, m):
        return path_by_length
    if constraints.needs_search_of_ends():
        return path_by_open_ends
    return path_by_row_blocks


def _make_window(
    x: ArrayLike,
    y: ArrayLike | None,
    metric: MetricLike,
    constraints: Constraints,
    costs: Costs,
) -> Window:
    """Return the cells that a path may visit."""
    n, m = costs.n, costs.m
    if constraints.window == "multiscale":
        return _multiscale_window(x, y, metric, constraints)
    is_special = constraints.diagonal_weight is None or constraints.limits_runs(n, m)
    if constraints.window == "sakoe_chiba" and is_special:
        # the search decides: moves may leap over cells outside, and runs of limited
        # length may need a larger radius than others
        return band(n, m, radius_in_frames(constraints.radius, n, m))
    return make_window(
        n,
        m,
        constraints.window,
        constraints.radius,
        constraints.max_slope,
        constraints.frames_left_out(n, m),
    )


def _in_float64(
    costs: Costs, x: ArrayLike, y: ArrayLike | None, metric: MetricLike
) -> Costs:
    if costs.kind == GIVEN:  # a callable is not called again
        return costs._replace(x=costs.x.astype(np.float64))
    return make_costs(x, y, metric, np.float64)


def _raise_infinite_cost(
    costs: Costs, window: Window, constraints: Constraints, metric: MetricLike
) -> None:
    """Raise the error for costs that overflow, or for constraints without a path.

    A path that exists once all costs are 0 overflows, except through costs of inf that
    are given, or that a callable returns, which forbid a path.
    """
    n, m = costs.n, costs.m
    is_given = callable(metric) or metric == "precomputed"
    free = Costs(SQUARED, False, n, m, np.zeros((n, 1)), np.zeros((1, m)))
    allowed, n_forbidden = free, 0
    if is_given:
        table = np.where(np.isinf(costs.x), np.inf, 0.0)
        allowed = Costs(GIVEN, False, n, m, table, table[:0])
        n_forbidden = int(np.isinf(table).sum())

    def has_path(
        constraints: Constraints, window: Window, forbids: bool = True
    ) -> bool:
        search, own = _search_under(constraints, n, m), allowed if forbids else free
        return bool(np.isfinite(search(own, window, constraints, wants_path=False)[1]))

    if has_path(constraints, window):
        raise ValueError(
            f"metric={metric!r}: the cost of the path through {n} and {m} frames "
            f"overflows: it is larger than {np.finfo(float).max:.2g}; rescale the "
            "sequences (divide all by one number), or the costs that you give"
        )
    remedies = _loosened(has_path, constraints, window, n, m)
    forbidden = f"{n_forbidden} of {n * m} pairs of frames cost inf"
    finite = f"give finite costs to more of them ({forbidden})"
    if n_forbidden and has_path(constraints, window, False):
        remedies.append(finite)
    if not remedies:  # none by itself
        remedies = [f"loosen {' and '.join(constraints.limiting)} together"]
        if n_forbidden:
            remedies[0] += f", and {finite}"
    raise NoPathError(
        f"no path of step_pattern {constraints.pattern.name!r} joins {n} and {m} "
        f"frames under these constraints; {'; or '.join(remedies)}"
    )


def _loosened(
    has_path: Callable[[Constraints, Window], bool],
    constraints: Constraints,
    window: Window,
    n: int,
    m: int,
) -> list[str]:
    """Return the remedies by one constraint each that leave a path."""
    remedies, whole = [], whole_window(n, m)
    if constraints.window is not None and has_path(constraints, whole):
        remedies.append("raise max_slope, or leave window out")
        if constraints.window == "sakoe_chiba":
            radius = _least_radius_of(lambda w: has_path(constraints, w), n, m)
            remedies[0] = f"the smallest radius is {radius}"
    without = {
        "loosen max_jump": replace(constraints, max_jump=None),
        "loosen max_length": replace(constraints, max_length=None),
        "give step_pattern='symmetric1'": replace(
            constraints, step_pattern="symmetric1"
        ),
    }
    for remedy, loose in without.items():
        if loose.limiting != constraints.limiting and has_path(loose, window):
            remedies.append(remedy)
    return remedies


def _least_radius_of(has_path: Callable[[Window], bool], n: int, m: int) -> int:
    """Return the smallest radius of a band with a path, by doubling and bisection."""
    low, high = -1, 1  # narrow bands, which take little time, come first
    while not has_path(band(n, m, float(high))):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if has_path(band(n, m, float(middle))):
            high = middle
        else:
            low = middle
    return high


def _multiscale_window(
    x: ArrayLike, y: ArrayLike | None, metric: MetricLike, constraints: Constraints
) -> Window:
    """Return the window around the best path of sequences of means of frames.

    Those of long sequences are shortened likewise. Without a path through the means,
    whose steps are other than those of the frames, the window is whole.
    """
    if metric == "precomputed":
        raise ValueError(
            "window='multiscale' shortens the sequences, which metric='precomputed' "
            "does not have; give another window, or none"
        )
    x, y = (
        as_sequence(frames, name).astype(np.float64, copy=False)
        for frames, name in ((x, "x"), (cast(ArrayLike, y), "y"))
    )
    n, m = len(x), len(y)
    if min(n, m) < LEAST_MULTISCALE_FRAMES:
        return whole_window(n, m)
    means = _means_of_frames(x), _means_of_frames(y)
    # numbers of frames that may be left out are smaller, too
    open_begin, open_end = (
        tuple(-(-e // FRAMES_PER_MEAN) if type(e) is int else e for e in ends)
        for ends in (constraints.begins, constraints.ends)
    )
    coarse = replace(constraints, open_begin=open_begin, open_end=open_end)
    costs = make_costs(*means, metric)
    search = _search_under(coarse, costs.n, costs.m)
    window = _make_window(*means, metric, coarse, costs)
    path, _ = search(costs, window, coarse, wants_path=True)
    if path is None:
        return whole_window(n, m)
    reach = radius_in_frames(constraints.radius, n, m)
    return around_path(path, n, m, FRAMES_PER_MEAN, int(reach))


def _means_of_frames(frames: np.ndarray) -> np.ndarray:
    """Return the means of as many consecutive frames each; of fewer at the end."""
    starts = np.arange(0, len(frames), FRAMES_PER_MEAN)
    sizes = np.diff(starts, append=len(frames))
    # divided before they are added, so that large values do not overflow
    shares = frames / np.repeat(sizes, sizes)[:, None]
    return np.add.reduceat(shares, starts)
