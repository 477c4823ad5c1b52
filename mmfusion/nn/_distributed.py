"""Data-parallel training whose losses are those of the whole batch.

The losses compare all samples of a batch with each other, so that averaging them over
parts of a batch, as usual data-parallel training does, would change the objective.
Here each process encodes its part of the batch, the latents are gathered, and the
rest of the network runs on the whole batch in every process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed

from mmfusion._typing import T


def is_parallel() -> bool:
    """Return whether several processes train one network together."""
    return distributed.is_available() and distributed.is_initialized()


def is_first() -> bool:
    """Return whether this process is the first of those that train together."""
    return not is_parallel() or distributed.get_rank() == 0


def own_part(n_samples: int) -> slice:
    """Return the samples of a batch that this process encodes, equally many in each.

    A remainder at the end of the batch is dropped.
    """
    if not is_parallel():
        return slice(None)
    size = n_samples // distributed.get_world_size()
    start = distributed.get_rank() * size
    return slice(start, start + size)


def broadcast(value: T) -> T:
    """Return the value of the first process, the same in all of them."""
    if not is_parallel():
        return value
    box = [value]
    distributed.broadcast_object_list(box)
    return box[0]


def gather(own: Tensor, dim: int = 0) -> Tensor:
    """Concatenate the parts of all processes; gradients flow back to each."""
    if not is_parallel():
        return own
    return torch.cat(tuple(_Gather.apply(own.contiguous())), dim)


class _Gather(torch.autograd.Function):
    """All-gather whose gradient is the sum over the equal losses of all processes."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, own)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient[distributed.get_rank()] * distributed.get_world_size()


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Average gradients over processes.

    `gather` passes each process the sum of the gradients of all losses, which are
    equal, so that the average over processes is the gradient of one of them.
    """
    if not is_parallel():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    # one message instead of one for each parameter
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    parts = flat.split([g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
