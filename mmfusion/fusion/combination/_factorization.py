"""Joint non-negative factorisation of modalities, as pure functions of arrays.

For samples X_v of modality v, divided by their mean sum, weights W_v and parts H_v
minimise ``sum_v ||X_v - W_v H_v||^2 + a_v ||W_v Q_v - C||^2``, where the diagonal
matrix Q_v has the sums of the rows of H_v and C is the consensus (Liu et al. 2013).
Rescaling a part and its weights changes nothing, so that after each update parts are
divided by their sums and Q_v is the identity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.linalg import LinearOperator, svds

from mmfusion._scaling import without_offset_and_unit
from mmfusion._typing import NumericBlock

# sweeps over the weights of new samples, and the relative change at which they end
MOST_SWEEPS = 300
SETTLED = 1e-4


class Counts(NamedTuple):
    """Non-negative samples of one modality, divided by a number when multiplied.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_observed, n_features)
        The samples that have the modality.
    scale : float
        The divisor.
    """

    block: Any
    scale: float

    def times(self, right: np.ndarray) -> np.ndarray:
        """Multiply by a dense matrix from the right."""
        product = self.block @ right.astype(self.block.dtype, copy=False)
        return product.astype(np.float64, copy=False) / self.scale

    def transposed_times(self, right: np.ndarray) -> np.ndarray:
        """Multiply the transpose by a dense matrix from the right."""
        product = self.block.T @ right.astype(self.block.dtype, copy=False)
        return product.astype(np.float64, copy=False) / self.scale

    def total_squares(self) -> float:
        """Return the sum of the squares of all entries."""
        values = self.block.data if sparse.issparse(self.block) else self.block
        rows = np.atleast_2d(values)
        squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
        return float(squares.sum()) / self.scale**2


class Factorization(NamedTuple):
    """Parts of the modalities, and the objective after every iteration.

    Parameters
    ----------
    parts : list of ndarray of shape (n_components, n_features)
        Parts H_v of each modality; the sum of each is 1.
    history : list of float
        Objective after each iteration.
    converged : bool
        Whether the last iteration reduced it by less than the tolerance.
    """

    parts: list[np.ndarray]
    history: list[float]
    converged: bool


def without_unit(block: NumericBlock) -> tuple[NumericBlock, float]:
    """Divide huge and tiny values, whose squares would over- or underflow.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The samples.

    Returns
    -------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The samples, divided by the unit.
    unit : float
        A power of two, 1 for common values.
    """
    scaling = without_offset_and_unit(block, shifted=False)
    return (block if scaling.spread == 1 else scaling.apply(block)), scaling.spread


def mean_sum(block: NumericBlock) -> float:
    """Return the mean of the sums of samples, or 1 where all of them are 0."""
    total = float(block.sum(dtype=np.float64)) / block.shape[0]
    return total if total > 0 else 1.0


def factorize(
    modalities: Sequence[Counts],
    observed: np.ndarray,
    consensus_weights: np.ndarray,
    n_components: int,
    *,
    max_iter: int,
    tol: float,
) -> Factorization:
    """Minimise the objective by turns over one component of one factor.

    Each update is the exact minimum over its variables (Cichocki and Phan 2009 for one
    modality), so that the objective never rises.

    Parameters
    ----------
    modalities : sequence of Counts
        Samples of each modality, without those that lack it.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Whether a sample has a modality.
    consensus_weights : ndarray of shape (n_modalities,)
        Positive weights a_v of the distances to the consensus.
    n_components : int
        Number of components.
    max_iter : int
        Largest number of iterations.
    tol : float
        Share of ``sum_v ||X_v||^2`` by which an iteration must reduce the objective to
        go on.

    Returns
    -------
    Factorization
        The parts.
    """
    weights, parts = _start(modalities, observed, n_components)
    consensus = _consensus(weights, observed, consensus_weights)
    squares = [own.total_squares() for own in modalities]
    history: list[float] = []
    for _ in range(max_iter):
        for v, own in enumerate(modalities):
            update_parts(
                parts[v],
                weights[v],
                own.transposed_times(weights[v]).T,
                consensus[observed[:, v]],
                consensus_weights[v],
            )
        products = [own.times(H.T) for own, H in zip(modalities, parts, strict=True)]
        filled = _over_all(weights, observed)
        targets = _over_all(products, observed)
        grams = np.array([H @ H.T for H in parts])
        update_weights(filled, consensus, targets, grams, observed, consensus_weights)
        weights = [W[own] for W, own in zip(filled, observed.T, strict=True)]
        errors = reconstruction_errors(squares, filled, targets, grams)
        apart = _distances(filled, consensus, observed)
        history.append(float(errors.sum() + consensus_weights @ apart))
        if len(history) > 1 and history[-2] - history[-1] <= tol * sum(squares):
            return Factorization(parts, history, True)
    return Factorization(parts, history, False)


def solve_weights(
    modalities: Sequence[Counts],
    observed: np.ndarray,
    consensus_weights: np.ndarray,
    parts: Sequence[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the objective over weights and consensus, with given parts.

    Sweeps end for each sample by itself, so that its result does not depend on others.

    Parameters
    ----------
    modalities : sequence of Counts
        Samples of each modality, without those that lack it.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Whether a sample has a modality.
    consensus_weights : ndarray of shape (n_modalities,)
        Positive weights a_v of the distances to the consensus.
    parts : sequence of ndarray of shape (n_components, n_features)
        Parts of each modality.

    Returns
    -------
    weights : ndarray of shape (n_modalities, n_samples, n_components)
        Weights W_v, 0 where a sample lacks the modality.
    consensus : ndarray of shape (n_samples, n_components)
        Consensus C.
    """
    products = [own.times(H.T) for own, H in zip(modalities, parts, strict=True)]
    targets = _over_all(products, observed)
    grams = np.array([H @ H.T for H in parts])
    weights, consensus = np.zeros(targets.shape), np.zeros(targets.shape[1:])
    moving = np.arange(len(observed))
    for _ in range(MOST_SWEEPS):
        if not moving.size:
            break
        before, common = weights[:, moving], consensus[moving]
        after, common = before.copy(), common.copy()
        update_weights(
            after,
            common,
            targets[:, moving],
            grams,
            observed[moving],
            consensus_weights,
        )
        weights[:, moving], consensus[moving] = after, common
        change = np.abs(after - before).max(axis=(0, 2))
        moving = moving[change > SETTLED * after.max(axis=(0, 2))]
    return weights, consensus


