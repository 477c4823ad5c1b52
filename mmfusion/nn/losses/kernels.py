"""Gaussian kernels of latents, with the median heuristic for their width."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

# Lower bound of denominators and arguments of logarithms: an empty cluster, or a
# batch of equal rows, then gives 0 or 1 where the printed formulas give 0/0.
LOSS_EPSILON = 1e-9


def squared_distances(x: Tensor) -> Tensor:
    """Compute ``||x_i - x_j||^2`` of all pairs of rows.

    Parameters
    ----------
    x : tensor of shape (..., m, d)
        Rows to compare.

    Returns
    -------
    tensor of shape (..., m, m)
        Squared Euclidean distances; nonnegative.
    """
    return _distances_of_centered(_centered(x))


def _centered(x: Tensor) -> Tensor:
    """Subtract the mean row: far from 0, the squares below cancel catastrophically."""
    return x - x.mean(-2, keepdim=True)


def _distances_of_centered(x: Tensor) -> Tensor:
    """Compute ``||x_i||^2 + ||x_j||^2 - 2 <x_i, x_j>`` from one Gram matrix."""
    products = x @ x.mT
    squares = products.diagonal(dim1=-2, dim2=-1)
    sums = squares[..., :, None] + squares[..., None, :]
    # rounding makes the distance of equal rows slightly negative
    return torch.clamp_min(sums - 2 * products, 0)


def gaussian_kernel(x: Tensor, width: float = 0.15) -> Tensor:
    """Compute ``exp(-||x_i - x_j||^2 / (2 s^2))``, ``s^2 = width * median``.

    The median is that of the squared distances of all m^2 pairs, and it is treated as
    a constant in differentiation (Kampffmeyer et al., 2019).

    Parameters
    ----------
    x : tensor of shape (..., m, d)
        Rows to compare.
    width : float, default=0.15
        Variance of the kernel, relative to the median squared distance.

    Returns
    -------
    tensor of shape (..., m, m)
        The kernel matrix; all ones where the rows are all equal.
    """
    return _GaussianKernel.apply(x, width)


class _GaussianKernel(torch.autograd.Function):
    """Gaussian kernel whose gradient takes one matrix product instead of two.

    With P the gradient with respect to the squared distances and S = P + P^T, the
    gradient with respect to the rows x is 2 (diag(S 1) - S) x, which is invariant to
    a common shift of the rows.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, width: float) -> Tensor:
        x = _centered(x)
        distances = _distances_of_centered(x)
        median = _lower_median(distances.flatten(-2))
        variance = torch.clamp_min(width * median, LOSS_EPSILON)
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


def _lower_median(values: Tensor) -> Tensor:
    """Compute the median over the last dimension, the lower one of two."""
    if values.device.type != "cpu":
        return values.median(-1).values
    middle = (values.shape[-1] - 1) // 2
    # numpy selects ten times as fast as torch on the CPU
    return torch.from_numpy(np.partition(values.numpy(), middle)[..., middle].copy())
