"""The fusion network: weights, missing modalities, batched heads, discriminators."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmfusion.nn._adversary import Discriminators
from mmfusion.nn._encoders import vector_encoder
from mmfusion.nn._network import ClusteringHeads, FusionNetwork

WIDTH = 4
TIGHT = {"rtol": 1e-9, "atol": 1e-10}


@pytest.fixture(autouse=True)
def double(seeded):
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class WeightedNetwork(FusionNetwork):
    """Fusion by one free weight per modality."""

    def __init__(self, encoders, width, heads):
        super().__init__(encoders, width, heads)
        self.free = nn.Parameter(torch.randn(len(encoders)))

    def weigh(self, latents, observed):
        return self.free.softmax(0)


def make_network(n_modalities=3, n_heads=1, hidden_width=100, kind=WeightedNetwork):
    encoders = [vector_encoder(5 + v, [7, WIDTH]) for v in range(n_modalities)]
    return kind(encoders, WIDTH, ClusteringHeads(n_heads, WIDTH, hidden_width, 3))


def make_inputs(n_modalities=3, m=8):
    return [torch.randn(m, 5 + v) for v in range(n_modalities)]


def some_observed(m=8, n_modalities=3):
    observed = torch.rand(m, n_modalities) > 0.4
    observed[torch.arange(m), torch.arange(m) % n_modalities] = True
    assert not observed.all()
    return observed


# Fusion and missing modalities


def test_all_observed_is_the_same_as_no_mask():
    network, inputs = make_network(), make_inputs()
    masked = network(inputs, torch.ones(8, 3, dtype=torch.bool))
    for ours, plain in zip(masked, network(inputs), strict=True):
        torch.testing.assert_close(ours, plain, **TIGHT)


def test_modalities_weigh_the_same_by_default():
    weights = make_network(kind=FusionNetwork)(make_inputs()).weights
    torch.testing.assert_close(weights, torch.full((3,), 1 / 3))


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


def test_a_sample_whose_modalities_weigh_nothing_has_their_mean():
    network, inputs = make_network(), make_inputs()
    observed = torch.ones(8, 3, dtype=torch.bool)
    observed[0] = torch.tensor([False, True, True])
    weights = torch.tensor([1.0, 0, 0], requires_grad=True)
    out = network(inputs, observed, weights=weights)
    torch.testing.assert_close(out.fused[0], out.latents[1:, 0].mean(0), **TIGHT)
    torch.testing.assert_close(out.fused[1:], out.latents[0, 1:], rtol=0, atol=1e-7)
    out.logits.sum().backward()
    assert torch.isfinite(weights.grad).all()


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
def test_the_head_that_is_kept_computes_the_same(head, training):
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
    discriminators = Discriminators(2, WIDTH)
    for bias in discriminators.biases:
        nn.init.normal_(bias)
    latents = torch.randn(2, 6, WIDTH)
    found = discriminators(latents)
    assert found.shape == (2, 6)
    for d in range(2):
        for q in range(6):
            h = latents[d, q]
            for layer in range(4):
                h = (
                    discriminators.weights[layer][d].T @ h
                    + discriminators.biases[layer][d, 0]
                )
                if layer < 3:
                    h = torch.where(h > 0, h, 0.2 * h)
            torch.testing.assert_close(found[d, q], h[0], **TIGHT)


def test_slopes_of_discriminators_are_their_gradients_and_have_gradients():
    discriminators = Discriminators(2, WIDTH)
    latents = torch.randn(2, 6, WIDTH, requires_grad=True)
    logits = discriminators(latents)
    (expected,) = torch.autograd.grad(logits.sum(), latents, create_graph=True)
    parameters = list(discriminators.weights)
    by_autograd = torch.autograd.grad(expected.square().sum(), parameters)
    found_logits, slopes = discriminators.slopes(latents.detach())
    torch.testing.assert_close(found_logits, logits, **TIGHT)
    torch.testing.assert_close(slopes, expected, **TIGHT)
    found = torch.autograd.grad(slopes.square().sum(), parameters)
    for own, other in zip(found, by_autograd, strict=True):
        assert own.is_contiguous()
        torch.testing.assert_close(own, other, **TIGHT)