def update_parts(
    parts: np.ndarray,
    weights: np.ndarray,
    products: np.ndarray,
    consensus: np.ndarray,
    consensus_weight: float,
) -> None:
    """Minimise the objective over each part of a modality in turn, in place.

    Parts are divided by their sums and the weights multiplied by them. Where the best
    part is 0, its weights become 0 instead, which is the same product.

    Parameters
    ----------
    parts : ndarray of shape (n_components, n_features)
        Parts H, each of the sum 1.
    weights : ndarray of shape (n_samples, n_components)
        Weights W of the samples that have the modality.
    products : ndarray of shape (n_components, n_features)
        ``W' X``.
    consensus : ndarray of shape (n_samples, n_components)
        Consensus of these samples.
    consensus_weight : float
        Weight of the distance to it.
    """
    gram = weights.T @ weights
    pulls = consensus_weight * np.einsum("ij,ij->j", weights, consensus)
    for k in range(len(parts)):
        if gram[k, k] == 0:
            continue
        linear = products[k] - gram[k] @ parts + gram[k, k] * parts[k]
        best = _penalized_part(
            linear / gram[k, k], consensus_weight, pulls[k] / gram[k, k]
        )
        total = best.sum()
        if total > 0:
            parts[k] = best / total
        weights[:, k] *= total
        products[k] *= total
        gram[k] *= total
        gram[:, k] *= total


def _penalized_part(target: np.ndarray, weight: float, pull: float) -> np.ndarray:
    """Minimise ``||h - target||^2 + weight s^2 - 2 pull s`` over h >= 0, s its sum.

    The solution is ``max(target - t, 0)`` with ``t = weight s - pull``: with the j
    largest targets above t, of sum c_j, ``t = (weight c_j - pull) / (1 + weight j)``.
    """
    ordered = np.sort(target)[::-1]
    sums = np.cumsum(ordered)
    shifts = (weight * sums - pull) / (1 + weight * np.arange(1, len(target) + 1))
    above = np.flatnonzero(ordered > shifts)
    # none is above: s = 0, and t = -pull does not matter
    return np.maximum(target - shifts[above[-1]], 0) if above.size else 0 * target


