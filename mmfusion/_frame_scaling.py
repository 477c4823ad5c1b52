"""Scaling of sequences: per feature, over the frames of all samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmfusion._blocks import Block, is_sequences
from mmfusion._scaling import Scaling, fit_scaling
from mmfusion._sequences import cut_frames

FRAMES = "the lengths of the sequences"


def fit_frame_scaling(
    block: np.ndarray, scaling: str | None, sample_weight: np.ndarray | None = None
) -> Scaling:
    """Fit the scaling of sequences, whose frames count as the rows of a table.

    Parameters
    ----------
    block : ndarray of object of shape (n_samples,)
        Float arrays of shape (n_frames, n_features); NaN is left out.
    scaling : {'block', 'standard', 'l2'} or None
        Name of the scaling, as in `fit_scaling`.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples; each frame has the weight of its sample.

    Returns
    -------
    Scaling
        The fitted scaling of frames.
    """
    weight = None
    if sample_weight is not None:
        weight = np.repeat(sample_weight, [len(sequence) for sequence in block])
    return fit_scaling_with_gaps(np.concatenate(list(block)), scaling, weight)


def fit_scaling_with_gaps(
    frames: np.ndarray, scaling: str | None, weight: np.ndarray | None = None
) -> Scaling:
    """Fit a scaling to frames that may hold NaN, which is left out.

    Parameters
    ----------
    frames : ndarray of shape (n_frames, n_features)
        The frames.
    scaling : {'block', 'standard', 'l2'} or None
        Name of the scaling, as in `fit_scaling`.
    weight : ndarray of shape (n_frames,), default=None
        Weights of the frames.

    Returns
    -------
    Scaling
        The fitted scaling.
    """
    gaps = np.isnan(frames)
    if scaling in ("l2", None) or not gaps.any():
        return fit_scaling(frames, scaling, weight)
    by_feature = [
        _fit_feature(frames[:, [j]], ~gaps[:, j], weight)
        for j in range(frames.shape[1])
    ]
    center: Any = np.concatenate([fitted.center for fitted in by_feature])
    spread: Any = np.concatenate([fitted.spread for fitted in by_feature])
    n_varying = max(1, int(np.isfinite(spread).sum()))
    factor = 1 / np.sqrt(n_varying) if scaling == "block" else 1.0
    return Scaling(scaling, center, spread, float(factor))


def _fit_feature(
    column: np.ndarray, observed: np.ndarray, weight: np.ndarray | None
) -> Scaling:
    """Fit the standard scaling of one feature to the frames that have it."""
    if weight is not None:
        observed = observed & (weight > 0)
    if not observed.any():  # as a constant feature: nothing is known of its spread
        return Scaling("standard", np.zeros(1), np.full(1, np.inf))
    own = None if weight is None else weight[observed]
    return fit_scaling(column[observed], "standard", own)


def scale_frames(scaling: Scaling, block: np.ndarray) -> np.ndarray:
    """Scale sequences by a scaling of frames.

    Parameters
    ----------
    scaling : Scaling
        Fitted scaling of frames.
    block : ndarray of object of shape (n_samples,)
        Float arrays of shape (n_frames, n_features); they are not changed.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        The scaled sequences; NaN stays NaN.
    """
    frames = np.concatenate(list(block))
    gaps = np.isnan(frames)
    has_gaps = bool(gaps.any())
    scaled = scaling.apply(np.where(gaps, 0, frames) if has_gaps else frames)
    if has_gaps:
        scaled[gaps] = np.nan
    return cut_frames(scaled, np.array([len(sequence) for sequence in block]), FRAMES)


def fit_block_scaling(
    block: Block, scaling: str | None, sample_weight: np.ndarray | None = None
) -> Scaling:
    """Fit the scaling of a table, or of sequences.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features), or sequences
        The block.
    scaling : {'block', 'standard', 'l2'} or None
        Name of the scaling.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights of the samples.

    Returns
    -------
    Scaling
        The fitted scaling, of rows or of frames.
    """
    fit = fit_frame_scaling if is_sequences(block) else fit_scaling
    return fit(block, scaling, sample_weight)


def scale_block(scaling: Scaling, block: Block) -> Any:
    """Scale a table, or sequences.

    Parameters
    ----------
    scaling : Scaling
        The scaling of `fit_block_scaling`.
    block : ndarray or CSR matrix of shape (n_samples, n_features), or sequences
        The block.

    Returns
    -------
    ndarray or CSR matrix
        The scaled block, of the same kind.
    """
    return scale_frames(scaling, block) if is_sequences(block) else scaling.apply(block)
