import json
import warnings
from fractions import Fraction
from math import exp, log
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from mmfusion import _memory
from mmfusion.alignment.dtw._path import dtw_distance, dtw_path
from mmfusion.alignment.dtw._soft import (
    soft_dtw,
    soft_dtw_alignment,
    soft_dtw_gradient,
)

CASES = Path(__file__).parents[3] / "shared" / "data" / "dtw_reference_cases.json"


def slow_soft_dtw(costs, gamma):
    """Value and expected alignment, as in algorithms 1 and 2 of the paper."""
    n, m = costs.shape
    r = np.full((n + 2, m + 2), np.inf)
    r[0, 0] = 0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            before = [r[i - 1, j - 1], r[i - 1, j], r[i, j - 1]]
            least = min(before)
            total = sum(exp(-(b - least) / gamma) for b in before)
            r[i, j] = costs[i - 1, j - 1] + least - gamma * log(total)
    value = r[n, m]
    r[:, m + 1], r[n + 1, :], r[n + 1, m + 1] = -np.inf, -np.inf, value
    d = np.zeros((n + 2, m + 2))
    d[1:-1, 1:-1] = costs
    e = np.zeros((n + 2, m + 2))
    e[n + 1, m + 1] = 1
    for j in range(m, 0, -1):
        for i in range(n, 0, -1):
            for a, b in ((1, 0), (0, 1), (1, 1)):
                weight = exp((r[i + a, j + b] - r[i, j] - d[i + a, j + b]) / gamma)
                e[i, j] += e[i + a, j + b] * weight
    return value, e[1:-1, 1:-1]


def walk(rng, n, d):
    return rng.normal(size=(n, d)).cumsum(axis=0)


def differences(f, x, step=1e-5):
    slope = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[at] += step
        down[at] -= step
        slope[at] = (f(up) - f(down)) / (2 * step)
    return slope


# lengths on both sides of a tile, and neither a multiple of a vector
SHAPES = [(1, 1), (1, 9), (9, 1), (2, 3), (17, 40), (40, 17), (131, 70), (60, 300)]


@pytest.mark.parametrize("gamma", [0.01, 1.0, 50.0])
@pytest.mark.parametrize(("n", "m"), SHAPES)
def test_value_and_alignment_are_those_of_the_double_loop(n, m, gamma):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
    value, expected = slow_soft_dtw(cdist(x, y, "sqeuclidean"), gamma)
    found = soft_dtw_alignment(x, y, gamma=gamma)
    assert found.value == pytest.approx(value, rel=1e-12, abs=1e-12)
    assert soft_dtw(x, y, gamma=gamma) == found.value
    # the slow one takes differences of long values
    np.testing.assert_allclose(found.expected, expected, rtol=1e-7, atol=1e-10)


@pytest.mark.skipif(not CASES.exists(), reason="../shared/data is not there")
def test_reference_cases_pass():
    cases = json.loads(CASES.read_text())["soft_dtw"]
    assert len(cases) >= 12
    for case in cases:
        x, y, gamma = np.array(case["x"]), np.array(case["y"]), case["gamma"]
        value, gradient = soft_dtw_gradient(x, y, gamma=gamma)
        assert value == pytest.approx(case["value"], rel=1e-9)
        np.testing.assert_allclose(gradient, case["grad_x"], rtol=1e-9, atol=1e-10)
        expected = soft_dtw_alignment(x, y, gamma=gamma).expected
        assert expected.sum() == pytest.approx(case["E_sum"], rel=1e-9)


