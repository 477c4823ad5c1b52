"""Graphs of samples and anchors over all rows of the data, part by part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from sklearn.cluster import KMeans

from mmfusion._dask_arrays import fold_rows, map_rows
from mmfusion._threads import limited_threads
from mmfusion._typing import NumericBlock
from mmfusion.clustering.graph._anchors import (
    CHUNK_ROWS,
    AnchorEmbedding,
    AnchorGraph,
)

MAX_PART_CHUNKS = 8
PART_BYTES = 2**25  # of the samples that a task of dask takes at once

GramAndSums = tuple[np.ndarray, np.ndarray]


def part_rows(blocks: Sequence[NumericBlock]) -> list[slice]:
    """Cut rows into parts of whole chunks, the same for data in memory and on disk.

    Parameters
    ----------
    blocks : list of ndarray, dask array or CSR matrix of shape (n_samples, n_features)
        The modalities.

    Returns
    -------
    list of slice
        The parts, of at most `PART_BYTES` of data, but of one chunk at least.
    """
    n_samples = blocks[0].shape[0]
    cells = [getattr(b, "nnz", n_samples * b.shape[1]) / n_samples for b in blocks]
    n_bytes = sum(n * b.dtype.itemsize for n, b in zip(cells, blocks, strict=True))
    n_chunks = int(PART_BYTES / max(1, n_bytes * CHUNK_ROWS))
    size = CHUNK_ROWS * min(max(n_chunks, 1), MAX_PART_CHUNKS)
    starts = range(0, n_samples, size)
    return [slice(start, min(start + size, n_samples)) for start in starts]


def anchor_gram(
    graph: AnchorGraph, blocks: Sequence[NumericBlock], observed: np.ndarray
) -> GramAndSums:
    """Compute the Gram matrix of the anchors over all samples; see `AnchorGraph.gram`.

    Parameters
    ----------
    graph : AnchorGraph
        Anchors of the modalities.
    blocks : list of ndarray, dask array or CSR matrix of shape (n_samples, n_features)
        The modalities.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Which sample has which modality.

    Returns
    -------
    gram : ndarray of shape (n_anchors, n_anchors)
        The Gram matrix.
    sums : ndarray of shape (n_anchors,)
        The column sums of the weights.
    """
    function = partial(_gram_of_part, graph)
    return fold_rows(
        function, _add_grams, _with_mask(blocks, observed), part_rows(blocks)
    )


def anchor_labels(
    graph: AnchorGraph,
    embedding: AnchorEmbedding,
    k_means: KMeans,
    blocks: Sequence[NumericBlock],
    observed: np.ndarray,
) -> np.ndarray:
    """Assign all samples to the nearest centres in the embedding.

    Parameters
    ----------
    graph : AnchorGraph
        Anchors of the modalities.
    embedding : AnchorEmbedding
        The map of weights to the embedding.
    k_means : KMeans
        Fitted to the embedding of some samples.
    blocks : list of ndarray, dask array or CSR matrix of shape (n_samples, n_features)
        The modalities.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Which sample has which modality.

    Returns
    -------
    ndarray of int32 of shape (n_samples,)
        The clusters.
    """
    function = partial(_labels_of_part, graph, embedding, k_means)
    labels = np.empty(len(observed), dtype=np.int32)
    rows = part_rows(blocks)
    parts = map_rows(function, _with_mask(blocks, observed), rows)
    for own, found in zip(rows, parts, strict=True):
        labels[own] = found
    return labels


def _with_mask(
    blocks: Sequence[NumericBlock], observed: np.ndarray
) -> list[NumericBlock]:
    """Return the blocks, and the mask unless it is trivial: it is sent to workers."""
    return list(blocks) if observed.all() else [*blocks, observed]


def _split_mask(
    parts: Sequence[NumericBlock], n_modalities: int
) -> tuple[Sequence[NumericBlock], np.ndarray]:
    blocks = parts[:n_modalities]
    if len(parts) > n_modalities:
        return blocks, np.asarray(parts[-1])
    return blocks, np.ones((blocks[0].shape[0], n_modalities), dtype=bool)


def _gram_of_part(graph: AnchorGraph, rows: slice, *parts: NumericBlock) -> GramAndSums:
    with limited_threads(1):
        return graph.gram(*_split_mask(parts, len(graph.anchors)))


def _add_grams(parts: Iterable[GramAndSums]) -> GramAndSums:
    gram: np.ndarray | float = 0.0
    sums: np.ndarray | float = 0.0
    for own_gram, own_sums in parts:
        gram, sums = gram + own_gram, sums + own_sums
    return np.asarray(gram), np.asarray(sums)


def _labels_of_part(
    graph: AnchorGraph,
    embedding: AnchorEmbedding,
    k_means: KMeans,
    rows: slice,
    *parts: NumericBlock,
) -> np.ndarray:
    blocks, observed = _split_mask(parts, len(graph.anchors))
    labels = np.empty(len(observed), dtype=np.int32)
    with limited_threads(1):
        for chunk, weights in graph.chunks(blocks, observed):
            labels[chunk] = k_means.predict(embedding.embed(weights))
    return labels
