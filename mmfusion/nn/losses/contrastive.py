"""Contrastive losses, which align the latents of one sample across modalities."""

from __future__ import annotations

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

from mmfusion.nn.losses.kernels import LOSS_EPSILON


def nt_xent(
    a: Tensor, b: Tensor, temperature: float = 0.1, observed: Tensor | None = None
) -> Tensor:
    """Compute the normalised temperature-scaled cross-entropy of two modalities.

    With ``s(x, y)`` the cosine similarity over the temperature, this is
    ``(1 / m) sum_q [l(a_q, b_q) + l(b_q, a_q)]``, where ``l(a_q, b_q)`` is
    ``-log(exp s(a_q, b_q) / (sum_r exp s(a_q, b_r) + sum_{r != q} exp s(a_q, a_r)))``:
    each latent has one positive, that of its sample in the other modality, and the
    2m - 2 latents of other samples as negatives (Chen et al., 2020; Trosten et al.,
    2021).

    Parameters
    ----------
    a, b : tensor of shape (m, d)
        Latents of the same samples in two modalities.
    temperature : float, default=0.1
        Divisor of the cosine similarities.
    observed : tensor of bool of shape (m,), default=None
        Samples that have both modalities; None for all. The others are neither
        positives nor negatives, and do not count in the mean.

    Returns
    -------
    tensor of shape ()
        The loss; nonnegative, and 0 for fewer than two samples.
    """
    m = len(a)
    latents = normalized_latents(torch.cat([a, b]))
    logits = latents @ latents.mT / temperature
    excluded = torch.eye(2 * m, dtype=torch.bool, device=a.device)
    counted = torch.ones(m, dtype=torch.bool, device=a.device)
    if observed is not None:
        counted = observed
        excluded = excluded | ~observed.repeat(2)
    # finite, not -inf: rows that are excluded as a whole would become NaN
    logits = logits.masked_fill(excluded, torch.finfo(logits.dtype).min)
    positives = torch.arange(2 * m, device=a.device).roll(m)
    losses = F.cross_entropy(logits, positives, reduction="none")
    return (losses * counted.repeat(2)).sum() / torch.clamp_min(counted.sum(), 1)


def normalized_latents(x: Tensor) -> Tensor:
    """Scale rows to unit length; rows of zeros stay, and pass no gradient.

    Dividing by a bounded norm alone would multiply their gradient by 1 / LOSS_EPSILON.

    Parameters
    ----------
    x : tensor of shape (..., d)
        Rows along the last axis.

    Returns
    -------
    tensor of shape (..., d)
        The rows.
    """
    norms = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    scaled = x / torch.clamp_min(norms, LOSS_EPSILON)
    return torch.where(norms > LOSS_EPSILON, scaled, 0.0)


def contrastive_loss(
    latents: Tensor, temperature: float = 0.1, observed: Tensor | None = None
) -> Tensor:
    """Compute the mean of `nt_xent` over the pairs of modalities.

    Parameters
    ----------
    latents : tensor of shape (V, m, d)
        Latents of each modality.
    temperature : float, default=0.1
        Divisor of the cosine similarities.
    observed : tensor of bool of shape (m, V), default=None
        Whether each sample has each modality; None for complete samples.

    Returns
    -------
    tensor of shape ()
        ``2 / (V (V - 1)) sum_{u<v} nt_xent(H_u, H_v)``; 0 for one modality.
    """
    pairs = list(combinations(range(len(latents)), 2))
    if not pairs:
        return latents.sum() * 0  # 0 with a gradient, so that backward works
    losses = []
    for u, v in pairs:
        both = None if observed is None else observed[:, u] & observed[:, v]
        losses.append(nt_xent(latents[u], latents[v], temperature, both))
    return torch.stack(losses).mean()
