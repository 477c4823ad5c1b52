"""GMCClusterer: its updates by loops and a solver, limits, missing samples."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.sparse.csgraph import connected_components
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score

from mmfusion import GMCClusterer, Modalities
from mmfusion.clustering.graph._gmc import (
    CandidateEdges,
    modality_graph,
    unified_rows,
    unify_graphs,
)
from mmfusion.clustering.graph._neighbors import nearest_samples
from mmfusion.clustering.graph._simplex import nearest_on_simplex
from mmfusion.datasets import make_multimodal_blobs

NAMES = ["audio", "text", "video"]
X, Y = make_multimodal_blobs(
    120, dict.fromkeys(NAMES, 4), cluster_std=[0.8, 1.0, 1.2], random_state=0
)
SEEDS = st.integers(0, 2**16)


def neighbors_of(blocks, K):
    found = [nearest_samples(block, K + 1) for block in blocks]
    return [d for d, _ in found], [i for _, i in found]


def simplex_by_bisection(target):
    low, high = target.min() - 1, target.max()
    for _ in range(200):
        middle = (low + high) / 2
        if np.maximum(target - middle, 0).sum() > 1:
            low = middle
        else:
            high = middle
    return np.maximum(target - high, 0)


def gmc_by_loops(blocks, K, k, n_rounds):
    """Alternate on whole matrices; return the unified graph of every round."""
    n, V = len(blocks[0]), len(blocks)
    distances, indices = neighbors_of(blocks, K)
    S = [np.zeros((n, n)) for _ in range(V)]
    for v in range(V):
        for i in range(n):
            d = distances[v][i] ** 2
            for j in range(K):
                S[v][i, indices[v][i, j]] = (d[K] - d[j]) / (K * d[K] - d[:K].sum())
    U, w, lam, path = sum(S) / V, np.full(V, 1 / V), 1.0, []
    F, _ = bottom(U, k)
    for _ in range(n_rounds):
        for v in range(V):
            S[v][:] = 0
            for i in range(n):
                near = indices[v][i]
                c = distances[v][i] ** 2 - 2 * w[v] * U[i, near]
                last = c.max()
                for j in range(K + 1):
                    S[v][i, near[j]] = (last - c[j]) / ((K + 1) * last - c.sum())
        least = np.linalg.norm(U) / 100
        w = np.array([1 / (2 * max(np.linalg.norm(U - own), least)) for own in S])
        U = np.zeros((n, n))
        for i in range(n):
            allowed = np.flatnonzero(sum(own[i] for own in S) > 0)
            g = ((F[i] - F[allowed]) ** 2).sum(axis=1)
            target = sum(w[v] * S[v][i, allowed] for v in range(V)) - lam / 2 * g
            U[i, allowed] = simplex_by_bisection(target / w.sum())
        path.append((U + U.T) / 2)
        n_parts, _ = connected_components(U, directed=False)
        if n_parts == k:
            break
        if n_parts < k:
            F, lam = bottom(U, k)[0], 2 * lam
        else:
            lam /= 2
    return path


def bottom(U, k):
    W = (U + U.T) / 2
    values, vectors = np.linalg.eigh(np.diag(W.sum(axis=1)) - W)
    return vectors[:, :k], values[:k]


@settings(max_examples=8, deadline=None)
@given(SEEDS, st.integers(1, 3), st.integers(2, 4))
def test_the_rounds_are_those_of_loops(seed, n_modalities, k):
    rng = np.random.default_rng(seed)
    centers = 3 * np.eye(k)[np.arange(28) % k]
    blocks = [centers + rng.normal(size=(28, k)) for _ in range(n_modalities)]
    path = gmc_by_loops(blocks, 5, k, 3)
    distances, indices = neighbors_of(blocks, 5)
    edges = CandidateEdges.of(28, indices, [np.arange(28)] * n_modalities)
    found = unify_graphs(distances, edges, k, len(path), np.random.RandomState(0))
    np.testing.assert_allclose(found.graph.toarray(), path[-1], atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_rows_of_the_unified_graph_minimise_the_objective(seed):
    rng = np.random.default_rng(seed)
    edges = CandidateEdges(
        np.array([[0, 1, 2, 3]]), np.ones((1, 4), bool), [], [np.array([0])] * 2
    )
    graphs = [nearest_on_simplex(rng.normal(size=(1, 4))) + 1e-9 for _ in range(2)]
    weights, costs = rng.uniform(0.1, 2, 2), rng.random((1, 4))
    found = unified_rows(graphs, weights, costs, 0.7, edges)[0]

    def objective(u):
        fit = sum(
            w * ((u - s) ** 2).sum() for w, s in zip(weights, graphs, strict=True)
        )
        return fit + 0.7 * (u * costs).sum()

    best = minimize(
        objective,
        np.full(4, 0.25),
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda u: u.sum() - 1},
        tol=1e-12,
    )
    assert objective(found) <= best.fun + 1e-9
    np.testing.assert_allclose(found, best.x, atol=1e-4)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_rows_of_a_modality_minimise_the_objective_at_its_regularisation(seed):
    rng = np.random.default_rng(seed)
    squares, u, w = np.sort(rng.random((1, 5))), rng.random((1, 5)), 0.3
    found = modality_graph(squares, u, np.arange(5)[None], w)[0]
    assert found.sum() == pytest.approx(1)
    assert np.count_nonzero(found > 1e-12) == 4  # one of the candidates is left out
    # all entries of the support have the same derivative, with this alpha
    costs = (squares - 2 * w * u)[0]
    slope = (costs[:, None] - costs) / np.where(np.eye(5), 1, found - found[:, None])
    pairs = slope[~np.eye(5, dtype=bool)]
    np.testing.assert_allclose(pairs, pairs[0], rtol=1e-6)


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_projections_on_the_simplex_are_those_of_bisection(seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(4, 6)) * 10.0 ** rng.integers(-3, 3)
    rows[0, 2:] = -np.inf
    found = nearest_on_simplex(rows)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    for row, projected in zip(rows, found, strict=True):
        finite = np.isfinite(row)
        expected = simplex_by_bisection(row[finite])
        np.testing.assert_allclose(projected[finite], expected, atol=1e-9)
    assert (nearest_on_simplex(np.full((1, 3), -np.inf)) == 0).all()


def test_components_are_returned_at_once():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    data = [50 * np.eye(3)[y] + rng.normal(size=(90, 3)) for _ in range(2)]
    found = GMCClusterer(3, n_neighbors=8, random_state=0).fit(data)
    assert found.n_iter_ == 1
    assert found.n_components_ == 3
    np.testing.assert_allclose(found.eigenvalues_, 0, atol=1e-9)
    assert adjusted_rand_score(y, found.labels_) == 1
    np.testing.assert_allclose(np.sort(found.embedding_, axis=1)[:, -1], 1)


def test_equal_modalities_are_clustered_as_one():
    alone = GMCClusterer(3, random_state=0).fit({"audio": X["audio"]})
    copies = GMCClusterer(3, random_state=0).fit(dict.fromkeys(NAMES, X["audio"]))
    assert copies.n_components_ == alone.n_components_ == 3  # U = S bounds the weights
    assert adjusted_rand_score(copies.labels_, alone.labels_) == 1
    np.testing.assert_allclose(copies.modality_weights_, 1 / 3)


def test_a_modality_of_the_common_clusters_counts_more_than_noise():
    noise = np.random.default_rng(0).normal(size=(120, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = GMCClusterer(3, random_state=0).fit(X.to_dict() | {"noise": noise})
    assert found.modality_weights_.argmin() == 3
    assert found.modality_weights_.sum() == pytest.approx(1)


def test_common_clusters_are_found_and_predicted():
    train, new = X[:90], X[90:]
    found = GMCClusterer(3, random_state=0).fit(train)
    assert found.n_components_ == 3
    assert adjusted_rand_score(Y[:90], found.labels_) > 0.9
    assert adjusted_rand_score(Y[90:], found.predict(new)) > 0.8
    np.testing.assert_array_equal(found.predict(train), found.labels_)


def test_the_order_and_the_units_do_not_matter():
    plain = GMCClusterer(3, scaling=None, random_state=0).fit(X)
    order = np.random.default_rng(0).permutation(120)
    data = {name: X[name][order] for name in NAMES[::-1]}
    data["text"] = data["text"] * 1e-100
    other = GMCClusterer(3, scaling=None, random_state=0).fit(data)
    assert adjusted_rand_score(plain.labels_[order], other.labels_) == 1
    np.testing.assert_allclose(other.modality_weights_[::-1], plain.modality_weights_)


def test_samples_that_lack_modalities_are_clustered_by_the_others():
    rng = np.random.default_rng(0)
    observed = rng.random((120, 3)) > 0.3
    observed[~observed.any(axis=1), 1] = True
    gaps = Modalities(X.to_dict(), observed=observed)
    found = GMCClusterer(3, random_state=0).fit(gaps)
    assert adjusted_rand_score(Y, found.labels_) > 0.8
    assert adjusted_rand_score(Y, found.predict(gaps)) > 0.8
    other = {n: np.where(observed[:, [v]], X[n], 77.0) for v, n in enumerate(NAMES)}
    again = GMCClusterer(3, random_state=0).fit(Modalities(other, observed=observed))
    np.testing.assert_array_equal(again.labels_, found.labels_)


def test_a_collapse_is_warned_of():
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(150, 2))
    cloud[:20] += 30
    cloud[20:40] -= 30
    with pytest.warns(UserWarning, match="one of 3 clusters has 73% .*SpectralCluster"):
        GMCClusterer(3, random_state=0).fit({"a": cloud})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GMCClusterer(3, random_state=0).fit(X)


def test_another_number_of_components_is_warned_of():
    with pytest.warns(ConvergenceWarning, match=r"1 components after 1 rounds.*max_it"):
        few = GMCClusterer(3, max_iter=1, random_state=0).fit(
            {"a": np.random.default_rng(0).normal(size=(80, 3))}
        )
    assert len(set(few.labels_)) == 3
    rng = np.random.default_rng(0)
    y = np.arange(100) % 5
    data = {"a": 50 * np.eye(5)[y] + rng.normal(size=(100, 5))}
    with pytest.warns(ConvergenceWarning, match=r"5 components .* n_clusters=2; more"):
        many = GMCClusterer(2, n_neighbors=5, random_state=0).fit(data)
    assert len(set(many.labels_)) == 2


def test_the_number_of_clusters_is_chosen_with_its_evidence():
    found = GMCClusterer("auto", random_state=0).fit(X)
    assert found.n_clusters_ == len(set(found.labels_)) == 3
    assert 3 in found.n_clusters_evidence_["n_clusters"]


def test_a_constant_modality_is_left_out():
    constant = X.to_dict() | {"still": np.full((120, 2), 3.0)}
    found = GMCClusterer(3, random_state=0).fit(constant)
    expected = GMCClusterer(3, random_state=0).fit(X)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    assert found.modality_weights_[-1] == 0
