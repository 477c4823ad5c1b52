"""Similarity network fusion, and the clustering of the fused network."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from scipy import sparse
from sklearn.preprocessing import normalize

from mmfusion._sklearn_compat import Interval, StrOptions
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    ModalitiesLike,
    NumericBlock,
    RandomStateLike,
)
from mmfusion._validation import refuse_empty_samples
from mmfusion.clustering.graph._affinities import (
    among_all,
    local_scales,
    normalized_adjacency,
)
from mmfusion.clustering.graph._base import BaseGraphClusterer
from mmfusion.clustering.graph._eigenvectors import leading_eigenvectors
from mmfusion.clustering.graph._interpolation import Interpolation
from mmfusion.clustering.graph._neighbors import NEIGHBOR_SEARCHES, nearest_samples
from mmfusion.clustering.graph._similarity_network import (
    all_distances,
    diffuse,
    nearest_distances,
    scaled_exponential,
)
from mmfusion.clustering.graph._sparse_similarity_network import (
    diffuse_stored,
    keep_largest,
    neighbor_similarities,
)
from mmfusion.clustering.graph._spread import total_variance
from mmfusion.clustering.graph._zero_rows import observed_samples

DEFAULT_STORED = 60


def similarity_network_fusion(
    X: ModalitiesLike,
    *,
    n_neighbors: int = 20,
    mu: float = 0.5,
    n_steps: int = 10,
    n_stored: int | str | None = "auto",
    affinity: str = "scaled_exponential",
    neighbor_search: str = "exact",
    scaling: ByModality[str | None] = "auto",
    zero_rows: str = "warn",
    modalities: ColumnSpecLike = None,
    n_jobs: int | None = None,
) -> NumericBlock:
    r"""Fuse the similarities of samples in all modalities into one network.

    Of the similarities W of a modality, a full and a local kernel are made,

    .. math::

        P_{ij} = \frac{W_{ij}}{2 \sum_{l \ne i} W_{il}}, \quad P_{ii} = \frac12, \qquad
        S_{ij} = \frac{W_{ij}}{\sum_{l \in N_i} W_{il}} \text{ for } j \in N_i,

    where the nearest samples :math:`N_i` include the sample i itself. Every step
    replaces all full kernels by

    .. math::

        P_v \leftarrow S_v \Big(\frac{1}{V - 1} \sum_{w \ne v} P_w\Big) S_v^\top

    and normalises them as at first; the fused network is their mean ([1]_, equations 2
    to 6). Kernels are symmetric: after each normalisation the mean with the transpose
    is taken.

    Parameters
    ----------
    X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
        The data; see the user guide on input. For ``affinity='precomputed'``
        symmetric nonnegative similarities of shape (n_samples, n_samples).
    n_neighbors : int, default=20
        Number of nearest samples of the local kernels and of the bandwidths.
    mu : float, default=0.5
        Width of the kernel; the source recommends 0.3 to 0.8.
    n_steps : int, default=10
        Number of steps; results hardly change after the first five.
    n_stored : int or 'auto' or None, default='auto'
        Number of largest similarities that each row keeps, so that time and memory
        are linear in the number of samples but for the search of neighbours. 'auto' is
        60, or `n_neighbors` if they are more. None keeps all pairs, as in the source,
        in single precision: 4 n^2 bytes for each modality.
    affinity : {'scaled_exponential', 'precomputed'}, default='scaled_exponential'
        Similarities: normal densities of the distances :math:`d_{ij}` with the
        standard deviation :math:`\mu (m_i + m_j + d_{ij}) / 3` for the mean distances m
        to the nearest samples; or X has them.
    neighbor_search : {'exact', 'approximate'}, default='exact'
        Search of the nearest samples of `fit`. 'approximate' takes less time for many
        samples, and finds nearly all of the neighbours; fewer than 20,000 samples,
        sparse modalities and the neighbours of new samples are searched exactly. It
        needs ``mmfusion[neighbors]``, and compiles for some 25 seconds.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality before distances, as in `EarlyFusion`.
    zero_rows : {'warn', 'missing', 'keep'}, default='warn'
        What rows of zeros are; see `SNFClusterer`.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of threads of the search of neighbours; None is one, -1 is all
        processors.

    Returns
    -------
    ndarray or CSR matrix of float32 of shape (n_samples, n_samples)
        The fused network, symmetric with a diagonal of 1/2; CSR if rows keep their
        largest similarities.

    Raises
    ------
    ValueError
        If all modalities are constant, `n_stored` is less than `n_neighbors`, or
        precomputed similarities are not square, symmetric and nonnegative.

    See Also
    --------
    SNFClusterer : Clusters the samples by the fused network.

    Notes
    -----
    The density follows the tools of the authors; ``exp(-d^2 / (mu e))``, as printed in
    the source, would depend on the unit of the distances. Samples may lack modalities:
    a pair counts in the modalities that both have, and the mean over the others is
    taken over those alone; a pair that shares no other modality keeps its own entry.

    References
    ----------
    .. [1] B. Wang et al. (2014), Similarity network fusion for aggregating data types
       on a genomic scale. Nature Methods 11, 333-337.

    Examples
    --------
    >>> from mmfusion.clustering import similarity_network_fusion
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, _ = make_multimodal_blobs(random_state=0)
    >>> similarity_network_fusion(X).shape
    (100, 100)
    """
    network = SNFClusterer(
        n_neighbors=n_neighbors,
        mu=mu,
        n_steps=n_steps,
        n_stored=n_stored,
        affinity=affinity,
        neighbor_search=neighbor_search,
        scaling=scaling,
        zero_rows=zero_rows,
        modalities=modalities,
        n_jobs=n_jobs,
    )
    network._validate_params()
    frame = network._validate(X, reset=True)
    refuse_empty_samples(frame)
    names = network._precomputed_names()
    observed = observed_samples(frame, zero_rows, names)
    return network._fit_graphs(frame, observed)[0][0]


class SNFClusterer(BaseGraphClusterer):
    """Cluster by the fused network of the similarities in all modalities.

    The similarities of each modality diffuse along the nearest samples of the others
    until they agree (`similarity_network_fusion`) [1]_; the leading eigenvectors of the
    normalised fused network, with rows of unit norm, are clustered by k-means.

    Parameters
    ----------
    n_clusters : int or 'auto', default=None
        Number of clusters, and of eigenvectors. None is 8, or in a comparison the
        number of classes; 'auto' chooses one of 2 to 20 by the modularity of clusters
        in the fused network and, of those of the other modalities, in the graph of
        each.
    n_neighbors : int, default=20
        Number of nearest samples of the local kernels, of the bandwidths, and of new
        samples; fewer if a modality has fewer samples.
    mu : float, default=0.5
        Width of the kernel; the source recommends 0.3 to 0.8.
    n_steps : int, default=10
        Number of steps of the diffusion; results hardly change after the first five.
    n_stored : int or 'auto' or None, default='auto'
        Number of largest similarities that each row keeps. 'auto' is 60, or
        `n_neighbors` if they are more; None keeps all pairs, as in the source, which
        long diffusion blurs.
    affinity : {'scaled_exponential', 'precomputed'}, default='scaled_exponential'
        Similarities of the samples: Gaussian with a bandwidth for each pair; or the
        modalities are matrices of nonnegative symmetric similarities themselves, such
        as kernels of sequences by `DTWKernel`.
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
    embedding_ : ndarray of shape (n_samples, n_clusters)
        Embedding of the samples.
    n_clusters_ : int
        Number of clusters.
    n_clusters_evidence_ : dict of str to ndarray
        For ``n_clusters='auto'``: the numbers ('n_clusters'), 'modularity' in the fused
        network, and 'modularity_in_others' of several modalities.
    eigenvalues_ : ndarray of shape (n_clusters,)
        Leading eigenvalues of the normalised fused network.
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
        `n_stored` is less than `n_neighbors`, or precomputed similarities are not
        square, symmetric and nonnegative.

    See Also
    --------
    similarity_network_fusion : Returns the fused network.
    SpectralClusterer : Clusters by sums of graphs of nearest samples.

    Notes
    -----
    Of n samples and V modalities, a step on all pairs takes time of order
    ``V n^2 n_neighbors``, in ``4 (V + 3) n^2`` bytes. So does one on stored
    similarities of at most 4,096 samples, in ``4 n^2`` bytes; of more samples, those
    that share no neighbours cost nothing, in memory linear in n. One modality is not
    diffused: its similarities are cut as they are. Samples may lack modalities; see
    `similarity_network_fusion`. `predict` is a rule of this package, as in
    `SpectralClusterer`: embeddings of the nearest samples of `fit` are averaged.

    References
    ----------
    .. [1] B. Wang et al. (2014), Similarity network fusion for aggregating data types
       on a genomic scale. Nature Methods 11, 333-337.

    Examples
    --------
    >>> from mmfusion import SNFClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(random_state=0)
    >>> clusterer = SNFClusterer(n_clusters=3, random_state=0).fit(X[:80])
    >>> clusterer.embedding_.shape
    (80, 3)
    >>> clusterer.predict(X[80:]).shape
    (20,)
    """

    _parameter_constraints: dict = {
        **BaseGraphClusterer._parameter_constraints,
        "mu": [Interval(Real, 0, None, closed="neither")],
        "n_steps": [Interval(Integral, 0, None, closed="left")],
        "n_stored": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
            None,
        ],
        "affinity": [StrOptions({"scaled_exponential", "precomputed"})],
        "neighbor_search": [StrOptions(set(NEIGHBOR_SEARCHES))],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_clusters: int | str | None = None,
        *,
        n_neighbors: int = 20,
        mu: float = 0.5,
        n_steps: int = 10,
        n_stored: int | str | None = "auto",
        affinity: str = "scaled_exponential",
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
        self.mu = mu
        self.n_steps = n_steps
        self.n_stored = n_stored
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
    ) -> tuple[list[NumericBlock], np.ndarray]:
        """Fuse the similarities of all modalities into one network.

        The graphs of the modalities follow it if they choose the number of clusters.
        """
        stored = self._n_stored()
        similarities, seen = super()._graphs_of(blocks, observed)
        steps = self.n_neighbors, self.n_steps
        graphs = []
        if self.n_clusters == "auto":
            graphs = [
                _among_observed(_thinned(_normalized_network(W), steps[0]), own)
                for W, own in zip(similarities, seen.T, strict=True)
            ]
        if stored is None:
            network = diffuse(similarities, seen, *steps)
        else:
            network = diffuse_stored(similarities, seen, *steps, stored)
        return [network, *graphs], seen

    def _n_stored(self) -> int | None:
        """Return how many similarities of a row are stored; None for all."""
        if self.n_stored == "auto":
            return max(DEFAULT_STORED, self.n_neighbors)
        if self.n_stored is None:
            return None
        if int(self.n_stored) < self.n_neighbors:
            raise ValueError(
                f"n_stored={self.n_stored} similarities of a sample are fewer than "
                f"those of its n_neighbors={self.n_neighbors} nearest samples; raise "
                "n_stored or lower n_neighbors"
            )
        return int(self.n_stored)

    def _graph(
        self, block: NumericBlock, rows: np.ndarray, n_samples: int
    ) -> tuple[NumericBlock, Interpolation | None]:
        """Compute the similarities of the samples that have a modality."""
        stored = self._n_stored()
        if self._is_precomputed:
            return _given_similarities(block, rows, dense=stored is None)
        spread = np.sqrt(total_variance(block))
        if spread == 0:
            return np.empty((0, 0)), None
        if stored is None:
            distances, largest = all_distances(block)
            nearest = nearest_distances(distances, self.n_neighbors)
            means = nearest.mean(axis=1).astype(np.float32)
            similarities = scaled_exponential(
                distances, means[:, None], means, float(self.mu)
            )
            nearest *= largest
        else:
            nearest, indices = nearest_samples(
                block, stored, n_jobs=self.n_jobs, search=self.neighbor_search
            )
            similarities = neighbor_similarities(
                nearest, indices, self.n_neighbors, float(self.mu)
            )
            similarities = among_all(similarities, rows, n_samples)
        return similarities, Interpolation(rows, block, local_scales(nearest, spread))

    def _embed_graphs(
        self,
        graphs: list[NumericBlock],
        observed: np.ndarray,
        rng: np.random.RandomState,
    ) -> np.ndarray:
        cut = _normalized_network(graphs[0])
        if self.n_clusters == "auto":
            whole = _thinned(cut, self.n_neighbors)
            self._choose_n_clusters(whole, graphs[1:], observed, rng)
        self.eigenvalues_, F = leading_eigenvectors(cut, self.n_clusters_, rng)
        return normalize(F)


def _given_similarities(
    block: sparse.csr_array, rows: np.ndarray, *, dense: bool
) -> tuple[NumericBlock, Interpolation | None]:
    """Return precomputed similarities in single precision, relative to the largest."""
    largest = float(block.data.max(initial=0.0))
    if largest == 0:
        return np.empty((0, 0)), None
    similarities = (block / largest).astype(np.float32).tocsr()
    if dense:
        similarities = similarities[rows][:, rows].toarray()
    return similarities, Interpolation(rows, None, np.ones(0))


def _normalized_network(network: NumericBlock) -> NumericBlock:
    """Return ``D^-1/2 W D^-1/2`` of a network without its diagonal."""
    if sparse.issparse(network):
        graph = sparse.csr_array(network, dtype=np.float64, copy=True)
        graph.setdiag(0)
        graph.eliminate_zeros()
        return normalized_adjacency(graph)
    dense = network.astype(np.float64)
    np.fill_diagonal(dense, 0)
    roots = np.sqrt(dense.sum(axis=1))
    inverse = np.divide(1, roots, out=np.zeros_like(roots), where=roots > 0)
    dense *= inverse[:, None]
    dense *= inverse
    return dense


def _thinned(graph: NumericBlock, n_neighbors: int) -> sparse.csr_array:
    """Keep the largest entries of a normalised network, and normalise it again.

    In a graph of all pairs, the gap after the first eigenvalues hides the others.
    """
    largest = keep_largest(sparse.csr_array(graph), n_neighbors)
    return normalized_adjacency(largest.maximum(largest.T).tocsr())


def _among_observed(graph: sparse.csr_array, seen: np.ndarray) -> sparse.csr_array:
    """Place the graph of the samples that have a modality, unless it has all."""
    if graph.shape[0] == len(seen):  # stored similarities are among all
        return graph
    return among_all(graph, np.flatnonzero(seen), len(seen))
