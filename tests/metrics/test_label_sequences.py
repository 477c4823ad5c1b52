"""Scores of sequences of labels against slow loops, and as scorers."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import GridSearchCV, cross_val_score

from mmfusion import HMMLabeler
from mmfusion.metrics import (
    edit_score,
    get_scorer,
    segment_f1,
    sequence_accuracy,
    sequence_f1,
)
from tests.fusion.test_hmm_labeler import activities, as_objects

SCORES = [sequence_accuracy, sequence_f1, segment_f1, edit_score]


def labels(seed, n_samples=5):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, n_samples)
    truth = [np.repeat(rng.integers(0, 3, n), 4)[:n] for n in lengths]
    found = [np.where(rng.random(len(y)) < 0.2, rng.integers(0, 3), y) for y in truth]
    return truth, found


def segments(y):
    """Return (label, set of frames) of each run, frame by frame."""
    runs = []
    for t, label in enumerate(y):
        if t and y[t - 1] == label:
            runs[-1][1].add(t)
        else:
            runs.append((label, {t}))
    return runs


def slow_segment_f1(truth, found, threshold):
    right = wrong = missed = 0
    for own, predicted in zip(truth, found, strict=True):
        known = segments(own)
        for label, frames in segments(predicted):
            shares = [
                len(frames & other) / len(frames | other) if same == label else 0
                for same, other in known
            ]
            if max(shares, default=0) >= threshold:
                del known[int(np.argmax(shares))]
                right += 1
            else:
                wrong += 1
        missed += len(known)
    return 2 * right / (2 * right + wrong + missed)


def slow_distance(one, other):
    if not one or not other:
        return len(one) + len(other)
    return min(
        slow_distance(one[1:], other) + 1,
        slow_distance(one, other[1:]) + 1,
        slow_distance(one[1:], other[1:]) + (one[0] != other[0]),
    )


@pytest.mark.parametrize("seed", range(10))
def test_scores_of_frames_are_those_of_all_frames(seed):
    truth, found = labels(seed)
    weight = np.random.default_rng(seed).random(5)
    frames = np.concatenate(truth), np.concatenate(found)
    by_frame = np.repeat(weight, [len(y) for y in truth])
    for own in (None, weight):
        each = None if own is None else by_frame
        expected = accuracy_score(*frames, sample_weight=each)
        assert sequence_accuracy(truth, found, sample_weight=own) == pytest.approx(
            expected
        )
        for average in ("macro", "micro", "weighted"):
            expected = f1_score(*frames, average=average, sample_weight=each)
            score = sequence_f1(truth, found, average=average, sample_weight=own)
            assert score == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
def test_segments_are_matched_as_by_a_slow_loop(seed, threshold):
    truth, found = labels(seed)
    expected = slow_segment_f1(truth, found, threshold)
    assert segment_f1(truth, found, threshold=threshold) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(10))
def test_edit_distances_are_those_of_a_recursion(seed):
    rng = np.random.default_rng(seed)
    truth, found = (
        [np.repeat(rng.integers(0, 3, 5), 2) for _ in range(3)] for _ in range(2)
    )
    expected = []
    for own, predicted in zip(truth, found, strict=True):
        a, b = ([label for label, _ in segments(y)] for y in (own, predicted))
        expected.append(1 - slow_distance(a, b) / max(len(a), len(b)))
    assert edit_score(truth, found) == pytest.approx(np.mean(expected))


def test_the_background_is_left_out():
    truth = [["O", "O", "B", "B", "O"]]
    assert segment_f1(truth, [["O", "B", "B", "O", "O"]], background="O") == 0
    assert segment_f1(truth, [["O", "O", "B", "B", "B"]], background="O") == 1
    assert edit_score(truth, [["B"] * 5], background="O") == 1
    assert segment_f1([["O"]], [["O"]], background="O") == 1
    assert edit_score([["O"]], [["O"]], background="O") == 1


@pytest.mark.parametrize("score", SCORES)
def test_what_does_not_fit_is_named(score):
    with pytest.raises(ValueError, match="y_true has 1 samples, and y_pred has 2"):
        score([[0]], [[0], [1]])
    with pytest.raises(ValueError, match="sample 1 has 2 labels in y_true and 1"):
        score([[0], [0, 1]], [[0], [1]])
    with pytest.raises(ValueError, match="y_pred of sample 0 is"):
        score([[0]], [[[0, 1]]])
    with pytest.raises(ValueError, match="y_true is 'abc'"):
        score("abc", [[0]])
    with pytest.raises(ValueError, match="y_true is 3"):
        score(3, [[0]])
    assert score(np.array([0, 1, 2]), np.array([0, 1, 2])) == 1


def test_options_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="threshold is 0"):
        segment_f1([[0]], [[0]], threshold=0)
    with pytest.raises(ValueError, match="average is 'binary'"):
        sequence_f1([[0]], [[0]], average="binary")
    for weight, match in (([0], "0 for every sample"), ([-1], "negative"), (2, "one")):
        with pytest.raises(ValueError, match=match):
            sequence_accuracy([[0]], [[0]], sample_weight=weight)


def test_scorers_of_sequences_in_searches():
    X, y = activities(8)
    scoring = {
        name: get_scorer(name)
        for name in ("sequence_accuracy", "sequence_f1_macro", "segment_f1")
    }
    search = GridSearchCV(
        HMMLabeler(),
        {"outlier_share": [0, 0.01]},
        scoring=scoring | {"edit_score": get_scorer("edit_score")},
        refit="segment_f1",
        cv=2,
        error_score="raise",
    ).fit(X, as_objects(y))
    for name in (*scoring, "edit_score"):
        assert (search.cv_results_[f"mean_test_{name}"] > 0.7).all()
    scores = cross_val_score(
        HMMLabeler(), X, y, scoring=get_scorer("sequence_accuracy"), cv=2
    )
    np.testing.assert_allclose(scores, cross_val_score(HMMLabeler(), X, y, cv=2))
