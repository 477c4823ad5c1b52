"""The spatial step of canonical time warping: projections that correlate most."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from mmfusion._constancy import is_constant
from mmfusion.alignment.ctw._warps import warped

DEPENDENT = 1e-10  # of the largest: a direction of less variance is left out
PERFECT = 0.999  # a higher correlation counts as this


class Projections(NamedTuple):
    """Where frames of different modalities become comparable.

    Parameters
    ----------
    means : list of ndarray of shape (n_features,)
        Mean warped frame of each modality.
    weights : list of ndarray of shape (n_features, n_directions)
        Projection of each modality's centred frames.
    correlations : ndarray of shape (n_directions,)
        Canonical correlations, of the scores along the warps; for more than two
        modalities their mean over pairs.
    """

    means: list[np.ndarray]
    weights: list[np.ndarray]
    correlations: np.ndarray


def project(sample: Sequence[np.ndarray], fitted: Projections) -> list[np.ndarray]:
    """Project every frame of a sample.

    Parameters
    ----------
    sample : sequence of ndarray of shape (n_frames, n_features)
        One sequence per modality.
    fitted : Projections
        What to project with.

    Returns
    -------
    list of ndarray of shape (n_frames, n_directions)
        The projected sequences.
    """
    triples = zip(sample, fitted.means, fitted.weights, strict=True)
    return [(x - mean) @ weights for x, mean, weights in triples]


def pooled_scatter(
    samples: Sequence[Sequence[np.ndarray]], warps: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and covariance of warped frames, side by side, over all samples.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality.
    warps : sequence of ndarray of shape (n_steps, n_modalities)
        A warp per sample.

    Returns
    -------
    mean : ndarray of shape (n_features of all modalities,)
        The mean frame.
    scatter : ndarray of shape (n_features, n_features) of all modalities
        The scatter about it, divided by the number of frames.
    magnitude : ndarray of shape (n_features of all modalities,)
        Largest absolute value of each feature.
    """
    n_frames = sum(map(len, warps))
    pairs = list(zip(samples, warps, strict=True))
    mean = sum(_side_by_side(*pair).sum(axis=0) for pair in pairs) / n_frames
    scatter = np.zeros((len(mean), len(mean)))
    rest, magnitude = np.zeros(len(mean)), np.zeros(len(mean))
    for pair in pairs:
        frames = _side_by_side(*pair)
        magnitude = np.maximum(magnitude, np.abs(frames).max(axis=0))
        frames -= mean
        rest += frames.sum(axis=0)
        scatter += frames.T @ frames
    rest /= n_frames  # what the rounding of a long sum left
    return mean + rest, scatter / n_frames - np.outer(rest, rest), magnitude


def _side_by_side(sample: Sequence[np.ndarray], warp: np.ndarray) -> np.ndarray:
    return np.hstack([warped(x, warp[:, v]) for v, x in enumerate(sample)])


def correlate(
    samples: Sequence[Sequence[np.ndarray]],
    warps: Sequence[np.ndarray],
    *,
    ridge: float = 0.0,
    energy: float = 0.8,
    n_directions: int | None = None,
) -> Projections:
    """Find the projections in which warped modalities correlate most.

    Solves ``C_O v = w C_D v``: C_O holds the scatters between modalities, C_D those
    within, each mixed with its mean variance, ``(1 - ridge) S_ii + ridge tr(S_ii)/d_i
    I``.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality. All share the projections.
    warps : sequence of ndarray of shape (n_steps, n_modalities)
        A warp per sample.
    ridge : float, default=0.0
        Share of the identity in the scatter of each modality, in [0, 1].
    energy : float, default=0.8
        Keep the fewest directions whose eigenvalues w sum to this share of those of all
        that the smallest modality has.
    n_directions : int or None, default=None
        Keep this many instead.

    Returns
    -------
    Projections
        For two modalities the scores of each are uncorrelated, of unit variance where
        there is no ridge; for more that holds on the mean over modalities.

    Raises
    ------
    ValueError
        If a modality never varies, or has fewer directions than asked for.

    Notes
    -----
    Of features that depend on others linearly the redundant directions are left out.
    The identity is scaled by the mean variance so that a ridge means the same in any
    unit and for any length; the authors' code has neither.

    References
    ----------
    F. Zhou & F. De la Torre (2009). Canonical time warping for alignment of human
    behavior. NeurIPS 22, equation 6.
    """
    mean, scatter, magnitude = pooled_scatter(samples, warps)
    edges = np.cumsum([0, *(x.shape[1] for x in samples[0])])
    parts = [slice(*pair) for pair in pairwise(edges)]
    within = [
        _whitening(scatter[part, part], magnitude[part], ridge, v)
        for v, part in enumerate(parts)
    ]
    ranks = [whitening.shape[1] for whitening in within]
    n_most = min(ranks)
    if n_directions is not None and n_directions > n_most:
        v = int(np.argmin(ranks))
        raise ValueError(
            f"n_directions={n_directions}, but the frames of modality {v} vary in only "
            f"{n_most}; give at most that many"
        )
    ends = np.cumsum([0, *ranks])
    between = np.zeros((ends[-1], ends[-1]))
    for i in range(len(parts)):
        for j in range(i):
            block = within[i].T @ scatter[parts[i], parts[j]] @ within[j]
            between[ends[i] : ends[i + 1], ends[j] : ends[j + 1]] = block
            between[ends[j] : ends[j + 1], ends[i] : ends[i + 1]] = block.T
    eigenvalues, vectors = np.linalg.eigh(between)
    eigenvalues, vectors = eigenvalues[::-1][:n_most], vectors[:, ::-1]
    if n_directions is None:
        n_directions = n_directions_of(eigenvalues, energy)
    vectors = vectors[:, :n_directions] * np.sqrt(len(parts))
    weights = [
        whitening @ vectors[begin:end]
        for whitening, begin, end in zip(within, ends[:-1], ends[1:], strict=True)
    ]
    largest = np.abs(weights[0]).argmax(axis=0)
    signs = np.sign(weights[0][largest, np.arange(n_directions)])
    weights = [w * signs for w in weights]
    correlations = _correlations(scatter, parts, weights)
    return Projections([mean[part] for part in parts], weights, correlations)


