"""Limits: what every estimator must reduce to in a case that something simpler solves.

The rows are shown by docs/development/limits.rst. What holds for functions, and limits
of single options, is tested beside them.
"""

from operator import itemgetter

import numpy as np
import pytest
from scipy import sparse
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.cross_decomposition import CCA as CrossCCA
from sklearn.decomposition import NMF, PCA
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, minmax_scale, normalize
from sklearn.svm import SVC, SVR
from skorch.callbacks import Callback

from mmfusion import (
    AnchorGraphClusterer,
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    EarlyFusionRegressor,
    HMMTransformer,
    LateFusionClassifier,
    LateFusionClusterer,
    LateFusionRegressor,
    Modalities,
    MultimodalCCA,
    SiMVCClusterer,
    SpectralClusterer,
    Trainer,
)
from mmfusion.alignment import CTWAligner, DTWAligner, HMMAligner, cdist_dtw
from mmfusion.clustering import similarity_network_fusion
from mmfusion.clustering.graph._affinities import self_tuned_graph
from mmfusion.clustering.graph._neighbors import nearest_samples
from mmfusion.datasets import make_audio_visual_sequences, make_multimodal_blobs
from mmfusion.testing import all_estimators

from .tables import Table

LIMITS = Table(without={})
COMBINES = ["hbgf", "vote", "soft_vote", "coassociation"]
NAMES = ["audio", "text", "video"]
# clusters that overlap, so that two methods agree only if they are one
X, CLASSES = make_multimodal_blobs(
    90, dict.fromkeys(NAMES, 4), cluster_std=[2.5, 3.0, 3.5], random_state=0
)
EASY, _ = make_multimodal_blobs(
    90, dict.fromkeys(NAMES, 4), cluster_std=1.6, random_state=0
)
VALUES = X["audio"].sum(axis=1) + np.sin(X["video"][:, 0])
AUDIO = X[["audio"]]
RNG = np.random.default_rng(0)
SEQUENCES = [np.cumsum(RNG.normal(size=(n, 2)), axis=0) for n in (7, 9, 12)]


def assert_same_partition(a, b):
    assert adjusted_rand_score(a, b) == pytest.approx(1)


def small_network(cls, **params):
    trainer = Trainer(max_epochs=4, batch_size=30)
    fast = {"encoders": [8, 4], "trainer": trainer, "random_state": 0}
    return cls(2, **(fast | params))


def target(cls):
    return VALUES if "Regressor" in cls.__name__ else CLASSES


# One modality


@LIMITS.row(
    "EarlyFusionClusterer SingleModalityClusterer",
    "one modality, not scaled",
    "the inner clusterer",
)
def one_modality_is_the_clusterer(cls):
    inner = KMeans(3, n_init=2, random_state=0)
    fused = cls(clusterer=inner, scaling=None).fit(AUDIO)
    expected = clone(inner).fit(X["audio"])
    np.testing.assert_array_equal(fused.labels_, expected.labels_)
    later = X["audio"] + 1
    np.testing.assert_array_equal(fused.predict([later]), expected.predict(later))


@LIMITS.row(
    "LateFusionClusterer HybridFusionClusterer",
    "one modality, one run of a deterministic clusterer",
    "the partition of this clusterer, under every combination",
    combine=COMBINES,
)
def one_run_is_its_partition(cls, combine):
    inner = AgglomerativeClustering(3)
    alone = clone(inner).fit_predict(X["audio"])
    fused = cls(inner, scaling=None, combine=combine).fit(AUDIO)
    assert_same_partition(fused.labels_, alone)


@LIMITS.row(
    "LateFusionClusterer",
    "one modality, one run of k-means",
    "this run, for later samples too",
    combine=COMBINES,
)
def one_run_of_k_means_is_returned(cls, combine):
    late = cls(n_clusters=3, n_runs=1, combine=combine, random_state=0).fit(AUDIO)
    (inner,) = late.clusterers_["audio"]
    assert_same_partition(late.labels_, inner.labels_)
    assert_same_partition(late.predict(AUDIO), inner.labels_)


@LIMITS.row(
    "SingleModalityClusterer",
    "a modality, by name or position",
    "early fusion of this modality",
    modality=["text", 1, -2],
)
def a_chosen_modality_is_early_fusion_of_it(cls, modality):
    single = cls(modality, n_clusters=3, random_state=0).fit(X)
    early = EarlyFusionClusterer(n_clusters=3, random_state=0).fit(X[["text"]])
    np.testing.assert_array_equal(single.labels_, early.labels_)
    np.testing.assert_array_equal(single.predict(X), early.predict(X[["text"]]))
    assert single.modality_ == "text"


@LIMITS.row(
    "EarlyFusionClassifier LateFusionClassifier HybridFusionClassifier",
    "one modality, not scaled",
    "the inner classifier",
)
def one_modality_is_the_classifier(cls):
    fused = cls(GaussianNB(), scaling=None).fit(AUDIO, CLASSES)
    alone = GaussianNB().fit(X["audio"], CLASSES)
    np.testing.assert_array_equal(fused.predict(AUDIO), alone.predict(X["audio"]))
    np.testing.assert_allclose(
        fused.predict_proba(AUDIO), alone.predict_proba(X["audio"])
    )


@LIMITS.row(
    "EarlyFusionRegressor LateFusionRegressor HybridFusionRegressor",
    "one modality, not scaled",
    "the inner regressor",
)
def one_modality_is_the_regressor(cls):
    fused = cls(SVR(), scaling=None).fit(AUDIO, VALUES)
    expected = SVR().fit(X["audio"], VALUES).predict(X["audio"])
    np.testing.assert_allclose(fused.predict(AUDIO), expected)


@LIMITS.row(
    "MKLClassifier",
    "one linear kernel, not scaled, algorithm='easymkl'",
    "a linear support vector machine, as below",
    algorithm=["easymkl"],
)
@LIMITS.row(
    "MKLClassifier MKLRegressor",
    "one linear kernel, not scaled",
    "a linear support vector machine on the centred modality of mean squared length 1",
    algorithm=["alignment", "average", "l1", "lp"],
)
def one_kernel_is_a_support_vector_machine(cls, algorithm):
    table, y = X["audio"], VALUES if "Regressor" in cls.__name__ else CLASSES > 0
    ours = cls("linear", scaling=None, algorithm=algorithm).fit(table, y)
    centred = table - table.mean(axis=0)
    unit = table / np.sqrt((centred**2).sum(axis=1).mean())
    machine = (SVR if y is VALUES else SVC)(kernel="linear", tol=1e-9).fit(unit, y)
    decide = "predict" if y is VALUES else "decision_function"
    found, expected = getattr(ours, decide)(table), getattr(machine, decide)(unit)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(ours.kernel_weights_, [1.0])


@LIMITS.row(
    "MKLClusterer",
    "one kernel",
    "k-means of the unit rows of the leading kernel principal components",
)
def one_kernel_is_spectral_k_means(cls):
    K = rbf_kernel(X["audio"], gamma=0.3)
    H = np.eye(len(K)) - 1 / len(K)
    values, vectors = np.linalg.eigh(H @ K @ H)
    coordinates = normalize(vectors[:, -3:] * np.sqrt(values[-3:]))
    expected = KMeans(3, n_init=10, random_state=0).fit_predict(coordinates)
    for given, kernel in ((X["audio"], "rbf"), (K, "precomputed")):
        model = cls(3, kernel=kernel, gamma=0.3, scaling=None, random_state=0)
        assert_same_partition(model.fit(given).labels_, expected)


