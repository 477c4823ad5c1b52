"""Tables of papers in LaTeX, representations in notebooks, and added results."""

import re

import numpy as np
import pandas as pd
import pytest
from test_comparison import Page, make

from mmfusion.benchmark import Comparison, ComparisonDisplay, compare


@pytest.fixture
def two_sets():
    rng = np.random.default_rng(0)
    return make(
        {
            ("d1", "a_1"): 0.8 + rng.normal(0, 0.01, 12),
            ("d1", "b"): 0.7 + rng.normal(0, 0.01, 12),
            ("d1", "c"): 0.5 + rng.normal(0, 0.01, 12),
            ("d2", "a_1"): 0.6 + rng.normal(0, 0.01, 12),
            ("d2", "b"): [None] * 12,
        },
        metric="accuracy",
    )


def body(latex):
    """Return the rows of a table as lists of cells, the header first."""
    lines = [line for line in latex.splitlines() if line.endswith(r"\\")]
    return [re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in lines]


def check_structure(latex):
    """Check what TeX would: environments and braces close, rows have equal widths."""
    opened = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", latex):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    plain = re.sub(r"\\[{}]", "", latex)
    assert plain.count("{") == plain.count("}")
    assert len(re.findall(r"(?<!\\)\$", latex)) % 2 == 0
    rules = [latex.index(f"\\{name}rule") for name in ("top", "mid", "bottom")]
    assert rules == sorted(rules)
    (columns,) = re.findall(r"\\begin\{tabular\}\{(l[c]*)\}", latex)
    for row in body(latex):
        widths = [re.match(r"\\multicolumn\{(\d+)\}", cell) for cell in row]
        assert sum(int(m[1]) if m else 1 for m in widths) == len(columns)


def test_the_best_is_bold_the_second_underlined_and_differences_marked(two_sets):
    latex = two_sets.to_latex(caption=r"My \emph{caption}", label="tab:x")
    check_structure(latex)
    header, *rows = body(latex)
    assert header == ["method", "d1", "d2", "mean rank"]
    assert [row[0] for row in rows] == [r"a\_1", "b", "c"]
    assert rows[0][1].startswith(r"\textbf{0.")
    assert rows[1][1].startswith(r"\underline{0.")
    assert "$^{*}$" in rows[1][1]
    assert "$^{*}$" in rows[2][1]
    assert rows[1][2] == "failed 12/12"
    assert rows[2][2] == "--"
    assert r"\caption{My \emph{caption}}" in latex
    assert r"\label{tab:x}" in latex


def test_metrics_are_columns_under_each_data_set():
    names = ["neg_log_loss", "accuracy"]
    comparison = compare(
        ["early", "dummy"],
        ["wine", "breast-cancer"],
        names,
        n_repeats=1,
        cv=5,
        task="classification",
    )
    latex = comparison.to_latex(columns="metrics", label="tab:both")
    check_structure(latex)
    groups, header, *rows = body(latex)
    assert groups == [
        "",
        r"\multicolumn{2}{c}{wine}",
        r"\multicolumn{2}{c}{breast-cancer}",
    ]
    assert header == ["method", *[r"log loss $\downarrow$", "accuracy"] * 2]
    assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-5}" in latex
    assert all("-" not in cell for row in rows for cell in row[1:])
    one = comparison.to_latex("accuracy", columns="metrics")
    assert body(one)[0] == ["method", "wine", "breast-cancer"]
    tables = comparison.to_latex(label="tab")
    assert r"\label{tab-neg-log-loss}" in tables
    assert r"\label{tab-accuracy}" in tables


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"metric": "beauty"}, ValueError, "metric='beauty'"),
        ({"columns": "rows"}, ValueError, "columns='rows'"),
        ({"alpha": 2}, ValueError, "alpha=2"),
        ({"caption": 3}, TypeError, "caption is a int"),
        ({"label": 3}, TypeError, "label is a int"),
    ],
)
def test_wrong_options_of_a_table_are_refused(two_sets, options, error, match):
    with pytest.raises(error, match=match):
        two_sets.to_latex(**options)


