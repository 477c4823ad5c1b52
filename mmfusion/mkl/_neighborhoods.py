"""Restriction of kernels to pairs of samples that share neighbourhoods.

The local kernels of Li, Liu, Wang, Dou, Yin and Zhu (2016): the average over all
samples i of the kernel among the neighbours of i is, entry by entry, the kernel times
the share of neighbourhoods that contain both samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Neighborhoods:
    """Neighbourhoods of the training samples in the mean of all kernels.

    Parameters
    ----------
    members : ndarray of float32 of shape (n_train, n_train)
        How often the sample of the row counts, where that of the column is in its
        neighbourhood; else 0.
    thresholds : ndarray of shape (n_train,)
        Smallest mean kernel value of the members of each neighbourhood.
    n_samples : float
        Number of training samples, with repetitions.
    """

    members: np.ndarray
    thresholds: np.ndarray
    n_samples: float

    def mask(self, kernels: Sequence[np.ndarray]) -> np.ndarray:
        """Compute the share of neighbourhoods that contain both samples of a pair.

        Parameters
        ----------
        kernels : list of ndarray of shape (n, n_train)
            All kernels of samples with the training samples.

        Returns
        -------
        ndarray of float32 of shape (n, n_train)
            The shares. They are positive semi-definite for the training samples, so
            that products of kernels with them are, too.
        """
        mean = _mean_kernel(kernels)
        inside = (mean >= self.thresholds).astype(np.float32)
        return inside @ self.members / np.float32(self.n_samples)


def _mean_kernel(kernels: Sequence[np.ndarray]) -> np.ndarray:
    total = kernels[0].astype(np.float64)
    for K in kernels[1:]:
        total += K
    # single precision makes values equal that differ by rounding only
    return (total / len(kernels)).astype(np.float32)


def fit_neighborhoods(
    kernels: Sequence[np.ndarray], share: float, counts: np.ndarray | None = None
) -> Neighborhoods:
    """Find the neighbourhood of every training sample.

    Parameters
    ----------
    kernels : list of ndarray of shape (n_train, n_train)
        All kernels of the training samples.
    share : float
        Share of the samples in a neighbourhood, which has at least one.
    counts : ndarray of shape (n_train,), default=None
        How often each sample counts; None is once each.

    Returns
    -------
    Neighborhoods
        The neighbourhoods of all samples.
    """
    mean = _mean_kernel(kernels)
    n_train = len(mean)
    if counts is None:
        n_near = min(max(1, round(share * n_train)), n_train)
        thresholds = np.partition(mean, n_train - n_near, axis=1)[:, n_train - n_near]
        members = (mean >= thresholds[:, None]).astype(np.float32)
        return Neighborhoods(members, thresholds, n_train)
    n_samples = float(counts.sum())
    thresholds = _counted_thresholds(mean, counts, max(1, round(share * n_samples)))
    members = (mean >= thresholds[:, None]) * counts.astype(np.float32)[:, None]
    return Neighborhoods(members, thresholds, n_samples)


def _counted_thresholds(
    mean: np.ndarray, counts: np.ndarray, n_near: int
) -> np.ndarray:
    """Return in each row the smallest of the values that count n_near times."""
    nearest = np.argsort(-mean, axis=1, kind="stable")
    cumulated = np.cumsum(counts[nearest], axis=1)
    # all samples may count less, by rounding
    reached = cumulated >= np.minimum(n_near, cumulated[:, -1:]) * (1 - 1e-12)
    last = nearest[np.arange(len(mean)), reached.argmax(axis=1)]
    return mean[np.arange(len(mean)), last]
