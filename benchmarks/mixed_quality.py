"""How well sequences and tables classify together, beside each of them alone.

    OMP_NUM_THREADS=1 python benchmarks/mixed_quality.py FOLDER --csv OUT.csv

prints, in Markdown, the accuracy (mean and standard deviation over draws of samples to
fit on, the same for all methods) and the CPU seconds to fit and to predict. All methods
are support vector machines with C=10, so that kernels and fusion are all that differs:

- 'pooled' takes means, deviations and ranges of the frames, as SequencePooling does;
- kernels of sequences are as they come, on features of unit variance over all frames,
  which ModalityKernels' own scaling does; 'not scaled' leaves that out;
- 'late' averages the probabilities of two machines; 'MKL' adds kernels, equally or with
  the weights that 'alignment' learns.

'digits' are the recordings of avdigits_fsdd_mnist, 20 frames of 13 coefficients,
beside images. They are paired by class alone, so that errors of both are independent,
and fusion gains more than where modalities share their noise. 'simulated' has a latent
trajectory for each of six classes, recorded with clocks that differ, and a table whose
classes overlap.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from mmfusion import EarlyFusionClassifier, LateFusionClassifier, Modalities
from mmfusion.alignment import DTWKernel
from mmfusion.datasets import (
    load_npz,
    make_multimodal_blobs,
    make_multimodal_sequences,
)
from mmfusion.mkl import MKLClassifier
from mmfusion.preprocessing import PerModality, SequencePooling

KERNELS = ("dtw", "soft_dtw", "global_alignment")
COST = 10.0
N_TEST = 500


def digits(folder):
    """Recordings and images of digits."""
    X, y = load_npz(folder / "avdigits_fsdd_mnist.npz", return_X_y=True)
    frames = X["mfcc13x20"].reshape(-1, 20, 13).astype(np.float64)
    images = np.asarray(X["mnist784"], dtype=np.float64)
    return Modalities({"sequences": list(frames), "table": images}), y, 100


def simulated(folder):
    """Trajectories with different clocks, and a table whose classes overlap."""
    X, y, _ = make_multimodal_sequences(
        620,
        {"sequences": 3},
        n_classes=6,
        n_frames=60,
        sample_std=0.7,
        noise_std=1.0,
        n_noise_features=2,
        random_state=0,
    )
    of_class = make_multimodal_blobs(
        620, {"table": 8}, centers=6, cluster_std=6.0, random_state=0
    )
    order = np.argsort(of_class[1], kind="stable")
    table = np.empty((620, 8))
    table[np.argsort(y, kind="stable")] = of_class[0]["table"][order]
    return Modalities({"sequences": list(X["sequences"]), "table": table}), y, 120


SETS = {"digits": digits, "simulated": simulated}


def machine(**params):
    return SVC(C=COST, probability=True, random_state=0, **params)


def methods():
    """Estimators by name, with the modalities that each gets."""
    alone, both = ["sequences"], ["sequences", "table"]
    pooled = PerModality({"sequences": SequencePooling()})
    found = {"table": (["table"], MKLClassifier(C=COST))}
    found["sequences, pooled"] = (alone, make_pipeline(pooled, MKLClassifier(C=COST)))
    for kernel in KERNELS:
        title = f"sequences, {kernel}"
        found[title] = (alone, MKLClassifier(kernel, C=COST))
        found[f"{title}, not scaled"] = (
            alone,
            MKLClassifier(kernel, C=COST, scaling=None),
        )
    found["early, pooled"] = (
        both,
        make_pipeline(pooled, EarlyFusionClassifier(machine(), scaling="block")),
    )
    found["MKL, pooled"] = (
        both,
        make_pipeline(pooled, MKLClassifier(C=COST, algorithm="average")),
    )
    for kernel, own in zip(
        KERNELS, ("rbf", "soft_dtw", "global_alignment"), strict=True
    ):
        of_sequences = make_pipeline(DTWKernel(own), machine(kernel="precomputed"))
        by_name = {"sequences": of_sequences, "table": machine()}
        found[f"late, {kernel}"] = (both, LateFusionClassifier(by_name))
        found[f"MKL, {kernel}"] = (
            both,
            MKLClassifier({"sequences": kernel}, C=COST, algorithm="average"),
        )
    found["MKL, soft_dtw, learned"] = (
        both,
        MKLClassifier({"sequences": "soft_dtw"}, C=COST),
    )
    return found


def run(X, y, n_train, n_draws):
    """Accuracies and seconds of every method, by draw."""
    draws = StratifiedShuffleSplit(
        n_draws, train_size=n_train, test_size=N_TEST, random_state=0
    )
    results = {name: [] for name in methods()}
    for train, test in draws.split(y, y):
        for name, (modalities, estimator) in methods().items():
            begin = time.process_time()
            fitted = clone(estimator).fit(X[train][modalities], y[train])
            middle = time.process_time()
            score = fitted.score(X[test][modalities], y[test])
            results[name].append((score, middle - begin, time.process_time() - middle))
    return {name: np.array(values) for name, values in results.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--csv", type=Path, help="also write the accuracies here")
    arguments = parser.parse_args()
    # DTW and soft-DTW are not definite, as their documentation says
    warnings.filterwarnings("ignore", message=".*not positive semi-definite")
    warnings.filterwarnings("ignore", category=FutureWarning)  # of SVC's probability
    rows = [["method", *SETS]]
    seconds = []
    by_set = {
        name: run(*load(arguments.folder), arguments.draws)
        for name, load in SETS.items()
    }
    for method in methods():
        found = [by_set[name][method] for name in SETS]
        rows.append(
            [method, *(f"{f[:, 0].mean():.3f} ± {f[:, 0].std():.3f}" for f in found)]
        )
        times = [f"{f[:, 1].mean():.2f} / {f[:, 2].mean():.2f}" for f in found]
        seconds.append(f"{method}: {', '.join(times)}")
    if arguments.csv:
        with arguments.csv.open("w", newline="") as out:
            csv.writer(out).writerows(rows)
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print("\nCPU seconds to fit / to predict\n" + "\n".join(seconds))


if __name__ == "__main__":
    main()
