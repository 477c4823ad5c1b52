"""Contrast and balance of soft assignments, against loops over pairs and columns."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.nn.losses import (
    assignment_balance,
    assignment_contrast,
    column_contrast,
)

from . import slow_losses as slow

EXACT = {"rtol": 1e-9, "atol": 1e-10}


def random_assignments(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).softmax(-1)


@st.composite
def assignments_and_observed(draw):
    m, n_modalities = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    seed, k = draw(st.integers(0, 1000)), draw(st.integers(1, 3))
    flags = st.lists(st.booleans(), min_size=n_modalities, max_size=n_modalities)
    rows = draw(st.lists(flags, min_size=m, max_size=m))
    return random_assignments(n_modalities, m, k, seed=seed), torch.tensor(rows)


@settings(max_examples=25, deadline=None)
@given(assignments_and_observed(), st.sampled_from([0.5, 1.0]))
def test_the_losses_are_those_of_loops(drawn, temperature):
    assignments, observed = drawn
    for mask in (None, observed):
        torch.testing.assert_close(
            assignment_contrast(assignments, temperature, mask),
            slow.assignment_contrast(assignments, temperature, mask),
            **EXACT,
        )
        torch.testing.assert_close(
            assignment_balance(assignments, mask),
            slow.assignment_balance(assignments, mask),
            **EXACT,
        )


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("loss", [assignment_contrast, assignment_balance])
def test_gradients_are_right(loss, masked):
    logits = torch.randn(3, 5, 2, dtype=torch.float64, requires_grad=True)
    observed = torch.tensor([[1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    mask = observed.bool() if masked else None
    assert torch.autograd.gradcheck(
        lambda x: loss(x.softmax(-1), observed=mask), logits
    )


def test_equal_hard_assignments_have_the_lowest_contrast():
    hard = torch.eye(3, dtype=torch.float64).repeat(4, 1)
    lowest = float(column_contrast(hard, hard))
    # each column has a positive of cosine 1 and four negatives of cosine 0
    assert lowest == pytest.approx(2 * math.log(1 + 4 / math.e))
    assert float(column_contrast(hard, hard[:, [1, 2, 0]])) > lowest
    assert float(column_contrast(hard, random_assignments(12, 3))) > lowest


def test_samples_that_lack_a_modality_do_not_count():
    a, b = random_assignments(2, 6, 3)
    both = torch.tensor([True, False, True, True, False, True])
    changed = torch.where(both[:, None], b, b.flip(1))
    torch.testing.assert_close(
        column_contrast(a, changed, observed=both), column_contrast(a[both], b[both])
    )


@pytest.mark.parametrize("observed", [None, torch.tensor([[True, False]] * 4)])
def test_without_pairs_there_is_nothing_to_contrast(observed):
    n_modalities = 1 if observed is None else 2
    logits = torch.randn(n_modalities, 4, 3, requires_grad=True)
    for loss in (assignment_contrast, assignment_balance):
        value = loss(logits.softmax(-1), observed=observed)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value == 0
        assert (gradient == 0).all()


def test_balance_is_0_for_clusters_of_one_size_and_largest_for_one_cluster():
    equal = torch.eye(4).repeat(3, 1).expand(2, 12, 4)
    assert float(assignment_balance(equal)) == pytest.approx(0, abs=1e-6)
    alone = torch.zeros(2, 12, 4)
    alone[..., 0] = 1
    assert float(assignment_balance(alone)) == pytest.approx(2 * math.log(4), abs=1e-5)
