import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.alignment.dtw._barycenter import dtw_barycenter
from mmfusion.alignment.dtw._path import dtw_distance, dtw_path
from mmfusion.alignment.dtw._soft import soft_dtw


def walks(seed, n_sequences=6, d=2, low=15, high=30):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(low, high, size=n_sequences)
    return [rng.normal(size=(n, d)).cumsum(axis=0) for n in lengths]


def slow_step(barycenter, sequences, weights):
    """One iteration of averaging, frame by frame."""
    moved = []
    pairs = [dtw_path(barycenter, x).path for x in sequences]
    for i in range(len(barycenter)):
        frames, masses = [], []
        for x, w, path in zip(sequences, weights, pairs, strict=True):
            for a, b in path:
                if a == i:
                    frames.append(x[b])
                    masses.append(w)
        moved.append(np.average(frames, axis=0, weights=masses))
    return np.array(moved)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), n_frames=st.integers(1, 40), weighted=st.booleans())
def test_no_iteration_raises_the_objective(seed, n_frames, weighted):
    sequences = walks(seed, n_sequences=4)
    weights = np.arange(1.0, 5) if weighted else np.ones(4)
    found = dtw_barycenter(
        sequences, n_frames=n_frames, weights=weights, tol=0, max_iter=50
    )
    assert (np.diff(found.costs) < 0).all()
    assert found.sequence.shape == (n_frames, 2)
    own = [dtw_distance(found.sequence, x) for x in sequences]
    assert found.costs[-1] == pytest.approx(np.average(own, weights=weights), rel=1e-9)


@pytest.mark.parametrize(
    ("d", "unit", "n_frames"),
    [(1, 1.0, 20), (2, 1.0, 1), (2, 1.0, 140), (7, 1.0, 20), (2, 1e-140, 20)],
)
def test_an_iteration_moves_each_frame_to_the_mean_of_what_is_aligned_with_it(
    d, unit, n_frames
):
    # as differences of one feature, of several, as products of many, and where
    # squares underflow
    sequences = [unit * x for x in walks(1, d=d)]
    weights = np.array([1.0, 2, 3, 1, 2, 3])
    start = np.resize(sequences[0], (n_frames, d))
    found = dtw_barycenter(sequences, init=start, weights=weights, max_iter=1, tol=0)
    moved = slow_step(start, sequences, weights)
    np.testing.assert_allclose(found.sequence, moved, atol=1e-12 * unit)


def test_a_barycenter_does_not_move_once_it_is_found():
    sequences = walks(2)
    found = dtw_barycenter(sequences, tol=0, max_iter=100)
    moved = slow_step(found.sequence, sequences, np.ones(6))
    np.testing.assert_allclose(moved, found.sequence, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.01, 1.0, 20.0])
def test_the_soft_barycenter_lowers_soft_dtw_to_where_it_is_flat(gamma):
    sequences = walks(3)
    found = dtw_barycenter(sequences, gamma=gamma, tol=1e-12, max_iter=2000)

    def objective(b):
        return np.mean([soft_dtw(b, x, gamma=gamma) for x in sequences])

    least = objective(found.sequence)
    assert found.costs[-1] == pytest.approx(least, rel=1e-12)
    assert least < found.costs[0]
    rng = np.random.default_rng(0)
    for _ in range(20):
        near = found.sequence + 0.05 * rng.normal(size=found.sequence.shape)
        assert objective(near) > least


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_the_order_of_sequences_does_not_matter(gamma):
    sequences = walks(4)
    order = [3, 1, 5, 0, 2, 4]
    weights = np.array([1.0, 2, 3, 1, 2, 3])
    found = dtw_barycenter(sequences, weights=weights, gamma=gamma)
    other = dtw_barycenter(
        [sequences[k] for k in order], weights=weights[order], gamma=gamma
    )
    np.testing.assert_allclose(other.sequence, found.sequence, atol=1e-6)
    assert other.costs[-1] == pytest.approx(found.costs[-1], rel=1e-9)


def test_the_barycenter_of_identical_sequences_is_that_sequence():
    x = walks(5)[0]
    found = dtw_barycenter([x, x, x])
    np.testing.assert_array_equal(found.sequence, x)
    assert found.costs[-1] == 0


def test_weights_count_sequences():
    x, y, z = walks(6, n_sequences=3)
    start = x[:12]
    repeated = dtw_barycenter([x, x, y], init=start)
    weighted = dtw_barycenter([x, y, z], weights=[4, 2, 0], init=start)
    np.testing.assert_allclose(weighted.sequence, repeated.sequence, atol=1e-9)


