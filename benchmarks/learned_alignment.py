"""Errors of alignments learned from known matches, beside those learned without.

    OMP_NUM_THREADS=1 python benchmarks/learned_alignment.py FOLDER [--csv OUT.csv]

prints a Markdown table. The pairs for the errors and the errors themselves are those of
``alignment_errors.py`` with its seed; SiameseAligner has three seeds, and the mean and
standard deviation over them is reported of the mean error and of the median, in frames.

sensors
    Gyroscope under a smooth random warp, and accelerometer: 40 recordings for
    learning, 40 for errors.
pairs
    As sensors, learned without the matches, by ``supervision="pairs"``.
seen
    Performances of four pieces: pianists 1 to 11 for learning, in all pairs of two,
    pairs of others for errors.
unseen
    The same pairs for errors, those of two pieces by what is learned of the other two,
    and the other way round.
transposed
    As unseen, with each pair for learning twice more, transposed by up to half an
    octave: a network that is learned from few pieces knows their keys only.

Sensors have the defaults of SiameseAligner. Performances share an encoder, without
scaling, since all features are of one unit and rare keys would become loud.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from alignment_errors import (
    Pair,
    by_path,
    learned_from,
    onset_features,
    performances,
    sensors,
    split,
)

from mmfusion import Trainer
from mmfusion.alignment import SiameseAligner, dtw_path
from mmfusion.metrics import alignment_error

SETS = ("sensors", "pairs", "seen", "unseen", "transposed")
SEEDS = (0, 1, 2)
N_TEST_PAIRS = 4  # of each piece
N_SENSOR_PAIRS = 100  # at most
PERFORMANCES = {"shared": True, "scaling": None}


class Known(NamedTuple):
    """Two sequences with known matches, for learning; and the name of their piece."""

    x: np.ndarray
    y: np.ndarray
    matches: np.ndarray
    piece: str


def performances_for_learning(folder: Path) -> list[Known]:
    """All pairs of pianists 1 to 11."""
    found = []
    with np.load(folder / "align_vienna4x22.npz") as data:
        rolls = split(data["frames_roll"], data["lengths"])
        players, pieces = data["performer"], data["piece"]
        for piece in np.unique(pieces):
            onsets = data[f"gold_{piece}"].astype(np.float64)
            of_piece = np.flatnonzero(pieces == piece)
            own = {players[k]: onset_features(rolls[k]) for k in of_piece}
            for a, b in combinations(range(1, 12), 2):
                matches = onsets[:, [a - 1, b - 1]]
                found.append(Known(own[a], own[b], matches, str(piece)))
    return found


def transposed(known: Sequence[Known], rng: np.random.Generator) -> list[Known]:
    """Each pair as it is, and moved by random numbers of keys."""
    found = list(known)
    for pair in known:
        for shift in rng.choice([*range(-6, 0), *range(1, 7)], 2, replace=False):
            x, y = (moved(frames, int(shift)) for frames in (pair.x, pair.y))
            found.append(pair._replace(x=x, y=y))
    return found


def moved(frames: np.ndarray, shift: int) -> np.ndarray:
    """Frames whose keys, and their rises, are moved; the outermost are cut off."""
    keys = frames.reshape(len(frames), 2, -1)
    found = np.zeros_like(keys)
    if shift > 0:
        found[..., shift:] = keys[..., :-shift]
    else:
        found[..., :shift] = keys[..., -shift:]
    return found.reshape(frames.shape)


def sensors_for_learning(folder: Path) -> list[Known]:
    """Sensors, in the units of the recordings: the aligner standardises them."""
    with np.load(folder / "align_warp_basicmotions.npz") as data:
        accelerometer = split(data["a_frames"], data["a_lengths"])
        gyroscope = split(data["b_frames"], data["b_lengths"])
        truth = [t.ravel() for t in split(data["gold"], data["b_lengths"])]
    with np.load(folder / "ts_basicmotions.npz") as data:
        test = data["split"] == 1
    x, y = (
        standardised_like(own, np.flatnonzero(~test))
        for own in (gyroscope, accelerometer)
    )
    return [
        Known(x[k], y[k], np.column_stack([np.arange(len(x[k])), truth[k]]), "")
        for k in np.flatnonzero(~test)
    ]


def standardised_like(
    sequences: list[np.ndarray], learning: np.ndarray
) -> list[np.ndarray]:
    """In the unit of the pairs for the errors."""
    frames = np.concatenate([sequences[k] for k in learning])
    return [(x - frames.mean(axis=0)) / frames.std(axis=0) for x in sequences]


def learned(
    known: Sequence[Known], pairs: Sequence[Pair], seed: int, **options: Any
) -> tuple[list[float], float]:
    """Errors of the pairs, and CPU seconds of the learning."""
    X = {"x": [k.x for k in known], "y": [k.y for k in known]}
    begin = time.process_time()
    aligner = SiameseAligner(random_state=seed, **options)
    if aligner.supervision == "pairs":
        aligner.fit(X)
    else:
        aligner.fit(X, [k.matches for k in known])
    seconds = time.process_time() - begin
    later = {"x": [p.like[0] for p in pairs], "y": [p.like[1] for p in pairs]}
    return [
        alignment_error(found["y"].path, np.column_stack([pair.at, pair.truth]))
        for found, pair in zip(aligner.align(later), pairs, strict=True)
    ], seconds


def errors_of(pairs: Sequence[Pair], method: Any) -> list[float]:
    """Errors of a method of ``alignment_errors.py``."""
    errors = []
    for pair in pairs:
        found = method(*pair.like)
        at = np.interp(pair.at, np.arange(len(found)), found)
        errors.append(float(np.abs(at - pair.truth).mean()))
    return errors


def by_dtw(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """DTW of the features."""
    return by_path(dtw_path(x, y).path)


def summary(by_seed: Sequence[list[float]]) -> str:
    """Mean and median of the errors, with deviations over seeds if there are any."""
    means = [float(np.mean(errors)) for errors in by_seed]
    medians = [float(np.median(errors)) for errors in by_seed]
    if len(by_seed) == 1:
        return f"{means[0]:.2f} ({medians[0]:.2f})"
    return (
        f"{np.mean(means):.2f} ± {np.std(means):.2f} "
        f"({np.mean(medians):.2f} ± {np.std(medians):.2f})"
    )


def main() -> None:
    """Run all sets."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with the real data sets")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--max-epochs", type=int, help="in place of 'auto'")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    trainer = Trainer(max_epochs=options.max_epochs)
    rows = []
    for name in options.sets:
        rng = np.random.default_rng(0)
        if name in ("sensors", "pairs"):
            fold, pairs = sensors(options.folder, N_SENSOR_PAIRS, rng).folds[0]
            known = sensors_for_learning(options.folder)
            own = {"supervision": "pairs"} if name == "pairs" else {}
            ctw = learned_from(fold, "auto")["CTW, learned"]
            without = summary([errors_of(pairs, ctw)])
        else:
            pairs = performances(options.folder, N_TEST_PAIRS, rng).folds[0][1]
            known, own, without = (
                performances_for_learning(options.folder),
                PERFORMANCES,
                "",
            )
        by_seed, seconds = [], []
        for seed in options.seeds:
            errors, spent = [], 0.0
            for learning, later in folds_of(name, known, pairs):
                found, cpu = learned(learning, later, seed, trainer=trainer, **own)
                errors += found
                spent += cpu
            by_seed.append(errors)
            seconds.append(spent)
        dtw = summary([errors_of(pairs, by_dtw)])
        row = [name, dtw, without, summary(by_seed), str(len(by_seed))]
        row.append(f"{np.mean(seconds):.0f}")
        rows.append(row)
        print("|", " | ".join(row), "|", flush=True)
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            names = ["set", "DTW", "CTW, learned", "SiameseAligner", "seeds"]
            names.append("seconds of learning")
            writer.writerows([names, *rows])


def folds_of(
    name: str, known: list[Known], pairs: list[Pair]
) -> list[tuple[list[Known], list[Pair]]]:
    """What is learned from, and the pairs for the errors."""
    if name in ("sensors", "pairs", "seen"):
        return [(known, pairs)]
    pieces = sorted({k.piece for k in known})
    by_piece = [
        (piece, pairs[N_TEST_PAIRS * i : N_TEST_PAIRS * (i + 1)])
        for i, piece in enumerate(pieces)
    ]
    folds = []
    for test in (pieces[:2], pieces[2:]):
        learning = [k for k in known if k.piece not in test]
        if name == "transposed":
            learning = transposed(learning, np.random.default_rng(0))
        later = [p for piece, own in by_piece if piece in test for p in own]
        folds.append((learning, later))
    return folds


if __name__ == "__main__":
    main()
