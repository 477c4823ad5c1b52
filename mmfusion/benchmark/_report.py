"""HTML report of a comparison: tables, tests, plots, failures, description."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

from mmfusion._extras import import_extra
from mmfusion._text import drawable
from mmfusion.benchmark._display import ComparisonDisplay
from mmfusion.benchmark._export import (
    COSTS_NOTE,
    ELSEWHERE_TITLE,
    HTML,
    Rows,
    cost_table,
    elsewhere_table,
    escape_html,
    failure_list,
    score_note,
    score_table,
    shown_name,
    unique_messages,
)

if TYPE_CHECKING:
    import pandas as pd

    from mmfusion.benchmark._comparison import Comparison

CSS = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em;
       padding: 0 1em; color: #222; }
table { border-collapse: collapse; margin: 1em 0; display: block; overflow-x: auto; }
th, td { padding: .25em .8em; text-align: left; border-bottom: 1px solid #ddd; }
th { border-bottom: 2px solid #888; }
td { font-variant-numeric: tabular-nums; }
img { max-width: 100%; }
code { font-size: 90%; overflow-wrap: anywhere; }
.note { color: #555; }
"""


def html_report(comparison: Comparison) -> str:
    """Format a comparison as one HTML page that loads no other files.

    Parameters
    ----------
    comparison : Comparison
        The comparison to report.

    Returns
    -------
    str
        The page.
    """
    with _plain_text():
        body = "\n".join(_sections(comparison))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>Comparison</title>\n<style>{CSS}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def check_report(comparison: Comparison) -> None:
    """Make the texts of a report and draw every name, so that both fail early.

    Parameters
    ----------
    comparison : Comparison
        A comparison of the same names.
    """
    comparison.to_markdown()
    comparison.to_latex()
    names = [*comparison.metrics]
    names += [*comparison.frame["dataset"].unique()]
    names += [*comparison.frame["method"].unique()]
    with _plain_text():
        list(_sections(comparison, plots=False))
        figure = import_extra("matplotlib.figure").Figure()
        for name in names:
            figure.text(0, 0, drawable(name))
        figure.savefig(BytesIO(), format="svg")


@contextmanager
def _plain_text() -> Iterator[None]:
    """Draw text without TeX and as paths, so that no settings or fonts can fail."""
    matplotlib = import_extra("matplotlib")
    with (
        matplotlib.rc_context({"text.usetex": False, "svg.fonttype": "path"}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def _sections(comparison: Comparison, plots: bool = True) -> Iterator[str]:
    yield f"<h1>{escape_html(repr(comparison))}</h1>"
    for metric in comparison.metrics:
        significance = comparison.significance(metric)
        yield f"<h2>{escape_html(shown_name(metric))}</h2>"
        yield _bullet_list(comparison.conclusion(metric).splitlines())
        yield _html_table(score_table(comparison, metric, HTML))
        yield f'<p class="note">{escape_html(score_note(comparison))}</p>'
        yield _bullet_list(significance.lines())
        yield _pair_details("Wilcoxon test", significance.wilcoxon)
        yield _pair_details("corrected resampled t-test", significance.t_test)
        elsewhere = elsewhere_table(comparison, metric, HTML)
        if elsewhere is not None:
            yield f"<h3>{ELSEWHERE_TITLE}</h3>{_html_table(elsewhere)}"
        if plots:
            yield from _plot_images(comparison, metric)
    yield "<h2>time and memory</h2>"
    yield _html_table(cost_table(comparison, HTML))
    yield f'<p class="note">{escape_html(COSTS_NOTE)}</p>'
    yield f"<h2>failures</h2>{_bullet_list(failure_list(comparison))}"
    if comparison.notes:
        yield f"<h2>notes</h2>{_bullet_list(comparison.notes)}"
    messages = unique_messages(comparison.frame, "warnings")
    yield f"<h2>warnings</h2>{_bullet_list(messages)}"
    for title, entries in comparison.setup.items():
        yield f"<h2>{escape_html(str(title))}</h2>"
        rows = (
            [escape_html(key), escape_html(value)] for key, value in entries.items()
        )
        yield _html_table([["", ""], *rows])


def _html_table(rows: Rows) -> str:
    header, *body = rows
    head = "".join(f"<th>{cell}</th>" for cell in header)
    lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in body)
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>"
        f"{''.join(f'<tr>{line}</tr>' for line in lines)}</tbody></table>"
    )


def _bullet_list(lines: list[str]) -> str:
    items = "".join(f"<li>{escape_html(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if lines else "<p>None.</p>"


def _pair_details(test: str, pairs: pd.DataFrame) -> str:
    if pairs.empty:
        return ""
    rows = [
        [escape_html(f"{c:.3g}" if isinstance(c, float) else str(c)) for c in row]
        for row in pairs.itertuples(index=False)
    ]
    header = [escape_html(column) for column in pairs.columns]
    return (
        f"<details><summary>All pairs by the {test}</summary>"
        f"{_html_table([header, *rows])}</details>"
    )


def _plot_images(comparison: Comparison, metric: str) -> Iterator[str]:
    figure = import_extra("matplotlib.figure").Figure
    n_rows = len(comparison.summary(metric)) + comparison.frame["dataset"].nunique()
    heights = {
        "scores": 1 + 0.2 * n_rows,
        "ranks": 1 + 0.25 * comparison.frame["method"].nunique(),
        "times": 4,
    }
    for kind, height in heights.items():
        drawn = figure(figsize=(8, max(2.5, height)))
        ComparisonDisplay.from_comparison(
            comparison, metric, kind=kind, ax=drawn.subplots()
        )
        file = BytesIO()
        drawn.savefig(file, format="svg", bbox_inches="tight", metadata={"Date": None})
        data = base64.b64encode(file.getvalue()).decode("ascii")
        name = escape_html(f"{kind} by {metric}")
        yield f'<p><img alt="{name}" src="data:image/svg+xml;base64,{data}"></p>'
