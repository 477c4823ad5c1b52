"""HMMClassifier with coupling='asynchronous': events without times beside a signal."""

import pickle
from itertools import combinations, pairwise, product

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV

from mmfusion import HMMClassifier, Modalities
from mmfusion.datasets import make_multimodal_sequences
from mmfusion.plotting import StatePosteriorDisplay

ERGODIC = {"topology": "ergodic", "random_state": 0}


def bursts(n_samples=40, seed=0, noise=0.5):
    """A signal with bursts of two kinds, at any times, and an event for each burst.

    Bursts are close to each other, before or after a long rest. Classes differ in which
    kind of event goes with which kind of burst.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(n_samples) % 2
    signals, events = [], []
    for label in y:
        kinds = rng.integers(2, size=rng.integers(3, 7))
        rests = rng.integers(1, 5, size=len(kinds) + 1)
        rests[rng.choice([0, -1])] += rng.integers(20, 50)
        x = [0.0] * rests[0]
        for kind, rest in zip(kinds, rests[1:], strict=True):
            x += [4.0 * kind - 2] * 2 + [0.0] * rest
        marks = np.where(kinds == label, 2.0, -2.0)
        signals.append(np.array(x)[:, None] + noise * rng.normal(size=(len(x), 1)))
        events.append(marks[:, None] + noise * rng.normal(size=(len(marks), 1)))
    return Modalities({"signal": signals, "events": events}), y


@pytest.fixture(scope="module")
def fitted():
    return HMMClassifier(3, coupling="asynchronous", **ERGODIC).fit(*bursts())


def likelihood(classifier, code, signal, events):
    """The likelihood as printed, over all states and all frames of the events."""

    def densities(name, frames):
        means = classifier.means_[name][code]
        sd = np.sqrt(classifier.covariances_[name][code])
        return norm.logpdf(frames[:, None], means, sd).sum(axis=2)

    start, a = classifier.start_probabilities_[code], classifier.transitions_[code]
    emits = classifier.event_probabilities_[code]
    x, y = densities("signal", signal), densities("events", events)
    terms = []
    for path in product(range(len(start)), repeat=len(x)):
        with np.errstate(divide="ignore"):
            score = np.log([start[path[0]], *(a[p, q] for p, q in pairwise(path))])
        for steps in combinations(range(len(x)), len(y)):
            of_events = np.log(
                [emits[q] if t in steps else 1 - emits[q] for t, q in enumerate(path)]
            )
            values = [x[t, q] for t, q in enumerate(path)]
            values += [y[s, path[t]] for s, t in enumerate(steps)]
            terms.append(score.sum() + of_events.sum() + sum(values))
    return logsumexp(terms)


@pytest.mark.parametrize("topology", ["left-to-right", "ergodic"])
def test_scores_are_sums_over_states_and_frames_of_events(topology):
    options = {"topology": topology, "outlier_share": 0, "cv": None, "random_state": 0}
    classifier = HMMClassifier(2, coupling="asynchronous", **options).fit(*bursts(12))
    rng = np.random.default_rng(1)
    for n_steps, n_events in ((4, 2), (5, 1), (3, 3)):
        signal, events = rng.normal(size=(n_steps, 1)), rng.normal(size=(n_events, 1))
        found = classifier.decision_function({"signal": [signal], "events": [events]})
        of_classes = [likelihood(classifier, c, signal, events) for c in range(2)]
        assert found[0] == pytest.approx(of_classes[1] - of_classes[0], rel=1e-9)


def test_classes_that_differ_in_what_goes_with_what_are_distinguished(fitted):
    X, y = bursts(100, seed=1)
    assert fitted.score(X, y) > 0.98
    assert log_loss(y, fitted.predict_proba(X)) < 0.1
    for coupling in ("synchronous", "product", "coupled"):
        other = HMMClassifier(3, coupling=coupling, **ERGODIC).fit(*bursts())
        assert other.score(X, y) < 0.7
    # neither modality alone has what distinguishes the classes
    for name in X.names:
        alone = Modalities(X.to_dict() | {name: [None] * len(y)})
        assert 0.3 < fitted.score(alone, y) < 0.7
        assert log_loss(y, fitted.predict_proba(alone)) < 0.75


def test_what_a_sample_lacks_is_left_out_exactly(fitted):
    X, _ = bursts(6, seed=2)
    without = Modalities(X.to_dict() | {"events": [None] * 6})
    options = {
        "coupling": "asynchronous",
        "cv": None,
        "modality_weights": {"events": 0},
    }
    plain = HMMClassifier(3, **ERGODIC, **options)
    alone = HMMClassifier(3, **ERGODIC, cv=None)
    train, y = bursts(20)
    found = plain.fit(train, y).decision_function(X)
    expected = alone.fit(train[["signal"]], y).decision_function(X[["signal"]])
    np.testing.assert_allclose(found, expected, atol=1e-8)
    np.testing.assert_allclose(plain.decision_function(without), expected, atol=1e-8)
    nothing = Modalities({"signal": [None], "events": [None]})
    np.testing.assert_allclose(
        fitted.predict_proba(nothing), fitted.class_prior_[None], atol=1e-9
    )


def test_a_frame_of_nan_is_an_event_of_any_kind(fitted):
    X, _ = bursts(4, seed=2)
    events = [np.vstack([x, [[np.nan]]]) for x in X["events"]]
    with_one = fitted.predict_proba(Modalities(X.to_dict() | {"events": events}))
    assert np.isfinite(with_one).all()
    assert not np.allclose(with_one, fitted.predict_proba(X))  # there is one more


def test_samples_that_lack_a_modality_are_learned_from():
    X, y = bursts(60, seed=3)
    events = [None if i % 5 == 0 else x for i, x in enumerate(X["events"])]
    signal = [None if i % 5 == 1 else x for i, x in enumerate(X["signal"])]
    classifier = HMMClassifier(3, coupling="asynchronous", **ERGODIC)
    classifier.fit(Modalities({"signal": signal, "events": events}), y)
    for history in classifier.objective_history_:
        assert (np.diff(history) >= -1e-9 * np.abs(history[:-1])).all()
    assert classifier.score(*bursts(60, seed=4)) > 0.9


def test_events_happen_in_the_states_of_bursts(fitted):
    X, _ = bursts(5, seed=5)
    assert fitted.event_probabilities_.shape == (2, 3)
    posteriors, path = fitted.state_posteriors(X)["state"], fitted.decode(X)["state"]
    labels = fitted.predict(X)
    reliability = fitted.reliability(X)
    for i, x in enumerate(X["signal"]):
        assert posteriors[i].shape == (len(x), 3)
        np.testing.assert_allclose(posteriors[i].sum(axis=1), 1)
        emits = fitted.event_probabilities_[labels[i]][path[i]] > 0.05
        assert np.abs(x[emits]).mean() > 1.5 > np.abs(x[~emits]).mean()
        for name in X.names:
            assert reliability[name][i].shape == (len(X[name][i]),)
            assert reliability[name][i].mean() > 0.8
    display = StatePosteriorDisplay.from_estimator(fitted, X, sample=1)
    assert display.posteriors["state"].shape == (len(X["signal"][1]), 3)
    without = Modalities({"signal": [None] * 5, "events": X["events"]})
    for own, events in zip(
        fitted.state_posteriors(without)["state"], X["events"], strict=True
    ):
        assert own.shape == (len(events), 3)


def test_an_event_at_every_frame_is_one_chain():
    X, y = bursts(20, seed=6)
    data = Modalities({"signal": X["signal"], "events": [x**2 for x in X["signal"]]})
    one = HMMClassifier(1, cv=None).fit(data, y)
    apart = HMMClassifier(1, cv=None, coupling="asynchronous").fit(data, y)
    assert (apart.event_probabilities_ > 0.99).all()
    # up to the prior of the probabilities of events
    np.testing.assert_allclose(
        apart.decision_function(data), one.decision_function(data), atol=0.1
    )


def test_the_signal_is_the_modality_with_more_frames():
    X, y = bursts(20)
    options = {"coupling": "asynchronous", **ERGODIC}
    swapped = Modalities({name: X[name] for name in ("events", "signal")})
    one = HMMClassifier(3, **options).fit(X, y)
    other = HMMClassifier(3, **options).fit(swapped, y)
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(swapped))
    named = HMMClassifier(3, clock="signal", **options).fit(X, y)
    np.testing.assert_allclose(one.predict_proba(X), named.predict_proba(X))


def test_couplings_are_searched_and_models_are_stored(fitted):
    X, y = bursts(80)
    grid = {"coupling": ["synchronous", "product", "coupled", "asynchronous"]}
    search = GridSearchCV(
        HMMClassifier(3, tol=1e-3, cv=2, **ERGODIC), grid, cv=2, error_score="raise"
    )
    assert search.fit(X, y).best_params_ == {"coupling": "asynchronous"}
    assert search.best_score_ > 0.9
    stored = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(stored.predict_proba(X), fitted.predict_proba(X))
    threads = fitted.set_params(n_jobs=2).predict_proba(X)
    np.testing.assert_array_equal(stored.predict_proba(X), threads)


def test_weights_may_be_learned_from_held_out_samples():
    X, y = bursts(40)
    options = {"coupling": "asynchronous", "modality_weights": "discriminative"}
    classifier = HMMClassifier(3, **options, **ERGODIC).fit(X, y)
    assert classifier.modality_weights_.sum() == pytest.approx(2)
    assert np.isfinite(classifier.predict_proba(X)).all()


def test_drawn_samples_are_classified_as_drawn(fitted):
    X, y = fitted.sample(30)
    assert all(1 <= len(e) < len(x) for x, e in zip(*X.blocks, strict=True))
    assert fitted.score(X, y) > 0.8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clock": 5}, "clock=5 is a number of steps"),
        ({"clock": "touch"}, "clock 'touch' is no modality"),
        ({"clock": "events"}, "'signal': sample 0 has .* frames, and 'events'"),
        ({"modality_weights": 0.0}, "modality_weights of 'signal' is 0"),
        (
            {"modality_weights": {"signal": 0}, "clock": "signal"},
            "modality_weights of 'signal' is 0",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(changes, message):
    classifier = HMMClassifier(3, coupling="asynchronous").set_params(**changes)
    with pytest.raises(ValueError, match=message):
        classifier.fit(*bursts(8))


@pytest.mark.parametrize("names", [["signal"], ["signal", "events", "more"]])
def test_it_is_of_two_modalities(names):
    X, y = bursts(8)
    blocks = X.to_dict() | {"more": X["signal"]}
    data = Modalities({name: blocks[name] for name in names})
    with pytest.raises(ValueError, match="of two modalities, and there are") as error:
        HMMClassifier(coupling="asynchronous").fit(data, y)
    assert all(repr(name) in str(error.value) for name in names)
    assert HMMClassifier(2, coupling="synchronous").fit(data, y).score(data, y) > 0.5


def test_later_samples_with_more_events_than_frames_are_named(fitted):
    X, _ = bursts(3)
    short = {"signal": [X["signal"][0], X["signal"][1][:2]], "events": X["events"][:2]}
    with pytest.raises(
        ValueError, match=r"'events': sample 1 has . frames, and 'signal'"
    ):
        fitted.predict(short)


def test_one_label_gives_the_states_of_an_asynchronous_chain():
    X, _, _ = make_multimodal_sequences(12, {"audio": 3, "video": 5}, random_state=0)
    sparse = [own[::3] for own in X["video"]]
    X = Modalities({"audio": list(X["audio"]), "video": sparse})
    model = HMMClassifier(2, coupling="asynchronous", topology="ergodic")
    states = model.fit(X, np.zeros(12)).state_posteriors(X)["state"]
    for own, of_sample in zip(states, X["audio"], strict=True):
        assert own.shape == (len(of_sample), 2)
        np.testing.assert_allclose(own.sum(axis=1), 1)
