"""Alignment by CTC beside other packages: CPU time, memory, and planted labels.

    OMP_NUM_THREADS=1 python benchmarks/ctc_alignment.py --peers PYTHON

PYTHON is that of an environment with ctc-segmentation 1.7.5 or torchaudio 2.11.1, which
are not needed. Each method runs in a process of its own, after a small call that loads
and compiles. CPU seconds are the least of five calls, of one recording with planted
labels. By mmfusion they are those of `align`, since `fit` learns nothing, with
posteriors and without; by torch, of the loss with its gradient, from which posteriors
follow, and of the likeliest path by NumPy, row by row; by the others, of the likeliest
path alone. Ratios are to the path of mmfusion. Memory is the increase of the largest
resident set. Errors are those of the first frames of labels, in frames. Labels have
scores that are higher than others by `--height` standard deviations: 0 has nothing to
find. `--long` adds 100,000 frames with 10,000 labels, by mmfusion alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import subprocess
import time
from functools import cache, partial
from pathlib import Path

import numpy as np

SIZES = [(500, 60), (2000, 250), (5000, 600)]
LONG = (100_000, 10_000)
N_COLUMNS = 40
HEIGHT = 6.0
N_CALLS = 5


def recording(
    n_frames: int, n_labels: int, height: float = HEIGHT
) -> tuple[np.ndarray, ...]:
    """Make log-probabilities of float32, labels, and their first frames."""
    rng = np.random.default_rng(n_frames)
    labels = rng.integers(1, N_COLUMNS, n_labels)
    starts = np.sort(rng.choice(n_frames // 3, n_labels, replace=False)) * 3
    scores = rng.normal(size=(n_frames, N_COLUMNS))
    columns = np.zeros(n_frames, dtype=int)
    columns[starts] = columns[starts + 1] = labels
    scores[np.arange(n_frames), columns] += height
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores.astype(np.float32), labels, starts


def align_by_mmfusion(table, labels, posteriors=True, band=None):
    X = {"network": [table], "labels": [labels.tolist()]}
    aligner = fitted(table.shape[1], band)
    return aligner.align(X, posteriors=posteriors)[0].spans[:, 0]


@cache
def fitted(n_columns, band):
    from mmfusion.alignment import CTCAligner

    X = {"network": [-np.ones((1, n_columns))], "labels": [[1]]}
    return CTCAligner(band=band).fit(X)


def align_by_torch(table, labels):
    import torch

    scores = torch.tensor(table).requires_grad_()
    loss = torch.nn.functional.ctc_loss(
        scores[:, None],
        torch.tensor(labels)[None],
        torch.tensor([len(table)]),
        torch.tensor([len(labels)]),
        reduction="sum",
    )
    loss.backward()
    emits = np.zeros(2 * len(labels) + 1, dtype=int)
    emits[1::2] = labels
    may_skip = np.zeros(len(emits), dtype=bool)
    may_skip[3::2] = labels[1:] != labels[:-1]
    values = np.full(len(emits), -np.inf)
    values[:2] = table[0, emits[:2]]
    backs = np.zeros((len(table), len(emits)), dtype=np.int8)
    candidates = np.full((3, len(emits)), -np.inf)
    for t in range(1, len(table)):
        candidates[0], candidates[1, 1:] = values, values[:-1]
        candidates[2, 2:] = np.where(may_skip[2:], values[:-2], -np.inf)
        backs[t] = candidates.argmax(axis=0)
        values = candidates.max(axis=0) + table[t, emits]
    states = np.empty(len(table), dtype=int)
    states[-1] = len(emits) - 2 + int(values[-1] > values[-2])
    for t in range(len(table) - 1, 0, -1):
        states[t - 1] = states[t] - backs[t, states[t]]
    return np.searchsorted(states, 2 * np.arange(len(labels)) + 1)


METHODS = {
    "mmfusion": align_by_mmfusion,
    "mmfusion, path": partial(align_by_mmfusion, posteriors=False),
    "torch and NumPy": align_by_torch,
}


def measured(align, size, height) -> tuple[float, float, float]:
    """Return CPU seconds, MiB and the mean error."""
    align(*recording(30, 4)[:2])
    table, labels, starts = recording(*size, height)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(N_CALLS if size != LONG else 1):
        begin = time.process_time()
        found = align(table, labels)
        seconds.append(time.process_time() - begin)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return min(seconds), used / 1024, abs(found - starts).mean()


def put(name, size, height, options, queue) -> None:
    queue.put(measured(partial(METHODS[name], **options), size, height))


def in_a_process(name, size, height, **options) -> tuple[float, float, float]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=put, args=(name, size, height, options, queue))
    process.start()
    found = queue.get()
    process.join()
    return found


def report(name: str, size: tuple[int, int], found, base: float | None) -> None:
    seconds, mebibytes, error = found
    ratio = "" if base is None else f"{seconds / base:6.1f} x"
    shown = f"{size[0]:7,} frames {size[1]:6,} labels  {name:24}"
    print(f"{shown} {seconds:8.4f} s {ratio:8} {mebibytes:6.0f} MiB  error {error:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="append", default=[], metavar="PYTHON")
    parser.add_argument("--height", type=float, default=HEIGHT)
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    peers = Path(__file__).with_name("ctc_alignment_peers.py")
    for size in SIZES:
        report("mmfusion", size, in_a_process("mmfusion", size, options.height), None)
        ours = in_a_process("mmfusion, path", size, options.height)
        report("mmfusion, path", size, ours, None)
        found = in_a_process("torch and NumPy", size, options.height)
        report("torch and NumPy", size, found, ours[0])
        for python in options.peers:
            command = [python, str(peers), *map(str, size), str(options.height)]
            out = subprocess.run(command, check=True, capture_output=True, text=True)
            for line in out.stdout.splitlines():
                name, *values = line.split()
                report(name, size, tuple(map(float, values)), ours[0])
    if options.long:
        for band in (0.02, None):
            found = in_a_process("mmfusion", LONG, options.height, band=band)
            report(f"mmfusion, band={band}", LONG, found, None)


if __name__ == "__main__":
    main()
