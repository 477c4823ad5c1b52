"""Encoders of sequences: of their frames, and of a sequence as one latent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mmfusion.nn._attention import TimedFrames
from mmfusion.nn._sequence_data import unpack

KERNEL_FRAMES = 5  # of a convolution
N_PARTS = 3  # of a sequence, whose means are pooled
SEQUENCE_ENCODERS = {"conv": (64, 64), "gru": (64,), "lstm": (64,)}


class FrameLayers(nn.Module):
    """Fully connected layers of every frame, with a ReLU between them.

    Parameters
    ----------
    n_features : int
        Number of features of a frame.
    widths : sequence of int
        Number of units of each layer.
    """

    def __init__(self, n_features: int, widths: Sequence[int]) -> None:
        super().__init__()
        sizes = [n_features, *widths]
        self.layers = nn.ModuleList(map(nn.Linear, sizes[:-1], sizes[1:]))

    def forward(self, frames: Tensor, observed: Tensor) -> Tensor:
        """Encode frames of shape (m, T, d)."""
        for position, layer in enumerate(self.layers):
            frames = layer(frames.relu() if position else frames)
        return frames


class FrameConvolutions(nn.Module):
    """Convolutions over 5 frames each, with dilations 1, 2, 4, ... and a ReLU between.

    Parameters
    ----------
    n_features : int
        Number of features of a frame.
    widths : sequence of int
        Number of filters of each convolution.
    """

    def __init__(self, n_features: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for position, width in enumerate(widths):
            dilation = 2**position
            reach = dilation * (KERNEL_FRAMES // 2)
            self.layers.append(
                nn.Conv1d(
                    n_features, width, KERNEL_FRAMES, padding=reach, dilation=dilation
                )
            )
            n_features = width

    def forward(self, frames: Tensor, observed: Tensor) -> Tensor:
        """Encode frames of shape (m, T, d)."""
        hidden, mask = frames.mT, observed[:, None]
        for position, layer in enumerate(self.layers):
            # what lies beyond the end is zero for every layer
            hidden = (hidden.relu() if position else hidden) * mask
            hidden = layer(hidden)
        return hidden.mT


class RecurrentFrames(nn.Module):
    """A recurrent layer in both directions, and a linear layer.

    Parameters
    ----------
    kind : {'gru', 'lstm'}
        Kind of the units.
    n_features : int
        Number of features of a frame.
    width : int
        Number of units of each direction, and of what is returned.
    """

    def __init__(self, kind: str, n_features: int, width: int) -> None:
        super().__init__()
        layer: Any = nn.GRU if kind == "gru" else nn.LSTM
        self.recurrent = layer(n_features, width, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * width, width)

    def forward(self, frames: Tensor, observed: Tensor) -> Tensor:
        """Encode frames of shape (m, T, d)."""
        # a missing sequence is one frame of zeros, whose latent is not read
        lengths = observed.sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(
            frames, lengths, batch_first=True, enforce_sorted=False
        )
        hidden, _ = pad_packed_sequence(
            self.recurrent(packed)[0], batch_first=True, total_length=frames.shape[1]
        )
        return self.out(hidden)


class SequenceEncoder(nn.Module):
    """Encoder of packed sequences: of frames, and pooled to one latent.

    Parameters
    ----------
    frames : Module
        From frames (m, T, d), zeros beyond the end, and a tensor of bool (m, T) of
        which are observed, to (m, T, w).
    width : int
        Number of features w of an encoded frame, and of the latent.
    """

    def __init__(self, frames: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder = frames
        self.pool = nn.Linear(N_PARTS * width, width)

    def forward(self, packed: Tensor) -> Tensor:
        """Encode packed sequences of shape (m, T, d + 2) to latents of shape (m, w)."""
        return self.pooled(self.frames(packed))

    def frames(self, packed: Tensor) -> TimedFrames:
        """Encode the frames of packed sequences."""
        frames = unpack(packed)
        return frames._replace(values=self.encoder(frames.values, frames.observed))

    def pooled(self, frames: TimedFrames) -> Tensor:
        """Pool encoded frames to latents of shape (m, w)."""
        return self.pool(mean_of_parts(frames))


def mean_of_parts(frames: TimedFrames) -> Tensor:
    """Average each third of the sequences.

    Parameters
    ----------
    frames : TimedFrames
        The frames, of m sequences.

    Returns
    -------
    tensor of shape (m, 3 d)
        Means of the thirds, side by side; zeros of those without a frame.
    """
    observed = frames.observed
    lengths = observed.sum(1, keepdim=True).clamp(min=1)
    positions = torch.arange(observed.shape[1], device=observed.device)
    parts = (N_PARTS * positions).div(lengths, rounding_mode="floor")
    shares = F.one_hot(parts.clamp(max=N_PARTS - 1), N_PARTS) * observed[..., None]
    shares = shares / shares.sum(1, keepdim=True).clamp(min=1)
    return (shares.to(frames.values).mT @ frames.values).flatten(1)


def make_frame_encoder(
    kind: str | None, widths: Sequence[int], n_features: int
) -> nn.Module:
    """Make an untrained encoder of frames.

    Parameters
    ----------
    kind : {'conv', 'gru', 'lstm'} or None
        Kind of the encoder; None encodes every frame by itself.
    widths : sequence of int
        Widths of its layers, one for a recurrent layer.
    n_features : int
        Number of features of a frame.

    Returns
    -------
    Module
        From frames and what is observed to frames of the last width.
    """
    if kind is None:
        return FrameLayers(n_features, widths)
    if kind == "conv":
        return FrameConvolutions(n_features, widths)
    return RecurrentFrames(kind, n_features, widths[0])
