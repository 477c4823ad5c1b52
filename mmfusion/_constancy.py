"""Detection of constant values: their spread does not exceed the rounding of values.

The criterion does not depend on the unit, and an offset matters only through the
rounding it causes. Values are centred by a mean that is exact up to rounding, so that
the deviations of a constant column are rounding errors of its values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

# largest spread of constant values, in units in the last place of the largest value: a
# few roundings, of the values themselves, of their mean and of the deviations
CONSTANT_SPREAD_ULPS = 4


def centered(x: np.ndarray, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Subtract the mean, in two passes: x - m - mean(x - m) with m = mean(x).

    Parameters
    ----------
    x : ndarray of float
        Values to centre.
    axis : int, default=0
        Axis along which the mean is computed.

    Returns
    -------
    deviations : ndarray of the shape of `x`
        Deviations from the mean. Those of equal values are at most one unit in the
        last place of the values.
    mean : ndarray of float, with `axis` of length 1
        The mean, free of the accumulated rounding of long sums.
    """
    # divided before the sum, which could overflow
    mean = np.sum(x / x.shape[axis], axis=axis, keepdims=True)
    deviations = x - mean
    rest = deviations.mean(axis=axis, keepdims=True)
    return deviations - rest, mean + rest


def is_constant(
    spread: float | np.ndarray,
    magnitude: float | np.ndarray,
    dtype: DTypeLike = np.float64,
) -> Any:
    """Return whether a spread does not exceed the rounding of the values.

    Parameters
    ----------
    spread : float or ndarray
        Root mean square, or another mean, of the deviations from the mean, as computed
        by `centered`.
    magnitude : float or ndarray
        Largest absolute value.
    dtype : dtype, default=float64
        Type in which the values were rounded: that of the user's data.

    Returns
    -------
    bool or ndarray of bool
        True where the spread is at most four units in the last place of `magnitude`.
    """
    eps = np.finfo(dtype).eps
    return spread <= CONSTANT_SPREAD_ULPS * eps * magnitude
