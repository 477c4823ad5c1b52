"""Lattice of the asynchronous hidden Markov model against enumeration and limits."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.graphical._asynchronous_lattice import (
    AsynchronousChain,
    asynchronous_log_likelihood,
    asynchronous_path,
    asynchronous_posteriors,
    event_bounds,
)
from mmfusion.graphical._graph_builders import ergodic_graph
from mmfusion.graphical._inference import forward_backward


def random_case(seed, n_steps, n_events, n_states, *, zeros=False):
    rng = np.random.default_rng(seed)
    transitions = rng.dirichlet(np.ones(n_states), n_states)
    if zeros:  # left to right
        transitions = np.triu(transitions)
        transitions /= transitions.sum(axis=1, keepdims=True)
    start = rng.dirichlet(np.ones(n_states))
    chain = AsynchronousChain(start, transitions, rng.uniform(0.1, 0.9, n_states))
    shape = n_steps, n_events, n_states
    return chain, rng.standard_normal((n_steps, n_states)), rng.standard_normal(shape)


def enumerate_paths(chain, log_frames, log_events, bounds):
    """Sum over all states and steps of the events, one by one."""
    (n_steps, n_states), n_events = log_frames.shape, log_events.shape[1]
    states, events = np.zeros((n_steps, n_states)), np.zeros((n_steps, n_events))
    event_states = np.zeros((n_events, n_states))
    counts = np.zeros((n_states, n_states))
    total = best = 0.0
    for steps in combinations(range(n_steps), n_events):
        done = np.searchsorted(steps, np.arange(n_steps + 1))
        if (done < bounds[0]).any() or (done > bounds[1]).any():
            continue
        for path in product(range(n_states), repeat=n_steps):
            weight = chain.start[path[0]]
            for t, i in enumerate(path):
                if t:
                    weight *= chain.transitions[path[t - 1], i]
                weight *= np.exp(log_frames[t, i])
                if t in steps:
                    s = steps.index(t)
                    weight *= np.exp(log_events[t, s, i]) * chain.event_probabilities[i]
                else:
                    weight *= 1 - chain.event_probabilities[i]
            total, best = total + weight, max(best, weight)
            states[range(n_steps), path] += weight
            events[steps, range(n_events)] += weight
            event_states[range(n_events), [path[t] for t in steps]] += weight
            np.add.at(counts, (path[:-1], path[1:]), weight)
    return total, best, *(x / total for x in (states, events, event_states, counts))


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 5),
    st.integers(0, 3),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([None, 1.0]),
)
def test_sums_over_paths_are_those_of_an_enumeration(
    seed, n_steps, n_events, n_states, zeros, band
):
    n_events = min(n_events, n_steps)
    case = random_case(seed, n_steps, n_events, n_states, zeros=zeros)
    bounds = event_bounds(n_steps, n_events, band)
    total, best, *expected = enumerate_paths(*case, bounds)
    found = asynchronous_posteriors(*case, band=band)
    np.testing.assert_allclose(found.log_likelihood, np.log(total), rtol=1e-12)
    np.testing.assert_allclose(
        asynchronous_log_likelihood(*case, band=band), found.log_likelihood
    )
    for own, other in zip(found[1:], expected, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-13)
    path = asynchronous_path(*case, band=band)
    np.testing.assert_allclose(path.score, np.log(best), rtol=1e-10)
    assert (np.diff(path.steps) > 0).all()


def test_values_are_those_of_an_independent_enumeration():
    log_x = np.array(
        [
            [-1.4499, -0.4602],
            [0.7432, -0.0825],
            [0.0811, -0.2907],
            [1.1546, -0.0215],
            [-2.2004, -0.6921],
        ]
    )
    log_xy = np.array(
        [
            [[-1.9688, -3.2514], [-0.5301, 1.3336], [0.0471, -1.1725]],
            [[-0.9407, 1.1306], [0.1576, 0.048], [-0.0535, 0.0384]],
            [[0.8054, 0.5526], [0.2157, -1.0429], [0.5111, -0.6842]],
            [[1.0938, -1.2711], [-0.1376, -0.0074], [-1.3246, 1.722]],
            [[1.4604, -0.4636], [0.7717, 0.3787], [-2.6136, 0.2504]],
        ]
    )
    chain = AsynchronousChain(
        np.array([0.717, 0.283]),
        np.array([[0.404, 0.596], [0.789, 0.211]]),
        np.array([0.4, 0.7]),
    )
    case = chain, log_x, log_xy - log_x[:, None]
    found = asynchronous_posteriors(*case)
    assert found.log_likelihood == pytest.approx(-2.1721835708899206, abs=1e-12)
    assert found.events[2, 1] == pytest.approx(0.5311636198037001, abs=1e-12)
    path = asynchronous_path(*case)
    assert path.score == pytest.approx(-3.860929888656942, abs=1e-12)
    assert path.states.tolist() == [0, 1, 0, 0, 1]
    assert path.steps.tolist() == [1, 2, 4]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_with_no_event_or_one_at_each_step_it_is_a_hidden_markov_model(share):
    chain, log_frames, _ = random_case(0, 60, 0, 3)
    n_events = 60 if share else 0
    log_events = np.random.default_rng(1).standard_normal((n_events, 3))
    chain = chain._replace(event_probabilities=np.full(3, share))
    graph = ergodic_graph(chain.transitions, chain.start)
    table = log_frames + log_events if share else log_frames
    hmm = forward_backward(graph, table, np.array([0, 60]))
    found = asynchronous_posteriors(chain, log_frames, log_events)
    assert found.log_likelihood == pytest.approx(hmm.log_likelihoods[0], rel=1e-12)
    np.testing.assert_allclose(found.states, hmm.posteriors, atol=1e-12)
    np.testing.assert_allclose(found.events, np.eye(60)[:, :n_events])


def test_long_lattices_have_consistent_counts():
    chain, log_frames, _ = random_case(2, 400, 0, 3)
    log_events = 5 * np.random.default_rng(3).standard_normal((30, 3))
    found = asynchronous_posteriors(chain, 50 * log_frames, log_events)
    np.testing.assert_allclose(found.states.sum(axis=1), 1)
    np.testing.assert_allclose(found.events.sum(axis=0), 1)
    np.testing.assert_allclose(found.event_states.sum(axis=1), 1)
    np.testing.assert_allclose(found.transition_counts.sum(), 399)
    other = asynchronous_log_likelihood(chain, 50 * log_frames, log_events)
    assert other == pytest.approx(found.log_likelihood)


def test_more_events_than_frames_are_refused():
    chain, log_frames, _ = random_case(0, 3, 0, 2)
    with pytest.raises(ValueError, match="there are 4 events and 3 frames"):
        asynchronous_posteriors(chain, log_frames, np.zeros((4, 2)))


def test_without_a_path_all_is_zero():
    chain, log_frames, _ = random_case(0, 3, 0, 2)
    chain = chain._replace(event_probabilities=np.zeros(2))
    found = asynchronous_posteriors(chain, log_frames, np.zeros((2, 2)))
    assert found.log_likelihood == -np.inf
    assert not found.events.any()
    path = asynchronous_path(chain, log_frames, np.zeros((2, 2)))
    assert path.score == -np.inf
    assert (path.steps == -1).all()
