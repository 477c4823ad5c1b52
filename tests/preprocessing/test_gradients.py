"""Gradients of sequences over time."""

import numpy as np
import pandas as pd
import pytest

from mmfusion import Modalities, PerModality
from mmfusion.preprocessing import SequenceGradients


def slow_gradient(x):
    """The formula, frame by frame."""
    rows, last = [], len(x) - 1
    for t in range(len(x)):
        before, after = max(t - 1, 0), min(t + 1, last)
        rows.append((x[after] - x[before]) / max(after - before, 1))
    return np.array(rows)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_frame_is_followed_by_its_gradient(n_frames, dtype):
    x = np.random.default_rng(0).normal(size=(n_frames, 3)).astype(dtype)
    (out,) = SequenceGradients().fit_transform([[x]]).blocks[0]
    assert out.dtype == dtype
    np.testing.assert_array_equal(out[:, :3], x)
    np.testing.assert_allclose(out[:, 3:], slow_gradient(x), rtol=1e-5, atol=1e-6)


def test_gaps_make_gradients_unknown_and_missing_sequences_stay_missing():
    gappy = np.array([[0.0], [np.nan], [2.0], [5.0]])
    X = Modalities({"audio": [gappy, None], "survey": np.eye(2)})
    out = SequenceGradients().fit(X).transform(X)
    np.testing.assert_array_equal(out["audio"][0][:, 1], [np.nan, 1, np.nan, 3])
    assert out["audio"][1] is None
    assert out["survey"] is X["survey"]


def test_names_of_features_and_one_modality_alone():
    X = Modalities({"audio": [np.ones((2, 2))], "survey": np.eye(1)})
    transformer = SequenceGradients().fit(X)
    assert transformer.get_feature_names_out().tolist() == [
        *("audio__x0", "audio__x1", "audio__x0_gradient", "audio__x1_gradient"),
        "survey__x0",
    ]
    alone = PerModality({"audio": SequenceGradients(), "survey": "passthrough"})
    assert alone.fit_transform(X)["audio"][0].shape == (2, 4)


def test_containers_hold_tables_and_sequences_stay_arrays():
    X = Modalities({"audio": [np.ones((2, 2))], "survey": np.eye(1)})
    out = SequenceGradients().set_output(transform="pandas").fit_transform(X)
    assert isinstance(out["survey"], pd.DataFrame)
    assert out["audio"][0].shape == (2, 4)