@LIMITS.row(
    "EAMCClusterer",
    "one modality",
    "a network of one encoder: its attention weight is 1, no loss compares modalities",
)
def one_modality_has_all_attention(cls):
    trainer = Trainer(pretrain_epochs=1, max_epochs=1, batch_size=30)
    fitted = small_network(cls, trainer=trainer, n_init=1).fit(AUDIO)
    assert fitted.attention_weights_.tolist() == [1.0]
    assert not {"attention", "generator"} & set(fitted.history_[-1])


@LIMITS.row(
    "SiMVCClusterer CoMVCClusterer",
    "one modality",
    "deep divergence-based clustering: its weight is 1, no loss compares modalities",
)
def one_modality_has_all_weight(cls):
    fitted = small_network(cls).fit(AUDIO)
    assert fitted.modality_weights_.tolist() == [1.0]
    np.testing.assert_allclose(
        fitted.transform(AUDIO), fitted.modality_latents(AUDIO)["audio"]
    )
    assert all(epoch.get("contrastive", 0) == 0 for epoch in fitted.history_)


@LIMITS.row(
    "AutoencoderClusterer",
    "one modality, any read-out, no epochs of training",
    "k-means of the latents of one autoencoder",
    way=["kmeans", "dec", "damc"],
)
def one_modality_is_k_means_of_latents(cls, way):
    params = {
        "kmeans": {},
        "dec": {"readout": "dec"},
        "damc": {"readout": "dec", "adversarial_weight": 0.01},
    }
    trainer = Trainer(pretrain_epochs=10, max_epochs=0, batch_size=30)
    fitted = small_network(cls, trainer=trainer, **params[way]).fit(AUDIO)
    latents = fitted.modality_latents(AUDIO)["audio"]
    expected = KMeans(2, n_init=10, random_state=0).fit_predict(latents)
    assert_same_partition(fitted.labels_, expected)
    assert not {"cross_reconstruction", "generator"} & set(fitted.history_[-1])


@LIMITS.row(
    "AutoencoderClusterer",
    "readout='dec', clustering_weight=0",
    "readout='kmeans': clusters with which training begins",
)
def dec_without_its_loss_is_k_means(cls):
    found = small_network(cls, readout="dec", clustering_weight=0).fit(X)
    expected = small_network(cls).fit(X)
    np.testing.assert_array_equal(found.transform(X), expected.transform(X))
    np.testing.assert_array_equal(found.labels_, expected.labels_)


@LIMITS.row("AutoencoderClusterer", "adversarial_weight=0", "DAMC is IDEC")
def damc_without_adversaries_is_idec(cls):
    found = small_network(cls, readout="dec", adversarial_weight=0).fit(X)
    expected = small_network(cls, readout="dec").fit(X)
    np.testing.assert_array_equal(found.transform(X), expected.transform(X))
    np.testing.assert_array_equal(found.labels_, expected.labels_)


@LIMITS.row(
    "CoMVCClusterer",
    "reconstruction_weight=0",
    "no decoders, and no pretraining",
)
def without_reconstruction_is_comvc(cls):
    found = small_network(cls, reconstruction_weight=0).fit(X)
    expected = small_network(cls).fit(X)
    np.testing.assert_array_equal(found.transform(X), expected.transform(X))
    assert list(found.phase_epochs_) == ["training"]
    assert found.module_.decoders is None


@LIMITS.row(
    "MFLVCClusterer",
    "identical modalities, encoders and decoders that start alike",
    "the same assignment by each, which the mean over modalities keeps",
)
def identical_modalities_have_equal_assignments(cls):
    class SameStart(Callback):
        def on_train_begin(self, net, **kwargs):
            for modules in (net.module_.encoders, net.module_.decoders):
                modules[1].load_state_dict(modules[0].state_dict())

    trainer = Trainer(
        pretrain_epochs=3,
        max_epochs=3,
        batch_size=30,
        dtype="float64",
        callbacks=[SameStart()],
    )
    data = {"a": X["audio"], "b": X["audio"]}
    fitted = small_network(cls, trainer=trainer, matching_epochs=3).fit(data)
    by_modality = fitted.modality_latents(data)
    np.testing.assert_allclose(by_modality["a"], by_modality["b"], atol=1e-8)
    np.testing.assert_allclose(fitted.transform(data), by_modality["a"], atol=1e-8)
    alone = fitted.predict_proba(
        {"a": X["audio"], "b": np.full_like(X["audio"], np.nan)}
    )
    np.testing.assert_allclose(fitted.predict_proba(data), alone, atol=1e-8)


@LIMITS.row(
    "MFLVCClusterer",
    "one modality",
    "an autoencoder: no loss compares modalities, then k-means of its features",
)
def one_modality_is_clustered_by_its_features(cls):
    trainer = Trainer(pretrain_epochs=2, max_epochs=2, batch_size=30, lr=1e-2)
    before = small_network(cls, trainer=trainer, matching_epochs=0).fit(AUDIO)
    for epoch in before.history_[2:]:
        contrast = [epoch[name] for name in ("features", "assignments", "balance")]
        assert contrast == [0.0, 0.0, 0.0]
    k_means = KMeans(2, n_init=10, random_state=0)
    expected = k_means.fit_predict(minmax_scale(before.transform(AUDIO)))
    fitted = small_network(cls, trainer=trainer, matching_epochs=200).fit(AUDIO)
    assert_same_partition(fitted.labels_, expected)


@LIMITS.row(
    "DMSCClusterer",
    "`n_anchors`",
    "`AnchorGraphClusterer` of its latents, weights by reconstruction",
)
def anchors_of_latents_are_the_anchor_graph(cls):
    trainer = Trainer(pretrain_epochs=2, batch_size=30)
    data = EASY[["audio", "text"]]
    fitted = cls(3, encoders=[8, 4], n_anchors=20, trainer=trainer, random_state=0).fit(
        data
    )
    graph = AnchorGraphClusterer(
        3, weights="reconstruction", n_anchors=20, scaling=None, random_state=0
    )
    latents = np.split(fitted.transform(data), 2, axis=1)
    expected = graph.fit_predict(latents)
    # anchors are those of another start of k-means, and variances are not all 1
    assert adjusted_rand_score(fitted.labels_, expected) > 0.8


@LIMITS.row("CoMVCClusterer", "contrastive_weight=0", "`SiMVCClusterer`")
def without_contrast_is_simvc(cls):
    fitted = small_network(cls, contrastive_weight=0).fit(X)
    expected = small_network(SiMVCClusterer).fit(X)
    np.testing.assert_array_equal(fitted.transform(X), expected.transform(X))
    np.testing.assert_array_equal(fitted.labels_, expected.labels_)


