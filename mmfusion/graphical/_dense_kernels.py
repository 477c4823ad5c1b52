"""Recursions over the matrix of all transitions, in scaled probabilities.

The rows of alpha are ``a_t = (a_{t-1} A) * B_t / c_{t-1}`` with ``c_t = sum a_t``:
since a row is divided by the sum of the one before, no row waits for its own sum. Row t
of B is divided by its largest element, so that the log-likelihood is the sum of all
``log c_t`` and of the logarithms of these.

If every transition is above 1e-100, a state whose weight underflows is reached again
from the others with far more than what it lost. With transitions of zero this is not
so, and what is lost may matter later: an element below 1e-290 of a positive prediction
makes the pass fail, and the sequence belongs to the sparse kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit, jit_reordered
from mmfusion.graphical._exponents import scaled_exponentials
from mmfusion.graphical._graph import ChainGraph, destinations

# weights below, relative to the largest, count as zeros
LEAST_WEIGHT = 1e-100
# elements of positive predictions below have lost digits
LEAST_ELEMENT = 1e-290


class DenseArrays(NamedTuple):
    """Weights of all transitions, first and last states, each divided by the largest.

    Parameters
    ----------
    transitions, transposed : ndarray of shape (n_states, n_states)
        Weights from each state (row) to each state, and their transpose.
    start, end : ndarray of shape (n_states,)
        Weights of first and last states.
    emits : ndarray of int32 of shape (n_states,)
        Column of emissions of each state.
    log_scales : tuple of float
        Logarithms of the largest first, transition and last weights.
    has_zeros, end_has_zeros : bool
        Whether a transition is 0, or an end weight below 1e-100.
    identity : bool
        Whether each state reads the column of its own number.
    """

    transitions: np.ndarray
    transposed: np.ndarray
    start: np.ndarray
    end: np.ndarray
    emits: np.ndarray
    log_scales: tuple[float, float, float]
    has_zeros: bool
    end_has_zeros: bool
    identity: bool


@jit
def multiply(row, matrix, out):
    """Write the product of a row and a matrix."""
    n = len(row)
    out[:] = 0.0
    whole = n - n % 4
    for i in range(0, whole, 4):  # four rows at a time spare reading and writing `out`
        a, b, c, d = row[i], row[i + 1], row[i + 2], row[i + 3]
        for j in range(n):
            out[j] += (a * matrix[i, j] + b * matrix[i + 1, j]) + (
                c * matrix[i + 2, j] + d * matrix[i + 3, j]
            )
    for i in range(whole, n):
        a = row[i]
        for j in range(n):
            out[j] += a * matrix[i, j]


@jit_reordered
def emission_row(arrays, logs, out):
    """Write the emission weights divided by the largest; return its logarithm."""
    top = -np.inf
    if arrays.identity:
        for s in range(len(out)):
            top = max(top, logs[s])
        if top > -np.inf:
            scaled_exponentials(logs[: len(out)], top, out)
        return top
    for s in range(len(out)):
        out[s] = logs[arrays.emits[s]]
        top = max(top, out[s])
    if top > -np.inf:
        scaled_exponentials(out, top, out)
    return top


@jit_reordered
def weigh(row, weights, scale, checked):
    """Multiply a row with weights; return the sum, or -1 if an element underflows."""
    total, least = 0.0, 1.0
    if checked:
        for j in range(len(row)):
            product = row[j] * (weights[j] * scale)
            least = min(least, product if row[j] > 0 else 1.0)
            row[j] = product
            total += product
    else:
        for j in range(len(row)):
            row[j] *= weights[j] * scale
            total += row[j]
    return total if min(total, least) > LEAST_ELEMENT else -1.0


@jit_reordered
def dot(left, right):
    """Return the scalar product of two rows."""
    total = 0.0
    for j in range(len(left)):
        total += left[j] * right[j]
    return total


@jit
def forward_span(arrays, log_emissions, offsets, lo, hi, start, stop, alpha, sums,
                 emissions, values):  # fmt: skip
    """Compute alpha of the frames from `start` to `stop`; return whether it is exact.

    Row 0 of alpha is that of the frame before `start`; frame t is row t - start + 1.
    Log-likelihoods are added up in `values`.
    """
    log_start, log_transition, log_end = arrays.log_scales
    for q in range(lo, hi):
        for t in range(max(offsets[q], start), min(offsets[q + 1], stop)):
            at, is_last = t - start, t == offsets[q + 1] - 1
            row = alpha[at + 1]
            top = emission_row(arrays, log_emissions[t], emissions[at])
            if top == -np.inf:
                return False
            if t == offsets[q]:
                row[:] = arrays.start
                scale, values[q] = 1.0, log_start
            else:
                multiply(alpha[at], arrays.transitions, row)
                scale = 1 / sums[at]
                values[q] += log_transition
            checked = arrays.has_zeros or (is_last and arrays.end_has_zeros)
            total = weigh(row, emissions[at], scale, checked)
            if total < 0:
                return False
            sums[at + 1] = total
            if is_last:
                total = dot(row, arrays.end)
                values[q] += log_end
                if total < LEAST_ELEMENT:
                    return False
            values[q] += top + np.log(total)
    return True


@jit_reordered
def backward_row(arrays, later, later_scale, alpha, beta):
    """Write a row of beta, times any scale; return its sum, and that with alpha."""
    multiply(later, arrays.transposed, beta)
    total, product = 0.0, 0.0
    for j in range(len(beta)):
        beta[j] *= later_scale
        total += beta[j]
        product += alpha[j] * beta[j]
    return total, product


@jit
def backward_span(arrays, offsets, lo, hi, start, stop, alpha, emissions, scales,
                  weights, columns, later, later_scale, beta, posteriors, pairs,
                  start_counts):  # fmt: skip
    """Write posteriors of the frames from `start` to `stop`; return whether exact.

    `later` is the product of emissions and beta of the frame `stop`, up to
    `later_scale[0]`, if the sequence goes on there, and that of `start` afterwards. The
    expected transitions are the product of alpha, transposed, and `pairs`, times the
    transitions.
    """
    for q in range(hi - 1, lo - 1, -1):
        first, last = max(offsets[q], start), min(offsets[q + 1], stop) - 1
        for t in range(last, first - 1, -1):
            at = t - start
            row = alpha[at + 1]
            if t == offsets[q + 1] - 1:
                beta[:] = arrays.end
                pairs[at] = 0.0
                total, product = beta.sum(), dot(row, beta)
            else:
                total, product = backward_row(arrays, later, later_scale[0], row, beta)
                if product < LEAST_ELEMENT:
                    return False
                share = weights[q] * later_scale[0] / product
                for j in range(len(beta)):
                    pairs[at, j] = later[j] * share
            scale = scales[q] / product
            if arrays.identity:
                for j in range(len(beta)):
                    posteriors[at, j] = row[j] * beta[j] * scale
                posteriors[at, len(beta) :] = 0.0
            else:
                posteriors[at] = 0.0
                for j in range(len(beta)):
                    posteriors[at, columns[j]] += row[j] * beta[j] * scale
            if t == offsets[q]:
                for j in range(len(beta)):
                    start_counts[j] += row[j] * beta[j] * (weights[q] / product)
            later[:] = beta
            later_scale[0] = 1 / total
            total = weigh(later, emissions[at], 1.0, arrays.has_zeros)
            if total < 0:
                return False
            if total < LEAST_WEIGHT:  # its products with transitions would underflow
                later *= 1 / total
                later_scale[0] = 1.0
    return True


def dense_arrays(graph: ChainGraph) -> DenseArrays | None:
    """Make a matrix of a graph, if the dense kernel suits it.

    Parameters
    ----------
    graph : ChainGraph
        The graph.

    Returns
    -------
    DenseArrays or None
        The weights; None for a graph with fewer than half of all edges, or with weights
        that differ by more than 1e100 from each other.
    """
    n_states, n_edges = len(graph.emits), len(graph.src)
    log_scales = (
        float(graph.log_start.max()),
        float(graph.log_weights.max(initial=-np.inf)),
        float(graph.log_end.max()),
    )
    if 2 * n_edges <= n_states * n_states or not np.isfinite(log_scales).all():
        return None
    transitions = np.zeros((n_states, n_states))
    weights = np.exp(graph.log_weights - log_scales[1])
    np.add.at(transitions, (graph.src, destinations(graph)), weights)
    used = transitions[transitions > 0]
    if used.min() < LEAST_WEIGHT or (weights == 0).any():
        return None
    end = np.exp(graph.log_end - log_scales[2])
    return DenseArrays(
        transitions=transitions,
        transposed=transitions.T.copy(),
        start=np.exp(graph.log_start - log_scales[0]),
        end=end,
        emits=np.array(graph.emits),
        log_scales=log_scales,
        has_zeros=len(used) < n_states * n_states,
        end_has_zeros=bool((end < LEAST_WEIGHT).any()),
        identity=np.array_equal(graph.emits, np.arange(n_states)),
    )


class DensePass:
    """Forward and backward passes over spans of frames, in one thread.

    Parameters
    ----------
    arrays : DenseArrays
        The matrix of transitions.
    graph : ChainGraph
        The graph that it was made of.
    log_emissions : ndarray of shape (n_frames, n_columns)
        Logarithms of the emission weights.
    offsets : ndarray of int64 of shape (n_sequences + 1,)
        First frame of each sequence, and the number of frames.
    n_rows : int
        Most frames of a span.
    """

    def __init__(
        self,
        arrays: DenseArrays,
        graph: ChainGraph,
        log_emissions: np.ndarray,
        offsets: np.ndarray,
        n_rows: int,
    ) -> None:
        n_states = len(graph.emits)
        self._arrays = arrays
        self._table, self._offsets = log_emissions, offsets
        self._alpha = np.empty((n_rows + 1, n_states))
        self._sums = np.empty(n_rows + 1)
        self._emissions = np.empty((n_rows, n_states))
        self._pairs = np.empty((n_rows, n_states))
        self._values = np.zeros(len(offsets) - 1)
        self._later = np.empty(n_states), np.ones(1)
        self._beta = np.empty(n_states)
        self._ends = graph.src, destinations(graph)
        self._weights = np.exp(graph.log_weights - arrays.log_scales[1])

    def forward(self, sequences: range, start: int, stop: int) -> bool:
        """Compute alpha of a span; return whether no digits are lost."""
        return forward_span(
            self._arrays, self._table, self._offsets, sequences.start, sequences.stop,
            start, stop, self._alpha, self._sums, self._emissions, self._values,
        )  # fmt: skip

    def save(self, n_frames: int) -> tuple[np.ndarray, float]:
        """Return the last row of alpha of a span."""
        return self._alpha[n_frames].copy(), self._sums[n_frames]

    def restore(self, row: tuple[np.ndarray, float]) -> None:
        """Make a row of alpha the one before the next span."""
        self._alpha[0], self._sums[0] = row

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
        """Write posteriors of a span, and add counts, after its forward pass.

        Returns whether no digits are lost; otherwise, results are to be discarded.
        """
        exact = backward_span(
            self._arrays, self._offsets, sequences.start, sequences.stop, start, stop,
            self._alpha, self._emissions, scales, weights, columns, *self._later,
            self._beta, posteriors, self._pairs, start_counts,
        )  # fmt: skip
        if exact:
            n = stop - start
            pairs = self._alpha[1 : n + 1].T @ self._pairs[:n]
            edge_counts += pairs[self._ends] * self._weights
        return exact

    def log_likelihoods(self, sequences: range) -> np.ndarray:
        """Return the logarithms of the sums over all paths."""
        return self._values[sequences.start : sequences.stop].copy()
