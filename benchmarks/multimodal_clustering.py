"""MultimodalClusterer beside its members, other clusterers, and other rules.

    python benchmarks/multimodal_clustering.py FOLDER --seeds 10 --csv OUT.csv

fits the clusterers to every set and seed, and appends a row for each to OUT.csv; rows
that are there are not computed again. ``--read`` prints, in Markdown, from OUT.csv: the
mean accuracy of every clusterer by set, its mean and its mean rank over the sets, the
distance to the best in hindsight, CPU seconds in units of the average of graphs; and
the rules (the member that agrees most, which is the default; consensuses with weights
by powers of the agreement, without one member each; a vote), of which 'elsewhere' is
the accuracy of the one with the highest mean over all other sets: no set takes part in
the choice of the rule that it is scored with. Classes are used for scores only.
``--eamc`` names a table with the columns 'set' and 'ACC', such as
docs/guide/tables/eamc_quality.csv, to stand beside them. ``--table`` writes the first
table as CSV.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from base_clusters import SETS
from early_fusion_scaling import load as load_in_order
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
    roc_auc_score,
)

from mmfusion import (
    EarlyFusionClusterer,
    GMCClusterer,
    MKLClusterer,
    MultimodalClusterer,
    SpectralClusterer,
)
from mmfusion.benchmark import Comparison
from mmfusion.fusion.combination._clusterings import BaseClusterings
from mmfusion.fusion.combination._consensus import hbgf, vote
from mmfusion.metrics import clustering_accuracy_score

POWERS = (0, 1, 2, 4)
REFERENCE = "average"  # whose CPU seconds are the unit


def load(folder, name):
    """Load a set, in the same random order for all."""
    X, y = load_in_order(folder, name)
    order = np.random.RandomState(0).permutation(len(y))
    return X[order], np.asarray(y)[order]


def others(n_clusters, seed):
    """Make the clusterers that are no members."""
    seeded = {"random_state": seed}
    return {
        REFERENCE: SpectralClusterer(n_clusters, fusion="average", **seeded),
        "blend": SpectralClusterer(n_clusters, **seeded),
        "auto_weight": SpectralClusterer(n_clusters, fusion="auto_weight", **seeded),
        "gmc": GMCClusterer(n_clusters, **seeded),
        "mkl": MKLClusterer(n_clusters=n_clusters, **seeded),
        "early, standard": EarlyFusionClusterer(
            n_clusters=n_clusters, scaling="standard", **seeded
        ),
    }


def rules_of(labels, information, n_clusters, seed):
    """Iterate over the labels by other rules, by name."""
    names = list(labels)
    codes = np.column_stack(list(labels.values())).astype(np.int32)
    sizes = codes.max(axis=0) + 1
    n_members = len(names)

    def consensus(kept, power):
        among = information[np.ix_(kept, kept)]
        agreement = (among.sum(axis=1) - 1) / (len(kept) - 1)
        base = BaseClusterings(codes[:, kept], sizes[kept], agreement**power)
        return base, agreement

    everyone = np.arange(n_members)
    for power in POWERS:
        base, agreement = consensus(everyone, power)
        yield f"power {power}", hbgf(base, n_clusters, np.random.RandomState(seed))[0]
    yield "vote", vote(base, n_clusters)[0]
    yield "member that agrees most", codes[:, agreement.argmax()]
    for m, name in enumerate(names):
        base, _ = consensus(np.delete(everyone, m), 2)
        found = hbgf(base, n_clusters, np.random.RandomState(seed))[0]
        yield f"power 2 without {name}", found


def scores(y, labels):
    """Return accuracy, NMI and ARI."""
    return (
        clustering_accuracy_score(y, labels),
        normalized_mutual_info_score(y, labels),
        adjusted_rand_score(y, labels),
    )


def wrong_samples(y, labels):
    """Return the samples whose class is not the most frequent of their cluster."""
    classes = np.unique(y, return_inverse=True)[1]
    counts = np.zeros((labels.max() + 1, classes.max() + 1))
    np.add.at(counts, (labels, classes), 1)
    return counts.argmax(axis=1)[labels] != classes


def rows_of(X, y, seed):
    """Iterate over kind, method, scores and CPU seconds on one set."""
    n_clusters = len(np.unique(y))
    start = time.process_time()
    ensemble = MultimodalClusterer(n_clusters, random_state=seed).fit(X)
    seconds = time.process_time() - start
    wrong = wrong_samples(y, ensemble.labels_)
    auc = roc_auc_score(wrong, ensemble.uncertainty_) if 0 < wrong.mean() < 1 else 1
    yield "method", "MultimodalClusterer", *scores(y, ensemble.labels_), seconds, auc
    labels = {name: run.labels_ for name, run in ensemble.clusterers_.items()}
    for name, own in labels.items():
        yield "method", name, *scores(y, own), np.nan, np.nan
    information = ensemble.mutual_information_
    for name, own in rules_of(labels, information, n_clusters, seed):
        yield "rule", name, *scores(y, own), np.nan, np.nan
    for name, clusterer in others(n_clusters, seed).items():
        start = time.process_time()
        own = clusterer.fit_predict(X)
        seconds = time.process_time() - start
        yield "method", name, *scores(y, own), seconds, np.nan


COLUMNS = ["kind", "method", "ACC", "NMI", "ARI", "seconds", "AUC"]


def measure(folder, names, seeds, out):
    """Append the rows of every set and seed that are not there."""
    there = set()
    if out.exists():
        there = set(pd.read_csv(out)[["set", "seed"]].itertuples(index=False))
    for seed in range(seeds):
        for name in names:
            if (name, seed) in there:
                continue
            X, y = load(folder, name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rows = pd.DataFrame(rows_of(X, y, seed), columns=COLUMNS)
            rows.insert(0, "seed", seed)
            rows.insert(0, "set", name)
            rows.to_csv(out, mode="a", header=not out.exists(), index=False)
            print(name, seed, rows.ACC[0].round(3), flush=True)


def summarise(rows, eamc, out):
    """Print the tables."""
    methods = rows[rows.kind == "method"]
    table = methods.pivot_table("ACC", "method", "set")[_sets(rows)]
    if eamc is not None:
        table.loc["EAMC"] = [_mean_of(eamc.get(name)) for name in table.columns]
    singles = table.drop(index="MultimodalClusterer")
    best = singles.max()
    summary = table.copy()
    summary["mean"] = table.mean(axis=1)
    complete = table.dropna(axis=1)
    summary["rank"] = complete.rank(ascending=False).mean(axis=1)
    summary["to the best"] = (table - best).mean(axis=1)
    spread = methods.groupby(["method", "set"]).ACC.std().groupby("method").mean()
    summary["sd of seeds"] = spread
    order = summary.sort_values("rank").round(3)
    print(f"{rows.seed.nunique()} seeds; ranks over {complete.shape[1]} sets\n")
    print(order.to_markdown(), "\n")
    if out is not None:
        order.T.to_csv(out, index_label="set")
    print(significance_of(complete), "\n")
    rules = rows[rows.kind == "rule"].pivot_table("ACC", "method", "set")
    elsewhere = [
        rules.loc[rules.drop(columns=name).mean(axis=1).idxmax(), name]
        for name in rules.columns
    ]
    listed = pd.DataFrame({"mean": rules.mean(axis=1)})
    listed["below the best"] = (rules - best[rules.columns]).mean(axis=1)
    listed.loc["elsewhere"] = [
        np.mean(elsewhere),
        np.mean(elsewhere - best[rules.columns].to_numpy()),
    ]
    print(listed.sort_values("mean", ascending=False).round(4).to_markdown(), "\n")
    ours = methods[methods.method == "MultimodalClusterer"]
    unit = methods[methods.method == REFERENCE].set_index(["set", "seed"]).seconds
    ratio = ours.set_index(["set", "seed"]).seconds / unit
    by_set = ratio.groupby("set").median()
    print(f"CPU seconds / those of the average of graphs: median {by_set.median():.1f}")
    print(by_set.round(1).to_dict())
    print(f"AUC of uncertainty for wrong samples: mean {ours.AUC.mean():.3f}")
    print(ours.groupby("set").AUC.mean().round(2).to_dict())


def significance_of(table):
    """Test whether the others differ from MultimodalClusterer, by means of seeds."""
    cells = table.rename_axis("method").reset_index().melt("method", var_name="dataset")
    cells = cells.rename(columns={"value": "ACC"})
    filled = {"repeat": 0, "seed": 0, "fit_seconds": np.nan, "peak_memory_mb": np.nan}
    cells = cells.assign(**filled, status="ok", error="", warnings="")
    found = Comparison(cells, ["ACC"]).significance(control="MultimodalClusterer")
    return str(found)


def _sets(rows):
    return [name for name in (*SETS, "digits") if name in set(rows.set)]


def _mean_of(cell):
    return np.nan if cell is None else float(str(cell).split()[0])


def main():
    """Measure, or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sets", nargs="+", default=[*SETS, "digits"])
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--read", action="store_true")
    parser.add_argument("--eamc", type=Path)
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    if not args.read:
        measure(args.folder, args.sets, args.seeds, args.csv)
    eamc = None
    if args.eamc is not None:
        eamc = pd.read_csv(args.eamc, skipinitialspace=True).set_index("set").ACC
        eamc = {name.strip(): value for name, value in eamc.items()}
    summarise(pd.read_csv(args.csv), eamc, args.table)


if __name__ == "__main__":
    main()
