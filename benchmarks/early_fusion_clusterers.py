"""Which clusterer of the concatenation: k-means, or a cut of its neighbour graph.

    python benchmarks/early_fusion_clusterers.py FOLDER --seeds 3 --csv OUT.csv

clusters the same matrix, that of EarlyFusion's defaults, by k-means with 10 restarts
(the default of EarlyFusionClusterer), by the cut of the self-tuned neighbour graph
(SpectralClusterer) and by scikit-learn's SpectralClustering of 10 nearest neighbours.
It prints, in Markdown, the mean accuracy and normalised mutual information over seeds,
the mean differences from k-means with their standard errors over sets, and CPU seconds.
'elsewhere' is the accuracy of the clusterer of the highest mean on all other sets.
Classes are used for scores, and for the number of clusters. With ``--read`` the rows of
an earlier run are summarised instead.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from base_clusters import SETS
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.metrics import normalized_mutual_info_score

from mmfusion import EarlyFusion, SpectralClusterer
from mmfusion.datasets import load_npz
from mmfusion.metrics import clustering_accuracy_score

DEFAULT = "k-means"


def clusterers(n_clusters, seed):
    """The clusterers by name; the matrix is scaled already."""
    return {
        DEFAULT: KMeans(n_clusters, n_init=10, random_state=seed),
        "graph cut": SpectralClusterer(n_clusters, scaling=None, random_state=seed),
        "scikit-learn's": SpectralClustering(
            n_clusters, affinity="nearest_neighbors", random_state=seed
        ),
    }


def rows_of(folder, name, n_seeds):
    """Scores of every clusterer and seed on one set."""
    bunch = load_npz(folder / f"{name}.npz")
    order = np.random.RandomState(0).permutation(len(bunch.target))
    fused = EarlyFusion().fit_transform(bunch.data[order])
    y = bunch.target[order]
    for seed in range(n_seeds):
        for title, clusterer in clusterers(len(np.unique(y)), seed).items():
            start = time.process_time()
            labels = clusterer.fit_predict(fused)
            yield {
                "set": name,
                "clusterer": title,
                "seed": seed,
                "accuracy": clustering_accuracy_score(y, labels),
                "information": normalized_mutual_info_score(y, labels),
                "seconds": time.process_time() - start,
            }


def summary(rows):
    """Mean scores by set, and differences from the default."""
    tables = {
        score: rows.pivot_table(index="set", columns="clusterer", values=score)
        for score in ("accuracy", "information")
    }
    accuracy = tables["accuracy"]
    elsewhere = {
        name: accuracy.loc[name, accuracy.drop(index=name).mean().idxmax()]
        for name in accuracy.index
    }
    accuracy["elsewhere"] = pd.Series(elsewhere)
    for score, table in tables.items():
        differences = table.sub(table[DEFAULT], axis=0).drop(columns=DEFAULT)
        errors = differences.std() / np.sqrt(len(table))
        table.loc["mean"] = table.mean()
        print(f"\n{score}\n\n{table.round(3).to_markdown()}\n")
        for title, mean in differences.mean().items():
            print(f"{title} - {DEFAULT}: {mean:+.3f} ± {errors[title]:.3f}")
    print(
        f"\nCPU seconds: {rows.groupby('clusterer').seconds.mean().round(2).to_dict()}"
    )


def main():
    """Run the sets, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--read", type=Path)
    args = parser.parse_args()
    warnings.filterwarnings("ignore", message="Graph is not fully connected")
    if args.read:
        rows = pd.read_csv(args.read)
    else:
        rows = pd.DataFrame()
        for name in args.sets:
            own = pd.DataFrame(rows_of(args.folder, name, args.seeds))
            rows = pd.concat([rows, own])
            if args.csv:
                rows.to_csv(args.csv, index=False, float_format="%.4f")
    summary(rows)


if __name__ == "__main__":
    main()
