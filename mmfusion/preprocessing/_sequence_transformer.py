"""The base of transformers that make one array of the sequences of a modality."""

from __future__ import annotations

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags

from mmfusion._block_checks import ModalityTags
from mmfusion._sklearn_compat import fit_context
from mmfusion._typing import ModalitiesLike
from mmfusion.base import ModalityMixin, ModalityTransformerMixin
from mmfusion.modalities import Modalities


class SequenceTransformer(ModalityMixin, ModalityTransformerMixin, BaseEstimator):
    """Base of transformers from sequences to one array per modality.

    A subclass transforms one sequence at a time. Modalities that are tables pass
    through.
    """

    def _fit_sequences(self, sequences: dict[str, np.ndarray]) -> None:
        """Check options, and learn from the sequences of `fit` by modality."""
        raise NotImplementedError

    def _output_shape(self, name: str, width: int) -> tuple[int, ...]:
        """Return the shape of a transformed sequence of frames of `width` features."""
        raise NotImplementedError

    def _transform_sequence(self, name: str, sequence: np.ndarray) -> np.ndarray:
        """Transform a sequence of shape (n_frames, n_features)."""
        raise NotImplementedError

    def _features_out(self, name: str, features: list[str]) -> list[str]:
        """Return the names of the transformed values, without the modality.

        `features` are the names of the features of a frame.
        """
        raise NotImplementedError

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Find the modalities of sequences, and fit the transformer to them.

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
        self._fit_sequences({name: frame[name] for name in self._layout.sequences})
        return self

    def transform(self, X: ModalitiesLike) -> Modalities | np.ndarray:
        """Transform the sequences of each modality into one array.

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
            self._transform_block(name, width, frame[name])
            if name in self._layout.sequences
            else frame[name]
            for name, width in zip(self._layout.names, self._layout.widths, strict=True)
        )
        mask = None if observed.all() else observed
        return self._output(Modalities._of(frame.names, blocks, mask), like=X)

    def _transform_block(self, name: str, width: int, block: np.ndarray) -> np.ndarray:
        sequences = {i: x for i, x in enumerate(block) if x is not None}
        dtypes = {x.dtype for x in sequences.values()}
        out = np.full(
            (len(block), *self._output_shape(name, width)),
            np.nan,
            # of the observed sequences alone: float32 stays float32
            dtype=np.result_type(*dtypes) if dtypes else float,
        )
        for i, sequence in sequences.items():
            out[i] = self._transform_sequence(name, sequence)
        return out

    def _names_out(self) -> list[np.ndarray]:
        layout = self._layout
        names = layout.prefixed_names()
        for v, (name, width) in enumerate(
            zip(layout.names, layout.widths, strict=True)
        ):
            if name in layout.sequences:
                features = layout.feature_names[v] or [f"x{j}" for j in range(width)]
                names[v] = layout.prefixed(name, self._features_out(name, features))
        return names

    def __modality_tags__(self) -> ModalityTags:
        # statistics and interpolation bridge gaps, so that frames may be NaN
        return ModalityTags(
            sparse=True, missing=True, sequences="allow", takes_nan=lambda name: True
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
