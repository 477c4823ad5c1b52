"""One HTML file with everything: tables, tests, plots, what was run, what failed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from mmfusion.benchmark._display import KINDS, ComparisonDisplay
from mmfusion.benchmark._export import (
    COSTS_READING,
    READING,
    Rows,
    cost_table,
    failure_list,
    score_table,
)
from mmfusion.benchmark._extras import import_extra

if TYPE_CHECKING:
    from mmfusion.benchmark._comparison import Comparison

STYLE = """
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
    """Write a comparison as one HTML page that loads nothing.

    Parameters
    ----------
    comparison : Comparison
        What to report.

    Returns
    -------
    str
        The page.
    """
    body = "\n".join(_sections(comparison))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>Comparison</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _sections(comparison: Comparison) -> Iterator[str]:
    yield f"<h1>{escape(repr(comparison))}</h1>"
    for metric in comparison.metrics:
        yield f"<h2>{escape(metric)}</h2>"
        yield _table(score_table(comparison, metric, "**{}**".format))
        yield f'<p class="note">{escape(READING)}</p>'
        significance = comparison.significance(metric)
        yield _list(significance.lines())
        yield _pairs(significance.wilcoxon)
        display = None
        for kind in KINDS:
            yield _image(comparison, metric, kind)
    yield "<h2>Time and memory</h2>"
    yield _table(cost_table(comparison))
    yield f'<p class="note">{escape(COSTS_READING)}</p>'
    failures = failure_list(comparison)
    yield f"<h2>Failures</h2>{_list(failures) if failures else '<p>None.</p>'}"
    warned = _warnings(comparison)
    yield f"<h2>Warnings</h2>{_list(warned) if warned else '<p>None.</p>'}"
    for title, entries in comparison.setup.items():
        yield f"<h2>{escape(title)}</h2>"
        rows = [[escape(k), f"<code>{escape(v)}</code>"] for k, v in entries.items()]
        cells = "".join(f"<tr><th>{k}</th><td>{v}</td></tr>" for k, v in rows)
        yield f"<table>{cells}</table>"
