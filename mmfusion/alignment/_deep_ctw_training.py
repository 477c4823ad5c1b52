"""Training of deep canonical time warping: the loss at fixed warps, and new warps."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch
from torch import Tensor

import mmfusion
from mmfusion._threads import one_thread
from mmfusion._typing import EncoderLike
from mmfusion.alignment.ctw._held_out import later_correlations
from mmfusion.alignment.ctw._projections import (
    Projections,
    correlate,
    likelihood_weights,
    project,
)
from mmfusion.alignment.ctw._warping import align_projected
from mmfusion.nn._checkpoint import Checkpoint
from mmfusion.nn._descent import check_finite, descend, set_rate
from mmfusion.nn._encoders import check_widths, latent_width, make_encoder
from mmfusion.nn._frame_encoders import (
    EmbeddingNetwork,
    ResidualEncoder,
    hidden_layers,
)
from mmfusion.nn._isolation import (
    current_draws,
    drawing,
    flushing_denormals,
    isolated,
)
from mmfusion.nn._optimizers import make_optimizer
from mmfusion.nn._state import to_arrays, to_tensors
from mmfusion.nn._trainer import TrainingSettings
from mmfusion.nn.losses import canonical_correlation_loss

DEFAULTS: dict[str, Any] = {
    "max_epochs": 8,
    "batch_size": 8,
    "lr": {"network": 2e-3},
    "betas": {"network": (0.9, 0.999)},
    "optimizer": torch.optim.AdamW,
    "weight_decay": 1e-3,
    "lr_schedule": "constant",
    "clip_norm": None,
    "selection": "total",
    "selection_every": 0,
}
SHRINKAGE = 1e-2  # of the covariances of a batch
FEW_SAMPLES_REMEDY = "fit more samples"

Samples = Sequence[Sequence[np.ndarray]]


@dataclass(frozen=True)
class AlternationData:
    """Samples of which some are learned from, and the rest held out.

    Parameters
    ----------
    coordinates : list of list of ndarray of shape (n_frames, n_features)
        Per sample, the sequences of each modality that the network sees.
    projected : list of list of ndarray of shape (n_frames, n_directions)
        The same sequences projected by canonical time warping, in which the mean
        weight of directions is that of `unit_weights`.
    is_held_out : ndarray of bool of shape (n_samples,)
        Samples that are not learned from.
    constraints : mapping
        Options of `dtw_path` that constrain warps.
    """

    coordinates: list[list[np.ndarray]]
    projected: list[list[np.ndarray]]
    is_held_out: np.ndarray
    constraints: Mapping[str, Any]


class DeepCTW(NamedTuple):
    """Result of an alternation.

    Parameters
    ----------
    arrays : dict of str to ndarray
        Parameters of the network of the best epoch.
    readout : Projections or None
        Projections of its embedded frames to canonical directions, weighed by
        `unit_weights`; None if frames vary in fewer directions from the start.
    best_epoch : int
        The epoch; 0 is canonical time warping.
    history : list of dict
        Phase, loss and held-out correlation before the first epoch, and of each.
    """

    arrays: dict[str, np.ndarray]
    readout: Projections | None
    best_epoch: int
    history: list[dict[str, Any]]


def make_residual_network(
    options: Sequence[EncoderLike],
    linear: Sequence[np.ndarray],
    names: Sequence[str],
    seed: int,
) -> EmbeddingNetwork:
    """Make the network, which starts as linear maps.

    Parameters
    ----------
    options : sequence
        Hidden layers of each encoder: widths, of which () leaves the linear map alone,
        a module, or a factory.
    linear : sequence of ndarray of shape (n_features, n_directions)
        The maps.
    names : sequence of str
        Names of the modalities, for errors.
    seed : int
        Seed of initial weights. All encoders have the same, so that they do not depend
        on the order of modalities.

    Returns
    -------
    EmbeddingNetwork
        The network.
    """
    encoders = []
    for option, own, name in zip(options, linear, names, strict=True):
        start = torch.from_numpy(own)
        if isinstance(option, list | tuple) and not option:
            encoders.append(ResidualEncoder(start, None, 0))
            continue
        shape = (len(own),)
        with isolated(seed), drawing():
            if isinstance(option, torch.nn.Module) or callable(option):
                hidden = make_encoder(option, shape, name)
            else:
                hidden = hidden_layers(len(own), check_widths(option, name))
            width = latent_width(hidden, shape, name)
            encoders.append(ResidualEncoder(start, hidden, width))
    return EmbeddingNetwork(encoders)


def unit_weights(correlations: np.ndarray) -> np.ndarray:
    """Return weights of directions as by likelihood, of sum 1.

    Costs of projections with more and with less correlated directions then have one
    magnitude.

    Parameters
    ----------
    correlations : ndarray of shape (n_directions,)
        Correlations of the directions.

    Returns
    -------
    ndarray of shape (n_directions,)
        The weights; 0 if no direction correlates.
    """
    weights = likelihood_weights(correlations)
    total = weights.sum()
    return weights / total if total > 0 else weights


def joint_directions(
    one: Sequence[np.ndarray], other: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Return sequences in the directions of both, whose costs thus add up."""
    return [np.hstack(pair) for pair in zip(one, other, strict=True)]


