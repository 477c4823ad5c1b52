"""Passes over batches of label sequences: as the chain, one sequence after another."""

import numpy as np
import pytest
from scipy import sparse

from mmfusion.graphical import forward_backward
from mmfusion.graphical._crf import (
    Boundaries,
    CRFParameters,
    edge_labels,
    label_graph,
    label_scores,
    scored_graph,
)
from mmfusion.graphical._label_batches import LabelBatches


def field(rng, n_columns, n_labels, scale=1.0):
    shapes = [(n_columns, n_labels), n_labels, (n_labels, n_labels), n_labels, n_labels]
    return CRFParameters(*(scale * rng.normal(size=shape) for shape in shapes))


def graph_of(parameters):
    n_labels = len(parameters.start)
    rules = Boundaries(
        np.ones(n_labels, bool), np.ones(n_labels, bool), np.ones((n_labels,) * 2, bool)
    )
    return scored_graph(label_graph(rules, np.ones(n_labels, int)), parameters)


def expected(design, offsets, weight, parameters):
    """Compute the counts from the posteriors of `forward_backward`."""
    graph = graph_of(parameters)
    chain = forward_backward(
        graph, label_scores(design, parameters), offsets, sample_weight=weight
    )
    lengths = np.diff(offsets)
    posteriors = chain.posteriors * np.repeat(weight, lengths)[:, None]
    transitions = np.zeros_like(parameters.transitions)
    np.add.at(transitions, edge_labels(graph), chain.edge_counts)
    first, last = offsets[:-1][lengths > 0], offsets[1:][lengths > 0] - 1
    return weight @ chain.log_likelihoods, (
        design.T @ posteriors,
        posteriors.sum(axis=0),
        transitions,
        posteriors[first].sum(axis=0),
        posteriors[last].sum(axis=0),
    )


def compare(lengths, n_labels, *, is_sparse=False, n_jobs=None, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    design = rng.normal(size=(offsets[-1], 6)) * (rng.random((offsets[-1], 6)) < 0.5)
    if is_sparse == "ones":
        design = (design > 0).astype(float)
    weight = rng.random(len(lengths)) + 0.1
    parameters = field(rng, 6, n_labels, scale)
    own = sparse.csr_array(design) if is_sparse else design
    batches = LabelBatches(own, offsets, weight, n_labels, n_jobs)
    for _ in range(2):  # the workspace is used again
        found = batches.counts(
            graph_of(parameters), parameters.coef, parameters.intercept
        )
    value, counts = expected(design, offsets, weight, parameters)
    assert found[0] == pytest.approx(value, rel=1e-11)
    for one, other in zip(found[1], counts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n_labels", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("is_sparse", [False, True, "ones"])
def test_counts_are_those_of_the_chain(n_labels, is_sparse):
    lengths = np.random.default_rng(n_labels).integers(0, 12, 45)
    compare(lengths, n_labels, is_sparse=is_sparse)


@pytest.mark.parametrize("lengths", [[1], [7], [1] * 16, [3] * 17, [0, 2, 0], [40, 1]])
def test_few_sequences(lengths):
    compare(np.array(lengths), 3)


def test_long_sequences_of_extreme_scores():
    compare(np.array([3000, 2500]), 3, scale=20.0)


def test_threads_do_not_change_the_result(monkeypatch):
    monkeypatch.setattr("mmfusion.graphical._label_batches.GROUP_FRAMES", 50)
    lengths = np.random.default_rng(1).integers(1, 12, 100)
    compare(lengths, 4, n_jobs=2)


@pytest.mark.parametrize("name", ["transitions", "start", "end"])
def test_weights_far_apart_belong_to_the_chain(name):
    rng = np.random.default_rng(0)
    parameters = field(rng, 2, 3)
    getattr(parameters, name).flat[0] = -400
    batches = LabelBatches(rng.normal(size=(4, 2)), np.array([0, 4]), np.ones(1), 3, 1)
    graph = graph_of(parameters)
    assert batches.counts(graph, parameters.coef, parameters.intercept) is None


def test_infinite_scores_belong_to_the_chain():
    rng = np.random.default_rng(0)
    parameters = field(rng, 2, 3)
    batches = LabelBatches(np.ones((4, 2)), np.array([0, 4]), np.ones(1), 3, 1)
    parameters.intercept[0] = np.inf
    graph = graph_of(parameters)
    assert batches.counts(graph, parameters.coef, parameters.intercept) is None


def test_few_long_sequences_suit_no_batch():
    assert LabelBatches.suit(np.arange(0, 330, 10), 4)
    assert not LabelBatches.suit(np.array([0, 1000, 1010, 1020]), 4)
    assert not LabelBatches.suit(np.arange(0, 16_000_001, 1_000_000), 4)
