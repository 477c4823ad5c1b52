"""LabelTracksDisplay: labels of frames, one track below another."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from mmfusion import CRFLabeler
from mmfusion.alignment import CTCAligner
from mmfusion.plotting import LabelTracksDisplay

RNG = np.random.default_rng(0)
Y = [np.repeat(["sit", "run"], 6), np.repeat(["run", "sit"], [4, 9])]
X = {"wrist": [(y == "run")[:, None] + 0.1 * RNG.normal(size=(len(y), 1)) for y in Y]}


def bars(display, name):
    return [(b.get_x(), b.get_x() + b.get_width()) for b in display.bars_[name]]


def test_known_labels_are_above_those_predicted():
    labeler = CRFLabeler(C=10).fit(X, Y)
    display = LabelTracksDisplay.from_estimator(labeler, X, Y, sample=1)
    assert list(display.spans) == ["known", "predicted"]
    assert bars(display, "known") == [(0, 4), (4, 13)]
    assert display.labels["known"] == ["run", "sit"]
    predicted = labeler.predict(X)[1]
    drawn = np.repeat(
        display.labels["predicted"],
        np.diff(display.spans["predicted"], axis=1)[:, 0].astype(int),
    )
    np.testing.assert_array_equal(drawn, predicted)
    known = display.bars_["known"]
    assert known[0].get_y() < display.bars_["predicted"][0].get_y()
    assert known[0].get_facecolor() != known[1].get_facecolor()
    assert [t.get_text() for t in display.legend_.get_texts()] == ["run", "sit"]
    alone = LabelTracksDisplay.from_estimator(labeler, X)
    assert list(alone.spans) == ["predicted"]


def test_tracks_have_one_time_axis():
    display = LabelTracksDisplay.from_predictions(
        {"fast": list("aabb"), "slow": ["a", None], "none": [None, np.nan]}, alpha=0.5
    )
    assert bars(display, "fast") == [(0, 2), (2, 4)]
    assert bars(display, "slow") == [(0, 2)]
    assert bars(display, "none") == []
    fast, slow = display.bars_["fast"], display.bars_["slow"]
    assert fast[0].get_facecolor() == slow[0].get_facecolor()
    assert fast[0].get_alpha() == 0.5
    assert display.ax_.get_xlim() == (0, 4)
    ticks = [t.get_text() for t in display.ax_.get_yticklabels()]
    assert ticks == ["fast", "slow", "none"]


def test_spans_of_aligners_are_tracks():
    table = np.full((7, 3), 0.05)
    table[np.arange(7), [0, 1, 1, 0, 2, 2, 0]] = 0.9
    data = {"network": [np.log(table)], "ids": [[1, 2]]}
    found = CTCAligner().fit(data).align(data)[0]
    display = LabelTracksDisplay.from_predictions(
        {"known": [None, 1, 1, 1, 2, 2, 2], "aligned": found}
    )
    assert bars(display, "aligned") == [(1, 3), (4, 6)]
    assert display.labels["aligned"] == ["1", "2"]
    at_twice_the_rate = {"known": [0] * 14, "aligned": found}
    display = LabelTracksDisplay.from_predictions(at_twice_the_rate)
    assert bars(display, "aligned") == [(2, 6), (8, 12)]


def test_what_cannot_be_drawn():
    with pytest.raises(NotFittedError):
        LabelTracksDisplay.from_estimator(CRFLabeler(), X)
    labeler = CRFLabeler().fit(X, Y)
    with pytest.raises(ValueError, match="y has labels of 1 samples, and X has 2"):
        LabelTracksDisplay.from_estimator(labeler, X, Y[:1])
    with pytest.raises(ValueError, match="one of the 2 samples"):
        LabelTracksDisplay.from_estimator(labeler, X, sample=2)
    with pytest.raises(TypeError, match="such as CRFLabeler"):
        LabelTracksDisplay.from_estimator(CTCAligner().fit([np.eye(3)]), X)
    alone = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(TypeError, match="one label for each sample"):
        LabelTracksDisplay.from_estimator(alone, np.eye(4)[:, :1])
    with pytest.raises(TypeError, match="tracks is a list"):
        LabelTracksDisplay.from_predictions([["a", "b"]])
    with pytest.raises(TypeError, match=r"tracks\['x'\] is a str"):
        LabelTracksDisplay.from_predictions({"x": "abc"})
    with pytest.raises(ValueError, match="nothing to draw"):
        LabelTracksDisplay.from_predictions({"x": [None]})
