"""Weights of the samples of MKLClusterer are repetitions of them."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from mmfusion import LateFusionClusterer, Modalities
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.mkl import MKLClusterer
from mmfusion.mkl._neighborhoods import fit_neighborhoods
from mmfusion.mkl._solvers import CLUSTERER_ALGORITHMS

WIDTHS = {"audio": 4, "text": 6, "video": 5}
BLOBS, _ = make_multimodal_blobs(
    80, WIDTHS, centers=3, cluster_std=0.7, missing_rate=0.1, random_state=3
)
NOISE = np.random.default_rng(0).normal(size=(80, 8))
X = Modalities(
    {**BLOBS.to_dict(), "noise": NOISE}, observed=np.c_[BLOBS.observed, [1] * 80] > 0
)
WEIGHT = np.random.default_rng(1).integers(0, 3, 80)
REPEATED = np.repeat(np.arange(80), WEIGHT)


def clusterer(**params):
    return MKLClusterer(
        **{"n_clusters": 3, "n_components": 30, "random_state": 0} | params
    )


def check_same_clusterings(one, other, X, tol=1e-6):
    np.testing.assert_allclose(one.kernel_weights_, other.kernel_weights_, atol=tol)
    np.testing.assert_allclose(
        one.objective_path_[-1], other.objective_path_[-1], rtol=1e-4
    )
    np.testing.assert_allclose(one.gamma_, other.gamma_)
    # inner products: those of explicit features have eigenvectors of any sign
    products = [E @ E.T for E in (model.transform(X) for model in (one, other))]
    np.testing.assert_allclose(*products, atol=1e-4)
    assert adjusted_rand_score(one.labels_, one.predict(X)) == 1
    assert adjusted_rand_score(one.labels_, other.predict(X)) == 1


@pytest.mark.parametrize("approximation", [None, "nystroem"])
@pytest.mark.parametrize("algorithm", CLUSTERER_ALGORITHMS)
def test_a_weight_is_a_number_of_repetitions(algorithm, approximation):
    options = dict(algorithm=algorithm, approximation=approximation, tol=1e-10)
    one = clusterer(**options).fit(X, sample_weight=WEIGHT)
    other = clusterer(**options).fit(X[REPEATED])
    check_same_clusterings(one, other, X, tol=1e-4)
    assert len(one.labels_) == 80
    np.testing.assert_array_equal(other.labels_, other.predict(X[REPEATED]))


@pytest.mark.parametrize(
    "options",
    [
        {"neighborhood": 0.3},
        {"neighborhood": 0.01},
        {"neighborhood": 1.0, "algorithm": "average"},
        {"normalize": "cosine"},
        {"kernel": ["linear", "poly"], "scaling": "block"},
    ],
)
def test_weights_are_repetitions_in_every_option(options):
    one = clusterer(**options).fit(X, sample_weight=WEIGHT)
    check_same_clusterings(one, clusterer(**options).fit(X[REPEATED]), X)


def test_weights_of_many_samples_whose_eigenvectors_are_iterative():
    many, _ = make_multimodal_blobs(
        300, WIDTHS, centers=3, cluster_std=0.7, random_state=3
    )
    weight = np.random.default_rng(1).integers(0, 3, 300)
    one = clusterer().fit(many, sample_weight=weight)
    other = clusterer().fit(many[np.repeat(np.arange(300), weight)])
    check_same_clusterings(one, other, many, tol=1e-4)


def test_precomputed_kernels_keep_a_column_for_samples_of_weight_0():
    kernels = np.dstack([rbf_kernel(block, gamma=0.1) for block in X[["noise"]].blocks])
    kernels = np.dstack([kernels, rbf_kernel(NOISE[:, :2])])
    one = clusterer(kernel="precomputed").fit(kernels, sample_weight=WEIGHT)
    other = clusterer(kernel="precomputed")
    other.fit(kernels[np.ix_(REPEATED, REPEATED)])
    np.testing.assert_allclose(
        one.transform(kernels), other.transform(kernels[:, REPEATED]), atol=1e-4
    )


def test_the_objective_is_that_of_weighted_kernel_k_means():
    weight = np.random.default_rng(0).uniform(1, 4, 80)
    model = clusterer(algorithm="average", normalize=None).fit(X, sample_weight=weight)
    D = np.diag(np.sqrt(weight))
    weighted = D @ np.mean(model.kernels_.transform(X).blocks, axis=0) @ D
    values = np.linalg.eigvalsh(weighted)
    expected = np.trace(weighted) - values[-3:].sum()
    assert model.objective_path_[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("unit", [1e-300, 1e-3, 1e250])
def test_the_unit_of_weights_does_not_matter(unit):
    weight = np.random.default_rng(0).uniform(0.1, 0.9, 80)
    usual = clusterer().fit(X, sample_weight=weight)
    scaled = clusterer().fit(X, sample_weight=unit * weight)
    if unit < 1:
        np.testing.assert_allclose(scaled.kernel_weights_, usual.kernel_weights_)
        np.testing.assert_allclose(scaled.gamma_, usual.gamma_)
    assert adjusted_rand_score(scaled.labels_, usual.labels_) > 0.8
    equal = clusterer().fit(X, sample_weight=np.full(80, unit if unit < 1 else 1))
    np.testing.assert_array_equal(equal.labels_, clusterer().fit(X).labels_)


def test_neighborhoods_count_repetitions():
    counts = np.arange(10) % 3 + 1.0
    repeated = np.repeat(np.arange(10), counts.astype(int))
    K = rbf_kernel(NOISE[:10])
    for share in (0.05, 0.3, 0.8, 1.0):
        found = fit_neighborhoods([K], share, counts).mask([K])
        rows = np.ix_(repeated, repeated)
        expected = fit_neighborhoods([K[rows]], share).mask([K[rows]])
        np.testing.assert_allclose(found[rows], expected, atol=1e-6)


def test_fewer_samples_of_some_weight_than_clusters_are_refused():
    with pytest.raises(ValueError, match="n_samples=2 should be >= n_clusters=3"):
        clusterer().fit(X, sample_weight=np.arange(80) > 77)
    with pytest.raises(ValueError, match=r"sample_weight is -1 for sample 79"):
        clusterer().fit(X, sample_weight=np.arange(80)[::-1] - 1)


def test_weights_are_routed_to_the_clusterer():
    weight = WEIGHT.astype(float)
    expected = clusterer().fit(X, sample_weight=weight).labels_
    np.testing.assert_array_equal(
        clusterer().fit_predict(X, sample_weight=weight), expected
    )
    with config_context(enable_metadata_routing=True):
        asking = clusterer().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(FunctionTransformer(), asking)
        found = pipeline.fit(X, sample_weight=weight)[-1].labels_
    np.testing.assert_array_equal(found, expected)
    late = LateFusionClusterer(clusterer(), n_clusters=3, random_state=0)
    late.fit(X, sample_weight=weight)
    single = clusterer().fit(X[["noise"]], sample_weight=weight)
    runs = late.clusterers_["noise"]
    assert [run.gamma_ for run in runs] == [single.gamma_] * len(runs)
