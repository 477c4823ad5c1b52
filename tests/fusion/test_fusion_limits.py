"""Fusion at its limits is something simpler."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from mmfusion import (
    EarlyFusion,
    EarlyFusionClusterer,
    LateFusionClusterer,
    Modalities,
)
from mmfusion.datasets import make_multimodal_blobs

COMBINES = ["hbgf", "vote", "soft_vote", "coassociation"]
NAMES = ["audio", "text", "video"]


def same_partition(a, b):
    return adjusted_rand_score(a, b) == pytest.approx(1)


@pytest.fixture(scope="module")
def X():
    """Clusters that overlap, so that two methods are equal only if they are one."""
    X, _ = make_multimodal_blobs(
        90, dict.fromkeys(NAMES, 4), cluster_std=[2.5, 3.0, 3.5], random_state=0
    )
    return X


def block_scaled(block):
    return (block - block.mean(axis=0)) / block.std(axis=0) / block.shape[1] ** 0.5


# One modality


@pytest.mark.parametrize("combine", COMBINES)
def test_one_modality_with_one_run_is_its_clusterer(X, combine):
    alone = AgglomerativeClustering(3).fit_predict(block_scaled(X["audio"]))
    late = LateFusionClusterer(AgglomerativeClustering(3), combine=combine)
    assert same_partition(late.fit_predict(X[["audio"]]), alone)
    early = EarlyFusionClusterer(AgglomerativeClustering(3))
    np.testing.assert_array_equal(early.fit_predict(X[["audio"]]), alone)


@pytest.mark.parametrize("combine", COMBINES)
def test_one_run_of_k_means_is_returned(X, combine):
    late = LateFusionClusterer(
        n_clusters=3, n_runs=1, combine=combine, random_state=0
    ).fit(X[["audio"]])
    (inner,) = late.clusterers_["audio"]
    assert same_partition(late.labels_, inner.labels_)
    assert same_partition(late.predict(X[["audio"]]), inner.labels_)


def test_one_modality_as_it_is_is_the_clusterer_itself(X):
    inner = KMeans(3, n_init=2, random_state=0)
    early = EarlyFusionClusterer(inner, scaling=None).fit([X["audio"]])
    expected = inner.fit(X["audio"])
    np.testing.assert_array_equal(early.labels_, expected.labels_)
    np.testing.assert_array_equal(
        early.predict([X["audio"] + 1]), expected.predict(X["audio"] + 1)
    )


# Modalities that are the same


@pytest.mark.parametrize("combine", COMBINES)
def test_identical_modalities_are_one(X, combine):
    block = X["audio"]
    alone = AgglomerativeClustering(3).fit_predict(block_scaled(block))
    late = LateFusionClusterer(AgglomerativeClustering(3), combine=combine)
    assert same_partition(late.fit_predict([block] * 3), alone)
    early = EarlyFusionClusterer(AgglomerativeClustering(3))
    assert same_partition(early.fit_predict([block] * 3), alone)


@pytest.mark.parametrize("combine", COMBINES)
def test_clusterings_that_agree_are_returned(combine):
    X, y = make_multimodal_blobs(60, (3, 5, 2), cluster_std=0.3, random_state=0)
    late = LateFusionClusterer(
        n_clusters=3, combine=combine, n_runs=3, random_state=0
    ).fit(X)
    assert same_partition(late.labels_, y)
    for own in late.modality_labels_.T:  # in terms of the same clusters
        np.testing.assert_array_equal(own, late.labels_)
    np.testing.assert_array_equal(late.agreement_, 1)


# Weight zero


@pytest.mark.parametrize("weights", [[1, 0, 2], {"text": 0, "video": 2}])
def test_weight_zero_removes_a_modality_from_early_fusion(X, weights):
    removed = EarlyFusion(weights=[1, 2]).fit(X[["audio", "video"]])
    muted = EarlyFusion(weights=weights).fit(X)
    np.testing.assert_array_equal(
        muted.transform(X), removed.transform(X[["audio", "video"]])
    )
    assert list(muted.columns_) == list(muted.scaling_) == ["audio", "video"]
    names = muted.get_feature_names_out()
    assert list(names) == list(removed.get_feature_names_out())
    inner = KMeans(3, n_init=1, random_state=0)
    clusterer = EarlyFusionClusterer(inner, weights=weights).fit(X)
    rest = EarlyFusionClusterer(inner, weights=[1, 2]).fit(X[["audio", "video"]])
    np.testing.assert_array_equal(clusterer.labels_, rest.labels_)
    np.testing.assert_array_equal(clusterer.modality_labels_[:, 1], -1)
    assert np.isnan(clusterer.agreement_[1])
    assert not np.isnan(clusterer.agreement_[[0, 2]]).any()


@pytest.mark.parametrize("combine", COMBINES)
@pytest.mark.parametrize(
    "clusterer", [AgglomerativeClustering(3), GaussianMixture(3, random_state=0)]
)
def test_weight_zero_removes_a_modality_from_late_fusion(X, combine, clusterer):
    X = Modalities(X.to_dict() | {"text": X["text"][::-1]})  # another partition
    params = {"combine": combine, "n_runs": 1, "random_state": 0}
    kept = X[["audio", "video"]]
    removed = LateFusionClusterer(clusterer, weights=[1, 2], **params).fit(kept)
    muted = LateFusionClusterer(clusterer, weights=[1, 0, 2], **params).fit(X)
    if isinstance(clusterer, AgglomerativeClustering):  # the seeds are the same: none
        assert same_partition(muted.labels_, removed.labels_)
    other = Modalities(X.to_dict() | {"text": X["audio"][::-1]})
    again = LateFusionClusterer(clusterer, weights=[1, 0, 2], **params).fit(other)
    np.testing.assert_array_equal(muted.labels_, again.labels_)
    if hasattr(muted, "predict"):
        np.testing.assert_array_equal(muted.predict(X), again.predict(other))


@pytest.mark.parametrize("combine", COMBINES)
def test_a_modality_of_weight_zero_has_no_influence_in_the_number_of_clusters(
    X, combine
):
    inner = {"audio": AgglomerativeClustering(2), "text": AgglomerativeClustering(4)}
    late = LateFusionClusterer(inner, combine=combine, weights={"audio": 0})
    assert len(np.unique(late.fit_predict(X[["audio", "text"]]))) == 4


def loud_histograms():
    """Modalities whose rows are long or short for no reason: 'auto' takes 'l2'."""
    rng = np.random.default_rng(0)
    topics = rng.integers(0, 3, 60)
    return {
        name: (rng.dirichlet(np.full(width, 0.3), 3)[topics] + 0.02)
        * rng.lognormal(0, 2, (60, 1))
        for name, width in {"a": 6, "b": 12}.items()
    }


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_a_modality_of_weight_zero_has_no_influence_in_the_scaling_of_others(fusion):
    blocks = loud_histograms()
    more = blocks | {"signed": np.random.default_rng(1).normal(size=(60, 3))}
    more["signed"][:50] = np.nan if fusion == "late" else more["signed"][:50]
    weights = {"signed": 0}
    make = {
        "early": lambda w: EarlyFusion(weights=w),
        "late": lambda w: LateFusionClusterer(
            n_clusters=3, n_runs=1, weights=w, random_state=0
        ),
    }[fusion]
    assert make([1, 1]).fit(blocks).scaling_ == {"a": "l2", "b": "l2"}
    scales = make(weights).fit(more).scaling_
    assert (scales["a"], scales["b"]) == ("l2", "l2")


@pytest.mark.parametrize("combine", COMBINES)
def test_a_sample_with_nothing_but_a_modality_of_weight_zero_is_in_no_cluster(combine):
    X, y = make_multimodal_blobs(60, (3, 3), cluster_std=0.3, random_state=0)
    blocks = [block.copy() for block in X.blocks]
    blocks[0][:5] = np.nan
    late = LateFusionClusterer(
        n_clusters=3, combine=combine, weights=[1, 0], n_runs=2, random_state=0
    ).fit(blocks)
    np.testing.assert_array_equal(late.labels_[:5], -1)
    assert same_partition(late.labels_[5:], y[5:])


# Nothing missing, nothing scaled


@pytest.mark.parametrize("combine", COMBINES)
def test_a_mask_that_hides_nothing_changes_nothing(X, combine):
    late = LateFusionClusterer(n_clusters=3, combine=combine, n_runs=2, random_state=0)
    expected = late.fit(X).labels_
    masked = Modalities(X, observed=np.ones(X.shape, dtype=bool))
    np.testing.assert_array_equal(late.fit(masked).labels_, expected)


@pytest.mark.parametrize("combine", COMBINES)
def test_what_a_mask_hides_is_not_looked_at(X, combine):
    observed = np.random.default_rng(0).random(X.shape) < 0.8
    observed[~observed.any(axis=1)] = True
    absent, garbage = {}, {}
    for name, present in zip(NAMES, observed.T, strict=True):
        absent[name] = np.where(present[:, None], X[name], np.nan)
        garbage[name] = np.where(present[:, None], X[name], 1e300)
    late = LateFusionClusterer(n_clusters=3, combine=combine, n_runs=2, random_state=0)
    expected = late.fit(absent).labels_
    masked = Modalities(garbage, observed=observed)
    np.testing.assert_array_equal(late.fit(masked).labels_, expected)
    np.testing.assert_array_equal(late.predict(masked), late.predict(absent))


def test_early_fusion_without_scaling_is_concatenation(X):
    expected = np.hstack(X.blocks)
    np.testing.assert_array_equal(EarlyFusion(None).fit_transform(X), expected)
    weighted = EarlyFusion(None, weights=[1, 2, 3]).fit_transform(X)
    np.testing.assert_array_equal(weighted, expected * np.repeat([1, 2, 3], 4))
    mixed = [sparse.csr_array(X["audio"]), X["text"]]
    fused = EarlyFusion(None).fit_transform(mixed)
    np.testing.assert_array_equal(fused.toarray(), expected[:, :8])


def test_block_gives_every_modality_the_variance_of_its_squared_weight():
    rng = np.random.default_rng(0)
    blocks = [rng.normal(5, 10.0**d, (50, d)) for d in (1, 4, 30)]
    fusion = EarlyFusion("block", weights=[1, 2, 0.5]).fit(blocks)
    fused = fusion.transform(blocks)
    for columns, weight in zip(fusion.columns_.values(), (1, 2, 0.5), strict=True):
        assert fused[:, columns].var(axis=0).sum() == pytest.approx(weight**2)


@pytest.mark.parametrize("reducer", [None, PCA(2), {"text": PCA(2)}])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_weights_multiply_what_is_scaled_and_reduced(X, reducer, kind, dtype):
    blocks = {name: block.astype(dtype) for name, block in X.to_dict().items()}
    blocks["audio"] = kind(np.abs(blocks["audio"]))
    plain = EarlyFusion("block", reducer=reducer).fit(blocks)
    weighted = EarlyFusion("block", reducer=reducer, weights=[0.5, 2, 3]).fit(blocks)
    assert plain.columns_ == weighted.columns_
    expected, found = plain.transform(blocks), weighted.transform(blocks)
    assert expected.dtype == found.dtype == dtype
    for columns, weight in zip(plain.columns_.values(), (0.5, 2, 3), strict=True):
        apart = found[:, columns] - weight * expected[:, columns]
        assert abs(apart).max() < 1e-5


def test_a_reducer_that_keeps_everything_keeps_distances(X):
    whole = EarlyFusion().fit_transform(X)
    turned = EarlyFusion(reducer=PCA()).fit_transform(X)
    np.testing.assert_allclose(turned @ turned.T, whole @ whole.T, atol=1e-9)


def test_reducers_by_name_are_fitted_on_scaled_modalities(X):
    fusion = EarlyFusion(
        {"text": "standard"}, reducer={"text": PCA(2), "video": TruncatedSVD(3)}
    ).fit(X)
    assert fusion.columns_ == {
        "audio": slice(0, 4),
        "text": slice(4, 6),
        "video": slice(6, 9),
    }
    text = (X["text"] - X["text"].mean(axis=0)) / X["text"].std(axis=0)
    expected = PCA(2).fit_transform(text)
    np.testing.assert_allclose(fusion.transform(X)[:, 4:6], expected, atol=1e-9)
    assert list(fusion.reducers_) == ["text", "video"]
    names = fusion.get_feature_names_out()
    assert list(names[3:7]) == ["audio__x3", "text__pca0", "text__pca1", names[6]]
    assert fusion.set_params(text__n_components=1).fit_transform(X).shape == (90, 8)
