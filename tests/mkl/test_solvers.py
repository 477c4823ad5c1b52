"""Weights of kernels: optimality, monotone objectives, limits, slow references."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import block_diag
from scipy.optimize import minimize
from sklearn.datasets import make_spd_matrix

from mmfusion.mkl._solvers import (
    CLUSTERER_ALGORITHMS,
    agreements,
    solve_kernel_clustering,
    solve_mkkm,
    solve_simple_mkkm,
    solve_statis,
)
from mmfusion.mkl._stacks import FeatureStack, KernelStack, top_eigenpairs

N_SAMPLES = 60


def random_kernels(seed, n_kernels=4, n_samples=N_SAMPLES):
    """Features that share three clusters, with their kernels, centred, of trace n."""
    rng = np.random.default_rng(seed)
    shared = np.repeat(np.eye(3), n_samples // 3, axis=0)
    features = []
    for p in range(n_kernels):
        Z = shared @ rng.normal(size=(3, 8)) + (0.3 + p) * rng.normal(size=(60, 8))
        Z -= Z.mean(axis=0)
        features.append(Z / np.sqrt((Z**2).sum() / n_samples))
    return features, [Z @ Z.T for Z in features]


def explained(kernels, g, k):
    """Trace that the best subspace explains, by all eigenvalues."""
    total = sum(w**2 * K for w, K in zip(g, kernels, strict=True))
    return np.linalg.eigvalsh(total)[-k:].sum()


def stacks(features, kernels):
    widths = np.cumsum([0, *(Z.shape[1] for Z in features)])
    blocks = [slice(int(a), int(b)) for a, b in pairwise(widths)]
    Z = np.hstack(features)
    return KernelStack(kernels), FeatureStack(Z.T @ Z, blocks, len(Z))


@pytest.mark.parametrize("n_rows", [30, 250])
def test_leading_eigenvectors_are_those_of_all(n_rows):
    A = make_spd_matrix(n_rows, random_state=0)
    vectors, values = top_eigenpairs(A, 5)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(A)[::-1][:5], rtol=1e-5)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(5), atol=1e-9)
    np.testing.assert_allclose(A @ vectors, vectors * values, atol=2e-6 * values[0])
    again, _ = top_eigenpairs(A, 5, start=vectors)
    np.testing.assert_allclose(np.abs((again * vectors).sum(axis=0)), 1, atol=1e-4)


def test_directions_without_variance_are_left_out():
    vectors, values = top_eigenpairs(block_diag(np.eye(2), -np.eye(3)), 4)
    assert vectors.shape == (5, 2)
    assert values.tolist() == [1, 1]


@pytest.mark.parametrize("algorithm", CLUSTERER_ALGORITHMS)
def test_explicit_features_agree_with_their_kernels(algorithm):
    features, kernels = random_kernels(0)
    exact, explicit = stacks(features, kernels)
    one, other = (
        solve_kernel_clustering(exact, 3, algorithm),
        solve_kernel_clustering(explicit, 3, algorithm),
    )
    np.testing.assert_allclose(one.weights, other.weights, atol=1e-6)
    np.testing.assert_allclose(one.objective_path, other.objective_path, rtol=1e-6)
    H = sum(K @ A for K, A in zip(kernels, exact.projections(one.terms), strict=True))
    G = sum(
        Z @ A for Z, A in zip(features, explicit.projections(other.terms), strict=True)
    )
    squares = np.eye(3) if algorithm == "late_fusion" else np.diag((H**2).sum(axis=0))
    np.testing.assert_allclose(H.T @ H, squares, atol=1e-6 * squares.max())
    np.testing.assert_allclose(H @ H.T, G @ G.T, atol=1e-5 * squares.max())
    assert one.weights.sum() == pytest.approx(1)
    assert one.weights.min() >= 0


@pytest.mark.parametrize("seed", range(3))
def test_simple_mkkm_is_optimal(seed):
    _, kernels = random_kernels(seed)
    found = solve_simple_mkkm(KernelStack(kernels), 3, tol=1e-9)
    assert found.converged
    g = np.sqrt(found.weights) / np.sqrt(found.weights).sum()
    subspace = found.terms[0][0]
    reduced = g * KernelStack(kernels).shares(subspace)
    np.testing.assert_allclose(reduced, reduced.mean(), rtol=1e-3)
    assert found.objective_path[-1] == pytest.approx(explained(kernels, g, 3))
    for other in np.random.default_rng(seed).dirichlet(np.ones(4), 50):
        assert explained(kernels, other, 3) >= found.objective_path[-1] * (1 - 1e-7)


def test_simple_mkkm_finds_what_a_general_solver_finds():
    _, kernels = random_kernels(5)
    found = solve_simple_mkkm(KernelStack(kernels), 3, tol=1e-9)
    slow = minimize(
        lambda g: explained(kernels, g, 3),
        np.full(4, 0.25),
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda g: g.sum() - 1},
        options={"ftol": 1e-12},
    )
    assert found.objective_path[-1] == pytest.approx(slow.fun, rel=1e-6)
    g = np.sqrt(found.weights) / np.sqrt(found.weights).sum()
    np.testing.assert_allclose(g, slow.x, atol=1e-3)


def test_simple_mkkm_comes_to_one_optimum_from_every_start():
    _, kernels = random_kernels(2)
    ends = []
    for start in ([0.25] * 4, [0.97, 0.01, 0.01, 0.01], [0.01, 0.01, 0.01, 0.97]):
        found = solve_simple_mkkm(
            KernelStack(kernels), 3, tol=1e-9, start=np.array(start)
        )
        ends.append((found.objective_path[-1], *found.weights))
    np.testing.assert_allclose(ends[1:], [ends[0]] * 2, rtol=1e-3)


def test_simple_mkkm_needs_few_eigenproblems():
    for seed in range(5):
        _, kernels = random_kernels(seed)
        assert len(solve_simple_mkkm(KernelStack(kernels), 3).objective_path) < 20


@pytest.mark.parametrize(
    ("algorithm", "direction"),
    [("simple_mkkm", -1), ("mkkm", -1), ("mkkm_mr", -1), ("late_fusion", 1)],
)
def test_objectives_are_monotone(algorithm, direction):
    for seed in range(4):
        _, kernels = random_kernels(seed)
        path = solve_kernel_clustering(
            KernelStack(kernels), 3, algorithm, tol=1e-9
        ).objective_path
        assert len(path) > 2
        steps = direction * np.diff(path)
        assert steps.min() > -1e-8 * abs(path[0])
        assert direction * (path[-1] - path[0]) > 0


def test_mkkm_weights_are_those_of_its_own_subspace():
    _, kernels = random_kernels(1)
    stack = KernelStack(kernels)
    found = solve_mkkm(stack, 3, tol=1e-12, max_iter=1000)
    left = stack.traces() - stack.shares(found.terms[0][0])
    g = (1 / left) / (1 / left).sum()
    np.testing.assert_allclose(found.weights, g**2 / (g**2).sum(), rtol=1e-4)


def test_regularised_mkkm_weights_solve_their_quadratic_programme():
    _, kernels = random_kernels(3)
    stack = KernelStack(kernels)
    found = solve_mkkm(stack, 3, tol=1e-12, max_iter=1000, regularization=0.7)
    left = stack.traces() - stack.shares(found.terms[0][0])
    norms = [np.linalg.norm(K) for K in kernels]
    M = [[(K * L).sum() for L in kernels] for K in kernels] / np.outer(norms, norms)
    Q = 2 * np.diag(left) + 0.7 * N_SAMPLES * M
    g = np.sqrt(found.weights) / np.sqrt(found.weights).sum()
    slope = Q @ g
    active = g > 1e-6
    np.testing.assert_allclose(slope[active], slope[active].mean(), rtol=1e-3)
    assert (slope[~active] >= slope[active].mean() * (1 - 1e-3)).all()


def test_statis_weights_are_the_leading_eigenvector_of_alignments():
    _, kernels = random_kernels(4)
    flat = np.array([K.ravel() / np.linalg.norm(K) for K in kernels])
    _, _, right = np.linalg.svd(flat.T, full_matrices=False)
    expected = np.abs(right[0]) / np.abs(right[0]).sum()
    np.testing.assert_allclose(solve_statis(KernelStack(kernels), 3).weights, expected)


def test_agreement_is_1_for_copies_and_0_for_noise():
    _, kernels = random_kernels(0, n_kernels=2)
    rng = np.random.default_rng(0)
    noise = []
    for _ in range(30):
        Z = rng.normal(size=(N_SAMPLES, 40))
        Z -= Z.mean(axis=0)
        noise.append(Z @ Z.T)
    matrix = agreements(KernelStack([kernels[0], kernels[0] * 2, *noise]), 3)
    assert matrix[0, 1] == pytest.approx(1)
    independent = matrix[np.ix_(range(2, 32), range(2, 32))][np.triu_indices(30, 1)]
    assert (independent == 0).mean() > 0.95
    assert independent.max() < 0.1


def test_agreement_gives_noise_no_weight():
    _, kernels = random_kernels(0, n_kernels=3)
    rng = np.random.default_rng(1)
    Z = rng.normal(size=(N_SAMPLES, 40))
    Z -= Z.mean(axis=0)
    noise = Z @ Z.T * N_SAMPLES / (Z**2).sum()
    weights = {
        name: solve_kernel_clustering(KernelStack([*kernels, noise]), 3, name).weights[
            -1
        ]
        for name in ("agreement", "average", "simple_mkkm")
    }
    assert weights["agreement"] == 0
    assert weights["simple_mkkm"] > weights["agreement"] + 0.1
    assert weights["average"] == 0.25


@pytest.mark.parametrize("algorithm", CLUSTERER_ALGORITHMS)
def test_one_kernel_gives_its_best_approximation_of_rank_k(algorithm):
    _, (kernel, *_) = random_kernels(0)
    stack = KernelStack([kernel])
    found = solve_kernel_clustering(stack, 3, algorithm)
    assert found.weights.tolist() == [1]
    (projection,) = stack.projections(found.terms)
    H = kernel @ projection
    values, vectors = np.linalg.eigh(kernel)
    squares = np.ones(3) if algorithm == "late_fusion" else values[-3:]
    expected = vectors[:, -3:] * squares @ vectors[:, -3:].T
    np.testing.assert_allclose(H @ H.T, expected, atol=1e-8 * squares.max())


@pytest.mark.parametrize("algorithm", CLUSTERER_ALGORITHMS)
def test_the_order_of_kernels_and_samples_does_not_matter(algorithm):
    _, kernels = random_kernels(0)
    weights = solve_kernel_clustering(KernelStack(kernels), 3, algorithm).weights
    turned = solve_kernel_clustering(KernelStack(kernels[::-1]), 3, algorithm).weights
    np.testing.assert_allclose(weights, turned[::-1], atol=1e-5)
    order = np.random.default_rng(0).permutation(N_SAMPLES)
    mixed = solve_kernel_clustering(
        KernelStack([K[np.ix_(order, order)] for K in kernels]), 3, algorithm
    )
    np.testing.assert_allclose(weights, mixed.weights, atol=1e-5)


@pytest.mark.parametrize("algorithm", ["average", "mkkm", "simple_mkkm", "late_fusion"])
def test_copies_have_equal_weights(algorithm):
    _, kernels = random_kernels(0)
    weights = solve_kernel_clustering(
        KernelStack([*kernels, kernels[0]]), 3, algorithm
    ).weights
    assert weights[0] == pytest.approx(weights[-1], rel=1e-2)


@pytest.mark.parametrize("unit", [1.0, 1e-60, 1e60])
def test_single_precision_first_gives_double_precision(unit):
    rng = np.random.default_rng(0)
    A = rng.normal(size=(500, 20)) * np.geomspace(1, 0.1, 20)
    A = (A @ A.T + 0.01 * np.eye(500)) * unit
    vectors, values = top_eigenpairs(A, 6)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(A)[::-1][:6], rtol=1e-11)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(6), atol=1e-12)
    residual = np.linalg.norm(A @ vectors - vectors * values, axis=0)
    assert residual.max() <= 1e-6 * values[0]


def test_rough_vectors_have_single_precision_and_the_weights_double():
    rng = np.random.default_rng(3)
    labels = np.arange(260) % 3
    kernels = []
    for noise in (0.5, 1.0, 2.0):
        X = rng.normal(size=(3, 4))[labels] + noise * rng.normal(size=(260, 4))
        K = np.exp(-0.1 * ((X[:, None] - X) ** 2).sum(axis=-1))
        K = K - K.mean(axis=0) - K.mean(axis=1)[:, None] + K.mean()
        kernels.append(K / K.diagonal().mean())
    stack = KernelStack(kernels)
    rough = stack.for_rough_vectors(3, 1e-3)
    assert {K.dtype for K in rough.kernels} == {np.dtype(np.float32)}
    assert stack.for_rough_vectors(3, 1e-6) is stack
    assert stack.for_rough_vectors(100, 1e-3) is stack
    found = solve_simple_mkkm(stack, 3)
    exact = solve_simple_mkkm(stack, 3, tol=1e-9, max_iter=1000)
    assert found.converged
    np.testing.assert_allclose(found.weights, exact.weights, atol=5e-3)
    np.testing.assert_allclose(found.objective_path[-1], exact.objective_path[-1], 2e-6)
