"""Dynamic time warping of many pairs of sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from mmfusion.alignment._costs import METRICS, are_moderate, make_costs
from mmfusion.alignment._dtw import (
    CLASSIC,
    Constraints,
    one_blas_thread,
    solve,
    split_options,
)
from mmfusion.alignment._raw_sequences import as_collection
from mmfusion.alignment._strips import (
    frames_of,
    make_marks,
    make_room,
    pair_costs,
    starts_of,
    strip_starts,
)
from mmfusion.alignment._windows import check_radius

PAIRS_AT_A_TIME = 4096


def cdist_dtw(
    X: Sequence[Any],
    Y: Sequence[Any] | None = None,
    *,
    n_jobs: int | None = None,
    **options: Any,
) -> np.ndarray:
    """Tell the costs of the best alignments of all pairs of sequences.

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
    ValueError
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
    pattern = constraints.pattern()
    left = as_collection(X, "X")
    right = left if Y is None else as_collection(Y, "Y")
    found = np.zeros((len(left), len(right)))
    classic = pattern.name in CLASSIC
    # a pair costs the same in either order, unless its steps or its costs do not
    open_ends = constraints.open_begin or constraints.open_end
    mirrored = Y is None and classic and not callable(metric) and not open_ends
    pairs = np.argwhere(np.tri(len(left), dtype=bool) if mirrored else found == 0)
    if not len(pairs):
        return found
    if runs_compiled(metric, constraints, [*left, *right]):
        cost_of = _compiled(left, right, str(metric), constraints)
    else:

        def cost_of(some: np.ndarray) -> np.ndarray:
            found = (
                solve(left[i], right[j], metric, constraints, wants_path=False)
                for i, j in some
            )
            return np.array([one.cost for one in found])

    n_parts = max(effective_n_jobs(n_jobs), len(pairs) // PAIRS_AT_A_TIME)
    with one_blas_thread():
        parts = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(cost_of)(some) for some in np.array_split(pairs, n_parts)
        )
    found[tuple(pairs.T)] = np.concatenate(parts)
    return found + np.tril(found, -1).T if mirrored else found


def runs_compiled(
    metric: Any, constraints: Constraints, sequences: list[np.ndarray]
) -> bool:
    """Tell whether many pairs are aligned without Python between them.

    Parameters
    ----------
    metric : str or callable
        The local cost.
    constraints : Constraints
        Those of the path.
    sequences : list of ndarray of shape (n_frames, d)
        The sequences.

    Returns
    -------
    bool
        True for metrics with a name, and for paths of a classic step pattern from end
        to end, of which at most a band is allowed. Euclidean distances of extreme
        values are computed pair by pair.
    """
    return (
        constraints.pattern().name in CLASSIC
        and not callable(metric)
        and metric in METRICS
        and constraints.max_jump is None
        and constraints.window in (None, "sakoe_chiba")
        and not (constraints.open_begin or constraints.open_end)
        and (metric != "euclidean" or are_moderate(sequences))
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
    is_share = isinstance(constraints.radius, float)
    return float(-constraints.radius if is_share else constraints.radius)


def _compiled(
    left: list[np.ndarray],
    right: list[np.ndarray],
    metric: str,
    constraints: Constraints,
) -> Callable[[np.ndarray], np.ndarray]:
    """Costs of pairs without Python between them."""
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

    def cost_of(pairs: np.ndarray) -> np.ndarray:
        out, room = np.empty(len(pairs)), make_room(longest, dtype)
        pair_costs(frames, rows, columns, pairs, reach, weights, room, marks, out)
        return out

    return cost_of
