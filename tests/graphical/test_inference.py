"""Sums over paths, posteriors, counts and best paths, beside enumeration."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mmfusion.graphical import forward_backward, graph_from_edges, viterbi

from .slow_chain import enumerate_chain, path_score, random_graph


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_states=st.integers(1, 4),
    n_frames=st.integers(1, 5),
    density=st.sampled_from([0.3, 0.6, 1.0]),
    spread=st.sampled_from([1.0, 30.0, 900.0]),
)
def test_random_graphs_agree_with_all_paths(seed, n_states, n_frames, density, spread):
    rng = np.random.default_rng(seed)
    graph = graph_from_edges(
        **random_graph(rng, n_states, density=density, n_columns=3, spread=spread)
    )
    log_emissions = rng.normal(0, spread, (n_frames, 3))
    log_emissions[rng.random(log_emissions.shape) < 0.1] = -np.inf
    offsets = [0, n_frames]
    total, posteriors, edge_counts, start_counts, best = enumerate_chain(
        graph, log_emissions
    )
    result = forward_backward(graph, log_emissions, offsets, by_state=True)
    assert_allclose(result.log_likelihoods, total, rtol=1e-10)
    assert_allclose(result.posteriors, posteriors, atol=1e-10)
    assert_allclose(result.edge_counts, edge_counts, atol=1e-10)
    assert_allclose(result.start_counts, start_counts, atol=1e-10)
    states, scores = viterbi(graph, log_emissions, offsets)
    assert_allclose(scores, best, rtol=1e-10)
    if best > -np.inf:
        assert_allclose(path_score(graph, log_emissions, states), best, rtol=1e-10)
    else:
        assert (states == -1).all()
        assert not result.posteriors.any()
