"""Spread of the samples of a modality, by which distances are made comparable."""

from __future__ import annotations

import numpy as np

from mmfusion._typing import NumericBlock


def total_spread(block: NumericBlock) -> float:
    """Return the root of the total variance of a block, 1 if it is constant.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The samples.

    Returns
    -------
    float
        Root of the sum of the variances of all features.
    """
    if isinstance(block, np.ndarray):
        total = float(block.var(axis=0, dtype=np.float64).sum())
    else:
        means = np.asarray(block.mean(axis=0)).ravel()
        total = float((block.data**2).sum() / block.shape[0] - (means**2).sum())
    return float(np.sqrt(total)) if total > 0 else 1.0
