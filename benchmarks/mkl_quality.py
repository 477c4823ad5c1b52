"""How well multiple kernel learning classifies, beside what it must beat.

    OMP_NUM_THREADS=1 python benchmarks/mkl_quality.py FOLDER --repeats 3 --csv OUT.csv

prints, in Markdown, the accuracy (mean and standard deviation over repeats and folds of
stratified 5-fold cross-validation), the weights of modalities (means), and times. All
methods are support vector machines whose C, of five values, is chosen by 3-fold
cross-validation within each training fold. All kernels are rbf:

- 'best single modality' and 'concatenation' are scikit-learn's SVC on standardised
  features. The modality, or gamma, of three values, is chosen in the inner folds too:
  so they have more to choose from than the rest;
- the algorithms of MKLClassifier have one kernel of each modality, by the median rule,
  and are as they come;
- 'MKLpy EasyMKL' has the same kernels, and an SVC as its base learner; it learns
  weights for each class. It is left out where MKLpy is not installed.

Arrows tell what is significantly better or worse than the average kernel (corrected
resampled t-test of Nadeau and Bengio 2003, with Holm's correction for the number of
methods, p < .05); in brackets the same beside the best single modality. The Friedman
and Nemenyi tests compare mean ranks over data sets.

Features of text and video in mosi_3v were learned on its first 1,447 rows, so that
only the other 752 are used here.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from fusion_quality import (
    accuracies,
    block,
    load,
    markdown,
    rows_of,
    side_by_side,
)
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.model_selection import (
    GridSearchCV,
    RepeatedStratifiedKFold,
    StratifiedKFold,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from mmfusion.benchmark import Comparison
from mmfusion.mkl import MKLClassifier, ModalityKernels

SETS = ("breast_tcga_3v", "mosi_3v", "proteinfold_12v", "nutrimouse_2v_diet")
ALGORITHMS = ("average", "alignment", "easymkl", "l1", "lp")
SINGLE, PLAIN, AVERAGE = "best single modality", "concatenation", "MKL, average"
PEER = "MKLpy EasyMKL"
COSTS = np.logspace(-1, 3, 5).tolist()
SPREADS = np.array([1 / 4, 1, 4])  # of gamma, about scikit-learn's 1 / n_features
INNER = StratifiedKFold(3, shuffle=True, random_state=0)


class PeerSearch(ClassifierMixin, BaseEstimator):
    """MKLpy's EasyMKL on the kernels of MKLClassifier, with the best C of its SVC.

    Its weights do not depend on C: they are learned once for each inner fold.
    """

    def fit(self, X, y):
        scores = np.zeros(len(COSTS))
        for train, test in INNER.split(y, y):
            self._weigh(X[train], y[train])
            for k, C in enumerate(COSTS):
                said = self._learn(C).predict(X[test])
                scores[k] += accuracy_score(y[test], said)
        start = time.perf_counter()
        self._weigh(X, y)
        self._learn(COSTS[scores.argmax()])
        self.refit_time_ = time.perf_counter() - start
        weights = [np.asarray(each.solution.weights) for each in self._parts()]
        self.modality_weights_ = np.mean(weights, axis=0)
        return self

    def predict(self, X):
        return np.asarray(self._machine.predict(self._tensors(self._kernels, X)))

    def _weigh(self, X, y):
        from MKLpy.algorithms import EasyMKL

        self._kernels = ModalityKernels().fit(X)
        self._machine = EasyMKL(lam=0.1, learner=SVC())
        self._machine.fit(self._tensors(self._kernels, X), y)

    def _learn(self, C):
        for each in self._parts():
            learner = SVC(C=C, kernel="precomputed")
            each.learner = learner.fit(each.solution.ker_matrix, each.Y)
        return self

    def _parts(self):
        """The machine, or those of each class."""
        machine = self._machine
        return machine.clf.estimators_.values() if machine.multiclass_ else [machine]

    @staticmethod
    def _tensors(kernels, X):
        import torch

        return [torch.from_numpy(K).double() for K in kernels.transform(X).blocks]


def peers(X):
    """What is to be beaten."""
    alone = make_pipeline(FunctionTransformer(block), StandardScaler(), SVC())
    choices = {
        "functiontransformer__kw_args": [{"name": name} for name in X.names],
        "svc__C": COSTS,
    }
    merged = make_pipeline(FunctionTransformer(side_by_side), StandardScaler(), SVC())
    gammas = (SPREADS / sum(b.shape[1] for b in X.blocks)).tolist()
    return {
        SINGLE: search(alone, choices),
        PLAIN: search(merged, {"svc__C": COSTS, "svc__gamma": gammas}),
    }


def search(estimator, choices):
    """The best of some choices."""
    return GridSearchCV(estimator, choices, cv=INNER)


def kernel_methods():
    """Every algorithm of mmfusion, and MKLpy's."""
    methods = {
        f"MKL, {algorithm}": search(MKLClassifier(algorithm=algorithm), {"C": COSTS})
        for algorithm in ALGORITHMS
    }
    try:
        import MKLpy  # noqa: F401
        import torch
    except ImportError:
        return methods
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="MKLpy")
    return methods | {PEER: PeerSearch()}


