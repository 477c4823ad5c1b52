"""Losses of soft cluster assignments.

Equation numbers and the choices where the sources disagree are in the user guide.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmfusion.nn.losses.kernels import LOSS_EPSILON


def cauchy_schwarz_divergence(membership: Tensor, kernel: Tensor) -> Tensor:
    """Compute ``2 / (k (k - 1)) sum_{i<j} N_ij / sqrt(N_ii N_jj)``, ``N = M' K M``.

    This is the mean cosine of two clusters in the feature space of the kernel, an
    estimate of their overlap: low for clusters that are separated (Kampffmeyer et al.,
    2019).

    Parameters
    ----------
    membership : tensor of shape (m, k)
        Nonnegative membership M of each sample in each cluster.
    kernel : tensor of shape (m, m)
        Kernel matrix K of the samples.

    Returns
    -------
    tensor of shape ()
        In [0, 1]; 0 for fewer than two clusters.
    """
    n_clusters = membership.shape[1]
    if n_clusters < 2:
        return membership.sum() * 0  # 0 with a gradient, so that backward works
    gram = membership.mT @ (kernel @ membership)
    norms = torch.clamp_min(gram.diagonal(), LOSS_EPSILON).sqrt()
    cosines = gram / (norms[:, None] * norms)
    pairs = n_clusters * (n_clusters - 1)
    return (cosines.sum() - cosines.diagonal().sum()) / pairs


def corner_closeness(assignment: Tensor) -> Tensor:
    """Compute ``exp(-||a_q - e_i||^2)`` for each corner e_i of the simplex.

    As memberships of `cauchy_schwarz_divergence` these penalize assignments that are
    far from every corner (Kampffmeyer et al., 2019).

    Parameters
    ----------
    assignment : tensor of shape (m, k)
        Soft assignments; rows on the simplex.

    Returns
    -------
    tensor of shape (m, k)
        Closeness of each assignment to each corner; in (0, 1].
    """
    squares = assignment.square().sum(1, keepdim=True)
    return torch.exp(2 * assignment - squares - 1)


def balance_penalty(assignment: Tensor) -> Tensor:
    """Compute ``2 / (m (m - 1)) sum_{q<r} (A A')_qr``, low for equal cluster sizes.

    Orthogonal assignments of distinct samples minimise it (Kampffmeyer et al., 2019).

    Parameters
    ----------
    assignment : tensor of shape (m, k)
        Soft assignments A; rows on the simplex.

    Returns
    -------
    tensor of shape ()
        In [0, 1]; 0 for one sample.
    """
    m = assignment.shape[0]
    # the sum over all pairs is the square of the sum: A A' is never formed
    total = assignment.sum(0).square().sum() - assignment.square().sum()
    return total / max(1, m * (m - 1))


def confidence_penalty(assignment: Tensor) -> Tensor:
    """Compute ``2 / (k (k - 1)) sum_{i<j} (A' A)_ij``, low for confident assignments.

    This is the regulariser as printed by Zhou and Shen (2020). The sum equals
    ``(m - sum_q ||a_q||^2) / 2``, so that equal clusters and a single cluster attain
    the same minimum.

    Parameters
    ----------
    assignment : tensor of shape (m, k)
        Soft assignments A; rows on the simplex.

    Returns
    -------
    tensor of shape ()
        In [0, m / k^2]; 0 where all assignments are hard.
    """
    m, n_clusters = assignment.shape
    pairs = max(1, n_clusters * (n_clusters - 1))
    return (m - assignment.square().sum()) / pairs


def neighbor_disagreement(a: Tensor, b: Tensor) -> Tensor:
    """Compute ``-log <a_q, b_q>`` for pairs of samples (Van Gansbeke et al., 2020).

    Parameters
    ----------
    a, b : tensor of shape (..., m, k)
        Soft assignments of samples and of one neighbour of each.

    Returns
    -------
    tensor of shape (..., m)
        Disagreement of each pair; 0 for equal hard assignments.
    """
    return -torch.log(torch.clamp_min((a * b).sum(-1), LOSS_EPSILON))


def cluster_size_divergence(assignment: Tensor) -> Tensor:
    """Compute ``log k - H(mean_q a_q)``: how far cluster sizes are from equal.

    H is the entropy, so that this is the Kullback-Leibler divergence of the mean
    assignment from the uniform distribution (Van Gansbeke et al., 2020).

    Parameters
    ----------
    assignment : tensor of shape (..., m, k)
        Soft assignments; rows on the simplex.

    Returns
    -------
    tensor of shape (...)
        In [0, log k]; 0 for clusters of equal size.
    """
    sizes = assignment.mean(-2)
    # xlogy makes an empty cluster 0; the lower bound keeps its gradient finite
    ratios = torch.clamp_min(sizes, LOSS_EPSILON) * assignment.shape[-1]
    return torch.xlogy(sizes, ratios).sum(-1)
