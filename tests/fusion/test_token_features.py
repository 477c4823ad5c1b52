"""Conditional fields of words and of dicts of features, as text tools have them."""

import numpy as np
import pytest
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.preprocessing import OneHotEncoder

from mmfusion import CRFLabeler, HiddenCRFClassifier, HMMLabeler, Modalities
from mmfusion.metrics import get_scorer

TAGS = {"the": "D", "a": "D", "dog": "N", "cat": "N", "runs": "V", "sleeps": "V"}


@pytest.fixture(scope="module")
def words():
    rng = np.random.default_rng(0)
    return [
        [str(w) for w in rng.choice(list(TAGS), size=n)] for n in rng.integers(1, 7, 30)
    ]


@pytest.fixture(scope="module")
def tags(words):
    return [[TAGS[w] for w in own] for own in words]


@pytest.fixture(scope="module")
def dicts(words):
    return [[features(own, t) for t in range(len(own))] for own in words]


def features(own, t):
    return {
        "word": own[t],
        "ends": [own[t][-1:], own[t][-2:]],
        "is_first": t == 0,
        "length": len(own[t]),
    }


@pytest.mark.parametrize("form", ["lists", "dict", "modalities", "array"])
@pytest.mark.parametrize("kind", ["words", "dicts"])
def test_all_forms_of_input_agree(words, dicts, tags, form, kind):
    X = words if kind == "words" else dicts
    ragged = np.empty(len(X), dtype=object)
    ragged[:] = X
    given = {
        "lists": X,
        "dict": {"text": X},
        "modalities": Modalities({"text": X}),
        "array": ragged,
    }[form]
    labeler = CRFLabeler().fit(given, tags)
    expected = CRFLabeler().fit([X], tags)
    assert labeler.score(given, tags) == 1.0
    for own, other in zip(
        labeler.predict_marginals(given), expected.predict_marginals([X]), strict=True
    ):
        np.testing.assert_array_equal(own, other)


def test_dicts_are_the_columns_of_a_vectorizer(dicts, tags):
    labeler = CRFLabeler(overlap=1).fit(dicts, tags)
    vectorizer = DictVectorizer(sparse=False).fit([x for own in dicts for x in own])
    numbers = [vectorizer.transform(own) for own in dicts]
    other = CRFLabeler(overlap=1, scaling=None).fit([numbers], tags)
    np.testing.assert_allclose(
        labeler.coef_["modality_0"], other.coef_["modality_0"], atol=1e-6
    )


def test_lists_of_one_length_are_no_table_of_text():
    X, y = [["a", "dog"], ["the", "cat"]], [["D", "N"]] * 2
    for given in (X, Modalities([X])):
        found = CRFLabeler().fit(given, y).predict(given)
        assert [own.tolist() for own in found] == y


def test_words_that_are_new_have_no_weight(words, tags):
    labeler = CRFLabeler().fit(words, tags)
    found = labeler.predict([["the", "zebra", "runs"]])[0]
    assert found[[0, 2]].tolist() == ["D", "V"]


def test_search_and_cross_validation_split_the_samples(dicts, tags):
    search = GridSearchCV(
        CRFLabeler(),
        {"C": [0.01, 1], "context": [0, 1]},
        scoring=get_scorer("sequence_f1_macro"),
        cv=3,
        error_score="raise",
    )
    assert search.fit(dicts, tags).best_score_ > 0.9
    assert len(cross_val_predict(CRFLabeler(), dicts, tags, cv=3)) == len(tags)


def test_own_transformers_and_other_modalities(words, dicts, tags):
    plain = [[{"word": w} for w in own] for own in words]
    lengths = [np.array([[float(len(w))] for w in own]) for own in words]
    missing = [None, *dicts[1:]]
    for block, transformer in (
        (plain, FeatureHasher(64)),
        (words, OneHotEncoder(sparse_output=False)),
        (missing, DictVectorizer()),
    ):
        X = {"text": block, "length": lengths}
        labeler = CRFLabeler(clock="length", features={"text": transformer})
        assert labeler.fit(X, tags).score(X, tags) > 0.9


def test_words_on_the_clock_of_faster_frames(words, tags):
    frames = [np.zeros((2 * len(own), 1)) for own in words]
    X = {"text": words, "frames": frames}
    y = [np.repeat(own, 2) for own in tags]
    assert CRFLabeler().fit(X, y).score(X, y) == 1.0


def test_classes_of_sentences(words, tags):
    y = [own[0] for own in tags]
    classifier = HiddenCRFClassifier(2, random_state=0).fit(words, y)
    assert classifier.score(words, y) > 0.9


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (None, TypeError, r"frame 0 of sample 2 is None, and the first frame is one"),
        ("dog", TypeError, r"frame 0 of sample 2 is 'dog'.* give all frames as dicts"),
        (
            {"x": np.nan},
            ValueError,
            r"feature 'x' of frame 0 of sample 2 is nan; leave",
        ),
        ({"x": {"y": 1}}, ValueError, r"feature 'x' of frame 0 .* give a number, text"),
        ({1: 2.0}, ValueError, r"feature 1 of frame 0 .* convert it by str"),
    ],
)
def test_errors_name_the_modality_sample_and_frame(dicts, tags, frame, error, message):
    X = [list(own) for own in dicts]
    X[2][0] = frame
    with pytest.raises(error, match=r"modality 'text': " + message):
        CRFLabeler().fit({"text": X}, tags)


def test_later_frames_are_of_the_kind_of_fit(words, dicts, tags):
    numbers = [np.zeros((len(own), 1)) for own in words]
    with pytest.raises(ValueError, match="frames are dicts, and were words in fit"):
        CRFLabeler().fit(words, tags).predict(dicts)
    with pytest.raises(ValueError, match="frames are numbers, and were dicts in fit"):
        CRFLabeler().fit(dicts, tags).predict([numbers])


def test_a_sample_without_frames_is_refused(dicts, tags):
    with pytest.raises(ValueError, match="sample 1 lacks every modality"):
        CRFLabeler().fit([dicts[0], [], dicts[2]], [tags[0], [], tags[2]])


def test_other_labelers_name_a_remedy(words, tags):
    with pytest.raises(ValueError, match="text"):
        HMMLabeler().fit([words], tags)