def run(X, y, repeats):
    """One row for each method, repeat and fold."""
    folds = RepeatedStratifiedKFold(n_repeats=repeats, random_state=0).split(X, y)
    methods = peers(X) | kernel_methods()
    for number, (train, test) in enumerate(folds):
        for method, estimator in methods.items():
            start = time.perf_counter()
            model = clone(estimator).fit(X[train], y[train])
            fitted = time.perf_counter()
            said = model.predict(X[test])
            yield {
                "method": method,
                "repeat": number,
                "accuracy": accuracy_score(y[test], said),
                "weights": weights_of(model, X),
                "fit_seconds": fitted - start,
                "refit_seconds": model.refit_time_,
                "predict_seconds": time.perf_counter() - fitted,
                "odds": len(test) / len(train),
            }


def weights_of(model, X):
    """Shares of modalities; of the best single one 1."""
    found = getattr(model, "best_estimator_", model)
    if hasattr(found, "modality_weights_"):
        return found.modality_weights_ / found.modality_weights_.sum()
    chosen = model.best_params_.get("functiontransformer__kw_args")
    if chosen is None:
        return np.full(len(X.names), np.nan)
    return np.array([float(name == chosen["name"]) for name in X.names])


def shares(rows, names):
    """Mean weights of modalities, by method."""
    yield ["method", *names]
    for method, weights in rows.groupby("method", sort=False)["weights"]:
        means = np.mean(np.stack(weights), axis=0)
        if not np.isnan(means).any():
            yield [method, *(f"{w:.2f}" for w in means)]


def times(frame):
    """Median seconds to search, to fit once, and milliseconds to predict."""
    groups = frame.groupby(["dataset", "method"], sort=False)
    columns = ["fit_seconds", "refit_seconds", "predict_seconds"]
    table = {}
    for (name, method), row in groups[columns].median().iterrows():
        searching, once, predicting = row
        cell = f"{searching:.2f} / {once:.3f} / {1e3 * predicting:.0f}"
        table.setdefault(name, {})[method] = cell
    return table


def report(frame, names, path):
    """Print all tables; write the first to a path, if there is one."""
    comparison = Comparison(frame, ["accuracy"])
    ranks = comparison.ranks()["mean"].map("{:.1f}".format).to_dict()
    table = list(
        rows_of(accuracies(frame, (AVERAGE, SINGLE)), {"mean rank": ranks}.items())
    )
    table[0][0] = "method"
    if path:
        with path.open("w", newline="") as out:
            csv.writer(out).writerows(table)
    print(markdown(table))
    for name, part in frame.groupby("dataset", sort=False):
        print(f"\nShares of the weights, {name}\n")
        print(markdown(shares(part, names[name])))
    print("\nSeconds to search / to fit once, milliseconds to predict (medians)\n")
    print(markdown(rows_of(times(frame))))
    tests = comparison.significance()
    if tests.friedman is not None:
        print("\n" + "\n".join(tests.lines()[:2]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--csv", type=Path, help="also write the accuracies here")
    arguments = parser.parse_args()
    rows, names = [], {}
    for name in arguments.sets:
        X, y = load(arguments.folder, name)
        names[name] = X.names
        for row in run(X, y, arguments.repeats):
            rows.append({"dataset": name, **row, "status": "ok"})
        print(name, "done", file=sys.stderr)
    frame = pd.DataFrame(rows).assign(peak_memory_mb=np.nan)
    report(frame, names, arguments.csv)


if __name__ == "__main__":
    main()
