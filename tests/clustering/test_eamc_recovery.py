"""EAMC finds the clusters that modalities share."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from mmfusion import Modalities
from mmfusion.datasets import make_multimodal_blobs

from .small import small

ENOUGH = {"pretrain_epochs": 20, "max_epochs": 5, "n_init": 2}


@pytest.mark.parametrize("seed", range(2))
def test_clusters_that_modalities_share_are_found(seed):
    X, y = make_multimodal_blobs(
        150, (8, 5), centers=3, cluster_std=1.5, random_state=seed
    )
    labels = small(**ENOUGH, random_state=seed).fit_predict(X)
    assert adjusted_rand_score(y, labels) > 0.95


def test_a_third_modality_of_pure_noise_does_not_hide_them():
    X, y = make_multimodal_blobs(
        150, {"audio": 8, "video": 5}, centers=3, cluster_std=1.5, random_state=0
    )
    noise = np.random.default_rng(0).normal(scale=10, size=(150, 20))
    fitted = small(**ENOUGH).fit(X.to_dict() | {"noise": noise})
    assert adjusted_rand_score(y, fitted.labels_) > 0.9


def test_clusters_that_no_modality_separates_alone_are_found():
    near, far = [0.0, 0.0], [10.0, 10.0]
    centers = {"audio": [near, far, far], "video": [near, near, far]}
    X, y = make_multimodal_blobs(150, centers=centers, random_state=0)
    labels = small(**ENOUGH).fit_predict(X)
    assert adjusted_rand_score(y, labels) > 0.95
    alone = small(**ENOUGH).fit_predict(X["audio"])
    assert adjusted_rand_score(y, alone) < 0.8


def test_scale_and_offset_of_a_modality_do_not_matter():
    X, y = make_multimodal_blobs(150, {"audio": 8, "video": 5}, random_state=0)
    turned = Modalities({"audio": X["audio"] * 1e4, "video": X["video"] * 1e-4 + 3})
    labels = small(**ENOUGH).fit_predict(turned)
    assert adjusted_rand_score(y, labels) > 0.95


def test_one_modality_alone_is_clustered():
    X, y = make_multimodal_blobs(150, (8,), random_state=0)
    fitted = small(**ENOUGH).fit(X)
    assert adjusted_rand_score(y, fitted.labels_) > 0.95
    assert fitted.attention_weights_.tolist() == [1.0]
    assert not {"attention", "generator"} & set(fitted.history_[-1])


def test_attention_weights_fall_with_the_noise_of_a_modality():
    weights = []
    for seed in range(3):
        X, _ = make_multimodal_blobs(150, {"clean": 8}, random_state=seed)
        noise = np.random.default_rng(seed).normal(size=(2, 150, 8))
        clean, spread = X["clean"], X["clean"].std()
        noisy = {"noisy": clean + 0.7 * spread * noise[0]}
        noisier = {"noisier": clean + 3 * spread * noise[1]}
        fitted = small(
            pretrain_epochs=20,
            max_epochs=40,
            attention_temperature=0.25,
            random_state=seed,
        ).fit({"clean": clean} | noisy | noisier)
        weights.append(fitted.attention_weights_)
    clean, noisy, noisier = np.mean(weights, axis=0)
    assert clean > 1.5 * noisy > 2 * noisier
    # far from the bound exp(4) on the ratio of two weights: they show a degree
    assert all(max(own) < 20 * min(own) for own in weights)
