"""The comparison of the EAMC paper on eight sets: accuracy, ranks, time and memory.

    OMP_NUM_THREADS=1 python benchmarks/eamc_comparison.py FOLDER --out RUN

runs ``preset("eamc")`` with ten seeds and keeps its cells in RUN; a run that was broken
off goes on from there. ``--table TABLE.csv`` writes the table of the user guide.
``--leave-out ROW ...`` leaves rows out, by default 'EAMC (as in the paper)', which
takes hours; ``--repeats`` sets another number of seeds. Classes are used to score, for
the number of clusters, and in the rows named so.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mmfusion.benchmark import Comparison, compare, preset

SETS = (
    "msrcv1_5v",
    "webkb203_3v",
    "ngs_3v",
    "wikipedia693",
    "coil20_3pose",
    "bbc_4v",
    "movies617",
    "snareseq_2v",
)
BY_CLASSES = "[chosen by classes]"  # all other rows in brackets are published


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--leave-out", nargs="*", default=["EAMC (as in the paper)"])
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()

    chosen = preset("eamc")
    methods = {
        title: method
        for title, method in chosen.methods.items()
        if title not in given.leave_out
    }
    comparison = compare(
        replace(chosen, methods=methods),
        [given.folder / f"{name}.npz" for name in given.sets],
        n_repeats=given.repeats,
        out=given.out,
        n_jobs=given.jobs,
        verbose=True,
    )
    print(comparison.conclusion())
    table = table_of(comparison)
    print(table.to_string())
    if given.table:
        table.to_csv(given.table)


def table_of(comparison: Comparison) -> pd.DataFrame:
    """Return accuracy by set, the mean rank, and the costs of a fit, by method."""
    summary = comparison.summary()
    names = summary["method"].str
    summary = summary[names.endswith(BY_CLASSES) | ~names.endswith("]")]
    text = [
        f"{mean:.3f} ± {std:.3f}"
        for mean, std in zip(summary["mean"], summary["std"], strict=True)
    ]
    summary = summary.assign(text=text)
    table = summary.pivot(index="method", columns="dataset", values="text")
    table = table[list(dict.fromkeys(summary["dataset"]))]
    costs = comparison.costs().groupby("method")
    return table.assign(
        **{
            "mean rank": comparison.ranks()["mean"].round(1),
            "CPU s": costs["cpu_seconds"].mean().round(2),
            "MB": costs["peak_memory_mb"].max().round(),
        }
    ).sort_values("mean rank")


if __name__ == "__main__":
    main()
