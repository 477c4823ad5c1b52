"""Bipartite graphs of samples and anchors, whose cost is linear in the samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.preprocessing import normalize

from mmfusion._blocks import of_samples
from mmfusion._pieces import release_pages
from mmfusion._scaling import Scaling
from mmfusion._typing import NumericBlock
from mmfusion.clustering.graph._affinities import adaptive_weights
from mmfusion.clustering.graph._neighbors import nearest_samples
from mmfusion.clustering.graph._simplex import nearest_on_simplex
from mmfusion.clustering.graph._spread import within_range

CHUNK_ROWS = 8192  # of samples whose weights are in memory at a time
MAX_ANCHOR_ITERATIONS = 20
MAX_PAIRED_SAMPLES = 4096  # whose squared distances take 64 MiB in single precision
N_GRADIENT_STEPS = 100
SMALLEST_SINGULAR_VALUE = 1e-6  # of the largest, below which a direction is rounding


def choose_anchors(
    block: NumericBlock, n_anchors: int, rng: np.random.RandomState
) -> NumericBlock:
    """Choose the anchors of one modality.

    They are centres of k-means from the start of k-means++, or for a sparse block
    samples at random: centres of sparse samples are dense, and cost more than all the
    rest.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Samples.
    n_anchors : int
        Number of anchors; all samples are anchors if there are not more.
    rng : RandomState
        Source of the start of k-means, or of the samples.

    Returns
    -------
    ndarray or CSR matrix of shape (n_anchors, n_features)
        The anchors, without repeated ones.
    """
    if n_anchors >= block.shape[0]:
        return block
    if sparse.issparse(block):
        return block[np.sort(rng.permutation(block.shape[0])[:n_anchors])]
    distinct = _first_distinct(block, n_anchors + 1)
    if len(distinct) <= n_anchors:
        return np.unique(block[distinct], axis=0)
    start: str | np.ndarray = "k-means++"
    if block.shape[0] <= MAX_PAIRED_SAMPLES:
        squares = euclidean_distances(block - block.mean(axis=0), squared=True)
        start = block[spread_samples(squares, n_anchors, rng)]
    k_means = KMeans(
        n_anchors,
        init=start,
        n_init=1,
        max_iter=MAX_ANCHOR_ITERATIONS,
        random_state=rng,
    )
    return k_means.fit(block).cluster_centers_


def _first_distinct(block: np.ndarray, count: int) -> list[int]:
    """Return the positions of the first different rows, of at most so many."""
    found: dict[bytes, int] = {}
    for i, row in enumerate(block):
        found.setdefault((row + 0.0).tobytes(), i)  # -0.0 and 0.0 are equal
        if len(found) == count:
            break
    return list(found.values())


def spread_samples(
    squares: np.ndarray, n_chosen: int, rng: np.random.RandomState
) -> np.ndarray:
    """Choose samples far from each other, as k-means++ does [1]_.

    Each is the best of a few that are drawn with the probabilities of their squared
    distances to the nearest one chosen before: it lowers the sum of these distances
    most. Draws are those of scikit-learn, which computes the distances of every
    candidate anew: it takes longer than all pairs of a few thousand samples.

    Parameters
    ----------
    squares : ndarray of shape (n_samples, n_samples)
        Squared distances of all pairs.
    n_chosen : int
        Number of samples to choose.
    rng : RandomState
        Source of the draws.

    Returns
    -------
    ndarray of int of shape (n_chosen,)
        Positions of the samples.

    References
    ----------
    .. [1] D. Arthur, S. Vassilvitskii (2007), k-means++: the advantages of careful
       seeding. SODA.
    """
    n = len(squares)
    n_trials = 2 + int(np.log(n_chosen))
    chosen = np.empty(n_chosen, dtype=np.intp)
    chosen[0] = rng.choice(n, p=np.full(n, 1 / n))
    nearest = squares[chosen[0]]
    ones = np.ones(n, dtype=squares.dtype)
    total = nearest @ ones
    for i in range(1, n_chosen):
        reach = np.cumsum(nearest)
        drawn = np.searchsorted(reach, rng.uniform(size=n_trials) * total)
        candidates = np.minimum(drawn, n - 1)
        left = np.minimum(squares[candidates], nearest)
        totals = left @ ones
        best = totals.argmin()
        chosen[i], nearest, total = candidates[best], left[best], totals[best]
    return chosen


def nearest_anchor_weights(
    block: NumericBlock, anchors: NumericBlock, n_neighbors: int
) -> sparse.csr_array:
    """Compute adaptive weights of the nearest anchors; see `adaptive_weights`.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Samples.
    anchors : ndarray or CSR matrix of shape (n_anchors, n_features)
        Anchors.
    n_neighbors : int
        Number of anchors with a positive weight, fewer if there are not more anchors.

    Returns
    -------
    CSR matrix of shape (n_samples, n_anchors)
        Nonnegative weights; rows add up to 1.
    """
    distances, indices = nearest_samples(anchors, n_neighbors + 1, within_range(block))
    weights = adaptive_weights(distances)
    n, k = weights.shape
    return sparse.csr_array(
        (weights.ravel(), indices[:, :k].ravel(), np.arange(0, n * k + 1, k)),
        shape=(n, anchors.shape[0]),
    )


def reconstruction_weights(
    block: NumericBlock, anchors: NumericBlock, ridge: float
) -> sparse.csr_array:
    """Compute weights of the anchors whose mean is nearest to each sample.

    Minimises ``||X - Z A||_F^2 + ridge ||Z||_F^2`` over nonnegative Z whose rows add up
    to 1 (Kang et al. 2020), by accelerated projected gradient steps.

    Parameters
    ----------
    block : ndarray or CSR matrix of shape (n_samples, n_features)
        Samples X.
    anchors : ndarray or CSR matrix of shape (n_anchors, n_features)
        Anchors A.
    ridge : float
        Weight of the squared norm, in squared units of the features.

    Returns
    -------
    CSR matrix of shape (n_samples, n_anchors)
        The weights Z.
    """
    gram, cross = _dense(anchors @ anchors.T), _dense(block @ anchors.T)
    quadratic = gram + ridge * np.eye(len(gram))
    step = 1 / max(float(linalg.eigvalsh(quadratic)[-1]), np.finfo(float).tiny)
    weights = np.full(cross.shape, 1 / cross.shape[1])
    ahead, momentum = weights, 1.0
    for _ in range(N_GRADIENT_STEPS):
        new = nearest_on_simplex(ahead - step * (ahead @ quadratic - cross))
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / following * (new - weights)
        weights, momentum = new, following
    return sparse.csr_array(weights)


def _dense(matrix: NumericBlock) -> np.ndarray:
    if not isinstance(matrix, np.ndarray):
        matrix = matrix.toarray()
    return np.asarray(matrix, dtype=np.float64)


@dataclass(frozen=True)
class AnchorEmbedding:
    """Linear map of anchor weights to the leading left singular vectors.

    With the weights Z of all modalities side by side, the column sums D and the numbers
    C of modalities that the samples have, the embedding is ``C^-1/2 Z D^-1/2 Q / s``,
    of which Q and s are singular vectors and values.

    Parameters
    ----------
    projection : ndarray of shape (n_anchors, n_vectors)
        The matrix ``D^-1/2 Q / s``.
    singular_values : ndarray of shape (n_vectors,)
        The leading singular values s, of which the first is 1.
    """

    projection: np.ndarray
    singular_values: np.ndarray

    def embed(self, weights: sparse.csr_array) -> np.ndarray:
        """Embed samples, with rows of unit norm.

        Parameters
        ----------
        weights : CSR matrix of shape (n_samples, n_anchors)
            Weights of the anchors of all modalities.

        Returns
        -------
        ndarray of shape (n_samples, n_vectors)
            Embedding; C of a row does not matter once its norm is 1.
        """
        return normalize(weights @ self.projection)


@dataclass(frozen=True)
class AnchorGraph:
    """The graph of samples and the anchors of all modalities that are not constant.

    Parameters
    ----------
    scalings : list of Scaling
        Scaling of each modality.
    anchors : list of ndarray or CSR matrix of shape (n_anchors, n_features)
        Scaled anchors of each modality.
    ridges : list of float
        Ridges of `reconstruction_weights`.
    n_neighbors : int or None
        Number of nearest anchors, of `nearest_anchor_weights`; None is
        `reconstruction_weights`.
    """

    scalings: Sequence[Scaling]
    anchors: Sequence[NumericBlock]
    ridges: Sequence[float]
    n_neighbors: int | None

    def chunks(
        self, blocks: Sequence[NumericBlock], observed: np.ndarray
    ) -> Iterator[tuple[slice, sparse.csr_array]]:
        """Iterate over the weights of chunks of samples.

        Parameters
        ----------
        blocks : list of ndarray or CSR matrix of shape (n_samples, n_features)
            Samples, not scaled.
        observed : ndarray of bool of shape (n_samples, n_modalities)
            Which sample has which modality.

        Yields
        ------
        rows : slice
            Rows of the chunk.
        weights : CSR matrix of shape (n_rows, n_anchors)
            Weights of the anchors of all modalities side by side; 0 where a sample
            lacks the modality.
        """
        for start in range(0, len(observed), CHUNK_ROWS):
            rows = slice(start, min(start + CHUNK_ROWS, len(observed)))
            pieces = [
                self._weigh(v, block[rows], observed[rows, v])
                for v, block in enumerate(blocks)
            ]
            for block in blocks:
                release_pages(block)
            yield rows, sparse.hstack(pieces, format="csr")

    def _weigh(self, v: int, block: NumericBlock, seen: np.ndarray) -> sparse.csr_array:
        """Compute the weights of the anchors of one modality; 0 where it is missing."""
        anchors = self.anchors[v]
        if not seen.any():
            return sparse.csr_array((len(seen), anchors.shape[0]))
        scaled: NumericBlock = self.scalings[v].apply(of_samples(block, seen))
        if self.n_neighbors is None:
            local = reconstruction_weights(scaled, anchors, self.ridges[v])
        else:
            local = nearest_anchor_weights(scaled, anchors, self.n_neighbors)
        if seen.all():
            return local
        ends = np.zeros(len(seen) + 1, dtype=local.indptr.dtype)
        lengths = np.zeros(len(seen), dtype=local.indptr.dtype)
        lengths[seen] = np.diff(local.indptr)
        np.cumsum(lengths, out=ends[1:])
        return sparse.csr_array(
            (local.data, local.indices, ends), shape=(len(seen), local.shape[1])
        )

    def gram(
        self, blocks: Sequence[NumericBlock], observed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the Gram matrix of the anchors over samples.

        Parameters
        ----------
        blocks : list of ndarray or CSR matrix of shape (n_samples, n_features)
            Samples, not scaled.
        observed : ndarray of bool of shape (n_samples, n_modalities)
            Which sample has which modality.

        Returns
        -------
        gram : ndarray of shape (n_anchors, n_anchors)
            The matrix ``Z' C^-1 Z`` of the weights Z, with the numbers C of modalities
            that the samples have. Samples all of whose modalities are constant have no
            weights, and count once.
        sums : ndarray of shape (n_anchors,)
            The column sums of Z.
        """
        chunks = self.chunks(blocks, observed)
        return gram_of_weights(chunks, observed, self.n_anchors)

    @property
    def n_anchors(self) -> int:
        """Number of anchors of all modalities."""
        return sum(anchors.shape[0] for anchors in self.anchors)


