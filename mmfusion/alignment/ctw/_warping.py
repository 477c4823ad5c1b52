"""The temporal step of canonical time warping: warps of frames to a common time.

A warp is a matrix with a row for each step of the common time and a column for each
modality: the number of its frame at that step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from mmfusion.alignment.ctw._projections import Projections, project, warped
from mmfusion.alignment.dtw._path import dtw_path


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


def realign(
    projected: Sequence[np.ndarray],
    warp: np.ndarray,
    constraints: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Align the projected frames of one sample.

    Parameters
    ----------
    projected : sequence of ndarray of shape (n_frames, n_directions)
        One projected sequence per modality.
    warp : ndarray of shape (n_steps, n_modalities)
        The current warp. More than two modalities are each aligned with the mean of all
        under it; two are aligned with each other, whatever the warp.
    constraints : mapping or None, default=None
        Options of `dtw_path` that constrain the path, such as ``{"window":
        "sakoe_chiba", "radius": 0.1}``.

    Returns
    -------
    ndarray of int64 of shape (n_steps, n_modalities)
        The new warp. For two modalities it is a path of DTW, of its own length; for
        more it has the length of `warp`, and may skip single frames of a modality.

    Raises
    ------
    ValueError
        If no path is within the constraints or, for more than two modalities, one has
        twice as many frames as the warp has steps.
    """
    constraints = constraints or {}
    if len(projected) == 2:
        return dtw_path(*projected, **constraints).path
    mean = np.mean([warped(z, warp[:, v]) for v, z in enumerate(projected)], axis=0)
    # asymmetric steps visit every frame of the mean once: columns have one length
    constraints = {"step_pattern": "asymmetric", **constraints}
    columns = [dtw_path(mean, z, **constraints).path[:, 1] for z in projected]
    return np.column_stack(columns)


@dataclass(frozen=True)
class PathStep:
    """The temporal step by dynamic time warping.

    Parameters
    ----------
    constraints : mapping or None
        Options of `dtw_path` that constrain the path.
    initial : sequence of ndarray of int of shape (n_steps, n_modalities) or None
        The initial warp of each sample; None is uniform warps.
    """

    constraints: Mapping[str, Any] | None = None
    initial: Sequence[np.ndarray] | None = None

    def start(self, lengths: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """Return the initial warps.

        Parameters
        ----------
        lengths : sequence of sequences of int
            Per sample, the number of frames of each modality.

        Returns
        -------
        list of ndarray of int64 of shape (n_steps, n_modalities)
            The warp of each sample.
        """
        if self.initial is not None:
            return list(self.initial)
        return [uniform_warp(own) for own in lengths]

    def improve(
        self, projected: Sequence[Sequence[np.ndarray]], warps: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Align each sample by `realign`.

        Parameters
        ----------
        projected : sequence of sequences of ndarray of shape (n_frames, n_directions)
            Per sample, one projected sequence per modality.
        warps : sequence of ndarray of int of shape (n_steps, n_modalities)
            The current warp of each sample.

        Returns
        -------
        list of ndarray of int64 of shape (n_steps, n_modalities)
            The new warps.
        """
        return [
            realign(sample, warp, self.constraints)
            for sample, warp in zip(projected, warps, strict=True)
        ]


def align(
    sample: Sequence[np.ndarray],
    projections: Projections,
    constraints: Mapping[str, Any] | None = None,
    *,
    max_iter: int = 20,
    tol: float = 0.01,
) -> np.ndarray:
    """Align a sample under given projections.

    Parameters
    ----------
    sample : sequence of ndarray of shape (n_frames, n_features)
        One sequence per modality.
    projections : Projections
        The projections of their frames to a common space.
    constraints : mapping or None, default=None
        Options of `dtw_path` that constrain the path.
    max_iter : int, default=20
        Maximum number of alignments with the mean, of more than two modalities.
    tol : float, default=0.01
        Tolerance, in frames: iterations stop when the warp moves by no more (see
        `warp_error`).

    Returns
    -------
    ndarray of int64 of shape (n_steps, n_modalities)
        The warp. Of more than two modalities it has the length of the longest.
    """
    return align_projected(project(sample, projections), constraints, max_iter, tol)


def align_projected(
    projected: Sequence[np.ndarray],
    constraints: Mapping[str, Any] | None = None,
    max_iter: int = 20,
    tol: float = 0.01,
) -> np.ndarray:
    """Align a sample whose frames are projected.

    Parameters
    ----------
    projected : sequence of ndarray of shape (n_frames, n_directions)
        One projected sequence per modality.
    constraints, max_iter, tol
        Parameters of `align`.

    Returns
    -------
    ndarray of int64 of shape (n_steps, n_modalities)
        The warp.
    """
    warp = uniform_warp([len(x) for x in projected])
    if len(projected) == 2:
        return realign(projected, warp, constraints)
    for _ in range(max_iter):
        before, warp = warp, realign(projected, warp, constraints)
        if warp_error(warp, before) <= tol:
            break
    return warp


def raw_warps(
    samples: Sequence[Sequence[np.ndarray]],
    constraints: Mapping[str, Any] | None = None,
) -> list[np.ndarray]:
    """Align samples by their features without projections, as initial warps.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality, none missing.
    constraints : mapping or None, default=None
        Options of `dtw_path` that constrain the path.

    Returns
    -------
    list of ndarray of int64 of shape (n_steps, n_modalities)
        The warp of each sample.

    Raises
    ------
    ValueError
        If modalities have different numbers of features.
    """
    widths = [x.shape[1] for x in samples[0]]
    if len(set(widths)) > 1:
        raise ValueError(
            f"warp='dtw' begins with the features as they are, of which modalities "
            f"have {widths}; take another warp"
        )
    identity = Projections(
        [np.zeros(width) for width in widths],
        [np.eye(width) for width in widths],
        np.ones(widths[0]),
    )
    return [align(sample, identity, constraints) for sample in samples]
