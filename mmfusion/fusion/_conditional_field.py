"""Base of conditional random fields: features of frames, and the end of a fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags

from mmfusion._block_checks import ModalityTags
from mmfusion._blocks import is_sequences
from mmfusion._chain_estimators import ChainMixin
from mmfusion._progress import FitProgress
from mmfusion._typing import ByModality, ModalitiesLike
from mmfusion._warnings import warn_user
from mmfusion.fusion._frame_features import FeatureOptions, FrameFeatures
from mmfusion.fusion._token_features import check_tokens, with_tokens
from mmfusion.graphical._clock import Frames
from mmfusion.graphical._lbfgs import Minimum
from mmfusion.modalities import Modalities


class ConditionalFieldMixin(ChainMixin):
    """Mixin of estimators that minimise the objective of a field over features."""

    features: ByModality[Any]
    scaling: ByModality[str | None]
    context: ByModality[int]
    max_iter: int
    objective_history_: Any
    n_iter_: int

    def _validate(
        self, X: ModalitiesLike, *, reset: bool, raw: bool = False
    ) -> Modalities:
        """Validate X, with lists of words and of dicts of features."""
        frame: Modalities = super()._validate(  # type: ignore[misc]
            with_tokens(X), reset=reset, raw=raw
        )
        tags = self.__modality_tags__()
        for name, block in zip(frame.names, frame.blocks, strict=True):
            if is_sequences(block) and tags.reads_tokens(block):
                check_tokens(block, name)
        return frame

    def _frames(self, frame: Modalities) -> Frames:
        """Place the sequences of all samples on their clocks."""
        return self._placed(frame, "hold", "mean")

    def __modality_tags__(self) -> ModalityTags:
        return replace(super().__modality_tags__(), tokens=True)

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags

    def _fit_features(self, frames: Frames, weight: np.ndarray) -> FrameFeatures:
        """Fit the features of frames, by the weights of their samples."""
        options = FeatureOptions(self.features, self.scaling, self.context)
        return FrameFeatures(self._layout.names, options).fit(frames, weight)

    def _report_minimum(self, found: Minimum, progress: FitProgress) -> None:
        """Set the history of the minimisation; warn if it has not converged."""
        if not (found.converged or progress.is_stopped):
            warn_user(
                f"{type(self).__name__} has not converged after max_iter="
                f"{self.max_iter} iterations; raise max_iter or tol",
                ConvergenceWarning,
            )
        self.objective_history_ = found.history
        self.n_iter_ = len(found.history) - 1
