"""Samples that have more copies than neighbours."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from mmfusion import GMCClusterer, SNFClusterer, SpectralClusterer
from mmfusion.clustering.graph._copies import spread_over_copies
from mmfusion.clustering.graph._neighbors import nearest_samples

Y = np.arange(120) % 3


@pytest.mark.parametrize("kind", [np.array, sparse.csr_array])
@pytest.mark.parametrize("width", [3, 30])
def test_every_copy_is_a_neighbor_of_as_many_others(kind, width):
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(4, width)), [30, 12, 3, 1], axis=0)
    rows[0, 0] = -0.0
    rows[1:30, 0] = 0.0
    distances, indices = nearest_samples(kind(rows), 10)
    for start, stop in ((0, 30), (30, 42)):
        own = indices[start:stop]
        assert ((own >= start) & (own < stop)).all()
        assert (np.bincount(own.ravel(), minlength=46)[start:stop] == 10).all()
        assert all(len(set(row)) == 10 for row in own.tolist())
        assert (own != np.arange(start, stop)[:, None]).all()
        assert (distances[start:stop] == 0).all()
    # the others have other samples among their neighbours
    assert (indices[42:45, :2] >= 42).all()
    assert (distances[42:, -1] > 0.1).all()


def test_neighbors_of_samples_without_copies_stay_as_they_are():
    X = np.random.default_rng(0).normal(size=(50, 4)) + 1e9  # all are near, by rounding
    distances, indices = np.zeros((50, 3)), np.zeros((50, 3), dtype=int)
    found = spread_over_copies(X, distances, indices)
    assert found[0] is distances
    assert found[1] is indices


@pytest.mark.parametrize("seed", range(3))
def test_categories_are_found_beside_noise(seed):
    noise = np.random.default_rng(10 + seed).normal(size=(120, 3))
    data = {"kind": np.eye(3)[Y], "noise": noise}
    for clusterer, least in (
        (GMCClusterer(3, random_state=0), 0.5),
        (SNFClusterer(3, n_stored=30, random_state=0), 0.8),
        (SpectralClusterer(3, fusion="co_regularized", random_state=0), 0.95),
    ):
        assert adjusted_rand_score(Y, clusterer.fit(data).labels_) > least
