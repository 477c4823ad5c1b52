"""Refusal of invalid and damaged input in every form."""

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from mmfusion import (
    EarlyFusion,
    EarlyFusionClassifier,
    LateFusionRegressor,
    Modalities,
    PerModality,
)
from mmfusion.mkl import MKLRegressor

GOOD = np.arange(12.0).reshape(6, 2)


class Endless:
    """An object that NumPy would read element by element, endlessly."""

    shape = (6, 2)

    def __len__(self):
        return 10**9

    def __getitem__(self, key):
        return self


def input_forms(data):
    """Return the data as a table, a block, an entry of a list, and a sequence."""
    return {
        "table": lambda: EarlyFusion().fit(data),
        "from_table": lambda: Modalities.from_table(data),
        "block": lambda: Modalities({"a": GOOD, "b": data}),
        "list": lambda: EarlyFusion().fit([GOOD, data]),
        "raw": lambda: PerModality("passthrough").fit(data),
    }


@pytest.mark.parametrize("way", input_forms(None))
@pytest.mark.parametrize(
    "data",
    [Endless(), (i for i in range(6)), {1, 2}.union],
    ids=lambda data: type(data).__name__,
)
def test_an_unknown_type_is_refused_at_once_by_name(way, data):
    with pytest.raises(TypeError, match=type(data).__name__):
        input_forms(data)[way]()


def test_an_unknown_type_within_a_list_is_named_with_its_sample():
    with pytest.raises(TypeError, match="'b': sample 1 is a Endless"):
        Modalities({"b": [np.eye(2), Endless()]})


@pytest.mark.parametrize("package", ["anndata", "mudata"])
def test_the_error_of_anndata_tables_names_a_remedy_that_works(package):
    kind = type("Data", (Endless,), {"__module__": f"{package}._core"})
    with pytest.raises(TypeError, match=r"to_df\(\)"):
        EarlyFusion().fit(kind())


def damaged(form, indices, indptr=(0, 1, 2)):
    matrix = getattr(sparse, form)(np.eye(2))
    matrix.indices = np.array(indices, dtype=matrix.indices.dtype)
    matrix.indptr = np.array(indptr, dtype=matrix.indptr.dtype)
    return matrix


@pytest.mark.parametrize("way", input_forms(None))
@pytest.mark.parametrize("form", ["csr_array", "csr_matrix", "csc_array", "csc_matrix"])
@pytest.mark.parametrize(
    ("indices", "indptr"),
    [
        ((0, 10**6), (0, 1, 2)),
        ((0, -1), (0, 1, 2)),
        ((0, 1), (0, 2, 1)),
        ((0, 1), (0, 1, 10**6)),
        ((0, 1), (1, 1, 2)),
    ],
)
def test_a_damaged_sparse_matrix_is_refused(way, form, indices, indptr):
    matrix = damaged(form, indices, indptr)
    if way in ("block", "list"):
        matrix = matrix.tocsr() if form.startswith("csr") else matrix
    with pytest.raises(ValueError, match="damaged sparse matrix"):
        input_forms(matrix)[way]()


@pytest.mark.parametrize("way", input_forms(None))
def test_coordinates_out_of_range_are_refused(way):
    matrix = sparse.coo_array(np.eye(6, 2))
    matrix.col[1] = 10**6
    with pytest.raises(ValueError, match=r"damaged sparse matrix.*axis 1"):
        input_forms(matrix)[way]()


@pytest.mark.parametrize("way", input_forms(None))
@pytest.mark.parametrize("shape", [(6,), (6, 2, 2)])
def test_sparse_arrays_of_other_dimensions_are_refused(way, shape):
    matrix = pytest.importorskip("scipy", "1.15").sparse.coo_array(np.ones(shape))
    with pytest.raises(ValueError, match=f"{len(shape)} dimensions.*needs 2"):
        input_forms(matrix)[way]()


@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
def test_int64_indices_become_int32_where_they_suffice(form, kind):
    dense = np.arange(24.0).reshape(6, 4) % 3
    matrix = getattr(sparse, f"{form}_{kind}")(dense)
    for name in ("indices", "indptr", "row", "col"):
        if form in ("csr", "csc", "bsr") and name.startswith("ind"):
            setattr(matrix, name, getattr(matrix, name).astype(np.int64))
    block = Modalities([matrix])["modality_0"]
    assert block.indices.dtype == block.indptr.dtype == np.int32
    np.testing.assert_array_equal(block.toarray(), matrix.toarray())
    assert EarlyFusion(None).fit_transform(matrix).shape == (6, 4)


def test_indices_beyond_int32_stay():
    wide = sparse.csr_array(
        (np.ones(2), np.array([1, 2**40]), np.array([0, 1, 2])), shape=(2, 2**41)
    )
    assert Modalities([wide])["modality_0"].indices.dtype == np.int64


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x", "text"),
        (b"1", "text"),
        ("1", "text"),
        (datetime.date(2020, 1, 1), "date"),
        (pd.Timestamp("2020"), "Timestamp"),
        (pd.NaT, "NaTType"),
        (np.timedelta64(1, "s"), "timedelta64"),
        ({}, "dict"),
        (1j, "complex"),
        (10**400, "too large"),
        (np.array([1.0, 2.0]), "ndarray"),
    ],
)
@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame])
def test_an_object_that_is_no_number_is_named_with_its_cell(value, message, form):
    cells = GOOD.astype(object)
    cells[3, 1] = value
    where = "column 1" if form is pd.DataFrame else "feature 1"
    with pytest.raises((ValueError, TypeError), match=f"sample 3, {where}.*{message}"):
        EarlyFusion().fit({"a": form(cells), "b": GOOD})
    if value is not pd.NaT:  # which, alone in its modality, is one that is missing
        where = "column 1" if form is pd.DataFrame else "feature 0"
        match = f"modality_1.*sample 3, {where}.*{message}"
        with pytest.raises((ValueError, TypeError), match=match):
            EarlyFusion(modalities=2).fit(form(cells))


