"""Held-out predictions where folds lack a class."""

import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut, PredefinedSplit
from sklearn.svm import SVC, LinearSVC

from mmfusion import (
    HybridFusionClassifier,
    LateFusionClassifier,
    LateFusionRegressor,
    Modalities,
)
from mmfusion.datasets import make_multimodal_blobs

LEARNED = [
    {"combine": "stacking"},
    {"calibration": "sigmoid"},
    {"calibration": "isotonic", "combine": "log_pool"},
    {"weights": "score"},
    {"weights": "log_loss", "calibration": "sigmoid"},
    {"combine": "stacking", "estimator": LinearSVC()},
    {"combine": "stacking", "final_estimator": LinearSVC()},
    {"combine": "hard_vote", "weights": "inverse_variance"},
]
UNSEEN = "held out from training samples without their class"


def blobs(sizes, seed=0, missing_rate=0.0):
    """Far apart classes with these numbers of members."""
    X, y = make_multimodal_blobs(
        400,
        {"audio": 3, "video": 2},
        centers=len(sizes),
        cluster_std=0.3,
        missing_rate=missing_rate,
        random_state=seed,
    )
    rows = np.concatenate(
        [np.flatnonzero(y == k)[:size] for k, size in enumerate(sizes)]
    )
    rows = np.random.default_rng(seed).permutation(rows)
    names = np.array([f"class {k}" for k in range(len(sizes))])
    return X[rows], names[y[rows]]


def fit(estimator, *data, **params):
    """Fit, and return what was warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(*data, **params)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("cls", [LateFusionClassifier, HybridFusionClassifier])
@pytest.mark.parametrize("params", LEARNED, ids=str)
def test_classes_of_one_two_and_three_members_are_still_predicted(cls, params):
    X, y = blobs((30, 30, 1, 2, 3))
    fusion = cls(**params)
    messages = fit(fusion, X, y)
    assert any(UNSEEN in m and "class 2" in m for m in messages)
    without = cls(params.get("estimator"), calibration=params.get("calibration"), cv=3)
    if "estimator" in params:
        without.set_params(combine="hard_vote")
    fit(without.set_params(calibration=None), X, y)
    assert fusion.score(X, y) >= without.score(X, y) - 0.03
    rare = X[y == "class 2"]
    if "weights" not in params and without.predict(rare) == ["class 2"]:
        assert fusion.predict(rare) == ["class 2"]
    if hasattr(fusion, "predict_proba"):
        probabilities = fusion.predict_proba(X)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        best = fusion.classes_[probabilities.argmax(axis=1)]
        np.testing.assert_array_equal(best, fusion.predict(X))


@pytest.mark.parametrize("params", LEARNED, ids=str)
def test_a_group_for_each_class_leaves_the_fusion_as_it_is_without(params):
    X, y = blobs((20, 20, 20))
    late = LateFusionClassifier(**params).set_params(cv=LeaveOneGroupOut())
    messages = fit(late, X, y, groups=y)
    assert any(UNSEEN in m and "60 of 60" in m for m in messages)
    assert late.score(X, y) == 1
    np.testing.assert_allclose(late.modality_weights_, 1)
    if "calibration" in params:
        plain = late.set_params(calibration=None, weights="uniform")
        expected = plain.fit(X, y).predict_proba(X)
        late.set_params(**params)
        fit(late, X, y, groups=y)
        np.testing.assert_allclose(late.predict_proba(X), expected)


def test_a_stack_that_could_learn_nothing_is_a_vote():
    X, y = blobs((20, 20, 20))
    for inner, combine in ((LogisticRegression(), "soft_vote"), (SVC(), "hard_vote")):
        stack = LateFusionClassifier(inner, combine="stacking", cv=LeaveOneGroupOut())
        fit(stack, X, y, groups=y)
        assert stack.final_estimator_ is None
        vote = LateFusionClassifier(inner, combine=combine).fit(X, y)
        np.testing.assert_array_equal(stack.predict(X), vote.predict(X))
        np.testing.assert_allclose(
            stack.decision_function(X).argmax(axis=1),
            vote.decision_function(X).argmax(axis=1),
        )


def test_a_forest_on_noise_does_not_lead_a_stack_that_could_learn_nothing():
    X, y = blobs((40, 40, 40))
    noise = np.random.default_rng(0).normal(size=(120, 3))
    X = Modalities({"noise": noise, **X.to_dict()})
    train, test = np.arange(90), np.arange(90, 120)
    late = LateFusionClassifier(
        {"noise": RandomForestClassifier(20, random_state=0)},
        combine="stacking",
        cv=LeaveOneGroupOut(),
    )
    fit(late, X[train], y[train], groups=y[train])
    assert late.score(X[test], y[test]) > 0.9


@pytest.mark.parametrize("params", LEARNED, ids=str)
def test_classes_of_one_sample_each_hold_nothing_out(params):
    X, y = blobs((1, 1, 1))
    late = LateFusionClassifier(**params)
    messages = fit(late, X, y)
    assert any("no sample is held out" in m for m in messages)
    assert late.score(X, y) == 1


def test_fewer_folds_are_made_where_every_class_is_small():
    X, y = blobs((3, 3, 2))
    late = LateFusionClassifier(combine="stacking", cv=10)
    messages = fit(late, X, y)
    assert any("3 folds are made" in m for m in messages)
    assert late.score(X, y) == 1


@pytest.mark.parametrize("params", LEARNED, ids=str)
@pytest.mark.parametrize(
    "cv", [KFold(3), GroupKFold(4), PredefinedSplit(np.arange(36) % 2)], ids=str
)
def test_any_splitter_with_rare_classes_and_gaps(params, cv):
    X, y = blobs((15, 15, 3, 2, 1), missing_rate=0.2)
    late = LateFusionClassifier(**params).set_params(cv=cv)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        late.fit(X, y, groups=np.arange(len(y)) // 3)
    assert late.score(X, y) > 0.8


class Refusing(ClassifierMixin, BaseEstimator):
    """Refuses to be trained on less than two classes, as many do."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError("one class")
        self.inner_ = LogisticRegression().fit(X, y)
        return self

    def predict(self, X):
        return self.inner_.predict(X)

    def predict_proba(self, X):
        return self.inner_.predict_proba(X)


def test_a_modality_whose_training_samples_have_one_class_is_passed_over():
    X, y = blobs((20, 20))
    observed = np.ones(X.shape, dtype=bool)
    fold = np.arange(40) % 2
    observed[(fold == 0) & (y == "class 1"), 0] = False
    masked = Modalities(X, observed=observed)
    late = LateFusionClassifier(
        Refusing(), combine="stacking", cv=PredefinedSplit(fold)
    )
    messages = fit(late, masked, y)
    assert any(UNSEEN in m and "['class 1']" in m for m in messages)
    assert late.score(X, y) == 1


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ([(np.arange(9), np.array([99]))], "fold 0 of cv has the position 99"),
        ([(np.arange(9), np.array([-99]))], "fold 0 of cv has the position -99"),
        ([(np.arange(9), np.array([0.5]))], "fold 0 of cv holds float64"),
        ([(np.arange(9), np.arange(0))], "no fold with training and test"),
        ([], "no fold with training and test"),
    ],
)
@pytest.mark.parametrize("cls", [LateFusionClassifier, LateFusionRegressor])
def test_folds_that_are_none_are_refused(cls, cv, message):
    X, _ = blobs((10, 10))
    y = np.arange(20) % 2
    with pytest.raises(ValueError, match=message):
        cls(combine="stacking", cv=cv).fit(X, y)
