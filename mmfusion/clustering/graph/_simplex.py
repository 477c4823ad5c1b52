"""Projection on the simplex."""

from __future__ import annotations

import numpy as np


def nearest_on_simplex(rows: np.ndarray) -> np.ndarray:
    """Project rows on the simplex: nonnegative entries that add up to 1.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_entries)
        Real rows; entries of -inf become 0, and a row of them alone 0 throughout.

    Returns
    -------
    ndarray of shape (n_rows, n_entries)
        The nearest points of the simplex.
    """
    descending = -np.sort(-rows, axis=1)
    finite = np.isfinite(descending)
    sums = np.cumsum(np.where(finite, descending, 0), axis=1) - 1
    counts = np.arange(1, rows.shape[1] + 1)
    support = finite & (descending - sums / counts > 0)
    last = np.maximum(support.sum(axis=1) - 1, 0)[:, None]
    thresholds = np.take_along_axis(sums, last, axis=1) / (last + 1)
    return np.maximum(rows - thresholds, 0)
