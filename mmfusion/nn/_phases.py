"""Phases of a training: what an epoch is, what is minimised, how restarts compete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import torch

from mmfusion.nn._data import Batches, ShuffledBatches
from mmfusion.nn._net import DeepNet
from mmfusion.nn._objective import Objective


class Epoch(Protocol):
    """Batches of one epoch; every iteration is another epoch."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class Sampler(Protocol):
    """How the batches of a phase are drawn. It pickles, and its repr describes it."""

    def fit(self, data: Batches, random_state: np.random.RandomState) -> Self:
        """Compute what the epochs of all restarts share, such as neighbours."""

    def epoch(
        self, data: Batches, batch_size: int, generator: torch.Generator
    ) -> Epoch:
        """Return an epoch whose order is drawn from the generator."""


@dataclass(frozen=True)
class ShuffledSampler:
    """Batches of samples in random order."""

    def fit(
        self, data: Batches, random_state: np.random.RandomState
    ) -> ShuffledSampler:
        """Return self: nothing is shared."""
        return self

    def epoch(
        self, data: Batches, batch_size: int, generator: torch.Generator
    ) -> ShuffledBatches:
        """Return an epoch of shuffled batches."""
        return ShuffledBatches(data, batch_size, generator)


@dataclass(frozen=True)
class Phase:
    """A part of a training with an objective of its own.

    Parameters
    ----------
    name : str
        Name in progress bars, checkpoints and errors.
    n_epochs : int
        Number of epochs, over which learning rates fall.
    objective : Objective
        What is minimised.
    rates : dict of str to float
        Learning rate of 'network' and of every module that has its own.
    sampler : Sampler, default=ShuffledSampler()
        Makes the epochs.
    parts : tuple of str, default=()
        Parts of the net that the phase changes; they belong to its checkpoints.
    compete : callable, default=None
        Ends the phase and scores a restart: takes the net and an epoch, the same for
        all restarts, and returns a score, lower for better. Only the best goes on to
        the next phase. None lets every restart go on.
    learns_weights : bool, default=True
        Whether the weights of the modalities that `predict` uses are computed from
        the training data at the end. Otherwise they stay as they are.
    """

    name: str
    n_epochs: int
    objective: Objective
    rates: Mapping[str, float]
    sampler: Sampler = field(default_factory=ShuffledSampler)
    parts: tuple[str, ...] = ()
    compete: Callable[[DeepNet, Any], float] | None = None
    learns_weights: bool = True

    def description(self) -> list[Any]:
        """Return plain values that two phases share if they train alike."""
        rates = sorted(self.rates.items())
        training = [repr(self.objective), repr(self.sampler)]
        return [self.name, self.n_epochs, rates, *training]


def begin_phase(net: DeepNet, phase: Phase, done: int = 0) -> None:
    """Prepare a net for the next epochs of a phase.

    Parameters
    ----------
    net : DeepNet
        The net, initialised.
    phase : Phase
        The phase.
    done : int, default=0
        Number of its epochs that are done already.
    """
    net.objective_ = phase.objective
    net.phase_name_, net.phase_epochs_ = phase.name, phase.n_epochs
    net.phase_start_ = len(net.history) - done
    net.progress_ = min(1.0, done / max(1, phase.n_epochs))
    for optimizer in net.optimizers_:
        for group in optimizer.param_groups:
            rate = phase.rates.get(group["part"], phase.rates["network"])
            group["lr"] = group["initial_lr"] = rate
