"""Data parallel training whose losses are those of the whole batch.

The losses compare all samples of a batch with each other, so that averaging over the
parts of a batch, as usual data parallel training does, would be another objective.
Here each process encodes its part, the latents are gathered, and everything behind
them runs on the whole batch in every process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, distributed


def is_parallel() -> bool:
    """Tell whether several processes train together."""
    return distributed.is_available() and distributed.is_initialized()


def own_part(n_samples: int) -> slice:
    """Which samples of a batch this process encodes; the last few are dropped."""
    if not is_parallel():
        return slice(None)
    size = n_samples // distributed.get_world_size()
    start = distributed.get_rank() * size
    return slice(start, start + size)


def from_first(value: Any) -> Any:
    """Take what the first process has in place of an own value."""
    if not is_parallel():
        return value
    box = [value]
    distributed.broadcast_object_list(box)
    return box[0]


def gathered(own: Tensor, dim: int = 0) -> Tensor:
    """Put the parts of all processes together; gradients flow back to each."""
    if not is_parallel():
        return own
    return torch.cat(tuple(_Gather.apply(own.contiguous())), dim)


class _Gather(torch.autograd.Function):
    """Parts of all processes; the gradient is the sum over their equal losses."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, own)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient[distributed.get_rank()] * distributed.get_world_size()


def average_gradients(parameters: Iterable[Any]) -> None:
    """Average gradients over processes.

    The gather hands each process the sum over all of equal losses, so the average
    over processes is the gradient of one loss.
    """
    if not is_parallel():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = torch.cat([g.flatten() for g in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    parts = flat.split([g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
