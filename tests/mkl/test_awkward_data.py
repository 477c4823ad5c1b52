"""Data that are constant, tiny, huge, weighted, incomplete, or not numeric."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics.pairwise import rbf_kernel

from mmfusion import Modalities
from mmfusion.mkl import MKLClassifier, MKLClusterer, MKLRegressor, ModalityKernels

RNG = np.random.default_rng(0)
N = 100
Y = np.arange(N) % 2
A, B = RNG.normal(size=(N, 4)), RNG.normal(size=(N, 3))
A[:, 0] += 2 * Y
B[:, 0] += 1.5 * Y
X = {"a": A, "b": B, "noise": RNG.normal(size=(N, 5))}
FEATURES = {"approximation": "nystroem", "random_state": 0}


@pytest.mark.parametrize(("mean", "spread"), [(0, 1), (2e5, 8e4), (1e6, 1), (0, 1e-3)])
def test_regression_by_features_does_not_depend_on_the_unit(mean, spread):
    signal = A[:, 0] + B[:, 1]
    y = mean + spread * (signal - signal.mean()) / signal.std()
    options = dict(kernel="linear", algorithm="average", C=10, **FEATURES)
    model = MKLRegressor(epsilon=0.1 * spread, **options).fit(X, y)
    assert model.score(X, y) > 0.98


def test_values_within_epsilon_of_a_constant_are_predicted_by_it():
    for y in (np.full(N, 3.0), 3 + 1e-3 * A[:, 0]):
        with pytest.warns(UserWarning, match=r"within epsilon=0\.1 of a constant"):
            model = MKLRegressor().fit(X, y)
        np.testing.assert_allclose(model.predict(X), 3, atol=0.01)


def test_landmarks_of_an_incomplete_kernel_are_its_own_columns():
    kernels = {"a": rbf_kernel(A), "b": rbf_kernel(B)}
    incomplete = {"a": kernels["a"].copy(), "b": kernels["b"]}
    incomplete["a"][:20] = np.nan
    options = dict(center=False, normalize=None, n_components=N)
    Z = ModalityKernels("precomputed", approximation="nystroem", **options)
    K = ModalityKernels("precomputed", **options)
    features = Z.fit_transform(Modalities(incomplete))["a"]
    exact = K.fit_transform(Modalities(incomplete))["a"]
    np.testing.assert_allclose(features @ features.T, exact, atol=1e-6)


def test_kernels_are_checked_before_they_are_approximated():
    asymmetric = rbf_kernel(A)
    asymmetric[3, 5] += 0.5
    with pytest.raises(ValueError, match="not symmetric"):
        MKLClassifier("precomputed", **FEATURES).fit(asymmetric, Y)

    def negative(one, other):
        return -rbf_kernel(one, other)

    for options in (FEATURES, {}):
        with pytest.warns(UserWarning, match="not positive semi-definite"):
            ModalityKernels(negative, **options).fit(X["a"])


@pytest.mark.parametrize("approximation", [None, "nystroem"])
@pytest.mark.parametrize("normalize", ["trace", "cosine", None])
@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_constant_has_a_kernel_of_zero(approximation, normalize, kernel, dtype):
    constant = np.full((N, 3), 0.1, dtype=dtype)
    kernels = ModalityKernels(
        kernel, scaling=None, normalize=normalize, approximation=approximation
    )
    assert not kernels.fit_transform(constant).any()
    assert not kernels.transform(constant[:3] * 1.1).any()


@pytest.mark.parametrize("algorithm", ["agreement", "mkkm", "mkkm_mr", "simple_mkkm"])
def test_a_constant_gets_no_weight(algorithm):
    data = {"a": A, "b": B, "constant": np.full((N, 3), 0.1)}
    options = dict(kernel="linear", scaling=None)
    clusterer = MKLClusterer(2, algorithm=algorithm, random_state=0, **options)
    assert clusterer.fit(data).modality_weights_[2] == 0
    classifier = MKLClassifier(algorithm="average", **options).fit(data, Y)
    assert classifier.modality_weights_.tolist() == [0.5, 0.5, 0]


@pytest.mark.parametrize("algorithm", ["alignment", "average", "easymkl", "l1", "lp"])
def test_constants_alone_have_equal_weights(algorithm):
    data = {"a": np.ones((N, 2)), "b": np.ones((N, 3))}
    model = MKLClassifier(algorithm=algorithm).fit(data, Y)
    assert model.kernel_weights_.tolist() == [0.5, 0.5]
    assert len(set(model.predict(data))) == 1


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_features_with_an_offset_are_not_constant_in_any_unit(unit):
    K = ModalityKernels("linear", scaling=None).fit_transform((A + 1e6) * unit)
    assert np.trace(K) == pytest.approx(N, rel=1e-4)
    expected = ModalityKernels("linear", scaling=None).fit_transform(A)
    np.testing.assert_allclose(K, expected, atol=2e-3)


@pytest.mark.parametrize("factor", [0.01, 1 / N])
def test_small_sample_weights_do_not_change_the_weights_of_kernels(factor):
    plain = MKLClassifier().fit(X, Y)
    small = MKLClassifier(C=1 / factor).fit(X, Y, np.full(N, factor))
    np.testing.assert_allclose(small.kernel_weights_, plain.kernel_weights_, atol=1e-8)
    sure = MKLClassifier(probability=True).fit(X, Y).predict_proba(X)
    less = MKLClassifier(C=1 / factor, probability=True)
    same = less.fit(X, Y, np.full(N, factor)).predict_proba(X)
    np.testing.assert_allclose(sure, same, atol=1e-3)


@pytest.mark.parametrize("options", [{}, FEATURES])
def test_a_modality_of_samples_without_weight_is_refused(options):
    incomplete = {"a": A.copy(), "b": B}
    incomplete["a"][:50] = np.nan
    weight = np.where(np.arange(N) < 50, 1.0, 0.0)
    with pytest.raises(ValueError, match="modality 'a' is missing for every sample"):
        MKLClassifier(**options).fit(incomplete, Y, sample_weight=weight)


def test_easymkl_ends_with_a_warning_where_hulls_overlap(monkeypatch):
    monkeypatch.setattr("mmfusion.mkl._svm_tasks.MAX_KERNEL_READS", 1e5)
    rows = RNG.normal(size=(N, 2))
    model = MKLClassifier("linear", algorithm="easymkl", regularization=1e-4)
    with pytest.warns(ConvergenceWarning, match="larger regularization than 0.0001"):
        model.fit({"a": rows, "b": rows**2}, Y)


def test_means_of_features_follow_sample_weights():
    weight = 1.0 + np.arange(N) % 3
    twice = np.repeat(np.arange(N), weight.astype(int))
    options = dict(kernel="linear", approximation="nystroem")
    one = MKLClassifier(**options).fit(X, Y, sample_weight=weight)
    repeated = {name: block[twice] for name, block in X.items()}
    other = MKLClassifier(**options).fit(repeated, Y[twice])
    np.testing.assert_allclose(one.kernel_weights_, other.kernel_weights_, atol=1e-6)
    np.testing.assert_allclose(
        one.decision_function(X), other.decision_function(X), atol=2e-3
    )


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (lambda one, other: np.full((len(one), len(other)), np.nan), {}),
        ("poly", {"degree": 2.5, "coef0": 0}),
    ],
)
@pytest.mark.parametrize("approximation", [None, "nystroem"])
def test_kernels_that_are_not_finite_are_refused(kernel, options, approximation):
    kernels = ModalityKernels(kernel, approximation=approximation, **options)
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match=r"modality 'a': the kernel .* is not finite"),
    ):
        kernels.fit({"a": A, "b": B})


def test_invalid_parameters_are_refused():
    with pytest.raises(ValueError, match=r"modality 'a': the kernel .* two matrices"):
        ModalityKernels(lambda one, other: float(one @ other)).fit(X)
    with pytest.raises(ValueError, match="modality 'a': gamma is 'scale'"):
        MKLClassifier(gamma={"a": "scale"}).fit(X, Y)
    with pytest.raises(ValueError, match=r"class_weight=.* negative"):
        MKLClassifier(class_weight={0: -1, 1: 1}).fit(X, Y)
    model = MKLClassifier().fit(X, Y).set_params(probability=True)
    with pytest.raises(NotFittedError, match="probability=False; call fit again"):
        model.predict_proba(X)


@pytest.mark.parametrize("algorithm", ["mkkm", "simple_mkkm", "late_fusion"])
def test_no_more_steps_are_taken_than_max_iter(algorithm):
    model = MKLClusterer(2, algorithm=algorithm, max_iter=2, tol=0)
    with pytest.warns(ConvergenceWarning):
        model.fit(X)
    assert model.n_iter_ == 2


def test_precomputed_kernels_are_not_approximated():
    stack = np.dstack([rbf_kernel(A), rbf_kernel(B)])
    model = MKLClassifier("precomputed", approximation=50).fit(stack, Y)
    assert model.approximation_ is None
    assert MKLClassifier(approximation=50).fit(X, Y).approximation_ == "nystroem"


def test_kernels_stacked_along_the_first_axis_are_refused():
    stack = np.stack([rbf_kernel(A), rbf_kernel(B)])
    for model in (MKLClassifier("precomputed"), MKLClusterer(4, kernel="precomputed")):
        with pytest.raises(ValueError, match=r"shape \(2, 100, 100\).*np\.dstack"):
            model.fit(stack, Y)


def test_sequences_of_any_kind_make_several_kernels():
    model = MKLClassifier(("rbf", "linear"), gamma=np.logspace(-1, 1, 3)).fit(X, Y)
    assert model.kernel_names_.tolist()[:4] == ["a-0", "a-1", "a-2", "a-3"]


def test_weights_with_fractions_do_not_disturb_constant_features():
    digits = {"image": np.c_[A, np.full(N, 7.1)], "other": B}
    weight = RNG.uniform(0.1, 3, size=N)
    model = MKLClassifier(class_weight={0: 0.3, 1: 1.7}).fit(digits, Y, weight)
    assert model.score(digits, Y) > 0.8
