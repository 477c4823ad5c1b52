"""Styles of the user replace those of the displays, by any of their names."""

import numpy as np
import pytest
from matplotlib.colors import LogNorm, to_rgba

from mmfusion.plotting import (
    AlignmentDisplay,
    AttentionWeightsDisplay,
    KernelMatrixDisplay,
    KernelWeightsDisplay,
    LatentMapDisplay,
    LossCurveDisplay,
    ObjectivePathDisplay,
)

LATENTS = np.random.default_rng(0).normal(size=(6, 3))
LABELS = np.repeat([0, 1], 3)
HISTORY = [{"train_loss": 2.0}, {"train_loss": 1.0}]
LINES = {
    "alignment": lambda **style: (
        AlignmentDisplay.from_predictions(
            [1, 2], [1, 2], [[0, 0], [1, 1]], **style
        ).path_line_
    ),
    "losses": lambda **style: LossCurveDisplay.from_predictions(
        HISTORY, **style
    ).lines_["train_loss"],
    "objective": lambda **style: (
        ObjectivePathDisplay.from_predictions([2, 1], name="a", **style).line_
    ),
}
BARS = {
    "attention": AttentionWeightsDisplay,
    "kernels": KernelWeightsDisplay,
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
@pytest.mark.parametrize(("color", "width"), [("color", "linewidth"), ("c", "lw")])
def test_lines_have_the_given_style(line, color, width):
    drawn = line(**{color: "magenta", width: 5})
    assert drawn.get_color() == "magenta"
    assert drawn.get_linewidth() == 5


@pytest.mark.parametrize("bars", BARS.values(), ids=BARS)
@pytest.mark.parametrize("color", ["color", "facecolor", "fc"])
def test_bars_have_the_given_color(bars, color):
    drawn = bars.from_predictions([0.5, 0.5], ["a", "b"], **{color: "magenta"})
    assert {bar.get_facecolor() for bar in drawn.bars_} == {to_rgba("magenta")}


def points(**style):
    return LatentMapDisplay.from_predictions(LATENTS, {"a": LATENTS}, LABELS, **style)


@pytest.mark.parametrize("width", ["linewidths", "linewidth", "lw"])
def test_points_have_the_given_style(width):
    for drawn in points(**{width: 3}).scatters_:
        assert drawn.get_linewidths() == [3]


@pytest.mark.parametrize("color", ["c", "color", "fc"])
def test_the_color_of_points_is_that_of_labels(color):
    with pytest.raises(TypeError, match="shows the labels of the points"):
        points(**{color: "magenta"})


def test_limits_of_a_norm_are_those_of_the_colors():
    norm = LogNorm(0.1, 10)
    display = KernelMatrixDisplay.from_predictions([np.eye(6)] * 2, LABELS, norm=norm)
    assert {image.get_clim() for image in display.images_} == {(0.1, 10)}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("latents", [LATENTS[:, :1], np.ones((6, 3)), np.ones((6, 1))])
def test_latents_of_one_unit_or_one_value_are_drawn(latents):
    display = LatentMapDisplay.from_predictions(latents, {"a": latents}, LABELS)
    spread = np.ptp(display.fused, axis=0)
    assert spread == pytest.approx([np.ptp(latents[:, 0]), 0])
    display.figure_.canvas.draw()


def test_what_is_no_number_is_no_loss():
    history = [{"a": 1.0, "b": "x"}, {"a": None, "b": 2.0}, {"a": "x", "b": True}]
    curves = LossCurveDisplay.from_predictions(history).curves
    np.testing.assert_equal(
        curves, {"a": [1, np.nan, np.nan], "b": [np.nan, 2, np.nan]}
    )


def test_names_of_paths_and_phases_are_no_formulas():
    path = ObjectivePathDisplay.from_predictions([2, 1], name="$\\x")
    path.figure_.canvas.draw()
    (text,) = path.ax_.get_legend().get_texts()
    assert text.get_text() == "\\$\\x"
    hidden = ObjectivePathDisplay.from_predictions([2, 1], name="_hidden")
    assert len(hidden.ax_.get_legend().get_texts()) == 1
    history = [{"phase": "$\\x$", "loss": 1.0}, {"phase": "b", "loss": 0.5}]
    LossCurveDisplay.from_predictions(history).figure_.canvas.draw()
