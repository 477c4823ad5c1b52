"""Decoders, the reconstruction loss, and what an objective does before an epoch."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mmfusion import Trainer
from mmfusion.clustering._deep_base import BaseDeepClusterer
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.nn._decoders import make_decoders
from mmfusion.nn._encoders import make_encoders
from mmfusion.nn._net import Phase
from mmfusion.nn._network import ClusteringHeads, FusionNetwork
from mmfusion.nn._reconstruction import ReconstructionObjective
from mmfusion.nn.losses import reconstruction_loss

X, _ = make_multimodal_blobs(30, {"audio": 3, "video": 4}, random_state=0)


@pytest.mark.parametrize("option", [None, 4, [6, 4], torch.nn.LazyLinear])
@pytest.mark.parametrize("shape", [(5,), (1, 9, 7), (3, 2)])
def test_decoders_return_samples(option, shape):
    (decoder,) = make_decoders([option], 4, [shape])
    assert decoder(torch.randn(6, 4)).shape == (6, *shape)


def test_decoders_mirror_the_encoders():
    (encoder,), _ = make_encoders([[6, 5, 4]], [(3,)], ["a"], linear_latents=True)
    (decoder,) = make_decoders([[6, 5, 4]], 4, [(3,)])
    layers = [x for x in (*encoder, *decoder) if isinstance(x, torch.nn.Linear)]
    assert [x.out_features for x in layers] == [6, 5, 4, 5, 6, 3]
    assert isinstance(encoder[-1], torch.nn.Linear)


@pytest.mark.parametrize("observed", [None, [[1, 0], [1, 1], [0, 0], [1, 0]]])
def test_the_loss_is_that_of_the_formula(observed):
    inputs = [torch.randn(4, 3), torch.randn(4, 1, 2, 2)]
    decoded = [torch.randn_like(x) for x in inputs]
    mask = None if observed is None else torch.tensor(observed, dtype=torch.bool)
    expected = 0.0
    for v in range(2):
        rows = [q for q in range(4) if mask is None or mask[q, v]]
        errors = [((inputs[v][q] - decoded[v][q]) ** 2).mean() for q in rows]
        expected += float(sum(errors)) / len(rows)
    assert float(reconstruction_loss(decoded, inputs, mask)) == pytest.approx(expected)


def test_a_missing_cell_adds_nothing_to_the_loss():
    inputs = [torch.zeros(2, 3)]
    decoded = [torch.tensor([[1.0] * 3, [1e3] * 3], requires_grad=True)]
    loss = reconstruction_loss(decoded, inputs, torch.tensor([[True], [False]]))
    (gradient,) = torch.autograd.grad(loss, decoded)
    assert loss.item() == 1.0
    assert gradient.sum(1).tolist() == [2.0, 0.0]


@dataclass(frozen=True)
class CountingObjective(ReconstructionObjective):
    """Writes down each call of `begin_epoch` in a buffer of the network."""

    def begin_epoch(self, net, data, n_done):
        assert len(data) == 30
        net.module_.calls[n_done] += 1


class Autoencoder(BaseDeepClusterer):
    """Trains an autoencoder; its clusters are those of an untrained head."""

    _linear_latents = True
    _trainer_defaults = {
        "max_epochs": 4,
        "batch_size": 10,
        "lr": {"network": 1e-2},
        "betas": {"network": (0.9, 0.999)},
        "lr_schedule": "constant",
        "clip_norm": 5.0,
        "selection": "reconstruction",
        "selection_every": 0,
    }
    _selection_criteria = ("reconstruction", "total")

    def __init__(
        self,
        n_clusters=2,
        encoders=(8, 3),
        scaling="auto",
        n_init=1,
        trainer=None,
        modalities=None,
        random_state=0,
    ):
        self.n_clusters = n_clusters
        self.encoders = encoders
        self.scaling = scaling
        self.n_init = n_init
        self.trainer = trainer
        self.modalities = modalities
        self.random_state = random_state

    def _make_network(self, encoders, width):
        heads = ClusteringHeads(1, width, 5, self._k)
        network = FusionNetwork(encoders, width, heads, self._make_decoders(width))
        network.register_buffer("calls", torch.zeros(20))
        return network

    def _make_phases(self, n_samples, settings):
        return [
            Phase("training", settings.max_epochs, CountingObjective(), settings.lr)
        ]

    def _examine(self, net, data):
        return super()._examine(net, data)[0], []


def test_the_reconstruction_is_trained_and_selected_by():
    fitted = Autoencoder(trainer=Trainer(max_epochs=20)).fit(X)
    losses = [epoch["reconstruction"] for epoch in fitted.history_]
    assert losses[-1] < 0.7 * losses[0]
    assert fitted.loss_ == pytest.approx(losses[-1], rel=0.2)


def test_an_objective_prepares_the_net_once_before_each_epoch(tmp_path):
    trainer = Trainer(max_epochs=3, checkpoint_dir=tmp_path)
    for _ in range(2):  # the second fit finds all epochs in the checkpoint
        fitted = Autoencoder(trainer=trainer).fit(X)
        np.testing.assert_array_equal(fitted.module_.calls, [1] * 3 + [0] * 17)
    streamed = Autoencoder().partial_fit(X).partial_fit(X)
    np.testing.assert_array_equal(streamed.module_.calls[:3], [1, 1, 0])
