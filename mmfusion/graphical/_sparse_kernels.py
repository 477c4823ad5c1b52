"""Recursions over the edges of any graph, in numbers that cannot underflow.

A weight is a mantissa in [1, 2) and an integer exponent, ``m 2**e``. Products add
exponents; a sum shifts its terms to the largest of its own exponents, so that what it
loses is below the rounding of the sum. No state is lost relative to another one, as in
log space, but with one exponential for each emission instead of one for each edge, and
without the digits that a logarithm of a large value loses.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit
from mmfusion.graphical._exponents import (
    LN2,
    ZERO_EXPONENT,
    normalize,
    power,
    split,
    split_exponentials,
)
from mmfusion.graphical._graph import ChainGraph, destinations


class EdgeArrays(NamedTuple):
    """Edges by destination and by source, with weights as mantissas and exponents.

    Parameters
    ----------
    emits, ptr, src : ndarray
        As in `ChainGraph`.
    mantissas, exponents : ndarray of float, int64, of shape (n_edges,)
        Weights of the edges by destination.
    out_ptr, out_dst, out_edge : ndarray of int64, int32, int64
        The edges by source: bounds, destinations, and positions by destination.
    start, end : tuple of ndarray of shape (n_states,)
        Mantissas and exponents of the weights of first and last states.
    """

    emits: np.ndarray
    ptr: np.ndarray
    src: np.ndarray
    mantissas: np.ndarray
    exponents: np.ndarray
    out_ptr: np.ndarray
    out_dst: np.ndarray
    out_edge: np.ndarray
    start: tuple[np.ndarray, np.ndarray]
    end: tuple[np.ndarray, np.ndarray]


@jit
def propagate(edges, before, before_e, after, after_e):
    """Sum over the edges into each state."""
    for s in range(len(after)):
        low, high = edges.ptr[s], edges.ptr[s + 1]
        top = ZERO_EXPONENT
        for e in range(low, high):
            top = max(top, before_e[edges.src[e]] + edges.exponents[e])
        total = 0.0
        for e in range(low, high):
            i = edges.src[e]
            shift = power(before_e[i] + edges.exponents[e] - top)
            total += before[i] * edges.mantissas[e] * shift
        after[s], after_e[s] = total, top


@jit
def emit(edges, row, row_e, emission, emission_e):
    """Multiply the weights of all states with those of their emissions."""
    for s in range(len(row)):
        k = edges.emits[s]
        row[s] *= emission[k]
        row_e[s] += emission_e[k]
    normalize(row, row_e)


@jit
def forward_frame(edges, logs, is_first, before, before_e, row, row_e, work, work_e):
    """Compute one row of alpha from the one before."""
    if is_first:
        row[:] = edges.start[0]
        row_e[:] = edges.start[1]
    else:
        propagate(edges, before, before_e, row, row_e)
    split_exponentials(logs, work, work_e)
    emit(edges, row, row_e, work, work_e)


@jit
def path_sum(edges, row, row_e):
    """Return the sum over the last states: mantissa and exponent."""
    end, end_e = edges.end
    top = ZERO_EXPONENT
    for s in range(len(row)):
        top = max(top, row_e[s] + end_e[s])
    total = 0.0
    for s in range(len(row)):
        total += row[s] * end[s] * power(row_e[s] + end_e[s] - top)
    return total, top


@jit
def forward_span(edges, log_emissions, offsets, lo, hi, start, stop, alpha, alpha_e,
                 work, work_e, totals, totals_e):  # fmt: skip
    """Compute alpha of the frames from `start` to `stop`, in sequences `lo` to `hi`.

    Row 0 of alpha is that of the frame before `start`; frame t is row t - start + 1.
    """
    for q in range(lo, hi):
        for t in range(max(offsets[q], start), min(offsets[q + 1], stop)):
            at = t - start
            forward_frame(
                edges, log_emissions[t], t == offsets[q], alpha[at], alpha_e[at],
                alpha[at + 1], alpha_e[at + 1], work, work_e,
            )  # fmt: skip
            if t == offsets[q + 1] - 1:
                totals[q], totals_e[q] = path_sum(edges, alpha[at + 1], alpha_e[at + 1])


@jit
def backward_frame(edges, factor, factor_e, weight, alpha, alpha_e, later, later_e,
                   beta, beta_e, counts, occupancy):  # fmt: skip
    """Compute one row of beta, the occupancies, and the counts of edges.

    `factor` is 1 divided by the sum over all paths of the sequence, `weight` that of
    the sequence in the counts, and `later` the product of emissions and beta of the
    next frame.
    """
    for i in range(len(beta)):
        low, high = edges.out_ptr[i], edges.out_ptr[i + 1]
        top = ZERO_EXPONENT
        for e in range(low, high):
            x = later_e[edges.out_dst[e]] + edges.exponents[edges.out_edge[e]]
            top = max(top, x)
        share = factor * alpha[i] * power(alpha_e[i] + top + factor_e)
        total = 0.0
        for e in range(low, high):
            j, k = edges.out_dst[e], edges.out_edge[e]
            shift = power(later_e[j] + edges.exponents[k] - top)
            term = later[j] * edges.mantissas[k] * shift
            total += term
            counts[k] += term * (share * weight)
        beta[i], beta_e[i] = total, top
        occupancy[i] = total * share
    normalize(beta, beta_e)


@jit
def last_frame(edges, factor, factor_e, alpha, alpha_e, beta, beta_e, occupancy):
    """Begin the recursion of beta with the weights of last states."""
    beta[:] = edges.end[0]
    beta_e[:] = edges.end[1]
    for s in range(len(beta)):
        shift = power(alpha_e[s] + beta_e[s] + factor_e)
        occupancy[s] = factor * alpha[s] * beta[s] * shift


@jit
def backward_span(edges, log_emissions, offsets, lo, hi, start, stop, alpha, alpha_e,
                  work, work_e, totals, totals_e, scales, weights, columns, beta,
                  beta_e, posteriors, counts, start_counts):  # fmt: skip
    """Write posteriors of the frames from `start` to `stop`, and add up the counts.

    `beta` is the product of emissions and beta of the frame `stop` if the sequence goes
    on there, and that of `start` afterwards. Posteriors are summed over the states with
    the same of `columns`, times `scales` of the sequences; counts times `weights`.
    """
    n_states = len(edges.emits)
    occupancy = np.empty(n_states)
    row, row_e = np.empty(n_states), np.empty(n_states, dtype=np.int64)
    for q in range(hi - 1, lo - 1, -1):
        first, last = max(offsets[q], start), min(offsets[q + 1], stop) - 1
        possible = totals[q] > 0
        factor = 1.0 / totals[q] if possible else 0.0
        for t in range(last, first - 1, -1):
            at = t - start
            posteriors[at] = 0.0
            if not possible:
                continue
            if t == offsets[q + 1] - 1:
                last_frame(edges, factor, -totals_e[q], alpha[at + 1], alpha_e[at + 1],
                           row, row_e, occupancy)  # fmt: skip
            else:
                backward_frame(edges, factor, -totals_e[q], weights[q], alpha[at + 1],
                               alpha_e[at + 1], beta, beta_e, row, row_e, counts,
                               occupancy)  # fmt: skip
            for s in range(n_states):
                posteriors[at, columns[s]] += scales[q] * occupancy[s]
                beta[s], beta_e[s] = row[s], row_e[s]
            if t == offsets[q]:
                for s in range(n_states):
                    start_counts[s] += weights[q] * occupancy[s]
            split_exponentials(log_emissions[t], work, work_e)
            emit(edges, beta, beta_e, work, work_e)


def edge_arrays(graph: ChainGraph) -> EdgeArrays:
    """Sort the edges of a graph by source too, and split their weights.

    Parameters
    ----------
    graph : ChainGraph
        The graph.

    Returns
    -------
    EdgeArrays
        What the recursions need.
    """
    order = np.lexsort((destinations(graph), graph.src))
    counts = np.bincount(graph.src, minlength=len(graph.emits))
    mantissas, exponents = split(graph.log_weights)
    return EdgeArrays(
        emits=np.array(graph.emits),
        ptr=np.array(graph.ptr),
        src=np.array(graph.src),
        mantissas=mantissas,
        exponents=exponents,
        out_ptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        out_dst=destinations(graph)[order],
        out_edge=order.astype(np.int64),
        start=split(graph.log_start),
        end=split(graph.log_end),
    )


class SparsePass:
    """Forward and backward passes over spans of frames, in one thread.

    Parameters
    ----------
    edges : EdgeArrays
        The graph.
    log_emissions : ndarray of shape (n_frames, n_columns)
        Logarithms of the emission weights.
    offsets : ndarray of int64 of shape (n_sequences + 1,)
        First frame of each sequence, and the number of frames.
    n_rows : int
        Most frames of a span.
    """

    def __init__(
        self,
        edges: EdgeArrays,
        log_emissions: np.ndarray,
        offsets: np.ndarray,
        n_rows: int,
    ) -> None:
        n_states, n_columns = len(edges.emits), log_emissions.shape[1]
        self._edges = edges
        self._input = (log_emissions, offsets)
        self._alpha = np.empty((n_rows + 1, n_states))
        self._alpha_e = np.empty((n_rows + 1, n_states), dtype=np.int64)
        self._work = np.empty(n_columns), np.empty(n_columns, dtype=np.int64)
        n_sequences = len(offsets) - 1
        self._totals = np.ones(n_sequences), np.zeros(n_sequences, dtype=np.int64)
        self._beta = np.empty(n_states), np.empty(n_states, dtype=np.int64)

    def forward(self, sequences: range, start: int, stop: int) -> bool:
        """Compute alpha of a span; return whether no digits are lost: always."""
        forward_span(
            self._edges, *self._input, sequences.start, sequences.stop, start, stop,
            self._alpha, self._alpha_e, *self._work, *self._totals,
        )  # fmt: skip
        return True

    def save(self, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the last row of alpha of a span."""
        return self._alpha[n_frames].copy(), self._alpha_e[n_frames].copy()

    def restore(self, row: tuple[np.ndarray, np.ndarray]) -> None:
        """Make a row of alpha the one before the next span."""
        self._alpha[0], self._alpha_e[0] = row

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
        backward_span(
            self._edges, *self._input, sequences.start, sequences.stop, start, stop,
            self._alpha, self._alpha_e, *self._work, *self._totals, scales, weights,
            columns, *self._beta, posteriors, edge_counts, start_counts,
        )  # fmt: skip
        return True

    def log_likelihoods(self, sequences: range) -> np.ndarray:
        """Return the logarithms of the sums over all paths."""
        which = slice(sequences.start, sequences.stop)
        with np.errstate(divide="ignore"):
            return np.log(self._totals[0][which]) + LN2 * self._totals[1][which]
