"""Independent chains by mode products: the same as the graph of all combinations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mmfusion import HMMTransformer
from mmfusion.graphical import _inference, _transition_models
from mmfusion.graphical._factorial import (
    factorial_graph,
    joint_graph,
    reordered_chains,
)
from mmfusion.graphical._graph import destinations, transition_matrix
from mmfusion.graphical._inference import (
    chain_log_likelihood,
    expected_counts,
    forward_backward,
    viterbi,
)

SHAPES = [(1,), (3,), (2, 3), (3, 1, 2), (2, 3, 2)]


def random_chains(shape, seed=0):
    rng = np.random.default_rng(seed)
    return factorial_graph(
        [rng.dirichlet(np.ones(k), size=k) for k in shape],
        [rng.dirichlet(np.ones(k)) for k in shape],
    )


def counts_by_chain(graph, edge_counts, shape):
    """Expected transitions of each chain, from those of all combinations."""
    n_states, n_chains = len(graph.emits), len(shape)
    joint = np.zeros((n_states, n_states))
    np.add.at(joint, (graph.src, destinations(graph)), edge_counts)
    joint = joint.reshape(shape + shape)
    found = []
    for m in range(n_chains):
        others = [c for c in range(n_chains) if c != m]
        summed = joint.sum(axis=tuple(others + [n_chains + c for c in others]))
        found.append(summed.ravel())
    return np.concatenate(found)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.sampled_from(SHAPES),
    spread=st.sampled_from([1.0, 30.0, 900.0]),
)
def test_chains_agree_with_the_graph_of_all_combinations(seed, shape, spread):
    rng = np.random.default_rng(seed)
    chains = random_chains(shape, seed)
    listed = joint_graph(chains)
    offsets = [0, 1, 1, 7, 20]
    table = rng.normal(0, spread, (20, int(np.prod(shape))))
    weight = rng.random(4)
    found, expected = (
        forward_backward(graph, table, offsets, sample_weight=weight)
        for graph in (chains, listed)
    )
    assert_allclose(found.log_likelihoods, expected.log_likelihoods, rtol=1e-10)
    assert_allclose(found.posteriors, expected.posteriors, atol=1e-10)
    assert_allclose(found.start_counts, expected.start_counts, atol=1e-10)
    by_chain = counts_by_chain(listed, expected.edge_counts, shape)
    assert_allclose(found.edge_counts, by_chain, atol=1e-9)
    scores = chain_log_likelihood(chains, table, offsets)
    assert_allclose(scores, found.log_likelihoods, rtol=1e-12)
    (states, best), (_, best_listed) = (
        viterbi(graph, table, offsets) for graph in (chains, listed)
    )
    assert_allclose(best, best_listed, rtol=1e-10)
    # the path has the score that is returned
    matrix, log_start = np.log(transition_matrix(listed)), listed.log_start
    path = states[7:20]
    total = log_start[path[0]] + table[7:20][np.arange(13), path].sum()
    assert best[3] == pytest.approx(total + matrix[path[:-1], path[1:]].sum())


def test_long_sequences_are_cut_into_chunks(monkeypatch):
    monkeypatch.setattr(_inference, "CHUNK_FRAMES", 16)
    chains = random_chains((2, 3))
    table = np.random.default_rng(0).normal(0, 2, (400, 6))
    offsets = [0, 10, 390, 400]
    found = forward_backward(chains, table, offsets)
    expected = forward_backward(joint_graph(chains), table, offsets)
    assert_allclose(found.log_likelihoods, expected.log_likelihoods, rtol=1e-10)
    assert_allclose(found.posteriors, expected.posteriors, atol=1e-10)
    chunks = np.empty_like(table)

    def visit(start, stop, posteriors):
        chunks[start:stop] = posteriors

    weight = np.array([2.0, 0.5, 0.0])
    counts = expected_counts(chains, table, offsets, visit, sample_weight=weight)
    by_frame = np.repeat(weight, np.diff(offsets))[:, None]
    assert_allclose(chunks, by_frame * found.posteriors, atol=1e-12)
    assert counts.edge_counts[:4].sum() == pytest.approx(2 * 9 + 0.5 * 379)


def test_threads_change_nothing():
    chains = random_chains((3, 3))
    table = np.random.default_rng(1).normal(size=(9000, 9))
    offsets = np.arange(0, 9001, 1500)
    one, two = (forward_backward(chains, table, offsets, n_jobs=n) for n in (1, 2))
    for a, b in zip(one, two, strict=True):
        assert_array_equal(a, b)


def test_impossible_frames_spoil_their_sequence_alone():
    chains = random_chains((2, 2))
    table = np.random.default_rng(2).normal(size=(12, 4))
    table[5] = -np.inf
    found = forward_backward(chains, table, [0, 4, 8, 12])
    assert np.isneginf(found.log_likelihoods).tolist() == [False, True, False]
    assert not found.posteriors[4:8].any()
    assert_allclose(found.posteriors[[0, 1, 2, 3, 8, 9, 10, 11]].sum(axis=1), 1)
    states, scores = viterbi(chains, table, [0, 4, 8, 12])
    assert (states[4:8] == -1).all()
    assert np.isneginf(scores[1])


def test_chains_in_another_order_have_the_same_transitions():
    chains = random_chains((2, 3, 2))
    orders = [np.array([1, 0]), np.array([2, 0, 1]), np.array([0, 1])]
    order = np.ravel_multi_index(np.ix_(*orders), (2, 3, 2)).ravel()
    turned = transition_matrix(joint_graph(reordered_chains(chains, order)))
    matrix = transition_matrix(joint_graph(chains))
    assert_allclose(turned, matrix[np.ix_(order, order)], rtol=1e-12)


def test_transitions_that_are_nearly_impossible_are_refused():
    with pytest.raises(ValueError, match=r"transitions\[1\] has an element of 0"):
        factorial_graph([np.full((2, 2), 0.5), np.eye(2)], [np.ones(2) / 2] * 2)


def test_a_model_is_the_same_with_and_without_a_list_of_edges(monkeypatch):
    rng = np.random.default_rng(0)
    X = {name: [rng.normal(size=(30, 2)) for _ in range(4)] for name in ("a", "b")}
    model = HMMTransformer(2, "factorial", n_init=1, random_state=0)
    fitted = []
    for limit in (64, 1):
        monkeypatch.setattr(_transition_models, "LARGEST_LISTED_STATES", limit)
        fitted.append(model.fit(X).state_posteriors(X))
        fitted.append((model.transitions_, model.bic(X), model.predict(X)[0]))
        drawn, _ = model.sample(2, 20, random_state=0)
        fitted.append(drawn["a"][0])
    for name, own in fitted[0].items():
        for one, other in zip(own, fitted[3][name], strict=True):
            assert_allclose(one, other, atol=1e-6)
    for one, other in zip(fitted[1], fitted[4], strict=True):
        assert_allclose(one, other, rtol=1e-5)
    assert_allclose(fitted[2], fitted[5], rtol=1e-4)
