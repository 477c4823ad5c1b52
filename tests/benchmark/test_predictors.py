"""Classifiers and regressors: splits, scores, stored predictions, tests of folds."""

import json

import numpy as np
import pytest
from doubles import Counting, Double, count
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import Ridge
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    RepeatedKFold,
    StratifiedKFold,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionRegressor,
    Modalities,
)
from mmfusion.benchmark import baselines, compare, methods
from mmfusion.benchmark._single_modality import SingleModalityClassifier
from mmfusion.benchmark._statistics import corrected_t_test
from mmfusion.datasets import make_multimodal_blobs


@pytest.fixture(scope="module")
def blobs():
    return make_multimodal_blobs(
        60, {"audio": 2, "text": 3}, cluster_std=4.0, random_state=0
    )


@pytest.fixture(scope="module")
def values(blobs):
    X, _ = blobs
    noise = np.random.default_rng(0).normal(size=len(X))
    return X, X["audio"][:, 0] - X["text"][:, 1] + noise


class Remembering(ClassifierMixin, BaseEstimator):
    """Keeps the samples of every fit in a list of its class."""

    seen: list = []

    def fit(self, X, y):
        self.seen.append(X["id"].ravel().tolist())
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])


def test_scores_are_those_of_cross_validation(blobs):
    X, y = blobs
    metrics = ["accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr"]
    classifier = EarlyFusionClassifier()
    frame = compare(classifier, (X, y), metrics, n_repeats=2, cv=3).frame
    for _, rows in frame.groupby("repeat"):
        seed = int(rows["seed"].iloc[0])
        folds = StratifiedKFold(3, shuffle=True, random_state=seed)
        alone = clone(classifier).set_params(random_state=seed)
        expected = cross_validate(alone, X, y, scoring=metrics, cv=folds)
        for metric in metrics:
            assert_array_equal(rows[metric], expected[f"test_{metric}"])
    assert frame["n_train"].tolist() == [40] * 6
    assert frame["split"].tolist() == list(range(6))


def test_all_methods_get_the_same_samples_in_one_fit_each():
    Remembering.seen = []
    X = Modalities({"id": np.arange(40.0)[:, None], "other": np.ones((40, 2))})
    y = np.arange(40) % 2
    compare({"a": Remembering(), "b": Remembering()}, (X, y), n_repeats=2, cv=4)
    seen = Remembering.seen
    assert len(seen) == 16
    assert seen[:8] == seen[8:]
    assert seen[:4] != seen[4:8]  # shuffled by the seed


def test_regressors_have_measured_targets(values):
    X, y = values
    comparison = compare(
        {"early": EarlyFusionRegressor(), "mean": DummyRegressor()}, (X, y), n_repeats=1
    )
    assert comparison.metrics[0] == "r2"
    assert (comparison.frame["status"] == "ok").all()
    assert comparison.ranks().index[0] == "early"
    # losses are printed as papers print them
    mae = comparison.summary("neg_mean_absolute_error")["mean"].iloc[0]
    assert mae < 0
    table = comparison.to_markdown("neg_mean_absolute_error")
    assert "### mean_absolute_error (lower is better)" in table
    assert f"| early  | **{-mae:.3f}**" in table


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_named_methods_and_baselines_run(task, blobs, values):
    data = blobs if task == "classification" else values
    estimators = methods(task) | baselines(data[0], task)
    comparison = compare(estimators, data, task=task, n_repeats=1, cv=2)
    assert comparison.frame["error"].unique().tolist() == [""]
    ranks = comparison.ranks()["mean"]
    assert ranks["dummy"] == ranks.max()


def test_the_best_modality_is_chosen_in_the_training_samples():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = {"noise": rng.normal(size=(60, 3)), "clear": y[:, None] + rng.normal(0, 0.1)}
    fitted = SingleModalityClassifier(random_state=0).fit(X, y)
    assert fitted.modality_ == "clear"
    assert fitted.score(X, y) == 1
    assert fitted.predict_proba(X).shape == (60, 2)
    with pytest.raises(ValueError, match=r"modality='text'.*'noise', 'clear'"):
        SingleModalityClassifier("text").fit(X, y)


