"""Training of the network of CTCRecognizer, and its log-probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from mmfusion._warnings import warn_user
from mmfusion.graphical._ctc_decoding import greedy_labels
from mmfusion.metrics._label_sequences import edit_distance
from mmfusion.nn._attention import TimedFrames
from mmfusion.nn._corruption import kept_modalities, noise_deviations
from mmfusion.nn._ctc import BLANK, CTCNetwork, Transcripts, ctc_losses
from mmfusion.nn._descent import check_finite, descend, set_rate
from mmfusion.nn._isolation import current_draws, flushing_denormals, isolated
from mmfusion.nn._optimizers import make_optimizer
from mmfusion.nn._state import to_tensors
from mmfusion.nn._trainer import TrainingSettings

FEWEST_STEPS, MOST_STEPS = 1000, 4000  # of automatic trainings
PLATEAU_ERROR = 0.5  # above it, a network has not begun to distinguish labels
LAST_SHARE = 0.3  # of the steps, in which a constant rate falls to 0
LARGEST_NOISE = 1.0  # standard deviations of a feature, in training

DIVERGENCE_REMEDY = "set scaling='standard' if features are of large values"
DEFAULTS: dict[str, Any] = {
    "max_epochs": "auto",
    "batch_size": 8,
    "lr": {"network": 4e-3},
    "betas": {"network": (0.9, 0.999)},
    "optimizer": torch.optim.AdamW,
    "weight_decay": 1e-2,
    "lr_schedule": "constant",
    "clip_norm": 5.0,
    "selection": "total",
    "selection_every": 0,
}


class TimedSample(NamedTuple):
    """Sequences of a sample, with their times.

    Parameters
    ----------
    times : ndarray of shape (n_frames,)
        Times of the frames that have labels.
    frames : list of (ndarray, ndarray) or None
        Features of shape (n_frames, n_features) and times, by modality; None where it
        is missing.
    """

    times: np.ndarray
    frames: list[tuple[np.ndarray, np.ndarray] | None]


class ModalityOptions(NamedTuple):
    """What makes a network learn each of several modalities.

    Parameters
    ----------
    loss_weight : float
        Weight of the losses of single modalities.
    dropout : float
        Probability with which an observed modality of a sample is dropped; one is
        kept.
    noise : float
        Probability with which a modality of a sample gets noise.
    """

    loss_weight: float
    dropout: float
    noise: float


def train_recognizer(
    network: CTCNetwork,
    samples: Sequence[TimedSample],
    labels: Sequence[np.ndarray],
    settings: TrainingSettings,
    order: torch.Generator,
    options: ModalityOptions,
) -> list[dict[str, Any]]:
    """Train a network by transcripts, within `isolated`.

    A network first returns blanks alone, for some hundred steps. The rate therefore
    stays as it is, and falls only at the end. Automatic trainings go on until the error
    on the transcripts is below a half, and then as long again. Until then, no modality
    is dropped or gets noise, which would make the plateau several times longer.

    Parameters
    ----------
    network : CTCNetwork
        The network; it is trained in place.
    samples : sequence of TimedSample
        The samples.
    labels : sequence of ndarray of int
        Columns of their labels.
    settings : TrainingSettings
        The settings.
    order : Generator
        Generator of the order of the samples.
    options : ModalityOptions
        Options of several modalities.

    Returns
    -------
    list of dict
        Loss and error of every epoch.

    Raises
    ------
    DivergenceError
        If a loss is NaN or infinite.
    """
    network.to(settings.device, settings.full_dtype).train()
    optimizer = make_optimizer(
        settings.optimizer,
        settings.weight_decay,
        {"network": list(network.parameters())},
        settings.betas,
    )
    n_batches = -(-len(samples) // settings.batch_size)
    longest = -(-MOST_STEPS // n_batches)
    is_automatic = settings.max_epochs == "auto"
    n_epochs = longest if is_automatic else settings.max_epochs
    has_left_plateau = False
    history: list[dict[str, Any]] = []
    with flushing_denormals(True):
        while len(history) < n_epochs:
            shuffled = torch.randperm(len(samples), generator=order).tolist()
            loss, n_errors = 0.0, 0
            for k in range(n_batches):
                chosen = shuffled[k * settings.batch_size :][: settings.batch_size]
                batch = [samples[i] for i in chosen]
                own = [labels[i] for i in chosen]
                done = (len(history) + k / n_batches) / n_epochs
                keeps_rate = is_automatic and not has_left_plateau
                _set_rate(optimizer, settings, 0.0 if keeps_rate else done)
                table, losses = _losses(network, batch, own, options, has_left_plateau)
                check_finite(losses.mean(), len(history), DIVERGENCE_REMEDY)
                descend(network, optimizer, losses.mean(), settings.clip_norm)
                loss += float(losses.detach().sum())
                n_errors += _n_errors(table, batch, own)
            error = n_errors / max(1, sum(map(len, labels)))
            history.append(
                {
                    "phase": "training",
                    "train_loss": loss / len(samples),
                    "train_error": error,
                }
            )
            if not has_left_plateau and error < PLATEAU_ERROR:
                has_left_plateau = True
                fewest = -(-FEWEST_STEPS // n_batches)
                if is_automatic:
                    n_epochs = min(longest, max(fewest, 2 * len(history)))
    if is_automatic and not has_left_plateau:
        _warn_of_plateau(history)
    return history


def _warn_of_plateau(history: Sequence[dict[str, Any]]) -> None:
    warn_user(
        f"CTCRecognizer has not converged after {len(history)} epochs: the error "
        f"on the samples of fit is {history[-1]['train_error']:.2f}; give more "
        "samples, features that distinguish labels, or trainer__max_epochs",
        ConvergenceWarning,
    )


def _set_rate(
    optimizer: torch.optim.Optimizer, settings: TrainingSettings, progress: float
) -> None:
    set_rate(optimizer, settings, progress)
    if settings.lr_schedule == "constant":
        for group in optimizer.param_groups:
            group["lr"] *= min(1.0, (1.0 - progress) / LAST_SHARE)


def _losses(
    network: CTCNetwork,
    samples: Sequence[TimedSample],
    labels: Sequence[np.ndarray],
    options: ModalityOptions,
    corrupts: bool,
) -> tuple[Tensor, Tensor]:
    """Return log-probabilities, and the loss of each sample per label."""
    clock, inputs = _clock_and_inputs(network, samples)
    if corrupts and len(inputs) > 1:
        inputs = _corrupted(inputs, options)
    tables = network(clock, inputs, by_modality=options.loss_weight > 0)
    lengths = torch.tensor([len(own) for own in labels], device=clock.times.device)
    columns = torch.from_numpy(np.concatenate(labels)).to(lengths.device)
    n_tables = len(tables)
    losses = ctc_losses(
        tables.flatten(0, 1),
        clock.observed.repeat(n_tables, 1),
        Transcripts(columns.repeat(n_tables), lengths.repeat(n_tables)),
    )
    losses = losses.unflatten(0, (n_tables, -1)) / lengths.clamp(min=1)
    total = losses[0]
    if n_tables > 1:
        flags = torch.stack([own.observed.any(1) for own in inputs]).to(losses)
        total = total + options.loss_weight * (losses[1:] * flags).sum(0) / flags.sum(0)
    return tables[0].detach(), total


def _corrupted(
    inputs: Sequence[TimedFrames], options: ModalityOptions
) -> list[TimedFrames]:
    """Drop modalities of samples at random, and add noise to others.

    Half of the variance of the noise is an offset of all frames of a sequence, such as
    another speaker or another camera has; noise of single frames averages out.
    """
    like = inputs[0].values
    generator = current_draws().generator(like.device)

    def uniform() -> Tensor:
        return like.new_empty((len(like), len(inputs))).uniform_(generator=generator)

    def normal(*shape: int) -> Tensor:
        return like.new_empty(shape).normal_(generator=generator)

    observed = torch.stack([own.observed.any(1) for own in inputs], dim=1)
    kept = kept_modalities(observed, options.dropout, uniform())
    deviations = noise_deviations(options.noise, LARGEST_NOISE, uniform(), uniform())
    corrupted = []
    for v, own in enumerate(inputs):
        m, n_frames, d = own.values.shape
        noise = normal(m, n_frames, d) + normal(m, 1, d)
        corrupted.append(
            own._replace(
                values=own.values + deviations[:, v, None, None] * noise,
                observed=own.observed & kept[:, v, None],
            )
        )
    return corrupted


def _n_errors(
    table: Tensor, samples: Sequence[TimedSample], labels: Sequence[np.ndarray]
) -> int:
    """Return the number of labels to insert, delete or replace."""
    arrays = table.cpu().numpy()
    return sum(
        edit_distance(own.tolist(), greedy_labels(array[: len(sample.times)], BLANK))
        for array, sample, own in zip(arrays, samples, labels, strict=True)
    )


def _clock_and_inputs(
    network: CTCNetwork, samples: Sequence[TimedSample]
) -> tuple[TimedFrames, list[TimedFrames]]:
    """Return the clocks of a batch, and the frames of each modality."""
    like = network.last.weight.detach()
    clock = _padded_frames([(s.times[:, None], s.times) for s in samples], 1, like)
    n_features = network.n_features
    inputs = [
        _padded_frames(
            [s.frames[v] for s in samples], d, like, clock if v == 0 else None
        )
        for v, d in enumerate(n_features)
    ]
    return clock, inputs


def _padded_frames(
    sequences: Sequence[tuple[np.ndarray, np.ndarray] | None],
    n_features: int,
    like: Tensor,
    clock: TimedFrames | None = None,
) -> TimedFrames:
    """Pad sequences to one length, that of the clock if it is given."""
    longest = max((len(own[1]) for own in sequences if own is not None), default=1)
    if clock is not None:
        longest = clock.times.shape[1]
    values = np.zeros((len(sequences), longest, n_features))
    times = np.zeros((len(sequences), longest))
    observed = np.zeros((len(sequences), longest), dtype=bool)
    for i, own in enumerate(sequences):
        if own is not None:
            n = len(own[1])
            values[i, :n], times[i, :n], times[i, n:] = own[0], own[1], own[1][-1]
            observed[i, :n] = True
    return TimedFrames(
        torch.from_numpy(values).to(like),
        torch.from_numpy(times).to(like),
        torch.from_numpy(observed).to(like.device),
    )


def log_probabilities(
    make: Callable[[], CTCNetwork],
    arrays: Mapping[str, np.ndarray],
    samples: Sequence[TimedSample],
) -> list[np.ndarray]:
    """Compute log-probabilities by a trained network, in float64.

    Parameters
    ----------
    make : callable
        Makes the network, untrained.
    arrays : mapping of str to ndarray
        Its parameters.
    samples : sequence of TimedSample
        The samples, each of which is computed alone: none depends on another.

    Returns
    -------
    list of ndarray of shape (n_frames, n_columns)
        The log-probabilities.
    """
    with isolated(), torch.no_grad():
        network = make().double()
        network.load_state_dict(to_tensors(dict(arrays)))
        network.eval()
        return [
            network(*_clock_and_inputs(network, [own]))[0, 0].numpy() for own in samples
        ]
