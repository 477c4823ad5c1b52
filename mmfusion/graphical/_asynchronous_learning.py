"""Expectation-maximisation of asynchronous chain models, and their start."""

from __future__ import annotations

import numpy as np

from mmfusion._progress import OnStep, go_on
from mmfusion.graphical._asynchronous_model import (
    AsynchronousFrames,
    AsynchronousModel,
    AsynchronousSums,
    asynchronous_sums,
    divide_frames,
)
from mmfusion.graphical._clock import Frames
from mmfusion.graphical._em import (
    EMHistory,
    fit_chain_model,
    refuse_impossible_sequences,
)
from mmfusion.graphical._graph import destinations
from mmfusion.graphical._initialization import initialize_emission
from mmfusion.graphical._tied_transitions import TiedTransitions

EVENT_PRIOR = 0.1  # count of steps with an event, and without one, in each state
LEAST_EVENT_SHARE = 1e-3  # of an event in a state, before learning


def set_asynchronous_start(
    model: AsynchronousModel,
    frames: Frames,
    states: np.ndarray,
    *,
    sample_weight: np.ndarray | None = None,
) -> None:
    """Set the parameters of a model to those of given states of the signal.

    Events have the pooled densities in all states, and the same probability: the first
    E-step has only their order.

    Parameters
    ----------
    model : AsynchronousModel
        The model, whose emission is prepared.
    frames : Frames
        Frames on the clock.
    states : ndarray of int of shape (n_steps,)
        State of each step.
    sample_weight : ndarray of shape (n_sequences,), default=None
        Weights of the sequences.
    """
    parts = divide_frames(model, frames)
    weight = np.ones(len(parts.has_events)) if sample_weight is None else sample_weight
    signal, events = model.emission.of(model.signal), model.emission.of(model.events)
    initialize_emission(signal, parts.signal, states, sample_weight=sample_weight)
    unknown = np.full(parts.events.n_steps, -1)
    initialize_emission(events, parts.events, unknown, sample_weight=sample_weight)
    both = weight * (parts.has_signal & parts.has_events)
    n_steps = both @ np.diff(parts.signal.offsets)
    share = both @ np.diff(parts.events.offsets) / n_steps if n_steps > 0 else 0.5
    share = min(max(share, LEAST_EVENT_SHARE), 1 - LEAST_EVENT_SHARE)
    model.event_probabilities = np.full(len(model.graph.emits), share)


@fit_chain_model.register(AsynchronousModel)
def _fit_chain_model(
    model: AsynchronousModel,
    frames: Frames,
    *,
    max_iter: int = 100,
    tol: float = 1e-4,
    transition_prior: float = 0.1,
    sample_weight: np.ndarray | None = None,
    n_jobs: int | None = None,
    on_step: OnStep = go_on,
) -> EMHistory:
    """Fit the model from its present parameters, in place."""
    parts = divide_frames(model, frames)
    weight = np.ones(len(parts.has_events)) if sample_weight is None else sample_weight
    least_gain = tol * float(weight @ np.diff(frames.offsets))
    objective: list[float] = []
    while len(objective) < max_iter:
        sums = asynchronous_sums(model, parts, weight, n_jobs)
        refuse_impossible_sequences(sums.log_likelihoods, weight, frames)
        counted = weight > 0
        value = float(weight[counted] @ sums.log_likelihoods[counted])
        objective.append(value + log_prior(model, transition_prior))
        stops = on_step(objective[-1])
        if len(objective) > 1 and objective[-1] - objective[-2] < least_gain:
            return EMHistory(np.array(objective), True)
        if stops:
            break
        _maximize(model, parts, sums, weight, transition_prior)
    return EMHistory(np.array(objective), False)


def log_prior(model: AsynchronousModel, transition_prior: float) -> float:
    """Compute the log prior of all parameters, up to a constant.

    Parameters
    ----------
    model : AsynchronousModel
        The model.
    transition_prior : float
        Count added to each transition.

    Returns
    -------
    float
        The log prior.
    """
    own = model.event_probabilities
    value = EVENT_PRIOR * float(np.log(own).sum() + np.log(1 - own).sum())
    value += TiedTransitions().log_prior(model.graph, transition_prior)
    return value + model.emission.log_prior()


def _maximize(
    model: AsynchronousModel,
    parts: AsynchronousFrames,
    sums: AsynchronousSums,
    weight: np.ndarray,
    transition_prior: float,
) -> None:
    """Set the parameters to the posterior mode."""
    graph = model.graph
    model.graph = TiedTransitions().maximize(
        graph,
        sums.transition_counts[graph.src, destinations(graph)],
        sums.start_counts,
        transition_prior,
    )
    emitted = sums.emitted + EVENT_PRIOR
    model.event_probabilities = emitted / (sums.visits + 2 * EVENT_PRIOR)
    for name, frames, posteriors in (
        (model.signal, parts.signal, sums.states),
        (model.events, parts.events, sums.event_states),
    ):
        emission = model.emission.of(name)
        statistics = emission.statistics()
        of_frames = np.repeat(weight, np.diff(frames.offsets))
        emission.accumulate(statistics, frames, 0, of_frames[:, None] * posteriors)
        emission.maximize(statistics)
