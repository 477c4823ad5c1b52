"""Asynchronous chain models: marginals of what is missing, limits, and learning."""

import copy
from itertools import combinations, product

import numpy as np
import pytest

from mmfusion.graphical._asynchronous_lattice import (
    AsynchronousChain,
    asynchronous_posteriors,
)
from mmfusion.graphical._asynchronous_learning import set_asynchronous_start
from mmfusion.graphical._asynchronous_model import (
    AsynchronousModel,
    counts_of_steps,
    event_chain,
)
from mmfusion.graphical._chain_model import (
    ChainModel,
    decode_states,
    fit_chain_model,
    inlier_probability,
    sample_sequences,
    score_sequences,
    state_posteriors,
)
from mmfusion.graphical._clock import frames_on_clock
from mmfusion.graphical._gaussian import DiagonalGaussian
from mmfusion.graphical._graph_builders import ergodic_graph
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.graphical._outliers import OutlierComponent

N_STATES = 2


def samples(seed, shapes):
    """Samples with numbers of frames and of events; None lacks the modality."""
    rng = np.random.default_rng(seed)
    found = []
    for shape in shapes:
        names = zip(("audio", "words"), shape, strict=True)
        found.append({v: rng.normal(size=(n, 2)) for v, n in names if n is not None})
    return found


def placed(data):
    return frames_on_clock(data, clock="audio", names=["audio", "words"])


def random_model(seed=0, outliers=None, weights=None):
    rng = np.random.default_rng(seed)
    emissions = {}
    data = placed(samples(9, [(20, 10)]))
    for name in ("audio", "words"):
        own = DiagonalGaussian(N_STATES)
        own.prepare(data.modalities[name].values)
        own.set_parameters(rng.normal(size=(N_STATES, 2)), rng.uniform(0.5, 1, (2, 2)))
        emissions[name] = own
    graph = ergodic_graph(
        rng.dirichlet(np.ones(N_STATES), N_STATES), rng.dirichlet(np.ones(N_STATES))
    )
    emission = MultimodalEmission(emissions, weights or {}, outliers or {})
    return AsynchronousModel(
        graph,
        emission,
        signal="audio",
        event_probabilities=rng.uniform(0.2, 0.8, N_STATES),
    )


def enumerated(model, sample):
    """The likelihood by a sum over all states and steps of the events."""
    chain = model.chain
    x, y = (np.exp(t) for t in model.log_densities(sample["audio"], sample["words"]))
    total = 0.0
    for steps in combinations(range(len(x)), len(y)):
        for path in product(range(N_STATES), repeat=len(x)):
            weight, s = chain.start[path[0]], 0
            for t, i in enumerate(path):
                weight *= x[t, i] * (chain.transitions[path[t - 1], i] if t else 1)
                if t in steps:
                    weight *= chain.event_probabilities[i] * y[s, i]
                    s += 1
                else:
                    weight *= 1 - chain.event_probabilities[i]
            total += weight
    return total


def test_scores_are_sums_over_states_and_steps_of_events():
    model, data = random_model(), samples(0, [(4, 2), (3, 3), (5, 1)])
    found = score_sequences(model, placed(data))
    expected = [np.log(enumerated(model, sample)) for sample in data]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def hidden_signals(chain, log_events, n_longest=120):
    """Posteriors of events for each number of frames without values, up to the last."""
    for n_steps in range(len(log_events), n_longest):
        table = np.repeat(log_events[None], n_steps, axis=0)
        table[:-1, -1] = -np.inf  # the last frame has the last event
        frames = np.zeros((n_steps, len(chain.start)))
        yield asynchronous_posteriors(chain, frames, table)


def test_without_a_signal_scores_sum_over_all_numbers_of_frames():
    model, data = random_model(1), samples(1, [(None, 1), (None, 4)])
    found = score_sequences(model, placed(data))
    posteriors = state_posteriors(model, placed(data)).posteriors
    events = model.emission.of("words")
    start = 0
    for sample, score in zip(data, found, strict=True):
        own = [{"words": sample["words"]}]
        log_events = events.log_density(frames_on_clock(own, names=["words"]))
        parts = list(hidden_signals(model.chain, log_events))
        weights = np.exp([part.log_likelihood for part in parts])
        assert score == pytest.approx(np.log(weights.sum()), rel=1e-10)
        states = np.average([p.event_states for p in parts], axis=0, weights=weights)
        stop = start + len(log_events)
        np.testing.assert_allclose(posteriors[start:stop], states, rtol=1e-8)
        start = stop


def test_expected_steps_between_events_are_those_of_all_numbers_of_frames():
    rng = np.random.default_rng(3)
    chain = AsynchronousChain(
        rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(3), 3), rng.uniform(0.2, 1, 3)
    )
    log_events = rng.normal(size=(3, 3))
    parts = list(hidden_signals(chain, log_events))
    weights = np.exp([part.log_likelihood for part in parts])
    transitions = np.average(
        [p.transition_counts for p in parts], axis=0, weights=weights
    )
    starts = np.average([p.states[0] for p in parts], axis=0, weights=weights)
    own = event_chain(chain)
    # pairs of states at events, by enumeration
    first, counts, total = np.zeros(3), np.zeros((3, 3)), 0.0
    for i, j, k in product(range(3), repeat=3):
        weight = own.start[i] * own.transitions[i, j] * own.transitions[j, k]
        weight *= np.exp(log_events[[0, 1, 2], [i, j, k]].sum())
        first[i] += weight
        counts[i, j] += weight
        counts[j, k] += weight
        total += weight
    found = counts_of_steps(chain, first / total, counts / total)
    np.testing.assert_allclose(found[0], starts, rtol=1e-8)
    np.testing.assert_allclose(found[1], transitions, rtol=1e-8)


