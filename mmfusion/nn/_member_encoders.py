"""Encoders of all members of an ensemble, of tables, images and sequences."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mmfusion._typing import EncoderLike
from mmfusion.nn._encoders import check_widths, custom_encoder, is_named, make_encoder
from mmfusion.nn._members import MemberEncoder, Members, redrawn
from mmfusion.nn._sequence_data import N_MARKS
from mmfusion.nn._sequence_encoders import (
    SEQUENCE_ENCODERS,
    SequenceEncoder,
    make_frame_encoder,
)

DEFAULT_WIDTHS = (64, 64)
PROBE_FRAMES = 7  # of the sequences on which modules of users are tried


def make_member_encoder(
    option: EncoderLike, shape: tuple[int, ...], name: str, n_members: int
) -> nn.Module:
    """Make the encoders of one modality for all members of an ensemble.

    Parameters
    ----------
    option : sequence of int, int, Module, callable, str, tuple or None
        See `make_encoder`; of a module, every member gets a copy with weights of its
        own. Of sequences (samples of two dimensions, packed), widths are those of
        layers of every frame; 'conv', 'gru' and 'lstm', alone or before widths, name
        the layers; and None stands for 'conv'.
    shape : tuple of int
        Shape of one sample of the modality.
    name : str
        Name of the modality, for errors.
    n_members : int
        Number of members R.

    Returns
    -------
    Module
        Encoder from (m, ...) to (m, R w): latents of linear layers, side by side.
    """
    is_sequence = len(shape) == 2
    if is_named(option) and not is_sequence:
        raise ValueError(
            f"modality {name!r} is no sequence, and encoders={option!r} is for "
            "sequences: give widths of layers, a module or a factory"
        )
    if option is None and not is_sequence:
        option = DEFAULT_WIDTHS

    def make() -> nn.Module:
        if is_sequence:
            return _sequence_encoder(option, shape[1] - N_MARKS, name)
        return make_encoder(option, shape, name, linear_latents=True)

    if isinstance(option, nn.Module) and n_members > 1:
        return Members([redrawn(make) for _ in range(n_members)])
    is_custom = isinstance(option, nn.Module) or callable(option)
    if is_custom or is_sequence or len(shape) == 3:
        return Members([make() for _ in range(n_members)])
    widths = check_widths(option, name)
    return MemberEncoder(math.prod(shape), widths, n_members)


def _sequence_encoder(option: Any, n_features: int, name: str) -> SequenceEncoder:
    """Make the encoder of one modality of sequences, for one member."""
    if isinstance(option, nn.Module) or callable(option):
        module = custom_encoder(option, (n_features,), name)
        return SequenceEncoder(module, _frame_width(module, n_features, name))
    kind, widths = _kind_and_widths("conv" if option is None else option, name)
    return SequenceEncoder(make_frame_encoder(kind, widths, n_features), widths[-1])


def _kind_and_widths(option: Any, name: str) -> tuple[str | None, list[int]]:
    """Read an option that is a kind of layers, their widths, or both."""
    if not is_named(option):
        return None, check_widths(option, name)
    kind, *widths = [option] if isinstance(option, str) else option
    if kind not in SEQUENCE_ENCODERS:
        raise ValueError(
            f"modality {name!r}: encoders={option!r} begins with no kind of layers; "
            f"the kinds are {sorted(SEQUENCE_ENCODERS)}"
        )
    widths = check_widths(widths or SEQUENCE_ENCODERS[kind], name)
    if kind != "conv" and len(widths) > 1:
        raise ValueError(
            f"modality {name!r}: encoders={option!r} has {len(widths)} widths, and "
            f"{kind!r} has one layer: give ({kind!r}, {widths[-1]})"
        )
    return kind, widths


@torch.no_grad()
def _frame_width(module: nn.Module, n_features: int, name: str) -> int:
    """Find the number of features of the frames that a module of the user returns."""
    like: Tensor = next(module.parameters(), torch.empty(0))
    frames = torch.zeros((2, PROBE_FRAMES, n_features)).to(like)
    observed = torch.ones((2, PROBE_FRAMES), dtype=torch.bool)
    training = module.training
    try:
        encoded: Any = module.eval()(frames, observed)
    except Exception as error:
        raise ValueError(
            f"modality {name!r}: the module in encoders, called with frames of shape "
            f"{tuple(frames.shape)} and a tensor of bool of which are observed, raised "
            f"{type(error).__name__}: {error}"
        ) from error
    finally:
        module.train(training)
    found = tuple(getattr(encoded, "shape", ()))
    if len(found) != 3 or found[:2] != tuple(frames.shape[:2]):
        raise ValueError(
            f"modality {name!r}: the module in encoders returns shape {found} for "
            f"frames of shape {tuple(frames.shape)}; it must keep both first "
            "dimensions, the sequences and their frames"
        )
    return found[2]
