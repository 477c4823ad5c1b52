"""Modalities beside predictions, as further features of a final estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import sparse

from mmfusion._blocks import is_sequences, over_all_samples
from mmfusion._scaling import fit_scaling
from mmfusion._typing import NumericBlock
from mmfusion.fusion._branch import Branch
from mmfusion.modalities import Modalities


@dataclass(frozen=True)
class PassedModalities:
    """Scaled modalities that a final estimator gets beside predictions.

    Parameters
    ----------
    branches : list of Branch
        Fitted branches of single modalities.
    means : list of ndarray of shape (n_features,)
        Mean of each scaled modality in `fit`, in place of missing ones; 0 for sparse
        ones.
    """

    branches: list[Branch]
    means: list[np.ndarray]

    @classmethod
    def fit(
        cls,
        branches: Sequence[Branch],
        frame: Modalities,
        sample_weight: np.ndarray | None,
    ) -> Self:
        """Compute the means of scaled modalities.

        Parameters
        ----------
        branches : list of Branch
            Fitted branches, of which those of several modalities are left out.
        frame : Modalities
            Samples of `fit`.
        sample_weight : ndarray of shape (n_samples,) or None
            Their weights.

        Returns
        -------
        PassedModalities
            The modalities and their means.

        Raises
        ------
        ValueError
            If a modality holds sequences or text, or no branch is of one modality.
        """
        alone = [b for b in branches if len(b.modalities) == 1]
        if not alone:
            raise ValueError(
                "passthrough=True gives the modalities of branches of one modality to "
                "the final estimator, but all of these are dropped or of weight 0: "
                "keep one, or give passthrough=False"
            )
        means = []
        for branch in alone:
            block = frame.blocks[branch.modalities[0]]
            if branch.as_given or is_sequences(block):
                held = "text or categories" if branch.as_given else "sequences"
                raise ValueError(
                    f"passthrough=True gives every modality to the final estimator as "
                    f"numbers, but modality {branch.name!r} holds {held}; encode or "
                    "pool it before, by PerModality or SequencePooling, or give "
                    "passthrough=False"
                )
            observed = branch.observed(frame)
            scaled = branch.transform(frame, observed)
            weight = None if sample_weight is None else sample_weight[observed]
            # sparse modalities are not centred, and their means stay 0
            means.append(fit_scaling(scaled, "standard", weight).center)
        return cls(alone, means)

    def beside(
        self, predictions: np.ndarray, frame: Modalities, *, fill: bool = True
    ) -> NumericBlock:
        """Concatenate predictions and the scaled modalities.

        Parameters
        ----------
        predictions : ndarray of shape (n_samples, n_predictions)
            Features that come first.
        frame : Modalities
            The samples.
        fill : bool, default=True
            Whether missing modalities are replaced by their means, instead of NaN.
            Sparse ones are 0 in either case.

        Returns
        -------
        ndarray or CSR matrix of shape (n_samples, n_features)
            The predictions, then modality after modality.
        """
        pieces: list[Any] = [predictions]
        for branch, mean in zip(self.branches, self.means, strict=True):
            observed = branch.observed(frame)
            if observed.any():
                matrix = branch.transform(frame, observed)
                default = mean if fill else np.full_like(mean, np.nan)
                pieces.append(rows_over_all_samples(matrix, observed, default))
            else:
                row = mean if fill else np.full_like(mean, np.nan)
                pieces.append(np.tile(row, (len(frame), 1)))
        if any(map(sparse.issparse, pieces)):
            return sparse.csr_array(sparse.hstack(pieces, format="csr"))
        return np.hstack(pieces)


def rows_over_all_samples(
    matrix: Any, rows: np.ndarray, default: np.ndarray | float
) -> NumericBlock:
    """Spread the rows of some samples over all samples.

    Parameters
    ----------
    matrix : ndarray or CSR matrix of shape (n_rows, n_features)
        The rows.
    rows : ndarray of bool of shape (n_samples,)
        The samples that they belong to.
    default : float or ndarray of shape (n_features,)
        Row of other samples in a dense matrix; in a sparse one they are empty.

    Returns
    -------
    ndarray or CSR matrix of shape (n_samples, n_features)
        The rows of all samples.
    """
    if not sparse.issparse(matrix):
        return over_all_samples(matrix, rows, default)
    # empty rows are inserted without a dense array
    lengths = np.zeros(len(rows) + 1, dtype=matrix.indptr.dtype)
    lengths[1:][rows] = np.diff(matrix.indptr)
    edges = np.cumsum(lengths, dtype=lengths.dtype)
    shape = (len(rows), matrix.shape[1])
    return sparse.csr_array((matrix.data, matrix.indices, edges), shape=shape)
