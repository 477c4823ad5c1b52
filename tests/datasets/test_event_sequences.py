"""A dense signal and sparse events: what the simulation promises."""

import numpy as np
import pytest

from mmfusion.datasets import make_event_sequences


def test_same_seed_same_data():
    one, other = (make_event_sequences(missing_rate=0.2, random_state=3) for _ in "ab")
    for name in one[0].names:
        for x, y in zip(one[0][name], other[0][name], strict=True):
            assert (x is None) == (y is None)
            if x is not None:
                np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(np.concatenate(one[1]), np.concatenate(other[1]))


def test_events_are_at_the_middle_of_bursts_of_their_type():
    X, frames, types = make_event_sequences(
        6, {"sensor": 4, "log": 2}, noise_std=0.0, duration=5, random_state=0
    )
    assert X.names == ("sensor", "log")
    of_type = {}
    for signal, events, at, kind in zip(
        X["sensor"], X["log"], frames, types, strict=True
    ):
        assert len(events) == len(at) == len(kind)
        for t, event, c in zip(at, events, kind, strict=True):
            burst = signal[t - 2 : t + 3]
            assert (burst == burst[0]).all()
            assert not signal[[t - 3, t + 3]].any()
            expected = of_type.setdefault(c, (burst[0], event))
            np.testing.assert_array_equal(burst[0], expected[0])
            np.testing.assert_array_equal(event, expected[1])
    assert len(of_type) == 3


def test_distractors_have_no_event():
    options = {"noise_std": 0.0, "n_samples": 10, "random_state": 0}
    with_, frames, _ = make_event_sequences(n_distractor_types=2, **options)
    without, own, _ = make_event_sequences(n_distractor_types=0, **options)

    def n_bursts(X):
        return sum(np.diff(x.any(axis=1), prepend=False).sum() / 2 for x in X["signal"])

    assert n_bursts(without) == sum(map(len, own))
    assert n_bursts(with_) > 1.3 * sum(map(len, frames))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_features": (4, 3, 2)}, ValueError, "has 3 modalities"),
        ({"n_events": (0, 3)}, ValueError, "n_events"),
        ({"n_events": (3.5, 4)}, TypeError, "n_events"),
        ({"pauses": (5, 2)}, ValueError, "pauses"),
        ({"duration": 0}, ValueError, "duration"),
        ({"n_distractor_types": -1}, ValueError, "n_distractor_types"),
    ],
)
def test_options_out_of_range_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        make_event_sequences(**options)
