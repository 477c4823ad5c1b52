"""Neural fusion beside every other scheme where modalities are missing or noisy.

    OMP_NUM_THREADS=1 python benchmarks/neural_robustness.py FOLDER --csv FOLDS.csv \\
        --tables FOLDER_OF_TABLES --figure OUT.png

prints, in Markdown, the accuracy (mean and standard deviation over the first folds of
stratified 5-fold cross-validation) of clean data, where each modality is missing, and
where each has noise of 1 and of 3 standard deviations (means over the modalities,
degraded one at a time in the samples to predict), and the mean of the four. Sets,
rows, folds and the base learner of the other schemes are those of
``fusion_degradation.py``; of sets of more than 1,000 samples so many are drawn. Neural
rows differ from the default in one option each.

The last tables settle the two options of training that degrade modalities, leaving
each set out: of the values of an option, the one of the best mean on the other sets,
beside the default.

``--figure OUT.png`` draws the accuracies of some of the methods.

Every result is appended to FOLDS.csv, and what is there is not computed again.
"""

from __future__ import annotations

import argparse
import csv
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from fusion_degradation import schemes
from fusion_quality import LEARNER, corrected_p, load, markdown, standard
from sklearn.model_selection import RepeatedStratifiedKFold, train_test_split

from mmfusion import (
    EarlyFusionClassifier,
    HybridFusionClassifier,
    MKLClassifier,
    NeuralFusionClassifier,
)
from mmfusion.robustness import degradation_curve

SETS = ("avdigits_fsdd_mnist", "handwritten_mfeat", "mosi_3v", "breast_tcga_3v")
N_SPLITS = 5
LEVELS = {"missing": [0, 1], "noise": [0, 1, 3]}
DEFAULT = "neural, default"
CONDITIONS = ["clean", "missing", "noise 1", "noise 3"]
MEAN = "mean"
DRAWN = (
    DEFAULT,
    "early, blocks",
    "late, uniform",
    "late, distance",
    "hybrid",
    "MKL",
)
# what is settled with each set left out, by value
SETTLED = {
    "modality_noise": {
        0.0: "neural, no noise",
        0.3: DEFAULT,
        0.5: "neural, noise .5",
    },
    "modality_dropout": {
        0.0: "neural, no dropout of modalities",
        0.3: DEFAULT,
        0.5: "neural, dropout .5 of modalities",
    },
}


def neural(**params):
    """A network with a fixed seed."""
    return NeuralFusionClassifier(random_state=0, **params)


def networks():
    """The default, and what differs from it in one option."""
    settled = {
        method: neural(**{option: value})
        for option, values in SETTLED.items()
        for value, method in values.items()
        if method != DEFAULT
    }
    return {
        DEFAULT: neural(),
        **settled,
        "neural, one member": neural(n_members=1),
        "neural, concat": neural(fusion="concat"),
        "neural, low rank": neural(fusion="low_rank"),
        "neural, late": neural(fusion="late"),
    }


def landed():
    """The schemes without networks."""
    return schemes() | {
        "early, blocks": EarlyFusionClassifier(LEARNER, scaling="block", missing="knn"),
        "hybrid, log pool": standard(HybridFusionClassifier, combine="log_pool"),
        "MKL": MKLClassifier(),
    }


def folds_of(y, n_folds):
    """The first folds, each with its training and test rows."""
    splitter = RepeatedStratifiedKFold(n_splits=N_SPLITS, n_repeats=1, random_state=0)
    return list(islice(splitter.split(np.zeros(len(y)), y), n_folds))


