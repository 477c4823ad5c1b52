"""A chain with its emission: scores, posteriors, decoding and sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from mmfusion.graphical._clock import Frames
from mmfusion.graphical._em import EMHistory, fit_chain_model
from mmfusion.graphical._graph import ChainGraph, destinations
from mmfusion.graphical._inference import (
    ChainPosteriors,
    chain_log_likelihood,
    forward_backward,
    viterbi,
)
from mmfusion.graphical._multimodal_emission import Columns, MultimodalEmission
from mmfusion.graphical._tied_transitions import TransitionModel

__all__ = [
    "ChainModel",
    "EMHistory",
    "decode_states",
    "fit_chain_model",
    "inlier_probability",
    "log_emissions",
    "n_free_parameters",
    "sample_sequences",
    "score_sequences",
    "state_posteriors",
]


@dataclass
class ChainModel:
    """A graph of states and the densities of frames in them.

    Parameters
    ----------
    graph : ChainGraph
        States and transitions.
    emission : MultimodalEmission
        Densities of the frames.
    columns : dict of ndarray of int of shape (n_columns,), default=None
        State of each modality in each emission column of the graph. By default all
        modalities have the columns as states.
    transition_model : TransitionModel, default=None
        M-step of transitions; by default that of tied parameters.
    """

    graph: ChainGraph
    emission: MultimodalEmission
    columns: Columns | None = None
    transition_model: TransitionModel | None = None


def log_emissions(model: ChainModel, frames: Frames) -> np.ndarray:
    """Compute the emission table of the chain.

    Parameters
    ----------
    model : ChainModel
        The model.
    frames : Frames
        Frames on the clock.

    Returns
    -------
    ndarray of shape (n_steps, n_columns)
        Log densities of the steps.
    """
    return model.emission.log_density(frames, model.columns)


@singledispatch
def score_sequences(
    model: ChainModel, frames: Frames, n_jobs: int | None = None
) -> np.ndarray:
    """Compute the log-likelihood of each sequence.

    Parameters
    ----------
    model : ChainModel
        The model.
    frames : Frames
        Frames on the clock.
    n_jobs : int, default=None
        Number of threads over sequences.

    Returns
    -------
    ndarray of shape (n_sequences,)
        Log-likelihoods, -inf where no path is possible. With modality weights other
        than 1 they are scores.
    """
    table = log_emissions(model, frames)
    return chain_log_likelihood(model.graph, table, frames.offsets, n_jobs=n_jobs)


@singledispatch
def state_posteriors(
    model: ChainModel,
    frames: Frames,
    n_jobs: int | None = None,
    *,
    by_state: bool = False,
) -> ChainPosteriors:
    """Compute the posterior probabilities of the states at each step.

    Parameters
    ----------
    model : ChainModel
        The model.
    frames : Frames
        Frames on the clock.
    n_jobs : int, default=None
        Number of threads over sequences.
    by_state : bool, default=False
        Whether posteriors are those of the states of the graph, instead of those of the
        columns of emissions.

    Returns
    -------
    ChainPosteriors
        Log-likelihoods, posteriors and expected counts.
    """
    table = log_emissions(model, frames)
    return forward_backward(
        model.graph, table, frames.offsets, by_state=by_state, n_jobs=n_jobs
    )


@singledispatch
def decode_states(
    model: ChainModel, frames: Frames, n_jobs: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the likeliest path of each sequence.

    Parameters
    ----------
    model : ChainModel
        The model.
    frames : Frames
        Frames on the clock.
    n_jobs : int, default=None
        Number of threads over sequences.

    Returns
    -------
    states : ndarray of int of shape (n_steps,)
        States of the graph at the steps; -1 in sequences without a possible path.
    scores : ndarray of shape (n_sequences,)
        Log-likelihood of each path together with its sequence.
    """
    table = log_emissions(model, frames)
    return viterbi(model.graph, table, frames.offsets, n_jobs=n_jobs)


