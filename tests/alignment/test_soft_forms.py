"""Windows, sharp and mean forms of soft-DTW, all pairs, and the rule for gamma."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.alignment import (
    cdist_soft_dtw,
    dtw_distance,
    soft_dtw,
    soft_dtw_alignment,
    soft_dtw_gamma,
    soft_dtw_gradient,
)
from mmfusion.alignment.dtw._windows import itakura, sakoe_chiba

from .slow_dtw import all_paths, along, slow_costs

FORMS = ("soft", "sharp", "mean")
WINDOWS = [
    dict(window="sakoe_chiba", radius=4),
    dict(window="sakoe_chiba", radius=0.5),
    dict(window="itakura", max_slope=1.5),
]


def slow_form(costs, form, gamma):
    """The soft minimum, or a mean of the costs of all paths, one by one."""
    totals = np.array(
        [along(costs, np.array(path)) for path in all_paths(*costs.shape)]
    )
    totals = totals[np.isfinite(totals)]
    if not len(totals):
        return None
    if form == "mean":
        return totals.mean()
    least = totals.min()
    weights = np.array([exp(-(total - least) / gamma) for total in totals])
    if form == "soft":
        return least - gamma * log(weights.sum())
    return weights @ totals / weights.sum()


def masked(costs, window, **options):
    n, m = costs.shape
    if window == "itakura":
        inside = itakura(n, m, options["max_slope"])
    else:
        inside = sakoe_chiba(n, m, options["radius"])
    j = np.arange(m)
    keeps = (inside.starts[:, None] <= j) & (j < inside.stops[:, None])
    return np.where(keeps, costs, np.inf)


def pair(n, m, d=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).cumsum(axis=0), rng.normal(size=(m, d)).cumsum(0)


def slopes(f, x, step=1e-5):
    slope = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[at] += step
        down[at] -= step
        slope[at] = (f(up) - f(down)) / (2 * step)
    return slope


@pytest.mark.parametrize("form", FORMS)
@given(
    st.integers(1, 5), st.integers(1, 6), st.sampled_from([0.05, 1.0, 30.0]), st.data()
)
@settings(max_examples=40, deadline=None)
def test_values_are_those_of_all_paths(form, n, m, gamma, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    costs = rng.random((n, m)) * 9
    forbidden = rng.random((n, m)) < 0.1
    forbidden[[0, -1], [0, -1]] = False
    with_gaps = np.where(forbidden, np.inf, costs)
    for table in (costs, with_gaps):
        expected = slow_form(table, form, gamma)
        if expected is not None:
            found = soft_dtw(table, metric="precomputed", gamma=gamma, form=form)
            assert found == pytest.approx(expected, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("window", [{}, *WINDOWS], ids=str)
@pytest.mark.parametrize("divergence", [False, True])
def test_gradients_are_those_of_differences(form, window, divergence):
    x, y = pair(9, 12)
    options = dict(form=form, gamma=2.0, divergence=divergence, **window)
    value, gradient = soft_dtw_gradient(x, y, **options)
    assert value == pytest.approx(soft_dtw(x, y, **options), rel=1e-12)
    expected = slopes(lambda z: soft_dtw(z, y, **options), x)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 9), (1, 6), (20, 31), (140, 90), (300, 290)])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_windows_are_forbidden_cells(shape, window, form):
    x, y = pair(*shape)
    if window.get("radius") == 4 and shape not in ((9, 9), (300, 290)):
        window = window | dict(radius=30)
    costs = masked(slow_costs(x, y), **window)
    expected = soft_dtw(costs, metric="precomputed", form=form)
    assert soft_dtw(x, y, form=form, **window) == pytest.approx(expected, rel=1e-9)
    if form == "soft":
        alignment = soft_dtw_alignment(x, y, **window).expected
        assert (alignment[np.isinf(costs)] == 0).all()
        whole = soft_dtw_alignment(costs, metric="precomputed").expected
        np.testing.assert_allclose(alignment, whole, rtol=1e-6, atol=1e-10)


def test_a_band_of_no_width_leaves_the_diagonal():
    x, y = pair(12, 12)
    options = dict(window="sakoe_chiba", radius=0)
    expected = ((x - y) ** 2).sum()
    for form in FORMS:
        found = soft_dtw_gradient(x, y, form=form, **options)
        assert found.value == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(found.gradient, 2 * (x - y), rtol=1e-9)
    alignment = soft_dtw_alignment(x, y, **options).expected
    np.testing.assert_allclose(alignment, np.eye(12), rtol=1e-12)


def test_sharp_lies_between_the_best_path_and_the_mean():
    x, y = pair(30, 25)
    best = dtw_distance(x, y)
    sharp = [soft_dtw(x, y, gamma=g, form="sharp") for g in (1e-9, 1.0, 1e3, 1e12)]
    assert sharp == sorted(sharp)
    assert sharp[0] == pytest.approx(best, rel=1e-9)
    assert sharp[-1] == pytest.approx(soft_dtw(x, y, form="mean"), rel=1e-6)
    soft = soft_dtw(x, y, gamma=1.0)
    assert soft <= best <= sharp[1]
    # the soft minimum is the sharp one less gamma times the entropy: its slope by gamma
    up, down = (soft_dtw(x, y, gamma=g) for g in (1 + 1e-5, 1 - 1e-5))
    assert sharp[1] == pytest.approx(soft - (up - down) / 2e-5, rel=1e-6)


def test_divergences_of_equal_sequences_are_zero():
    x, y = pair(20, 15)
    for form in FORMS:
        own = soft_dtw_gradient(x, x, form=form, divergence=True)
        assert own.value == 0
        np.testing.assert_allclose(own.gradient, 0, atol=1e-9)
        assert soft_dtw(x, y, form=form, divergence=True) > 0


def test_forms_hold_for_extreme_costs():
    x, y = pair(15, 14)
    for form in ("sharp", "mean"):
        value, gradient = soft_dtw_gradient(x, y, form=form, gamma=1e-30)
        assert np.isfinite(gradient).all()
        scaled = soft_dtw(1e100 * x, 1e100 * y, form=form, gamma=1e-30)
        assert scaled == pytest.approx(1e200 * value, rel=1e-9)
    with pytest.raises(ValueError, match="overflows"):
        soft_dtw(np.full((3, 3), 1e308), metric="precomputed", form="mean")
    closed = np.array([[0.0, np.inf], [np.inf, np.inf]])
    for form in FORMS:
        with pytest.raises(ValueError, match="no path"):
            soft_dtw(closed, metric="precomputed", form=form)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("divergence", [False, True])
@pytest.mark.parametrize("metric", ["sqeuclidean", "cosine", lambda A, B: A @ B.T + 99])
def test_all_pairs_are_those_of_one(form, divergence, metric):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 3)) for n in (5, 9, 7)]
    Y = [rng.normal(size=(n, 3)) for n in (6, 8)]
    options = dict(form=form, divergence=divergence, metric=metric, gamma=0.5)
    options |= dict(window="sakoe_chiba", radius=6)
    for others in (X, Y):
        expected = [[soft_dtw(x, y, **options) for y in others] for x in X]
        given_ = None if others is X else others
        found = cdist_soft_dtw(X, given_, n_jobs=2, **options)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_all_pairs_name_the_pair_of_an_error():
    X = [np.ones((3, 2)), np.ones((40, 2))]
    with pytest.raises(ValueError, match=r"X\[1\] and X\[0\]: no path fits"):
        cdist_soft_dtw(X, window="sakoe_chiba", radius=1)
    with pytest.raises(ValueError, match="'precomputed'"):
        cdist_soft_dtw(X, metric="precomputed")
    assert cdist_soft_dtw([], X).shape == (0, 2)


def test_the_rule_for_gamma_is_that_of_global_alignment():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 2)) for n in (10, 20, 31)]
    frames = np.concatenate(X)
    costs = slow_costs(frames, frames)[np.triu_indices(len(frames), 1)]
    assert soft_dtw_gamma(X) == pytest.approx(2 * np.median(costs) * 20)
    assert soft_dtw_gamma([3 * x for x in X]) == pytest.approx(9 * soft_dtw_gamma(X))
    manhattan = slow_costs(frames, frames, "manhattan")
    manhattan = np.median(manhattan[np.triu_indices(len(frames), 1)])
    assert soft_dtw_gamma(X, metric="manhattan") == pytest.approx(40 * manhattan)
    assert soft_dtw_gamma([[1.0, 1.0]]) == 1
    with pytest.raises(ValueError, match="no sequence"):
        soft_dtw_gamma([])


@pytest.mark.slow  # tslearn compiles
def test_tslearn_finds_the_same_values_and_gamma():
    tslearn = pytest.importorskip("tslearn.metrics")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4, 12, 2))
    theirs = tslearn.cdist_soft_dtw(X, gamma=0.7)
    np.testing.assert_allclose(cdist_soft_dtw(X, gamma=0.7), theirs, rtol=1e-9)
    normalized = tslearn.cdist_soft_dtw_normalized(X, gamma=0.7)
    found = cdist_soft_dtw(X, gamma=0.7, divergence=True)
    np.testing.assert_allclose(found, normalized, rtol=1e-9, atol=1e-9)
    # theirs draws frames, with which its median varies
    drawn = [tslearn.gamma_soft_dtw(X, 48, random_state=seed) for seed in range(20)]
    assert soft_dtw_gamma(X) == pytest.approx(np.mean(drawn), rel=0.2)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(form="hard"), ValueError, "form='hard' is not one of"),
        (dict(form=1), TypeError, "form=1 is a int"),
        (dict(window="multiscale"), ValueError, "window='multiscale' is not one of"),
        (dict(window="sakoe_chiba", radius=-1), ValueError, "radius=-1"),
        (dict(window="itakura", max_slope=0.5), ValueError, "max_slope=0.5"),
    ],
    ids=str,
)
def test_unfit_options_are_refused(options, error, words):
    x = np.arange(5.0)
    for function in (soft_dtw, soft_dtw_gradient):
        with pytest.raises(error, match=words):
            function(x, x, **options)
    with pytest.raises(error, match=words):
        cdist_soft_dtw([x], **options)
