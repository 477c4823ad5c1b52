"""Medians of values that occur several times, or that may be 0."""

from __future__ import annotations

from typing import Any

import numpy as np


def median_with_counts(values: np.ndarray, counts: np.ndarray | None) -> float:
    """Compute the median of values that occur several times.

    Parameters
    ----------
    values : ndarray of shape (n,)
        The values, at least one.
    counts : ndarray of shape (n,) or None
        How often each occurs, above 0; None is once each.

    Returns
    -------
    float
        The median; the mean of the two middle values where half of the counts ends
        between them.
    """
    if counts is None:
        return float(np.median(values))
    order = np.argsort(values)
    cumulated = np.cumsum(counts[order])
    half = cumulated[-1] / 2
    # the two middle values, where half of the counts is reached but for rounding
    low = np.searchsorted(cumulated, half * (1 - 1e-12))
    high = np.searchsorted(cumulated, half * (1 + 1e-12))
    return float(values[order[low]] + values[order[min(high, len(order) - 1)]]) / 2


def positive_median(
    distances: np.ndarray, rounding: float = 0.0, counts: np.ndarray | None = None
) -> float | None:
    """Return the median, or where it is 0 the median of the positive values.

    Parameters
    ----------
    distances : ndarray of shape (n,)
        Distances, at least 0.
    rounding : float, default=0.0
        Largest value that counts as 0.
    counts : ndarray of shape (n,), default=None
        How often each distance occurs, above 0; None is once each.

    Returns
    -------
    float or None
        The median, above 0; None if all are 0.
    """
    positive = distances > rounding
    if not positive.any():
        return None
    median = median_with_counts(distances, counts)
    if median > rounding:
        return median
    return median_with_counts(
        distances[positive], None if counts is None else counts[positive]
    )


def pairs_with_copies(
    distances: np.ndarray, weight: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """List the distances of different samples, and how often each occurs.

    Parameters
    ----------
    distances : ndarray of shape (n, n), or of shape (n * (n - 1) / 2,)
        Distances of all pairs of samples, which need not be symmetric; or those above
        the diagonal, where they are.
    weight : ndarray of shape (n,) or None
        Weights of the samples: one of weight 3 counts as three equal samples, which
        are at distance 0 from each other. None is 1 for each.

    Returns
    -------
    distances : ndarray of shape (n_pairs,)
        Those that occur.
    counts : ndarray of shape (n_pairs,) or None
        How often each does; None is once each.
    """
    is_triangle = distances.ndim == 1
    different: Any
    if is_triangle:
        if weight is None:
            return distances, None
        different = np.triu_indices(len(weight), 1)
        pairs = distances
    else:
        different = ~np.eye(len(distances), dtype=bool)
        pairs = distances[different]
    if weight is None:
        return pairs, None
    copies = np.maximum(weight * (weight - 1), 0).sum()
    counts = np.outer(weight, weight)[different]
    counts = np.append(counts, copies / 2 if is_triangle else copies)
    occurring = counts > 0
    return np.append(pairs, 0.0)[occurring], counts[occurring]
