"""Precomputed kernels that are read where they are."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import rbf_kernel

from mmfusion.mkl import MKLClassifier, MKLRegressor, ModalityKernels
from mmfusion.mkl._kernel_checks import check_training_kernel
from mmfusion.mkl._kernel_scaling import fit_kernel_scaling
from mmfusion.mkl._precomputed_gram import PrecomputedGram
from mmfusion.mkl._stacks import weighted_kernel_sum
from mmfusion.mkl._svm_tasks import Classification
from mmfusion.mkl._svm_weights import pair_products

RNG = np.random.default_rng(0)
N_SAMPLES = 90
KERNELS = [rbf_kernel(RNG.normal(size=(N_SAMPLES, d))) + d for d in (1, 2, 4)]
Y = np.arange(N_SAMPLES) % 3
INDICES = [
    slice(3, 9),
    (slice(3, 9), slice(5, 40)),
    np.ix_(np.array([2, 7, 1]), np.array([0, 5])),
]


def precomputed(K, **options):
    return PrecomputedGram(K, fit_kernel_scaling(K, **options))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_read_is_centred_and_normalised(dtype, center, order):
    grams = [precomputed(K.astype(dtype, order=order), center=center) for K in KERNELS]
    expected = []
    for K in KERNELS:
        H = np.eye(N_SAMPLES) - 1 / N_SAMPLES if center else np.eye(N_SAMPLES)
        centred = H @ K @ H
        expected.append(centred / np.trace(centred) * N_SAMPLES)
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    close = dict(rtol=tolerance, atol=tolerance)
    for gram, K in zip(grams, expected, strict=True):
        assert gram[:3].dtype == dtype
        np.testing.assert_allclose(gram.to_array(), K, **close)
        np.testing.assert_allclose(gram.diagonal(), K.diagonal(), **close)
        for index in INDICES:
            np.testing.assert_allclose(gram[index], K[index], **close)
    weights = np.array([0.5, 0.0, 0.2])
    total = weights[0] * expected[0] + weights[2] * expected[2]
    np.testing.assert_allclose(weighted_kernel_sum(grams, weights), total, **close)
    both = weighted_kernel_sum([grams[0], expected[1].astype(dtype), grams[2]], weights)
    np.testing.assert_allclose(both, total, **close)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_products_of_pairs_are_sums_over_pairs(is_weighted, monkeypatch):
    monkeypatch.setattr("mmfusion.mkl._svm_weights.PRODUCT_BATCH_CELLS", 700)
    counts = RNG.integers(1, 4, N_SAMPLES) if is_weighted else np.ones(N_SAMPLES, int)
    task = Classification(Y, 1.0, counts.astype(float))
    grams = [precomputed(K) for K in KERNELS]
    found = pair_products(grams, task)
    # samples as often as they count, and all pairs of different ones
    drawn = np.repeat(np.arange(N_SAMPLES), counts)
    own = ~np.eye(len(drawn), dtype=bool)
    matrices = [gram.to_array() for gram in grams]
    matrices.append(task.target() @ task.target().T)
    pairs = np.array([K[np.ix_(drawn, drawn)][own] for K in matrices])
    np.testing.assert_allclose(found, pairs @ pairs.T)


@pytest.mark.parametrize("algorithm", ["average", "alignment", "easymkl", "l1", "lp"])
def test_kernels_that_are_read_or_copied_give_one_machine(algorithm):
    classifier = MKLClassifier("precomputed", algorithm=algorithm, tol=1e-8)
    given = [K.copy() for K in KERNELS]
    values = classifier.fit(given, Y).decision_function(given)
    for K, original in zip(given, KERNELS, strict=True):
        np.testing.assert_array_equal(K, original)
    made = ModalityKernels("precomputed").fit_transform(KERNELS)
    copied = MKLClassifier("precomputed", algorithm=algorithm, tol=1e-8)
    # centred kernels stay the same when they are centred again
    expected = copied.fit(made, Y).decision_function(made)
    np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        classifier.kernel_weights_, copied.kernel_weights_, rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("estimator", [MKLClassifier(), MKLRegressor()])
def test_layers_of_one_array_and_fortran_order_change_nothing(estimator):
    estimator.set_params(kernel="precomputed")
    expected = estimator.fit(KERNELS, Y).predict(KERNELS)
    for X in (np.dstack(KERNELS), [np.asfortranarray(K) for K in KERNELS]):
        np.testing.assert_allclose(estimator.fit(X, Y).predict(X), expected)


def test_a_fit_to_kernels_copies_none_of_them():
    kernels = [rbf_kernel(RNG.normal(size=(600, 2))) for _ in range(8)]
    y = np.arange(600) % 2
    classifier = MKLClassifier("precomputed").fit(kernels, y)
    tracemalloc.start()
    classifier.fit(kernels, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # their sum, and what the machine makes of it
    assert peak < 4 * kernels[0].nbytes


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 79), st.integers(0, 79), st.floats(3e-5, 10), st.sampled_from("fd")
)
def test_every_pair_that_differs_is_found(i, j, difference, dtype):
    K = rbf_kernel(np.random.default_rng(1).normal(size=(80, 2))).astype(dtype)
    if i != j:
        K[i, j] += difference
        with pytest.raises(ValueError, match="not symmetric"):
            check_training_kernel(K, "a")
    else:
        K[i, i] += difference
        means = check_training_kernel(K, "a")
        np.testing.assert_allclose(means, K.mean(axis=0), rtol=1e-6)


def test_errors_name_samples_by_their_position_in_x():
    K = KERNELS[0].copy()
    K[20, 30] += 1
    K[2] = np.nan  # lacks the modality
    with pytest.raises(ValueError, match="for samples 20 and 30"):
        MKLClassifier("precomputed").fit({"a": K, "b": KERNELS[1]}, Y)
    K[20, 30] = np.inf
    with pytest.raises(ValueError, match="is inf for samples 20 and 30"):
        MKLClassifier("precomputed").fit({"a": K, "b": KERNELS[1]}, Y)
