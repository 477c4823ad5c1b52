"""Values that a user may give by mistake, each made anew when it is asked for."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import torch
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler

from mmfusion import Modalities

N_SAMPLES = 12  # of the valid data, so that some of the arrays fit
HUGE = 10**400  # beyond any float

SCALARS: tuple[Any, ...] = (
    None,
    True,
    False,
    np.bool_(True),
    "",
    "nonsense",
    "nan",
    b"bytes",
    np.str_("mean"),
    float("nan"),
    float("inf"),
    -float("inf"),
    -1,
    0,
    1,
    2,
    0.5,
    1.5,
    -0.5,
    1e-300,
    1e300,
    2**63,
    -(2**63),
    HUGE,
    1 + 1j,
    np.int8(1),
    np.int64(2),
    np.uint8(200),
    np.float16(0.5),
    np.float32("nan"),
    np.float64(0.5),
    np.longdouble(2),
    np.complex64(1),
    Fraction(1, 2),
    Decimal("0.5"),
    np.datetime64("2020-01-01"),
    np.timedelta64(1, "s"),
    datetime.date(2020, 1, 1),
    pd.NA,
    pd.NaT,
    Ellipsis,
    slice(None),
    int,
    np.float64,
    KMeans,
)


def rows(*shape: int) -> np.ndarray:
    """Random numbers, the same in every call."""
    return np.random.default_rng(0).normal(size=shape)


class Endless:
    """What looks like a container, whose elements are containers of the same kind."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, key: Any) -> Endless:
        return self


class Annotated:
    """A table of a package that is not known: it has a shape, and no array."""

    shape = (N_SAMPLES, 3)
    ndim = 2

    def __len__(self) -> int:
        return N_SAMPLES


def _generator() -> Iterator[np.ndarray]:
    yield rows(N_SAMPLES, 3)
    yield rows(N_SAMPLES, 2)


def _invalid_csr(indices: list[int], format: type = sparse.csr_array) -> Any:
    """A matrix of one entry per row whose indices do not fit its shape."""
    matrix = format((N_SAMPLES, 3))
    matrix.data = np.ones(N_SAMPLES)
    matrix.indices = np.resize(np.array(indices, dtype=np.int32), N_SAMPLES)
    matrix.indptr = np.arange(N_SAMPLES + 1, dtype=np.int32)
    return matrix


def _invalid_indptr() -> Any:
    matrix = sparse.csr_array(np.ones((N_SAMPLES, 3)))
    matrix.indptr = matrix.indptr[::-1].copy()
    return matrix


def _int64_indices(format: type) -> Any:
    matrix = format(rows(N_SAMPLES, 3))
    matrix.indices = matrix.indices.astype(np.int64)
    matrix.indptr = matrix.indptr.astype(np.int64)
    return matrix


def _objects(*elements: Any) -> np.ndarray:
    array = rows(N_SAMPLES, 3).astype(object)
    array.flat[: len(elements)] = elements
    return array


def _coo(dense: np.ndarray) -> Any:
    """Make a sparse array; a dense one where scipy has two dimensions only."""
    try:
        return sparse.coo_array(dense)
    except TypeError:
        return dense


def _with(value: Any, dtype: Any = float) -> np.ndarray:
    array = rows(N_SAMPLES, 3).astype(dtype)
    array[1, 1] = value
    return array


def _missing_everywhere() -> Modalities:
    blocks = {"audio": rows(N_SAMPLES, 3), "text": rows(N_SAMPLES, 2)}
    return Modalities(blocks, observed=np.zeros((N_SAMPLES, 2), bool))


def _ragged(*elements: Any) -> np.ndarray:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array


def _frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"f0": rows(N_SAMPLES), "f1": rows(N_SAMPLES)}).assign(
        **columns
    )


