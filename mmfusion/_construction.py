"""Construction of `Modalities`: names, blocks, row labels and mask from user data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from mmfusion import _blocks, _row_labels
from mmfusion._blocks import Block
from mmfusion._columns import (
    SEPARATOR,
    default_names,
    multi_index_spec,
    resolve_columns,
)
from mmfusion._row_labels import Labels, labels_of
from mmfusion._text import recordings_remedy
from mmfusion._typing import BlockLike, ColumnSpecLike

LISTED_MODALITIES = 5  # with their numbers of rows, in an error
FILE_REMEDY = "; mmfusion.datasets.load_file(path) returns the data in a file"


def read_blocks(data: object) -> tuple[list[Any], list[str] | None]:
    """Return the blocks in a list, dict or DataFrame, and their names.

    Parameters
    ----------
    data : list, dict or DataFrame with a MultiIndex
        Data by modality.

    Returns
    -------
    blocks : list
        Data of each modality, not validated.
    names : list of str or None
        Names of the modalities; None for a list.

    Raises
    ------
    TypeError
        If the modalities of `data` cannot be distinguished.
    """
    if isinstance(data, Mapping) and not sparse.issparse(data):  # dok_array is a dict
        return list(data.values()), list(data)
    if _blocks.is_frame(data):
        spec = multi_index_spec(data)
        if spec is not None:
            return [
                _blocks.take_columns(data, columns).droplevel(0, axis=1)
                for columns in spec.values()
            ], list(spec)
    if isinstance(data, list | tuple):
        return list(data), None
    raise TypeError(
        f"a {type(data).__name__} is not data by modality; give a list or dict of "
        "arrays, Modalities([X]) for one modality, or "
        "Modalities.from_table(X, modalities=...) to split a table by columns"
        f"{FILE_REMEDY if isinstance(data, str | PathLike) else ''}"
    )


def split_table(table: BlockLike, modalities: ColumnSpecLike) -> dict[str, Block]:
    """Split the columns of a table into modalities.

    Parameters
    ----------
    table : array, sparse matrix or DataFrame of shape (n_samples, n_features)
        The table.
    modalities : int, list of int, str, dict or None
        Column spec, see `Modalities.from_table`.

    Returns
    -------
    dict of str to block
        Columns of each modality.

    Raises
    ------
    ValueError
        If the table has another shape, or the spec does not fit it.
    """
    plain: Any = _blocks.as_plain(table, "the table")
    if not hasattr(plain, "shape") or isinstance(plain, type):
        plain = plain_array(plain, "the table")
    if len(plain.shape) < 2:
        raise ValueError(
            f"a table has shape (n_samples, n_features); got {tuple(plain.shape)}"
        )
    columns = resolve_columns(modalities, plain)
    return {name: _blocks.take_columns(plain, c) for name, c in columns.items()}


def align_frames(
    frames: Mapping[str, Any], join: str
) -> tuple[dict[str, Any], np.ndarray]:
    """Align pandas DataFrames by their row labels.

    Parameters
    ----------
    frames : dict of str to DataFrame or Series of sequences
        Data of each modality.
    join : {'exact', 'inner', 'outer'}
        See `Modalities.from_frames`.

    Returns
    -------
    aligned : dict of str to DataFrame or Series
        The data with the same row labels in the same order.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Whether a modality has a row for the sample.

    Raises
    ------
    ValueError
        If the labels do not identify samples, or do not fit `join`.
    TypeError
        If an entry is not a pandas DataFrame.
    """
    for name, frame in frames.items():
        _check_labelled(frame, name)
    labelled: dict[str, Labels] = {n: labels_of(f) for n, f in frames.items()}
    labels = _row_labels.align_labels(labelled, join)
    rows = {name: own.get_indexer(labels) for name, own in labelled.items()}
    aligned = {
        name: _row_labels.relabelled(aligned_rows(frame, rows[name]), labels)
        for name, frame in frames.items()
    }
    return aligned, np.column_stack(list(rows.values())) >= 0


def _check_labelled(frame: Block, name: str) -> None:
    if labels_of(frame) is None:
        library = type(frame).__module__.partition(".")[0]
        raise TypeError(
            f"modality {name!r} is a {library} {type(frame).__name__}, which has no "
            "row labels to align by; give a pandas DataFrame whose index identifies "
            "the samples"
        )
    if frame.ndim == 1 and frame.dtype != object:
        raise TypeError(
            f"modality {name!r} is a Series of {frame.dtype}; give a DataFrame, such "
            "as series.to_frame()"
        )


def aligned_rows(frame: Block, rows: np.ndarray) -> Any:
    """Return rows of a DataFrame or Series by position, where -1 is a missing row."""
    found = rows >= 0
    if found.all():
        return frame.iloc[rows]  # reindex could change dtypes
    numbered = frame.reset_index(drop=True)
    aligned = numbered.reindex(rows)
    return aligned if frame.ndim == 2 else aligned.where(found, None)


def check_names(names: Iterable[str], n_modalities: int) -> tuple[str, ...]:
    """Check the names of modalities.

    Parameters
    ----------
    names : iterable of str
        Names, in the order of the modalities.
    n_modalities : int
        Number of modalities.

    Returns
    -------
    tuple of str
        The names.

    Raises
    ------
    TypeError
        If `names` is not a list of strings, or has no order.
    ValueError
        If a name is invalid, repeats or is missing.
    """
    has_order = isinstance(names, Iterable) and getattr(names, "ndim", 1) == 1
    if not has_order or isinstance(names, str | bytes | Set | Mapping):
        raise TypeError(
            f"names is a {type(names).__name__}; give a list of str, one per modality"
        )
    names = tuple(names)
    if len(names) != n_modalities:
        raise ValueError(f"{len(names)} names for {n_modalities} modalities")
    for name in names:
        if not isinstance(name, str) or not name or SEPARATOR in name:
            raise ValueError(
                f"{name!r} cannot name a modality: names of modalities are non-empty "
                f"strings without {SEPARATOR!r}"
            )
    if len(set(names)) < len(names):
        raise ValueError(f"names of modalities repeat: {list(names)}")
    return tuple(map(str.__str__, names))  # joblib hashes numpy's strings differently


def check_blocks(data: Sequence[Any], names: tuple[str, ...]) -> tuple[Block, ...]:
    """Convert the data of each modality to a block with one row per sample.

    Parameters
    ----------
    data : list
        Data of each modality; None where no sample has it.
    names : tuple of str
        Names of the modalities.

    Returns
    -------
    tuple of block
        The blocks.

    Raises
    ------
    ValueError
        If the numbers of rows differ, or all modalities are None.
    """
    blocks = [
        None if block is None else _blocks.as_block(block, name)
        for block, name in zip(data, names, strict=True)
    ]
    counts = {
        n: b.shape[0] for n, b in zip(names, blocks, strict=True) if b is not None
    }
    if not counts:
        raise ValueError("every modality is None; give the data of at least one")
    if len(set(counts.values())) > 1:
        hint = ""
        if any(labels_of(block) is not None for block in data):
            hint = (
                ", or align DataFrames by label with Modalities.from_frames(frames, "
                "join='outer')"
            )
        elif _may_be_recordings(blocks):
            are_named = list(names) != default_names(len(names))
            remedy = recordings_remedy(list(counts), are_named=are_named)
            hint = f". If a row is a frame of a long recording, {remedy}"
            if _are_alike(blocks):
                hint += lone_list_hint(names)
        several = [f"{name!r} has {count}" for name, count in counts.items()]
        listed = ", ".join(several[:LISTED_MODALITIES])
        if len(several) > LISTED_MODALITIES:
            listed += f", and {len(several) - LISTED_MODALITIES} more"
        raise ValueError(
            f"modalities disagree on the number of samples: {listed}. Every modality "
            "needs one row per sample; put None or a row of NaN where one is missing"
            f"{hint}"
        )
    # a modality that no sample has is a block of sequences, all of them missing
    missing = np.full(next(iter(counts.values())), None, dtype=object)
    return tuple(missing if block is None else block for block in blocks)


def names_of_frames(
    data: Sequence[Any], names: tuple[str, ...]
) -> dict[str, list[str]]:
    """Return the names of the features of sequences that are DataFrames.

    Parameters
    ----------
    data : list
        Data of each modality, as given.
    names : tuple of str
        Names of the modalities.

    Returns
    -------
    dict of str to list of str
        Column names, by modality, of those whose sequences all have them.

    Raises
    ------
    ValueError
        If the sequences of a modality have other columns, or in another order.
    """
    found: dict[str, list[str]] = {}
    for name, block in zip(names, data, strict=True):
        is_listed = isinstance(block, list | tuple)
        if not is_listed and getattr(getattr(block, "dtype", None), "kind", "") != "O":
            continue
        given = [(i, x) for i, x in enumerate(block) if x is not None]
        # the first one, of most blocks, has no names, and the others are not read
        if not given or _blocks.column_names(given[0][1]) is None:
            continue
        columns = [_blocks.column_names(x) for _, x in given]
        if None in columns:
            continue
        first, own = given[0][0], columns[0]
        for (i, _), others in zip(given, columns, strict=True):
            if others != own:
                raise ValueError(
                    f"modality {name!r}: the frames of sample {i} have the features "
                    f"{others}, and those of sample {first} {own}: give the same "
                    "columns in the same order, such as frames[columns] of each"
                )
        found[name] = list(own or ())
    return found


def joined_names(
    features: Sequence[Mapping[str, list[str]]],
) -> dict[str, list[str]]:
    """Return the names of the features of modalities whose samples are joined.

    Parameters
    ----------
    features : list of dict of str to list of str
        Names by modality, of those that have them, of each part.

    Returns
    -------
    dict of str to list of str
        The names.

    Raises
    ------
    ValueError
        If a modality has other names in one part than in another.
    """
    joined: dict[str, list[str]] = {}
    for part in features:
        for name, own in part.items():
            if joined.setdefault(name, own) != own:
                raise ValueError(
                    f"modality {name!r} has the features {own} in one part, and "
                    f"{joined[name]} in another: give the same features in the same "
                    "order"
                )
    return joined


def lone_list_hint(names: Sequence[str]) -> str:
    """Return a remedy for sequences of one modality that are read as modalities.

    Parameters
    ----------
    names : sequence of str
        Names of the modalities.

    Returns
    -------
    str
        The remedy; '' for one modality, and for modalities with names.
    """
    if len(names) < 2 or list(names) != default_names(len(names)):
        return ""
    return (
        f". If these {len(names)} arrays are the sequences of one modality, one for "
        "each sample, give [X], a list with that one modality"
    )


def _are_alike(blocks: Sequence[Any]) -> bool:
    """Return whether all blocks are tables of one width."""
    shapes = [np.shape(block) for block in blocks]
    return {len(s) for s in shapes} == {2} and len({s[1] for s in shapes}) == 1


def _may_be_recordings(blocks: Sequence[Block | None]) -> bool:
    """Return whether all blocks are matrices of numbers, as recordings are."""
    return all(
        block is None
        or (
            _blocks.kind(block) == "dense"
            and block.ndim == 2
            and block.dtype.kind in "biuf"
        )
        for block in blocks
    )


def shared_row_labels(data: Sequence[Any], names: tuple[str, ...]) -> Labels | None:
    """Return the row labels of those modalities that are pandas objects.

    Parameters
    ----------
    data : list
        Data of each modality.
    names : tuple of str
        Names of the modalities.

    Returns
    -------
    Index or None
        The labels; None if no modality has any.

    Raises
    ------
    ValueError
        If the labels of two modalities, or their order, differ.
    """
    labels = dict(zip(names, map(labels_of, data), strict=True))
    return _row_labels.common_labels(
        {name: own for name, own in labels.items() if own is not None}
    )


def check_mask(
    observed: ArrayLike | None,
    names: tuple[str, ...],
    n_samples: int,
    labels: Labels | None,
) -> np.ndarray | None:
    """Check the mask of observed samples.

    Parameters
    ----------
    observed : array-like of bool of shape (n_samples, n_modalities) or None
        Whether a sample has a modality.
    names : tuple of str
        Names of the modalities.
    n_samples : int
        Number of samples.
    labels : Index or None
        Row labels of the samples.

    Returns
    -------
    ndarray of bool of shape (n_samples, n_modalities) or None
        The mask.

    Raises
    ------
    ValueError
        If shape, dtype, columns or row labels do not fit.
    """
    if observed is None:
        return None
    _row_labels.check_row_labels(labels, observed, "observed")
    columns = getattr(observed, "columns", None)
    if columns is not None and tuple(columns) != names:
        raise ValueError(
            f"observed has the columns {list(columns)}; the modalities are "
            f"{list(names)}, in that order"
        )
    if isinstance(observed, np.ma.MaskedArray):
        raise ValueError("observed is a masked array; give observed.filled(False)")
    mask = plain_array(observed, "observed")
    shape = n_samples, len(names)
    if mask.shape != shape or mask.dtype != bool:
        raise ValueError(
            f"observed is bool of shape (n_samples, n_modalities) = {shape}; got "
            f"{mask.dtype} of shape {mask.shape}"
        )
    return mask


def plain_array(data: object, what: str) -> np.ndarray:
    """Convert an array of any package, or nested lists, to an ndarray.

    Parameters
    ----------
    data : object
        The data.
    what : str
        Name of the data in errors.

    Returns
    -------
    ndarray
        The array, without a copy where possible.

    Raises
    ------
    TypeError
        If the type is not one of arrays.
    ValueError
        If it cannot be converted.
    """
    plain = _blocks.as_plain(data, what)
    try:
        return np.asarray(plain)
    except (TypeError, ValueError, RuntimeError) as error:  # torch: lists of tensors
        raise ValueError(f"{what} is not an array: {error}") from error
