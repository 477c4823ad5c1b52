"""The objective of EAMC: which terms count, how much, and of what."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmfusion.nn import losses
from mmfusion.nn._fusion import Fused


@dataclass(frozen=True)
class Objective:
    """Weights and forms of the terms; a weight of 0 leaves a term out.

    Parameters
    ----------
    sc_weight, sim_weight, reg_weight : float
        Of separation and compactness, closeness to corners, and the regulariser.
    regularizer : {'balance', 'confidence'}
        Form of the regulariser.
    attention_weight : float
        Of the mismatch between the fused kernel and those of the modalities.
    mean_attention : bool
        Whether the mismatch is a mean over the entries; as printed, it is a sum.
    adversarial_weight : float
        Of the encoders' part in the game.
    kernel_width : float
        Variance of kernels, in median squared distances.
    size_weight : float
        Of equal cluster sizes in the agreement of neighbours, at first.
    """

    sc_weight: float
    sim_weight: float
    reg_weight: float
    regularizer: str
    attention_weight: float
    mean_attention: bool
    adversarial_weight: float
    kernel_width: float
    size_weight: float

    def clustering(self, out: Fused) -> dict[str, Tensor]:
        """The terms of the clustering loss of a batch, unweighted."""
        assignment = out.logits.softmax(1)
        kernel = losses.gaussian_kernel(out.hidden, self.kernel_width)
        terms = {}
        if self.sc_weight:
            terms["sc"] = losses.cauchy_schwarz_divergence(assignment, kernel)
        if self.sim_weight:
            corners = losses.corner_closeness(assignment)
            terms["sim"] = losses.cauchy_schwarz_divergence(corners, kernel)
        if self.reg_weight:
            regularize = getattr(losses, f"{self.regularizer}_penalty")
            terms["reg"] = regularize(assignment)
        return terms

    def attention(self, out: Fused, observed: Tensor | None) -> Tensor:
        """The mismatch of fused and single kernels in a batch."""
        return losses.attention_mismatch(
            losses.gaussian_kernel(out.fused, self.kernel_width),
            losses.gaussian_kernel(out.latents, self.kernel_width),
            out.weights,
            observed,
            mean=self.mean_attention,
        )

    def agreement(self, out: Fused) -> tuple[Tensor, Tensor]:
        """Disagreement of every pair of a paired batch, and imbalance of clusters.

        Shapes are (R, m) and (R,) for R clustering modules.
        """
        assignment = out.logits.softmax(-1).reshape(-1, *out.logits.shape[-2:])
        samples, neighbors = assignment.chunk(2, dim=-2)
        pairs = losses.neighbor_disagreement(samples, neighbors)
        return pairs, losses.cluster_size_divergence(assignment)

    def total(self, terms: dict[str, Tensor], done: float = 1.0) -> Tensor:
        """Add up terms, weighted.

        Parameters
        ----------
        terms : dict of str to tensor
            As from the methods above.
        done : float, default=1.0
            How much of the phase is over. The weight of equal sizes falls to 1, where
            agreement and sizes bound what the clusters of neighbours tell of each
            other; more than that finds the clusters, but would not let them differ.

        Returns
        -------
        tensor
            The sum.
        """
        weights = {
            "sc": self.sc_weight,
            "sim": self.sim_weight,
            "reg": self.reg_weight,
            "attention": self.attention_weight,
            "generator": self.adversarial_weight,
            "disagreement": 1.0,
            "imbalance": self.size_weight + (1 - self.size_weight) * done,
        }
        if not terms:
            raise ValueError(
                "the game has nothing to minimise, for all its weights are 0: set one, "
                "or max_epochs=0 to end with the warm start"
            )
        weighted = [weights[name] * term for name, term in terms.items()]
        return torch.stack(weighted).sum(0)
