"""Sequences in input validation, by the tag of an estimator."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from mmfusion import Modalities
from mmfusion._block_checks import ModalityTags
from mmfusion.base import ModalityMixin
from mmfusion.preprocessing import padded_from_sequences


class Validator(ModalityMixin, BaseEstimator):
    """Validates its input by the tags that its parameters set."""

    def __init__(self, sequences="refuse", gaps=False, modalities=None):
        self.sequences = sequences
        self.gaps = gaps
        self.modalities = modalities

    def fit(self, X):
        self.validate(X)
        return self

    def validate(self, X, reset=True, raw=False):
        return self._validate(X, reset=reset, raw=raw)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_layout")

    def __modality_tags__(self):
        return ModalityTags(
            missing=True,
            sequences=self.sequences,
            takes_nan=(lambda name: True) if self.gaps else None,
        )


AUDIO = [np.arange(6.0).reshape(3, 2), None, np.ones((2, 2), dtype=np.float32)]
SURVEY = np.eye(3)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other)


def test_sequences_are_refused_by_default():
    with pytest.raises(ValueError, match=r"'audio' holds sequences; Validator needs"):
        Validator().validate({"audio": AUDIO})


@pytest.mark.parametrize("tag", ["allow", "require"])
@pytest.mark.parametrize(
    "X",
    [
        {"modality_0": AUDIO},
        [AUDIO],
        Modalities([AUDIO]),
        [padded_from_sequences(AUDIO)],
        padded_from_sequences(AUDIO),
        Modalities([AUDIO])["modality_0"],
        [[None if x is None else x.tolist() for x in AUDIO]],
    ],
    ids=["dict", "list", "frame", "padded", "lone padded", "lone", "nested lists"],
)
def test_every_form_becomes_one_array_per_sample(tag, X):
    validator = Validator(tag)
    frame = validator.validate(X)
    assert frame.observed.ravel().tolist() == [True, False, True]
    assert_same(frame["modality_0"], AUDIO)
    assert validator.n_features_in_ == 2
    assert validator._layout.sequences == ("modality_0",)


@pytest.mark.parametrize("raw", [False, True])
def test_allowed_sequences_go_beside_tables(raw):
    text = np.array([["a"], ["b"], ["c"]])
    frame = Validator("allow").validate({"audio": AUDIO, "survey": SURVEY}, raw=raw)
    assert_same(frame["audio"], AUDIO)
    np.testing.assert_array_equal(frame["survey"], SURVEY)
    X = {"audio": AUDIO, "notes": text}
    if raw:
        assert Validator("allow").validate(X, raw=True)["notes"] is text
    else:
        with pytest.raises(ValueError, match="'notes' holds text"):
            Validator("allow").validate(X)


def test_required_sequences_may_be_the_rows_of_tables():
    validator = Validator("require")
    table = np.where(np.arange(3)[:, None] == 1, np.nan, np.arange(12.0).reshape(3, 4))
    frame = validator.validate({"curve": table})
    assert frame.observed.ravel().tolist() == [True, False, True]
    assert_same(frame["curve"], [table[0][:, None], None, table[2][:, None]])
    assert validator.n_features_in_ == 4
    with pytest.raises(ValueError, match=r"\['survey'\] are tables, while others"):
        validator.validate({"audio": AUDIO, "survey": SURVEY})


@pytest.mark.parametrize("tag", ["allow", "require"])
def test_later_input_has_the_form_of_fit(tag):
    of_sequences, of_table = Validator(tag), Validator(tag)
    of_sequences.validate({"audio": AUDIO})
    of_table.validate({"audio": SURVEY[:, :2]})
    with pytest.raises(ValueError, match="'audio' of X is a table, but was sequences"):
        of_sequences.validate({"audio": SURVEY[:, :2]}, reset=False)
    with pytest.raises(ValueError, match="'audio' of X is sequences, but was a table"):
        of_table.validate({"audio": AUDIO}, reset=False)
    absent = Modalities({"audio": [None, None]})
    for validator in (of_sequences, of_table):
        assert not validator.validate(absent, reset=False).observed.any()


@pytest.mark.parametrize("tag", ["allow", "require"])
def test_gaps_are_refused_unless_nan_is_taken(tag):
    gappy = [np.array([[1.0, 2.0], [3.0, np.nan]]), *AUDIO[1:]]
    with pytest.raises(ValueError, match=r"'audio'.*sample 0 is NaN in frame 1, fea"):
        Validator(tag).validate({"audio": gappy})
    assert_same(Validator(tag, gaps=True).validate({"audio": gappy})["audio"], gappy)


def test_masked_sequences_are_not_read():
    X = Modalities(
        [[np.ones((2, 1)), np.full((2, 1), np.inf)]], observed=[[True], [False]]
    )
    frame = Validator("allow").validate(X)
    assert frame.blocks[0][1] is None


def test_rows_of_tables_are_series_alone_and_frames_beside_sequences():
    alone = Validator("series").validate({"curve": SURVEY})
    assert_same(alone["curve"], [row[:, None] for row in SURVEY])
    beside = Validator("series").validate({"audio": AUDIO, "survey": SURVEY})
    assert_same(beside["audio"], AUDIO)
    assert_same(beside["survey"], [row[None] for row in SURVEY])


def test_rows_of_tables_are_frames_where_labels_are_by_frame():
    table = SURVEY.copy()
    table[1] = np.nan
    frame = Validator("frames").validate(table)
    assert_same(frame.blocks[0], [SURVEY[0][None], None, SURVEY[2][None]])
