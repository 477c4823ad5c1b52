"""The block of one modality: its kinds, and operations on blocks of any kind.

A block is one of five kinds:

========= ==================================================================
dense     ndarray (memmaps included) of any dtype and at least 2 dimensions
dask      array of dask, in chunks of whole rows, of real numbers
sparse    scipy sparse matrix or array, kept in CSR form
frame     pandas or polars DataFrame
sequences 1-D object array: one array of at least 2 dimensions per sample
          (its frames come first), or None where the sample lacks the modality
========= ==================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from mmfusion._dask_arrays import checked_dask_array, is_dask_array
from mmfusion._numbers import (
    as_numbers,
    is_frame,
    is_null,
    package_of,
    refuse_unknown_type,
)
from mmfusion._pieces import map_pieces

Block = Any  # ndarray, dask array, sparse matrix, pandas or polars DataFrame

TEXT_REMEDY = "encode it as numbers first"


def is_sequences(block: object) -> TypeGuard[np.ndarray]:
    """Return whether a block has one array per sample."""
    return isinstance(block, np.ndarray) and block.ndim == 1 and block.dtype.kind == "O"


def is_table_row(element: object) -> bool:
    """Return whether an element is a row of nested lists, such as ``[1.0, 2.0]``."""
    return (
        isinstance(element, list | tuple | np.ndarray)
        and getattr(element, "ndim", 1) == 1
        and len(element) > 0
        and all(isinstance(c, int | float | str) or np.ndim(c) == 0 for c in element)
    )


def as_sequences(elements: Iterable[Any], name: str = "X") -> np.ndarray:
    """Collect one array per sample into an object array.

    Parameters
    ----------
    elements : list, array, Series or tensor
        An array of shape (n_frames, n_features), or None, for each sample.
    name : str, default='X'
        Name of the modality, for errors.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        The arrays, not copied.

    Raises
    ------
    TypeError
        If it is not a collection of arrays.
    ValueError
        If an element has fewer than 2 dimensions.
    """
    # filled one by one: np.array(elements) would stack sequences of equal lengths
    collected = as_elements(elements, f"modality {name!r}")
    block = np.empty(len(collected), dtype=object)
    for i, element in enumerate(collected):
        if element is None:
            continue
        try:
            element = np.asarray(as_plain(element, f"modality {name!r}: sample {i}"))
        except ValueError as error:
            raise ValueError(
                f"modality {name!r}: sample {i} is not an array of shape "
                f"(n_frames, n_features): {error}"
            ) from error
        if element.ndim < 2:
            raise ValueError(
                f"modality {name!r}: sample {i} is an array of shape {element.shape}; "
                "a sequence has at least 2 dimensions, (n_frames, n_features): "
                "use reshape(-1, 1) for a single channel"
            )
        block[i] = element
    return block


def token_arrays(samples: Iterable[Any]) -> np.ndarray:
    """Collect lists of tokens, such as words, as sequences of one feature.

    Parameters
    ----------
    samples : iterable of sequence of object, or None
        The tokens of each sample.

    Returns
    -------
    ndarray of object of shape (n_samples,)
        Arrays of object of shape (n_tokens, 1); None where a sample is None.
    """
    samples = list(samples)
    block = np.full(len(samples), None, dtype=object)
    for i, tokens in enumerate(samples):
        if tokens is not None:
            # np.array would read tokens that are tuples as rows
            block[i] = np.fromiter(tokens, object, len(tokens)).reshape(-1, 1)
    return block


def as_plain(data: Any, what: str) -> Any:
    """Convert data to a form that NumPy and scikit-learn read, without loss.

    Parameters
    ----------
    data : object
        An array of any package, a sparse matrix, a DataFrame, or nested lists.
    what : str
        Name of the data in errors.

    Returns
    -------
    object
        Sparse matrices in CSR form and arrays of dask, checked; arrays of NumPy for
        tensors of torch and for masked arrays, with NaN where they are masked; other
        data unchanged.

    Raises
    ------
    TypeError
        If the data cannot be read as an array.
    ValueError
        If a sparse matrix is damaged or not of 2 dimensions.
    """
    if type(data) is np.ndarray:  # the usual case; subclasses are masked arrays, too
        return data
    if sparse.issparse(data):
        return checked_csr(data, what)
    if is_dask_array(data):
        return checked_dask_array(data, what)
    if package_of(data) == "torch" and hasattr(data, "detach"):
        return _from_torch(data, what)
    if isinstance(data, np.ma.MaskedArray):
        if data.dtype.kind in "Mm":
            return np.ma.filled(data, data.dtype.type("NaT"))
        floats = data.astype(np.result_type(data, np.float16))
        return np.ma.filled(floats, np.nan)
    if not is_frame(data):
        refuse_unknown_type(data, what)
    return data


def as_elements(collection: Iterable[Any], what: str) -> list[Any]:
    """Return the elements of a collection of arrays.

    Parameters
    ----------
    collection : list, array, Series or tensor
        The collection.
    what : str
        Name of the collection in errors.

    Returns
    -------
    list
        Its elements.

    Raises
    ------
    TypeError
        If it is not a collection.
    """
    try:
        # NumPy could iterate over an unknown type for hours
        refuse_unknown_type(collection, what)
        # reading the rows of a damaged sparse matrix may read foreign memory
        if isinstance(collection, str | bytes) or sparse.issparse(collection):
            raise TypeError("its elements are not arrays")
        return list(collection)
    except TypeError as error:
        raise TypeError(
            f"{what} is a {type(collection).__name__}; give a list of arrays"
        ) from error


def as_dense_array(data: ArrayLike | Iterable[object], what: str) -> np.ndarray:
    """Convert an array of any package and dtype to one of NumPy.

    Parameters
    ----------
    data : array-like
        An array, list, tensor, DataFrame or Series.
    what : str
        Name of the data in errors.

    Returns
    -------
    ndarray
        The array, not copied where possible; NaN where it is masked.

    Raises
    ------
    TypeError
        If the data are not an array.
    ValueError
        If its rows are of unequal lengths.
    """
    found = f"{what} is a {type(data).__name__}"
    if sparse.issparse(data):
        raise TypeError(f"{found}; give it dense, by toarray()")
    try:
        refuse_unknown_type(data, what)
        if data is None or isinstance(data, str | bytes):
            raise TypeError("it holds no numbers")
    except TypeError as error:
        raise TypeError(
            f"{found}; give an array, a DataFrame, a tensor or a list of numbers"
        ) from error
    try:
        return np.asarray(as_plain(data, what))
    except TypeError as error:
        raise TypeError(
            f"{found}, which is not an array of numbers: {error}"
        ) from error
    except (ValueError, RuntimeError) as error:  # RuntimeError from nested tensors
        raise ValueError(
            f"{found}, which is not an array of numbers: {error}"
        ) from error


def as_float_array(data: ArrayLike, what: str) -> np.ndarray:
    """Convert an array of any package to real numbers.

    Parameters
    ----------
    data : array-like
        An array, list, tensor, DataFrame or Series, with frames as rows.
    what : str
        Name of the data in errors.

    Returns
    -------
    ndarray of float32 or float64
        float32 if the data were float32, else float64, not copied where possible. NaN
        where a value is masked, None or NA.

    Raises
    ------
    TypeError
        If the data are not an array.
    ValueError
        If they hold anything but real numbers: text, dates or complex numbers.
    """
    # the usual case is fast, since it occurs for each pair of sequences
    if type(data) is np.ndarray and data.dtype in (np.float64, np.float32):
        return data
    if is_frame(data):
        data = as_numbers(data, what, TEXT_REMEDY)
    array = as_numbers(as_dense_array(data, what), what, TEXT_REMEDY, row_kind="frame")
    if array.dtype == np.float32:
        return array
    with np.errstate(over="ignore"):  # a longdouble may not fit
        return array.astype(np.float64, copy=False)


def _from_torch(tensor: Any, what: str) -> np.ndarray:
    try:
        tensor = tensor.detach().cpu()
        try:
            return tensor.numpy()
        except TypeError:  # NumPy has no bfloat16
            return tensor.float().numpy()
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise TypeError(
            f"{what} is a tensor that is not an array ({error}); give a dense one, "
            "by to_dense() or dequantize()"
        ) from error


def checked_csr(matrix: Any, what: str) -> Any:
    """Convert a sparse matrix to CSR form, after a check of its indices.

    Compiled code does not check indices: one out of range reads foreign memory, or
    ends the process. The check takes one pass over them.

    Parameters
    ----------
    matrix : sparse matrix or array
        The matrix, which is not changed.
    what : str
        Name of the matrix in errors.

    Returns
    -------
    CSR matrix or array
        The matrix, with 32-bit indices if they suffice: much compiled code takes no
        others.

    Raises
    ------
    ValueError
        If the matrix has not 2 dimensions, or indices are out of range.
    """
    if matrix.ndim != 2:
        raise ValueError(
            f"{what} has shape {matrix.shape}: a sparse array of {matrix.ndim} "
            "dimensions; it needs 2, (n_samples, n_features): reshape it"
        )
    try:
        _check_indices(matrix)
        csr = without_caches(matrix.tocsr())
        csr.check_format(full_check=True)
    except (ValueError, IndexError) as error:
        raise ValueError(
            f"{what} is a damaged sparse matrix: {error}; build it anew from its "
            "nonzero cells"
        ) from error
    fits = max(csr.nnz, *csr.shape) <= np.iinfo(np.int32).max
    index_dtype = np.int32 if fits else np.int64
    if matrix.format == "csr":
        csr = matrix  # the user's own, unless its indices have to change
    if csr.indices.dtype == index_dtype == csr.indptr.dtype:
        return csr
    indices, indptr = csr.indices.astype(index_dtype), csr.indptr.astype(index_dtype)
    return type(csr)((csr.data, indices, indptr), shape=csr.shape)


def _check_indices(matrix: Any) -> None:
    """Check the indices that a conversion to CSR form would not check."""
    if matrix.format in ("csc", "bsr"):
        matrix.copy().check_format(full_check=True)
    if matrix.format == "coo" and matrix.nnz:
        for axis, index in enumerate((matrix.row, matrix.col)):
            if index.min() < 0 or index.max() >= matrix.shape[axis]:
                raise ValueError(
                    f"indices of axis {axis} are not all in 0 .. "
                    f"{matrix.shape[axis] - 1}"
                )


def _from_list(elements: list | tuple, name: str) -> np.ndarray:
    """Read a list as the rows of a table, or as one sequence per sample."""
    given = [e for e in elements if e is not None]
    if given and all(is_table_row(e) for e in given):
        widths = {len(e) for e in given}
        if any(isinstance(e[0], Mapping) for e in given):
            return token_arrays(elements)
        if len(widths) > 1 and any(isinstance(e[0], str) for e in given):
            return token_arrays(elements)
        if len(widths) > 1:
            raise ValueError(
                f"modality {name!r}: its rows have {sorted(widths)} values; give one "
                "width, or sequences as arrays of shape (n_frames, n_features)"
            )
        if len(given) == len(elements):
            return np.asarray(elements)
        lacking = [np.nan] * widths.pop()
        return np.asarray([lacking if e is None else e for e in elements], dtype=float)
    return as_sequences(elements, name)


def as_block(data: Any, name: str) -> Block:
    """Convert user data to a block, without a copy where its kind allows it.

    Parameters
    ----------
    data : block-like
        An array of any package, a sparse matrix, a DataFrame, nested lists, or one
        array per sample.
    name : str
        Name of the modality, for errors.

    Returns
    -------
    block
        A block of one of the five kinds.

    Raises
    ------
    TypeError, ValueError
        If the data have no rows, or an unknown type.
    """
    data = as_plain(data, f"modality {name!r}")
    if sparse.issparse(data):
        # has_canonical_format caches its result in the matrix, which is the user's
        if not without_caches(data).has_canonical_format:
            data = data.copy()
            data.sum_duplicates()  # entries that repeat add up
        return data
    if is_frame(data):
        return data
    if isinstance(data, list | tuple):
        data = _from_list(data, name)
    elif not (isinstance(data, np.ndarray) or is_dask_array(data)):
        try:
            data = np.asarray(data)
        except (ValueError, TypeError) as error:
            raise type(error)(f"modality {name!r}: {error}") from error
    if data.ndim == 0:
        raise TypeError(
            f"modality {name!r} is a {type(data.item()).__name__}; give an array, "
            "a sparse matrix, a DataFrame, or a list of sequences"
        )
    if data.ndim == 1 and data.dtype.kind == "O":
        return as_sequences(data, name)
    if data.ndim == 1:
        raise ValueError(
            f"modality {name!r} has shape {data.shape}; it needs at least 2 "
            "dimensions, (n_samples, n_features): use reshape(-1, 1) for one feature"
        )
    return data


def take_rows(block: Block, rows: slice | np.ndarray) -> Block:
    """Return rows, by a slice (as a view, where the kind has one) or by positions."""
    if package_of(block) == "pandas":
        return block.iloc[rows]
    return block[rows]


def concat_rows(blocks: list[Block], name: str) -> Block:
    """Stack the rows of blocks of one modality, which have the same features."""
    first = blocks[0]
    kinds = {kind(b) for b in blocks}
    if len(kinds) > 1:
        raise TypeError(f"modality {name!r}: cannot concatenate {sorted(kinds)}")
    inner = [list(b.columns) if is_frame(b) else b.shape[1:] for b in blocks]
    for other in inner:
        if other != inner[0]:
            raise ValueError(
                f"modality {name!r}: cannot concatenate samples of features {other} "
                f"to samples of features {inner[0]}"
            )
    if sparse.issparse(first):
        return sparse.vstack(blocks, format="csr")
    if package_of(first) == "pandas":
        import pandas as pd

        return pd.concat(blocks, ignore_index=True)
    if package_of(first) == "polars":
        import polars as pl

        return pl.concat(blocks)
    return np.concatenate(blocks)


def kind(block: Block) -> str:
    """Return the name of the kind of a block."""
    if sparse.issparse(block):
        return "sparse"
    if is_frame(block):
        return "frame"
    if is_dask_array(block):
        return "dask"
    return "sequences" if is_sequences(block) else "dense"


def dtype_name(block: Block) -> str:
    """Return the dtype of a block; 'mixed' where columns or samples differ."""
    if is_sequences(block):
        names = {str(e.dtype) for e in block if e is not None}
    elif is_frame(block):
        names = {str(t).lower() for t in block.dtypes}
    else:
        return str(block.dtype)
    return names.pop() if len(names) == 1 else "mixed" if names else "-"


def shape_name(block: Block) -> str:
    """Return the shape of a block as text, with the range of lengths of sequences."""
    if not is_sequences(block):
        return str(tuple(int(s) for s in block.shape))
    shapes = [e.shape for e in block if e is not None]
    if not shapes:
        return f"({len(block)}, -)"
    lengths = [s[0] for s in shapes]
    low, high = min(lengths), max(lengths)
    inner = {s[1:] for s in shapes}
    tail = ", ".join(map(str, inner.pop())) if len(inner) == 1 else "?"
    return f"({len(block)}, {low if low == high else f'{low}..{high}'}, {tail})"


def n_features(block: Block) -> int:
    """Return the number of features of a sample, or of a frame of a sequence."""
    if is_sequences(block):
        observed = [e for e in block if e is not None]
        return int(np.prod(observed[0].shape[1:])) if observed else 0
    return int(np.prod(block.shape[1:]))


def of_samples(values: Any, chosen: np.ndarray) -> Any:
    """Return the rows of chosen samples of values with a row for each sample.

    Parameters
    ----------
    values : object
        A block, target or metadata. What has not a row for each sample is returned
        as it is.
    chosen : ndarray of bool of shape (n_samples,)
        The samples.

    Returns
    -------
    object
        The rows; the values themselves if all samples are chosen.
    """
    if chosen.all() or not (hasattr(values, "__len__") or hasattr(values, "shape")):
        return values
    rows = values if hasattr(values, "shape") else np.asarray(values)
    if rows.shape[:1] != chosen.shape:
        return values
    return take_rows(rows, np.flatnonzero(chosen))


def over_all_samples(rows: np.ndarray, chosen: np.ndarray, lacking: Any) -> np.ndarray:
    """Spread the rows of chosen samples over all samples, as `of_samples` reversed.

    Parameters
    ----------
    rows : ndarray of shape (n_chosen, ...)
        The rows.
    chosen : ndarray of bool of shape (n_samples,)
        The samples that they belong to.
    lacking : object
        Value of the rows of other samples.

    Returns
    -------
    ndarray of shape (n_samples, ...)
        The rows of all samples.
    """
    if chosen.all():
        return rows
    shape = (len(chosen), *rows.shape[1:])
    spread = np.full(shape, lacking, dtype=np.result_type(rows, lacking))
    spread[chosen] = rows
    return spread


def column_names(block: Block) -> list[str] | None:
    """Return the names of a frame's columns; None for blocks without names."""
    if isinstance(block, np.ndarray) or not is_frame(block):
        return None
    names = list(block.columns)
    return names if all(isinstance(n, str) for n in names) else None