def test_sequences_that_only_differ_in_pace_have_a_barycenter_at_no_cost():
    x = walks(7)[0]
    rng = np.random.default_rng(0)
    slowed = [np.repeat(x, rng.integers(1, 4, size=len(x)), axis=0) for _ in range(5)]
    found = dtw_barycenter(slowed, n_frames=len(x), init=x)
    assert found.costs[-1] == 0
    np.testing.assert_array_equal(found.sequence, x)


def test_a_single_frame_is_the_mean_of_all_frames():
    sequences = walks(8)
    found = dtw_barycenter(sequences, n_frames=1)
    frames = np.concatenate(sequences)
    np.testing.assert_allclose(found.sequence, frames.mean(axis=0)[None], atol=1e-12)
    alone = dtw_barycenter([[[1.0, 2.0]], [[3.0, 6.0]]])
    np.testing.assert_allclose(alone.sequence, [[2.0, 4.0]])


def test_more_sequences_than_candidates_need_the_seed_alone():
    sequences = walks(9, n_sequences=60, d=1, low=4, high=8)
    first, second = (dtw_barycenter(sequences, random_state=0) for _ in range(2))
    np.testing.assert_array_equal(first.sequence, second.sequence)
    assert first.costs[-1] < first.costs[0]


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_float32_stays_float32(gamma):
    sequences = [x.astype(np.float32) for x in walks(10)]
    exact = dtw_barycenter([x.astype(float) for x in sequences], gamma=gamma)
    found = dtw_barycenter(sequences, gamma=gamma)
    assert found.sequence.dtype == np.float32
    np.testing.assert_allclose(found.sequence, exact.sequence, atol=1e-4)


@pytest.mark.parametrize(
    ("sequences", "options", "message"),
    [
        ([], {}, "no sequence"),
        ([np.zeros((3, 2)), np.zeros((0, 2))], {}, r"sequences\[1\] has 0 frames"),
        ([np.zeros((3, 2)), np.zeros((3, 1))], {}, "CTWAligner"),
        ([[0.0, np.nan]], {}, r"frame 1 of sequences\[0\]"),
        ([[0.0, 1.0]], {"weights": [0.0]}, "weights"),
        ([[0.0, 1.0]], {"weights": [1.0, 1.0]}, "one per sequence"),
        ([[0.0], [1.0]], {"weights": [2.0, -1.0]}, "at least 0"),
        ([[0.0, 1.0]], {"gamma": -1.0}, "gamma"),
        ([[0.0, 1.0]], {"gamma": np.nan}, "gamma=nan"),
        ([[0.0, 1.0]], {"tol": -1}, "tol=-1"),
        ([[0.0, 1.0]], {"max_iter": -1}, "max_iter=-1"),
        ([[0.0, 1.0]], {"weights": [np.inf]}, "finite"),
        ([[0.0, 1.0]], {"weights": [10**400]}, "weights"),
        ([[0.0, 1.0]], {"weights": ["a"]}, "weights holds text"),
        ([[1e160], [-1e160]], {}, r"overflows.* rescale"),
        ([[0.0, 1.0]], {"n_frames": 0}, "n_frames"),
        ([[0.0, 1.0]], {"n_frames": 3, "init": [0.0, 1.0]}, "init"),
        ([[0.0, 1.0]], {"init": [[0.0, 1.0]]}, "init"),
    ],
)
def test_bad_input_is_refused(sequences, options, message):
    with pytest.raises(ValueError, match=message):
        dtw_barycenter(sequences, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": True}, "gamma=True"),
        ({"gamma": "1"}, "gamma='1'"),
        ({"n_frames": 2.5}, r"n_frames=2\.5 is a float; give an int"),
        ({"max_iter": 2.5}, r"max_iter=2\.5"),
    ],
)
def test_options_of_other_types_are_refused(options, message):
    with pytest.raises(TypeError, match=message):
        dtw_barycenter([[0.0, 1.0], [0.0, 2.0]], **options)


def test_huge_weights_weigh_as_their_ratios_do():
    sequences = walks(3, n_sequences=3)
    huge = dtw_barycenter(sequences, weights=[1e308, 1e308, 1e308])
    np.testing.assert_array_equal(huge.sequence, dtw_barycenter(sequences).sequence)


@pytest.mark.parametrize("size", [2.0**-400, 2.0**400])  # which round nothing
@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_the_unit_of_sequences_changes_nothing_but_the_unit(size, gamma):
    sequences = walks(4, n_sequences=3)
    expected = dtw_barycenter(sequences, gamma=gamma)
    scaled = [size * x for x in sequences]
    found = dtw_barycenter(scaled, gamma=gamma * size**2)
    np.testing.assert_allclose(found.sequence, size * expected.sequence, rtol=1e-6)
