"""Adversarial training: discriminators that separate modalities from a reference."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion.nn._net import Objective
from mmfusion.nn._network import batched_linear
from mmfusion.nn.losses import adversarial_cross_entropy, squared_slope

if TYPE_CHECKING:
    from mmfusion.nn._net import DeepNet, EncodedBatch

# share of correct decisions that is nearly all: encoders mislead no one; the loss
# also depends on how confident the penalty lets discriminators be
WON_ACCURACY = 0.995
LEAST_JUDGED_BATCHES = 50  # before, encoders have had no time to move
SMALLEST_WIDTH, LARGEST_WIDTH = 64, 256  # of the widest layers of discriminators


class Discriminators(nn.Module):
    """One discriminator for every modality but the reference, as one batched network.

    Its layers have w, w, w / 2 and 1 units, where w is the power of two next to the
    width of the latents, from 64 to 256; the paper has 256 for latents of 500.

    Parameters
    ----------
    n_discriminators : int
        Number of discriminators.
    width : int
        Width d of a latent.
    """

    SLOPE = 0.2  # of the leaky ReLU

    def __init__(self, n_discriminators: int, width: int) -> None:
        super().__init__()
        hidden = min(LARGEST_WIDTH, max(SMALLEST_WIDTH, 2 ** round(math.log2(width))))
        self._make_layers(n_discriminators, (width, hidden, hidden, hidden // 2, 1))

    def _make_layers(self, n_discriminators: int, widths: tuple[int, ...]) -> None:
        sizes = pairwise(widths)
        layers = [batched_linear(n_discriminators, a, b) for a, b in sizes]
        self.weights = nn.ParameterList(weight for weight, _ in layers)
        self.biases = nn.ParameterList(bias for _, bias in layers)

    def match_widths(self, state: Mapping[str, Any]) -> bool:
        """Match the widths of stored layers; return whether layers changed.

        Those of earlier versions did not depend on the width of the latents.
        """
        names = [f"weights.{layer}" for layer in range(len(self.weights))]
        if not all(getattr(state.get(name), "ndim", 0) == 3 for name in names):
            return False
        shapes = [tuple(state[name].shape) for name in names]
        own = [tuple(weight.shape) for weight in self.weights]
        # of other latents, or another number of modalities, they are not taken over
        if shapes == own or shapes[0][:2] != own[0][:2]:
            return False
        like = self.weights[0]
        self._make_layers(shapes[0][0], (*(s[1] for s in shapes), shapes[-1][2]))
        self.to(like)
        return True

    def forward(self, latents: Tensor, fixed: bool = False) -> Tensor:
        """Classify latents of shape (V - 1, m, d): logits of shape (V - 1, m).

        Fixed discriminators let gradients through, but not into their parameters.
        """
        layers = zip(self.weights, self.biases, strict=True)
        for layer, (weight, bias) in enumerate(layers):
            if layer:
                latents = F.leaky_relu(latents, self.SLOPE)
            if fixed:
                weight, bias = weight.detach(), bias.detach()
            latents = torch.baddbmm(bias, latents, weight)
        return latents.squeeze(-1)

    def slopes(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Classify latents, and differentiate their logits by them.

        Returns
        -------
        logits : tensor of shape (V - 1, m)
            As `forward` returns them.
        slopes : tensor of shape (V - 1, m, d)
            Gradient of each logit by its latent. It can itself be differentiated by
            the parameters, at a fraction of the time that autograd takes for that.
        """
        kinks = []
        for layer, (weight, bias) in enumerate(
            zip(self.weights, self.biases, strict=True)
        ):
            if layer:
                positive = latents.detach() > 0
                kinks.append(torch.where(positive, 1.0, self.SLOPE).to(latents))
                latents = latents * kinks[-1]
            latents = torch.baddbmm(bias, latents, weight)
        *weights, last = self.weights
        slopes = last.mT.to(latents)
        for weight, kink in zip(reversed(weights), reversed(kinks), strict=True):
            slopes = _BackwardProduct.apply(slopes * kink, weight)
        return latents.squeeze(-1), slopes


