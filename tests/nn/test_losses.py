"""Losses against the formulas as printed (slow_losses), invariances and limits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy

from mmfusion.nn import losses as fast

from . import slow_losses as slow

EXACT = {"rtol": 1e-9, "atol": 1e-10}
quick = settings(max_examples=25, deadline=None)


def tensors(shape, low, high):
    """Draw few distinct numbers, so that equal rows and ties occur."""
    numbers = st.integers(4 * low, 4 * high).map(lambda n: n / 4)
    return arrays(np.float64, shape, elements=numbers).map(torch.from_numpy)


@st.composite
def features(draw, smallest=3):
    shape = draw(st.integers(smallest, 7)), draw(st.integers(1, 4))
    return draw(tensors(shape, -3, 3))


@st.composite
def assignments(draw, m=None):
    """Draw rows on the simplex, some of them nearly corners."""
    m = draw(st.integers(2, 7)) if m is None else m
    logits = draw(tensors((m, draw(st.integers(2, 4))), -3, 3))
    return (logits * draw(st.sampled_from([0.3, 1.0, 10.0]))).softmax(1)


@st.composite
def assignments_and_kernels(draw):
    x = draw(features())
    return draw(assignments(len(x))), fast.gaussian_kernel(x)


@st.composite
def kernels_to_match(draw):
    m, n_modalities = draw(st.integers(2, 5)), draw(st.integers(1, 3))
    xs = [draw(tensors((m, 2), -2, 2)) for _ in range(n_modalities + 1)]
    kernels = torch.stack([fast.gaussian_kernel(x) for x in xs])
    weights = draw(tensors((n_modalities,), -2, 2)).softmax(0)
    observed = torch.from_numpy(draw(arrays(bool, (m, n_modalities))))
    return kernels[0], kernels[1:], weights, observed


@st.composite
def logits_and_observed(draw):
    shape = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    return draw(tensors(shape, -8, 8)), torch.from_numpy(draw(arrays(bool, shape)))


def permutation_of(n, draw):
    return torch.tensor(draw.draw(st.permutations(range(n))))


# Against the formulas as printed


@quick
@given(features())
def test_squared_distances_are_those_of_every_pair(x):
    torch.testing.assert_close(
        fast.squared_distances(x), slow.squared_distances(x), **EXACT
    )


@quick
@given(features(smallest=2), st.sampled_from([0.05, 0.15, 1.0]))
def test_the_gaussian_kernel_is_as_printed(x, width):
    torch.testing.assert_close(
        fast.gaussian_kernel(x, width),
        slow.gaussian_kernel(x, width),
        rtol=1e-6,
        atol=1e-6,  # equal rows are 1e-16 apart, in units of a floor of 1e-9
    )


@quick
@given(assignments_and_kernels())
def test_the_divergence_of_clusters_is_as_printed(both):
    torch.testing.assert_close(
        fast.cauchy_schwarz_divergence(*both),
        slow.cauchy_schwarz_divergence(*both),
        **EXACT,
    )


@quick
@given(assignments())
def test_closeness_to_corners_is_as_printed(assignment):
    torch.testing.assert_close(
        fast.corner_closeness(assignment), slow.corner_closeness(assignment), **EXACT
    )


@quick
@given(assignments())
def test_the_regularizers_are_as_printed(assignment):
    torch.testing.assert_close(
        fast.balance_penalty(assignment), slow.balance_penalty(assignment), **EXACT
    )
    torch.testing.assert_close(
        fast.confidence_penalty(assignment),
        slow.confidence_penalty(assignment),
        **EXACT,
    )


@quick
@given(kernels_to_match())
def test_the_attention_mismatch_is_the_mean_of_what_is_printed(given_):
    *kernels, observed = given_
    for mask in (None, observed):
        torch.testing.assert_close(
            fast.attention_mismatch(*kernels, mask),
            slow.attention_mismatch(*kernels, mask),
            **EXACT,
        )


@quick
@given(logits_and_observed(), st.booleans())
def test_the_adversarial_cross_entropy_is_as_printed(given_, real):
    logits, rows = given_
    for mask in (None, rows):
        torch.testing.assert_close(
            fast.adversarial_cross_entropy(logits, real, mask),
            slow.adversarial_cross_entropy(logits, real, mask),
            rtol=1e-7,
            atol=1e-10,
        )


@quick
@given(st.data())
def test_disagreement_and_size_divergence_are_as_printed(data):
    a = data.draw(assignments())
    b = a[permutation_of(len(a), data)]
    overlaps = (a * b).sum(1)
    assume(overlaps.min() > 1e-8)
    torch.testing.assert_close(
        fast.neighbor_disagreement(a, b), slow.neighbor_disagreement(a, b), **EXACT
    )
    torch.testing.assert_close(
        fast.cluster_size_divergence(a), slow.cluster_size_divergence(a), **EXACT
    )


def test_gradients_are_those_of_the_formulas_as_printed():
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    def clustering(losses, x, logits):
        kernel = losses.gaussian_kernel(x)
        a = logits.softmax(1)
        corners = losses.corner_closeness(a)
        powers = torch.stack([kernel**p for p in range(1, 5)])
        terms = [
            losses.cauchy_schwarz_divergence(a, kernel),
            losses.cauchy_schwarz_divergence(corners, kernel),
            losses.balance_penalty(a),
            losses.confidence_penalty(a),
            losses.cluster_size_divergence(a),
            losses.neighbor_disagreement(a[:3], a[3:]).sum(),
            losses.attention_mismatch(kernel, powers, a[0]),
        ]
        return sum(i * term for i, term in enumerate(terms, 1))

    x, logits = random(6, 3), random(6, 4)
    found = []
    for losses in (fast, slow):
        inputs = [t.clone().requires_grad_() for t in (x, logits)]
        found.append(torch.autograd.grad(clustering(losses, *inputs), inputs))
    for ours, printed in zip(*found, strict=True):
        assert printed.abs().max() > 1e-3
        torch.testing.assert_close(ours, printed, **EXACT)


def test_a_stack_of_blocks_has_the_kernels_and_gradients_of_each():
    x = torch.randn(3, 6, 4, dtype=torch.float64, requires_grad=True)
    toward = torch.randn(3, 6, 6, dtype=torch.float64)
    kernels = fast.gaussian_kernel(x)
    printed = torch.stack([slow.gaussian_kernel(block) for block in x])
    torch.testing.assert_close(kernels, printed, **EXACT)
    gradients = [torch.autograd.grad(k, x, toward)[0] for k in (kernels, printed)]
    assert gradients[1].abs().max() > 1e-3
    torch.testing.assert_close(*gradients, **EXACT)


def test_a_stack_of_assignments_has_the_losses_of_each():
    a, b = torch.randn(2, 3, 6, 4, dtype=torch.float64).softmax(-1)
    for r in range(3):
        torch.testing.assert_close(
            fast.neighbor_disagreement(a, b)[r],
            slow.neighbor_disagreement(a[r], b[r]),
            **EXACT,
        )
        torch.testing.assert_close(
            fast.cluster_size_divergence(a)[r],
            slow.cluster_size_divergence(a[r]),
            **EXACT,
        )


# Invariances


@quick
@given(st.data())
def test_the_order_of_samples_does_not_matter(data):
    assignment, kernel = data.draw(assignments_and_kernels())
    order = permutation_of(len(assignment), data)
    shuffled = assignment[order]
    torch.testing.assert_close(
        fast.cauchy_schwarz_divergence(shuffled, kernel[order][:, order]),
        fast.cauchy_schwarz_divergence(assignment, kernel),
        **EXACT,
    )
    for loss in (
        fast.balance_penalty,
        fast.confidence_penalty,
        fast.cluster_size_divergence,
    ):
        torch.testing.assert_close(loss(shuffled), loss(assignment), **EXACT)
    closeness = fast.corner_closeness(assignment)
    torch.testing.assert_close(
        fast.corner_closeness(shuffled), closeness[order], **EXACT
    )


@quick
@given(st.data())
def test_the_order_of_clusters_does_not_matter(data):
    assignment, kernel = data.draw(assignments_and_kernels())
    order = permutation_of(assignment.shape[1], data)
    renamed = assignment[:, order]
    torch.testing.assert_close(
        fast.cauchy_schwarz_divergence(renamed, kernel),
        fast.cauchy_schwarz_divergence(assignment, kernel),
        **EXACT,
    )
    for loss in (
        fast.balance_penalty,
        fast.confidence_penalty,
        fast.cluster_size_divergence,
    ):
        torch.testing.assert_close(loss(renamed), loss(assignment), **EXACT)
    torch.testing.assert_close(
        fast.neighbor_disagreement(renamed, renamed.flip(0)),
        fast.neighbor_disagreement(assignment, assignment.flip(0)),
        **EXACT,
    )
    closeness = fast.corner_closeness(assignment)
    torch.testing.assert_close(
        fast.corner_closeness(renamed), closeness[:, order], **EXACT
    )


@quick
@given(st.data())
def test_the_order_of_samples_does_not_matter_to_the_attention_mismatch(data):
    fused, kernels, weights, observed = data.draw(kernels_to_match())
    order = permutation_of(len(fused), data)
    torch.testing.assert_close(
        fast.attention_mismatch(
            fused[order][:, order],
            kernels[:, order][:, :, order],
            weights,
            observed[order],
        ),
        fast.attention_mismatch(fused, kernels, weights, observed),
        **EXACT,
    )


@quick
@given(st.data(), st.floats(0.05, 200.0))
def test_the_gaussian_kernel_does_not_depend_on_the_unit(data, unit):
    x = data.draw(features())
    distances = fast.squared_distances(x).flatten()
    assume(min(1.0, unit) ** 2 * distances.median() > 1e-4)
    torch.testing.assert_close(
        fast.gaussian_kernel(unit * x), fast.gaussian_kernel(x), **EXACT
    )


@quick
@given(st.data())
def test_the_gaussian_kernel_does_not_depend_on_the_origin_or_the_order(data):
    x = data.draw(features())
    assume(fast.squared_distances(x).median() > 1e-4)
    kernel = fast.gaussian_kernel(x)
    torch.testing.assert_close(
        fast.gaussian_kernel(x + 1000), kernel, rtol=1e-7, atol=1e-8
    )
    order = permutation_of(len(x), data)
    torch.testing.assert_close(
        fast.gaussian_kernel(x[order]), kernel[order][:, order], **EXACT
    )


def test_no_gradient_flows_through_the_width_of_the_kernel():
    # with its width, the kernel would be free of the unit: no gradient along x
    x = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(fast.gaussian_kernel(x).sum(), x)
    assert (gradient * x).sum() < -0.1


# Ranges


@quick
@given(assignments_and_kernels())
def test_divergences_and_kernels_lie_between_0_and_1(both):
    assignment, kernel = both
    closeness = fast.corner_closeness(assignment)
    found = [
        kernel,
        closeness,
        fast.balance_penalty(assignment),
        fast.cauchy_schwarz_divergence(assignment, kernel),
        fast.cauchy_schwarz_divergence(closeness, kernel),
    ]
    for values in found:
        assert values.min() >= -1e-12
        assert values.max() <= 1 + 1e-12
    torch.testing.assert_close(kernel.diagonal(), torch.ones(len(kernel)).double())


@quick
@given(assignments())
def test_the_bounds_of_the_other_losses_hold(assignment):
    m, k = assignment.shape
    assert -1e-12 <= fast.confidence_penalty(assignment) <= m / k**2 + 1e-12
    assert -1e-12 <= fast.cluster_size_divergence(assignment) <= math.log(k) + 1e-12
    assert fast.neighbor_disagreement(assignment, assignment.flip(0)).min() >= -1e-12


@quick
@given(kernels_to_match())
def test_the_mean_attention_mismatch_lies_between_0_and_1(given_):
    *kernels, observed = given_
    assert 0 <= fast.attention_mismatch(*kernels) <= 1
    assert 0 <= fast.attention_mismatch(*kernels, observed) <= 1


@quick
@given(assignments())
def test_the_printed_regularizer_is_a_term_of_confidence_alone(assignment):
    overlap = torch.triu(assignment.T @ assignment, diagonal=1).sum()
    spread = (1 - assignment.square().sum(1)).sum() / 2
    torch.testing.assert_close(overlap, spread, **EXACT)
    k = assignment.shape[1]
    torch.testing.assert_close(
        fast.confidence_penalty(assignment), 2 / (k * (k - 1)) * spread, **EXACT
    )


# Meaning


def one_hot(labels, k):
    return torch.nn.functional.one_hot(torch.tensor(labels), k).double()


def test_balance_prefers_equal_clusters_and_the_printed_form_does_not():
    balanced, uneven, collapsed = (
        one_hot(labels, 3)
        for labels in ([0, 0, 1, 1, 2, 2], [0, 0, 0, 0, 1, 2], [0] * 6)
    )
    for loss in (fast.balance_penalty, fast.cluster_size_divergence):
        assert loss(balanced) < loss(uneven) < loss(collapsed)
    assert fast.confidence_penalty(balanced) == fast.confidence_penalty(collapsed) == 0
    assert fast.balance_penalty(collapsed) == 1
    assert float(fast.cluster_size_divergence(collapsed)) == pytest.approx(math.log(3))
    assert float(fast.cluster_size_divergence(balanced)) == pytest.approx(0)


def test_the_divergence_prefers_separated_clusters():
    x = torch.tensor([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]]).double()
    kernel = fast.gaussian_kernel(x)
    right = fast.cauchy_schwarz_divergence(one_hot([0, 0, 0, 1, 1, 1], 2), kernel)
    wrong = fast.cauchy_schwarz_divergence(one_hot([0, 1, 0, 1, 0, 1], 2), kernel)
    vague = fast.cauchy_schwarz_divergence(torch.full((6, 2), 0.5).double(), kernel)
    assert right < 0.01 < wrong < vague
    assert float(vague) == pytest.approx(1)


def test_equal_assignments_have_no_disagreement_and_opposite_ones_much():
    sure = one_hot([0, 1], 2)
    torch.testing.assert_close(
        fast.neighbor_disagreement(sure, sure), torch.zeros(2).double()
    )
    assert fast.neighbor_disagreement(sure, sure.flip(0)).min() > 10


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=5))
def test_attention_inequality_is_the_divergence_from_equal_weights(parts):
    weights = torch.tensor(parts, dtype=torch.float64)
    weights = weights / weights.sum()
    expected = entropy(weights.numpy(), np.full(len(parts), 1 / len(parts)))
    assert float(fast.attention_inequality(weights)) == pytest.approx(expected)


def test_the_inequality_of_a_weight_of_zero_has_a_finite_slope():
    weights = torch.tensor([1.0, 0.0, 0.0], requires_grad=True)
    inequality = fast.attention_inequality(weights)
    inequality.backward()
    assert float(inequality.detach()) == pytest.approx(math.log(3))
    assert weights.grad.isfinite().all()


def test_the_attention_mismatch_is_zero_for_the_weighted_sum():
    kernels = fast.gaussian_kernel(torch.randn(2, 5, 3, dtype=torch.float64))
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64)
    mixed = 0.3 * kernels[0] + 0.7 * kernels[1]
    assert float(fast.attention_mismatch(mixed, kernels, weights)) < 1e-20
    assert float(fast.attention_mismatch(kernels[0], kernels, weights)) > 1e-4


def test_the_mismatch_ignores_kernels_of_missing_modalities():
    generator = torch.Generator().manual_seed(0)
    kernels = torch.rand(2, 4, 4, dtype=torch.float64, generator=generator)
    observed = torch.tensor([[1, 1], [1, 1], [1, 0], [0, 1]]).bool()
    weights = torch.tensor([0.4, 0.6]).double()
    fused = torch.rand(4, 4, dtype=torch.float64, generator=generator)
    changed, moved = kernels.clone(), fused.clone()
    changed[1, 2], changed[1, :, 2] = 100, 100
    changed[0, 3], changed[0, :, 3] = 100, 100
    moved[2, 3] = moved[3, 2] = 100  # a pair without a common modality
    torch.testing.assert_close(
        fast.attention_mismatch(moved, changed, weights, observed),
        fast.attention_mismatch(fused, kernels, weights, observed),
    )


def test_the_loss_of_guessing_is_log_2_and_that_of_a_certain_error_its_logit():
    guesses = torch.zeros(2, 5, dtype=torch.float64)
    assert float(fast.adversarial_cross_entropy(guesses, True)) == pytest.approx(
        2 * math.log(2)
    )
    sure = torch.full((1, 3), 1000.0, dtype=torch.float64)
    assert float(fast.adversarial_cross_entropy(sure, True)) == 0
    assert float(fast.adversarial_cross_entropy(sure, False)) == pytest.approx(1000)


@pytest.mark.parametrize("masked", [False, True])
def test_the_slope_of_a_linear_discriminator_is_the_norm_of_its_weights(masked):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 3, 1, dtype=torch.float64, generator=generator)
    latents = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator)
    logits = torch.bmm(latents.requires_grad_(), weight)[..., 0]
    (slopes,) = torch.autograd.grad(logits.sum(), latents)
    mask = torch.ones(2, 5, dtype=torch.bool)
    mask[0, 1:] = False
    found = fast.squared_slope(slopes, mask if masked else None)
    torch.testing.assert_close(found, weight.square().sum())


def test_the_slope_of_samples_that_do_not_count_is_left_out():
    slopes = torch.arange(6.0, dtype=torch.float64).reshape(2, 3, 1)
    mask = torch.tensor([[True, False, True], [False, False, False]])
    found = fast.squared_slope(slopes, mask)
    assert float(found) == (0 + 4) / 2


# Degenerate batches


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_empty_clusters_and_equal_rows_give_finite_losses_and_gradients(dtype):
    same = torch.ones(6, 4, dtype=dtype, requires_grad=True)
    spread = torch.randn(6, 4, dtype=dtype).requires_grad_()
    for x in (same, spread):
        for logits in (
            torch.tensor([[200.0, -200.0, -200.0]], dtype=dtype).repeat(6, 1),
            torch.zeros(6, 3, dtype=dtype),
        ):
            logits.requires_grad_()
            a, kernel = logits.softmax(1), fast.gaussian_kernel(x)
            terms = [
                fast.cauchy_schwarz_divergence(a, kernel),
                fast.cauchy_schwarz_divergence(fast.corner_closeness(a), kernel),
                fast.balance_penalty(a),
                fast.confidence_penalty(a),
                fast.cluster_size_divergence(a),
                fast.neighbor_disagreement(a, a.flip(1)).mean(),
                fast.attention_mismatch(kernel, kernel[None], a[0, :1]),
            ]
            assert torch.stack(terms).isfinite().all()
            for gradient in torch.autograd.grad(sum(terms), (x, logits)):
                assert gradient.isfinite().all()


def test_an_empty_cluster_overlaps_with_none():
    kernel = fast.gaussian_kernel(torch.randn(4, 2, dtype=torch.float64))
    membership = one_hot([0, 0, 0, 0], 2)
    assert fast.cauchy_schwarz_divergence(membership, kernel) == 0


def test_the_losses_of_one_cluster_are_zero():
    one = torch.ones(4, 1, dtype=torch.float64, requires_grad=True)
    kernel = torch.eye(4, dtype=torch.float64)
    loss = fast.cauchy_schwarz_divergence(one, kernel)
    loss.backward()
    assert loss == 0
    assert fast.confidence_penalty(one) == 0
    assert fast.cluster_size_divergence(one) == 0


@pytest.mark.parametrize("scale", [1, 10, 100])
@pytest.mark.parametrize("d", [10, 100, 500])
def test_equal_rows_far_from_zero_are_equal_to_the_kernel(d, scale):
    generator = torch.Generator().manual_seed(0)
    row = scale * torch.randn(1, d, generator=generator)
    kernel = fast.gaussian_kernel(row.repeat(50, 1))
    torch.testing.assert_close(kernel, torch.ones(50, 50))


def test_modalities_that_no_sample_has_add_nothing():
    logits = torch.randn(2, 3)
    assert (
        fast.adversarial_cross_entropy(
            logits, True, torch.zeros(2, 3, dtype=torch.bool)
        )
        == 0
    )
    kernels = torch.rand(2, 3, 3)
    unseen = torch.zeros(3, 2, dtype=torch.bool)
    weights = torch.tensor([0.5, 0.5])
    assert fast.attention_mismatch(kernels[0], kernels, weights, unseen) == 0


# Gradients, where the losses are smooth


def random_inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, 3, dtype=torch.float64, generator=generator)
    x = torch.randn(5, 2, dtype=torch.float64, generator=generator)
    return logits.softmax(1).requires_grad_(), x.requires_grad_()


@pytest.mark.parametrize(
    "loss",
    [
        fast.corner_closeness,
        fast.balance_penalty,
        fast.confidence_penalty,
        fast.cluster_size_divergence,
    ],
    ids=lambda loss: loss.__name__,
)
def test_gradients_of_losses_of_an_assignment_are_right(loss):
    assert torch.autograd.gradcheck(loss, random_inputs()[0])


def test_gradients_of_losses_of_kernels_are_right():
    a, x = random_inputs()
    check = torch.autograd.gradcheck
    kernel = fast.gaussian_kernel(x).detach().requires_grad_()
    assert check(fast.squared_distances, x)
    assert check(fast.cauchy_schwarz_divergence, (a, kernel))
    kernels = torch.stack([kernel, kernel**2]).detach().requires_grad_()
    weights = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
    observed = torch.tensor([[1, 1], [1, 0], [0, 1], [1, 1], [1, 0]]).bool()
    for mask in (None, observed):
        assert check(fast.attention_mismatch, (kernel, kernels, weights, mask))


def test_gradients_of_losses_of_pairs_and_logits_are_right():
    a, x = random_inputs()
    check = torch.autograd.gradcheck
    assert check(fast.neighbor_disagreement, (a, random_inputs(1)[0]))
    rows = torch.rand(5, 2) > 0.3
    for real in (True, False):
        assert check(
            lambda logits, real=real: fast.adversarial_cross_entropy(
                logits, real, rows
            ),
            x,
        )
