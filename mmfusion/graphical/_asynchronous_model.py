"""Asynchronous chain models: frames of a signal, and events that some of them emit.

A sample may lack the signal or the events. Without events, the chain of the signal
remains. Without a signal, the number of frames is unknown too, and a sum over all
numbers of frames before each event remains: a chain of the states at the events, with
the transitions A (I - Q)^-1 D, where D has the probabilities of an event, and Q = (I -
D) A those of a step without event. Both are exact marginals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed

from mmfusion.graphical._asynchronous_lattice import (
    AsynchronousChain,
    AsynchronousPath,
    AsynchronousPosteriors,
    asynchronous_log_likelihood,
    asynchronous_path,
    asynchronous_posteriors,
)
from mmfusion.graphical._chain_model import (
    ChainModel,
    decode_states,
    inlier_probability,
    sample_sequences,
    score_sequences,
    state_posteriors,
)
from mmfusion.graphical._clock import Frames, ModalityFrames, select_sequences
from mmfusion.graphical._graph import ChainGraph, destinations, transition_matrix
from mmfusion.graphical._graph_builders import ergodic_graph
from mmfusion.graphical._inference import (
    ChainPosteriors,
    chain_log_likelihood,
    forward_backward,
    viterbi,
)


@dataclass
class AsynchronousModel(ChainModel):
    """A chain that emits a signal, and events along with some of its frames.

    Parameters
    ----------
    graph, emission, columns, transition_model
        Those of `ChainModel`: paths may end in any state, and the emission is of two
        modalities that have the states of the graph.
    signal : str
        Modality with a frame at each step; the other one has the events.
    event_probabilities : ndarray of shape (n_states,)
        Probability that a step emits the next event, by state.
    band : float or None
        Most events off an even spread.
    """

    signal: str = ""
    event_probabilities: np.ndarray = field(default_factory=lambda: np.zeros(0))
    band: float | None = None

    @property
    def events(self) -> str:
        """Name of the modality of events."""
        (name,) = set(self.emission.emissions) - {self.signal}
        return name

    @property
    def chain(self) -> AsynchronousChain:
        """Parameters of the lattice."""
        matrix = transition_matrix(self.graph)
        dense = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
        start = np.exp(self.graph.log_start)
        return AsynchronousChain(start, dense, self.event_probabilities)

    def log_densities(
        self, signal: np.ndarray, events: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the log densities of the frames and events of a sample.

        Parameters
        ----------
        signal : ndarray of shape (n_steps, n_features)
            Frames of the signal.
        events : ndarray of shape (n_events, n_features)
            The events.

        Returns
        -------
        tuple of ndarray of shape (n_steps, n_states) and (n_events, n_states)
            The log densities.
        """
        of_signal, of_events = (
            self.emission.of(name).log_density(
                Frames(np.array([0, len(own)]), {name: ModalityFrames(own)})
            )
            for name, own in ((self.signal, signal), (self.events, events))
        )
        return of_signal, of_events


class AsynchronousFrames(NamedTuple):
    """Frames of sequences, divided into a signal and events.

    Parameters
    ----------
    signal, events : Frames
        Frames of the signal on the clock, and events at steps of their own.
    has_signal, has_events : ndarray of bool of shape (n_sequences,)
        Which sequences have them.
    """

    signal: Frames
    events: Frames
    has_signal: np.ndarray
    has_events: np.ndarray


def divide_frames(model: AsynchronousModel, frames: Frames) -> AsynchronousFrames:
    """Divide sequences into signal and events.

    Parameters
    ----------
    model : AsynchronousModel
        The model. Events that have no weight are left out.
    frames : Frames
        Frames on the clock, which is that of the signal.

    Returns
    -------
    AsynchronousFrames
        The parts.
    """
    n_sequences = len(frames.offsets) - 1
    modalities = frames.modalities
    signal = Frames(
        frames.offsets, {k: v for k, v in modalities.items() if k == model.signal}
    )
    own = modalities.get(model.events)
    if own is None or model.emission.weight(model.events) == 0:
        events = Frames(np.zeros(n_sequences + 1, np.int64), {})
    else:
        borders = _borders(own, frames.offsets)
        events = Frames(borders, {model.events: ModalityFrames(own.values)})
    has_signal = np.zeros(n_sequences, dtype=bool)
    if model.signal in modalities:
        has_signal = np.diff(_borders(modalities[model.signal], frames.offsets)) > 0
    return AsynchronousFrames(signal, events, has_signal, np.diff(events.offsets) > 0)


