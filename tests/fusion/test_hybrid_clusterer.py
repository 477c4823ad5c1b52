"""Hybrid fusion of clusterings: its branches, and missing modalities."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from mmfusion import (
    HybridFusionClusterer,
    Modalities,
)
from mmfusion.datasets import make_multimodal_blobs

NAMES = ["audio", "text", "video"]


def blobs(missing_rate=0.0, std=2.5, n_samples=90):
    return make_multimodal_blobs(
        n_samples,
        dict(zip(NAMES, (3, 4, 2), strict=True)),
        cluster_std=std,
        missing_rate=missing_rate,
        random_state=0,
    )


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
