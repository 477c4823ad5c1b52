"""What `compare` runs, and that nothing is dropped, leaked or made better."""

import warnings

import numpy as np
import pytest
from doubles import (
    Allocating,
    ByPosition,
    Delegating,
    Double,
    Failing,
    Grumbling,
    Returning,
)
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.cluster import DBSCAN, AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from mmfusion import EarlyFusion, EarlyFusionClusterer, LateFusionClusterer
from mmfusion.benchmark import baselines, compare, methods
from mmfusion.benchmark._cells import prepare_clusterer
from mmfusion.datasets import make_multimodal_blobs


def run(estimators, data, metrics="adjusted_rand", n_repeats=1, **options):
    return compare(estimators, {"data": data}, metrics, n_repeats, **options).frame


def test_there_is_one_row_for_each_data_set_method_and_repeat(halves):
    comparison = compare(
        {"a": Double(), "b": ByPosition()},
        {"one": halves, "two": Bunch(data=halves[0], target=halves[1])},
        n_repeats=3,
    )
    frame = comparison.frame
    assert list(frame.columns) == [
        "dataset",
        "method",
        "repeat",
        "seed",
        "clustering_accuracy",
        "normalized_mutual_info",
        "adjusted_rand",
        "fit_seconds",
        "cpu_seconds",
        "peak_memory_mb",
        "status",
        "error",
        "warnings",
    ]
    expected = [(d, m, r) for d in ("one", "two") for m in "ab" for r in range(3)]
    keys = frame[["dataset", "method", "repeat"]]
    assert list(keys.itertuples(index=False, name=None)) == expected
    assert (frame["status"] == "ok").all()
    assert (frame[frame["method"] == "a"]["adjusted_rand"] == 1).all()
    assert (frame["fit_seconds"] > 0).all()


def test_a_score_can_be_had_again_by_hand_from_the_seed():
    X, y = make_multimodal_blobs(60, cluster_std=6.0, random_state=0)
    clusterer = EarlyFusionClusterer(KMeans(n_init=1))
    frame = run({"early": clusterer}, (X, y), n_repeats=3)
    for row in frame.itertuples():
        order = np.random.default_rng(row.seed).permutation(60)
        alone = EarlyFusionClusterer(
            KMeans(n_init=1), n_clusters=3, random_state=row.seed
        )
        expected = adjusted_rand_score(y[order], alone.fit_predict(X[order]))
        assert row.adjusted_rand == expected


def test_more_repeats_begin_with_the_seeds_of_fewer(halves):
    few = run({"a": Double()}, halves, n_repeats=2)
    many = run({"a": Double()}, halves, n_repeats=5)
    other = run({"a": Double()}, halves, n_repeats=5, random_state=1)
    assert many["seed"].tolist()[:2] == few["seed"].tolist()
    assert len({*many["seed"], *other["seed"]}) == 10


def test_the_order_of_sorted_data_does_not_help(halves):
    scores = run({"cheat": ByPosition()}, halves, n_repeats=20)["adjusted_rand"]
    assert abs(scores.mean()) < 0.1  # unshuffled, it would be 1


def test_classes_reach_the_scores_only(halves):
    X, y = halves
    labels = {"true": [], "other": []}
    for name, classes in {"true": y, "other": np.roll(y, 10)}.items():
        keep = {"score": lambda _, found, name=name: labels[name].append(found) or 0.0}
        run({"early": EarlyFusionClusterer()}, (X, classes), metrics=keep)
    assert_array_equal(labels["true"], labels["other"])


def test_an_estimator_is_left_as_it_was(halves):
    clusterer = EarlyFusionClusterer(KMeans(3, random_state=5))
    before = repr(clusterer.get_params())
    run({"early": clusterer}, halves)
    assert repr(clusterer.get_params()) == before
    with pytest.raises(ValueError, match="not fitted"):
        check_is_fitted(clusterer)


@pytest.mark.parametrize(
    ("clusterer", "name", "expected"),
    [
        (EarlyFusionClusterer(), "n_clusters", 4),
        (EarlyFusionClusterer(n_clusters=7), "n_clusters", 7),
        (EarlyFusionClusterer(KMeans(9)), "n_clusters", 4),
        (EarlyFusionClusterer(DBSCAN()), "n_clusters", None),
        (
            EarlyFusionClusterer(
                AgglomerativeClustering(n_clusters=None, distance_threshold=1.0)
            ),
            "n_clusters",
            None,
        ),
        (LateFusionClusterer({"audio": DBSCAN()}), "n_clusters", None),
        (LateFusionClusterer({"audio": KMeans()}), "n_clusters", 4),
        (
            make_pipeline(EarlyFusion(), KMeans(8)),
            "kmeans__n_clusters",
            8,
        ),
        (
            make_pipeline("passthrough", EarlyFusionClusterer()),
            "earlyfusionclusterer__n_clusters",
            4,
        ),
    ],
)
def test_open_numbers_of_clusters_are_those_of_classes(clusterer, name, expected):
    assert prepare_clusterer(clusterer, 4, seed=0).get_params()[name] == expected


