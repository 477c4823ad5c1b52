"""Canonical time warping: projections, warps, and the two in turn."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.linalg import eigh
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal

from mmfusion.alignment.ctw._alternation import (
    fit_basis_ctw,
    fit_combined_ctw,
    fit_ctw,
)
from mmfusion.alignment.ctw._monotone_bases import (
    align_by_bases,
    improve_weights,
    monotone_bases,
    uniform_basis_warp,
)
from mmfusion.alignment.ctw._projections import (
    Projections,
    correlate,
    count_directions,
    pooled_scatter,
    project,
    warped,
    weigh_by_likelihood,
)
from mmfusion.alignment.ctw._warping import align, realign, uniform_warp, warp_error


def random_samples(n_samples=3, widths=(3, 4), seed=0):
    rng = np.random.default_rng(seed)
    return [
        [
            rng.standard_normal((rng.integers(15, 30), d)).cumsum(axis=0) + 5
            for d in widths
        ]
        for _ in range(n_samples)
    ]


def uniform_warps(samples):
    return [uniform_warp([len(x) for x in sample]) for sample in samples]


def clocked_curves(n_samples=1, widths=(4, 3), n_frames=80, seed=0):
    """Curves that modalities see linearly, by unequal clocks; and the true warps."""
    rng = np.random.default_rng(seed)
    maps = [rng.standard_normal((2, d)) for d in widths]
    time = np.linspace(0, 1, n_frames)
    samples, truths = [], []
    for _ in range(n_samples):
        waves = np.cos(np.pi * time[:, None] * np.arange(1, 6)) / np.arange(1, 6)
        curve = waves @ rng.standard_normal((5, 2))
        sample, columns = [], []
        for mixing in maps:
            kept = np.unique(
                np.concatenate(
                    [
                        np.linspace(first, first + 15, rng.integers(6, 16))
                        for first in range(0, n_frames, 16)
                    ]
                ).astype(int)
            )
            noise = rng.standard_normal((len(kept), 2))
            sample.append(np.hstack([curve[kept] @ mixing, noise]))
            columns.append(np.interp(np.arange(n_frames), kept, np.arange(len(kept))))
        samples.append(sample)
        truths.append(np.rint(np.column_stack(columns)).astype(int))
    return samples, truths


def slow_scatter(samples, warps):
    frames = [
        np.concatenate([x[warp[t, v]] for v, x in enumerate(sample)])
        for sample, warp in zip(samples, warps, strict=True)
        for t in range(len(warp))
    ]
    mean = sum(frames) / len(frames)
    return mean, sum(np.outer(z - mean, z - mean) for z in frames) / len(frames)


def slow_blocks(scatter, widths, ridge):
    """C_O and C_D."""
    owner = np.repeat(np.arange(len(widths)), widths)
    same = owner[:, None] == owner
    within = (1 - ridge) * np.where(same, scatter, 0)
    for v, d in enumerate(widths):
        own = np.flatnonzero(owner == v)
        within[own, own] += ridge * np.trace(scatter[np.ix_(own, own)]) / d
    return np.where(same, 0, scatter), within


# The spatial step


def test_scatter_is_pooled_over_all_warped_frames_of_all_samples():
    samples = random_samples(widths=(2, 1, 3))
    warps = uniform_warps(samples)
    for found, expected in zip(
        pooled_scatter(samples, warps)[:2], slow_scatter(samples, warps), strict=True
    ):
        assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("widths", [(3, 4), (2, 3, 4)])
@pytest.mark.parametrize("ridge", [0.0, 0.2])
def test_projections_solve_the_eigenproblem(widths, ridge):
    samples = random_samples(widths=widths)
    warps = uniform_warps(samples)
    between, within = slow_blocks(slow_scatter(samples, warps)[1], widths, ridge)
    expected = eigh(between, within, eigvals_only=True)[::-1][: min(widths)]

    fitted = correlate(samples, warps, ridge=ridge, n_directions=min(widths))
    stacked = np.vstack(fitted.weights)
    assert_allclose(between @ stacked, within @ stacked * expected, atol=1e-8)
    gram = stacked.T @ within @ stacked
    assert_allclose(gram, len(widths) * np.eye(min(widths)), atol=1e-8)


def test_identity_warps_reduce_to_canonical_correlation_analysis():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 4))
    y = x @ rng.standard_normal((4, 3)) + rng.standard_normal((50, 3))
    identity = np.column_stack([np.arange(50)] * 2)
    fitted = correlate([[x, y]], [identity], n_directions=3)

    whitened = [np.linalg.qr(z - z.mean(axis=0))[0] for z in (x, y)]
    expected = np.linalg.svd(whitened[0].T @ whitened[1], compute_uv=False)
    assert_allclose(fitted.correlations, expected, atol=1e-10)
    scores = project([x, y], fitted)
    for z in scores:
        assert_allclose(z.mean(axis=0), 0, atol=1e-10)
        assert_allclose(z.T @ z / 50, np.eye(3), atol=1e-10)
    assert_allclose(scores[0].T @ scores[1] / 50, np.diag(expected), atol=1e-10)


@pytest.mark.parametrize("widths", [(3, 4), (2, 3, 4)])
def test_correlations_are_those_of_the_scores_with_a_ridge_too(widths):
    samples = random_samples(widths=widths)
    warps = uniform_warps(samples)
    fitted = correlate(samples, warps, ridge=0.3, n_directions=2)
    scores = [
        np.vstack(
            [
                project(sample, fitted)[v][warp[:, v]]
                for sample, warp in zip(samples, warps, strict=True)
            ]
        )
        for v in range(len(widths))
    ]
    for k, found in enumerate(fitted.correlations):
        table = np.corrcoef([z[:, k] for z in scores])
        expected = table[np.triu_indices(len(widths), 1)].mean()
        assert found == pytest.approx(expected)


def test_fewest_directions_hold_the_energy():
    eigenvalues = np.array([0.5, 0.3, 0.2, -0.1])
    found = [
        count_directions(eigenvalues, energy) for energy in (0.1, 0.5, 0.6, 0.9, 1)
    ]
    assert found == [1, 1, 2, 3, 3]
    samples = random_samples()
    warps = uniform_warps(samples)
    several = correlate(samples, warps, energy=1.0)
    assert len(several.correlations) == 3
    assert len(correlate(samples, warps, energy=1e-3).correlations) == 1


def test_redundant_features_change_no_correlation():
    samples = random_samples()
    redundant = [
        [x, np.column_stack([y, y[:, 0] - 2 * y[:, 1], np.full(len(y), 7.0)])]
        for x, y in samples
    ]
    warps = uniform_warps(samples)
    found = correlate(redundant, warps, n_directions=3).correlations
    expected = correlate(samples, warps, n_directions=3).correlations
    assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("ridge", [0.0, 0.2])
def test_units_of_a_modality_change_nothing(ridge):
    samples = random_samples()
    warps = uniform_warps(samples)
    small = [[x, 1e-6 * y] for x, y in samples]
    fitted = correlate(samples, warps, ridge=ridge)
    other = correlate(small, warps, ridge=ridge)
    assert_allclose(other.correlations, fitted.correlations, rtol=1e-9)
    for found, expected in zip(
        project(small[0], other), project(samples[0], fitted), strict=True
    ):
        assert_allclose(found, expected, atol=1e-8)


def test_a_modality_that_never_varies_is_refused_by_its_position():
    (x, y) = random_samples(1)[0]
    for constant in (np.full_like(y, 0.1), y[:1]):
        with pytest.raises(ValueError, match="modality 1 are all the same"):
            fit_ctw([[x, constant]])


def test_one_sample_may_have_a_single_frame_where_others_have_more():
    samples = random_samples(3)
    samples[1][0] = samples[1][0][:1]
    for fit in (fit_ctw, fit_basis_ctw, fit_combined_ctw):
        warp = fit(samples, max_iter=3).warps[1]
        assert_array_equal(warp[:, 0], 0)
        assert warp[-1, 1] == pytest.approx(len(samples[1][1]) - 1)


def test_more_directions_than_a_modality_has_are_refused():
    samples = random_samples(widths=(5, 2, 3))
    with pytest.raises(ValueError, match=r"n_directions=3.*modality 1 vary in only 2"):
        correlate(samples, uniform_warps(samples), n_directions=3)


def test_likelihood_weights_rank_alignments_as_the_gaussian_likelihood_does():
    rng = np.random.default_rng(0)
    r = np.array([0.9, 0.4])
    weights = [np.eye(2)] * 2
    fitted = weigh_by_likelihood(Projections([np.zeros(2)] * 2, weights, r))
    x, y = rng.standard_normal((2, 6, 2))

    def log_likelihood(order):
        return sum(
            multivariate_normal.logpdf(
                np.column_stack([x[:, k], y[order, k]]), cov=[[1, r[k]], [r[k], 1]]
            ).sum()
            for k in range(2)
        )

    def cost(order):
        a, b = project([x, y[order]], fitted)
        return ((a - b) ** 2).sum()

    first, second = rng.permutation(6), rng.permutation(6)
    gained = log_likelihood(first) - log_likelihood(second)
    assert gained == pytest.approx((cost(second) - cost(first)) / 2)


# Warps


def test_uniform_warp_goes_from_first_to_last_frame_without_jumps():
    warp = uniform_warp([7, 20, 1])
    assert len(warp) == 20
    assert_array_equal(warp[0], 0)
    assert_array_equal(warp[-1], [6, 19, 0])
    assert set(np.diff(warp, axis=0).ravel()) == {0, 1}
    assert len(uniform_warp([7, 20], 50)) == 50


def test_error_of_a_warp_is_the_mean_distance_of_nearest_rows():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 30, (12, 2)), rng.integers(0, 30, (17, 2))
    distances = cdist(a, b)
    slow = (distances.min(axis=1).sum() + distances.min(axis=0).sum()) / (12 + 17)
    assert warp_error(a, b) == pytest.approx(slow)
    assert warp_error(b, a) == pytest.approx(slow)
    assert warp_error(a, a[::-1]) == 0


def test_warps_between_frames_interpolate():
    x = np.array([[0.0, 5.0], [2.0, 5.0], [10.0, 6.0]])
    at = np.array([0.0, 0.5, 1.75, 2.0])
    expected = np.column_stack([np.interp(at, range(3), x[:, f]) for f in range(2)])
    assert_allclose(warped(x, at), expected)
    assert_array_equal(warped(x, np.array([2, 0])), x[[2, 0]])
    assert_array_equal(warped(x[:1], np.zeros(4)), x[[0] * 4])


@pytest.mark.parametrize("length", [1, 2, 40])
def test_bases_rise_from_the_first_frame_to_the_last(length):
    bases = monotone_bases(30, length)
    assert_allclose(bases[0], 0, atol=1e-12)
    assert_allclose(bases[-1], length - 1)
    assert (np.diff(bases, axis=0) >= 0).all()


# The temporal step


def test_two_modalities_are_joined_by_the_cheapest_path():
    (sample,), _ = clocked_curves()
    fitted = correlate([sample], uniform_warps([sample]))
    x, y = project(sample, fitted)
    warp = realign([x, y], uniform_warps([sample])[0])
    costs = cdist(x, y, "sqeuclidean")
    total = np.full((len(x) + 1, len(y) + 1), np.inf)
    total[0, 0] = 0
    for i in range(len(x)):
        for j in range(len(y)):
            total[i + 1, j + 1] = costs[i, j] + min(
                total[i, j], total[i, j + 1], total[i + 1, j]
            )
    assert costs[warp[:, 0], warp[:, 1]].sum() == pytest.approx(total[-1, -1])


def test_more_modalities_are_each_aligned_with_their_mean():
    (sample,), _ = clocked_curves(widths=(4, 3, 2))
    (before,) = uniform_warps([sample])
    fitted = correlate([sample], [before])
    projected = project(sample, fitted)
    warp = realign(projected, before)
    assert warp.shape == before.shape
    mean = sum(z[before[:, v]] for v, z in enumerate(projected)) / 3
    for v, z in enumerate(projected):
        steps = np.diff(warp[:, v])
        assert (warp[0, v], warp[-1, v]) == (0, len(z) - 1)
        assert steps.min() >= 0
        assert steps.max() <= 2
        costs = cdist(mean, z, "sqeuclidean")
        total = np.full(len(z), np.inf)
        total[0] = costs[0, 0]
        for i in range(1, len(mean)):
            padded = np.concatenate([[np.inf, np.inf], total])
            total = costs[i] + np.minimum.reduce([padded[:-2], padded[1:-1], total])
        found = costs[np.arange(len(mean)), warp[:, v]].sum()
        assert found == pytest.approx(total[-1])


def test_a_common_time_too_short_for_asymmetric_steps_is_refused():
    samples = random_samples(1, widths=(3, 3, 3))
    short = [uniform_warp([len(x) for x in samples[0]], 5)]
    with pytest.raises(ValueError, match="asymmetric"):
        fit_ctw(samples, short)


def test_constraints_of_dtw_hold_for_the_warps():
    samples, _ = clocked_curves(2)
    window = {"window": "sakoe_chiba", "radius": 3}
    for sample, warp in zip(
        samples, fit_ctw(samples, constraints=window).warps, strict=True
    ):
        n, m = map(len, sample)
        assert np.abs(warp[:, 0] * m / n - warp[:, 1]).max() <= 3 + m / n


def test_gauss_newton_never_worsens_and_stays_among_monotone_warps():
    samples, _ = clocked_curves(4, widths=(4, 3, 2))
    fitted = correlate(samples, uniform_warps(samples))

    def spread(sample, warp):
        columns = warp.columns
        seen = [warped(z, columns[:, v]) for v, z in enumerate(project(sample, fitted))]
        return sum(((seen[i] - seen[j]) ** 2).sum() for i in range(3) for j in range(i))

    for sample in samples:
        warp = uniform_basis_warp([len(x) for x in sample])
        first = spread(sample, warp)
        for _ in range(3):
            before = spread(sample, warp)
            warp = improve_weights(project(sample, fitted), warp, n_steps=1)
            assert spread(sample, warp) <= before
            for a in warp.weights:
                assert a.min() >= 0
                assert a.sum() == pytest.approx(1)
            assert (np.diff(warp.columns, axis=0) > -1e-9).all()
        assert spread(sample, warp) < first


def test_bases_recover_a_warp_that_is_one_of_theirs():
    time = np.linspace(0, 1, 200)[:, None]
    curve = np.hstack([np.cos(3 * time), np.sin(5 * time)])
    other = monotone_bases(150, 200) @ [0.5, 0, 0, 0, 0.5, 0]
    sample = [curve, warped(curve, other)]
    identity = Projections([np.zeros(2)] * 2, [np.eye(2)] * 2, np.ones(2))
    truth = np.column_stack([other, np.arange(150)])
    uniform = uniform_warp([200, 150])
    found = align_by_bases(sample, identity).columns
    assert warp_error(uniform, truth) > 5
    assert warp_error(found, truth) < 1


# The alternation


def test_warps_are_what_their_projections_give():
    samples, _ = clocked_curves(3)
    for likelihood in (False, True):
        fit = fit_ctw(samples, likelihood=likelihood)
        for sample, warp in zip(samples, fit.warps, strict=True):
            assert_array_equal(align(sample, fit.projections), warp)


def test_score_is_the_sum_of_correlations_along_the_warps():
    samples, _ = clocked_curves(3)
    for fit in (fit_ctw(samples, likelihood=False), fit_basis_ctw(samples)):
        n_directions = len(fit.projections.correlations)
        along = correlate(samples, fit.warps, n_directions=n_directions)
        assert fit.score == pytest.approx(along.correlations.sum())


def test_alternation_takes_the_two_steps_in_turn():
    samples, _ = clocked_curves(2, seed=3)
    fitted = correlate(samples, uniform_warps(samples), n_directions=2)
    best = -np.inf
    for _ in range(4):
        warps = [align(sample, fitted) for sample in samples]
        after = correlate(samples, warps, n_directions=2)
        if after.correlations.sum() > best:
            best, expected = after.correlations.sum(), warps
        fitted = after
    found = fit_ctw(samples, n_directions=2, likelihood=False, max_iter=4)
    assert found.score == pytest.approx(best)
    for a, b in zip(found.warps, expected, strict=True):
        assert_array_equal(a, b)


def test_the_best_iterate_and_the_reason_to_stop_are_returned():
    samples, _ = clocked_curves(1, seed=3)
    fits = [fit_ctw(samples, max_iter=n) for n in (1, 2, 5, 100)]
    scores = [fit.score for fit in fits]
    assert scores == sorted(scores)
    assert (fits[0].n_iter, fits[0].reason) == (1, "max_iter")
    assert fits[-1].reason in {"settled", "cycle"}
    assert fits[-1].n_iter < 100


def test_equal_modalities_settle_at_once_on_the_diagonal():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3)).cumsum(axis=0)
    fit = fit_ctw([[x, x]])
    assert (fit.n_iter, fit.reason) == (1, "settled")
    assert_array_equal(fit.warps[0], np.column_stack([np.arange(40)] * 2))


@pytest.mark.parametrize("widths", [(4, 3), (4, 3, 2)])
@pytest.mark.parametrize("fit", [fit_ctw, fit_basis_ctw])
def test_linear_mixing_of_a_modality_changes_no_warp(fit, widths):
    samples, _ = clocked_curves(2, widths)
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((6, 6)) + 3 * np.eye(6)
    mixed = [[x @ mixing + 4, *rest] for x, *rest in samples]
    expected, found = fit(samples, max_iter=5), fit(mixed, max_iter=5)
    assert found.score == pytest.approx(expected.score)
    for a, b in zip(found.warps, expected.warps, strict=True):
        assert_allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("widths", [(4, 3), (4, 3, 2)])
@pytest.mark.parametrize("fit", [fit_ctw, fit_basis_ctw])
def test_order_of_modalities_does_not_matter(fit, widths):
    samples, _ = clocked_curves(2, widths)
    expected = fit(samples, max_iter=5)
    found = fit([sample[::-1] for sample in samples], max_iter=5)
    assert found.score == pytest.approx(expected.score)
    for a, b in zip(found.warps, expected.warps, strict=True):
        assert_allclose(a[:, ::-1], b, atol=1e-3)


def test_order_of_samples_does_not_matter():
    samples, _ = clocked_curves(3)
    expected, found = fit_ctw(samples), fit_ctw(samples[::-1])
    for a, b in zip(found.warps[::-1], expected.warps, strict=True):
        assert_array_equal(a, b)


def test_known_warps_are_recovered_better_than_by_dtw_on_the_features():
    samples, truths = clocked_curves(6, widths=(3, 3))

    def error(warps):
        return np.mean([warp_error(a, b) for a, b in zip(warps, truths, strict=True)])

    flat = Projections([np.zeros(5)] * 2, [np.eye(5)] * 2, np.ones(5))
    raw = error([align(sample, flat) for sample in samples])
    uniform = error(uniform_warps(samples))
    found = error(fit_ctw(samples).warps)
    combined = error(fit_combined_ctw(samples).warps)
    assert found < 0.5 * raw
    assert found < 0.5 * uniform
    assert combined < 0.5 * uniform


def test_pooled_projections_align_unseen_pairs_better_than_each_pair_by_itself():
    samples, truths = clocked_curves(14, seed=1)
    fit = fit_ctw(samples[:10])
    pooled = [align(sample, fit.projections) for sample in samples[10:]]
    alone = [fit_ctw([sample]).warps[0] for sample in samples[10:]]
    errors = [
        np.mean([warp_error(a, b) for a, b in zip(warps, truths[10:], strict=True)])
        for warps in (pooled, alone)
    ]
    assert errors[0] < 0.6 * errors[1]


def test_three_modalities_are_aligned_by_what_they_share():
    samples, truths = clocked_curves(8, widths=(4, 3, 2))
    fit = fit_ctw(samples)
    found = [align(sample, fit.projections) for sample in samples]
    before, after = (
        np.mean([warp_error(a, b) for a, b in zip(warps, truths, strict=True)])
        for warps in (uniform_warps(samples), found)
    )
    assert after < 0.6 * before


def test_the_combination_keeps_the_better_of_its_two_starts():
    for seed in range(3):
        samples, _ = clocked_curves(1, seed=seed)
        from_uniform = fit_ctw(samples).score
        smooth = fit_basis_ctw(samples)
        near = [np.rint(warp).astype(int) for warp in smooth.warps]
        n_directions = len(smooth.projections.correlations)
        from_smooth = fit_ctw(samples, near, n_directions=n_directions).score
        found = fit_combined_ctw(samples).score
        assert found == pytest.approx(max(from_uniform, from_smooth))
