"""The objective of an autoencoder, by which deep methods are pretrained."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmfusion.nn._net import DeepNet, EncodedBatch, Objective
from mmfusion.nn.losses import reconstruction_loss


@dataclass(frozen=True)
class ReconstructionObjective(Objective):
    """Mean squared error of every modality, decoded from its own latent."""

    criteria = {"reconstruction": ("reconstruction",)}

    def terms(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute the reconstruction loss."""
        return {"reconstruction": reconstruct(net, batch)}

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weight of the only term."""
        return {"reconstruction": 1.0}


def reconstruct(net: DeepNet, batch: EncodedBatch) -> Tensor:
    """Compute the reconstruction loss of a batch, of a net with decoders.

    Every process decodes the whole batch, since all of them have its inputs.
    """
    decoded = net.decode(batch.latents)
    return reconstruction_loss(decoded, batch.inputs, batch.observed)
