"""Displays of inspection: what is drawn, from what, and errors."""

import inspect
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mmfusion import EarlyFusionClassifier
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.inspection import (
    InteractionDisplay,
    ModalityImportanceDisplay,
    ShapleyDisplay,
    modality_importance,
    modality_interactions,
    modality_shapley,
)

FUNCTIONS = {
    ModalityImportanceDisplay: modality_importance,
    ShapleyDisplay: modality_shapley,
    InteractionDisplay: modality_interactions,
}
OPTIONS = {"cv": 3}


@pytest.fixture(scope="module")
def blobs():
    return make_multimodal_blobs(
        60, {"audio": 2, "video": 3, "text": 2}, cluster_std=5.0, random_state=0
    )


@pytest.fixture(scope="module")
def results(blobs):
    return {
        display: function(EarlyFusionClassifier(), *blobs, **OPTIONS)
        for display, function in FUNCTIONS.items()
    }


def test_bars_are_the_mean_importances_from_the_largest(results):
    own = results[ModalityImportanceDisplay]
    display = ModalityImportanceDisplay.from_results(own)
    order = np.argsort(-own.importances_mean)
    widths = [bar.get_width() for bar in display.bars_]
    np.testing.assert_allclose(widths, own.importances_mean[order])
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == [own.names[v] for v in order]
    assert display.ax_.yaxis_inverted()  # the first bar is at the top
    for line, v in zip(display.points_, order, strict=True):
        assert line.get_xdata().tolist() == own.units()[v].tolist()


def test_steps_lead_from_the_empty_to_the_full_score(results):
    own = results[ShapleyDisplay]
    display = ShapleyDisplay.from_results(own)
    starts = [bar.get_x() for bar in display.bars_]
    widths = [bar.get_width() for bar in display.bars_]
    assert starts[0] == pytest.approx(own.empty_score)
    assert starts[-1] + widths[-1] == pytest.approx(own.full_score)
    np.testing.assert_allclose(np.diff(starts), widths[:-1])
    (bars,) = display.error_bars_[2]
    lengths = [segment[1, 0] - segment[0, 0] for segment in bars.get_segments()]
    order = np.argsort(-own.values)
    np.testing.assert_allclose(lengths, (own.upper - own.lower)[order])
    texts = {text.get_text() for text in display.ax_.texts}
    assert texts == {"no modality", "all"}


def test_matrices_are_on_one_scale_with_their_values_written(results):
    own = results[InteractionDisplay]
    display = InteractionDisplay.from_results(own)
    matrices = [own.redundancy, own.unique, own.synergy]
    for image, matrix in zip(display.images_, matrices, strict=True):
        np.testing.assert_array_equal(np.ma.filled(image.get_array(), np.nan), matrix)
    limits = {image.get_clim() for image in display.images_}
    assert len(limits) == 1
    for ax, matrix in zip(display.axes_, matrices, strict=True):
        written = [float(text.get_text()) for text in ax.texts]
        expected = matrix[np.isfinite(matrix)]
        np.testing.assert_allclose(written, expected, atol=0.00501)


def test_many_modalities_have_no_written_values():
    matrix = np.full((9, 9), 0.1)
    display = InteractionDisplay(
        names=[f"m{v}" for v in range(9)],
        redundancy=matrix,
        unique=matrix,
        synergy=np.zeros((9, 9)),
    ).plot()
    assert not any(ax.texts for ax in display.axes_)


@pytest.mark.parametrize("display", FUNCTIONS)
def test_from_estimator_draws_what_the_function_returns(display, blobs, results):
    made = display.from_estimator(EarlyFusionClassifier(), *blobs, **OPTIONS)
    expected = display.from_results(results[display])
    if display is not ModalityImportanceDisplay:  # whose permutations have no seed
        for name in inspect.signature(display).parameters:
            np.testing.assert_array_equal(getattr(made, name), getattr(expected, name))
    made.figure_.draw_without_rendering()


@pytest.mark.parametrize("display", FUNCTIONS)
def test_axes_and_style_are_chosen(display, results):
    n_axes = 3 if display is InteractionDisplay else 1
    _, axes = plt.subplots(1, n_axes)
    style = {"alpha": 0.25}
    made = display.from_results(results[display], ax=axes, **style)
    assert made.figure_ is np.ravel(axes)[0].figure
    drawn = made.images_ if n_axes == 3 else made.bars_
    assert {artist.get_alpha() for artist in drawn} == {0.25}
    parameters = list(inspect.signature(display).parameters)
    again = display(**{name: getattr(made, name) for name in parameters}).plot()
    assert again.figure_ is not made.figure_


@pytest.mark.parametrize("ax", ["axes", 1, [None] * 3, np.eye(3)])
@pytest.mark.parametrize("display", FUNCTIONS)
def test_invalid_axes_are_refused(display, results, ax):
    with pytest.raises(TypeError, match=r"give .*matplotlib Axes"):
        display.from_results(results[display], ax=ax)


@pytest.mark.parametrize("wrong", [None, "results", np.eye(3)])
@pytest.mark.parametrize("display", FUNCTIONS)
def test_invalid_results_are_refused(display, wrong):
    with pytest.raises(TypeError, match=rf"that {FUNCTIONS[display].__name__} returns"):
        display.from_results(wrong)


def test_names_of_any_characters_are_drawn():
    X, y = make_multimodal_blobs(40, {r"$\frac{$": 2, "_b": 2}, random_state=0)
    for display in FUNCTIONS:
        made = display.from_estimator(EarlyFusionClassifier(), X, y, cv=2)
        made.figure_.draw_without_rendering()


def test_displays_are_imported_without_matplotlib_and_torch():
    code = (
        "import sys, mmfusion.inspection; "
        "print(*{'matplotlib', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
