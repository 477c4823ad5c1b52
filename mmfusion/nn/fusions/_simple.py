"""Fusion by concatenation, mean and attention, and the late fusion of predictions."""

from __future__ import annotations

import torch
from torch import Tensor

from mmfusion.nn._members import BatchedLinear
from mmfusion.nn.fusions._base import Fusion


class ConcatFusion(Fusion):
    """``h = relu(W [z_1..z_V, o])``, where o are the flags of what is observed."""

    def __init__(self, n_modalities: int, n_members: int, width: int) -> None:
        super().__init__(n_modalities, n_members, width)
        self.hidden = BatchedLinear((n_members,), n_modalities * (width + 1), width)

    def forward(self, latents: Tensor, observed: Tensor) -> Tensor:
        """Map all latents of a sample by one layer."""
        return self.hidden(self._with_flags(latents, observed)).relu()


class MeanFusion(Fusion):
    """``h = sum_v o_v z_v / sum_v o_v``: the mean of the observed latents."""

    def forward(self, latents: Tensor, observed: Tensor) -> Tensor:
        """Average the latents."""
        return latents.sum(0) / torch.clamp_min(observed.sum(1, keepdim=True), 1)


class AttentionFusion(Fusion):
    """``h = sum_v a_v z_v``, where ``a = softmax(A [z_1..z_V, o])``."""

    def __init__(self, n_modalities: int, n_members: int, width: int) -> None:
        super().__init__(n_modalities, n_members, width)
        n_inputs = n_modalities * (width + 1)
        self.score = BatchedLinear((n_members,), n_inputs, n_modalities)

    def forward(self, latents: Tensor, observed: Tensor) -> Tensor:
        """Average the latents by the weights of attention."""
        weights = self.gates(latents, observed)
        return torch.einsum("rmv,vrmd->rmd", weights, latents)

    def gates(self, latents: Tensor, observed: Tensor) -> Tensor:
        """Compute the weights of attention."""
        scores = self.score(self._with_flags(latents, observed))
        # finite: the weights of a sample without modalities would be NaN
        lowest = torch.finfo(scores.dtype).min
        weights = scores.masked_fill(observed == 0, lowest).softmax(-1)
        return weights * observed


class LateFusion(MeanFusion):
    """Late fusion: the mean of the predictions by each modality, from its own head.

    What `forward` returns, the mean of the latents, is for `transform` alone.
    """
