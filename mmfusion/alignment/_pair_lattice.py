"""Lattice of a pair hidden Markov model: sums over paths, posteriors, likeliest path.

A path consumes the frames of two sequences. In state M they are matched: a step
consumes a frame of both, or repeats the last frame of one of them; X and Y consume
frames of the first or the second sequence that have no counterpart. With i and j frames
consumed,

    before_s(i, j) = sum_r a_rs f_r(i, j),
    f_M(i, j) = e_M(i, j) (b_0 before_M(i-1, j-1) + b_1 before_M(i-1, j)
                           + b_2 before_M(i, j-1)),
    f_X(i, j) = e_X(i) before_X(i-1, j),     f_Y(i, j) = e_Y(j) before_Y(i, j-1).

Soft-DTW is b = (1, 1, 1) without X and Y; the textbook pair HMM is b = (1, 0, 0).
"""

from __future__ import annotations

from math import ceil, log, sqrt
from typing import NamedTuple

import numpy as np

from mmfusion._memory import check_fits
from mmfusion.alignment._pair_kernels import (
    DiagonalSums,
    LatticeModel,
    SplitWeights,
    sum_from_end,
    sum_from_start,
)
from mmfusion.alignment.dtw._path_sums import (
    FORBIDDEN_EXPONENT,
    LOG2,
    OUTSIDE_EXPONENT,
    Diagonals,
    diagonals_of,
)
from mmfusion.alignment.dtw._windows import Window


class PairHMM(NamedTuple):
    """Weights of a pair hidden Markov model.

    Parameters
    ----------
    start : ndarray of shape (3,)
        Weights of the first state, in the order match, X, Y.
    transitions : ndarray of shape (3, 3)
        Weight of the step from a state (row) to the next (column).
    steps : ndarray of shape (3,)
        Weights of steps to a match: of a frame of both sequences, and of one of the
        first or the second alone, with the last frame of the other once more.
    """

    start: np.ndarray
    transitions: np.ndarray
    steps: np.ndarray


# paths of dynamic time warping, all steps of weight 1
WARPING = PairHMM(np.array([1.0, 0, 0]), np.diag([1.0, 0, 0]), np.ones(3))


class PairScores(NamedTuple):
    """Log scores of two sequences.

    Parameters
    ----------
    match : ndarray of float64 of shape (n, m)
        Score of each pair of frames; -inf forbids it.
    gap_x : ndarray of float64 of shape (n,)
        Score of each frame of the first sequence without counterpart.
    gap_y : ndarray of float64 of shape (m,)
        Score of each frame of the second sequence without counterpart.
    window : Window
        Pairs of frames that a path may visit.
    """

    match: np.ndarray
    gap_x: np.ndarray
    gap_y: np.ndarray
    window: Window


class PairPosteriors(NamedTuple):
    """Sums over all paths of two sequences.

    Parameters
    ----------
    log_likelihood : float
        Log of the sum of the weights of all paths; -inf if there is none.
    match : ndarray of float64 of shape (n, m)
        Probability that a path matches a pair of frames.
    transition_counts : ndarray of shape (3, 3)
        Expected numbers of steps from state to state.
    start_counts : ndarray of shape (3,)
        Probability of each first state.
    step_counts : ndarray of shape (3,)
        Expected numbers of the steps to a match, by kind.
    """

    log_likelihood: float
    match: np.ndarray
    transition_counts: np.ndarray
    start_counts: np.ndarray
    step_counts: np.ndarray


def _split_weights(weights: np.ndarray, *, are_logs: bool = False) -> SplitWeights:
    """Write weights as factors near 1 and exponents to the base 2."""
    with np.errstate(divide="ignore"):
        logs = (weights if are_logs else np.log(weights)) / LOG2
    is_zero = logs <= FORBIDDEN_EXPONENT
    shifts = np.rint(np.where(is_zero, 0.0, logs))
    factors = np.where(is_zero, 0.0, np.exp2(np.where(is_zero, 0.0, logs) - shifts))
    return SplitWeights(factors, np.where(is_zero, OUTSIDE_EXPONENT, shifts))


