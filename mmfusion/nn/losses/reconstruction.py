"""Reconstruction loss of autoencoders."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def reconstruction_loss(
    decoded: Sequence[Tensor], inputs: Sequence[Tensor], observed: Tensor | None = None
) -> Tensor:
    """Compute ``sum_v mean_q (1 / d_v) ||x_q^v - y_q^v||^2`` of samples x and their y.

    The mean over features lets a modality count as much as another of fewer features.

    Parameters
    ----------
    decoded : sequence of tensor of shape (m, ...)
        Reconstructions y of each modality.
    inputs : sequence of tensor of shape (m, ...)
        Samples x of each modality.
    observed : tensor of bool of shape (m, V), default=None
        Samples that count in each modality; None for all.

    Returns
    -------
    tensor of shape ()
        The loss; a modality without samples adds 0.
    """
    errors = torch.stack(
        [
            (y - x).square().flatten(1).mean(1)
            for y, x in zip(decoded, inputs, strict=True)
        ],
        dim=1,
    )
    if observed is None:
        return errors.mean(0).sum()
    counts = torch.clamp_min(observed.sum(0), 1)
    return ((errors * observed).sum(0) / counts).sum()


def reconstruction_norm(
    decoded: Sequence[Tensor], inputs: Sequence[Tensor], observed: Tensor | None = None
) -> Tensor:
    """Compute ``(1 / 2) sum_v ||X_v - Y_v||_F`` of samples X and reconstructions Y.

    Parameters
    ----------
    decoded, inputs, observed : sequence of tensor, sequence of tensor, tensor or None
        As of `reconstruction_loss`.

    Returns
    -------
    tensor of shape ()
        The sum of norms, which are not squared.
    """
    norms = []
    for v, (y, x) in enumerate(zip(decoded, inputs, strict=True)):
        error = (y - x).flatten(1)
        if observed is not None:
            error = error * observed[:, v, None]
        norms.append(torch.linalg.vector_norm(error))
    return torch.stack(norms).sum() / 2
