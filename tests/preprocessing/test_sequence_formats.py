"""Sequences in the layouts of other packages: there and back again."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mmfusion import Modalities
from mmfusion._sequences import float_sequences
from mmfusion.datasets import load_npz
from mmfusion.preprocessing import (
    channels_first_from_sequences,
    frames_from_sequences,
    padded_from_sequences,
    sequences_from_channels_first,
    sequences_from_frames,
    sequences_from_padded,
)


@st.composite
def lists_of_sequences(draw, shortest=1):
    """Sequences of one width, some missing and at least one there, with gaps."""
    lengths = draw(st.lists(st.none() | st.integers(shortest, 6), max_size=5))
    lengths.insert(draw(st.integers(0, len(lengths))), draw(st.integers(1, 6)))
    width = draw(st.integers(1, 3))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    sequences = [None if n is None else rng.normal(size=(n, width)) for n in lengths]
    for sequence in sequences:
        if sequence is not None and len(sequence):
            sequence[:-1][rng.random(len(sequence) - 1) < 0.2] = np.nan
    return [None if s is None else s.astype(dtype) for s in sequences]


def assert_same_sequences(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


# There and back


@settings(max_examples=50, deadline=None)
@given(lists_of_sequences())
def test_padding_can_be_undone(sequences):
    assert_same_sequences(
        sequences_from_padded(padded_from_sequences(sequences)), sequences
    )


@settings(max_examples=50, deadline=None)
@given(lists_of_sequences(), st.sampled_from([0, -1.5, np.nan]))
def test_padding_of_any_value_can_be_undone_by_the_lengths(sequences, value):
    padded, lengths = padded_from_sequences(sequences, value, return_lengths=True)
    assert lengths.dtype == np.int64
    assert lengths.tolist() == [-1 if s is None else len(s) for s in sequences]
    assert_same_sequences(sequences_from_padded(padded, lengths), sequences)
    for row, length in zip(padded, lengths, strict=True):
        np.testing.assert_array_equal(row[max(length, 0) :], value)


def test_trailing_zeros_within_the_length_are_frames():
    padded = np.zeros((3, 4, 2))
    found = sequences_from_padded(padded, np.array([4, 2, 0], dtype=np.uint8))
    assert [None if s is None else s.shape for s in found] == [(4, 2), (2, 2), None]
    assert np.shares_memory(found[1], padded)


@pytest.mark.parametrize(
    ("lengths", "match"),
    [
        ([4, 2], "one integer for each of the 3 samples"),
        ([4.0, 2.0, 1.0], "float64.*one integer"),
        ([4, 5, 1], r"lengths\[1\] is 5.*4 frames"),
        ([4, -2, 1], r"lengths\[1\] is -2"),
        (np.ones((3, 4), bool), r"mask.sum\(axis=1\)"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths, match):
    with pytest.raises(ValueError, match=match):
        sequences_from_padded(np.zeros((3, 4, 2)), lengths)


@pytest.mark.parametrize("options", [{"fill_value": "0"}, {"return_lengths": 1}])
def test_options_of_padding_are_checked(options):
    with pytest.raises(TypeError, match=next(iter(options))):
        padded_from_sequences([np.ones((2, 1))], **options)


@settings(max_examples=50, deadline=None)
@given(lists_of_sequences(shortest=0))
def test_turning_can_be_undone(sequences):
    turned = channels_first_from_sequences(sequences)
    assert_same_sequences(sequences_from_channels_first(turned), sequences)


@settings(max_examples=50, deadline=None)
@given(lists_of_sequences(shortest=0))
def test_concatenating_can_be_undone(sequences):
    frames, lengths = frames_from_sequences(sequences)
    assert_same_sequences(sequences_from_frames(frames, lengths), sequences)


# Padded


def test_only_trailing_frames_of_nan_are_padding():
    padded = np.full((3, 5, 2), np.nan)
    padded[0, 1], padded[0, 3, 0] = 1, 2  # starts with a gap, has one, ends half known
    padded[2] = 3
    found = sequences_from_padded(padded)
    np.testing.assert_array_equal(found[0], padded[0, :4])
    assert found[1] is None
    np.testing.assert_array_equal(found[2], padded[2])
    assert Modalities([found]).observed.ravel().tolist() == [True, False, True]


def test_a_padded_array_is_not_copied():
    padded = np.full((3, 5, 2), np.nan)
    padded[:, :2] = 1
    assert all(np.shares_memory(s, padded) for s in sequences_from_padded(padded))


def test_padding_is_that_of_tslearn():
    tslearn_utils = pytest.importorskip("tslearn.utils")
    sequences = [np.ones((3, 2)), np.zeros((5, 2)), np.eye(2)]
    np.testing.assert_array_equal(
        padded_from_sequences(sequences),
        tslearn_utils.to_time_series_dataset(sequences),
    )


def test_integers_are_padded_with_nan_too():
    padded = padded_from_sequences([[[1], [2]], np.array([[3]])])
    np.testing.assert_array_equal(padded.ravel(), [1, 2, 3, np.nan])
    assert padded.dtype == np.float64


def test_sequences_of_images_keep_their_dimensions():
    films = [np.ones((2, 4, 3)), np.ones((5, 4, 3)), None]
    padded = padded_from_sequences(films)
    assert padded.shape == (3, 5, 4, 3)
    assert_same_sequences(sequences_from_padded(padded), films)


# Channels first


def test_series_are_c_contiguous_whatever_their_length():
    sequences = [np.ones((1, 3)), np.ones((4, 3))]
    assert all(s.flags.c_contiguous for s in channels_first_from_sequences(sequences))


def test_one_array_of_series_is_taken_too():
    collection = np.arange(24).reshape(2, 3, 4)
    found = sequences_from_channels_first(collection)
    assert found.shape == (2,)
    np.testing.assert_array_equal(found[1], collection[1].T)


# Frames


def test_frames_in_a_file_stay_there(tmp_path):
    np.save(tmp_path / "frames.npy", np.arange(20.0).reshape(10, 2))
    frames = np.load(tmp_path / "frames.npy", mmap_mode="r")
    X = Modalities({"audio": sequences_from_frames(frames, [4, 0, -1, 6])})
    for sequence in X["audio"][[0, 3]]:
        assert np.shares_memory(sequence, frames)
    assert [None if s is None else len(s) for s in X["audio"]] == [4, 0, None, 6]


def test_real_frames_are_cut_as_the_loader_cuts_them(shared_data):
    path = shared_data / "ts_japanesevowels.npz"
    with np.load(path) as raw:
        found = sequences_from_frames(raw["frames"], raw["lengths"])
    assert_same_sequences(found, load_npz(path).data.blocks[0])
    padded = padded_from_sequences(found)
    assert padded.shape == (640, 29, 12)
    assert_same_sequences(sequences_from_padded(padded), found)


# Refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sequences_from_padded(np.ones((3, 2))), r"\(3, 2\).*None\]"),
        (lambda: sequences_from_frames(np.ones(3), [3]), r"\(3,\).*None\]"),
        (lambda: sequences_from_frames(np.eye(3), [1, 1]), "adds up to 2.* 3"),
        (lambda: sequences_from_frames(np.eye(3), [1.0, 2.0]), "float64.*integer"),
        (lambda: padded_from_sequences([None, None]), "no sequence"),
        (lambda: frames_from_sequences([]), "no sequence"),
        (
            lambda: padded_from_sequences([np.eye(2), None, np.eye(3)]),
            r"sample 2 .*\(3,\).*sample 0 \(2,\)",
        ),
        (
            lambda: frames_from_sequences([np.ones((2, 1)), np.ones((2, 3))]),
            "sample 1",
        ),
        (
            lambda: channels_first_from_sequences([np.eye(2), np.ones((2, 2, 2))]),
            "sample 1",
        ),
        (lambda: sequences_from_channels_first([np.ones(4)]), "sample 0"),
    ],
)
def test_what_is_no_such_layout_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "function",
    [
        padded_from_sequences,
        frames_from_sequences,
        channels_first_from_sequences,
        sequences_from_channels_first,
        sequences_from_padded,
        lambda frames: sequences_from_frames(frames, [1, 2]),
        lambda lengths: sequences_from_frames(np.eye(3), lengths),
    ],
)
@pytest.mark.parametrize(
    "given",
    [
        None,
        5,
        "abc",
        {"a": np.eye(2)},
        {1.0},
        object(),
        sparse.csr_array(np.eye(3)),
        Modalities([np.eye(3)]),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_is_no_array_is_refused_by_name(function, given):
    with pytest.raises(
        (ValueError, TypeError), match=r"sequences|collection|padded|frames|lengths"
    ):
        function(given)


def test_layouts_are_read_from_any_package():
    torch = pytest.importorskip("torch")
    x = np.arange(6.0).reshape(1, 3, 2)
    tensor = torch.tensor(x, requires_grad=True)
    masked = np.ma.masked_greater(x, 3)
    assert sequences_from_padded(tensor)[0].tolist() == x[0].tolist()
    assert sequences_from_padded(masked)[0].tolist() == x[0, :2].tolist()
    assert padded_from_sequences(tensor).tolist() == x.tolist()
    assert padded_from_sequences(pd.Series([x[0]])).tolist() == x.tolist()
    assert sequences_from_frames(tensor[0], torch.tensor([1, 2]))[1].shape == (2, 2)


def test_a_table_is_not_taken_for_sequences():
    with pytest.raises(ValueError, match=r"'survey' is a table of shape \(3, 2\)"):
        float_sequences(np.ones((3, 2)), "survey")
