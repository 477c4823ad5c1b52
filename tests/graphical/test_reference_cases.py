"""Published values of chains: enumeration of all paths, and other packages."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mmfusion.graphical import (
    ergodic_graph,
    forward_backward,
    graph_from_edges,
    left_to_right_graph,
    viterbi,
)
from mmfusion.graphical._graph import destinations
from mmfusion.graphical._graph_builders import coupled_graph

CASES = Path(__file__).parents[3] / "shared" / "data" / "graphical_reference_cases.json"


def cases(*kinds):
    """Return the cases of some kinds; none where the file is not there."""
    if not CASES.exists():
        return []
    every = json.loads(CASES.read_text())["cases"]
    return [case for case in every if case["kind"] in kinds]


def close(ours, expected):
    """Assert what the cases ask for: 1e-9 of the value, or of 1."""
    expected = np.asarray(expected, dtype=float)
    assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


def counts_as_matrix(graph, edge_counts):
    matrix = np.zeros((len(graph.emits), len(graph.emits)))
    np.add.at(matrix, (graph.src, destinations(graph)), edge_counts)
    return matrix


def log_gaussians(X, means, variances):
    X, means, variances = map(np.asarray, (X, means, variances))
    terms = (X[:, None] - means) ** 2 / variances + np.log(2 * np.pi * variances)
    return -0.5 * terms.sum(axis=2)


@pytest.mark.parametrize("case", cases("gaussian_hmm"))
def test_gaussian_hmm(case):
    graph = ergodic_graph(case["transitions"], case["start"])
    table = log_gaussians(case["X"], case["means"], case["variances"])
    offsets = [0, len(table)]
    result = forward_backward(graph, table, offsets)
    close(result.log_likelihoods, [case["loglik"]])
    close(result.posteriors, case["posterior"])
    close(counts_as_matrix(graph, result.edge_counts), case["expected_transitions"])
    close(viterbi(graph, table, offsets)[1], [case["viterbi_logprob"]])


@pytest.mark.parametrize("case", cases("multistream_hmm"))
def test_multistream_hmm(case):
    graph = ergodic_graph(case["transitions"], case["start"])
    own = {
        name: log_gaussians(X, case["means"][name], case["variances"][name])
        for name, X in case["modalities"].items()
    }
    own["b"][~np.array(case["observed_b"])] = 0
    table = sum(case["weights"][name] * density for name, density in own.items())
    result = forward_backward(graph, table, [0, len(table)])
    close(result.log_likelihoods, [case["score"]])
    close(result.posteriors, case["posterior"])
    close(viterbi(graph, table, [0, len(table)])[1], [case["viterbi_score"]])


@pytest.mark.parametrize("case", cases("left_to_right"))
def test_left_to_right(case):
    longest = case["max_duration"] if case["max_duration"] < 99 else None
    graph = left_to_right_graph(
        3,
        max_skip=case["skip"],
        min_duration=case["min_duration"],
        max_duration=longest,
    )
    graph = graph._replace(log_weights=np.zeros_like(graph.log_weights))
    table = case["emission_scores"]
    result = forward_backward(graph, table, [0, len(table)])
    close(result.log_likelihoods, [case["logsum"]])
    close(result.posteriors, case["posterior"])
    states, scores = viterbi(graph, table, [0, len(table)])
    close(scores, [case["viterbi_score"]])
    assert graph.emits[states].tolist() == case["viterbi_path"]


@pytest.mark.parametrize("case", cases("coupled_hmm"))
def test_coupled_hmm(case):
    tables = [np.array(case["P_a"]), np.array(case["P_b"])]
    start = [np.array(case["start"][name]) for name in "ab"]
    graph, states = coupled_graph(tables, start)
    a, b = (np.array(case["emission_scores"][name]) for name in "ab")
    table = a[:, states[:, 0]] + b[:, states[:, 1]]
    result = forward_backward(graph, table, [0, len(table)])
    close(result.log_likelihoods, [case["loglik"]])
    close(viterbi(graph, table, [0, len(table)])[1], [case["viterbi_score"]])
    for chain, name in enumerate("ab"):
        indicator = np.eye(len(start[chain]))[states[:, chain]]
        close(result.posteriors @ indicator, case[f"posterior_{name}"])


@pytest.mark.parametrize("case", cases("factorial_hmm"))
def test_factorial_hmm_as_a_coupled_one(case):
    transitions = [np.array(A) for A in case["transitions"]]
    tables = [
        np.broadcast_to(transitions[0][:, None], (2, 2, 2)),
        np.broadcast_to(transitions[1], (2, 2, 2)),
    ]
    graph, states = coupled_graph(tables, [np.array(own) for own in case["start"]])
    X, W, C = (np.array(case[name]) for name in ("X", "W", "covariance"))
    rest = X[:, None] - (W[0][states[:, 0]] + W[1][states[:, 1]])
    table = -0.5 * np.einsum("tsi,ij,tsj->ts", rest, np.linalg.inv(C), rest)
    table -= 0.5 * np.linalg.slogdet(2 * np.pi * C)[1]
    result = forward_backward(graph, table, [0, len(X)])
    close(result.log_likelihoods, [case["loglik"]])
    close(viterbi(graph, table, [0, len(X)])[1], [case["viterbi_score"]])
    for chain in range(2):
        posteriors = result.posteriors @ np.eye(2)[states[:, chain]]
        close(posteriors, case["posterior"][chain])


@pytest.mark.parametrize("case", cases("linear_chain_crf"))
def test_linear_chain_crf(case):
    n = len(case["start"])
    edges = [(i, j) for i in range(n) for j in range(n)]
    graph = graph_from_edges(
        n,
        edges,
        np.ravel(case["transitions"]),
        log_start=case["start"],
        log_end=case["end"],
    )
    table = case["emission_scores"]
    result = forward_backward(graph, table, [0, len(table)])
    close(result.log_likelihoods, [case["log_partition"]])
    close(result.posteriors, case["marginals"])
    close(counts_as_matrix(graph, result.edge_counts), case["expected_transitions"])
    states, scores = viterbi(graph, table, [0, len(table)])
    close(scores, [case["viterbi_score"]])
    assert states.tolist() == case["viterbi_path"]


@pytest.mark.parametrize("case", cases("hidden_crf"))
def test_hidden_crf(case):
    A = np.array(case["transitions"])
    scores = []
    for states in case["states_of_class"]:
        n = len(states)
        edges = [(i, j) for i in range(n) for j in range(n)]
        weights = A[np.ix_(states, states)].ravel()
        graph = graph_from_edges(n, edges, weights, emits=states)
        table = case["emission_scores"]
        scores.append(forward_backward(graph, table, [0, len(table)])[0][0])
    close(scores, case["class_scores"])


@pytest.mark.parametrize("case", cases("ctc"))
def test_ctc_as_a_graph_of_its_own(case):
    targets, blank = case["targets"], case["blank"]
    emits = [blank]
    for target in targets:
        emits += [target, blank]
    n = len(emits)
    edges = [(s, s) for s in range(n)] + [(s, s + 1) for s in range(n - 1)]
    # a blank is left out between tokens that differ
    edges += [(s, s + 2) for s in range(1, n - 2, 2) if emits[s] != emits[s + 2]]
    ends = np.full((2, n), -np.inf)
    ends[0, :2] = ends[1, -2:] = 0
    graph = graph_from_edges(
        n, edges, np.zeros(len(edges)), emits=emits, log_start=ends[0], log_end=ends[1]
    )
    table = case["log_probs"]
    close(forward_backward(graph, table, [0, len(table)])[0], [case["loglik"]])
    states, scores = viterbi(graph, table, [0, len(table)])
    close(scores, [case["best_score"]])
    assert np.array(emits)[states].tolist() == case["best_path"]


@pytest.mark.parametrize("case", cases("underflow"))
def test_underflow(case):
    graph = ergodic_graph(case["transitions"], case["start"])
    table = case["emission_scores"]
    close(forward_backward(graph, table, [0, len(table)])[0], [case["loglik"]])
