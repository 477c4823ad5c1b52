"""Clusters of self-expression: spectral embedding, and the place of new samples."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import linalg
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import normalize
from torch import Tensor, nn

from mmfusion._scaling import Scaling
from mmfusion._threads import one_thread
from mmfusion.clustering.graph._anchors import (
    AnchorEmbedding,
    AnchorGraph,
    choose_anchors,
    fit_anchor_embedding,
)
from mmfusion.clustering.graph._eigenvectors import leading_eigenvectors
from mmfusion.nn._centers import squared_distances_to
from mmfusion.nn._data import Batches, spaced_rows
from mmfusion.nn._isolation import drawing
from mmfusion.nn._net import DeepNet
from mmfusion.nn._training import collect_outputs

RIDGE = 0.01  # of codes, of the mean eigenvalue; of anchors, of unit total variance
N_INIT = 10  # restarts of k-means
MAX_ANCHOR_ROWS = 10_000  # samples that anchors are chosen from
MAX_K_MEANS_ROWS = 20_000  # samples whose embedding is clustered


class SpectralReadout(nn.Module):
    """Head that embeds latents of unit norm by those of training, and finds a centre.

    What it needs of the training data is an extra state, whose size is theirs.

    Parameters
    ----------
    n_clusters : int
        Number of clusters k.
    """

    n_heads = 1

    def __init__(self, n_clusters: int) -> None:
        super().__init__()
        self.n_clusters = n_clusters
        self.stored: dict[str, Any] = {}

    def get_extra_state(self) -> dict[str, Any]:
        """Return what was stored, for checkpoints and pickles."""
        return dict(self.stored)

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self.stored = dict(state)

    def forward(self, points: Tensor, observed: Tensor | None) -> Tensor:
        """Compute the logits (m, k), which are 0 before a read-out is stored.

        Parameters
        ----------
        points : tensor of shape (m, V d)
            Latents of unit norm of all modalities side by side.
        observed : tensor of bool of shape (m, V) or None
            Which modalities of a sample are observed; None is all.
        """
        if not self.stored:
            return points.new_zeros(len(points), self.n_clusters)
        arrays = {name: value.numpy() for name, value in self.stored.items()}
        block = points.detach().double().cpu().numpy()
        if observed is None:
            seen = np.ones((len(points), int(arrays["n_modalities"])), dtype=bool)
        else:
            seen = observed.cpu().numpy()
        if "projection" in arrays:
            embedded = _anchor_embedding(arrays, block, seen)
        else:
            known = arrays["points"], arrays["embedding"]
            embedded = code_embedding(block, seen, *known)
        centers = self.stored["centers"].to(points)
        return -squared_distances_to(torch.as_tensor(embedded).to(points), centers)

    def fit_codes(
        self, points: np.ndarray, n_modalities: int, affinity: np.ndarray, seed: int
    ) -> np.ndarray:
        """Embed all samples by an affinity, and store how new ones are embedded.

        Parameters
        ----------
        points : ndarray of shape (n, V d)
            Latents of unit norm; zeros where a modality is not observed.
        n_modalities : int
            Number of modalities V.
        affinity : ndarray of shape (n, n)
            Symmetric affinity of the samples.
        seed : int
            Seed of eigenvectors and k-means.

        Returns
        -------
        ndarray of int of shape (n,)
            Clusters of the samples.
        """
        rng = np.random.RandomState(seed)
        embedding = spectral_embedding(affinity, self.n_clusters, rng)
        k_means = self._fit_centers(embedding, rng)
        arrays = {"points": points.astype(np.float32), "embedding": embedding}
        self._store(k_means, n_modalities, arrays)
        return k_means.labels_

    def fit_anchors(
        self, points: np.ndarray, observed: np.ndarray, n_anchors: int, seed: int
    ) -> np.ndarray:
        """Choose anchors of each modality, and embed samples by their combinations.

        Parameters
        ----------
        points : ndarray of shape (n, V d)
            Latents of unit norm.
        observed : ndarray of bool of shape (n, V)
            Which modalities of a sample are observed.
        n_anchors : int
            Number of anchors of each modality.
        seed : int
            Seed of anchors and k-means.

        Returns
        -------
        ndarray of int of shape (n,)
            Clusters of the samples.
        """
        rng = np.random.RandomState(seed)
        anchors = {}
        for v, own in enumerate(np.split(points, observed.shape[1], axis=1)):
            own = own[observed[:, v]]
            chosen = own[spaced_rows(len(own), MAX_ANCHOR_ROWS)]
            anchors[f"anchors_{v}"] = choose_anchors(chosen, n_anchors, rng)
        graph, blocks = _anchor_graph(anchors, points)
        embedding = fit_anchor_embedding(*graph.gram(blocks, observed), self.n_clusters)
        arrays = {"projection": embedding.projection} | anchors
        embedded = _anchor_embedding(arrays, points, observed)
        rows = spaced_rows(len(points), MAX_K_MEANS_ROWS)
        k_means = self._fit_centers(embedded[rows], rng)
        self._store(k_means, len(blocks), arrays)
        return k_means.predict(embedded)

    def _fit_centers(self, embedding: np.ndarray, rng: np.random.RandomState) -> KMeans:
        with one_thread(), warnings.catch_warnings():
            # fewer distinct samples than clusters: the estimator reports empty clusters
            warnings.simplefilter("ignore", ConvergenceWarning)
            k_means = KMeans(self.n_clusters, n_init=N_INIT, random_state=rng)
            return k_means.fit(embedding)

    def _store(
        self, k_means: KMeans, n_modalities: int, arrays: dict[str, np.ndarray]
    ) -> None:
        arrays = arrays | {
            "centers": k_means.cluster_centers_,
            "n_modalities": np.array(n_modalities),
        }
        self.stored = {name: torch.tensor(value) for name, value in arrays.items()}


def fit_readout(
    net: DeepNet, data: Batches, n_anchors: int, kept_share: float
) -> np.ndarray:
    """Cluster the samples of training, and drop the coefficients of a net.

    Parameters
    ----------
    net : DeepNet
        Net with a `SpectralReadout`, and with the part 'expression' unless there are
        anchors.
    data : Batches
        The samples.
    n_anchors : int
        Number of anchors of each modality; 0 is none.
    kept_share : float
        As of `affinity_of`.

    Returns
    -------
    ndarray of int of shape (n,)
        Clusters.
    """
    with drawing():
        seed = int(torch.randint(2**31 - 1, ()))
    points = collect_outputs(
        net, data.rows, data.prepare, lambda out: out.fused, np.dtype(np.float64)
    )
    readout: Any = net.module_.heads
    n_modalities = len(data.prepare.shapes)
    if n_anchors:
        seen = data.rows.observed
        if seen is None:
            seen = np.ones((len(points), n_modalities), dtype=bool)
        return readout.fit_anchors(points, seen, n_anchors, seed)
    part: Any = net.parts_.pop("expression")
    net.part_optimizers_.clear()  # its moments are twice as large
    coefficients = part.coefficients.detach().cpu().numpy()
    affinity = affinity_of(coefficients, kept_share)
    return readout.fit_codes(points, n_modalities, affinity, seed)


def affinity_of(coefficients: np.ndarray, kept_share: float) -> np.ndarray:
    """Compute the affinity ``(|C| + |C'|) / 2`` of coefficients.

    Parameters
    ----------
    coefficients : ndarray of shape (n, n)
        Coefficients C of the other samples.
    kept_share : float
        Largest coefficients of a sample are kept until their absolute values add up to
        this share of all of its; 1 keeps all.

    Returns
    -------
    ndarray of shape (n, n)
        The affinity in float64.
    """
    sizes = np.abs(coefficients, dtype=np.float64)
    if kept_share < 1:
        for row in sizes:
            order = np.argsort(-row)
            before = np.cumsum(row[order]) - row[order]
            row[order[before >= kept_share * row.sum()]] = 0
    sizes += sizes.T.copy()
    return sizes / 2


def spectral_embedding(
    affinity: np.ndarray, n_vectors: int, rng: np.random.RandomState
) -> np.ndarray:
    """Compute leading eigenvectors of ``D^-1/2 A D^-1/2``, with rows of unit norm.

    Parameters
    ----------
    affinity : ndarray of shape (n, n)
        Symmetric affinity A, which is overwritten.
    n_vectors : int
        Number of eigenvectors.
    rng : RandomState
        Source of the vector that Lanczos' method starts from.

    Returns
    -------
    ndarray of shape (n, n_vectors)
        The embedding; zeros for a sample without affinity.
    """
    degrees = affinity.sum(axis=1)
    roots = np.where(degrees > 0, 1 / np.sqrt(np.where(degrees > 0, degrees, 1)), 0)
    affinity *= roots
    affinity *= roots[:, None]
    return normalize(leading_eigenvectors(affinity, n_vectors, rng)[1])


def code_embedding(
    points: np.ndarray, observed: np.ndarray, known: np.ndarray, embedding: np.ndarray
) -> np.ndarray:
    """Embed new samples by their codes, in which known samples express them.

    A code minimises ``||z - c H||^2 + r ||c||^2`` over the modalities that the new
    sample z has; its place is the mean of known ones, weighted by ``|c|``.

    Parameters
    ----------
    points : ndarray of shape (m, V d)
        Latents z of new samples.
    observed : ndarray of bool of shape (m, V)
        Which modalities of a new sample are observed.
    known : ndarray of shape (n, V d)
        Latents H of known samples.
    embedding : ndarray of shape (n, k)
        Embedding of known samples.

    Returns
    -------
    ndarray of shape (m, k)
        The embedding, with rows of unit norm.
    """
    embedded = np.zeros((len(points), embedding.shape[1]))
    width = points.shape[1] // observed.shape[1]
    patterns, pattern = np.unique(observed, axis=0, return_inverse=True)
    for i, seen in enumerate(patterns):
        rows, columns = pattern.ravel() == i, np.repeat(seen, width)
        H = known[:, columns].astype(np.float64)
        gram = H.T @ H
        mean = np.trace(gram) / len(gram)
        # of known latents that are 0, codes are 0 with any ridge
        gram.flat[:: len(gram) + 1] += RIDGE * (mean if mean > 0 else 1.0)
        codes = linalg.solve(gram, points[rows][:, columns].T, assume_a="pos").T @ H.T
        embedded[rows] = np.abs(codes) @ embedding
    return normalize(embedded)


def _anchor_graph(
    anchors: dict[str, np.ndarray], points: np.ndarray
) -> tuple[AnchorGraph, Sequence[np.ndarray]]:
    """Make the graph of samples and anchors, and the blocks of points."""
    own = [anchors[name] for name in sorted(anchors, key=_position)]
    blocks = np.split(points, len(own), axis=1)
    graph = AnchorGraph([Scaling(None)] * len(own), own, [RIDGE] * len(own), None)
    return graph, blocks


def _position(name: str) -> int:
    return int(name.removeprefix("anchors_"))


def _anchor_embedding(
    arrays: dict[str, np.ndarray], points: np.ndarray, observed: np.ndarray
) -> np.ndarray:
    """Embed samples by combinations of anchors."""
    anchors = {n: own for n, own in arrays.items() if n.startswith("anchors_")}
    graph, blocks = _anchor_graph(anchors, points)
    projection = arrays["projection"]
    embedding = AnchorEmbedding(projection, np.ones(projection.shape[1]))
    chunks = graph.chunks(blocks, observed)
    return np.vstack([embedding.embed(weights) for _, weights in chunks])
