"""Linear machines on explicit features: squared errors beyond a margin.

Minimises ``|w|^2 / 2 + C sum_i v_i e_i^2`` over w and an intercept, where the error e_i
of a sample with decision value f is ``max(0, 1 - t f)`` for classes t of -1 and 1, one
machine for each class, and ``max(0, |t - f| - epsilon)`` for values t. These are the
default losses of scikit-learn's LinearSVC and LinearSVR (L2), but the intercept is not
penalised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy.optimize import OptimizeResult, minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import gen_batches

from mmfusion._warnings import warn_user

CURVATURE_ROWS = 2**12  # enough to separate steep directions from flat ones
GRADIENT_BATCH_ROWS = 256
LBFGS_STEPS = 8  # until the curvature is computed again
MAX_LBFGS_STEPS = 500
STEPS_ARE_USED_UP = 1  # status of scipy.optimize.minimize
OBJECTIVE_TOLERANCE = 1e-7  # relative change of the objective
INTERCEPT_RIDGE = 1e-6  # penalty of the intercept, as a share of its curvature


@dataclass(frozen=True)
class LinearMachine:
    """Decision values that are linear in features.

    Parameters
    ----------
    coef : ndarray of float64 of shape (n_features, n_outputs)
        Coefficients of the features.
    intercept : ndarray of float64 of shape (n_outputs,)
        Intercepts.
    """

    coef: np.ndarray
    intercept: np.ndarray

    def decide(self, Z: np.ndarray) -> np.ndarray:
        """Compute the decision values of samples, of shape (n_samples, n_outputs)."""
        return Z @ self.coef + self.intercept


def fit_linear_machine(
    Z: np.ndarray, targets: np.ndarray, costs: np.ndarray, epsilon: float | None = None
) -> LinearMachine:
    """Fit linear machines, all outputs at once, by L-BFGS.

    Steps are taken in coordinates in which the curvature is near 1 in every direction:
    that of the samples that err, which are few where classes are separable.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        Features.
    targets : ndarray of shape (n_samples, n_outputs)
        Classes as -1 and 1, or values.
    costs : ndarray of shape (n_samples,)
        Cost of a squared error of each sample.
    epsilon : float, default=None
        Errors up to it have no cost; None for classes.

    Returns
    -------
    LinearMachine
        The fitted machines.

    Warns
    -----
    ConvergenceWarning
        If L-BFGS takes too many steps.
    """
    problem = _Problem(
        Z, targets.astype(Z.dtype), costs[:, None].astype(Z.dtype), epsilon
    )
    # at first every sample errs; later the curvature is that of the errors so far
    roots = [_root_of_curvature(Z, costs)] * targets.shape[1]
    coefficients = np.zeros((Z.shape[1] + 1, targets.shape[1]))
    n_steps = 0
    while True:
        found = problem.minimize(coefficients, roots)
        coefficients = _to_coefficients(found.x, roots)
        n_steps += found.nit
        if found.status != STEPS_ARE_USED_UP or n_steps >= MAX_LBFGS_STEPS:
            break
        roots = problem.curvatures(coefficients)
    if found.status == STEPS_ARE_USED_UP:
        warn_user(
            f"the linear machine on explicit features has not converged after "
            f"{n_steps} steps; scale y, or lower C",
            ConvergenceWarning,
        )
    return LinearMachine(coefficients[:-1], coefficients[-1])


@dataclass(frozen=True)
class _Problem:
    """The objective of `fit_linear_machine`, with its parameters."""

    Z: np.ndarray
    targets: np.ndarray
    costs: np.ndarray
    epsilon: float | None

    def minimize(
        self, coefficients: np.ndarray, roots: Sequence[np.ndarray]
    ) -> OptimizeResult:
        """Minimise by some steps of L-BFGS in coordinates ``root'w`` of each output."""
        start = [root.T @ w for root, w in zip(roots, coefficients.T, strict=True)]

        def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = self._evaluate(_to_coefficients(values, roots))
            turned = [
                linalg.solve_triangular(root, own, lower=True)
                for root, own in zip(roots, gradient, strict=True)
            ]
            return value, np.concatenate(turned)

        return minimize(
            objective,
            np.concatenate(start),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": LBFGS_STEPS, "ftol": OBJECTIVE_TOLERANCE, "gtol": 0.0},
        )

    def _evaluate(self, coefficients: np.ndarray) -> tuple[float, np.ndarray]:
        """Compute the objective, and its gradient of shape (n_outputs, n_features + 1).

        The last column is that of the intercept.
        """
        Z, costs = self.Z, self.costs
        coef = coefficients[:-1].astype(Z.dtype)
        intercept = coefficients[-1].astype(Z.dtype)
        value = (coefficients[:-1] ** 2).sum() / 2
        gradient = np.zeros(coefficients.T.shape)
        # by batches, so that both products read features from the cache
        for rows in gen_batches(len(Z), GRADIENT_BATCH_ROWS):
            part = Z[rows]
            outputs = part @ coef + intercept
            errors, slopes = _errors(outputs, self.targets[rows], self.epsilon)
            weighted = costs[rows] * errors
            value += np.vdot(weighted, errors).item()
            weighted *= 2 * slopes
            gradient[:, :-1] += weighted.T @ part
            gradient[:, -1] += weighted.sum(axis=0)
        gradient[:, :-1] += coefficients[:-1].T
        return value, gradient

    def curvatures(self, coefficients: np.ndarray) -> list[np.ndarray]:
        """Compute the root of the Hessian of each output: that of samples that err."""
        outputs = self.Z @ coefficients[:-1].astype(self.Z.dtype)
        outputs += coefficients[-1].astype(self.Z.dtype)
        errors, _ = _errors(outputs, self.targets, self.epsilon)
        costs = self.costs[:, 0].astype(np.float64)
        return [
            _root_of_curvature(self.Z, costs, np.flatnonzero(own)) for own in errors.T
        ]


