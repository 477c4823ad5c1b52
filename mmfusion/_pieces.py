"""Rows of arrays in pieces: of mapped files, and the chunks of dask."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from mmfusion._dask_arrays import ChunkReader, chunk_rows, is_dask_array, map_chunks

R = TypeVar("R")

PIECE_BYTES = 2**24  # of a mapped file, read at once


def _mapped_file(block: Any) -> mmap.mmap | None:
    """Return the mapped file that holds a block, if its pages can be released."""
    while isinstance(block, np.ndarray):
        if isinstance(block, np.memmap):
            mapped = block._mmap  # type: ignore[attr-defined]
            can_release = block.mode in ("r", "r+") and hasattr(mapped, "madvise")
            return mapped if can_release else None  # Windows has no madvise
        block = block.base
    return None


def is_mapped(block: Any) -> bool:
    """Return whether a block lies in a mapped file, which is read when accessed."""
    return _mapped_file(block) is not None


def release_pages(block: Any) -> None:
    """Release the memory that holds what was read of a mapped file."""
    mapped = _mapped_file(block)
    if mapped is not None:
        mapped.madvise(mmap.MADV_DONTNEED)


def pieces(array: Any) -> Iterator[slice]:
    """Iterate over the rows of an array: all at once, or in pieces of a mapped file.

    Parameters
    ----------
    array : ndarray, dask array or ChunkReader
        The array; the pieces of one of dask are its chunks.

    Yields
    ------
    slice
        Rows; the memory that they were read into is released before the next.
    """
    if isinstance(array, ChunkReader):
        array = array.array
    if is_dask_array(array):
        yield from chunk_rows(array)
        return
    if not is_mapped(array):
        yield slice(None)
        return
    n_rows = max(1, PIECE_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), n_rows):
        yield slice(start, start + n_rows)
        release_pages(array)


def map_pieces(function: Callable[[np.ndarray], R], array: Any) -> list[R]:
    """Apply a function to all rows of an array, or to its pieces; see `pieces`.

    Parameters
    ----------
    function : callable
        Function of an ndarray.
    array : ndarray or dask array
        The array.

    Returns
    -------
    list
        Its results, in the order of the rows. Chunks of dask are not sent to this
        process: the function is computed where they are.
    """
    if is_dask_array(array):
        return map_chunks(function, array)
    return [function(array[rows]) for rows in pieces(array)]
