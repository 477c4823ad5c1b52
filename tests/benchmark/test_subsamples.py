"""Clusterings of a random subsample in every repeat."""

import numpy as np
import pytest
from doubles import Counting, Double, count
from sklearn.dummy import DummyClassifier

from mmfusion.benchmark import compare
from mmfusion.benchmark._statistics import corrected_t_test
from mmfusion.metrics import clustering_accuracy_score


class LastModality(Double):
    """Halves the samples by the first feature of the last modality."""

    def fit_predict(self, X, y=None):
        return super().fit_predict(X[list(X.names[::-1])])


METHODS = {"first feature": Double(), "last modality": LastModality()}


def run(halves, **options):
    return compare(METHODS, {"halves": halves}, n_repeats=6, subsample=0.75, **options)


def test_each_repeat_clusters_other_samples_the_same_for_all_methods(halves):
    seen = {}

    class Recording(Double):
        def fit_predict(self, X, y=None):
            seen.setdefault(self.name, []).append(np.sort(X.to_array()[:, 0]))
            return super().fit_predict(X, y)

        def __init__(self, name="a"):
            self.name = name

    methods = {name: Recording(name) for name in "ab"}
    frame = compare(methods, {"h": halves}, n_repeats=3, subsample=0.75).frame
    assert (frame["n_clustered"] == 30).all()
    assert (frame["n_left_out"] == 10).all()
    np.testing.assert_array_equal(seen["a"], seen["b"])
    assert len(np.unique(seen["a"], axis=0)) == 3


def test_scores_are_of_the_samples_that_are_clustered(halves):
    X, y = halves
    frame = run(halves, metrics="clustering_accuracy").frame
    row = frame[frame["method"] == "first feature"].iloc[0]
    rows = np.random.default_rng(row["seed"]).permutation(40)[:30]
    labels = Double().fit_predict(X[rows])
    expected = clustering_accuracy_score(y[rows], labels)
    assert row["clustering_accuracy"] == expected


def test_methods_without_chance_are_tested_by_the_jackknife_variance(halves):
    fixed = compare(METHODS, {"halves": halves}, n_repeats=6)
    assert "subsample=0.8" in fixed.conclusion()
    comparison = run(halves)
    found = comparison.significance()
    assert found.wilcoxon.empty
    (pair,) = found.t_test.itertuples()
    scores = comparison.frame.pivot(
        index="repeat", columns="method", values="clustering_accuracy"
    )
    differences = np.round(scores["first feature"] - scores["last modality"], 10)
    assert pair.p == pytest.approx(corrected_t_test(differences, 30 / 10))
    assert "paired over 6 subsamples on halves" in str(found)
    assert "subsamples of one data set is no evidence" in str(found)
    assert "differs significantly" in comparison.conclusion()
    few = compare(METHODS, {"h": halves}, n_repeats=2, subsample=0.5).significance()
    assert "at least 5 different subsamples, and there are 2" in str(few)


def test_cells_of_subsamples_are_resumed_and_are_not_those_of_all_samples(
    halves, tmp_path
):
    methods = {"counted": Counting(tmp_path / "log")}
    options = dict(datasets={"h": halves}, n_repeats=2, out=tmp_path / "out")
    for expected, subsample in ((2, 0.5), (2, 0.5), (4, None), (6, 0.6)):
        compare(methods, subsample=subsample, **options)
        assert count(tmp_path / "log") == expected


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"subsample": 0}, "subsample=0; give a share"),
        ({"subsample": 1.5}, "subsample=1.5"),
        ({"subsample": "half"}, "subsample='half'"),
        ({"subsample": 0.001}, "'h': subsample=0.001 takes 0 of 40"),
        ({"subsample": 0.5, "methods": {"d": DummyClassifier()}}, "is for clusterers"),
    ],
)
def test_other_shares_are_refused(halves, options, match):
    with pytest.raises(ValueError, match=match):
        compare(**{"methods": METHODS, "datasets": {"h": halves}, **options})
