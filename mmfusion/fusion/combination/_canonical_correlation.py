"""Canonical correlation of two and more modalities, as pure functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, sparse

from mmfusion._scaling import is_constant
from mmfusion._typing import NumericBlock

# of the largest variance: below, features depend on each other linearly
DEPENDENT_VARIANCE = 1e-10
# above, the scatter matrix has the axes to eight digits and more, as the slower
# singular vectors of the samples have
ACCURATE_VARIANCE = 1e-7
# at 1, a modality of noise alone would have no axes
LARGEST_SHRINKAGE = 0.999


class Whitening(NamedTuple):
    """Principal axes of one modality, on which the samples have unit variance.

    Parameters
    ----------
    mean : ndarray of shape (n_features,)
        Mean of the samples.
    axes : ndarray of shape (n_features, rank)
        Axes, divided by the standard deviation of the samples on them.
    shrinkage : float
        Share of the identity in the covariance.
    """

    mean: np.ndarray
    axes: np.ndarray
    shrinkage: float

    def apply(self, block: NumericBlock) -> np.ndarray:
        """Project samples to the axes.

        Parameters
        ----------
        block : ndarray or CSR matrix of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        ndarray of shape (n_samples, rank)
            Coordinates on the axes.
        """
        return block @ self.axes - self.mean @ self.axes


def fit_whitening(block: NumericBlock, shrinkage: float | None) -> Whitening:
    """Compute the axes of the covariance ``(1 - c) S + c tr(S) / d I``.

    Axes are multiplied by ``sqrt(1 - c)``, so that the share of a modality in the
    common scores is less the more its covariance is shrunk.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The samples.
    shrinkage : float or None
        Share c in [0, 1); None takes the estimate of Ledoit and Wolf (2004).

    Returns
    -------
    Whitening
        The axes; none if the samples do not vary.
    """
    n_features = block.shape[1]
    mean = np.asarray(block.mean(axis=0, dtype=np.float64)).reshape(-1)
    if not sparse.issparse(block):  # the rounding of the mean grows with the samples
        mean += (block - mean).mean(axis=0)
    variances, axes = _principal_axes(block, mean)
    total = float(variances.sum())
    if _is_rounding(total, mean, block.shape[0] if sparse.issparse(block) else 0):
        return Whitening(mean, np.zeros((n_features, 0)), shrinkage or 0.0)
    if shrinkage is None:
        norms = _squared_lengths(block, mean)
        shrinkage = _ledoit_wolf(variances, norms, n_features)
    kept = variances > DEPENDENT_VARIANCE * variances[0]
    variances, axes = variances[kept], axes[:, kept]
    shrunk = (1 - shrinkage) * variances + shrinkage * total / n_features
    return Whitening(mean, axes * np.sqrt((1 - shrinkage) / shrunk), shrinkage)


def _is_rounding(total: float, mean: np.ndarray, n_added: int) -> bool:
    """Return whether a total variance is only that of rounding.

    Of sparse blocks it is a difference of sums of `n_added` squares; 0 for others.
    """
    squares = float(mean @ mean)
    if n_added:
        return bool(is_constant(total, n_added * squares))
    return bool(is_constant(np.sqrt(total), np.sqrt(squares)))


def _principal_axes(block: Any, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute variances, largest first, and unit axes of samples."""
    n_samples, n_features = block.shape
    if not sparse.issparse(block):
        centered = np.asarray(block, dtype=np.float64) - mean
        if n_features <= n_samples:
            variances, axes = linalg.eigh(centered.T @ centered / n_samples)
            if variances[0] > ACCURATE_VARIANCE * variances[-1]:
                return variances[::-1], axes[:, ::-1]
        _, scales, axes = linalg.svd(centered, full_matrices=False)
        return scales**2 / n_samples, axes.T
    block = block.astype(np.float64)
    if n_features <= n_samples:
        scatter = (block.T @ block).toarray() / n_samples - np.outer(mean, mean)
        variances, axes = linalg.eigh(scatter)
        return np.maximum(variances[::-1], 0), axes[:, ::-1]
    # the Gram matrix is the smaller one: of unit vectors u, the axes are X'u / s
    products = block @ mean
    gram = (block @ block.T).toarray() - products - products[:, None] + mean @ mean
    variances, vectors = linalg.eigh(gram / n_samples)
    variances, vectors = np.maximum(variances[::-1], 0), vectors[:, ::-1]
    kept = variances > DEPENDENT_VARIANCE * max(variances[0], np.finfo(float).tiny)
    variances, vectors = variances[kept], vectors[:, kept]
    axes = block.T @ vectors - np.outer(mean, vectors.sum(axis=0))
    return variances, axes / np.sqrt(n_samples * variances)


def _squared_lengths(block: Any, mean: np.ndarray) -> np.ndarray:
    if sparse.issparse(block):
        squares = np.asarray(block.multiply(block).sum(axis=1)).reshape(-1)
        return squares - 2 * (block @ mean) + mean @ mean
    centered = block - mean
    return np.einsum("ij,ij->i", centered, centered)


def _ledoit_wolf(variances: np.ndarray, norms: np.ndarray, n_features: int) -> float:
    """Estimate the shrinkage from variances and squared lengths of samples.

    Ledoit and Wolf (2004), lemmas 3.2 to 3.5: ``b^2 / d^2``, with the mean squared
    distance b^2 of a sample's own covariance to S, over n, and d^2 that of S to the
    multiple of the identity.
    """
    n_samples = len(norms)
    squares = float(variances @ variances)
    distance = squares - float(variances.sum()) ** 2 / n_features
    error = (float(norms @ norms) / n_samples - squares) / n_samples
    if not distance > DEPENDENT_VARIANCE * squares:  # the covariance is the identity
        return 0.0
    return float(np.clip(error / distance, 0.0, LARGEST_SHRINKAGE))


