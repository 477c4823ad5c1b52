"""Conditional random fields: reference values, enumeration, gradients, minimiser."""

from itertools import pairwise, product

import numpy as np
import pytest
from scipy import optimize, sparse
from scipy.special import logsumexp

from mmfusion.graphical import forward_backward, viterbi
from mmfusion.graphical._crf import (
    Boundaries,
    CRFObjective,
    CRFParameters,
    LabelledFrames,
    count_dependent_frames,
    label_graph,
    scored_graph,
)
from mmfusion.graphical._lbfgs import minimize

from .test_reference_cases import cases, close, counts_as_matrix


def all_allowed(n_labels):
    return Boundaries(
        np.ones(n_labels, dtype=bool),
        np.ones(n_labels, dtype=bool),
        np.ones((n_labels, n_labels), dtype=bool),
    )


def some_forbidden():
    rules = all_allowed(3)
    rules.next[0, 2] = rules.next[1, 0] = False
    rules.start[1] = rules.end[0] = False
    return rules


def labelled(seed=0, lengths=(5, 1, 7, 3), n_labels=3):
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    X = rng.normal(size=(offsets[-1], 4)) * (rng.random((offsets[-1], 4)) < 0.7)
    y = rng.integers(0, n_labels, offsets[-1])
    return LabelledFrames(X, y, offsets, np.array([1.0, 2.0, 0.5, 1.0]))


@pytest.mark.parametrize("case", cases("linear_chain_crf"))
def test_reference_case(case):
    table = np.array(case["emission_scores"])
    parameters = CRFParameters(
        np.empty((0, 3)),
        np.zeros(3),
        np.array(case["transitions"]),
        np.array(case["start"]),
        np.array(case["end"]),
    )
    graph = scored_graph(label_graph(all_allowed(3), np.ones(3, int)), parameters)
    result = forward_backward(graph, table, [0, len(table)])
    close(result.log_likelihoods, [case["log_partition"]])
    close(result.posteriors, case["marginals"])
    close(counts_as_matrix(graph, result.edge_counts), case["expected_transitions"])
    path, score = viterbi(graph, table, [0, len(table)])
    close(score, [case["viterbi_score"]])
    assert len(path) == len(case["viterbi_path"])
    data = LabelledFrames(table, np.array(case["y"]), np.array([0, 5]), np.ones(1))
    objective = CRFObjective(label_graph(all_allowed(3), np.ones(3, int)), data, 1.0)
    own = parameters._replace(coef=np.eye(3))
    theta = np.concatenate([part.ravel() for part in own])
    penalty = 0.5 * sum((part**2).sum() for part in own)
    close(objective(theta)[0] - penalty, -case["log_likelihood"])


def is_allowed(path, rules, runs):
    if not (rules.start[path[0]] and rules.end[path[-1]]):
        return False
    if not all(rules.next[i, j] for i, j in pairwise(path)):
        return False
    changes = [t for t in range(1, len(path)) if path[t] != path[t - 1]]
    starts = [0, *changes]
    return all(stop - start >= runs[path[start]] for start, stop in pairwise(starts))


@pytest.mark.parametrize("n_frames", [1, 4, 6])
@pytest.mark.parametrize("runs", [[1, 1, 1], [2, 1, 3]])
@pytest.mark.parametrize("rules", [all_allowed(3), some_forbidden()])
def test_sums_and_best_paths_are_those_of_enumeration(n_frames, runs, rules):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(n_frames, 3))
    parameters = CRFParameters(
        np.empty((0, 3)),
        np.zeros(3),
        rng.normal(size=(3, 3)),
        rng.normal(size=3),
        rng.normal(size=3),
    )
    scores = {
        path: table[np.arange(n_frames), list(path)].sum()
        + sum(parameters.transitions[p] for p in pairwise(path))
        + parameters.start[path[0]]
        + parameters.end[path[-1]]
        for path in product(range(3), repeat=n_frames)
        if is_allowed(path, rules, runs)
    }
    graph = scored_graph(label_graph(rules, np.array(runs)), parameters)
    result = forward_backward(graph, table, [0, n_frames])
    values = np.array(list(scores.values()))
    total = logsumexp(values)
    np.testing.assert_allclose(result.log_likelihoods, total)
    marginals = np.zeros((n_frames, 3))
    for path, score in scores.items():
        marginals[np.arange(n_frames), list(path)] += np.exp(score - total)
    np.testing.assert_allclose(result.posteriors, marginals, atol=1e-12)
    states, best = viterbi(graph, table, [0, n_frames])
    np.testing.assert_allclose(best, values.max())
    assert scores[tuple(graph.emits[states].tolist())] == pytest.approx(values.max())