@LIMITS.row(
    "NeuralFusionClassifier NeuralFusionRegressor",
    "fusion='late'",
    "mean of the predictions from each modality alone",
)
def late_networks_are_averaged(cls):
    trainer = Trainer(max_epochs=4, dtype="float64")
    fitted = cls("late", encoders=[8, 4], trainer=trainer, n_members=1, random_state=0)
    fitted.fit(X, target(cls))
    if hasattr(fitted, "predict_proba"):
        expected = np.mean([*fitted.modality_probabilities(X).values()], axis=0)
        np.testing.assert_allclose(fitted.predict_proba(X), expected, rtol=1e-9)
    else:
        expected = fitted.modality_predictions(X).mean(axis=1)
        np.testing.assert_allclose(fitted.predict(X), expected, rtol=1e-9)


@LIMITS.row(
    "NeuralFusionClassifier NeuralFusionRegressor",
    "fusion='mean', one modality",
    "a network of this modality: its latents are what is fused",
)
def one_modality_is_its_own_network(cls):
    trainer = Trainer(max_epochs=2)
    fitted = cls("mean", encoders=[8, 4], trainer=trainer, random_state=0)
    fitted.fit(AUDIO, target(cls))
    latents = fitted.modality_latents(AUDIO)["audio"]
    np.testing.assert_allclose(fitted.transform(AUDIO), latents)
    assert fitted.modality_weights_.tolist() == [1.0]


@LIMITS.row(
    "LateFusionClassifier HybridFusionClassifier",
    "one modality, not scaled, every combination without training",
    "the inner classifier",
    combine=["soft_vote", "hard_vote", "log_pool"],
)
def one_modality_is_its_classifier_under_any_combination(cls, combine):
    fused = cls(GaussianNB(), scaling=None, combine=combine).fit(AUDIO, CLASSES)
    alone = GaussianNB().fit(X["audio"], CLASSES)
    np.testing.assert_array_equal(fused.predict(AUDIO), alone.predict(X["audio"]))


# Modalities that are the same, or agree


@LIMITS.row(
    "SpectralClusterer",
    "one modality, not scaled",
    "`SpectralClustering` of its graph",
    fusion=["blend", "average", "auto_weight", "co_regularized", "concatenated"],
)
def one_modality_is_the_cut_of_its_graph(cls, fusion):
    data = EASY[["audio"]]
    graph = self_tuned_graph(*nearest_samples(data["audio"], 10)).toarray()
    cut = SpectralClustering(3, affinity="precomputed", random_state=0)
    found = cls(3, fusion=fusion, scaling=None, random_state=0).fit(data)
    assert_same_partition(found.labels_, cut.fit_predict(graph))


@LIMITS.row(
    "SpectralClusterer",
    "identical modalities",
    "one of them",
    fusion=["blend", "average", "auto_weight", "co_regularized", "concatenated"],
)
def identical_graphs_are_one(cls, fusion):
    clusterer = cls(3, fusion=fusion, random_state=0)
    one = clusterer.fit(AUDIO).labels_
    assert_same_partition(clusterer.fit([X["audio"]] * 3).labels_, one)


@LIMITS.row("GMCClusterer", "identical modalities", "one of them")
def identical_modalities_are_unified_to_one(cls):
    clusterer = cls(3, random_state=0)
    one = clusterer.fit(EASY[["audio"]]).labels_
    assert_same_partition(clusterer.fit([EASY["audio"]] * 3).labels_, one)


@LIMITS.row(
    "GMCClusterer", "as many components as clusters", "the components, in one round"
)
def separate_components_are_clusters(cls):
    labels = np.arange(90) % 3
    blobs = 50 * np.eye(3)[labels] + np.random.default_rng(0).normal(size=(90, 3))
    found = cls(3, n_neighbors=8, random_state=0).fit([blobs, blobs[:, ::-1]])
    assert found.n_iter_ == 1
    assert_same_partition(found.labels_, labels)


@LIMITS.row(
    "SNFClusterer",
    "as many stored similarities as samples",
    "all pairs",
)
def stored_similarities_are_all_pairs(cls):
    pairs = cls(3, n_stored=None, random_state=0).fit(EASY)
    stored = cls(3, n_stored=len(EASY), random_state=0).fit(EASY)
    assert_same_partition(stored.labels_, pairs.labels_)


@LIMITS.row("SNFClusterer", "one modality", "`SpectralClustering` of its similarities")
def one_modality_is_the_cut_of_its_similarities(cls):
    data = EASY[["audio"]]
    network = similarity_network_fusion(data).toarray()
    np.fill_diagonal(network, 0)
    cut = SpectralClustering(3, affinity="precomputed", random_state=0)
    found = cls(3, random_state=0).fit(data)
    assert_same_partition(found.labels_, cut.fit_predict(network))


@LIMITS.row("AnchorGraphClusterer", "identical modalities", "one of them")
def identical_anchor_graphs_are_one(cls):
    clusterer = cls(3, random_state=0)
    one = clusterer.fit(AUDIO).labels_
    assert_same_partition(clusterer.fit([X["audio"]] * 3).labels_, one)


@LIMITS.row(
    "MultimodalClusterer", "one member", "its clusters", combine=["choose", "hbgf"]
)
def a_consensus_of_one_member_is_its_clusters(cls, combine):
    member = SpectralClusterer(3, random_state=0)
    found = cls(3, clusterers={"graphs": member}, combine=combine, random_state=0)
    found.fit(EASY)
    assert_same_partition(found.labels_, member.fit(EASY).labels_)
    assert found.uncertainty_.max() < 1e-12


@LIMITS.row("EarlyFusionClusterer", "identical modalities", "one of them")
def identical_modalities_are_one(cls):
    inner = AgglomerativeClustering(3)
    one = cls(inner).fit(AUDIO).labels_
    assert_same_partition(cls(inner).fit([X["audio"]] * 3).labels_, one)


@LIMITS.row(
    "LateFusionClusterer HybridFusionClusterer",
    "identical modalities, every combination",
    "one of them",
    combine=COMBINES,
)
def identical_modalities_are_one_under_any_combination(cls, combine):
    clusterer = cls(AgglomerativeClustering(3), combine=combine)
    one = clusterer.fit(AUDIO).labels_
    assert_same_partition(clusterer.fit([X["audio"]] * 3).labels_, one)


@LIMITS.row(
    "LateFusionClassifier",
    "identical modalities",
    "one of them",
    combine=["soft_vote", "hard_vote"],
)
def identical_modalities_classify_as_one(cls, combine):
    one, three = [X["audio"]], [X["audio"]] * 3
    expected = cls(combine=combine).fit(one, CLASSES).decision_function(one)
    found = cls(combine=combine).fit(three, CLASSES).decision_function(three)
    np.testing.assert_allclose(found, expected)


@LIMITS.row(
    "LateFusionRegressor",
    "identical modalities",
    "one of them",
    options=[
        {"combine": "mean", "weights": "uniform"},
        {"combine": "mean", "weights": "inverse_variance"},
        {"combine": "mean", "weights": "error_covariance"},
        {"combine": "median", "weights": "uniform"},
        {"combine": "median", "weights": "inverse_variance"},
    ],
)
def identical_modalities_regress_as_one(cls, options):
    one, three = [X["audio"]], [X["audio"]] * 3
    expected = cls(**options).fit(one, VALUES).predict(one)
    found = cls(**options).fit(three, VALUES).predict(three)
    np.testing.assert_allclose(found, expected)


