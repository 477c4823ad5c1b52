"""Compiled mixing of the densities of states with those of outliers."""

import numpy as np

from mmfusion._compilation import jit
from mmfusion.graphical._exponents import (
    LOG2_E,
    ROUNDING,
    logarithm,
    power,
    reduced_exponential,
)

# nats from which the smaller of two densities does not count
LARGEST_EXPONENT = 40.0
LEAST_EXPONENT = -700.0


@jit
def mix_rows(densities, log_broad, share, is_relative, inliers):
    """Mix log densities with those of outliers; write inlier probabilities too.

    `inliers` is a contiguous array of the shape of `densities`, or None.
    """
    n, n_states = densities.shape
    for t in range(n):
        for k in range(n_states):
            densities[t, k] -= log_broad[t]
    flat = densities.ravel()
    for k in range(len(flat)):
        log_ratio = flat[k]
        x = min(max(log_ratio, LEAST_EXPONENT), LARGEST_EXPONENT)
        whole = (x * LOG2_E + ROUNDING) - ROUNDING
        ratio = reduced_exponential(x, whole) * power(np.int64(whole))
        inlying = (1 - share) * ratio
        total = inlying + share
        # beyond the bounds one of both terms is all there is, up to rounding
        flat[k] = logarithm(total) + max(log_ratio - LARGEST_EXPONENT, 0.0)
        if inliers is not None:
            inliers[k] = np.divide(inlying, total)
    if not is_relative:
        for t in range(n):
            for k in range(n_states):
                densities[t, k] += log_broad[t]
