"""Measure whether the adversary of EAMC aligns the modalities, and what it costs.

    python benchmarks/eamc_adversary.py FOLDER --seeds 5 --out OUT.csv

trains `EAMCClusterer` on 70 % of at most 1,500 samples of each set: pretraining alone,
then with and without the adversary, and with one thing of it changed. A fresh
classifier (logistic regression, and five nearest neighbours) learns to name the
modality of a latent from the training samples, and is scored on those that were held
out: 1 is modalities that are always separated, 0 is chance. Accuracy is that of the
clusters of the training samples; classes are used for it only. One line per variant,
set and seed is appended to OUT.csv, and a run that was broken off goes on from there;
``--table`` prints the means that the user guide shows.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from eamc_ablation import load, read
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmfusion import EAMCClusterer
from mmfusion.metrics import clustering_accuracy_score

SETS = (
    "digits",
    "wikipedia693",
    "snareseq_2v",
    "webkb203_3v",
    "coil20_3pose",
    "msrcv1_5v",
    "handwritten_mfeat",
    "avdigits_fsdd_mnist",
    "ngs_3v",
    "bbc_4v",
    "movies617",
    "mnist4_3v",
    "bdgp_3v",
    "citeseer_2v",
)
MAX_SAMPLES = 1500
TRAINING_SHARE = 0.7
CLASSIFIERS = (LogisticRegression(max_iter=300), KNeighborsClassifier(5))
WEIGHTS = (0.003, 0.01, 0.03, 0.1, 0.3)
VARIANTS = {
    "pretraining alone": dict(adversarial_weight=0.0, trainer__max_epochs=0),
    "no adversary": dict(adversarial_weight=0.0),
    **{f"weight {w:g}": dict(adversarial_weight=w) for w in WEIGHTS},
    "weight 0.03, no penalty": dict(trainer__adversary={"gradient_penalty": 0.0}),
}


def observed_latents(model, X):
    """Latents by modality, without samples that lack it."""
    by_modality = model.modality_latents(X).values()
    return [latents[~np.isnan(latents).any(axis=1)] for latents in by_modality]


def separability(classifier, training, held_out):
    """Accuracy of a fresh classifier of modality, as a share of what chance leaves."""
    known, new = map(np.concatenate, (training, held_out))
    of_known, of_new = (
        np.repeat(range(len(latents)), [len(own) for own in latents])
        for latents in (training, held_out)
    )
    model = make_pipeline(StandardScaler(), classifier).fit(known, of_known)
    chance = 1 / len(training)
    return (model.score(new, of_new) - chance) / (1 - chance)


def run_seed(folder, name, seed, variants):
    """Rows of the variants on one set and seed, which share their pretraining."""
    torch.set_num_threads(1)
    X, y = load(folder, name)
    order = np.random.RandomState(seed).permutation(len(X))[:MAX_SAMPLES]
    known, new = np.split(order, [int(TRAINING_SHARE * len(order))])
    rows = []
    with tempfile.TemporaryDirectory() as pretrained:
        for variant in variants:
            model = EAMCClusterer(len(np.unique(y)), random_state=seed, n_init=1)
            model.set_params(encoders=(128, 64), trainer__checkpoint_dir=pretrained)
            model.set_params(**VARIANTS[variant])
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                labels = model.fit_predict(X[known])
            accuracy = clustering_accuracy_score(y[known], labels)
            latents = [observed_latents(model, X[part]) for part in (known, new)]
            separated = [separability(each, *latents) for each in CLASSIFIERS]
            of_discriminators = model.history_[-1].get("accuracy", math.nan)
            warned = any("separate" in str(w.message) for w in caught)
            rows.append(
                (variant, name, seed, accuracy, *separated, of_discriminators, warned)
            )
    return rows


def table(path):
    """Means over sets by variant, and the difference to the network's own terms.

    The difference in accuracy is paired by set and seed; its standard error is that of
    the mean over sets.
    """
    figures = {(v, name, seed): numbers for v, name, seed, *numbers in read(path)}
    lines = [["variant", "accuracy", "difference", "separable", "by neighbours", "won"]]
    for variant in VARIANTS:
        own = {key[1:]: cells for key, cells in figures.items() if key[0] == variant}
        sets = [name for name in SETS if any(key[0] == name for key in own)]
        if not sets:
            continue
        by_set, gains = [], []
        for name in sets:
            cells = {key: c for key, c in own.items() if key[0] == name}
            by_set.append(
                np.mean([[float(x) for x in c[:3]] for c in cells.values()], 0)
            )
            paired = [
                float(c[0]) - float(figures["no adversary", *key][0])
                for key, c in cells.items()
            ]
            gains.append(np.mean(paired))
        error = np.std(gains, ddof=1) / math.sqrt(len(gains))
        gain = (
            "" if variant == "no adversary" else f"{np.mean(gains):+.4f} ± {error:.4f}"
        )
        accuracy, *separable = np.mean(by_set, axis=0)
        won = sum(cells[4] == "True" for cells in own.values())
        texts = [f"{accuracy:.3f}", gain, *(f"{value:.2f}" for value in separable)]
        lines.append([variant, *texts, f"{won} of {len(own)}"])
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("eamc_adversary.csv"))
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only print the summary")
    arguments = parser.parse_args()
    if not arguments.table:
        rows = read(arguments.out) if arguments.out.exists() else []
        done = {tuple(row[:3]) for row in rows}
        cells = [
            (
                name,
                seed,
                [v for v in arguments.variants if (v, name, str(seed)) not in done],
            )
            for seed in range(arguments.seeds)
            for name in arguments.sets
        ]
        parallel = Parallel(n_jobs=arguments.n_jobs, return_as="generator_unordered")
        jobs = (delayed(run_seed)(arguments.folder, *c) for c in cells if c[2])
        for rows in parallel(jobs):
            with arguments.out.open("a", newline="") as file:
                csv.writer(file).writerows(rows)
    csv.writer(sys.stdout).writerows(table(arguments.out))


if __name__ == "__main__":
    main()
