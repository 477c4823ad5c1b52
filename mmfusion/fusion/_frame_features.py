"""Features of frames: transformers, scalings and context windows by modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import clone

from mmfusion._frame_scaling import fit_scaling_with_gaps
from mmfusion._numbers import is_integer
from mmfusion._options import by_modality, check_estimators, errors_name
from mmfusion._scaling import Scaling
from mmfusion._typing import ByModality
from mmfusion.fusion._token_features import (
    fit_tokens,
    input_of_tokens,
    kind_of_tokens,
)
from mmfusion.graphical._clock import Frames, ModalityFrames
from mmfusion.graphical._label_batches import Design


class FeatureOptions(NamedTuple):
    """Options of features, each for all modalities or a dict by name.

    Parameters
    ----------
    features : transformer, dict or None
        Transformer of the frames.
    scaling : {'standard'}, dict or None
        Scaling of the features.
    context : int or dict
        Steps on either side of a step whose features it has.
    """

    features: ByModality[Any]
    scaling: ByModality[str | None]
    context: ByModality[int]


class _ModalityFeatures(NamedTuple):
    """Fitted transformer and scaling of one modality.

    Parameters
    ----------
    transformer : transformer or None
        Fitted transformer of frames.
    scaling : Scaling
        Fitted scaling of its output.
    context : int
        Steps on either side.
    width : int
        Number of features of a step, without its context.
    is_sparse : bool
        Whether features are sparse.
    tokens : str, default=None
        Kind of frames that are no numbers.
    """

    transformer: Any
    scaling: Scaling
    context: int
    width: int
    is_sparse: bool
    tokens: str | None = None


class FrameFeatures:
    """Features of the steps of a clock, from the frames of all modalities.

    Where a modality is missing, its features are 0; so are those of NaN. With the
    scaling 'standard' this is their mean. Several frames in a step have their mean, and
    a frame that lasts several steps is that of each.

    Parameters
    ----------
    names : sequence of str
        Names of the modalities.
    options : FeatureOptions
        The options.
    """

    def __init__(self, names: Sequence[str], options: FeatureOptions) -> None:
        self._names = tuple(names)
        check_estimators(options.features, "features", ["fit", "transform"])
        self._options = (
            by_modality(options.features, names, "features"),
            by_modality(options.scaling, names, "scaling", "standard", ["standard"]),
            by_modality(options.context, names, "context", 0),
        )
        self._fitted: dict[str, _ModalityFeatures] = {}

    def fit(self, frames: Frames, weight: np.ndarray) -> FrameFeatures:
        """Fit transformers and scalings.

        Parameters
        ----------
        frames : Frames
            Frames on the clock.
        weight : ndarray of shape (n_sequences,)
            Weights of the sequences, for scalings.

        Returns
        -------
        FrameFeatures
            The object itself.
        """
        by_step = np.repeat(weight, np.diff(frames.offsets))
        for name, transformer, scaling, context in zip(
            self._names, *self._options, strict=True
        ):
            with errors_name(name):
                if not (is_integer(context) and context >= 0):
                    raise ValueError(
                        f"context is {context!r}; give an integer of at least 0"
                    )
                own = frames.modalities[name]
                weights = by_step if own.steps is None else by_step[own.steps]
                self._fitted[name] = _fit_modality(
                    own.values, transformer, scaling, int(context), weights
                )
        return self

    @property
    def widths(self) -> dict[str, int]:
        """Numbers of columns by modality, with their context."""
        return {
            name: own.width * (2 * own.context + 1)
            for name, own in self._fitted.items()
        }

    def blocks(self, frames: Frames) -> list[Design]:
        """Compute the features of each modality.

        Parameters
        ----------
        frames : Frames
            Frames on the clock.

        Returns
        -------
        list of ndarray or CSR array of shape (n_steps, n_columns)
            The features, those of the earliest step of a context first.
        """
        blocks = []
        for name, fitted in self._fitted.items():
            own = frames.modalities.get(name)
            block: Any
            if own is None or not len(own.values):
                shape = (frames.n_steps, fitted.width)
                block = sparse.csr_array(shape) if fitted.is_sparse else np.zeros(shape)
            else:
                with errors_name(name):
                    values = _transformed(own.values, fitted)
                block = _on_steps(values, own, frames.n_steps)
            blocks.append(_with_context(block, frames.offsets, fitted.context))
        return blocks


def join_blocks(blocks: Sequence[Design]) -> Design:
    """Join the features of all modalities.

    Parameters
    ----------
    blocks : sequence of ndarray or CSR array of shape (n_steps, n_columns)
        The features.

    Returns
    -------
    ndarray or CSR array of shape (n_steps, n_columns_in_all)
        All of them; sparse if a block is.
    """
    if any(sparse.issparse(block) for block in blocks):
        return sparse.csr_array(sparse.hstack(blocks, format="csr"))
    return np.ascontiguousarray(np.hstack(blocks))


def columns_by_modality(
    values: np.ndarray, widths: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Split the columns of an array by modality.

    Parameters
    ----------
    values : ndarray of shape (n_rows, n_columns)
        The array.
    widths : dict of str to int
        Numbers of columns.

    Returns
    -------
    dict of str to ndarray
        Copies of the columns.
    """
    borders = np.cumsum(list(widths.values()))[:-1]
    parts = np.split(values, borders, axis=1)
    return {name: part.copy() for name, part in zip(widths, parts, strict=True)}


