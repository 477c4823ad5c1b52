"""Linear machines on explicit features: squared errors beyond a margin.

Minimises ``|w|^2 / 2 + C sum_i v_i e_i^2`` over w and an intercept, where the error e_i
of a sample with decision value f is ``max(0, 1 - t f)`` for classes t of -1 and 1, one
machine for each class, and ``max(0, |t - f| - epsilon)`` for values t. These are the
default losses of scikit-learn's LinearSVC and LinearSVR (L2), but the intercept is not
penalised.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import gen_batches

CURVATURE_ROWS = 2**14  # enough to separate steep directions from flat ones
GRADIENT_BATCH_ROWS = 256
MAX_LBFGS_STEPS = 500
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
    n_features, n_outputs = Z.shape[1], targets.shape[1]
    targets = targets.astype(Z.dtype)
    costs = costs[:, None].astype(Z.dtype)
    # in coordinates root'w the curvature is near 1 in every direction
    root = _root_of_curvature(Z, costs)

    def to_coefficients(values: np.ndarray) -> np.ndarray:
        turned = values.reshape(n_features + 1, n_outputs)
        return linalg.solve_triangular(root, turned, trans="T", lower=True)

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        coefficients = to_coefficients(values)
        coef = coefficients[:-1].astype(Z.dtype)
        intercept = coefficients[-1].astype(Z.dtype)
        value = (coefficients[:-1] ** 2).sum() / 2
        gradient = np.zeros((n_outputs, n_features + 1))
        # by batches, so that both products read features from the cache
        for rows in gen_batches(len(Z), GRADIENT_BATCH_ROWS):
            part = Z[rows]
            errors, slopes = _errors(part @ coef + intercept, targets[rows], epsilon)
            weighted = costs[rows] * errors
            value += np.vdot(weighted, errors).item()
            weighted *= 2 * slopes
            gradient[:, :-1] += weighted.T @ part
            gradient[:, -1] += weighted.sum(axis=0)
        gradient[:, :-1] += coefficients[:-1].T
        turned = linalg.solve_triangular(root, gradient.T, lower=True)
        return value, turned.ravel()

    found = minimize(
        objective,
        np.zeros((n_features + 1) * n_outputs),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MAX_LBFGS_STEPS, "ftol": OBJECTIVE_TOLERANCE, "gtol": 0.0},
    )
    if found.nit >= MAX_LBFGS_STEPS:
        warnings.warn(
            f"the linear machine on explicit features has not converged after "
            f"{MAX_LBFGS_STEPS} steps; scale y, or lower C",
            ConvergenceWarning,
            stacklevel=2,
        )
    coefficients = to_coefficients(found.x)
    return LinearMachine(coefficients[:-1], coefficients[-1])


def _errors(
    outputs: np.ndarray, targets: np.ndarray, epsilon: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute errors beyond the margin, and their derivatives by the outputs."""
    if epsilon is None:
        return np.maximum(1 - targets * outputs, 0), -targets
    residuals = outputs - targets
    errors = np.maximum(np.abs(residuals) - outputs.dtype.type(epsilon), 0)
    return errors, np.sign(residuals)


def _root_of_curvature(Z: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Compute the Cholesky factor of the Hessian where every sample errs.

    The Hessian is ``I + 2 sum_i c_i (z_i, 1) (z_i, 1)'``.
    """
    n_rows = min(len(Z), CURVATURE_ROWS)
    rows = np.linspace(0, len(Z) - 1, n_rows).astype(int)
    part = np.hstack([Z[rows], np.ones((n_rows, 1), dtype=Z.dtype)])
    part *= np.sqrt(2 * costs[rows] * (len(Z) / n_rows))
    curvature = (part.T @ part).astype(np.float64)
    # where costs are large the identity is lost in the rounding of the sum
    rounding = len(curvature) * np.finfo(Z.dtype).eps * curvature.diagonal().max()
    curvature.flat[:: len(curvature) + 1] += max(1.0, float(rounding))
    # the intercept is not penalised: take the 1 off again
    curvature[-1, -1] += INTERCEPT_RIDGE * curvature[-1, -1] - 1
    return linalg.cholesky(curvature, lower=True)
