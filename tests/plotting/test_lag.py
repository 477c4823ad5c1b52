"""LagDisplay: what it draws of a product of chains."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from mmfusion import HMMAligner, ProductHMMAligner
from mmfusion.datasets import make_audio_visual_sequences
from mmfusion.plotting import LagDisplay, ReliabilityDisplay, StatePosteriorDisplay


def test_the_lag_of_a_sample_is_drawn():
    X, _, _ = make_audio_visual_sequences(8, n_states=4, random_state=0)
    aligner = ProductHMMAligner(4).fit(X)
    display = LagDisplay.from_estimator(aligner, X, sample=3, color="red")
    np.testing.assert_allclose(display.line_.get_ydata(), aligner.lag_[3])
    assert display.line_.get_color() == "red"
    assert display.names == ("audio", "video")
    lacking, _, _ = make_audio_visual_sequences(
        8, n_states=4, missing_rate=0.5, random_state=0
    )
    with pytest.raises(ValueError, match="sample 0 lacks a modality"):
        LagDisplay.from_estimator(aligner, lacking)
    with pytest.raises(TypeError, match="ProductHMMAligner"):
        LagDisplay.from_estimator(HMMAligner(4).fit(X), X)
    with pytest.raises(NotFittedError):
        LagDisplay.from_estimator(ProductHMMAligner(), X)


@pytest.mark.parametrize("cls", [HMMAligner, ProductHMMAligner])
def test_states_and_reliability_of_aligners_are_drawn(cls):
    X, _, _ = make_audio_visual_sequences(8, n_states=4, random_state=0)
    aligner = cls(4).fit(X)
    display = StatePosteriorDisplay.from_estimator(aligner, X, sample=1)
    states = aligner.decode(X)["video"][1]
    np.testing.assert_array_equal(display.states["video"], states)
    curves = ReliabilityDisplay.from_estimator(aligner, X, sample=1)
    assert list(curves.lines_) == ["audio", "video"]
