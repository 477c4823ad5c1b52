"""The objective of autoencoders whose clusters train themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from mmfusion.nn._concatenation import fit_centers
from mmfusion.nn._cross_reconstruction import (
    discriminator_loss,
    generator_loss,
    reconstruct_from_others,
)
from mmfusion.nn._data import Batches
from mmfusion.nn._net import DeepNet, EncodedBatch, Objective
from mmfusion.nn._reconstruction import reconstruct
from mmfusion.nn._self_training import SelfTargets
from mmfusion.nn.losses import reconstruction_loss, target_divergence


@dataclass(frozen=True, kw_only=True)
class AutoencoderObjective(Objective):
    """Objective of autoencoders, self-training of clusters, and adversaries.

    Parameters
    ----------
    clustering_weight : float
        Weight of the divergence of assignments from their targets.
    cross_weight : float
        Weight of the reconstruction from the other modalities.
    adversarial_weight : float
        Weight of the generator loss of these reconstructions.
    tol : float
        Share of samples whose cluster changes between two refreshes of the targets,
        below which training ends.
    """

    clustering_weight: float = 0.0
    cross_weight: float = 0.0
    adversarial_weight: float = 0.0
    tol: float = 0.0

    criteria = {"reconstruction": ("reconstruction",)}

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights of all terms; they do not change during the phase."""
        return {
            "reconstruction": 1.0,
            "clustering": self.clustering_weight,
            "cross_reconstruction": self.cross_weight,
            "generator": self.adversarial_weight,
        }

    def begin_epoch(self, net: DeepNet, data: Batches, n_done: int) -> None:
        """Find clusters before the first epoch, and refresh their targets."""
        if self.clustering_weight:
            if not n_done:
                fit_centers(net, data)
            _targets(net).refresh(net, data, n_done)

    def has_converged(self, net: DeepNet) -> bool:
        """Return whether hardly a label has changed between two refreshes."""
        return self.clustering_weight > 0 and float(_targets(net).changed) < self.tol

    def terms(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute the reconstruction loss, and the terms that have a weight."""
        rebuilt = reconstruct_from_others(net, batch) if self.cross_weight else None
        return self._terms(net, batch, rebuilt)

    def _terms(
        self,
        net: DeepNet,
        batch: EncodedBatch,
        rebuilt: tuple[list[Tensor], Tensor | None] | None,
    ) -> dict[str, Tensor]:
        terms = {"reconstruction": reconstruct(net, batch)}
        if self.clustering_weight:
            logits = net.fuse(batch.latents, batch.observed).logits
            targets = _targets(net)(batch.inputs, batch.observed)
            terms["clustering"] = target_divergence(targets, logits)
        if rebuilt is not None:
            samples, counted = rebuilt
            terms["cross_reconstruction"] = reconstruction_loss(
                samples, batch.inputs, counted
            )
            if self.adversarial_weight:
                terms["generator"] = generator_loss(net, samples, counted)
        return terms

    def step(self, net: DeepNet, batch: Any) -> dict[str, Tensor]:
        """Train the discriminators, if there are any, and then the network."""
        if not self.adversarial_weight:
            return super().step(net, batch)
        encoded = net.encode(batch)
        rebuilt = reconstruct_from_others(net, encoded)
        loss = {"discriminator": discriminator_loss(net, encoded.inputs, *rebuilt)}
        net.minimize(loss, {"discriminator": 1.0}, "discriminators")
        terms = self._terms(net, encoded, rebuilt)
        return net.minimize(terms, self.weights(net.progress_)) | loss


def _targets(net: DeepNet) -> SelfTargets:
    return cast(SelfTargets, net.parts_["targets"])
