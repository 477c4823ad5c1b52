"""The clustering loss that deep clusterers share."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mmfusion.nn.losses import (
    balance_penalty,
    cauchy_schwarz_divergence,
    confidence_penalty,
    corner_closeness,
    gaussian_kernel,
)

CLUSTERING_TERMS = ("separation", "simplex", "confidence", "balance")


def clustering_terms(
    hidden: Tensor, logits: Tensor, weights: Mapping[str, float], kernel_width: float
) -> dict[str, Tensor]:
    """Compute the terms of deep divergence-based clustering, unweighted.

    With the assignment ``A = softmax(logits)``, the kernel K of the hidden layer and
    the closeness ``B_qi = exp(-||a_q - e_i||^2)`` to the corners of the simplex, they
    are ``D_sc = d(A, K)``, ``D_sim = d(B, K)``, and two regularisers, of the entries of
    ``A^T A`` and of ``A A^T`` (Kampffmeyer et al. 2019).

    Parameters
    ----------
    hidden : tensor of shape (m, h)
        Hidden layer of the head.
    logits : tensor of shape (m, k)
        Assignment before the softmax.
    weights : dict of str to float
        Weights of the terms; those that are missing or 0 are not computed.
    kernel_width : float
        Variance of the kernel, in median squared distances.

    Returns
    -------
    dict of str to tensor of shape ()
        'separation' (D_sc), 'simplex' (D_sim), 'confidence' and 'balance'.
    """
    assignment = logits.softmax(1)
    kernel = gaussian_kernel(hidden, kernel_width)
    terms = {}
    if weights.get("separation"):
        terms["separation"] = cauchy_schwarz_divergence(assignment, kernel)
    if weights.get("simplex"):
        corners = corner_closeness(assignment)
        terms["simplex"] = cauchy_schwarz_divergence(corners, kernel)
    if weights.get("confidence"):
        terms["confidence"] = confidence_penalty(assignment)
    if weights.get("balance"):
        terms["balance"] = balance_penalty(assignment)
    return terms
