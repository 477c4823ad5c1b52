"""Invariance of kernels to units, offsets and magnitudes; weights as repetitions."""

import numpy as np
import pytest
from scipy import sparse

from mmfusion import Modalities
from mmfusion.mkl import MKLClassifier, MKLRegressor, ModalityKernels

RNG = np.random.default_rng(0)
N = 30
POSITIVE = RNG.random((N, 3)) + 0.1
KERNELS = ["rbf", "linear", "poly", "cosine", "laplacian", "chi2"]


def gram(kernels, X, new=None):
    """Inner products of samples, whether by kernels or by features."""
    made = kernels.fit(X).transform(X if new is None else new)
    return made if kernels.approximation_ is None else made @ made.T


@pytest.mark.parametrize("approximation", [None, "nystroem"])
@pytest.mark.parametrize("normalize", ["trace", "cosine"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize(
    ("unit", "dtype"),
    [(1e150, np.float64), (1e-100, np.float64), (1e15, np.float32)],
)
def test_units_do_not_matter_without_scaling(
    approximation, normalize, kernel, kind, unit, dtype
):
    if kernel == "chi2" and kind is not np.asarray:
        pytest.skip("scikit-learn's takes no sparse rows")
    options = dict(
        scaling=None, normalize=normalize, approximation=approximation, random_state=0
    )
    plain, scaled = POSITIVE.astype(dtype), (unit * POSITIVE).astype(dtype)
    expected = gram(ModalityKernels(kernel, **options), kind(plain))
    kernels = ModalityKernels(kernel, **options)
    found = gram(kernels, kind(scaled))
    assert found.dtype == expected.dtype
    tolerance = 1e-8 if dtype is np.float64 else 1e-3
    np.testing.assert_allclose(found, expected, atol=tolerance)
    if kernel in ("laplacian", "chi2"):
        usual = ModalityKernels(kernel, **options).fit(kind(plain)).gamma_[0]
        assert kernels.gamma_[0] * unit == pytest.approx(usual, rel=1e-3)


@pytest.mark.parametrize("unit", [1e200, 1e300, 1e-200, 1e-300])
@pytest.mark.parametrize("kernel", ["linear", "cosine", "laplacian"])
def test_kernels_whose_gamma_is_no_square_take_any_magnitude(kernel, unit):
    options = dict(scaling=None, center=False)
    expected = gram(ModalityKernels(kernel, **options), POSITIVE)
    found = gram(ModalityKernels(kernel, **options), unit * POSITIVE)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize("kernel", ["rbf", "poly"])
@pytest.mark.parametrize("unit", [1e200, 1e-200])
def test_a_bandwidth_that_overflows_is_refused_with_a_remedy(kernel, unit):
    X = {"a": POSITIVE, "b": unit * POSITIVE}
    with pytest.raises(
        ValueError, match=r"'b': .* gamma.* overflows .*scaling='block'"
    ):
        ModalityKernels(kernel, scaling=None).fit(X)
    remedied = ModalityKernels(kernel, scaling={"a": None, "b": "block"}).fit(X)
    assert np.isfinite(remedied.transform(X)["b"]).all()


@pytest.mark.parametrize("gamma", [1e-300, 1.0, 1e300])
def test_a_given_gamma_is_that_of_values_that_are_not_scaled(gamma):
    huge = np.array([[1e160], [-1e160], [1e160]])
    options = dict(gamma=gamma, scaling=None, center=False, normalize=None)
    alike = np.equal.outer(huge[:, 0], huge[:, 0])
    made = ModalityKernels("rbf", **options)
    np.testing.assert_array_equal(gram(made, huge), alike)
    assert made.gamma_[0] == gamma


@pytest.mark.parametrize("approximation", [None, "nystroem"])
@pytest.mark.parametrize("scaling", [None, "standard", "block"])
@pytest.mark.parametrize("kernel", ["rbf", "linear", "laplacian"])
def test_offsets_do_not_matter(kernel, scaling, approximation):
    A = np.round(1024 * RNG.normal(size=(N, 3))) / 1024  # digits that 2**30 leaves
    options = dict(scaling=scaling, approximation=approximation, random_state=0)
    expected = gram(ModalityKernels(kernel, **options), A, A[:5] + 0.125)
    found = gram(ModalityKernels(kernel, **options), A + 2**30, A[:5] + (2**30 + 0.125))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_rows_that_are_equal_but_for_rounding_have_no_distance():
    """The median rule, where more than half of the pairs are equal."""
    rows = np.repeat(RNG.normal(size=(2, 50)), [28, 2], axis=0)
    rows *= 1 + 1e-16 * RNG.integers(-2, 3, size=rows.shape)
    distance = np.linalg.norm(rows[0] - rows[-1])
    gamma = ModalityKernels(scaling=None).fit(rows).gamma_[0]
    assert gamma == pytest.approx(1 / (2 * distance**2))


def test_the_median_is_that_of_rows_that_differ_where_most_are_equal():
    rows = np.r_[np.zeros(28), 1.0, 100.0][:, None]
    gaps = np.abs(rows - rows.T)[np.triu_indices(30, 1)]
    expected = 1 / np.median(gaps[gaps > 0])
    found = ModalityKernels("laplacian", scaling=None).fit(rows).gamma_[0]
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("approximation", [None, "nystroem"])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_the_norm_of_a_sample_does_not_depend_on_the_others(kernel, approximation):
    A = RNG.normal(size=(N, 3))
    new = np.vstack([A[:3] * 1e-3, A[3:6]])
    far = np.vstack([new, np.full((1, 3), 1e8)])
    options = dict(normalize="cosine", scaling=None, approximation=approximation)
    kernels = ModalityKernels(kernel, random_state=0, **options).fit(A)
    np.testing.assert_allclose(kernels.transform(far)[:6], kernels.transform(new))


@pytest.mark.parametrize("value", [1e100, 1e200, 1e300])
@pytest.mark.parametrize("kernel", ["rbf", "laplacian"])
def test_outlying_samples_have_a_kernel_of_0(kernel, value):
    A = RNG.normal(size=(N, 3))
    options = dict(center=False, normalize=None)
    kernels = ModalityKernels(kernel, **options).fit(A)
    np.testing.assert_array_equal(kernels.transform(np.full((2, 3), value)), 0)


@pytest.mark.parametrize("normalize", ["trace", "cosine"])
def test_precomputed_kernels_may_be_huge(normalize):
    K = POSITIVE @ POSITIVE.T
    options = dict(normalize=normalize)
    expected = ModalityKernels("precomputed", **options).fit_transform(K)
    for unit in (1e306, 1e-300):
        found = ModalityKernels("precomputed", **options).fit_transform(unit * K)
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_polynomial_that_overflows_is_refused_by_name():
    kernels = ModalityKernels("poly", degree=9).fit({"a": POSITIVE, "b": POSITIVE})
    with pytest.raises(ValueError, match="'b': the kernel 'poly' is not finite"):
        kernels.transform({"a": POSITIVE, "b": 1e60 * POSITIVE})


# weights of samples

Y = np.arange(60) % 3
DATA = {"a": RNG.normal(size=(60, 3)) + Y[:, None], "b": RNG.random((60, 4))}
NEW = {"a": RNG.normal(size=(9, 3)), "b": RNG.random((9, 4))}
WEIGHT = np.concatenate([[1, 1, 1], RNG.integers(0, 4, 57)]).astype(float)
DATA["a"][WEIGHT == 0] *= 1e3
DATA["b"][WEIGHT == 0] *= -1  # 'auto' and 'chi2' would look at it
REPEATED = np.repeat(np.arange(60), WEIGHT.astype(int))
VALUES = DATA["a"][:, 0] + DATA["b"][:, 1]


@pytest.mark.parametrize("approximation", [None, "nystroem"])
@pytest.mark.parametrize(
    "options",
    [
        {"algorithm": "average"},
        {"algorithm": "lp", "scaling": None},
        {"algorithm": "l1", "scaling": "block"},
        {"algorithm": "easymkl", "scaling": "l2"},
        {"kernel": "chi2", "scaling": None},
        {"kernel": "linear", "normalize": None},
        {"kernel": "laplacian", "normalize": "cosine"},
        {"kernel": ["poly", "rbf"], "algorithm": "average"},
    ],
)
def test_a_weight_is_a_number_of_repetitions(options, approximation):
    """To what the solvers of machines leave open."""
    options = dict(n_components=15, random_state=0, **options)
    options["approximation"] = approximation
    frame = Modalities(DATA)
    if options.get("kernel") == "chi2":
        frame = Modalities({"a": np.abs(frame["a"]), "b": np.abs(frame["b"])})
    new = {name: np.abs(block) for name, block in NEW.items()}
    tolerance = 1e-3 if approximation is None else 2e-2
    one = MKLClassifier(**options).fit(frame, Y, WEIGHT)
    other = MKLClassifier(**options).fit(frame[REPEATED], Y[REPEATED])
    np.testing.assert_allclose(one.kernel_weights_, other.kernel_weights_, atol=1e-3)
    np.testing.assert_allclose(one.gamma_, other.gamma_)
    assert one.scaling_ == other.scaling_
    found, expected = one.decision_function(new), other.decision_function(new)
    np.testing.assert_allclose(found, expected, atol=tolerance)
    if options.get("algorithm") == "easymkl":
        return
    one = MKLRegressor(**options).fit(frame, VALUES, WEIGHT)
    other = MKLRegressor(**options).fit(frame[REPEATED], VALUES[REPEATED])
    np.testing.assert_allclose(one.predict(new), other.predict(new), atol=tolerance)


@pytest.mark.parametrize("approximation", [None, "nystroem"])
@pytest.mark.parametrize("normalize", ["trace", "cosine"])
@pytest.mark.parametrize("incomplete", [False, True])
def test_samples_of_weight_zero_are_no_columns_of_kernels(
    approximation, normalize, incomplete
):
    options = dict(normalize=normalize, approximation=approximation, random_state=0)
    kept = np.flatnonzero(WEIGHT)
    grams = {n: block @ block.T for n, block in DATA.items()}
    new = {n: NEW[n] @ DATA[n].T for n in DATA}
    grams = {
        n: K / np.sqrt(np.outer(K.diagonal(), K.diagonal())) for n, K in grams.items()
    }
    if incomplete:
        grams["b"][kept[:8]] = np.nan
    whole = MKLClassifier("precomputed", **options)
    whole.fit(Modalities(grams), Y, (WEIGHT > 0).astype(float))
    part = MKLClassifier("precomputed", **options)
    some = {name: K[np.ix_(kept, kept)] for name, K in grams.items()}
    part.fit(Modalities(some), Y[kept])
    found = whole.decision_function(Modalities(new))
    expected = part.decision_function(
        Modalities({n: K[:, kept] for n, K in new.items()})
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    if approximation is None:
        np.testing.assert_array_equal(whole.support_, kept[part.support_])


@pytest.mark.parametrize("unit", [1e-300, 1e-150, 1e250])
@pytest.mark.parametrize("algorithm", ["alignment", "average", "l1", "lp", "easymkl"])
def test_weights_may_be_tiny_or_huge(algorithm, unit):
    weight = unit * np.where(WEIGHT > 1, 0.5, 0.25)
    usual = MKLClassifier(algorithm=algorithm).fit(DATA, Y, weight / unit)
    C = np.clip(1 / unit, 1e-200, 1e200)
    model = MKLClassifier(algorithm=algorithm, C=C).fit(DATA, Y, weight)
    assert np.isfinite(model.kernel_weights_).all()
    assert np.isfinite(model.decision_function(NEW)).all()
    if unit < 1:  # weights above 1 count pairs of a sample with its own copies
        np.testing.assert_allclose(model.gamma_, usual.gamma_)
    if algorithm in ("alignment", "average"):
        found = model.kernel_weights_
        np.testing.assert_allclose(found, usual.kernel_weights_, atol=0.05)


# units of the target


@pytest.mark.parametrize("approximation", [None, "nystroem"])
@pytest.mark.parametrize(
    ("unit", "offset"),
    [(1.0, 1.7e9), (1e-12, 0), (1e12, 0), (1e-200, 0), (1e200, 0), (1e300, 0)],
)
def test_regression_depends_on_no_unit_or_offset_of_y(approximation, unit, offset):
    y = Y + np.round(64 * DATA["b"][:, 0]) / 64
    options = dict(approximation=approximation, random_state=0)
    expected = MKLRegressor(**options).fit(DATA, y)
    # the cost of an error that is not squared has a unit
    C = unit if approximation is None else 1.0
    moved = MKLRegressor(C=C, epsilon=0.1 * unit, **options)
    moved.fit(DATA, unit * y + offset)
    found = (moved.predict(NEW) - offset) / unit
    np.testing.assert_allclose(found, expected.predict(NEW), rtol=1e-4, atol=1e-4)
    weights = expected.kernel_weights_
    np.testing.assert_allclose(moved.kernel_weights_, weights, atol=1e-6)


@pytest.mark.parametrize("algorithm", ["l1", "lp"])
def test_the_objective_has_the_unit_of_y(algorithm):
    expected = MKLRegressor(algorithm=algorithm).fit(DATA, VALUES)
    other = MKLRegressor(algorithm=algorithm, C=1e3, epsilon=100)
    other.fit(DATA, 1e3 * VALUES)
    found, plain = other.objective_path_[-1] / 1e6, expected.objective_path_[-1]
    assert found == pytest.approx(plain, rel=1e-2)
    with pytest.raises(ValueError, match="y is so large that the objective overflows"):
        other.set_params(C=1e200, epsilon=1e199).fit(DATA, 1e200 * VALUES)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("C", [1e-100, 1e-12, 1e12, 1e100])
def test_linear_machines_of_any_cost_are_finite(C):
    options = dict(C=C, approximation="nystroem", random_state=0)
    classifier = MKLClassifier(**options).fit(DATA, Y)
    assert np.isfinite(classifier.decision_function(NEW)).all()
    regressor = MKLRegressor(**options).fit(DATA, VALUES)
    assert np.isfinite(regressor.predict(NEW)).all()
