"""Fusion finds what modalities share under louder noise of their own."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from mmfusion import EarlyFusionClusterer, LateFusionClusterer
from mmfusion.datasets import make_multimodal_blobs

SEEDS = range(3)


def noisy_blobs(seed, missing_rate=0.0, cluster_std=(3.5, 3.5, 3.5)):
    return make_multimodal_blobs(
        150,
        (8, 8, 8),
        cluster_std=cluster_std,
        n_noise_features=4,
        missing_rate=missing_rate,
        random_state=seed,
    )


def private_clusters(seed):
    """Clusters that modalities share, and in each louder ones of its own."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 150)
    blocks = []
    for _ in range(4):
        own = rng.integers(0, 3, 150)
        centers = rng.normal(0, [[[2.0]], [[2.2]]], size=(2, 3, 4))
        clean = np.hstack([centers[0, y], centers[1, own]])
        blocks.append(clean + rng.normal(size=(150, 8)))
    return blocks, y


def alone(block):
    return EarlyFusionClusterer(KMeans(3, n_init=3), random_state=0).fit([block])


def early(X):
    return EarlyFusionClusterer(KMeans(3, n_init=3), random_state=0).fit(X)


def late(X, **params):
    return LateFusionClusterer(n_clusters=3, n_runs=5, random_state=0, **params).fit(X)


def test_early_and_late_fusion_beat_the_best_modality():
    scores = {"best alone": [], "early": [], "hbgf": [], "vote": []}
    for seed in SEEDS:
        X, y = noisy_blobs(seed)
        each = [adjusted_rand_score(y, alone(b).labels_) for b in X.blocks]
        scores["best alone"].append(max(each))
        scores["early"].append(adjusted_rand_score(y, early(X).labels_))
        for combine in ("hbgf", "vote"):
            labels = late(X, combine=combine).labels_
            scores[combine].append(adjusted_rand_score(y, labels))
    means = {name: np.mean(values) for name, values in scores.items()}
    assert means["early"] > means["best alone"] + 0.15
    assert means["hbgf"] > means["best alone"] + 0.05
    assert means["vote"] > means["best alone"] + 0.05


def test_early_fusion_finds_shared_clusters_under_louder_private_ones():
    single, fused = [], []
    for seed in SEEDS:
        blocks, y = private_clusters(seed)
        single += [adjusted_rand_score(y, alone(b).labels_) for b in blocks]
        fused.append(adjusted_rand_score(y, early(blocks).labels_))
    assert np.mean(fused) > 0.9
    assert np.mean(single) < 0.7


@pytest.mark.parametrize("combine", ["hbgf", "vote", "coassociation"])
def test_late_fusion_recovers_with_30_percent_missing(combine):
    fused, single = [], []
    for seed in SEEDS:
        X, y = noisy_blobs(seed, 0.3, cluster_std=(2.0, 2.5, 3.0))
        fitted = late(X, combine=combine)
        fused.append(adjusted_rand_score(y, fitted.labels_))
        # a modality alone has no clusters of the samples that lack it
        single += [adjusted_rand_score(y, own) for own in fitted.modality_labels_.T]
    assert np.mean(fused) > 0.5
    assert np.mean(fused) > np.mean(single) + 0.1


def test_missing_samples_cost_no_more_than_their_share():
    whole, part = [], []
    for seed in SEEDS:
        X, y = noisy_blobs(seed, 0.0, cluster_std=(2.0, 2.5, 3.0))
        whole.append(adjusted_rand_score(y, late(X).labels_))
        X, y = noisy_blobs(seed, 0.3, cluster_std=(2.0, 2.5, 3.0))
        part.append(adjusted_rand_score(y, late(X).labels_))
    assert np.mean(part) > 0.7 * np.mean(whole)


def test_block_scaling_keeps_a_wide_noise_modality_from_drowning_a_narrow_one():
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    narrow = 4 * np.eye(3)[y] + rng.normal(size=(150, 3))
    blocks = [narrow, rng.normal(size=(150, 500))]
    scores = {}
    for scaling in ("block", "standard"):
        clusterer = EarlyFusionClusterer(
            KMeans(3, n_init=3), scaling=scaling, random_state=0
        )
        scores[scaling] = adjusted_rand_score(y, clusterer.fit(blocks).labels_)
    assert scores["block"] > 0.9
    assert scores["standard"] < 0.5


def test_more_runs_make_a_better_consensus():
    scores = {1: [], 8: []}
    for seed in range(4):
        X, y = noisy_blobs(seed, cluster_std=(4.0, 4.0, 4.0))
        for n_runs in scores:
            clusterer = LateFusionClusterer(n_clusters=3, n_runs=n_runs, random_state=0)
            scores[n_runs].append(adjusted_rand_score(y, clusterer.fit_predict(X)))
    assert np.mean(scores[8]) > np.mean(scores[1])


@pytest.mark.parametrize("combine", ["hbgf", "vote", "soft_vote", "coassociation"])
def test_new_samples_are_assigned_as_well_as_old_ones(combine):
    X, y = make_multimodal_blobs(
        200, (4, 4), cluster_std=1.0, missing_rate=0.2, random_state=0
    )
    fitted = late(X[:100], combine=combine)
    assert adjusted_rand_score(y[100:], fitted.predict(X[100:])) > 0.9
    np.testing.assert_array_equal(fitted.predict(X[:100]), fitted.labels_)
