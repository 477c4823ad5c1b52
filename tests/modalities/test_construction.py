"""Construction of Modalities from every form of input and kind of block."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy import sparse

from mmfusion import Modalities
from mmfusion.preprocessing import SequencePooling

from .block_zoo import N_SAMPLES, SPARSE, samples_of

AUDIO = np.arange(12.0).reshape(6, 2)
VIDEO = np.arange(18.0).reshape(6, 3)
NAMED = Modalities({"audio": AUDIO, "video": VIDEO})


def multi_index_frame():
    columns = [("audio", "a"), ("video", "b"), ("audio", "c"), ("video", "d")]
    values = np.arange(24.0).reshape(6, 4)
    return pd.DataFrame(values, columns=pd.MultiIndex.from_tuples(columns))


# Forms of input


@pytest.mark.parametrize(
    "X",
    [
        Modalities([AUDIO, VIDEO], names=["audio", "video"]),
        Modalities((AUDIO, VIDEO), ("audio", "video")),
        Modalities([AUDIO, VIDEO], names=np.array(["audio", "video"])),
        Modalities([AUDIO, VIDEO], names=pd.Index(["audio", "video"])),
        Modalities(NAMED),
        Modalities([AUDIO.tolist(), VIDEO.tolist()], names=["audio", "video"]),
        Modalities.from_table(np.hstack([AUDIO, VIDEO]), NAMED.column_spec()),
    ],
)
def test_the_same_data_in_any_form_are_equal(X):
    assert X == NAMED
    assert X.names == X.columns == ("audio", "video")
    assert all(type(name) is str for name in X.names)
    assert X.shape == (6, 2)
    assert X.ndim == 2
    assert len(X) == 6


@pytest.mark.parametrize("form", [list, tuple, pd.Series, object])
def test_columns_of_sequences_of_frames_are_names_of_features(form):
    frames = [None, *(pd.DataFrame(np.eye(2) + n, columns=["f", "t"]) for n in (0, 1))]
    block = np.empty(3, dtype=object)
    block[:] = frames
    X = Modalities(
        {"audio": block if form is object else form(frames), "video": VIDEO[:3]}
    )
    pooling = SequencePooling(["mean"]).fit(X)
    names = ["audio__f_mean", "audio__t_mean", "video__x0"]
    assert pooling.get_feature_names_out()[:3].tolist() == names
    later = Modalities(X[1:], observed=np.ones((2, 2), dtype=bool))
    assert later._feature_names("audio") == ["f", "t"]
    assert pickle.loads(pickle.dumps(later)) == later
    assert pickle.loads(pickle.dumps(Modalities(NAMED))) == NAMED
    exchanged = [frames[1], frames[2][["t", "f"]]]
    with pytest.raises(ValueError, match=r"'audio': the frames of sample 1 .*order"):
        Modalities({"audio": exchanged})
    with pytest.raises(ValueError, match=r"'audio' has the features \['t', 'f'\] in"):
        Modalities({"audio": frames}).concat(Modalities({"audio": exchanged[1:]}))
    other = [frame.rename(columns={"f": "g"}) for frame in frames[1:]]
    with pytest.raises(ValueError, match=r"should match .*\['f', 't'\]"):
        pooling.transform({"audio": other, "video": VIDEO[:2]})


def test_modalities_without_names_are_counted():
    assert Modalities([AUDIO, VIDEO]).names == ("modality_0", "modality_1")


def test_the_first_level_of_columns_is_the_modality():
    table = multi_index_frame()
    X = Modalities(table)
    assert X.names == ("audio", "video")
    for name in X.names:
        pd.testing.assert_frame_equal(X[name], table[name])


def test_blocks_are_reached_by_name_and_in_order():
    assert NAMED["audio"] is AUDIO
    assert NAMED.blocks == (AUDIO, VIDEO)
    assert NAMED.to_dict() == {"audio": AUDIO, "video": VIDEO}
    NAMED.to_dict().clear()
    assert NAMED.shape == (6, 2)


# Kinds of blocks


def test_a_block_of_any_kind_keeps_its_samples(given):
    X = Modalities({"it": given, "other": AUDIO})
    assert X.shape == (N_SAMPLES, 2)
    assert samples_of(X["it"]) == samples_of(given)


@pytest.mark.parametrize(
    "kind", ["int", "float32", "bool", "str", "object", "4-D", "Fortran order"]
)
def test_an_array_is_not_copied(make_given, kind):
    given = make_given(kind)
    assert Modalities([given]).blocks[0] is given


def test_a_memmap_stays_one_and_is_not_read_into_memory(make_given):
    given = make_given("memmap")
    X = Modalities([given])
    for block in (X.blocks[0], X[2:4].blocks[0], X[1:, 0]):
        assert isinstance(block, np.memmap)
        assert np.shares_memory(block, given)


@pytest.mark.parametrize("kind", SPARSE)
def test_a_sparse_block_of_any_format_is_kept_as_csr(make_given, kind):
    given = make_given(kind)
    block = Modalities([given]).blocks[0]
    assert block.format == "csr"
    assert isinstance(block, sparse.sparray) == isinstance(given, sparse.sparray)


@pytest.mark.parametrize("kind", ["pandas", "pandas mixed", "polars"])
def test_a_table_stays_a_table_of_its_library(make_given, kind):
    given = make_given(kind)
    assert Modalities([given]).blocks[0] is given


@pytest.mark.parametrize("kind", ["torch", "torch with gradient"])
def test_a_tensor_becomes_an_array_of_the_same_memory(make_given, kind):
    given = make_given(kind)
    block = Modalities([given]).blocks[0]
    assert type(block) is np.ndarray
    assert np.shares_memory(block, given.detach().numpy())


@pytest.mark.parametrize(
    "kind", ["sequences", "sequences of equal length", "nested lists"]
)
def test_sequences_are_never_stacked(make_given, kind):
    block = Modalities([make_given(kind)]).blocks[0]
    assert block.shape == (N_SAMPLES,)
    assert all(isinstance(sequence, np.ndarray) for sequence in block)
    assert {sequence.ndim for sequence in block} == {2}


def test_sequences_may_be_an_array_of_objects_tensors_or_masked():
    torch = pytest.importorskip("torch")
    sequences = [np.eye(2), np.ones((3, 2))]
    objects = np.empty(2, dtype=object)
    objects[:] = sequences
    masked = [np.ma.masked_array(s, mask=np.zeros_like(s)) for s in sequences]
    X = Modalities([sequences])
    assert Modalities([objects]) == X
    assert Modalities([[torch.from_numpy(s) for s in sequences]]) == X
    assert Modalities([masked]) == X
    masked[0][1, 1] = np.ma.masked
    assert_array_equal(Modalities([masked]).blocks[0][0], [[1, 0], [0, np.nan]])


def test_masked_values_are_nan_and_the_data_are_unchanged():
    given = np.ma.masked_array([[1, 2], [3, 4]], mask=[[False, True], [True, True]])
    X = Modalities([given])
    assert_array_equal(X.blocks[0], [[1, np.nan], [np.nan, np.nan]])
    assert_array_equal(X.observed, [[True], [False]])
    assert_array_equal(given.data, [[1, 2], [3, 4]])
    assert given.dtype.kind == "i"


def test_a_modality_that_no_sample_has_is_none():
    X = Modalities({"audio": AUDIO, "video": None})
    assert X.shape == (6, 2)
    assert_array_equal(X.observed, [[True, False]] * 6)


# Errors, which name the modality, the fault and the remedy


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        ([], {}, ValueError, "no modality"),
        ({}, {}, ValueError, "no modality"),
        ([None, None], {}, ValueError, "every modality is None"),
        (
            {"audio": AUDIO, "video": VIDEO[:4]},
            {},
            ValueError,
            "'audio' has 6, 'video' has 4.*None or a row of NaN",
        ),
        ({"audio": AUDIO[:, 0]}, {}, ValueError, r"'audio'.*\(6,\).*reshape\(-1, 1\)"),
        ({"audio": [1.0, 2.0]}, {}, ValueError, "'audio': sample 0.*reshape"),
        ({"audio": 3}, {}, TypeError, "'audio' is a int.*array"),
        ({"audio": "abc"}, {}, TypeError, "'audio' is a str.*array"),
        ({"audio": {"f0": [1.0]}}, {}, TypeError, "'audio' is a dict.*array"),
        ({"audio": [[1, 2], [3]]}, {}, ValueError, r"'audio'.*\[1, 2\] values"),
        (
            {"audio": [np.eye(2), np.ones(3)]},
            {},
            ValueError,
            r"'audio': sample 1 .*\(3,\).*\(n_frames, n_features\)",
        ),
        ({"audio": [np.eye(2), np.array(1.0)]}, {}, ValueError, "'audio': sample 1"),
        ({"audio": [[[1, 2], [3]]]}, {}, ValueError, "'audio': sample 0"),
        (AUDIO, {}, TypeError, r"ndarray.*Modalities\(\[X\]\).*from_table"),
        (sparse.dok_array(AUDIO), {}, TypeError, "dok_array.*from_table"),
        (pd.DataFrame(AUDIO), {}, TypeError, "DataFrame.*from_table"),
        ("audio", {}, TypeError, "str is not data by modality"),
        ([AUDIO, VIDEO], {"names": ["audio"]}, ValueError, "1 names for 2 modalities"),
        ([AUDIO, VIDEO], {"names": []}, ValueError, "0 names for 2 modalities"),
        ([AUDIO, VIDEO], {"names": ["a", "a"]}, ValueError, r"repeat: \['a', 'a'\]"),
        ([AUDIO], {"names": ["a__b"]}, ValueError, "'a__b' cannot name.*'__'"),
        ([AUDIO], {"names": [""]}, ValueError, "'' cannot name.*non-empty"),
        ([AUDIO], {"names": [0]}, ValueError, "0 cannot name.*strings"),
        ({0: AUDIO}, {}, ValueError, "0 cannot name.*strings"),
        ({b"audio": AUDIO}, {}, ValueError, "b'audio' cannot name"),
        ({np.nan: AUDIO}, {}, ValueError, "nan cannot name"),
        ([AUDIO, VIDEO], {"names": "ab"}, TypeError, "names is a str; give a list"),
        ([AUDIO, VIDEO], {"names": {"a", "b"}}, TypeError, "names is a set; give a"),
        ([AUDIO, VIDEO], {"names": 2}, TypeError, "names is a int; give a list of str"),
        ({"audio": AUDIO}, {"names": ["a"]}, ValueError, "names are those of the dict"),
        (NAMED, {"names": ["a", "b"]}, ValueError, "names are those of the dict"),
        ([AUDIO], {"observed": [True] * 6}, ValueError, r"\(6, 1\).*\(6,\)"),
        ([AUDIO], {"observed": np.ones((6, 1))}, ValueError, "bool.*float64"),
        ([AUDIO], {"observed": [[1]] * 6}, ValueError, "observed is bool.*int64"),
        ([AUDIO], {"observed": [[1], [1, 2]]}, ValueError, "observed is not an array"),
        ([AUDIO], {"observed": np.ma.masked_all((6, 1), bool)}, ValueError, "filled"),
        ([AUDIO], {"observed": {"audio": True}}, TypeError, "observed is a dict"),
    ],
)
def test_invalid_data_are_refused(data, options, error, message):
    with pytest.raises(error, match=message):
        Modalities(data, **options)


def test_a_sparse_vector_is_refused_like_a_dense_one():
    vector = sparse.coo_array(AUDIO[0])
    if vector.ndim == 2:
        pytest.skip("this scipy has no sparse vectors")
    with pytest.raises(ValueError, match=r"'audio' has shape \(2,\)"):
        Modalities({"audio": vector})


# One table: splitting and concatenation


TABLE = np.arange(30.0).reshape(5, 6)
NAMES = ["audio__x", "audio__y", "video__x", "video__y", "video__z", "text__n"]


def named_table():
    return pd.DataFrame(TABLE, columns=NAMES)


@pytest.mark.parametrize(
    ("spec", "columns"),
    [
        (None, {"modality_0": range(6)}),
        (1, {"modality_0": range(6)}),
        (np.int64(2), {"modality_0": [0, 1, 2], "modality_1": [3, 4, 5]}),
        (4, {"modality_0": [0, 1], "modality_1": [2, 3]}),
        ([2, 4], {"modality_0": [0, 1], "modality_1": [2, 3, 4, 5]}),
        ((1, 5), {"modality_0": [0], "modality_1": [1, 2, 3, 4, 5]}),
        ({"a": [0, 3], "b": slice(4, None)}, {"a": [0, 3], "b": [4, 5]}),
        ({"a": [-1], "b": 2}, {"a": [5], "b": [2]}),
        ({"a": np.arange(6) > 3}, {"a": [4, 5]}),
        ({"a": [True, False] * 3, "b": slice(None, None, 3)}, {"b": [0, 3]}),
        ({"overlap": [0, 1], "of it": [1, 2]}, {"overlap": [0, 1], "of it": [1, 2]}),
        ({"a": lambda table: [table.shape[1] - 1]}, {"a": [5]}),
    ],
)
@pytest.mark.parametrize("form", ["array", "list", "csr", "coo", "dok", "pandas"])
def test_a_table_is_split_by_positions(spec, columns, form):
    table = {
        "array": lambda: TABLE,
        "list": TABLE.tolist,
        "pandas": named_table,
    }.get(form, lambda: sparse.csr_array(TABLE).asformat(form))()
    X = Modalities.from_table(table, spec)
    for name, positions in columns.items():
        assert samples_of(X[name]) == samples_of(TABLE[:, list(positions)])


@pytest.mark.parametrize(
    ("spec", "columns"),
    [
        ("__", {"audio": [0, 1], "video": [2, 3, 4], "text": [5]}),
        ({"a": "text__n", "b": ["video__x", "audio__x"]}, {"a": [5], "b": [2, 0]}),
        ({"a": slice("audio__y", "video__y")}, {"a": [1, 2, 3]}),
        ({"a": slice(None, "video__x")}, {"a": [0, 1, 2]}),
        ({"a": slice("video__y", None)}, {"a": [3, 4, 5]}),
    ],
)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_table_is_split_by_names(spec, columns, library):
    table = named_table()
    if library == "polars":
        table = pytest.importorskip("polars").DataFrame(table.to_dict("list"))
    X = Modalities.from_table(table, spec)
    assert X.names == tuple(columns)
    for name, positions in columns.items():
        assert type(X[name]) is type(table)
        assert samples_of(X[name]) == samples_of(TABLE[:, positions])


def test_adjacent_columns_are_views():
    X = Modalities.from_table(TABLE, {"a": [0, 1, 2], "b": slice(3, 6)})
    assert all(np.shares_memory(block, TABLE) for block in X.blocks)


@pytest.mark.parametrize(
    ("table", "spec", "error", "message"),
    [
        (TABLE, 7, ValueError, "7 modalities.*6 feature"),
        (TABLE, 0, ValueError, "at most one modality per feature"),
        (TABLE, [2, 3], ValueError, "add up to 5, but X has 6"),
        (TABLE, [6, 0], ValueError, "positive and cover all columns"),
        (TABLE, {}, ValueError, "names no modality"),
        (TABLE, {"a": []}, ValueError, "'a' has no columns"),
        (TABLE, {"a": slice(9, 12)}, ValueError, "'a' has no columns"),
        (TABLE, {"a__b": [0]}, ValueError, "'a__b' cannot name"),
        (TABLE, "__", ValueError, "no string column names.*DataFrame"),
        (TABLE, 2.5, TypeError, "2.5 is not a column spec"),
        (TABLE, True, TypeError, "True is not a column spec"),
        (TABLE, np.timedelta64(2, "s"), TypeError, "is not a column spec"),
        (TABLE, sparse.dok_array((2, 2)), TypeError, "is not a column spec"),
        ([[1.0, 2.0], [3.0]], 1, ValueError, "the table is not an array"),
        (np.float64, None, ValueError, r"\(n_samples, n_features\); got \(\)"),
        (named_table(), ".", ValueError, r"'audio__x' has no '\.'"),
        (TABLE[0], None, ValueError, r"\(n_samples, n_features\); got \(6,\)"),
        ([1.0, 2.0], 1, ValueError, r"\(n_samples, n_features\); got \(2,\)"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(table, spec, error, message):
    with pytest.raises(error, match=message):
        Modalities.from_table(table, spec)


@pytest.mark.parametrize(
    "blocks",
    [
        {"audio": AUDIO, "video": VIDEO},
        {"audio": AUDIO.astype("f4"), "video": VIDEO.astype("f4")},
        {"audio": np.ones((6, 1), int), "video": VIDEO},
        {"audio": sparse.csr_array(AUDIO), "video": sparse.csr_array(VIDEO)},
        {"text": np.array([["a", "b"]] * 6, object), "label": AUDIO.astype(object)},
    ],
)
def test_one_array_and_its_column_spec_give_the_modalities_back(blocks):
    X = Modalities(blocks)
    table, spec = X.to_array(), X.column_spec()
    assert table.shape == (6, sum(block.shape[1] for block in blocks.values()))
    back = Modalities.from_table(table, spec)
    assert back.names == X.names
    assert samples_of(back.to_array()) == samples_of(table)
    for name in X.names:
        assert samples_of(back[name]) == samples_of(X[name])


def test_one_array_holds_every_table_and_no_sequences(given):
    X = Modalities({"other": AUDIO, "it": given})
    if len(X["it"].shape) == 1:
        with pytest.raises(ValueError, match="'it' holds sequences"):
            X.to_array()
        with pytest.raises(ValueError, match="'it' holds sequences"):
            X.column_spec()
        return
    table = X.to_array()
    assert sparse.issparse(table) == sparse.issparse(X["it"])
    back = Modalities.from_table(table, X.column_spec())
    flat = [None if s is None else s[1] for s in samples_of(X["it"])]
    assert [None if s is None else s[1] for s in samples_of(back["it"])] == flat
    assert samples_of(back["other"]) == samples_of(AUDIO)


@pytest.mark.parametrize(
    "block",
    [
        AUDIO,
        AUDIO.astype(np.float32),
        AUDIO.astype(int),
        AUDIO > 3,
        AUDIO.astype(str),
        np.arange(24).reshape(6, 2, 2),
        sparse.csr_array(AUDIO),
        sparse.csr_matrix(AUDIO.astype(int)),
        pd.DataFrame(AUDIO),
    ],
)
def test_samples_that_lack_a_modality_are_nan_in_one_array(block):
    lacks = np.array([False, True, False, False, True, False])
    observed = np.column_stack([~lacks, np.ones(6, dtype=bool)])
    X = Modalities({"it": block, "other": VIDEO}, observed=observed)
    back = Modalities.from_table(X.to_array(), X.column_spec())
    assert_array_equal(back.observed, observed)
    kept = np.flatnonzero(~lacks)
    spelled = [values for _, values in samples_of(back[kept]["it"])]
    assert spelled == [values for _, values in samples_of(X[kept]["it"])]


def test_one_array_of_float32_stays_float32_where_modalities_are_missing():
    observed = np.array([[True, False]] + [[True, True]] * 5)
    X = Modalities([AUDIO.astype("f4"), VIDEO.astype("f4")], observed=observed)
    assert X.to_array().dtype == np.float32
