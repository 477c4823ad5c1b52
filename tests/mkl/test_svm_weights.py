"""Weights of kernels for support vector machines: optimality, limits, invariances."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mmfusion.mkl._svm_tasks import Classification, Regression
from mmfusion.mkl._svm_weights import (
    alignment_weights,
    easymkl_weights,
    l1_weights,
    learn_weights,
    lp_weights,
    pair_products,
)


def centred(K):
    K = K - K.mean(axis=0) - K.mean(axis=1)[:, None] + K.mean()
    return K / K.diagonal().mean()


def make_kernels(n_samples=90, n_classes=2, noise_levels=(0.5, 1.0, 2.0), seed=0):
    """Kernels of features that separate classes less and less, and of noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_samples) % n_classes
    kernels = []
    for noise in noise_levels:
        centers = rng.normal(size=(n_classes, 4))
        X = centers[y] + noise * rng.normal(size=(n_samples, 4))
        kernels.append(centred(rbf_kernel(X, gamma=0.1)))
    kernels.append(centred(rbf_kernel(rng.normal(size=(n_samples, 4)), gamma=0.1)))
    return kernels, y


def classification(y, C=1.0):
    return Classification(y, C, np.ones(len(y)))


def regression(n_samples, seed=1, C=1.0):
    y = np.random.default_rng(seed).normal(size=n_samples)
    return Regression(y, C, np.ones(n_samples), 0.1)


def equal(n_kernels):
    return np.full(n_kernels, 1 / n_kernels)


