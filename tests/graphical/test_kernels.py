"""The dense and the sparse kernel give one result, and neither loses anything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mmfusion._compilation import jit
from mmfusion.graphical import _inference as inference
from mmfusion.graphical import (
    ergodic_graph,
    forward_backward,
    graph_from_edges,
    left_to_right_graph,
)
from mmfusion.graphical._dense_kernels import DensePass, dense_arrays
from mmfusion.graphical._exponents import scaled_exponentials, split
from mmfusion.graphical._inference import chain_log_likelihood


def random_chain(seed, n_states, n_frames, spread, zeros=0.0):
    """Return a graph with most or all edges, and a table of emissions."""
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(n_states), n_states)
    transitions[rng.random(transitions.shape) < zeros] = 0
    transitions[np.arange(n_states), np.arange(n_states)] += 0.01
    graph = ergodic_graph(transitions, rng.dirichlet(np.ones(n_states)))
    return graph, rng.normal(0, spread, (n_frames, n_states))


@jit
def _forward_only(table, out):
    for t in range(len(table)):
        scaled_exponentials(table[t], 0.0, out[t])


def test_exponentials_are_those_of_numpy():
    logs = -np.random.default_rng(0).gamma(1, 150, size=(500, 13))
    logs[0, :3] = 0, -np.inf, -1e300
    ours = np.empty_like(logs)
    _forward_only(logs, ours)
    expected = np.exp(logs)
    expected[expected < 2.3e-308] = 0  # subnormal
    assert_allclose(ours, expected, rtol=5e-16)


@pytest.mark.parametrize("size", [1, 700, 1e5, 1e9])
def test_numbers_with_an_exponent_neither_overflow_nor_underflow(size):
    logs = size * np.random.default_rng(1).normal(size=1000)
    mantissas, exponents = split(logs)
    assert ((mantissas >= 1) & (mantissas < 2)).all()
    back = np.log(mantissas) + np.log(2) * exponents
    assert_allclose(back, logs, rtol=1e-15, atol=1e-15)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_states=st.integers(1, 9),
    n_frames=st.integers(1, 40),
    spread=st.sampled_from([0.1, 5.0, 300.0, 5000.0]),
    zeros=st.sampled_from([0.0, 0.3]),
)
def test_dense_and_sparse_kernel_agree(seed, n_states, n_frames, spread, zeros):
    graph, table = random_chain(seed, n_states, n_frames, spread, zeros)
    offsets = [0, n_frames // 3, n_frames]
    ours = forward_backward(graph, table, offsets, sample_weight=[1, 2.5])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "dense_arrays", lambda graph: None)
        sparse = forward_backward(graph, table, offsets, sample_weight=[1, 2.5])
    for one, other in zip(ours, sparse, strict=True):
        assert_allclose(one, other, rtol=1e-10, atol=1e-10)


def run_dense(graph, table):
    """Return whether both dense passes are exact, and the log-likelihood."""
    offsets = np.array([0, len(table)])
    kernel = DensePass(dense_arrays(graph), graph, table, offsets, len(table))
    n_states, n_edges = len(graph.emits), len(graph.src)
    one = np.ones(1)
    exact = kernel.forward(range(1), 0, len(table)) and kernel.backward(
        range(1), 0, len(table), one, one, graph.emits,
        np.empty(table.shape), np.zeros(n_edges), np.zeros(n_states),
    )  # fmt: skip
    return exact, kernel.log_likelihoods(range(1))[0]


def test_a_dense_pass_that_lost_a_state_says_so():
    # state 0 underflows beside state 1, from which there is no way back, and is the
    # better one afterwards: by hand, its path alone is worth -1000 + 3 log .5
    graph = ergodic_graph([[0.5, 0.5], [0, 1]], [1, 0])
    table = np.array([[0, -3000], [-1000, 0], [0, -500], [0, -500]], dtype=float)
    assert not run_dense(graph, table)[0]
    assert_allclose(chain_log_likelihood(graph, table, [0, 4]), -1000.4700036292456)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_states=st.integers(2, 12),
    n_frames=st.integers(1, 40),
    spread=st.sampled_from([0.1, 5.0, 60.0, 300.0, 5000.0]),
    max_skip=st.integers(0, 2),
    any_end=st.booleans(),
)
def test_few_states_from_left_to_right_are_as_the_edges_alone(
    seed, n_states, n_frames, spread, max_skip, any_end
):
    graph = left_to_right_graph(n_states, max_skip=max_skip)
    if any_end:
        graph = graph._replace(log_end=np.zeros(n_states))
    table = np.random.default_rng(seed).normal(0, spread, (n_frames, n_states))
    offsets = [0, n_frames // 3, n_frames]
    ours = forward_backward(graph, table, offsets, sample_weight=[1, 2.5])
    alone = chain_log_likelihood(graph, table, offsets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "dense_arrays", lambda graph: None)
        sparse = forward_backward(graph, table, offsets, sample_weight=[1, 2.5])
    for one, other in zip(ours, sparse, strict=True):
        assert_allclose(one, other, rtol=1e-10, atol=1e-10)
    assert_allclose(alone, sparse.log_likelihoods, rtol=1e-10, atol=1e-10)


def test_states_long_left_and_far_ahead_are_no_lost_digits():
    # each of ten states explains twenty frames, and the others by exp(-25): far from
    # the path, alpha and beta underflow
    graph = left_to_right_graph(10)
    table = np.where(np.arange(200)[:, None] // 20 == np.arange(10), 0.0, -25.0)
    exact, log_likelihood = run_dense(graph, table)
    assert exact
    # by hand: 199 steps of probability .5, but the 19 in the last state of 1
    assert_allclose(log_likelihood, 180 * np.log(0.5), rtol=1e-9)


def test_a_path_that_underflows_at_both_ends_is_not_lost():
    # two chains side by side: the first has the better ends, and the second, by far,
    # the better middle, so that it is all there is: by hand -600 - 600 + log .5
    graph = ergodic_graph(np.eye(2), [0.5, 0.5])
    table = np.array([[0, -600], [-4000, 0], [-4000, 0], [0, -600]], dtype=float)
    assert not run_dense(graph, table)[0]
    expected = -1200 + np.log(0.5)
    assert_allclose(chain_log_likelihood(graph, table, [0, 4]), expected)


@pytest.mark.parametrize("end", [[0, -np.inf], [-np.inf, 0], [0, -400]])
def test_an_end_in_a_state_that_underflows_is_exact(end):
    graph = ergodic_graph([[0.5, 0.5], [0.4, 0.6]], [0.3, 0.7])
    graph = graph._replace(log_end=np.array(end, dtype=float))
    table = np.array([[0, -3000], [-1000, 0], [0, -1500], [-2000, 0]], dtype=float)
    ours = forward_backward(graph, table, [0, 4])
    steps = np.log([[0.5, 0.5], [0.4, 0.6]])
    total = np.log([0.3, 0.7]) + table[0]
    for row in table[1:]:
        total = np.logaddexp.reduce(total[:, None] + steps, axis=0) + row
    assert_allclose(ours.log_likelihoods, np.logaddexp.reduce(total + end))
    assert_allclose(ours.posteriors.sum(axis=1), 1)


def test_no_frame_is_possible_in_any_state():
    graph, table = random_chain(3, 4, 10, 2.0)
    table[6] = -np.inf
    result = forward_backward(graph, table, [0, 5, 10])
    assert np.isfinite(result.log_likelihoods[0])
    assert result.log_likelihoods[1] == -np.inf
    assert_allclose(result.posteriors[:5].sum(axis=1), 1)
    assert not result.posteriors[5:].any()
    assert_allclose(result.edge_counts.sum(), 4)


def test_transitions_far_apart_are_for_the_sparse_kernel():
    weights = np.log([[0.5, 0.5], [1e-120, 1]]).ravel()
    edges = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert dense_arrays(graph_from_edges(2, edges, weights)) is None
    scores = weights + np.array([0, 0, 150, 0])  # potentials that are no probabilities
    assert dense_arrays(graph_from_edges(2, edges, scores)) is not None


def test_scores_far_from_probabilities_keep_their_size():
    graph, table = random_chain(5, 3, 6, 1.0)
    moved = graph._replace(
        log_weights=graph.log_weights + 2000,
        log_start=graph.log_start - 900,
        log_end=graph.log_end + 5000,
    )
    before = forward_backward(graph, table, [0, 6])
    after = forward_backward(moved, table + 70, [0, 6])
    shift = 5 * 2000 - 900 + 5000 + 6 * 70
    assert_allclose(after.log_likelihoods, before.log_likelihoods + shift)
    assert_allclose(after.posteriors, before.posteriors, atol=1e-12)
