"""Options, rates, steps and checks of trainings with a loop of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from mmfusion.nn._optimizers import cosine_share
from mmfusion.nn._trainer import Trainer, TrainingSettings, resolve_settings
from mmfusion.nn._training import DivergenceError

# options of a trainer that concern phases, restarts and nets of skorch
WITHOUT_EFFECT = (
    "selection",
    "selection_every",
    "compile",
    "callbacks",
    "n_jobs",
    "verbose",
)
# where nothing is stored in the course of a training
WITHOUT_CHECKPOINTS = (*WITHOUT_EFFECT, "checkpoint_dir", "checkpoint_every")


def descent_settings(
    trainer: Trainer | None,
    defaults: Mapping[str, Any],
    without_effect: tuple[str, ...],
    estimator: str,
) -> TrainingSettings:
    """Check the trainer of an estimator, and fill in the defaults.

    Parameters
    ----------
    trainer : Trainer or None
        The trainer; None is one without options.
    defaults : mapping of str to object
        Value of every option that the trainer may leave open.
    without_effect : tuple of str
        Options that are refused.
    estimator : str
        Name of the class, for errors.

    Returns
    -------
    TrainingSettings
        The settings.

    Raises
    ------
    ValueError
        If an option is out of range, or has no effect.
    """
    settings = resolve_settings(
        trainer, defaults, ("network",), ("total",), defaults["batch_size"]
    )
    given = {} if trainer is None else trainer.get_params(deep=False)
    default = Trainer().get_params(deep=False)
    for name in without_effect:
        if given.get(name, default[name]) != default[name]:
            raise ValueError(
                f"{name}={given[name]!r} of the trainer has no effect on a "
                f"{estimator}; leave {name} out"
            )
    if settings.autocast is not None:
        raise ValueError(
            f"dtype='bfloat16' of the trainer is too coarse for a {estimator}; set "
            "trainer__dtype='float32' or 'float64'"
        )
    return settings


def set_rate(optimizer: Optimizer, settings: TrainingSettings, progress: float) -> None:
    """Set the learning rate at a part of the training that is done, from 0 to 1."""
    share = cosine_share(progress) if settings.lr_schedule == "cosine" else 1.0
    for group in optimizer.param_groups:
        group["lr"] = settings.lr["network"] * share


def descend(
    network: nn.Module, optimizer: Optimizer, loss: Tensor, clip_norm: float | None
) -> None:
    """Change the parameters of a network against the gradient of a loss."""
    optimizer.zero_grad()
    loss.backward()
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    optimizer.step()


def check_finite(loss: Tensor, epoch: int, remedy: str) -> None:
    """Raise an error if a loss is NaN or infinite."""
    if not loss.isfinite():
        raise DivergenceError(
            f"the loss is {float(loss.detach())} in epoch {epoch}: lower trainer__lr, "
            f"or {remedy}"
        )
