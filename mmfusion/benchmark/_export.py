"""Tables of a comparison as text: Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmfusion.benchmark._comparison import Comparison

Rows = list[list[str]]  # of cells; the first row is the header

ABSENT = "–"

READING = (
    "Mean ± standard deviation over the repeats that did not fail, with the rank on "
    "the data set in parentheses. Mean ranks are among the methods that ran on every "
    "data set."
)
COSTS_READING = (
    "Mean wall time of a fit, and the largest peak of memory allocated through Python "
    "and numpy, over the repeats that did not fail."
)

LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def score_table(
    comparison: Comparison, metric: str, bold: Callable[[str], str] = str
) -> Rows:
    """Lay out mean, spread and rank: a row for each method, a column for each set."""
    summary = comparison.summary(metric)
    mean_ranks = comparison.ranks(metric)["mean"]
    best = summary.groupby("dataset")["rank"].transform("min") == summary["rank"]
    cells = {
        (row.method, row.dataset): _score_cell(row, bold if is_best else str)
        for row, is_best in zip(summary.itertuples(), best, strict=True)
    }
    rows = _crosstab(cells)
    rows[0].append("mean rank")
    for row in rows[1:]:
        row.append(f"{mean_ranks[row[0]]:.2f}" if row[0] in mean_ranks else ABSENT)
    return rows


def _score_cell(row: Any, bold: Callable[[str], str]) -> str:
    failed = f"failed {row.n_failed}/{row.n_repeats}"
    if row.n_failed == row.n_repeats:
        return f"{failed} ({row.rank:g})"
    spread = "" if math.isnan(row.std) else f" ± {row.std:.3f}"
    score = f"{bold(f'{row.mean:.3f}')}{spread} ({row.rank:g})"
    return f"{score}, {failed}" if row.n_failed else score


def cost_table(comparison: Comparison) -> Rows:
    """Lay out time and memory as `score_table` does scores."""
    return _crosstab(
        {
            (row.method, row.dataset): _cost_cell(row)
            for row in comparison.costs().itertuples()
        }
    )


def _cost_cell(row: Any) -> str:
    if math.isnan(row.fit_seconds):
        return ABSENT
    time = f"{row.fit_seconds:.3g} s"
    if math.isnan(row.peak_memory_mb):
        return time
    return f"{time}, {row.peak_memory_mb:.3g} MiB"


def _crosstab(cells: dict[tuple[str, str], str]) -> Rows:
    methods = dict.fromkeys(method for method, _ in cells)
    datasets = dict.fromkeys(dataset for _, dataset in cells)
    return [
        ["method", *datasets],
        *([m, *(cells.get((m, d), ABSENT) for d in datasets)] for m in methods),
    ]


def markdown(comparison: Comparison) -> str:
    """Write all scores, time and memory, and the failures in Markdown."""
    sections = [markdown_of_metric(comparison, m) for m in comparison.metrics]
    sections.append(
        f"### time and memory\n\n{_markdown_table(cost_table(comparison))}\n\n"
        f"{COSTS_READING}\n"
    )
    failures = failure_list(comparison)
    if failures:
        items = "\n".join(f"- {failure}" for failure in failures)
        sections.append(f"### failures\n\n{items}\n")
    return "\n".join(sections)


def markdown_of_metric(comparison: Comparison, metric: str) -> str:
    """Write one score with its tests in Markdown."""
    table = _markdown_table(score_table(comparison, metric, "**{}**".format))
    tests = "\n".join(f"- {line}" for line in comparison.significance(metric).lines())
    return f"### {metric}\n\n{table}\n\n{READING}\n\n{tests}\n"


def _markdown_table(rows: Rows) -> str:
    rows = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        f"| {' | '.join(c.ljust(w) for c, w in zip(row, widths, strict=True))} |"
        for row in rows
    )


def failure_list(comparison: Comparison) -> list[str]:
    """Say what failed and why, the same error of several repeats once."""
    groups = comparison.failures().groupby(["dataset", "method", "error"], sort=False)
    return [
        f"{method} on {dataset}, {len(rows)} times: {' '.join(error.split())}"
        for (dataset, method, error), rows in groups
    ]


def latex_of_metric(comparison: Comparison, metric: str) -> str:
    """Write one score as a table for LaTeX."""
    rows = score_table(comparison, metric, "**{}**".format)
    header, *body = [_latex_row(row) for row in rows]
    columns = "l" * len(rows[0])
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(f'{metric}. {READING}')}}}",
            rf"\begin{{tabular}}{{{columns}}}",
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


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_latex_cell, cells)) + r" \\"


def _latex_cell(cell: str) -> str:
    # the first mark opens the bold part, the second closes it
    plain, *marked = cell.split("**")
    if len(marked) != 2:
        return escape_latex(cell)
    return rf"{escape_latex(plain)}\textbf{{{marked[0]}}}{escape_latex(marked[1])}"


def escape_latex(text: str) -> str:
    """Escape what LaTeX would read as a command."""
    return "".join(LATEX_SPECIAL.get(character, character) for character in text)
