"""Selection of samples and modalities, compared with that of NumPy in each block."""

from contextlib import suppress
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse

from mmfusion import Modalities

from .block_zoo import N_SAMPLES, samples_of

AUDIO = np.arange(12.0).reshape(6, 2)
VIDEO = np.arange(18.0).reshape(6, 3)
TEXT = sparse.csr_array(np.eye(6, 4))
X = Modalities({"audio": AUDIO, "video": VIDEO, "text": TEXT})

ROWS = {
    "slice": slice(1, 4),
    "negative slice": slice(-2, None),
    "steps": slice(None, None, 2),
    "backwards": slice(None, None, -1),
    "no slice": slice(3, 3),
    "list": [4, 0, 0, 2],
    "negative": [-1, 2, -6],
    "array": np.array([5, 1]),
    "small integers": np.array([5, 1], dtype=np.uint8),
    "unsigned": np.array([5, 1], dtype=np.uint64),
    "empty list": [],
    "mask": np.array([True, False, False, True, True, False]),
    "mask as list": [False, True, False, False, False, True],
    "empty mask": np.zeros(6, dtype=bool),
    "Series": pd.Series([3, 2], index=[8, 9]),
    "tuple in a range": range(1, 3),
}


@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
def test_rows_of_every_block_are_those_of_numpy(given, rows):
    frame = Modalities({"it": given, "audio": AUDIO})
    positions = np.arange(N_SAMPLES)[rows]
    expected = [samples_of(given)[p] for p in positions]
    with_tuple = [
        frame[rows, ...],
        frame[rows, :],
        frame.iloc[rows, :],
    ]
    if not hasattr(frame["it"], "loc"):  # whose rows have labels
        with_tuple += [frame.loc[rows], frame.loc[rows, :]]
    for taken in (frame[rows], frame.iloc[rows], *with_tuple):
        assert taken.names == frame.names
        assert samples_of(taken["it"]) == expected
        assert_array_equal(taken["audio"], AUDIO[positions])
        assert_array_equal(taken.observed, frame.observed[positions])
    if not isinstance(rows, slice):
        assert frame.take(positions) == frame[rows]


@pytest.mark.parametrize("row", [0, 5, -1, -6, np.int64(2)])
def test_one_sample_is_a_frame_of_one_sample(given, row):
    frame = Modalities({"it": given, "audio": AUDIO})
    for taken in (frame[row], frame.iloc[row], frame[row, :]):
        assert taken.shape == (1, 2)
        assert samples_of(taken["it"]) == [samples_of(given)[row]]


def test_a_name_gives_the_block_and_names_give_a_frame():
    assert X["audio"] is X[:, "audio"] is X[..., 0] is X[:, -3] is AUDIO
    assert X["text"] is X[:, 2] is TEXT
    assert X.iloc[:, 1] is X.loc[:, "video"] is VIDEO
    for frame in (
        X[["video", "audio"]],
        X[:, ["video", "audio"]],
        X[:, [1, 0]],
        X[:, np.array([1, 0])],
        X[:, 1::-1],
        X.take([1, 0], axis=1),
        X.iloc[:, [1, 0]],
    ):
        assert frame.names == ("video", "audio")
        assert frame.blocks[0] is VIDEO
        assert frame.blocks[1] is AUDIO
    for frame in (X[:, 1:], X[:, [False, True, True]], X[:, np.array([0, 1, 1]) > 0]):
        assert frame.names == ("video", "text")


def test_rows_and_modalities_are_selected_together():
    assert_array_equal(X[[3, 1], "video"], VIDEO[[3, 1]])
    assert_array_equal(X[-1, 0], AUDIO[-1:])
    assert X[1:3, ["text", "audio"]] == X[["text", "audio"]][1:3]
    assert X[X.observed.all(axis=1), [0]] == X[["audio"]]
    # as permutation_importance needs it: a column of some rows is still a frame
    assert X.iloc[[3, 1], 1] == X.iloc[[3, 1], [1]] == X[[3, 1], ["video"]]


def test_a_slice_of_rows_is_a_view_and_other_rows_are_copied():
    for rows in (slice(1, 4), slice(None, None, 2), slice(-2, None)):
        taken = X[rows]
        assert np.shares_memory(taken["audio"], AUDIO)
        assert np.shares_memory(taken["video"], VIDEO)
    taken = X[[1, 2]]
    assert not np.shares_memory(taken["audio"], AUDIO)
    assert taken["audio"].base is None
    assert taken["audio"].nbytes == AUDIO.nbytes / 3


