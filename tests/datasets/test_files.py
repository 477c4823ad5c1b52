import gzip

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from mmfusion import Modalities
from mmfusion.datasets import load_file, load_npz, load_table, save_npz

TEXT = "id,a_pitch,a_volume,smile,label\nann,1,2,3,x\nbob,,,6,y\ncem,5,,7,x\n"
SPEC = {"audio": "a_*", "video": ["smile"]}


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(TEXT)
    return path


def test_csv_tsv_and_parquet_hold_the_same_data(table, tmp_path):
    frame = pd.read_csv(table)
    frame.to_csv(tmp_path / "people.tsv", sep="\t", index=False)
    frame.to_csv(tmp_path / "semicolons.csv", sep=";", index=False)
    frame.to_parquet(tmp_path / "people.parquet")
    (tmp_path / "people.csv.gz").write_bytes(gzip.compress(TEXT.encode()))
    options = {"modalities": SPEC, "target": "label", "index": "id"}
    X, y = load_file(table, **options)
    assert_array_equal(y, ["x", "y", "x"])
    assert list(X.index) == ["ann", "bob", "cem"]
    assert_array_equal(X.observed, [[True, True], [False, True], [True, True]])
    names = ("people.tsv", "semicolons.csv", "people.parquet", "people.csv.gz")
    for name in names:
        again, labels = load_file(tmp_path / name, **options)
        assert again == X
        assert_array_equal(labels, y)


@pytest.mark.parametrize(
    "spec",
    [
        SPEC,
        {"audio": ["a_pitch", "a_volume"], "video": "smile"},
        {"audio": slice(1, 3), "video": slice(3, 4)},
        {"audio": slice("a_pitch", "a_volume"), "video": [3]},
        {"audio": "a_?????*", "video": "s*e"},
    ],
)
def test_forms_of_a_column_spec_agree(table, spec):
    X = load_table(table, spec, target="label").data
    expected = load_table(table, SPEC, target="label").data
    assert expected == X
    assert X["video"].columns.tolist() == ["smile"]


def test_columns_without_target_and_index_are_one_modality(table):
    X, _ = load_file(table, target="label", index="id")
    assert list(X["modality_0"]) == ["a_pitch", "a_volume", "smile"]
    X, _ = load_file(table, target="label", index="id", modalities=[2, 1])
    assert list(X["modality_1"]) == ["smile"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "class"}, "target='class' is not one of the columns"),
        ({"index": "name"}, "index='name' is not one of the columns"),
        ({"modalities": {"audio": "b_*"}}, "no column matches 'b_"),
        (
            {"modalities": {"all": slice(1, 5)}, "target": "label"},
            "modality 'all' contains 'label', which is the target",
        ),
        ({"target": "a_pitch"}, "target 'a_pitch' is empty in row 1"),
        ({"modalities": {"audio": ["a_pich"]}}, "did you mean"),
    ],
)
def test_errors_of_a_table_name_the_column(table, options, message):
    with pytest.raises(ValueError, match=message):
        load_table(table, **options)


def test_load_file_of_npz_is_that_of_load_npz(tmp_path):
    X = Modalities({"audio": np.eye(4), "video": np.ones((4, 2))})
    save_npz(tmp_path / "data", X, [0, 1, 0, 1])
    loaded, y = load_file(tmp_path / "data")  # by its content: it has no extension
    assert loaded == X
    assert_array_equal(y, [0, 1, 0, 1])


def test_refused_files_name_their_loader(table, tmp_path):
    with pytest.raises(ValueError, match=r"not an npz file.*datasets.load_table"):
        load_npz(table)
    save_npz(tmp_path / "data.npz", [np.eye(3)])
    with pytest.raises(ValueError, match=r"table.*load it with mmf.*load_npz"):
        load_table(tmp_path / "data.npz")


def test_files_without_a_loader_are_refused(tmp_path):
    (tmp_path / "notes.doc").write_bytes(b"\0\1\2")
    with pytest.raises(ValueError, match=r"none of the formats .npz, .mat, .csv"):
        load_file(tmp_path / "notes.doc")
    with pytest.raises(ValueError, match="is a folder"):
        load_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_file(tmp_path / "absent.csv")


def test_unknown_options_are_refused(table):
    with pytest.raises(TypeError, match=r"'targets' is not an option .* .csv; did"):
        load_file(table, targets="label")
    with pytest.raises(TypeError, match="return_X_y"):
        load_file(table, return_X_y=False)
