"""Chains by enumeration of all paths: slow and obvious."""

import itertools

import numpy as np

from mmfusion.graphical._graph import destinations


def all_paths(graph, log_emissions):
    """Yield the score, the states and the edges of every path."""
    n_states, n_frames = len(graph.emits), len(log_emissions)
    ends = list(zip(graph.src, destinations(graph), strict=True))
    between = {}
    for edge, pair in enumerate(ends):
        between.setdefault(pair, []).append(edge)
    for states in itertools.product(range(n_states), repeat=n_frames):
        steps = list(itertools.pairwise(states))
        choices = [between.get(step, []) for step in steps]
        for edges in itertools.product(*choices):
            score = graph.log_start[states[0]] + graph.log_end[states[-1]]
            score += sum(graph.log_weights[list(edges)])
            score += sum(log_emissions[t, graph.emits[s]] for t, s in enumerate(states))
            yield score, states, edges


def enumerate_chain(graph, log_emissions):
    """Return the sum over all paths, posteriors by state, counts, the best score."""
    n_frames, n_states = len(log_emissions), len(graph.emits)
    paths = list(all_paths(graph, log_emissions))
    scores = np.array([score for score, _, _ in paths])
    total = np.logaddexp.reduce(scores) if len(scores) else -np.inf
    posteriors = np.zeros((n_frames, n_states))
    edge_counts, start_counts = np.zeros(len(graph.src)), np.zeros(n_states)
    if total > -np.inf:
        for score, states, edges in paths:
            probability = np.exp(score - total)
            posteriors[range(n_frames), states] += probability
            np.add.at(edge_counts, list(edges), probability)
            start_counts[states[0]] += probability
    return total, posteriors, edge_counts, start_counts, max(scores, default=-np.inf)


def path_score(graph, log_emissions, states):
    """Return the score of the best path through given states."""
    score = graph.log_start[states[0]] + graph.log_end[states[-1]]
    score += sum(log_emissions[t, graph.emits[s]] for t, s in enumerate(states))
    ends = list(zip(graph.src, destinations(graph), strict=True))
    for step in itertools.pairwise(states):
        own = [w for end, w in zip(ends, graph.log_weights, strict=True) if end == step]
        score += max(own, default=-np.inf)
    return score


def random_graph(rng, n_states, *, density=0.6, n_columns=None, spread=3.0):
    """Return a graph with random edges, some of them double, and own end weights."""
    edges = np.argwhere(rng.random((n_states, n_states)) < density)
    edges = np.concatenate([edges, edges[rng.random(len(edges)) < 0.2]])
    log_start = rng.normal(0, spread, n_states)
    log_end = rng.normal(0, spread, n_states)
    log_start[rng.random(n_states) < 0.3] = -np.inf
    log_end[rng.random(n_states) < 0.3] = -np.inf
    if not np.isfinite(log_start).any():
        log_start[0] = 0.0
    if not np.isfinite(log_end).any():
        log_end[-1] = 0.0
    emits = None if n_columns is None else rng.integers(n_columns, size=n_states)
    return dict(
        n_states=n_states,
        edges=edges,
        log_weights=rng.normal(0, spread, len(edges)),
        emits=emits,
        log_start=log_start,
        log_end=log_end,
    )
