"""Nearest neighbours are those that a look at all costs finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.alignment import cdist_dtw, dtw_neighbors
from mmfusion.alignment.dtw._neighbors import search_neighbors


def brute_force(costs, n_neighbors):
    """By cost, and of equal ones by place."""
    nearest = [
        sorted(range(len(row)), key=lambda j: (row[j], j))[:n_neighbors]
        for row in costs
    ]
    return np.take_along_axis(costs, np.array(nearest), axis=1), np.array(nearest)


def check(X, Y, n_neighbors, **options):
    costs = cdist_dtw(X, Y, **options)
    if Y is None:
        np.fill_diagonal(costs, np.inf)
    distances, indices = dtw_neighbors(X, Y, n_neighbors=n_neighbors, **options)
    expected = brute_force(costs, n_neighbors)
    np.testing.assert_allclose(distances, expected[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(indices, expected[1])


@st.composite
def searches(draw, metrics=("sqeuclidean", "manhattan", "euclidean")):
    """Sequences of whole numbers, whose costs often tie, and options."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # with few features costs are whole numbers, too; those of products are rounded
    d, highest = draw(st.sampled_from([1, 3, 4])), draw(st.integers(1, 6))
    longest = draw(st.sampled_from([1, 5, 40]))
    shortest = draw(st.sampled_from([1, longest]))
    X, Y = (
        [
            rng.integers(0, highest, size=(rng.integers(shortest, longest + 1), d))
            for _ in range(n)
        ]
        for n in (draw(st.integers(1, 4)), draw(st.integers(3, 25)))
    )
    options = {
        "metric": draw(st.sampled_from(metrics)),
        "step_pattern": draw(st.sampled_from(["symmetric1", "symmetric2"])),
        "penalty": draw(st.sampled_from([0.0, 0.5])),
    }
    if draw(st.booleans()):
        radius = draw(
            st.sampled_from([0, 1, 3]) if shortest == longest else st.just(40)
        )
        options |= {"window": "sakoe_chiba", "radius": radius}
    return X, Y, draw(st.integers(1, 3)), options


@settings(deadline=None)  # the first call compiles
@given(searches(metrics=("sqeuclidean", "manhattan")))
def test_neighbors_are_those_of_brute_force_and_ties_go_by_place(case):
    X, Y, n_neighbors, options = case
    check(X, Y, n_neighbors, **options)


@settings(deadline=None)
@given(searches())
def test_a_sequence_is_no_neighbor_of_itself(case):
    _, Y, _, options = case
    _, indices = dtw_neighbors(Y, n_neighbors=2, **options)
    assert (indices != np.arange(len(Y))[:, None]).all()
    assert (indices[:, 0] != indices[:, 1]).all()


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "correlation"])
@pytest.mark.parametrize("radius", [None, 4])
def test_metrics_without_envelopes_give_the_same_as_brute_force(metric, radius):
    rng = np.random.default_rng(0)
    X, Y = (rng.normal(size=(n, 30, 5)).cumsum(axis=1) for n in (4, 30))
    band = {} if radius is None else {"window": "sakoe_chiba", "radius": radius}
    check(X, Y, 3, metric=metric, **band)


@pytest.mark.parametrize(
    "options",
    [
        {"step_pattern": "asymmetric"},
        {"window": "itakura"},
        {"max_jump": 2},
        {"open_begin": True, "open_end": True},
        {"metric": lambda x, y: np.abs(x[:, :1] - y[:, 0])},
    ],
    ids=lambda options: next(iter(options)),
)
def test_constraints_without_a_bound_give_the_same_as_brute_force(options):
    rng = np.random.default_rng(0)
    X, Y = (rng.normal(size=(n, 20, 2)).cumsum(axis=1) for n in (3, 12))
    check(X, Y, 2, **options)
    check(Y, None, 2, **options)


