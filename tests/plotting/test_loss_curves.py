"""Learning curves show every loss of every epoch, and which phase it belongs to."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from mmfusion import EarlyFusionClusterer
from mmfusion.clustering import EAMCClusterer
from mmfusion.plotting import LossCurveDisplay

HISTORY = [
    {
        "epoch": 1,
        "phase": "pretraining",
        "batches": [{}],
        "disagreement": 0.8,
        "train_loss": 0.9,
    },
    {
        "epoch": 2,
        "phase": "pretraining",
        "batches": [{}],
        "disagreement": 0.4,
        "train_loss": 0.5,
    },
    {
        "epoch": 3,
        "phase": "adversarial training",
        "batches": [{}],
        "separation": 0.02,
        "train_loss": 0.7,
        "accuracy": 0.5,
    },
    {
        "epoch": 4,
        "phase": "adversarial training",
        "batches": [{}],
        "separation": 0.01,
        "train_loss": 0.6,
        "accuracy": 0.6,
    },
]


def drawn(line):
    """Points of a line, without its gaps."""
    x, y = line.get_data()
    return np.column_stack([x, y])[~np.isnan(y)].tolist()


def test_each_loss_is_one_line_through_its_epochs():
    display = LossCurveDisplay.from_predictions(HISTORY)
    assert list(display.lines_) == ["disagreement", "train_loss", "separation"]
    assert drawn(display.lines_["disagreement"]) == [[1, 0.8], [2, 0.4]]
    assert drawn(display.lines_["separation"]) == [[3, 0.02], [4, 0.01]]
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == list(display.lines_)
    display.figure_.canvas.draw()


def test_no_line_runs_from_one_phase_into_the_next():
    line = LossCurveDisplay.from_predictions(HISTORY).lines_["train_loss"]
    x, y = line.get_data()
    assert x.tolist() == [1, 2, 2.5, 3, 4]
    assert np.isnan(y).tolist() == [False, False, True, False, False]


def test_phases_are_named_above_their_epochs():
    display = LossCurveDisplay.from_predictions(HISTORY)
    assert display.phases == ["pretraining"] * 2 + ["adversarial training"] * 2
    (top,) = display.ax_.child_axes
    assert [text.get_text() for text in top.get_xticklabels()] == [
        "pretraining",
        "adversarial training",
    ]
    assert top.get_xticks().tolist() == [1.5, 3.5]
    (shaded,) = display.ax_.patches
    corners = shaded.get_extents().transformed(display.ax_.transData.inverted())
    assert (corners.x0, corners.x1) == pytest.approx((0.5, 2.5))


def test_a_training_without_pretraining_has_no_shaded_epochs():
    display = LossCurveDisplay.from_predictions(HISTORY[2:])
    assert set(display.phases) == {"adversarial training"}
    assert not display.ax_.patches


def test_epochs_without_a_phase_are_training():
    display = LossCurveDisplay.from_predictions(
        [{"train_loss": 1.0}, {"train_loss": 0.5}]
    )
    assert display.phases == ["training", "training"]


def test_terms_are_chosen_by_name():
    display = LossCurveDisplay.from_predictions(HISTORY, terms=["accuracy"])
    assert drawn(display.lines_["accuracy"]) == [[3, 0.5], [4, 0.6]]
    assert display.ax_.get_ylabel() == "value"
    with pytest.raises(
        ValueError, match=r"\['simplex'\] are not in the history.*'separation'"
    ):
        LossCurveDisplay.from_predictions(HISTORY, terms=["separation", "simplex"])


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1e-3, 1.0], "log"),
        ([0.5, 1.0], "linear"),
        ([-1e-3, 1.0], "linear"),
        ([0.0, 1.0], "linear"),
        ([np.nan, np.nan], "linear"),
    ],
)
def test_the_scale_suits_the_values(values, scale):
    display = LossCurveDisplay.from_predictions(
        [{"separation": value} for value in values]
    )
    assert display.ax_.get_yscale() == scale


def test_a_history_without_losses_is_refused():
    with pytest.raises(ValueError, match="no loss to draw in the 0 epochs"):
        LossCurveDisplay.from_predictions([])


def test_all_that_a_network_recorded_is_drawn(fitted):
    _, ax = plt.subplots()
    display = LossCurveDisplay.from_estimator(fitted, ax=ax, linewidth=3)
    assert display.ax_ is ax
    assert display.phases == ["pretraining"] * 5 + ["adversarial training"] * 2
    last = {k: v for k, v in fitted.history_[-1].items() if k in display.lines_}
    assert {
        "separation",
        "simplex",
        "confidence",
        "generator",
        "discriminator",
        "attention",
    } < set(last)
    for term, value in last.items():
        assert drawn(display.lines_[term])[-1] == [7, value]
        assert display.lines_[term].get_linewidth() == 3
    colors = [line.get_color() for line in display.lines_.values()]
    assert len(set(colors)) == len(colors)


def test_estimators_without_a_history_are_refused():
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(EAMCClusterer())
    other = EarlyFusionClusterer(n_clusters=2).fit(np.eye(4))
    with pytest.raises(TypeError, match="EarlyFusionClusterer has no history_"):
        LossCurveDisplay.from_estimator(other)
