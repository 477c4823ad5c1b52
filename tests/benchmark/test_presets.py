"""Comparisons of papers by one name: rows, published results, notes, exports."""

from dataclasses import replace

import numpy as np
import pytest
from doubles import ByPosition, Double
from sklearn.base import clone
from test_comparison import Page
from test_paper_tables import body

from mmfusion import __main__ as command_line
from mmfusion.benchmark import Preset, compare, preset
from mmfusion.benchmark import _presets as presets
from mmfusion.benchmark import _registry as registry
from mmfusion.benchmark._published import published_results, read_published
from mmfusion.datasets import save_npz

SHORT = ["acc", "nmi", "ari", "purity"]


@pytest.fixture(scope="module")
def eamc():
    return preset("eamc")


@pytest.fixture
def small(eamc):
    """The preset with two methods that take no time."""
    return replace(
        eamc,
        methods={"halves": Double(), "SNF": ByPosition()},
        groups={"halves": "classical", "SNF": "graphs"},
        single={"k-means (best modality)": None},
    )


@pytest.fixture
def run(small, halves):
    datasets = {"coil20_3pose": halves, "other": halves}
    return compare(small, datasets, n_repeats=2)


def test_rows_have_groups_and_names_of_methods(eamc):
    assert set(eamc.methods) <= set(eamc.groups)
    names = {row.method for row in presets.EAMC_ROWS}
    assert names == set(eamc.methods.values()) <= set(registry.CLUSTERERS)
    assert list(dict.fromkeys(eamc.groups.values())) == [
        presets.SINGLE,
        presets.CLASSICAL,
        presets.GRAPHS,
        presets.KERNELS,
        presets.DEEP,
    ]
    fast = preset("eamc", fast=True)
    assert "EAMC" in fast.methods
    assert set(fast.methods) < set(eamc.methods)
    assert repr(fast).startswith("Preset 'eamc': ")


def test_published_tables_are_complete():
    results = published_results()
    assert not results.duplicated(["source", "table", "dataset", "method"]).any()
    assert set(results["dataset"]) <= set(read_published("datasets")["dataset"])
    assert set(results["source"]) == set(read_published("sources")["source"])
    scores = results[SHORT].to_numpy()
    assert np.nanmin(scores) >= 0
    assert np.nanmax(scores) <= 1
    reported = np.isfinite(scores).any(axis=1)
    assert (results["note"][~reported] != "").all()
    assert (read_published("datasets")["needs"] != "").all()


def test_published_results_are_joined_by_data_set_without_ranks_and_tests(run):
    name = "SiMVC [Trosten et al. 2023]"
    rows = run.summary().set_index(["method", "dataset"])
    assert rows.loc[(name, "coil20_3pose"), "mean"] == 0.9
    assert np.isnan(rows.loc[(name, "coil20_3pose"), "rank"])
    assert (name, "other") not in rows.index
    assert name not in run.ranks().index
    assert name not in run.significance().mean_ranks.index
    assert "DMSC [Trosten et al. 2023] on coil20_3pose: out of memory, no score." in (
        run.notes
    )
    assert run.table().loc[name].tolist() == ["0.900", "–", "–"]


def test_other_published_results_are_listed_with_what_is_missing(run):
    elsewhere = run.elsewhere
    assert "COIL-20 (three poses)" not in set(elsewhere["dataset"])
    paper = elsewhere[elsewhere["source"] == "Zhou & Shen 2020"]
    assert paper["dataset"].unique().tolist() == ["E-MNIST"]
    text = run.to_markdown("clustering_accuracy")
    (line,) = (line for line in text.splitlines() if line.startswith("| E-MNIST"))
    assert "EAMC 0.668, DMSC 0.653, DAMC 0.646, DCCA 0.476" in line
    assert "edge images" in line
    assert "DMSC out of memory" in text
    assert "E-MNIST" not in run.to_markdown("adjusted_rand")  # not reported
    assert "Zhou &amp; Shen 2020: R. Zhou and Y.-D. Shen (2020)" in text


def test_the_modality_that_classes_choose_is_for_reference(run):
    name = "k-means (best modality) [chosen by classes]"
    rows = run.frame[run.frame["method"] == name]
    assert len(rows) == 4  # 2 repeats on each data set
    assert (rows["clustering_accuracy"] == 1).all()
    assert name not in run.ranks().index
    assert not run.frame["method"].str.startswith("k-means (best modality): ").any()
    assert any("clear on coil20_3pose, clear on other" in note for note in run.notes)
    assert len(run._own_rows()) == 8
    assert name not in set(run.costs()["method"])