def test_selecting_rows_needs_memory_for_those_rows_only():
    import tracemalloc

    frame = Modalities([np.zeros((1000, 200)), np.zeros((1000, 300))])
    tracemalloc.start()
    taken = frame[np.arange(10)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken.shape == (10, 2)
    assert peak < 2 * 10 * 500 * 8


def test_sequences_are_not_copied():
    sequences = [np.ones((3, 2)), np.ones((4, 2))]
    assert Modalities([sequences])[[1]].blocks[0][0] is sequences[1]


@pytest.mark.parametrize(
    ("key", "error", "message"),
    [
        (6, IndexError, "sample 6 is out of range for 6"),
        (-7, IndexError, "sample -7 is out of range for 6"),
        ([2, -9], IndexError, "sample -9 is out of range for 6"),
        ([0, 8], IndexError, "sample 8 is out of range for 6"),
        ([True, False], IndexError, "mask has 2 entries for 6 samples"),
        ([0.5], IndexError, "integers, a boolean mask or a slice"),
        (1.0, IndexError, "integers, a boolean mask or a slice"),
        (True, IndexError, "integers, a boolean mask or a slice"),
        (None, IndexError, "integers, a boolean mask or a slice"),
        ([[0, 1]], IndexError, "integers, a boolean mask or a slice"),
        (np.nan, IndexError, "integers, a boolean mask or a slice"),
        (np.timedelta64(1, "s"), IndexError, "integers, a boolean mask or a slice"),
        (2**70, IndexError, "sample 1180591620717411303424 is out of range"),
        ([1, -(2**70)], IndexError, "sample -1180591620717411303424 is out of range"),
        (np.uint64(2**64 - 1), IndexError, "sample 18446744073709551615 is out of"),
        ([True, 1], IndexError, "mixes positions with True and False"),
        ([[1], [1, 2]], IndexError, "not an array"),
        (iter([1]), IndexError, "is a list_iterator, which is not an array"),
        (X, IndexError, "do not turn into one array"),
        (np.ma.masked_equal([0, 1], 1), IndexError, "masked array"),
        (
            slice("a", "b"),
            IndexError,
            r"not a slice of positions.*X\.loc takes row labels",
        ),
        (slice(None, None, 0), IndexError, "not a slice of positions.*zero"),
        (np.array(["audio"]), IndexError, "modalities by name"),
        (("audio", "video"), IndexError, "modalities by name"),
        ((0, 0, 0), IndexError, "2 axes; the index has 3"),
        ("image", KeyError, r"no modality 'image'.*'audio', 'video', 'text'"),
        (["audio", "image"], KeyError, "no modality 'image'"),
        (["audio", "audio"], ValueError, r"repeat: \['audio', 'audio'\]"),
        ((0, "image"), KeyError, "no modality 'image'"),
        ((0, 3), IndexError, "3 is not the position of a modality.*'audio'"),
        ((0, -4), IndexError, "-4 is not the position of a modality"),
        ((0, [0.7]), IndexError, "0.7 is not the position of a modality"),
        ((0, 2**70), IndexError, "1180591620717411303424 is not the position of a"),
        ((0, np.array(0)), IndexError, r"array\(0\) is not the position"),
        ((0, {"audio"}), IndexError, r"\{'audio'\} is not the position"),
        ((0, slice("audio")), IndexError, "not a slice of positions"),
        ((0, 1.5), IndexError, "1.5 is not the position of a modality"),
        ((0, None), IndexError, "None is not the position of a modality"),
        ((0, [True]), IndexError, "mask has 1 entries for 3 modalities"),
        ((0, []), IndexError, "selects no modality"),
        ((0, slice(3, None)), IndexError, "selects no modality"),
    ],
)
def test_an_invalid_index_is_refused(key, error, message):
    with pytest.raises(error, match=message):
        X[key]


@pytest.mark.parametrize("axis", [2, -1, None, "rows", 1.0, np.array([0, 1])])
def test_there_is_no_third_axis(axis):
    with pytest.raises(ValueError, match=r"axis=.* 0 for samples, 1 for modalities"):
        X.take([0], axis=axis)


BOUNDS = st.none() | st.integers(-20, 20) | st.sampled_from([2**70, -(2**70)])


@hypothesis_given(BOUNDS, BOUNDS, BOUNDS.filter(lambda step: step != 0))
def test_slices_beyond_the_ends_are_those_of_a_list(start, stop, step):
    rows = slice(start, stop, step)
    expected = list(range(6))[rows]
    assert_array_equal(X[rows]["audio"], AUDIO[expected])
    frame = Modalities([pd.DataFrame(AUDIO)])[rows]
    assert list(frame.index) == expected
    names = list("abc")[rows]
    if names:
        assert Modalities([AUDIO] * 3, list("abc"))[:, rows].names == tuple(names)


def test_iterating_is_refused_with_the_remedy():
    for iterate in (iter, list, set, np.hstack, lambda X: [*X]):
        with pytest.raises(TypeError, match=r"X\.to_dict\(\)\.items\(\).*X\[i:i\+1\]"):
            iterate(X)


# Appending samples


def test_slices_concatenate_to_the_whole(given):
    frame = Modalities({"it": given, "audio": AUDIO})
    whole = frame[:2].concat(frame[2:2], frame[2:])
    assert whole == frame
    assert samples_of(whole["it"]) == samples_of(given)
    assert frame.concat() == frame


def test_concatenation_matches_by_name_and_keeps_masks():
    lacks_video = Modalities(X, observed=[[True, False, True]] * 6)
    both = X.concat(lacks_video[["text", "video", "audio"]])
    assert both.names == X.names
    assert_array_equal(both["video"], np.vstack([VIDEO, VIDEO]))
    assert_array_equal(both.observed[:, 1], [True] * 6 + [False] * 6)
    assert both[:6] == X
    assert both[6:] == lacks_video


@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        ({"audio": AUDIO}, ValueError, r"\['audio'\] to \['audio', 'video'\]"),
        (
            {"audio": AUDIO, "video": AUDIO},
            ValueError,
            r"'video'.*\(2,\).*\(3,\)",
        ),
        (
            {"audio": AUDIO, "video": sparse.csr_array(VIDEO)},
            TypeError,
            r"'video'.*'dense', 'sparse'",
        ),
        ({"audio": AUDIO, "video": None}, TypeError, r"'video'.*'sequences'"),
    ],
)
def test_samples_of_other_features_are_not_appended(other, error, message):
    with pytest.raises(error, match=message):
        Modalities({"audio": AUDIO, "video": VIDEO}).concat(Modalities(other))


