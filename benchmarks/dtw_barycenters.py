"""DTW barycenters beside those of tslearn.

    OMP_NUM_THREADS=1 python benchmarks/dtw_barycenters.py --repeats 5

prints a Markdown table: CPU time of each barycenter of gamma = 0 (least of the repeats,
after a first call that compiles), how many times as long tslearn takes, and the mean
cost that both reach. Both stop by the same rule; the first barycenter is the first
sequence for both, or what each takes by default.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from tslearn.barycenters import dtw_barycenter_averaging
from tslearn.utils import to_time_series_dataset

from mmfusion.alignment import cdist_dtw, dtw_barycenter

RULE: dict[str, Any] = {"max_iter": 30, "tol": 1e-5}
SETS = [(20, 50, 1), (50, 100, 1), (50, 100, 10), (20, 500, 1), (100, 200, 3)]


def paces(n: int, n_frames: int, d: int) -> list[np.ndarray]:
    """A random walk at n paces, of unequal lengths, with noise."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(n_frames, d)).cumsum(axis=0)
    found = []
    for _ in range(n):
        length = rng.integers(n_frames * 4 // 5, n_frames)
        times = np.sort(rng.uniform(0, n_frames - 1, length))
        own = [np.interp(times, np.arange(n_frames), column) for column in base.T]
        found.append(np.column_stack(own) + 0.3 * rng.normal(size=(length, d)))
    return found


def measure(
    function: Callable[[], np.ndarray], X: list[np.ndarray], repeats: int
) -> tuple[float, float]:
    """Least CPU seconds, and the mean cost of the barycenter."""
    cost = float(cdist_dtw([function()], X).mean())
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times), cost


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print("| first barycenter | n | T | d | ms | tslearn | cost | tslearn's |")
    print("|---" * 8 + "|")
    for n, n_frames, d in SETS:
        X = paces(n, n_frames, d)
        padded = to_time_series_dataset(X)
        for start, init in (("a sequence", X[0]), ("default", None)):
            ours, cost = measure(
                lambda X=X, init=init: (
                    dtw_barycenter(X, init=init, random_state=0, **RULE).sequence
                ),
                X,
                repeats,
            )
            theirs, their_cost = measure(
                lambda padded=padded, init=init: dtw_barycenter_averaging(
                    padded, init_barycenter=init, **RULE
                ),
                X,
                repeats,
            )
            print(
                f"| {start} | {n} | {n_frames} | {d} | {ours * 1e3:.1f} | "
                f"{theirs / ours:.1f}x | {cost:.2f} | {their_cost:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
