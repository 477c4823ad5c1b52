"""Warps of the frames of modalities to a common time.

A warp is a matrix with a row for each step of the common time and a column for each
modality: the number of its frame at that step.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import KDTree


def uniform_warp(lengths: Sequence[int], n_steps: int | None = None) -> np.ndarray:
    """Return the warp that spreads the frames of each modality evenly.

    Parameters
    ----------
    lengths : sequence of int
        Number of frames of each modality, at least 1.
    n_steps : int or None, default=None
        Length of the common time; None is that of the longest modality.

    Returns
    -------
    ndarray of int64 of shape (n_steps, n_modalities)
        The warp, from the first frame of each modality to its last.
    """
    n_steps = max(lengths) if n_steps is None else n_steps
    columns = [np.linspace(0, length - 1, n_steps) for length in lengths]
    return np.rint(np.column_stack(columns)).astype(np.int64)


def warp_error(warp: np.ndarray, truth: np.ndarray) -> float:
    """Compute the mean distance, in frames, between the rows of two warps.

    It is ``(sum_i min_j |a_i - b_j| + sum_j min_i |b_j - a_i|) / (n_a + n_b)`` for rows
    a and b, the alignment error of Zhou and De la Torre.

    Parameters
    ----------
    warp, truth : ndarray of shape (n_steps, n_modalities)
        Warps of one sample; their lengths may differ.

    Returns
    -------
    float
        The mean Euclidean distance. It is symmetric, and 0 for warps with the same
        rows.

    References
    ----------
    F. Zhou & F. De la Torre (2016). Generalized canonical time warping. IEEE TPAMI
    38(2), 279-294.
    """
    # k-d trees, since the matrix of distances would grow with the square of the length
    to_truth = KDTree(truth).query(warp)[0]
    to_warp = KDTree(warp).query(truth)[0]
    return float((to_truth.sum() + to_warp.sum()) / (len(warp) + len(truth)))
