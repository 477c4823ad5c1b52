"""How well every scheme of fusion classifies, beside what it must beat.

    python benchmarks/fusion_quality.py FOLDER --repeats 3 --csv OUT.csv

prints, in Markdown, the accuracy (mean and standard deviation over repeats and folds of
stratified 5-fold cross-validation) of all schemes with one base learner, logistic
regression of standardised features with C=1. The best single modality is chosen by
cross-validation within each training fold. 'Voting' and 'Stacking' are scikit-learn's,
on the concatenated features, with a classifier for the columns of each modality.

Arrows tell what is significantly better or worse than the best single modality
(corrected resampled t-test of Nadeau and Bengio 2003, with Holm's correction for the
number of schemes, p < .05); in brackets the same beside the plain concatenation. The
Friedman and Nemenyi tests compare mean ranks over data sets.

    python benchmarks/fusion_quality.py FOLDER --defaults --repeats 2 --csv OUT.csv

compares the three classifiers as they are by default with the plain concatenation of
standardised features, the best single modality and scikit-learn's Stacking, on data
as they are stored, and with every feature brought to [0, 1]; a row is a data set.

Features of text and video in mosi_3v were learned on its first 1,447 rows, so that
only the other 752 are used here.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, RepeatedStratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from mmfusion import (
    EarlyFusionClassifier,
    HybridFusionClassifier,
    LateFusionClassifier,
    Modalities,
)
from mmfusion.benchmark import Comparison
from mmfusion.datasets import load_npz

SETS = (
    "breast_tcga_3v",
    "mosi_3v",
    "avdigits_fsdd_mnist",
    "nutrimouse_2v_diet",
    "handwritten_mfeat",
)
SETS_OF_DEFAULTS = (
    "breast_tcga_3v",
    "mosi_3v",
    "nutrimouse_2v_diet",
    "msrcv1_5v",
    "webkb203_3v",
    "wikipedia693",
    "avdigits_fsdd_mnist",
    "ngs_3v",
)
SINGLE, PLAIN = "best single modality", "concatenation"
LEARNER = LogisticRegression(max_iter=1000)


def load(folder, name):
    """The data; of mosi_3v the rows that its features were not learned on."""
    bunch = load_npz(folder / f"{name}.npz")
    rows = slice(1447, None) if name == "mosi_3v" else slice(None)
    return bunch.data[rows], bunch.target[rows]


def in_unit_interval(X):
    """The data with every feature brought to [0, 1]."""
    scaled = {n: MinMaxScaler().fit_transform(dense(X[n])) for n in X.names}
    return Modalities(scaled)


def dense(values):
    """An array, of a sparse matrix too."""
    return values.toarray() if sparse.issparse(values) else values


def block(X, name):
    """One modality."""
    return X[name]


def side_by_side(X):
    """All modalities as one matrix."""
    return X.to_array()


def standard(kind, **params):
    """A fusion classifier on standardised features."""
    return kind(LEARNER, scaling="standard", **params)


def peers(X):
    """What scikit-learn has."""
    scaled = make_pipeline(StandardScaler(), LEARNER)
    alone = make_pipeline(FunctionTransformer(block), scaled)
    choices = {"functiontransformer__kw_args": [{"name": n} for n in X.names]}
    columns = [
        (name, make_pipeline(ColumnTransformer([(name, "passthrough", where)]), scaled))
        for name, where in X.column_spec().items()
    ]
    concatenated = FunctionTransformer(side_by_side)
    return {
        SINGLE: GridSearchCV(alone, choices),
        PLAIN: make_pipeline(concatenated, scaled),
        "scikit-learn Voting": make_pipeline(
            concatenated, VotingClassifier(columns, voting="soft")
        ),
        "scikit-learn Stacking": make_pipeline(
            concatenated, StackingClassifier(columns, LEARNER)
        ),
    }


def schemes():
    """Every scheme of mmfusion."""
    early, late, hybrid = (
        EarlyFusionClassifier,
        LateFusionClassifier,
        HybridFusionClassifier,
    )
    return {
        "early": standard(early),
        "early, blocks": early(LEARNER, scaling="block"),
        "early, dropout .3": standard(early, modality_dropout=0.3),
        "late, soft vote": standard(late),
        "late, hard vote": standard(late, combine="hard_vote"),
        "late, by score": standard(late, weights="score"),
        "late, by log loss": standard(late, weights="log_loss"),
        "late, inverse variance": standard(late, weights="inverse_variance"),
        "late, entropy": standard(late, sample_weighting="entropy"),
        "late, conformal": standard(late, sample_weighting="conformal"),
        "late, distance": standard(late, sample_weighting="distance"),
        "late, log pool": standard(late, combine="log_pool"),
        "late, log pool, calibrated": standard(
            late, combine="log_pool", calibration="sigmoid"
        ),
        "late, log pool, conformal": standard(
            late, combine="log_pool", sample_weighting="conformal"
        ),
        "late, stacking": standard(late, combine="stacking"),
        "hybrid, soft vote": standard(hybrid),
        "hybrid, log pool": standard(hybrid, combine="log_pool"),
        "hybrid, stacking": standard(hybrid, combine="stacking"),
    }


def defaults():
    """What a user gets who sets nothing."""
    return {
        "early, default": EarlyFusionClassifier(),
        "late, default": LateFusionClassifier(),
        "hybrid, default": HybridFusionClassifier(),
    }


def run(X, y, repeats, methods):
    """One row for each method, repeat and fold."""
    folds = RepeatedStratifiedKFold(n_repeats=repeats, random_state=0).split(X, y)
    folds = list(folds)
    for method, estimator in (peers(X) | methods).items():
        for number, (train, test) in enumerate(folds):
            start = time.perf_counter()
            model = clone(estimator).fit(X[train], y[train])
            fitted = time.perf_counter()
            said = model.predict(X[test])
            yield {
                "method": method,
                "repeat": number,
                "accuracy": accuracy_score(y[test], said),
                "fit_seconds": fitted - start,
                "predict_seconds": time.perf_counter() - fitted,
                "odds": len(test) / len(train),
            }


def corrected_p(differences, odds):
    """The t-test of Nadeau and Bengio for differences over resampled folds."""
    from scipy import stats

    n, variance = len(differences), differences.var(ddof=1)
    if variance == 0:
        return 1.0 if differences.mean() == 0 else 0.0
    t = differences.mean() / np.sqrt((1 / n + odds) * variance)
    return 2 * stats.t.sf(abs(t), n - 1)


def arrows(wide, control, odds):
    """An up or down arrow for methods that differ significantly from the control."""
    others = [m for m in wide.columns if m != control]
    differences = {m: (wide[m] - wide[control]).to_numpy() for m in others}
    found = {m: corrected_p(d, odds) for m, d in differences.items()}
    marks, bar = dict.fromkeys(wide.columns, ""), 0.0
    for rank, method in enumerate(sorted(found, key=found.get)):
        bar = max(bar, found[method] * (len(others) - rank))
        if bar < 0.05:
            marks[method] = "↑" if differences[method].mean() > 0 else "↓"
    return marks


def accuracies(frame, controls=(SINGLE, PLAIN)):
    """Cells of the table: mean, spread, arrows beside one control and the other."""
    table = {}
    for name, rows in frame.groupby("dataset", sort=False):
        wide = rows.pivot(index="repeat", columns="method", values="accuracy")
        wide = wide[rows["method"].unique()]
        odds = rows["odds"].mean()
        first, second = (arrows(wide, control, odds) for control in controls)
        table[name] = {
            m: f"{wide[m].mean():.3f} ± {wide[m].std():.3f}{first[m]}"
            + (f" ({second[m]})" if second[m] else "")
            for m in wide.columns
        }
    return table


def times(frame):
    """Median times to fit and to predict, in milliseconds."""
    medians = frame.groupby(["dataset", "method"], sort=False)[
        ["fit_seconds", "predict_seconds"]
    ].median()
    table = {}
    for (name, method), row in medians.iterrows():
        cell = f"{1e3 * row['fit_seconds']:.0f} / {1e3 * row['predict_seconds']:.0f}"
        table.setdefault(name, {})[method] = cell
    return table


def rows_of(table, more=()):
    """Header and rows of a table that is given by column."""
    columns = dict(table) | dict(more)
    methods = next(iter(table.values()))
    yield ["scheme", *columns]
    for method in methods:
        yield [method, *(columns[c][method] for c in columns)]


def by_set(table):
    """Header and a row for each data set."""
    return [
        ["data set", *next(iter(table.values()))],
        *([name, *cells.values()] for name, cells in table.items()),
    ]


def write_csv(path, rows):
    """Write rows as a file of comma-separated values."""
    with path.open("w", newline="") as out:
        csv.writer(out).writerows(rows)


def markdown(rows):
    """Rows as a Markdown table."""
    header, *body = rows
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--defaults", action="store_true", help="defaults only")
    parser.add_argument("--csv", type=Path, help="also write the accuracies here")
    arguments = parser.parse_args()
    names = arguments.sets or (SETS_OF_DEFAULTS if arguments.defaults else SETS)
    methods = defaults() if arguments.defaults else schemes()
    rows = []
    for name in names:
        X, y = load(arguments.folder, name)
        forms = {name: X}
        if arguments.defaults:
            forms[f"{name}, [0, 1]"] = in_unit_interval(X)
        for form, data in forms.items():
            for row in run(data, y, arguments.repeats, methods):
                rows.append({"dataset": form, **row, "status": "ok"})
            print(form, "done", file=sys.stderr)
        if arguments.defaults and arguments.csv:  # after every set, as it takes long
            write_csv(arguments.csv, by_set(accuracies(pd.DataFrame(rows))))
    frame = pd.DataFrame(rows).assign(peak_memory_mb=np.nan)
    if arguments.defaults:
        print(markdown(by_set(accuracies(frame))))
        return
    comparison = Comparison(frame, ["accuracy"])
    ranks = comparison.ranks()["mean"].map("{:.1f}".format).to_dict()
    table = list(rows_of(accuracies(frame), {"mean rank": ranks}.items()))
    if arguments.csv:
        write_csv(arguments.csv, table)
    print(markdown(table))
    print("\nMilliseconds to fit / to predict a fold (medians)\n")
    print(markdown(rows_of(times(frame))))
    tests = comparison.significance()
    if tests.friedman is not None:
        print("\n" + "\n".join(tests.lines()[:2]))


if __name__ == "__main__":
    main()
