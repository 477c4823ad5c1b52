"""Clustering of mapped files by anchors: time and memory by the number of samples.

    OMP_NUM_THREADS=1 python benchmarks/anchor_stream.py FOLDER --sizes 100000 1000000

writes three modalities of 32 float32 features with ten planted clusters to FOLDER,
fits `AnchorGraphClusterer` to the files in a process of its own, and prints one row per
size: the size of the data, CPU seconds, what the fit adds to the memory of the process
at its peak, and the adjusted Rand index. The files are removed afterwards.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score

from mmfusion import AnchorGraphClusterer

N_MODALITIES, N_FEATURES, N_CLUSTERS = 3, 32, 10
WRITTEN_ROWS = 100_000


def write(path, centers, n, rng):
    """Write the samples of one modality, in chunks."""
    shape = (n, N_FEATURES)
    block = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    for start in range(0, n, WRITTEN_ROWS):
        clusters = np.arange(start, min(n, start + WRITTEN_ROWS)) % N_CLUSTERS
        noise = rng.standard_normal((len(clusters), N_FEATURES), dtype=np.float32)
        block[start : start + len(clusters)] = centers[clusters] + noise
    block.flush()


def peak_mb():
    """The peak of the resident memory of the process, in MB (Linux)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if "VmHWM" in line) / 2**10


def fit(paths):
    """Fit to files, and print the figures of the table."""
    X = [np.load(path, mmap_mode="r") for path in paths]
    before, start = peak_mb(), time.process_time()
    clusterer = AnchorGraphClusterer(N_CLUSTERS, random_state=0).fit(X)
    seconds, added = time.process_time() - start, peak_mb() - before
    clusters = np.arange(len(X[0])) % N_CLUSTERS
    score = adjusted_rand_score(clusters, clusterer.labels_)
    size = sum(block.nbytes for block in X) / 2**20
    print(
        f"| {len(X[0]):,} | {size:,.0f} | {seconds:.1f} | {added:.0f} | {score:.3f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", nargs="+", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--fit", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fit:
        fit(sorted(arguments.folder.glob("modality_*.npy")))
        return
    print("| samples | data MB | CPU s | added MB | ARI |\n|---|---|---|---|---|")
    paths = [arguments.folder / f"modality_{v}.npy" for v in range(N_MODALITIES)]
    for n in arguments.sizes:
        rng = np.random.default_rng(0)
        try:
            for path in paths:
                centers = 4 * rng.standard_normal((N_CLUSTERS, N_FEATURES))
                write(path, centers.astype(np.float32), n, rng)
            own = [sys.executable, __file__, str(arguments.folder), "--fit"]
            sys.stdout.flush()
            subprocess.run(own, check=True)
        finally:
            for path in paths:
                path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
