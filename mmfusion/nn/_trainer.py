"""Trainer: options of the training of a deep estimator, and their defaults."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback

from mmfusion._sklearn_compat import (
    INTEGER,
    CallbackSupportMixin,
    Interval,
    StrOptions,
)
from mmfusion._typing import DeviceLike
from mmfusion.base import DefaultEstimatorParams
from mmfusion.nn._devices import resolve_device
from mmfusion.nn._optimizers import (
    OptimizerLike,
    describe_optimizer,
    resolve_optimizer,
)

_POSITIVE = Interval(Real, 0, None, closed="neither")
AUTO_STEPS = 400  # batches that 'auto' epochs make at least
_COUNT = Interval(Integral, 1, None, closed="left")
_COUNT_OR_0 = Interval(Integral, 0, None, closed="left")
_AUTO = StrOptions({"auto"})
# parameters that do not change the network that a training ends with
NOT_OF_THE_NETWORK = (
    "callbacks",
    "checkpoint_dir",
    "checkpoint_every",
    "n_jobs",
    "verbose",
)


class Trainer(BaseEstimator):
    """Options of the training of a deep estimator.

    A deep estimator takes a Trainer as its parameter ``trainer``, so that a search
    names the options ``trainer__lr``, ``trainer__max_epochs`` and so on. Options that
    are None have the default of the method, which its own page lists; without a
    trainer all have.

    Parameters
    ----------
    max_epochs : int or 'auto', default=None
        Number of epochs of the main phase; 'auto' makes at least 400 batches.
    pretrain_epochs : int or 'auto', default=None
        Number of epochs of pretraining, in methods that have it; 0 leaves it out.
        'auto' is at least 10, and at least 400 batches.
    batch_size : int or 'auto', default=None
        Samples of a batch; 'auto' is 50, or twice the number of clusters if that is
        more.
    lr : float or dict of str to float, default=None
        Learning rate of the main phase. A number is that of the network; a dict holds
        rates by module, such as 'network', 'attention' and 'discriminators'. Modules
        that are not named keep the default of the method, or follow the network if
        they have none.
    pretrain_lr : float or dict of str to float, default=None
        Learning rate of pretraining, in the same form.
    optimizer : str, torch Optimizer class or callable, default=None
        Optimizer of every module: a name in ``torch.optim``, such as 'adamw' or 'sgd';
        a class; or a callable with the signature of one, which fixes options, such as
        ``functools.partial(torch.optim.SGD, momentum=0.9)``. It has the learning rates
        of the trainer, whose defaults suit Adam, the default.
    weight_decay : float, default=None
        Weight decay of the optimizer; None is its own default.
    lr_schedule : {'cosine', 'constant'}, default=None
        Course of the learning rates over each phase; 'cosine' lowers them to a
        hundredth.
    clip_norm : float, default=None
        Largest norm of the gradient of the network; infinity is no limit.
    adversary : dict, default=None
        Options of the training against discriminators: ``alternate``, whether network
        and discriminators are trained on every other batch of an epoch each (otherwise,
        and where an epoch has one batch, both are trained on every batch); and
        ``gradient_penalty``, the weight of the squared slope of discriminators, which
        keeps them from winning (0 leaves it out).
    selection : str, default=None
        Criterion by which restarts and epochs are compared; 'total' is the whole
        objective, others are those of the method. Restarts with problems, such as empty
        clusters, come last; by 'total', as published, they count as others do.
    selection_every : int, default=None
        Number of epochs of the main phase between evaluations, of which the best is
        kept. 0 keeps the last epoch.
    device : str or torch.device, default='auto'
        Device to train on; 'auto' is CUDA where it is available, and otherwise the CPU,
        which is the faster one for small layers and batches.
    dtype : {'float32', 'float64', 'bfloat16'}, default='float32'
        Floating-point type to train in; 'bfloat16' is mixed precision.
    compile : bool, default=False
        Whether the network goes through ``torch.compile``.
    callbacks : list of skorch callbacks, default=None
        Callbacks of every phase. ``net.history[-1]`` holds the losses of an epoch, by
        name; 'train_loss' is their weighted sum, for example for
        ``EarlyStopping('train_loss')``. There are no validation data. A callable of
        ``EpochScoring(..., on_train=True)`` may call ``net.predict(X)``, which returns
        the clusters so far. Those that set learning rates need
        ``lr_schedule='constant'``.
        Callbacks of scikit-learn, from 1.9 on, go to ``set_callbacks`` of the
        estimator.
    checkpoint_dir : str or Path, default=None
        Folder for checkpoints. A `fit` with the same parameters and data, by the same
        versions of mmfusion and torch, compiled or not, resumes the training that it
        finds there, and ends as if it had not been interrupted; calls of `partial_fit`
        are resumed, too. What a callback has ended stays as it is, as long as the
        callbacks are the same. A damaged checkpoint is ignored, with a warning.
    checkpoint_every : int, default=10
        Number of epochs, or of calls of `partial_fit`, between two checkpoints.
    n_jobs : int, default=None
        Number of restarts at a time, in processes of joblib.
    verbose : int, default=0
        Whether to show a progress bar.

    See Also
    --------
    EAMCClusterer : A clusterer with adversarial training.

    Examples
    --------
    >>> from mmfusion import EAMCClusterer, Trainer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> trainer = Trainer(pretrain_epochs=10, max_epochs=5, device="cpu")
    >>> clusterer = EAMCClusterer(
    ...     3, encoders=[16, 8], trainer=trainer, random_state=0
    ... )
    >>> clusterer.fit(X).n_iter_
    15
    >>> clusterer = clusterer.set_params(trainer__max_epochs=2)
    >>> clusterer.fit(X).n_iter_
    12
    """

    _parameter_constraints: dict = {
        "max_epochs": [_AUTO, _COUNT_OR_0, None],
        "pretrain_epochs": [_AUTO, _COUNT_OR_0, None],
        "batch_size": [_AUTO, Interval(Integral, 2, None, closed="left"), None],
        "lr": [_POSITIVE, dict, None],
        "pretrain_lr": [_POSITIVE, dict, None],
        # an instance has an error of its own
        "optimizer": [str, callable, torch.optim.Optimizer, None],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "lr_schedule": [StrOptions({"cosine", "constant"}), None],
        "clip_norm": [Interval(Real, 0, math.inf, closed="right"), None],
        "adversary": [dict, None],
        "selection": [str, None],
        "selection_every": [_COUNT_OR_0, None],
        "device": [str, torch.device],
        "dtype": [StrOptions({"float32", "float64", "bfloat16"})],
        "compile": ["boolean"],
        "callbacks": [list, None],
        "checkpoint_dir": [str, Path, None],
        "checkpoint_every": [_COUNT],
        "n_jobs": [INTEGER, None],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        max_epochs: int | str | None = None,
        pretrain_epochs: int | str | None = None,
        batch_size: int | str | None = None,
        lr: float | Mapping[str, float] | None = None,
        pretrain_lr: float | Mapping[str, float] | None = None,
        optimizer: OptimizerLike = None,
        weight_decay: float | None = None,
        lr_schedule: str | None = None,
        clip_norm: float | None = None,
        adversary: Mapping[str, Any] | None = None,
        selection: str | None = None,
        selection_every: int | None = None,
        device: DeviceLike = "auto",
        dtype: str = "float32",
        compile: bool = False,
        callbacks: list[Callback] | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 10,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.max_epochs = max_epochs
        self.pretrain_epochs = pretrain_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.pretrain_lr = pretrain_lr
        self.optimizer = optimizer
        self.weight_decay = weight_decay
        self.lr_schedule = lr_schedule
        self.clip_norm = clip_norm
        self.adversary = adversary
        self.selection = selection
        self.selection_every = selection_every
        self.device = device
        self.dtype = dtype
        self.compile = compile
        self.callbacks = callbacks
        self.checkpoint_dir = checkpoint_dir
        self.checkpoint_every = checkpoint_every
        self.n_jobs = n_jobs
        self.verbose = verbose


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of a training, all of them given.

    Parameters
    ----------
    max_epochs, pretrain_epochs : int or 'auto'
        Number of epochs of the main phase and of pretraining.
    batch_size : int
        Samples of a batch.
    lr, pretrain_lr : dict of str to float
        Learning rates of the main phase and of pretraining, by module.
    optimizer : callable or None
        Optimizer of every module; None is Adam with the coefficients of the method.
    weight_decay : float or None
        Its weight decay; None is its own default.
    betas : dict of str to tuple of float
        Coefficients of Adam by module, as the method has them.
    lr_schedule : {'cosine', 'constant'}
        Course of the learning rates over a phase.
    clip_norm : float or None
        Largest norm of the gradient of the network.
    alternate : bool
        Whether network and discriminators take every other batch.
    gradient_penalty : float
        Weight of the squared slope of discriminators.
    selection : str
        Criterion by which restarts and epochs are compared.
    selection_every : int
        Epochs between two evaluations; 0 keeps the last epoch.
    device : torch.device
        Device to train on.
    full_dtype : torch.dtype
        Type of parameters and inputs.
    autocast : torch.dtype or None
        Type of mixed precision, if there is any.
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
    batch_size: int
    lr: Mapping[str, float]
    pretrain_lr: Mapping[str, float]
    optimizer: Callable[..., torch.optim.Optimizer] | None
    weight_decay: float | None
    betas: Mapping[str, tuple[float, float]]
    lr_schedule: str
    clip_norm: float | None
    alternate: bool
    gradient_penalty: float
    selection: str
    selection_every: int
    device: torch.device
    full_dtype: torch.dtype
    autocast: torch.dtype | None
    compile: bool
    callbacks: list[Any]
    checkpoint_dir: Path | None
    checkpoint_every: int
    n_jobs: int | None
    verbose: bool

    def description(self) -> list[Any]:
        """Return plain values that two trainings share if their phases train alike."""
        optimizer = describe_optimizer(self.optimizer)
        rules = [sorted(self.betas.items()), optimizer, self.weight_decay]
        plain = [self.batch_size, self.lr_schedule, self.clip_norm]
        types = [str(self.full_dtype), str(self.autocast)]
        return [*plain, *types, str(self.device), *rules]

    def make_checkpoint_folder(self) -> None:
        """Make the folder of checkpoints, if there is one, before training starts.

        Raises
        ------
        ValueError
            If it cannot be made or written.
        """
        folder = self.checkpoint_dir
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"checkpoint_dir={str(folder)!r} is not a folder, and cannot be "
                f"created: {error}"
            ) from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ValueError(f"checkpoint_dir={str(folder)!r} is not writable")


# values of options of phases and modules that a method need not have
_WITHOUT_PHASE: dict[str, Any] = {
    "pretrain_epochs": 0,
    "pretrain_lr": {},
    "adversary": {"alternate": False, "gradient_penalty": 0.0},
}
_GRADIENT_PENALTY = Interval(Real, 0, None, closed="left")


def resolve_settings(
    trainer: Trainer | None,
    defaults: Mapping[str, Any],
    modules: Sequence[str],
    criteria: Sequence[str],
    auto_batch_size: int,
) -> TrainingSettings:
    """Check a trainer and fill in the defaults of a method.

    Parameters
    ----------
    trainer : Trainer or None
        The trainer; None is one without options.
    defaults : dict of str to object
        Value of every option that the trainer may leave open. Options of pretraining
        and of discriminators are left out by a method that has none.
    modules : sequence of str
        Modules of the method with learning rates of their own.
    criteria : sequence of str
        Criteria of selection.
    auto_batch_size : int
        Batch size that 'auto' stands for.

    Returns
    -------
    TrainingSettings
        The settings.

    Raises
    ------
    ValueError
        If an option is out of range or without effect on the method, the device is
        not available, or the folder of checkpoints cannot be written.
    TypeError
        If a callback is none.
    """
    trainer = Trainer() if trainer is None else trainer
    trainer._validate_params()
    given = trainer.get_params(deep=False)
    for name in _WITHOUT_PHASE:
        if name not in defaults and given[name] is not None:
            # a search over it would compare the same training with itself
            raise ValueError(
                f"{name}={given[name]!r} of the trainer has no effect: the method has "
                f"no {'pretraining' if 'pretrain' in name else 'discriminators'}; "
                f"leave {name} out"
            )
    defaults = _WITHOUT_PHASE | dict(defaults)
    for name in ("lr", "pretrain_lr"):
        given[name] = merge_by_module(given[name], defaults[name], modules, name)
    adversary = _checked_adversary(given.pop("adversary"), defaults.pop("adversary"))
    values = dict(given) | adversary
    values["optimizer"] = resolve_optimizer(values["optimizer"])
    values["betas"] = defaults["betas"]
    for name, value in defaults.items():
        if values[name] is None:
            values[name] = value
    values["lr"] = check_rates(values["lr"], "lr")
    values["pretrain_lr"] = check_rates(values["pretrain_lr"], "pretrain_lr")
    if values["selection"] not in criteria:
        raise ValueError(
            f"selection={values['selection']!r} is not one of {sorted(criteria)}"
        )
    size = values["batch_size"]
    values["batch_size"] = auto_batch_size if size == "auto" else int(size)
    del values["dtype"]  # the settings have two types in place of its name
    is_double, is_mixed = trainer.dtype == "float64", trainer.dtype == "bfloat16"
    values["full_dtype"] = torch.float64 if is_double else torch.float32
    values["autocast"] = torch.bfloat16 if is_mixed else None
    clip_norm = values["clip_norm"]
    values["clip_norm"] = None if clip_norm in (None, math.inf) else float(clip_norm)
    values["device"] = resolve_device(values["device"])
    values["callbacks"] = _checked_callbacks(values["callbacks"])
    folder = values["checkpoint_dir"]
    values["checkpoint_dir"] = None if folder is None else Path(folder)
    values["verbose"] = bool(values["verbose"])
    return TrainingSettings(**values)


def _checked_callbacks(callbacks: list[Any] | None) -> list[Any]:
    """Return callbacks of skorch, or pairs of a name and one.

    Those that would do nothing, for lack of validation data or labels, are refused.
    """
    for callback in callbacks or []:
        named = isinstance(callback, tuple) and len(callback) == 2
        found = callback[1] if named else callback
        if not isinstance(found, Callback) and not (
            isinstance(found, type) and issubclass(found, Callback)
        ):
            raise TypeError(
                f"callbacks holds {callback!r}, which is neither a skorch callback nor "
                "a pair (name, callback); those of scikit-learn go to set_callbacks"
            )
        scoring = getattr(found, "scoring", None)
        if getattr(found, "on_train", True) is False or isinstance(scoring, str):
            what = f"{type(found).__name__}({scoring!r})"
            raise ValueError(
                f"callbacks holds {what}: training has no validation data and no "
                "labels. Give on_train=True, and a callable scoring(net, X, y), such "
                "as lambda net, X, y=None: adjusted_rand_score(labels, net.predict(X))"
            )
    return callbacks or []


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
        if not _POSITIVE.is_satisfied_by(rate):
            raise ValueError(
                f"{parameter}[{name!r}]={rate!r} must be a positive, finite number"
            )
    return {name: float(rate) for name, rate in rates.items()}


def _checked_adversary(
    given: Mapping[str, Any] | None, default: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options of the training against discriminators."""
    unknown = [name for name in given or {} if name not in default]
    if unknown:
        raise ValueError(f"adversary names {unknown}; its options are {list(default)}")
    options = {**default, **(given or {})}
    alternate, penalty = options["alternate"], options["gradient_penalty"]
    if not isinstance(alternate, bool | np.bool_):
        raise ValueError(f"adversary['alternate']={alternate!r}; give True or False")
    if not _GRADIENT_PENALTY.is_satisfied_by(penalty):
        raise ValueError(
            f"adversary['gradient_penalty']={penalty!r} must be a finite number of at "
            "least 0"
        )
    return {"alternate": bool(alternate), "gradient_penalty": float(penalty)}


class TrainerParamsMixin(DefaultEstimatorParams, CallbackSupportMixin, BaseEstimator):
    """An estimator whose parameter `trainer` may be None, a default Trainer."""

    trainer: Trainer | None

    def _default_estimators(self) -> Mapping[str, Callable[[], BaseEstimator]]:
        return {"trainer": Trainer}
