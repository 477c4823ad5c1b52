"""Profiles give the effect sizes of features, whatever their unit and container."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from mmfusion import Modalities
from mmfusion.metrics import cluster_profiles

RNG = np.random.default_rng(0)
LABELS = np.repeat(["a", "b", "c"], [10, 20, 30])
AUDIO = RNG.normal(size=(60, 2)) + 1e6
VIDEO = RNG.normal(size=(60, 3))
VIDEO[LABELS == "b", 1] += 10
X = Modalities({"audio": AUDIO, "video": VIDEO})


def effects(profiles):
    rows = profiles.sort_values(["cluster", "modality", "feature"])
    return rows["effect_size"].to_numpy()


def test_effect_sizes_are_standardised_mean_differences():
    profiles = cluster_profiles(X, LABELS).set_index(["cluster", "modality", "feature"])
    inside, outside = AUDIO[LABELS == "c", 1], AUDIO[LABELS != "c", 1]
    pooled = np.sqrt(
        (29 * inside.var(ddof=1) + 29 * outside.var(ddof=1)) / (30 + 30 - 2)
    )
    row = profiles.loc["c", "audio", "1"]
    assert row["effect_size"] == pytest.approx(
        (inside.mean() - outside.mean()) / pooled
    )
    assert row["mean"] == pytest.approx(inside.mean())
    assert row["mean_of_others"] == pytest.approx(outside.mean())
    assert (row["n_samples"], row["n_others"]) == (30, 30)
    assert len(profiles) == 3 * 5


def test_the_feature_that_distinguishes_a_cluster_is_first():
    top = cluster_profiles(X, LABELS, n_features=1)
    assert top["cluster"].tolist() == ["a", "b", "c"]
    assert top.loc[1, ["modality", "feature"]].tolist() == ["video", "1"]
    assert top["effect_size"].abs().tolist() == [
        own["effect_size"].abs().max()
        for _, own in cluster_profiles(X, LABELS).groupby("cluster")
    ]


def test_units_and_containers_do_not_matter():
    expected = effects(cluster_profiles(X, LABELS))
    moved = Modalities({"audio": AUDIO * -3 + 7, "video": VIDEO})
    flipped = effects(cluster_profiles(moved, LABELS))
    np.testing.assert_allclose(np.abs(flipped), np.abs(expected), rtol=1e-6)
    for video in (sparse.csr_array(VIDEO), pd.DataFrame(VIDEO, columns=list("012"))):
        same = cluster_profiles(Modalities({"audio": AUDIO, "video": video}), LABELS)
        np.testing.assert_allclose(effects(same), expected, rtol=1e-9)


def test_missing_samples_and_cells_do_not_count():
    video = VIDEO.copy()
    video[0] = 1e9  # no sample has it
    video[1, 0] = np.nan
    observed = np.ones((60, 2), bool)
    observed[0, 1] = False
    profiles = cluster_profiles(
        Modalities({"audio": AUDIO, "video": video}, observed=observed), LABELS
    ).set_index(["cluster", "modality", "feature"])
    assert profiles.loc[("a", "video", "0"), "n_samples"] == 8
    assert profiles.loc[("a", "video", "1"), "n_samples"] == 9
    assert profiles.loc[("a", "video", "1"), "mean"] < 10


def test_constant_features_and_groups_without_values():
    constant = np.ones((60, 1))
    shifted = (LABELS == "a")[:, None] * 1.0
    gone = np.where(LABELS == "a", np.nan, VIDEO[:, 0])[:, None]
    frame = Modalities(
        {"one": constant, "two": shifted, "three": np.hstack([gone, VIDEO])}
    )
    profiles = cluster_profiles(frame, LABELS).set_index(["cluster", "modality"])
    assert (profiles.loc[(slice(None), "one"), "effect_size"] == 0).all()
    assert profiles.loc[("a", "two"), "effect_size"] == np.inf
    assert profiles.loc["a"].index[0] == "two"
    assert np.isnan(profiles.loc["a"]["effect_size"].iloc[-1])


def test_sequences_are_their_means_over_time():
    lengths = RNG.integers(2, 9, 60)
    sequences = [
        np.repeat(row[None], n, axis=0) for row, n in zip(VIDEO, lengths, strict=True)
    ]
    profiles = cluster_profiles({"video": sequences}, LABELS)
    expected = cluster_profiles({"video": VIDEO}, LABELS)
    np.testing.assert_allclose(effects(profiles), effects(expected))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": LABELS[:5]}, "labels has 5 labels for 60 samples"),
        ({"labels": np.zeros(60)}, "labels has one cluster only"),
        ({"n_features": 0}, "n_features is 0"),
        (
            {"X": {"a": VIDEO, "t": pd.DataFrame({"w": ["x"] * 60})}},
            r"(?s)modality 't'.*PerModality",
        ),
    ],
)
def test_what_has_no_profiles_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        cluster_profiles(**{"X": X, "labels": LABELS, **options})


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array, sparse.csc_matrix])
def test_effect_sizes_do_not_depend_on_the_dtype(dtype, form):
    labels = np.arange(40) % 2
    counts = np.random.default_rng(0).poisson(20, (40, 3)) + 15 * labels[:, None]
    expected = cluster_profiles({"a": counts}, labels)
    found = cluster_profiles({"a": form(counts.astype(dtype))}, labels)
    np.testing.assert_allclose(found["effect_size"], expected["effect_size"])


@pytest.mark.parametrize("unit", [1e306, 1e200, 1e-200])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_effect_sizes_do_not_depend_on_the_unit(unit, form):
    labels = np.arange(40) % 2
    values = np.random.default_rng(0).normal(size=(40, 3)) + labels[:, None]
    expected = cluster_profiles({"a": values}, labels)
    found = cluster_profiles({"a": form(unit * values)}, labels)
    np.testing.assert_allclose(found["effect_size"], expected["effect_size"])
    np.testing.assert_allclose(found["mean"], unit * expected["mean"])


def test_features_of_sequences_without_any_value_are_missing_silently():
    frames = np.array([[1.0, np.nan], [2.0, np.nan]])
    sequences = [k + frames for k in range(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profiles = cluster_profiles({"a": sequences}, [0, 0, 1, 1])
    assert np.isnan(profiles.loc[profiles["feature"] == "1", "effect_size"]).all()
