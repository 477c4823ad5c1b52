"""Graphs of states: builders, weights, ties, and errors."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mmfusion.graphical import (
    ergodic_graph,
    forward_backward,
    graph_from_edges,
    left_to_right_graph,
    transition_matrix,
    viterbi,
    with_transitions,
)
from mmfusion.graphical._graph import destinations
from mmfusion.graphical._graph_builders import (
    coupled_graph,
    hierarchical_graph,
    product_graph,
)


def dense(graph):
    matrix = transition_matrix(graph)
    return matrix if isinstance(matrix, np.ndarray) else matrix.toarray()


def test_edges_are_sorted_by_destination_and_source():
    graph = graph_from_edges(3, [(2, 0), (1, 2), (0, 0), (0, 2)], [1.0, 2.0, 3.0, 4.0])
    assert graph.ptr.tolist() == [0, 2, 2, 4]
    assert graph.src.tolist() == [0, 2, 0, 1]
    assert graph.log_weights.tolist() == [3, 1, 4, 2]
    assert destinations(graph).tolist() == [0, 0, 2, 2]
    assert graph.tie.tolist() == [-1] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(edges=[(0, 2)], log_weights=[0.0]), "edges holds 2, and states are 0"),
        (dict(edges=[(0, 1)], log_weights=[0.0, 1.0]), "log_weights has shape (2,)"),
        (dict(edges=[(0, 1)], log_weights=[np.nan]), "log_weights holds nan at 0"),
        (dict(edges=[(0, 1)], log_weights=[np.inf]), "log_weights holds inf at 0"),
        (dict(edges=[(0, 1)], log_weights=[0.0], tie=[1]), "0 is without edges"),
        (dict(edges=[(0, 1)], log_weights=[0.0], tie=[-2]), "-2 is neither"),
        (dict(edges=[(0, 1)], log_weights=[0.0], tie=[0, 0]), "there are 1 edges"),
        (dict(edges=[(0, 1)], log_weights=[0.0], emits=[0]), "emits has shape (1,)"),
        (dict(edges=[(0, 1)], log_weights=[0.0], emits=[0, -1]), "emits holds -1"),
        (
            dict(edges=[(0, 1)], log_weights=[0.0], tie=[0], group=[0, 1]),
            "group has shape (2,), and tie names 1 parameters",
        ),
        (
            dict(edges=[(0, 1)], log_weights=[0.0], log_end=[-np.inf, -np.inf]),
            "log_end is -inf for all states",
        ),
    ],
)
def test_graphs_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        graph_from_edges(2, **arguments)


@pytest.mark.parametrize(
    ("table", "offsets", "message"),
    [
        (np.zeros((3, 1)), [0, 3], "the states read 2 columns"),
        (np.zeros(3), [0, 3], "the states read 2 columns"),
        (np.zeros((3, 2)), [0, 2], "to end with 3"),
        (np.zeros((3, 2)), [1, 3], "to begin with 0"),
        (np.zeros((3, 2)), [3], "to begin with 0"),
        (np.zeros((3, 2)), [0, 2, 1, 3], "offsets decrease"),
    ],
)
def test_tables_that_do_not_fit_are_refused(table, offsets, message):
    graph = ergodic_graph(np.full((2, 2), 0.5), [0.5, 0.5])
    for function in (forward_backward, viterbi):
        with pytest.raises(ValueError, match=message):
            function(graph, table, offsets)


def test_own_ties_share_a_weight():
    # both states are kept with one probability
    graph = graph_from_edges(
        2,
        [(0, 0), (0, 1), (1, 1), (1, 0)],
        np.log([0.5, 0.5, 0.5, 0.5]),
        tie=[0, 1, 0, 1],
        group=[0, 0],
    )
    changed = with_transitions(graph, [0.8, 0.2])
    assert_allclose(dense(changed), [[0.8, 0.2], [0.2, 0.8]])
    with pytest.raises(ValueError, match=r"parameters has shape \(1,\), not \(2,\)"):
        with_transitions(graph, [1.0])


def test_fixed_weights_stay():
    graph = left_to_right_graph(2, min_duration=2, stay=0.7)
    changed = with_transitions(graph, [0.4, 0.6])
    expected = [[0, 1, 0, 0], [0, 0.4, 0.6, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    assert_allclose(dense(changed), expected)
    assert_allclose(dense(graph)[1], [0, 0.7, 0.3, 0])


def test_an_ergodic_graph_has_no_edge_of_probability_zero():
    transitions = np.array([[0.5, 0.5, 0], [0, 0.2, 0.8], [1, 0, 0]])
    graph = ergodic_graph(transitions, [1, 0, 0])
    assert len(graph.src) == 5
    assert_allclose(dense(graph), transitions)
    assert graph.group.tolist() == [0, 0, 1, 1, 2]
    with pytest.raises(ValueError, match="square"):
        ergodic_graph(np.ones((2, 3)), [1, 0])


@pytest.mark.parametrize("skip", [0, 1, 2])
@pytest.mark.parametrize("durations", [(1, None), (2, None), (2, 4), ([1, 2, 1], 3)])
def test_left_to_right_weights_are_distributions(skip, durations):
    shortest, longest = durations
    graph = left_to_right_graph(
        3, max_skip=skip, min_duration=shortest, max_duration=longest
    )
    sums = dense(graph).sum(axis=1)
    last = graph.emits == 2
    assert_allclose(sums[~last], 1)
    assert (abs(sums[last] - 1) * sums[last] < 1e-12).all()  # kept for certain, or end
    for group in np.unique(graph.group):
        assert (graph.group == group).sum() > 1


def durations_of_paths(graph, n_frames):
    """Return the lengths of visits in random paths through a graph."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(40):
        table = rng.normal(0, 3, (n_frames, graph.emits.max() + 1))
        states, scores = viterbi(graph, table, [0, n_frames])
        assert np.isfinite(scores).all()
        visited = graph.emits[states]
        changes = np.flatnonzero(np.diff(visited)) + 1
        found.append((visited[np.r_[0, changes]], np.diff(np.r_[0, changes, n_frames])))
    return found