@LIMITS.row(
    "MKLClassifier",
    "a modality given twice",
    "this modality once",
    algorithm=["alignment", "l1"],
)
def a_modality_given_twice_is_one(cls, algorithm):
    twice = Modalities(X.to_dict() | {"again": X["video"]})
    once = cls(algorithm=algorithm, tol=1e-6).fit(X, CLASSES)
    both = cls(algorithm=algorithm, tol=1e-6).fit(twice, CLASSES)
    np.testing.assert_allclose(
        once.decision_function(X), both.decision_function(twice), atol=5e-3
    )


@LIMITS.row(
    "LateFusionClusterer",
    "modalities whose clusterings agree",
    "their common partition",
    combine=COMBINES,
)
def clusterings_that_agree_are_returned(cls, combine):
    clear, y = make_multimodal_blobs(60, (3, 5, 2), cluster_std=0.3, random_state=0)
    late = cls(n_clusters=3, combine=combine, n_runs=3, random_state=0).fit(clear)
    assert_same_partition(late.labels_, y)
    for own in late.modality_labels_.T:  # in terms of the same clusters
        np.testing.assert_array_equal(own, late.labels_)
    np.testing.assert_array_equal(late.agreement_, 1)


# Modalities of weight 0, and masks


@LIMITS.row(
    "EarlyFusion",
    "a modality of weight 0",
    "the fusion without this modality",
    weights=[[1, 0, 2], {"text": 0, "video": 2}],
)
def weight_zero_removes_a_modality_from_the_fusion(cls, weights):
    rest = X[["audio", "video"]]
    removed, without = cls(weights=[1, 2]).fit(rest), cls(weights=weights).fit(X)
    np.testing.assert_array_equal(without.transform(X), removed.transform(rest))
    assert list(without.columns_) == list(without.scaling_) == ["audio", "video"]
    names = without.get_feature_names_out()
    assert list(names) == list(removed.get_feature_names_out())


@LIMITS.row(
    "EarlyFusionClusterer",
    "a modality of weight 0",
    "the clusterer without this modality, which has no labels of its own",
    weights=[[1, 0, 2], {"text": 0, "video": 2}],
)
def weight_zero_removes_a_modality_from_the_clusters(cls, weights):
    inner = KMeans(3, n_init=1, random_state=0)
    without = cls(inner, weights=weights).fit(X)
    removed = cls(inner, weights=[1, 2]).fit(X[["audio", "video"]])
    np.testing.assert_array_equal(without.labels_, removed.labels_)
    np.testing.assert_array_equal(without.modality_labels_[:, 1], -1)
    assert np.isnan(without.agreement_[1])
    assert not np.isnan(without.agreement_[[0, 2]]).any()


@LIMITS.row(
    "LateFusionClusterer",
    "a modality of weight 0",
    "the clusterer without this modality",
    combine=COMBINES,
)
def weight_zero_removes_a_modality_from_the_consensus(cls, combine):
    # another partition, so that its influence would be seen
    reversed_text = Modalities(X.to_dict() | {"text": X["text"][::-1]})
    inner = AgglomerativeClustering(3)
    removed = cls(inner, weights=[1, 2], combine=combine).fit(X[["audio", "video"]])
    without = cls(inner, weights=[1, 0, 2], combine=combine).fit(reversed_text)
    assert_same_partition(without.labels_, removed.labels_)


@LIMITS.row(
    "LateFusionClassifier",
    "a modality of weight 0, missing modalities",
    "the classifier without this modality",
    combine=["soft_vote", "hard_vote", "log_pool", "stacking"],
    weights=[[1, 0, 1], {"text": 0}],
)
def weight_zero_removes_a_modality_from_the_classifier(cls, combine, weights):
    data, y = make_multimodal_blobs(
        120,
        dict(zip(NAMES, (3, 4, 2), strict=True)),
        cluster_std=3.0,
        missing_rate=0.2,
        random_state=0,
    )
    rest = data[["audio", "video"]]
    removed = cls(combine=combine).fit(rest, y)
    without = cls(combine=combine, weights=weights).fit(data, y)
    np.testing.assert_allclose(
        without.decision_function(data), removed.decision_function(rest)
    )
    np.testing.assert_array_equal(without.predict(data), removed.predict(rest))


@LIMITS.row(
    "LateFusionRegressor",
    "a modality of weight 0, every combination",
    "the regressor without this modality",
    combine=["mean", "median", "stacking"],
)
def weight_zero_removes_a_modality_from_the_regressor(cls, combine):
    rest = X[["audio", "video"]]
    removed = cls(combine=combine).fit(rest, VALUES)
    without = cls(combine=combine, weights={"text": 0}).fit(X, VALUES)
    np.testing.assert_allclose(without.predict(X), removed.predict(rest))


@LIMITS.row(
    "LateFusionClusterer",
    "a mask by which all modalities are observed",
    "no mask",
    combine=COMBINES,
)
def a_mask_that_hides_nothing_is_none(cls, combine):
    late = cls(n_clusters=3, combine=combine, n_runs=2, random_state=0)
    expected = late.fit(X).labels_
    masked = Modalities(X, observed=np.ones(X.shape, dtype=bool))
    np.testing.assert_array_equal(late.fit(masked).labels_, expected)


@LIMITS.row(
    "EarlyFusionClassifier EarlyFusionRegressor",
    "a modality of weight 0",
    "the estimator without this modality",
)
def weight_zero_removes_a_modality(cls):
    rest = X[["audio", "video"]]
    removed = cls().fit(rest, target(cls))
    without = cls(weights={"text": 0}).fit(X, target(cls))
    np.testing.assert_allclose(without.predict(X), removed.predict(rest))


# Strategies of fusion


@LIMITS.row(
    "HybridFusionClusterer",
    "all weight on the fused branch",
    "early fusion",
)
def weight_on_the_fused_branch_is_early_fusion(cls):
    inner = AgglomerativeClustering(3)
    early = EarlyFusionClusterer(inner).fit(X)
    hybrid = cls(inner, weights=[0, 0, 0, 1]).fit(X)
    assert_same_partition(hybrid.labels_, early.labels_)


@LIMITS.row(
    "HybridFusionClassifier HybridFusionRegressor",
    "all weight on the fused branch, or none",
    "early or late fusion",
)
def weight_on_one_branch_is_this_branch(cls):
    if cls.__name__ == "HybridFusionClassifier":
        late = LateFusionClassifier(combine="log_pool")
        early, hybrid = EarlyFusionClassifier(), cls(combine="log_pool")
        method = "predict_proba"
    else:
        late, early, hybrid = LateFusionRegressor(), EarlyFusionRegressor(), cls()
        method = "predict"
    for weights, other in ([0, 0, 0, 1], early), ([1, 1, 1, 0], late):
        hybrid.set_params(weights=weights).fit(X, target(cls))
        expected = getattr(other.fit(X, target(cls)), method)(X)
        np.testing.assert_allclose(getattr(hybrid, method)(X), expected)


@LIMITS.row("HybridFusionClusterer", "no weight on the fused branch", "late fusion")
def no_weight_on_the_fused_branch_is_late_fusion(cls):
    inner = AgglomerativeClustering(3)
    late = LateFusionClusterer(inner).fit(X)
    hybrid = cls(inner, weights={"early": 0}).fit(X)
    assert_same_partition(hybrid.labels_, late.labels_)


