"""Paths of at most so many cells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion import _memory
from mmfusion.alignment import cdist_dtw, dtw_distance, dtw_neighbors, dtw_path
from mmfusion.alignment.dtw._windows import sakoe_chiba

from .slow_dtw import along, check_path, slow_costs, slow_short

PATTERNS = {"symmetric1": 1, "symmetric2": 2}


def pair(n, m, d=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).cumsum(axis=0), rng.normal(size=(m, d)).cumsum(0)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 11),
    st.sampled_from([0.0, 0.25]),
    st.integers(0, 10**6),
)
@settings(max_examples=80, deadline=None)
def test_the_best_of_all_short_paths_is_found(pattern, n, m, more, penalty, seed):
    rng = np.random.default_rng(seed)
    whole = rng.integers(0, 3, (n, m)).astype(float)  # with ties
    for costs in (rng.random((n, m)), whole):
        most, diagonal = max(n, m) + more, PATTERNS[pattern]
        options = dict(metric="precomputed", step_pattern=pattern, penalty=penalty)
        found = dtw_path(costs, max_length=most, **options)
        check_path(found.path, n, m)
        assert len(found.path) <= most
        expected = slow_short(costs, most, diagonal, penalty)
        assert found.cost == pytest.approx(expected, rel=1e-9)
        is_diagonal = np.diff(found.path, axis=0).sum(axis=1) == 2
        weights = np.where(is_diagonal, diagonal, 1)
        own = costs[0, 0] + weights @ costs[tuple(found.path[1:].T)]
        own += penalty * (~is_diagonal).sum()
        assert found.cost == pytest.approx(own, rel=1e-9)
        distance = dtw_distance(costs, max_length=most, **options)
        assert distance == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shape", [(60, 60, 1), (90, 70, 3), (50, 85, 6)], ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_sections_of_rows_find_the_path_in_features(shape, dtype):
    n, m, d = shape
    x, y = (z.astype(dtype) for z in pair(n, m, d))
    costs = slow_costs(x, y)
    for most in (max(n, m), max(n, m) + 3, max(n, m) + 20):
        found = dtw_path(x, y, max_length=most)
        assert len(found.path) <= most
        assert found.cost == pytest.approx(slow_short(costs, most), rel=1e-5)
        assert along(costs, found.path) == pytest.approx(found.cost, rel=1e-5)


def test_a_longer_path_never_costs_more():
    x, y = pair(40, 45)
    costs = [dtw_distance(x, y, max_length=most) for most in range(45, 90)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == dtw_distance(x, y)
    assert costs[0] > costs[-1]
    x = x[:40]
    pointwise = ((x - y[:40]) ** 2).sum()
    assert dtw_distance(x, y[:40], max_length=40) == pytest.approx(pointwise, rel=1e-12)


def test_a_ratio_is_a_multiple_of_the_longer_sequence():
    x, y = pair(40, 50)
    ratio = dtw_path(x, y, max_length=1.16)
    assert ratio.path.tolist() == dtw_path(x, y, max_length=58).path.tolist()
    assert dtw_distance(x, y, max_length=1e300) == dtw_distance(x, y)
    assert dtw_distance(x, y, max_length=10**30) == dtw_distance(x, y)


def test_a_window_holds_for_short_paths():
    x, y = pair(30, 34)
    window = sakoe_chiba(30, 34, 6)
    j = np.arange(34)
    inside = (window.starts[:, None] <= j) & (j < window.stops[:, None])
    costs = np.where(inside, slow_costs(x, y), np.inf)
    for most in (34, 36, 40):
        options = dict(window="sakoe_chiba", radius=6, max_length=most)
        found = dtw_path(x, y, **options)
        assert inside[tuple(found.path.T)].all()
        assert found.cost == pytest.approx(slow_short(costs, most), rel=1e-9)


def test_costs_of_many_pairs_are_those_of_single_pairs():
    X = [pair(n, 1, 2, seed=n)[0] for n in (20, 25, 22)]
    own = [[dtw_distance(x, y, max_length=1.1) for y in X] for x in X]
    np.testing.assert_allclose(cdist_dtw(X, max_length=1.1), own, rtol=1e-12)
    distances, indices = dtw_neighbors(X, X, n_neighbors=2, max_length=1.1)
    nearest = np.take_along_axis(np.array(own), indices, axis=1)
    np.testing.assert_allclose(distances, nearest, rtol=1e-12)


def test_cells_that_are_forbidden_may_leave_no_short_path():
    costs = np.ones((6, 6))
    costs[np.eye(6, dtype=bool)] = np.inf
    costs[0, 0] = costs[-1, -1] = 1
    assert dtw_distance(costs, metric="precomputed", max_length=7) == 7
    with pytest.raises(ValueError, match="no path"):
        dtw_path(costs, metric="precomputed", max_length=6)


def test_totals_that_do_not_fit_into_memory_are_refused(monkeypatch):
    x, y = pair(300, 300)
    monkeypatch.setattr(_memory, "UNCHECKED_BYTES", 0)
    monkeypatch.setattr(_memory, "available_bytes", lambda: 1_000_000)
    with pytest.raises(ValueError, match="lower max_length"):
        dtw_path(x, y, max_length=1.2)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(max_length=4), ValueError, "at least 5 cells"),
        (dict(max_length=0), ValueError, "max_length=0"),
        (dict(max_length=0.9), ValueError, "max_length=0.9"),
        (dict(max_length=np.nan), ValueError, "max_length=nan"),
        (dict(max_length="long"), TypeError, "max_length='long'"),
        (dict(max_length=True), TypeError, "max_length=True"),
        (dict(max_length=6, step_pattern="asymmetric"), ValueError, "goes with"),
        (dict(max_length=6, open_end=True), ValueError, "between closed ends"),
        (dict(max_length=6, max_jump=2), ValueError, "without max_jump"),
        (dict(max_length=6, window="multiscale"), ValueError, "'multiscale'"),
    ],
    ids=str,
)
def test_unfit_limits_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        dtw_path(np.arange(5.0), np.arange(3.0), **options)


@pytest.mark.slow  # tslearn's loops take seconds
def test_tslearn_finds_the_same():
    tslearn = pytest.importorskip("tslearn.metrics")
    for n, m in ((12, 12), (9, 15)):
        x, y = pair(n, m, 2)
        for most in range(max(n, m), n + m):
            theirs = tslearn.dtw_limited_warping_length(x, y, most) ** 2
            assert dtw_distance(x, y, max_length=most) == pytest.approx(theirs)
