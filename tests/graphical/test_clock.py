"""The clock: frames of modalities with different rates, events, holds and times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.graphical._clock import frames_on_clock, select_sequences
from mmfusion.graphical._emissions import make_emission
from mmfusion.graphical._multimodal_emission import MultimodalEmission


def numbered(n, d=1):
    return np.arange(float(n * d)).reshape(n, d)


def test_equal_rates_need_no_steps():
    frames = frames_on_clock(
        [{"a": numbered(4), "b": numbered(4, 2)}, {"a": numbered(2)}]
    )
    assert frames.offsets.tolist() == [0, 4, 6]
    assert frames.n_steps == 6
    assert frames.modalities["a"].steps is None
    assert frames.modalities["a"].weights is None
    assert frames.modalities["b"].steps.tolist() == [0, 1, 2, 3]


@given(
    lengths=st.lists(st.integers(1, 12), min_size=2, max_size=3),
    clock=st.integers(1, 9),
)
@settings(max_examples=60, deadline=None)
def test_frames_are_at_the_steps_that_hold_their_times(lengths, clock):
    sample = {f"m{v}": numbered(n) for v, n in enumerate(lengths)}
    for steps_asked, n_steps in (
        (None, max(lengths)),
        (clock, clock),
        ("m1", lengths[1]),
    ):
        frames = frames_on_clock([sample], clock=steps_asked)
        assert frames.n_steps == n_steps
        for name, sequence in sample.items():
            own = frames.modalities[name]
            times = [(2 * j + 1) * n_steps for j in range(len(sequence))]
            expected = [t // (2 * len(sequence)) for t in times]
            found = np.arange(n_steps) if own.steps is None else own.steps
            assert found.tolist() == expected
            assert (own.values == sequence).all()
            weights = np.ones(len(found)) if own.weights is None else own.weights
            for step in set(expected):  # the mean of the densities of a step
                assert weights[found == step].sum() == pytest.approx(1)


def test_sums_count_every_frame_of_a_step():
    samples = [{"fast": numbered(6), "slow": numbered(2)}]
    own = frames_on_clock(samples, clock="slow", rate="sum").modalities["fast"]
    assert own.weights is None
    assert own.steps.tolist() == [0, 0, 0, 1, 1, 1]
    by_name = frames_on_clock(samples, clock=2, rate={"fast": "sum"})
    assert by_name.modalities["fast"].weights is None


def test_held_frames_count_once_in_all():
    frames = frames_on_clock([{"a": numbered(7), "e": numbered(3)}], slow={"e": "hold"})
    own = frames.modalities["e"]
    assert own.steps is None
    assert own.values.ravel().tolist() == [0, 0, 1, 1, 1, 2, 2]
    for value in range(3):
        assert own.weights[own.values.ravel() == value].sum() == pytest.approx(1)


def test_events_are_at_their_times():
    times = {"e": [np.array([0.0, 0.55, 1.0]), None]}
    samples = [
        {"a": numbered(10), "e": numbered(3)},
        {"a": numbered(4), "e": numbered(2)},
    ]
    own = frames_on_clock(samples, times=times).modalities["e"]
    assert own.steps.tolist() == [0, 5, 9, 11, 13]
    held = frames_on_clock(samples, times=times, slow="hold").modalities["e"]
    assert held.values.ravel()[:10].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 2, 2]


def test_the_log_density_of_a_step_sums_over_its_frames():
    rng = np.random.default_rng(0)
    samples = [
        {"fast": rng.normal(size=(11, 2)), "slow": rng.normal(size=(3, 1))},
        {"slow": rng.normal(size=(2, 1))},
        {"fast": rng.normal(size=(5, 2))},
    ]
    for rate in ("mean", "sum"):
        frames = frames_on_clock(samples, clock=4, rate=rate)
        emission = MultimodalEmission(
            {name: make_emission("gaussian", 2) for name in frames.modalities}
        )
        emission.prepare(frames)
        expected = np.zeros((12, 2))
        for i, sample in enumerate(samples):
            for name, sequence in sample.items():
                density = emission.emissions[name].log_density(sequence)
                steps = (2 * np.arange(len(sequence)) + 1) * 4 // (2 * len(sequence))
                for step in range(4):
                    own = density[steps == step]
                    if len(own):
                        total = own.mean(axis=0) if rate == "mean" else own.sum(axis=0)
                        expected[4 * i + step] += total
        assert emission.log_density(frames) == pytest.approx(expected)


@given(seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_selected_sequences_equal_those_placed_alone(seed):
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(5):
        sample = {name: numbered(rng.integers(1, 7)) for name in "abc"}
        for name in rng.choice(list("abc"), rng.integers(0, 3), replace=False):
            del sample[str(name)]
        samples.append(sample)
    positions = rng.integers(0, 5, 4)
    slow = str(rng.choice(["once", "hold"]))
    selected = select_sequences(
        frames_on_clock(samples, slow=slow, names="abc"), positions
    )
    alone = frames_on_clock([samples[i] for i in positions], slow=slow, names="abc")
    assert (selected.offsets == alone.offsets).all()
    for name, own in selected.modalities.items():
        if name not in alone.modalities:
            assert not len(own.values)
            continue
        other = alone.modalities[name]
        regular = np.arange(alone.n_steps)
        found = regular if own.steps is None else own.steps
        assert (found == (regular if other.steps is None else other.steps)).all()
        assert (own.values == other.values).all()
        ones = np.ones(len(found))
        weights = ones if own.weights is None else own.weights
        expected = ones if other.weights is None else other.weights
        assert weights == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clock": "c"}, "clock 'c' is no modality: give one of 'a', 'e'"),
        ({"clock": 0}, "at least one step"),
        ({"rate": "max"}, "rate 'max' of 'a' is none of"),
        ({"slow": {"e": "never"}}, "slow 'never' of 'e' is none of"),
        ({"times": {"e": [np.array([0.5])]}}, "'e' has 2 frames, but times of shape"),
        ({"times": {"e": [np.array([0.5, 2])]}}, "of modality 'e' must be between 0"),
        ({"times": {"e": [np.array([0.5, 0.2])]}}, "of modality 'e' must be in ascend"),
    ],
)
def test_errors_name_the_option_or_the_modality(options, message):
    with pytest.raises(ValueError, match=message):
        frames_on_clock([{"a": numbered(4), "e": numbered(2)}], **options)


def test_a_sample_without_frames_is_refused():
    for sample in ({}, {"a": np.empty((0, 2))}):
        with pytest.raises(ValueError, match="sample 1 has no frames"):
            frames_on_clock([{"a": numbered(2, 2)}, sample])
