"""Meta-estimators that insist on one array: a remedy in the error, which works."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import KMeans
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsOneClassifier
from sklearn.multioutput import ClassifierChain
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from mmfusion import EarlyFusion

from .planted import classifier, plant

X, Y = plant()


class FusedClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of modalities that takes weights, which a Pipeline hides."""

    def __init__(self, modalities=None):
        self.modalities = modalities

    def fit(self, X, y, sample_weight=None):
        self.fusion_ = EarlyFusion(modalities=self.modalities)
        fused = self.fusion_.fit_transform(X, sample_weight=sample_weight)
        self.classifier_ = LogisticRegression().fit(fused, y, sample_weight)
        self.classes_ = self.classifier_.classes_
        return self

    def predict(self, X):
        return self.classifier_.predict(self.fusion_.transform(X))

    def predict_proba(self, X):
        return self.classifier_.predict_proba(self.fusion_.transform(X))


SOME_UNKNOWN = np.where(np.arange(60) % 4 == 0, -1, Y)
RUN_ON_ONE_ARRAY = {
    "BaggingClassifier": lambda spec: BaggingClassifier(
        classifier(spec), n_estimators=5, random_state=0
    ),
    "AdaBoostClassifier": lambda spec: AdaBoostClassifier(
        FusedClassifier(spec), n_estimators=3
    ),
    "OneVsOneClassifier": lambda spec: OneVsOneClassifier(classifier(spec)),
    "SelfTrainingClassifier": lambda spec: SelfTrainingClassifier(classifier(spec)),
    "StackingClassifier with passthrough": lambda spec: StackingClassifier(
        [("a", classifier(spec)), ("b", DummyClassifier())], cv=3, passthrough=True
    ),
}
REFUSE = {
    **{name: make(None) for name, make in RUN_ON_ONE_ARRAY.items()},
    "ClassifierChain": ClassifierChain(classifier()),
    "SequentialFeatureSelector": SequentialFeatureSelector(classifier(), cv=3),
    "StandardScaler": StandardScaler(),
    "KMeans": KMeans(2),
    "RandomForestClassifier": RandomForestClassifier(),
}


@pytest.mark.parametrize("name", REFUSE)
def test_modalities_are_refused_with_the_remedy(name):
    y = np.column_stack([Y > 0, Y > 1]) if name == "ClassifierChain" else Y
    with pytest.raises(TypeError, match=r"to_array\(\).*modalities=X\.column_spec\(\)"):
        REFUSE[name].fit(X, y)


@pytest.mark.parametrize("name", RUN_ON_ONE_ARRAY)
def test_the_remedy_works(name):
    y = SOME_UNKNOWN if name == "SelfTrainingClassifier" else Y
    estimator = RUN_ON_ONE_ARRAY[name](X.column_spec()).fit(X.to_array(), y)
    assert estimator.score(X.to_array(), Y) > 0.7
    inner = estimator.estimators_[0] if hasattr(estimator, "estimators_") else None
    inner = inner or estimator.estimator_
    fusion = inner.fusion_ if isinstance(inner, FusedClassifier) else inner[0]
    assert fusion.modality_names_in_.tolist() == ["audio", "video"]
    assert fusion.n_features_per_modality_in_.tolist() == [3, 4]


def test_the_remedy_works_inside_a_search():
    bagging = RUN_ON_ONE_ARRAY["BaggingClassifier"](X.column_spec())
    grid = {"estimator__earlyfusion__weights": [{"audio": 0}, {"video": 0}]}
    search = GridSearchCV(bagging, grid, cv=3).fit(X.to_array(), Y)
    assert search.best_params_ == {"estimator__earlyfusion__weights": {"video": 0}}


# Dispatch to other array libraries, an experiment of scikit-learn's that has to be
# switched on before it is imported.
DISPATCH = """
import sklearn
from planted import classifier, plant
from sklearn.model_selection import cross_val_score
X, y = plant()
print(cross_val_score(classifier(), X, y, cv=3).mean())
sklearn.set_config(array_api_dispatch=True)
print(cross_val_score(classifier(X.column_spec()), X.to_array(), y, cv=3).mean())
try:
    cross_val_score(classifier(), X, y, cv=3)
except TypeError as error:
    print(error)
"""


def test_with_dispatch_to_array_libraries_one_array_is_the_way():
    run = subprocess.run(
        [sys.executable, "-c", DISPATCH],
        env=os.environ | {"SCIPY_ARRAY_API": "1"},
        cwd=os.path.dirname(__file__),
        capture_output=True,
        text=True,
        check=False,
    )
    if "array_api_compat is required" in run.stderr:
        pytest.skip("scikit-learn < 1.8 dispatches with array_api_compat only")
    assert run.returncode == 0, run.stderr
    without, of_array, refusal = run.stdout.splitlines()
    assert_allclose(float(without), float(of_array))
    assert "Modalities is not a supported array type" in refusal
