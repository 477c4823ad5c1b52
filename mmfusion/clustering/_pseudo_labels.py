"""Training on pseudo-labels: clusters of k-means, matched to those of a network."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import minmax_scale
from torch import Tensor, nn
from torch.nn import functional as F

from mmfusion._threads import one_thread
from mmfusion.nn._data import Batches, spaced_rows
from mmfusion.nn._distributed import broadcast
from mmfusion.nn._isolation import drawing
from mmfusion.nn._net import DeepNet, EncodedBatch, Objective
from mmfusion.nn._network import evaluating
from mmfusion.nn._training import OUTPUT_CHUNK_ROWS

MISSING = -1  # pseudo-label of a sample that lacks the modality
N_INIT = 10  # restarts of k-means
MAX_LABELLED_ROWS = 10_000  # samples with pseudo-labels, which are one batch


class PseudoLabels(nn.Module):
    """The pseudo-labels of samples, and a hash of the data that they belong to.

    They are an extra state of the module, whose size is that of the data.
    """

    def __init__(self) -> None:
        super().__init__()
        self.digest = ""
        self.targets = torch.zeros(0, 0, dtype=torch.int64)

    def get_extra_state(self) -> dict[str, Any]:
        """Return the labels and the hash, for checkpoints."""
        return {"digest": self.digest, "targets": self.targets}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore them."""
        self.digest, self.targets = state["digest"], state["targets"]


@dataclass(frozen=True)
class PseudoLabelObjective(Objective):
    """Cross-entropy of the assignment by each modality and matched pseudo-labels.

    Before the first epoch, the features of each modality are clustered by k-means, and
    these clusters are matched to those of the network.

    Parameters
    ----------
    compared : Objective
        Objective by which restarts are compared, since pseudo-labels differ.
    """

    compared: Objective

    def begin_epoch(self, net: DeepNet, data: Batches, n_done: int) -> None:
        """Compute the pseudo-labels; they are constant for as long as the data are."""
        part: Any = net.parts_["pseudo_labels"]
        with drawing():  # drawn always, so that a resumed training draws what follows
            seed = int(torch.randint(2**31 - 1, ()))
        if n_done == 0 or part.digest != data.digest():
            part.targets = broadcast(_match_labels(net, data, seed))
            part.digest = data.digest()

    def weights(self, progress: float) -> dict[str, float]:
        """Return the weight of the only term."""
        return {"pseudo_labels": 1.0}

    def terms(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute the cross-entropy, a sum over modalities of means over samples."""
        part: Any = net.parts_["pseudo_labels"]
        with net.precision():
            _, logits = net.module_.heads(batch.latents)
        losses = []
        for own, targets in zip(logits.to(batch.latents), part.targets, strict=True):
            targets = targets.to(own.device)
            total = F.cross_entropy(own, targets, ignore_index=MISSING, reduction="sum")
            losses.append(total / torch.clamp_min((targets != MISSING).sum(), 1))
        return {"pseudo_labels": torch.stack(losses).sum()}

    def losses(self, net: DeepNet, batch: EncodedBatch) -> dict[str, Tensor]:
        """Compute the losses of the objective by which restarts are compared."""
        return self.compared.losses(net, batch)


def _match_labels(net: DeepNet, data: Batches, seed: int) -> Tensor:
    """Compute the pseudo-labels of each modality; a tensor of int of shape (V, m)."""
    features, logits, observed = _heads_of(net, data)
    pairs = zip(features, logits, observed.T, strict=True)
    return torch.tensor(np.stack([matched_clusters(*own, seed=seed) for own in pairs]))


def _heads_of(net: DeepNet, data: Batches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute features and logits of the samples that get pseudo-labels."""
    rows = spaced_rows(len(data), MAX_LABELLED_ROWS)
    features, logits, masks = [], [], []
    with evaluating(net.module_):
        for start in range(0, len(rows), OUTPUT_CHUNK_ROWS):
            batch = data.batch(rows[start : start + OUTPUT_CHUNK_ROWS])
            latents = net.module_.encode(batch.inputs, batch.observed)
            own = net.module_.heads(latents)
            features.append(own[0].float().cpu().numpy())
            logits.append(own[1].float().cpu().numpy())
            shape = latents.shape[1::-1]
            mask = torch.ones(shape) if batch.observed is None else batch.observed
            masks.append(mask.bool().cpu().numpy())
    together = np.concatenate(features, 1), np.concatenate(logits, 1)
    return *together, np.concatenate(masks)


def matched_clusters(
    features: np.ndarray, logits: np.ndarray, observed: np.ndarray, seed: int
) -> np.ndarray:
    """Cluster features by k-means, and match the clusters to those of logits.

    Features are scaled to [0, 1]. The clusters are named so that most samples have the
    cluster of their largest logit, by the Hungarian method.

    Parameters
    ----------
    features : ndarray of shape (m, f)
        Features of one modality.
    logits : ndarray of shape (m, k)
        Assignments to the clusters of the network.
    observed : ndarray of bool of shape (m,)
        Samples that have the modality.
    seed : int
        Seed of k-means.

    Returns
    -------
    ndarray of int of shape (m,)
        Clusters of the network; -1 where a sample lacks the modality.
    """
    found = np.full(len(features), MISSING, dtype=np.int64)
    n_clusters = min(logits.shape[1], int(observed.sum()))
    if n_clusters == 0:
        return found
    with one_thread(), warnings.catch_warnings():
        # fewer distinct samples than clusters: the estimator reports empty clusters
        warnings.simplefilter("ignore", ConvergenceWarning)
        k_means = KMeans(n_clusters, n_init=N_INIT, random_state=seed)
        clusters = k_means.fit_predict(minmax_scale(features[observed]))
    of_network = logits[observed].argmax(1)
    counts = np.zeros((n_clusters, logits.shape[1]), dtype=np.int64)
    np.add.at(counts, (clusters, of_network), 1)
    found[observed] = linear_sum_assignment(counts, maximize=True)[1][clusters]
    return found
