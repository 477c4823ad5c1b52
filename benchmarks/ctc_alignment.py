"""Alignment by CTC beside other packages: CPU time, memory, and planted labels.

    OMP_NUM_THREADS=1 python benchmarks/ctc_alignment.py --peers PYTHON

PYTHON is that of an environment with ctc-segmentation 1.7.5, which is not needed. Each
method runs in a process of its own, after a small call that loads and compiles. CPU
seconds are of one recording with planted labels: by mmfusion, spans with posteriors; by
torch, the loss with its gradient, from which posteriors follow, and the likeliest path
by NumPy, row by row; by ctc-segmentation, the likeliest path alone. Memory is the
increase of the largest resident set. Errors are those of the first frames of labels, in
frames. `--long` adds 100,000 frames with 10,000 labels, by mmfusion alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import subprocess
import time
from pathlib import Path

import numpy as np

SIZES = [(500, 60), (2000, 250), (5000, 600)]
LONG = (100_000, 10_000)
N_COLUMNS = 40


def recording(n_frames: int, n_labels: int) -> tuple[np.ndarray, ...]:
    """Make log-probabilities, labels, and their first frames."""
    rng = np.random.default_rng(n_frames)
    labels = rng.integers(1, N_COLUMNS, n_labels)
    starts = np.sort(rng.choice(n_frames // 3, n_labels, replace=False)) * 3
    scores = rng.normal(size=(n_frames, N_COLUMNS))
    columns = np.zeros(n_frames, dtype=int)
    columns[starts] = columns[starts + 1] = labels
    scores[np.arange(n_frames), columns] += 6
    scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return scores, labels, starts


def align_by_mmfusion(table, labels, band=None):
    from mmfusion.alignment import CTCAligner

    X = {"network": [table], "labels": [labels.tolist()]}
    return CTCAligner(band=band).fit(X).align(X)[0].spans[:, 0]


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


METHODS = {"mmfusion": align_by_mmfusion, "torch and NumPy": align_by_torch}


def measured(name, size, options, queue) -> None:
    """Put CPU seconds, MiB and the mean error into a queue."""
    METHODS[name](*recording(30, 4)[:2], **options)
    table, labels, starts = recording(*size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    found = METHODS[name](table, labels, **options)
    seconds = time.process_time() - begin
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    queue.put((seconds, used / 1024, abs(found - starts).mean()))


def in_a_process(name, size, **options) -> tuple[float, float, float]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=measured, args=(name, size, options, queue))
    process.start()
    found = queue.get()
    process.join()
    return found


def report(name: str, size: tuple[int, int], found, base: float | None) -> None:
    seconds, mebibytes, error = found
    ratio = "" if base is None else f"{seconds / base:6.1f} x"
    shown = f"{size[0]:7,} frames {size[1]:6,} labels  {name:24}"
    print(f"{shown} {seconds:8.3f} s {ratio:8} {mebibytes:6.0f} MiB  error {error:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="Python with ctc-segmentation")
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    peers = Path(__file__).with_name("ctc_alignment_peers.py")
    for size in SIZES:
        ours = in_a_process("mmfusion", size)
        report("mmfusion", size, ours, None)
        report("torch and NumPy", size, in_a_process("torch and NumPy", size), ours[0])
        if options.peers:
            command = [options.peers, str(peers), *map(str, size)]
            out = subprocess.run(command, check=True, capture_output=True, text=True)
            found = tuple(map(float, out.stdout.split()[-3:]))
            report("ctc-segmentation", size, found, ours[0])
    if options.long:
        for band in (0.02, None):
            found = in_a_process("mmfusion", LONG, band=band)
            report(f"mmfusion, band={band}", LONG, found, None)


if __name__ == "__main__":
    main()
