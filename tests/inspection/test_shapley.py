"""Shapley values: the definition, axioms, sampled orders, folds and errors."""

from dataclasses import replace
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from scipy.stats import t
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmfusion import (
    AnchorGraphClusterer,
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    EarlyFusionRegressor,
    LateFusionClassifier,
    MKLClassifier,
    Modalities,
    ModalityImputer,
    PerModality,
)
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.inspection import modality_shapley
from mmfusion.metrics import WholeDataSplit

SIZES = {"audio": 2, "video": 3, "text": 2}


@pytest.fixture(scope="module")
def blobs():
    return make_multimodal_blobs(90, SIZES, cluster_std=5.0, random_state=0)


def reference(results):
    """The formula with factorials over all subsets, by names."""
    names = results.names
    scores = dict(zip(results.subsets, results.subset_scores.T, strict=True))
    values = []
    for v in names:
        others = [name for name in names if name != v]
        total = 0.0
        for size in range(len(others) + 1):
            weight = factorial(size) * factorial(len(names) - size - 1)
            for subset in combinations(others, size):
                added = tuple(n for n in names if n in subset or n == v)
                gain = scores[added] - scores[subset]
                total = total + weight / factorial(len(names)) * gain
        values.append(total)
    return np.column_stack(values)


@pytest.mark.parametrize("value", ["refit", "mask"])
def test_values_are_those_of_the_formula(blobs, value):
    results = modality_shapley(EarlyFusionClassifier(), *blobs, value=value, cv=3)
    assert results.subset_scores.shape == (3, 8)
    np.testing.assert_allclose(results.values_by_fold, reference(results), atol=1e-12)


def test_scores_of_subsets_are_those_of_cross_validation(blobs):
    X, y = blobs
    results = modality_shapley(EarlyFusionClassifier(), X, y, cv=3)
    for subset, scores in zip(results.subsets, results.subset_scores.T, strict=True):
        if subset:
            part = X[list(subset)]
            expected = cross_val_score(EarlyFusionClassifier(), part, y, cv=3)
            assert scores.tolist() == expected.tolist()
    shares = [np.bincount(y[test]).max() / len(test) for test in [np.arange(len(y))]]
    assert results.empty_score == pytest.approx(shares[0], abs=0.02)


@pytest.mark.parametrize("max_exact", [1, 8])
def test_values_sum_to_the_gain_in_every_fold(blobs, max_exact):
    results = modality_shapley(
        LateFusionClassifier(),
        *blobs,
        cv=3,
        scoring="neg_log_loss",
        max_exact=max_exact,
        n_permutations=4,
        random_state=0,
    )
    gains = results.subset_scores[:, -1] - results.subset_scores[:, 0]
    np.testing.assert_allclose(results.values_by_fold.sum(axis=1), gains, atol=1e-12)
    assert results.values.sum() == pytest.approx(
        results.full_score - results.empty_score
    )


def test_identical_modalities_have_equal_values_and_noise_about_none():
    X, y = make_multimodal_blobs(300, {"a": 3}, cluster_std=5.0, random_state=0)
    noise = np.random.default_rng(0).normal(size=(300, 3))
    data = {"a": X["a"], "b": X["a"], "noise": noise}
    results = modality_shapley(
        EarlyFusionClassifier(), data, y, scoring="neg_log_loss", cv=3
    )
    a, b, nothing = results.values
    assert a == pytest.approx(b, abs=1e-3)
    assert abs(nothing) < 0.1 * a


def test_a_modality_that_is_not_used_has_the_value_0(blobs):
    X, y = blobs
    constant = Modalities(X.to_dict() | {"text": np.zeros((len(y), 1))})
    results = modality_shapley(EarlyFusionClassifier(), constant, y, value="mask", cv=3)
    alone = results.subset_scores[:, results.subsets.index(("text",))]
    # alone it is the prior, and in other subsets it changes nothing
    np.testing.assert_allclose(alone, results.subset_scores[:, 0])
    np.testing.assert_allclose(results.values_by_fold[:, 2], 0, atol=1e-12)


