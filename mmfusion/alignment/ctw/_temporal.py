"""The temporal step of canonical time warping: projected modalities on one time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmfusion.alignment.ctw._projections import Projections, project
from mmfusion.alignment.ctw._warps import uniform_warp, warp_error, warped
from mmfusion.alignment.dtw._path import dtw_path


def realign(
    sample: Sequence[np.ndarray],
    fitted: Projections,
    warp: np.ndarray,
    constraints: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Align the projected frames of one sample.

    Parameters
    ----------
    sample : sequence of ndarray of shape (n_frames, n_features)
        One sequence per modality.
    fitted : Projections
        What makes their frames comparable.
    warp : ndarray of shape (n_steps, n_modalities)
        The present warp. Of more than two modalities each is aligned with the mean of
        all under it; two are aligned with one another, and need none.
    constraints : mapping or None, default=None
        Options of `dtw_path` that constrain the path, such as ``{"window":
        "sakoe_chiba", "radius": 0.1}``.

    Returns
    -------
    ndarray of int64 of shape (n_steps, n_modalities)
        The new warp. For two modalities a path of DTW, of its own length; for more it
        has the length of `warp`, and may leave out single frames of a modality.

    Raises
    ------
    ValueError
        If no path is within the constraints or, for more than two modalities, one has
        twice as many frames as the warp has steps.
    """
    projected = project(sample, fitted)
    constraints = constraints or {}
    if len(projected) == 2:
        return dtw_path(*projected, **constraints).path
    mean = np.mean([warped(z, warp[:, v]) for v, z in enumerate(projected)], axis=0)
    constraints = {"step_pattern": "asymmetric", **constraints}
    columns = [dtw_path(mean, z, **constraints).path[:, 1] for z in projected]
    return np.column_stack(columns)


def align(
    sample: Sequence[np.ndarray],
    fitted: Projections,
    constraints: Mapping[str, Any] | None = None,
    *,
    max_iter: int = 20,
    tol: float = 0.01,
) -> np.ndarray:
    """Align a sample by projections that are given.

    Parameters
    ----------
    sample : sequence of ndarray of shape (n_frames, n_features)
        One sequence per modality.
    fitted : Projections
        What makes their frames comparable.
    constraints : mapping or None, default=None
        As `realign` takes them.
    max_iter : int, default=20
        Most alignments with the mean, where there are more than two modalities.
    tol : float, default=0.01
        They end when the warp moves by this many frames or fewer.

    Returns
    -------
    ndarray of int64 of shape (n_steps, n_modalities)
        The warp. Of more than two modalities it has the length of the longest.
    """
    warp = uniform_warp([len(x) for x in sample])
    if len(sample) == 2:
        return realign(sample, fitted, warp, constraints)
    for _ in range(max_iter):
        before, warp = warp, realign(sample, fitted, warp, constraints)
        if warp_error(warp, before) <= tol:
            break
    return warp
