"""Measure what each part of EAMC, and each repair of it, contributes.

    python benchmarks/eamc_ablation.py FOLDER --seeds 10 --out OUT.csv

trains `EAMCClusterer` with its defaults, and with one thing changed at a time, on
four sets; then the same parts are taken from ``EAMCClusterer.paper()``, as printed and
with learning rates at which it learns. All variants of one seed with the same
pretraining resume one of them. To make the study affordable, encoders are small, every
phase has 150 batches (the default is 400), and there is one restart. Classes are used
to score, and for the number of clusters. One line per variant, set and seed is appended
to OUT.csv, and a run that was broken off goes on from there; ``--start paper`` chooses
the variants of one start, ``--table`` prints the summary that the user guide shows, and
``--published`` the accuracies of the paper beside ours.

    python benchmarks/eamc_ablation.py FOLDER --literal --sets webkb203_3v --seeds 1

trains the variants of the paper as printed: 500 epochs of its layers, and the lowest
total of 20 runs. One line takes 8 minutes of one processor on webkb203_3v, 12 on
wikipedia693, 20 on snareseq_2v and 75 on digits, without an adversary 5 to 23; all 720
lines of ten seeds take about 12 days. They are appended one by one to a file of their
own, and the line that a run was broken off in goes on from the checkpoints beside it.
"""

from __future__ import annotations

import argparse
import csv
import math
import shutil
import sys
import tempfile
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed

from mmfusion import EAMCClusterer
from mmfusion.clustering.eamc._pretraining import GraphTrust
from mmfusion.datasets import load_digits_modalities, load_npz
from mmfusion.metrics import clustering_accuracy_score

SETS = ("digits", "snareseq_2v", "webkb203_3v", "wikipedia693")
STEPS = 150
ENCODERS = (64, 32)
BALANCE = dict(confidence_weight=0.0, balance_weight=1.0)
ATTENTION = dict(attention_temperature=0.25)
TERMS = {
    "D_sc": dict(simplex_weight=0.0, confidence_weight=0.0),
    "D_sim": dict(separation_weight=0.0, confidence_weight=0.0),
    "D_sc + D_sim": dict(confidence_weight=0.0),
    "D_sc + D_reg": dict(simplex_weight=0.0),
    "D_sim + D_reg": dict(separation_weight=0.0),
}
PARTS = {
    "no adversary": dict(adversarial_weight=0.0),
    "no attention": dict(attention_temperature=None),
    "neither": dict(adversarial_weight=0.0, attention_temperature=None),
    **TERMS,
}
REPAIRED_RATES = dict(
    trainer__lr={"network": 1e-3, "attention": 1e-3, "discriminators": 1e-4}
)
# where the variants of a table begin: estimators by name
STARTS = {"default": {}, "paper": {}, "paper, rates repaired": REPAIRED_RATES}
VARIANTS = {
    "default": {},
    # parts of the method
    "pretraining alone": dict(trainer__max_epochs=0),
    "no pretraining": dict(trainer__pretrain_epochs=0),
    "attention": ATTENTION,
    "attention, no adversary": ATTENTION | dict(adversarial_weight=0.0),
    "no adversary": dict(adversarial_weight=0.0),
    **TERMS,
    # repairs, undone
    "attention not held near equal weights": ATTENTION | dict(weights="free"),
    "attention of temperature 1": dict(attention_temperature=1.0),
    "attention of temperature 10": dict(attention_temperature=10.0),
    "D_reg balances": BALANCE,
    "D_reg balances, no pretraining": BALANCE | dict(trainer__pretrain_epochs=0),
    "attention, L_att as a sum": ATTENTION | dict(attention_weight="sum"),
    "gamma 10": dict(adversarial_weight=10.0),
    "batches take turns": dict(trainer__adversary={"alternate": True}),
    "slopes not penalised": dict(trainer__adversary={"gradient_penalty": 0.0}),
    "one clustering head": dict(n_clustering_heads=1),
    "size term of weight 1 from the start": dict(size_weight=1.0),
    "graphs trusted alike": dict(trust="equal"),
    "gradients not clipped": dict(trainer__clip_norm=math.inf),
    "clipped at .5": dict(trainer__clip_norm=0.5),
    "constant learning rates": dict(trainer__lr_schedule="constant"),
    "three restarts, by agreement": dict(n_init=3),
    "epoch of the lowest clustering terms": dict(trainer__selection_every=1),
    "epoch of the lowest total": dict(
        trainer__selection_every=1, trainer__selection="total"
    ),
    "inputs not scaled": dict(scaling=None),
    # from random weights, as the paper does
    **{
        start if part is None else f"{start}: {part}": STARTS[start] | changed
        for start in ("paper", "paper, rates repaired")
        for part, changed in {None: {}, **PARTS}.items()
    },
}
# Zhou and Shen (2020), tables 4 and 5. NWC (NUS-WIDE-C5) and RGB-D (sentences of NYU
# depth V2) with the features of the paper are not obtainable: their authors published
# neither features nor the choice of samples.
PUBLISHED = {
    "all": (0.945, 0.497),
    "no adversary": (0.908, None),
    "no attention": (0.921, None),
    "neither": (0.871, None),
    "D_sc": (0.836, 0.364),
    "D_sim": (0.852, 0.379),
    "D_sc + D_sim": (0.918, 0.437),
    "D_sc + D_reg": (0.877, 0.426),
    "D_sim + D_reg": (0.898, 0.412),
}


