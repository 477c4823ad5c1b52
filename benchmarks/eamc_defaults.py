"""Settle the adversary, the attention, the schedule and the restarts of EAMC.

    python benchmarks/eamc_defaults.py FOLDER --sets msrcv1_5v --seeds 5 --out OUT.csv

trains `EAMCClusterer` at full length, one restart at a time, with every variant of its
last phase; those of a seed that share a pretraining resume one. One line per variant,
set and seed is appended to OUT.csv (samples, accuracy, what restarts are compared by,
processor seconds, warnings, clusters of the samples), and a run that was broken off
goes on from there. ``--table`` prints the means by set, ``--settle`` what the variant
that is best by the mean over all other sets gains on each (leave-one-set-out), for all
sets or by their size, and ``--restarts`` what becomes of sets of three to seven
restarts: the best by the score of pretraining, and their majority. Classes are used to
score, and for the number of clusters.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import tempfile
import time
import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from eamc_ablation import load, read
from eamc_quality import SETS
from scipy.optimize import linear_sum_assignment

from mmfusion import EAMCClusterer
from mmfusion.metrics import clustering_accuracy_score

DEFAULT = "weight 0.03"
SMALL = 500  # samples of a set that is small
ATTENTION = dict(attention_temperature=0.25)
VARIANTS = {
    "pretraining alone": dict(trainer__max_epochs=0),
    "weight 0.03": dict(adversarial_weight=0.03),
    "weight 0.01": dict(adversarial_weight=0.01),
    "no adversary": dict(adversarial_weight=0.0),
    "attention, weight 0.03": ATTENTION | dict(adversarial_weight=0.03),
    "attention, weight 0.01": ATTENTION | dict(adversarial_weight=0.01),
    "attention, no adversary": ATTENTION | dict(adversarial_weight=0.0),
    "weight 0.03, constant rate": dict(
        adversarial_weight=0.03, trainer__lr_schedule="constant"
    ),
}


def run(folder, name, seed, variants):
    """Yield one row per variant."""
    X, y = load(folder, name)
    with tempfile.TemporaryDirectory() as pretrained:
        for variant in variants:
            model = EAMCClusterer(len(np.unique(y)), random_state=seed, n_init=1)
            model.set_params(trainer__checkpoint_dir=pretrained, **VARIANTS[variant])
            start = time.process_time()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                labels = model.fit_predict(X)
            seconds = time.process_time() - start
            accuracy = clustering_accuracy_score(y, labels)
            found = (accuracy, model.init_scores_[0], model.loss_, seconds)
            written = " ".join(map(str, labels))
            yield (variant, name, seed, len(X), *found, bool(caught), written)


def scores(rows):
    """Accuracy by set, seed and variant; number of samples by set."""
    found, sizes = {}, {}
    for variant, name, seed, n_samples, accuracy, *_ in rows:
        found.setdefault(name, {}).setdefault(seed, {})[variant] = float(accuracy)
        sizes[name] = int(n_samples)
    return {name: found[name] for name in SETS if name in found}, sizes


def table(rows):
    """Mean and spread over seeds by set and variant, and the paired difference.

    The difference is that to the default, with the standard error over sets.
    """
    by_set, _ = scores(rows)
    lines = [["variant", *by_set, "mean difference"]]
    for variant in VARIANTS:
        cells = []
        for seeds in by_set.values():
            own = [s[variant] for s in seeds.values() if variant in s]
            cells.append(f"{np.mean(own):.3f} ± {np.std(own):.3f}" if own else "")
        gains = [g for g in gains_of(by_set, variant).values() if not math.isnan(g)]
        lines.append([variant, *cells, f"{with_error(gains)} ({len(gains)} sets)"])
    return lines


def gains_of(by_set, variant):
    """Mean over seeds of the difference to the default, by set; NaN without any."""
    return {
        name: np.mean(
            [
                s[variant] - s[DEFAULT]
                for s in seeds.values()
                if {variant, DEFAULT} <= {*s}
            ]
            or [math.nan]
        )
        for name, seeds in by_set.items()
    }


def with_error(values):
    """Mean and standard error."""
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{np.mean(values):+.4f} ± {error:.4f}"


def settle(rows, variants):
    """Gain on each set of the variant that gains most on the others, by set.

    By size, the others are those that are small, or large, as the set is.
    """
    by_set, sizes = scores(rows)
    gains = {variant: gains_of(by_set, variant) for variant in variants}
    names = [n for n in by_set if not any(math.isnan(g[n]) for g in gains.values())]
    lines = [["set", "samples", "all sets", "gain", "by size", "gain"]]
    totals = [[], []]
    for name in names:
        line = [name, sizes[name]]
        for own_size, total in zip((False, True), totals, strict=True):
            others = [
                other
                for other in names
                if other != name
                and (not own_size or (sizes[other] <= SMALL) == (sizes[name] <= SMALL))
            ]
            chosen = max(variants, key=lambda v: np.mean([gains[v][o] for o in others]))
            total.append(gains[chosen][name])
            line += [chosen, f"{total[-1]:+.4f}"]
        lines.append(line)
    return [*lines, ["mean", "", "", with_error(totals[0]), "", with_error(totals[1])]]


def majority(runs):
    """Most frequent cluster of each sample, after clusters are matched to the first."""
    n_clusters = max(int(run.max()) for run in runs) + 1
    votes = np.zeros((len(runs[0]), n_clusters), int)
    for run in runs:
        counts = np.zeros((n_clusters, n_clusters), int)
        np.add.at(counts, (run, runs[0]), 1)
        _, matched = linear_sum_assignment(counts, maximize=True)
        votes[np.arange(len(run)), matched[run]] += 1
    return votes.argmax(axis=1)


def restarts(rows, folder):
    """Accuracy of what is made of all sets of restarts; spread over these sets."""
    lines = [["set", "variant", "runs", "one", "best of 3", "majority of 3", "of 5"]]
    for name in SETS:
        for variant in VARIANTS:
            own = [row for row in rows if row[:2] == [variant, name]]
            if len(own) < 5:
                continue
            y = load(folder, name)[1]
            labels = [np.array(row[9].split(), int) for row in own]
            score = [float(row[5]) for row in own]
            found = [[float(row[4]) for row in own], [], [], []]
            for some in combinations(range(len(own)), 3):
                found[1].append(float(own[min(some, key=score.__getitem__)][4]))
                found[2].append(score_majority(y, labels, some))
            for some in combinations(range(len(own)), 5):
                found[3].append(score_majority(y, labels, some))
            cells = [f"{np.mean(each):.3f} ± {np.std(each):.3f}" for each in found]
            lines.append([name, variant, len(own), *cells])
    return lines


def score_majority(y, labels, some):
    """Accuracy of the majority of some runs, the first of which is drawn by lot."""
    return clustering_accuracy_score(y, majority([labels[place] for place in some]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("eamc_defaults.csv"))
    parser.add_argument("--table", action="store_true", help="only print the summary")
    parser.add_argument("--settle", action="store_true", help="leave one set out")
    parser.add_argument("--restarts", action="store_true", help="choose among restarts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = read(arguments.out) if arguments.out.exists() else []
    lines = []
    if arguments.table:
        lines = table(rows)
    elif arguments.settle:
        lines = settle(rows, arguments.variants)
    elif arguments.restarts:
        lines = restarts(rows, arguments.folder)
    csv.writer(sys.stdout).writerows(lines)
    if not lines:
        run_all(arguments, rows)


def run_all(arguments, rows):
    """Append a row for every variant, set and seed that has none."""
    done = {tuple(row[:3]) for row in rows}
    for seed in range(arguments.seeds):
        for name in arguments.sets:
            left = [v for v in arguments.variants if (v, name, str(seed)) not in done]
            for row in run(arguments.folder, name, seed, left):
                with arguments.out.open("a", newline="") as file:
                    csv.writer(file).writerow(row)


if __name__ == "__main__":
    main()
