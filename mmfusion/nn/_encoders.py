"""Encoders, which map the samples of one modality to latents."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmfusion._numbers import is_integer
from mmfusion._options import by_modality
from mmfusion._typing import EncoderLike, EncodersLike
from mmfusion.nn._members import BatchedLinear, MemberEncoder, Members
from mmfusion.nn._sequence_encoders import (
    FrameConvolutions,
    FrameLayers,
    RecurrentFrames,
    SequenceEncoder,
)

DEFAULT_LATENT_WIDTH = 128
MAX_POOLED_CELLS = 64  # of an image, 8 x 8, before its fully connected layer
LARGEST_LAYER_WIDTH = 2**31 - 1  # the largest size of many torch kernels
# layers that use no random numbers, and compute the output of a sample from that sample
# alone, except for the statistics of batch norm
_SAMPLEWISE_LAYERS = (
    nn.ModuleList,
    nn.Sequential,
    nn.Identity,
    nn.Flatten,
    nn.Linear,
    *(nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid),
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm),
    *(BatchedLinear, MemberEncoder, Members),
    *(SequenceEncoder, FrameLayers, FrameConvolutions, RecurrentFrames),
    *(nn.GRU, nn.LSTM),
)


def is_samplewise(module: nn.Module) -> bool:
    """Return whether a module is known to draw nothing and to mix no samples.

    Batch norm counts as such, although it normalises by the batch.
    """
    # exact types: a subclass may override forward
    return all(type(layer) in _SAMPLEWISE_LAYERS for layer in module.modules())


def he_normal(module: nn.Module) -> None:
    """Initialise a linear or convolutional layer: W ~ N(0, 2 / fan_in), b = 0.

    Parameters
    ----------
    module : Module
        Layer to initialise; one of another type is not changed.
    """
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def vector_encoder(
    n_features: int, widths: Sequence[int], linear_latents: bool = False
) -> nn.Sequential:
    """Make a fully connected encoder with a ReLU after every layer, also the last.

    Parameters
    ----------
    n_features : int
        Number of features of the modality.
    widths : sequence of int
        Number of units of each layer; the last is the width of the latent.
    linear_latents : bool, default=False
        Whether the last layer has no ReLU, as in an autoencoder.

    Returns
    -------
    Sequential
        Encoder from (m, n_features) to (m, widths[-1]).
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([n_features, *widths]):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    if linear_latents:
        layers.pop()
    return nn.Sequential(*layers).apply(he_normal)


