"""Dynamic time warping of two sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  # numba's products go through it
from threadpoolctl import ThreadpoolController

from mmfusion._memory import check_fits
from mmfusion._sequences import as_sequence
from mmfusion.alignment.dtw._costs import cost_matrix, make_costs, shape_of
from mmfusion.alignment.dtw._kernels import GIVEN, Costs, Window, mask
from mmfusion.alignment.dtw._parameters import (
    check_choice,
    check_frames_or_share,
    check_integer,
    check_real,
    check_truth,
)
from mmfusion.alignment.dtw._row_blocks import (
    corner,
    make_marks,
    make_room,
    trace,
    walk,
)
from mmfusion.alignment.dtw._row_blocks import frames_of as strips_of
from mmfusion.alignment.dtw._step_patterns import (
    Limits,
    StepPattern,
    as_step_pattern,
    cells_of,
    diagonal_weight,
    trace_limited,
    trace_pattern,
    walk_limited,
    walk_pattern,
)
from mmfusion.alignment.dtw._windows import (
    around,
    frames_of,
    itakura,
    sakoe_chiba,
    whole_window,
)

COARSE_FRAMES = 64  # from which the multiscale window starts
WINDOWS = ("itakura", "multiscale", "sakoe_chiba")
LARGE = 2.0**900  # a cost
BYTES_PER_CELL = 40  # of tables of costs, totals and steps, at most


@dataclass(frozen=True)
class Constraints:
    """Which paths are allowed, and what their steps cost.

    Parameters are those of `dtw_path`.
    """

    step_pattern: str | StepPattern = "symmetric1"
    window: str | None = None
    radius: float = 0.1
    max_slope: float = 2.0
    penalty: float = 0.0
    max_jump: int | None = None
    open_begin: bool = False
    open_end: bool = False

    def __post_init__(self) -> None:
        """Check each option, and what does not go together."""
        checked = {
            "step_pattern": as_step_pattern(self.step_pattern),
            "radius": check_frames_or_share(self.radius, "radius"),
            "max_slope": check_real(self.max_slope, "max_slope", 1),
            "penalty": check_real(self.penalty, "penalty", 0),
            "open_begin": check_truth(self.open_begin, "open_begin"),
            "open_end": check_truth(self.open_end, "open_end"),
        }
        if self.max_jump is not None:
            checked["max_jump"] = check_integer(self.max_jump, "max_jump", 0)
        if self.window is not None:
            check_choice(self.window, "window", WINDOWS)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        straight = self.penalty or self.max_jump is not None
        if straight and diagonal_weight(self.pattern()) is None:
            raise ValueError(
                f"penalty and max_jump go with step_pattern 'symmetric1' and "
                f"'symmetric2'; {self.pattern().name!r} limits its steps by itself"
            )
        if self.window is not None and (self.open_begin or self.open_end):
            raise ValueError(
                "a window lies about the line between both ends; set window=None where "
                "the path has an open begin or end"
            )

    def pattern(self) -> StepPattern:
        """Return the step pattern, by whatever it was given."""
        return as_step_pattern(self.step_pattern)

    def counts_columns(self) -> bool:
        """Return whether a cost is divided by frames of the second sequence."""
        return self.pattern().divisor in ("both", "columns")

    def searches(self) -> bool:
        """Return whether the best begin depends on what costs are divided by."""
        return self.open_begin and self.counts_columns()

    def limits_runs(self, n: int, m: int) -> bool:
        """Return whether `max_jump` forbids any path through n and m frames."""
        return self.max_jump is not None and self.max_jump < max(n, m) - 1

    def weights(self, dtype: Any) -> np.ndarray:
        """Weight of a diagonal step, and price of another, as strips take them."""
        with np.errstate(over="ignore"):  # then only diagonal steps have a price
            return np.array([diagonal_weight(self.pattern()), self.penalty], dtype)


@dataclass(frozen=True)
class DTWPath:
    """A path, and what it costs.

    Parameters
    ----------
    path : ndarray of int64 of shape (length, 2)
        Frames of the first and of the second sequence that are aligned.
    cost : float
        Weighted sum of the local costs along the path.
    normalized_cost : float
        `cost` over what the step pattern is normalised by: the length of the path, or
        the frames of one or both sequences.

    Examples
    --------
    >>> from mmfusion.alignment import dtw_path
    >>> dtw_path([0.0, 2.0], [0.0, 1.0]).normalized_cost
    0.5
    """

    path: np.ndarray
    cost: float
    normalized_cost: float


def dtw_path(
    x: Any,
    y: Any = None,
    *,
    metric: str | Callable[..., Any] = "sqeuclidean",
    step_pattern: str | StepPattern = "symmetric1",
    window: str | None = None,
    radius: float = 0.1,
    max_slope: float = 2.0,
    penalty: float = 0.0,
    max_jump: int | None = None,
    open_begin: bool = False,
    open_end: bool = False,
) -> DTWPath:
    """Align two sequences by dynamic time warping.

    Finds the path of least cost through the matrix of local costs,
    ``D_ij = c_ij + min(D_i-1,j, D_i,j-1, D_i-1,j-1)`` for 'symmetric1'. It is exact,
    in a memory that is small beside that matrix (except for windows and step patterns
    that say otherwise).

    Parameters
    ----------
    x : array-like of shape (n, d) or (n,)
        First sequence; or the matrix of costs of shape (n, m), for 'precomputed'.
    y : array-like of shape (m, d) or (m,), default=None
        Second sequence; None for 'precomputed'.
    metric : {'sqeuclidean', 'euclidean', 'cosine', 'manhattan', 'correlation', \
            'precomputed'} or callable, default='sqeuclidean'
        Local cost of two frames. A callable takes two arrays of frames, of shapes
        (n, d) and (m, d), and gives the matrix of costs.
    step_pattern : str or StepPattern, default='symmetric1'
        Steps and their weights: 'symmetric1', 'symmetric2' (a diagonal step counts
        twice), 'asymmetric', 'rigid', 'mori2006', Sakoe and Chiba's 'symmetricP05',
        'symmetricP1', 'asymmetricP2', ..., or a type of Rabiner and Juang, such as
        'typeIIc' or 'typeVds': I to IV as Myers counted them, V to VII as
        `rabiner_juang` does; a weighting from 'a' to 'd'; 's' for smoothed.
    window : {'sakoe_chiba', 'itakura', 'multiscale'} or None, default=None
        Which frames may be aligned: those near the straight line, those in a
        parallelogram, or those near the path of shortened sequences (fast for long
        sequences; no longer sure to be the best path).
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' and 'multiscale' in frames; a float is a share of
        the longer sequence, at most 1.
    max_slope : float, default=2.0
        Steepest slope of 'itakura', relative to the straight line, which is inside for
        any; at least 1.
    penalty : float, default=0.0
        Price of every step that is not diagonal.
    max_jump : int or None, default=None
        Longest run of steps in one direction that is not diagonal; 0 leaves only
        diagonal steps.
    open_begin, open_end : bool, default=False
        Whether `x` may match a part of `y` that begins later, or ends earlier. With
        both, `x` is looked for in `y` (subsequence alignment). See the notes on which
        part is found.

    Returns
    -------
    DTWPath
        With ``path``, ``cost`` and ``normalized_cost``.

    Raises
    ------
    TypeError
        If an option has another type. NumPy's scalars are taken as Python's.
    ValueError
        If a sequence is empty or has NaN, the sequences have different features, an
        option is out of its range, the constraints leave no path, or the cost or the
        memory that is needed is too large.

    See Also
    --------
    dtw_distance : The cost alone.
    cdist_dtw : The costs of many pairs.

    Notes
    -----
    Time is proportional to ``n m d``. Of several best paths, the one that has diagonal
    steps as late as possible is found.

    *What is minimised with open ends.* For each part of `y`, from a column where the
    path may begin to one where it may end, there is a path of least cost. Of these, the
    path returned has the least *normalised* cost, if the step pattern is normalised by
    frames: 'symmetric2' and all others of weighting 'd' by those of both sequences that
    the path covers, 'asymmetric' and others of weighting 'c' by those of `x`,
    'mori2006' by those of `y`. So parts of different lengths are comparable. Patterns
    that are normalised by the cells of the path ('symmetric1', weightings 'a' and 'b')
    have the path of least *cost*, as between closed ends: divided by its own length, a
    path would gain by waiting where costs are low. An open end never raises what is
    minimised.

    Where the divisor depends on the begin, that is a fractional program, solved exactly
    by Dinkelbach's iteration: paths of least ``cost - r * frames`` are found for the
    normalised cost r of the last one, until r stays; a few times the work of one path.
    These, step patterns other than 'symmetric1' and 'symmetric2', and a `max_jump` that
    forbids any path take some 20 to 40 bytes for each pair of frames.

    References
    ----------
    Sakoe, H. and Chiba, S. (1978). Dynamic programming algorithm optimization for
    spoken word recognition. IEEE Transactions on ASSP 26(1), 43-49.

    Dinkelbach, W. (1967). On nonlinear fractional programming. Management Science
    13(7), 492-498.

    Examples
    --------
    >>> from mmfusion.alignment import dtw_path
    >>> found = dtw_path([0.0, 1.0, 2.0], [0.0, 1.0, 1.0, 2.0])
    >>> found.path.tolist()
    [[0, 0], [1, 1], [1, 2], [2, 3]]
    >>> found.cost
    0.0
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
    )
    return solve(x, y, metric, constraints, wants_path=True)


