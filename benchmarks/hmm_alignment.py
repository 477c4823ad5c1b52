"""Errors of alignments by hidden Markov models, beside dynamic time warping.

    OMP_NUM_THREADS=1 python benchmarks/hmm_alignment.py [FOLDER] [--sets ...]

prints a Markdown table per set.

performances
    22 pianists play a piece (align_vienna4x22 of FOLDER), with the features of
    ``alignment_errors.py``. Twelve pairs of pianists are drawn once for each piece.
    'DTW of the pair' aligns them with each other; the others align all 22 with one
    model: 'DTW to a reference' is where `HMMAligner` begins, 'equal segments' its other
    beginning. Errors are mean absolute deviations of the onsets in seconds, and the
    share of onsets within 100 ms.
clocks
    Two modalities of one trajectory at different clocks (make_multimodal_sequences),
    one class; mean absolute error in points of the common time, over seeds that no
    default was settled on.
delays
    make_audio_visual_sequences: the largest error of a delay in frames over 20 samples,
    and the share of samples within one frame, over seeds.

'CPU s' is the time of the fit, or of all pairs for 'DTW of the pair'.
"""

from __future__ import annotations

import argparse
import time
import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
from alignment_errors import by_path, onset_features, split
from sklearn.exceptions import ConvergenceWarning

from mmfusion.alignment import (
    CTWAligner,
    HMMAligner,
    ProductHMMAligner,
    dtw_path,
)
from mmfusion.alignment._initial_states import states_by_dtw
from mmfusion.alignment._state_segments import edges_of_states
from mmfusion.datasets import make_audio_visual_sequences, make_multimodal_sequences

N_PAIRS = 12
NEAR_SECONDS = 0.1
FEW_ITERATIONS = 5
Edges = list[np.ndarray]


# Performances


def errors_of_edges(
    edges: Edges, onsets: np.ndarray, pairs: list[tuple[int, int]]
) -> list[np.ndarray]:
    """Deviations of onsets, in frames, of each pair."""
    return [
        np.abs(np.interp(at, edges[a], edges[b]) - truth)
        for (a, b), (at, truth) in zip(pairs, played(onsets, pairs), strict=True)
    ]


