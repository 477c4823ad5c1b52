"""Permutation importance of a modality as a whole."""

import joblib
import numpy as np
import pytest
from block_kinds import FUSED_KINDS
from numpy.testing import assert_array_equal
from planted import classifier, plant
from sklearn.cluster import KMeans
from sklearn.inspection import permutation_importance

from mmfusion import EarlyFusionClusterer, Modalities

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


def test_a_modality_is_permuted_as_one_block():
    """Two features that only together tell the class: permuted one by one, both."""
    rng = np.random.default_rng(0)
    pair = rng.normal(size=(200, 2))
    y = (pair[:, 0] > pair[:, 1]).astype(int)
    whole = Modalities({"pair": pair, "noise": rng.normal(size=(200, 2))})
    by_name = permutation_importance(
        classifier().fit(whole, y), whole, y, random_state=0
    )
    swapped = whole[["noise", "pair"]]
    by_other_order = permutation_importance(
        classifier().fit(whole, y), swapped, y, random_state=0
    )
    assert by_name.importances_mean[0] > 0.4
    assert by_other_order.importances_mean[1] > 0.4
    permuted = whole.copy()
    column = permuted.iloc[np.roll(np.arange(200), 1), 0]
    permuted["pair"] = column
    assert_array_equal(permuted["pair"], np.roll(pair, 1, axis=0))


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
