"""Samples that no graph places, and new samples too far to square their distance."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import rbf_kernel

from mmfusion import (
    AnchorGraphClusterer,
    GMCClusterer,
    Modalities,
    SNFClusterer,
    SpectralClusterer,
)
from mmfusion.clustering import similarity_network_fusion
from mmfusion.clustering.graph._spread import LARGEST_VALUE, within_range
from mmfusion.datasets import make_multimodal_blobs

X, Y = make_multimodal_blobs(90, {"audio": 4, "text": 3}, centers=3, random_state=0)
CLUSTERERS = [
    *(SpectralClusterer(3, fusion=f, random_state=0) for f in ("blend", "average")),
    SpectralClusterer(3, fusion="co_regularized", random_state=0),
    SNFClusterer(3, random_state=0),
    SNFClusterer(3, n_stored=30, random_state=0),
    GMCClusterer(3, random_state=0),
    AnchorGraphClusterer(3, random_state=0),
]
FAR = [
    *CLUSTERERS,
    SpectralClusterer(3, fusion="concatenated", random_state=0),
    SpectralClusterer(3, affinity="adaptive", random_state=0),
    AnchorGraphClusterer(3, weights="reconstruction", random_state=0),
]


def name_of(clusterer):
    return type(clusterer).__name__


@pytest.mark.parametrize("clusterer", CLUSTERERS, ids=name_of)
def test_samples_of_constant_modalities_alone_are_warned_of(clusterer):
    observed = np.ones((90, 3), dtype=bool)
    alone = np.arange(90) % 6 == 2
    observed[alone, :2] = False
    data = X.to_dict() | {"still": np.full((90, 2), 3.0)}
    frame = Modalities(data, observed=observed)
    told = r"15 of 90 samples, first sample 2, .*constant, of \['still'\]"
    with pytest.warns(UserWarning, match=told):
        found = clusterer.fit(frame)
    # the clusters are those of the others
    assert adjusted_rand_score(Y[~alone], found.labels_[~alone]) == 1
    assert len(set(found.labels_[alone])) == 1
    with pytest.warns(UserWarning, match="1 of 2 samples, first sample 1, have only"):
        labels = found.predict(frame[1:3])
    np.testing.assert_array_equal(labels, found.labels_[1:3])
    assert getattr(found, "n_components_", 3) == 3


def test_samples_without_any_affinity_are_warned_of():
    kernels = {name: rbf_kernel(X[name], gamma=0.05) for name in X.names}
    for K in kernels.values():
        K[:7] = K[:, :7] = 0
    for clusterer in (SpectralClusterer, SNFClusterer):
        with pytest.warns(UserWarning, match="7 of 90 .*no affinity"):
            found = clusterer(3, affinity="precomputed", random_state=0).fit(kernels)
        assert adjusted_rand_score(Y[7:], found.labels_[7:]) == 1
        with pytest.warns(UserWarning, match="4 of 6 .*no affinity"):
            found.predict({name: K[3:9] for name, K in kernels.items()})


def test_clusters_are_of_samples_that_graphs_place():
    observed = np.ones((90, 2), dtype=bool)
    observed[2:, 0] = False
    frame = Modalities(
        {"audio": X["audio"], "still": np.ones((90, 1))}, observed=observed
    )
    with (
        pytest.warns(UserWarning, match="88 of 90"),
        pytest.raises(ValueError, match=r"n_samples=2 .* n_clusters=3"),
    ):
        SpectralClusterer(3).fit(frame)


@pytest.mark.parametrize("size", [1e160, 1e300])
@pytest.mark.parametrize("clusterer", FAR, ids=name_of)
def test_a_far_sample_has_a_cluster_and_changes_no_other(clusterer, size):
    found = clusterer.fit(X)
    far = {name: X[name][:6].copy() for name in X.names}
    far["audio"][0] *= size
    far["text"][1, 0] = -size
    labels = found.predict(far)
    np.testing.assert_array_equal(labels[2:], found.labels_[2:6])
    assert set(labels) <= {0, 1, 2}


@pytest.mark.parametrize("kind", [np.array, sparse.csr_array])
def test_far_samples_keep_their_direction(kind):
    rows = np.array([[3e200, -4e200, 0.0], [1.0, 2.0, 3.0], [0.0, -np.inf, 0.0]])
    found = within_range(kind(rows))
    found = found.toarray() if sparse.issparse(found) else found
    expected = [[0.75, -1.0, 0.0], [0.0, 0.0, 0.0], [0.0, -1.0, 0.0]]
    np.testing.assert_allclose(found / LARGEST_VALUE, expected, atol=1e-100)
    np.testing.assert_array_equal(found[1], rows[1])
    single = within_range(kind(rows[1:].astype(np.float32)))
    single = single.toarray() if sparse.issparse(single) else single
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single[1], [0, np.finfo(np.float32).min, 0])


def test_samples_of_fit_whose_squares_overflow_are_refused():
    far = {"audio": X["audio"] * 1e200, "text": X["text"]}
    for clusterer in FAR:
        with pytest.raises(ValueError, match=r"'audio' has values .*overflow; choose"):
            clusterer.__class__(3, scaling=None).fit(far)
        assert adjusted_rand_score(Y, clusterer.fit(far).labels_) == 1
    with pytest.raises(ValueError, match="'audio' has values"):
        similarity_network_fusion(far, scaling=None)


def test_a_single_anchor_distinguishes_no_samples():
    with pytest.raises(ValueError, match=r"'n_anchors' .* in the range \[2, inf\)"):
        AnchorGraphClusterer(2, n_anchors=1).fit(X)
