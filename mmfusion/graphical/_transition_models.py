"""Transitions whose edges have products of parameters as weights, and their M-steps."""

from __future__ import annotations

from typing import cast

import numpy as np
from scipy import sparse

from mmfusion.graphical._factorial import FactorialGraph, factorial_graph
from mmfusion.graphical._graph import ChainGraph, destinations
from mmfusion.graphical._graph_builders import coupled_graph, hierarchical_graph

# joint states up to which a matrix of all transitions is faster than mode products
LARGEST_LISTED_STATES = 64


def normalized(counts: np.ndarray, prior: float) -> np.ndarray:
    """Return the posterior mode of distributions along the last axis.

    Parameters
    ----------
    counts : ndarray of shape (..., n_states)
        Expected counts.
    prior : float
        Count that is added to each.

    Returns
    -------
    ndarray of shape (..., n_states)
        Probabilities; uniform where there are no counts.
    """
    smoothed = counts + prior
    totals = smoothed.sum(axis=-1, keepdims=True)
    uniform = np.full_like(smoothed, 1 / counts.shape[-1])
    return np.divide(smoothed, totals, out=uniform, where=totals > 0)


def _log_prior(tables: list[np.ndarray], prior: float) -> float:
    """Compute the log density of Dirichlet priors, up to a constant."""
    if prior == 0:
        return 0.0
    return prior * float(sum(np.log(table).sum() for table in tables))