def test_sampled_orders_approach_the_exact_values(blobs):
    options = {"cv": 3, "scoring": "neg_log_loss", "random_state": 0}
    exact = modality_shapley(EarlyFusionClassifier(), *blobs, **options)
    sampled = modality_shapley(
        EarlyFusionClassifier(), *blobs, max_exact=2, n_permutations=200, **options
    )
    assert (exact.sampling_error == 0).all()
    assert (sampled.sampling_error > 0).all()
    differences = np.abs(sampled.values - exact.values)
    assert (differences < 5 * sampled.sampling_error).all()
    assert sampled.standard_error == pytest.approx(exact.standard_error, rel=0.3)


def test_sampling_errors_are_those_of_repeated_samples(blobs):
    options = {"cv": 2, "scoring": "neg_log_loss", "max_exact": 2}
    runs = [
        modality_shapley(
            EarlyFusionClassifier(),
            *blobs,
            value="mask",
            n_permutations=12,
            random_state=seed,
            **options,
        )
        for seed in range(20)
    ]
    spread = np.std([run.values for run in runs], axis=0, ddof=1)
    stated = np.mean([run.sampling_error for run in runs], axis=0)
    assert (stated < 2 * spread).all()
    assert (spread < 2 * stated).all()


def test_sampled_orders_are_scored_once_for_each_subset(blobs):
    X, y = blobs
    wide = Modalities({f"m{v}": X.blocks[v % 3] for v in range(9)})
    results = modality_shapley(
        EarlyFusionClassifier(), wide, y, cv=2, n_permutations=4, random_state=0
    )
    assert len(results.subsets) == len(set(results.subsets))
    assert len(results.subsets) <= 4 * 8 + 2
    again = modality_shapley(
        EarlyFusionClassifier(), wide, y, cv=2, n_permutations=4, random_state=0
    )
    assert again.values.tolist() == results.values.tolist()


def test_intervals_have_the_corrected_variance(blobs):
    results = modality_shapley(EarlyFusionClassifier(), *blobs, cv=3, confidence=0.9)
    std = results.values_by_fold.std(axis=0, ddof=1)
    # 30 test samples to 60 for training
    margin = t.ppf(0.95, 2) * std * np.sqrt(1 / 3 + 1 / 2)
    np.testing.assert_allclose(results.upper - results.values, margin)
    np.testing.assert_allclose(results.values - results.lower, margin)
    frame = results.to_frame()
    assert frame.index.tolist() == list(SIZES)
    np.testing.assert_allclose(frame["std"], std)


def test_jobs_and_progress_do_not_change_the_values(blobs, capfd):
    plain = modality_shapley(EarlyFusionClassifier(), *blobs, cv=2)
    shown = modality_shapley(
        EarlyFusionClassifier(), *blobs, cv=2, n_jobs=2, verbose=True
    )
    assert plain.subset_scores.tolist() == shown.subset_scores.tolist()
    out, err = capfd.readouterr()
    assert out + err


@pytest.mark.parametrize("value", ["refit", "mask"])
@pytest.mark.parametrize("fusion", [EarlyFusionClassifier, LateFusionClassifier])
def test_samples_without_the_modalities_of_a_subset_get_the_prior(fusion, value):
    X, y = make_multimodal_blobs(
        90, SIZES, cluster_std=5.0, missing_rate=0.3, random_state=0
    )
    results = modality_shapley(fusion(), X, y, value=value, cv=3)
    gains = results.subset_scores[:, -1] - results.subset_scores[:, 0]
    np.testing.assert_allclose(results.values_by_fold.sum(axis=1), gains, atol=1e-12)
    if value == "refit":
        audio = X.observed[:, 0]
        scores = results.subset_scores[:, results.subsets.index(("audio",))]
        # at best all samples that have it are right, and the prior of the others
        assert scores.mean() <= audio.mean() + (1 - audio.mean()) * 0.6


def test_masks_of_late_fusion_are_as_good_as_fits(blobs):
    # classifiers of modalities are fitted apart from each other
    fitted, masked = (
        modality_shapley(LateFusionClassifier(), *blobs, value=value, cv=3)
        for value in ("refit", "mask")
    )
    np.testing.assert_allclose(fitted.subset_scores, masked.subset_scores)


def test_regressors_and_pipelines_are_scored(blobs):
    X, _ = blobs
    target = X["audio"][:, 0] + X["video"][:, 0]
    results = modality_shapley(EarlyFusionRegressor(), X, target, cv=3)
    assert results.metric == "r2"
    assert results.names[int(results.values.argmin())] == "text"
    pipeline = make_pipeline(EarlyFusion(), StandardScaler(), LogisticRegression())
    results = modality_shapley(pipeline, *blobs, cv=2)
    assert results.metric == "accuracy"