@LIMITS.row(
    "HybridFusionClusterer",
    "every combination",
    "late fusion with the fused matrix as one more modality",
    combine=COMBINES,
)
def hybrid_fusion_is_late_fusion_of_one_more_modality(cls, combine):
    params = {"n_clusters": 3, "combine": combine, "n_runs": 2, "random_state": 0}
    hybrid = cls(**params).fit(X)
    late = LateFusionClusterer(scaling=hybrid.scaling_ | {"early": None}, **params)
    late.fit(X.to_dict() | {"early": EarlyFusion().fit_transform(X)})
    np.testing.assert_array_equal(hybrid.labels_, late.labels_)
    np.testing.assert_array_equal(hybrid.modality_labels_, late.modality_labels_)


@LIMITS.row(
    "EarlyFusionClassifier", "a reducer", "`EarlyFusion` before the inner classifier"
)
def early_fusion_is_the_fusion_before_the_classifier(cls):
    pipeline = make_pipeline(EarlyFusion(reducer=PCA(2)), SVC()).fit(X, CLASSES)
    fused = cls(SVC(), reducer=PCA(2)).fit(X, CLASSES)
    np.testing.assert_allclose(
        fused.decision_function(X), pipeline.decision_function(X)
    )


@LIMITS.row(
    "LateFusionClassifier",
    "votes of modalities, not scaled",
    "``VotingClassifier`` of scikit-learn",
    voting=["soft", "hard"],
)
def late_fusion_is_the_voting_of_sklearn(cls, voting):
    table, spec = X.to_array(), X.column_spec()
    columns = [
        (name, make_pipeline(FunctionTransformer(itemgetter((..., own))), GaussianNB()))
        for name, own in spec.items()
    ]
    weights = [1, 2, 3]
    theirs = VotingClassifier(columns, voting=voting, weights=weights)
    theirs.fit(table, CLASSES)
    ours = cls(
        GaussianNB(),
        combine=f"{voting}_vote",
        weights=weights,
        scaling=None,
        modalities=spec,
    ).fit(table, CLASSES)
    np.testing.assert_array_equal(ours.predict(table), theirs.predict(table))
    if voting == "soft":
        np.testing.assert_allclose(
            ours.predict_proba(table), theirs.predict_proba(table)
        )


@LIMITS.row(
    "LateFusionClassifier",
    "'log_pool' of Gaussian modalities, independent given the class",
    "the posterior of all features",
)
def the_log_pool_of_independent_modalities_is_the_posterior(cls):
    rng = np.random.default_rng(0)
    y = (rng.random(500) < 0.3).astype(int)
    data = {n: rng.normal(size=(500, 2)) + k * y[:, None] for k, n in enumerate("abc")}
    table = np.hstack(list(data.values()))
    exact = GaussianNB().fit(table, y).predict_proba(table)
    late = cls(GaussianNB(), combine="log_pool", scaling=None).fit(data, y)
    # the smoothing of variances by GaussianNB differs between one and all modalities
    np.testing.assert_allclose(late.predict_proba(data), exact, atol=1e-5)


# Transformers


@LIMITS.row("MultimodalCCA", "two modalities, not shrunk", "the CCA of scikit-learn")
def canonical_correlations_are_those_of_sklearn(cls):
    own = cls(3, shrinkage=0.0).fit(X[["audio", "text"]])
    scores = CrossCCA(3, max_iter=5000, tol=1e-12).fit_transform(X["audio"], X["text"])
    expected = [np.corrcoef(*(s[:, i] for s in scores))[0, 1] for i in range(3)]
    np.testing.assert_allclose(own.correlations_, expected, atol=1e-5)
    np.testing.assert_allclose(own.strengths_, (1 + own.correlations_) / 2)


@LIMITS.row(
    "MultimodalCCA", "one modality, not shrunk", "whitened principal components"
)
def canonical_scores_of_one_modality_are_principal(cls):
    own = cls(4, shrinkage=0.0).fit_transform(AUDIO)
    whitened = PCA(whiten=True).fit_transform(X["audio"])
    # all components have the same strength, so that only products are determined
    expected = whitened @ whitened.T * len(X) / (len(X) - 1)
    np.testing.assert_allclose(own @ own.T, expected, atol=1e-9)


@LIMITS.row(
    "DCCA",
    "linear encoders, all samples in one batch",
    "the correlations of `MultimodalCCA`",
    loss=["canonical", "eckart_young"],
)
def linear_encoders_have_the_canonical_correlations(cls, loss):
    trainer = Trainer(max_epochs=400, lr=0.02, dtype="float64", device="cpu")
    linear = cls(encoders=2, loss=loss, shrinkage=1e-6, trainer=trainer)
    data = X[["audio", "text"]]
    found = linear.set_params(random_state=0).fit(data).correlations_
    expected = MultimodalCCA(2, shrinkage=0.0).fit(data).correlations_
    np.testing.assert_allclose(found, expected, atol=1e-3)


@LIMITS.row("DCCA", "identical modalities", "correlations of 1")
def identical_latents_correlate_fully(cls):
    copies = {"a": X["audio"], "b": X["audio"], "c": X["audio"]}
    trainer = Trainer(max_epochs=400, lr=0.02, device="cpu")
    fitted = cls(encoders=3, trainer=trainer, random_state=0).fit(copies)
    np.testing.assert_allclose(fitted.correlations_, 1, atol=1e-3)


@LIMITS.row(
    "DCCA", "reconstruction_weight=0", "no decoders, the latents of a weight near 0"
)
def without_reconstruction_is_dcca(cls):
    plain = small_network(cls, reconstruction_weight=0).fit(X)
    assert plain.module_.decoders is None
    near = small_network(cls, reconstruction_weight=1e-12).fit(X)
    assert near.module_.decoders is not None
    for own, other in zip(
        plain.modality_latents(X).values(),
        near.modality_latents(X).values(),
        strict=True,
    ):
        np.testing.assert_allclose(other, own, atol=1e-4)


@LIMITS.row("MultimodalNMF", "one modality", "the objective of scikit-learn's NMF")
def factorisation_of_one_modality_is_that_of_sklearn(cls):
    counts = np.random.default_rng(0).poisson(np.exp(X["audio"] / 4))
    own = cls(3, tol=1e-8, max_iter=2000).fit([counts])
    error = own.objective_history_[-1] * own.scales_["modality_0"] ** 2
    alone = NMF(3, init="nndsvda", tol=1e-8, max_iter=5000).fit(counts.astype(float))
    assert error == pytest.approx(alone.reconstruction_err_**2, rel=0.01)


@LIMITS.row("MultimodalNMF", "a modality of weight 0", "factorisation of the others")
def unweighted_modality_is_not_factorised(cls):
    counts = {n: np.exp(block / 4) for n, block in X.to_dict().items()}
    others = {n: block for n, block in counts.items() if n != "text"}
    own = cls(3, consensus_weight={"text": 0}).fit_transform(counts)
    np.testing.assert_array_equal(own, cls(3).fit_transform(others))