def test_every_random_state_is_set_to_the_seed():
    prepared = prepare_clusterer(
        make_pipeline(EarlyFusion(), KMeans(random_state=1)), 2, 99
    )
    assert prepared.get_params()["kmeans__random_state"] == 99
    nested = prepare_clusterer(EarlyFusionClusterer(KMeans()), 2, 99).get_params()
    assert nested["random_state"] == nested["clusterer__random_state"] == 99


def test_a_failure_is_a_row_with_its_error(halves):
    frame = run({"shaky": Failing(), "sound": Double()}, halves, n_repeats=8)
    shaky = frame[frame["method"] == "shaky"]
    odd = shaky["seed"] % 2 == 1
    assert 0 < odd.sum() < 8
    assert (shaky["status"] == np.where(odd, "failed", "ok")).all()
    assert (shaky["error"] == np.where(odd, "RuntimeError: the method broke", "")).all()
    assert (shaky["adjusted_rand"].isna() == odd).all()
    assert (frame[frame["method"] == "sound"]["status"] == "ok").all()


def test_a_score_that_fails_leaves_the_others(halves):
    def broken(y, labels):
        raise ZeroDivisionError("no score")

    metrics = {"rand": adjusted_rand_score, "bad": broken, "nan": lambda y, z: np.nan}
    (row,) = run({"a": Double()}, halves, metrics).itertuples()
    assert row.rand == 1
    assert np.isnan(row.bad)
    assert row.status == "failed"
    assert "bad: ZeroDivisionError: no score" in row.error
    assert "nan: ValueError: the score is nan" in row.error


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("0.5", "the score is a str; a metric returns one real number"),
        (None, "the score is a NoneType"),
        (1j, "the score is a complex"),
        (True, "the score is a bool"),
        (np.True_, "the score is a bool"),
        ([0.5], "the score is a list"),
        (np.array([0.5]), "the score is a ndarray"),
        (np.nan, "the score is nan"),
        (np.float32(np.inf), "the score is inf"),
        (10**400, "OverflowError"),
    ],
)
def test_what_a_metric_returns_is_checked(halves, value, error):
    metrics = {"mine": lambda y, labels: value, "rand": adjusted_rand_score}
    (row,) = run({"a": Double()}, halves, metrics).itertuples()
    assert row.error.startswith("mine: ")
    assert error in row.error
    assert np.isnan(row.mine)
    assert row.rand == 1


@pytest.mark.parametrize("value", [1, np.float32(0.5), np.int8(1), np.array(0.25)])
def test_a_metric_may_return_any_real_number(halves, value):
    (row,) = run({"a": Double()}, halves, {"mine": lambda y, z: value}).itertuples()
    assert row.status == "ok"
    assert row.mine == float(value)


def test_a_metric_cannot_change_the_labels_of_others(halves):
    def sorting(y, labels):
        y.sort()
        labels.sort()
        return 0.0

    metrics = {"sorting": sorting, "rand": adjusted_rand_score}
    X, y = halves[0][::-1], halves[1][::-1].copy()
    frame = run({"a": Double(), "b": ByPosition()}, (X, y), metrics, n_repeats=2)
    assert (frame[frame["method"] == "a"]["rand"] == 1).all()
    assert_array_equal(y, halves[1][::-1])


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("exception", "error"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (Unprintable(), "Unprintable: (its text cannot be printed)"),
        (OSError("a\ud800"), r"OSError: a\ud800"),
    ],
)
def test_a_run_outlives_any_exception_of_a_method(halves, tmp_path, exception, error):
    class Broken(Double):
        def fit_predict(self, X, y=None):
            raise exception

    options = dict(out=tmp_path, n_repeats=1)
    comparison = compare({"a": Broken(), "b": Double()}, {"d": halves}, **options)
    assert comparison.frame["error"].tolist() == [error, ""]
    comparison.save(tmp_path)


@pytest.mark.parametrize(
    "labels", [np.zeros(3, int), np.zeros((40, 1), int), np.full(40, 0.5), None]
)
def test_labels_that_are_none_are_a_failure(halves, labels):
    (row,) = run({"odd": Returning(labels)}, halves).itertuples()
    assert row.status == "failed"
    assert "one integer for each of the 40 samples" in row.error


