"""Graphs of samples and anchors, against dense formulas and `SpectralClusterer`."""

import numpy as np
import pytest
from scipy import linalg, optimize, sparse
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import euclidean_distances

from mmfusion import AnchorGraphClusterer, Modalities, SpectralClusterer
from mmfusion._scaling import Scaling
from mmfusion.clustering.graph import _anchor_rows, _anchors
from mmfusion.clustering.graph._anchors import (
    AnchorGraph,
    choose_anchors,
    fit_anchor_embedding,
    nearest_anchor_weights,
    reconstruction_weights,
    spread_samples,
)
from mmfusion.clustering.graph._simplex import nearest_on_simplex
from mmfusion.datasets import make_multimodal_blobs

RNG = np.random.RandomState(0)
BLOCK = RNG.randn(40, 6)
ANCHORS = RNG.randn(9, 6)
X, CLASSES = make_multimodal_blobs(n_samples=150, random_state=0)
WEIGHTS = ["adaptive", "reconstruction"]


def test_adaptive_weights_are_those_of_a_loop():
    expected = np.zeros((40, 9))
    for i, x in enumerate(BLOCK):
        squares = ((x - ANCHORS) ** 2).sum(axis=1)
        order = np.argsort(squares)
        following = squares[order[3]]
        for j in order[:3]:
            total = 3 * following - squares[order[:3]].sum()
            expected[i, j] = (following - squares[j]) / total
    found = nearest_anchor_weights(BLOCK, ANCHORS, 3).toarray()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_reconstruction_weights_minimise_their_objective():
    found = reconstruction_weights(BLOCK[:5], ANCHORS, 0.3).toarray()
    np.testing.assert_allclose(found.sum(axis=1), 1)
    for x, z in zip(BLOCK[:5], found, strict=True):

        def objective(z, x=x):
            return ((x - z @ ANCHORS) ** 2).sum() + 0.3 * (z**2).sum()

        best = optimize.minimize(
            objective,
            np.full(9, 1 / 9),
            bounds=[(0, 1)] * 9,
            constraints={"type": "eq", "fun": lambda z: z.sum() - 1},
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert objective(z) <= best.fun + 1e-6


def test_samples_that_are_all_anchors_reconstruct_themselves():
    block = RNG.randn(8, 10)
    found = reconstruction_weights(block, choose_anchors(block, 8, RNG), 1e-9)
    np.testing.assert_allclose(found.toarray(), np.eye(8), atol=1e-3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 2, 30])
def test_samples_far_apart_are_those_of_k_means_plus_plus(seed, count):
    block = np.random.RandomState(seed).randn(90, 7)
    _, expected = kmeans_plusplus(block, count, random_state=seed)
    squares = euclidean_distances(block, squared=True)
    found = spread_samples(squares, count, np.random.RandomState(seed))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("limit", [10, 1000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_anchors_are_centres_of_k_means(dtype, limit, monkeypatch):
    monkeypatch.setattr(_anchors, "MAX_PAIRED_SAMPLES", limit)
    block = (RNG.randn(200, 5) + 100).astype(dtype)
    found = choose_anchors(block, 12, np.random.RandomState(1))
    k_means = KMeans(12, n_init=1, max_iter=20, random_state=1).fit(block)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, k_means.cluster_centers_, rtol=1e-6)


def test_few_different_samples_are_the_anchors():
    rows = np.array([[1.0, 0.0], [0.0, 2.0], [-0.0, 2.0], [3.0, 3.0]])
    block = rows[RNG.randint(4, size=50)]
    found = choose_anchors(block, 3, RNG)
    np.testing.assert_array_equal(found, np.unique(block, axis=0))
    assert len(found) == 3
    assert len(choose_anchors(block, 2, RNG)) == 2


def test_simplex_projections_are_nearest():
    rows = 3 * RNG.randn(20, 5)
    found = nearest_on_simplex(rows)
    assert found.min() >= 0
    np.testing.assert_allclose(found.sum(axis=1), 1)
    # optimal if no point of the simplex is on the far side: (r - p)'(q - p) <= 0
    gains = (rows - found)[:, None] @ (np.eye(5) - found[:, None]).transpose(0, 2, 1)
    assert gains.max() < 1e-9


@pytest.mark.parametrize("chunk_rows", [40, 33, 13])
def test_embedding_is_the_singular_vectors_of_the_whole_graph(chunk_rows, monkeypatch):
    monkeypatch.setattr(_anchors, "CHUNK_ROWS", chunk_rows)
    Z = sparse.hstack(
        [
            nearest_anchor_weights(BLOCK, ANCHORS, 3),
            nearest_anchor_weights(BLOCK[:, :3], ANCHORS[:, :3], 3),
        ],
        format="csr",
    )
    sums = Z.toarray().sum(axis=0)
    graph = Z.toarray() / np.sqrt(2 * np.where(sums > 0, sums, 1))
    left, values, _ = linalg.svd(graph, full_matrices=False)
    whole = AnchorGraph([Scaling(None)] * 2, [ANCHORS, ANCHORS[:, :3]], [1.0, 1.0], 3)
    observed = np.ones((40, 2), dtype=bool)
    fitted = fit_anchor_embedding(*whole.gram([BLOCK, BLOCK[:, :3]], observed), 3)
    np.testing.assert_allclose(fitted.singular_values, values[:3], atol=1e-9)
    assert fitted.singular_values[0] == pytest.approx(1)
    expected = left[:, :3] / np.linalg.norm(left[:, :3], axis=1, keepdims=True)
    found = fitted.embed(Z)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-8)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_anchors_and_all_samples_agree_on_blobs(weights):
    whole = SpectralClusterer(3, random_state=0).fit(X)
    found = AnchorGraphClusterer(3, weights=weights, random_state=0).fit(X)
    assert adjusted_rand_score(whole.labels_, found.labels_) == 1
    assert adjusted_rand_score(CLASSES, found.labels_) == 1


