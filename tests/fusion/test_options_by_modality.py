"""Options by modality: what they may be, and errors that name them."""

import numpy as np
import pytest

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    HybridFusionClassifier,
    HybridFusionClusterer,
    HybridFusionRegressor,
    LateFusionClassifier,
    LateFusionClusterer,
    SingleModalityClusterer,
)

FUSIONS = [
    EarlyFusion,
    EarlyFusionClassifier,
    EarlyFusionClusterer,
    HybridFusionClassifier,
    HybridFusionClusterer,
    LateFusionClassifier,
    LateFusionClusterer,
]
HYBRIDS = [HybridFusionClassifier, HybridFusionClusterer, HybridFusionRegressor]


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = {"p": rng.normal(size=(24, 3)), "q": rng.normal(size=(24, 2))}
    return X, np.arange(24) % 2


def prepared(cls, **params):
    fusion = cls(**params)
    known = fusion.get_params()
    fast = {"n_runs": 2, "n_clusters": 2, "random_state": 0}
    return fusion.set_params(**{k: v for k, v in fast.items() if k in known})


@pytest.mark.parametrize("cls", [*FUSIONS, SingleModalityClusterer])
@pytest.mark.parametrize("value", ["x", 3, True, np.nan, [1], np.zeros(2), {}])
def test_scalings_by_name_are_checked(cls, value, data):
    with pytest.raises(ValueError, match=r"scaling\['q'\] is"):
        prepared(cls, scaling={"q": value}).fit(*data)


@pytest.mark.parametrize("cls", FUSIONS)
@pytest.mark.parametrize(
    "value", ["1", True, np.bool_(True), None, [1], 1j, np.zeros(2), {}]
)
def test_weights_by_name_are_numbers(cls, value, data):
    extra = [1.0] * ("Hybrid" in cls.__name__)
    with pytest.raises(TypeError, match=r"weights\['q'\] is"):
        prepared(cls, weights={"q": value}).fit(*data)
    with pytest.raises((TypeError, ValueError), match="weights"):
        prepared(cls, weights=["1", "2", *map(str, extra)]).fit(*data)


@pytest.mark.parametrize("cls", FUSIONS)
@pytest.mark.parametrize(
    "value", [np.nan, np.inf, -1, 10**400], ids=lambda v: f"{v!r:.6}"
)
def test_weights_are_finite_and_not_negative(cls, value, data):
    extra = [1.0] * ("Hybrid" in cls.__name__)
    for weights in ({"q": value}, [1.0, value, *extra]):
        with pytest.raises(ValueError, match="weights"):
            prepared(cls, weights=weights).fit(*data)
    with pytest.raises(ValueError, match="weights"):
        prepared(cls, weights=[1e308] * 2 + [1e308 for _ in extra]).fit(*data)


@pytest.mark.parametrize("cls", FUSIONS)
def test_numpy_scalars_are_numbers(cls, data):
    X, y = data

    def result(weights):
        fitted = prepared(cls, weights=weights).fit(X, y)
        out = fitted.predict if hasattr(fitted, "predict") else fitted.transform
        return out(X)

    expected = result({"p": 1.0, "q": 2.0})
    for kind in (np.float32, np.int8, np.float16, int):
        weights = {"p": kind(1), "q": kind(2)}
        np.testing.assert_array_equal(result(weights), expected)


@pytest.mark.parametrize("cls", HYBRIDS)
@pytest.mark.parametrize(
    "subsets",
    [[1], [None], ["pq"], [["p", 1]], [[]], [["p", "z"]], np.zeros((2, 2)), 3, "pq"],
    ids=str,
)
def test_subsets_that_are_no_lists_of_names_are_refused(cls, subsets, data):
    with pytest.raises(ValueError, match="subsets"):
        prepared(cls, subsets=subsets).fit(*data)


@pytest.mark.parametrize("share", [1.0, 1.5, -0.1, np.nan, True, "x"])
def test_a_share_of_dropped_modalities_is_below_one(share, data):
    for cls in (EarlyFusionClassifier, HybridFusionClassifier):
        with pytest.raises(ValueError, match="'modality_dropout' parameter"):
            cls(modality_dropout=share).fit(*data)
    cls = EarlyFusionClassifier
    expected = (
        cls(modality_dropout=0.5, random_state=0).fit(*data).predict_proba(data[0])
    )
    found = cls(modality_dropout=np.float32(0.5), random_state=np.int64(0)).fit(*data)
    np.testing.assert_array_equal(found.predict_proba(data[0]), expected)
