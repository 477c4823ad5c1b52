"""Measure by which pairs the heads and restarts of EAMC have to be compared.

    python benchmarks/eamc_restarts.py FOLDER --sets msrcv1_5v --seeds 7 --out OUT.csv

pretrains three `EAMCClusterer` with its defaults to the end, and scores every
clustering head of each by the pairs that one epoch draws, and by all edges of all
graphs, as the fit does. One line per set, seed and restart is appended to OUT.csv:
samples, then for either score its lowest value and the accuracy of the head that has
it, then the processor seconds of pretraining and of the score of all edges. A run that
was broken off goes on from there; ``--table`` prints the accuracy of single restarts,
and of the best of three by its score. Classes are used for accuracies, and for the
number of clusters.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from eamc_ablation import load, read
from eamc_quality import SETS

from mmfusion import EAMCClusterer
from mmfusion.clustering.eamc import _estimator
from mmfusion.clustering.eamc._pretraining import (
    GraphTrust,
    NeighborAgreement,
    keep_best_head,
    score_heads,
    sum_by_graph,
)
from mmfusion.metrics import clustering_accuracy_score
from mmfusion.nn._network import evaluating

N_RESTARTS = 3


def score_by_epoch(net, pairs):
    """Score every head by the pairs of one epoch."""
    objective = NeighborAgreement(size_weight=1.0)
    sums = counts = imbalance = 0
    with evaluating(net.module_):
        for batch, graphs in pairs:
            own, unequal = objective.agreement(net.module_(*batch))
            more, n_pairs = sum_by_graph(own, graphs, len(pairs.graphs))
            sums, counts, imbalance = sums + more, counts + n_pairs, imbalance + unequal
    drawn = counts > 0
    means = sums[:, drawn] / counts[drawn] + GraphTrust.SMALLEST_DISAGREEMENT
    return means.log().mean(1) + imbalance / len(pairs)


def of_heads(net, data, y):
    """Accuracy of every clustering head."""
    with evaluating(net.module_):
        logits = net.module_(*data.batch(slice(None))[:2]).logits
    return [
        clustering_accuracy_score(y, labels.numpy()) for labels in logits.argmax(-1)
    ]


def run(folder, name, seed):
    """Rows of the restarts of a fit."""
    torch.set_num_threads(1)
    X, y = load(folder, name)
    rows, started = [], [time.process_time()]

    def compared(net, pairs):
        seconds = time.process_time() - started[-1]
        accuracies = of_heads(net, pairs.data, y)
        found = []
        for score in (score_by_epoch, score_heads):
            start = time.process_time()
            scores = score(net, pairs)
            best = int(scores.argmin())
            found += [float(scores[best]), accuracies[best]]
        found += [seconds, time.process_time() - start]
        rows.append((name, seed, len(rows), len(X), *found))
        best = keep_best_head(net, pairs)
        started.append(time.process_time())
        return best

    _estimator.keep_best_head = compared
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for start in range(N_RESTARTS):  # a fit of several would screen them
                random_state = N_RESTARTS * seed + start
                model = EAMCClusterer(
                    len(np.unique(y)), random_state=random_state, n_init=1
                )
                model.set_params(trainer__max_epochs=0).fit(X)
    finally:
        _estimator.keep_best_head = keep_best_head
    return rows


def table(rows):
    """Accuracy by set: single restarts, and the best of three, by either score."""
    lines = [["set", "samples", "seeds", "one, epoch", "one, all", "three, epoch"]]
    lines[0] += ["three, all", "difference"]
    gains = []
    for name in SETS:
        own = [row for row in rows if row[0] == name]
        seeds = sorted({row[1] for row in own})
        if not seeds:
            continue
        kept = []
        for seed in seeds:
            restarts = [list(map(float, row[4:])) for row in own if row[1] == seed]
            kept.append([min(restarts, key=lambda r, s=s: r[s])[s + 1] for s in (0, 2)])
        single = np.array([[float(row[5]), float(row[7])] for row in own])
        both = np.array(kept)
        gains.append(np.mean(both[:, 1] - both[:, 0]))
        cells = [
            f"{values.mean():.3f} ± {values.std():.3f}"
            for values in (*single.T, *both.T)
        ]
        lines.append([name, own[0][3], len(seeds), *cells, f"{gains[-1]:+.3f}"])
    error = np.std(gains, ddof=1) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
    lines.append(["mean", *[""] * 6, f"{np.mean(gains):+.4f} ± {error:.4f}"])
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--out", type=Path, default=Path("eamc_restarts.csv"))
    parser.add_argument("--table", action="store_true", help="only print the summary")
    arguments = parser.parse_args()
    rows = read(arguments.out) if arguments.out.exists() else []
    if not arguments.table:
        done = {tuple(row[:2]) for row in rows}
        for seed in range(arguments.seeds):
            for name in arguments.sets:
                if (name, str(seed)) in done:
                    continue
                found = run(arguments.folder, name, seed)
                with arguments.out.open("a", newline="") as file:
                    csv.writer(file).writerows(found)
        rows = read(arguments.out)
    csv.writer(sys.stdout).writerows(table(rows))


if __name__ == "__main__":
    main()