@pytest.mark.parametrize("weights", WEIGHTS)
def test_chunks_do_not_change_the_clusters(weights, monkeypatch):
    clusterer = AnchorGraphClusterer(3, weights=weights, random_state=0)
    whole = clusterer.fit(X).labels_
    values = clusterer.singular_values_
    for module in (_anchors, _anchor_rows):
        monkeypatch.setattr(module, "CHUNK_ROWS", 17)
    np.testing.assert_array_equal(clusterer.fit(X).labels_, whole)
    np.testing.assert_allclose(clusterer.singular_values_, values)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_samples_of_fit_are_predicted_as_labelled(weights):
    observed = np.ones((150, len(X.names)), dtype=bool)
    observed[:40, 0] = observed[60:90, 1] = False
    data = Modalities(dict(zip(X.names, X.blocks, strict=True)), observed=observed)
    clusterer = AnchorGraphClusterer(3, weights=weights, random_state=0).fit(data)
    np.testing.assert_array_equal(clusterer.predict(data), clusterer.labels_)
    assert adjusted_rand_score(CLASSES, clusterer.labels_) > 0.9
    # the graph of samples that lack modalities is normalised too
    assert clusterer.singular_values_[0] == pytest.approx(1)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_sparse_and_dense_blocks_agree_on_blobs(weights):
    blocks = [np.where(np.abs(b) > 0.5, b, 0) for b in X.blocks]
    clusterer = AnchorGraphClusterer(3, weights=weights, scaling=None, random_state=0)
    dense = clusterer.fit(blocks).labels_
    found = clusterer.fit([sparse.csr_array(b) for b in blocks]).labels_
    assert adjusted_rand_score(dense, found) > 0.9


def test_memory_maps_are_clustered_as_arrays(tmp_path):
    maps = []
    for v, block in enumerate(X.blocks):
        np.save(tmp_path / f"{v}.npy", block)
        maps.append(np.load(tmp_path / f"{v}.npy", mmap_mode="r"))
    clusterer = AnchorGraphClusterer(3, random_state=0)
    expected = clusterer.fit(list(X.blocks)).labels_
    np.testing.assert_array_equal(clusterer.fit(maps).labels_, expected)


def test_repeated_samples_make_one_anchor():
    block = np.repeat(RNG.randn(4, 3), 10, axis=0)
    assert len(choose_anchors(block, 6, RNG)) == 4


def test_constant_modalities_are_left_out():
    data = [X.blocks[0], np.ones((150, 2))]
    clusterer = AnchorGraphClusterer(3, random_state=0).fit(data)
    assert list(clusterer.anchors_) == [clusterer.modality_names_in_[0]]
    with pytest.raises(ValueError, match="all modalities are constant"):
        clusterer.fit([np.ones((150, 2)), np.ones((150, 3))])


def test_fewer_anchors_than_clusters_are_refused():
    with pytest.raises(ValueError, match="raise n_anchors"):
        AnchorGraphClusterer(8, n_anchors=2).fit(X.blocks[0])
