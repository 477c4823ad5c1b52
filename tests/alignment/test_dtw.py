"""Dynamic time warping: values, paths, constraints, bad input."""

import json
import tracemalloc
from fractions import Fraction
from itertools import groupby, pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from mmfusion import Modalities, _memory
from mmfusion.alignment import (
    CTWAligner,
    DTWAligner,
    DTWKernel,
    StepPattern,
    cdist_dtw,
    dtw_distance,
    dtw_neighbors,
    dtw_path,
    lb_keogh,
    rabiner_juang,
)
from mmfusion.alignment.dtw import _path, _row_blocks
from mmfusion.alignment.dtw._step_patterns import STEP_PATTERNS, diagonal_weight
from mmfusion.alignment.dtw._windows import itakura, least_radius, sakoe_chiba

from .slow_dtw import (
    SCIPY_METRICS,
    all_paths,
    along,
    check_path,
    slow_costs,
    slow_dtw,
    slow_limited,
    slow_open,
    slow_pattern,
)

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
def test_the_path_has_the_cost_that_is_returned(shape):
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
    monkeypatch.setattr(_row_blocks, "SMALLEST_SECTION", smallest)
    monkeypatch.setattr(_row_blocks, "CELLS_PER_SECTION_ROW", cells_per_row)
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


@given(st.integers(1, 40), st.integers(1, 40), st.floats(1, 4), st.floats(1, 4))
@settings(deadline=None)
def test_the_straight_line_is_inside_of_any_parallelogram(n, m, slope, more):
    window = itakura(n, m, slope)
    short, long = sorted((n, m))
    for frame in range(long):  # the cell that is nearest to the line
        other = round(frame * (short - 1) / max(long - 1, 1))
        i, j = (other, frame) if m >= n else (frame, other)
        assert window.starts[i] <= j < window.stops[i]
    wider, turned = itakura(n, m, slope * more), itakura(m, n, slope)
    assert (wider.starts <= window.starts).all()
    assert (wider.stops >= window.stops).all()
    for i, j in np.ndindex(n, m):
        inside = window.starts[i] <= j < window.stops[i]
        assert inside == (turned.starts[j] <= i < turned.stops[j])


@pytest.mark.parametrize(("n", "m"), [(3, 40), (6, 3), (10, 30), (2, 3)])
@pytest.mark.parametrize("max_slope", [1.0, 2.0, 1e9])
def test_a_parallelogram_joins_unlike_lengths(n, m, max_slope):
    x, y = make(n, m, 1)
    found = dtw_path(x, y, window="itakura", max_slope=max_slope)
    check_path(found.path, n, m)


def test_a_multiscale_window_finds_smooth_warps(monkeypatch):
    monkeypatch.setattr(_path, "LEAST_MULTISCALE_FRAMES", 100)
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


# Step patterns and open ends, against double loops

DIVISORS = ("both", "columns", "path", "rows")


@st.composite
def step_patterns(draw, longest=3):
    """Any step pattern: long leaps, and many, single and weightless steps."""
    frames = st.tuples(st.integers(0, longest), st.integers(0, longest)).filter(any)
    weights = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0])
    step = st.tuples(frames, weights).map(lambda s: (*s[0], s[1]))
    move = st.lists(step, min_size=1, max_size=3)
    moves = draw(st.lists(move, min_size=1, max_size=4))
    if draw(st.booleans()):  # most patterns join few corners
        moves.append([(1, 1, 1.0)])
        moves.append([(0, 1, 1.0)])
    return StepPattern("random", moves, draw(st.sampled_from(DIVISORS)))


@st.composite
def cost_tables(draw, most_rows=6, most_columns=8):
    """Costs of whole numbers, which tie, or of any, some of them infinite."""
    n, m = draw(st.integers(1, most_rows)), draw(st.integers(1, most_columns))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    costs = rng.integers(0, 4, (n, m)).astype(float)
    if draw(st.booleans()):
        costs = rng.exponential(size=(n, m)) * 10.0 ** rng.integers(-3, 4, (n, m))
    if draw(st.booleans()):
        costs[rng.uniform(size=(n, m)) < 0.15] = np.inf
    return costs


