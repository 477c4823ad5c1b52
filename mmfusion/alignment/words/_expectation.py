"""Expectation step over samples, in both directions at once, and their posteriors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit
from mmfusion.alignment.words._index import CorpusIndex, TypePairs
from mmfusion.alignment.words._positions import (
    DIAGONAL,
    UNIFORM,
    Positions,
    longer_jumps,
    mean_distance,
)
from mmfusion.alignment.words._posteriors import N_ROWS, position_posterior
from mmfusion.alignment.words._translations import Translations, zero_counts


class WordModel(NamedTuple):
    """Parameters of a model of word alignment.

    Parameters
    ----------
    translations : Translations
        Probabilities of types given types.
    forward : Positions
        Distribution of the source positions that target tokens are aligned with.
    reverse : Positions
        Distribution of the target positions that source tokens are aligned with.
    """

    translations: Translations
    forward: Positions
    reverse: Positions


class Expectations(NamedTuple):
    """Results of the expectation step.

    Parameters
    ----------
    counts : Translations
        Expected counts of pairs of types.
    jump_counts : ndarray of float64 of shape (2, 2 * longest + 1)
        Expected counts of jumps, forward and reverse.
    sums : ndarray of float64 of shape (2, 2)
        For each direction, the log-likelihood, and the sum of the distances from the
        diagonal.
    """

    counts: Translations
    jump_counts: np.ndarray
    sums: np.ndarray


def expectation(
    index: CorpusIndex,
    types: TypePairs,
    model: WordModel,
    samples: tuple[int, int],
    *,
    agree: bool,
) -> Expectations:
    """Compute the expected counts of a range of samples.

    Parameters
    ----------
    index : CorpusIndex
        The corpus.
    types : TypePairs
        Its pairs of types.
    model : WordModel
        The parameters.
    samples : tuple of (int, int)
        Bounds of the range.
    agree : bool
        Whether both directions count a link by the product of their posteriors, and
        NULL by what is left; else each counts by its own posteriors.

    Returns
    -------
    Expectations
        The counts.
    """
    first, last = samples
    longest = longest_of(index, first, last)
    jumps = np.stack(
        [longer_jumps(own.jumps, longest) for own in (model.forward, model.reverse)]
    )
    found = Expectations(zero_counts(types), np.zeros_like(jumps), np.zeros((2, 2)))
    if model.forward.kind == model.reverse.kind == UNIFORM and not agree:
        _expect_uniform(index, first, last, longest, model, found)
        return found
    _expect(index, first, last, longest, model, jumps, agree, found)
    found.jump_counts[:] *= jumps  # which the recursions leave out
    return found


def longest_of(index: CorpusIndex, first: int, last: int) -> int:
    """Return the largest number of tokens of a sample, at least 1.

    Parameters
    ----------
    index : CorpusIndex
        The corpus.
    first, last : int
        Bounds of the samples.

    Returns
    -------
    int
        The number.
    """
    lengths = [
        np.diff(tokens.offsets[first : last + 1]).max(initial=1)
        for tokens in (index.source, index.target)
    ]
    return int(max(lengths))


@jit
def largest_sample(index, first, last):
    """Return the largest number of cells of a sample.

    Parameters
    ----------
    index : CorpusIndex
        The corpus.
    first, last : int
        Bounds of the samples.

    Returns
    -------
    int
        The number.
    """
    largest = 1
    for s in range(first, last):
        largest = max(largest, index.cell_offsets[s + 1] - index.cell_offsets[s])
    return largest


@jit
def _expect(index, first, last, longest, model, jumps, agree, found):
    cells = np.empty((6, largest_sample(index, first, last)))
    tokens = np.empty((4, longest))
    rows = np.empty((N_ROWS, longest))
    for s in range(first, last):
        n_cells = index.cell_offsets[s + 1] - index.cell_offsets[s]
        if n_cells == 0:
            continue
        n_target = index.target.offsets[s + 1] - index.target.offsets[s]
        n_source = n_cells // n_target
        forward = cells[0, :n_cells].reshape((n_target, n_source))
        reverse = cells[1, :n_cells].reshape((n_source, n_target))
        null_forward, null_reverse = tokens[0, :n_target], tokens[1, :n_source]
        posteriors_of_sample(
            index, s, model, jumps, cells, tokens, rows, found.jump_counts, found.sums
        )
        if model.forward.kind == DIAGONAL:
            found.sums[0, 1] += mean_distance(forward)
            found.sums[1, 1] += mean_distance(reverse)
        if agree:
            _multiply_posteriors(forward, reverse, null_forward, null_reverse)
        _count(index, s, forward, reverse, null_forward, null_reverse, found.counts)


@jit
def _expect_uniform(index, first, last, longest, model, found):
    """Count pairs where no position has a prior: their posteriors need no table."""
    pairs, counts = model.translations.pairs, found.counts
    to_target, to_source = np.empty(longest), np.empty(longest)
    for s in range(first, last):
        source = index.source.codes[
            index.source.offsets[s] : index.source.offsets[s + 1]
        ]
        target = index.target.codes[
            index.target.offsets[s] : index.target.offsets[s + 1]
        ]
        own = index.cells[index.cell_offsets[s] : index.cell_offsets[s + 1]]
        n_source, n_target = len(source), len(target)
        if len(own) == 0:
            continue
        to_target[:n_target] = 0
        for i in range(n_source):
            total = 0.0
            for j in range(n_target):
                pair = own[i * n_target + j]
                to_target[j] += pairs[pair, 0]
                total += pairs[pair, 1]
            to_source[i] = total
        found.sums[0, 0] += _share(
            model.forward.null_probability, model.translations.null_to_target, target,
            n_source, to_target, counts.null_to_target,
        )  # fmt: skip
        found.sums[1, 0] += _share(
            model.reverse.null_probability, model.translations.null_to_source, source,
            n_target, to_source, counts.null_to_source,
        )  # fmt: skip
        for i in range(n_source):
            for j in range(n_target):
                pair = own[i * n_target + j]
                counts.pairs[pair, 0] += pairs[pair, 0] * to_target[j]
                counts.pairs[pair, 1] += pairs[pair, 1] * to_source[i]


@jit
def _share(null_probability, null, generated, n_positions, totals, null_counts):
    """Replace sums over positions by what makes posteriors of translations.

    Adds the posteriors of NULL to its counts, and returns the log-likelihood of the
    generated tokens.
    """
    share = null_probability if null_probability >= 0 else 1 / (n_positions + 1)
    prior, log_likelihood = (1 - share) / n_positions, 0.0
    for j in range(len(generated)):
        from_null = share * null[generated[j]]
        total = from_null + prior * totals[j]
        null_counts[generated[j]] += from_null / total
        totals[j] = prior / total
        log_likelihood += np.log(total)
    return log_likelihood


@jit
def posteriors_of_sample(
    index, s, model, jumps, cells, tokens, rows, jump_counts, sums
):
    """Compute the posteriors of a sample in both directions.

    Parameters
    ----------
    index : CorpusIndex
        The corpus.
    s : int
        The sample.
    model : WordModel
        The parameters.
    jumps : ndarray of shape (2, 2 * longest + 1)
        Weights of all jumps, forward and reverse.
    cells : ndarray of shape (6, n_cells or more)
        Its first rows are the output: posteriors of shape (n_target, n_source), and
        (n_source, n_target). The others are workspace.
    tokens : ndarray of shape (4, longest)
        Its first rows are the output: posteriors of NULL of target and source tokens.
    rows : ndarray of shape (N_ROWS, longest)
        Workspace.
    jump_counts, sums : ndarray
        As in `Expectations`; added to.
    """
    n_cells = index.cell_offsets[s + 1] - index.cell_offsets[s]
    n_target = index.target.offsets[s + 1] - index.target.offsets[s]
    n_source = n_cells // n_target
    forward = cells[0, :n_cells].reshape((n_target, n_source))
    reverse = cells[1, :n_cells].reshape((n_source, n_target))
    to_target = cells[2, :n_cells].reshape((n_target, n_source))
    to_source = cells[3, :n_cells].reshape((n_source, n_target))
    null_target, null_source = tokens[2, :n_target], tokens[3, :n_source]
    _gather(
        index, s, model.translations, to_target, to_source, null_target, null_source
    )
    sums[0, 0] += position_posterior(
        model.forward,
        to_target,
        null_target,
        forward,
        tokens[0, :n_target],
        (cells[4], cells[5], rows, jumps[0], jump_counts[0]),
    )
    sums[1, 0] += position_posterior(
        model.reverse,
        to_source,
        null_source,
        reverse,
        tokens[1, :n_source],
        (cells[4], cells[5], rows, jumps[1], jump_counts[1]),
    )


@jit
def _gather(index, s, translations, to_target, to_source, null_target, null_source):
    """Collect the translation probabilities of the pairs of tokens of a sample."""
    n_target, n_source = to_target.shape
    source = index.source.codes[index.source.offsets[s] :]
    target = index.target.codes[index.target.offsets[s] :]
    own = index.cells[index.cell_offsets[s] :]
    # types that fit has not seen have a uniform distribution
    new_target = 1 / len(translations.null_to_target)
    new_source = 1 / len(translations.null_to_source)
    for i in range(n_source):
        e = source[i]
        null_source[i] = new_source if e < 0 else translations.null_to_source[e]
        for j in range(n_target):
            f, pair = target[j], own[i * n_target + j]
            if pair >= 0:
                to_target[j, i] = translations.pairs[pair, 0]
                to_source[i, j] = translations.pairs[pair, 1]
            elif e < 0 or f < 0:
                to_target[j, i] = new_target
                to_source[i, j] = new_source
            else:
                to_target[j, i] = translations.unseen_target[e]
                to_source[i, j] = translations.unseen_source[f]
    for j in range(n_target):
        f = target[j]
        null_target[j] = new_target if f < 0 else translations.null_to_target[f]


@jit
def _multiply_posteriors(forward, reverse, null_forward, null_reverse):
    """Replace posteriors by their product, and those of NULL by what is left."""
    null_forward[:] = 1
    null_reverse[:] = 1
    for i in range(len(null_reverse)):
        for j in range(len(null_forward)):
            both = forward[j, i] * reverse[i, j]
            forward[j, i] = reverse[i, j] = both
            null_forward[j] -= both
            null_reverse[i] -= both
    # sums of posteriors are 1 but for rounding
    null_forward[:] = np.maximum(null_forward, 0)
    null_reverse[:] = np.maximum(null_reverse, 0)


@jit
def _count(index, s, forward, reverse, null_forward, null_reverse, counts):
    """Add the posteriors of a sample to the counts of its types."""
    source = index.source.codes[index.source.offsets[s] :]
    target = index.target.codes[index.target.offsets[s] :]
    own = index.cells[index.cell_offsets[s] :]
    n_target = len(null_forward)
    for i in range(len(null_reverse)):
        counts.null_to_source[source[i]] += null_reverse[i]
        for j in range(n_target):
            pair = own[i * n_target + j]
            counts.pairs[pair, 0] += forward[j, i]
            counts.pairs[pair, 1] += reverse[i, j]
    for j in range(n_target):
        counts.null_to_target[target[j]] += null_forward[j]
