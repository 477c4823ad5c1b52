"""The objective of adversarial training in EAMC."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mmfusion.clustering._terms import CLUSTERING_TERMS, clustering_terms
from mmfusion.nn._adversary import AdversarialObjective
from mmfusion.nn._net import DeepNet, EncodedBatch
from mmfusion.nn.losses import (
    attention_inequality,
    attention_mismatch,
    gaussian_kernel,
)


@dataclass(frozen=True, kw_only=True)
class EAMCObjective(AdversarialObjective):
    """The loss of the network of EAMC (Zhou and Shen 2020, equation 12).

    It is ``separation_weight * D_sc + simplex_weight * D_sim + confidence_weight *
    D_conf + balance_weight * D_bal + attention_weight * L_att + inequality_weight *
    KL(w, 1/V) + adversarial_weight * L_gen``; a weight of 0 leaves its term out.

    Parameters
    ----------
    separation_weight, simplex_weight, confidence_weight, balance_weight : float
        Weights of the clustering terms, see `clustering_terms`.
    attention_weight : float
        Weight of the mismatch between the kernel of the fused latents and the
        weighted sum of those of the modalities.
    inequality_weight : float
        Weight of the divergence of the attention weights w from equal ones.
    kernel_width : float
        Variance of the kernels, in median squared distances.
    """

    separation_weight: float
    simplex_weight: float
    confidence_weight: float
    balance_weight: float
    attention_weight: float
    inequality_weight: float
    kernel_width: float

    criteria = {"clustering": CLUSTERING_TERMS}

    def network_terms(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute the clustering terms and the mismatch of attention."""
        latents, observed = batch.latents, batch.observed
        weights = self.weights(1.0)
        outputs = net.fuse(latents, observed)
        terms = clustering_terms(
            outputs.hidden, outputs.logits, weights, self.kernel_width
        )
        if net.module_.attention is None:
            return terms
        if self.attention_weight:
            terms["attention"] = attention_mismatch(
                gaussian_kernel(outputs.fused, self.kernel_width),
                gaussian_kernel(outputs.latents, self.kernel_width),
                outputs.weights,
                observed,
            )
        if terms and self.inequality_weight:  # it is no reason to train by itself
            terms["inequality"] = attention_inequality(outputs.weights)
        return terms

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights of all terms; they do not change during the phase."""
        return {
            "separation": self.separation_weight,
            "simplex": self.simplex_weight,
            "confidence": self.confidence_weight,
            "balance": self.balance_weight,
            "attention": self.attention_weight,
            "inequality": self.inequality_weight,
            "generator": self.adversarial_weight,
        }
