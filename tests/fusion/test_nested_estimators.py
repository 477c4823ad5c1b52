"""Nested estimators that are none, of another kind, or return wrong results."""

import numpy as np
import pytest
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClusterMixin,
    RegressorMixin,
    clone,
)
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

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
    PerModality,
    SingleModalityClusterer,
)
from mmfusion.metrics import WholeDataSplit, labels_scorer

BY_MODALITY = {
    LateFusionClassifier: ("estimator", LogisticRegression),
    LateFusionRegressor: ("estimator", Ridge),
    HybridFusionClassifier: ("estimator", LogisticRegression),
    HybridFusionRegressor: ("estimator", Ridge),
    LateFusionClusterer: ("clusterer", KMeans),
    HybridFusionClusterer: ("clusterer", KMeans),
    EarlyFusion: ("reducer", StandardScaler),
    EarlyFusionClassifier: ("reducer", StandardScaler),
    EarlyFusionRegressor: ("reducer", StandardScaler),
    EarlyFusionClusterer: ("reducer", StandardScaler),
    PerModality: ("transformer", StandardScaler),
}
SINGLE = {
    **BY_MODALITY,
    EarlyFusionClassifier: ("estimator", LogisticRegression),
    EarlyFusionRegressor: ("estimator", Ridge),
    EarlyFusionClusterer: ("clusterer", KMeans),
    SingleModalityClusterer: ("clusterer", KMeans),
}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    return {
        "p": rng.normal(size=(40, 3)) + y[:, None],
        "q": rng.normal(size=(40, 2)),
    }, y


@pytest.mark.parametrize("cls", BY_MODALITY)
def test_entries_of_a_dict_that_are_no_estimators_are_named(cls, data):
    parameter, right = BY_MODALITY[cls]
    wrong = ["drop", "passthrough", "x", 3, right, KMeans().fit, np.zeros(2)]
    # 'drop' leaves a modality out
    wrong = wrong[2:] if cls is PerModality else wrong[1:]
    for value in wrong:
        with pytest.raises(TypeError, match=rf"{parameter}\['q'\] is"):
            cls(**{parameter: {"q": value}}).fit(*data)


@pytest.mark.parametrize("cls", [c for c in SINGLE if c is not EarlyFusion])
def test_a_default_has_nested_parameters_that_make_it(cls, data):
    parameter, default = SINGLE[cls]
    key, value = {Ridge: ("alpha", 3.0), StandardScaler: ("with_std", False)}.get(
        default, ("max_iter", 7)
    )
    estimator = cls()
    name = f"{parameter}__{key}"
    assert name in estimator.get_params()
    assert name not in estimator.get_params(deep=False)
    expected = {k: v for k, v in estimator.get_params().items() if "__" in k}
    estimator.set_params(**{name: value})
    assert getattr(getattr(estimator, parameter), key) == value
    changed = {k: v for k, v in estimator.get_params().items() if "__" in k}
    assert changed == expected | {name: value}
    assert getattr(clone(estimator.fit(*data)), parameter).get_params()[key] == value
    assert getattr(cls(), parameter) is None
    if BY_MODALITY.get(cls) == SINGLE[cls]:
        by_name = cls(**{parameter: {"p": None}})
        assert f"p__{key}" in by_name.get_params()
        by_name.set_params(**{f"p__{key}": value})
        assert getattr(getattr(by_name, parameter)["p"], key) == value


def test_a_final_estimator_has_nested_parameters_before_one_is_given(data):
    search = GridSearchCV(
        LateFusionClassifier(combine="stacking", cv=3),
        {"final_estimator__C": [0.1, 10.0], "estimator__C": [1.0]},
        cv=2,
    ).fit(Modalities(data[0]), data[1])
    assert search.best_estimator_.final_estimator_.C in (0.1, 10.0)


def test_a_search_over_restarts_needs_no_given_clusterer(data):
    search = GridSearchCV(
        EarlyFusionClusterer(n_clusters=2, random_state=0),
        {"clusterer__n_init": [1, 2]},
        scoring=labels_scorer("modality_silhouette"),
        cv=WholeDataSplit(),
    ).fit(Modalities(data[0]))
    assert search.best_estimator_.clusterer_.n_init in (1, 2)


