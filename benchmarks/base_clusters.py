"""How many base clusters late and hybrid fusion need, with the number chosen elsewhere.

    python benchmarks/base_clusters.py FOLDER --seeds 5 --csv OUT.csv

prints, in Markdown, the mean accuracy and the mean normalised mutual information of
`n_base_clusters` of 1 to 4 times n_clusters, over seeds. 'elsewhere' is the accuracy of
the multiple of the highest mean over all other sets: no set takes part in the choice of
the multiple that it is scored with. Classes are used for scores only. Multiples that
would leave fewer than 5 samples per base cluster are left out.

With ``--read`` the rows of an earlier run are summarised instead.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import normalized_mutual_info_score

from mmfusion import HybridFusionClusterer, LateFusionClusterer
from mmfusion.datasets import load_npz
from mmfusion.metrics import clustering_accuracy_score

SETS = (
    "msrcv1_5v",
    "webkb203_3v",
    "ngs_3v",
    "wikipedia693",
    "coil20_3pose",
    "bbc_4v",
    "breast_tcga_3v",
    "snareseq_2v",
    "movies617",
    "bdgp_3v",
    "avdigits_fsdd_mnist",
    "handwritten_mfeat",
    "mnist4_3v",
    "acm_3v",
    "citeseer_2v",
    "100leaves",
)
MULTIPLES = (1, 1.5, 2, 3, 4)
KINDS = {"late": LateFusionClusterer, "hybrid": HybridFusionClusterer}
SMALLEST_BASE_CLUSTER = 5  # mean number of samples


def rows_of(folder, name, n_seeds):
    """Scores of every multiple and seed on one set."""
    bunch = load_npz(folder / f"{name}.npz")
    order = np.random.RandomState(0).permutation(len(bunch.target))
    X, y = bunch.data[order], bunch.target[order]
    n_clusters = len(np.unique(y))
    for seed in range(n_seeds):
        for multiple in MULTIPLES:
            number = round(multiple * n_clusters)
            if multiple > 1 and number * SMALLEST_BASE_CLUSTER > len(y):
                continue
            for kind, cls in KINDS.items():
                start = time.process_time()
                labels = (
                    cls(
                        n_clusters=n_clusters,
                        n_base_clusters=number,
                        random_state=seed,
                    )
                    .fit(X)
                    .labels_
                )
                yield {
                    "set": name,
                    "fusion": kind,
                    "multiple": multiple,
                    "seed": seed,
                    "accuracy": clustering_accuracy_score(y, labels),
                    "information": normalized_mutual_info_score(y, labels),
                    "seconds": time.process_time() - start,
                }


def summary(rows, kind):
    """Mean scores by set and multiple, and those of multiples chosen elsewhere."""
    own = rows[rows["fusion"] == kind]
    table = own.pivot_table(index="set", columns="multiple", values="accuracy")
    spread = own.pivot_table(
        index="set", columns="multiple", values="accuracy", aggfunc="std"
    )
    information = own.pivot_table(index="set", columns="multiple", values="information")
    # a multiple that a set has no room for counts as the largest that it has
    filled = table.ffill(axis=1)
    chosen = {name: filled.drop(index=name).mean().idxmax() for name in filled.index}
    text = table.round(3).astype(str) + " ± " + spread.round(3).astype(str)
    text = text.where(table.notna(), "").astype(object)
    text["chosen"] = pd.Series(chosen, dtype=object)
    text["elsewhere"] = pd.Series(
        {name: round(filled.loc[name, best], 3) for name, best in chosen.items()},
        dtype=object,
    )
    means: dict[object, object] = dict(filled.mean().round(3))
    means["chosen"] = ""
    means["elsewhere"] = round(text["elsewhere"].astype(float).mean(), 3)
    text.loc["mean"] = pd.Series(means, dtype=object)
    return text, information.ffill(axis=1).mean().round(3)


def main():
    """Run the sets, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--read", type=Path)
    args = parser.parse_args()
    if args.read:
        rows = pd.read_csv(args.read)
    else:
        rows = pd.DataFrame(
            [
                row
                for name in args.sets
                for row in rows_of(args.folder, name, args.seeds)
            ]
        )
    if args.csv:
        rows.to_csv(args.csv, index=False, float_format="%.4f")
    for kind in KINDS:
        text, information = summary(rows, kind)
        print(f"\n{kind} fusion, accuracy\n\n{text.to_markdown()}\n")
        print(f"mean information: {information.to_dict()}")


if __name__ == "__main__":
    main()
