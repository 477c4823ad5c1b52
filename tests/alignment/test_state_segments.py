"""Segments of states: their edges, and the alignments that they imply."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.alignment._durations import resolve_durations
from mmfusion.alignment._initial_states import (
    equal_states,
    homogeneous_segments,
    reference_sample,
    states_by_dtw,
)
from mmfusion.alignment._state_segments import (
    edges_of_states,
    expected_edges,
    mean_edges,
    path_between,
    states_of_edges,
)


def drawn_states(n_frames, n_states, rng):
    return np.sort(rng.integers(0, n_states, n_frames))


@settings(deadline=None, max_examples=50)
@given(
    n_frames=st.integers(1, 15), n_states=st.integers(1, 6), seed=st.integers(0, 999)
)
def test_edges_are_the_frames_at_which_states_are_entered(n_frames, n_states, seed):
    states = drawn_states(n_frames, n_states, np.random.default_rng(seed))
    edges = edges_of_states(states, n_states)
    for k in range(n_states + 1):
        assert edges[k] == (states < k).sum()
    np.testing.assert_array_equal(states_of_edges(edges), states)
    one_hot = np.eye(n_states)[states]
    np.testing.assert_array_equal(expected_edges(one_hot), edges)


def test_expected_edges_are_means_over_paths():
    paths, weights = [[0, 0, 1], [0, 1, 1], [0, 0, 0]], [0.5, 0.3, 0.2]
    posteriors = sum(w * np.eye(2)[p] for w, p in zip(weights, paths, strict=True))
    expected = sum(
        w * edges_of_states(np.array(p), 2) for w, p in zip(weights, paths, strict=True)
    )
    np.testing.assert_allclose(expected_edges(posteriors), expected)


@settings(deadline=None, max_examples=100)
@given(
    n_axis=st.integers(1, 12),
    n_own=st.integers(1, 12),
    n_states=st.integers(1, 6),
    seed=st.integers(0, 999),
)
def test_every_frame_is_aligned_and_none_goes_back(n_axis, n_own, n_states, seed):
    rng = np.random.default_rng(seed)
    inner = np.sort(rng.uniform(0, 1, (2, n_states - 1)), axis=1)
    inner[:, rng.random(n_states - 1) < 0.3] = 0.5  # some states without length
    inner.sort(axis=1)
    axis, own = (
        np.concatenate([[0], n * some, [n]])
        for n, some in zip((n_axis, n_own), inner, strict=True)
    )
    path = path_between(axis, own)
    assert set(path[:, 0]) == set(range(n_axis))
    assert set(path[:, 1]) == set(range(n_own))
    assert path[0].tolist() == [0, 0]
    steps = np.diff(path, axis=0)
    assert ((steps >= 0) & (steps <= 1)).all()
    assert steps.any(axis=1).all()
    np.testing.assert_array_equal(path_between(own, axis), path[:, ::-1])


def test_frames_are_aligned_linearly_within_a_state():
    assert path_between([0, 4], [0, 4]).tolist() == [[t, t] for t in range(4)]
    path = path_between([0, 2, 4], [0, 4, 5])
    assert path.tolist() == [[0, 0], [0, 1], [1, 2], [1, 3], [2, 4], [3, 4]]


def test_the_mean_pace_is_that_of_relative_times():
    found = mean_edges([np.array([0.0, 1, 4]), np.array([0.0, 3, 6])], 8.4)
    np.testing.assert_allclose(found, [0, 8 * (1 / 4 + 3 / 6) / 2, 8])


# Durations


def attainable(n_states, max_skip, shortest, longest, largest):
    """Numbers of frames of all paths, by enumeration of states and durations."""
    ends = {0: set(range(shortest, longest + 1))}
    for k in range(1, n_states):
        before = set().union(*(ends[j] for j in range(max(k - 1 - max_skip, 0), k)))
        ends[k] = {n + d for n in before for d in range(shortest, longest + 1)}
        ends[k] = {n for n in ends[k] if n <= largest}
    return ends[n_states - 1]


@pytest.mark.parametrize("n_states", [1, 2, 5])
@pytest.mark.parametrize("max_skip", [0, 1, 2])
@pytest.mark.parametrize(("shortest", "longest"), [(1, 1), (1, 3), (2, 4)])
def test_limits_of_frames_are_those_of_all_paths(n_states, max_skip, shortest, longest):
    found = resolve_durations(n_states, max_skip, shortest, longest, 1.0)
    frames = attainable(n_states, max_skip, shortest, longest, 99)
    assert found.frame_limits() == (min(frames), max(frames))


def test_durations_are_frames_or_multiples_of_the_mean():
    found = resolve_durations(3, 0, 0.5, 2.0, 5.0)
    assert found.shortest.tolist() == [2] * 3
    assert found.longest.tolist() == [10] * 3
    assert resolve_durations(3, 0, [1, 2, 3], None, 5.0).shortest.tolist() == [1, 2, 3]
    assert resolve_durations(2, 0, 1, None, 5.0).frame_limits() == (2, None)
    for limit, error in (
        (0, ValueError),
        (-0.5, ValueError),
        (np.inf, ValueError),
        ([1, 2], ValueError),
        ([1.5, 2.0, 1.0], ValueError),
        ("two", TypeError),
    ):
        with pytest.raises(error, match="min_duration"):
            resolve_durations(3, 0, limit, None, 5.0)
    with pytest.raises(ValueError, match=r"state 1 up to 2 frames.*at least 3"):
        resolve_durations(2, 0, [2, 3], 2, 5.0)


# Initial states


def test_segments_join_neighbours_that_are_alike():
    rng = np.random.default_rng(0)
    planted = np.repeat([0, 1, 2, 3], [7, 2, 9, 5])
    audio = rng.normal(size=(4, 3))[planted] + 0.01 * rng.normal(size=(23, 3))
    np.testing.assert_array_equal(homogeneous_segments({"audio": audio}, 4), planted)
    for unit in (1e-200, 1e200):
        np.testing.assert_array_equal(
            homogeneous_segments({"audio": unit * audio}, 4), planted
        )
    assert homogeneous_segments({"audio": audio}, 1).tolist() == [0] * 23
    assert homogeneous_segments({"audio": audio}, 23).tolist() == list(range(23))
    assert len(np.unique(homogeneous_segments({"audio": np.ones((9, 1))}, 4))) == 4


def test_the_reference_has_most_modalities_and_median_length():
    samples = [{"a": np.ones((n, 1)), "b": np.ones((2, 1))} for n in (9, 4, 7, 8)]
    assert reference_sample(samples) == 3
    assert reference_sample([{"a": np.ones((5, 1))}, *samples]) == 4
    alike = [{"a": np.full((3, 1), value)} for value in (2.0, 3.0, 1.0)]
    assert alike[reference_sample(alike)]["a"][0, 0] == 2
    assert alike[::-1][reference_sample(alike[::-1])]["a"][0, 0] == 2


def test_states_follow_a_known_warp():
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(6, 2)).cumsum(axis=0)
    warps = [np.repeat(np.arange(6), rng.integers(2, 5, 6)) for _ in range(5)]
    samples = [{"audio": steps[warp]} for warp in warps]
    found = states_by_dtw(samples, ["audio"], 6)
    for states, warp in zip(found, warps, strict=True):
        np.testing.assert_array_equal(states["audio"], warp)


def test_modalities_that_the_reference_lacks_have_equal_segments():
    samples = [{"a": np.arange(6.0)[:, None]}, {"b": np.ones((4, 1))}]
    found = states_by_dtw(samples, ["a", "b"], 2)
    assert found[1]["b"].tolist() == [0, 0, 1, 1]
    assert equal_states(5, 2).tolist() == [0, 0, 1, 1, 1]
