"""Clusterers that label only what they were fitted on, in searches."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.cluster import DBSCAN, AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, cross_val_score

from mmfusion import EarlyFusionClusterer
from mmfusion.metrics import WholeDataSplit, clustering_accuracy_score, labels_scorer

from .planted import plant

X, Y = plant()
GRID = {"clusterer__n_clusters": [2, 3, 4], "weights": ["uniform", {"video": 0.1}]}


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(
    ("score", "function"),
    [
        (adjusted_rand_score, adjusted_rand_score),
        ("clustering_accuracy", clustering_accuracy_score),
    ],
)
def test_a_search_scores_the_labels_of_the_whole_data(score, function, n_jobs):
    search = GridSearchCV(
        EarlyFusionClusterer(AgglomerativeClustering()),
        GRID,
        cv=WholeDataSplit(),
        scoring=labels_scorer(score),
        n_jobs=n_jobs,
    ).fit(X, Y)
    expected = [
        function(
            Y,
            EarlyFusionClusterer(
                AgglomerativeClustering(params["clusterer__n_clusters"]),
                weights=params["weights"],
            ).fit_predict(X),
        )
        for params in search.cv_results_["params"]
    ]
    assert_allclose(search.cv_results_["mean_test_score"], expected)
    assert search.best_score_ == function(Y, search.best_estimator_.labels_)
    assert search.n_splits_ == 1


def test_a_search_needs_no_classes():
    search = GridSearchCV(
        EarlyFusionClusterer(AgglomerativeClustering()),
        GRID,
        cv=WholeDataSplit(),
        scoring=labels_scorer("modality_silhouette"),
    ).fit(X)
    assert len(search.best_estimator_.labels_) == 60
    assert np.ptp(search.cv_results_["mean_test_score"]) > 0


def test_splits_of_samples_are_refused_in_words():
    clusterer = EarlyFusionClusterer(DBSCAN())
    assert not hasattr(clusterer, "predict")
    scorer = labels_scorer("clustering_accuracy")
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        cross_val_score(clusterer, X, Y, cv=3, scoring=scorer, error_score="raise")
