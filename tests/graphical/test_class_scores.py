"""Temperatures and weights of modalities from held-out class scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from mmfusion.graphical._class_scores import discriminative_weights, fit_temperature


def _draw(logits, rng):
    return np.array([rng.choice(logits.shape[1], p=p) for p in softmax(logits, axis=1)])


@pytest.mark.parametrize("temperature", [0.01, 3.0, 400.0])
def test_the_temperature_of_drawn_classes_is_found(temperature):
    rng = np.random.default_rng(0)
    logits = 2 * rng.standard_normal((3000, 4))
    y = _draw(logits, rng)
    fitted = fit_temperature(logits * temperature, y)
    assert fitted == pytest.approx(temperature, rel=0.1)


def test_the_temperature_knows_the_prior_and_the_weights_of_samples():
    rng = np.random.default_rng(1)
    logits = 2 * rng.standard_normal((400, 3))
    prior = np.log([0.7, 0.2, 0.1])
    y = _draw(logits + prior, rng)
    repeats = rng.integers(0, 3, 400)
    weighted = fit_temperature(5 * logits, y, log_prior=prior, sample_weight=repeats)
    rows = np.repeat(np.arange(400), repeats)
    copied = fit_temperature(5 * logits[rows], y[rows], log_prior=prior)
    assert weighted == pytest.approx(5, rel=0.25)
    assert weighted == pytest.approx(copied, rel=1e-2)


def test_scores_that_separate_or_exclude_classes_have_a_finite_temperature():
    y = np.arange(20) % 2
    scores = np.where(np.eye(2)[y] == 1, 0.0, -500.0)
    fitted = fit_temperature(scores, y)
    share = 1 / 21  # of the targets, spread over both classes
    expected = softmax(scores / fitted, axis=1)[np.arange(20), y]
    assert expected == pytest.approx(np.full(20, 1 - share / 2), rel=1e-4)
    scores[3, 1 - y[3]] = -np.inf
    scores[4, y[4]] = -np.inf
    assert np.isfinite(fit_temperature(scores, y))
    assert fit_temperature(np.zeros((20, 2)), y) == 1.0


def test_weights_favour_the_modality_that_predicts():
    rng = np.random.default_rng(2)
    logits = 3 * rng.standard_normal((600, 3))
    y = _draw(logits, rng)
    scores = {"good": 50 * logits, "noise": 150 * rng.standard_normal((600, 3))}
    weights = discriminative_weights(scores, y)
    assert sum(weights.values()) == pytest.approx(2)
    assert weights["good"] > 1.8
    swapped = discriminative_weights(dict(reversed(scores.items())), y)
    assert swapped["good"] == pytest.approx(weights["good"], abs=0.05)


def test_weights_raise_the_conditional_likelihood_of_held_out_samples():
    rng = np.random.default_rng(3)
    logits = 3 * rng.standard_normal((800, 4))
    y = _draw(logits, rng)
    scores = {
        "a": 20 * (logits + rng.standard_normal((800, 4))),
        "b": 20 * (logits + 6 * rng.standard_normal((800, 4))),
    }
    weights = discriminative_weights({k: s[:400] for k, s in scores.items()}, y[:400])

    def likelihood(own):
        total = sum(own[name] * scores[name] for name in scores)
        inverse = 1 / fit_temperature(total[:400], y[:400])
        return log_softmax(total[400:] * inverse, axis=1)[np.arange(400), y[400:]].sum()

    assert likelihood(weights) > likelihood({"a": 1.0, "b": 1.0}) + 10


def test_one_modality_has_weight_one():
    assert discriminative_weights({"a": np.eye(3)}, np.arange(3)) == {"a": 1.0}