def check_open(costs, pattern, last_row, open_begin, open_end, **options):
    """The place is the best of all, and its path costs what is returned."""
    options |= dict(open_begin=open_begin, open_end=open_end, step_pattern=pattern)
    expected = slow_open(last_row, costs, pattern.divisor, open_begin, open_end)
    if expected is None:
        with pytest.raises(ValueError, match="no path"):
            dtw_path(costs, metric="precomputed", **options)
        return
    found = dtw_path(costs, metric="precomputed", **options)
    (i, a), (j, b) = found.path[0], found.path[-1]
    assert (i, j) == (0, len(costs) - 1)
    assert open_begin or a == 0
    assert open_end or b == costs.shape[1] - 1
    sizes = {"both": len(costs) + b - a + 1, "columns": b - a + 1}
    least = expected[0] / expected[1]
    size = sizes.get(pattern.divisor, 1)
    assert found.cost / size == pytest.approx(least, rel=1e-9, abs=1e-12)
    part = last_row(costs[:, a : b + 1])[-1]
    assert found.cost == pytest.approx(part, rel=1e-9, abs=1e-12)
    whole = pattern.size(j + 1, b - a + 1, len(found.path))
    assert found.normalized_cost == pytest.approx(found.cost / whole)
    assert dtw_distance(costs, metric="precomputed", **options) == found.cost


@given(cost_tables(), step_patterns(), st.booleans(), st.booleans())
@settings(deadline=None, max_examples=150)
def test_any_step_pattern_finds_the_best_of_all_parts(
    costs, pattern, open_begin, open_end
):
    def last_row(part):
        return slow_pattern(part, pattern.moves)

    check_open(costs, pattern, last_row, open_begin, open_end)


@pytest.mark.parametrize("name", [*STEP_PATTERNS])
def test_named_step_patterns_find_the_best_of_all_parts(name):
    pattern = STEP_PATTERNS[name]
    penalties = (0.0,) if diagonal_weight(pattern) is None else (0.0, 0.7)
    for seed, penalty in product((0, 1), penalties):
        costs = np.random.default_rng(seed).exponential(size=(5, 9))

        def last_row(part, penalty=penalty):
            return slow_pattern(part, pattern.moves, penalty)

        for open_begin, open_end in product((False, True), repeat=2):
            check_open(costs, pattern, last_row, open_begin, open_end, penalty=penalty)


