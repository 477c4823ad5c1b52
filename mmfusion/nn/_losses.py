"""Losses of deep multimodal clustering, as pure functions of tensors.

Numbers of equations and the choice where the sources disagree are in the user guide.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# of kernel widths, self-similarities and sizes: an empty cluster gives 0, not 0/0
FLOOR = 1e-9


def squared_distances(x: Tensor) -> Tensor:
    """Squared Euclidean distances of rows, by one Gram matrix.

    Parameters
    ----------
    x : tensor of shape (..., m, d)
        Rows.

    Returns
    -------
    tensor of shape (..., m, m)
        Not negative.
    """
    return _distances_of_centred(_centred(x))


def _centred(x: Tensor) -> Tensor:
    """Move rows to zero; far from it, distances would be differences that cancel."""
    return x - x.mean(-2, keepdim=True)


def _distances_of_centred(x: Tensor) -> Tensor:
    products = x @ x.mT
    squares = products.diagonal(dim1=-2, dim2=-1)
    sums = squares[..., :, None] + squares[..., None, :]
    return torch.clamp_min(sums - 2 * products, 0)


def gaussian_kernel(x: Tensor, width: float = 0.15) -> Tensor:
    """Gaussian kernel whose variance is a fraction of the median squared distance.

    The median is over all m^2 pairs, and no gradient flows through it.

    Parameters
    ----------
    x : tensor of shape (..., m, d)
        Rows.
    width : float, default=0.15
        The variance of the kernel in median squared distances.

    Returns
    -------
    tensor of shape (..., m, m)
        The kernel matrix; all ones where the rows are all equal.
    """
    return _GaussianKernel.apply(x, width)


class _GaussianKernel(torch.autograd.Function):
    """The kernel; its gradient takes one product with the rows instead of two.

    With P the gradient at the distances and S = P + P^T, the gradient at the rows x
    is 2 (diag(S 1) - S) x; it does not change when all rows are moved.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, width: float) -> Tensor:
        x = _centred(x)
        distances = _distances_of_centred(x)
        variance = torch.clamp_min(width * _median(distances.flatten(-2)), FLOOR)
        rate = -0.5 / variance[..., None, None]
        kernel = distances.mul_(rate).exp_()
        ctx.save_for_backward(x, kernel, rate)
        return kernel

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, kernel, rate = ctx.saved_tensors
        at_distances = gradient * kernel * (2 * rate)
        both = at_distances + at_distances.mT
        return (both.sum(-1).diag_embed() - both) @ x, None


def _median(values: Tensor) -> Tensor:
    """The lower median of the last dimension."""
    if values.device.type != "cpu":
        return values.median(-1).values
    middle = (values.shape[-1] - 1) // 2
    # numpy selects ten times as fast
    return torch.from_numpy(np.partition(values.numpy(), middle)[..., middle].copy())


def cauchy_schwarz_divergence(membership: Tensor, kernel: Tensor) -> Tensor:
    """Overlap of clusters: mean cosine between their images under the kernel.

    Parameters
    ----------
    membership : tensor of shape (m, k)
        How much each sample belongs to each cluster.
    kernel : tensor of shape (m, m)
        Similarities of samples.

    Returns
    -------
    tensor of shape ()
        In [0, 1]; 0 for fewer than two clusters.
    """
    n_clusters = membership.shape[1]
    if n_clusters < 2:
        return membership.sum() * 0
    gram = membership.mT @ (kernel @ membership)
    norms = torch.clamp_min(gram.diagonal(), FLOOR).sqrt()
    cosines = gram / (norms[:, None] * norms)
    pairs = n_clusters * (n_clusters - 1)
    return (cosines.sum() - cosines.diagonal().sum()) / pairs


def corner_closeness(assignment: Tensor) -> Tensor:
    """How close each assignment is to each corner of the simplex.

    Parameters
    ----------
    assignment : tensor of shape (m, k)
        Rows on the simplex.

    Returns
    -------
    tensor of shape (m, k)
        ``exp(-||a_q - e_i||^2)``.
    """
    squares = assignment.square().sum(1, keepdim=True)
    return torch.exp(2 * assignment - squares - 1)


