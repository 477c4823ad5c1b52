"""Base of the clusterers of graphs of nearest samples."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.preprocessing import normalize
from sklearn.utils import check_random_state

from mmfusion._block_checks import ModalityTags
from mmfusion._blocks import of_samples
from mmfusion._options import by_modality
from mmfusion._precomputed import as_precomputed, refuse_to_split_modalities
from mmfusion._progress import FitProgress
from mmfusion._row_chunks import by_row_chunks
from mmfusion._scaling import SCALINGS, Scaling, fit_scaling
from mmfusion._scaling_choice import resolve_scalings
from mmfusion._sklearn_compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
)
from mmfusion._threads import threads_of_n_jobs
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    ModalitiesLike,
    NumericBlock,
    RandomStateLike,
)
from mmfusion._validation import refuse_empty_samples
from mmfusion._warnings import warn_user
from mmfusion.base import ModalityMixin
from mmfusion.clustering.graph._affinities import (
    adaptive_graph,
    among_all,
    local_scales,
    normalized_adjacency,
    self_tuned_graph,
)
from mmfusion.clustering.graph._eigenvectors import count_parts
from mmfusion.clustering.graph._interpolation import Interpolation
from mmfusion.clustering.graph._n_clusters import choose_n_clusters
from mmfusion.clustering.graph._neighbors import nearest_samples
from mmfusion.clustering.graph._spread import refuse_overflow, total_variance
from mmfusion.clustering.graph._zero_rows import ZERO_ROWS, observed_samples
from mmfusion.metrics import modality_silhouette_score
from mmfusion.modalities import Modalities

DEFAULT_GRAPH_CLUSTERS = 8
AFFINITIES = ("self_tuned", "adaptive", "precomputed")


class BaseGraphClusterer(
    ModalityMixin, ClusterMixin, CallbackSupportMixin, BaseEstimator
):
    """Base of clusterers that cut graphs of nearest samples.

    A subclass implements `_embed_graphs`.
    """

    n_clusters: int | str | None
    n_neighbors: int
    affinity: str
    neighbor_search: str
    scaling: ByModality[str | None]
    zero_rows: str
    n_init: int
    modalities: ColumnSpecLike
    n_jobs: int | None
    random_state: RandomStateLike

    _parameter_constraints: dict = {
        "n_clusters": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
            None,
        ],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "affinity": [StrOptions(set(AFFINITIES))],
        "scaling": [StrOptions(set(SCALINGS)), None, dict],
        "zero_rows": [StrOptions(set(ZERO_ROWS))],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "modalities": ["array-like", str, dict, Integral, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def _embed_graphs(
        self,
        graphs: list[sparse.csr_array],
        observed: np.ndarray,
        rng: np.random.RandomState,
    ) -> np.ndarray:
        """Embed the samples of normalised graphs; choose `n_clusters_` if 'auto'."""
        raise NotImplementedError

    @fit_context(prefer_skip_nested_validation=True)
    @threads_of_n_jobs
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Embed the samples by the graphs of the modalities, and cluster them.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input. Precomputed affinities may also be
            one array of shape (n_samples, n_samples, n_modalities), which
            scikit-learn's searches and cross-validation split; a sample that lacks a
            modality has NaN in its row (its column is not read).
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted clusterer.
        """
        frame = self._validate(X, reset=True)
        refuse_empty_samples(frame)
        self._check_n_samples(len(frame))
        if self.n_clusters != "auto":
            self.n_clusters_ = self._k
        rng = check_random_state(self.random_state)
        observed = observed_samples(frame, self.zero_rows, self._precomputed_names())
        with FitProgress(self, X, y, 3) as progress:
            with progress.timed("graphs of nearest samples"):
                graphs, observed = self._fit_graphs(frame, observed)
            placed = np.asarray(observed.any(axis=1))
            self._warn_of_unplaced(placed, self._kept)
            self._check_n_samples(int(placed.sum()))
            with progress.timed("embedding"):
                self.embedding_ = self._embed_graphs(graphs, observed, rng)
            k_means = KMeans(self.n_clusters_, n_init=self.n_init, random_state=rng)
            with progress.timed("k-means"):
                # samples that no graph places are at the origin, and no cluster
                self._k_means = k_means.fit(self.embedding_[placed])
        self.labels_ = self._k_means.predict(self.embedding_)
        progress.finish()
        return self

    @by_row_chunks
    @threads_of_n_jobs
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the clusters of new samples.

        In every modality that a sample has, the embeddings of its nearest samples of
        `fit` are averaged; the mean over the modalities goes to the nearest centre.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; of precomputed affinities, those with the samples of `fit`.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            Clusters.
        """
        embedded = self._interpolate(X)
        return self._k_means.predict(embedded)

    def score(self, X: ModalitiesLike, y: object = None) -> float:
        """Score the clusters of samples without classes.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        float
            Mean silhouette over the modalities, of at most 2000 samples.
        """
        frame = self._validate(X, reset=False)
        return modality_silhouette_score(frame, self.predict(frame))

    def _validate(
        self, X: ModalitiesLike, *, reset: bool, raw: bool = False
    ) -> Modalities:
        if self._is_precomputed:
            X = as_precomputed(X, reset=reset)
        return super()._validate(X, reset=reset, raw=raw)

    # Graphs

    def _fit_graphs(
        self, frame: Modalities, observed: np.ndarray
    ) -> tuple[list[sparse.csr_array], np.ndarray]:
        """Make the normalised graph of every modality that is not constant."""
        names = frame.names
        self._scalings = self._fit_scalings(frame, observed)
        self.scaling_ = {n: s.name for n, s in zip(names, self._scalings, strict=True)}
        blocks = [self._scaled(frame, v, observed[:, v]) for v in range(len(names))]
        if self._is_precomputed:
            linked = sum(abs(block).sum(axis=1) for block in blocks) > 0
            observed = observed & np.reshape(linked, (-1, 1))
        return self._graphs_of(blocks, observed)

    def _graphs_of(
        self, blocks: list[NumericBlock], observed: np.ndarray
    ) -> tuple[list[sparse.csr_array], np.ndarray]:
        graphs = []
        self._interpolations: list[Interpolation | None] = []
        for block, seen in zip(blocks, observed.T, strict=True):
            graph, interpolation = self._graph(block, np.flatnonzero(seen), len(seen))
            self._interpolations.append(interpolation)
            graphs.append(graph)
        kept = [i for i in range(len(graphs)) if self._interpolations[i] is not None]
        if not kept:
            raise ValueError(
                "all modalities are constant: no graph distinguishes samples"
            )
        self._kept = np.array(kept)
        return [graphs[i] for i in kept], observed[:, kept]

    def _graph(
        self, block: NumericBlock, rows: np.ndarray, n_samples: int
    ) -> tuple[sparse.csr_array, Interpolation | None]:
        """Make the graph of the samples that have a modality, among all samples."""
        if self._is_precomputed:
            graph = sparse.csr_array(block)
            own = Interpolation(rows, None, np.ones(0)) if graph.nnz else None
            return normalized_adjacency(graph), own
        variance = total_variance(block)
        if variance == 0:
            return sparse.csr_array((n_samples, n_samples)), None
        wanted = self.n_neighbors + (self.affinity == "adaptive")
        distances, indices = nearest_samples(
            block, wanted, n_jobs=self.n_jobs, search=self.neighbor_search
        )
        make = adaptive_graph if self.affinity == "adaptive" else self_tuned_graph
        local = normalized_adjacency(make(distances, indices))
        graph = among_all(local, rows, n_samples)
        # of categories, all nearest samples are copies: the spread of all is the scale
        scales = local_scales(distances, np.sqrt(variance))
        return graph, Interpolation(rows, block, scales)

    def _fit_scalings(self, frame: Modalities, observed: np.ndarray) -> list[Scaling]:
        if self._is_precomputed:
            return [Scaling(None) for _ in frame.names]
        given = by_modality(self.scaling, frame.names, "scaling", "auto", SCALINGS)
        chosen = resolve_scalings(frame, given)
        return [
            fit_scaling(of_samples(block, seen), name)
            for block, seen, name in zip(frame.blocks, observed.T, chosen, strict=True)
        ]

    def _scaled(self, frame: Modalities, v: int, seen: np.ndarray) -> NumericBlock:
        block = frame.blocks[v]
        if self._is_precomputed:
            return self._affinities_of(block, frame.names[v], seen)
        scaled = self._scalings[v].apply(of_samples(block, seen))
        refuse_overflow(scaled, frame.names[v])
        return scaled

    def _affinities_of(
        self, block: NumericBlock, name: str, seen: np.ndarray
    ) -> sparse.csr_array:
        """Check precomputed affinities; those of missing samples are 0."""
        n, m = block.shape
        if n != m:
            raise ValueError(
                f"modality {name!r}: precomputed affinities have a row and a column "
                f"for each sample of fit; got {n} rows and {m} columns"
            )
        block = block if sparse.issparse(block) else np.where(seen[:, None], block, 0)
        graph = sparse.csr_array(block)
        mask = sparse.diags_array(seen.astype(graph.dtype))
        graph = (mask @ graph @ mask).tocsr()
        if graph.nnz and not np.isfinite(graph.data).all():
            raise ValueError(f"modality {name!r}: some affinities are not finite")
        _refuse_negative(graph, name)
        skew = abs(graph - graph.T).max() if graph.nnz else 0.0
        if skew > 1e-5 * abs(graph).max():
            raise ValueError(
                f"modality {name!r}: the affinities are not symmetric; take "
                "(A + A.T) / 2"
            )
        return graph

    # New samples

    def _interpolate(self, X: ModalitiesLike) -> np.ndarray:
        frame = self._validate(X, reset=False)
        refuse_empty_samples(frame)
        observed = observed_samples(
            frame, self.zero_rows, self._precomputed_names(), warns=False
        )
        total = np.zeros((len(frame), self.embedding_.shape[1]))
        placed = np.zeros(len(frame), dtype=bool)
        for queries, seen, interpolation in self._queries(frame, observed):
            if interpolation is not None and seen.any():
                means = interpolation.embed(
                    queries, self.embedding_, self.n_neighbors, self.n_jobs
                )
                total[seen] += means
                placed[seen] |= means.any(axis=1) if self._is_precomputed else True
        self._warn_of_unplaced(placed, self._kept)
        return normalize(total).astype(self._k_means.cluster_centers_.dtype)

    def _queries(self, frame: Modalities, observed: np.ndarray) -> Any:
        """Iterate over scaled new samples, who they are, and their neighbours."""
        for v, interpolation in enumerate(self._interpolations):
            seen = observed[:, v]
            block = of_samples(frame.blocks[v], seen)
            if self._is_precomputed:
                _refuse_negative(block, frame.names[v])
            yield self._scalings[v].apply(block), seen, interpolation

    def _warn_of_unplaced(self, placed: np.ndarray, kept: np.ndarray) -> None:
        """Warn of samples that have none of the modalities that are kept."""
        if placed.all():
            return
        constant = np.delete(self._layout.names, kept).tolist()
        reason = (
            "have no affinity to any sample of fit"
            if self._is_precomputed
            else f"have only modalities that are constant, of {constant}"
        )
        warn_user(
            f"{np.count_nonzero(~placed)} of {len(placed)} samples, first sample "
            f"{placed.argmin()}, {reason}: no graph places them, and all are assigned "
            "to one cluster. Leave them out, or give them a further modality",
        )

    def _choose_n_clusters(
        self,
        whole: sparse.csr_array,
        graphs: list[sparse.csr_array],
        observed: np.ndarray,
        rng: np.random.RandomState,
    ) -> None:
        """Set `n_clusters_` by the graph of all modalities and those of each."""
        chosen = choose_n_clusters(whole, graphs, observed, rng)
        self.n_clusters_, self.n_clusters_evidence_ = chosen

    def _check_n_samples(self, n_samples: int) -> None:
        if self.n_clusters == "auto" and n_samples < 3:
            raise ValueError(
                f"n_samples={n_samples}, but n_clusters='auto' compares numbers from 2 "
                "on, for which it needs at least 3 samples; give n_clusters"
            )
        k = 2 if self.n_clusters == "auto" else self._k
        if n_samples < max(2, k):
            raise ValueError(
                f"n_samples={n_samples} should be >= n_clusters={k}, and at least 2"
            )

    @property
    def _k(self) -> int:
        """Number of clusters that is given."""
        given = self.n_clusters
        return DEFAULT_GRAPH_CLUSTERS if given is None else int(given)

    def _precomputed_names(self) -> tuple[str, ...]:
        if not self._is_precomputed:
            return ()
        return tuple(self._layout.names)

    @property
    def _is_precomputed(self) -> bool:
        """Whether blocks are affinities; not those of estimators without the choice."""
        return getattr(self, "affinity", None) == "precomputed"

    def _holds_affinities(self, name: str) -> bool:
        return self._is_precomputed

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(
            missing=True,
            sparse=True,
            same_dtype=True,
            holds_kernel=self._holds_affinities,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self._is_precomputed
        if self._is_precomputed:
            refuse_to_split_modalities(self)
        return tags


def warn_of_parts(graph: sparse.csr_array, n_clusters: int) -> None:
    """Warn if a graph has more parts than clusters, which cuts choose from arbitrarily.

    Parameters
    ----------
    graph : CSR matrix of shape (n_samples, n_samples)
        The fused graph.
    n_clusters : int
        Number of clusters.
    """
    n_parts = count_parts(graph)
    if n_parts > n_clusters:
        warn_user(
            f"the graph of all modalities has {n_parts} parts without an edge between "
            f"them, more than the {n_clusters} clusters: the smaller parts are "
            "assigned to clusters arbitrarily. Raise n_neighbors, or n_clusters",
        )


def _refuse_negative(affinities: NumericBlock, name: str) -> None:
    if 0 not in affinities.shape and affinities.min() < 0:
        raise ValueError(
            f"modality {name!r}: precomputed affinities are nonnegative, and one is "
            f"{affinities.min()}; of distances, take np.exp(-distances)"
        )
