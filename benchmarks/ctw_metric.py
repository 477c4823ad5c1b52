"""By which local cost should CTWAligner align, once its projections are learned?

    OMP_NUM_THREADS=1 python benchmarks/ctw_metric.py FOLDER [--csv OUT.csv]

prints a Markdown table of mean errors in frames, with the defaults of CTWAligner, the
same projections and three metrics, means over seeds. 'own' are projections of the pair
itself, 'learned' those of other pairs of the set, whose true alignment is not used.
Then each row is left out: the metric of the least mean logarithm of errors on the
others is scored on it, beside the squared distances of the objective.

Sets are those of ``ctw_ridge.py``, and the maps by cosines of ``deep_ctw.py``. A seed
draws pairs, simulated data and the frames that are left. The spirals are mixed anew for
every pair, and performances are long: they have 'own' or a single seed.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from alignment_errors import SETS, Pair, by_path
from ctw_ridge import error, recorded, simulated, spirals
from deep_ctw import fold_of_cosine_maps

from mmfusion.alignment import CTWAligner, dtw_path

METRICS = ("sqeuclidean", "euclidean", "manhattan")
N_LEARNING = 40  # at most
NOISE = {"noise_std": 0.1, "n_noise_features": 3}
CURVED = {"n_features": (10, 6), "nonlinear": True}
SIMULATED = {
    "linear": {"n_features": (4, 6), **NOISE},
    "nonlinear": {**CURVED, **NOISE},
    "noise features": {**CURVED, "n_noise_features": 25},
    "short": {"n_features": (8, 8), "n_frames": 40, **NOISE},
}
RECORDED = {"words": "ts_articularyword", "vowels": "ts_japanesevowels"}
Sample = tuple[np.ndarray, np.ndarray]
Folds = list[tuple[list[Sample], list[Pair]]]


def halves(pairs: list[Pair]) -> Folds:
    """Pairs for learning and pairs for errors."""
    half = len(pairs) // 2
    return [([own.own for own in pairs[:half]], pairs[half:])]


def folds(folder: Path, n_pairs: int, seed: int, first: bool) -> Iterator:
    """Yield the name of each set, and its folds."""
    for name, (make, _) in SETS.items():
        if first or name != "performances":
            n_folds = {"silhouettes": 3, "mixed sensors": 5}.get(name, 1)
            n_each = 2 if name == "performances" else -(-n_pairs // n_folds)
            rng = np.random.default_rng(seed)
            yield name, make(folder, n_each, rng).folds
    rng = np.random.default_rng(seed)
    yield "cosine maps", [fold_of_cosine_maps(folder, n_pairs, rng)]
    for name, options in SIMULATED.items():
        yield name, halves(simulated(2 * n_pairs, seed, **options))
    for name, file in RECORDED.items():
        yield name, halves(recorded(folder, 2 * n_pairs, seed, file))
    yield "spirals", [([], spirals(n_pairs, seed))]


def errors_of(samples: list[Sample], pairs: list[Pair], seconds: list) -> list:
    """Errors of pairs, by metric, with projections of some samples."""
    x, y = zip(*samples, strict=True)
    aligner = CTWAligner().fit({"x": list(x), "y": list(y)})
    found = []
    for pair in pairs:
        z = [
            (frames - aligner.means_[name]) @ aligner.projections_[name]
            for name, frames in zip("xy", pair.own, strict=True)
        ]
        row = []
        for metric in METRICS:
            begin = time.process_time()
            path = dtw_path(*z, metric=metric).path
            seconds.append((metric, time.process_time() - begin))
            row.append(error(pair, by_path(path)))
        found.append(row)
    return found


def measure(folder: Path, n_pairs: int, seeds: list[int]) -> tuple[dict, list]:
    """Mean errors of every row and seed, and the seconds of every path."""
    table: dict[tuple[str, str], list] = {}
    seconds: list[tuple[str, float]] = []
    for seed in seeds:
        for name, own_folds in folds(folder, n_pairs, seed, seed == seeds[0]):
            own, learned = [], []
            for samples, pairs in own_folds:
                for pair in pairs:
                    own += errors_of([pair.own], [pair], seconds)
                if samples:
                    learned += errors_of(samples[:N_LEARNING], pairs, seconds)
            for kind, errors in (("own", own), ("learned", learned)):
                if errors:
                    table.setdefault((name, kind), []).append(np.mean(errors, axis=0))
                    print(seed, name, kind, table[name, kind][-1], file=sys.stderr)
    return table, seconds


def leave_one_out(errors: np.ndarray) -> None:
    """Print the metric that is best on the other rows, scored on each."""
    losses = np.log(errors) - np.log(errors[:, :1])
    chosen = [np.delete(losses, k, axis=0).mean(0).argmin() for k in range(len(losses))]
    scored = [own[best] for own, best in zip(losses, chosen, strict=True)]
    counts = {METRICS[k]: chosen.count(k) for k in dict.fromkeys(chosen)}
    ratios = dict(zip(METRICS, np.exp(losses.mean(axis=0)).round(3), strict=True))
    print(f"\nmean ratio of errors to those of squares: {ratios}")
    deviation = np.std(scored, ddof=1) / np.sqrt(len(scored))
    print(f"left out: {counts}, loss {np.mean(scored):+.3f} ({deviation:.3f})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with the real data sets")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--seeds", nargs="+", type=int, default=[*range(40000, 40005)])
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    table, seconds = measure(options.folder, options.pairs, options.seeds)
    rows = [["set", "projections", *METRICS, "seeds at least as good as squares"]]
    for (name, kind), errors in table.items():
        by_seed = np.array(errors)
        n_good = (by_seed[:, 1:] <= by_seed[:, :1]).sum(axis=0)
        counts = f"{n_good[0]}, {n_good[1]} of {len(by_seed)}"
        rows.append([name, kind, *(f"{e:.3f}" for e in by_seed.mean(axis=0)), counts])
    for row in (rows[0], ["---"] * len(rows[0]), *rows[1:]):
        print("|", " | ".join(row), "|")
    leave_one_out(np.array([np.mean(own, axis=0) for own in table.values()]))
    for metric in METRICS:
        ms = 1e3 * np.mean([spent for name, spent in seconds if name == metric])
        print(f"{metric}: {ms:.2f} ms of CPU for a path")
    if options.csv:
        with options.csv.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
