"""Degradation curves: scores at level 0 and above, number of fits, errors."""

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.cluster import AgglomerativeClustering
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GroupKFold,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    LateFusionClassifier,
    LateFusionClusterer,
    LateFusionRegressor,
    Modalities,
)
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.metrics import WholeDataSplit, get_scorer, labels_scorer
from mmfusion.robustness import (
    add_noise,
    degradation_curve,
    drop_modalities,
)


@pytest.fixture(scope="module")
def blobs():
    return make_multimodal_blobs(
        90, {"audio": 3, "video": 4}, cluster_std=3.0, random_state=0
    )


class Recorder(ClassifierMixin, BaseEstimator):
    """Predicts a constant, and records its input."""

    calls = []

    def __init__(self, name="recorder"):
        self.name = name

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        self.calls.append((self.name, "fit", X))
        return self

    def predict(self, X):
        self.calls.append((self.name, "predict", X))
        return np.full(len(X), self.classes_[0])


@pytest.fixture
def calls():
    Recorder.calls.clear()
    return Recorder.calls


def scores(results, **where):
    return [
        row["score"]
        for row in results.results
        if all(row[key] == value for key, value in where.items())
    ]


@pytest.mark.parametrize("degradation", ["missing", "noise", "swap"])
def test_level_0_is_cross_validation(blobs, degradation):
    X, y = blobs
    classifier = LateFusionClassifier()
    results = degradation_curve(classifier, X, y, degradation=degradation)
    plain = cross_val_score(classifier, X, y)
    for name in X.names:
        assert scores(results, modality=name, level=0) == plain.tolist()


def test_other_levels_are_scores_of_the_degraded_test_samples(blobs):
    X, y = blobs
    folds = StratifiedKFold(3).split(X, y)
    results = degradation_curve(
        LateFusionClassifier(), X, y, modalities=["video"], levels=[1], cv=3
    )
    by_hand = [
        LateFusionClassifier()
        .fit(X[train], y[train])
        .score(drop_modalities(X[test], 1, "video"), y[test])
        for train, test in folds
    ]
    assert scores(results) == by_hand


def test_each_fold_is_fitted_once_on_clean_data(blobs, calls):
    X, y = blobs
    degradation_curve(
        Recorder(), X, y, degradation=["missing", "noise"], cv=3, n_repeats=2
    )
    fits = [frame for _, what, frame in calls if what == "fit"]
    assert len(fits) == 3
    assert all(frame.observed.all() for frame in fits)
    # clean once, then 2 degradations of 2 modalities at 4 levels with 2 repeats
    assert len(calls) - len(fits) == 3 * (1 + 2 * 2 * 4 * 2)


def test_all_estimators_are_scored_on_the_same_degraded_samples(blobs, calls):
    X, y = blobs
    named = {"first": Recorder("first"), "second": Recorder("second")}
    options = {"degradation": ["missing", "noise", "swap"], "cv": 2}
    degradation_curve(named, X, y, random_state=0, **options)
    first, second = ([f for n, _, f in calls if n == name] for name in named)
    assert first == second


def test_draws_differ_by_fold_and_repeat_and_depend_on_the_seed(blobs, calls):
    X, y = blobs
    options = {"modalities": ["audio"], "levels": [0.5], "cv": 2, "n_repeats": 2}

    def masks(seed):
        calls.clear()
        degradation_curve(Recorder(), X, y, random_state=seed, **options)
        seen = [frame for _, what, frame in calls if what == "predict"]
        return [f.observed[:, 0] for f in seen if not f.observed.all()]

    drawn = masks(0)
    assert len(drawn) == 4
    assert (~np.array([mask[:44] for mask in drawn])).sum(axis=1).min() > 10
    assert not np.array_equal(drawn[0], drawn[1])
    assert all(map(np.array_equal, drawn, masks(0)))
    assert not all(map(np.array_equal, drawn, masks(1)))


def test_noise_is_in_units_of_the_training_samples(calls):
    train, test = np.arange(100), np.arange(100, 200)
    block = np.random.default_rng(0).normal(size=(200, 5))
    block[test] *= 100
    X, y = Modalities({"audio": block}), np.arange(200) % 2
    degradation_curve(
        Recorder(), X, y, degradation="noise", levels=[1], cv=[(train, test)]
    )
    noisy = calls[-1][2]["audio"]
    assert (noisy - block[test]).std() == pytest.approx(1, rel=0.1)


