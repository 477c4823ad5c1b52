"""Labels by a conditional random field: clocks, constraints, what is missing."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

from mmfusion import CRFLabeler, Modalities

from .test_hmm_labeler import activities, as_objects


@pytest.fixture(scope="module")
def data():
    return activities()


@pytest.mark.parametrize("decoding", ["viterbi", "posterior"])
def test_change_points_are_recovered(data, decoding):
    X, y = activities(30, seed=1)
    labeler = CRFLabeler(decoding=decoding).fit(*data)
    assert labeler.score(X, y) > 0.97
    marginals = labeler.predict_marginals(X)
    assert [len(p) for p in marginals] == [len(own) for own in y]
    np.testing.assert_allclose(np.concatenate(list(marginals)).sum(axis=1), 1)


def overlapping_windows(seed, n_samples=20):
    """Two levels under noise, averaged in windows of 15 values that move by one."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for _ in range(n_samples):
        labels = np.repeat(rng.permutation(3).repeat(2), rng.integers(8, 20, 6))
        raw = labels[:, None] * [1, -1, 0.5, 0] + 4 * rng.normal(size=(len(labels), 4))
        padded = np.pad(raw, ((7, 7), (0, 0)), mode="reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 15, axis=0)
        X.append(np.hstack([windows.mean(axis=-1), windows.std(axis=-1)]))
        y.append(labels)
    return X, y


@pytest.mark.parametrize("seed", range(3))
def test_overlapping_windows_are_labelled_no_worse_than_frame_by_frame(seed):
    X, y = overlapping_windows(seed)
    later, truth = overlapping_windows(100 + seed)
    labeler = CRFLabeler(features=PolynomialFeatures(2, include_bias=False))
    labeler.fit([X], y)
    square = PolynomialFeatures(2, include_bias=False).fit(np.concatenate(X))
    scaler = StandardScaler().fit(square.transform(np.concatenate(X)))
    frames, others = (
        scaler.transform(square.transform(np.concatenate(x))) for x in (X, later)
    )
    alone = LogisticRegression(max_iter=1000).fit(frames, np.concatenate(y))
    assert labeler.overlap_ > 5
    assert labeler.score([later], truth) > alone.score(others, np.concatenate(truth))


def test_without_transitions_frames_are_labelled_alone(data):
    X, y = data
    labeler = CRFLabeler(scaling=None, fit_boundaries=False).fit(X[["audio"]], y)
    labeler._parameters.transitions[:] = 0
    scores = np.concatenate(list(X["audio"])) @ labeler.coef_["audio"].T
    expected = softmax(scores + labeler.intercept_, axis=1)
    found = labeler.predict_marginals(X[["audio"]])
    np.testing.assert_allclose(np.concatenate(list(found)), expected)


def test_a_lag_between_modalities_is_learned():
    rng = np.random.default_rng(0)
    y = [np.repeat(rng.integers(0, 2, 20), 1) for _ in range(30)]
    X = [np.roll(own, 2)[:, None] + 0.1 * rng.normal(size=(20, 1)) for own in y]
    scores = [CRFLabeler(context=c).fit([X], y).score([X], y) for c in (0, 2)]
    assert scores[0] < 0.7
    assert scores[1] > 0.85
    labeler = CRFLabeler(context={"modality_0": 2}).fit([X], y)
    assert abs(labeler.coef_["modality_0"]).argmax(axis=1).tolist() == [4, 4]


def test_a_slow_modality_lasts_several_steps_and_a_fast_one_is_averaged():
    rng = np.random.default_rng(0)
    y = [np.repeat([0, 1, 0], 8) for _ in range(6)]
    fast = [np.repeat(own, 3)[:, None] + rng.normal(size=(72, 1)) for own in y]
    slow = [own[::4, None] + rng.normal(size=(6, 1)) for own in y]
    held = [np.repeat(x, 4, axis=0) for x in slow]
    mean = [x.reshape(24, 3).mean(axis=1)[:, None] for x in fast]
    clock = [np.zeros((24, 1)) for _ in y]
    one = CRFLabeler(clock="clock", overlap=1, scaling=None)
    X = {"clock": clock, "fast": fast, "slow": slow}
    same = {"clock": clock, "fast": mean, "slow": held}
    found, expected = (one.fit(x, y).predict_marginals(x) for x in (X, same))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b)


# What is missing


def test_missing_modalities_have_no_influence(data):
    X, y = data
    labeler = CRFLabeler(clock="audio", modality_dropout=0.5, random_state=0)
    labeler.fit(X, y)
    lacking = Modalities({"audio": list(X["audio"]), "video": [None] * len(y)})
    assert labeler.score(lacking, y) > 0.9
    labeler.coef_["video"][:] = 0
    video = [x.copy() for x in X["video"]]
    video[2][3, 1] = np.nan
    assert np.isfinite(labeler.score({"audio": X["audio"], "video": video}, y))


@pytest.mark.parametrize("seed", range(3))
def test_dropout_prepares_for_missing_modalities(seed):
    X, y = activities(20, seed=seed, noise=1.0)
    later, truth = activities(20, seed=10 + seed, noise=1.0)
    lacking = Modalities({"audio": list(later["audio"]), "video": [None] * 20})
    losses = []
    for rate in (0, 0.5):
        labeler = CRFLabeler(modality_dropout=rate, clock="audio", random_state=0)
        marginals = np.concatenate(list(labeler.fit(X, y).predict_marginals(lacking)))
        codes = np.searchsorted(labeler.classes_, np.concatenate(truth))
        losses.append(-np.log(marginals[np.arange(len(codes)), codes]).mean())
    assert losses[1] < losses[0]


