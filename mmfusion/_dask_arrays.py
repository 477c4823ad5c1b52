"""Arrays of dask, whose rows are read chunk by chunk.

Nothing here imports dask before it is given an array of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import numpy as np

if TYPE_CHECKING:
    import dask.array as da

R = TypeVar("R")

GROUP_SIZE = 16  # results that are added up before they leave a worker


def is_dask_array(data: object) -> TypeGuard[da.Array]:
    """Return whether data are an array of dask."""
    return type(data).__name__ == "Array" and type(data).__module__.startswith(
        "dask.array"
    )


def checked_dask_array(array: da.Array, what: str) -> da.Array:
    """Check that the rows of an array can be read chunk by chunk.

    Parameters
    ----------
    array : dask array
        The array.
    what : str
        Its name in errors.

    Returns
    -------
    dask array
        The array, in chunks of whole rows.

    Raises
    ------
    TypeError
        If its chunks are not arrays of NumPy.
    ValueError
        If the sizes of its chunks are unknown, or it does not hold real numbers.
    """
    if not all(np.isfinite(size) for size in array.shape):
        raise ValueError(
            f"{what} is a dask array with chunks of unknown sizes; compute them by "
            "compute_chunk_sizes()"
        )
    if not isinstance(array._meta, np.ndarray):
        raise TypeError(
            f"{what} is a dask array of chunks of type {type(array._meta).__name__}; "
            "give chunks of NumPy, by map_blocks(lambda chunk: chunk.toarray()) of "
            "sparse ones, or the data in memory, by compute()"
        )
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"{what} is a dask array of {array.dtype}; only real numbers are read "
            "chunk by chunk: encode it first, or give it in memory, by compute()"
        )
    if any(len(sizes) > 1 for sizes in array.chunks[1:]):
        return array.rechunk(dict.fromkeys(range(1, array.ndim), -1))
    return array


class ChunkReader:
    """Rows of a dask array as arrays of NumPy, of which one chunk is in memory.

    It serves computations that go through the slices of a block in their order.

    Parameters
    ----------
    array : dask array
        The array, in chunks of whole rows.
    """

    def __init__(self, array: da.Array) -> None:
        self.array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim
        self._rows = slice(0, 0)
        self._chunk = np.empty((0, *array.shape[1:]), array.dtype)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        if not isinstance(rows, slice):
            return np.asarray(self.array[rows])
        start, stop, _ = rows.indices(len(self))
        if not self._rows.start <= start <= stop <= self._rows.stop:
            within = [r for r in chunk_rows(self.array) if r.start <= start < r.stop]
            if not within or within[0].stop < stop:
                return np.asarray(self.array[rows])
            self._rows = within[0]
            self._chunk = np.asarray(self.array[self._rows])
        return self._chunk[start - self._rows.start : stop - self._rows.start]


def chunk_rows(array: da.Array) -> list[slice]:
    """Return the rows of every chunk."""
    edges = np.concatenate([[0], np.cumsum(array.chunks[0])]).tolist()
    return [slice(start, stop) for start, stop in pairwise(edges)]


def map_chunks(function: Callable[[np.ndarray], R], array: da.Array) -> list[R]:
    """Apply a function to every chunk, where dask computes it.

    Parameters
    ----------
    function : callable
        Function of a chunk, an ndarray.
    array : dask array
        The array, in chunks of whole rows.

    Returns
    -------
    list
        Its results, in the order of the rows.
    """
    import dask

    apply = dask.delayed(function, pure=False)
    return list(dask.compute(*map(apply, array.to_delayed().ravel())))


def map_rows(
    function: Callable[..., R], blocks: Sequence[Any], rows: Sequence[slice]
) -> Iterable[R]:
    """Apply a function to rows of several blocks, where dask computes those of dask.

    Parameters
    ----------
    function : callable
        Function of a slice, and of these rows of each block.
    blocks : list of dask array, ndarray or CSR matrix
        The blocks, of the same number of rows; those of dask may be chunked
        differently.
    rows : list of slice
        Rows of each call, one slice after the other.

    Returns
    -------
    iterable
        The results, in the order of the rows; computed one by one unless a block is
        one of dask.
    """
    if not any(map(is_dask_array, blocks)):
        return (function(own, *(block[own] for block in blocks)) for own in rows)
    import dask

    return dask.compute(*_tasks(function, blocks, rows))


def fold_rows(
    function: Callable[..., R],
    add: Callable[[Iterable[R]], R],
    blocks: Sequence[Any],
    rows: Sequence[slice],
) -> R:
    """Apply a function to rows of several blocks, and add up its results.

    Results are added in groups, and then the groups, in an order that does not depend
    on where they are computed: nor does the rounding of the sum.

    Parameters
    ----------
    function, blocks, rows
        As in `map_rows`.
    add : callable
        Sum of an iterable of results, from the first to the last.

    Returns
    -------
    object
        The sum.
    """
    groups = [rows[i : i + GROUP_SIZE] for i in range(0, len(rows), GROUP_SIZE)]
    if not any(map(is_dask_array, blocks)):
        return add(add(map_rows(function, blocks, own)) for own in groups)
    import dask

    tasks = _tasks(function, blocks, rows)
    sums = [
        dask.delayed(add, pure=False)(tasks[i : i + GROUP_SIZE])
        for i in range(0, len(rows), GROUP_SIZE)
    ]
    return add(dask.compute(*sums))


def _tasks(
    function: Callable[..., Any], blocks: Sequence[Any], rows: Sequence[slice]
) -> list[Any]:
    import dask

    sizes = tuple(own.stop - own.start for own in rows)
    parts = [
        block.rechunk({0: sizes}).to_delayed().ravel()
        if is_dask_array(block)
        else [block[own] for own in rows]
        for block in blocks
    ]
    # what the function holds, such as a fitted model, goes to the workers once
    apply = dask.delayed(function, pure=False)
    return [apply(*own) for own in zip(rows, *parts, strict=True)]
