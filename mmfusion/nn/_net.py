"""The skorch net of deep estimators, its objectives and the phases of its training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.exceptions import SkorchException
from torch import Tensor, nn

from mmfusion.nn import _distributed
from mmfusion.nn._data import Batch, Batches, ShuffledSampler, Targets
from mmfusion.nn._isolation import flushing_denormals
from mmfusion.nn._network import FusionNetwork, Outputs, evaluating
from mmfusion.nn._optimizers import cosine_share, make_optimizer

SCREENED_SHARE = 1 / 3  # of the epochs of a phase, after which restarts are screened
PREDICTED_ROWS = 1024  # samples in memory at a time, where callbacks predict


class EncodedBatch(NamedTuple):
    """Samples of a batch, and their latents.

    Parameters
    ----------
    latents : tensor of shape (V, m, d)
        Latent of each sample in each modality; zeros where it is not observed.
    observed : tensor of bool of shape (m, V) or None
        Which modalities of a sample are observed; None is all.
    inputs : sequence of tensor of shape (m, ...)
        The prepared samples of each modality.
    targets : Targets or None, default=None
        Targets of the samples, in the training of a predictor.
    """

    latents: Tensor
    observed: Tensor | None
    inputs: Sequence[Tensor]
    targets: Targets | None = None


# Objectives


class Objective:
    """Objective of a phase: ``sum_t weight_t(p) * term_t``, which a network minimises.

    The weights may depend on the progress p of the phase, from 0 to 1. Subclasses are
    frozen dataclasses of plain numbers: they are pickled, and their repr is part of
    the fingerprint of a checkpoint.
    """

    # sums of some terms by which restarts and epochs can be compared, beside 'total'
    criteria: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    # whether a batch is all samples in their order, where losses are evaluated, too
    whole_batch: ClassVar[bool] = False

    def begin_epoch(self, net: DeepNet, data: Batches, n_done: int) -> None:
        """Prepare a net for an epoch; what changes belongs to a module or a part.

        Parameters
        ----------
        net : DeepNet
            The net.
        data : Batches
            All samples; under `partial_fit`, those of the call.
        n_done : int
            Number of epochs of the phase that are done.
        """

    def terms(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute the terms of a batch, unweighted.

        Parameters
        ----------
        net : DeepNet
            The net, whose `fuse` continues from latents.
        batch : EncodedBatch
            The batch and its latents.

        Returns
        -------
        dict of str to tensor of shape ()
            The terms that have a weight.
        """
        raise NotImplementedError

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weight of each term at a progress of the phase from 0 to 1."""
        raise NotImplementedError

    def step(self, net: DeepNet, batch: Any) -> dict[str, Tensor]:
        """Train a net on one batch.

        Parameters
        ----------
        net : DeepNet
            The net.
        batch : Batch
            An element of an epoch of the phase.

        Returns
        -------
        dict of str to tensor of shape ()
            The terms, and their weighted sum as 'loss'; recorded in the history.
        """
        terms = self.terms(net, net.encode(batch))
        return net.minimize(terms, self.weights(net.progress_))

    def losses(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute every term of a batch and the criteria; parameters as of `terms`.

        Returns
        -------
        dict of str to tensor of shape ()
            The terms, unweighted; 'total', the weighted sum of all; and the weighted
            sum of each group of terms in `criteria`.
        """
        terms = self.terms(net, batch)
        weights, zero = self.weights(1.0), batch.latents.new_zeros(())
        sums = {}
        for name, group in self.criteria.items():
            own = {term: terms[term] for term in group if term in terms}
            sums[name] = weighted_sum(own, weights, zero)
        return terms | sums | {"total": weighted_sum(terms, weights, zero)}

    def has_converged(self, net: DeepNet) -> bool:
        """Return whether a phase ends after an epoch of `fit`, before its last one.

        Calls of `partial_fit`, which have some of the samples only, end no phase.
        """
        return False

    def find_problems(self, net: DeepNet) -> list[str]:
        """List what is unhealthy about a net at the end of a phase."""
        return []


