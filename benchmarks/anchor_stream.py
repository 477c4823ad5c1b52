"""Clustering of files by anchors: time and memory by the number of samples.

    OMP_NUM_THREADS=1 python benchmarks/anchor_stream.py FOLDER --sizes 100000 1000000

writes three modalities of 32 float32 features with ten planted clusters to FOLDER,
fits `AnchorGraphClusterer` to the files in a process of its own, and prints one row per
size and form: the size of the data, CPU seconds, what the fit adds to the memory of the
process at its peak, and the adjusted Rand index. ``--forms mapped dask workers`` are
memory maps, arrays of dask in this process, and the same on two processes of a dask
cluster, whose CPU seconds count, and the larger of whose peaks; the last column says
whether the labels are those of the first form. The files are removed afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import subprocess
import sys
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


def read(path, start, stop):
    """Read rows of a file."""
    return np.array(np.load(path, mmap_mode="r")[start:stop])


def as_dask(path):
    """A dask array of a file, whose chunks are read where they are needed."""
    import dask
    import dask.array as da

    n = len(np.load(path, mmap_mode="r"))
    chunks = []
    for start in range(0, n, WRITTEN_ROWS):
        stop = min(n, start + WRITTEN_ROWS)
        chunk = dask.delayed(read)(path, start, stop)
        shape = (stop - start, N_FEATURES)
        chunks.append(da.from_delayed(chunk, shape, dtype=np.float32))
    return da.concatenate(chunks)


@contextlib.contextmanager
def workers():
    """Two processes of a dask cluster; gives their peaks of memory so far."""
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield lambda: max(client.run(peak_mb).values())


def cpu_seconds():
    """CPU seconds of this process and of those that it has ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(
            resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
    )


def fit(paths, form, first):
    """Fit to files, and print the figures of the table."""
    start = cpu_seconds()
    with workers() if form == "workers" else contextlib.nullcontext() as peak:
        mapped = [np.load(path, mmap_mode="r") for path in paths]
        X = mapped if form == "mapped" else [as_dask(path) for path in paths]
        peak = peak or peak_mb
        before = peak()
        start = start if form == "workers" else cpu_seconds()
        clusterer = AnchorGraphClusterer(N_CLUSTERS, random_state=0).fit(X)
        added = peak() - before
    seconds = cpu_seconds() - start  # workers have ended
    clusters = np.arange(len(X[0])) % N_CLUSTERS
    score = adjusted_rand_score(clusters, clusterer.labels_)
    same = "-"
    if first.exists():
        same = "yes" if np.array_equal(np.load(first), clusterer.labels_) else "no"
    else:
        np.save(first, clusterer.labels_)
    size = sum(block.nbytes for block in X) / 2**20
    print(
        f"| {len(X[0]):,} | {form} | {size:,.0f} | {seconds:.1f} | {added:.0f} "
        f"| {score:.3f} | {same} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", nargs="+", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--forms", nargs="+", default=["mapped"])
    parser.add_argument("--fit", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    paths = [arguments.folder / f"modality_{v}.npy" for v in range(N_MODALITIES)]
    first = arguments.folder / "labels.npy"
    if arguments.fit:
        fit(paths, arguments.fit, first)
        return
    print("| samples | form | data MB | CPU s | added MB | ARI | same labels |")
    print("|---|---|---|---|---|---|---|")
    for n in arguments.sizes:
        rng = np.random.default_rng(0)
        try:
            for path in paths:
                centers = 4 * rng.standard_normal((N_CLUSTERS, N_FEATURES))
                write(path, centers.astype(np.float32), n, rng)
            for form in arguments.forms:
                own = [sys.executable, __file__, str(arguments.folder), "--fit", form]
                sys.stdout.flush()
                subprocess.run(own, check=True)
        finally:
            for path in [*paths, first]:
                path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
