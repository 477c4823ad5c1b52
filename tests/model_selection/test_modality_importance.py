"""Permutation importance of a modality as a whole."""

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.cluster import KMeans
from sklearn.inspection import permutation_importance

from mmfusion import EarlyFusionClusterer, Modalities

from .block_kinds import FUSED_KINDS
from .planted import classifier, plant

X, Y = plant()


@pytest.mark.parametrize("max_samples", [1.0, 0.5])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_modality_that_tells_classes_apart_is_the_important_one(
    n_jobs, max_samples
):
    fitted = classifier().fit(X, Y)
    before = joblib.hash(X)
    options = dict(max_samples=max_samples, random_state=0)
    found = permutation_importance(fitted, X, Y, n_jobs=n_jobs, **options)
    assert found.importances.shape == (2, 5)
    audio, video = found.importances_mean
    assert audio > 0.2
    assert audio > 4 * abs(video)
    one_job = permutation_importance(fitted, X, Y, n_jobs=1, **options)
    assert_array_equal(found.importances, one_job.importances)
    assert joblib.hash(X) == before


def test_an_importance_belongs_to_the_modality_in_that_place():
    rng = np.random.default_rng(0)
    pair = rng.normal(size=(200, 2))
    y = (pair[:, 0] > pair[:, 1]).astype(int)
    whole = Modalities({"pair": pair, "noise": rng.normal(size=(200, 2))})
    fitted = classifier().fit(whole, y)
    for frame in (whole, whole[["noise", "pair"]]):
        found = permutation_importance(fitted, frame, y, random_state=0)
        by_name = dict(zip(frame.names, found.importances_mean, strict=True))
        assert by_name["pair"] > 0.4
        assert abs(by_name["noise"]) < 0.1


@pytest.mark.parametrize("kind", FUSED_KINDS)
def test_blocks_of_every_kind_are_permuted(kind):
    frame = Modalities({"it": FUSED_KINDS[kind](X["audio"]), "video": X["video"]})
    found = permutation_importance(
        classifier().fit(frame, Y), frame, Y, n_repeats=2, random_state=0
    )
    assert found.importances_mean[0] > 0.2


def test_clusters_have_important_modalities_too():
    clusterer = EarlyFusionClusterer(KMeans(3), weights=[1, 0], random_state=0).fit(X)
    found = permutation_importance(
        clusterer, X, clusterer.labels_, scoring="adjusted_rand_score", random_state=0
    )
    assert found.importances_mean[0] > 0.5
    assert_array_equal(found.importances[1], 0)
