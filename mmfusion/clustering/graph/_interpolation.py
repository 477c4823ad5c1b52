"""Embedding of new samples between their neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from mmfusion._typing import NumericBlock
from mmfusion.clustering.graph._affinities import interpolation_weights
from mmfusion.clustering.graph._neighbors import nearest_samples
from mmfusion.clustering.graph._spread import within_range


@dataclass(frozen=True)
class Interpolation:
    """Samples of one modality, between which new ones are embedded.

    Parameters
    ----------
    rows : ndarray of int of shape (n_samples,)
        Positions in the embedding of the samples that have the modality.
    block : ndarray or CSR matrix of shape (n_samples, n_features) or None
        Their values; None for precomputed affinities.
    scales : ndarray of shape (n_samples,)
        Their scales; see `local_scales`.
    """

    rows: np.ndarray
    block: NumericBlock | None
    scales: np.ndarray

    def embed(
        self,
        queries: NumericBlock,
        embedding: np.ndarray,
        n_neighbors: int,
        n_jobs: int | None,
    ) -> np.ndarray:
        """Compute the weighted means of the embeddings of neighbours.

        Parameters
        ----------
        queries : ndarray or CSR matrix of shape (n_queries, n_features)
            New samples; for precomputed affinities, those with all samples of `fit`.
        embedding : ndarray of shape (n_fitted, n_dimensions)
            Embedding of all samples of `fit`.
        n_neighbors : int
            Number of neighbours.
        n_jobs : int or None
            Number of threads of the search.

        Returns
        -------
        ndarray of shape (n_queries, n_dimensions)
            The means; 0 for a sample without affinity to any other.
        """
        if self.block is None:
            weights = sparse.csr_array(queries)[:, self.rows]
            totals = np.asarray(weights.sum(axis=1))
            means = weights @ embedding[self.rows]
            return means / np.where(totals > 0, totals, 1)[:, None]
        distances, indices = nearest_samples(
            self.block, n_neighbors, within_range(queries), n_jobs=n_jobs
        )
        weights = interpolation_weights(distances, self.scales, indices)
        return np.einsum("ij,ijd->id", weights, embedding[self.rows[indices]])
