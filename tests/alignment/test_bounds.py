"""Compiled kernels stay within their arrays, over random shapes.

`make test-bounds` runs all of this with numba's bounds checks, which the vectors of
`_simd` honour too; an index outside of its array raises an IndexError then. The
default suite runs the recurrences of arbitrary step patterns so, in a process of its
own, since numba reads the setting when it is imported.
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numba
import numpy as np
import pytest
from numba import config

from mmfusion._simd import WIDTH, load, store
from mmfusion.alignment import (
    StepPattern,
    cdist_dtw,
    dtw_barycenter,
    dtw_distance,
    dtw_neighbors,
    dtw_path,
    lb_improved,
    soft_dtw,
    soft_dtw_alignment,
    soft_dtw_gradient,
)
from mmfusion.alignment.dtw import _row_blocks
from mmfusion.alignment.dtw._costs import LOCAL_METRICS
from mmfusion.alignment.dtw._windows import least_radius

ROUNDS = 60
checked = pytest.mark.skipif(not config.BOUNDSCHECK, reason="`make test-bounds`")


def sequences(rng, most_frames=300):
    """Two sequences of one type and few or many features, often short or equal."""
    d = int(rng.choice([1, 2, 4, 5, 9, 17]))
    lengths = rng.choice([1, 2, 15, 16, 17, 31, 33, most_frames], 2)
    if rng.integers(2):
        lengths = rng.integers(1, most_frames, 2)
    dtype = rng.choice([np.float32, np.float64])
    return [rng.normal(size=(n, d)).astype(dtype) for n in lengths]


def window_options(rng, x, y):
    """A window that holds a path, or none."""
    radius = least_radius(len(x), len(y)) + int(rng.choice([0, 1, 5, 400]))
    return [
        {},
        {"window": "sakoe_chiba", "radius": radius},
        {"window": "itakura", "max_slope": float(rng.choice([1, 1.5, 50]))},
        {"window": "multiscale", "radius": int(rng.integers(0, 9))},
    ][rng.integers(4)]


@checked
def test_vectors_outside_of_their_arrays_are_found():
    @numba.njit
    def copy(array, i, j):
        store(array, j, load(array, i))

    copy(np.zeros(2 * WIDTH), 0, WIDTH)
    for i, j in ((-1, 0), (WIDTH + 1, 0), (0, WIDTH + 1)):
        with pytest.raises(IndexError, match="outside of its array"):
            copy(np.zeros(2 * WIDTH), i, j)


@checked
@pytest.mark.parametrize("metric", LOCAL_METRICS)
def test_paths_by_row_blocks(metric, monkeypatch):
    rng = np.random.default_rng(LOCAL_METRICS.index(metric))
    for _ in range(ROUNDS):
        monkeypatch.setattr(
            _row_blocks, "SMALLEST_SECTION", int(rng.choice([16, 32, 64]))
        )
        monkeypatch.setattr(
            _row_blocks, "CELLS_PER_SECTION_ROW", int(rng.choice([1, 2**20]))
        )
        x, y = sequences(rng)
        options = {
            "metric": metric,
            "step_pattern": str(rng.choice(["symmetric1", "symmetric2"])),
            "penalty": float(rng.choice([0, 0.5])),
        }
        options |= window_options(rng, x, y)
        if "window" not in options:
            options["open_end"] = bool(rng.integers(2))
            options["open_begin"] = bool(rng.integers(2))
        path = dtw_path(x, y, **options).path
        assert path[-1, 0] == len(x) - 1
        dtw_distance(x, y, **options)


@checked
def test_given_costs_by_row_blocks():
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        costs = rng.uniform(size=rng.integers(1, 200, 2))
        dtw_path(costs.astype(rng.choice([np.float32, float])), metric="precomputed")


@checked
@pytest.mark.parametrize("metric", LOCAL_METRICS)
def test_many_pairs_and_neighbors(metric):
    rng = np.random.default_rng(LOCAL_METRICS.index(metric))
    for _ in range(ROUNDS // 4):
        d, dtype = int(rng.choice([1, 3, 6])), rng.choice([np.float32, np.float64])
        X, Y = (
            [rng.normal(size=(m, d)).astype(dtype) for m in rng.integers(1, 60, n)]
            for n in rng.integers(2, 9, 2)
        )
        band = {"window": "sakoe_chiba", "radius": int(rng.choice([60, 200]))}
        for options in ({}, band, {**band, "radius": 1.0}):
            cdist_dtw(X, Y, metric=metric, **options)
            cdist_dtw(X, metric=metric, **options)
            for others, n_neighbors in ((Y, len(Y)), (Y, 1), (None, 1)):
                found = dtw_neighbors(
                    X, others, n_neighbors=n_neighbors, metric=metric, **options
                )
                assert found[1].max() < len(X if others is None else others)


@checked
def test_narrow_bands_of_neighbors_and_bounds():
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        d, n = int(rng.choice([1, 3])), int(rng.integers(1, 90))
        X = list(rng.normal(size=(int(rng.integers(2, 9)), n, d)).cumsum(axis=1))
        radius = int(rng.integers(0, n + 2))
        dtw_neighbors(X, window="sakoe_chiba", radius=radius)
        x, y = sequences(rng, 90)
        radius = least_radius(len(x), len(y)) + int(rng.integers(0, 9))
        for given in (radius, 1.0, None):
            lb_improved(x, y, given)


@checked
@pytest.mark.parametrize("metric", LOCAL_METRICS)
def test_soft_minima(metric):
    rng = np.random.default_rng(LOCAL_METRICS.index(metric))
    for _ in range(ROUNDS // 2):
        x, y = sequences(rng)
        soft_dtw(x, y, metric=metric)
        soft_dtw_alignment(x, y, metric=metric)
        soft_dtw_gradient(x, y, divergence=bool(rng.integers(2)))


@checked
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_barycenters(gamma):
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS // 4):
        d = int(rng.choice([1, 6]))
        X = [rng.normal(size=(n, d)) for n in rng.integers(1, 40, rng.integers(1, 5))]
        dtw_barycenter(X, n_frames=int(rng.integers(1, 40)), gamma=gamma, max_iter=2)


def random_pattern(rng):
    """Any pattern; some lead far beyond short sequences."""
    moves = []
    for _ in range(rng.choice([1, 3, 8, 200])):
        steps = rng.integers(0, rng.choice([2, 4, 50]), (rng.integers(1, 4), 2))
        steps[~steps.any(axis=1), rng.integers(2)] = 1
        moves.append([(*step, float(rng.integers(0, 3))) for step in steps.tolist()])
    divisor = str(rng.choice(["both", "columns", "path", "rows"]))
    return StepPattern("random", [*moves, [(1, 1, 1.0)], [(0, 1, 1.0)]], divisor)


@checked
def test_any_step_pattern():
    rng = np.random.default_rng(0)
    for _ in range(3 * ROUNDS):
        costs = rng.uniform(size=rng.integers(1, 40, 2))
        costs[rng.uniform(size=costs.shape) < 0.1] = np.inf
        pattern = random_pattern(rng)
        with suppress(ValueError):  # no path; an index outside is an IndexError
            dtw_path(
                costs,
                metric="precomputed",
                step_pattern=pattern,
                open_begin=bool(rng.integers(2)),
                open_end=bool(rng.integers(2)),
            )


@checked
def test_any_limit_of_runs():
    rng = np.random.default_rng(0)
    for _ in range(3 * ROUNDS):
        costs = rng.uniform(size=(rng.integers(3, 40), rng.integers(1, 40)))
        costs[rng.uniform(size=costs.shape) < 0.1] = np.inf
        options = {
            "max_jump": int(rng.integers(0, max(costs.shape) - 1)),
            "step_pattern": str(rng.choice(["symmetric1", "symmetric2"])),
            "open_begin": bool(rng.integers(2)),
            "open_end": bool(rng.integers(2)),
        }
        with suppress(ValueError):  # no path
            dtw_path(costs, metric="precomputed", **options)


@pytest.mark.skipif(bool(config.BOUNDSCHECK), reason="they are checked already")
def test_step_patterns_within_bounds(tmp_path):
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1"}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path)
    environment.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    here = Path(__file__)
    done = subprocess.run(
        [*command, "-p", "no:xdist", str(here), "-k", "any_step or any_limit"],
        env=environment,
        cwd=here.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert "2 passed" in done.stdout