def _fit_modality(
    values: np.ndarray,
    transformer: Any,
    scaling: str | None,
    context: int,
    weights: np.ndarray,
) -> _ModalityFeatures:
    tokens = kind_of_tokens(values) if values.dtype == object else None
    if tokens is not None:
        transformer, values = fit_tokens(transformer, values)
    elif transformer is not None:
        whole = ~np.isnan(values).any(axis=1)
        if not whole.any():
            raise ValueError(
                "features is a transformer, and every frame of the modality holds "
                "NaN; fill gaps in before, or leave the modality out of features"
            )
        transformer = clone(transformer).fit(values[whole])
        values, weights = transformer.transform(values[whole]), weights[whole]
    is_sparse = sparse.issparse(values)
    fitted = Scaling(None)
    if not is_sparse:
        values = np.asarray(values, dtype=np.float64)
        fitted = fit_scaling_with_gaps(values, scaling, weights)
    return _ModalityFeatures(
        transformer, fitted, context, values.shape[1], is_sparse, tokens
    )


def _transformed(values: np.ndarray, fitted: _ModalityFeatures) -> Design:
    """Compute the features of frames, 0 where they are not known."""
    if fitted.tokens or values.dtype == object:
        return _token_features(values, fitted)
    if fitted.transformer is None:
        gaps = np.isnan(values)
        scaled = fitted.scaling.apply(np.where(gaps, 0.0, values))
        return np.where(gaps, 0.0, scaled)
    whole = ~np.isnan(values).any(axis=1)
    shape = (len(values), fitted.width)
    if not whole.any():
        return sparse.csr_array(shape) if fitted.is_sparse else np.zeros(shape)
    found = fitted.transformer.transform(values[whole])
    if fitted.is_sparse:
        found = sparse.csr_array(found, dtype=np.float64)
        if whole.all():
            return found
        n_whole = int(whole.sum())
        places = (np.ones(n_whole), (np.flatnonzero(whole), np.arange(n_whole)))
        return sparse.csr_array(places, shape=(len(values), n_whole)) @ found
    block = np.zeros(shape)
    block[whole] = fitted.scaling.apply(np.asarray(found, dtype=np.float64))
    return block


def _token_features(values: np.ndarray, fitted: _ModalityFeatures) -> Design:
    """Compute the features of words or dicts."""
    own = kind_of_tokens(values) if values.dtype == object else "numbers"
    expected = fitted.tokens or "numbers"
    if own != expected:
        raise ValueError(f"its frames are {own}, and were {expected} in fit")
    found = fitted.transformer.transform(input_of_tokens(values))
    if fitted.is_sparse:
        return sparse.csr_array(found, dtype=np.float64)
    return fitted.scaling.apply(np.asarray(found, dtype=np.float64))


def _on_steps(values: Design, own: ModalityFrames, n_steps: int) -> Design:
    """Average the frames of each step."""
    if own.steps is None:
        return values
    weights = np.ones(len(own.steps)) if own.weights is None else own.weights
    totals = np.bincount(own.steps, weights, minlength=n_steps)
    average = sparse.csr_array(
        (weights / totals[own.steps], (own.steps, np.arange(len(own.steps)))),
        shape=(n_steps, len(own.steps)),
    )
    found = average @ values
    return sparse.csr_array(found) if sparse.issparse(found) else np.asarray(found)


def _with_context(block: Design, offsets: np.ndarray, context: int) -> Design:
    """Append the features of the steps before and after; 0 beyond the sequence."""
    if context == 0:
        return block
    steps = np.arange(block.shape[0])
    sequence = np.searchsorted(offsets, steps, side="right") - 1
    shifted = []
    for shift in range(-context, context + 1):
        there = steps + shift
        inside = (there >= offsets[sequence]) & (there < offsets[sequence + 1])
        if sparse.issparse(block):
            places = (np.ones(int(inside.sum())), (steps[inside], there[inside]))
            shape = (len(steps), len(steps))
            shifted.append(sparse.csr_array(places, shape=shape) @ block)
        else:
            moved = np.zeros_like(block)
            moved[inside] = block[there[inside]]
            shifted.append(moved)
    return join_blocks(shifted)
