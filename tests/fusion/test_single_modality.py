"""A modality alone: the given one, or the best one by its silhouette."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.cluster import AgglomerativeClustering, KMeans

from mmfusion import Modalities, SingleModalityClusterer
from mmfusion.datasets import make_multimodal_blobs


@pytest.fixture(scope="module")
def blobs():
    return make_multimodal_blobs(
        80,
        {"audio": 4, "text": 6, "video": 3},
        cluster_std={"audio": 6.0, "text": 1.0, "video": 9.0},
        random_state=0,
    )


def test_other_modalities_have_no_say(blobs):
    X, _ = blobs
    silenced = Modalities({**X.to_dict(), "audio": np.zeros((80, 4))})
    single = SingleModalityClusterer("text", n_clusters=3, random_state=0)
    assert_array_equal(single.fit(X).labels_, single.fit(silenced).labels_)


def test_the_best_modality_is_the_one_that_separates(blobs):
    X, _ = blobs
    best = SingleModalityClusterer(n_clusters=3, random_state=0).fit(X)
    assert best.modality_ == "text"
    assert best.silhouettes_.argmax() == 1
    named = SingleModalityClusterer("text", n_clusters=3, random_state=0).fit(X)
    assert_array_equal(best.labels_, named.labels_)


def test_the_best_modality_is_chosen_without_classes(blobs):
    X, y = blobs
    best = SingleModalityClusterer(n_clusters=3, random_state=0)
    without = best.fit(X).labels_
    assert_array_equal(without, best.fit(X, np.roll(y, 7)).labels_)


def test_a_refit_forgets_the_silhouettes_of_another_choice(blobs):
    X, _ = blobs
    single = SingleModalityClusterer(n_clusters=3, random_state=0).fit(X)
    assert single.set_params(modality="audio").fit(X).silhouettes_ is None


def test_scaling_can_be_given_by_modality(blobs):
    X, _ = blobs
    single = SingleModalityClusterer("text", scaling={"text": "l2"}).fit(X)
    assert single.estimator_.fusion_.scaling_ == {"text": "l2"}


def test_predict_exists_only_if_the_clusterer_has_it():
    assert hasattr(SingleModalityClusterer(clusterer=KMeans()), "predict")
    assert not hasattr(
        SingleModalityClusterer(clusterer=AgglomerativeClustering()), "predict"
    )


@pytest.mark.parametrize("modality", ["smell", 3, -4])
def test_an_unknown_modality_is_refused_with_the_known_ones(blobs, modality):
    with pytest.raises(ValueError, match=r"audio.*text.*video"):
        SingleModalityClusterer(modality).fit(blobs[0])