@pytest.mark.parametrize("other", [{"audio": AUDIO}, [AUDIO], AUDIO, None])
def test_only_frames_are_appended(other):
    with pytest.raises(TypeError, match=r"others: a \w+ cannot.*Modalities\(other\)"):
        X.concat(other)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_tables_of_other_columns_are_not_appended(library):
    pandas_or_polars = pytest.importorskip(library)
    one, other = (
        Modalities({"audio": pandas_or_polars.DataFrame({"f": [1.0], name: [2.0]})})
        for name in ("g", "h")
    )
    with pytest.raises(ValueError, match=r"'audio'.*\['f', 'h'\].*\['f', 'g'\]"):
        one.concat(other)


# Random frames, random rows


def random_block(rng, kind, n_samples):
    values = rng.integers(-3, 4, size=(n_samples, rng.integers(1, 4)))
    lacks = rng.random(n_samples) < 0.3
    if kind == "sequences":
        lengths = rng.integers(1, 4, size=n_samples)
        return [
            None if lack else np.full((length, 2), float(length))
            for lack, length in zip(lacks, lengths, strict=True)
        ]
    if kind == "float":
        return np.where(lacks[:, None], np.nan, values)
    if kind == "object":
        return np.where(lacks[:, None], None, values)
    if kind == "sparse":
        return sparse.csr_array(values)
    if kind == "pandas":
        table = pd.DataFrame(np.where(lacks[:, None], np.nan, values))
        return table.rename(columns=str).sample(frac=1, random_state=0)
    return values


@st.composite
def frames(draw):
    n_samples = draw(st.integers(1, 7))
    kinds = st.sampled_from(["int", "float", "object", "sparse", "pandas", "sequences"])
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    blocks = [
        random_block(rng, kind, n_samples)
        for kind in draw(st.lists(kinds, min_size=1, max_size=3))
    ]
    observed = (
        rng.random((n_samples, len(blocks))) < 0.7 if draw(st.booleans()) else None
    )
    return Modalities(blocks, observed=observed)


def row_indexes(n_samples):
    position = st.integers(-n_samples, n_samples - 1)
    return st.one_of(
        position.map(lambda p: [p]),
        st.lists(position, max_size=9),
        st.lists(position, max_size=9).map(lambda rows: np.array(rows, dtype=int)),
        st.lists(st.booleans(), min_size=n_samples, max_size=n_samples),
        st.slices(n_samples),
    )


@settings(deadline=None)
@hypothesis_given(st.data())
def test_indexing_a_frame_is_indexing_each_block(data):
    frame = data.draw(frames())
    rows = data.draw(row_indexes(len(frame)))
    more = data.draw(st.booleans())
    if more:
        assert frame.observed.shape == frame.shape  # may be computed before, or not
    taken = frame[rows]
    positions = np.arange(len(frame))[rows if isinstance(rows, slice) else [*rows]]
    assert taken.shape == (len(positions), frame.shape[1])
    assert_array_equal(taken.observed, frame.observed[positions])
    for name in frame.names:
        spelled = samples_of(frame[name])
        assert samples_of(taken[name]) == [spelled[p] for p in positions]
    # sequences make no array, and old scipy puts no objects beside sparse numbers
    with suppress(ValueError, TypeError):
        assert samples_of(taken.to_array()) == samples_of(frame.to_array()[positions])


@settings(deadline=None)
@hypothesis_given(st.data())
def test_concatenating_slices_restores_the_frame(data):
    frame = data.draw(frames())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(frame)), max_size=3)))
    edges = [0, *cuts, len(frame)]
    parts = [frame[a:b] for a, b in pairwise(edges)]
    assert parts[0].concat(*parts[1:]) == frame
    order = np.random.default_rng(0).permutation(len(frame))
    assert frame[order][np.argsort(order)] == frame


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint64])
def test_rows_may_come_in_a_small_dtype(dtype):
    frame = Modalities([np.arange(300.0)[:, None]])
    assert frame[np.array([1], dtype=dtype)].blocks[0].tolist() == [[1.0]]
