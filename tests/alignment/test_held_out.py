"""Correlations of held-out frames: values, the choice of a ridge, chance is noticed."""

import warnings

import numpy as np
import pytest

from mmfusion.alignment import CTWAligner
from mmfusion.alignment.ctw._alternation import fit_basis_ctw, fit_ctw
from mmfusion.alignment.ctw._held_out import (
    fit_held_out_ctw,
    held_out_correlations,
)
from mmfusion.alignment.ctw._warping import uniform_warp


def whitened(frames, mean):
    """Orthonormal scores of a modality, and the map to them."""
    left, scales, right = np.linalg.svd(frames - mean, full_matrices=False)
    return left, right.T / scales * np.sqrt(len(frames))


def slow_held_out(x, y, n_directions):
    """Canonical correlation analysis by singular values, without each fifth in turn."""
    scores = [], []
    edges = np.linspace(0, len(x), 6).astype(int)
    for k in range(5):
        held = (np.arange(len(x)) >= edges[k]) & (np.arange(len(x)) < edges[k + 1])
        means = x[~held].mean(axis=0), y[~held].mean(axis=0)
        (u, to_u), (v, to_v) = (
            whitened(x[~held], means[0]),
            whitened(y[~held], means[1]),
        )
        left, _, right = np.linalg.svd(u.T @ v)
        left, right = left[:, :n_directions], right[:n_directions].T
        scores[0].append((x[held] - means[0]) @ to_u @ left)
        scores[1].append((y[held] - means[1]) @ to_v @ right)
    a, b = np.concatenate(scores[0]), np.concatenate(scores[1])
    return [
        sum(p * q for p, q in zip(a[:, k], b[:, k], strict=True))
        / np.sqrt(sum(a[:, k] ** 2) * sum(b[:, k] ** 2))
        for k in range(n_directions)
    ]


