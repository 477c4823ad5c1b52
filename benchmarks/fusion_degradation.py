"""What is lost when one modality is missing or noisy, by every scheme of fusion.

    python benchmarks/fusion_degradation.py FOLDER --repeats 2 --csv FOLDER_OF_TABLES

prints, in Markdown, by how many percentage points the accuracy falls (mean over
modalities, degraded one at a time; standard deviation over the repeats and folds of
stratified 5-fold cross-validation) where a modality is missing for half or all of the
samples to predict, or has Gaussian noise of 1 or 3 standard deviations of each feature;
then where it is noisy in training too. The base learner is that of
``fusion_quality.py``, and mosi_3v has the same rows; of sets of more than 1,000 samples
so many are drawn.

Last come two claims, by set: where one modality is missing, late and hybrid fusion lose
less than early fusion with mean imputation; where one is noisy, schemes that weigh by
noise lose less than the uniform one. A positive figure is one by which the claim holds;
in brackets is how far the degraded accuracy itself is above. Differences of losses are
tested over folds by the corrected resampled t-test of Nadeau and Bengio (2003): '*' is
p < .05, uncorrected for the number of tests.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from fusion_quality import SETS, corrected_p, load, markdown, standard
from sklearn.model_selection import RepeatedStratifiedKFold, train_test_split

from mmfusion import (
    EarlyFusionClassifier,
    HybridFusionClassifier,
    LateFusionClassifier,
)
from mmfusion.robustness import degradation_curve

EARLY, UNIFORM = "early, mean filled in", "late, uniform"
BY_NOISE = (
    "late, inverse variance",
    "late, entropy",
    "late, conformal",
    "late, distance",
)
IN_GUIDE = [("missing", 1.0), ("noise", 1.0), ("noise", 3.0)]
LEVELS = {"missing": [0, 0.5, 1], "noise": [0, 1, 3]}
TITLES = {
    ("missing", 0.5): "Half of the samples lack one modality",
    ("missing", 1.0): "All samples lack one modality",
    ("noise", 1.0): "Noise of 1 standard deviation on one modality",
    ("noise", 3.0): "Noise of 3 standard deviations on one modality",
}


def schemes():
    """Every way to go on without a modality, or with a noisy one."""
    early, late, hybrid = (
        EarlyFusionClassifier,
        LateFusionClassifier,
        HybridFusionClassifier,
    )
    return {
        EARLY: standard(early),
        "early, neighbours filled in": standard(early, missing="knn"),
        "early, dropout .3": standard(early, modality_dropout=0.3),
        UNIFORM: standard(late),
        "late, by score": standard(late, weights="score"),
        "late, inverse variance": standard(late, weights="inverse_variance"),
        "late, entropy": standard(late, sample_weighting="entropy"),
        "late, conformal": standard(late, sample_weighting="conformal"),
        "late, distance": standard(late, sample_weighting="distance"),
        "late, log pool": standard(late, combine="log_pool"),
        "late, log pool, conformal": standard(
            late, combine="log_pool", sample_weighting="conformal"
        ),
        "late, stacking": standard(late, combine="stacking"),
        "hybrid": standard(hybrid),
        "hybrid, parts that have all": standard(hybrid, missing="skip"),
        "hybrid, dropout .3": standard(hybrid, modality_dropout=0.3),
    }


def run(X, y, repeats, **options):
    """Losses in percentage points, mean over modalities, by fold."""
    results = degradation_curve(
        X=X,
        y=y,
        cv=RepeatedStratifiedKFold(n_repeats=repeats, random_state=0),
        random_state=0,
        **options,
    )
    frame = results.frame
    frame["loss"] = 100 * (frame["clean"] - frame["score"])
    frame["score"] *= 100
    keys = ["degradation", "level", "estimator", "fold"]
    means = frame.groupby(keys, sort=False)[["score", "loss"]].mean().reset_index()
    return means[means["level"] > 0]


def tables(frame):
    """One table of losses for each degradation and level."""
    for (kind, level), rows in frame.groupby(["degradation", "level"]):
        cells = rows.groupby(["estimator", "dataset"], sort=False)["loss"]
        cells = cells.agg(lambda loss: f"{loss.mean():.1f} ± {loss.std():.1f}")
        wide = cells.unstack("dataset")[list(rows["dataset"].unique())]
        sets = rows.groupby(["estimator", "dataset"], sort=False)["loss"].mean()
        wide["mean"] = sets.groupby("estimator").mean().map("{:.1f}".format)
        wide = wide.loc[rows["estimator"].unique()]
        header = ["points lost by", *wide.columns]
        body = [[name, *row] for name, row in zip(wide.index, wide.values, strict=True)]
        yield (kind, level), [header, *body]


def claim(frame, kind, level, control, others):
    """Points that others lose less than the control, and by how many they end above."""
    rows = frame[(frame["degradation"] == kind) & (frame["level"] == level)]
    body = []
    for other in others:
        cells = [other]
        for _, own in rows.groupby("dataset", sort=False):
            wide = own.pivot(index="fold", columns="estimator")
            less = (wide["loss", control] - wide["loss", other]).to_numpy()
            more = (wide["score", other] - wide["score", control]).mean()
            star = "*" if corrected_p(less, 1 / 4) < 0.05 else ""
            cells.append(f"{less.mean():+.1f}{star} ({more:+.1f})")
        body.append(cells)
    return [[f"less than {control}", *rows["dataset"].unique()], *body]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--samples", type=int, default=1000, help="of larger sets")
    parser.add_argument(
        "--csv", type=Path, help="also write tables of the guide into this folder"
    )
    arguments = parser.parse_args()
    later, throughout = [], []
    estimators = schemes()
    late = {name: estimators[name] for name in (UNIFORM, "late, by score", *BY_NOISE)}
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
        found = run(
            X,
            y,
            arguments.repeats,
            estimators=estimators,
            degradation=["missing", "noise"],
            levels=LEVELS,
        )
        later.append(found.assign(dataset=name))
        found = run(
            X, y, 1, estimators=late, degradation="noise", levels=[3], at="both"
        )
        throughout.append(found.assign(dataset=name))
        print(name, "done", file=sys.stderr)
    later, throughout = pd.concat(later), pd.concat(throughout)
    for key, table in tables(later):
        print(f"\n{TITLES[key]}\n\n{markdown(table)}")
        if arguments.csv and key in IN_GUIDE:
            path = arguments.csv / f"fusion_{key[0]}_{key[1]:g}.csv"
            with path.open("w", newline="") as out:
                csv.writer(out).writerows(table)
    for _, table in tables(throughout):
        print(f"\n{TITLES['noise', 3.0]}, in training too\n\n{markdown(table)}")
    for kind, level, control in (
        ("missing", 0.5, EARLY),
        ("missing", 1.0, EARLY),
        ("noise", 1.0, UNIFORM),
        ("noise", 3.0, UNIFORM),
    ):
        others = [n for n in estimators if n.startswith(("late", "hybrid"))]
        table = claim(
            later, kind, level, control, others if kind == "missing" else BY_NOISE
        )
        print(f"\nClaim, {TITLES[kind, level].lower()}\n\n{markdown(table)}")
    table = claim(throughout, "noise", 3.0, UNIFORM, BY_NOISE)
    print(f"\nClaim, noise of 3 in training too\n\n{markdown(table)}")


if __name__ == "__main__":
    main()
