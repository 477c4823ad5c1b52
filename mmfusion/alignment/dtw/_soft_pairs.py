"""Soft-DTW and the global alignment kernel of many pairs, in compiled loops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from mmfusion._compilation import jit
from mmfusion._threads import one_thread
from mmfusion.alignment.dtw._costs import are_moderate
from mmfusion.alignment.dtw._panels import frame_offsets
from mmfusion.alignment.dtw._path_sums import (
    FORBIDDEN_EXPONENT,
    LOG2,
    accumulate_diagonal,
    empty_diagonals,
    split_factors,
    whole_power_of_two,
)
from mmfusion.alignment.dtw._soft import SoftOptions

PAIRS_PER_BATCH = 1024


@jit
def _fill_distances(x, y, begin, size, offset, costs):
    """Compute squared distances of frames along a diagonal.

    Parameters
    ----------
    x : ndarray of shape (d, n)
        Frames, a column each.
    y : ndarray of shape (d, m)
        Other frames in reversed order, so that both follow the diagonal.
    begin, offset : int
        The first columns of the diagonal in `x` and in `y`.
    size : int
        Number of cells.
    costs : ndarray of shape (n,)
        Array to which they are written.
    """
    for i in range(size):
        costs[i] = 0.0
    for f in range(len(x)):
        left, right = x[f, begin:], y[f, offset:]
        for i in range(size):
            costs[i] += (left[i] - right[i]) ** 2


@jit
def _divide_by_complement(factors, shifts, size):
    """Replace the factors of k by those of k / (2 - k)."""
    for i in range(size):
        kernel = factors[i] * whole_power_of_two(shifts[i])
        factors[i] = factors[i] / (2.0 - kernel)


@jit
def _log_of_sum(x, y, scale, is_alignment):
    """Compute the logarithm to the base 2 of the sum over all paths of a pair.

    Parameters
    ----------
    x : ndarray of shape (d, n)
        Frames, a column each.
    y : ndarray of shape (d, m)
        Other frames in reversed order.
    scale : float
        Factor that turns a squared distance into a logarithm to the base 2.
    is_alignment : bool
        Whether cells have k / (2 - k) for the Gaussian kernel k, in place of k.

    Returns
    -------
    float
        The logarithm; NaN if the sum is nearly 0.
    """
    n, m = x.shape[1], y.shape[1]
    costs = np.empty(n)
    rings, work = empty_diagonals(n, 0)
    for k in range(n + m - 1):
        begin = max(0, k - m + 1)
        size = min(k + 1, n) - begin
        _fill_distances(x, y, begin, size, m - 1 - k + begin, costs)
        split_factors(costs, scale, size, work.factors, work.shifts)
        if is_alignment:
            _divide_by_complement(work.factors, work.shifts, size)
        accumulate_diagonal(begin, size, 0, k, rings, work)
    last = (n + m - 2) % 3
    exponent = rings.exponents[last, n]
    if exponent <= FORBIDDEN_EXPONENT:
        return np.nan
    return exponent + np.log2(rings.mantissas[last, n])


@jit
def _sum_pairs(x, x_begins, y, y_begins, pairs, scale, is_alignment, out):
    """Sum over the paths of pairs of sequences.

    Parameters
    ----------
    x : ndarray of shape (d, n_frames)
        Concatenated sequences, a frame per column.
    x_begins : ndarray of int of shape (n_sequences + 1,)
        The first frame of each, and the number of all.
    y : ndarray of shape (d, m_frames)
        Concatenated other sequences, in reversed order.
    y_begins : ndarray of int of shape (m_sequences + 1,)
        The first frame of each in `y`, after that of the next.
    pairs : ndarray of int of shape (n_pairs, 2)
        Positions of the sequences of a pair.
    scale, is_alignment : float, bool
        Arguments of `_log_of_sum`.
    out : ndarray of shape (n_pairs,)
        Array to which the logarithms are written.
    """
    for p in range(len(pairs)):
        i, j = pairs[p, 0], pairs[p, 1]
        left = x[:, x_begins[i] : x_begins[i + 1]]
        right = y[:, y_begins[j + 1] : y_begins[j]]
        out[p] = _log_of_sum(left, right, scale, is_alignment)


def _logs_of_pairs(
    X: list[np.ndarray],
    Y: list[np.ndarray],
    pairs: np.ndarray,
    scale: float,
    is_alignment: bool,
    n_jobs: int | None,
) -> np.ndarray:
    """Compute logarithms to the base 2 of sums over paths; NaN where they overflow."""
    x = np.ascontiguousarray(np.concatenate(X).T, dtype=np.float64)
    y = np.ascontiguousarray(np.concatenate(Y)[::-1].T, dtype=np.float64)
    begins = [frame_offsets(np.array(list(map(len, side)))) for side in (X, Y)]
    begins[1] = y.shape[1] - begins[1]

    def logs_of(some: np.ndarray) -> np.ndarray:
        out = np.empty(len(some))
        _sum_pairs(x, begins[0], y, begins[1], some, scale, is_alignment, out)
        return out

    n_tasks = max(effective_n_jobs(n_jobs), len(pairs) // PAIRS_PER_BATCH)
    with one_thread():
        parts = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(logs_of)(some) for some in np.array_split(pairs, n_tasks)
        )
    return np.concatenate(parts)


def alignment_values(
    X: list[np.ndarray],
    Y: list[np.ndarray],
    pairs: np.ndarray,
    gamma: float,
    n_jobs: int | None,
) -> np.ndarray:
    """Compute minus the logarithm of the global alignment kernel of pairs.

    Parameters
    ----------
    X, Y : list of ndarray of shape (n_frames, d)
        Sequences, of moderate values.
    pairs : ndarray of int of shape (n_pairs, 2)
        Positions in `X` and in `Y`.
    gamma : float
        Inverse width of the Gaussian kernel of two frames.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    ndarray of float64 of shape (n_pairs,)
        The values, not normalised.

    Raises
    ------
    ValueError
        If a value overflows.
    """
    logs = _logs_of_pairs(X, Y, pairs, -gamma / LOG2, True, n_jobs)
    if not np.isfinite(logs).all():
        raise ValueError(
            f"the global alignment kernel underflows for gamma={gamma:.3g}; set a "
            "smaller gamma"
        )
    return -LOG2 * logs


def soft_values(
    X: list[np.ndarray],
    Y: list[np.ndarray],
    pairs: np.ndarray,
    options: SoftOptions,
    value: Callable[[int, int], float],
    n_jobs: int | None,
) -> np.ndarray:
    """Compute soft-DTW of pairs.

    Parameters
    ----------
    X, Y : list of ndarray of shape (n_frames, d)
        Sequences.
    pairs : ndarray of int of shape (n_pairs, 2)
        Positions in `X` and in `Y`.
    options : SoftOptions
        Its options.
    value : callable
        Function of two positions that returns the value of a pair, or refuses it.
        Squared distances without a window need it for values that overflow only.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    ndarray of float64 of shape (n_pairs,)
        The values.
    """
    values = np.full(len(pairs), np.nan)
    is_named = isinstance(options.metric, str) and options.metric == "sqeuclidean"
    is_plain = is_named and options.form == "soft" and options.window is None
    has_one_width = len({x.shape[1] for x in (*X, *Y)}) == 1
    if is_plain and has_one_width and are_moderate([*X, *Y]):
        logs = _logs_of_pairs(X, Y, pairs, options.scale, False, n_jobs)
        values = -options.gamma * LOG2 * logs
    remaining = np.flatnonzero(~np.isfinite(values))
    if remaining.size:
        with one_thread():
            values[remaining] = Parallel(n_jobs=n_jobs, prefer="threads")(
                delayed(value)(i, j) for i, j in pairs[remaining].tolist()
            )
    return values
