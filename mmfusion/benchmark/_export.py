"""Tables of a comparison as text: Markdown, LaTeX and CSV."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from mmfusion._text import one_line

if TYPE_CHECKING:
    import pandas as pd

    from mmfusion.benchmark._comparison import Comparison

Rows = list[list[str]]  # of cells; the first row is the header
Cells = dict[tuple[Any, Any], str]  # by method and column

ABSENT = "–"

READING = (
    "Mean ± standard deviation over the repeats that did not fail, with the rank on "
    "the data set in parentheses. Mean ranks are among the methods that ran on every "
    "data set."
)
COSTS_READING = (
    "Median wall time of a fit, and the largest peak of memory allocated through "
    "Python and numpy, over the repeats that did not fail."
)

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "–": "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    # after the end of a row these would be its options
    **{character: f"{{{character}}}" for character in "[]*"},
}
MARKDOWN_SPECIAL = re.compile(r"[\\`*\[\]|$~#]|(?<!\w)_|_(?!\w)|^[-+=]|(?<=^\d)[.)]")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how spreadsheets know one


class Style(NamedTuple):
    """How a language of tables makes text safe, and bold."""

    escape: Callable[[str], str]
    bold: Callable[[str], str]


def escape_markdown(text: str) -> str:
    """Escape what Markdown, or HTML in it, would read as a command."""
    return MARKDOWN_SPECIAL.sub(r"\\\g<0>", escape(one_line(text), quote=False))


def escape_latex(text: str) -> str:
    """Escape what LaTeX would read as a command."""
    return "".join(LATEX_SPECIAL.get(c, c) for c in one_line(text))


def escape_html(text: str) -> str:
    """Escape what HTML would read as a tag."""
    return escape(one_line(text))


PLAIN = Style(str, str)
MARKDOWN = Style(escape_markdown, "**{}**".format)
HTML = Style(escape_html, "<b>{}</b>".format)
LATEX = Style(escape_latex, r"\textbf{{{}}}".format)


def score_table(comparison: Comparison, metric: str, style: Style = PLAIN) -> Rows:
    """Lay out mean, spread and rank: a row for each method, a column for each set."""
    summary = comparison.summary(metric)
    best = summary.groupby("dataset")["rank"].transform("min") == summary["rank"]
    cells: Cells = {
        (row.method, row.dataset): _score_cell(row, style, is_best)
        for row, is_best in zip(summary.itertuples(), best, strict=True)
    }
    for method, rank in comparison.ranks(metric)["mean"].items():
        cells[method, "mean rank"] = f"{rank:.2f}"
    return _crosstab(cells, [*summary["dataset"].unique(), "mean rank"], style)


def _score_cell(row: Any, style: Style, is_best: bool) -> str:
    failed = f"failed {row.n_failed}/{row.n_repeats}"
    if row.n_failed == row.n_repeats:
        return f"{failed} ({row.rank:g})"
    mean = f"{row.mean:.3f}"
    rest = "" if math.isnan(row.std) else f" ± {row.std:.3f}"
    rest += f" ({row.rank:g})"
    rest += f", {failed}" if row.n_failed else ""
    return (style.bold(mean) if is_best else mean) + style.escape(rest)


def cost_table(comparison: Comparison, style: Style = PLAIN) -> Rows:
    """Lay out time and memory as `score_table` does scores."""
    costs = comparison.costs()
    cells: Cells = {
        (row.method, row.dataset): _cost_cell(row) for row in costs.itertuples()
    }
    return _crosstab(cells, list(costs["dataset"].unique()), style)


def _cost_cell(row: Any) -> str:
    if math.isnan(row.fit_seconds):
        return ABSENT
    time = f"{row.fit_seconds:.3g} s"
    if math.isnan(row.peak_memory_mb):
        return time
    return f"{time}, {row.peak_memory_mb:.3g} MiB"


def _crosstab(cells: Cells, columns: list[str], style: Style) -> Rows:
    methods = dict.fromkeys(method for method, _ in cells)
    absent = style.escape(ABSENT)
    return [
        ["method", *map(style.escape, columns)],
        *(
            [style.escape(m), *(cells.get((m, column), absent) for column in columns)]
            for m in methods
        ),
    ]


def markdown(comparison: Comparison) -> str:
    """Write all scores, time and memory, and the failures in Markdown."""
    sections = [markdown_of_metric(comparison, m) for m in comparison.metrics]
    costs = _markdown_table(cost_table(comparison, MARKDOWN))
    sections.append(f"### time and memory\n\n{costs}\n\n{COSTS_READING}\n")
    failures = _markdown_list(failure_list(comparison))
    if failures:
        sections.append(f"### failures\n\n{failures}\n")
    return "\n".join(sections)


def markdown_of_metric(comparison: Comparison, metric: str) -> str:
    """Write one score with its tests in Markdown."""
    table = _markdown_table(score_table(comparison, metric, MARKDOWN))
    tests = _markdown_list(comparison.significance(metric).lines())
    title = escape_markdown(metric)
    return f"### {title}\n\n{table}\n\n{READING}\n\n{tests}\n"


def _markdown_list(lines: list[str]) -> str:
    return "\n".join(f"- {escape_markdown(line)}" for line in lines)


def _markdown_table(rows: Rows) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    header, *body = rows
    return "\n".join(
        f"| {' | '.join(c.ljust(w) for c, w in zip(row, widths, strict=True))} |"
        for row in [header, ["-" * width for width in widths], *body]
    )


def failure_list(comparison: Comparison) -> list[str]:
    """Say what failed and why; what failed in the same way at several repeats once."""
    return told_once(comparison.failures(), "error")


def told_once(frame: pd.DataFrame, column: str) -> list[str]:
    """Say what a column of texts says, once for all repeats that say the same."""
    told = frame[frame[column] != ""]
    return [
        f"{method} on {dataset}, {len(rows)} x: {' '.join(str(text).split())}"
        for (dataset, method, text), rows in told.groupby(
            ["dataset", "method", column], sort=False
        )
    ]


def latex_of_metric(comparison: Comparison, metric: str) -> str:
    """Write one score as a table for LaTeX."""
    rows = score_table(comparison, metric, LATEX)
    header, *body = (" & ".join(row) + r" \\" for row in rows)
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(f'{metric}. {READING}')}}}",
            rf"\begin{{tabular}}{{{'l' * len(rows[0])}}}",
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


def csv(frame: pd.DataFrame) -> str:
    """Write a frame as CSV, in which no text is read as a formula."""
    safe = frame.rename(columns=_csv_text)
    for column in safe.select_dtypes(exclude="number"):
        safe[column] = safe[column].map(_csv_text)
    return str(safe.to_csv(index=False, lineterminator="\n"))


def _csv_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "backslashreplace").decode("utf-8")
    text = text.replace("\0", r"\x00")
    return f"'{text}" if text.startswith(FORMULA) else text