def test_exports_have_headings_notes_and_other_results(run, tmp_path):
    run.save(tmp_path)
    latex = (tmp_path / "table.tex").read_text()
    first = latex.split(r"\end{table}")[0]
    rows = body(first)
    titles = [row[0] for row in rows]
    place = titles.index(r"\multicolumn{4}{l}{\textit{graphs}}")
    assert titles[place - 1 : place + 2 : 2] == ["halves", "SNF"]
    assert r"\multicolumn{4}{l}{\textit{for reference}}" in titles
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") == 8
    assert r"\item Zhou \& Shen 2020: " in latex
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert page.open == []
    for text in ("graphs", "for reference", "notes", "E-MNIST"):
        assert text in page.texts
    table = Page(run._repr_html_())
    assert table.open == []
    assert "for reference" in table.texts
    markdown = (tmp_path / "table.md").read_text("utf-8")
    assert markdown.count("| **graphs** ") == 5  # four scores and the costs
    assert "### notes" in markdown


@pytest.mark.parametrize("name", ["eamc-modules", "eamc-losses"])
def test_ablations_have_the_rows_of_the_paper(name, halves):
    ablation = preset(name)
    assert set(ablation.methods) == set(ablation.published["method"])
    full = list(ablation.methods.values())[0 if name == "eamc-modules" else -1]
    assert full.attention_temperature == presets.ATTENTION_TEMPERATURE
    params = [clone(e).get_params(deep=False) for e in ablation.methods.values()]
    differ = {key for own in params for key in own if own[key] != params[0][key]}
    assert differ <= {
        "adversarial_weight",
        "attention_temperature",
        "confidence_weight",
        "separation_weight",
        "simplex_weight",
        "trainer",
    }
    quick = replace(ablation, methods={"EAMC": Double(), "D_sc": ByPosition()})
    text = compare(quick, {"d": halves}, n_repeats=1).to_markdown()
    assert "| NWC " in text
    assert "which it does not publish" in text


def test_methods_of_the_user_have_a_heading_of_their_own(small, halves):
    methods = {"mine": Double(), **small.methods}
    text = compare(replace(small, methods=methods), {"d": halves}, n_repeats=1).table()
    assert text.index.tolist()[:3] == ["halves", "SNF", "mine"]


def test_metrics_that_no_paper_reports_have_no_published_results(small, halves):
    comparison = compare(small, {"coil20_3pose": halves}, "adjusted_mutual_info", 1)
    assert comparison.metrics == ["adjusted_mutual_info"]
    assert "Published" not in comparison.to_markdown()
    comparison.to_latex()


def test_rows_whose_packages_are_missing_are_named(monkeypatch):
    def fail():
        raise ImportError("torch is not installed")

    monkeypatch.setitem(registry.CLUSTERERS, "eamc", registry.Entry(fail, ""))
    chosen = preset("eamc", fast=True)
    assert "EAMC" not in chosen.methods
    assert chosen.notes == ("EAMC was not run: torch is not installed",)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"name": "mvc"}, "name='mvc' is no preset.*'eamc'"),
        ({"name": None}, "name=None is no preset"),
        ({"name": "eamc-losses", "fast": True}, "no fast form.*leave out fast"),
    ],
)
def test_other_presets_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        preset(**arguments)


def test_the_command_line_takes_presets(small, halves, tmp_path, capsys, monkeypatch):
    made = []

    def make(name, *, fast):
        made.append((name, fast))
        return small

    monkeypatch.setattr(command_line, "preset", make)
    save_npz(tmp_path / "coil20_3pose.npz", *halves)
    arguments = ["compare", "--preset", "eamc", "--fast", "--out", str(tmp_path / "r")]
    arguments += ["--data", str(tmp_path / "coil20_3pose.npz")]
    assert command_line.main(arguments) == 0
    assert made == [("eamc", True)]
    printed = capsys.readouterr()
    assert "(12 of 12)" in printed.err  # 3 seeds: 2 methods, 2 modalities
    assert "[compare]" not in printed.out
    assert "### purity" in printed.out
    assert command_line.main(["list"]) == 0
    assert "  eamc-modules" in capsys.readouterr().out


def test_a_preset_is_a_record(small):
    assert isinstance(small, Preset)
    with pytest.raises(AttributeError):
        small.name = "other"