def _to_coefficients(values: np.ndarray, roots: Sequence[np.ndarray]) -> np.ndarray:
    """Return the coefficients w and the intercept of each output from ``root'w``."""
    turned = values.reshape(len(roots), -1)
    columns = [
        linalg.solve_triangular(root, own, trans="T", lower=True)
        for root, own in zip(roots, turned, strict=True)
    ]
    return np.column_stack(columns)


def _errors(
    outputs: np.ndarray, targets: np.ndarray, epsilon: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute errors beyond the margin, and their derivatives by the outputs."""
    if epsilon is None:
        return np.maximum(1 - targets * outputs, 0), -targets
    residuals = outputs - targets
    errors = np.maximum(np.abs(residuals) - outputs.dtype.type(epsilon), 0)
    return errors, np.sign(residuals)


def _root_of_curvature(
    Z: np.ndarray, costs: np.ndarray, rows: np.ndarray | None = None
) -> np.ndarray:
    """Compute the Cholesky factor of the Hessian where samples err, at most 4,096.

    The Hessian is ``I + 2 sum_i c_i (z_i, 1) (z_i, 1)'`` over `rows`; None is all.
    """
    rows = np.arange(len(Z)) if rows is None else rows
    n_drawn = min(len(rows), CURVATURE_ROWS)
    drawn = (
        rows[np.linspace(0, len(rows) - 1, n_drawn).astype(int)] if n_drawn else rows
    )
    part = np.hstack([Z[drawn], np.ones((n_drawn, 1), dtype=Z.dtype)])
    counts = 2 * costs[drawn] * (len(rows) / max(n_drawn, 1))
    part *= np.sqrt(counts)[:, None].astype(Z.dtype)
    curvature = (part.T @ part).astype(np.float64)
    # where costs are large the identity is lost in the rounding of the sum
    rounding = len(curvature) * np.finfo(Z.dtype).eps * curvature.diagonal().max()
    curvature.flat[:: len(curvature) + 1] += max(1.0, float(rounding))
    # the intercept is not penalised: take the 1 off again, unless no sample errs
    if n_drawn:
        curvature[-1, -1] += INTERCEPT_RIDGE * curvature[-1, -1] - 1
    return linalg.cholesky(curvature, lower=True)
