"""Indexing of `Modalities`: positions of any index; the indexers `iloc`, `loc`."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from mmfusion._construction import plain_array
from mmfusion._numbers import is_integer
from mmfusion._row_labels import label_positions

if TYPE_CHECKING:
    from mmfusion.modalities import Modalities


class PositionIndexer:
    """Index `Modalities` by position, as ``iloc`` of a DataFrame.

    A column is returned as a block only when all of its rows are selected, and as
    Modalities otherwise: ``permutation_importance`` reads ``iloc[rows, j]``, sets the
    ``index`` of the result and assigns it back, which an array does not support;
    ColumnTransformer reads ``iloc[:, j]`` and needs the block for its transformer.

    Parameters
    ----------
    frame : Modalities
        The data.
    """

    def __init__(self, frame: Modalities) -> None:
        self._frame = frame

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple) and len(key) == 2 and not selects_all(key[0]):
            rows, columns = key
            if isinstance(columns, str | Integral):
                columns = [columns]
            return self._frame[rows, columns]
        return self._frame[key]


class LabelIndexer(PositionIndexer):
    """Index `Modalities` by row label, as ``loc`` of a DataFrame.

    Rows of data without row labels are indexed by position.

    Parameters
    ----------
    frame : Modalities
        The data.
    """

    def __getitem__(self, key: Any) -> Any:
        rows, columns = key if isinstance(key, tuple) and len(key) == 2 else (key, ...)
        labels = self._frame._index
        if labels is not None and not (selects_all(rows) or _is_mask(rows)):
            rows = label_positions(labels, rows)
        return super().__getitem__((rows, columns))


def selects_all(key: object) -> bool:
    """Return whether an index is ``...`` or ``:``."""
    return key is Ellipsis or (isinstance(key, slice) and key == slice(None))


def _is_mask(key: object) -> bool:
    """Return whether a key is a mask by position; a pandas Series has labels."""
    if isinstance(key, np.ndarray):
        return key.dtype == bool
    return isinstance(key, list) and len(key) > 0 and all(map(_is_flag, key))


def _is_flag(value: object) -> bool:
    """Return whether a value is True or False, of Python or NumPy."""
    return isinstance(value, bool | np.bool_)


def row_positions(rows: Any, n_samples: int) -> slice | np.ndarray:
    """Convert an index of samples to a slice or to non-negative positions.

    Parameters
    ----------
    rows : int, slice, range, or array-like of int or bool
        The index; negative positions count from the end.
    n_samples : int
        Number of samples.

    Returns
    -------
    slice or ndarray of int
        Positions; a slice for a slice, since it selects a view.

    Raises
    ------
    IndexError
        If the index is of another kind, or out of range.
    """
    if isinstance(rows, slice):
        return _bounded_slice(rows, n_samples)
    if is_integer(rows):
        rows = [int(rows)]
    if isinstance(rows, range):
        rows = list(rows)
    if isinstance(rows, list) and len({_is_flag(row) for row in rows}) > 1:
        raise IndexError("the index of samples mixes positions with True and False")
    if isinstance(rows, np.ma.MaskedArray) and np.ma.is_masked(rows):
        raise IndexError("the index of samples is a masked array with masked rows")
    try:
        positions = plain_array(rows, "the index of samples")
    except (TypeError, ValueError) as error:
        raise IndexError(str(error)) from error
    if positions.size == 0 and positions.ndim == 1 and positions.dtype != bool:
        return np.empty(0, dtype=np.intp)  # [] is an array of float64
    if positions.dtype == object and all(is_integer(r) for r in positions.flat):
        outside = np.array([max(positions.flat, key=abs)])  # beyond 64 bits
    elif positions.ndim != 1 or positions.dtype.kind not in "bui":
        raise IndexError(
            "index samples by integers, a boolean mask or a slice, modalities by "
            "name, and row labels by X.loc"
        )
    elif positions.dtype == bool:
        if len(positions) != n_samples:
            raise IndexError(
                f"the mask has {len(positions)} entries for {n_samples} samples"
            )
        return np.flatnonzero(positions)
    else:
        outside = positions[(positions < -n_samples) | (positions >= n_samples)]
    if outside.size:
        raise IndexError(f"sample {outside[0]} is out of range for {n_samples} samples")
    positions = positions.astype(np.intp)  # int8 would overflow when n_samples is added
    return np.where(positions < 0, positions + n_samples, positions)


def modality_position(modality: str | int, names: tuple[str, ...]) -> int:
    """Return the position of a modality.

    Parameters
    ----------
    modality : str or int
        Name or position; negative positions count from the end.
    names : tuple of str
        Names of the modalities.

    Returns
    -------
    int
        Position from 0.

    Raises
    ------
    KeyError
        If the name is unknown.
    IndexError
        If the position is out of range.
    """
    if isinstance(modality, str):
        if modality not in names:
            raise KeyError(
                f"there is no modality {modality!r}; there are {list(names)}"
            )
        return names.index(modality)
    n_modalities = len(names)
    if not is_integer(modality) or not -n_modalities <= int(modality) < n_modalities:
        raise IndexError(
            f"{modality!r} is not the position of a modality; there are "
            f"{n_modalities}: {list(names)}"
        )
    return int(modality) % n_modalities


def modality_positions(columns: Any, names: tuple[str, ...]) -> list[int]:
    """Convert an index of modalities to positions.

    Parameters
    ----------
    columns : int, str, slice, or list or 1-D array of int, str or bool
        The index.
    names : tuple of str
        Names of the modalities.

    Returns
    -------
    list of int
        Positions from 0, at least one and none twice.

    Raises
    ------
    KeyError
        If a name is unknown.
    IndexError
        If the index is out of range or selects no modality.
    ValueError
        If a modality is selected twice.
    """
    if isinstance(columns, slice):
        positions = list(range(len(names))[_bounded_slice(columns, len(names))])
    else:
        is_list = isinstance(columns, list | tuple | range) or (
            getattr(columns, "ndim", 0) == 1
        )
        columns = list(columns) if is_list else [columns]
        if columns and all(map(_is_flag, columns)):
            if len(columns) != len(names):
                raise IndexError(
                    f"the mask has {len(columns)} entries for {len(names)} modalities"
                )
            columns = np.flatnonzero(columns)
        positions = [modality_position(column, names) for column in columns]
    if not positions:
        raise IndexError("the index selects no modality")
    if len(set(positions)) < len(positions):
        raise ValueError(f"names of modalities repeat: {[names[p] for p in positions]}")
    return positions


def _bounded_slice(rows: slice, size: int) -> slice:
    """Restrict a slice of positions to the bounds of an axis.

    Parameters
    ----------
    rows : slice
        Slice of positions of any size.
    size : int
        Length of the axis.

    Returns
    -------
    slice
        An equivalent slice whose numbers fit in 64 bits.

    Raises
    ------
    IndexError
        If the slice is not one of positions.
    """
    try:
        start, stop, step = rows.indices(size)
    except (TypeError, ValueError) as error:
        raise IndexError(
            f"{rows} is not a slice of positions ({error}); X.loc takes row labels"
        ) from error
    if start < 0:  # a negative step from before the first position selects nothing
        return slice(0, 0)
    step = min(max(step, -size - 1), size + 1)  # pandas overflows beyond 64 bits
    return slice(start, None if stop < 0 else stop, step)
