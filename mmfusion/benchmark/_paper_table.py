"""Tables in the shape that papers print: in LaTeX by pandas' Styler, and in HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmfusion._extras import import_extra
from mmfusion.benchmark._conclusion import OVER_DATASETS
from mmfusion.benchmark._export import (
    ELSEWHERE_TITLE,
    NOT_RUN,
    Rows,
    Style,
    elsewhere_table,
    escape_html,
    escape_latex,
    grouped,
    shown_mean,
    spread_text,
)
from mmfusion.benchmark._scores import METRIC_NAMES, NEGATED, is_negated_loss
from mmfusion.benchmark._significance import Significance

if TYPE_CHECKING:
    import pandas as pd

    from mmfusion.benchmark._comparison import Comparison

MEAN_RANK = "mean rank"
LAYOUTS = ("datasets", "metrics")
BOLD = "textbf:--rwrap;"  # pandas' notation of a command that encloses a cell
UNDERLINED = "underline:--rwrap;"
PRETTY_NAMES = {name for names in METRIC_NAMES.values() for name in names}
CITED = re.compile(
    r"(?P<method>.*) \[(?P<source>\\cite[a-z]*\*?\{[\w:.,+/-]+\})\]", re.DOTALL
)
LATEX = Style(escape_latex, r"\textbf{{{}}}".format)
RULE = "border-top: 1px solid"
BOOKTABS = r"% needs \usepackage{booktabs}"


class TableCell(NamedTuple):
    """A mean with its spread, and its marks."""

    mean: str
    spread: str = ""
    note: str = ""  # of failures
    best: bool = False
    second: bool = False
    differs: bool = False  # significantly from the best method


@dataclass
class Column:
    """Cells of one column by method, under a data set and a metric."""

    dataset: str
    metric: str
    cells: dict[str, TableCell] = field(default_factory=dict)


def latex_tables(
    comparison: Comparison,
    metrics: Sequence[str],
    layout: str,
    caption: str | None,
    label: str | None,
    alpha: float,
) -> str:
    """Format one table for all metrics, or one for each; see `Comparison.to_latex`."""
    for name, text in (("caption", caption), ("label", label)):
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{name} is a {type(text).__name__}; give a string or None")
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise ValueError(f"columns={layout!r}; it must be one of {list(LAYOUTS)}")
    found = {m: comparison.significance(m, alpha=alpha) for m in metrics}
    tables = []
    if layout == "metrics":
        columns = list(_metric_columns(comparison, found))
        tables.append(_latex_table(comparison, columns, found, caption, label))
        found = {}
    for metric, tests in found.items():
        own_label = label
        if label is not None and len(metrics) > 1:
            own_label = f"{label}-{re.sub(r'[^A-Za-z0-9]+', '-', metric)}"
        columns = _dataset_columns(comparison, tests)
        own = {metric: tests}
        tables.append(_latex_table(comparison, columns, own, caption, own_label))
    for metric in metrics:
        elsewhere = elsewhere_table(comparison, metric, LATEX)
        if elsewhere is not None:
            tables.append(_latex_elsewhere(elsewhere))
    if comparison.notes:
        items = [rf"\item {escape_latex(note)}" for note in comparison.notes]
        listed = [r"\begin{itemize}", *items, r"\end{itemize}", ""]
        tables.append("\n".join(listed))
    return "\n".join(tables)


def _metric_columns(
    comparison: Comparison, found: dict[str, Significance]
) -> Iterator[Column]:
    by_metric = {metric: _by_dataset(comparison, metric) for metric in found}
    for dataset in comparison.frame["dataset"].unique():
        for metric, tests in found.items():
            rows = by_metric[metric][str(dataset)]
            yield _score_column(comparison, str(dataset), rows, tests)


def _dataset_columns(comparison: Comparison, tests: Significance) -> list[Column]:
    columns = [
        _score_column(comparison, dataset, rows, tests)
        for dataset, rows in _by_dataset(comparison, tests.metric).items()
    ]
    if len(columns) > 1:
        columns.append(_rank_column(tests))
    return columns


def _by_dataset(comparison: Comparison, metric: str) -> dict[str, pd.DataFrame]:
    groups = comparison.summary(metric).groupby("dataset", sort=False)
    return {str(dataset): rows for dataset, rows in groups}


def _score_column(
    comparison: Comparison, dataset: str, rows: pd.DataFrame, tests: Significance
) -> Column:
    first, second = _first_two(rows["rank"].dropna())
    tested = rows[rows["method"].isin(comparison._tested_rows()["method"])]
    best = str(tested.sort_values("rank", kind="stable")["method"].iloc[0])
    p_values = tests.p_values(dataset, best)
    column = Column(dataset, tests.metric)
    for row in rows.itertuples():
        differs = p_values.get(str(row.method), np.nan) < tests.alpha
        cell = _score_cell(tests.metric, row, (first, second), differs)
        column.cells[str(row.method)] = cell
    return column


def _score_cell(
    metric: str, row: Any, first_two: tuple[float, float], differs: bool
) -> TableCell:
    failed = f"failed {row.n_failed}/{row.n_repeats}"
    if row.n_failed == row.n_repeats:
        return TableCell(failed)
    return TableCell(
        shown_mean(metric, row.mean),
        "" if math.isnan(row.std) else spread_text(row.mean, row.std),
        failed if row.n_failed else "",
        row.rank == first_two[0],
        row.rank == first_two[1],
        differs,
    )


def _first_two(ranks: pd.Series) -> tuple[float, float]:
    """Return the rank of the best and of the second best; a tie has no second."""
    distinct = sorted(set(ranks))
    has_second = len(distinct) > 1 and int((ranks == distinct[0]).sum()) == 1
    return distinct[0], distinct[1] if has_second else np.nan


def _rank_column(tests: Significance) -> Column:
    ranks = tests.mean_ranks
    column = Column(MEAN_RANK, tests.metric)
    if ranks.empty:
        return column
    first, second = _first_two(ranks)
    best = str(ranks.index[0])
    p_values = tests.p_values(OVER_DATASETS, best) or tests.nemenyi_of(best)
    for method, rank in ranks.items():
        differs = p_values.get(str(method), np.nan) < tests.alpha
        column.cells[str(method)] = TableCell(
            f"{rank:.2f}", "", "", rank == first, rank == second, differs
        )
    return column


def _table_sections(comparison: Comparison) -> list[tuple[str | None, list[str]]]:
    """Return headings and methods, added results as the last section."""
    own = list(map(str, comparison._own_rows()["method"].unique()))
    methods = map(str, comparison.frame["method"].unique())
    added = [method for method in methods if method not in set(own)]
    sections = grouped(comparison, [*own, *added])
    if comparison.groups or not added:
        return sections
    return [(None, own), (None, added)]


def _latex_table(
    comparison: Comparison,
    columns: list[Column],
    found: dict[str, Significance],
    caption: str | None,
    label: str | None,
) -> str:
    pd = import_extra("pandas")
    import_extra("jinja2")  # which pandas' Styler needs
    sections = _table_sections(comparison)
    methods = [method for _, own in sections for method in own]
    headers = [escape_latex(c.dataset) for c in columns]
    groups = None
    if len(found) > 1 or columns[0].dataset == MEAN_RANK:
        groups = headers if len(set(headers)) > 1 else None
        headers = [_latex_metric(column.metric) for column in columns]
    # positions as labels: escaped names need not be unique, and a Styler needs that
    frame = pd.DataFrame(
        [[_latex_text(c.cells.get(m)) for c in columns] for m in methods],
    )
    styles = pd.DataFrame(
        [[_latex_style(c.cells.get(m)) for c in columns] for m in methods],
    )
    frame.columns.name = "method"
    if groups is not None:
        place = {name: i for i, name in enumerate(dict.fromkeys(groups))}
        keys = [(place[name], i) for i, name in enumerate(groups)]
        frame.columns = pd.MultiIndex.from_tuples(keys, names=["", "method"])
    styles.columns = frame.columns
    styler = frame.style.apply(lambda _: styles, axis=None)
    names = [_latex_method(comparison, method) for method in methods]
    styler = styler.format_index(lambda i: names[i], axis=0)
    styler = styler.format_index(
        lambda i: headers[i], axis=1, level=0 if groups is None else 1
    )
    if groups is not None:
        titles = list(place)
        styler = styler.format_index(lambda i: titles[i], axis=1, level=0)
    text = styler.to_latex(
        hrules=True,
        column_format="l" + "c" * len(columns),
        multicol_align="c",
        position_float="centering",
        caption=_default_caption(comparison, found) if caption is None else caption,
        label=label,
    )
    return f"{BOOKTABS}\n{_with_rules(text, groups, sections, len(columns) + 1)}"


def _latex_elsewhere(rows: Rows) -> str:
    """Format the table of published results on other data sets."""
    header, *body = (" & ".join(row) + r" \\" for row in rows)
    return "\n".join(
        [
            BOOKTABS,
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{ELSEWHERE_TITLE}}}",
            r"\begin{tabular}{lp{.15\linewidth}p{.4\linewidth}p{.25\linewidth}}",
            r"\toprule",
            header,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _with_rules(
    text: str,
    groups: list[str] | None,
    sections: list[tuple[str | None, list[str]]],
    n_columns: int,
) -> str:
    """Add rules under the names of data sets and between sections, and headings."""
    lines = text.splitlines()
    if groups is not None:
        rules, start = [], 2
        for name in dict.fromkeys(groups):
            end = start + groups.count(name) - 1
            rules.append(rf"\cmidrule(lr){{{start}-{end}}}")
            start = end + 1
        lines.insert(lines.index(r"\toprule") + 2, " ".join(rules))
    row = lines.index(r"\midrule") + 1
    for i, (heading, own) in enumerate(sections):
        added = [r"\midrule"] if i else []
        if heading is not None:
            title = rf"\textit{{{escape_latex(heading)}}}"
            added.append(rf"\multicolumn{{{n_columns}}}{{l}}{{{title}}} \\")
        lines[row:row] = added
        row += len(added) + len(own)
    return "\n".join(lines) + "\n"


def _latex_method(comparison: Comparison, method: str) -> str:
    """Escape the name of a method; a citation as its source remains a command."""
    cited = CITED.fullmatch(method) if "source" in comparison.frame else None
    if cited is None:
        return escape_latex(method)
    return f"{escape_latex(cited['method'])}~{cited['source']}"


def _latex_text(cell: TableCell | None) -> str:
    if cell is None:
        return escape_latex(NOT_RUN)
    text = cell.mean + ("$^{*}$" if cell.differs else "")
    text += rf" $\pm$ {cell.spread}" if cell.spread else ""
    return f"{text} ({cell.note})" if cell.note else text


def _latex_style(cell: TableCell | None) -> str:
    if cell is None:
        return ""
    return BOLD if cell.best else UNDERLINED if cell.second else ""


def _plain_metric(metric: str) -> str:
    name = metric.removeprefix(NEGATED) if is_negated_loss(metric) else metric
    return name.replace("_", " ") if metric in PRETTY_NAMES else name


def _latex_metric(metric: str) -> str:
    arrow = r" $\downarrow$" if is_negated_loss(metric) else ""
    return escape_latex(_plain_metric(metric)) + arrow


def _default_caption(comparison: Comparison, found: dict[str, Significance]) -> str:
    subject = ", ".join(map(_latex_metric, found))
    if next(iter(found)) in PRETTY_NAMES:
        subject = subject[0].upper() + subject[1:]
    return f"{subject}: {escape_latex(_explanation(comparison, found))}"


def _explanation(comparison: Comparison, found: dict[str, Significance]) -> str:
    """Explain the numbers and marks of a table in one paragraph."""
    own = comparison._own_rows()
    n_repeats = own["repeat"].nunique()
    unit = f"{n_repeats} repeats" if n_repeats > 1 else "1 repeat"
    if "split" in own:
        n_cells = own.groupby(["dataset", "method"]).size().max()
        unit = f"{n_cells} test sets of a cross-validation"
    text = (
        f"mean ± standard deviation over {unit}; the best is bold, the second "
        "underlined."
    )
    tests = next(iter(found.values()))
    tested = [
        name
        for name, pairs in (
            ("Wilcoxon signed-rank test", tests.wilcoxon),
            ("corrected resampled t-test", tests.t_test),
        )
        if len(pairs)
    ]
    if tested:
        text += (
            f" *: significantly different from the best method ({tested[0]}, Holm's "
            f"correction, alpha = {tests.alpha:g})."
        )
    if len(own) < len(comparison.frame):
        text += " Results with a source in brackets are for reference and not tested."
    return text


def html_repr(comparison: Comparison) -> str:
    """Format the first score as a table for notebooks, or all on a single data set."""
    n_datasets = comparison.frame["dataset"].nunique()
    metrics = comparison.metrics[:1] if n_datasets > 1 else comparison.metrics
    found = {metric: comparison.significance(metric) for metric in metrics}
    if n_datasets > 1:
        columns = _dataset_columns(comparison, found[metrics[0]])
        headers = [column.dataset for column in columns]
    else:
        columns = list(_metric_columns(comparison, found))
        headers = [_html_metric(column.metric) for column in columns]
    title = repr(comparison)
    title += f"; {_html_metric(metrics[0])}" if n_datasets > 1 else ""
    body = []
    for i, (heading, own) in enumerate(_table_sections(comparison)):
        if heading is not None:
            title_cell = f"<i>{escape_html(heading)}</i>"
            body.append(_html_row(title_cell, [""] * len(columns), RULE if i else ""))
        for j, method in enumerate(own):
            cells = [_html_text(column.cells.get(method)) for column in columns]
            is_below_rule = i and not j and heading is None
            name = escape_html(method)
            body.append(_html_row(name, cells, RULE if is_below_rule else ""))
    head = "".join(f"<th>{escape_html(name)}</th>" for name in ["method", *headers])
    note = escape_html(_explanation(comparison, found).capitalize())
    summary = escape_html(comparison.conclusion(metrics[0])).replace("\n", "<br>")
    return (
        f"<div><p>{escape_html(title)}</p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table><p>{summary}</p>"
        f"<p><small>{note}</small></p></div>"
    )


def _html_row(method: str, cells: list[str], style: str) -> str:
    opened = f'<tr style="{style}">' if style else "<tr>"
    return f"{opened}<th>{method}</th>{''.join(f'<td>{c}</td>' for c in cells)}</tr>"


def _html_metric(metric: str) -> str:
    return _plain_metric(metric) + (" ↓" if is_negated_loss(metric) else "")


def _html_text(cell: TableCell | None) -> str:
    if cell is None:
        return escape_html(NOT_RUN)
    text = escape_html(cell.mean) + ("<sup>*</sup>" if cell.differs else "")
    text += f" ± {escape_html(cell.spread)}" if cell.spread else ""
    text += f" ({escape_html(cell.note)})" if cell.note else ""
    wrap: Callable[[str], str] = "{}".format
    if cell.best:
        wrap = "<b>{}</b>".format
    elif cell.second:
        wrap = "<u>{}</u>".format
    return wrap(text)