def dtw_distance(
    x: Any, y: Any = None, *, normalize: bool = False, **options: Any
) -> float:
    """Tell the cost of the best alignment of two sequences.

    Parameters
    ----------
    x : array-like of shape (n, d) or (n,)
        First sequence.
    y : array-like of shape (m, d) or (m,), default=None
        Second sequence; None for costs that are 'precomputed'.
    normalize : bool, default=False
        Whether the cost is normalised, as ``normalized_cost`` is.
    **options : dict
        Metric and constraints, as `dtw_path` takes them.

    Returns
    -------
    float
        The sum of local costs; some packages give its square root.

    Raises
    ------
    TypeError, ValueError
        As `dtw_path` does.

    See Also
    --------
    dtw_path : The alignment itself.

    Examples
    --------
    >>> from mmfusion.alignment import dtw_distance
    >>> dtw_distance([0.0, 1.0, 2.0], [0.0, 2.0, 2.0])
    1.0
    """
    normalize = check_truth(normalize, "normalize")
    found = solve(x, y, *split_options(**options), wants_path=normalize)
    return found.normalized_cost if normalize else found.cost


def split_options(
    metric: str | Callable[..., Any] = "sqeuclidean", **constraints: Any
) -> tuple[str | Callable[..., Any], Constraints]:
    """Take options of `dtw_path` apart.

    Parameters
    ----------
    metric : str or callable, default='sqeuclidean'
        The local cost.
    **constraints : dict
        The other options.

    Returns
    -------
    metric : str or callable
        The same.
    constraints : Constraints
        Those of the path.

    Raises
    ------
    TypeError
        If there is no such option, or the metric is neither a name nor callable.
    """
    if not isinstance(metric, str) and not callable(metric):
        raise TypeError(
            f"metric is a {type(metric).__name__}; give the name of one, or a callable"
        )
    known = [field.name for field in fields(Constraints)]
    unknown = [name for name in constraints if name not in known]
    if unknown:
        raise TypeError(
            f"there is no option {unknown[0]!r}; there are {['metric', *known]}"
        )
    return metric, Constraints(**constraints)


