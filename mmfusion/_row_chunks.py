"""Predictions for data on disk and for dask arrays, by chunks of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from scipy import sparse

from mmfusion._annotated import is_anndata, is_mudata
from mmfusion._blocks import Block
from mmfusion._dask_arrays import is_dask_array, map_rows
from mmfusion._pieces import is_mapped, release_pages
from mmfusion._typing import ModalitiesLike
from mmfusion._validation import as_modalities, is_multimodal
from mmfusion.modalities import Modalities

M = TypeVar("M", bound=Callable[..., Any])

ROW_CHUNK_BYTES = 2**24  # of the modalities, read at once


def by_row_chunks(method: M) -> M:
    """Decorate a method of X that computes the output of each sample by itself.

    Memory maps and dask arrays are read by chunks of rows, so that memory does not grow
    with the samples but for the output; the chunks of dask go to its workers. Other X
    are passed on as they are.

    Parameters
    ----------
    method : callable
        The method; its output has a row for each sample.

    Returns
    -------
    callable
        The method of X in all forms.
    """

    @wraps(method)
    def chunked(estimator: Any, X: ModalitiesLike, *args: Any, **kwargs: Any) -> Any:
        is_table = isinstance(X, np.ndarray) or not is_multimodal(X)
        if not any(map(_is_read_by_rows, [X] if is_table else _blocks_of(X))):
            return method(estimator, X, *args, **kwargs)
        data: Any = X if is_table else as_modalities(X)
        blocks = [X] if is_table else data.blocks
        rows = _slices_of_rows(blocks)
        if any(map(is_dask_array, blocks)):
            # by its name, since workers get it pickled
            call = getattr(estimator, method.__name__)
            parts = _computed_parts(call, data, blocks, rows, args, kwargs)
        else:
            call = partial(method, estimator)
            parts = _read_parts(call, data, blocks, rows, args, kwargs)
        return _stacked_outputs(parts, rows)

    return chunked  # type: ignore[return-value]


def _blocks_of(X: Any) -> Iterable[Block]:
    if isinstance(X, Modalities):
        return X.blocks
    if is_anndata(X) or is_mudata(X):
        return as_modalities(X).blocks
    return X.values() if isinstance(X, Mapping) else X


def _is_read_by_rows(block: Block) -> bool:
    return is_dask_array(block) or is_mapped(block)


def _slices_of_rows(blocks: Sequence[Block]) -> list[slice]:
    n_samples = blocks[0].shape[0]
    tables = [b for b in blocks if isinstance(b, np.ndarray) or is_dask_array(b)]
    n_bytes = sum(int(np.prod(b.shape[1:])) * b.dtype.itemsize for b in tables)
    size = max(1, ROW_CHUNK_BYTES // max(1, n_bytes))
    starts = range(0, max(1, n_samples), size)  # of no samples, a slice of none
    return [slice(start, min(start + size, n_samples)) for start in starts]


def _read_parts(
    call: Callable[..., Any],
    data: Any,
    blocks: Sequence[Block],
    rows: Sequence[slice],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Iterable[Any]:
    """Iterate over the outputs of rows in memory or in mapped files."""
    for own in rows:
        yield _output(call, own, data[own], args, kwargs)
        for block in blocks:
            release_pages(block)


def _computed_parts(
    call: Callable[..., Any],
    data: Any,
    blocks: Sequence[Block],
    rows: Sequence[slice],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Iterable[Any]:
    """Return the outputs of rows that dask computes."""
    names = data.names if isinstance(data, Modalities) else None
    function = partial(_output_of_blocks, call, names, args, kwargs)
    mask = data._mask if isinstance(data, Modalities) else None
    return map_rows(function, blocks if mask is None else [*blocks, mask], rows)


def _output_of_blocks(
    call: Callable[..., Any],
    names: Sequence[str] | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    rows: slice,
    *parts: Block,
) -> Any:
    if names is None:
        return _output(call, rows, parts[0], args, kwargs)
    blocks, masks = parts[: len(names)], parts[len(names) :]
    own = dict(zip(names, blocks, strict=True))
    X = Modalities(own, observed=masks[0] if masks else None)
    return _output(call, rows, X, args, kwargs)


def _output(
    call: Callable[..., Any],
    rows: slice,
    X: ModalitiesLike,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    try:
        return call(X, *args, **kwargs)
    except ValueError as error:
        if rows.start == 0 or "sample" not in str(error):
            raise
        raise ValueError(
            f"{error} (X is read by rows; here samples are counted from the sample "
            f"{rows.start} of X)"
        ) from error


def _stacked_outputs(parts: Iterable[Any], rows: Sequence[slice]) -> Any:
    """Stack outputs, which are arrays, CSR matrices or tuples of arrays."""
    parts = iter(parts)
    first = next(parts)
    if sparse.issparse(first):
        return sparse.vstack([first, *parts], format="csr")
    n_samples = rows[-1].stop
    outs = [np.empty((n_samples, *a.shape[1:]), a.dtype) for a in _as_arrays(first)]
    for own, part in zip(rows, chain([first], parts), strict=True):
        for i, array in enumerate(_as_arrays(part)):
            # floats of samples that lack a modality may be wider
            outs[i] = outs[i].astype(np.result_type(outs[i], array), copy=False)
            outs[i][own] = array
    return tuple(outs) if isinstance(first, tuple) else outs[0]


def _as_arrays(part: Any) -> list[np.ndarray]:
    return list(map(np.asarray, part if isinstance(part, tuple) else (part,)))
