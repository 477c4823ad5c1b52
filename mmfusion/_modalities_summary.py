"""Summaries of multimodal data: a table of numbers, and a table in HTML."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from mmfusion import _blocks
from mmfusion._blocks import Block
from mmfusion._dask_arrays import is_dask_array, map_chunks
from mmfusion._extras import import_extra
from mmfusion._pieces import map_pieces

MEGABYTE = 2**20
NUMERIC_KINDS = "biuf"
# in the color of the text, so that it is seen on light and dark pages
BAR = (
    '<span style="display:inline-block;width:4em;height:0.6em;border:1px solid '
    'currentColor;opacity:0.6"><span style="display:block;height:100%;width:{:.0f}%;'
    'background:currentColor"></span></span>'
)


class _Values(NamedTuple):
    """Range of the values of a part of a block, and the number of its null cells."""

    low: float = np.nan
    high: float = np.nan
    n_null: int = 0
    n_cells: int = 0

    def merged(self, other: _Values) -> _Values:
        return _Values(
            float(np.fmin(self.low, other.low)),
            float(np.fmax(self.high, other.high)),
            self.n_null + other.n_null,
            self.n_cells + other.n_cells,
        )


def describe_blocks(
    names: Sequence[str], blocks: Sequence[Block], observed: np.ndarray
) -> Any:
    """Describe modalities by numbers.

    Parameters
    ----------
    names : list of str
        Names of the modalities.
    blocks : list of block
        Their blocks.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Whether a sample has a modality.

    Returns
    -------
    pandas DataFrame
        A row for each modality; see `Modalities.describe`.
    """
    pandas = import_extra("pandas")
    rows = [
        _describe(block, seen) for block, seen in zip(blocks, observed.T, strict=True)
    ]
    return pandas.DataFrame(rows, index=pandas.Index(names, name="modality"))


def _describe(block: Block, observed: np.ndarray) -> dict[str, Any]:
    n_missing = int((~observed).sum())
    own = (
        block if n_missing == 0 else _blocks.take_rows(block, np.flatnonzero(observed))
    )
    total = _Values()
    for values in _values(own):
        total = total.merged(values)
    lengths = [len(frames) for frames in own] if _blocks.is_sequences(own) else []
    return {
        "kind": _blocks.kind(block),
        "n_features": _blocks.n_features(block),
        "dtype": _blocks.dtype_name(block),
        "n_missing": n_missing,
        "missing_share": n_missing / len(observed) if len(observed) else 0.0,
        "nan_share": total.n_null / total.n_cells if total.n_cells else 0.0,
        "min": total.low,
        "max": total.high,
        "min_length": min(lengths, default=np.nan),
        "median_length": float(np.median(lengths)) if lengths else np.nan,
        "max_length": max(lengths, default=np.nan),
        "memory_mb": memory_of(block) / MEGABYTE,
    }


def _values(block: Block) -> Iterator[_Values]:
    """Yield the values of the parts of a block."""
    if _blocks.is_sequences(block):
        yield from (_values_of_array(np.asarray(frames)) for frames in block)
    elif sparse.issparse(block):
        own = _values_of_array(block.data)
        n_cells = int(np.prod(block.shape))
        zero = _Values(0.0, 0.0) if block.nnz < n_cells else _Values()
        yield own.merged(zero)._replace(n_cells=n_cells)
    elif is_dask_array(block):
        yield from map_chunks(_values_of_array, block)
    elif isinstance(block, np.ndarray):
        yield from map_pieces(_values_of_array, block)
    else:  # a DataFrame, whose columns may be of several dtypes
        for column in range(block.shape[1]):
            yield _values_of_column(_blocks.take_columns(block, [column]))


def _values_of_column(column: Any) -> _Values:
    n_null = int(_blocks._null_mask(column).sum())
    values = np.asarray(column).ravel()
    if values.dtype.kind == "O" and n_null < len(values):  # numbers among None and NA
        known = values[~_blocks.null_cells(values)]
        numbers = [v for v in known if isinstance(v, int | float | np.number)]
        values = np.array(numbers if len(numbers) == len(known) else [], dtype=object)
        values = values.astype(float) if len(values) else values
    return _values_of_array(values)._replace(n_null=n_null, n_cells=len(column))


def _values_of_array(values: np.ndarray) -> _Values:
    null = _blocks.null_cells(values)
    n_null = int(null.sum())
    if values.dtype.kind not in NUMERIC_KINDS or n_null == values.size:
        return _Values(n_null=n_null, n_cells=values.size)
    known = values[~null] if n_null else values
    return _Values(float(known.min()), float(known.max()), n_null, values.size)


def memory_of(block: Block) -> int:
    """Return the number of bytes of the values of a block, in memory or in a file.

    Parameters
    ----------
    block : block
        The modality.

    Returns
    -------
    int
        The number of bytes.
    """
    if _blocks.is_sequences(block):
        return sum(frames.nbytes for frames in block if frames is not None)
    if sparse.issparse(block):
        return block.data.nbytes + block.indices.nbytes + block.indptr.nbytes
    if hasattr(block, "memory_usage"):  # of pandas
        return int(block.memory_usage(deep=True).sum())
    if hasattr(block, "estimated_size"):  # of polars
        return int(block.estimated_size())
    return int(block.nbytes)


def summary_html(
    title: str,
    rows: Sequence[tuple[str, str, str, str, int]],
    blocks: Sequence[Block],
    observed: np.ndarray,
) -> str:
    """Return the summary of modalities as a table in HTML.

    Parameters
    ----------
    title : str
        The caption.
    rows : list of tuple
        Name, kind, shape, dtype and number of missing samples of each modality.
    blocks : list of block
        The modalities.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Whether a sample has a modality, as far as is known without computing.

    Returns
    -------
    str
        The table, whose text is escaped.
    """
    n_samples = len(observed)
    heads = ("modality", "kind", "shape", "dtype", "memory", "missing")
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = ""
    for (name, *texts, missing), block in zip(rows, blocks, strict=True):
        cells = [name, *texts, _size_text(memory_of(block))]
        text = "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells)
        share = missing / n_samples if n_samples else 0.0
        last = f"{missing} ({100 * share:.1f} %) {BAR.format(100 * share)}"
        body += f"<tr>{text}<td>{last if missing else 0}</td></tr>"
    n_complete = int(observed.all(axis=1).sum())
    foot = ""
    if n_complete < n_samples:
        foot = (
            f'<tfoot><tr><td colspan="{len(heads)}">{n_complete} of {n_samples} '
            "samples have all modalities</td></tr></tfoot>"
        )
    return (
        f"<table><caption>{html.escape(title)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody>{foot}</table>"
    )


def _size_text(n_bytes: int) -> str:
    """Return a number of bytes as text."""
    size, units = float(n_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"