def test_durations_and_skips_are_within_their_limits():
    graph = left_to_right_graph(
        5, max_skip=1, min_duration=[2, 1, 3, 1, 2], max_duration=[4, 2, 3, 5, 6]
    )
    for visited, lengths in durations_of_paths(graph, 11):
        assert visited[0] == 0
        assert visited[-1] == 4
        assert set(np.diff(visited)) <= {1, 2}
        assert (lengths >= np.array([2, 1, 3, 1, 2])[visited]).all()
        assert (lengths <= np.array([4, 2, 3, 5, 6])[visited]).all()


@pytest.mark.parametrize(("n_frames", "possible"), [(5, False), (6, True), (9, True)])
def test_sequences_shorter_than_all_durations_have_no_path(n_frames, possible):
    graph = left_to_right_graph(3, min_duration=2)
    table = np.zeros((n_frames, 3))
    result = forward_backward(graph, table, [0, n_frames])
    assert np.isfinite(result.log_likelihoods[0]) == possible


def test_durations_are_checked():
    with pytest.raises(ValueError, match="max_duration of state 0 is 1, below"):
        left_to_right_graph(3, min_duration=2, max_duration=1)
    for wrong in (0, 1.5):
        with pytest.raises(ValueError, match="min_duration"):
            left_to_right_graph(3, min_duration=wrong)


def test_a_product_without_lag_is_one_chain():
    graph, pairs = product_graph(4, max_lag=0)
    assert (pairs[:, 0] == pairs[:, 1]).all()
    assert_allclose(dense(graph), dense(left_to_right_graph(4)))


def test_a_product_of_any_lag_is_two_chains():
    # factorised transitions: both are kept or go on by themselves
    n = 3
    graph, pairs = product_graph(n, max_lag=n - 1)
    ends = destinations(graph)
    keep = [np.array([0.7, 0.4, 1.0]), np.array([0.2, 0.5, 1.0])]
    moved = pairs[ends] - pairs[graph.src]
    own = [
        np.where(moved[:, m] == 0, keep[m][pairs[graph.src, m]],
                 1 - keep[m][pairs[graph.src, m]])
        for m in range(2)
    ]  # fmt: skip
    graph = graph._replace(log_weights=np.log(own[0]) + np.log(own[1]))
    a, b = np.random.default_rng(0).normal(size=(2, 7, n))
    joint = forward_backward(graph, a[:, pairs[:, 0]] + b[:, pairs[:, 1]], [0, 7])
    apart = 0.0
    for table, stay in ((a, keep[0]), (b, keep[1])):
        chain = left_to_right_graph(n, stay=stay)
        apart += forward_backward(chain, table, [0, 7]).log_likelihoods[0]
    assert_allclose(joint.log_likelihoods, apart)


