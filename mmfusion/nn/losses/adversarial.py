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
    ``real=False``; the generator loss has the targets the other way round, the
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
    return _mean_over_samples(F.softplus(-logits if real else logits), observed)


def squared_slope(slopes: Tensor, observed: Tensor | None = None) -> Tensor:
    """Compute ``sum_v mean_q |grad_h D_v(h_q)|^2``, the slope of discriminators.

    As a penalty it keeps discriminators from becoming ever steeper between modalities
    that they separate already (Mescheder et al. 2018, equations 9 and 10 together:
    at the latents of both sides).

    Parameters
    ----------
    slopes : tensor of shape (V - 1, m, d)
        Gradient of the logit of each latent, before the sigmoid, by that latent.
    observed : tensor of bool of shape (V - 1, m), default=None
        Entries that count in the mean; None for all.

    Returns
    -------
    tensor of shape ()
        Mean over samples, summed over discriminators.
    """
    return _mean_over_samples(slopes.square().sum(2), observed)


def _mean_over_samples(values: Tensor, observed: Tensor | None) -> Tensor:
    """Average over the observed samples, and add up over discriminators."""
    if observed is None:
        return values.mean(1).sum()
    n_observed = torch.clamp_min(observed.sum(1), 1)
    return ((values * observed).sum(1) / n_observed).sum()
