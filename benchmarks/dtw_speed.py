"""Dynamic time warping beside the packages that a user would take instead.

    OMP_NUM_THREADS=1 python benchmarks/dtw_speed.py --repeats 5

prints a Markdown table: CPU time of each task (least of the repeats, after a first call
that compiles), and how many times as long others take. Packages that are not installed
are left out; they are best put into an environment of their own, with this package:
tslearn, dtaidistance, aeon, dtw-python, librosa. Every result is compared with ours
before it is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

import numba
import numpy as np

from mmfusion.alignment import cdist_dtw, dtw_distance, dtw_path

PATHS = [
    (1000, 1),
    (2000, 1),
    (5000, 1),
    (1000, 10),
    (2000, 10),
    (5000, 10),
    (2000, 60),
]
LONG = [(20_000, 1), (100_000, 1), (100_000, 10)]
BANDS = [(5000, 1)]
PAIRS = [(200, 200, 1), (100, 200, 10)]
PATTERNS = [  # of dtw-python, by the same names
    "symmetric1",
    "symmetric2",
    "asymmetric",
    "symmetricP05",
    "symmetricP1",
    "symmetricP2",
    "asymmetricP0",
    "asymmetricP05",
    "asymmetricP1",
    "asymmetricP2",
    "mori2006",
    "rigid",
    "typeIc",
    "typeIIc",
    "typeIIIc",
    "typeIVc",
]
TYPES = ["I", "II", "III", "IV", "V", "VI", "VII"]  # of Rabiner and Juang
MULTISCALE = [(3000, 1), (3000, 10), (10_000, 1), (10_000, 10), (30_000, 1)]
RADII = (0.1, 0.03, 0.01)
THREADS = (1, 2, 4)


def walk(n_frames: int, d: int, seed: int) -> np.ndarray:
    """A random walk of d features."""
    return np.random.default_rng(seed).normal(size=(n_frames, d)).cumsum(axis=0)


def paths() -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    """Functions that find a path and give its sum of squared distances."""
    found = {"mmfusion": lambda x, y: dtw_path(x, y).cost}
    with suppress(ImportError):
        tslearn = import_module("tslearn.metrics")
        found["tslearn"] = lambda x, y: tslearn.dtw_path(x, y)[1] ** 2
    with suppress(ImportError):
        one = import_module("dtaidistance.dtw")
        many = import_module("dtaidistance.dtw_ndim")

        def dtaidistance(x: np.ndarray, y: np.ndarray) -> float:
            if x.shape[1] == 1:
                x, y = x.ravel(), y.ravel()
                path = one.warping_path_fast(x, y)
            else:
                path = one.best_path(many.warping_paths_fast(x, y)[1])
            i, j = np.transpose(path)
            return float(((x[i] - y[j]) ** 2).sum())

        found["dtaidistance"] = dtaidistance
    with suppress(ImportError):
        aeon = import_module("aeon.distances")
        found["aeon"] = lambda x, y: aeon.dtw_alignment_path(x.T, y.T)[1]
    with suppress(ImportError):
        dtw = import_module("dtw")
        cdist = import_module("scipy.spatial.distance").cdist
        found["dtw-python"] = lambda x, y: (
            dtw.dtw(cdist(x, y, "sqeuclidean"), step_pattern="symmetric1").distance
        )
    with suppress(ImportError):
        librosa = import_module("librosa.sequence")
        found["librosa"] = lambda x, y: librosa.dtw(x.T, y.T, metric="sqeuclidean")[0][
            -1, -1
        ]
    return found


def bands(radius: int) -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    """Return functions that compute the cost within a band."""
    found = {
        "mmfusion": lambda x, y: dtw_distance(x, y, window="sakoe_chiba", radius=radius)
    }
    with suppress(ImportError):
        tslearn = import_module("tslearn.metrics")
        found["tslearn"] = lambda x, y: (
            tslearn.dtw(
                x, y, global_constraint="sakoe_chiba", sakoe_chiba_radius=radius
            )
            ** 2
        )
    with suppress(ImportError):
        one = import_module("dtaidistance.dtw")
        found["dtaidistance"] = lambda x, y: (
            one.distance_fast(x.ravel(), y.ravel(), window=radius + 1) ** 2
        )
    with suppress(ImportError):
        aeon = import_module("aeon.distances")
        found["aeon"] = lambda x, y: aeon.dtw_distance(
            x.T, y.T, window=radius / max(len(x), len(y))
        )
    return found


def pairs() -> dict[str, Callable[[list[np.ndarray]], float]]:
    """Return functions that compute the sum of the costs of all pairs."""
    found = {"mmfusion": lambda X: cdist_dtw(X).sum()}
    with suppress(ImportError):
        tslearn = import_module("tslearn.metrics")
        found["tslearn"] = lambda X: (tslearn.cdist_dtw(np.array(X)) ** 2).sum()
    with suppress(ImportError):
        one = import_module("dtaidistance.dtw")
        many = import_module("dtaidistance.dtw_ndim")

        def dtaidistance(X: list[np.ndarray]) -> float:
            if X[0].shape[1] == 1:
                table = one.distance_matrix_fast([x.ravel() for x in X])
            else:
                table = many.distance_matrix_fast(X)
            return float((np.asarray(table) ** 2).sum())

        found["dtaidistance"] = dtaidistance
    with suppress(ImportError):
        aeon = import_module("aeon.distances")
        found["aeon"] = lambda X: aeon.dtw_pairwise_distance(
            np.array(X).transpose(0, 2, 1)
        ).sum()
    return found


def measure(functions: dict[str, Any], given: tuple[Any, ...], repeats: int) -> str:
    """Row of the table: our seconds, and the others' as multiples of them."""
    expected, seconds = None, {}
    for name, function in functions.items():
        value = function(*given)  # compiles
        expected = value if expected is None else expected
        assert np.isclose(value, expected, rtol=1e-8), (name, value, expected)
        times = []
        for _ in range(repeats):
            start = time.process_time()
            function(*given)
            times.append(time.process_time() - start)
        seconds[name] = min(times)
    ours = seconds.pop("mmfusion")
    cells = [f"{ours * 1e3:.1f} ms", *(f"{s / ours:.1f}x" for s in seconds.values())]
    return " | ".join(cells)