def update_weights(
    weights: np.ndarray,
    consensus: np.ndarray,
    targets: np.ndarray,
    grams: np.ndarray,
    observed: np.ndarray,
    consensus_weights: np.ndarray,
) -> None:
    """Minimise the objective over each component of all weights in turn, in place.

    For one component of a sample, the weights in all modalities and the consensus are
    minimised together: alone, the consensus would hold back the weights, and they it.

    Parameters
    ----------
    weights : ndarray of shape (n_modalities, n_samples, n_components)
        Weights W_v, 0 where a sample lacks the modality.
    consensus : ndarray of shape (n_samples, n_components)
        Consensus C.
    targets : ndarray of shape (n_modalities, n_samples, n_components)
        ``X_v H_v'``, 0 where a sample lacks the modality.
    grams : ndarray of shape (n_modalities, n_components, n_components)
        ``H_v H_v'``.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Whether a sample has a modality.
    consensus_weights : ndarray of shape (n_modalities,)
        Positive weights a_v of the distances to the consensus.
    """
    pulls = np.where(observed, consensus_weights, 0.0).T
    for k in range(consensus.shape[1]):
        own = grams[:, k, k, None]
        others = (
            np.matmul(weights, grams[:, :, k, None])[..., 0] - weights[..., k] * own
        )
        linear = np.where(observed.T, targets[..., k] - others, 0.0)
        best, common = _agreeing_weights(linear, own, pulls)
        weights[..., k], consensus[:, k] = np.where(observed.T, best, 0.0), common