def test_the_notebook_shows_the_table(two_sets):
    page = Page(two_sets._repr_html_())
    assert page.open == []
    assert page.tags.count("tr") == 4
    assert page.tags.count("b") == 3  # of two data sets and the mean rank
    assert "a_1" in page.texts
    assert "Comparison of 3 methods on 2 data sets" in page.texts[0]
    evil = make({("<script>", "<b>x"): [0.5]})._repr_html_()
    assert "<script>" not in evil
    assert "<b>x" not in evil


def test_the_conclusion_names_what_is_significant(two_sets):
    first, second, ranks, failed = two_sets.conclusion().splitlines()
    assert first.startswith("On d1, a_1 is first of 3 methods by accuracy (0.8")
    assert first.endswith("It differs significantly (alpha = 0.05) from b and c.")
    assert second.startswith("On d2, a_1 is first of 2 methods")
    assert ranks.startswith("Over 2 data sets, a_1 has the best mean rank of 2 methods")
    assert failed == "12 of 60 cells failed: 12 of b (on d2)."
    same = make({("d", m): [0.5, 0.6, 0.4, 0.5, 0.6, 0.4] for m in "ab"}).conclusion()
    assert same == "On d, a and b are first of 2 methods by score (0.500)."


@pytest.mark.parametrize(("n_repeats", "decides"), [(6, False), (8, True)])
def test_the_conclusion_names_repeats_that_cannot_decide(n_repeats, decides):
    values = np.linspace(0, 0.01, n_repeats)
    ahead = {"a": values + 0.9, "b": 1.1 * values + 0.5, "c": 1.2 * values + 0.1}
    scores = {("d", method): list(own) for method, own in ahead.items()}
    conclusion = make(scores).conclusion()
    if decides:
        assert conclusion.endswith(
            "It differs significantly (alpha = 0.05) from b and c."
        )
    else:
        assert "With 6 repeats no difference can be significant" in conclusion
        assert conclusion.endswith("7 repeats are needed.")


def test_the_conclusion_names_all_of_the_best_mean_rank():
    scores = {("d1", "a"): [0.9], ("d1", "b"): [0.1], ("d2", "a"): [0.1]}
    last = make(scores | {("d2", "b"): [0.9]}).conclusion().splitlines()[-1]
    assert last.startswith("Over 2 data sets, a and b have the best mean rank")


def test_the_conclusion_over_data_sets_is_by_a_test_that_can_reject():
    def over(n_datasets):
        scores = {
            (f"d{i}", method): [0.9 - 0.1 * j - 0.001 * i * j]
            for i in range(n_datasets)
            for j, method in enumerate("abcdef")
        }
        return make(scores).conclusion().splitlines()[-1]

    # Wilcoxon's test of 15 pairs needs 10 data sets
    assert "By the Nemenyi test it differs significantly" in over(8)
    assert "It differs significantly (alpha = 0.05) from all 5 others" in over(10)


def test_many_best_methods_are_counted():
    many = make({("d", m): [0.5, 0.6] for m in "abcdef"}).conclusion()
    assert many.startswith("On d, a and 5 more are first of 6 methods")


def published(**columns):
    return pd.DataFrame({"dataset": ["d1"], "method": ["old"], **columns})


