"""Tiny nets of EAMC and data for the tests of training."""

import numpy as np
import torch
from torch import nn

from mmfusion.clustering.eamc._network import EAMCNetwork
from mmfusion.clustering.eamc._objective import EAMCObjective
from mmfusion.clustering.eamc._pretraining import (
    GraphTrust,
    NeighborAgreement,
    NeighborPairs,
    keep_best_head,
    neighbor_graphs,
)
from mmfusion.nn._adversary import Discriminators
from mmfusion.nn._data import Batches, Preparation, Rows, ShuffledBatches
from mmfusion.nn._encoders import vector_encoder
from mmfusion.nn._net import DeepNet, Phase

N, BATCH, WIDTH, N_CLUSTERS = 20, 6, 4, 3
FEATURES = (5, 6, 3)
OBJECTIVE = {
    "separation_weight": 1.0,
    "simplex_weight": 0.7,
    "confidence_weight": 0.0,
    "balance_weight": 0.5,
    "attention_weight": 0.9,
    "inequality_weight": 0.4,
    "adversarial_weight": 0.3,
    "kernel_width": 0.15,
    "reference": 0,
    "alternate": False,
    "gradient_penalty": 0.0,
}
SIZE_WEIGHT = 2.0
RATES = {"network": 1e-2, "attention": 3e-3, "discriminators": 2e-3}
PRETRAINING_RATES = {"network": 2e-2}
BETAS = {"network": (0.95, 0.999), "discriminators": (0.5, 0.999)}
PARTS = {"pretraining": ("trust",), "adversarial training": ("trust", "discriminators")}


def make_objective(**changes):
    return EAMCObjective(**(OBJECTIVE | changes))


def make_net(
    *,
    adversarial=True,
    attention=True,
    n_heads=1,
    dropout=0.0,
    dtype=torch.float64,
    **options,
):
    encoders = [vector_encoder(d, [6, WIDTH]) for d in FEATURES]
    if dropout:
        encoders = [nn.Sequential(e, nn.Dropout(dropout)) for e in encoders]
    temperature = 0.5 if attention else None
    network = EAMCNetwork(
        encoders, WIDTH, N_CLUSTERS, temperature, hidden_width=5, n_heads=n_heads
    )
    parts = {}
    if adversarial:
        parts["discriminators"] = Discriminators(len(FEATURES) - 1, WIDTH)
    parts["trust"] = GraphTrust(n_heads, 2 * len(FEATURES))
    return DeepNet(
        network.to(dtype),
        parts=parts,
        separate=("network", "attention", "discriminators"),
        betas=BETAS,
        batch_size=BATCH,
        verbose=0,
        **options,
    ).initialize()


def make_phase(name, n_epochs, objective=None, rates=None):
    """Make a phase of EAMC by its name."""
    if name == "pretraining":
        return Phase(
            name,
            n_epochs,
            NeighborAgreement(SIZE_WEIGHT),
            rates or PRETRAINING_RATES,
            parts=PARTS[name],
            compete=keep_best_head,
            learns_weights=False,
        )
    return Phase(
        name,
        n_epochs,
        objective or make_objective(),
        rates or RATES,
        parts=PARTS[name],
    )


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
    """Make an epoch of adversarial training."""
    return ShuffledBatches(data, BATCH, torch.Generator().manual_seed(seed))


def make_pairs(data, seed=0):
    """Make an epoch of pretraining."""
    inputs, observed, _ = data.batch(slice(None))
    blocks = [x.numpy() for x in inputs]
    observed = None if observed is None else observed.numpy()
    graphs = neighbor_graphs(blocks, observed, 3)
    generator = torch.Generator().manual_seed(seed)
    return NeighborPairs(data, np.arange(N), graphs, BATCH, generator)


def state_of(net):
    """Return all that a net has learned, by name."""
    parts = {"network": net.module_}
    if "discriminators" in net.parts_:
        parts["discriminators"] = net.parts_["discriminators"]
    return {
        f"{name}.{key}": value.clone()
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }
