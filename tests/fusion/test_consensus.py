"""Consensus of clusterings, against the algorithms as printed (slow_consensus)."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix
from sklearn.preprocessing import normalize

from mmfusion import _memory
from mmfusion.fusion.combination import _clusterings, _consensus
from mmfusion.fusion.combination._clusterings import BaseClusterings

from . import slow_consensus as slow

SIZES = [(3, 3, 3, 3), (3, 2, 3, 4, 3), (3, 5, 3, 6)]


def rng():
    return np.random.RandomState(0)


def combine(method, base, n_clusters=3, n_landmarks=1000):
    match method:
        case "hbgf":
            return _consensus.hbgf(base, n_clusters, rng())
        case "coassociation":
            return _consensus.coassociation(base, n_clusters, rng(), n_landmarks)
    return _consensus.vote(base, n_clusters)


METHODS = ["hbgf", "coassociation", "vote"]


def with_soft(base, seed=0):
    """Memberships around the labels."""
    draws = np.random.default_rng(seed)
    soft = []
    for run, size in zip(base.labels.T, base.n_clusters, strict=True):
        alpha = 0.3 + 2 * (run[:, None] == np.arange(size))
        soft.append(draws.gamma(alpha) + 1e-3)
        soft[-1] /= soft[-1].sum(axis=1, keepdims=True)
    return replace(base, memberships=soft)


@pytest.fixture(params=[2**15, 7], ids=["one chunk", "chunks"])
def chunk_rows(request, monkeypatch):
    monkeypatch.setattr(_clusterings, "CLUSTERING_CHUNK_ROWS", request.param)


# Tables


@pytest.mark.usefixtures("chunk_rows")
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_contingencies_are_those_of_each_pair_of_runs(missing):
    base, _ = slow.noisy_base(sizes=(3, 2, 4), missing=missing)
    tables = _clusterings.contingencies(base)
    edges = base.offsets
    for r in range(3):
        for s in range(3):
            both = (base.labels[:, [r, s]] >= 0).all(axis=1)
            expected = contingency_matrix(base.labels[both, r], base.labels[both, s])
            found = tables[edges[r] : edges[r + 1], edges[s] : edges[s + 1]]
            np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("chunk_rows")
@pytest.mark.parametrize("missing", [0.0, 0.4])
@pytest.mark.parametrize("sizes", [*SIZES, (3, 1, 1)])
def test_information_between_runs_is_that_of_sklearn(sizes, missing):
    base, _ = slow.noisy_base(sizes=sizes, missing=missing)
    found = _clusterings.mutual_information_between(base)
    np.testing.assert_allclose(found, slow.information(base), atol=1e-12)


def test_runs_without_a_common_sample_share_no_information():
    labels = np.array([[0, -1], [1, -1], [-1, 0], [-1, 1]])
    base = BaseClusterings(labels, np.array([2, 2]), np.ones(2))
    found = _clusterings.mutual_information_between(base)
    np.testing.assert_array_equal(found, np.eye(2))


@pytest.mark.usefixtures("chunk_rows")
def test_indicator_is_that_of_loops():
    base, _ = slow.noisy_base(sizes=(3, 2, 4), missing=0.3)
    for each in (base, with_soft(base)):
        np.testing.assert_allclose(each.indicator().toarray(), slow.indicator(each))
        stacked = np.vstack([part.toarray() for _, part in each.chunks()])
        np.testing.assert_allclose(stacked, slow.indicator(each))


# Vote


@pytest.mark.usefixtures("chunk_rows")
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("seed", range(2))
def test_vote_is_that_of_every_permutation(sizes, missing, soft, seed):
    base, _ = slow.noisy_base(40, sizes, missing=missing, seed=seed)
    base = with_soft(base, seed) if soft else base
    labels, consensus = _consensus.vote(base, 3)
    np.testing.assert_array_equal(labels, slow.vote(base, 3))
    np.testing.assert_array_equal(labels, consensus.assign(base))


@pytest.mark.parametrize("seed", range(5))
def test_equal_votes_go_to_the_label_whose_voters_share_more_members_with_it(seed):
    base, _ = slow.noisy_base(40, (3, 3), noise=0.4, seed=seed)
    base = replace(base, weights=np.ones(2))  # two runs that differ are a tie
    np.testing.assert_array_equal(_consensus.vote(base, 3)[0], slow.vote(base, 3))


def test_the_heavier_side_wins_a_vote():
    agreed = np.repeat([0, 1], 5)
    labels = np.column_stack([agreed, agreed, agreed, agreed])
    labels[0] = [1, 1, 0, 0]
    labels[9] = [1, 0, 1, 1]
    base = BaseClusterings(labels, np.full(4, 2), np.array([0.9, 1, 1, 1]))
    found, _ = _consensus.vote(base, 2)
    np.testing.assert_array_equal(found, agreed)
    heavy = replace(base, weights=np.array([1.2, 1, 1, 1]))
    found, _ = _consensus.vote(heavy, 2)
    np.testing.assert_array_equal(found[1:], agreed[1:])
    assert found[0] == found[9]


def test_a_run_of_weight_zero_has_no_influence_on_a_vote():
    base, _ = slow.noisy_base(sizes=(3, 3, 3, 3, 3), noise=0.3)
    muted = replace(base, weights=np.array([0, 1, 1.1, 0, 0.9]))
    rest = BaseClusterings(
        base.labels[:, [1, 2, 4]], np.full(3, 3), np.array([1, 1.1, 0.9])
    )
    labels, _ = _consensus.vote(muted, 3)
    np.testing.assert_array_equal(labels, _consensus.vote(rest, 3)[0])


def test_a_vote_without_a_run_of_that_many_clusters_is_refused():
    base, _ = slow.noisy_base(sizes=(3, 4))
    with pytest.raises(ValueError, match=r"no base clustering has 5 .* \[3, 4\]"):
        _consensus.vote(base, 5)


# Bipartite graph


@pytest.mark.usefixtures("chunk_rows")
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("sizes", SIZES)
def test_embedding_is_that_of_the_singular_vectors(sizes, missing, soft):
    base, truth = slow.noisy_base(50, sizes, missing=missing, noise=0.2)
    base = with_soft(base) if soft else base
    seen = (base.labels >= 0).any(axis=1)
    base, truth = base.take(np.flatnonzero(seen)), truth[seen]
    labels, consensus = _consensus.hbgf(base, 3, rng())
    embedded = normalize(base.indicator() @ consensus.projection)
    expected = slow.bipartite_embedding(base, 3)
    # equal up to a rotation: the same inner products
    np.testing.assert_allclose(embedded @ embedded.T, expected @ expected.T, atol=1e-8)
    nearest = ((embedded[:, None] - consensus.centers) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(labels, nearest)


@pytest.mark.usefixtures("chunk_rows")
def test_samples_go_to_the_nearest_centre_however_long_it_is():
    base, _ = slow.noisy_base(50, (3, 4, 2))
    projection = np.random.default_rng(0).normal(size=(9, 2))
    centers = np.array([[0.1, 0.0], [2.0, 0.5], [-0.5, -0.5], [0.0, 1.5]])
    found = _consensus.ConsensusMap(projection, centers).assign(base)
    rows = base.indicator() @ projection
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = [np.argmin([((r - c) ** 2).sum() for c in centers]) for r in rows]
    np.testing.assert_array_equal(found, expected)
    assert len(set(expected)) > 2


def test_hbgf_finds_clusters_that_no_run_has():
    base, truth = slow.noisy_base(90, (3,) * 6, noise=0.3, seed=1)
    alone = [adjusted_rand_score(truth, run) for run in base.labels.T]
    labels, _ = _consensus.hbgf(base, 3, rng())
    assert adjusted_rand_score(truth, labels) > max(alone) + 0.1


def test_k_means_on_some_of_the_samples_gives_the_same_partition(monkeypatch):
    base, _ = slow.noisy_base(200, (3,) * 8, noise=0.1)
    whole, _ = _consensus.hbgf(base, 3, rng())
    monkeypatch.setattr(_consensus, "CONSENSUS_KMEANS_ROWS", 60)
    part, consensus = _consensus.hbgf(base, 3, rng())
    assert adjusted_rand_score(whole, part) == 1
    np.testing.assert_array_equal(part, consensus.assign(base))


def test_agreement_on_more_clusters_than_required_is_cut_between_them():
    agreed = np.repeat(np.arange(5), 6)
    base = BaseClusterings(np.tile(agreed[:, None], (1, 3)), np.full(3, 5), np.ones(3))
    for n_clusters in (2, 5, 9):
        labels, _ = _consensus.hbgf(base, n_clusters, rng())
        assert len(np.unique(labels)) == min(5, n_clusters)
        for cluster in range(5):
            assert len(np.unique(labels[agreed == cluster])) == 1


def test_runs_that_agree_give_one_result_for_one_seed():
    # 600 base clusters, of which the graph has 10 components: eigenvalues repeat
    agreed = np.arange(200) % 10
    base = BaseClusterings(
        np.tile(agreed[:, None], (1, 60)), np.full(60, 10), np.full(60, 0.1)
    )
    first, _ = _consensus.hbgf(base, 10, rng())
    assert adjusted_rand_score(agreed, first) == 1
    for _ in range(3):
        np.testing.assert_array_equal(_consensus.hbgf(base, 10, rng())[0], first)


# Co-association


@pytest.mark.parametrize("missing", [0.0, 0.5])
@pytest.mark.parametrize("sizes", SIZES)
def test_coassociation_distance_is_that_of_loops(sizes, missing):
    base, _ = slow.noisy_base(40, sizes, missing=missing)
    found = _consensus.coassociation_distance(base)
    np.testing.assert_allclose(found, slow.coassociation_distance(base), atol=1e-12)


def test_pairs_that_do_not_fit_into_memory_are_refused_before_they_are_made(
    monkeypatch,
):
    monkeypatch.setattr(_memory, "available_bytes", lambda: 0)
    labels = np.arange(2000)[:, None]  # of which no two are alike
    base = BaseClusterings(labels, np.array([2000]), np.ones(1))
    with pytest.raises(ValueError, match=r"co-association of 2000.*n_landmarks"):
        _consensus.coassociation(base, 3, rng(), 2000)


def test_pairs_are_computed_in_blocks_of_symmetric_distances(monkeypatch):
    base, _ = slow.noisy_base(60, (3, 3, 4, 3, 3), 0.3, seed=0)
    whole = _consensus.coassociation_distance(base)
    monkeypatch.setattr(_consensus, "DISTANCE_BLOCK_CELLS", 7 * 60)
    found = _consensus.coassociation_distance(base)
    np.testing.assert_allclose(found, whole, atol=1e-15)
    np.testing.assert_array_equal(found, found.T)


def test_pairs_take_the_memory_of_one_table():
    base, _ = slow.noisy_base(1500, (3,) * 10, 0.9, seed=0)
    tracemalloc.start()
    distance = _consensus.coassociation_distance(base)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.8 * distance.nbytes


@pytest.mark.parametrize("seed", range(3))
def test_linkage_is_that_of_scipy(seed):
    base, _ = slow.noisy_base(60, (3, 3, 4, 3, 3), 0.15, seed=seed)
    labels, _ = _consensus.coassociation(base, 3, rng(), 1000)
    seen = (base.labels >= 0).any(axis=1)
    seen_base = base.take(np.flatnonzero(seen))
    distance = _consensus.coassociation_distance(seen_base)  # checked above
    tree = linkage(squareform(distance), method="average")
    assert tree[-3, 2] < tree[-2, 2] < tree[-1, 2]  # the cut is not a tie
    expected = fcluster(tree, 3, criterion="maxclust")
    assert adjusted_rand_score(labels[seen], expected) == 1
    np.testing.assert_array_equal(labels[~seen], -1)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    n_clusters=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_linkage_of_groups_is_that_of_their_samples(sizes, n_clusters, seed):
    apart = np.random.default_rng(seed).random((len(sizes), len(sizes))) + 0.5
    apart = apart + apart.T
    np.fill_diagonal(apart, 0)
    which = np.repeat(np.arange(len(sizes)), sizes)
    found = _consensus.average_linkage(apart.copy(), np.array(sizes), n_clusters)
    assert len(np.unique(found)) == min(n_clusters, len(sizes))
    k = min(n_clusters, len(sizes))
    if k > 1:  # one cluster of two samples is two to an old scipy
        tree = linkage(squareform(apart[np.ix_(which, which)]), method="average")
        expected = fcluster(tree, k, criterion="maxclust")
        assert adjusted_rand_score(found[which], expected) == 1


@pytest.mark.usefixtures("chunk_rows")
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_samples_join_the_landmarks_that_they_are_most_often_with(missing):
    base, _ = slow.noisy_base(80, (3, 3, 4, 3, 3), 0.2, missing)
    base = base.take(base.clustered())
    chosen = rng().choice(len(base.labels), 30, replace=False)
    landmarks = base.take(np.sort(chosen))
    linked, _ = _consensus.coassociation(landmarks, 3, rng(), 1000)
    labels, consensus = _consensus.coassociation(base, 3, rng(), 30)
    expected = slow.joins(base, landmarks, linked, 3)
    for i, own in enumerate(base.labels):  # like a landmark, so with it
        same = (landmarks.labels == own).all(axis=1)
        expected[i] = linked[same.argmax()] if same.any() else expected[i]
    np.testing.assert_array_equal(labels[np.sort(chosen)], linked)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(consensus.assign(base), labels)


def test_landmarks_give_the_partition_of_all_samples_where_clusters_are_clear():
    base, truth = slow.noisy_base(200, (3,) * 8, noise=0.1)
    whole, _ = _consensus.coassociation(base, 3, rng(), 1000)
    part, _ = _consensus.coassociation(base, 3, rng(), 40)
    assert adjusted_rand_score(truth, whole) > 0.95
    assert adjusted_rand_score(whole, part) > 0.95


# All of them


@pytest.mark.parametrize("method", METHODS)
def test_runs_that_agree_are_returned(method):
    agreed = np.array([0, 0, 1, 2, 1, 2, 2])
    labels = np.column_stack([agreed, (agreed + 1) % 3, (agreed + 2) % 3])
    base = BaseClusterings(labels, np.full(3, 3), np.ones(3))
    assert adjusted_rand_score(combine(method, base)[0], agreed) == 1


@settings(max_examples=20, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    names=st.lists(st.permutations(range(3)), min_size=5, max_size=5),
    seed=st.integers(0, 20),
)
def test_names_of_base_clusters_do_not_matter(method, names, seed):
    base, _ = slow.noisy_base(60, (3,) * 5, noise=0.15, seed=seed)
    renamed = [
        np.array(own)[run] for own, run in zip(names, base.labels.T, strict=True)
    ]
    again = replace(base, labels=np.column_stack(renamed))
    assert adjusted_rand_score(combine(method, base)[0], combine(method, again)[0]) == 1


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_runs_does_not_matter(method):
    base, _ = slow.noisy_base(60, (3, 4, 3, 3, 2), noise=0.15)
    order = [3, 0, 4, 2, 1]
    turned = BaseClusterings(
        base.labels[:, order], base.n_clusters[order], base.weights[order]
    )
    assert (
        adjusted_rand_score(combine(method, base)[0], combine(method, turned)[0]) == 1
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_unit_of_weights_does_not_matter(method):
    base, _ = slow.noisy_base(60, (3, 4, 3, 3, 2), noise=0.25)
    heavy = replace(base, weights=1000 * base.weights)
    np.testing.assert_array_equal(combine(method, base)[0], combine(method, heavy)[0])


@pytest.mark.parametrize("method", ["hbgf", "coassociation"])
def test_weights_of_whole_numbers_are_repetitions(method):
    base, _ = slow.noisy_base(60, (3, 3, 3), noise=0.2, seed=2)
    weighted = replace(base, weights=np.array([1.0, 3.0, 2.0]))
    times = [0, 1, 1, 1, 2, 2]
    repeated = BaseClusterings(base.labels[:, times], np.full(6, 3), np.ones(6))
    found, expected = combine(method, weighted)[0], combine(method, repeated)[0]
    assert adjusted_rand_score(found, expected) == 1


@pytest.mark.usefixtures("chunk_rows")
@pytest.mark.parametrize("method", METHODS)
def test_samples_in_no_cluster_stay_out_and_move_no_others(method):
    base, _ = slow.noisy_base(60, (3,) * 5, noise=0.15)
    nothing = np.full((40, 5), -1)
    more = replace(base, labels=np.vstack([nothing, base.labels]))
    labels, consensus = combine(method, more)
    np.testing.assert_array_equal(labels[:40], -1)
    np.testing.assert_array_equal(consensus.assign(more)[:40], -1)
    assert adjusted_rand_score(labels[40:], combine(method, base)[0]) == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_run_in_which_all_is_noise_has_no_influence(method):
    base, _ = slow.noisy_base(60, (3,) * 4, noise=0.15)
    noise = np.full((60, 1), -1)
    more = BaseClusterings(
        np.hstack([noise, base.labels]),
        np.array([0, 3, 3, 3, 3]),
        np.append(5.0, base.weights),
    )
    assert adjusted_rand_score(combine(method, more)[0], combine(method, base)[0]) == 1


@pytest.mark.usefixtures("chunk_rows")
@pytest.mark.parametrize("method", METHODS)
def test_new_samples_like_old_ones_get_their_cluster(method):
    base, _ = slow.noisy_base(60, (3, 4, 3, 3), noise=0.2, missing=0.1)
    base = base.take(base.clustered())
    _, consensus = combine(method, base)
    order = np.random.default_rng(1).permutation(len(base.labels))
    expected = consensus.assign(base)[order]
    np.testing.assert_array_equal(consensus.assign(base.take(order)), expected)
    one = np.concatenate([consensus.assign(base.take([i])) for i in order])
    np.testing.assert_array_equal(one, expected)