def test_added_results_are_in_tables_and_not_in_tests(two_sets):
    before = two_sets.significance()
    table = pd.DataFrame(
        {
            "set": ["D-1", "D-1", "elsewhere"],
            "model": ["old", "older", "old"],
            "acc": [0.9, 0.1, 0.4],
            "nmi": [0.9, 0.1, 0.4],
        }
    )
    returned = two_sets.add_results(
        table,
        r"\cite{old2001}",
        columns={"set": "dataset", "model": "method"},
        datasets={"D-1": "d1"},
    )
    assert returned is two_sets
    assert "12 failed, 2 results added" in repr(two_sets)
    name = r"old [\cite{old2001}]"
    assert two_sets.table().loc[name].tolist() == ["0.900", "–", "–"]
    after = two_sets.significance()
    pd.testing.assert_frame_equal(before.wilcoxon, after.wilcoxon)
    pd.testing.assert_series_equal(before.mean_ranks, after.mean_ranks)
    latex = two_sets.to_latex()
    check_structure(latex)
    rows = body(latex)
    assert rows[-2] == [r"old~\cite{old2001}", "0.900", "--", "--"]
    assert latex.splitlines()[-6] == r"\midrule"
    assert f"{name} is best (0.900)" in two_sets.conclusion()
    assert name not in set(two_sets.costs()["method"])
    assert "old2001" in two_sets.to_markdown()
    assert "border-top" in two_sets._repr_html_()
    for kind in ("scores", "ranks", "times"):
        ComparisonDisplay.from_comparison(two_sets, kind=kind)


def test_added_results_come_from_csv_and_are_saved(two_sets, tmp_path):
    published(accuracy=[np.nan], source=["A"]).to_csv(tmp_path / "a.csv", index=False)
    two_sets.add_results(tmp_path / "a.csv")
    assert "old [A]" not in set(two_sets.summary()["method"])  # not reported
    two_sets.add_results(published(accuracy=[0.5]), "B")
    two_sets.save(tmp_path / "out")
    read = pd.read_csv(tmp_path / "out" / "results.csv")
    assert read["source"].dropna().tolist() == ["A", "B"]
    assert isinstance(Comparison(two_sets.frame, ["accuracy"]), Comparison)


def test_added_results_of_every_repeat_are_tested(two_sets):
    scores = 0.6 + np.random.default_rng(1).normal(0, 0.01, 12)
    rows = {"dataset": "d1", "method": "old", "acc": scores, "repeat": range(12)}
    two_sets.add_results(pd.DataFrame(rows), "B")
    p_values = two_sets.significance().p_values("d1", "a_1")
    assert p_values["old [B]"] < 0.05


def test_losses_are_added_as_papers_print_them():
    comparison = make({("d", "a"): [-2.0, -3.0]}, "neg_root_mean_squared_error")
    row = {"dataset": ["d"], "method": ["old"], "rmse": [2.25]}
    comparison.add_results(pd.DataFrame(row), "B")
    assert comparison.summary()["mean"].tolist() == [-2.5, -2.25]
    assert comparison.table()["d"].tolist() == ["2.500 ± 0.707 (1)", "2.250"]


@pytest.mark.parametrize(
    ("results", "source", "error", "match"),
    [
        (3, "A", TypeError, "results is a int"),
        (published(acc=[0.5]), None, ValueError, "source=None"),
        (published(acc=[0.5]), " ", ValueError, "source=' '"),
        (published(beauty=[0.5]), "A", ValueError, "none of the metrics.*columns="),
        (published(acc=["good"]), "A", ValueError, "'accuracy' is not numeric"),
        (published(acc=[93.1]), "A", ValueError, "divide percentages by 100"),
        (
            published(acc=[0.5]).assign(dataset="x"),
            "A",
            ValueError,
            r"on the data sets \['x'\].*datasets=",
        ),
        (
            published(acc=[0.5]).drop(columns="method"),
            "A",
            ValueError,
            "no column 'method'.*columns=",
        ),
        (pd.concat([published(acc=[0.5])] * 2), "A", ValueError, "are there twice"),
        (published(acc=[0.5], repeat=[0]), "A", ValueError, "cannot be paired"),
    ],
)
def test_results_that_cannot_be_added_are_refused(
    two_sets, results, source, error, match
):
    frame = two_sets.frame.copy()
    with pytest.raises(error, match=match):
        two_sets.add_results(results, source)
    pd.testing.assert_frame_equal(two_sets.frame, frame)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
