"""Conversion of sequences to and from the formats of other packages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._blocks import as_dense_array, as_sequences
from mmfusion._numbers import is_real
from mmfusion._options import check_flags, errors_about
from mmfusion._sequences import cut_frames, cut_padding


def sequences_from_padded(
    padded: ArrayLike, lengths: ArrayLike | None = None
) -> np.ndarray:
    """Return the sequences of a padded array, the format of tslearn and of torch.

    Parameters
    ----------
    padded : array-like of shape (n_samples, n_frames, n_features)
        The sequences, each followed by padding up to the length of the longest.
    lengths : array-like of int of shape (n_samples,), default=None
        Number of frames of each sample, whatever the padding is, such as zeros; 0 or
        -1 is a missing sequence. None takes frames of NaN as padding.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        A view of shape (n_frames_of_sample, n_features) for each sample, or None for
        a missing sequence. Without `lengths`, trailing frames that are all NaN are
        cut off, and a sample of these alone is missing; other frames of NaN are kept.

    Raises
    ------
    ValueError
        If the array has less than 3 dimensions, or the lengths are not integers, of
        another number or larger than the array.

    See Also
    --------
    padded_from_sequences : The inverse.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.preprocessing import sequences_from_padded
    >>> padded = [[[1.0], [2.0], [3.0]], [[4.0], [np.nan], [np.nan]]]
    >>> [sequence.shape for sequence in sequences_from_padded(padded)]
    [(3, 1), (1, 1)]
    >>> padded = [[[1.0], [2.0], [3.0]], [[4.0], [0.0], [0.0]]]
    >>> [sequence.shape for sequence in sequences_from_padded(padded, [3, 1])]
    [(3, 1), (1, 1)]
    """
    padded = as_dense_array(padded, "padded")
    if padded.ndim < 3:
        raise ValueError(
            f"the padded array has shape {padded.shape}; it needs (n_samples, "
            "n_frames, n_features): use padded[:, :, None] for a single feature"
        )
    if lengths is None:
        return cut_padding(padded)
    sequences = np.full(len(padded), None, dtype=object)
    for i, length in enumerate(_checked_lengths(lengths, padded)):
        if length > 0:
            sequences[i] = padded[i, :length]
    return sequences


def _checked_lengths(lengths: ArrayLike, padded: np.ndarray) -> list[int]:
    """Return the numbers of frames of padded samples, after their checks."""
    given = as_dense_array(lengths, "lengths")
    n_samples, n_frames = padded.shape[:2]
    if given.ndim == 2 and given.shape == (n_samples, n_frames):
        raise ValueError(
            f"lengths has shape {given.shape}, of a mask of frames; give the number of "
            "frames of each sample, by mask.sum(axis=1)"
        )
    if given.shape != (n_samples,) or given.dtype.kind not in "iu":
        raise ValueError(
            f"lengths has {given.dtype} of shape {given.shape}; give one integer for "
            f"each of the {n_samples} samples"
        )
    wrong = np.flatnonzero((given < -1) | (given > n_frames))
    if wrong.size:
        raise ValueError(
            f"lengths[{wrong[0]}] is {given[wrong[0]]}; the padded array has {n_frames}"
            " frames, and 0 or -1 stands for a missing sequence"
        )
    return given.tolist()


@overload
def padded_from_sequences(
    sequences: Sequence[Any] | np.ndarray,
    fill_value: float = ...,
    *,
    return_lengths: Literal[False] = ...,
) -> np.ndarray: ...
@overload
def padded_from_sequences(
    sequences: Sequence[Any] | np.ndarray,
    fill_value: float = ...,
    *,
    return_lengths: Literal[True],
) -> tuple[np.ndarray, np.ndarray]: ...
def padded_from_sequences(
    sequences: Sequence[Any] | np.ndarray,
    fill_value: float = np.nan,
    *,
    return_lengths: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Write sequences into one padded array, the format of tslearn and of torch.

    Parameters
    ----------
    sequences : list or ndarray of object of shape (n_samples,)
        An array of shape (n_frames_of_sample, n_features) or None for each sample.
    fill_value : float, default=numpy.nan
        Value of the padding: NaN for tslearn, 0 for networks, which need the lengths.
    return_lengths : bool, default=False
        Whether the numbers of frames are returned, too.

    Returns
    -------
    padded : ndarray of shape (n_samples, n_frames, n_features)
        The sequences, with padding after their last frame up to the length of the
        longest; a sample that is None or without frames is all padding. float32 if all
        sequences are, else float64.
    lengths : ndarray of int64 of shape (n_samples,)
        Number of frames of each sample, -1 for a missing sequence; only if
        `return_lengths`.

    Raises
    ------
    TypeError
        If `return_lengths` is no boolean, or `fill_value` no number.
    ValueError
        If all are None, or two differ in their number of features.

    See Also
    --------
    sequences_from_padded : The inverse, by the lengths; without them, trailing frames
        that are all NaN are lost.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.preprocessing import padded_from_sequences
    >>> padded_from_sequences([np.ones((1, 2)), np.zeros((2, 2))]).tolist()
    [[[1.0, 1.0], [nan, nan]], [[0.0, 0.0], [0.0, 0.0]]]
    >>> sequences = [np.ones((1, 2)), np.zeros((2, 2))]
    >>> padded, lengths = padded_from_sequences(sequences, 0, return_lengths=True)
    >>> padded[0].tolist(), lengths.tolist()
    ([[1.0, 1.0], [0.0, 0.0]], [1, 2])
    """
    check_flags(return_lengths=return_lengths)
    if not is_real(fill_value):
        raise TypeError(f"fill_value={fill_value!r}; give a number, such as 0 or nan")
    block = as_sequences(sequences, "sequences")
    observed = _of_one_width(block)
    with errors_about("sequences"):
        dtype = np.result_type(np.float32, *{e.dtype for e in observed})
    shape = (len(block), max(map(len, observed)), *observed[0].shape[1:])
    padded = np.full(shape, fill_value, dtype=dtype)
    for row, sequence in zip(padded, block, strict=True):
        if sequence is not None:
            row[: len(sequence)] = sequence
    return (padded, _lengths_of(block)) if return_lengths else padded


