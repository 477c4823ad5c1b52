"""Samples of weight 0 are left out, and those of weight 2 count as two, everywhere."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import is_clusterer
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    adjusted_rand_score,
    pairwise_distances,
    silhouette_score,
)
from sklearn.model_selection import GroupKFold, PredefinedSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    EarlyFusionRegressor,
    HybridFusionClassifier,
    HybridFusionClusterer,
    HybridFusionRegressor,
    LateFusionClassifier,
    LateFusionClusterer,
    LateFusionRegressor,
    Modalities,
    ModalityImputer,
)
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.fusion.combination import _clustering_quality, _clusterings
from mmfusion.testing import all_estimators

from . import slow_consensus as slow
from .test_consensus import METHODS, combine

LOGISTIC = LogisticRegression(tol=1e-10, max_iter=9999)

SCALINGS = ["auto", "block", "standard", "l2", None]
POOLED = [{"scaling": scaling} for scaling in SCALINGS] + [
    {"sample_weighting": "conformal"},
    {"sample_weighting": "distance"},
    {"combine": "stacking"},
    {"weights": "score"},
    {"weights": "inverse_variance"},
]
CLASSIFIED = [
    *POOLED,
    {"combine": "hard_vote", "weights": "log_loss"},
    {"combine": "log_pool", "calibration": "sigmoid"},
    {"calibration": "isotonic", "weights": "score"},
    {"sample_weighting": "entropy"},
    {"estimator": LinearSVC(tol=1e-10, max_iter=99999), "calibration": "sigmoid"},
]
REGRESSED = [
    *POOLED,
    {"combine": "median", "weights": "score"},
    {"weights": "error_covariance"},
]
EARLY = [{"scaling": scaling} for scaling in SCALINGS] + [
    {"missing": "knn"},
    {"missing": "zero"},
    {"reducer": {"audio": StandardScaler()}, "weights": {"text": 2.0}},
]
HYBRID = [
    {"missing": "knn", "combine": "stacking"},
    {"missing": "skip", "weights": "score", "sample_weighting": "conformal"},
]
CASES = {
    EarlyFusion: [{"scaling": scaling} for scaling in SCALINGS]
    + [{"reducer": StandardScaler()}],
    ModalityImputer: [{}, {"strategy": "knn"}, {"strategy": "zero"}],
    EarlyFusionClassifier: EARLY,
    EarlyFusionRegressor: EARLY,
    LateFusionClassifier: CLASSIFIED,
    LateFusionRegressor: REGRESSED,
    HybridFusionClassifier: HYBRID,
    HybridFusionRegressor: [*HYBRID, {"weights": "error_covariance"}],
    EarlyFusionClusterer: [{"scaling": scaling} for scaling in SCALINGS],
    LateFusionClusterer: [{"combine": c} for c in ("hbgf", "vote", "coassociation")]
    + [{"weights": w} for w in _clustering_quality.CLUSTERING_QUALITIES],
    HybridFusionClusterer: [{}, {"missing": "skip"}, {"missing": "knn"}],
}
# those of other topics have tests of their own
ELSEWHERE = {
    "CRFLabeler",
    "GaussianBayesClassifier",
    "HMMClassifier",
    "HMMLabeler",
    "HiddenCRFClassifier",
    "MKLClassifier",
    "MKLClusterer",
    "MKLRegressor",
    "NeuralFusionClassifier",
    "NeuralFusionRegressor",
}


def test_no_estimator_with_weights_goes_unchecked():
    taking = {
        name
        for name, cls in all_estimators().items()
        if "sample_weight" in inspect.signature(cls.fit).parameters
    }
    assert taking <= {cls.__name__ for cls in CASES} | ELSEWHERE


def prepared(cls, params):
    params = dict(params)
    defaults = {
        EarlyFusionClassifier: LOGISTIC,
        LateFusionClassifier: LOGISTIC,
        HybridFusionClassifier: LOGISTIC,
    }
    if cls in defaults:
        params.setdefault("estimator", defaults[cls])
    if params.get("combine") == "stacking":  # RidgeCV would hold copies out alone
        params["final_estimator"] = defaults.get(cls, Ridge())
    if is_clusterer(cls()):
        params |= {"clusterer": KMeans(3, n_init=3), "random_state": 0}
    return cls(**params)


def result(fitted, X):
    for method in ("predict_proba", "predict", "transform"):
        if hasattr(fitted, method):
            found = getattr(fitted, method)(X)
            return found.to_array() if isinstance(found, Modalities) else found
    raise AssertionError("nothing to compare")


def data(cls, params):
    missing = 0.0 if cls in (EarlyFusion, EarlyFusionClusterer) else 0.2
    X, y = make_multimodal_blobs(
        90,
        {"audio": 3, "text": 4},
        centers=3,
        cluster_std=0.3 if is_clusterer(cls()) else 3.0,
        missing_rate=missing,
        random_state=1,
    )
    if "Regressor" in cls.__name__:
        y = X["audio"][:, 0] + X["text"][:, 1] ** 2
        y = np.where(np.isnan(y), 0, y)
    return X, y


CASE_LIST = [(cls, params) for cls, some in CASES.items() for params in some]


@pytest.mark.parametrize("most", [1, 2])
@pytest.mark.parametrize(
    ("cls", "params"), CASE_LIST, ids=[f"{c.__name__}-{p}" for c, p in CASE_LIST]
)
def test_weights_are_repetitions(cls, params, most):
    X, y = data(cls, params)
    weight = np.random.default_rng(3).integers(0, most + 1, len(y))
    rows = np.repeat(np.arange(len(y)), weight)
    weighted, repeated = prepared(cls, params), prepared(cls, params)
    if "cv" in weighted.get_params():  # what is repeated is held out together
        fold = np.arange(len(y)) // 3 % 4
        weighted.set_params(cv=PredefinedSplit(fold))
        repeated.set_params(cv=PredefinedSplit(fold[rows]))
    found = result(weighted.fit(X, y, sample_weight=weight), X)
    expected = result(repeated.fit(X[rows], y[rows]), X)
    if is_clusterer(weighted):
        assert adjusted_rand_score(expected, found) == 1
        np.testing.assert_allclose(
            weighted.modality_weights_, repeated.modality_weights_, rtol=1e-6
        )
        np.testing.assert_allclose(weighted.agreement_, repeated.agreement_)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cls", [EarlyFusionClassifier, HybridFusionClassifier])
@pytest.mark.parametrize("missing", ["mean", "knn"])
def test_samples_of_weight_zero_are_not_copied_by_dropout(cls, missing):
    X, y = data(cls, {})
    weight = np.arange(len(y)) % 3 > 0
    fusion = cls(GaussianNB(), missing=missing, modality_dropout=0.5, random_state=0)
    expected = fusion.fit(X[weight], y[weight]).predict_proba(X)
    found = fusion.fit(X, y, sample_weight=weight).predict_proba(X)
    np.testing.assert_allclose(found, expected)


def test_folds_are_those_of_the_samples_that_count():
    X, y = data(LateFusionClassifier, {})
    weight = np.arange(len(y)) % 3 > 0
    groups = np.arange(len(y)) // 5
    late = LateFusionClassifier(combine="stacking", calibration="sigmoid")
    late.set_params(cv=GroupKFold(3))
    found = late.fit(X, y, sample_weight=weight, groups=groups).predict_proba(X)
    late.fit(X[weight], y[weight], groups=groups[weight])
    np.testing.assert_allclose(found, late.predict_proba(X))
    fold = np.arange(len(y)) % 2
    splits = [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in (0, 1)]
    found = late.set_params(cv=splits).fit(X, y, sample_weight=weight).predict_proba(X)
    late.set_params(cv=PredefinedSplit(fold[weight])).fit(X[weight], y[weight])
    np.testing.assert_allclose(found, late.predict_proba(X))


@pytest.mark.parametrize("cls", [c for c in CASES if c is not ModalityImputer])
def test_the_choice_of_scalings_counts_samples_as_often_as_they_weigh(cls):
    """Most samples of 'text' are counts, but not most of those that count."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.3, (90, 8)) * 1.0
    dense = rng.lognormal(size=(90, 1)) * (rng.random((90, 8)) + 1)
    text = np.where(np.arange(90)[:, None] < 50, counts, dense)
    X = {"audio": rng.random((90, 3)) + 1, "text": text}
    y = np.arange(90) % 2
    heavy, light = np.where(np.arange(90) < 50, [[0], [9]], [[5], [1]]).astype(float)

    def scalings(*data, **params):
        fitted = prepared(cls, {}).fit(*data, **params)
        return getattr(fitted, "fusion_", fitted).scaling_

    for weight in (heavy, light):
        rows = np.repeat(np.arange(90), weight.astype(int))
        repeated = {name: block[rows] for name, block in X.items()}
        expected = scalings(repeated, y[rows])
        assert scalings(X, y, sample_weight=weight) == expected
    assert scalings(X, y, sample_weight=heavy) != scalings(X, y, sample_weight=light)


