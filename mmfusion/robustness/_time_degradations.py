"""Degradations of sequences in time: bursts of noise, shifts, dropped stretches."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np
from sklearn.utils import check_random_state

from mmfusion._sklearn_compat import Interval, validate_params
from mmfusion._typing import ByModality, ModalitiesLike, RandomStateLike
from mmfusion._validation import as_modalities
from mmfusion.modalities import Modalities
from mmfusion.robustness._changes import (
    check_deviations,
    chosen_positions,
    clocks_of,
    feature_deviations,
    real_values,
    refuse_tables,
    replace_sequences,
)
from mmfusion.robustness._degradations import (
    DRAW_CONSTRAINTS,
    LEVEL_CONSTRAINTS,
    SHARE_CONSTRAINTS,
    TIMES_CONSTRAINTS,
)

# range of the lengths of stretches, in terms of that of the sequence
SHORTEST_STRETCH, LONGEST_STRETCH = 0.1, 0.5


@validate_params(
    {**SHARE_CONSTRAINTS, **LEVEL_CONSTRAINTS}, prefer_skip_nested_validation=True
)
def noise_bursts(
    X: ModalitiesLike,
    share: float,
    modalities: str | Sequence[str] | None = None,
    *,
    level: float = 3.0,
    reference: ModalitiesLike | None = None,
    times: ByModality[int | str | None] = None,
    random_state: RandomStateLike = None,
) -> Modalities:
    """Add Gaussian noise to random stretches of sequences.

    In a burst, feature j of a frame becomes ``x_j + level * s_j * e`` with its standard
    deviation ``s_j`` and e drawn from N(0, 1), independently for each value.

    Parameters
    ----------
    X : list, dict or Modalities
        Data by modality; they are not modified.
    share : float
        Share of the frames of each sequence that get noise, from 0 to 1.
    modalities : str or list of str, default=None
        Names of the modalities to add noise to, which are sequences; None is all.
    level : float, default=3.0
        Standard deviation of the noise, in units of that of each feature.
    reference : list, dict or Modalities, default=None
        Data with the same modalities, such as those of `fit`, from which the standard
        deviations of features are computed. None is X itself.
    times : int, str or dict, default=None
        Feature of the frames of sequences that is their clock, by its position, such as
        -1, or its name, for all sequences or by modality. It gets no noise.
    random_state : int, RandomState instance or None, default=None
        Seed of the stretches and of the noise. With the same seed, the frames of a
        smaller share are among those of a larger one, and have the same noise.

    Returns
    -------
    Modalities
        Data with noisy sequences of floats.

    Raises
    ------
    ValueError
        If the share is not in [0, 1], the level is negative, or a modality is unknown,
        does not hold numbers, or is not one of sequences.

    See Also
    --------
    add_noise : Adds noise to all frames, and to tables.
    shift_modality : Shifts sequences in time.
    drop_stretches : Drops stretches of sequences.
    degradation_curve : Scores estimators under degradations.

    Notes
    -----
    A sequence is divided into stretches of random lengths, from a tenth to a half of
    its frames, and gets noise in one after the other in random order. The last of them,
    or the only one where the share is small, is filled from one side up to the share.
    The number of frames with noise is the share of all, rounded.

    An array of three dimensions holds sequences, with NaN after their ends.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.robustness import noise_bursts
    >>> X = {"audio": np.random.default_rng(0).normal(size=(2, 20, 3))}
    >>> noisy = noise_bursts(X, 0.25, random_state=0)
    >>> np.flatnonzero((noisy["audio"][0] != X["audio"][0]).any(axis=1))
    array([14, 15, 16, 17, 18])
    """
    frame = as_modalities(X)
    chosen = chosen_positions(frame, modalities)
    refuse_tables(frame, chosen)
    units = frame if reference is None else as_modalities(reference)
    clocks = clocks_of(frame, times)
    if share == 0 or level == 0:
        return frame
    rng = check_random_state(random_state)
    deviations = {}
    for name in [frame.names[v] for v in chosen]:
        deviations[name] = level * feature_deviations(units, name, by_frame=True)
        if name in clocks and deviations[name].ndim:
            deviations[name][..., clocks[name]] = 0.0

    def with_bursts(name: str, frames: np.ndarray) -> np.ndarray:
        check_deviations(deviations[name], frames.shape[1:], name)
        noisy = real_values(frames, name).copy()
        rows = _frames_in_stretches(len(frames), share, rng)
        # of all frames, so that the noise of a frame does not depend on the share
        noise = deviations[name] * rng.standard_normal(frames.shape)
        noisy[rows] += noise[rows].astype(noisy.dtype)
        return noisy

    return replace_sequences(frame, chosen, with_bursts)


@validate_params(
    {
        "shift": [Interval(Real, None, None, closed="neither")],
        "per_sample": ["boolean"],
        **DRAW_CONSTRAINTS,
        **TIMES_CONSTRAINTS,
        "modalities": [str, list, tuple],
    },
    prefer_skip_nested_validation=True,
)
def shift_modality(
    X: ModalitiesLike,
    shift: float,
    modalities: str | Sequence[str],
    *,
    per_sample: bool = False,
    times: ByModality[int | str | None] = None,
    random_state: RandomStateLike = None,
) -> Modalities:
    """Shift sequences in time against those of other modalities.

    What happens at time t of a sequence then happens at ``t + shift``, as if the clock
    of its sensor were wrong.

    Parameters
    ----------
    X : list, dict or Modalities
        Data by modality; they are not modified.
    shift : float
        How much later the content comes, in units of the clock, or in frames, a whole
        number, without a clock. Negative shifts are earlier.
    modalities : str or list of str
        Names of the modalities to shift, which are sequences.
    per_sample : bool, default=False
        Whether the shift is drawn for each sequence, uniformly from ``-shift`` to
        ``shift``. Otherwise it is the same for all.
    times : int, str or dict, default=None
        Feature of the frames of sequences that is their clock, by its position, such as
        -1, or its name, for all sequences or by modality. None counts frames.
    random_state : int, RandomState instance or None, default=None
        Seed of the shifts, if `per_sample`. With the same seed, they are proportional
        to `shift`.

    Returns
    -------
    Modalities
        Data with shifted sequences, of the same numbers of frames.

    Raises
    ------
    ValueError
        If the shift of a modality without a clock is not a whole number, or a modality
        is unknown or is not one of sequences.

    See Also
    --------
    swap_rows : Exchanges modalities between samples, those of tables too.
    noise_bursts : Adds noise to stretches of sequences.
    drop_stretches : Drops stretches of sequences.
    degradation_curve : Scores estimators under degradations.

    Notes
    -----
    With a clock, the shift is added to it and the frames remain, so that nothing is
    lost; an estimator that does not read the clock is not affected. Without a clock,
    frames move, and those that leave the sequence are lost; at the other end, the first
    (or last) frame is repeated, so that lengths do not change.

    A shift that is the same for all samples is the delay of a device, which an
    estimator that is fitted to such data can learn; shifts per sample, as of recordings
    that are started by hand, it cannot. In periodic motions a fixed shift by a period
    has no effect.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.robustness import shift_modality
    >>> X = {"audio": [np.arange(5.0)[:, None]], "video": [np.zeros((3, 1))]}
    >>> shift_modality(X, 2, "audio")["audio"][0].ravel()
    array([0., 0., 0., 1., 2.])
    """
    frame = as_modalities(X)
    chosen = chosen_positions(frame, modalities)
    refuse_tables(frame, chosen)
    clocks = clocks_of(frame, times)
    for name in [frame.names[v] for v in chosen]:
        if name not in clocks and shift != int(shift):
            raise ValueError(
                f"shift={shift} is no whole number of frames, and modality {name!r} "
                "has no clock: give a whole number, or its clock in times"
            )
    if shift == 0:
        return frame
    rng = check_random_state(random_state)

    def shifted(name: str, frames: np.ndarray) -> np.ndarray:
        own = shift * rng.uniform(-1, 1) if per_sample else shift
        if name not in clocks:
            last = len(frames) - 1
            rows = np.arange(len(frames)) - round(np.clip(own, -last, last))
            return frames[rows.clip(0, last)]
        late = real_values(frames, name).copy()
        late[..., clocks[name]] += own
        return late

    return replace_sequences(frame, chosen, shifted)


@validate_params(
    {**SHARE_CONSTRAINTS, **TIMES_CONSTRAINTS}, prefer_skip_nested_validation=True
)
def drop_stretches(
    X: ModalitiesLike,
    share: float,
    modalities: str | Sequence[str] | None = None,
    *,
    times: ByModality[int | str | None] = None,
    random_state: RandomStateLike = None,
) -> Modalities:
    """Drop random stretches of sequences.

    Parameters
    ----------
    X : list, dict or Modalities
        Data by modality; they are not modified.
    share : float
        Share of the frames of each sequence to drop, from 0 to 1. A sequence that loses
        all frames is missing.
    modalities : str or list of str, default=None
        Names of the modalities to drop frames of, which are sequences; None is all.
    times : int, str or dict, default=None
        Feature of the frames of sequences that is their clock, by its position, such as
        -1, or its name, for all sequences or by modality. None has no clock.
    random_state : int, RandomState instance or None, default=None
        Seed of the stretches. With the same seed, the frames of a smaller share are
        among those of a larger one.

    Returns
    -------
    Modalities
        Data without these frames, or with others in their place.

    Raises
    ------
    ValueError
        If the share is not in [0, 1], or a modality is unknown or is not one of
        sequences.

    See Also
    --------
    drop_modalities : Removes whole modalities from samples, those of tables too.
    noise_bursts : Adds noise to stretches of sequences, which are drawn alike.
    shift_modality : Shifts sequences in time.
    degradation_curve : Scores estimators under degradations.

    Notes
    -----
    Stretches are drawn as by `noise_bursts`. With a clock, their frames are left out,
    as the clock shows the gap. Without one, all later frames would come too early, as
    if they were shifted: instead, the last frame before a stretch is held, as by a
    sensor that hangs, or at the start the first one after it.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.robustness import drop_stretches
    >>> frames = np.column_stack([np.arange(10.0), np.arange(10) / 25])
    >>> X = {"audio": [frames]}
    >>> drop_stretches(X, 0.4, random_state=2)["audio"][0][:, 0]
    array([1., 1., 2., 3., 3., 3., 6., 7., 8., 8.])
    >>> drop_stretches(X, 0.4, times=-1, random_state=2)["audio"][0][:, 0]
    array([1., 2., 3., 6., 7., 8.])
    """
    frame = as_modalities(X)
    chosen = chosen_positions(frame, modalities)
    refuse_tables(frame, chosen)
    clocks = clocks_of(frame, times)
    if share == 0:
        return frame
    rng = check_random_state(random_state)

    def without_stretches(name: str, frames: np.ndarray) -> np.ndarray | None:
        is_kept = np.ones(len(frames), dtype=bool)
        is_kept[_frames_in_stretches(len(frames), share, rng)] = False
        if not is_kept.any():
            return None
        if name in clocks:
            return frames[is_kept]
        before = np.where(is_kept, np.arange(len(frames)), np.argmax(is_kept))
        return frames[np.maximum.accumulate(before)]

    return replace_sequences(frame, chosen, without_stretches)


def _frames_in_stretches(
    n_frames: int, share: float, rng: np.random.RandomState
) -> np.ndarray:
    """Draw the positions of frames in stretches that cover a share of a sequence."""
    shortest = int(np.ceil(SHORTEST_STRETCH * n_frames))
    longest = max(shortest, int(LONGEST_STRETCH * n_frames))
    lengths, left = [], n_frames
    while left:
        length = rng.randint(shortest, longest + 1)
        if left - length < shortest:  # what is left would be no stretch
            length = left if left <= longest else left - shortest
        lengths.append(length)
        left -= length
    stretches = np.split(np.arange(n_frames), np.cumsum(lengths)[:-1])
    sides = rng.choice([-1, 1], size=len(stretches))
    order = rng.permutation(len(stretches))
    covered = np.concatenate([stretches[k][:: sides[k]] for k in order])
    return covered[: round(share * n_frames)]
