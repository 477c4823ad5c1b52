"""Kernels kept to the neighbourhoods of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Neighborhoods:
    """Which samples of `fit` are near which, by their mean kernel.

    Parameters
    ----------
    members : ndarray of float32 of shape (n_train, n_train)
        1 where the sample of the column is in the neighbourhood of that of the row.
    thresholds : ndarray of shape (n_train,)
        Mean kernel value from which on a sample is in the neighbourhood of another.
    """

    members: np.ndarray
    thresholds: np.ndarray

    def mask(self, tables: Sequence[np.ndarray]) -> np.ndarray:
        """Tell the share of neighbourhoods that hold both samples of a pair.

        Parameters
        ----------
        tables : list of ndarray of shape (n, n_train)
            Values of samples with those of `fit`, of every kernel.

        Returns
        -------
        ndarray of float32 of shape (n, n_train)
            Positive semi-definite for the samples of `fit`, so that products of kernels
            with it are, too.
        """
        mean = _mean(tables)
        inside = (mean >= self.thresholds).astype(np.float32)
        return inside @ self.members / np.float32(len(self.thresholds))


def _mean(tables: Sequence[np.ndarray]) -> np.ndarray:
    total = tables[0].astype(np.float64)
    for table in tables[1:]:
        total += table
    return (total / len(tables)).astype(np.float32)  # rounds what differs by rounding


def fit_neighborhoods(kernels: Sequence[np.ndarray], share: float) -> Neighborhoods:
    """Find the neighbourhood of every sample.

    Parameters
    ----------
    kernels : list of ndarray of shape (n_train, n_train)
        Values of the samples of `fit`, of every kernel.
    share : float
        Share of the samples that are in a neighbourhood, at least one.

    Returns
    -------
    Neighborhoods
        Of all samples.
    """
    mean = _mean(kernels)
    n_train = len(mean)
    n_near = min(max(1, round(share * n_train)), n_train)
    thresholds = np.partition(mean, n_train - n_near, axis=1)[:, n_train - n_near]
    return Neighborhoods((mean >= thresholds[:, None]).astype(np.float32), thresholds)
