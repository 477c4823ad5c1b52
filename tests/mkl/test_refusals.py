"""Input that kernels and their estimators refuse, and remedies that work."""

import shutil
from collections import namedtuple

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics.pairwise import pairwise_kernels, rbf_kernel
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from mmfusion import Modalities
from mmfusion.mkl import MKLClassifier, MKLClusterer, MKLRegressor, ModalityKernels

RNG = np.random.default_rng(0)
N = 24
Y = np.arange(N) % 2
X = {"a": RNG.normal(size=(N, 3)) + Y[:, None], "b": RNG.normal(size=(N, 2))}
K = rbf_kernel(X["a"])
ESTIMATORS = [ModalityKernels(), MKLClusterer(2), MKLClassifier(), MKLRegressor()]


# callables


def of_two_rows(x, y):
    return float(np.exp(-((x - y) ** 2).sum()))


BAD_CALLABLES = {
    "numbers": lambda A, B: 1.0,
    "transposed": lambda A, B: np.ones((len(B) + 1, len(A))),
    "one row": lambda A, B: np.ones(len(B)),
    "complex": lambda A, B: rbf_kernel(A, B) * 1j,
    "text": lambda A, B: np.full((len(A), len(B)), "k"),
    "nothing": lambda A, B: None,
    "NaN": lambda A, B: np.full((len(A), len(B)), np.nan),
    "infinite": lambda A, B: np.full((len(A), len(B)), np.inf),
    "not symmetric": lambda A, B: rbf_kernel(A, B) + np.arange(len(B)),
    "of two rows": of_two_rows,
}


@pytest.mark.parametrize("approximation", [None, "nystroem"])
@pytest.mark.parametrize("kernel", BAD_CALLABLES.values(), ids=BAD_CALLABLES)
def test_the_output_of_a_callable_is_checked(kernel, approximation):
    made = ModalityKernels({"b": kernel}, approximation=approximation)
    with pytest.raises(ValueError, match="modality 'b': the kernel"):
        made.fit(X)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_kernel_of_two_rows_works_by_the_remedy_of_its_error():
    with pytest.raises(ValueError, match="metric=kernel"):
        ModalityKernels(of_two_rows).fit(X)
    kernel = of_two_rows
    remedied = ModalityKernels(
        lambda X, Y: pairwise_kernels(X, Y, metric=kernel), scaling=None
    )
    expected = ModalityKernels(gamma=1.0, scaling=None).fit_transform(X)
    np.testing.assert_allclose(remedied.fit_transform(X)["a"], expected["a"])


def test_a_callable_may_return_a_sparse_matrix_or_whole_numbers():
    thin = ModalityKernels(lambda A, B: sparse.csr_array(A @ B.T)).fit_transform(X)
    dense = ModalityKernels("linear").fit_transform(X)
    np.testing.assert_allclose(thin["a"], dense["a"], atol=1e-12)
    same = lambda A, B: (A[:, :1] > 0) == (B[:, 0] > 0)  # noqa: E731
    assert ModalityKernels(same).fit_transform(X)["a"].dtype == np.float64


# precomputed kernels


def broken(value, kind=np.asarray):
    bad = K.copy()
    bad[3, 4] = value
    return kind(bad)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_cell_of_a_kernel_that_is_not_finite_is_named(estimator, value, kind):
    estimator = type(estimator)(kernel={"k": "precomputed"})
    frame = {"a": X["a"], "k": broken(value, kind)}
    words = rf"'k': the kernel is {value} for samples 3 and 4; compute it again"
    with pytest.raises(ValueError, match=words):
        estimator.fit(frame, Y)
    stack = np.dstack([K, broken(value)])
    with pytest.raises(ValueError, match="'modality_1': the kernel is"):
        type(estimator)(kernel="precomputed").fit(stack, Y)


@pytest.mark.parametrize("estimator", [MKLClusterer(2), MKLClassifier()])
def test_kernels_of_a_frame_are_cross_validated_by_the_remedy(estimator):
    estimator = estimator.set_params(kernel="precomputed")
    frame = Modalities({"a": K, "b": rbf_kernel(X["b"])})
    options = dict(error_score="raise", cv=3)
    with pytest.raises(ValueError, match=r"Modalities \['a', 'b'\] .*np.dstack"):
        cross_val_score(estimator, frame, Y, **options)
    search = GridSearchCV(estimator, {"max_iter": [5]}, **options)
    with pytest.raises(ValueError, match=r"np.dstack"):
        search.fit(frame, Y)
    pipe = make_pipeline(ModalityKernels(), estimator)  # splits samples only
    assert cross_val_score(pipe, Modalities(X), Y, **options).shape == (3,)
    scores = cross_val_score(estimator, np.dstack(frame.blocks), Y, **options)
    assert scores.shape == (3,)


def test_an_array_without_kernels_is_refused():
    with pytest.raises(ValueError, match="holds no kernel"):
        MKLClassifier("precomputed").fit(np.empty((N, N, 0)), Y)


