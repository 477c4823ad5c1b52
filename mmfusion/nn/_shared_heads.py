"""Heads that all modalities share, and the network whose outputs are their means."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.nn._network import FusionNetwork, Outputs
from mmfusion.nn.losses.kernels import LOSS_EPSILON


class SharedHeads(nn.Module):
    """One linear layer to features and one to clusters, for all modalities.

    Parameters
    ----------
    width : int
        Width d of a latent.
    feature_width : int
        Number of features f.
    n_clusters : int
        Number of clusters k.
    """

    n_heads = 1

    def __init__(self, width: int, feature_width: int, n_clusters: int) -> None:
        super().__init__()
        self.features = nn.Linear(width, feature_width)
        self.clusters = nn.Linear(width, n_clusters)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features of unit norm (V, m, f) and logits (V, m, k) of latents."""
        return F.normalize(self.features(latents), dim=-1), self.clusters(latents)


class SharedHeadsNetwork(FusionNetwork):
    """Network whose heads, `SharedHeads`, apply to the latents of each modality.

    Outputs are the means over the observed modalities of their features, and of their
    assignments, the logarithm of which are the logits.
    """

    def forward(
        self,
        inputs: Sequence[Tensor],
        observed: Tensor | None = None,
        latents: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Outputs:
        """Average features and assignments; parameters as of `FusionNetwork`."""
        if latents is None:
            latents = self.encode(inputs, observed)
        weights = self.frozen if weights is None else weights
        features, logits = self.heads(latents)
        if observed is not None:
            features = features * observed.mT[..., None]
        fused = self.fuse(features, observed, weights)
        mean = self.fuse(logits.softmax(-1), observed, weights)
        log_mean = torch.log(torch.clamp_min(mean, LOSS_EPSILON))
        return Outputs(features, weights, fused, fused, log_mean)
