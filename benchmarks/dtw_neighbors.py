"""The nearest neighbour by dynamic time warping, with and without lower bounds.

    OMP_NUM_THREADS=1 python benchmarks/dtw_neighbors.py --data FOLDER

prints a Markdown table: CPU time of finding the nearest of N sequences for each of Q,
in a band of 10 %, by `dtw_neighbors`; how many times as long it takes to compute all
costs by `cdist_dtw`, and by other packages that are installed; and the share of pairs
that each stage settles. Every neighbour is compared with that of `cdist_dtw`. All take
turns, and the least time of each counts. Where nothing can be excluded (noise, many
features), the trials that find that out are to cost 3 % at most.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mmfusion.alignment import cdist_dtw, dtw_neighbors
from mmfusion.alignment.dtw._neighbors import search_neighbors
from mmfusion.datasets import load_npz

SHARE = 0.1
BAND = {"window": "sakoe_chiba", "radius": SHARE}
WALKS = [(200, 1), (200, 9), (200, 10), (1000, 1)]
NOISE = [(200, 1), (200, 10), (60, 10)]
Sequences = list[np.ndarray]


def walks(n: int, n_frames: int, d: int, seed: int) -> Sequences:
    """Random walks of mean 0 and variance 1."""
    steps = np.random.default_rng(seed).normal(size=(n, n_frames, d))
    found = steps.cumsum(axis=1)
    found -= found.mean(axis=1, keepdims=True)
    return list(found / found.std(axis=(1, 2), keepdims=True))


def noise(n: int, n_frames: int, d: int, seed: int) -> Sequences:
    """Independent frames, which no bound tells apart."""
    return list(np.random.default_rng(seed).normal(size=(n, n_frames, d)))


def peers() -> dict[str, Callable[[Sequences, Sequences], np.ndarray]]:
    """Return functions that find the nearest of the second for each of the first."""
    found: dict[str, Callable[[Sequences, Sequences], np.ndarray]] = {
        "cdist_dtw": lambda X, Y: cdist_dtw(X, Y, **BAND).argmin(axis=1)
    }
    with suppress(ImportError):
        neighbors = import_module("tslearn.neighbors")

        def tslearn(X: Sequences, Y: Sequences) -> np.ndarray:
            radius = int(SHARE * len(X[0]))
            params = {
                "global_constraint": "sakoe_chiba",
                "sakoe_chiba_radius": radius,
            }
            model = neighbors.KNeighborsTimeSeries(
                1, metric="dtw", metric_params=params
            )
            return model.fit(np.array(Y)).kneighbors(np.array(X))[1][:, 0]

        found["tslearn"] = tslearn
    with suppress(ImportError):
        aeon = import_module("aeon.distances")
        found["aeon"] = lambda X, Y: aeon.dtw_pairwise_distance(
            np.array(X).transpose(0, 2, 1),
            np.array(Y).transpose(0, 2, 1),
            window=SHARE,
        ).argmin(axis=1)
    with suppress(ImportError):
        one = import_module("dtaidistance.dtw")
        many = import_module("dtaidistance.dtw_ndim")

        def dtaidistance(X: Sequences, Y: Sequences) -> np.ndarray:
            module = one if X[0].shape[1] == 1 else many
            given = [z.ravel() if module is one else z for z in [*X, *Y]]
            block = ((0, len(X)), (len(X), len(given)))
            table = module.distance_matrix_fast(
                given, window=int(SHARE * len(X[0])) + 1, block=block, parallel=False
            )
            return np.asarray(table)[: len(X), len(X) :].argmin(axis=1)

        found["dtaidistance"] = dtaidistance
    return found


def in_turns(calls: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Least CPU time of each, after first calls that compile."""
    times: list[list[float]] = [[] for _ in calls]
    for k in range(repeats + 1):
        for call, own in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            if k:
                own.append(time.process_time() - start)
    return [min(own) for own in times]


def row(name: str, X: Sequences, Y: Sequences, repeats: int) -> str:
    """Row of the table."""
    indices, counts = search_neighbors(X, Y, 1, None, **BAND)[1:]
    calls: list[Callable[[], Any]] = [lambda: dtw_neighbors(X, Y, **BAND)]
    for peer, find in peers().items():
        agree = (find(X, Y) == indices[:, 0]).mean()
        assert agree > 0.98, (peer, agree)  # windows of a fraction are rounded
        calls.append(lambda f=find: f(X, Y))
    ours, *theirs = in_turns(calls, repeats)
    cells = [f"{name}, {len(X)} of {len(Y)}", f"{ours * 1e3:.0f} ms"]
    cells += [f"{seconds / ours:.2f}x" for seconds in theirs]
    cells += [f"{100 * share:.1f} %" for share in counts / counts.sum()]
    return "| " + " | ".join(cells) + " |"


def row_of_self(name: str, X: Sequences, repeats: int) -> str:
    """Row of a search among the sequences themselves, beside all their costs."""
    calls = [lambda: dtw_neighbors(X, **BAND), lambda: cdist_dtw(X, **BAND)]
    ours, costs = in_turns(calls, repeats)
    cells = [f"{name}, {len(X)} among themselves", f"{ours * 1e3:.0f} ms"]
    return "| " + " | ".join([*cells, f"{costs / ours:.2f}x"]) + " |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of ts_articularyword.npz")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    stages = ["both ends", "one envelope", "two", "given up", "in full"]
    heads = ["task", "dtw_neighbors", *peers(), *stages]
    print("| " + " | ".join(heads) + " |")
    print("|---" * len(heads) + "|")
    for n_frames, d in WALKS:
        X, Y = walks(20, n_frames, d, 0), walks(500, n_frames, d, 1)
        print(row(f"walks, T={n_frames}, d={d}", X, Y, given.repeats), flush=True)
    for n_frames, d in NOISE:
        X, Y = noise(20, n_frames, d, 0), noise(500, n_frames, d, 1)
        print(row(f"noise, T={n_frames}, d={d}", X, Y, given.repeats), flush=True)
    for make, name in ((walks, "walks"), (noise, "noise")):
        for n_frames, d in NOISE:
            title = f"{name}, T={n_frames}, d={d}"
            print(
                row_of_self(title, make(150, n_frames, d, 1), given.repeats), flush=True
            )
    if given.data:
        loaded = load_npz(given.data / "ts_articularyword.npz")
        blocks = loaded.data.blocks
        whole = [
            np.concatenate(parts, axis=1).astype(float)
            for parts in zip(*blocks, strict=True)
        ]
        is_test = loaded.extra["split"] == 1
        for name, width in (("first channel", 1), ("all 9", whole[0].shape[1])):
            cut = [np.ascontiguousarray(frames[:, :width]) for frames in whole]
            X = [cut[i] for i in np.flatnonzero(is_test)[:100]]
            Y = [cut[i] for i in np.flatnonzero(~is_test)]
            print(row(f"articularyword, {name}", X, Y, given.repeats), flush=True)


if __name__ == "__main__":
    main()
