"""Properties of generated clusters that are common to all modalities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from mmfusion.datasets import make_multimodal_blobs


def test_the_same_seed_gives_the_same_data():
    first, second = (
        make_multimodal_blobs(missing_rate=0.3, n_noise_features=2, random_state=3)
        for _ in range(2)
    )
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1], second[1])
    assert make_multimodal_blobs(random_state=4)[0] != first[0]


def test_widths_names_and_dtype_are_those_of_the_options():
    X, y = make_multimodal_blobs(
        7,
        {"audio": 3, "video": 5},
        n_noise_features={"audio": 2, "video": 0},
        dtype=np.float32,
    )
    assert X.names == ("audio", "video")
    assert X["audio"].shape == (7, 5)
    assert X["video"].shape == (7, 5)
    assert X["audio"].dtype == X["video"].dtype == np.float32
    assert y.dtype == np.int64
    assert make_multimodal_blobs(7, [3, 5])[0].names == ("modality_0", "modality_1")


def test_clusters_have_sizes_that_differ_by_one_at_most():
    for shuffle in (True, False):
        _, y = make_multimodal_blobs(11, centers=4, shuffle=shuffle, random_state=0)
        assert sorted(np.bincount(y)) == [2, 3, 3, 3]
    assert (np.diff(y) >= 0).all()


def test_without_noise_a_sample_is_its_cluster_center_in_every_modality():
    centers = {"audio": [[0.0], [1.0]], "video": [[2.0, 3.0], [4.0, 5.0]]}
    X, y = make_multimodal_blobs(9, centers=centers, cluster_std=0)
    for name, center in centers.items():
        np.testing.assert_array_equal(X[name], np.array(center)[y])


def test_modalities_are_independent_given_the_cluster():
    X, y, centers = make_multimodal_blobs(
        20_000, (2, 2), cluster_std=[1.0, 4.0], random_state=0, return_centers=True
    )
    noise = np.hstack([X[n] - centers[n][y] for n in X.names])
    assert np.abs(noise.mean(axis=0)).max() < 0.1
    np.testing.assert_allclose(noise.std(axis=0), [1, 1, 4, 4], rtol=0.02)
    assert np.abs(np.corrcoef(noise.T) - np.eye(4)).max() < 0.03


@pytest.mark.parametrize("width", [1, 10, 300])
def test_centers_have_a_root_mean_square_distance_of_ten_for_any_width(width):
    _, _, centers = make_multimodal_blobs(
        1, (width,), centers=2000, random_state=0, return_centers=True
    )
    odd, even = centers["modality_0"][::2], centers["modality_0"][1::2]
    assert np.sqrt(((odd - even) ** 2).sum(axis=1).mean()) == pytest.approx(10, 0.05)


def test_returned_centers_can_be_used_as_centers():
    X, _, centers = make_multimodal_blobs(cluster_std=0, return_centers=True)
    assert X.names == tuple(centers)
    again, y = make_multimodal_blobs(centers=centers, cluster_std=0)
    np.testing.assert_array_equal(again.blocks[1], centers["modality_1"][y])


def test_noise_features_have_the_scale_of_the_others_but_no_cluster():
    X, y = make_multimodal_blobs(
        20_000, (10,), n_noise_features=10, random_state=0, centers=4
    )
    seen, noise = X.blocks[0][:, :10], X.blocks[0][:, 10:]
    assert noise.var() == pytest.approx(seen.var(axis=0).mean(), rel=0.02)
    spread = [
        np.stack([part[y == c].mean(axis=0) for c in range(4)]).std()
        for part in (seen, noise)
    ]
    assert spread[1] < 0.05 * spread[0]


def test_a_noisier_modality_separates_the_clusters_less():
    X, y = make_multimodal_blobs(300, (5, 5), cluster_std=(1, 8), random_state=0)
    quiet, loud = (
        adjusted_rand_score(y, KMeans(3, n_init=5, random_state=0).fit_predict(b))
        for b in X.blocks
    )
    assert quiet > 0.95 > 0.5 > loud


@given(
    st.integers(1, 40),
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
    st.integers(0, 100),
)
def test_missing_shares_are_exact_and_no_sample_lacks_all_modalities(
    n_samples, rates, seed
):
    n_missing = [round(rate * n_samples) for rate in rates]
    options = dict(missing_rate=rates, random_state=seed)
    if sum(n_missing) > n_samples * (len(rates) - 1):
        with pytest.raises(ValueError, match="without any of the modalities"):
            make_multimodal_blobs(n_samples, [2] * len(rates), **options)
        return
    X, _ = make_multimodal_blobs(n_samples, [2] * len(rates), **options)
    np.testing.assert_array_equal((~X.observed).sum(axis=0), n_missing)
    assert X.observed.any(axis=1).all()


def test_a_scalar_rate_holds_for_every_modality():
    X, _ = make_multimodal_blobs(40, (2, 3, 4), missing_rate=0.25, random_state=0)
    np.testing.assert_array_equal((~X.observed).sum(axis=0), [10, 10, 10])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(n_features=5), "one number per modality"),
        (dict(n_features=()), "at least one modality"),
        (dict(n_features={"audio": 0}), "'audio' is 0; it must be an integer >= 1"),
        (dict(n_noise_features=1.5), "'modality_0' is 1.5; it must be an integer"),
        (dict(cluster_std={"audio": 1}), r"modalities are \['modality_0'"),
        (dict(cluster_std=[1, 2, 3]), "3 values for 2 modalities"),
        (dict(cluster_std=-1), r"'modality_0' is -1; it must be finite, in \[0"),
        (
            dict(missing_rate=[0, 1.5]),
            r"'modality_1' is 1.5; it must be finite, in \[0, 1\]",
        ),
        (dict(missing_rate=0.6), "add up to at most 1"),
        (dict(centers=0), "centers=0; it must be at least 1"),
        (dict(centers=[[[0.0]], [1.0]]), r"'modality_1' have shape \(1,\)"),
        (dict(centers=[[[0.0]], [[1.0], [2.0]]]), "same number of centers"),
        (dict(dtype=int), "not a floating type"),
        (dict(n_samples=0), "n_samples=0"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_multimodal_blobs(**options)