@pytest.mark.parametrize("cls", BY_MODALITY)
def test_none_in_a_dict_is_the_default(cls, data):
    X, y = data
    parameter, _ = BY_MODALITY[cls]
    seed = {"random_state": 0} if "random_state" in cls().get_params() else {}

    def result(option):
        fitted = cls(**{parameter: option}, **seed).fit(X, y)
        if hasattr(fitted, "predict"):
            return fitted.predict(X)
        return np.hstack(
            [np.asarray(out) for out in np.atleast_1d(fitted.transform(X))]
        )

    if cls is PerModality:
        found = cls({"p": None, "q": None}).fit_transform(X).to_array()
        np.testing.assert_allclose(found, cls().fit_transform(X).to_array())
        return
    np.testing.assert_allclose(result({"q": None}), result(None))


@pytest.mark.parametrize("cls", SINGLE)
def test_a_class_in_place_of_an_estimator_is_refused(cls, data):
    parameter, right = SINGLE[cls]
    with pytest.raises(TypeError, match=rf"{parameter} is the class {right.__name__};"):
        cls(**{parameter: right}).fit(*data)


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (EarlyFusionClassifier, Ridge()),
        (LateFusionClassifier, Ridge()),
        (HybridFusionClassifier, make_pipeline(StandardScaler(), Ridge())),
        (LateFusionClassifier, KMeans()),
        (EarlyFusionRegressor, SVC()),
        (LateFusionRegressor, SVC()),
        (HybridFusionRegressor, make_pipeline(StandardScaler(), SVC())),
    ],
    ids=str,
)
@pytest.mark.parametrize("combine", [None, "stacking"])
def test_predictors_of_the_other_kind_are_refused(cls, wrong, combine, data):
    params = {"combine": combine} if combine and "combine" in cls().get_params() else {}
    with pytest.raises(TypeError, match=f"{cls.__name__} needs a"):
        cls(wrong, **params).fit(*data)
    if "Early" not in cls.__name__:
        with pytest.raises(TypeError, match=r"estimator\['q'\] is a"):
            cls({"q": wrong}, **params).fit(*data)
        with pytest.raises(TypeError, match=r"^final_estimator is a"):
            cls(final_estimator=wrong, **params).fit(*data)


# What they return


class Clusterer(ClusterMixin, BaseEstimator):
    """Returns given labels, as a function of its input."""

    def __init__(self, function=None, later=None):
        self.function = function
        self.later = later

    def fit_predict(self, X, y=None):
        return self.function(X)

    def predict(self, X):
        return (self.later or self.function)(X)


WRONG_LABELS = {
    "one less": lambda X: np.zeros(len(X) - 1, dtype=int),
    "two dimensions": lambda X: np.zeros((len(X), 2), dtype=int),
    "fractions": lambda X: np.linspace(0, 1, len(X)),
    "NaN": lambda X: np.full(len(X), np.nan),
    "text": lambda X: np.full(len(X), "a"),
    "nothing": lambda X: None,
}


@pytest.mark.parametrize("what", WRONG_LABELS)
@pytest.mark.parametrize(
    "cls",
    [
        EarlyFusionClusterer,
        HybridFusionClusterer,
        LateFusionClusterer,
        SingleModalityClusterer,
    ],
)
def test_clusterers_that_return_no_labels_are_named(cls, what, data):
    X, _ = data
    wrong = WRONG_LABELS[what]
    with pytest.raises(ValueError, match="Clusterer has returned labels of shape"):
        cls(clusterer=Clusterer(wrong)).fit(X)
    right = Clusterer(lambda X: np.arange(len(X)) % 2, wrong)
    fitted = cls(clusterer=right).fit(X)
    with pytest.raises(ValueError, match="Clusterer has returned labels of shape"):
        fitted.predict(X)


def test_whole_floats_are_labels(data):
    X, _ = data
    whole = Clusterer(lambda X: np.arange(len(X)) % 3.0)
    assert set(LateFusionClusterer(whole).fit(X).labels_) == {0, 1, 2}
    assert EarlyFusionClusterer(whole).fit(X).labels_.dtype.kind == "i"


