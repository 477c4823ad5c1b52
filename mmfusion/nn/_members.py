"""Networks of several members: an ensemble trained at once, as products of batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mmfusion.nn._isolation import current_draws


class BatchedLinear(nn.Module):
    """Linear layers of one shape side by side, ``y_b = x_b W_b + c_b``.

    One product of batches costs little more than that of one layer. Weights and biases
    are drawn as those of torch's Linear are.

    Parameters
    ----------
    batch : tuple of int
        Shape of the batch of layers, such as (n_members,).
    n_inputs, n_outputs : int
        Width of the inputs and of the outputs.
    """

    def __init__(self, batch: tuple[int, ...], n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_inputs)
        self.weight = nn.Parameter(
            torch.empty(*batch, n_inputs, n_outputs).uniform_(-bound, bound)
        )
        self.bias = nn.Parameter(
            torch.empty(*batch, 1, n_outputs).uniform_(-bound, bound)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map x of shape (..., \\*batch, m, n_inputs)."""
        return x @ self.weight + self.bias


class MemberEncoder(nn.Module):
    """Fully connected encoders of all members, whose latents are side by side.

    Every member reads the same samples, so that their first layers are one product.

    Parameters
    ----------
    n_features : int
        Number of features of the modality.
    widths : sequence of int
        Number of units of each layer of one member; the last is its latent, which is
        that of a linear layer.
    n_members : int
        Number of members R.
    """

    def __init__(self, n_features: int, widths: Sequence[int], n_members: int) -> None:
        super().__init__()
        self.n_members = n_members
        self.first = nn.Linear(n_features, n_members * widths[0])
        self.others = nn.ModuleList(
            BatchedLinear((n_members,), a, b) for a, b in pairwise(widths)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Encode samples of shape (m, n_features) to latents of shape (m, R w)."""
        hidden = by_member(self.first(x.flatten(1)), self.n_members)
        for layer in self.others:
            hidden = layer(hidden.relu())
        return members_side_by_side(hidden)


class Members(nn.Module):
    """Modules of the members, whose outputs are put side by side.

    Parameters
    ----------
    modules : sequence of Module
        One per member, from (m, ...) to (m, w).
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(modules)

    def forward(self, x: Tensor) -> Tensor:
        """Encode samples of shape (m, ...) to latents of shape (m, R w)."""
        return torch.cat([member(x) for member in self.members], dim=-1)


def by_member(x: Tensor, n_members: int) -> Tensor:
    """Split (..., m, R w) by member to (..., R, m, w)."""
    return x.unflatten(-1, (n_members, -1)).transpose(-3, -2)


def members_side_by_side(x: Tensor) -> Tensor:
    """Put members of shape (..., R, m, w) side by side to (..., m, R w)."""
    return x.transpose(-3, -2).flatten(-2)


def redrawn(make: Callable[[], nn.Module]) -> nn.Module:
    """Make a module and draw its weights anew: copies of a user's module have equal.

    Parameters
    ----------
    make : callable
        Returns the module.

    Returns
    -------
    Module
        The module, with new weights in every layer that can draw them.
    """
    module = make()
    for layer in module.modules():
        if callable(reset := getattr(layer, "reset_parameters", None)):
            reset()
    return module


def dropout(x: Tensor, p: float) -> Tensor:
    """Set values to 0 with probability p, by the generator of `isolated`."""
    if not p:
        return x
    return x * (_kept(x, p).to(x.dtype) / (1 - p))


def _kept(x: Tensor, p: float) -> Tensor:
    """Draw which values of a tensor are kept, each with probability 1 - p."""
    generator = current_draws().generator(x.device)
    if x.device.type != "cpu":
        return torch.rand(x.shape, generator=generator, device=x.device) >= p
    # one draw of 64 bits for four values: draws are most of what dropout costs
    draws = torch.empty(math.ceil(x.numel() / 4), dtype=torch.int64)
    draws.random_(-(2**63), None, generator=generator)
    lowest = int(p * 2**16) - 2**15
    return draws.view(torch.int16)[: x.numel()].view(x.shape) >= lowest
