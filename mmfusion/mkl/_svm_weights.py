"""Weights of kernels for support vector machines.

Pure functions of Gram matrices of the training samples. Weights are never negative.
They add up to 1 but for 'lp', where the mean of their p-th powers is that of equal
weights that do, so that C means the same for every algorithm. Several classes have one
set of weights for all pairs of classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import linalg
from scipy.optimize import nnls
from sklearn.utils import gen_batches

from mmfusion._progress import OnStep, go_on
from mmfusion.mkl._active_sets import square
from mmfusion.mkl._precomputed_gram import Gram, PrecomputedGram
from mmfusion.mkl._sample_counts import effective_samples, moderate_weights
from mmfusion.mkl._stacks import weighted_kernel_sum
from mmfusion.mkl._svm_tasks import (
    Classification,
    Duals,
    Machine,
    Task,
)

CLASSIFIER_ALGORITHMS = ("alignment", "average", "easymkl", "l1", "lp")
REGRESSOR_ALGORITHMS = ("alignment", "average", "l1", "lp")

EASYMKL_REGULARIZATION = 0.1
LP_NORM = 2.0

EQUAL_KERNELS_RIDGE = 1e-8  # splits the weight of equal kernels evenly
SMALLEST_L1_WEIGHT = 1e-8  # smaller weights of 'l1' are set to 0
CURVATURE_DAMPING = 1e-3  # relative to size: kernels of low rank have flat directions
CHANCE_DEVIATIONS = 3  # about one kernel of noise in a thousand is above them
SUFFICIENT_DECREASE = 1e-4  # share of the predicted decrease (Armijo)
LINE_SEARCH_HALVINGS = 8
SUM_PENALTY = 1e4  # of the constraint that weights add up to 1, relative to the rest
SMALLEST_START = 1e-3  # relative to the largest weight: 'lp' cannot leave 0
FEW_ROWS = 16  # of which products by vectors are up to three times faster
PRODUCT_BATCH_CELLS = 2**17  # values that stay in the processor's cache


@dataclass(frozen=True)
class KernelWeighting:
    """Learned weights of kernels, and the path of their objective.

    Parameters
    ----------
    weights : ndarray of float64 of shape (n_kernels,)
        Weights, which are not negative.
    objective_path : ndarray of float64
        Objective after each step.
    gap : float
        Duality gap of 'l1' and 'lp', an upper bound of the distance of the objective
        from its minimum, as a share of the objective; NaN for other algorithms.
    converged : bool
        Whether the gap is at most the tolerance.
    kernel : ndarray of shape (n_samples, n_samples), default=None
        The weighted sum of kernels, if it was computed.
    machine : Machine, default=None
        The machine of `kernel`, or of one near it if there is none.
    """

    weights: np.ndarray
    objective_path: np.ndarray
    gap: float = np.nan
    converged: bool = True
    kernel: np.ndarray | None = None
    machine: Machine | None = None


def learn_weights(
    kernels: Sequence[Gram],
    task: Task,
    algorithm: str,
    *,
    regularization: float | None = None,
    tol: float = 1e-3,
    max_iter: int = 200,
    on_step: OnStep = go_on,
) -> KernelWeighting:
    """Learn the weights of kernels.

    Parameters
    ----------
    kernels : list of Gram matrices of shape (n_samples, n_samples)
        Centred and normalised kernels.
    task : Classification or Regression
        The learning task.
    algorithm : {'alignment', 'average', 'easymkl', 'l1', 'lp'}
        The algorithm; 'easymkl' is for classification.
    regularization : float, default=None
        'lp': the p of the norm, at least 1, by default 2; 'easymkl': the factor L,
        between 0 and 1, by default 0.1. Other algorithms do not use it.
    tol : float, default=1e-3
        Duality gap, as a share of the objective, at which 'l1' and 'lp' stop.
    max_iter : int, default=200
        Maximum number of steps of 'l1' and 'lp'.
    on_step : callable, default=go_on
        Function of the objective that is called after each step of these, and returns
        whether to stop.

    Returns
    -------
    KernelWeighting
        The weights; those of kernels that are 0 everywhere are 0, unless all are.
    """
    informative = np.array([bool(K.diagonal().any()) for K in kernels])
    if not informative.any():
        return KernelWeighting(np.full(len(kernels), 1 / len(kernels)), np.empty(0))
    chosen = [K for K, is_used in zip(kernels, informative, strict=True) if is_used]
    equal = np.full(len(chosen), 1 / len(chosen))
    if algorithm == "average" or len(chosen) == 1:
        found = KernelWeighting(equal, np.empty(0))
    elif algorithm == "alignment":
        found = alignment_weights(chosen, task)
    elif algorithm == "easymkl":
        assert isinstance(task, Classification)
        factor = EASYMKL_REGULARIZATION if regularization is None else regularization
        found = easymkl_weights(chosen, task, factor)
    elif algorithm == "l1" or regularization == 1:
        found = l1_weights(chosen, task, equal, tol, max_iter, on_step)
    else:
        p = LP_NORM if regularization is None else regularization
        found = lp_weights(chosen, task, p, equal, tol, max_iter, on_step)
    weights = np.zeros(len(kernels))
    weights[informative] = found.weights
    return replace(found, weights=weights)


def alignment_weights(kernels: Sequence[Gram], task: Task) -> KernelWeighting:
    """Compute weights by the alignment of the sum of kernels with the target.

    Maximises the cosine ``<sum_p w_p K_p, T> / (|sum_p w_p K_p| |T|)`` with the kernel
    T of the target by the non-negative least squares of Cortes, Mohri and Rostamizadeh
    (2012), section 4.2, but for two changes, without which a kernel of noise that is
    nearly the identity gets a large weight. Inner products are over pairs of different
    samples, because the diagonal is independent of the target. And three standard
    deviations of the cosine by chance, ``sqrt(2) / n_samples``, are subtracted from
    that of each kernel.

    Parameters
    ----------
    kernels : list of Gram matrices of shape (n_samples, n_samples)
        Centred kernels.
    task : Classification or Regression
        The learning task.

    Returns
    -------
    KernelWeighting
        Weights that add up to 1, equal ones if no kernel is aligned with the target;
        the objective is the cosine of the sum with the target.
    """
    products = pair_products(kernels, task)
    norms = np.sqrt(np.maximum(products.diagonal(), np.finfo(float).tiny))
    cosines = products / np.outer(norms, norms)
    n_samples = effective_samples(moderate_weights(task.weight))
    chance = CHANCE_DEVIATIONS * np.sqrt(2) / n_samples
    # the minimum of ``w'Aw / 2 - b'w`` over w >= 0 by non-negative least squares
    A, b = cosines[:-1, :-1], cosines[-1, :-1] - chance
    ridge = EQUAL_KERNELS_RIDGE * np.trace(A) / len(A)
    root = linalg.cholesky(A + ridge * np.eye(len(A)))
    weights = nnls(root, linalg.solve_triangular(root, b, trans="T"))[0]
    weights = weights / norms[:-1] if weights.any() else np.ones(len(kernels))
    weights /= weights.sum()
    scaled = weights * norms[:-1]
    length = np.sqrt(scaled @ cosines[:-1, :-1] @ scaled)
    cosine = scaled @ cosines[-1, :-1] / max(length, np.finfo(float).tiny)
    return KernelWeighting(weights, np.array([cosine]))


def pair_products(kernels: Sequence[Gram], task: Task) -> np.ndarray:
    """Compute inner products of kernels over all pairs of different samples.

    Parameters
    ----------
    kernels : list of Gram matrices of shape (n_samples, n_samples)
        The kernels.
    task : Classification or Regression
        The learning task, whose target columns are one more kernel by their inner
        products. A sample of weight 3 counts as three, which are different samples.

    Returns
    -------
    ndarray of float64 of shape (n_kernels + 1, n_kernels + 1)
        The products, those of the target last.
    """
    target, weight = task.target(), moderate_weights(task.weight)
    n_samples, n_terms = len(target), len(kernels) + 1
    # inner products are scaled by the roots of how often a pair counts
    roots = np.sqrt(weight) if (weight != 1).any() else None
    # v copies of a sample are v (v - 1) pairs of different ones
    roots_of_copies = np.sqrt(np.maximum(weight * (weight - 1), 0))
    products = np.zeros((n_terms, n_terms))
    n_rows = max(1, PRODUCT_BATCH_CELLS // n_samples)
    workspace = np.empty(n_terms * min(n_rows, n_samples) * n_samples)
    for rows in gen_batches(n_samples, n_rows):
        width = rows.stop - rows.start
        # kernels are symmetric: pairs right of the diagonal square count twice
        for columns, count in ((rows, 1), (slice(rows.stop, n_samples), 2)):
            shape = (n_terms, width, columns.stop - columns.start)
            batch = workspace[: np.prod(shape)].reshape(shape)
            for K, part in zip(kernels, batch[:-1], strict=True):
                if isinstance(K, PrecomputedGram):
                    K.read(rows, columns, out=part)
                else:
                    part[...] = K[rows, columns]
            np.matmul(target[rows], target[columns].T, out=batch[-1])
            own = np.arange(width)
            diagonals = batch[:, own, own] * roots_of_copies[rows] if count == 1 else 0
            if roots is not None:
                batch *= roots[rows, None]
                batch *= roots[columns]
            if count == 1:
                batch[:, own, own] = diagonals
            products += count * _products_of_rows(batch.reshape(n_terms, -1))
    return products


def _products_of_rows(rows: np.ndarray) -> np.ndarray:
    """Compute inner products of a few long rows."""
    if len(rows) > FEW_ROWS:
        return rows @ rows.T
    products = np.empty((len(rows), len(rows)))
    for p, row in enumerate(rows):
        products[p, : p + 1] = products[: p + 1, p] = rows[: p + 1] @ row
    return products


def easymkl_weights(
    kernels: Sequence[Gram], task: Classification, regularization: float
) -> KernelWeighting:
    """Compute weights by the margin between two points of the classes' hulls.

    EasyMKL of Aiolli and Donini (2015): the points g minimise
    ``(1 - L) g'YKYg + L |g|^2`` with the sum K of all kernels, and the weight of a
    kernel is proportional to their squared distance in it, ``g'Y K_p Y g``.

    Parameters
    ----------
    kernels : list of Gram matrices of shape (n_samples, n_samples)
        The kernels.
    task : Classification
        The classes.
    regularization : float
        The factor L: near 0 the points are the nearest ones, near 1 the means.

    Returns
    -------
    KernelWeighting
        Weights that add up to 1; the objective is that of the programme.
    """
    ones = np.ones(len(kernels))
    points = task.nearest_points(weighted_kernel_sum(kernels, ones), regularization)
    squares = _squared_norms(_products(kernels, points), points)
    value = (1 - regularization) * (squares.sum() + points.duals.linear)
    weights = squares if squares.any() else ones
    return KernelWeighting(weights / weights.sum(), np.array([value]))


def lp_weights(
    kernels: Sequence[Gram],
    task: Task,
    p: float,
    start: np.ndarray,
    tol: float,
    max_iter: int,
    on_step: OnStep = go_on,
) -> KernelWeighting:
    """Minimise the objective of the machine over weights of bounded p-norm.

    Alternates the machine with the weights that are optimal for its solution,
    ``w_q ~ |u_q|^(2 / (p + 1))`` with the normals u_q of Kloft, Brefeld, Sonnenburg and
    Zien (2011), equation 25.

    Parameters
    ----------
    kernels : list of Gram matrices of shape (n_samples, n_samples)
        The kernels.
    task : Classification or Regression
        The learning task.
    p : float
        The p of the norm, above 1.
    start : ndarray of shape (n_kernels,)
        First weights.
    tol : float
        Duality gap, as a share of the objective, at which to stop.
    max_iter : int
        Maximum number of steps.
    on_step : callable, default=go_on
        Function of the objective, called after each step; True stops.

    Returns
    -------
    KernelWeighting
        Weights; the mean of their p-th powers is ``n_kernels ** -p``.
    """
    radius = len(kernels) ** (1 / p - 1)
    conjugate = p / (p - 1)
    # steps multiply weights, so that a weight of 0 would stay 0
    start = np.maximum(start, SMALLEST_START * start.max())
    weights = radius * start / _p_norm(start, p)
    path: list[float] = []
    bound, at = -np.inf, None
    for _ in range(max_iter):
        at = _evaluate(kernels, task, weights, at)
        path.append(at.objective)
        stops = on_step(at.objective)
        # the largest ``w'squares`` in the ball, by Hoelder's inequality
        steepest = radius * _p_norm(at.squares, conjugate)
        bound = max(bound, at.duals.linear - steepest / 2)
        if stops or at.objective - bound <= tol * at.objective:
            break
        squares = weights**2 * at.squares
        best = squares ** (1 / (p + 1))
        weights = radius * best / _p_norm(best, p)
    assert at is not None  # max_iter is 1 or more
    return _with_gap(weights, path, bound, tol, at)


def l1_weights(
    kernels: Sequence[Gram],
    task: Task,
    start: np.ndarray,
    tol: float,
    max_iter: int,
    on_step: OnStep = go_on,
) -> KernelWeighting:
    """Minimise the objective of the machine over weights that add up to 1.

    The problem and the stopping rule of SimpleMKL (Rakotomamonjy, Bach, Canu and
    Grandvalet 2008). Its reduced gradient is replaced by the second-order step of
    Chapelle and Rakotomamonjy (2008), which takes a few machines in place of dozens:
    the curvature is that of the free dual variables as functions of the weights.

    Parameters
    ----------
    kernels : list of Gram matrices of shape (n_samples, n_samples)
        The kernels.
    task : Classification or Regression
        The learning task.
    start : ndarray of shape (n_kernels,)
        First weights.
    tol : float
        Duality gap, as a share of the objective, at which to stop.
    max_iter : int
        Maximum number of steps.
    on_step : callable, default=go_on
        Function of the objective, called after each step; True stops.

    Returns
    -------
    KernelWeighting
        Weights, most of them 0 where few kernels are enough.
    """
    at = _evaluate(kernels, task, start / start.sum())
    path = [at.objective]
    # the duality gap of SimpleMKL: the dual is bounded by the steepest kernel
    bound = at.duals.linear - at.squares.max() / 2
    for _ in range(max_iter - 1):
        if on_step(at.objective) or at.objective - bound <= tol * at.objective:
            break
        step = _newton_step(at)
        slope = -at.squares @ step / 2
        length = 1.0
        for _ in range(LINE_SEARCH_HALVINGS):
            weights = _to_simplex(at.weights + length * step)
            trial = _evaluate(kernels, task, weights, at)
            bound = max(bound, trial.duals.linear - trial.squares.max() / 2)
            if trial.objective <= at.objective + SUFFICIENT_DECREASE * length * slope:
                break
            length /= 2
        else:
            # the optimal weights for a fixed solution never raise the objective
            best = at.weights * np.sqrt(at.squares)
            trial = _evaluate(kernels, task, best / best.sum(), at)
            if trial.objective >= at.objective:
                break
        at = trial
        path.append(at.objective)
    return _with_gap(at.weights, path, bound, tol, at)


@dataclass(frozen=True)
class _Evaluation:
    """The machine at some weights: ``objective = linear - weights @ squares / 2``.

    `products` are those of each kernel with the dual variables, by `_products`.
    """

    weights: np.ndarray
    kernel: np.ndarray
    machine: Machine
    squares: np.ndarray
    products: np.ndarray
    objective: float

    @property
    def duals(self) -> Duals:
        return self.machine.duals


def _evaluate(
    kernels: Sequence[Gram],
    task: Task,
    weights: np.ndarray,
    near: _Evaluation | None = None,
) -> _Evaluation:
    K = weighted_kernel_sum(kernels, weights)
    machine = task.fit(K, None if near is None else near.duals)
    products = _products(kernels, machine)
    squares = _squared_norms(products, machine)
    objective = machine.duals.linear - weights @ squares / 2
    return _Evaluation(weights, K, machine, squares, products, objective)


def _with_gap(
    weights: np.ndarray,
    path: Sequence[float],
    bound: float,
    tol: float,
    last: _Evaluation,
) -> KernelWeighting:
    # the solver's own tolerance can leave the objective a little below the bound
    gap = max(path[-1] - bound, 0.0)
    share = gap / path[-1] if path[-1] > 0 else 0.0
    # without convergence the weights of 'lp' are one step ahead
    kernel = last.kernel if last.weights is weights else None
    return KernelWeighting(
        weights, np.array(path), share, share <= tol, kernel, last.machine
    )


def _products(kernels: Sequence[Gram], machine: Machine) -> np.ndarray:
    """Compute ``K_p coef`` of the support vectors, up to a constant of each pair.

    The result has shape (n_kernels, n_classes - 1, n_support).
    """
    found = np.empty((len(kernels), *machine.coef.shape))
    for p, K in enumerate(kernels):
        if isinstance(K, PrecomputedGram):
            # centring adds a constant, since dual variables add up to 0
            found[p] = machine.products(K.values) / K.scaling.size
        else:
            found[p] = machine.products(K)
    return found


def _squared_norms(products: np.ndarray, machine: Machine) -> np.ndarray:
    """Compute ``coef' K_p coef`` of each kernel, summed over pairs of classes."""
    squares = np.array([np.vdot(machine.coef, product) for product in products])
    return np.maximum(squares, 0)


