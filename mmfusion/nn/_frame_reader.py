"""A sequence along with what its frames read of other sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmfusion.nn._attention import TimeAwareAttention, TimedFrames


@dataclass
class AttentionOptions:
    """Options of the attention between the sequences of a network.

    Parameters
    ----------
    unit : float
        Unit of time differences.
    learns_offset : bool
        Whether clocks may differ by an offset.
    has_penalty : bool
        Whether time differences count.
    window : float or None
        Largest time difference of frames that are compared.
    """

    unit: float
    learns_offset: bool
    has_penalty: bool
    window: float | None = None


class FrameReader(nn.Module):
    """A sequence whose frames attend to those of others, pooled to one latent.

    Parameters
    ----------
    width : int
        Number of features of a frame, and of the latent.
    n_others : int
        Number of other sequences.
    options : AttentionOptions
        Options of the attention to each.
    """

    def __init__(self, width: int, n_others: int, options: AttentionOptions) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(
            TimeAwareAttention(width, width, width, **vars(options))
            for _ in range(n_others)
        )
        self.mix = nn.Linear((1 + 2 * n_others) * width, width)
        self.hidden = nn.Linear(width, width)
        self.pool = nn.Linear(width, width)

    def forward(self, own: TimedFrames, others: Sequence[TimedFrames]) -> Tensor:
        """Read m sequences along with the others: shape (m, width)."""
        pairs = zip(self.attentions, others, strict=True)
        read = [attention(own, other) for attention, other in pairs]
        # products, since what a frame means often depends on what it meets
        products = [own.values * each for each in read]
        frames = self.mix(torch.cat([own.values, *read, *products], dim=-1)).relu()
        frames = self.hidden(frames).relu()
        shares = own.observed / own.observed.sum(1, keepdim=True).clamp(min=1)
        return self.pool((shares.to(frames)[:, None] @ frames)[:, 0])