def solve(
    x: Any, y: Any, metric: Any, constraints: Constraints, *, wants_path: bool
) -> DTWPath:
    """Find the best path under constraints.

    Parameters
    ----------
    x, y, metric
        As in `dtw_path`.
    constraints : Constraints
        Which paths are allowed.
    wants_path : bool
        Whether more is needed than the cost.

    Returns
    -------
    DTWPath
        Without the path, its normalised cost is NaN.
    """
    pattern = constraints.pattern()
    costs = make_costs(x, y, metric)
    n, m = shape_of(costs)
    if constraints.window == "multiscale":
        window = _multiscale(x, y, metric, constraints)
    else:
        window = _window(constraints, n, m)
    path, cost = _best_path(costs, window, constraints, wants_path)
    if not np.isfinite(cost) and costs.x.dtype == np.float32:  # too small a type
        costs = _in_float64(costs, x, y, metric)
        path, cost = _best_path(costs, window, constraints, wants_path)
    if not np.isfinite(cost):
        _refuse_infinite_cost(costs, window, constraints, metric)
    if path is None:
        return DTWPath(np.empty((0, 2), np.int64), cost, np.nan)
    return DTWPath(path, cost, cost / _size(path, pattern))


def _best_path(
    costs: Costs, window: Window, constraints: Constraints, wants_path: bool
) -> tuple[np.ndarray | None, float]:
    if _goes_in_strips(constraints, *shape_of(costs)):
        return _in_strips(costs, window, constraints, wants_path)
    return _in_table(costs, window, constraints)


