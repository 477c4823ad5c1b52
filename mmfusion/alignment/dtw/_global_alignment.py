"""Local costs of the global alignment kernel, and parameters of kernels by frames.

The kernel is ``K(x, y) = sum_paths prod_(i, j) k_ij / (2 - k_ij)`` for the Gaussian
kernel ``k_ij = exp(-gamma |x_i - y_j|^2)`` of frames (Cuturi 2011), normalised to
``K(x, y) / sqrt(K(x, x) K(y, y))``. The logarithm of K is minus soft-DTW at gamma = 1
of the local costs ``-log(k / (2 - k))``, and that of the normalised kernel is minus its
divergence (Blondel, Mensch and Vert 2021).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike
from scipy.spatial.distance import cdist, pdist

from mmfusion._medians import median_with_counts, pairs_with_copies, positive_median
from mmfusion._scaling import CONSTANT_SPREAD_ULPS
from mmfusion._typing import MetricLike
from mmfusion.alignment.dtw._costs import cost_matrix, make_costs

MEDIAN_FRAMES = 1000  # among which the median distance of two frames is computed
# among .01 to 3, and the rule of the global alignment kernel, the share whose support
# vector machines are best on ts_articularyword, ts_basicmotions and ts_japanesevowels,
# whichever of the three is left out
SOFTNESS_SHARE = 0.1


def alignment_costs(x: np.ndarray, y: np.ndarray, gamma: float) -> np.ndarray:
    """Compute ``-log(k / (2 - k))`` for the Gaussian kernel k of all pairs of frames.

    Parameters
    ----------
    x, y : ndarray of shape (n, d) and (m, d)
        Frames.
    gamma : float
        Inverse width of the Gaussian kernel.

    Returns
    -------
    ndarray of float64 of shape (n, m)
        The local costs of the global alignment kernel.
    """
    # p + log(1 + (1 - exp(-p))) keeps its digits for small p
    power = gamma * cdist(x, y, "sqeuclidean")
    return power + np.log1p(-np.expm1(-power))


def median_gamma(X: list[np.ndarray], weight: np.ndarray | None = None) -> float:
    """Choose gamma of the global alignment kernel by the rule of Cuturi (2011).

    Parameters
    ----------
    X : list of ndarray of shape (n_i, d)
        Sequences.
    weight : ndarray of shape (len(X),), default=None
        Weights of the sequences: one of weight 3 counts as three equal ones.

    Returns
    -------
    float
        ``1 / (2 s^2)``, where s is the median distance of two frames, of at most 1,000
        evenly spaced ones, times the root of the median number of frames; 1 if all
        frames are equal.
    """
    frames, shares = _some_frames(X, weight)
    pairs, counts = pairs_with_copies(pdist(frames, "sqeuclidean"), shares)
    squared = positive_median(pairs, counts=counts)
    if squared is None:
        return 1.0
    lengths = np.array([len(x) for x in X])
    return 1 / (2 * squared * median_with_counts(lengths, weight))


def median_softness(
    X: list[np.ndarray], metric: MetricLike, weight: np.ndarray | None = None
) -> float:
    """Choose gamma of soft-DTW by the local costs.

    Parameters
    ----------
    X : list of ndarray of shape (n_i, d)
        Sequences.
    metric : str or callable
        Local cost of two frames, as in `soft_dtw`.
    weight : ndarray of shape (len(X),), default=None
        Weights of the sequences: one of weight 3 counts as three equal ones.

    Returns
    -------
    float
        A tenth of the median cost of two frames, of at most 1,000 evenly spaced ones;
        1 if all frames are equal.
    """
    median = median_frame_cost(X, metric, weight)
    return 1.0 if median is None else SOFTNESS_SHARE * median


def median_frame_cost(
    X: list[np.ndarray], metric: MetricLike, weight: np.ndarray | None = None
) -> float | None:
    """Return the median cost of two frames, or where it is 0 that of those that differ.

    Parameters
    ----------
    X : list of ndarray of shape (n_i, d)
        Sequences.
    metric : str or callable
        Local cost of two frames. Infinite costs, which forbid a pair, are left out.
    weight : ndarray of shape (len(X),), default=None
        Weights of the sequences.

    Returns
    -------
    float or None
        The median over at most 1,000 evenly spaced frames, above 0; None if all are 0.
    """
    frames, shares = _some_frames(X, weight)
    matrix = cost_matrix(make_costs(frames, frames, metric, np.float64))
    return median_of_costs(matrix, metric, shares, n_terms=1)


def median_of_costs(
    costs: np.ndarray,
    metric: object,
    weight: np.ndarray | None,
    *,
    n_terms: int,
    dtype: DTypeLike = np.float64,
) -> float | None:
    """Return the median cost of all pairs, or where it is 0 that of those that differ.

    Parameters
    ----------
    costs : ndarray of shape (n, n)
        Costs of all pairs. Infinite ones, which forbid a pair, are left out.
    metric : object
        Local cost of two frames, None if there is none.
    weight : ndarray of shape (n,) or None
        Weights of the sequences or frames: one of weight 3 counts as three equal ones.
    n_terms : int
        Number of local costs of which a cost is the sum, at most.
    dtype : dtype, default=float64
        Precision of the local costs.

    Returns
    -------
    float or None
        The median, above 0; None if all are 0.
    """
    pairs, counts = pairs_with_copies(costs, weight)
    is_finite = np.isfinite(pairs)
    # costs that are 1 minus a product are rounding errors of parallel frames
    is_angle = isinstance(metric, str) and metric in ("cosine", "correlation")
    rounding = CONSTANT_SPREAD_ULPS * np.finfo(dtype).eps * n_terms if is_angle else 0.0
    counts = None if counts is None else counts[is_finite]
    return positive_median(pairs[is_finite], rounding, counts)


def _some_frames(
    X: list[np.ndarray], weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return evenly spaced frames, and their weights."""
    frames = np.concatenate(X)
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), MEDIAN_FRAMES))
    positions = chosen.round().astype(int)
    if weight is None:
        return frames[positions], None
    return frames[positions], np.repeat(weight, list(map(len, X)))[positions]
