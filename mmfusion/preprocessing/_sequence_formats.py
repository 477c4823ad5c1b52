"""Sequences in the layouts of other packages, there and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmfusion._blocks import as_dense_array, as_sequences
from mmfusion._options import errors_about
from mmfusion._sequences import cut_frames, cut_padding


def sequences_from_padded(padded: Any) -> np.ndarray:
    """Take sequences out of a padded array, the layout of tslearn.

    Parameters
    ----------
    padded : array-like of shape (n_samples, n_frames, n_features)
        The sequences, each followed by frames of NaN up to the length of the longest.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        A view of shape (n_frames_of_sample, n_features) for each sample, without the
        trailing frames that are all NaN; None where all frames are. Frames of NaN
        before the last observed one stay.

    Raises
    ------
    ValueError
        If the array has less than 3 dimensions.

    See Also
    --------
    padded_from_sequences : The way back.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.preprocessing import sequences_from_padded
    >>> padded = [[[1.0], [2.0], [3.0]], [[4.0], [np.nan], [np.nan]]]
    >>> [sequence.shape for sequence in sequences_from_padded(padded)]
    [(3, 1), (1, 1)]
    """
    padded = as_dense_array(padded, "padded")
    if padded.ndim < 3:
        raise ValueError(
            f"the padded array has shape {padded.shape}; it needs (n_samples, "
            "n_frames, n_features): use padded[:, :, None] for a single feature"
        )
    return cut_padding(padded)


def padded_from_sequences(sequences: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Write sequences into one array padded with NaN, the layout of tslearn.

    Parameters
    ----------
    sequences : list or ndarray of object of shape (n_samples,)
        An array of shape (n_frames_of_sample, n_features) or None for each sample.

    Returns
    -------
    ndarray of shape (n_samples, n_frames, n_features)
        The sequences, with NaN after their last frame up to the length of the
        longest, and NaN only for a sample of None or without frames. float32 if all
        are, else float64.

    Raises
    ------
    ValueError
        If all are None, or two differ in their number of features.

    See Also
    --------
    sequences_from_padded : The way back, on which trailing frames that are all NaN
        are lost.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.preprocessing import padded_from_sequences
    >>> padded_from_sequences([np.ones((1, 2)), np.zeros((2, 2))]).tolist()
    [[[1.0, 1.0], [nan, nan]], [[0.0, 0.0], [0.0, 0.0]]]
    """
    block = as_sequences(sequences, "sequences")
    given = _of_one_width(block)
    with errors_about("sequences"):
        dtype = np.result_type(np.float32, *{e.dtype for e in given})
    longest = max(map(len, given))
    padded = np.full((len(block), longest, *given[0].shape[1:]), np.nan, dtype=dtype)
    for row, sequence in zip(padded, block, strict=True):
        if sequence is not None:
            row[: len(sequence)] = sequence
    return padded


