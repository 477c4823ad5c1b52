"""Open ends of both sequences: values, objective, windows, refusals."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mmfusion.alignment import cdist_dtw, dtw_distance, dtw_neighbors, dtw_path
from mmfusion.alignment.dtw._step_patterns import STEP_PATTERNS
from mmfusion.alignment.dtw._windows import FramesLeftOut, itakura, sakoe_chiba

from .slow_dtw import along, slow_costs, slow_open_ends

limits = st.tuples(st.integers(0, 4), st.integers(0, 4))
tables = st.tuples(st.integers(1, 5), st.integers(1, 6)).flatmap(
    lambda shape: arrays(float, shape, elements=st.floats(0, 9, width=32))
)
PATTERNS = {"symmetric1": (1, "path"), "symmetric2": (2, "both")}


def ends_of(path, n, m):
    (i0, j0), (i1, j1) = path[0].tolist(), path[-1].tolist()
    return (i0, j0), (n - 1 - i1, m - 1 - j1)


def check_ends(path, shape, begins, ends):
    """Frames of one sequence are left out at each end, and no more than allowed."""
    for left_out, most in zip(ends_of(path, *shape), (begins, ends), strict=True):
        assert not all(left_out)
        assert left_out[0] <= most[0]
        assert left_out[1] <= most[1]


@pytest.mark.parametrize("pattern", PATTERNS)
@given(costs=tables, begins=limits, ends=limits, penalty=st.sampled_from([0.0, 0.5]))
@settings(max_examples=60, deadline=None)
def test_the_best_of_all_parts_is_found(pattern, costs, begins, ends, penalty):
    diagonal, divisor = PATTERNS[pattern]
    options = dict(metric="precomputed", step_pattern=pattern, penalty=penalty)
    options |= dict(open_begin=begins, open_end=ends)
    last = costs.shape[0] - 1, costs.shape[1] - 1
    crossed = (begins[0], ends[1]), (ends[0], begins[1])
    if min(last) > 0 and any(a >= last[0] and b >= last[1] for a, b in crossed):
        with pytest.raises(ValueError, match="a single pair of frames"):
            dtw_path(costs, **options)
        return
    found = dtw_path(costs, **options)
    check_ends(found.path, costs.shape, begins, ends)
    cost, size = slow_open_ends(costs, divisor, begins, ends, diagonal, penalty)
    objective = found.cost if divisor == "path" else found.normalized_cost
    assert objective == pytest.approx(cost / size, rel=1e-9, abs=1e-12)
    assert dtw_distance(costs, **options) == pytest.approx(found.cost, rel=1e-9)


@pytest.mark.parametrize("shape", [(70, 90, 1), (131, 70, 3), (66, 67, 7)], ids=str)
@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cosine", "manhattan"])
def test_blocks_of_rows_find_the_ends_in_features(shape, metric):
    n, m, d = shape
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, d)).cumsum(axis=0), rng.normal(size=(m, d)).cumsum(0)
    if metric == "cosine" and d == 1:
        pytest.skip("one feature has no direction")
    costs = slow_costs(x, y, metric)
    options = dict(metric=metric, open_begin=(5, 3), open_end=(2, 4))
    found = dtw_path(x, y, **options)
    # each open end alone is a row or a column less
    trimmed = [
        dtw_distance(costs[a : n - c, b : m - e], metric="precomputed")
        for a, b in [*((i, 0) for i in range(6)), *((0, j) for j in range(4))]
        for c, e in [*((i, 0) for i in range(3)), *((0, j) for j in range(5))]
    ]
    assert found.cost == pytest.approx(min(trimmed), rel=1e-9)
    assert along(costs, found.path) == pytest.approx(found.cost, rel=1e-9)
    halves = dtw_distance(x.astype("f4"), y.astype("f4"), **options)
    assert halves == pytest.approx(found.cost, rel=1e-4)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_window_holds_for_open_ends(pattern):
    rng = np.random.default_rng(1)
    diagonal, divisor = PATTERNS[pattern]
    for n, m in ((12, 12), (11, 13), (14, 9)):
        costs, (begins, ends) = rng.random((n, m)), ((2, 1), (1, 3))
        window = sakoe_chiba(n, m, 4)
        inside = np.arange(m) >= window.starts[:, None]
        inside &= np.arange(m) < window.stops[:, None]
        masked = np.where(inside, costs, np.inf)
        cost, _ = slow_open_ends(masked, divisor, begins, ends, diagonal)
        options = dict(metric="precomputed", open_begin=begins, open_end=ends)
        options |= dict(step_pattern=pattern, window="sakoe_chiba", radius=4)
        found = dtw_path(costs, **options)
        assert inside[tuple(found.path.T)].all()
        assert found.cost == pytest.approx(cost, rel=1e-9)


def test_a_band_holds_for_a_long_pair_with_one_open_sequence():
    x, y = np.random.default_rng(2).normal(size=(2, 300)).cumsum(axis=1)
    window = dict(window="sakoe_chiba", radius=20)
    found = dtw_path(x, y, open_begin=15, open_end=10, **window)
    i, j = found.path.T
    assert (np.abs(i - j) <= 20).all()
    costs = np.square(np.subtract.outer(x, y))
    costs[np.abs(np.subtract.outer(np.arange(300), np.arange(300))) > 20] = np.inf
    parts = [
        dtw_distance(costs[:, a : 300 - b], metric="precomputed")
        for a in range(16)
        for b in range(11)
    ]
    assert found.cost == pytest.approx(min(parts), rel=1e-9)


def reaches_the_end(allowed, moves, begins, ends):
    """Whether moves through allowed cells join any begin with any end."""
    n, m = allowed.shape
    i, j = np.indices((n, m))
    reached = allowed & ((i == 0) & (j <= begins[1]) | (j == 0) & (i <= begins[0]))
    for a, b in np.argwhere(~reached):
        for move in moves:
            cells = np.array([a, b]) - np.cumsum([s[:2] for s in move[::-1]], axis=0)
            inside = (cells >= 0).all() and allowed[a, b]
            if inside and allowed[tuple(cells[:-1].T)].all():
                reached[a, b] |= reached[tuple(cells[-1])]
    last = (i == n - 1) & (j >= m - 1 - ends[1]) | (j == m - 1) & (i >= n - 1 - ends[0])
    return (reached & last).any()


@pytest.mark.parametrize("name", ["symmetric1", "symmetric2", "asymmetric", "typeIIIc"])
def test_a_band_is_refused_exactly_if_it_holds_no_path_between_open_ends(name):
    pattern = STEP_PATTERNS[name]
    left_out = [(0, 0), (0, 1), (0, 2)]
    if name in PATTERNS:  # others require closed ends of the first sequence
        left_out += [(1, 0), (2, 1)]
    shapes = [(2, 5), (3, 7), (4, 4), (5, 6), (5, 9), (6, 4), (9, 5)]
    outcomes = set()
    for (n, m), radius in product(shapes, [0, 1, 2, 0.1, 0.28]):
        width = (radius * max(n, m) if isinstance(radius, float) else radius) + 1e-9
        i, j = np.indices((n, m))
        slope = (m - 1) / (n - 1)
        allowed = np.abs(j - i * slope) <= width * min(slope, 1)
        for begins, ends in product(left_out, left_out):
            if (n - 1, m - 1) in ((begins[0], ends[1]), (ends[0], begins[1])):
                continue
            options = dict(metric="precomputed", step_pattern=name, radius=radius)
            options |= dict(open_begin=begins, open_end=ends, window="sakoe_chiba")
            has_path = reaches_the_end(allowed, pattern.moves, begins, ends)
            outcomes.add(has_path)
            if has_path:
                path = dtw_path(np.ones((n, m)), **options).path
                assert allowed[tuple(path.T)].all()
            else:
                with pytest.raises(ValueError, match="no path"):
                    dtw_path(np.ones((n, m)), **options)
    assert outcomes == {False, True}


def test_a_radius_of_part_of_a_frame_is_enough_where_the_line_passes_between_frames():
    x, y = np.arange(5.0), np.arange(6.0) ** 2
    options = dict(window="sakoe_chiba", radius=0.1)  # 0.6 frames; 0.5 are needed
    path = [[0, 0], [1, 1], [2, 2], [2, 3], [3, 4], [4, 5]]
    found = dtw_path(x, y, **options)
    assert found.path.tolist() == path
    assert cdist_dtw([x], [y], **options) == found.cost
    assert dtw_neighbors([x], [y], **options)[0] == found.cost
    with pytest.raises(ValueError, match="smallest radius is 1"):
        dtw_path(x, y, window="sakoe_chiba", radius=0.08)


def test_a_parallelogram_widens_with_the_frames_left_out():
    n, m, begins, ends = 20, 24, (3, 4), (4, 3)
    i, j = np.ogrid[:n, :m]
    line = (m - 1) / (n - 1)
    inside = (j <= 4 + 2 * line * i) & (j >= line / 2 * (i - 3))
    inside &= (j >= 20 - 2 * line * (19 - i)) & (j <= 23 - line / 2 * (15 - i))
    window = itakura(n, m, 2.0, FramesLeftOut(3, 4, 4, 3))
    assert ((window.starts[:, None] <= j) & (j < window.stops[:, None]) == inside).all()
    assert itakura(n, m, 2.0).stops[0] == 1  # between closed ends all begin in one cell
    costs = np.random.default_rng(3).random((n, m))
    options = dict(metric="precomputed", open_begin=begins, open_end=ends)
    found = dtw_path(costs, window="itakura", **options)
    masked = np.where(inside, costs, np.inf)
    assert found.cost == pytest.approx(dtw_distance(masked, **options), rel=1e-12)
    assert found.cost < dtw_distance(costs, metric="precomputed", window="itakura")


def test_a_multiscale_window_finds_a_part_of_a_long_sequence():
    rng = np.random.default_rng(4)
    scene = rng.normal(size=(3000, 2)).cumsum(axis=0)
    query = scene[1200:1800:2]
    options = dict(step_pattern="symmetric2", open_begin=True, open_end=True)
    exact = dtw_path(query, scene, **options)
    near = dtw_path(query, scene, window="multiscale", radius=10, **options)
    assert ends_of(near.path, 300, 3000) == ends_of(exact.path, 300, 3000)
    assert near.cost >= exact.cost


def test_exchanged_sequences_exchange_their_ends():
    x, y = np.random.default_rng(5).normal(size=(2, 40)).cumsum(axis=1)
    y = y[:33]
    for pattern in PATTERNS:
        forth = dtw_path(x, y, open_begin=(4, 2), open_end=(0, 3), step_pattern=pattern)
        back = dtw_path(y, x, open_begin=(2, 4), open_end=(3, 0), step_pattern=pattern)
        assert back.cost == pytest.approx(forth.cost, rel=1e-12)
    forth = dtw_distance(x, y, open_begin=(4, 2), open_end=(0, 3))
    backwards = dtw_distance(x[::-1], y[::-1], open_begin=(0, 3), open_end=(4, 2))
    assert backwards == pytest.approx(forth, rel=1e-12)


@pytest.mark.parametrize("pattern", ["symmetric1", "symmetric2", "asymmetric"])
def test_numbers_and_shares_limit_the_frames_left_out(pattern):
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=20), rng.normal(size=50)
    share = dtw_path(x, y, open_begin=0.29, open_end=0.1, step_pattern=pattern)
    number = dtw_path(x, y, open_begin=14, open_end=(0, 5), step_pattern=pattern)
    assert share.path.tolist() == number.path.tolist()
    check_ends(share.path, (20, 50), (0, 14), (0, 5))
    whole = dtw_path(x, y, open_begin=True, open_end=True, step_pattern=pattern)
    many = dtw_path(x, y, open_begin=10**20, open_end=1.0, step_pattern=pattern)
    assert whole.cost == many.cost
    x = rng.normal(size=30)
    none = dtw_path(x, y, open_begin=0, open_end=(0.0, False), step_pattern=pattern)
    assert none.cost == dtw_distance(x, y, step_pattern=pattern)


def test_costs_of_many_pairs_are_those_of_single_pairs():
    rng = np.random.default_rng(7)
    X = [rng.normal(size=(n, 2)) for n in (9, 12, 10)]
    for options in (
        dict(open_begin=(2, 2), open_end=(1, 1)),
        dict(open_begin=(2, 0), open_end=(1, 3)),
        dict(open_begin=(2, 2), step_pattern="symmetric2"),
    ):
        own = [[dtw_distance(x, y, **options) for y in X] for x in X]
        np.testing.assert_allclose(cdist_dtw(X, **options), own, rtol=1e-12)
        distances, indices = dtw_neighbors(X, X, n_neighbors=3, **options)
        np.testing.assert_allclose(
            distances, np.take_along_axis(np.array(own), indices, axis=1)
        )


def test_huge_costs_keep_their_ratio():
    costs = np.random.default_rng(8).random((9, 11))
    options = dict(metric="precomputed", step_pattern="symmetric2")
    options |= dict(open_begin=(2, 3), open_end=(3, 2))
    small, large = dtw_path(costs, **options), dtw_path(costs * 1e305, **options)
    assert large.path.tolist() == small.path.tolist()
    assert large.cost == pytest.approx(small.cost * 1e305, rel=1e-9)
    with pytest.raises(ValueError, match="overflows"):
        dtw_path(np.full((9, 11), 1e308), **options)
    costs[:, 5] = np.inf
    with pytest.raises(ValueError, match="no path"):
        dtw_path(costs, **options)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(open_begin=True, open_end=(True, 0)), ValueError, "single pair"),
        (dict(open_begin=(1.0, 0), open_end=True), ValueError, "single pair"),
        (dict(open_begin=(1, 2, 3)), ValueError, "a pair for x and y"),
        (dict(open_begin=-1), ValueError, "at least 0"),
        (dict(open_end=(0, 1.5)), ValueError, "at most 1"),
        (dict(open_end="all"), TypeError, "a pair of these"),
        (dict(open_end=(None, 1)), TypeError, "a pair of these"),
        (dict(open_end=(1, 0), step_pattern="asymmetric"), ValueError, "exchange"),
        (dict(open_end=(1, 0), max_jump=2), ValueError, "exchange x and y"),
        (dict(open_end=(1, 0), window="multiscale"), ValueError, "exchange x and y"),
    ],
    ids=str,
)
def test_unfit_open_ends_are_refused(options, error, words):
    x = np.arange(5.0)
    with pytest.raises(error, match=words):
        dtw_path(x, x, **options)


def test_psi_relaxation_is_that_of_dtaidistance():
    dtaidistance = pytest.importorskip("dtaidistance.dtw")
    rng = np.random.default_rng(9)
    for n, m in ((30, 30), (25, 40)):
        x, y = rng.normal(size=n).cumsum(), rng.normal(size=m).cumsum()
        psi = (4, 2, 1, 5)  # begin and end of x, begin and end of y
        found = dtw_distance(x, y, open_begin=(4, 1), open_end=(2, 5))
        # its loops in Python: those in C read beyond their arrays in some releases
        theirs = dtaidistance.distance(x, y, psi=psi, use_c=False)
        assert found == pytest.approx(theirs**2, rel=1e-9)
