"""Graphs of nearest samples against loops over the printed formulas."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import pairwise_distances

from mmfusion.clustering.graph._affinities import (
    adaptive_graph,
    adaptive_weights,
    interpolation_weights,
    local_scales,
    normalized_adjacency,
    self_tuned_graph,
)
from mmfusion.clustering.graph._eigenvectors import leading_eigenvectors
from mmfusion.clustering.graph._neighbors import nearest_samples

SEEDS = st.integers(0, 2**16)


def samples(seed, n=25, d=3):
    return np.random.default_rng(seed).normal(size=(n, d))


def neighbors_by_loops(X, i, count):
    others = [j for j in range(len(X)) if j != i]
    return sorted(others, key=lambda j: np.linalg.norm(X[i] - X[j]))[:count]


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 12))
def test_nearest_samples_are_those_of_a_loop(seed, count):
    X = samples(seed)
    distances, indices = nearest_samples(X, count)
    for i in range(len(X)):
        near = neighbors_by_loops(X, i, count)
        assert indices[i].tolist() == near
        expected = [np.linalg.norm(X[i] - X[j]) for j in near]
        np.testing.assert_allclose(distances[i], expected)
    found, _ = nearest_samples(sparse.csr_array(X), count)
    np.testing.assert_allclose(found, distances, atol=1e-6)


def test_the_number_of_neighbors_is_cut_to_the_samples_there_are():
    assert nearest_samples(samples(0, n=4), 10)[0].shape == (4, 3)
    assert nearest_samples(samples(0, n=1), 10)[0].shape == (1, 0)
    assert nearest_samples(samples(0, n=4), 10, samples(1, n=2))[1].shape == (2, 4)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 10))
def test_the_self_tuned_graph_is_the_printed_formula(seed, count):
    X = samples(seed)
    D = pairwise_distances(X)
    near = [neighbors_by_loops(X, i, count) for i in range(len(X))]
    scale = [D[i, near[i][min(7, count) - 1]] for i in range(len(X))]
    expected = np.zeros_like(D)
    for i, own in enumerate(near):
        for j in own:
            w = np.exp(-(D[i, j] ** 2) / (scale[i] * scale[j]))
            expected[i, j] = expected[j, i] = w
    graph = self_tuned_graph(*nearest_samples(X, count))
    np.testing.assert_allclose(graph.toarray(), expected, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(1, 10))
def test_the_adaptive_graph_is_the_printed_formula(seed, count):
    X = samples(seed)
    D = pairwise_distances(X)
    expected = np.zeros_like(D)
    for i in range(len(X)):
        *near, following = neighbors_by_loops(X, i, count + 1)
        total = sum(D[i, following] ** 2 - D[i, j] ** 2 for j in near)
        for j in near:
            expected[i, j] = (D[i, following] ** 2 - D[i, j] ** 2) / total
    graph = adaptive_graph(*nearest_samples(X, count + 1))
    np.testing.assert_allclose(graph.toarray(), (expected + expected.T) / 2, atol=1e-12)


def test_equal_distances_have_equal_adaptive_weights():
    np.testing.assert_allclose(adaptive_weights(np.full((2, 5), 3.0)), 1 / 4)
    np.testing.assert_allclose(adaptive_weights(np.zeros((2, 5))), 1 / 4)


def test_copies_of_a_sample_have_affinity_1():
    X = np.repeat(samples(0, n=3), 12, axis=0)
    graph = self_tuned_graph(*nearest_samples(X, 10)).toarray()
    assert set(np.round(graph[graph > 0], 12)) == {1.0}


@pytest.mark.parametrize("unit", [1e-150, 1e150])
def test_the_unit_does_not_matter(unit):
    X = samples(0)
    plain = self_tuned_graph(*nearest_samples(X, 5)).toarray()
    scaled = self_tuned_graph(*nearest_samples(X * unit, 5)).toarray()
    np.testing.assert_allclose(scaled, plain)


def test_normalized_adjacency_divides_by_the_roots_of_degrees():
    graph = self_tuned_graph(*nearest_samples(samples(0), 4))
    W = graph.toarray()
    d = W.sum(axis=1)
    expected = W / np.sqrt(np.outer(d, d))
    np.testing.assert_allclose(normalized_adjacency(graph).toarray(), expected)
    lonely = sparse.csr_array(np.diag([0.0, 2.0]))
    np.testing.assert_allclose(normalized_adjacency(lonely).toarray(), [[0, 0], [0, 1]])


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_interpolation_weights_add_up_to_1_and_return_known_samples(seed):
    X = samples(seed)
    distances, _ = nearest_samples(X, 5)
    scales = local_scales(distances, float(distances.max()))
    queries = np.vstack([X[:4], X[:4] + 1.0, X[:4] * 1e6])
    weights = interpolation_weights(
        *(lambda d, i: (d, scales, i))(*nearest_samples(X, 5, queries))
    )
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights[:4, 0], 1, atol=1e-6)


@pytest.mark.parametrize("n", [60, 700])
def test_leading_eigenvectors_are_those_of_the_whole_decomposition(n):
    A = normalized_adjacency(self_tuned_graph(*nearest_samples(samples(0, n), 6)))
    values, vectors = leading_eigenvectors(A, 4, 0)
    expected = np.linalg.eigvalsh(A.toarray())[::-1][:4]
    np.testing.assert_allclose(values, expected, atol=1e-7)
    np.testing.assert_allclose(A @ vectors, vectors * values, atol=1e-5)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(4), atol=1e-7)
    largest = np.abs(vectors).argmax(axis=0)
    assert (vectors[largest, range(4)] > 0).all()


def test_all_copies_of_an_eigenvalue_are_found():
    ring = sparse.csr_array(np.roll(np.eye(100), 1, axis=1))
    graph = normalized_adjacency(sparse.block_diag([ring + ring.T] * 5).tocsr())
    values, _ = leading_eigenvectors(graph, 6, 0)
    np.testing.assert_allclose(values[:5], 1, atol=1e-7)
    assert values[5] < 1 - 1e-4
