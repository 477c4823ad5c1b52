"""Results of a comparison as tables, tests and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmfusion import _blocks
from mmfusion._atomic import as_path, make_folder, write_atomically
from mmfusion._extras import import_extra
from mmfusion._row_labels import short_repr
from mmfusion.benchmark import _export
from mmfusion.benchmark._report import html_report
from mmfusion.benchmark._significance import Significance, assess_significance
from mmfusion.benchmark._statistics import rank_scores

if TYPE_CHECKING:
    import pandas as pd


# columns of a frame beside the scores
FRAME_COLUMNS = (
    "dataset",
    "method",
    "repeat",
    "seed",
    "fit_seconds",
    "peak_memory_mb",
    "status",
    "error",
    "warnings",
)
# columns of tables whose other columns are named after data sets
TABLE_COLUMNS = ("method", "mean", "mean rank", "data sets")


class Comparison:
    """Results of `compare`: the scores of every cell, with their tables and tests.

    Parameters
    ----------
    frame : DataFrame
        One row for each data set, method and repeat; see Attributes.
    metrics : list of str
        Names of the columns with scores.
    setup : dict of str to dict of str to str, default=None
        Description of the run by section and title, which the report prints.

    Attributes
    ----------
    frame : DataFrame
        One row for each data set, method and repeat, with the columns ``dataset``,
        ``method``, ``repeat``, ``seed``, one for each metric (NaN if the cell
        failed), ``fit_seconds``, ``peak_memory_mb``, ``status`` ('ok' or 'failed'),
        ``error`` and ``warnings`` (texts; empty if there is none).
    metrics : list of str
        Names of the columns with scores.
    setup : dict of str to dict of str to str
        Description of the run by section and title.

    Raises
    ------
    TypeError
        If the name of a data set, a method or a metric is not a string.
    ValueError
        If the frame lacks a column, or a metric or data set has the name of a column
        of the frame or of a table.

    See Also
    --------
    compare : Run methods on data sets.
    ComparisonDisplay : Plots of a comparison.

    Examples
    --------
    >>> from mmfusion import EarlyFusionClusterer
    >>> from mmfusion.benchmark import compare
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> comparison = compare(
    ...     {"scaled": EarlyFusionClusterer()},
    ...     {"blobs": make_multimodal_blobs(60, random_state=0)},
    ...     n_repeats=2,
    ... )
    >>> print(comparison.to_markdown("adjusted_rand"))
    ### adjusted_rand
    <BLANKLINE>
    | method | blobs                 | mean rank |
    | ------ | --------------------- | --------- |
    | scaled | **1.000** ± 0.000 (1) | 1.00      |
    ...
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        metrics: Sequence[str],
        setup: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        _check_metrics(metrics)
        _check_frame(frame, metrics)
        self.frame = frame
        self.metrics = list(metrics)
        self.setup = {} if setup is None else setup
        if not isinstance(self.setup, Mapping) or not all(
            isinstance(section, Mapping) for section in self.setup.values()
        ):
            raise TypeError(
                "setup is not a dict of dicts; give strings by section and title"
            )

    def __repr__(self) -> str:
        failed = int((self.frame["status"] == "failed").sum())
        return (
            f"Comparison of {self.frame['method'].nunique()} methods on "
            f"{self.frame['dataset'].nunique()} data sets: {len(self.frame)} cells, "
            f"{failed} failed"
        )

    def _metric(self, metric: str | None) -> str:
        if metric is None:
            return self.metrics[0]
        if not isinstance(metric, str) or metric not in self.metrics:
            raise ValueError(f"metric={metric!r} was not compared: {self.metrics}")
        return metric

    def summary(self, metric: str | None = None) -> pd.DataFrame:
        """Average the repeats of each method on each data set.

        Parameters
        ----------
        metric : str, default=None
            The score; the first one by default.

        Returns
        -------
        DataFrame
            Columns ``dataset``, ``method``, ``mean`` and ``std`` (with n - 1 in the
            denominator) over the repeats that did not fail, ``n_repeats``,
            ``n_failed``, ``rank`` among the methods on the data set. Methods that
            failed more often rank behind all that failed less often.
        """
        metric = self._metric(metric)
        groups = self.frame.groupby(["dataset", "method"], sort=False)[metric]
        table = groups.agg(mean="mean", std="std", n_repeats="size")
        table["n_failed"] = table["n_repeats"] - groups.count()
        mean, n_failed = table["mean"].to_numpy(), table["n_failed"].to_numpy()
        ranks = np.empty(len(table))
        for rows in table.groupby("dataset", sort=False).indices.values():
            ranks[rows] = rank_scores(mean[rows], n_failed[rows])
        return table.assign(rank=ranks).reset_index()

    def table(self, metric: str | None = None) -> pd.DataFrame:
        """Format mean, standard deviation and rank as text.

        Parameters
        ----------
        metric : str, default=None
            The score; the first one by default.

        Returns
        -------
        DataFrame of str
            One row for each method, one column for each data set, such as
            ``0.831 ± 0.012 (2)``, or ``0.831 ± 0.012 (5), failed 1/10``; the last
            column is the mean rank.
        """
        pd = import_extra("pandas")
        header, *rows = _export.score_table(self, self._metric(metric))
        return pd.DataFrame(rows, columns=header).set_index(header[0])

    def ranks(self, metric: str | None = None) -> pd.DataFrame:
        """Rank the methods that were run on every data set.

        Parameters
        ----------
        metric : str, default=None
            The score; the first one by default.

        Returns
        -------
        DataFrame
            One row for each method, best first; one column for each data set with the
            rank of the method's mean (1 is best, ties share, failures come last), and
            ``mean``.
        """
        ranks = self._ranks(self._metric(metric))
        ranks["mean"] = ranks.mean(axis=1)
        return ranks.sort_values("mean", kind="stable")

    def _ranks(self, metric: str) -> pd.DataFrame:
        rows = self.summary(metric)
        n_datasets = rows["dataset"].nunique()
        everywhere = rows.groupby("method")["dataset"].transform("size") == n_datasets
        rows = rows[everywhere].copy()
        for _, own in rows.groupby("dataset", sort=False):
            rows.loc[own.index, "rank"] = rank_scores(
                own["mean"].to_numpy(), own["n_failed"].to_numpy()
            )
        wide = rows.pivot(index="method", columns="dataset", values="rank")
        wide = wide.loc[rows["method"].unique(), self.frame["dataset"].unique()]
        return wide.rename_axis(columns=None)

    def significance(
        self,
        metric: str | None = None,
        *,
        control: str | None = None,
        alpha: float = 0.05,
    ) -> Significance:
        """Test whether the methods differ.

        Parameters
        ----------
        metric : str, default=None
            The score; the first one by default.
        control : str, default=None
            Method, chosen in advance, with which Wilcoxon's test compares all
            others: fewer tests, hence more power. By default it compares all pairs.
        alpha : float, default=0.05
            Level of significance.

        Returns
        -------
        Significance
            Over at least 3 data sets, the Friedman test with the Nemenyi test of all
            pairs of methods. With at least 6 data sets, Wilcoxon's signed-rank test
            of the pairs with Holm's correction, in which the mean over repeats is one
            observation for each data set. With fewer, the same within each data set,
            in which a repeat is an observation and the correction is for the pairs
            on that data set.

        Raises
        ------
        ValueError
            If there is no such metric or method, or `alpha` is not between 0 and 1.

        Notes
        -----
        The pairing determines the hypothesis. Over data sets it is that two methods
        are equally good on data like these. Within one data set, both methods of a
        repeat get the samples in the same order, and repeats differ by the seed only:
        the hypothesis is that a difference there is chance between seeds. Enough
        repeats make any difference significant, however small, and yield no evidence
        about other data.

        A method that fails where another does not loses that comparison by an
        infinite margin. Methods that were not run on every data set, such as single
        modalities of one of them, are compared within data sets only.

        References
        ----------
        J. Demšar (2006), Statistical comparisons of classifiers over multiple data
        sets. Journal of Machine Learning Research 7, 1-30.
        """
        metric = self._metric(metric)
        scores = {
            str(name): rows.pivot(index="repeat", columns="method", values=metric)[
                rows["method"].unique()
            ]
            for name, rows in self.frame.groupby("dataset", sort=False)
        }
        if not isinstance(alpha, Real) or not 0 < alpha < 1:
            raise ValueError(f"alpha={alpha!r}; give a number between 0 and 1")
        methods = list(self.frame["method"].unique())
        if control is not None and not (
            isinstance(control, str) and control in methods
        ):
            raise ValueError(
                f"control={control!r} was not compared; the methods are {methods}"
            )
        return assess_significance(metric, self._ranks(metric), scores, control, alpha)

    def costs(self) -> pd.DataFrame:
        """Summarise time and memory over the repeats that did not fail.

        Returns
        -------
        DataFrame
            Columns ``dataset``, ``method``, ``fit_seconds`` (median) and
            ``peak_memory_mb`` (maximum); NaN where all failed or none was measured.
        """
        costs = self.frame[["dataset", "method", "fit_seconds", "peak_memory_mb"]]
        measures = ["fit_seconds", "peak_memory_mb"]
        costs = costs.assign(
            **{m: costs[m].where(self.frame["status"] == "ok") for m in measures}
        )
        groups = costs.groupby(["dataset", "method"], sort=False)
        table = groups.agg({"fit_seconds": "median", "peak_memory_mb": "max"})
        return table.reset_index()

    def failures(self) -> pd.DataFrame:
        """List the cells that failed.

        Returns
        -------
        DataFrame
            Their rows of ``frame``.
        """
        return self.frame[self.frame["status"] == "failed"]

    def to_markdown(self, metric: str | None = None) -> str:
        """Format the tables and tests in Markdown.

        Parameters
        ----------
        metric : str, default=None
            The score; by default all scores, and time and memory.

        Returns
        -------
        str
            One section for each score.
        """
        if metric is None:
            return _export.markdown(self)
        return _export.markdown_of_metric(self, self._metric(metric))

    def to_latex(self, metric: str | None = None) -> str:
        """Format the tables for LaTeX with the package booktabs.

        Parameters
        ----------
        metric : str, default=None
            The score; all scores by default.

        Returns
        -------
        str
            One ``table`` environment for each score, the best means in bold.
        """
        metrics = self.metrics if metric is None else [self._metric(metric)]
        return "\n".join(_export.latex_of_metric(self, m) for m in metrics)

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write every cell to a CSV file.

        Parameters
        ----------
        path : str or path-like
            The file, in UTF-8. It is replaced when the new one is complete.

        Raises
        ------
        OSError
            If the file cannot be written.

        Notes
        -----
        Spreadsheets evaluate text that begins with ``=``, ``+``, ``-`` or ``@`` as a
        formula: such text is prefixed by ``'``. Numbers are written unchanged.
        """
        with write_atomically(path, "w") as file:
            file.write(_export.csv(self.frame))

    def to_html(self, path: str | PathLike[str]) -> None:
        """Write a report with plots to one HTML file that loads no other.

        Parameters
        ----------
        path : str or path-like
            The file. It is replaced when the new one is complete.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        path = as_path(path)
        _write_text(path, html_report(self))

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write the report, the tables and the cells.

        Parameters
        ----------
        folder : str or path-like
            Folder of ``report.html``, ``table.md``, ``table.tex`` and
            ``results.csv``, which is created if necessary.

        Returns
        -------
        Path
            Path of the report.

        Raises
        ------
        OSError
            If the folder cannot be created or a file cannot be written.
        """
        folder = as_path(folder, "folder")
        make_folder(folder)
        self.to_csv(folder / "results.csv")
        _write_text(folder / "table.md", self.to_markdown())
        _write_text(folder / "table.tex", self.to_latex())
        self.to_html(folder / "report.html")
        return folder / "report.html"


def _write_text(path: Path, text: str) -> None:
    with write_atomically(path, "w") as file:
        file.write(text)


def _check_metrics(metrics: Sequence[str]) -> None:
    if isinstance(metrics, str) or not isinstance(metrics, Sequence) or not metrics:
        raise ValueError(
            f"metrics={short_repr(metrics)}; give a list of names of columns"
        )
    for metric in metrics:
        if not isinstance(metric, str):
            raise TypeError(
                f"metrics: {short_repr(metric)} is not a name; give a string"
            )
        if metric in FRAME_COLUMNS:
            raise ValueError(
                f"a metric cannot be called {metric!r}: the frame has a column of this "
                f"name, as of {list(FRAME_COLUMNS)}; give it another name"
            )


def _check_frame(frame: pd.DataFrame, metrics: Sequence[str]) -> None:
    if not _blocks.is_frame(frame) or not hasattr(frame, "iloc"):
        raise TypeError(f"frame is a {type(frame).__name__}; give a pandas DataFrame")
    missing = [name for name in (*FRAME_COLUMNS, *metrics) if name not in frame.columns]
    if missing:
        raise ValueError(f"frame lacks the columns {missing}")
    for column in ("dataset", "method"):
        for name in frame[column].unique():
            if not isinstance(name, str):
                raise TypeError(
                    f"{column} {short_repr(name)} is not a name; give a string for "
                    f"each {column}"
                )
    taken = set(TABLE_COLUMNS) & set(frame["dataset"])
    if taken:
        raise ValueError(
            f"a data set cannot be called {min(taken)!r}: the tables have a column of "
            f"this name, as of {list(TABLE_COLUMNS)}; give it another name"
        )
