"""Dynamic time warping of many pairs of sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import ArrayLike, DTypeLike

from mmfusion._memory import check_fits
from mmfusion._sequences import as_collection, transposed_remedy
from mmfusion._threads import one_thread
from mmfusion._typing import MetricLike
from mmfusion.alignment.dtw._constraints import Constraints, split_options
from mmfusion.alignment.dtw._costs import (
    LOCAL_METRICS,
    are_moderate,
    check_metric,
    make_costs,
)
from mmfusion.alignment.dtw._panels import (
    frame_offsets,
    pack_frames,
    row_block_offsets,
)
from mmfusion.alignment.dtw._parameters import check_n_jobs
from mmfusion.alignment.dtw._path import find_path
from mmfusion.alignment.dtw._row_blocks import (
    make_checkpoints,
    make_workspace,
    pair_costs,
    step_weights,
)
from mmfusion.alignment.dtw._windows import check_radius

PAIRS_PER_TASK = 4096
COST_BYTES_PER_PAIR = 40  # of costs, and of index pairs while they are computed

# how the cost of a pair is computed
ONE_BY_ONE, IN_FLOAT32, IN_FLOAT64 = range(3)


def cdist_dtw(
    X: Sequence[ArrayLike],
    Y: Sequence[ArrayLike] | None = None,
    *,
    n_jobs: int | None = None,
    **options: Any,
) -> np.ndarray:
    """Compute the costs of the best alignments of all pairs of sequences.

    Each is the cost that `dtw_distance` returns for the pair, and does not depend on
    the other sequences.

    Parameters
    ----------
    X : sequence of array-like of shape (n_i, d)
        Sequences.
    Y : sequence of array-like of shape (m_j, d), default=None
        Other sequences; None compares those of `X` with each other.
    n_jobs : int, default=None
        Number of threads; -1 is one per core.
    **options : dict
        Metric (not 'precomputed') and constraints: the options of `dtw_path`.

    Returns
    -------
    ndarray of float64 of shape (len(X), len(Y))
        The costs.

    Raises
    ------
    TypeError, ValueError
        Under the conditions of `dtw_path`; the message names the sequences.

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
    right = None if Y is None else as_collection(Y, "Y")
    return costs_of_all_pairs(left, right, metric, constraints, n_jobs)


