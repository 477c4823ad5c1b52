"""Similarity network fusion against loops over the printed formulas; limits, input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score, pairwise_distances
from sklearn.metrics.pairwise import rbf_kernel

from mmfusion import Modalities, SNFClusterer
from mmfusion.clustering import similarity_network_fusion
from mmfusion.clustering.graph import _sparse_similarity_network
from mmfusion.clustering.graph._sparse_similarity_network import (
    keep_largest,
    largest_of_rows,
)
from mmfusion.datasets import make_multimodal_blobs

NAMES = ["audio", "text", "video"]
X, Y = make_multimodal_blobs(
    120, dict.fromkeys(NAMES, 4), cluster_std=[1.5, 2.0, 2.5], random_state=0
)
FORMS = [None, 40]  # all pairs, and the largest similarities of each row


def similarities_by_loops(block, K, mu):
    D = pairwise_distances(block)
    n = len(D)
    W = np.zeros((n, n))
    m = [np.sort(np.delete(D[i], i))[:K].mean() for i in range(n)]
    for i in range(n):
        for j in range(n):
            e = mu * (m[i] + m[j] + D[i, j]) / 3
            W[i, j] = np.exp(-0.5 * (D[i, j] / e) ** 2) / (e * np.sqrt(2 * np.pi))
    return W


def full_by_loops(W):
    n = len(W)
    P = np.zeros((n, n))
    for i in range(n):
        total = sum(W[i, j] for j in range(n) if j != i)
        for j in range(n):
            P[i, j] = 0.5 if i == j else W[i, j] / (2 * total)
    return (P + P.T) / 2


def local_by_loops(W, K):
    S = np.zeros_like(W)
    for i in range(len(W)):
        near = np.argsort(-W[i])[:K]
        S[i, near] = W[i, near] / W[i, near].sum()
    return S


def fused_by_loops(Ws, K, n_steps):
    P = [full_by_loops(W) for W in Ws]
    S = [local_by_loops(W, K) for W in Ws]
    for _ in range(n_steps):
        means = [
            sum(P[w] for w in range(len(P)) if w != v) / (len(P) - 1)
            for v in range(len(P))
        ]
        P = [full_by_loops(S[v] @ means[v] @ S[v].T) for v in range(len(P))]
    return full_by_loops(sum(P) / len(P))


def fuse(data, n_stored=None, **params):
    params = {"n_neighbors": 5, "scaling": None, **params}
    network = similarity_network_fusion(data, n_stored=n_stored, **params)
    return network.toarray() if sparse.issparse(network) else network


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 4), st.integers(0, 3))
def test_the_network_is_that_of_the_printed_formulas(seed, n_modalities, n_steps):
    rng = np.random.default_rng(seed)
    data = [rng.normal(size=(23, 3)) for _ in range(n_modalities)]
    Ws = [similarities_by_loops(block, 5, 0.5) for block in data]
    expected = fused_by_loops(Ws, 5, n_steps)
    np.testing.assert_allclose(fuse(data, n_steps=n_steps), expected, atol=2e-6)
    # with as many stored similarities as there are samples nothing is cut
    stored = fuse(data, n_stored=23, n_steps=n_steps)
    np.testing.assert_allclose(stored, expected, atol=2e-6)
    given_ = fuse(Ws, n_steps=n_steps, affinity="precomputed")
    np.testing.assert_allclose(given_, expected, atol=2e-6)


def test_products_in_slabs_are_those_of_one_piece():
    rng = np.random.default_rng(0)
    data = [rng.normal(size=(530, 2)) for _ in range(2)]
    Ws = [similarities_by_loops(block, 5, 0.5) for block in data]
    expected = fused_by_loops(Ws, 5, 2)
    np.testing.assert_allclose(fuse(data, n_steps=2), expected, atol=1e-6)


@pytest.mark.parametrize("n_stored", FORMS)
def test_pairs_count_in_the_modalities_that_both_have(n_stored):
    rng = np.random.default_rng(0)
    data = [rng.normal(size=(30, 2)) for _ in range(3)]
    observed = np.ones((30, 3), dtype=bool)
    observed[:6, 0] = observed[4:11, 1] = False
    observed[20:24, :2] = False
    n, V = observed.shape
    rows = [np.flatnonzero(seen) for seen in observed.T]
    Ws = [
        similarities_by_loops(x[own], 5, 0.5) for x, own in zip(data, rows, strict=True)
    ]

    def placed(values, own):
        full = np.full((n, n), np.nan)
        full[np.ix_(own, own)] = values
        return full

    P = [placed(full_by_loops(W), own) for W, own in zip(Ws, rows, strict=True)]
    S = [local_by_loops(W, 5) for W in Ws]
    for _ in range(2):
        new = []
        for v in range(V):
            mean = np.zeros((n, n))
            for i in rows[v]:
                for j in rows[v]:
                    shared = [P[w][i, j] for w in range(V) if w != v]
                    shared = [p for p in shared if not np.isnan(p)]
                    mean[i, j] = np.mean(shared) if shared else P[v][i, j]
            own = mean[np.ix_(rows[v], rows[v])]
            new.append(placed(full_by_loops(S[v] @ own @ S[v].T), rows[v]))
        P = new
    mean = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            shared = [p[i, j] for p in P if not np.isnan(p[i, j])]
            mean[i, j] = np.mean(shared) if shared else 0
    frame = Modalities(dict(zip(NAMES, data, strict=True)), observed=observed)
    found = fuse(frame, n_stored, n_steps=2)
    np.testing.assert_allclose(found, full_by_loops(mean), atol=2e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 9))
def test_the_largest_entries_of_rows_are_kept(seed, count):
    rng = np.random.default_rng(seed)
    dense = rng.random((7, 9)) * (rng.random((7, 9)) < 0.6)
    kept = keep_largest(sparse.csr_array(dense), count).toarray()
    for row, found in zip(dense, kept, strict=True):
        expected = np.sort(row)[::-1][:count]
        np.testing.assert_array_equal(np.sort(found)[::-1][:count], expected)
        assert np.count_nonzero(found) <= count


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 10))
def test_the_largest_entries_of_dense_rows_are_kept(seed, count):
    rng = np.random.default_rng(seed)
    dense = rng.integers(0, 5, size=(7, 9)).astype(float)  # many are equal, or 0
    found = largest_of_rows(dense, count)
    expected = keep_largest(sparse.csr_array(dense), count)
    np.testing.assert_array_equal(np.diff(found.indptr), np.diff(expected.indptr))
    kept = found.toarray()
    assert ((kept == dense) | (kept == 0)).all()
    np.testing.assert_array_equal(
        np.sort(kept, axis=1), np.sort(expected.toarray(), axis=1)
    )


@pytest.mark.parametrize("entry_cost", [0, 1e9])
@pytest.mark.parametrize("missing", [False, True])
def test_sparse_and_dense_products_give_one_network(entry_cost, missing, monkeypatch):
    observed = np.ones((120, 3), dtype=bool)
    observed[:9, 0] = observed[5:30, 1] = not missing
    data = Modalities(X.to_dict(), observed=observed)
    expected = fuse(data, 40, n_steps=3)
    monkeypatch.setattr(_sparse_similarity_network, "ROW_BLOCK", 50)
    monkeypatch.setattr(_sparse_similarity_network, "MAX_DENSE_SAMPLES", 0)
    monkeypatch.setattr(_sparse_similarity_network, "SPARSE_ENTRY_COST", entry_cost)
    np.testing.assert_allclose(fuse(data, 40, n_steps=3), expected, atol=1e-6)


def test_one_modality_is_spectral_clustering_of_its_similarities():
    block = X["audio"]
    W = full_by_loops(similarities_by_loops(block, 20, 0.5))
    np.fill_diagonal(W, 0)
    alone = SpectralClustering(3, affinity="precomputed", random_state=0).fit(W)
    found = SNFClusterer(3, scaling=None, random_state=0).fit({"audio": block})
    assert adjusted_rand_score(found.labels_, alone.labels_) > 0.95


@pytest.mark.parametrize("n_stored", FORMS)
def test_the_order_of_samples_and_modalities_does_not_matter(n_stored):
    data = [X[name] for name in NAMES]
    plain = fuse(data, n_stored)
    # in single precision, in which sums depend on the order
    np.testing.assert_allclose(fuse(data[::-1], n_stored), plain, atol=1e-6)
    order = np.random.default_rng(0).permutation(120)
    shuffled = fuse([block[order] for block in data], n_stored)
    np.testing.assert_allclose(shuffled, plain[np.ix_(order, order)], atol=1e-6)


@pytest.mark.parametrize("unit", [1e-100, 1e100])
@pytest.mark.parametrize("n_stored", FORMS)
def test_the_unit_of_a_modality_does_not_matter(unit, n_stored):
    data = [X[name] for name in NAMES]
    scaled = [data[0] * unit, *data[1:]]
    np.testing.assert_allclose(fuse(scaled, n_stored), fuse(data, n_stored), atol=1e-6)


@pytest.mark.parametrize("n_stored", FORMS)
def test_common_clusters_are_found_and_predicted(n_stored):
    train, new = X[:90], X[90:]
    found = SNFClusterer(3, n_stored=n_stored, random_state=0).fit(train)
    assert adjusted_rand_score(Y[:90], found.labels_) > 0.9
    assert adjusted_rand_score(Y[90:], found.predict(new)) > 0.8
    np.testing.assert_array_equal(found.predict(train), found.labels_)


@pytest.mark.parametrize("n_stored", FORMS)
def test_samples_that_lack_modalities_are_clustered_by_the_others(n_stored):
    rng = np.random.default_rng(0)
    observed = rng.random((120, 3)) > 0.3
    observed[~observed.any(axis=1), 1] = True
    found = SNFClusterer(3, n_stored=n_stored, random_state=0)
    gaps = Modalities(X.to_dict(), observed=observed)
    assert adjusted_rand_score(Y, found.fit(gaps).labels_) > 0.8
    assert adjusted_rand_score(Y, found.predict(gaps)) > 0.8
    other = {n: np.where(observed[:, [v]], X[n], 77.0) for v, n in enumerate(NAMES)}
    again = SNFClusterer(3, n_stored=n_stored, random_state=0)
    again.fit(Modalities(other, observed=observed))
    np.testing.assert_array_equal(again.labels_, found.labels_)


@pytest.mark.parametrize("n_stored", FORMS)
def test_similarities_with_the_samples_of_fit_are_predicted(n_stored):
    train, new = X[:90], X[90:]
    kernels = {n: rbf_kernel(train[n], gamma=0.05) for n in NAMES}
    found = SNFClusterer(
        3, affinity="precomputed", n_stored=n_stored, random_state=0
    ).fit(kernels)
    between = {n: rbf_kernel(new[n], train[n], gamma=0.05) for n in NAMES}
    assert adjusted_rand_score(Y[90:], found.predict(between)) > 0.8


def test_a_modality_of_noise_costs_little():
    noise = np.random.default_rng(0).normal(size=(120, 6))
    plain = SNFClusterer(3, random_state=0).fit(X)
    noisy = SNFClusterer(3, random_state=0).fit(X.to_dict() | {"noise": noise})
    cost = adjusted_rand_score(Y, plain.labels_) - adjusted_rand_score(Y, noisy.labels_)
    assert cost < 0.05


def test_the_number_of_clusters_is_chosen_with_its_evidence():
    found = SNFClusterer("auto", random_state=0).fit(X)
    assert found.n_clusters_ == len(set(found.labels_)) == 3
    assert 3 in found.n_clusters_evidence_["n_clusters"]


def test_a_constant_modality_is_left_out():
    constant = X.to_dict() | {"still": np.full((120, 2), 0.1)}
    found = SNFClusterer(3, random_state=0).fit(constant)
    expected = SNFClusterer(3, random_state=0).fit(X)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    with pytest.raises(ValueError, match="all modalities are constant"):
        SNFClusterer(3).fit({"still": np.full((120, 2), 0.1)})


def test_sparse_and_single_precision_give_the_same():
    counts = np.random.default_rng(0).poisson(2 * np.eye(3)[Y] @ np.ones((3, 12)) + 1)
    data = {"words": counts.astype(float), "audio": X["audio"]}
    dense = SNFClusterer(3, scaling="l2", random_state=0).fit(data)
    stored = data | {"words": sparse.csr_array(data["words"])}
    single = {name: block.astype(np.float32) for name, block in data.items()}
    for form in (stored, single):
        same = SNFClusterer(3, scaling="l2", random_state=0).fit(form)
        assert adjusted_rand_score(same.labels_, dense.labels_) > 0.95


def test_fewer_stored_similarities_than_neighbors_are_refused():
    with pytest.raises(ValueError, match=r"n_stored=10 .* n_neighbors=20 .* raise"):
        SNFClusterer(3, n_stored=10).fit(X)


def test_by_default_samples_keep_sixty_similarities_or_those_of_their_neighbors():
    for n_neighbors, stored in ((20, 60), (70, 70)):
        found = similarity_network_fusion(X, n_neighbors=n_neighbors)
        same = similarity_network_fusion(X, n_neighbors=n_neighbors, n_stored=stored)
        assert sparse.issparse(found)
        np.testing.assert_array_equal(found.toarray(), same.toarray())


def test_copies_of_samples_share_a_cluster():
    copies = {name: np.repeat(X[name][:12], 25, axis=0) for name in NAMES}
    labels = SNFClusterer(3, random_state=0).fit(copies).labels_.reshape(12, 25)
    assert (labels == labels[:, :1]).all()


@pytest.mark.parametrize("unit", [1.0, 1e30])
def test_new_samples_are_placed_alike_by_all_pairs_and_by_the_nearest(unit):
    data = {name: X[name] * unit for name in X.names}
    scales = [
        SNFClusterer(3, n_stored=stored, scaling=None)
        .fit(data)
        ._interpolations[0]
        .scales
        for stored in (None, 40)
    ]
    np.testing.assert_allclose(*scales, rtol=1e-5)
