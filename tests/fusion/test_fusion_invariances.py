"""Invariances of fusion beside those of its estimators in tests/test_invariances.py."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.utils import check_random_state

from mmfusion import (
    EarlyFusion,
    EarlyFusionClusterer,
    EarlyFusionRegressor,
    HybridFusionClusterer,
    LateFusionClusterer,
    LateFusionRegressor,
    Modalities,
    SingleModalityClusterer,
)
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.fusion.combination._calibration import fit_calibrator

COMBINES = ["hbgf", "vote", "soft_vote", "coassociation"]
NAMES = ["audio", "text", "video"]


@pytest.fixture(scope="module")
def X():
    X, _ = make_multimodal_blobs(
        80, dict.fromkeys(NAMES, 4), cluster_std=[2.5, 3.0, 3.5], random_state=0
    )
    return X


@settings(max_examples=30, deadline=None)
@given(
    units=st.lists(st.floats(-8, 8), min_size=4, max_size=4),
    shifts=st.lists(st.floats(-100, 100), min_size=4, max_size=4),
    scaling=st.sampled_from(["block", "standard"]),
)
def test_units_and_zeros_of_features_do_not_matter_to_block(X, units, shifts, scaling):
    expected = EarlyFusion(scaling).fit_transform(X)
    text = (X["text"] + shifts) * 10 ** np.array(units)
    other = Modalities(X.to_dict() | {"text": text})
    found = EarlyFusion(scaling).fit_transform(other)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("scaling", ["l2", "block", "auto"])
def test_sparse_counts_are_fused_like_dense_ones(scaling):
    rng = np.random.default_rng(0)
    words = rng.poisson(0.3, (40, 12)).astype(float)
    signed = rng.normal(size=(40, 3))
    dense = EarlyFusion(scaling).fit_transform([words, signed])
    mixed = EarlyFusion(scaling).fit_transform([sparse.csr_array(words), signed])
    assert sparse.issparse(mixed)
    apart = dense - mixed.toarray()
    # sparse modalities are not centred: rows differ by one vector
    np.testing.assert_allclose(apart - apart[0], 0, atol=1e-12)


@pytest.mark.parametrize("combine", COMBINES)
def test_runs_in_parallel_are_those_one_by_one(X, combine):
    late = LateFusionClusterer(n_clusters=3, n_runs=4, combine=combine, random_state=0)
    labels = late.fit(X).labels_
    parallel = late.set_params(n_jobs=2).fit(X)
    np.testing.assert_array_equal(parallel.labels_, labels)


@pytest.mark.parametrize("combine", COMBINES)
@pytest.mark.parametrize("weights", ["uniform", "stability"])
def test_one_seed_gives_one_result_and_leaves_the_global_one_alone(X, combine, weights):
    late = LateFusionClusterer(
        n_clusters=3, n_runs=3, combine=combine, weights=weights, random_state=3
    )
    before = check_random_state(None).get_state()[1].copy()
    first = late.fit(X)
    labels, seeds = first.labels_, [c.random_state for c in first.clusterers_["audio"]]
    again = late.fit(X)
    np.testing.assert_array_equal(again.labels_, labels)
    assert [c.random_state for c in again.clusterers_["audio"]] == seeds
    assert len(set(seeds)) == 3
    np.testing.assert_array_equal(check_random_state(None).get_state()[1], before)
    generator = late.set_params(random_state=np.random.RandomState(3)).fit(X)
    np.testing.assert_array_equal(generator.labels_, labels)


@pytest.mark.parametrize(
    ("unit", "offset"), [(1e-15, 0), (1e-200, 0), (1e200, 0), (1.0, 1e6)]
)
def test_neither_unit_nor_offset_of_scores_decides_calibration(unit, offset):
    rng = np.random.default_rng(0)
    truth = np.eye(2)[rng.integers(0, 2, 80)]
    scores = np.round(64 * (truth + rng.normal(size=(80, 2)))) / 64
    expected = fit_calibrator(scores, truth, "sigmoid").apply(scores)
    moved = unit * scores + offset
    found = fit_calibrator(moved, truth, "sigmoid").apply(moved)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("regressor", [EarlyFusionRegressor(), LateFusionRegressor()])
@pytest.mark.parametrize(
    ("unit", "offset"), [(1e-13, 0), (1e-200, 0), (1e100, 0), (1.0, 1.7e9)]
)
def test_neither_unit_nor_offset_of_values_decides(regressor, unit, offset, X):
    y = np.round(64 * X["audio"][:, 0]) / 64
    expected = clone(regressor).fit(X, y).predict(X)
    found = clone(regressor).fit(X, unit * y + offset).predict(X)
    np.testing.assert_allclose((found - offset) / unit, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "estimator",
    [
        EarlyFusionClusterer(n_clusters=2, random_state=0),
        LateFusionClusterer(n_clusters=2, n_runs=2, random_state=0),
        HybridFusionClusterer(n_clusters=2, n_runs=2, random_state=0),
        SingleModalityClusterer(n_clusters=2, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_later_samples_may_have_another_precision(estimator, dtype):
    X, _ = make_multimodal_blobs(60, centers=2, random_state=0)
    other = np.float64 if dtype is np.float32 else np.float32
    X, later = (
        {n: b.astype(d) for n, b in X.to_dict().items()} for d in (dtype, other)
    )
    clusterer = clone(estimator).fit(X)
    np.testing.assert_array_equal(clusterer.predict(later), clusterer.labels_)


def test_later_values_that_the_precision_of_fit_cannot_hold_are_refused():
    X = {"audio": np.eye(6, dtype=np.float32), "video": np.eye(6, dtype=np.float32)}
    clusterer = EarlyFusionClusterer(n_clusters=2, scaling=None).fit(X)
    later = {"audio": np.eye(6), "video": np.eye(6) * 1e300}
    with pytest.raises(ValueError, match=r"'video'.*sample 0.*fit float32.*float64"):
        clusterer.predict(later)
