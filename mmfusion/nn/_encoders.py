"""Encoders: from one modality to its latent."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

LATENT_WIDTH = 128


def he_normal(module: nn.Module) -> None:
    """Initialise a linear or convolutional layer by He's rule, as the paper does.

    Parameters
    ----------
    module : Module
        Anything; others are left as they are.
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def vector_encoder(n_features: int, widths: Sequence[int]) -> nn.Sequential:
    """Fully connected encoder: ReLU after every layer, the last one included.

    Parameters
    ----------
    n_features : int
        Features of the modality.
    widths : sequence of int
        Units of each layer; the last is the width of the latent.

    Returns
    -------
    Sequential
        From (m, n_features) to (m, widths[-1]).
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([n_features, *widths]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers).apply(he_normal)


def image_encoder(shape: tuple[int, ...], width: int) -> nn.Sequential:
    """Convolutional encoder: 5x5 filters, twice, each with pooling by 2.

    Sides too short for that get 3x3 filters that keep the size, and no pooling where
    nothing would be left.

    Parameters
    ----------
    shape : tuple of int (channels, height, width)
        One image.
    width : int
        Width of the latent.

    Returns
    -------
    Sequential
        From (m, channels, height, width) to (m, width).
    """
    channels, *sides = shape
    layers: list[nn.Module] = []
    for filters in (32, 64):
        roomy = min(sides) >= 8
        size, padding = (5, 0) if roomy else (3, 1)
        layers += [nn.Conv2d(channels, filters, size, padding=padding), nn.ReLU()]
        sides = [side - 4 for side in sides] if roomy else sides
        if min(sides) >= 2:
            layers.append(nn.MaxPool2d(2))
            sides = [side // 2 for side in sides]
        channels = filters
    cells = channels * sides[0] * sides[1]
    layers += [nn.Flatten(), nn.Linear(cells, width), nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers).apply(he_normal)


def make_encoder(option: Any, shape: tuple[int, ...], name: str) -> nn.Module:
    """Make the encoder of one modality from what the user gave for it.

    Parameters
    ----------
    option : sequence of int, int, Module, callable or None
        Widths of the layers; a module, which is copied; or a factory that is called
        with the shape of a sample. None chooses by the shape.
    shape : tuple of int
        Shape of one sample of the modality.
    name : str
        Name of the modality, for errors.

    Returns
    -------
    Module
        The encoder, not yet trained.

    Raises
    ------
    ValueError
        If the widths are not positive, or images get more than one width.
    TypeError
        If the factory gives no module.
    """
    if isinstance(option, nn.Module):
        return copy.deepcopy(option)
    if callable(option):
        made = option(shape)
        if not isinstance(made, nn.Module):
            raise TypeError(
                f"modality {name!r}: the encoder factory gave a "
                f"{type(made).__name__}, not a torch Module"
            )
        return made
    if option is None:
        option = (200, 200, LATENT_WIDTH) if len(shape) == 1 else (LATENT_WIDTH,)
    widths = [option] if isinstance(option, int) else list(option)
    if not widths or min(widths) < 1:
        raise ValueError(
            f"modality {name!r}: widths of an encoder are positive integers, got "
            f"{option!r}"
        )
    if len(shape) == 1:
        return vector_encoder(shape[0], widths)
    if len(shape) == 3:
        return image_encoder(shape, widths[-1])
    return nn.Sequential(nn.Flatten(), vector_encoder(_size(shape), widths))


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def latent_width(encoder: nn.Module, shape: tuple[int, ...], name: str) -> int:
    """Find the width of an encoder's latent by encoding two samples of zeros.

    Parameters
    ----------
    encoder : Module
        The encoder.
    shape : tuple of int
        Shape of one sample.
    name : str
        Name of the modality, for errors.

    Returns
    -------
    int
        The width.

    Raises
    ------
    ValueError
        If the encoder does not take such samples or its output is no row a sample.
    """
    training = encoder.training
    parameter = next(encoder.parameters(), torch.empty(0))
    try:
        with torch.no_grad():
            latent: Any = encoder.eval()(parameter.new_zeros((2, *shape)))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ValueError(
            f"modality {name!r}: its encoder does not take samples of shape {shape}: "
            f"{error}"
        ) from error
    finally:
        encoder.train(training)
    if not isinstance(latent, Tensor) or latent.ndim != 2 or len(latent) != 2:
        found = getattr(latent, "shape", type(latent).__name__)
        raise ValueError(
            f"modality {name!r}: its encoder makes {found} of 2 samples; it must make "
            "one row of each"
        )
    return latent.shape[1]
