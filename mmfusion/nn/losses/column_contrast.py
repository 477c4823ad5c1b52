"""Contrastive loss of the columns of soft assignments, which aligns clusters."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor

from mmfusion.nn.losses.clustering import cluster_size_divergence
from mmfusion.nn.losses.contrastive import nt_xent


def column_contrast(
    a: Tensor, b: Tensor, temperature: float = 1.0, observed: Tensor | None = None
) -> Tensor:
    """Compute `nt_xent` of the columns of two soft assignments (Xu et al., 2022).

    Column j of an assignment is the membership of all samples in cluster j. Its
    positive is the same column in the other modality, and the 2k - 2 columns of other
    clusters are its negatives, so that a cluster consists of the same samples in both.

    Parameters
    ----------
    a, b : tensor of shape (m, k)
        Soft assignments of the same samples in two modalities; rows on the simplex.
    temperature : float, default=1.0
        Divisor of the cosine similarities.
    observed : tensor of bool of shape (m,), default=None
        Samples that have both modalities; None for all. The others do not count.

    Returns
    -------
    tensor of shape ()
        The loss; nonnegative, and 0 without samples or for one cluster.
    """
    if observed is not None:
        a, b = a[observed], b[observed]
    if not len(a):
        return (a.sum() + b.sum()) * 0  # 0 with a gradient, so that backward works
    return nt_xent(a.mT, b.mT, temperature)


def assignment_contrast(
    assignments: Tensor, temperature: float = 1.0, observed: Tensor | None = None
) -> Tensor:
    """Compute the mean of `column_contrast` over the pairs of modalities.

    Parameters
    ----------
    assignments : tensor of shape (V, m, k)
        Soft assignment by each modality; rows on the simplex.
    temperature : float, default=1.0
        Divisor of the cosine similarities.
    observed : tensor of bool of shape (m, V), default=None
        Whether each sample has each modality; None for complete samples.

    Returns
    -------
    tensor of shape ()
        The loss; 0 for one modality.
    """
    losses = [
        column_contrast(assignments[u], assignments[v], temperature, both)
        for u, v, both in _pairs(len(assignments), observed)
    ]
    return torch.stack(losses).mean() if losses else assignments.sum() * 0


def assignment_balance(assignments: Tensor, observed: Tensor | None = None) -> Tensor:
    """Compute the mean over pairs of modalities of their `cluster_size_divergence`.

    Both assignments of a pair are averaged over the samples that have both modalities.
    This keeps `assignment_contrast` from emptying clusters (Xu et al., 2022).

    Parameters
    ----------
    assignments : tensor of shape (V, m, k)
        Soft assignment by each modality; rows on the simplex.
    observed : tensor of bool of shape (m, V), default=None
        Whether each sample has each modality; None for complete samples.

    Returns
    -------
    tensor of shape ()
        Mean of the sums of two divergences, in [0, 2 log k]; 0 for one modality.
    """
    losses = []
    for u, v, both in _pairs(len(assignments), observed):
        pair = assignments[[u, v]] if both is None else assignments[[u, v]][:, both]
        if pair.shape[1]:
            losses.append(cluster_size_divergence(pair).sum())
        else:
            losses.append(pair.sum() * 0)
    return torch.stack(losses).mean() if losses else assignments.sum() * 0


def _pairs(
    n_modalities: int, observed: Tensor | None
) -> list[tuple[int, int, Tensor | None]]:
    """List the pairs of modalities, and the samples that have both; None is all."""
    return [
        (u, v, None if observed is None else observed[:, u] & observed[:, v])
        for u, v in combinations(range(n_modalities), 2)
    ]
