"""Sequences in all the forms that users give them, for every public function."""

import warnings
from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import sparse

from mmfusion import Modalities
from mmfusion.alignment import (
    cdist_dtw,
    dtw_barycenter,
    dtw_distance,
    dtw_neighbors,
    dtw_path,
    lb_improved,
    lb_keogh,
    soft_dtw,
    soft_dtw_alignment,
    soft_dtw_gradient,
)
from mmfusion.plotting import AlignmentDisplay

torch = pytest.importorskip("torch")
polars = pytest.importorskip("polars")

X = np.array([[0.0, 3.0], [1.0, 4.0], [2.0, 9.0]])
Y = np.array([[0.0, 2.0], [1.0, 1.0], [2.0, 1.0], [5.0, 7.0]])

# each takes a sequence, and returns numbers; with how it calls that sequence in errors
FUNCTIONS = {
    "dtw_path x": (lambda x: dtw_path(x, Y).path, "x"),
    "dtw_path y": (lambda y: dtw_path(X, y).path, "y"),
    "dtw_path multiscale": (lambda x: dtw_path(x, Y, window="multiscale").path, "x"),
    "dtw_path by pattern": (lambda x: dtw_path(x, X, step_pattern="typeIc").path, "x"),
    "dtw_distance": (lambda x: dtw_distance(x, Y), "x"),
    "cdist_dtw X": (lambda x: cdist_dtw([Y, x]), r"X\[1\]"),
    "cdist_dtw Y": (lambda y: cdist_dtw([X], [Y, y]), r"Y\[1\]"),
    "dtw_neighbors X": (lambda x: dtw_neighbors([Y, X, x])[0], r"X\[2\]"),
    "dtw_neighbors Y": (lambda y: dtw_neighbors([X], [Y, y])[0], r"Y\[1\]"),
    "soft_dtw": (lambda x: soft_dtw(x, Y), "x"),
    "soft_dtw divergence": (lambda y: soft_dtw(X, y, divergence=True), "y"),
    "soft_dtw_alignment": (lambda y: soft_dtw_alignment(X, y).expected, "y"),
    "soft_dtw_gradient x": (lambda x: soft_dtw_gradient(x, Y).gradient, "x"),
    "soft_dtw_gradient y": (lambda y: soft_dtw_gradient(X, y).gradient, "y"),
    "dtw_barycenter": (lambda x: dtw_barycenter([Y, x]).sequence, r"sequences\[1\]"),
    "dtw_barycenter init": (lambda x: dtw_barycenter([Y], init=x).sequence, "init"),
    "lb_keogh": (lambda x: lb_keogh(x, X), "x"),
    "lb_improved": (lambda y: lb_improved(X, y), "y"),
}

HONOURED = {
    "list": X.tolist(),
    "tuples": tuple(map(tuple, X.tolist())),
    "rows": list(X),
    "integers": X.astype(np.int16),
    "unsigned": X.astype(np.uint8),
    "half": X.astype(np.float16),
    "single": X.astype(np.float32),
    "long double": X.astype(np.longdouble),
    "other byte order": X.astype(">f8"),
    "Fortran order": np.asfortranarray(X),
    "strided": np.repeat(X, 2, axis=0)[::2],
    "objects": X.astype(object),
    "decimals": [[Decimal(v) for v in row] for row in X.tolist()],
    "fractions": [[Fraction(v) for v in row] for row in X.tolist()],
    "masked, but nowhere": np.ma.masked_equal(X, 77.0),
    "matrix": sparse.csr_matrix(X).todense(),
    "tensor": torch.tensor(X),
    "tensor with gradient": torch.tensor(X, requires_grad=True),
    "tensor of integers": torch.tensor(X).long(),
    "tensor of bfloat16": torch.tensor(X).bfloat16(),
    "frame": pd.DataFrame(X, columns=["f", "g"], index=[5, 3, 1]),
    "frame of nullable": pd.DataFrame(X, columns=["f", "g"]).convert_dtypes(),
    "frame of polars": polars.DataFrame(X),
}