def null_cells(values: np.ndarray) -> np.ndarray:
    """Return which values of an array of any dtype are NaN, NaT, None or NA."""
    if values.dtype.kind in "fcmM":
        return np.isnan(values)
    if values.dtype.kind == "O":
        with np.errstate(invalid="ignore"):  # of comparisons with NaN, Python 3.13
            return np.frompyfunc(is_null, 1, 1)(values).astype(bool)
    return np.zeros(values.shape, dtype=bool)


def _null_mask(block: Block) -> np.ndarray:
    if package_of(block) == "pandas":  # its NA compares to NA, neither true nor false
        return block.isna().to_numpy()
    return null_cells(block.toarray() if sparse.issparse(block) else np.asarray(block))


def _is_all_null(values: np.ndarray) -> bool:
    # the first value is usually observed, so that the others need not be read
    first = values[(slice(1),) * values.ndim]
    return bool(null_cells(first).all() and null_cells(values).all())


def observed_rows(block: Block) -> np.ndarray:
    """Return, for every sample, whether it has the modality of a block.

    A row that is all NaN (or None), and a sequence that is None, without frames or
    all NaN, is a missing modality. Only rows whose first value is null are read whole.
    """
    if is_sequences(block):
        return np.array([e is not None and not _is_all_null(e) for e in block], bool)
    observed = np.ones(block.shape[0], dtype=bool)
    if 0 in block.shape:
        return observed
    if sparse.issparse(block):
        full = np.flatnonzero(np.diff(block.indptr) == block.shape[1])  # no zeros
        suspects = full[null_cells(block.data[block.indptr[full]])]
    elif isinstance(block, np.ndarray) or is_dask_array(block):
        return np.concatenate(map_pieces(_observed_in_piece, block))
    else:  # a DataFrame
        suspects = np.flatnonzero(_null_mask(take_columns(block, [0])))
    if suspects.size:
        null = _null_mask(take_rows(block, suspects))
        observed[suspects[null.reshape(len(suspects), -1).all(axis=1)]] = False
    return observed


