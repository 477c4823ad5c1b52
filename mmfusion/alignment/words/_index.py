"""Index of a corpus of token pairs: every pair of types that occurs together has an id.

The cells of a sample are the pairs of its source and target positions. Each holds the
id of the pair of its types, under which both directions keep their probabilities, so
that no table has a row for every source type and a column for every target type.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit
from mmfusion._memory import check_fits

BYTES_PER_CELL = 4


class Vocabulary(dict[Hashable, int]):
    """Codes of tokens, in the order in which they first occur."""

    def __missing__(self, token: Hashable) -> int:
        """Give the next code to a token that has none."""
        code = self[token] = len(self)
        return code


class Tokens(NamedTuple):
    """Codes of the tokens of samples, one after another.

    Parameters
    ----------
    codes : ndarray of int32 of shape (n_tokens,)
        Codes of all tokens; -1 for those that are not in the vocabulary.
    offsets : ndarray of int64 of shape (n_samples + 1,)
        Bounds of the samples.
    """

    codes: np.ndarray
    offsets: np.ndarray

    def take(self, first: int, last: int) -> Tokens:
        """Return the tokens of a range of samples."""
        begin, end = self.offsets[first], self.offsets[last]
        return Tokens(self.codes[begin:end], self.offsets[first : last + 1] - begin)


class CorpusIndex(NamedTuple):
    """A corpus as arrays.

    Parameters
    ----------
    source, target : Tokens
        The tokens of the two modalities.
    cells : ndarray of int32 of shape (n_cells,)
        Id of the pair of types at each source position (slowest) and target position
        of each sample; -1 for pairs without an id.
    cell_offsets : ndarray of int64 of shape (n_samples + 1,)
        Bounds of the samples.
    """

    source: Tokens
    target: Tokens
    cells: np.ndarray
    cell_offsets: np.ndarray

    @property
    def n_samples(self) -> int:
        """Number of samples."""
        return len(self.cell_offsets) - 1


class TypePairs(NamedTuple):
    """The pairs of a source and a target type that occur together, as a CSR matrix.

    Parameters
    ----------
    indptr : ndarray of int64 of shape (n_source_types + 1,)
        Bounds of the ids of each source type.
    targets : ndarray of int32 of shape (n_pairs,)
        Target type of each id, ascending for a source type.
    n_targets : int
        Number of target types.
    """

    indptr: np.ndarray
    targets: np.ndarray
    n_targets: int

    @property
    def n_pairs(self) -> int:
        """Number of pairs."""
        return len(self.targets)

    @property
    def n_sources(self) -> int:
        """Number of source types."""
        return len(self.indptr) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of source and target types."""
        return self.n_sources, self.n_targets

    def sources(self) -> np.ndarray:
        """Return the source type of each id, as an ndarray of int32."""
        types = np.arange(self.n_sources, dtype=np.int32)
        return np.repeat(types, np.diff(self.indptr))


def encode(
    samples: Sequence[Sequence[Hashable]], vocabulary: dict[Hashable, int]
) -> Tokens:
    """Encode the tokens of samples.

    Parameters
    ----------
    samples : sequence of sequence of hashable
        The tokens of each sample.
    vocabulary : dict of hashable to int
        Codes of tokens. A `Vocabulary` gets those of new tokens; in another dict they
        have none.

    Returns
    -------
    Tokens
        The codes; -1 for tokens without one.
    """
    tokens = chain.from_iterable(samples)
    codes: Iterable[int]
    if isinstance(vocabulary, Vocabulary):
        codes = map(vocabulary.__getitem__, tokens)
    else:
        codes = (vocabulary.get(token, -1) for token in tokens)
    lengths = np.fromiter(map(len, samples), np.int64, len(samples))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Tokens(np.fromiter(codes, np.int32, int(offsets[-1])), offsets)


def index_corpus(
    source: Tokens, target: Tokens, n_sources: int, n_targets: int
) -> tuple[CorpusIndex, TypePairs]:
    """Give an id to every pair of types that occurs together, and index all cells.

    Source type by source type, the samples that have it are visited, so that only one
    number for each target type is needed to find the pairs.

    Parameters
    ----------
    source, target : Tokens
        The tokens, all with a code.
    n_sources, n_targets : int
        Numbers of types.

    Returns
    -------
    index : CorpusIndex
        The corpus.
    types : TypePairs
        The pairs of types.
    """
    n_cells = np.diff(source.offsets) * np.diff(target.offsets)
    cell_offsets = np.concatenate([[0], np.cumsum(n_cells)])
    check_fits(
        int(cell_offsets[-1]) * BYTES_PER_CELL,
        f"the index of {len(n_cells)} samples of {cell_offsets[-1]} pairs of tokens",
        "index it in files, by fit_batches, or leave out the longest samples",
    )
    cells = np.empty(cell_offsets[-1], dtype=np.int32)
    occurrences = _Occurrences(
        order := np.argsort(source.codes, kind="stable"),
        np.searchsorted(source.codes[order], np.arange(n_sources + 1)),
        np.repeat(np.arange(len(n_cells)), np.diff(source.offsets)),
    )
    counts = _count_target_types(occurrences, target, n_targets)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    types = TypePairs(indptr, np.empty(indptr[-1], dtype=np.int32), n_targets)
    index = CorpusIndex(source, target, cells, cell_offsets)
    _fill_cells(occurrences, index, types)
    return index, types


class _Occurrences(NamedTuple):
    """Source tokens by type: their positions, where each type starts, their samples."""

    order: np.ndarray
    starts: np.ndarray
    samples: np.ndarray


@jit
def _count_target_types(occurrences, target, n_targets):
    """Count the target types that occur with each source type."""
    n_sources = len(occurrences.starts) - 1
    counts = np.zeros(n_sources, dtype=np.int64)
    seen_with = np.full(n_targets, -1, dtype=np.int64)
    for e in range(n_sources):
        for k in range(occurrences.starts[e], occurrences.starts[e + 1]):
            s = occurrences.samples[occurrences.order[k]]
            for j in range(target.offsets[s], target.offsets[s + 1]):
                f = target.codes[j]
                if seen_with[f] != e:
                    seen_with[f] = e
                    counts[e] += 1
    return counts


@jit
def _fill_cells(occurrences, index, types):
    """Collect the target types of each source type, and set the ids of all cells."""
    source, target = index.source, index.target
    seen_with = np.full(types.n_targets, -1, dtype=np.int64)
    ids = np.zeros(types.n_targets, dtype=np.int32)
    for e in range(len(types.indptr) - 1):
        n = types.indptr[e]
        own = range(occurrences.starts[e], occurrences.starts[e + 1])
        for k in own:
            s = occurrences.samples[occurrences.order[k]]
            for j in range(target.offsets[s], target.offsets[s + 1]):
                f = target.codes[j]
                if seen_with[f] != e:
                    seen_with[f] = e
                    types.targets[n] = f
                    n += 1
        types.targets[types.indptr[e] : n].sort()
        for i in range(types.indptr[e], n):
            ids[types.targets[i]] = i
        for k in own:
            s = occurrences.samples[occurrences.order[k]]
            begin = target.offsets[s]
            n_target = target.offsets[s + 1] - begin
            row = index.cell_offsets[s]
            row += (occurrences.order[k] - source.offsets[s]) * n_target
            for j in range(n_target):
                index.cells[row + j] = ids[target.codes[begin + j]]
