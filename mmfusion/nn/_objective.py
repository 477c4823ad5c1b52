"""Objectives: the terms that a network minimises, and the step that does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mmfusion.nn._net import DeepNet


class Objective:
    """What a network minimises in a phase: ``sum_t weight_t(p) * term_t``.

    The weights may depend on the progress p of the phase, from 0 to 1. Subclasses are
    frozen dataclasses of plain numbers: they are pickled, and their repr is part of
    the fingerprint of a checkpoint.
    """

    # sums of some terms by which restarts and epochs can be compared, beside 'total'
    criteria: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def terms(
        self, net: DeepNet, latents: Tensor, observed: Tensor | None
    ) -> dict[str, Tensor]:
        """Compute the terms of a batch, unweighted.

        Parameters
        ----------
        net : DeepNet
            The net, whose `fuse` continues from latents.
        latents : tensor of shape (V, m, d)
            Latents of the batch.
        observed : tensor of bool of shape (m, V) or None
            Which modalities of a sample are observed; None is all.

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
        latents, observed = net.encode(batch)
        terms = self.terms(net, latents, observed)
        return net.minimize(terms, self.weights(net.progress_))

    def losses(
        self, net: DeepNet, latents: Tensor, observed: Tensor | None
    ) -> dict[str, Tensor]:
        """Compute every term of a batch and the criteria; parameters as of `terms`.

        Returns
        -------
        dict of str to tensor of shape ()
            The terms, unweighted; 'total', the weighted sum of all; and the weighted
            sum of each group of terms in `criteria`.
        """
        terms = self.terms(net, latents, observed)
        weights, zero = self.weights(1.0), latents.new_zeros(())
        sums = {}
        for name, group in self.criteria.items():
            own = {term: terms[term] for term in group if term in terms}
            sums[name] = weighted_sum(own, weights, zero)
        return terms | sums | {"total": weighted_sum(terms, weights, zero)}

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
