"""Barycentres: the sequence that is nearest to several in the sense of warping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from sklearn.utils import check_random_state

from mmfusion._blocks import as_float_array
from mmfusion._memory import check_fits
from mmfusion._sequences import as_collection, as_sequence
from mmfusion.alignment.dtw._pairwise import cdist_dtw
from mmfusion.alignment.dtw._parameters import check_integer, check_real
from mmfusion.alignment.dtw._path import dtw_path
from mmfusion.alignment.dtw._soft import soft_dtw_gradient

MOST_DOUBLINGS = 480  # of the unit, whose square neither overflows nor vanishes
HARDEST, SOFTEST = 1e-150, 1e150  # gamma beside squares of about 1, beyond all rounding
MAX_CANDIDATES = 50  # sequences of which the first barycentre is chosen


class DTWBarycenter(NamedTuple):
    """What `dtw_barycenter` gives.

    Parameters
    ----------
    sequence : ndarray of shape (n_frames, n_features)
        The barycentre.
    costs : ndarray of shape (n_iter + 1,)
        Weighted mean of the costs to the sequences, of the first barycentre and after
        each iteration; the last is that of `sequence`.
    """

    sequence: np.ndarray
    costs: np.ndarray


def dtw_barycenter(
    sequences: Sequence[Any],
    *,
    n_frames: int | None = None,
    gamma: float = 0.0,
    weights: Any = None,
    init: Any = None,
    max_iter: int = 30,
    tol: float = 1e-5,
    random_state: Any = None,
) -> DTWBarycenter:
    """Average sequences in the sense of dynamic time warping.

    Looks for the sequence b that minimises ``sum_k w_k DTW(b, x_k)``, with squared
    Euclidean costs; for ``gamma > 0`` with soft-DTW in the place of DTW.

    Parameters
    ----------
    sequences : sequence of array-like of shape (n_frames_k, n_features)
        The sequences; those of shape (n_frames_k,) have a single feature.
    n_frames : int, default=None
        Length of the barycentre; None is that of `init`, or of the sequence that it
        starts from.
    gamma : float, default=0.0
        Softness, in units of the squared distance of two frames. 0 is DTW barycentre
        averaging. Above, the objective is smooth and has fewer poor minima.
    weights : array-like of shape (n_sequences,), default=None
        Weights of the sequences, at least 0; None weighs all alike. They are divided
        by their sum.
    init : array-like of shape (n_frames, n_features), default=None
        Where to start. None is the medoid: the sequence of least weighted cost to the
        others, resampled to `n_frames`.
    max_iter : int, default=30
        Most iterations.
    tol : float, default=1e-5
        Stops when an iteration lowers the objective by no more than this share of it.
    random_state : int, RandomState instance or None, default=None
        Draws the 50 sequences among which the medoid is looked for, where there are
        more; read nowhere else.

    Returns
    -------
    DTWBarycenter
        With `sequence` and `costs`; the sequence is in float32 if all are.

    Raises
    ------
    TypeError
        If an option has another type.
    ValueError
        If there is no sequence, one is empty or has a value that is NaN or infinite,
        their features or those of `init` differ, `n_frames` is not the length of
        `init` or below 1, a weight is negative, all are 0, `gamma`, `max_iter` or `tol`
        is negative, or the costs overflow.

    See Also
    --------
    dtw_path : Aligns two sequences.
    soft_dtw : Compares two sequences.

    Notes
    -----
    For ``gamma = 0`` every iteration aligns all sequences to the barycentre and moves
    each of its frames to the weighted mean of what is aligned with it; neither step can
    raise the objective. For ``gamma > 0`` it is minimised by L-BFGS. Both find a local
    minimum. Soft-DTW blurs: the soft barycentre of one sequence is not that sequence.

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
    gamma, tol = check_real(gamma, "gamma", 0), check_real(tol, "tol", 0)
    max_iter = check_integer(max_iter, "max_iter", 0)
    if n_frames is not None:
        n_frames = check_integer(n_frames, "n_frames", 1)
    found, kept_weights = _weighted_sequences(sequences, weights)
    if n_frames is not None:
        check_fits(
            n_frames * found[0].nbytes // len(found[0]),
            f"a barycentre of n_frames={n_frames}",
            "lower n_frames",
        )
    dtype = np.result_type(*found)
    found = [x.astype(np.float64, copy=False) for x in found]
    if init is None:
        start = _medoid(found, kept_weights, random_state)
        start = _resampled(start, n_frames or len(start))
    else:
        start = _given(init, n_frames, found[0].shape[1])
    if gamma > 0:
        moved = _average_softly(start, found, kept_weights, gamma, max_iter, tol)
    else:
        moved = _average(start, found, kept_weights, max_iter, tol)
    sequence, costs = moved
    return DTWBarycenter(sequence.astype(dtype, copy=False), np.array(costs))


