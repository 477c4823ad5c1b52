"""Targets of a network that is trained towards its own, sharpened assignments."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmfusion.nn._concatenation import ENCODED_CHUNK_ROWS
from mmfusion.nn._data import Batches
from mmfusion.nn._net import DeepNet
from mmfusion.nn._network import FusionNetwork, evaluating
from mmfusion.nn.losses import sharpened

REFRESH_STEPS = 50  # batches that are trained on targets of one network, at least


class SelfTargets(nn.Module):
    """Targets by the network as it was at the last refresh.

    They are computed anew for each batch, so that they need not be stored by sample:
    data may be a stream, or larger than memory.

    Parameters
    ----------
    network : FusionNetwork
        The network; a copy without decoders is held.
    """

    sizes: Tensor
    changed: Tensor

    def __init__(self, network: FusionNetwork) -> None:
        super().__init__()
        self.network = copy.deepcopy(network)
        self.network.decoders = None
        self.network.requires_grad_(False)
        n_clusters = network.heads.n_clusters
        self.register_buffer("sizes", torch.full((n_clusters,), 1 / n_clusters))
        self.register_buffer("changed", torch.ones(()))

    def refresh(self, net: DeepNet, data: Batches, n_done: int) -> None:
        """Hold the network as it is now, if that is due.

        The mean assignment of all samples to each cluster becomes `sizes`, and the
        share of samples whose cluster is another one than at the refresh before
        `changed`; 1 at the first.

        Parameters
        ----------
        net : DeepNet
            The net in training.
        data : Batches
            All samples.
        n_done : int
            Number of epochs of the phase that are done.
        """
        n_steps = max(1, len(data) // net.batch_size)
        if n_done % -(-REFRESH_STEPS // n_steps):
            return
        now, sizes, n_changed = net.module_, torch.zeros_like(self.sizes), 0
        for _, (inputs, observed, _) in data.chunks(ENCODED_CHUNK_ROWS):
            with evaluating(now), evaluating(self.network):
                assignment = now(inputs, observed).logits.softmax(1)
                before = self.network(inputs, observed).logits
            sizes += assignment.sum(0)
            n_changed += int((assignment.argmax(1) != before.argmax(1)).sum())
        self.sizes.copy_(sizes / len(data))
        self.changed.fill_(n_changed / len(data) if n_done else 1.0)
        own = {k: v for k, v in now.state_dict().items() if "decoders." not in k}
        self.network.load_state_dict(own)

    @torch.no_grad()
    def forward(self, inputs: Sequence[Tensor], observed: Tensor | None) -> Tensor:
        """Compute targets of shape (m, k) for a batch."""
        with evaluating(self.network):
            assignment = self.network(inputs, observed).logits.softmax(1)
        return sharpened(assignment, self.sizes)
