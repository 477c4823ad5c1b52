"""The silhouette of one clustering in every modality."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import silhouette_score

from mmfusion import EarlyFusion, Modalities
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.metrics import modality_silhouette_score
from mmfusion.preprocessing import padded_from_sequences


def silhouette_by_loops(block, labels):
    values = []
    for i, x in enumerate(block):
        apart = np.sqrt(((block - x) ** 2).sum(axis=1))
        fellows = (labels == labels[i]) & (np.arange(len(block)) != i)
        if not fellows.any():
            values.append(0.0)
            continue
        inside = apart[fellows].mean()
        outside = min(
            apart[labels == c].mean() for c in set(labels.tolist()) if c != labels[i]
        )
        values.append((outside - inside) / max(inside, outside))
    return np.mean(values)


@pytest.fixture(scope="module")
def data():
    return make_multimodal_blobs(
        40, {"audio": 3, "video": 5}, cluster_std=[1.0, 4.0], random_state=0
    )


@pytest.mark.parametrize("scaling", ["block", "standard", "l2", None])
def test_it_is_that_of_loops_in_every_scaled_modality(data, scaling):
    X, y = data
    found = modality_silhouette_score(X, y, scaling=scaling, average=False)
    for v, name in enumerate(X.names):
        scaled = EarlyFusion(scaling).fit_transform([X[name]])
        assert found[v] == pytest.approx(silhouette_by_loops(scaled, y))
    mean = modality_silhouette_score(X, y, scaling=scaling)
    assert mean == pytest.approx(found.mean())
    assert isinstance(mean, float)


def test_without_scaling_it_is_that_of_sklearn(data):
    X, y = data
    found = modality_silhouette_score([X["audio"]], y, scaling=None)
    assert found == pytest.approx(silhouette_score(X["audio"], y))


def test_all_forms_of_input_agree(data):
    X, y = data
    expected = modality_silhouette_score(X, y)
    assert modality_silhouette_score(X.to_dict(), list(y)) == expected
    assert modality_silhouette_score(list(X.blocks), y[:, None]) == expected
    frames = {name: pd.DataFrame(block) for name, block in X.to_dict().items()}
    assert modality_silhouette_score(frames, y) == pytest.approx(expected)
    alone = modality_silhouette_score(X, y, average=False)[0]
    assert modality_silhouette_score(X["audio"], y) == pytest.approx(alone)


@pytest.mark.parametrize("scaling", ["auto", "block", "l2", None])
@pytest.mark.parametrize("dtype", [int, bool, np.uint8, np.float32])
@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_values_may_be_of_any_number_type(scaling, dtype, kind):
    block = np.random.default_rng(0).integers(0, 4, size=(30, 5)).astype(dtype)
    y = np.arange(30) % 3
    found = modality_silhouette_score([kind(block)], y, scaling=scaling)
    expected = modality_silhouette_score(
        [kind(block.astype(float))], y, scaling=scaling
    )
    assert found == pytest.approx(expected, abs=1e-5)


def test_the_unit_of_a_modality_does_not_matter(data):
    X, y = data
    other = Modalities(X.to_dict() | {"audio": 1000 * X["audio"] + 5})
    expected = modality_silhouette_score(X, y)
    assert modality_silhouette_score(other, y) == pytest.approx(expected)


def test_names_of_clusters_do_not_matter(data):
    X, y = data
    names = np.array(["b", "c", "a"])
    expected = modality_silhouette_score(X, y)
    assert modality_silhouette_score(X, names[y]) == pytest.approx(expected)


def test_the_right_clusters_score_best(data):
    X, y = data
    right = modality_silhouette_score(X, y)
    rng = np.random.default_rng(0)
    assert right > modality_silhouette_score(X, rng.permutation(y)) + 0.3
    assert right > modality_silhouette_score(X, np.where(y == 2, 1, y))


def test_each_modality_counts_the_samples_that_have_it(data):
    X, y = data
    observed = np.ones(X.shape, dtype=bool)
    observed[:15, 0] = False
    masked = Modalities(X, observed=observed)
    found = modality_silhouette_score(masked, y, average=False)
    audio = modality_silhouette_score([X["audio"][15:]], y[15:])
    video = modality_silhouette_score([X["video"]], y)
    np.testing.assert_allclose(found, [audio, video])


def test_it_is_minus_one_for_one_cluster_or_only_singletons(data):
    X, _ = data
    assert modality_silhouette_score(X, np.zeros(40)) == -1
    assert modality_silhouette_score(X, np.arange(40)) == -1
    assert modality_silhouette_score([[[1.0]]], [0]) == -1


def test_an_unobserved_modality_is_ignored(data):
    X, _ = data
    labels = np.arange(40) % 2
    absent = Modalities({"audio": X["audio"], "video": None})
    audio, video = modality_silhouette_score(absent, labels, average=False)
    assert np.isnan(video)
    assert modality_silhouette_score(absent, labels) == audio > -1


def test_a_draw_is_repeatable_and_near_the_whole():
    X, y = make_multimodal_blobs(300, random_state=0)
    whole = modality_silhouette_score(X, y, sample_size=None)
    part = modality_silhouette_score(X, y, sample_size=100)
    assert part == modality_silhouette_score(X, y, sample_size=100)
    assert part != whole
    assert part == pytest.approx(whole, abs=0.05)
    assert modality_silhouette_score(X, y, sample_size=300) == whole
    other = modality_silhouette_score(X, y, sample_size=100, random_state=1)
    assert other != part


def test_data_that_cannot_be_scored_are_refused(data):
    X, y = data
    with pytest.raises(ValueError, match=r"\[40, 39\]"):
        modality_silhouette_score(X, y[1:])
    holes = X["audio"].copy()
    holes[3, 1] = np.nan
    with pytest.raises(ValueError, match="modality 'audio' contains NaN"):
        modality_silhouette_score({"audio": holes}, y)
    with pytest.raises(ValueError, match="'blok' is neither one of"):
        modality_silhouette_score(X, y, scaling="blok")


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
@pytest.mark.parametrize("scaling", ["auto", "block", "l2", None])
@pytest.mark.parametrize(
    ("unit", "dtype"),
    [
        (1e200, np.float64),
        (1e307, np.float64),
        (1e-200, np.float64),
        (1e30, np.float32),
        (1e-30, np.float32),
    ],
)
def test_huge_and_tiny_values_are_scored_as_others_are(kind, scaling, unit, dtype):
    block = np.random.default_rng(0).random((30, 3))
    y = np.arange(30) % 3
    block[:, 0] += y
    loud = kind((unit * block).astype(dtype))
    found = modality_silhouette_score([loud], y, scaling=scaling)
    expected = modality_silhouette_score([kind(block)], y, scaling=scaling)
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("scaling", ["auto", "block", None])
@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_an_offset_does_not_matter(scaling, unit):
    block = np.round(np.random.default_rng(0).normal(size=(30, 3)) * 64) / 64
    y = np.arange(30) % 3
    expected = modality_silhouette_score([block], y, scaling=scaling)
    found = modality_silhouette_score([unit * (block + 2**30)], y, scaling=scaling)
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("scaling", ["auto", "standard", None])
@pytest.mark.parametrize("value", [0.1, 1.7e9, 1e300])
def test_a_constant_modality_separates_nothing(scaling, value):
    constant = np.full((30, 3), value)
    score = modality_silhouette_score([constant], np.arange(30) % 3, scaling=scaling)
    assert score == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sample_size": 0.5}, "sample_size is 0.5"),
        ({"sample_size": True}, "sample_size is True"),
        ({"sample_size": 0}, "sample_size is 0"),
        ({"scaling": {"audio": "block"}}, "scaling .* is neither one of"),
    ],
)
def test_invalid_options_are_refused(data, options, words):
    with pytest.raises(ValueError, match=words):
        modality_silhouette_score(*data, **options)


def test_a_sample_size_of_numpy_is_a_number(data):
    X, y = data
    expected = modality_silhouette_score(X, y, sample_size=20)
    assert modality_silhouette_score(X, y, sample_size=np.int64(20)) == expected


def test_labels_that_are_missing_are_refused(data):
    X, y = data
    with pytest.raises(ValueError, match="labels: sample 1 has no label"):
        modality_silhouette_score(X, np.where(np.arange(40) == 1, np.nan, y))


def resampled_rows(sequences, n_frames):
    """Standardise features over all frames, and interpolate each feature by NumPy."""
    frames = np.concatenate(sequences)
    mean, std = frames.mean(axis=0), frames.std(axis=0)
    rows = []
    for sequence in sequences:
        scaled = (sequence - mean) / std
        times = np.linspace(0, len(sequence) - 1, n_frames)
        own = np.arange(len(sequence))
        rows.append([np.interp(times, own, feature) for feature in scaled.T])
    return np.array(rows).reshape(len(rows), -1)


def test_sequences_are_compared_once_resampled_to_their_median_length():
    rng = np.random.default_rng(0)
    sequences = [rng.normal(size=(n, 2)) * [1, 50] for n in (3, 5, 6, 9, 4, 5)]
    labels = np.array([0, 0, 1, 1, 0, 1])
    expected = silhouette_score(resampled_rows(sequences, 5), labels)
    forms = [sequences, padded_from_sequences(sequences)]
    for block in forms:
        assert modality_silhouette_score({"speech": block}, labels) == pytest.approx(
            expected, rel=1e-9
        )
    # a sample that lacks the modality is left out
    with_missing = Modalities({"speech": [*sequences, None], "rest": np.ones((7, 1))})
    speech, _ = modality_silhouette_score(with_missing, [*labels, 1], average=False)
    assert speech == pytest.approx(expected, rel=1e-9)