def _agreeing_weights(
    linear: np.ndarray, squares: np.ndarray, pulls: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise ``sum_v g_v w_v^2 - 2 b_v w_v + a_v (w_v - c)^2`` over w >= 0 and c.

    Given c, ``w_v = max(b_v + a_v c, 0) / (g_v + a_v)``, and c is the mean of the w_v
    with weights a_v, hence the root of ``sum_v a_v (c - w_v(c))``. This function rises
    and is linear but for V kinks, with slopes that fall, so that Newton steps from
    c = 0 do not pass the root and reach it in at most V + 1 steps.
    """
    divisors = np.maximum(squares + pulls, np.finfo(float).tiny)
    total = pulls.sum(axis=0)
    common = np.zeros(linear.shape[1])
    for _ in range(len(linear) + 1):
        active = linear + pulls * common > 0
        counted = np.where(active, pulls / divisors, 0.0)
        slope = total - (counted * pulls).sum(axis=0)
        level = (counted * linear).sum(axis=0)
        following = np.divide(level, slope, out=np.zeros_like(level), where=slope > 0)
        following = np.maximum(following, 0.0)
        if np.array_equal(following, common):
            break
        common = following
    return np.maximum(linear + pulls * common, 0) / divisors, common


def reconstruction_errors(
    squares: Sequence[float],
    weights: np.ndarray,
    targets: np.ndarray,
    grams: np.ndarray,
) -> np.ndarray:
    """Compute ``||X_v - W_v H_v||^2`` of each modality without the product W_v H_v.

    Parameters
    ----------
    squares : sequence of float
        ``||X_v||^2``.
    weights : ndarray of shape (n_modalities, n_samples, n_components)
        Weights W_v, 0 where a sample lacks the modality.
    targets : ndarray of shape (n_modalities, n_samples, n_components)
        ``X_v H_v'``.
    grams : ndarray of shape (n_modalities, n_components, n_components)
        ``H_v H_v'``.

    Returns
    -------
    ndarray of shape (n_modalities,)
        The squared errors, at least 0.
    """
    crossed = (weights * targets).sum(axis=(1, 2))
    fitted = [np.vdot(W.T @ W, G) for W, G in zip(weights, grams, strict=True)]
    return np.maximum(np.asarray(squares) - 2 * crossed + fitted, 0.0)


def _distances(
    weights: np.ndarray, consensus: np.ndarray, observed: np.ndarray
) -> np.ndarray:
    apart = np.where(observed.T[..., None], weights - consensus, 0.0)
    return np.einsum("vij,vij->v", apart, apart)


def _over_all(rows: Sequence[np.ndarray], observed: np.ndarray) -> np.ndarray:
    """Put rows of the samples that have each modality among all samples."""
    out = np.zeros((len(rows), len(observed), rows[0].shape[1]))
    for filled, own, seen in zip(out, rows, observed.T, strict=True):
        filled[seen] = own
    return out


def _consensus(
    weights: Sequence[np.ndarray], observed: np.ndarray, consensus_weights: np.ndarray
) -> np.ndarray:
    pulls = np.where(observed, consensus_weights, 0.0)
    total = np.einsum("vik,iv->ik", _over_all(weights, observed), pulls)
    return total / pulls.sum(axis=1, keepdims=True)


def _start(
    modalities: Sequence[Counts], observed: np.ndarray, n_components: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Start from the positive parts of singular vectors (Boutsidis, Gallopoulos 2008).

    They are those of the modalities side by side, so that a component is the same one
    in all of them, with missing samples at the mean. The start depends neither on a
    seed nor on the order of samples and modalities. Components beyond the number of
    singular vectors start without samples.
    """
    widths = [own.block.shape[1] for own in modalities]
    left, scales, right = _singular_vectors(modalities, observed, n_components)
    W = np.zeros((len(observed), n_components))
    H = np.zeros((n_components, sum(widths)))
    for k, (u, s, v) in enumerate(zip(left.T, scales, right, strict=True)):
        pairs = [(np.maximum(sign * u, 0), np.maximum(sign * v, 0)) for sign in (1, -1)]
        norms = [np.linalg.norm(a) * np.linalg.norm(b) for a, b in pairs]
        chosen = int(norms[1] > norms[0])
        u_part, v_part = pairs[chosen]
        if norms[chosen] > 0:
            W[:, k] = s * norms[chosen] * u_part / np.linalg.norm(u_part)
            H[k] = v_part / np.linalg.norm(v_part)
    weights, parts = [], []
    for own, seen in zip(
        np.split(H, np.cumsum(widths)[:-1], axis=1), observed.T, strict=True
    ):
        sums = own.sum(axis=1)
        weights.append(W[seen] * sums)
        uniform = np.full(own.shape, 1 / own.shape[1])
        parts.append(
            np.where(
                sums[:, None] > 0, own / np.where(sums > 0, sums, 1)[:, None], uniform
            )
        )
    return weights, parts


def _singular_vectors(
    modalities: Sequence[Counts], observed: np.ndarray, n_components: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute leading singular vectors of the modalities side by side."""
    operator = _concatenation(modalities, observed)
    smaller = min(operator.shape)
    k = min(n_components, smaller)
    if k > smaller // 2 or smaller < 50:  # Lanczos needs fewer vectors than there are
        identity = np.eye(smaller)
        matrix = (
            operator.matmat(identity)
            if operator.shape[1] == smaller
            else operator.rmatmat(identity).T
        )
        left, scales, right = linalg.svd(matrix, full_matrices=False)
        return left[:, :k], scales[:k], right[:k]
    # the vectors do not depend on where Lanczos starts
    start = np.random.default_rng(0).normal(size=smaller)
    left, scales, right = svds(operator, k, v0=start)
    order = np.argsort(scales)[::-1]
    return left[:, order], scales[order], right[order]


def _concatenation(
    modalities: Sequence[Counts], observed: np.ndarray
) -> LinearOperator:
    widths = [own.block.shape[1] for own in modalities]
    ends = np.cumsum(widths)[:-1]
    means = [
        own.transposed_times(np.ones((own.block.shape[0], 1)))[:, 0]
        / own.block.shape[0]
        for own in modalities
    ]

    def matmat(right: np.ndarray) -> np.ndarray:
        total = np.zeros((len(observed), right.shape[1]))
        pieces = np.split(right, ends)
        for own, mean, seen, piece in zip(
            modalities, means, observed.T, pieces, strict=True
        ):
            total[seen] += own.times(piece)
            total[~seen] += mean @ piece
        return total

    def rmatmat(left: np.ndarray) -> np.ndarray:
        return np.vstack(
            [
                own.transposed_times(left[seen])
                + np.outer(mean, left[~seen].sum(axis=0))
                for own, mean, seen in zip(modalities, means, observed.T, strict=True)
            ]
        )

    return LinearOperator(
        (len(observed), sum(widths)),
        matvec=lambda x: matmat(x.reshape(-1, 1))[:, 0],
        rmatvec=lambda x: rmatmat(x.reshape(-1, 1))[:, 0],
        matmat=matmat,
        rmatmat=rmatmat,
        dtype=np.float64,
    )