def played(
    onsets: np.ndarray, pairs: list[tuple[int, int]]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Onsets of the notes that both of each pair play."""
    both = [onsets[:, [a, b]] for a, b in pairs]
    return [tuple(x[np.isfinite(x).all(axis=1)].T) for x in both]


def edges_by_hmm(X: Edges, **options: object) -> Edges:
    """Edges of all performances by one model."""
    aligner = HMMAligner(**options).fit([X])  # type: ignore[arg-type]
    return [sample["modality_0"] for sample in aligner.edges_]


def edges_by_reference(X: Edges) -> Edges:
    """Edges of the initial states."""
    n_states = min(map(len, X)) // 2
    samples = [{"piano": x} for x in X]
    states = states_by_dtw(samples, ["piano"], n_states)
    return [edges_of_states(own["piano"], n_states) for own in states]


def performances(
    folder: Path, chosen: list[str] | None, names: list[str] | None
) -> None:
    """Print the table of all or some pieces and models."""
    with np.load(folder / "align_vienna4x22.npz") as data:
        rolls = split(data["frames_roll"], data["lengths"])
        pieces, rate = data["piece"], float(data["fps"])
        gold = {p: data[f"gold_{p}"].astype(float) for p in np.unique(pieces)}
    print("| piece | method | mean, s | within 100 ms | CPU s |\n|---|---|---|---|---|")
    models = {
        "DTW to a reference": edges_by_reference,
        "HMM": lambda X: edges_by_hmm(X),
        "HMM, 5 iterations": lambda X: edges_by_hmm(X, max_iter=FEW_ITERATIONS),
        "HMM, Viterbi": lambda X: edges_by_hmm(
            X, max_iter=FEW_ITERATIONS, decoding="viterbi"
        ),
        "HMM, equal segments": lambda X: edges_by_hmm(
            X, max_iter=FEW_ITERATIONS, init="equal"
        ),
    }
    for piece, onsets in gold.items():
        if chosen and piece not in chosen:
            continue
        X = [onset_features(rolls[k]) for k in np.flatnonzero(pieces == piece)]
        drawn = np.random.default_rng(0).permutation(
            list(combinations(range(len(X)), 2))
        )[:N_PAIRS]
        pairs = [(int(a), int(b)) for a, b in drawn]
        begin = time.process_time()
        found = []
        for (a, b), (at, truth) in zip(pairs, played(onsets, pairs), strict=True):
            warp = by_path(dtw_path(X[a], X[b]).path)
            found.append(np.abs(np.interp(at, np.arange(len(warp)), warp) - truth))
        show(piece, "DTW of the pair", found, rate, time.process_time() - begin)
        for name in names or models:
            method = models[name]
            begin = time.process_time()
            errors = errors_of_edges(method(X), onsets, pairs)
            show(piece, name, errors, rate, time.process_time() - begin)


def show(
    piece: str, method: str, errors: list[np.ndarray], rate: float, seconds: float
) -> None:
    """Print a row."""
    all_errors = np.concatenate(errors) / rate
    near = (all_errors <= NEAR_SECONDS).mean()
    print(
        f"| {piece} | {method} | {all_errors.mean():.4f} | {near:.3f} | "
        f"{seconds:.1f} |",
        flush=True,
    )


# Simulated sequences


def clock_error(paths: list[dict[str, np.ndarray]], truth: np.ndarray) -> float:
    """Mean absolute error of where frames of the first are in the second modality."""
    errors = []
    for sample, true in zip(paths, truth, strict=True):
        warps = [by_path(path) for path in sample.values()]
        n_axis = min(map(len, warps))
        found = np.interp(true[:, 0], warps[0][:n_axis], warps[1][:n_axis])
        errors.append(np.abs(found - true[:, 1]).mean())
    return float(np.mean(errors))


def clocks(n_seeds: int) -> None:
    """Print the table of different clocks."""
    print("| samples | method | error ± sd over seeds |\n|---|---|---|")
    methods = {
        "CTW": CTWAligner(),
        "HMM": HMMAligner(),
        "HMM, no joint iterations": HMMAligner(n_joint_iter=0),
    }
    for n_samples in (12, 40):
        for name, method in methods.items():
            errors = []
            for seed in range(100, 100 + n_seeds):
                X, _, truth = make_multimodal_sequences(
                    n_samples, (3, 5), n_classes=1, random_state=seed
                )
                errors.append(clock_error(method.fit(X).paths_, truth))
            spread = f"{np.mean(errors):.2f} ± {np.std(errors):.2f}"
            print(f"| {n_samples} | {name} | {spread} |", flush=True)


def delays(n_seeds: int) -> None:
    """Print the table of delays."""
    print(
        "| delays | noise | max_lag | mean error | within a frame |\n"
        "|---|---|---|---|---|"
    )
    for planted in ((-4, 4), (0, 6), (5, 5)):
        for noise in (0.5, 1.0):
            for max_lag in (1, 2):
                errors = []
                for seed in range(100, 100 + n_seeds):
                    X, true, _ = make_audio_visual_sequences(
                        delays=planted, noise_std=noise, random_state=seed
                    )
                    aligner = ProductHMMAligner(8, max_lag=max_lag).fit(X)
                    errors.append(np.abs(aligner.delay_ - true))
                within = (np.array(errors) <= 1).mean()
                print(
                    f"| {planted} | {noise} | {max_lag} | {np.mean(errors):.2f} | "
                    f"{within:.3f} |",
                    flush=True,
                )


def main() -> None:
    """Run the sets."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="with the real data sets")
    parser.add_argument(
        "--sets", nargs="+", default=["performances", "clocks", "delays"]
    )
    parser.add_argument("--pieces", nargs="+", help="names; all by default")
    parser.add_argument("--models", nargs="+", help="names; all by default")
    parser.add_argument("--n-seeds", type=int, default=10)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name in options.sets:
        if name == "clocks":
            clocks(options.n_seeds)
        elif name == "delays":
            delays(options.n_seeds)
        elif options.folder:
            performances(options.folder, options.pieces, options.models)


if __name__ == "__main__":
    main()
