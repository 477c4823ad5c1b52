"""Validation of numbers: refusal of text, dates, categories and other objects.

scikit-learn converts some such values silently (dates become nanoseconds, text that
looks like a number is parsed) and refuses others without the name of the column. Here
all are refused, with the name of the column.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    import pandas as pd

    from mmfusion._blocks import Block

ARRAY_PROTOCOLS = ("__array__", "__array_interface__", "__array_struct__", "__dlpack__")


def package_of(obj: object) -> str:
    """Return the name of the package that defines the type of an object."""
    return type(obj).__module__.partition(".")[0]


def is_frame(obj: object) -> bool:
    """Return whether an object is a pandas or polars DataFrame, importing neither."""
    return type(obj).__name__ == "DataFrame" and package_of(obj) in ("pandas", "polars")


def refuse_unknown_type(data: Any, what: str) -> None:
    """Refuse an object whose type defines no conversion to an array.

    NumPy would read it element by element, which may not end, or store it as one
    object.

    Parameters
    ----------
    data : object
        Data to be converted to an array.
    what : str
        Name of the data in errors.

    Raises
    ------
    TypeError
        If the type defines no conversion to an array.
    """
    if isinstance(
        data, list | tuple | np.ndarray | Real | complex | str | bytes | None
    ):
        return
    if sparse.issparse(data) or any(hasattr(data, p) for p in ARRAY_PROTOCOLS):
        return
    try:
        memoryview(data)
    except TypeError:
        raise TypeError(_unknown_type(data, what)) from None


def _unknown_type(data: object, what: str) -> str:
    """Return the error message for an object that is not an array."""
    found = f"{what} is a {type(data).__name__}, which is not an array"
    if package_of(data) in ("anndata", "mudata"):
        return (
            f"{found}; give an AnnData or MuData itself as X, an AnnData for every "
            "modality, or the table of one, adata.to_df()"
        )
    return (
        f"{found}; give a NumPy array, a sparse matrix, a DataFrame, or a list of "
        "arrays with one entry per modality"
    )


def is_null(cell: Any) -> bool:
    """Return whether a cell holds a missing value: None, NA, NaT, or NaN."""
    # by name, since pandas and polars may not be installed
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    # NaN differs from itself; a comparison of arrays would have no single truth value
    return isinstance(cell, Real | Decimal | np.generic) and bool(cell != cell)


def is_real(value: object) -> bool:
    """Return whether a value is a real number.

    Booleans are not, although Python counts them as integers, nor are timedelta64
    values, although NumPy does.
    """
    return isinstance(value, Real) and not isinstance(value, bool | np.timedelta64)


def is_integer(value: object) -> bool:
    """Return whether a value is an integer of Python or NumPy, and no boolean."""
    return isinstance(value, Integral) and is_real(value)


def check_count(value: object, name: str) -> None:
    """Raise an error unless an argument of a method is an integer of at least 1.

    Parameters
    ----------
    value : object
        The argument.
    name : str
        Its name.

    Raises
    ------
    ValueError
        If it is not.
    """
    if not (isinstance(value, int | np.integer) and is_integer(value) and value >= 1):
        raise ValueError(f"{name} is {value!r}; give an integer of at least 1")


def cell_name(
    row: int, feature: int, columns: Sequence[str] | None, row_kind: str = "sample"
) -> str:
    """Return the name of a cell in errors: its row, and its column or position."""
    if columns is None:
        return f"{row_kind} {row}, feature {feature}"
    return f"{row_kind} {row}, column {columns[feature]!r}"


def as_numbers(
    block: Block,
    what: str,
    remedy: str,
    columns: Sequence[str] | None = None,
    row_kind: str = "sample",
) -> Any:
    """Check that a block holds real numbers, and convert objects that are numbers.

    Parameters
    ----------
    block : ndarray, sparse matrix or DataFrame
        Values, with samples as rows.
    what : str
        Name of the block in errors.
    remedy : str
        Remedy for text and categories in errors.
    columns : list of str, default=None
        Names of the columns in errors.
    row_kind : str, default='sample'
        Name of a row in errors.

    Returns
    -------
    ndarray, sparse matrix or DataFrame
        The block itself, unless it has columns of objects or nulls, which become
        float64 with NaN for None and NA.

    Raises
    ------
    ValueError
        If a column or cell does not hold real numbers.
    TypeError
        If a cell holds an object that is not a value, such as a dict.
    """
    if is_frame(block):
        return _frame_as_numbers(block, what, remedy)
    dtype = getattr(block, "dtype", None)
    _refuse_dtype(dtype, what, remedy)
    if dtype == np.dtype(object) and not sparse.issparse(block):
        return _objects_as_floats(np.asarray(block), what, remedy, columns, row_kind)
    return block


def refuse_complex(values: Any, what: str) -> None:
    """Raise an error for complex values, which scikit-learn's prints all of.

    Parameters
    ----------
    values : array-like
        Values of any type.
    what : str
        Their name, for the error.

    Raises
    ------
    ValueError
        If they are complex.
    """
    dtype = getattr(values, "dtype", None)
    # objects that are read by np.asarray need not have other functions of NumPy
    if getattr(np.asarray(values).dtype if dtype is None else dtype, "kind", "") == "c":
        raise ValueError(
            f"Complex data not supported: {what} holds complex numbers; give real ones"
        )


def holds_other_than_numbers(block: Block) -> bool:
    """Return whether a block has cells of text, categories or other objects."""
    try:
        as_numbers(block, "", "")
    except (TypeError, ValueError):
        return True
    return False


def holds_nan(block: Block) -> bool:
    """Return whether a block of floats has NaN cells."""
    values = block.data if sparse.issparse(block) else block
    return bool(np.isnan(values).any())


def _refuse_dtype(dtype: object, what: str, remedy: str) -> None:
    """Raise if the values of a dtype of NumPy or pandas are not real numbers."""
    kind = getattr(dtype, "kind", "")
    if kind == "c":
        raise ValueError(
            f"Complex data not supported: {what} holds {dtype}; give real and "
            "imaginary parts (or amplitude and phase) as features of their own"
        )
    if kind in ("M", "m"):
        raise ValueError(
            f"{what} holds {dtype}, not numbers; encode it first, for example as "
            "seconds since the first one"
        )
    if kind in ("U", "S", "T"):
        raise ValueError(f"{what} holds text ({dtype}), not numbers; {remedy}")
    if kind == "V":
        raise ValueError(
            f"{what} holds records ({dtype}), not numbers; give their fields as "
            "columns of one array"
        )


def _frame_as_numbers(frame: Block, what: str, remedy: str) -> Any:
    """Check and convert a DataFrame column by column, see `as_numbers`."""
    in_pandas = package_of(frame) == "pandas"
    converted: dict[int, np.ndarray] = {}
    for position, (name, dtype) in enumerate(
        zip(frame.columns, frame.dtypes, strict=True)
    ):
        column = f"{what}: column {name!r}"
        kind = type(dtype).__name__
        if kind in ("CategoricalDtype", "Categorical", "Enum"):
            raise ValueError(
                f"{column} is categorical ({dtype}), not numbers; {remedy}"
            )
        if in_pandas and getattr(dtype, "kind", "O") != "O":
            _refuse_dtype(dtype, column, remedy)
        elif in_pandas and dtype == np.dtype(object):
            values = frame.iloc[:, position].to_numpy(dtype=object)[:, None]
            cells = _objects_as_floats(values, what, remedy, [name])
            converted[position] = cells[:, 0]
        elif in_pandas or not (dtype.is_numeric() or kind in ("Boolean", "Null")):
            advice = remedy
            if kind in ("Date", "Datetime", "Duration", "Time", "PeriodDtype"):
                advice = "encode it first, for example as seconds since the first one"
            raise ValueError(f"{column} holds {dtype}, not numbers; {advice}")
    if in_pandas:
        return _replace_columns(frame, converted)
    import polars as pl

    # polars converts mixed numeric and Boolean or null columns to arrays of objects
    return frame.with_columns(pl.col(pl.Boolean, pl.Null, pl.Decimal).cast(pl.Float64))


def with_nan_for_na(block: Block) -> Any:
    """Replace NA in object columns of pandas by NaN, which scikit-learn supports.

    Parameters
    ----------
    block : object
        Block of a modality that is passed on unconverted.

    Returns
    -------
    object
        The block, or a copy of a pandas DataFrame with NaN for NA in object columns.
    """
    if not (is_frame(block) and package_of(block) == "pandas"):
        return block
    converted = {}
    for position, dtype in enumerate(block.dtypes):
        if dtype != np.dtype(object):
            continue
        cells = block.iloc[:, position].to_numpy(dtype=object)
        null = np.fromiter((type(c).__name__ == "NAType" for c in cells), bool)
        if null.any():
            converted[position] = np.where(null, np.nan, cells)
    return _replace_columns(block, converted)


def _replace_columns(
    frame: pd.DataFrame, converted: dict[int, np.ndarray]
) -> pd.DataFrame:
    """Replace columns by position, since names may repeat."""
    if not converted:
        return frame
    import pandas as pd

    columns = [
        pd.Series(converted[j], index=frame.index) if j in converted else column
        for j, (_, column) in enumerate(frame.items())
    ]
    return pd.concat(columns, axis=1, keys=range(len(columns))).set_axis(
        frame.columns, axis=1
    )


def _objects_as_floats(
    block: np.ndarray,
    what: str,
    remedy: str,
    columns: Sequence[str] | None,
    row_kind: str = "sample",
) -> np.ndarray:
    """Convert an array of objects to float64, with NaN for nulls."""
    cells = block.ravel()
    # by type: there are few, and many cells
    types = set(map(type, cells))
    unfit = {t for t in types if not (_is_real_type(t) or _is_null_type(t))}
    if unfit:
        position = next(i for i, cell in enumerate(cells) if type(cell) in unfit)
        cell = cells[position]
        where = f"{what}: {_cell_at(position, block, columns, row_kind)}"
        if isinstance(cell, str | bytes):
            raise ValueError(
                f"{where} holds text ({cell!r:.40}), not numbers; {remedy}"
            )
        sequences = ""
        if isinstance(cell, list | tuple | np.ndarray):
            sequences = (
                ". If cells are sequences and columns modalities, give "
                "{name: list(X[name]) for name in X}"
            )
        raise TypeError(
            f"{where} holds an object of type {type(cell).__name__}; a cell's argument "
            f"must be a string that is encoded first, or a real number{sequences}"
        )
    # astype(float) would reject NA
    nulls = {t for t in types if _is_null_type(t)}
    if nulls:
        null = np.fromiter((type(c) in nulls for c in cells), bool, len(cells))
        cells = np.where(null, np.nan, cells)
    try:
        return cells.astype(np.float64).reshape(block.shape)
    except OverflowError:
        position = next(i for i, cell in enumerate(cells) if _overflows(cell))
        raise ValueError(
            f"{what}: {_cell_at(position, block, columns, row_kind)} is a number too "
            "large for float64; rescale the feature, for example by its logarithm"
        ) from None


def _is_real_type(kind: type) -> bool:
    # NumPy registers timedelta64 as an integer
    return issubclass(kind, Real | np.bool_ | Decimal) and kind is not np.timedelta64


def _is_null_type(kind: type) -> bool:
    return kind is type(None) or kind.__name__ == "NAType"


def _overflows(cell: float) -> bool:
    try:
        float(cell)
    except OverflowError:
        return True
    return False


def _cell_at(
    position: int, block: np.ndarray, columns: Sequence[str] | None, row_kind: str
) -> str:
    """Return the name of a cell given its position in the flattened block."""
    width = max(1, int(np.prod(block.shape[1:])))
    row, feature = divmod(position, width)
    return cell_name(row, feature, columns if block.ndim == 2 else None, row_kind)
