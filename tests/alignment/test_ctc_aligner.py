"""CTCAligner: labels by log-probabilities of a network."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV

from mmfusion import Modalities
from mmfusion.alignment import CTCAligner

LETTERS = ["", "a", "b", "c", "d"]


def peaked(labels, starts, n_frames, confidence=0.8):
    """Return log-probabilities whose largest are labels at their frames."""
    table = np.full((n_frames, 5), (1 - confidence) / 4)
    columns = np.zeros(n_frames, dtype=int)
    for label, start, end in zip(labels, starts[:-1], starts[1:], strict=True):
        columns[start : max(end - 2, start + 1)] = LETTERS.index(label)
    table[np.arange(n_frames), columns] = confidence
    return np.log(table)


def planted(n_samples=4, seed=0):
    """Return log-probabilities, labels and the first frames of labels."""
    rng = np.random.default_rng(seed)
    frames, labels, begins = [], [], []
    for _ in range(n_samples):
        own = rng.choice(LETTERS[1:], rng.integers(3, 8)).tolist()
        starts = np.concatenate([[2], 2 + np.cumsum(rng.integers(4, 9, len(own)))])
        frames.append(peaked(own, starts, int(starts[-1]) + 3))
        labels.append(own)
        begins.append(starts[:-1])
    return {"network": frames, "text": labels}, begins


X, BEGINS = planted()


def test_planted_labels_are_found():
    for found, begins, labels in zip(
        CTCAligner(vocabulary=LETTERS).fit(X).align(X), BEGINS, X["text"], strict=True
    ):
        assert_array_equal(found.spans[:, 0], begins)
        assert (found.spans[1:, 0] >= found.spans[:-1, 1]).all()
        assert found.labels.tolist() == labels
        assert (found.posteriors > 0.5).all()
        assert (found.posteriors <= 1).all()
        assert found.score < found.log_likelihood
        assert (found.moments >= found.spans[:, 0]).all()
        assert (found.moments < found.spans[:, 1]).all()


def test_spans_without_posteriors():
    aligner = CTCAligner(vocabulary=LETTERS).fit(X)
    for own, whole in zip(
        aligner.align(X, posteriors=False), aligner.align(X), strict=True
    ):
        assert_array_equal(own.spans, whole.spans)
        assert own.score == whole.score
        assert np.isnan(own.posteriors).all()
        assert np.isnan(own.log_likelihood)
        assert (own.moments >= own.spans[:, 0]).all()
        assert (own.moments < own.spans[:, 1]).all()


def test_frames_get_their_labels():
    moved = CTCAligner(vocabulary=LETTERS).fit(X).transform(X)
    for own, table in zip(moved["text"], X["network"], strict=True):
        expected = [LETTERS[k] or None for k in table.argmax(axis=1)]
        assert own[:, 0].tolist() == expected
    assert_array_equal(moved["network"][1], X["network"][1])


def test_labels_are_numbers_of_columns_by_default():
    numbers = [[LETTERS.index(x) for x in own] for own in X["text"]]
    data = Modalities(
        {
            "network": X["network"],
            "ids": [np.array(own)[:, None] for own in numbers],
        }
    )
    expected = CTCAligner(vocabulary=LETTERS).fit(X).align(X)
    for own, other in zip(CTCAligner().fit(data).align(data), expected, strict=True):
        assert_array_equal(own.spans, other.spans)


def test_labels_may_be_in_y():
    frames = {"network": X["network"]}
    aligner = CTCAligner(vocabulary=LETTERS).fit(frames, X["text"])
    whole = CTCAligner(vocabulary=LETTERS).fit(X)
    for own, other in zip(
        aligner.align(frames, X["text"]), whole.align(X), strict=True
    ):
        assert_array_equal(own.spans, other.spans)
    assert aligner.score(frames, X["text"]) == whole.score(X)
    with pytest.raises(ValueError, match="a second modality with a list of labels"):
        aligner.transform(frames)
    with pytest.raises(ValueError, match="y has labels of 1 samples"):
        aligner.align(frames, [["a"]])
    with pytest.raises(ValueError, match=r"y\[0\] is 'abc', and no list"):
        aligner.align(frames, ["abc"] * 4)


def test_labels_that_are_tuples():
    vocabulary = [(), *[("phone", x) for x in LETTERS[1:]]]
    text = [[("phone", x) for x in own] for own in X["text"]]
    data = {"network": X["network"], "text": text}
    moved = CTCAligner(vocabulary=vocabulary).fit(data).transform(data)
    assert moved["text"][0][2, 0] == text[0][0]


def test_labels_in_y_may_be_tuples_or_columns():
    table = np.log(np.full((6, 3), 1 / 3))
    aligner = CTCAligner(vocabulary=["", ("a",), ("b", "c")])
    found = aligner.fit([[table]], [[("a",), ("b", "c")]])
    found = found.align([[table]], [[("a",), ("b", "c")]])[0]
    assert found.labels.tolist() == [("a",), ("b", "c")]
    column = [np.array([[1], [2]])]
    found = CTCAligner().fit([[table]], column).align([[table]], column)[0]
    assert found.labels.tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"y\[0\] is array(?s:.*)no list of labels"):
        CTCAligner().fit([[table]], [np.ones((2, 2), dtype=int)])


def test_label_sequences_of_tables_are_refused():
    table = np.log(np.full((6, 3), 1 / 3))
    with pytest.raises(ValueError, match=r"tables, without frames.*\[frames\]"):
        CTCAligner().fit([table, table], [[1], [2]])  # two tables of six samples


def test_a_star_stands_for_labels_without_transcript():
    starts = np.array([3, 9, 14, 19, 25, 31])
    table = peaked(["a", "b", "c", "b", "d"], starts, 34)
    data = {"network": [table], "text": [["a", "*", "d"]]}
    aligner = CTCAligner(vocabulary=LETTERS, star="*").fit(data)
    found = aligner.align(data)[0]
    assert found.spans.tolist() == [[3, 7], [9, 23], [25, 29]]
    moved = aligner.transform(data)["text"][0][:, 0]
    assert moved[9:23].tolist() == ["*"] * 14


def test_missing_modalities_have_no_spans():
    data = Modalities(
        {
            "network": [X["network"][0], None, X["network"][2]],
            "text": [np.array(X["text"][0], object)[:, None]] * 2 + [None],
        }
    )
    aligner = CTCAligner(vocabulary=LETTERS).fit(data)
    found = aligner.align(data)
    assert found[0] is not None
    assert found[1] is found[2] is None
    assert aligner.transform(data)["text"][1] is None
    assert np.isnan(aligner.score(data[1:]))


def test_one_frame_and_one_label():
    data = {"network": [np.log([[0.5, 0.5]])], "ids": [[1]]}
    found = CTCAligner().fit(data).align(data)[0]
    assert found.spans.tolist() == [[0, 1]]
    assert_allclose(found.posteriors, 1)


def test_errors_state_both_numbers_of_frames():
    data = {"network": [np.log(np.full((5, 3), 1 / 3))], "ids": [[1, 1, 2, 2]]}
    with pytest.raises(ValueError, match=r"sample 0 has 5 frames.*4 labels need 6"):
        CTCAligner().fit(data)
    data["ids"] = [[1, 1, 2]]
    assert CTCAligner().fit(data).align(data)[0].spans.shape == (3, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"blank": 7}, "5 columns, and blank=7"),
        ({"vocabulary": ["", "a"]}, "vocabulary has 2 labels"),
        ({"vocabulary": ["", "a", "a", "b", "c"]}, "label 'a' twice"),
        ({"vocabulary": LETTERS, "star": "a"}, "star='a' is a label of column 1"),
        ({"vocabulary": ["", "a", "b", "c", "z"]}, "the label 'd' of sample"),
    ],
)
def test_parameters_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        CTCAligner(**options).fit(X)


def test_values_that_are_no_log_probabilities():
    data = X | {"network": [np.exp(own) for own in X["network"]]}
    with pytest.raises(ValueError, match="give the logarithm of probabilities"):
        CTCAligner(vocabulary=LETTERS).fit(data)


def test_modalities_that_are_no_frames_and_labels():
    with pytest.raises(ValueError, match="one modality of frames with one of labels"):
        CTCAligner().fit({"a": X["network"], "b": X["network"]})
    with pytest.raises(ValueError, match="one modality of frames with one of labels"):
        CTCAligner().fit({"a": X["text"], "b": X["text"]})


def test_labels_in_a_table_have_a_remedy():
    data = Modalities({"network": [-np.ones((5, 3))] * 2, "ids": [[1, 2], [2, 1]]})
    with pytest.raises(ValueError, match=r"\['ids'\] are tables.*\(n_labels, 1\)"):
        CTCAligner().fit(data).align(data)
    labels = [np.array([[1], [2]]), np.array([[2], [1]])]
    data = Modalities({"network": data["network"], "ids": labels})
    assert len(CTCAligner().fit(data).align(data)) == 2


def test_a_narrow_band_has_a_remedy():
    table = np.log(np.full((40, 3), 1 / 3))
    table[:, 0] = -1e-9
    table[2:10] = np.log([0.02, 0.49, 0.49])
    data = {"network": [table], "ids": [[1, 2] * 4]}
    late = CTCAligner(band=0.1).fit(data).align(data)[0].spans
    free = CTCAligner().fit(data).align(data)[0].spans
    assert free[-1, 1] <= 10 < late[-1, 1]


def test_it_can_be_searched():
    frames, text = planted(6)[0].values()
    labels = [np.array(own, dtype=object)[:, None] for own in text]
    data = Modalities({"network": frames, "text": labels})
    search = GridSearchCV(
        CTCAligner(vocabulary=LETTERS), {"band": [0.2, None]}, cv=2, error_score="raise"
    ).fit(data)
    assert search.best_score_ < 0


def test_threads_change_nothing():
    one, two = (CTCAligner(vocabulary=LETTERS, n_jobs=n).fit(X) for n in (1, 2))
    for own, other in zip(one.align(X), two.align(X), strict=True):
        assert_array_equal(own.spans, other.spans)
        assert_array_equal(own.posteriors, other.posteriors)


def test_labels_that_a_frame_cannot_have():
    table = X["network"][0].copy()
    expected = CTCAligner(vocabulary=LETTERS).fit(X).align(X)[0]
    outside = np.setdiff1d(np.arange(len(table)), np.concatenate(
        [np.arange(*own) for own in expected.spans]))  # fmt: skip
    table[outside, 1:] = -np.inf
    data = {"network": [table], "text": X["text"][:1]}
    for posteriors in (True, False):
        aligner = CTCAligner(vocabulary=LETTERS).fit(data)
        found = aligner.align(data, posteriors=posteriors)[0]
        assert_array_equal(found.spans, expected.spans)
    assert np.isfinite(aligner.score(data))
    table = np.where(np.isinf(table), -1e4, table)
    finite = aligner.align(data | {"network": [table]})[0]
    assert_allclose(aligner.align(data)[0].posteriors, finite.posteriors)


def test_samples_without_any_path_have_their_frame_and_labels():
    table = np.log(np.full((8, 3), 1 / 3))
    table[3:, 2] = -np.inf
    data = {"network": [table, table], "ids": [[1, 2], [2, 1, 1, 2]]}
    aligner = CTCAligner().fit(data)
    with pytest.raises(ValueError, match=r"sample 1 of 8.*first 3 labels.*label 2"):
        aligner.align(data)
    assert aligner.align({own: x[:1] for own, x in data.items()})[0].spans[1, 1] <= 3
    table[5] = -np.inf
    with pytest.raises(ValueError, match=r"sample 0 of 8.*frame 5 has -inf.*blank"):
        aligner.align(data)
    table[0, 0] = np.inf
    with pytest.raises(ValueError, match="has the value inf"):
        aligner.align(data)
