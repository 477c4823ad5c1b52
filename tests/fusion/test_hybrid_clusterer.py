"""Hybrid fusion of clusterings: what it is made of, and gaps."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from mmfusion import (
    EarlyFusion,
    EarlyFusionClusterer,
    HybridFusionClusterer,
    LateFusionClusterer,
    Modalities,
)
from mmfusion.datasets import make_multimodal_blobs

COMBINES = ["hbgf", "vote", "soft_vote", "coassociation"]
NAMES = ["audio", "text", "video"]


def blobs(missing_rate=0.0, std=2.5, n_samples=90):
    return make_multimodal_blobs(
        n_samples,
        dict(zip(NAMES, (3, 4, 2), strict=True)),
        cluster_std=std,
        missing_rate=missing_rate,
        random_state=0,
    )


@pytest.mark.parametrize("combine", COMBINES)
def test_it_is_late_fusion_with_the_fused_matrix_as_one_more_modality(combine):
    X, _ = blobs()
    params = {"n_clusters": 3, "combine": combine, "n_runs": 2, "random_state": 0}
    hybrid = HybridFusionClusterer(**params).fit(X)
    fused = EarlyFusion().fit_transform(X)
    scaling = hybrid.scaling_ | {"early": None}
    late = LateFusionClusterer(scaling=scaling, **params)
    late.fit(X.to_dict() | {"early": fused})
    np.testing.assert_array_equal(hybrid.labels_, late.labels_)
    np.testing.assert_array_equal(hybrid.modality_labels_, late.modality_labels_)


def test_with_weight_on_the_fused_branch_it_is_early_fusion():
    X, _ = blobs()
    early = EarlyFusionClusterer(AgglomerativeClustering(3)).fit(X)
    hybrid = HybridFusionClusterer(AgglomerativeClustering(3), weights=[0, 0, 0, 1])
    assert adjusted_rand_score(hybrid.fit(X).labels_, early.labels_) == 1


def test_with_no_weight_on_the_fused_branch_it_is_late_fusion():
    X, _ = blobs()
    params = {"clusterer": AgglomerativeClustering(3), "random_state": 0}
    late = LateFusionClusterer(**params).fit(X)
    hybrid = HybridFusionClusterer(weights={"early": 0}, **params).fit(X)
    assert adjusted_rand_score(hybrid.labels_, late.labels_) == 1


@pytest.mark.parametrize("missing", ["mean", "knn", "zero", "skip"])
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_gaps_are_no_obstacle(missing, kind):
    X, y = blobs(missing_rate=0.2, std=0.5)
    X, y = X[X.observed.any(axis=1)], y[X.observed.any(axis=1)]
    if kind == "sparse":
        text = sparse.csr_array(np.where(X.observed[:, [1]], X["text"], 0))
        X = Modalities(X.to_dict() | {"text": text}, observed=X.observed)
    hybrid = HybridFusionClusterer(
        n_clusters=3,
        subsets=[["audio", "text"]],
        missing=missing,
        n_runs=3,
        random_state=0,
    ).fit(X)
    assert list(hybrid.clusterers_) == [*NAMES, "audio+text", "early"]
    assert adjusted_rand_score(hybrid.labels_, y) > 0.8
    complete = X.observed[:, :2].all(axis=1)
    some = X.observed[:, :2].any(axis=1)
    clustered = hybrid.modality_labels_[:, 3] >= 0
    np.testing.assert_array_equal(clustered, complete if missing == "skip" else some)
    later = Modalities(X.to_dict() | {"video": None}, observed=X.observed)[some]
    assert adjusted_rand_score(hybrid.predict(later), y[some]) > 0.7


def test_branches_have_clusterers_of_their_own():
    X, _ = blobs()
    hybrid = HybridFusionClusterer(
        {"early": GaussianMixture(3), "audio": KMeans(3, n_init=1)}, n_runs=2
    )
    hybrid.set_params(early__n_components=4).fit(X)
    assert hybrid.clusterers_["early"][0].n_components == 4
    assert isinstance(hybrid.clusterers_["text"][0], KMeans)


def test_a_modality_with_the_name_of_a_branch_is_refused():
    X, _ = blobs()
    taken = Modalities({"early": X["audio"], "late": X["text"]})
    with pytest.raises(ValueError, match="the same name"):
        HybridFusionClusterer(n_clusters=3).fit(taken)
