"""Results of a comparison as tables, tests and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmfusion import _blocks
from mmfusion._atomic import as_path, make_folder, write_atomically
from mmfusion._extras import import_extra
from mmfusion._row_labels import short_repr
from mmfusion._text import encodable
from mmfusion.benchmark import _export
from mmfusion.benchmark._added_results import added_rows, check_unique
from mmfusion.benchmark._conclusion import conclusion_lines
from mmfusion.benchmark._paper_table import html_repr, latex_tables
from mmfusion.benchmark._report import html_report
from mmfusion.benchmark._significance import (
    SUBSAMPLES,
    TEST_SETS,
    Significance,
    assess_significance,
)
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
# further ones of a cross-validation: number of the split, and sizes of its parts
SPLIT_COLUMNS = ("split", "n_train", "n_test")
# further ones of a clustering of subsamples: numbers of samples
SUBSAMPLE_COLUMNS = ("n_clustered", "n_left_out")
# further one once results of other origin were added
SOURCE_COLUMN = "source"
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
        failed), ``fit_seconds``, ``cpu_seconds``, ``peak_memory_mb``, ``status`` ('ok'
        or 'failed'), ``error`` and ``warnings`` (texts; empty if there is none).
        Classifiers and regressors have one row for each fold, with ``split``, a number
        that equal training and test samples share, and their numbers ``n_train`` and
        ``n_test``. Clusterings of subsamples have the numbers of samples
        ``n_clustered`` and ``n_left_out``. `add_results` adds ``source``, which is
        empty for what was run here.
    metrics : list of str
        Names of the columns with scores.
    setup : dict of str to dict of str to str
        Description of the run by section and title.
    groups : dict of str to str
        Heading above each method in tables; empty for none.
    notes : list of str
        Remarks that are printed below the tables.
    elsewhere : DataFrame or None
        Published results on other data sets, which a `Preset` lists below the tables:
        ``source``, ``dataset``, ``method``, scores, ``note``, and ``needs``, what is
        missing to compare with them.

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
        if "cpu_seconds" not in frame:  # not measured
            frame = frame.assign(cpu_seconds=np.nan)
        self.frame = frame
        self.metrics = list(metrics)
        self.groups: dict[str, str] = {}
        self.notes: list[str] = []
        self.elsewhere: pd.DataFrame | None = None
        self.setup = {} if setup is None else setup
        if not isinstance(self.setup, Mapping) or not all(
            isinstance(section, Mapping) for section in self.setup.values()
        ):
            raise TypeError(
                "setup is not a dict of dicts; give strings by section and title"
            )

    def __repr__(self) -> str:
        own = self._own_rows()
        failed = int((own["status"] == "failed").sum())
        added = len(self.frame) - len(own)
        return (
            f"Comparison of {own['method'].nunique()} methods on "
            f"{own['dataset'].nunique()} data sets: {len(own)} cells, "
            f"{failed} failed{f', {added} results added' if added else ''}"
        )

    def _repr_html_(self) -> str:
        return html_repr(self)

    def _own_rows(self) -> pd.DataFrame:
        """Return the rows of what was run here."""
        if SOURCE_COLUMN not in self.frame:
            return self.frame
        return self.frame[self.frame[SOURCE_COLUMN] == ""]

    def _tested_rows(self) -> pd.DataFrame:
        """Return the rows that tests may use: without added means."""
        return self.frame[self.frame["repeat"].notna()]

    def _metric(self, metric: str | None) -> str:
        if metric is None:
            return self.metrics[0]
        if isinstance(metric, str) and encodable(metric) in self.metrics:
            return encodable(metric)
        raise ValueError(f"metric={metric!r} was not compared: {self.metrics}")

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
            denominator) over the repeats (and folds) that did not fail, ``n_repeats``
            (number of cells), ``n_failed``, ``rank`` among the methods on the data
            set, without added means, whose rank is NaN. Methods that failed more often
            rank behind all that failed less often.
        """
        metric = self._metric(metric)
        frame = self.frame
        if SOURCE_COLUMN in frame:  # what a publication does not report has not failed
            frame = frame[(frame[SOURCE_COLUMN] == "") | frame[metric].notna()]
        groups = frame.groupby(["dataset", "method"], sort=False)[metric]
        table = groups.agg(mean="mean", std="std", n_repeats="size")
        table["n_failed"] = table["n_repeats"] - groups.count()
        mean, n_failed = table["mean"].to_numpy(), table["n_failed"].to_numpy()
        is_ranked = table.index.get_level_values("method").isin(
            self._tested_rows()["method"]
        )
        ranks = np.full(len(table), np.nan)
        for rows in table.groupby("dataset", sort=False).indices.values():
            ranked = rows[is_ranked[rows]]
            ranks[ranked] = rank_scores(mean[ranked], n_failed[ranked])
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
        rows = rows[rows["method"].isin(self._tested_rows()["method"])]
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
            observation for each data set. With fewer, tests within each data set,
            corrected for the pairs on that data set: of clusterings the same test, in
            which a repeat is an observation; of clusterings of subsamples and of
            cross-validated predictors the corrected resampled t-test, in which a
            subsample or a fold is one.

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

        Folds share training samples, so that their scores are correlated and an
        ordinary t-test finds differences that are none. With n folds, of n_test and
        n_train samples, the corrected test takes ``(1 / n + n_test / n_train) s^2``
        for the variance of a mean difference, with s^2 that of the differences and n -
        1 degrees of freedom. Repeats whose folds are equal count once. Subsamples share
        samples, too. With a share f of them, the same test takes ``(1 / n + f / (1 -
        f)) s^2``, whose second term is the variance by the jackknife that leaves out
        1 - f of the samples.

        Results of other origin (`add_results`) are tested only if they are given for
        every repeat.

        A method that fails where another does not loses that comparison by an
        infinite margin. Methods that were not run on every data set, such as single
        modalities of one of them, are compared within data sets only.

        References
        ----------
        J. Demšar (2006), Statistical comparisons of classifiers over multiple data
        sets. Journal of Machine Learning Research 7, 1-30.

        C. Nadeau & Y. Bengio (2003), Inference for the generalization error. Machine
        Learning 52, 239-281.

        J. Shao & C. F. J. Wu (1989), A general theory for jackknife variance
        estimation. Annals of Statistics 17, 1176-1197.
        """
        metric = self._metric(metric)
        scores = {
            str(name): _paired_scores(rows, metric)
            for name, rows in self._tested_rows().groupby("dataset", sort=False)
        }
        if not isinstance(alpha, Real) or not 0 < alpha < 1:
            raise ValueError(f"alpha={alpha!r}; give a number between 0 and 1")
        methods = list(self._tested_rows()["method"].unique())
        if control is not None and not (
            isinstance(control, str) and control in methods
        ):
            raise ValueError(
                f"control={control!r} was not compared; the methods are {methods}"
            )
        is_subsampled = SUBSAMPLE_COLUMNS[0] in self.frame
        return assess_significance(
            metric,
            self._ranks(metric),
            scores,
            control,
            alpha,
            self._test_shares(),
            SUBSAMPLES if is_subsampled else TEST_SETS,
        )

    def _test_shares(self) -> dict[str, float] | None:
        """Return the correction of the t-test by data set; None without resampling.

        It is n_test / n_train of a cross-validation, and n_clustered / n_left_out of
        subsamples.
        """
        for over, under in (("n_test", "n_train"), SUBSAMPLE_COLUMNS):
            if over in self.frame:
                sizes = self._own_rows().groupby("dataset", sort=False)[[over, under]]
                means = sizes.mean()
                shares = (means[over] / means[under]).to_dict()
                return {str(dataset): float(share) for dataset, share in shares.items()}
        return None

    def conclusion(self, metric: str | None = None, *, alpha: float = 0.05) -> str:
        """Summarise in sentences which method is ahead, and what is significant.

        Parameters
        ----------
        metric : str, default=None
            The score; the first one by default.
        alpha : float, default=0.05
            Level of significance.

        Returns
        -------
        str
            One line for each data set: the method of the best mean, and from which
            others it differs significantly by the test of `significance`. Over several
            data sets one more: the method of the best mean rank. If cells failed, one
            more: how many, and of which methods.

        Raises
        ------
        ValueError
            If there is no such metric, or `alpha` is not between 0 and 1.
        """
        found = self.significance(metric, alpha=alpha)
        return "\n".join(conclusion_lines(self, found))

    def add_results(
        self,
        results: pd.DataFrame | str | PathLike[str],
        source: str | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        datasets: Mapping[str, str] | None = None,
    ) -> Comparison:
        r"""Add published results, or others that were not run here.

        Parameters
        ----------
        results : DataFrame, str or path-like
            One row for each data set and method, or a CSV file of these: columns
            ``dataset``, ``method`` and some of the metrics, or the names by which
            papers shorten them (acc, nmi, ari, f1, mae, rmse, ...). Values that are
            missing were not reported. Rows on other data sets are left out.
        source : str, default=None
            Where all of them come from; None takes the column ``source``. Their
            methods are named ``<method> [<source>]``; a citation such as
            ``\cite{zhou2020}`` remains one in `to_latex`.
        columns : dict of str to str, default=None
            New names of columns, such as ``{"model": "method"}``.
        datasets : dict of str to str, default=None
            Names here by the names of data sets in `results`.

        Returns
        -------
        Comparison
            This comparison, whose frame has these rows too.

        Raises
        ------
        TypeError
            If `results` is neither a DataFrame nor a path.
        ValueError
            If a column is missing, no data set or no metric is one of the comparison,
            values are percentages, or there is no source.

        Notes
        -----
        Published results are from other runs, often on other versions of the data: they
        are part of the tables, and excluded from ranks and tests. Scores of every
        repeat, by a column ``repeat`` (and ``split`` in cross-validation) with the
        values of the comparison, are ranked and tested too.

        Losses may be positive, as papers print them.

        Examples
        --------
        >>> import pandas as pd
        >>> from mmfusion.benchmark import compare
        >>> comparison = compare("early", "wine", "adjusted_rand", n_repeats=2)
        >>> published = pd.DataFrame(
        ...     {"dataset": ["wine"], "method": ["other"], "ari": [0.5]}
        ... )
        >>> comparison.add_results(published, "A paper, 2024")
        Comparison of 1 methods on 1 data sets: 2 cells, 0 failed, 1 results added
        >>> comparison.table("adjusted_rand").index.tolist()
        ['early', 'other [A paper, 2024]']
        """
        rows = added_rows(self, results, source, columns, datasets)
        own = self.frame
        if SOURCE_COLUMN not in own:
            own = own.assign(**{SOURCE_COLUMN: ""})
        counts = dict.fromkeys(
            ("repeat", "seed", *SPLIT_COLUMNS, *SUBSAMPLE_COLUMNS), "Int64"
        )
        own = own.astype({name: kind for name, kind in counts.items() if name in own})
        missing = {m: np.nan for m in self.metrics if m not in rows}
        both = [own, rows.assign(**missing)[own.columns]]
        merged = import_extra("pandas").concat(both, ignore_index=True)
        self.frame = check_unique(merged)
        return self

    def costs(self) -> pd.DataFrame:
        """Summarise time and memory over the repeats that did not fail.

        Returns
        -------
        DataFrame
            Columns ``dataset``, ``method``, ``fit_seconds`` and ``cpu_seconds``
            (medians) and ``peak_memory_mb`` (maximum); NaN where all failed or none was
            measured.
        """
        costs = self._own_rows()
        measures = ["fit_seconds", "cpu_seconds", "peak_memory_mb"]
        costs = costs.assign(
            **{m: costs[m].where(costs["status"] == "ok") for m in measures}
        )
        groups = costs.groupby(["dataset", "method"], sort=False)
        table = groups.agg(
            dict(zip(measures, ("median", "median", "max"), strict=True))
        )
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

    def to_latex(
        self,
        metric: str | Sequence[str] | None = None,
        *,
        columns: str = "datasets",
        caption: str | None = None,
        label: str | None = None,
        alpha: float = 0.05,
    ) -> str:
        r"""Format tables for LaTeX with the package booktabs, as papers print them.

        Methods are rows. In each column the best mean is bold and the second best
        underlined, and a star marks methods that differ significantly from the best.
        Results of `add_results` are below a line of their own, and neither bold nor
        underlined. Notes and results on other data sets follow the tables.

        Parameters
        ----------
        metric : str or list of str, default=None
            The score or scores; all by default.
        columns : {'datasets', 'metrics'}, default='datasets'
            'datasets': one table for each score, with a column for each data set and
            the mean rank. 'metrics': one table, with a column for each score, of each
            data set in turn.
        caption : str, default=None
            Caption of the table, in LaTeX, as it is written to the file. By default it
            names the score and explains the marks.
        label : str, default=None
            Label for ``\ref``; several tables have ``<label>-<metric>``. None is none.
        alpha : float, default=0.05
            Level of significance.

        Returns
        -------
        str
            ``table`` environments.

        Raises
        ------
        ValueError
            If there is no such metric, `columns` is neither, or `alpha` is not between
            0 and 1.
        """
        metrics = self.metrics
        if metric is not None:
            given: Sequence[Any] = [metric]
            if isinstance(metric, list | tuple):
                given = metric
            metrics = [self._metric(m) for m in given]
        if not metrics:
            raise ValueError(f"metric={metric!r} is empty; give one of {self.metrics}")
        return latex_tables(self, metrics, columns, caption, label, alpha)

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


def _paired_scores(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Tabulate scores by repeat and method, or by split; NaN where a cell failed."""
    methods = rows["method"].unique()
    if "split" not in rows:
        return rows.pivot(index="repeat", columns="method", values=metric)[methods]
    # splits that recur with other seeds are not further observations
    means = rows.groupby(["split", "method"])[metric].agg(
        lambda s: s.mean(skipna=False)
    )
    return means.unstack("method")[methods]


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
        taken = (
            *FRAME_COLUMNS,
            "cpu_seconds",
            *SPLIT_COLUMNS,
            *SUBSAMPLE_COLUMNS,
            SOURCE_COLUMN,
        )
        if metric in taken:
            raise ValueError(
                f"a metric cannot be called {metric!r}: the frame has a column of this "
                f"name, as of {list(taken)}; give it another name"
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
