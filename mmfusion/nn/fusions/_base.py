"""Base of the fusion modules."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Fusion(nn.Module):
    """Fusion of the latents of V modalities, for R members at once.

    Parameters
    ----------
    n_modalities : int
        Number of modalities V.
    n_members : int
        Number of members R.
    width : int
        Width w of a latent, and of what is returned.
    """

    def __init__(self, n_modalities: int, n_members: int, width: int) -> None:
        super().__init__()
        self.n_modalities, self.n_members, self.width = n_modalities, n_members, width

    def forward(self, latents: Tensor, observed: Tensor) -> Tensor:
        """Fuse the latents of a batch.

        Parameters
        ----------
        latents : tensor of shape (V, R, m, w)
            The latents; zeros where a modality is not observed.
        observed : tensor of shape (m, V)
            1 for the modalities that a sample has, else 0, in the type of the latents.

        Returns
        -------
        tensor of shape (R, m, w')
            The fused latents.
        """
        raise NotImplementedError

    def gates(self, latents: Tensor, observed: Tensor) -> Tensor:
        """Compute how much of each modality counts; equal shares unless overridden.

        Returns
        -------
        tensor of shape (R, m, V)
            Nonnegative numbers, 0 for what is not observed.
        """
        return observed.expand(self.n_members, -1, -1)

    def _with_flags(self, latents: Tensor, observed: Tensor) -> Tensor:
        """Put all latents and the flags of what is observed side by side."""
        flags = observed.expand(self.n_members, -1, -1)
        return torch.cat([*latents, flags], dim=-1)


class MemberFusions(Fusion):
    """Fusion modules of the user, one per member.

    Parameters
    ----------
    modules : sequence of Module
        Each takes latents of shape (V, m, w), and the tensor of bool of shape (m, V)
        of what is observed, and returns a tensor of shape (m, w').
    n_modalities : int
        Number of modalities V.
    width : int
        Width w of a latent.
    """

    def __init__(
        self, modules: Sequence[nn.Module], n_modalities: int, width: int
    ) -> None:
        super().__init__(n_modalities, len(modules), width)
        self.members = nn.ModuleList(modules)

    def forward(self, latents: Tensor, observed: Tensor) -> Tensor:
        """Fuse the latents of each member by its own module."""
        pairs = zip(self.members, latents.unbind(1), strict=True)
        return torch.stack([member(own, observed > 0) for member, own in pairs])
