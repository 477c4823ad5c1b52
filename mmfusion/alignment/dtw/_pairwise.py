"""Dynamic time warping of many pairs of sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from mmfusion._memory import check_fits
from mmfusion._sequences import as_collection
from mmfusion.alignment.dtw._costs import (
    METRICS,
    are_moderate,
    check_metric,
    make_costs,
)
from mmfusion.alignment.dtw._parameters import check_n_jobs
from mmfusion.alignment.dtw._path import (
    Constraints,
    one_blas_thread,
    solve,
    split_options,
)
from mmfusion.alignment.dtw._row_blocks import (
    frames_of,
    make_marks,
    make_room,
    pair_costs,
    starts_of,
    strip_starts,
)
from mmfusion.alignment.dtw._step_patterns import diagonal_weight
from mmfusion.alignment.dtw._windows import check_radius

PAIRS_AT_A_TIME = 4096
BYTES_PER_PAIR = 40  # of costs, and of the pairs while they are computed


def cdist_dtw(
    X: Sequence[Any],
    Y: Sequence[Any] | None = None,
    *,
    n_jobs: int | None = None,
    **options: Any,
) -> np.ndarray:
    """Compute the costs of the best alignments of all pairs of sequences.

    Each is the cost that `dtw_distance` returns for the pair, whatever other sequences
    there are.

    Parameters
    ----------
    X : sequence of array-like of shape (n_i, d)
        Sequences.
    Y : sequence of array-like of shape (m_j, d), default=None
        Others; None compares those of `X` with each other.
    n_jobs : int, default=None
        Threads; -1 is one per core.
    **options : dict
        Metric (not 'precomputed') and constraints, as `dtw_path` takes them.

    Returns
    -------
    ndarray of float64 of shape (len(X), len(Y))
        The costs.

    Raises
    ------
    TypeError, ValueError
        As `dtw_path` does; the message names the sequence.

    See Also
    --------
    dtw_distance : One pair.

    Examples
    --------
    >>> from mmfusion.alignment import cdist_dtw
    >>> cdist_dtw([[0.0, 1.0], [0.0, 2.0, 2.0]])
    array([[0., 2.],
           [2., 0.]])
    """
    metric, constraints = split_options(**options)
    check_metric(metric, precomputed=False)
    n_jobs = check_n_jobs(n_jobs)
    left = as_collection(X, "X")
    right = left if Y is None else as_collection(Y, "Y")
    check_fits(
        len(left) * len(right) * BYTES_PER_PAIR,
        f"the matrix of {len(left)} x {len(right)} costs",
        "compare fewer sequences at a time, or find the nearest by dtw_neighbors",
    )
    found = np.zeros((len(left), len(right)))
    # a pair costs the same in either order, unless its steps or its costs do not, or
    # a window lies about a path
    turns = (
        diagonal_weight(constraints.pattern()) is not None
        and not (constraints.open_begin or constraints.open_end)
        and constraints.window != "multiscale"
    )
    mirrored = Y is None and turns and not callable(metric)
    pairs = np.argwhere(np.tri(len(left), dtype=bool) if mirrored else found == 0)
    if not len(pairs):
        return found
    names = "X", "X" if Y is None else "Y"
    one_by_one = _one_by_one(left, right, names, metric, constraints)
    kinds = np.full(len(pairs), ONE_BY_ONE)
    if runs_compiled(metric, constraints):
        kinds = _kinds(left, right, pairs, metric)
    for kind in np.unique(kinds).tolist():
        some, cost_of = pairs[kinds == kind], one_by_one
        if kind != ONE_BY_ONE:
            dtype = np.float32 if kind == IN_FLOAT32 else np.float64
            cost_of = _compiled(left, right, str(metric), constraints, some, dtype)
        n_parts = max(effective_n_jobs(n_jobs), len(some) // PAIRS_AT_A_TIME)
        with one_blas_thread():
            parts = Parallel(n_jobs=n_jobs, prefer="threads")(
                delayed(cost_of)(part) for part in np.array_split(some, n_parts)
            )
        found[tuple(some.T)] = np.concatenate(parts)
    infinite = np.argwhere(np.isinf(found))  # raises, unless float32 is too small
    if len(infinite):
        found[tuple(infinite.T)] = one_by_one(infinite)
    return found + np.tril(found, -1).T if mirrored else found


def _one_by_one(
    left: list[np.ndarray],
    right: list[np.ndarray],
    names: tuple[str, str],
    metric: Any,
    constraints: Constraints,
) -> Callable[[np.ndarray], np.ndarray]:
    """Costs of pairs by themselves."""

    def cost(i: int, j: int) -> float:
        try:
            return solve(left[i], right[j], metric, constraints, wants_path=False).cost
        except ValueError as error:
            raise ValueError(f"{names[0]}[{i}] and {names[1]}[{j}]: {error}") from error

    def cost_of(pairs: np.ndarray) -> np.ndarray:
        return np.array([cost(i, j) for i, j in pairs.tolist()])

    return cost_of


ONE_BY_ONE, IN_FLOAT32, IN_FLOAT64 = range(3)  # how the cost of a pair is computed


def _kinds(
    left: list[np.ndarray], right: list[np.ndarray], pairs: np.ndarray, metric: Any
) -> np.ndarray:
    """Return how the cost of each pair is computed, which no other sequence decides."""
    sides = []
    for side in (left, right):
        of_type = [IN_FLOAT32 if x.dtype == np.float32 else IN_FLOAT64 for x in side]
        moderate = np.array([are_moderate([x]) for x in side])
        sides.append(np.where(moderate, of_type, ONE_BY_ONE))
    of_each = sides[0][pairs[:, 0]], sides[1][pairs[:, 1]]
    alone = np.minimum(*of_each) == ONE_BY_ONE
    if metric == "correlation":  # what counts as constant depends on the own type
        alone |= of_each[0] != of_each[1]
    return np.where(alone, ONE_BY_ONE, np.maximum(*of_each))


def runs_compiled(metric: Any, constraints: Constraints) -> bool:
    """Tell whether many pairs are aligned without Python between them.

    Parameters
    ----------
    metric : str or callable
        The local cost.
    constraints : Constraints
        Those of the path.

    Returns
    -------
    bool
        True for metrics with a name, and for paths of a classic step pattern from end
        to end, of which at most a band is allowed.
    """
    return (
        diagonal_weight(constraints.pattern()) is not None
        and not callable(metric)
        and metric in METRICS
        and constraints.max_jump is None
        and constraints.window in (None, "sakoe_chiba")
        and not (constraints.open_begin or constraints.open_end)
    )


def reach_of_all(
    left: list[np.ndarray], right: list[np.ndarray], constraints: Constraints
) -> float:
    """Tell the half width of the window of many pairs, once all are found to have one.

    Parameters
    ----------
    left, right : list of ndarray of shape (n_frames, d)
        Sequences.
    constraints : Constraints
        Those of the path.

    Returns
    -------
    float
        As `pair_costs` takes it.

    Raises
    ------
    ValueError
        If sequences have different features, or the radius leaves a pair no path.
    """
    widths = {x.shape[1] for x in [*left, *right]}
    if len(widths) > 1:
        raise ValueError(
            f"sequences have {sorted(widths)} features: no metric compares them; "
            "project them to the same features, as CTWAligner learns to"
        )
    if constraints.window is None:
        return float(max(map(len, [*left, *right])))
    lengths = [sorted({len(z) for z in side}) for side in (left, right)]
    for n, m in {(n, m) for n in lengths[0] for m in lengths[1]}:
        check_radius(constraints.radius, n, m)
    if isinstance(constraints.radius, float):
        return -constraints.radius
    return float(min(constraints.radius, lengths[0][-1] + lengths[1][-1]))


def _compiled(
    left: list[np.ndarray],
    right: list[np.ndarray],
    metric: str,
    constraints: Constraints,
    pairs: np.ndarray,
    dtype: Any,
) -> Callable[[np.ndarray], np.ndarray]:
    """Costs of some of the given pairs, without Python between them."""
    own_left, own_right = (np.unique(side) for side in pairs.T)
    left = [left[i].astype(dtype, copy=False) for i in own_left]
    right = [right[j].astype(dtype, copy=False) for j in own_right]
    n_frames = [np.array(list(map(len, side))) for side in (left, right)]
    reach = reach_of_all(left, right, constraints)
    # all sequences as one: their costs are made of the same frames
    costs = make_costs(np.concatenate(left), np.concatenate(right), metric)
    frames = frames_of(costs, n_frames[0])
    rows = strip_starts(n_frames[0])[:-1], n_frames[0]
    columns = starts_of(n_frames[1])[:-1], n_frames[1]
    dtype, longest = costs.x.dtype, int(n_frames[1].max())
    marks = make_marks(1, longest, dtype, wants_path=False)
    weights = constraints.weights(dtype)

    def cost_of(some: np.ndarray) -> np.ndarray:
        own = np.column_stack(
            [
                np.searchsorted(own_left, some[:, 0]),
                np.searchsorted(own_right, some[:, 1]),
            ]
        )
        out, room = np.empty(len(own)), make_room(longest, dtype)
        pair_costs(frames, rows, columns, own, reach, weights, room, marks, out)
        return out

    return cost_of
