"""Strings of digits that are heard and shown, composed of isolated ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mmfusion import _blocks
from mmfusion._options import errors_about
from mmfusion._typing import RandomStateLike
from mmfusion.datasets._audio_visual import checked_range
from mmfusion.datasets._simulation import (
    check_at_least,
    check_no_overflow,
    check_number,
    check_seed,
    is_sequence,
)
from mmfusion.modalities import Modalities


def make_digit_strings(
    audio: ArrayLike,
    images: ArrayLike,
    y: ArrayLike,
    n_samples: int = 100,
    *,
    n_digits: tuple[int, int] = (3, 6),
    stretches: tuple[float, float] = (0.6, 1.4),
    noise_std: float = 0.0,
    random_state: RandomStateLike = None,
) -> tuple[Modalities, np.ndarray, list[np.ndarray]]:
    """Make strings of digits from recordings and images of single ones.

    A string has random digits with repetition. The recording of each is a random one
    of its class, stretched or compressed in time by a random factor, and one follows
    the other without pauses. Along with a random frame of it, there is one image, also
    a random one of the class. The classes may be other than digits.

    Parameters
    ----------
    audio : array-like of shape (n_recordings, n_frames, n_features)
        Recordings of single digits.
    images : array-like of shape (n_recordings, n_pixels)
        Images of single digits.
    y : array-like of shape (n_recordings,)
        Class of each recording, and of the image of the same row.
    n_samples : int, default=100
        Number of strings.
    n_digits : tuple of (int, int), default=(3, 6)
        Range of the digits of a string, at least 1, both ends included.
    stretches : tuple of (float, float), default=(0.6, 1.4)
        Range of the factors by which recordings are stretched in time, above 0.
    noise_std : float, default=0.0
        Standard deviation of the noise that is added to every feature of the audio,
        relative to that of the feature over all recordings.
    random_state : int, RandomState instance or None, default=None
        Seed of the random numbers. An integer gives the same data at every call. The
        strings of a seed are the same for every `noise_std`.

    Returns
    -------
    X : Modalities of shape (n_samples, 2)
        Sequences 'audio', of shape (n_frames, n_features + 1), and 'images', of shape
        (n_digits, n_pixels + 1), of float64. The last feature of both is the time, in
        frames of the audio.
    labels : ndarray of object of shape (n_samples,)
        Classes of the digits of each string, arrays of shape (n_digits,).
    spans : list of ndarray of int64 of shape (n_digits, 2)
        First frame of each digit in the audio, and the one after its last.

    Raises
    ------
    TypeError
        If an option has the wrong type.
    ValueError
        If the arrays have other shapes or unlike numbers of rows, an option is out of
        range, or the noise is too large for float64.

    See Also
    --------
    make_event_sequences : Makes events without times, to be aligned with a signal.
    mmfusion.CTCRecognizer : Recognises the strings.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.datasets import make_digit_strings
    >>> rng = np.random.default_rng(0)
    >>> audio, images = rng.normal(size=(20, 10, 3)), rng.normal(size=(20, 4))
    >>> X, labels, spans = make_digit_strings(
    ...     audio, images, np.arange(20) % 10, 5, random_state=0
    ... )
    >>> [len(x) for x in X["images"]] == [len(own) for own in labels]
    True
    >>> [len(x) for x in X["audio"]] == [own[-1, 1] for own in spans]
    True
    """
    rng = check_seed(random_state)
    check_at_least(1, n_samples=n_samples)
    fewest, most = checked_range(n_digits, "n_digits", 1)
    slowest, fastest = _checked_stretches(stretches)
    noise_std = check_number(noise_std, "noise_std")
    recordings, shown, classes = _checked_arrays(audio, images, y)
    members = [np.flatnonzero(classes == label) for label in np.unique(classes)]
    deviations = recordings.reshape(-1, recordings.shape[2]).std(axis=0)
    blocks: dict[str, list[np.ndarray]] = {"audio": [], "images": []}
    labels = np.empty(n_samples, dtype=object)
    spans = []
    for i in range(n_samples):
        drawn = rng.randint(len(members), size=rng.randint(fewest, most + 1))
        heard = [
            _stretched(
                recordings[rng.choice(members[k])], rng.uniform(slowest, fastest)
            )
            for k in drawn
        ]
        pictures = shown[[rng.choice(members[k]) for k in drawn]]
        ends = np.cumsum([len(own) for own in heard])
        starts = ends - [len(own) for own in heard]
        moments = rng.randint(starts, ends)
        clean = np.concatenate(heard)
        # drawn without noise, too, so that a seed has the same strings
        noise = deviations * rng.standard_normal(clean.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            noisy = clean + noise_std * noise if noise_std else clean
        check_no_overflow(noisy, "audio", "noise_std")
        blocks["audio"].append(np.column_stack([noisy, np.arange(len(noisy))]))
        blocks["images"].append(np.column_stack([pictures, moments]))
        labels[i] = classes[[members[k][0] for k in drawn]]
        spans.append(np.column_stack([starts, ends]).astype(np.int64))
    return Modalities(blocks), labels, spans


def _stretched(recording: np.ndarray, factor: float) -> np.ndarray:
    """Interpolate a recording at other times."""
    n_frames = max(1, round(factor * len(recording)))
    at = np.linspace(0, len(recording) - 1, n_frames)
    own = np.arange(len(recording))
    return np.column_stack([np.interp(at, own, feature) for feature in recording.T])


def _checked_stretches(given: tuple[float, float]) -> tuple[float, float]:
    """Return the ends of the range."""
    message = f"stretches={given!r}: give a range (low, high) of numbers above 0"
    if not is_sequence(given) or len(given) != 2:
        raise ValueError(message)
    try:
        low, high = (check_number(x, "stretches", high=100.0) for x in given)
    except TypeError as error:
        raise TypeError(message) from error
    if not 0 < low <= high:
        raise ValueError(f"{message}, the smaller first")
    return low, high


def _checked_arrays(
    audio: ArrayLike, images: ArrayLike, y: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the arrays, whose shapes fit one another."""
    arrays: list[np.ndarray] = []
    shapes = {
        "audio": "(n_recordings, n_frames, n_features)",
        "images": "(n_recordings, n_pixels)",
        "y": "(n_recordings,)",
    }
    for (name, shape), given in zip(shapes.items(), (audio, images, y), strict=True):
        with errors_about(name):
            array = np.asarray(
                _blocks.as_plain(given, name), dtype=None if name == "y" else np.float64
            )
        if array.ndim != shape.count(",") + (name != "y") or 0 in array.shape:
            raise ValueError(f"{name} has shape {array.shape}; give {shape}")
        if name != "y" and not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity; leave these rows out")
        if len(array) != len(arrays[0] if arrays else array):
            raise ValueError(
                f"{name} has {len(array)} rows, and audio has {len(arrays[0])}; give a "
                "recording, an image and a class of the same digit in each row"
            )
        arrays.append(array)
    return arrays[0], arrays[1], arrays[2]
