"""The choice among clusterers of all kinds, and their consensus."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import DBSCAN, KMeans
from sklearn.metrics import (
    adjusted_rand_score,
    normalized_mutual_info_score,
    roc_auc_score,
)
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mmfusion import (
    EarlyFusion,
    EarlyFusionClusterer,
    LateFusionClusterer,
    Modalities,
    MultimodalClusterer,
    SpectralClusterer,
)
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.ensemble import _members
from mmfusion.metrics import clustering_accuracy_score

X, y = make_multimodal_blobs(
    n_samples=90, n_features=[5, 6], cluster_std=2.5, random_state=0
)
CHEAP = {
    "graphs": SpectralClusterer(fusion="average"),
    "early": EarlyFusionClusterer(),
    "late": LateFusionClusterer(n_runs=3),
}


@pytest.fixture(scope="module")
def fitted():
    return MultimodalClusterer(3, random_state=0).fit(X)


def bipartite_cut(labels, weights, n_clusters):
    """Embed samples by the dense bipartite graph, as printed, and cluster them."""
    Z = np.hstack(
        [
            w * (own[:, None] == np.unique(own)).astype(float)
            for own, w in zip(labels.T, weights, strict=True)
        ]
    )
    rows, columns = Z.sum(axis=1), Z.sum(axis=0)
    U, _, _ = np.linalg.svd(Z / np.sqrt(np.outer(rows, columns)), full_matrices=False)
    U = U[:, :n_clusters] / np.linalg.norm(U[:, :n_clusters], axis=1, keepdims=True)
    return KMeans(n_clusters, n_init=10, random_state=0).fit_predict(U)


def agreement_of(labels):
    """Average the mutual information of each clustering with the others, in loops."""
    return np.array(
        [
            np.mean(
                [
                    normalized_mutual_info_score(own, other)
                    for o, other in enumerate(labels)
                    if o != m
                ]
            )
            for m, own in enumerate(labels)
        ]
    )


def test_the_member_that_agrees_most_is_chosen(fitted):
    members = list(fitted.clusterers_)
    labels = [fitted.clusterers_[name].labels_ for name in members]
    chosen = int(agreement_of(labels).argmax())
    assert fitted.chosen_ == members[chosen]
    np.testing.assert_array_equal(fitted.labels_, labels[chosen])
    np.testing.assert_array_equal(fitted.member_labels_[:, chosen], labels[chosen])
    assert fitted.agreement_[chosen] == 1


def test_consensus_is_the_cut_of_members_weighted_by_squared_agreement():
    found = MultimodalClusterer(3, combine="hbgf", random_state=0).fit(X)
    assert found.chosen_ is None
    labels = [member.labels_ for member in found.clusterers_.values()]
    weights = agreement_of(labels) ** 2
    weights *= len(labels) / np.sum(weights)
    np.testing.assert_allclose(found.member_weights_, weights, rtol=1e-9)
    expected = bipartite_cut(np.column_stack(labels), weights, 3)
    assert adjusted_rand_score(found.labels_, expected) == 1
    np.testing.assert_array_equal(found.predict(X), found.labels_)


def test_default_members_and_what_is_said_of_them(fitted):
    names = ["co_regularized", "concatenated", "snf", "anchors"]
    assert list(fitted.clusterers_) == [*names, "early", "late"]
    assert fitted.member_labels_.shape == (90, 6)
    for own, agreement in zip(fitted.member_labels_.T, fitted.agreement_, strict=True):
        assert adjusted_rand_score(own, fitted.labels_) == pytest.approx(agreement)
    assert clustering_accuracy_score(y, fitted.labels_) > 0.9


def test_uncertain_samples_are_more_often_wrong():
    data, classes = make_multimodal_blobs(
        n_samples=300, n_features=[4, 4], cluster_std=5.0, random_state=1
    )
    found = MultimodalClusterer(3, random_state=0).fit(data)
    counts = np.zeros((3, 3))
    np.add.at(counts, (found.labels_, classes), 1)
    wrong = counts.argmax(axis=1)[found.labels_] != classes
    assert 0.05 < wrong.mean() < 0.5
    assert roc_auc_score(wrong, found.uncertainty_) > 0.65
    assert found.uncertainty_.min() >= 0
    assert found.uncertainty_.max() < 1


def test_memberships_are_shares_and_predictions_repeat(fitted):
    memberships = fitted.transform(X)
    np.testing.assert_allclose(memberships.sum(axis=1), 1)
    own = memberships[np.arange(len(memberships)), fitted.labels_]
    np.testing.assert_allclose(1 - own, fitted.uncertainty_)
    np.testing.assert_array_equal(fitted.predict(X), fitted.labels_)
    assert list(fitted.get_feature_names_out()) == [
        f"multimodalclusterer{k}" for k in range(3)
    ]


def test_members_that_need_all_modalities_cluster_the_samples_that_have_them():
    observed = np.ones((90, 2), dtype=bool)
    observed[:20, 0] = False
    data = Modalities(X, observed=observed)
    found = MultimodalClusterer(3, random_state=0).fit(data)
    members = list(found.clusterers_)
    for name in ("concatenated", "early"):
        own = found.member_labels_[:, members.index(name)]
        np.testing.assert_array_equal(own < 0, ~observed.all(axis=1))
        assert len(found.clusterers_[name].labels_) == 70
    assert found.labels_.min() == 0
    np.testing.assert_array_equal(found.predict(data[:30]), found.labels_[:30])
    alone = found.predict(data[:10])  # no sample of them for early fusion
    np.testing.assert_array_equal(alone, found.labels_[:10])


def test_members_that_could_cluster_few_samples_are_left_out():
    observed = np.ones((90, 2), dtype=bool)
    observed[:60, 0] = False
    data = Modalities(X, observed=observed)
    found = MultimodalClusterer(3, random_state=0).fit(data)
    assert list(found.clusterers_) == [
        "co_regularized",
        "snf",
        "anchors",
        "late",
    ]
    early = MultimodalClusterer(3, clusterers={"early": EarlyFusionClusterer()})
    with pytest.raises(ValueError, match=r"fewer than half.*ModalityImputer"):
        early.fit(data)
    early.fit(X)
    with pytest.raises(ValueError, match=r"sample 0 lacks a modality.*ModalityImputer"):
        early.predict(data)


def test_rows_of_zeros_are_missing_where_wanted():
    audio = np.array(X.blocks[0])
    audio[:10] = 0
    data = [audio, X.blocks[1]]
    with pytest.warns(UserWarning, match="zero_rows='missing'") as warned:
        MultimodalClusterer(3, random_state=0).fit(data)
    assert len(warned) == 1  # the members say nothing
    found = MultimodalClusterer(3, zero_rows="missing", random_state=0).fit(data)
    early = found.member_labels_[:, list(found.clusterers_).index("early")]
    np.testing.assert_array_equal(np.flatnonzero(early < 0), np.arange(10))


def test_number_of_clusters_is_chosen_or_that_of_the_members():
    apart, _ = make_multimodal_blobs(n_features=[5, 6], random_state=0)
    found = MultimodalClusterer("auto", clusterers=CHEAP, random_state=0).fit(apart)
    assert found.n_clusters_ == 3
    assert 3 in found.n_clusters_evidence_["n_clusters"]
    two = {
        "early": EarlyFusionClusterer(n_clusters=3),
        "late": LateFusionClusterer(n_clusters=3),
        "more": EarlyFusionClusterer(n_clusters=5),
    }
    assert MultimodalClusterer(clusterers=two, random_state=0).fit(X).n_clusters_ == 3
    found = MultimodalClusterer(clusterers=two, combine="hbgf", random_state=0).fit(X)
    assert found.n_clusters_ == 3


def test_members_are_reached_by_name():
    clusterer = MultimodalClusterer(3, clusterers=CHEAP, random_state=0)
    grid = {"late__n_runs": [1, 2], "graphs__n_neighbors": [5]}
    best = GridSearchCV(clusterer, grid, cv=2).fit(X).best_params_
    assert best["graphs__n_neighbors"] == 5
    assert CHEAP["graphs"].n_neighbors == 10
    copy = clone(clusterer).set_params(early=make_pipeline(EarlyFusion(), KMeans()))
    assert "early__kmeans__n_init" in copy.get_params()
    assert copy.fit(X).predict(X).shape == (90,)


def test_clusterers_that_cannot_be_members_are_refused():
    with pytest.raises(ValueError, match="clusterers is empty"):
        MultimodalClusterer(clusterers={}).fit(X)
    with pytest.raises(ValueError, match=r"clusterers\['a'\] is None"):
        MultimodalClusterer(clusterers={"a": None}).fit(X)
    with pytest.raises(TypeError, match=r"clusterers\['a'\] is the class"):
        MultimodalClusterer(clusterers={"a": KMeans}).fit(X)
    with pytest.raises(ValueError, match="called like parameters"):
        MultimodalClusterer(clusterers={"combine": CHEAP["late"]}).fit(X)
    noise = make_pipeline(EarlyFusion(), DBSCAN())
    with pytest.raises(ValueError, match=r"member 'noise'.*n_clusters"):
        MultimodalClusterer(2, clusterers={"noise": noise}).fit(X)
    without = MultimodalClusterer(clusterers={"noise": noise, **CHEAP}, random_state=0)
    assert without.fit(X).labels_.min() == 0
    with pytest.raises(AttributeError) as raised:
        getattr(without, "predict")  # noqa: B009
    assert "member 'noise', Pipeline, has no predict" in str(raised.value.__cause__)


def test_anchors_replace_graphs_of_many_samples():
    many = _members.default_clusterers(_members.MAX_GRAPH_SAMPLES + 1, 10)
    assert list(many) == ["anchors", "reconstruction", "early", "late"]
    assert "anchors" not in _members.default_clusterers(19, 10)
    assert MultimodalClusterer(8, random_state=0).fit(X[:12]).labels_.shape == (12,)
