"""The network of adversarial-attention multimodal clustering (EAMC)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.nn._encoders import he_normal, is_deterministic
from mmfusion.nn._isolation import drawing


class Fused(NamedTuple):
    """What the network makes of a batch of m samples.

    Parameters
    ----------
    latents : tensor of shape (V, m, d)
        One latent per modality and sample; zeros where the sample lacks it.
    weights : tensor of shape (V,)
        Attention weights; they add up to 1.
    fused : tensor of shape (m, d)
        The weighted sum of what is observed.
    hidden : tensor of shape (m, h)
        Hidden layer of the clustering module. While R of them compete, (R, m, h).
    logits : tensor of shape (m, k)
        Assignment to clusters, before the softmax; or (R, m, k).
    """

    latents: Tensor
    weights: Tensor
    fused: Tensor
    hidden: Tensor
    logits: Tensor


class Attention(nn.Module):
    """Three linear layers from all latents of a sample to one weight per modality.

    Parameters
    ----------
    n_modalities : int
        Number of modalities V.
    width : int
        Width d of a latent.
    temperature : float
        Divides the activations before the softmax.
    """

    def __init__(self, n_modalities: int, width: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        last = nn.Linear(50, n_modalities)
        self.layers = nn.Sequential(
            nn.Linear(n_modalities * width, 100), nn.Linear(100, 50), last
        ).apply(he_normal)
        # by He's rule the sigmoid would be saturated from the start, and not learn
        nn.init.zeros_(last.weight)

    def forward(self, latents: Tensor, observed: Tensor | None) -> Tensor:
        """Weigh the modalities of a batch: (V, m, d) to one weight each, (V,)."""
        scores = torch.sigmoid(self._activations(latents)) / self.temperature
        if observed is None:
            return scores.softmax(1).mean(0)
        shares = scores.masked_fill(~observed, -math.inf).softmax(1)
        means = shares.sum(0) / torch.clamp_min(observed.sum(0), 1)
        return means / means.sum()

    def _activations(self, latents: Tensor) -> Tensor:
        """What the layers make of a batch: (V, m, d) to (m, V).

        Nothing but sums and products stand between them, so that their weights are
        multiplied first: V columns instead of 100 meet the latents.
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


class ClusteringHeads(nn.Module):
    """Clustering modules side by side: a hidden layer, batch norm, assignment.

    Parameters
    ----------
    n_heads : int
        Number of modules R.
    width : int
        Width d of a latent.
    hidden_width : int
        Units h of the hidden layer.
    n_clusters : int
        Number of clusters k.
    """

    def __init__(
        self, n_heads: int, width: int, hidden_width: int, n_clusters: int
    ) -> None:
        super().__init__()
        self.hidden, self.hidden_bias = _batched_linear(n_heads, width, hidden_width)
        self.norm = nn.BatchNorm1d(n_heads * hidden_width)
        self.assign, self.assign_bias = _batched_linear(
            n_heads, hidden_width, n_clusters
        )

    @property
    def n_heads(self) -> int:
        """Number of modules R."""
        return self.hidden.shape[0]

    def forward(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Cluster latents of shape (m, d): hidden (R, m, h) and logits (R, m, k)."""
        raw = F.relu(fused @ self.hidden + self.hidden_bias)
        n_heads, m, width = raw.shape
        side_by_side = self.norm(raw.transpose(0, 1).reshape(m, n_heads * width))
        hidden = side_by_side.reshape(m, n_heads, width).transpose(0, 1)
        return hidden, torch.baddbmm(self.assign_bias, hidden, self.assign)

    def keep(self, head: int) -> None:
        """Drop all modules but one."""
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


def _batched_linear(n: int, inputs: int, outputs: int) -> tuple[nn.Parameter, ...]:
    """Weights by He's rule and biases of n linear layers."""
    weights = torch.randn(n, inputs, outputs) * math.sqrt(2 / inputs)
    return nn.Parameter(weights), nn.Parameter(torch.zeros(n, 1, outputs))


class FusionNetwork(nn.Module):
    """Encoders, attention and clustering module.

    Parameters
    ----------
    encoders : sequence of Module
        One per modality, with latents of one width.
    width : int
        That width d.
    n_clusters : int
        Number of clusters k.
    attention : bool, default=True
        Whether the modalities are weighed; otherwise they count the same.
    temperature : float, default=1.0
        Temperature of the attention.
    hidden_width : int, default=100
        Units of the hidden layer of the clustering module.
    n_heads : int, default=1
        Clustering modules that compete.
    """

    frozen: Tensor

    def __init__(
        self,
        encoders: Sequence[nn.Module],
        width: int,
        n_clusters: int,
        attention: bool = True,
        temperature: float = 1.0,
        hidden_width: int = 100,
        n_heads: int = 1,
    ) -> None:
        super().__init__()
        n_modalities = len(encoders)
        self.encoders = nn.ModuleList(encoders)
        self.attention = (
            Attention(n_modalities, width, temperature)
            if attention and n_modalities > 1
            else None
        )
        self.heads = ClusteringHeads(n_heads, width, hidden_width, n_clusters)
        # the weights of `predict`: those of the training data, whatever the batch
        self.register_buffer("frozen", torch.full((n_modalities,), 1 / n_modalities))

    def encode(self, inputs: Sequence[Tensor], observed: Tensor | None) -> Tensor:
        """Encode every modality: latents of shape (V, m, d)."""
        with nullcontext() if is_deterministic(self.encoders) else drawing():
            latents = torch.stack(
                [encoder(x) for encoder, x in zip(self.encoders, inputs, strict=True)]
            )
        return latents if observed is None else latents * observed.mT[..., None]

    def weigh(self, latents: Tensor, observed: Tensor | None) -> Tensor:
        """Weigh the modalities of a batch; the weights add up to 1."""
        if self.attention is None:
            return torch.full_like(self.frozen, 1 / len(self.frozen))
        return self.attention(latents, observed)

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
    ) -> Fused:
        """Fuse and cluster a batch.

        Parameters
        ----------
        inputs : sequence of tensor of shape (m, ...)
            One per modality.
        observed : tensor of bool of shape (m, V), default=None
            Which sample has which modality; None is all.
        latents : tensor of shape (V, m, d), default=None
            The latents of the inputs, if they are known already.
        weights : tensor of shape (V,), default=None
            Weights of the modalities. None is those of attention on the batch in
            training, the frozen ones later.

        Returns
        -------
        Fused
            What the network says.
        """
        if latents is None:
            latents = self.encode(inputs, observed)
        if weights is None:
            weights = self.weigh(latents, observed) if self.training else self.frozen
        fused = self.fuse(latents, observed, weights)
        hidden, logits = self.heads(fused)
        if self.heads.n_heads == 1:
            hidden, logits = hidden[0], logits[0]
        return Fused(latents, weights, fused, hidden, logits)