# variants of the default, which has no attention, by the name of the part in the paper
FROM_DEFAULT = {
    "all": "attention",
    "no adversary": "attention, no adversary",
    "no attention": "default",
    "neither": "no adversary",
}


class EqualTrust(GraphTrust):
    """Trust in graphs of neighbours that does not learn."""

    def forward(self, pairs, graphs):
        """Weigh all pairs alike."""
        return torch.ones_like(pairs)


class EquallyTrustedEAMC(EAMCClusterer):
    """EAMC whose graphs of neighbours all count alike in pretraining."""

    def _make_parts(self, network):
        n_graphs = 2 * len(network.encoders)
        equal = {"trust": EqualTrust(network.heads.n_heads, n_graphs)}
        return super()._make_parts(network) | equal


class FreelyWeighingEAMC(EAMCClusterer):
    """EAMC whose attention weights are not held near equal ones."""

    def _objective(self, settings):
        return replace(super()._objective(settings), inequality_weight=0.0)


KINDS = {"trust": EquallyTrustedEAMC, "weights": FreelyWeighingEAMC}


def start_of(variant):
    """Where a variant begins."""
    start = variant.partition(":")[0]
    return start if start in STARTS else "default"


def make_literal(variant, n_clusters, seed, folder):
    """Make the estimator of a variant of the paper as printed."""
    model = EAMCClusterer.paper(
        n_clusters, scaling="auto", random_state=seed, **VARIANTS[variant]
    )
    return model.set_params(
        trainer__checkpoint_dir=folder, trainer__checkpoint_every=50
    )


