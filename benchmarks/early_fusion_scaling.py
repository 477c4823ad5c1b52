"""How the scaling of early fusion decides the clusters, on every clustering set.

    python benchmarks/early_fusion_scaling.py FOLDER --seeds 10 --csv OUT.csv

writes the table that the user guide shows: clustering accuracy (mean and standard
deviation over seeds) of k-means with 10 restarts. Classes are used to score, and for
the number of clusters. A set named ``msrcv1_5v+5`` has five more modalities, of 50
features of standard normal noise each; 'digits' are scikit-learn's.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

from mmfusion import EarlyFusion, Modalities
from mmfusion.datasets import load_digits_modalities, load_npz
from mmfusion.metrics import clustering_accuracy_score

SCALINGS = ("standard", "block", "l2", "auto")
SETS = (
    "100leaves",
    "acm_3v",
    "avdigits_fsdd_mnist",
    "bbc_4v",
    "bdgp_3v",
    "breast_tcga_3v",
    "citeseer_2v",
    "coil20_3pose",
    "digits",
    "handwritten_mfeat",
    "mnist4_3v",
    "movies617",
    "msrcv1_5v",
    "ngs_3v",
    "snareseq_2v",
    "webkb203_3v",
    "wikipedia693",
    "msrcv1_5v+1",
    "msrcv1_5v+5",
)
NOISE_FEATURES = 50


def load(folder, name):
    """The modalities, with as many of noise as the name says, and the classes."""
    name, _, n_noise = name.partition("+")
    is_digits = name == "digits"
    bunch = load_digits_modalities() if is_digits else load_npz(folder / f"{name}.npz")
    rng = np.random.default_rng(0)
    noise = {
        f"noise_{i}": rng.normal(size=(len(bunch.target), NOISE_FEATURES))
        for i in range(int(n_noise or 0))
    }
    blocks = {modality: bunch.data[modality] for modality in bunch.data.names}
    return Modalities(blocks | noise), bunch.target


def accuracies(X, y, scaling, seeds):
    """Clustering accuracy of each seed, and what the scaling was by modality."""
    fusion = EarlyFusion(scaling)
    fused = fusion.fit_transform(X)
    n_clusters = len(np.unique(y))
    scores = []
    for seed in seeds:
        model = KMeans(n_clusters, n_init=10, random_state=seed)
        scores.append(clustering_accuracy_score(y, model.fit_predict(fused)))
    return np.array(scores), fusion.scaling_


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--scalings", nargs="+", default=SCALINGS, choices=SCALINGS)
    parser.add_argument("--csv", type=Path, help="also write the table here")
    arguments = parser.parse_args()
    rows = [["set", *arguments.scalings, "chosen"]]
    for name in arguments.sets:
        X, y = load(arguments.folder, name)
        cells = []
        for scaling in arguments.scalings:
            scores, scales = accuracies(X, y, scaling, range(arguments.seeds))
            cells.append(f"{scores.mean():.3f} ± {scores.std():.3f}")
        chosen = ", ".join(f"{n} {how}" for how, n in Counter(scales.values()).items())
        rows.append([name, *cells, chosen])
        print(*rows[-1], sep="  ", file=sys.stderr)
        if arguments.csv:
            with arguments.csv.open("w", newline="") as out:
                csv.writer(out).writerows(rows)
    csv.writer(sys.stdout).writerows(rows)


if __name__ == "__main__":
    main()
