"""Measure what each part of EAMC, and each repair of it, contributes.

    python benchmarks/eamc_ablation.py FOLDER --seeds 10 --out OUT.csv

trains `EAMCClusterer` with its defaults, and with one thing changed at a time, on
four sets. All variants of one seed with the same pretraining resume one of them.
To make the study affordable, encoders are small, every phase has 150 batches (the
default is 400), and there is one restart. Classes are used to score, and for the number
of clusters. One line per variant, set and seed is appended to OUT.csv, and a run that
was broken off goes on from there; ``--table`` prints the summary that the user guide
shows.
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
from joblib import Parallel, delayed

from mmfusion import EAMCClusterer
from mmfusion.datasets import load_digits_modalities, load_npz
from mmfusion.metrics import clustering_accuracy_score

SETS = ("digits", "snareseq_2v", "webkb203_3v", "wikipedia693")
STEPS = 150
ENCODERS = (64, 32)
BALANCE = dict(confidence_weight=0.0, balance_weight=1.0)
VARIANTS = {
    "default": {},
    # parts of the method
    "pretraining alone": dict(trainer__max_epochs=0),
    "no pretraining": dict(trainer__pretrain_epochs=0),
    "no adversary": dict(adversarial_weight=0.0),
    "no attention": dict(attention_temperature=None),
    "neither": dict(adversarial_weight=0.0, attention_temperature=None),
    "D_sc": dict(simplex_weight=0.0, confidence_weight=0.0),
    "D_sim": dict(separation_weight=0.0, confidence_weight=0.0),
    "D_sc + D_sim": dict(confidence_weight=0.0),
    "D_sc + D_reg": dict(simplex_weight=0.0),
    "D_sim + D_reg": dict(separation_weight=0.0),
    # repairs, undone
    "temperature 10": dict(attention_temperature=10.0),
    "D_reg balances": BALANCE,
    "D_reg balances, no pretraining": BALANCE | dict(trainer__pretrain_epochs=0),
    "L_att as a sum": dict(attention_weight="sum"),
    "gamma 10": dict(adversarial_weight=10.0),
    "batches take turns": dict(trainer__alternate=True),
    "discriminators never rest": dict(
        trainer__discriminator_rest=0.0, trainer__lr={"discriminators": 1e-3}
    ),
    "one clustering head": dict(n_clustering_heads=1),
    "size term of weight 1 from the start": dict(size_weight=1.0),
    # from random weights, as the paper does
    "paper": None,
    "paper, rates repaired": dict(
        trainer__lr={"network": 1e-3, "attention": 1e-3, "discriminators": 1e-4}
    ),
}


def make(variant: str, n_clusters: int, n_samples: int, seed: int, folder: str):
    """Make the estimator of a variant."""
    batch_size = max(50, 2 * n_clusters)
    epochs = math.ceil(STEPS / max(1, n_samples // batch_size))
    common = dict(
        encoders=ENCODERS, random_state=seed, n_init=1, trainer__checkpoint_dir=folder
    )
    if variant.startswith("paper"):
        epochs = math.ceil(2 * STEPS / max(1, n_samples // 100))
        changed = VARIANTS[variant] or {}
        return EAMCClusterer.paper(
            n_clusters, trainer__max_epochs=epochs, scaling="auto", **(common | changed)
        )
    lengths = dict(trainer__pretrain_epochs=epochs, trainer__max_epochs=epochs)
    if variant.endswith("no pretraining"):
        lengths["trainer__max_epochs"] = 2 * epochs
    params = common | lengths | VARIANTS[variant]
    if params.get("attention_weight") == "sum":
        params["attention_weight"] = batch_size**2
    return EAMCClusterer(n_clusters).set_params(**params)


def load(folder: Path, name: str):
    """X and y of a set; two modalities of the digits, as in published comparisons."""
    if name == "digits":
        bunch = load_digits_modalities()
        return bunch.data[["pixels", "gradients"]], bunch.target
    bunch = load_npz(folder / f"{name}.npz")
    return bunch.data, bunch.target


def run_seed(folder: Path, name: str, seed: int, variants: list[str]):
    """Accuracy of every variant on one set and seed, and what it warned of."""
    torch.set_num_threads(1)
    X, y = load(folder, name)
    rows = []
    with tempfile.TemporaryDirectory() as starts:
        for variant in variants:
            model = make(variant, len(np.unique(y)), len(X), seed, starts)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    score = clustering_accuracy_score(y, model.fit(X).labels_)
                except FloatingPointError:
                    score = math.nan
            rows.append((variant, name, seed, score, bool(caught)))
    return rows


def table(path: Path):
    """Mean and spread over seeds by variant and set."""
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    sets = [name for name in SETS if any(row[1] == name for row in rows)]
    lines = [["variant", *sets, "mean", "unhealthy"]]
    for variant in VARIANTS:
        own = [row for row in rows if row[0] == variant]
        if not own:
            continue
        cells, means = [], []
        for name in sets:
            scores = np.array([float(row[3]) for row in own if row[1] == name])
            means.append(scores.mean())
            cells.append(f"{scores.mean():.3f} ± {scores.std():.3f}")
        unhealthy = sum(row[4] == "True" for row in own)
        lines.append(
            [variant, *cells, f"{np.mean(means):.3f}", f"{unhealthy} of {len(own)}"]
        )
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--out", type=Path, default=Path("eamc_ablation.csv"))
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only print the summary")
    arguments = parser.parse_args()
    if not arguments.table:
        done = set()
        if arguments.out.exists():
            with arguments.out.open(newline="") as file:
                done = {tuple(row[:3]) for row in csv.reader(file) if row}
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
        jobs = (delayed(run_seed)(arguments.folder, *cell) for cell in cells if cell[2])
        for rows in parallel(jobs):
            with arguments.out.open("a", newline="") as file:
                csv.writer(file).writerows(rows)
    csv.writer(sys.stdout).writerows(table(arguments.out))


if __name__ == "__main__":
    main()
