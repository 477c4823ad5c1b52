"""Equality, copies, pickles, hashes and display."""

import copy
import html
import pickle
import re

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from mmfusion import EarlyFusion, Modalities, modality_selector

from .block_zoo import BLOCKS, samples_of

AUDIO = np.arange(12.0).reshape(6, 2)


# Equality


def test_a_frame_equals_one_of_the_same_data(given):
    X = Modalities({"it": given, "audio": AUDIO})
    again = Modalities({"it": copy.deepcopy(given), "audio": AUDIO.copy()})
    assert again == X
    assert X[::-1] != X
    assert X[:3] != X


def test_nan_equals_nan():
    floats = np.array([[1.0, np.nan], [np.nan, np.nan]])
    for block in (
        floats,
        floats.astype(object),
        floats.astype(complex),
        sparse.csr_array(floats),
        pd.DataFrame(floats),
        [floats, None],
        [floats.astype(object), None],
    ):
        assert Modalities([block]) == Modalities([copy.deepcopy(block)])


@pytest.mark.parametrize(
    "other",
    [
        {"audio": AUDIO + 1e-9, "video": AUDIO},
        {"audio": AUDIO.astype("f4"), "video": AUDIO},
        {"audio": AUDIO[:, :1], "video": AUDIO},
        {"audio": sparse.csr_array(AUDIO), "video": AUDIO},
        {"audio": pd.DataFrame(AUDIO), "video": AUDIO},
        {"audio": [AUDIO] * 6, "video": AUDIO},
        {"audio": None, "video": AUDIO},
        {"video": AUDIO, "audio": AUDIO},
        {"sound": AUDIO, "video": AUDIO},
        {"audio": AUDIO},
    ],
)
def test_other_data_are_unequal(other):
    X = Modalities({"audio": AUDIO, "video": AUDIO})
    assert Modalities(other) != X
    assert Modalities(other) != X


def test_a_mask_is_part_of_equality():
    mask = np.ones((6, 1), dtype=bool)
    X = Modalities([AUDIO])
    assert Modalities([AUDIO], observed=mask) == X
    mask[2] = False
    assert Modalities([AUDIO], observed=mask) != X


def test_the_storage_of_zeros_and_duplicates_does_not_matter():
    values, columns = [3.0, 0.0, 1.0, 1.0], [2, 0, 1, 1]
    untidy = sparse.csr_array((values, columns, [0, 2, 4]), shape=(2, 3))
    tidy = sparse.csr_array([[0.0, 0.0, 3.0], [0.0, 2.0, 0.0]])
    assert Modalities([untidy]) == Modalities([tidy])
    wide = tidy.copy()
    wide.indices, wide.indptr = wide.indices.astype("i8"), wide.indptr.astype("i8")
    assert Modalities([wide]) == Modalities([tidy])


def test_the_row_of_a_sparse_value_matters():
    one, other = sparse.csr_array([[1.0], [0.0]]), sparse.csr_array([[0.0], [1.0]])
    assert Modalities([one]) != Modalities([other])


def test_a_frame_is_unlike_other_objects_and_not_hashable():
    X = Modalities([AUDIO])
    assert X != "X"
    assert AUDIO.tolist() != X
    with pytest.raises(TypeError, match="unhashable"):
        hash(X)


# Copies


def test_methods_do_not_change_the_data(given):
    data = {"it": given, "audio": AUDIO}
    before = samples_of(copy.deepcopy(given))
    X = Modalities(data, observed=np.eye(6, 2) == 0)
    copied = X.copy()
    column = X.iloc[[1, 0, 2, 3, 4, 5], 0]
    column.index = X.index
    copied["it"] = column
    X.concat(copied[::-1])
    if len(X["it"].shape) > 1:
        X.to_array()
    assert list(data) == ["it", "audio"]
    assert data["it"] is given
    assert samples_of(given) == before


def test_assigning_a_column_of_a_copy_leaves_the_original_alone():
    lacking = np.array([[True, True]] * 5 + [[True, False]])
    for X in (
        Modalities({"audio": AUDIO, "video": AUDIO + 1}),
        Modalities({"audio": AUDIO, "video": AUDIO + 1}, observed=lacking),
    ):
        before = copy.deepcopy(X)
        permuted = X.copy()
        column = X.iloc[[5, 4, 3, 2, 1, 0], 1]
        column.index = permuted.index
        permuted["video"] = column
        assert before == X
        np.testing.assert_array_equal(permuted["video"], X["video"][::-1])
        np.testing.assert_array_equal(permuted.observed[:, 1], X.observed[::-1, 1])
        np.testing.assert_array_equal(permuted.observed[:, 0], X.observed[:, 0])
        assert permuted["audio"] is X["audio"]


@pytest.mark.parametrize("column", [AUDIO, Modalities([AUDIO[:3]]), None])
def test_only_a_column_of_a_frame_can_be_assigned(column):
    X = Modalities({"audio": AUDIO})
    with pytest.raises(TypeError, match=r"X\[\['audio'\]\].*new Modalities"):
        X["audio"] = column
    with pytest.raises(KeyError, match="no modality 'video'"):
        X["video"] = X[["audio"]]


# Pickles and hashes


@pytest.mark.parametrize("observe", [False, True])
def test_a_pickle_restores_the_frame(given, observe):
    X = Modalities({"it": given, "audio": AUDIO}, observed=np.eye(6, 2) == 0)
    if observe:
        assert not X.observed.all()
    for back in (pickle.loads(pickle.dumps(X)), copy.deepcopy(X), copy.copy(X)):
        assert back == X
        assert samples_of(back["it"]) == samples_of(X["it"])


