"""Time EAMCClusterer until it reaches an accuracy, and its default fit.

    OMP_NUM_THREADS=1 python benchmarks/eamc_time_to_result.py FOLDER --out OUT.csv

fits `EAMCClusterer` with its defaults on one thread, and scores the clusters of its
training data after every epoch. One line per set, seed and epoch is appended to
OUT.csv: the restart, the phase, the processor seconds of training so far (restarts
follow each other; what scoring takes does not count) and the accuracy. The last line
of a fit, of the phase 'fit', has all processor seconds and the accuracy of `labels_`.
``--table`` prints seconds until the accuracies of a list are reached by the clusters
of the restart in training, and those of the whole fit. Classes are used for
accuracies, and for the number of clusters.

On digits (pixels and gradients) the peer in ``eamc_speed.py`` takes 41 processor
seconds for 100 epochs, and reaches accuracies of .53 to .58.
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
from eamc_ablation import load, read
from skorch.callbacks import Callback

from mmfusion import EAMCClusterer
from mmfusion.metrics import clustering_accuracy_score

SETS = ("digits", "msrcv1_5v")
ACCURACIES = (0.53, 0.58, 0.75, 0.9)
FIT = "fit"


class Curve(Callback):
    """Accuracy after every epoch beside the seconds of training."""

    def __init__(self, y):
        self.y, self.rows, self.scoring, self.restart = y, [], 0.0, -1
        self.started = time.process_time()

    def seconds(self):
        """Processor seconds since the start, less those of scoring."""
        return time.process_time() - self.started - self.scoring

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.restart += not net.history

    def on_epoch_end(self, net, dataset_train=None, **kwargs):
        seconds = self.seconds()
        accuracy = clustering_accuracy_score(self.y, net.predict(dataset_train))
        self.rows.append((self.restart, net.phase_name_, seconds, accuracy))
        self.scoring = time.process_time() - self.started - seconds


def run(folder, name, seed):
    """Rows of one fit."""
    X, y = load(folder, name)
    curve = Curve(y)
    model = EAMCClusterer(len(np.unique(y)), random_state=seed)
    model.set_params(trainer__callbacks=[curve])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        curve.started = time.process_time()
        labels = model.fit_predict(X)
    whole = curve.seconds()
    last = ("", FIT, whole, clustering_accuracy_score(y, labels))
    return [(name, seed, *row) for row in [*curve.rows, last]]


def table(rows):
    """Seconds until accuracies, and of whole fits: mean and range over seeds."""
    until = [f"s until {accuracy:.2f}" for accuracy in ACCURACIES]
    lines = [["set", "seeds", *until, "s of the fit", "accuracy"]]
    for name in SETS:
        by_seed = {}
        for _, seed, _, phase, seconds, accuracy in (r for r in rows if r[0] == name):
            by_seed.setdefault(seed, []).append(
                (phase, float(seconds), float(accuracy))
            )
        whole = [fit[-1] for fit in by_seed.values() if fit[-1][0] == FIT]
        if not whole:
            continue
        cells = []
        for wanted in ACCURACIES:
            first = [
                next((s for _, s, accuracy in fit if accuracy >= wanted), np.inf)
                for fit in by_seed.values()
            ]
            cells.append(with_range(first, 2))
        seconds, accuracies = zip(*(row[1:] for row in whole), strict=True)
        cells += [with_range(seconds, 1), with_range(accuracies, 3)]
        lines.append([name, len(whole), *cells])
    return lines


def with_range(values, digits):
    """Mean, lowest and highest value."""
    texts = [f"{v:.{digits}f}" for v in (np.mean(values), min(values), max(values))]
    return f"{texts[0]} ({texts[1]} to {texts[2]})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--out", type=Path, default=Path("eamc_time_to_result.csv"))
    parser.add_argument("--table", action="store_true", help="only print the summary")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = read(arguments.out) if arguments.out.exists() else []
    if arguments.table:
        csv.writer(sys.stdout).writerows(table(rows))
        return
    done = {(name, seed) for name, seed, _, phase, *_ in rows if phase == FIT}
    for seed in range(arguments.seeds):
        for name in arguments.sets:
            if (name, str(seed)) not in done:
                found = run(arguments.folder, name, seed)
                with arguments.out.open("a", newline="") as file:
                    csv.writer(file).writerows(found)


if __name__ == "__main__":
    main()
