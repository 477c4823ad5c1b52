"""Log loss of NeuralFusionClassifier beside late fusion, on small sets.

    OMP_NUM_THREADS=1 python benchmarks/neural_calibration.py FOLDER [--csv OUT.csv]

prints a Markdown table of the log loss (mean and standard deviation over the folds of
stratified 5-fold cross-validation, those of ``fusion_quality.py``). The learner of
late and early fusion is logistic regression of standardised features with C=1. Wine is
that of scikit-learn.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from fusion_quality import load, markdown, standard
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import RepeatedStratifiedKFold

from mmfusion import (
    EarlyFusionClassifier,
    LateFusionClassifier,
    NeuralFusionClassifier,
)
from mmfusion.datasets import load_wine_modalities

SETS = ("breast_tcga_3v", "nutrimouse_2v_diet", "wine")


def methods():
    """What is compared."""
    return {
        "late": standard(LateFusionClassifier),
        "late, log pool": standard(LateFusionClassifier, combine="log_pool"),
        "early": standard(EarlyFusionClassifier),
        "neural, default": NeuralFusionClassifier(random_state=0),
        "neural, one member": NeuralFusionClassifier(n_members=1, random_state=0),
        "neural, temperature": NeuralFusionClassifier(
            calibration="temperature", validation_fraction=0.2, random_state=0
        ),
    }


def losses(estimator, X, y, repeats):
    """Log loss by fold."""
    folds = RepeatedStratifiedKFold(n_repeats=repeats, random_state=0).split(
        np.zeros(len(y)), y
    )
    found = []
    for train, test in folds:
        fitted = clone(estimator).fit(X[train], y[train])
        p = fitted.predict_proba(X[test])
        found.append(log_loss(y[test], p, labels=fitted.classes_))
    return np.array(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    table = [[method] for method in methods()]
    for name in arguments.sets:
        if name == "wine":
            X, y = load_wine_modalities(return_X_y=True)
        else:
            X, y = load(arguments.folder, name)
        for row, estimator in zip(table, methods().values(), strict=True):
            found = losses(estimator, X, y, arguments.repeats)
            row.append(f"{found.mean():.3f} ± {found.std(ddof=1):.3f}")
            print(name, *row[:1], row[-1], file=sys.stderr)
    rows = [["log loss", *arguments.sets], *table]
    print(markdown(rows))
    if arguments.csv:
        with arguments.csv.open("w", newline="") as out:
            csv.writer(out, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
