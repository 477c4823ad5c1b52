"""The network of a deep estimator: encoders, fusion of latents, clustering heads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.nn._distributed import Shares
from mmfusion.nn._encoders import is_samplewise
from mmfusion.nn._isolation import drawing

SMALLEST_FUSION_WEIGHT = 1e-9  # of a modality in samples that lack others


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
    decoders : ModuleList, default=None
        One per modality, from a latent to a sample; None is no autoencoder.
    """

    frozen: Tensor

    def __init__(
        self,
        encoders: Sequence[nn.Module],
        width: int,
        heads: nn.Module,
        decoders: nn.ModuleList | None = None,
    ) -> None:
        super().__init__()
        n_modalities = len(encoders)
        self.width = width
        self.encoders = nn.ModuleList(encoders)
        self.heads: Any = heads
        self.decoders = decoders
        # the weights of `predict`: those of the training data, whatever the batch
        self.register_buffer("frozen", torch.full((n_modalities,), 1 / n_modalities))

    def encode(
        self,
        inputs: Sequence[Tensor],
        observed: Tensor | None,
        shares: Shares | None = None,
    ) -> Tensor:
        """Encode every modality.

        Parameters
        ----------
        inputs : sequence of tensor of shape (m, ...)
            One per modality.
        observed : tensor of bool of shape (m, V) or None
            Which modalities of a sample are observed; None is all.
        shares : Shares, default=None
            Shares of several processes. Encoders that may draw random numbers, or
            compare samples, encode the whole batch in each of them all the same.

        Returns
        -------
        tensor of shape (V, m, d)
            The latents; zeros where a modality is not observed.
        """
        # the dispatcher of random operations costs time, so it is left out if idle
        with nullcontext() if is_samplewise(self.encoders) else drawing():
            if shares is None:
                pairs = zip(self.encoders, inputs, strict=True)
                latents = torch.stack([encoder(x) for encoder, x in pairs])
            else:
                latents = torch.stack(_encode_shares(self.encoders, inputs, shares))
        return latents if observed is None else latents * observed.mT[..., None]

    def decode(self, latents: Tensor) -> list[Tensor]:
        """Reconstruct the samples of every modality from latents of its own."""
        if self.decoders is None:
            raise TypeError(f"{type(self).__name__} has no decoders")
        pairs = zip(self.decoders, latents, strict=True)
        return [decoder(latent) for decoder, latent in pairs]

    def weigh(self, latents: Tensor, observed: Tensor | None) -> Tensor:
        """Compute the weights of the modalities for a batch; they add up to 1."""
        return torch.full_like(self.frozen, 1 / len(self.frozen))

    def weight_sums(
        self, latents: Tensor, observed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Compute sums whose ratios are the weights of all data, chunk by chunk.

        Returns
        -------
        sums : tensor of shape (V,)
            Sum of the weights of each modality over the samples that count for it.
        counts : tensor of shape (V,)
            Number of these samples.
        """
        counts = torch.full_like(self.frozen, latents.shape[1])
        return self.weigh(latents, observed) * counts, counts

    def fuse(self, latents: Tensor, observed: Tensor | None, weights: Tensor) -> Tensor:
        """Add latents up, with weights renormalised over what is observed."""
        if observed is None:
            return torch.tensordot(weights, latents, dims=1)
        # a cold attention gives a modality 0, though a sample may have no other
        shares = observed * torch.clamp_min(weights, SMALLEST_FUSION_WEIGHT)
        shares = shares / shares.sum(1, keepdim=True)
        return torch.einsum("mv,vmd->md", shares, latents)

    def apply_heads(
        self, fused: Tensor, observed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Compute the hidden layer and logits, each of shape (R, m, ...)."""
        return self.heads(fused)

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
        hidden, logits = self.apply_heads(fused, observed)
        if self.heads.n_heads == 1:
            hidden, logits = hidden[0], logits[0]
        return Outputs(latents, weights, fused, hidden, logits)

    def match_heads(self, state: Mapping[str, Any]) -> bool:
        """Keep one head if a stored network has one; return whether heads changed.

        Heads that have competed are fewer than those that the parameters make.
        """
        if self.heads.n_heads == 1:
            return False
        own = self.heads.state_dict()
        batched = [f"heads.{name}" for name, value in own.items() if value.ndim > 2]
        sizes = {len(state.get(name, ())) for name in batched}
        if sizes != {1}:
            return False
        self.heads.keep(0)
        return True


def _encode_shares(
    encoders: Iterable[nn.Module], inputs: Sequence[Tensor], shares: Shares
) -> list[Tensor]:
    """Encode this process's share of a batch, and gather the latents of the others."""
    latents, own = [], []
    for v, (encoder, x) in enumerate(zip(encoders, inputs, strict=True)):
        if is_samplewise(encoder):
            own.append(v)
            with shares.normalizing(encoder):
                latents.append(encoder(shares.take(x)))
        else:
            latents.append(encoder(x))
    if own:  # one message for all modalities
        whole = shares.put_together(torch.stack([latents[v] for v in own], 1))
        for v, gathered in zip(own, whole.unbind(1), strict=True):
            latents[v] = gathered
    return latents


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode, without gradients, and back."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)


class NoHead(nn.Module):
    """Head of a network that predicts nothing: it returns what it is given."""

    n_heads = 1

    def forward(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Return the fused output as hidden layer and logits."""
        return fused[None], fused[None]


class ClusteringHeads(nn.Module):
    """Clustering heads side by side: hidden layer, batch norm, assignment.

    Head r computes ``logits_r = norm(relu(f W_r + b_r)) U_r + c_r`` (Kampffmeyer et
    al. 2019). All heads are one batch of matrix products, since R small products cost
    nearly R times the overhead of one.

    Parameters
    ----------
    n_heads : int
        Number of heads R.
    width : int
        Width d of a latent.
    hidden_width : int
        Number of units h of the hidden layer.
    n_clusters : int
        Number of clusters k.
    """

    def __init__(
        self, n_heads: int, width: int, hidden_width: int, n_clusters: int
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.hidden, self.hidden_bias = batched_linear(n_heads, width, hidden_width)
        self.norm = nn.BatchNorm1d(n_heads * hidden_width)
        self.assign, self.assign_bias = batched_linear(
            n_heads, hidden_width, n_clusters
        )

    def forward(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Assign latents of shape (m, d): hidden (R, m, h) and logits (R, m, k)."""
        n_heads, width, hidden_width = self.hidden.shape
        # the heads as one wide layer: one product, and one batch norm, which
        # normalises every feature by itself
        weights = self.hidden.transpose(0, 1).reshape(width, n_heads * hidden_width)
        wide = F.relu(torch.addmm(self.hidden_bias.reshape(-1), fused, weights))
        by_head = self.norm(wide).reshape(-1, n_heads, hidden_width)
        hidden = by_head.transpose(0, 1)
        return hidden, torch.baddbmm(self.assign_bias, hidden, self.assign)

    def keep(self, head: int) -> None:
        """Drop all heads but one."""
        norm = self.norm
        width = norm.num_features // self.n_heads
        own = slice(head * width, (head + 1) * width)
        self.norm = nn.BatchNorm1d(width).to(self.hidden).train(norm.training)
        for name in ("weight", "bias"):
            kept = getattr(norm, name).detach()[own].clone()
            setattr(self.norm, name, nn.Parameter(kept))
        for name in ("running_mean", "running_var"):
            setattr(self.norm, name, getattr(norm, name)[own].clone())
        for name in ("hidden", "hidden_bias", "assign", "assign_bias"):
            kept = getattr(self, name).detach()[head : head + 1].clone()
            setattr(self, name, nn.Parameter(kept))
        self.n_heads = 1


def batched_linear(
    n_layers: int, n_inputs: int, n_outputs: int
) -> tuple[nn.Parameter, nn.Parameter]:
    """Initialise linear layers of one shape: weights by He's rule, zero biases.

    Parameters
    ----------
    n_layers : int
        Number of layers n.
    n_inputs, n_outputs : int
        Width of their inputs and of their outputs.

    Returns
    -------
    weights : Parameter of shape (n, n_inputs, n_outputs)
        The weights, to be multiplied from the right.
    biases : Parameter of shape (n, 1, n_outputs)
        The biases.
    """
    weights = torch.randn(n_layers, n_inputs, n_outputs) * math.sqrt(2 / n_inputs)
    return nn.Parameter(weights), nn.Parameter(torch.zeros(n_layers, 1, n_outputs))
