"""Modalities that are dropped, and get noise, in training."""

from __future__ import annotations

import torch
from torch import Tensor


def kept_modalities(
    observed: Tensor | None, probability: float, draws: Tensor
) -> Tensor:
    """Drop modalities of samples at random, but never all that a sample has.

    Parameters
    ----------
    observed : tensor of bool of shape (m, V) or None
        Which modalities of a sample are observed; None is all.
    probability : float
        Probability with which an observed modality is dropped.
    draws : tensor of shape (m, V)
        Uniform random numbers from 0 to 1.

    Returns
    -------
    tensor of bool of shape (m, V)
        Which modalities are kept.
    """
    if observed is not None:
        draws = torch.where(observed, draws, -1.0)
    # the largest draw belongs to an observed modality, which is kept
    kept = draws >= probability
    kept |= draws == draws.amax(1, keepdim=True)
    return kept if observed is None else kept & observed


def noise_deviations(
    probability: float, largest: float, draws: Tensor, sizes: Tensor
) -> Tensor:
    """Draw the standard deviations of the noise of modalities of samples.

    Parameters
    ----------
    probability : float
        Probability with which a modality gets noise.
    largest : float
        Largest standard deviation.
    draws, sizes : tensor of shape (m, V)
        Uniform random numbers from 0 to 1: of which get noise, and of how much.

    Returns
    -------
    tensor of shape (m, V)
        The standard deviations; 0 without noise.
    """
    return torch.where(draws < probability, largest * sizes, 0.0)