# memory


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr("mmfusion._memory.available_bytes", lambda: 2**20)
    monkeypatch.setattr("mmfusion._memory.UNCHECKED_BYTES", 0)
    X = {name: RNG.normal(size=(2000, 3)).astype(np.float32) for name in "ab"}
    return X, np.arange(2000) % 2


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_kernels_that_do_not_fit_are_refused_before_they_are_computed(
    estimator, little_memory, monkeypatch
):
    X, y = little_memory

    def gram(*args, **kwargs):
        raise AssertionError("a kernel was computed")

    with monkeypatch.context() as patched:
        patched.setattr("mmfusion.mkl._kernels.KernelFunction.gram", gram)
        words = r"2 exact kernel\(s\) of 2000 samples needs .* MiB .*nystroem"
        with pytest.raises(ValueError, match=words):
            type(estimator)().fit(X, y)
    type(estimator)(approximation="nystroem", n_components=5).fit(X, y)


def test_a_folder_is_the_other_remedy(little_memory, tmp_path):
    X, _ = little_memory
    made = ModalityKernels(temp_folder=tmp_path).fit_transform(X)
    assert made["a"].shape == (2000, 2000)


def test_new_kernels_that_do_not_fit_are_refused(little_memory):
    X, _ = little_memory
    kernels = ModalityKernels().fit({name: block[:20] for name, block in X.items()})
    many = {name: np.tile(block, (9, 1)) for name, block in X.items()}
    with pytest.raises(ValueError, match=r"18000 samples .* fewer samples at a time"):
        kernels.transform(many)


def test_a_folder_has_space_for_all_kernels_together(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**6, 0, int(1.5 * 8 * N**2))
    monkeypatch.setattr("mmfusion.mkl._kernel_files.disk_usage", lambda folder: usage)
    ModalityKernels(temp_folder=tmp_path).fit(X["a"])
    with pytest.raises(OSError, match=r"temp_folder=.* left; 2 exact kernel"):
        ModalityKernels(temp_folder=tmp_path).fit(X)
    shutil.rmtree(tmp_path)
    with pytest.raises(ValueError, match=r"temp_folder=.* is not a folder"):
        ModalityKernels(temp_folder=tmp_path).fit(X)


# booleans and integers


@pytest.mark.parametrize(
    ("estimator", "parameter"),
    [
        (ModalityKernels, "gamma"),
        (ModalityKernels, "n_components"),
        (ModalityKernels, "approximation"),
        (ModalityKernels, "degree"),
        (MKLClusterer, "n_clusters"),
        (MKLClusterer, "neighborhood"),
        (MKLClusterer, "regularization"),
        (MKLClassifier, "C"),
        (MKLClassifier, "tol"),
        (MKLRegressor, "epsilon"),
        (MKLRegressor, "max_iter"),
    ],
)
def test_true_is_no_number(estimator, parameter):
    for value in (True, np.bool_(True)):
        with pytest.raises((TypeError, ValueError), match=parameter):
            estimator(**{parameter: value}).fit(X, Y)


@pytest.mark.parametrize(
    ("algorithm", "regularization", "words"),
    [
        ("lp", 0.5, "regularization=0.5 is the p .* at least 1"),
        ("easymkl", 1, "regularization=1 of algorithm='easymkl' must be less than 1"),
        ("easymkl", 2.0, "regularization=2.0 of algorithm='easymkl'"),
    ],
)
def test_a_regularization_outside_the_range_of_its_algorithm_is_refused(
    algorithm, regularization, words
):
    model = MKLClassifier(algorithm=algorithm, regularization=regularization)
    with pytest.raises(ValueError, match=words):
        model.fit(X, Y)


@pytest.mark.parametrize("parameter", ["C", "degree", "max_iter", "regularization"])
def test_integers_beyond_floats_are_refused(parameter):
    with pytest.raises(ValueError, match=f"'{parameter}' parameter"):
        MKLClassifier(**{parameter: 10**400}).fit(X, Y)


def test_gammas_in_lists_are_numbers():
    with pytest.raises(ValueError, match="modality 'a': gamma is True"):
        ModalityKernels(gamma=[0.5, True]).fit(X)


@pytest.mark.parametrize("share", [1.5, 2, -0.5, 0])
def test_a_neighborhood_is_a_share(share):
    with pytest.raises(ValueError, match="neighborhood"):
        MKLClusterer(2, neighborhood=share).fit(X)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_share_of_numpy_is_a_share(dtype):
    expected = MKLClusterer(2, neighborhood=0.5, random_state=0).fit(X)
    found = MKLClusterer(2, neighborhood=dtype(0.5), random_state=0).fit(X)
    np.testing.assert_array_equal(found.labels_, expected.labels_)


# targets


@pytest.mark.parametrize("y", [np.linspace(0, 1, N), np.where(Y, 1.0, np.nan)])
def test_continuous_targets_are_no_classes(y):
    with pytest.raises(ValueError, match=r"Unknown label type: continuous|NaN"):
        MKLClassifier().fit(X, y)


@pytest.mark.parametrize("gamma", [10**400, np.inf, np.nan, 0, -1, "scale", 1j])
def test_gammas_that_are_no_positive_numbers_are_named(gamma):
    with pytest.raises(ValueError, match="modality 'b': gamma is"):
        ModalityKernels(gamma={"b": [0.5, gamma]}).fit(X)
