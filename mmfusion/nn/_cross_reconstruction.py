"""Reconstruction of a modality from the others, against discriminators."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmfusion.nn._encoders import he_normal
from mmfusion.nn._net import DeepNet, EncodedBatch
from mmfusion.nn.losses import adversarial_cross_entropy


class SampleDiscriminators(nn.Module):
    """One discriminator per modality, of samples and their reconstructions.

    Parameters
    ----------
    shapes : sequence of tuple of int
        Shape of one sample of each modality.
    """

    HIDDEN_WIDTH = 64
    SLOPE = 0.2  # of the leaky ReLU

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(
            nn.Sequential(
                nn.Flatten(),
                nn.Linear(math.prod(shape), self.HIDDEN_WIDTH),
                nn.LeakyReLU(self.SLOPE),
                nn.Linear(self.HIDDEN_WIDTH, 1),
            )
            for shape in shapes
        ).apply(he_normal)

    def forward(self, samples: Sequence[Tensor]) -> Tensor:
        """Classify samples of each modality: logits of shape (V, m)."""
        pairs = zip(self.discriminators, samples, strict=True)
        return torch.stack([discriminate(x).squeeze(1) for discriminate, x in pairs])


def mean_of_others(
    latents: Tensor, observed: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Average, for each modality, the latents of the others.

    Parameters
    ----------
    latents : tensor of shape (V, m, d)
        Latents of at least two modalities; zeros where one is not observed.
    observed : tensor of bool of shape (m, V) or None
        Which modalities of a sample are observed; None is all.

    Returns
    -------
    means : tensor of shape (V, m, d)
        Mean latent of the other modalities that are observed.
    counted : tensor of bool of shape (m, V) or None
        Samples that have the modality and another one; None is all.
    """
    sums = latents.sum(0) - latents
    if observed is None:
        return sums / (len(latents) - 1), None
    n_others = observed.sum(1, keepdim=True) - observed.to(torch.int)
    means = sums / torch.clamp_min(n_others, 1).mT[..., None]
    return means, observed & (n_others > 0)


def reconstruct_from_others(
    net: DeepNet, batch: EncodedBatch
) -> tuple[list[Tensor], Tensor | None]:
    """Decode every modality from the mean latent of the others.

    Returns
    -------
    rebuilt : list of tensor of shape (m, ...)
        One per modality.
    counted : tensor of bool of shape (m, V) or None
        Samples that have the modality and another one; None is all.
    """
    means, counted = mean_of_others(batch.latents, batch.observed)
    return net.decode(means), counted


def discriminator_loss(
    net: DeepNet,
    samples: Sequence[Tensor],
    rebuilt: Sequence[Tensor],
    counted: Tensor | None,
) -> Tensor:
    """Compute ``-sum_v log D_v(x_v) + log(1 - D_v(y_v))`` of samples and y, rebuilt."""
    others = [y.detach() for y in rebuilt]
    return _entropy_of_rebuilt(net, samples, True, counted) + _entropy_of_rebuilt(
        net, others, False, counted
    )


def generator_loss(
    net: DeepNet, rebuilt: Sequence[Tensor], counted: Tensor | None
) -> Tensor:
    """Compute ``-sum_v log D_v(y_v)`` of rebuilt samples y."""
    return _entropy_of_rebuilt(net, rebuilt, True, counted)


def _entropy_of_rebuilt(
    net: DeepNet, samples: Sequence[Tensor], real: bool, counted: Tensor | None
) -> Tensor:
    with net.precision():
        logits = net.parts_["discriminators"](samples).to(samples[0])
    mask = None if counted is None else counted.mT
    return adversarial_cross_entropy(logits, real, mask)
