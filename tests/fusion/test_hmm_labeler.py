"""Labels by frame: forms of y, known limits, change points, model selection."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
    train_test_split,
)
from sklearn.naive_bayes import GaussianNB

from mmfusion import HMMLabeler, Modalities
from mmfusion.graphical import graph_from_edges

STATES = {"rest": 0.0, "walk": 1.0, "run": 2.0}


def activities(n_samples=12, seed=0, noise=0.5):
    """Activities of some length each, in audio and in video of half its rate."""
    rng = np.random.default_rng(seed)
    names = list(STATES)
    audio, video, y = [], [], []
    for _ in range(n_samples):
        order = [names[k] for k in rng.permutation(3)]
        own = np.repeat(order, rng.integers(6, 15, 3))
        level = np.array([STATES[label] for label in own])
        audio.append(level[:, None] + noise * rng.normal(size=(len(own), 2)))
        slow = level[1::2, None] * [1, -1, 1]
        video.append(slow + noise * rng.normal(size=slow.shape))
        y.append(own)
    return Modalities({"audio": audio, "video": video}), y


def as_objects(y):
    array = np.empty(len(y), dtype=object)
    array[:] = y
    return array


@pytest.fixture(scope="module")
def data():
    return activities()


@pytest.fixture(scope="module")
def fitted(data):
    return HMMLabeler().fit(*data)


@pytest.mark.parametrize("decoding", ["viterbi", "posterior"])
def test_change_points_are_recovered(data, decoding):
    X, y = activities(30, seed=1)
    labeler = HMMLabeler(decoding=decoding).fit(*data)
    found = labeler.predict(X)
    assert labeler.score(X, y) > 0.97
    for own, predicted in zip(y, found, strict=True):
        planted = np.flatnonzero(own[1:] != own[:-1])
        changes = np.flatnonzero(predicted[1:] != predicted[:-1])
        assert abs(planted[:, None] - changes).min(axis=1).max() <= 2


def test_a_chain_labels_better_than_frames_by_themselves():
    X, y = activities(20, noise=1.5)
    later, truth = activities(20, seed=1, noise=1.5)
    labeler = HMMLabeler().fit(X, y)
    frames = GaussianNB().fit(np.concatenate(list(X["audio"])), np.concatenate(y))
    alone = frames.score(np.concatenate(list(later["audio"])), np.concatenate(truth))
    assert labeler.score(later, truth) > alone + 0.1


def test_states_inside_labels_are_found():
    """Find the states of a label of two levels, one of which is another label's."""
    rng = np.random.default_rng(0)
    X, y = [], []
    for _ in range(12):
        level = np.concatenate([np.zeros(10), np.tile([0.0, 0, 3, 3], 4), np.zeros(8)])
        y.append(np.repeat([0, 1, 0], [10, 16, 8]))
        X.append(level[:, None] + 0.4 * rng.normal(size=(len(level), 1)))
    scores = [
        HMMLabeler(k, random_state=0).fit([X[:8]], y[:8]).score([X[8:]], y[8:])
        for k in (1, 2)
    ]
    assert scores[1] > max(scores[0], 0.98)


def test_labels_of_one_state_are_counted():
    """Transitions with one state per label are counts, as the maximum is known."""
    y = [np.array([0, 0, 1, 1, 1, 2]), np.array([0, 2, 2, 1])]
    X = [np.arange(6.0)[:, None], np.arange(4.0)[:, None]]
    labeler = HMMLabeler(outlier_share=0).fit([X], y)
    counts = np.array([[0, 1, 1], [0, 0, 1], [0, 1, 0]]) + 0.1 * (1 - np.eye(3))
    expected = counts / counts.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(labeler.label_transitions_, expected)
    means = [np.mean([0, 1, 0]), np.mean([2, 3, 4, 3]), np.mean([5, 1, 2])]
    emission = labeler._model.emission.emissions["modality_0"]
    np.testing.assert_allclose(emission.means.ravel(), means)
    assert isinstance(labeler._model.graph, type(graph_from_edges(1, [[0, 0]], [0.0])))


def test_rows_of_tables_have_one_label_each():
    y = np.arange(30) % 3
    X = y[:, None] + 0.5 * np.random.default_rng(0).normal(size=(30, 4))
    labeler = HMMLabeler().fit(X, y)
    found = labeler.predict(X)
    assert found.dtype == y.dtype
    assert labeler.score(X, y) == np.mean(found == y) > 0.9


# Forms of y, and model selection


