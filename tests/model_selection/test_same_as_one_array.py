"""scikit-learn's tools get the same from Modalities as from one array.

The array, with the column spec that takes it apart, is the reference: scikit-learn's
own kind of data.
"""

import pickle
import warnings

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    LeaveOneGroupOut,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    train_test_split,
    validation_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier

from mmfusion import EarlyFusionClusterer
from mmfusion.metrics import get_scorer

from .planted import classifier, plant

X, Y = plant()
GROUPS = np.arange(len(Y)) // 6
GRID = {"logisticregression__C": [0.01, 1], "earlyfusion__scaling": ["block", "l2"]}


def of_search(search, X):
    return np.append(search.cv_results_["mean_test_score"], search.predict(X))


def halving(estimator, grid, **options):
    return HalvingGridSearchCV(
        estimator, grid, cv=2, min_resources=30, random_state=0, **options
    )


CLASSIFICATION = {
    "cross_val_score": lambda e, X, n: cross_val_score(e, X, Y, cv=3, n_jobs=n),
    "cross_validate": lambda e, X, n: np.array(
        [
            cross_validate(e, X, Y, cv=3, n_jobs=n, return_train_score=True)[part]
            for part in ("train_score", "test_score")
        ]
    ),
    "cross_val_predict": lambda e, X, n: cross_val_predict(
        e, X, Y, cv=3, n_jobs=n, method="predict_proba"
    ),
    "GroupKFold": lambda e, X, n: cross_val_score(
        e, X, Y, groups=GROUPS, cv=GroupKFold(3), n_jobs=n
    ),
    "LeaveOneGroupOut": lambda e, X, n: cross_val_predict(
        e, X, Y, groups=GROUPS, cv=LeaveOneGroupOut(), n_jobs=n
    ),
    "GridSearchCV": lambda e, X, n: of_search(
        GridSearchCV(e, GRID, cv=3, n_jobs=n).fit(X, Y), X
    ),
    "RandomizedSearchCV": lambda e, X, n: of_search(
        RandomizedSearchCV(e, GRID, n_iter=3, cv=3, n_jobs=n, random_state=0).fit(X, Y),
        X,
    ),
    "HalvingGridSearchCV": lambda e, X, n: of_search(
        halving(e, GRID, n_jobs=n).fit(X, Y), X
    ),
    "learning_curve": lambda e, X, n: np.hstack(
        learning_curve(e, X, Y, train_sizes=[0.5, 1.0], cv=3, n_jobs=n)[1:]
    ),
    "validation_curve": lambda e, X, n: np.hstack(
        validation_curve(
            e, X, Y, param_name="logisticregression__C", param_range=[0.01, 1], n_jobs=n
        )
    ),
    "permutation_test_score": lambda e, X, n: permutation_test_score(
        e, X, Y, n_permutations=4, cv=3, n_jobs=n, random_state=0
    )[1],
    "VotingClassifier": lambda e, X, n: (
        VotingClassifier([("a", e), ("b", DummyClassifier())], voting="soft", n_jobs=n)
        .fit(X, Y)
        .predict_proba(X)
    ),
    "StackingClassifier": lambda e, X, n: (
        StackingClassifier([("a", e), ("b", DummyClassifier())], cv=3, n_jobs=n)
        .fit(X, Y)
        .predict_proba(X)
    ),
    "CalibratedClassifierCV": lambda e, X, n: (
        CalibratedClassifierCV(e, cv=3, n_jobs=n).fit(X, Y).predict_proba(X)
    ),
    "OneVsRestClassifier": lambda e, X, n: (
        OneVsRestClassifier(e, n_jobs=n).fit(X, Y).predict_proba(X)
    ),
    "MultiOutputClassifier": lambda e, X, n: (
        MultiOutputClassifier(e, n_jobs=n)
        .fit(X, np.column_stack([Y, Y > 0]))
        .predict(X)
    ),
    "TunedThresholdClassifierCV": lambda e, X, n: (
        TunedThresholdClassifierCV(e, thresholds=9, cv=3, n_jobs=n)
        .fit(X, np.where(Y > 0, 1, 0))
        .predict(X)
    ),
    "FrozenEstimator": lambda e, X, n: (
        CalibratedClassifierCV(FrozenEstimator(e.fit(X, Y)), cv=3, n_jobs=n)
        .fit(X, Y)
        .predict_proba(X)
    ),
}


@pytest.mark.parametrize("tool", CLASSIFICATION)
def test_classification(tool):
    run = CLASSIFICATION[tool]
    expected = run(classifier(X.column_spec()), X.to_array(), None)
    assert np.ptp(np.asarray(expected, dtype=float)) > 0
    for n_jobs in (1, 2):
        found = run(classifier(), X, n_jobs)
        assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


def of_clusters(search, X):
    """Predictions under names of the clusters that do not depend on the run."""
    return np.append(
        search.cv_results_["mean_test_score"],
        get_scorer("adjusted_rand_score")(search.best_estimator_, X, Y),
    )


