"""Clusterers nested in fusion clusterers: parameters, labels, metadata, errors."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn import config_context
from sklearn.base import BaseEstimator, ClusterMixin, clone
from sklearn.cluster import (
    DBSCAN,
    HDBSCAN,
    AgglomerativeClustering,
    Birch,
    BisectingKMeans,
    KMeans,
    SpectralClustering,
)
from sklearn.decomposition import PCA
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags

from mmfusion import (
    EarlyFusionClusterer,
    LateFusionClusterer,
    Modalities,
    SingleModalityClusterer,
)
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.fusion import _early_clusterer
from mmfusion.fusion.combination import _clusterings
from mmfusion.metrics import WholeDataSplit, labels_scorer
from mmfusion.preprocessing import ModalitySplitter

COMBINES = ["hbgf", "vote", "soft_vote", "coassociation"]
FUSIONS = [EarlyFusionClusterer, LateFusionClusterer]


class Recorder(ClusterMixin, BaseEstimator):
    """Keeps what it was given."""

    def __init__(self, n_clusters=2):
        self.n_clusters = n_clusters

    def fit(self, X, y=None, sample_weight=None, note=None):
        self.X_, self.sample_weight_, self.note_ = X.copy(), sample_weight, note
        self.labels_ = np.arange(len(X)) % self.n_clusters
        return self


@pytest.fixture(scope="module")
def data():
    return make_multimodal_blobs(
        90, {"audio": 3, "video": 4}, cluster_std=0.5, random_state=0
    )


@pytest.fixture(scope="module")
def X(data):
    return data[0]


@pytest.fixture(scope="module")
def y(data):
    return data[1]


# The number of clusters


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(
    "inner",
    [
        KMeans(7),
        BisectingKMeans(7),
        AgglomerativeClustering(7),
        SpectralClustering(7, n_components=2),
        Birch(n_clusters=7),
        GaussianMixture(7),
        None,
    ],
)
def test_n_clusters_is_passed_down(X, y, fusion, inner):
    extra = {"n_runs": 2} if fusion is LateFusionClusterer else {}
    fitted = fusion(inner, n_clusters=3, random_state=0, **extra).fit(X)
    assert adjusted_rand_score(fitted.labels_, y) == 1
    if inner is not None:  # the user's own is left as it was
        params = inner.get_params()
        assert 7 in (params.get("n_clusters"), params.get("n_components"))


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("inner", [DBSCAN(), HDBSCAN(copy=True)])
def test_n_clusters_is_refused_for_clusterers_that_find_it_themselves(X, fusion, inner):
    with pytest.raises(ValueError, match=rf"n_clusters=3 .* {type(inner).__name__}"):
        fusion(inner, n_clusters=3).fit(X)


@pytest.mark.parametrize("combine", COMBINES)
def test_without_n_clusters_the_commonest_number_is_taken(X, combine):
    inner = {"audio": AgglomerativeClustering(2), "video": KMeans(4, n_init=1)}
    # audio has few runs and a small weight, which splits none of video's clusters
    late = LateFusionClusterer(
        inner, combine=combine, n_runs=3, weights={"audio": 0.1}, random_state=0
    )
    assert len(np.unique(late.fit_predict(X))) == 4


@pytest.mark.parametrize("combine", ["hbgf", "coassociation"])
def test_runs_may_have_other_numbers_of_clusters_than_the_consensus(X, y, combine):
    inner = {"audio": DBSCAN(eps=0.5), "video": AgglomerativeClustering(3)}
    late = LateFusionClusterer(inner, combine=combine, scaling="block").fit(X)
    assert adjusted_rand_score(late.labels_, y) > 0.9


# Runs and seeds


def test_a_clusterer_without_a_seed_runs_once(X):
    late = LateFusionClusterer(
        {"audio": AgglomerativeClustering(3), "video": KMeans(3, n_init=1)}, n_runs=4
    ).fit(X)
    assert len(late.clusterers_["audio"]) == 1
    assert len(late.clusterers_["video"]) == 4


def test_a_modality_weighs_the_same_however_many_runs_it_has():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 60, 2))
    inner = {"one": AgglomerativeClustering(3), "other": KMeans(3, n_init=1)}
    found = []
    for n_runs in (1, 30):
        late = LateFusionClusterer(
            inner, combine="vote", n_runs=n_runs, weights=[1.5, 1], random_state=0
        ).fit({"one": one, "other": other})
        found.append(
            adjusted_rand_score(late.labels_, late.clusterers_["one"][0].labels_)
        )
    assert found == [1, 1]  # the heavier modality alone decides


def test_the_default_of_early_fusion_is_k_means_with_ten_starts(X):
    assert EarlyFusionClusterer(random_state=0).fit(X).clusterer_.n_init == 10


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_clusterer_given_stays_unfitted(X, fusion):
    inner = KMeans(3, n_init=1)
    before = vars(inner).copy()
    fusion(inner, random_state=1, n_clusters=2).fit(X)
    assert vars(inner) == before


def test_the_dict_given_stays_as_it_is(X):
    inner = {"audio": KMeans(3, n_init=1)}
    late = LateFusionClusterer(inner, random_state=0, n_runs=2)
    late.set_params(audio__n_init=2, audio__max_iter=7).fit(X)
    late.set_params(audio=KMeans(2))
    assert list(inner) == ["audio"]
    assert isinstance(inner["audio"], KMeans)
    assert not hasattr(inner["audio"], "labels_")


# A dict by modality


def test_parameters_nest_by_modality(X):
    late = LateFusionClusterer({"audio": KMeans(3), "video": GaussianMixture(3)})
    params = late.get_params()
    assert (params["audio__n_init"], params["video__n_components"]) == ("auto", 3)
    late.set_params(audio__n_init=3, video__n_components=2, n_runs=2)
    fitted = clone(late).fit(X)
    assert [c.n_init for c in fitted.clusterers_["audio"]] == [3, 3]
    assert [c.n_components for c in fitted.clusterers_["video"]] == [2, 2]


def test_a_search_goes_through_the_parameters_of_one_modality(X):
    late = LateFusionClusterer(
        {"audio": AgglomerativeClustering(3), "video": AgglomerativeClustering(3)}
    )
    search = GridSearchCV(
        late,
        {"audio__n_clusters": [2, 3], "video": [AgglomerativeClustering(3), Birch()]},
        cv=WholeDataSplit(),
        scoring=labels_scorer("modality_silhouette"),
        error_score="raise",
    ).fit(X)
    assert search.best_params_["audio__n_clusters"] == 3
    assert len(search.cv_results_["params"]) == 4


def test_modalities_that_a_dict_does_not_name_get_the_default(X):
    late = LateFusionClusterer({"audio": DBSCAN(eps=1)}, random_state=0).fit(X)
    assert isinstance(late.clusterers_["video"][0], KMeans)


def test_a_dict_that_names_no_modality_of_the_data_is_refused(X):
    with pytest.raises(ValueError, match=r"clusterer names \['sound'\]"):
        LateFusionClusterer({"sound": KMeans()}).fit(X)


def test_a_modality_called_like_a_parameter_cannot_be_given_by_name(X):
    clash = {"weights": X["audio"], "video": X["video"]}
    with pytest.raises(ValueError, match=r"\['weights'\] are called like parameters"):
        LateFusionClusterer({"video": KMeans(3)}).fit(clash)
    LateFusionClusterer(KMeans(3, n_init=1), n_runs=1).fit(clash)  # one for all works


# With predict and without


@pytest.mark.parametrize(
    ("inner", "can"),
    [
        (None, True),
        (KMeans(3), True),
        (GaussianMixture(3), True),
        (make_pipeline(PCA(2), KMeans(3)), True),
        (AgglomerativeClustering(3), False),
        (SpectralClustering(3), False),
        (DBSCAN(), False),
    ],
)
def test_predict_exists_if_the_clusterer_has_it(X, inner, can):
    for fusion in FUSIONS:
        fitted = fusion(inner, random_state=0).fit(X)
        assert hasattr(fusion(inner), "predict") is can
        assert hasattr(fitted, "predict") is can
        assert hasattr(fitted, "score") is can
        if can:
            np.testing.assert_array_equal(fitted.predict(X), fitted.labels_)
            assert -1 <= fitted.score(X) <= 1


def test_predict_needs_that_of_every_modality(X):
    late = LateFusionClusterer({"audio": KMeans(3), "video": DBSCAN()})
    assert not hasattr(late, "predict")
    assert hasattr(late.set_params(video=KMeans(3)), "predict")


# Noise


def islands(seed=0):
    """Three tight clusters, then 20 samples that are in none, in both modalities."""
    rng = np.random.default_rng(seed)
    y = np.append(np.repeat([0, 1, 2], 15), np.full(20, -1))
    blocks = {}
    for name in ("audio", "video"):
        far = 40 * np.eye(2)[rng.integers(0, 2, 20)] + 300 * rng.normal(size=(20, 2))
        centers = rng.permutation([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
        near = centers[y[:45]] + 0.1 * rng.normal(size=(45, 2))
        blocks[name] = np.vstack([near, far])
    return blocks, y


@pytest.mark.parametrize("combine", COMBINES)
def test_noise_in_every_modality_is_in_no_cluster(combine):
    blocks, y = islands()
    late = LateFusionClusterer(DBSCAN(eps=1), combine=combine, scaling=None)
    labels = late.fit_predict(blocks)
    np.testing.assert_array_equal(labels == -1, y == -1)
    assert adjusted_rand_score(labels, y) == 1
    np.testing.assert_array_equal(late.modality_labels_[y == -1], -1)
    np.testing.assert_array_equal(late.agreement_, 1)


@pytest.mark.parametrize("combine", COMBINES)
def test_noise_in_one_modality_goes_by_the_other(combine):
    blocks, y = islands()
    blocks["video"] = np.vstack([blocks["video"][:45], blocks["video"][:20]])
    labels = LateFusionClusterer(
        DBSCAN(eps=1), combine=combine, scaling=None
    ).fit_predict(blocks)
    np.testing.assert_array_equal(labels[45:], labels[:20])
    assert adjusted_rand_score(labels[:45], y[:45]) == 1


@pytest.mark.parametrize("combine", COMBINES)
def test_a_modality_that_is_all_noise_is_passed_over(combine):
    blocks, y = islands()
    inner = {"audio": DBSCAN(eps=1), "video": DBSCAN(eps=1e-9)}
    late = LateFusionClusterer(inner, combine=combine, scaling=None).fit(blocks)
    assert adjusted_rand_score(late.labels_, y) == 1
    np.testing.assert_array_equal(late.modality_labels_[:, 1], -1)
    assert np.isnan(late.agreement_[1])


def test_nothing_but_noise_is_refused_with_a_reason():
    blocks, _ = islands()
    with pytest.raises(ValueError, match="all samples are noise"):
        LateFusionClusterer(DBSCAN(eps=1e-9), scaling=None).fit(blocks)


def test_noise_of_early_fusion_stays_noise():
    blocks, y = islands()
    early = EarlyFusionClusterer(DBSCAN(eps=1), scaling=None).fit(blocks)
    np.testing.assert_array_equal(early.labels_ == -1, y == -1)
    np.testing.assert_array_equal(early.modality_labels_[:45, 0], early.labels_[:45])
    nothing = EarlyFusionClusterer(DBSCAN(eps=1e-9), scaling=None).fit(blocks)
    np.testing.assert_array_equal(nothing.modality_labels_, -1)


@pytest.mark.parametrize("chunk_rows", [2**15, 7])
def test_early_fusion_finds_the_nearest_mean_in_each_modality(
    X, chunk_rows, monkeypatch
):
    monkeypatch.setattr(_early_clusterer, "CLUSTERING_CHUNK_ROWS", chunk_rows)
    monkeypatch.setattr(_clusterings, "CLUSTERING_CHUNK_ROWS", chunk_rows)
    early = EarlyFusionClusterer(AgglomerativeClustering(3), weights=[1, 3]).fit(X)
    fused = early.fusion_.transform(X)
    for v, columns in enumerate(early.fusion_.columns_.values()):
        block = fused[:, columns]
        means = [block[early.labels_ == c].mean(axis=0) for c in range(3)]
        nearest = [np.argmin([((x - m) ** 2).sum() for m in means]) for x in block]
        np.testing.assert_array_equal(early.modality_labels_[:, v], nearest)


# Metadata


def weighted_block(block, weight):
    mean = weight @ block / weight.sum()
    sd = np.sqrt(weight @ (block - mean) ** 2 / weight.sum())
    return (block - mean) / sd / block.shape[1] ** 0.5


@pytest.mark.parametrize("routing", [False, True])
def test_sample_weight_reaches_clusterer_and_scaling_of_early_fusion(X, routing):
    weight = np.random.default_rng(0).random(len(X))
    with config_context(enable_metadata_routing=routing):
        inner = Recorder()
        if routing:
            inner.set_fit_request(sample_weight=True)
        early = EarlyFusionClusterer(inner).fit(X, sample_weight=weight)
    np.testing.assert_array_equal(early.clusterer_.sample_weight_, weight)
    expected = np.hstack([weighted_block(block, weight) for block in X.blocks])
    np.testing.assert_allclose(early.clusterer_.X_, expected)


@pytest.mark.parametrize("routing", [False, True])
def test_sample_weight_reaches_clusterers_and_scaling_of_late_fusion(X, routing):
    weight = np.random.default_rng(0).random(len(X))
    observed = np.ones(X.shape, dtype=bool)
    observed[:10, 1] = False
    masked = Modalities(X, observed=observed)
    with config_context(enable_metadata_routing=routing):
        inner = Recorder()
        if routing:
            inner.set_fit_request(sample_weight=True, note=True)
        late = LateFusionClusterer(inner)
        late.fit(masked, sample_weight=weight, note="for all")
    for name, present in zip(X.names, observed.T, strict=True):
        (fitted,) = late.clusterers_[name]
        np.testing.assert_array_equal(fitted.sample_weight_, weight[present])
        expected = weighted_block(X[name][present], weight[present])
        np.testing.assert_allclose(fitted.X_, expected)
        assert fitted.note_ == "for all"


@pytest.mark.parametrize("kind", [list, tuple, pd.Series])
def test_weights_may_be_any_sequence(X, kind):
    weight = np.arange(1.0, len(X) + 1)
    observed = np.ones(X.shape, dtype=bool)
    observed[::7, 0] = False
    for frame in (X, Modalities(X, observed=observed)):
        late = LateFusionClusterer(Recorder())
        late.fit(frame, sample_weight=kind(weight))
        (fitted,) = late.clusterers_["audio"]
        expected = weight[frame.observed[:, 0]]
        np.testing.assert_array_equal(fitted.sample_weight_, expected)


def test_samples_of_weight_zero_move_no_centre(X):
    weight = np.ones(len(X))
    weight[::4] = 0
    kept = weight > 0
    inner = KMeans(3, n_init=3)
    for fusion in FUSIONS:
        weighted = fusion(inner, random_state=0).fit(X, sample_weight=weight)
        rest = fusion(inner, random_state=0).fit(X[kept])
        assert adjusted_rand_score(weighted.labels_[kept], rest.labels_) == 1


def test_each_modality_gets_the_metadata_that_its_clusterer_requests(X):
    weight = np.random.default_rng(0).random(len(X))
    with config_context(enable_metadata_routing=True):
        for wants in ("audio", "video"):
            inner = {"audio": Recorder(), "video": Recorder()}
            rejects = {"audio": "video", "video": "audio"}[wants]
            inner[wants].set_fit_request(sample_weight=True)
            inner[rejects].set_fit_request(sample_weight=False)
            late = LateFusionClusterer(inner).fit(X, sample_weight=weight)
            np.testing.assert_array_equal(
                late.clusterers_[wants][0].sample_weight_, weight
            )
            assert late.clusterers_[rejects][0].sample_weight_ is None
        half = {"audio": Recorder().set_fit_request(sample_weight=True)}
        late = LateFusionClusterer(half, n_clusters=2).fit(X, sample_weight=weight)
        assert late.clusterers_["audio"][0].sample_weight_ is not None


@pytest.mark.parametrize("fusion", FUSIONS)
def test_metadata_that_are_not_requested_are_refused_under_routing(X, fusion):
    with config_context(enable_metadata_routing=True):
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            fusion(Recorder()).fit(X, sample_weight=np.ones(len(X)))
        fusion(Recorder()).fit(X)  # without metadata there is nothing to request


@pytest.mark.parametrize("fusion", FUSIONS)
def test_metadata_go_through_a_pipeline(X, fusion):
    weight = np.random.default_rng(0).random(len(X))
    splitter = ModalitySplitter(X.column_spec())
    with config_context(enable_metadata_routing=True):
        inner = fusion(Recorder().set_fit_request(sample_weight=True))
        pipe = Pipeline([("split", splitter), ("fuse", inner)])
        pipe.fit(X.to_array(), sample_weight=weight)
    fused = pipe[-1]
    recorder = (
        fused.clusterer_
        if fusion is EarlyFusionClusterer
        else fused.clusterers_["audio"][0]
    )
    np.testing.assert_array_equal(recorder.sample_weight_, weight)


@pytest.mark.parametrize("output", ["pandas", "polars"])
@pytest.mark.parametrize("fusion", [EarlyFusionClusterer, SingleModalityClusterer])
def test_the_output_set_for_transformers_does_not_reach_inside(fusion, output):
    X, _ = make_multimodal_blobs(60, random_state=0)
    expected = fusion(n_clusters=3, random_state=0).fit(X).labels_
    with config_context(transform_output=output):
        found = fusion(n_clusters=3, random_state=0).fit(X).labels_
    np.testing.assert_array_equal(found, expected)


def test_number_and_seed_reach_the_last_step_of_a_pipeline():
    X, _ = make_multimodal_blobs(60, random_state=0)
    inner = make_pipeline(PCA(2), KMeans(8, n_init=1, init="random"))
    fits = [
        EarlyFusionClusterer(inner, n_clusters=3, random_state=0).fit(X).labels_
        for _ in range(3)
    ]
    assert len(np.unique(fits[0])) == 3
    assert (fits[0] == fits[1]).all()
    assert (fits[0] == fits[2]).all()
    late = LateFusionClusterer(inner, n_clusters=3, n_runs=4, random_state=0).fit(X)
    assert [len(runs) for runs in late.clusterers_.values()] == [4, 4]


@pytest.mark.skipif(
    sklearn.__version__ < "1.7", reason="scikit-learn 1.6 has tags that are not true"
)
def test_sparse_is_claimed_only_if_the_clusterer_takes_it():
    for fusion in (EarlyFusionClusterer, LateFusionClusterer, SingleModalityClusterer):
        assert get_tags(fusion(clusterer=KMeans())).input_tags.sparse
        assert not get_tags(fusion(clusterer=GaussianMixture())).input_tags.sparse
