"""Interactions: toys with known parts, identities, missing modalities and errors."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

from mmfusion import (
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    EarlyFusionRegressor,
    LateFusionClassifier,
    MKLClassifier,
)
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.inspection import modality_interactions
from tests.inspection.toys import DISTRIBUTIONS, noisy_modalities

QUADRATIC = make_pipeline(PolynomialFeatures(2), LogisticRegression(C=100))


@pytest.fixture(scope="module")
def blobs():
    return make_multimodal_blobs(
        90, {"audio": 2, "video": 3, "text": 2}, cluster_std=5.0, random_state=0
    )


@pytest.mark.parametrize("measure", ["specific", "min"])
@pytest.mark.parametrize("learner", [QUADRATIC, KNeighborsClassifier(15)])
@pytest.mark.parametrize("name", ["xor", "and", "copy", "unique", "two bits", "none"])
def test_toys_have_their_known_parts(name, learner, measure):
    X, y = noisy_modalities(name, 1500)
    if name == "none":
        y = np.random.default_rng(1).integers(2, size=len(y))
    results = modality_interactions(
        EarlyFusionClassifier(learner),
        X,
        y,
        cv=StratifiedKFold(5, shuffle=True, random_state=0),
        redundancy=measure,
    )
    found = [
        results.redundancy[0, 1],
        results.unique[0, 1],
        results.unique[1, 0],
        results.synergy[0, 1],
    ]
    # the frequencies of the classes are not quite those of the distribution
    assert found == pytest.approx(DISTRIBUTIONS[name][1], abs=0.1)


def test_parts_sum_to_the_information_of_held_out_predictions(blobs):
    X, y = blobs
    classifier = EarlyFusionClassifier()
    results = modality_interactions(classifier, X, y, cv=3)
    names = results.names
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        pair = names[i], names[j]
        proba = cross_val_predict(
            classifier, X[list(pair)], y, cv=3, method="predict_proba"
        )
        joint = results.information_by_fold[pair]
        # folds have the same size, so that the mean over folds is that over samples
        expected = results.entropy - log_loss(y, proba) / np.log(2)
        assert joint.mean() == pytest.approx(expected, abs=1e-9)
        redundancy, synergy = results.redundancy_by_fold, results.synergy_by_fold
        unique = results.unique_by_fold
        own = redundancy[:, i, j] + unique[:, i, j]
        single = results.information_by_fold[(names[i],)]
        np.testing.assert_allclose(own, np.maximum(single, 0), atol=1e-12)
        total = own + unique[:, j, i] + synergy[:, i, j]
        np.testing.assert_allclose(total, np.maximum(joint, 0), atol=1e-12)
        assert (redundancy[:, i, j] >= 0).all()
        assert (unique[:, [i, j], [j, i]] >= -1e-12).all()
    assert np.isnan(results.redundancy.diagonal()).all()
    assert results.entropy == pytest.approx(np.log2(3), abs=0.01)


def test_different_classes_are_not_redundant_class_by_class():
    # 'first' separates class 0 from the others, and 'second' class 2
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=600)
    X = {
        "first": ((y == 0) + 0.1 * rng.normal(size=600))[:, None],
        "second": ((y == 2) + 0.1 * rng.normal(size=600))[:, None],
    }
    classifier = EarlyFusionClassifier(KNeighborsClassifier(50))
    by_class = modality_interactions(classifier, X, y, redundancy="specific")
    least = modality_interactions(classifier, X, y, redundancy="min")
    # I(y) is log2 3 for the class that is separated, log2 3 - 1 for the two others
    single = np.log2(3) - 2 / 3
    assert by_class.redundancy[0, 1] == pytest.approx(np.log2(3) - 1, abs=0.05)
    assert least.redundancy[0, 1] == pytest.approx(single, abs=0.05)


def test_negative_information_counts_as_none_and_is_counted(blobs):
    X, y = blobs
    noise = np.random.default_rng(0).normal(size=(len(y), 20))
    data = {"audio": X["audio"], "noise": noise}
    overfitted = EarlyFusionClassifier(LogisticRegression(C=1e4, max_iter=2000))
    results = modality_interactions(overfitted, data, y)
    assert results.information_by_fold[("noise",)].mean() < 0
    assert results.redundancy[0, 1] == 0
    assert results.unique[1, 0] == 0
    # the pair is worse than audio alone
    assert results.synergy[0, 1] < 0
    row = results.to_frame().iloc[0]
    assert row["n_clipped"] == 5
    assert row["synergy"] == results.synergy[0, 1]
    assert row["joint"] == results.information_by_fold[("audio", "noise")].mean()


def test_regressors_have_the_information_of_gaussian_residuals():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2000, 1))
    y = (a + b)[:, 0] + rng.normal(size=2000)
    regressor = EarlyFusionRegressor(Ridge())
    results = modality_interactions(regressor, {"a": a, "b": b}, y)
    # variances 3 alone, 2 given one of both, 1 given both
    one, both = np.log2(3 / 2) / 2, np.log2(3) / 2
    assert results.redundancy_measure == "min"
    assert results.redundancy[0, 1] == pytest.approx(one, abs=0.05)
    assert results.synergy[0, 1] == pytest.approx(both - one, abs=0.05)
    assert np.isnan(results.entropy)


def test_samples_without_a_modality_get_the_prior():
    X, y = noisy_modalities("copy", 400)
    rng = np.random.default_rng(0)
    X["first"] = X["first"].copy()
    X["first"][rng.random(400) < 0.5] = np.nan
    results = modality_interactions(
        LateFusionClassifier(KNeighborsClassifier(15)), X, y
    )
    # half of the samples have the information of 'second' in 'first'
    assert results.redundancy[0, 1] == pytest.approx(0.5, abs=0.08)
    assert results.unique[1, 0] == pytest.approx(0.5, abs=0.08)
    assert results.unique[0, 1] == pytest.approx(0, abs=0.02)


def test_classes_that_a_fold_lacks_are_scored(blobs):
    X, y = blobs
    y = np.where(np.arange(len(y)) == 0, 9, y)
    folds = [(np.arange(30, 90), np.arange(30)), (np.arange(60), np.arange(60, 90))]
    results = modality_interactions(EarlyFusionClassifier(), X, y, cv=folds)
    assert all(np.isfinite(v).all() for v in results.information_by_fold.values())


def test_pairs_are_rows_and_jobs_do_not_matter(blobs):
    one = modality_interactions(EarlyFusionClassifier(), *blobs, cv=2)
    two = modality_interactions(EarlyFusionClassifier(), *blobs, cv=2, n_jobs=2)
    assert (
        one.synergy_by_fold.tolist()[0][0][1:]
        == (two.synergy_by_fold.tolist()[0][0][1:])
    )
    frame = one.to_frame()
    assert frame[["first", "second"]].to_numpy().tolist() == [
        ["audio", "video"],
        ["audio", "text"],
        ["video", "text"],
    ]
    assert frame["synergy"].tolist() == one.synergy[np.triu_indices(3, 1)].tolist()


def test_calibration_is_the_remedy_of_missing_probabilities(blobs):
    X, y = blobs
    with pytest.raises(TypeError, match="wrap it in CalibratedClassifierCV"):
        modality_interactions(MKLClassifier("linear"), X, y, cv=2)
    wrapped = CalibratedClassifierCV(MKLClassifier("linear"), cv=2)
    assert modality_interactions(wrapped, X, y, cv=2).redundancy.shape == (3, 3)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"estimator": EarlyFusionClusterer()}, TypeError, "a clusterer"),
        ({"y": None}, ValueError, "target y is None"),
        ({"y": np.eye(90)[:, :2]}, ValueError, "one target at a time"),
        ({"redundancy": "max"}, ValueError, "redundancy"),
        (
            {"estimator": EarlyFusionRegressor(), "redundancy": "specific"},
            ValueError,
            "give 'min' for values",
        ),
    ],
)
def test_invalid_arguments_are_refused(blobs, changes, error, message):
    X, y = blobs
    arguments = {"estimator": EarlyFusionClassifier(), "X": X, "y": y, "cv": 2}
    with pytest.raises(error, match=message):
        modality_interactions(**arguments | changes)


@pytest.mark.parametrize("unit", [1e200, 1e-200])
def test_information_about_values_does_not_depend_on_their_unit(unit):
    rng = np.random.default_rng(0)
    X = {name: rng.normal(size=(60, 2)) for name in "ab"}
    y = X["a"][:, 0] + X["b"][:, 1]
    ridge = EarlyFusionRegressor(Ridge())
    expected, found = (
        modality_interactions(ridge, X, own, cv=3) for own in (y, unit * y)
    )
    assert expected.synergy[0, 1] > 0.1
    np.testing.assert_allclose(found.synergy, expected.synergy, rtol=1e-6)
    np.testing.assert_allclose(found.unique, expected.unique, rtol=1e-6, atol=1e-9)
