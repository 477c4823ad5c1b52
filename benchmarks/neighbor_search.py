"""Approximate and exact search of neighbours: processor time, recall and clusters.

    OMP_NUM_THREADS=1 python benchmarks/neighbor_search.py --sizes 20000 50000 100000

clusters planted data of three modalities with 32 features each (``--features``) by
`SpectralClusterer` with both searches in one process, and prints one row per size: CPU
seconds of the search of all modalities, the share of the neighbours that are found, CPU
seconds of a fit, and the adjusted Rand index of both with the planted clusters and of
one with the other. What is compiled once in a process comes first, by itself. With
``--sets FOLDER`` sets of fewer samples are searched approximately as well, to see what
that does to their clusters: accuracy over five seeds of k-means.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import adjusted_rand_score

from mmfusion import EarlyFusion, SpectralClusterer
from mmfusion.clustering.graph import _neighbors
from mmfusion.clustering.graph._neighbors import nearest_samples
from mmfusion.datasets import load_npz
from mmfusion.metrics import clustering_accuracy_score

N_MODALITIES, N_CLUSTERS, N_NEIGHBORS, N_LATENT = 3, 10, 10, 16
SPREAD_OF_CENTERS = 0.8
SETS = ("handwritten_mfeat", "mnist4_3v", "avdigits_fsdd_mnist", "100leaves")


def planted(n, n_features, rng):
    """Clusters that overlap, in a latent space of each modality."""
    y = rng.integers(N_CLUSTERS, size=n)
    blocks = []
    for _ in range(N_MODALITIES):
        centers = SPREAD_OF_CENTERS * rng.standard_normal((N_CLUSTERS, N_LATENT))
        latent = centers[y] + rng.standard_normal((n, N_LATENT))
        maps = rng.standard_normal((N_LATENT, n_features))
        noise = rng.standard_normal((n, n_features))
        blocks.append((latent @ maps + 0.5 * noise).astype(np.float32))
    return blocks, y


def timed(function, *args, **options):
    start = time.process_time()
    return function(*args, **options), time.process_time() - start


def row(n, n_features):
    blocks, y = planted(n, n_features, np.random.default_rng(0))
    seconds, found = {}, {}
    for search in ("exact", "approximate"):
        outs = [timed(nearest_samples, b, N_NEIGHBORS, search=search) for b in blocks]
        seconds[search] = sum(own for _, own in outs)
        found[search] = np.concatenate([near for (_, near), _ in outs])
    common = map(np.intersect1d, found["exact"], found["approximate"])
    recall = np.mean([len(own) for own in common]) / N_NEIGHBORS
    labels, fits = [], []
    for search in ("exact", "approximate"):
        clusterer = SpectralClusterer(
            N_CLUSTERS, neighbor_search=search, random_state=0
        )
        fitted, own = timed(clusterer.fit, blocks)
        labels.append(fitted.labels_)
        fits.append(own)
    scores = [adjusted_rand_score(y, own) for own in labels]
    print(
        f"| {n:,} x {N_MODALITIES} x {n_features} | {seconds['exact']:.1f} "
        f"| {seconds['approximate']:.1f} | {recall:.3f} "
        f"| {fits[0]:.1f} | {fits[1]:.1f} "
        f"| {scores[0]:.3f} | {scores[1]:.3f} | {adjusted_rand_score(*labels):.3f} |",
        flush=True,
    )


def row_of_set(folder, name):
    """Accuracy with both searches on a set, and the share of neighbours found."""
    bunch = load_npz(folder / f"{name}.npz")
    blocks = EarlyFusion().fit(bunch.data)._scalings
    blocks = [blocks[v].apply(block) for v, block in enumerate(bunch.data.blocks)]
    dense = [block for block in blocks if isinstance(block, np.ndarray)]
    common = []
    for block in dense:
        exact, found = (
            nearest_samples(block, N_NEIGHBORS, search=search)[1]
            for search in ("exact", "approximate")
        )
        common += [len(own) for own in map(np.intersect1d, exact, found)]
    accuracies = []
    for search in ("exact", "approximate"):
        fits = [
            SpectralClusterer(
                len(np.unique(bunch.target)), neighbor_search=search, random_state=seed
            ).fit(bunch.data)
            for seed in range(5)
        ]
        scores = [clustering_accuracy_score(bunch.target, f.labels_) for f in fits]
        accuracies.append(f"{np.mean(scores):.3f} ({np.std(scores):.3f})")
    print(
        f"| {name} | {len(bunch.data):,} | {np.mean(common) / N_NEIGHBORS:.3f} "
        f"| {accuracies[0]} | {accuracies[1]} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[20_000, 50_000])
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--sets", type=Path)
    arguments = parser.parse_args()
    n = _neighbors.MIN_APPROXIMATE_SAMPLES
    noise = np.random.default_rng(0).standard_normal((n, 4), dtype=np.float32)
    _, compiled = timed(nearest_samples, noise, N_NEIGHBORS, search="approximate")
    print(f"compilation and first search: {compiled:.1f} CPU s\n")
    if arguments.sets:
        _neighbors.MIN_APPROXIMATE_SAMPLES = _neighbors.INDEX_NEIGHBORS
        print("| set | samples | found | exact | approximate |\n|---|---|---|---|---|")
        for name in SETS:
            row_of_set(arguments.sets, name)
        return
    print(
        "| size | exact, CPU s | approximate | found | fit, exact | approximate "
        "| ARI, exact | approximate | of both |\n|---|---|---|---|---|---|---|---|---|"
    )
    for size in arguments.sizes:
        row(size, arguments.features)


if __name__ == "__main__":
    main()
