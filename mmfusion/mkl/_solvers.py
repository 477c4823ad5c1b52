"""Weights of kernels for clustering: each solver takes a stack and tells a consensus.

All work on leading subspaces: kernel k-means relaxed to orthonormal H, of which
``tr(H' K H)`` is maximal for the leading eigenvectors of K.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from mmfusion.mkl._stacks import ROUGH, Stack, Subspace

TINY = 1e-12
UNUSED = 1e-9
INNER = 1e-13
NEWTON_STEPS = 50
SURE = 3  # standard deviations above chance from which on two subspaces agree


@dataclass(frozen=True)
class Consensus:
    """What a solver found.

    Parameters
    ----------
    weights : ndarray of shape (n_kernels,)
        Share of each kernel; they add up to 1.
    terms : list of (Subspace, ndarray of shape (k, k'))
        The consensus embedding is the sum of H_j R_j over these.
    objective_path : ndarray of shape (n_iter,)
        The objective, after each step.
    converged : bool
        Whether it settled.
    """

    weights: np.ndarray
    terms: list[tuple[Subspace, np.ndarray]]
    objective_path: np.ndarray
    converged: bool = True


def _coordinates(subspace: Subspace) -> list[tuple[Subspace, np.ndarray]]:
    """H times the roots of its eigenvalues: samples in their best k dimensions."""
    return [(subspace, np.diag(np.sqrt(subspace.values)))]


def _of_sum(stack: Stack, weights: np.ndarray, k: int) -> Consensus:
    """The consensus of fixed weights; the objective is what H does not explain."""
    weights = weights / weights.sum()
    subspace = stack.top(weights, k)
    left = float(weights @ stack.traces() - subspace.values.sum())
    return Consensus(weights, _coordinates(subspace), np.array([left]))


def solve_average(stack: Stack, k: int, **options: Any) -> Consensus:
    """Weigh all kernels alike.

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
    Consensus
        With the leading eigenvectors of the mean kernel.
    """
    return _of_sum(stack, np.ones(len(stack.traces())), k)


def solve_statis(stack: Stack, k: int, **options: Any) -> Consensus:
    """Weigh kernels by their part in what all have in common.

    The weights are the leading eigenvector of the matrix of alignments
    ``<K_p, K_q> / (|K_p| |K_q|)``, which is not negative (Lavit et al. 1994).

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
    Consensus
        With the leading eigenvectors of the weighted kernel.
    """
    inner = stack.inner_products()
    norms = np.sqrt(inner.diagonal())
    _, vectors = np.linalg.eigh(inner / np.outer(norms, norms))
    return _of_sum(stack, np.abs(vectors[:, -1]), k)


def agreements(stack: Stack, k: int) -> np.ndarray:
    """Tell how far the partition of each kernel agrees with those of the others.

    Parameters
    ----------
    stack : KernelStack or FeatureStack
        The kernels.
    k : int
        Number of clusters.

    Returns
    -------
    ndarray of shape (n_kernels, n_kernels)
        ``|H_p' H_q|^2 / k``, the mean squared cosine between the leading subspaces
        of two kernels, less what two random ones have, ``k / (n - 1)``, so that
        chance is 0 and identity is 1. What is less than three standard deviations
        above chance is 0, and so is the diagonal.
    """
    n_kernels = len(stack.traces())
    units = np.eye(n_kernels)
    own = [stack.top(units[p], k, ROUGH) for p in range(n_kernels)]
    table = np.zeros((n_kernels, n_kernels))
    for p in range(n_kernels):
        for q in range(p):
            cosines = stack.overlap(own[p], own[q])
            fewer, more = sorted(cosines.shape)
            n_free = max(stack.n_samples - 1, 1)
            chance = min(more / n_free, 1 - TINY)
            spread = np.sqrt(2 * more / fewer) / n_free  # of Gaussian entries
            common = (cosines**2).sum() / fewer
            if common > chance + SURE * spread:
                table[p, q] = table[q, p] = (common - chance) / (1 - chance)
    return table


def solve_agreement(stack: Stack, k: int, **options: Any) -> Consensus:
    """Weigh each kernel by the agreement of its partition with those of the others.

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
    Consensus
        With the leading eigenvectors of the weighted kernel. Where no two agree, or
        there are none to agree with, the weights are equal.
    """
    table = agreements(stack, k)
    weights = table.sum(axis=1)
    if not weights.any():
        weights = np.ones(len(table))
    return _of_sum(stack, weights, k)


def solve_mkkm(
    stack: Stack,
    k: int,
    *,
    max_iter: int = 100,
    tol: float = 1e-6,
    regularization: float = 0.0,
    start: np.ndarray | None = None,
) -> Consensus:
    """Multiple kernel k-means by turns of subspace and weights.

    Minimises ``sum_p g_p^2 tr(K_p (I - HH')) + lambda / 2 g'Mg`` over H and the
    simplex of g, where M_pq is n times the alignment of two kernels (Huang, Chuang
    and Chen 2012; Liu et al. 2016, whose M is not scaled).

    Parameters
    ----------
    stack : KernelStack or FeatureStack
        The kernels.
    k : int
        Number of clusters.
    max_iter : int, default=100
        Most turns.
    tol : float, default=1e-6
        Relative change of the objective at which to stop.
    regularization : float, default=0.0
        The factor lambda: how much kernels that are alike share one weight.
    start : ndarray of shape (n_kernels,), default=None
        The first g; None is the same for all.

    Returns
    -------
    Consensus
        Its weights are those of the kernels in the sum, ``g_p^2`` over their sum; the
        objective falls.
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
    subspace, rough = None, np.sqrt(tol)  # eigenvalues are as exact as its square
    while True:
        subspace = stack.top(g**2, k, rough, subspace)
        left = np.maximum(totals - stack.shares(subspace), TINY * totals)
        path.append(float(g**2 @ left + g @ M @ g / 2))
        settled = len(path) > 1 and abs(path[-2] - path[-1]) <= tol * abs(path[-2])
        if settled or len(path) >= max_iter:
            break
        g = 1 / left if not regularization else _simplex_minimum(2 * np.diag(left) + M)
        g = g / g.sum()
    weights = g**2 / (g**2).sum()
    subspace = stack.top(weights, k, start=subspace)
    return Consensus(weights, _coordinates(subspace), np.array(path), settled)


def _simplex_minimum(Q: np.ndarray) -> np.ndarray:
    """Minimise g'Qg over the simplex, for positive definite Q.

    The ray of the solution is that of min u'Qu / 2 - 1'u over u >= 0.
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
) -> Consensus:
    """Minimise over weights what the best subspace explains (SimpleMKKM).

    ``min_g max_H sum_p g_p^2 tr(H' K_p H)`` over the simplex of g is convex (Liu et
    al. 2020). With t_p = tr(H' K_p H), and the minimum over g of ``sum_p g_p^2 t_p``
    at ``g_p ~ 1 / t_p``, its dual is to maximise the concave ``1 / sum_p (1 / t_p)``
    over the convex hull of the t of all H, whose gradient is g^2: each eigenproblem
    gives a point of the hull, then the maximum over the points so far is found, and
    with it the next g. The difference of primal and dual bounds the error.

    Parameters
    ----------
    stack : KernelStack or FeatureStack
        The kernels.
    k : int
        Number of clusters.
    max_iter : int, default=100
        Most eigenproblems.
    tol : float, default=1e-6
        Relative duality gap at which to stop.
    start : ndarray of shape (n_kernels,), default=None
        The first g; None is the same for all.

    Returns
    -------
    Consensus
        Its weights are those of the kernels in the sum, ``g_p^2`` over their sum; the
        objective is the least that was found so far.
    """
    n_kernels = len(stack.traces())
    g = np.full(n_kernels, 1 / n_kernels) if start is None else start
    points: list[np.ndarray] = []
    path: list[float] = []
    best: tuple[np.ndarray, Subspace] | None = None
    mixture = np.ones(1)
    bound, converged = -np.inf, False
    subspace, rough = None, np.sqrt(tol)  # eigenvalues are as exact as its square
    while True:
        subspace = stack.top(g**2, k, rough, subspace)
        shares = stack.shares(subspace)
        value = float(g**2 @ shares)
        if best is None or value <= path[-1]:
            best = g, subspace
        path.append(min([value, *path[-1:]]))
        converged = path[-1] - bound <= tol * abs(path[-1])
        if converged or len(path) >= max_iter:
            break
        points.append(np.maximum(shares, TINY * np.abs(shares).max()))
        mixture = _best_mixture(np.array(points), mixture)
        explained = mixture @ np.array(points)
        used = mixture > UNUSED  # points that are not may come back later
        points = [point for point, own in zip(points, used, strict=True) if own]
        mixture = mixture[used]
        bound = 1 / (1 / explained).sum()
        g = bound / explained
    g, subspace = best
    weights = g**2 / (g**2).sum()
    subspace = stack.top(weights, k, start=subspace)
    return Consensus(weights, _coordinates(subspace), np.array(path), converged)


def _best_mixture(points: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Maximise 1 / sum(1 / t) over mixtures t of points, from one of fewer points.

    Up to its scale the solution is that of min ``sum(1 / t) + sum(mixture)`` over the
    positive orthant; Newton's steps, each a small least squares problem.
    """
    T = points / points.mean()
    mixture = np.append(start, np.zeros(len(T) - len(start)))
    mixture = (0.9 * mixture / mixture.sum() + 0.1 / len(T)) * np.sqrt(T.shape[1])
    value = np.inf
    for _ in range(NEWTON_STEPS):
        t = mixture @ T
        last, value = value, float((1 / t).sum() + mixture.sum())
        if last - value <= INNER * value:
            break
        slope = 1 - T @ t**-2
        curve = (np.sqrt(2) * t**-1.5)[:, None] * T.T
        ridge = np.sqrt(INNER) * np.linalg.norm(curve)
        rows = np.vstack([curve, ridge * np.eye(len(T))])
        wanted = np.append(curve @ mixture, ridge * mixture - slope / ridge)
        step = nnls(rows, wanted)[0] - mixture
        gain, share = float(slope @ step), 1.0
        while share > INNER:
            moved = mixture + share * step
            seen = np.maximum(moved @ T, TINY)
            if (1 / seen).sum() + moved.sum() <= value + 1e-4 * share * gain:
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
) -> Consensus:
    """Rotate the partition of each kernel towards a consensus of all.

    Maximises ``tr(F'(sum_p b_p H_p W_p + lambda H))`` over orthonormal F, rotations
    W_p and weights b of unit length, where H_p leads K_p and H the mean kernel (Wang
    et al. 2019). By turns each has a closed form.

    Parameters
    ----------
    stack : KernelStack or FeatureStack
        The kernels.
    k : int
        Number of clusters.
    max_iter : int, default=100
        Most turns.
    tol : float, default=1e-6
        Relative change of the objective at which to stop.
    regularization : float, default=1.0
        The factor lambda: how much the mean kernel holds the consensus.

    Returns
    -------
    Consensus
        Its weights are b over their sum; the objective rises.
    """
    n_kernels = len(stack.traces())
    units = np.eye(n_kernels)
    own = [stack.top(units[p], k) for p in range(n_kernels)]
    mean = stack.top(np.full(n_kernels, 1 / n_kernels), k)
    parts = [*own, mean]
    overlaps = np.block(
        [[stack.overlap(one, other) for other in parts] for one in parts]
    )
    ends = np.cumsum([len(part.values) for part in parts])
    rows = [slice(e - len(s.values), e) for e, s in zip(ends, parts, strict=True)]
    width = len(mean.values)
    held = np.zeros((len(overlaps), width))
    held[rows[-1]] = np.eye(width)
    coefficients = held
    path: list[float] = []
    while True:
        b = np.empty(n_kernels)
        total = regularization * held
        turned = overlaps @ coefficients
        for p in range(n_kernels):
            left, stretch, right = np.linalg.svd(turned[rows[p]], full_matrices=False)
            b[p] = stretch.sum()
            total[rows[p]] = left @ right
        b /= np.linalg.norm(b)
        for p in range(n_kernels):
            total[rows[p]] *= b[p]
        squares, axes = np.linalg.eigh(total.T @ overlaps @ total)
        roots = np.sqrt(np.maximum(squares, TINY * squares[-1]))
        path.append(float(roots.sum()))
        coefficients = total @ (axes / roots) @ axes.T
        settled = len(path) > 1 and abs(path[-1] - path[-2]) <= tol * path[-1]
        if settled or len(path) >= max_iter:
            break
    terms = [(part, coefficients[r]) for part, r in zip(parts, rows, strict=True)]
    return Consensus(b / b.sum(), terms, np.array(path), settled)


def solve(
    stack: Stack,
    k: int,
    algorithm: str,
    *,
    max_iter: int = 100,
    tol: float = 1e-6,
    regularization: float = 1.0,
) -> Consensus:
    """Solve by name.

    Parameters
    ----------
    stack : KernelStack or FeatureStack
        The kernels; one that is all zero would break the algebra.
    k : int
        Number of clusters.
    algorithm : str
        A key of `ALGORITHMS`.
    max_iter : int, default=100
        Most steps.
    tol : float, default=1e-6
        When to stop.
    regularization : float, default=1.0
        Of 'mkkm_mr' and 'late_fusion'.

    Returns
    -------
    Consensus
        What was found.
    """
    options: dict[str, Any] = {"max_iter": max_iter, "tol": tol}
    if algorithm in ("mkkm_mr", "late_fusion"):
        options["regularization"] = regularization
    return ALGORITHMS[algorithm](stack, k, **options)


ALGORITHMS: dict[str, Callable[..., Consensus]] = {
    "agreement": solve_agreement,
    "average": solve_average,
    "late_fusion": solve_late_fusion,
    "mkkm": solve_mkkm,
    "mkkm_mr": solve_mkkm,
    "simple_mkkm": solve_simple_mkkm,
    "statis": solve_statis,
}
