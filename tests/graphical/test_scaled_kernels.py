"""Plain scaled numbers over few edges: equal to exact ones, or not used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.graphical import left_to_right_graph
from mmfusion.graphical._graph import graph_from_edges
from mmfusion.graphical._inference import chain_log_likelihood, forward_backward
from mmfusion.graphical._scaled_kernels import ScaledPass, scaled_edges
from mmfusion.graphical._sparse_kernels import SparsePass, edge_arrays


def run(kernel, graph, table, offsets, weights):
    """Return whether results are exact, and log-likelihoods, posteriors and counts."""
    sequences, n = range(len(offsets) - 1), len(table)
    posteriors = np.full(table.shape, np.nan)
    edge_counts, start_counts = np.zeros(len(graph.src)), np.zeros(len(graph.emits))
    ones = np.ones(len(sequences))
    exact = kernel.forward(sequences, 0, n) and kernel.backward(
        sequences, 0, n, ones, weights, graph.emits.copy(), posteriors, edge_counts,
        start_counts,
    )  # fmt: skip
    if not exact:
        return False, ()
    values = kernel.log_likelihoods(sequences)
    return True, (values, posteriors, edge_counts, start_counts)


def both(graph, table, lengths, seed=0):
    """Compare with the sparse kernel; return whether plain numbers were enough."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    weights = np.random.default_rng(seed).random(len(lengths))
    rows = len(table)
    plain = ScaledPass(scaled_edges(graph), table, offsets, rows)
    slow = SparsePass(edge_arrays(graph), table, offsets, rows)
    exact, found = run(plain, graph, table, offsets, weights)
    _, expected = run(slow, graph, table, offsets, weights)
    if exact:
        assert found[0] == pytest.approx(expected[0], rel=1e-12)
        for own, other in zip(found[1:], expected[1:], strict=True):
            assert own == pytest.approx(other, rel=1e-10, abs=1e-12)
    return exact


def random_graph(rng, n_states):
    """Return a graph of a cycle and other edges, with few first and last states."""
    cycle = [(s, (s + 1) % n_states) for s in range(n_states)]
    others = rng.integers(0, n_states, (n_states, 2)).tolist()
    log_start, log_end = np.log(rng.random((2, n_states)))
    log_start[rng.random(n_states) < 0.5] = -np.inf
    log_end[rng.random(n_states) < 0.5] = -np.inf
    log_start[0] = log_end[-1] = 0.0
    emits = rng.integers(0, n_states, n_states)
    emits[0] = n_states - 1
    return graph_from_edges(
        n_states,
        cycle + others,
        np.log(rng.random(2 * n_states) + 1e-3),
        emits=emits,
        log_start=log_start,
        log_end=log_end,
    )


@given(
    seed=st.integers(0, 10_000),
    spread=st.sampled_from([1.0, 30.0, 300.0, 3000.0]),
)
@settings(max_examples=60, deadline=None)
def test_exact_results_are_those_of_numbers_that_cannot_underflow(seed, spread):
    rng = np.random.default_rng(seed)
    n_states = int(rng.integers(2, 7))
    graph = random_graph(rng, n_states)
    lengths = rng.integers(n_states, 30, 3)
    table = spread * rng.standard_normal((lengths.sum(), n_states))
    table[rng.random(table.shape) < 0.05] = -np.inf
    both(graph, table, lengths, seed)


@pytest.mark.parametrize("shift", [0.0, -1e5, 1e5])
def test_plain_numbers_are_enough_for_states_far_behind(shift):
    n_states, n_frames = 12, 300
    segments = np.arange(n_frames) * n_states // n_frames
    distances = np.abs(np.arange(n_states) - segments[:, None])
    table = np.tile(shift - 4.0 * distances, (2, 1))
    # states that were left long ago have alphas of about exp(-4 * 11 * 25)
    assert both(left_to_right_graph(n_states, max_skip=1), table, [n_frames] * 2)


def two_tracks(log_end):
    """Return a graph of two states without edges between them."""
    edges = [(0, 0), (1, 1)]
    return graph_from_edges(2, edges, np.log([0.5, 0.5]), log_end=log_end)


def test_a_state_that_is_lost_and_alone_may_end_is_noticed():
    table = np.array([[0.0, 0.0], [-2000.0, 0.0], [0.0, -1.0]])
    assert not both(two_tracks([0.0, -np.inf]), table, [3])


def test_a_lost_state_that_has_the_best_path_later_is_noticed():
    # the first state is raised from exp(-800), and then the second loses 1,000 nats
    table = np.array([[0.0, 0.0], [-800.0, 0.0], [0.0, -500.0], [0.0, -500.0]])
    assert not both(two_tracks([0.0, 0.0]), table, [4])
    # without the last frame the lost state does not matter
    assert both(two_tracks([0.0, 0.0]), table[:3] / [1.0, 10.0], [3])


def test_weights_that_are_too_small_are_refused():
    edges = [(0, 0), (0, 1), (1, 1)]
    for weight, is_taken in ((1e-6, True), (1e-8, False), (0.0, False), (1e8, False)):
        with np.errstate(divide="ignore"):
            graph = graph_from_edges(2, edges, np.log([0.5, weight, 1.0]))
        assert (scaled_edges(graph) is not None) is is_taken


def test_frames_that_no_state_can_emit_are_not_in_range():
    table = np.zeros((4, 2))
    table[2] = -np.inf
    assert not both(left_to_right_graph(2), table, [4])


@pytest.mark.parametrize("spread", [1.0, 300.0])
def test_scores_are_those_of_posteriors(spread):
    rng = np.random.default_rng(0)
    lengths = rng.integers(8, 40, 6)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    table = spread * rng.standard_normal((lengths.sum(), 4))
    graph = left_to_right_graph(4)
    scores = chain_log_likelihood(graph, table, offsets)
    expected = forward_backward(graph, table, offsets).log_likelihoods
    assert scores == pytest.approx(expected, rel=1e-13)
