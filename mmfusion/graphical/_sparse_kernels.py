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
from mmfusion._simd import always_inline
from mmfusion.graphical._exponents import (
    EXPONENT_OF_ZERO,
    LN2,
    exponent_of,
    mantissa_of,
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
    out_mantissas, out_exponents : ndarray of float, int64, of shape (n_edges,)
        Weights of the edges by source.
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
    out_mantissas: np.ndarray
    out_exponents: np.ndarray
    start: tuple[np.ndarray, np.ndarray]
    end: tuple[np.ndarray, np.ndarray]


class SparseRows(NamedTuple):
    """Workspace of a span: rows of all frames, one after another in one dimension.

    Each number has its mantissa and, in the array with `_e`, its exponent.

    Parameters
    ----------
    emissions, emissions_e : ndarray of shape (n_rows * n_columns,)
        Emission weights.
    alpha, alpha_e : ndarray of shape ((n_rows + 1) * n_states,)
        Row of the frame before the span, then of its frames.
    later, later_e : ndarray of shape (2 * n_states,)
        Product of emissions and beta, of the frames with even and odd numbers.
    totals, totals_e : ndarray of shape (n_sequences,)
        Sums over all paths.
    """

    emissions: np.ndarray
    emissions_e: np.ndarray
    alpha: np.ndarray
    alpha_e: np.ndarray
    later: np.ndarray
    later_e: np.ndarray
    totals: np.ndarray
    totals_e: np.ndarray


@jit
def put(values, values_e, place, number, exponent):
    """Write ``number 2**exponent``, with its mantissa in [1, 2)."""
    always_inline()
    values[place] = mantissa_of(number)
    values_e[place] = exponent_of(number, exponent)


@jit
def first_row(start, start_e, emits, emissions, emissions_e, place, alpha, alpha_e,
              own):  # fmt: skip
    """Write a first row of alpha."""
    for s in range(len(emits)):
        k = place + emits[s]
        exponent = start_e[s] + emissions_e[k]
        put(alpha, alpha_e, own + s, start[s] * emissions[k], exponent)


@jit
def forward_row(ptr, src, weights, weights_e, emits, emissions, emissions_e, place,
                alpha, alpha_e, before, own):  # fmt: skip
    """Compute the row of alpha from `own` on from that from `before` on."""
    always_inline()
    for s in range(len(emits)):
        low, high = ptr[s], ptr[s + 1]
        top = EXPONENT_OF_ZERO
        for e in range(low, high):
            top = max(top, alpha_e[before + src[e]] + weights_e[e])
        total = 0.0
        for e in range(low, high):
            i = before + src[e]
            shift = power(alpha_e[i] + weights_e[e] - top)
            total += alpha[i] * weights[e] * shift
        k = place + emits[s]
        put(alpha, alpha_e, own + s, total * emissions[k], top + emissions_e[k])


@jit
def path_sum(end, end_e, alpha, alpha_e, own):
    """Return the sum over the last states: mantissa and exponent."""
    top = EXPONENT_OF_ZERO
    for s in range(len(end)):
        top = max(top, alpha_e[own + s] + end_e[s])
    total = 0.0
    for s in range(len(end)):
        total += alpha[own + s] * end[s] * power(alpha_e[own + s] + end_e[s] - top)
    return total, top


@jit
def forward_span(edges, rows, n_columns, offsets, lo, hi, start, stop):
    """Compute alpha of the frames from `start` to `stop`, in sequences `lo` to `hi`.

    Row 0 of alpha is that of the frame before `start`; frame t is row t - start + 1.
    """
    # taken out of their tuples here, since the loops would count references to each
    ptr, src, emits = edges.ptr, edges.src, edges.emits
    weights, weights_e = edges.mantissas, edges.exponents
    (first, first_e), (end, end_e) = edges.start, edges.end
    emissions, emissions_e = rows.emissions, rows.emissions_e
    alpha, alpha_e, n = rows.alpha, rows.alpha_e, len(emits)
    for q in range(lo, hi):
        for t in range(max(offsets[q], start), min(offsets[q + 1], stop)):
            before, place = (t - start) * n, (t - start) * n_columns
            own = before + n
            if t == offsets[q]:
                first_row(first, first_e, emits, emissions, emissions_e, place, alpha,
                          alpha_e, own)  # fmt: skip
            else:
                forward_row(ptr, src, weights, weights_e, emits, emissions, emissions_e,
                            place, alpha, alpha_e, before, own)  # fmt: skip
            if t == offsets[q + 1] - 1:
                total, top = path_sum(end, end_e, alpha, alpha_e, own)
                rows.totals[q], rows.totals_e[q] = total, top


@jit
def last_row(end, end_e, emits, emissions, emissions_e, place, alpha, alpha_e, own,
             factor, factor_e, later, later_e, new, posteriors, columns,
             at):  # fmt: skip
    """Begin the backward pass with the weights of last states."""
    for s in range(len(emits)):
        shift = power(alpha_e[own + s] + end_e[s] + factor_e)
        posteriors[at, columns[s]] += factor * alpha[own + s] * end[s] * shift
        k = place + emits[s]
        put(later, later_e, new + s, end[s] * emissions[k], end_e[s] + emissions_e[k])


@jit
def backward_row(ptr, dst, edge, weights, weights_e, emits, emissions, emissions_e,
                 place, alpha, alpha_e, own, factor, factor_e, weight, later, later_e,
                 old, new, counts, posteriors, columns, at):  # fmt: skip
    """Compute the product of emissions and beta, the posteriors, and counts of edges.

    `factor` is 1 divided by the sum over all paths of the sequence, and `weight` what
    the sequence counts.
    """
    always_inline()
    for i in range(len(emits)):
        low, high = ptr[i], ptr[i + 1]
        top = EXPONENT_OF_ZERO
        for e in range(low, high):
            top = max(top, later_e[old + dst[e]] + weights_e[e])
        share = factor * alpha[own + i] * power(alpha_e[own + i] + top + factor_e)
        total = 0.0
        for e in range(low, high):
            j = old + dst[e]
            term = later[j] * weights[e] * power(later_e[j] + weights_e[e] - top)
            total += term
            counts[edge[e]] += term * (share * weight)
        posteriors[at, columns[i]] += total * share
        k = place + emits[i]
        put(later, later_e, new + i, total * emissions[k], top + emissions_e[k])


@jit
def backward_span(edges, rows, n_columns, offsets, lo, hi, start, stop, scales, weights,
                  columns, posteriors, counts, start_counts):  # fmt: skip
    """Write posteriors of the frames from `start` to `stop`, and add up the counts.

    Posteriors are summed over the states with the same of `columns`, times `scales` of
    the sequences; counts are times `weights`.
    """
    ptr, dst, edge, emits = edges.out_ptr, edges.out_dst, edges.out_edge, edges.emits
    out, out_e = edges.out_mantissas, edges.out_exponents
    (first, first_e), (end, end_e) = edges.start, edges.end
    emissions, emissions_e = rows.emissions, rows.emissions_e
    alpha, alpha_e, n = rows.alpha, rows.alpha_e, len(emits)
    later, later_e = rows.later, rows.later_e
    for q in range(hi - 1, lo - 1, -1):
        begin, last = max(offsets[q], start), min(offsets[q + 1], stop) - 1
        possible = rows.totals[q] > 0
        factor = 1.0 / rows.totals[q] if possible else 0.0
        factor_e = -rows.totals_e[q]
        for t in range(last, begin - 1, -1):
            at = t - start
            own, place = at * n + n, at * n_columns
            new, old = t % 2 * n, (t + 1) % 2 * n
            for k in range(posteriors.shape[1]):
                posteriors[at, k] = 0.0
            if not possible:
                continue
            if t == offsets[q + 1] - 1:
                last_row(end, end_e, emits, emissions, emissions_e, place, alpha,
                         alpha_e, own, factor, factor_e, later, later_e, new,
                         posteriors, columns, at)  # fmt: skip
            else:
                backward_row(ptr, dst, edge, out, out_e, emits, emissions, emissions_e,
                             place, alpha, alpha_e, own, factor, factor_e, weights[q],
                             later, later_e, old, new, counts, posteriors, columns,
                             at)  # fmt: skip
            if t == offsets[q]:
                share = weights[q] * factor
                for s in range(n):
                    shift = power(first_e[s] + later_e[new + s] + factor_e)
                    start_counts[s] += share * first[s] * later[new + s] * shift
            for k in range(posteriors.shape[1]):
                posteriors[at, k] *= scales[q]


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
        out_mantissas=mantissas[order],
        out_exponents=exponents[order],
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
        self._table, self._offsets = log_emissions, offsets
        n_sequences = len(offsets) - 1
        self._rows = SparseRows(
            *_zeros(n_rows * n_columns),
            *_zeros((n_rows + 1) * n_states),
            *_zeros(2 * n_states),
            np.ones(n_sequences),
            np.zeros(n_sequences, dtype=np.int64),
        )

    def forward(self, sequences: range, start: int, stop: int) -> bool:
        """Compute alpha of a span; return whether no digits are lost: always."""
        logs, rows = self._table[start:stop], self._rows
        split_exponentials(logs.ravel(), rows.emissions, rows.emissions_e)
        forward_span(
            self._edges, rows, logs.shape[1], self._offsets, sequences.start,
            sequences.stop, start, stop,
        )  # fmt: skip
        return True

    def save(self, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the last row of alpha of a span."""
        n_states = len(self._edges.emits)
        own = slice(n_frames * n_states, (n_frames + 1) * n_states)
        return self._rows.alpha[own].copy(), self._rows.alpha_e[own].copy()

    def restore(self, row: tuple[np.ndarray, np.ndarray]) -> None:
        """Make a row of alpha the one before the next span."""
        n_states = len(self._edges.emits)
        self._rows.alpha[:n_states], self._rows.alpha_e[:n_states] = row

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
            self._edges, self._rows, self._table.shape[1], self._offsets,
            sequences.start, sequences.stop, start, stop, scales, weights, columns,
            posteriors, edge_counts, start_counts,
        )  # fmt: skip
        return True

    def log_likelihoods(self, sequences: range) -> np.ndarray:
        """Return the logarithms of the sums over all paths."""
        which = slice(sequences.start, sequences.stop)
        with np.errstate(divide="ignore"):
            logs = np.log(self._rows.totals[which])
        return logs + LN2 * self._rows.totals_e[which]


def _zeros(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Make mantissas and exponents."""
    return np.zeros(n), np.zeros(n, dtype=np.int64)
