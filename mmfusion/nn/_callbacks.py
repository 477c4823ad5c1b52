"""Callbacks of a training: progress, selection, checkpoints, reports."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback
from torch import Tensor
from tqdm import tqdm

from mmfusion.nn._checkpoint import Checkpoint
from mmfusion.nn._data import Batches
from mmfusion.nn._net import DeepNet, Phase, StoppedByCallback
from mmfusion.nn._training import (
    DivergenceError,
    freeze_fusion_weights,
)


def describe_callbacks(callbacks: Sequence[Any]) -> list[str]:
    """Describe callbacks by their classes and those parameters that are plain values.

    Two trainings whose callbacks have one description stop after the same epoch.
    """
    described = []
    for callback in callbacks:
        given = callback[1] if isinstance(callback, tuple) else callback
        kind = given if isinstance(given, type) else type(given)
        params = {} if given is kind else getattr(given, "__dict__", {})
        plain = {k: v for k, v in params.items() if k[-1] != "_" and _is_plain(v)}
        described.append(
            f"{kind.__module__}.{kind.__qualname__} {sorted(plain.items())}"
        )
    return described


def callback_state(callbacks: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return what callbacks have learned so far, as far as it is plain values.

    Parameters
    ----------
    callbacks : sequence of pair (str, Callback)
        Initialised callbacks and their names.

    Returns
    -------
    dict of str to dict
        Attributes that end with an underscore, by name of the callback.
    """
    return {
        name: {k: v for k, v in vars(callback).items() if k[-1] == "_" and _is_plain(v)}
        for name, callback in callbacks
    }


def _is_plain(value: Any) -> bool:
    """Return whether a value can be read from a file without running code."""
    if isinstance(value, dict):
        return all(map(_is_plain, [*value, *value.values()]))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    # exact types: a NumPy number is a float, too
    return type(value) in (bool, int, float, str, type(None)) or isinstance(
        value, Tensor
    )


