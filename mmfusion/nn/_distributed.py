"""Data-parallel training whose losses are those of the whole batch.

The losses compare all samples of a batch with each other, so that averaging them over
parts of a batch, as usual data-parallel training does, would change the objective.
Here each process encodes its share of the batch, the latents are gathered, and the
rest of the network runs on the whole batch in every process. Batch norm in an encoder
normalises by the whole batch, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from mmfusion._typing import T

_BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def is_parallel() -> bool:
    """Return whether several processes train one network together."""
    return distributed.is_available() and distributed.is_initialized()


def is_first() -> bool:
    """Return whether this process is the first of those that train together."""
    return not is_parallel() or distributed.get_rank() == 0


def broadcast(value: T) -> T:
    """Return the value of the first process, the same in all of them."""
    if not is_parallel():
        return value
    box = [value]
    distributed.broadcast_object_list(box)
    return box[0]


def check_same(value: object, description: str) -> None:
    """Check that a value is the same in all processes.

    Raises
    ------
    ValueError
        If it is not, in every process.
    """
    if not is_parallel():
        return
    values: list[object] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    others = [rank for rank, other in enumerate(values) if other != values[0]]
    if others:
        raise ValueError(
            f"processes {others} have other {description} than the first one: every "
            "process takes all samples, in the same order, and encodes its share of "
            "each batch"
        )


@dataclass(frozen=True)
class Shares:
    """Division of a batch into equal shares, one for each process.

    Where the samples do not divide, the last shares are filled up with copies of the
    last sample, which are dropped when shares are put together.

    Parameters
    ----------
    n_samples : int
        Number of samples of the batch.
    n_blocks : int, default=1
        Number of equal blocks that the batch consists of, such as samples and their
        neighbours. Each is divided by itself.
    """

    n_samples: int
    n_blocks: int = 1

    def take(self, whole: Tensor) -> Tensor:
        """Return this process's share of a batch."""
        size = self.n_samples // self.n_blocks
        n_own = -(-size // distributed.get_world_size())
        own = distributed.get_rank() * n_own + torch.arange(n_own)
        starts = size * torch.arange(self.n_blocks)
        rows = (starts[:, None] + own.clamp_max(size - 1)).flatten()
        return whole[rows.to(whole.device)]

    def put_together(self, own: Tensor, *, sums_gradients: bool = False) -> Tensor:
        """Return the whole batch; gradients flow back to each share.

        Parameters
        ----------
        own : tensor of shape (s, ...)
            The share of this process.
        sums_gradients : bool, default=False
            Whether to add up the gradients of all processes. Otherwise they are taken
            to be equal, as after a loss of the whole batch.

        Returns
        -------
        tensor of shape (n_samples, ...)
            The batch in its order.
        """
        size = self.n_samples // self.n_blocks
        shares = _Gather.apply(own.contiguous(), sums_gradients)
        # (processes, blocks, samples, ...) to (blocks, processes * samples, ...)
        blocks = shares.unflatten(1, (self.n_blocks, -1)).transpose(0, 1).flatten(1, 2)
        return blocks[:, :size].flatten(0, 1)

    @contextmanager
    def normalizing(self, module: nn.Module) -> Iterator[None]:
        """Let the batch norm of a module normalise its share by the whole batch."""
        handles = []
        for layer in module.modules():
            if isinstance(layer, _BATCH_NORM) and layer.training:
                handles.append(layer.register_forward_pre_hook(self._whole_input))
                handles.append(layer.register_forward_hook(self._own_output))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _whole_input(self, layer: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        return (self.put_together(args[0], sums_gradients=True),)

    def _own_output(self, layer: nn.Module, args: object, whole: Tensor) -> Tensor:
        return self.take(whole)


class _Gather(torch.autograd.Function):
    """All-gather; its gradient is the sum over the losses of all processes."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, sums_gradients: bool) -> Tensor:
        ctx.sums_gradients = sums_gradients
        shares = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(shares, own)
        return torch.stack(shares)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        rank = distributed.get_rank()
        if not ctx.sums_gradients:
            return gradient[rank] * distributed.get_world_size(), None
        total = gradient.contiguous()
        distributed.all_reduce(total)
        return total[rank], None


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Average gradients over processes.

    `Shares` passes each process the sum of the gradients of all losses, which are
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
