"""Errors of deep canonical time warping beside that of linear projections.

    OMP_NUM_THREADS=1 python benchmarks/deep_ctw.py FOLDER [--csv OUT.csv]

prints a Markdown table, in frames: mean error on pairs that are not learned from, and
in brackets the median, means over seeds; the largest ratio of the error of a seed to
that of CTWAligner; and CPU seconds of a fit. Errors are those of
``alignment_errors.py``, and of ``ctw_toy.py`` for its curves. Nothing is learned from
known matches.

sensors
    Gyroscope under a smooth random warp, and accelerometer (align_warp_basicmotions):
    40 recordings for learning, 40 for errors. A seed is that of the networks.
cosine maps
    Six channels of sensors (ts_basicmotions) seen through two random maps
    ``cos(x A + b)`` to eight features, of which a random share of the frames of one is
    kept: neither modality is a monotone function of the other. A seed draws maps,
    frames and networks.
curves
    The held-out experiment of ``ctw_toy.py``: curves through two tanh maps, with
    features of noise; 12 pairs for learning, 6 for errors.
linear mixing
    Six channels of sensors against a linear mixing of them, for which linear
    projections suffice.

All aligners have ``ridge=0``, which is the default of DeepCTWAligner. 'squares' is
CTWAligner with ``metric='sqeuclidean'``. Options were chosen on seeds 0 to 2 of all
sets.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from alignment_errors import (
    Fold,
    by_path,
    fold_of_sensors,
    kept_frames,
    mixed_sensors,
    sensors,
    split,
    standardised,
)
from ctw_toy import held_out

from mmfusion.alignment import CTWAligner, DeepCTWAligner
from mmfusion.alignment.ctw._warping import warp_error

N_PAIRS = 100  # at most
N_LEARNING = 12  # of the curves
N_MAPPED = 8
GAIN = 1.5

Sample = list[np.ndarray]


class Problem(NamedTuple):
    """Pairs for learning, pairs for errors, and the error of a path of each."""

    learning: list[Sample]
    later: list[Sample]
    errors: list[Callable[[np.ndarray], float]]


def of_fold(fold: Fold) -> Problem:
    """Pairs whose error is the mean absolute deviation."""
    learning, pairs = fold

    def error_of(pair) -> Callable[[np.ndarray], float]:
        def error(path: np.ndarray) -> float:
            found = by_path(path)
            at = np.interp(pair.at, np.arange(len(found)), found)
            return float(np.abs(at - pair.truth).mean())

        return error

    return Problem(
        [list(pair) for pair in learning],
        [list(pair.own) for pair in pairs],
        [error_of(pair) for pair in pairs],
    )


def fold_of_cosine_maps(folder: Path, n_pairs: int, rng: np.random.Generator) -> Fold:
    """Sensors through two random maps that are not monotone."""
    with np.load(folder / "ts_basicmotions.npz") as data:
        whole, test = split(data["frames"], data["lengths"]), data["split"] == 1
    whole = standardised(whole, np.flatnonzero(~test))
    kept = [kept_frames(len(x), rng) for x in whole]
    seen = []
    for _ in range(2):
        mixing = rng.standard_normal((6, N_MAPPED)) * GAIN / np.sqrt(6)
        phase = rng.uniform(0, 2 * np.pi, N_MAPPED)
        seen.append([np.cos(x @ mixing + phase) for x in whole])
    fewer = [x[k] for x, k in zip(seen[0], kept, strict=True)]
    return fold_of_sensors(fewer, seen[1], kept, test, n_pairs, rng)


def curves(seed: int) -> Problem:
    """The pairs of ``ctw_toy.py``."""
    samples, truth = held_out(seed)
    later = truth[N_LEARNING:]
    errors = [lambda path, own=own: warp_error(path, own) for own in later]
    return Problem(samples[:N_LEARNING], samples[N_LEARNING:], errors)


def problem(name: str, folder: Path, seed: int) -> Problem:
    """The pairs of a set."""
    rng = np.random.default_rng(seed)
    if name == "sensors":
        return of_fold(sensors(folder, N_PAIRS, rng).folds[0])
    if name == "cosine maps":
        return of_fold(fold_of_cosine_maps(folder, N_PAIRS, rng))
    if name == "curves":
        return curves(seed)
    return of_fold(mixed_sensors(folder, N_PAIRS, rng).folds[0])


SETS = ("sensors", "cosine maps", "curves", "linear mixing")


def by_name(samples: list[Sample]) -> dict[str, Sample]:
    """Samples as data of aligners."""
    x, y = zip(*samples, strict=True)
    return {"x": list(x), "y": list(y)}


def errors_of(found: Problem, seed: int) -> tuple[list[list[float]], float]:
    """Errors of CTWAligner, with squares and by default, and of networks."""
    learning = by_name(found.learning)
    squares = CTWAligner(ridge=0.0, metric="sqeuclidean").fit(learning)
    linear = CTWAligner(ridge=0.0).fit(learning)
    begin = time.process_time()
    deep = DeepCTWAligner(random_state=seed).fit(learning)
    seconds = time.process_time() - begin
    later = by_name(found.later)
    paths = [
        [aligned["y"].path for aligned in aligner.align(later)]
        for aligner in (squares, linear, deep)
    ]
    return [
        [error(path) for error, path in zip(found.errors, own, strict=True)]
        for own in paths
    ], seconds


def main() -> None:
    """Run all sets."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with the real data sets")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[10, 11, 12])
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    rows = []
    for name in options.sets:
        by_seed, seconds = [], []
        for seed in options.seeds:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found, spent = errors_of(problem(name, options.folder, seed), seed)
            by_seed.append(found)
            seconds.append(spent)
        means = np.array([[np.mean(own) for own in seed] for seed in by_seed])
        medians = np.array([[np.median(own) for own in seed] for seed in by_seed])
        row = [name]
        row += [
            f"{mean:.2f} ({median:.2f})"
            for mean, median in zip(
                means.mean(axis=0), medians.mean(axis=0), strict=True
            )
        ]
        row += [f"{(means[:, 2] / means[:, 1]).max():.2f}", f"{np.mean(seconds):.0f}"]
        rows.append(row)
        print("|", " | ".join(row), "|", means.round(2).tolist(), flush=True)
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            names = ["set", "CTWAligner, squares", "CTWAligner", "DeepCTWAligner"]
            names += ["largest ratio", "seconds of learning"]
            writer.writerows([names, *rows])


if __name__ == "__main__":
    main()
