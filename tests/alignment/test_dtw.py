"""Dynamic time warping: values, paths, constraints, bad input."""

import json
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from mmfusion.alignment import _strips, cdist_dtw, dtw_distance, dtw_path, rabiner_juang
from mmfusion.alignment._steps import STEP_PATTERNS
from mmfusion.alignment._windows import itakura, least_radius, sakoe_chiba

from .slow_dtw import SCIPY_METRICS, all_paths, along, check_path, slow_costs, slow_dtw

CASES = Path(__file__).parents[3] / "shared" / "data" / "dtw_reference_cases.json"
SHAPES = [(1, 1, 1), (1, 7, 2), (7, 1, 1), (8, 8, 3), (17, 30, 6), (130, 70, 2)]


def make(n, m, d, seed=0, dtype=float):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(m, d)).astype(dtype)


def reference_cases(kind):
    if not CASES.exists():
        return []
    return json.loads(CASES.read_text())[kind]


needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no reference cases here")


# Values


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("metric", SCIPY_METRICS)
@pytest.mark.parametrize(
    ("pattern", "diagonal"), [("symmetric1", 1), ("symmetric2", 2)]
)
def test_the_cost_is_that_of_the_textbook(shape, metric, pattern, diagonal):
    if metric == "correlation" and shape[2] == 1:
        pytest.skip("one feature does not correlate")
    x, y = make(*shape)
    costs = slow_costs(x, y, metric)
    found = dtw_path(x, y, metric=metric, step_pattern=pattern, penalty=0.25)
    assert found.cost == pytest.approx(slow_dtw(costs, diagonal, 0.25), rel=1e-9)
    check_path(found.path, *shape[:2])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_path_costs_what_is_told(shape):
    x, y = make(*shape)
    found = dtw_path(x, y)
    assert along(slow_costs(x, y), found.path) == pytest.approx(found.cost, rel=1e-9)
    assert dtw_distance(x, y) == pytest.approx(found.cost, rel=1e-12)


@pytest.mark.parametrize("shape", [(3, 4), (4, 2), (1, 5)], ids=str)
@pytest.mark.parametrize(
    "pattern", ["symmetric1", "symmetric2", "asymmetric", "rigid", "typeIIc"]
)
def test_no_path_is_cheaper(shape, pattern):
    x, y = make(*shape, 1)
    costs = slow_costs(x, y)
    steps = [(di, dj) for ((di, dj, _),) in STEP_PATTERNS[pattern].moves]
    weights = {(di, dj): w for ((di, dj, w),) in STEP_PATTERNS[pattern].moves}
    totals = []
    for path in all_paths(*shape, steps):
        moves = np.diff(path, axis=0).tolist()
        later = zip(path[1:], moves, strict=True)
        totals.append(costs[0, 0] + sum(weights[tuple(s)] * costs[c] for c, s in later))
    if totals:
        found = dtw_path(x, y, step_pattern=pattern)
        assert found.cost == pytest.approx(min(totals), rel=1e-9)
    else:
        with pytest.raises(ValueError, match="no path"):
            dtw_path(x, y, step_pattern=pattern)


@needs_cases
@pytest.mark.parametrize(
    "case", reference_cases("cases"), ids=lambda case: case["name"]
)
def test_published_values_are_found(case):
    options = {}
    if case["sakoe_chiba_radius"] is not None:
        options = dict(window="sakoe_chiba", radius=case["sakoe_chiba_radius"])
    metric = "manhattan" if case["metric"] == "cityblock" else case["metric"]
    found = dtw_path(case["x"], case["y"], metric=metric, **options)
    assert found.cost == pytest.approx(case["value"], rel=1e-9)


def costs_of(case):
    if case["matrix"] == "ldist6":  # that of the dtw package's examples
        costs = np.ones((6, 6))
        costs[1] = costs[:, 4] = 0
        costs[1, 4] = 0.01
        return costs
    x = np.sin(np.linspace(0, 6.28, 100))
    return np.abs(x[:, None] - (np.cos(np.linspace(0, 6.28, 70)) + 0.5))