def alternate(
    network: EmbeddingNetwork,
    data: AlternationData,
    settings: TrainingSettings,
    n_steps: int,
    seed: int,
    order: torch.Generator,
) -> DeepCTW:
    """Alternate steps of the correlation loss and new warps, within `isolated`.

    Parameters
    ----------
    network : EmbeddingNetwork
        The network; it is trained in place.
    data : AlternationData
        The samples.
    settings : TrainingSettings
        The settings.
    n_steps : int
        Number of steps of an epoch, between two alignments.
    seed : int
        Seed of the fit, which a checkpoint must share to be resumed.
    order : Generator
        Generator of the order of samples.

    Returns
    -------
    DeepCTW
        The best epoch.

    Raises
    ------
    DivergenceError
        If a loss is NaN or infinite.
    """
    alternation = _Alternation(network, data, settings, n_steps, order)
    checkpoint = None
    if settings.checkpoint_dir is not None:
        fingerprint = alternation.fingerprint(seed)
        checkpoint = Checkpoint(settings.checkpoint_dir, "deep-ctw", fingerprint)
        alternation.resume(checkpoint.load())
    while alternation.n_epochs_left and alternation.keeps_varying:
        alternation.descend()
        alternation.realign()
        done = len(alternation.history) - 1
        if checkpoint is not None and done % settings.checkpoint_every == 0:
            checkpoint.write(alternation.state())
    return alternation.result()


