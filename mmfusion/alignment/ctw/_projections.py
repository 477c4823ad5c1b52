"""The spatial step of canonical time warping: projections of largest correlation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from mmfusion._scaling import is_constant

# variance relative to the largest: below, features depend on each other linearly
DEPENDENT_VARIANCE = 1e-10
# larger correlations are clipped: their likelihood weight would be unbounded
LARGEST_CORRELATION = 0.999


class Projections(NamedTuple):
    """Projections of the frames of modalities to a common space.

    Parameters
    ----------
    means : list of ndarray of shape (n_features,)
        Mean warped frame of each modality.
    weights : list of ndarray of shape (n_features, n_directions)
        Projection of each modality's centred frames.
    correlations : ndarray of shape (n_directions,)
        Canonical correlations of the scores along the warps; for more than two
        modalities, their mean over pairs.
    """

    means: list[np.ndarray]
    weights: list[np.ndarray]
    correlations: np.ndarray


def project(sample: Sequence[np.ndarray], projections: Projections) -> list[np.ndarray]:
    """Project every frame of a sample.

    Parameters
    ----------
    sample : sequence of ndarray of shape (n_frames, n_features)
        One sequence per modality.
    projections : Projections
        The projections.

    Returns
    -------
    list of ndarray of shape (n_frames, n_directions)
        The projected sequences.
    """
    triples = zip(sample, projections.means, projections.weights, strict=True)
    return [(x - mean) @ weights for x, mean, weights in triples]


def warped(sequence: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return the frames of a sequence at the steps of a warp.

    Parameters
    ----------
    sequence : ndarray of shape (n_frames, n_features)
        The sequence.
    column : ndarray of shape (n_steps,)
        Column of the warp; between whole frames, linear interpolation.

    Returns
    -------
    ndarray of shape (n_steps, n_features)
        The frames.
    """
    if column.dtype.kind == "i":
        return sequence[column]
    # of an interval between two frames, the first: at the last frame, the one before
    before = np.clip(column.astype(np.int64), 0, max(len(sequence) - 2, 0))
    after = np.minimum(before + 1, len(sequence) - 1)
    share = (column - before)[:, None]
    return (1 - share) * sequence[before] + share * sequence[after]