def weighted_sum(
    terms: Mapping[str, Tensor], weights: Mapping[str, float], empty: Tensor
) -> Tensor:
    """Add up weighted terms; without any, return `empty`."""
    if not terms:
        return empty
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum(0)


# Phases


class Epoch(Protocol):
    """Batches of one epoch; every iteration is another epoch."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class Sampler(Protocol):
    """Source of the batches of a phase. It pickles, and its repr describes it."""

    def fit(self, data: Batches, random_state: np.random.RandomState) -> Self:
        """Compute what the epochs of all restarts share, such as neighbours."""

    def epoch(
        self, data: Batches, batch_size: int, generator: torch.Generator
    ) -> Epoch:
        """Return an epoch whose order is drawn from the generator."""


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
        Objective that is minimised.
    rates : dict of str to float
        Learning rate of 'network' and of every module that has its own.
    sampler : Sampler, default=ShuffledSampler()
        Source of the epochs.
    parts : tuple of str, default=()
        Parts of the net that the phase changes; they belong to its checkpoints.
    compete : callable, default=None
        Ends the phase and scores a restart: takes the net and an epoch, the same for
        all restarts, and returns a score, lower for better. Only the best goes on to
        the next phase. None lets every restart go on.
    screen : callable, default=None
        Scores a restart in the same way after a part of the epochs, where only the
        best goes on to the others. None trains every restart to the end of the phase.
    learns_weights : bool, default=True
        Whether the weights of the modalities that `predict` uses are computed from
        the training data at the end. Otherwise they stay as they are.
    n_before, n_after : int, default=0
        Number of epochs of the other part of a phase that has been split.
    """

    name: str
    n_epochs: int
    objective: Objective
    rates: Mapping[str, float]
    sampler: Sampler = field(default_factory=ShuffledSampler)
    parts: tuple[str, ...] = ()
    compete: Callable[[DeepNet, Any], float] | None = None
    screen: Callable[[DeepNet, Any], float] | None = None
    learns_weights: bool = True
    n_before: int = 0
    n_after: int = 0

    def description(self) -> list[Any]:
        """Return plain values that two phases share if they train alike."""
        rates = sorted(self.rates.items())
        training = [repr(self.objective), repr(self.sampler)]
        course = [self.n_before, self.n_epochs, self.n_after]
        return [self.name, course, rates, *training]

    def split(self) -> list[Phase]:
        """Split the phase where restarts are screened, if they are."""
        n_first = round(SCREENED_SHARE * self.n_epochs)
        if self.screen is None or not n_first:
            return [self]
        n_rest, whole = self.n_epochs - n_first, replace(self, screen=None)
        first = replace(whole, n_epochs=n_first, compete=self.screen, n_after=n_rest)
        return [first, replace(whole, n_epochs=n_rest, n_before=n_first)]


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
    net.phase_before_, net.phase_after_ = phase.n_before, phase.n_after
    net.phase_start_ = len(net.history) - done
    for optimizer in net.optimizers_:
        for group in optimizer.param_groups:
            # modules without a rate of their own follow the network
            rate = phase.rates.get(group["part"], phase.rates["network"])
            group["lr"] = group["initial_lr"] = rate
    net.set_progress(done)


# The net


class StoppedByCallback(Exception):
    """A callback ended a training."""


