"""MKLClassifier and MKLRegressor: references, new samples, scale."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR

from mmfusion.datasets import make_multimodal_blobs
from mmfusion.mkl import MKLClassifier, MKLRegressor, ModalityKernels
from mmfusion.mkl._linear_machine import _Problem, fit_linear_machine
from mmfusion.modalities import Modalities
from mmfusion.testing import check_multimodal_estimator

ALGORITHMS = ["alignment", "average", "easymkl", "l1", "lp"]


def make_classes(n_samples=150, centers=3, noise=0, seed=0):
    X, y = make_multimodal_blobs(
        n_samples,
        {"audio": 4, "video": 6},
        centers=centers,
        cluster_std=2.0,
        random_state=seed,
    )
    rng = np.random.default_rng(seed)
    extra = {f"noise{k}": rng.normal(size=(n_samples, 20)) for k in range(noise)}
    return Modalities(X.to_dict() | extra), y


def make_values(n_samples=150, seed=0):
    rng = np.random.default_rng(seed)
    X = {
        "audio": rng.normal(size=(n_samples, 3)),
        "video": rng.normal(size=(n_samples, 3)),
        "noise": rng.normal(size=(n_samples, 3)),
    }
    y = np.sin(X["audio"][:, 0]) + X["video"][:, 0] + 0.1 * rng.normal(size=n_samples)
    return Modalities(X), y


def summed(estimator, X_train, X):
    """The weighted sum of kernels of an estimator, by the transformer."""
    kernels = ModalityKernels(estimator.kernel).fit(X_train)
    grams = kernels.transform(X).blocks
    return np.tensordot(estimator.kernel_weights_, np.array(grams), 1)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("centers", [2, 4])
def test_decisions_are_those_of_svc_on_the_sum_of_kernels(algorithm, centers):
    X, y = make_classes(centers=centers)
    train, test = np.arange(100), np.arange(100, 150)
    ours = MKLClassifier(algorithm=algorithm, C=3.0).fit(X[train], y[train])
    svc = SVC(C=3.0, kernel="precomputed", tol=1e-9, break_ties=centers > 2)
    svc.fit(summed(ours, X[train], X[train]), y[train])
    K = summed(ours, X[train], X[test])
    np.testing.assert_array_equal(ours.support_, svc.support_)
    found, expected = ours.decision_function(X[test]), svc.decision_function(K)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(ours.predict(X[test]), svc.predict(K))


@pytest.mark.parametrize("algorithm", ["alignment", "average", "l1", "lp"])
def test_predictions_are_those_of_svr_on_the_sum_of_kernels(algorithm):
    X, y = make_values()
    train, test = np.arange(100), np.arange(100, 150)
    ours = MKLRegressor(algorithm=algorithm, C=3.0, epsilon=0.05).fit(
        X[train], y[train]
    )
    svr = SVR(C=3.0, epsilon=0.05, kernel="precomputed", tol=1e-9)
    svr.fit(summed(ours, X[train], X[train]), y[train])
    expected = svr.predict(summed(ours, X[train], X[test]))
    np.testing.assert_allclose(ours.predict(X[test]), expected, atol=1e-6)
    assert ours.score(X[test], y[test]) > 0.7


def test_l1_keeps_the_multimodal_contract():
    check_multimodal_estimator(MKLClassifier(algorithm="l1"))


def test_by_default_noise_gets_no_weight_and_costs_no_accuracy():
    losses, weights = [], []
    for seed in range(4):
        clean, y = make_classes(400, noise=0, seed=seed)
        noisy, _ = make_classes(400, noise=2, seed=seed)
        parts = train_test_split(np.arange(400), stratify=y, random_state=0)
        train, test = parts
        scores = [
            MKLClassifier().fit(X[train], y[train]).score(X[test], y[test])
            for X in (clean, noisy)
        ]
        losses.append(scores[0] - scores[1])
        weights.append(MKLClassifier().fit(noisy, y).modality_weights_[2:].sum())
    assert np.mean(losses) < 0.01
    assert np.mean(weights) < 0.02


def test_new_samples_are_compared_to_support_vectors_by_kernels_of_some_weight():
    X, y = make_classes(noise=1)
    fitted = MKLClassifier({"noise0": "linear"}).fit(X, y)
    assert fitted.kernel_weights_[2] == 0
    assert 0 < len(fitted.support_) < len(y)
    before = fitted.decision_function(X)
    spoilt = Modalities(X.to_dict() | {"noise0": X["noise0"] * 1e6})
    np.testing.assert_array_equal(fitted.decision_function(spoilt), before)
    whole = len(pickle.dumps(MKLClassifier(C=1e-3).fit(X, y)))  # every sample supports
    assert len(pickle.dumps(fitted)) < whole


def test_samples_without_a_modality_are_predicted_by_their_kernels():
    X, y = make_multimodal_blobs(
        200, {"audio": 4, "video": 6}, missing_rate=0.2, random_state=0
    )
    train, test = np.arange(150), np.arange(150, 200)
    ours = MKLClassifier().fit(X[train], y[train])
    svc = SVC(kernel="precomputed", tol=1e-9, break_ties=True)
    svc.fit(summed(ours, X[train], X[train]), y[train])
    expected = svc.decision_function(summed(ours, X[train], X[test]))
    np.testing.assert_allclose(ours.decision_function(X[test]), expected, atol=1e-6)
    complete = X[X.observed.all(axis=1)]
    fitted = MKLClassifier().fit(complete, y[X.observed.all(axis=1)])
    alone = Modalities({"audio": complete["audio"], "video": None})
    assert fitted.score(alone, y[X.observed.all(axis=1)]) > 0.8


@pytest.mark.parametrize("normalize", ["cosine", None])
def test_any_normalisation_decides_as_svc_does(normalize):
    X, y = make_classes(centers=2)
    ours = MKLClassifier(normalize=normalize).fit(X[:100], y[:100])
    kernels = ModalityKernels(normalize=normalize).fit(X[:100])
    weights = ours.kernel_weights_
    grams = [
        np.tensordot(weights, np.array(kernels.transform(part).blocks), 1)
        for part in (X[:100], X[100:])
    ]
    svc = SVC(kernel="precomputed", tol=1e-9).fit(grams[0], y[:100])
    found = ours.decision_function(X[100:])
    np.testing.assert_allclose(found, svc.decision_function(grams[1]), atol=1e-6)


def test_several_kernels_of_a_modality_add_up_to_its_weight():
    X, y = make_classes()
    fitted = MKLClassifier({"audio": ["rbf", "linear"]}, algorithm="average").fit(X, y)
    assert fitted.kernel_names_.tolist() == ["audio-0", "audio-1", "video"]
    np.testing.assert_allclose(fitted.modality_weights_, [2 / 3, 1 / 3])


def test_precomputed_kernels_split_in_a_search():
    X, y = make_classes(centers=2)
    kernels = np.dstack([X["audio"] @ X["audio"].T, X["video"] @ X["video"].T])
    grid = GridSearchCV(MKLClassifier("precomputed"), {"C": [0.1, 1.0]}, cv=3)
    found = grid.fit(kernels, y)
    linear = MKLClassifier("linear", scaling=None)
    for C, score in zip((0.1, 1.0), found.cv_results_["mean_test_score"], strict=True):
        scores = cross_val_score(linear.set_params(C=C), X, y, cv=3)
        np.testing.assert_allclose(score, scores.mean(), atol=0.021)
    assert found.predict(kernels).shape == (150,)


def test_explicit_features_agree_with_exact_kernels():
    X, y = make_classes(600, noise=1)
    exact = MKLClassifier().fit(X[:400], y[:400])
    features = MKLClassifier(approximation=300, n_components=100, random_state=0)
    features.fit(X[:400], y[:400])
    assert features.approximation_ == "nystroem"
    assert features.support_ is None
    np.testing.assert_allclose(
        features.modality_weights_, exact.modality_weights_, atol=0.05
    )
    scores = [e.score(X[400:], y[400:]) for e in (exact, features)]
    assert abs(scores[0] - scores[1]) < 0.02


def test_explicit_features_agree_with_exact_kernels_in_regression():
    X, y = make_values(600)
    scores = [
        MKLRegressor(
            C=10, approximation=approximation, n_components=200, random_state=0
        )
        .fit(X[:400], y[:400])
        .score(X[400:], y[400:])
        for approximation in (None, "nystroem")
    ]
    assert abs(scores[0] - scores[1]) < 0.02


def test_linear_machines_agree_with_liblinear():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, 5)) * [1, 2, 5, 0.1, 1]
    y = (Z[:, 0] + rng.normal(size=300) > 1).astype(int)
    weight = rng.uniform(0.5, 2, size=300)
    ours = fit_linear_machine(Z, np.where(y, 1.0, -1.0)[:, None], 0.5 * weight)
    theirs = LinearSVC(C=0.5, dual=False, intercept_scaling=1e3, tol=1e-8)
    theirs.fit(Z, y, sample_weight=weight)
    expected = theirs.decision_function(Z)
    np.testing.assert_allclose(ours.decide(Z)[:, 0], expected, atol=2e-3)
    values = Z[:, 0] + 0.3 * rng.normal(size=300) + 3
    ours = fit_linear_machine(Z, values[:, None], 0.5 * weight, 0.1)
    theirs = LinearSVR(
        C=0.5,
        epsilon=0.1,
        dual=False,
        loss="squared_epsilon_insensitive",
        intercept_scaling=1e3,
        tol=1e-8,
    ).fit(Z, values, sample_weight=weight)
    np.testing.assert_allclose(ours.decide(Z)[:, 0], theirs.predict(Z), atol=2e-3)


def test_linear_machines_of_separable_classes_need_few_products(monkeypatch):
    rng = np.random.default_rng(0)
    n_classes, y = 5, rng.integers(5, size=3000)
    # few samples err in the end, and features differ in scale
    Z = rng.normal(size=(3000, 60)) * np.geomspace(1, 1e-3, 60)
    Z[:, :n_classes] += 4 * np.eye(n_classes)[y]
    signs = np.where(y[:, None] == np.arange(n_classes), 1.0, -1.0)
    n_evaluations = []
    evaluate = _Problem._evaluate

    def counted(problem, coefficients):
        n_evaluations.append(1)
        return evaluate(problem, coefficients)

    monkeypatch.setattr(_Problem, "_evaluate", counted)
    ours = fit_linear_machine(Z, signs, np.full(3000, 10.0))
    theirs = LinearSVC(C=10.0, dual=False, intercept_scaling=1e3, tol=1e-8)
    expected = theirs.fit(Z, y).decision_function(Z)
    assert (expected * signs > 1).mean() > 0.95
    np.testing.assert_allclose(ours.decide(Z), expected, rtol=1e-3, atol=1e-2)
    assert len(n_evaluations) < 100  # with one curvature, more than 500


@pytest.mark.parametrize("approximation", [None, "nystroem"])
@pytest.mark.parametrize("centers", [2, 3])
def test_probabilities_are_calibrated_on_held_out_samples(approximation, centers):
    X, y = make_classes(400, centers=centers, noise=1)
    classifier = MKLClassifier(approximation=approximation, random_state=0)
    assert not hasattr(classifier, "predict_proba")
    classifier.set_params(probability=True).fit(X[:200], y[:200])
    proba = classifier.predict_proba(X[200:])
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    sure = proba.max(axis=1)
    likeliest = classifier.classes_[proba.argmax(axis=1)]
    assert abs(sure.mean() - (likeliest == y[200:]).mean()) < 0.06
    assert (classifier.predict(X[200:]) == likeliest).mean() > 0.95


@pytest.mark.parametrize("algorithm", ["l1", "lp"])
def test_too_few_steps_raise_a_warning(algorithm):
    X, y = make_classes(noise=1)
    with pytest.warns(ConvergenceWarning, match="increase max_iter"):
        MKLClassifier(algorithm=algorithm, tol=1e-6, max_iter=1).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = MKLClassifier(algorithm=algorithm).fit(X, y)
    assert fitted.gap_ <= 1e-3
    assert fitted.n_iter_ == len(fitted.objective_path_)


def test_a_class_weight_is_that_of_its_samples():
    X, y = make_classes(centers=2)
    weights = np.where(y == 1, 4.0, 1.0)
    by_class = MKLClassifier(class_weight={1: 4.0}).fit(X, y)
    by_sample = MKLClassifier().fit(X, y, sample_weight=weights)
    found = by_class.decision_function(X)
    np.testing.assert_array_equal(found, by_sample.decision_function(X))
    plain = MKLClassifier().fit(X, y).decision_function(X)
    assert found.mean() > plain.mean()


def test_samples_of_weight_0_are_no_support_vectors():
    X, y = make_classes()
    weight = np.ones(150)
    weight[:40] = 0
    assert MKLClassifier().fit(X, y, sample_weight=weight).support_.min() >= 40
    with pytest.raises(ValueError, match="class 1 has weight 0"):
        MKLClassifier().fit(X, y, sample_weight=(y != 1).astype(float))


def test_a_class_of_one_sample_has_no_probability():
    X, y = make_classes()
    y = np.where(np.arange(150) == 3, 7, y)
    with pytest.raises(ValueError, match="a class has one sample"):
        MKLClassifier(probability=True).fit(X, y)