MAKERS: dict[str, Callable[[], Any]] = {
    # containers
    "[]": list,
    "()": tuple,
    "{}": dict,
    "set()": set,
    "[[]]": lambda: [[]],
    "[None]": lambda: [None],
    "[1]": lambda: [1],
    "[-1.0, 1.0]": lambda: [-1.0, 1.0],
    "[0, 0]": lambda: [0, 0],
    "[nan, 1]": lambda: [float("nan"), 1.0],
    "['a', 'a']": lambda: ["a", "a"],
    "[1, 'a', None]": lambda: [1, "a", None],
    "[[1, 2], [3]]": lambda: [[1, 2], [3]],
    "[[10**400]]": lambda: [[HUGE], [1]],
    "[[[[[1]]]]]": lambda: [[[[[1]]]]],
    "['text'] * n": lambda: ["some words"] * N_SAMPLES,
    "range": lambda: range(N_SAMPLES),
    "generator": _generator,
    "iterator": lambda: iter([1, 2]),
    "{1: 2}": lambda: {1: 2},
    "{'nonsense': 1}": lambda: {"nonsense": 1},
    "{'audio': None}": lambda: {"audio": None},
    "{'audio': 'nonsense'}": lambda: {"audio": "nonsense"},
    "{'audio': nan}": lambda: {"audio": float("nan")},
    "{'a__b': array}": lambda: {"a__b": rows(N_SAMPLES, 3)},
    "{'audio': array of other length}": lambda: {"audio": rows(3, 3)},
    "{('a', 'b'): 1}": lambda: {("a", "b"): 1},
    # arrays
    "array of shape (0,)": lambda: rows(0),
    "array of shape (0, 3)": lambda: rows(0, 3),
    "array of shape (n, 0)": lambda: rows(N_SAMPLES, 0),
    "array of shape (0, 0, 0)": lambda: rows(0, 0, 0),
    "array of shape ()": lambda: np.array(1.0),
    "array of shape (1,)": lambda: rows(1),
    "array of shape (n,)": lambda: rows(N_SAMPLES),
    "array of shape (n, 3)": lambda: rows(N_SAMPLES, 3),
    "array of shape (n - 1, 3)": lambda: rows(N_SAMPLES - 1, 3),
    "array of shape (1, 3)": lambda: rows(1, 3),
    "array of shape (n, 2, 3)": lambda: rows(N_SAMPLES, 2, 3),
    "array of shape (n, 2, 0)": lambda: rows(N_SAMPLES, 2, 0),
    "array of shape (n, 1, 2, 2)": lambda: rows(N_SAMPLES, 1, 2, 2),
    "constant": lambda: np.ones((N_SAMPLES, 3)),
    "all NaN": lambda: np.full((N_SAMPLES, 3), np.nan),
    "a NaN": lambda: _with(np.nan),
    "an inf": lambda: _with(np.inf),
    "1e307": lambda: rows(N_SAMPLES, 3) * 1e307,
    "1e-320": lambda: rows(N_SAMPLES, 3) * 1e-320,
    "float32 1e38": lambda: (rows(N_SAMPLES, 3) * 1e38).astype(np.float32),
    "float16": lambda: rows(N_SAMPLES, 3).astype(np.float16),
    "longdouble": lambda: rows(N_SAMPLES, 3).astype(np.longdouble),
    "longdouble beyond float64": lambda: _with(
        np.longdouble("1e4000"), dtype=np.longdouble
    ),
    "complex": lambda: rows(N_SAMPLES, 3) + 1j,
    "bool": lambda: rows(N_SAMPLES, 3) > 0,
    "int8": lambda: np.full((N_SAMPLES, 3), 127, dtype=np.int8),
    "uint64": lambda: np.full((N_SAMPLES, 3), 2**64 - 1, dtype=np.uint64),
    "big-endian": lambda: rows(N_SAMPLES, 3).astype(">f8"),
    "Fortran order": lambda: np.asfortranarray(rows(N_SAMPLES, 3)),
    "strided": lambda: rows(2 * N_SAMPLES, 6)[::2, ::-2],
    "numbers as objects": lambda: _objects(1, 2.5),
    "objects with None": lambda: _objects(None),
    "objects with text": lambda: _objects("text"),
    "objects with 10**400": lambda: _objects(HUGE),
    "objects with a list": lambda: _objects(1, [1, 2]),
    "objects with a date": lambda: _objects(datetime.date(2020, 1, 1)),
    "objects with complex": lambda: _objects(1 + 1j),
    "objects with pd.NA": lambda: _objects(pd.NA),
    "strings": lambda: rows(N_SAMPLES, 3).astype("<U5"),
    "words": lambda: np.full((N_SAMPLES, 2), "word"),
    "bytes": lambda: np.full((N_SAMPLES, 2), b"word"),
    "dates": lambda: np.full((N_SAMPLES, 2), np.datetime64("2020-01-01")),
    "spans of time": lambda: np.full((N_SAMPLES, 2), np.timedelta64(1, "s")),
    "void": lambda: np.zeros(N_SAMPLES, dtype=[("a", "f8"), ("b", "U3")]),
    "masked": lambda: np.ma.masked_greater(rows(N_SAMPLES, 3), 1),
    "masked everywhere": lambda: np.ma.masked_all((N_SAMPLES, 3)),
    "masked integers": lambda: np.ma.masked_equal(
        np.arange(3 * N_SAMPLES).reshape(-1, 3), 4
    ),
    "array of two labels": lambda: np.arange(N_SAMPLES) % 2,
    "array of one label": lambda: np.zeros(N_SAMPLES, int),
    "labels as text": lambda: np.where(np.arange(N_SAMPLES) % 2, "yes", "no"),
    "labels as objects": lambda: np.array([1, "a", None] * 4, dtype=object),
    "negative labels": lambda: -(np.arange(N_SAMPLES) % 3),
    # sparse matrices
    **{
        f"{name} {kind}": lambda make=make: make(rows(N_SAMPLES, 3))
        for name in ("csr", "csc", "coo", "lil", "dok", "dia", "bsr")
        for kind in ("array", "matrix")
        for make in [getattr(sparse, f"{name}_{kind}")]
    },
    "csr of int64 indices": lambda: _int64_indices(sparse.csr_array),
    "csc of int64 indices": lambda: _int64_indices(sparse.csc_array),
    "csr of width 0": lambda: sparse.csr_array((N_SAMPLES, 0)),
    "csr of zeros": lambda: sparse.csr_array((N_SAMPLES, 3)),
    "csr of 0 rows": lambda: sparse.csr_array((0, 3)),
    "csr of NaN": lambda: sparse.csr_array(_with(np.nan)),
    "csr of complex": lambda: sparse.csr_array(rows(N_SAMPLES, 3) + 1j),
    "csr of bool": lambda: sparse.csr_array(rows(N_SAMPLES, 3) > 0),
    "csr of int": lambda: sparse.csr_array(np.eye(N_SAMPLES, 3, dtype=np.int16)),
    "csr out of range": lambda: _invalid_csr([10**6]),
    "csr of negative indices": lambda: _invalid_csr([-5]),
    "csc out of range": lambda: _invalid_csr([10**6], sparse.csc_array),
    "csr of decreasing indptr": _invalid_indptr,
    "csr of duplicates": lambda: _invalid_csr([0, 0, 1]),
    "coo of 1 dimension": lambda: _coo(rows(N_SAMPLES)),
    "coo of 3 dimensions": lambda: _coo(rows(N_SAMPLES, 2, 3)),
    # frames
    "frame": _frame,
    "frame of text": lambda: _frame(f1="word"),
    "frame of categories": lambda: _frame(f1=pd.Categorical(["a", "b"] * 6)),
    "frame with pd.NA": lambda: _frame(f1=pd.array([pd.NA, 1] * 6, dtype="Int64")),
    "frame with None": lambda: _frame(f1=[None, "a"] * 6),
    "frame of dates": lambda: _frame(f1=pd.Timestamp("2020-01-01")),
    "frame with 10**400": lambda: _frame(f1=pd.Series([HUGE, 1] * 6, dtype=object)),
    "frame with a NaN": lambda: _frame(f1=[np.nan, 1.0] * 6),
    "frame with an inf": lambda: _frame(f1=[np.inf, 1.0] * 6),
    "frame of complex": lambda: _frame(f1=1j),
    "frame of equal names": lambda: pd.DataFrame(rows(N_SAMPLES, 2), columns=["a"] * 2),
    "frame of integer names": lambda: pd.DataFrame(rows(N_SAMPLES, 2)),
    "frame of other labels": lambda: _frame().set_index(np.arange(N_SAMPLES) + 5),
    "frame of two levels": lambda: pd.DataFrame(
        rows(N_SAMPLES, 2), columns=pd.MultiIndex.from_product([["audio"], [0, 1]])
    ),
    "frame of no rows": lambda: _frame().iloc[:0],
    "frame of no columns": lambda: _frame()[[]],
    "series": lambda: pd.Series(rows(N_SAMPLES)),
    "series of categories": lambda: pd.Series(pd.Categorical(["a", "b"] * 6)),
    "series of NA": lambda: pd.Series([pd.NA, 1] * 6, dtype="Int64"),
    "index": lambda: pd.Index(["audio", "text"]),
    "polars": lambda: pl.DataFrame({"f0": rows(N_SAMPLES), "f1": rows(N_SAMPLES)}),
    "polars of text": lambda: pl.DataFrame({"f0": ["word"] * N_SAMPLES}),
    "polars with null": lambda: pl.DataFrame({"f0": [None, 1.0] * 6}),
    "polars series": lambda: pl.Series([1.0] * N_SAMPLES),
    "polars lazy": lambda: pl.DataFrame({"f0": rows(N_SAMPLES)}).lazy(),
    # tensors
    "tensor": lambda: torch.from_numpy(rows(N_SAMPLES, 3)),
    "tensor of bfloat16": lambda: torch.ones(N_SAMPLES, 3, dtype=torch.bfloat16),
    "tensor of NaN": lambda: torch.full((N_SAMPLES, 3), float("nan")),
    "tensor with gradient": lambda: torch.ones(N_SAMPLES, 3, requires_grad=True),
    "tensor of shape ()": lambda: torch.tensor(1.0),
    "sparse tensor": lambda: torch.eye(N_SAMPLES).to_sparse(),
    # modalities and sequences
    "Modalities": lambda: Modalities({"audio": rows(N_SAMPLES, 3)}),
    "Modalities of other names": lambda: Modalities(
        {"smell": rows(N_SAMPLES, 3), "taste": rows(N_SAMPLES, 2)}
    ),
    "Modalities without anything": _missing_everywhere,
    "list of modalities": lambda: [rows(N_SAMPLES, 3), rows(N_SAMPLES, 2)],
    "list of modalities and text": lambda: [rows(N_SAMPLES, 3), "text"],
    "list of modalities and None": lambda: [rows(N_SAMPLES, 3), None],
    "sequences": lambda: [rows(4 + i % 3, 2) for i in range(N_SAMPLES)],
    "sequences of 1 dimension": lambda: [rows(4 + i % 3) for i in range(N_SAMPLES)],
    "sequences as lists": lambda: [[1.0, 2.0], [1.0, 2.0, 3.0]],
    "sequences of unlike widths": lambda: [rows(4, 1 + i % 2) for i in range(12)],
    "sequences with None": lambda: [None] + [rows(4, 2)] * (N_SAMPLES - 1),
    "sequences of nothing": lambda: [rows(0, 2)] * N_SAMPLES,
    "sequences of NaN": lambda: [np.full((4, 2), np.nan)] * N_SAMPLES,
    "sequences of text": lambda: [np.full((4, 1), "word")] * N_SAMPLES,
    "array of sequences": lambda: _ragged(*[rows(4 + i % 3, 2) for i in range(12)]),
    "array of None": lambda: np.full(N_SAMPLES, None),
    "array of words": lambda: _ragged(*["word"] * N_SAMPLES),
    # estimators and other objects
    "KMeans()": lambda: KMeans(2, n_init=1),
    "LogisticRegression()": LogisticRegression,
    "LinearRegression()": LinearRegression,
    "StandardScaler()": StandardScaler,
    "{'audio': KMeans()}": lambda: {"audio": KMeans(2, n_init=1)},
    "{'nonsense': StandardScaler()}": lambda: {"nonsense": StandardScaler()},
    "np.random.Generator": lambda: np.random.default_rng(0),
    "object()": object,
    "endless": Endless,
    "annotated": Annotated,
    # callables
    "returns None": lambda: lambda *args, **kwargs: None,
    "returns text": lambda: lambda *args, **kwargs: "nonsense",
    "returns NaN": lambda: lambda *args, **kwargs: float("nan"),
    "returns a scalar": lambda: lambda *args, **kwargs: 1.0,
    "returns another shape": lambda: lambda *args, **kwargs: np.ones((2, 5, 1)),
    "returns an array of NaN": lambda: lambda *args, **kwargs: np.full((4, 4), np.nan),
    "returns complex": lambda: lambda *args, **kwargs: 1j,
    "returns its argument": lambda: lambda *args, **kwargs: args[0],
    "returns a list": lambda: lambda *args, **kwargs: [1, "a"],
    "takes nothing": lambda: lambda: 1.0,
}
OF_SCALARS = {f"{type(s).__name__} {str(s)[:20]}": lambda s=s: s for s in SCALARS}
POOL: dict[str, Callable[[], Any]] = {**OF_SCALARS, **MAKERS}
