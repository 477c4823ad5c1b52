"""Tiny nets and data for the tests of training."""

import numpy as np
import torch
from torch import nn

from mmfusion.nn._data import Batches, Preparation, Rows, ShuffledBatches
from mmfusion.nn._encoders import vector_encoder
from mmfusion.nn._fusion import FusionNetwork
from mmfusion.nn._neighbors import NeighborPairs, neighbor_graphs
from mmfusion.nn._net import AdversarialNet
from mmfusion.nn._objective import Objective

N, BATCH, WIDTH, N_CLUSTERS = 20, 6, 4, 3
FEATURES = (5, 6, 3)
OBJECTIVE = {
    "sc_weight": 1.0,
    "sim_weight": 0.7,
    "reg_weight": 0.5,
    "regularizer": "balance",
    "attention_weight": 0.9,
    "mean_attention": True,
    "adversarial_weight": 0.3,
    "kernel_width": 0.15,
    "size_weight": 2.0,
}


def make_objective(**changes):
    return Objective(**(OBJECTIVE | changes))


def make_net(
    objective=None,
    *,
    attention=True,
    n_heads=1,
    dropout=0.0,
    dtype=torch.float64,
    **options,
):
    encoders = [vector_encoder(d, [6, WIDTH]) for d in FEATURES]
    if dropout:
        encoders = [nn.Sequential(e, nn.Dropout(dropout)) for e in encoders]
    network = FusionNetwork(
        encoders, WIDTH, N_CLUSTERS, attention, 0.5, hidden_width=5, n_heads=n_heads
    )
    rates = {"lr": 1e-2, "attention_lr": 3e-3, "discriminator_lr": 2e-3}
    options = rates | {"pretrain_lr": 2e-2} | options
    return AdversarialNet(
        network.to(dtype),
        criterion=objective or make_objective(),
        width=WIDTH,
        batch_size=BATCH,
        verbose=0,
        **options,
    ).initialize()


def make_data(missing=False, dtype=torch.float64):
    random = np.random.default_rng(0)
    labels = np.arange(N) % N_CLUSTERS
    centers = [random.normal(0, 3, (N_CLUSTERS, d)) for d in FEATURES]
    blocks = [random.normal(center[labels]) for center in centers]
    observed = None
    if missing:
        observed = random.random((N, 3)) > 0.3
        observed[np.arange(N), np.arange(N) % 3] = True
    rows = Rows(blocks, observed)
    shapes = [(d,) for d in FEATURES]
    preparation = Preparation.fit(rows, ["block"] * 3, shapes)
    return Batches(rows, preparation, dtype=dtype)


def make_epoch(data, seed=0):
    """An epoch of the game."""
    return ShuffledBatches(data, BATCH, torch.Generator().manual_seed(seed))


def make_pairs(data, seed=0):
    """An epoch of the warm start."""
    inputs, observed = data.batch(slice(None))
    blocks = [x.numpy() for x in inputs]
    observed = None if observed is None else observed.numpy()
    graphs = neighbor_graphs(blocks, observed, 3)
    generator = torch.Generator().manual_seed(seed)
    return NeighborPairs(data, np.arange(N), graphs, BATCH, generator)


def state_of(net):
    """All that a net has learned, by name."""
    parts = {"network": net.module_, "discriminators": net.discriminators_}
    return {
        f"{name}.{key}": value.clone()
        for name, part in parts.items()
        if part is not None
        for key, value in part.state_dict().items()
    }