def test_parameters_by_modality_are_restricted_to_the_subset(blobs):
    by_name = {"audio": StandardScaler(), "video": StandardScaler()}
    pipeline = make_pipeline(PerModality(by_name), EarlyFusionClassifier())
    results = modality_shapley(pipeline, *blobs, cv=2)
    assert len(results.subsets) == 8
    weighted = LateFusionClassifier(
        {"audio": LogisticRegression(), "text": GaussianNB()}
    )
    assert len(modality_shapley(weighted, *blobs, cv=2).subsets) == 8
    assert set(weighted.estimator) == {"audio", "text"}


def test_clusterers_are_scored_by_silhouette_or_classes(blobs):
    X, y = blobs
    clusterer = EarlyFusionClusterer(KMeans(3, random_state=0))
    without = modality_shapley(clusterer, X, cv=2)
    assert (without.metric, without.empty_score) == ("modality_silhouette", 0)
    with_classes = modality_shapley(clusterer, X, y, cv=2)
    assert with_classes.metric == "adjusted_rand_score"
    assert with_classes.empty_score == 0
    transductive = EarlyFusionClusterer(AgglomerativeClustering(3))
    with pytest.raises(TypeError, match=r"without predict.*WholeDataSplit"):
        modality_shapley(transductive, X, y, cv=2)
    once = modality_shapley(transductive, X, y, cv=WholeDataSplit())
    assert np.isnan(once.lower).all()
    assert once.full_score > 0.3


def test_classes_do_not_reach_clusterers(blobs):
    class Recorder(EarlyFusionClusterer):
        def fit(self, X, y=None):
            assert y is None
            return super().fit(X)

    modality_shapley(Recorder(n_clusters=3, random_state=0), *blobs, cv=2)


def test_errors_name_the_subset_and_the_remedy(blobs):
    X, y = blobs
    with pytest.raises(ValueError, match=r"fold 0: .*ModalityImputer\(\) before"):
        modality_shapley(ObservedOnly(), X, y, value="mask", cv=2)
    repaired = make_pipeline(ModalityImputer(), ObservedOnly())
    assert modality_shapley(repaired, X, y, value="mask", cv=2).full_score > 0.5
    with pytest.raises(ValueError, match=r"\['audio'\] of fold 0: .*value='mask'"):
        modality_shapley(NeedsAll(), X, y, cv=2)
    assert modality_shapley(NeedsAll(), X, y, value="mask", cv=2).full_score > 0.5


class ObservedOnly(MKLClassifier):
    """A classifier that accepts no missing modalities."""

    def __modality_tags__(self):
        return replace(super().__modality_tags__(), missing=False)


class NeedsAll(EarlyFusionClassifier):
    """A classifier of three modalities."""

    def fit(self, X, y):
        if X.shape[1] < 3:
            raise ValueError("three modalities are needed")
        return super().fit(X, y)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"y": None}, ValueError, "target y is None"),
        ({"y": [0, 1]}, ValueError, "inconsistent numbers of samples"),
        ({"estimator": EarlyFusion()}, TypeError, "give a classifier, a regressor"),
        ({"estimator": None}, TypeError, "estimator"),
        ({"estimator": EarlyFusionClassifier}, TypeError, "estimator is the class"),
        ({"X": np.ones((90, 4))}, ValueError, "Modalities.from_table"),
        ({"cv": []}, ValueError, "cv"),
        ({"cv": 1}, ValueError, "cv"),
        ({"scoring": "accuracies"}, ValueError, "scoring"),
        ({"scoring": lambda *_: np.nan}, ValueError, "has returned nan"),
        ({"value": "drop"}, ValueError, "value"),
        ({"confidence": 1}, ValueError, "confidence"),
        ({"groups": [1]}, ValueError, "groups"),
        ({"estimator": AnchorGraphClusterer(), "cv": 1.5}, ValueError, "cv"),
    ],
)
def test_invalid_arguments_are_refused(blobs, changes, error, message):
    X, y = blobs
    arguments = {"estimator": EarlyFusionClassifier(), "X": X, "y": y, "cv": 2}
    with pytest.raises(error, match=message):
        modality_shapley(**arguments | changes)
