"""Modalities in the columns of a csv, tsv or parquet file."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from fnmatch import fnmatchcase
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from sklearn.utils import Bunch

from mmfusion._atomic import as_path
from mmfusion._columns import resolve_columns
from mmfusion._extras import import_extra
from mmfusion._options import check_flags
from mmfusion._typing import ColumnSpecLike
from mmfusion.datasets._formats import (
    GZIP_MAGIC,
    PARQUET_MAGIC,
    check_regular,
    extension_of,
    other_loader,
)
from mmfusion.modalities import Modalities

DELIMITERS = (",", ";", "\t")
MAX_LISTED = 20  # columns in errors


@overload
def load_table(
    path: str | PathLike[str],
    modalities: ColumnSpecLike = ...,
    *,
    target: str | None = ...,
    index: str | None = ...,
    return_X_y: Literal[False] = ...,
) -> Bunch: ...


@overload
def load_table(
    path: str | PathLike[str],
    modalities: ColumnSpecLike = ...,
    *,
    target: str | None = ...,
    index: str | None = ...,
    return_X_y: Literal[True],
) -> tuple[Modalities, np.ndarray | None]: ...


def load_table(
    path: str | PathLike[str],
    modalities: ColumnSpecLike = None,
    *,
    target: str | None = None,
    index: str | None = None,
    return_X_y: bool = False,
) -> Bunch | tuple[Modalities, np.ndarray | None]:
    """Load modalities and a target from the columns of a csv, tsv or parquet file.

    Empty cells are NaN, and a sample whose cells of a modality are all empty lacks that
    modality.

    Parameters
    ----------
    path : str or path-like
        File with a row for each sample, and the names of the columns in the first line.
        Text may be separated by commas, semicolons or tabs, and compressed by gzip.
    modalities : int, list of int, str or dict, default=None
        Column spec: a dict of columns by modality, each a list of names or positions, a
        name, a pattern of names with ``*`` and ``?``, or a slice of positions or names;
        the number of modalities of equal width, a list of widths, or the separator of
        modality and feature in the names (with ``"__"``, ``audio__f0`` is feature f0 of
        audio). By default all columns are one modality. Positions count all columns of
        the file; widths and separators leave out `target` and `index`.
    target : str, default=None
        Column of the target.
    index : str, default=None
        Column of the row labels.
    return_X_y : bool, default=False
        Whether to return only the data and the target, as a tuple.

    Returns
    -------
    Bunch
        Dictionary-like object with the fields

        data : Modalities
            The data, as pandas DataFrames with the names of the columns.
        target : ndarray of shape (n_samples,) or None
            Target of each sample, as it is in the file.
        DESCR : str
            Summary of the file.

        or, with ``return_X_y=True``, the tuple (data, target).

    Raises
    ------
    OSError
        If the file does not exist or cannot be opened.
    ValueError
        If the file is no table, lacks a column, its target is incomplete, or a modality
        contains the target or the row labels.
    ImportError
        If pandas is not installed, or pyarrow for a parquet file.

    See Also
    --------
    Modalities.from_table : Splits a table in memory.
    load_file : Loads files of all formats.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from mmfusion.datasets import load_table
    >>> text = "id,a_pitch,a_volume,smile,label\\nann,1,2,3,0\\nbob,,,6,1\\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "people.csv"
    ...     _ = path.write_text(text)
    ...     X, y = load_table(
    ...         path,
    ...         {"audio": "a_*", "video": ["smile"]},
    ...         target="label",
    ...         index="id",
    ...         return_X_y=True,
    ...     )
    >>> X
    Modalities of 2 samples x 2 modalities, labelled 'ann' to 'bob'
      audio  frame (2, 2) float64, 1 missing
      video  frame (2, 1) int64
    >>> y
    array([0, 1])
    """
    path = as_path(path)
    check_flags(return_X_y=return_X_y)
    check_regular(path)
    table = _read_table(path)
    try:
        X, y = _modalities_and_target(table, modalities, target, index)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error
    if return_X_y:
        return X, y
    return Bunch(data=X, target=y, DESCR=f"{path.stem}\n{X!r}")


def _read_table(path: Path) -> Any:
    """Return the DataFrame in a file."""
    with path.open("rb") as file:
        head = file.read(max(len(PARQUET_MAGIC), len(GZIP_MAGIC)))
    pandas = import_extra("pandas", "datasets")
    try:
        if head.startswith(PARQUET_MAGIC) or extension_of(path) == ".parquet":
            import_extra("pyarrow", "datasets")
            return pandas.read_parquet(path, engine="pyarrow")
        compression = "gzip" if head.startswith(GZIP_MAGIC) else None
        return pandas.read_csv(path, sep=_delimiter(path), compression=compression)
    except ImportError:
        raise
    except (ValueError, OSError) as error:  # that of pyarrow and text are ValueErrors
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} is not a csv, tsv or parquet table: {reason}"
            f"{other_loader(path, 'table')}"
        ) from error


def _delimiter(path: Path) -> str:
    """Return the delimiter that is most frequent in the first line of a text file."""
    with path.open("rb") as file:
        is_compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    opener = gzip.open if is_compressed else open
    with opener(path, "rt", encoding="utf-8") as text:
        first = text.readline()
    return max(DELIMITERS, key=first.count)


def _modalities_and_target(
    table: Any, spec: ColumnSpecLike, target: str | None, index: str | None
) -> tuple[Modalities, np.ndarray | None]:
    """Split a DataFrame into modalities, and take the target and row labels out."""
    names = list(table.columns)
    taken = {}
    for parameter, column in (("target", target), ("index", index)):
        if column is None:
            continue
        if not isinstance(column, str) or column not in names:
            raise ValueError(
                f"{parameter}={column!r} is not one of the columns {names[:MAX_LISTED]}"
            )
        taken[parameter] = column
    y = None if target is None else complete_target(table[target], target)
    labelled = table if index is None else table.set_index(index, drop=False)
    others = [j for j, name in enumerate(names) if name not in taken.values()]
    if not isinstance(spec, Mapping):
        return Modalities.from_table(labelled.iloc[:, others], spec), y
    expanded = {
        modality: _expanded(columns, [names[j] for j in others])
        for modality, columns in spec.items()
    }
    positions = resolve_columns(expanded, table)
    for modality, columns in positions.items():
        within = set(table.columns[columns]) & set(taken.values())
        if within:
            raise ValueError(
                f"modality {modality!r} contains {within.pop()!r}, which is the "
                f"{' or '.join(taken)}; leave that column out"
            )
    return Modalities({n: labelled.iloc[:, c] for n, c in positions.items()}), y


def _expanded(columns: Any, names: list[str]) -> Any:
    """Return the names that match a pattern; other columns are returned unchanged."""
    if not isinstance(columns, str) or columns in names:
        return columns
    if not set("*?") & set(columns):
        return [columns]
    found = [name for name in names if fnmatchcase(name, columns)]
    if not found:
        raise ValueError(
            f"no column matches {columns!r}; the columns are {names[:MAX_LISTED]}"
        )
    return found


def complete_target(column: Any, name: str) -> np.ndarray:
    """Return the values of the target, complete."""
    missing = column.isna().to_numpy()
    if missing.any():
        raise ValueError(
            f"target {name!r} is empty in row {int(np.argmax(missing))} "
            f"({missing.sum()} of {len(missing)} rows); remove these rows from the "
            "file, or load it without target="
        )
    return column.to_numpy()