def wide_pair(seed, n_frames=120, n_features=90):
    """A random walk in many noisy features; one modality lacks frames of its half."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(size=(n_frames, 3)), axis=0)
    half = n_frames // 2
    truth = np.r_[np.delete(np.arange(half), np.s_[1::3]), half:n_frames]
    x, y = (
        own @ rng.normal(size=(3, n_features))
        + 0.5 * rng.normal(size=(len(own), n_features))
        for own in (walk, walk[truth])
    )
    return x, y, truth


def error(aligner, truth):
    path = aligner.paths_[0]["modality_1"]
    return np.abs(path[:, 0] - truth[path[:, 1]]).mean()


@pytest.mark.parametrize("n_directions", [1, 3])
def test_held_out_correlations_are_those_of_slow_folds(n_directions):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(58, 4))
    y = x @ rng.normal(size=(4, 3)) + rng.normal(size=(58, 3))
    warp = np.column_stack([np.arange(58)] * 2)
    found = held_out_correlations([[x, y]], [warp], ridge=0, n_directions=n_directions)
    np.testing.assert_allclose(found, slow_held_out(x, y, n_directions), rtol=1e-9)


def test_of_several_samples_each_gives_a_fifth_and_pairs_of_modalities_are_averaged():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 3))
    y, z = (x + rng.normal(size=(60, 3)) for _ in range(2))
    straight = [np.column_stack([np.arange(30)] * 2)] * 2
    both = held_out_correlations(
        [[x[:30], y[:30]], [x[30:], y[30:]]], straight, ridge=0.1, n_directions=2
    )
    order = np.concatenate([np.r_[k : k + 6, 30 + k : 36 + k] for k in range(0, 30, 6)])
    one = [np.column_stack([np.arange(60)] * 2)]
    same = held_out_correlations([[x[order], y[order]]], one, ridge=0.1, n_directions=2)
    np.testing.assert_allclose(both, same, rtol=1e-9)
    three = [np.column_stack([np.arange(60)] * 3)]
    found = held_out_correlations([[x, y, z]], three, ridge=0, n_directions=1)
    assert 0 < found[0] < 1


def test_independent_noise_correlates_by_chance_only():
    x, y = np.random.default_rng(2).normal(size=(2, 80, 60))
    warps = [uniform_warp([80, 80])]
    fit = fit_ctw([[x, y]], warps, max_iter=3)
    assert fit.projections.correlations.mean() > 0.8
    n_directions = len(fit.projections.correlations)
    held_out = held_out_correlations(
        [[x, y]], fit.warps, ridge=0, n_directions=n_directions
    )
    assert abs(held_out.mean()) < 0.3
    # too few frames to leave any out
    few = held_out_correlations(
        [[x[:4], y[:4]]], [uniform_warp([4, 4])], ridge=0, n_directions=3
    )
    assert (few == 0).all()


def test_several_ridges_start_from_the_warps_of_the_one_before():
    x, y, _ = wide_pair(3, 60, 8)
    first = fit_ctw([[x, y]], ridge=1.0, likelihood=False)
    second = fit_ctw([[x, y]], first.warps, ridge=0.1, likelihood=False)
    both = fit_ctw([[x, y]], ridge=(1.0, 0.1), likelihood=False)
    np.testing.assert_array_equal(both.warps[0], second.warps[0])
    assert both.n_iter == first.n_iter + second.n_iter
    smooth = fit_basis_ctw([[x, y]], ridge=(1.0, 0.1))
    assert smooth.n_iter > 1


@pytest.mark.parametrize("seed", range(3))
def test_a_pair_of_many_features_is_aligned_although_they_correlate_by_chance(seed):
    x, y, truth = wide_pair(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        aligner = CTWAligner().fit([[x], [y]])
    assert aligner.ridge_ == 0.1
    assert error(aligner, truth) < 1
    assert aligner.held_out_correlations_[0] > 0.9
    with pytest.warns(UserWarning, match=r"by chance.*set ridge='auto', or fit more"):
        without = CTWAligner(ridge=0).fit([[x], [y]])
    assert error(without, truth) > 5


def test_few_features_need_no_ridge():
    rng = np.random.default_rng(4)
    angle = 4 * np.pi * np.sqrt(np.linspace(0, 1, 200))
    spiral = np.column_stack([angle * np.cos(angle), angle * np.sin(angle)])
    truth = np.delete(np.arange(200), np.s_[10:110:2])
    x = spiral * [1, 0.05]  # a ridge would hide the second direction
    y = np.column_stack([spiral * [0.05, 1], 2 * rng.normal(size=200)])[truth]
    aligner = CTWAligner().fit([[x], [y]])
    assert aligner.ridge_ == 0
    assert aligner.held_out_correlations_.min() > 0.9
    assert error(aligner, truth) < 1
    assert error(CTWAligner(ridge=0.1).fit([[x], [y]]), truth) > 1


def test_the_fit_of_three_with_the_largest_held_out_correlations_is_kept():
    x, y, _ = wide_pair(6, 60, 12)
    descent = (1.0, 0.6, 0.3, 0.1)
    means = {}
    for ridge in (0.0, 0.1, descent):
        fit = fit_ctw([[x, y]], ridge=ridge, likelihood=False)
        last = ridge if isinstance(ridge, float) else ridge[-1]
        n_directions = len(fit.projections.correlations)
        held_out = held_out_correlations(
            [[x, y]], fit.warps, ridge=last, n_directions=n_directions
        )
        means[ridge] = held_out.mean()
    found = fit_held_out_ctw([[x, y]], "free", [[x, y]], {}, ridge="auto")
    assert found.correlations.mean() == max(means.values())


def test_a_warning_without_a_better_ridge_asks_for_samples_or_components():
    x, y = np.random.default_rng(5).normal(size=(2, 30, 25))
    with pytest.warns(UserWarning, match=r"for the frames: fit more samples, or the"):
        CTWAligner(n_components=20).fit([[x], [y]])
