"""Graph-based multi-view clustering: one graph with a component for each cluster."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import normalize

from mmfusion._sklearn_compat import Interval, StrOptions
from mmfusion._typing import ByModality, ColumnSpecLike, NumericBlock, RandomStateLike
from mmfusion._warnings import warn_user
from mmfusion.clustering.graph._affinities import (
    adaptive_graph,
    among_all,
    local_scales,
    normalized_adjacency,
)
from mmfusion.clustering.graph._base import BaseGraphClusterer
from mmfusion.clustering.graph._embeddings import fuse_graphs
from mmfusion.clustering.graph._gmc import CandidateEdges, UnifiedGraph, unify_graphs
from mmfusion.clustering.graph._interpolation import Interpolation
from mmfusion.clustering.graph._neighbors import NEIGHBOR_SEARCHES, nearest_samples
from mmfusion.clustering.graph._spread import total_variance

# of the largest component, above which users are warned: of two, and of more clusters
LARGEST_SHARE_OF_TWO = 0.9
LARGEST_SHARE = 0.5

Neighbors = tuple[np.ndarray, np.ndarray]


class GMCClusterer(BaseGraphClusterer):
    r"""Cluster by a unified graph that has a component for each cluster (GMC).

    Graphs :math:`S_v` of all modalities and the unified graph U minimise

    .. math::

        \sum_v \sum_i \Big( \sum_j d_{ij,v}^2 s_{ij}^v + \alpha_i \|s_i^v\|^2 \Big)
        + \sum_v w_v \|U - S_v\|_F^2 + 2 \lambda \operatorname{tr}(F^\top L_U F)

    over :math:`F^\top F = I` and rows that are nonnegative and add up to 1, with the
    Laplacian :math:`L_U` of the mean of U and its transpose, and the weights
    :math:`w_v = 1 / (2 \|U - S_v\|_F)` [1]_. The regularisation :math:`\alpha_i` is
    such that a sample has `n_neighbors` neighbours. The weight :math:`\lambda` starts
    at 1; it is doubled while U has fewer components than clusters and halved while it
    has more, until the components are the clusters.

    Parameters
    ----------
    n_clusters : int or 'auto', default=None
        Number of clusters. None is 8, or in a comparison the number of classes; 'auto'
        chooses one of 2 to 20 by the modularity of clusters in the mean graph and, of
        those of the other modalities, in the graph of each.
    n_neighbors : int, default=15
        Number of neighbours of a sample, fewer if a modality has fewer samples.
    max_iter : int, default=30
        Largest number of rounds.
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
        Number of runs of k-means, which has something to do only where the components
        are not the clusters.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of threads; None is one, -1 is all processors.
    random_state : int, RandomState instance or None, default=None
        Seed of the starting vectors of Lanczos' method.
    verbose : bool or int, default=False
        Whether to show the progress of the steps of `fit`: True or 1 by a bar, where
        tqdm is installed and stderr is a terminal or a notebook, else by lines with
        their seconds; 2 by lines.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample.
    embedding_ : ndarray of shape (n_samples, n_clusters)
        Eigenvectors of the smallest eigenvalues of the Laplacian, in rows of unit norm:
        indicators of the components.
    n_clusters_ : int
        Number of clusters.
    n_clusters_evidence_ : dict of str to ndarray
        For ``n_clusters='auto'``: the numbers ('n_clusters'), 'modularity' in the mean
        graph, and 'modularity_in_others' of several modalities.
    n_components_ : int
        Number of components of the unified graph.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights of the modalities, which add up to 1; 0 for constant modalities.
    eigenvalues_ : ndarray of shape (n_clusters,)
        Smallest eigenvalues of the Laplacian, 0 for each component.
    n_iter_ : int
        Number of rounds.
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
        If there are fewer samples than clusters, or all modalities are constant.

    Warns
    -----
    ConvergenceWarning
        If the unified graph has more or fewer components than clusters; the rows of
        `embedding_` are clustered by k-means then.
    UserWarning
        If one component has more than half of the samples (of two, more than 90 %): a
        sign that single outlying groups were cut off instead of clusters.

    See Also
    --------
    SpectralClusterer : Cuts sums of graphs; safer where clusters touch.

    Notes
    -----
    Distances of a modality are divided by the root of its total variance, so that units
    do not count. The unified graph has edges to the nearest samples of any modality.
    Its rows minimise the objective exactly, ``sum_v w_v ||u - s_v||^2 + lambda u' g``
    with ``g_j = ||f_i - f_j||^2``; the program of the authors averages the modalities
    in this step without their weights. Samples may lack modalities: their row of U is
    that of the others, and w_v counts the rows that a modality has; it is at most
    ``50 / ||U||_F``. New samples are no part of the method; `predict` takes the mean of
    the clusters of the nearest samples of `fit`.

    References
    ----------
    .. [1] H. Wang, Y. Yang, B. Liu (2020), GMC: Graph-based multi-view clustering. IEEE
       Transactions on Knowledge and Data Engineering 32, 1116-1129.

    Examples
    --------
    >>> from mmfusion import GMCClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> clusterer = GMCClusterer(n_clusters=3, random_state=0).fit(X[:80])
    >>> clusterer.n_components_
    3
    >>> clusterer.predict(X[80:]).shape
    (20,)
    """

    _parameter_constraints: dict = {
        **{
            name: constraint
            for name, constraint in BaseGraphClusterer._parameter_constraints.items()
            if name != "affinity"
        },
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "neighbor_search": [StrOptions(set(NEIGHBOR_SEARCHES))],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_clusters: int | str | None = None,
        *,
        n_neighbors: int = 15,
        max_iter: int = 30,
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
        self.n_neighbors = n_neighbors
        self.max_iter = max_iter
        self.neighbor_search = neighbor_search
        self.scaling = scaling
        self.zero_rows = zero_rows
        self.n_init = n_init
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @property
    def affinity(self) -> str:  # type: ignore[override]
        """Return the kind of the weights of neighbours, which are adaptive."""
        return "adaptive"

    def _graph(
        self, block: NumericBlock, rows: np.ndarray, n_samples: int
    ) -> tuple[Neighbors, Interpolation | None]:
        """Search the nearest samples, with distances relative to the spread of all."""
        distances, indices = nearest_samples(
            block,
            self.n_neighbors + 1,
            n_jobs=self.n_jobs,
            search=self.neighbor_search,
        )
        spread = np.sqrt(total_variance(block))
        if spread == 0:
            return (distances, indices), None
        interpolation = Interpolation(rows, block, local_scales(distances, spread))
        return (distances / spread, indices), interpolation

    def _embed_graphs(
        self,
        graphs: list[Neighbors],
        observed: np.ndarray,
        rng: np.random.RandomState,
    ) -> np.ndarray:
        if self.n_clusters == "auto":
            own = _modality_graphs(graphs, observed)
            self._choose_n_clusters(fuse_graphs(own, observed), own, observed, rng)
        # samples without an edge would be components
        placed = observed.any(axis=1)
        rows = [np.flatnonzero(seen) for seen in observed[placed].T]
        indices = [near for _, near in graphs]
        edges = CandidateEdges.of(int(placed.sum()), indices, rows)
        distances = [own for own, _ in graphs]
        unified = unify_graphs(distances, edges, self.n_clusters_, self.max_iter, rng)
        self.n_components_ = unified.n_components
        self.n_iter_ = unified.n_iter
        self.eigenvalues_ = unified.eigenvalues
        self.modality_weights_ = np.zeros(len(self._layout.names))
        self.modality_weights_[self._kept] = unified.weights / unified.weights.sum()
        self._warn(unified)
        embedding = np.zeros((len(observed), self.n_clusters_))
        embedding[placed] = normalize(unified.vectors)
        return embedding

    def _warn(self, unified: UnifiedGraph) -> None:
        k = self.n_clusters_
        if unified.n_components != k:
            remedy = (
                "more rounds (max_iter) or fewer neighbours (n_neighbors) separate more"
                if unified.n_components < k
                else "more neighbours (n_neighbors) join some of them"
            )
            warn_user(
                f"the unified graph has {unified.n_components} components after "
                f"{unified.n_iter} rounds, not n_clusters={k}; {remedy}",
                ConvergenceWarning,
            )
            return
        share = np.bincount(unified.components).max() / len(unified.components)
        if k > 1 and share > (LARGEST_SHARE_OF_TWO if k == 2 else LARGEST_SHARE):
            warn_user(
                f"one of {k} clusters has {share:.0%} of the samples: the unified "
                "graph may have lost small groups of outlying samples instead of "
                "coming apart at its clusters; compare with SpectralClusterer, which "
                "balances them",
            )

    def __modality_tags__(self) -> Any:
        return replace(super().__modality_tags__(), holds_kernel=None)


def _modality_graphs(
    neighbors: list[Neighbors], observed: np.ndarray
) -> list[sparse.csr_array]:
    """Return the normalised graphs of all modalities."""
    return [
        among_all(
            normalized_adjacency(adaptive_graph(*near)),
            np.flatnonzero(seen),
            len(observed),
        )
        for near, seen in zip(neighbors, observed.T, strict=True)
    ]
