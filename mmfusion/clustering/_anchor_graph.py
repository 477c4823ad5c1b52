"""Clustering by graphs of samples and anchors, linear in the number of samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Self

import numpy as np
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.utils import check_random_state

from mmfusion._block_checks import ModalityTags
from mmfusion._dask_arrays import is_dask_array
from mmfusion._pieces import release_pages
from mmfusion._progress import FitProgress
from mmfusion._sklearn_compat import Interval, StrOptions, fit_context
from mmfusion._threads import threads_of_n_jobs
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    ModalitiesLike,
    NumericBlock,
    RandomStateLike,
)
from mmfusion._validation import refuse_empty_samples
from mmfusion.clustering.graph._anchor_rows import anchor_gram, anchor_labels
from mmfusion.clustering.graph._anchors import (
    AnchorGraph,
    choose_anchors,
    fit_anchor_embedding,
    gram_of_weights,
)
from mmfusion.clustering.graph._base import BaseGraphClusterer
from mmfusion.clustering.graph._spread import refuse_overflow, total_variance
from mmfusion.clustering.graph._zero_rows import observed_samples
from mmfusion.modalities import Modalities

READ_ROWS = 1024  # scattered over a mapped file, that are read at a time
MAX_SCALING_ROWS = 20_000  # samples to which the scalings are fitted
MAX_ANCHOR_ROWS = 10_000  # samples from which the anchors of a modality are chosen
MAX_K_MEANS_ROWS = 20_000  # samples whose embeddings are clustered by k-means
ANCHORS_PER_CLUSTER = 10
DEFAULT_ANCHORS = 200
DEFAULT_RECONSTRUCTION_ANCHORS = 50
RIDGE = 0.01  # of 'reconstruction', of the total variance of a modality
WEIGHTS = ("adaptive", "reconstruction")


class AnchorGraphClusterer(BaseGraphClusterer):
    """Cluster many samples by a graph between them and a few anchors.

    Every modality has anchors, and every sample weights Z_v of them, rows of which add
    up to 1. With Z of all modalities side by side, the column sums D and the number C
    of modalities that a sample has, the embedding is the leading left singular vectors
    of ``C^-1/2 Z D^-1/2``: the normalised cut of the bipartite graph of samples and
    anchors. They come from the Gram matrix of the anchors, which is added up over
    chunks of samples, so that time is linear in the number of samples and no matrix of
    all samples is held. Rows of the embedding have unit norm, and are clustered by
    k-means.

    Parameters
    ----------
    n_clusters : int, default=None
        Number of clusters, and of singular vectors. None is 8, or in a comparison the
        number of classes.
    weights : {'adaptive', 'reconstruction'}, default='adaptive'
        Weights of the anchors. 'adaptive' are those of the nearest anchors, which
        decrease to 0 at the next one [1]_; 'reconstruction' minimise
        ``||X - Z A||_F^2 + 0.01 ||Z||_F^2`` over nonnegative Z with rows that add up to
        1, for anchors A and samples X of unit total variance [2]_.
    n_anchors : int, default=None
        Number of anchors of each modality, at least 2. None is the larger of 200 and
        ten times the number of clusters, of 'reconstruction' that of 50 and the number
        of clusters, at most half of the samples that have the modality.
    n_neighbors : int, default=5
        Number of nearest anchors of a sample, for 'adaptive'.
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
        Seed of the samples of scalings and anchors, and of k-means.
    verbose : bool or int, default=False
        Whether to show the progress of the steps of `fit`: True or 1 by a bar, where
        tqdm is installed and stderr is a terminal or a notebook, else by lines with
        their seconds; 2 by lines.

    Attributes
    ----------
    labels_ : ndarray of int of shape (n_samples,)
        Cluster of each sample.
    n_clusters_ : int
        Number of clusters.
    anchors_ : dict of str to ndarray or CSR matrix
        Anchors of each modality that is not constant, in its scaled features.
    singular_values_ : ndarray of shape (n_clusters,)
        Leading singular values of the graph, of which the first is 1.
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
        If there are fewer samples or anchors than clusters, or all modalities are
        constant.

    See Also
    --------
    SpectralClusterer : Cuts graphs between all samples; better where they are few.

    Notes
    -----
    Of each modality the scaling is fitted to at most 20,000 samples at random, and
    anchors are centres of k-means of at most 10,000 (of a sparse modality, samples);
    k-means of the embedding sees at most 20,000. Samples that lack a modality have no
    weights of its anchors. `predict` embeds new samples by the same map as those of
    `fit`, of which none are kept.

    The chunks of dask arrays are computed by dask's scheduler, on the workers of a
    cluster if a ``distributed.Client`` is active, where `n_jobs` does not count. Sums
    have one order, so that the result is that of the same data in memory. A fit
    goes through the chunks some eight times: persist what is costly to compute. Labels
    are arrays of NumPy.

    References
    ----------
    .. [1] F. Nie, X. Wang, H. Huang (2014), Clustering and projected clustering with
       adaptive neighbors. KDD.
    .. [2] Z. Kang, W. Zhou, Z. Zhao, J. Shao, M. Han, Z. Xu (2020), Large-scale
       multi-view subspace clustering in linear time. AAAI.

    Examples
    --------
    >>> from mmfusion import AnchorGraphClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> clusterer = AnchorGraphClusterer(n_clusters=3, random_state=0).fit(X[:80])
    >>> clusterer.singular_values_.shape
    (3,)
    >>> clusterer.predict(X[80:]).shape
    (20,)
    """

    _parameter_constraints: dict = {
        **BaseGraphClusterer._parameter_constraints,
        "n_clusters": [Interval(Integral, 1, None, closed="left"), None],
        "weights": [StrOptions(set(WEIGHTS))],
        "n_anchors": [Interval(Integral, 2, None, closed="left"), None],
        "verbose": ["verbose"],
    }
    del _parameter_constraints["affinity"]

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        weights: str = "adaptive",
        n_anchors: int | None = None,
        n_neighbors: int = 5,
        scaling: ByModality[str | None] = "auto",
        zero_rows: str = "warn",
        n_init: int = 10,
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_clusters = n_clusters
        self.weights = weights
        self.n_anchors = n_anchors
        self.n_neighbors = n_neighbors
        self.scaling = scaling
        self.zero_rows = zero_rows
        self.n_init = n_init
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @threads_of_n_jobs
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Choose anchors, embed the samples by their weights, and cluster them.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
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
        self.n_clusters_ = self._k
        rng = check_random_state(self.random_state)
        observed = observed_samples(frame, self.zero_rows, ())
        with FitProgress(self, X, y, 4) as progress:
            with progress.timed("anchors"):
                seed = int(rng.randint(np.iinfo(np.int32).max))
                self._fit_scalings_of_sample(frame, observed, seed)
                self._fit_anchors(frame, observed, seed)
            blocks, kept = self._kept_modalities(frame, observed)
            graph = self._graph_of_anchors
            # weights of samples that are all in memory are computed once
            whole = len(frame) <= MAX_K_MEANS_ROWS
            sample = _sample(np.arange(len(frame)), MAX_K_MEANS_ROWS, rng)
            with progress.timed("embedding"):
                if whole:
                    chunks = _read_weights(graph, blocks, kept, sample)
                    gram, sums = gram_of_weights(chunks, kept, graph.n_anchors)
                else:
                    gram, sums = anchor_gram(graph, blocks, kept)
                self._map = fit_anchor_embedding(gram, sums, self._k)
            self.singular_values_ = self._map.singular_values
            with progress.timed("k-means"):
                if not whole:
                    chunks = _read_weights(graph, blocks, kept, sample)
                embedding = np.vstack([self._map.embed(Z) for _, Z in chunks])
                k_means = KMeans(self._k, n_init=self.n_init, random_state=rng)
                self._k_means = k_means.fit(embedding)
            with progress.timed("labels"):
                if whole:
                    self._warn_of_samples_without_anchors(frame, kept)
                    self.labels_ = self._k_means.predict(embedding)
                else:
                    self.labels_ = self._nearest_centers(frame, observed)
        progress.finish()
        return self

    @threads_of_n_jobs
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the clusters of new samples by their weights of the anchors.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of int of shape (n_samples,)
            Clusters; those of `fit` for its samples.
        """
        frame = self._validate(X, reset=False)
        refuse_empty_samples(frame)
        observed = observed_samples(frame, self.zero_rows, (), warns=False)
        return self._nearest_centers(frame, observed)

    def _fit_scalings_of_sample(
        self, frame: Modalities, observed: np.ndarray, seed: int
    ) -> None:
        """Fit the scalings to samples that are read into memory, if there are more."""
        if len(frame) > MAX_SCALING_ROWS or any(map(is_dask_array, frame.blocks)):
            rows = np.zeros(len(frame), dtype=bool)
            for seen in observed.T:  # the same samples of modalities that all have
                own = np.random.RandomState(seed)
                rows[_sample(np.flatnonzero(seen), MAX_SCALING_ROWS, own)] = True
            blocks = [_read_rows(b, np.flatnonzero(rows)) for b in frame.blocks]
            frame = Modalities._of(frame.names, tuple(blocks), frame.observed[rows])
            observed = observed[rows]
        self._scalings = self._fit_scalings(frame, observed)

    def _fit_anchors(self, frame: Modalities, observed: np.ndarray, seed: int) -> None:
        names = frame.names
        self.scaling_ = {n: s.name for n, s in zip(names, self._scalings, strict=True)}
        self.anchors_ = {}
        self._ridges = {}
        for v, name in enumerate(names):
            own = np.random.RandomState(seed)  # identical modalities, same anchors
            seen = np.flatnonzero(observed[:, v])
            rows = _sample(seen, MAX_ANCHOR_ROWS, own)
            block = self._scalings[v].apply(_read_rows(frame.blocks[v], rows))
            refuse_overflow(block, name)
            variance = total_variance(block)
            if variance > 0:
                count = self._count_anchors(len(seen))
                self.anchors_[name] = choose_anchors(block, count, own)
                self._ridges[name] = RIDGE * variance
        if not self.anchors_:
            raise ValueError(
                "all modalities are constant: no graph distinguishes samples"
            )
        total = sum(anchors.shape[0] for anchors in self.anchors_.values())
        if total < self._k:
            raise ValueError(
                f"the modalities have {total} anchors in all, fewer than "
                f"n_clusters={self._k}: raise n_anchors, or choose fewer clusters"
            )

    @property
    def _graph_of_anchors(self) -> AnchorGraph:
        scalings = dict(zip(self._layout.names, self._scalings, strict=True))
        return AnchorGraph(
            [scalings[name] for name in self.anchors_],
            list(self.anchors_.values()),
            [self._ridges[name] for name in self.anchors_],
            self.n_neighbors if self.weights == "adaptive" else None,
        )

    def _count_anchors(self, n_samples: int) -> int:
        if self.n_anchors is not None:
            return int(self.n_anchors)
        if self.weights == "adaptive":
            wanted = max(DEFAULT_ANCHORS, ANCHORS_PER_CLUSTER * self._k)
        else:
            wanted = max(DEFAULT_RECONSTRUCTION_ANCHORS, self._k)
        return min(wanted, max(self._k, n_samples // 2))

    def _kept_modalities(
        self, frame: Modalities, observed: np.ndarray
    ) -> tuple[list[NumericBlock], np.ndarray]:
        """Return the blocks and the mask of the modalities that have anchors."""
        kept = [v for v, name in enumerate(frame.names) if name in self.anchors_]
        return [frame.blocks[v] for v in kept], observed[:, kept]

    def _nearest_centers(self, frame: Modalities, observed: np.ndarray) -> np.ndarray:
        blocks, kept = self._kept_modalities(frame, observed)
        self._warn_of_samples_without_anchors(frame, kept)
        return anchor_labels(
            self._graph_of_anchors, self._map, self._k_means, blocks, kept
        )

    def _warn_of_samples_without_anchors(
        self, frame: Modalities, kept: np.ndarray
    ) -> None:
        has_anchors = np.array([name in self.anchors_ for name in frame.names])
        self._warn_of_unplaced(np.asarray(kept.any(axis=1)), has_anchors)

    def __modality_tags__(self) -> ModalityTags:
        return replace(super().__modality_tags__(), chunked=True)


def _read_weights(
    graph: AnchorGraph,
    blocks: Sequence[NumericBlock],
    observed: np.ndarray,
    rows: np.ndarray,
) -> list[tuple[slice, sparse.csr_array]]:
    """Read samples, and compute their weights of the anchors."""
    chosen = [_read_rows(block, rows) for block in blocks]
    return list(graph.chunks(chosen, observed[rows]))


def _read_rows(block: NumericBlock, rows: np.ndarray) -> NumericBlock:
    """Copy rows of a block; of a mapped file nothing else stays in memory."""
    if is_dask_array(block):
        return np.asarray(block[rows])
    copied = []
    for part in np.array_split(rows, max(1, len(rows) // READ_ROWS)):
        copied.append(block[part])
        release_pages(block)
    if isinstance(block, np.ndarray):
        return np.concatenate(copied)
    return sparse.vstack(copied, format="csr")


def _sample(rows: np.ndarray, size: int, rng: np.random.RandomState) -> np.ndarray:
    """Return all rows, or as many at random, in their order."""
    if len(rows) <= size:
        return rows
    return rows[np.sort(rng.choice(len(rows), size, replace=False))]
