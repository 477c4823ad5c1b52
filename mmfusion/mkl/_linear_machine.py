"""Linear machines on explicit features: squared errors beyond a margin.

``min |w|^2 / 2 + C sum_i v_i e_i^2`` over w and an intercept, where e_i is how far a
sample falls short of its margin: ``max(0, 1 - t f)`` for classes t of -1 and 1, one
machine for each class, ``max(0, |t - f| - epsilon)`` for values t. This is what
scikit-learn's LinearSVC and LinearSVR do by default, but the intercept is free.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import gen_batches

CURVATURE_ROWS = 2**14  # enough of them to tell steep directions from flat ones
CHUNK_ROWS = 256
MAX_STEPS = 500
ACCURACY = 1e-7  # of the objective
FREE = 1e-6  # penalty of the intercept, as a share of its curvature


@dataclass(frozen=True)
class LinearMachine:
    """Weights of features.

    Parameters
    ----------
    coef : ndarray of float64 of shape (n_features, n_outputs)
        Weights.
    intercept : ndarray of float64 of shape (n_outputs,)
        Constants.
    """

    coef: np.ndarray
    intercept: np.ndarray

    def decide(self, Z: np.ndarray) -> np.ndarray:
        """Give the values of samples, of shape (n_samples, n_outputs)."""
        return Z @ self.coef + self.intercept


def fit_linear_machine(
    Z: np.ndarray, targets: np.ndarray, costs: np.ndarray, epsilon: float | None = None
) -> LinearMachine:
    """Fit linear machines, all outputs at once.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        Features.
    targets : ndarray of shape (n_samples, n_outputs)
        -1 and 1, or values.
    costs : ndarray of shape (n_samples,)
        Cost of a squared error.
    epsilon : float, default=None
        Errors up to it cost nothing; None for classes.

    Returns
    -------
    LinearMachine
        Fitted by L-BFGS, in coordinates in which no direction is much steeper than
        the others.

    Warns
    -----
    ConvergenceWarning
        If it takes too many steps.
    """
    n_features, n_outputs = Z.shape[1], targets.shape[1]
    targets = targets.astype(Z.dtype)
    costs = costs[:, None].astype(Z.dtype)
    root = _root_of_curvature(Z, costs)

    def plain(values: np.ndarray) -> np.ndarray:
        table = values.reshape(n_features + 1, n_outputs)
        return linalg.solve_triangular(root, table, trans="T", lower=True)

    def objective(values: np.ndarray) -> tuple[float, np.ndarray]:
        table = plain(values)
        coef, intercept = table[:-1].astype(Z.dtype), table[-1].astype(Z.dtype)
        value = (table[:-1] ** 2).sum() / 2
        gradient = np.zeros((n_outputs, n_features + 1))
        for rows in gen_batches(len(Z), CHUNK_ROWS):  # read once for both products
            part = Z[rows]
            errors, slopes = _errors(part @ coef + intercept, targets[rows], epsilon)
            pulls = costs[rows] * errors
            value += np.vdot(pulls, errors).item()
            pulls *= 2 * slopes
            gradient[:, :-1] += pulls.T @ part
            gradient[:, -1] += pulls.sum(axis=0)
        gradient[:, :-1] += table[:-1].T
        turned = linalg.solve_triangular(root, gradient.T, lower=True)
        return value, turned.ravel()

    found = minimize(
        objective,
        np.zeros((n_features + 1) * n_outputs),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": MAX_STEPS, "ftol": ACCURACY, "gtol": 0.0},
    )
    if found.nit >= MAX_STEPS:
        warnings.warn(
            f"the linear machine on explicit features has not converged after "
            f"{MAX_STEPS} steps; scale y, or lower C",
            ConvergenceWarning,
            stacklevel=2,
        )
    table = plain(found.x)
    return LinearMachine(table[:-1], table[-1])


def _errors(
    outputs: np.ndarray, targets: np.ndarray, epsilon: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Errors beyond the margin, and how they change with the outputs."""
    if epsilon is None:
        return np.maximum(1 - targets * outputs, 0), -targets
    off = outputs - targets
    errors = np.maximum(np.abs(off) - outputs.dtype.type(epsilon), 0)
    return errors, np.sign(off)


def _root_of_curvature(Z: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Cholesky factor of the curvature where every sample errs."""
    n_rows = min(len(Z), CURVATURE_ROWS)
    rows = np.linspace(0, len(Z) - 1, n_rows).astype(int)
    part = np.hstack([Z[rows], np.ones((n_rows, 1), dtype=Z.dtype)])
    part *= np.sqrt(2 * costs[rows] * (len(Z) / n_rows))
    curvature = (part.T @ part).astype(np.float64)
    # where costs are large the 1 is lost in the rounding of the rest
    rounding = len(curvature) * np.finfo(Z.dtype).eps * curvature.diagonal().max()
    curvature.flat[:: len(curvature) + 1] += max(1.0, float(rounding))
    curvature[-1, -1] += FREE * curvature[-1, -1] - 1
    return linalg.cholesky(curvature, lower=True)