def _goes_in_strips(constraints: Constraints, n: int, m: int) -> bool:
    weight = diagonal_weight(constraints.pattern())
    # before a first row that is open, diagonal steps of weight 2 have no place to begin
    opens = constraints.open_begin and (weight == 2 or constraints.searches())
    return weight is not None and not opens and not constraints.limits_runs(n, m)


def _size(path: np.ndarray, pattern: StepPattern) -> int:
    n_rows, n_columns = (path[-1] - path[0] + 1).tolist()
    return pattern.size(n_rows, n_columns, len(path))


def _in_float64(costs: Costs, x: Any, y: Any, metric: Any) -> Costs:
    if costs.kind == GIVEN:
        return costs._replace(x=costs.x.astype(np.float64))
    return make_costs(x, y, metric, np.float64)


def _refuse_infinite_cost(
    costs: Costs, window: Window, constraints: Constraints, metric: Any
) -> None:
    """Raise the error for costs that overflow, or for constraints without a path.

    It is an overflow if there is a path once all costs are 0, but for those that are
    given as infinite, or by a callable, which forbids a path.
    """
    forbids = callable(metric) or metric == "precomputed"
    n, m = shape_of(costs)
    joined = not forbids and _goes_in_strips(constraints, n, m)
    if not joined:
        closed = np.isinf(costs.x) if forbids else np.zeros((n, m), bool)
        table = np.where(closed, np.inf, 0.0)
        free = Costs(GIVEN, False, table, table[:0])
        joined = np.isfinite(_best_path(free, window, constraints, False)[1])
    if joined:
        raise ValueError(
            f"metric={metric!r}: the cost of the path through {n} and {m} frames "
            f"overflows: it is larger than {np.finfo(float).max:.2g}; rescale the "
            "sequences (divide all by one number), or the costs that you give"
        )
    raise ValueError(
        f"no path of step_pattern {constraints.pattern().name!r} joins {n} and {m} "
        "frames under these constraints; loosen window, max_jump or step_pattern"
    )


def _window(constraints: Constraints, n: int, m: int) -> Window:
    if constraints.window == "sakoe_chiba":
        return sakoe_chiba(n, m, constraints.radius)
    if constraints.window == "itakura":
        return itakura(n, m, constraints.max_slope)
    return whole_window(n, m)