def test_groups_stay_together(blobs):
    X, y = blobs
    Remembering.seen = []
    ids = Modalities({"id": np.arange(60.0)[:, None]})
    groups = np.arange(60) // 3
    compare(Remembering(), {"d": (ids, y)}, n_repeats=1, groups={"d": groups})
    for train in Remembering.seen:
        inside = groups[np.array(train, dtype=int)]
        assert not set(inside) & set(np.delete(groups, np.array(train, dtype=int)))
    compare(DummyClassifier(), (X, y), n_repeats=1, cv=GroupKFold(3), groups=groups)


@pytest.mark.parametrize(
    ("cv", "n_splits"),
    [
        (KFold(5, shuffle=True), 10),
        (KFold(5), 5),  # the same in every repeat
        (RepeatedKFold(n_splits=3, n_repeats=2, random_state=0), 12),
        ([(np.arange(30), np.arange(30, 60))], 1),
    ],
)
def test_equal_splits_have_one_number(cv, n_splits, blobs):
    frame = compare(DummyClassifier(), blobs, n_repeats=2, cv=cv).frame
    assert frame["split"].nunique() == n_splits


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"cv": 1}, ValueError, "cv=1; give at least 2 folds"),
        ({"cv": "five"}, ValueError, "data set 'data': .*cv"),
        ({"cv": [([0, 1], [1, 2])]}, ValueError, "both for training and for testing"),
        ({"cv": [([0, 1], [])]}, ValueError, "no test samples"),
        ({"groups": [1, 2]}, ValueError, "'data': .*inconsistent"),
        ({"groups": {"other": [1]}}, ValueError, "'other' is none of the data sets"),
        ({"metrics": "log_loss"}, ValueError, "give 'neg_log_loss'"),
        ({"metrics": "purity"}, ValueError, "no metric 'purity' for classification"),
        ({"task": "regression"}, ValueError, "methods are for classification"),
    ],
)
def test_what_cannot_be_cross_validated_is_refused(blobs, options, error, match):
    with pytest.raises(error, match=match):
        compare(EarlyFusionClassifier(), blobs, **options)


def test_tasks_are_not_mixed(blobs, values):
    X, _ = blobs
    with pytest.raises(ValueError, match="'a' is for clustering and 'b' for class"):
        compare({"a": Double(), "b": DummyClassifier()}, blobs)
    with pytest.raises(ValueError, match=r"measured values.*compare regressors"):
        compare(DummyClassifier(), values)
    with pytest.raises(ValueError, match="not numeric, and the methods are regress"):
        compare(DummyRegressor(), (X, np.full(60, "cat")))
    data = {"a": blobs, "b": blobs}
    with pytest.raises(ValueError, match="dict of arrays by name"):
        compare(DummyClassifier(), data, groups=np.arange(60))


def test_classes_may_be_text_and_metrics_functions(blobs):
    X, y = blobs
    names = np.array(["cat", "dog", "eel"], dtype=object)[y]
    metrics = {
        "hits": lambda true, found: float((true == found).mean()),
        "share": make_scorer(lambda true, found: float(np.mean(found == "cat"))),
    }
    frame = compare(EarlyFusionClassifier(), (X, names), metrics, n_repeats=1).frame
    assert (frame["status"] == "ok").all()
    assert (frame["hits"] > 0.5).all()


def test_a_classifier_without_probabilities_has_its_other_scores(blobs):
    pipeline = make_pipeline(EarlyFusion(), SVC())
    metrics = ["accuracy", "neg_log_loss"]
    comparison = compare({"svm": pipeline}, blobs, metrics, n_repeats=1)
    assert comparison.frame["accuracy"].notna().all()
    assert comparison.frame["neg_log_loss"].isna().all()
    assert comparison.failures()["error"].str.contains("predict_proba").all()
    binary = blobs[0][blobs[1] < 2], blobs[1][blobs[1] < 2]
    frame = compare({"svm": pipeline}, binary, "roc_auc", n_repeats=1).frame
    assert frame["roc_auc"].notna().all()  # by the decision function


