"""Links and posteriors of samples, those of the corpus or others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit
from mmfusion.alignment.words._expectation import (
    WordModel,
    largest_sample,
    longest_of,
    posteriors_of_sample,
)
from mmfusion.alignment.words._index import CorpusIndex, Tokens, TypePairs
from mmfusion.alignment.words._positions import longer_jumps
from mmfusion.alignment.words._posteriors import N_ROWS
from mmfusion.alignment.words._symmetrization import (
    FORWARD,
    REVERSE,
    SYMMETRIZATIONS,
    symmetrize,
)


class SampleLinks(NamedTuple):
    """Links of samples, and what they were found by.

    Parameters
    ----------
    links : list of ndarray of int64 of shape (n_links, 2)
        For each sample, source and target positions of its links.
    posteriors : list of ndarray of float64 of shape (n_source, n_target)
        For each sample, the posteriors of all links.
    log_likelihoods : ndarray of shape (2,)
        Those of all samples, forward and reverse.
    """

    links: list[np.ndarray]
    posteriors: list[np.ndarray]
    log_likelihoods: np.ndarray


def find_links(
    model: WordModel,
    types: TypePairs,
    source: Tokens,
    target: Tokens,
    *,
    method: str,
    threshold: float,
) -> SampleLinks:
    """Find the links of samples.

    Parameters
    ----------
    model : WordModel
        The fitted model.
    types : TypePairs
        Its pairs of types.
    source, target : Tokens
        The tokens of the samples.
    method : str
        One of SYMMETRIZATIONS.
    threshold : float
        See `symmetrize`.

    Returns
    -------
    SampleLinks
        The links. Posteriors are those of the direction for 'forward' and 'reverse',
        and else the geometric mean of both.
    """
    n_source, n_target = np.diff(source.offsets), np.diff(target.offsets)
    cell_offsets = np.concatenate([[0], np.cumsum(n_source * n_target)])
    cells = np.empty(cell_offsets[-1], dtype=np.int32)
    index = CorpusIndex(source, target, cells, cell_offsets)
    _look_up(index, types)
    longest = longest_of(index, 0, index.n_samples)
    jumps = np.stack(
        [longer_jumps(own.jumps, longest) for own in (model.forward, model.reverse)]
    )
    posteriors, links = np.empty(len(cells)), np.zeros(len(cells), dtype=bool)
    sums = np.zeros((2, 2))
    chosen = SYMMETRIZATIONS.index(method)
    _link(index, model, longest, jumps, chosen, threshold, posteriors, links, sums)
    return SampleLinks(
        _links_by_sample(links, n_target, cell_offsets),
        [
            own.reshape(n, m)
            for own, n, m in zip(
                np.split(posteriors, cell_offsets[1:-1]),
                n_source,
                n_target,
                strict=True,
            )
        ],
        sums[:, 0],
    )


def _links_by_sample(
    links: np.ndarray, n_target: np.ndarray, cell_offsets: np.ndarray
) -> list[np.ndarray]:
    linked = np.flatnonzero(links)
    sample = np.searchsorted(cell_offsets, linked, side="right") - 1
    cell = linked - cell_offsets[sample]
    pairs = np.column_stack([cell // n_target[sample], cell % n_target[sample]])
    bounds = np.searchsorted(sample, np.arange(1, len(n_target)))
    return np.split(pairs, bounds)


@jit
def _look_up(index, types):
    """Set the ids of all cells; -1 for pairs of types without one."""
    for s in range(len(index.cell_offsets) - 1):
        source = index.source.codes[
            index.source.offsets[s] : index.source.offsets[s + 1]
        ]
        target = index.target.codes[
            index.target.offsets[s] : index.target.offsets[s + 1]
        ]
        own = index.cells[index.cell_offsets[s] : index.cell_offsets[s + 1]]
        for i in range(len(source)):
            first = last = 0
            if source[i] >= 0:
                first, last = types.indptr[source[i]], types.indptr[source[i] + 1]
            known = types.targets[first:last]
            for j in range(len(target)):
                k = np.searchsorted(known, target[j])
                is_found = k < len(known) and known[k] == target[j]
                own[i * len(target) + j] = first + k if is_found else -1


@jit
def _link(index, model, longest, jumps, method, threshold, posteriors, links, sums):
    cells = np.empty((6, largest_sample(index, 0, len(index.cell_offsets) - 1)))
    tokens = np.empty((4, longest))
    rows = np.empty((N_ROWS, longest))
    unused = np.zeros(jumps.shape)
    for s in range(len(index.cell_offsets) - 1):
        first, last = index.cell_offsets[s], index.cell_offsets[s + 1]
        if first == last:
            continue
        n_target = index.target.offsets[s + 1] - index.target.offsets[s]
        n_source = (last - first) // n_target
        posteriors_of_sample(index, s, model, jumps, cells, tokens, rows, unused, sums)
        forward = cells[0, : last - first].reshape((n_target, n_source))
        reverse = cells[1, : last - first].reshape((n_source, n_target))
        symmetrize(
            forward,
            reverse,
            tokens[0, :n_target],
            tokens[1, :n_source],
            method,
            threshold,
            links[first:last].reshape((n_source, n_target)),
        )
        own = posteriors[first:last].reshape((n_source, n_target))
        for i in range(n_source):
            for j in range(n_target):
                if method == FORWARD:
                    own[i, j] = forward[j, i]
                elif method == REVERSE:
                    own[i, j] = reverse[i, j]
                else:
                    own[i, j] = np.sqrt(forward[j, i] * reverse[i, j])
