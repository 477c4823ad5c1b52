"""Sequences of several modalities with different clocks and a known alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmfusion._options import check_flags
from mmfusion._typing import RandomStateLike
from mmfusion.datasets._simulation import (
    check_at_least,
    check_no_overflow,
    check_number,
    check_numbers_fit,
    check_seed,
    counts_by_modality,
    draw_observed,
    is_sequence,
    numbers_by_modality,
    widths_by_name,
)
from mmfusion.modalities import Modalities

# intervals of constant frame rate, as in the toy experiment of canonical time warping
N_RATE_INTERVALS = 5
N_HARMONICS = 5  # of a trajectory, with amplitudes proportional to 1/h


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
    random_state: RandomStateLike = None,
) -> tuple[Modalities, np.ndarray, np.ndarray]:
    """Make sequences of a latent trajectory with different clocks, and their alignment.

    Every class has a smooth latent trajectory, and every sample i adds a smooth
    deviation of its own, which gives ``z_i(t)``. Modality v records
    ``x_iv(t) = f_v(z_i(t)) + noise`` at its own points of the common time: the time is
    cut into five intervals, and in each of them a random share of the points is
    recorded. The point of the common time of every frame is therefore known.

    Parameters
    ----------
    n_samples : int, default=20
        Number of samples, distributed over the classes as evenly as possible.
    n_features : sequence or dict by name of int, default=(3, 5)
        Number of features of each modality that depend on the trajectory. The keys of
        a dict are the names of the modalities; otherwise they are ``modality_0``,
        ``modality_1``, ...
    n_classes : int, default=2
        Number of classes.
    n_frames : int, default=100
        Number of points of the common time, at least 2.
    n_components : int, default=2
        Number of coordinates of the latent trajectory.
    nonlinear : bool, default=False
        Whether ``f_v(z)`` is ``tanh(z A_v + b_v)`` instead of ``z A_v``, with Gaussian
        A_v and b_v that are the same for all samples. The features have unit variance
        before noise is added.
    sample_std : float, default=0.1
        Standard deviation over time of the deviation of a sample. That of the
        trajectory of a class is 1.
    noise_std : float, or sequence or dict by name of float, default=0.1
        Standard deviation of the noise of each modality, which is independent between
        frames.
    n_noise_features : int, or sequence or dict by name of int, default=0
        Number of features, appended to each modality, that are Gaussian noise of unit
        variance.
    frame_rates : tuple of (float, float), default=(0.3, 0.9)
        Range, within (0, 1], of the share of points that a modality records in an
        interval of the common time. The first and the last point are always recorded.
        ``(1, 1)`` makes all clocks equal.
    missing_rate : float, or sequence or dict by name of float, default=0.0
        Share of the samples, drawn at random, that lack each modality, rounded to
        whole samples. Their sequence is None. No sample lacks all modalities.
    random_state : int, RandomState instance or None, default=None
        Seed of the random numbers. An integer gives the same data at every call.

    Returns
    -------
    X : Modalities of shape (n_samples, n_modalities)
        Sequences of float64 of shape (n_recorded_frames, n_features), one per sample
        and modality.
    y : ndarray of int64 of shape (n_samples,)
        Class of each sample, from 0.
    paths : ndarray of int64 of shape (n_samples, n_frames, n_modalities)
        True alignment: ``paths[i, t, v]`` is the frame of modality v of sample i that
        is nearest to point t, the earlier of two. It increases with t by steps of 0 or
        1 from the first frame to the last, and is -1 if the sample lacks the modality.

    Raises
    ------
    TypeError
        If an option has the wrong type.
    ValueError
        If an option does not fit the modalities or is out of range, the missing rates
        leave a sample without any modality, or the data do not fit in memory.

    See Also
    --------
    make_multimodal_blobs : Makes clusters of tables.

    Notes
    -----
    A coordinate of a trajectory is ``sum_h c_h cos(pi h t) / h`` for h = 1, ..., 5 and
    t in [0, 1], with standard Gaussian coefficients c_h, standardised over time. The
    different clocks follow the toy experiment of [1]_; trajectories, maps and noise do
    not.

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
    counts = {"n_samples": n_samples, "n_classes": n_classes}
    check_at_least(1, **counts, n_components=n_components)
    check_at_least(2, n_frames=n_frames)
    widths = widths_by_name(n_features)
    names = list(widths)
    noises = numbers_by_modality(noise_std, names, "noise_std")
    noise_widths = counts_by_modality(n_noise_features, names, "n_noise_features")
    sample_std = check_number(sample_std, "sample_std")
    check_flags(nonlinear=nonlinear)
    rates = _checked_rates(frame_rates)
    # trajectories of samples and classes; features and a path of each modality
    n_coordinates = (int(n_samples) + int(n_classes)) * int(n_components)
    n_columns = sum(widths.values()) + sum(noise_widths) + len(names)
    check_numbers_fit(
        (n_coordinates + int(n_samples) * n_columns) * int(n_frames),
        **counts,
        n_frames=n_frames,
        n_features=n_features,
        n_noise_features=n_noise_features,
        n_components=n_components,
    )

    y = rng.permutation(np.arange(n_samples, dtype=np.int64) % n_classes)
    latent = _smooth_curves((n_classes, n_frames, n_components), rng)[y]
    latent = _deviating(latent, sample_std, rng)
    observed = draw_observed(n_samples, missing_rate, names, rng)
    blocks: dict[str, list] = {name: [None] * n_samples for name in names}
    paths = np.full((n_samples, n_frames, len(names)), -1, dtype=np.int64)
    for v, name in enumerate(names):
        clean = _modality_features(latent, widths[name], nonlinear, rng)
        for i in np.flatnonzero(observed[:, v]):
            times, paths[i, :, v] = _recorded_times(n_frames, rates, rng)
            frames = _noisy_frames(clean[i, times], noises[v], noise_widths[v], rng)
            check_no_overflow(frames, name, "sample_std or noise_std")
            blocks[name][i] = frames
    return Modalities(blocks), y, paths


