"""Barycenters: means of sequences under dynamic time warping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from sklearn.utils import check_random_state

from mmfusion._blocks import as_float_array
from mmfusion._compilation import jit
from mmfusion._memory import check_fits
from mmfusion._sequences import as_collection, as_sequence
from mmfusion._typing import RandomStateLike
from mmfusion.alignment.dtw._costs import are_moderate, make_costs
from mmfusion.alignment.dtw._pairwise import cdist_dtw
from mmfusion.alignment.dtw._panels import frame_offsets, pack_frames
from mmfusion.alignment.dtw._parameters import (
    check_integer_at_least,
    check_real_at_least,
)
from mmfusion.alignment.dtw._path import dtw_path
from mmfusion.alignment.dtw._row_blocks import (
    accumulate,
    make_checkpoints,
    make_workspace,
    trace_path,
)
from mmfusion.alignment.dtw._soft import soft_dtw_gradient
from mmfusion.alignment.dtw._windows import band

# exponent of the unit of length, whose square neither over- nor underflows
LARGEST_UNIT_EXPONENT = 480
# gamma in units of squares of about 1: beyond, results no longer change in float64
HARDEST_GAMMA, SOFTEST_GAMMA = 1e-150, 1e150
MAX_CANDIDATES = 50  # sequences among which the first barycenter is chosen


class DTWBarycenter(NamedTuple):
    """Result of `dtw_barycenter`.

    Parameters
    ----------
    sequence : ndarray of shape (n_frames, n_features)
        The barycenter.
    costs : ndarray of shape (n_iter + 1,)
        Weighted mean of the costs to the sequences: of the initial barycenter, and
        after each iteration. The last is that of `sequence`.
    """

    sequence: np.ndarray
    costs: np.ndarray


def dtw_barycenter(
    sequences: Sequence[ArrayLike],
    *,
    n_frames: int | None = None,
    gamma: float = 0.0,
    weights: ArrayLike | None = None,
    init: ArrayLike | None = None,
    max_iter: int = 30,
    tol: float = 1e-5,
    random_state: RandomStateLike = None,
) -> DTWBarycenter:
    """Average sequences under dynamic time warping.

    Search for the sequence b that minimises ``sum_k w_k DTW(b, x_k)`` with squared
    Euclidean costs; for ``gamma > 0``, soft-DTW replaces DTW.

    Parameters
    ----------
    sequences : sequence of array-like of shape (n_frames_k, n_features)
        The sequences; those of shape (n_frames_k,) have a single feature.
    n_frames : int, default=None
        Length of the barycenter; None is that of `init`, or of the medoid.
    gamma : float, default=0.0
        Softness, in units of the squared distance of two frames. 0 is DTW barycenter
        averaging (DBA). Above 0, the objective is smooth and has fewer poor minima.
    weights : array-like of shape (n_sequences,), default=None
        Weights of the sequences, at least 0; None is the same weight for all. They are
        divided by their sum.
    init : array-like of shape (n_frames, n_features), default=None
        The initial barycenter. None is the medoid: the sequence of least weighted cost
        to the others, resampled to `n_frames`.
    max_iter : int, default=30
        Maximum number of iterations.
    tol : float, default=1e-5
        Tolerance: iterations stop when one reduces the objective by no more than this
        share of it.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw of 50 sequences among which the medoid is chosen; not used for
        50 sequences or fewer.

    Returns
    -------
    DTWBarycenter
        The barycenter, in float32 if all sequences are, and its costs.

    Raises
    ------
    TypeError
        If a parameter has another type.
    ValueError
        If there is no sequence, one is empty or has a value that is NaN or infinite,
        their features or those of `init` differ, `n_frames` is not the length of
        `init` or below 1, a weight is negative, all are 0, `gamma`, `max_iter` or `tol`
        is negative, or the costs overflow.

    See Also
    --------
    dtw_path : Alignment of two sequences.
    soft_dtw : Soft-DTW of two sequences.

    Notes
    -----
    For ``gamma = 0`` every iteration aligns all sequences with the barycenter and moves
    each of its frames to the weighted mean of the frames that are aligned with it;
    neither step increases the objective. For ``gamma > 0`` it is minimised by L-BFGS.
    Both find a local minimum. Soft-DTW smooths: the soft barycenter of one sequence is
    not that sequence.

    References
    ----------
    Petitjean, F., Ketterlin, A. and Gancarski, P. (2011). A global averaging method
    for dynamic time warping, with applications to clustering. Pattern Recognition
    44(3), 678-693.

    Cuturi, M. and Blondel, M. (2017). Soft-DTW: a differentiable loss function for
    time-series. ICML 34, 894-903. Section 3.1.

    Examples
    --------
    >>> from mmfusion.alignment import dtw_barycenter
    >>> found = dtw_barycenter([[0.0, 1.0, 5.0], [0.0, 3.0, 3.0, 5.0]])
    >>> found.sequence.ravel().round(3).tolist()
    [0.0, 2.333, 5.0]
    """
    gamma = check_real_at_least(gamma, "gamma", 0)
    tol = check_real_at_least(tol, "tol", 0)
    max_iter = check_integer_at_least(max_iter, "max_iter", 0)
    if n_frames is not None:
        n_frames = check_integer_at_least(n_frames, "n_frames", 1)
    arrays, shares = _weighted_sequences(sequences, weights)
    if n_frames is not None:
        check_fits(
            n_frames * arrays[0].nbytes // len(arrays[0]),
            f"a barycenter of n_frames={n_frames}",
            "lower n_frames",
        )
    dtype = np.result_type(*arrays)
    arrays = [x.astype(np.float64, copy=False) for x in arrays]
    if init is None:
        start = _medoid(arrays, shares, random_state)
        start = _resample_linearly(start, n_frames or len(start))
    else:
        start = _checked_init(init, n_frames, arrays[0].shape[1])
    if gamma > 0:
        sequence, costs = _minimize_soft_dtw(
            start, arrays, shares, gamma, max_iter, tol
        )
    else:
        sequence, costs = _average_along_paths(start, arrays, shares, max_iter, tol)
    return DTWBarycenter(sequence.astype(dtype, copy=False), np.array(costs))


def _weighted_sequences(
    sequences: Sequence[ArrayLike], weights: ArrayLike | None
) -> tuple[list[np.ndarray], np.ndarray]:
    """Check sequences and weights, and drop sequences of weight 0."""
    arrays = as_collection(sequences, "sequences")
    if not arrays:
        raise ValueError("sequences is empty: there is no sequence to average")
    for k, x in enumerate(arrays):
        if x.shape[1] != arrays[0].shape[1]:
            raise ValueError(
                f"sequences[{k}] has {x.shape[1]} features and sequences[0] has "
                f"{arrays[0].shape[1]}; project all to the same features, as "
                "CTWAligner learns to"
            )
    if weights is None:
        return arrays, np.full(len(arrays), 1 / len(arrays))
    shares = as_float_array(weights, "weights").astype(np.float64)
    if shares.shape != (len(arrays),):
        raise ValueError(
            f"weights have shape {shares.shape} for {len(arrays)} sequences; give one "
            "per sequence"
        )
    if not ((shares >= 0).all() and 0 < shares.max() < np.inf):
        raise ValueError(
            f"weights are {shares}; they must be finite, at least 0, and not all 0"
        )
    positive = np.flatnonzero(shares)
    shares = shares[positive] / shares.max()  # so that their sum does not overflow
    return [arrays[k] for k in positive], shares / shares.sum()


def _checked_init(init: ArrayLike, n_frames: int | None, n_features: int) -> np.ndarray:
    start = as_sequence(init, "init").astype(np.float64)
    if start.shape != (n_frames or len(start), n_features):
        raise ValueError(
            f"init has shape {start.shape}; expected "
            f"{(n_frames or len(start), n_features)}"
        )
    return start


def _medoid(
    sequences: list[np.ndarray], weights: np.ndarray, random_state: RandomStateLike
) -> np.ndarray:
    """Return the sequence of least weighted cost to all, of at most MAX_CANDIDATES."""
    candidates = sequences
    if len(sequences) > MAX_CANDIDATES:
        rng = check_random_state(random_state)
        drawn = rng.choice(len(sequences), MAX_CANDIDATES, replace=False)
        candidates = [sequences[k] for k in drawn]
    if len(candidates) == 1:
        return candidates[0]
    # all against all, each pair is aligned once
    others = None if candidates is sequences else sequences
    return candidates[int(np.argmin(cdist_dtw(candidates, others) @ weights))]


def _resample_linearly(x: np.ndarray, n_frames: int) -> np.ndarray:
    if n_frames == len(x):
        return x
    old, new = np.linspace(0, 1, len(x)), np.linspace(0, 1, n_frames)
    return np.column_stack([np.interp(new, old, feature) for feature in x.T])


def _average_along_paths(
    start: np.ndarray,
    sequences: list[np.ndarray],
    weights: np.ndarray,
    max_iter: int,
    tol: float,
) -> tuple[np.ndarray, list[float]]:
    """Minimise the mean cost by DTW barycenter averaging (Petitjean et al. 2011)."""
    barycenter = start
    cost, following = _align_all(barycenter, sequences, weights)
    costs = [cost]
    for _ in range(max_iter):
        cost, next_following = _align_all(following, sequences, weights)
        if cost >= costs[-1]:  # a fixed point, up to rounding
            break
        barycenter, following = following, next_following
        costs.append(cost)
        if costs[-2] - cost <= tol * costs[-2]:
            break
    return barycenter, costs


def _align_all(
    barycenter: np.ndarray, sequences: list[np.ndarray], weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Return the cost of a barycenter, and the means of the frames aligned with it."""
    if not are_moderate([barycenter, *sequences]):
        return _align_one_by_one(barycenter, sequences, weights)
    n, lengths = len(barycenter), np.array([len(x) for x in sequences])
    y, longest = np.concatenate(sequences), int(lengths.max())
    costs = make_costs(barycenter, y, "sqeuclidean")
    sums, mass = np.zeros_like(barycenter), np.zeros(n)
    total = _add_aligned_frames(
        pack_frames(costs),
        n,
        (frame_offsets(lengths), y),
        weights,
        np.array([1.0, 0.0]),  # of 'symmetric1': a diagonal step's weight, no penalty
        make_workspace(longest, np.float64),
        make_checkpoints(n, longest, np.float64, wants_path=True),
        (sums, mass),
    )
    return total, sums / mass[:, None]