@pytest.mark.parametrize("d", [1, 8])
def test_long_sequences_and_more_than_a_tile(d):
    rng = np.random.default_rng(0)
    X, Y = (
        [rng.normal(size=(n, d)).cumsum(axis=0) for n in lengths]
        for lengths in ([700, 531], [600, 701, 530, 512, 700, 513])
    )
    check(X, Y, 2)
    check(X, Y, 2, window="sakoe_chiba", radius=0.3)


def test_far_from_the_origin_nothing_is_lost():
    rng = np.random.default_rng(0)
    X, Y = (rng.normal(size=(n, 40, 6)).cumsum(axis=1) + 1e6 for n in (5, 40))
    check(X, Y, 3, window="sakoe_chiba", radius=4)


def test_most_pairs_are_settled_without_the_whole_recurrence():
    rng = np.random.default_rng(0)
    X, Y = (rng.normal(size=(n, 128, 1)).cumsum(axis=1) for n in (10, 300))
    counts = search_neighbors(X, Y, 1, None, window="sakoe_chiba", radius=0.05)[2]
    assert counts.sum() == 10 * 300
    ends, one, both, _, in_full = counts
    assert ends + one + both > 0.9 * counts.sum()
    assert 10 <= in_full < 0.05 * counts.sum()


@pytest.mark.parametrize("among_themselves", [False, True])
def test_all_costs_are_computed_where_bounds_exclude_hardly_any(among_themselves):
    rng = np.random.default_rng(0)
    Y = list(rng.normal(size=(70, 30, 10)))
    X = Y if among_themselves else list(rng.normal(size=(20, 30, 10)))
    others = None if among_themselves else Y
    check(X, others, 3)
    counts = search_neighbors(X, others, 3, None)[2]
    assert counts[-1] == counts.sum()
    walks = list(rng.normal(size=(70, 100, 1)).cumsum(axis=1))
    options = dict(window="sakoe_chiba", radius=0.1)
    check(walks, None, 3, **options)
    counts = search_neighbors(walks, None, 3, None, **options)[2]
    assert counts[-1] <= 0.2 * counts.sum()


def test_threads_change_nothing():
    X = np.random.default_rng(0).normal(size=(30, 25, 2)).cumsum(axis=1)
    options = {"n_neighbors": 3, "window": "sakoe_chiba"}
    for alone, together in zip(
        dtw_neighbors(X, **options), dtw_neighbors(X, n_jobs=3, **options), strict=True
    ):
        np.testing.assert_array_equal(alone, together)


def test_float32_and_frames_in_columns_are_taken():
    X = np.random.default_rng(0).normal(size=(12, 25, 6)).astype(np.float32)
    turned = [np.asfortranarray(x) for x in X]
    found = dtw_neighbors(turned, n_neighbors=2)
    expected = dtw_neighbors(X.astype(float), n_neighbors=2)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0], expected[0])


def test_no_query_has_no_neighbors():
    distances, indices = dtw_neighbors([], [[0.0, 1.0]], n_neighbors=1)
    assert distances.shape == indices.shape == (0, 1)


def test_bad_input_is_refused():
    X = [np.zeros((4, 2)), np.zeros((12, 2))]
    with pytest.raises(ValueError, match="n_neighbors=2, but there are 1 sequences"):
        dtw_neighbors(X, n_neighbors=2)
    with pytest.raises(ValueError, match="n_neighbors=0"):
        dtw_neighbors(X, X, n_neighbors=0)
    with pytest.raises(ValueError, match=r"sequences have \[1, 2\] features"):
        dtw_neighbors(X, [np.zeros((4, 1))])
    with pytest.raises(ValueError, match="smallest radius"):
        dtw_neighbors(X, X, window="sakoe_chiba", radius=0)
    with pytest.raises(ValueError, match=r"frame 0 of Y\[0\] has a value that is NaN"):
        dtw_neighbors(X, [np.full((4, 2), np.nan)])
    with pytest.raises(ValueError, match="precomputed"):
        dtw_neighbors(X, X, metric="precomputed")
