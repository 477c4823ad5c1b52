"""Modality dropout: copies of training samples that lack some of their modalities."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from mmfusion.modalities import Modalities
from mmfusion.preprocessing import ModalityImputer


def with_dropout(
    own: Modalities, rate: float, rng: np.random.Generator
) -> tuple[Modalities, np.ndarray]:
    """Copy samples with some of their modalities dropped, but never all of them.

    Parameters
    ----------
    own : Modalities
        The samples.
    rate : float
        Probability with which a modality is dropped.
    rng : Generator
        Generator of the draw.

    Returns
    -------
    copies : Modalities
        Copies of the samples with a dropped modality.
    rows : ndarray of int of shape (n_copies,)
        Positions of the samples that are copied.
    """
    kept = own.observed & (rng.random(own.shape) >= rate)
    emptied = np.flatnonzero(~kept.any(axis=1))
    # one observed modality of such a sample is put back, drawn at random
    chances = own.observed[emptied] * rng.random((len(emptied), own.shape[1]))
    kept[emptied, chances.argmax(axis=1)] = True
    rows = np.flatnonzero((kept != own.observed).any(axis=1))
    return Modalities(own[rows], observed=kept[rows]), rows


def fill_copies(
    copies: Modalities,
    rows: np.ndarray,
    own: Modalities,
    imputer: ModalityImputer,
    rng: np.random.Generator,
    sample_weight: np.ndarray | None,
) -> tuple[list[Modalities], np.ndarray]:
    """Fill in dropped modalities without using the samples that are copied.

    Parameters
    ----------
    copies : Modalities
        Copies of samples with dropped modalities.
    rows : ndarray of int of shape (n_copies,)
        Positions of the samples that are copied.
    own : Modalities
        All samples.
    imputer : ModalityImputer
        Imputer that was fitted to all samples.
    rng : Generator
        Generator of the split into halves.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the samples.

    Returns
    -------
    filled : list of Modalities
        The copies, filled in, in one or two pieces.
    rows : ndarray of int of shape (n_copies,)
        Positions of the samples that are copied, in the order of the pieces.
    """
    if len(rows) == 0:
        return [], rows
    if imputer.strategy != "knn":  # the only strategy that remembers single samples
        return [imputer._fill(copies)], rows
    # the nearest neighbor of a copy would be its original: each half of the samples
    # is filled in from the other half
    half = rng.permutation(len(own)) % 2
    filled, order = [], []
    for side in (0, 1):
        mine = np.flatnonzero(half[rows] == side)
        if len(mine):
            others = half != side
            weight = None if sample_weight is None else sample_weight[others]
            fitted = clone(imputer)._fit_checked(own[others], weight)
            filled.append(fitted._fill(copies[mine]))
            order.append(rows[mine])
    return filled, np.concatenate(order)