def test_classes_without_weight_are_no_classes():
    X, y = data(LateFusionClassifier, {})
    for cls in (EarlyFusionClassifier, LateFusionClassifier, HybridFusionClassifier):
        fitted = cls().fit(X, y, sample_weight=(y < 2).astype(float))
        assert fitted.classes_.tolist() == [0, 1]


def test_reducers_without_weights_leave_samples_of_weight_zero_out():
    X, _ = data(EarlyFusion, {})
    weight = np.arange(len(X)) % 2
    for routing in (False, True):
        with config_context(enable_metadata_routing=routing):
            fusion = EarlyFusion(reducer=PCA(2)).fit(X, sample_weight=weight)
            expected = EarlyFusion(reducer=PCA(2)).fit(X[weight > 0]).transform(X)
        np.testing.assert_allclose(np.abs(fusion.transform(X)), np.abs(expected))


@pytest.mark.parametrize("cls", list(CASES))
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.r_[-1.0, np.ones(89)], "sample_weight is -1 for sample 0"),
        (np.zeros(90), "non-zero"),
        (np.r_[np.nan, np.ones(89)], "NaN"),
        (np.ones(7), "sample_weight.shape"),
        (np.full(90, 1e308), "sum of sample_weight overflows"),
    ],
)
def test_weights_that_are_none_are_refused(cls, weight, message):
    X, y = data(cls, {})
    with pytest.raises(ValueError, match=message):
        prepared(cls, {}).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("cls", [c for c in CASES if "Early" not in c.__name__])