def _newton_step(at: _Evaluation) -> np.ndarray:
    """Compute the step to the minimum of the quadratic model over the simplex.

    With K_f the kernel of free support vectors and P the columns ``K_p coef``, the
    curvature is ``P' (K_f^-1 - K_f^-1 1 1' K_f^-1 / 1' K_f^-1 1) P``: the dual
    variables that are at their bounds do not move.
    """
    n_kernels = len(at.weights)
    curvature = np.zeros((n_kernels, n_kernels))
    free_products = at.machine.free_products(at.products)
    for pair, columns in zip(at.duals.pairs, free_products, strict=True):
        free = pair.rows[pair.free]
        if len(free) < 2:
            continue
        own = square(at.kernel, free)
        own.flat[:: len(free) + 1] += CURVATURE_DAMPING * own.diagonal().mean()
        try:
            factor = linalg.cho_factor(own, lower=True, check_finite=False)
        except linalg.LinAlgError:  # the kernel is indefinite
            continue
        sides = np.vstack([columns, np.ones(len(free))])
        products = sides @ linalg.cho_solve(factor, sides.T, check_finite=False)
        # the last row projects on free variables that keep their sum
        curvature += (
            products[:-1, :-1]
            - np.outer(products[-1, :-1], products[-1, :-1]) / (products[-1, -1])
        )
    scale = max(curvature.diagonal().max(), at.squares.max() * CURVATURE_DAMPING)
    curvature.flat[:: n_kernels + 1] += CURVATURE_DAMPING * scale
    gradient = -at.squares / 2
    best = _simplex_quadratic(curvature, curvature @ at.weights - gradient)
    return best - at.weights


def _simplex_quadratic(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Minimise ``x'Ax / 2 - b'x`` over the simplex.

    Non-negative least squares, with one row of large weight for the sum of x.
    """
    root = linalg.cholesky(A)
    penalty = SUM_PENALTY * np.abs(root).max()
    rows = np.vstack([root, np.full(len(b), penalty)])
    sides = np.append(linalg.solve_triangular(root, b, trans="T"), penalty)
    return _to_simplex(nnls(rows, sides)[0])


def _p_norm(values: np.ndarray, p: float) -> float:
    largest = float(values.max())
    # powers of values above 1 overflow for large p
    return largest * float(((values / largest) ** p).sum() ** (1 / p)) if largest else 0


def _to_simplex(weights: np.ndarray) -> np.ndarray:
    weights = np.where(weights > SMALLEST_L1_WEIGHT, weights, 0.0)
    return weights / weights.sum()