def by_likelihood(fitted: Projections) -> Projections:
    """Weigh directions by what a difference in them tells about the alignment.

    Two Gaussian scores of unit variance and correlation r have a likelihood, beside
    that of independent ones, that falls with ``r / (1 - r^2)`` times half their squared
    difference, and depends on nothing else of the alignment but how often each frame is
    used. With directions scaled by the root of that, the least sum of squared
    differences is the likeliest alignment.

    Parameters
    ----------
    fitted : Projections
        Of which the directions have about unit variance.

    Returns
    -------
    Projections
        The same directions, the more they correlate the longer.
    """
    r = np.clip(fitted.correlations, 0, PERFECT)
    scale = np.sqrt(r / (1 - r**2))
    return fitted._replace(weights=[w * scale for w in fitted.weights])


def n_directions_of(eigenvalues: np.ndarray, energy: float) -> int:
    """Count the leading eigenvalues that hold a share of their sum.

    Parameters
    ----------
    eigenvalues : ndarray of shape (n,)
        Falling; a negative one counts as 0.
    energy : float
        The share, in (0, 1].

    Returns
    -------
    int
        How many, at least 1.
    """
    sums = np.cumsum(np.maximum(eigenvalues, 0))
    return min(int(np.searchsorted(sums, energy * sums[-1])) + 1, len(sums))


def _correlations(
    scatter: np.ndarray, parts: list[slice], weights: list[np.ndarray]
) -> np.ndarray:
    """Correlations of scores, averaged over pairs; 0 with scores that do not vary."""
    scaled = []
    for part, w in zip(parts, weights, strict=True):
        own = scatter[part, part]
        variance = np.einsum("fk,fg,gk->k", w, own, w)
        most = np.sqrt(np.diag(own)) @ np.abs(w)  # deviation if all features agreed
        varies = ~is_constant(variance, most**2)
        scaled.append(w / np.sqrt(np.where(varies, variance, np.inf)))
    pairs = combinations(zip(parts, scaled, strict=True), 2)
    by_pair = [
        np.einsum("fk,fg,gk->k", w, scatter[p, q], u) for (p, w), (q, u) in pairs
    ]
    return np.mean(by_pair, axis=0)


def _whitening(
    scatter: np.ndarray, magnitude: np.ndarray, ridge: float, v: int
) -> np.ndarray:
    """Columns W with ``W' C W = I``, as many as the modality has directions."""
    variance = np.diag(scatter)
    varies = ~is_constant(np.sqrt(np.maximum(variance, 0)), magnitude)
    if not varies.any():
        raise ValueError(
            f"the frames of modality {v} are all the same; CTW finds nothing that "
            "correlates with them: drop the modality"
        )
    mixed = (1 - ridge) * scatter + ridge * variance.mean() * np.eye(len(variance))
    # in units of each feature, so that what counts as rank does not depend on them
    scale = np.zeros(len(variance))
    scale[varies] = 1 / np.sqrt(np.diag(mixed)[varies])
    eigenvalues, vectors = np.linalg.eigh(scale[:, None] * mixed * scale)
    kept = eigenvalues > DEPENDENT * eigenvalues[-1]
    return scale[:, None] * vectors[:, kept] / np.sqrt(eigenvalues[kept])
