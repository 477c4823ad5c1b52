"""Labels with hidden states in CRFLabeler: what one state cannot, and its options."""

import numpy as np
import pytest

from mmfusion import CRFLabeler, Modalities

CENTERS = 2.5 * np.array([[[1, 0], [-1, 0]], [[0, 1], [0, -1]]])


def two_ways(n_samples, seed):
    """Each label has two ways, on either side of the origin: no line divides labels."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for _ in range(n_samples):
        labels = np.repeat(rng.integers(0, 2, 5), rng.integers(4, 9))
        ways = np.repeat(rng.integers(0, 2, len(labels)), 3)[: len(labels)]
        X.append(CENTERS[labels, ways] + rng.normal(size=(len(labels), 2)))
        y.append(np.array(["sit", "walk"])[labels])
    return Modalities({"wrist": X}), y


@pytest.mark.parametrize("decoding", ["viterbi", "posterior"])
def test_hidden_states_find_the_ways_of_a_label(decoding):
    X, y = two_ways(20, 0)
    later, truth = two_ways(20, 1)
    one, two = (
        CRFLabeler(states_per_label=k, decoding=decoding, random_state=0).fit(X, y)
        for k in (1, 2)
    )
    assert one.score(later, truth) < 0.8
    assert two.score(later, truth) > 0.9
    assert two.coef_["wrist"].shape == (4, 2)
    assert two.transition_scores_.shape == (4, 4)
    assert two.start_scores_.shape == two.intercept_.shape == (4,)
    marginals = two.predict_marginals(later)[0]
    assert marginals.shape == (len(truth[0]), 2)
    np.testing.assert_allclose(marginals.sum(axis=1), 1)


def test_the_objective_falls_from_the_states_of_k_means():
    X, y = two_ways(20, 0)
    history = CRFLabeler(states_per_label=2, random_state=0).fit(X, y)
    assert (np.diff(history.objective_history_) <= 0).all()


def test_forbidden_labels_have_forbidden_states():
    X, y = two_ways(12, 2)
    y = [np.array(["a", "b", "c"])[np.arange(len(own)) * 3 // len(own)] for own in y]
    labeler = CRFLabeler(
        states_per_label=2, constraints=[("a", "c"), ("c", "a")], random_state=0
    ).fit(X, y)
    assert np.isneginf(labeler.transition_scores_[:2, 4:]).all()
    for own in labeler.predict(X):
        text = "".join(own)
        assert "ac" not in text
        assert "ca" not in text


def test_states_of_a_run_have_no_least_length():
    X, y = two_ways(3, 0)
    with pytest.raises(ValueError, match="give min_run_length=1, or states_per_label"):
        CRFLabeler(states_per_label=2, min_run_length=2).fit(X, y)


def test_words_with_hidden_states():
    words = [["to", "run"], ["a", "run"], ["to", "fish"], ["a", "fish"]] * 5
    y = [["P", "V"], ["D", "N"], ["P", "V"], ["D", "N"]] * 5
    labeler = CRFLabeler(states_per_label=2, random_state=0).fit(words, y)
    assert labeler.score(words, y) == 1.0
