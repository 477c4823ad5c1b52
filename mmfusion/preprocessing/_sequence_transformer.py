"""What transformers of sequences share: what comes in, and what tables do."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from mmfusion._blocks import float_sequences, holds_sequences, is_sequences
from mmfusion._columns import SEPARATOR, default_names
from mmfusion._sklearn_compat import fit_context
from mmfusion._validation import (
    ModalityTags,
    as_modalities,
    feature_names,
    is_multimodal,
)
from mmfusion.base import ModalityMixin, ModalityTransformerMixin
from mmfusion.modalities import Modalities


class SequenceTransformer(ModalityMixin, ModalityTransformerMixin, BaseEstimator):
    """Makes one array of the sequences of each modality; tables pass through.

    A child tells the shape that a sequence gets, and how it gets it.
    """

    modalities: Any

    def _start(self, sequences: dict[str, np.ndarray]) -> None:
        """Learn from the sequences of `fit`, by modality."""
        raise NotImplementedError

    def _shape(self, name: str, width: int) -> tuple[int, ...]:
        """Shape of what becomes of a sequence whose frames have `width` features."""
        raise NotImplementedError

    def _transformed(self, name: str, sequence: np.ndarray) -> np.ndarray:
        """Make it of a sequence of shape (n_frames, n_features)."""
        raise NotImplementedError

    def _features_out(self, name: str, width: int) -> list[str]:
        """Name its values, without the modality."""
        raise NotImplementedError

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn which modalities hold sequences, and of what.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted transformer.
        """
        frame = self._validate(with_float_sequences(X), reset=True, raw=True)
        self._hold_sequences = [is_sequences(block) for block in frame.blocks]
        self._start({n: b for n, b in frame.to_dict().items() if is_sequences(b)})
        return self

    def transform(self, X: Any) -> Any:
        """Turn sequences into arrays of one shape.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        Modalities or array
            Modalities if X had modalities, else an array.
        """
        frame = self._validate(with_float_sequences(X), reset=False, raw=True)
        observed = frame.observed
        blocks = tuple(
            self._block(v, block, present)
            for v, (block, present) in enumerate(
                zip(frame.blocks, observed.T, strict=True)
            )
        )
        mask = None if observed.all() else observed
        return self._output(Modalities._of(frame.names, blocks, mask), like=X)

    def _block(self, v: int, block: Any, present: np.ndarray) -> Any:
        name, width = self._layout.names[v], self._layout.widths[v]
        refuse_other_form(name, block, present, self._hold_sequences[v])
        if not self._hold_sequences[v]:
            return block
        rows = np.flatnonzero(present)
        dtype = np.result_type(*{block[i].dtype for i in rows}) if rows.size else float
        out = np.full((len(present), *self._shape(name, width)), np.nan, dtype=dtype)
        for i in rows:
            out[i] = self._transformed(name, block[i])
        return out

    def _names_out(self) -> list[np.ndarray]:
        alone = self._layout.names == tuple(default_names(1))
        names = feature_names(self._layout)
        for v, (name, width) in enumerate(
            zip(self._layout.names, self._layout.widths, strict=True)
        ):
            if self._hold_sequences[v]:
                prefix = "" if alone else name + SEPARATOR
                own = [prefix + feature for feature in self._features_out(name, width)]
                names[v] = np.array(own, dtype=object)
        return names

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(sparse=True, missing=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def refuse_other_form(name: str, block: Any, present: np.ndarray, held: bool) -> None:
    """Refuse a table where `fit` saw sequences, and the other way round."""
    if present.any() and is_sequences(block) != held:
        now, then = ("a table", "sequences") if held else ("sequences", "a table")
        raise ValueError(
            f"modality {name!r} of X is {now}, but was {then} in fit; give it in the "
            "form of fit"
        )


def with_float_sequences(X: Any) -> Any:
    """Bring sequences into one form, by which fit and transform compare them."""
    if not (is_multimodal(X) or _is_lone_block(X)):
        return X  # one table
    frame = Modalities([X]) if _is_lone_block(X) else as_modalities(X)
    masks = [None] * len(frame.names) if frame._mask is None else frame._mask.T
    blocks = tuple(
        float_sequences(block, name, mask) if holds_sequences(block) else block
        for name, block, mask in zip(frame.names, frame.blocks, masks, strict=True)
    )
    return Modalities._of(frame.names, blocks, frame._mask)


def _is_lone_block(X: Any) -> bool:
    """Tell the sequences of one modality, such as PerModality hands on."""
    if not isinstance(X, np.ndarray):
        return False
    if X.ndim == 1 and X.dtype.kind == "O":
        return any(getattr(element, "ndim", 0) > 1 for element in X)
    return X.ndim > 2