def canonical_axes(
    whitened: Sequence[np.ndarray], observed: np.ndarray, n_components: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Maximise the variance that common scores share with all modalities (MAXVAR).

    With whitened modalities P_v of unit variance and K_v, 1 for the samples that have
    v, the common scores G minimise ``sum_v ||K_v (G - P_v B_v)||^2`` under
    ``G' (sum_v K_v) G = n I``: ``sum_v K_v G`` times the square root of their number
    are left singular vectors of the ``P_v / sqrt(c)`` side by side, where c is the
    number of modalities of a sample (Kettenring 1971; with missing samples, van de
    Velden and Bijmolt 2006).

    Parameters
    ----------
    whitened : sequence of ndarray of shape (n_observed, rank)
        Whitened samples of each modality, without those that lack it.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Whether a sample has a modality.
    n_components : int
        Number of components.

    Returns
    -------
    axes : list of ndarray of shape (rank, n_components)
        For each modality, the axes B_v, whose mean over the modalities of a sample
        are common scores of unit variance.
    strengths : ndarray of shape (n_components,)
        Eigenvalues, largest first: the share of the variance of the common scores
        that a modality explains, mean over the modalities of the samples.
    """
    n_samples = len(observed)
    counts = np.sqrt(observed.sum(axis=1))
    ranks = [scores.shape[1] for scores in whitened]
    side_by_side = np.zeros((n_samples, sum(ranks)))
    ends = np.cumsum(ranks)
    for scores, seen, stop in zip(whitened, observed.T, ends, strict=True):
        own = slice(stop - scores.shape[1], stop)
        side_by_side[seen, own] = scores / counts[seen, None]
    if side_by_side.shape[1] <= n_samples:
        products = side_by_side.T @ side_by_side
        strengths, joint = _leading(products, n_components)
    else:
        strengths, vectors = _leading(side_by_side @ side_by_side.T, n_components)
        lengths = np.sqrt(np.maximum(strengths, np.finfo(float).tiny))
        joint = side_by_side.T @ vectors / lengths
    common = side_by_side @ joint / counts[:, None]
    spread = common.std(axis=0)
    signs = np.sign(common[np.abs(common).argmax(axis=0), np.arange(n_components)])
    joint *= signs / np.where(spread > 0, spread, 1.0)
    return np.split(joint, ends[:-1]), strengths / n_samples


def _leading(matrix: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Compute the k largest eigenvalues of a symmetric matrix, and their vectors."""
    n = len(matrix)
    values, vectors = linalg.eigh(matrix, subset_by_index=[n - k, n - 1])
    return values[::-1], vectors[:, ::-1]


def fit_scores(
    latents: np.ndarray, observed: np.ndarray, n_components: int, shrinkage: float
) -> tuple[np.ndarray, np.ndarray]:
    """Fit the linear scores of latents, as `MultimodalCCA` does.

    Parameters
    ----------
    latents : ndarray of shape (n_modalities, n_samples, d)
        Latents; rows of samples that lack a modality are not read.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Whether a sample has a modality.
    n_components : int
        Number of scores.
    shrinkage : float
        Share of the identity in the covariances.

    Returns
    -------
    means : ndarray of shape (n_modalities, 1, d)
        Mean of the latents of each modality.
    axes : ndarray of shape (n_modalities, d, n_components)
        Axes, zeros for components beyond the second largest rank of the latents.
    """
    n_modalities, _, d = latents.shape
    means = np.zeros((n_modalities, 1, d))
    axes = np.zeros((n_modalities, d, n_components))
    whitenings = [
        fit_whitening(own[seen], shrinkage)
        if seen.any()
        else Whitening(np.zeros(d), np.zeros((d, 0)), shrinkage)
        for own, seen in zip(latents, observed.T, strict=True)
    ]
    ranks = sorted(w.axes.shape[1] for w in whitenings if w.axes.shape[1])
    if not ranks:
        return means, axes
    k = min(n_components, ranks[-2] if len(ranks) > 1 else ranks[-1], len(observed))
    whitened = [
        whitening.apply(own[seen])
        for whitening, own, seen in zip(whitenings, latents, observed.T, strict=True)
    ]
    canonical, _ = canonical_axes(whitened, observed, k)
    for v, (whitening, own) in enumerate(zip(whitenings, canonical, strict=True)):
        means[v] = whitening.mean
        axes[v, :, :k] = whitening.axes @ own
    return means, axes


def mean_correlations(scores: Sequence[np.ndarray], observed: np.ndarray) -> np.ndarray:
    """Correlate the scores of pairs of modalities, and average over the pairs.

    Parameters
    ----------
    scores : sequence of ndarray of shape (n_samples, n_components)
        Scores of each modality; rows of samples that lack it are not read.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Whether a sample has a modality.

    Returns
    -------
    ndarray of shape (n_components,)
        Mean correlation of each component over the pairs that at least two samples
        have; 0 without any, and for scores that do not vary in any pair.
    """
    total = np.zeros(scores[0].shape[1])
    n_pairs = np.zeros(len(total), dtype=int)
    for v, w in combinations(range(len(scores)), 2):
        both = observed[:, v] & observed[:, w]
        if both.sum() > 1:
            own = _correlations(scores[v][both], scores[w][both])
            total += np.nan_to_num(own)
            n_pairs += np.isfinite(own)
    return total / np.maximum(n_pairs, 1)


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    lengths = np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(axis=0) / lengths
