"""Statistics over time, against loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmfusion import Modalities
from mmfusion.preprocessing import SequencePooling

ALL = ["length", "first", "mean", "std", "min", "max", "median", "last"]


def pooled_by_loops(sequence, statistics):
    """One value after another, by Python's own arithmetic."""
    row = []
    for statistic in statistics:
        if statistic == "length":
            row.append(len(sequence))
            continue
        for j in range(sequence.shape[1]):
            values = [float(v) for v in sequence[:, j] if not np.isnan(v)]
            if not values:
                row.append(np.nan)
                continue
            mean = sum(values) / len(values)
            ordered = sorted(values)
            low, high = ordered[(len(values) - 1) // 2], ordered[len(values) // 2]
            row.append(
                {
                    "mean": mean,
                    "std": (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5,
                    "min": ordered[0],
                    "max": ordered[-1],
                    "median": (low + high) / 2,
                    "first": values[0],
                    "last": values[-1],
                }[statistic]
            )
    return row


def draw_sequence(rng, n_frames, width, gaps):
    sequence = rng.normal(size=(n_frames, width))
    if gaps == "frames":
        sequence[rng.random(n_frames) < 0.4] = np.nan
    elif gaps == "values":
        sequence[rng.random((n_frames, width)) < 0.4] = np.nan
    if np.isnan(sequence).all():  # would be missing
        sequence[0, 0] = 1
    return sequence


@settings(max_examples=80, deadline=None)
@given(
    statistics=st.permutations(ALL).flatmap(
        lambda order: st.integers(1, len(ALL)).map(lambda n: order[:n])
    ),
    n_frames=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    width=st.integers(1, 3),
    gaps=st.sampled_from([None, "frames", "values"]),
    seed=st.integers(0, 99),
)
def test_statistics_are_those_of_a_loop(statistics, n_frames, width, gaps, seed):
    rng = np.random.default_rng(seed)
    sequences = [draw_sequence(rng, n, width, gaps) for n in n_frames]
    pooling = SequencePooling(statistics)
    found = pooling.fit_transform({"audio": sequences})["audio"]
    expected = [pooled_by_loops(sequence, statistics) for sequence in sequences]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert len(pooling.get_feature_names_out()) == found.shape[1]


def test_names_tell_modality_feature_and_statistic():
    X = Modalities({"audio": [np.eye(2)], "survey": np.ones((1, 2))})
    names = SequencePooling(["max", "length", "std"]).fit(X).get_feature_names_out()
    assert names.tolist() == [
        "audio__x0_max",
        "audio__x1_max",
        "audio__length",
        "audio__x0_std",
        "audio__x1_std",
        "survey__x0",
        "survey__x1",
    ]
    alone = SequencePooling(["max", "length"]).fit([[np.ones((2, 1))]])
    assert alone.get_feature_names_out().tolist() == ["x0_max", "length"]


def test_the_order_of_frames_counts_only_for_the_first_and_the_last():
    sequence = np.random.default_rng(0).normal(size=(9, 2))
    X = Modalities([[sequence, sequence[::-1]]])
    unordered = [s for s in ALL if s not in ("first", "last")]
    forth, back = SequencePooling(unordered).fit_transform(X).blocks[0]
    np.testing.assert_allclose(forth, back, rtol=1e-12)
    forth, back = SequencePooling(["first", "last"]).fit_transform(X).blocks[0]
    np.testing.assert_array_equal(forth, np.concatenate([back[2:], back[:2]]))


def test_long_float32_sequences_are_summed_in_double():
    sequence = np.full((2_000_000, 1), 0.1, dtype=np.float32)
    mean, std = (
        SequencePooling(["mean", "std"]).fit_transform([[sequence]]).blocks[0][0]
    )
    assert mean == np.float32(0.1)
    assert std < 1e-8


@pytest.mark.parametrize("statistics", [[], ["mode"], ["mean", "mean"]])
def test_unknown_repeated_and_no_statistics_are_refused(statistics):
    with pytest.raises(ValueError, match=r"at least one of .*'median'.*each once"):
        SequencePooling(statistics).fit([[np.eye(2)]])


@pytest.mark.parametrize(
    "statistics",
    [
        "mean",
        5,
        np.array([["mean"]]),
        [None],
        [np.nan],
        [["mean"]],
        [np.ones(3)],
    ],
)
def test_what_are_no_statistics_is_refused_by_name(statistics):
    with pytest.raises((ValueError, TypeError), match="statistics"):
        SequencePooling(statistics).fit([[np.eye(2)]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [0.1, 1.7e9, -7.3e18, 1e-30])
@pytest.mark.parametrize("n_frames", [1, 7, 1000])
def test_equal_frames_have_no_deviation(value, n_frames, dtype):
    sequence = np.full((n_frames, 2), value, dtype)
    pooled = SequencePooling(["mean", "std"]).fit_transform([[sequence]]).blocks[0]
    np.testing.assert_array_equal(pooled[0], [sequence[0, 0]] * 2 + [0, 0])


@pytest.mark.parametrize("unit", [2.0**-1000, 1.0, 2.0**1000, 2.0**1021])
@pytest.mark.parametrize("offset", [0.0, 2.0**30])
def test_means_and_deviations_are_right_in_any_unit_and_at_any_offset(unit, offset):
    if np.isinf(unit / 4 * (offset + 3)):
        pytest.skip("no number holds the values")
    x = np.random.default_rng(0).integers(-3, 4, size=(50, 2)).astype(float)
    X = [[unit / 4 * (x + offset)]]
    pooled = SequencePooling(["mean", "std"]).fit_transform(X).blocks[0][0] / unit * 4
    np.testing.assert_allclose(pooled[:2], offset + x.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(pooled[2:], x.std(axis=0), rtol=1e-9)
