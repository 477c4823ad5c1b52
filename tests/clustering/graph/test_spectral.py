"""SpectralClusterer: its objectives by loops, limits, missing samples, input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.cluster import KMeans, SpectralClustering
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, cross_val_score

from mmfusion import Modalities, SpectralClusterer
from mmfusion.alignment import DTWKernel
from mmfusion.clustering.graph._affinities import (
    normalized_adjacency,
    self_tuned_graph,
)
from mmfusion.clustering.graph._embeddings import (
    co_regularized_vectors,
    fuse_graphs,
    learn_graph_weights,
    side_by_side,
)
from mmfusion.clustering.graph._neighbors import nearest_samples
from mmfusion.datasets import make_multimodal_blobs

NAMES = ["audio", "text", "video"]
X, Y = make_multimodal_blobs(
    120, dict.fromkeys(NAMES, 4), cluster_std=[1.5, 2.0, 2.5], random_state=0
)
FUSIONS = ["blend", "average", "auto_weight", "co_regularized"]
ALL_FUSIONS = [*FUSIONS, "concatenated"]


def graphs_of(seed, n=40, n_graphs=3):
    rng = np.random.default_rng(seed)
    return [
        normalized_adjacency(
            self_tuned_graph(*nearest_samples(rng.normal(size=(n, 2)), 5))
        )
        for _ in range(n_graphs)
    ]


def fit(fusion, data=X, **params):
    return SpectralClusterer(3, fusion=fusion, random_state=0, **params).fit(data)


def dense_leading(A, k):
    return np.linalg.eigh(A)[1][:, ::-1][:, :k]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from([0.01, 0.3, 2.0]))
def test_co_regularized_sweeps_are_those_of_dense_matrices(seed, coupling):
    graphs = graphs_of(seed)
    found, path = co_regularized_vectors(graphs, 3, coupling, np.random.RandomState(0))
    A = [graph.toarray() for graph in graphs]
    U = [dense_leading(own, 3) for own in A]
    for _ in range(len(path) - 1):
        for v in range(len(A)):
            drawn = A[v].copy()
            for w in range(len(A)):
                if w != v:
                    drawn += coupling * U[w] @ U[w].T
            U[v] = dense_leading(drawn, 3)
    objective = 0.0
    for v in range(len(A)):
        objective += np.trace(U[v].T @ A[v] @ U[v])
        for w in range(len(A)):
            if w != v:
                objective += coupling * np.trace(U[v] @ U[v].T @ U[w] @ U[w].T)
    assert path[-1] == pytest.approx(objective)
    assert (np.diff(path) >= -1e-9).all()
    for one, other in zip(found, U, strict=True):
        np.testing.assert_allclose(one @ one.T, other @ other.T, atol=1e-5)


def test_graph_weights_solve_their_equation():
    graphs = [*graphs_of(0, n_graphs=1), *graphs_of(1)]
    observed = np.ones((40, 4), dtype=bool)
    weights = learn_graph_weights(graphs, observed, 3, np.random.RandomState(0))
    fused = sum(w * A.toarray() for w, A in zip(weights, graphs, strict=True))
    F = dense_leading(fused, 3)
    cuts = [np.trace(F.T @ (np.eye(40) - A.toarray()) @ F) for A in graphs]
    expected = 1 / (2 * np.sqrt(cuts))
    np.testing.assert_allclose(weights, expected / expected.sum(), atol=2e-3)


def test_a_graph_of_the_common_clusters_gets_more_weight():
    noise = np.random.default_rng(0).normal(size=(120, 4))
    weights = fit("auto_weight", {"audio": X["audio"], "noise": noise})
    assert weights.modality_weights_[0] > 1.2 * weights.modality_weights_[1]


def test_one_modality_is_spectral_clustering_of_its_graph():
    graph = self_tuned_graph(*nearest_samples(X["audio"], 10))
    alone = SpectralClustering(
        3, affinity="precomputed", assign_labels="cluster_qr", random_state=0
    ).fit_predict(graph.toarray())
    for fusion in ALL_FUSIONS:
        found = fit(fusion, X[["audio"]], scaling=None)
        assert adjusted_rand_score(found.labels_, alone) > 0.85
    U = dense_leading(normalized_adjacency(graph).toarray(), 3)
    found = fit("average", X[["audio"]], scaling=None).embedding_
    U = U / np.linalg.norm(U, axis=1, keepdims=True)
    np.testing.assert_allclose(found @ found.T, U @ U.T, atol=1e-5)


def test_without_coupling_the_vectors_of_each_modality_stand_side_by_side():
    found = fit("co_regularized", coupling=0, scaling=None).embedding_
    pieces = []
    for name in NAMES:
        graph = self_tuned_graph(*nearest_samples(X[name], 10))
        U = dense_leading(normalized_adjacency(graph).toarray(), 3)
        pieces.append(U / np.linalg.norm(U, axis=1, keepdims=True) / np.sqrt(3))
    expected = np.hstack(pieces)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_equal_modalities_are_clustered_as_one(fusion):
    copies = dict.fromkeys(NAMES, X["video"])
    alone = fit(fusion, {"video": X["video"]})
    together = fit(fusion, copies)
    assert adjusted_rand_score(together.labels_, alone.labels_) == 1


@pytest.mark.parametrize("fusion", ALL_FUSIONS)
def test_common_clusters_are_found_and_predicted(fusion):
    train, new = X[:90], X[90:]
    found = fit(fusion, train)
    assert adjusted_rand_score(Y[:90], found.labels_) > 0.9
    assert adjusted_rand_score(Y[90:], found.predict(new)) > 0.8
    np.testing.assert_array_equal(found.predict(train), found.labels_)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_samples_that_lack_modalities_are_clustered_by_the_others(fusion):
    rng = np.random.default_rng(0)
    observed = rng.random((120, 3)) > 0.3
    observed[~observed.any(axis=1), 1] = True
    gaps = Modalities(X.to_dict(), observed=observed)
    found = fit(fusion, gaps)
    assert adjusted_rand_score(Y, found.labels_) > 0.8
    assert adjusted_rand_score(Y, found.predict(gaps)) > 0.8
    # what a missing cell holds changes nothing
    other = {n: np.where(observed[:, [v]], X[n], 77.0) for v, n in enumerate(NAMES)}
    again = fit(fusion, Modalities(other, observed=observed))
    np.testing.assert_array_equal(again.labels_, found.labels_)


def test_a_concatenation_lacks_no_modality():
    gaps = Modalities(X.to_dict(), observed=np.arange(360).reshape(120, 3) > 0)
    with pytest.raises(ValueError, match=r"'audio' is missing .* sample 0"):
        fit("concatenated", gaps)


def test_fused_graphs_count_the_modalities_of_both_samples():
    graphs = graphs_of(0, n=6)
    observed = np.ones((6, 3), dtype=bool)
    observed[2, 0] = observed[4, 1] = observed[4, 2] = False
    found = fuse_graphs(graphs, observed).toarray()
    counts = observed.sum(axis=1)
    for i in range(6):
        for j in range(6):
            total = sum(graph[i, j] for graph in graphs)
            assert found[i, j] == pytest.approx(total / np.sqrt(counts[i] * counts[j]))


def test_missing_vectors_are_completed_by_singular_vectors():
    rng = np.random.default_rng(0)
    vectors = [rng.normal(size=(8, 2)) for _ in range(2)]
    observed = np.ones((8, 2), dtype=bool)
    assert side_by_side(vectors, observed).shape == (8, 4)
    observed[0, 0] = False
    found = side_by_side(vectors, observed)
    assert found.shape == (8, 2)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_precomputed_affinities_of_the_graphs_give_the_same(fusion):
    graphs = {n: self_tuned_graph(*nearest_samples(X[n], 10)).toarray() for n in NAMES}
    plain = fit(fusion, scaling=None)
    for form in (graphs, {n: sparse.csr_array(g) for n, g in graphs.items()}):
        given_ = fit(fusion, form, affinity="precomputed")
        assert adjusted_rand_score(given_.labels_, plain.labels_) == 1
        assert adjusted_rand_score(given_.predict(form), plain.labels_) > 0.95


def test_affinities_of_new_samples_are_those_with_the_samples_of_fit():
    train, new = X[:90], X[90:]
    kernels = {n: rbf_kernel(train[n], gamma=0.05) for n in NAMES}
    found = fit("average", kernels, affinity="precomputed")
    between = {n: rbf_kernel(new[n], train[n], gamma=0.05) for n in NAMES}
    assert adjusted_rand_score(Y[90:], found.predict(between)) > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda K: K[:, :80], "a row and a column"),
        (lambda K: K - 0.5, "nonnegative"),
        (lambda K: np.tril(K), r"not symmetric; take \(A \+ A.T\) / 2"),
        (lambda K: np.where(K > 0.99, np.inf, K), "not finite|inf"),
    ],
)
def test_what_is_no_affinity_is_refused(change, message):
    K = rbf_kernel(X["audio"], gamma=0.05)
    with pytest.raises(ValueError, match=f"'audio'.*({message})"):
        fit("average", {"audio": change(K)}, affinity="precomputed")


def test_precomputed_affinities_cannot_be_concatenated():
    K = {"audio": rbf_kernel(X["audio"]), "text": rbf_kernel(X["text"])}
    with pytest.raises(ValueError, match="choose fusion='average'"):
        fit("concatenated", K, affinity="precomputed")


@pytest.mark.parametrize("fusion", ALL_FUSIONS)
def test_sparse_and_single_precision_give_the_same(fusion):
    counts = np.random.default_rng(0).poisson(2 * np.eye(3)[Y] @ np.ones((3, 12)) + 1)
    data = {"words": counts.astype(float), "audio": X["audio"]}
    dense = fit(fusion, data, scaling="l2")
    stored = data | {"words": sparse.csr_array(data["words"])}
    same = fit(fusion, stored, scaling="l2")
    assert adjusted_rand_score(same.labels_, dense.labels_) == 1
    single = {name: block.astype(np.float32) for name, block in data.items()}
    assert (
        adjusted_rand_score(fit(fusion, single, scaling="l2").labels_, dense.labels_)
        > 0.95
    )


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_constant_modality_is_left_out(fusion):
    constant = X.to_dict() | {"still": np.full((120, 2), 3.0)}
    found = fit(fusion, constant)
    np.testing.assert_array_equal(found.labels_, fit(fusion).labels_)
    assert found.modality_weights_[-1] == 0
    with pytest.raises(ValueError, match="all modalities are constant"):
        fit(fusion, {"still": np.full((120, 2), 3.0)})


def test_rows_of_zeros_are_warned_of_and_marked_as_missing():
    blanked = X["text"].copy()
    blanked[::4] = 0
    data = X.to_dict() | {"text": blanked}
    with pytest.warns(UserWarning, match="'text': 25% .*zero_rows='missing'"):
        fit("average", data)
    kept = fit("average", data, zero_rows="keep")
    marked = fit("average", data, zero_rows="missing")
    observed = np.ones((120, 3), dtype=bool)
    observed[::4, 1] = False
    expected = fit("average", Modalities(X.to_dict(), observed=observed))
    np.testing.assert_array_equal(marked.labels_, expected.labels_)
    np.testing.assert_array_equal(marked.predict(data), expected.labels_)
    assert not np.array_equal(kept.embedding_, marked.embedding_)


def test_the_number_of_clusters_is_chosen_with_its_evidence():
    found = SpectralClusterer("auto", random_state=0).fit(X)
    assert found.n_clusters_ == len(set(found.labels_)) == 3
    assert 3 in found.n_clusters_evidence_["n_clusters"]


def test_more_clusters_than_samples_are_refused():
    with pytest.raises(ValueError, match=r"n_samples=4 should be >= n_clusters=5"):
        SpectralClusterer(5).fit(X[:4])


def test_the_embedding_is_clustered_by_k_means():
    found = fit("blend")
    labels = KMeans(3, n_init=10, random_state=1).fit_predict(found.embedding_)
    assert adjusted_rand_score(found.labels_, labels) == 1
    np.testing.assert_allclose(np.linalg.norm(found.embedding_, axis=1), 1)


def test_of_more_parts_than_clusters_the_larger_ones_are_clusters():
    rng = np.random.default_rng(0)
    sizes = [12, 40, 12, 40, 12]
    centers = 40 * np.array([[0, 0], [1, 0], [0, 9], [1, 9], [5, 5]])
    data = {"a": np.repeat(centers, sizes, axis=0) + rng.normal(size=(116, 2))}
    with pytest.warns(UserWarning, match="5 parts .* 2 clusters.*Raise n_neighbors"):
        found = SpectralClusterer(2, fusion="average", random_state=0).fit(data)
    one, other = found.labels_[12:52], found.labels_[64:104]
    assert len(set(one)) == len(set(other)) == 1
    assert one[0] != other[0]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_precomputed_affinities_split_in_a_search(fusion):
    kernels = np.dstack([rbf_kernel(X[n], gamma=0.05) for n in NAMES])
    clusterer = SpectralClusterer(affinity="precomputed", random_state=0)
    grid = {"n_clusters": [2, 3], "fusion": [fusion]}
    search = GridSearchCV(clusterer, grid, scoring="adjusted_rand_score", cv=3)
    search.fit(kernels, Y)
    assert search.best_params_["n_clusters"] == 3
    assert search.best_score_ > 0.8
    assert search.predict(kernels[:5]).shape == (5,)


def test_modalities_of_affinities_are_not_split_with_a_remedy():
    kernels = Modalities({n: rbf_kernel(X[n], gamma=0.05) for n in NAMES})
    clusterer = SpectralClusterer(3, affinity="precomputed")
    with pytest.raises(ValueError, match=r"np\.dstack\(X\.blocks\)"):
        cross_val_score(clusterer, kernels, Y, error_score="raise")


def test_steps_are_reported_if_verbose(capsys):
    fit("average", X[:40])
    assert capsys.readouterr().out == ""
    fit("average", X[:40], verbose=True)
    steps = capsys.readouterr().out.splitlines()
    assert len(steps) == 3
    assert all(line.startswith("[SpectralClusterer] ") for line in steps)


@pytest.mark.parametrize("fusion", ALL_FUSIONS)
def test_the_seed_and_the_number_of_threads_decide_nothing_else(fusion):
    once, again = fit(fusion), fit(fusion, n_jobs=2)
    np.testing.assert_array_equal(once.labels_, again.labels_)
    np.testing.assert_array_equal(once.embedding_, again.embedding_)


@pytest.mark.parametrize("fusion", ALL_FUSIONS)
def test_samples_in_another_order_have_the_same_clusters(fusion):
    order = np.random.default_rng(1).permutation(len(X))
    assert (
        adjusted_rand_score(fit(fusion, X[order]).labels_, fit(fusion).labels_[order])
        == 1
    )


def test_sequences_are_clustered_by_their_kernel():
    rng = np.random.default_rng(0)
    walks = [
        np.cumsum(rng.normal(step, 1, size=(rng.integers(10, 20), 1)), axis=0)
        for step in np.repeat([0.0, 4.0], 15)
    ]
    kernel = DTWKernel("rbf").fit_transform([walks])
    found = SpectralClusterer(2, affinity="precomputed", random_state=0).fit(
        {"walks": kernel}
    )
    assert adjusted_rand_score(found.labels_, np.repeat([0, 1], 15)) == 1
    with pytest.raises(ValueError, match="'walks' holds sequences"):
        SpectralClusterer(2).fit({"walks": walks})


def test_the_objective_does_not_fall_where_eigenvalues_are_equal():
    ring = sparse.csr_array(np.roll(np.eye(90), 1, axis=1))
    graph = normalized_adjacency(sparse.block_diag([ring + ring.T] * 5).tocsr())
    vectors, path = co_regularized_vectors(
        [graph] * 3, 5, 0.5, np.random.RandomState(0)
    )
    assert (np.diff(path) >= -1e-9).all()
    # the parts are the clusters of all graphs, which agree
    assert path[-1] == pytest.approx(3 * 5 + 0.5 * 6 * 5)
    assert len(np.unique(np.round(vectors[0], 6), axis=0)) == 5


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_modality_of_noise_costs_little(fusion):
    noise = np.random.default_rng(0).normal(size=(120, 5))
    found = fit(fusion, X.to_dict() | {"noise": noise})
    alone = adjusted_rand_score(Y, fit(fusion).labels_)
    assert adjusted_rand_score(Y, found.labels_) > alone - 0.05


@pytest.mark.parametrize("fusion", FUSIONS)
def test_common_clusters_are_found_under_louder_private_ones(fusion):
    rng = np.random.default_rng(0)
    common = np.arange(150) % 3
    blocks = {}
    for name in NAMES:
        private = rng.integers(2, size=150)
        shared = 6 * np.eye(3)[common] + rng.normal(size=(150, 3))
        own = 9 * private[:, None] + rng.normal(size=(150, 1))
        blocks[name] = np.hstack([shared, own])
    found = fit(fusion, blocks, scaling="block")
    assert adjusted_rand_score(common, found.labels_) > 0.9


@pytest.mark.parametrize("fusion", FUSIONS)
def test_categories_are_no_constant_modality(fusion):
    noise = np.random.default_rng(0).normal(size=(120, 3))
    kinds = {"kind": np.eye(3)[Y]}
    found = fit(fusion, kinds | {"noise": noise})
    assert found.modality_weights_[0] > 0
    assert adjusted_rand_score(Y, found.labels_) > 0.5
    assert adjusted_rand_score(Y, fit(fusion, kinds).labels_) == 1


def test_what_new_samples_may_not_be_is_refused():
    K = {n: rbf_kernel(X[n], gamma=0.05) for n in NAMES}
    found = fit("average", K, affinity="precomputed")
    with pytest.raises(ValueError, match=r"'audio'.*nonnegative"):
        found.predict({n: -own for n, own in K.items()})
    blanked = X["text"].copy()
    blanked[:9] = 0
    with pytest.raises(ValueError, match="choose fusion='average'"):
        fit("concatenated", X.to_dict() | {"text": blanked}, zero_rows="missing")
    with pytest.raises(ValueError, match=r"n_samples=2.*'auto'"):
        SpectralClusterer("auto").fit(X[:2])
