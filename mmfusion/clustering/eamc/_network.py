"""The network of EAMC: fusion by attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmfusion.nn._encoders import he_normal
from mmfusion.nn._network import ClusteringHeads, FusionNetwork


class Attention(nn.Module):
    """Three linear layers from all latents of a sample to one weight per modality.

    The weights are ``w = mean_q softmax(sigmoid(act_q) / temperature)`` over the
    samples q of a batch (Zhou and Shen 2020, equations 3 to 5).

    Parameters
    ----------
    n_modalities : int
        Number of modalities V.
    width : int
        Width d of a latent.
    temperature : float
        Divisor of the activations before the softmax.
    starts_equal : bool, default=True
        Whether the weights are equal at first. Otherwise all layers start at random, as
        printed, where the sigmoid may be saturated.
    """

    def __init__(
        self,
        n_modalities: int,
        width: int,
        temperature: float,
        starts_equal: bool = True,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        last = nn.Linear(50, n_modalities)
        self.layers = nn.Sequential(
            nn.Linear(n_modalities * width, 100), nn.Linear(100, 50), last
        ).apply(he_normal)
        if starts_equal:
            nn.init.zeros_(last.weight)

    def forward(self, latents: Tensor, observed: Tensor | None) -> Tensor:
        """Weigh the modalities of a batch: (V, m, d) to one weight each, (V,)."""
        sums, counts = self.sums(latents, observed)
        if observed is None:
            return sums / counts
        means = sums / torch.clamp_min(counts, 1)
        return means / means.sum()

    def sums(self, latents: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
        """Add up the weights of samples, and count those that have each modality."""
        scores = torch.sigmoid(self._activations(latents)) / self.temperature
        if observed is None:
            shares = scores.softmax(1)
            return shares.sum(0), torch.full_like(shares[0], len(shares))
        shares = scores.masked_fill(~observed, -math.inf).softmax(1)
        return shares.sum(0), observed.sum(0).to(shares)

    def _activations(self, latents: Tensor) -> Tensor:
        """Compute the activations of a batch: (V, m, d) to (m, V).

        No nonlinearity stands between the layers, so that their weights are multiplied
        first: V columns instead of 100 meet the latents.
        """
        layers: list[Any] = list(self.layers)
        *others, last = layers
        weight, bias = last.weight, last.bias
        for layer in reversed(others):
            bias = bias + weight @ layer.bias
            weight = weight @ layer.weight
        n_modalities, _, width = latents.shape
        by_modality = weight.reshape(-1, n_modalities, width).permute(1, 2, 0)
        return torch.bmm(latents, by_modality).sum(0).to(latents) + bias


class EAMCNetwork(FusionNetwork):
    """Encoders, attention and clustering heads.

    Parameters
    ----------
    encoders : sequence of Module
        One per modality, with latents of one width.
    width : int
        Width d of a latent.
    n_clusters : int
        Number of clusters k.
    temperature : float or None, default=1.0
        Temperature of the attention; None gives all modalities equal weights.
    hidden_width : int, default=100
        Number of units of the hidden layer of the clustering heads.
    n_heads : int, default=1
        Number of clustering heads that compete.
    attention_starts_equal : bool, default=True
        Whether the attention starts from equal weights.
    """

    def __init__(
        self,
        encoders: Sequence[nn.Module],
        width: int,
        n_clusters: int,
        temperature: float | None = 1.0,
        hidden_width: int = 100,
        n_heads: int = 1,
        attention_starts_equal: bool = True,
    ) -> None:
        n_modalities = len(encoders)
        attention = None
        if temperature is not None and n_modalities > 1:
            attention = Attention(
                n_modalities, width, temperature, attention_starts_equal
            )
        heads = ClusteringHeads(n_heads, width, hidden_width, n_clusters)
        super().__init__(encoders, width, heads)
        self.attention = attention

    def weigh(self, latents: Tensor, observed: Tensor | None) -> Tensor:
        """Compute the attention weights of a batch; they add up to 1."""
        if self.attention is None:
            return super().weigh(latents, observed)
        return self.attention(latents, observed)

    def weight_sums(
        self, latents: Tensor, observed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Add up attention weights over the samples that have each modality."""
        if self.attention is None:
            return super().weight_sums(latents, observed)
        return self.attention.sums(latents, observed)