def test_reading_a_frame_does_not_change_its_hash(given):
    X = Modalities({"it": given, "audio": AUDIO})
    before = joblib.hash(X)
    for look in (
        lambda: X.observed,
        lambda: X[1:3],
        lambda: X[[2, 1]],
        lambda: X.copy(),
        lambda: X == X,
        lambda: repr(X) + X._repr_html_(),
        lambda: len(X["it"].shape) == 1 or X.to_array(),
        lambda: joblib.hash(X),
    ):
        look()
        assert joblib.hash(X) == before


# joblib itself hashes these by more than their values
UNSTABLE = {"memmap", "Fortran order"}


@pytest.mark.parametrize("kind", sorted(set(BLOCKS) - UNSTABLE))
def test_equal_data_have_one_hash(make_given, kind):
    X = Modalities({"it": make_given(kind), "audio": AUDIO})
    again = Modalities({"it": make_given(kind), "audio": AUDIO.copy()})
    assert joblib.hash(again) == joblib.hash(X)
    assert joblib.hash(pickle.loads(pickle.dumps(X))) == joblib.hash(X)
    assert joblib.hash(X[[3, 1]]) == joblib.hash(X[[3, 1]])


@pytest.mark.parametrize("sort", [True, False])
def test_fitting_does_not_change_the_hash_of_sparse_data(sort):
    text = sparse.random(9, 5, density=0.5, random_state=0, format="csr")
    if not sort:
        text = sparse.csr_array((text.data[::-1], text.indices[::-1], text.indptr))
    X = Modalities({"text": text, "audio": np.arange(18.0).reshape(9, 2)})
    before = joblib.hash(X)
    EarlyFusion().fit(X).transform(X)
    assert joblib.hash(X) == before


def test_other_data_have_another_hash():
    frames = [
        Modalities({"audio": AUDIO}),
        Modalities({"sound": AUDIO}),
        Modalities({"audio": AUDIO + 1e-9}),
        Modalities({"audio": AUDIO.astype("f4")}),
        Modalities({"audio": AUDIO}, observed=np.arange(6)[:, None] > 0),
        Modalities({"audio": AUDIO})[:5],
        Modalities({"audio": AUDIO})[::-1],
        Modalities({"audio": sparse.csr_array(AUDIO)}),
    ]
    assert len({joblib.hash(X) for X in frames}) == len(frames)


def test_names_from_numpy_and_from_python_hash_alike():
    one, other = Modalities([AUDIO], ["a"]), Modalities([AUDIO], np.array(["a"]))
    assert joblib.hash(one) == joblib.hash(other)


# One array


def test_implicit_conversion_to_one_array_is_refused_with_the_remedy():
    X = Modalities({"audio": AUDIO})
    for convert in (
        np.asarray,
        np.array,
        np.mean,
        lambda X: np.asarray(X, dtype=float),
    ):
        with pytest.raises(
            TypeError, match=r"X\.to_array\(\).*modalities=X\.column_spec"
        ):
            convert(X)
    with pytest.raises(TypeError, match="to_array"):
        Modalities([X])


# Printing


def test_the_repr_lists_names_kinds_shapes_dtypes_and_missing_samples():
    X = Modalities(
        {
            "audio": AUDIO.astype("f4"),
            "text": sparse.csr_array(AUDIO),
            "table": pd.DataFrame({"a": range(6), "b": list("uvwxyz")}),
            "frames": [np.ones((n, 3)) if n else None for n in (0, 2, 5, 4, 0, 2)],
            "clips": [np.ones((4, n)) for n in (1, 2, 1, 1, 1, 1)],
            "nothing": None,
        }
    )
    assert repr(X).splitlines() == [
        "Modalities of 6 samples x 6 modalities",
        "  audio    dense (6, 2) float32",
        "  text     sparse (6, 2) float64",
        "  table    frame (6, 2) mixed",
        "  frames   sequences (6, 2..5, 3) float64, 2 missing",
        "  clips    sequences (6, 4, ?) float64",
        "  nothing  sequences (6, -) -, 6 missing",
    ]


def test_frames_of_any_kind_print(given):
    for rows in (slice(None), slice(0, 0), [3]):
        X = Modalities({"it": given})[rows]
        lines = repr(X).splitlines()
        title, _, _ = lines[0].partition(", labelled ")
        assert title == f"Modalities of {len(X)} samples x 1 modalities"
        assert re.match(rf"  it  \w+ \({len(X)}, .*\) \S+", lines[1])
        cells = re.findall("<td>(.*?)</td>", html.unescape(X._repr_html_()))
        assert cells[0] == "it"
        assert all(cell in lines[1] for cell in cells[:4])


def test_html_is_escaped():
    page = Modalities({"<b>&": AUDIO})._repr_html_()
    assert "&lt;b&gt;&amp;" in page
    assert "<b>" not in page


# modality_selector


def test_a_selector_gives_positions_pickles_and_prints():
    X = Modalities({"audio": AUDIO, "video": AUDIO, "text": AUDIO})
    one, two = modality_selector("video"), modality_selector("text", "audio")
    for selector, positions in ((one, 1), (two, [2, 0])):
        assert selector(X) == positions
        assert pickle.loads(pickle.dumps(selector))(X) == positions
    assert repr(two) == "modality_selector('text', 'audio')"
    with pytest.raises(KeyError, match="no modality 'image'"):
        modality_selector("image")(X)
    with pytest.raises(ValueError, match="at least one"):
        modality_selector()
