"""Error of canonical time warping where the true warps are known.

    OMP_NUM_THREADS=1 python benchmarks/ctw_toy.py [--repetitions 100] [--seed 0]

prints two Markdown tables. Errors are in frames: the distance of the rows of a warp
from the nearest of the true warp, and back, on average.

The toy experiment of the papers: two modalities see a spiral of 300 points, each
through its own rotation, scaling and shift, with a third feature of pure noise; of each
fifth of the spiral a modality keeps an evenly spaced share of its own. One pair at a
time, nothing known beforehand.

The held-out experiment: two modalities (10 and 6 features that see a smooth curve in
two dimensions through a fixed random tanh map, and 3 of pure noise) of 18 samples, each
with a curve and clocks of its own, which keep random points, not evenly spaced ones.
Projections are learned on 12 samples without their true warps, and align the 6 others;
or on each of the 6 by itself. 'true warps' learns them from the true warps of the 12;
'CTWAligner' is what users have, with its defaults.

Options were chosen on seeds from 10000 (toy) and 5000 (held out) on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median, pstdev

import numpy as np

from mmfusion.alignment import CTWAligner, dtw_path
from mmfusion.alignment.ctw._alternation import (
    fit_basis_ctw,
    fit_combined_ctw,
    fit_ctw,
)
from mmfusion.alignment.ctw._monotone_bases import align_by_bases
from mmfusion.alignment.ctw._projections import correlate, weigh_by_likelihood
from mmfusion.alignment.ctw._warping import align, uniform_warp, warp_error
from mmfusion.datasets import make_multimodal_sequences

N_POINTS = 300
N_STRETCHES = 5
NOISE_STD = 2.0

Sample = list[np.ndarray]


# Data


def toy(seed: int) -> tuple[Sample, np.ndarray]:
    """One pair, and its true warp."""
    rng = np.random.default_rng(seed)
    share = np.sqrt(np.linspace(0, 1, N_POINTS))
    t = 4 * np.pi * (share * (N_POINTS - 1) + 1) / N_POINTS
    spiral = np.column_stack([t * np.cos(t), t * np.sin(t)])
    sample, columns = [], []
    for _ in range(2):
        kept = evenly_kept(rng)
        angle, scales = rng.uniform(0, np.pi), rng.uniform(0, 2, 2)
        shift = np.ptp(spiral, axis=0) * rng.uniform(0, 2, 2)
        c, s = np.cos(angle), np.sin(angle)
        seen = ((spiral + shift) * scales) @ np.array([[c, -s], [s, c]])
        noise = NOISE_STD * rng.standard_normal(len(kept))
        sample.append(np.column_stack([seen[kept], noise]))
        true = np.interp(np.arange(N_POINTS), kept, np.arange(len(kept)))
        columns.append(np.rint(true).astype(np.int64))
    return sample, np.column_stack(columns)


def evenly_kept(rng: np.random.Generator) -> np.ndarray:
    """Points that a modality keeps: of each stretch a share, up to its last point."""
    width = N_POINTS // N_STRETCHES
    stretches = []
    for first in range(0, N_POINTS, width):
        n_kept = round(rng.uniform(0.3, 0.9) * width)
        steps = np.rint(width / n_kept * np.arange(1, n_kept + 1)).astype(int)
        stretches.append(first - 1 + steps)
    return np.concatenate(stretches)


def held_out(seed: int) -> tuple[list[Sample], np.ndarray]:
    """18 pairs, and their true warps."""
    X, _, warps = make_multimodal_sequences(
        18,
        (10, 6),
        n_classes=18,
        n_frames=200,
        nonlinear=True,
        sample_std=0.0,
        noise_std=0.0,
        n_noise_features=3,
        random_state=seed,
    )
    samples = [
        list(sample) for sample in zip(*(X[name] for name in X.names), strict=True)
    ]
    return samples, warps


# Methods


def lengths(sample: Sample) -> list[int]:
    """Frames of each modality."""
    return [len(x) for x in sample]


ALONE: Mapping[str, Callable[[Sample], np.ndarray]] = {
    "uniform": lambda z: uniform_warp(lengths(z)),
    "DTW": lambda z: dtw_path(*z).path,
    "CTW": lambda z: fit_ctw([z], likelihood=False).warps[0],
    "CTW, 95 % of the energy": lambda z: fit_ctw(
        [z], energy=0.95, likelihood=False
    ).warps[0],
    "CTW, ridge .1": lambda z: fit_ctw([z], ridge=0.1, likelihood=False).warps[0],
    "CTW, likelihood": lambda z: fit_ctw([z]).warps[0],
    "generalised": lambda z: fit_basis_ctw([z]).warps[0],
    "generalised, 95 %": lambda z: fit_basis_ctw([z], energy=0.95).warps[0],
    "combined": lambda z: fit_combined_ctw([z], likelihood=False).warps[0],
    "combined, 95 %": lambda z: fit_combined_ctw(
        [z], energy=0.95, likelihood=False
    ).warps[0],
    "combined, likelihood": lambda z: fit_combined_ctw([z]).warps[0],
    "CTWAligner": lambda z: aligned_alone(z),
}


def by_aligner(aligner: CTWAligner, sample: Sample) -> np.ndarray:
    """Warp of a sample by projections that were learned from others."""
    pairs = zip(aligner.modality_names_in_, sample, strict=True)
    x, y = ((z - aligner.means_[v]) @ aligner.projections_[v] for v, z in pairs)
    return dtw_path(x, y, metric=aligner.metric).path


def aligned_alone(sample: Sample) -> np.ndarray:
    """Warp of a sample by projections that are learned from itself."""
    return CTWAligner().fit([[z] for z in sample]).paths_[0]["modality_1"]


def by_pooled(
    train: list[Sample], true_warps: Sequence[np.ndarray], test: list[Sample]
) -> dict[str, list[np.ndarray]]:
    """Warps of unseen samples, by method."""
    plain = fit_ctw(train, likelihood=False).projections
    smooth = fit_basis_ctw(train).projections
    combined = fit_combined_ctw(train, likelihood=False).projections
    true = correlate(train, true_warps)
    aligner = CTWAligner().fit([list(block) for block in zip(*train, strict=True)])
    fitted = {
        "CTW": plain,
        "combined": combined,
        "true warps": true,
    }
    warps = {
        "uniform": [uniform_warp(lengths(z)) for z in test],
        "CTW per pair": [ALONE["CTW"](z) for z in test],
        "CTWAligner per pair": [aligned_alone(z) for z in test],
        "CTWAligner": [by_aligner(aligner, z) for z in test],
        "pooled generalised": [align_by_bases(z, smooth).columns for z in test],
        "pooled generalised, then DTW": [align(z, smooth) for z in test],
    }
    for name, projections in fitted.items():
        weighed = weigh_by_likelihood(projections)
        warps[f"pooled {name}"] = [align(z, projections) for z in test]
        warps[f"pooled {name}, likelihood"] = [align(z, weighed) for z in test]
    return warps


# Tables


def show(title: str, errors: Mapping[str, list[float]], seconds: Mapping[str, float]):
    """Print a table of errors."""
    print(f"\n{title}\n\n| method | mean error | standard deviation | median | ms |")
    print("|---|---|---|---|---|")
    for name, found in errors.items():
        ms = f"{1e3 * seconds[name] / len(found):.0f}" if name in seconds else ""
        numbers = f"{fmean(found):.2f} | {pstdev(found):.2f} | {median(found):.2f}"
        print(f"| {name} | {numbers} | {ms} |")


def run_toy(seeds: range) -> None:
    """Print the table of the toy experiment."""
    errors: dict[str, list[float]] = {name: [] for name in ALONE}
    seconds = dict.fromkeys(ALONE, 0.0)
    for seed in seeds:
        sample, truth = toy(seed)
        for name, method in ALONE.items():
            begin = time.perf_counter()
            warp = method(sample)
            seconds[name] += time.perf_counter() - begin
            errors[name].append(warp_error(warp, truth))
    show(f"Toy, {len(seeds)} repetitions", errors, seconds)


def run_held_out(seeds: range) -> None:
    """Print the table of the held-out experiment."""
    errors: dict[str, list[float]] = {}
    for seed in seeds:
        samples, truth = held_out(seed)
        for name, warps in by_pooled(samples[:12], truth[:12], samples[12:]).items():
            found = fmean(map(warp_error, warps, truth[12:]))
            errors.setdefault(name, []).append(found)
    show(f"Held out, {len(seeds)} repetitions", errors, {})


def main() -> None:
    """Run both experiments."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=100, help="of the toy")
    parser.add_argument("--held-out", type=int, default=8, help="repetitions of it")
    parser.add_argument("--seed", type=int, default=0, help="the first")
    options = parser.parse_args()
    run_toy(range(options.seed, options.seed + options.repetitions))
    run_held_out(range(options.seed, options.seed + options.held_out))


if __name__ == "__main__":
    main()
