"""The clock of a chain: frames of modalities with different rates on common steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

RATES = ("mean", "sum")
SLOW = ("once", "hold")

Sample = Mapping[str, np.ndarray]


class ModalityFrames(NamedTuple):
    """Frames of one modality, of all sequences one after another.

    Parameters
    ----------
    values : ndarray of shape (n_frames, n_features)
        Frames.
    steps : ndarray of int of shape (n_frames,) or None
        Row of the clock at which each frame is emitted, in ascending order; None if
        frame n is emitted at row n.
    weights : ndarray of shape (n_frames,) or None
        Factors of the log densities; None is 1.
    """

    values: np.ndarray
    steps: np.ndarray | None = None
    weights: np.ndarray | None = None


class Frames(NamedTuple):
    """Frames of several modalities on the clock of one chain.

    Parameters
    ----------
    offsets : ndarray of int of shape (n_sequences + 1,)
        Sequence i has the rows ``offsets[i]:offsets[i + 1]`` of the clock.
    modalities : dict of ModalityFrames
        The frames by modality. A sample that lacks a modality has none there.
    """

    offsets: np.ndarray
    modalities: dict[str, ModalityFrames]

    @property
    def n_steps(self) -> int:
        """Number of clock steps of all sequences."""
        return int(self.offsets[-1])


def frames_on_clock(
    samples: Sequence[Sample],
    *,
    clock: str | int | None = None,
    rate: str | Mapping[str, str] = "mean",
    slow: str | Mapping[str, str] = "once",
    times: Mapping[str, Sequence[np.ndarray | None]] | None = None,
    names: Sequence[str] | None = None,
) -> Frames:
    """Place the frames of all modalities on one clock for each sample.

    Frame j of a modality with T frames is at the time ``(j + 1/2) / T`` of its sample,
    and is emitted at the step that holds this time.

    Parameters
    ----------
    samples : sequence of dict
        The observed sequences of each sample by modality, of shape
        (n_frames, n_features).
    clock : str, int or None, default=None
        Modality whose frames are the steps, or a number of steps. None is the modality
        with most frames, for each sample. So is the modality in samples that lack it.
    rate : {'mean', 'sum'} or dict, default='mean'
        Of several frames of a modality in a step: the mean of their log densities, or
        their sum, which is the density of all but lets fast modalities dominate.
    slow : {'once', 'hold'} or dict, default='once'
        A modality with fewer frames than steps: emitted at one step each and absent
        elsewhere, or at all steps that are nearest to it, with weights that sum to 1.
    times : dict of sequences of arrays, default=None
        Times of frames by modality and sample, between 0 and 1 and in ascending order,
        in place of the regular ones; None for a sample is regular.
    names : sequence of str, default=None
        Order of the modalities; by default that in which samples have them.

    Returns
    -------
    Frames
        The frames and their steps.

    Raises
    ------
    ValueError
        If a sample has no frames, `clock` is unknown, or times do not fit the frames.
    """
    names = list(names or dict.fromkeys(name for sample in samples for name in sample))
    _check_clock_options(names, clock, rate, slow)
    lengths = [_n_steps(sample, clock, i) for i, sample in enumerate(samples)]
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
    modalities = {}
    for name in names:
        own_times = (times or {}).get(name)
        placed = [
            _place(
                np.asarray(sample[name]),
                lengths[i],
                None if own_times is None else own_times[i],
                _option(slow, name, "once"),
                f"sample {i} of modality {name!r}",
            )
            for i, sample in enumerate(samples)
            if name in sample
        ]
        starts = [offsets[i] for i, sample in enumerate(samples) if name in sample]
        if placed:
            modalities[name] = _joined(
                placed, starts, int(offsets[-1]), _option(rate, name, "mean")
            )
    return Frames(offsets, modalities)


def frames_of_clock(name: str, sequences: Sequence[np.ndarray]) -> Frames:
    """Return the frames of a modality on its own clock, without any other modality.

    Parameters
    ----------
    name : str
        The modality.
    sequences : sequence of ndarray of shape (n_frames, n_features)
        Its sequences, none of them empty.

    Returns
    -------
    Frames
        As `frames_on_clock`, which does more for each sample.
    """
    values = _frames_in_a_row(list(sequences))
    offsets = np.cumsum([0, *map(len, sequences)], dtype=np.int64)
    return Frames(offsets, {name: ModalityFrames(values)})


def _frames_in_a_row(sequences: list[np.ndarray]) -> np.ndarray:
    """Concatenate sequences of numbers as float64, or of other values as they are."""
    values = np.concatenate(sequences)
    if values.dtype == object:
        return values
    return np.ascontiguousarray(values, dtype=np.float64)


def _option(option: str | Mapping[str, str], name: str, default: str) -> str:
    return option if isinstance(option, str) else option.get(name, default)


def _check_clock_options(
    names: Sequence[str],
    clock: str | int | None,
    rate: str | Mapping[str, str],
    slow: str | Mapping[str, str],
) -> None:
    if isinstance(clock, str) and clock not in names:
        raise ValueError(
            f"clock {clock!r} is no modality: give one of "
            f"{', '.join(map(repr, names))}, a number of steps, or None"
        )
    if isinstance(clock, int | np.integer) and clock < 1:
        raise ValueError(f"clock must be at least one step, not {clock}")
    for name in names:
        for parameter, value, known in (
            ("rate", _option(rate, name, "mean"), RATES),
            ("slow", _option(slow, name, "once"), SLOW),
        ):
            if value not in known:
                raise ValueError(
                    f"{parameter} {value!r} of {name!r} is none of {known}"
                )


def _n_steps(sample: Sample, clock: str | int | None, i: int) -> int:
    lengths = {name: len(sequence) for name, sequence in sample.items()}
    if not lengths or max(lengths.values()) == 0:
        raise ValueError(
            f"sample {i} has no frames in any modality: leave it out, or give it a "
            "frame of NaN, which is taken as missing"
        )
    if clock is None or clock not in lengths:
        longest = max(lengths.values())
        return longest if clock is None or isinstance(clock, str) else int(clock)
    return max(1, lengths[str(clock)])


def _place(
    sequence: np.ndarray,
    n_steps: int,
    times: np.ndarray | None,
    slow: str,
    where: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return frames, their steps from 0, and their weights unless all are 1."""
    n_frames = len(sequence)
    if times is not None:
        times = np.asarray(times, dtype=np.float64)
        _check_times(times, n_frames, where)
        steps = np.minimum((times * n_steps).astype(np.int64), n_steps - 1)
    else:
        # (j + 1/2) / T in units of a step, in integers: no rounding at the borders
        steps = (
            (2 * np.arange(n_frames, dtype=np.int64) + 1)
            * n_steps
            // (2 * n_frames or 1)
        )
    if slow == "once" or n_frames >= n_steps or n_frames == 0:
        return sequence, steps, None
    nearest = _nearest_frames(n_frames, n_steps, times)
    repeats = np.bincount(nearest, minlength=n_frames)
    return sequence[nearest], np.arange(n_steps, dtype=np.int64), 1 / repeats[nearest]


