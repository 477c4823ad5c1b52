"""Settle the adversary, the attention, the schedule and the restarts of EAMC.

    python benchmarks/eamc_defaults.py FOLDER --sets msrcv1_5v --seeds 5 --out OUT.csv

trains `EAMCClusterer` at full length, one restart at a time, with every variant of its
last phase; those of a seed that share a pretraining resume one. One line per variant,
set and seed is appended to OUT.csv (samples, accuracy, what restarts are compared by,
processor seconds, warnings, clusters of the samples), and a run that was broken off
goes on from there. ``--table`` prints the means by set, and ``--settle`` which variant
is best for each set by the mean over all others (leave-one-set-out). Classes are used
to score, and for the number of clusters.
"""

from __future__ import annotations

import argparse
import csv
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("eamc_defaults.csv"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = read(arguments.out) if arguments.out.exists() else []
    done = {tuple(row[:3]) for row in rows}
    for seed in range(arguments.seeds):
        for name in arguments.sets:
            left = [v for v in arguments.variants if (v, name, str(seed)) not in done]
            for row in run(arguments.folder, name, seed, left):
                with arguments.out.open("a", newline="") as file:
                    csv.writer(file).writerow(row)


if __name__ == "__main__":
    main()
