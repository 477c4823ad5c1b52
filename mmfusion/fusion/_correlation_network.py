"""Network and objective of deep canonical correlation analysis."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from mmfusion.nn._net import DeepNet, EncodedBatch, Objective
from mmfusion.nn._network import FusionNetwork, NoHead
from mmfusion.nn._reconstruction import reconstruct
from mmfusion.nn.losses import canonical_correlation_loss, eckart_young_loss

CANONICAL, ECKART_YOUNG = "canonical", "eckart_young"


class ScoreNetwork(FusionNetwork):
    """Network whose fused output is the mean of canonical scores.

    Parameters
    ----------
    encoders : sequence of Module
        Encoder of each modality, with latents of one width.
    width : int
        Width d of a latent.
    n_components : int
        Number of canonical scores.
    decoders : ModuleList, default=None
        One per modality; None is no autoencoder.
    """

    means: Tensor
    axes: Tensor

    def __init__(
        self,
        encoders: list[nn.Module],
        width: int,
        n_components: int,
        decoders: nn.ModuleList | None = None,
    ) -> None:
        super().__init__(encoders, width, NoHead(), decoders)
        # the scores are linear in the latents; fitted after the training
        self.register_buffer("means", torch.zeros(len(encoders), 1, width))
        self.register_buffer("axes", torch.zeros(len(encoders), width, n_components))

    def fuse(self, latents: Tensor, observed: Tensor | None, weights: Tensor) -> Tensor:
        """Compute the mean of the scores over what is observed."""
        return super().fuse((latents - self.means) @ self.axes, observed, weights)


@dataclass(frozen=True, kw_only=True)
class CorrelationObjective(Objective):
    """Objective of deep canonical correlation analysis.

    Parameters
    ----------
    loss : {'canonical', 'eckart_young'}
        Loss of the latents.
    n_components : int or None
        Number of correlations that count; None for all.
    shrinkage : float
        Share of the identity in the covariances.
    reconstruction_weight : float
        Weight of the reconstruction loss.
    """

    loss: str
    n_components: int | None
    shrinkage: float
    reconstruction_weight: float

    criteria = {"correlation": ("correlation",)}

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights of all terms; they do not change during the phase."""
        return {"correlation": 1.0, "reconstruction": self.reconstruction_weight}

    def terms(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute the loss of the latents, and the reconstruction loss."""
        latents, observed = batch.latents, batch.observed
        if self.loss == CANONICAL:
            _refuse_small_batch(*latents.shape[1:])
            loss = canonical_correlation_loss(
                latents, observed, self.n_components, self.shrinkage
            )
        else:
            loss = eckart_young_loss(latents, observed)
        terms = {"correlation": loss}
        if self.reconstruction_weight:
            terms["reconstruction"] = reconstruct(net, batch)
        return terms


def _refuse_small_batch(m: int, d: int) -> None:
    if m <= d:
        raise ValueError(
            f"a batch of {m} samples has canonical correlations of 1, whatever the "
            f"data, for latents of width {d}: give encoders a last width below {m}, or "
            f"more than {d} samples and a trainer__batch_size above {d}"
        )


def find_small_pairs(
    names: list[str], observed: np.ndarray, batch_share: float, d: int
) -> list[str]:
    """Describe the pairs of modalities that a batch has too few samples of.

    Parameters
    ----------
    names : list of str
        Names of the modalities.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Whether a sample has a modality.
    batch_share : float
        Share of the samples that are in a batch.
    d : int
        Width of a latent.

    Returns
    -------
    list of str
        One sentence for each pair.
    """
    found = []
    for u, v in combinations(range(len(names)), 2):
        n_common = batch_share * (observed[:, u] & observed[:, v]).sum()
        if n_common <= d:
            found.append(
                f"{names[u]!r} and {names[v]!r} share {n_common:.0f} samples of a "
                f"batch, too few for latents of width {d}, and are not compared"
            )
    return found