@given(
    cost_tables(),
    st.integers(0, 7),
    st.sampled_from(["symmetric1", "symmetric2"]),
    st.sampled_from([0.0, 0.5]),
    st.booleans(),
    st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_limited_runs_find_the_best_of_all_parts(
    costs, max_jump, name, penalty, open_begin, open_end
):
    pattern = STEP_PATTERNS[name]

    def last_row(part):
        return slow_limited(part, max_jump, diagonal_weight(pattern), penalty)

    options = dict(max_jump=max_jump, penalty=penalty)
    check_open(costs, pattern, last_row, open_begin, open_end, **options)


@pytest.mark.parametrize("size", [2.0**-512, 2.0**509])
def test_the_place_does_not_depend_on_the_unit(size):
    x, y = make(6, 30, 1)
    options = dict(step_pattern="symmetric2", open_begin=True, open_end=True, penalty=1)
    expected = dtw_path(x, y, **options)
    found = dtw_path(size * x, size * y, **options | dict(penalty=size**2))
    np.testing.assert_array_equal(found.path, expected.path)
    assert found.cost == pytest.approx(size**2 * expected.cost)


def test_the_better_place_is_found_wherever_it_lies():
    rng = np.random.default_rng(3)
    x = np.sin(np.linspace(0, 2 * np.pi, 40)) * 3
    y = rng.normal(size=2000) * 2
    y[100:140] = x + 0.2 * rng.normal(size=40)
    y[1900:1940] = x + 0.35 * rng.normal(size=40)
    for pattern in ("symmetric1", "symmetric2", "mori2006", "typeIId", "rigid"):
        options = dict(step_pattern=pattern, open_begin=True, open_end=True)
        found = dtw_path(x, y, **options)
        assert 95 <= found.path[0, 1] < found.path[-1, 1] <= 145
        assert found.cost == pytest.approx(dtw_path(x, y[:300], **options).cost)
        assert cdist_dtw([x], [y], **options)[0, 0] == found.cost
        assert dtw_neighbors([x], [y[:50], y], **options)[0][0, 0] == found.cost


@pytest.mark.parametrize("pattern", [*STEP_PATTERNS])
def test_open_ends_never_raise_what_is_minimised(pattern):
    divisor = STEP_PATTERNS[pattern].divisor
    for seed in range(5):
        x, y = make(7, 8, 1, seed)
        try:
            closed = dtw_path(x, y, step_pattern=pattern)
        except ValueError:  # lengths that the pattern does not join
            continue
        for ends in (["open_begin"], ["open_end"], ["open_begin", "open_end"]):
            found = dtw_path(x, y, step_pattern=pattern, **dict.fromkeys(ends, True))
            if divisor == "path":
                assert found.cost <= closed.cost + 1e-12
            else:
                assert found.normalized_cost <= closed.normalized_cost + 1e-12


def test_moves_beyond_the_128th_are_kept():
    x = np.arange(3.0)
    for n_moves in (128, 129, 257):
        y = np.arange(n_moves + 60.0)
        moves = [[(1, j, 1.0)] for j in range(1, n_moves + 1)]
        found = dtw_path(x, y, step_pattern=StepPattern("skip", moves, "rows"))
        i, j = found.path.T
        assert i.tolist() == [0, 1, 2]
        assert ((x[i] - y[j]) ** 2).sum() == found.cost


def test_a_pattern_is_known_by_its_moves_not_by_its_name():
    x, y = make(9, 12, 1)
    moves = STEP_PATTERNS["asymmetric"].moves
    lookalike = StepPattern("symmetric1", moves, "rows")
    asymmetric = dtw_distance(x, y, step_pattern="asymmetric")
    assert dtw_distance(x, y, step_pattern=lookalike) == asymmetric
    same = StepPattern("own", STEP_PATTERNS["symmetric2"].moves, "both")
    assert dtw_distance(x, y, step_pattern=same, penalty=1) == dtw_distance(
        x, y, step_pattern="symmetric2", penalty=1
    )


def test_a_step_pattern_is_taken_as_tuples_of_numbers():
    moves = np.array([[[1, 1, 1], [0, 1, 1]]])
    pattern = StepPattern("p", [[(np.int64(1), 1, np.float32(2))]], "rows")
    assert pattern == StepPattern("p", (((1, 1, 2.0),),), "rows")
    assert hash(pattern) == hash(StepPattern("p", (((1, 1, 2.0),),), "rows"))
    with pytest.raises(TypeError, match=r"moves\[0\]: rows=.* is a float64"):
        StepPattern("p", moves.astype(float), "rows")


GOOD = ((1, 1, 1.0),)


@pytest.mark.parametrize(
    ("moves", "divisor", "match"),
    [
        ((GOOD,), "N+M", r"'p': divisor='N\+M' is not one of"),
        ((), "path", "'p' has 0 moves"),
        ((GOOD, ()), "path", "moves.1. has no step"),
        ((GOOD,) * 40_000, "path", "has 40000 moves"),
        (
            (GOOD, ((-1, 1, 1.0),)),
            "path",
            "moves.1.: rows=-1; give an int",
        ),
        ((GOOD, ((1, -1, 1.0),)), "path", "moves.1.: columns=-1"),
        ((((1, 1 - 10**7, 1.0), (0, 10**7, 1.0)),), "path", "columns=-9999999"),
        ((((0, 0, 1.0),),), "path", "stays where it is"),
        ((((2**31, 0, 1.0),),), "path", "leads over more than"),
        ((((10**30, 1, 1.0),),), "path", "leads over more than"),
        ((((1, 1),),), "path", "rows, columns, weight"),
        ((((1, 1, np.nan),),), "path", "moves.0.: weight=nan"),
        ((((1, 1, -1.0),),), "path", "moves.0.: weight=-1"),
        ((((1, 1, np.inf),),), "path", "moves.0.: weight=inf"),
    ],
)
def test_damaged_step_patterns_are_refused_when_they_are_made(moves, divisor, match):
    with pytest.raises(ValueError, match=match):
        StepPattern("p", moves, divisor)


@pytest.mark.parametrize(
    ("moves", "match"),
    [
        (None, "moves None: give a list"),
        (((1, 1, 1.0),), "step 1: give a list"),
        ((((0.5, 1, 1.0),),), r"moves\[0\]: rows=0.5 is a float; give an int"),
        ((((True, 1, 1.0),),), "rows=True is a bool"),
        ((((1, 1, "1"),),), "weight='1' is a str; give a number"),
        ("abc", "moves 'abc'"),
    ],
)
def test_step_patterns_of_other_types_are_refused(moves, match):
    with pytest.raises(TypeError, match=match):
        StepPattern("p", moves, "path")
    with pytest.raises(TypeError, match="name of a step pattern"):
        StepPattern(5, (GOOD,), "path")


def test_types_of_rabiner_and_juang_are_refused_by_name():
    with pytest.raises(ValueError, match="kind='VIII' is not one of"):
        rabiner_juang("VIII", "a")
    with pytest.raises(ValueError, match="weighting='e' is not one of"):
        rabiner_juang("I", "e")
    with pytest.raises(TypeError, match="smoothed='no'"):
        rabiner_juang("I", "a", "no")


# Options


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(penalty=-1), "penalty=-1; give a finite number of at least 0"),
        (dict(penalty=np.nan), "penalty=nan"),
        (dict(penalty=np.inf), "penalty=inf"),
        (dict(penalty=10**400), "penalty=1"),
        (dict(window="multiscale", radius=np.nan), "radius=nan"),
        (dict(window="sakoe_chiba", radius=np.nan), "radius=nan"),
        (dict(window="sakoe_chiba", radius=np.inf), "radius=inf"),
        (dict(window="sakoe_chiba", radius=5.0), "radius=5.0; a float is a share"),
        (dict(window="sakoe_chiba", radius=np.float32(1.5)), "a float is a share"),
        (dict(window="sakoe_chiba", radius=-1), "radius=-1"),
        (dict(radius=-0.1), "radius=-0.1"),
        (dict(window="itakura", max_slope=0), "max_slope=0; .* at least 1"),
        (dict(window="itakura", max_slope=np.nan), "max_slope=nan"),
        (dict(window="itakura", max_slope=np.inf), "max_slope=inf"),
        (dict(max_jump=-1), "max_jump=-1; give an int of at least 0"),
        (dict(window="square"), "window='square' is not one of"),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused_by_name(options, match):
    for function in (dtw_path, dtw_distance):
        with pytest.raises(ValueError, match=match):
            function([0.0, 1.0], [0.0, 2.0], **options)
    for function in (cdist_dtw, dtw_neighbors):
        with pytest.raises(ValueError, match=match):
            function([[0.0, 1.0]], [[0.0, 2.0]], **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(penalty=True), "penalty=True is a bool; give a number"),
        (dict(penalty="1"), "penalty='1' is a str"),
        (dict(penalty=None), "penalty=None"),
        (dict(radius=True), "radius=True"),
        (dict(radius="5"), "radius='5'"),
        (dict(radius=np.timedelta64(1, "s")), "radius=.* is a timedelta64"),
        (dict(max_jump=np.timedelta64(1, "s")), "max_jump=.* is a timedelta64"),
        (dict(max_slope=[2]), "max_slope=.2."),
        (dict(max_jump=2.0), "max_jump=2.0 is a float; give an int"),
        (dict(max_jump=True), "max_jump=True"),
        (dict(open_begin="no"), "open_begin='no' is a str; give True, False"),
        (dict(open_end={1}), "open_end=.1. is a set; give True, False"),
        (dict(step_pattern=None), "step_pattern=None is a NoneType"),
        (dict(step_pattern=[1]), "step_pattern=.1."),
        (dict(window=5), "window=5 is a int"),
        (dict(window=["itakura"]), "window=.'itakura'."),
        (dict(raduis=5), "raduis"),
    ],
    ids=str,
)
def test_options_of_other_types_are_refused_by_name(options, match):
    for function in (dtw_path, dtw_distance):
        with pytest.raises(TypeError, match=match):
            function([0.0, 1.0], [0.0, 2.0], **options)
    for function in (cdist_dtw, dtw_neighbors):
        with pytest.raises(TypeError, match=match):
            function([[0.0, 1.0]], [[0.0, 2.0]], **options)


