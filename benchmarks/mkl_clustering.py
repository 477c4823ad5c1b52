"""Multiple kernel clustering on every clustering set, beside early and late fusion.

    python benchmarks/mkl_clustering.py FOLDER --seeds 10 --out RUN --csv OUT.csv

Every algorithm of `MKLClusterer`, with defaults but for the algorithm, clusters every
set of FOLDER (files of `load_npz`). Finished cells stay in RUN, and a run that was
broken off goes on from there. Prints the clustering accuracy (mean and standard
deviation over seeds), mean ranks, and what differs significantly over data sets;
the accuracies also go to OUT.csv. Classes are used to score, and for the number of
clusters.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from fusion_quality import markdown

from mmfusion import (
    EarlyFusionClusterer,
    LateFusionClusterer,
    MKLClusterer,
    SingleModalityClusterer,
)
from mmfusion.benchmark import compare
from mmfusion.datasets import load_npz

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
    "bdgp_3v",
    "avdigits_fsdd_mnist",
    "acm_3v",
    "citeseer_2v",
    "mnist4_3v",
)
METHODS = {
    "best modality": SingleModalityClusterer(),
    "early": EarlyFusionClusterer(),
    "late": LateFusionClusterer(),
    "agreement": MKLClusterer(),
    "agreement, local": MKLClusterer(neighborhood=0.3),
    "average": MKLClusterer(algorithm="average"),
    "statis": MKLClusterer(algorithm="statis"),
    "simple_mkkm": MKLClusterer(algorithm="simple_mkkm"),
    "mkkm": MKLClusterer(algorithm="mkkm"),
    "mkkm_mr": MKLClusterer(algorithm="mkkm_mr"),
    "late_fusion": MKLClusterer(algorithm="late_fusion"),
}
METRIC = "clustering_accuracy"


def table(comparison):
    """Rows of the table: accuracies by set, then mean ranks."""
    summary = comparison.summary(METRIC).set_index(["dataset", "method"])
    yield ["set", *METHODS]
    for name in comparison.frame["dataset"].unique():
        rows = (summary.loc[(name, method)] for method in METHODS)
        yield [name, *(f"{row['mean']:.3f} ± {row['std']:.3f}" for row in rows)]
    ranks = comparison.ranks(METRIC)["mean"]
    yield ["mean rank", *(f"{ranks[method]:.1f}" for method in METHODS)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--out", type=Path, default=Path("mkl_clustering"))
    parser.add_argument("--csv", type=Path, help="also write the accuracies here")
    parser.add_argument("--n-jobs", type=int, default=1)
    arguments = parser.parse_args()
    comparison = compare(
        METHODS,
        {name: load_npz(arguments.folder / f"{name}.npz") for name in arguments.sets},
        n_repeats=arguments.seeds,
        n_jobs=arguments.n_jobs,
        out=arguments.out,
        verbose=sys.stderr.isatty(),
    )
    rows = list(table(comparison))
    if arguments.csv:
        with arguments.csv.open("w", newline="") as out:
            csv.writer(out).writerows(rows)
    print(markdown(rows))
    seconds = comparison.frame.pivot_table("fit_seconds", "dataset", "method", "median")
    print("\nSeconds of a fit (medians)\n")
    print(
        markdown(
            [
                ["set", *METHODS],
                *(
                    [name, *(f"{seconds.loc[name, m]:.2f}" for m in METHODS)]
                    for name in arguments.sets
                ),
            ]
        )
    )
    print("\n" + str(comparison.significance(METRIC)))


if __name__ == "__main__":
    main()