def costs_of_all_pairs(
    left: list[np.ndarray],
    right: list[np.ndarray] | None,
    metric: MetricLike,
    constraints: Constraints,
    n_jobs: int | None,
) -> np.ndarray:
    """Compute the costs of all pairs of checked sequences.

    Parameters
    ----------
    left : list of ndarray of shape (n_i, d)
        Sequences.
    right : list of ndarray of shape (m_j, d), or None
        Other sequences; None compares those of `left` with each other.
    metric : str or callable
        The local cost.
    constraints : Constraints
        The constraints of the paths.
    n_jobs : int or None
        Number of threads; -1 is one per core.

    Returns
    -------
    ndarray of float64 of shape (len(left), len(right))
        The costs.
    """
    among_themselves = right is None
    right = left if right is None else right
    check_fits(
        len(left) * len(right) * COST_BYTES_PER_PAIR,
        f"the matrix of {len(left)} x {len(right)} costs",
        "compare fewer sequences at a time, or find the nearest by dtw_neighbors",
    )
    costs = np.zeros((len(left), len(right)))
    # a pair costs the same in either order if its steps and its local costs do, and no
    # window follows a path
    symmetric = constraints.is_symmetric and constraints.window != "multiscale"
    mirrored = among_themselves and symmetric and not callable(metric)
    pairs = np.argwhere(np.tri(len(left), dtype=bool) if mirrored else costs == 0)
    if not len(pairs):
        return costs
    names = "X", "X" if among_themselves else "Y"
    one_by_one = _costs_one_by_one(left, right, names, metric, constraints)
    kinds = np.full(len(pairs), ONE_BY_ONE)
    if is_fully_compiled(metric, constraints):
        kinds = _kinds_of_pairs(left, right, pairs, metric)
    for kind in np.unique(kinds).tolist():
        some, cost_of = pairs[kinds == kind], one_by_one
        if kind != ONE_BY_ONE:
            dtype = np.float32 if kind == IN_FLOAT32 else np.float64
            cost_of = _compiled_costs(
                left, right, str(metric), constraints, some, dtype
            )
        n_tasks = max(effective_n_jobs(n_jobs), len(some) // PAIRS_PER_TASK)
        with one_thread():
            results = Parallel(n_jobs=n_jobs, prefer="threads")(
                delayed(cost_of)(task) for task in np.array_split(some, n_tasks)
            )
        costs[tuple(some.T)] = np.concatenate(results)
    # an infinite cost overflows float32, or raises the error of its pair
    infinite = np.argwhere(np.isinf(costs))
    if len(infinite):
        costs[tuple(infinite.T)] = one_by_one(infinite)
    return costs + np.tril(costs, -1).T if mirrored else costs


def _costs_one_by_one(
    left: list[np.ndarray],
    right: list[np.ndarray],
    names: tuple[str, str],
    metric: MetricLike,
    constraints: Constraints,
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that computes the costs of pairs one after the other."""

    def cost(i: int, j: int) -> float:
        try:
            found = find_path(left[i], right[j], metric, constraints, wants_path=False)
            return found.cost
        except ValueError as error:
            raise ValueError(f"{names[0]}[{i}] and {names[1]}[{j}]: {error}") from error

    def cost_of(pairs: np.ndarray) -> np.ndarray:
        return np.array([cost(i, j) for i, j in pairs.tolist()])

    return cost_of


def _kinds_of_pairs(
    left: list[np.ndarray],
    right: list[np.ndarray],
    pairs: np.ndarray,
    metric: MetricLike,
) -> np.ndarray:
    """Return how the cost of each pair is computed, regardless of other sequences."""
    sides: list[np.ndarray] = []
    for side in (left, right):
        if sides and right is left:
            sides.append(sides[0])
            continue
        of_type = [IN_FLOAT32 if x.dtype == np.float32 else IN_FLOAT64 for x in side]
        moderate = np.array([are_moderate([x]) for x in side])
        sides.append(np.where(moderate, of_type, ONE_BY_ONE))
    of_each = sides[0][pairs[:, 0]], sides[1][pairs[:, 1]]
    alone = np.minimum(*of_each) == ONE_BY_ONE
    if metric == "correlation":  # whether a frame is constant depends on its own dtype
        alone |= of_each[0] != of_each[1]
    return np.where(alone, ONE_BY_ONE, np.maximum(*of_each))


def is_fully_compiled(metric: MetricLike, constraints: Constraints) -> bool:
    """Return whether a compiled loop covers many pairs.

    Parameters
    ----------
    metric : str or callable
        The local cost.
    constraints : Constraints
        The constraints of the paths.

    Returns
    -------
    bool
        True for metrics with a name and for paths of 'symmetric1' or 'symmetric2'
        between closed ends, within a band or anywhere.
    """
    return (
        constraints.diagonal_weight is not None
        and not callable(metric)
        and metric in LOCAL_METRICS
        and constraints.max_jump is None
        and constraints.max_length is None
        and constraints.window in (None, "sakoe_chiba")
        and not constraints.is_open
    )


def common_reach(
    left: list[np.ndarray], right: list[np.ndarray], constraints: Constraints
) -> float:
    """Check the window of many pairs, and return its half width.

    Parameters
    ----------
    left, right : list of ndarray of shape (n_frames, d)
        Sequences.
    constraints : Constraints
        The constraints of the paths.

    Returns
    -------
    float
        In frames of the longer sequence; if negative, minus its share of them.

    Raises
    ------
    ValueError
        If sequences have different features, or a pair has no path within the radius.
    """
    widths = {x.shape[1] for x in [*left, *right]}
    if len(widths) > 1:
        raise ValueError(
            f"sequences have {sorted(widths)} features: no metric compares them; "
            "project them to the same features, as CTWAligner learns to"
            f"{transposed_remedy([*left, *right])}"
        )
    if constraints.window is None:
        return float(max(map(len, [*left, *right])))
    lengths = [sorted({len(z) for z in side}) for side in (left, right)]
    for n, m in {(n, m) for n in lengths[0] for m in lengths[1]}:
        check_radius(constraints.radius, n, m)
    if isinstance(constraints.radius, float):
        return -constraints.radius
    return float(min(constraints.radius, lengths[0][-1] + lengths[1][-1]))


def _compiled_costs(
    left: list[np.ndarray],
    right: list[np.ndarray],
    metric: str,
    constraints: Constraints,
    pairs: np.ndarray,
    dtype: DTypeLike,
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that computes costs of some pairs in a compiled loop."""
    own_left, own_right = (np.unique(side) for side in pairs.T)
    left = [left[i].astype(dtype, copy=False) for i in own_left]
    right = [right[j].astype(dtype, copy=False) for j in own_right]
    n_frames = [np.array(list(map(len, side))) for side in (left, right)]
    reach = common_reach(left, right, constraints)
    # concatenated, all sequences are prepared at once
    costs = make_costs(np.concatenate(left), np.concatenate(right), metric)
    frames = pack_frames(costs, n_frames[0])
    rows = row_block_offsets(n_frames[0])[:-1], n_frames[0]
    columns = frame_offsets(n_frames[1])[:-1], n_frames[1]
    dtype, longest = costs.x.dtype, int(n_frames[1].max())
    no_checkpoints = make_checkpoints(1, longest, dtype, wants_path=False)
    weights = step_weights(constraints, dtype)

    def cost_of(some: np.ndarray) -> np.ndarray:
        own = np.column_stack(
            [
                np.searchsorted(own_left, some[:, 0]),
                np.searchsorted(own_right, some[:, 1]),
            ]
        )
        out, work = np.empty(len(own)), make_workspace(longest, dtype)
        pair_costs(
            frames, rows, columns, own, reach, weights, work, no_checkpoints, out
        )
        return out

    return cost_of