REFUSED = {
    "None": (None, "is a NoneType|is missing"),
    "text": ("abc", "is a str"),
    "set": ({1.0, 2.0}, "is a set"),
    "dict": ({"a": X}, "is a dict"),
    "object": (object(), "is a object"),
    "function": (len, "is a builtin"),
    "number": (1.0, r"shape \(\)|is a number"),
    "generator": ((row for row in X), "is a generator"),
    "sparse": (sparse.csr_matrix(X), "is a csr_matrix"),
    "sparse tensor": (torch.tensor(X).to_sparse(), "dense one"),
    "texts": (X.astype(str), "text"),
    "bytes": (X.astype("S4"), "text"),
    "texts as objects": (X.astype(str).astype(object), "text"),
    "dates": (X.astype("M8[s]"), "datetime64.*seconds since"),
    "date objects": ([[date(2020, 1, 1), 1.0]], "frame 0, feature 0 .* date"),
    "spans": (X.astype("m8[s]"), "timedelta64.*seconds since"),
    "spans as objects": (
        np.array([[np.timedelta64(1, "s"), 1.0]], object),
        "timedelta64",
    ),
    "frame of dates": (pd.DataFrame({"t": pd.date_range("2020", periods=3)}), "'t'"),
    "frame with text": (pd.DataFrame({"f": [1.0, 2], "g": ["a", "b"]}), "'g'|text"),
    "complex": (X + 1j, "complex"),
    "complex objects": ((X + 1j).astype(object), "complex"),
    "records": (np.zeros(3, [("f", float), ("g", float)]), "records"),
    "masked": (np.ma.masked_equal(X, 4.0), r"frame 1 .* NaN or masked, in feature 1"),
    "masked integers": (np.ma.masked_equal(X.astype(int), 4), "frame 1 .* masked"),
    "NaN": (np.where(X == 4, np.nan, X), r"frame 1 .* NaN"),
    "nested None": ([[0.0, None], [1.0, 2.0]], r"frame 0 .* NaN"),
    "missing": (pd.DataFrame({"f": [1, pd.NA], "g": 1}), "frame 1 .* NaN"),
    "infinite": (np.where(X == 4, -np.inf, X), r"frame 1 .* infinite"),
    "too large": ([[10**400, 1.0], [1.0, 2.0]], "frame 0, feature 0 .*too large"),
    "no frames": (np.empty((0, 2)), "has 0 frames"),
    "no features": (np.empty((3, 0)), "has 0 features"),
    "empty list": ([], "has 0 frames"),
    "three dimensions": (X[None], r"shape \(1, 3, 2\).*reshape"),
    "ragged": ([[1.0, 2.0], [3.0]], "is a list, which is not an array"),
    "modalities": (Modalities({"a": X}), "is a Modalities|Modalities"),
}


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("form", HONOURED)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_sequence_is_read_in_any_form(function, form):
    call, _ = FUNCTIONS[function]
    assert_allclose(call(HONOURED[form]), call(X), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", REFUSED)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_is_no_sequence_is_refused_by_name(function, form):
    call, name = FUNCTIONS[function]
    if function == "dtw_barycenter init" and form == "None":
        pytest.skip("the default")
    given, message = REFUSED[form]
    with pytest.raises((ValueError, TypeError), match=message) as refusal:
        call(given)
    refusal.match(rf"\b{name}( |:|$|\.)")


@pytest.mark.parametrize("form", ["texts", "complex", "NaN", "no frames", "set"])
def test_displays_refuse_it_too(form):
    given, message = REFUSED[form]
    with pytest.raises((ValueError, TypeError), match=message):
        AlignmentDisplay.from_sequences(given, Y)


# Collections

COLLECTION = [X, X + 1, X - 1]
PADDED = np.stack([np.vstack([x, np.full((2, 2), np.nan)]) for x in COLLECTION])
COLLECTIONS = {
    "cdist_dtw": (cdist_dtw, "X"),
    "cdist_dtw Y": (lambda Y: cdist_dtw([X], Y), "Y"),
    "dtw_neighbors": (lambda X: dtw_neighbors(X)[0], "X"),
    "dtw_neighbors Y": (lambda Y: dtw_neighbors([X], Y)[0], "Y"),
    "dtw_barycenter": (lambda s: dtw_barycenter(s).sequence, "sequences"),
}
DAMAGED = sparse.csc_array(X)
DAMAGED.indices[:] = 10**6
OBJECTS = np.empty(3, object)
OBJECTS[:] = COLLECTION


@pytest.mark.parametrize(
    "form",
    [
        tuple(COLLECTION),
        np.stack(COLLECTION),
        PADDED,
        np.ma.masked_invalid(PADDED),
        torch.tensor(PADDED),
        OBJECTS,
        pd.Series(COLLECTION, index=[3, 1, 2]),
        Modalities({"a": COLLECTION})["a"],
    ],
    ids=lambda form: type(form).__name__,
)
@pytest.mark.parametrize("function", COLLECTIONS)
def test_a_collection_is_read_in_any_form(function, form):
    call, _ = COLLECTIONS[function]
    assert_allclose(call(form), call(COLLECTION))


@pytest.mark.parametrize("function", COLLECTIONS)
def test_rows_of_a_table_are_sequences_of_one_feature(function):
    table = np.arange(12.0).reshape(3, 4) ** 2
    call, _ = COLLECTIONS[function]
    if function.endswith("Y"):
        pytest.skip("X has two features")
    expected = call(list(table[:, :, None]))
    for form in (table, table.tolist(), pd.DataFrame(table)):
        assert_allclose(call(form), expected)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (Modalities({"a": COLLECTION}), r"\['a'\]"),
        ({"a": COLLECTION}, "is a dict"),
        (sparse.csr_array(X), "is a csr_array"),
        (DAMAGED, "is a csc_array"),
        ("abc", "is a str"),
        (7, "is a int"),
        ([X, None, X], r"\[1\] is missing"),
        (np.array([[1.0, np.nan], [1.0, 2.0]]), r"frame 1 of .*\[0\] .*NaN"),
        (np.where(np.arange(3)[:, None, None] == 1, np.nan, PADDED), "is missing"),
        ([0.0, 1.0, 2.0], r"\[0\] is a number"),
        (np.arange(3.0), r"\[0\] is a number"),
        ([X, X[:, :1]], "features"),
        (np.stack(COLLECTION).astype(str), "text"),
        (np.zeros((2, 3, 2, 2)), r"\[0\] has shape"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("function", COLLECTIONS)
def test_what_is_no_collection_is_refused_by_name(function, form, message):
    call, name = COLLECTIONS[function]
    with pytest.raises((ValueError, TypeError), match=message) as refusal:
        call(form)
    if message != "features":
        refusal.match(rf"\b{name}\b")


def test_modalities_read_what_functions_read():
    block = [np.array(X.tolist(), object), X + 1]
    from_objects = Modalities({"a": block, "b": block})
    from mmfusion.alignment import DTWAligner

    assert DTWAligner().fit(from_objects).cost_ == 0
    for form in ("complex objects", "texts as objects", "spans as objects"):
        wrong, message = REFUSED[form]
        with pytest.raises((ValueError, TypeError), match=rf"'a'.*sample 1.*{message}"):
            DTWAligner().fit(Modalities({"a": [X, wrong], "b": block}))