def _observed_in_piece(values: np.ndarray) -> np.ndarray:
    """Return which rows of an array are not all null."""
    observed = np.ones(len(values), dtype=bool)
    cell: Any = (..., *(0,) * (values.ndim - 1))
    suspects = np.flatnonzero(null_cells(values[cell]))
    if suspects.size:
        null = null_cells(values[suspects]).reshape(len(suspects), -1)
        observed[suspects] = ~null.all(axis=1)
    return observed


def take_columns(block: Block, columns: Any) -> Block:
    """Return columns of a table, by positions or by a slice."""
    if package_of(block) == "pandas":
        return block.iloc[:, columns]
    return block[:, columns]


def as_table(block: Block, name: str) -> Any:
    """Return a block as one 2-D array or CSR matrix, with one row per sample."""
    if is_sequences(block):
        if all(element is None for element in block):
            raise ValueError(f"modality {name!r} is missing for every sample")
        raise ValueError(
            f"modality {name!r} holds sequences, which do not fit in one 2-D array; "
            "pool or resample them first"
        )
    if sparse.issparse(block):
        return block
    array = np.asarray(block)
    if array.dtype.kind in "US":  # stacked with numbers, it would turn them into text
        array = array.astype(object)
    return array if array.ndim == 2 else array.reshape(len(array), -1)