def test_the_order_of_modalities_does_not_matter(blobs):
    X, y = blobs
    options = {"degradation": ["missing", "noise"], "random_state": 0, "cv": 3}
    one = degradation_curve(LateFusionClassifier(), X, y, **options)
    other = degradation_curve(
        LateFusionClassifier(), X[["video", "audio"]], y, **options
    )
    for name in X.names:
        for level in (0, 0.25, 1):
            where = {"modality": name, "level": level}
            assert scores(one, **where) == pytest.approx(scores(other, **where))


def test_modalities_are_degraded_in_turn_together_or_as_listed(blobs, calls):
    X, y = blobs

    def lacking(modalities):
        calls.clear()
        results = degradation_curve(
            Recorder(), X, y, modalities=modalities, levels=[1], cv=2
        )
        seen = [f.observed.any(axis=0).tolist() for _, w, f in calls if w != "fit"]
        names = list(dict.fromkeys(row["modality"] for row in results.results))
        return names, [mask for mask in seen[: len(seen) // 2] if not all(mask)]

    assert lacking("each") == (["audio", "video"], [[False, True], [True, False]])
    assert lacking("all") == (["all"], [[False, False]])
    assert lacking(["video", ["audio", "video"]]) == (
        ["video", "audio+video"],
        [[True, False], [False, False]],
    )


def test_training_samples_can_be_degraded_too(blobs, calls):
    X, y = blobs
    options = {"modalities": "all", "levels": [0, 0.25, 0.5], "cv": 2}
    options["random_state"] = 0
    degradation_curve(Recorder(), X, y, at="both", **options)
    fits = [1 - f.observed.mean() for _, what, f in calls if what == "fit"]
    assert len(fits) == 2 * 3  # clean, and two levels
    assert fits[:3] == pytest.approx([0, 0.25, 0.5], abs=0.05)


def test_a_function_can_degrade(blobs):
    X, y = blobs

    def negate(frame, level, modalities, *, random_state):
        blocks = frame.to_dict()
        return Modalities(blocks | {n: blocks[n] * (1 - level) for n in modalities})

    results = degradation_curve(
        LateFusionClassifier(), X, y, degradation=negate, levels=[0, 2], cv=3
    )
    summary = results.summary()
    assert set(summary["degradation"]) == {"negate"}
    assert (summary["loss"][summary["level"] == 2] > 0).all()


def test_several_scores_equal_those_of_cross_validate(blobs):
    X, y = blobs
    scoring = {"accuracy": "accuracy", "own": make_scorer(accuracy_score)}
    results = degradation_curve(
        EarlyFusionClassifier(), X, y, levels=[0], scoring=scoring, cv=3
    )
    plain = cross_validate(EarlyFusionClassifier(), X, y, cv=3)["test_score"]
    for metric in scoring:
        where = {"metric": metric, "modality": "audio"}
        assert scores(results, **where) == plain.tolist()
    listed = degradation_curve(
        EarlyFusionClassifier(), X, y, levels=[0], scoring=["neg_log_loss"], cv=3
    )
    assert listed.metrics == ["neg_log_loss"]


def test_summary_averages_repeats_before_folds(blobs):
    X, y = blobs
    results = degradation_curve(
        LateFusionClassifier(), X, y, n_repeats=3, cv=4, random_state=0
    )
    frame = results.frame
    rows = frame[(frame["modality"] == "audio") & (frame["level"] == 0.5)]
    folds = [own["score"].mean() for _, own in rows.groupby("fold")]
    clean = [own["clean"].mean() for _, own in rows.groupby("fold")]
    summary = results.summary().set_index(["modality", "level"]).loc[("audio", 0.5)]
    assert summary["mean"] == pytest.approx(np.mean(folds))
    assert summary["std"] == pytest.approx(np.std(folds, ddof=1))
    assert summary["loss"] == pytest.approx(np.mean(np.subtract(clean, folds)))
    assert summary["n_folds"] == 4


def test_regressors_are_scored(blobs):
    X, _ = blobs
    target = X["audio"][:, 0] + X["video"][:, 0]
    results = degradation_curve(
        LateFusionRegressor(), X, target, levels=[0, 1], random_state=0
    )
    plain = cross_val_score(LateFusionRegressor(), X, target)
    assert scores(results, modality="audio", level=0) == plain.tolist()
    assert (results.summary()["loss"][[1, 3]] > 0).all()


def test_clusterers_are_scored_with_and_without_classes(blobs):
    X, y = blobs
    clusterer = LateFusionClusterer(n_clusters=3, n_runs=2, random_state=0)
    options = {"levels": [0, 0.5], "cv": 3, "random_state": 0}
    accuracy = get_scorer("clustering_accuracy")
    with_classes = degradation_curve(
        clusterer, X, y, scoring="clustering_accuracy", **options
    )
    plain = cross_val_score(clusterer, X, y, scoring=accuracy, cv=3)
    assert scores(with_classes, modality="audio", level=0) == pytest.approx(plain)
    alone = degradation_curve(
        EarlyFusionClusterer(n_clusters=3, random_state=0),
        X,
        degradation="noise",
        scoring="modality_silhouette",
        **options,
    )
    assert np.isfinite(scores(alone)).all()


def test_clusterers_without_predict_are_fitted_on_degraded_data(blobs):
    X, y = blobs
    clusterer = EarlyFusionClusterer(AgglomerativeClustering(3))
    with pytest.raises(TypeError, match=r"without predict.*at='both'"):
        degradation_curve(clusterer, X, y)
    results = degradation_curve(
        clusterer,
        X,
        y,
        degradation="noise",
        levels=[0, 5],
        at="both",
        cv=WholeDataSplit(),
        scoring=labels_scorer("clustering_accuracy"),
        random_state=0,
    )
    score = labels_scorer("clustering_accuracy")
    assert scores(results, level=0)[0] == score(clusterer.fit(X), X, y)
    by_hand = [
        score(clusterer.fit(noisy), noisy, y)
        for seed in range(3)
        for noisy in [add_noise(X, 5, "audio", random_state=seed)]
    ]
    assert abs(scores(results, level=5)[0] - np.mean(by_hand)) < 0.3


def test_the_error_of_missing_modalities_names_the_remedy(blobs):
    X, y = blobs
    strict = make_pipeline(EarlyFusion(), LogisticRegression())
    with pytest.raises(ValueError, match=r"'strict' failed with 'audio'") as caught:
        degradation_curve({"strict": strict}, X, y)
    assert "ModalityImputer()" in str(caught.value)
    assert "lacks modality" in str(caught.value) or "missing" in str(caught.value)
    assert caught.value.__cause__ is not None


def test_failures_can_be_recorded_instead(blobs):
    X, y = blobs
    strict = make_pipeline(EarlyFusion(), LogisticRegression())
    results = degradation_curve(
        {"strict": strict, "late": LateFusionClassifier()}, X, y, error_score=np.nan
    )
    summary = results.summary().set_index(["estimator", "modality", "level"])
    assert summary.loc[("strict", "audio", 0), "n_failed"] == 0
    assert summary.loc[("strict", "audio", 0.5), "n_failed"] == 5
    assert summary["mean"].loc["strict"].isna().sum() == 8
    assert not summary["mean"].loc["late"].isna().any()
    assert "40 failed" in repr(results)


def test_a_fit_that_fails_is_tried_once_and_fails_everywhere(blobs):
    X, y = blobs
    wrong = LogisticRegression()  # does not accept Modalities
    results = degradation_curve(wrong, X, y, error_score=-1.0, cv=2)
    assert set(scores(results)) == {-1.0}
    assert all("TypeError" in row["error"] for row in results.results)
    with pytest.raises(ValueError, match="'LogisticRegression' failed in fit, on fold"):
        degradation_curve(wrong, X, y)


def test_groups_go_to_the_splitter(blobs):
    X, y = blobs
    groups = np.arange(90) % 4
    results = degradation_curve(
        LateFusionClassifier(), X, y, cv=GroupKFold(4), groups=groups, levels=[0]
    )
    plain = cross_val_score(
        LateFusionClassifier(), X, y, cv=GroupKFold(4), groups=groups
    )
    assert scores(results, modality="audio") == plain.tolist()


def test_threads_compute_the_same(blobs):
    X, y = blobs
    options = {"degradation": ["missing", "noise"], "random_state": 0, "cv": 3}
    alone = degradation_curve(LateFusionClassifier(), X, y, **options)
    with joblib.parallel_config(backend="threading"):
        together = degradation_curve(
            LateFusionClassifier(), X, y, n_jobs=2, verbose=True, **options
        )
    assert alone.results == together.results


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"degradation": "rain"}, "degradation='rain'; it must be one of"),
        ({"at": "fit"}, "'at' parameter of degradation_curve"),
        ({"modalities": "one"}, "modalities='one'; it must be 'each', 'all' or a list"),
        ({"modalities": ["smell"]}, r"no modalities \['smell'\]; there are"),
        ({"levels": {"noise": [1]}}, "levels has none for 'missing'"),
        ({"levels": [2]}, "'share' parameter of drop_modalities"),
        ({"n_repeats": 0}, "'n_repeats' parameter of degradation_curve"),
        ({"scoring": []}, "scoring is empty"),
        ({"scoring": "best"}, "scoring 'best' is unknown"),
    ],
)
def test_invalid_options_are_named(blobs, options, message):
    with pytest.raises(ValueError, match=message):
        degradation_curve(LateFusionClassifier(), *blobs, **options)


