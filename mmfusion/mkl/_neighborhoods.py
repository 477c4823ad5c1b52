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
        1 where the sample of the column is in the neighbourhood of that of the row.
    thresholds : ndarray of shape (n_train,)
        Smallest mean kernel value of the members of each neighbourhood.
    """

    members: np.ndarray
    thresholds: np.ndarray

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
        return inside @ self.members / np.float32(len(self.thresholds))


def _mean_kernel(kernels: Sequence[np.ndarray]) -> np.ndarray:
    total = kernels[0].astype(np.float64)
    for K in kernels[1:]:
        total += K
    # single precision makes values equal that differ by rounding only
    return (total / len(kernels)).astype(np.float32)


def fit_neighborhoods(kernels: Sequence[np.ndarray], share: float) -> Neighborhoods:
    """Find the neighbourhood of every training sample.

    Parameters
    ----------
    kernels : list of ndarray of shape (n_train, n_train)
        All kernels of the training samples.
    share : float
        Share of the samples in a neighbourhood, which has at least one.

    Returns
    -------
    Neighborhoods
        The neighbourhoods of all samples.
    """
    mean = _mean_kernel(kernels)
    n_train = len(mean)
    n_near = min(max(1, round(share * n_train)), n_train)
    thresholds = np.partition(mean, n_train - n_near, axis=1)[:, n_train - n_near]
    return Neighborhoods((mean >= thresholds[:, None]).astype(np.float32), thresholds)
