"""Learning of asynchronous hidden Markov models: frames of a signal, and events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed

from mmfusion.graphical._asynchronous_lattice import (
    AsynchronousChain,
    AsynchronousPosteriors,
    asynchronous_posteriors,
)
from mmfusion.graphical._clock import Frames, frames_on_clock
from mmfusion.graphical._initialization import initialize_emission, kmeans_states
from mmfusion.graphical._multimodal_emission import MultimodalEmission

PRIOR_COUNT = 0.1  # of every transition, first state, and step with and without event
STAY_PROBABILITY = 0.9  # of the first transitions
LEAST_PROBABILITY = 1e-3  # of an event in a state, before learning


@dataclass(frozen=True)
class AsynchronousModel:
    """An asynchronous hidden Markov model and its emissions.

    Parameters
    ----------
    chain : AsynchronousChain
        States, and how probable an event is in each.
    signal, events : MultimodalEmission
        Densities of the frames and of the events in each state, of one modality each.
    band : float or None
        Most events off an even spread.
    """

    chain: AsynchronousChain
    signal: MultimodalEmission
    events: MultimodalEmission
    band: float | None

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
        return (
            self.signal.log_density(frames_of(self.signal, [signal])),
            self.events.log_density(frames_of(self.events, [events])),
        )

    def log_prior(self) -> float:
        """Return the log of the prior that the M-step takes into account.

        Returns
        -------
        float
            The log, up to a constant.
        """
        chain = self.chain
        p = chain.event_probabilities
        learned = np.concatenate([chain.start, chain.transitions.ravel(), p, 1 - p])
        own = PRIOR_COUNT * float(np.log(learned).sum())
        return own + self.signal.log_prior() + self.events.log_prior()


class SignalSamples(NamedTuple):
    """Samples that have a signal and events.

    Parameters
    ----------
    signals : list of ndarray of shape (n_steps, n_features)
        Frames of the signals.
    events : list of ndarray of shape (n_events, n_features)
        Their events.
    """

    signals: list[np.ndarray]
    events: list[np.ndarray]


class AsynchronousEM(NamedTuple):
    """Result of `learn_model`.

    Parameters
    ----------
    model : AsynchronousModel
        The learned model.
    objective : ndarray of shape (n_iter,)
        Log-likelihood and log prior before each M-step, per frame of the signals.
    converged : bool
        Whether the last step raised it by less than the tolerance.
    """

    model: AsynchronousModel
    objective: np.ndarray
    converged: bool


def frames_of(emission: MultimodalEmission, sequences: list[np.ndarray]) -> Frames:
    """Return the frames of the one modality of an emission.

    Parameters
    ----------
    emission : MultimodalEmission
        The emission.
    sequences : list of ndarray of shape (n_frames, n_features)
        The sequences.

    Returns
    -------
    Frames
        All frames, each at its own step.
    """
    (name,) = emission.emissions
    return frames_on_clock([{name: sequence} for sequence in sequences])


def initial_model(
    samples: SignalSamples,
    signal: MultimodalEmission,
    events: MultimodalEmission,
    *,
    band: float | None,
    random_state: np.random.RandomState,
) -> AsynchronousModel:
    """Return a model of states that are clusters of the frames of the signals.

    Events are first taken to be spread evenly, so that they are ascribed to the states
    of the frames near by.

    Parameters
    ----------
    samples : SignalSamples
        The samples.
    signal, events : MultimodalEmission
        Emissions, not prepared.
    band : float or None
        Most events off an even spread.
    random_state : RandomState
        Generator of the clusters.

    Returns
    -------
    AsynchronousModel
        The model.
    """
    n_states = next(iter(signal.emissions.values())).n_states
    frames, own = frames_of(signal, samples.signals), frames_of(events, samples.events)
    signal.prepare(frames)
    events.prepare(own)
    states = kmeans_states(frames, n_states, random_state)
    initialize_emission(signal, frames, states)
    # all states alike: the first E-step knows the order of the events alone
    initialize_emission(events, own, np.full(own.n_steps, -1))
    share = own.n_steps / max(frames.n_steps, 1)
    share = min(max(share, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY)
    move = (1 - STAY_PROBABILITY) / max(n_states - 1, 1)
    transitions = np.full((n_states, n_states), move)
    np.fill_diagonal(transitions, STAY_PROBABILITY if n_states > 1 else 1.0)
    chain = AsynchronousChain(
        np.full(n_states, 1 / n_states), transitions, np.full(n_states, share)
    )
    return AsynchronousModel(chain, signal, events, band)


def _posteriors_of(
    model: AsynchronousModel, samples: SignalSamples, n_jobs: int | None
) -> list[AsynchronousPosteriors]:
    signals = frames_of(model.signal, samples.signals)
    events = frames_of(model.events, samples.events)
    tables = model.signal.log_density(signals), model.events.log_density(events)
    own = np.split(tables[0], signals.offsets[1:-1])
    other = np.split(tables[1], events.offsets[1:-1])

    def expect(
        log_frames: np.ndarray, log_events: np.ndarray
    ) -> AsynchronousPosteriors:
        found = asynchronous_posteriors(
            model.chain, log_frames, log_events, band=model.band
        )
        return found._replace(events=found.events.sum(axis=0, keepdims=True))

    return Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(expect)(*pair) for pair in zip(own, other, strict=True)
    )


def _maximized(
    model: AsynchronousModel,
    samples: SignalSamples,
    found: list[AsynchronousPosteriors],
) -> AsynchronousModel:
    """Set the parameters to the posterior mode; emissions change in place."""
    states = np.concatenate([f.states for f in found])
    of_events = np.concatenate([f.event_states for f in found])
    for emission, sequences, posteriors in (
        (model.signal, samples.signals, states),
        (model.events, samples.events, of_events),
    ):
        statistics = emission.statistics()
        frames = frames_of(emission, sequences)
        emission.accumulate(statistics, frames, 0, posteriors)
        emission.maximize(statistics)
    transitions = np.sum([f.transition_counts for f in found], axis=0) + PRIOR_COUNT
    start = np.sum([f.states[0] for f in found], axis=0) + PRIOR_COUNT
    emitted = of_events.sum(axis=0) + PRIOR_COUNT
    chain = AsynchronousChain(
        start / start.sum(),
        transitions / transitions.sum(axis=1, keepdims=True),
        emitted / (states.sum(axis=0) + 2 * PRIOR_COUNT),
    )
    return replace(model, chain=chain)


def learn_model(
    model: AsynchronousModel,
    samples: SignalSamples,
    *,
    max_iter: int,
    tol: float,
    n_jobs: int | None,
) -> AsynchronousEM:
    """Learn a model by expectation maximisation.

    Parameters
    ----------
    model : AsynchronousModel
        The initial model, whose emissions are changed.
    samples : SignalSamples
        The samples.
    max_iter : int
        Largest number of iterations.
    tol : float
        Smallest increase of the objective per frame.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    AsynchronousEM
        The model of the last iteration.
    """
    n_frames = sum(map(len, samples.signals))
    objective: list[float] = []
    while len(objective) < max_iter:
        found = _posteriors_of(model, samples, n_jobs)
        total = float(sum(f.log_likelihood for f in found)) + model.log_prior()
        objective.append(total / n_frames)
        if len(objective) > 1 and objective[-1] - objective[-2] < tol:
            return AsynchronousEM(model, np.array(objective), True)
        model = _maximized(model, samples, found)
    return AsynchronousEM(model, np.array(objective), False)


def decoded_steps(events: np.ndarray) -> np.ndarray:
    """Return the steps of events that are right with the highest expected number.

    Parameters
    ----------
    events : ndarray of shape (n_steps, n_events)
        Probability that an event is emitted at a step.

    Returns
    -------
    ndarray of int64 of shape (n_events,)
        The steps, in ascending order.
    """
    n_steps, n_events = events.shape
    # best[t]: of the events so far, all before step t
    best = np.zeros(n_steps + 1)
    tables = []
    for s in range(n_events):
        values = best[:-1] + events[:, s]
        values[:s] = -np.inf  # earlier events need steps, too
        best = np.append(-np.inf, np.maximum.accumulate(values))
        tables.append(values)
    steps, stop = np.empty(n_events, np.int64), n_steps
    for s in range(n_events - 1, -1, -1):
        steps[s] = stop = int(np.argmax(tables[s][:stop]))
    return steps
