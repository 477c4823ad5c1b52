"""Time a fit of NeuralFusionClassifier beside a bare loop of the same arithmetic.

    OMP_NUM_THREADS=1 python benchmarks/neural_speed.py FOLDER [--csv OUT.csv]

prints a Markdown table. The bare loop is written out below: plain tensors, fused AdamW
and torch's own functions, nothing around them, with the same numbers of samples,
batches, epochs and members, the same losses, and modalities dropped and made noisy
alike. Fits and loops take turns in one process on one thread: seconds of CPU are
medians, and ratios medians of the ratios of neighbours. A short fit and a short loop
come first, and are not counted.

'fit / loop' is the default of four members beside the loop of four, and '4 / 1 members'
the fit of four beside the fit of one. Memory is that by which the peak of the process
rises in a first short fit, in a process of its own, with the code that this loads.
Sets and their rows are those of ``fusion_quality.py``.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from fusion_quality import SETS, load, markdown
from torch import nn
from torch.nn import functional as F

from mmfusion import NeuralFusionClassifier, Trainer

WIDTH, BATCH, MEMBERS = 64, 64, 4
DROPOUT = MODALITY_DROPOUT = MODALITY_NOISE = HEADS_WEIGHT = 0.3
LARGEST_NOISE = 4.0
RATE, DECAY, CLIP = 2e-3, 1e-2, 5.0


class Layers(nn.Module):
    """Linear layers side by side."""

    def __init__(self, *batch, n_inputs, n_outputs):
        super().__init__()
        bound = 1 / math.sqrt(n_inputs)
        self.weight = nn.Parameter(torch.empty(*batch, n_inputs, n_outputs))
        self.bias = nn.Parameter(torch.empty(*batch, 1, n_outputs))
        for own in (self.weight, self.bias):
            nn.init.uniform_(own, -bound, bound)

    def forward(self, x):
        return x @ self.weight + self.bias


class Network(nn.Module):
    """Encoders, gated fusion and heads of all members."""

    def __init__(self, widths, n_classes, n_members):
        super().__init__()
        n, m = len(widths), n_members
        self.first = nn.ModuleList(nn.Linear(d, m * WIDTH) for d in widths)
        self.second = nn.ModuleList(
            Layers(m, n_inputs=WIDTH, n_outputs=WIDTH) for _ in widths
        )
        self.transform = Layers(n, m, n_inputs=WIDTH, n_outputs=WIDTH)
        self.gate = Layers(m, n_inputs=n * (WIDTH + 1), n_outputs=n * WIDTH)
        self.head = Layers(m, n_inputs=WIDTH, n_outputs=n_classes)
        self.heads = Layers(n, m, n_inputs=WIDTH, n_outputs=n_classes)
        self.n_members = m

    def forward(self, blocks, observed):
        m, n = self.n_members, len(blocks)
        latents = []
        for x, first, second in zip(blocks, self.first, self.second, strict=True):
            hidden = first(x).unflatten(-1, (m, -1)).transpose(0, 1).relu()
            latents.append(second(hidden))
        flags = observed.to(latents[0])
        z = torch.stack(latents) * flags.T[:, None, :, None]
        z = F.dropout(z, DROPOUT)
        side = torch.cat([*z, flags.expand(m, *flags.shape)], dim=-1)
        gates = self.gate(side).sigmoid().unflatten(-1, (n, -1)).movedim(-2, 0)
        gates = gates * flags.T[:, None, :, None]
        fused = (gates * self.transform(z).tanh()).sum(0)
        return self.head(F.dropout(fused, DROPOUT)), self.heads(z), flags


def corrupt(blocks):
    """Drop modalities of samples, never all, and add noise to others."""
    shape = len(blocks[0]), len(blocks)
    draws = torch.rand(shape)
    observed = (draws >= MODALITY_DROPOUT) | (draws == draws.amax(1, keepdim=True))
    is_noisy = torch.rand(shape) < MODALITY_NOISE
    deviations = torch.where(is_noisy, LARGEST_NOISE * torch.rand(shape), 0.0)
    blocks = [
        x + torch.randn_like(x) * own[:, None]
        for x, own in zip(blocks, deviations.unbind(1), strict=True)
    ]
    return blocks, observed


def bare_loop(blocks, classes, n_epochs, n_members):
    """Train the network; its losses are the means of those of the members."""
    network = Network([x.shape[1] for x in blocks], int(classes.max()) + 1, n_members)
    optimizer = torch.optim.AdamW(
        network.parameters(), RATE, weight_decay=DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_epochs)
    for _ in range(n_epochs):
        order = torch.randperm(len(classes))
        for rows in order.split(BATCH):
            y = classes[rows]
            output, by_modality, flags = network(*corrupt([x[rows] for x in blocks]))
            loss = F.cross_entropy(output.flatten(0, 1), y.repeat(n_members))
            heads = F.cross_entropy(
                by_modality.flatten(0, 2),
                y.repeat(math.prod(by_modality.shape[:2])),
                reduction="none",
            ).unflatten(0, by_modality.shape[:3])
            of_sample = (heads.mean(1) * flags.T).sum(0) / flags.sum(1)
            loss = loss + HEADS_WEIGHT * of_sample.mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
        schedule.step()
    return float(loss.detach())


def tensors(X, y):
    """Standardised features of every modality, and the positions of the classes."""
    blocks = []
    for name in X.names:
        x = X[name].astype(np.float64)
        spread = x.std(axis=0)
        scaled = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1)
        blocks.append(torch.tensor(scaled, dtype=torch.float32))
    return blocks, torch.tensor(np.unique(y, return_inverse=True)[1])


def seconds(function, *args, **options):
    """CPU seconds of a call, and its result."""
    begin = time.process_time()
    found = function(*args, **options)
    return time.process_time() - begin, found


def fit(X, y, n_members, **options):
    """A fitted classifier."""
    trainer = Trainer(**options)
    estimator = NeuralFusionClassifier(
        n_members=n_members, trainer=trainer, random_state=0
    )
    return estimator.fit(X, y)


def timed(X, y, repeats):
    """A row of the table: medians of seconds and of ratios."""
    blocks, classes = tensors(X, y)
    fit(X, y, 1, max_epochs=2)
    bare_loop(blocks, classes, 2, 1)
    turns = []
    for _ in range(repeats):
        four, fitted = seconds(fit, X, y, MEMBERS)
        n_epochs = fitted.n_iter_
        loop, _ = seconds(bare_loop, blocks, classes, n_epochs, MEMBERS)
        one, _ = seconds(fit, X, y, 1)
        turns.append((four, loop, one))
    four, loop, one = (median(own) for own in zip(*turns, strict=True))
    ratios = median(a / b for a, b, _ in turns), median(a / c for a, _, c in turns)
    n_batches = n_epochs * math.ceil(len(classes) / BATCH)
    return [
        str(len(classes)),
        str(n_batches),
        *(f"{value:.1f}" for value in (four, loop, one)),
        *(f"{value:.2f}" for value in ratios),
    ]


def peak_rise(X, y):
    """MiB by which the peak of this process rises in a fit."""
    before = peak()
    fit(X, y, MEMBERS, max_epochs=2)
    return peak() - before


def peak():
    """Peak of the resident memory of this process, in MiB; that of Linux."""
    # ru_maxrss of resource would begin with the peak of the parent process
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="only that of one set")
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    if arguments.memory:
        print(f"{peak_rise(*load(arguments.folder, arguments.sets[0])):.0f}")
        return
    torch.set_num_threads(1)
    rows = [["set", "samples", "batches", "fit, 4 members, s", "loop, 4 members, s"]]
    rows[0] += ["fit, 1 member, s", "fit / loop", "4 / 1 members", "memory, MiB"]
    for name in arguments.sets:
        row = [name, *timed(*load(arguments.folder, name), arguments.repeats)]
        alone = [sys.executable, __file__, str(arguments.folder), "--memory"]
        found = subprocess.run(
            [*alone, "--sets", name], capture_output=True, text=True, check=True
        )
        rows.append([*row, found.stdout.strip()])
        print(*rows[-1], file=sys.stderr)
    print(markdown(rows))
    if arguments.csv:
        with arguments.csv.open("w", newline="") as out:
            csv.writer(out, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
