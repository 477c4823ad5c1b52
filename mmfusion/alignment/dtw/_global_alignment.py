"""The global alignment kernel: similarity over all alignments of two sequences.

It is ``K(x, y) = sum_paths prod_(i, j) k_ij / (2 - k_ij)`` for the Gaussian kernel
``k_ij = exp(-gamma |x_i - y_j|^2)`` of frames (Cuturi 2011), normalised to
``K(x, y) / sqrt(K(x, x) K(y, y))``. The logarithm of K is minus soft-DTW at gamma = 1
of the local costs ``-log(k / (2 - k))``.
"""

from __future__ import annotations

import numpy as np
from joblib import Parallel, delayed
from scipy.spatial.distance import cdist, pdist

from mmfusion._memory import check_fits
from mmfusion._threads import one_thread
from mmfusion.alignment.dtw._soft import soft_dtw

KERNEL_BYTES_PER_PAIR = 56  # of numbers in lists, and of the matrices made of them
MEDIAN_FRAMES = 1000  # among which the median distance of two frames is computed


def self_alignments(X: list[np.ndarray], gamma: float) -> np.ndarray:
    """Compute minus the logarithm of the kernel of each sequence with itself.

    Parameters
    ----------
    X : list of ndarray of shape (n_i, d)
        Sequences.
    gamma : float
        Inverse width of the Gaussian kernel of two frames.

    Returns
    -------
    ndarray of float64 of shape (len(X),)
        The values.
    """
    return np.array([_negative_log(x, x, gamma) for x in X], np.float64)


def alignment_kernel(
    X: list[np.ndarray],
    Y: list[np.ndarray] | None,
    gamma: float,
    own: tuple[np.ndarray, np.ndarray],
    n_jobs: int | None,
) -> np.ndarray:
    """Compute the normalised global alignment kernel.

    Parameters
    ----------
    X : list of ndarray of shape (n_i, d)
        Sequences.
    Y : list of ndarray of shape (m_j, d) or None
        Other sequences; None compares those of `X` with each other.
    gamma : float
        Inverse width of the Gaussian kernel of two frames.
    own : pair of ndarray
        Results of `self_alignments` for `X` and for `Y`.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    ndarray of float64 of shape (len(X), len(Y))
        Values in [0, 1], 1 for a sequence with itself.
    """
    right = X if Y is None else Y
    check_fits(
        len(X) * len(right) * KERNEL_BYTES_PER_PAIR,
        f"the global alignment kernel of {len(X)} x {len(right)} sequences",
        "compare fewer samples at a time",
    )

    def row(i: int) -> list[float]:
        others = right[:i] if Y is None else right
        return [_negative_log(X[i], y, gamma) for y in others]

    with one_thread():
        rows = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(row)(i) for i in range(len(X))
        )
    logs = np.zeros((len(X), len(right)))
    for i, values in enumerate(rows):
        logs[i, : len(values)] = values
    if Y is None:
        logs += logs.T + np.diag(own[0])
    # rounding may exceed the inequality of Cauchy and Schwarz
    return np.exp(np.minimum((own[0][:, None] + own[1]) / 2 - logs, 0))


def _negative_log(x: np.ndarray, y: np.ndarray, gamma: float) -> float:
    def local_costs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        # -log(k / (2 - k)) = p + log(1 + (1 - exp(-p))) keeps its digits for small p
        power = gamma * cdist(x, y, "sqeuclidean")
        return power + np.log1p(-np.expm1(-power))

    return soft_dtw(x, y, gamma=1.0, metric=local_costs)


def median_gamma(X: list[np.ndarray]) -> float:
    """Choose gamma by the rule of Cuturi (2011).

    Parameters
    ----------
    X : list of ndarray of shape (n_i, d)
        Sequences.

    Returns
    -------
    float
        ``1 / (2 s^2)``, where s is the median distance of two frames, of at most 1,000
        evenly spaced ones, times the root of the median number of frames; 1 if all
        frames are equal.
    """
    frames = np.concatenate(X)
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), MEDIAN_FRAMES))
    distances = pdist(frames[chosen.round().astype(int)], "sqeuclidean")
    squared = positive_median(distances)
    if squared is None:
        return 1.0
    return 1 / (2 * squared * np.median([len(x) for x in X]))


def positive_median(distances: np.ndarray, rounding: float = 0.0) -> float | None:
    """Return the median, or where it is 0 the median of the positive values.

    Parameters
    ----------
    distances : ndarray of shape (n,)
        Distances, at least 0.
    rounding : float, default=0.0
        Largest value that counts as 0.

    Returns
    -------
    float or None
        The median, above 0; None if all are 0.
    """
    positive = distances[distances > rounding]
    if not positive.size:
        return None
    median = float(np.median(distances))
    return median if median > rounding else float(np.median(positive))
