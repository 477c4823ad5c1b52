"""The number of clusters that is chosen without classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from mmfusion import GMCClusterer, Modalities, SNFClusterer, SpectralClusterer
from mmfusion.clustering.graph._affinities import (
    normalized_adjacency,
    self_tuned_graph,
)
from mmfusion.clustering.graph._eigenvectors import leading_eigenvectors
from mmfusion.clustering.graph._n_clusters import (
    choose_n_clusters,
    clusters_of_vectors,
    modularity,
)
from mmfusion.clustering.graph._neighbors import nearest_samples

NAMES = ["audio", "text", "video"]
CLUSTERERS = [
    SpectralClusterer("auto", random_state=0),
    SNFClusterer("auto", random_state=0),
    SNFClusterer("auto", n_stored=30, random_state=0),
    GMCClusterer("auto", random_state=0),
]


def name_of(clusterer):
    return type(clusterer).__name__


def planted(k, seed=0, n=180, gap=7.0, width=8):
    """Modalities whose clusters are at other places, with private noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    centers = [gap * np.linalg.qr(rng.normal(size=(width, width)))[0] for _ in NAMES]
    blocks = [own[y] + rng.normal(size=(n, width)) for own in centers]
    return dict(zip(NAMES, blocks, strict=True)), y


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 6))
def test_modularity_is_the_printed_formula(seed, k):
    rng = np.random.default_rng(seed)
    W = rng.random((20, 20)) * (rng.random((20, 20)) < 0.3)
    W = W + W.T
    W[0, 1] = W[1, 0] = 0.5
    labels = rng.integers(k, size=20)
    d, total, expected = W.sum(axis=1), W.sum(), 0.0
    for i in range(20):
        for j in range(20):
            if labels[i] == labels[j]:
                expected += (W[i, j] - d[i] * d[j] / total) / total
    assert modularity(sparse.csr_array(W), labels) == pytest.approx(expected)


@pytest.mark.parametrize("k", [2, 5, 9])
def test_clusters_of_vectors_are_the_components_of_a_graph(k):
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(150) % k)
    X = 60 * np.eye(k)[y] + rng.normal(size=(150, k))
    graph = normalized_adjacency(self_tuned_graph(*nearest_samples(X, 10)))
    vectors = leading_eigenvectors(graph, k, 0)[1]
    mixed = vectors @ np.linalg.qr(rng.normal(size=(k, k)))[0]
    for basis in (vectors, mixed):
        assert adjusted_rand_score(y, clusters_of_vectors(basis)) == 1


@pytest.mark.parametrize("k", [2, 3, 6])
@pytest.mark.parametrize("clusterer", CLUSTERERS, ids=name_of)
def test_the_planted_number_of_clusters_is_chosen_with_its_evidence(clusterer, k):
    data, y = planted(k)
    found = clusterer.fit(data)
    assert found.n_clusters_ == len(set(found.labels_)) == k
    assert adjusted_rand_score(y, found.labels_) > 0.9
    evidence = found.n_clusters_evidence_
    total = evidence["modularity"] + evidence["modularity_in_others"]
    assert evidence["n_clusters"].tolist() == list(range(2, 21))
    assert evidence["n_clusters"][total.argmax()] == k


def test_the_seed_does_not_change_the_choice():
    data, _ = planted(5, gap=2.5)
    first, *others = [
        SpectralClusterer("auto", random_state=s).fit(data).n_clusters_evidence_
        for s in range(3)
    ]
    for other in others:
        for name, values in first.items():
            np.testing.assert_allclose(other[name], values, atol=0.01)


def test_clusters_of_one_modality_alone_do_not_count():
    # two private clusters in each modality, of other samples, beside three common ones
    data, _ = planted(3, gap=9.0)
    rng = np.random.default_rng(1)
    for block in data.values():
        block[:, -1] += 5 * rng.integers(2, size=180)
    assert SpectralClusterer("auto", random_state=0).fit(data).n_clusters_ == 3


@pytest.mark.parametrize("clusterer", CLUSTERERS, ids=name_of)
def test_samples_may_lack_modalities(clusterer):
    data, _ = planted(4)
    observed = np.random.default_rng(0).random((180, 3)) > 0.3
    observed[~observed.any(axis=1), 0] = True
    frame = Modalities(data, observed=observed)
    assert clusterer.fit(frame).n_clusters_ == 4


@pytest.mark.parametrize("clusterer", CLUSTERERS, ids=name_of)
def test_one_modality_has_no_others(clusterer):
    data, _ = planted(4)
    found = clusterer.fit({"text": data["text"]})
    assert found.n_clusters_ == 4
    assert set(found.n_clusters_evidence_) == {"n_clusters", "modularity"}


def test_modalities_of_different_samples_have_no_others():
    data, _ = planted(3)
    observed = np.zeros((180, 2), dtype=bool)
    observed[:90, 0] = observed[90:, 1] = True
    pair = {name: data[name] for name in NAMES[:2]}
    found = SpectralClusterer("auto", random_state=0).fit(
        Modalities(pair, observed=observed)
    )
    assert "modularity_in_others" not in found.n_clusters_evidence_


def test_more_parts_than_numbers_that_are_compared_are_warned_of():
    graph = normalized_adjacency(
        sparse.block_diag([np.ones((6, 6)) - np.eye(6)] * 27).tocsr()
    )
    everywhere = np.ones((162, 2), dtype=bool)
    with pytest.warns(UserWarning, match="chose 20, the largest .*give n_clusters"):
        found, evidence = choose_n_clusters(
            graph, [graph, graph], everywhere, np.random.RandomState(0)
        )
    assert found == 20
    own, others = evidence["modularity"], evidence["modularity_in_others"]
    np.testing.assert_allclose(own, others)  # of copies


def test_a_few_samples_have_a_few_numbers():
    data, _ = planted(2, n=7)
    found = SpectralClusterer("auto", random_state=0).fit(data)
    assert found.n_clusters_evidence_["n_clusters"].tolist() == [2]
