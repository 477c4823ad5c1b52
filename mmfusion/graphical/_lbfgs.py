"""Minimisation of smooth functions by limited-memory BFGS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg.blas import daxpy

from mmfusion._progress import OnStep, go_on

MEMORY = 10  # pairs of steps and changes of the gradient
SUFFICIENT_DECREASE = 1e-4  # Armijo condition, relative to the slope
CURVATURE = 0.9  # weak Wolfe condition on the slope after a step
MAX_TRIALS = 40  # steps of one line search
# least relative decrease, as a multiple of the tolerance of the gradient
DECREASE_OF_TOL = 1e-4

Shapes = Sequence[tuple[int, ...]]
_End = tuple[float, float, float]  # of a step: its size, the value and slope there
Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


def count_parameters(shapes: Shapes) -> int:
    """Return the number of parameters of arrays of these shapes."""
    return sum(int(np.prod(shape)) for shape in shapes)


def split_parameters(theta: np.ndarray, shapes: Shapes) -> list[np.ndarray]:
    """Return the arrays that a flat array of parameters consists of, as views.

    Parameters
    ----------
    theta : ndarray of shape (n_parameters,)
        All parameters.
    shapes : sequence of tuple of int
        Shapes of the arrays, in order.

    Returns
    -------
    list of ndarray
        Views of `theta`.
    """
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = np.split(theta, ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


class Minimum(NamedTuple):
    """Result of a minimisation.

    Parameters
    ----------
    x : ndarray of shape (n_parameters,)
        Parameters with the smallest value that was found.
    history : ndarray of shape (n_iter + 1,)
        Values before the first iteration, and after each.
    converged : bool
        Whether the iterations stopped by `tol`, or where floats allow no decrease.
    """

    x: np.ndarray
    history: np.ndarray
    converged: bool


class _Point(NamedTuple):
    """Parameters, and the value and gradient there."""

    x: np.ndarray
    value: float
    gradient: np.ndarray


def minimize(
    objective: Objective,
    start: np.ndarray,
    *,
    max_iter: int = 200,
    tol: float = 1e-4,
    on_step: OnStep = go_on,
) -> Minimum:
    """Minimise a function of many parameters by its gradient.

    Parameters
    ----------
    objective : callable
        Function of an array of shape (n_parameters,) that returns a value, and the
        gradient as a new array.
    start : ndarray of shape (n_parameters,)
        First parameters.
    max_iter : int, default=200
        Maximum number of iterations.
    tol : float, default=1e-4
        Largest element of the gradient, relative to that at the start or to 1, below
        which the iterations stop. They also stop at a relative decrease of the value
        below ``1e-4 * tol``.
    on_step : callable, default=go_on
        Called with the value after each iteration; returns whether to stop.

    Returns
    -------
    Minimum
        The parameters, the values, and whether the iterations converged.

    References
    ----------
    Nocedal, J. and Wright, S. J. (2006). Numerical optimization, algorithms 3.6 and
    7.4. Springer.
    """
    point = _Point(start, *objective(start))
    history = [point.value]
    largest = tol * max(1.0, float(np.abs(point.gradient).max(initial=0.0)))
    pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=MEMORY)
    converged = float(np.abs(point.gradient).max(initial=0.0)) <= largest * tol
    while not converged and len(history) <= max_iter:
        direction = _direction(point.gradient, pairs)
        after = _line_search(objective, point, direction, is_first=not pairs)
        if after is None and pairs:  # along the gradient, without curvature of before
            pairs.clear()
            continue
        if after is None:
            converged = True  # no decrease that floats can hold
            break
        step, change = after.x - point.x, after.gradient - point.gradient
        curvature = float(step @ change)
        if curvature > 1e-12 * float(change @ change):
            pairs.append((step, change, curvature))
        decrease, point = point.value - after.value, after
        history.append(point.value)
        scale = max(1.0, abs(point.value))
        converged = (
            float(np.abs(point.gradient).max(initial=0.0)) < largest
            or decrease < DECREASE_OF_TOL * tol * scale
        )
        if on_step(point.value):
            break
    return Minimum(point.x, np.array(history), converged)


def _direction(
    gradient: np.ndarray, pairs: deque[tuple[np.ndarray, np.ndarray, float]]
) -> np.ndarray:
    """Multiply the gradient with the negative inverse of the Hessian, from pairs."""
    direction = -gradient
    factors = []
    for step, change, curvature in reversed(pairs):
        factor = float(step @ direction) / curvature
        daxpy(change, direction, a=-factor)  # in place, without another array
        factors.append(factor)
    if pairs:
        _, change, curvature = pairs[-1]
        direction *= curvature / float(change @ change)
    for (step, change, curvature), factor in zip(pairs, reversed(factors), strict=True):
        daxpy(step, direction, a=factor - float(change @ direction) / curvature)
    return direction


def _line_search(
    objective: Objective, point: _Point, direction: np.ndarray, is_first: bool
) -> _Point | None:
    """Find a step with the weak Wolfe conditions; None without one."""
    slope = float(point.gradient @ direction)
    if not slope < 0:
        return None
    size, best = 1.0, None
    if is_first:  # the gradient has no scale
        size = min(1.0, 1.0 / float(np.linalg.norm(direction)))
    low, high = (0.0, point.value, slope), (np.inf, np.inf, np.nan)
    for _ in range(MAX_TRIALS):
        x = point.x + size * direction
        trial = _Point(x, *objective(x))
        bound = point.value + SUFFICIENT_DECREASE * size * slope
        end = size, trial.value, float(trial.gradient @ direction)
        if not trial.value <= bound:  # so that NaN is too far, too
            high = end
        elif end[2] < CURVATURE * slope:
            low, best = end, trial
        else:
            return trial
        size = 2 * low[0] if np.isinf(high[0]) else _between(low, high)
    return best


def _between(low: _End, high: _End) -> float:
    """Return the minimum of the cubic with the values and slopes of two steps.

    It is at least a tenth of their distance from both.
    """
    (a, value, slope), (b, later, later_slope) = low, high
    fraction = 0.5
    if np.isfinite(later) and np.isfinite(later_slope):
        mean = slope + later_slope - 3 * (later - value) / (b - a)
        root = mean**2 - slope * later_slope
        if root >= 0:
            part = later_slope - slope + 2 * np.sqrt(root)
            if part != 0:
                fraction = 1 - (later_slope + np.sqrt(root) - mean) / part
    return float(a + min(max(fraction, 0.1), 0.9) * (b - a))
