"""Losses over all data, frozen fusion weights, and outputs of a net."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from mmfusion.nn._data import (
    Batch,
    Batches,
    Preparation,
    Rows,
    ShuffledBatches,
    WholeBatch,
)
from mmfusion.nn._net import DeepNet
from mmfusion.nn._network import FusionNetwork, Outputs, evaluating

EVALUATION_ROWS = 4096  # samples that stand for all where losses are compared
OUTPUT_CHUNK_ROWS = 1024  # samples in memory at a time


class DivergenceError(FloatingPointError, ValueError):
    """A loss, or an output of a network, is NaN or infinite."""


def freeze_fusion_weights(net: DeepNet, data: Batches) -> None:
    """Set the fusion weights of `predict` to their means over all samples.

    A modality that no sample has keeps its weight, beside those of the others.
    """
    module = net.module_
    totals = torch.zeros((2, *module.frozen.shape), dtype=torch.float64)
    with evaluating(module):
        for _, batch in data.chunks(OUTPUT_CHUNK_ROWS):
            latents = module.encode(batch.inputs, batch.observed)
            # no mean of the weights of chunks, since one may lack a modality
            totals += torch.stack(module.weight_sums(latents, batch.observed)).cpu()
        sums, counts = totals
        before = module.frozen.to(sums)
        means = torch.where(counts > 0, sums / torch.clamp_min(counts, 1), before)
        module.frozen.copy_(means / means.sum())


def evaluate_losses(
    net: DeepNet, data: Batches, seed: int, batch_size: int | None = None
) -> dict[str, float]:
    """Compute mean losses over shuffled batches, with the frozen fusion weights.

    Parameters
    ----------
    net : DeepNet
        The net, in a phase.
    data : Batches
        The samples; of many, some at random stand for all.
    seed : int
        Seed of their order: the same for all nets that are compared, since losses
        depend on which samples share a batch.
    batch_size : int, default=None
        Number of samples of a batch; None is that of the net.

    Returns
    -------
    dict of str to float
        Means of what `Objective.losses` returns.
    """
    generator = torch.Generator().manual_seed(seed)
    batches: ShuffledBatches | WholeBatch
    if net.objective_.whole_batch:
        batches, n_batches = WholeBatch(data, None), 1
    else:
        batches = ShuffledBatches(data, batch_size or net.batch_size, generator)
        n_batches = min(len(batches), max(1, EVALUATION_ROWS // batches.batch_size))
    sums: dict[str, Tensor] = {}
    with evaluating(net.module_):
        for _, batch in zip(range(n_batches), batches, strict=False):
            losses = net.objective_.losses(net, net.encode(batch))
            for name, term in losses.items():
                sums[name] = sums.get(name, 0) + term
    return {name: float(total) / n_batches for name, total in sums.items()}


def iterate_outputs(
    net: DeepNet, rows: Rows, prepare: Preparation
) -> Iterator[Outputs]:
    """Compute the outputs of samples in float64: no sample depends on another.

    Parameters
    ----------
    net : DeepNet
        The net.
    rows : Rows
        The samples.
    prepare : Preparation
        Their scaling.

    Yields
    ------
    Outputs
        The outputs of some, in order; while heads compete, those of the first.

    Raises
    ------
    DivergenceError
        If one is not finite.
    """
    for module, chunk, batch in batches_in_float64(net, rows, prepare):
        outputs = module(batch.inputs, batch.observed)
        if not torch.isfinite(outputs.logits).all():
            raise DivergenceError(_describe_not_finite(outputs, chunk, prepare))
        yield outputs


def batches_in_float64(
    net: DeepNet, rows: Rows, prepare: Preparation, size: int = OUTPUT_CHUNK_ROWS
) -> Iterator[tuple[FusionNetwork, slice, Batch]]:
    """Prepare samples in float64, along with the network in that type.

    Parameters
    ----------
    net : DeepNet
        The net.
    rows : Rows
        The samples.
    prepare : Preparation
        Their scaling.
    size : int, default=1024
        Number of samples in memory at a time.

    Yields
    ------
    module : FusionNetwork
        The network, which evaluates without gradients; while heads compete, the first.
    chunk : slice
        Positions of some samples, in order.
    batch : Batch
        The samples.
    """
    module = copy.deepcopy(net.module_)
    if module.frozen.device.type == "mps":  # it has no float64
        module = module.cpu()
    module = module.double()
    if module.heads.n_heads > 1:
        module.heads.keep(0)
    device = module.frozen.device
    data = Batches(rows, prepare, device, torch.float64, once=True)
    with evaluating(module):
        for chunk, batch in data.chunks(size):
            yield module, chunk, batch


def collect_outputs(
    net: DeepNet,
    rows: Rows,
    prepare: Preparation,
    read: Callable[[Outputs], Tensor],
    dtype: np.dtype,
) -> np.ndarray:
    """Collect something of the outputs of all samples in one array.

    Parameters
    ----------
    net : DeepNet
        The net.
    rows : Rows
        The samples.
    prepare : Preparation
        Their scaling.
    read : callable
        Takes the outputs of m samples and returns a tensor of shape (m, ...).
    dtype : dtype
        Type of the array.

    Returns
    -------
    ndarray of shape (n_samples, ...)
        What was read.

    Raises
    ------
    DivergenceError
        If an output is not finite.
    ValueError
        If it is not finite in that type.
    """
    # small arrays that were kept between the temporary ones of the network would hold
    # on to their memory: a result of 8 MB took 214
    values, start = np.empty(0, dtype), 0
    for outputs in iterate_outputs(net, rows, prepare):
        piece = read(outputs).cpu().numpy()
        if start == 0:
            values = np.empty((len(rows), *piece.shape[1:]), dtype)
        own = values[start : start + len(piece)]
        with np.errstate(over="ignore"):
            own[...] = piece
        if not np.isfinite(own).all():
            remedy = (
                "look for values far from those it was trained on"
                if dtype == np.float64
                else "give X as float64"
            )
            raise ValueError(f"outputs of the network do not fit {dtype}: {remedy}")
        start += len(piece)
    return values


def _describe_not_finite(outputs: Outputs, chunk: slice, prepare: Preparation) -> str:
    """Name the first sample without finite logits, and the modality it comes from."""
    row = int((~torch.isfinite(outputs.logits)).any(-1).int().argmax())
    modalities = torch.isfinite(outputs.latents[:, row]).all(-1).logical_not()
    sources = [prepare.name(v) for v in modalities.nonzero().flatten().tolist()]
    return (
        f"sample {chunk.start + row}: the network returns NaN or infinite values"
        f"{' for ' + ', '.join(sources) if sources else ''}; look for values far from "
        "those it was trained on, or for an encoder that divides by zero"
    )


def divergence_remedy(data: Batches) -> str:
    """Return what to change where a training diverges.

    Parameters
    ----------
    data : Batches
        The samples.

    Returns
    -------
    str
        The remedy, with the largest value of the samples.
    """
    largest, name = max(
        (float(x.abs().max()), data.prepare.name(v))
        for _, batch in data.chunks(OUTPUT_CHUNK_ROWS)
        for v, x in enumerate(batch.inputs)
    )
    return (
        "lower trainer__lr, trainer__pretrain_lr or the weights of the loss terms, set "
        "trainer__clip_norm, or look for extreme values: the largest after scaling is "
        f"{largest:.3g}, in {name}"
    )
