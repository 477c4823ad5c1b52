"""Qualities of a modality's clusterings, against loops."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score, silhouette_score

from mmfusion import LateFusionClusterer, Modalities
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.fusion.combination import _clustering_quality, _clusterings

from . import slow_consensus as slow

QUALITIES = ["agreement", "inverse_variance", "silhouette", "stability"]


def clustered(n_samples=40, n_runs=3, noise=0.2, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.arange(n_samples) % 3
    block = 3 * np.eye(3)[truth] + rng.normal(size=(n_samples, 3)) + shift
    labels = np.column_stack([truth] * n_runs)
    wrong = rng.random(labels.shape) < noise
    labels[wrong] = rng.integers(0, 3, wrong.sum())
    return block, labels


def within_by_loops(block, labels):
    """Squared distances to cluster means; to the mean of all for samples in none."""
    left = 0.0
    for x, label in zip(block, labels, strict=True):
        cluster = block if label < 0 else block[labels == label]
        left += ((x - cluster.mean(axis=0)) ** 2).sum()
    return left


@pytest.mark.parametrize("chunk_rows", [2**15, 7])
@pytest.mark.parametrize("shift", [0, 100])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_inverse_variance_is_total_over_within(shift, kind, chunk_rows, monkeypatch):
    monkeypatch.setattr(_clusterings, "CLUSTERING_CHUNK_ROWS", chunk_rows)
    block, labels = clustered(shift=shift)
    total = ((block - block.mean(axis=0)) ** 2).sum()
    expected = np.mean([total / within_by_loops(block, run) for run in labels.T])
    found = _clustering_quality.inverse_variance(kind(block), labels)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0, 100])
def test_samples_in_no_cluster_are_not_explained(shift):
    block, labels = clustered(shift=shift, n_runs=1, noise=0)
    labels[::5] = -1
    found = _clustering_quality.inverse_variance(block, labels)
    total = ((block - block.mean(axis=0)) ** 2).sum()
    means = [block[labels[:, 0] == c].mean(axis=0) for c in range(3)]
    between = sum(
        ((means[c] - block.mean(axis=0)) ** 2).sum() for c in labels[labels >= 0]
    )
    assert found == pytest.approx(total / (total - between))
    assert _clustering_quality.inverse_variance(block, np.full((40, 1), -1)) == 1


def test_inverse_variance_is_one_where_nothing_varies_and_finite_where_all_does():
    labels = np.array([[0], [0], [1], [1]])
    assert _clustering_quality.inverse_variance(np.full((4, 2), 3.0), labels) == 1
    exact = _clustering_quality.inverse_variance(labels.astype(float), labels)
    assert 1e5 < exact < np.inf


def test_inverse_variance_is_the_inverse_noise_variance():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 20_000)
    for noise in (0.3, 1.0):
        block = (2 * truth - 1 + noise * rng.normal(size=20_000))[:, None]
        share = noise**2 / (1 + noise**2)
        found = _clustering_quality.inverse_variance(block, truth[:, None])
        assert found == pytest.approx(1 / share, rel=0.03)


def test_stability_is_the_mean_rand_index_of_pairs_of_runs():
    _, labels = clustered(n_runs=4)
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    scores = [adjusted_rand_score(labels[:, r], labels[:, s]) for r, s in pairs]
    assert _clustering_quality.stability(labels) == pytest.approx(np.mean(scores))


def test_stability_is_one_for_equal_runs_and_never_negative():
    run = np.arange(20) % 3
    assert _clustering_quality.stability(np.column_stack([run, (run + 1) % 3])) == 1
    opposed = np.column_stack([[0, 0, 1, 1], [0, 1, 0, 1]])
    assert adjusted_rand_score(*opposed.T) < 0
    assert _clustering_quality.stability(opposed) == 0


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_silhouette_is_that_of_sklearn_over_runs(kind):
    block, labels = clustered()
    labels[:, 2] = 0  # one cluster: no clusters are distinguished
    found = _clustering_quality.silhouette(
        kind(block), labels, np.random.RandomState(0)
    )
    scores = [silhouette_score(block, labels[:, r]) for r in (0, 1)]
    assert found == pytest.approx(sum(scores) / 3)


def test_silhouette_of_a_draw_is_near_that_of_all(monkeypatch):
    block, labels = clustered(300, noise=0)
    whole = _clustering_quality.silhouette(block, labels, np.random.RandomState(0))
    monkeypatch.setattr(_clustering_quality, "QUALITY_SILHOUETTE_ROWS", 100)
    part = _clustering_quality.silhouette(block, labels, np.random.RandomState(0))
    assert part != whole
    assert part == pytest.approx(whole, abs=0.1)


def test_silhouette_is_zero_where_clusters_are_worse_than_none():
    block = np.array([[0.0], [1.0], [0.1], [1.1]])
    labels = np.array([[0], [0], [1], [1]])
    assert _clustering_quality.silhouette(block, labels, np.random.RandomState(0)) == 0


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_agreement_is_the_mean_information_with_runs_of_other_modalities(missing):
    base, _ = slow.noisy_base(sizes=(3, 3, 4, 3, 2, 3), missing=missing)
    modality = np.array([0, 0, 1, 1, 1, 2])
    information = slow.information(base)
    expected = [
        np.mean([information[r, s] for r in range(6) for s in range(6)
                 if modality[r] == v != modality[s]])
        for v in range(3)
    ]  # fmt: skip
    found = _clustering_quality.agreement_with_others(
        _clusterings.mutual_information_between(base), modality
    )
    np.testing.assert_allclose(found, expected)


def test_a_lone_modality_agrees_with_itself():
    base, _ = slow.noisy_base()
    found = _clustering_quality.agreement_with_others(
        _clusterings.mutual_information_between(base), np.zeros(4, dtype=int)
    )
    np.testing.assert_array_equal(found, [1])


# In LateFusionClusterer


def blobs_and_noise(seed, n_samples=150):
    X, y = make_multimodal_blobs(n_samples, (6, 6), cluster_std=1.0, random_state=seed)
    noise = np.random.default_rng(seed).normal(size=(n_samples, 6))
    return Modalities([noise, *X.blocks], names=["noise", "audio", "video"]), y


@pytest.mark.parametrize("weights", QUALITIES)
def test_a_noise_modality_gets_the_smallest_weight(weights):
    for seed in range(3):
        X, _ = blobs_and_noise(seed)
        late = LateFusionClusterer(
            n_clusters=3, n_runs=4, weights=weights, random_state=0
        ).fit(X)
        noise, *others = late.modality_weights_
        assert noise < 0.7 * min(others)
        assert late.modality_weights_.mean() == pytest.approx(1)


@pytest.mark.parametrize("weights", QUALITIES)
def test_modalities_of_one_quality_weigh_one(weights):
    X, _ = blobs_and_noise(0)
    same = [X["audio"]] * 3
    late = LateFusionClusterer(n_clusters=3, weights=weights, random_state=0).fit(same)
    np.testing.assert_allclose(late.modality_weights_, 1, atol=0.01)


def test_qualities_that_are_all_zero_weigh_alike():
    noise = np.random.default_rng(0).normal(size=(30, 2))
    late = LateFusionClusterer(n_clusters=1, weights="silhouette").fit([noise, noise])
    np.testing.assert_array_equal(late.modality_weights_, [1, 1])


def test_stability_needs_runs_that_can_differ():
    X, _ = blobs_and_noise(0)
    with pytest.raises(ValueError, match="n_runs >= 2"):
        LateFusionClusterer(weights="stability", n_runs=1).fit(X)