# Sparse features


def test_codes_of_words_become_sparse_features():
    rng = np.random.default_rng(0)
    words = [rng.integers(0, 50, 9) for _ in range(40)]
    y = [own % 3 for own in words]
    X = [own[:, None] for own in words]
    encoder = OneHotEncoder(handle_unknown="ignore")
    labeler = CRFLabeler(features=encoder).fit([X], y)
    assert labeler.score([X], y) == 1
    dense = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    other = CRFLabeler(features=dense, scaling=None, overlap=labeler.overlap_)
    np.testing.assert_allclose(
        labeler.predict_marginals([X])[3],
        other.fit([X], y).predict_marginals([X])[3],
        atol=1e-4,
    )
    context = CRFLabeler(features=encoder, context=1).fit([X], y)
    assert context.coef_["modality_0"].shape == (3, 150)
    gaps = [x.astype(float) for x in X]
    gaps[0][2] = np.nan
    assert len(context.predict([gaps])[0]) == 9


# Constraints


def test_runs_have_a_least_length(data):
    X, y = activities(12, noise=2.0)
    labeler = CRFLabeler(min_run_length=6).fit(X, y)
    for own in labeler.predict(X):
        changes = np.flatnonzero(own[1:] != own[:-1]) + 1
        assert np.diff(np.concatenate([[0], changes])).min(initial=9) >= 6


def test_forbidden_transitions_do_not_occur():
    rng = np.random.default_rng(0)
    labels = np.array(["O", "B-name", "I-name", "I-name", "O", "B-place"])
    y = [np.concatenate([labels, labels[:n]]) for n in rng.integers(1, 6, 20)]
    codes = {label: i for i, label in enumerate(np.unique(labels))}
    X = [
        np.array([codes[label] for label in own])[:, None]
        + 1.5 * rng.normal(size=(len(own), 1))
        for own in y
    ]
    free, bound = (CRFLabeler(constraints=c).fit([X], y) for c in (None, "bio"))
    assert np.isneginf(bound.transition_scores_).sum() == 2
    assert np.isneginf(bound.start_scores_).sum() == 1
    assert bound.score([X], y) >= free.score([X], y) - 0.02
    for own in bound.predict([X]):
        for before, label in zip(["O", *own], own, strict=False):
            assert label[0] != "I" or before[2:] == label[2:]


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"constraints": "bio"}, "y has 0"),
        ({"constraints": [(0, 7)]}, "names the label 7"),
        ({"constraints": ["ab"]}, "give pairs of labels"),
        ({"constraints": [(None, None)]}, "one of both is a label"),
        ({"constraints": [(None, 0), (None, 1)]}, "forbid every label at the start"),
        ({"constraints": [(0, 1)]}, "sample 0 has 1 after 0 at frame 3"),
        ({"constraints": [(None, 0)]}, "sample 0 begins with 0"),
        ({"constraints": [(0, None)]}, "sample 0 ends with 0"),
        ({"min_run_length": 4}, "run of 3 frames of 0 at frame 0"),
        ({"min_run_length": {5: 4}}, "names the label 5"),
        ({"min_run_length": {0: 0}}, "min_run_length of 0 is 0"),
        ({"context": {"modality_0": -1}}, "modality 'modality_0': context is -1"),
        ({"scaling": {"modality_0": "l2"}}, "it must be one of"),
    ],
)
def test_options_that_do_not_fit_are_named(params, match):
    y = [np.array([0, 0, 0, 1, 1, 0])] * 3
    X = [np.arange(6.0)[:, None]] * 3
    with pytest.raises(ValueError, match=match):
        CRFLabeler(**params).fit([X], y)


def test_lengths_without_labels_are_named():
    y = [np.array([0, 1, 1]), np.array([0, 1])]
    X = [np.arange(3.0)[:, None], np.arange(2.0)[:, None]]
    labeler = CRFLabeler(constraints=[(None, 1), (0, None)]).fit([X], y)
    with pytest.raises(ValueError, match="of the 1 frames of sample 1"):
        labeler.predict([[X[0], X[1][:1]]])


# Forms of y, model selection, convergence


def test_a_grid_search_over_sequence_labels(data):
    X, y = data
    grid = {"C": [0.01, 1], "decoding": ["viterbi", "posterior"]}
    search = GridSearchCV(CRFLabeler(), grid, cv=2, error_score="raise")
    assert search.fit(X, as_objects(y)).best_score_ > 0.9
    predicted = cross_val_predict(CRFLabeler(), X, y, cv=2)
    assert [len(p) for p in predicted] == [len(own) for own in y]


def test_weights_of_samples_are_repetitions(data):
    X, y = data[0][:4], data[1][:4]
    weight = np.array([2, 1, 0, 3])
    rows = np.repeat(np.arange(4), weight)
    one = CRFLabeler(tol=1e-9, max_iter=2000).fit(X, y, sample_weight=weight)
    other = CRFLabeler(tol=1e-9, max_iter=2000).fit(X[rows], [y[i] for i in rows])
    np.testing.assert_allclose(one.coef_["audio"], other.coef_["audio"], atol=1e-5)


def test_iterations_that_end_early_are_noted(data):
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        CRFLabeler(max_iter=2).fit(*data)
    labeler = CRFLabeler().fit(*data)
    assert (np.diff(labeler.objective_history_) < 0).all()
    assert labeler.n_iter_ == len(labeler.objective_history_) - 1
