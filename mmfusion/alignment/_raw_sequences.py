"""Raw sequences, as functions take them: one array, or a collection of arrays."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from mmfusion._blocks import as_elements, as_float_array, cut_padding, is_frame
from mmfusion.modalities import Modalities


def as_sequence(x: Any, name: str) -> np.ndarray:
    """Read one sequence.

    Parameters
    ----------
    x : array-like of shape (n_frames, n_features) or (n_frames,)
        The sequence: an array, list, tensor, DataFrame or Series.
    name : str
        What to call it in errors.

    Returns
    -------
    ndarray of float32 or float64 of shape (n_frames, n_features)
        The same; float64 unless it was float32.

    Raises
    ------
    TypeError
        If it is no array.
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
            f"{feature}; drop such frames, or fill them in"
        )
    return x


def as_collection(X: Any, name: str) -> list[np.ndarray]:
    """Read a collection of sequences.

    Parameters
    ----------
    X : iterable of array-like of shape (n_frames_i, n_features) or (n_frames_i,)
        The sequences. An array of shape (n_sequences, n_frames, n_features) may end
        each with frames that are all NaN; the rows of a table are sequences of a
        single feature.
    name : str
        What to call it in errors.

    Returns
    -------
    list of ndarray of float32 or float64 of shape (n_frames_i, n_features)
        The sequences, each read by `as_sequence`.

    Raises
    ------
    TypeError
        If it is no collection.
    ValueError
        If a sequence is None, or refused by `as_sequence`.
    """
    if isinstance(X, Modalities):
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