class Discriminators(nn.Module):
    """One discriminator for every modality but the reference, as one batched network.

    Parameters
    ----------
    n_discriminators : int
        How many.
    width : int
        Width d of a latent.
    """

    SLOPE = 0.2  # of the leaky ReLU

    def __init__(self, n_discriminators: int, width: int) -> None:
        super().__init__()
        sizes = pairwise((width, 256, 256, 128, 1))
        layers = [_batched_linear(n_discriminators, a, b) for a, b in sizes]
        self.weights = nn.ParameterList(weight for weight, _ in layers)
        self.biases = nn.ParameterList(bias for _, bias in layers)

    def forward(self, latents: Tensor, fixed: bool = False) -> Tensor:
        """Judge latents of shape (V - 1, m, d): logits of shape (V - 1, m).

        Fixed discriminators let gradients through, but not into their parameters.
        """
        layers = zip(self.weights, self.biases, strict=True)
        for layer, (weight, bias) in enumerate(layers):
            if layer:
                latents = F.leaky_relu(latents, self.SLOPE)
            if fixed:
                weight, bias = weight.detach(), bias.detach()
            latents = torch.baddbmm(bias, latents, weight)
        return latents.squeeze(-1)


def by_graph(pairs: Tensor, graphs: Tensor, n_graphs: int) -> tuple[Tensor, Tensor]:
    """Add up what pairs say, graph by graph.

    Parameters
    ----------
    pairs : tensor of shape (R, m)
        One number per clustering module and pair.
    graphs : tensor of int of shape (m,)
        The graph each pair is an edge of.
    n_graphs : int
        Number of graphs G.

    Returns
    -------
    sums : tensor of shape (R, G)
        The sums.
    counts : tensor of shape (G,)
        Pairs of each graph.
    """
    edges = F.one_hot(graphs, n_graphs).to(pairs)
    return pairs @ edges, edges.sum(0)


class GraphTrust(nn.Module):
    """How far each clustering module follows each graph of neighbours.

    The mean disagreement D_g on the edges of every graph is followed, and edges
    weighted by 1 / D_g: the gradient is that of the sum of log D_g. A graph that
    contradicts the others, such as that of a modality without clusters, is thus
    heard less, without a parameter (after the auto-weighted graphs of Nie, Li and
    Li 2016, who minimise a sum of roots).

    Parameters
    ----------
    n_heads : int
        Number of clustering modules R.
    n_graphs : int
        Number of graphs G.
    """

    RATE = 0.05  # of the running means
    FLOOR = 0.01  # of a mean disagreement: no graph is trusted without limit

    running: Tensor

    def __init__(self, n_heads: int, n_graphs: int) -> None:
        super().__init__()
        self.register_buffer("running", torch.ones(n_heads, n_graphs))

    def forward(self, pairs: Tensor, graphs: Tensor) -> Tensor:
        """Weigh pairs, of shape (R, m), by the graphs they are of, of shape (m,)."""
        sums, counts = by_graph(pairs.detach(), graphs, self.running.shape[1])
        means = sums / torch.clamp_min(counts, 1)
        self.running.lerp_(torch.where(counts > 0, means, self.running), self.RATE)
        trust = 1 / (self.running + self.FLOOR)
        trust = trust / trust.mean(1, keepdim=True)
        return trust[:, graphs]
