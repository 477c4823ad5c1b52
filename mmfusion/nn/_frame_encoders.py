"""Encoders of the frames of sequences, which keep the time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

SECOND_REACH = 2  # frames on each side, at most, that layers after the first see
START_SCALE = 8.0  # of the similarities, in units of the median distance


class FrameEncoder(nn.Module):
    """Encoder of frames in their context: a linear map, and convolutions over time.

    The last layer of the convolutions is 0 at first, so that the encoder starts as the
    linear map: the identity for frames of at most `width` features, orthonormal random
    directions for others.

    Parameters
    ----------
    n_features : int
        Number of features of a frame.
    widths : sequence of int
        Number of filters of each convolution; none leaves the linear map alone.
    width : int
        Number of features of an embedded frame.
    context : int
        Number of frames on each side that the first convolution sees.
    dropout : float
        Rate of dropout after the first convolution.
    """

    def __init__(
        self,
        n_features: int,
        widths: Sequence[int],
        width: int,
        context: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(n_features, width, bias=False)
        with torch.no_grad():
            if n_features <= width:
                self.linear.weight.copy_(torch.eye(width, n_features))
            else:
                nn.init.orthogonal_(self.linear.weight)
        layers: list[nn.Module] = []
        reach, n_inputs = context, n_features
        for n_filters in widths:
            layers += [
                nn.Conv1d(n_inputs, n_filters, 2 * reach + 1, padding=reach),
                nn.GELU(),
            ]
            if n_inputs == n_features and len(layers) == 2:
                layers.append(nn.Dropout(dropout))
            reach, n_inputs = min(context, SECOND_REACH), n_filters
        if layers:
            last = nn.Conv1d(n_inputs, width, 1)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
            layers.append(last)
        self.convolutions = nn.Sequential(*layers) if layers else None

    def forward(self, frames: Tensor) -> Tensor:
        """Embed sequences of shape (m, n_frames, n_features)."""
        embedded = self.linear(frames)
        if self.convolutions is None:
            return embedded
        return embedded + self.convolutions(frames.mT).mT


def hidden_layers(n_features: int, widths: Sequence[int]) -> nn.Sequential:
    """Make fully connected layers, each with a GELU, which is smooth.

    Parameters
    ----------
    n_features : int
        Number of features of a frame.
    widths : sequence of int
        Number of units of each layer.

    Returns
    -------
    Sequential
        The layers, from (m, n_features) to (m, widths[-1]).
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([n_features, *widths]):
        layers += [nn.Linear(inputs, outputs), nn.GELU()]
    return nn.Sequential(*layers)


class ResidualEncoder(nn.Module):
    """Encoder of single frames: a linear map, and a network whose last layer is 0.

    Parameters
    ----------
    linear : tensor of shape (n_features, width)
        The linear map, which the encoder starts as.
    hidden : Module or None
        Hidden layers, from (m, n_features) to (m, hidden_width); None leaves the linear
        map alone.
    hidden_width : int
        Their number of outputs.
    """

    def __init__(
        self, linear: Tensor, hidden: nn.Module | None, hidden_width: int
    ) -> None:
        super().__init__()
        n_features, width = linear.shape
        self.linear = nn.Linear(n_features, width, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(linear.T)
        self.hidden = hidden
        if hidden is not None:
            self.last = nn.Linear(hidden_width, width)
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames of shape (m, n_features)."""
        embedded = self.linear(frames)
        if self.hidden is None:
            return embedded
        return embedded + self.last(self.hidden(frames))


class EmbeddingNetwork(nn.Module):
    """Encoders of modalities into one space.

    Parameters
    ----------
    encoders : sequence of Module
        Encoders of frames.
    """

    def __init__(self, encoders: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)

    def embed(self, frames: Tensor, position: int) -> Tensor:
        """Embed frames of shape (m, n_features) by one of the encoders."""
        return self.encoders[position](frames)


class SimilarityNetwork(EmbeddingNetwork):
    """Encoders of sequences into one space, and the scale of similarities in it.

    Parameters
    ----------
    encoders : sequence of Module
        Encoders of sequences.
    """

    def __init__(self, encoders: Sequence[nn.Module]) -> None:
        super().__init__(encoders)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def embed(self, frames: Tensor, position: int) -> Tensor:
        """Embed one sequence of shape (n_frames, n_features) by one of the encoders."""
        return self.encoders[position](frames[None])[0]

    def similarities(self, distances: Tensor) -> Tensor:
        """Return logits of matches of frames, from their squared distances."""
        return -self.log_scale.exp() * distances

    @torch.no_grad()
    def start_scale(self, distances: Tensor) -> None:
        """Set the scale by typical distances, before training."""
        median = distances.median()
        if median > 0:
            self.log_scale.copy_(torch.log(START_SCALE / median))