@pytest.mark.parametrize("d", [1, 10])
def test_tslearn_agrees_to_ten_digits(d):
    pytest.importorskip("tslearn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for h5py
        from tslearn.metrics import SoftDTW, SquaredEuclidean
    rng = np.random.default_rng(1)
    x, y = walk(rng, 200, d) / 3, walk(rng, 150, d) / 3
    costs = SquaredEuclidean(x, y)
    peer = SoftDTW(costs, gamma=1.0)
    theirs = peer.compute()
    slope = costs.jacobian_product(peer.grad())
    value, gradient = soft_dtw_gradient(x, y)
    assert value == pytest.approx(theirs, rel=1e-12)
    np.testing.assert_allclose(gradient, slope, atol=1e-10 * np.abs(slope).max())


@pytest.mark.parametrize("divergence", [False, True])
@pytest.mark.parametrize("d", [1, 7])
def test_gradient_is_that_of_central_differences(d, divergence):
    rng = np.random.default_rng(2)
    x, y = (50 + rng.normal(size=(n, d)) for n in (6, 9))

    def f(z):
        return soft_dtw(z, y, gamma=0.7, divergence=divergence)

    value, gradient = soft_dtw_gradient(x, y, gamma=0.7, divergence=divergence)
    assert value == pytest.approx(f(x), rel=1e-13)
    np.testing.assert_allclose(gradient, differences(f, x), rtol=1e-6, atol=1e-7)


def test_alignment_is_the_gradient_with_respect_to_costs():
    costs = np.random.default_rng(3).uniform(1, 2, size=(5, 7))

    def f(c):
        return soft_dtw(c, gamma=0.3, metric="precomputed")

    expected = soft_dtw_alignment(costs, gamma=0.3, metric="precomputed").expected
    np.testing.assert_allclose(expected, differences(f, costs), atol=1e-8)


def test_small_gamma_gives_dtw():
    rng = np.random.default_rng(4)
    x, y = walk(rng, 150, 3), walk(rng, 140, 3)
    found = soft_dtw_alignment(x, y, gamma=1e-9)
    assert found.value == pytest.approx(dtw_distance(x, y), rel=1e-9)
    on_path = np.zeros(found.expected.shape)
    on_path[tuple(dtw_path(x, y).path.T)] = 1
    np.testing.assert_allclose(found.expected, on_path, atol=1e-9)


def test_the_value_stays_right_where_exponents_have_no_fraction_left():
    rng = np.random.default_rng(5)
    x, y = walk(rng, 30, 1), walk(rng, 30, 1)
    assert soft_dtw(x, y, gamma=1e-60) == pytest.approx(dtw_distance(x, y), rel=1e-12)


def test_large_gamma_counts_the_paths():
    n_paths = np.ones((8, 11))  # Delannoy numbers
    for i in range(1, 8):
        for j in range(1, 11):
            n_paths[i, j] = (
                n_paths[i - 1, j] + n_paths[i, j - 1] + n_paths[i - 1, j - 1]
            )
    value = soft_dtw(np.zeros((8, 11)), gamma=2.0, metric="precomputed")
    assert value == pytest.approx(-2 * log(n_paths[-1, -1]), rel=1e-13)


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 30),
    m=st.integers(1, 30),
    d=st.integers(1, 8),
    gamma=st.floats(1e-4, 1e4),
    scale=st.floats(0.1, 1e3),
    seed=st.integers(0, 1000),
)
def test_properties_hold(n, m, d, gamma, scale, seed):
    rng = np.random.default_rng(seed)
    x, y = scale * rng.normal(size=(n, d)), scale * rng.normal(size=(m, d))
    expected, value = soft_dtw_alignment(x, y, gamma=gamma)
    hard = dtw_distance(x, y)
    slack = 1e-9 * max(1, hard)
    # a soft minimum is below the minimum by gamma times the log of how many there are
    assert hard - gamma * (n + m) * log(3) - slack <= value <= hard + slack
    # every path visits each row and column, and both ends
    assert expected[0, 0] == pytest.approx(1)
    assert expected[-1, -1] == pytest.approx(1)
    assert (expected >= 0).all()
    assert (expected <= 1 + 1e-9).all()
    assert (expected.sum(axis=0) >= 1 - 1e-9).all()
    assert (expected.sum(axis=1) >= 1 - 1e-9).all()
    assert max(n, m) - 1e-6 <= expected.sum() <= n + m - 1 + 1e-6
    turned = soft_dtw_alignment(y, x, gamma=gamma)
    assert turned.value == pytest.approx(value, rel=1e-9, abs=slack)
    np.testing.assert_allclose(turned.expected, expected.T, atol=1e-7)
    back = soft_dtw_alignment(x[::-1], y[::-1], gamma=gamma)
    np.testing.assert_allclose(back.expected[::-1, ::-1], expected, atol=1e-7)
    # units: costs and gamma together
    np.testing.assert_allclose(
        soft_dtw(3 * x, 3 * y, gamma=9 * gamma), 9 * value, rtol=1e-9, atol=9 * slack
    )


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 20), m=st.integers(1, 20), seed=st.integers(0, 1000))
def test_divergence_is_zero_at_home_and_never_negative(n, m, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
    assert soft_dtw(x, x, divergence=True) == 0
    assert soft_dtw(x, x) <= 0
    assert soft_dtw(x, y, divergence=True) == pytest.approx(
        soft_dtw(x, y) - (soft_dtw(x, x) + soft_dtw(y, y)) / 2, abs=1e-12
    )
    at_home = soft_dtw_gradient(x, x, divergence=True)
    assert at_home.value == 0
    np.testing.assert_allclose(at_home.gradient, 0, atol=1e-12)


def test_paths_keep_out_of_infinite_costs():
    rng = np.random.default_rng(6)
    costs = rng.uniform(size=(12, 12))
    i, j = np.indices(costs.shape)
    costs[abs(i - j) > 2] = np.inf
    found = soft_dtw_alignment(costs, gamma=0.5, metric="precomputed")
    high = np.where(np.isinf(costs), 1e4, costs)
    value, expected = slow_soft_dtw(high, 0.5)
    assert found.value == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(found.expected, expected, atol=1e-9)
    assert (found.expected[np.isinf(costs)] == 0).all()


def test_infinite_costs_that_close_every_path_are_refused():
    costs = np.zeros((3, 4))
    costs[1] = np.inf
    for f in (soft_dtw, soft_dtw_alignment):
        with pytest.raises(ValueError, match="no path"):
            f(costs, metric="precomputed")


@pytest.mark.parametrize("metric", ["euclidean", "cityblock", "cosine"])
def test_metrics_give_what_their_cost_matrix_gives(metric):
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(20, 6)), rng.normal(size=(30, 6))
    costs = cdist(x, y, metric)
    expected = soft_dtw(costs, metric="precomputed")
    name = {"cityblock": "manhattan"}.get(metric, metric)
    assert soft_dtw(x, y, metric=name) == pytest.approx(expected, rel=1e-12)
    single = costs.astype(np.float32)
    assert soft_dtw(x, y, metric=lambda *_: single) == pytest.approx(
        soft_dtw(single, metric="precomputed"), rel=1e-12
    )


