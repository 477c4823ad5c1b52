"""Posteriors of the positions of one sample, in one direction."""

from __future__ import annotations

import numpy as np

from mmfusion._compilation import jit, jit_reordered
from mmfusion.alignment.words._positions import (
    DIAGONAL,
    JUMPS,
    diagonal_prior,
)

N_ROWS = 6  # of the workspace


@jit
def position_posterior(positions, scores, null, posterior, null_posterior, space):
    """Compute the posterior of the position of each generated token.

    Parameters
    ----------
    positions : Positions
        Distribution of positions.
    scores : ndarray of shape (m, n)
        Translation probability of each generated token given that at each position.
    null : ndarray of shape (m,)
        That given NULL.
    posterior : ndarray of shape (m, n)
        The output.
    null_posterior : ndarray of shape (m,)
        The output for NULL.
    space : tuple of ndarray
        Workspace: two of the size of the posterior, one of shape (N_ROWS, n or more),
        the weights of jumps of any length, and the expected counts of jumps without
        these weights, which are added to.

    Returns
    -------
    float
        The log-likelihood of the generated tokens.
    """
    m, n = scores.shape
    first, second, rows, jumps, jump_counts = space
    prior = first[: m * n].reshape((m, n))
    share = positions.null_probability
    if share < 0:
        share = 1 / (n + 1)
    if positions.kind == JUMPS:
        reached = second[: m * n].reshape((m, n))
        return _posterior_of_chain(
            scores,
            null,
            share,
            jumps,
            prior,
            reached,
            rows,
            posterior,
            null_posterior,
            jump_counts,
        )
    if positions.kind == DIAGONAL:
        diagonal_prior(positions.tension, prior)
    else:
        prior[:] = 1 / n
    return _posterior_of_mixture(scores, null, share, prior, posterior, null_posterior)


@jit
def _posterior_of_mixture(scores, null, share, prior, posterior, null_posterior):
    """Compute posteriors of positions that are independent of each other."""
    m, n = scores.shape
    log_likelihood = 0.0
    for j in range(m):
        total = from_null = share * null[j]
        for i in range(n):
            posterior[j, i] = (1 - share) * prior[j, i] * scores[j, i]
            total += posterior[j, i]
        for i in range(n):
            posterior[j, i] /= total
        null_posterior[j] = from_null / total
        log_likelihood += np.log(total)
    return log_likelihood


@jit
def _jump_norms(jumps, n, norms):
    """Compute 1 / sum_k c(k - i) for each position i."""
    middle = len(jumps) // 2
    for i in range(n):
        total = 0.0
        for k in range(n):
            total += jumps[middle + k - i]
        norms[i] = 1 / total


@jit_reordered
def _advance_positions(before, norms, jumps, after):
    """Compute after[k] = sum_i before[i] c(k - i) / sum_k' c(k' - i)."""
    n = len(before)
    middle = len(jumps) // 2
    after[:] = 0
    for i in range(n):
        weight = before[i] * norms[i]
        own = jumps[middle - i : middle - i + n]
        for k in range(n):
            after[k] += weight * own[k]


@jit_reordered
def _retreat_positions(reached, norms, jumps, emitted, before, jump_counts):
    """Compute before[i], the sum over later positions, and count jumps without c."""
    n = len(emitted)
    middle = len(jumps) // 2
    for i in range(n):
        weight = reached[i] * norms[i]
        own = jumps[middle - i : middle - i + n]
        counts = jump_counts[middle - i : middle - i + n]
        total = 0.0
        for k in range(n):
            total += own[k] * emitted[k]
            counts[k] += weight * emitted[k]
        before[i] = norms[i] * total


@jit
def _posterior_of_chain(
    scores,
    null,
    share,
    jumps,
    linked,
    reached,
    rows,
    posterior,
    null_posterior,
    jump_counts,
):
    """Compute posteriors of a hidden Markov model by the forward-backward recursion.

    Every position has a twin for NULL that remembers it, so that the probabilities of
    what follows are the same for both: `reached` is their sum, `linked` the position
    alone. Scaling is safe, since every probability is at least LEAST_PROBABILITY.
    """
    m, n = scores.shape
    predicted, norms, emitted, beta, before, scales = (
        rows[0, :n],
        rows[1, :n],
        rows[2, :n],
        rows[3, :n],
        rows[4, :n],
        rows[5],
    )
    _jump_norms(jumps, n, norms)
    log_likelihood = 0.0
    for j in range(m):
        if j == 0:
            predicted[:] = 1 / n
            before[:] = 1 / n
        else:
            before[:] = reached[j - 1]
            _advance_positions(before, norms, jumps, predicted)
        total = 0.0
        for i in range(n):
            linked[j, i] = (1 - share) * predicted[i] * scores[j, i]
            reached[j, i] = linked[j, i] + share * null[j] * before[i]
            total += reached[j, i]
        linked[j] /= total
        reached[j] /= total
        scales[j] = 1 / total
        log_likelihood += np.log(total)
    beta[:] = 1
    for j in range(m - 1, -1, -1):
        total = 0.0
        for i in range(n):
            posterior[j, i] = linked[j, i] * beta[i]
            total += posterior[j, i]
        null_posterior[j] = max(1 - total, 0.0)
        if j > 0:
            for i in range(n):
                emitted[i] = (1 - share) * scales[j] * scores[j, i] * beta[i]
            _retreat_positions(
                reached[j - 1], norms, jumps, emitted, before, jump_counts
            )
            for i in range(n):
                beta[i] = before[i] + share * null[j] * scales[j] * beta[i]
    return log_likelihood
