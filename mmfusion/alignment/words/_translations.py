"""Translation probabilities of pairs of types, and their estimates from counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit
from mmfusion.alignment.words._index import TypePairs

# far above the smallest number, so that no product inside a sample underflows
LEAST_PROBABILITY = 1e-150


class Translations(NamedTuple):
    """Probabilities of types given types, in both directions, or their counts.

    Parameters
    ----------
    pairs : ndarray of float64 of shape (n_pairs, 2)
        For each pair that occurs, that of the target given the source, and that of the
        source given the target.
    null_to_target : ndarray of float64 of shape (n_targets,)
        Those of target types given NULL.
    null_to_source : ndarray of float64 of shape (n_sources,)
        Those of source types given NULL.
    unseen_target : ndarray of float64 of shape (n_sources,)
        That of one target type with which a source type does not occur.
    unseen_source : ndarray of float64 of shape (n_targets,)
        That of one source type with which a target type does not occur.
    """

    pairs: np.ndarray
    null_to_target: np.ndarray
    null_to_source: np.ndarray
    unseen_target: np.ndarray
    unseen_source: np.ndarray


def uniform_translations(types: TypePairs) -> Translations:
    """Return the translations of the first iteration.

    Parameters
    ----------
    types : TypePairs
        The pairs of types.

    Returns
    -------
    Translations
        Uniform distributions over all types.
    """
    n_sources, n_targets = types.shape
    to_target, to_source = 1 / max(n_targets, 1), 1 / max(n_sources, 1)
    pairs = np.empty((types.n_pairs, 2))
    pairs[:] = to_target, to_source
    return Translations(
        pairs,
        np.full(n_targets, to_target),
        np.full(n_sources, to_source),
        np.full(n_sources, LEAST_PROBABILITY),
        np.full(n_targets, LEAST_PROBABILITY),
    )


def zero_counts(types: TypePairs) -> Translations:
    """Return counts of 0.

    Parameters
    ----------
    types : TypePairs
        The pairs of types.

    Returns
    -------
    Translations
        The counts.
    """
    n_sources, n_targets = types.n_sources, types.n_targets
    lengths = (n_targets, n_sources, n_sources, n_targets)
    return Translations(np.zeros((types.n_pairs, 2)), *(np.zeros(n) for n in lengths))


def estimate_translations(
    types: TypePairs, counts: Translations, concentration: float
) -> Translations:
    """Estimate probabilities from expected counts, which are overwritten.

    With a concentration a > 0 of a Dirichlet prior, that of a pair with the count c is
    ``exp(digamma(c + a) - digamma(n + a k))``, where n is the sum of the counts of the
    given type and k the number of types that occur with it: the step of variational
    Bayes. It takes more from small counts than from large ones. With 0 it is ``c / n``.

    Parameters
    ----------
    types : TypePairs
        The pairs of types.
    counts : Translations
        Expected counts.
    concentration : float
        Concentration of the prior.

    Returns
    -------
    Translations
        The probabilities, in the arrays of the counts. They do not add up to 1.
    """
    by_source, by_target = _sums_by_type(
        types.indptr, types.targets, counts.pairs, types.n_targets
    )
    given_source = _scales(by_source, concentration)
    given_target = _scales(by_target, concentration)
    _estimate_pairs(
        types.indptr, types.targets, counts.pairs, given_source, given_target,
        concentration,
    )  # fmt: skip
    for own in (counts.null_to_target, counts.null_to_source):
        total = np.array([[own.sum(), len(own)]])
        scale = np.repeat(_scales(total, concentration), len(own))
        own[:] = _estimated(own, scale, concentration)
    nothing = np.zeros(max(types.shape))
    counts.unseen_target[:] = _estimated(
        nothing[: types.n_sources], given_source, concentration
    )
    counts.unseen_source[:] = _estimated(
        nothing[: types.n_targets], given_target, concentration
    )
    return counts


@jit
def _sums_by_type(indptr, targets, counts, n_targets):
    """Return the sum of counts and the number of pairs of every given type."""
    by_source = np.zeros((len(indptr) - 1, 2))
    by_target = np.zeros((n_targets, 2))
    for e in range(len(by_source)):
        total = 0.0
        for k in range(indptr[e], indptr[e + 1]):
            total += counts[k, 0]
            by_target[targets[k], 0] += counts[k, 1]
            by_target[targets[k], 1] += 1
        by_source[e, 0] = total
        by_source[e, 1] = indptr[e + 1] - indptr[e]
    return by_source, by_target


@jit
def _scales(totals, concentration):
    """Return what probabilities of each given type are multiplied by."""
    scales = np.empty(len(totals))
    for k in range(len(totals)):
        if concentration > 0:
            scales[k] = np.exp(-digamma(totals[k, 0] + concentration * totals[k, 1]))
        else:
            scales[k] = 1 / max(totals[k, 0], LEAST_PROBABILITY)
    return scales


@jit
def _estimate(count, scale, concentration):
    if concentration > 0:
        count = np.exp(digamma(count + concentration))
    return max(count * scale, LEAST_PROBABILITY)


@jit
def _estimated(counts, scales, concentration):
    probabilities = np.empty(len(counts))
    for k in range(len(counts)):
        probabilities[k] = _estimate(counts[k], scales[k], concentration)
    return probabilities


@jit
def _estimate_pairs(indptr, targets, counts, by_source, by_target, concentration):
    for e in range(len(indptr) - 1):
        own = by_source[e]
        for k in range(indptr[e], indptr[e + 1]):
            counts[k, 0] = _estimate(counts[k, 0], own, concentration)
            counts[k, 1] = _estimate(counts[k, 1], by_target[targets[k]], concentration)


@jit
def digamma(x):
    """Compute the digamma function of a positive number.

    Parameters
    ----------
    x : float
        The number.

    Returns
    -------
    float
        Its value, to an absolute error of 1e-12.
    """
    shift = 0.0
    while x < 7.0:  # by recurrence to where the asymptotic series is exact
        shift += 1.0 / x
        x += 1.0
    r = 1.0 / (x * x)
    series = r * (
        1 / 120 - r * (1 / 252 - r * (1 / 240 - r * (1 / 132 - r * 691 / 32760)))
    )
    return np.log(x) - 0.5 / x - r / 12 + r * series - shift
