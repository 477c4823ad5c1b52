"""Modalities that are precomputed kernels or affinities, in model selection."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite

from mmfusion._typing import ModalitiesLike
from mmfusion._validation import is_multimodal
from mmfusion.modalities import Modalities


def as_precomputed(X: ModalitiesLike, *, reset: bool) -> ModalitiesLike:
    """Split an array of kernels into modalities; check that a lone kernel is finite.

    Parameters
    ----------
    X : list, dict, Modalities, or array of shape (n_samples, n_samples_of_fit, \
n_kernels) or (n_samples, n_samples_of_fit)
        The kernels.
    reset : bool
        Whether they are those of `fit`, which are square.

    Returns
    -------
    list, dict, Modalities or ndarray
        A modality for each kernel of a 3-D array; other input as it is, if sparse as
        an array.

    Raises
    ------
    ValueError
        If the kernels of a 3-D array are not square in `fit`, or it holds none, or a
        lone kernel is not finite.
    """
    if isinstance(X, np.ndarray) and X.ndim == 3:
        if reset and X.shape[0] != X.shape[1]:
            raise ValueError(
                f"X has shape {X.shape}; several kernels are one array of shape "
                "(n_samples, n_samples, n_kernels), as np.dstack returns it"
            )
        if X.shape[2] == 0:
            raise ValueError(f"X has shape {X.shape}: it holds no kernel")
        return Modalities([X[:, :, p] for p in range(X.shape[2])])
    if is_multimodal(X):
        return X
    block: Any = X
    dense = block.toarray() if sparse.issparse(block) else block
    # before the number of columns is checked, which names no cell
    assert_all_finite(dense, input_name="X")
    return dense


def refuse_to_split_modalities(estimator: BaseEstimator) -> None:
    """Raise an error with a remedy if scikit-learn is about to split Modalities.

    It splits rows and columns of square arrays only. Its own error, "X should be a
    square kernel matrix", misleads for Modalities of square kernels, and comes before
    the estimator gets X: the tags are all that it reads before, so that X is found in
    the calling frame.

    Parameters
    ----------
    estimator : estimator
        Estimator of precomputed kernels, whose tags are read.
    """
    caller: FrameType | None = sys._getframe(1)
    while caller is not None and caller.f_code.co_name != "_safe_split":
        caller = caller.f_back
    if caller is None:
        return
    split, X = caller.f_locals.get("estimator"), caller.f_locals.get("X")
    # also the search of which this is the estimator
    is_split = split is estimator or getattr(split, "estimator", None) is estimator
    if is_split and isinstance(X, Modalities):
        stacked = "np.dstack(X.blocks)"
        if not X.observed.all():
            stacked = f"np.where(X.observed[:, None], {stacked}, np.nan)"
        raise ValueError(
            f"kernels in Modalities {list(X.names)} cannot be split in rows and "
            "columns; for a search or cross-validation give them as one array of shape "
            f"(n_samples, n_samples, n_kernels), {stacked}"
        )