def sequences_from_channels_first(collection: Sequence[Any] | np.ndarray) -> np.ndarray:
    """Transpose series whose channels come first, the format of aeon and sktime.

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
    channels_first_from_sequences : The inverse.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.preprocessing import sequences_from_channels_first
    >>> collection = [np.zeros((3, 50)), np.zeros((3, 70))]
    >>> [sequence.shape for sequence in sequences_from_channels_first(collection)]
    [(50, 3), (70, 3)]
    """
    return _transposed(as_sequences(collection, "collection"))


def channels_first_from_sequences(
    sequences: Sequence[Any] | np.ndarray,
) -> list[np.ndarray | None]:
    """Transpose sequences so that channels come first, as in aeon and sktime.

    Parameters
    ----------
    sequences : list or ndarray of object of shape (n_samples,)
        An array of shape (n_frames_of_sample, n_features) or None for each sample.

    Returns
    -------
    list of ndarray
        A C-contiguous array of shape (n_features, n_frames_of_sample) for each
        sample; None, which aeon does not accept, for a missing sequence.

    Raises
    ------
    ValueError
        If an array has not 2 dimensions.

    See Also
    --------
    sequences_from_channels_first : The inverse.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.preprocessing import channels_first_from_sequences
    >>> sequences = [np.zeros((50, 3)), np.zeros((70, 3))]
    >>> [series.shape for series in channels_first_from_sequences(sequences)]
    [(3, 50), (3, 70)]
    """
    # numba, which aeon uses, accepts no list of arrays of different memory orders
    return [
        None if series is None else np.ascontiguousarray(series)
        for series in _transposed(as_sequences(sequences, "sequences"))
    ]


def sequences_from_frames(frames: ArrayLike, lengths: ArrayLike) -> np.ndarray:
    """Cut concatenated frames into sequences.

    Parameters
    ----------
    frames : array-like of shape (n_frames_in_all, n_features)
        The frames of all samples. A memmap stays in its file.
    lengths : array-like of int of shape (n_samples,)
        Number of frames of each sample; -1 for a missing sequence.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        A view of shape (n_frames_of_sample, n_features), or None, for each sample.

    Raises
    ------
    ValueError
        If the lengths are not integers or do not add up to the number of frames.

    See Also
    --------
    frames_from_sequences : The inverse.

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
    """Concatenate the frames of all sequences.

    Parameters
    ----------
    sequences : list or ndarray of object of shape (n_samples,)
        An array of shape (n_frames_of_sample, n_features) or None for each sample.

    Returns
    -------
    frames : ndarray of shape (n_frames_in_all, n_features)
        The frames of all samples.
    lengths : ndarray of int64 of shape (n_samples,)
        Number of frames of each sample; -1 for a missing sequence.

    Raises
    ------
    ValueError
        If all are None, or two differ in their number of features.

    See Also
    --------
    sequences_from_frames : The inverse.

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
    observed = _of_one_width(block)
    with errors_about("sequences"):
        frames = np.concatenate(observed)
    return frames, _lengths_of(block)


def _lengths_of(block: np.ndarray) -> np.ndarray:
    """Return the number of frames of each sample; -1 for a missing sequence."""
    return np.array([-1 if e is None else len(e) for e in block], np.int64)


def _transposed(block: np.ndarray) -> np.ndarray:
    """Return a view with swapped axes of each array."""
    transposed = np.empty(len(block), dtype=object)
    for i, element in enumerate(block):
        if element is None:
            continue
        if element.ndim != 2:
            raise ValueError(
                f"collection: sample {i} has shape {element.shape}; a series with "
                "channels has 2 dimensions, (n_channels, n_frames)"
            )
        transposed[i] = element.T
    return transposed


def _of_one_width(block: np.ndarray) -> list[np.ndarray]:
    """Return the observed sequences, after a check that their widths are equal."""
    observed = [i for i, element in enumerate(block) if element is not None]
    if not observed:
        raise ValueError(
            "sequences holds no sequence, so that the number of features is unknown"
        )
    inner = block[observed[0]].shape[1:]
    for i in observed:
        if block[i].shape[1:] != inner:
            raise ValueError(
                f"sequences: frames of sample {i} have shape {block[i].shape[1:]}, "
                f"those of sample {observed[0]} {inner}; all frames need the same "
                "features"
            )
    return [block[i] for i in observed]
