"""Gaussian Bayes: scikit-learn's own classifiers, exact marginals, held-out densities.

The references are loops over samples, and fits without the sample.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.naive_bayes import GaussianNB

from mmfusion import GaussianBayesClassifier, Modalities
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.fusion._class_calibration import (
    best_temperature,
    temperature_losses,
)
from mmfusion.fusion._class_densities import (
    CorrelatedDensities,
    DiagonalDensities,
    Regularization,
)
from mmfusion.fusion._class_moments import class_moments, empty_moments, merged

TEXTBOOK = {
    "outlier_share": 0,
    "calibrate": False,
    "variance_prior": 0,
    "shrinkage": 0.0,
    "var_smoothing": 0,
}
KINDS = ("diag", "tied", "full", "mixture")


def correlated_classes(n=150, d=4, k=3, seed=0):
    """Classes with correlated features, of spread 1."""
    rng = np.random.RandomState(seed)
    y = rng.randint(k, size=n)
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + y[:, None]
    return (X - X.mean(axis=0)) / X.std(axis=0), y


def two_modalities(seed=0):
    X, y = make_multimodal_blobs(
        150, {"audio": 4, "video": 3}, cluster_std=3.0, random_state=seed
    )
    return X, y


# Limits


@pytest.mark.parametrize("weighted", [False, True])
def test_independent_features_are_naive_bayes(weighted):
    X, y = correlated_classes()
    weight = np.random.RandomState(1).rand(len(y)) if weighted else None
    # its smoothing is of unweighted variances
    smoothing = 0 if weighted else 1e-3
    ours = GaussianBayesClassifier("diag", **TEXTBOOK | {"var_smoothing": smoothing})
    peer = GaussianNB(var_smoothing=smoothing).fit(X, y, weight)
    found = ours.fit(X, y, weight).predict_proba(X)
    np.testing.assert_allclose(found, peer.predict_proba(X), rtol=0, atol=1e-8)


def test_one_covariance_is_linear_discriminant_analysis():
    X, y = correlated_classes()
    ours = GaussianBayesClassifier("tied", **TEXTBOOK).fit(X, y)
    peer = LinearDiscriminantAnalysis(solver="lsqr").fit(X, y)
    np.testing.assert_allclose(
        ours.predict_proba(X), peer.predict_proba(X), rtol=0, atol=1e-8
    )


def test_covariances_of_classes_are_quadratic_discriminant_analysis():
    X, y = correlated_classes()
    ours = GaussianBayesClassifier("full", **TEXTBOOK, priors=[0.2, 0.5, 0.3])
    peer = QuadraticDiscriminantAnalysis(priors=[0.2, 0.5, 0.3]).fit(X, y)
    # its covariances are unbiased before scikit-learn 1.8, ours of maximum likelihood
    peer.scalings_ = [np.var(X[y == c] @ peer.rotations_[c], axis=0) for c in range(3)]
    np.testing.assert_allclose(
        ours.fit(X, y).predict_proba(X), peer.predict_proba(X), rtol=0, atol=1e-8
    )


def test_one_component_of_a_mixture_is_one_gaussian():
    X, y = two_modalities()
    mixture = GaussianBayesClassifier("mixture", n_mixtures=1, random_state=0)
    single = GaussianBayesClassifier("diag")
    np.testing.assert_allclose(
        mixture.fit(X, y).predict_proba(X), single.fit(X, y).predict_proba(X)
    )


# Missing modalities and features


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_modality_is_left_out(kind):
    X, y = two_modalities()
    both = GaussianBayesClassifier(kind, calibrate=False, random_state=0).fit(X, y)
    alone = GaussianBayesClassifier(kind, calibrate=False, random_state=0)
    alone.fit({"audio": X["audio"]}, y)
    lacking = Modalities({"audio": X["audio"], "video": None})
    np.testing.assert_allclose(
        both.predict_proba(lacking), alone.predict_proba({"audio": X["audio"]})
    )
    nothing = Modalities(X.to_dict(), observed=np.zeros((150, 2), dtype=bool))
    expected = np.broadcast_to(both.class_prior_, (150, 3))
    np.testing.assert_allclose(both.predict_proba(nothing), expected)


@pytest.mark.parametrize("kind", ["diag", "tied", "full"])
def test_nan_features_are_marginalised(kind):
    X, y = correlated_classes()
    fitted = GaussianBayesClassifier(kind, **TEXTBOOK).fit(X, y)
    X = X[:40].copy()
    X[np.random.RandomState(0).rand(*X.shape) < 0.4] = np.nan
    full = fitted._models["modality_0"]
    expected = np.tile(np.log(fitted.class_prior_), (40, 1))
    for i, row in enumerate(X):
        seen = np.flatnonzero(~np.isnan(row))
        for c in range(3):
            rows = correlated_classes()[0][correlated_classes()[1] == c]
            if kind == "diag":
                sd = rows.std(axis=0)[seen]
                terms = norm.logpdf(row[seen], rows.mean(axis=0)[seen], sd)
                expected[i, c] += terms.sum()
            elif seen.size:
                index = min(c, len(full.densities.covariances) - 1)
                unit = full.densities.unit * full.unit
                covariance = full.densities.covariances[index] * np.outer(unit, unit)
                expected[i, c] += multivariate_normal.logpdf(
                    row[seen],
                    rows.mean(axis=0)[seen],
                    covariance[np.ix_(seen, seen)],
                )
    expected -= logsumexp(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(fitted.predict_log_proba(X), expected, atol=1e-8)


def test_moments_of_incomplete_samples_are_at_the_maximum_of_the_likelihood():
    X, y = correlated_classes(n=400, k=1)
    X[np.random.RandomState(1).rand(*X.shape) < 0.3] = np.nan
    fitted = GaussianBayesClassifier("full", **TEXTBOOK).fit(X, y)
    model = fitted._models["modality_0"]

    def likelihood(covariance):
        total = 0.0
        for row in X:
            seen = np.flatnonzero(~np.isnan(row))
            if seen.size:
                total += multivariate_normal.logpdf(
                    row[seen],
                    fitted.means_["modality_0"][0][seen],
                    covariance[np.ix_(seen, seen)],
                )
        return total

    unit = model.densities.unit * model.unit
    best = model.densities.covariances[0] * np.outer(unit, unit)
    at_best = likelihood(best)
    rng = np.random.RandomState(0)
    for _ in range(5):
        change = np.eye(4) + 0.02 * rng.standard_normal(best.shape)
        assert likelihood(change @ best @ change.T) < at_best


def test_a_class_without_a_modality_gets_the_density_of_all_others():
    X, y = two_modalities()
    observed = np.ones((150, 2), dtype=bool)
    observed[y == 2, 1] = False
    fitted = GaussianBayesClassifier("diag").fit(
        Modalities(X.to_dict(), observed=observed), y
    )
    only_video = Modalities({"audio": None, "video": X["video"]})
    found = fitted.predict_proba(only_video)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    # at temperature 1 a modality says nothing of a class that never had it
    fitted.temperature_ = 1.0
    found = fitted.predict_proba(only_video)
    np.testing.assert_allclose(found[:, 2], fitted.class_prior_[2])


# Outliers


def test_a_modality_drowned_in_noise_loses_its_say():
    X, y = make_multimodal_blobs(
        300, {"audio": 8, "video": 8}, cluster_std=1.5, random_state=0
    )
    train, test = np.arange(200), np.arange(200, 300)
    noise = 30 * np.random.RandomState(0).standard_normal((100, 8))
    noisy = Modalities(X[test].to_dict() | {"audio": X["audio"][test] + noise})
    robust = GaussianBayesClassifier("diag").fit(X[train], y[train])
    plain = GaussianBayesClassifier("diag", outlier_share=0).fit(X[train], y[train])
    lacking = Modalities({"audio": None, "video": X["video"][test]})
    alone = robust.score(lacking, y[test])
    assert robust.score(noisy, y[test]) >= alone - 0.02
    assert plain.score(noisy, y[test]) < alone - 0.1
    reliability = robust.reliability(noisy)
    assert reliability[:, 0].mean() < 0.05
    assert reliability[:, 1].mean() > 0.9
    assert np.isnan(robust.reliability(lacking)[:, 0]).all()


def test_outlier_component_is_the_mixture_of_two_densities():
    X, y = correlated_classes(d=2)
    ours = GaussianBayesClassifier(
        "diag", **TEXTBOOK | {"outlier_share": 0.1}, outlier_scale=3.0
    ).fit(X, y)
    expected = np.empty((len(X), 3))
    broad = norm.pdf(X, X.mean(axis=0), np.sqrt(3.0) * X.std(axis=0)).prod(axis=1)
    for c in range(3):
        own = X[y == c]
        inlying = norm.pdf(X, own.mean(axis=0), own.std(axis=0)).prod(axis=1)
        expected[:, c] = (y == c).mean() * (0.9 * inlying + 0.1 * broad)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ours.predict_proba(X), expected, atol=1e-10)


# Held-out densities and calibration


def held_out_by_fits(fit, X, weight):
    """Log densities of each sample by a fit without it, or one of its copies."""
    values = []
    for i in range(len(X)):
        without = weight.copy()
        without[i] -= min(1.0, weight[i])
        values.append(fit(without).distances(X[i : i + 1]).log_density()[0])
    return np.array(values)


@pytest.mark.parametrize("kind", ["diag", "tied", "full"])
def test_held_out_densities_are_those_of_fits_without_the_sample(kind):
    X, y = correlated_classes(n=60)
    X[5, 1] = np.nan
    weight = np.ones(60)
    weight[:4] = [2, 3, 0.5, 1]
    regularization = Regularization(0.0, 0.0, 0.2)

    def fit(weight):
        moments = class_moments(X, y, weight, 3, correlated=kind != "diag")
        if kind == "diag":
            return DiagonalDensities.fit(moments, regularization)
        return CorrelatedDensities.fit(moments, regularization, tied=kind == "tied")

    rows = np.delete(np.arange(60), 5) if kind != "diag" else np.arange(60)
    X, y, weight = X[rows], y[rows], weight[rows]
    found = fit(weight).held_out(X, y, weight).log_density()
    inside = fit(weight).distances(X).log_density()
    expected = held_out_by_fits(fit, X, weight)
    # the diagonal, to which correlations shrink, keeps the sample
    assert np.abs(found - expected).mean() < 0.5 * np.abs(inside - expected).mean()
    regularization = Regularization(0.0, 0.0, 0.0)
    found = fit(weight).held_out(X, y, weight).log_density()
    np.testing.assert_allclose(found, held_out_by_fits(fit, X, weight), rtol=1e-8)


def test_inflation_is_the_mean_distance_of_held_out_samples():
    rng = np.random.RandomState(0)
    y = np.arange(160) % 2
    X = rng.standard_normal((160, 60)) + 0.3 * y[:, None]
    train, test = slice(40), slice(40, None)
    fitted = GaussianBayesClassifier(shrinkage=0.2).fit(X[train], y[train])
    model = fitted._models["modality_0"]
    distances = model.densities.distances(model.scaled(X[test]))
    own = distances.squared[np.arange(120), y[test]]
    # the distance of new samples, for each feature
    inflation = fitted.inflations_["modality_0"]
    assert inflation == pytest.approx(own.mean() / 60, rel=0.3)
    assert inflation > 1.5
    assert fitted.reliability(X[test]).mean() > 0.9
    plain = GaussianBayesClassifier(calibrate=False).fit(X[train], y[train])
    assert plain.inflations_ == {"modality_0": 1.0}


def test_temperature_minimises_the_held_out_log_loss():
    X, y = correlated_classes(n=300, d=6)
    X = np.hstack([X] * 4)  # features that count four times
    fitted = GaussianBayesClassifier("diag", outlier_share=0).fit(X, y)
    assert fitted.temperature_ > 3
    losses = {}
    for factor in (0.8, 1.0, 1.25):
        # in turn without each tenth of the samples
        loss = 0.0
        for rows in np.array_split(np.arange(300), 10):
            rest = np.setdiff1d(np.arange(300), rows)
            part = GaussianBayesClassifier("diag", outlier_share=0).fit(
                X[rest], y[rest]
            )
            part.temperature_ = fitted.temperature_ * factor
            loss += log_loss(y[rows], part.predict_proba(X[rows]), labels=[0, 1, 2])
        losses[factor] = loss
    assert losses[1.0] < min(losses[0.8], losses[1.25])


def test_losses_of_temperatures_add_up_over_samples():
    rng = np.random.RandomState(0)
    scores, y = rng.standard_normal((40, 3)) * 9, rng.randint(3, size=40)
    prior, weight = np.log([0.2, 0.3, 0.5]), rng.randint(1, 3, size=40).astype(float)
    weighted = temperature_losses(scores, prior, y, weight)
    rows = np.repeat(np.arange(40), weight.astype(int))
    repeated = temperature_losses(scores[rows], prior, y[rows], np.ones(len(rows)))
    np.testing.assert_allclose(weighted, repeated)
    assert best_temperature(weighted) > 1


def test_discriminative_weights_silence_a_useless_modality():
    X, y = two_modalities()
    noise = np.random.RandomState(0).standard_normal((150, 40))
    data = X.to_dict() | {"noise": noise}
    fitted = GaussianBayesClassifier("diag", modality_weights="discriminative")
    fitted.fit(data, y)
    assert fitted.modality_weights_[2] < 0.4 * fitted.modality_weights_[:2].min()
    np.testing.assert_allclose(fitted.modality_weights_.mean(), 1)


# Samples one after another


@pytest.mark.parametrize("kind", ["diag", "tied", "full"])
def test_parts_add_up_to_the_whole(kind):
    X, y = two_modalities()
    whole = GaussianBayesClassifier(kind, calibrate=False).fit(X, y)
    parts = GaussianBayesClassifier(kind, calibrate=False)
    weight = np.ones(150)
    for rows in np.array_split(np.arange(150), 4):
        parts.partial_fit(X[rows], y[rows], [0, 1, 2], weight[rows])
    np.testing.assert_allclose(parts.predict_proba(X), whole.predict_proba(X))
    np.testing.assert_allclose(parts.class_count_, whole.class_count_)
    for name in X.names:
        np.testing.assert_allclose(parts.means_[name], whole.means_[name])


def test_one_part_is_fit():
    X, y = two_modalities()
    part = GaussianBayesClassifier().partial_fit(X, y, classes=[0, 1, 2])
    fitted = GaussianBayesClassifier().fit(X, y)
    assert part.temperature_ == fitted.temperature_
    np.testing.assert_array_equal(part.predict_proba(X), fitted.predict_proba(X))


@given(st.integers(0, 2**31 - 1), st.integers(0, 30))
@settings(max_examples=20, deadline=None)
def test_moments_of_two_groups_are_those_of_all_samples(seed, cut):
    rng = np.random.RandomState(seed)
    X, y, w = rng.standard_normal((30, 3)), rng.randint(3, size=30), rng.rand(30)

    def moments(rows):
        return class_moments(X[rows], y[rows], w[rows], 3, correlated=True)

    both = merged(moments(slice(cut)), moments(slice(cut, None)))
    whole = merged(empty_moments(3, 3, True), moments(slice(None)))
    for a, b in zip(vars(both).values(), vars(whole).values(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("kind", ["diag", "tied", "full"])
def test_weights_are_repeated_samples(kind):
    X, y = two_modalities()
    weight = np.random.RandomState(0).randint(0, 4, size=150)
    rows = np.repeat(np.arange(150), weight)
    weighted = GaussianBayesClassifier(kind).fit(X, y, sample_weight=weight)
    repeated = GaussianBayesClassifier(kind).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X))


# Invariance and robustness


@pytest.mark.parametrize("kind", KINDS)
def test_units_and_offsets_do_not_matter(kind):
    X, y = two_modalities()
    units = {"audio": 1e300 * X["audio"], "video": 3e-200 * (X["video"] + 7)}
    plain = GaussianBayesClassifier(kind, random_state=0).fit(X, y)
    scaled = GaussianBayesClassifier(kind, random_state=0).fit(units, y)
    np.testing.assert_allclose(
        scaled.predict_proba(units), plain.predict_proba(X), atol=1e-6
    )


def test_a_modality_twice_at_half_the_weight_is_one():
    X, y = two_modalities()
    one = GaussianBayesClassifier(calibrate=False).fit({"a": X["audio"]}, y)
    two = GaussianBayesClassifier(calibrate=False, modality_weights=[0.5, 0.5])
    data = {"a": X["audio"], "b": X["audio"]}
    np.testing.assert_allclose(
        two.fit(data, y).predict_proba(data), one.predict_proba({"a": X["audio"]})
    )


@pytest.mark.parametrize("kind", KINDS)
def test_odd_data_give_finite_probabilities(kind):
    rng = np.random.RandomState(0)
    wide = rng.standard_normal((12, 300))
    wide[:, :5] = 3.7  # constant features
    y = np.array([0] * 6 + [1] * 5 + [2])  # a class of one sample
    data = {"wide": wide, "same": np.ones((12, 2)), "one": rng.rand(12, 1)}
    fitted = GaussianBayesClassifier(kind, random_state=0).fit(data, y)
    far = {name: 1e6 * values for name, values in data.items()}
    for X in (data, far):
        probabilities = fitted.predict_proba(X)
        assert np.isfinite(probabilities).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)


def test_works_in_searches():
    X, y = two_modalities()
    search = GridSearchCV(
        GaussianBayesClassifier(),
        {"covariance_type": ["diag", {"audio": "full"}], "outlier_share": [0, 0.01]},
        scoring="neg_log_loss",
        cv=3,
    ).fit(X, y)
    assert search.best_score_ > -0.9
    assert cross_val_predict(search.best_estimator_, X, y, cv=3).shape == (150,)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"priors": [0.5, 0.5]}, "one probability for each of the 3 classes"),
        ({"priors": [0.5, 0.6, -0.1]}, "are no probabilities"),
        ({"priors": {0: 0.5, 1: 0.5}}, r"\[0, 1\], and y has \[0, 1, 2\]; give"),
        ({"covariance_type": {"audio": "round"}}, "it must be one of"),
        ({"shrinkage": {"audio": 2}}, "must be 'auto' or 0 to 1"),
        ({"modality_weights": [1, 2, 3]}, "modality_weights"),
        ({"n_mixtures": {"audio": 0}}, "n_mixtures"),
    ],
)
def test_wrong_options_are_refused(params, message):
    X, y = two_modalities()
    with pytest.raises(ValueError, match=message):
        GaussianBayesClassifier(**params).fit(X, y)


def test_parts_refuse_what_needs_all_samples():
    X, y = two_modalities()
    with pytest.raises(ValueError, match="needs classes"):
        GaussianBayesClassifier().partial_fit(X, y)
    for params in (
        {"covariance_type": {"audio": "mixture"}},
        {"modality_weights": "discriminative"},
    ):
        with pytest.raises(AttributeError, match="partial_fit") as refusal:
            GaussianBayesClassifier(**params).partial_fit(X, y, [0, 1, 2])
        assert "needs all samples in fit" in str(refusal.value.__cause__)
    started = GaussianBayesClassifier().partial_fit(X, y, [0, 1, 2])
    with pytest.raises(ValueError, match="not in classes"):
        started.partial_fit(X, y + 1)
    with pytest.raises(ValueError, match="not those of the first call"):
        started.partial_fit(X, y, [0, 1])


def test_a_singular_covariance_is_named():
    X, y = correlated_classes(n=20, d=4)
    X = np.hstack([X, X[:, :1]])
    with pytest.raises(ValueError, match=r"modality_0.*singular"):
        GaussianBayesClassifier("tied", **TEXTBOOK).fit(X, y).predict(X)