def test_warnings_go_to_the_row_and_not_to_the_terminal(halves, recwarn):
    frame = run({"loud": Grumbling(), "quiet": Double()}, halves, n_repeats=2)
    expected = [f"UserWarning: seed {seed}" for seed in frame["seed"][:2]]
    assert frame["warnings"].tolist() == [*expected, "", ""]
    assert len(recwarn) == 0


def test_warnings_of_an_estimators_own_threads_go_to_the_row_too(halves, recwarn):
    (row,) = run({"delegating": Delegating()}, halves).itertuples()
    assert row.warnings == "UserWarning: from a thread"
    assert len(recwarn) == 0


def test_the_machinery_of_warnings_is_as_before(halves):
    before = warnings.showwarning, list(warnings.filters)
    run({"loud": Grumbling()}, halves)
    assert (warnings.showwarning, list(warnings.filters)) == before


@pytest.mark.parametrize("n_mib", [8, 64])
def test_peak_memory_is_what_the_fit_allocated(halves, n_mib):
    (row,) = run({"greedy": Allocating(n_mib * 2**20)}, halves).itertuples()
    # resident memory is counted in pages, of which a few are free already
    assert n_mib - 1 < row.peak_memory_mb < n_mib + 4
    assert row.fit_seconds > 0


def test_methods_may_depend_on_the_modalities(halves):
    X, y = halves
    comparison = compare(
        baselines,
        {"two": (X, y), "one": (X[["clear"]], y)},
        "adjusted_rand",
        n_repeats=1,
    )
    ran = comparison.frame.groupby("dataset")["method"].agg(set)
    assert ran["two"] == set(baselines(["clear", "noise"]))
    assert ran["one"] == set(baselines(["clear"]))
    assert (comparison.frame["status"] == "ok").all()


def test_every_registered_method_clusters_separated_blobs():
    data = make_multimodal_blobs(60, random_state=0)
    estimators = methods()
    del estimators["eamc-paper"]  # takes minutes; tests/clustering tests it
    for name in ("comvc", "eamc", "simvc"):
        estimators[name].set_params(n_init=1)  # restarts only take time here
    frame = run(estimators, data)
    assert frame["error"].tolist() == [""] * len(estimators)
    # without pretraining, the lowest loss may be that of a poor optimum, by the seed,
    # and contrasts need more samples: tests/clustering has the recovery of clusters by
    # these networks; of ten deep correlations of so few features most are noise
    weak = ["simvc", "comvc", "ae-ddc", "dcca-kmeans", "dccae-kmeans"]
    enough = ~frame["method"].isin(weak)
    assert (frame.loc[enough, "adjusted_rand"] > 0.9).all()


@pytest.mark.parametrize("name", ["cca-kmeans", "nmf-kmeans"])
def test_components_are_as_many_as_clusters(name):
    X = make_multimodal_blobs(60, random_state=0)[0]
    X = X.to_dict()
    X["modality_1"] = np.exp(X["modality_1"])  # the other has negative values
    found = prepare_clusterer(methods()[name], 3, seed=5).fit(X)
    steps = found.pipeline_.named_steps
    assert steps["transformer"].n_components == steps["kmeans"].n_clusters == 3
    assert steps["kmeans"].random_state == 5
    if name == "nmf-kmeans":
        scalers = steps["scaling"].transformer
        assert [type(s).__name__ for s in scalers.values()] == [
            "MinMaxScaler",
            "Normalizer",
        ]
    with pytest.raises(ValueError, match="n_clusters=None: give the number"):
        methods()[name].fit(X)


