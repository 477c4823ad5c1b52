"""Dual variables that are settled by active sets: the optimality conditions hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC, SVR

from mmfusion.mkl import MKLClassifier
from mmfusion.mkl._active_sets import settle_duals, solve_with_sum
from mmfusion.mkl._svm_tasks import Classification, Regression


def two_classes(n_samples, spread, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.arange(n_samples) % 2
    A = spread * rng.normal(size=(n_samples, 5))
    A[:, 0] += 2 * codes
    return rbf_kernel(A, gamma=0.1), codes


def margins_of(codes):
    is_second = codes == 1
    return np.where(is_second, 1.0, -np.inf), np.where(is_second, np.inf, -1.0)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    spread=st.floats(0.3, 3.0),
    C=st.sampled_from([0.1, 1.0, 30.0]),
    tol=st.sampled_from([0.01, 0.1, 1.0]),
)
def test_settled_duals_satisfy_the_optimality_conditions(seed, spread, C, tol):
    K, codes = two_classes(80, spread, seed)
    costs = C * np.random.default_rng(seed).uniform(0.5, 2.0, size=80)
    rough = SVC(C=1.0, kernel="precomputed", tol=tol).fit(K, codes, costs)
    start = np.zeros(80)
    start[rough.support_] = rough.dual_coef_[0]
    found = settle_duals(K, start, costs, *margins_of(codes))
    if found is None:  # left to the solver
        return
    coef, intercept = found
    signs = np.where(codes == 1, 1.0, -1.0)
    alphas, outputs = signs * coef, signs * (K @ coef + intercept)
    assert abs(coef.sum()) < 1e-6
    assert (alphas >= 0).all()
    assert (alphas <= costs * (1 + 1e-9)).all()
    assert (outputs[alphas == 0] >= 1 - 2e-5).all()
    assert (outputs[alphas >= costs] <= 1 + 2e-5).all()
    is_free = (alphas > 0) & (alphas < costs)
    np.testing.assert_allclose(outputs[is_free], 1, atol=1e-6)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_machines_are_those_of_a_precise_solver(n_classes):
    rng = np.random.default_rng(1)
    codes = rng.integers(n_classes, size=160)
    A = rng.normal(size=(n_classes, 5))[codes] + rng.normal(size=(160, 5))
    K, weight = rbf_kernel(A, gamma=0.1), rng.uniform(0.5, 2.0, size=160)
    exact = SVC(kernel="precomputed", tol=1e-9).fit(K, codes, weight)
    task = Classification(codes, 1.0, weight)
    # also from the solution of another kernel
    other = task.fit(rbf_kernel(A, gamma=0.05)).duals
    for start in (None, other):
        machine = task.fit(K, start)
        dense, expected = np.zeros((2, n_classes - 1, 160))
        dense[:, machine.support] = machine.coef
        expected[:, exact.support_] = exact.dual_coef_
        np.testing.assert_allclose(dense, expected, atol=1e-5)
        np.testing.assert_allclose(machine.intercept, exact.intercept_, atol=1e-5)


def test_regression_is_that_of_a_precise_solver():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(120, 4))
    K, y = rbf_kernel(A, gamma=0.2), np.sin(A[:, 0]) + 0.3 * rng.normal(size=120)
    exact = SVR(kernel="precomputed", epsilon=0.1, tol=1e-9).fit(K, y)
    machine = Regression(y, 1.0, np.ones(120), 0.1).fit(K)
    dense, expected = np.zeros((2, 120))
    dense[machine.support] = machine.coef[0]
    expected[exact.support_] = exact.dual_coef_[0]
    np.testing.assert_allclose(dense, expected, atol=1e-5)
    np.testing.assert_allclose(machine.intercept, exact.intercept_, atol=1e-5)


def test_kernels_without_unique_duals_are_left_to_the_solver():
    # rank 1, and many free support vectors
    rows = np.repeat([1.0, -1.0], 20)
    codes = (rows > 0).astype(int)
    K = np.outer(rows, rows)
    machine = Classification(codes, 1.0, np.ones(40)).fit(K)
    exact = SVC(kernel="precomputed").fit(K, codes)
    values = machine.decide(K[:, machine.support])[:, 0]
    np.testing.assert_allclose(values, exact.decision_function(K), atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equations_are_solved_in_either_precision(dtype):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(60, 80))
    A, sides = root @ root.T / 80 + 0.1 * np.eye(60), rng.normal(size=60)
    x, constant = solve_with_sum(A, sides, 0.5, 1e-9, dtype)
    assert x.sum() == pytest.approx(0.5)
    np.testing.assert_allclose(A @ x + constant, sides, atol=1e-8)
    assert solve_with_sum(A - 2 * np.eye(60), sides, 0.5, 1e-9, dtype) is None


def test_products_of_all_pairs_are_those_of_each():
    rng = np.random.default_rng(2)
    codes = rng.integers(4, size=100)
    A = rng.normal(size=(4, 5))[codes] + rng.normal(size=(100, 5))
    K = rbf_kernel(A, gamma=0.1)
    machine = Classification(codes, 1.0, np.ones(100)).fit(K)
    products = machine.products(K)
    squares = sum(
        p.coef @ K[np.ix_(p.rows, p.rows)] @ p.coef for p in machine.duals.pairs
    )
    assert np.vdot(machine.coef, products) == pytest.approx(squares)
    found = machine.free_products(products[None])
    for pair, own in zip(machine.duals.pairs, found, strict=True):
        expected = (K[np.ix_(pair.rows, pair.rows)] @ pair.coef)[pair.free]
        np.testing.assert_allclose(own[0], expected, atol=1e-12)


def test_the_machine_of_the_last_weights_is_that_of_the_sum():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    blocks = [rng.normal(size=(3, 4))[y] + rng.normal(size=(90, 4)) for _ in range(3)]
    kernels = [rbf_kernel(block, gamma=0.1) for block in blocks]
    for algorithm in ("l1", "lp"):
        model = MKLClassifier("precomputed", algorithm=algorithm).fit(kernels, y)
        again = MKLClassifier("precomputed", algorithm="average").fit(kernels, y)
        support = model._support.compute(model._validate(kernels, reset=False))
        values = model._machine.decide(support)
        np.testing.assert_allclose(model.decision_function(kernels), values)
        assert model.score(kernels, y) > again.score(kernels, y) - 0.1
