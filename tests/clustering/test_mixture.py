"""MultimodalMixture: scikit-learn's mixture, exact marginals, densities by loops."""

import numpy as np
import pytest
from scipy import sparse
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, poisson
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV

from mmfusion import Modalities, MultimodalMixture
from mmfusion._scaling import fit_scaling
from mmfusion.clustering._mixture_model import (
    MixtureModel,
    fit_mixture,
    samples_as_frames,
    start_responsibilities,
)
from mmfusion.clustering._principal_axes import fit_principal_axes
from mmfusion.datasets import make_multimodal_blobs
from mmfusion.graphical._emissions import make_emission
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.metrics import clustering_accuracy_score

KINDS = ("diag", "full", "tied", "spherical")
RAW = {"explained_variance": None, "scaling": None}


def blobs(seed=0, missing_rate=0.0, n=150, std=2.0):
    return make_multimodal_blobs(
        n,
        {"audio": 6, "video": 4},
        cluster_std=std,
        missing_rate=missing_rate,
        random_state=seed,
    )


def mixture_of(kind, n_components, blocks, observed, weights=None, **options):
    emissions = {
        name: make_emission("gaussian", n_components, covariance_type=kind, **options)
        for name in blocks
    }
    emission = MultimodalEmission(emissions, weights or {})
    frames = samples_as_frames(blocks, observed)
    emission.prepare(frames)
    return MixtureModel(emission, np.full(n_components, 1 / n_components)), frames


# Limits


