"""A dense signal and sparse events, each of which has a place in the signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmfusion._typing import RandomStateLike
from mmfusion.datasets._audio_visual import checked_range, two_widths
from mmfusion.datasets._simulation import (
    check_at_least,
    check_no_overflow,
    check_numbers_fit,
    check_seed,
    draw_observed,
    numbers_by_modality,
)
from mmfusion.modalities import Modalities

EVENT_NAMES = ("signal", "events")


def make_event_sequences(
    n_samples: int = 20,
    n_features: Sequence[int] | Mapping[str, int] = (4, 3),
    *,
    n_types: int = 3,
    n_distractor_types: int = 1,
    n_events: tuple[int, int] = (5, 10),
    duration: int = 3,
    pauses: tuple[int, int] = (4, 20),
    noise_std: float | Sequence[float] | Mapping[str, float] = 0.3,
    missing_rate: float | Sequence[float] | Mapping[str, float] = 0.0,
    random_state: RandomStateLike = None,
) -> tuple[Modalities, list[np.ndarray], list[np.ndarray]]:
    """Make a dense signal with sparse events, and the true frames of the events.

    The signal of a sample rests at 0 between bursts of a few frames. A burst of type c
    has frames ``m_c + noise``. Along with the middle frame of a burst, the second
    modality has one event, ``u_c + noise``, without its time;
    bursts of distractor types have none. The means m_c and u_c are Gaussian and the
    same for all samples; so, order and types alone place the events.

    Parameters
    ----------
    n_samples : int, default=20
        Number of samples.
    n_features : sequence or dict by name of int, default=(4, 3)
        Numbers of features of the signal and of the events. The keys of a dict are
        their names, which are otherwise 'signal' and 'events'.
    n_types : int, default=3
        Number of types of events.
    n_distractor_types : int, default=1
        Number of types of bursts without an event; each sample has, of each, as many
        on average as of a type of events.
    n_events : tuple of (int, int), default=(5, 10)
        Range of the events of a sample, at least 1, both ends included.
    duration : int, default=3
        Frames of a burst.
    pauses : tuple of (int, int), default=(4, 20)
        Range of the frames before each burst and after the last, at least 1, both ends
        included.
    noise_std : float, or sequence or dict by name of float, default=0.3
        Standard deviation of the noise of each modality, which is independent between
        frames; that of the means of types is 1 in the events and 2 in the signal.
    missing_rate : float, or sequence or dict by name of float, default=0.0
        Share of the samples, drawn at random, that lack each modality, rounded to
        whole samples. Their sequence is None. No sample lacks both.
    random_state : int, RandomState instance or None, default=None
        Seed of the random numbers. An integer gives the same data at every call.

    Returns
    -------
    X : Modalities of shape (n_samples, 2)
        Sequences of float64: of shape (n_frames, n_features) for the signal, and
        (n_events, n_features) for the events.
    frames : list of ndarray of int64 of shape (n_events,)
        Frame of the signal at which each event of a sample happens, in ascending order.
    types : list of ndarray of int64 of shape (n_events,)
        Type of each event.

    Raises
    ------
    TypeError
        If an option has the wrong type.
    ValueError
        If there are not two modalities, an option is out of range, the missing rates
        leave a sample without any modality, or the data do not fit in memory.

    See Also
    --------
    make_audio_visual_sequences : Makes sequences of one clock, of which one leads.
    mmfusion.alignment.AsynchronousHMMAligner : Finds when each event happens.

    Examples
    --------
    >>> from mmfusion.datasets import make_event_sequences
    >>> X, frames, types = make_event_sequences(4, random_state=0)
    >>> X.names
    ('signal', 'events')
    >>> [len(x) for x in X["events"]] == [len(t) for t in frames]
    True
    """
    rng = check_seed(random_state)
    check_at_least(1, n_samples=n_samples, n_types=n_types, duration=duration)
    check_at_least(0, n_distractor_types=n_distractor_types)
    widths = two_widths(n_features, EVENT_NAMES)
    names = list(widths)
    noises = numbers_by_modality(noise_std, names, "noise_std")
    fewest, most = checked_range(n_events, "n_events", 1)
    shortest, longest = checked_range(pauses, "pauses", 1)
    n_all = n_types + n_distractor_types
    check_numbers_fit(
        int(n_samples)
        * (most * n_all + 1)
        * (longest + duration)
        * sum(widths.values()),
        n_samples=n_samples,
        n_events=n_events,
        pauses=pauses,
        duration=duration,
        n_features=n_features,
    )

    means = [rng.standard_normal((n_all, d)) for d in widths.values()]
    means[0] *= 2
    observed = draw_observed(n_samples, missing_rate, names, rng)
    blocks: dict[str, list] = {name: [None] * n_samples for name in names}
    frames, types = [], []
    for i in range(n_samples):
        of_bursts = _draw_bursts(
            int(rng.randint(fewest, most + 1)), n_types, n_distractor_types, rng
        )
        gaps = rng.randint(shortest, longest + 1, len(of_bursts) + 1)
        begins = np.cumsum(gaps[:-1]) + duration * np.arange(len(of_bursts))
        clean = np.zeros((int(begins[-1] + duration + gaps[-1]), means[0].shape[1]))
        for begin, kind in zip(begins, of_bursts, strict=True):
            clean[begin : begin + duration] = means[0][kind]
        is_event = of_bursts < n_types
        frames.append((begins[is_event] + duration // 2).astype(np.int64))
        types.append(of_bursts[is_event].astype(np.int64))
        for v, (name, own) in enumerate(
            zip(names, (clean, means[1][types[-1]]), strict=True)
        ):
            with np.errstate(over="ignore"):
                noisy = own + noises[v] * rng.standard_normal(own.shape)
            check_no_overflow(noisy, name, "noise_std")
            if observed[i, v]:
                blocks[name][i] = noisy
    return Modalities(blocks), frames, types


def _draw_bursts(
    n_events: int,
    n_types: int,
    n_distractor_types: int,
    rng: np.random.RandomState,
) -> np.ndarray:
    """Draw the types of all bursts, of which a number are events; others come between.

    Distractors have the types from `n_types` on.
    """
    events = rng.randint(0, n_types, n_events)
    n_others = rng.binomial(n_events * n_distractor_types, 1 / n_types)
    others = rng.randint(n_types, n_types + max(n_distractor_types, 1), n_others)
    places = rng.randint(0, n_events + 1, n_others)
    return np.insert(events, places, others)