@needs_cases
@pytest.mark.parametrize(
    "case",
    [case for case in reference_cases("step_patterns") if "distance" in case],
    ids=lambda c: (
        f"{c['step']}-{c.get('open_begin')}-{c.get('open_end')}-{c['matrix']}"
    ),
)
def test_published_values_of_step_patterns_are_found(case):
    step = case["step"]
    found = dtw_path(
        costs_of(case),
        metric="precomputed",
        step_pattern=rabiner_juang("IV", "c") if step.startswith("rab") else step,
        open_begin=bool(case.get("open_begin")),
        open_end=bool(case.get("open_end")),
    )
    assert found.cost == pytest.approx(case["distance"], rel=1e-9)
    if case.get("normalized") is not None:
        assert found.normalized_cost == pytest.approx(case["normalized"], rel=1e-9)
    if case.get("jmin") is not None:
        assert found.path[-1, 1] == case["jmin"]
    if "start" in case:
        assert found.path[[0, -1], 1].tolist() == [case["start"], case["end"]]


# Strips and blocks


@pytest.mark.parametrize(
    ("smallest", "cells_per_row"), [(16, 1), (32, 2**20), (16, 2**20)]
)
@pytest.mark.parametrize("options", [{}, dict(window="sakoe_chiba", radius=9)], ids=str)
def test_blocks_of_any_size_find_the_same(
    smallest, cells_per_row, options, monkeypatch
):
    monkeypatch.setattr(_strips, "SMALLEST_BLOCK", smallest)
    monkeypatch.setattr(_strips, "CELLS_PER_ROW", cells_per_row)
    for n, m, d in (
        (67, 51, 1),
        (33, 80, 7),
        (1, 30, 1),
        (40, 1, 2),
        (300, 410, 1),
        (410, 333, 6),
    ):
        x, y = make(n, m, d, seed=n)
        if options and min(n, m) == 1:
            continue
        found = dtw_path(x, y, **options)
        check_path(found.path, n, m)
        costs = slow_costs(x, y)
        assert along(costs, found.path) == pytest.approx(found.cost, rel=1e-9)
        if not options:
            assert found.cost == pytest.approx(slow_dtw(costs), rel=1e-9)
        window = sakoe_chiba(n, m, 9) if options else sakoe_chiba(n, m, 99)
        assert (window.starts[found.path[:, 0]] <= found.path[:, 1]).all()
        assert (found.path[:, 1] < window.stops[found.path[:, 0]]).all()
        outside = costs.copy()
        for i in range(n):
            outside[i, : window.starts[i]] = outside[i, window.stops[i] :] = np.inf
        assert found.cost == pytest.approx(slow_dtw(outside), rel=1e-9)


def test_float32_stays_float32_and_is_nearly_as_good():
    x, y = make(300, 280, 12)
    exact = dtw_distance(x, y)
    assert dtw_distance(x.astype("f4"), y.astype("f4")) == pytest.approx(
        exact, rel=1e-5
    )


def test_sequences_far_from_zero_lose_no_digits():
    x, y = make(60, 50, 8)
    assert dtw_distance(x + 1e6, y + 1e6) == pytest.approx(dtw_distance(x, y), rel=1e-6)
    assert dtw_distance(x, x, metric="euclidean") == 0
    assert dtw_distance(x, x + 1e-9) == pytest.approx(60 * 8 * 1e-18, rel=1e-5)


# Invariants

sequences = st.integers(1, 12).flatmap(
    lambda n: st.lists(
        st.lists(st.floats(-9, 9, width=32), min_size=2, max_size=2),
        min_size=n,
        max_size=n,
    )
)