@LIMITS.row(
    "MultimodalNMF", "a large consensus weight", "one weight for all modalities"
)
def pulled_weights_are_those_of_the_concatenation(cls):
    """NMF of the modalities side by side, each divided by its mean sum."""
    counts = [
        np.random.default_rng(i).poisson(np.exp(b / 4)) for i, b in enumerate(X.blocks)
    ]
    own = cls(2, consensus_weight=1e6, tol=0, max_iter=500).fit(counts)
    joint = np.hstack([c / c.sum(axis=1).mean() for c in counts])
    error = NMF(2, tol=1e-8, max_iter=5000).fit(joint).reconstruction_err_ ** 2
    assert own.objective_history_[-1] == pytest.approx(error, rel=0.05)


@LIMITS.row("EarlyFusion", "no scaling, no reducer", "concatenation, weighted")
def fusion_is_concatenation(cls):
    expected = np.hstack(X.blocks)
    np.testing.assert_array_equal(cls(None).fit_transform(X), expected)
    weighted = cls(None, weights=[1, 2, 3]).fit_transform(X)
    np.testing.assert_array_equal(weighted, expected * np.repeat([1, 2, 3], 4))
    mixed = [sparse.csr_array(X["audio"]), X["text"]]
    fused = cls(None).fit_transform(mixed)
    np.testing.assert_array_equal(fused.toarray(), expected[:, :8])


@LIMITS.row("EarlyFusion", "a reducer that keeps everything", "a rotation")
def a_whole_reducer_rotates(cls):
    whole, rotated = cls().fit_transform(X), cls(reducer=PCA()).fit_transform(X)
    np.testing.assert_allclose(rotated @ rotated.T, whole @ whole.T, atol=1e-9)


@LIMITS.row(
    "ModalityKernels",
    "one modality, not scaled, neither centred nor normalised",
    "the kernel of scikit-learn",
)
def kernels_are_those_of_sklearn(cls):
    made = cls(gamma=0.3, scaling=None, center=False, normalize=None)
    found = made.fit_transform(X["audio"])
    np.testing.assert_allclose(found, rbf_kernel(X["audio"], gamma=0.3), atol=1e-12)


@LIMITS.row(
    "ModalityImputer",
    "nothing missing",
    "the identity",
    strategy=["mean", "knn", "zero"],
)
def complete_data_are_returned(cls, strategy):
    assert cls(strategy).fit(X).transform(X) == X


@LIMITS.row("PerModality", "'passthrough'", "the identity")
def passthrough_is_the_identity(cls):
    assert cls("passthrough").fit_transform(X) == X
    table = X.to_array()
    np.testing.assert_array_equal(cls("passthrough").fit_transform(table), table)


@LIMITS.row("PerModality", "one modality", "the inner transformer")
def one_modality_is_the_transformer(cls):
    found = cls(PCA(2)).fit_transform(AUDIO)["audio"]
    np.testing.assert_allclose(found, PCA(2).fit_transform(X["audio"]))


@LIMITS.row("ModalitySplitter", "the table put together again", "the identity")
def splitting_loses_nothing(cls):
    table = X.to_array()
    split = cls(X.column_spec()).fit_transform(table)
    np.testing.assert_array_equal(split.to_array(), table)


@LIMITS.row("SequencePooling", "sequences of one frame, their mean", "this frame")
def the_mean_of_one_frame_is_the_frame(cls):
    frames = X["audio"]
    pooled = cls(["mean"]).fit_transform(Modalities({"audio": frames[:, None]}))
    np.testing.assert_allclose(pooled["audio"], frames)


@LIMITS.row(
    "SequenceResampler",
    "the number of frames of the sequences",
    "the identity",
    n_frames=[17, "median", "max"],
    dtype=[np.float32, np.float64],
)
def the_own_number_of_frames_is_the_identity(cls, n_frames, dtype):
    sequences = np.random.default_rng(0).normal(size=(3, 17, 2)).astype(dtype)
    found = cls(n_frames).fit_transform([sequences]).blocks[0]
    np.testing.assert_array_equal(found, sequences)


@LIMITS.row(
    "SequenceGradients", "sequences that rise linearly", "one constant gradient"
)
def the_gradient_of_a_line_is_its_slope(cls):
    slope = np.array([2.0, -0.5])
    lines = [3 + np.arange(n)[:, None] * slope for n in (2, 5)]
    for line, out in zip(lines, cls().fit_transform([lines]).blocks[0], strict=True):
        np.testing.assert_allclose(out, np.hstack([line, [slope] * len(line)]))


# Likelihood


@LIMITS.row(
    "GaussianBayesClassifier",
    "one modality, 'diag', no outliers, temperature or prior",
    "`GaussianNB`",
)
def independent_features_are_naive_bayes(cls):
    plain = {"outlier_share": 0, "calibrate": False, "variance_prior": 0}
    found = cls("diag", var_smoothing=0, **plain).fit(AUDIO, CLASSES)
    bayes = GaussianNB(var_smoothing=0).fit(X["audio"], CLASSES)
    np.testing.assert_allclose(
        found.predict_proba(AUDIO), bayes.predict_proba(X["audio"]), atol=1e-8
    )


@LIMITS.row(
    "GaussianBayesClassifier", "a modality of weight 0", "the classifier without it"
)
def a_density_of_weight_zero_is_removed(cls):
    weights = dict.fromkeys(X.names, 1.0) | {X.names[0]: 0.0}
    rest = X[list(X.names[1:])]
    np.testing.assert_allclose(
        cls(modality_weights=weights).fit(X, CLASSES).predict_proba(X),
        cls().fit(rest, CLASSES).predict_proba(rest),
    )


@LIMITS.row(
    "MultimodalMixture",
    "one cluster, features as they are, no prior",
    "the mean and covariance of all samples",
)
def one_component_has_the_moments_of_all_samples(cls):
    found = cls(1, explained_variance=None, prior_frames=0).fit(AUDIO)
    density = multivariate_normal(
        X["audio"].mean(axis=0), np.cov(X["audio"].T, bias=True)
    )
    expected = density.logpdf(X["audio"])
    np.testing.assert_allclose(found.score_samples(AUDIO), expected)


@LIMITS.row("HMMClusterer", "one cluster", "the chain of `HMMTransformer`")
def one_cluster_is_one_chain(cls):
    data = [SEQUENCES]
    found = cls(1, n_states=1, outlier_share=0, tol=1e-9).fit(data)
    chain = HMMTransformer(1, outlier_share=0).fit(data)
    frames = np.array([len(x) for x in SEQUENCES])
    assert found.score_samples(data).sum() / frames.sum() == pytest.approx(
        chain.score(data)
    )


# Chains


@LIMITS.row(
    "HMMClassifier",
    "sequences of one frame, one state, no outliers",
    "Gaussian naive Bayes, with a prior of two frames of the pooled variance",
)
def a_chain_of_one_frame_is_naive_bayes(cls):
    audio = X["audio"]
    frames = Modalities({"audio": audio[:, None]})
    chain = cls(1, outlier_share=0, cv=None).fit(frames, CLASSES)
    bayes = GaussianNB(var_smoothing=0).fit(audio, CLASSES)
    counts = bayes.class_count_[:, None]
    bayes.var_ = (counts * bayes.var_ + 2 * audio.var(axis=0)) / (counts + 2)
    np.testing.assert_allclose(
        chain.predict_log_proba(frames), bayes.predict_log_proba(audio), atol=1e-8
    )


