"""Sums over paths, posteriors, counts and best paths, beside enumeration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mmfusion.graphical import _inference as inference
from mmfusion.graphical import (
    ergodic_graph,
    forward_backward,
    graph_from_edges,
    left_to_right_graph,
    viterbi,
)
from mmfusion.graphical._graph import destinations, transition_matrix
from mmfusion.graphical._inference import chain_log_likelihood, expected_counts

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


def random_chain(seed, n_states, lengths, *, kind="ergodic"):
    """Return a graph, a table of emissions and offsets of several sequences."""
    rng = np.random.default_rng(seed)
    if kind == "ergodic":
        transitions = rng.dirichlet(np.ones(n_states), n_states)
        graph = ergodic_graph(transitions, rng.dirichlet(np.ones(n_states)))
    else:
        graph = left_to_right_graph(n_states, max_skip=1)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return graph, rng.normal(0, 2, (offsets[-1], n_states)), offsets


KINDS = pytest.mark.parametrize("kind", ["ergodic", "left-to-right"])


@KINDS
def test_sums_of_posteriors_and_counts(kind):
    graph, table, offsets = random_chain(0, 4, [30, 7, 12], kind=kind)
    result = forward_backward(graph, table, offsets, sample_weight=[1, 2, 0.5])
    assert_allclose(result.posteriors.sum(axis=1), 1)
    assert_allclose(result.edge_counts.sum(), 29 + 2 * 6 + 0.5 * 11)
    assert_allclose(result.start_counts.sum(), 3.5)
    # what comes into a state is what is there, but for first frames
    weights = np.repeat([1, 2, 0.5], np.diff(offsets))
    into = np.zeros(4)
    np.add.at(into, destinations(graph), result.edge_counts)
    assert_allclose(into + result.start_counts, weights @ result.posteriors)


@KINDS
def test_sequences_are_independent_and_add_up(kind):
    graph, table, offsets = random_chain(1, 5, [9, 0, 40, 6, 15], kind=kind)
    together = forward_backward(graph, table, offsets)
    states, scores = viterbi(graph, table, offsets)
    counts = 0.0
    for q in range(5):
        rows = slice(offsets[q], offsets[q + 1])
        alone = forward_backward(graph, table[rows], [0, len(table[rows])])
        assert_allclose(together.log_likelihoods[q], alone.log_likelihoods[0])
        assert_allclose(together.posteriors[rows], alone.posteriors, atol=1e-12)
        best, score = viterbi(graph, table[rows], [0, len(table[rows])])
        assert np.array_equal(states[rows], best)
        assert scores[q] == score[0]
        counts += alone.edge_counts
    assert_allclose(together.edge_counts, counts, atol=1e-12)
    assert together.log_likelihoods[1] == scores[1] == 0  # the one without a frame
    likelihoods = chain_log_likelihood(graph, table, offsets)
    assert_allclose(likelihoods, together.log_likelihoods, rtol=1e-13)


@KINDS
@pytest.mark.parametrize("rows", [3, 8, 64])
def test_chunks_and_threads_do_not_change_results(kind, rows, monkeypatch):
    graph, table, offsets = random_chain(2, 6, [50, 1, 64, 20, 7, 23], kind=kind)
    whole = forward_backward(graph, table, offsets)
    paths = viterbi(graph, table, offsets)
    monkeypatch.setattr(inference, "CHUNK_FRAMES", rows)
    seen = np.full(len(table), -1)
    total = np.zeros(6)

    def visit(start, stop, posteriors):
        assert len(posteriors) == stop - start <= max(rows, 9)
        seen[start:stop] += 1
        assert_allclose(posteriors, whole.posteriors[start:stop], atol=1e-12)
        total[:] += posteriors.sum(axis=0)

    one = expected_counts(graph, table, offsets, visit)
    assert not seen.any()  # each frame once
    first_total = total.copy()
    total[:] = 0
    several = expected_counts(graph, table, offsets, visit, n_jobs=3)
    assert np.array_equal(total, first_total)
    for ours, others in zip(one, several, strict=True):
        assert ours is others is None or np.array_equal(ours, others)
    assert_allclose(one.edge_counts, whole.edge_counts, atol=1e-11)
    assert_allclose(one.log_likelihoods, whole.log_likelihoods, rtol=1e-13, atol=1e-12)
    again = viterbi(graph, table, offsets, n_jobs=2)
    assert np.array_equal(again[0], paths[0])
    assert np.array_equal(again[1], paths[1])


def test_an_error_of_a_visitor_is_raised_from_threads(monkeypatch):
    monkeypatch.setattr(inference, "CHUNK_FRAMES", 5)
    graph, table, offsets = random_chain(3, 3, [5] * 30)

    def visit(start, stop, posteriors):
        if start > 40:
            raise KeyError("visitor")

    with pytest.raises((KeyError, RuntimeError)):
        expected_counts(graph, table, offsets, visit, n_jobs=3)


def test_posteriors_of_visitors_have_the_weights_of_their_sequences():
    graph, table, offsets = random_chain(4, 3, [6, 9])
    plain = forward_backward(graph, table, offsets).posteriors
    weights = np.repeat([3.0, 0.0], [6, 9])
    parts = np.empty_like(plain)

    def visit(start, stop, posteriors):
        parts[start:stop] = posteriors

    expected_counts(graph, table, offsets, visit, sample_weight=[3.0, 0.0])
    assert_allclose(parts, weights[:, None] * plain, atol=1e-14)


def test_columns_are_sums_over_their_states():
    graph = left_to_right_graph(4, min_duration=[1, 3, 2, 1])
    table = np.random.default_rng(0).normal(size=(20, 5))  # the last one is not read
    by_state = forward_backward(graph, table, [0, 20], by_state=True).posteriors
    columns = forward_backward(graph, table, [0, 20]).posteriors
    assert columns.shape == (20, 5)
    indicator = np.eye(5)[graph.emits]
    assert_allclose(columns, by_state @ indicator, atol=1e-15)
    dense_graph, dense_table, _ = random_chain(5, 3, [8])
    wide = np.column_stack([dense_table, np.full(8, 1e6)])
    result = forward_backward(dense_graph, wide, [0, 8]).posteriors
    expected = forward_backward(dense_graph, dense_table, [0, 8]).posteriors
    assert_allclose(result, np.column_stack([expected, np.zeros(8)]), atol=1e-14)


def test_time_reversal_of_a_reversible_chain():
    rng = np.random.default_rng(6)
    weights = rng.random((4, 4))
    weights += weights.T
    stationary = weights.sum(axis=1) / weights.sum()
    graph = ergodic_graph(weights / weights.sum(axis=1, keepdims=True), stationary)
    table = rng.normal(size=(25, 4))
    forth = forward_backward(graph, table, [0, 25])
    back = forward_backward(graph, table[::-1], [0, 25])
    assert_allclose(forth.log_likelihoods, back.log_likelihoods)
    assert_allclose(forth.posteriors, back.posteriors[::-1], atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n_states=st.integers(1, 20))
def test_order_of_states_does_not_matter(seed, n_states):
    graph, table, offsets = random_chain(seed, n_states, [17])
    order = np.random.default_rng(seed).permutation(n_states)
    A = transition_matrix(graph)
    moved = ergodic_graph(A[np.ix_(order, order)], np.exp(graph.log_start)[order])
    ours = forward_backward(graph, table, offsets)
    others = forward_backward(moved, table[:, order], offsets)
    assert_allclose(ours.log_likelihoods, others.log_likelihoods)
    assert_allclose(ours.posteriors[:, order], others.posteriors, atol=1e-12)
    path, score = viterbi(graph, table, offsets)
    other_path, other_score = viterbi(moved, table[:, order], offsets)
    assert_allclose(score, other_score)
    assert np.array_equal(path, order[other_path])


def test_of_equal_paths_the_one_with_the_lowest_states_is_taken():
    dense = ergodic_graph(np.full((5, 5), 0.2), np.full(5, 0.2))
    sparse = graph_from_edges(5, [(i, i) for i in range(5)], np.zeros(5))
    for graph in (dense, sparse):
        states, _ = viterbi(graph, np.zeros((6, 5)), [0, 6])
        assert not states.any()


def test_a_read_only_memory_map_of_float32_is_read(tmp_path):
    graph, table, offsets = random_chain(7, 3, [12, 5])
    np.save(tmp_path / "table.npy", table.astype(np.float32))
    mapped = np.load(tmp_path / "table.npy", mmap_mode="r")
    ours = forward_backward(graph, mapped, offsets)
    expected = forward_backward(graph, table.astype(np.float32).astype(float), offsets)
    assert np.array_equal(ours.posteriors, expected.posteriors)
    table.flags.writeable = False
    viterbi(graph, table, offsets)


def test_large_tables_of_log_densities_keep_their_digits():
    # log densities of some 1e5, as of 500 features, and 50,000 frames
    rng = np.random.default_rng(8)
    graph, table, _ = random_chain(8, 3, [50_000])
    result = forward_backward(graph, table - 1e5, [0, 50_000])
    plain = forward_backward(graph, table, [0, 50_000])
    assert_allclose(result.log_likelihoods, plain.log_likelihoods - 5e9, rtol=1e-12)
    # the table itself has lost digits: they are those of 1e5
    assert_allclose(result.posteriors, plain.posteriors, atol=1e-9)
    chain = left_to_right_graph(40)
    table = rng.normal(size=(20_000, 40))
    apart = forward_backward(chain, table - 1e5, [0, 20_000])
    assert_allclose(apart.posteriors.sum(axis=1), 1, atol=1e-12)


def test_hmmlearn_agrees():
    hmm = pytest.importorskip("hmmlearn.hmm")
    graph, table, offsets = random_chain(9, 5, [200, 33])
    model = hmm.CategoricalHMM(5, init_params="")
    model._compute_log_likelihood = lambda X: table[X[:, 0]]
    model._check = lambda: None
    model.startprob_ = np.exp(graph.log_start)
    model.transmat_ = transition_matrix(graph)
    frames, lengths = np.arange(233)[:, None], np.diff(offsets)
    total, posteriors = model.score_samples(frames, lengths)
    ours = forward_backward(graph, table, offsets)
    assert_allclose(ours.log_likelihoods.sum(), total, rtol=1e-8)
    assert_allclose(ours.posteriors, posteriors, atol=1e-8)
    score, states = model.decode(frames, lengths)
    path, scores = viterbi(graph, table, offsets)
    assert_allclose(scores.sum(), score, rtol=1e-8)
    assert np.array_equal(path, states)