def squares(kernels, duals):
    return np.array(
        [
            sum(p.coef @ K[np.ix_(p.rows, p.rows)] @ p.coef for p in duals.pairs)
            for K in kernels
        ]
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_active_kernels_of_l1_have_equal_slopes_and_others_smaller_ones(n_classes):
    kernels, y = make_kernels(n_classes=n_classes)
    kernels.append(kernels[-1] / 10)  # of smaller slope wherever the other is
    task = classification(y)
    found = l1_weights(kernels, task, equal(5), tol=1e-6, max_iter=100)
    assert found.converged
    at = squares(kernels, task.fit(np.tensordot(found.weights, kernels, 1)).duals)
    active = found.weights > 1e-3
    assert active.any()
    assert not active.all()
    np.testing.assert_allclose(at[active], at[active].max(), rtol=2e-3)
    assert (at[~active] < at[active].min() * (1 + 2e-3)).all()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_l1_reaches_one_objective_from_any_start(n_classes):
    kernels, y = make_kernels(n_classes=n_classes)
    task = classification(y)
    starts = [equal(4), np.eye(4)[3], np.array([0.0, 0.1, 0.1, 0.8])]
    ends = [
        l1_weights(kernels, task, start, tol=1e-5, max_iter=100) for start in starts
    ]
    least = min(found.objective_path[-1] for found in ends)
    for found in ends:
        assert found.converged
        assert found.objective_path[-1] <= least * (1 + 1e-5)
        np.testing.assert_allclose(found.weights, ends[0].weights, atol=0.02)


def test_l1_is_no_worse_than_a_general_optimiser():
    kernels, y = make_kernels(n_samples=40)
    task = classification(y)

    def objective(logits):
        weights = np.exp(logits) / np.exp(logits).sum()
        duals = task.fit(np.tensordot(weights, kernels, 1)).duals
        return duals.linear - weights @ squares(kernels, duals) / 2

    slow = minimize(objective, np.zeros(4), method="Nelder-Mead").fun
    found = l1_weights(kernels, task, equal(4), tol=1e-6, max_iter=100)
    assert found.objective_path[-1] <= slow * (1 + 1e-5)


@pytest.mark.parametrize("algorithm", ["l1", "lp"])
@pytest.mark.parametrize("seed", range(3))
def test_the_objective_never_rises_and_the_gap_bounds_it(algorithm, seed):
    kernels, y = make_kernels(seed=seed)
    for task in (classification(y, C=10.0), regression(len(y), seed)):
        exact = learn_weights(kernels, task, algorithm, tol=1e-7, max_iter=500)
        rough = learn_weights(kernels, task, algorithm, tol=1e-2)
        path = exact.objective_path
        assert (np.diff(path) <= 1e-7 * path[0]).all()
        above = rough.objective_path[-1] / path[-1] - 1
        assert above <= rough.gap + 1e-6
        assert rough.gap <= 1e-2


def test_lp_goes_to_l1_as_p_goes_to_1():
    kernels, y = make_kernels()
    task = classification(y)
    l1 = l1_weights(kernels, task, equal(4), tol=1e-6, max_iter=100)
    lp = lp_weights(kernels, task, 1.001, equal(4), tol=1e-5, max_iter=3000)
    np.testing.assert_allclose(lp.weights, l1.weights, atol=0.02)
    np.testing.assert_allclose(lp.objective_path[-1], l1.objective_path[-1], rtol=2e-3)
    at_one = learn_weights(
        kernels, task, "lp", regularization=1, tol=1e-6, max_iter=100
    )
    np.testing.assert_array_equal(at_one.weights, l1.weights)


def test_lp_goes_to_equal_weights_as_p_grows():
    kernels, y = make_kernels()
    found = lp_weights(kernels, classification(y), 1e4, equal(4), 1e-6, 100)
    np.testing.assert_allclose(found.weights, 0.25, rtol=1e-3)


@pytest.mark.parametrize("p", [1.2, 2.0, 4.0])
def test_lp_weights_have_the_norm_of_equal_ones_and_the_best_objective(p):
    kernels, y = make_kernels(n_samples=40)
    task = classification(y)
    found = lp_weights(kernels, task, p, equal(4), tol=1e-6, max_iter=1000)
    assert found.converged
    np.testing.assert_allclose((found.weights**p).mean(), 4.0**-p)
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = found.weights + rng.normal(scale=0.02, size=4)
        other = np.maximum(other, 0)
        other *= 4 ** (1 / p - 1) / np.linalg.norm(other, p)
        duals = task.fit(np.tensordot(other, kernels, 1)).duals
        value = duals.linear - other @ squares(kernels, duals) / 2
        assert value >= found.objective_path[-1] * (1 - 1e-5)


@pytest.mark.parametrize("regularization", [0.01, 0.1, 0.9])
def test_easymkl_agrees_with_a_slow_quadratic_programme(regularization):
    kernels, y = make_kernels(n_samples=30)
    signs = np.where(y == 1, 1.0, -1.0)
    total = np.sum(kernels, axis=0)
    A = (1 - regularization) * total * np.outer(signs, signs)
    A += regularization * np.eye(30)
    slow = minimize(
        lambda g: g @ A @ g,
        np.full(30, 1 / 15),
        jac=lambda g: 2 * A @ g,
        bounds=[(0, None)] * 30,
        constraints=[
            {"type": "eq", "fun": lambda g, c=c: g[y == c].sum() - 1} for c in (0, 1)
        ],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    point = slow.x * signs
    expected = np.array([point @ K @ point for K in kernels])
    found = easymkl_weights(kernels, classification(y), regularization)
    np.testing.assert_allclose(found.weights, expected / expected.sum(), atol=1e-4)
    np.testing.assert_allclose(found.objective_path, slow.fun, rtol=1e-5)


@pytest.mark.parametrize(
    ("regularization", "expected"),
    [(0.1, [0.2191, 0.32672, 0.45417]), (0.5, [0.27897, 0.20748, 0.51355])],
)
def test_easymkl_agrees_with_mklpy(regularization, expected):
    data, y = load_breast_cancer(return_X_y=True)
    data = StandardScaler().fit_transform(data)[:200]
    kernels = [rbf_kernel(data[:, v : v + 10], gamma=0.05) for v in (0, 10, 20)]
    found = easymkl_weights(kernels, classification(y[:200]), regularization)
    # the weights that EasyMKL(lam=...) of MKLpy 0.6 finds for these kernels
    np.testing.assert_allclose(found.weights, expected, atol=3e-5)


def test_easymkl_towards_1_takes_the_means_of_the_classes():
    kernels, y = make_kernels()
    signs = np.where(y == 1, 1.0, -1.0) / 45
    expected = np.array([signs @ K @ signs for K in kernels])
    found = easymkl_weights(kernels, classification(y), 0.9999)
    np.testing.assert_allclose(found.weights, expected / expected.sum(), atol=1e-3)


def test_pair_products_are_those_of_kernels_without_their_diagonal():
    kernels, y = make_kernels(n_samples=50, n_classes=3)
    task = classification(y)
    target = task.target()
    blocks = np.array([*kernels, target @ target.T])
    blocks[:, np.arange(50), np.arange(50)] = 0
    expected = np.einsum("pij,qij->pq", blocks, blocks)
    found = pair_products(kernels, task)
    np.testing.assert_allclose(found, expected)


def test_pair_products_take_weights_as_repetitions():
    kernels, y = make_kernels(n_samples=30)
    counts = np.arange(30) % 4 + 1
    again = np.repeat(np.arange(30), counts)
    task = Classification(y, 1.0, counts.astype(float))
    repeated = [K[np.ix_(again, again)] for K in kernels]
    np.testing.assert_allclose(
        pair_products(kernels, task), pair_products(repeated, classification(y[again]))
    )


@pytest.mark.parametrize("n_classes", [2, 4])
def test_no_weights_are_better_aligned_beyond_chance(n_classes):
    kernels, y = make_kernels(n_classes=n_classes)
    task = classification(y)
    found = alignment_weights(kernels, task)
    products = pair_products(kernels, task)
    among, sizes = products[:-1, :-1], np.sqrt(products.diagonal())
    excess = products[-1, :-1] - 3 * np.sqrt(2) / len(y) * sizes[:-1] * sizes[-1]

    def cosine(weights, of=excess):
        return weights @ of / np.sqrt(weights @ among @ weights) / sizes[-1]

    best = cosine(found.weights)
    plain = cosine(found.weights, products[-1, :-1])
    np.testing.assert_allclose(found.objective_path, plain)
    rng = np.random.default_rng(0)
    for scale in (0.3, 0.03):
        for _ in range(50):
            other = found.weights + rng.normal(scale=scale, size=4)
            assert cosine(np.maximum(other, 1e-9)) <= best + 1e-9


@pytest.mark.parametrize("dimension", [3, 30, 1000])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_noise_of_any_width_gets_nearly_no_weight(n_classes, dimension):
    kernels, y = make_kernels(300, n_classes, noise_levels=(1.0, 1.5))
    weights = []
    for seed in range(5):
        X = np.random.default_rng(seed).normal(size=(300, dimension))
        noise = centred(rbf_kernel(X, gamma=0.25 / dimension))
        found = learn_weights([*kernels[:2], noise], classification(y), "alignment")
        weights.append(found.weights[2])
    assert np.mean(weights) < 0.02


def test_kernels_that_are_independent_of_the_target_have_equal_weights():
    identity = np.eye(60) - 1 / 60
    task = classification(np.arange(60) % 2)
    found = alignment_weights([identity, 2 * identity], task)
    np.testing.assert_allclose(found.weights, 0.5)


@pytest.mark.parametrize("algorithm", ["alignment", "easymkl", "l1", "lp", "average"])
def test_the_order_of_kernels_only_permutes_weights(algorithm):
    kernels, y = make_kernels()
    order = [2, 0, 3, 1]
    straight = learn_weights(
        kernels, classification(y), algorithm, tol=1e-6, max_iter=500
    )
    turned = learn_weights(
        [kernels[m] for m in order],
        classification(y),
        algorithm,
        tol=1e-6,
        max_iter=500,
    )
    np.testing.assert_allclose(turned.weights, straight.weights[order], atol=2e-3)


@pytest.mark.parametrize("algorithm", ["alignment", "l1"])
def test_a_kernel_given_twice_shares_the_weight_of_one(algorithm):
    kernels, y = make_kernels()
    once = learn_weights(kernels, classification(y), algorithm, tol=1e-6, max_iter=100)
    twice = learn_weights(
        [kernels[0], *kernels], classification(y), algorithm, tol=1e-6, max_iter=100
    )
    together = np.append(twice.weights[:2].sum(), twice.weights[2:])
    np.testing.assert_allclose(together, once.weights, atol=2e-3)


@pytest.mark.parametrize("algorithm", ["alignment", "easymkl", "l1", "lp", "average"])
def test_a_kernel_of_zeros_gets_no_weight_and_a_lone_one_all(algorithm):
    kernels, y = make_kernels()
    task = classification(y)
    found = learn_weights([*kernels, np.zeros_like(kernels[0])], task, algorithm)
    assert found.weights[-1] == 0
    without = learn_weights(kernels, task, algorithm)
    np.testing.assert_allclose(found.weights[:-1], without.weights)
    np.testing.assert_array_equal(
        learn_weights(kernels[:1], task, algorithm).weights, [1.0]
    )


@pytest.mark.parametrize("algorithm", ["alignment", "l1", "lp"])
def test_values_are_learned_from_the_kernel_that_holds_them(algorithm):
    rng = np.random.default_rng(0)
    blocks = [rng.normal(size=(120, 2)) for _ in range(3)]
    y = np.sin(blocks[1][:, 0])
    kernels = [centred(rbf_kernel(X, gamma=0.3)) for X in blocks]
    task = Regression(y, 10.0, np.ones(120), 0.05)
    assert learn_weights(kernels, task, algorithm).weights.argmax() == 1


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_dual_variables_of_pairs_add_up_to_the_machine(n_classes):
    kernels, y = make_kernels(n_classes=n_classes)
    duals = classification(y).fit(kernels[0]).duals
    assert len(duals.pairs) == n_classes * (n_classes - 1) // 2
    for pair in duals.pairs:
        assert len(np.unique(y[pair.rows])) == 2
        assert abs(pair.coef.sum()) < 1e-9
        part = np.flatnonzero(np.isin(y, y[pair.rows]))
        machine = SVC(kernel="precomputed", tol=1e-9)
        machine.fit(kernels[0][np.ix_(part, part)], y[part])
        expected = machine.dual_coef_[0] @ machine.dual_coef_[0]
        np.testing.assert_allclose(pair.coef @ pair.coef, expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [0.5, 5.0])
def test_points_of_two_classes_are_those_of_a_precise_solver(dtype, spread):
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=300)
    A = rng.normal(size=(300, 4)) * spread
    A[:, 0] += 2 * y
    K = rbf_kernel(A).astype(dtype)
    regularization = 0.2
    found = classification(y).nearest_points(K.copy(), regularization).duals.pairs[0]
    K += np.diag(np.full(300, regularization / (1 - regularization), dtype))
    exact = SVC(C=1e10, kernel="precomputed", tol=1e-8).fit(K.astype(float), y)
    expected = np.zeros(300)
    expected[exact.support_] = 2 * exact.dual_coef_[0] / np.abs(exact.dual_coef_).sum()
    points = np.zeros(300)
    points[found.rows] = found.coef
    np.testing.assert_allclose(points, expected, atol=2e-5)


def test_points_that_do_not_settle_are_left_to_the_solver(monkeypatch):
    kernels, y = make_kernels()
    expected = easymkl_weights(kernels, classification(y), 0.1)
    monkeypatch.setattr("mmfusion.mkl._active_sets.SETTLING_ROUNDS", 0)
    found = easymkl_weights(kernels, classification(y), 0.1)
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-3)


@pytest.mark.parametrize("n_kernels", [2, 20])
def test_products_are_those_of_pairs_whatever_the_number_of_kernels(n_kernels):
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(n_kernels, 12, 5))
    kernels = [root @ root.T for root in roots]
    codes = np.arange(12) % 2
    task = Classification(codes, 1.0, np.ones(12))
    target = task.target()
    expected = np.array([K * (1 - np.eye(12)) for K in [*kernels, target @ target.T]])
    flat = expected.reshape(n_kernels + 1, -1)
    np.testing.assert_allclose(pair_products(kernels, task), flat @ flat.T)
