"""Encoders: from one modality to its latent."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mmfusion._numbers import is_integer

LATENT_WIDTH = 128
WIDEST = 2**31 - 1  # what torch and processors count to
# layers that the encoders here are made of: none of them draws at random
_DETERMINISTIC = (
    nn.ModuleList,
    nn.Sequential,
    nn.Linear,
    nn.ReLU,
    nn.Conv2d,
    nn.MaxPool2d,
    nn.Flatten,
    nn.BatchNorm1d,
)


def draws_nothing(module: nn.Module) -> bool:
    """Return whether a module is known to draw nothing at random."""
    return all(type(part) in _DETERMINISTIC for part in module.modules())


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
    if isinstance(option, nn.Module) or callable(option):
        return _users_encoder(option, shape, name)
    if option is None:
        option = (200, 200, LATENT_WIDTH) if len(shape) == 1 else (LATENT_WIDTH,)
    widths = _widths(option, name)
    if len(shape) == 1:
        return vector_encoder(shape[0], widths)
    if len(shape) == 3:
        return image_encoder(shape, widths[-1])
    return nn.Sequential(nn.Flatten(), vector_encoder(_size(shape), widths))


def _users_encoder(option: Any, shape: tuple[int, ...], name: str) -> nn.Module:
    """Copy a module, or what a factory returns: neither is to be trained."""
    if not isinstance(option, nn.Module):
        try:
            option = option(shape)
        except Exception as error:
            raise ValueError(
                f"modality {name!r}: its factory in encoders, called with the shape "
                f"{shape} of a sample, raised {type(error).__name__}: {error}"
            ) from error
    if not isinstance(option, nn.Module):
        raise TypeError(
            f"modality {name!r}: the encoder factory gave a "
            f"{type(option).__name__}, not a torch Module"
        )
    try:
        copied = copy.deepcopy(option)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"modality {name!r}: its module in encoders cannot be copied: {error}"
        ) from error
    if not all(parameter.is_leaf for parameter in copied.parameters()):
        raise ValueError(
            f"modality {name!r}: its module in encoders cannot be trained, for its "
            "parameters are results of other operations, as in a copy of a scripted "
            "module; give an ordinary module"
        )
    return copied


def _widths(option: Any, name: str) -> list[int]:
    widths = list(option) if isinstance(option, list | tuple) else [option]
    if (
        not widths
        or not all(map(is_integer, widths))
        or not 1 <= min(widths) <= max(widths) <= WIDEST
    ):
        raise ValueError(
            f"modality {name!r}: widths of an encoder are positive integers of at most "
            f"{WIDEST}, got encoders={option!r}"
        )
    return [int(width) for width in widths]


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
    types = [p.dtype for p in encoder.parameters() if p.is_floating_point()]
    zeros = torch.zeros((2, *shape), dtype=types[0] if types else torch.float32)
    try:
        with torch.no_grad():
            latent: Any = encoder.eval()(zeros)
    except Exception as error:
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
    if not latent.is_floating_point() or latent.shape[1] < 1:
        raise ValueError(
            f"modality {name!r}: its encoder makes rows of {latent.shape[1]} values of "
            f"{latent.dtype}; it must make some real numbers"
        )
    return latent.shape[1]


def check_encoder(encoder: nn.Module, samples: Tensor, width: int, name: str) -> None:
    """Check what an encoder returns for a batch, in training and after.

    Parameters
    ----------
    encoder : Module
        The encoder; statistics that it keeps of its input may change.
    samples : tensor of shape (m, ...)
        Some samples of the modality.
    width : int
        Width of its latent.
    name : str
        Name of the modality, for errors.

    Raises
    ------
    ValueError
        If it raises an exception, or its output has another shape or is not finite.
    """
    for training in (True, False):
        what = f"modality {name!r}: its encoder, in {'train' if training else 'eval'}()"
        try:
            with torch.no_grad():
                latents: Any = encoder.train(training)(samples)
        except Exception as error:
            raise ValueError(
                f"{what}, raised {type(error).__name__} for a batch of shape "
                f"{tuple(samples.shape)}: {error}"
            ) from error
        found = tuple(getattr(latents, "shape", ()))
        if found != (len(samples), width):
            raise ValueError(
                f"{what}, makes {found} of {len(samples)} samples, not "
                f"{(len(samples), width)}"
            )
        if not torch.isfinite(latents).all():
            raise ValueError(f"{what}, makes NaN or infinite values of finite samples")
