"""Spectral clustering of the graphs of several modalities."""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.preprocessing import normalize

from mmfusion._sklearn_compat import Interval, StrOptions
from mmfusion._typing import ByModality, ColumnSpecLike, NumericBlock, RandomStateLike
from mmfusion.clustering.graph._base import BaseGraphClusterer, warn_of_parts
from mmfusion.clustering.graph._eigenvectors import leading_eigenvectors
from mmfusion.clustering.graph._embeddings import (
    blend,
    co_regularized_vectors,
    fuse_graphs,
    learn_graph_weights,
    side_by_side,
)
from mmfusion.clustering.graph._neighbors import NEIGHBOR_SEARCHES
from mmfusion.clustering.graph._spread import total_spread
from mmfusion.modalities import Modalities

FUSIONS = ("blend", "average", "auto_weight", "co_regularized", "concatenated")


class SpectralClusterer(BaseGraphClusterer):
    """Cluster by the leading eigenvectors of the graphs of all modalities.

    Every modality has a graph of nearest samples with the normalised adjacency A_v. By
    `fusion` the embedding of the samples is

    - 'average': the eigenvectors F that maximise ``tr(F' sum_v A_v F)`` over
      ``F'F = I``, the normalised cut of the mean of the graphs;
    - 'auto_weight': the same of ``sum_v w_v A_v``, where a graph counts the more the
      better the common cut suits it, ``w_v = 1 / (2 sqrt(tr(F'(I - A_v)F)))`` [1]_;
    - 'co_regularized': eigenvectors U_v of every graph side by side, which maximise
      ``sum_v tr(U_v' A_v U_v) + coupling sum_{v != w} tr(U_v U_v' U_w U_w')`` [2]_;
    - 'blend': the leading left singular vectors of F beside all U_v;
    - 'concatenated': the eigenvectors of one graph of the scaled concatenation.

    Rows of the embedding have unit norm, and are clustered by k-means (Ng, Jordan and
    Weiss 2001).

    Parameters
    ----------
    n_clusters : int or 'auto', default=None
        Number of clusters, and of eigenvectors. None is 8, or in a comparison the
        number of classes; 'auto' chooses one of 2 to 20 by the modularity of clusters
        in the mean graph and, of those of the other modalities, in the graph of each.
    fusion : {'blend', 'average', 'auto_weight', 'co_regularized', 'concatenated'}, \
default='blend'
        How the graphs are fused. 'average' suits modalities of like quality, also if
        they are paired by class only; 'co_regularized' those of which some are weak;
        'blend' lies between them.
    coupling : float, default=0.05
        Weight of the agreement between modalities, for 'co_regularized' and 'blend'.
        Larger ones make the graphs more alike than their clusters are.
    n_neighbors : int, default=10
        Number of neighbours of a sample, fewer if a modality has fewer samples.
    affinity : {'self_tuned', 'adaptive', 'precomputed'}, default='self_tuned'
        Weights of the neighbours: Gaussian with the distance to the 7th neighbour as
        local scale [3]_; decreasing to 0 at the next neighbour [4]_; or the modalities
        are matrices of nonnegative symmetric affinities themselves, such as kernels of
        sequences by `DTWKernel`.
    neighbor_search : {'exact', 'approximate'}, default='exact'
        Search of the nearest samples of `fit`. 'approximate' takes less time for many
        samples, and finds nearly all of the neighbours; fewer than 20,000 samples,
        sparse modalities and the neighbours of new samples are searched exactly. It
        needs ``mmfusion[neighbors]``, and compiles for some 25 seconds.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality before distances, as in `EarlyFusion`.
    zero_rows : {'warn', 'missing', 'keep'}, default='warn'
        What rows of zeros are: 'missing' marks them as missing modalities. 'warn' takes
        them as they are, with a warning if they are more than 5 % of a modality.
    n_init : int, default=10
        Number of runs of k-means.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of threads; None is one, -1 is all processors.
    random_state : int, RandomState instance or None, default=None
        Seed of starting vectors and of k-means.
    verbose : bool or int, default=False
        Whether to show the progress of the steps of `fit`: True or 1 by a bar, where
        tqdm is installed and stderr is a terminal or a notebook, else by lines with
        their seconds; 2 by lines.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample.
    embedding_ : ndarray of shape (n_samples, n_dimensions)
        Embedding of the samples.
    n_clusters_ : int
        Number of clusters.
    n_clusters_evidence_ : dict of str to ndarray
        For ``n_clusters='auto'``: the numbers ('n_clusters'), 'modularity' in the mean
        graph, and 'modularity_in_others' of several graphs.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights of the graphs, which add up to 1; 0 for constant modalities.
    eigenvalues_ : ndarray of shape (n_clusters,)
        Leading eigenvalues of the fused graph; of 'co_regularized' those of the mean.
    objective_path_ : list of float
        Objective of 'co_regularized' and 'blend' after each sweep.
    scaling_ : dict of str to {'block', 'standard', 'l2'} or None
        Scaling of each modality.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Number of features of each modality.
    n_features_in_ : int
        Total number of features.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If there are fewer samples than clusters, all modalities are constant,
        precomputed affinities are not square, symmetric and nonnegative, or samples
        lack modalities with ``fusion='concatenated'``.

    See Also
    --------
    MKLClusterer : Clusters by a weighted sum of kernels of all pairs.
    EarlyFusionClusterer : Clusters the concatenation of the modalities.

    Notes
    -----
    Samples that lack a modality have no edges in its graph; their embedding comes from
    the others. `predict` keeps the samples of `fit`, among which it searches the
    neighbours of new ones. No matrix of n by n entries is made: time is that of the
    search of neighbours, and memory linear in the number of samples.

    References
    ----------
    .. [1] F. Nie, J. Li, X. Li (2016), Parameter-free auto-weighted multiple graph
       learning. IJCAI.
    .. [2] A. Kumar, P. Rai, H. Daume (2011), Co-regularized multi-view spectral
       clustering. NeurIPS.
    .. [3] L. Zelnik-Manor, P. Perona (2004), Self-tuning spectral clustering. NeurIPS.
    .. [4] F. Nie, X. Wang, H. Huang (2014), Clustering and projected clustering with
       adaptive neighbors. KDD.

    Examples
    --------
    >>> from mmfusion import SpectralClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> clusterer = SpectralClusterer(n_clusters=3, random_state=0).fit(X[:80])
    >>> clusterer.embedding_.shape
    (80, 3)
    >>> clusterer.predict(X[80:]).shape
    (20,)
    >>> SpectralClusterer("auto", random_state=0).fit(X).n_clusters_
    3
    """

    _parameter_constraints: dict = {
        **BaseGraphClusterer._parameter_constraints,
        "fusion": [StrOptions(set(FUSIONS))],
        "coupling": [Interval(Real, 0, None, closed="left")],
        "neighbor_search": [StrOptions(set(NEIGHBOR_SEARCHES))],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_clusters: int | str | None = None,
        *,
        fusion: str = "blend",
        coupling: float = 0.05,
        n_neighbors: int = 10,
        affinity: str = "self_tuned",
        neighbor_search: str = "exact",
        scaling: ByModality[str | None] = "auto",
        zero_rows: str = "warn",
        n_init: int = 10,
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.fusion = fusion
        self.coupling = coupling
        self.n_neighbors = n_neighbors
        self.affinity = affinity
        self.neighbor_search = neighbor_search
        self.scaling = scaling
        self.zero_rows = zero_rows
        self.n_init = n_init
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _graphs_of(
        self, blocks: list[NumericBlock], observed: np.ndarray
    ) -> tuple[list[sparse.csr_array], np.ndarray]:
        if self.fusion != "concatenated":
            return super()._graphs_of(blocks, observed)
        if self.affinity == "precomputed":
            raise ValueError(
                "fusion='concatenated' joins features; precomputed affinities have "
                "none: choose fusion='average'"
            )
        if not observed.all():
            raise ValueError(
                "zero_rows='missing' leaves samples without a modality, which "
                "fusion='concatenated' needs; choose fusion='average'"
            )
        everywhere = np.ones((observed.shape[0], 1), dtype=bool)
        self._lengths = [1 / total_spread(block) for block in blocks]
        return super()._graphs_of([self._joined(blocks)], everywhere)

    def _joined(self, blocks: list[NumericBlock]) -> NumericBlock:
        """Concatenate scaled modalities, each of the same total variance."""
        pieces = [b * length for b, length in zip(blocks, self._lengths, strict=True)]
        if any(map(sparse.issparse, pieces)):
            return sparse.hstack(pieces, format="csr")
        return np.hstack(pieces)

    def _queries(self, frame: Modalities, observed: np.ndarray) -> Any:
        if self.fusion != "concatenated":
            return super()._queries(frame, observed)
        blocks = [s.apply(b) for s, b in zip(self._scalings, frame.blocks, strict=True)]
        everywhere = np.ones(len(frame), dtype=bool)
        return [(self._joined(blocks), everywhere, self._interpolations[0])]

    def _embed_graphs(
        self,
        graphs: list[sparse.csr_array],
        observed: np.ndarray,
        rng: np.random.RandomState,
    ) -> np.ndarray:
        if self.n_clusters == "auto":
            mean = fuse_graphs(graphs, observed)
            self._choose_n_clusters(mean, graphs, observed, rng)
        k = self.n_clusters_
        weights = np.full(len(graphs), 1 / len(graphs))
        if self.fusion == "auto_weight":
            weights = learn_graph_weights(graphs, observed, k, rng)
        self._set_modality_weights(weights)
        fused = fuse_graphs(graphs, observed, weights)
        warn_of_parts(fused, k)
        self.eigenvalues_, F = leading_eigenvectors(fused, k, rng)
        if self.fusion in ("average", "auto_weight", "concatenated"):
            return normalize(F)
        vectors, path = co_regularized_vectors(graphs, k, float(self.coupling), rng)
        self.objective_path_ = path
        if self.fusion == "co_regularized":
            return side_by_side(vectors, observed)
        return blend(F, vectors, observed)

    def _set_modality_weights(self, weights: np.ndarray) -> None:
        n_modalities = len(self._layout.names)
        if self.fusion == "concatenated":  # by construction all count alike
            self.modality_weights_ = np.full(n_modalities, 1 / n_modalities)
            return
        self.modality_weights_ = np.zeros(n_modalities)
        self.modality_weights_[self._kept] = weights

    def __modality_tags__(self) -> Any:
        tags = super().__modality_tags__()
        return replace(tags, missing=self.fusion != "concatenated")
