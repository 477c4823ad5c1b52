"""Tables of a comparison in Markdown, LaTeX, HTML and CSV."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from mmfusion._text import encodable, one_line
from mmfusion.benchmark._scores import NEGATED, is_negated_loss

if TYPE_CHECKING:
    import pandas as pd

    from mmfusion.benchmark._comparison import Comparison

Rows = list[list[str]]  # of cells; the first row is the header
CellTexts = dict[tuple[Any, Any], str]  # by method and column

NOT_RUN = "–"

SCORES_NOTE = (
    "Mean ± standard deviation over the repeats that did not fail, with the rank on "
    "the data set in parentheses. Mean ranks are among the methods run on every "
    "data set."
)
COSTS_NOTE = (
    "Medians of wall time and processor time (CPU) of a fit, and maximum of the growth "
    "of the process's memory to its peak during it, over the repeats that did not fail."
)
ADDED_NOTE = (
    "Methods with a source in brackets are for reference: they have no ranks and no "
    "tests."
)
ELSEWHERE_TITLE = "Published results on data sets that are not in this comparison"
OTHERS = "others"  # heading of methods without one
FOR_REFERENCE = "for reference"  # heading of added results where methods have groups

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
    # at the start of a row LaTeX reads these as options of the `\\` before it
    **{character: f"{{{character}}}" for character in "[]*"},
}
MARKDOWN_SPECIAL = re.compile(r"[\\`*\[\]|$~#]|(?<!\w)_|_(?!\w)|^[-+=]|(?<=^\d)[.)]")
# characters at which spreadsheets begin a formula
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Style(NamedTuple):
    """Escaping and bold type in a markup language."""

    escape: Callable[[str], str]
    bold: Callable[[str], str]


def escape_markdown(text: str) -> str:
    """Escape the markup of Markdown, and of HTML in it."""
    return MARKDOWN_SPECIAL.sub(r"\\\g<0>", escape(one_line(text), quote=False))


def escape_latex(text: str) -> str:
    """Escape the special characters of LaTeX."""
    return "".join(LATEX_SPECIAL.get(c, c) for c in one_line(text))


def escape_html(text: str) -> str:
    """Escape the markup of HTML."""
    return escape(one_line(text))


PLAIN = Style(str, str)
MARKDOWN = Style(escape_markdown, "**{}**".format)
HTML = Style(escape_html, "<b>{}</b>".format)


def shown_name(metric: str) -> str:
    """Return the name of a metric as tables print it: losses without their sign."""
    if is_negated_loss(metric):
        return f"{metric.removeprefix(NEGATED)} (lower is better)"
    return metric


def shown_value(metric: str, score: float) -> float:
    """Return a score as tables print it: losses are positive."""
    return -score if is_negated_loss(metric) else score


def shown_mean(metric: str, score: float) -> str:
    """Format a score as tables print it, with four digits from 10 on."""
    value = shown_value(metric, score)
    return f"{value:.4g}" if abs(value) >= 10 else f"{value:.3f}"


def score_note(comparison: Comparison) -> str:
    """Explain the numbers of a table of scores."""
    note = SCORES_NOTE
    if "split" in comparison.frame:
        note = note.replace("repeats", "folds of all repeats")
    return f"{note} {ADDED_NOTE}" if "source" in comparison.frame else note


def score_table(comparison: Comparison, metric: str, style: Style = PLAIN) -> Rows:
    """Format mean, standard deviation and rank of each method on each data set."""
    summary = comparison.summary(metric)
    best = summary.groupby("dataset")["rank"].transform("min") == summary["rank"]
    cells: CellTexts = {
        (row.method, row.dataset): _score_text(metric, row, style, is_best)
        for row, is_best in zip(summary.itertuples(), best, strict=True)
    }
    for method, rank in comparison.ranks(metric)["mean"].items():
        cells[method, "mean rank"] = f"{rank:.2f}"
    columns = [*summary["dataset"].unique(), "mean rank"]
    return _crosstab(comparison, cells, columns, style)


def _score_text(metric: str, row: Any, style: Style, is_best: bool) -> str:
    failed = f"failed {row.n_failed}/{row.n_repeats}"
    if row.n_failed == row.n_repeats:
        return failed + _rank_text(row.rank)
    mean = shown_mean(metric, row.mean)
    rest = "" if math.isnan(row.std) else f" ± {spread_text(row.mean, row.std)}"
    rest += _rank_text(row.rank)
    rest += f", {failed}" if row.n_failed else ""
    return (style.bold(mean) if is_best else mean) + style.escape(rest)


def _rank_text(rank: float) -> str:
    return "" if math.isnan(rank) else f" ({rank:g})"


def spread_text(mean: float, std: float) -> str:
    """Format a standard deviation, with the digits of its mean."""
    return (
        f"{std:.3f}" if abs(mean) < 10 else f"{std:.2g}" if std < 10 else f"{std:.0f}"
    )


def cost_table(comparison: Comparison, style: Style = PLAIN) -> Rows:
    """Format time and memory of each method on each data set."""
    costs = comparison.costs()
    cells: CellTexts = {
        (row.method, row.dataset): _cost_text(row) for row in costs.itertuples()
    }
    return _crosstab(comparison, cells, list(costs["dataset"].unique()), style)


def _cost_text(row: Any) -> str:
    if math.isnan(row.fit_seconds):
        return NOT_RUN
    time = f"{row.fit_seconds:.3g} s"
    if not math.isnan(row.cpu_seconds):
        time += f" (CPU {row.cpu_seconds:.3g} s)"
    if math.isnan(row.peak_memory_mb):
        return time
    return f"{time}, {row.peak_memory_mb:.3g} MiB"


def grouped(
    comparison: Comparison, methods: Iterable[str]
) -> list[tuple[str | None, list[str]]]:
    """Return the methods under their headings; all of them under None without groups.

    Parameters
    ----------
    comparison : Comparison
        The comparison, whose groups are in the order of their first methods.
    methods : iterable of str
        Methods of a table.

    Returns
    -------
    list of (str or None, list of str)
        Headings and methods. Other methods, and added results, have headings of their
        own at the end.
    """
    groups = comparison.groups
    if not groups:
        return [(None, list(methods))]
    own = set(comparison._own_rows()["method"])
    headings = [*groups.values(), OTHERS, FOR_REFERENCE]
    by_heading: dict[str, list[str]] = {heading: [] for heading in headings}
    order = {method: i for i, method in enumerate(groups)}
    for method in sorted(methods, key=lambda m: order.get(m, len(order))):
        other = OTHERS if method in own else FOR_REFERENCE
        by_heading[groups.get(method, other)].append(method)
    return [(heading, under) for heading, under in by_heading.items() if under]


def _crosstab(
    comparison: Comparison, cells: CellTexts, columns: list[str], style: Style
) -> Rows:
    methods = dict.fromkeys(method for method, _ in cells)
    not_run = style.escape(NOT_RUN)
    rows = [["method", *map(style.escape, columns)]]
    for heading, own in grouped(comparison, methods):
        if heading is not None and style is not PLAIN:
            rows.append([style.bold(style.escape(heading)), *[""] * len(columns)])
        rows += [
            [style.escape(m), *(cells.get((m, column), not_run) for column in columns)]
            for m in own
        ]
    return rows


def elsewhere_table(
    comparison: Comparison, metric: str, style: Style = PLAIN
) -> Rows | None:
    """Format published results on other data sets, or None if there are none.

    Parameters
    ----------
    comparison : Comparison
        The comparison.
    metric : str
        The score.
    style : Style, default=PLAIN
        The markup.

    Returns
    -------
    list of list of str or None
        One row for each data set of each source, best method first.
    """
    results = comparison.elsewhere
    if results is None or metric not in results:
        return None
    reported = results[results[metric].notna() | (results["note"] != "")]
    reported = reported.sort_values(metric, ascending=False, kind="stable")
    places = results[["source", "dataset"]].drop_duplicates()
    rows = [["data set", "source", style.escape(shown_name(metric)), "needed here"]]
    for source, dataset in places.itertuples(index=False):
        own = reported[
            (reported["source"] == source) & (reported["dataset"] == dataset)
        ]
        if own[metric].notna().any():
            texts = (_published_text(metric, row) for _, row in own.iterrows())
            needs = own["needs"].iloc[0]
            cells = (dataset, source, ", ".join(texts), needs)
            rows.append([style.escape(cell) for cell in cells])
    return rows if len(rows) > 1 else None


def _published_text(metric: str, row: pd.Series) -> str:
    missing = math.isnan(row[metric])
    return (
        f"{row['method']} {row['note'] if missing else shown_mean(metric, row[metric])}"
    )


def markdown(comparison: Comparison) -> str:
    """Format all scores, time and memory, the failures and notes in Markdown."""
    sections = [_metric_section(comparison, m) for m in comparison.metrics]
    costs = _markdown_table(cost_table(comparison, MARKDOWN))
    sections.append(f"### time and memory\n\n{costs}\n\n{COSTS_NOTE}\n")
    failures = _markdown_list(failure_list(comparison))
    if failures:
        sections.append(f"### failures\n\n{failures}\n")
    if comparison.notes:
        sections.append(f"### notes\n\n{_markdown_list(comparison.notes)}\n")
    return "\n".join(sections)


def markdown_of_metric(comparison: Comparison, metric: str) -> str:
    """Format one score with its tests, and the notes, in Markdown."""
    section = _metric_section(comparison, metric)
    if not comparison.notes:
        return section
    return f"{section}\n{_markdown_list(comparison.notes)}\n"


def _metric_section(comparison: Comparison, metric: str) -> str:
    table = _markdown_table(score_table(comparison, metric, MARKDOWN))
    tests = _markdown_list(comparison.significance(metric).lines())
    title = escape_markdown(shown_name(metric))
    summary = _markdown_list(comparison.conclusion(metric).splitlines())
    parts = [f"### {title}", table, score_note(comparison), summary, tests]
    elsewhere = elsewhere_table(comparison, metric, MARKDOWN)
    if elsewhere is not None:
        parts += [f"{ELSEWHERE_TITLE}:", _markdown_table(elsewhere)]
    return "\n\n".join(filter(None, parts)) + "\n"


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
    """List the errors of the cells that failed, equal ones of a method once."""
    return unique_messages(comparison.failures(), "error")


def unique_messages(frame: pd.DataFrame, column: str) -> list[str]:
    """List the texts of a column, with the number of repeats that have each."""
    filled = frame[frame[column] != ""]
    return [
        f"{method} on {dataset}, {len(rows)} x: {' '.join(str(text).split())}"
        for (dataset, method, text), rows in filled.groupby(
            ["dataset", "method", column], sort=False
        )
    ]


def csv(frame: pd.DataFrame) -> str:
    """Format a frame as CSV in which spreadsheets find no formulas."""
    safe = frame.rename(columns=_csv_text)
    for column in safe.select_dtypes(exclude="number"):
        safe[column] = safe[column].map(_csv_text)
    return str(safe.to_csv(index=False, lineterminator="\n"))


def _csv_text(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = encodable(value).replace("\0", r"\x00")
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
