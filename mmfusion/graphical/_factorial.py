"""Graphs of independent chains, whose combinations have common emissions."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from mmfusion.graphical._factorial_kernels import (
    LEAST_WEIGHT,
    ChainArrays,
    backward_chains,
    best_chain_path,
    forward_chains,
)
from mmfusion.graphical._graph import ChainGraph
from mmfusion.graphical._graph_builders import ergodic_graph


class FactorialGraph(NamedTuple):
    """Chains that are independent of each other, without a list of their edges.

    Parameters
    ----------
    transitions : tuple of ndarray of shape (n_states_m, n_states_m)
        Transition probabilities of each chain, each above 1e-100.
    starts : tuple of ndarray of shape (n_states_m,)
        Probabilities of its first states.
    emits : ndarray of int32 of shape (n_joint_states,)
        Column of the emission table that each combination of states reads, that of the
        last chain varying fastest.
    """

    transitions: tuple[np.ndarray, ...]
    starts: tuple[np.ndarray, ...]
    emits: np.ndarray

    @property
    def n_counts(self) -> int:
        """Number of expected transitions: those of all chains, one after another."""
        return sum(matrix.size for matrix in self.transitions)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of states of each chain."""
        return tuple(len(start) for start in self.starts)

    @property
    def log_start(self) -> np.ndarray:
        """Logarithms of the probabilities of first combinations of states."""
        with np.errstate(divide="ignore"):
            return np.log(_joint(self.starts))


def _joint(starts: tuple[np.ndarray, ...]) -> np.ndarray:
    joint = np.ones(1)
    for start in starts:
        joint = np.outer(joint, start).ravel()
    return joint


def factorial_graph(
    transitions: list[np.ndarray], starts: list[np.ndarray]
) -> FactorialGraph:
    """Make the graph of independent chains.

    Parameters
    ----------
    transitions : list of ndarray of shape (n_states_m, n_states_m)
        Transition probabilities of each chain.
    starts : list of ndarray of shape (n_states_m,)
        Probabilities of its first states.

    Returns
    -------
    FactorialGraph
        The graph.

    Raises
    ------
    ValueError
        If a transition is nearly impossible: the recursions would lose digits.
    """
    matrices = tuple(np.ascontiguousarray(own, dtype=float) for own in transitions)
    for m, matrix in enumerate(matrices):
        if matrix.min() < LEAST_WEIGHT * matrix.max():
            raise ValueError(
                f"transitions[{m}] has an element of {matrix.min():.3g}; chains of a "
                "factorial graph have no transition below 1e-100: use coupled_graph"
            )
    n_states = int(np.prod([len(matrix) for matrix in matrices]))
    return FactorialGraph(
        matrices, tuple(map(np.asarray, starts)), np.arange(n_states, dtype=np.int32)
    )


def joint_graph(graph: FactorialGraph) -> ChainGraph:
    """List all edges of independent chains.

    Parameters
    ----------
    graph : FactorialGraph
        The chains.

    Returns
    -------
    ChainGraph
        The graph over all combinations of their states.
    """
    matrix = np.ones((1, 1))
    for own in graph.transitions:
        matrix = np.kron(matrix, own)
    return ergodic_graph(matrix, _joint(graph.starts))


def reordered_chains(graph: FactorialGraph, order: np.ndarray) -> FactorialGraph:
    """Number the states of each chain anew.

    Parameters
    ----------
    graph : FactorialGraph
        The chains.
    order : ndarray of int of shape (n_joint_states,)
        Former number of each combination, which orders the states of each chain.

    Returns
    -------
    FactorialGraph
        The same chains with their new numbers.
    """
    numbers = [own.reshape(graph.shape) for own in np.unravel_index(order, graph.shape)]
    orders = [
        np.moveaxis(own, m, 0).reshape(len(start), -1)[:, 0]
        for m, (own, start) in enumerate(zip(numbers, graph.starts, strict=True))
    ]
    chains = zip(graph.transitions, graph.starts, orders, strict=True)
    turned = [(matrix[np.ix_(o, o)], start[o]) for matrix, start, o in chains]
    return graph._replace(
        transitions=tuple(np.ascontiguousarray(matrix) for matrix, _ in turned),
        starts=tuple(start for _, start in turned),
    )


