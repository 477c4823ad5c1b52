"""Losses of discriminators and of the encoders that are trained against them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def adversarial_cross_entropy(
    logits: Tensor, real: bool, observed: Tensor | None = None
) -> Tensor:
    """Compute ``-sum_v mean_q log D_v(h_q)``, with ``1 - D_v`` where real is False.

    The discriminator loss adds the real latents with ``real=True`` and the others with
    ``real=False``; the generator loss is that of the others with ``real=True``, the
    non-saturating form of Goodfellow et al. (2014).

    Parameters
    ----------
    logits : tensor of shape (V - 1, m)
        Output of each discriminator, before the sigmoid.
    real : bool
        Target of all logits.
    observed : tensor of bool of shape (V - 1, m), default=None
        Entries that count in the mean; None for all.

    Returns
    -------
    tensor of shape ()
        Mean over samples, summed over discriminators.
    """
    # softplus of logits instead of log(sigmoid), which underflows
    losses = F.softplus(-logits if real else logits)
    if observed is None:
        return losses.mean(1).sum()
    n_observed = torch.clamp_min(observed.sum(1), 1)
    return ((losses * observed).sum(1) / n_observed).sum()
