"""NT-Xent, against a loop over pairs, and what it reduces to."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.nn.losses import contrastive_loss, nt_xent

from . import slow_losses as slow

EXACT = {"rtol": 1e-9, "atol": 1e-10}
quick = settings(max_examples=25, deadline=None)


def random_latents(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@st.composite
def latents_and_observed(draw):
    m, n_modalities = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    seed, d = draw(st.integers(0, 1000)), draw(st.integers(1, 3))
    latents = random_latents(n_modalities, m, d, seed=seed)
    flags = st.lists(st.booleans(), min_size=n_modalities, max_size=n_modalities)
    rows = draw(st.lists(flags, min_size=m, max_size=m))
    return latents, torch.tensor(rows)


@quick
@given(latents_and_observed(), st.sampled_from([0.1, 0.5, 2.0]))
def test_the_loss_is_that_of_a_loop_over_pairs(drawn, temperature):
    latents, observed = drawn
    for mask in (None, observed):
        torch.testing.assert_close(
            contrastive_loss(latents, temperature, mask),
            slow.contrastive_loss(latents, temperature, mask),
            **EXACT,
        )


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_right_and_those_of_the_loop(masked):
    latents = random_latents(3, 5, 2).requires_grad_()
    observed = torch.rand(5, 3) > 0.3 if masked else None
    assert torch.autograd.gradcheck(
        lambda x: contrastive_loss(x, 0.5, observed), latents
    )
    ours, printed = (
        torch.autograd.grad(loss(latents, 0.5, observed), latents)[0]
        for loss in (contrastive_loss, slow.contrastive_loss)
    )
    assert printed.abs().max() > 1e-3
    torch.testing.assert_close(ours, printed, **EXACT)


@quick
@given(latents_and_observed(), st.randoms(use_true_random=False))
def test_the_order_of_samples_and_modalities_does_not_matter(drawn, random):
    latents, observed = drawn
    n_modalities, m, _ = latents.shape
    samples = torch.tensor(random.sample(range(m), m))
    modalities = torch.tensor(random.sample(range(n_modalities), n_modalities))
    torch.testing.assert_close(
        contrastive_loss(
            latents[modalities][:, samples], 0.1, observed[samples][:, modalities]
        ),
        contrastive_loss(latents, 0.1, observed),
        **EXACT,
    )


def test_the_scale_of_a_latent_and_a_common_rotation_do_not_matter():
    a, b = random_latents(2, 6, 3)
    loss = nt_xent(a, b)
    scales = torch.tensor([1e-3, 0.1, 1.0, 2.0, 50.0, 1e6]).double()[:, None]
    torch.testing.assert_close(nt_xent(scales * a, b), loss, **EXACT)
    rotation = torch.linalg.qr(random_latents(3, 3, seed=1)).Q
    torch.testing.assert_close(nt_xent(a @ rotation, b @ rotation), loss, **EXACT)


def test_gradients_are_orthogonal_to_the_latents():
    # the loss is free of their lengths (Euler's identity of degree 0)
    latents = random_latents(2, 6, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(contrastive_loss(latents), latents)
    products = (gradient * latents).sum(-1)
    torch.testing.assert_close(products, torch.zeros(2, 6).double())


# Limits


def test_equal_latents_of_all_samples_give_the_loss_of_guessing():
    same = torch.ones(5, 3, dtype=torch.float64)
    assert float(nt_xent(same, same)) == pytest.approx(2 * math.log(9))


def test_a_high_temperature_gives_the_loss_of_guessing():
    a, b = random_latents(2, 5, 3)
    assert float(nt_xent(a, b, 1e9)) == pytest.approx(2 * math.log(9))


def test_aligned_modalities_and_separated_samples_approach_zero():
    corners = torch.eye(4, dtype=torch.float64)
    assert float(nt_xent(corners, corners, 0.1)) < 1e-3
    assert float(nt_xent(corners, corners.roll(1, 0), 0.1)) > 10


def test_two_modalities_of_one_sample_have_no_negatives():
    a, b = random_latents(2, 1, 3)
    assert nt_xent(a, b) == 0


def test_one_modality_has_no_pairs():
    latents = random_latents(1, 4, 3).requires_grad_()
    loss = contrastive_loss(latents)
    loss.backward()
    assert loss == 0


def test_a_mask_of_complete_samples_changes_nothing():
    latents = random_latents(3, 5, 2)
    observed = torch.ones(5, 3, dtype=torch.bool)
    assert contrastive_loss(latents, 0.1, observed) == contrastive_loss(latents)


def test_a_pair_of_modalities_is_compared_on_the_samples_that_have_both():
    a, b = random_latents(2, 6, 3)
    observed = torch.tensor([1, 0, 1, 1, 0, 1]).bool()
    torch.testing.assert_close(
        nt_xent(a, b, 0.1, observed), nt_xent(a[observed], b[observed]), **EXACT
    )
    changed = a.clone()
    changed[~observed] = 100
    assert nt_xent(changed, b, 0.1, observed) == nt_xent(a, b, 0.1, observed)


# Degenerate batches


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_observed", [0, 1, 4])
def test_latents_of_zeros_and_masked_samples_give_finite_gradients(dtype, n_observed):
    a, b = random_latents(2, 4, 3).to(dtype)
    a[0] = 0
    a, b = a.requires_grad_(), b.requires_grad_()
    loss = nt_xent(a, b, 0.1, torch.arange(4) < n_observed)
    gradients = torch.autograd.grad(loss, (a, b))
    assert loss.isfinite()
    assert all(g.isfinite().all() and g.abs().max() < 100 for g in gradients)
    assert (gradients[0][0] == 0).all()
    if n_observed == 0:
        assert loss == 0