@pytest.mark.parametrize("has_boundaries", [True, False])
@pytest.mark.parametrize("has_intercept", [True, False])
@pytest.mark.parametrize("is_sparse", [True, False])
def test_gradient_is_that_of_central_differences(
    is_sparse, has_intercept, has_boundaries
):
    data = labelled()
    if is_sparse:
        data = data._replace(design=sparse.csr_array(data.design))
    graph = label_graph(all_allowed(3), np.ones(3, int))
    objective = CRFObjective(
        graph,
        data,
        0.7,
        has_intercept=has_intercept,
        has_boundaries=has_boundaries,
    )
    n_coef = 4 * 3
    theta = np.random.default_rng(1).normal(size=objective.n_parameters)
    own = objective.parameters(theta)
    if not has_intercept:
        own.intercept[:] = 0
    if not has_boundaries:
        own.start[:] = own.end[:] = 0
    _, gradient = objective(theta)
    free = np.arange(len(theta)) < n_coef
    free[n_coef : n_coef + 3] = has_intercept
    free[n_coef + 3 : n_coef + 12] = True
    free[n_coef + 12 :] = has_boundaries
    for at, is_free in enumerate(free):
        step = 1e-5 * (np.arange(len(theta)) == at)
        if is_free:
            slope = (objective(theta + step)[0] - objective(theta - step)[0]) / 2e-5
            assert gradient[at] == pytest.approx(slope, abs=1e-6)
        else:
            assert gradient[at] == 0


def test_the_gradient_of_constrained_labels():
    rules, runs = all_allowed(3), np.array([2, 1, 1])
    rules.next[1, 0] = False
    data = labelled()._replace(
        codes=np.array([0, 0, 1, 2, 2, 1, 2, 0, 0, 0, 2, 1, 2, 0, 0, 1])
    )
    objective = CRFObjective(label_graph(rules, runs), data, 1.3)
    theta = np.random.default_rng(1).normal(size=objective.n_parameters)
    _, gradient = objective(theta)
    for at in range(len(theta)):
        step = 1e-5 * (np.arange(len(theta)) == at)
        slope = (objective(theta + step)[0] - objective(theta - step)[0]) / 2e-5
        assert gradient[at] == pytest.approx(slope, abs=1e-6)


def test_the_minimum_is_that_of_scipy():
    objective = CRFObjective(
        label_graph(all_allowed(3), np.ones(3, int)), labelled(), 2.0
    )
    start = np.zeros(objective.n_parameters)
    found = minimize(objective, start, tol=1e-8)
    assert found.converged
    assert (np.diff(found.history) < 0).all()
    options = {"ftol": 1e-14, "gtol": 1e-9}
    expected = optimize.minimize(
        objective, start, jac=True, method="L-BFGS-B", options=options
    )
    assert found.history[-1] == pytest.approx(expected.fun, rel=1e-10)


def test_a_curved_valley_is_followed():
    def rosenbrock(x):
        return optimize.rosen(x), optimize.rosen_der(x)

    found = minimize(rosenbrock, np.array([-1.2, 1.0, 0.5]), tol=1e-9)
    assert found.converged
    np.testing.assert_allclose(found.x, 1, atol=1e-5)
    assert len(minimize(rosenbrock, found.x * 1.5, max_iter=3).history) == 4


def test_windows_that_overlap_are_counted():
    """Autocorrelations of averages of n independent values sum to n."""
    rng = np.random.default_rng(0)
    for n in (1, 5, 12):
        noise = rng.normal(size=(4000 + n - 1, 6))
        X = np.lib.stride_tricks.sliding_window_view(noise, n, axis=0).mean(axis=-1)
        y = np.arange(4000) // 40 % 2
        data = LabelledFrames(X + y[:, None], y, np.array([0, 4000]), np.ones(1))
        assert count_dependent_frames(data) == pytest.approx(n, rel=0.15)
        as_sparse = data._replace(design=sparse.csr_array(data.design))
        assert count_dependent_frames(as_sparse) == pytest.approx(
            count_dependent_frames(data)
        )
