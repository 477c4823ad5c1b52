"""Sequences of one modality that are given as if each were a modality."""

import numpy as np
import pytest

from mmfusion import (
    CRFLabeler,
    EarlyFusionClassifier,
    HiddenCRFClassifier,
    HMMClassifier,
    HMMClusterer,
    HMMLabeler,
    HMMTransformer,
    Modalities,
)
from mmfusion.alignment import DTWAligner, DTWKernel, HMMAligner

Y = np.arange(8) % 2
REMEDY = r"these 8 arrays are the sequences of one modality.* give \[X\]"


def sequences(*, is_ragged):
    rng = np.random.default_rng(0)
    return [rng.normal(size=(9 + is_ragged * i, 2)) + i % 2 for i in range(8)]


@pytest.mark.parametrize(
    "estimator",
    [
        DTWAligner(),
        DTWKernel(),
        CRFLabeler(),
        HMMAligner(2),
        HMMClassifier(2),
        HMMClusterer(2, n_states=2),
        HMMLabeler(),
        HMMTransformer(2),
        HiddenCRFClassifier(2),
    ],
    ids=lambda e: type(e).__name__,
)
def test_the_error_has_a_remedy_that_works(estimator):
    X, y = sequences(is_ragged=True), Y
    if isinstance(estimator, CRFLabeler | HMMLabeler):
        y = [np.arange(len(x)) // 5 for x in X]
    with pytest.raises(ValueError, match=REMEDY):
        estimator.fit(X, y)
    estimator.fit([X], y)


@pytest.mark.parametrize("estimator", [EarlyFusionClassifier(), HMMClassifier(2)])
def test_labels_reveal_sequences_of_one_length(estimator):
    with pytest.raises(ValueError, match="inconsistent numbers of samples") as error:
        estimator.fit(sequences(is_ragged=False), Y)
    error.match(REMEDY)


def test_labels_of_frames_reveal_them_too():
    X = sequences(is_ragged=False)
    with pytest.raises(ValueError, match=REMEDY):
        HMMLabeler().fit(X, [np.arange(9) // 5] * 8)


@pytest.mark.parametrize(
    "data",
    [
        {"audio": np.ones((3, 2)), "video": np.ones((4, 2))},
        [np.ones((3, 2)), np.ones((4, 3))],
        [np.ones((3, 2)), [np.ones((4, 2)), np.ones((5, 2))]],
    ],
)
def test_modalities_that_are_none_have_another_remedy(data):
    with pytest.raises(ValueError, match="disagree on the number of samples") as error:
        Modalities(data)
    assert "[X]" not in str(error.value)
    assert "None or a row of NaN" in str(error.value)


def test_of_many_modalities_the_first_are_listed():
    with pytest.raises(ValueError, match="'modality_4' has 13, and 3 more"):
        Modalities(sequences(is_ragged=True))


def test_rows_of_several_widths_have_their_widths_and_a_remedy():
    with pytest.raises(ValueError, match=r"rows of X have \[2, 3\] values.*\[X\]"):
        CRFLabeler().fit([[1, 2, 3], [1, 2]], [[0, 1, 0], [1, 0]])
    columns = [np.array([[1.0], [2], [3]]), np.array([[1.0], [2]])]
    CRFLabeler().fit([columns], [[0, 1, 0], [1, 0]])
