"""Chain models: scores of missing data, sampling, numbering, parameters; starts."""

from __future__ import annotations

import numpy as np
import pytest

from mmfusion.graphical import ergodic_graph, left_to_right_graph
from mmfusion.graphical._chain_model import (
    ChainModel,
    decode_states,
    log_emissions,
    n_free_parameters,
    sample_sequences,
    score_sequences,
    state_posteriors,
)
from mmfusion.graphical._clock import frames_on_clock
from mmfusion.graphical._emissions import make_emission
from mmfusion.graphical._gaussian import DiagonalGaussian
from mmfusion.graphical._graph import transition_matrix
from mmfusion.graphical._initialization import (
    equal_segments,
    initialize_emission,
    kmeans_states,
)
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.graphical._outliers import OutlierComponent


def gaussian(means, variance=1.0):
    emission = DiagonalGaussian(len(means))
    table = np.asarray(means, dtype=float)
    emission.set_parameters(table, np.full_like(table, variance))
    return emission


def two_modalities(outlier=None):
    emission = MultimodalEmission(
        {"a": gaussian([[0, 0], [5, 5]]), "b": gaussian([[-3], [3]])},
        {},
        {"a": outlier, "b": outlier},
    )
    return ChainModel(ergodic_graph([[0.9, 0.1], [0.2, 0.8]], [0.7, 0.3]), emission)


@pytest.mark.parametrize("outlier", [None, OutlierComponent()])
def test_missing_modalities_frames_and_features_are_marginalised(outlier):
    model = two_modalities(outlier)
    a = np.random.default_rng(0).normal(size=(6, 2))
    absent = {"a": a}
    of_nan = {"a": a, "b": np.full((6, 1), np.nan)}
    frames = frames_on_clock([absent, of_nan])
    scores = score_sequences(model, frames)
    alone = MultimodalEmission({"a": model.emission.emissions["a"]}, {}, {"a": outlier})
    expected = score_sequences(
        ChainModel(model.graph, alone), frames_on_clock([absent])
    )
    assert scores == pytest.approx(np.repeat(expected, 2))
    nothing = frames_on_clock([{"a": np.full((4, 2), np.nan)}])
    assert score_sequences(model, nothing) == pytest.approx(0, abs=1e-12)
    prior = np.array([0.7, 0.3])
    rows = []
    for _ in range(4):
        rows.append(prior)
        prior = prior @ transition_matrix(model.graph)
    assert state_posteriors(model, nothing).posteriors == pytest.approx(np.array(rows))


def test_posteriors_of_states_and_of_columns():
    graph = left_to_right_graph(2, min_duration=2)
    model = ChainModel(graph, MultimodalEmission({"x": gaussian([[0], [1]])}))
    frames = frames_on_clock([{"x": np.random.default_rng(0).normal(size=(6, 1))}])
    by_state = state_posteriors(model, frames, by_state=True).posteriors
    by_column = state_posteriors(model, frames).posteriors
    assert by_state.shape == (6, 4)
    sums = by_state.reshape(6, 2, 2).sum(axis=2)
    assert by_column == pytest.approx(sums)


def test_sampled_paths_follow_the_graph_and_end_where_they_may():
    rng = np.random.RandomState(0)
    graph = left_to_right_graph(3, min_duration=2, max_duration=4)
    model = ChainModel(graph, MultimodalEmission({"x": gaussian([[0], [50], [100]])}))
    samples, states = sample_sequences(model, 30, [7, 11, 9] * 10, rng)
    for sample, path, n in zip(samples, states, [7, 11, 9] * 10, strict=True):
        assert len(path) == len(sample["x"]) == n
        columns = graph.emits[path]
        lengths = np.bincount(columns, minlength=3)
        assert (np.diff(columns) >= 0).all()
        assert lengths.min() >= 2
        assert lengths.max() <= 4
        assert (np.round(sample["x"][:, 0] / 50) == columns).all()
    with pytest.raises(ValueError, match="no path of the model has 13 steps"):
        sample_sequences(model, 1, 13, rng)


def test_sampled_transitions_have_their_probabilities():
    model = two_modalities()
    _, states = sample_sequences(model, 60, 100, np.random.RandomState(1))
    counts = np.zeros((2, 2))
    for path in states:
        np.add.at(counts, (path[:-1], path[1:]), 1)
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert shares == pytest.approx(np.array([[0.9, 0.1], [0.2, 0.8]]), abs=0.03)
    starts = np.mean([path[0] for path in states])
    assert starts == pytest.approx(0.3, abs=0.18)


def test_sampled_modalities_read_their_own_columns():
    emission = MultimodalEmission(
        {"a": gaussian([[0], [50]]), "b": gaussian([[0], [50]])}
    )
    columns = {"a": np.array([0, 0, 1, 1]), "b": np.array([0, 1, 0, 1])}
    graph = ergodic_graph(np.full((4, 4), 0.25), np.full(4, 0.25))
    model = ChainModel(graph, emission, columns)
    samples, states = sample_sequences(model, 1, 50, np.random.RandomState(0))
    for name, column in columns.items():
        found = np.round(samples[0][name][:, 0] / 50)
        assert (found == column[states[0]]).all()
    frames = frames_on_clock(samples)
    assert log_emissions(model, frames).shape == (50, 4)
    assert (decode_states(model, frames)[0] == states[0]).all()


def test_free_parameters_count_each_distribution_once():
    model = two_modalities()
    # means and variances of 2 + 1 features, two rows of transitions, first states
    assert n_free_parameters(model) == 2 * 2 * 3 + 2 + 1
    model.emission.modality_weights["b"] = 0.0
    assert n_free_parameters(model) == 2 * 2 * 2 + 2 + 1
    tied = ChainModel(
        left_to_right_graph(3, min_duration=2),
        MultimodalEmission({"x": make_emission("gaussian", 3, covariance_type="tied")}),
    )
    tied.emission.prepare(frames_on_clock([{"x": np.eye(4)[:, :2]}]))
    # of each of two states that may be left, the probability to stay
    assert n_free_parameters(tied) == 3 * 2 + 3 + 2


def test_equal_segments_ascend_within_sequences():
    segments = equal_segments(np.array([0, 7, 9, 10]), 3)
    assert segments.tolist() == [0, 0, 0, 1, 1, 2, 2, 0, 1, 0]


def test_kmeans_finds_states_in_any_unit_and_with_gaps():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 90)
    a = np.eye(3)[truth] + 0.05 * rng.normal(size=(90, 3))
    b = 1e6 * (truth[::3, None] + 0.05 * rng.normal(size=(30, 1)))
    a[rng.random(a.shape) < 0.1] = np.nan
    frames = frames_on_clock([{"a": a, "b": b}])
    states = kmeans_states(frames, 3, np.random.RandomState(0))
    agreement = np.zeros((3, 3))
    np.add.at(agreement, (truth, states), 1)
    assert agreement.max(axis=1).sum() > 80
    few = frames_on_clock([{"a": np.repeat([[0.0], [1.0]], 4, axis=0)}])
    assert len(set(kmeans_states(few, 5, np.random.RandomState(0)))) == 2


def test_steps_without_a_state_are_left_out_of_the_start():
    frames = frames_on_clock([{"x": np.array([[0.0], [2], [100], [7]])}])
    emission = MultimodalEmission({"x": make_emission("gaussian", 2)})
    emission.prepare(frames)
    initialize_emission(emission, frames, np.array([0, 0, -1, 1]))
    assert emission.emissions["x"].means.ravel() == pytest.approx([1, 7])
