"""Windows: a path is found exactly if there is one, by any step pattern."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.alignment import dtw_path
from mmfusion.alignment.dtw import _path
from mmfusion.alignment.dtw._step_patterns import STEP_PATTERNS, diagonal_weight
from mmfusion.alignment.dtw._windows import around_path, itakura

from .slow_dtw import slow_costs, slow_limited, slow_pattern
from .test_dtw import step_patterns
from .test_move_rows import check_best

named_patterns = st.sampled_from(list(STEP_PATTERNS.values()))


def in_band(n, m, radius):
    """Cells within the radius of the line, in frames of the longer sequence."""
    i, j = np.indices((n, m))
    if min(n, m) == 1:
        return np.full((n, m), True)
    slope = (m - 1) / (n - 1)
    distance = np.abs(j - i * slope) / min(slope, 1)
    return distance <= radius + 1e-8


def in_parallelogram(n, m, max_slope):
    window = itakura(n, m, max_slope)
    j = np.arange(m)
    return (window.starts[:, None] <= j) & (j < window.stops[:, None])


@given(
    st.integers(1, 14),
    st.integers(1, 14),
    st.one_of(named_patterns, step_patterns()),
    st.sampled_from(["sakoe_chiba", "itakura"]),
    st.integers(0, 4),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=200)
def test_a_path_is_found_exactly_if_the_window_has_one(
    n, m, pattern, window, radius, seed
):
    costs = np.random.default_rng(seed).exponential(size=(n, m))
    if window == "sakoe_chiba":
        check_best(costs, pattern, in_band(n, m, radius), window=window, radius=radius)
    else:
        slope = 1 + radius / 2
        allowed = in_parallelogram(n, m, slope)
        check_best(costs, pattern, allowed, window=window, max_slope=slope)


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from(["symmetric1", "symmetric2"]),
    st.integers(0, 3),
    st.integers(0, 4),
)
@settings(deadline=None, max_examples=100)
def test_limited_runs_are_found_exactly_if_the_window_has_any(
    n, m, name, max_jump, radius
):
    costs = np.random.default_rng(0).exponential(size=(n, m))
    masked = np.where(in_band(n, m, radius), costs, np.inf)
    weight = diagonal_weight(STEP_PATTERNS[name])
    expected = slow_limited(masked, max_jump, weight)[-1]
    options = dict(
        metric="precomputed",
        step_pattern=name,
        max_jump=max_jump,
        window="sakoe_chiba",
        radius=radius,
    )
    if np.isinf(expected):
        with pytest.raises(ValueError, match="no path"):
            dtw_path(costs, **options)
    else:
        assert dtw_path(costs, **options).cost == pytest.approx(expected)


@pytest.mark.parametrize(("n", "m"), [(5, 3), (9, 5), (30, 41), (41, 30)])
@pytest.mark.parametrize("name", ["rabiner-juang-IIIc", "typeIVd", "symmetricP1"])
def test_the_smallest_radius_of_a_step_pattern_is_named(n, m, name):
    pattern = STEP_PATTERNS[name]
    costs = np.ones((n, m))
    options = dict(metric="precomputed", step_pattern=pattern, window="sakoe_chiba")
    has_path = [
        bool(np.isfinite(slow_pattern(np.where(w, costs, np.inf), pattern.moves)[-1]))
        for w in (in_band(n, m, radius) for radius in range(12))
    ]
    needed = has_path.index(True)
    dtw_path(costs, radius=needed, **options)
    if needed:
        with pytest.raises(ValueError, match="no path") as caught:
            dtw_path(costs, radius=needed - 1, **options)
        assert re.search(r"smallest radius is (\d+)", str(caught.value))[1] == str(
            needed
        )


def wall(n, m, *rows):
    """Costs of 1, and of inf in some rows."""
    costs = np.ones((n, m))
    costs[list(rows)] = np.inf
    return costs


def beside_the_diagonal(n):
    """Costs that are finite only on the diagonal above the main one, and at corners."""
    costs = np.where(np.eye(n, k=1, dtype=bool), 1.0, np.inf)
    costs[0, 0] = costs[-1, -1] = 1
    return costs


BAND = {"window": "sakoe_chiba"}
P2 = {"step_pattern": "symmetricP2"}
FINITE = r"give finite costs to more of them \({} of {} pairs of frames cost inf\)"


@pytest.mark.parametrize(
    ("costs", "options", "remedies"),
    [
        (wall(4, 5, 0, 1, 2, 3), {}, {FINITE.format(20, 20): None}),
        (wall(4, 5, 2), {**BAND, "radius": 2}, {FINITE.format(5, 20): None}),
        (wall(4, 5, 2), {"max_length": 6}, {FINITE.format(5, 20): None}),
        (
            beside_the_diagonal(5),
            {**BAND, "radius": 0},
            {"the smallest radius is 1": {"radius": 1}, FINITE.format(19, 25): None},
        ),
        (
            beside_the_diagonal(5),
            {"max_jump": 0},
            {"loosen max_jump": {"max_jump": 1}, FINITE.format(19, 25): None},
        ),
        (
            beside_the_diagonal(5),
            {"max_length": 5},
            {"loosen max_length": {"max_length": 6}, FINITE.format(19, 25): None},
        ),
        (
            wall(3, 9),
            P2,
            {"give step_pattern='symmetric1'": {"step_pattern": "symmetric1"}},
        ),
        (
            wall(3, 9),
            {**P2, "window": "itakura"},
            {"give step_pattern='symmetric1'": {"step_pattern": "symmetric1"}},
        ),
        (
            beside_the_diagonal(5),
            {**BAND, "radius": 0, "max_length": 5},
            {FINITE.format(19, 25): None},
        ),
        (
            wall(5, 20),
            {**BAND, "radius": 4, "max_jump": 1},
            {"loosen max_jump": {"max_jump": 4}},
        ),
    ],
)
def test_each_remedy_that_is_named_leaves_a_path(costs, options, remedies):
    with pytest.raises(ValueError, match="no path") as caught:
        dtw_path(costs, metric="precomputed", **options)
    told = str(caught.value).split("constraints; ")[1].split("; or ")
    for said, (words, change) in zip(told, remedies.items(), strict=True):
        assert re.fullmatch(words, said)
        better = np.ones_like(costs) if change is None else costs
        dtw_path(better, metric="precomputed", **options | (change or {}))


def test_constraints_that_only_together_leave_a_path_are_named_together():
    options = dict(metric="precomputed", max_jump=0, **BAND, radius=1)
    together = "loosen window and max_jump together"
    with pytest.raises(ValueError, match=f"; {together}$"):
        dtw_path(np.ones((3, 12)), **options)
    finite = FINITE.format(12, 36)
    with pytest.raises(ValueError, match=f"; {together}, and {finite}$"):
        dtw_path(wall(3, 12, 1), **options)


def test_a_pattern_that_leaps_needs_no_cells_between():
    # two columns per row: the straight line itself is a path
    x, y = np.arange(4.0), np.arange(0, 3.5, 0.5)
    options = dict(window="sakoe_chiba", radius=0)
    found = dtw_path(x, y, step_pattern="asymmetric", **options)
    assert found.path.tolist() == [[0, 0], [1, 2], [2, 4], [3, 6]]
    with pytest.raises(ValueError, match="smallest radius is 1"):
        dtw_path(x, y, **options)


# 'multiscale'


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["symmetric1", "symmetric2", "asymmetric", "typeIIc", "typeIIId"]),
    st.integers(0, 5),
    st.integers(0, 99),
)
@settings(deadline=None, max_examples=100)
def test_a_multiscale_window_refuses_no_path(n, m, name, radius, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 2)), rng.normal(size=(m, 2))
    costs, pattern = slow_costs(x, y), STEP_PATTERNS[name]
    least = slow_pattern(costs, pattern.moves)[-1]
    options = dict(window="multiscale", radius=radius, step_pattern=name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_path, "LEAST_MULTISCALE_FRAMES", 9)
        if np.isinf(least):
            with pytest.raises(ValueError, match="no path"):
                dtw_path(x, y, **options)
            return
        found = dtw_path(x, y, **options)
        whole = dtw_path(x, y, **options | dict(radius=max(n, m)))
    assert found.cost >= least * (1 - 1e-9)
    assert whole.cost == pytest.approx(least)
    own = np.full(costs.shape, np.inf)
    own[tuple(found.path.T)] = costs[tuple(found.path.T)]
    assert slow_pattern(own, pattern.moves)[-1] == pytest.approx(found.cost)


@pytest.mark.parametrize(("n", "m"), [(23, 31), (31, 23), (24, 24)])
@pytest.mark.parametrize("radius", [0, 1, 6])
def test_the_window_around_a_path_holds_the_frames_near_it(n, m, radius):
    steps = np.random.default_rng(0).integers(0, 2, (9, 2))
    path = np.minimum(np.cumsum([[0, 0], *steps], axis=0), [(n - 1) // 8, (m - 1) // 8])
    path = np.unique(path, axis=0)
    allowed = np.full((n, m), False)
    for i, j in path:
        rows, columns = slice(8 * i, 8 * i + 8), slice(8 * j, 8 * j + 8)
        if m >= n:
            columns = slice(max(0, 8 * j - radius), 8 * j + 8 + radius)
        else:
            rows = slice(max(0, 8 * i - radius), 8 * i + 8 + radius)
        allowed[rows, columns] = True
    window = around_path(path, n, m, 8, radius)
    for row, start, stop in zip(allowed, window.starts, window.stops, strict=True):
        own = np.flatnonzero(row)
        if len(own):
            assert (start, stop) == (own[0], own[-1] + 1)