def test_estimators_are_needed_with_score(blobs):
    X, y = blobs
    with pytest.raises(ValueError, match="estimators is empty"):
        degradation_curve({}, X, y)

    class Scoreless(BaseEstimator):
        def predict(self, X):
            """Never called."""

    with pytest.raises(TypeError, match="without score; give scoring"):
        degradation_curve(Scoreless(), X, y)
    results = degradation_curve(LateFusionClassifier(), X, y, levels=[0], cv=2)
    with pytest.raises(ValueError, match="metric='f1' was not scored"):
        results.summary("f1")


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (lambda *data: None, "scoring 'score' has returned None, not a number"),
        (lambda *data: np.zeros(3), "scoring 'score' has returned array"),
        (lambda *data: "good", "scoring 'score' has returned 'good'"),
        (lambda *data: np.nan, "scoring 'score' has returned nan"),
        (lambda *data: np.inf, "scoring 'score' has returned inf"),
    ],
)
def test_scorers_that_return_no_number_are_named(blobs, scorer, message):
    X, y = blobs
    with pytest.raises(ValueError, match=message):
        degradation_curve(LateFusionClassifier(), X, y, scoring=scorer)
    lost = degradation_curve(
        LateFusionClassifier(), X, y, scoring=scorer, error_score=-1.0
    )
    assert {row["score"] for row in lost.results} == {-1.0}
    assert all(message in row["error"] for row in lost.results)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda X, *args, **kwargs: None, "has returned a NoneType"),
        (lambda X, *args, **kwargs: X.to_array(), "has returned a ndarray"),
        (lambda X, *args, **kwargs: X[:-1], r"has returned \d+ samples of .* for"),
        (lambda X, *args, **kwargs: X[:, [0]], r"has returned \d+ samples of .* for"),
    ],
)
def test_degradations_that_return_other_data_are_named(blobs, function, message):
    X, y = blobs
    with pytest.raises(ValueError, match=f"degradation '<lambda>' {message}"):
        degradation_curve(LateFusionClassifier(), X, y, degradation=function)