@pytest.mark.parametrize("window", ["sakoe_chiba", "multiscale"])
@pytest.mark.parametrize("as_float", [np.float16, np.float32, np.float64, Fraction])
@pytest.mark.parametrize("as_int", [np.int8, np.int64, np.uint32])
def test_numbers_of_numpy_mean_what_those_of_python_do(window, as_float, as_int):
    x, y = make(150, 130, 1)
    for plain, other in ((0.125, as_float(0.125)), (25, as_int(25))):
        expected = dtw_distance(x, y, window=window, radius=plain)
        assert dtw_distance(x, y, window=window, radius=other) == expected
        assert cdist_dtw([x], [y], window=window, radius=other)[0, 0] == expected
        if window == "sakoe_chiba":
            assert lb_keogh(x, y, other) == lb_keogh(x, y, plain)
    assert dtw_distance(x, y, max_jump=as_int(2)) == dtw_distance(x, y, max_jump=2)
    assert dtw_distance(x, y, penalty=as_float(2)) == dtw_distance(x, y, penalty=2)
    truth = np.True_
    assert dtw_distance(x, y, open_end=truth) == dtw_distance(x, y, open_end=True)


@pytest.mark.parametrize("estimator", [CTWAligner, DTWAligner, DTWKernel])
def test_estimators_take_options_as_functions_do(estimator):
    rng = np.random.default_rng(0)
    X = Modalities(
        {
            "a": [rng.normal(size=(n, 2)) for n in (9, 30)],
            "b": [rng.normal(size=(n, 2)) for n in (12, 14)],
        }
    )
    options = dict(window="sakoe_chiba")
    share, same = (estimator(radius=r, **options) for r in (0.75, np.float32(0.75)))
    results = [e.fit_transform(X) for e in (share, same)]
    for one, other in zip(*map(list_of_arrays, results), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"radius=5\.0; a float is a share"):
        estimator(radius=5.0, **options).fit(X)
    with pytest.raises(TypeError, match=r"radius.*True"):
        estimator(radius=True, **options).fit(X)
    estimator(window="itakura", max_slope=np.float32(1)).fit(X)  # 9 and 30 frames


