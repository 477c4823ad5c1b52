"""Joint states of frames, from which coupled chains are estimated at the start."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmfusion.graphical._chain_model import ChainModel, decode_states, fit_chain_model
from mmfusion.graphical._clock import Frames, ModalityFrames
from mmfusion.graphical._couplings import Coupling, synchronous_coupling
from mmfusion.graphical._graph import transition_matrix
from mmfusion.graphical._graph_builders import ergodic_graph
from mmfusion.graphical._initialization import (
    equal_segments,
    initialize_emission,
    kmeans_states,
    scaled_steps,
)
from mmfusion.graphical._mean_field import MeanFieldModel
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.graphical._transition_models import (
    ChainTransitions,
    HierarchicalTransitions,
    normalized,
)

TRANSITION_PRIOR = 0.1  # count added for each transition
START_ITERATIONS = 20  # of the single chains from which coupled ones start
LEAST_COMMON_SHARE = 0.1  # of the largest covariance, of a direction in common
# emission of some modalities with a number of states
EmissionMaker = Callable[[int, list[str]], MultimodalEmission]


def start_states(
    coupling: Coupling,
    frames: Frames,
    make_emission: EmissionMaker,
    seed: int,
    *,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """Assign a joint state to each step of the clock.

    Parameters
    ----------
    coupling : Coupling
        The coupling.
    frames : Frames
        Frames on the clock.
    make_emission : callable
        Given a number of states and names of modalities, returns their emission.
    seed : int
        Seed of k-means, the same for every modality, so that their order has no effect.
    sample_weight : ndarray of shape (n_sequences,), default=None
        Weights of the sequences in the fits of single chains. Clusters have none.

    Returns
    -------
    ndarray of int32 of shape (n_steps,)
        Joint states: of one chain, clusters by k-means; of a chain for each modality,
        its states by itself; of shared and private chains, clusters of what modalities
        have in common, and of the rest of each; of units, states that often follow one
        another; of chains from left to right, equal segments.
    """
    step = coupling.transition_model
    if isinstance(step, HierarchicalTransitions):
        return _states_of_units(step, frames, make_emission, seed, sample_weight)
    if isinstance(step, ChainTransitions):
        chains = coupling.chains
        if "shared" in chains:
            by_chain = _private_starts(chains, frames, seed)
        else:
            by_chain = _single_chains(
                chains, frames, make_emission, seed, sample_weight
            )
        joint = np.ravel_multi_index(tuple(by_chain), step.shape)
        return joint.astype(np.int32)
    (n_states,) = set(coupling.chains.values())
    if len(coupling.chains) == 1:
        return kmeans_states(frames, n_states, np.random.RandomState(seed))
    segments = equal_segments(frames.offsets, n_states)
    diagonal = np.flatnonzero(coupling.states[:, 0] == coupling.states[:, 1])
    return diagonal[segments].astype(np.int32)


def set_start(
    model: ChainModel,
    coupling: Coupling,
    frames: Frames,
    states: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
) -> None:
    """Set the parameters of a model to those of given joint states.

    Parameters
    ----------
    model : ChainModel
        The model of the coupling, whose emission is prepared.
    coupling : Coupling
        The coupling.
    frames : Frames
        Frames on the clock.
    states : ndarray of int of shape (n_steps,)
        Joint state of each step.
    sample_weight : ndarray of shape (n_sequences,), default=None
        Weights of the sequences.
    """
    weight = (
        np.ones(len(frames.offsets) - 1) if sample_weight is None else sample_weight
    )
    initialize_emission(
        model.emission,
        frames,
        states,
        sample_weight=sample_weight,
        columns=model.columns,
    )
    step = coupling.transition_model
    if step is None:
        return
    counts, starts = _counts(states, frames.offsets, weight, len(coupling.states))
    step.set_counts(counts, starts, TRANSITION_PRIOR)
    model.graph = step.graph()


def set_mean_field_start(model: MeanFieldModel, frames: Frames, seed: int) -> None:
    """Set the parameters of a shared chain and private ones to those of clusters.

    Parameters
    ----------
    model : MeanFieldModel
        The model, whose emission is prepared.
    frames : Frames
        Frames on the clock.
    seed : int
        Seed of k-means.
    """
    sizes = {name: model.n_states(name) for name in model.graphs}
    by_chain = dict(zip(sizes, _private_starts(sizes, frames, seed), strict=True))
    weight = np.ones(len(frames.offsets) - 1)
    for name, n_states in sizes.items():
        counts, starts = _counts(by_chain[name], frames.offsets, weight, n_states)
        model.graphs[name] = ergodic_graph(
            normalized(counts, TRANSITION_PRIOR), normalized(starts, TRANSITION_PRIOR)
        )
    for name in model.emission.emissions:
        states = by_chain[model.shared] * model.n_states(name)
        states = states + by_chain[name] if name in by_chain else states
        initialize_emission(model.of_modality(name), frames, states)


def _counts(
    states: np.ndarray, offsets: np.ndarray, weight: np.ndarray, n_states: int
) -> tuple[np.ndarray, np.ndarray]:
    """Count transitions and first states."""
    lengths = np.diff(offsets)
    first = offsets[:-1][lengths > 0]
    follows = np.ones(len(states), dtype=bool)
    follows[first] = False
    at = np.flatnonzero(follows)
    weight_at = np.repeat(weight, lengths)
    pairs = states[at - 1].astype(np.int64) * n_states + states[at]
    counts = np.bincount(pairs, weight_at[at], minlength=n_states**2)
    starts = np.bincount(states[first], weight_at[first], minlength=n_states)
    return counts.reshape(n_states, n_states), starts


def _fitted_chain(
    frames: Frames,
    names: list[str],
    n_states: int,
    make_emission: EmissionMaker,
    seed: int,
    sample_weight: np.ndarray | None,
) -> ChainModel:
    """Fit one chain to some modalities, in a few iterations."""
    coupling = synchronous_coupling(names, n_states)
    model = ChainModel(coupling.graph, make_emission(n_states, names))
    model.emission.prepare(frames, sample_weight)
    states = kmeans_states(frames, n_states, np.random.RandomState(seed))
    initialize_emission(model.emission, frames, states, sample_weight=sample_weight)
    fit_chain_model(
        model, frames, max_iter=START_ITERATIONS, sample_weight=sample_weight
    )
    return model


def _single_chains(
    chains: dict[str, int],
    frames: Frames,
    make_emission: EmissionMaker,
    seed: int,
    sample_weight: np.ndarray | None,
) -> list[np.ndarray]:
    """Decode a chain of each modality by itself."""
    found = []
    for name, n_states in chains.items():
        alone = Frames(frames.offsets, {name: frames.modalities[name]})
        model = _fitted_chain(
            alone, [name], n_states, make_emission, seed, sample_weight
        )
        found.append(decode_states(model, alone)[0])
    return found


def _private_starts(
    chains: dict[str, int], frames: Frames, seed: int
) -> list[np.ndarray]:
    """Cluster what modalities have in common, and of each what this leaves."""
    common = _common_parts(frames, chains["shared"] - 1)
    random_state = np.random.RandomState(seed)
    shared = kmeans_states(common, chains["shared"], random_state)
    found = [shared]
    for name, n_states in list(chains.items())[1:]:
        rest = _without_means(frames.modalities[name], shared, chains["shared"])
        alone = Frames(frames.offsets, {name: rest})
        found.append(kmeans_states(alone, n_states, np.random.RandomState(seed)))
    return found


def _common_parts(frames: Frames, n_directions: int) -> Frames:
    """Project each modality on the directions in which it varies with the others."""
    tables = {
        name: scaled_steps(own, frames.n_steps)
        for name, own in frames.modalities.items()
    }
    if len(tables) < 2 or n_directions < 1:
        return frames
    projected = {}
    for name, table in tables.items():
        others = np.hstack([other for key, other in tables.items() if key != name])
        # singular vectors of the covariances with the others
        vectors, values, _ = np.linalg.svd(table.T @ others, full_matrices=False)
        kept = values[:n_directions] > LEAST_COMMON_SHARE * values[0]
        if kept.any():
            directions = vectors[:, :n_directions][:, kept]
            projected[name] = ModalityFrames(table @ directions)
    return Frames(frames.offsets, projected) if projected else frames


def _without_means(
    own: ModalityFrames, states: np.ndarray, n_states: int
) -> ModalityFrames:
    """Subtract the mean of each state from the frames in it."""
    at = states if own.steps is None else states[own.steps]
    values = own.values.copy()
    for state in range(n_states):
        chosen = at == state
        rows = values[chosen]
        observed = ~np.isnan(rows)
        counts = np.maximum(observed.sum(axis=0), 1)
        values[chosen] = rows - np.where(observed, rows, 0).sum(axis=0) / counts
    return own._replace(values=values)


def _states_of_units(
    step: HierarchicalTransitions,
    frames: Frames,
    make_emission: EmissionMaker,
    seed: int,
    sample_weight: np.ndarray | None,
) -> np.ndarray:
    """Decode one chain of all states, and group those that follow one another."""
    n_states = step.n_units * step.n_states
    names = list(frames.modalities)
    model = _fitted_chain(frames, names, n_states, make_emission, seed, sample_weight)
    states, _ = decode_states(model, frames)
    matrix = transition_matrix(model.graph)
    dense = np.asarray(matrix if isinstance(matrix, np.ndarray) else matrix.toarray())
    occupancy = np.bincount(states, minlength=n_states) + 1.0
    rank = np.empty(n_states, dtype=np.int32)
    rank[_chained_order(occupancy[:, None] * dense)] = np.arange(n_states)
    return rank[states]


def _chained_order(flow: np.ndarray) -> np.ndarray:
    """Order states so that those with much flow between them are near each other.

    The order of the second eigenvector of the normalised Laplacian of the flow, which
    minimises the squared distances of states weighted by their flow.
    """
    weights = flow + flow.T
    np.fill_diagonal(weights, 0)
    roots = np.sqrt(np.maximum(weights.sum(axis=1), np.finfo(float).tiny))
    _, vectors = np.linalg.eigh(weights / roots / roots[:, None])
    if len(roots) < 2:
        return np.arange(len(roots))
    return np.argsort(vectors[:, -2] / roots, kind="stable")
