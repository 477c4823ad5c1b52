"""Tables, ranks, tests and exports of a comparison with known numbers."""

import csv
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from mmfusion.benchmark import Comparison, ComparisonDisplay


def make(scores, metric="score", **setup):
    """A comparison from scores by (data set, method); None is a failure."""
    rows = [
        {
            "dataset": dataset,
            "method": method,
            "repeat": repeat,
            "seed": 100 + repeat,
            metric: np.nan if score is None else score,
            "fit_seconds": 1.0 + repeat,
            "peak_memory_mb": 10.0 * (repeat + 1),
            "status": "failed" if score is None else "ok",
            "error": "OSError: it broke" if score is None else "",
            "warnings": "UserWarning: beware" if method == "b" else "",
        }
        for (dataset, method), repeats in scores.items()
        for repeat, score in enumerate(repeats)
    ]
    return Comparison(pd.DataFrame(rows), [metric], setup)


@pytest.fixture
def small():
    return make(
        {
            ("d1", "a"): [0.5, 0.7],
            ("d1", "b"): [0.9, None],
            ("d1", "c"): [0.4, 0.4],
            ("d1", "e"): [None, None],
            ("d2", "a"): [0.2, 0.2],
            ("d2", "b"): [0.8, 0.8],
            ("d2", "c"): [0.2, 0.2],
        }
    )


def test_the_summary_by_hand(small):
    summary = small.summary().set_index(["dataset", "method"])
    assert summary.loc[("d1", "a"), "mean"] == pytest.approx(0.6)
    assert summary.loc[("d1", "a"), "std"] == pytest.approx(np.sqrt(0.02))
    assert summary.loc[("d1", "b"), "mean"] == 0.9
    assert summary["n_failed"].tolist() == [0, 1, 0, 2, 0, 0, 0]
    # on d1 b has the best mean, but it failed once
    assert summary["rank"].tolist() == [1, 3, 2, 4, 2.5, 1, 2.5]


def test_the_table_has_spread_ranks_and_failures(small):
    table = small.table()
    assert table.loc["a"].tolist() == [
        "0.600 ± 0.141 (1)",
        "0.200 ± 0.000 (2.5)",
        "1.75",
    ]
    assert table.loc["b", "d1"] == "0.900 (3), failed 1/2"
    assert table.loc["e"].tolist() == ["failed 2/2 (4)", "–", "–"]


def test_mean_ranks_are_of_the_methods_that_ran_everywhere(small):
    ranks = small.ranks()
    assert ranks.index.tolist() == ["a", "b", "c"]
    assert ranks["d1"].tolist() == [1, 3, 2]
    assert ranks["mean"].tolist() == [1.75, 2, 2.25]


def test_costs_are_of_what_did_not_fail(small):
    costs = small.costs().set_index(["dataset", "method"])
    assert costs.loc[("d1", "a"), "fit_seconds"] == 1.5
    assert costs.loc[("d1", "a"), "peak_memory_mb"] == 20
    assert costs.loc[("d1", "b"), "peak_memory_mb"] == 10
    assert costs.loc[("d1", "e")].isna().all()


def test_failures_are_listed(small):
    failed = small.failures()
    assert failed["method"].tolist() == ["b", "e", "e"]
    assert "4 methods on 2 data sets: 14 cells, 3 failed" in repr(small)


def over_datasets(n_datasets, n_repeats=2):
    """Three methods; the first is better everywhere by a growing margin."""
    return make(
        {
            (f"d{i}", method): [0.5 + shift * (i + 1) / 100 for _ in range(n_repeats)]
            for i in range(n_datasets)
            for method, shift in {"best": 2, "middle": 1, "last": 0}.items()
        }
    )


def test_over_data_sets_all_tests_are_made():
    found = over_datasets(8).significance()
    assert found.friedman.chi2 == pytest.approx(16)  # all agree: n (k - 1)
    assert found.mean_ranks.to_dict() == {"best": 1, "middle": 2, "last": 3}
    assert found.critical_difference == pytest.approx(
        2.343 * np.sqrt(12 / 48), abs=1e-3
    )
    assert (
        found.nemenyi.loc["best", "last"] < 0.05 < found.nemenyi.loc["best", "middle"]
    )
    pairs = found.wilcoxon
    assert (pairs["over"] == "data sets").all()
    assert (pairs["n_pairs"] == 8).all()
    assert pairs["p"].tolist() == [2 / 2**8] * 3
    assert pairs["p_holm"].tolist() == [6 / 2**8] * 3
    assert "best and last" in str(found)


def test_repeats_do_not_count_as_data_sets():
    few, many = (over_datasets(8, n).significance() for n in (2, 50))
    assert few.wilcoxon["p"].tolist() == many.wilcoxon["p"].tolist()
    assert few.friedman == many.friedman