@singledispatch
def inlier_probability(
    model: ChainModel, frames: Frames, posteriors: np.ndarray
) -> dict[str, np.ndarray]:
    """Compute the posterior probability that each frame is no outlier.

    Parameters
    ----------
    model : ChainModel
        The model.
    frames : Frames
        Frames on the clock, each at one step.
    posteriors : ndarray of shape (n_steps, n_columns)
        Posteriors of the emission columns, by `state_posteriors`.

    Returns
    -------
    dict of ndarray of shape (n_frames of the modality,)
        Probabilities, by modality.
    """
    return model.emission.inlier_probability(frames, posteriors, model.columns)


def n_free_parameters(model: ChainModel) -> int:
    """Count the free parameters, for information criteria.

    Parameters
    ----------
    model : ChainModel
        The model.

    Returns
    -------
    int
        Parameters of emissions, transitions and first states; tied ones count once,
        and each distribution has one less than it has values.
    """
    group = model.graph.group
    n_transitions = len(group) - len(np.unique(group))
    n_starts = max(0, int(np.isfinite(model.graph.log_start).sum()) - 1)
    return model.emission.n_parameters + n_transitions + n_starts


@singledispatch
def sample_sequences(
    model: ChainModel,
    n_sequences: int,
    lengths: int | Sequence[int],
    random_state: np.random.RandomState,
) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray]]:
    """Draw sequences with one frame of each modality at each step.

    Parameters
    ----------
    model : ChainModel
        The model. Outlier components are left out.
    n_sequences : int
        Number of sequences.
    lengths : int or sequence of int
        Number of steps, of all or of each. Paths are drawn among those of this length
        that may end where they end.
    random_state : RandomState
        Generator.

    Returns
    -------
    samples : list of dict
        Sequences by modality, of shape (n_steps, n_features).
    states : list of ndarray of int
        States of the graph.
    """
    steps = np.broadcast_to(np.asarray(lengths, dtype=np.int64), (n_sequences,))
    onward = _onward_weights(model.graph, int(steps.max(initial=1)))
    paths = [_sample_path(model.graph, onward[:n], random_state) for n in steps]
    samples = []
    for path in paths:
        columns = model.graph.emits[path]
        sample = {}
        for name, emission in model.emission.emissions.items():
            own = columns if model.columns is None else model.columns[name][columns]
            sample[name] = emission.sample(own, random_state)
        samples.append(sample)
    return samples, paths


def _edges_by_source(graph: ChainGraph) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges in the order of their sources, and where each one begins."""
    order = np.argsort(graph.src, kind="stable")
    return order, np.searchsorted(graph.src[order], np.arange(len(graph.emits) + 1))


def _onward_weights(graph: ChainGraph, n_steps: int) -> np.ndarray:
    """Return the log weight of all that may follow each state, by remaining steps."""
    order, borders = _edges_by_source(graph)
    dst = destinations(graph)[order]
    weights = graph.log_weights[order]
    goes_on = np.diff(borders) > 0
    onward = np.full((n_steps, len(graph.emits)), -np.inf)
    onward[0] = graph.log_end
    for remaining in range(1, n_steps):
        terms = weights + onward[remaining - 1][dst]
        sums = np.logaddexp.reduceat(terms, borders[:-1][goes_on])
        onward[remaining, goes_on] = sums
    return onward


def _sample_path(
    graph: ChainGraph, onward: np.ndarray, random_state: np.random.RandomState
) -> np.ndarray:
    """Draw a path in proportion to its weight, among those with this many steps."""
    n_steps = len(onward)
    order, borders = _edges_by_source(graph)
    dst = destinations(graph)
    path = np.empty(n_steps, dtype=np.int64)
    path[0] = _draw(graph.log_start + onward[-1], n_steps, random_state)
    for t in range(1, n_steps):
        edges = order[borders[path[t - 1]] : borders[path[t - 1] + 1]]
        scores = graph.log_weights[edges] + onward[-1 - t][dst[edges]]
        path[t] = dst[edges[_draw(scores, n_steps, random_state)]]
    return path


def _draw(
    log_weights: np.ndarray, n_steps: int, random_state: np.random.RandomState
) -> int:
    largest = log_weights.max()
    if not np.isfinite(largest):
        raise ValueError(f"no path of the model has {n_steps} steps")
    cumulative = np.exp(log_weights - largest).cumsum()
    place = random_state.random_sample() * cumulative[-1]
    return int(np.searchsorted(cumulative, place, side="right"))
