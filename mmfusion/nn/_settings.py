"""Settings of a training: what a Trainer leaves open, filled in by the method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import torch

from mmfusion._sklearn_compat import Interval

POSITIVE = Interval(Real, 0, None, closed="neither")
AUTO_STEPS = 400  # batches that 'auto' epochs make at least


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training, all of them given.

    Parameters
    ----------
    max_epochs, pretrain_epochs : int or 'auto'
        Number of epochs of the main phase and of pretraining.
    batch_size : int or 'auto'
        Samples of a batch.
    lr, pretrain_lr : dict of str to float
        Learning rates of the main phase and of pretraining, by module.
    betas : dict of str to tuple of float
        Coefficients of Adam by module.
    lr_schedule : {'cosine', 'constant'}
        Course of the learning rates over a phase.
    clip_norm : float or None
        Largest norm of the gradient of the network.
    alternate : bool
        Whether network and discriminators take every other batch.
    discriminator_rest : float
        Share of the loss of chance below which discriminators skip a batch.
    selection : str
        Criterion by which restarts and epochs are compared.
    selection_every : int
        Epochs between two evaluations; 0 keeps the last epoch.
    device : torch.device
        Device to train on.
    dtype : {'float32', 'float64', 'bfloat16'}
        Type to train in.
    compile : bool
        Whether the network is compiled.
    callbacks : list
        Callbacks of skorch.
    checkpoint_dir : Path or None
        Folder of checkpoints.
    checkpoint_every : int
        Epochs between two checkpoints.
    n_jobs : int or None
        Restarts at a time.
    verbose : bool
        Whether progress bars are shown.
    """

    max_epochs: int | Literal["auto"]
    pretrain_epochs: int | Literal["auto"]
    batch_size: int | Literal["auto"]
    lr: Mapping[str, float]
    pretrain_lr: Mapping[str, float]
    betas: Mapping[str, tuple[float, float]]
    lr_schedule: str
    clip_norm: float | None
    alternate: bool
    discriminator_rest: float
    selection: str
    selection_every: int
    device: torch.device
    dtype: str
    compile: bool
    callbacks: list[Any]
    checkpoint_dir: Path | None
    checkpoint_every: int
    n_jobs: int | None
    verbose: bool

    @property
    def n_batch_samples(self) -> int:
        """Samples of a batch as a number; 'auto' has been filled in by then."""
        return int(self.batch_size)

    @property
    def full_dtype(self) -> torch.dtype:
        """Type of parameters and inputs."""
        return torch.float64 if self.dtype == "float64" else torch.float32

    @property
    def autocast(self) -> torch.dtype | None:
        """Type of mixed precision, if there is any."""
        return torch.bfloat16 if self.dtype == "bfloat16" else None

    def description(self) -> list[Any]:
        """Return plain values that two trainings share if their phases train alike."""
        betas = sorted(self.betas.items())
        plain = [self.batch_size, self.lr_schedule, self.clip_norm, self.dtype]
        return [*plain, str(self.device), betas]


def auto_epochs(n_samples: int, batch_size: int, at_least: int = 1) -> int:
    """Return the number of epochs that make `AUTO_STEPS` batches."""
    n_steps = max(1, n_samples // batch_size)
    return max(at_least, math.ceil(AUTO_STEPS / n_steps))


def merge_by_module(
    given: Any, default: Mapping[str, Any], modules: Sequence[str], parameter: str
) -> dict[str, Any]:
    """Merge an option that may be a dict by module into the defaults of a method.

    Parameters
    ----------
    given : object or dict
        A value for the network, or a dict of values by module; None is no value.
    default : dict of str to object
        Values by module; one that is missing follows the network.
    modules : sequence of str
        Modules that may have a value of their own.
    parameter : str
        Name of the option in errors.

    Returns
    -------
    dict of str to object
        Values by module; always that of 'network'.

    Raises
    ------
    ValueError
        If a dict names another module.
    """
    if given is None:
        return dict(default)
    if not isinstance(given, Mapping):
        return {**default, "network": given}
    unknown = [name for name in given if name not in modules]
    if unknown:
        raise ValueError(
            f"{parameter} names {unknown}; the modules with a value of their own are "
            f"{list(modules)}"
        )
    return {**default, **given}


def check_rates(rates: Mapping[str, Any], parameter: str) -> dict[str, float]:
    """Return learning rates as float; refuse those that are not positive numbers."""
    for name, rate in rates.items():
        if not POSITIVE.is_satisfied_by(rate):
            raise ValueError(
                f"{parameter}[{name!r}]={rate!r} must be a positive, finite number"
            )
    return {name: float(rate) for name, rate in rates.items()}


def check_betas(pairs: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return pairs of coefficients of Adam; refuse what is none in [0, 1)."""
    checked = {}
    for name, pair in pairs.items():
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2
        if not is_pair or not all(
            isinstance(beta, Real) and 0 <= float(beta) < 1 for beta in pair
        ):
            raise ValueError(
                f"betas={pair!r} of {name!r} must be two numbers from [0, 1)"
            )
        checked[name] = (float(pair[0]), float(pair[1]))
    return checked