def _align_one_by_one(
    barycenter: np.ndarray, sequences: list[np.ndarray], weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Align all pair by pair, for values whose squares may over- or underflow."""
    total, sums, mass = 0.0, np.zeros_like(barycenter), np.zeros(len(barycenter))
    for x, weight in zip(sequences, weights, strict=True):
        found = dtw_path(barycenter, x)
        np.add.at(sums, found.path[:, 0], weight * x[found.path[:, 1]])
        np.add.at(mass, found.path[:, 0], weight)
        total += weight * found.cost
    return total, sums / mass[:, None]


@jit
def _add_aligned_frames(
    frames, n, columns, shares, weights, work, checkpoints, aligned
):
    """Align all sequences, add up the frames aligned with each, return the cost.

    ``columns`` are the offsets of the sequences and their frames; ``aligned`` the
    weighted sums of the frames aligned with each frame of the barycenter, and the sums
    of their weights.
    """
    (offsets, y), (sums, mass) = columns, aligned
    no_bounds, total = np.empty(0), 0.0
    for k in range(len(shares)):
        y0, m, share = offsets[k], offsets[k + 1] - offsets[k], shares[k]
        window = band(n, m, float(max(n, m)))
        work.row[:] = np.inf
        work.row[0] = 0
        last = accumulate(
            frames, 0, y0, m, window, weights, work, checkpoints, no_bounds, np.inf
        )
        total += share * last[m - 1]
        path = trace_path(frames, 0, y0, window, weights, work, checkpoints, m - 1)
        for p in range(len(path)):
            i, j = path[p]
            mass[i] += share
            for feature in range(y.shape[1]):
                sums[i, feature] += share * y[y0 + j, feature]
    return total


def _minimize_soft_dtw(
    start: np.ndarray,
    sequences: list[np.ndarray],
    weights: np.ndarray,
    gamma: float,
    max_iter: int,
    tol: float,
) -> tuple[np.ndarray, list[float]]:
    """Minimise the mean of soft-DTW by L-BFGS, in a unit that suits its step sizes."""
    unit = _unit(sequences)
    start, gamma = start / unit, min(max(gamma / unit**2, HARDEST_GAMMA), SOFTEST_GAMMA)
    sequences = [x / unit for x in sequences]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        barycenter = flat.reshape(start.shape)
        total, slope = 0.0, np.zeros_like(start)
        for x, weight in zip(sequences, weights, strict=True):
            value, gradient = soft_dtw_gradient(barycenter, x, gamma=gamma)
            total += weight * value
            slope += weight * gradient
        return total, slope.ravel()

    costs = [objective(start.ravel())[0]]
    result = minimize(
        objective,
        start.ravel(),
        jac=True,
        method="L-BFGS-B",
        callback=lambda intermediate_result: costs.append(intermediate_result.fun),
        options={"maxiter": max_iter, "ftol": tol},
    )
    return unit * result.x.reshape(start.shape), [unit**2 * cost for cost in costs]


def _unit(sequences: list[np.ndarray]) -> float:
    """Return a power of two near the range of the frames; dividing by it is exact."""
    frames = np.concatenate(sequences)
    spread = np.ptp(frames, axis=0).max()
    exponent = int(np.frexp(spread)[1]) if spread > 0 else 0
    return 2.0 ** max(-LARGEST_UNIT_EXPONENT, min(exponent, LARGEST_UNIT_EXPONENT))
