"""M-step of transitions: parameters that edges share, and first states."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mmfusion._compilation import jit_ieee
from mmfusion.graphical._graph import ChainGraph


class TransitionModel(Protocol):
    """M-step of the transitions of a graph."""

    def maximize(
        self,
        graph: ChainGraph,
        edge_counts: np.ndarray,
        start_counts: np.ndarray,
        prior: float,
    ) -> ChainGraph:
        """Return the graph with the weights of expected counts."""

    def log_prior(self, graph: ChainGraph, prior: float) -> float:
        """Compute the log prior of the weights, up to a constant."""


class TiedTransitions:
    """Transition parameters that edges share by ``graph.tie``, and first states."""

    def maximize(
        self,
        graph: ChainGraph,
        edge_counts: np.ndarray,
        start_counts: np.ndarray,
        prior: float,
    ) -> ChainGraph:
        """Return the graph with the posterior modes of its parameters.

        Parameters
        ----------
        graph : ChainGraph
            The graph.
        edge_counts : ndarray of shape (n_edges,)
            Expected numbers of uses of the edges.
        start_counts : ndarray of shape (n_states,)
            Expected numbers of starts in the states.
        prior : float
            Count added to each transition parameter and to each state that may be the
            first. Forbidden edges stay forbidden.

        Returns
        -------
        ChainGraph
            The graph with new weights. Distributions without counts and prior stay.
        """
        if len(graph.group):
            parameters = np.full(len(graph.group), float(prior))
            weights = np.array(graph.log_weights)
            # copies, since numba compiles read-only arrays separately
            tie, group = np.array(graph.tie), np.array(graph.group)
            write_log_shares(tie, group, edge_counts, parameters, weights)
            graph = graph._replace(log_weights=weights)
        return with_starts(graph, start_counts, prior)

    def log_prior(self, graph: ChainGraph, prior: float) -> float:
        """Compute the log density of the Dirichlet prior, up to a constant.

        Parameters
        ----------
        graph : ChainGraph
            The graph.
        prior : float
            The count of `maximize`.

        Returns
        -------
        float
            Log prior.
        """
        if prior == 0:
            return 0.0
        return float(prior * (np.log(edge_parameters(graph)).sum() + log_starts(graph)))


@jit_ieee
def write_log_shares(tie, group, edge_counts, parameters, log_weights):
    """Add counts to those of parameters, and write the logarithms of their shares.

    Fixed edges keep their weights, and so do groups without counts.
    """
    for e in range(len(tie)):
        if tie[e] >= 0:
            parameters[tie[e]] += edge_counts[e]
    totals = np.zeros(len(group))  # by group, which are fewer than parameters
    for k in range(len(group)):
        totals[group[k]] += parameters[k]
    for e in range(len(tie)):
        if tie[e] >= 0 and totals[group[tie[e]]] > 0:
            share = parameters[tie[e]] / totals[group[tie[e]]]
            log_weights[e] = np.log(share) if share > 0 else -np.inf


def with_starts(
    graph: ChainGraph, start_counts: np.ndarray, prior: float
) -> ChainGraph:
    """Set the probabilities of first states to the posterior mode.

    Parameters
    ----------
    graph : ChainGraph
        The graph.
    start_counts : ndarray of shape (n_states,)
        Expected numbers of starts in the states.
    prior : float
        Count added to each state that may be the first.

    Returns
    -------
    ChainGraph
        The graph; as it is if one state alone may be the first.
    """
    may_start = np.isfinite(graph.log_start)
    starts = np.where(may_start, start_counts + prior, 0.0)
    total = starts.sum()
    if np.count_nonzero(may_start) < 2 or not total > 0:
        return graph
    with np.errstate(divide="ignore"):
        return graph._replace(log_start=np.log(starts / total))


def log_starts(graph: ChainGraph) -> float:
    """Sum the log probabilities of first states, unless one alone is possible."""
    logs = graph.log_start[np.isfinite(graph.log_start)]
    return float(logs.sum()) if len(logs) > 1 else 0.0


def edge_parameters(graph: ChainGraph) -> np.ndarray:
    """Return the transition parameters that the weights of a graph hold.

    Parameters
    ----------
    graph : ChainGraph
        The graph.

    Returns
    -------
    ndarray of shape (n_parameters,)
        The weight of the edges of each parameter.
    """
    parameters = np.ones(len(graph.group))
    is_tied = graph.tie >= 0
    parameters[graph.tie[is_tied]] = np.exp(graph.log_weights[is_tied])
    return parameters
