"""Time and peak memory of fusion clusterers against the number of samples.

    python benchmarks/scale.py --n-samples 10000 100000 1000000

prints a Markdown table. Every row is measured in a process of its own, which makes the
data (3 modalities of 32 float32 features), then fits. Memory is the peak resident set
of that process less what it held before the data were made, as a multiple of the data.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

METHODS = ("early", "late-vote", "late-hbgf", "late-coassociation")


def make(method):
    from sklearn.cluster import MiniBatchKMeans

    from mmfusion import EarlyFusionClusterer, LateFusionClusterer

    base = MiniBatchKMeans(n_init=1, batch_size=4096)
    if method == "early":
        return EarlyFusionClusterer(base, n_clusters=10, random_state=0)
    combine = method.removeprefix("late-")
    return LateFusionClusterer(base, n_clusters=10, combine=combine, random_state=0)


def resident_mb():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(method, n_samples, separation):
    """Fit once in this process and print the figures."""
    import numpy as np

    from mmfusion.datasets import make_multimodal_blobs

    warm, _ = make_multimodal_blobs(1000, (32, 32, 32), centers=10, dtype=np.float32)
    make(method).fit(warm)
    before = resident_mb()
    rng = np.random.default_rng(0)
    centers = rng.normal(scale=separation, size=(10, 96)).astype(np.float32)
    classes = rng.integers(10, size=n_samples)
    blocks = []
    for v in range(3):
        block = rng.standard_normal((n_samples, 32), dtype=np.float32)
        for k in range(10):
            block[classes == k] += centers[k, 32 * v : 32 * v + 32]
        blocks.append(block)
    data_mb = sum(block.nbytes for block in blocks) / 2**20
    start = time.perf_counter()
    make(method).fit(blocks)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10 - before
    print(
        f"| {method} | {n_samples:,} | {seconds:.1f} | {seconds / n_samples * 1e6:.1f} "
        f"| {data_mb:.0f} | {peak:.0f} | {peak / data_mb:.2f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-samples", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument(
        "--separation",
        type=float,
        default=3.0,
        help="standard deviation of the centers; below 1, runs disagree, and the "
        "co-association has many distinct samples",
    )
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.methods[0], arguments.n_samples[0], arguments.separation)
        return
    print(
        "| method | samples | seconds | us a sample | data MB | peak MB | peak/data |"
    )
    print("|---" * 7 + "|")
    for method in arguments.methods:
        for n_samples in arguments.n_samples:
            row = ["--one", "--methods", method, "--n-samples", str(n_samples)]
            row += ["--separation", str(arguments.separation)]
            subprocess.run([sys.executable, __file__, *row], check=True)


if __name__ == "__main__":
    main()
