"""Sparse events in a dense signal: what the aligner promises."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from mmfusion.alignment import AsynchronousHMMAligner
from mmfusion.alignment._asynchronous_hmm_aligner import decoded_steps
from mmfusion.datasets import make_event_sequences


def test_planted_events_of_unseen_samples_are_found_within_two_frames():
    errors = []
    for seed in range(3):  # types of events may be close to each other by chance
        X, frames, _ = make_event_sequences(18, random_state=seed)
        aligner = AsynchronousHMMAligner(random_state=0, n_init=1, tol=1e-2).fit(X[:12])
        found = aligner.align(X[12:])
        errors += [
            np.abs(sample["events"].path[:, 0] - own)
            for sample, own in zip(found, frames[12:], strict=True)
        ]
    assert (np.concatenate(errors) <= 2).mean() > 0.95


def test_the_objective_never_decreases():
    X, _, _ = make_event_sequences(8, random_state=0)
    aligner = AsynchronousHMMAligner(3, random_state=0, n_init=1, max_iter=8, tol=0)
    with pytest.warns(ConvergenceWarning, match="still increases"):
        aligner.fit(X)
    objective = aligner.objective_history_["events"]
    assert (np.diff(objective) >= -1e-9 * np.abs(objective[:-1])).all()
    assert objective[-1] > objective[0]


@pytest.fixture(scope="module")
def fitted():
    X, frames, _ = make_event_sequences(8, noise_std=0.8, random_state=0)
    options = {"random_state": 0, "n_init": 1, "tol": 1e-2}
    return AsynchronousHMMAligner(**options).fit(X), X, frames


def test_results_are_probabilities_and_in_order(fitted):
    aligner, X, _ = fitted
    for i, sample in enumerate(aligner.event_posteriors(X)):
        events = sample["events"]
        np.testing.assert_allclose(events.sum(axis=0), 1)
        steps = aligner.event_frames_[i]["events"]
        assert (np.diff(steps) > 0).all()
        own = aligner.confidence_[i]["events"]
        np.testing.assert_allclose(own, events[steps, np.arange(len(steps))])
        assert aligner.spread_[i]["events"].shape == steps.shape
        states = aligner.state_posteriors(X)["events"][i]
        np.testing.assert_allclose(states.sum(axis=1), 1)
    expected = -np.average(
        aligner.distances_[:, 1], weights=[len(x) for x in X["signal"]]
    )
    assert aligner.score(X) == pytest.approx(expected)


def test_the_likeliest_path_and_a_wide_band_agree_with_the_posterior(fitted):
    aligner, X, _ = fitted
    expected = aligner.event_posteriors(X)[0]["events"]
    aligner.set_params(decode="viterbi")
    steps = aligner.align(X)[0]["events"].path[:, 0]
    aligner.set_params(decode="expected_accuracy")
    assert (expected[steps, np.arange(len(steps))] > 0.01).all()
    wide = AsynchronousHMMAligner(band=100, random_state=0, n_init=1, tol=1e-2).fit(X)
    np.testing.assert_allclose(wide.event_posteriors(X)[0]["events"], expected)


def test_samples_without_a_signal_or_without_events_stay_as_they_are(fitted):
    aligner, X, _ = fitted
    blocks = {"signal": [None, X["signal"][1]], "events": [X["events"][0], None]}
    warped = aligner.transform(blocks)
    np.testing.assert_array_equal(warped["events"][0], X["events"][0])
    np.testing.assert_array_equal(warped["signal"][1], X["signal"][1])
    assert np.isnan(aligner.score(blocks))


def test_events_on_the_axis_have_their_values_where_they_happen(fitted):
    aligner, X, _ = fitted
    warped = aligner.transform(X)
    steps = aligner.event_frames_[0]["events"]
    assert len(warped["events"][0]) == len(X["signal"][0])
    np.testing.assert_allclose(warped["events"][0][steps], X["events"][0])
    back = aligner.inverse_transform(warped)
    np.testing.assert_allclose(back["events"][0], X["events"][0])


def test_more_events_than_frames_are_refused_by_name(fitted):
    aligner, X, _ = fitted
    turned = {"signal": [x[:3] for x in X["signal"]], "events": X["events"]}
    message = "modality 'events': sample 0 has .* events, and its signal 'signal' 3"
    with pytest.raises(ValueError, match=message):
        AsynchronousHMMAligner().fit(turned)
    with pytest.raises(ValueError, match=message):
        aligner.transform(turned)


def test_data_without_both_are_refused():
    X, _, _ = make_event_sequences(2, random_state=0)
    blocks = {"signal": [X["signal"][0], None], "events": [None, X["events"][1]]}
    with pytest.raises(ValueError, match="no sample of fit has both the signal"):
        AsynchronousHMMAligner().fit(blocks)


def test_steps_have_the_highest_expected_number_of_right_ones():
    rng = np.random.default_rng(0)
    for _ in range(20):
        events = rng.random((6, 3))
        best = max(
            events[[a, b, c], [0, 1, 2]].sum()
            for a in range(6)
            for b in range(a + 1, 6)
            for c in range(b + 1, 6)
        )
        steps = decoded_steps(events)
        assert (np.diff(steps) > 0).all()
        assert events[steps, [0, 1, 2]].sum() == pytest.approx(best)