@pytest.mark.parametrize(
    ("metrics", "names"),
    [
        ("purity", ["purity"]),
        (["adjusted_rand_score"], ["adjusted_rand_score"]),
        (["modality_silhouette", "pairwise_f"], ["modality_silhouette", "pairwise_f"]),
        ({"mine": lambda y, labels: 0.25}, ["mine"]),
    ],
)
def test_metrics_by_name_or_as_functions(halves, metrics, names):
    comparison = compare({"a": Double()}, {"halves": halves}, metrics, 1)
    assert comparison.metrics == names
    assert comparison.frame[names].notna().all(axis=None)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["cat", "dog"]),
        np.array(["cat", "dog"], dtype=object),
        np.array([1.0, 2.0]),
        np.array([False, True]),
        np.array([1, 2], dtype=object),
        np.array([1, 2], dtype=np.uint8),
    ],
)
def test_classes_may_have_any_labels(halves, labels):
    X, y = halves
    (row,) = run({"a": Double()}, (X, labels[y])).itertuples()
    assert row.adjusted_rand == 1


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"metrics": "beauty"}, ValueError, "no metric 'beauty'.*purity"),
        ({"metrics": []}, ValueError, "metrics is empty"),
        ({"n_repeats": 0}, ValueError, "n_repeats=0"),
        ({"random_state": None}, ValueError, "random_state=None"),
        ({"datasets": {}}, ValueError, "no data sets"),
        ({"methods": {}}, ValueError, "no methods"),
        ({"methods": {"a": BaseEstimator()}}, TypeError, "'a'.*fit_predict"),
        ({"methods": {"a": Double}}, TypeError, r"class Double; .* Double\(\)"),
        ({"methods": Double}, TypeError, "methods is the class Double"),
        ({"methods": len}, TypeError, "methods returned a int for .*'halves'"),
        ({"methods": None}, TypeError, "methods is a NoneType"),
        ({"methods": [3]}, TypeError, "methods: 3 is neither a name nor an estimator"),
        ({"methods": ["magic"]}, ValueError, "no method 'magic' for clustering"),
        ({"methods": ["dummy"]}, ValueError, "give task='classification'"),
        ({"methods": [Double(), Double()]}, ValueError, r"'Double\(\)' is there twice"),
        ({"methods": ["a", "a"]}, ValueError, "'a' is there twice"),
        ({"task": "sorting"}, ValueError, "task='sorting'"),
        ({"task": "regression"}, ValueError, "the methods are for clustering"),
        ({"cv": 3}, ValueError, "leave out cv and groups"),
        ({"datasets": None}, TypeError, "datasets is a NoneType"),
        ({"datasets": "digit"}, OSError, "'digit' is neither a file nor"),
        ({"datasets": [(np.eye(3), [0, 1, 1])]}, TypeError, "data without names"),
        ({"metrics": adjusted_rand_score}, TypeError, "metrics is a function"),
        ({"metrics": [adjusted_rand_score]}, TypeError, "give functions in a dict"),
        ({"metrics": 1}, TypeError, "metrics is a int"),
        ({"metrics": {"a": 1}}, TypeError, "metrics: 'a' is a int"),
        ({"n_repeats": "2"}, ValueError, "n_repeats='2'"),
        ({"n_repeats": 2.5}, ValueError, "n_repeats=2.5"),
        ({"n_repeats": True}, ValueError, "n_repeats=True"),
        ({"n_repeats": 10**9}, ValueError, "n_repeats=1000000000"),
        ({"random_state": -1}, ValueError, "random_state=-1"),
        ({"n_jobs": 0}, ValueError, "n_jobs=0"),
        ({"n_jobs": "all"}, ValueError, "n_jobs='all'"),
        ({"datasets": {"d": (np.eye(3), [0.5, 1, 2])}}, ValueError, "'d': .*measured"),
        ({"datasets": {"d": (np.eye(3), [0, np.nan, 1])}}, ValueError, "'d': .*NaN"),
        ({"datasets": {"d": (np.eye(3), [0, np.inf, 1])}}, ValueError, "'d': .*NaN"),
        ({"datasets": {"d": (np.eye(3), [0, 1j, 1])}}, ValueError, "'d': Complex"),
        ({"datasets": {"d": (np.eye(3), ["a", None, "b"])}}, ValueError, "neither"),
        ({"datasets": {"d": (np.eye(3), [None, None, 1])}}, ValueError, "neither"),
        (
            {"datasets": {"d": (np.eye(3), np.array([0.5, 1, 2], dtype=object))}},
            ValueError,
            "'d': .*measured",
        ),
        (
            {"datasets": {"d": (np.eye(3), np.ma.masked_equal([0, 1, 2], 1))}},
            ValueError,
            "'d': .*masked",
        ),
        ({"datasets": {"d": (np.empty((0, 3)), [])}}, ValueError, "'d': .*no samples"),
        ({"datasets": {"d": np.eye(3)}}, ValueError, "'d' is a ndarray"),
        ({"datasets": {"d": (np.eye(3), None)}}, ValueError, "'d' has no classes"),
        ({"datasets": {"d": (np.eye(3), [0, 1])}}, ValueError, "'d': .*inconsistent"),
    ],
)
def test_what_cannot_be_compared_is_refused_at_once(halves, changes, error, match):
    arguments = {"methods": {"a": Double()}, "datasets": {"halves": halves}}
    with pytest.raises(error, match=match):
        compare(**{**arguments, **changes})


def test_progress_is_shown_on_request(halves, capsys):
    compare({"a": Failing(always=True)}, {"halves": halves}, n_repeats=2, verbose=True)
    assert "[compare] cell, 2 failed (2 of 2)" in capsys.readouterr().out
    compare({"a": Double()}, {"halves": halves}, n_repeats=2)
    assert capsys.readouterr() == ("", "")
