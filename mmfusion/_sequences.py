"""Sequences of a modality: their forms, padding, missing ones and gaps.

A modality of sequences comes in one of two forms: an object array (or a list) with an
array of shape (n_frames, n_features) for each sample, or one array of shape
(n_samples, n_frames, n_features) whose trailing frames of NaN are padding. Estimators
read both into the first, with 2-D float arrays and None where the modality is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._blocks import (
    Block,
    as_elements,
    as_float_array,
    is_sequences,
    kind,
    null_cells,
    shape_name,
)
from mmfusion._numbers import is_frame, package_of


def is_lone_block(X: object) -> bool:
    """Return whether X is the block of one modality of sequences, not a table.

    Such a block is what PerModality passes to the transformer of a modality.
    """
    if not isinstance(X, np.ndarray):
        return False
    if is_sequences(X):
        return any(getattr(element, "ndim", 0) > 1 for element in X)
    return X.ndim > 2


def holds_sequences(block: Block) -> bool:
    """Return whether a block holds sequences, in either form."""
    return is_sequences(block) or (kind(block) == "dense" and block.ndim > 2)


def cut_padding(padded: np.ndarray) -> np.ndarray:
    """Return the sequences of a padded array, as views up to their last frame.

    Trailing frames that are all NaN are padding; a row of them is a missing sequence.

    Parameters
    ----------
    padded : ndarray of shape (n_samples, n_frames, ...)
        The padded array.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        The sequences; None where all frames are NaN.
    """
    block = np.empty(len(padded), dtype=object)
    for i, frames in enumerate(padded):
        block[i] = _without_padding(frames)
    return block


def _without_padding(frames: np.ndarray) -> np.ndarray | None:
    if frames.size == 0:
        return None
    # in most sequences the last frame is observed, and the others need not be read
    if not null_cells(frames[-1]).all():
        return frames
    observed = ~null_cells(frames).reshape(len(frames), -1).all(axis=1)
    return frames[: np.flatnonzero(observed)[-1] + 1] if observed.any() else None


def cut_frames(
    frames: np.ndarray, lengths: np.ndarray, name: str, found: str = "there are"
) -> np.ndarray:
    """Cut concatenated frames into sequences, as views.

    Parameters
    ----------
    frames : ndarray of shape (n_frames_in_all, n_features)
        The frames of all samples.
    lengths : ndarray of int of shape (n_samples,)
        Number of frames of each sample; -1 for a missing sequence.
    name : str
        Name of the lengths in errors.
    found : str, default='there are'
        How errors introduce the number of frames.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        The sequences; None where the length is -1.

    Raises
    ------
    ValueError
        If the lengths are not integers, or do not add up to the number of frames.
    """
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
        raise ValueError(
            f"{name} has {lengths.dtype} of shape {lengths.shape}; it needs one "
            "integer per sample"
        )
    if lengths.size and (lengths.min() < -1 or lengths.max() > len(frames)):
        raise ValueError(
            f"{name} has values from {lengths.min()} to {lengths.max()}; {found} "
            f"{len(frames)} frames, and -1 stands for a sample without any"
        )
    n_frames = np.maximum(lengths.astype(np.int64), 0)  # small types would overflow
    if n_frames.sum() != len(frames):
        raise ValueError(
            f"{name} adds up to {n_frames.sum()} frames; {found} {len(frames)}"
        )
    stops = np.cumsum(n_frames)
    block = np.full(len(lengths), None, dtype=object)
    for i in np.flatnonzero(lengths >= 0):
        block[i] = frames[stops[i] - n_frames[i] : stops[i]]
    return block


def float_sequences(
    block: Block,
    name: str,
    mask: np.ndarray | None = None,
    *,
    allow_gaps: bool = True,
    allow_infinity: bool = False,
) -> np.ndarray:
    """Read a block in either form into 2-D float arrays, one per sample.

    Parameters
    ----------
    block : object array of sequences, or ndarray of shape (n_samples, n_frames, ...)
        The block; trailing frames of a dense one that are all NaN are padding.
    name : str
        Name of the modality, for errors.
    mask : ndarray of bool of shape (n_samples,), default=None
        False for samples whose sequences are ignored; None reads all.
    allow_gaps : bool, default=True
        Whether frames may hold NaN.
    allow_infinity : bool, default=False
        Whether frames may hold infinite values.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        Arrays of shape (n_frames, n_features), all of one width, float32 where they
        were and else float64, views where possible; None where a sample lacks the
        modality: given as None, all NaN, or masked.

    Raises
    ------
    ValueError
        If the block is a table, or a sequence is empty, holds no numbers, infinity or
        a gap that are not allowed, or differs from others in width.
    """
    if not holds_sequences(block):
        raise ValueError(
            f"modality {name!r} is a table of shape {shape_name(block)}; sequences "
            "are one array of shape (n_frames, n_features) per sample, or one array "
            "of shape (n_samples, n_frames, n_features) with NaN after the last frame"
        )
    if not is_sequences(block):
        block = cut_padding(block)
    sequences = np.full(len(block), None, dtype=object)
    first: int | None = None  # sample whose width the others must have
    for i in range(len(block)) if mask is None else np.flatnonzero(mask).tolist():
        if block[i] is None:
            continue
        what = f"modality {name!r}: the sequence of sample {i}"
        frames = _float_frames(
            block[i], what, allow_gaps=allow_gaps, allow_infinity=allow_infinity
        )
        if frames is None:
            continue
        first = i if first is None else first
        sequences[i] = frames
        if frames.shape[1] != sequences[first].shape[1]:
            raise ValueError(
                f"{what} has {frames.shape[1]} features per frame, that of sample "
                f"{first} has {sequences[first].shape[1]}; give every frame the same "
                f"features{transposed_remedy([frames, sequences[first]])}"
            )
    return sequences


def token_sequences(
    block: Block, name: str, mask: np.ndarray | None = None
) -> np.ndarray:
    """Read a block of sequences whose frames are tokens, single values of any type.

    Parameters
    ----------
    block : object array of sequences, or ndarray of shape (n_samples, n_frames, 1)
        The block.
    name : str
        Name of the modality, for errors.
    mask : ndarray of bool of shape (n_samples,), default=None
        False for samples whose sequences are ignored; None reads all.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        Arrays of shape (n_tokens, 1); None where a sample lacks the modality: given as
        None, without tokens, or masked.

    Raises
    ------
    ValueError
        If a frame has several features.
    """
    if not is_sequences(block):
        block = cut_padding(block)
    sequences = np.full(len(block), None, dtype=object)
    for i in range(len(block)) if mask is None else np.flatnonzero(mask).tolist():
        if block[i] is None or block[i].size == 0:
            continue
        if block[i].ndim != 2 or block[i].shape[1] != 1:
            raise ValueError(
                f"modality {name!r}: the sequence of sample {i} has shape "
                f"{block[i].shape}, and tokens have (n_tokens, 1); give each frame one "
                "value, such as the tuple of its features"
            )
        sequences[i] = block[i]
    return sequences


def _float_frames(
    element: np.ndarray, what: str, *, allow_gaps: bool, allow_infinity: bool
) -> np.ndarray | None:
    """Read one sequence; None if it is NaN in all frames."""
    if element.size == 0:
        raise ValueError(
            f"{what} is empty, of shape {element.shape}; give None for a sample that "
            "lacks the modality"
        )
    frames = as_float_array(element.reshape(len(element), -1), what)
    with np.errstate(over="ignore", invalid="ignore"):
        # a sum allocates no array, unlike the searches below
        if np.isfinite(frames.sum()):
            return frames
    infinite = np.argwhere(np.isinf(frames))
    if len(infinite) and not allow_infinity:
        frame, feature = infinite[0].tolist()
        raise ValueError(
            f"{what} is infinite in frame {frame}, feature {feature}; write NaN where "
            "nothing was measured"
        )
    gaps = np.argwhere(np.isnan(frames))
    if len(gaps) == frames.size:
        return None
    if len(gaps) and not allow_gaps:
        frame, feature = gaps[0].tolist()
        raise ValueError(
            f"{what} is NaN in frame {frame}, feature {feature}; drop such frames, or "
            "interpolate them, for example by SequenceResampler"
        )
    return frames


def resample(sequence: np.ndarray, n_frames: int) -> np.ndarray:
    """Interpolate a sequence linearly at equally spaced times.

    Parameters
    ----------
    sequence : ndarray of shape (n_frames_before, n_features)
        The sequence, of at least one frame; NaN is interpolated, too.
    n_frames : int
        Number of frames, at least 2.

    Returns
    -------
    ndarray of float64 of shape (n_frames, n_features)
        The first frame, interpolated frames, and the last frame.
    """
    last = len(sequence) - 1
    times = np.linspace(0, last, n_frames)
    before = times.astype(np.intp)
    weight = (times - before)[:, None]  # lambda of the formula
    after = np.minimum(before + 1, last)  # at the last frame its weight is 0
    resampled = (1 - weight) * sequence[before] + weight * sequence[after]
    # a gap makes NaN of frames on both sides, so that its features are computed again
    for j in np.flatnonzero(np.isnan(sequence).any(axis=0)):
        observed = np.flatnonzero(~np.isnan(sequence[:, j]))
        resampled[:, j] = (
            np.interp(times, observed, sequence[observed, j])
            if observed.size
            else np.nan
        )
    return resampled


def rows_as_sequences(table: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Read the rows of a table as sequences of one feature, a frame per column.

    Parameters
    ----------
    table : ndarray of shape (n_samples, n_columns)
        The table.
    observed : ndarray of bool of shape (n_samples,)
        Samples that have the modality.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        Views of shape (n_columns, 1); None where a sample lacks the modality.
    """
    sequences = np.full(len(table), None, dtype=object)
    for i in np.flatnonzero(observed):
        sequences[i] = table[i][:, None]
    return sequences