def _lattice_of(hmm: PairHMM, scores: PairScores) -> tuple[LatticeModel, Diagonals]:
    """Bring a model and scores into the form of the kernels."""
    # entries before the first frame are not used
    gap_x = _split_weights(np.append(0.0, scores.gap_x), are_logs=True)
    gap_y = _split_weights(np.append(0.0, scores.gap_y)[::-1], are_logs=True)
    model = LatticeModel(
        _split_weights(hmm.start),
        _split_weights(hmm.transitions),
        _split_weights(np.ascontiguousarray(hmm.transitions.T)),
        _split_weights(hmm.steps),
        gap_x,
        gap_y,
    )
    return model, diagonals_of(lattice_window(scores), scores.match.shape[1] + 1)


def lattice_window(scores: PairScores) -> Window:
    """Return the window of the lattice: pairs of numbers of consumed frames.

    Parameters
    ----------
    scores : PairScores
        Scores of the frames, with their window.

    Returns
    -------
    Window
        The window, with a row and a column before the first frames, which belong to
        any band there.
    """
    n = len(scores.match)
    starts, stops = np.zeros(n + 1, np.int64), np.empty(n + 1, np.int64)
    own = scores.window.starts
    starts[1:] = np.where(own > 0, own + 1, 0)
    stops[1:] = scores.window.stops + 1
    stops[0] = stops[1]
    return Window(starts, stops, scores.window.whole)


def _stride(diagonals: Diagonals) -> int:
    return max(1, ceil(sqrt(len(diagonals.begins))))


def sum_pair_paths(hmm: PairHMM, scores: PairScores) -> float:
    """Compute the log of the summed weights of all paths.

    Parameters
    ----------
    hmm : PairHMM
        The model.
    scores : PairScores
        Scores of the frames.

    Returns
    -------
    float
        The log; -inf if there is no path.
    """
    model, diagonals = _lattice_of(hmm, scores)
    empty = DiagonalSums(np.empty((0, 3, 0)), np.empty((0, 3, 0)))
    stride = _stride(diagonals)
    return _log_of_sum_of_paths(
        *sum_from_start(scores.match, model, diagonals, empty, stride)
    )


def pair_posteriors(hmm: PairHMM, scores: PairScores) -> PairPosteriors:
    """Compute posterior probabilities of pairs of frames, and expected counts.

    Parameters
    ----------
    hmm : PairHMM
        The model.
    scores : PairScores
        Scores of the frames.

    Returns
    -------
    PairPosteriors
        All is 0 if there is no path.

    Raises
    ------
    MemoryError
        If the posteriors would not fit into memory.
    """
    n, m = scores.match.shape
    check_fits(
        n * m * np.dtype(np.float64).itemsize,
        f"posteriors of {n} and {m} frames",
        "shorten the sequences",
    )
    model, diagonals = _lattice_of(hmm, scores)
    stride = _stride(diagonals)
    n_checkpoints = 2 * ((len(diagonals.begins) - 1) // stride + 1)
    shape = n_checkpoints, 3, n + 3
    checkpoints = DiagonalSums(np.empty(shape), np.empty(shape))
    total, top = sum_from_start(scores.match, model, diagonals, checkpoints, stride)
    match = np.zeros((n, m))
    log_likelihood = _log_of_sum_of_paths(total, top)
    if log_likelihood == -np.inf:
        return PairPosteriors(
            log_likelihood, match, np.zeros((3, 3)), np.zeros(3), np.zeros(3)
        )
    counts, steps, starts = sum_from_end(
        scores.match, model, diagonals, checkpoints, stride, total, top, match
    )
    return PairPosteriors(log_likelihood, match, counts, starts, steps)


def _log_of_sum_of_paths(total: float, top: float) -> float:
    if top <= FORBIDDEN_EXPONENT or total <= 0:
        return -np.inf
    return LOG2 * (top + log(total) / LOG2)
