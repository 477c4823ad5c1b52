"""Settle the adversary, the attention and the schedule of EAMC at full length.

    python benchmarks/eamc_defaults.py FOLDER --sets msrcv1_5v --seeds 5 --out OUT.csv

trains `EAMCClusterer` with its defaults but for one restart, and with every variant of
its last phase; those of a seed that share a pretraining resume one. One line per
variant, set and seed is appended to OUT.csv (samples, accuracy, score of pretraining,
clustering loss, processor seconds, whether it warned), and a run that was broken off
goes on from there. ``--table`` prints the means by set, and ``--settle`` what the
variant that is best by the mean over all other sets gains on each (leave-one-set-out),
for all sets or by their size. Classes are used to score, and for the number of
clusters.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from eamc_ablation import load, read
from eamc_quality import SETS

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
            yield (variant, name, seed, len(X), *found, bool(caught))


def scores(rows):
    """Accuracy by set, seed and variant; number of samples by set."""
    found, sizes = {}, {}
    for variant, name, seed, n_samples, accuracy, *_ in rows:
        found.setdefault(name, {}).setdefault(seed, {})[variant] = float(accuracy)
        sizes[name] = int(n_samples)
    return {name: found[name] for name in SETS if name in found}, sizes


def table(rows, variants):
    """Mean over seeds by set and variant.

    The last row is the paired difference to the default, with its standard error over
    the sets that a variant has been trained on.
    """
    by_set, sizes = scores(rows)
    lines = [["set", "samples", "seeds", *variants]]
    for name, seeds in by_set.items():
        found = [[s[v] for s in seeds.values() if v in s] for v in variants]
        means = [f"{np.mean(own):.3f}" if own else "" for own in found]
        lines.append([name, sizes[name], len(seeds), *means])
    differences = []
    for variant in variants:
        gains = gains_of(by_set, variant).values()
        known = [gain for gain in gains if not math.isnan(gain)]
        differences.append("" if variant == DEFAULT else with_error(known))
    return [*lines, ["difference", "", "", *differences]]


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
    """Mean and standard error; nothing without values."""
    if not values:
        return ""
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("eamc_defaults.csv"))
    parser.add_argument("--table", action="store_true", help="only print the summary")
    parser.add_argument("--settle", action="store_true", help="leave one set out")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = read(arguments.out) if arguments.out.exists() else []
    if arguments.table or arguments.settle:
        summary = settle if arguments.settle else table
        csv.writer(sys.stdout).writerows(summary(rows, arguments.variants))
    else:
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
