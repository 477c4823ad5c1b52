"""Index of a corpus that is read once, in batches, and kept in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmfusion.alignment.words._index import (
    CorpusIndex,
    Tokens,
    TypePairs,
    index_corpus,
)

BITS_OF_TYPE = 32  # a pair of types is one integer, the source type times 2**32


class CorpusFiles:
    """The files of an index, to which batches are added.

    Only the pairs of types that occur, and the bounds of samples, are in memory.

    Parameters
    ----------
    folder : Path
        Folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lengths: list[np.ndarray] = []
        self._n_cells: list[int] = []  # of each batch
        self._pairs: list[np.ndarray] = []  # sorted, each much larger than the next

    def add(self, source: Tokens, target: Tokens, shape: tuple[int, int]) -> None:
        """Add a batch of samples.

        Parameters
        ----------
        source, target : Tokens
            The tokens of the batch.
        shape : tuple of (int, int)
            Numbers of source and target types so far.
        """
        index, types = index_corpus(source, target, *shape)
        pairs = _as_integers(types)
        np.save(self._pairs_file(len(self._n_cells)), pairs)
        for values, name in (
            (source.codes, "source"),
            (target.codes, "target"),
            (index.cells, "cells"),
        ):
            with (self._folder / name).open("ab") as file:
                values.tofile(file)
        self._lengths.append(
            np.column_stack([np.diff(source.offsets), np.diff(target.offsets)])
        )
        self._n_cells.append(len(index.cells))
        self._pairs.append(pairs)
        # merging arrays of like size only keeps the cost of all merges n log n
        while len(self._pairs) > 1 and 2 * len(self._pairs[-1]) > len(self._pairs[-2]):
            self._merge_last()

    def finish(self, shape: tuple[int, int]) -> tuple[CorpusIndex, TypePairs]:
        """Number the pairs of types of all batches.

        Parameters
        ----------
        shape : tuple of (int, int)
            Numbers of source and target types.

        Returns
        -------
        index : CorpusIndex
            The corpus, whose tokens and cells are in memory-mapped files.
        types : TypePairs
            Its pairs of types.
        """
        while len(self._pairs) > 1:
            self._merge_last()
        (pairs,) = self._pairs
        cells = self._mapped("cells")
        first = 0
        for k, n_cells in enumerate(self._n_cells):
            ids = np.searchsorted(pairs, np.load(self._pairs_file(k))).astype(np.int32)
            own = cells[first : first + n_cells]
            own[:] = ids[own]
            first += n_cells
        lengths = np.concatenate(self._lengths)
        offsets, target_offsets, cell_offsets = (
            np.concatenate([[0], np.cumsum(own)])
            for own in (*lengths.T, lengths.prod(axis=1))
        )
        index = CorpusIndex(
            Tokens(self._mapped("source"), offsets),
            Tokens(self._mapped("target"), target_offsets),
            cells,
            cell_offsets,
        )
        indptr = np.searchsorted(pairs, np.arange(shape[0] + 1) << BITS_OF_TYPE)
        targets = (pairs & ((1 << BITS_OF_TYPE) - 1)).astype(np.int32)
        return index, TypePairs(indptr, targets, shape[1])

    def _merge_last(self) -> None:
        last = self._pairs.pop()
        pairs = np.concatenate([self._pairs[-1], last])
        pairs.sort(kind="stable")  # which merges the sorted halves
        is_first = np.diff(pairs, prepend=-1) != 0
        self._pairs[-1] = pairs[is_first]

    def _pairs_file(self, batch: int) -> Path:
        return self._folder / f"pairs_{batch}.npy"

    def _mapped(self, name: str) -> np.ndarray:
        path = self._folder / name
        if path.stat().st_size == 0:  # which cannot be mapped
            return np.empty(0, dtype=np.int32)
        # a plain view, for which functions are compiled already
        return np.asarray(np.memmap(path, dtype=np.int32, mode="r+"))


def _as_integers(types: TypePairs) -> np.ndarray:
    sources = types.sources().astype(np.int64)
    return (sources << BITS_OF_TYPE) | types.targets