CLUSTER_GRID = {"clusterer__n_clusters": [2, 3], "weights": ["uniform", [1, 0.1]]}
CLUSTERING = {
    "cross_val_score": lambda e, X, n: cross_val_score(e, X, cv=3, n_jobs=n),
    "cross_val_score with classes": lambda e, X, n: cross_val_score(
        e, X, Y, cv=3, n_jobs=n, scoring="adjusted_rand_score"
    ),
    "cross_val_score by name": lambda e, X, n: cross_val_score(
        e, X, Y, cv=3, n_jobs=n, scoring=get_scorer("clustering_accuracy")
    ),
    "cross_validate": lambda e, X, n: cross_validate(
        e, X, Y, cv=3, n_jobs=n, scoring=["adjusted_rand_score", "v_measure_score"]
    )["test_v_measure_score"],
    "cross_val_predict": lambda e, X, n: cross_val_predict(e, X, cv=3, n_jobs=n),
    "GridSearchCV": lambda e, X, n: of_clusters(
        GridSearchCV(e, CLUSTER_GRID, cv=3, n_jobs=n).fit(X), X
    ),
    "GridSearchCV with classes": lambda e, X, n: of_clusters(
        GridSearchCV(
            e, CLUSTER_GRID, cv=3, n_jobs=n, scoring="adjusted_rand_score"
        ).fit(X, Y),
        X,
    ),
    "RandomizedSearchCV": lambda e, X, n: of_clusters(
        RandomizedSearchCV(
            e, CLUSTER_GRID, n_iter=3, cv=3, n_jobs=n, random_state=0
        ).fit(X),
        X,
    ),
    "HalvingGridSearchCV": lambda e, X, n: of_clusters(
        halving(e, CLUSTER_GRID, n_jobs=n).fit(X), X
    ),
    "learning_curve": lambda e, X, n: np.hstack(
        learning_curve(e, X, None, train_sizes=[0.5, 1.0], cv=3, n_jobs=n)[1:]
    ),
    "validation_curve": lambda e, X, n: np.hstack(
        validation_curve(
            e,
            X,
            None,
            param_name="clusterer__n_clusters",
            param_range=[2, 3],
            cv=3,
            n_jobs=n,
        )
    ),
    "FrozenEstimator": lambda e, X, n: FrozenEstimator(e.fit(X)).predict(X),
}


@pytest.mark.parametrize("tool", CLUSTERING)
def test_clustering(tool):
    run = CLUSTERING[tool]
    clusterer = EarlyFusionClusterer(KMeans(3, n_init=1), random_state=0)
    of_array = clone(clusterer).set_params(modalities=X.column_spec())
    expected = run(of_array, X.to_array(), None)
    assert np.ptp(np.asarray(expected, dtype=float)) > 0
    for n_jobs in (1, 2):
        assert_allclose(run(clusterer, X, n_jobs), expected, rtol=1e-5)


def test_train_test_split_keeps_the_classes_in_proportion():
    table = X.to_array()
    options = dict(stratify=Y, test_size=0.25, random_state=0)
    parts = train_test_split(X, table, Y, **options)
    train, test, table_train, table_test, y_train, y_test = parts
    assert np.bincount(y_train).tolist() == [15] * 3
    assert np.bincount(y_test).tolist() == [5] * 3
    assert_allclose(train.to_array(), table_train)
    assert_allclose(test.to_array(), table_test)
    assert classifier().fit(train, y_train).score(test, y_test) > 0.6


def test_an_optuna_search_is_the_same():
    optuna = pytest.importorskip("optuna")
    sklearn_search = pytest.importorskip("optuna_integration.sklearn")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {
        "logisticregression__C": optuna.distributions.FloatDistribution(0.01, 1),
        "earlyfusion__scaling": optuna.distributions.CategoricalDistribution(
            ["block", "l2"]
        ),
    }
    scores = []
    for data, spec in ((X, None), (X.to_array(), X.column_spec())):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", "`optuna.terminator`", FutureWarning)
            search = sklearn_search.OptunaSearchCV(
                classifier(spec), space, n_trials=3, cv=3, random_state=0
            ).fit(data, Y)
        scores.append(
            [*(trial.value for trial in search.trials_), *search.predict(data)]
        )
    assert len(scores[0]) == 3 + len(Y)
    assert_allclose(scores[0], scores[1])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_sample_weights_are_routed_in_a_search(n_jobs):
    weights = np.where(Y == 0, 0.01, 1.0)
    scores = []
    with sklearn.config_context(enable_metadata_routing=True):
        for data, spec in ((X, None), (X.to_array(), X.column_spec())):
            pipeline = classifier(spec)
            for step in pipeline.named_steps.values():
                step.set_fit_request(sample_weight=True)
            scorer = get_scorer("accuracy").set_score_request(sample_weight=True)
            search = GridSearchCV(pipeline, GRID, scoring=scorer, cv=3, n_jobs=n_jobs)
            search.fit(data, Y, sample_weight=weights)
            scores.append([of_search(search, data)])
            hardly_any = (search.predict(data) == 0).sum()
    assert_allclose(scores[0], scores[1])
    assert hardly_any < (classifier().fit(X, Y).predict(X) == 0).sum()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_sample_weights_are_routed_to_a_clusterer(n_jobs):
    with sklearn.config_context(enable_metadata_routing=True):
        kmeans = KMeans(2, n_init=1).set_fit_request(sample_weight=True)
        clusterer = EarlyFusionClusterer(kmeans, random_state=0)
        search = GridSearchCV(clusterer, {"scaling": ["block"]}, cv=3, n_jobs=n_jobs)
        search.fit(X, sample_weight=np.where(Y == 0, 0.0, 1.0))
        without = clone(search.best_estimator_).fit(X[Y != 0])
    assert_allclose(
        search.best_estimator_.clusterer_.cluster_centers_,
        without.clusterer_.cluster_centers_,
    )


def test_a_classifier_survives_cloning_and_pickling():
    fitted = classifier().fit(X, Y)
    back = pickle.loads(pickle.dumps(fitted))
    assert_allclose(back.predict_proba(X), fitted.predict_proba(X))
    again = clone(fitted).fit(X, Y)
    assert_allclose(again.predict_proba(X), fitted.predict_proba(X))
    assert isinstance(again[-1], LogisticRegression)
