"""Clustering by likelihood on every clustering set, complete and with missing cells.

    OMP_NUM_THREADS=1 python benchmarks/mixture_clustering.py FOLDER --csv OUT.csv

appends one line per set, share of missing modalities, method and seed to OUT.csv
(clustering accuracy, NMI and CPU seconds), and prints means over seeds. Classes are
used to score, and for the number of clusters. Missing modalities are drawn at random by
the seed, the same for all methods. Options of the mixture are settled leave one set
out: ``--settle`` prints, for every set, the option that is best on all others.
``--sequences`` clusters the sets of sequences by mixtures of hidden Markov models,
beside clusters of kernels of dynamic time warping.
"""

from __future__ import annotations

import argparse
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from graph_clustering import SETS, load
from sklearn.decomposition import PCA
from sklearn.metrics import normalized_mutual_info_score
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline

from mmfusion import (
    EarlyFusionClusterer,
    HMMClusterer,
    MKLClusterer,
    Modalities,
    ModalityImputer,
    MultimodalMixture,
    SpectralClusterer,
)
from mmfusion.alignment import DTWKernel
from mmfusion.metrics import clustering_accuracy_score

STARTS = 5


def k_means(n_clusters, random_state):
    """k-means of the scaled concatenation, with means for missing modalities."""
    return make_pipeline(
        ModalityImputer(),
        EarlyFusionClusterer(n_clusters=n_clusters, random_state=random_state),
    )


mixture = partial(MultimodalMixture, n_init=STARTS)


class MixtureOrStart:
    """The mixture, or the start of EM unless EM improves held-out likelihood."""

    def __init__(self, n_clusters, random_state):
        self.models = [
            mixture(n_clusters=n_clusters, max_iter=n, random_state=random_state)
            for n in (1, 100)
        ]
        self.splitter = KFold(3, shuffle=True, random_state=random_state)

    def fit_predict(self, X):
        """Cluster by the model of the larger held-out likelihood."""
        scores = np.zeros(2)
        for train, test in self.splitter.split(np.zeros(len(X))):
            for i, model in enumerate(self.models):
                scores[i] += model.fit(X[train]).score(X[test])
        return self.models[scores.argmax()].fit_predict(X)


OPTIONS = {
    "mixture": mixture,
    "mixture, .9 of the variance": partial(mixture, explained_variance=0.9),
    "mixture, balanced": partial(mixture, modality_weights="balanced"),
    "mixture, diagonal": partial(mixture, covariance_type="diag"),
    "mixture, .9, balanced": partial(
        mixture, explained_variance=0.9, modality_weights="balanced"
    ),
    "mixture, start": partial(mixture, max_iter=1),
    "mixture, or start": MixtureOrStart,
}
METHODS = {
    **OPTIONS,
    "mixture, ten starts": MultimodalMixture,
    "mixture, features as they are": partial(
        mixture, covariance_type="diag", explained_variance=None
    ),
    "k-means": k_means,
    "blend of graphs": SpectralClusterer,
}
# options are compared with fewer starts than the default
DEFAULT_METHODS = [
    m
    for m in METHODS
    if m not in {"mixture, ten starts", "mixture, start", "mixture, or start"}
]
MISSING_SHARES = (0.0, 0.3)
SEQUENCE_SETS = (
    "ts_basicmotions",
    "ts_japanesevowels",
    "ts_articularyword",
    "ts_weizmann",
)


def lacking(X, share, seed):
    """The data without a share of modalities of samples, each of which keeps one."""
    if share == 0:
        return X
    rng = np.random.RandomState(seed)
    n, n_modalities = X.shape
    observed = rng.rand(n, n_modalities) >= share
    empty = np.flatnonzero(~observed.any(axis=1))
    observed[empty, rng.randint(n_modalities, size=len(empty))] = True
    return Modalities(X.to_dict(), observed=observed & X.observed)


def load_sequences(folder, name):
    """Sequences by modality, and labels."""
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        y, borders = file["y"], np.cumsum(file["lengths"])[:-1]
        if "frames" not in file:  # an array of frames for each modality
            blocks = {
                key.removeprefix("frames_"): principal(file[key].astype(float))
                for key in file
                if key.startswith("frames_")
            }
        else:
            frames = file["frames"].astype(float)
            channels = np.zeros(frames.shape[1], dtype=int)
            channels = file.get("view_of_channel", channels)
            blocks = {
                f"modality_{v}": frames[:, channels == v] for v in np.unique(channels)
            }
    return Modalities({n: np.split(x, borders) for n, x in blocks.items()}), y