def equal(a: Block, b: Block) -> bool:
    """Return whether two blocks are equal, where NaN equals NaN."""
    if kind(a) != kind(b) or a.shape != b.shape:
        return False
    if sparse.issparse(a):
        a, b = _canonical(a), _canonical(b)
        return (
            np.array_equal(a.indptr, b.indptr)
            and np.array_equal(a.indices, b.indices)
            and _dense_equal(a.data, b.data)
        )
    if is_frame(a):
        if package_of(a) == package_of(b) == "pandas":  # row labels do not count
            a, b = a.reset_index(drop=True), b.reset_index(drop=True)
        return type(a) is type(b) and bool(a.equals(b))
    if is_sequences(a):
        pairs = zip(a, b, strict=True)
        return all((x is y) or _dense_equal(x, y) for x, y in pairs)
    return _dense_equal(np.asarray(a), np.asarray(b))  # dask has no comparison with NaN


def _canonical(matrix: Block) -> Block:
    """Return a sparse matrix without repeated entries and stored zeros."""
    matrix = matrix.copy()
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _dense_equal(a: Any, b: Any) -> bool:
    if a is None or b is None or a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind == "O":
        null = null_cells(a)
        a, b = np.where(null, None, a), np.where(null_cells(b), None, b)
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fcmM"))


