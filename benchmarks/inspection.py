"""What each modality contributes: Shapley values and interactions on real data.

    OMP_NUM_THREADS=1 python benchmarks/inspection.py FOLDER --repeats 2 --csv FOLDER_2

prints, in Markdown, for early fusion of standardised features and logistic regression:
the Shapley values of the accuracy, fitted to each subset of modalities, with 95 %
intervals; the loss of accuracy by the three methods of `modality_importance` (mean and
standard deviation over folds); and redundancy, unique information and synergy of pairs
in bits (mean and standard deviation over folds). The penalty of the regression is
chosen in each training fold for each subset: a fixed one would favour subsets of many
features. Folds are those of stratified 5-fold cross-validation. With --csv, the tables
of the user guide are written to a folder.

FOLDER holds breast_tcga_3v.npz, nutrimouse_2v_diet.npz and mosi_3v.npz. Features of
text and video in mosi_3v were learned on its first 1,447 rows, so that only the other
752 are used.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd
from fusion_quality import load, markdown
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RepeatedStratifiedKFold

from mmfusion import EarlyFusionClassifier
from mmfusion.inspection import (
    modality_importance,
    modality_interactions,
    modality_shapley,
)

SETS = ("breast_tcga_3v", "nutrimouse_2v_diet", "mosi_3v")
METHODS = ("permutation", "drop", "mask")
PARTS = ("redundancy", "unique_first", "unique_second", "synergy")


def classifier():
    """Early fusion, whose penalty is chosen by the log loss in inner folds."""
    search = GridSearchCV(
        LogisticRegression(max_iter=2000),
        {"C": [1e-4, 1e-3, 1e-2, 0.1, 1, 10]},
        scoring="neg_log_loss",
        cv=3,
    )
    return EarlyFusionClassifier(search, scaling="standard")


def spread(mean, std):
    """A mean with its standard deviation."""
    return f"{mean:.3f} ± {std:.3f}"


def contributions(name, X, y, cv):
    """Shapley values and importances, one row for each modality."""
    shapley = modality_shapley(classifier(), X, y, cv=cv)
    values = shapley.to_frame()
    rows = pd.DataFrame({"set": name, "modality": X.names}).set_index("modality")
    alone = dict(zip(shapley.subsets, shapley.subset_scores.mean(axis=0), strict=True))
    rows["alone"] = [f"{alone[(modality,)]:.3f}" for modality in X.names]
    rows["Shapley value"] = [
        f"{v:+.3f} ({a:+.3f} to {b:+.3f})"
        for v, a, b in zip(
            values["value"], values["lower"], values["upper"], strict=True
        )
    ]
    for method in METHODS:
        results = modality_importance(
            classifier(), X, y, method=method, random_state=0, cv=cv
        )
        own = results.to_frame()
        rows[method] = list(map(spread, own["mean"], own["std"]))
    rows = rows.reset_index()
    gain = f"{shapley.empty_score:.3f} to {shapley.full_score:.3f}"
    rows["none to all"] = [gain, *[""] * (len(rows) - 1)]
    return rows[["set", "modality", "alone", "Shapley value", *METHODS, "none to all"]]


def interactions(name, X, y, cv):
    """Parts of information, one row for each pair."""
    results = modality_interactions(classifier(), X, y, cv=cv)
    frame = results.to_frame()
    rows = pd.DataFrame({"set": name, "pair": frame["first"] + ", " + frame["second"]})
    for part in PARTS:
        title = part.replace("_", " ")
        rows[title] = list(map(spread, frame[part], frame[f"{part}_std"]))
    rows["of bits"] = f"{results.entropy:.2f}"
    rows["folds clipped"] = frame["n_clipped"]
    return rows


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args(arguments)
    tables = {"inspection_values": contributions, "inspection_pairs": interactions}
    for title, make in tables.items():
        rows = []
        for name in options.sets:
            X, y = load(options.folder, name)
            cv = RepeatedStratifiedKFold(
                n_splits=5, n_repeats=options.repeats, random_state=0
            )
            rows.append(make(name.split("_")[0], X, y, cv))
        table = pd.concat(rows)
        cells = [list(table.columns), *table.astype(str).to_numpy().tolist()]
        print(f"\n## {title}\n\n{markdown(cells)}", flush=True)
        if options.csv:
            table.to_csv(options.csv / f"{title}.csv", index=False)


if __name__ == "__main__":
    main(sys.argv[1:])
