"""Sequences of several modalities with unequal clocks, whose alignment is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmfusion._options import check_flags
from mmfusion.datasets._simulation import (
    by_modality,
    check_at_least,
    check_finite,
    check_numbers_fit,
    check_real,
    check_seed,
    counts,
    draw_observed,
    is_sequence,
    widths_by_name,
)
from mmfusion.modalities import Modalities

N_STRETCHES = 5  # in each of which a modality has one frame rate, as in the toy of CTW
N_HARMONICS = 5  # of a trajectory; the h-th has an amplitude of 1/h


def make_multimodal_sequences(
    n_samples: int = 20,
    n_features: Sequence[int] | Mapping[str, int] = (3, 5),
    *,
    n_classes: int = 2,
    n_frames: int = 100,
    n_components: int = 2,
    nonlinear: bool = False,
    sample_std: float = 0.1,
    noise_std: float | Sequence[float] | Mapping[str, float] = 0.1,
    n_noise_features: int | Sequence[int] | Mapping[str, int] = 0,
    frame_rates: tuple[float, float] = (0.3, 0.9),
    missing_rate: float | Sequence[float] | Mapping[str, float] = 0.0,
    random_state: Any = None,
) -> tuple[Modalities, np.ndarray, np.ndarray]:
    """Make sequences that see one hidden movement by unequal clocks, and the truth.

    Every class has a smooth hidden trajectory, which a sample follows with a smooth
    deviation of its own. Each modality sees it through its own map and noise, and at
    its own moments: of the common time, cut into five stretches, it keeps another
    random share of each. Which of its frames belongs to which moment is thus known.

    Parameters
    ----------
    n_samples : int, default=20
        Number of samples, spread over the classes as evenly as possible.
    n_features : sequence or dict by name of int, default=(3, 5)
        Number of features of each modality that see the trajectory. A dict names the
        modalities; otherwise they are ``modality_0``, ``modality_1``, ...
    n_classes : int, default=2
        Number of classes.
    n_frames : int, default=100
        Number of moments of the common time, at least 2.
    n_components : int, default=2
        Number of coordinates of the hidden trajectory.
    nonlinear : bool, default=False
        Whether a modality sees ``tanh(z A + b)`` of the trajectory z instead of
        ``z A``, A and b Gaussian. One map serves all samples, and the features have
        unit variance before noise.
    sample_std : float, default=0.1
        Size of a sample's own deviation, where the trajectory has standard
        deviation 1 over time.
    noise_std : float, or sequence or dict by name of float, default=0.1
        Standard deviation of the noise of each modality, independent between frames,
        in the same unit.
    n_noise_features : int, or sequence or dict by name of int, default=0
        Number of features, appended to each modality, of pure Gaussian noise of unit
        variance.
    frame_rates : tuple of (float, float), default=(0.3, 0.9)
        Range of the share of moments that a modality keeps in a stretch of the common
        time, in (0, 1]; it always has the first and the last moment. ``(1, 1)`` gives
        equal clocks.
    missing_rate : float, or sequence or dict by name of float, default=0.0
        Share of the samples that lack each modality, at random. Their sequence is
        None. The share holds to the nearest sample, and no sample lacks all.
    random_state : int, RandomState instance or None, default=None
        Seed. An integer gives the same data at every call.

    Returns
    -------
    X : Modalities of shape (n_samples, n_modalities)
        A float64 sequence of shape (n_kept_frames, n_features) per sample and
        modality.
    y : ndarray of int64 of shape (n_samples,)
        The class of each sample, from 0.
    paths : ndarray of int64 of shape (n_samples, n_frames, n_modalities)
        The true alignment: ``paths[i, t, v]`` is the frame of modality v of sample i
        that is nearest to moment t (the earlier of two). Along t it grows by steps of
        0 or 1 from the first frame to the last. It is -1 where the sample lacks the
        modality.

    Raises
    ------
    TypeError
        If an option is of another type.
    ValueError
        If an option does not fit the modalities or is out of range, the missing rates
        leave a sample without any modality, or the data would not fit in memory.

    See Also
    --------
    make_multimodal_blobs : The like without time.

    Notes
    -----
    A trajectory is a sum of cosines with 1 to 5 half periods in the common time and
    Gaussian coefficients that fall with the frequency, standardised over time.
    The unequal clocks are those of the toy experiment of [1]_; trajectories, maps
    and noise are ours.

    References
    ----------
    .. [1] F. Zhou & F. De la Torre (2009). Canonical time warping for alignment of
       human behavior. NeurIPS 22.

    Examples
    --------
    >>> from mmfusion.datasets import make_multimodal_sequences
    >>> X, y, paths = make_multimodal_sequences(
    ...     4, {"audio": 3, "video": 5}, random_state=0
    ... )
    >>> X.shape, paths.shape
    ((4, 2), (4, 100, 2))
    >>> X["audio"][0][paths[0, :, 0]].shape  # warped to the common time
    (100, 3)
    """
    rng = check_seed(random_state)
    check_at_least(
        1, n_samples=n_samples, n_classes=n_classes, n_components=n_components
    )
    check_at_least(2, n_frames=n_frames)
    widths = widths_by_name(n_features)
    names = list(widths)
    noises = by_modality(noise_std, names, "noise_std")
    noise_widths = counts(n_noise_features, names, "n_noise_features")
    sample_std = check_real(sample_std, "sample_std")
    check_flags(nonlinear=nonlinear)
    low, high = _checked_rates(frame_rates)
    n_columns = sum(widths.values()) + sum(noise_widths) + len(names)
    check_numbers_fit(
        (int(n_samples) + int(n_classes)) * int(n_frames) * int(n_components)
        + int(n_samples) * int(n_frames) * n_columns,
        n_samples=n_samples,
        n_classes=n_classes,
        n_frames=n_frames,
        n_features=n_features,
        n_noise_features=n_noise_features,
        n_components=n_components,
    )

    y = rng.permutation(np.arange(n_samples, dtype=np.int64) % n_classes)
    hidden = _smooth_curves(n_classes, n_frames, n_components, rng)[y]
    with np.errstate(over="ignore"):
        hidden += sample_std * _smooth_curves(n_samples, n_frames, n_components, rng)
    observed = draw_observed(n_samples, missing_rate, names, rng)
    blocks = {}
    paths = np.full((n_samples, n_frames, len(names)), -1, dtype=np.int64)
    for v, name in enumerate(names):
        with np.errstate(over="ignore", invalid="ignore"):
            clean = _seen(hidden, widths[name], nonlinear, rng)
        sequences: list[np.ndarray | None] = [None] * n_samples
        for i in np.flatnonzero(observed[:, v]):
            kept = _kept_moments(n_frames, low, high, rng)
            paths[i, :, v] = _nearest(kept, n_frames)
            seen = clean[i, kept]
            with np.errstate(over="ignore"):
                seen = seen + noises[v] * rng.standard_normal(seen.shape)
            noise = rng.standard_normal((len(kept), noise_widths[v]))
            frames = np.hstack([seen, noise])
            sequences[i] = check_finite(frames, name, "sample_std or noise_std")
        blocks[name] = sequences
    return Modalities(blocks), y, paths


def _checked_rates(frame_rates: Any) -> tuple[float, float]:
    if not is_sequence(frame_rates) or len(frame_rates) != 2:
        raise ValueError(
            f"frame_rates={frame_rates!r}: give a range (low, high) within (0, 1]"
        )
    low, high = (check_real(rate, "a value of frame_rates", 1) for rate in frame_rates)
    if not 0 < low <= high:
        raise ValueError(
            f"frame_rates={frame_rates!r}: give a range (low, high) within (0, 1]"
        )
    return low, high


def _smooth_curves(
    n_curves: int, n_frames: int, n_components: int, rng: np.random.RandomState
) -> np.ndarray:
    """Draw curves of shape (n_curves, n_frames, n_components)."""
    harmonics = np.arange(1, N_HARMONICS + 1)
    phase = np.linspace(0, np.pi, n_frames)[:, None] * harmonics
    coefficients = rng.standard_normal((n_curves, N_HARMONICS, n_components))
    curves = np.cos(phase) / harmonics @ coefficients
    curves -= curves.mean(axis=1, keepdims=True)
    return curves / curves.std(axis=1, keepdims=True)


def _seen(
    hidden: np.ndarray, n_features: int, nonlinear: bool, rng: np.random.RandomState
) -> np.ndarray:
    """Map trajectories to the features of one modality, of unit variance."""
    seen = hidden @ rng.standard_normal((hidden.shape[2], n_features))
    if nonlinear:
        seen = np.tanh(seen + rng.standard_normal(n_features))
    return seen / seen.std(axis=(0, 1))


def _kept_moments(
    n_frames: int, low: float, high: float, rng: np.random.RandomState
) -> np.ndarray:
    kept = [np.array([0, n_frames - 1])]
    for stretch in np.array_split(np.arange(n_frames), N_STRETCHES):
        n_kept = round(rng.uniform(low, high) * len(stretch))
        kept.append(rng.choice(stretch, n_kept, replace=False))
    return np.unique(np.concatenate(kept))


def _nearest(kept: np.ndarray, n_frames: int) -> np.ndarray:
    """Position of the kept moment nearest to every moment, the earlier of two."""
    return np.searchsorted((kept[1:] + kept[:-1]) / 2, np.arange(n_frames))
