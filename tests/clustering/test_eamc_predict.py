"""Outputs of a fitted EAMC for a sample do not depend on the other samples."""

import numpy as np
import pytest

from mmfusion.datasets import make_multimodal_blobs

from .small import X, small


@pytest.fixture(scope="module")
def fitted():
    return small().fit(X)


def test_one_sample_is_predicted_as_within_a_batch(fitted):
    together = fitted.predict_proba(X)
    labels = fitted.predict(X)
    for i in (0, 57, 119):
        one = X[i : i + 1]
        np.testing.assert_allclose(
            fitted.predict_proba(one)[0], together[i], rtol=1e-9, atol=1e-12
        )
        assert fitted.predict(one) == labels[i]


def test_memberships_add_up_to_one_and_are_highest_in_the_cluster(fitted):
    proba = fitted.predict_proba(X)
    assert proba.shape == (120, 3)
    assert proba.min() >= 0
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_array_equal(proba.argmax(axis=1), fitted.predict(X))


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_the_predictions_of_the_training_data(seed):
    # hardly trained on noise: many samples lie close to a border
    noise = np.random.default_rng(seed).normal(size=(500, 20))
    hardly = small(max_epochs=1, pretrain_epochs=1, random_state=seed)
    labels = hardly.fit_predict([noise, noise**2])
    np.testing.assert_array_equal(labels, hardly.labels_)
    np.testing.assert_array_equal(labels, hardly.predict([noise, noise**2]))


def test_fused_latents_have_the_width_of_the_encoders(fitted):
    fused = fitted.transform(X)
    assert fused.shape == (120, 8)
    assert fused.min() >= 0  # weighted sums of what ReLU lets through
    names = list(fitted.get_feature_names_out())
    assert names == [f"eamcclusterer{j}" for j in range(8)]
    np.testing.assert_allclose(small().fit_transform(X), fused)


def test_attention_weights_add_up_to_one_and_are_frozen(fitted):
    weights = fitted.attention_weights_.copy()
    assert weights.shape == (2,)
    assert weights.min() > 0
    assert weights.sum() == pytest.approx(1)
    fitted.predict(X[:10])
    np.testing.assert_array_equal(fitted.attention_weights_, weights)


def test_the_score_separates_clusters_from_noise(fitted):
    noise, _ = make_multimodal_blobs(
        120, {"audio": 4, "video": 6}, centers=1, random_state=0
    )
    assert fitted.score(X) > 0.3 > small().fit(noise).score(noise)