def _n_free(tables: list[np.ndarray]) -> int:
    return sum(table.size - table.size // table.shape[-1] for table in tables)


def _joint_counts(graph: ChainGraph, edge_counts: np.ndarray) -> np.ndarray:
    """Return the counts of edges as a matrix of states."""
    n_states = len(graph.emits)
    ends = (graph.src, destinations(graph))
    matrix = sparse.coo_array((edge_counts, ends), shape=(n_states, n_states))
    return matrix.toarray()


class ChainTransitions:
    r"""Transitions of several chains, which are independent given their last states.

    .. math:: p(s'_1, \dots, s'_M | s_1, \dots, s_M) = \prod_m p(s'_m | \mathrm{pa}_m)

    The parents of chain m are the states of all chains (coupled; Brand 1997), or its
    own (factorial; Ghahramani & Jordan 1997). First states are independent.

    Parameters
    ----------
    shape : tuple of int
        Number of states of each chain.
    is_coupled : bool
        Whether the parents are all chains.
    """

    def __init__(self, shape: tuple[int, ...], *, is_coupled: bool) -> None:
        self.shape = shape
        self.is_coupled = is_coupled
        self.tables = [
            np.full((*self._parents(m), k), 1 / k) for m, k in enumerate(shape)
        ]
        self.starts = [np.full(k, 1 / k) for k in shape]

    def _parents(self, chain: int) -> tuple[int, ...]:
        return self.shape if self.is_coupled else (self.shape[chain],)

    def graph(self) -> ChainGraph:
        """Return the graph of the product of the chains.

        Returns
        -------
        ChainGraph or FactorialGraph
            All combinations of states, that of the last chain varying fastest; without
            a list of edges for independent chains with many.
        """
        if not self.is_coupled and np.prod(self.shape) > LARGEST_LISTED_STATES:
            # the functions of inference take both, others none of the second
            return cast("ChainGraph", factorial_graph(self.tables, self.starts))
        full = [self._full_table(m) for m in range(len(self.shape))]
        return coupled_graph(full, self.starts)[0]

    def _full_table(self, chain: int) -> np.ndarray:
        """Return a chain's table with the states of all chains as parents."""
        table = self.tables[chain]
        if not self.is_coupled:
            own = [1] * len(self.shape)
            own[chain] = self.shape[chain]
            table = table.reshape(*own, self.shape[chain])
        return np.broadcast_to(table, (*self.shape, self.shape[chain]))

    def set_counts(
        self, counts: np.ndarray, start_counts: np.ndarray, prior: float
    ) -> None:
        """Set the parameters from counts of joint states.

        Parameters
        ----------
        counts : ndarray of shape (n_joint_states, n_joint_states)
            Counts of transitions.
        start_counts : ndarray of shape (n_joint_states,)
            Counts of first states.
        prior : float
            Count that is added for each parameter.
        """
        n_chains = len(self.shape)
        by_chain = counts.reshape(self.shape + self.shape)
        starts = start_counts.reshape(self.shape)
        for m in range(n_chains):
            others = tuple(c for c in range(n_chains) if c != m)
            # the next states of other chains are summed out
            summed = tuple(n_chains + c for c in others)
            if not self.is_coupled:
                summed += others
            self.tables[m] = normalized(by_chain.sum(axis=summed), prior)
            self.starts[m] = normalized(starts.sum(axis=others), prior)

    def maximize(
        self,
        graph: ChainGraph,
        edge_counts: np.ndarray,
        start_counts: np.ndarray,
        prior: float,
    ) -> ChainGraph:
        """Set the parameters from expected counts, and return the graph with them.

        Parameters
        ----------
        graph : ChainGraph or FactorialGraph
            The graph of the product.
        edge_counts : ndarray of shape (n_edges,) or (n_counts,)
            Expected counts of its edges, or of those of all chains.
        start_counts : ndarray of shape (n_joint_states,)
            Expected counts of first states.
        prior : float
            Count that is added for each parameter.

        Returns
        -------
        ChainGraph or FactorialGraph
            The same edges, with other weights.
        """
        if isinstance(graph, FactorialGraph):
            self._set_chain_counts(edge_counts, start_counts, prior)
            return self.graph()
        self.set_counts(_joint_counts(graph, edge_counts), start_counts, prior)
        return self._weighted(graph)

    def _set_chain_counts(
        self, counts: np.ndarray, start_counts: np.ndarray, prior: float
    ) -> None:
        """Set the parameters from the counts of each chain."""
        starts = start_counts.reshape(self.shape)
        at = 0
        for m, k in enumerate(self.shape):
            own = counts[at : at + k * k].reshape(k, k)
            others = tuple(c for c in range(len(self.shape)) if c != m)
            self.tables[m] = normalized(own, prior)
            self.starts[m] = normalized(starts.sum(axis=others), prior)
            at += k * k

    def _weighted(self, graph: ChainGraph) -> ChainGraph:
        n_states = len(graph.emits)
        joint = np.zeros((n_states, *self.shape))
        start = np.zeros(self.shape)
        with np.errstate(divide="ignore"):
            for m, k in enumerate(self.shape):
                own = [1] * len(self.shape)
                own[m] = k
                table = np.log(self._full_table(m)).reshape(n_states, *own)
                joint += table
                start += np.log(self.starts[m]).reshape(own)
        weights = joint.reshape(n_states, n_states)[graph.src, destinations(graph)]
        return graph._replace(log_weights=weights, log_start=start.ravel())

    def log_prior(self, graph: ChainGraph, prior: float) -> float:
        """Compute the log density of the parameters under the prior, up to a constant.

        Parameters
        ----------
        graph : ChainGraph
            Not used: the parameters are those of the last `maximize`.
        prior : float
            Count that the prior adds for each parameter.

        Returns
        -------
        float
            The log density.
        """
        return _log_prior([*self.tables, *self.starts], prior)

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        return _n_free([*self.tables, *self.starts])


class HierarchicalTransitions:
    r"""Transitions inside units, and from unit to unit.

    .. math::
        p((h, l) | (g, k)) = 1[g = h] A_g[k, l] + e_g[k] B[g, h] \pi_h[l]

    with the transitions A of a unit, its exit probabilities e and entry probabilities
    :math:`\pi`, and the probability B of each unit after each other one (Fine, Singer &
    Tishby 1998). A single unit has no exits, and is a hidden Markov model.

    Parameters
    ----------
    n_units : int
        Number of units.
    n_states : int
        Number of states of each unit.
    """

    def __init__(self, n_units: int, n_states: int) -> None:
        self.n_units = n_units
        self.n_states = n_states
        n_ends = n_states + (n_units > 1)
        # the last column of each unit's table is its exit
        self.inside = np.full((n_units, n_states, n_ends), 0.1 / max(n_ends - 1, 1))
        states = np.arange(n_states)
        self.inside[:, states, states] = 0.9 if n_ends > 1 else 1.0
        self.entries = np.full((n_units, n_states), 1 / n_states)
        self.start = np.full(n_units, 1 / n_units)
        self.between = np.full((n_units, n_units), 1 / max(n_units - 1, 1))
        np.fill_diagonal(self.between, 0)

    def graph(self) -> ChainGraph:
        """Return the graph of all states, unit by unit.

        Returns
        -------
        ChainGraph
            The graph.
        """
        units = [
            (table[:, : self.n_states], self._exits()[g], self.entries[g])
            for g, table in enumerate(self.inside)
        ]
        return hierarchical_graph(units, self.between, self.start)[0]

    def _exits(self) -> np.ndarray:
        if self.n_units == 1:
            return np.zeros((1, self.n_states))
        return self.inside[:, :, -1]

    def set_counts(
        self, counts: np.ndarray, start_counts: np.ndarray, prior: float
    ) -> None:
        """Set the parameters from counts of states, unit by unit.

        Parameters
        ----------
        counts : ndarray of shape (n_units * n_states, n_units * n_states)
            Counts of transitions.
        start_counts : ndarray of shape (n_units * n_states,)
            Counts of first states.
        prior : float
            Count that is added for each parameter.
        """
        G, K = self.n_units, self.n_states
        by_unit = counts.reshape(G, K, G, K)
        units = np.arange(G)
        within = by_unit[units, :, units, :]  # (G, K, K)
        across = by_unit.copy()
        across[units, :, units, :] = 0
        starts = start_counts.reshape(G, K)
        ends = within
        if G > 1:
            ends = np.concatenate([within, across.sum(axis=(2, 3))[..., None]], axis=2)
        self.inside = normalized(ends, prior)
        self.entries = normalized(across.sum(axis=(0, 1)) + starts, prior)
        self.start = normalized(starts.sum(axis=1), prior)
        others = ~np.eye(G, dtype=bool)
        if G > 1:
            follows = across.sum(axis=(1, 3))[others].reshape(G, G - 1)
            self.between[others] = normalized(follows, prior).ravel()

    def maximize(
        self,
        graph: ChainGraph,
        edge_counts: np.ndarray,
        start_counts: np.ndarray,
        prior: float,
    ) -> ChainGraph:
        """Set the parameters from expected counts, and return the graph with them.

        Parameters
        ----------
        graph : ChainGraph
            The graph of all states.
        edge_counts : ndarray of shape (n_edges,)
            Expected counts of its edges.
        start_counts : ndarray of shape (n_units * n_states,)
            Expected counts of first states.
        prior : float
            Count that is added for each parameter.

        Returns
        -------
        ChainGraph
            The same edges, with other weights.
        """
        self.set_counts(_joint_counts(graph, edge_counts), start_counts, prior)
        G, K = self.n_units, self.n_states
        weights = np.einsum("gk,gh,hl->gkhl", self._exits(), self.between, self.entries)
        units = np.arange(G)
        weights[units, :, units, :] = self.inside[:, :, :K]
        joint = weights.reshape(G * K, G * K)[graph.src, destinations(graph)]
        with np.errstate(divide="ignore"):
            log_start = np.log(self.start[:, None] * self.entries).ravel()
            return graph._replace(log_weights=np.log(joint), log_start=log_start)

    def log_prior(self, graph: ChainGraph, prior: float) -> float:
        """Compute the log density of the parameters under the prior, up to a constant.

        Parameters
        ----------
        graph : ChainGraph
            Not used: the parameters are those of the last `maximize`.
        prior : float
            Count that the prior adds for each parameter.

        Returns
        -------
        float
            The log density.
        """
        return _log_prior(self._tables(), prior)

    @property
    def n_parameters(self) -> int:
        """Number of free parameters."""
        return _n_free(self._tables())

    def _tables(self) -> list[np.ndarray]:
        others = ~np.eye(self.n_units, dtype=bool)
        follows = self.between[others].reshape(self.n_units, -1)
        return [
            self.inside,
            self.entries,
            self.start,
            *([follows] * (self.n_units > 1)),
        ]
