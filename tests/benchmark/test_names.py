"""Names of methods, data sets and metrics break no report, table or file."""

import base64
import csv
import io
import os
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pandas as pd
import pytest
from doubles import Counting, Double, count
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from mmfusion._text import one_line
from mmfusion.benchmark import Comparison, ComparisonDisplay, compare
from mmfusion.benchmark._comparison import FRAME_COLUMNS, TABLE_COLUMNS
from mmfusion.benchmark._export import (
    FORMULA_STARTS,
    escape_latex,
    escape_markdown,
)
from mmfusion.benchmark._report import check_report

NAMES = [
    "$x^$",
    "$",
    r"\$ $\frac{$",
    "<script>alert(1)</script>",
    "100%",
    "=cmd|' /C calc'!A0",
    "-1",
    "@a",
    "two\nlines\r\n",
    "../../up",
    "/root",
    "NUL\0",
    "\x1b[31m\x08",
    "\ud800",
    "漢字 😀 \u202e",
    "x" * 300,
    "",
    " ",
    "_hidden",
    "[h]* & | ` ~ # \\",
    "con",
]


class Texts(HTMLParser):
    """Collects the tags, images and cells of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.images, self.texts = set(), [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"].partition("base64,")[2])

    def handle_data(self, data):
        self.texts.append(data)


def written(methods, datasets, metric, folder):
    """Compare and save; return the page and the other texts."""
    comparison = compare(
        methods,
        datasets,
        {metric: adjusted_rand_score},
        n_repeats=1,
        out=folder,
    )
    comparison.save(folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {"cells", "report.html", "table.md", "table.tex", "results.csv"}
    assert os.listdir(folder.parent) == [folder.name]
    cells = [path.name for path in (folder / "cells").iterdir()]
    assert len(cells) == len(comparison.frame)
    assert all(re.fullmatch(r"[\w-][\w.-]{,99}\.json", cell) for cell in cells)
    files = ("report.html", "table.md", "table.tex", "results.csv")
    return [(folder / name).read_bytes().decode("utf-8") for name in files]


@pytest.mark.parametrize("what", ["methods", "data sets"])
def test_a_comparison_with_any_names_is_written(what, halves, tmp_path):
    if what == "methods":
        methods, datasets = {name: Double() for name in NAMES}, {"d": halves}
    else:
        methods, datasets = {"a": Double()}, dict.fromkeys(NAMES, halves)
    html, markdown, latex, table = written(
        methods, datasets, "$m^$ <b>%_", tmp_path / "out"
    )

    page = Texts(html)
    assert "script" not in page.tags
    assert {one_line(name) for name in NAMES if name} <= set(page.texts)
    assert len(page.images) == 3
    for image in page.images:
        ElementTree.fromstring(base64.b64decode(image))

    n_columns = 3 if what == "methods" else len(NAMES) + 2
    first_table = markdown.split("\n\n")[1].splitlines()
    assert len(first_table) == 2 + len(methods)
    for row in first_table:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == n_columns + 1
    rows = [line for line in latex.splitlines() if line.endswith(r"\\")]
    n_columns = 2 if what == "methods" else n_columns  # no mean rank on one data set
    assert len(rows) == 1 + len(methods)
    for row in rows:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*&", row)) == n_columns - 1
        assert not row.startswith(("[", "*"))

    read = list(csv.DictReader(io.StringIO(table, newline="")))
    column = "method" if what == "methods" else "dataset"
    plain = [n.encode("utf-8", "backslashreplace").decode() for n in NAMES]
    plain = [name.replace("\0", r"\x00") for name in plain]
    assert [row[column].removeprefix("'") for row in read] == plain
    for row in read:
        assert not any(cell.startswith(FORMULA_STARTS) for cell in row.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_metric_of_any_name_is_reported(name, halves):
    comparison = compare(
        {"a": Double()}, {"d": halves}, {name: adjusted_rand_score}, n_repeats=1
    )
    check_report(comparison)
    assert escape_markdown(name) in comparison.to_markdown(name)
    assert escape_latex(name) in comparison.to_latex(name)


@given(st.text())
def test_text_is_escaped_to_one_line_of_what_can_be_seen(text):
    for escaped in (one_line(text), escape_markdown(text), escape_latex(text)):
        assert escaped.isprintable()
        escaped.encode("utf-8")
    assert not re.search(r"(?<!\\)(\\\\)*[|$`*<]", escape_markdown(text))
    without_symbols = escape_latex(text.replace("±", ""))
    assert not re.search(r"(?<!\\)(\\\\)*[&%$#_]", without_symbols)


@pytest.mark.parametrize("name", ["early_fusion v1.0", "a (b), c: d", "kernel k-means"])
def test_plain_names_are_left_alone(name):
    assert one_line(name) == escape_markdown(name) == name


def test_names_that_differ_in_case_only_have_cells_of_their_own(halves, tmp_path):
    log = str(tmp_path / "log.txt")
    for _ in range(2):
        frame = compare(
            {"a": Counting(log), "A": Counting(log)},
            {"d": halves, "D": halves},
            n_repeats=1,
            out=tmp_path,
        ).frame
    assert count(log) == len(frame) == 4
    cells = [path.name.lower() for path in (tmp_path / "cells").iterdir()]
    assert len(set(cells)) == 4


def test_a_name_is_drawn_with_tex_switched_on(halves, tmp_path):
    comparison = compare({"a_$%": Double()}, {"d_#": halves}, "purity", n_repeats=1)
    with matplotlib.rc_context({"text.usetex": True}):
        comparison.to_html(tmp_path / "report.html")


def test_the_legend_has_every_name(halves):
    methods = {"_hidden": Double(), "$x^$": Double(), "plain": Double()}
    comparison = compare(methods, {"d": halves}, "purity", n_repeats=1)
    display = ComparisonDisplay.from_comparison(comparison, kind="times")
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["\xa0_hidden", r"\$x^\$", "plain"]
    matplotlib.pyplot.close(display.figure_)


def run_with(halves, log, method="a", dataset="d", metric="score"):
    return compare(
        {method: Counting(log)},
        {dataset: halves},
        {metric: adjusted_rand_score},
        n_repeats=1,
    )


@pytest.mark.parametrize("name", FRAME_COLUMNS)
def test_metrics_called_like_a_column_are_refused_before_the_run(
    name, halves, tmp_path
):
    log = str(tmp_path / "log.txt")
    with pytest.raises(ValueError, match=f"metric cannot be called '{name}'.*another"):
        run_with(halves, log, metric=name)
    assert count(log) == 0


@pytest.mark.parametrize("name", TABLE_COLUMNS)
def test_data_sets_called_like_a_column_are_refused_before_the_run(
    name, halves, tmp_path
):
    log = str(tmp_path / "log.txt")
    with pytest.raises(ValueError, match=f"data set cannot be called '{name}'.*other"):
        run_with(halves, log, dataset=name)
    assert count(log) == 0


@pytest.mark.parametrize("what", ["method", "dataset", "metric"])
@pytest.mark.parametrize("name", [1, None, ("a", "b"), np.float64(1.5), b"a"])
def test_what_is_no_text_names_nothing(what, name, halves, tmp_path):
    log = str(tmp_path / "log.txt")
    with pytest.raises(
        TypeError, match=rf"^{what}s?:? .* is not a name; give a string"
    ):
        run_with(halves, log, **{what: name})
    assert count(log) == 0


@pytest.mark.parametrize("name", [np.str_("a"), "mean", "data sets", "method", "rank"])
def test_other_names_are_free(name, halves, tmp_path):
    comparison = run_with(halves, str(tmp_path / "log.txt"), method=name)
    assert comparison.ranks().index.tolist() == [name]
    assert comparison.summary()["mean"].tolist() == [1.0]
    if name not in FRAME_COLUMNS:
        comparison = run_with(halves, str(tmp_path / "log.txt"), metric=name)
        assert comparison.summary()["mean"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("frame", "metrics", "error", "match"),
    [
        (None, ["score"], TypeError, "frame is a NoneType"),
        (pd.DataFrame(), ["score"], ValueError, r"lacks the columns \['dataset'"),
        (pd.DataFrame(columns=FRAME_COLUMNS), ["s"], ValueError, r"columns \['s'\]"),
        (pd.DataFrame(columns=FRAME_COLUMNS), [], ValueError, r"metrics=\[\]"),
        (pd.DataFrame(columns=FRAME_COLUMNS), "score", ValueError, "metrics='score'"),
        (pd.DataFrame(columns=FRAME_COLUMNS), None, ValueError, "metrics=None"),
        (
            pd.DataFrame(columns=FRAME_COLUMNS),
            [3],
            TypeError,
            "metrics: 3 is not a name",
        ),
        (pd.DataFrame(columns=FRAME_COLUMNS), ["seed"], ValueError, "called 'seed'"),
    ],
)
def test_a_frame_that_is_no_comparison_is_refused(frame, metrics, error, match):
    with pytest.raises(error, match=match):
        Comparison(frame, metrics)
