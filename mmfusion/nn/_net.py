"""The skorch net of deep estimators: batches in, one step of the phase's objective."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from skorch import NeuralNet
from torch import Tensor, nn

from mmfusion.nn import _distributed
from mmfusion.nn._data import Batch
from mmfusion.nn._isolation import flushing_denormals
from mmfusion.nn._network import FusionNetwork, Outputs
from mmfusion.nn._objective import Objective, weighted_sum

LOWEST_RATE_SHARE = 0.01  # of the learning rate, at the end of a cosine


class _StoppedByCallback(Exception):
    """A callback asked for the end of a training."""


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
        parameters get an optimizer of their own.
    separate : sequence of str, default=()
        Modules of the network, by attribute, with learning rates of their own.
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
    phase_start_: int
    progress_: float
    objective_: Objective
    module_: FusionNetwork

    def __init__(
        self,
        module: FusionNetwork,
        *,
        parts: Mapping[str, nn.Module] | None = None,
        separate: tuple[str, ...] = (),
        betas: Mapping[str, tuple[float, float]] | None = None,
        clip_norm: float | None = None,
        schedule: str = "cosine",
        autocast: torch.dtype | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(module, criterion=None, **kwargs)
        self.parts, self.separate, self.betas = parts, separate, betas
        self.clip_norm, self.schedule, self.autocast = clip_norm, schedule, autocast

    @property
    def _default_callbacks(self) -> list[Any]:
        return []

    # Modules and optimizers

    def initialize_module(self) -> DeepNet:
        """Send the network and the parts to the device."""
        super().initialize_module()
        like = self.module_.frozen  # its device, and its type, which may be float64
        self.parts_ = {name: part.to(like) for name, part in (self.parts or {}).items()}
        return self

    def initialize_criterion(self) -> DeepNet:
        """Make nothing: objectives belong to phases."""
        return self

    def initialize_optimizer(self) -> DeepNet:
        """Make one Adam for the network and one for each part with parameters."""
        modules = {name: getattr(self.module_, name, None) for name in self.separate}
        separate = {
            n: list(m.parameters()) for n, m in modules.items() if m is not None
        }
        taken = {id(p) for own in separate.values() for p in own}
        others = [p for p in self.module_.parameters() if id(p) not in taken]
        self.optimizer_ = self._adam({"network": others} | separate)
        self.part_optimizers_ = {}
        for name, part in self.parts_.items():
            if own := list(part.parameters()):
                self.part_optimizers_[name] = self._adam({name: own})
        return self

    def _adam(self, parameters: Mapping[str, list[nn.Parameter]]) -> torch.optim.Adam:
        betas = self.betas or {}
        default = betas.get("network", (0.9, 0.999))
        groups = [
            {"params": own, "part": name, "betas": betas.get(name, default)}
            for name, own in parameters.items()
        ]
        return torch.optim.Adam(groups, fused=True)

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
        except _StoppedByCallback:
            pass
        finally:
            self.notify("on_train_end", X=X, y=y)
        return self

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Call the callbacks; to stop, those of skorch raise what Ctrl-C raises."""
        try:
            super().notify(method_name, **kwargs)
        except KeyboardInterrupt as stop:
            raise _StoppedByCallback from stop

    def get_split_datasets(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Return an epoch as it is, and no validation data."""
        return X, None

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return an epoch as it is."""
        return dataset

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **params: Any
    ) -> None:
        """Train on every batch of an epoch."""
        if iterator is None:
            return
        self.module_.train(training)
        with flushing_denormals(True):
            self._train_on_all(iterator, training, prefix, step_fn)

    def _train_on_all(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any
    ) -> None:
        n_steps = len(iterator)
        sums: dict[str, Tensor] = {}
        counts: Counter[str] = Counter()  # not every batch has every term
        for step, batch in enumerate(iterator):
            epochs = len(self.history) - 1 - self.phase_start_ + step / n_steps
            self.progress_ = min(1.0, epochs / max(1, self.phase_epochs_))
            self.step_ = step
            self._set_rates()
            self.notify("on_batch_begin", batch=batch, training=training)
            terms = step_fn(batch)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0) + term.detach()
                counts[name] += 1
            given = {"batch": batch, "training": training, "y_pred": None} | terms
            self.notify("on_batch_end", **given)
        self.history.record("phase", self.phase_name_)
        # losses leave the device once per epoch: every transfer waits for the device
        for name, total in sums.items():
            key = f"{prefix}_loss" if name == "loss" else name
            self.history.record(key, float(total) / counts[name])

    def _set_rates(self) -> None:
        """Lower the learning rates along half a cosine over the phase."""
        if self.schedule == "constant":
            return
        height = (1 + math.cos(math.pi * self.progress_)) / 2
        factor = LOWEST_RATE_SHARE + (1 - LOWEST_RATE_SHARE) * height
        for optimizer in self.optimizers_:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    # A step

    def train_step(self, batch: Any, **params: Any) -> dict[str, Tensor]:
        """Take one step of the objective of the phase."""
        return self.objective_.step(self, batch)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Compute every loss of a batch without training; see `Objective.losses`."""
        return self.objective_.losses(self, *self.encode(batch))

    def encode(self, batch: Batch, n_blocks: int = 1) -> tuple[Tensor, Tensor | None]:
        """Encode this process's share of a batch, and gather the whole of it.

        Parameters
        ----------
        batch : Batch
            The samples.
        n_blocks : int, default=1
            Number of equal blocks that a batch consists of, such as samples and their
            neighbours. Every process takes the same positions of each.

        Returns
        -------
        latents : tensor of shape (V, m, d)
            Latents in full precision.
        observed : tensor of bool of shape (m, V) or None
            Which modalities of a sample are observed; None is all.
        """
        inputs, observed = batch
        is_parallel = _distributed.is_parallel()
        if is_parallel:
            inputs = [_own_share(x, n_blocks) for x in inputs]
            observed = None if observed is None else _own_share(observed, n_blocks)
        with self.precision():
            latents = self.module_.encode(inputs, observed)
        latents = latents.to(self.module_.frozen)
        if is_parallel:
            latents = _gathered_blocks(latents, 1, n_blocks)
            if observed is not None:
                observed = _gathered_blocks(observed, 0, n_blocks)
        return latents, observed

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
        return Outputs(*(output.to(latents) for output in outputs))

    def minimize(
        self, terms: Mapping[str, Tensor], weights: Mapping[str, float]
    ) -> dict[str, Tensor]:
        """Take a step of the network down the weighted sum of the terms.

        Parameters
        ----------
        terms : dict of str to tensor of shape ()
            The terms.
        weights : dict of str to float
            Their weights.

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
                "out by max_epochs=0"
            )
        loss = weighted_sum(terms, weights, torch.zeros(()))
        self.optimizer_.zero_grad()
        loss.backward()
        parameters = _parameters(self.optimizer_)
        _distributed.average_gradients(parameters)
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        self.optimizer_.step()
        return {"loss": loss, **terms}

    def minimize_part(self, name: str, loss: Tensor) -> None:
        """Take a step of one part down its loss."""
        optimizer = self.part_optimizers_[name]
        optimizer.zero_grad()
        loss.backward()
        _distributed.average_gradients(_parameters(optimizer))
        optimizer.step()

    def precision(self) -> AbstractContextManager[Any]:
        """Return the context in which modules compute: mixed or full precision."""
        if self.autocast is None:
            return nullcontext()
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=self.autocast)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """List what an optimizer updates, without a walk through all submodules."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def _own_share(whole: Tensor, n_blocks: int) -> Tensor:
    """Take this process's samples of every block of a batch."""
    blocks = whole.chunk(n_blocks) if n_blocks > 1 else [whole]
    return torch.cat([block[_distributed.own_part(len(block))] for block in blocks])


def _gathered_blocks(own: Tensor, dim: int, n_blocks: int) -> Tensor:
    """Put the shares of all processes together, block by block."""
    blocks = own.chunk(n_blocks, dim) if n_blocks > 1 else [own]
    return torch.cat([_distributed.gather(block, dim) for block in blocks], dim)
