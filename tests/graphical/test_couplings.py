"""Couplings of chains: reference cases, limits, M-steps and numbering."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mmfusion.graphical._chain_model import ChainModel, fit_chain_model
from mmfusion.graphical._clock import Frames, ModalityFrames
from mmfusion.graphical._coupling_starts import set_start, start_states
from mmfusion.graphical._couplings import (
    chain_posteriors,
    column_order,
    coupled_coupling,
    factorial_coupling,
    hierarchical_coupling,
    occupancy_order,
    product_coupling,
    reordered_graph,
    synchronous_coupling,
)
from mmfusion.graphical._emissions import make_emission
from mmfusion.graphical._factorial_gaussian import FactorialGaussian
from mmfusion.graphical._gaussian_full import FullGaussian
from mmfusion.graphical._graph import transition_matrix
from mmfusion.graphical._graph_builders import ergodic_graph, left_to_right_graph
from mmfusion.graphical._inference import (
    chain_log_likelihood,
    forward_backward,
    viterbi,
)
from mmfusion.graphical._multimodal_emission import MultimodalEmission

CASES = Path(__file__).parents[3] / "shared/data/graphical_reference_cases.json"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no reference cases here")
OFFSETS = np.array([0, 5, 6, 18])


def reference_case(kind):
    cases = json.loads(CASES.read_text())["cases"]
    (case,) = (case for case in cases if case["kind"] == kind)
    return {k: np.array(v) if isinstance(v, list) else v for k, v in case.items()}


def distributions(rng, *shape):
    return rng.dirichlet(np.ones(shape[-1]), size=shape[:-1])


def with_random_parameters(coupling, seed=0):
    """The graph of a coupling after an M-step with random counts."""
    rng = np.random.default_rng(seed)
    n_states, n_edges = len(coupling.states), len(coupling.graph.src)
    return coupling.transition_model.maximize(
        coupling.graph, rng.exponential(size=n_edges), rng.exponential(size=n_states), 0
    )


def log_emissions(coupling, seed=0):
    """Random tables of each modality, and their sum over the joint states."""
    rng = np.random.default_rng(seed)
    own = {
        name: rng.normal(0, 2, (OFFSETS[-1], coupling.n_columns(name)))
        for name in coupling.columns
    }
    return own, sum(own[name][:, columns] for name, columns in coupling.columns.items())


def states_as_emissions(n_states, states):
    """Log densities that all but decide on the states."""
    return np.where(np.arange(n_states) == np.reshape(states, (-1, 1)), 0, -50.0)


# Reference cases


@needs_cases
def test_coupled_chains_agree_with_the_reference():
    case = reference_case("coupled_hmm")
    coupling = coupled_coupling({"a": 2, "b": 3})
    model = coupling.transition_model
    model.tables = [case["P_a"], case["P_b"]]
    model.starts = [np.array(case["start"][name]) for name in "ab"]
    scores = case["emission_scores"]
    table = sum(np.array(scores[name])[:, coupling.columns[name]] for name in "ab")
    result = forward_backward(model.graph(), table, [0, len(table)])
    assert_allclose(result.log_likelihoods, case["loglik"], rtol=1e-9)
    found = chain_posteriors(coupling, result.posteriors)
    assert_allclose(found["a"], case["posterior_a"], atol=1e-9)
    assert_allclose(found["b"], case["posterior_b"], atol=1e-9)
    _, best = viterbi(model.graph(), table, [0, len(table)])
    assert_allclose(best, case["viterbi_score"], rtol=1e-9)


@needs_cases
def test_factorial_chains_agree_with_the_reference():
    case = reference_case("factorial_hmm")
    coupling = factorial_coupling(2, {"x": 2})
    model = coupling.transition_model
    model.tables, model.starts = list(case["transitions"]), list(case["start"])
    emission = FactorialGaussian((2, 2))
    W = case["W"]
    emission.set_parameters((W[0][:, None] + W[1]).reshape(4, 2), case["covariance"])
    table = emission.log_density(case["X"])
    result = forward_backward(model.graph(), table, [0, len(table)])
    assert_allclose(result.log_likelihoods, case["loglik"], rtol=1e-9)
    found = chain_posteriors(coupling, result.posteriors)
    assert_allclose(list(found.values()), case["posterior"], atol=1e-9)
    contributions = emission.contributions
    assert_allclose(contributions[1].sum(axis=0), 0, atol=1e-12)
    assert_allclose(
        (contributions[0][:, None] + contributions[1]).reshape(4, 2), emission.means
    )


# Limits


def test_coupled_chains_with_independent_tables_are_two_chains():
    rng = np.random.default_rng(0)
    coupling = coupled_coupling({"a": 2, "b": 3})
    model = coupling.transition_model
    transitions = [distributions(rng, 2, 2), distributions(rng, 3, 3)]
    model.starts = [distributions(rng, 2), distributions(rng, 3)]
    model.tables = [
        np.broadcast_to(transitions[0][:, None], (2, 3, 2)),
        np.broadcast_to(transitions[1], (2, 3, 3)),
    ]
    own, table = log_emissions(coupling)
    joint = forward_backward(model.graph(), table, OFFSETS)
    alone = [
        forward_backward(ergodic_graph(A, start), own[name], OFFSETS)
        for A, start, name in zip(transitions, model.starts, "ab", strict=True)
    ]
    total = alone[0].log_likelihoods + alone[1].log_likelihoods
    assert_allclose(joint.log_likelihoods, total, rtol=1e-12)
    found = chain_posteriors(coupling, joint.posteriors)
    for name, one in zip("ab", alone, strict=True):
        assert_allclose(found[name], one.posteriors, atol=1e-12)


def test_a_product_without_lag_is_one_chain_from_left_to_right():
    coupling = product_coupling(["a", "b"], 3, 0)
    _, table = log_emissions(coupling)
    offsets = [0, 6, 18]
    plain = left_to_right_graph(3)
    assert_allclose(
        chain_log_likelihood(coupling.graph, table, offsets),
        chain_log_likelihood(plain, table, offsets),
        rtol=1e-12,
    )
    assert coupling.states.tolist() == [[0, 0], [1, 1], [2, 2]]


def test_one_unit_is_a_hidden_markov_model():
    coupling = hierarchical_coupling(["a"], 1, 3)
    graph = with_random_parameters(coupling)
    model = coupling.transition_model
    _, table = log_emissions(coupling)
    plain = ergodic_graph(model.inside[0], model.entries[0])
    result, expected = (forward_backward(g, table, OFFSETS) for g in (graph, plain))
    assert_allclose(result.log_likelihoods, expected.log_likelihoods, rtol=1e-12)
    assert_allclose(result.posteriors, expected.posteriors, atol=1e-12)


def test_without_private_chains_the_factorial_model_is_one_chain():
    coupling = factorial_coupling(3, {"a": 1, "b": 1})
    assert coupling.chains == {"shared": 3}
    graph = with_random_parameters(coupling)
    model = coupling.transition_model
    plain = ergodic_graph(model.tables[0], model.starts[0])
    _, table = log_emissions(coupling)
    assert_allclose(
        chain_log_likelihood(graph, table, OFFSETS),
        chain_log_likelihood(plain, table, OFFSETS),
        rtol=1e-12,
    )


@pytest.mark.parametrize("share_of_gaps", [0.0, 0.2])
def test_one_chain_of_a_factorial_gaussian_has_a_tied_covariance(share_of_gaps):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)) * [1, 10, 0.1]
    X[rng.random(X.shape) < share_of_gaps] = np.nan
    weights = distributions(rng, 60, 4)
    fitted = []
    for emission in (FactorialGaussian((4,)), FullGaussian(4, is_tied=True)):
        emission.prepare(X)
        for _ in range(3):
            statistics = emission.statistics()
            emission.accumulate(statistics, X, weights)
            emission.maximize(statistics)
        fitted.append(emission)
    assert_allclose(fitted[0].means, fitted[1].means, rtol=1e-9, atol=1e-12)
    assert_allclose(fitted[0].covariances, fitted[1].covariances, rtol=1e-9, atol=1e-12)
    assert fitted[0].n_parameters == fitted[1].n_parameters
    assert_allclose(fitted[0].log_prior(), fitted[1].log_prior())


# M-steps


def test_means_of_a_factorial_gaussian_are_those_of_weighted_least_squares():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 2))
    weights = distributions(rng, 200, 6)
    emission = FactorialGaussian((2, 3), prior_frames=0)
    emission.prepare(X)
    statistics = emission.statistics()
    emission.accumulate(statistics, X, weights)
    emission.maximize(statistics)
    # every frame in every joint state, as rows of one regression
    design = np.array(
        [[a == 0, a == 1, b == 0, b == 1, b == 2] for a in range(2) for b in range(3)],
        dtype=float,
    )
    roots = np.sqrt(weights).reshape(-1, 1)
    rows = np.tile(design, (200, 1)) * roots
    targets = np.repeat(X, 6, axis=0)
    W = np.linalg.lstsq(rows, targets * roots, rcond=None)[0]
    assert_allclose(emission.means, design @ W, atol=1e-9)
    rest = (targets - np.tile(design @ W, (200, 1))) * roots
    assert_allclose(emission.covariances, rest.T @ rest / 200, atol=1e-9)


@pytest.mark.parametrize("is_coupled", [True, False])
def test_transitions_of_chains_are_relative_counts(is_coupled):
    """Of decided states, by loops."""
    sizes = {"a": 2, "b": 3}
    coupling = (
        coupled_coupling(sizes) if is_coupled else factorial_coupling(2, {"b": 3})
    )
    rng = np.random.default_rng(2)
    states = np.column_stack([rng.integers(k, size=400) for k in sizes.values()])
    joint = states[:, 0] * 3 + states[:, 1]
    table = states_as_emissions(6, joint)
    result = forward_backward(coupling.graph, table, [0, 150, 400])
    graph = coupling.transition_model.maximize(
        coupling.graph, result.edge_counts, result.start_counts, 0.1
    )
    matrix = transition_matrix(graph).reshape(2, 3, 2, 3)
    expected = np.ones((2, 3, 2, 3))
    for m, k in enumerate(sizes.values()):
        counts = np.full((2, 3, k), 0.1)
        for t in range(1, 400):
            if t == 150:
                continue
            for a, b in np.ndindex(2, 3):
                # the states of both chains, or of the own one, before this step
                same = (a, b) == tuple(states[t - 1])
                same_own = (a, b)[m] == states[t - 1, m]
                if same if is_coupled else same_own:
                    counts[a, b, states[t, m]] += 1
        shares = counts / counts.sum(axis=2, keepdims=True)
        expected *= shares[:, :, :, None] if m == 0 else shares[:, :, None, :]
    assert_allclose(matrix, expected, rtol=1e-6)


def test_edges_of_units_are_products_of_their_parameters():
    coupling = hierarchical_coupling(["a"], 3, 2)
    graph = with_random_parameters(coupling)
    model = coupling.transition_model
    matrix = transition_matrix(graph).reshape(3, 2, 3, 2)
    for g, k, h, j in np.ndindex(3, 2, 3, 2):
        expected = model.inside[g, k, -1] * model.between[g, h] * model.entries[h, j]
        assert matrix[g, k, h, j] == pytest.approx(
            model.inside[g, k, j] if g == h else expected
        )
    assert_allclose(matrix.sum(axis=(2, 3)), 1)
    assert_allclose(np.exp(graph.log_start).sum(), 1)


COUPLINGS = {
    "synchronous": lambda: synchronous_coupling(["a", "b"], 3),
    "product": lambda: product_coupling(["a", "b"], 3, 1),
    "coupled": lambda: coupled_coupling({"a": 2, "b": 3}),
    "factorial": lambda: factorial_coupling(2, {"a": 2, "b": 2}),
    "hierarchical": lambda: hierarchical_coupling(["a", "b"], 2, 2),
}


def frames_of(rng, lengths=(12, 9, 15)):
    """Frames of two modalities; the second has gaps, and fewer frames."""
    n_steps = sum(lengths)
    audio, video = rng.normal(size=(n_steps, 2)), rng.normal(size=(n_steps // 3, 2))
    audio += np.repeat(rng.normal(0, 3, (n_steps // 4, 2)), 4, axis=0)[:n_steps]
    audio[rng.random(n_steps) < 0.2] = np.nan
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Frames(
        offsets,
        {
            "a": ModalityFrames(audio),
            "b": ModalityFrames(video, np.arange(n_steps // 3) * 3),
        },
    )


def emission_of(coupling):
    emissions = {}
    for name in coupling.columns:
        n_columns = coupling.n_columns(name)
        emissions[name] = (
            FactorialGaussian((2, 2))
            if "shared" in coupling.chains
            else make_emission("gaussian", n_columns)
        )
    return MultimodalEmission(emissions)


def of_one_chain(n_states, names):
    return MultimodalEmission({n: make_emission("gaussian", n_states) for n in names})


def started(kind, frames, seed=0):
    coupling = COUPLINGS[kind]()
    model = ChainModel(
        coupling.graph,
        emission_of(coupling),
        coupling.columns,
        coupling.transition_model,
    )
    model.emission.prepare(frames)
    states = start_states(coupling, frames, of_one_chain, seed)
    assert states.min() >= 0
    assert states.max() < len(coupling.states)
    set_start(model, coupling, frames, states)
    return model, coupling


@pytest.mark.parametrize("kind", COUPLINGS)
def test_no_iteration_decreases_the_objective(kind):
    frames = frames_of(np.random.default_rng(3))
    model, _ = started(kind, frames)
    history = fit_chain_model(model, frames, max_iter=15, tol=0)
    steps = np.diff(history.objective)
    assert steps.min() > -1e-9 * abs(history.objective[-1])
    assert history.objective[-1] > history.objective[0]


# Numbering


@pytest.mark.parametrize("kind", COUPLINGS)
def test_numbers_of_states_change_no_probability(kind):
    frames = frames_of(np.random.default_rng(4))
    model, coupling = started(kind, frames)
    table = model.emission.log_density(frames, coupling.columns)
    before = forward_backward(model.graph, table, frames.offsets)
    occupancy = before.posteriors.sum(axis=0)
    order = occupancy_order(coupling, occupancy)
    if kind == "product":
        assert order is None
        return
    graph = reordered_graph(model.graph, order)
    for name, emission in model.emission.emissions.items():
        emission.reorder(column_order(coupling.columns[name], order))
    table = model.emission.log_density(frames, coupling.columns)
    after = forward_backward(graph, table, frames.offsets)
    assert_allclose(after.log_likelihoods, before.log_likelihoods, rtol=1e-10)
    assert_allclose(after.posteriors, before.posteriors[:, order], atol=1e-9)
    for name, own in chain_posteriors(coupling, after.posteriors).items():
        frames_in_state = own.sum(axis=0)
        if kind == "hierarchical" and name == "state":
            frames_in_state = frames_in_state.reshape(2, 2)
        assert (np.diff(frames_in_state) <= 1e-9).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), n_states=st.integers(1, 5))
def test_a_graph_in_another_order_has_the_same_transitions(seed, n_states):
    rng = np.random.default_rng(seed)
    matrix = distributions(rng, n_states, n_states) * (
        rng.random((n_states,) * 2) < 0.7
    )
    graph = ergodic_graph(matrix, distributions(rng, n_states))
    order = rng.permutation(n_states)
    turned = reordered_graph(graph, order)
    assert_allclose(transition_matrix(turned), matrix[np.ix_(order, order)], rtol=1e-12)
    assert_allclose(turned.log_start, graph.log_start[order])
    # the ties are those of the same edges
    weights = np.exp(turned.log_weights)
    assert_allclose(
        weights, np.exp(graph.log_weights)[np.argsort(graph.tie)][turned.tie]
    )


# Errors


def test_too_many_joint_states_are_refused_with_their_cost():
    with pytest.raises(ValueError, match=r"coupled.* 289 joint .* 83,521 products"):
        coupled_coupling({"a": 17, "b": 17})
    with pytest.raises(ValueError, match=r"factorial.* 1089 joint states"):
        factorial_coupling(33, {"a": 33, "b": 1})


def test_couplings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="of two modalities, and there are 3"):
        product_coupling(["a", "b", "c"], 2, 1)
    with pytest.raises(ValueError, match="called 'shared'"):
        factorial_coupling(2, {"shared": 2})


def test_a_constant_feature_does_not_matter_in_a_factorial_gaussian():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(80, 2))
    weights = distributions(rng, 80, 4)
    fitted = []
    for table in (X, np.column_stack([X, np.full(80, 7.0)])):
        emission = FactorialGaussian((2, 2))
        emission.prepare(table)
        statistics = emission.statistics()
        emission.accumulate(statistics, table, weights)
        emission.maximize(statistics)
        density = emission.log_density(table)
        fitted.append(density - density.mean(axis=1, keepdims=True))
        assert emission.n_parameters == 3 * 2 + 3
    assert_allclose(fitted[1], fitted[0], atol=1e-9)
