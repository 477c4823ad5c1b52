"""Chains in one order: enumeration, other packages, graphs, blocks and bands."""

from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mmfusion.graphical import (
    _step_beams,
    _step_posteriors,
    forward_backward,
    graph_from_edges,
    viterbi,
)
from mmfusion.graphical import _steps as steps
from mmfusion.graphical._steps import (
    best_step_path,
    ctc_chain,
    step_counts,
    step_log_likelihood,
    unit_chain,
)
from tests.graphical.test_reference_cases import cases, close


def log_softmax(n_frames, n_columns, seed, spread=2.0):
    scores = np.random.default_rng(seed).normal(size=(n_frames, n_columns)) * spread
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def collapsed(path, blank=0):
    """Return the labels of a path, without repetitions and blanks."""
    kept = [k for t, k in enumerate(path) if t == 0 or k != path[t - 1]]
    return [k for k in kept if k != blank]


def graph_of(chain):
    """Return a chain as a graph of edges."""
    n = len(chain.emits)
    edges, weights = [], []
    for back, own in enumerate((chain.stay, chain.move, chain.skip)):
        for s in range(back, n):
            if own[s] > 0:
                edges.append((s - back, s))
                weights.append(own[s])
    with np.errstate(divide="ignore"):
        return graph_from_edges(
            n,
            edges,
            np.log(weights),
            emits=chain.emits,
            log_start=np.log(chain.start),
            log_end=np.log(chain.end),
        )


def random_chain(seed, n_labels=4):
    rng = np.random.default_rng(seed)
    columns = rng.integers(0, 5, 2 * n_labels)
    labels = np.repeat(np.arange(n_labels), 2)
    stay = rng.uniform(0.1, 0.9, 6)
    return unit_chain(columns, stay, 5, labels)[0]


@pytest.mark.parametrize("case", cases("ctc"))
def test_reference_cases(case):
    table = np.array(case["log_probs"])
    chain = ctc_chain(np.array(case["targets"]), case["blank"])
    path = best_step_path(chain, table)
    close(path.log_likelihood, case["loglik"])
    close(path.score, case["best_score"])
    emitted = chain.emits[path.states]
    close(table[np.arange(len(table)), emitted].sum(), case["best_score"])
    assert collapsed(emitted, case["blank"]) == case["targets"]


@pytest.mark.parametrize("labels", [[1], [2, 1], [1, 1], []])
@pytest.mark.parametrize("n_frames", [1, 2, 3, 6])
def test_all_paths_are_summed(n_frames, labels):
    table = log_softmax(n_frames, 3, seed=n_frames)
    paths = [p for p in product(range(3), repeat=n_frames) if collapsed(p) == labels]
    chain = ctc_chain(np.array(labels, dtype=int), 0)
    found = best_step_path(chain, table)
    if not paths:
        assert found is None
        assert step_counts(chain, table) is None
        assert step_log_likelihood(chain, table) == -np.inf
        return
    scores = np.array([table[np.arange(n_frames), p].sum() for p in paths])
    assert_allclose(found.log_likelihood, np.log(np.exp(scores).sum()), rtol=1e-12)
    assert_allclose(found.score, scores.max(), rtol=1e-12)
    weights = np.exp(scores - found.log_likelihood)
    expected = np.zeros_like(table)
    for path, weight in zip(paths, weights, strict=True):
        expected[np.arange(n_frames), path] += weight
    assert_allclose(step_counts(chain, table).posteriors, expected, atol=1e-12)


@pytest.mark.parametrize("n_labels", [3, 25, 60])
def test_the_sum_is_the_loss_of_torch(n_labels):
    torch = pytest.importorskip("torch")
    table = log_softmax(100, 8, seed=n_labels, spread=4.0)
    labels = np.random.default_rng(n_labels).integers(1, 8, n_labels)
    loss = torch.nn.functional.ctc_loss(
        torch.tensor(table)[:, None],
        torch.tensor(labels)[None],
        torch.tensor([100]),
        torch.tensor([n_labels]),
        reduction="sum",
    )
    found = best_step_path(ctc_chain(labels, 0), table)
    assert_allclose(found.log_likelihood, -float(loss), rtol=1e-12)
    assert found.score <= found.log_likelihood


@pytest.mark.parametrize("seed", range(5))
def test_chains_are_graphs(seed):
    chain = random_chain(seed)
    table = log_softmax(14, 6, seed, spread=5.0)
    result = forward_backward(graph_of(chain), table, [0, 14])
    counts = step_counts(chain, table)
    assert_allclose(counts.log_likelihood, result.log_likelihoods[0], rtol=1e-12)
    assert_allclose(counts.posteriors, result.posteriors, atol=1e-12)
    assert_allclose(counts.stays, result.edge_counts[_loops(graph_of(chain))])
    states, scores = viterbi(graph_of(chain), table, [0, 14])
    path = best_step_path(chain, table)
    assert_allclose(path.score, scores[0], rtol=1e-12)
    assert_array_equal(path.states, states)


def _loops(graph):
    ends = np.repeat(np.arange(len(graph.emits)), np.diff(graph.ptr))
    return graph.src == ends


@pytest.mark.parametrize("n_frames", [40, 41, 200])
def test_blocks_give_what_all_rows_do(n_frames, monkeypatch):
    table = log_softmax(n_frames, 5, seed=0)
    chain = ctc_chain(np.random.default_rng(0).integers(1, 5, 18), 0)
    path, counts = best_step_path(chain, table), step_counts(chain, table)
    monkeypatch.setattr(steps, "CELLS_OF_ROWS", 1)
    for expected, found in (
        (path, best_step_path(chain, table)),
        (counts, step_counts(chain, table)),
    ):
        for own, value in zip(expected, found, strict=True):
            assert_array_equal(own, value)