@given(
    st.lists(
        st.one_of(
            st.floats(-1e9, 1e9),
            st.integers(-99, 99),
            st.booleans(),
            st.fractions(),
            st.decimals(-99, 99),
        ),
        min_size=2,
        max_size=8,
    )
)
def test_objects_that_are_numbers_are_their_floats(cells):
    objects = np.array([*cells, None], dtype=object)[:, None]
    expected = [*map(float, cells), np.nan]
    frame = Modalities({"a": objects[:-1], "b": np.ones((len(cells), 1))})
    fused = EarlyFusion(None).fit_transform(frame)
    np.testing.assert_array_equal(fused[:, 0], expected[:-1])
    table = pd.DataFrame({"x": objects[:-1, 0], "y": 1.0})
    np.testing.assert_array_equal(
        EarlyFusion(None).fit_transform({"a": table})[:, 0], expected[:-1]
    )


def test_numbers_of_other_types_are_numbers():
    cells = np.array(
        [[Decimal("1.5")], [Fraction(1, 4)], [np.float32(2)], [np.bool_(True)]]
    )
    assert EarlyFusion(None).fit_transform(
        {"a": cells.astype(object)}
    ).ravel().tolist() == [1.5, 0.25, 2, 1]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["1", "2", "3"], "'t'.*holds.*OneHotEncoder"),
        (pd.date_range("2020", periods=3), "'t'.*seconds"),
        (pd.date_range("2020", periods=3, tz="Asia/Seoul"), "'t'.*seconds"),
        (pd.to_timedelta([1, 2, 3], "s"), "'t'.*seconds"),
        (pd.period_range("2020", periods=3), "'t'.*seconds"),
        (pd.Categorical([1, 2, 1]), "'t' is categorical.*OneHotEncoder"),
        (pd.interval_range(0, 3), "'t' holds"),
        (np.array([1j, 2, 3]), "Complex.*'t'"),
    ],
)
def test_a_column_that_holds_no_numbers_is_named(column, message):
    frame = pd.DataFrame({"x": [1.0, 2, 3], "t": column})
    for fit in (
        lambda: EarlyFusion().fit({"a": frame}),
        lambda: EarlyFusion().fit(frame),
        lambda: EarlyFusion(modalities={"a": ["x"], "b": ["t"]}).fit(frame),
    ):
        with pytest.raises(ValueError, match=message):
            fit()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["1", "2"], "'t' holds String"),
        ([datetime.date(2020, 1, 1)] * 2, "'t' holds Date.*seconds"),
        (pl.Series(["a", "b"], dtype=pl.Categorical), "'t' is categorical"),
        ([[1], [2]], "'t' holds List"),
    ],
)
def test_a_polars_column_that_holds_no_numbers_is_named(column, message):
    frame = pl.DataFrame({"x": [1.0, 2.0], "t": column})
    with pytest.raises(ValueError, match=message):
        EarlyFusion().fit({"a": frame})


def test_nulls_and_booleans_of_polars_are_numbers():
    frame = pl.DataFrame({"x": [1.0, 2.0], "t": [True, False]})
    assert EarlyFusion(None).fit_transform({"a": frame}).tolist() == [[1, 1], [2, 0]]
    with pytest.raises(ValueError, match="sample 0, column 't' is NaN"):
        EarlyFusion().fit({"a": pl.DataFrame({"x": [1.0, 2.0], "t": [None, None]})})


@pytest.mark.parametrize("shape", [(6, 0), (6, 0, 3), (6, 2, 0)])
def test_no_features_are_refused(shape):
    with pytest.raises(ValueError, match=r"'b'.*0 feature"):
        EarlyFusion().fit({"a": GOOD, "b": np.ones(shape)})


def test_masked_cells_are_nan_in_a_table_as_in_a_block():
    masked = np.ma.masked_equal(GOOD, 3.0)
    for fit in (lambda: EarlyFusion().fit(masked), lambda: EarlyFusion().fit([masked])):
        with pytest.raises(ValueError, match="sample 1, feature 1 is NaN"):
            fit()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_are_arrays_in_every_form(dtype):
    tensor = torch.arange(12, dtype=dtype).reshape(6, 2).requires_grad_()
    for X in (tensor, [tensor], {"a": tensor}):
        np.testing.assert_array_equal(EarlyFusion(None).fit_transform(X), GOOD)


@pytest.mark.parametrize("way", input_forms(None))
def test_a_tensor_that_is_no_array_is_refused_with_the_remedy(way):
    with pytest.raises(TypeError, match=r"tensor that is not an array.*to_dense\(\)"):
        input_forms(torch.eye(6).to_sparse())[way]()


@pytest.mark.parametrize("form", [np.asarray, list, pd.Series])
@pytest.mark.parametrize(
    "estimator", [EarlyFusionClassifier(), LateFusionRegressor(), MKLRegressor()]
)
@pytest.mark.parametrize("argument", ["y", "sample_weight"])
def test_complex_targets_and_weights_are_refused_without_being_printed(
    form, estimator, argument
):
    values = {"y": np.arange(len(GOOD)) % 2, "sample_weight": np.ones(len(GOOD))}
    values[argument] = form(values[argument] + 1j)
    match = f"not supported: {argument} holds complex numbers; give real ones$"
    with pytest.raises(ValueError, match=match):
        estimator.fit([GOOD, GOOD], **values)
