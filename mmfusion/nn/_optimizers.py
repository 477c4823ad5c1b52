"""Optimizers by name or class, made for the modules of a network."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.optim import Optimizer

# a name in torch.optim, a class, or a callable with the signature of one
OptimizerLike: TypeAlias = str | Callable[..., Optimizer] | None
# of a step that evaluates the loss several times, or for other parameters
_UNFIT = ("lbfgs", "muon", "optimizer", "sparseadam")
LOWEST_RATE_SHARE = 0.01  # of the learning rate, at the end of a cosine
_PLACEHOLDER_RATE = 1e-3  # until a phase sets that of the trainer
_BY_NAME: dict[str, type[Optimizer]] = {
    name.lower(): kind
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and issubclass(kind, Optimizer)
}


def resolve_optimizer(given: OptimizerLike) -> Callable[..., Optimizer] | None:
    """Return the optimizer that a trainer names.

    Parameters
    ----------
    given : str, class, callable or None
        The parameter `optimizer` of a Trainer.

    Returns
    -------
    callable or None
        Class, or callable with the signature of one; None is the default.

    Raises
    ------
    TypeError
        If it is an optimizer that was made for other parameters.
    ValueError
        If there is none of that name, or it is for other steps.
    """
    if isinstance(given, Optimizer):
        kind = type(given).__name__
        raise TypeError(
            f"optimizer is an instance of {kind}, of other parameters; give its "
            f"class, or its name {kind.lower()!r}"
        )
    if not isinstance(given, str):
        found = given
    else:
        found = _BY_NAME.get(given.lower())
        if found is None:
            names = sorted(set(_BY_NAME) - set(_UNFIT))
            raise ValueError(f"optimizer={given!r} is not one of {names}")
    plain = found.func if isinstance(found, partial) else found
    if getattr(plain, "__name__", "").lower() in _UNFIT:
        raise ValueError(
            f"optimizer {plain.__name__} does not train a network by one step per "  # type: ignore[union-attr]
            "batch; give another one, such as 'adamw' or 'sgd'"
        )
    return found


def describe_optimizer(optimizer: Callable[..., Optimizer] | None) -> str:
    """Return a text that two optimizers share if they are the same."""
    if optimizer is None:
        return "default"
    if isinstance(optimizer, partial):
        options = [list(optimizer.args), sorted(optimizer.keywords.items())]
        return f"{describe_optimizer(optimizer.func)} {options}"
    return f"{optimizer.__module__}.{optimizer.__qualname__}"


def cosine_share(progress: float) -> float:
    """Return the share of a learning rate, which falls along half a cosine.

    Parameters
    ----------
    progress : float
        Part of the training that is done, from 0 to 1.

    Returns
    -------
    float
        The share, from 1 to `LOWEST_RATE_SHARE`.
    """
    height = (1 + math.cos(math.pi * progress)) / 2
    return LOWEST_RATE_SHARE + (1 - LOWEST_RATE_SHARE) * height


def make_optimizer(
    optimizer: Callable[..., Optimizer] | None,
    weight_decay: float | None,
    parameters: Mapping[str, Sequence[nn.Parameter]],
    betas: Mapping[str, tuple[float, float]],
) -> Optimizer:
    """Make the optimizer of some modules.

    Parameters
    ----------
    optimizer : callable or None
        Class, or callable with the signature of one; None is Adam.
    weight_decay : float or None
        Its weight decay; None is its own default.
    parameters : dict of str to list of Parameter
        Parameters by module, each of which is a group with its name as 'part'.
    betas : dict of str to tuple of float
        Coefficients of the default by module; those of 'network' by default.

    Returns
    -------
    Optimizer
        The optimizer; phases set its learning rates.

    Raises
    ------
    ValueError
        If it cannot be made.
    """
    groups: list[dict[str, Any]] = [
        {"params": own, "part": name} for name, own in parameters.items()
    ]
    options: dict[str, Any] = {}
    if weight_decay is not None:
        options["weight_decay"] = float(weight_decay)
    if optimizer is None:
        default = betas.get("network", (0.9, 0.999))
        for group in groups:
            group["betas"] = betas.get(group["part"], default)
        # fused: one call per group instead of one per parameter
        return torch.optim.Adam(groups, fused=True, **options)
    if optimizer is torch.optim.AdamW:
        options["fused"] = True  # as above
    if "lr" in inspect.signature(optimizer).parameters:
        options["lr"] = _PLACEHOLDER_RATE
    try:
        made = optimizer(groups, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"optimizer {describe_optimizer(optimizer)} cannot be made with "
            f"{options}: {error}"
        ) from error
    if not isinstance(made, Optimizer):
        raise TypeError(
            f"optimizer {describe_optimizer(optimizer)} returned a "
            f"{type(made).__name__}, not a torch Optimizer"
        )
    return made