def test_float32_is_computed_in_float64_and_its_gradient_stays_float32():
    rng = np.random.default_rng(8)
    x, y = (rng.normal(size=(n, 9)).astype(np.float32) for n in (40, 50))
    value, gradient = soft_dtw_gradient(x, y)
    exact = soft_dtw_gradient(x.astype(float), y.astype(float))
    assert gradient.dtype == np.float32
    assert exact.gradient.dtype == np.float64
    assert value == pytest.approx(exact.value, rel=1e-13)
    np.testing.assert_allclose(gradient, exact.gradient, rtol=1e-6, atol=1e-5)


def test_inputs_are_left_as_they_were_and_may_be_read_only():
    rng = np.random.default_rng(9)
    x, costs = rng.normal(size=(5, 2)), rng.uniform(size=(4, 5))
    copies = x.copy(), costs.copy()
    x.flags.writeable = costs.flags.writeable = False
    soft_dtw_gradient(x, x[::2], divergence=True)
    soft_dtw_alignment(costs, metric="precomputed")
    np.testing.assert_array_equal(x, copies[0])
    np.testing.assert_array_equal(costs, copies[1])


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("size", [1e8, 1e20, 1e140, 1e150])
def test_costs_that_are_large_beside_gamma_give_dtw(size, d):
    rng = np.random.default_rng(5)
    x, y = size * walk(rng, 12, d), size * walk(rng, 9, d)
    hard = dtw_distance(x, y)
    found = soft_dtw_alignment(x, y)
    assert soft_dtw(x, y) == found.value == pytest.approx(hard, rel=1e-12)
    on_path = np.zeros(found.expected.shape)
    on_path[tuple(dtw_path(x, y).path.T)] = 1
    np.testing.assert_allclose(found.expected, on_path, atol=1e-9)
    assert soft_dtw(x, y, gamma=size**2) == pytest.approx(
        size**2 * soft_dtw(x / size, y / size), rel=1e-9
    )