class _BackwardProduct(torch.autograd.Function):
    """Product of gradients and transposed weights, as back through a layer.

    That of torch returns transposed gradients of the weights, and adding them to those
    of a loss then takes as long as the product.
    """

    @staticmethod
    def forward(ctx: Any, gradients: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(gradients, weights)
        return torch.bmm(gradients, weights.mT.to(gradients))

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor]:
        gradients, weights = ctx.saved_tensors
        of_gradients = torch.bmm(outer, weights.to(outer))
        return of_gradients, torch.bmm(outer.mT, gradients).to(weights)


@dataclass(frozen=True, kw_only=True)
class AdversarialObjective(Objective):
    """Objective of a network that is trained against `Discriminators`.

    With the reference r, discriminators D_v minimise
    ``sum_v -log(1 - D_v(H_v)) - log D_v(H_r)`` plus `gradient_penalty` times their
    squared slope at these latents, and the network minimises the terms of a subclass
    and ``adversarial_weight * sum_v -log D_v(H_v) - log(1 - D_v(H_r))``: all encoders
    move, that of the reference too. The net holds the discriminators as its part
    'discriminators'; without that part there is no adversarial term.

    Parameters
    ----------
    adversarial_weight : float
        Weight of the generator loss.
    reference : int
        Position of the reference modality.
    alternate : bool
        Whether network and discriminators are trained on every other batch of an epoch
        each. Otherwise, and where an epoch has one batch, both are trained on every
        batch, from one pass of the encoders.
    gradient_penalty : float
        Weight of the slope of discriminators at the latents of both sides.
    """

    adversarial_weight: float
    reference: int
    alternate: bool
    gradient_penalty: float

    def network_terms(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute all terms but the generator loss; parameters are those of `terms`."""
        raise NotImplementedError

    def terms(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute the terms of the network, the generator loss included."""
        terms = self.network_terms(net, batch)
        if "discriminators" in net.parts_:
            latents, observed = batch.latents, batch.observed
            terms["generator"] = self.generator_loss(net, latents, observed)
        return terms

    def step(self, net: DeepNet, batch: Any) -> dict[str, Tensor]:
        """Train the discriminators, then the network, or one of them in turn."""
        has_adversary = "discriminators" in net.parts_
        # an epoch of one batch would never train the discriminators
        turns = self.alternate and has_adversary and net.n_steps_ > 1
        trains_network = not turns or net.step_ % 2 == 0
        with nullcontext() if trains_network else torch.no_grad():
            encoded = net.encode(batch)
        adversary: dict[str, Tensor] = {}
        if has_adversary and not (turns and trains_network):
            latents, observed = encoded.latents, encoded.observed
            adversary = self._train_discriminators(net, latents.detach(), observed)
        if not trains_network:
            return adversary
        terms = self.terms(net, encoded)
        return net.minimize(terms, self.weights(net.progress_)) | adversary

    def losses(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute every term; 'total' includes the loss of the discriminators."""
        losses = super().losses(net, batch)
        if "discriminators" not in net.parts_:
            return losses
        loss, _ = self.discriminator_loss(net, batch.latents, batch.observed)
        return losses | {"discriminator": loss, "total": losses["total"] + loss}

    def find_problems(self, net: DeepNet) -> list[str]:
        """Report discriminators that encoders do not mislead, over half of a phase."""
        accuracies = [e["accuracy"] for e in net.history if "accuracy" in e]
        late = accuracies[len(accuracies) // 2 :]
        # a phase that a checkpoint holds as a whole has no step here
        n_steps = getattr(net, "n_steps_", LEAST_JUDGED_BATCHES)
        if len(accuracies) * n_steps < LEAST_JUDGED_BATCHES:
            return []
        if late and sum(late) / len(late) > WON_ACCURACY:
            return ["the discriminators separate the modalities from the reference"]
        return []

    def _train_discriminators(
        self, net: DeepNet, latents: Tensor, observed: Tensor | None
    ) -> dict[str, Tensor]:
        loss, accuracy, slope = self._discriminate(net, latents, observed)
        terms = {"discriminator": loss} | ({} if slope is None else {"slope": slope})
        weights = {"discriminator": 1.0, "slope": self.gradient_penalty}
        net.minimize(terms, weights, "discriminators")
        return {"discriminator": loss, "accuracy": accuracy}

    def discriminator_loss(
        self, net: DeepNet, latents: Tensor, observed: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Compute the loss and the accuracy of the discriminators.

        Parameters
        ----------
        net : DeepNet
            The net.
        latents : tensor of shape (V, m, d)
            Latents of the batch.
        observed : tensor of bool of shape (m, V) or None
            Which modalities of a sample are observed; None is all.

        Returns
        -------
        loss, accuracy : tensor of shape ()
            Cross-entropy, summed over discriminators, and share of correct decisions.
        """
        loss, accuracy, _ = self._discriminate(net, latents, observed, slopes=False)
        return loss, accuracy

    def _discriminate(
        self,
        net: DeepNet,
        latents: Tensor,
        observed: Tensor | None,
        slopes: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Compute loss and accuracy, and the slopes if they are penalised."""
        penalised = slopes and self.gradient_penalty > 0
        both = torch.cat(self._split(latents), dim=1)
        counted = self._observed_sides(observed)
        slope = None
        if penalised:
            discriminators: Any = net.parts_["discriminators"]
            with net.precision():
                logits, gradients = discriminators.slopes(both)
            logits = logits.to(latents)
            slope = squared_slope(gradients.to(latents), counted)
        else:
            logits = _logits(net, both)
        loss = _cross_entropy(logits, counted, others_real=False)
        of_others, of_reference = logits.chunk(2, 1)
        correct = torch.cat([of_others < 0, of_reference > 0], dim=1).to(loss)
        if counted is None:
            return loss, correct.mean(), slope
        accuracy = (correct * counted).sum() / torch.clamp_min(counted.sum(), 1)
        return loss, accuracy, slope

    def generator_loss(
        self, net: DeepNet, latents: Tensor, observed: Tensor | None
    ) -> Tensor:
        """Compute the loss of encoders whose modalities can be separated."""
        both = torch.cat(self._split(latents), dim=1)
        logits = _logits(net, both, fixed=True)
        return _cross_entropy(logits, self._observed_sides(observed), others_real=True)

    def _split(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the latents of the other modalities, and the reference as often."""
        sides = latents[: self.reference], latents[self.reference + 1 :]
        nonempty = [side for side in sides if len(side)]
        # of the first or last reference, the others are a view: nothing is copied
        others = nonempty[0] if len(nonempty) == 1 else torch.cat(nonempty)
        return others, latents[self.reference].expand_as(others)

    def _observed_sides(self, observed: Tensor | None) -> Tensor | None:
        return None if observed is None else torch.cat(self._split(observed.mT), dim=1)


def _cross_entropy(
    logits: Tensor, observed: Tensor | None, *, others_real: bool
) -> Tensor:
    """Add up the cross-entropies of the others and of the reference, side by side."""
    of_others, of_reference = logits.chunk(2, 1)
    others, reference = (None, None) if observed is None else observed.chunk(2, 1)
    return adversarial_cross_entropy(
        of_others, others_real, others
    ) + adversarial_cross_entropy(of_reference, not others_real, reference)


def _logits(net: DeepNet, latents: Tensor, *, fixed: bool = False) -> Tensor:
    with net.precision():
        return net.parts_["discriminators"](latents, fixed).to(latents)
