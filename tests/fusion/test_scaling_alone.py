"""Scaling of a modality alone, as late and hybrid fusion of predictors need it."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmfusion import (
    EarlyFusionClassifier,
    HybridFusionClassifier,
    HybridFusionRegressor,
    LateFusionClassifier,
    LateFusionRegressor,
    Modalities,
)
from mmfusion._scaling_choice import _spread_of_units

N_SAMPLES = 80
WIDTHS = {"narrow": 4, "ten": 10, "wide": 40}


def make_widths():
    rng = np.random.default_rng(0)
    y = np.arange(N_SAMPLES) % 2
    X = {
        name: 5 * rng.normal(size=(N_SAMPLES, width)) + y[:, None]
        for name, width in WIDTHS.items()
    }
    return Modalities(X), y


@pytest.mark.parametrize(
    ("cls", "inner"),
    [
        (LateFusionClassifier, LogisticRegression(max_iter=1000)),
        (HybridFusionClassifier, LogisticRegression(max_iter=1000)),
        (LateFusionRegressor, Ridge()),
        (HybridFusionRegressor, Ridge()),
    ],
    ids=str,
)
@pytest.mark.parametrize("scaling", ["auto", "standard"])
def test_the_variance_of_a_wide_modality_alone_is_ten(cls, inner, scaling):
    X, y = make_widths()
    fitted = cls(scaling=scaling).fit(X, y)
    for name, width in WIDTHS.items():
        own = StandardScaler().fit_transform(X[name])
        if scaling == "auto" and width > 10:
            own *= np.sqrt(10 / width)
            np.testing.assert_allclose(own.var(axis=0).sum(), 10)
        expected = inner.fit(own, y).coef_
        np.testing.assert_allclose(fitted.estimators_[name].coef_, expected, rtol=1e-5)
        assert fitted.scaling_[name] == "standard"


def test_many_features_of_noise_do_not_drown_a_modality():
    # a modality of about as many features as samples is fitted without an error
    rng = np.random.default_rng(0)
    y = rng.normal(size=60)
    noise = rng.normal(size=(60, 50))
    X = Modalities({"p": noise + 0.3 * y[:, None], "q": np.c_[y + rng.normal(size=60)]})
    limited = cross_val_score(LateFusionRegressor(), X, y, cv=5).mean()
    standard = cross_val_score(LateFusionRegressor(scaling="standard"), X, y, cv=5)
    assert limited > standard.mean()


def heavy_tailed(kind, seed):
    """Three classes by features whose units differ by factors of thousands."""
    rng = np.random.default_rng(seed)
    y = np.arange(150) % 3
    blocks = {}
    for name, width in {"p": 40, "q": 30}.items():
        of_class = rng.normal(size=(3, width)) * (rng.random(width) < 0.4)
        units = rng.normal(scale=2, size=width)
        if kind == "reads":  # of samples of different depth
            depth = rng.normal(size=(150, 1))
            means = np.exp(3 + units + 0.6 * of_class[y] + depth)
            blocks[name] = rng.poisson(means * rng.gamma(2, 0.5, means.shape))
        else:
            values = 0.6 * of_class[y] + rng.normal(size=(150, width)) - 0.6
            blocks[name] = np.maximum(values, 0) * np.exp(units)
    return Modalities(blocks), y


@pytest.mark.parametrize("kind", ["reads", "rectified"])
@pytest.mark.parametrize("sparse_blocks", [False, True])
def test_sparse_features_of_different_units_are_no_counts_of_words(kind, sparse_blocks):
    losses = []
    for seed in range(3):
        X, y = heavy_tailed(kind, seed)
        plain = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        if sparse_blocks:
            given = {n: sparse.csr_array(X[n].astype(float)) for n in X.names}
        else:
            given = X.to_dict()
        fusion = EarlyFusionClassifier().fit(given, y)
        assert set(fusion.fusion_.scaling_.values()) == {"block"}
        score = cross_val_score(EarlyFusionClassifier(), Modalities(given), y, cv=3)
        expected = cross_val_score(plain, X.to_array(), y, cv=3)
        losses.append(expected.mean() - score.mean())
    assert np.mean(losses) < 0.05  # 0.1 of rectified ones with 'l2'


def test_counts_of_words_stay_counts():
    rng = np.random.default_rng(0)
    words = rng.poisson(np.exp(rng.normal(-2, 1, size=50)), size=(100, 50))
    y = np.arange(100) % 2
    for unit in (1, 1e-3, 1e300):  # of all features
        fitted = LateFusionClassifier().fit({"p": words * float(unit)}, y)
        assert fitted.scaling_ == {"p": "l2"}
    weight = rng.integers(1, 3, size=100)
    repeated = np.repeat(words, weight, axis=0)
    assert _spread_of_units(words, weight * 1.0) == pytest.approx(
        _spread_of_units(repeated, np.ones(len(repeated)))
    )
