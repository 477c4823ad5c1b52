"""Distributions of the position that a token is aligned with.

A direction generates the m tokens of one modality, each from a position among the n of
the other, or from NULL. Positions are independent of each other, uniform or around the
diagonal, or follow each other by jumps, as the states of a hidden Markov model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit

UNIFORM, DIAGONAL, JUMPS = 0, 1, 2
FIRST_TENSION = 4.0
TENSION_RANGE = (0.1, 14.0)
TENSION_STEPS, TENSION_STEP_SIZE = 8, 20.0
# weights of the first jumps fall by this with each position beside the next one
FIRST_JUMP_DECAY, FIRST_JUMP_FLOOR = 1.0, 0.01
# count that is added to each jump: few samples may have the same one in all
PRIOR_JUMPS = 0.1


class Positions(NamedTuple):
    """Distribution of positions, in one direction.

    Parameters
    ----------
    kind : int
        UNIFORM, DIAGONAL or JUMPS.
    null_probability : float
        Probability of NULL; below 0 it is ``1 / (n + 1)``.
    tension : float
        Strength of the diagonal.
    jumps : ndarray of float64 of shape (2 * max_jump + 1,)
        Weights of the jumps from ``-max_jump`` to ``max_jump``. Longer jumps have the
        weight of the longest.
    """

    kind: int
    null_probability: float
    tension: float
    jumps: np.ndarray


def first_jumps(max_jump: int) -> np.ndarray:
    """Return the first weights of jumps, largest for that to the next position.

    Parameters
    ----------
    max_jump : int
        The longest jump with a weight of its own.

    Returns
    -------
    ndarray of float64 of shape (2 * max_jump + 1,)
        The weights, which add up to 1.
    """
    distances = np.abs(np.arange(-max_jump, max_jump + 1) - 1)
    weights = np.exp(-FIRST_JUMP_DECAY * distances) + FIRST_JUMP_FLOOR
    return weights / weights.sum()


@jit
def longer_jumps(jumps, longest):
    """Return the weights of all jumps up to the longest, which repeat the last ones.

    Parameters
    ----------
    jumps : ndarray of shape (2 * max_jump + 1,)
        Weights of jumps.
    longest : int
        The longest jump.

    Returns
    -------
    ndarray of shape (2 * longest + 1,)
        Their weights.
    """
    max_jump = len(jumps) // 2
    extended = np.empty(2 * longest + 1)
    for d in range(-longest, longest + 1):
        extended[longest + d] = jumps[max_jump + min(max(d, -max_jump), max_jump)]
    return extended


def folded_jumps(counts: np.ndarray, max_jump: int) -> np.ndarray:
    """Add up the counts of all jumps by those that share a weight.

    Parameters
    ----------
    counts : ndarray of shape (2 * longest + 1,)
        Expected counts of jumps.
    max_jump : int
        The longest jump with a weight of its own.

    Returns
    -------
    ndarray of shape (2 * max_jump + 1,)
        Weights of jumps, which add up to 1.
    """
    longest = len(counts) // 2
    own = np.clip(np.arange(-longest, longest + 1), -max_jump, max_jump) + max_jump
    sums = np.bincount(own, counts, minlength=2 * max_jump + 1) + PRIOR_JUMPS
    return sums / sums.sum()


@jit
def diagonal_prior(tension, prior):
    """Compute probabilities that fall with the distance from the diagonal.

    They are proportional to ``exp(-tension |i / n - j / m|)``, for positions from 1.

    Parameters
    ----------
    tension : float
        Strength of the diagonal.
    prior : ndarray of shape (m, n)
        The output: for each generated position j, the probabilities of i.
    """
    m, n = prior.shape
    for j in range(m):
        total = 0.0
        for i in range(n):
            weight = np.exp(-tension * abs((i + 1) / n - (j + 1) / m))
            prior[j, i] = weight
            total += weight
        for i in range(n):
            prior[j, i] /= total


@jit
def mean_distance(posterior):
    """Sum the distances from the diagonal, weighted by a posterior.

    Parameters
    ----------
    posterior : ndarray of shape (m, n)
        Posterior of positions, for each generated one.

    Returns
    -------
    float
        The sum over the generated positions.
    """
    m, n = posterior.shape
    total = 0.0
    for j in range(m):
        for i in range(n):
            total += posterior[j, i] * abs((i + 1) / n - (j + 1) / m)
    return total


@jit
def _prior_distance(lengths, n_samples, tension):
    """Sum the distances that the prior expects over all samples, by their lengths."""
    total = 0.0
    for k in range(len(lengths)):
        m, n = lengths[k, 0], lengths[k, 1]
        for j in range(m):
            norm = distance = 0.0
            for i in range(n):
                own = abs((i + 1) / n - (j + 1) / m)
                weight = np.exp(-tension * own)
                norm += weight
                distance += weight * own
            total += n_samples[k] * distance / norm
    return total


def update_tension(
    tension: float, distance: float, lengths: np.ndarray, n_samples: np.ndarray
) -> float:
    """Bring the distance that the prior expects closer to that of the posterior.

    Parameters
    ----------
    tension : float
        Strength of the diagonal so far.
    distance : float
        Sum of distances by the posterior.
    lengths : ndarray of int64 of shape (n_lengths, 2)
        Numbers m and n of tokens that occur together, without 0.
    n_samples : ndarray of int64 of shape (n_lengths,)
        Number of samples with them.

    Returns
    -------
    float
        The new tension, after some steps along the gradient of the log-likelihood.
    """
    n_tokens = max(int(lengths[:, 0] @ n_samples), 1)
    for _ in range(TENSION_STEPS):
        expected = _prior_distance(lengths, n_samples, tension)
        tension += TENSION_STEP_SIZE * (expected - distance) / n_tokens
        tension = float(np.clip(tension, *TENSION_RANGE))
    return tension