class Classifier(ClassifierMixin, BaseEstimator):
    """Returns given values."""

    def __init__(self, probabilities=None, labels=None):
        self.probabilities = probabilities
        self.labels = labels

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return self.labels(len(X))

    def predict_proba(self, X):
        return self.probabilities(len(X))


class Regressor(RegressorMixin, BaseEstimator):
    """Returns given values."""

    def __init__(self, values=None):
        self.values = values

    def fit(self, X, y):
        return self

    def predict(self, X):
        return self.values(len(X))


WRONG_VALUES = [
    lambda n: np.zeros((n, 3)),
    lambda n: np.zeros((n - 1, 2)),
    lambda n: np.full((n, 2), np.nan),
    lambda n: np.full((n, 2), np.inf),
    lambda n: np.full((n, 2), "a"),
    lambda n: None,
]


@pytest.mark.parametrize("wrong", range(len(WRONG_VALUES)))
@pytest.mark.parametrize("cls", [LateFusionClassifier, HybridFusionClassifier])
def test_classifiers_that_return_no_probabilities_are_named(cls, wrong, data):
    X, y = data
    wrong = WRONG_VALUES[wrong]
    message = "modality 'q': predict_proba of Classifier has returned"
    fusion = cls({"q": Classifier(wrong)})
    with pytest.raises(ValueError, match=message):
        fusion.fit(X, y).predict(X)
    with pytest.raises(ValueError, match=message):
        fusion.set_params(combine="stacking").fit(X, y)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda n: np.full(n, 7),
        lambda n: np.zeros(n - 1, dtype=int),
        lambda n: np.full(n, "a"),
        lambda n: np.full(n, np.nan),
        lambda n: None,
    ],
)
def test_classifiers_that_return_no_classes_are_named(wrong, data):
    X, y = data
    inner = Classifier(labels=wrong)
    for fusion in (
        LateFusionClassifier({"q": inner}, combine="hard_vote"),
        EarlyFusionClassifier(inner),
    ):
        with pytest.raises(ValueError, match="predict of Classifier has returned"):
            fusion.fit(X, y).predict(X)


@pytest.mark.parametrize("wrong", [*range(len(WRONG_VALUES))])
def test_regressors_that_return_no_values_are_named(wrong, data):
    X, y = data
    inner = Regressor(WRONG_VALUES[wrong])
    for fusion in (
        LateFusionRegressor({"q": inner}),
        LateFusionRegressor({"q": inner}, weights="score"),
        HybridFusionRegressor({"early": inner}),
        EarlyFusionRegressor(inner),
    ):
        with pytest.raises(ValueError, match="predict of Regressor has returned"):
            fusion.fit(X, y.astype(float)).predict(X)


# Fewer distinct points than clusters


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("n_points", [1, 2])
@pytest.mark.parametrize("inner", [None, KMeans(), GaussianMixture()], ids=str)
@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (EarlyFusionClusterer, {}),
        (SingleModalityClusterer, {"modality": 0}),
        (LateFusionClusterer, {"combine": "hbgf"}),
        (LateFusionClusterer, {"combine": "vote"}),
        (LateFusionClusterer, {"combine": "soft_vote"}),
        (LateFusionClusterer, {"combine": "coassociation"}),
        (HybridFusionClusterer, {"combine": "hbgf"}),
        (HybridFusionClusterer, {"combine": "coassociation"}),
    ],
    ids=str,
)
def test_prediction_is_fit_where_points_are_fewer_than_clusters(
    cls, params, inner, n_points
):
    is_vote = params.get("combine") in ("vote", "soft_vote")
    params = {**params, "n_clusters": n_points if is_vote else 4}
    points = np.zeros((60, 3))
    points[:, 0] = np.minimum(np.arange(60), n_points - 1)
    X = {"a": points, "b": points[:, :2]}
    if inner is not None:
        params["clusterer"] = inner
    clusterer = cls(random_state=0, **params).fit(X)
    np.testing.assert_array_equal(clusterer.predict(X), clusterer.labels_)
    assert set(clusterer.labels_) <= set(range(4))
    if not isinstance(inner, GaussianMixture):
        assert len(np.unique(clusterer.labels_)) == n_points
