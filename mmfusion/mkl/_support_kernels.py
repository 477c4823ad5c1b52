"""Kernels of new samples with support vectors, which are all that prediction needs."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace

import numpy as np

from mmfusion.mkl._fitted_kernels import FittedKernel, ShiftedScaling
from mmfusion.mkl._modality_kernels import ModalityKernels
from mmfusion.modalities import Modalities


@dataclass(frozen=True)
class SupportKernels:
    """Weighted sum of the kernels of new samples with support vectors.

    Parameters
    ----------
    kernels : ModalityKernels
        Fitted kernels, which store the support vectors only, where that is enough.
    support : ndarray of int of shape (n_support,)
        Positions of the support vectors among the training samples.
    weights : ndarray of shape (n_kernels,)
        Weights of the kernels; those of weight 0 are not computed.
    """

    kernels: ModalityKernels
    support: np.ndarray
    weights: np.ndarray

    def compute(self, frame: Modalities) -> np.ndarray:
        """Compute the weighted sum, up to a constant of each row.

        The constant does not change decision values, because dual variables add up to
        0.

        Parameters
        ----------
        frame : Modalities
            Checked samples.

        Returns
        -------
        ndarray of shape (n_samples, n_support)
            The sum.
        """
        used = np.flatnonzero(self.weights).tolist() if len(self.support) else []
        total = np.zeros((len(frame), len(self.support)))
        for p, K in zip(used, self.kernels._compute(frame, used), strict=True):
            if not isinstance(self.kernels._fitted[p].normalization, ShiftedScaling):
                K = K[:, self.support]
            total += self.weights[p] * K
        return total


def select_support(
    kernels: ModalityKernels, support: np.ndarray, weights: np.ndarray
) -> SupportKernels:
    """Restrict fitted kernels to support vectors.

    Parameters
    ----------
    kernels : ModalityKernels
        Fitted exact kernels, which are not changed.
    support : ndarray of int of shape (n_support,)
        Positions of the support vectors among the training samples.
    weights : ndarray of shape (n_kernels,)
        Weights of the kernels.

    Returns
    -------
    SupportKernels
        The restricted kernels. Where training samples lacked modalities, or values
        are divided by norms, the mean kernel value of a new sample with all training
        samples is needed, so that these stay stored.
    """
    restricted = copy(kernels)
    restricted._fitted = [
        _restrict(fitted, support, weight, is_complete=kernels._factors is None)
        for fitted, weight in zip(kernels._fitted, weights, strict=True)
    ]
    restricted._widths = [
        len(support) if isinstance(fitted.normalization, ShiftedScaling) else width
        for fitted, width in zip(restricted._fitted, kernels._widths, strict=True)
    ]
    return SupportKernels(restricted, support, weights)


def _restrict(
    fitted: FittedKernel, support: np.ndarray, weight: float, *, is_complete: bool
) -> FittedKernel:
    scaling = fitted.normalization
    if weight == 0:  # it is never computed again
        return replace(fitted, training=None)
    # centring and norms of new samples need their values with all training samples
    if (
        not is_complete
        or isinstance(scaling, ShiftedScaling)
        or scaling.norms is not None
    ):
        return fitted
    means = np.zeros(len(support)) if scaling.means is None else scaling.means[support]
    training, columns = None, None
    if fitted.function.is_precomputed:
        columns = support if fitted.columns is None else fitted.columns[support]
    elif fitted.training is not None:
        training = fitted.training[support]
    return replace(
        fitted,
        observed=fitted.observed[support],
        training=training,
        normalization=ShiftedScaling(means, scaling.size),
        columns=columns,
    )
