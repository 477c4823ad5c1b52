"""What transformers of sequences share: what comes in, and what tables do."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from mmfusion._block_checks import ModalityTags
from mmfusion._sklearn_compat import fit_context
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
        frame = self._validate(X, reset=True, raw=True)
        self._start({name: frame[name] for name in self._layout.sequences})
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
        frame = self._validate(X, reset=False, raw=True)
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
        if name not in self._layout.sequences:
            return block
        rows = np.flatnonzero(present)
        dtype = np.result_type(*{block[i].dtype for i in rows}) if rows.size else float
        out = np.full((len(present), *self._shape(name, width)), np.nan, dtype=dtype)
        for i in rows:
            out[i] = self._transformed(name, block[i])
        return out

    def _names_out(self) -> list[np.ndarray]:
        layout = self._layout
        names = layout.prefixed_names()
        for v, (name, width) in enumerate(
            zip(layout.names, layout.widths, strict=True)
        ):
            if name in layout.sequences:
                names[v] = layout.prefixed(name, self._features_out(name, width))
        return names

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(
            sparse=True, missing=True, sequences="allow", takes_nan=lambda name: True
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