@given(sequences, sequences)
@settings(max_examples=60, deadline=None)
def test_properties_of_the_distance(x, y):
    x, y = np.array(x), np.array(y)
    distance = dtw_distance(x, y)
    assert distance >= 0
    assert dtw_distance(x, x) == 0
    assert dtw_distance(y, x) == pytest.approx(distance, rel=1e-9, abs=1e-12)
    assert dtw_distance(x[::-1], y[::-1]) == pytest.approx(distance, rel=1e-9, abs=1e-9)
    assert dtw_distance(np.repeat(x, 2, axis=0), y) <= 2 * distance + 1e-9
    slower = np.repeat(x, 3, axis=0)
    assert dtw_distance(slower, x) == pytest.approx(0, abs=1e-9)
    assert dtw_distance(2 * x, 2 * y) == pytest.approx(4 * distance, rel=1e-9, abs=1e-9)
    if len(x) == len(y):
        assert distance <= ((x - y) ** 2).sum() + 1e-9


@given(sequences, sequences, st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_a_wider_band_is_never_worse(x, y, radius):
    needed = least_radius(len(x), len(y))
    costs = [
        dtw_distance(x, y, window="sakoe_chiba", radius=needed + r)
        for r in (0, radius, radius + 3, 99)
    ]
    assert all(a >= b - 1e-9 for a, b in pairwise(costs))
    assert costs[-1] == pytest.approx(dtw_distance(x, y), rel=1e-9, abs=1e-9)


def test_identical_sequences_align_on_the_diagonal():
    x, _ = make(40, 1, 3)
    assert (dtw_path(x, x).path == np.arange(40)[:, None]).all()


# Windows


def test_a_band_of_no_width_compares_frame_by_frame():
    x, y = make(25, 25, 3)
    found = dtw_distance(x, y, window="sakoe_chiba", radius=0)
    assert found == pytest.approx(((x - y) ** 2).sum(), rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(12, 30), (30, 12), (5, 50), (2, 9), (1, 4)])
def test_the_smallest_radius_that_is_named_leaves_a_path(n, m):
    x, y = make(n, m, 2)
    needed = least_radius(n, m)
    check_path(dtw_path(x, y, window="sakoe_chiba", radius=needed).path, n, m)
    forth = dtw_distance(x, y, window="sakoe_chiba", radius=needed)
    back = dtw_distance(y, x, window="sakoe_chiba", radius=needed)
    assert forth == pytest.approx(back, rel=1e-12)
    if needed:
        with pytest.raises(ValueError, match=f"smallest radius is {needed}"):
            dtw_path(x, y, window="sakoe_chiba", radius=needed - 1)


def test_a_radius_may_be_a_share():
    x, y = make(40, 50, 1)
    shares = dtw_distance(x, y, window="sakoe_chiba", radius=0.2)
    assert shares == dtw_distance(x, y, window="sakoe_chiba", radius=10)


@pytest.mark.parametrize(("n", "m"), [(20, 20), (20, 31), (31, 20), (1, 3)])
def test_a_parallelogram_bounds_the_slope_from_both_ends(n, m):
    x, y = make(n, m, 2)
    found = dtw_path(x, y, window="itakura", max_slope=2)
    check_path(found.path, n, m)
    if n > 1:
        t, u = found.path[:, 0] / (n - 1), found.path[:, 1] / (m - 1)
        for a, b in ((t, u), (1 - t, 1 - u)):
            assert (b <= 2 * a + 1e-9).all()
            assert (b >= a / 2 - 1e-9).all()
        window = itakura(n, m, 99.0)
        assert window.stops[0] >= 1


def test_a_parallelogram_without_a_path_is_refused():
    x, y = make(3, 40, 1)
    with pytest.raises(ValueError, match="raise it"):
        dtw_path(x, y, window="itakura", max_slope=1.0)


def test_a_multiscale_window_finds_smooth_warps():
    t = np.linspace(0, 1, 700)
    x = np.sin(12 * t)[:, None]
    y = np.sin(12 * t**1.4)[:, None]
    exact = dtw_distance(x, y)
    near = dtw_distance(x, y, window="multiscale", radius=5)
    assert exact <= near <= 1.05 * exact + 1e-9
    assert dtw_distance(x, y, window="multiscale", radius=1.0) == pytest.approx(exact)