class CountingClassifier(ClassifierMixin, Counting):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        super().fit_predict(X)
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[-1])


def test_stored_predictions_are_scored_by_other_metrics(blobs, tmp_path):
    log = str(tmp_path / "log.txt")

    def run(metrics, **options):
        estimators = {"a": CountingClassifier(log)}
        options = {"n_repeats": 2, "cv": 3, "out": tmp_path} | options
        return compare(estimators, {"blobs": blobs}, metrics, **options)

    first = run("accuracy")
    assert count(log) == 6
    assert_frame_equal(run("accuracy").frame, first.frame)
    assert run(["f1_macro", "balanced_accuracy"]).frame["f1_macro"].notna().all()
    assert count(log) == 6
    cell = next((tmp_path / "cells").iterdir())
    content = json.loads(cell.read_text())
    content["outcome"]["responses"]["predict"].pop()
    cell.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="damaged"):
        run("accuracy")
    run("accuracy", cv=4)
    assert count(log) == 6 + 1 + 8


def test_the_corrected_t_test_by_hand():
    differences = np.array([0.1, 0.2, 0.0, 0.3, 0.1])
    t = differences.mean() / np.sqrt((1 / 5 + 1 / 4) * differences.var(ddof=1))
    assert corrected_t_test(differences, 1 / 4) == pytest.approx(
        2 * stats.t.sf(t, df=4)
    )
    # without the correction it is the ordinary paired test
    ordinary = stats.ttest_1samp(differences, 0).pvalue
    assert corrected_t_test(differences, 0.0) == pytest.approx(ordinary)
    assert corrected_t_test(np.zeros(5), 1 / 4) == 1


def test_folds_are_tested_with_the_correction(blobs):
    estimators = {"early": EarlyFusionClassifier(), "dummy": DummyClassifier()}
    comparison = compare(estimators, {"blobs": blobs}, n_repeats=2)
    found = comparison.significance()
    assert found.wilcoxon.empty
    (pair,) = found.t_test.itertuples()
    wide = comparison.frame.pivot(index="split", columns="method", values="accuracy")
    differences = (wide["early"] - wide["dummy"]).to_numpy()
    assert pair.n_pairs == 10
    assert pair.p == pytest.approx(corrected_t_test(differences, 12 / 48))
    assert "paired over 10 test sets on blobs" in str(found)
    assert "It differs significantly (alpha = 0.05) from dummy" in (
        comparison.conclusion()
    )


def test_repeats_with_the_same_folds_are_no_further_observations(blobs):
    estimators = {"early": EarlyFusionClassifier(), "dummy": DummyClassifier()}
    found = [
        compare(estimators, blobs, n_repeats=n, cv=KFold(5)).significance()
        for n in (1, 4)
    ]
    assert_frame_equal(found[0].t_test, found[1].t_test)


def test_few_or_failed_folds_are_not_tested(blobs):
    estimators = {"early": EarlyFusionClassifier(), "dummy": DummyClassifier()}
    text = str(compare(estimators, blobs, n_repeats=1, cv=3).significance())
    assert "No t-test on data: it needs at least 5 different test sets" in text
    shaky = {"bad": make_pipeline(EarlyFusion(), SVC(C=-1)), **estimators}
    found = compare(shaky, blobs, n_repeats=1).significance()
    assert found.t_test["p"].isna().tolist() == [True, True, False]
    assert "2 pairs are not tested" in str(found)


def test_an_estimator_is_left_as_it_was(values):
    pipeline = make_pipeline(EarlyFusion(), Ridge())
    before = repr(pipeline.get_params())
    metrics = {"mae": lambda y, z: -mean_absolute_error(y, z)}
    compare({"ridge": pipeline}, values, metrics, n_repeats=1)
    assert repr(pipeline.get_params()) == before
