"""M-step of transitions: parameters that edges share, and first states."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from mmfusion.graphical._graph import ChainGraph, with_transitions


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
            is_tied = graph.tie >= 0
            counts = np.bincount(
                graph.tie[is_tied], edge_counts[is_tied], minlength=len(graph.group)
            )
            present = edge_parameters(graph)
            graph = with_transitions(
                graph, _normalized(counts + prior, graph.group, present)
            )
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


def _normalized(
    counts: np.ndarray, group: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """Divide counts by the sums of their groups; groups without any stay."""
    totals = np.bincount(group, counts)[group]
    return np.divide(counts, totals, out=present.copy(), where=totals > 0)