def _borders(own: ModalityFrames, offsets: np.ndarray) -> np.ndarray:
    if own.steps is None:
        return offsets
    return np.searchsorted(own.steps, offsets).astype(np.int64)


class EventChain(NamedTuple):
    """The chain of the states at events, whatever the frames between them.

    Parameters
    ----------
    onward : ndarray of shape (n_states, n_states)
        ``(I - Q)^-1 D``: probability of the state at the next event, given the state of
        a step at or before it.
    start, transitions : ndarray of shape (n_states,) and (n_states, n_states)
        Probabilities of the state at the first event, and at the next one.
    """

    onward: np.ndarray
    start: np.ndarray
    transitions: np.ndarray

    @property
    def graph(self) -> ChainGraph:
        """The chain as a graph."""
        return ergodic_graph(self.transitions, self.start)


def event_chain(chain: AsynchronousChain) -> EventChain:
    """Return the chain of the states at events.

    Parameters
    ----------
    chain : AsynchronousChain
        The chain of all steps.

    Returns
    -------
    EventChain
        Its marginal.
    """
    emitting = chain.event_probabilities
    quiet = (1 - emitting)[:, None] * chain.transitions
    onward = np.linalg.solve(np.eye(len(quiet)) - quiet, np.diag(emitting))
    onward = np.maximum(onward, 0)  # rounding
    onward /= onward.sum(axis=1, keepdims=True)
    return EventChain(onward, chain.start @ onward, chain.transitions @ onward)


@score_sequences.register(AsynchronousModel)
def _score_sequences(
    model: AsynchronousModel, frames: Frames, n_jobs: int | None = None
) -> np.ndarray:
    parts = divide_frames(model, frames)
    scores = np.zeros(len(frames.offsets) - 1)

    def score(log_frames: np.ndarray, log_events: np.ndarray) -> float:
        return asynchronous_log_likelihood(
            model.chain, log_frames, log_events, band=model.band
        )

    both = np.flatnonzero(parts.has_signal & parts.has_events)
    scores[both] = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(score)(*pair) for pair in _tables_of_pairs(model, parts, both)
    )
    for own in _single_parts(model, parts):
        scores[own.rows] = chain_log_likelihood(
            own.graph, own.table, own.offsets, n_jobs=n_jobs
        )
    return scores


