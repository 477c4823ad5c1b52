"""A head that assigns latents to the nearest of some centres."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor, nn

from mmfusion._threads import one_thread

N_INIT = 10  # restarts of k-means, the fits of which cost little beside a training
MAX_ITER = 100  # of k-means where coordinates are missing


class Centers(nn.Module):
    """Head whose logits fall with the squared distances D_qj to k centres.

    They are ``-D_qj / s``, or with `student_t` ``-log(1 + D_qj / s)``, whose softmax is
    the assignment by a Student t distribution of one degree of freedom (Xie et al.
    2016). The scale s is the mean squared distance of points to their own centre: in
    its place, 1 would make assignments uniform for small distances, and hard for large.

    Parameters
    ----------
    n_clusters : int
        Number of clusters k.
    width : int
        Number of coordinates D of a point.
    student_t : bool, default=False
        Whether assignments are those of Student's t. Their centres are trained;
        otherwise they are set by `fit` alone.
    """

    n_heads = 1
    scale: Tensor

    def __init__(self, n_clusters: int, width: int, *, student_t: bool = False) -> None:
        super().__init__()
        self.n_clusters, self.student_t = n_clusters, student_t
        centers = torch.zeros(n_clusters, width)
        self.centers = nn.Parameter(centers, requires_grad=student_t)
        self.register_buffer("scale", torch.ones(()))

    def forward(
        self, points: Tensor, observed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the logits of points.

        Parameters
        ----------
        points : tensor of shape (m, D)
            The points: the latents of V modalities side by side, or one latent.
        observed : tensor of bool of shape (m, V), default=None
            Modalities whose coordinates count; None is all. As in
            `sklearn.metrics.pairwise.nan_euclidean_distances`, squared distances are
            scaled up by the share of coordinates that do not count.

        Returns
        -------
        hidden : tensor of shape (1, m, D)
            The points.
        logits : tensor of shape (1, m, k)
            The logits.
        """
        distances = squared_distances_to(points, self.centers, observed) / self.scale
        logits = -torch.log1p(distances) if self.student_t else -distances
        return points[None], logits[None]

    @torch.no_grad()
    def fit(self, points: np.ndarray, observed: np.ndarray | None, seed: int) -> None:
        """Set the centres to those that k-means finds, and the scale.

        Centres that were set before are where k-means begins, so that clusters keep
        their order.

        Parameters
        ----------
        points : ndarray of shape (n_samples, D)
            The points, at least as many as centres.
        observed : ndarray of bool of shape (n_samples, V) or None
            Modalities whose coordinates count; None is all.
        seed : int
            Seed of k-means.
        """
        before = self.centers.cpu().numpy().astype(points.dtype)
        found = kmeans_centers(points, observed, before, seed)
        self.centers.copy_(torch.as_tensor(found))
        mask = None if observed is None else torch.tensor(observed)
        distances = squared_distances_to(
            torch.tensor(points), torch.tensor(found), mask
        )
        scale = distances.min(1).values.mean()
        self.scale.copy_(scale if scale > 0 else torch.ones(()))


def squared_distances_to(
    points: Tensor, centers: Tensor, observed: Tensor | None = None
) -> Tensor:
    """Compute squared distances of points and centres over what is observed.

    Parameters
    ----------
    points : tensor of shape (m, D)
        The points.
    centers : tensor of shape (k, D)
        The centres.
    observed : tensor of bool of shape (m, V), default=None
        Which of V equal blocks of coordinates count; None is all. The sum over these
        is divided by their share.

    Returns
    -------
    tensor of shape (m, k)
        Squared distances; nonnegative.
    """
    n_blocks = 1 if observed is None else observed.shape[1]
    x = points.unflatten(1, (n_blocks, -1)).transpose(0, 1)
    c = centers.unflatten(1, (n_blocks, -1)).transpose(0, 1)
    squares = x.square().sum(2)[:, :, None] + c.square().sum(2)[:, None, :]
    with torch.autocast(x.device.type, enabled=False):  # differences cancel
        by_block = torch.clamp_min(squares - 2 * x @ c.mT, 0)
    if observed is None:
        return by_block[0]
    shares = observed.to(points) / observed.sum(1, keepdim=True) * n_blocks
    return torch.einsum("mv,vmk->mk", shares, by_block)


def kmeans_centers(
    points: np.ndarray, observed: np.ndarray | None, before: np.ndarray, seed: int
) -> np.ndarray:
    """Find the centres of k-means, also of points that lack coordinates.

    K-means of points that are completed by 0 is where iterations begin that assign
    points, and average them, over what is observed: no centre is drawn towards 0 by
    what is missing.

    Parameters
    ----------
    points : ndarray of shape (n_samples, D)
        The points, with a mean near 0; coordinates that do not count are 0.
    observed : ndarray of bool of shape (n_samples, V) or None
        Which of V equal blocks of coordinates count; None is all.
    before : ndarray of shape (k, D)
        Centres to begin with; if all are 0, k-means++ draws them.
    seed : int
        Seed of k-means.

    Returns
    -------
    ndarray of shape (k, D)
        The centres.
    """
    start: dict[str, Any] = {"n_init": N_INIT, "random_state": seed}
    if before.any():
        start |= {"n_init": 1, "init": before}
    with one_thread(), warnings.catch_warnings():
        # fewer distinct points than clusters: the estimator reports empty clusters
        warnings.simplefilter("ignore", ConvergenceWarning)
        k_means = KMeans(len(before), **start).fit(points)
    centers, labels = k_means.cluster_centers_, k_means.labels_
    if observed is None:
        return centers
    width = points.shape[1] // observed.shape[1]
    for _ in range(MAX_ITER):
        members = np.equal.outer(np.arange(len(centers)), labels).astype(points.dtype)
        counts = np.repeat(members @ observed, width, axis=1)
        centers = np.where(
            counts > 0, members @ points / np.maximum(counts, 1), centers
        )
        closest = _nearest(points, centers, observed)
        if (closest == labels).all():
            break
        labels = closest
    return centers


def _nearest(
    points: np.ndarray, centers: np.ndarray, observed: np.ndarray
) -> np.ndarray:
    """Return the position of the nearest centre of each point."""
    distances = squared_distances_to(
        torch.tensor(points), torch.tensor(centers), torch.tensor(observed)
    )
    return distances.argmin(1).numpy()
