"""Loss of samples that are combinations of the other samples."""

from __future__ import annotations

from torch import Tensor


def self_expression_loss(
    latents: Tensor, coefficients: Tensor, observed: Tensor | None = None
) -> Tensor:
    """Compute ``(1 / 2) sum_v ||H_v - C H_v||_F^2`` (Abavisani and Patel, 2018).

    All modalities share the coefficients C. The loss falls with the square of the scale
    of the latents, whatever C is, so that latents of a free scale would shrink instead
    of being expressed (Haeffele et al., 2021): give it rows of unit norm.

    Parameters
    ----------
    latents : tensor of shape (V, m, d)
        Latents H of each modality; zeros where it is not observed.
    coefficients : tensor of shape (m, m)
        Coefficients C of the other samples, with a diagonal of zeros.
    observed : tensor of bool of shape (m, V), default=None
        Whether each sample has each modality; None for complete samples. What is not
        observed is neither expressed nor used.

    Returns
    -------
    tensor of shape ()
        The loss; nonnegative.
    """
    squares = (latents - coefficients @ latents).square().sum(-1)
    if observed is not None:
        squares = squares * observed.mT
    return squares.sum() / 2