@LIMITS.row(
    "CRFLabeler",
    "rows of a table, not scaled",
    "logistic regression with the same C; with two labels, with twice the C",
)
def labels_of_one_frame_are_logistic_regression(cls):
    audio = X["audio"]
    for y, C in ((CLASSES, 1.0), (np.minimum(CLASSES, 1), 2.0)):
        alone = LogisticRegression(C=C, tol=1e-10, max_iter=1000).fit(audio, y)
        labeler = cls(scaling=None, tol=1e-8, max_iter=1000).fit(AUDIO, y)
        found = np.concatenate(list(labeler.predict_marginals(AUDIO)))
        np.testing.assert_allclose(found, alone.predict_proba(audio), atol=1e-5)


@LIMITS.row("CTCRecognizer", "rows of a table", "sequences of one frame")
def rows_are_sequences_of_one_frame(cls):
    options = {"encoders": (4,), "trainer": Trainer(max_epochs=3), "random_state": 0}
    frames = Modalities({"audio": X["audio"][:, None]})
    tables = [
        cls(**options).fit(data, CLASSES).frame_log_probabilities(data)
        for data in (AUDIO, frames)
    ]
    one, other = (np.concatenate(list(own)) for own in tables)
    np.testing.assert_allclose(one, other, atol=1e-10)


@LIMITS.row(
    "HiddenCRFClassifier",
    "sequences of one frame, one state, a large C",
    "logistic regression without penalty",
)
def hidden_states_of_one_frame_are_logistic_regression(cls):
    audio = X["audio"]
    frames = Modalities({"audio": audio[:, None]})
    alone = LogisticRegression(C=1e8, tol=1e-10, max_iter=1000).fit(audio, CLASSES)
    model = cls(1, C=1e8, tol=1e-9, max_iter=1000).fit(frames, CLASSES)
    np.testing.assert_allclose(
        model.predict_proba(frames), alone.predict_proba(audio), atol=1e-4
    )


@LIMITS.row(
    "HMMLabeler",
    "rows of a table, no outliers",
    "Gaussian naive Bayes, with a prior of two frames of the pooled variance",
)
def labels_of_one_frame_are_naive_bayes(cls):
    audio = X["audio"]
    bayes = GaussianNB(var_smoothing=0).fit(audio, CLASSES)
    counts = bayes.class_count_[:, None]
    bayes.var_ = (counts * bayes.var_ + 2 * audio.var(axis=0)) / (counts + 2)
    labeler = cls(outlier_share=0).fit(AUDIO, CLASSES)
    np.testing.assert_array_equal(labeler.predict(AUDIO), bayes.predict(audio))
    found = np.concatenate(list(labeler.predict_marginals(AUDIO)))
    np.testing.assert_allclose(found, bayes.predict_proba(audio), atol=1e-8)


@LIMITS.row("HMMClassifier", "a modality of weight 0", "the classifier without it")
def a_modality_without_weight_is_not_read(cls):
    y = [0, 1, 0]
    both = Modalities({"audio": SEQUENCES, "video": [-x for x in SEQUENCES]})
    one = cls(2, cv=None, modality_weights={"video": 0}).fit(both, y)
    np.testing.assert_allclose(
        one.decision_function(both),
        cls(2, cv=None).fit(both[["audio"]], y).decision_function(both[["audio"]]),
    )


@LIMITS.row("HMMClassifier", "coupling='product' without lag", "coupling='synchronous'")
def a_product_without_lag_is_one_chain(cls):
    y = [0, 1, 0]
    both = Modalities({"audio": SEQUENCES, "video": [x**2 for x in SEQUENCES]})
    product = cls(3, coupling="product", max_lag=0).fit(both, y)
    np.testing.assert_allclose(
        product.predict_proba(both), cls(3).fit(both, y).predict_proba(both), rtol=1e-6
    )


@LIMITS.row(
    "HMMClassifier",
    "coupling='asynchronous' with events of weight 0",
    "the classifier of the signal",
)
def events_without_weight_leave_the_signal(cls):
    y = [0, 1, 0]
    both = Modalities({"audio": SEQUENCES, "video": [x[:2] for x in SEQUENCES]})
    options = {"coupling": "asynchronous", "modality_weights": {"video": 0}}
    found = cls(2, cv=None, **options).fit(both, y).decision_function(both)
    one = cls(2, cv=None).fit(both[["audio"]], y)
    np.testing.assert_allclose(found, one.decision_function(both[["audio"]]))


@LIMITS.row(
    "HMMTransformer", "one state of one modality", "the Gaussian of all its frames"
)
def one_state_has_the_moments_of_all_frames(cls):
    model = cls(1, outlier_share=0).fit([SEQUENCES])
    frames = np.vstack(SEQUENCES)
    variances = frames.var(axis=0)  # equal to their prior
    np.testing.assert_allclose(model.means_["modality_0"], [frames.mean(axis=0)])
    np.testing.assert_allclose(model.covariances_["modality_0"], [variances])
    squares = (frames - frames.mean(axis=0)) ** 2 / variances
    densities = -0.5 * (np.log(2 * np.pi * variances) + squares)
    assert model.score([SEQUENCES]) == pytest.approx(densities.sum(axis=1).mean())


@LIMITS.row(
    "HMMTransformer", "`coupling='hierarchical'` with one unit", "the synchronous chain"
)
def one_unit_is_a_chain(cls):
    data = {"audio": SEQUENCES, "video": SEQUENCES[::-1]}
    options = {"n_states": 2, "n_init": 1, "random_state": 0, "tol": 1e-9, "clock": 8}
    chain = cls(**options).fit(data)
    unit = cls(coupling="hierarchical", n_units=1, **options).fit(data)
    assert unit.score(data) == pytest.approx(chain.score(data), abs=1e-6)


# Alignment


@LIMITS.row(
    "DTWAligner CTWAligner PairHMMAligner", "identical modalities", "the identity"
)
def identical_sequences_are_aligned_by_the_diagonal(cls):
    X = Modalities({"audio": SEQUENCES, "video": SEQUENCES})
    aligned = cls().fit_transform(X)
    for name in X.names:
        for found, expected in zip(aligned[name], SEQUENCES, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-9)


@LIMITS.row("PairHMMAligner", "`decode='viterbi'`", "`DTWAligner`")
def the_likeliest_path_is_that_of_least_cost(cls):
    data = {"audio": SEQUENCES, "video": SEQUENCES[::-1]}
    found, expected = cls(decode="viterbi").fit(data), DTWAligner().fit(data)
    np.testing.assert_allclose(found.distances_, expected.distances_)


@LIMITS.row("PairHMMAligner", "a small `scale`", "`DTWAligner`")
def the_posterior_becomes_one_path(cls):
    data = {"audio": SEQUENCES, "video": SEQUENCES[::-1]}
    found, expected = cls(scale=1e-6).fit(data), DTWAligner().fit(data)
    np.testing.assert_allclose(found.distances_, expected.distances_)