def _tables_of_pairs(
    model: AsynchronousModel, parts: AsynchronousFrames, rows: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Compute the log densities of sequences with signal and events."""
    found = []
    for name, frames in ((model.signal, parts.signal), (model.events, parts.events)):
        own = select_sequences(frames, rows)
        table = model.emission.of(name).log_density(own)
        found.append(np.split(table, own.offsets[1:-1]) if len(rows) else [])
    return list(zip(*found, strict=True))


class _SinglePart(NamedTuple):
    """Sequences that lack a modality, and the chain of the other one."""

    is_signal: bool
    rows: np.ndarray
    graph: ChainGraph
    table: np.ndarray
    offsets: np.ndarray


def _single_parts(
    model: AsynchronousModel, parts: AsynchronousFrames
) -> list[_SinglePart]:
    """Return sequences without events, and those without a signal, if there are any."""
    found = []
    for name, frames, is_chosen in (
        (model.signal, parts.signal, ~parts.has_events),
        (model.events, parts.events, parts.has_events & ~parts.has_signal),
    ):
        rows = np.flatnonzero(is_chosen)
        if rows.size:
            own = select_sequences(frames, rows)
            is_signal = name == model.signal
            graph = model.graph if is_signal else event_chain(model.chain).graph
            table = model.emission.of(name).log_density(own)
            found.append(_SinglePart(is_signal, rows, graph, table, own.offsets))
    return found


class AsynchronousSums(NamedTuple):
    """Sums over all paths of several sequences.

    Parameters
    ----------
    log_likelihoods : ndarray of shape (n_sequences,)
        Log-likelihoods.
    states : ndarray of shape (n_steps, n_states)
        Probability of each state at each step; of sequences without a signal, whose
        steps are the events, at these.
    event_states : ndarray of shape (n_events, n_states)
        Probability of the state at each event.
    transition_counts : ndarray of shape (n_states, n_states)
        Expected numbers of transitions, with the weights of the sequences.
    start_counts, emitted, visits : ndarray of shape (n_states,)
        Likewise, expected numbers of first steps; and of events and of steps, of
        sequences whose events are observed.
    """

    log_likelihoods: np.ndarray
    states: np.ndarray
    event_states: np.ndarray
    transition_counts: np.ndarray
    start_counts: np.ndarray
    emitted: np.ndarray
    visits: np.ndarray


def asynchronous_sums(
    model: AsynchronousModel,
    parts: AsynchronousFrames,
    sample_weight: np.ndarray | None = None,
    n_jobs: int | None = None,
) -> AsynchronousSums:
    """Compute the expected values of the E-step.

    Parameters
    ----------
    model : AsynchronousModel
        The model.
    parts : AsynchronousFrames
        Signals and events.
    sample_weight : ndarray of shape (n_sequences,), default=None
        Weights of the sequences in the counts.
    n_jobs : int, default=None
        Number of threads over sequences.

    Returns
    -------
    AsynchronousSums
        The sums.
    """
    n_sequences, k = len(parts.has_signal), len(model.event_probabilities)
    weight = np.ones(n_sequences) if sample_weight is None else sample_weight
    steps, at_events = parts.signal.offsets, parts.events.offsets
    sums = AsynchronousSums(
        np.zeros(n_sequences),
        np.zeros((steps[-1], k)),
        np.zeros((at_events[-1], k)),
        np.zeros((k, k)),
        *np.zeros((3, k)),
    )
    chain = model.chain

    def expect(
        log_frames: np.ndarray, log_events: np.ndarray
    ) -> AsynchronousPosteriors:
        found = asynchronous_posteriors(chain, log_frames, log_events, band=model.band)
        return found._replace(events=np.empty((0, 0)))  # large, and not needed

    both = np.flatnonzero(parts.has_signal & parts.has_events)
    pairs = _tables_of_pairs(model, parts, both)
    found = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(expect)(*pair) for pair in pairs
    )
    for i, own in zip(both, found, strict=True):
        sums.log_likelihoods[i] = own.log_likelihood
        sums.states[steps[i] : steps[i + 1]] = own.states
        sums.event_states[at_events[i] : at_events[i + 1]] = own.event_states
        sums.transition_counts[...] += weight[i] * own.transition_counts
        sums.start_counts[...] += weight[i] * own.states[0]
        sums.emitted[...] += weight[i] * own.event_states.sum(axis=0)
        sums.visits[...] += weight[i] * own.states.sum(axis=0)
    for part in _single_parts(model, parts):
        single = forward_backward(
            part.graph,
            part.table,
            part.offsets,
            sample_weight=weight[part.rows],
            by_state=True,
            n_jobs=n_jobs,
        )
        sums.log_likelihoods[part.rows] = single.log_likelihoods
        _add_single(sums, parts, part, single, weight, chain)
    return sums


def _add_single(
    sums: AsynchronousSums,
    parts: AsynchronousFrames,
    part: _SinglePart,
    found: ChainPosteriors,
    weight: np.ndarray,
    chain: AsynchronousChain,
) -> None:
    """Add sequences that lack a modality."""
    rows, graph, posteriors = part.rows, part.graph, np.asarray(found.posteriors)
    counts = np.zeros_like(chain.transitions)
    np.add.at(counts, (graph.src, destinations(graph)), found.edge_counts)
    sums.states[_positions(parts.signal.offsets, rows)] = posteriors
    if part.is_signal:
        sums.transition_counts[...] += counts
        sums.start_counts[...] += found.start_counts
        return
    sums.event_states[_positions(parts.events.offsets, rows)] = posteriors
    n_events = np.diff(parts.events.offsets)[rows]
    emitted = np.repeat(weight[rows], n_events) @ posteriors
    starts, moves = counts_of_steps(chain, found.start_counts, counts)
    sums.transition_counts[...] += moves
    sums.start_counts[...] += starts
    sums.emitted[...] += emitted
    sums.visits[...] += starts + moves.sum(axis=0)


def counts_of_steps(
    chain: AsynchronousChain, first: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the expected steps of all frames, observed or not, up to the last event.

    Parameters
    ----------
    chain : AsynchronousChain
        The chain of all steps.
    first : ndarray of shape (n_states,)
        Expected numbers of sequences by the state at their first event.
    counts : ndarray of shape (n_states, n_states)
        Expected numbers of pairs of states at successive events.

    Returns
    -------
    starts : ndarray of shape (n_states,)
        Expected numbers of first steps.
    transition_counts : ndarray of shape (n_states, n_states)
        Expected numbers of transitions.
    """
    own = event_chain(chain)
    a, quiet = chain.transitions, 1 - chain.event_probabilities
    visits = np.linalg.inv(np.eye(len(a)) - quiet[:, None] * a)
    # probability of what follows a step, over that of the pair of events it is between
    pairs = np.divide(counts, own.transitions, where=counts > 0, out=0 * counts)
    singles = np.divide(first, own.start, where=first > 0, out=0 * first)
    after_event = pairs @ own.onward.T
    after_start = own.onward @ singles
    before = (a @ visits).T @ after_event
    before += np.outer(chain.start @ visits, after_start)
    moves = a * (after_event + quiet[:, None] * before)
    return chain.start * after_start, moves


def _positions(offsets: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the positions of the frames of some sequences, which are in order."""
    is_chosen = np.zeros(len(offsets) - 1, dtype=bool)
    is_chosen[rows] = True
    return np.flatnonzero(np.repeat(is_chosen, np.diff(offsets)))


@state_posteriors.register(AsynchronousModel)
def _state_posteriors(
    model: AsynchronousModel,
    frames: Frames,
    n_jobs: int | None = None,
    *,
    by_state: bool = False,
) -> ChainPosteriors:
    """Compute posteriors of states, which are also those of columns."""
    sums = asynchronous_sums(model, divide_frames(model, frames), n_jobs=n_jobs)
    graph = model.graph
    counts = sums.transition_counts[graph.src, destinations(graph)]
    return ChainPosteriors(sums.log_likelihoods, sums.states, counts, sums.start_counts)


@decode_states.register(AsynchronousModel)
def _decode_states(
    model: AsynchronousModel, frames: Frames, n_jobs: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    parts = divide_frames(model, frames)
    states = np.zeros(frames.n_steps, dtype=np.int64)
    scores = np.zeros(len(frames.offsets) - 1)
    both = np.flatnonzero(parts.has_signal & parts.has_events)

    def decode(log_frames: np.ndarray, log_events: np.ndarray) -> AsynchronousPath:
        return asynchronous_path(model.chain, log_frames, log_events, band=model.band)

    paths = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(decode)(*pair) for pair in _tables_of_pairs(model, parts, both)
    )
    for i, path in zip(both, paths, strict=True):
        states[frames.offsets[i] : frames.offsets[i + 1]] = path.states
        scores[i] = path.score
    for own in _single_parts(model, parts):
        found, scores[own.rows] = viterbi(
            own.graph, own.table, own.offsets, n_jobs=n_jobs
        )
        states[_positions(frames.offsets, own.rows)] = found
    return states, scores


@inlier_probability.register(AsynchronousModel)
def _inlier_probability(
    model: AsynchronousModel, frames: Frames, posteriors: np.ndarray
) -> dict[str, np.ndarray]:
    parts = divide_frames(model, frames)
    signal, events = (model.emission.of(n) for n in (model.signal, model.events))
    found = signal.inlier_probability(parts.signal, posteriors)
    if not parts.events.modalities:  # of no influence, or of no sample
        return found | events.inlier_probability(frames, posteriors)
    at_events = asynchronous_sums(model, parts).event_states
    return found | events.inlier_probability(parts.events, at_events)


@sample_sequences.register(AsynchronousModel)
def _sample_sequences(
    model: AsynchronousModel,
    n_sequences: int,
    lengths: int | Sequence[int],
    random_state: np.random.RandomState,
) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray]]:
    """Draw sequences with at least one event."""
    of_signal = ChainModel(model.graph, model.emission.of(model.signal))
    samples, paths = sample_sequences(of_signal, n_sequences, lengths, random_state)
    emission = model.emission.emissions[model.events]
    for sample, path in zip(samples, paths, strict=True):
        chances = model.event_probabilities[path]
        emits = random_state.random_sample(len(path)) < chances
        if not emits.any():
            emits[random_state.choice(len(path), p=chances / chances.sum())] = True
        sample[model.events] = emission.sample(path[emits], random_state)
    return samples, paths
