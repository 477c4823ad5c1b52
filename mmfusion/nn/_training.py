"""Phases of the training of a fusion network, and what is read from it after."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmfusion.nn._data import Batches, Preparation, Rows, ShuffledBatches
from mmfusion.nn._fusion import Fused, by_graph
from mmfusion.nn._net import AdversarialNet


class DivergenceError(FloatingPointError, ValueError):
    """A loss, or what a network returns, is NaN or infinite."""


EVALUATION_ROWS = 4096
CHUNK_ROWS = 1024


@contextmanager
def evaluating(module: torch.nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode, without gradients, and back."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)


def begin(net: AdversarialNet, phase: str, n_epochs: int, done: int = 0) -> None:
    """Tell a net which phase of its training the next epochs belong to.

    Parameters
    ----------
    net : AdversarialNet
        Initialised.
    phase : {'warm start', 'game'}
        Recorded with every epoch.
    n_epochs : int
        Length of the phase, over which learning rates fall.
    done : int, default=0
        Epochs of the phase that are done already.
    """
    net.phase_name_, net.phase_epochs_ = phase, n_epochs
    net.phase_start_ = len(net.history) - done
    net.done_ = min(1.0, done / max(1, n_epochs))
    if phase == "warm start":
        for group in net.optimizer_.param_groups:
            group["lr"] = group["initial_lr"] = net.pretrain_lr


def freeze_attention(net: AdversarialNet, data: Batches) -> None:
    """Fix the attention weights of `predict`: their mean over all samples."""
    module = net.module_
    total = torch.zeros_like(module.frozen, dtype=torch.float64)
    with evaluating(module):
        for rows, (inputs, observed) in data.chunks(CHUNK_ROWS):
            latents = module.encode(inputs, observed)
            weights = module.weigh(latents, observed)
            total += weights * (rows.stop - rows.start)
        module.frozen.copy_(total / total.sum())


def evaluate(net: AdversarialNet, data: Batches, seed: int) -> dict[str, float]:
    """Mean losses over shuffled batches, with the frozen attention.

    Parameters
    ----------
    net : AdversarialNet
        The net.
    data : Batches
        The samples; of many, some at random stand for all.
    seed : int
        Of the order: the same for all that are compared.

    Returns
    -------
    dict of str to float
        Every term; 'clustering' is the weighted sum of the terms of the clustering,
        'total' adds those of attention and of both sides of the game.
    """
    generator = torch.Generator().manual_seed(seed)
    batches = ShuffledBatches(data, net.batch_size, generator)
    n_batches = min(len(batches), max(1, EVALUATION_ROWS // batches.batch_size))
    sums: dict[str, Tensor] = {}
    with evaluating(net.module_):
        for _, batch in zip(range(n_batches), batches, strict=False):
            for name, term in net.losses(batch).items():
                sums[name] = sums.get(name, 0) + term
    return {name: float(total) / n_batches for name, total in sums.items()}


def score_agreement(net: AdversarialNet, pairs: Any) -> Tensor:
    """How well neighbours agree, graph by graph.

    Parameters
    ----------
    net : AdversarialNet
        The net.
    pairs : NeighborPairs
        The pairs of one epoch: the same for all nets that are compared.

    Returns
    -------
    tensor of shape (n_heads,)
        Of every clustering module, what the warm start minimises: the mean over
        graphs of the logarithm of their disagreement, and the imbalance of clusters.
    """
    n_graphs = net.trust_.running.shape[1]
    sums = counts = imbalance = torch.zeros((), device=net.device)
    with evaluating(net.module_):
        for batch, graphs in pairs:
            own, unequal = net.criterion.agreement(net.module_(*batch))
            more, seen = by_graph(own, graphs, n_graphs)
            sums, counts = sums + more, counts + seen
            imbalance = imbalance + unequal
    has_edges = counts > 0
    means = sums[:, has_edges] / counts[has_edges] + net.trust_.FLOOR
    return means.log().mean(1) + imbalance / len(pairs)


def keep_best_head(net: AdversarialNet, pairs: Any) -> float:
    """End the competition of the clustering modules.

    Parameters
    ----------
    net : AdversarialNet
        The net; it is left with one module, and optimisers that remember nothing.
    pairs : iterable of PairedBatch
        By which the modules are compared.

    Returns
    -------
    float
        The loss of the best.
    """
    scores = score_agreement(net, pairs)
    best = int(scores.argmin())
    net.module_.heads.keep(best)
    net.initialize_optimizer()
    return float(scores[best])


def outputs(net: AdversarialNet, rows: Rows, prepare: Preparation) -> Iterator[Fused]:
    """Walk through what a net says of samples, in float64: none depends on another.

    Parameters
    ----------
    net : AdversarialNet
        The net.
    rows : Rows
        The samples.
    prepare : Preparation
        What is done to them first.

    Yields
    ------
    Fused
        What it says of some, in order; in a warm start, by the first module alone.

    Raises
    ------
    DivergenceError
        If it is not finite.
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
        for chunk, (inputs, observed) in data.chunks(CHUNK_ROWS):
            out = module(inputs, observed)
            if not torch.isfinite(out.logits).all():
                raise DivergenceError(_not_finite(out, chunk, prepare))
            yield out


def _not_finite(out: Fused, chunk: slice, prepare: Preparation) -> str:
    """Name the first sample without finite logits, and the modality it comes from."""
    row = int((~torch.isfinite(out.logits)).any(-1).int().argmax())
    modalities = torch.isfinite(out.latents[:, row]).all(-1).logical_not()
    sources = [prepare.name(v) for v in modalities.nonzero().flatten().tolist()]
    return (
        f"sample {chunk.start + row}: the network returns NaN or infinite values"
        f"{' for ' + ', '.join(sources) if sources else ''}; look for values far from "
        "those it was trained on, or for an encoder that divides by zero"
    )


def assign(net: AdversarialNet, rows: Rows, prepare: Preparation) -> np.ndarray:
    """Tell the cluster of samples; parameters are those of `outputs`.

    Returns
    -------
    ndarray of int of shape (n_samples,)
        Clusters.
    """
    said = outputs(net, rows, prepare)
    return np.concatenate([out.logits.argmax(1).cpu().numpy() for out in said])