def balance(assignment: Tensor) -> Tensor:
    """Mean overlap of the assignments of two samples: low for equal clusters.

    Parameters
    ----------
    assignment : tensor of shape (m, k)
        Rows on the simplex.

    Returns
    -------
    tensor of shape ()
        Mean of the off-diagonal entries of ``A A^T``; in [0, 1].
    """
    m = assignment.shape[0]
    total = assignment.sum(0).square().sum() - assignment.square().sum()
    return total / max(1, m * (m - 1))


def confidence(assignment: Tensor) -> Tensor:
    """Mean overlap of two clusters: low for confident assignments.

    This is the regulariser as printed. Its sum is ``(m - sum_q ||a_q||^2) / 2``, so
    that it does not tell balanced clusters from one cluster.

    Parameters
    ----------
    assignment : tensor of shape (m, k)
        Rows on the simplex.

    Returns
    -------
    tensor of shape ()
        Sum of the strict upper triangle of ``A^T A``, over the number of pairs of
        clusters.
    """
    m, n_clusters = assignment.shape
    pairs = max(1, n_clusters * (n_clusters - 1))
    return (m - assignment.square().sum()) / pairs


def attention_mismatch(
    fused: Tensor,
    kernels: Tensor,
    weights: Tensor,
    observed: Tensor | None = None,
    *,
    mean: bool = True,
) -> Tensor:
    """Squared distance of the fused kernel to the weighted sum of those fused.

    Parameters
    ----------
    fused : tensor of shape (m, m)
        Kernel of the fused latents.
    kernels : tensor of shape (V, m, m)
        Kernel of each modality.
    weights : tensor of shape (V,)
        Attention weights.
    observed : tensor of bool of shape (m, V), default=None
        Which sample has which modality; None is all. A pair of samples is compared
        by the modalities that both have, if there are any.
    mean : bool, default=True
        Whether to divide by the m^2 entries; as printed, it is the sum.

    Returns
    -------
    tensor of shape ()
        The mismatch.
    """
    if observed is None:
        squares = (fused - torch.tensordot(weights, kernels, dims=1)).square()
    else:
        both = observed.mT[:, :, None] & observed.mT[:, None, :]
        shares = both * weights[:, None, None]
        shares = shares / torch.clamp_min(shares.sum(0), FLOOR)
        squares = (fused - (shares * kernels).sum(0)).square() * both.any(0)
    return squares.mean() if mean else squares.sum()


def taken_for(logits: Tensor, real: bool, rows: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of discriminators' logits with one answer.

    Parameters
    ----------
    logits : tensor of shape (V - 1, m)
        What each discriminator says, before the sigmoid.
    real : bool
        The answer wanted.
    rows : tensor of bool of shape (V - 1, m), default=None
        Samples that count; None is all.

    Returns
    -------
    tensor of shape ()
        Mean over samples, summed over discriminators.
    """
    losses = F.softplus(-logits if real else logits)
    if rows is None:
        return losses.mean(1).sum()
    return ((losses * rows).sum(1) / torch.clamp_min(rows.sum(1), 1)).sum()


def disagreement(a: Tensor, b: Tensor) -> Tensor:
    """How unlike the assignments of each pair of samples are.

    Parameters
    ----------
    a, b : tensor of shape (..., m, k)
        Assignments of samples and of a neighbour of each.

    Returns
    -------
    tensor of shape (..., m)
        ``-log <a_q, b_q>``.
    """
    return -torch.log(torch.clamp_min((a * b).sum(-1), FLOOR))


def imbalance(assignment: Tensor) -> Tensor:
    """Divergence of cluster sizes from equal ones.

    Parameters
    ----------
    assignment : tensor of shape (..., m, k)
        Rows on the simplex.

    Returns
    -------
    tensor of shape (...)
        ``log k`` minus the entropy of the mean assignment; not negative.
    """
    sizes = assignment.mean(-2)
    ratios = torch.clamp_min(sizes, FLOOR) * assignment.shape[-1]
    return torch.xlogy(sizes, ratios).sum(-1)
