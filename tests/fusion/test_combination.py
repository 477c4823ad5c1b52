"""Pools, weights and calibration against slow references, and at their limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss

from mmfusion.fusion.combination import (
    _calibration,
    _opinion_pools,
    _predictor_weights,
    _sample_weights,
)

SEEDS = st.integers(0, 2**16)


def opinions(seed, n_branches=4, n_samples=12, n_classes=3):
    """Probabilities, and weights of which a third is 0."""
    rng = np.random.default_rng(seed)
    predictions = rng.dirichlet(np.ones(n_classes), (n_branches, n_samples))
    weights = rng.random((n_samples, n_branches))
    weights *= rng.random(weights.shape) > 1 / 3
    weights[~weights.any(axis=1), 0] = 1.0
    return predictions, weights


@given(SEEDS)
def test_the_mean_is_the_weighted_mean_of_predictions(seed):
    predictions, weights = opinions(seed)
    expected = [
        np.average(predictions[:, i], axis=0, weights=weights[i])
        for i in range(len(weights))
    ]
    np.testing.assert_allclose(
        _opinion_pools.weighted_mean(predictions, weights), expected
    )


@given(SEEDS)
def test_votes_are_counted(seed):
    predictions, weights = opinions(seed)
    shares = _opinion_pools.weighted_mean(_opinion_pools.votes(predictions), weights)
    for i, row in enumerate(shares):
        count = np.zeros(3)
        for v in range(4):
            count[np.argmax(predictions[v, i])] += weights[i, v]
        np.testing.assert_allclose(row, count / count.sum())


@given(SEEDS)
def test_the_log_pool_is_the_product_over_the_prior(seed):
    predictions, weights = opinions(seed)
    prior = np.array([0.5, 0.3, 0.2])
    pooled = _opinion_pools.log_opinion_pool(predictions, weights, prior)
    for i, row in enumerate(pooled):
        product = prior.copy()
        for v in range(4):
            product *= (np.maximum(predictions[v, i], 1e-6) / prior) ** weights[i, v]
        np.testing.assert_allclose(row, product / product.sum(), rtol=1e-9)


def test_the_log_pool_of_independent_gaussians_is_the_posterior():
    rng = np.random.default_rng(0)
    prior, means = np.array([0.7, 0.3]), np.array([-1.0, 1.0])
    x = rng.normal(size=(2, 50))
    likelihoods = norm.pdf(x[:, :, None], means)
    predictions = likelihoods * prior
    predictions /= predictions.sum(axis=2, keepdims=True)
    exact = prior * likelihoods.prod(axis=0)
    exact /= exact.sum(axis=1, keepdims=True)
    pooled = _opinion_pools.log_opinion_pool(predictions, np.ones((50, 2)), prior)
    np.testing.assert_allclose(pooled, exact, rtol=1e-6)


def test_the_log_pool_of_nothing_is_the_prior():
    predictions, weights = opinions(0)
    prior = np.array([0.5, 0.3, 0.2])
    pooled = _opinion_pools.log_opinion_pool(predictions, np.zeros_like(weights), prior)
    np.testing.assert_allclose(pooled, np.tile(prior, (12, 1)))


def test_a_class_that_cannot_be_stays_so_in_the_log_pool():
    predictions, weights = opinions(0)
    pooled = _opinion_pools.log_opinion_pool(
        predictions, weights, np.array([0.6, 0.4, 0.0])
    )
    np.testing.assert_array_equal(pooled[:, 2], 0)


@given(SEEDS, st.integers(1, 6))
def test_the_median_with_equal_weights_is_the_median_of_observed_predictions(
    seed, n_branches
):
    rng = np.random.default_rng(seed)
    predictions = rng.integers(0, 4, (n_branches, 20, 2)).astype(float)  # with ties
    observed = rng.random((20, n_branches)) > 0.3
    observed[~observed.any(axis=1), 0] = True
    medians = _opinion_pools.weighted_median(predictions, observed * 0.7)
    expected = [np.median(predictions[observed[i], i], axis=0) for i in range(20)]
    np.testing.assert_allclose(medians, expected)


@given(SEEDS)
def test_a_weight_of_the_median_counts_copies(seed):
    rng = np.random.default_rng(seed)
    predictions = rng.normal(size=(3, 10, 1))
    counts = rng.integers(0, 4, (10, 3)) + np.eye(3, dtype=int)[0]
    medians = _opinion_pools.weighted_median(predictions, counts.astype(float))
    for i, median in enumerate(medians):
        copies = np.repeat(predictions[:, i, 0], counts[i])
        assert median[0] == pytest.approx(np.median(copies))


def test_minimum_variance_weights_have_the_least_variance_for_every_pattern():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(3, 3))
    covariance = root @ root.T
    observed = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], dtype=bool)
    weights = _opinion_pools.minimum_variance_weights(covariance, observed)
    np.testing.assert_array_equal(weights[~observed], 0)
    for row, seen in zip(weights[:3], observed[:3], strict=True):
        assert row.sum() == pytest.approx(1)
        for _ in range(50):
            other = rng.normal(size=3) * seen
            other += (1 - other.sum()) / seen.sum() * seen
            assert row @ covariance @ row <= other @ covariance @ other + 1e-12


def test_the_error_covariance_is_recovered_with_gaps():
    rng = np.random.default_rng(0)
    true = np.array([[1.0, 0.5, 0.0], [0.5, 2.0, 0.2], [0.0, 0.2, 0.5]])
    errors = rng.multivariate_normal(np.zeros(3), true, 20000).T[:, :, None]
    observed = rng.random((20000, 3)) > 0.3
    errors[~observed.T] = 1e9  # not to be looked at
    found = _predictor_weights.error_covariance(errors, observed)
    np.testing.assert_allclose(found, true, atol=0.06)


def test_copies_of_one_predictor_share_its_weight():
    rng = np.random.default_rng(0)
    own = rng.normal(size=(2, 500, 1))
    errors = own[[0, 0, 1]]  # equal variances
    covariance = _predictor_weights.error_covariance(errors, np.ones((500, 3), bool))
    everything = np.ones((1, 3), dtype=bool)
    weights = _opinion_pools.minimum_variance_weights(covariance, everything)[0]
    assert weights[0] == pytest.approx(weights[1])
    assert weights[2] == pytest.approx(0.5, abs=0.05)


def test_an_error_covariance_from_two_samples_can_be_inverted():
    errors = np.random.default_rng(0).normal(size=(5, 2, 1))
    covariance = _predictor_weights.error_covariance(errors, np.ones((2, 5), bool))
    assert np.linalg.eigvalsh(covariance)[0] > 0


def test_missing_stacking_features_are_filled_and_indicated():
    predictions, _ = opinions(0, n_branches=2, n_samples=3)
    observed = np.array([[1, 1], [1, 0], [0, 1]], dtype=bool)
    default = np.array([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    inputs = _opinion_pools.stacking_features(
        predictions, observed, default, np.array([True, False])
    )
    assert inputs.shape == (3, 7)
    np.testing.assert_array_equal(
        inputs[0], [*predictions[0, 0], *predictions[1, 0], 0]
    )
    np.testing.assert_array_equal(inputs[1], [*predictions[0, 1], *default[1], 0])
    np.testing.assert_array_equal(inputs[2], [*default[0], *predictions[1, 2], 1])


# Weights


def test_qualities_become_weights_of_mean_one_and_none_is_silent():
    weights = _predictor_weights.normalised_weights(np.array([3.0, 1.0, 0.0, -5.0]))
    assert weights.mean() == pytest.approx(1)
    assert weights[0] == pytest.approx(3 * weights[1])
    assert weights[2] == weights[3] == pytest.approx(weights[0] / 1000)


def test_skill_is_the_share_of_the_loss_avoided():
    assert _predictor_weights.skill(0.0, 2.0) == 1
    assert _predictor_weights.skill(0.5, 2.0) == 0.75
    assert _predictor_weights.skill(3.0, 2.0) == 0
    assert _predictor_weights.skill(0.0, 0.0) == 1


def test_confidence_falls_from_certainty_to_ignorance():
    predictions = np.array(
        [[1.0, 0, 0], [0.9, 0.1, 0], [0.5, 0.5, 0], [1 / 3, 1 / 3, 1 / 3]]
    )
    found = _sample_weights.certainty(predictions)
    assert found[0] == pytest.approx(1, abs=1e-4)
    assert np.all(np.diff(found) < 0)
    assert found[-1] == pytest.approx(0.001)


def test_conformal_p_values_are_uniform_for_samples_like_those_of_fit():
    rng = np.random.default_rng(0)
    reference = _sample_weights.fit_reference(rng.normal(size=(1000, 3)))
    p_values = reference.p_values(rng.normal(size=(2000, 3)))
    for level in (0.05, 0.2, 0.5):
        assert np.mean(p_values <= level) == pytest.approx(level, abs=0.04)
    assert reference.p_values(np.full((1, 3), 20.0))[0] == pytest.approx(1 / 1001)


def test_only_the_unlike_lose_weight():
    rng = np.random.default_rng(0)
    reference = _sample_weights.fit_reference(rng.normal(size=(500, 3)))
    like, unlike = rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) * 8
    assert reference.conformal_weights(like).mean() > 0.95
    assert reference.conformal_weights(unlike).mean() < 0.3
    assert reference.distance_weights(like).mean() > 0.7
    assert reference.distance_weights(unlike).mean() < 0.1


# Calibration


def test_a_sigmoid_undoes_too_much_certainty():
    rng = np.random.default_rng(0)
    truth = (rng.random(4000) < 0.5).astype(int)
    x = rng.normal(size=4000) + truth
    certain = 1 / (1 + np.exp(-5 * (x - 0.5)))  # the posterior has slope 1
    predictions = np.column_stack([1 - certain, certain])
    scores, rows = _calibration.log_odds(predictions), np.eye(2)[truth]
    calibrator = _calibration.fit_calibrator(scores, rows, "sigmoid")
    calibrated = calibrator.apply(scores)
    assert calibrator.maps[0].slope == pytest.approx(1 / 5, rel=0.1)
    assert log_loss(truth, calibrated) < log_loss(truth, predictions)


class Scores(ClassifierMixin, BaseEstimator):
    """Gives decision values as they come."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        return X if X.shape[1] > 2 else X[:, 1]

    def predict(self, X):
        return self.classes_[X.argmax(axis=1)]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration_is_that_of_sklearn(n_classes, method):
    rng = np.random.default_rng(0)
    y = rng.integers(0, n_classes, 300)
    scores = 3 * np.eye(n_classes)[y] + rng.normal(size=(300, n_classes))
    inner = Scores().fit(scores, y)
    theirs = CalibratedClassifierCV(FrozenEstimator(inner), method=method)
    ours = _calibration.fit_calibrator(scores, np.eye(n_classes)[y], method)
    np.testing.assert_allclose(
        ours.apply(scores), theirs.fit(scores, y).predict_proba(scores), atol=1e-3
    )
