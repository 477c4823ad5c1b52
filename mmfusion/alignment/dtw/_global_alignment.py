"""The global alignment kernel, and divergences of soft-DTW, for many pairs.

The kernel is ``K(x, y) = sum_paths prod_(i, j) k_ij / (2 - k_ij)`` for the Gaussian
kernel ``k_ij = exp(-gamma |x_i - y_j|^2)`` of frames (Cuturi 2011), normalised to
``K(x, y) / sqrt(K(x, x) K(y, y))``. The logarithm of K is minus soft-DTW at gamma = 1
of the local costs ``-log(k / (2 - k))``, and that of the normalised kernel is minus its
divergence (Blondel, Mensch and Vert 2021).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from joblib import Parallel, delayed
from scipy.spatial.distance import cdist, pdist, squareform

from mmfusion._medians import median_with_counts, pairs_with_copies, positive_median
from mmfusion._memory import check_fits
from mmfusion._threads import one_thread
from mmfusion._typing import MetricLike
from mmfusion.alignment.dtw._costs import cost_matrix, make_costs
from mmfusion.alignment.dtw._soft import soft_dtw

VALUE_BYTES_PER_PAIR = 56  # of numbers in lists, and of the matrices made of them
MEDIAN_FRAMES = 1000  # among which the median distance of two frames is computed
# among .01 to 3, and the rule of the global alignment kernel, the share whose support
# vector machines are best on ts_articularyword, ts_basicmotions and ts_japanesevowels,
# whichever of the three is left out
SOFTNESS_SHARE = 0.1

# soft-DTW of two sequences, whichever its local costs
SoftValue = Callable[[np.ndarray, np.ndarray], float]


def pair_divergences(
    X: list[np.ndarray],
    Y: list[np.ndarray] | None,
    own: tuple[np.ndarray, np.ndarray],
    value: SoftValue,
    n_jobs: int | None,
) -> np.ndarray:
    """Compute ``v(x, y) - (v(x, x) + v(y, y)) / 2`` for all pairs of sequences.

    Parameters
    ----------
    X : list of ndarray of shape (n_i, d)
        Sequences.
    Y : list of ndarray of shape (m_j, d) or None
        Other sequences; None compares those of `X` with each other.
    own : pair of ndarray
        Values of each sequence of `X` with itself, and of each of `Y`.
    value : callable
        The function v of two sequences, symmetric.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    ndarray of float64 of shape (len(X), len(Y))
        The divergences; negative ones, which rounding makes, are 0.
    """
    right = X if Y is None else Y
    check_fits(
        len(X) * len(right) * VALUE_BYTES_PER_PAIR,
        f"the kernel of {len(X)} x {len(right)} sequences",
        "compare fewer samples at a time",
    )

    def row(i: int) -> list[float]:
        others = right[:i] if Y is None else right
        return [value(X[i], y) for y in others]

    with one_thread():
        rows = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(row)(i) for i in range(len(X))
        )
    values = np.zeros((len(X), len(right)))
    for i, computed in enumerate(rows):
        values[i, : len(computed)] = computed
    if Y is None:
        values += values.T + np.diag(own[0])
    values -= (own[0][:, None] + own[1]) / 2
    return np.maximum(values, 0, out=values)


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


def negative_log_alignment(x: np.ndarray, y: np.ndarray, gamma: float) -> float:
    """Compute minus the logarithm of the global alignment kernel.

    Parameters
    ----------
    x, y : ndarray of shape (n, d) and (m, d)
        Sequences.
    gamma : float
        Inverse width of the Gaussian kernel of two frames.

    Returns
    -------
    float
        The value, not normalised.
    """

    def local_costs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return alignment_costs(x, y, gamma)

    return soft_dtw(x, y, gamma=1.0, metric=local_costs)


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
    distances = squareform(pdist(frames, "sqeuclidean"))
    pairs, counts = pairs_with_copies(distances, shares)
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
    frames, shares = _some_frames(X, weight)
    costs = cost_matrix(make_costs(frames, frames, metric, np.float64))
    pairs, counts = pairs_with_copies(costs, shares)
    median = positive_median(pairs, counts=counts)
    return 1.0 if median is None else SOFTNESS_SHARE * median


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