def make(variant, n_clusters, n_samples, seed, folder):
    """Make the estimator of a variant."""
    batch_size = max(50, 2 * n_clusters)
    epochs = math.ceil(STEPS / max(1, n_samples // batch_size))
    common = dict(
        encoders=ENCODERS, random_state=seed, n_init=1, trainer__checkpoint_dir=folder
    )
    if variant.startswith("paper"):
        epochs = math.ceil(2 * STEPS / max(1, n_samples // 100))
        params = dict(scaling="auto", trainer__max_epochs=epochs) | common
        return EAMCClusterer.paper(n_clusters, **(params | VARIANTS[variant]))
    lengths = dict(trainer__pretrain_epochs=epochs, trainer__max_epochs=epochs)
    if variant.endswith("no pretraining"):
        lengths["trainer__max_epochs"] = 2 * epochs
    params = common | lengths | VARIANTS[variant]
    if params.get("attention_weight") == "sum":
        params["attention_weight"] = batch_size**2
    kinds = [kind for name, kind in KINDS.items() if params.pop(name, None)]
    kind = kinds[0] if kinds else EAMCClusterer
    return kind(n_clusters).set_params(**params)


def load(folder: Path, name: str):
    """X and y of a set; two modalities of the digits, as in published comparisons."""
    if name == "digits":
        bunch = load_digits_modalities()
        return bunch.data[["pixels", "gradients"]], bunch.target
    bunch = load_npz(folder / f"{name}.npz")
    return bunch.data, bunch.target


def score(model, X, y):
    """Accuracy of an estimator, and whether it warned."""
    torch.set_num_threads(1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            accuracy = clustering_accuracy_score(y, model.fit(X).labels_)
        except FloatingPointError:
            accuracy = math.nan
    return accuracy, bool(caught)


def run_seed(folder, name, seed, variants):
    """Rows of all variants on one set and seed, which share their pretraining."""
    X, y = load(folder, name)
    rows = []
    with tempfile.TemporaryDirectory() as starts:
        for variant in variants:
            model = make(variant, len(np.unique(y)), len(X), seed, starts)
            rows.append((variant, name, seed, *score(model, X, y)))
    return rows


def run_literal(folder, name, seed, variants, unfinished):
    """Row of one variant of the paper as printed."""
    X, y = load(folder, name)
    (variant,) = variants
    place = unfinished / f"{variant.replace(': ', '-')}-{name}-{seed}"
    model = make_literal(variant, len(np.unique(y)), seed, place)
    row = (variant, name, seed, *score(model, X, y))
    shutil.rmtree(place)
    return [row]


def read(path):
    """Rows of a run: variant, set, seed, accuracy, whether it warned."""
    with path.open(newline="") as file:
        return [row for row in csv.reader(file) if row]


def published(path):
    """Accuracy of the parts in the paper, and ours from each start, mean over sets."""
    rows = read(path)
    lines = [["part", "NWC, published", "RGB-D, published", *STARTS]]
    for part, given in PUBLISHED.items():
        cells = ["" if accuracy is None else f"{accuracy:.3f}" for accuracy in given]
        for start in STARTS:
            variant = start if part == "all" else f"{start}: {part}"
            if start == "default":
                variant = FROM_DEFAULT.get(part, part)
            by_set = [
                np.mean([float(row[3]) for row in rows if row[:2] == [variant, name]])
                for name in sorted({row[1] for row in rows if row[0] == variant})
            ]
            cells.append(f"{np.mean(by_set):.3f}" if by_set else "")
        lines.append([part, *cells])
    return lines


def table(path, variants):
    """Mean and spread over seeds by variant and set, and the difference to the start.

    The difference is paired over sets and seeds, with its standard error.
    """
    rows = read(path)
    sets = [name for name in SETS if any(row[1] == name for row in rows)]
    scores = {(v, name, seed): float(score) for v, name, seed, score, _ in rows}
    lines = [["variant", *sets, "mean", "difference", "unhealthy"]]
    for variant in variants:
        own = [row for row in rows if row[0] == variant]
        if not own:
            continue
        cells, means = [], []
        for name in sets:
            by_seed = np.array([float(row[3]) for row in own if row[1] == name])
            means.append(by_seed.mean())
            cells.append(f"{by_seed.mean():.3f} ± {by_seed.std():.3f}")
        start = start_of(variant)
        pairs = [
            scores[key] - scores[start, *key[1:]]
            for key in scores
            if key[0] == variant and (start, *key[1:]) in scores
        ]
        error = np.std(pairs) / math.sqrt(max(1, len(pairs)))
        difference = "" if variant == start else f"{np.mean(pairs):+.3f} ± {error:.3f}"
        unhealthy = sum(row[4] == "True" for row in own)
        counted = f"{unhealthy} of {len(own)}"
        lines.append([variant, *cells, f"{np.mean(means):.3f}", difference, counted])
    return lines


def cells_left(arguments, done, n_together):
    """Yield set, seed, and variants to train together that have no row yet."""
    for seed in range(arguments.seeds):
        for name in arguments.sets:
            left = [v for v in arguments.variants if (v, name, str(seed)) not in done]
            for start in range(0, len(left), n_together):
                yield name, seed, left[start : start + n_together]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--start", choices=STARTS, help="variants of one start only")
    parser.add_argument("--literal", action="store_true", help="500 epochs, 20 runs")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only print the summary")
    parser.add_argument("--published", action="store_true", help="only print these")
    arguments = parser.parse_args()
    if arguments.start:
        arguments.variants = [v for v in VARIANTS if start_of(v) == arguments.start]
    one_run, n_together = run_seed, len(VARIANTS)
    if arguments.out is None:
        kind = "eamc_literal" if arguments.literal else "eamc_ablation"
        arguments.out = Path(f"{kind}.csv")
    if arguments.literal:
        arguments.variants = [v for v in arguments.variants if v.startswith("paper")]
        unfinished = arguments.out.with_suffix(".unfinished")
        one_run, n_together = partial(run_literal, unfinished=unfinished), 1
    if not (arguments.table or arguments.published):
        done = set()
        if arguments.out.exists():
            done = {tuple(row[:3]) for row in read(arguments.out)}
        parallel = Parallel(n_jobs=arguments.n_jobs, return_as="generator_unordered")
        jobs = (
            delayed(one_run)(arguments.folder, *cell)
            for cell in cells_left(arguments, done, n_together)
        )
        for rows in parallel(jobs):
            with arguments.out.open("a", newline="") as file:
                csv.writer(file).writerows(rows)
    if arguments.published:
        lines = published(arguments.out)
    else:
        lines = table(arguments.out, arguments.variants)
    csv.writer(sys.stdout).writerows(lines)


if __name__ == "__main__":
    main()
