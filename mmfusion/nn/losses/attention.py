"""Losses that align a fused representation with those of the modalities."""

from __future__ import annotations

import torch
from torch import Tensor

from mmfusion.nn.losses.kernels import LOSS_EPSILON


def attention_mismatch(
    fused: Tensor,
    kernels: Tensor,
    weights: Tensor,
    observed: Tensor | None = None,
) -> Tensor:
    """Compute ``||K_f - sum_v w_v K_v||_F^2 / m^2``.

    Zhou and Shen (2020) print the sum, without ``m^2``, which grows with the batch.

    Parameters
    ----------
    fused : tensor of shape (m, m)
        Kernel K_f of the fused latents.
    kernels : tensor of shape (V, m, m)
        Kernel K_v of the latents of each modality.
    weights : tensor of shape (V,)
        Attention weights w.
    observed : tensor of bool of shape (m, V), default=None
        Whether each sample has each modality; None for complete samples. The weights
        of a pair of samples are renormalised over the modalities observed in both;
        pairs without a common modality add nothing.

    Returns
    -------
    tensor of shape ()
        The mismatch; nonnegative.
    """
    if observed is None:
        squares = (fused - torch.tensordot(weights, kernels, dims=1)).square()
    else:
        both = observed.mT[:, :, None] & observed.mT[:, None, :]
        shares = both * weights[:, None, None]
        shares = shares / torch.clamp_min(shares.sum(0), LOSS_EPSILON)
        squares = (fused - (shares * kernels).sum(0)).square() * both.any(0)
    return squares.mean()


def attention_inequality(weights: Tensor) -> Tensor:
    """Compute ``sum_v w_v log(V w_v)``, the divergence of weights from equal ones.

    Parameters
    ----------
    weights : tensor of shape (V,)
        Attention weights w, which add up to 1.

    Returns
    -------
    tensor of shape ()
        The Kullback-Leibler divergence, from 0 for equal weights to log V.
    """
    # no modality of a batch may weigh 0, where the slope of the logarithm is infinite
    ratios = torch.clamp_min(len(weights) * weights, LOSS_EPSILON)
    return (weights * ratios.log()).sum()
