"""Coefficients by which every sample is expressed by the others, and their training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmfusion._memory import check_fits, in_units
from mmfusion.nn._net import DeepNet, EncodedBatch, Objective
from mmfusion.nn._network import FusionNetwork
from mmfusion.nn._trainer import TrainingSettings
from mmfusion.nn.losses import (
    normalized_latents,
    reconstruction_norm,
    self_expression_loss,
)

N_MATRICES = 4  # of n^2 numbers: coefficients, gradient, two moments of Adam
START = 1e-4  # of every coefficient


def check_expression_memory(
    n_samples: int, settings: TrainingSettings, remedy: str
) -> None:
    """Check the memory of coefficients before they are allocated.

    Parameters
    ----------
    n_samples : int
        Number of samples n, of which there are n^2 coefficients.
    settings : TrainingSettings
        Settings of the training; if it is verbose, the memory is printed.
    remedy : str
        Remedy in the error.

    Raises
    ------
    ValueError
        If the memory is not available.
    """
    n_bytes = N_MATRICES * settings.full_dtype.itemsize * n_samples**2
    what = f"the self-expression of {n_samples} samples by each other"
    if settings.verbose:
        print(f"{what} takes {in_units(n_bytes)}")
    if settings.device.type == "cpu":
        check_fits(n_bytes, what, remedy)


class SelfExpression(nn.Module):
    """The coefficients C, of shape (n, n), with a diagonal of zeros.

    Parameters
    ----------
    n_samples : int
        Number of samples n.
    """

    def __init__(self, n_samples: int) -> None:
        super().__init__()
        start = torch.full((n_samples, n_samples), START).fill_diagonal_(0)
        self.coefficients = nn.Parameter(start)


class SelfExpressionNetwork(FusionNetwork):
    """Network whose fused latent is those of all modalities side by side.

    The latents of a modality have unit norm; what is not observed is 0. Heads are
    given what is observed.
    """

    def fuse(self, latents: Tensor, observed: Tensor | None, weights: Tensor) -> Tensor:
        """Concatenate latents of unit norm, of shape (m, V d)."""
        return normalized_latents(latents).transpose(0, 1).flatten(1)

    def apply_heads(
        self, fused: Tensor, observed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Compute the logits; the hidden layer is the fused latent."""
        return fused[None], self.heads(fused, observed)[None]


@dataclass(frozen=True)
class SelfExpressionObjective(Objective):
    """Norm of the coefficients, self-expression, and reconstruction.

    Parameters
    ----------
    expression_weight, reconstruction_weight : float
        Weights of the self-expression and of the reconstruction.
    """

    expression_weight: float
    reconstruction_weight: float

    whole_batch = True

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights of all terms; that of the norm is 1."""
        return {
            "norm": 1.0,
            "expression": self.expression_weight,
            "reconstruction": self.reconstruction_weight,
        }

    def terms(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute the terms of all samples."""
        latents, observed, inputs = batch.latents, batch.observed, batch.inputs
        coefficients = cast(SelfExpression, net.parts_["expression"]).coefficients
        decoded = net.decode(latents)
        return {
            "norm": torch.linalg.vector_norm(coefficients),
            "expression": self_expression_loss(
                normalized_latents(latents), coefficients, observed
            ),
            "reconstruction": reconstruction_norm(decoded, inputs, observed),
        }

    def step(self, net: DeepNet, batch: Any) -> dict[str, Tensor]:
        """Train the network and the coefficients by one gradient of the same loss."""
        recorded = super().step(net, batch)
        coefficients = cast(SelfExpression, net.parts_["expression"]).coefficients
        optimizer = net.part_optimizers_["expression"]
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            coefficients.fill_diagonal_(0)
        return recorded
