"""Weights of modalities, zero among them, beside scaling and reduction."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import AgglomerativeClustering
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.metrics import adjusted_rand_score

from mmfusion import (
    EarlyFusion,
    LateFusionClusterer,
)
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.testing import all_estimators

COMBINES = ["hbgf", "vote", "soft_vote", "coassociation"]
NAMES = ["audio", "text", "video"]


def same_partition(a, b):
    return adjusted_rand_score(a, b) == pytest.approx(1)


@pytest.fixture(scope="module")
def X():
    X, _ = make_multimodal_blobs(
        90, dict.fromkeys(NAMES, 4), cluster_std=[2.5, 3.0, 3.5], random_state=0
    )
    return X


@pytest.mark.parametrize("combine", COMBINES)
def test_a_modality_of_weight_zero_has_no_influence_on_the_number_of_clusters(
    X, combine
):
    inner = {"audio": AgglomerativeClustering(2), "text": AgglomerativeClustering(4)}
    late = LateFusionClusterer(inner, combine=combine, weights={"audio": 0})
    assert len(np.unique(late.fit_predict(X[["audio", "text"]]))) == 4


@pytest.mark.parametrize("fusion", ["early", "late"])
def test_a_modality_of_weight_zero_has_no_influence_on_the_scaling_of_others(fusion):
    rng = np.random.default_rng(0)
    topics = rng.integers(0, 3, 60)
    blocks = {
        name: rng.dirichlet(np.full(width, 0.3), 3)[topics] + 0.02
        for name, width in {"a": 6, "b": 12}.items()
    }
    more = blocks | {"signed": rng.normal(size=(60, 3))}
    more["signed"][:50] = np.nan if fusion == "late" else more["signed"][:50]
    weights = {"signed": 0}
    make = {
        "early": lambda w: EarlyFusion(weights=w),
        "late": lambda w: LateFusionClusterer(
            n_clusters=3, n_runs=1, weights=w, random_state=0
        ),
    }[fusion]
    alone, among = make([1, 1]).fit(blocks), make(weights).fit(more)
    assert alone.scaling_ == {"a": "l2", "b": "l2"}
    assert {name: among.scaling_[name] for name in blocks} == alone.scaling_
    if fusion == "early":  # rows of 'l2' are lengthened beside blocks that count only
        np.testing.assert_array_equal(alone.transform(blocks), among.transform(more))


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


# Scaling, reduction and weights


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


FUSIONS = [
    estimator
    for name, estimator in all_estimators().items()
    if "Fusion" in name and hasattr(estimator(), "weights")
]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_weights_of_every_fusion_are_uniform_by_default(fusion):
    assert len(FUSIONS) >= 10
    assert fusion().weights == "uniform"


def test_uniform_weights_are_ones(X):
    by_word = EarlyFusion(weights="uniform").fit(X)
    np.testing.assert_array_equal(by_word.modality_weights_, np.ones(3))
    np.testing.assert_array_equal(
        by_word.transform(X), EarlyFusion(weights=[1, 1, 1]).fit_transform(X)
    )
    with pytest.raises(ValueError, match="'weights' parameter of EarlyFusion"):
        EarlyFusion(weights="equal").fit(X)
