"""How multiple kernel clustering bears useless modalities: the evidence for a default.

    python benchmarks/mkl_noise.py FOLDER [--seeds 3] [--sets msrcv1_5v ...] [--csv CSV]

Every algorithm of `MKLClusterer` clusters every set of FOLDER (files of `load_npz`),
with 0, 1 and as many further modalities of pure noise as the set has modalities.
Labels only score. Prints, per set, the accuracies of the three, and in brackets the
weight of all noise together in the last; then means over the sets.
"""

import argparse
import csv
import sys
import warnings
from pathlib import Path

import numpy as np
from fusion_quality import markdown
from sklearn.exceptions import ConvergenceWarning

from mmfusion import Modalities
from mmfusion.datasets import load_npz
from mmfusion.metrics import clustering_accuracy_score
from mmfusion.mkl import MKLClusterer

SETS = (
    "msrcv1_5v",
    "webkb203_3v",
    "ngs_3v",
    "coil20_3pose",
    "movies617",
    "bbc_4v",
    "wikipedia693",
    "snareseq_2v",
    "100leaves",
    "handwritten_mfeat",
)
ALGORITHMS = (
    "agreement",
    "average",
    "statis",
    "late_fusion",
    "simple_mkkm",
    "mkkm",
    "mkkm_mr",
)
NOISE_FEATURES = 50


def with_noise(X, n_noise, seed):
    """Modalities, those of noise after those of the set."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(n_noise, len(X), NOISE_FEATURES))
    return Modalities(X.to_dict() | {f"noise_{v}": b for v, b in enumerate(noise)})


def measure(X, y, algorithm, seeds):
    """Accuracies with 0, 1 and V noise modalities, and the weight of these V."""
    n_clusters, n_own = len(np.unique(y)), len(X.names)
    accuracies, share = [], 0.0
    for n_noise in (0, 1, n_own):
        scores, shares = [], []
        for seed in range(seeds):
            clusterer = MKLClusterer(
                n_clusters, algorithm=algorithm, random_state=seed
            ).fit(with_noise(X, n_noise, seed))
            scores.append(clustering_accuracy_score(y, clusterer.labels_))
            shares.append(clusterer.modality_weights_[n_own:].sum())
        accuracies.append(np.mean(scores))
        share = np.mean(shares)
    return accuracies, share


def told(accuracies):
    """Three numbers in a cell."""
    return " / ".join(f"{value:.3f}" for value in accuracies)


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--algorithms", nargs="+", default=ALGORITHMS)
    parser.add_argument("--csv", type=Path, help="also write the table here")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    means = {algorithm: [] for algorithm in arguments.algorithms}
    rows = [["set", *arguments.algorithms]]
    for name in arguments.sets:
        bunch = load_npz(arguments.folder / f"{name}.npz")
        cells = []
        for algorithm in arguments.algorithms:
            accuracies, share = measure(
                bunch.data, bunch.target, algorithm, arguments.seeds
            )
            means[algorithm].append(accuracies)
            cells.append(f"{told(accuracies)} ({share:.2f})")
        rows.append([name, *cells])
        print(name, "done", file=sys.stderr)
    rows.append(["mean", *(told(np.mean(means[a], axis=0)) for a in means)])
    if arguments.csv:
        with arguments.csv.open("w", newline="") as out:
            csv.writer(out).writerows(rows)
    print(markdown(rows))


if __name__ == "__main__":
    main()
