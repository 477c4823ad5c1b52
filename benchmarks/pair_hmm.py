"""Pair hidden Markov models beside dynamic time warping: errors, confidence and speed.

    OMP_NUM_THREADS=1 python benchmarks/pair_hmm.py FOLDER

prints, for each piece of the piano performances (align_vienna4x22) and two kinds of
frames, the mean error of onsets in seconds (of the frames of one performance in the
other), the share of onsets within 100 ms, and how well spread and confidence tell
onsets with a larger error from others (area under the curve). Pairs are of pianists 12
to 22; what the options are set to was settled on pianists 1 to 11 (``--learning``).
'velocities' are the data's rolls; 'onsets' log velocities and their rises.

Then CPU time per cell of a lattice (least of the repeats) beside soft-DTW, and the
memory of the posteriors.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from alignment_errors import onset_features, split
from sklearn.metrics import roc_auc_score

from mmfusion.alignment import DTWAligner, PairHMMAligner, soft_dtw_alignment
from mmfusion.alignment._pair_lattice import (
    PairScores,
    pair_posteriors,
    sum_pair_paths,
)
from mmfusion.alignment._pair_parameters import warping_hmm
from mmfusion.alignment._pair_viterbi import pair_path
from mmfusion.alignment.dtw._windows import whole_window

LARGE_ERROR = 0.1  # seconds
METHODS: dict[str, Any] = {
    "DTW": DTWAligner(),
    "pair HMM, likeliest path": PairHMMAligner(decode="viterbi"),
    "pair HMM": PairHMMAligner(),
    "pair HMM, scale 1": PairHMMAligner(scale=1.0),
    "pair HMM, learned transitions": PairHMMAligner(transitions="learned", tol=1e-3),
    "pair HMM, gaps": PairHMMAligner(gap_weight=1e-3),
    "pair HMM, diagonal noise": PairHMMAligner(noise="diagonal", tol=1e-3),
}


class Pairs(NamedTuple):
    """Performances of a piece in pairs, and the onsets of both in frames."""

    first: list[np.ndarray]
    second: list[np.ndarray]
    onsets: list[np.ndarray]


def pieces(
    folder: Path, features: Callable[[np.ndarray], np.ndarray], args: Any
) -> tuple[dict[str, Pairs], float]:
    """Return pairs of each piece, and the frames a second."""
    pianists = range(1, 12) if args.learning else range(12, 23)
    found = {}
    with np.load(folder / "align_vienna4x22.npz") as data:
        rolls = split(data["frames_roll"], data["lengths"])
        players, of_pieces = data["performer"], data["piece"]
        for piece in np.unique(of_pieces):
            onsets = data[f"gold_{piece}"]
            of_piece = np.flatnonzero(of_pieces == piece)
            of_player = {players[k]: features(rolls[k]) for k in of_piece}
            rng = np.random.default_rng(args.seed)
            pairs = rng.permutation(list(combinations(pianists, 2)))[: args.n_pairs]
            both = [onsets[:, [a - 1, b - 1]].astype(np.float64) for a, b in pairs]
            found[str(piece)] = Pairs(
                [of_player[a] for a, _ in pairs],
                [of_player[b] for _, b in pairs],
                [times[np.isfinite(times).all(axis=1)] for times in both],
            )
        return found, float(data["fps"])


def errors_of(pairs: Pairs, method: Any, rate: float) -> tuple[list[float], ...]:
    """Return errors in seconds, shares within 100 ms, and both areas."""
    X = {"first": pairs.first, "second": pairs.second}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alignments = method.fit(X).align(X)
    errors, spreads, doubts = [], [], []
    for sample, second, onsets in zip(
        alignments, pairs.second, pairs.onsets, strict=True
    ):
        alignment = sample["second"]
        axis, own = alignment.path.T
        n_frames = len(second)
        counts = np.bincount(own, minlength=n_frames)
        means = np.bincount(own, axis, n_frames) / np.maximum(counts, 1)
        at = np.flatnonzero(counts)
        found = np.interp(onsets[:, 1], at, means[at])
        errors.append(np.abs(found - onsets[:, 0]) / rate)
        nearest = np.clip(np.rint(onsets[:, 1]).astype(int), 0, n_frames - 1)
        if isinstance(method, PairHMMAligner):
            spreads.append(alignment.spread[nearest])
            doubts.append(1 - alignment.frame_confidence[nearest])
    areas = [np.nan, np.nan]
    is_large = np.concatenate(errors) > LARGE_ERROR
    for k, values in enumerate((spreads, doubts)):
        if values:
            finite = np.nan_to_num(np.concatenate(values), nan=1e9)
            areas[k] = float(roc_auc_score(is_large, finite))
    shares = [float((e <= LARGE_ERROR).mean()) for e in errors]
    return [float(e.mean()) for e in errors], shares, [areas[0]], [areas[1]]


def quality(args: Any) -> None:
    """Print a table for each kind of frames."""
    kinds = {"velocities": lambda roll: roll, "onsets": onset_features}
    for kind, features in kinds.items():
        data, rate = pieces(args.folder, features, args)
        print(f"\n{kind}: seconds / within 100 ms / area by spread / by confidence\n")
        print(f"| method | {' | '.join(data)} | mean areas |")
        print("|---" * (len(data) + 2) + "|")
        for name in args.methods:
            method = METHODS[name]
            rows = [errors_of(pairs, method, rate) for pairs in data.values()]
            cells = [" / ".join(f"{np.mean(part):.3f}" for part in row) for row in rows]
            areas = [f"{np.mean([row[k] for row in rows]):.3f}" for k in (2, 3)]
            print(f"| {name} | {' | '.join(cells)} | {' / '.join(areas)} |", flush=True)


def speed(n_frames: int, repeats: int) -> None:
    """Print CPU time per cell, and memory."""
    rng = np.random.default_rng(0)
    costs = 5 * rng.exponential(size=(n_frames, n_frames))
    scores = PairScores(
        -costs,
        np.full(n_frames, -3.0),
        np.full(n_frames, -3.0),
        whole_window(n_frames, n_frames),
    )
    gaps = warping_hmm(0.1, is_normalized=False)
    tasks: dict[str, Callable[[], Any]] = {
        "soft-DTW with expected alignment": lambda: soft_dtw_alignment(
            costs, gamma=1.0, metric="precomputed"
        ),
        "pair HMM, log-likelihood": lambda: sum_pair_paths(gaps, scores),
        "pair HMM, posteriors and counts": lambda: pair_posteriors(gaps, scores),
        "pair HMM, likeliest path": lambda: pair_path(gaps, scores),
    }
    with suppress(ImportError):
        tslearn = import_module("tslearn.metrics")
        x = rng.standard_normal((n_frames, 1))
        tasks["tslearn, soft-DTW with expected alignment"] = lambda: (
            tslearn.soft_dtw_alignment(x, x, gamma=1.0)
        )
    print(f"\n{n_frames} x {n_frames} frames\n")
    print("| task | ns per cell | bytes per cell at most |\n|---|---|---|")
    least = dict.fromkeys(tasks, np.inf)
    for repeat in range(repeats + 1):
        for name, task in tasks.items():
            begin = time.process_time()
            task()
            if repeat:  # the first call compiles
                least[name] = min(least[name], time.process_time() - begin)
    for name, task in tasks.items():
        tracemalloc.start()
        task()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        ns = 1e9 * least[name] / n_frames**2
        print(f"| {name} | {ns:.1f} | {peak / n_frames**2:.1f} |", flush=True)


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="with the real data sets")
    parser.add_argument("--n-pairs", type=int, default=12, help="of each piece")
    parser.add_argument("--seed", type=int, default=0, help="of the pairs")
    parser.add_argument("--learning", action="store_true", help="other pianists")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--n-frames", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    speed(args.n_frames, args.repeats)
    quality(args)


if __name__ == "__main__":
    main()
