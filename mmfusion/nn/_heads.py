"""Clustering heads: from fused latents to assignments."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        self.hidden, self.hidden_bias = batched_linear(n_heads, width, hidden_width)
        self.norm = nn.BatchNorm1d(n_heads * hidden_width)
        self.assign, self.assign_bias = batched_linear(
            n_heads, hidden_width, n_clusters
        )

    @property
    def n_heads(self) -> int:
        """Number of heads R."""
        return self.hidden.shape[0]

    def forward(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Assign latents of shape (m, d): hidden (R, m, h) and logits (R, m, k)."""
        raw = F.relu(fused @ self.hidden + self.hidden_bias)
        n_heads, m, width = raw.shape
        # one batch norm over the features of all heads normalises each by itself
        side_by_side = self.norm(raw.transpose(0, 1).reshape(m, n_heads * width))
        hidden = side_by_side.reshape(m, n_heads, width).transpose(0, 1)
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
