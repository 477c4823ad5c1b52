"""Base clusterings with other numbers of clusters than the consensus."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN, KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from mmfusion import HybridFusionClusterer, LateFusionClusterer
from mmfusion.datasets import make_multimodal_blobs

KINDS = [LateFusionClusterer, HybridFusionClusterer]
NAMES = ["audio", "video"]


def blobs(n_samples=90):
    return make_multimodal_blobs(
        n_samples, dict.fromkeys(NAMES, 4), cluster_std=0.5, random_state=0
    )


def numbers_of(fitted):
    return {
        name: {run.get_params()["n_clusters"] for run in runs}
        for name, runs in fitted.clusterers_.items()
    }


def elongated(seed):
    """Two long clusters, which k-means with two clusters cuts across."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat([0, 1], 100))
    along = rng.uniform(-6, 6, size=200)
    blocks = [
        np.column_stack([along, y * 2.4 + rng.normal(0, 0.15, 200)]),
        np.column_stack([y * 2.4 + rng.normal(0, 0.15, 200), along]),
    ]
    return blocks, y


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("combine", ["hbgf", "coassociation"])
def test_the_consensus_merges_more_base_clusters(kind, combine):
    X, y = blobs()
    params = {"n_clusters": 3, "n_base_clusters": 9, "n_runs": 3, "random_state": 0}
    fitted = kind(combine=combine, **params).fit(X)
    assert set().union(*numbers_of(fitted).values()) == {9}
    assert adjusted_rand_score(y, fitted.labels_) > 0.95
    np.testing.assert_array_equal(fitted.predict(X), fitted.labels_)
    assert fitted.transform(X).shape == (90, 3 * len(fitted.clusterers_))
    assert fitted.modality_labels_.max() == 2


@pytest.mark.parametrize("kind", KINDS)
def test_none_is_the_number_of_the_consensus(kind):
    X, _ = blobs()
    params = {"n_clusters": 3, "n_runs": 2, "random_state": 0}
    expected = kind(**params).fit(X).labels_
    for same in (3, {}, {"audio": 3, "video": None}):
        fitted = kind(n_base_clusters=same, **params).fit(X)
        np.testing.assert_array_equal(fitted.labels_, expected)


def test_numbers_are_given_by_name_of_the_branch():
    X, _ = blobs()
    given = {"audio": 6, "early": 4}
    fitted = HybridFusionClusterer(n_clusters=3, n_base_clusters=given, n_runs=2)
    assert numbers_of(fitted.fit(X)) == {"audio": {6}, "video": {3}, "early": {4}}
    dropped = {"audio": KMeans(n_init=1), "video": "drop"}
    late = LateFusionClusterer(
        dropped, n_clusters=3, n_base_clusters={"audio": 6, "video": 5}, n_runs=2
    )
    assert numbers_of(late.fit(X)) == {"audio": {6}}


def test_mixtures_get_more_components():
    X, _ = blobs()
    late = LateFusionClusterer(
        GaussianMixture(), n_clusters=3, n_base_clusters=5, n_runs=2, random_state=0
    ).fit(X)
    assert {m.n_components for m in late.clusterers_["audio"]} == {5}


def test_long_clusters_need_more_base_clusters():
    scores = {2: [], 12: []}
    for seed in range(3):
        X, y = elongated(seed)
        for number, own in scores.items():
            late = LateFusionClusterer(
                n_clusters=2, n_base_clusters=number, scaling=None, random_state=seed
            )
            own.append(adjusted_rand_score(y, late.fit(X).labels_))
    assert np.mean(scores[12]) > np.mean(scores[2]) + 0.2, scores


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("combine", ["vote", "soft_vote"])
def test_a_vote_needs_a_branch_with_the_number_of_the_consensus(kind, combine):
    X, y = blobs()
    params = {"n_clusters": 3, "combine": combine, "n_runs": 2, "random_state": 0}
    with pytest.raises(ValueError, match="no base clustering has 3 clusters"):
        kind(n_base_clusters=6, **params).fit(X)
    fitted = kind(n_base_clusters={"audio": 6}, **params).fit(X)
    assert adjusted_rand_score(y, fitted.labels_) > 0.95


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0, "n_base_clusters"),
        (2.5, "n_base_clusters"),
        (True, "n_base_clusters"),
        ({"audio": 0}, r"n_base_clusters\['audio'\]=0"),
        ({"audio": "many"}, r"n_base_clusters\['audio'\]='many'"),
        ({"smell": 4}, "names \\['smell'\\]"),
    ],
)
def test_other_numbers_are_refused(kind, given, message):
    X, _ = blobs()
    with pytest.raises(ValueError, match=message):
        kind(n_clusters=3, n_base_clusters=given).fit(X)


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_the_consensus_must_be_given(kind):
    X, _ = blobs()
    with pytest.raises(ValueError, match="needs n_clusters"):
        kind(n_base_clusters=6).fit(X)
    with pytest.raises(ValueError, match="DBSCAN has no parameter"):
        kind(DBSCAN(), n_clusters=3, n_base_clusters=6).fit(X)


def test_more_base_clusters_than_samples_name_the_modality():
    X, _ = blobs(n_samples=12)
    with pytest.raises(ValueError, match=r"modality 'audio': .*n_clusters=20"):
        LateFusionClusterer(n_clusters=3, n_base_clusters=20).fit(X)
