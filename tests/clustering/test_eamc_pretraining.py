"""Graphs of neighbours, against loops over all pairs, and the pairs drawn of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skorch.callbacks import Callback

from mmfusion.clustering.eamc._pretraining import (
    GraphTrust,
    NeighborPairs,
    neighbor_graphs,
)
from mmfusion.nn._data import Batches, Preparation, Rows

from .small import X, small

SHAPES = [(2,), (3, 2), (1,)]


def make_blocks(n, seed=0):
    random = np.random.default_rng(seed)
    return [random.normal(size=(n, *shape)) for shape in SHAPES]


def make_observed(n, seed=0):
    observed = np.random.default_rng(seed).random((n, 3)) > 0.4
    observed[np.arange(n), np.arange(n) % 3] = True
    return observed


def nearest(block, q, others, n_neighbors):
    distances = []
    for other in others:
        if other != q:
            gaps = (block[q] - block[other]).ravel()
            distances.append((sum(gap**2 for gap in gaps), other))
    return [other for _, other in sorted(distances)[:n_neighbors]]


def slow_graphs(blocks, observed, n_neighbors):
    n = len(blocks[0])
    n_neighbors = min(n_neighbors, n - 1)
    flat = [block.reshape(n, -1) for block in blocks]
    together = np.hstack([block / block.shape[1] ** 0.5 for block in flat])
    everywhere = [nearest(together, q, range(n), n_neighbors) for q in range(n)]
    graphs = []
    for v, block in enumerate(flat):
        own = [q for q in range(n) if observed is None or observed[q, v]]
        graph = list(everywhere)
        if len(own) > n_neighbors:
            for q in own:
                graph[q] = nearest(block, q, own, n_neighbors)
        graphs.append(graph)
    return np.array(graphs + [everywhere] * len(blocks))


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(1, 15), st.integers(0, 1000), st.booleans())
def test_neighbours_are_the_nearest_of_all(n, n_neighbors, seed, missing):
    blocks = make_blocks(n, seed)
    observed = make_observed(n, seed) if missing else None
    if missing:
        for block, seen in zip(blocks, observed.T, strict=True):
            block[~seen] = 0
    np.testing.assert_array_equal(
        neighbor_graphs(blocks, observed, n_neighbors),
        slow_graphs(blocks, observed, n_neighbors),
    )


def test_no_sample_is_its_own_neighbour_even_among_equals():
    blocks = [np.zeros((9, 2)), np.ones((9, 1))]
    graphs = neighbor_graphs(blocks, None, 4)
    assert graphs.shape == (4, 9, 4)
    assert not (graphs == np.arange(9)[:, None]).any()
    for neighbors in graphs.reshape(-1, 4):
        assert len(set(neighbors)) == 4


def test_in_the_graph_of_a_modality_neighbours_have_it_too():
    observed = make_observed(30)
    graphs = neighbor_graphs(make_blocks(30), observed, 3)
    for v in range(3):
        seen = observed[:, v]
        assert seen.sum() > 3
        assert seen[graphs[v][seen]].all()
        np.testing.assert_array_equal(graphs[v][~seen], graphs[3 + v][~seen])


def test_a_modality_that_few_have_follows_the_concatenation():
    observed = np.ones((10, 3), bool)
    observed[3:, 1] = False
    graphs = neighbor_graphs(make_blocks(10), observed, 3)
    np.testing.assert_array_equal(graphs[1], graphs[4])


def test_one_sample_is_its_own_neighbour_for_want_of_others():
    graphs = neighbor_graphs(make_blocks(1), None, 3)
    assert graphs.shape == (6, 1, 1)
    assert (graphs == 0).all()


# Pairs


def make_pairs(graphs, rows, batch_size, n=40):
    """Pairs of samples whose only modality is their number."""
    data = Rows([np.arange(n, dtype=float)[:, None]])
    batches = Batches(data, Preparation.fit(data, [None], [(1,)]))
    generator = torch.Generator().manual_seed(0)
    return NeighborPairs(batches, rows, graphs, batch_size, generator)


def test_pairs_are_samples_and_their_neighbours_in_the_graph_of_the_pair():
    rows = np.random.default_rng(0).permutation(40)[:23]
    graphs = neighbor_graphs(make_blocks(23), None, 3)
    position = {row: q for q, row in enumerate(rows)}
    pairs = make_pairs(graphs, rows, batch_size=5)
    assert len(pairs) == 4
    seen = []
    for _ in range(3):
        epoch = list(pairs)
        assert len(epoch) == 4
        samples = []
        for (inputs, observed, _), graph in epoch:
            assert observed is None
            assert graph.shape == (5,)
            own, neighbors = inputs[0].flatten().int().chunk(2)
            for q, r, g in zip(
                own.tolist(), neighbors.tolist(), graph.tolist(), strict=True
            ):
                assert position[r] in graphs[g, position[q]]
                seen.append((g, r))
            samples += own.tolist()
        assert len(set(samples)) == len(samples) == 20
        assert set(samples) <= set(rows)
    assert {g for g, _ in seen} == set(range(6))


def test_a_batch_larger_than_the_data_holds_all_of_them():
    graphs = neighbor_graphs(make_blocks(7), None, 2)
    ((batch, _),) = make_pairs(graphs, np.arange(7), batch_size=100, n=7)
    own = batch.inputs[0].flatten().int()[:7]
    assert sorted(own.tolist()) == list(range(7))


def test_every_neighbour_is_drawn_at_some_time():
    graphs = neighbor_graphs(make_blocks(8), None, 3)
    pairs = make_pairs(graphs, np.arange(8), batch_size=8, n=8)
    drawn = set()
    for _ in range(100):
        for (inputs, _, _), _graph in pairs:
            own, neighbors = inputs[0].flatten().int().chunk(2)
            drawn |= set(zip(own.tolist(), neighbors.tolist(), strict=True))
    edges = {(q, r) for graph in graphs for q in range(8) for r in graph[q].tolist()}
    assert drawn == edges


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_graphs_do_not_depend_on_the_number_of_threads(n_jobs):
    blocks = make_blocks(20)
    np.testing.assert_array_equal(
        neighbor_graphs(blocks, None, 4, n_jobs), slow_graphs(blocks, None, 4)
    )


# Trust in graphs


def follow(disagreements, n_steps=200):
    """Return the trust after many batches of given disagreements."""
    trust = GraphTrust(1, len(disagreements))
    graphs = torch.arange(len(disagreements)).repeat(4)
    pairs = torch.tensor(disagreements)[graphs][None]
    for _ in range(n_steps):
        weights = trust(pairs, graphs)
    return weights[0, : len(disagreements)]


def test_a_graph_that_disagrees_more_is_trusted_less():
    weights = follow([0.1, 0.5, 2.0])
    assert weights[0] > weights[1] > weights[2] > 0


def test_trust_is_inverse_to_disagreement():
    weights = follow([0.1, 0.5, 2.0])
    floor = GraphTrust.SMALLEST_DISAGREEMENT
    ratio = (2 + floor) / (0.1 + floor)
    assert float(weights[0] / weights[2]) == pytest.approx(ratio, rel=1e-2)
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))


def test_graphs_that_disagree_alike_are_trusted_alike():
    torch.testing.assert_close(follow([0.7, 0.7]), torch.ones(2))


def test_a_graph_without_edges_in_a_batch_is_remembered():
    trust = GraphTrust(2, 3)
    trust(torch.tensor([[0.1, 0.9], [0.5, 0.4]]), torch.tensor([0, 1]))
    before = trust.running.clone()
    trust(torch.tensor([[0.3], [0.2]]), torch.tensor([1]))
    assert (trust.running[:, [0, 2]] == before[:, [0, 2]]).all()
    assert (trust.running[:, 1] != before[:, 1]).all()


def test_every_head_trusts_for_itself():
    trust = GraphTrust(2, 2)
    graphs = torch.tensor([0, 1])
    pairs = torch.tensor([[0.1, 2.0], [2.0, 0.1]])
    for _ in range(50):
        weights = trust(pairs, graphs)
    assert weights[0, 0] > weights[0, 1]
    torch.testing.assert_close(weights[1], weights[0].flip(0))


def test_no_gradient_flows_through_trust():
    pairs = torch.tensor([[0.1, 2.0]], requires_grad=True)
    assert not GraphTrust(1, 2)(pairs, torch.tensor([0, 1])).requires_grad


# Screening of restarts


class Course(Callback):
    """Record the learning rate of every epoch, and stop pretraining if asked to."""

    def __init__(self, stop_after=None):
        self.stop_after, self.rates = stop_after, []

    def on_epoch_end(self, net, **kwargs):
        rate = net.optimizer_.param_groups[0]["lr"]
        self.rates.append((net.phase_name_, len(net.history), round(rate, 12)))
        if len(net.history) == self.stop_after:
            raise KeyboardInterrupt


def test_the_best_restart_is_trained_on_after_a_third_of_pretraining():
    alone, screened = Course(), Course()
    small(pretrain_epochs=5, callbacks=[alone]).fit(X)
    fitted = small(pretrain_epochs=5, n_init=3, callbacks=[screened]).fit(X)
    assert len(alone.rates) == 5 + 2
    assert len(screened.rates) == 3 * 2 + 3 + 2
    # rates fall as if the phase were one
    assert set(screened.rates) == set(alone.rates)
    assert fitted.phase_epochs_ == {"pretraining": 5, "adversarial training": 2}
    assert len(set(fitted.init_scores_)) == 3
    assert fitted.module_.heads.n_heads == 1


def test_a_callback_that_ends_pretraining_before_the_comparison_ends_it():
    course = Course(stop_after=1)
    fitted = small(pretrain_epochs=10, n_init=2, callbacks=[course]).fit(X)
    assert [rate[:2] for rate in course.rates] == [
        ("pretraining", 1),
        ("pretraining", 1),
        ("adversarial training", 2),
        ("adversarial training", 3),
    ]
    assert fitted.phase_epochs_ == {"pretraining": 1, "adversarial training": 2}
