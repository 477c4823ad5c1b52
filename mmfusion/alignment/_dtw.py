"""Dynamic time warping of two sequences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  # numba's products go through it
from threadpoolctl import ThreadpoolController

from mmfusion.alignment._costs import cost_matrix, make_costs, shape_of
from mmfusion.alignment._dtw_kernels import Costs, Window, mask
from mmfusion.alignment._raw_sequences import as_sequence
from mmfusion.alignment._steps import (
    StepPattern,
    as_step_pattern,
    trace_limited,
    trace_pattern,
    walk_limited,
    walk_pattern,
)
from mmfusion.alignment._strips import (
    corner,
    make_marks,
    make_room,
    trace,
    walk,
)
from mmfusion.alignment._strips import frames_of as strips_of
from mmfusion.alignment._windows import (
    around,
    frames_of,
    itakura,
    sakoe_chiba,
    whole_window,
)

COARSE_FRAMES = 64  # from which the multiscale window starts
CLASSIC = ("symmetric1", "symmetric2")  # step patterns that strips take
WINDOWS = ("itakura", "multiscale", "sakoe_chiba")


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

    def pattern(self) -> StepPattern:
        """Take the step pattern by name, and refuse what does not go together."""
        pattern = as_step_pattern(self.step_pattern)
        straight = self.penalty or self.max_jump is not None
        if straight and pattern.name not in CLASSIC:
            raise ValueError(
                f"penalty and max_jump go with step_pattern 'symmetric1' and "
                f"'symmetric2'; {pattern.name!r} limits its steps by itself"
            )
        if self.window is not None and self.window not in WINDOWS:
            raise ValueError(
                f"window={self.window!r} is not one of {WINDOWS}, nor None"
            )
        if self.window is not None and (self.open_begin or self.open_end):
            raise ValueError(
                "a window lies about the line between both ends; set window=None where "
                "the path has an open begin or end"
            )
        return pattern

    def weights(self, dtype: Any) -> np.ndarray:
        """Weight of a diagonal step, and price of another, as strips take them."""
        diagonal = 1 + (self.pattern().name == "symmetric2")
        return np.array([diagonal, self.penalty], dtype)


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
        'typeIIc' or 'typeVds' ('s' for smoothed).
    window : {'sakoe_chiba', 'itakura', 'multiscale'} or None, default=None
        Which frames may be aligned: those near the straight line, those in a
        parallelogram, or those near the path of shortened sequences (fast for long
        sequences; no longer sure to be the best path).
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' and 'multiscale' in frames; a float is a share of
        the longer sequence.
    max_slope : float, default=2.0
        Steepest slope of 'itakura', relative to the straight line.
    penalty : float, default=0.0
        Price of every step that is not diagonal.
    max_jump : int or None, default=None
        Longest run of steps in one direction that is not diagonal.
    open_begin, open_end : bool, default=False
        Whether `x` may match a part of `y` that begins later, or ends earlier. With
        both, `x` is looked for in `y` (subsequence alignment).

    Returns
    -------
    DTWPath
        With ``path``, ``cost`` and ``normalized_cost``.

    Raises
    ------
    ValueError
        If a sequence is empty or has NaN, the sequences have different features, or
        the constraints leave no path.

    See Also
    --------
    dtw_distance : The cost alone.
    cdist_dtw : The costs of many pairs.

    Notes
    -----
    Time is proportional to ``n m d``. Of several best paths, the one that has diagonal
    steps as late as possible is found.

    References
    ----------
    Sakoe, H. and Chiba, S. (1978). Dynamic programming algorithm optimization for
    spoken word recognition. IEEE Transactions on ASSP 26(1), 43-49.

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
    ValueError
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
    """
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
    weighted = pattern.name == "symmetric2"
    path: np.ndarray | None
    if constraints.max_jump is not None:
        path, cost = _limited(costs, window, constraints, float(weighted))
    elif pattern.name == "symmetric1" or (weighted and not constraints.open_begin):
        path, cost = _in_strips(costs, window, constraints, weighted, wants_path)
    else:
        path, cost = _by_pattern(costs, window, constraints, pattern)
    if not np.isfinite(cost):
        raise ValueError(
            f"no path of step_pattern {pattern.name!r} joins {n} and {m} frames under "
            "these constraints; loosen window, max_jump or step_pattern"
        )
    if path is None:
        return DTWPath(np.empty((0, 2), np.int64), cost, np.nan)
    covered = path[-1] - path[0] + 1
    size = pattern.size(int(covered[0]), int(covered[1]), len(path))
    return DTWPath(path, cost, cost / size)


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
    halves = [np.add.reduceat(z, range(0, len(z), 2)) for z in (x, y)]
    for half, whole in zip(halves, (x, y), strict=True):
        half[: len(whole) // 2] /= 2
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
    costs: Costs,
    window: Window,
    constraints: Constraints,
    weighted: bool,
    wants_path: bool,
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
    end = _end(last, constraints, "both" if weighted else "path", n)
    cost = float(last[end])
    if not wants_path or not np.isfinite(cost):
        return None, cost
    return trace(frames, 0, 0, window, weights, room, marks, end), cost


def _end(last: np.ndarray, constraints: Constraints, divisor: str, n: int) -> int:
    """Column where the path ends: the last, or the best by the normalised cost."""
    if not constraints.open_end:
        return len(last) - 1
    sizes = {"both": n + 1 + np.arange(len(last)), "columns": 1 + np.arange(len(last))}
    return int(np.argmin(last / sizes.get(divisor, 1)))


def _table(costs: Costs, window: Window) -> np.ndarray:
    with one_blas_thread():
        table = cost_matrix(costs).astype(np.float64, copy=False)
    if not window.whole:
        mask(table, window, 0, 0)
    return table


def _by_pattern(
    costs: Costs, window: Window, constraints: Constraints, pattern: StepPattern
) -> tuple[np.ndarray, float]:
    table = _table(costs, window)
    totals, choice = walk_pattern(table, pattern, constraints.open_begin)
    end = _end(totals[-1], constraints, pattern.divisor, len(table))
    path = trace_pattern(choice, pattern, (len(table) - 1, end))
    return path, float(totals[-1, end])


def _limited(
    costs: Costs, window: Window, constraints: Constraints, diagonal: float
) -> tuple[np.ndarray, float]:
    table = _table(costs, window)
    totals, previous = walk_limited(
        table,
        int(constraints.max_jump or 0),
        diagonal,
        constraints.penalty,
        constraints.open_begin,
    )
    divisor = "both" if diagonal else "path"
    end = _end(totals.min(axis=1), constraints, divisor, len(table))
    state = int(totals[end].argmin())
    path = trace_limited(previous, state, (len(table) - 1, end))
    return path, float(totals[end, state])
