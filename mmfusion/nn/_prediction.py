"""The network of a predictor and its objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from mmfusion.nn._corruption import kept_modalities, noise_deviations
from mmfusion.nn._data import Batch, Targets
from mmfusion.nn._isolation import current_draws
from mmfusion.nn._members import BatchedLinear, by_member, dropout, members_side_by_side
from mmfusion.nn._net import DeepNet, EncodedBatch, Objective
from mmfusion.nn._network import FusionNetwork
from mmfusion.nn._sequence_data import with_noise
from mmfusion.nn._tasks import Task
from mmfusion.nn.fusions import Fusion
from mmfusion.nn.fusions._simple import LateFusion

LARGEST_NOISE = 4.0  # standard deviations of a feature, in training


class PredictionOutputs(NamedTuple):
    """Outputs of a predictor for a batch of m samples; see `Outputs`.

    Parameters
    ----------
    latents : tensor of shape (V, m, R w)
        Latents of all members, side by side.
    weights : tensor of shape (V,)
        Mean gates of the training data.
    fused : tensor of shape (m, R w')
        Fused latents of all members, side by side.
    hidden : tensor of shape (R, m, n_units)
        Outputs of each member.
    logits : tensor of shape (m, n_units)
        Outputs of their mean; in training, which does not use it, of the first member.
    by_modality : tensor of shape (V, R, m, n_units)
        Outputs of the head of each modality.
    gates : tensor of shape (m, V)
        Shares of the modalities of a sample, which add up to 1; in training, what is
        observed.
    """

    latents: Tensor
    weights: Tensor
    fused: Tensor
    hidden: Tensor
    logits: Tensor
    by_modality: Tensor
    gates: Tensor


class PredictionHeads(nn.Module):
    """Linear heads of the fused latents and of every modality.

    Parameters
    ----------
    n_modalities, n_members : int
        Number of modalities V and of members R.
    fused_width, width : int
        Width of fused latents and of the latents of a modality.
    n_units : int
        Number of outputs.
    """

    n_heads = 1

    def __init__(
        self,
        n_modalities: int,
        n_members: int,
        fused_width: int,
        width: int,
        n_units: int,
    ) -> None:
        super().__init__()
        self.fused = BatchedLinear((n_members,), fused_width, n_units)
        self.by_modality = BatchedLinear((n_modalities, n_members), width, n_units)


class PredictionNetwork(FusionNetwork):
    """Encoders, fusion module and heads of R members.

    Parameters
    ----------
    encoders : sequence of Module
        Encoder of each modality, from (m, ...) to (m, R w).
    fusion : Fusion
        Fusion of the latents of all members.
    fused_width : int
        Width w' of what it returns.
    task : Task
        Loss, and mean of predictions.
    dropout : float
        Probability with which a unit of the latents, or of the fused latents, is set to
        0 in training.
    """

    fusion: Fusion
    task: Task

    def __init__(
        self,
        encoders: Sequence[nn.Module],
        fusion: Fusion,
        fused_width: int,
        task: Task,
        dropout: float,
    ) -> None:
        n_members = fusion.n_members
        heads = PredictionHeads(
            len(encoders), n_members, fused_width, fusion.width, task.n_units
        )
        super().__init__(encoders, n_members * fused_width, heads)
        self.fusion, self.task, self.dropout = fusion, task, dropout

    @property
    def is_late(self) -> bool:
        """Whether predictions are the mean of those of the modalities."""
        return isinstance(self.fusion, LateFusion)

    def weight_sums(
        self, latents: Tensor, observed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Add up the gates of all samples."""
        split, flags = self._split(latents, observed)
        sums = self._shares(split, flags).sum(0)
        return sums, torch.full_like(self.frozen, latents.shape[1])

    def forward(
        self,
        inputs: Sequence[Tensor],
        observed: Tensor | None = None,
        latents: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Any:
        """Fuse a batch and predict; parameters are those of `FusionNetwork`."""
        if latents is None:
            latents = self.encode(inputs, observed)
        p = self.dropout if self.training else 0.0
        split, flags = self._split(dropout(latents, p), observed)
        fused = self.fusion(split, flags)
        by_modality = self.heads.by_modality(split[..., : self.fusion.width])
        if self.is_late:
            hidden = self._late(by_modality, flags)
        else:
            hidden = self.heads.fused(dropout(fused, p))
        logits, gates = hidden[0], flags
        if not self.training:
            equal = torch.full_like(hidden[..., 0], 1 / len(hidden))
            logits = self.task.average(hidden, equal)
            gates = self._shares(split, flags)
        return PredictionOutputs(
            latents,
            self.frozen,
            members_side_by_side(fused),
            hidden,
            logits,
            by_modality,
            gates,
        )

    def _split(self, latents: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return latents by member, (V, R, m, w), and the flags of what is observed."""
        split = by_member(latents, self.fusion.n_members)
        if observed is None:
            return split, latents.new_ones((latents.shape[1], len(latents)))
        return split, observed.to(latents)

    def _shares(self, latents: Tensor, observed: Tensor) -> Tensor:
        """Return the mean gates of all members, which add up to 1: shape (m, V)."""
        gates = self.fusion.gates(latents, observed).mean(0)
        smallest = torch.finfo(gates.dtype).tiny
        return gates / torch.clamp_min(gates.sum(1, keepdim=True), smallest)

    def _late(self, by_modality: Tensor, observed: Tensor) -> Tensor:
        """Average the predictions of the observed modalities: (R, m, n_units)."""
        # all of them for samples that have none, whose predictions are not read
        weights = torch.where(observed.sum(1, keepdim=True) > 0, observed, 1.0)
        weights = (weights / weights.sum(1, keepdim=True)).mT[:, None]
        return self.task.average(by_modality, weights.expand(by_modality.shape[:-1]))


@dataclass(frozen=True, kw_only=True)
class PredictionObjective(Objective):
    """``mean_q l(h_q) + modality_loss_weight * mean_q mean_v l(h_q^v)``.

    l is the loss of the task, h_q the output of a sample and h_q^v that of the head of
    a modality, averaged over what is observed; means are weighted by the samples.
    In training, modalities are dropped and get noise.

    Parameters
    ----------
    modality_loss_weight : float
        Weight of the losses of single modalities.
    modality_dropout : float
        Probability with which an observed modality of a sample is dropped; one is kept.
    modality_noise : float
        Probability with which a modality of a sample gets noise, of a standard
        deviation drawn from 0 to 4.
    """

    modality_loss_weight: float
    modality_dropout: float
    modality_noise: float

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weights of both terms."""
        return {
            "prediction": 1.0,
            "modality": self.modality_loss_weight,
            "late": 1.0,
        }

    def step(self, net: DeepNet, batch: Batch) -> dict[str, Tensor]:
        """Train on a batch whose modalities are dropped and get noise at random."""
        return super().step(net, self.corrupt(batch))

    def corrupt(self, batch: Batch) -> Batch:
        """Drop modalities of samples at random, and add noise to others."""
        inputs, observed, targets = batch
        n, device = len(inputs[0]), inputs[0].device
        generator = current_draws().generator(device)

        def uniform() -> Tensor:
            return torch.rand((n, len(inputs)), generator=generator, device=device)

        if self.modality_dropout and len(inputs) > 1:
            observed = kept_modalities(observed, self.modality_dropout, uniform())
        if self.modality_noise:
            deviations = noise_deviations(
                self.modality_noise, LARGEST_NOISE, uniform(), uniform()
            )
            inputs = [
                with_noise(x, torch.empty_like(x).normal_(generator=generator), own)
                for x, own in zip(inputs, deviations.unbind(1), strict=True)
            ]
        return Batch(inputs, observed, targets)

    def terms(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute the losses of the members and of the heads of single modalities."""
        outputs: Any = net.fuse(batch.latents, batch.observed)
        network = cast(PredictionNetwork, net.module_)
        targets, task = cast(Targets, batch.targets), network.task
        terms = {}
        if not network.is_late:
            losses = task.losses(outputs.hidden, targets.values)
            terms["prediction"] = _weighted_mean(losses, targets.weights)
        if self.modality_loss_weight or network.is_late:
            losses = task.losses(outputs.by_modality, targets.values)
            if batch.observed is None:
                losses = losses.mean(0)
            else:
                flags = batch.observed.mT[:, None].to(losses)
                losses = (losses * flags).sum(0) / torch.clamp_min(flags.sum(0), 1)
            name = "late" if network.is_late else "modality"
            terms[name] = _weighted_mean(losses, targets.weights)
        return terms


def _weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    """Average the losses (R, m) of all members over samples."""
    smallest = torch.finfo(weights.dtype).tiny
    total = torch.clamp_min(weights.sum(), smallest)
    return (losses.mean(0) * weights).sum() / total
