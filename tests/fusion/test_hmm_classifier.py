"""Classification of sequences by hidden Markov models."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, GroupKFold

from mmfusion import HMMClassifier, Modalities
from mmfusion.datasets import make_multimodal_sequences
from mmfusion.fusion._graphical_calibration import temperatures_of_samples

NAMES = ["audio", "video"]


def movements(n_samples=40, seed=0, noise=0.5):
    """Two classes: features that rise in one order or the other, at any pace."""
    rng = np.random.default_rng(seed)
    y = np.arange(n_samples) % 2
    audio, video = [], []
    for label in y:
        n = rng.integers(12, 20)
        time = np.linspace(0, 1, n) ** rng.uniform(0.7, 1.4)
        first = np.sin(2 * np.pi * (time if label else 1 - time))
        audio.append(np.column_stack([first, time]) + noise * rng.normal(size=(n, 2)))
        slow = first[::2, None] * [1, -1, 2]
        video.append(slow + noise * rng.normal(size=slow.shape))
    return Modalities({"audio": audio, "video": video}), y


@pytest.fixture(scope="module")
def data():
    return movements()


@pytest.fixture(scope="module")
def fitted(data):
    return HMMClassifier(4).fit(*data)


def slow_score(classifier, code, sample):
    """The likelihood as printed, by a sum over all sequences of states."""
    x = sample["audio"]
    start, a = classifier.start_probabilities_[code], classifier.transitions_[code]
    means = classifier.means_["audio"][code]
    sd = np.sqrt(classifier.covariances_["audio"][code])
    logs = norm.logpdf(x[:, None], means, sd).sum(axis=2)
    terms = []
    for path in np.ndindex(*[len(start)] * len(x)):
        weight = start[path[0]] * np.prod([a[p, q] for p, q in pairwise(path)])
        if weight > 0:
            terms.append(np.log(weight) + sum(logs[t, q] for t, q in enumerate(path)))
    return logsumexp(terms)


def test_scores_are_sums_over_all_sequences_of_states(data):
    X, y = data
    classifier = HMMClassifier(3, outlier_share=0, cv=None).fit(X[["audio"]], y)
    short = {"audio": [x[:5] for x in X["audio"][:3]]}
    found = classifier.decision_function(short)
    for i, x in enumerate(short["audio"]):
        scores = [slow_score(classifier, c, {"audio": x}) for c in range(2)]
        expected = scores[1] - scores[0]
        assert found[i] == pytest.approx(expected, rel=1e-9)


def test_later_samples_are_classified(fitted):
    X, y = movements(seed=1)
    assert fitted.score(X, y) >= 0.95
    probabilities = fitted.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert log_loss(y, probabilities) < 0.2
    np.testing.assert_allclose(np.log(probabilities), fitted.predict_log_proba(X))


def test_the_temperature_calibrates_what_is_otherwise_0_or_1():
    X, y = movements(60, noise=2.5)
    later, truth = movements(200, seed=1, noise=2.5)
    plain = HMMClassifier(4, cv=None).fit(X, y)
    calibrated = HMMClassifier(4).fit(X, y)
    assert plain.temperature_ == 1 < calibrated.temperature_
    np.testing.assert_array_equal(plain.predict(later), calibrated.predict(later))
    loss = log_loss(truth, calibrated.predict_proba(later))
    assert loss < log_loss(truth, plain.predict_proba(later))
    losses = []  # without one modality, too
    for name in NAMES:
        less = Modalities(later.to_dict() | {name: [None] * len(truth)})
        models = (calibrated, plain)
        losses.append([log_loss(truth, m.predict_proba(less)) for m in models])
    own, without = np.mean(losses, axis=0)
    assert own < without


def test_temperatures_go_from_one_modality_to_all():
    observed = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 1], [0, 0, 0]], dtype=bool)
    found = temperatures_of_samples(observed, 90.0, np.array([10.0, 20.0, 40.0]))
    between = np.sqrt(np.sqrt(20 * 40) * 90)
    np.testing.assert_allclose(found[:3], [90, 10, between])
    one = temperatures_of_samples(observed[:, :1], 7.0, np.array([3.0]))
    np.testing.assert_array_equal(one, 7)


def test_folds_may_keep_groups_together():
    X, y = movements(24)
    groups = np.arange(24) // 4
    splits = list(GroupKFold(3).split(y, y, groups))
    classifier = HMMClassifier(3, cv=splits).fit(X, y)
    assert classifier.temperature_ > 0
    twice = [(train, np.arange(12)) for train, _ in splits]
    with pytest.raises(ValueError, match="holds a sample out twice"):
        HMMClassifier(3, cv=twice).fit(X, y)


# Noise and missing modalities


def drown(X, name, rng):
    bad = [x + 3 * rng.normal(size=x.shape) for x in X[name]]
    return Modalities(X.to_dict() | {name: bad})


def test_a_modality_of_noise_does_not_mislead():
    X, y = movements(60)
    clean, truth = movements(seed=1)
    noisy = drown(clean, "video", np.random.default_rng(0))
    robust = HMMClassifier(4).fit(X, y)
    textbook = HMMClassifier(4, outlier_share=0).fit(X, y)
    assert robust.score(noisy, truth) >= 0.9
    assert robust.score(noisy, truth) > textbook.score(noisy, truth)
    reliability = robust.reliability(noisy)
    video = np.concatenate(list(reliability["video"])).mean()
    assert video < 0.5 < np.concatenate(list(reliability["audio"])).mean()
    for name in NAMES:
        assert [len(r) for r in reliability[name]] == [len(x) for x in noisy[name]]


def test_values_beyond_all_that_was_seen_do_not_hide_the_other_modality(data):
    X, y = data
    dead = [np.column_stack([x, np.zeros(len(x))]) for x in X["video"]]
    classifier = HMMClassifier(3).fit(Modalities(X.to_dict() | {"video": dead}), y)
    for value in (1.0, 1e30, 1e150):
        alive = [np.column_stack([x, np.full(len(x), value)]) for x in X["video"]]
        found = classifier.predict_proba(Modalities(X.to_dict() | {"video": alive}))
        assert (found.argmax(axis=1) == y).mean() >= 0.95
    textbook = HMMClassifier(3, outlier_share=0).fit(X, y)
    far = [x * 1e200 for x in X["audio"]]
    beyond = Modalities(X.to_dict() | {"audio": far})
    assert np.isfinite(textbook.predict_proba(beyond)).all()


def test_a_missing_modality_is_left_out_exactly(data):
    X, y = data
    classifier = HMMClassifier(3, cv=None).fit(X, y)
    without = Modalities({"audio": X["audio"], "video": [None] * len(y)})
    weightless = HMMClassifier(
        3, cv=None, modality_weights={"audio": 1, "video": 0}
    ).fit(X, y)
    weightless._models = [
        type(m)(
            m.graph,
            type(m.emission)(m.emission.emissions, {"video": 0}, m.emission.outliers),
        )
        for m in classifier._models
    ]
    np.testing.assert_allclose(
        classifier.decision_function(without), weightless.decision_function(X)
    )
    assert classifier.reliability(without)["video"][0] is None


def test_frames_may_be_missing(data):
    X, y = data
    gappy = [x.copy() for x in X["audio"]]
    for x in gappy:
        x[3:6] = np.nan
        x[8, 0] = np.nan
    X = Modalities({"audio": gappy, "video": X["video"]})
    classifier = HMMClassifier(4).fit(X, y)
    assert classifier.score(X, y) == 1
    assert np.isfinite(classifier.decision_function(X)).all()


def test_a_sample_without_any_modality_gets_the_prior():
    X, y = movements(30)
    y = np.where(np.arange(30) < 20, y, 2)
    classifier = HMMClassifier(2).fit(X, y)
    nothing = Modalities({name: [None, None] for name in NAMES})
    found = classifier.predict_proba(nothing)
    np.testing.assert_allclose(found, [[1 / 3] * 3] * 2)
    given = HMMClassifier(2, priors={0: 0.5, 1: 0.2, 2: 0.3}).fit(X, y)
    np.testing.assert_allclose(given.predict_proba(nothing), [[0.5, 0.2, 0.3]] * 2)


def test_a_class_without_a_modality_has_the_pooled_densities(data):
    X, y = data
    video = [None if label else x for x, label in zip(X["video"], y, strict=True)]
    X = Modalities({"audio": X["audio"], "video": video})
    with pytest.warns(
        UserWarning, match="'video' is missing for every sample of class 1"
    ):
        classifier = HMMClassifier(3).fit(X, y)
    means = classifier.means_["video"]
    np.testing.assert_allclose(means[1], np.broadcast_to(means[1, 0], means[1].shape))
    assert classifier.score(X, y) == 1


# Options


def test_weights_of_modalities_are_learned_from_held_out_samples():
    X, y = movements(60)
    rng = np.random.default_rng(0)
    noise = [5 * rng.normal(size=x.shape) for x in X["video"]]
    X = Modalities({"audio": X["audio"], "video": noise})
    classifier = HMMClassifier(3, modality_weights="discriminative").fit(X, y)
    audio, video = classifier.modality_weights_
    assert audio + video == pytest.approx(2)
    assert audio > video
    with pytest.raises(ValueError, match="leave cv at its default"):
        HMMClassifier(modality_weights="discriminative", cv=None).fit(X, y)


def test_the_product_of_chains_without_lag_is_one_chain(data):
    X, y = data
    one = HMMClassifier(4).fit(X, y)
    product = HMMClassifier(4, coupling="product", max_lag=0).fit(X, y)
    np.testing.assert_allclose(
        one.decision_function(X), product.decision_function(X), rtol=1e-6
    )
    apart = HMMClassifier(4, coupling="product", max_lag=2).fit(X, y)
    assert apart.score(X, y) == 1
    states = apart.decode(X)
    assert list(states) == NAMES
    lags = np.concatenate(list(states["audio"])) - np.concatenate(list(states["video"]))
    assert abs(lags).max() <= 2


@pytest.mark.parametrize("kind", ["diag", "full", "tied", "spherical"])
def test_classes_may_share_their_covariances(data, kind):
    X, y = data
    params = {"covariance_type": kind, "cv": None}
    own = HMMClassifier(3, **params).fit(X, y)
    shared = HMMClassifier(3, covariance_tied=True, **params).fit(X, y)
    for name in NAMES:
        before, after = own.covariances_[name], shared.covariances_[name]
        axes = 0 if kind == "tied" else (0, 1)  # classes are of one size
        expected = np.broadcast_to(before.mean(axis=axes), after.shape)
        np.testing.assert_allclose(after, expected)
        np.testing.assert_allclose(own.means_[name], shared.means_[name])
    assert HMMClassifier(3, covariance_tied=True).fit(X, y).score(X, y) == 1
    with pytest.raises(ValueError, match="covariance_tied=True needs the emission"):
        HMMClassifier(2, covariance_tied=True, emission="mixture").fit(X, y)


def test_couplings_are_searched(data):
    X, y = data
    grid = {"coupling": ["synchronous", "product", "coupled"], "n_states": [3]}
    search = GridSearchCV(HMMClassifier(), grid, cv=2, error_score="raise")
    assert search.fit(X, y).best_score_ > 0.9


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"coupling": "coupled", "n_states": 30}, "361 joint states"),
        ({"priors": [0.5, 0.6]}, "add up to 1"),
        ({"priors": [1.0]}, "probability for each of the 2 classes"),
        ({"priors": {0: 0.5, 7: 0.5}}, r"priors name the classes \[0, 7\]"),
        ({"modality_weights": {"audio": -1}}, "'audio' is -1"),
        ({"modality_weights": {"touch": 1}}, r"modality_weights names \['touch'\]"),
        ({"outlier_share": {"audio": 1}}, "below 1"),
        ({"clock": "touch"}, "clock 'touch' is no modality"),
    ],
)
def test_options_that_do_not_fit_are_refused(data, params, message):
    with pytest.raises(ValueError, match=message):
        HMMClassifier(**params).fit(*data)


def test_product_is_of_two_modalities():
    X, y, _ = make_multimodal_sequences(
        12, {"a": 2, "b": 2, "c": 2}, n_classes=2, random_state=0
    )
    with pytest.raises(ValueError, match="two modalities"):
        HMMClassifier(coupling="product").fit(X, y)


def test_states_do_not_outnumber_frames_and_few_frames_suffice():
    X = [[np.array([[0.0]]), np.array([[1.0], [1.1]]), np.array([[0.1]])]]
    classifier = HMMClassifier(9).fit(X, [0, 1, 0])
    assert classifier.transitions_.shape == (2, 2, 2)
    assert classifier.predict(X).tolist() == [0, 1, 0]
    constant = [[np.zeros((4, 2))] * 4]
    assert np.isfinite(
        HMMClassifier(3).fit(constant, [0, 1, 0, 1]).predict_proba(constant)
    ).all()


def test_one_iteration_warns(data):
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        HMMClassifier(3, max_iter=1, cv=None).fit(*data)


@pytest.mark.parametrize(
    "params",
    [{}, {"coupling": "product"}, {"coupling": "coupled"}, {"topology": "ergodic"}],
)
def test_objectives_never_fall_and_threads_agree(data, params):
    one = HMMClassifier(3, random_state=0, **params).fit(*data)
    for history in one.objective_history_:
        assert (np.diff(history) >= -1e-9 * np.abs(history[:-1])).all()
    two = HMMClassifier(3, random_state=0, n_jobs=2, **params).fit(*data)
    np.testing.assert_allclose(one.predict_proba(data[0]), two.predict_proba(data[0]))


@pytest.mark.parametrize("slow", ["once", "hold"])
def test_states_and_reliability_have_the_clocks_steps_and_the_frames(data, slow):
    X, y = data
    classifier = HMMClassifier(3, slow=slow).fit(X, y)
    posteriors = classifier.state_posteriors(X)["state"]
    path = classifier.decode(X)["state"]
    reliability = classifier.reliability(X)
    for i in range(5):
        assert posteriors[i].shape == (len(X["audio"][i]), 3)
        np.testing.assert_allclose(posteriors[i].sum(axis=1), 1)
        assert (np.diff(path[i]) >= 0).all()
        for name in NAMES:
            assert reliability[name][i].shape == (len(X[name][i]),)
            assert ((reliability[name][i] >= 0) & (reliability[name][i] <= 1)).all()


def test_drawn_samples_are_classified_as_drawn(fitted):
    X, y = fitted.set_params(random_state=0).sample(30)
    assert X.names == tuple(NAMES)
    assert fitted.score(X, y) >= 0.9
