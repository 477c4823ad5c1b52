"""Saving and loading npz files: a lossless round trip without running code."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mmfusion import Modalities
from mmfusion.datasets import load_npz, make_multimodal_sequences, save_npz

TABLES = [
    "100leaves",
    "acm_3v",
    "avdigits_fsdd_mnist",
    "bbc_4v",
    "bdgp_3v",
    "breast_tcga_3v",
    "citeseer_2v",
    "coil20_3pose",
    "handwritten_mfeat",
    "mnist4_3v",
    "mosi_3v",
    "mosi_context_3v",
    "movies617",
    "msrcv1_5v",
    "ngs_3v",
    "nutrimouse_2v_diet",
    "proteinfold_12v",
    "snareseq_2v",
    "webkb203_3v",
    "wikipedia693",
]
SEQUENCES = ["ts_articularyword", "ts_basicmotions", "ts_japanesevowels"]
OTHER_LAYOUTS = ["align_vienna4x22", "align_warp_basicmotions", "ts_weizmann"]


def round_trip(tmp_path, X, *args, **kwargs):
    save_npz(tmp_path / "file.npz", X, *args, **kwargs)
    return load_npz(tmp_path / "file.npz")


def test_all_real_data_sets_are_tested(shared_data):
    found = {path.stem for path in shared_data.glob("*.npz")}
    assert found == {*TABLES, *SEQUENCES, *OTHER_LAYOUTS}


@pytest.mark.parametrize("name", TABLES)
def test_real_tables_are_loaded_unchanged(shared_data, name):
    loaded = load_npz(shared_data / f"{name}.npz")
    with np.load(shared_data / f"{name}.npz") as raw:
        assert loaded.data.names == tuple(raw["view_names"])
        assert loaded.source == raw["source"]
        assert loaded.source in loaded.DESCR
        np.testing.assert_array_equal(loaded.target, raw["y"])
        for v, block in enumerate(loaded.data.blocks):
            assert block.dtype == raw[f"view_{v}"].dtype
            np.testing.assert_array_equal(block, raw[f"view_{v}"])
        if "label_values" in raw:
            np.testing.assert_array_equal(loaded.target_names, raw["label_values"])
        else:
            assert loaded.target_names is None


def test_keys_outside_the_layout_are_extra_arrays(shared_data):
    loaded = load_npz(shared_data / "mosi_context_3v.npz")
    assert loaded.extra["lengths"].sum() == len(loaded.data)


@pytest.mark.parametrize("name", SEQUENCES)
def test_real_sequences_are_loaded_unchanged(shared_data, name):
    loaded = load_npz(shared_data / f"{name}.npz")
    with np.load(shared_data / f"{name}.npz") as raw:
        np.testing.assert_array_equal(loaded.target, raw["y"])
        np.testing.assert_array_equal(loaded.extra["split"], raw["split"])
        assert loaded.data.shape == (len(raw["y"]), raw["view_of_channel"].max() + 1)
        start = 0
        for i, length in enumerate(raw["lengths"]):
            frames = raw["frames"][start : start + length] if i < 20 else None
            start += length
            for v, block in enumerate(loaded.data.blocks):
                assert len(block[i]) == length
                if frames is not None:
                    columns = raw["view_of_channel"] == v
                    np.testing.assert_array_equal(block[i], frames[:, columns])


@pytest.mark.parametrize("name", OTHER_LAYOUTS)
def test_real_files_of_another_layout_are_refused(shared_data, name):
    with pytest.raises(ValueError, match=f"{name}.npz: .* another layout .*'source'"):
        load_npz(shared_data / f"{name}.npz")


@pytest.mark.parametrize("name", ["nutrimouse_2v_diet", "ts_basicmotions"])
def test_a_real_file_saved_again_has_the_same_arrays(shared_data, tmp_path, name):
    given = load_npz(shared_data / f"{name}.npz")
    save_npz(
        tmp_path / "again.npz",
        given.data,
        given.target,
        target_names=given.target_names,
        source=given.source,
        extra=given.extra,
    )
    with (
        np.load(shared_data / f"{name}.npz") as raw,
        np.load(tmp_path / "again.npz") as again,
    ):
        assert set(raw) <= set(again) <= {*raw, "view_names"}
        for key in raw:
            assert raw[key].dtype == again[key].dtype
            np.testing.assert_array_equal(raw[key], again[key])


def numbers(rng, shape, dtype):
    return rng.integers(0, 5, shape).astype(dtype)


def draw_block(rng, kind, n_samples):
    dtype = rng.choice(["float32", "float64", "int16", "bool", "<U3"])
    width = int(rng.integers(0 if kind in ("sequences", "one clock") else 1, 4))
    if kind == "dense":
        block = numbers(rng, (n_samples, width), dtype)
        if block.dtype.kind == "f":
            block[rng.random(n_samples) < 0.3] = np.nan
        return block
    if kind == "images":
        return numbers(rng, (n_samples, 2, 3), dtype)
    if kind == "sparse":
        shape = (n_samples, width)
        return sparse.csr_array(numbers(rng, shape, float) * (rng.random(shape) < 0.4))
    if kind == "absent":
        return None
    if kind == "one clock":
        return [numbers(rng, (1 + i, width), "int16") for i in range(n_samples)]
    return [
        None if rng.random() < 0.3 else numbers(rng, (rng.integers(0, 4), width), dtype)
        for _ in range(n_samples)
    ]


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["dense", "images", "sparse", "absent", "sequences"]),
        min_size=1,
        max_size=4,
    )
    | st.lists(st.just("one clock"), min_size=1, max_size=3),
    st.integers(1, 5),
    st.booleans(),
    st.integers(0, 1000),
)
def test_loaded_data_equal_the_saved_ones(
    tmp_path_factory, kinds, n_samples, masked, seed
):
    rng = np.random.default_rng(seed)
    mask = rng.random((n_samples, len(kinds))) < 0.7 if masked else None
    blocks = [draw_block(rng, kind, n_samples) for kind in kinds]
    if all(b is None for b in blocks):
        return
    X = Modalities(blocks, observed=mask)
    y = rng.integers(0, 3, n_samples)
    loaded = round_trip(tmp_path_factory.mktemp("npz"), X, y)
    assert loaded.data == X
    np.testing.assert_array_equal(loaded.target, y)


def test_sequences_with_a_common_clock_are_stored_in_one_array(tmp_path):
    lengths = [3, 1, 4]
    X = Modalities(
        {
            "acc": [np.full((n, 2), n, dtype="f4") for n in lengths],
            "gyr": [np.full((n, 1), -n, dtype="f4") for n in lengths],
        }
    )
    assert round_trip(tmp_path, X).data == X
    with np.load(tmp_path / "file.npz") as raw:
        assert set(raw) == {"view_names", "frames", "lengths", "view_of_channel"}
        assert raw["frames"].shape == (8, 3)
        assert raw["lengths"].tolist() == lengths
        assert raw["view_of_channel"].tolist() == [0, 0, 1]


def test_sequences_with_different_clocks_are_stored_by_modality(tmp_path):
    X, y, paths = make_multimodal_sequences(5, missing_rate=0.4, random_state=0)
    loaded = round_trip(tmp_path, X, y, extra={"paths": paths})
    assert loaded.data == X
    np.testing.assert_array_equal(loaded.extra["paths"], paths)
    with np.load(tmp_path / "file.npz") as raw:
        assert raw["lengths_0"].tolist() == [
            -1 if e is None else len(e) for e in X.blocks[0]
        ]
        assert len(raw["frames_0"]) == sum(n for n in raw["lengths_0"] if n > 0)


def test_sparse_and_dense_modalities_keep_their_kind(tmp_path):
    X = Modalities({"words": sparse.eye(4, 1000, format="csc"), "all": np.eye(4)})
    loaded = round_trip(tmp_path, X).data
    assert isinstance(loaded["words"], sparse.csr_array)
    assert isinstance(loaded["all"], np.ndarray)
    assert loaded == X


def test_saving_does_not_change_the_data(tmp_path):
    words = sparse.csr_array(([1.0, 2.0, 3.0], [1, 0, 1], [0, 3]), shape=(1, 2))
    before = pickle.dumps(words)
    loaded = round_trip(tmp_path, [words]).data.blocks[0]
    assert pickle.dumps(words) == before
    np.testing.assert_array_equal(loaded.toarray(), [[2.0, 4.0]])


def test_memmaps_and_unordered_arrays_are_saved(tmp_path):
    np.save(tmp_path / "big.npy", np.arange(12.0).reshape(3, 4))
    big = np.load(tmp_path / "big.npy", mmap_mode="r")
    X = Modalities([big, np.asfortranarray(big), big[:, ::2]])
    assert round_trip(tmp_path, X).data == X


def test_a_mask_over_values_is_restored(tmp_path):
    X = Modalities([np.eye(2), np.eye(2)], observed=np.array([[True, False]] * 2))
    loaded = round_trip(tmp_path, X).data
    np.testing.assert_array_equal(loaded.observed, X.observed)
    np.testing.assert_array_equal(loaded.blocks[1], np.eye(2))


@pytest.mark.parametrize(
    "labels",
    [["c", "a", "b"], [3, 1, 2], [0.5, 1.5, 2.5], pd.date_range("2020", periods=3)],
)
def test_row_labels_are_restored(tmp_path, labels):
    X = Modalities([np.arange(6.0).reshape(3, 2)])
    X.index = labels
    loaded = round_trip(tmp_path, X, pd.Series([0, 1, 0], index=X.index)).data
    assert loaded == X
    assert list(loaded.index) == list(X.index)
    with pytest.raises(ValueError, match="row labels of y differ"):
        round_trip(tmp_path, X, pd.Series([0, 1, 0], index=X.index[::-1]))


def test_row_labels_of_several_levels_cannot_be_saved(tmp_path):
    X = Modalities([np.eye(2)])
    X.index = pd.MultiIndex.from_product([["a"], [1, 2]])
    with pytest.raises(TypeError, match="row_labels holds Python objects"):
        save_npz(tmp_path / "file.npz", X)


def test_target_names_source_and_extra_arrays_are_restored(tmp_path):
    loaded = round_trip(
        tmp_path,
        [np.eye(2)],
        [1, 0],
        target_names=["no", "yes"],
        source="a paper",
        extra={"file": ["a", "b"], "speaker": pd.Series(["x", "y"])},
    )
    assert loaded.target_names[loaded.target].tolist() == ["yes", "no"]
    assert loaded.source == "a paper"
    assert loaded.extra["file"].tolist() == ["a", "b"]
    assert loaded.extra["speaker"].tolist() == ["x", "y"]
    X, y = load_npz(tmp_path / "file.npz", return_X_y=True)
    assert loaded.data == X
    assert y.tolist() == [1, 0]


def test_a_file_without_target_has_none(tmp_path):
    loaded = round_trip(tmp_path, [np.eye(2)])
    assert loaded.target is None
    assert loaded.target_names is None
    assert loaded.source == ""
    assert loaded.extra == {}


def test_no_suffix_is_appended_to_the_path(tmp_path):
    save_npz(str(tmp_path / "no_suffix"), [np.eye(2)])
    assert [p.name for p in tmp_path.iterdir()] == ["no_suffix"]
    assert load_npz(str(tmp_path / "no_suffix")).data.shape == (2, 1)


def test_invalid_names_are_replaced(tmp_path):
    given = ["a__b", "a_b", "", "a_b", "ok"]
    views = {f"view_{v}": np.eye(2) for v in range(5)}
    np.savez(tmp_path / "names.npz", view_names=given, **views)
    names = load_npz(tmp_path / "names.npz").data.names
    assert names == ("a_b", "a_b_1", "modality_2", "a_b_3", "ok")


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bomb = np.array([[Bomb()]], dtype=object)
    np.savez(tmp_path / "bomb.npz", view_0=bomb)
    with pytest.raises(ValueError, match=r"bomb.npz: 'view_0' cannot be read"):
        load_npz(tmp_path / "bomb.npz")
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(bomb))
    with pytest.raises(ValueError, match="is not an npz file"):
        load_npz(tmp_path / "pickle.npz")
    assert not (tmp_path / "exploded").exists()


EYE = np.eye(2)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (dict(features=EYE), r"another layout .*\['features'\]"),
        (dict(view_0=EYE, view_2=EYE), "modality 1 is missing or incomplete"),
        (dict(view_0_data=np.ones(1)), "modality 0 .* view_0_indptr"),
        (dict(view_0=EYE, view_1=np.eye(3)), "disagree on the number of samples"),
        (dict(view_0=EYE, view_names=["a", "b"]), "2 names for 1 modal"),
        (dict(view_0=EYE, y=[1]), r"y has shape \(1,\) for 2 samples"),
        (dict(view_0=EYE, y=[0, 2], label_values=["a", "b"]), "0 to 1; got int64"),
        (dict(view_0=EYE, observed=[[1], [0]]), "observed is bool"),
        (dict(frames=EYE, lengths=[1, 2]), "adds up to 3 frames; the file has 2"),
        (dict(frames=EYE, lengths=[1.0, 1.0]), "lengths has float64"),
        (dict(frames=np.ones(2), lengths=[1, 1]), r"frames has shape \(2,\)"),
        (dict(frames=EYE, lengths=[2], view_of_channel=[0, 2]), r"positions \[0, 2\]"),
        (dict(frames=EYE, lengths=[2], view_of_channel=[0, 10**9]), "1000000000"),
        (dict(frames=EYE, lengths=[2], view_of_channel=[0, -1]), r"positions \[-1"),
        (dict(frames=EYE, lengths=[2], view_of_channel=[0.0, 1.0]), "got float64"),
        (dict(frames_0=EYE, lengths_0=[3]), "lengths_0 has values from 3 to 3"),
        (dict(frames_0=EYE, lengths_0=[2, -2]), "lengths_0 has values from -2 to 2"),
        (dict(frames=EYE, lengths=[2], view_0=EYE), "both view_0 and frames"),
        (dict(view_0=EYE, y=[0, 1], label_values="ab"), r"have shape \(\)"),
        (dict(view_0=EYE, source=["a", "b"]), r"source has <U1 of shape \(2,\)"),
        (dict(view_0=1.0), "'modality_0' is a float"),
        (dict(view_0=EYE, row_labels=["a"]), "row labels have shape"),
    ],
)
def test_inconsistent_files_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(ValueError, match=f"file.npz: .*{message}"):
        load_npz(tmp_path / "file.npz")


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        load_npz(tmp_path / "nowhere.npz")


@pytest.mark.parametrize(
    ("X", "options", "error", "message"),
    [
        ({"a": pd.DataFrame(EYE)}, {}, TypeError, "'a' is a DataFrame"),
        ({"a": EYE.astype(object)}, {}, TypeError, "'a' holds Python objects"),
        ([EYE], dict(y=[1]), ValueError, r"shape \(1,\) for 2 samples"),
        ([EYE], dict(y=[None, {}]), TypeError, "y holds Python objects"),
        ([EYE], dict(y=1), ValueError, r"shape \(\) for 2 samples"),
        ([EYE], dict(y=[0, 1], target_names=["a"]), ValueError, "of 1 classes"),
        ([EYE], dict(y=["a", "b"], target_names=["a", "b"]), ValueError, "'a' to 'b'"),
        ([EYE], dict(extra={"view_0": EYE}), ValueError, "key of the layout"),
        ([EYE], dict(extra={"frames_7": EYE}), ValueError, "key of the layout"),
        ([EYE], dict(extra={3: EYE}), TypeError, "extra: 3 is not a name"),
        ([EYE], dict(extra={"": EYE}), ValueError, "cannot be called ''"),
        ([EYE], dict(extra={"a\0b": EYE}), ValueError, "without NUL"),
        ([EYE], dict(extra={"\ud800": EYE}), ValueError, "cannot be called"),
        ([EYE], dict(extra={"a" * 10**5: EYE}), ValueError, "cannot be called"),
        ([EYE], dict(extra=[EYE]), TypeError, "extra is a list"),
        (
            [EYE],
            dict(extra={"a": [[1], [1, 2]]}),
            ValueError,
            r"extra\['a'\] cannot be",
        ),
        ([EYE], dict(extra={"a": "\ud800"}), ValueError, "'a' cannot be saved"),
        (
            [EYE],
            dict(extra={"a": np.zeros(1, [(f"field{i}", "f8") for i in range(999)])}),
            ValueError,
            "'a' cannot be saved: it has 999 fields",
        ),
        ([EYE], dict(source=object()), TypeError, "source is a object"),
        ([EYE], dict(y=np.ma.masked_equal([0, 1], 0)), ValueError, "y is masked"),
        ([EYE], dict(y=lambda: 0), TypeError, "y is a function; give an array"),
        (
            {"a": [np.ones((2, 3)), None, np.ones((2, 4))]},
            {},
            ValueError,
            r"'a': the sequence of sample 2 is float64 of shape \(2, 4\), that of "
            r"sample 0 .* \(2, 3\)",
        ),
        (EYE, {}, TypeError, "from_table"),
    ],
)
def test_data_that_cannot_be_saved_are_refused_and_the_old_file_remains(
    tmp_path, X, options, error, message
):
    old = round_trip(tmp_path, [np.arange(6.0).reshape(3, 2)], [0, 1, 2])
    with pytest.raises(error, match=message):
        save_npz(tmp_path / "file.npz", X, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["file.npz"]
    assert load_npz(tmp_path / "file.npz").data == old.data


@pytest.mark.parametrize("path", [None, 3, "", "a\0b"])
def test_invalid_paths_are_refused(path):
    with pytest.raises((TypeError, ValueError), match="path"):
        save_npz(path, [EYE])
    with pytest.raises((TypeError, ValueError), match="path"):
        load_npz(path)
