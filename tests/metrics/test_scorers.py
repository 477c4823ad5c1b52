"""Scorers for searches, and the split of clusterers without predict."""

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, cross_val_score

from mmfusion import EarlyFusionClusterer
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.metrics import (
    WholeDataSplit,
    clustering_accuracy_score,
    get_scorer,
    get_scorer_names,
    labels_scorer,
    modality_silhouette_score,
    pairwise_f_score,
    purity_score,
)

OURS = {
    "clustering_accuracy": clustering_accuracy_score,
    "pairwise_f": pairwise_f_score,
    "purity": purity_score,
}


@pytest.fixture(scope="module")
def data():
    return make_multimodal_blobs(60, (3, 4), cluster_std=3.0, random_state=0)


@pytest.fixture(scope="module")
def fitted(data):
    inner = KMeans(3, n_init=1)
    return EarlyFusionClusterer(inner, random_state=0).fit(data[0])


@pytest.mark.parametrize("name", OURS)
def test_a_scorer_by_name_scores_predictions(data, fitted, name):
    X, y = data
    expected = OURS[name](y[:30], fitted.predict(X[:30]))
    assert get_scorer(name)(fitted, X[:30], y[:30]) == expected
    assert labels_scorer(name)(fitted, X, y) == OURS[name](y, fitted.labels_)


def test_the_silhouette_needs_no_classes(data, fitted):
    X, _ = data
    expected = modality_silhouette_score(X, fitted.labels_)
    assert get_scorer("modality_silhouette")(fitted, X) == expected
    assert labels_scorer("modality_silhouette")(fitted, X) == expected
    assert fitted.score(X) == pytest.approx(expected)


def test_names_of_sklearn_are_supported(data, fitted):
    X, y = data
    expected = adjusted_rand_score(y, fitted.predict(X))
    assert get_scorer("adjusted_rand_score")(fitted, X, y) == expected
    names = get_scorer_names()
    assert {*OURS, "modality_silhouette", "adjusted_rand_score", "r2"} <= set(names)
    assert names == sorted(names)
    for name in names:
        assert callable(get_scorer(name))


def test_the_error_of_an_unknown_name_lists_the_names():
    for lookup in (get_scorer, labels_scorer):
        with pytest.raises(ValueError, match=r"'purrity'.*'purity'"):
            lookup("purrity")


def test_any_function_of_labels_is_a_labels_scorer(data, fitted):
    X, y = data
    found = labels_scorer(adjusted_rand_score)(fitted, X, y)
    assert found == adjusted_rand_score(y, fitted.labels_)


@pytest.mark.parametrize(
    "name", ["adjusted_rand_score", "f1_macro", "neg_mean_absolute_error"]
)
def test_labels_are_scored_as_the_scorer_of_that_name_would(data, fitted, name):
    X, y = data  # whose predictions for the samples of fit are its labels
    expected = get_scorer(name)(fitted, X, y)
    assert labels_scorer(name)(fitted, X, y) == pytest.approx(expected)


def test_a_labels_scorer_refuses_other_samples_than_those_of_fit(data, fitted):
    X, y = data
    scorer = labels_scorer("purity")
    with pytest.raises(ValueError, match=r"\[59, 60\]"):
        scorer(fitted, X[1:], y[1:])
    with pytest.raises(NotFittedError):
        scorer(EarlyFusionClusterer(), X, y)


def test_the_only_split_contains_all_samples(data):
    X, y = data
    cv = WholeDataSplit()
    ((train, test),) = cv.split(X, y)
    np.testing.assert_array_equal(train, np.arange(60))
    np.testing.assert_array_equal(test, np.arange(60))
    assert cv.get_n_splits(X) == 1


@pytest.mark.parametrize("scoring", ["modality_silhouette", "clustering_accuracy"])
def test_a_search_over_a_clusterer_without_predict_finds_the_best(scoring):
    X, y = make_multimodal_blobs(60, (3, 4), cluster_std=0.5, random_state=0)
    search = GridSearchCV(
        EarlyFusionClusterer(AgglomerativeClustering()),
        {"clusterer__n_clusters": [2, 3, 6]},
        cv=WholeDataSplit(),
        scoring=labels_scorer(scoring),
        error_score="raise",
    ).fit(X, y)
    assert search.best_params_ == {"clusterer__n_clusters": 3}
    assert adjusted_rand_score(y, search.best_estimator_.labels_) == 1


@pytest.mark.parametrize("name", [*OURS, "modality_silhouette"])
def test_cross_validation_accepts_every_scorer(data, name):
    X, y = data
    clusterer = EarlyFusionClusterer(KMeans(3, n_init=1), random_state=0)
    scores = cross_val_score(
        clusterer, X, y, cv=3, scoring=get_scorer(name), error_score="raise"
    )
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("value", [None, "good", [0.5], np.nan, np.inf, 1j])
def test_a_function_that_returns_no_number_is_refused_by_name(data, fitted, value):
    def mine(labels_true, labels_pred):
        return value

    X, y = data
    with pytest.raises(ValueError, match=r"score 'mine' returned .* finite number"):
        labels_scorer(mine)(fitted, X, y)


def test_a_scorer_is_looked_up_by_name_only():
    for scoring in (None, ["purity"], purity_score):
        with pytest.raises(TypeError, match="scoring is"):
            get_scorer(scoring)


@pytest.mark.parametrize("name", OURS)
def test_a_score_of_classes_needs_them(data, fitted, name):
    with pytest.raises(ValueError, match="labels_true is None"):
        labels_scorer(name)(fitted, data[0])
