"""Rows of zeros, which look like identical samples and often are missing ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from mmfusion._pieces import map_pieces
from mmfusion._typing import NumericBlock
from mmfusion._warnings import warn_user
from mmfusion.modalities import Modalities

ZERO_ROWS = ("warn", "missing", "keep")
LARGEST_ZERO_SHARE = 0.05  # of the rows of a modality, above which users are warned


def observed_samples(
    frame: Modalities, zero_rows: str, names: Sequence[str], *, warns: bool = True
) -> np.ndarray:
    """Return which samples have which modality, without rows of zeros if wanted.

    Parameters
    ----------
    frame : Modalities
        Checked samples.
    zero_rows : {'warn', 'missing', 'keep'}
        Whether rows of zeros are missing. A sample whose modalities are all zero keeps
        them.
    names : sequence of str
        Names of the modalities whose zeros have a meaning for sure, which are kept.
    warns : bool, default=True
        Whether 'warn' warns.

    Returns
    -------
    ndarray of bool of shape (n_samples, n_modalities)
        The mask.

    Warns
    -----
    UserWarning
        For 'warn', if more than 5 % of the rows of a modality are zeros.
    """
    observed = np.array(frame.observed)
    if zero_rows == "keep" or (zero_rows == "warn" and not warns):
        return observed
    zeros = np.zeros_like(observed)
    for v, (name, block) in enumerate(zip(frame.names, frame.blocks, strict=True)):
        if name not in names:
            zeros[:, v] = observed[:, v] & _is_zero(block)
    if zero_rows == "missing":
        left = observed & ~zeros
        return np.where(left.any(axis=1, keepdims=True), left, observed)
    shares = zeros.sum(axis=0) / np.maximum(observed.sum(axis=0), 1)
    for name, share in zip(frame.names, shares, strict=True):
        if share > LARGEST_ZERO_SHARE:
            warn_user(
                f"modality {name!r}: {share:.0%} of the samples are rows of zeros, "
                "which form a cluster of their own in a graph of neighbours; "
                "zero_rows='missing' marks them as missing, zero_rows='keep' takes "
                "them as they are",
            )
    return observed


def _is_zero(block: NumericBlock) -> np.ndarray:
    if sparse.issparse(block):
        return np.asarray(abs(block).sum(axis=1)).ravel() == 0
    return np.concatenate(map_pieces(_has_no_value, block))


def _has_no_value(values: np.ndarray) -> np.ndarray:
    return ~np.any(values, axis=1)