def test_forms_of_labels_agree(data):
    X, y = activities(6)
    codes = [np.array([list(STATES).index(label) for label in own]) for own in y]
    expected = [
        np.array(list(STATES))[p] for p in HMMLabeler().fit(X, codes).predict(X)
    ]
    for form in (y, as_objects(y), [own.tolist() for own in y]):
        for one, other in zip(
            HMMLabeler().fit(X, form).predict(X), expected, strict=True
        ):
            np.testing.assert_array_equal(one, other)
    equal = [own[:12] for own in codes]
    short = Modalities({"audio": [x[:12] for x in X["audio"]]})
    for form in (equal, np.array(equal), np.array(equal, dtype=object)):
        labels = HMMLabeler().fit(short, form).predict(short)
        assert labels.shape == (6,)
        assert labels[0].shape == (12,)


@pytest.mark.parametrize("form", [list, as_objects])
def test_model_selection_takes_ragged_labels(data, form):
    X, y = data
    y = form(y)
    grid = {"states_per_label": [1, 2], "outlier_share": [0, 0.01]}
    search = GridSearchCV(HMMLabeler(random_state=0), grid, cv=2, error_score="raise")
    assert search.fit(X, y).best_score_ > 0.9
    assert search.score(X, y) > 0.9
    scores = cross_val_score(HMMLabeler(), X, y, cv=3, error_score="raise")
    assert scores.min() > 0.9
    predicted = cross_val_predict(HMMLabeler(), X, y, cv=3)
    assert [len(p) for p in predicted] == [len(own) for own in y]
    train, test, y_train, y_test = train_test_split(X, y, random_state=0)
    assert HMMLabeler().fit(train, y_train).score(test, y_test) > 0.9


def test_the_score_weighs_frames():
    X, y = activities(4, noise=1.5)
    labeler = HMMLabeler().fit(X, y)
    correct = [np.mean(a == b) for a, b in zip(labeler.predict(X), y, strict=True)]
    lengths = [len(own) for own in y]
    assert labeler.score(X, y) == pytest.approx(np.average(correct, weights=lengths))
    weight = [0, 2, 1, 0]
    expected = np.average(correct, weights=np.multiply(weight, lengths))
    assert labeler.score(X, y, sample_weight=weight) == pytest.approx(expected)


# Missing modalities and errors


def test_a_modality_may_be_missing(data, fitted):
    X, y = data
    video = [None if i % 3 == 0 else x for i, x in enumerate(X["video"])]
    less = Modalities({"audio": X["audio"], "video": video})
    assert HMMLabeler().fit(less, y).score(less, y) > 0.9
    assert fitted.score(less, y) > 0.9
    reliability = fitted.reliability(less)
    assert reliability["video"][0] is None
    assert len(reliability["audio"][0]) == len(y[0])
    posteriors = fitted.state_posteriors(less)["label"]
    np.testing.assert_allclose(posteriors[0].sum(axis=1), 1)


def test_the_clock_may_be_a_slower_modality(data):
    X, y = data
    slow = [own[1::2] for own in y]
    labeler = HMMLabeler(clock="video").fit(X, slow)
    assert labeler.score(X, slow) > 0.9
    with pytest.raises(ValueError, match=r"y of sample 0 has .* labels, and X has"):
        HMMLabeler(clock="video").fit(X, y)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda y: None, ValueError, "requires y to be passed"),
        (lambda y: y[:-1], ValueError, "inconsistent numbers of samples"),
        (lambda y: [y[0][:-1], *y[1:]], ValueError, "y of sample 0 has"),
        (lambda y: [None, *y[1:]], ValueError, "y of sample 0 is None"),
        (lambda y: [y[0][:, None], *y[1:]], ValueError, r"labels of frames have shape"),
        (lambda y: [np.ones(len(y[0])), *y[1:]], ValueError, "text in some samples"),
        (
            lambda y: [np.full(len(own), np.nan) for own in y],
            ValueError,
            "holds NaN or infinity",
        ),
        (lambda y: "walk", ValueError, "give an array of labels for each sample"),
    ],
)
def test_other_labels_are_refused(data, change, error, message):
    X, y = data
    with pytest.raises(error, match=message):
        HMMLabeler().fit(X, change(y))


def test_samples_without_frames_have_no_labels(data, fitted):
    nothing = Modalities({"audio": [None], "video": [None]})
    with pytest.raises(ValueError, match="sample 0 lacks every modality"):
        fitted.predict(nothing)


def test_weights_of_samples_are_repetitions(data):
    X, y = data
    weight = np.arange(len(y)) % 3
    rows = np.repeat(np.arange(len(y)), weight)
    weighted = HMMLabeler(tol=0, max_iter=5)
    with pytest.warns(ConvergenceWarning):
        one = weighted.fit(X, y, sample_weight=weight).predict_marginals(X)
    with pytest.warns(ConvergenceWarning):
        two = weighted.fit(X[rows], [y[i] for i in rows]).predict_marginals(X)
    np.testing.assert_allclose(np.concatenate(list(one)), np.concatenate(list(two)))
