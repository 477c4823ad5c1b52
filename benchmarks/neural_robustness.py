"""Neural fusion beside every other scheme where modalities are missing or noisy.

    python benchmarks/neural_robustness.py FOLDER --repeats 1 --csv OUT.csv

prints, in Markdown, the accuracy (mean and standard deviation over repeats and folds of
stratified 5-fold cross-validation) of clean data, where each modality is missing, and
where each has noise of 1 and of 3 standard deviations (means over the modalities,
degraded one at a time in the samples to predict), and the mean of the four. Sets,
rows, folds and the base learner of the other schemes are those of
``fusion_degradation.py``. Neural rows differ from the default in one option each. The
last table leaves each set out: of the neural rows, the one of the best mean on the
other sets, beside the default.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from fusion_degradation import schemes
from fusion_quality import load, markdown
from sklearn.model_selection import RepeatedStratifiedKFold, train_test_split

from mmfusion import NeuralFusionClassifier
from mmfusion.robustness import degradation_curve

SETS = ("avdigits_fsdd_mnist", "handwritten_mfeat", "mosi_3v", "breast_tcga_3v")
LEVELS = {"missing": [0, 1], "noise": [0, 1, 3]}
DEFAULT = "neural, default"
CONDITIONS = ["clean", "missing", "noise 1", "noise 3"]


def neural(**params):
    """A network with a fixed seed."""
    return NeuralFusionClassifier(random_state=0, **params)


def networks():
    """The default, and what differs from it in one option."""
    return {
        DEFAULT: neural(),
        "neural, one member": neural(n_members=1),
        "neural, no noise": neural(modality_noise=0.0),
        "neural, noise .5": neural(modality_noise=0.5),
        "neural, no dropout of modalities": neural(modality_dropout=0.0),
        "neural, no heads of modalities": neural(modality_loss_weight=0.0),
        "neural, scaling auto": neural(scaling="auto"),
        "neural, concat": neural(fusion="concat"),
        "neural, low rank": neural(fusion="low_rank"),
        "neural, late": neural(fusion="late"),
    }


def accuracies(X, y, estimators, repeats):
    """Accuracy by estimator, fold and condition."""
    frame = degradation_curve(
        X=X,
        y=y,
        cv=RepeatedStratifiedKFold(n_repeats=repeats, random_state=0),
        random_state=0,
        estimators=estimators,
        degradation=["missing", "noise"],
        levels=LEVELS,
    ).frame
    kinds = frame["degradation"].where(
        frame["degradation"] == "missing",
        "noise " + frame["level"].astype(int).astype(str),
    )
    frame["condition"] = kinds.where(frame["level"] > 0, "clean")
    keys = ["estimator", "fold", "condition"]
    wide = frame.groupby(keys, sort=False)["score"].mean().unstack("condition")
    wide = wide[CONDITIONS]
    wide["mean"] = wide.mean(axis=1)
    return wide.reset_index()


def left_out(means, names):
    """For each set, the network that is best on the others, and its accuracy there."""
    rows = [["set", "best on the others", "its mean", DEFAULT]]
    own = means.loc[names]
    for name in own.columns:
        others = own.drop(columns=name).mean(axis=1).idxmax()
        row = [name, others, *(f"{own.loc[m, name]:.3f}" for m in (others, DEFAULT))]
        rows.append(row)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--samples", type=int, default=1000, help="of larger sets")
    parser.add_argument("--csv", type=Path, help="append every fold to this file")
    arguments = parser.parse_args()
    estimators = networks() | schemes()
    if arguments.methods:
        estimators = {name: estimators[name] for name in arguments.methods}
    found = []
    for name in arguments.sets:
        X, y = load(arguments.folder, name)
        if len(y) > arguments.samples:
            rows = train_test_split(
                np.arange(len(y)),
                train_size=arguments.samples,
                stratify=y,
                random_state=0,
            )[0]
            X, y = X[rows], y[rows]
        for method, estimator in estimators.items():
            own = accuracies(X, y, {method: estimator}, arguments.repeats)
            own.insert(0, "dataset", name)
            found.append(own)
            if arguments.csv:
                is_new = not arguments.csv.exists()
                own.to_csv(arguments.csv, mode="a", header=is_new, index=False)
            print(name, method, "done", file=sys.stderr)
    folds = pd.concat(found)
    for name, own in folds.groupby("dataset", sort=False):
        cells = own.groupby("estimator", sort=False)[[*CONDITIONS, "mean"]]
        means, spreads = cells.mean(), cells.std()
        body = [
            [method]
            + [
                f"{means.loc[method, c]:.3f} ± {spreads.loc[method, c]:.3f}"
                for c in means
            ]
            for method in means.index
        ]
        print(f"\n{name}\n\n{markdown([['accuracy', *means.columns], *body])}")
    means = folds.groupby(["estimator", "dataset"], sort=False)["mean"].mean()
    means = means.unstack("dataset")
    ranks = means.rank(ascending=False).mean(axis=1)
    body = [
        [m, *(f"{v:.3f}" for v in row), f"{ranks[m]:.1f}"]
        for m, row in zip(means.index, means.values, strict=True)
    ]
    print(f"\n{markdown([['mean of the four', *means.columns, 'mean rank'], *body])}")
    names = [name for name in means.index if name.startswith("neural")]
    if DEFAULT in names and len(means.columns) > 1:
        print(f"\n{markdown(left_out(means, names))}")


if __name__ == "__main__":
    main()
