"""The network of EAMC: attention over modalities."""

import math

import pytest
import torch
from torch import nn

from mmfusion.clustering.eamc._network import Attention, EAMCNetwork
from mmfusion.nn import _training
from mmfusion.nn._encoders import vector_encoder
from mmfusion.nn._training import freeze_fusion_weights

from .eamc_nets import make_data, make_net

WIDTH = 4
TIGHT = {"rtol": 1e-9, "atol": 1e-10}


@pytest.fixture(autouse=True)
def double():
    """Draw the same random numbers in every test, in double precision."""
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_default_dtype(torch.float32)


def make_network(n_modalities=3, temperature=1.0):
    encoders = [vector_encoder(5 + v, [7, WIDTH]) for v in range(n_modalities)]
    network = EAMCNetwork(encoders, WIDTH, 3, temperature)
    if network.attention is not None:  # its last layer starts from zero
        nn.init.normal_(network.attention.layers[-1].weight)
    return network


def make_inputs(n_modalities=3, m=8):
    return [torch.randn(m, 5 + v) for v in range(n_modalities)]


def some_observed(m=8, n_modalities=3):
    observed = torch.rand(m, n_modalities) > 0.4
    observed[torch.arange(m), torch.arange(m) % n_modalities] = True
    assert not observed.all()
    return observed


def test_attention_is_the_mean_over_samples_of_a_softmax_of_sigmoids():
    attention = Attention(2, WIDTH, temperature=0.5)
    nn.init.normal_(attention.layers[-1].weight)
    latents = torch.randn(2, 6, WIDTH)
    shares = []
    for q in range(6):
        h = torch.cat([latents[0, q], latents[1, q]])
        for layer in attention.layers:
            h = layer.weight @ h + layer.bias
        e = [math.exp(1 / (1 + math.exp(-float(a))) / 0.5) for a in h.detach()]
        shares.append([each / sum(e) for each in e])
    expected = torch.tensor(shares).mean(0)
    assert expected.std() > 0.01
    torch.testing.assert_close(attention(latents, None), expected, **TIGHT)


def test_attention_weights_add_up_to_1():
    attention = Attention(3, WIDTH, temperature=0.1)
    nn.init.normal_(attention.layers[-1].weight)
    latents = torch.randn(3, 8, WIDTH)
    for observed in (None, some_observed()):
        weights = attention(latents, observed)
        assert weights.min() >= 0
        torch.testing.assert_close(weights.sum(), torch.tensor(1.0))


def test_attention_starts_from_equal_weights():
    weights = Attention(3, WIDTH, temperature=0.1)(torch.randn(3, 8, WIDTH), None)
    torch.testing.assert_close(weights, torch.full((3,), 1 / 3))


def test_the_ratio_of_two_attention_weights_is_bounded_by_the_temperature():
    attention = Attention(2, WIDTH, temperature=10)
    nn.init.normal_(attention.layers[-1].weight, std=100)
    weights = attention(100 * torch.randn(2, 8, WIDTH), None)
    assert weights.max() / weights.min() <= math.exp(0.1) + 1e-12


def test_without_attention_modalities_weigh_the_same():
    network = make_network(temperature=None)
    torch.testing.assert_close(network(make_inputs()).weights, torch.full((3,), 1 / 3))
    assert make_network(1).attention is None


def test_attention_gives_nothing_to_a_modality_that_no_sample_of_a_batch_has():
    network = make_network()
    observed = torch.ones(8, 3, dtype=torch.bool)
    observed[:, 1] = False
    weights = network(make_inputs(), observed).weights
    assert weights[1] == 0
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0))


def test_all_observed_is_the_same_as_no_mask():
    network, inputs = make_network(), make_inputs()
    masked = network(inputs, torch.ones(8, 3, dtype=torch.bool))
    for ours, plain in zip(masked, network(inputs), strict=True):
        torch.testing.assert_close(ours, plain, **TIGHT)


def test_parts_are_on_the_device_of_the_network():
    net = make_net(device="meta")
    tensors = [t for part in net.parts_.values() for t in part.state_dict().values()]
    assert {t.device.type for t in tensors} == {"meta"}
    assert {t.dtype for t in tensors if t.is_floating_point()} == {torch.float64}


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_frozen_weights_do_not_depend_on_the_chunks_of_the_data(
    monkeypatch, missing, chunk
):
    net, data = make_net(), make_data(missing)
    nn.init.normal_(net.module_.attention.layers[-1].weight)
    latents = net.module_.encode(*data.batch(slice(None))[:2]).detach()
    expected = net.module_.weigh(latents, data.batch(slice(None)).observed)
    assert expected.std() > 0.01
    monkeypatch.setattr(_training, "OUTPUT_CHUNK_ROWS", chunk)
    freeze_fusion_weights(net, data)
    torch.testing.assert_close(net.module_.frozen, expected.detach(), **TIGHT)
