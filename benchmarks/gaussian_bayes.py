"""Gaussian Bayes beside logistic regression: clean data, noise, missing modalities.

    OMP_NUM_THREADS=1 python benchmarks/gaussian_bayes.py FOLDER --csv OUT.csv

prints accuracy and log loss (means over the folds of stratified 5-fold validation) on
the test samples as they are, with the first modality drowned in noise (normal, twice
the standard deviation of each feature), with a random modality of every sample drowned
so, and with 30 % of the modalities of test samples missing, at random. The classifiers
are fitted to clean and complete data. CPU seconds are those of a fit.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import RepeatedStratifiedKFold

from mmfusion import (
    EarlyFusionClassifier,
    GaussianBayesClassifier,
    LateFusionClassifier,
    Modalities,
)
from mmfusion.datasets import load_npz

SETS = (
    "handwritten_mfeat",
    "msrcv1_5v",
    "breast_tcga_3v",
    "nutrimouse_2v_diet",
    "wikipedia693",
    "snareseq_2v",
    "100leaves",
    "webkb203_3v",
    "mosi_3v",
)
METHODS = {
    "logistic regression, early fusion": EarlyFusionClassifier,
    "the same, dropout .3": partial(EarlyFusionClassifier, modality_dropout=0.3),
    "late fusion": LateFusionClassifier,
    **{kind: partial(GaussianBayesClassifier, kind) for kind in ("tied", "diag")},
    **{kind: partial(GaussianBayesClassifier, kind) for kind in ("full", "mixture")},
    "tied, discriminative": partial(
        GaussianBayesClassifier, modality_weights="discriminative"
    ),
    "diag, discriminative": partial(
        GaussianBayesClassifier, "diag", modality_weights="discriminative"
    ),
    "tied, without outliers": partial(GaussianBayesClassifier, outlier_share=0),
    "diag, without outliers": partial(GaussianBayesClassifier, "diag", outlier_share=0),
    "diag, not calibrated": partial(GaussianBayesClassifier, "diag", calibrate=False),
    "tied, not calibrated": partial(GaussianBayesClassifier, calibrate=False),
}
NOISE_SD = 2.0  # standard deviations of each feature
MISSING_SHARE = 0.3


def load(folder, name):
    """Dense data; of mosi_3v the rows that its features were not learned on."""
    bunch = load_npz(folder / f"{name}.npz")
    rows = slice(1447, None) if name == "mosi_3v" else slice(None)
    X = bunch.data[rows]
    blocks = {
        n: (X[n].toarray() if sparse.issparse(X[n]) else np.asarray(X[n])).astype(float)
        for n in X.names
    }
    return Modalities(blocks), bunch.target[rows]


def drowned(X, spread, chosen, rng):
    """Noise added where a sample has a chosen modality."""
    blocks = {}
    for v, name in enumerate(X.names):
        noise = NOISE_SD * spread[name] * rng.standard_normal(X[name].shape)
        blocks[name] = X[name] + chosen[:, v, None] * noise
    return Modalities(blocks)


def conditions(train, test, rng):
    """Test samples under every condition."""
    n, n_modalities = len(test), len(test.names)
    spread = {name: train[name].std(axis=0) for name in train.names}
    first = np.zeros((n, n_modalities), dtype=bool)
    first[:, 0] = True
    one = np.eye(n_modalities, dtype=bool)[rng.randint(n_modalities, size=n)]
    observed = rng.rand(n, n_modalities) >= MISSING_SHARE
    empty = ~observed.any(axis=1)
    observed[empty] = np.eye(n_modalities, dtype=bool)[
        rng.randint(n_modalities, size=empty.sum())
    ]
    yield "clean", test
    yield "first modality noise", drowned(test, spread, first, rng)
    yield "one modality noise", drowned(test, spread, one, rng)
    yield "30 % missing", Modalities(test.to_dict(), observed=observed)


def measure(folder, sets, methods, repeats, out):
    """Append a row for each set, method, fold and condition that is not there."""
    there = set()
    if out.exists():
        there = set(pd.read_csv(out)[["set", "method"]].itertuples(index=False))
    for name in sets:
        X, y = load(folder, name)
        folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=repeats, random_state=0)
        for method in methods:
            if (name, method) in there:
                continue
            rows = []
            for fold, (train, test) in enumerate(folds.split(np.zeros(len(y)), y)):
                start = time.process_time()
                fitted = METHODS[method]().fit(X[train], y[train])
                seconds = time.process_time() - start
                rng = np.random.RandomState(fold)
                for condition, data in conditions(X[train], X[test], rng):
                    p = fitted.predict_proba(data)
                    p = np.clip(p, 1e-15, 1)
                    p /= p.sum(axis=1, keepdims=True)
                    rows.append(
                        {
                            "set": name,
                            "method": method,
                            "fold": fold,
                            "condition": condition,
                            "accuracy": accuracy_score(
                                y[test], fitted.classes_[p.argmax(axis=1)]
                            ),
                            "log loss": log_loss(y[test], p, labels=fitted.classes_),
                            "seconds": seconds,
                        }
                    )
            pd.DataFrame(rows).to_csv(
                out, mode="a", header=not out.exists(), index=False
            )


def main():
    """Measure what is not there, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--csv", type=Path, required=True)
    args = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measure(args.folder, args.sets, args.methods, args.repeats, args.csv)
    rows = pd.read_csv(args.csv)
    rows = rows[rows.set.isin(args.sets) & rows.method.isin(args.methods)]
    for score in ("accuracy", "log loss"):
        for condition, own in rows.groupby("condition", sort=False):
            table = own.pivot_table(score, "method", "set")[list(args.sets)]
            table["mean"] = table.mean(axis=1)
            print(f"\n{score}, {condition}\n\n{table.round(3).to_markdown()}")
    seconds = rows.pivot_table("seconds", "method", "set")[list(args.sets)]
    print(f"\nCPU seconds of a fit\n\n{seconds.round(2).to_markdown()}")


if __name__ == "__main__":
    main()