def rows_as_frames(table: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Read the rows of a table as sequences of one frame, with a feature per column.

    Parameters
    ----------
    table : ndarray of shape (n_samples, n_features)
        The table.
    observed : ndarray of bool of shape (n_samples,)
        Samples that have the modality.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        Views of shape (1, n_features); None where a sample lacks the modality.
    """
    sequences = np.full(len(table), None, dtype=object)
    for i in np.flatnonzero(observed):
        sequences[i] = table[i][None]
    return sequences


def sequences_of_table(
    table: np.ndarray, observed: np.ndarray, *, beside_sequences: bool
) -> np.ndarray:
    """Read the rows of a table for a method that compares sequences.

    Parameters
    ----------
    table : ndarray of shape (n_samples, n_columns)
        The table.
    observed : ndarray of bool of shape (n_samples,)
        Samples that have the modality.
    beside_sequences : bool
        Whether another modality holds sequences: then the columns are features without
        time, and a row is one frame. Else a row is a series of one feature.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        The sequences; None where a sample lacks the modality.
    """
    read = rows_as_frames if beside_sequences else rows_as_sequences
    return read(table, observed)


def transposed_remedy(sequences: Iterable[np.ndarray]) -> str:
    """Return the remedy for arrays of unlike widths whose channels seem to come first.

    Parameters
    ----------
    sequences : iterable of ndarray of shape (n_frames, n_features)
        The sequences.

    Returns
    -------
    str
        The end of an error; empty where the numbers of frames differ as well.
    """
    n_frames = {len(x) for x in sequences}
    if len(n_frames) > 1:
        return ""
    return (
        f"; if the {n_frames.pop()} rows of each are channels, and the columns frames, "
        "transpose each by .T, or a list of them by "
        "mmfusion.preprocessing.sequences_from_channels_first"
    )


def as_sequence(x: ArrayLike, name: str) -> np.ndarray:
    """Read one sequence that is given to a function.

    Parameters
    ----------
    x : array-like of shape (n_frames, n_features) or (n_frames,)
        The sequence: an array, list, tensor, DataFrame or Series.
    name : str
        Name of the parameter, for errors.

    Returns
    -------
    ndarray of float32 or float64 of shape (n_frames, n_features)
        The sequence; float64 unless it was float32.

    Raises
    ------
    TypeError
        If it is not an array.
    ValueError
        If it holds no real numbers, has no frame, another shape, or a value that is NaN
        or infinite.
    """
    x = as_float_array(x, name)
    if x.ndim == 1:
        x = x[:, None]
    if x.ndim != 2:
        remedy = f"; use {name}.reshape(len({name}), -1)" if x.ndim > 2 else ""
        raise ValueError(
            f"{name} has shape {x.shape}; a sequence has shape (n_frames, n_features)"
            f"{remedy}"
        )
    if 0 in x.shape:
        held = "frames; leave empty sequences out"
        raise ValueError(f"{name} has 0 {held if len(x) == 0 else 'features'}")
    finite = np.isfinite(x)
    if not finite.all():
        frame, feature = np.argwhere(~finite)[0].tolist()
        value = "NaN or masked" if np.isnan(x[frame, feature]) else "infinite"
        raise ValueError(
            f"frame {frame} of {name} has a value that is {value}, in feature "
            f"{feature}; drop such frames, or interpolate them"
        )
    return x


def as_collection(X: Any, name: str) -> list[np.ndarray]:
    """Read a collection of sequences that is given to a function.

    Parameters
    ----------
    X : iterable of array-like of shape (n_frames_i, n_features) or (n_frames_i,)
        The sequences. An array of shape (n_sequences, n_frames, n_features) may end
        each with frames that are all NaN; the rows of a table are sequences of a
        single feature.
    name : str
        Name of the parameter, for errors.

    Returns
    -------
    list of ndarray of float32 or float64 of shape (n_frames_i, n_features)
        The sequences, each read by `as_sequence`.

    Raises
    ------
    TypeError
        If it is not a collection.
    ValueError
        If a sequence is None, or refused by `as_sequence`.
    """
    # known by the package: the module of Modalities lies in a higher layer
    if package_of(X) == "mmfusion" and hasattr(X, "names"):
        raise TypeError(
            f"{name} is a Modalities; give the sequences of one modality, such as "
            f"{name}[{X.names[0]!r}]"
        )
    if is_frame(X):
        X = np.asarray(X)
    elif getattr(X, "ndim", 0) == 3:
        X = cut_padding(as_float_array(X, name))
    sequences = []
    for i, x in enumerate(as_elements(X, name)):
        if x is None:
            raise ValueError(
                f"{name}[{i}] is missing (None or NaN in every frame); leave it out"
            )
        if isinstance(x, Real):
            raise ValueError(
                f"{name}[{i}] is a number; {name} is a collection of sequences: give "
                f"[{name}] for a single one"
            )
        sequences.append(as_sequence(x, f"{name}[{i}]"))
    return sequences