def test_values_that_overflow_are_refused_as_such():
    x, y = [1e160, 0.0], [-1e160, 0.0]
    for f in (soft_dtw, soft_dtw_alignment, soft_dtw_gradient):
        with pytest.raises(ValueError, match=r"overflows.* rescale"):
            f(x, y)
        with pytest.raises(ValueError, match=r"overflows for gamma=1e\+308; rescale"):
            f(np.zeros(9), np.zeros(9), gamma=1e308)


def test_tables_that_do_not_fit_into_memory_are_refused(monkeypatch):
    x = np.zeros(100)
    monkeypatch.setattr(_memory, "UNCHECKED_BYTES", 0)
    monkeypatch.setattr(_memory, "available_bytes", lambda: 100_000)
    assert soft_dtw(x, x[:50]) < 0
    for f in (soft_dtw_alignment, soft_dtw_gradient):
        with pytest.raises(ValueError, match="100 and 100 frames needs 234 KiB of mem"):
            f(x, x)


@pytest.mark.parametrize("gamma", [np.float32(0.5), np.float64(0.5), Fraction(1, 2)])
def test_gamma_may_be_any_number(gamma):
    x, y = [0.0, 1.0, 3.0], [0.0, 2.0]
    assert soft_dtw(x, y, gamma=gamma) == soft_dtw(x, y, gamma=0.5)
    for f in (soft_dtw_alignment, soft_dtw_gradient):
        assert f(x, y, gamma=gamma).value == f(x, y, gamma=0.5).value
    for bad in (True, "1", None, [1.0]):
        for f in (soft_dtw, soft_dtw_alignment, soft_dtw_gradient):
            with pytest.raises(TypeError, match=r"gamma=.* give a number"):
                f(x, y, gamma=bad)
    with pytest.raises(TypeError, match="divergence=1 is a int"):
        soft_dtw(x, y, divergence=1)


@pytest.mark.parametrize("gamma", [0, -1.0, np.nan, np.inf])
def test_gamma_must_be_positive(gamma):
    for f in (soft_dtw, soft_dtw_alignment, soft_dtw_gradient):
        with pytest.raises(ValueError, match="gamma"):
            f([0.0, 1.0], [0.0, 1.0], gamma=gamma)


def test_bad_sequences_are_refused():
    good = np.zeros((4, 2))
    for f in (soft_dtw, soft_dtw_alignment, soft_dtw_gradient):
        with pytest.raises(ValueError, match="y has 0 frames"):
            f(good, np.zeros((0, 2)))
        with pytest.raises(ValueError, match="CTWAligner"):
            f(good, np.zeros((4, 3)))
        with pytest.raises(ValueError, match=r"frame 1 of x .* NaN"):
            f([[0, 0], [np.nan, 0]], good)


def test_divergence_of_costs_is_refused():
    with pytest.raises(ValueError, match="needs both sequences"):
        soft_dtw(np.zeros((2, 2)), metric="precomputed", divergence=True)
