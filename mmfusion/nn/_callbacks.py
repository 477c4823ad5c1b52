"""What happens at the ends of an epoch: progress, selection, checkpoints, reports."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from skorch.callbacks import Callback
from tqdm import tqdm

from mmfusion.nn._checkpoint import Checkpoint
from mmfusion.nn._data import Batches
from mmfusion.nn._training import DivergenceError, evaluate, freeze_attention


class Progress(Callback):
    """A progress bar over the epochs of a phase.

    Parameters
    ----------
    label : str
        What is trained.
    """

    def __init__(self, label: str) -> None:
        self.label = label

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Open the bar."""
        done = len(net.history) - net.phase_start_
        self.bar_ = tqdm(
            total=net.phase_epochs_,
            initial=done,
            desc=f"{self.label}, {net.phase_name_}",
            unit="epoch",
            leave=False,
        )

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Move the bar and show the loss."""
        self.bar_.set_postfix(loss=f"{net.history[-1]['train_loss']:.3f}")
        self.bar_.update()

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar_.close()


class StopAtNaN(Callback):
    """Stop training once a loss is not finite."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Look at the loss of the epoch."""
        if not math.isfinite(net.history[-1].get("train_loss", math.nan)):
            raise DivergenceError("a loss became NaN or infinite")


class Selection(Callback):
    """Keep the network of the epoch whose loss over all samples is lowest.

    Parameters
    ----------
    data : Batches
        All samples.
    term : {'clustering', 'total'}
        Which loss.
    every : int
        Epochs between two evaluations.
    seed : int
        Of the order of samples in evaluations.
    """

    def __init__(self, data: Batches, term: str, every: int, seed: int) -> None:
        self.data, self.term, self.every, self.seed = data, term, every, seed

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Forget an earlier training, unless one is resumed."""
        if len(net.history) == net.phase_start_:
            net.best_, net.best_loss_ = None, math.inf

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Evaluate now and then."""
        if (len(net.history) - net.phase_start_) % self.every:
            return
        freeze_attention(net, self.data)
        loss = evaluate(net, self.data, self.seed)[self.term]
        if loss < net.best_loss_:
            net.best_loss_ = loss
            net.best_ = copy.deepcopy(net.module_.state_dict())

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Go back to the best epoch."""
        if net.best_ is not None:
            net.module_.load_state_dict(net.best_)


class Save(Callback):
    """Write a checkpoint every few epochs.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where to.
    every : int
        Epochs between two.
    generator : torch.Generator
        Of the order of samples; its state is part of the checkpoint.
    """

    def __init__(
        self, checkpoint: Checkpoint, every: int, generator: torch.Generator
    ) -> None:
        self.checkpoint, self.every, self.generator = checkpoint, every, generator

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Write, if it is time."""
        done = len(net.history) - net.phase_start_
        if done % self.every == 0 or done == net.phase_epochs_:
            self.checkpoint.save(net, done, self.generator)


class Report(Callback):
    """Tell scikit-learn's callbacks of a training and its epochs; they may end it.

    Parameters
    ----------
    training : CallbackContext
        That of the training, in the tree of scikit-learn's tasks.
    estimator : estimator
        In its `fit`.
    X, y : object
        What it is fitted on.
    fitted : callable
        Takes the net and gives what the estimator would be fitted with.
    """

    def __init__(
        self,
        training: Any,
        estimator: Any,
        X: Any,
        y: Any,
        fitted: Callable[[Any], dict[str, Any]],
    ) -> None:
        self.training, self.fitted = training, fitted
        self.given = dict(estimator=estimator, X=X, y=y)

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin the task of the training."""
        self.training.call_on_fit_task_begin(**self.given)

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin a task of its own for every epoch."""
        self.epoch_ = self.training.subcontext("epoch")
        self.epoch_.call_on_fit_task_begin(**self.given)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """End it, and the training where a callback asks for that."""
        if self.epoch_.call_on_fit_task_end(
            **self.given, reconstruction_attributes=lambda: self.fitted(net)
        ):
            raise KeyboardInterrupt  # as skorch's callbacks do

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """End the task of the training."""
        self.training.call_on_fit_task_end(**self.given)