def _multiscale(x: Any, y: Any, metric: Any, constraints: Constraints) -> Window:
    """About the path of sequences of half the frames, found in the same way."""
    if metric == "precomputed":
        raise ValueError(
            "window='multiscale' shortens the sequences; it needs them, not "
            "metric='precomputed'"
        )
    x, y = (
        as_sequence(z, name).astype(np.float64, copy=False)
        for z, name in ((x, "x"), (y, "y"))
    )
    n, m = len(x), len(y)
    if min(n, m) <= COARSE_FRAMES:
        return whole_window(n, m)
    halves = [np.add.reduceat(z / 2, range(0, len(z), 2)) for z in (x, y)]
    for half, whole in zip(halves, (x, y), strict=True):
        half[len(whole) // 2 :] *= 2  # a last frame that has no other
    coarse = solve(halves[0], halves[1], metric, constraints, wants_path=True)
    reach = frames_of(constraints.radius, n, m)
    return around(coarse.path, n, m, 2, max(1, int(reach)))


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread() -> Any:
    """Keep the many small products of the kernels in their thread.

    Returns
    -------
    context manager
        In which BLAS has one thread.
    """
    return _controller().limit(limits=1, user_api="blas")


def _in_strips(
    costs: Costs, window: Window, constraints: Constraints, wants_path: bool
) -> tuple[np.ndarray | None, float]:
    n, m = shape_of(costs)
    frames, dtype = strips_of(costs), costs.x.dtype
    weights = constraints.weights(dtype)
    room = make_room(m, dtype)
    marks = make_marks(n, m, dtype, wants_path=wants_path)
    if constraints.open_begin:
        room.row[: m + 1] = 0
    else:
        room.row[0] = corner(frames, 0, 0, weights, room)
    nothing = np.empty(0)
    last = walk(frames, 0, 0, m, window, weights, room, marks, nothing, np.inf)
    end = _end(last, constraints, n)
    cost = float(last[end])
    if not wants_path or not np.isfinite(cost):
        return None, cost
    return trace(frames, 0, 0, window, weights, room, marks, end), cost


def _end(
    last: np.ndarray, constraints: Constraints, n: int, ratio: float | None = None
) -> int:
    """Column where the best path ends.

    By the normalised cost of paths that begin in column 0; or, given a ratio, by the
    cost less that of as many frames as are covered.
    """
    if not constraints.open_end:
        return len(last) - 1
    if not constraints.counts_columns():
        return int(np.argmin(last))
    frames = 1 + np.arange(len(last)) + n * (constraints.pattern().divisor == "both")
    return int(np.argmin(last / frames if ratio is None else last - ratio * frames))


def _in_table(
    costs: Costs, window: Window, constraints: Constraints
) -> tuple[np.ndarray | None, float]:
    """Find the path by a table of all costs; with an open begin by Dinkelbach's way."""
    n, m = shape_of(costs)
    check_fits(
        n * m * BYTES_PER_CELL,
        f"the table of {n} x {m} costs",
        "shorten the sequences, or take step_pattern 'symmetric1' between closed ends "
        "without max_jump, which needs no table",
    )
    table = _table(costs, window)
    find = _limited if constraints.limits_runs(n, m) else _by_pattern
    begins = np.full(m, np.inf)
    begins[: m if constraints.open_begin else 1] = 0
    path, cost = find(table, constraints, begins, None)
    if constraints.searches() and LARGE < cost < np.inf:  # multiples of it overflow
        small = replace(constraints, penalty=constraints.penalty / LARGE)
        path, cost = _in_table(Costs(GIVEN, False, table / LARGE, table), window, small)
        return path, cost * LARGE
    while constraints.searches() and path is not None and cost > 0:
        ratio = cost / _size(path, constraints.pattern())
        found, its_cost = find(table, constraints, ratio * np.arange(m), ratio)
        if found is None or its_cost / _size(found, constraints.pattern()) >= ratio:
            break
        path, cost = found, its_cost
    return path, cost


def _table(costs: Costs, window: Window) -> np.ndarray:
    with one_blas_thread():
        table = cost_matrix(costs).astype(np.float64, copy=False)
    if not window.whole:
        mask(table, window, 0, 0)
    return table


def _by_pattern(
    table: np.ndarray,
    constraints: Constraints,
    begins: np.ndarray,
    ratio: float | None,
) -> tuple[np.ndarray | None, float]:
    cells = cells_of(constraints.pattern(), constraints.penalty)
    totals, choice = walk_pattern(table, cells, begins)
    end = _end(totals, constraints, len(table), ratio)
    if not np.isfinite(totals[end]):
        return None, np.inf
    return trace_pattern(table, choice, cells, end)


def _limited(
    table: np.ndarray,
    constraints: Constraints,
    begins: np.ndarray,
    ratio: float | None,
) -> tuple[np.ndarray | None, float]:
    longest, diagonal = constraints.max_jump, diagonal_weight(constraints.pattern())
    limits = Limits(longest or 0, float(diagonal or 1), constraints.penalty)
    totals, marks = walk_limited(table, limits, begins)
    end = _end(totals, constraints, len(table), ratio)
    if not np.isfinite(totals[end]):
        return None, np.inf
    return trace_limited(table, marks, limits, end)