@pytest.mark.parametrize("kind", KINDS)
def test_one_complete_modality_is_the_mixture_of_scikit_learn(kind):
    X, _ = blobs()
    X = X["audio"]
    labels = KMeans(3, n_init=1, random_state=0).fit_predict(X)
    model, frames = mixture_of(
        kind,
        3,
        {"audio": X},
        np.ones((150, 1), dtype=bool),
        prior_frames=0.0,
        variance_floor=0.0,
    )
    fit_mixture(model, frames, np.eye(3)[labels], max_iter=1, tol=0)
    emission = model.emission.emissions["audio"]
    inverse = 1 / emission.covariances
    if kind in ("full", "tied"):
        inverse = np.linalg.inv(emission.covariances)
    peer = GaussianMixture(
        3,
        covariance_type=kind,
        weights_init=model.shares,
        means_init=emission.means,
        precisions_init=inverse,
        reg_covar=0,
        tol=0,
        max_iter=15,
    )
    with pytest.warns(ConvergenceWarning):
        peer.fit(X)
    history, _ = fit_mixture(model, frames, np.eye(3)[labels], max_iter=16, tol=0)
    np.testing.assert_allclose(model.shares, peer.weights_, rtol=1e-8)
    np.testing.assert_allclose(emission.means, peer.means_, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(emission.covariances, peer.covariances_, rtol=1e-8)
    assert history[-1] / 150 == pytest.approx(peer.score(X), rel=1e-9)


def test_one_component_has_the_moments():
    X, _ = blobs()
    found = MultimodalMixture(1, **RAW, covariance_type="full", prior_frames=0).fit(X)
    np.testing.assert_allclose(found.weights_, [1])
    for name in X.names:
        np.testing.assert_allclose(found.means_[name][0], X[name].mean(axis=0))
        covariance = found._model.emission.emissions[name].covariances[0]
        np.testing.assert_allclose(covariance, np.cov(X[name].T, bias=True))


def test_a_modality_of_weight_zero_is_removed():
    X, _ = blobs()
    both = MultimodalMixture(3, modality_weights=[1, 0], random_state=0).fit(X)
    alone = MultimodalMixture(3, random_state=0).fit({"audio": X["audio"]})
    agreed = clustering_accuracy_score(both.labels_, alone.labels_)
    assert agreed == 1


def test_a_modality_twice_at_half_the_weight_is_one():
    X, _ = blobs()
    twice = {"a": X["audio"], "b": X["audio"]}
    one = MultimodalMixture(3, random_state=0, tol=1e-9, n_init=2)
    one.fit({"a": X["audio"]})
    two = MultimodalMixture(
        3, modality_weights=[0.5, 0.5], random_state=0, tol=1e-9, n_init=2
    )
    two.fit(twice)
    np.testing.assert_allclose(
        two.score_samples(twice), one.score_samples({"a": X["audio"]}), rtol=1e-5
    )


# The likelihood


@pytest.mark.parametrize("explained", [None, 0.8, 1.0])
def test_likelihood_is_that_of_the_formula(explained):
    X, _ = blobs(missing_rate=0.3)
    found = MultimodalMixture(
        3, explained_variance=explained, scaling="standard", random_state=0
    ).fit(X)
    expected = np.tile(np.log(found.weights_), (150, 1))
    for v, name in enumerate(X.names):
        own = found._modalities[name]
        emission = found._model.emission.emissions[name]
        covariance = emission.covariances
        if own.is_reduced:  # in the units of the data: axes, noise, scaling
            axes, noise = own.axes.axes, own.axes.noise
            rest = np.eye(axes.shape[1]) - axes.T @ axes
            unit = own.axes.scaling.spread / own.axes.scaling.factor
            covariance = axes.T @ covariance @ axes + noise * rest
            covariance = covariance * np.outer(unit, unit)
        for i in np.flatnonzero(X.observed[:, v]):
            for k in range(3):
                expected[i, k] += multivariate_normal.logpdf(
                    X[name][i], found.means_[name][k], covariance, allow_singular=True
                )
    np.testing.assert_allclose(
        found.score_samples(X), logsumexp(expected, axis=1), rtol=1e-8
    )
    expected -= logsumexp(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found.predict_proba(X), np.exp(expected), atol=1e-8)


def test_density_of_one_feature_integrates_to_one():
    X, _ = blobs()
    values = 3 + 5 * X["audio"][:, :1]
    found = MultimodalMixture(3, scaling="standard", random_state=0).fit(values)

    def density(x):
        return float(np.exp(found.score_samples(np.array([[x]]))[0]))

    low, high = values.min() - 50, values.max() + 50
    assert quad(density, low, high, limit=300)[0] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("explained", [None, 0.8])
def test_units_shift_log_likelihoods_and_leave_probabilities(explained):
    X, _ = blobs()
    options = {"explained_variance": explained, "scaling": "standard"}
    plain = MultimodalMixture(3, random_state=0, **options).fit(X)
    scaled = Modalities(X.to_dict() | {"audio": 1000 * X["audio"] + 3})
    other = MultimodalMixture(3, random_state=0, **options).fit(scaled)
    shift = 6 * np.log(1000)
    np.testing.assert_allclose(
        other.score_samples(scaled), plain.score_samples(X) - shift, rtol=1e-6
    )
    np.testing.assert_allclose(
        other.predict_proba(scaled), plain.predict_proba(X), atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", [None, "balanced"])
def test_the_objective_never_falls(kind, weights):
    X, _ = blobs(missing_rate=0.3, std=4.0)
    found = MultimodalMixture(
        4,
        covariance_type=kind,
        modality_weights=weights,
        n_init=2,
        tol=0,
        max_iter=30,
        random_state=0,
    )
    with pytest.warns(ConvergenceWarning):
        found.fit(X)
    history = found.objective_history_
    assert (np.diff(history) >= -1e-9 * np.abs(history[:-1])).all()


def test_missing_modalities_are_marginalised():
    X, _ = blobs()
    found = MultimodalMixture(3, random_state=0).fit(X)
    lacking = Modalities({"audio": X["audio"], "video": None})
    joint = np.tile(np.log(found.weights_), (150, 1))
    own = found._modalities["audio"]
    emission = found._model.emission.emissions["audio"]
    joint += emission.log_density(own.axes.transform(X["audio"]))
    expected = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    np.testing.assert_allclose(found.predict_proba(lacking), expected)


def test_nan_features_are_marginalised_without_axes():
    X, y = blobs()
    cells = X["audio"].copy()
    cells[np.random.RandomState(0).rand(*cells.shape) < 0.2] = np.nan
    data = {"audio": cells, "video": X["video"]}
    found = MultimodalMixture(
        3, explained_variance={"audio": None}, n_init=2, random_state=0
    ).fit(data)
    assert clustering_accuracy_score(y, found.labels_) > 0.9
    with pytest.raises(ValueError, match="NaN"):
        MultimodalMixture(3).fit(data)


def test_weights_are_balanced_by_the_number_of_axes():
    X, _ = blobs()
    found = MultimodalMixture(
        3, explained_variance=None, modality_weights="balanced", random_state=0
    ).fit(X)
    np.testing.assert_allclose(found.modality_weights_, [0.8, 1.2])


# Counts and other kinds


def counts_of_topics(seed=0, n=120):
    rng = np.random.RandomState(seed)
    topics = rng.dirichlet(np.full(30, 0.2), size=3)
    y = rng.randint(3, size=n)
    words = np.array([rng.multinomial(40, topics[k]) for k in y])
    clicks = rng.poisson(np.array([[1, 8], [6, 2], [12, 12]])[y])
    bits = (rng.rand(n, 5) < np.array([[0.9], [0.5], [0.1]])[y]).astype(float)
    kinds = np.column_stack([(y + (rng.rand(n) < 0.2)) % 3, rng.randint(4, size=n)])
    data = {"words": words, "clicks": clicks, "bits": bits, "kinds": kinds}
    return {name: values.astype(float) for name, values in data.items()}, y


EMISSIONS = {
    "words": "multinomial",
    "clicks": "poisson",
    "bits": "bernoulli",
    "kinds": "categorical",
}


def test_modalities_of_all_kinds_are_clustered():
    X, y = counts_of_topics()
    found = MultimodalMixture(3, emission=EMISSIONS, random_state=0).fit(X)
    assert clustering_accuracy_score(y, found.labels_) > 0.95
    np.testing.assert_allclose(found.means_["words"].sum(axis=1), 1)
    drawn, labels = found.sample(2000, random_state=0)
    for name in ("clicks", "bits"):
        for k in range(3):
            own = drawn[name][labels == k]
            np.testing.assert_allclose(
                own.mean(axis=0), found.means_[name][k], rtol=0.2, atol=0.1
            )


def test_sparse_counts_are_dense_counts():
    X, _ = counts_of_topics()
    dense = MultimodalMixture(3, emission="multinomial", random_state=0)
    dense.fit({"words": X["words"]})
    form = {"words": sparse.csr_array(X["words"])}
    found = MultimodalMixture(3, emission="multinomial", random_state=0).fit(form)
    np.testing.assert_allclose(
        found.score_samples(form), dense.score_samples({"words": X["words"]}), rtol=1e-8
    )
    assert clustering_accuracy_score(dense.labels_, found.labels_) == 1


def test_counts_have_the_likelihood_of_poisson():
    X, _ = counts_of_topics()
    data = {"clicks": X["clicks"]}
    found = MultimodalMixture(3, emission="poisson", random_state=0).fit(data)
    rates = found.means_["clicks"]
    joint = np.log(found.weights_) + np.array(
        [[poisson.logpmf(row, rate).sum() for rate in rates] for row in data["clicks"]]
    )
    np.testing.assert_allclose(found.score_samples(data), logsumexp(joint, axis=1))


# Starts and axes


def test_the_start_uses_the_modalities_that_samples_have():
    X, y = blobs(missing_rate=0.4, std=1.0, n=300)
    centred = [X[name] - np.nanmean(X[name], axis=0) for name in X.names]
    starts = [
        np.where(own[:, None], block, 0)
        for block, own in zip(centred, X.observed.T, strict=True)
    ]
    rng = np.random.RandomState(0)
    best = max(
        clustering_accuracy_score(
            y,
            start_responsibilities(starts, X.observed, np.ones(2), 3, rng).argmax(1),
        )
        for _ in range(5)
    )
    plain = KMeans(3, n_init=5, random_state=0).fit_predict(np.hstack(starts))
    assert best > 0.95
    assert best > clustering_accuracy_score(y, plain)


@pytest.mark.parametrize("n_features", [5, 80])
def test_principal_axes_keep_distances_and_invert(n_features):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((40, n_features)) * np.arange(1, n_features + 1) + 7
    scaling = fit_scaling(X, "block")
    axes = fit_principal_axes(X, scaling, 1.0, rng)
    coordinates = axes.transform(X)
    np.testing.assert_allclose(axes.revert(coordinates), X, atol=1e-8)
    few = fit_principal_axes(X, scaling, 0.5, rng)
    kept = few.transform(X)
    share = kept.var(axis=0).sum() / scaling.apply(X).var(axis=0).sum()
    assert share >= 0.5
    assert share - kept.var(axis=0)[-1] / scaling.apply(X).var(axis=0).sum() < 0.5
    as_sparse = fit_principal_axes(sparse.csr_array(X), fit_scaling(X, None), 0.5, rng)
    dense = fit_principal_axes(X, fit_scaling(X, None), 0.5, rng)
    np.testing.assert_allclose(
        np.abs(as_sparse.transform(sparse.csr_array(X))),
        np.abs(dense.transform(X)),
        atol=1e-6,
    )


# Recovery, criteria, robustness


def test_shares_and_means_are_recovered_from_samples():
    X, _ = blobs(std=1.0, n=300)
    truth = MultimodalMixture(3, **RAW, covariance_type="diag", random_state=0).fit(X)
    drawn, _ = truth.sample(3000, random_state=1)
    found = MultimodalMixture(3, **RAW, covariance_type="diag", random_state=0)
    found.fit(drawn)
    order = [
        np.abs(found.means_["audio"] - mean).sum(axis=1).argmin()
        for mean in truth.means_["audio"]
    ]
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(found.weights_[order], truth.weights_, atol=0.04)
    for name, emission in truth._model.emission.emissions.items():
        error = np.sqrt(emission.covariances / (3000 * truth.weights_[:, None]))
        shift = np.abs(found.means_[name][order] - truth.means_[name])
        assert (shift < 4 * error).all()


def test_samples_with_axes_have_the_covariance_of_the_data():
    X, _ = blobs(n=400)
    found = MultimodalMixture(3, scaling="standard", random_state=0).fit(X)
    drawn, _ = found.sample(4000, random_state=0)
    for name in X.names:
        np.testing.assert_allclose(
            drawn[name].mean(axis=0), X[name].mean(axis=0), atol=0.5
        )
        total = np.trace(np.cov(X[name].T))
        assert np.trace(np.cov(drawn[name].T)) == pytest.approx(total, rel=0.15)


def test_criteria_and_scores_choose_the_number_of_clusters():
    X, _ = blobs(std=1.0)
    fits = {
        k: MultimodalMixture(k, n_init=3, random_state=0).fit(X) for k in (2, 3, 4, 5)
    }
    assert min(fits, key=lambda k: fits[k].bic(X)) == 3
    n = fits[3]._n_parameters()
    criteria = fits[3].bic(X), fits[3].aic(X)
    assert criteria[0] - criteria[1] == pytest.approx(n * (np.log(150) - 2))
    search = GridSearchCV(
        MultimodalMixture(n_init=3, random_state=0), {"n_clusters": [1, 3]}, cv=3
    ).fit(X)
    assert search.best_params_ == {"n_clusters": 3}


def test_odd_data_have_finite_likelihoods():
    rng = np.random.RandomState(0)
    wide = rng.standard_normal((15, 400)).astype(np.float32)
    wide[:, :10] = 2.5
    data = {
        "wide": wide,
        "same": np.ones((15, 2)),
        "copies": np.tile([[1.0, 2]], (15, 1)),
    }
    data["copies"][:7] = 5
    for options in ({}, RAW | {"covariance_type": "diag"}):
        found = MultimodalMixture(4, n_init=2, random_state=0, **options).fit(data)
        assert np.isfinite(found.score_samples(data)).all()
        np.testing.assert_allclose(found.predict_proba(data).sum(axis=1), 1)
    huge = {"a": 1e150 * rng.standard_normal((30, 3))}
    assert np.isfinite(MultimodalMixture(2, random_state=0).fit(huge).score(huge))


def test_wrong_options_are_refused():
    X, _ = blobs()
    for params, message in (
        ({"emission": {"audio": "words"}}, "it must be one of"),
        ({"covariance_type": {"audio": "round"}}, "it must be one of"),
        ({"explained_variance": {"audio": 1.5}}, "at most 1"),
        ({"modality_weights": [1, 2, 3]}, "modality_weights"),
        ({"emission": {"audio": "poisson"}}, "'audio'"),
        ({"n_clusters": 200}, "n_samples=150 should be >= n_clusters=200"),
    ):
        with pytest.raises(ValueError, match=message):
            MultimodalMixture(**params).fit(X)
