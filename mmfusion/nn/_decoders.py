"""Decoders, which map latents back to the samples of one modality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from mmfusion._numbers import is_integer
from mmfusion._typing import EncoderLike
from mmfusion.nn._encoders import he_normal

DEFAULT_DECODER_WIDTHS = (200, 200)  # hidden layers, those of the default encoder


def make_decoders(
    options: Sequence[EncoderLike], width: int, shapes: Sequence[tuple[int, ...]]
) -> nn.ModuleList:
    """Make the decoders that mirror the encoders of all modalities.

    Parameters
    ----------
    options : sequence
        Option of each encoder, see `make_encoder`. The hidden layers of a module or a
        factory are not read: their decoders are those of the default encoder.
    width : int
        Width d of a latent.
    shapes : sequence of tuple of int
        Shape of one sample of each modality.

    Returns
    -------
    ModuleList
        One decoder per modality, from (m, d) to (m, \\*shape).
    """
    return nn.ModuleList(
        image_decoder(width, shape)
        if len(shape) == 3
        else vector_decoder(width, _hidden_widths(option), shape)
        for option, shape in zip(options, shapes, strict=True)
    )


def vector_decoder(
    width: int, hidden_widths: Sequence[int], shape: tuple[int, ...]
) -> nn.Sequential:
    """Make a fully connected decoder with a ReLU after every layer but the last.

    Parameters
    ----------
    width : int
        Width d of a latent.
    hidden_widths : sequence of int
        Number of units of each hidden layer.
    shape : tuple of int
        Shape of one sample.

    Returns
    -------
    Sequential
        Decoder from (m, d) to (m, \\*shape).
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([width, *hidden_widths, math.prod(shape)]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    layers.pop()
    if len(shape) > 1:
        layers.append(nn.Unflatten(1, shape))
    return nn.Sequential(*layers).apply(he_normal)


def image_decoder(width: int, shape: tuple[int, ...]) -> nn.Sequential:
    """Make a decoder of images: one layer, then two that enlarge and convolve.

    Parameters
    ----------
    width : int
        Width d of a latent.
    shape : tuple of int (channels, height, width)
        Shape of one image.

    Returns
    -------
    Sequential
        Decoder from (m, d) to (m, \\*shape).
    """
    channels, *sides = shape
    sizes = [tuple(-(-side // factor) for side in sides) for factor in (4, 2, 1)]
    return nn.Sequential(
        nn.Linear(width, 64 * math.prod(sizes[0])),
        nn.ReLU(),
        nn.Unflatten(1, (64, *sizes[0])),
        nn.Upsample(size=sizes[1]),
        nn.Conv2d(64, 32, 3, padding=1),
        nn.ReLU(),
        nn.Upsample(size=sizes[2]),
        nn.Conv2d(32, channels, 3, padding=1),
    ).apply(he_normal)


def _hidden_widths(option: EncoderLike) -> list[int]:
    """Return the widths of the hidden layers of an encoder, from the last one."""
    if is_integer(option):
        return []
    if isinstance(option, list | tuple):
        return [int(width) for width in option[-2::-1]]
    return list(DEFAULT_DECODER_WIDTHS)
