"""Properties of generated sequences of which one modality leads the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion.datasets import make_audio_visual_sequences


def test_the_same_seed_gives_the_same_data():
    first, second = (
        make_audio_visual_sequences(missing_rate=0.2, random_state=3) for _ in range(2)
    )
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1], second[1])
    for one, other in zip(first[2], second[2], strict=True):
        np.testing.assert_array_equal(one, other)
    assert make_audio_visual_sequences(random_state=4)[0] != first[0]


@settings(deadline=None, max_examples=30)
@given(
    n_states=st.integers(2, 6),
    shortest=st.integers(1, 5),
    longer=st.integers(0, 4),
    delay=st.floats(-1, 1),
    seed=st.integers(0, 99),
)
def test_the_first_modality_enters_every_state_a_delay_after_the_second(
    n_states, shortest, longer, delay, seed
):
    delay = round(delay * (shortest - 1))
    X, delays, states = make_audio_visual_sequences(
        3,
        n_states=n_states,
        durations=(shortest, shortest + longer),
        delays=(delay, delay),
        random_state=seed,
    )
    assert delays.tolist() == [delay] * 3
    for path, audio, video in zip(states, *X.blocks, strict=True):
        assert len(path) == len(audio) == len(video)
        assert path[0].tolist() == [0, 0]
        assert path[-1].tolist() == [n_states - 1] * 2
        assert np.isin(np.diff(path, axis=0), [0, 1]).all()
        entered = [np.searchsorted(side, range(1, n_states)) for side in path.T]
        np.testing.assert_array_equal(entered[0] - entered[1], delay)
        assert np.abs(path[:, 0] - path[:, 1]).max() <= 1
        in_state = np.bincount(path[:, 1])
        assert shortest <= in_state.min() <= in_state.max() <= shortest + longer


def test_frames_are_the_mean_of_their_state_and_noise():
    X, _, states = make_audio_visual_sequences(
        30, {"sound": 2, "lips": 5}, noise_std={"sound": 0, "lips": 0.3}, random_state=0
    )
    assert X.names == ("sound", "lips")
    all_states = np.concatenate(states)
    for v, (block, std) in enumerate(zip(X.blocks, (0, 0.3), strict=True)):
        frames = np.concatenate(list(block))
        spread = [frames[all_states[:, v] == k].std(axis=0) for k in range(8)]
        np.testing.assert_allclose(np.array(spread), std, rtol=0.15, atol=1e-12)


def test_missing_shares_are_exact_and_no_sample_lacks_both():
    X, _, states = make_audio_visual_sequences(
        20, missing_rate={"audio": 0.5, "video": 0.25}, random_state=0
    )
    np.testing.assert_array_equal((~X.observed).sum(axis=0), [10, 5])
    assert X.observed.any(axis=1).all()
    assert len(states) == 20


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (dict(n_samples=0), ValueError, "n_samples=0"),
        (dict(n_states=1), ValueError, "n_states=1"),
        (dict(n_features=(2, 2, 2)), ValueError, "has 3 modalities"),
        (dict(durations=(3, 2)), ValueError, "of at least 1"),
        (dict(durations=5), ValueError, "give a range"),
        (dict(durations=(1.5, 2)), TypeError, "of integers"),
        (
            dict(durations=(3, 5), delays=(0, 3)),
            ValueError,
            "from -2 to 2, shorter than",
        ),
        (dict(noise_std=1e308), ValueError, "overflows"),
        (dict(missing_rate=0.6), ValueError, "add up to at most 1"),
    ],
)
def test_invalid_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        make_audio_visual_sequences(**options)
