"""The best matches of a query among the parts of a series."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from mmfusion.alignment import dtw_path, dtw_subsequences

from .slow_dtw import along, slow_matches

PATTERNS = ("symmetric1", "symmetric2", "asymmetric", "symmetricP1")


def bounds(matches):
    return [tuple(match.path[[0, -1], 1].tolist()) for match in matches]


@pytest.mark.parametrize("pattern", PATTERNS)
@given(st.integers(1, 4), st.integers(1, 12), st.integers(0, 3), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_matches_are_the_best_of_all_parts(pattern, n, m, max_overlap, seed):
    costs = np.random.default_rng(seed).random((n, m))

    def value(part):
        try:
            found = dtw_path(part, metric="precomputed", step_pattern=pattern)
        except ValueError:
            return np.inf
        return found.cost if pattern == "symmetric1" else found.normalized_cost

    options = dict(metric="precomputed", step_pattern=pattern)
    expected = slow_matches(costs, value, 4, max_overlap)
    if not expected:
        with pytest.raises(ValueError, match="no path"):
            dtw_subsequences(costs, k=4, **options)
        return
    found = dtw_subsequences(costs, k=4, max_overlap=max_overlap, **options)
    assert len(found) == len(expected)
    for match, (_, its_value) in zip(found, expected, strict=True):
        own = match.cost if pattern == "symmetric1" else match.normalized_cost
        assert own == pytest.approx(its_value, rel=1e-9)
    for i, (first, last) in enumerate(bounds(found)):
        for earlier, its_end in bounds(found[:i]):
            shared = min(max_overlap, its_end - earlier)
            assert last < earlier + shared or first > its_end - shared


def test_hidden_copies_are_found_at_any_pace():
    rng = np.random.default_rng(0)
    query = rng.normal(size=(40, 2)).cumsum(axis=0)
    series = 30 * rng.normal(size=(900, 2))
    places = [(100, 40), (400, 80), (700, 20)]
    for begin, n_frames in places:
        rows = np.linspace(0, 39, n_frames).round().astype(int)
        series[begin : begin + n_frames] = query[rows]
    found = dtw_subsequences(query, series, k=3)
    ends = [(begin, begin + n_frames - 1) for begin, n_frames in places]
    # a repeated frame at either end may be left out
    np.testing.assert_allclose(sorted(bounds(found)), ends, atol=1)
    assert [match.cost for match in found[:2]] == [0, 0]
    costs = cdist(query, series, "sqeuclidean")
    for match in found:
        assert match.path[[0, -1], 0].tolist() == [0, 39]
        assert along(costs, match.path) == pytest.approx(match.cost, abs=1e-9)


def test_the_first_match_is_that_of_dtw_path():
    rng = np.random.default_rng(1)
    query, series = rng.normal(size=(2, 500)).cumsum(axis=1)
    query = query[:60]
    for options in ({}, dict(step_pattern="symmetric2"), dict(max_jump=3)):
        one = dtw_path(query, series, open_begin=True, open_end=True, **options)
        first, *others = dtw_subsequences(query, series, k=5, **options)
        assert first.path.tolist() == one.path.tolist()
        key = "normalized_cost" if options.get("step_pattern") else "cost"
        values = [getattr(match, key) for match in (first, *others)]
        assert values == sorted(values)


def test_metrics_see_the_query_first_and_once():
    calls = []

    def metric(A, B):
        calls.append((len(A), len(B)))
        return np.abs(A - B.T)

    rng = np.random.default_rng(2)
    query, series = rng.normal(size=7), rng.normal(size=50)
    found = dtw_subsequences(query, series, k=3, metric=metric)
    named = dtw_subsequences(query, series, k=3, metric="manhattan")
    assert calls == [(7, 50)]
    assert bounds(found) == bounds(named)


def test_fewer_matches_than_asked_for():
    found = dtw_subsequences([1.0, 2.0], [1.0, 2.0, 1.0], k=9)
    assert bounds(found) == [(0, 1), (2, 2)]
    rigid = dtw_subsequences([1.0, 2.0], [1.0, 2.0, 1.0], k=9, step_pattern="rigid")
    assert bounds(rigid) == [(0, 1)]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(k=0), ValueError, "k=0"),
        (dict(k=1.5), TypeError, "k=1.5"),
        (dict(max_overlap=-1), ValueError, "max_overlap=-1"),
        (dict(open_begin=True), TypeError, "open_begin is no option"),
        (dict(window="itakura"), TypeError, "window is no option"),
        (dict(raduis=3), TypeError, "raduis"),
        (dict(step_pattern="rigid"), ValueError, "no path"),
    ],
    ids=str,
)
def test_unfit_options_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        dtw_subsequences(np.arange(6.0), np.arange(5.0), **options)


def test_series_of_other_features_are_refused():
    with pytest.raises(ValueError, match="2 features"):
        dtw_subsequences(np.ones((3, 2)), np.ones((9, 1)))


@pytest.mark.slow  # tslearn compiles
def test_tslearn_finds_the_same_best_match():
    rng = np.random.default_rng(3)
    query, series = rng.normal(size=12).cumsum(), rng.normal(size=90).cumsum()
    found = dtw_subsequences(query, series, k=3)
    tslearn = pytest.importorskip("tslearn.metrics")
    path, cost = tslearn.dtw_subsequence_path(query, series)
    assert found[0].cost == pytest.approx(cost**2, rel=1e-9)
    assert bounds(found)[0] == (path[0][1], path[-1][1])


def test_dtaidistance_finds_no_better_matches():
    package = pytest.importorskip("dtaidistance.subsequence.dtw")
    rng = np.random.default_rng(4)
    query, series = rng.normal(size=12).cumsum(), rng.normal(size=300).cumsum()
    found = dtw_subsequences(query, series, k=4)
    alignment = package.subsequence_alignment(query, series, penalty=0)
    # its values are roots of costs, divided by the frames of the query
    theirs = [(12 * match.value) ** 2 for match in alignment.kbest_matches(k=4)]
    assert found[0].cost == pytest.approx(theirs[0], rel=1e-9)
    ours = [match.cost for match in found]
    assert all(a <= b + 1e-9 for a, b in zip(ours[:2], theirs[:2], strict=True))
