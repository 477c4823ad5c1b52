"""Kernels of sequences beside tslearn's, and late fusion around its estimators.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/sequence_estimators.py

prints Markdown tables: CPU time of ours, and how many times as long tslearn takes for
the same task; then the time of estimators of tslearn alone, and how many times as long
late fusion of them takes. Least of the repeats, in turn, after a first call that
compiles.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from mmfusion import LateFusionClassifier, LateFusionClusterer, Modalities
from mmfusion.alignment import DTWKernel, cdist_soft_dtw, dtw_barycenter
from mmfusion.preprocessing import padded_from_sequences

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for h5py
    from tslearn import metrics
    from tslearn.barycenters import softdtw_barycenter
    from tslearn.clustering import TimeSeriesKMeans
    from tslearn.neighbors import KNeighborsTimeSeriesClassifier

SETS = [(60, 60, 1), (60, 60, 5), (60, 200, 1)]


def walks(n: int, n_frames: int, d: int) -> list[np.ndarray]:
    """Random walks of unequal lengths with features of unit variance."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(n_frames * 4 // 5, n_frames, n)
    found = [rng.normal(size=(length, d)).cumsum(axis=0) for length in lengths]
    frames = np.concatenate(found)
    return [(x - frames.mean(axis=0)) / frames.std(axis=0) for x in found]


def least(functions: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Least CPU milliseconds of each function, called in turn."""
    for function in functions:
        function()
    times = np.empty((repeats, len(functions)))
    for row in times:
        for j, function in enumerate(functions):
            start = time.process_time()
            function()
            row[j] = time.process_time() - start
    return (times.min(axis=0) * 1e3).tolist()


def kernels(repeats: int) -> None:
    """Compare kernels and soft barycenters."""
    print("| task | n | T | d | ms | tslearn |")
    print("|---" * 6 + "|")
    for n, n_frames, d in SETS:
        X = walks(n, n_frames, d)
        frame, padded = Modalities({"audio": X}), padded_from_sequences(X)
        tasks = {
            "global alignment kernel": (
                lambda frame=frame: DTWKernel("global_alignment").fit_transform(frame),
                lambda padded=padded: metrics.cdist_gak(padded, sigma=1.0),
            ),
            "soft-DTW of all pairs": (
                lambda X=X: cdist_soft_dtw(X, gamma=1.0),
                lambda padded=padded: metrics.cdist_soft_dtw(padded, gamma=1.0),
            ),
            "soft barycenter, 10 steps": (
                lambda X=X: dtw_barycenter(X, gamma=1.0, init=X[0], max_iter=10),
                lambda X=X: softdtw_barycenter(X, gamma=1.0, init=X[0], max_iter=10),
            ),
        }
        for task, pair in tasks.items():
            ours, theirs = least(list(pair), repeats)
            print(
                f"| {task} | {n} | {n_frames} | {d} | {ours:.1f} | "
                f"{theirs / ours:.1f}x |",
                flush=True,
            )


def fusions(n: int, n_frames: int) -> dict[str, list[Callable[[], Any]]]:
    """Return, for each task, estimators alone and the late fusion of them."""
    X, y = walks(n, n_frames, 3), np.arange(n) % 2
    table = np.random.default_rng(0).normal(size=(n, 5))
    frame, padded = Modalities({"audio": X}), padded_from_sequences(X)
    both = Modalities({"audio": X, "text": table})
    nearest = KNeighborsTimeSeriesClassifier(3, metric="dtw")
    linear = LogisticRegression()
    centers = TimeSeriesKMeans(3, metric="dtw", max_iter=5, random_state=0)
    late = LateFusionClassifier({"audio": nearest})
    clusterer = LateFusionClusterer(centers, n_runs=1, scaling=None, random_state=0)
    return {
        "nearest neighbors": [
            lambda: nearest.fit(padded, y).predict_proba(padded),
            lambda: late.fit(frame, y).predict_proba(frame),
        ],
        "nearest neighbors, and a linear model of a table": [
            lambda: (
                nearest.fit(padded, y).predict_proba(padded),
                linear.fit(table, y).predict_proba(table),
            ),
            lambda: late.fit(both, y).predict_proba(both),
        ],
        "DTW k-means": [
            lambda: centers.fit(padded).predict(padded),
            lambda: clusterer.fit(frame).predict(frame),
        ],
    }


def overhead(repeats: int) -> None:
    """Compare late fusion with its estimators of tslearn alone."""
    print("| fit and predict | n | T | ms | late fusion |")
    print("|---" * 5 + "|")
    for n, n_frames in [(60, 60), (120, 60)]:
        for task, pair in fusions(n, n_frames).items():
            alone, fused = least(pair, repeats)
            print(
                f"| {task} | {n} | {n_frames} | {alone:.1f} | {fused / alone:.2f}x |",
                flush=True,
            )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    kernels(repeats)
    print()
    overhead(repeats)


if __name__ == "__main__":
    main()