@pytest.mark.parametrize(
    "options",
    [
        {"levels": [np.nan]},
        {"levels": ["a"]},
        {"levels": []},
        {"levels": [True]},
        {"levels": [10**400]},
        {"n_repeats": 1.5},
        {"n_repeats": True},
        {"error_score": "x"},
        {"scoring": 3},
        {"scoring": {"a": 3}},
        {"degradation": []},
        {"modalities": [3]},
        {"cv": [(1, 2, 3)]},
        {"cv": [([0], [10**6])]},
    ],
    ids=str,
)
def test_options_of_the_wrong_type_are_named(blobs, options):
    (name,) = options
    with pytest.raises((ValueError, TypeError), match=name):
        degradation_curve(LateFusionClassifier(), *blobs, **options)


def test_invalid_folds_and_targets_are_refused_by_name(blobs):
    X, y = blobs
    with pytest.raises(TypeError, match="cv is a sparse matrix"):
        degradation_curve(LateFusionClassifier(), X, y, cv=sparse.csr_array(np.eye(3)))
    with pytest.raises(ValueError, match=r"cv=\[\] yields no fold"):
        degradation_curve(LateFusionClassifier(), X, y, cv=[])
    mixed = np.array([1.5, "a", 2] * (len(y) // 3), dtype=object)
    with pytest.raises(TypeError, match="cv and y: "):
        degradation_curve(LateFusionClassifier(), X, np.column_stack([mixed, mixed]))
