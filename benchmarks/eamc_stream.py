"""Memory of EAMCClusterer on data that lie on disk, against the number of samples.

    OMP_NUM_THREADS=1 python benchmarks/eamc_stream.py --n-samples 10000 100000 1000000

prints a Markdown table. Planted clusters of three modalities of 64 float32 features are
written to a temporary folder chunk by chunk, and fitted as memory maps in a process of
their own: one epoch of each phase, small networks. Memory is what
the fit adds to the process at its peak: the anonymous memory, which is what the program
holds, and the pages of the files, which the system takes back when it needs them, both
sampled every 10 ms; and all that is resident, as the system counts it (VmHWM). Then the
fitted network assigns all samples by `predict`, whose result has 8 bytes a sample, and
fuses them by `transform` (64 bytes a sample): what each adds to the anonymous memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

N_MODALITIES, N_FEATURES, N_CLUSTERS = 3, 64, 10
CHUNK = 50_000


def write(folder, n_samples):
    """Write planted clusters, a file of rows per modality; give the classes."""
    import numpy as np

    rng = np.random.default_rng(0)
    centers = rng.standard_normal((N_MODALITIES, N_CLUSTERS, N_FEATURES), np.float32)
    classes = rng.integers(N_CLUSTERS, size=n_samples)
    for v in range(N_MODALITIES):
        with open(folder / f"modality_{v}.f32", "wb") as file:
            for start in range(0, n_samples, CHUNK):
                of_chunk = classes[start : start + CHUNK]
                rows = rng.standard_normal((len(of_chunk), N_FEATURES), np.float32)
                rows += centers[v, of_chunk]
                rows.tofile(file)
    return classes


class MemoryWatch(threading.Thread):
    """Peaks of what a process holds, in MB above the start."""

    def __init__(self):
        super().__init__(daemon=True)
        self.over = threading.Event()
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")  # forgets the peak
        self.before = self._now()
        self.most = dict(self.before)

    def _now(self):
        fields = ("VmHWM", "RssAnon", "RssFile")
        with open("/proc/self/status") as status:
            lines = [line.split() for line in status]
        return {n[:-1]: int(mb[0]) / 2**10 for n, *mb in lines if n[:-1] in fields}

    def run(self):
        while not self.over.wait(0.01):
            for field, mb in self._now().items():
                self.most[field] = max(self.most[field], mb)

    def peak(self, field):
        return self.most[field] - self.before[field]


def make(batch_size):
    from mmfusion import EAMCClusterer, Trainer

    trainer = Trainer(pretrain_epochs=1, max_epochs=1, batch_size=batch_size)
    return EAMCClusterer(
        N_CLUSTERS, encoders=[32, 16], n_init=1, trainer=trainer, random_state=0
    )


def growth(call, maps):
    """Peak of the anonymous memory that a call adds, its result included, in MB."""
    watch = MemoryWatch()
    watch.start()
    result = call(maps)
    watch.over.set()
    watch.join()
    del result
    return watch.peak("RssAnon")


def measure(n_samples, batch_size):
    """Fit once in this process and print a row."""
    import numpy as np
    import torch
    from sklearn.metrics import adjusted_rand_score

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    warm = [rng.standard_normal((2000, N_FEATURES), np.float32) for _ in range(3)]
    make(batch_size).fit(warm)  # loads what torch and others load lazily
    with tempfile.TemporaryDirectory() as folder:
        classes = write(Path(folder), n_samples)
        paths = [Path(folder) / f"modality_{v}.f32" for v in range(N_MODALITIES)]
        maps = [np.memmap(p, np.float32, "r").reshape(-1, N_FEATURES) for p in paths]
        data_mb = sum(block.nbytes for block in maps) / 2**20
        clusterer, watch = make(batch_size), MemoryWatch()
        watch.start()
        start = time.perf_counter()
        clusterer.fit(maps)
        seconds = time.perf_counter() - start
        watch.over.set()
        watch.join()
        grown = [
            growth(call, maps) for call in (clusterer.predict, clusterer.transform)
        ]
        n_seen = n_samples + min(n_samples, 10_000)  # pretraining sees so many
        found = adjusted_rand_score(classes, clusterer.labels_)
    print(
        f"| {n_samples:,} | {data_mb:.0f} | {seconds:.0f} | {n_seen / seconds:,.0f} "
        f"| {watch.peak('RssAnon'):.0f} | {watch.peak('RssFile'):.0f} "
        f"| {watch.peak('VmHWM'):.0f} | {grown[0]:.0f} | {grown[1]:.0f} "
        f"| {found:.2f} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-samples", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--batch-size", type=int, default=500)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.n_samples[0], arguments.batch_size)
        return
    print(
        "| samples | data MB | seconds | samples/s | peak anonymous MB | peak file MB "
        "| peak resident MB | predict MB | transform MB | ARI |"
    )
    print("|---" * 10 + "|")
    for n_samples in arguments.n_samples:
        size = ["--batch-size", str(arguments.batch_size)]
        row = ["--one", "--n-samples", str(n_samples), *size]
        subprocess.run([sys.executable, __file__, *row], check=True)


if __name__ == "__main__":
    main()
