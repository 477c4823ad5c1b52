"""The embedded frames of aligners that compare those."""

from __future__ import annotations

from mmfusion._typing import ModalitiesLike
from mmfusion.alignment._base import BaseAligner, SampleSequences
from mmfusion.modalities import Modalities


class FrameEmbeddingMixin(BaseAligner):
    """An aligner whose `_embedded` returns the sequences that are compared."""

    def _embedded(self, samples: list[SampleSequences]) -> list[SampleSequences]:
        """Return the embedded sequences, between which costs are measured."""
        raise NotImplementedError

    def embed(self, X: ModalitiesLike) -> Modalities:
        """Embed the frames of samples in the space in which they are compared.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        Modalities
            Of each modality of sequences, embedded sequences of shape
            (n_frames, n_directions); missing as in X.

        Raises
        ------
        ValueError
            If no modality holds sequences.
        """
        samples = self._samples(self._validate(X, reset=False, raw=True))
        names = list(self._layout.sequences)
        if not names:
            raise ValueError(
                f"the modalities {list(self._layout.names)} are tables, which have no "
                "frames to embed; give a sequence per sample"
            )
        embedded = self._embedded(samples)
        blocks = {}
        for name in names:
            blocks[name] = [sample.get(name) for sample in embedded]
        return Modalities(blocks)