def gram_of_weights(
    chunks: Iterable[tuple[slice, sparse.csr_array]],
    observed: np.ndarray,
    n_anchors: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the Gram matrix of the anchors by weights; see `AnchorGraph.gram`.

    Parameters
    ----------
    chunks : iterable of tuple
        Rows and weights, as those of `AnchorGraph.chunks`.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Which sample has which modality.
    n_anchors : int
        Number of anchors of all modalities.

    Returns
    -------
    gram : ndarray of shape (n_anchors, n_anchors)
        The matrix ``Z' C^-1 Z``.
    sums : ndarray of shape (n_anchors,)
        The column sums of Z.
    """
    gram, sums = np.zeros((n_anchors, n_anchors)), np.zeros(n_anchors)
    for rows, weights in chunks:
        counts = np.maximum(observed[rows].sum(axis=1), 1)
        scaled = sparse.diags_array(1 / counts) @ weights
        gram += (weights.T @ scaled).toarray()
        sums += np.asarray(weights.sum(axis=0)).ravel()
    return gram, sums


def fit_anchor_embedding(
    gram: np.ndarray, sums: np.ndarray, n_vectors: int
) -> AnchorEmbedding:
    """Decompose the graph of samples and anchors by its Gram matrix.

    The eigenvectors of the Gram matrix ``D^-1/2 Z' C^-1 Z D^-1/2`` are the right
    singular vectors.

    Parameters
    ----------
    gram : ndarray of shape (n_anchors, n_anchors)
        The matrix ``Z' C^-1 Z`` of all samples.
    sums : ndarray of shape (n_anchors,)
        The column sums D of the weights Z.
    n_vectors : int
        Number of singular vectors.

    Returns
    -------
    AnchorEmbedding
        The map of weights to singular vectors, fewer if the graph has a smaller rank.
    """
    roots = np.where(sums > 0, 1 / np.sqrt(np.where(sums > 0, sums, 1)), 0)
    gram = roots[:, None] * gram * roots
    size = len(gram)
    first = max(0, size - n_vectors)
    values, vectors = linalg.eigh(gram, subset_by_index=(first, size - 1))
    singular = np.sqrt(np.maximum(values[::-1], 0))
    vectors = vectors[:, ::-1]
    kept = singular > SMALLEST_SINGULAR_VALUE * singular[0]
    singular, vectors = singular[kept], vectors[:, kept]
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(len(singular))])
    return AnchorEmbedding(roots[:, None] * vectors / singular, singular)