def principal(frames):
    """Coordinates of images on as many principal axes as have .9 of the variance."""
    return PCA(0.9, random_state=0).fit_transform(frames)


def of_sequences(k, seed):
    """Clusterers of sequences by name."""
    return {
        "HMM": HMMClusterer(k, random_state=seed),
        "HMM, ten states": HMMClusterer(k, n_states=10, random_state=seed),
        "HMM, ergodic": HMMClusterer(k, topology="ergodic", random_state=seed),
        "HMM, without outliers": HMMClusterer(k, outlier_share=0, random_state=seed),
        "kernel k-means of DTW": MKLClusterer(
            kernel=DTWKernel(), n_clusters=k, random_state=seed
        ),
    }


def timed(clusterer, X, y):
    """Accuracy, NMI and CPU seconds of a fit."""
    start = time.process_time()
    labels = clusterer.fit_predict(X)
    seconds = time.process_time() - start
    return (
        clustering_accuracy_score(y, labels),
        normalized_mutual_info_score(y, labels),
        seconds,
    )


def rows_of(folder, name, share, seed, methods, done):
    """Iterate over the rows of a set and seed that are not there."""
    left = [m for m in methods if (name, share, m, seed) not in done]
    if not left:
        return
    X, y = load(folder, name)
    X = lacking(X, share, seed)
    for method in left:
        clusterer = METHODS[method](n_clusters=len(np.unique(y)), random_state=seed)
        yield name, share, method, seed, *timed(clusterer, X, y)


def sequence_rows(folder, name, seed, methods, done):
    """Iterate over the rows of a set of sequences and seed that are not there."""
    X, y = load_sequences(folder, name)
    for method, clusterer in of_sequences(len(np.unique(y)), seed).items():
        if (name, 0.0, method, seed) not in done and method in methods:
            yield name, 0.0, method, seed, *timed(clusterer, X, y)


COLUMNS = ["set", "missing", "method", "seed", "ACC", "NMI", "seconds"]


def settle(rows):
    """Print the option that each set gets from all others."""
    own = rows[rows.method.isin(OPTIONS)]
    tables = {
        f"{share:.0%} missing": part.pivot_table("ACC", "method", "set")
        for share, part in own.groupby("missing")
    }
    tables["mean of both"] = sum(tables.values()) / len(tables)
    for label, table in tables.items():
        chosen = {s: table.drop(columns=s).mean(axis=1).idxmax() for s in table}
        elsewhere = np.mean([table.loc[m, s] for s, m in chosen.items()])
        print(f"\n{label}: option by the other sets {elsewhere:.4f}; of one for all")
        print(table.mean(axis=1).round(4).to_markdown())
        print(pd.Series(chosen).to_markdown())


def main():
    """Measure what is not there, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", default=None)
    parser.add_argument("--methods", nargs="+", default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--settle", action="store_true")
    parser.add_argument("--sequences", action="store_true")
    args = parser.parse_args()
    done = set()
    if args.csv.exists():
        read = pd.read_csv(args.csv)
        keys = read[["set", "missing", "method", "seed"]]
        done = set(keys.itertuples(index=False, name=None))
    sets = args.sets or (SEQUENCE_SETS if args.sequences else SETS)
    methods = args.methods or DEFAULT_METHODS
    if args.sequences and args.methods is None:
        methods = list(of_sequences(2, 0))
    warnings.simplefilter("ignore")
    for seed in range(args.seeds):
        for name in sets:
            for share in (0.0,) if args.sequences else MISSING_SHARES:
                found = (
                    sequence_rows(args.folder, name, seed, methods, done)
                    if args.sequences
                    else rows_of(args.folder, name, share, seed, methods, done)
                )
                for row in found:
                    frame = pd.DataFrame([row], columns=COLUMNS)
                    is_new = not args.csv.exists()
                    frame.to_csv(args.csv, mode="a", header=is_new, index=False)
    rows = pd.read_csv(args.csv)
    rows = rows[rows.set.isin(sets) & rows.method.isin(methods)]
    for share, own in rows.groupby("missing"):
        table = own.pivot_table("ACC", "method", "set")
        table["mean"] = table.mean(axis=1)
        print(f"\nACC, {share:.0%} missing\n\n{table.round(3).T.to_markdown()}")
        spread = own.groupby(["method", "set"]).ACC.std().groupby("method").mean()
        print(f"\nstandard deviation over seeds: {spread.round(3).to_dict()}")
    seconds = rows.pivot_table("seconds", "method", "set").T
    print(f"\nCPU seconds\n\n{seconds.round(2).to_markdown()}")
    if args.settle:
        settle(rows)


if __name__ == "__main__":
    main()
