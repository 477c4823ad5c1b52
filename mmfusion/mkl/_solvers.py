"""Weights of kernels for clustering, one solver for each algorithm.

All work on leading subspaces: kernel k-means is relaxed to orthonormal H, and
``tr(H' K H)`` is maximal for the leading eigenvectors H of K (Ky Fan).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from mmfusion._progress import OnStep, go_on
from mmfusion.mkl._stacks import ROUGH_RESIDUAL, Stack, Subspace

SMALLEST_RATIO = 1e-12  # of values that are divided by, to the largest one
UNUSED_SHARE = 1e-9  # of a mixture; smaller ones count as 0
NEWTON_TOLERANCE = 1e-13  # relative change of the objective
MAX_NEWTON_STEPS = 50
MIXTURE_SUFFICIENT_DECREASE = 1e-4  # share of the predicted decrease (Armijo)
AGREEMENT_DEVIATIONS = 3  # standard deviations above chance that are no chance


@dataclass(frozen=True)
class KernelConsensus:
    """Weights of kernels, and the embedding of the samples by their sum.

    Parameters
    ----------
    weights : ndarray of shape (n_kernels,)
        Weight of each kernel; they add up to 1.
    terms : list of (Subspace, ndarray of shape (k, k'))
        Pairs whose products ``H_j R_j`` add up to the embedding.
    objective_path : ndarray of shape (n_iter,)
        Objective after each step.
    converged : bool
        Whether the tolerance was reached.
    """

    weights: np.ndarray
    terms: list[tuple[Subspace, np.ndarray]]
    objective_path: np.ndarray
    converged: bool = True


def _coordinates(subspace: Subspace) -> list[tuple[Subspace, np.ndarray]]:
    """Return H times the roots of its eigenvalues, as kernel principal components."""
    return [(subspace, np.diag(np.sqrt(subspace.values)))]


def _embed_sum(stack: Stack, weights: np.ndarray, k: int) -> KernelConsensus:
    """Embed by fixed weights; the objective is ``tr(K) - tr(H' K H)``."""
    weights = weights / weights.sum()
    subspace = stack.top(weights, k)
    unexplained = float(weights @ stack.traces() - subspace.values.sum())
    return KernelConsensus(weights, _coordinates(subspace), np.array([unexplained]))


def solve_average(stack: Stack, k: int, **options: object) -> KernelConsensus:
    """Weight all kernels equally.

    Parameters
    ----------
    stack : KernelStack or FeatureStack
        The kernels.
    k : int
        Number of clusters.
    **options : object
        Not used.

    Returns
    -------
    KernelConsensus
        Equal weights, and the leading eigenvectors of the mean kernel.
    """
    return _embed_sum(stack, np.ones(len(stack.traces())), k)


def solve_statis(stack: Stack, k: int, **options: object) -> KernelConsensus:
    """Weight kernels by the leading eigenvector of their alignments (STATIS).

    The alignments are ``<K_p, K_q> / (|K_p| |K_q|)``, which are not negative, so that
    neither is the eigenvector (Lavit et al. 1994).

    Parameters
    ----------
    stack : KernelStack or FeatureStack
        The kernels.
    k : int
        Number of clusters.
    **options : object
        Not used.

    Returns
    -------
    KernelConsensus
        The weights, and the leading eigenvectors of the weighted kernel.
    """
    inner = stack.inner_products()
    norms = np.sqrt(inner.diagonal())
    _, vectors = np.linalg.eigh(inner / np.outer(norms, norms))
    return _embed_sum(stack, np.abs(vectors[:, -1]), k)


def agreements(stack: Stack, k: int) -> np.ndarray:
    """Compute the agreement of the leading subspaces of all pairs of kernels.

    Parameters
    ----------
    stack : KernelStack or FeatureStack
        The kernels.
    k : int
        Number of clusters.

    Returns
    -------
    ndarray of shape (n_kernels, n_kernels)
        ``(|H_p' H_q|^2 / k - c) / (1 - c)``, the mean squared cosine between the
        leading subspaces of two kernels, corrected for the chance
        ``c = k / (n - 1)`` of two random ones, so that chance is 0 and identity is 1.
        Agreements less than three standard deviations above chance are 0, and so is
        the diagonal.
    """
    n_kernels = len(stack.traces())
    units = np.eye(n_kernels)
    own = [stack.top(units[p], k, ROUGH_RESIDUAL) for p in range(n_kernels)]
    matrix = np.zeros((n_kernels, n_kernels))
    for p in range(n_kernels):
        for q in range(p):
            cosines = stack.overlap(own[p], own[q])
            fewer, more = sorted(cosines.shape)
            n_free = max(stack.n_samples - 1, 1)  # dimensions left by centring
            chance = min(more / n_free, 1 - SMALLEST_RATIO)
            # of random subspaces, whose cosines are nearly Gaussian of variance 1 / n
            deviation = np.sqrt(2 * more / fewer) / n_free
            common = (cosines**2).sum() / fewer
            if common > chance + AGREEMENT_DEVIATIONS * deviation:
                matrix[p, q] = matrix[q, p] = (common - chance) / (1 - chance)
    return matrix


def solve_agreement(stack: Stack, k: int, **options: object) -> KernelConsensus:
    """Weight each kernel by the agreement of its subspace with those of the others.

    Parameters
    ----------
    stack : KernelStack or FeatureStack
        The kernels.
    k : int
        Number of clusters.
    **options : object
        Not used.

    Returns
    -------
    KernelConsensus
        The weights, and the leading eigenvectors of the weighted kernel. The weights
        are equal if no two kernels agree, or there is one only.
    """
    matrix = agreements(stack, k)
    weights = matrix.sum(axis=1)
    if not weights.any():
        weights = np.ones(len(matrix))
    return _embed_sum(stack, weights, k)


def solve_mkkm(
    stack: Stack,
    k: int,
    *,
    max_iter: int = 100,
    tol: float = 1e-6,
    regularization: float = 0.0,
    start: np.ndarray | None = None,
    on_step: OnStep = go_on,
) -> KernelConsensus:
    """Solve multiple kernel k-means by alternating subspace and weights.

    Minimises ``sum_p g_p^2 tr(K_p (I - HH')) + lambda / 2 g'Mg`` over orthonormal H and
    g in the simplex, where M_pq is n times the alignment of two kernels (Huang, Chuang
    and Chen 2012; Liu et al. 2016, whose M is not scaled). With
    ``u_p = tr(K_p (I - HH'))`` and without penalty the optimal g is ``g_p ~ 1 / u_p``.

    Parameters
    ----------
    stack : KernelStack or FeatureStack
        The kernels.
    k : int
        Number of clusters.
    max_iter : int, default=100
        Maximum number of steps.
    tol : float, default=1e-6
        Relative change of the objective at which to stop.
    regularization : float, default=0.0
        The factor lambda: the larger, the more similar kernels share one weight.
    start : ndarray of shape (n_kernels,), default=None
        First g; None is equal for all kernels.
    on_step : callable, default=go_on
        Function of the objective, called after each step; True stops.

    Returns
    -------
    KernelConsensus
        The weights of the kernels in the sum, ``g_p^2`` over their sum; the objective
        decreases.
    """
    totals = stack.traces()
    n_kernels = len(totals)
    g = np.full(n_kernels, 1 / n_kernels) if start is None else start
    M = np.zeros((n_kernels, n_kernels))
    if regularization:
        inner = stack.inner_products()
        norms = np.sqrt(inner.diagonal())
        M = regularization * stack.n_samples * inner / np.outer(norms, norms)
    path: list[float] = []
    # errors of eigenvalues are of the order of the squared residual
    subspace, rough = None, np.sqrt(tol)
    rough_stack = stack.for_rough_vectors(k, rough)
    while True:
        subspace = rough_stack.top(g**2, k, rough, subspace)
        unexplained = totals - stack.shares(subspace)
        unexplained = np.maximum(unexplained, SMALLEST_RATIO * totals)
        path.append(float(g**2 @ unexplained + g @ M @ g / 2))
        settled = len(path) > 1 and abs(path[-2] - path[-1]) <= tol * abs(path[-2])
        if on_step(path[-1]) or settled or len(path) >= max_iter:
            break
        if regularization:
            g = _simplex_minimum(2 * np.diag(unexplained) + M)
        else:
            g = 1 / unexplained
        g = g / g.sum()
    weights = g**2 / (g**2).sum()
    subspace = stack.top(weights, k, start=subspace)
    return KernelConsensus(weights, _coordinates(subspace), np.array(path), settled)


def _simplex_minimum(Q: np.ndarray) -> np.ndarray:
    """Minimise ``g'Qg`` over the simplex, for positive definite Q.

    Up to its length the solution is that of min ``u'Qu / 2 - 1'u`` over u >= 0.
    """
    L = np.linalg.cholesky(Q / np.trace(Q))
    ray, _ = nnls(L.T, np.linalg.solve(L, np.ones(len(Q))))
    return ray / ray.sum()


def solve_simple_mkkm(
    stack: Stack,
    k: int,
    *,
    max_iter: int = 100,
    tol: float = 1e-6,
    start: np.ndarray | None = None,
    on_step: OnStep = go_on,
) -> KernelConsensus:
    """Minimise the trace that the best subspace explains over weights (SimpleMKKM).

    ``min_g max_H sum_p g_p^2 tr(H' K_p H)`` over g in the simplex is convex (Liu et
    al. 2020). With ``t_p = tr(H' K_p H)``, and the minimum over g of
    ``sum_p g_p^2 t_p`` at ``g_p ~ 1 / t_p``, its dual is to maximise the concave
    ``1 / sum_p (1 / t_p)`` over the convex hull of the t of all H, whose gradient is
    ``g^2``. Each eigenproblem adds a point to the hull; the maximum over the points so
    far is the next g. The difference of primal and dual bounds the error.

    Parameters
    ----------
    stack : KernelStack or FeatureStack
        The kernels.
    k : int
        Number of clusters.
    max_iter : int, default=100
        Maximum number of eigenproblems.
    tol : float, default=1e-6
        Relative duality gap at which to stop.
    start : ndarray of shape (n_kernels,), default=None
        First g; None is equal for all kernels.
    on_step : callable, default=go_on
        Function of the objective, called after each step; True stops.

    Returns
    -------
    KernelConsensus
        The weights of the kernels in the sum, ``g_p^2`` over their sum; the objective
        is the smallest found so far.
    """
    n_kernels = len(stack.traces())
    g = np.full(n_kernels, 1 / n_kernels) if start is None else start
    points: list[np.ndarray] = []
    path: list[float] = []
    best: tuple[np.ndarray, Subspace] | None = None
    mixture = np.ones(1)
    bound, converged = -np.inf, False
    # errors of eigenvalues are of the order of the squared residual
    subspace, rough = None, np.sqrt(tol)
    rough_stack = stack.for_rough_vectors(k, rough)
    while True:
        subspace = rough_stack.top(g**2, k, rough, subspace)
        shares = stack.shares(subspace)
        value = float(g**2 @ shares)
        if best is None or value <= path[-1]:
            best = g, subspace
        path.append(min([value, *path[-1:]]))
        converged = path[-1] - bound <= tol * abs(path[-1])
        if on_step(path[-1]) or converged or len(path) >= max_iter:
            break
        points.append(np.maximum(shares, SMALLEST_RATIO * np.abs(shares).max()))
        mixture = _best_mixture(np.array(points), mixture)
        explained = mixture @ np.array(points)
        used = mixture > UNUSED_SHARE  # an eigenproblem can add a dropped point again
        points = [point for point, own in zip(points, used, strict=True) if own]
        mixture = mixture[used]
        bound = 1 / (1 / explained).sum()
        g = bound / explained
    g, subspace = best
    weights = g**2 / (g**2).sum()
    subspace = stack.top(weights, k, start=subspace)
    return KernelConsensus(weights, _coordinates(subspace), np.array(path), converged)


def _best_mixture(points: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Maximise ``1 / sum(1 / t)`` over mixtures t of points.

    `start` is a mixture of the first of the points. Up to its length the solution is
    that of min ``sum(1 / t) + sum(mixture)`` over mixtures that are not negative, found
    by Newton steps, each a small non-negative least squares problem.
    """
    T = points / points.mean()
    mixture = np.append(start, np.zeros(len(T) - len(start)))
    # away from the boundary, near which the quadratic model of 1 / t is poor
    mixture = (0.9 * mixture / mixture.sum() + 0.1 / len(T)) * np.sqrt(T.shape[1])
    value = np.inf
    for _ in range(MAX_NEWTON_STEPS):
        t = mixture @ T
        last, value = value, float((1 / t).sum() + mixture.sum())
        if last - value <= NEWTON_TOLERANCE * value:
            break
        slope = 1 - T @ t**-2
        curve = (np.sqrt(2) * t**-1.5)[:, None] * T.T
        ridge = np.sqrt(NEWTON_TOLERANCE) * np.linalg.norm(curve)
        rows = np.vstack([curve, ridge * np.eye(len(T))])
        wanted = np.append(curve @ mixture, ridge * mixture - slope / ridge)
        step = nnls(rows, wanted)[0] - mixture
        gain, share = float(slope @ step), 1.0
        while share > NEWTON_TOLERANCE:
            moved = mixture + share * step
            inverse = 1 / np.maximum(moved @ T, SMALLEST_RATIO)
            decrease = MIXTURE_SUFFICIENT_DECREASE * share * gain
            if inverse.sum() + moved.sum() <= value + decrease:
                mixture = moved
                break
            share /= 2
    return mixture / mixture.sum()


def solve_late_fusion(
    stack: Stack,
    k: int,
    *,
    max_iter: int = 100,
    tol: float = 1e-6,
    regularization: float = 1.0,
    on_step: OnStep = go_on,
) -> KernelConsensus:
    """Rotate the subspace of each kernel towards a consensus of all.

    Maximises ``tr(F'(sum_p b_p H_p W_p + lambda H))`` over orthonormal F, rotations
    W_p and weights b of unit norm, where H_p are the leading eigenvectors of K_p and H
    those of the mean kernel (Wang et al. 2019). Each of them in turn has a closed form.

    Parameters
    ----------
    stack : KernelStack or FeatureStack
        The kernels.
    k : int
        Number of clusters.
    max_iter : int, default=100
        Maximum number of steps.
    tol : float, default=1e-6
        Relative change of the objective at which to stop.
    regularization : float, default=1.0
        The factor lambda of the mean kernel.
    on_step : callable, default=go_on
        Function of the objective, called after each step; True stops.

    Returns
    -------
    KernelConsensus
        The weights are b over their sum; the objective increases.
    """
    n_kernels = len(stack.traces())
    units = np.eye(n_kernels)
    own = [stack.top(units[p], k) for p in range(n_kernels)]
    mean = stack.top(np.full(n_kernels, 1 / n_kernels), k)
    parts = [*own, mean]
    # F is a combination of the columns of all H_p and H, of which only inner products
    # are needed
    overlaps = np.block(
        [[stack.overlap(one, other) for other in parts] for one in parts]
    )
    ends = np.cumsum([len(part.values) for part in parts])
    rows = [slice(e - len(s.values), e) for e, s in zip(ends, parts, strict=True)]
    width = len(mean.values)
    of_mean = np.zeros((len(overlaps), width))
    of_mean[rows[-1]] = np.eye(width)
    coefficients = of_mean
    path: list[float] = []
    while True:
        b = np.empty(n_kernels)
        total = regularization * of_mean
        products = overlaps @ coefficients
        for p in range(n_kernels):
            # orthogonal Procrustes: the best rotation of H_p to F
            left, values, right = np.linalg.svd(products[rows[p]], full_matrices=False)
            b[p] = values.sum()
            total[rows[p]] = left @ right
        b /= np.linalg.norm(b)
        for p in range(n_kernels):
            total[rows[p]] *= b[p]
        # the best F is the polar factor of the sum
        squares, axes = np.linalg.eigh(total.T @ overlaps @ total)
        roots = np.sqrt(np.maximum(squares, SMALLEST_RATIO * squares[-1]))
        path.append(float(roots.sum()))
        coefficients = total @ (axes / roots) @ axes.T
        settled = len(path) > 1 and abs(path[-1] - path[-2]) <= tol * path[-1]
        if on_step(path[-1]) or settled or len(path) >= max_iter:
            break
    terms = [(part, coefficients[r]) for part, r in zip(parts, rows, strict=True)]
    return KernelConsensus(b / b.sum(), terms, np.array(path), settled)


def solve_kernel_clustering(
    stack: Stack,
    k: int,
    algorithm: str,
    *,
    max_iter: int = 100,
    tol: float = 1e-6,
    regularization: float = 1.0,
    on_step: OnStep = go_on,
) -> KernelConsensus:
    """Learn weights and embedding by an algorithm of `CLUSTERER_ALGORITHMS`.

    Parameters
    ----------
    stack : KernelStack or FeatureStack
        The kernels, none of which is 0 everywhere.
    k : int
        Number of clusters.
    algorithm : str
        Name of the algorithm.
    max_iter : int, default=100
        Maximum number of steps.
    tol : float, default=1e-6
        Tolerance at which to stop.
    regularization : float, default=1.0
        The factor lambda of 'mkkm_mr' and 'late_fusion'.
    on_step : callable, default=go_on
        Function of the objective that is called after each step of an iterative
        algorithm, and returns whether to stop.

    Returns
    -------
    KernelConsensus
        The solution.
    """
    options: dict[str, Any] = {"max_iter": max_iter, "tol": tol, "on_step": on_step}
    if algorithm in ("mkkm_mr", "late_fusion"):
        options["regularization"] = regularization
    return CLUSTERER_ALGORITHMS[algorithm](stack, k, **options)


CLUSTERER_ALGORITHMS: dict[str, Callable[..., KernelConsensus]] = {
    "agreement": solve_agreement,
    "average": solve_average,
    "late_fusion": solve_late_fusion,
    "mkkm": solve_mkkm,
    "mkkm_mr": solve_mkkm,
    "simple_mkkm": solve_simple_mkkm,
    "statis": solve_statis,
}
