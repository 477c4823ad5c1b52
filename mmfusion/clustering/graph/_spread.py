"""Spread and range of the samples of a modality, which distances depend on."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from mmfusion._typing import NumericBlock

LARGEST_VALUE = 1e150  # whose square can be added up, without overflow


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


def refuse_overflow(block: NumericBlock, name: str) -> None:
    """Raise an error for samples of `fit` whose squared distances would overflow.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The scaled samples.
    name : str
        Name of the modality.

    Raises
    ------
    ValueError
        If a value is above 1e150; scalings other than None have none.
    """
    largest = largest_value(block)
    if largest > LARGEST_VALUE:
        raise ValueError(
            f"modality {name!r} has values up to {largest:.1e}, and squares of those "
            f"above {LARGEST_VALUE:g} overflow; choose scaling='auto' or another unit"
        )


def within_range(block: NumericBlock) -> NumericBlock:
    """Shrink new samples whose squared distances would overflow.

    Their direction from the origin, by which the nearest of far samples are found, is
    kept.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        The scaled samples.

    Returns
    -------
    ndarray or CSR matrix of shape (n_samples, n_features)
        Samples with values of at most 1e150; `block` itself if it is so already.
    """
    if 0 in block.shape or largest_value(block) <= LARGEST_VALUE:
        return block
    limits = np.finfo(block.dtype)  # a scaling may overflow, too
    bound = block.dtype.type(min(LARGEST_VALUE, float(limits.max)))
    if sparse.issparse(block):
        block = sparse.csr_array(block, copy=True)
        block.data = np.clip(block.data, limits.min, limits.max)
        largest = abs(block).max(axis=1).toarray().ravel()
        return (sparse.diags_array(bound / np.maximum(largest, bound)) @ block).tocsr()
    block = np.clip(block, limits.min, limits.max)
    largest = np.abs(block).max(axis=1, keepdims=True)
    return block * (bound / np.maximum(largest, bound))


def largest_value(block: NumericBlock) -> float:
    """Return the largest absolute value of a block that is not empty."""
    return max(abs(float(block.max())), abs(float(block.min())))
