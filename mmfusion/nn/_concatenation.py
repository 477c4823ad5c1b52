"""A network that fuses latents by concatenation, and the centres of its clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from mmfusion._scaling import CONSTANT_SPREAD_ULPS
from mmfusion.nn._centers import Centers
from mmfusion.nn._data import Batches, spaced_rows
from mmfusion.nn._isolation import drawing
from mmfusion.nn._net import DeepNet
from mmfusion.nn._network import FusionNetwork, evaluating
from mmfusion.nn._training import DivergenceError

ENCODED_CHUNK_ROWS = 4096  # samples in memory at a time
# samples that centres are fitted to, evenly spaced, so that latents fit in memory
MAX_CENTER_ROWS = 50_000


class ConcatenationNetwork(FusionNetwork):
    """Network whose fused latent is ``z = [s_1 (h^1 - b_1), .., s_V (h^V - b_V)]``.

    Means b and scales s are set by `standardize`. What is not observed is 0, the mean.

    Parameters
    ----------
    encoders : sequence of Module
        Encoder of each modality, with latents of one width.
    width : int
        Width d of a latent.
    heads : Centers
        Head of centres of V d coordinates.
    decoders : ModuleList
        Decoder of each modality.
    """

    means: Tensor
    scales: Tensor
    heads: Centers

    def __init__(
        self,
        encoders: Sequence[nn.Module],
        width: int,
        heads: Centers,
        decoders: nn.ModuleList,
    ) -> None:
        super().__init__(encoders, width, heads, decoders)
        self.register_buffer("means", torch.zeros(len(encoders), width))
        self.register_buffer("scales", torch.ones(len(encoders)))

    def fuse(self, latents: Tensor, observed: Tensor | None, weights: Tensor) -> Tensor:
        """Concatenate latents of mean 0 and total variance 1, of shape (m, V d)."""
        standard = (latents - self.means[:, None]) * self.scales[:, None, None]
        if observed is not None:
            standard = standard * observed.mT[..., None]
        return standard.movedim(0, 1).flatten(1)

    def apply_heads(
        self, fused: Tensor, observed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Compute logits by the distances over what is observed."""
        return self.heads(fused, observed)

    def standardize(self, latents: Tensor, observed: Tensor | None) -> None:
        """Set means and scales to those of latents of shape (V, m, d)."""
        ones = torch.ones_like(latents[..., :1])
        counted = ones if observed is None else observed.mT[..., None].to(latents)
        counts = torch.clamp_min(counted.sum(1), 1)
        means = (latents * counted).sum(1) / counts
        squares = (latents - means[:, None]).square().sum(2, keepdim=True)
        variances = ((squares * counted).sum(1) / counts).flatten()
        # the rounding of constant latents would be scaled up to a variance of 1
        rounding = CONSTANT_SPREAD_ULPS * torch.finfo(means.dtype).eps
        varies = variances > rounding**2 * means.square().sum(1)
        self.means.copy_(means)
        self.scales.copy_(torch.where(varies, variances, 1).rsqrt())


def fit_centers(net: DeepNet, data: Batches) -> None:
    """Standardise the latents of a network, and set its centres by k-means.

    Of fewer samples than centres, as `partial_fit` may have, nothing is learned.
    """
    if len(data) < net.module_.heads.n_clusters:
        return
    rows = spaced_rows(len(data), MAX_CENTER_ROWS)
    batches = (
        data.batch(rows[i : i + ENCODED_CHUNK_ROWS])
        for i in range(0, len(rows), ENCODED_CHUNK_ROWS)
    )
    network = cast(ConcatenationNetwork, net.module_)
    with evaluating(network):
        encoded = [(network.encode(*b[:2]), b.observed) for b in batches]
        latents = torch.cat([own for own, _ in encoded], dim=1)
        masks = [mask for _, mask in encoded if mask is not None]
        observed = torch.cat(masks) if masks else None
        network.standardize(latents, observed)
        points = network.fuse(latents, observed, network.frozen).cpu().numpy()
    if not np.isfinite(points).all():
        raise DivergenceError("latents became NaN or infinite")
    with drawing():
        seed = int(torch.randint(2**31 - 1, ()))
    mask = None if observed is None else observed.cpu().numpy()
    network.heads.fit(points, mask, seed)