def chain_arrays(graph: FactorialGraph) -> ChainArrays:
    """Return the matrices of all chains in the form of the compiled functions.

    Parameters
    ----------
    graph : FactorialGraph
        The graph.

    Returns
    -------
    ChainArrays
        The matrices.
    """
    sizes = np.array(graph.shape, dtype=np.int64)
    return ChainArrays(
        sizes,
        np.concatenate([[0], np.cumsum(sizes**2)]),
        np.concatenate([own.ravel() for own in graph.transitions]),
        np.concatenate([own.T.ravel() for own in graph.transitions]),
        _joint(graph.starts),
    )


class FactorialPass:
    """Forward and backward passes over spans of frames, in one thread.

    Parameters
    ----------
    graph : FactorialGraph
        The chains.
    log_emissions : ndarray of shape (n_frames, n_joint_states)
        Logarithms of the emission weights.
    offsets : ndarray of int64 of shape (n_sequences + 1,)
        First frame of each sequence, and the number of frames.
    n_rows : int
        Most frames of a span.
    """

    def __init__(
        self,
        graph: FactorialGraph,
        log_emissions: np.ndarray,
        offsets: np.ndarray,
        n_rows: int,
    ) -> None:
        n_states = len(graph.emits)
        self._arrays = chain_arrays(graph)
        self._table, self._offsets = log_emissions, offsets
        self._alpha = np.empty((n_rows + 1, n_states))
        self._emissions = np.empty((n_rows, n_states))
        self._later = np.empty(n_states)
        self._partial = np.empty((len(graph.shape) + 1, n_states))
        self._work = np.empty((2, n_states))
        self._values = np.zeros(len(offsets) - 1)
        self._possible = np.ones(len(offsets) - 1, dtype=bool)

    def forward(self, sequences: range, start: int, stop: int) -> bool:
        """Compute alpha of a span, which never loses digits."""
        forward_chains(
            self._arrays, self._table, self._offsets, sequences.start, sequences.stop,
            start, stop, self._alpha, self._emissions, self._work[0], self._values,
            self._possible,
        )  # fmt: skip
        return True

    def save(self, n_frames: int) -> np.ndarray:
        """Return the last row of alpha of a span."""
        return self._alpha[n_frames].copy()

    def restore(self, row: np.ndarray) -> None:
        """Make a row of alpha the one before the next span."""
        self._alpha[0] = row

    def backward(
        self,
        sequences: range,
        start: int,
        stop: int,
        scales: np.ndarray,
        weights: np.ndarray,
        columns: np.ndarray,
        posteriors: np.ndarray,
        edge_counts: np.ndarray,
        start_counts: np.ndarray,
    ) -> bool:
        """Write posteriors of a span, and add counts, after its forward pass."""
        counts = np.zeros_like(edge_counts)
        backward_chains(
            self._arrays, self._offsets, sequences.start, sequences.stop, start, stop,
            scales, weights, self._alpha, self._emissions, self._possible, self._later,
            self._partial, self._work, columns, posteriors, counts, start_counts,
        )  # fmt: skip
        edge_counts += counts * self._arrays.matrices
        return True

    def log_likelihoods(self, sequences: range) -> np.ndarray:
        """Return the logarithms of the sums over all paths."""
        own = slice(sequences.start, sequences.stop)
        return np.where(self._possible[own], self._values[own], -np.inf)


def best_factorial_paths(
    graph: FactorialGraph, table: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Find the best path of each sequence.

    Parameters
    ----------
    graph : FactorialGraph
        The chains.
    table : ndarray of shape (n_frames, n_joint_states)
        Logarithms of the emission weights.
    offsets : ndarray of int64 of shape (n_sequences + 1,)
        First frame of each sequence, and the number of frames.

    Returns
    -------
    states : ndarray of int32 of shape (n_frames,)
        Combination of states at each frame.
    scores : ndarray of shape (n_sequences,)
        Scores of the paths.
    """
    arrays = chain_arrays(graph)
    numbers = np.unravel_index(np.arange(len(graph.emits)), graph.shape)
    states = np.ascontiguousarray(np.stack(numbers, axis=1), dtype=np.int64)
    path = np.empty(len(table), dtype=np.int32)
    scores = np.zeros(len(offsets) - 1)
    for q, (start, stop) in enumerate(pairwise(offsets.tolist())):
        if stop > start:
            scores[q] = best_chain_path(
                graph.log_start, np.log(arrays.matrices), arrays.sizes, arrays.first,
                states, table[start:stop], path[start:stop],
            )  # fmt: skip
    return path, scores
