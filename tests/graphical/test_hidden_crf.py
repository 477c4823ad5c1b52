"""Hidden conditional random fields: reference value, enumeration, gradients."""

from itertools import pairwise, product

import numpy as np
import pytest
from scipy import sparse
from scipy.special import logsumexp, softmax

from mmfusion.graphical import ergodic_graph, forward_backward
from mmfusion.graphical._hidden_crf import (
    PRIOR_COUNT,
    ClassifiedFrames,
    HiddenCRFObjective,
    HiddenParameters,
    generative_parameters,
    hidden_class_scores,
    hidden_states,
)

from .test_reference_cases import cases, close


@pytest.mark.parametrize("case", cases("hidden_crf"))
def test_reference_case(case):
    states = hidden_states(2, 1, "shared")
    full = np.array(case["transitions"])
    transitions = np.array([[full[:2, :2], full[2:, 2:]]])
    none = np.zeros((2, 2))
    parameters = HiddenParameters(
        [np.eye(4)], np.zeros((1, 4)), transitions, none, none[:, :0], np.zeros(2)
    )
    table = np.array(case["emission_scores"])
    scores = hidden_class_scores([table], np.array([0, len(table)]), states, parameters)
    close(scores[0], case["class_scores"])
    close(softmax(scores[0]), case["proba"])


def objective_of(linking, n_chains, is_sparse=False, seed=0):
    rng = np.random.default_rng(seed)
    offsets = np.array([0, 3, 4, 8])
    designs = [rng.normal(size=(8, 2 + v)) for v in range(n_chains)]
    if is_sparse:
        designs = [sparse.csr_array(x) for x in designs]
    data = ClassifiedFrames(
        designs, np.array([1, 0, 1]), offsets, np.array([1.0, 2.0, 0.5])
    )
    return HiddenCRFObjective(hidden_states(2, n_chains, linking), data, 2, 0.7)


@pytest.mark.parametrize(
    ("linking", "n_chains"), [("shared", 1), ("linked", 2), ("coupled", 2)]
)
@pytest.mark.parametrize("is_sparse", [False, True])
def test_gradient_is_that_of_central_differences(linking, n_chains, is_sparse):
    objective = objective_of(linking, n_chains, is_sparse)
    theta = np.random.default_rng(1).normal(size=objective.n_parameters)
    _, gradient = objective(theta)
    for at in range(len(theta)):
        step = 1e-5 * (np.arange(len(theta)) == at)
        slope = (objective(theta + step)[0] - objective(theta - step)[0]) / 2e-5
        assert gradient[at] == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("linking", ["linked", "coupled"])
def test_scores_of_classes_are_those_of_enumeration(linking):
    """Add up the paths of both chains."""
    objective = objective_of(linking, 2)
    own = objective.parameters(
        np.random.default_rng(1).normal(size=objective.n_parameters)
    )
    data = objective.data
    found = hidden_class_scores(data.designs, data.offsets, objective.states, own)
    tables = [
        x @ w + b
        for x, w, b in zip(data.designs, own.coef, own.intercepts, strict=True)
    ]
    for i, (start, stop) in enumerate(pairwise(data.offsets)):
        for c in range(2):
            totals = []
            for path in product(product(range(2), repeat=2), repeat=stop - start):
                score = own.start[c, 2 * path[0][0] + path[0][1]]
                for t, (a, b) in enumerate(path, start=start):
                    score += tables[0][t, 2 * c + a] + tables[1][t, 2 * c + b]
                    if linking == "linked":
                        score += own.joint[c, 2 * a + b]
                for before, after in pairwise(path):
                    for p, (u, v) in enumerate(objective.states.pairs):
                        score += own.transitions[p, c, before[u], after[v]]
                totals.append(score)
            expected = own.classes[c] + logsumexp(totals)
            assert found[i, c] == pytest.approx(expected)


def test_generative_weights_are_log_densities():
    """Classes differ by what hidden Markov models of the same segments differ by."""
    rng = np.random.default_rng(0)
    offsets = np.arange(0, 61, 6)
    codes = np.arange(10) % 2
    X = rng.normal(size=(60, 3)) + np.repeat(codes, 6)[:, None]
    data = ClassifiedFrames([X], codes, offsets, np.ones(10))
    states = hidden_states(2, 1, "shared")
    objective = HiddenCRFObjective(states, data, 2, 0.7)
    segments = np.tile([0, 0, 0, 1, 1, 1], 10)
    own = objective.parameters(generative_parameters(objective, segments, 1.0))
    found = hidden_class_scores([X], offsets, states, own)
    of_frames = 2 * np.repeat(codes, 6) + segments
    means = np.array([X[of_frames == s].mean(axis=0) for s in range(4)])
    variances = ((X - means[of_frames]) ** 2).mean(axis=0)
    counts = PRIOR_COUNT + np.array([[10.0, 5.0], [0.0, 10.0]])
    start = PRIOR_COUNT + np.array([5.0, 0.0])
    expected = []
    for c in range(2):
        difference = X[:, None] - means[2 * c : 2 * c + 2]
        densities = -0.5 * (difference**2 / variances).sum(axis=2)
        graph = ergodic_graph(
            counts / counts.sum(axis=1, keepdims=True), start / start.sum()
        )
        chain = forward_backward(graph, densities, offsets)
        expected.append(chain.log_likelihoods)
    np.testing.assert_allclose(found[:, 1] - found[:, 0], expected[1] - expected[0])


def test_the_penalty_is_the_distance_from_the_center():
    objective = objective_of("linked", 2)
    rng = np.random.default_rng(2)
    theta, center = rng.normal(size=(2, objective.n_parameters))
    value, gradient = objective(theta)
    objective.center = center
    moved, other = objective(theta)
    penalised = np.ones(len(theta), dtype=bool)
    penalised[-2:] = False  # scores of the classes
    change = ((theta - center)[penalised] ** 2).sum() - (theta[penalised] ** 2).sum()
    assert moved - value == pytest.approx(0.5 * change)
    np.testing.assert_allclose(gradient - other, np.where(penalised, center, 0))
