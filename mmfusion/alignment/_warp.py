"""Warping of one sample: its sequences, brought to one time axis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mmfusion.alignment.dtw._barycenter import dtw_barycenter
from mmfusion.alignment.dtw._costs import cost_matrix, make_costs
from mmfusion.alignment.dtw._path import Constraints, one_blas_thread, solve
from mmfusion.alignment.dtw._soft import soft_dtw_alignment


@dataclass(frozen=True)
class Plan:
    """How sequences are aligned.

    Parameters
    ----------
    reference : str
        Name of the modality whose frames are the time axis, 'longest' or
        'barycenter'.
    metric : str or callable
        Local cost of two frames, as `dtw_path` takes it.
    constraints : Constraints
        Which paths are allowed; none for ``gamma > 0``.
    gamma : float
        Softness; 0 takes the best path alone.
    """

    reference: str
    metric: str | Callable[..., Any]
    constraints: Constraints
    gamma: float


class Alignment(NamedTuple):
    """How a sequence lies on a time axis.

    Parameters
    ----------
    path : ndarray of int64 of shape (length, 2)
        Frames of the axis and of the sequence that go together.
    cost : float
        The normalised cost.
    weights : ndarray of shape (n_axis_frames, n_frames) or None
        Share of each frame of the sequence in each of the axis; None tells that the
        path has it all.
    """

    path: np.ndarray
    cost: float
    weights: np.ndarray | None


def align_sample(
    sequences: Mapping[str, np.ndarray], plan: Plan, sample: int
) -> dict[str, Alignment]:
    """Align the sequences of a sample to one time axis.

    Parameters
    ----------
    sequences : mapping of str to ndarray of shape (n_frames, n_features)
        What costs are measured between, by modality, of those that the sample has.
    plan : Plan
        How. Where the sample lacks the reference, its longest sequence is the axis,
        and where it has but one sequence, that one.
    sample : int
        Its position, for errors.

    Returns
    -------
    dict of str to Alignment
        By modality. The reference lies on itself, at no cost.

    Raises
    ------
    ValueError
        If the constraints leave no path; tells the modality and the sample.
    """
    reference, axis = _axis(sequences, plan)
    found = {}
    for name, sequence in sequences.items():
        if name == reference:
            frames = np.arange(len(sequence))
            found[name] = Alignment(np.column_stack([frames, frames]), 0.0, None)
            continue
        try:
            found[name] = _align(axis, sequence, plan)
        except ValueError as error:
            raise ValueError(
                f"modality {name!r}: the sequence of sample {sample} cannot be aligned "
                f"with {reference or 'the barycentre'!r}: {error}"
            ) from error
    return found


def _axis(
    sequences: Mapping[str, np.ndarray], plan: Plan
) -> tuple[str | None, np.ndarray]:
    """Frames of the common axis, and the modality that they are, if any."""
    if plan.reference == "barycenter" and len(sequences) > 1:
        # drawn only to start from, and only among more than 50 modalities
        found = dtw_barycenter([*sequences.values()], gamma=plan.gamma, random_state=0)
        return None, found.sequence
    name = plan.reference
    if name not in sequences:
        name = max(sequences, key=lambda name: len(sequences[name]))
    return name, sequences[name]


def _align(axis: np.ndarray, sequence: np.ndarray, plan: Plan) -> Alignment:
    if not plan.gamma:
        found = solve(axis, sequence, plan.metric, plan.constraints, wants_path=True)
        return Alignment(found.path, found.normalized_cost, None)
    with one_blas_thread():
        costs = cost_matrix(make_costs(axis, sequence, plan.metric))
    best = solve(costs, None, "precomputed", plan.constraints, wants_path=True)
    _, expected = soft_dtw_alignment(costs, gamma=plan.gamma, metric="precomputed")
    visited = expected > 0  # where a callable metric forbids, costs are infinite
    cost = float(expected[visited] @ costs[visited] / expected.sum())
    return Alignment(best.path, cost, expected / expected.sum(axis=1, keepdims=True))


def warp(sequence: np.ndarray, alignment: Alignment) -> np.ndarray:
    """Bring a sequence to the time axis that it is aligned with.

    Parameters
    ----------
    sequence : ndarray of shape (n_frames, n_features)
        The sequence.
    alignment : Alignment
        How it lies on the axis.

    Returns
    -------
    ndarray of shape (n_axis_frames, n_features)
        Means of the frames that are aligned with each frame of the axis, of the dtype
        of the sequence.
    """
    if alignment.weights is None:
        n_frames = int(alignment.path[-1, 0]) + 1
        return mean_of_aligned(sequence, alignment.path, n_frames)
    return (alignment.weights @ sequence).astype(sequence.dtype, copy=False)


def mean_of_aligned(
    sequence: np.ndarray, path: np.ndarray, n_frames: int
) -> np.ndarray:
    """Average, for each frame of an axis, the frames that a path aligns with it.

    Parameters
    ----------
    sequence : ndarray of shape (n_own_frames, n_features)
        The sequence.
    path : ndarray of int of shape (length, 2)
        Frames of the axis and of the sequence. Neither goes back.
    n_frames : int
        Frames of the axis. The path has the first and the last.

    Returns
    -------
    ndarray of shape (n_frames, n_features)
        The means, of the dtype of the sequence. Frames of the axis that the path leaps
        over, as some step patterns let it, are interpolated linearly.
    """
    begins = np.flatnonzero(np.diff(path[:, 0], prepend=-1))
    at, counts = path[begins, 0], np.diff(begins, append=len(path))
    sums = np.add.reduceat(sequence[path[:, 1]], begins)
    means = sums / counts[:, None].astype(sequence.dtype)
    if len(at) == n_frames:
        return means
    filled = [np.interp(np.arange(n_frames), at, feature) for feature in means.T]
    return np.column_stack(filled).astype(sequence.dtype, copy=False)
