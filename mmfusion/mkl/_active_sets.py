"""Exact dual variables of support vector machines, from rough ones by active sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike
from scipy import linalg

SETTLING_ROUNDS = 12
SETTLED_MARGIN = 1e-5  # of outputs, by which a sample must violate its condition
JITTER_ROUNDINGS = 50.0  # of the kernel's size, added to its diagonal
REFINEMENT_STEPS = 6
SOLVED_RESIDUAL = 1e-8  # of outputs, relative to the largest margin
SINGLE_PRECISION_ROWS = 200  # from which on it saves time in spite of refinement


def settle_duals(
    K: np.ndarray,
    start: np.ndarray,
    costs: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
) -> tuple[np.ndarray, float] | None:
    """Find the support vectors of a machine, and which are free, from rough ones.

    The outputs ``f = K coef + b`` have no cost between `lower` and `upper`, and the
    signed dual variables, which add up to 0, are positive where f is below, negative
    where it is above. In each round those of the free support vectors are solved for,
    whose outputs lie on their margin. Those that leave their bounds, 0 and the cost,
    stay there; samples whose output contradicts their bound are free in the next round:
    the semismooth Newton step of the optimality conditions (Hintermueller, Ito and
    Kunisch 2003).

    Parameters
    ----------
    K : ndarray of shape (n_samples, n_samples)
        The kernel.
    start : ndarray of float64 of shape (n_samples,)
        Signed dual variables of a rough solution.
    costs : ndarray of float64 of shape (n_samples,)
        Bounds of the absolute values of dual variables; infinite without errors.
    lower, upper : ndarray of float64 of shape (n_samples,)
        Margins of positive and of negative support vectors; infinite where a sample
        is none.

    Returns
    -------
    coef : ndarray of float64 of shape (n_samples,)
        Signed dual variables, which satisfy the conditions to 1e-5 of an output.
    intercept : float
        The intercept b.
    None
        In place of both, if the sets do not settle, or free dual variables are not
        unique.
    """
    signs = np.sign(start)
    is_bound = (signs != 0) & (np.abs(start) >= costs)
    for _ in range(SETTLING_ROUNDS):
        free, bound = np.flatnonzero((signs != 0) & ~is_bound), np.flatnonzero(is_bound)
        coef = np.zeros(len(K))
        coef[bound] = signs[bound] * costs[bound]
        margins = np.where(signs > 0, lower, upper)[free]
        solved = _solve_free(K, free, bound, coef, margins) if len(free) else None
        if solved is None:
            return None
        coef[free], constant = solved
        outputs = K @ coef.astype(K.dtype) + constant
        below = outputs < lower - SETTLED_MARGIN
        above = outputs > upper + SETTLED_MARGIN
        # at the cost, but beyond the margin
        freed = is_bound & np.where(
            signs > 0,
            outputs > lower + SETTLED_MARGIN,
            outputs < upper - SETTLED_MARGIN,
        )
        kept = signs * coef > 0
        new_signs = np.where(signs == 0, 1.0 * below - above, np.where(kept, signs, 0))
        new_bound = kept & ~freed & (np.abs(coef) >= costs)
        if (new_signs == signs).all() and (new_bound == is_bound).all():
            return coef, constant
        signs, is_bound = new_signs, new_bound
    return None


def _solve_free(
    K: np.ndarray,
    free: np.ndarray,
    bound: np.ndarray,
    coef: np.ndarray,
    margins: np.ndarray,
) -> tuple[np.ndarray, float] | None:
    """Solve ``K_f coef_f + b = margins - K_fb coef_b`` with a sum of all of 0."""
    own = square(K, free)
    sides = margins
    if len(bound):
        if K.dtype == np.float64:
            sides = margins - (K @ coef)[free]
        else:
            sides = margins - K[np.ix_(free, bound)] @ coef[bound]
    total = -float(coef[bound].sum())
    wanted = SOLVED_RESIDUAL * max(1.0, float(np.abs(margins).max()))
    dtypes: list[DTypeLike] = [np.float64]
    if len(free) >= SINGLE_PRECISION_ROWS:
        dtypes = [np.float32, np.float64]
    for dtype in dtypes:
        solved = solve_with_sum(own, sides, total, wanted, dtype)
        if solved is not None:
            return solved
    return None


def square(K: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the values of some samples with one another, in double precision.

    Parameters
    ----------
    K : ndarray of shape (n_samples, n_samples)
        A kernel.
    rows : ndarray of int of shape (n_rows,)
        The samples.

    Returns
    -------
    ndarray of float64 of shape (n_rows, n_rows)
        A new array.
    """
    return K.take(rows, axis=0).take(rows, axis=1).astype(np.float64, copy=False)


def solve_with_sum(
    A: np.ndarray,
    sides: np.ndarray,
    total: float,
    wanted: float,
    dtype: DTypeLike = np.float64,
) -> tuple[np.ndarray, float] | None:
    """Solve ``A x + b = sides`` for x of a given sum and a constant b.

    A Cholesky factor of a matrix with a little more on its diagonal, and iterative
    refinement with the matrix itself.

    Parameters
    ----------
    A : ndarray of float64 of shape (n, n)
        Symmetric positive definite matrix.
    sides : ndarray of float64 of shape (n,)
        The right-hand side.
    total : float
        Sum of x.
    wanted : float
        Largest residual at which to stop.
    dtype : dtype, default=float64
        Precision of the factor.

    Returns
    -------
    x : ndarray of float64 of shape (n,)
        The solution.
    constant : float
        The constant b.
    None
        In place of both, if the matrix is singular or indefinite.
    """
    shifted = np.array(A, dtype, order="F")
    jitter = JITTER_ROUNDINGS * np.finfo(dtype).eps * float(A.diagonal().mean())
    shifted.flat[:: len(A) + 1] += np.dtype(dtype).type(jitter)
    try:
        factor = linalg.cho_factor(shifted, True, True, check_finite=False)
    except linalg.LinAlgError:
        return None

    def solve(right: np.ndarray) -> np.ndarray:
        return linalg.cho_solve(factor, right.astype(dtype), check_finite=False)

    ones = solve(np.ones(len(A))).astype(np.float64)
    x, constant, last = np.zeros(len(A)), 0.0, np.inf
    for _ in range(REFINEMENT_STEPS):
        residual = sides - A @ x - constant
        missing = total - x.sum()
        worst = float(np.abs(residual).max())
        if worst <= wanted and abs(missing) <= wanted:
            return x, constant
        if worst > last / 2:
            return None
        last = worst
        step = solve(residual)
        shift = (step.sum() - missing) / ones.sum()
        x += step - shift * ones
        constant += shift
    return None
