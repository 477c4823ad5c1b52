"""'drop' in place of an estimator, and reducers by name, as in a search."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV

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
    SingleModalityClusterer,
)
from mmfusion.metrics import modality_silhouette_score

NAMES = ["p", "q", "r"]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = {name: rng.normal(size=(60, 3)) + y[:, None] for name in NAMES}
    return Modalities(X), y


def late(cls, **entries):
    """A late or hybrid estimator with an entry for every modality."""
    parameter, inner = {
        "Classifier": ("estimator", LogisticRegression()),
        "Regressor": ("estimator", Ridge()),
        "Clusterer": ("clusterer", KMeans(2, n_init=1)),
    }[cls.__name__.partition("Fusion")[2]]
    seed = {"random_state": 0}
    return cls(**{parameter: dict.fromkeys(NAMES, inner)}, **seed).set_params(**entries)


@pytest.mark.parametrize(
    ("ours", "theirs", "inner"),
    [
        (LateFusionClassifier, VotingClassifier, LogisticRegression()),
        (LateFusionRegressor, VotingRegressor, Ridge()),
    ],
)
def test_a_dropped_modality_is_left_out_as_by_voting(ours, theirs, inner, data):
    X, y = data
    table = X["p"]
    soft = {"voting": "soft"} if theirs is VotingClassifier else {}
    voting = theirs([(n, inner) for n in NAMES], weights=[1, 5, 2], **soft)
    voting.set_params(q="drop").fit(table, y)
    fusion = ours(
        dict.fromkeys(NAMES, inner), scaling={"q": "l2", "p": None, "r": None}
    )
    fusion.set_params(q="drop", weights=[1, 5, 2])
    fusion.fit(dict.fromkeys(NAMES, table), y)
    assert list(fusion.estimators_) == ["p", "r"]
    np.testing.assert_allclose(fusion.modality_weights_, [2 / 3, 4 / 3])
    method = "predict" if theirs is VotingRegressor else "predict_proba"
    found = getattr(fusion, method)(dict.fromkeys(NAMES, table))
    np.testing.assert_allclose(found, getattr(voting, method)(table), rtol=1e-6)
    assert fusion.n_modalities_in_ == 3


@pytest.mark.parametrize(
    ("cls", "weights"),
    [
        (LateFusionClassifier, "uniform"),
        (LateFusionClassifier, "score"),
        (LateFusionRegressor, "uniform"),
        (LateFusionRegressor, "score"),
        (LateFusionClusterer, "agreement"),
    ],
)
def test_a_dropped_modality_has_no_influence(cls, weights, data):
    X, y = data
    expected = late(cls, weights=weights).set_params(
        **{late(cls)._estimators_param: late(cls).get_params()["p"]}
    )
    expected = expected.fit(X[["p", "r"]], y).predict(X[["p", "r"]])
    # text and gaps are not looked at
    text = np.array([["a"], ["b"]] * 30, dtype=object)
    for other in (X["q"], np.where(X["q"] > 1, np.nan, X["q"]), text):
        frame = {"p": X["p"], "q": other, "r": X["r"]}
        fitted = late(cls, q="drop", weights=weights).fit(frame, y)
        np.testing.assert_array_equal(fitted.predict(frame), expected)


@pytest.mark.parametrize(
    "cls", [HybridFusionClassifier, HybridFusionRegressor, HybridFusionClusterer]
)
def test_a_dropped_branch_of_hybrid_fusion_leaves_the_others(cls, data):
    X, y = data
    found = late(cls, q="drop").fit(X, y)
    fitted = getattr(found, "estimators_", None) or found.clusterers_
    assert list(fitted) == ["p", "r", "early"]
    assert found.modality_weights_.shape == (3,)
    assert found.predict(X).shape == (60,)
    parameter = found._estimators_param
    entries = getattr(found, parameter)
    only = {parameter: {**entries, "p": "drop", "early": "drop"}}
    alone = clone(found).set_params(**only).fit(X, y)
    assert list(getattr(alone, "estimators_", None) or alone.clusterers_) == ["r"]
    # without the branch of all modalities the others are not needed to predict
    damaged = Modalities({"p": None, "q": None, "r": X["r"]})
    np.testing.assert_array_equal(alone.predict(damaged), alone.predict(X))


@pytest.mark.parametrize(
    "cls", [LateFusionClassifier, HybridFusionRegressor, LateFusionClusterer]
)
def test_what_is_dropped_was_decided_in_fit(cls, data):
    X, y = data
    fitted = late(cls).fit(X, y)
    expected = fitted.predict(X)
    np.testing.assert_array_equal(fitted.set_params(q="drop").predict(X), expected)


@pytest.mark.parametrize("cls", [LateFusionRegressor, HybridFusionClusterer])
def test_all_dropped_is_refused(cls, data):
    X, y = data
    entries = dict.fromkeys([*NAMES, "early"], "drop")
    wrong = late(cls)
    wrong.set_params(**{wrong._estimators_param: entries})
    if cls is LateFusionRegressor:
        wrong.set_params(estimator=dict.fromkeys(NAMES, "drop"))
    with pytest.raises(ValueError, match="all branches are dropped"):
        wrong.fit(X, y)


def test_passthrough_without_branches_of_one_modality_is_refused(data):
    X, y = data
    dropped = dict.fromkeys(NAMES, "drop")
    of_weight_0 = {"weights": dict.fromkeys(NAMES, 0.0)}
    for options in ({"estimator": {**dropped, "early": Ridge()}}, of_weight_0):
        stack = HybridFusionRegressor(combine="stacking", passthrough=True, **options)
        with pytest.raises(ValueError, match=r"dropped or of weight 0.*passthrough=F"):
            stack.fit(X, y)
        stack.set_params(passthrough=False).fit(X, y)


def test_a_search_drops_modalities(data):
    X, y = data
    grid = {"q": ["drop", LogisticRegression()], "p__C": [1.0]}
    search = GridSearchCV(late(LateFusionClassifier), grid, cv=2).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_clusterings_with_a_dropped_modality_are_scored_by_all(data):
    X, _ = data
    fitted = late(LateFusionClusterer, q="drop").fit(X)
    assert fitted.score(X) == modality_silhouette_score(X, fitted.predict(X))


def test_names_of_dropped_modalities_are_checked(data):
    X, y = data
    with pytest.raises(ValueError, match=r"names \['typo'\]"):
        LateFusionClassifier({"typo": "drop"}).fit(X, y)
    with pytest.raises(TypeError, match=r"estimator\['q'\] is 'left out'.*or 'drop'"):
        LateFusionClassifier({"q": "left out"}).fit(X, y)
    with pytest.raises(TypeError, match=r"clusterer\['q'\] is 'drop'"):
        SingleModalityClusterer(clusterer={"q": "drop"}).fit(X)


# Reducers by name

EARLY = [EarlyFusion, EarlyFusionClassifier, EarlyFusionClusterer, EarlyFusionRegressor]


@pytest.mark.parametrize("cls", EARLY)
def test_reducers_by_name_are_parameters(cls, data):
    X, y = data
    estimator = cls(reducer={"p": PCA(2), "q": None})
    assert estimator.get_params()["p__n_components"] == 2
    given = estimator.reducer["p"]
    fitted = clone(estimator).set_params(p__n_components=1).fit(X, y)
    fusion = fitted if cls is EarlyFusion else fitted.fusion_
    assert fusion.reducers_["p"].n_components_ == 1
    assert given.n_components == 2
    dropped = clone(estimator).set_params(p="drop").fit(X, y)
    fusion = dropped if cls is EarlyFusion else dropped.fusion_
    assert list(fusion.columns_) == ["q", "r"]
    without = clone(estimator).set_params(reducer=None, weights={"p": 0}).fit(X, y)
    fused = [e if cls is EarlyFusion else e.fusion_ for e in (dropped, without)]
    np.testing.assert_array_equal(*(each.transform(X) for each in fused))
    with pytest.raises(ValueError, match="all modalities are dropped"):
        cls(reducer=dict.fromkeys(NAMES, "drop")).fit(X, y)


@pytest.mark.parametrize("cls", EARLY)
def test_modalities_called_like_parameters_are_refused(cls, data):
    X, y = data
    named = {"weights": X["p"], "q": X["q"]}
    assert cls(reducer=PCA(1)).fit(named, y).n_modalities_in_ == 2
    with pytest.raises(ValueError, match=r"\['weights'\] are called like parameters"):
        cls(reducer={"q": PCA(1)}).fit(named, y)


def test_the_inverse_leaves_out_dropped_modalities(data):
    X, _ = data
    fusion = EarlyFusion("standard", reducer={"q": "drop"}).fit(X)
    back = fusion.inverse_transform(fusion.transform(X))
    assert list(back.names) == ["p", "r"]
    np.testing.assert_allclose(back["r"], X["r"])
