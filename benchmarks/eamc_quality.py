"""EAMC with its defaults on every clustering set, beside the baselines.

    python benchmarks/eamc_quality.py FOLDER --seeds 10 --out OUT.csv

appends one line per set, method and seed to OUT.csv (clustering accuracy, NMI, ARI,
seconds); a run that was broken off goes on from there. ``--table`` prints the summary
that the user guide shows. Classes are used to score, and for the number of clusters.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from eamc_ablation import load
from joblib import Parallel, delayed
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from mmfusion import EAMCClusterer, EarlyFusionClusterer, LateFusionClusterer
from mmfusion.benchmark import baselines
from mmfusion.metrics import clustering_accuracy_score

SETS = (
    "digits",
    "handwritten_mfeat",
    "msrcv1_5v",
    "wikipedia693",
    "breast_tcga_3v",
    "snareseq_2v",
    "coil20_3pose",
    "avdigits_fsdd_mnist",
    "webkb203_3v",
    "ngs_3v",
    "bbc_4v",
    "100leaves",
    "movies617",
    "mnist4_3v",
    "bdgp_3v",
    "citeseer_2v",
    "acm_3v",
)
EAMC = "EAMC"


def methods(X, n_clusters, seed):
    """EAMC, the fusion clusterers, and the baselines, for one number of clusters."""
    return {
        EAMC: EAMCClusterer(n_clusters, random_state=seed),
        "early": EarlyFusionClusterer(n_clusters=n_clusters, random_state=seed),
        "late": LateFusionClusterer(n_clusters=n_clusters, random_state=seed),
        **{
            name: clusterer.set_params(n_clusters=n_clusters, random_state=seed)
            for name, clusterer in baselines(X).items()
        },
    }


def run(folder, name, seed, done):
    """Score every method that is not done yet."""
    torch.set_num_threads(1)
    X, y = load(folder, name)
    rows = []
    for method, clusterer in methods(X, len(np.unique(y)), seed).items():
        if (name, method, str(seed)) in done:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            labels = clusterer.fit_predict(X)
            seconds = time.perf_counter() - start
        scores = (
            clustering_accuracy_score(y, labels),
            normalized_mutual_info_score(y, labels),
            adjusted_rand_score(y, labels),
        )
        rows.append((name, method, seed, *scores, seconds))
    return rows


def table(path):
    """Mean and spread over seeds, beside the best of the others."""
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    lines = [["set", "seeds", "ACC", "NMI", "ARI", "early", "late", "best other"]]
    for name in SETS:
        scores = {}
        for row in rows:
            if row[0] == name:
                scores.setdefault(row[1], []).append([float(x) for x in row[3:]])
        if EAMC not in scores:
            continue
        stats = {m: (np.mean(s, axis=0), np.std(s, axis=0)) for m, s in scores.items()}
        means, spreads = stats.pop(EAMC)
        own = [
            f"{m:.3f} ± {s:.3f}" for m, s in zip(means[:3], spreads[:3], strict=True)
        ]
        best = max(stats, key=lambda method: stats[method][0][0])
        others = [
            f"{stats[method][0][0]:.3f} ± {stats[method][1][0]:.3f}"
            for method in ("early", "late", best)
        ]
        others[-1] += f" ({best})"
        lines.append([name, len(scores[EAMC]), *own, *others])
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--out", type=Path, default=Path("eamc_quality.csv"))
    parser.add_argument("--n-jobs", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="only print the summary")
    arguments = parser.parse_args()
    if not arguments.table:
        done = set()
        if arguments.out.exists():
            with arguments.out.open(newline="") as file:
                done = {tuple(row[:3]) for row in csv.reader(file) if row}
        parallel = Parallel(n_jobs=arguments.n_jobs, return_as="generator_unordered")
        jobs = (
            delayed(run)(arguments.folder, name, seed, done)
            for seed in range(arguments.seeds)
            for name in arguments.sets
        )
        for rows in parallel(jobs):
            with arguments.out.open("a", newline="") as file:
                csv.writer(file).writerows(rows)
    csv.writer(sys.stdout).writerows(table(arguments.out))


if __name__ == "__main__":
    main()
