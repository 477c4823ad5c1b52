"""Initial states of frames, from which emissions are estimated before any E-step."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin

from mmfusion.graphical._clock import Frames, ModalityFrames
from mmfusion.graphical._gaussian import pooled_moments
from mmfusion.graphical._mixture_emission import MixtureEmission
from mmfusion.graphical._multimodal_emission import Columns, MultimodalEmission

HARMLESS_STATES = 1024  # which memory holds, however few frames there are
CLUSTERED_STEPS = 10_000  # largest number of steps on which k-means is fitted


def refuse_too_many_states(
    name: str, n_states: int, n_frames: int, n_samples: int
) -> None:
    """Raise an error for more states than there are frames, beyond a thousand.

    Parameters
    ----------
    name : str
        Parameter that holds the number.
    n_states : int
        Number of states.
    n_frames : int
        Number of frames of all samples together.
    n_samples : int
        Number of samples.

    Raises
    ------
    ValueError
        If there are too many.
    """
    if n_states > max(n_frames, HARMLESS_STATES):
        raise ValueError(
            f"{name}={n_states} gives more states than there are frames: the "
            f"{n_samples} samples have {n_frames} together; lower {name}"
        )


def equal_segments(offsets: np.ndarray, n_states: int) -> np.ndarray:
    """Cut each sequence into as many equal segments as there are states.

    Parameters
    ----------
    offsets : ndarray of int of shape (n_sequences + 1,)
        Borders of the sequences.
    n_states : int
        Number of states.

    Returns
    -------
    ndarray of int32 of shape (n_steps,)
        State of each step, ascending within a sequence.
    """
    lengths = np.diff(offsets)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return (within * n_states // np.repeat(lengths, lengths)).astype(np.int32)


def kmeans_states(
    frames: Frames,
    n_states: int,
    random_state: np.random.RandomState,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Cluster the steps of the clock by the k-means of block-scaled modalities.

    Parameters
    ----------
    frames : Frames
        Frames on the clock.
    n_states : int
        Number of clusters.
    random_state : RandomState
        Generator.
    sample_weight : ndarray of shape (n_sequences,), default=None
        Weights of the sequences.

    Returns
    -------
    ndarray of int32 of shape (n_steps,)
        Cluster of each step. What is missing is at the mean.
    """
    scaled = [scaled_steps(own, frames.n_steps) for own in frames.modalities.values()]
    table = scaled[0] if len(scaled) == 1 else np.hstack(scaled)
    weight = np.ones(len(table))
    if sample_weight is not None:
        weight = np.repeat(sample_weight, np.diff(frames.offsets))
    rows = np.flatnonzero(weight > 0)
    if len(rows) > CLUSTERED_STEPS:
        rows = np.sort(random_state.choice(rows, CLUSTERED_STEPS, replace=False))
    distinct = np.unique(table[rows], axis=0)
    if len(distinct) <= n_states:  # k-means would warn of clusters without steps
        return pairwise_distances_argmin(table, distinct).astype(np.int32)
    kmeans = KMeans(n_states, n_init=3, random_state=random_state)
    kmeans.fit(table[rows], sample_weight=weight[rows])
    return kmeans.predict(table).astype(np.int32)


def scaled_steps(own: ModalityFrames, n_steps: int) -> np.ndarray:
    """Average the scaled frames of each step; 0 where there are none."""
    center, scale, _ = pooled_moments(own.values)
    values = own.values - center
    values /= scale * np.sqrt(own.values.shape[1])
    np.nan_to_num(values, copy=False)
    if own.steps is None:
        return values
    counts = np.bincount(own.steps, minlength=n_steps)
    sums = np.zeros((n_steps, values.shape[1]))
    of_rows, starts = np.unique(own.steps, return_index=True)
    if len(starts):
        sums[of_rows] = np.add.reduceat(values, starts, axis=0)
    return sums / np.maximum(counts, 1)[:, None]


def initialize_emission(
    emission: MultimodalEmission,
    frames: Frames,
    states: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
    columns: Columns | None = None,
) -> None:
    """Estimate an emission from given states: one M-step.

    Parameters
    ----------
    emission : MultimodalEmission
        The emission, after `prepare`.
    frames : Frames
        Frames on the clock.
    states : ndarray of int of shape (n_steps,)
        Emission column of each step; -1 leaves a step out.
    sample_weight : ndarray of shape (n_sequences,), default=None
        Weights of the sequences.
    columns : dict of ndarray of int of shape (n_columns,), default=None
        State of each modality in each column.
    """
    # what is an outlier depends on densities that do not exist yet
    plain = MultimodalEmission(emission.emissions, emission.modality_weights)
    statistics = plain.statistics()
    weight = np.ones(len(states))
    if sample_weight is not None:
        weight = np.repeat(sample_weight, np.diff(frames.offsets))
    plain.accumulate_assigned(statistics, frames, states, weight, columns)
    plain.maximize(statistics)
    for own_emission in plain.emissions.values():
        if isinstance(own_emission, MixtureEmission):
            own_emission.split_components()