def list_of_arrays(result):
    if isinstance(result, Modalities):
        return [sequence for block in result.blocks for sequence in block]
    return [result]


def test_limits_that_restrict_nothing_need_not_fit_any_type():
    x, y = make(30, 20, 1)
    expected = dtw_distance(x, y)
    for options in (
        dict(max_jump=10**9),
        dict(max_jump=10**400),
        dict(window="sakoe_chiba", radius=10**400),
    ):
        assert dtw_distance(x, y, **options) == pytest.approx(expected)
        assert cdist_dtw([x], [y], **options)[0, 0] == pytest.approx(expected)


def test_slopes_beyond_that_of_any_cell_are_all_the_same():
    x, y = make(30, 20, 1)
    steep, steepest = (
        dtw_distance(x, y, window="itakura", max_slope=slope) for slope in (600, 1e300)
    )
    assert steep == steepest


def test_memory_is_that_of_the_rows_of_the_longest_run():
    x, y = make(300, 300, 1)

    def used(call, **options):
        call(x, y, **options)
        tracemalloc.start()
        call(x, y, **options)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most / len(x) / len(y)

    # bytes for each cell: costs and totals of 5 rows, then 3 of steps and runs
    assert used(dtw_distance, max_jump=5) < 3
    assert used(dtw_path, max_jump=5) < 6
    assert used(dtw_distance, max_jump=298) < 20


def test_tables_that_do_not_fit_into_memory_are_refused(monkeypatch):
    x, y = make(100, 100, 1)
    monkeypatch.setattr(_memory, "UNCHECKED_BYTES", 0)
    monkeypatch.setattr(_memory, "available_bytes", lambda: 2000)
    dtw_distance(x, y)
    for pattern in ("symmetric1", "asymmetric"):
        with pytest.raises(ValueError, match="path through 100 and 100 frames needs"):
            dtw_path(x, y, step_pattern=pattern)
    with pytest.raises(ValueError, match="path with max_jump through 100 and 100 fr"):
        dtw_path(x, y, max_jump=3)
    with pytest.raises(ValueError, match="matrix of 100 x 100 costs needs 391 KiB"):
        cdist_dtw([[1.0]] * 100)