def test_independent_coupled_chains_are_two_chains():
    rng = np.random.default_rng(1)
    own = [rng.dirichlet(np.ones(k), k) for k in (2, 3)]
    start = [rng.dirichlet(np.ones(k)) for k in (2, 3)]
    tables = [
        np.broadcast_to(own[0][:, None], (2, 3, 2)),
        np.broadcast_to(own[1], (2, 3, 3)),
    ]
    graph, states = coupled_graph(tables, start)
    a, b = rng.normal(size=(9, 2)), rng.normal(size=(9, 3))
    table = a[:, states[:, 0]] + b[:, states[:, 1]]
    joint = forward_backward(graph, table, [0, 9])
    apart = [
        forward_backward(ergodic_graph(*model), emissions, [0, 9])
        for *model, emissions in zip(own, start, (a, b), strict=True)
    ]
    assert_allclose(
        joint.log_likelihoods, apart[0].log_likelihoods + apart[1].log_likelihoods
    )
    first = joint.posteriors @ np.eye(2)[states[:, 0]]
    assert_allclose(first, apart[0].posteriors, atol=1e-12)
    joint_start = np.outer(*start)
    again, _ = coupled_graph(tables, joint_start)
    assert_allclose(again.log_start, graph.log_start)
    with pytest.raises(ValueError, match=re.escape("transitions[0] has shape (2, 2)")):
        coupled_graph([own[0], own[1]], start)


def test_a_hierarchy_of_one_unit_is_its_chain():
    inside = np.array([[0.5, 0.5], [0.3, 0.7]])
    unit = inside, np.zeros(2), np.array([0.4, 0.6])
    graph, unit_of_state = hierarchical_graph([unit], [[1.0]])
    assert unit_of_state.tolist() == [0, 0]
    assert_allclose(dense(graph), inside)
    assert_allclose(np.exp(graph.log_start), [0.4, 0.6])


def test_a_unit_that_follows_itself_has_two_edges_between_its_states():
    unit = np.array([[0.2, 0.5], [0, 0.6]]), np.array([0.3, 0.4]), np.array([0.9, 0.1])
    other = np.array([[0.5]]), np.array([0.5]), np.array([1.0])
    between = [[0.25, 0.75], [1, 0]]
    graph, units = hierarchical_graph([unit, other], between, start=[0, 1])
    # as printed: 1[g = h] A_g[k, l] + exit_gk B_gh entry_hl
    expected = np.array(
        [
            [0.2 + 0.3 * 0.25 * 0.9, 0.5 + 0.3 * 0.25 * 0.1, 0.3 * 0.75],
            [0.4 * 0.25 * 0.9, 0.6 + 0.4 * 0.25 * 0.1, 0.4 * 0.75],
            [0.5 * 0.9, 0.5 * 0.1, 0.5],
        ]
    )
    assert_allclose(dense(graph), expected)
    assert units.tolist() == [0, 0, 1]
    assert len(graph.src) == 4 + 8  # inside, and by way of the exit
    table = np.random.default_rng(0).normal(size=(8, 3))
    joined = graph_from_edges(
        3,
        np.argwhere(expected > 0),
        np.log(expected[expected > 0]),
        log_start=graph.log_start,
    )
    one, other = (forward_backward(g, table, [0, 8]) for g in (graph, joined))
    assert_allclose(one.log_likelihoods, other.log_likelihoods)
    assert_allclose(one.posteriors, other.posteriors, atol=1e-12)


def test_transitions_of_many_states_are_sparse():
    graph = left_to_right_graph(1100)
    assert transition_matrix(graph).nnz == 2 * 1100 - 1
