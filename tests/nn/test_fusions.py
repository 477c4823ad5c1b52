"""Fusion modules, tasks and members are those of their formulas."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from mmfusion.nn._encoders import make_encoder
from mmfusion.nn._isolation import isolated
from mmfusion.nn._member_encoders import make_member_encoder
from mmfusion.nn._members import by_member, dropout, members_side_by_side
from mmfusion.nn._tasks import (
    ClassTask,
    GaussianTask,
    HuberTask,
    LabelTask,
    SquaredErrorTask,
)
from mmfusion.nn.fusions import FUSIONS, MemberFusions
from mmfusion.nn.fusions._low_rank import LowRankFusion, TensorFusion

V, R, M, W = 3, 2, 5, 4
OBSERVED = torch.tensor(
    [[1, 1, 1], [1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.float64
)


def make(name, **options):
    torch.manual_seed(0)
    fusion = FUSIONS[name](V, R, W, **options).double()
    latents = torch.randn(V, R, M, W, dtype=torch.float64)
    return fusion, latents * OBSERVED.mT[:, None, :, None]


def loops(function):
    """Fuse sample by sample and member by member."""

    def fused(fusion, latents):
        rows = [
            [function(fusion, r, latents[:, r, q], OBSERVED[q]) for q in range(M)]
            for r in range(R)
        ]
        return torch.stack([torch.stack(row) for row in rows])

    return fused


def linear(layer, index, x):
    return x @ layer.weight[index] + layer.bias[index][0]


@loops
def gated(fusion, r, z, o):
    gates = torch.sigmoid(linear(fusion.gate, r, torch.cat([*z, o])))
    total = torch.zeros(W, dtype=torch.float64)
    for v in range(V):
        if o[v]:
            transformed = torch.tanh(linear(fusion.transform, (v, r), z[v]))
            total = total + gates[v * W : (v + 1) * W] * transformed
    return total


@loops
def concat(fusion, r, z, o):
    return torch.relu(linear(fusion.hidden, r, torch.cat([*z, o])))


@loops
def mean(fusion, r, z, o):
    return sum(z[v] for v in range(V) if o[v]) / o.sum()


@loops
def attention(fusion, r, z, o):
    scores = linear(fusion.score, r, torch.cat([*z, o]))
    weights = [torch.exp(scores[v]) * o[v] for v in range(V)]
    return sum(w * z[v] for v, w in enumerate(weights)) / sum(weights)


@loops
def low_rank(fusion, r, z, o):
    total = torch.zeros(W, dtype=torch.float64)
    for k in range(fusion.rank):
        product = torch.ones(W, dtype=torch.float64)
        for v in range(V):
            if o[v]:
                factors = linear(fusion.factors, (v, r), z[v])
                product = product * factors[k * W : (k + 1) * W]
        total = total + fusion.shares[r, k] * product
    return total


@loops
def tensor(fusion, r, z, o):
    extended = []
    for v in range(V):
        narrow = linear(fusion.narrow, (v, r), z[v]) * o[v]
        extended.append([*narrow, torch.tensor(1.0, dtype=torch.float64)])
    cells = torch.stack([math.prod(cell) for cell in itertools.product(*extended)])
    return linear(fusion.out, r, cells)


@pytest.mark.parametrize(
    ("name", "slow"),
    {
        "gated": gated,
        "concat": concat,
        "mean": mean,
        "attention": attention,
        "low_rank": low_rank,
        "tensor": tensor,
        "late": mean,
    }.items(),
    ids=list(FUSIONS),
)
def test_fusions_are_those_of_their_formulas(name, slow):
    fusion, latents = make(name)
    torch.testing.assert_close(fusion(latents, OBSERVED), slow(fusion, latents))


@pytest.mark.parametrize("name", list(FUSIONS))
def test_gates_are_zero_for_what_is_missing_and_only_there(name):
    fusion, latents = make(name)
    gates = fusion.gates(latents, OBSERVED)
    assert gates.shape == (R, M, V)
    assert ((gates > 0) == (OBSERVED > 0)).all()


def test_low_rank_fusion_holds_that_of_the_whole_tensor():
    torch.manual_seed(0)
    whole = TensorFusion(2, 1, 3).double()
    with torch.no_grad():  # the tensor is of the latents themselves
        whole.narrow.weight.copy_(torch.eye(3).expand(2, 1, 3, 3))
        whole.narrow.bias.zero_()
        whole.out.bias.zero_()
    ranked = LowRankFusion(2, 1, 3, rank=16).double()
    with torch.no_grad():
        ranked.shares.fill_(1.0)
        ranked.factors.weight.zero_()
        ranked.factors.bias.zero_()
        for k, (i, j) in enumerate(itertools.product(range(4), range(4))):
            own = slice(3 * k, 3 * k + 3)
            for v, row, scale in ((0, i, whole.out.weight[0, k]), (1, j, 1.0)):
                if row < 3:
                    ranked.factors.weight[v, 0, row, own] = scale
                else:
                    ranked.factors.bias[v, 0, 0, own] = scale
    latents = torch.randn(2, 1, 6, 3, dtype=torch.float64)
    observed = torch.ones(6, 2, dtype=torch.float64)
    torch.testing.assert_close(ranked(latents, observed), whole(latents, observed))


def test_a_tensor_of_too_many_cells_is_refused():
    with pytest.raises(ValueError, match="fusion='low_rank'"):
        FUSIONS["tensor"](5, 1, 16)


def test_modules_of_the_user_fuse_member_by_member():
    class Difference(nn.Module):
        def forward(self, latents, observed):
            assert observed.dtype == torch.bool
            return latents[0] - latents[1]

    fusion = MemberFusions([Difference(), Difference()], V, W)
    _, latents = make("mean")
    expected = latents[0] - latents[1]
    torch.testing.assert_close(fusion(latents, OBSERVED), expected)


# Members


def test_members_are_encoded_side_by_side():
    torch.manual_seed(0)
    encoder = make_member_encoder([6, W], (3,), "a", R)
    x = torch.randn(M, 3)
    found = by_member(encoder(x), R)
    assert found.shape == (R, M, W)
    for r in range(R):
        own = slice(6 * r, 6 * r + 6)
        hidden = x @ encoder.first.weight[own].T + encoder.first.bias[own]
        layer = encoder.others[0]
        torch.testing.assert_close(found[r], linear(layer, r, hidden.relu()))
    torch.testing.assert_close(members_side_by_side(found), encoder(x))


@pytest.mark.parametrize("option", [nn.Linear(3, W), lambda shape: nn.Linear(3, W)])
def test_members_of_a_module_have_weights_of_their_own(option):
    encoder = make_member_encoder(option, (3,), "a", R)
    first, second = by_member(encoder(torch.randn(M, 3)), R)
    assert not torch.allclose(first, second)


def test_one_member_of_a_module_keeps_its_weights():
    given = nn.Linear(3, W)
    x = torch.randn(M, 3)
    encoder = make_member_encoder(given, (3,), "a", 1)
    torch.testing.assert_close(encoder(x), given(x))


def test_images_have_an_encoder_for_each_member():
    encoder = make_member_encoder((W,), (1, 8, 8), "a", R)
    assert encoder(torch.randn(M, 1, 8, 8)).shape == (M, R * W)
    single = make_encoder((W,), (1, 8, 8), "a", linear_latents=True)
    assert isinstance(single[-1], nn.Linear)


def test_dropout_keeps_the_mean_and_needs_no_global_state():
    x = torch.ones(100, 100)
    with isolated(0):
        dropped = dropout(x, 0.3)
    with isolated(0):
        again = dropout(x, 0.3)
    assert torch.equal(dropped, again)
    assert (dropped == 0).double().mean().item() == pytest.approx(0.3, abs=0.02)
    assert dropped.mean().item() == pytest.approx(1, abs=0.03)
    assert dropout(x, 0.0) is x


@pytest.mark.parametrize("p", [0.001, 0.5, 0.9])
def test_dropout_keeps_every_value_by_itself(p):
    # four values come from one draw; the number of values is no multiple of it
    x = torch.ones(3, 67_601, dtype=torch.float64)
    with isolated(1):
        kept = dropout(x, p) * (1 - p)
    assert kept.unique().tolist() == pytest.approx([0, 1])
    n_values, deviation = kept.numel(), (p * (1 - p)) ** 0.5
    assert abs(float(kept.mean()) - (1 - p)) < 4 * deviation / n_values**0.5
    flat = (kept.flatten() - (1 - p)) / deviation
    for lag in (1, 2, 3, 4, 8):
        assert abs(float((flat[lag:] * flat[:-lag]).mean())) < 4 / n_values**0.5


# Tasks

OUTPUTS = torch.tensor(np.random.default_rng(0).normal(size=(R, M, 4)))
WEIGHTS = torch.tensor([[0.25] * M, [0.75] * M], dtype=torch.float64)


def test_classes_have_the_cross_entropy_and_the_mean_probability():
    task, y = ClassTask(4), torch.tensor([0, 1, 2, 3, 3])
    expected = [[-OUTPUTS[r, q].log_softmax(0)[y[q]] for q in range(M)] for r in (0, 1)]
    torch.testing.assert_close(task.losses(OUTPUTS, y), torch.tensor(expected))
    mean = 0.25 * OUTPUTS[0].softmax(-1) + 0.75 * OUTPUTS[1].softmax(-1)
    torch.testing.assert_close(task.average(OUTPUTS, WEIGHTS).softmax(-1), mean)


def test_labels_have_the_cross_entropy_and_the_mean_probability():
    task, y = LabelTask(4), (OUTPUTS[0] > 0).double()
    p = OUTPUTS.sigmoid()
    expected = -(y * p.log() + (1 - y) * (1 - p).log()).sum(-1)
    torch.testing.assert_close(task.losses(OUTPUTS, y), expected)
    mean = 0.25 * p[0] + 0.75 * p[1]
    torch.testing.assert_close(task.average(OUTPUTS, WEIGHTS).sigmoid(), mean)


def test_values_have_squared_or_absolute_errors():
    y = torch.zeros(M, 4, dtype=torch.float64)
    squares = OUTPUTS**2
    task = SquaredErrorTask(4)
    torch.testing.assert_close(task.losses(OUTPUTS, y), squares.mean(-1))
    size = OUTPUTS.abs()
    huber = torch.where(size <= 1, squares / 2, size - 0.5)
    torch.testing.assert_close(HuberTask(4).losses(OUTPUTS, y), huber.mean(-1))
    mean = 0.25 * OUTPUTS[0] + 0.75 * OUTPUTS[1]
    torch.testing.assert_close(task.average(OUTPUTS, WEIGHTS), mean)


def test_gaussians_have_their_density_and_the_moments_of_their_mixture():
    task, y = GaussianTask(2), torch.ones(M, 2, dtype=torch.float64)
    means, variances = OUTPUTS[..., :2], OUTPUTS[..., 2:].exp()
    densities = torch.distributions.Normal(means, variances.sqrt()).log_prob(y)
    torch.testing.assert_close(task.losses(OUTPUTS, y), -densities.mean(-1))
    weights = WEIGHTS[..., None]
    mean = (weights * means).sum(0)
    second = (weights * (variances + means**2)).sum(0)
    found = task.average(OUTPUTS, WEIGHTS)
    torch.testing.assert_close(found[:, :2], mean)
    torch.testing.assert_close(found[:, 2:].exp(), second - mean**2)
