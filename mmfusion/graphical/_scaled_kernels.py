"""Recursions over few edges in plain numbers, scaled at each frame.

Alpha sums to 1 in each row. A state that may be reached has at least
``LEAST_PRODUCT / scale``, so that products neither vanish nor lose digits: what is
raised is too large, and so are the sums over the paths through it. Whether these paths
matter is known in the backward pass, where alpha times beta is their share in all. If
it is not below rounding, results are not exact, and the caller takes a slower kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit
from mmfusion.graphical._graph import ChainGraph, destinations

LEAST_PRODUCT = 1e-300  # of alpha before scaling and emission, for possible states
LEAST_SCALE = 1e-250  # sum of these products in a frame, below which digits are lost
# smaller weights of edges could make products of possible states vanish
EXTREME_WEIGHT = 1e-7
LARGEST_LOST_SHARE = 1e-25  # of paths through a raised state, in all of a sequence


class ScaledEdges(NamedTuple):
    """Edges by destination and by source, with their weights.

    Parameters
    ----------
    emits, ptr, src : ndarray
        As in `ChainGraph`.
    weights : ndarray of shape (n_edges,)
        Weights of the edges by destination.
    out_ptr, out_dst, out_edge : ndarray of int64, int32, int64
        The edges by source: bounds, destinations, and positions by destination.
    start, end : ndarray of shape (n_states,)
        Weights of first and last states.
    """

    emits: np.ndarray
    ptr: np.ndarray
    src: np.ndarray
    weights: np.ndarray
    out_ptr: np.ndarray
    out_dst: np.ndarray
    out_edge: np.ndarray
    start: np.ndarray
    end: np.ndarray


def scaled_edges(graph: ChainGraph) -> ScaledEdges | None:
    """Return the edges of a graph, unless weights are too small or too large.

    Parameters
    ----------
    graph : ChainGraph
        The graph.

    Returns
    -------
    ScaledEdges or None
        What the recursions need.
    """
    bound = -np.log(EXTREME_WEIGHT)
    ends = np.concatenate([graph.log_start, graph.log_end])
    logs = np.concatenate([graph.log_weights, ends[ends > -np.inf]])
    if not (np.abs(logs) <= bound).all():
        return None
    order = np.lexsort((destinations(graph), graph.src))
    counts = np.bincount(graph.src, minlength=len(graph.emits))
    return ScaledEdges(
        emits=np.array(graph.emits),
        ptr=np.array(graph.ptr),
        src=np.array(graph.src),
        weights=np.exp(graph.log_weights),
        out_ptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        out_dst=destinations(graph)[order],
        out_edge=order.astype(np.int64),
        start=np.exp(graph.log_start),
        end=np.exp(graph.log_end),
    )


@jit
def scaled_forward_span(edges, log_emissions, tops, factors, offsets, lo, hi, start,
                        stop, alpha, emissions, scales, totals, sums):  # fmt: skip
    """Compute alpha of the frames from `start` to `stop`; return whether in range.

    Row 0 of alpha is that of the frame before `start`; frame t is row t - start + 1.
    `factors` are the emissions of the columns divided by the largest of the frame,
    whose logarithms are `tops`. Writes emissions of the states divided by the scales.
    """
    n = len(edges.emits)
    for q in range(lo, hi):
        if offsets[q] >= start:
            sums[q] = 0.0
        for t in range(max(offsets[q], start), min(offsets[q + 1], stop)):
            at = t - start + 1
            scale = 0.0
            for s in range(n):
                if t == offsets[q]:
                    product = edges.start[s]
                else:
                    product = 0.0
                    for e in range(edges.ptr[s], edges.ptr[s + 1]):
                        product += alpha[at - 1, edges.src[e]] * edges.weights[e]
                k = edges.emits[s]
                factor = factors[at - 1, k]
                if factor == 0.0 and log_emissions[t, k] == -np.inf:
                    product = 0.0
                if product > 0.0:
                    product = max(product * factor, LEAST_PRODUCT)
                alpha[at, s] = product
                emissions[at, s] = factor
                scale += product
            if scale < LEAST_SCALE:
                return False
            scales[at] = scale
            sums[q] += np.log(scale) + tops[at - 1]
            inverse = 1.0 / scale
            for s in range(n):
                alpha[at, s] *= inverse
                emissions[at, s] *= inverse
            if t == offsets[q + 1] - 1:
                total = 0.0
                for s in range(n):
                    total += alpha[at, s] * edges.end[s]
                totals[q] = total
                if total < LEAST_SCALE:
                    return False
    return True


@jit
def scaled_backward_span(edges, offsets, lo, hi, start, stop, alpha, emissions, scales,
                         totals, factors, weights, columns, posteriors, counts,
                         start_counts, beta, later):  # fmt: skip
    """Write posteriors of the frames from `start` to `stop`; return whether exact.

    `later` is the product of emissions and beta of the frame `stop` if the sequence
    goes on there, and that of `start` afterwards. Posteriors are summed over the states
    with the same of `columns`, times `factors` of sequences; counts times `weights`.
    """
    n = len(beta)
    for q in range(hi - 1, lo - 1, -1):
        first, last = max(offsets[q], start), min(offsets[q + 1], stop) - 1
        for t in range(last, first - 1, -1):
            at = t - start + 1
            row = alpha[at]
            raised = LEAST_PRODUCT / scales[at] * (1 + 1e-9)
            posteriors[at - 1] = 0.0
            for i in range(n):
                beta[i] = 0.0
                if row[i] == 0.0:
                    continue  # it cannot be reached: beta may be beyond all bounds
                if t == offsets[q + 1] - 1:
                    beta[i] = edges.end[i] / totals[q]
                else:
                    share = row[i] * weights[q]
                    for e in range(edges.out_ptr[i], edges.out_ptr[i + 1]):
                        edge = edges.out_edge[e]
                        term = edges.weights[edge] * later[edges.out_dst[e]]
                        beta[i] += term
                        counts[edge] += share * term
                occupancy = row[i] * beta[i]
                if row[i] <= raised and occupancy > LARGEST_LOST_SHARE:
                    return False
                posteriors[at - 1, columns[i]] += factors[q] * occupancy
                if t == offsets[q]:
                    start_counts[i] += weights[q] * occupancy
            for i in range(n):
                later[i] = emissions[at, i] * beta[i]
    return True


class ScaledPass:
    """Forward and backward passes over spans of frames, in one thread.

    Parameters
    ----------
    edges : ScaledEdges
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
        edges: ScaledEdges,
        log_emissions: np.ndarray,
        offsets: np.ndarray,
        n_rows: int,
    ) -> None:
        n_states = len(edges.emits)
        self._edges = edges
        self._table, self._offsets = log_emissions, offsets
        self._alpha = np.empty((n_rows + 1, n_states))
        self._emissions = np.empty((n_rows + 1, n_states))
        self._scales = np.empty(n_rows + 1)
        self._totals = np.ones(len(offsets) - 1)
        self._sums = np.zeros(len(offsets) - 1)
        self._beta = np.empty(n_states), np.empty(n_states)
        self._span = 0, 0

    def forward(self, sequences: range, start: int, stop: int) -> bool:
        """Compute alpha of a span; return whether its numbers are in range."""
        logs = self._table[start:stop]
        self._span = start, stop
        tops = logs.max(axis=1)
        if not np.isfinite(tops).all():
            return False
        factors = np.exp(logs - tops[:, None])
        return bool(
            scaled_forward_span(
                self._edges, self._table, tops, factors, self._offsets, sequences.start,
                sequences.stop, start, stop, self._alpha, self._emissions, self._scales,
                self._totals, self._sums,
            )
        )  # fmt: skip

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
        """Write posteriors of a span, and add counts; return whether they are exact."""
        return bool(
            scaled_backward_span(
                self._edges, self._offsets, sequences.start, sequences.stop, start,
                stop, self._alpha, self._emissions, self._scales, self._totals, scales,
                weights, columns, posteriors, edge_counts, start_counts, *self._beta,
            )
        )  # fmt: skip

    def keeps_digits(self, sequences: range) -> bool:
        """Return whether the sums of the span of the last forward pass are exact."""
        n_frames = self._span[1] - self._span[0]
        n_states, ones = len(self._edges.emits), np.ones(len(self._totals))
        return self.backward(
            sequences,
            *self._span,
            ones,
            ones,
            self._edges.emits,
            np.empty((n_frames, self._table.shape[1])),
            np.zeros(len(self._edges.src)),
            np.zeros(n_states),
        )

    def log_likelihoods(self, sequences: range) -> np.ndarray:
        """Return the logarithms of the sums over all paths."""
        which = slice(sequences.start, sequences.stop)
        with np.errstate(divide="ignore"):  # 0 where numbers left their range
            return self._sums[which] + np.log(self._totals[which])
