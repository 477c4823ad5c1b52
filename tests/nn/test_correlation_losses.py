"""Losses of canonical correlation, against loops, autograd and finite differences."""

import numpy as np
import pytest
import torch
from scipy import linalg

from mmfusion.nn.losses import canonical_correlation_loss, eckart_young_loss

from . import slow_losses as slow

EXACT = {"rtol": 1e-8, "atol": 1e-9}
SHRINKAGE = 0.05
OPTIONS = [{}, {"n_components": 2}, {"shrinkage": SHRINKAGE}]


def random_latents(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def gaps(m, n_modalities, rate=0.3):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(m, n_modalities, generator=generator) > rate


def tied_latents(correlations, m=20):
    """Latents of two modalities with these canonical correlations."""
    values = torch.tensor(correlations, dtype=torch.float64)
    d = len(values)
    x = random_latents(m, 2 * d)
    basis = torch.linalg.qr(x - x.mean(0))[0]
    a, b = basis[:, :d], basis[:, d:]
    return torch.stack([a, a * values + b * (1 - values**2).sqrt()])


def gradient_of(loss, latents, *args, **options):
    latents = latents.clone().requires_grad_()
    return torch.autograd.grad(loss(latents, *args, **options), latents)[0]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_loss_and_gradient_are_those_of_autograd_through_eigh(masked, options):
    latents = random_latents(3, 25, 4)
    observed = gaps(25, 3) if masked else None
    found = canonical_correlation_loss(latents, observed, **options)
    expected = slow.canonical_correlation_loss(latents, observed, **options)
    torch.testing.assert_close(found, expected, **EXACT)
    ours, other = (
        gradient_of(loss, latents, observed, **options)
        for loss in (canonical_correlation_loss, slow.canonical_correlation_loss)
    )
    assert other.abs().max() > 1e-3
    torch.testing.assert_close(ours, other, **EXACT)


@pytest.mark.parametrize("correlations", [[0.5] * 3, [0.9, 0.4, 0.4], [0.7, 0.7, 0.1]])
def test_the_gradient_is_finite_where_correlations_are_tied(correlations):
    latents = tied_latents(correlations).requires_grad_()
    k = 2 if correlations[0] == correlations[1] != correlations[2] else None

    def loss(x):
        return canonical_correlation_loss(x, None, k, SHRINKAGE)

    assert torch.autograd.gradcheck(loss, latents)
    # what the closed form is for: the derivative of eigenvectors is of no use here
    printed = gradient_of(
        slow.canonical_correlation_loss, latents.detach(), None, k, SHRINKAGE
    )
    ours = gradient_of(loss, latents.detach())
    assert not torch.allclose(printed, ours, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_those_of_finite_differences(masked):
    latents = random_latents(3, 12, 2).requires_grad_()
    observed = gaps(12, 3) if masked else None
    for loss in (canonical_correlation_loss, eckart_young_loss):
        assert torch.autograd.gradcheck(lambda x, f=loss: f(x, observed), latents)


def test_the_loss_has_no_unit_and_no_axes():
    latents = random_latents(2, 30, 3)
    expected = canonical_correlation_loss(latents)
    rotation = torch.linalg.qr(random_latents(3, 3, seed=2))[0]
    turned = torch.stack([1e3 * latents[0] @ rotation + 7.0, latents[1]])
    torch.testing.assert_close(canonical_correlation_loss(turned), expected, **EXACT)
    # so that no step changes the length of all latents
    gradient = gradient_of(canonical_correlation_loss, latents)
    assert abs((gradient[0] * latents[0]).sum()) < 1e-9


def test_single_precision_is_computed_in_double():
    latents = random_latents(2, 40, 5).float()
    expected = canonical_correlation_loss(latents.double())
    found = canonical_correlation_loss(latents)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)
    gradient = gradient_of(canonical_correlation_loss, latents)
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(
        gradient.double(),
        gradient_of(canonical_correlation_loss, latents.double()),
        rtol=1e-5,
        atol=1e-8,
    )


def test_identical_latents_have_correlations_of_one():
    latents = random_latents(1, 30, 4).expand(3, -1, -1)
    loss = canonical_correlation_loss(latents, shrinkage=1e-8)
    assert float(loss) == pytest.approx(-4)


def test_values_of_missing_modalities_change_nothing():
    latents, observed = random_latents(3, 25, 2), gaps(25, 3)
    other = torch.where(observed.T[..., None], latents, 1e9)
    for loss in (canonical_correlation_loss, eckart_young_loss):
        torch.testing.assert_close(loss(other, observed), loss(latents, observed))
        gradient = gradient_of(loss, other, observed)
        assert gradient.abs().max() < 1e3
        assert (gradient[~observed.T] == 0).all()


def test_pairs_of_few_common_samples_are_left_out():
    latents = random_latents(3, 20, 4)
    observed = torch.ones(20, 3, dtype=torch.bool)
    observed[4:, 2] = False  # 4 samples for a width of 4
    for loss in (canonical_correlation_loss, slow.canonical_correlation_loss):
        expected = canonical_correlation_loss(latents[:2])
        torch.testing.assert_close(loss(latents, observed), expected, **EXACT)
    gradient = gradient_of(canonical_correlation_loss, latents, observed)
    assert (gradient[2] == 0).all()
    assert gradient[0].abs().max() > 1e-3


@pytest.mark.parametrize("latents", [torch.zeros(2, 9, 3), torch.randn(1, 9, 3)])
def test_without_anything_to_correlate_the_loss_and_its_gradient_are_zero(latents):
    assert canonical_correlation_loss(latents) == 0
    assert (gradient_of(canonical_correlation_loss, latents) == 0).all()


def test_latents_that_are_not_finite_have_a_loss_of_nan():
    latents = random_latents(2, 9, 3)
    latents[0, 0, 0] = torch.inf
    assert torch.isnan(canonical_correlation_loss(latents))
    assert torch.isnan(eckart_young_loss(latents))


@pytest.mark.parametrize("masked", [False, True])
def test_the_eckart_young_loss_is_that_of_a_loop(masked):
    latents, observed = random_latents(3, 15, 2), gaps(15, 3) if masked else None
    torch.testing.assert_close(
        eckart_young_loss(latents, observed),
        slow.eckart_young_loss(latents, observed),
        **EXACT,
    )


def test_the_lowest_eckart_young_loss_is_that_of_the_eigenvalues():
    x = random_latents(3, 50, 4)
    x[1:, :, :2] += x[0, :, :2]
    centered = (x - x.mean(1, keepdim=True)).numpy()
    within = linalg.block_diag(*(block.T @ block / 49 for block in centered))
    side_by_side = np.hstack(list(centered))
    across = side_by_side.T @ side_by_side / 49 - within
    values, vectors = linalg.eigh(across, within)
    best = torch.as_tensor(vectors[:, -2:] * np.sqrt(values[-2:])).reshape(3, 4, 2)
    loss = eckart_young_loss(x @ best)
    assert float(loss) == pytest.approx(-(values[-2:] ** 2).sum())
    assert gradient_of(lambda b: eckart_young_loss(x @ b), best).abs().max() < 1e-9