@LIMITS.row("AsynchronousHMMAligner", "as many events as frames", "the identity")
def an_event_at_every_frame_is_at_its_own(cls):
    data = {"audio": SEQUENCES, "video": [x[:, ::-1] for x in SEQUENCES]}
    aligner = cls(n_states=2, n_init=1, random_state=0, tol=0.1).fit(data)
    for path, sequence in zip(aligner.paths_, SEQUENCES, strict=True):
        frames = np.arange(len(sequence))
        np.testing.assert_array_equal(path["video"], np.column_stack([frames, frames]))


@LIMITS.row("DTWKernel", "one modality, kernel='distance'", "`cdist_dtw`")
def distances_are_those_of_dtw(cls):
    found = cls("distance").fit_transform([SEQUENCES])
    np.testing.assert_allclose(found, cdist_dtw(SEQUENCES))


@LIMITS.row(
    "DTWAligner",
    "a window of radius 0, sequences of one length",
    "the identity, at the cost of the distances of frames at the same time",
)
def a_window_of_radius_zero_is_the_diagonal(cls):
    x, y = RNG.normal(size=(2, 9, 3))
    aligner = cls(window="sakoe_chiba", radius=0)
    aligned = aligner.fit_transform(Modalities({"audio": [x], "video": [y]}))
    np.testing.assert_array_equal(aligned["video"][0], y)
    cost = ((x - y) ** 2).sum(axis=1).mean()
    np.testing.assert_allclose(aligner.distances_, [[0, cost]])


@LIMITS.row("SiameseAligner", "no epochs, a shared encoder, no scaling", "`DTWAligner`")
def an_untrained_encoder_is_the_identity(cls):
    data = {"audio": SEQUENCES, "video": SEQUENCES[::-1]}
    aligner = cls(shared=True, scaling=None, trainer=Trainer(max_epochs=0))
    found = aligner.fit(data, [[[0, 0]]] * len(SEQUENCES)).distances_
    np.testing.assert_allclose(found, DTWAligner().fit(data).distances_)


@LIMITS.row("DeepCTWAligner", "no epochs", "`CTWAligner`")
def untrained_networks_are_the_projections(cls):
    data = {"audio": SEQUENCES, "video": SEQUENCES[::-1]}
    found = cls(trainer=Trainer(max_epochs=0)).fit(data).distances_
    np.testing.assert_array_equal(found, CTWAligner(ridge=0.0).fit(data).distances_)


@LIMITS.row("DTWAligner", "projections to the same features", "no projections")
def identity_projections_are_none(cls):
    data = {"audio": SEQUENCES, "video": SEQUENCES[::-1]}
    plain, projected = cls(), cls(projections=dict.fromkeys(data, np.eye(2)))
    for found, expected in zip(
        projected.fit(data).paths_, plain.fit(data).paths_, strict=True
    ):
        np.testing.assert_array_equal(found["video"], expected["video"])


@LIMITS.row(
    "HMMAligner",
    "as many states as frames, without skips",
    "the identity",
    decoding=["posterior", "viterbi"],
)
def a_state_for_every_frame_is_the_identity(cls, decoding):
    sequences = list(RNG.normal(size=(3, 7, 2)))
    found = cls(7, decoding=decoding).fit_transform([sequences]).blocks[0]
    for before, after in zip(sequences, found, strict=True):
        np.testing.assert_array_equal(before, after)


@LIMITS.row("HMMAligner", "one state", "linear resampling in time")
def one_state_is_linear_in_time(cls):
    aligner = cls(1).fit([SEQUENCES])
    for path, sequence in zip(aligner.paths_, SEQUENCES, strict=True):
        n_axis, n_frames = 9, len(sequence)
        apart = (path["modality_0"] + 0.5) / [n_axis, n_frames]
        assert np.abs(np.subtract(*apart.T)).max() <= 1 / min(n_axis, n_frames)


@LIMITS.row("WordAligner", "one source token, without NULL", "relative frequencies")
def one_source_token_has_frequencies(cls):
    target = [["x", "y"], ["x"], ["z", "x"]]
    aligner = cls("ibm1", null_probability=0, concentration=0)
    aligner.fit({"source": [["e"]] * 3, "target": target})
    found = aligner.translations_.toarray()
    np.testing.assert_allclose(found, [[3 / 5, 1 / 5, 1 / 5]])


@LIMITS.row("WordAligner", "one token in every sample, each with its own", "its links")
def single_tokens_are_linked(cls):
    tokens = [[k % 7] for k in range(30)]
    aligner = cls().fit({"source": tokens, "target": tokens})
    for links in aligner.align({"source": tokens, "target": tokens}):
        assert links.tolist() == [[0, 0]]


@LIMITS.row("WordAligner", "tables without tokens", "the tables")
def tables_pass_the_aligner_of_words(cls):
    for name, block in cls().fit_transform(X).to_dict().items():
        np.testing.assert_array_equal(block, X[name])


@LIMITS.row("ProductHMMAligner", "max_lag=0", "`HMMAligner` with joint=True")
def an_alignment_without_lag_is_one_chain(cls):
    data, _, _ = make_audio_visual_sequences(8, n_states=4, random_state=0)
    options = {"tol": 1e-9, "max_iter": 200}
    product = cls(4, max_lag=0, **options).fit(data)
    one = HMMAligner(4, joint=True, **options).fit(data)
    for found, expected in zip(product.edges_, one.edges_, strict=True):
        np.testing.assert_allclose(found["audio"], expected["audio"], atol=1e-4)


@pytest.mark.parametrize(("check", "name", "options"), LIMITS.params())
def test_estimator_reduces_to_its_limit(check, name, options):
    check(all_estimators()[name], **options)


@pytest.mark.parametrize("name", all_estimators())
def test_every_estimator_has_a_limit(name):
    assert not LIMITS.missing(name)


def test_limits_are_of_public_estimators():
    assert not LIMITS.unknown()


@LIMITS.row("CTCAligner", "the log-probabilities of one path, nearly 1", "that path")
def certain_frames_have_their_labels(cls):
    path = np.array([0, 1, 1, 0, 1, 2, 2, 2, 0])
    table = np.where(np.eye(3)[path] == 1, -1e-9, -30.0)
    data = {"network": [table], "ids": [[1, 1, 2]]}
    found = cls().fit(data).align(data)[0]
    assert found.spans.tolist() == [[1, 3], [4, 5], [5, 8]]
    np.testing.assert_allclose(found.log_likelihood, 0, atol=1e-6)


@LIMITS.row("CTCAligner", "tables without labels", "the tables")
@LIMITS.row("ForcedAligner", "tables without labels", "the tables")
def tables_pass_the_aligners_of_labels(cls):
    for name, block in cls().fit_transform(X).to_dict().items():
        np.testing.assert_array_equal(block, X[name])


@LIMITS.row("ForcedAligner", "one label for each sample, n_states=1", "its moments")
def a_lone_state_has_the_moments_of_its_frames(cls):
    rng = np.random.default_rng(0)
    frames = [rng.normal(size=(n, 2)) for n in (40, 60)]
    aligner = cls(n_states=1, outlier_share=0, tol=0).fit(
        {"sensor": frames, "labels": [["a"], ["a"]]}
    )
    pooled = np.concatenate(frames)
    np.testing.assert_allclose(aligner.means_["sensor"][0], pooled.mean(axis=0))
    np.testing.assert_allclose(aligner.stay_probabilities_, [98.1 / 100.2])