def without_caches(block: Block) -> Block:
    """Return a sparse matrix without the properties that scipy has cached in it."""
    if not sparse.issparse(block):
        return block
    return type(block)((block.data, block.indices, block.indptr), shape=block.shape)


def column_slices(widths: list[int]) -> list[slice]:
    """Return the columns of each modality among blocks of these widths side by side."""
    edges = np.concatenate([[0], np.cumsum(widths)])
    return [slice(int(start), int(stop)) for start, stop in pairwise(edges)]


def is_all_finite(block: Block) -> bool:
    """Return whether the sum of a dense or sparse block is finite.

    A sum that overflows, or cells of missing rows, are for `first_infinite_cell`.
    """
    values = block.data if sparse.issparse(block) else block
    return all(map_pieces(_is_sum_finite, values))


def _is_sum_finite(values: np.ndarray) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        # a sum allocates no array of the size of the block
        return bool(np.isfinite(values.sum()))


def with_nan(table: Block, observed: np.ndarray) -> Any:
    """Fill the rows of missing samples with NaN.

    Parameters
    ----------
    table : block of shape (n_samples, n_features)
        The table, dense or sparse; it is not modified.
    observed : ndarray of bool of shape (n_samples,)
        Whether each sample has the modality.

    Returns
    -------
    block of shape (n_samples, n_features)
        The table; itself where no sample is missing.
    """
    if observed.all():
        return table
    nan = np.float32(np.nan)  # does not promote float32 tables to float64
    if sparse.issparse(table):
        missing = sparse.csr_array(np.where(observed, np.float32(0), nan)[:, None])
        return table + missing @ sparse.csr_array(np.ones((1, table.shape[1]), "f4"))
    return np.where(observed[:, None], table, np.array(nan))
