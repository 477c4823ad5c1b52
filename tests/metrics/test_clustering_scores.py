"""Scores of clusterings compared with brute force."""

from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score
from sklearn.metrics.cluster import pair_confusion_matrix

from mmfusion.metrics import (
    clustering_accuracy_score,
    pairwise_f_score,
    purity_score,
)

SCORES = [clustering_accuracy_score, pairwise_f_score, purity_score]

two_labellings = st.integers(1, 25).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 3), min_size=n, max_size=n),
        st.lists(st.integers(0, 4), min_size=n, max_size=n),
    )
)


def accuracy_of_every_matching(classes, clusters):
    """Return the largest share of equal labels under all one-to-one matchings."""
    classes, clusters = np.array(classes), np.array(clusters)
    n = max(classes.max(), clusters.max()) + 1
    return max(
        np.mean(np.array(names)[clusters] == classes)
        for names in permutations(range(n))
    )


def f_of_every_pair(classes, clusters):
    both = of_clusters = of_classes = 0
    for i, j in combinations(range(len(classes)), 2):
        together, alike = clusters[i] == clusters[j], classes[i] == classes[j]
        both += together and alike
        of_clusters += together
        of_classes += alike
    if of_clusters + of_classes == 0:
        return 1.0
    if both == 0:
        return 0.0
    precision, recall = both / of_clusters, both / of_classes
    return 2 * precision * recall / (precision + recall)


def purity_of_every_cluster(classes, clusters):
    right = 0
    for cluster in set(clusters):
        own = [a for a, b in zip(classes, clusters, strict=True) if b == cluster]
        right += max(own.count(a) for a in own)
    return right / len(classes)


REFERENCES = {
    clustering_accuracy_score: accuracy_of_every_matching,
    pairwise_f_score: f_of_every_pair,
    purity_score: purity_of_every_cluster,
}


@pytest.mark.parametrize("score", SCORES)
@settings(max_examples=60, deadline=None)
@given(two_labellings)
def test_scores_are_those_of_brute_force(score, labellings):
    found = score(*labellings)
    assert found == pytest.approx(REFERENCES[score](*labellings))
    assert isinstance(found, float)
    assert 0 <= found <= 1


@pytest.mark.parametrize("score", SCORES)
@given(
    labellings=two_labellings,
    names=st.permutations(range(5)),
    other_names=st.permutations(range(5)),
)
def test_names_of_classes_and_clusters_do_not_matter(
    score, labellings, names, other_names
):
    classes, clusters = labellings
    renamed = [f"class {names[c]}" for c in classes], [other_names[c] for c in clusters]
    assert score(*renamed) == pytest.approx(score(*labellings))


@pytest.mark.parametrize("score", [clustering_accuracy_score, pairwise_f_score])
@given(two_labellings)
def test_accuracy_and_f_score_are_symmetric(score, labellings):
    assert score(*labellings) == pytest.approx(score(*labellings[::-1]))


def test_purity_is_not_symmetric():
    assert purity_score([0, 0, 1, 1], [0, 1, 2, 3]) == 1
    assert purity_score([0, 1, 2, 3], [0, 0, 1, 1]) == 0.5


@given(two_labellings)
def test_purity_is_at_least_the_accuracy_and_the_most_frequent_class(labellings):
    classes, _ = labellings
    commonest = max(np.bincount(classes)) / len(classes)
    purity = purity_score(*labellings)
    assert purity >= clustering_accuracy_score(*labellings) - 1e-12
    assert purity >= commonest - 1e-12


@given(two_labellings)
def test_accuracy_is_at_least_that_of_the_given_names(labellings):
    assert clustering_accuracy_score(*labellings) >= accuracy_score(*labellings) - 1e-12


@given(two_labellings)
def test_pairs_are_those_that_sklearn_counts(labellings):
    (_, only_pred), (only_true, both) = pair_confusion_matrix(*labellings)
    pairs = 2 * both + only_pred + only_true
    expected = 2 * both / pairs if pairs else 1
    assert pairwise_f_score(*labellings) == pytest.approx(expected)


@pytest.mark.parametrize("score", SCORES)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_a_clustering_equal_to_the_classes_is_perfect(score, labels):
    assert score(labels, [f"c{label}" for label in labels]) == 1


@pytest.mark.parametrize("score", SCORES)
def test_one_sample_is_always_right(score):
    assert score([3], ["a"]) == 1


