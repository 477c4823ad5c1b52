"""What all estimators of chains and mixtures of densities have in common."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from mmfusion import (
    AsynchronousHMMAligner,
    HMMAligner,
    HMMClassifier,
    HMMClusterer,
    HMMLabeler,
    HMMTransformer,
    Modalities,
    MultimodalMixture,
    ProductHMMAligner,
)

Y = np.array([0, 1] * 4)


def sequences(n_features=2, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return [
        scale * (label + np.linspace(0, 2, n)[:, None] + rng.normal(size=(n, 1)))
        + np.zeros(n_features)
        for label, n in zip(Y, rng.integers(4, 9, len(Y)), strict=True)
    ]


def both():
    return {"audio": sequences(), "video": sequences(3, seed=1)}


ESTIMATORS = [
    HMMClassifier(2, max_iter=200),
    HMMClusterer(2, n_states=2, n_init=1, random_state=0, max_iter=200),
    HMMTransformer(2, n_init=1, random_state=0, max_iter=200),
]


@pytest.mark.parametrize("number", [0, -1, 1.5, "two", True])
@pytest.mark.parametrize(
    "estimator",
    [*ESTIMATORS, MultimodalMixture(2, n_init=1, random_state=0)],
    ids=lambda e: type(e).__name__,
)
def test_numbers_of_drawn_samples_are_checked(estimator, number):
    data = both()
    if isinstance(estimator, MultimodalMixture):
        data = np.random.default_rng(0).normal(size=(8, 3))
    fitted = clone(estimator).fit(data, Y)
    assert fitted.sample(2)[0].shape[0] == 2
    with pytest.raises(ValueError, match=r"n_samples is .*give an integer"):
        fitted.sample(number)


@pytest.mark.parametrize("method", ["aic", "bic", "sample", "score"])
@pytest.mark.parametrize("cls", [HMMClusterer, HMMTransformer, MultimodalMixture])
def test_criteria_need_a_fit(cls, method):
    if not hasattr(cls, method):
        pytest.skip("no such criterion")
    arguments = () if method == "sample" else (np.ones((4, 3)),)
    with pytest.raises(NotFittedError):
        getattr(cls(), method)(*arguments)


@pytest.mark.parametrize("scale", [1e300, 1e-300])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_results_do_not_depend_on_extreme_units(estimator, scale):
    data = both()
    scaled = data | {"audio": [scale * x for x in data["audio"]]}
    expected = clone(estimator).fit(data, Y).predict(data)
    found = clone(estimator).fit(scaled, Y).predict(scaled)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "estimator",
    [ESTIMATORS[0], ESTIMATORS[2], HMMTransformer(2, "factorial", n_init=1)],
    ids=["classifier", "transformer", "factorial"],
)
def test_frames_of_nan_have_no_reliability(estimator):
    data = both()
    data["audio"][1][2] = np.nan
    data["video"][1][0, 1] = np.nan
    reliability = clone(estimator).fit(data, Y).reliability(data)
    audio = reliability["audio"][1]
    assert np.flatnonzero(np.isnan(audio)).tolist() == [2]
    assert all(not np.isnan(own).any() for own in reliability["video"])


def test_frames_of_nan_have_no_reliability_for_labels():
    data = {"audio": sequences()}
    labels = [np.arange(len(x)) // 2 for x in data["audio"]]
    data["audio"][1][2] = np.nan
    reliability = HMMLabeler().fit(data, labels).reliability(data)
    assert np.flatnonzero(np.isnan(reliability["audio"][1])).tolist() == [2]


def test_a_product_takes_samples_without_any_modality():
    data = both()
    data["audio"][3] = data["video"][3] = None
    model = HMMTransformer(3, "product", n_init=1, max_iter=200, random_state=0)
    others = [i for i in range(len(Y)) if i != 3]
    alone = Modalities(data)[others]
    fitted = clone(model).fit(data)
    assert fitted.score(data) == pytest.approx(clone(model).fit(alone).score(alone))
    assert fitted.predict(data)[3] is None


class Undefined:
    """Density whose values are no numbers."""

    def log_density(self, X):
        return np.full((len(X), 2), np.nan)

    def update(self, X, posteriors):
        pass


def test_an_undefined_density_is_named():
    model = HMMClassifier(2, emission={"video": Undefined()})
    with pytest.raises(ValueError, match="'video': log_density of Undefined is NaN"):
        model.fit(both(), Y)


def test_sequences_in_the_cells_of_a_table_are_given_by_modality():
    data = pd.DataFrame(both())
    with pytest.raises(TypeError, match="columns modalities, give"):
        HMMClassifier().fit(data, Y)
    by_name = {name: list(data[name]) for name in data}
    expected = HMMClassifier(2).fit(both(), Y).predict_proba(both())
    found = HMMClassifier(2).fit(by_name, Y).predict_proba(by_name)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_events_at_given_steps_are_frames_among_frames_of_nan(estimator):
    rng = np.random.default_rng(2)
    signal = [x[:6] for x in sequences() for _ in range(2) if len(x) >= 6]
    events = [rng.poisson(2.0, (2, 1)) + 0.0 for _ in signal]
    padded = [np.full((6, 1), np.nan) for _ in signal]
    for own, placed in zip(events, padded, strict=True):
        placed[[1, 4]] = own  # where the clock has two frames of six steps
    y = np.arange(len(signal)) % 2
    model = clone(estimator).set_params(emission={"events": "poisson"})
    results = []
    for given in (events, padded):
        data = {"signal": signal, "events": given}
        fitted = clone(model).fit(data, y)
        results.append((fitted.objective_history_, fitted.predict(data)))
    for one, other in zip(*results, strict=True):
        for of_one, of_other in zip(one, other, strict=True):
            np.testing.assert_allclose(of_one, of_other, rtol=1e-12)


class Bounded:
    """Density that is 0 beyond a bound."""

    def log_density(self, X):
        return np.where(X[:, :1] > 50, -np.inf, -0.5 * (X[:, :1] - [0, 2]) ** 2)

    def update(self, X, posteriors):
        pass


@pytest.mark.parametrize(
    ("estimator", "methods"),
    [
        (HMMClassifier(2), ["decode", "state_posteriors", "reliability"]),
        (HMMLabeler(), ["predict", "predict_marginals", "reliability"]),
        (HMMLabeler(decoding="viterbi"), ["predict"]),
        (HMMClusterer(2, n_states=2, n_init=1), ["predict", "predict_proba"]),
    ],
    ids=["classifier", "labeler", "viterbi", "clusterer"],
)
def test_impossible_samples_are_named(estimator, methods):
    data = both()
    y = Y
    if isinstance(estimator, HMMLabeler):
        data = {"audio": data["audio"]}
        y = [np.arange(len(x)) // 3 % 2 for x in data["audio"]]
    own = {"audio": Bounded()}
    fitted = clone(estimator).set_params(emission=own, max_iter=200).fit(data, y)
    audio = [x.copy() for x in data["audio"]]
    audio[5][2] = 100
    for method in methods:
        with pytest.raises(ValueError, match="no path of the model explains sample 5"):
            getattr(fitted, method)(data | {"audio": audio})
    if isinstance(estimator, HMMClassifier):  # the prior is all that is known of it
        probabilities = fitted.predict_proba(data | {"audio": audio})
        np.testing.assert_allclose(probabilities[5], fitted.class_prior_)


EVERY_KIND = [
    *ESTIMATORS,
    HMMAligner(2),
    ProductHMMAligner(2),
    AsynchronousHMMAligner(2),
]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("emission", {"audio": "bell"}, "'audio': emission 'bell' is none of"),
        ("emission", {"audio": Bounded}, r"'audio'.*Bounded"),
        ("covariance_type", {"audio": "ful"}, "'audio'. is 'ful'; it must be one of"),
        ("n_mixtures", {"audio": 0}, "'audio': n_mixtures is 0; give an integer"),
        ("n_mixtures", {"audio": 2.5}, "'audio': n_mixtures is 2.5; give an integer"),
        ("outlier_share", {"audio": 1}, "'audio': outlier_share=1; give a share"),
        ("outlier_share", {"audio": "x"}, "'audio': outlier_share='x'; give a share"),
        ("modality_weights", {"audio": -1}, "'audio' is -1; give a number of at"),
        ("modality_weights", {"audio": np.nan}, "'audio' is nan; give a number of at"),
    ],
)
@pytest.mark.parametrize("estimator", EVERY_KIND, ids=lambda e: type(e).__name__)
def test_wrong_options_name_the_modality(estimator, option, value, message):
    if option not in estimator.get_params():
        pytest.skip("no such option")
    data = {"audio": sequences(), "video": [x[:2] for x in sequences(seed=1)]}
    with pytest.raises(ValueError, match=message):
        clone(estimator).set_params(**{option: value}).fit(data, Y)
