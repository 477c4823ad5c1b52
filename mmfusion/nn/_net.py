"""The skorch net of adversarial clustering: two modules, two optimisers, one step."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import nullcontext
from typing import Any

import torch
from skorch import NeuralNet
from torch import Tensor, nn

from mmfusion.nn import _distributed, losses
from mmfusion.nn._data import Batch
from mmfusion.nn._fusion import Discriminators, Fused, GraphTrust
from mmfusion.nn._isolation import flushing_denormals
from mmfusion.nn._neighbors import PairedBatch


class _StoppedByCallback(Exception):
    """A callback wants no further epochs."""


class AdversarialNet(NeuralNet):
    """Trains a `FusionNetwork` against discriminators.

    An epoch is any iterable of batches: of `PairedBatch`, on which neighbours are
    brought to agree, or of `Batch`, on which the whole game is played.

    Parameters
    ----------
    module : FusionNetwork
        The network.
    criterion : Objective
        What it minimises.
    width : int
        Width of a latent.
    pretrain_lr : float
        Learning rate of the warm start.
    lr, attention_lr, discriminator_lr : float
        Learning rates of the game.
    betas, discriminator_betas : tuple of float
        Of the two Adam optimisers.
    clip_norm : float or None
        Largest norm of a gradient of the network.
    alternate : bool
        Whether batches take turns: the network learns from one, the discriminators
        from the next. Otherwise both learn from every batch.
    rest : float
        Discriminators do not learn from a batch on which their loss, relative to that
        of guessing, is lower than this.
    schedule : {'cosine', 'constant'}
        Learning rates over the epochs of a phase.
    reference : int
        Position of the modality that is real to the discriminators.
    autocast : torch.dtype or None
        Type of mixed precision.
    **kwargs : dict
        Those of skorch's NeuralNet.
    """

    def __init__(
        self,
        *args: Any,
        width: int = 1,
        pretrain_lr: float = 1e-3,
        attention_lr: float = 1e-3,
        discriminator_lr: float = 1e-4,
        betas: tuple[float, ...] = (0.95, 0.999),
        discriminator_betas: tuple[float, ...] = (0.5, 0.999),
        clip_norm: float | None = None,
        alternate: bool = False,
        rest: float = 0.0,
        schedule: str = "cosine",
        reference: int = 0,
        autocast: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.width, self.pretrain_lr = width, pretrain_lr
        self.attention_lr, self.discriminator_lr = attention_lr, discriminator_lr
        self.betas, self.discriminator_betas = betas, discriminator_betas
        self.clip_norm, self.alternate, self.rest = clip_norm, alternate, rest
        self.schedule, self.reference, self.autocast = schedule, reference, autocast

    @property
    def _default_callbacks(self) -> list[Any]:
        return []

    # Parts

    def initialize_module(self) -> AdversarialNet:
        """Take the network; make the discriminators, if there is a game."""
        super().initialize_module()
        n_modalities = len(self.module_.encoders)
        plays = self.criterion.adversarial_weight > 0 and n_modalities > 1
        like = self.module_.frozen  # its type, also float64
        self.discriminators_: Any = (
            Discriminators(n_modalities - 1, self.width).to(like) if plays else None
        )
        heads = self.module_.heads.n_heads
        self.trust_ = GraphTrust(heads, 2 * n_modalities).to(like)
        return self

    def initialize_criterion(self) -> AdversarialNet:
        """Take the objective as it is."""
        self.criterion_ = self.criterion
        return self

    def initialize_optimizer(self) -> AdversarialNet:
        """Make one Adam for the network and one for the discriminators."""
        attention = self.module_.attention
        slow = [] if attention is None else list(attention.parameters())
        apart = {id(p) for p in slow}
        others = [p for p in self.module_.parameters() if id(p) not in apart]
        groups = [{"params": others, "lr": self.lr}]
        if slow:
            groups.append({"params": slow, "lr": self.attention_lr})
        self.optimizer_ = _adam(groups, self.betas)
        self.discriminator_optimizer_: Any = None
        if self.discriminators_ is not None:
            judges = list(self.discriminators_.parameters())
            self.discriminator_optimizer_ = _adam(
                [{"params": judges, "lr": self.discriminator_lr}],
                self.discriminator_betas,
            )
        return self

    # An epoch

    def partial_fit(
        self, X: Any, y: Any = None, classes: Any = None, *, epochs: int = 1
    ) -> AdversarialNet:
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
        """Hand an epoch on as it is."""
        return X, None

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Hand an epoch on as it is."""
        return dataset

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **params: Any
    ) -> None:
        """Learn from every batch; losses leave the device once, at the end."""
        if iterator is None:
            return
        self.module_.train(training)
        with flushing_denormals(True):
            self._learn_from_all(iterator, training, prefix, step_fn)

    def _learn_from_all(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any
    ) -> None:
        n_steps = len(iterator)
        sums: dict[str, Tensor] = {}
        turns: Counter[str] = Counter()  # those that alternate do not see every batch
        for step, batch in enumerate(iterator):
            epochs = len(self.history) - 1 - self.phase_start_ + step / n_steps
            self.done_ = min(1.0, epochs / max(1, self.phase_epochs_))
            self.turn_ = step
            self._set_rates()
            self.notify("on_batch_begin", batch=batch, training=training)
            terms = step_fn(batch)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0) + term.detach()
                turns[name] += 1
            given = {"batch": batch, "training": training, "y_pred": None} | terms
            self.notify("on_batch_end", **given)
        for name, total in sums.items():
            key = f"{prefix}_loss" if name == "loss" else name
            self.history.record(key, float(total) / turns[name])

    def _set_rates(self) -> None:
        """Lower the learning rates along half a cosine over the phase."""
        if self.schedule == "constant":
            return
        factor = 0.01 + 0.99 * (1 + math.cos(math.pi * self.done_)) / 2
        for optimizer in (self.optimizer_, self.discriminator_optimizer_):
            for group in () if optimizer is None else optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor

    # A step

    def train_step(self, batch: Any, **params: Any) -> dict[str, Tensor]:
        """Learn from one batch: the terms of the losses."""
        if isinstance(batch, PairedBatch):
            return self._agree(*batch)
        if self.discriminators_ is None or not self.alternate:
            return self._play(batch, network=True, judges=True)
        turn = self.turn_ % 2
        return self._play(batch, network=turn == 0, judges=turn == 1)

    def _agree(self, batch: Batch, graphs: Tensor) -> dict[str, Tensor]:
        latents, observed = self._encode(batch, pairs=True)
        # neighbours agree before attention learns whom to listen to
        equal = torch.full_like(self.module_.frozen, 1 / len(latents))
        out = self._cluster(latents, observed, equal)
        pairs, imbalance = self.criterion.agreement(out)
        trust = self.trust_(pairs, graphs[: pairs.shape[1]])
        weighted = {
            "disagreement": (trust * pairs).mean(),
            "imbalance": imbalance.mean(),
        }
        return self._learn(weighted) | {"disagreement": pairs.detach().mean()}

    def _play(self, batch: Batch, *, network: bool, judges: bool) -> dict[str, Tensor]:
        with nullcontext() if network else torch.no_grad():
            latents, observed = self._encode(batch)
        judged: dict[str, Tensor] = {}
        if self.discriminators_ is not None and judges:
            judged = self._judge(latents.detach(), observed)
        if not network:
            return judged
        out = self._cluster(latents, observed)
        return self._learn(self._terms(out, observed)) | judged

    def _terms(self, out: Fused, observed: Tensor | None) -> dict[str, Tensor]:
        """What the network minimises, term by term."""
        terms = self.criterion.clustering(out)
        if self.criterion.attention_weight and self.module_.attention is not None:
            terms["attention"] = self.criterion.attention(out, observed)
        if self.discriminators_ is not None:
            terms["generator"] = self._deceive(out.latents, observed)
        return terms

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Every term of a batch without learning; see `mmfusion.nn._training`."""
        latents, observed = self._encode(batch)
        out = self._cluster(latents, observed)
        terms = self._terms(out, observed)
        total = self.criterion.total(terms) if terms else out.fused.new_zeros(())
        own = {name: terms[name] for name in ("sc", "sim", "reg") if name in terms}
        clustering = self.criterion.total(own) if own else torch.zeros_like(total)
        if self.discriminators_ is not None:
            terms["discriminator"] = self._judgement(out.latents, observed)[0]
            total = total + terms["discriminator"]
        return terms | {"clustering": clustering, "total": total}

    def _encode(
        self, batch: Batch, *, pairs: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Encode this process's part of a batch, and gather the whole of it."""
        inputs, observed = batch
        if _distributed.is_parallel():
            inputs, observed = _part(inputs, observed, pairs)
        with self._precision():
            latents = self.module_.encode(inputs, observed)
        latents = latents.to(self.module_.frozen)
        if _distributed.is_parallel():
            latents = _whole(latents, 1, pairs)
            if observed is not None:
                observed = _whole(observed, 0, pairs)
        return latents, observed

    def _cluster(
        self, latents: Tensor, observed: Tensor | None, weights: Tensor | None = None
    ) -> Fused:
        with self._precision():
            out = self.module_(None, observed, latents, weights)
        # losses compare nearly equal numbers: they are not for half precision
        return Fused(*(part.to(latents) for part in out))

    def _learn(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        loss = self.criterion.total(terms, self.done_)
        self.optimizer_.zero_grad()
        loss.backward()
        parameters = _parameters(self.optimizer_)
        _distributed.average_gradients(parameters)
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        self.optimizer_.step()
        return {"loss": loss} | terms

    def _judge(self, latents: Tensor, observed: Tensor | None) -> dict[str, Tensor]:
        """Let the discriminators learn, unless they are far ahead."""
        loss, accuracy = self._judgement(latents, observed)
        guessing = 2 * math.log(2) * (len(latents) - 1)
        learns = loss.detach() > self.rest * guessing
        self.discriminator_optimizer_.zero_grad()
        (loss * learns).backward()
        _distributed.average_gradients(_parameters(self.discriminator_optimizer_))
        self.discriminator_optimizer_.step()
        return {"discriminator": loss, "accuracy": accuracy}

    def _judgement(
        self, latents: Tensor, observed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Tell the reference from the other modalities: loss and accuracy."""
        fake, real = self._sides(latents)
        logits = self._logits(torch.cat([fake, real], dim=1))
        of_fake, of_real = logits.chunk(2, 1)
        seen, known = self._seen(observed)
        loss = losses.adversarial_cross_entropy(
            of_fake, False, seen
        ) + losses.adversarial_cross_entropy(of_real, True, known)
        right = torch.cat([of_fake < 0, of_real > 0]).to(loss)
        if seen is None or known is None:
            return loss, right.mean()
        counted = torch.cat([seen, known])
        return loss, (right * counted).sum() / torch.clamp_min(counted.sum(), 1)

    def _deceive(self, latents: Tensor, observed: Tensor | None) -> Tensor:
        """Loss of the encoders whose latents are not taken for the reference."""
        fake, _ = self._sides(latents)
        logits = self._logits(fake, fixed=True)
        return losses.adversarial_cross_entropy(logits, True, self._seen(observed)[0])

    def _logits(self, latents: Tensor, *, fixed: bool = False) -> Tensor:
        with self._precision():
            return self.discriminators_(latents, fixed).to(latents)

    def _sides(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Split latents into those to be judged and, as often, the reference."""
        sides = latents[: self.reference], latents[self.reference + 1 :]
        some = [side for side in sides if len(side)]
        others = some[0] if len(some) == 1 else torch.cat(some)  # a view, if it can be
        return others, latents[self.reference].expand_as(others)

    def _seen(self, observed: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        if observed is None:
            return None, None
        return self._sides(observed.mT)

    def _precision(self) -> Any:
        if self.autocast is None:
            return nullcontext()
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=self.autocast)


def _adam(groups: list[dict[str, Any]], betas: tuple[float, ...]) -> Any:
    for group in groups:
        group["initial_lr"] = group["lr"]
    return torch.optim.Adam(groups, betas=(betas[0], betas[1]), fused=True)


def _parameters(optimizer: Any) -> list[Tensor]:
    """What an optimizer steps; asking the module walks through all of its parts."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def _part(
    inputs: list[Tensor], observed: Tensor | None, pairs: bool
) -> tuple[list[Tensor], Tensor | None]:
    """Take this process's samples of a batch, each with its neighbour."""

    def take(whole: Tensor) -> Tensor:
        halves = whole.chunk(2) if pairs else [whole]
        return torch.cat([h[_distributed.own_part(len(h))] for h in halves])

    return [take(x) for x in inputs], None if observed is None else take(observed)


def _whole(own: Tensor, dim: int, pairs: bool) -> Tensor:
    halves = own.chunk(2, dim) if pairs else [own]
    return torch.cat([_distributed.gather(h, dim) for h in halves], dim)