class DeepNet(NeuralNet):
    """Trains a `FusionNetwork`, and further modules beside it, phase by phase.

    An epoch is any iterable of batches with a length. What a batch is, and which terms
    are minimised on it, is up to the objective of the phase (see `begin_phase`).

    Parameters
    ----------
    module : FusionNetwork
        The network that predicts.
    parts : dict of str to Module, default=None
        Modules that belong to the training, such as discriminators. Those with
        parameters that require gradients get an optimizer of their own.
    separate : sequence of str, default=()
        Modules of the network, by attribute, with learning rates of their own.
    optimizer : callable, default=None
        Class of the optimizers, or a callable with the signature of one; None is Adam.
    weight_decay : float, default=None
        Weight decay of the optimizers; None is their own default.
    betas : dict of str to tuple of float, default=None
        Coefficients of Adam by module; those of 'network' by default.
    clip_norm : float, default=None
        Largest norm of the gradient of the network. None is no limit.
    schedule : {'cosine', 'constant'}, default='cosine'
        Course of the learning rates over the epochs of a phase.
    autocast : torch.dtype, default=None
        Type of mixed precision. None is full precision.
    **kwargs : dict
        Parameters of skorch's NeuralNet.
    """

    phase_name_: str
    phase_epochs_: int
    phase_before_: int
    phase_after_: int
    phase_start_: int
    progress_: float
    step_: int  # of the epoch
    n_steps_: int
    objective_: Objective
    module_: FusionNetwork

    def __init__(
        self,
        module: FusionNetwork,
        *,
        parts: Mapping[str, nn.Module] | None = None,
        separate: tuple[str, ...] = (),
        optimizer: Callable[..., torch.optim.Optimizer] | None = None,
        weight_decay: float | None = None,
        betas: Mapping[str, tuple[float, float]] | None = None,
        clip_norm: float | None = None,
        schedule: str = "cosine",
        autocast: torch.dtype | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, criterion=None, optimizer=optimizer, **kwargs)
        self.parts, self.separate = parts, separate
        self.weight_decay, self.betas = weight_decay, betas
        self.clip_norm, self.schedule, self.autocast = clip_norm, schedule, autocast

    @property
    def _default_callbacks(self) -> list[Any]:
        return []

    # Modules and optimizers

    def initialize_module(self) -> DeepNet:
        """Send the network and the parts to the device."""
        super().initialize_module()
        # skorch moves the network only after this; its type may be float64
        dtype = self.module_.frozen.dtype
        parts = (self.parts or {}).items()
        self.parts_ = {name: part.to(self.device, dtype) for name, part in parts}
        return self

    def torch_compile(self, module: nn.Module, name: str) -> nn.Module:
        """Compile in place: names in the state stay those of an uncompiled network."""
        if self.compile:
            module.compile(**self.get_params_for("compile"))
        return module

    def initialize_criterion(self) -> DeepNet:
        """Make nothing: objectives belong to phases."""
        return self

    def initialize_optimizer(self) -> DeepNet:
        """Make one for the network and one for each part with parameters."""
        modules = {name: getattr(self.module_, name, None) for name in self.separate}
        separate = {
            n: list(m.parameters()) for n, m in modules.items() if m is not None
        }
        taken = {id(p) for own in separate.values() for p in own}
        others = [p for p in self.module_.parameters() if id(p) not in taken]
        self.optimizer_ = self._make_optimizer({"network": others} | separate)
        self.part_optimizers_ = {}
        for name, part in self.parts_.items():
            if own := [p for p in part.parameters() if p.requires_grad]:
                self.part_optimizers_[name] = self._make_optimizer({name: own})
        return self

    def _make_optimizer(
        self, parameters: Mapping[str, list[nn.Parameter]]
    ) -> torch.optim.Optimizer:
        return make_optimizer(
            self.optimizer, self.weight_decay, parameters, self.betas or {}
        )

    @property
    def optimizers_(self) -> list[torch.optim.Optimizer]:
        """All optimizers, that of the network first."""
        return [self.optimizer_, *self.part_optimizers_.values()]

    # An epoch

    def partial_fit(
        self, X: Any, y: Any = None, classes: Any = None, *, epochs: int = 1
    ) -> DeepNet:
        """Train for some epochs, or until a callback stops; Ctrl-C is passed on."""
        self.notify("on_train_begin", X=X, y=y)
        try:
            self.fit_loop(X, y, epochs=epochs)
        except StoppedByCallback:
            for _, callback in self.callbacks_:
                if hasattr(callback, "on_stop"):
                    callback.on_stop(self)
        finally:
            self.notify("on_train_end", X=X, y=y)
        return self

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Call the callbacks; to stop, those of skorch raise what Ctrl-C raises."""
        getattr(self, method_name)(self, **kwargs)
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **kwargs)
            except KeyboardInterrupt as stop:
                # in an own callback it is Ctrl-C: they never stop a training by it
                if getattr(callback, "never_stops", False):
                    raise
                raise StoppedByCallback from stop
            except (KeyError, SkorchException) as error:
                self._name_columns(callback, error)
                raise

    def _name_columns(self, callback: Any, error: Exception) -> None:
        """Raise an error that names what a callback may monitor, if that is missing."""
        monitor = getattr(callback, "monitor", None)
        last = self.history[-1] if self.history else {}
        if not isinstance(monitor, str) or monitor in last:
            return
        columns = [name for name in last if name not in ("batches", "epoch", "phase")]
        remedy = "Give monitor='train_loss', or another of"
        if monitor.endswith("_best"):  # whether an epoch was the best so far
            remedy = (
                "Give monitor=None, or a column '<name>_best' that "
                "EpochScoring(..., name=..., on_train=True) adds to"
            )
        raise ValueError(
            f"{type(callback).__name__} monitors {monitor!r}, which is not in the "
            f"history of the phase {self.phase_name_!r}: there are no validation data. "
            f"{remedy} {columns}"
        ) from error

    def predict(self, X: Any) -> np.ndarray:
        """Assign the samples of an epoch to the clusters so far, for callbacks.

        Parameters
        ----------
        X : Epoch or Batches
            What callbacks are given as the training data.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            Position of the largest logit, in the order of the samples of `fit`; while
            heads compete, of the first one.
        """
        found = []
        with evaluating(self.module_):
            for _, (inputs, observed, _) in getattr(X, "data", X).chunks(
                PREDICTED_ROWS
            ):
                latents = self.module_.encode(inputs, observed)
                weights = self.module_.weigh(latents, observed)
                logits = self.module_(None, observed, latents, weights).logits
                logits = logits[0] if logits.ndim == 3 else logits
                found.append(logits.argmax(1).cpu().numpy())
        return np.concatenate(found)

    def fit_loop(
        self, X: Any, y: Any = None, epochs: int | None = None, **params: Any
    ) -> DeepNet:
        """Train for some epochs on the batches of X; there are no validation data."""
        for _ in range(self.max_epochs if epochs is None else epochs):
            n_done = len(self.history) - self.phase_start_
            self.objective_.begin_epoch(self, getattr(X, "data", X), n_done)
            self.notify("on_epoch_begin", dataset_train=X, dataset_valid=None)
            self.module_.train()
            with flushing_denormals(True):
                self._train_on_all(X)
            self.notify("on_epoch_end", dataset_train=X, dataset_valid=None)
        return self

    def _train_on_all(self, epoch: Epoch) -> None:
        self.n_steps_ = len(epoch)
        sums: dict[str, Tensor] = {}
        counts: Counter[str] = Counter()  # not every batch has every term
        # first, since a callback may end the epoch at any batch
        self.history.record("phase", self.phase_name_)
        for step, batch in enumerate(epoch):
            done = len(self.history) - 1 - self.phase_start_
            self.set_progress(done + step / self.n_steps_)
            self.step_ = step
            pair = batch[:2]  # skorch's callbacks unpack two values
            self.notify("on_batch_begin", batch=pair, training=True)
            terms = self.objective_.step(self, batch)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0) + term.detach()
                counts[name] += 1
            given = {"batch": pair, "training": True, "y_pred": None} | terms
            self.notify("on_batch_end", **given)
        # losses leave the device once per epoch: every transfer waits for the device
        for name, total in sums.items():
            key = "train_loss" if name == "loss" else name
            self.history.record(key, float(total) / counts[name])

    def set_progress(self, epochs: float) -> None:
        """Set the progress and the learning rates after some epochs of the phase.

        The rates fall along half a cosine over the phase.
        """
        n_before, n_after = self.phase_before_, self.phase_after_
        n_epochs = n_before + self.phase_epochs_ + n_after
        self.progress_ = min(1.0, (n_before + epochs) / max(1, n_epochs))
        if self.schedule == "constant":
            return
        factor = cosine_share(self.progress_)
        for optimizer in self.optimizers_:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    # A step

    def encode(self, batch: Batch, n_blocks: int = 1) -> EncodedBatch:
        """Encode a batch; of several processes, each encodes its share of it.

        Parameters
        ----------
        batch : Batch
            The samples.
        n_blocks : int, default=1
            Number of equal blocks that a batch consists of, such as samples and their
            neighbours. Every process takes the same positions of each.

        Returns
        -------
        EncodedBatch
            The batch and its latents in full precision.
        """
        inputs, observed, targets = batch
        shares = None
        if _distributed.is_parallel():
            shares = _distributed.Shares(len(inputs[0]), n_blocks)
        with self.precision():
            latents = self.module_.encode(inputs, observed, shares)
        return EncodedBatch(latents.to(self.module_.frozen), observed, inputs, targets)

    def decode(self, latents: Tensor) -> list[Tensor]:
        """Reconstruct the inputs of every modality from latents of shape (V, m, d).

        Returns
        -------
        list of tensor of shape (m, ...)
            One per modality, in full precision.
        """
        with self.precision():
            decoded = self.module_.decode(latents)
        return [x.to(latents) for x in decoded]

    def fuse(
        self, latents: Tensor, observed: Tensor | None, weights: Tensor | None = None
    ) -> Outputs:
        """Compute the outputs of latents.

        Parameters
        ----------
        latents : tensor of shape (V, m, d)
            Latents of a batch.
        observed : tensor of bool of shape (m, V) or None
            Which modalities of a sample are observed; None is all.
        weights : tensor of shape (V,), default=None
            Weights of the modalities; None is those of the network.

        Returns
        -------
        Outputs
            The outputs in full precision.
        """
        with self.precision():
            outputs = self.module_(None, observed, latents, weights)
        # losses compare nearly equal numbers: they are not for half precision
        return outputs._make(output.to(latents) for output in outputs)

    def minimize(
        self,
        terms: Mapping[str, Tensor],
        weights: Mapping[str, float],
        part: str | None = None,
    ) -> dict[str, Tensor]:
        """Train the network, or a part, by one step down a weighted sum of terms.

        Parameters
        ----------
        terms : dict of str to tensor of shape ()
            The terms.
        weights : dict of str to float
            Their weights.
        part : str, default=None
            The part that is trained, without a limit of its gradient; None is the
            network.

        Returns
        -------
        dict of str to tensor of shape ()
            The terms, and their weighted sum as 'loss'.

        Raises
        ------
        ValueError
            If there are no terms.
        """
        if not terms:
            raise ValueError(
                f"the phase {self.phase_name_!r} has nothing to minimise, since the "
                "weights of all its terms are 0: set one of them, or leave the phase "
                "out by trainer__max_epochs=0"
            )
        loss = weighted_sum(terms, weights, torch.zeros(()))
        optimizer = self.part_optimizers_[part] if part else self.optimizer_
        optimizer.zero_grad()
        loss.backward()
        parameters = _parameters(optimizer)
        _distributed.average_gradients(parameters)
        if not part:
            self._report_gradients()
        if self.clip_norm is not None and not part:
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        optimizer.step()
        return {"loss": loss, **terms}

    def _report_gradients(self) -> None:
        """Let callbacks of the user read and change the gradients of the network."""
        # the names of parameters take a walk through all submodules
        idle = Callback.on_grad_computed
        if any(type(c).on_grad_computed is not idle for _, c in self.callbacks_):
            named = list(self.module_.named_parameters())
            self.notify("on_grad_computed", named_parameters=named, training=True)

    def precision(self) -> AbstractContextManager[Any]:
        """Return the context in which modules compute: mixed or full precision."""
        if self.autocast is None:
            return nullcontext()
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=self.autocast)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """List what an optimizer updates, without a walk through all submodules."""
    return [p for group in optimizer.param_groups for p in group["params"]]
