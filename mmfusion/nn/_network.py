"""The network of a deep estimator: encoders, fusion of latents, heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmfusion.nn._encoders import is_deterministic
from mmfusion.nn._isolation import drawing


class Outputs(NamedTuple):
    """Outputs of a network for a batch of m samples.

    Parameters
    ----------
    latents : tensor of shape (V, m, d)
        One latent per modality and sample; zeros where it is not observed.
    weights : tensor of shape (V,)
        Weights of the modalities; they add up to 1.
    fused : tensor of shape (m, d)
        Weighted sum of the observed latents.
    hidden : tensor of shape (m, h)
        Hidden layer of the head. While R heads compete, (R, m, h).
    logits : tensor of shape (m, k)
        Output of the head; for clusters, before the softmax. While R heads compete,
        (R, m, k).
    """

    latents: Tensor
    weights: Tensor
    fused: Tensor
    hidden: Tensor
    logits: Tensor


class FusionNetwork(nn.Module):
    """Encoders whose latents are fused by one weight per modality, and heads.

    With encoders E_v and weights w_v that add up to 1, the fused latent of a sample is
    ``f = sum_v w_v E_v(x_v)``, with weights renormalised over what is observed. Here
    the weights are equal; a subclass that learns them overrides `weigh`.

    Parameters
    ----------
    encoders : sequence of Module
        One per modality, with latents of one width.
    width : int
        Width d of a latent.
    heads : Module
        Maps fused latents to a hidden layer and logits, each of shape (R, m, ...), and
        has ``n_heads``, their number R, and ``keep``, as in `ClusteringHeads`.
    """

    frozen: Tensor

    def __init__(
        self, encoders: Sequence[nn.Module], width: int, heads: nn.Module
    ) -> None:
        super().__init__()
        n_modalities = len(encoders)
        self.width = width
        self.encoders = nn.ModuleList(encoders)
        self.heads: Any = heads
        # the weights of `predict`: those of the training data, whatever the batch
        self.register_buffer("frozen", torch.full((n_modalities,), 1 / n_modalities))

    def encode(self, inputs: Sequence[Tensor], observed: Tensor | None) -> Tensor:
        """Encode every modality: latents of shape (V, m, d)."""
        # the dispatcher of random operations costs time, so it is left out if idle
        with nullcontext() if is_deterministic(self.encoders) else drawing():
            latents = torch.stack(
                [encoder(x) for encoder, x in zip(self.encoders, inputs, strict=True)]
            )
        return latents if observed is None else latents * observed.mT[..., None]

    def weigh(self, latents: Tensor, observed: Tensor | None) -> Tensor:
        """Compute the weights of the modalities for a batch; they add up to 1."""
        return torch.full_like(self.frozen, 1 / len(self.frozen))

    def fuse(self, latents: Tensor, observed: Tensor | None, weights: Tensor) -> Tensor:
        """Add latents up, with weights renormalised over what is observed."""
        if observed is None:
            return torch.tensordot(weights, latents, dims=1)
        shares = observed * weights
        shares = shares / shares.sum(1, keepdim=True)
        return torch.einsum("mv,vmd->md", shares, latents)

    def forward(
        self,
        inputs: Sequence[Tensor],
        observed: Tensor | None = None,
        latents: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Outputs:
        """Fuse a batch and apply the heads.

        Parameters
        ----------
        inputs : sequence of tensor of shape (m, ...)
            One per modality.
        observed : tensor of bool of shape (m, V), default=None
            Which modalities of a sample are observed; None is all.
        latents : tensor of shape (V, m, d), default=None
            Latents of the inputs, if they are computed already.
        weights : tensor of shape (V,), default=None
            Weights of the modalities. None is those of `weigh` in training, and the
            frozen ones in evaluation.

        Returns
        -------
        Outputs
            The outputs; without an axis of heads if there is one head.
        """
        if latents is None:
            latents = self.encode(inputs, observed)
        if weights is None:
            weights = self.weigh(latents, observed) if self.training else self.frozen
        fused = self.fuse(latents, observed, weights)
        hidden, logits = self.heads(fused)
        if self.heads.n_heads == 1:
            hidden, logits = hidden[0], logits[0]
        return Outputs(latents, weights, fused, hidden, logits)

    def match_heads(self, state: Mapping[str, Any]) -> bool:
        """Keep one head if a stored network has one; return whether heads changed.

        Heads that have competed are fewer than those that the parameters make.
        """
        own = self.heads.state_dict()
        batched = [f"heads.{name}" for name, value in own.items() if value.ndim > 2]
        sizes = {len(state.get(name, ())) for name in batched}
        if self.heads.n_heads == 1 or sizes != {1}:
            return False
        self.heads.keep(0)
        return True