def test_with_few_data_sets_repeats_are_paired_and_a_note_added():
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.01, size=(2, 10))
    found = make(
        {
            ("d", "a"): 0.6 + noise[0],
            ("d", "b"): 0.5 + noise[1],
            ("d", "c"): [0.4] * 10,
            ("d", "e"): [0.3] * 10,
        }
    ).significance()
    assert found.friedman is None
    pairs = found.wilcoxon.set_index(["method_a", "method_b"])
    assert (pairs["over"] == "d").all()
    assert pairs.loc[("a", "b"), "p"] == 2 / 2**10
    assert pairs.loc[("a", "b"), "p_holm"] == pytest.approx(5 * 2 / 2**10)
    # two methods without any spread: ten repeats are one observation
    assert np.isnan(pairs.loc[("c", "e"), "p"])
    text = str(found)
    assert "No Friedman test" in text
    assert "no evidence about other data" in text
    assert "same score for c, e" in text


def test_a_failure_loses_by_any_margin():
    found = make(
        {
            ("d", "a"): [0.9] * 6 + [None] * 2,
            ("d", "b"): [0.1, 0.2, 0.3, 0.1, 0.2, 0.3, 0.1, 0.2],
        }
    ).significance()
    (pair,) = found.wilcoxon.itertuples()
    assert (pair.wins_a, pair.wins_b) == (6, 2)
    # ranks of the failures, 7.5 each, are the largest: 15 of 36
    assert pair.p == pytest.approx(pair.p_holm)
    assert pair.p > 0.25


def test_too_few_repeats_are_not_tested():
    found = make({("d", m): [0.1, 0.5, 0.3, 0.4, 0.2] for m in "ab"}).significance()
    assert found.wilcoxon.empty
    assert "No Wilcoxon test" in str(found)


def test_a_note_is_added_when_no_pair_could_differ():
    rng = np.random.default_rng(0)
    scores = {("d", m): rng.normal(size=8) for m in "abcdefgh"}
    text = str(make(scores).significance())
    # 28 pairs: 28 * 2 / 2**n falls below .05 from n = 11 on
    assert "too few for any of 28 pairs" in text
    assert "11 are needed, or a control" in text
    with_control = make(scores).significance(control="a")
    assert len(with_control.wilcoxon) == 7
    enough = make({("d", m): rng.normal(size=11) for m in "abcdefgh"}).significance()
    assert "too few" not in str(enough)


def test_what_was_not_compared_cannot_be_returned(small):
    with pytest.raises(ValueError, match=r"'beauty'.*score"):
        small.table("beauty")
    with pytest.raises(ValueError, match=r"control='z'.*'a'"):
        small.significance(control="z")


def test_markdown_has_the_table_with_the_best_in_bold(small):
    lines = small.to_markdown().splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in rows[:6]}) == 1
    assert re.search(r"\| a +\| \*\*0.600\*\* ± 0.141 \(1\) +\|", rows[2])
    assert "- e on d1, 2 x: OSError: it broke" in lines
    assert small.to_markdown("score") in small.to_markdown()


NASTY = r"50%_a & $b {c} ~d^ #e \f | <g> [h]*"


def test_latex_escapes_what_latex_would_read():
    latex = make({(NASTY, NASTY): [0.5, 0.6]}).to_latex()
    escaped = (
        r"50\%\_a \& \$b \{c\} \textasciitilde{}d\textasciicircum{} \#e "
        r"\textbackslash{}f \textbar{} \textless{}g\textgreater{} {[}h{]}{*}"
    )
    assert f"method & {escaped} \\\\" in latex
    assert rf"{escaped} & \textbf{{0.550 $\pm$ 0.071}} \\" in latex
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert latex.count(rule) == 1
    assert latex.isascii()


