"""Loss of the similarities of frames whose matches are known."""

from __future__ import annotations

import torch
from torch import Tensor


def match_cross_entropy(logits: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Compute the cross-entropy of matches in both directions.

    Parameters
    ----------
    logits : tensor of shape (n, m)
        Similarities of the frames of two sequences.
    rows : tensor of shape (n, m)
        Target probabilities of the frames of the second sequence, for each of the
        first. Rows of zeros do not count.
    columns : tensor of shape (n, m)
        Those of the frames of the first sequence, for each of the second. Columns of
        zeros do not count.

    Returns
    -------
    tensor of shape ()
        Mean of both directions, each a mean over the frames that count; 0 for a
        direction without any.
    """
    losses = []
    for dim, targets in ((1, rows), (0, columns)):
        counted = targets.sum(dim)
        entropies = -(targets * torch.log_softmax(logits, dim)).sum(dim)
        losses.append(entropies.sum() / torch.clamp_min((counted > 0).sum(), 1))
    return (losses[0] + losses[1]) / 2