class _Alternation:
    """The network, its optimizer and the warps, as they change over epochs."""

    def __init__(
        self,
        network: EmbeddingNetwork,
        data: AlternationData,
        settings: TrainingSettings,
        n_steps: int,
        order: torch.Generator,
    ) -> None:
        self.network = network.to(settings.device, settings.full_dtype)
        self.data, self.settings, self.order = data, settings, order
        self.n_steps = n_steps
        max_epochs = settings.max_epochs
        self.max_epochs = DEFAULTS["max_epochs"] if max_epochs == "auto" else max_epochs
        self.optimizer = make_optimizer(
            settings.optimizer,
            settings.weight_decay,
            {"network": list(network.parameters())},
            settings.betas,
        )
        like = next(network.parameters())
        self.tensors = [
            [torch.from_numpy(x).to(like) for x in sample]
            for sample in data.coordinates
        ]
        self.learned: list[int] = np.flatnonzero(~data.is_held_out).tolist()
        self.held_out: list[int] = np.flatnonzero(data.is_held_out).tolist()
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] | None = None
        self.best_epoch = 0
        self.warps = self._align(data.projected)
        self.keeps_varying = self._record("projections", self._embedded())

    @property
    def n_epochs_left(self) -> int:
        """Number of epochs still to come."""
        return self.max_epochs + 1 - len(self.history)

    def descend(self) -> None:
        """Minimise the loss by the steps of an epoch, at the current warps."""
        self.network.train()
        size, epoch = self.settings.batch_size, len(self.history)
        n_batches = max(1, len(self.learned) // size)
        losses = []
        with flushing_denormals(True):
            for step in range(self.n_steps):
                if step % n_batches == 0:
                    shuffled = torch.randperm(len(self.learned), generator=self.order)
                start = step % n_batches * size
                drawn = shuffled[start : start + size].tolist()
                chosen = [self.learned[i] for i in drawn]
                progress = (epoch - 1 + step / self.n_steps) / self.max_epochs
                set_rate(self.optimizer, self.settings, progress)
                with drawing():
                    loss = self._loss(chosen)
                check_finite(loss, epoch, FEW_SAMPLES_REMEDY)
                descend(self.network, self.optimizer, loss, self.settings.clip_norm)
                losses.append(float(loss.detach()))
        self.train_loss = float(np.mean(losses))

    def _loss(self, chosen: list[int]) -> Tensor:
        """Return the loss of the aligned frames of some samples."""
        lengths = [[len(x) for x in self.tensors[i]] for i in chosen]
        starts = np.cumsum([[0] * len(lengths[0]), *lengths[:-1]], axis=0)
        steps = np.concatenate(
            [self.warps[i] + s for i, s in zip(chosen, starts, strict=True)]
        )
        aligned = []
        for v, column in enumerate(steps.T):
            frames = torch.cat([self.tensors[i][v] for i in chosen])
            at = torch.from_numpy(np.ascontiguousarray(column)).to(frames.device)
            aligned.append(self.network.embed(frames, v)[at])
        return canonical_correlation_loss(torch.stack(aligned), shrinkage=SHRINKAGE)

    def realign(self) -> None:
        """Align by the embedded frames alone, and keep the epoch if it is the best."""
        embedded = self._embedded()
        readout = self._readout(embedded)
        if readout is not None:
            self.warps = self._align([project(own, readout) for own in embedded])
        self.keeps_varying = self._record("training", embedded)

    def _record(self, phase: str, embedded: Samples) -> bool:
        """Note an epoch; return whether frames still vary in every direction."""
        readout = self._readout(embedded)
        if readout is None:
            return False
        entry: dict[str, Any] = {"phase": phase}
        if self.history:
            entry["train_loss"] = self.train_loss
        score = None
        if len(self.held_out):
            score = self._held_out_correlation(embedded, readout)
            entry["held_out_correlation"] = score
        # without held-out samples, the last epoch
        if self.best is None or score is None or score > self.best["score"]:
            self.best_epoch = len(self.history)
            self.best = {
                "score": score,
                "network": to_arrays(dict(self.network.state_dict())),
                "readout": [readout.means, readout.weights, readout.correlations],
            }
        self.history.append(entry)
        return True

    @torch.no_grad()
    def _embedded(self) -> list[list[np.ndarray]]:
        self.network.eval()
        with drawing():
            return [
                [
                    self.network.embed(x, v).double().cpu().numpy()
                    for v, x in enumerate(sample)
                ]
                for sample in self.tensors
            ]

    def _readout(self, embedded: Samples) -> Projections | None:
        """Correlate the embedded frames along the warps of the samples learned from.

        Return None if those of a modality vary in fewer directions.
        """
        try:
            found = correlate(
                [embedded[i] for i in self.learned],
                [self.warps[i] for i in self.learned],
                n_directions=embedded[0][0].shape[1],
            )
        except ValueError:
            return None
        scale = np.sqrt(unit_weights(found.correlations))
        return found._replace(weights=[w * scale for w in found.weights])

    def _align(self, projected: Samples) -> list[np.ndarray]:
        with one_thread():
            return [align_projected(own, self.data.constraints) for own in projected]

    def _held_out_correlation(self, embedded: Samples, readout: Projections) -> float:
        """Return the mean correlation of held-out samples, aligned as in the end."""
        own = [embedded[i] for i in self.held_out]
        joint = [
            joint_directions(self.data.projected[i], project(embedded[i], readout))
            for i in self.held_out
        ]
        return float(later_correlations(own, self._align(joint), readout).mean())

    def result(self) -> DeepCTW:
        """Return the best epoch."""
        if self.best is None:
            return DeepCTW({}, None, 0, [])
        readout = Projections(*self.best["readout"])
        return DeepCTW(self.best["network"], readout, self.best_epoch, self.history)

    # Checkpoints

    def fingerprint(self, seed: int) -> str:
        """Hash what a checkpoint must share with this fit to be resumed."""
        data = self.data
        probe = self._embedded()[0]  # modules of one description may differ
        return joblib.hash(
            [
                [mmfusion.__version__, torch.__version__, seed, self.n_steps],
                [data.coordinates, data.projected, data.is_held_out],
                [sorted(data.constraints.items()), self.max_epochs, probe],
                [str(self.network), list(to_arrays(self.network.state_dict()).items())],
                self.settings.description() + sorted(self.settings.lr.items()),
            ]
        )

    def state(self) -> dict[str, Any]:
        """Return all that a later fit needs to go on from here."""
        return {
            "parts": {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            },
            "warps": to_tensors(self.warps),
            "best": to_tensors(self.best),
            "best_epoch": self.best_epoch,
            "history": json.dumps(self.history),
            "order": self.order.get_state(),
            "drawn": current_draws().get_state(),
        }

    def resume(self, state: dict[str, Any] | None) -> None:
        """Go on from a state, if there is one."""
        if state is None:
            return
        self.network.load_state_dict(state["parts"]["network"])
        self.optimizer.load_state_dict(state["parts"]["optimizer"])
        self.warps, self.best = to_arrays(state["warps"]), to_arrays(state["best"])
        self.best_epoch = int(state["best_epoch"])
        self.history = json.loads(state["history"])
        self.order.set_state(state["order"])
        current_draws().set_state(state["drawn"])


def deep_ctw_of(
    make: Callable[[], EmbeddingNetwork],
    data: AlternationData,
    settings: TrainingSettings,
    n_steps: int,
    seed: int,
) -> DeepCTW:
    """Make a network, and train it.

    Parameters
    ----------
    make : callable
        Makes the network.
    data, settings, n_steps, seed
        Parameters of `alternate`.

    Returns
    -------
    DeepCTW
        The best epoch.
    """
    settings.make_checkpoint_folder()
    with isolated(seed) as order:
        return alternate(make(), data, settings, n_steps, seed, order)
