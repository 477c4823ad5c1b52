"""Degradation displays: lines, bands, panels and errors."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mmfusion import EarlyFusionClassifier, LateFusionClassifier
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.robustness import (
    DegradationDisplay,
    DegradationResults,
    degradation_curve,
)

NAMED = {"early": EarlyFusionClassifier(), "late": LateFusionClassifier()}


@pytest.fixture(scope="module")
def blobs():
    return make_multimodal_blobs(60, (2, 3, 2, 2), cluster_std=3.0, random_state=0)


@pytest.fixture(scope="module")
def results(blobs):
    return degradation_curve(
        NAMED,
        *blobs,
        degradation=["missing", "noise"],
        levels={"missing": [0, 0.5, 1], "noise": [3, 0]},
        cv=3,
        scoring=["accuracy", "neg_log_loss"],
        random_state=0,
    )


def test_lines_go_through_the_means(results):
    display = DegradationDisplay.from_results(results)
    display.figure_.canvas.draw()
    assert [ax.get_title() for ax in display.axes_] == [
        f"modality_{v}" for v in range(4)
    ] * 2
    assert len(display.lines_) == 16
    summary = results.summary("accuracy")
    for (kind, modality, estimator), line in display.lines_.items():
        own = summary[
            (summary["degradation"] == kind)
            & (summary["modality"] == modality)
            & (summary["estimator"] == estimator)
        ].sort_values("level")
        assert line.get_xdata().tolist() == own["level"].tolist()
        assert line.get_ydata().tolist() == own["mean"].tolist()
    labels = {ax.get_xlabel() for ax in display.axes_}
    assert labels == {"share that is missing", "noise (standard deviations)"}
    (legend,) = [ax.get_legend() for ax in display.axes_ if ax.get_legend()]
    assert [text.get_text() for text in legend.get_texts()] == list(NAMED)


def test_the_band_is_a_standard_deviation_wide(results):
    display = DegradationDisplay.from_results(results)
    row = results.summary().iloc[1]
    (path,) = display.axes_[0].collections[0].get_paths()
    at_level = path.vertices[path.vertices[:, 0] == row["level"], 1]
    assert at_level.min() == pytest.approx(row["mean"] - row["std"])
    assert at_level.max() == pytest.approx(row["mean"] + row["std"])


def test_metric_axes_and_style_are_chosen(results):
    _, axes = plt.subplots(2, 4)
    display = DegradationDisplay.from_results(
        results, "neg_log_loss", ax=axes, linewidth=3
    )
    assert display.figure_ is axes[0, 0].figure
    assert display.axes_[0].get_ylabel() == "neg_log_loss"
    assert {line.get_linewidth() for line in display.lines_.values()} == {3}
    with pytest.raises(ValueError, match="ax has 1 Axes; 8 are needed"):
        DegradationDisplay.from_results(results, ax=axes[0, 0])


def test_from_estimators_computes_what_it_draws(blobs):
    options = {"modalities": "all", "levels": [0, 0.5], "cv": 3, "random_state": 0}
    display = DegradationDisplay.from_estimators(NAMED, *blobs, **options)
    expected = degradation_curve(NAMED, *blobs, **options).summary()
    assert display.summary.equals(expected)
    assert display.axes_.size == 1


def test_failures_leave_gaps(results):
    rows = [
        row | ({"score": np.nan, "error": "no"} if row["level"] == 0.5 else {})
        for row in results.results
    ]
    display = DegradationDisplay.from_results(type(results)(rows))
    line = display.lines_["missing", "modality_0", "early"]
    assert np.isnan(line.get_ydata()).tolist() == [False, True, False]
    display.figure_.canvas.draw()


def test_names_of_any_characters_are_drawn():
    X, y = make_multimodal_blobs(40, {r"$\frac{$": 2, "_b": 2}, random_state=0)
    named = {"_hidden": EarlyFusionClassifier(), "$x^$": EarlyFusionClassifier()}
    results = degradation_curve(named, X, y, levels=[0, 1], cv=2, random_state=0)
    display = DegradationDisplay.from_results(results)
    display.figure_.draw_without_rendering()
    (legend,) = [ax.get_legend() for ax in display.axes_ if ax.get_legend()]
    assert [text.get_text() for text in legend.get_texts()] == [
        "\xa0_hidden",
        r"\$x^\$",
    ]


@pytest.mark.parametrize("ax", ["axes", 1, [None] * 8, np.eye(8)])
def test_invalid_axes_are_refused(results, ax):
    with pytest.raises(TypeError, match=r"ax is a .*; give a matplotlib Axes"):
        DegradationDisplay.from_results(results, ax=ax)


@pytest.mark.parametrize("wrong", [None, "results", [{}], np.eye(3)])
def test_invalid_results_are_refused(wrong):
    with pytest.raises(TypeError, match=r"results is a .*degradation_curve"):
        DegradationDisplay.from_results(wrong)


def test_results_and_metrics_of_other_types_are_refused(results):
    for wrong in (None, "results", [1], np.eye(3)):
        with pytest.raises(TypeError, match="results is not a list of dicts"):
            DegradationResults(wrong)
    with pytest.raises(TypeError, match="metric is a ndarray"):
        results.summary(np.array(["accuracy", "neg_log_loss"]))