def sequences_from_channels_first(collection: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Turn series whose channels come first, the layout of aeon and sktime.

    Parameters
    ----------
    collection : list of ndarray, or ndarray of shape (n_samples, n_features, n_frames)
        An array of shape (n_features, n_frames_of_sample) or None for each sample.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        A view of shape (n_frames_of_sample, n_features), or None, for each sample.

    Raises
    ------
    ValueError
        If an array has not 2 dimensions.

    See Also
    --------
    channels_first_from_sequences : The way back.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.preprocessing import sequences_from_channels_first
    >>> collection = [np.zeros((3, 50)), np.zeros((3, 70))]
    >>> [sequence.shape for sequence in sequences_from_channels_first(collection)]
    [(50, 3), (70, 3)]
    """
    return _turned(as_sequences(collection, "collection"))


def channels_first_from_sequences(
    sequences: Sequence[Any] | np.ndarray,
) -> list[np.ndarray | None]:
    """Turn sequences so that channels come first, the layout of aeon and sktime.

    Parameters
    ----------
    sequences : list or ndarray of object of shape (n_samples,)
        An array of shape (n_frames_of_sample, n_features) or None for each sample.

    Returns
    -------
    list of ndarray
        A C-contiguous array of shape (n_features, n_frames_of_sample) for each
        sample; None, which aeon does not take, where a sample has no sequence.

    Raises
    ------
    ValueError
        If an array has not 2 dimensions.

    See Also
    --------
    sequences_from_channels_first : The way back.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.preprocessing import channels_first_from_sequences
    >>> sequences = [np.zeros((50, 3)), np.zeros((70, 3))]
    >>> [series.shape for series in channels_first_from_sequences(sequences)]
    [(3, 50), (3, 70)]
    """
    # numba, on which aeon rests, takes no list of arrays whose memory orders differ
    return [
        None if series is None else np.ascontiguousarray(series)
        for series in _turned(as_sequences(sequences, "sequences"))
    ]


def sequences_from_frames(frames: Any, lengths: Any) -> np.ndarray:
    """Cut frames that stand one after another into sequences.

    Parameters
    ----------
    frames : array-like of shape (n_frames_in_all, n_features)
        The frames of all samples. A memmap stays in its file.
    lengths : array-like of int of shape (n_samples,)
        Number of frames of each sample; -1 where it has no sequence.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        A view of shape (n_frames_of_sample, n_features), or None, for each sample.

    Raises
    ------
    ValueError
        If the lengths are no integers or do not add up to the number of frames.

    See Also
    --------
    frames_from_sequences : The way back.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.preprocessing import sequences_from_frames
    >>> sequences = sequences_from_frames(np.arange(10).reshape(5, 2), [2, -1, 3])
    >>> sequences[0].tolist(), sequences[1], sequences[2].shape
    ([[0, 1], [2, 3]], None, (3, 2))
    """
    frames = as_dense_array(frames, "frames")
    if frames.ndim < 2:
        raise ValueError(
            f"frames have shape {frames.shape}; they need (n_frames_in_all, "
            "n_features): use frames[:, None] for a single feature"
        )
    return cut_frames(frames, as_dense_array(lengths, "lengths"), "lengths")


def frames_from_sequences(
    sequences: Sequence[Any] | np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Write the frames of all sequences one after another.

    Parameters
    ----------
    sequences : list or ndarray of object of shape (n_samples,)
        An array of shape (n_frames_of_sample, n_features) or None for each sample.

    Returns
    -------
    frames : ndarray of shape (n_frames_in_all, n_features)
        The frames of all samples.
    lengths : ndarray of int64 of shape (n_samples,)
        Number of frames of each sample; -1 where it has no sequence.

    Raises
    ------
    ValueError
        If all are None, or two differ in their number of features.

    See Also
    --------
    sequences_from_frames : The way back.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.preprocessing import frames_from_sequences
    >>> sequences = [np.zeros((2, 3)), None, np.zeros((4, 3))]
    >>> frames, lengths = frames_from_sequences(sequences)
    >>> frames.shape, lengths.tolist()
    ((6, 3), [2, -1, 4])
    """
    block = as_sequences(sequences, "sequences")
    given = _of_one_width(block)
    with errors_about("sequences"):
        frames = np.concatenate(given)
    return frames, np.array([-1 if e is None else len(e) for e in block], np.int64)


def _turned(block: np.ndarray) -> np.ndarray:
    turned = np.empty(len(block), dtype=object)
    for i, element in enumerate(block):
        if element is None:
            continue
        if element.ndim != 2:
            raise ValueError(
                f"collection: sample {i} has shape {element.shape}; a series with "
                "channels has 2 dimensions, (n_channels, n_frames)"
            )
        turned[i] = element.T
    return turned


def _of_one_width(block: np.ndarray) -> list[np.ndarray]:
    """Sequences that are there, once their frames are known to be alike."""
    given = [i for i, element in enumerate(block) if element is not None]
    if not given:
        raise ValueError(
            "sequences holds no sequence, so that the number of features is unknown"
        )
    inner = block[given[0]].shape[1:]
    for i in given:
        if block[i].shape[1:] != inner:
            raise ValueError(
                f"sequences: frames of sample {i} have shape {block[i].shape[1:]}, "
                f"those of sample {given[0]} {inner}; all frames need the same features"
            )
    return [block[i] for i in given]
