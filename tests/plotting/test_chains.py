"""Posteriors and decoded states of chains, and the reliability of modalities."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from mmfusion import HMMClassifier, HMMClusterer, HMMTransformer, Modalities
from mmfusion.alignment import HMMAligner
from mmfusion.base import ModalityMixin
from mmfusion.datasets import make_multimodal_sequences
from mmfusion.plotting import ReliabilityDisplay, StatePosteriorDisplay

POSTERIORS = {
    "audio": np.array([[0.9, 0.1], [0.4, 0.6], [0.0, 1.0]]),
    "video": np.array([[0.2, 0.3, 0.5]] * 3),
}
STATES = {"audio": np.array([0, 1, 1]), "video": np.array([2, -1, 2])}


class Chains(ModalityMixin, BaseEstimator):
    """Stand-in for a model of chains, with results that depend on the sample."""

    modalities = None

    def fit(self, X, y=None):
        self.modality_names_in_ = np.array(Modalities(X).names)
        return self

    def _each(self, X, values):
        sequences = X[X.names[0]]
        block = np.empty(len(X), dtype=object)
        for i, frames in enumerate(sequences):
            block[i] = None if frames is None else values(frames)
        return {"state": block}

    def state_posteriors(self, X):
        return self._each(X, lambda frames: np.full((len(frames), 2), 0.5))

    def decode(self, X):
        return self._each(X, lambda frames: np.zeros(len(frames), int))

    def reliability(self, X):
        found = self._each(X, lambda frames: np.linspace(0, 1, len(frames)))
        return {X.names[0]: found["state"]}


SAMPLES = Modalities([[np.ones((3, 1)), np.ones((5, 1)), None]], names=["audio"])


def test_each_chain_has_a_row_for_each_state():
    display = StatePosteriorDisplay.from_predictions(POSTERIORS, STATES)
    assert [ax.get_ylabel() for ax in display.axes_] == ["audio", "video"]
    for name, image in display.images_.items():
        np.testing.assert_array_equal(image.get_array(), POSTERIORS[name].T)
        assert image.get_clim() == (0, 1)
    display.figure_.canvas.draw()


def test_decoded_states_lie_on_their_rows_with_gaps_where_there_is_none():
    display = StatePosteriorDisplay.from_predictions(POSTERIORS, STATES)
    np.testing.assert_array_equal(display.lines_["audio"].get_ydata(), [0, 1, 1])
    np.testing.assert_array_equal(display.lines_["video"].get_ydata(), [2, np.nan, 2])


def test_one_chain_is_drawn_on_one_given_axes():
    _, ax = plt.subplots()
    display = StatePosteriorDisplay.from_predictions(
        POSTERIORS["audio"], ax=ax, cmap="Reds", vmax=0.5
    )
    assert display.axes_.tolist() == [ax]
    assert display.lines_ == {}
    (image,) = display.images_.values()
    assert image.get_cmap().name == "Reds"
    assert image.get_clim() == (0, 0.5)


def test_a_sample_of_an_estimator_is_drawn():
    fitted = Chains().fit(SAMPLES)
    display = StatePosteriorDisplay.from_estimator(fitted, SAMPLES, sample=1)
    assert display.posteriors["state"].shape == (5, 2)
    assert display.states["state"].tolist() == [0] * 5
    curve = ReliabilityDisplay.from_estimator(fitted, SAMPLES, sample=-2)
    np.testing.assert_array_equal(curve.reliability["audio"], np.linspace(0, 1, 5))


def test_only_observed_samples_of_a_fitted_model_are_drawn():
    fitted = Chains().fit(SAMPLES)
    for display in (StatePosteriorDisplay, ReliabilityDisplay):
        with pytest.raises(ValueError, match="sample 2 lacks all modalities"):
            display.from_estimator(fitted, SAMPLES, sample=2)
        with pytest.raises(ValueError, match=r"sample is 3; .* of the 3 samples"):
            display.from_estimator(fitted, SAMPLES, sample=3)
        with pytest.raises(NotFittedError):
            display.from_estimator(Chains(), SAMPLES)


def test_modalities_of_one_length_share_the_axis_of_frames():
    display = ReliabilityDisplay.from_predictions({"a": [1, 0.5], "b": [0, np.nan]})
    assert display.axes_[-1].get_xlabel() == "frame"
    np.testing.assert_array_equal(display.lines_["b"].get_data(), [[0, 1], [0, np.nan]])


def test_modalities_of_other_lengths_are_drawn_over_relative_time():
    display = ReliabilityDisplay.from_predictions({"a": [1, 0.5], "b": [0.25]}, c="k")
    assert display.axes_[-1].get_xlabel() == "relative time"
    assert display.lines_["a"].get_xdata().tolist() == [0.25, 0.75]
    assert display.lines_["b"].get_xdata().tolist() == [0.5]
    assert display.lines_["b"].get_color() == "k"
    display.figure_.canvas.draw()


MODELS = {
    "HMMClassifier": lambda: HMMClassifier(2, cv=2),
    "HMMClusterer": lambda: HMMClusterer(2, n_states=2, n_init=1, random_state=0),
    "HMMTransformer": lambda: HMMTransformer(2, n_init=1, random_state=0),
    "HMMAligner": lambda: HMMAligner(3),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_models_of_chains_have_what_is_drawn(make):
    X, _, _ = make_multimodal_sequences(6, {"audio": 2, "video": 3}, random_state=0)
    fitted = make().fit(X, np.arange(6) % 2)
    states = StatePosteriorDisplay.from_estimator(fitted, X, sample=1)
    for name, table in states.posteriors.items():
        np.testing.assert_allclose(table.sum(axis=1), 1)
        assert len(states.states[name]) == len(table)
    curves = ReliabilityDisplay.from_estimator(fitted, X, sample=1).reliability
    assert {name: len(own) for name, own in curves.items()} == {
        name: len(X[name][1]) for name in X.names
    }