# Extremes


@pytest.mark.parametrize(
    "options", [{}, dict(step_pattern="asymmetric"), dict(max_jump=1)]
)
def test_costs_that_overflow_are_refused_as_such(options):
    x, y = np.full((4, 1), 1e160), np.full((4, 1), -1e160)
    for call in (
        lambda: dtw_path(x, y, **options),
        lambda: cdist_dtw([x], [y], **options),
        lambda: dtw_neighbors([x], [y], **options),
        lambda: dtw_path(np.full((4, 4), 1e308), metric="precomputed", **options),
    ):
        with pytest.raises(ValueError, match=r"overflows.* rescale"):
            call()


def test_infinite_costs_that_forbid_a_path_are_no_overflow():
    costs = np.ones((4, 4))
    costs[2] = np.inf
    for options in ({}, dict(step_pattern="symmetric2"), dict(max_jump=1)):
        with pytest.raises(ValueError, match="no path of step_pattern"):
            dtw_path(costs, metric="precomputed", **options)
    costs[2], costs[0, 0] = 1, np.inf
    for options in ({}, dict(step_pattern="symmetric2"), dict(max_jump=1)):
        with pytest.raises(ValueError, match="no path of step_pattern"):
            dtw_path(costs, metric="precomputed", **options)


def test_sums_that_are_too_large_for_float32_are_formed_in_float64():
    costs = np.full((5, 5), 3e38, np.float32)
    found = dtw_distance(costs, metric="precomputed")
    assert found == pytest.approx(1.5e39, rel=1e-6)
    assert dtw_distance([[1.0]], [[2.0]], penalty=1e300) == 1
    x = np.ones((1, 1), np.float32)
    far = dtw_distance(x, np.ones((2, 1), np.float32), penalty=1e300)
    assert far == pytest.approx(1e300)


# A pair's cost is its own


@st.composite
def companies(draw):
    """Sequences of unlike types, sizes and offsets, in one collection."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    d = draw(st.sampled_from([1, 3, 6]))
    plain = [("f8", 1, 0), ("f4", 1, 0), ("f8", 1, 1e6), ("f8", 1e-3, -50)]
    extreme = [("f8", 1e-160, 0), ("f8", 1e120, 0), ("f4", 1e12, 1e13)]
    kinds = st.sampled_from([*plain, *extreme, ("f4", 1e-20, 0), ("f8", 0, 0)])
    return [
        (size * rng.normal(size=(rng.integers(2, 9), d)) + offset).astype(dtype)
        for dtype, size, offset in draw(st.lists(kinds, min_size=1, max_size=5))
    ]


@given(
    companies(),
    st.sampled_from([*SCIPY_METRICS]),
    st.sampled_from(
        [
            {},
            dict(window="sakoe_chiba", radius=9, step_pattern="symmetric2"),
            dict(window="itakura"),
            dict(window="multiscale"),
            dict(step_pattern="asymmetricP0", open_end=True),
            dict(max_jump=7, penalty=0.5),
        ]
    ),
)
@settings(deadline=None, max_examples=100)
def test_the_cost_of_a_pair_does_not_depend_on_other_sequences(X, metric, options):
    # products are rounded as the shape of their matrix wants it, and 1 less a cosine
    # even where that is near 0
    is_cosine = metric in ("cosine", "correlation")
    tolerances = {
        np.float32: dict(rel=1e-5, abs=1e-5 * is_cosine),
        np.float64: dict(rel=1e-9, abs=1e-13 * is_cosine),
    }
    found = cdist_dtw(X, metric=metric, **options)
    turned = cdist_dtw(X, X[::-1], metric=metric, **options)[:, ::-1]
    nearest, which = dtw_neighbors(X, X, n_neighbors=len(X), metric=metric, **options)
    for i, j in np.ndindex(found.shape):
        alone = dtw_distance(X[i], X[j], metric=metric, **options)
        close = tolerances[np.result_type(X[i], X[j]).type]
        assert found[i, j] == pytest.approx(alone, **close)
        assert turned[i, j] == pytest.approx(alone, **close)
        among_nearest = nearest[i, which[i].tolist().index(j)]
        assert among_nearest == pytest.approx(alone, **close)


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
