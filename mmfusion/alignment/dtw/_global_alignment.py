"""The global alignment kernel: similarity over all alignments of two sequences."""

from __future__ import annotations

import numpy as np
from joblib import Parallel, delayed
from scipy.spatial.distance import cdist, pdist

from mmfusion._memory import check_fits
from mmfusion.alignment.dtw._path import one_blas_thread
from mmfusion.alignment.dtw._soft import soft_dtw

BYTES_PER_PAIR = 56  # of numbers in a list, and of the matrices made of them
MEDIAN_FRAMES = 1000  # from which the median distance of two is told


def self_alignments(X: list[np.ndarray], gamma: float) -> np.ndarray:
    """Tell the logarithm of the kernel of each sequence with itself, negated.

    Parameters
    ----------
    X : list of ndarray of shape (n_i, d)
        Sequences.
    gamma : float
        Of the Gaussian kernel of two frames, ``k = exp(-gamma * |x - y|^2)``.

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
    """Compute the global alignment kernel, 1 for a sequence with itself.

    Of all alignments, each counts with the product of ``k / (2 - k)`` over its pairs
    of frames. That is soft-DTW at gamma=1 of the local costs ``-log(k / (2 - k))``.

    Parameters
    ----------
    X : list of ndarray of shape (n_i, d)
        Sequences.
    Y : list of ndarray of shape (m_j, d) or None
        Others; None compares those of `X` with each other.
    gamma : float
        Of the Gaussian kernel of two frames.
    own : pair of ndarray
        What `self_alignments` tells of `X` and of `Y`.
    n_jobs : int or None
        Threads.

    Returns
    -------
    ndarray of float64 of shape (len(X), len(Y))
        Values in [0, 1].
    """
    right = X if Y is None else Y
    check_fits(
        len(X) * len(right) * BYTES_PER_PAIR,
        f"the global alignment kernel of {len(X)} x {len(right)} sequences",
        "compare fewer samples at a time",
    )

    def row(i: int) -> list[float]:
        others = right[:i] if Y is None else right
        return [_negative_log(X[i], y, gamma) for y in others]

    with one_blas_thread():
        rows = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(row)(i) for i in range(len(X))
        )
    logs = np.zeros((len(X), len(right)))
    for i, found in enumerate(rows):
        logs[i, : len(found)] = found
    if Y is None:
        logs += logs.T + np.diag(own[0])
    # rounding could pass what Cauchy and Schwarz allow
    return np.exp(np.minimum((own[0][:, None] + own[1]) / 2 - logs, 0))


def _negative_log(x: np.ndarray, y: np.ndarray, gamma: float) -> float:
    def local_costs(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        power = gamma * cdist(x, y, "sqeuclidean")
        return power + np.log1p(-np.expm1(-power))

    return soft_dtw(x, y, gamma=1.0, metric=local_costs)


def median_gamma(X: list[np.ndarray]) -> float:
    """Choose gamma by Cuturi's rule.

    Parameters
    ----------
    X : list of ndarray of shape (n_i, d)
        Sequences.

    Returns
    -------
    float
        ``1 / (2 s^2)`` for s the median distance of two frames, of at most 1,000 evenly
        spaced ones, times the root of the median number of frames; 1 if all are equal.
    """
    frames = np.concatenate(X)
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), MEDIAN_FRAMES))
    distances = pdist(frames[chosen.round().astype(int)], "sqeuclidean")
    spread = typical(distances)
    return 1.0 if spread is None else 1 / (2 * spread * np.median([len(x) for x in X]))


def typical(distances: np.ndarray, rounding: float = 0.0) -> float | None:
    """Return the median, or where that is 0 the median of what is not.

    Parameters
    ----------
    distances : ndarray of shape (n,)
        Distances, at least 0.
    rounding : float, default=0.0
        What counts as 0.

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
