"""Warps as columns of frames: row t has each modality's frame at common time t."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import KDTree

EXPONENTS = np.logspace(-0.4, 0.4, 3)  # of the powers among the monotone bases
UNIFORM = 1  # the basis with exponent 1
SHIFTS = (-1.0, 0.0, 1.0)  # of tanh(0.6 (x - shift)) on [-3, 3]
SLOPE = 0.6
REACH = 3.0


def uniform_warp(lengths: Sequence[int], n_steps: int | None = None) -> np.ndarray:
    """Spread the frames of each modality evenly over a common time.

    Parameters
    ----------
    lengths : sequence of int
        Frames of each modality, at least 1.
    n_steps : int or None, default=None
        Length of the common time; None takes the longest modality.

    Returns
    -------
    ndarray of int64 of shape (n_steps, n_modalities)
        The warp, from the first frame of each modality to its last.
    """
    n_steps = max(lengths) if n_steps is None else n_steps
    columns = [np.linspace(0, length - 1, n_steps) for length in lengths]
    return np.rint(np.column_stack(columns)).astype(np.int64)


def warped(sequence: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Read a sequence at the frames of a warp.

    Parameters
    ----------
    sequence : ndarray of shape (n_frames, n_features)
        What to read.
    column : ndarray of shape (n_steps,)
        Where: frames from 0; those that are no integers are interpolated linearly.

    Returns
    -------
    ndarray of shape (n_steps, n_features)
        The frames at the common times.
    """
    if column.dtype.kind == "i":
        return sequence[column]
    before = np.clip(column.astype(np.int64), 0, max(len(sequence) - 2, 0))
    after = np.minimum(before + 1, len(sequence) - 1)
    share = (column - before)[:, None]
    return (1 - share) * sequence[before] + share * sequence[after]


def warp_error(warp: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance, in frames, between the rows of two warps.

    Parameters
    ----------
    warp, truth : ndarray of shape (n_steps, n_modalities)
        Warps of one sample; their lengths may differ.

    Returns
    -------
    float
        From each row of either to the nearest row of the other, Euclidean, averaged
        over the rows of both. It is symmetric, and 0 for warps with the same rows.

    References
    ----------
    F. Zhou & F. De la Torre (2016). Generalized canonical time warping. IEEE TPAMI
    38(2), 279-294.
    """
    there = KDTree(truth).query(warp)[0]
    back = KDTree(warp).query(truth)[0]
    return float((there.sum() + back.sum()) / (len(warp) + len(truth)))


def monotone_bases(n_steps: int, length: int) -> np.ndarray:
    """Functions of the common time that rise from the first frame to the last.

    Parameters
    ----------
    n_steps : int
        Length of the common time, at least 2.
    length : int
        Frames of the modality.

    Returns
    -------
    ndarray of float64 of shape (n_steps, 6)
        Three powers, the middle one uniform time, and three sigmoids. A weighted mean
        of the columns is a warp that is monotone and has both ends.

    References
    ----------
    F. Zhou & F. De la Torre (2012). Generalized time warping for multi-modal alignment
    of human motion. CVPR.
    """
    time = np.linspace(0, 1, n_steps)[:, None]
    powers = time**EXPONENTS
    sigmoids = np.tanh(SLOPE * (REACH * (2 * time - 1) - np.array(SHIFTS)))
    sigmoids = (sigmoids - sigmoids[0]) / (sigmoids[-1] - sigmoids[0])
    return (length - 1) * np.hstack([powers, sigmoids])
