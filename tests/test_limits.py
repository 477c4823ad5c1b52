"""Limits: what every estimator must reduce to in a case that something simpler solves.

The rows are shown by docs/development/limits.rst. What holds for functions, and limits
of single options, is tested beside them.
"""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import normalize
from sklearn.svm import SVC, SVR

from mmfusion import Modalities, SiMVCClusterer, Trainer
from mmfusion.alignment import cdist_dtw
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.testing import all_estimators

from .tables import Table

LIMITS = Table(without={})
COMBINES = ["hbgf", "vote", "soft_vote", "coassociation"]
NAMES = ["audio", "text", "video"]
# clusters that overlap, so that two methods agree only if they are one
X, CLASSES = make_multimodal_blobs(
    90, dict.fromkeys(NAMES, 4), cluster_std=[2.5, 3.0, 3.5], random_state=0
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
)
def one_run_is_its_partition(cls):
    inner = AgglomerativeClustering(3)
    alone = clone(inner).fit_predict(X["audio"])
    for combine in COMBINES:
        fused = cls(inner, scaling=None, combine=combine).fit(AUDIO)
        assert_same_partition(fused.labels_, alone)


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
    "MKLClassifier MKLRegressor",
    "one linear kernel, not scaled",
    "a linear support vector machine on the centred modality of mean squared length 1",
)
def one_kernel_is_a_support_vector_machine(cls):
    table, y = X["audio"], target(cls) if "Regressor" in cls.__name__ else CLASSES > 0
    ours = cls("linear", scaling=None).fit(table, y)
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


@LIMITS.row("CoMVCClusterer", "contrastive_weight=0", "SiMVCClusterer")
def without_contrast_is_simvc(cls):
    fitted = small_network(cls, contrastive_weight=0).fit(X)
    expected = small_network(SiMVCClusterer).fit(X)
    np.testing.assert_array_equal(fitted.transform(X), expected.transform(X))
    np.testing.assert_array_equal(fitted.labels_, expected.labels_)


# Modalities that are the same, and modalities of weight 0


@LIMITS.row(
    "EarlyFusionClusterer LateFusionClusterer HybridFusionClusterer",
    "identical modalities",
    "one of them",
)
def identical_modalities_are_one(cls):
    inner = AgglomerativeClustering(3)
    one = cls(inner).fit(AUDIO).labels_
    assert_same_partition(cls(inner).fit([X["audio"]] * 3).labels_, one)


@LIMITS.row(
    "LateFusionClassifier LateFusionRegressor", "identical modalities", "one of them"
)
def identical_modalities_predict_as_one(cls):
    one, three = [X["audio"]], [X["audio"]] * 3
    expected = cls().fit(one, target(cls)).predict(one)
    np.testing.assert_allclose(cls().fit(three, target(cls)).predict(three), expected)


@LIMITS.row(
    "EarlyFusionClassifier EarlyFusionRegressor LateFusionClassifier "
    "LateFusionRegressor",
    "a modality of weight 0",
    "the estimator without this modality",
)
def weight_zero_removes_a_modality(cls):
    rest = X[["audio", "video"]]
    removed = cls().fit(rest, target(cls))
    without = cls(weights={"text": 0}).fit(X, target(cls))
    np.testing.assert_allclose(without.predict(X), removed.predict(rest))


@LIMITS.row(
    "EarlyFusionClusterer LateFusionClusterer",
    "a modality of weight 0",
    "the estimator without this modality",
)
def weight_zero_removes_a_modality_from_clusters(cls):
    inner = AgglomerativeClustering(3)
    removed = cls(inner, weights=[1, 2]).fit(X[["audio", "video"]])
    without = cls(inner, weights=[1, 0, 2]).fit(X)
    assert_same_partition(without.labels_, removed.labels_)


@LIMITS.row(
    "HybridFusionClusterer",
    "all weight on the fused branch",
    "early fusion",
)
def weight_on_the_fused_branch_is_early_fusion(cls):
    inner = AgglomerativeClustering(3)
    early = all_estimators()["EarlyFusionClusterer"](inner).fit(X)
    hybrid = cls(inner, weights=[0, 0, 0, 1]).fit(X)
    assert_same_partition(hybrid.labels_, early.labels_)


@LIMITS.row("HybridFusionClusterer", "no weight on the fused branch", "late fusion")
def no_weight_on_the_fused_branch_is_late_fusion(cls):
    inner = AgglomerativeClustering(3)
    late = all_estimators()["LateFusionClusterer"](inner).fit(X)
    hybrid = cls(inner, weights={"early": 0}).fit(X)
    assert_same_partition(hybrid.labels_, late.labels_)


# Transformers


@LIMITS.row("EarlyFusion", "no scaling, no reducer, no weights", "concatenation")
def fusion_is_concatenation(cls):
    np.testing.assert_array_equal(cls(None).fit_transform(X), np.hstack(X.blocks))


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


@LIMITS.row("ModalityImputer", "nothing missing", "the identity")
def complete_data_are_returned(cls):
    for strategy in ("mean", "knn", "zero"):
        assert cls(strategy).fit(X).transform(X) == X


@LIMITS.row("PerModality", "'passthrough'", "the identity")
def passthrough_is_the_identity(cls):
    assert cls("passthrough").fit_transform(X) == X


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


@LIMITS.row("SequenceResampler", "the number of frames there is", "the identity")
def the_own_number_of_frames_is_the_identity(cls):
    sequences = RNG.normal(size=(3, 17, 2))
    found = cls(17).fit_transform([sequences]).blocks[0]
    np.testing.assert_array_equal(found, sequences)


# Alignment


@LIMITS.row("DTWAligner CTWAligner", "identical modalities", "the identity")
def identical_sequences_are_aligned_by_the_diagonal(cls):
    X = Modalities({"audio": SEQUENCES, "video": SEQUENCES})
    aligned = cls().fit_transform(X)
    for name in X.names:
        for found, expected in zip(aligned[name], SEQUENCES, strict=True):
            np.testing.assert_allclose(found, expected, atol=1e-9)


@LIMITS.row("DTWKernel", "one modality, kernel='distance'", "`cdist_dtw`")
def distances_are_those_of_dtw(cls):
    found = cls("distance").fit_transform([SEQUENCES])
    np.testing.assert_allclose(found, cdist_dtw(SEQUENCES))


@pytest.mark.parametrize(("check", "name"), LIMITS.params())
def test_estimator_reduces_to_its_limit(check, name):
    check(all_estimators()[name])


@pytest.mark.parametrize("name", all_estimators())
def test_every_estimator_has_a_limit(name):
    assert not LIMITS.missing(name)


def test_limits_are_of_public_estimators():
    assert not LIMITS.unknown()
