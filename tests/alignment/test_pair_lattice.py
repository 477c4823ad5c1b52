"""Lattice of the pair hidden Markov model against enumeration of all paths."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from mmfusion.alignment import dtw_path, soft_dtw_alignment
from mmfusion.alignment._pair_kernels import M, X, Y
from mmfusion.alignment._pair_lattice import (
    WARPING,
    PairHMM,
    PairScores,
    pair_posteriors,
    sum_pair_paths,
)
from mmfusion.alignment._pair_viterbi import pair_path
from mmfusion.alignment.dtw._windows import Window, make_window, whole_window


def scores_of(match, gap_x=None, gap_y=None, window=None):
    n, m = match.shape
    return PairScores(
        match,
        np.zeros(n) if gap_x is None else gap_x,
        np.zeros(m) if gap_y is None else gap_y,
        whole_window(n, m) if window is None else window,
    )


def all_paths(hmm, scores):
    """Yield every path: its steps (state, i, j, kind of a match), and its weight."""
    n, m = scores.match.shape

    def steps_from(i, j, state):
        for s, kind, di, dj in (
            (M, 0, 1, 1),
            (M, 1, 1, 0),
            (M, 2, 0, 1),
            (X, 3, 1, 0),
            (Y, 3, 0, 1),
        ):
            a, b = i + di - 1, j + dj - 1
            if a >= n or b >= m or (s == M and min(a, b) < 0):
                continue
            starts, stops = scores.window.starts, scores.window.stops
            if not starts[max(a, 0)] <= max(b, 0) < stops[max(a, 0)]:
                continue
            weight = hmm.start[s] if state is None else hmm.transitions[state, s]
            if s == M:
                weight *= hmm.steps[kind] * np.exp(scores.match[a, b])
            else:
                weight *= np.exp(scores.gap_x[a] if s == X else scores.gap_y[b])
            yield s, a, b, kind, weight

    def paths_from(i, j, state):
        if (i, j) == (n, m):
            yield [], 1.0
            return
        for s, a, b, kind, weight in steps_from(i, j, state):
            for rest, other in paths_from(a + 1, b + 1, s):
                yield [(s, a, b, kind), *rest], weight * other

    yield from paths_from(0, 0, None)


def expected_of_paths(hmm, scores):
    """Sum over all paths, one by one."""
    match, counts = np.zeros(scores.match.shape), np.zeros((3, 3))
    starts, steps = np.zeros(3), np.zeros(3)
    total = best = 0.0
    for path, weight in all_paths(hmm, scores):
        total, best = total + weight, max(best, weight)
        starts[path[0][0]] += weight
        for s, a, b, kind in path:
            if s == M:
                match[a, b] += weight
                steps[kind] += weight
        for (r, *_), (s, *_) in pairwise(path):
            counts[r, s] += weight
    return total, best, *(x / total for x in (match, counts, starts, steps))


def random_case(seed, n, m, *, zeros):
    rng = np.random.default_rng(seed)
    transitions, start = rng.random((3, 3)) + 0.05, rng.random(3) + 0.05
    if zeros:  # an X never follows a Y, and no path begins with X
        transitions[Y, X] = start[X] = 0
    hmm = PairHMM(start, transitions, rng.random(3))
    return hmm, scores_of(
        rng.standard_normal((n, m)), rng.standard_normal(n), rng.standard_normal(m)
    )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_sums_over_paths_are_those_of_an_enumeration(seed, n, m, zeros):
    hmm, scores = random_case(seed, n, m, zeros=zeros)
    found = pair_posteriors(hmm, scores)
    total, best, match, counts, starts, steps = expected_of_paths(hmm, scores)
    np.testing.assert_allclose(found.log_likelihood, np.log(total), rtol=1e-12)
    np.testing.assert_allclose(sum_pair_paths(hmm, scores), found.log_likelihood)
    np.testing.assert_allclose(found.match, match, atol=1e-13)
    np.testing.assert_allclose(found.transition_counts, counts, atol=1e-13)
    np.testing.assert_allclose(found.start_counts, starts, atol=1e-13)
    np.testing.assert_allclose(found.step_counts, steps, atol=1e-13)
    path = pair_path(hmm, scores)
    np.testing.assert_allclose(path.score, np.log(best), rtol=1e-12)
    assert (path.frames[-1] == [n - 1, m - 1]).all()


def test_textbook_model_has_the_values_of_an_independent_enumeration():
    match = np.array(
        [
            [-2.9903, -2.8175, -2.5291, -2.3313],
            [-1.1851, -1.9237, -0.5533, -2.2785],
            [-2.2731, -2.1639, -1.3344, -1.1345],
        ]
    )
    gaps = [-1.4198, -1.0333, -1.8443], [-1.5424, -1.3875, -1.548, -1.7216]
    start = np.array([0.624, 0.151, 0.225])
    transitions = [[0.378, 0.289, 0.333], [0.171, 0.397, 0.432], [0.331, 0.493, 0.176]]
    hmm = PairHMM(start, np.array(transitions), np.array([1.0, 0, 0]))
    scores = scores_of(match, *map(np.array, gaps))
    found = pair_posteriors(hmm, scores)
    assert found.log_likelihood == pytest.approx(-8.723520310339993, abs=1e-12)
    assert found.match[1, 2] == pytest.approx(0.6969310973352983, abs=1e-12)
    path = pair_path(hmm, scores)
    assert path.score == pytest.approx(-9.715315686582027, abs=1e-12)
    assert path.states.tolist() == [M, Y, M, M]
    assert path.matches.tolist() == [[0, 0], [1, 2], [2, 3]]
    assert path.frames.tolist() == [[0, 0], [0, 1], [1, 2], [2, 3]]


def test_soft_dtw_and_dtw_are_limits():
    rng = np.random.default_rng(0)
    costs = cdist(rng.standard_normal((40, 2)), rng.standard_normal((31, 2)))
    gamma = 0.2
    scores = scores_of(-costs / gamma)
    found = pair_posteriors(WARPING, scores)
    soft = soft_dtw_alignment(costs, gamma=gamma, metric="precomputed")
    assert -gamma * found.log_likelihood == pytest.approx(soft.value, rel=1e-12)
    np.testing.assert_allclose(found.match, soft.expected, atol=1e-12)
    path, best = pair_path(WARPING, scores), dtw_path(costs, metric="precomputed")
    assert -gamma * path.score == pytest.approx(best.cost, rel=1e-12)
    assert (path.states == M).all()
    assert (np.diff(path.frames, axis=0).max(axis=1) == 1).all()


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_a_band_has_the_paths_within_it_alone(radius):
    rng = np.random.default_rng(radius)
    match = -rng.exponential(size=(25, 25))
    window = make_window(25, 25, "sakoe_chiba", radius, 2.0)
    found = pair_posteriors(WARPING, scores_of(match, window=window))
    soft = soft_dtw_alignment(
        -match, gamma=1, metric="precomputed", window="sakoe_chiba", radius=radius
    )
    assert -found.log_likelihood == pytest.approx(soft.value, rel=1e-12)
    np.testing.assert_allclose(found.match, soft.expected, atol=1e-12)
    path = pair_path(WARPING, scores_of(match, window=window))
    assert np.abs(np.subtract(*path.frames.T)).max() <= radius


def test_a_band_with_gaps_is_that_of_an_enumeration():
    hmm, scores = random_case(3, 3, 4, zeros=False)
    starts, stops = np.array([0, 0, 2]), np.array([2, 3, 4])
    scores = scores._replace(window=Window(starts, stops, False))
    total, best, match, *_ = expected_of_paths(hmm, scores)
    found = pair_posteriors(hmm, scores)
    np.testing.assert_allclose(found.log_likelihood, np.log(total))
    np.testing.assert_allclose(found.match, match, atol=1e-13)
    np.testing.assert_allclose(pair_path(hmm, scores).score, np.log(best))


def test_paths_that_seem_impossible_on_the_way_are_not_lost():
    # all other paths have 1e+400 times its weight until they end in a forbidden pair
    match = np.array([[-1000.0, 0.0], [-np.inf, -5.0]])
    hmm = PairHMM(np.array([1.0, 0, 0]), np.eye(3), np.array([1.0, 0, 0]))
    found = pair_posteriors(hmm, scores_of(match))
    assert found.log_likelihood == pytest.approx(-1005)
    np.testing.assert_allclose(found.match, np.eye(2), atol=1e-15)


def test_without_a_path_all_is_zero():
    hmm = PairHMM(np.array([1.0, 0, 0]), np.eye(3), np.array([1.0, 0, 0]))
    found = pair_posteriors(hmm, scores_of(np.zeros((2, 3))))  # lengths differ
    assert found.log_likelihood == -np.inf
    assert not found.match.any()
    assert len(pair_path(hmm, scores_of(np.zeros((2, 3)))).states) == 0


def test_long_lattices_have_consistent_counts():
    rng = np.random.default_rng(1)
    n, m = 300, 411  # several checkpoints
    hmm = PairHMM(np.full(3, 1 / 3), np.full((3, 3), 1 / 3), np.array([0.6, 0.3, 0.1]))
    scores = scores_of(-30 * rng.exponential(size=(n, m)), -np.ones(n), -np.ones(m))
    found = pair_posteriors(hmm, scores)
    assert found.log_likelihood == pytest.approx(sum_pair_paths(hmm, scores))
    assert found.start_counts.sum() == pytest.approx(1)
    # every frame is consumed once
    by_next = found.transition_counts.sum(axis=0) + found.start_counts
    both, first, second = found.step_counts
    assert by_next[M] == pytest.approx(both + first + second)
    assert both + first + by_next[X] == pytest.approx(n)
    assert both + second + by_next[Y] == pytest.approx(m)
    assert found.match.sum() == pytest.approx(by_next[M])