def _weighted_sequences(
    sequences: Sequence[Any], weights: Any
) -> tuple[list[np.ndarray], np.ndarray]:
    """Check sequences and weights; leave out what has a weight of 0."""
    found = as_collection(sequences, "sequences")
    if not found:
        raise ValueError("sequences is empty: there is no sequence to average")
    for k, x in enumerate(found):
        if x.shape[1] != found[0].shape[1]:
            raise ValueError(
                f"sequences[{k}] has {x.shape[1]} features and sequences[0] has "
                f"{found[0].shape[1]}; project all to the same features, as CTWAligner "
                "learns to"
            )
    if weights is None:
        return found, np.full(len(found), 1 / len(found))
    weights = as_float_array(weights, "weights").astype(np.float64)
    if weights.shape != (len(found),):
        raise ValueError(
            f"weights have shape {weights.shape} for {len(found)} sequences; give one "
            "per sequence"
        )
    if not ((weights >= 0).all() and 0 < weights.max() < np.inf):
        raise ValueError(
            f"weights are {weights}; they are finite, at least 0, and not all 0"
        )
    kept = np.flatnonzero(weights)
    weights = weights[kept] / weights.max()  # whose sum does not overflow
    return [found[k] for k in kept], weights / weights.sum()


def _given(init: Any, n_frames: int | None, n_features: int) -> np.ndarray:
    start = as_sequence(init, "init").astype(np.float64)
    if start.shape != (n_frames or len(start), n_features):
        raise ValueError(
            f"init has shape {start.shape}; expected "
            f"{(n_frames or len(start), n_features)}"
        )
    return start


def _medoid(
    sequences: list[np.ndarray], weights: np.ndarray, random_state: Any
) -> np.ndarray:
    candidates = sequences
    if len(sequences) > MAX_CANDIDATES:
        rng = check_random_state(random_state)
        drawn = rng.choice(len(sequences), MAX_CANDIDATES, replace=False)
        candidates = [sequences[k] for k in drawn]
    if len(candidates) == 1:
        return candidates[0]
    return candidates[int(np.argmin(cdist_dtw(candidates, sequences) @ weights))]


def _resampled(x: np.ndarray, n_frames: int) -> np.ndarray:
    if n_frames == len(x):
        return x
    old, new = np.linspace(0, 1, len(x)), np.linspace(0, 1, n_frames)
    return np.column_stack([np.interp(new, old, feature) for feature in x.T])


def _average(
    start: np.ndarray,
    sequences: list[np.ndarray],
    weights: np.ndarray,
    max_iter: int,
    tol: float,
) -> tuple[np.ndarray, list[float]]:
    """Average over paths."""
    barycenter = start
    cost, following = _align_all(barycenter, sequences, weights)
    costs = [cost]
    for _ in range(max_iter):
        cost, next_following = _align_all(following, sequences, weights)
        if cost >= costs[-1]:  # by rounding: nothing moves
            break
        barycenter, following = following, next_following
        costs.append(cost)
        if costs[-2] - cost <= tol * costs[-2]:
            break
    return barycenter, costs


def _align_all(
    barycenter: np.ndarray, sequences: list[np.ndarray], weights: np.ndarray
) -> tuple[float, np.ndarray]:
    """Tell the cost of a barycentre, and the mean of what is aligned with it."""
    total, sums, mass = 0.0, np.zeros_like(barycenter), np.zeros(len(barycenter))
    for x, weight in zip(sequences, weights, strict=True):
        found = dtw_path(barycenter, x)
        path = found.path
        begins = np.searchsorted(path[:, 0], np.arange(len(barycenter)))
        sums += weight * np.add.reduceat(x[path[:, 1]], begins)
        mass += weight * np.diff(begins, append=len(path))
        total += weight * found.cost
    return total, sums / mass[:, None]


def _average_softly(
    start: np.ndarray,
    sequences: list[np.ndarray],
    weights: np.ndarray,
    gamma: float,
    max_iter: int,
    tol: float,
) -> tuple[np.ndarray, list[float]]:
    """Minimise the mean of soft-DTW, in a unit of which steps and limits are."""
    unit = _unit(sequences)
    start, gamma = start / unit, min(max(gamma / unit**2, HARDEST), SOFTEST)
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
    """Power of two, by which nothing is rounded, near the spread of the frames."""
    frames = np.concatenate(sequences)
    spread = np.ptp(frames, axis=0).max()
    exponent = int(np.frexp(spread)[1]) if spread > 0 else 0
    return 2.0 ** max(-MOST_DOUBLINGS, min(exponent, MOST_DOUBLINGS))