# Steps


def runs(path):
    """Longest run along each axis."""
    moves = list(map(tuple, np.diff(path, axis=0).tolist()))
    lengths = {(1, 0): 0, (0, 1): 0, (1, 1): 0}
    for move, group in groupby(moves):
        lengths[move] = max(lengths[move], len(list(group)))
    return lengths[1, 0], lengths[0, 1]


@pytest.mark.parametrize("max_jump", [1, 2, 5])
@pytest.mark.parametrize("pattern", ["symmetric1", "symmetric2"])
def test_max_jump_limits_runs(max_jump, pattern):
    x, y = make(12, 9, 1, seed=max_jump)
    options = dict(step_pattern=pattern, penalty=0.1)
    found = dtw_path(x, y, max_jump=max_jump, **options)
    check_path(found.path, 12, 9)
    assert max(runs(found.path)) <= max_jump
    assert found.cost >= dtw_distance(x, y, **options) - 1e-12
    free = dtw_path(x, y, max_jump=99, **options)
    assert free.cost == pytest.approx(dtw_distance(x, y, **options), rel=1e-12)


def test_max_jump_is_the_best_of_the_paths_it_allows():
    x, y = make(5, 4, 1, seed=3)
    costs = slow_costs(x, y)
    allowed = [
        np.array(path) for path in all_paths(5, 4) if max(runs(np.array(path))) <= 1
    ]
    best = min(along(costs, path) for path in allowed)
    assert dtw_path(x, y, max_jump=1).cost == pytest.approx(best, rel=1e-12)


def test_a_high_penalty_keeps_to_the_diagonal():
    x, y = make(20, 20, 1)
    assert (np.diff(dtw_path(x, y, penalty=1e6).path, axis=0) == 1).all()


# Open ends


@pytest.mark.parametrize("pattern", ["symmetric1", "asymmetric"])
def test_a_part_is_found_where_it_is(pattern):
    _, y = make(10, 60, 3)
    part = y[23:33]
    options = dict(step_pattern=pattern, open_begin=True, open_end=True)
    found = dtw_path(part, y, **options)
    assert found.cost == pytest.approx(0, abs=1e-12)
    assert found.path[:, 1].tolist() == list(range(23, 33))


@pytest.mark.parametrize("begin", [False, True])
@pytest.mark.parametrize("end", [False, True])
def test_open_ends_are_the_best_of_all_parts(begin, end):
    x, y = make(6, 9, 2)
    firsts = range(9) if begin else [0]
    lasts = range(1, 10) if end else [9]
    parts = [slow_dtw(slow_costs(x, y[a:b])) for a in firsts for b in lasts if a < b]
    found = dtw_path(x, y, open_begin=begin, open_end=end)
    assert found.cost == pytest.approx(min(parts), rel=1e-9)


# Costs that are given


@pytest.mark.parametrize("metric", SCIPY_METRICS)
@pytest.mark.parametrize("d", [2, 7])
def test_order_in_memory_changes_nothing(metric, d):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, d)), rng.normal(size=(40, d))
    expected = dtw_path(x, y, metric=metric)
    found = dtw_path(np.asfortranarray(x), np.repeat(y, 2, 0)[::2], metric=metric)
    assert found.cost == pytest.approx(expected.cost, rel=1e-12)
    by_columns = dtw_path(np.asfortranarray(x), np.asfortranarray(y), metric=metric)
    assert by_columns.cost == pytest.approx(expected.cost, rel=1e-12)


def test_costs_may_be_a_function_or_a_matrix():
    x, y = make(30, 20, 3)
    known = dtw_path(x, y, metric="manhattan")
    for found in (
        dtw_path(x, y, metric=lambda a, b: cdist(a, b, "cityblock")),
        dtw_path(cdist(x, y, "cityblock"), metric="precomputed"),
    ):
        assert found.cost == pytest.approx(known.cost, rel=1e-12)
        np.testing.assert_array_equal(found.path, known.path)


