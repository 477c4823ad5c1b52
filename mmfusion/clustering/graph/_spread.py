"""Spread of the samples of a modality, by which distances are made comparable."""

from __future__ import annotations

import numpy as np

from mmfusion._typing import NumericBlock


def total_variance(block: NumericBlock) -> float:
    """Return the sum of the variances of all features.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The samples.

    Returns
    -------
    float
        The total variance; nonnegative.
    """
    if isinstance(block, np.ndarray):
        return float(block.var(axis=0, dtype=np.float64).sum())
    means = np.asarray(block.mean(axis=0), dtype=np.float64).ravel()
    values = np.asarray(block.data, dtype=np.float64)
    return max(0.0, float((values**2).sum() / block.shape[0] - (means**2).sum()))


def total_spread(block: NumericBlock) -> float:
    """Return the root of the total variance of a block, 1 if it is constant.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The samples.

    Returns
    -------
    float
        The positive divisor that makes the total variance 1.
    """
    total = total_variance(block)
    return float(np.sqrt(total)) if total > 0 else 1.0