def test_without_events_the_chain_of_the_signal_is_left():
    model, data = random_model(2), placed(samples(2, [(6, None), (4, None)]))
    chain = ChainModel(model.graph, model.emission.of("audio"))
    for function in (score_sequences, lambda *a: state_posteriors(*a).posteriors):
        np.testing.assert_allclose(function(model, data), function(chain, data))
    for found, expected in zip(
        decode_states(model, data), decode_states(chain, data), strict=True
    ):
        np.testing.assert_allclose(found, expected)


def test_events_without_weight_are_not_read():
    model = random_model(2, weights={"words": 0.0})
    both = samples(2, [(6, 2), (4, 1)])
    alone = [{"audio": sample["audio"]} for sample in both]
    np.testing.assert_allclose(
        score_sequences(model, placed(both)), score_sequences(model, placed(alone))
    )


def test_a_certain_event_at_every_frame_is_the_joint_chain():
    model, data = random_model(3), placed(samples(3, [(6, 6), (4, 4)]))
    model.event_probabilities = np.ones(N_STATES)
    joint = ChainModel(model.graph, model.emission)
    np.testing.assert_allclose(
        score_sequences(model, data), score_sequences(joint, data)
    )
    found, expected = state_posteriors(model, data), state_posteriors(joint, data)
    np.testing.assert_allclose(found.posteriors, expected.posteriors)
    np.testing.assert_allclose(found.edge_counts, expected.edge_counts)
    np.testing.assert_array_equal(
        decode_states(model, data)[0], decode_states(joint, data)[0]
    )


SHAPES = [(9, 3), (12, 5), (8, None), (None, 4), (15, 2), (7, 7), (None, 2)]


@pytest.mark.parametrize("share", [0.0, 0.05])
def test_the_objective_never_falls_whatever_is_missing(share):
    outliers = {n: OutlierComponent(share, 5.0) for n in ("audio", "words") if share}
    model, data = random_model(4, outliers), placed(samples(4, SHAPES))
    model.emission.prepare(data)
    states = np.arange(data.n_steps) % N_STATES
    set_asynchronous_start(model, data, states)
    weight = np.linspace(0.5, 2, len(SHAPES))
    history = fit_chain_model(
        model, data, max_iter=30, tol=0, sample_weight=weight
    ).objective
    assert (np.diff(history) >= -1e-9 * np.abs(history[:-1])).all()
    assert history[-1] > history[0] + 1


def test_a_weight_is_as_many_copies():
    data = samples(5, SHAPES)
    once, model = random_model(5), random_model(5)
    fit_chain_model(
        model, placed(data), max_iter=5, sample_weight=np.array([2, 1, 1, 2, 1, 1, 3])
    )
    copies = [data[i] for i in (0, 0, 1, 2, 3, 3, 4, 5, 6, 6, 6)]
    fit_chain_model(once, placed(copies), max_iter=5)
    for own, other in zip(model.chain, once.chain, strict=True):
        np.testing.assert_allclose(own, other)


def test_parameters_of_drawn_sequences_are_found():
    true = random_model(6)
    true.event_probabilities = np.array([0.1, 0.6])
    for emission in true.emission.emissions.values():
        emission.set_parameters(
            np.array([[-2.0, 0], [2, 0]]), np.full((N_STATES, 2), 0.5)
        )
    drawn, _ = sample_sequences(true, 60, 40, np.random.RandomState(0))
    data = placed([{k: drawn[i][k] for k in ("audio", "words")} for i in range(60)])
    model = copy.deepcopy(true)
    model.emission.prepare(data)
    states = (data.modalities["audio"].values[:, 0] > 0).astype(int)
    set_asynchronous_start(model, data, states)
    assert fit_chain_model(model, data).converged
    np.testing.assert_allclose(model.event_probabilities, [0.1, 0.6], atol=0.05)
    np.testing.assert_allclose(
        model.chain.transitions, true.chain.transitions, atol=0.05
    )
    means = model.emission.emissions["words"].means
    np.testing.assert_allclose(means, [[-2, 0], [2, 0]], atol=0.2)


def test_events_far_from_all_states_are_outliers():
    outliers = {name: OutlierComponent(0.01, 5.0) for name in ("audio", "words")}
    model, data = random_model(7, outliers), samples(7, [(8, 3), (6, None)])
    data[0]["words"][1] = 50.0
    frames = placed(data)
    posteriors = state_posteriors(model, frames).posteriors
    found = inlier_probability(model, frames, posteriors)
    assert found["audio"].shape == (14,)
    assert found["words"].shape == (3,)
    assert found["words"][1] < 1e-3 < found["words"][[0, 2]].min()


def test_more_events_than_frames_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match="there are 3 events and 2 frames"):
        score_sequences(random_model(), placed(samples(0, [(4, 2), (2, 3)])))