def _checked_rates(frame_rates: Sequence[float]) -> tuple[float, float]:
    if not is_sequence(frame_rates) or len(frame_rates) != 2:
        raise ValueError(
            f"frame_rates={frame_rates!r}: give a range (low, high) within (0, 1]"
        )
    low, high = (
        check_number(rate, "a value of frame_rates", 1) for rate in frame_rates
    )
    if not 0 < low <= high:
        raise ValueError(
            f"frame_rates={frame_rates!r}: give a range (low, high) within (0, 1]"
        )
    return low, high


def _smooth_curves(shape: tuple[int, ...], rng: np.random.RandomState) -> np.ndarray:
    """Draw curves of shape (n_curves, n_frames, n_components), standardised in time."""
    n_curves, n_frames, n_components = shape
    harmonics = np.arange(1, N_HARMONICS + 1)
    phase = np.linspace(0, np.pi, n_frames)[:, None] * harmonics
    coefficients = rng.standard_normal((n_curves, N_HARMONICS, n_components))
    curves = np.cos(phase) / harmonics @ coefficients
    curves -= curves.mean(axis=1, keepdims=True)
    return curves / curves.std(axis=1, keepdims=True)


def _deviating(
    latent: np.ndarray, std: float, rng: np.random.RandomState
) -> np.ndarray:
    """Add a smooth deviation of its own to the trajectory of each sample."""
    # overflow is reported for the features, with the name of the modality
    with np.errstate(over="ignore"):
        return latent + std * _smooth_curves(latent.shape, rng)


def _modality_features(
    latent: np.ndarray, n_features: int, nonlinear: bool, rng: np.random.RandomState
) -> np.ndarray:
    """Map trajectories to the features of one modality, of unit variance."""
    with np.errstate(over="ignore", invalid="ignore"):
        features = latent @ rng.standard_normal((latent.shape[2], n_features))
        if nonlinear:
            features = np.tanh(features + rng.standard_normal(n_features))
        return features / features.std(axis=(0, 1))


def _recorded_times(
    n_frames: int, rates: tuple[float, float], rng: np.random.RandomState
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the points of the common time that a modality records for a sample.

    Returns
    -------
    times : ndarray of int of shape (n_recorded_frames,)
        Recorded points, increasing.
    path : ndarray of int of shape (n_frames,)
        Recorded frame nearest to each point, the earlier of two.
    """
    times = [np.array([0, n_frames - 1])]
    for interval in np.array_split(np.arange(n_frames), N_RATE_INTERVALS):
        n_recorded = round(rng.uniform(*rates) * len(interval))
        times.append(rng.choice(interval, n_recorded, replace=False))
    recorded = np.unique(np.concatenate(times))
    middles = (recorded[1:] + recorded[:-1]) / 2
    return recorded, np.searchsorted(middles, np.arange(n_frames))


def _noisy_frames(
    frames: np.ndarray, std: float, n_noise: int, rng: np.random.RandomState
) -> np.ndarray:
    """Add noise to the features of a sequence, and append noise features."""
    with np.errstate(over="ignore"):
        frames = frames + std * rng.standard_normal(frames.shape)
    return np.hstack([frames, rng.standard_normal((len(frames), n_noise))])