def _nearest_frames(
    n_frames: int, n_steps: int, times: np.ndarray | None
) -> np.ndarray:
    centers = (np.arange(n_steps) + 0.5) / n_steps
    if times is None:
        return (2 * np.arange(n_steps, dtype=np.int64) + 1) * n_frames // (2 * n_steps)
    borders = (times[1:] + times[:-1]) / 2
    return np.searchsorted(borders, centers, side="right")


def _check_times(times: np.ndarray, n_frames: int, where: str) -> None:
    if times.shape != (n_frames,):
        raise ValueError(
            f"{where} has {n_frames} frames, but times of shape {times.shape}"
        )
    if not (np.all(times >= 0) and np.all(times <= 1)):
        raise ValueError(
            f"times of {where} must be between 0 and 1, as shares of its duration"
        )
    if np.any(np.diff(times) < 0):
        raise ValueError(f"times of {where} must be in ascending order")


def _joined(
    placed: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray | None]],
    starts: Sequence[int],
    n_steps: int,
    rate: str,
) -> ModalityFrames:
    values = _frames_in_a_row([frames for frames, _, _ in placed])
    steps = np.concatenate(
        [own + start for (_, own, _), start in zip(placed, starts, strict=True)]
    )
    weights = None
    if any(own is not None for _, _, own in placed):
        weights = np.concatenate(
            [np.ones(len(steps)) if w is None else w for _, steps, w in placed]
        )
    if rate == "mean":
        per_step = np.bincount(steps, minlength=n_steps)[steps]
        if (per_step > 1).any():
            weights = (1.0 if weights is None else weights) / per_step
    is_regular = len(steps) == n_steps and np.array_equal(steps, np.arange(n_steps))
    return ModalityFrames(values, None if is_regular else steps, weights)


def select_sequences(frames: Frames, positions: np.ndarray) -> Frames:
    """Return the frames of some sequences, in the given order.

    Parameters
    ----------
    frames : Frames
        Frames of all sequences.
    positions : array-like of int
        Sequences to take.

    Returns
    -------
    Frames
        Copies of their frames. Modalities without frames in them stay, with none.
    """
    positions = np.asarray(positions, dtype=np.int64)
    lengths = np.diff(frames.offsets)[positions]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    modalities = {}
    for name, (values, steps, weights) in frames.modalities.items():
        borders = frames.offsets
        if steps is not None:
            borders = np.searchsorted(steps, frames.offsets)
        rows = _ranges(borders[positions], borders[positions + 1])
        if steps is not None:
            counts = (borders[1:] - borders[:-1])[positions]
            shifts = offsets[:-1] - frames.offsets[positions]
            steps = steps[rows] + np.repeat(shifts, counts)
        weights = None if weights is None else weights[rows]
        modalities[name] = ModalityFrames(values[rows], steps, weights)
    return Frames(offsets, modalities)


def _ranges(starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Concatenate the integers from each start to its stop."""
    counts = stops - starts
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - ends + counts, counts)