def pooled_scatter(
    samples: Sequence[Sequence[np.ndarray]], warps: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute mean and covariance of the concatenated warped frames of all samples.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality.
    warps : sequence of ndarray of shape (n_steps, n_modalities)
        The warp of each sample.

    Returns
    -------
    mean : ndarray of shape (n_features of all modalities,)
        The mean frame.
    scatter : ndarray of shape (n_features, n_features) of all modalities
        The scatter around it, divided by the number of frames.
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
    # the corrected two-pass algorithm (Chan et al. 1983): the mean of a long sum is
    # rounded, and the mean of deviations from it corrects mean and covariance
    rest /= n_frames
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
    """Fit the projections in which warped modalities have the largest correlations.

    Solve ``C_O v = w C_D v`` (equation 6 of the paper): C_O holds the scatters between
    modalities, C_D those within, each mixed with its mean variance:
    ``(1 - ridge) S_ii + ridge tr(S_ii)/d_i I``.

    Parameters
    ----------
    samples : sequence of sequences of ndarray of shape (n_frames, n_features)
        Per sample, one sequence per modality. All samples share the projections.
    warps : sequence of ndarray of shape (n_steps, n_modalities)
        The warp of each sample.
    ridge : float, default=0.0
        Share of the identity in the scatter of each modality, in [0, 1].
    energy : float, default=0.8
        Share of the eigenvalues w: the fewest directions with this share of the sum
        over all directions of the smallest modality are kept.
    n_directions : int or None, default=None
        Number of directions; overrides `energy`.

    Returns
    -------
    Projections
        For two modalities the scores of each are uncorrelated, and without a ridge of
        unit variance; for more, on average over modalities.

    Raises
    ------
    ValueError
        If a modality never varies, or has fewer directions than `n_directions`.

    Notes
    -----
    Directions of no variance, of features that depend on others linearly, are left out.
    The identity is scaled by the mean variance of the features that vary, so that the
    effect of a ridge does not depend on the unit of a modality and on lengths; that of
    a single feature does count. The authors' code does neither.

    References
    ----------
    F. Zhou & F. De la Torre (2009). Canonical time warping for alignment of human
    behavior. NeurIPS 22, equation 6.
    """
    mean, scatter, magnitude = pooled_scatter(samples, warps)
    edges = np.cumsum([0, *(x.shape[1] for x in samples[0])])
    spans = [slice(*pair) for pair in pairwise(edges)]
    within = [
        whitening_directions(scatter[span, span], magnitude[span], ridge, v)
        for v, span in enumerate(spans)
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
    for i in range(len(spans)):
        for j in range(i):
            block = within[i].T @ scatter[spans[i], spans[j]] @ within[j]
            between[ends[i] : ends[i + 1], ends[j] : ends[j + 1]] = block
            between[ends[j] : ends[j + 1], ends[i] : ends[i + 1]] = block.T
    # with whitened modalities, C_D is the identity
    eigenvalues, vectors = np.linalg.eigh(between)
    eigenvalues, vectors = eigenvalues[::-1][:n_most], vectors[:, ::-1]
    if n_directions is None:
        n_directions = count_directions(eigenvalues, energy)
    vectors = vectors[:, :n_directions] * np.sqrt(len(spans))
    weights = [
        whitening @ vectors[begin:end]
        for whitening, begin, end in zip(within, ends[:-1], ends[1:], strict=True)
    ]
    # signs are arbitrary: the largest weight of the first modality is positive
    largest = np.abs(weights[0]).argmax(axis=0)
    signs = np.sign(weights[0][largest, np.arange(n_directions)])
    weights = [w * signs for w in weights]
    correlations = _mean_correlations(scatter, spans, weights)
    return Projections([mean[span] for span in spans], weights, correlations)


def weigh_by_likelihood(projections: Projections) -> Projections:
    """Weigh directions so that dynamic time warping maximises a likelihood.

    The likelihood ratio of two Gaussian scores of unit variance with correlation r, to
    independent ones, decreases with ``r / (1 - r^2)`` times half their squared
    difference, and depends otherwise only on how often the alignment uses each frame.
    With directions scaled by the root of that factor, the least sum of squared
    differences is the most likely alignment.

    Parameters
    ----------
    projections : Projections
        Projections whose scores have about unit variance.

    Returns
    -------
    Projections
        The same directions, longer for larger correlations.
    """
    scale = np.sqrt(likelihood_weights(projections.correlations))
    return projections._replace(weights=[w * scale for w in projections.weights])


def likelihood_weights(correlations: np.ndarray) -> np.ndarray:
    """Return ``r / (1 - r^2)``, the weight of a direction in `weigh_by_likelihood`.

    Parameters
    ----------
    correlations : ndarray of shape (n_directions,)
        The correlations r; clipped to between 0 and .999.

    Returns
    -------
    ndarray of shape (n_directions,)
        The weights.
    """
    r = np.clip(correlations, 0, LARGEST_CORRELATION)
    return r / (1 - r**2)


def count_directions(eigenvalues: np.ndarray, energy: float) -> int:
    """Count the leading eigenvalues that hold a share of their sum.

    Parameters
    ----------
    eigenvalues : ndarray of shape (n,)
        In descending order; negative ones count as 0.
    energy : float
        The share, in (0, 1].

    Returns
    -------
    int
        Their number, at least 1.
    """
    sums = np.cumsum(np.maximum(eigenvalues, 0))
    return min(int(np.searchsorted(sums, energy * sums[-1])) + 1, len(sums))


def _mean_correlations(
    scatter: np.ndarray, spans: list[slice], weights: list[np.ndarray]
) -> np.ndarray:
    """Average correlations of scores over pairs; 0 with scores that do not vary."""
    scaled = []
    for span, w in zip(spans, weights, strict=True):
        own = scatter[span, span]
        variance = np.einsum("fk,fg,gk->k", w, own, w)
        most = np.sqrt(np.diag(own)) @ np.abs(w)  # if all features correlated
        varies = ~is_constant(variance, most**2)
        scaled.append(w / np.sqrt(np.where(varies, variance, np.inf)))
    pairs = combinations(zip(spans, scaled, strict=True), 2)
    by_pair = [
        np.einsum("fk,fg,gk->k", w, scatter[p, q], u) for (p, w), (q, u) in pairs
    ]
    return np.mean(by_pair, axis=0)


def whitening_directions(
    scatter: np.ndarray, magnitude: np.ndarray, ridge: float, v: int
) -> np.ndarray:
    """Return W with ``W' C W = I``, a column for each direction of a modality.

    Parameters
    ----------
    scatter : ndarray of shape (n_features, n_features)
        Covariance of its frames; C is this, mixed with the ridge.
    magnitude : ndarray of shape (n_features,)
        Largest absolute value of each feature.
    ridge : float
        Share of the identity in C.
    v : int
        Position of the modality, for errors.

    Returns
    -------
    ndarray of shape (n_features, n_directions)
        The directions.

    Raises
    ------
    ValueError
        If the frames never vary.
    """
    variance = np.diag(scatter)
    varies = ~is_constant(np.sqrt(np.maximum(variance, 0)), magnitude)
    if not varies.any():
        raise ValueError(
            f"the frames of modality {v} are all the same; CTW finds nothing that "
            "correlates with them: drop the modality"
        )
    # a constant feature does not change what the others get
    mean = variance[varies].mean()
    mixed = (1 - ridge) * scatter + ridge * mean * np.eye(len(variance))
    # in units of the deviation of each feature, so that the rank does not depend on
    # theirs
    scale = np.zeros(len(variance))
    scale[varies] = 1 / np.sqrt(np.diag(mixed)[varies])
    eigenvalues, vectors = np.linalg.eigh(scale[:, None] * mixed * scale)
    kept = eigenvalues > DEPENDENT_VARIANCE * eigenvalues[-1]
    return scale[:, None] * vectors[:, kept] / np.sqrt(eigenvalues[kept])
