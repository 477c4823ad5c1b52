"""Labels with hidden states: enumeration, gradients, and one state as none."""

from itertools import product

import numpy as np
import pytest
from scipy import optimize, sparse

from mmfusion.graphical._crf import (
    Boundaries,
    CRFObjective,
    LabelledFrames,
    label_graph,
)
from mmfusion.graphical._latent_crf import (
    LatentCRFObjective,
    boundaries_of_states,
    cluster_states,
)

from .test_crf import all_allowed, labelled, some_forbidden


def objective_of(data, rules, k, C=0.7, **options):
    rules = boundaries_of_states(rules, k)
    graph = label_graph(rules, np.ones(len(rules.start), int))
    return LatentCRFObjective(graph, data, C, k, **options)


def enumerated(objective, theta, data, rules, k):
    """Compute the objective by all sequences of states."""
    own = objective.parameters(theta)
    scores = data.design @ own.coef + own.intercept
    n_states = scores.shape[1]
    total = 0.0
    for a, b, weight in zip(
        data.offsets[:-1], data.offsets[1:], data.weight, strict=True
    ):
        free, held = [], []
        for path in product(range(n_states), repeat=b - a):
            labels = np.array(path) // k
            if not (rules.start[labels[0]] and rules.end[labels[-1]]):
                continue
            if not rules.next[labels[:-1], labels[1:]].all():
                continue
            score = own.start[path[0]] + own.end[path[-1]]
            score += sum(scores[a + t, s] for t, s in enumerate(path))
            score += own.transitions[path[:-1], path[1:]].sum()
            free.append(score)
            if (labels == data.codes[a:b]).all():
                held.append(score)
        loss = np.logaddexp.reduce(free) - np.logaddexp.reduce(held)
        total += objective.C * weight * loss
    penalised = [own.coef, own.transitions, own.start, own.end]
    return total + 0.5 * sum((part**2).sum() for part in penalised)


def allowed_labels(rules):
    """Return frames whose labels fulfil the rules of `some_forbidden`."""
    data = labelled(lengths=(3, 1, 4, 2))
    codes = np.array([0, 1, 2, 2, 2, 0, 0, 1, 0, 1])
    codes[3] = 2
    return data._replace(codes=codes)


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("rules", [all_allowed(3), some_forbidden()])
def test_the_objective_is_that_of_enumeration(rules, is_sparse):
    data = allowed_labels(rules)
    own = data._replace(design=sparse.csr_array(data.design)) if is_sparse else data
    objective = objective_of(own, rules, 2)
    theta = np.random.default_rng(1).normal(size=objective.n_parameters)
    expected = enumerated(objective, theta, data, rules, 2)
    assert objective(theta)[0] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n_sequences", [4, 32])  # one by one, and in batches
@pytest.mark.parametrize("rules", [all_allowed(3), some_forbidden()])
def test_the_gradient_is_that_of_finite_differences(rules, n_sequences):
    data = allowed_labels(rules)
    repeats = n_sequences // 4
    lengths = np.tile(np.diff(data.offsets), repeats)
    data = LabelledFrames(
        np.tile(data.design, (repeats, 1)),
        np.tile(data.codes, repeats),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.tile(data.weight, repeats),
    )
    objective = objective_of(data, rules, 2)
    theta = np.random.default_rng(2).normal(size=objective.n_parameters)
    found = objective(theta)[1]
    expected = optimize.approx_fprime(theta, lambda x: objective(x)[0], 1e-6)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_one_state_is_the_field_without():
    data = labelled()
    latent = objective_of(data, all_allowed(3), 1)
    plain = CRFObjective(label_graph(all_allowed(3), np.ones(3, int)), data, 0.7)
    theta = np.random.default_rng(3).normal(size=plain.n_parameters)
    for one, other in zip(latent(theta), plain(theta), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_parts_may_be_left_out():
    objective = objective_of(
        labelled(), all_allowed(3), 2, has_intercept=False, has_boundaries=False
    )
    own = objective.parameters(objective(np.zeros(objective.n_parameters))[1])
    absent = np.concatenate([own.intercept, own.start, own.end])
    assert not absent.any()
    assert own.transitions.any()


def test_states_are_clusters_inside_labels():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], 40)
    modes = np.tile([0, 1], 40)
    design = np.column_stack([4.0 * codes + 10 * modes, rng.normal(size=80)])
    data = LabelledFrames(design, codes, np.array([0, 80]), np.ones(1))
    found = cluster_states(data, 2, np.random.RandomState(0)).codes
    assert (found // 2 == codes).all()
    assert len(set(zip(codes, modes, found, strict=True))) == 4


def test_fewer_frames_than_states():
    data = LabelledFrames(np.ones((4, 1)), np.array([0, 0, 0, 1]), [0, 4], np.ones(1))
    found = cluster_states(data, 2, np.random.RandomState(0)).codes
    assert (found // 2 == data.codes).all()


def test_rules_of_states_are_those_of_their_labels():
    rules = boundaries_of_states(some_forbidden(), 2)
    assert isinstance(rules, Boundaries)
    assert rules.next.shape == (6, 6)
    assert not rules.next[:2, 4:].any()
    assert rules.next[:2, :2].all()
    assert rules.start.tolist() == [True, True, False, False, True, True]
