"""Approximate search of neighbours against the exact one."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score
from sklearn.neighbors import NearestNeighbors

from mmfusion import GMCClusterer, SNFClusterer, SpectralClusterer
from mmfusion.clustering.graph import _neighbors
from mmfusion.clustering.graph._neighbors import nearest_samples
from mmfusion.datasets import make_multimodal_blobs

numba = pytest.importorskip("numba")


class WholeSearch:
    """A descent that finds all neighbours, or leaves out those that it is told to."""

    calls = 0
    lost: tuple = ()

    def __init__(self, data, n_neighbors, random_state, n_jobs):
        WholeSearch.calls += 1
        assert n_jobs <= numba.config.NUMBA_NUM_THREADS
        assert data.dtype == np.float32
        self._data, self._count = data, n_neighbors

    @property
    def neighbor_graph(self):
        finder = NearestNeighbors(n_neighbors=self._count).fit(self._data)
        distances, indices = finder.kneighbors(self._data)
        for sample, place in self.lost:
            indices[sample, place] = -1
        return indices.astype(np.int32), distances.astype(np.float32)


@pytest.fixture
def descent(monkeypatch):
    """Put a search in the place of that of pynndescent, for few samples, too."""
    monkeypatch.setattr(_neighbors, "MIN_APPROXIMATE_SAMPLES", 30)
    monkeypatch.setattr(_neighbors, "DISTANCE_ROWS", 7)
    monkeypatch.setattr(WholeSearch, "calls", 0)
    module = SimpleNamespace(NNDescent=WholeSearch)
    monkeypatch.setitem(sys.modules, "pynndescent", module)
    return WholeSearch


def samples(n=40, d=3, offset=0.0):
    return np.random.default_rng(0).normal(size=(n, d)) + offset


# with an offset, single precision would not tell the samples apart
@pytest.mark.parametrize("offset", [0.0, 1e9])
@pytest.mark.parametrize("lost", [(), ((0, 4), (3, 0), (3, 1))])
def test_neighbors_that_are_all_found_are_those_of_exact_search(
    descent, monkeypatch, offset, lost
):
    monkeypatch.setattr(descent, "lost", lost)
    X = samples(offset=offset)
    distances, indices = nearest_samples(X, 6, n_jobs=8, search="approximate")
    expected = nearest_samples(X, 6)
    assert descent.calls == 1
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_allclose(distances, expected[0], rtol=1e-6)


def test_of_copies_a_sample_is_not_its_own_neighbor(descent):
    X = np.repeat(samples(n=8), 5, axis=0)
    distances, indices = nearest_samples(X, 4, search="approximate")
    assert not (indices == np.arange(len(X))[:, None]).any()
    assert (distances == 0).all()


@pytest.mark.parametrize(
    "block",
    [samples(n=29), sparse.csr_array(samples())],
    ids=["few samples", "sparse"],
)
def test_other_blocks_are_searched_exactly(descent, block):
    found = nearest_samples(block, 6, search="approximate")
    for one, other in zip(found, nearest_samples(block, 6), strict=True):
        np.testing.assert_array_equal(one, other)
    assert descent.calls == 0


def test_new_samples_are_searched_exactly(descent):
    nearest_samples(samples(), 6, samples(n=50), search="approximate")
    assert descent.calls == 0


CLUSTERERS = [SpectralClusterer, SNFClusterer, GMCClusterer]


@pytest.mark.parametrize("clusterer", CLUSTERERS)
def test_every_modality_of_features_is_searched_as_wanted(descent, clusterer):
    X, _ = make_multimodal_blobs(60, {"audio": 4, "video": 3}, random_state=0)
    options = {"n_stored": 30} if clusterer is SNFClusterer else {}
    exact = clusterer(3, random_state=0, **options).fit(X)
    assert descent.calls == 0
    found = clusterer(3, neighbor_search="approximate", random_state=0, **options)
    np.testing.assert_array_equal(found.fit(X).labels_, exact.labels_)
    assert descent.calls == 2
    np.testing.assert_array_equal(found.predict(X), exact.predict(X))


def test_precomputed_affinities_are_not_searched(descent):
    X, _ = make_multimodal_blobs(60, random_state=0)
    affinities = [
        np.exp(-np.square(block[:, None] - block).sum(2)) for block in X.blocks
    ]
    SpectralClusterer(
        3, affinity="precomputed", neighbor_search="approximate", random_state=0
    ).fit(affinities)
    assert descent.calls == 0


def test_the_package_that_is_lacking_is_named(monkeypatch):
    monkeypatch.setattr(_neighbors, "MIN_APPROXIMATE_SAMPLES", 30)
    monkeypatch.setitem(sys.modules, "pynndescent", None)
    with pytest.raises(ImportError, match=r"pip install \"mmfusion\[neighbors\]\""):
        nearest_samples(samples(), 6, search="approximate")


# the compilation takes some 25 seconds
@pytest.mark.slow
def test_almost_all_neighbors_are_found_and_the_clusters_are_the_same(monkeypatch):
    pytest.importorskip("pynndescent")
    monkeypatch.setattr(_neighbors, "MIN_APPROXIMATE_SAMPLES", 2000)
    shapes = {"audio": 32, "video": 8}
    X, y = make_multimodal_blobs(
        4000, shapes, centers=10, cluster_std=3.0, random_state=0
    )
    for block in X.blocks:
        _, expected = nearest_samples(block, 10)
        _, indices = nearest_samples(block, 10, search="approximate")
        again = nearest_samples(block, 10, n_jobs=2, search="approximate")[1]
        np.testing.assert_array_equal(indices, again)
        both = map(np.intersect1d, indices, expected)
        assert np.mean([len(common) for common in both]) > 9.7
    exact = SpectralClusterer(10, random_state=0).fit(X)
    found = SpectralClusterer(10, neighbor_search="approximate", random_state=0).fit(X)
    assert adjusted_rand_score(exact.labels_, found.labels_) > 0.95
    scores = [adjusted_rand_score(y, own.labels_) for own in (exact, found)]
    assert scores[1] > scores[0] - 0.02


@pytest.mark.slow
def test_copies_and_categories_are_searched_approximately_too(monkeypatch):
    pytest.importorskip("pynndescent")
    monkeypatch.setattr(_neighbors, "MIN_APPROXIMATE_SAMPLES", 2000)
    rng = np.random.default_rng(0)
    categories = np.eye(6)[rng.integers(6, size=3000)]
    distances, indices = nearest_samples(categories, 10, search="approximate")
    assert not (indices == np.arange(3000)[:, None]).any()
    assert (distances == 0).mean() > 0.95