def test_memory_of_long_recordings_grows_with_the_root_of_frames():
    chain = ctc_chain(np.random.default_rng(0).integers(1, 5, 200), 0)
    arrays = steps._arrays(chain, 40_000, None)
    own = steps._Sums(arrays, np.zeros((40_000, 5)))
    cells = own.rows[0].size + len(own.starts) * arrays.stride
    assert cells < 2 * steps.CELLS_OF_ROWS < 40_000 * 401 / 10


def test_a_band_leaves_out_paths_far_from_the_diagonal():
    labels = np.random.default_rng(0).integers(1, 5, 30)
    table = log_softmax(100, 5, seed=0)
    chain = ctc_chain(labels, 0)
    exact = step_log_likelihood(chain, table)
    sums = [step_log_likelihood(chain, table, band) for band in (0.05, 0.2, 0.5, 1.0)]
    assert np.all(np.diff(sums) >= 0)
    assert sums[0] < exact - 1e-3
    assert sums[-1] == exact
    states = best_step_path(chain, table, 0.05).states
    assert abs(states - np.linspace(0, 60, 100)).max() <= 0.05 * 61 + 1


def test_no_state_is_lost_by_underflow():
    # the only path to the end is less likely than others by a factor of 1e-4000
    table = np.full((22, 2), -1000.0)
    table[:, 0] = 0.0
    found = best_step_path(ctc_chain(np.ones(11, dtype=int), 0), table)
    assert_allclose(found.score, -11_000.0)
    assert found.log_likelihood >= found.score
    assert_allclose(step_counts(ctc_chain(np.array([1]), 0), table).posteriors[:, 1],
                    1 / 22)  # fmt: skip


@pytest.mark.parametrize("spread", [1.0, 20.0, 60.0])
def test_plain_numbers_give_what_exponents_do(spread, monkeypatch):
    table = log_softmax(150, 6, seed=3, spread=spread)
    chain = ctc_chain(np.random.default_rng(0).integers(1, 6, 50), 0)
    plain = best_step_path(chain, table)
    monkeypatch.setattr(_step_posteriors, "LARGEST_WEIGHT", 0.0)
    exact = best_step_path(chain, table)
    assert_allclose(plain.posteriors, exact.posteriors, rtol=1e-9)
    assert_allclose(plain.log_likelihood, exact.log_likelihood, rtol=1e-12)


def peaked(n_frames, n_labels, seed, height=6.0, n_columns=20):
    """Return log-probabilities of planted labels, as of a network that is confident."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(1, n_columns, n_labels)
    starts = np.sort(rng.choice(n_frames // 3, n_labels, replace=False)) * 3
    scores = rng.normal(size=(n_frames, n_columns))
    columns = np.zeros(n_frames, dtype=int)
    columns[starts] = columns[starts + 1] = labels
    scores[np.arange(n_frames), columns] += height
    return labels, scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("height", [0.0, 1.0, 3.0, 6.0])
@pytest.mark.parametrize("beam", [0.5, 10.0, 40.0])
def test_paths_of_few_states_are_the_best_of_all(height, beam, monkeypatch):
    monkeypatch.setattr(_step_beams, "BEAM", beam)
    labels, table = peaked(400, 60, 0, height)
    for chain in (ctc_chain(labels, 0), random_chain(1, 40)):
        arrays = steps._arrays(chain, len(table), None)
        weights = steps._log_weights(arrays)
        few = _step_beams.best_path_in_beam(arrays, table, weights)
        states, score = steps._BestPaths(arrays, table, weights).path()
        assert_array_equal(few.states, states)
        assert few.score == score


def test_paths_of_too_many_states_are_found_in_blocks(monkeypatch):
    labels, table = peaked(300, 60, 0, height=0.0)
    chain = ctc_chain(labels, 0)
    expected = best_step_path(chain, table)
    arrays = steps._arrays(chain, len(table), None)
    monkeypatch.setattr(_step_beams, "MOST_BYTES", 1)
    weights = steps._log_weights(arrays)
    assert _step_beams.best_path_in_beam(arrays, table, weights) is None
    found = best_step_path(chain, table)
    for own, value in zip(expected, found, strict=True):
        assert_array_equal(own, value)


@pytest.mark.parametrize("height", [1.0, 6.0, 12.0])
def test_posteriors_of_few_states_are_those_of_all(height, monkeypatch):
    labels, table = peaked(900, 150, 0, height)
    chain = ctc_chain(labels, 0)
    few = best_step_path(chain, table)
    monkeypatch.setattr(_step_posteriors, "LARGEST_WEIGHT", 0.0)
    exact = best_step_path(chain, table)
    assert_allclose(few.posteriors, exact.posteriors, rtol=1e-10)
    assert_allclose(few.log_likelihood, exact.log_likelihood, rtol=1e-13)


def test_single_precision_is_read_as_it_is():
    labels, table = peaked(60, 9, 0)
    chain = ctc_chain(labels, 0)
    table = table.astype(np.float32)
    table.flags.writeable = False
    expected = best_step_path(chain, table.astype(float))
    for own, value in zip(expected, best_step_path(chain, table), strict=True):
        assert_array_equal(own, value)
