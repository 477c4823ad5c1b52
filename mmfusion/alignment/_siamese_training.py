"""Training of networks that embed frames, so that known matches are near."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmfusion._numbers import is_integer
from mmfusion._typing import EncoderLike
from mmfusion.alignment._frame_targets import TargetPair
from mmfusion.alignment._path_targets import Embed
from mmfusion.nn._descent import check_finite, descend, set_rate
from mmfusion.nn._encoders import make_encoder
from mmfusion.nn._frame_encoders import (
    EmbeddingNetwork,
    FrameEncoder,
    SimilarityNetwork,
)
from mmfusion.nn._isolation import drawing, flushing_denormals, isolated
from mmfusion.nn._optimizers import make_optimizer
from mmfusion.nn._state import to_arrays, to_tensors
from mmfusion.nn._trainer import TrainingSettings, auto_epochs
from mmfusion.nn.losses import match_cross_entropy

WINDOW_FRAMES = 256  # of the first sequence, at most, in a step
CONTEXT_MARGIN = 16  # frames about a window that encoders see
STEPS_PER_RENEWAL = 50  # of targets that are not known

DIVERGENCE_REMEDY = "set scaling='standard' if features are of large values"
DEFAULT_WIDTHS = (64, 64)  # filters of the modalities that a dict of encoders lacks

DEFAULTS: dict[str, Any] = {
    "max_epochs": "auto",
    "batch_size": 4,
    "lr": {"network": 2e-3},
    "betas": {"network": (0.9, 0.999)},
    "optimizer": torch.optim.AdamW,
    "weight_decay": 1e-2,
    "lr_schedule": "cosine",
    "clip_norm": 5.0,
    "selection": "total",
    "selection_every": 0,
}


def make_network(
    options: Sequence[EncoderLike],
    n_features: Sequence[int],
    names: Sequence[str],
    n_components: int,
    context: int,
    dropout: float,
) -> SimilarityNetwork:
    """Make the untrained network, within `isolated`.

    Parameters
    ----------
    options : sequence
        Option of each encoder: widths of convolutions, a module or a factory.
    n_features : sequence of int
        Numbers of features of their frames.
    names : sequence of str
        Names of the modalities, for errors.
    n_components : int
        Number of features of embedded frames.
    context, dropout : int and float
        Options of `FrameEncoder`.

    Returns
    -------
    SimilarityNetwork
        The network.

    Raises
    ------
    ValueError
        If an encoder returns something else than embedded frames, or the encoders
        return frames of different numbers of features.
    """
    encoders: list[nn.Module] = []
    with drawing():
        for option, width, name in zip(options, n_features, names, strict=True):
            if isinstance(option, nn.Module) or callable(option):
                encoders.append(make_encoder(option, (width,), name))
                continue
            widths = _checked_widths(option, name)
            encoders.append(FrameEncoder(width, widths, n_components, context, dropout))
    found = {
        name: _embedded_width(encoder, width, name)
        for encoder, width, name in zip(encoders, n_features, names, strict=True)
    }
    if len(set(found.values())) > 1:
        raise ValueError(
            f"the encoders embed frames in different numbers of features, {found}; "
            "give encoders of one, since embedded frames are compared"
        )
    return SimilarityNetwork(encoders)


def _checked_widths(option: object, name: str) -> list[int]:
    """Return numbers of filters as a list of int."""
    if option is None:
        return list(DEFAULT_WIDTHS)
    widths: list[Any] = list(option) if isinstance(option, list | tuple) else [option]
    if not all(is_integer(width) and width > 0 for width in widths):
        raise ValueError(
            f"modality {name!r}: encoders={option!r}; give positive numbers of filters "
            "of convolutions, () for a linear map, a torch module, or a factory of one"
        )
    return [int(width) for width in widths]


@torch.no_grad()
def _embedded_width(encoder: nn.Module, n_features: int, name: str) -> int:
    """Return the number of features of an embedded frame."""
    like = next(encoder.parameters(), torch.empty(0))
    frames = torch.zeros((1, CONTEXT_MARGIN, n_features)).to(like)
    try:
        with drawing():
            embedded = encoder.eval()(frames)
    except Exception as error:
        raise ValueError(
            f"modality {name!r}: the module in encoders fails on sequences of shape "
            f"{tuple(frames.shape)}: {error}"
        ) from error
    shape = tuple(getattr(embedded, "shape", ()))
    if len(shape) != 3 or shape[:2] != tuple(frames.shape[:2]):
        raise ValueError(
            f"modality {name!r}: the module in encoders returns shape {shape} for "
            f"sequences of shape {tuple(frames.shape)}; it must keep both first "
            "dimensions, the sequences and their frames"
        )
    return shape[2]


def train(
    network: SimilarityNetwork,
    read: Callable[[int, str], np.ndarray],
    pairs: Sequence[TargetPair],
    positions: Mapping[str, int],
    settings: TrainingSettings,
    order: torch.Generator,
    renew: Callable[[Embed], list[TargetPair]] | None = None,
) -> list[dict[str, Any]]:
    """Train a network by the cross-entropy of matches, within `isolated`.

    Parameters
    ----------
    network : SimilarityNetwork
        The network; it is trained in place.
    read : callable
        Takes the position of a sample and the name of a modality, and returns the
        scaled sequence.
    pairs : sequence of TargetPair
        What is known of them.
    positions : mapping of str to int
        Position of the encoder of each modality.
    settings : TrainingSettings
        The settings.
    order : Generator
        Generator of the order of the pairs and of their windows.
    renew : callable or None, default=None
        Takes what embeds a sequence, and returns the pairs with new targets, every 50
        steps. None is for targets that are known.

    Returns
    -------
    list of dict
        Phase and loss of every epoch.

    Raises
    ------
    DivergenceError
        If a loss is NaN or infinite.
    """
    n_epochs = settings.max_epochs
    if n_epochs == "auto":
        n_epochs = auto_epochs(len(pairs), settings.batch_size)
    network.to(settings.device, settings.full_dtype).train()
    tensors = _Tensors(read, network.log_scale)
    optimizer = make_optimizer(
        settings.optimizer,
        settings.weight_decay,
        {"network": list(network.parameters())},
        settings.betas,
    )
    batches = list(range(0, len(pairs), settings.batch_size))
    n_steps, step = n_epochs * len(batches), 0

    def loss_of(pair: TargetPair) -> Tensor:
        distances, rows, columns = _window(network, tensors, pair, positions, order)
        if step == 0:
            network.start_scale(distances.detach())
        return match_cross_entropy(network.similarities(distances), rows, columns)

    history: list[dict[str, Any]] = []
    with flushing_denormals(True):
        for epoch in range(n_epochs):
            shuffled = torch.randperm(len(pairs), generator=order).tolist()
            total = 0.0
            for start in batches:
                if renew is not None and step and step % STEPS_PER_RENEWAL == 0:
                    pairs = renew(_embedder(network, tensors, positions))
                chosen = shuffled[start : start + settings.batch_size]
                set_rate(optimizer, settings, step / n_steps)
                with drawing():
                    loss = torch.stack([loss_of(pairs[i]) for i in chosen]).mean()
                check_finite(loss, epoch, DIVERGENCE_REMEDY)
                descend(network, optimizer, loss, settings.clip_norm)
                total += float(loss.detach()) * len(chosen)
                step += 1
            history.append({"phase": "training", "train_loss": total / len(pairs)})
    return history


class _Tensors:
    """Sequences as tensors of one type and device, made on first use."""

    def __init__(self, read: Callable[[int, str], np.ndarray], like: Tensor) -> None:
        self.read, self.like = read, like.detach()
        self._made: dict[tuple[int, str], Tensor] = {}

    def get(self, sample: int, name: str) -> Tensor:
        if (sample, name) not in self._made:
            frames = torch.from_numpy(self.read(sample, name))
            self._made[sample, name] = frames.to(self.like)
        return self._made[sample, name]


def _embedder(
    network: SimilarityNetwork, tensors: _Tensors, positions: Mapping[str, int]
) -> Callable[[int, str], np.ndarray]:
    """Return what embeds whole sequences, without dropout."""

    @torch.no_grad()
    def embed(sample: int, name: str) -> np.ndarray:
        network.eval()
        with drawing():
            embedded = network.embed(tensors.get(sample, name), positions[name])
        network.train()
        return to_arrays(embedded.double())

    return embed


def _window(
    network: SimilarityNetwork,
    tensors: _Tensors,
    pair: TargetPair,
    positions: Mapping[str, int],
    order: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return squared distances and targets of a random window of a pair."""
    sample, first, second, targets = pair
    x, y = tensors.get(sample, first), tensors.get(sample, second)
    counted = targets.counted()
    # about a frame with a target, so that each window has one
    at = int(counted[int(torch.randint(len(counted), (), generator=order))])
    start = max(0, min(at - WINDOW_FRAMES // 2, len(x) - WINDOW_FRAMES))
    own = slice(start, min(len(x), start + WINDOW_FRAMES))
    other = targets.span(own)
    rows, columns = (torch.from_numpy(t).to(x) for t in targets.targets(own, other))
    f = _embed_window(network, x, own, positions[first])
    g = _embed_window(network, y, other, positions[second])
    squares = f.square().sum(1)[:, None] + g.square().sum(1)
    return squares - 2 * f @ g.T, rows, columns


def _embed_window(
    network: SimilarityNetwork, frames: Tensor, window: slice, position: int
) -> Tensor:
    """Embed a window, whose first and last frames have their context."""
    begin = max(0, window.start - CONTEXT_MARGIN)
    embedded = network.embed(frames[begin : window.stop + CONTEXT_MARGIN], position)
    return embedded[window.start - begin : window.stop - begin]


def network_arrays(network: EmbeddingNetwork) -> dict[str, np.ndarray]:
    """Return the parameters of a network as arrays.

    Parameters
    ----------
    network : EmbeddingNetwork
        The network.

    Returns
    -------
    dict of str to ndarray
        The arrays.
    """
    return to_arrays(dict(network.state_dict()))


def embed_sequences(
    make: Callable[[], EmbeddingNetwork],
    arrays: Mapping[str, np.ndarray],
    sequences: Iterable[tuple[np.ndarray, int]],
) -> list[np.ndarray]:
    """Embed sequences by a trained network, in float64.

    Parameters
    ----------
    make : callable
        Makes the network, untrained.
    arrays : mapping of str to ndarray
        Its parameters.
    sequences : iterable of (ndarray, int)
        Sequences of shape (n_frames, n_features), and positions of their encoders.

    Returns
    -------
    list of ndarray of shape (n_frames, n_components)
        The embedded sequences.
    """
    with isolated(), torch.no_grad():
        network = make()
        network.load_state_dict(to_tensors(dict(arrays)))
        network.double().eval()
        with drawing():
            return [
                network.embed(torch.from_numpy(frames).double(), position).numpy()
                for frames, position in sequences
            ]