def test_one_cluster_gets_the_share_of_the_largest_class():
    classes, clusters = [0, 0, 0, 1, 1, 2], [0] * 6
    assert clustering_accuracy_score(classes, clusters) == pytest.approx(1 / 2)
    assert purity_score(classes, clusters) == pytest.approx(1 / 2)
    assert pairwise_f_score(classes, clusters) == pytest.approx(2 * 4 / (15 + 4))


def test_singletons_have_one_sample_of_each_class_right():
    classes, clusters = [0, 0, 0, 1, 1, 2], list(range(6))
    assert clustering_accuracy_score(classes, clusters) == pytest.approx(3 / 6)
    assert pairwise_f_score(classes, clusters) == 0


@pytest.mark.parametrize("score", SCORES)
def test_scores_accept_columns_and_any_type(score):
    classes, clusters = [0, 0, 1, 1, 2], [1, 1, 0, 2, 2]
    expected = score(classes, clusters)
    column = np.array(classes)[:, None]
    assert score(column, np.array(clusters, dtype="u1")) == expected
    assert score(np.array(list("aabbc")), np.array(clusters, dtype=float)) == expected


@pytest.mark.parametrize("score", SCORES)
def test_many_samples_do_not_overflow(score):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200_000).astype(np.int8)
    assert score(labels, labels) == 1
    assert 0.45 < score(labels, rng.permutation(labels)) < 0.55


@pytest.mark.parametrize("score", SCORES)
def test_labels_that_do_not_fit_together_are_refused(score):
    with pytest.raises(ValueError, match=r"\[3, 2\]"):
        score([0, 1, 1], [0, 1])
    with pytest.raises(ValueError, match="at least 1"):
        score([], [])
    with pytest.raises(ValueError, match="1d array"):
        score(np.zeros((2, 2)), np.zeros((2, 2)))


NO_LABELS = {
    "NaN": [0, 1, np.nan, 1],
    "infinity": [0, 1, np.inf, 1],
    "None": ["a", "b", None, "b"],
    "NaN among text": ["a", "b", np.nan, "b"],
    "pandas.NA": pd.array([0, 1, None, 1], dtype="Int64"),
    "masked": np.ma.MaskedArray([0, 1, 2, 1], mask=[0, 0, 1, 0]),
    "no date": np.array(["2020", "2021", "NaT", "2021"], dtype="datetime64[D]"),
}


@pytest.mark.parametrize("labels", NO_LABELS.values(), ids=NO_LABELS)
@pytest.mark.parametrize("score", SCORES)
def test_labels_that_are_missing_are_refused(score, labels):
    classes = [0, 0, 1, 1]
    with pytest.raises(ValueError, match="labels_pred: sample 2 has no label"):
        score(classes, labels)
    with pytest.raises(ValueError, match="labels_true: sample 2 has no label"):
        score(labels, classes)


@pytest.mark.parametrize(
    "labels",
    [None, 3, [0, 1j, 1, 0], [0, "a", 1, 0], [[0], [1, 2]], np.zeros((2, 2, 2))],
)
@pytest.mark.parametrize("score", SCORES)
def test_invalid_labels_are_refused_by_name(score, labels):
    if isinstance(labels, list) and "a" in labels:
        labels = np.array(labels, dtype=object)
    with pytest.raises(ValueError, match="labels_pred"):
        score([0, 0, 1, 1], labels)


@pytest.mark.parametrize("score", SCORES)
def test_labels_with_fractions_are_warned_about(score):
    measured = np.random.default_rng(0).random(50)
    with pytest.warns(UserWarning, match=r"continuous values for labels_true:"):
        score(measured, np.zeros(50))
    with pytest.warns(UserWarning, match="labels_true and labels_pred"):
        score(measured, measured)
    score(np.arange(3.0), [1, 2, 3])  # whole numbers are


@pytest.mark.parametrize("kind", [np.array, pd.Series, pd.Categorical, list])
@pytest.mark.parametrize("score", SCORES)
def test_labels_of_any_type_are_accepted(score, kind):
    classes, clusters = ["b", "a", "b", "c"], ["x", "x", "y", "z"]
    expected = score([1, 0, 1, 2], [0, 0, 1, 2])
    assert score(kind(classes), kind(clusters)) == expected