def test_csv_has_every_cell(small, tmp_path):
    small.to_csv(tmp_path / "cells.csv")
    with (tmp_path / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(small.frame)
    assert [row["status"] for row in rows] == small.frame["status"].tolist()
    assert float(rows[0]["score"]) == 0.5
    assert rows[3]["score"] == ""


class Page(HTMLParser):
    """Collects the tags, attributes and texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_report_is_one_page_that_loads_nothing(tmp_path):
    comparison = make(
        {(NASTY, m): [0.5, None, 0.6] for m in (NASTY, "b")}, Methods={NASTY: NASTY}
    )
    comparison.to_html(tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert page.tags.count("img") == 3
    assert not {"script", "link", "iframe"} & set(page.tags)
    for name, value in page.attributes:
        if name == "src":
            assert value.startswith("data:image/svg+xml;base64,")
        assert name != "href"
    text = " ".join(page.texts)
    assert text.count(NASTY) > 5
    assert "b on " + NASTY + ", 1 x: OSError: it broke" in text
    assert "b on " + NASTY + ", 3 x: UserWarning: beware" in text
    assert "url(" not in text
    assert "@import" not in text


def test_save_writes_all_of_it(small, tmp_path):
    report = small.save(tmp_path / "new" / "folder")
    assert report.name == "report.html"
    files = {path.name for path in report.parent.iterdir()}
    assert files == {"report.html", "table.md", "table.tex", "results.csv"}
    assert (report.parent / "table.md").read_text("utf-8") == small.to_markdown()


def test_a_full_disk_leaves_the_old_report(small, small_disk):
    small.save(small_disk)
    before = {path.name: path.read_bytes() for path in small_disk.iterdir()}
    with pytest.raises(OSError, match="No space"):
        (small_disk / "large").write_bytes(bytes(10**6))
    with pytest.raises(OSError, match=r"results\.csv'.* the disk is full; free some"):
        small.save(small_disk)
    with pytest.raises(OSError, match=r"report\.html'.* the disk is full; free some"):
        small.to_html(small_disk / "report.html")
    (small_disk / "large").unlink()
    assert {path.name: path.read_bytes() for path in small_disk.iterdir()} == before


@pytest.mark.parametrize("path", [None, 3, "", "a\0b"])
def test_what_is_no_path_is_refused(small, path):
    for write in (small.to_csv, small.to_html, small.save):
        with pytest.raises((TypeError, ValueError), match=r"^(path|folder)"):
            write(path)


@pytest.mark.parametrize("alpha", [0, 1, -1, np.nan, "0.05", None])
def test_a_level_lies_between_0_and_1(small, alpha):
    with pytest.raises(ValueError, match="alpha="):
        small.significance(alpha=alpha)


def test_the_plot_of_scores_has_every_method_and_failure(small):
    display = ComparisonDisplay.from_comparison(small)
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == ["d1", "a", "b", "c", "e", "d2", "a", "b", "c"]
    dots = np.concatenate(
        [c.get_offsets() for c in display.ax_.collections if len(c.get_offsets())]
    )
    drawn = {(round(float(x), 3), int(y)) for x, y in dots if np.isfinite(x)}
    assert {(0.5, 1), (0.7, 1), (0.9, 2), (0.8, 7)} <= drawn
    texts = {text.get_text(): text.xy[1] for text in display.ax_.texts}
    assert texts == {"failed 1/2": 2, "failed 2/2": 4}
    assert display.figure_ is display.ax_.figure


def test_the_bars_of_ranks_are_as_long_as_the_critical_difference():
    comparison = over_datasets(8)
    display = ComparisonDisplay.from_comparison(comparison, kind="ranks")
    critical = comparison.significance().critical_difference
    bars = [s for c in display.ax_.collections for s in c.get_segments()]
    assert [bar[:, 0].mean() for bar in bars] == pytest.approx([1, 2, 3])
    assert [np.ptp(bar[:, 0]) for bar in bars] == pytest.approx([critical] * 3)
    assert f"{critical:.2f}" in display.ax_.get_xlabel()


def test_the_plot_of_times_has_a_point_for_each_pair(small):
    display = ComparisonDisplay.from_comparison(small, kind="times")
    drawn = {
        line.get_label(): sorted(zip(*line.get_data(), strict=True))
        for line in display.ax_.lines
    }
    assert drawn["a"] == [(1.5, 0.2), (1.5, pytest.approx(0.6))]
    assert display.ax_.get_xscale() == "log"


@pytest.mark.parametrize("kind", ["scores", "ranks", "times"])
def test_long_names_of_methods_are_within_the_figure(small, kind):
    display = ComparisonDisplay.from_comparison(small, kind=kind)
    long = {"a": "LateFusionClassifier(weights='score')"}
    display.summary = display.summary.replace({"method": long})
    display.frame = display.frame.replace({"method": long})
    display.mean_ranks = display.mean_ranks.rename(long)
    figure = display.plot(kind=kind).figure_
    figure.canvas.draw()
    own = display.ax_.get_tightbbox()
    assert own.x0 >= 0
    assert own.x1 <= figure.bbox.x1


def test_plots_are_drawn_on_the_given_axes_and_again(small):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    display = ComparisonDisplay.from_comparison(small, ax=ax)
    assert display.ax_ is ax
    other = Figure().subplots()
    assert display.plot(other, kind="ranks") is display
    assert display.ax_ is other
    with pytest.raises(ValueError, match=r"'pie'.*scores"):
        display.plot(other, kind="pie")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
