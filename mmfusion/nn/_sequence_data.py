"""Sequences as padded arrays, with the time of every frame and where they end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from mmfusion._blocks import is_sequences
from mmfusion.nn._attention import TimedFrames

# columns after the features of a frame: its time, and 1 for a frame or 0 for padding
N_MARKS = 2


def pack_sequences(
    blocks: Sequence[Any],
    clocks: Mapping[int, int | None],
    widths: Sequence[int],
    names: Sequence[str],
) -> list[Any]:
    """Pad the sequences among the blocks to arrays.

    Parameters
    ----------
    blocks : sequence of block
        Block of each modality; sequences are None where a sample lacks them.
    clocks : mapping of int to int or None
        Positions of the modalities of sequences, and of the features that are their
        clocks. Times are counted from the first one of a sample, so that they keep
        their digits in float32. Without a clock, they are the middles of equal parts
        of the range from 0 to 1.
    widths : sequence of int
        Numbers of features of a frame of each modality, its clock among them.
    names : sequence of str
        Names of the modalities, for errors.

    Returns
    -------
    list of block
        The blocks, with those of sequences of shape (n_samples, n_frames, d + 2): the
        features but for the clock, the time, and 1, or 0 after the end.

    Raises
    ------
    ValueError
        If times go back.
    """
    timed = {v: clock for v, clock in clocks.items() if clock is not None}
    n_samples = len(blocks[0]) if is_sequences(blocks[0]) else blocks[0].shape[0]
    origins = np.full(n_samples, np.inf)
    for v, clock in timed.items():
        for i in _observed(blocks[v]):
            times = blocks[v][i][:, clock]
            refuse_falling_times(times, names[v], i)
            origins[i] = min(origins[i], float(times[0]))
    packed = list(blocks)
    for v, column in clocks.items():
        packed[v] = _pad_sequences(blocks[v], column, widths[v], origins)
    return packed


def _observed(block: np.ndarray) -> list[int]:
    return [i for i, sequence in enumerate(block) if sequence is not None]


def refuse_falling_times(times: np.ndarray, name: str, sample: int) -> None:
    """Refuse times that go back.

    Parameters
    ----------
    times : ndarray of shape (n_frames,)
        Times of the frames of a sequence.
    name : str
        Name of the modality, for errors.
    sample : int
        Position of the sample, for errors.

    Raises
    ------
    ValueError
        If a time is earlier than the one before.
    """
    back = np.flatnonzero(np.diff(times) < 0)
    if back.size:
        raise ValueError(
            f"modality {name!r}: the times of sample {sample} go back, from "
            f"{times[back[0]]:g} to {times[back[0] + 1]:g} after frame {back[0]}: sort "
            "the frames, or give another feature in times"
        )


def _pad_sequences(
    block: np.ndarray, clock: int | None, width: int, origins: np.ndarray
) -> np.ndarray:
    """Pad the sequences of a modality."""
    observed = _observed(block)
    width -= clock is not None
    longest = max((len(block[i]) for i in observed), default=1)
    dtypes = {block[i].dtype for i in observed} or {np.dtype(np.float32)}
    dtype = np.result_type(*dtypes)

    def timed(i: int) -> tuple[np.ndarray, np.ndarray]:
        frames, n_frames = block[i], len(block[i])
        if clock is None:
            return frames, (np.arange(n_frames) + 0.5) / n_frames
        times = frames[:, clock].astype(np.float64) - origins[i]
        return np.delete(frames, clock, axis=1), times

    sequences = (None if own is None else timed(i) for i, own in enumerate(block))
    return pad_frames(sequences, (len(block), longest, width), dtype)


def pad_frames(
    sequences: Iterable[tuple[np.ndarray, np.ndarray] | None],
    shape: tuple[int, int, int],
    dtype: DTypeLike,
) -> np.ndarray:
    """Pad sequences to an array of one length.

    Parameters
    ----------
    sequences : iterable of (ndarray, ndarray) or None
        Features of shape (n_frames, d) and times of each sequence; None where it is
        missing.
    shape : tuple of (int, int, int)
        Number of sequences, length, and number of features d.
    dtype : dtype
        Type of the array.

    Returns
    -------
    ndarray of shape (n_sequences, length, d + 2)
        Features, the time, and 1, or 0 after the end, where the last time is repeated.
    """
    n_sequences, length, width = shape
    padded = np.zeros((n_sequences, length, width + N_MARKS), dtype)
    for i, own in enumerate(sequences):
        if own is None:
            continue
        frames, times = own
        n_frames = len(times)
        padded[i, :n_frames, :width] = frames
        padded[i, :n_frames, -2] = times
        padded[i, n_frames:, -2] = times[-1]
        padded[i, :n_frames, -1] = 1
    return padded


def all_frames(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the features of all frames of packed sequences, and how many each has.

    Parameters
    ----------
    packed : ndarray of shape (n_samples, n_frames, d + 2)
        The sequences.

    Returns
    -------
    frames : ndarray of shape (n_frames_in_all, d)
        The features.
    n_frames : ndarray of int of shape (n_samples,)
        Number of frames of each sample.
    """
    is_frame = packed[..., -1] > 0
    return packed[is_frame][:, :-N_MARKS], is_frame.sum(axis=1)


def typical_span(blocks: Sequence[np.ndarray]) -> float:
    """Compute the median time from the first to the last frame of a sample.

    Parameters
    ----------
    blocks : sequence of ndarray of shape (n_samples, n_frames, d + 2)
        Packed sequences.

    Returns
    -------
    float
        The median over the samples that have a sequence; 1 if it is 0, or if there are
        no sequences.
    """
    if not blocks:
        return 1.0
    first = np.full(len(blocks[0]), np.inf)
    last = np.full(len(blocks[0]), -np.inf)
    for block in blocks:
        own = block[:, 0, -1] > 0
        first[own] = np.minimum(first[own], block[own, 0, -2])
        last[own] = np.maximum(last[own], block[own, -1, -2])
    spans = (last - first)[last >= first]
    return float(np.median(spans)) or 1.0 if spans.size else 1.0


def unpack(packed: Tensor) -> TimedFrames:
    """Return the frames of packed sequences, cut to the longest of the batch."""
    frames = frames_of_packed(packed)
    longest = max(1, int(frames.observed.sum(1).max()))
    return TimedFrames(*(own[:, :longest] for own in frames))


def frames_of_packed(packed: Tensor) -> TimedFrames:
    """Return the frames of packed sequences, in their length."""
    return TimedFrames(packed[..., :-N_MARKS], packed[..., -2], packed[..., -1] > 0)


def with_noise(x: Tensor, noise: Tensor, deviations: Tensor) -> Tensor:
    """Add noise of a standard deviation by sample; of sequences, to the features.

    Parameters
    ----------
    x : tensor of shape (m, ...)
        Samples of a modality; of three dimensions, packed sequences.
    noise : tensor of the same shape
        Noise of standard deviation 1.
    deviations : tensor of shape (m,)
        Standard deviations.

    Returns
    -------
    tensor of the same shape
        The samples with their noise.
    """
    scaled = noise * deviations.to(x).reshape(-1, *[1] * (x.ndim - 1))
    if x.ndim != 3:
        return x + scaled
    features = x[..., :-N_MARKS] + scaled[..., :-N_MARKS] * x[..., -1:]
    return torch.cat([features, x[..., -N_MARKS:]], dim=-1)
