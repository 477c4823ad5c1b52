"""Step patterns of any moves, row by row: sections, windows, memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.alignment import StepPattern, dtw_distance, dtw_path
from mmfusion.alignment.dtw import _move_rows
from mmfusion.alignment.dtw._step_patterns import STEP_PATTERNS, diagonal_weight

from .slow_dtw import slow_pattern
from .test_dtw import cost_tables, step_patterns

BY_ROWS = [name for name, p in STEP_PATTERNS.items() if diagonal_weight(p) is None]


def check_best(costs, pattern, allowed, **options):
    """The path is the best within the cells that are allowed, if there is one."""
    masked = np.where(allowed, costs, np.inf)
    expected = slow_pattern(masked, pattern.moves)[-1]
    options |= dict(metric="precomputed", step_pattern=pattern)
    if np.isinf(expected):
        with pytest.raises(ValueError, match="no path"):
            dtw_path(costs, **options)
        return
    found = dtw_path(costs, **options)
    assert found.cost == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert dtw_distance(costs, **options) == found.cost
    # there is a path through its own cells, which costs as much
    own = np.full(costs.shape, np.inf)
    own[tuple(found.path.T)] = masked[tuple(found.path.T)]
    assert slow_pattern(own, pattern.moves)[-1] == pytest.approx(found.cost, rel=1e-9)


@given(cost_tables(), step_patterns(), st.integers(1, 5))
@settings(deadline=None, max_examples=150)
def test_sections_of_any_size_find_the_same_path(costs, pattern, n_rows):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_move_rows, "SMALLEST_SECTION_ROWS", n_rows)
        check_best(costs, pattern, np.full(costs.shape, True))


@pytest.mark.parametrize("name", BY_ROWS)
def test_named_step_patterns_cross_sections(name, monkeypatch):
    monkeypatch.setattr(_move_rows, "SMALLEST_SECTION_ROWS", 4)
    costs = np.random.default_rng(0).exponential(size=(18, 14))
    check_best(costs, STEP_PATTERNS[name], np.full(costs.shape, True))


@pytest.mark.parametrize("within_rows", [False, True])
def test_rows_of_more_columns_than_a_pass_are_computed_whole(within_rows):
    m = 2 * _move_rows.COLUMNS_PER_PASS + 10
    moves = [[(1, m // 3, 1.0)], [(1, m // 3 + 1, 1.0), (1, 0, 0.5)]]
    if within_rows:
        moves.append([(0, 1, 1.0)])
    pattern = StepPattern("leaps", moves, "rows")
    costs = np.random.default_rng(0).exponential(size=(4, m))
    options = dict(metric="precomputed", step_pattern=pattern, open_end=True)
    expected = slow_pattern(costs, moves).min()
    assert dtw_path(costs, **options).cost == pytest.approx(expected)


def test_steps_of_whole_sequences_join_their_ends():
    leap = StepPattern("leap", (((4, 6, 2.0),), ((9, 1, 1.0),)), "path")
    costs = np.random.default_rng(0).exponential(size=(5, 7))
    found = dtw_path(costs, metric="precomputed", step_pattern=leap)
    assert found.path.tolist() == [[0, 0], [4, 6]]
    assert found.cost == costs[0, 0] + 2 * costs[4, 6]


@pytest.mark.parametrize("metric", ["sqeuclidean", "euclidean", "cosine", "manhattan"])
@pytest.mark.parametrize(("d", "dtype"), [(1, float), (7, float), (7, np.float32)])
def test_sequences_cost_what_their_matrix_of_costs_does(metric, d, dtype):
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(n, d)).astype(dtype) for n in (70, 90))
    matrix = np.array([[dtw_distance([a], [b], metric=metric) for b in y] for a in x])
    for name in ("asymmetric", "typeIIIc"):
        found = dtw_path(x, y, metric=metric, step_pattern=name)
        given = dtw_path(matrix, metric="precomputed", step_pattern=name)
        assert found.cost == pytest.approx(
            given.cost, rel=1e-9 if dtype is float else 1e-5
        )


@pytest.mark.parametrize(("name", "look_back"), [("asymmetric", 1), ("typeIIc", 2)])
def test_memory_is_that_of_a_few_rows(name, look_back):
    x, y = np.random.default_rng(0).normal(size=(2, 1500, 1))
    used = []
    for call in (dtw_distance, dtw_path):
        call(x, y, step_pattern=name)
        tracemalloc.start()
        call(x, y, step_pattern=name)
        used.append(tracemalloc.get_traced_memory()[1] / (len(y) * 8))
        tracemalloc.stop()
    rows_of_section = _move_rows.SMALLEST_SECTION_ROWS
    assert used[0] < 2 * (look_back + 1) + _move_rows.ROWS_OF_COSTS + 10
    assert used[1] < used[0] + look_back * len(x) / rows_of_section + 30
