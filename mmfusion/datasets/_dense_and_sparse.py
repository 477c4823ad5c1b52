"""A dense signal and sparse events whose times decide the class."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from mmfusion._numbers import is_real
from mmfusion._typing import RandomStateLike
from mmfusion.datasets._audio_visual import checked_range
from mmfusion.datasets._blobs import floating_dtype
from mmfusion.datasets._simulation import (
    check_at_least,
    check_no_overflow,
    check_number,
    check_numbers_fit,
    check_seed,
)
from mmfusion.modalities import Modalities

N_FEATURES = 5  # of a frame of the signal
N_LATENTS = 3  # smooth curves that are mixed in the signal; the first decides
N_TYPES = 4  # of events, half of them with a minus
SMOOTHING_FRAMES = 9


def make_dense_and_sparse(
    n_samples: int = 100,
    n_frames: int = 120,
    *,
    n_events: tuple[int, int] = (3, 8),
    noise_std: float = 0.3,
    clock_offset: float = 0.0,
    dtype: DTypeLike = np.float64,
    random_state: RandomStateLike = None,
) -> tuple[Modalities, np.ndarray]:
    """Make a dense signal and a few events in it, whose times decide the class.

    The signal mixes three smooth curves h of standard deviation 1 in five features:
    ``x_t = A h_t + noise``. Events happen at random frames t_k, with a type that stands
    for a sign s_k. The class is 1 if ``sum_k s_k h_1(t_k) > 0``. Neither modality alone
    holds anything of it, nor do any features of the whole signal beside those of all
    events: each event has to be read along with the frame of its time. The mixing is
    the same for all seeds, so that data of two seeds can be used to train and to test.

    Parameters
    ----------
    n_samples : int, default=100
        Number of samples.
    n_frames : int, default=120
        Number of frames of a signal, at least that of the events.
    n_events : tuple of (int, int), default=(3, 8)
        Range of the events of a sample, at least 1, both ends included.
    noise_std : float, default=0.3
        Standard deviation of the noise of all features, which is independent between
        frames; the entries of A and of the vectors that stand for types are about 1.
    clock_offset : float, default=0.0
        How many frames later the clock of the events is than that of the signal.
    dtype : dtype, default=numpy.float64
        Type of the sequences.
    random_state : int, RandomState instance or None, default=None
        Seed of the random numbers. An integer gives the same data at every call.

    Returns
    -------
    X : Modalities of shape (n_samples, 2)
        Sequences 'signal', of shape (n_frames, 6), and 'events', of shape (n_events,
        5). The last feature of both is the time of a frame, in frames of the signal.
    y : ndarray of int64 of shape (n_samples,)
        Classes 0 and 1.

    Raises
    ------
    TypeError
        If an option has the wrong type.
    ValueError
        If an option is out of range, or the data do not fit in memory.

    See Also
    --------
    make_event_sequences : Makes events without times, to be aligned with a signal.
    mmfusion.NeuralFusionClassifier : Reads them, with ``fusion='cross_attention'``.

    Examples
    --------
    >>> from mmfusion.datasets import make_dense_and_sparse
    >>> X, y = make_dense_and_sparse(4, random_state=0)
    >>> X.names
    ('signal', 'events')
    >>> [len(x) for x in X["signal"]]
    [120, 120, 120, 120]
    >>> all(3 <= len(x) <= 8 for x in X["events"])
    True
    """
    rng = check_seed(random_state)
    check_at_least(1, n_samples=n_samples, n_frames=n_frames)
    fewest, most = checked_range(n_events, "n_events", 1)
    if most > n_frames:
        raise ValueError(
            f"n_events={n_events} are more than n_frames={n_frames}, and two events "
            "are never at one frame"
        )
    noise_std = check_number(noise_std, "noise_std")
    if not is_real(clock_offset):
        raise TypeError(f"clock_offset is {clock_offset!r}; give a number")
    if not np.isfinite(offset := float(clock_offset)):
        raise ValueError(f"clock_offset={clock_offset} is not finite")
    dtype = floating_dtype(dtype)
    check_numbers_fit(
        int(n_samples) * int(n_frames) * (N_FEATURES + N_LATENTS),
        n_samples=n_samples,
        n_frames=n_frames,
    )
    fixed = np.random.RandomState(0)
    mixing = fixed.standard_normal((N_LATENTS, N_FEATURES))
    type_means = fixed.standard_normal((N_TYPES, N_TYPES))
    signs = np.where(np.arange(N_TYPES) % 2, -1, 1)
    blocks: dict[str, list[np.ndarray]] = {"signal": [], "events": []}
    y = np.empty(n_samples, dtype=np.int64)
    for i in range(n_samples):
        curves = _moving_averages(n_frames, rng)
        n_own = int(rng.randint(fewest, most + 1))
        times = np.sort(rng.choice(n_frames, n_own, replace=False))
        types = rng.randint(N_TYPES, size=n_own)
        y[i] = signs[types] @ curves[times, 0] > 0
        clean = {
            "signal": (curves @ mixing, np.arange(n_frames)),
            "events": (type_means[types], times + offset),
        }
        for name, (frames, clock) in clean.items():
            with np.errstate(over="ignore"):
                noisy = frames + noise_std * rng.standard_normal(frames.shape)
                sequence = np.column_stack([noisy, clock]).astype(dtype)
            check_no_overflow(sequence, name, "noise_std or clock_offset")
            blocks[name].append(sequence)
    return Modalities(blocks), y


def _moving_averages(n_frames: int, rng: np.random.RandomState) -> np.ndarray:
    """Draw curves of standard deviation 1, each a moving average of white noise."""
    window = np.hanning(SMOOTHING_FRAMES + 2)[1:-1]
    window /= np.linalg.norm(window)
    white = rng.standard_normal((N_LATENTS, n_frames + SMOOTHING_FRAMES - 1))
    return np.stack([np.convolve(curve, window, "valid") for curve in white], axis=1)