def image_encoder(
    shape: tuple[int, ...], width: int, linear_latents: bool = False
) -> nn.Sequential:
    """Make a convolutional encoder: two layers of 5x5 filters, each with 2x2 pooling.

    Images with a side under 8 pixels get padded 3x3 filters, which keep the size; those
    with a side of 1 pixel are not pooled. Of large images, such layers follow until at
    most 8x8 cells are left, since the fully connected layer would have nearly all
    weights otherwise: of 128x128 pixels, 27 of 27 million.

    Parameters
    ----------
    shape : tuple of int (channels, height, width)
        Shape of one image.
    width : int
        Width of the latent.
    linear_latents : bool, default=False
        Whether the last layer has no batch norm and no ReLU, as in an autoencoder.

    Returns
    -------
    Sequential
        Encoder from (m, channels, height, width) to (m, width).
    """
    channels, *sides = shape
    layers: list[nn.Module] = []
    n_convolutions = 0
    while n_convolutions < 2 or math.prod(sides) > MAX_POOLED_CELLS:
        filters = 64 if n_convolutions else 32
        is_large = n_convolutions < 2 and min(sides) >= 8
        size, padding = (5, 0) if is_large else (3, 1)
        layers += [nn.Conv2d(channels, filters, size, padding=padding), nn.ReLU()]
        sides = [side - 4 for side in sides] if is_large else sides
        if min(sides) >= 2:
            pooled = [2, 2]
        else:  # long images are pooled along their length, once they need to
            pooled = [min(side, 2) if n_convolutions >= 2 else 1 for side in sides]
        if max(pooled) > 1:
            layers.append(nn.MaxPool2d((pooled[0], pooled[1])))
            sides = [side // p for side, p in zip(sides, pooled, strict=True)]
        channels = filters
        n_convolutions += 1
    n_values = channels * sides[0] * sides[1]
    layers += [nn.Flatten(), nn.Linear(n_values, width)]
    if not linear_latents:
        layers += [nn.BatchNorm1d(width), nn.ReLU()]
    return nn.Sequential(*layers).apply(he_normal)


def encoders_by_modality(option: EncodersLike, names: Sequence[str]) -> list[Any]:
    """Return the option of every encoder.

    Parameters
    ----------
    option : EncoderLike, dict or list
        One for all modalities, a dict by name, or a list by position. A list of int is
        one of widths.
    names : sequence of str
        Names of the modalities.

    Returns
    -------
    list
        The options, in the order of the names.

    Raises
    ------
    ValueError
        If a dict has another name, or a list another length.
    """
    is_list = isinstance(option, list | tuple | nn.ModuleList)
    if is_list and is_named(option):
        return [option] * len(names)
    if not is_list or not any(map(_is_encoder, cast(Sequence[Any], option))):
        return by_modality(option, names, "encoders")
    by_position = list(cast(Sequence[Any], option))
    if len(by_position) != len(names):
        raise ValueError(
            f"encoders is a list of {len(by_position)}, one for each modality, and the "
            f"{len(names)} modalities are {list(names)}"
        )
    return by_position


def is_named(option: object) -> bool:
    """Return whether an option of one encoder is a kind, alone or before widths."""
    if not isinstance(option, list | tuple):
        return isinstance(option, str)
    return (
        len(option) > 0
        and isinstance(option[0], str)
        and all(map(is_integer, option[1:]))
        and (len(option) > 1)
    )


def declared_width(option: EncodersLike) -> int | None:
    """Return the width of latents that an option gives, before there are data.

    Parameters
    ----------
    option : EncoderLike, dict or list
        Option of encoders, see `encoders_by_modality`. Of several, the first counts,
        since latents have one width.

    Returns
    -------
    int or None
        The last width; None for modules and factories, which do not name it.
    """
    first: Any = option
    if isinstance(option, dict):
        first = next(iter(option.values()), None)
    elif isinstance(option, list | tuple) and any(map(_is_encoder, option)):
        first = option[0]
    if first is None:
        return DEFAULT_LATENT_WIDTH
    last = first[-1] if isinstance(first, list | tuple) and first else first
    return int(last) if is_integer(last) else None


def _is_encoder(entry: object) -> bool:
    """Return whether an entry of a list is an encoder, not the width of a layer."""
    return entry is None or callable(entry) or isinstance(entry, list | tuple | str)


def make_encoders(
    options: Sequence[EncoderLike],
    shapes: Sequence[tuple[int, ...]],
    names: Sequence[str],
    linear_latents: bool = False,
) -> tuple[list[nn.Module], int]:
    """Make the encoders of all modalities, with latents of one width.

    Parameters
    ----------
    options : sequence
        Option of each modality, see `make_encoder`.
    shapes : sequence of tuple of int
        Shape of one sample of each modality.
    names : sequence of str
        Names of the modalities, for errors.
    linear_latents : bool, default=False
        Whether latents are those of a linear layer, as in an autoencoder.

    Returns
    -------
    encoders : list of Module
        The untrained encoders.
    width : int
        Width of their latents.

    Raises
    ------
    ValueError
        If an encoder cannot be made, or their latents have different widths.
    """
    encoders = [
        make_encoder(*each, linear_latents)
        for each in zip(options, shapes, names, strict=True)
    ]
    return encoders, check_common_width(encoders, options, shapes, names)


def check_common_width(
    encoders: Sequence[nn.Module],
    options: Sequence[EncoderLike],
    shapes: Sequence[tuple[int, ...]],
    names: Sequence[str],
    n_members: int = 1,
) -> int:
    """Return the width of the latents of all encoders.

    Parameters
    ----------
    encoders : sequence of Module
        The encoders.
    options : sequence
        The options that they were made from.
    shapes : sequence of tuple of int
        Shape of one sample of each modality.
    names : sequence of str
        Names of the modalities, for errors.
    n_members : int, default=1
        Number of members whose latents are side by side; an error has those of one.

    Returns
    -------
    int
        Width of their latents.

    Raises
    ------
    ValueError
        If they are different.
    """
    widths = [latent_width(*each) for each in zip(encoders, shapes, names, strict=True)]
    if len(set(widths)) > 1:
        of_member = [width // n_members for width in widths]
        found = dict(zip(names, of_member, strict=True))
        absent = [n for n, option in zip(names, options, strict=True) if option is None]
        hint = f" ({absent} have the default one: name them, too)" if absent else ""
        raise ValueError(
            f"the encoders make latents of different widths, {found}; fusion adds "
            f"them up: give encoders of one width{hint}"
        )
    return widths[0]


def make_encoder(
    option: EncoderLike,
    shape: tuple[int, ...],
    name: str,
    linear_latents: bool = False,
) -> nn.Module:
    """Make the encoder of one modality from the option of the user.

    Parameters
    ----------
    option : sequence of int, int, Module, callable or None
        Widths of the layers; a module, which is copied; or a factory, which is called
        with the shape of a sample. None selects an encoder by the shape.
    shape : tuple of int
        Shape of one sample of the modality.
    name : str
        Name of the modality, for errors.
    linear_latents : bool, default=False
        Whether latents are those of a linear layer. Modules and factories of the user
        are left as they are.

    Returns
    -------
    Module
        The untrained encoder. Vectors get fully connected layers, images (samples of
        three dimensions) convolutions and a latent of the last width; samples of other
        shapes are flattened to vectors.

    Raises
    ------
    ValueError
        If the widths are not positive integers, the factory fails, or the module
        cannot be copied or trained.
    TypeError
        If the factory does not return a module.
    """
    if isinstance(option, nn.Module) or callable(option):
        return custom_encoder(option, shape, name)
    if option is None:
        option = (
            (200, 200, DEFAULT_LATENT_WIDTH)
            if len(shape) == 1
            else (DEFAULT_LATENT_WIDTH,)
        )
    widths = check_widths(option, name)
    if len(shape) == 1:
        return vector_encoder(shape[0], widths, linear_latents)
    if len(shape) == 3:
        return image_encoder(shape, widths[-1], linear_latents)
    flat = vector_encoder(math.prod(shape), widths, linear_latents)
    return nn.Sequential(nn.Flatten(), flat)


def custom_encoder(
    option: nn.Module | Callable[[tuple[int, ...]], Any],
    shape: tuple[int, ...],
    name: str,
) -> nn.Module:
    """Copy a module, or that of a factory, so that fit does not train the original."""
    if not isinstance(option, nn.Module):
        try:
            option = option(shape)
        except Exception as error:
            raise ValueError(
                f"modality {name!r}: the factory in encoders, called with the shape "
                f"{shape} of a sample, raised {type(error).__name__}: {error}"
            ) from error
    if not isinstance(option, nn.Module):
        raise TypeError(
            f"modality {name!r}: the factory in encoders returned a "
            f"{type(option).__name__}, not a torch Module"
        )
    try:
        copied = copy.deepcopy(option)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"modality {name!r}: the module in encoders cannot be copied: {error}"
        ) from error
    if not all(parameter.is_leaf for parameter in copied.parameters()):
        raise ValueError(
            f"modality {name!r}: the module in encoders cannot be trained, since its "
            "parameters are results of other operations, as in a copy of a scripted "
            "module; use an ordinary module"
        )
    return copied


def check_widths(option: object, name: str) -> list[int]:
    """Check the widths of layers, and return them as a list of int.

    Parameters
    ----------
    option : object
        The widths as given: one, or a sequence.
    name : str
        Name of the modality, for errors.

    Returns
    -------
    list of int
        The widths.

    Raises
    ------
    ValueError
        If there is none, or one is no positive integer or too large.
    """
    widths: list[Any] = list(option) if isinstance(option, list | tuple) else [option]
    if (
        not widths
        or not all(map(is_integer, widths))
        or not 1 <= min(widths) <= max(widths) <= LARGEST_LAYER_WIDTH
    ):
        raise ValueError(
            f"modality {name!r}: widths of an encoder must be positive integers of at "
            f"most {LARGEST_LAYER_WIDTH}, got encoders={option!r}"
        )
    return [int(width) for width in widths]


def latent_width(encoder: nn.Module, shape: tuple[int, ...], name: str) -> int:
    """Find the width of an encoder's latents by encoding two samples of zeros.

    Parameters
    ----------
    encoder : Module
        Encoder of the modality.
    shape : tuple of int
        Shape of one sample.
    name : str
        Name of the modality, for errors.

    Returns
    -------
    int
        Width of a latent.

    Raises
    ------
    ValueError
        If the encoder does not accept samples of that shape, or does not return one
        row of floating-point values for each.
    """
    training = encoder.training
    types = [p.dtype for p in encoder.parameters() if p.is_floating_point()]
    zeros = torch.zeros((2, *shape), dtype=types[0] if types else torch.float32)
    try:
        with torch.no_grad():
            latent: Any = encoder.eval()(zeros)
    except Exception as error:
        raise ValueError(
            f"modality {name!r}: the encoder does not accept samples of shape {shape}: "
            f"{error}"
        ) from error
    finally:
        encoder.train(training)
    if not isinstance(latent, Tensor) or latent.ndim != 2 or len(latent) != 2:
        found = getattr(latent, "shape", type(latent).__name__)
        raise ValueError(
            f"modality {name!r}: the encoder returns {found} for 2 samples; it must "
            "return one row for each"
        )
    if not latent.is_floating_point() or latent.shape[1] < 1:
        raise ValueError(
            f"modality {name!r}: the encoder returns rows of {latent.shape[1]} values "
            f"of {latent.dtype}; it must return at least one real number"
        )
    return latent.shape[1]


def check_encoder(encoder: nn.Module, samples: Tensor, width: int, name: str) -> None:
    """Check the output of an encoder for a batch, in training and evaluation mode.

    Parameters
    ----------
    encoder : Module
        Encoder of the modality; its running statistics may change.
    samples : tensor of shape (m, ...)
        Batch of samples of the modality.
    width : int
        Expected width of a latent.
    name : str
        Name of the modality, for errors.

    Raises
    ------
    ValueError
        If the encoder raises an exception, or its output has another shape or is not
        finite.
    """
    for training in (True, False):
        mode = "train" if training else "eval"
        prefix = f"modality {name!r}: the encoder, in {mode} mode,"
        try:
            with torch.no_grad():
                latents: Any = encoder.train(training)(samples)
        except Exception as error:
            raise ValueError(
                f"{prefix} raised {type(error).__name__} for a batch of shape "
                f"{tuple(samples.shape)}: {error}"
            ) from error
        found = tuple(getattr(latents, "shape", ()))
        if found != (len(samples), width):
            raise ValueError(
                f"{prefix} returns {found} for {len(samples)} samples, not "
                f"{(len(samples), width)}"
            )
        if not torch.isfinite(latents).all():
            raise ValueError(
                f"{prefix} returns NaN or infinite values for finite samples"
            )