def accuracies(X, y, estimators, n_folds):
    """Accuracy by estimator, fold and condition."""
    frame = degradation_curve(
        X=X,
        y=y,
        cv=folds_of(y, n_folds),
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
    wide[MEAN] = wide.mean(axis=1)
    return wide.reset_index()


def measured(arguments, estimators):
    """Accuracies of all sets and methods, those of the file included."""
    path = arguments.csv
    found = pd.read_csv(path) if path and path.exists() else pd.DataFrame()
    done = (
        set(zip(found["dataset"], found["estimator"], strict=True))
        if len(found)
        else ()
    )
    parts = [found]
    for name in arguments.sets:
        X, y = drawn(*load(arguments.folder, name), arguments.samples)
        for method, estimator in estimators.items():
            if (name, method) in done:
                continue
            own = accuracies(X, y, {method: estimator}, arguments.folds)
            own.insert(0, "dataset", name)
            parts.append(own)
            if path:
                own.to_csv(path, mode="a", header=not path.exists(), index=False)
            print(name, method, "done", file=sys.stderr)
    folds = pd.concat(parts)
    listed = folds["dataset"].isin(arguments.sets) & folds["estimator"].isin(estimators)
    folds = folds[listed]
    order = {method: i for i, method in enumerate(estimators)}
    return folds.sort_values("estimator", key=lambda s: s.map(order), kind="stable")


def drawn(X, y, n_samples):
    """At most so many samples of a set."""
    if len(y) <= n_samples:
        return X, y
    rows = train_test_split(
        np.arange(len(y)), train_size=n_samples, stratify=y, random_state=0
    )[0]
    return X[rows], y[rows]


def by_condition(own):
    """The table of a set: means and deviations over folds."""
    cells = own.groupby("estimator", sort=False)[[*CONDITIONS, MEAN]]
    means, spreads = cells.mean(), cells.std()
    yield ["accuracy", *means.columns]
    for method in means.index:
        row, deviations = means.loc[method], spreads.loc[method]
        yield [
            method,
            *(f"{m:.3f} ± {d:.3f}" for m, d in zip(row, deviations, strict=True)),
        ]


def by_set(folds):
    """The mean of the four conditions by set, and the mean rank."""
    cells = folds.groupby(["estimator", "dataset"], sort=False)[MEAN]
    means, spreads = cells.mean().unstack("dataset"), cells.std().unstack("dataset")
    ranks = means.rank(ascending=False).mean(axis=1)
    yield ["mean of the four", *means.columns, "mean rank"]
    for method in means.index:
        row, deviations = means.loc[method], spreads.loc[method]
        yield [
            method,
            *(f"{m:.3f} ± {d:.3f}" for m, d in zip(row, deviations, strict=True)),
            f"{ranks[method]:.1f}",
        ]


def beside_the_best(folds):
    """The default beside the scheme without networks that is best in hindsight."""
    yield [
        "",
        "set",
        "best without networks",
        "its accuracy",
        DEFAULT,
        "difference",
        "p",
    ]
    is_neural = folds["estimator"].str.startswith("neural")
    for condition in (MEAN, "clean"):
        for name, own in folds.groupby("dataset", sort=False):
            wide = own.pivot(index="fold", columns="estimator", values=condition)
            others = own[~is_neural.loc[own.index]]["estimator"].unique()
            best = wide[others].mean().idxmax()
            differences = (wide[DEFAULT] - wide[best]).to_numpy()
            values = wide[best].mean(), wide[DEFAULT].mean()
            p = corrected_p(differences, 1 / (N_SPLITS - 1))
            yield [
                condition,
                name,
                best,
                *(f"{value:.3f}" for value in values),
                f"{differences.mean():+.3f}",
                f"{p:.2f}",
            ]


def left_out(folds, values):
    """For each set, the value of an option that is best on the others."""
    means = folds.groupby(["estimator", "dataset"], sort=False)[MEAN].mean()
    own = means.unstack("dataset").loc[list(values.values())]
    own.index = [f"{value:g}" for value in values]
    default = own.index[list(values.values()).index(DEFAULT)]
    yield ["set left out", *own.index, "best on the others", "its mean", DEFAULT]
    for name in own.columns:
        chosen = own.drop(columns=name).mean(axis=1).idxmax()
        reached = (f"{own.loc[value, name]:.3f}" for value in (chosen, default))
        yield [name, *(f"{v:.3f}" for v in own[name]), chosen, *reached]
    yield ["mean", *(f"{v:.3f}" for v in own.mean(axis=1)), "", "", ""]


def tables_of(folds):
    """All tables, each with its title and the name of its file, if the guide has it."""
    for name, own in folds.groupby("dataset", sort=False):
        yield name, None, by_condition(own)
    yield "All sets", "neural_robustness", by_set(folds)
    methods = set(folds["estimator"])
    if DEFAULT not in methods:
        return
    if not all(method.startswith("neural") for method in methods):
        yield "Beside the best", "neural_robustness_best", beside_the_best(folds)
    for option, values in SETTLED.items():
        if methods.issuperset(values.values()) and folds["dataset"].nunique() > 1:
            yield option, f"neural_{option}", left_out(folds, values)


def draw(folds, path):
    """Draw the accuracies of a set in each panel, with deviations over folds."""
    import matplotlib.pyplot as plt

    sets = list(folds["dataset"].unique())
    fig, axes = plt.subplots(1, len(sets), figsize=(12, 3.6), layout="constrained")
    for ax, name in zip(np.atleast_1d(axes), sets, strict=True):
        own = folds[folds["dataset"] == name].groupby("estimator")[CONDITIONS]
        means, spreads = own.mean(), own.std()
        for i, method in enumerate(DRAWN):
            color, shift = f"C{i}", 0.06 * (i - len(DRAWN) / 2)
            options = {"color": color, "marker": "o", "ms": 4, "capsize": 2}
            for columns, at, line in (
                (["missing"], [-0.5], "none"),
                (["clean", "noise 1", "noise 3"], [1, 2, 4], "-"),
            ):
                ax.errorbar(
                    np.array(at) + shift,
                    means.loc[method, columns],
                    spreads.loc[method, columns],
                    linestyle=line,
                    label=method if line == "-" else None,
                    **options,
                )
        ax.set(title=name, xticks=[-0.5, 1, 2, 4])
        ax.set_xticklabels(["missing", "clean", "1 sd", "3 sd"])
    np.atleast_1d(axes)[0].set_ylabel("accuracy")
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=6)
    fig.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--folds", type=int, default=3, help="the first of five")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--samples", type=int, default=1000, help="of larger sets")
    parser.add_argument("--csv", type=Path, help="append every fold to this file")
    parser.add_argument("--tables", type=Path, help="write tables into this folder")
    parser.add_argument("--figure", type=Path, help="draw some of the methods")
    arguments = parser.parse_args()
    estimators = networks() | landed()
    if arguments.methods:
        estimators = {name: estimators[name] for name in arguments.methods}
    folds = measured(arguments, estimators)
    for title, stem, table in tables_of(folds):
        rows = list(table)
        print(f"\n{title}\n\n{markdown(rows)}")
        if arguments.tables and stem:
            path = arguments.tables / f"{stem}.csv"
            with path.open("w", newline="") as out:
                csv.writer(out, lineterminator="\n").writerows(rows)
    if arguments.figure:
        draw(folds, arguments.figure)


if __name__ == "__main__":
    main()