def test_a_modality_that_no_sample_of_weight_has_is_named(cls):
    X, y = data(cls, {})
    weight = 1.0 - X.observed[:, 1]
    with pytest.raises(ValueError, match="'text' is missing for every"):
        prepared(cls, {}).fit(X, y, sample_weight=weight)


# Consensus and qualities


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_a_consensus_counts_samples_as_often_as_they_weigh(method, missing):
    base, _ = slow.noisy_base(60, (3, 3, 4, 3, 3), 0.25, missing)
    weight = np.random.default_rng(0).integers(0, 4, 60).astype(float)
    rows = np.repeat(np.arange(60), weight.astype(int))
    labels, weighted = combine(method, replace(base, sample_weight=weight))
    expected, repeated = combine(method, base.take(rows))
    assert adjusted_rand_score(labels[rows], expected) == 1
    np.testing.assert_array_equal(labels, weighted.assign(base))
    assert adjusted_rand_score(labels, repeated.assign(base)) == 1


def test_qualities_count_samples_as_often_as_they_weigh():
    rng = np.random.default_rng(0)
    block, labels = rng.normal(size=(50, 3)), rng.integers(0, 3, (50, 4))
    block[:, 0] += labels[:, 0] * 3
    labels[:, 1] = labels[:, 0]
    weight = rng.integers(0, 4, 50)
    rows = np.repeat(np.arange(50), weight)
    for quality, data in {
        lambda b, *own: _clustering_quality.silhouette(
            b, own[0], None, *own[1:]
        ): block,
        lambda _, *own: _clustering_quality.stability(*own): block,
        _clustering_quality.inverse_variance: block,
    }.items():
        found = quality(data, labels, weight.astype(float))
        assert found == pytest.approx(quality(data[rows], labels[rows]))
        assert found == pytest.approx(
            quality(data[rows], labels[rows], np.ones(len(rows)))
        )
    distances = pairwise_distances(block)
    for run in labels.T:
        found = _clustering_quality._mean_silhouette(distances, run, np.ones(50))
        assert found == pytest.approx(
            silhouette_score(distances, run, metric="precomputed")
        )


def test_the_rand_index_counts_samples_as_often_as_they_weigh():
    rng = np.random.default_rng(0)
    for n_clusters in (1, 2, 4):
        first, second = rng.integers(-1, n_clusters, (2, 40))
        weight = rng.integers(0, 4, 40)
        rows = np.repeat(np.arange(40), weight)
        found = _clusterings.adjusted_rand_index(first, second, weight.astype(float))
        expected = adjusted_rand_score(first[rows], second[rows])
        assert found == pytest.approx(expected)
    assert _clusterings.adjusted_rand_index(first, first, np.full(40, 0.1)) == 1
