"""EM for mixtures whose components are independent in the modalities.

``log p(x) = log sum_k s_k prod_v b_kv(x_v)^(w_v)`` over the modalities v that a sample
has, with shares s and weights w of the modalities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import euclidean_distances

from mmfusion._progress import OnStep, go_on
from mmfusion.graphical._clock import Frames, ModalityFrames
from mmfusion.graphical._multimodal_emission import MultimodalEmission

SMALLEST_SHARE = 1e-300
START_STEPS = 30  # largest number, of k-means on missing modalities and of its EM
START_TOLERANCE_NATS = 1e-3  # of a sample, that ends the EM of the start
SMALLEST_START_VARIANCE = 1e-6  # share of the variance around one mean


@dataclass
class MixtureModel:
    """Shares of the components and the densities of the modalities in them.

    Parameters
    ----------
    emission : MultimodalEmission
        Densities; components are its states.
    shares : ndarray of shape (n_components,)
        Probabilities of the components.
    """

    emission: MultimodalEmission
    shares: np.ndarray

    def joint(self, frames: Frames) -> np.ndarray:
        """Compute ``log(s_k b_k(x))``, of shape (n_samples, n_components)."""
        with np.errstate(divide="ignore"):
            return self.emission.log_density(frames) + np.log(self.shares)

    def maximize(self, frames: Frames, responsibilities: np.ndarray) -> None:
        """Set shares and densities by the M-step."""
        statistics = self.emission.statistics()
        self.emission.accumulate(statistics, frames, 0, responsibilities)
        self.emission.maximize(statistics)
        totals = responsibilities.sum(axis=0)
        self.shares = totals / totals.sum()


def samples_as_frames(blocks: dict[str, np.ndarray], observed: np.ndarray) -> Frames:
    """Return samples as sequences of one frame.

    Parameters
    ----------
    blocks : dict of ndarray of shape (n_observed, n_features)
        Rows of the samples that have each modality.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Which samples have which modality.

    Returns
    -------
    Frames
        The frames.
    """
    modalities = {}
    for (name, block), own in zip(blocks.items(), observed.T, strict=True):
        steps = None if own.all() else np.flatnonzero(own)
        modalities[name] = ModalityFrames(block, steps)
    return Frames(np.arange(len(observed) + 1), modalities)


def fit_mixture(
    model: MixtureModel,
    frames: Frames,
    responsibilities: np.ndarray,
    *,
    max_iter: int,
    tol: float,
    on_step: OnStep = go_on,
) -> tuple[list[float], bool]:
    """Fit a mixture by EM, starting with an M-step.

    Parameters
    ----------
    model : MixtureModel
        The mixture, after `prepare`; it is changed.
    frames : Frames
        The samples.
    responsibilities : ndarray of shape (n_samples, n_components)
        Probabilities of the components of each sample.
    max_iter : int
        Largest number of iterations.
    tol : float
        Increase of the objective for each sample, in nats, that ends them.
    on_step : callable, default=go_on
        Function of the objective, called after each iteration; True stops.

    Returns
    -------
    history : list of float
        Penalised log-likelihood after each iteration; it never falls.
    converged : bool
        Whether the increase fell below the tolerance.
    """
    history: list[float] = []
    n_samples = len(responsibilities)
    for _ in range(max_iter):
        model.maximize(frames, responsibilities)
        joint = model.joint(frames)
        log_likelihoods = logsumexp(joint, axis=1)
        history.append(float(log_likelihoods.sum()) + model.emission.log_prior())
        stops = on_step(history[-1])
        if len(history) > 1 and history[-1] - history[-2] < tol * n_samples:
            return history, True
        if stops:
            break
        responsibilities = np.exp(joint - log_likelihoods[:, None])
    return history, False


def start_responsibilities(
    blocks: list[np.ndarray],
    observed: np.ndarray,
    weights: np.ndarray,
    n_components: int,
    random_state: np.random.RandomState,
) -> np.ndarray:
    """Start from k-means, followed by EM with one variance for each modality.

    k-means is on the modalities side by side, with 0 for missing ones; where some are
    missing it goes on with distances of those that a sample has. Densities with one
    variance for all components and features of a modality then weigh the modalities by
    how well clusters fit them.

    Parameters
    ----------
    blocks : list of ndarray of shape (n_samples, n_features)
        Centred modalities of comparable variance; rows of missing ones are 0.
    observed : ndarray of bool of shape (n_samples, n_modalities)
        Which samples have which modality.
    weights : ndarray of shape (n_modalities,)
        Weights of the modalities.
    n_components : int
        Number of components.
    random_state : RandomState
        Generator of the first centres.

    Returns
    -------
    ndarray of shape (n_samples, n_components)
        Responsibilities.
    """
    together = np.hstack(blocks)
    k = min(n_components, len(np.unique(together, axis=0)))
    k_means = KMeans(k, n_init=1, random_state=random_state).fit(together)
    indicators = np.eye(n_components)[k_means.labels_]
    if not observed.all():
        indicators = _lloyd(blocks, observed, indicators)
    return _spherical_em(blocks, observed, weights, indicators)


def _lloyd(
    blocks: list[np.ndarray], observed: np.ndarray, indicators: np.ndarray
) -> np.ndarray:
    """Assign samples to the nearest centres in the modalities that they have."""
    for _ in range(START_STEPS):
        distances = np.zeros_like(indicators)
        for block, own in zip(blocks, observed.T, strict=True):
            centers, _ = _centers(block, own, indicators)
            distances += own[:, None] * euclidean_distances(
                block, centers, squared=True
            )
        assigned = np.eye(indicators.shape[1])[distances.argmin(axis=1)]
        if (assigned == indicators).all():
            break
        indicators = assigned
    return indicators


def _spherical_em(
    blocks: list[np.ndarray],
    observed: np.ndarray,
    weights: np.ndarray,
    responsibilities: np.ndarray,
) -> np.ndarray:
    before = -np.inf
    n_samples = len(responsibilities)
    for _ in range(START_STEPS):
        shares = responsibilities.sum(axis=0) / n_samples
        joint = np.log(np.maximum(shares, SMALLEST_SHARE)) + np.zeros((n_samples, 1))
        for block, own, weight in zip(blocks, observed.T, weights, strict=True):
            centers, counts = _centers(block, own, responsibilities)
            squares = (block[own] ** 2).sum()
            left = squares - (counts[:, None] * centers**2).sum()
            n_cells = max(1, int(own.sum())) * block.shape[1]
            floor = max(SMALLEST_START_VARIANCE * squares / n_cells, SMALLEST_SHARE)
            variance = max(left / n_cells, floor)
            density = euclidean_distances(block, centers, squared=True) / variance
            density += block.shape[1] * np.log(variance)
            joint -= 0.5 * weight * own[:, None] * density
        log_likelihoods = logsumexp(joint, axis=1)
        responsibilities = np.exp(joint - log_likelihoods[:, None])
        value = log_likelihoods.mean()
        if value - before < START_TOLERANCE_NATS:
            break
        before = value
    return responsibilities


def _centers(
    block: np.ndarray, own: np.ndarray, responsibilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return means of components over the samples that have a modality, and counts."""
    parts = responsibilities[own]
    counts = parts.sum(axis=0)
    centers = parts.T @ block[own] / np.maximum(counts, SMALLEST_SHARE)[:, None]
    return centers, counts
