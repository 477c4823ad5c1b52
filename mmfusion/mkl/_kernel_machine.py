"""What new samples are compared to: kernels with support vectors, or features."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmfusion.mkl._kernels import KernelScaling
from mmfusion.mkl._modality_kernels import ModalityKernels


@dataclass(frozen=True)
class _Shifted:
    """Scaling of the values with support vectors, but for a constant of each row."""

    means: np.ndarray
    size: float
    needs_own = False

    def apply(self, K: np.ndarray, own: None = None) -> np.ndarray:
        """Scale values in place."""
        K -= self.means.astype(K.dtype)
        K /= K.dtype.type(self.size)
        return K


@dataclass(frozen=True)
class SupportKernels:
    """Kernels of new samples with support vectors.

    Parameters
    ----------
    kernels : ModalityKernels
        Fitted; those that are needed know the support vectors only, where they can.
    support : ndarray of int of shape (n_support,)
        Rows of `fit`.
    weights : ndarray of shape (n_kernels,)
        Weights; kernels of weight 0 are not made.
    """

    kernels: ModalityKernels
    support: np.ndarray
    weights: np.ndarray

    def table(self, frame: Any) -> np.ndarray:
        """Sum the kernels, up to a constant of each row.

        Parameters
        ----------
        frame : Modalities
            Checked samples.

        Returns
        -------
        ndarray of shape (n_samples, n_support)
            The values. The constant has no part in what machines say, as their dual
            variables add up to 0.
        """
        used = np.flatnonzero(self.weights).tolist() if len(self.support) else []
        total = np.zeros((len(frame), len(self.support)))
        for p, table in zip(used, self.kernels._tables(frame, used), strict=True):
            if not isinstance(self.kernels._fitted[p].values, _Shifted):
                table = table[:, self.support]
            total += self.weights[p] * table
        return total


def keep_support(
    kernels: ModalityKernels, support: np.ndarray, weights: np.ndarray
) -> SupportKernels:
    """Forget all samples that new ones need not be compared to.

    Parameters
    ----------
    kernels : ModalityKernels
        Fitted and exact; it is left as it is.
    support : ndarray of int of shape (n_support,)
        Support vectors.
    weights : ndarray of shape (n_kernels,)
        Weights of the kernels.

    Returns
    -------
    SupportKernels
        Kernels of new samples with them. Where samples of `fit` lacked modalities, or
        values are scaled by cosines, the mean of a new sample's values with all
        samples matters, so that these are kept.
    """
    kept = copy(kernels)
    kept._fitted = [
        _pruned(fitted, support, weight, stretched=kernels._stretch is not None)
        for fitted, weight in zip(kernels._fitted, weights, strict=True)
    ]
    kept._widths = [
        len(support) if isinstance(fitted.values, _Shifted) else width
        for fitted, width in zip(kept._fitted, kernels._widths, strict=True)
    ]
    return SupportKernels(kept, support, weights)


def _pruned(fitted: Any, support: np.ndarray, weight: float, *, stretched: bool) -> Any:
    values: KernelScaling = fitted.values
    if weight == 0:
        return replace(fitted, training=None)
    if stretched or values.lengths is not None:
        return fitted
    means = np.zeros(len(support)) if values.means is None else values.means[support]
    is_precomputed = fitted.options[0] == "precomputed"
    columns = support if fitted.columns is None else fitted.columns[support]
    return replace(
        fitted,
        present=fitted.present[support],
        training=None if is_precomputed else fitted.training[support],
        values=_Shifted(means, values.size),
        columns=columns if is_precomputed else None,
    )


def combine_features(tables: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Bring explicit features side by side, such that their kernels are weighed.

    Parameters
    ----------
    tables : list of ndarray of shape (n_samples, n_components)
        Features of the kernels whose weight is not 0.
    weights : ndarray of shape (n_tables,)
        Their weights.

    Returns
    -------
    ndarray of float32 of shape (n_samples, n_features)
        Features, times the roots of the weights.
    """
    width = sum(table.shape[1] for table in tables)
    combined = np.empty((len(tables[0]), width), dtype=np.float32)
    start = 0
    for table, weight in zip(tables, weights, strict=True):
        stop = start + table.shape[1]
        np.multiply(
            table, np.sqrt(weight), out=combined[:, start:stop], casting="same_kind"
        )
        start = stop
    return combined
