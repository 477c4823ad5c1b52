"""A dense signal and sparse events: shapes, seeds, what decides the class."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mmfusion.datasets import make_dense_and_sparse
from mmfusion.datasets._dense_and_sparse import N_FEATURES, N_LATENTS, N_TYPES


def test_the_same_seed_gives_the_same_data():
    (one, y), (other, z) = (make_dense_and_sparse(5, random_state=3) for _ in "ab")
    assert_array_equal(y, z)
    for name in ("signal", "events"):
        for a, b in zip(one[name], other[name], strict=True):
            assert_array_equal(a, b)


def test_shapes_types_and_clocks():
    X, y = make_dense_and_sparse(
        20, 30, n_events=(2, 4), clock_offset=5, dtype="float32", random_state=0
    )
    assert set(y.tolist()) == {0, 1}
    for signal, events in zip(X["signal"], X["events"], strict=True):
        assert signal.shape == (30, N_FEATURES + 1)
        assert events.shape[1] == N_TYPES + 1
        assert 2 <= len(events) <= 4
        assert signal.dtype == events.dtype == np.float32
        assert_array_equal(signal[:, -1], np.arange(30))
        assert (np.diff(events[:, -1]) > 0).all()
        assert events[0, -1] >= 5


def test_the_class_is_the_sign_of_the_signal_at_the_events():
    X, y = make_dense_and_sparse(40, noise_std=0.0, random_state=0)
    fixed = np.random.RandomState(0)
    mixing = fixed.standard_normal((N_LATENTS, N_FEATURES))
    means = fixed.standard_normal((N_TYPES, N_TYPES))
    for signal, events, label in zip(X["signal"], X["events"], y, strict=True):
        curve = (signal[:, :-1] @ np.linalg.pinv(mixing))[:, 0]
        types = np.abs(events[:, None, :-1] - means).sum(-1).argmin(1)
        signs = np.where(types % 2, -1, 1)
        assert (signs @ curve[events[:, -1].astype(int)] > 0) == label


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_events": (3, 200)}, "more than n_frames=120"),
        ({"n_events": (0, 2)}, "n_events"),
        ({"noise_std": -1.0}, "noise_std"),
        ({"clock_offset": np.inf}, "clock_offset=inf is not finite"),
        ({"n_samples": 0}, "n_samples=0"),
        ({"dtype": int}, "floating"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        make_dense_and_sparse(**options)
