"""EM for mixtures of hidden Markov models: numerics of `HMMClusterer`."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp
from sklearn.cluster import KMeans

from mmfusion._chain_estimators import chain_graph
from mmfusion._progress import OnStep, go_on
from mmfusion.graphical._chain_model import (
    ChainModel,
    fit_chain_model,
    score_sequences,
)
from mmfusion.graphical._clock import Frames, ModalityFrames, select_sequences
from mmfusion.graphical._em import TiedTransitions
from mmfusion.graphical._gaussian import pooled_moments
from mmfusion.graphical._initialization import (
    equal_segments,
    initialize_emission,
    kmeans_states,
)
from mmfusion.graphical._multimodal_emission import MultimodalEmission

TRANSITION_PRIOR = 0.1  # count added to each transition parameter
SMALLEST_PART = 1e-8  # responsibility from which a sample counts in a cluster
SMALLEST_CLUSTER = 1e-3  # samples below which a cluster is empty
N_SEGMENTS = 4  # of a sequence, whose means are clustered first


@dataclass
class HMMMixture:
    """Shares of clusters and the chain of each.

    Parameters
    ----------
    models : list of ChainModel
        The chains.
    shares : ndarray of shape (n_clusters,)
        Probabilities of the clusters.
    """

    models: list[ChainModel]
    shares: np.ndarray

    def joint(self, frames: Frames, n_jobs: int | None = None) -> np.ndarray:
        """Compute ``log(s_k p_k(x))``, of shape (n_samples, n_clusters)."""
        scores = [score_sequences(model, frames, n_jobs) for model in self.models]
        with np.errstate(divide="ignore"):
            return np.column_stack(scores) + np.log(self.shares)

    def log_prior(self) -> float:
        """Compute the log prior of all chains, up to a constant."""
        transitions = TiedTransitions()
        return sum(
            model.emission.log_prior()
            + transitions.log_prior(model.graph, TRANSITION_PRIOR)
            for model in self.models
        )

    def maximize(
        self, frames: Frames, responsibilities: np.ndarray, n_jobs: int | None
    ) -> None:
        """Update shares, and every chain by one step of EM."""
        totals = responsibilities.sum(axis=0)
        self.shares = totals / totals.sum()
        for model, part in zip(self.models, responsibilities.T, strict=True):
            rows = np.flatnonzero(part > SMALLEST_PART)
            if rows.size:
                fit_chain_model(
                    model,
                    select_sequences(frames, rows),
                    max_iter=1,
                    transition_prior=TRANSITION_PRIOR,
                    sample_weight=part[rows],
                    n_jobs=n_jobs,
                )


def pooled_features(frames: Frames) -> np.ndarray:
    """Return means of the segments of each sequence, and deviations from them.

    Parameters
    ----------
    frames : Frames
        Sequences on their clocks.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Standardised, with a total variance of 1 for each modality; 0 where a sample
        lacks a modality, or a segment has no frame.
    """
    n_samples = len(frames.offsets) - 1
    segments = equal_segments(frames.offsets, N_SEGMENTS)
    sample_of_step = np.repeat(np.arange(n_samples), np.diff(frames.offsets))
    parts = []
    for own in frames.modalities.values():
        steps = np.arange(len(own.values)) if own.steps is None else own.steps
        groups = sample_of_step[steps] * N_SEGMENTS + segments[steps]
        center, scale, _ = pooled_moments(own.values)
        own = own._replace(values=(own.values - center) / scale)  # squares are finite
        means = _group_means(own, groups, n_samples * N_SEGMENTS)
        deviations = own.values - means[groups]
        squares = _group_means(
            ModalityFrames(deviations**2), sample_of_step[steps], n_samples
        )
        pooled = np.hstack([means.reshape(n_samples, -1), np.sqrt(squares)])
        parts.append(_block_scaled(pooled))
    return np.hstack(parts)


def _group_means(own: ModalityFrames, groups: np.ndarray, n_groups: int) -> np.ndarray:
    """Return means of frames by group, NaN of groups without frames."""
    seen = ~np.isnan(own.values)
    values = np.where(seen, own.values, 0.0)
    sums = np.zeros((n_groups, values.shape[1]))
    counts = np.zeros_like(sums)
    np.add.at(sums, groups, values)
    np.add.at(counts, groups, seen)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def _block_scaled(values: np.ndarray) -> np.ndarray:
    """Standardise features, divide by the root of their number, and fill NaN by 0."""
    seen = ~np.isnan(values)
    counts = np.maximum(seen.sum(axis=0), 1)
    centred = values - np.where(seen, values, 0.0).sum(axis=0) / counts
    centred[~seen] = 0.0
    spread = np.sqrt((centred**2).sum(axis=0) / counts)
    spread = np.where(spread > 0, spread, 1.0) * np.sqrt(values.shape[1])
    return centred / spread


def start_clusters(
    frames: Frames, n_clusters: int, random_state: np.random.RandomState
) -> np.ndarray:
    """Cluster the pooled features of sequences by k-means.

    Parameters
    ----------
    frames : Frames
        Sequences on their clocks.
    n_clusters : int
        Number of clusters.
    random_state : RandomState
        Generator of the first centres.

    Returns
    -------
    ndarray of shape (n_samples, n_clusters)
        1 for the cluster of a sample, else 0.
    """
    features = pooled_features(frames)
    k = min(n_clusters, len(np.unique(features, axis=0)))
    labels = KMeans(k, n_init=1, random_state=random_state).fit_predict(features)
    return _filled_clusters(np.eye(n_clusters)[labels], None)


def start_model(
    emission: MultimodalEmission,
    frames: Frames,
    part: np.ndarray,
    n_states: int,
    topology: str,
    random_state: np.random.RandomState,
) -> ChainModel:
    """Start the chain of a cluster from equal segments, or clusters of frames.

    Parameters
    ----------
    emission : MultimodalEmission
        The emission of the pooled frames, which is copied.
    frames : Frames
        Sequences on their clocks.
    part : ndarray of shape (n_samples,)
        Responsibilities of the cluster.
    n_states : int
        Number of states.
    topology : {'left-to-right', 'ergodic'}
        Order of the states.
    random_state : RandomState
        Generator of k-means.

    Returns
    -------
    ChainModel
        The chain.
    """
    model = ChainModel(chain_graph(n_states, topology), copy.deepcopy(emission))
    if topology == "left-to-right":
        states = equal_segments(frames.offsets, n_states)
    else:
        states = kmeans_states(frames, n_states, random_state)
    initialize_emission(model.emission, frames, states, sample_weight=part)
    return model


def fit_hmm_mixture(
    mixture: HMMMixture,
    frames: Frames,
    responsibilities: np.ndarray,
    *,
    hard_iterations: int,
    max_iter: int,
    tol: float,
    n_jobs: int | None = None,
    on_step: OnStep = go_on,
) -> tuple[list[float], bool]:
    """Fit the chains and shares by EM, with samples in one cluster at first.

    Parameters
    ----------
    mixture : HMMMixture
        The mixture, with its first chains; it is changed.
    frames : Frames
        Sequences on their clocks.
    responsibilities : ndarray of shape (n_samples, n_clusters)
        First probabilities of the clusters.
    hard_iterations : int
        Number of first iterations that assign samples to one cluster.
    max_iter : int
        Largest number of iterations.
    tol : float
        Increase of the objective, per clock step, that ends them.
    n_jobs : int, default=None
        Number of threads.
    on_step : callable, default=go_on
        Function of the objective, called after each iteration; True stops.

    Returns
    -------
    history : list of float
        Penalised log-likelihood after each iteration.
    converged : bool
        Whether the increase fell below the tolerance.
    """
    history: list[float] = []
    least_gain = tol * frames.n_steps
    for iteration in range(max_iter):
        mixture.maximize(frames, responsibilities, n_jobs)
        joint = mixture.joint(frames, n_jobs)
        log_likelihoods = logsumexp(joint, axis=1)
        history.append(float(log_likelihoods.sum()) + mixture.log_prior())
        stops = on_step(history[-1])
        is_hard = iteration + 1 < hard_iterations
        gain = history[-1] - history[-2] if len(history) > 1 else np.inf
        if not is_hard and iteration + 1 > hard_iterations and gain < least_gain:
            return history, True
        if stops:
            break
        responsibilities = np.exp(joint - log_likelihoods[:, None])
        if is_hard:
            best = responsibilities.argmax(axis=1)
            responsibilities = np.eye(joint.shape[1])[best]
            responsibilities = _filled_clusters(responsibilities, log_likelihoods)
    return history, False


def _filled_clusters(
    indicators: np.ndarray, log_likelihoods: np.ndarray | None
) -> np.ndarray:
    """Give each empty cluster a sample, the one that is explained worst."""
    counts = indicators.sum(axis=0)
    empty = np.flatnonzero(counts < SMALLEST_CLUSTER)
    if not empty.size:
        return indicators
    indicators = indicators.copy()
    order = np.arange(len(indicators))
    if log_likelihoods is not None:
        order = np.argsort(log_likelihoods, kind="stable")
    movable = [i for i in order if counts[indicators[i].argmax()] > 1]
    for cluster, sample in zip(empty, movable, strict=False):
        indicators[sample] = np.eye(indicators.shape[1])[cluster]
    return indicators
