"""Sequences of two modalities that pass the same states, one before the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmfusion._numbers import is_integer
from mmfusion._typing import RandomStateLike
from mmfusion.datasets._simulation import (
    check_at_least,
    check_no_overflow,
    check_numbers_fit,
    check_seed,
    draw_observed,
    is_mapping,
    is_sequence,
    numbers_by_modality,
    widths_by_name,
)
from mmfusion.modalities import Modalities

AUDIO_VISUAL_NAMES = ("audio", "video")


def make_audio_visual_sequences(
    n_samples: int = 20,
    n_features: Sequence[int] | Mapping[str, int] = (4, 3),
    *,
    n_states: int = 8,
    durations: tuple[int, int] = (8, 16),
    delays: tuple[int, int] = (-4, 4),
    noise_std: float | Sequence[float] | Mapping[str, float] = 0.5,
    missing_rate: float | Sequence[float] | Mapping[str, float] = 0.0,
    random_state: RandomStateLike = None,
) -> tuple[Modalities, np.ndarray, list[np.ndarray]]:
    """Make sequences of two modalities of which one leads, and their true states.

    Both modalities of a sample are recorded on one clock, and pass the states 0, 1,
    ..., K - 1 in this order. The second modality enters state k at frame ``e_k``, and
    the first at frame ``e_k + delay``, where the delay is drawn for each sample: of
    positive delays, the second modality leads. Both begin in the first state and end in
    the last. In state k, a frame of modality v is ``m_vk + noise``, where the means
    m_vk are Gaussian and the same for all samples.

    Parameters
    ----------
    n_samples : int, default=20
        Number of samples.
    n_features : sequence or dict by name of int, default=(4, 3)
        Numbers of features of the two modalities. The keys of a dict are their names,
        which are otherwise 'audio' and 'video'.
    n_states : int, default=8
        Number of states K, at least 2.
    durations : tuple of (int, int), default=(8, 16)
        Range of the frames that the second modality stays in a state, both ends
        included. A state is drawn anew for each sample.
    delays : tuple of (int, int), default=(-4, 4)
        Range of the delay of a sample in frames, both ends included. Delays are shorter
        than the shortest duration, so that the modalities are never more than a state
        apart.
    noise_std : float, or sequence or dict by name of float, default=0.5
        Standard deviation of the noise of each modality, which is independent between
        frames; that of the means of states is 1.
    missing_rate : float, or sequence or dict by name of float, default=0.0
        Share of the samples, drawn at random, that lack each modality, rounded to
        whole samples. Their sequence is None. No sample lacks both.
    random_state : int, RandomState instance or None, default=None
        Seed of the random numbers. An integer gives the same data at every call.

    Returns
    -------
    X : Modalities of shape (n_samples, 2)
        Sequences of float64 of shape (n_frames, n_features); both of a sample have the
        same number of frames.
    delays : ndarray of int64 of shape (n_samples,)
        Frames by which the first modality follows the second.
    states : list of ndarray of int64 of shape (n_frames, 2)
        State of each modality at each frame, for each sample.

    Raises
    ------
    TypeError
        If an option has the wrong type.
    ValueError
        If there are not two modalities, an option is out of range, the delays are not
        shorter than the durations, the missing rates leave a sample without any
        modality, or the data do not fit in memory.

    See Also
    --------
    make_multimodal_sequences : Makes sequences with different clocks.
    mmfusion.alignment.ProductHMMAligner : Finds which modality leads.

    Examples
    --------
    >>> from mmfusion.datasets import make_audio_visual_sequences
    >>> X, delays, states = make_audio_visual_sequences(4, random_state=0)
    >>> X.names, delays.tolist()
    (('audio', 'video'), [1, -4, -1, -1])
    >>> [len(x) for x in X["audio"]] == [len(s) for s in states]
    True
    """
    rng = check_seed(random_state)
    check_at_least(1, n_samples=n_samples)
    check_at_least(2, n_states=n_states)
    widths = two_widths(n_features, AUDIO_VISUAL_NAMES)
    names = list(widths)
    noises = numbers_by_modality(noise_std, names, "noise_std")
    shortest, longest = checked_range(durations, "durations", 1)
    low, high = checked_range(delays, "delays", -shortest + 1, shortest - 1)
    check_numbers_fit(
        int(n_samples) * int(n_states) * longest * (sum(widths.values()) + 2),
        n_samples=n_samples,
        n_states=n_states,
        durations=durations,
        n_features=n_features,
    )

    drawn_delays = rng.randint(low, high + 1, n_samples).astype(np.int64)
    means = {name: rng.standard_normal((n_states, d)) for name, d in widths.items()}
    observed = draw_observed(n_samples, missing_rate, names, rng)
    blocks: dict[str, list] = {name: [None] * n_samples for name in names}
    states = []
    for i in range(n_samples):
        frames_in_state = rng.randint(shortest, longest + 1, n_states)
        states.append(_delayed_states(frames_in_state, int(drawn_delays[i])))
        for v, name in enumerate(names):
            clean = means[name][states[i][:, v]]
            with np.errstate(over="ignore"):
                frames = clean + noises[v] * rng.standard_normal(clean.shape)
            check_no_overflow(frames, name, "noise_std")
            if observed[i, v]:
                blocks[name][i] = frames
    return Modalities(blocks), drawn_delays, states


def two_widths(
    n_features: Sequence[int] | Mapping[str, int], names: Sequence[str]
) -> dict[str, int]:
    """Return the numbers of features of two modalities by name.

    Parameters
    ----------
    n_features : sequence or dict by name of int
        The numbers as given.
    names : sequence of str
        Names where none are given.

    Returns
    -------
    dict of str to int
        The numbers.

    Raises
    ------
    ValueError
        If there are not two.
    """
    widths = widths_by_name(n_features)
    if len(widths) != len(names):
        raise ValueError(
            f"n_features={n_features!r} has {len(widths)} modalities; give the "
            f"features of two, as of {' and '.join(map(repr, names))}"
        )
    if is_mapping(n_features):
        return widths
    return dict(zip(names, widths.values(), strict=True))


def checked_range(
    given: Sequence[int], option: str, low: int, high: int | None = None
) -> tuple[int, int]:
    """Return the ends of a range of integers within bounds.

    Parameters
    ----------
    given : sequence of (int, int)
        The range.
    option : str
        Its name.
    low, high : int
        The bounds; None has no limit.

    Returns
    -------
    tuple of (int, int)
        The ends.

    Raises
    ------
    TypeError, ValueError
        If it is no range of integers within the bounds.
    """
    allowed = f"of at least {low}" if high is None else f"from {low} to {high}"
    message = f"{option}={given!r}: give a range (low, high) of integers {allowed}"
    if not is_sequence(given) or len(given) != 2:
        raise ValueError(message)
    first, last = given
    if not (is_integer(first) and is_integer(last)):
        raise TypeError(message)
    if not low <= first <= last or (high is not None and last > high):
        shorter = "" if high is None else ", shorter than the shortest of the durations"
        raise ValueError(message + shorter)
    return int(first), int(last)


def _delayed_states(frames_in_state: np.ndarray, delay: int) -> np.ndarray:
    """Return the states of both modalities by frame, of which the first is late."""
    entries = np.cumsum(frames_in_state)[:-1]
    frames = np.arange(frames_in_state.sum())
    sides = [np.searchsorted(entries + by, frames, side="right") for by in (delay, 0)]
    return np.column_stack(sides).astype(np.int64)
