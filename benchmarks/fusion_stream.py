"""Predictions of fusion for mapped files: processor time and memory.

    OMP_NUM_THREADS=1 python benchmarks/fusion_stream.py FOLDER --sizes 200000 2000000

writes three modalities of 32 float32 features with ten planted clusters to FOLDER,
fits each estimator to the first 20,000 samples, and predicts all in a process of its
own; ``--dask`` gives chunks of dask instead of the files. One row per size and method:
the size of the data and of the output, CPU seconds, and what the prediction adds to the
memory of the process at its peak. The files are removed afterwards.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from anchor_stream import N_CLUSTERS, N_FEATURES, N_MODALITIES, peak_mb, write
from sklearn.decomposition import PCA

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    HybridFusionClassifier,
    LateFusionClassifier,
    LateFusionClusterer,
    LateFusionRegressor,
)

N_FITTED = 20_000
DASK_ROWS = 100_000  # of a chunk

CASES = {
    "EarlyFusion.transform": (EarlyFusion(), "transform"),
    "the same, PCA(8)": (EarlyFusion(reducer=PCA(8)), "transform"),
    "EarlyFusionClassifier.predict": (EarlyFusionClassifier(), "predict"),
    "EarlyFusionClusterer.predict": (EarlyFusionClusterer(n_clusters=10), "predict"),
    "LateFusionClassifier.predict_proba": (LateFusionClassifier(), "predict_proba"),
    "LateFusionRegressor.predict": (LateFusionRegressor(), "predict"),
    "LateFusionClusterer.predict": (LateFusionClusterer(n_clusters=10), "predict"),
    "HybridFusionClassifier.predict": (HybridFusionClassifier(), "predict"),
}


def predict(name, paths, with_dask):
    """Predict for files, and print the figures of the table."""
    estimator, method = CASES[name]
    X = [np.load(path, mmap_mode="r") for path in paths]
    size = sum(block.nbytes for block in X) / 2**20
    y = np.arange(N_FITTED) % N_CLUSTERS
    estimator.fit([np.array(block[:N_FITTED]) for block in X], y)
    if with_dask:
        import dask.array as da

        X = [da.from_array(block, chunks=(DASK_ROWS, -1)) for block in X]
    call = getattr(estimator, method)
    call([block[:N_FITTED] for block in X])  # loads what it needs
    before, start = peak_mb(), time.process_time()
    out = call(X)
    seconds, added = time.process_time() - start, peak_mb() - before
    print(
        f"| {name} | {len(X[0]):,} | {size:,.0f} | {out.nbytes / 2**20:,.0f} "
        f"| {seconds:.1f} | {added:,.0f} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", nargs="+", type=int, default=[200_000, 2_000_000])
    parser.add_argument("--dask", action="store_true")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    paths = [arguments.folder / f"modality_{v}.npy" for v in range(N_MODALITIES)]
    if arguments.case:
        predict(arguments.case, paths, arguments.dask)
        return
    print("| method | samples | data MB | output MB | CPU s | added MB |")
    print("|---|---|---|---|---|---|", flush=True)
    for n in arguments.sizes:
        rng = np.random.default_rng(0)
        try:
            for path in paths:
                centers = 4 * rng.standard_normal((N_CLUSTERS, N_FEATURES))
                write(path, centers.astype(np.float32), n, rng)
            for name in CASES:
                own = [sys.executable, *sys.argv, "--case", name]
                subprocess.run(own, check=True)
        finally:
            for path in paths:
                path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