class EpochBar(Callback):
    """Show a progress bar over the epochs of a phase.

    Parameters
    ----------
    label : str
        Label of the bar, before the name of the phase.
    """

    never_stops = True

    def __init__(self, label: str) -> None:
        self.label = label

    def on_train_begin(self, net: DeepNet, **kwargs: Any) -> None:
        """Open the bar."""
        done = len(net.history) - net.phase_start_
        self.bar_ = tqdm(
            total=net.phase_epochs_,
            initial=done,
            desc=f"{self.label}, {net.phase_name_}",
            unit="epoch",
            leave=False,
        )

    def on_epoch_end(self, net: DeepNet, **kwargs: Any) -> None:
        """Move the bar and show the loss."""
        self.bar_.set_postfix(loss=f"{net.history[-1]['train_loss']:.3f}")
        self.bar_.update()

    def on_train_end(self, net: DeepNet, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar_.close()


class StopAtNaN(Callback):
    """Stop training once a loss is not finite."""

    never_stops = True

    def on_epoch_end(self, net: DeepNet, **kwargs: Any) -> None:
        """Check the loss of the epoch."""
        if not math.isfinite(net.history[-1].get("train_loss", math.nan)):
            raise DivergenceError("a loss became NaN or infinite")


class StopWhenConverged(Callback):
    """End a phase after the epoch by which its objective has converged."""

    never_stops = True  # by Ctrl-C

    def on_epoch_end(self, net: DeepNet, **kwargs: Any) -> None:
        """Stop if it has."""
        if net.objective_.has_converged(net):
            raise StoppedByCallback


class Selection(Callback):
    """Keep the net of the epoch whose loss over all samples is lowest.

    Parameters
    ----------
    data : Batches
        All samples.
    criterion : str
        Name of the loss, among those of the objective.
    every : int
        Epochs between two evaluations.
    evaluate : callable
        Takes the net, and returns its losses by name.
    """

    never_stops = True

    def __init__(
        self,
        data: Batches,
        criterion: str,
        every: int,
        evaluate: Callable[[DeepNet], dict[str, float]],
    ) -> None:
        self.data, self.criterion, self.every = data, criterion, every
        self.evaluate = evaluate

    def on_train_begin(self, net: DeepNet, **kwargs: Any) -> None:
        """Drop the best of an earlier training, unless one is resumed."""
        if len(net.history) == net.phase_start_:
            net.best_, net.best_loss_ = None, math.inf

    def on_epoch_end(self, net: DeepNet, **kwargs: Any) -> None:
        """Evaluate every few epochs."""
        if (len(net.history) - net.phase_start_) % self.every:
            return
        freeze_fusion_weights(net, self.data)
        loss = self.evaluate(net)[self.criterion]
        if loss < net.best_loss_:
            net.best_loss_ = loss
            # the total of the kept network is that against its own discriminators
            modules = {"network": net.module_, **net.parts_}
            net.best_ = {n: copy.deepcopy(m.state_dict()) for n, m in modules.items()}

    def on_train_end(self, net: DeepNet, **kwargs: Any) -> None:
        """Restore the network and the parts of the best epoch."""
        if net.best_ is not None:
            net.module_.load_state_dict(net.best_["network"])
            for name, part in net.parts_.items():
                part.load_state_dict(net.best_[name])


class Validation(Callback):
    """Record the loss of samples that are not trained on, as 'valid_loss'.

    Parameters
    ----------
    evaluate : callable
        Takes the net, and returns its losses by name.
    """

    never_stops = True

    def __init__(self, evaluate: Callable[[DeepNet], dict[str, float]]) -> None:
        self.evaluate = evaluate

    def on_epoch_end(self, net: DeepNet, **kwargs: Any) -> None:
        """Evaluate the net."""
        net.history.record("valid_loss", self.evaluate(net)["total"])


class Save(Callback):
    """Write a checkpoint every few epochs, and where a callback ends the phase.

    Parameters
    ----------
    checkpoint : Checkpoint
        The file.
    every : int
        Epochs between two checkpoints; the last epoch of a phase has one, too.
    parts : tuple of str
        Parts of the net that the phase changes.
    generator : torch.Generator
        Generator of the order of samples; its state is part of the checkpoint.
    users : sequence of pair (str, Callback), default=()
        Callbacks of the user, whose state is part of the checkpoint.
    stoppers : sequence of str, default=()
        Description of all callbacks that may end a training.
    resumed : dict, default=None
        State of those callbacks in the checkpoint that is resumed.
    """

    never_stops = True

    def __init__(
        self,
        checkpoint: Checkpoint,
        every: int,
        parts: tuple[str, ...],
        generator: torch.Generator,
        users: Sequence[tuple[str, Any]] = (),
        stoppers: Sequence[str] = (),
        resumed: Mapping[str, Any] | None = None,
    ) -> None:
        self.checkpoint, self.every = checkpoint, every
        self.parts, self.generator = parts, generator
        self.users, self.stoppers, self.resumed = users, stoppers, resumed

    def on_train_begin(self, net: DeepNet, **kwargs: Any) -> None:
        """Give the callbacks of the user, which begin anew, what they had learned."""
        for name, callback in self.users:
            vars(callback).update((self.resumed or {}).get(name, {}))

    def on_epoch_end(self, net: DeepNet, **kwargs: Any) -> None:
        """Write a checkpoint if one is due."""
        done = len(net.history) - net.phase_start_
        if done % self.every == 0 or done == net.phase_epochs_:
            self._write(net, None)

    def on_stop(self, net: DeepNet) -> None:
        """Write a checkpoint of a phase that is finished before its last epoch."""
        self._write(net, list(self.stoppers))

    def _write(self, net: DeepNet, stopped_by: list[str] | None) -> None:
        done = len(net.history) - net.phase_start_
        remembered = callback_state(self.users)
        self.checkpoint.save(
            net, self.parts, done, self.generator, remembered, stopped_by
        )


class Report(Callback):
    """Report a training and its epochs to scikit-learn's callbacks, which may end it.

    Parameters
    ----------
    fit_context : CallbackContext
        Context of the fit, in the tree of scikit-learn's tasks.
    estimator : estimator
        The estimator in its `fit`.
    X, y : object
        The data it is fitted on.
    data : Batches
        The data as batches.
    learned : callable
        Takes the net and returns the attributes that the estimator would have.
    phase : Phase
        The phase that is trained.
    position : int
        Position of the training among all that the fit may have.
    """

    def __init__(
        self,
        fit_context: Any,
        estimator: BaseEstimator,
        X: object,
        y: object,
        data: Batches,
        learned: Callable[[DeepNet], dict[str, Any]],
        phase: Phase,
        position: int,
    ) -> None:
        self.training = fit_context.subcontext(
            phase.name, task_id=position, max_subtasks=phase.n_epochs
        )
        self.data, self.learned, self.phase = data, learned, phase
        self.given = dict(estimator=estimator, X=X, y=y)

    def on_train_begin(self, net: DeepNet, **kwargs: Any) -> None:
        """Begin the task of the training."""
        self.training.call_on_fit_task_begin(**self.given)

    def on_epoch_begin(self, net: DeepNet, **kwargs: Any) -> None:
        """Begin a task of its own for every epoch."""
        self.epoch_ = self.training.subcontext("epoch")
        self.epoch_.call_on_fit_task_begin(**self.given)

    def on_epoch_end(self, net: DeepNet, **kwargs: Any) -> None:
        """End it, and the training if a callback returns true."""

        def attributes() -> dict[str, Any]:
            # callbacks that predict need the weights of the modalities so far
            if self.phase.learns_weights:
                freeze_fusion_weights(net, self.data)
            return self.learned(net)

        if self.epoch_.call_on_fit_task_end(
            **self.given, reconstruction_attributes=attributes
        ):
            raise KeyboardInterrupt  # the signal by which callbacks of skorch stop

    def on_train_end(self, net: DeepNet, **kwargs: Any) -> None:
        """End the task of the training."""
        self.training.call_on_fit_task_end(**self.given)
