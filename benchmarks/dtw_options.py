"""Open ends, subsequences, limited lengths and runs, and soft-DTW, beside their peers.

    OMP_NUM_THREADS=1 python benchmarks/dtw_options.py --repeats 5

prints a Markdown table: CPU time of each task (least of the repeats, which alternate
between the packages, after a first call that compiles), how many times as long the peer
takes, whether both find the same, and the memory that ours allocates at most.
dtaidistance and tslearn are the peers; those that are not installed are left out. Runs
of limited length, which no peer has, are beside the path without a limit.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np

from mmfusion.alignment import (
    cdist_soft_dtw,
    dtw_distance,
    dtw_path,
    dtw_subsequences,
    soft_dtw_gradient,
)

SHARE = 0.1  # of the frames: what open ends leave out, and what paths are longer

Task = tuple[str, Callable[[], Any], str, Callable[[], Any], Callable[[Any], Any]]


def walks(n_frames: int, d: int = 1, n: int = 2, seed: int = 0) -> np.ndarray:
    """Random walks of d features."""
    return np.random.default_rng(seed).normal(size=(n, n_frames, d)).cumsum(axis=1)


def open_ends() -> Iterator[Task]:
    """Frames of both sequences may be left out at both ends."""
    for n_frames in (200, 1000, 5000):
        x, y = walks(n_frames)[:, :, 0]
        most = int(SHARE * n_frames)
        ends = dict(open_begin=(most, most), open_end=(most, most))
        yield (
            f"open ends, distance, T={n_frames}",
            lambda x=x, y=y, ends=ends: dtw_distance(x, y, **ends),
            "dtaidistance.dtw",
            lambda dtw, x=x, y=y, psi=most: dtw.distance_fast(x, y, psi=psi) ** 2,
            float,
        )
        yield (
            f"open ends, path, T={n_frames}",
            lambda x=x, y=y, ends=ends: dtw_path(x, y, **ends).cost,
            "dtaidistance.dtw",
            lambda dtw, x=x, y=y, psi=most: (
                np.square(
                    [x[i] - y[j] for i, j in dtw.warping_path_fast(x, y, psi=psi)]
                )
            ).sum(),
            float,
        )
        band = dict(window="sakoe_chiba", radius=most)
        yield (
            f"the same in a band, distance, T={n_frames}",
            lambda x=x, y=y, o=ends | band: dtw_distance(x, y, **o),
            "dtaidistance.dtw",
            lambda dtw, x=x, y=y, r=most: (
                dtw.distance_fast(x, y, psi=r, window=r + 1) ** 2
            ),
            float,
        )


def subsequences() -> Iterator[Task]:
    """The k best matches of a query; the peer's sum is that of its own k."""
    for n, m, k in ((100, 5000, 1), (100, 5000, 10), (200, 20_000, 10)):
        query, series = walks(n)[0, :, 0], walks(m, seed=1)[0, :, 0]

        def theirs(package: Any, q=query, s=series, k=k) -> np.ndarray:
            found = package.subsequence_alignment(q, s, penalty=0, use_c=True)
            best = list(found.kbest_matches_fast(k=k))
            return np.square([len(q) * match.value for match in best])

        yield (
            f"{k} best of a series, n={n}, m={m}",
            lambda q=query, s=series, k=k: [
                match.cost for match in dtw_subsequences(q, s, k)
            ],
            "dtaidistance.subsequence.dtw",
            theirs,
            lambda costs: float(np.sum(costs)),
        )


def lengths() -> Iterator[Task]:
    """Paths of limited length."""
    for n_frames in (50, 100):
        x, y = walks(n_frames)
        most = int((1 + SHARE) * n_frames)
        yield (
            f"limited length, T={n_frames}",
            lambda x=x, y=y, most=most: dtw_distance(x, y, max_length=most),
            "tslearn.metrics",
            lambda metrics, x=x, y=y, most=most: (
                metrics.dtw_limited_warping_length(x, y, most) ** 2
            ),
            float,
        )


def runs() -> Iterator[Task]:
    """Runs of limited length, beside paths without a limit."""
    for n_frames, longest in ((1000, 5), (3000, 5), (3000, 1000)):
        x, y = walks(n_frames)
        for name, call in (("path", dtw_path), ("distance", dtw_distance)):
            yield (
                f"runs of at most {longest}, {name}, T={n_frames}",
                lambda x=x, y=y, call=call, most=longest: call(x, y, max_jump=most),
                "mmfusion.alignment",
                lambda package, x=x, y=y, name=f"dtw_{name}": getattr(package, name)(
                    x, y
                ),
                lambda found: getattr(found, "cost", found),
            )


def soft() -> Iterator[Task]:
    """Soft-DTW of all pairs; gradients within a window beside those of all cells."""
    for n, n_frames, d in ((40, 100, 1), (30, 200, 3)):
        X = walks(n_frames, d, n)
        yield (
            f"soft-DTW of all pairs of {n}, T={n_frames}, d={d}",
            lambda X=X: cdist_soft_dtw(X, gamma=1.0),
            "tslearn.metrics",
            lambda metrics, X=X: metrics.cdist_soft_dtw(X, gamma=1.0),
            np.sum,
        )
    for n_frames in (200, 1000):
        x, y = walks(n_frames)
        window = dict(window="sakoe_chiba", radius=SHARE)
        yield (
            f"soft-DTW gradient in a band of 10 %, T={n_frames}",
            lambda x=x, y=y, window=window: soft_dtw_gradient(x, y, **window),
            "mmfusion.alignment",
            lambda package, x=x, y=y: package.soft_dtw_gradient(x, y),
            lambda found: found.value,
        )


def measure(task: Task, repeats: int) -> str:
    """Row of the table."""
    name, ours, package, theirs, number = task
    calls = [ours]
    try:
        peer = import_module(package)
        calls.append(lambda: theirs(peer))
    except ImportError:
        pass
    values = [number(call()) for call in calls]  # compiles
    seconds: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, times in zip(calls, seconds, strict=True):
            start = time.process_time()
            call()
            times.append(time.process_time() - start)
    least = [min(times) for times in seconds]
    tracemalloc.start()
    ours()
    megabytes = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    cells = [name, f"{least[0] * 1e3:.2f} ms", f"{megabytes:.1f}"]
    cells.append(package.partition(".")[0])
    if len(least) > 1:
        share = values[0] / values[1] - 1
        agrees = "the same" if abs(share) < 1e-8 else f"ours {share:+.1%}"
        cells += [f"{least[1] / least[0]:.3g}x", agrees]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    heads = ["task", "mmfusion", "MiB", "peer", "peer takes", "cost"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for tasks in (open_ends, subsequences, lengths, runs, soft):
        for task in tasks():
            print(measure(task, repeats), flush=True)


if __name__ == "__main__":
    main()
