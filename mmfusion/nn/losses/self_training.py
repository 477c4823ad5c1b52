"""Losses of clusterings that are trained towards a sharper form of themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from mmfusion.nn.losses.kernels import LOSS_EPSILON


def sharpened(assignment: Tensor, sizes: Tensor) -> Tensor:
    """Compute ``p_qj = (a_qj^2 / f_j) / sum_i (a_qi^2 / f_i)``, the targets of DEC.

    Squares make assignments more certain, and cluster sizes f keep large clusters from
    growing (Xie, Girshick and Farhadi 2016, equation 3).

    Parameters
    ----------
    assignment : tensor of shape (m, k)
        Soft assignments a of some samples; rows on the simplex.
    sizes : tensor of shape (k,)
        Means f of the assignments of all samples; their sums have the same targets.

    Returns
    -------
    tensor of shape (m, k)
        Targets p; rows on the simplex.
    """
    shares = assignment.square() / torch.clamp_min(sizes, LOSS_EPSILON)
    return shares / torch.clamp_min(shares.sum(1, keepdim=True), LOSS_EPSILON)


def target_divergence(targets: Tensor, logits: Tensor) -> Tensor:
    """Compute ``(1 / m) sum_q KL(p_q || a_q)`` for assignments ``a = softmax(logits)``.

    Parameters
    ----------
    targets : tensor of shape (m, k)
        Targets p, held constant; rows on the simplex.
    logits : tensor of shape (m, k)
        Logits of the assignments a.

    Returns
    -------
    tensor of shape ()
        Nonnegative; 0 where targets and assignments are equal.
    """
    entropies = torch.xlogy(targets, targets) - targets * logits.log_softmax(1)
    return entropies.sum(1).mean()