def patterns() -> dict[str, Callable[[np.ndarray, np.ndarray, str], float]]:
    """Functions that find a path by a step pattern and give its cost."""
    found: dict[str, Any] = {
        "mmfusion": lambda x, y, name: dtw_path(x, y, step_pattern=name).cost
    }
    with suppress(ImportError):
        dtw = import_module("dtw")
        cdist = import_module("scipy.spatial.distance").cdist

        def dtw_python(x: np.ndarray, y: np.ndarray, name: str) -> float:
            pattern = getattr(dtw, name, None)
            if pattern is None:  # rabiner-juang-IIIc
                kind, weighting = name.split("-")[-1][:-1], name[-1]
                pattern = dtw.rabinerJuangStepPattern(
                    1 + TYPES.index(kind), weighting, False
                )
            costs = cdist(x, y, "sqeuclidean")
            return float(dtw.dtw(costs, step_pattern=pattern).distance)

        found["dtw-python"] = dtw_python
    return found


def peak_megabytes(step_pattern: str, n_frames: int) -> float:
    """MB that a path adds to the peak of a process of its own."""
    command = [sys.executable, "-c", PEAK, step_pattern, str(n_frames)]
    done = subprocess.run(command, check=True, capture_output=True)
    return float(done.stdout)


def warped(n_frames: int, d: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A walk, and itself at a pace that varies; both with noise."""
    rng = np.random.default_rng(seed)
    x = walk(n_frames, d, seed)
    x /= x.std()
    u = np.linspace(0, 1, n_frames)
    pace = np.exp(np.interp(u, np.linspace(0, 1, 12), rng.normal(0, 0.7, 12)))
    t = pace.cumsum()
    t = (t - t[0]) / (t[-1] - t[0]) * (n_frames - 1)
    y = np.column_stack([np.interp(t, np.arange(n_frames), z) for z in x.T])
    noise = rng.normal(0, 0.1, size=(2, n_frames, d))
    return x + noise[0], y + noise[1]


def multiscale_row(x: np.ndarray, y: np.ndarray, repeats: int) -> str:
    """Time of the exact path, and speed and error of 'multiscale' for each radius."""
    options: list[dict[str, Any]] = [{}]
    options += [dict(window="multiscale", radius=radius) for radius in RADII]
    costs = [dtw_path(x, y, **given).cost for given in options]
    times: list[list[float]] = [[] for _ in options]
    for _ in range(repeats):  # in turns, since other processes use the same cores
        for k, given in enumerate(options):
            start = time.process_time()
            dtw_path(x, y, **given)
            times[k].append(time.process_time() - start)
    exact, *others = map(min, times)
    cells = [f"{exact * 1e3:.0f} ms"]
    for seconds, cost in zip(others, costs[1:], strict=True):
        cells.append(f"{exact / seconds:.1f}x, {cost / costs[0] - 1:.2%}")
    return " | ".join(cells)


@numba.njit(nogil=True)
def spin(n: int) -> float:
    """A loop without memory: what two threads gain on this machine."""
    total = 0.0
    for i in range(n):
        total = total * 0.5 + i
    return total


def thread_rows(repeats: int) -> None:
    """Wall time of one thread over that of more, beside a control that must scale."""
    joblib = import_module("joblib")
    spin(1)
    X = [walk(200, 1, seed) for seed in range(200)]

    def control(n_jobs: int) -> None:
        tasks = (joblib.delayed(spin)(50_000_000) for _ in range(8))
        joblib.Parallel(n_jobs, prefer="threads")(tasks)

    for name, call in (
        ("control: an independent loop per thread", control),
        ("cdist_dtw, 200 of T=200", lambda n_jobs: cdist_dtw(X, n_jobs=n_jobs)),
    ):
        seconds: dict[int, list[float]] = {n_jobs: [] for n_jobs in THREADS}
        call(2)
        for _ in range(repeats):
            for n_jobs, times in seconds.items():
                start = time.perf_counter()
                call(n_jobs)
                times.append(time.perf_counter() - start)
        best = {n_jobs: min(times) for n_jobs, times in seconds.items()}
        gains = [f"{best[1] / best[n_jobs]:.2f}x" for n_jobs in THREADS[1:]]
        print(
            f"| {name} | {best[1] * 1e3:.0f} ms |", " | ".join(gains), "|", flush=True
        )


PEAK = """
import pathlib, sys
import numpy as np
from mmfusion.alignment import dtw_path
def peak():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**10
n_frames = int(sys.argv[2])
x, y = np.random.default_rng(0).normal(size=(2, n_frames, 1)).cumsum(axis=1)
dtw_path(x[:50], y[:50], step_pattern=sys.argv[1])
before = peak()
dtw_path(x, y, step_pattern=sys.argv[1])
print(peak() - before)
"""

ALONE = """
import json, pathlib, sys, time
import numpy as np
from mmfusion.alignment import dtw_path
n_frames, d = map(int, sys.argv[1:])
x, y = np.random.default_rng(0).normal(size=(2, n_frames, d)).cumsum(axis=1)
start = time.process_time()
dtw_path(x[:20], y[:20])
first = time.process_time() - start
start = time.process_time()
found = dtw_path(x, y)
seconds = time.process_time() - start
status = pathlib.Path("/proc/self/status").read_text()  # resource has the parent's peak
peak = int(status.partition("VmHWM:")[2].split()[0]) / 2**20
print(json.dumps([first, seconds, peak]))
"""


def alone(n_frames: int, d: int, **environment: str) -> list[float]:
    """Seconds of a first call, those of a long path, and GB of a process of its own."""
    command = [sys.executable, "-c", ALONE, str(n_frames), str(d)]
    done = subprocess.run(
        command, env=os.environ | environment, check=True, capture_output=True
    )
    return json.loads(done.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print("| task |", " | ".join(paths()), "|")
    print("|---" * (1 + len(paths())) + "|")
    for n_frames, d in PATHS:
        given = walk(n_frames, d, 0), walk(n_frames, d, 1)
        print(f"| path, T={n_frames}, d={d} | {measure(paths(), given, repeats)} |")
    print("\n| step pattern, T=2000 |", " | ".join(patterns()), "| MB |")
    print("|---" * (2 + len(patterns())) + "|")
    for name in [*PATTERNS, *(f"rabiner-juang-{kind}c" for kind in TYPES)]:
        given = walk(2000, 1, 0), walk(2000, 1, 1), name
        row = measure(patterns(), given, repeats)
        print(f"| {name} | {row} | {peak_megabytes(name, 2000):.1f} |", flush=True)
    heads = [f"radius={radius}: speed, excess cost" for radius in RADII]
    print("\n| 'multiscale' | exact |", " | ".join(heads), "|")
    print("|---" * (2 + len(RADII)) + "|")
    for n_frames, d in MULTISCALE:
        noise = np.random.default_rng(5).normal(size=(2, n_frames, d))
        for name, pair in (
            ("two walks", (walk(n_frames, d, 0), walk(n_frames, d, 1))),
            ("a warped walk", warped(n_frames, d, 2)),
            ("noise", (noise[0], noise[1])),
        ):
            row = multiscale_row(*pair, min(repeats, 3))
            print(f"| {name}, T={n_frames}, d={d} | {row} |", flush=True)
    print("\n| threads | 1 |", " | ".join(map(str, THREADS[1:])), "|")
    print("|---" * (1 + len(THREADS)) + "|")
    thread_rows(repeats)
    print("\n| task | CPU seconds | GB of the process at most |\n|---|---|---|")
    for n_frames, d in LONG:
        _, seconds, peak = alone(n_frames, d)
        print(f"| path, T={n_frames}, d={d} | {seconds:.1f} | {peak:.2f} |")
    with tempfile.TemporaryDirectory() as folder:
        for where in ("nothing cached", "cached on disk"):
            first = alone(20, 1, NUMBA_CACHE_DIR=folder)[0]
            print(f"| first call, {where} | {first:.1f} | |")
    print("\n| task |", " | ".join(bands(1)), "|")
    print("|---" * (1 + len(bands(1))) + "|")
    for n_frames, d in BANDS:
        given = walk(n_frames, d, 0), walk(n_frames, d, 1)
        row = measure(bands(n_frames // 10), given, repeats)
        print(f"| band of 10 %, T={n_frames}, d={d} | {row} |")
    print("\n| task |", " | ".join(pairs()), "|")
    print("|---" * (1 + len(pairs())) + "|")
    for n, n_frames, d in PAIRS:
        given = ([walk(n_frames, d, seed) for seed in range(n)],)
        row = measure(pairs(), given, min(repeats, 3))
        print(f"| all pairs of {n}, T={n_frames}, d={d} | {row} |")


if __name__ == "__main__":
    main()
