"""Column specs: the assignment of the columns of a table to modalities."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from mmfusion._blocks import Block, column_names, column_slices
from mmfusion._numbers import is_frame
from mmfusion._sklearn_compat import column_indices
from mmfusion._typing import ColumnSpecLike

SEPARATOR = "__"  # that of scikit-learn between a step and its parameter or feature


def default_names(n_modalities: int) -> list[str]:
    """Return names for modalities without names."""
    return [f"modality_{v}" for v in range(n_modalities)]


def resolve_columns(
    spec: ColumnSpecLike, table: Block
) -> dict[str, slice | np.ndarray]:
    """Find the columns of every modality in a table.

    Parameters
    ----------
    spec : None, int, str, list of int, or dict
        None: all columns are one modality. An integer k: k groups of adjacent columns
        of (nearly) equal width. A list: the width of each group. A string: the
        separator of modality and feature in column names. A dict: columns by
        modality, in any form that ColumnTransformer supports.
    table : array, sparse matrix or DataFrame of shape (n_samples, n_features)
        Table with these columns.

    Returns
    -------
    dict of str to slice or ndarray
        Column positions by modality; slices wherever columns are adjacent.

    Raises
    ------
    ValueError
        If the spec does not fit the table.
    TypeError
        If `spec` is not a column spec.
    """
    n_columns = table.shape[1]
    if spec is None:
        return dict(zip(default_names(1), [slice(0, n_columns)], strict=True))
    if isinstance(spec, int | np.integer) and not isinstance(
        spec, bool | np.timedelta64
    ):
        if not 1 <= spec <= n_columns:
            raise ValueError(
                f"modalities={spec} specifies {spec} modalities, but X has "
                f"{n_columns} feature(s); give at most one modality per feature"
            )
        groups = np.array_split(np.arange(n_columns), spec)
        return _adjacent_columns([len(group) for group in groups])
    if isinstance(spec, str):
        return _by_separator(spec, table)
    if isinstance(spec, Mapping) and not sparse.issparse(spec):  # dok_array is a dict
        if not spec:
            raise ValueError("modalities={} names no modality")
        resolved = {
            name: _as_slice(_column_positions(table, name, columns))
            for name, columns in spec.items()
        }
        for name, columns in resolved.items():
            if not isinstance(columns, slice) and len(columns) == 0:
                raise ValueError(f"modality {name!r} has no columns in modalities=")
        return resolved
    if isinstance(spec, list | tuple) and all(
        isinstance(w, int | np.integer) for w in spec
    ):
        if sum(spec) != n_columns or min(spec, default=0) < 1:
            raise ValueError(
                f"modalities={list(spec)} are widths that add up to {sum(spec)}, but X "
                f"has {n_columns} feature(s); widths are positive and cover all columns"
            )
        return _adjacent_columns(list(spec))
    raise TypeError(
        f"modalities={spec!r} is not a column spec; give a number of modalities, a "
        "list of widths, a separator, or a dict of columns by modality"
    )


def _adjacent_columns(widths: list[int]) -> dict[str, slice | np.ndarray]:
    return dict(zip(default_names(len(widths)), column_slices(widths), strict=True))


def _column_positions(table: Block, modality: str, columns: Any) -> ArrayLike:
    """Return the positions of the columns that one entry of a dict selects."""
    if callable(columns):
        try:
            columns = columns(table)
        except (TypeError, ValueError) as error:
            raise type(error)(f"modalities[{modality!r}]: {error}") from error
    if isinstance(columns, slice) and not any(
        isinstance(end, str) for end in (columns.start, columns.stop)
    ):
        # positions beyond the last column are cut off, as in any slice
        return np.arange(table.shape[1])[columns]
    try:
        if isinstance(columns, bool | np.bool_):
            # scikit-learn would read True as position 1
            raise TypeError("columns are names, positions, a slice or a mask")
        return column_indices(table, columns)
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        OverflowError,
        AttributeError,
    ) as error:
        raise ValueError(
            f"modalities={{{modality!r}: {columns!r}}} does not fit X: "
            f"{_why_no_columns(table, columns) or error}"
        ) from error


def _why_no_columns(table: Block, columns: object) -> str | None:
    """Return why columns are not found by name; None if they are not names."""
    wanted = [columns] if isinstance(columns, str) else columns
    if not isinstance(wanted, list | tuple) or not any(
        isinstance(c, str) for c in wanted
    ):
        return None
    names = column_names(table)
    if names is None:
        return (
            "its columns have no names; give a DataFrame, or positions of columns; "
            "steps before this one keep the names with set_output(transform='pandas')"
        )
    unknown = [c for c in wanted if c not in names]
    return _missing_columns(unknown, names) if unknown else None


def _missing_columns(unknown: list[Any], names: list[str]) -> str:
    """Return an error text for unknown columns, with similar names if there are any."""
    if any("*" in str(c) for c in unknown):
        return (
            f"it has no columns {unknown}; only load_table reads patterns: list the "
            "columns, or give the separator in their names, such as modalities='_'"
        )
    close = {n for c in unknown for n in get_close_matches(str(c), names, n=1)}
    hint = f"; did you mean {sorted(close)}?" if close else f"; it has {names[:20]}"
    return f"it has no columns {unknown}{hint}"


def columns_by_name(
    table: Block, columns: Mapping[str, list[str]]
) -> dict[str, slice | np.ndarray]:
    """Find columns of a DataFrame by their names in `fit`.

    Parameters
    ----------
    table : DataFrame
        Table with these columns, in any order, and possibly others.
    columns : dict of str to list of str
        Column names by modality.

    Returns
    -------
    dict of str to slice or ndarray
        Column positions by modality.

    Raises
    ------
    ValueError
        If the table lacks a column, or two columns have its name.
    """
    names = list(table.columns)
    positions = {name: j for j, name in enumerate(names)}
    found = {}
    for modality, wanted in columns.items():
        unknown = [name for name in wanted if name not in positions]
        if unknown:
            raise ValueError(
                f"X lacks columns of modality {modality!r} that it had in fit: "
                f"{_missing_columns(unknown, [str(n) for n in names])}"
            )
        repeated = [name for name in wanted if names.count(name) > 1]
        if repeated:
            raise ValueError(
                f"X has several columns {repeated[0]!r}, one of modality {modality!r}; "
                "keep one"
            )
        found[modality] = _as_slice([positions[name] for name in wanted])
    return found


def _as_slice(positions: ArrayLike) -> slice | np.ndarray:
    """Return adjacent positions as a slice, others as an array."""
    positions = np.asarray(positions, dtype=np.intp)
    # a slice takes a view of a dense table where positions would copy it
    if positions.size and np.all(np.diff(positions) == 1):
        return slice(int(positions[0]), int(positions[-1]) + 1)
    return positions


def _by_separator(separator: str, table: Block) -> dict[str, slice | np.ndarray]:
    names = column_names(table)
    if names is None:
        raise ValueError(
            f"modalities={separator!r} reads the modality from the columns' names, but "
            "X has no string column names; give a DataFrame, or widths or a dict"
        )
    plain = [n for n in names if separator not in n]
    if plain:
        raise ValueError(
            f"modalities={separator!r}: column {plain[0]!r} has no {separator!r}; name "
            f"columns <modality>{separator}<feature>, or give a dict of columns"
        )
    groups: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        groups.setdefault(name.split(separator, 1)[0], []).append(position)
    return {name: _as_slice(positions) for name, positions in groups.items()}


def multi_index_spec(table: Block) -> dict[str, np.ndarray] | None:
    """Return columns by the first level of a pandas MultiIndex, or None without one."""
    if not is_frame(table) or getattr(table.columns, "nlevels", 1) < 2:
        return None
    level = np.asarray(table.columns.get_level_values(0), dtype=str)
    return {str(n): np.flatnonzero(level == n) for n in dict.fromkeys(level)}
