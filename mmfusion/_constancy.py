"""What counts as constant: a spread that is rounding beside the values it is of.

Neither a unit nor an offset decides. Values are centred by a mean that is right to
rounding, so that what remains of a constant column is rounding of its values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

ROUNDING = 4  # units in the last place of the largest value: a spread up to it is none


def centered(x: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Subtract the mean, in two passes.

    Parameters
    ----------
    x : ndarray of float
        Values.
    axis : int, default=0
        What the mean is taken along.

    Returns
    -------
    deviations : ndarray of the shape of `x`
        What remains. Of equal values it is at most a unit in their last place.
    mean : ndarray of float, with `axis` of length 1
        The mean, which the rounding of long sums does not reach.
    """
    # the sum of values near the largest float would be infinite
    mean = np.sum(x / x.shape[axis], axis=axis, keepdims=True)
    deviations = x - mean
    rest = deviations.mean(axis=axis, keepdims=True)
    return deviations - rest, mean + rest


def is_constant(spread: Any, magnitude: Any, dtype: Any = np.float64) -> Any:
    """Tell which spreads are but the rounding of values.

    Parameters
    ----------
    spread : float or ndarray
        Root of the mean square, or any mean, of deviations from the mean, as `centered`
        computes them.
    magnitude : float or ndarray
        Largest absolute value.
    dtype : dtype, default=float64
        The type in which the values were rounded, as the user gave them.

    Returns
    -------
    bool or ndarray of bool
        True where the spread is at most four units in the last place of `magnitude`.
    """
    return spread <= ROUNDING * np.finfo(dtype).eps * magnitude
