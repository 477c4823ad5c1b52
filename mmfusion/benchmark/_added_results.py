"""Published or other external results as rows of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import issparse

from mmfusion import _blocks
from mmfusion._atomic import as_path
from mmfusion._extras import import_extra
from mmfusion._options import errors_about
from mmfusion._row_labels import short_repr
from mmfusion.benchmark._scores import (
    NEGATED,
    SCORES_WITH_CLASSES,
    SHORT_NAMES,
    is_negated_loss,
)

if TYPE_CHECKING:
    import pandas as pd

    from mmfusion.benchmark._comparison import Comparison

# scores of at most 1, of which a larger value is a percentage
FRACTIONS = {
    *SCORES_WITH_CLASSES,
    "accuracy",
    "balanced_accuracy",
    "f1_macro",
    "r2",
    "roc_auc",
}


def added_rows(
    comparison: Comparison,
    results: pd.DataFrame | str | PathLike[str],
    source: str | None,
    columns: Mapping[str, str] | None,
    datasets: Mapping[str, str] | None,
) -> pd.DataFrame:
    """Make rows of a comparison's frame from results of other origin.

    Parameters
    ----------
    comparison : Comparison
        The comparison.
    results : DataFrame or path
        The results, or a CSV file of them.
    source : str or None
        Source of all; None if the results have a column ``source``.
    columns, datasets : dict of str to str or None
        New names of columns and of data sets.

    Returns
    -------
    DataFrame
        One row for each result on a data set of the comparison.
    """
    pd = import_extra("pandas")
    table = _as_table(results).rename(columns=_as_names("columns", columns))
    names = {old: new for old, new in _short_names(comparison).items() if old in table}
    table = table.rename(columns=names)
    for needed in ("dataset", "method"):
        if needed not in table:
            raise ValueError(
                f"results have no column {needed!r}, only {list(table.columns)}; "
                f"rename one by columns={{'its name': {needed!r}}}"
            )
    table["source"] = _sources(table, source)
    table["dataset"] = table["dataset"].replace(_as_names("datasets", datasets))
    table = _on_datasets_of(comparison, table)
    metrics = [metric for metric in comparison.metrics if metric in table]
    if not metrics:
        raise ValueError(
            f"results have none of the metrics {comparison.metrics}, only the columns "
            f"{list(table.columns)}; rename them by columns={{'their name': 'metric'}}"
        )
    rows = pd.DataFrame(
        {
            "dataset": table["dataset"].astype(str),
            # one name for one row of a table, and none that is also a method's here
            "method": [
                f"{method} [{origin}]"
                for method, origin in zip(table["method"], table["source"], strict=True)
            ],
            **_repeat_columns(table, comparison),
            **{metric: _values_of_metric(table, metric) for metric in metrics},
            "fit_seconds": np.nan,
            "cpu_seconds": np.nan,
            "peak_memory_mb": np.nan,
            "status": "ok",
            "error": "",
            "warnings": "",
            "source": table["source"],
        }
    )
    return rows


def _on_datasets_of(comparison: Comparison, table: pd.DataFrame) -> pd.DataFrame:
    known = list(comparison.frame["dataset"].unique())
    found = list(table["dataset"].unique())
    own = table[table["dataset"].isin(known)].reset_index(drop=True)
    if own.empty:
        raise ValueError(
            f"results are on the data sets {found}, and the comparison on {known}; "
            "rename them by datasets={'their name': 'name here'}"
        )
    return own


def _as_table(results: Any) -> pd.DataFrame:
    if isinstance(results, str | PathLike):
        path = as_path(results, "results")
        if not path.is_file():
            raise ValueError(
                f"results: {str(path)!r} is not a file; give the path of a CSV file, "
                "or a pandas DataFrame"
            )
        with errors_about("results"):
            return import_extra("pandas").read_csv(path)
    if not _blocks.is_frame(results) or not hasattr(results, "iloc"):
        raise TypeError(
            f"results is a {type(results).__name__}; give a pandas DataFrame or the "
            "path of a CSV file"
        )
    return results


def _as_names(parameter: str, names: Mapping[str, str] | None) -> Mapping[str, str]:
    if names is None:
        return {}
    if not isinstance(names, Mapping) or issparse(names):  # a DOK array is a dict
        raise TypeError(
            f"{parameter} is a {type(names).__name__}; give a dict of old to new names"
        )
    return names


def _short_names(comparison: Comparison) -> dict[str, str]:
    """Return the metrics of a comparison by the short names of papers."""
    names = {
        short: metric
        for short, metrics in SHORT_NAMES.items()
        for metric in metrics
        if metric in comparison.metrics
    }
    losses = filter(is_negated_loss, comparison.metrics)
    return names | {metric.removeprefix(NEGATED): metric for metric in losses}


def _sources(table: pd.DataFrame, source: str | None) -> pd.Series | str:
    if source is None and "source" in table:
        return table["source"].astype(str)
    if not isinstance(source, str) or not source.strip():
        raise ValueError(
            f"source={short_repr(source)}; give a short text, such as a citation, or "
            "a column 'source'"
        )
    return source


def _values_of_metric(table: pd.DataFrame, metric: str) -> pd.Series:
    pd = import_extra("pandas")
    try:
        values = pd.to_numeric(table[metric]).astype(float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"results: the column {metric!r} is not numeric ({error}); leave empty "
            "what was not reported"
        ) from error
    if metric in FRACTIONS and (values > 1).any():
        raise ValueError(
            f"results: {metric!r} is up to {values.max():g}, and here it is at most 1; "
            "divide percentages by 100"
        )
    # published losses are positive, those of a comparison negative: larger is better
    return -values.abs() if is_negated_loss(metric) else values


def _repeat_columns(table: pd.DataFrame, comparison: Comparison) -> dict[str, Any]:
    """Return the columns that pair results with repeats of the comparison, if any."""
    pd = import_extra("pandas")
    frame = comparison.frame
    keys = [name for name in ("repeat", "split") if name in frame]
    paired = "repeat" in table
    if paired:
        for dataset, rows in table.groupby("dataset"):
            own = frame[frame["dataset"] == dataset]
            ours = set(own[keys].dropna().itertuples(index=False, name=None))
            missing = [key for key in keys if key not in rows]
            theirs = set() if missing else {*map(tuple, rows[keys].to_numpy())}
            if missing or theirs != ours:
                raise ValueError(
                    f"results on {dataset!r} have not the {len(ours)} values of {keys} "
                    "of the comparison, so that they cannot be paired with it; leave "
                    "out the column 'repeat' and give means"
                )
    entries: dict[str, Any] = {}
    counts = ("repeat", "seed", "split", "n_train", "n_test")
    for name in (*counts, "n_clustered", "n_left_out"):
        if name in frame:
            given = table[name] if paired and name in table else None
            entries[name] = pd.array(
                [pd.NA] * len(table) if given is None else given.tolist(),
                dtype="Int64",
            )
    return entries


def check_unique(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a frame; raise if a method has two for the same."""
    keys = [k for k in ("dataset", "method", "repeat", "seed", "split") if k in rows]
    twice = rows[rows.duplicated(keys)]
    if len(twice):
        first = twice.iloc[0]
        raise ValueError(
            f"results of {first['method']!r} on {first['dataset']!r} are there twice; "
            "leave out one, or give a column 'repeat'"
        )
    return rows
