"""The fusion network: attention, missing modalities, batched parts, trust."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmfusion.nn._encoders import vector_encoder
from mmfusion.nn._fusion import (
    Attention,
    ClusteringHeads,
    Discriminators,
    FusionNetwork,
    GraphTrust,
)

WIDTH = 4
TIGHT = {"rtol": 1e-9, "atol": 1e-10}


@pytest.fixture(autouse=True)
def double(seeded):
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def make_network(n_modalities=3, n_heads=1, **options):
    encoders = [vector_encoder(5 + v, [7, WIDTH]) for v in range(n_modalities)]
    network = FusionNetwork(encoders, WIDTH, 3, n_heads=n_heads, **options)
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


# Attention


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
    network = make_network(attention=False)
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


# Fusion and missing modalities


def test_fusion_is_the_weighted_sum_of_latents():
    network, inputs = make_network(), make_inputs()
    out = network(inputs)
    expected = sum(
        w * encoder(x)
        for w, encoder, x in zip(out.weights, network.encoders, inputs, strict=True)
    )
    torch.testing.assert_close(out.fused, expected, **TIGHT)


def test_weights_are_renormalised_over_what_a_sample_has():
    network, inputs, observed = make_network(), make_inputs(), some_observed()
    out = network(inputs, observed)
    latents = [e(x) for e, x in zip(network.encoders, inputs, strict=True)]
    for q in range(8):
        own = [v for v in range(3) if observed[q, v]]
        total = sum(out.weights[v] for v in own)
        expected = sum(out.weights[v] / total * latents[v][q] for v in own)
        torch.testing.assert_close(out.fused[q], expected, **TIGHT)


@pytest.mark.parametrize("training", [True, False])
def test_values_where_a_modality_is_missing_do_not_matter(training):
    network, inputs, observed = make_network(), make_inputs(), some_observed()
    changed = [
        torch.where(seen[:, None], x, 100 * torch.randn_like(x))
        for x, seen in zip(inputs, observed.mT, strict=True)
    ]
    network.train(training)
    outs = [network(given, observed) for given in (inputs, changed)]
    for ours, others in zip(*outs, strict=True):
        torch.testing.assert_close(ours, others, **TIGHT)
    assert (outs[0].latents[~observed.mT] == 0).all()


def test_a_prediction_does_not_depend_on_the_other_samples():
    network, inputs, observed = make_network(), make_inputs(), some_observed()
    network(inputs, observed)  # moves the running means of batch norm
    network.eval()
    network.frozen.copy_(torch.tensor([0.2, 0.5, 0.3]))
    for mask in (None, observed):
        together = network(inputs, mask)
        for q in range(8):
            own = None if mask is None else mask[q : q + 1]
            alone = network([x[q : q + 1] for x in inputs], own)
            torch.testing.assert_close(together.logits[q], alone.logits[0], **TIGHT)
            torch.testing.assert_close(together.hidden[q], alone.hidden[0], **TIGHT)


def test_known_latents_and_weights_are_taken_as_they_are():
    network, inputs = make_network(), make_inputs()
    out = network(inputs)
    again = network(None, None, out.latents, out.weights)
    torch.testing.assert_close(again.fused, out.fused, **TIGHT)
    first = network(inputs, weights=torch.tensor([1.0, 0, 0]))
    torch.testing.assert_close(first.fused, out.latents[0], **TIGHT)


# Modules side by side


def separate_modules(heads):
    for r in range(heads.n_heads):
        width = heads.hidden.shape[-1]
        hidden = nn.Linear(WIDTH, width)
        norm = nn.BatchNorm1d(width)
        assign = nn.Linear(width, heads.assign.shape[-1])
        own = slice(r * width, (r + 1) * width)
        with torch.no_grad():
            hidden.weight.copy_(heads.hidden[r].T)
            hidden.bias.copy_(heads.hidden_bias[r, 0])
            assign.weight.copy_(heads.assign[r].T)
            assign.bias.copy_(heads.assign_bias[r, 0])
            norm.weight.copy_(heads.norm.weight[own])
            norm.bias.copy_(heads.norm.bias[own])
        norm.running_mean.copy_(heads.norm.running_mean[own])
        norm.running_var.copy_(heads.norm.running_var[own])
        yield hidden, norm, assign


def make_heads(n_heads=3):
    heads = ClusteringHeads(n_heads, WIDTH, 5, 3)
    for parameter in (*heads.norm.parameters(), heads.hidden_bias, heads.assign_bias):
        nn.init.uniform_(parameter, 0.5, 1.5)
    for _ in range(3):
        heads(torch.randn(8, WIDTH))
    return heads


@pytest.mark.parametrize("training", [True, False])
def test_heads_side_by_side_are_separate_modules(training):
    heads = make_heads().train(training)
    modules = [[part.train(training) for part in m] for m in separate_modules(heads)]
    fused = torch.randn(8, WIDTH)
    found = heads(fused)
    for r, (hidden, norm, assign) in enumerate(modules):
        expected = norm(F.relu(hidden(fused)))
        torch.testing.assert_close(found[0][r], expected, **TIGHT)
        torch.testing.assert_close(found[1][r], assign(expected), **TIGHT)
        own = slice(5 * r, 5 * r + 5)  # what it has learned of the data
        torch.testing.assert_close(
            heads.norm.running_mean[own], norm.running_mean, **TIGHT
        )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("head", [0, 1, 2])
def test_the_head_that_is_kept_says_what_it_said(head, training):
    heads = make_heads().train(training)
    fused = torch.randn(8, WIDTH)
    before = [part[head].clone() for part in heads(fused)]
    heads.keep(head)
    assert heads.n_heads == 1
    for ours, kept in zip(heads(fused), before, strict=True):
        torch.testing.assert_close(ours[0], kept, **TIGHT)


def test_the_head_that_is_kept_still_learns():
    heads = make_heads()
    heads.keep(1)
    heads(torch.randn(8, WIDTH))[1].square().sum().backward()
    assert len(list(heads.parameters())) == 6
    for parameter in heads.parameters():
        assert parameter.grad.abs().max() > 0


def test_a_network_with_one_head_has_no_axis_of_heads():
    inputs = make_inputs()
    assert make_network()(inputs).logits.shape == (8, 3)
    several = make_network(n_heads=4, hidden_width=6)(inputs)
    assert several.logits.shape == (4, 8, 3)
    assert several.hidden.shape == (4, 8, 6)


def test_batched_discriminators_are_separate_networks():
    judges = Discriminators(2, WIDTH)
    for bias in judges.biases:
        nn.init.normal_(bias)
    latents = torch.randn(2, 6, WIDTH)
    found = judges(latents)
    assert found.shape == (2, 6)
    for d in range(2):
        for q in range(6):
            h = latents[d, q]
            for layer in range(4):
                h = judges.weights[layer][d].T @ h + judges.biases[layer][d, 0]
                if layer < 3:
                    h = torch.where(h > 0, h, 0.2 * h)
            torch.testing.assert_close(found[d, q], h[0], **TIGHT)


# Trust in graphs


def follow(disagreements, n_steps=200):
    """Trust after many batches in which each graph disagrees as much as is said."""
    trust = GraphTrust(1, len(disagreements))
    graphs = torch.arange(len(disagreements)).repeat(4)
    pairs = torch.tensor(disagreements)[graphs][None]
    for _ in range(n_steps):
        weights = trust(pairs, graphs)
    return weights[0, : len(disagreements)]


def test_a_graph_that_disagrees_more_is_trusted_less():
    weights = follow([0.1, 0.5, 2.0])
    assert weights[0] > weights[1] > weights[2] > 0


def test_trust_is_inverse_to_disagreement():
    weights = follow([0.1, 0.5, 2.0])
    floor = GraphTrust.FLOOR
    ratio = (2 + floor) / (0.1 + floor)
    assert float(weights[0] / weights[2]) == pytest.approx(ratio, rel=1e-2)
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))


def test_graphs_that_disagree_alike_are_trusted_alike():
    torch.testing.assert_close(follow([0.7, 0.7]), torch.ones(2))


def test_a_graph_without_edges_in_a_batch_is_remembered():
    trust = GraphTrust(2, 3)
    trust(torch.tensor([[0.1, 0.9], [0.5, 0.4]]), torch.tensor([0, 1]))
    before = trust.running.clone()
    trust(torch.tensor([[0.3], [0.2]]), torch.tensor([1]))
    assert (trust.running[:, [0, 2]] == before[:, [0, 2]]).all()
    assert (trust.running[:, 1] != before[:, 1]).all()


def test_every_head_trusts_for_itself():
    trust = GraphTrust(2, 2)
    graphs = torch.tensor([0, 1])
    pairs = torch.tensor([[0.1, 2.0], [2.0, 0.1]])
    for _ in range(50):
        weights = trust(pairs, graphs)
    assert weights[0, 0] > weights[0, 1]
    torch.testing.assert_close(weights[1], weights[0].flip(0))


def test_no_gradient_flows_through_trust():
    pairs = torch.tensor([[0.1, 2.0]], requires_grad=True)
    assert not GraphTrust(1, 2)(pairs, torch.tensor([0, 1])).requires_grad
