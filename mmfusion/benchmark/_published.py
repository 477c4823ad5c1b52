"""Published results that presets put beside those of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from mmfusion._extras import import_extra
from mmfusion.benchmark._scores import SHORT_NAMES

if TYPE_CHECKING:
    import pandas as pd

    from mmfusion.benchmark._comparison import Comparison

FOLDER = "published"
IDENTITY = ["source", "table", "dataset", "method"]


def read_published(name: str) -> pd.DataFrame:
    """Read one of the tables 'results', 'datasets' and 'sources'."""
    file = files("mmfusion.benchmark") / FOLDER / f"{name}.csv"
    with file.open(encoding="utf-8") as text:
        table = import_extra("pandas").read_csv(text, dtype={"table": str})
    words = [column for column in table if table[column].dtype.kind not in "fi"]
    return table.fillna(dict.fromkeys(words, ""))


def published_results(tables: Sequence[tuple[str, str]] | None = None) -> pd.DataFrame:
    """Return published results, of all sources or of some tables.

    Parameters
    ----------
    tables : list of (str, str), default=None
        Pairs of a source and a table of it.

    Returns
    -------
    DataFrame
        One row for each source, data set and method: ``source``, ``table``,
        ``dataset``, ``method``, the scores by their short names (NaN if not reported),
        and ``note``.
    """
    results = read_published("results")
    if tables is None:
        return results
    pairs = zip(results["source"], results["table"], strict=True)
    return results[[pair in tables for pair in pairs]].reset_index(drop=True)


def add_published(comparison: Comparison, results: pd.DataFrame) -> None:
    """Add published results on the data sets of a comparison, and set aside the rest.

    Parameters
    ----------
    comparison : Comparison
        The comparison, which is changed: results on its data sets become rows, those
        on others are its ``elsewhere``, and sources and remarks are its ``notes``.
    results : DataFrame
        Rows as `published_results` returns them.
    """
    names = {
        short: metric
        for short in SHORT_NAMES
        for metric in SHORT_NAMES[short]
        if metric in comparison.metrics and short in results
    }
    results = results.rename(columns=names)
    metrics = [metric for metric in comparison.metrics if metric in results]
    datasets = read_published("datasets").set_index("dataset")
    ours = list(comparison.frame["dataset"].unique())
    here = results["dataset"].map(
        lambda name: next((o for o in datasets["here"][name].split() if o in ours), "")
    )
    elsewhere = results[here == ""]
    comparison.elsewhere = elsewhere[["source", "dataset", "method", *metrics, "note"]]
    comparison.elsewhere = comparison.elsewhere.assign(
        needs=elsewhere["dataset"].map(datasets["needs"])
    ).reset_index(drop=True)
    joined = results[here != ""].assign(dataset=here[here != ""])
    reported = joined[joined[metrics].notna().any(axis=1)]
    if len(reported):
        comparison.add_results(reported[["source", "dataset", "method", *metrics]])
    sources = read_published("sources").set_index("source")
    for source in results["source"].unique():
        text = sources.loc[source]
        comparison.notes.append(
            f"{source}: {text['citation']} Protocol: {text['protocol']}."
        )
    for row in joined[joined["note"] != ""].itertuples():
        comparison.notes.append(
            f"{row.method} [{row.source}] on {row.dataset}: {row.note}, no score."
        )