# Many pairs


@pytest.mark.parametrize("metric", SCIPY_METRICS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        dict(step_pattern="symmetric2", penalty=0.5),
        dict(window="sakoe_chiba", radius=25),
        dict(window="sakoe_chiba", radius=0.9),
        dict(window="itakura", max_slope=30.0),
        dict(step_pattern="symmetric1", max_jump=30),
    ],
    ids=str,
)
def test_all_pairs_cost_what_each_costs(metric, options):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 5)) for n in (9, 20, 13)]
    Y = [rng.normal(size=(n, 5)) for n in (12, 24)]
    one_by_one = [[dtw_distance(x, y, metric=metric, **options) for y in Y] for x in X]
    for n_jobs in (None, 2):
        found = cdist_dtw(X, Y, metric=metric, n_jobs=n_jobs, **options)
        np.testing.assert_allclose(found, one_by_one, rtol=1e-9)
    alone = cdist_dtw(X, metric=metric, **options)
    np.testing.assert_allclose(alone, cdist_dtw(X, X, metric=metric, **options))
    assert (alone == alone.T).all()


def test_pairs_under_a_pattern_without_symmetry_are_each_computed():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 1)) for n in (9, 11)]
    found = cdist_dtw(X, step_pattern="asymmetric")
    assert found[0, 1] == dtw_distance(X[0], X[1], step_pattern="asymmetric")
    assert found[1, 0] == dtw_distance(X[1], X[0], step_pattern="asymmetric")
    assert found[0, 1] != found[1, 0]


def test_no_sequences_make_no_pairs():
    assert cdist_dtw([], [[1.0]]).shape == (0, 1)
    assert cdist_dtw([]).shape == (0, 0)


# An independent library


@pytest.mark.parametrize("d", [1, 9])
def test_tslearn_finds_the_same(d):
    metrics = pytest.importorskip("tslearn.metrics")
    x, y = make(70, 55, d)
    path, root = metrics.dtw_path(x, y)
    found = dtw_path(x, y)
    assert found.cost == pytest.approx(root**2, rel=1e-9)
    assert along(slow_costs(x, y), np.array(path)) == pytest.approx(found.cost)


# Bad input


@pytest.mark.parametrize(
    ("x", "y", "options", "match"),
    [
        (np.ones((3, 2)), np.ones((3, 4)), {}, "2 features and y has 4.*CTWAligner"),
        (np.ones((0, 2)), np.ones((3, 2)), {}, "x has 0 frames"),
        (
            np.ones((3, 2)),
            [[1, 1], [1, np.nan]],
            {},
            "frame 1 of y has a value that is",
        ),
        (np.ones((3, 2, 2)), np.ones((3, 2)), {}, "shape .n_frames, n_features"),
        ([1.0], [1.0], dict(metric="hamming"), "metric='hamming' is not one of"),
        ([1.0], [1.0], dict(step_pattern="big"), "there is no step_pattern 'big'"),
        ([1.0], [1.0], dict(window="round"), "window='round' is not one of"),
        ([1.0], [1.0], dict(step_pattern="rigid", penalty=1), "penalty and max_jump"),
        ([1.0], [1.0], dict(window="itakura", open_end=True), "window=None"),
        ([1.0, 2.0], [1.0], dict(step_pattern="rigid"), "no path of step_pattern"),
        ([[-1.0]], None, dict(metric="precomputed"), "frames 0 and 0 is -1.0"),
    ],
)
def test_bad_input_is_refused_with_the_reason(x, y, options, match):
    with pytest.raises(ValueError, match=match):
        dtw_path(x, y, **options)


def test_sequences_of_many_pairs_are_named_in_errors():
    with pytest.raises(ValueError, match=r"Y\[1\] has 0 frames"):
        cdist_dtw([[1.0]], [[1.0], []])
    with pytest.raises(ValueError, match=r"\[1, 2\] features.*CTWAligner"):
        cdist_dtw([[1.0]], [np.ones((2, 2))])
