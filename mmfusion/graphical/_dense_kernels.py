"""Recursions over the matrix of all transitions, in scaled probabilities.

The rows of alpha are ``a_t = (a_{t-1} A) * B_t / c_{t-2}``, where ``c_t`` is the factor
by which the sum of a row would change without that division. So ``sum a_t`` stays at
``c_t c_{t-1}``, and no row waits for the sum of the one before. Row t of B is divided
by its largest element, so that the log-likelihood is the sum of all ``log c_t`` and of
the logarithms of these.

If every transition is above 1e-100, a state whose weight underflows is reached again
from the others with far more than what it lost. With transitions of zero this is not
so, and what is lost may matter later. Then no element of alpha or beta is below
1e-200, so that all of them are bounds from above. A path through a raised element
weighs at most 1e-200 of ``sum_s alpha_t(s) beta_t(s)`` divided by that sum: if it is
above 1e-165 at all frames, raised elements count for nothing. Otherwise the pass fails,
and the sequence belongs to the sparse kernel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit, jit_reordered
from mmfusion._simd import (
    WIDTH,
    always_inline,
    load,
    maximum,
    splat,
    store,
    sum_elements,
)
from mmfusion.graphical._exponents import scaled_exponentials
from mmfusion.graphical._graph import ChainGraph

# weights below, relative to the largest, count as zeros
LEAST_WEIGHT = 1e-100
# sums below have lost digits
LEAST_SUM = 1e-290
# least element if there are transitions of zero, and the least sum over all states
# beside which these do not count. Products with a transition do not underflow
FLOOR = 1e-200
LEAST_PRODUCT = 1e-165
CACHE_LINE = 64  # bytes
# most states of which the matrix is faster than a few edges
MATRIX_STATES = 64


class DenseArrays(NamedTuple):
    """Weights of all transitions, first and last states, each divided by the largest.

    Parameters
    ----------
    transitions, transposed : ndarray of shape (n_states * width,)
        Rows of the matrix of weights from each state (row) to each state, and of its
        transpose, each filled up with zeros to a multiple of the SIMD width.
    start, end : ndarray
        Weights of first and last states; the latter are filled up too.
    emits : ndarray of int32 of shape (n_states,)
        Column of emissions of each state.
    log_scales : tuple of float
        Logarithms of the largest first, transition and last weights.
    has_zeros, end_has_zeros : bool
        Whether a transition is 0, or an end weight below 1e-100.
    ordered : bool
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
    ordered: bool


class DenseRows(NamedTuple):
    """Workspace of a span: rows of all frames, one after another in one dimension.

    A vector at the end of a row reaches into the next one, or into the slack at the
    end. There, predictions are 0, and what they are multiplied with is finite.

    Parameters
    ----------
    alpha : ndarray
        Row of the frame before the span, then of its frames.
    sums : ndarray of shape (n_rows + 1,)
        Sums of the rows of alpha.
    ratios : ndarray of shape (n_rows + 2,)
        ``1 / c_t`` of the two frames before the span, then of its frames.
    emissions : ndarray
        Emission weights, divided by the largest of each row.
    tops : ndarray of shape (n_rows,)
        Logarithms of these largest weights.
    pairs : ndarray
        Rows, filled up to a multiple of the SIMD width, whose product with alpha are
        the expected transitions; the last one is that of the frame after the span.
    later_sum : ndarray of shape (1,)
        Number that the row after the span is to be divided by.
    beta : ndarray
        Row of the present frame.
    """

    alpha: np.ndarray
    sums: np.ndarray
    ratios: np.ndarray
    emissions: np.ndarray
    tops: np.ndarray
    pairs: np.ndarray
    later_sum: np.ndarray
    beta: np.ndarray


@jit
def padded(n_states):
    """Return the number of states filled up to a multiple of the SIMD width."""
    return (n_states + WIDTH - 1) // WIDTH * WIDTH


@jit
def multiply(row, at, matrix, n, column, width):
    """Return WIDTH elements of the product of a row, from `at` on, and a matrix."""
    always_inline()
    a, b, c, d = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    whole = n - n % 4
    for i in range(0, whole, 4):  # four sums that do not wait for each other
        place = i * width + column
        a = a + splat(row[at + i]) * load(matrix, place)
        b = b + splat(row[at + i + 1]) * load(matrix, place + width)
        c = c + splat(row[at + i + 2]) * load(matrix, place + 2 * width)
        d = d + splat(row[at + i + 3]) * load(matrix, place + 3 * width)
    for i in range(whole, n):
        a = a + splat(row[at + i]) * load(matrix, i * width + column)
    return (a + b) + (c + d)


@jit_reordered
def emission_rows(logs, emits, ordered, rows, tops):
    """Write the emission weights of a span; return whether each frame is possible."""
    n = len(emits)
    possible = True
    for at in range(len(logs)):
        top = -np.inf
        if ordered:
            for s in range(n):
                top = logs[at, s] if logs[at, s] > top else top
            for s in range(n):
                rows[at, s] = logs[at, s] - top
        else:
            for s in range(n):
                rows[at, s] = logs[at, emits[s]]
                top = rows[at, s] if rows[at, s] > top else top
            for s in range(n):
                rows[at, s] -= top
        possible &= top > -np.inf
        tops[at] = top
    return possible


@jit
def dense_forward_row(matrix, alpha, emissions, n, at, scale, floor):
    """Compute a row of alpha; return its sum.

    Elements are at least `floor`. With None, the function is compiled without it.
    """
    always_inline()  # otherwise LLVM may find the loop over frames too large
    width = padded(n)
    before, own = at * n, at * n + n
    total = splat(0.0)
    for j in range(0, n, WIDTH):
        prediction = multiply(alpha, before, matrix, n, j, width)
        product = prediction * (load(emissions, before + j) * splat(scale))
        if floor is not None:
            product = maximum(product, splat(floor))
        store(alpha, own + j, product)
        total = total + product
    return sum_elements(total)


@jit
def dense_first_row(start, alpha, emissions, n, at, floor):
    """Write a first row of alpha; return its sum."""
    total = 0.0
    for j in range(n):
        element = start[j] * emissions[at * n + j]
        if floor is not None and start[j] > 0:
            element = max(element, floor)
        alpha[at * n + n + j] = element
        total += element
    return total


@jit
def last_sum(end, alpha, n, at, checked):
    """Return the sum over last states, or 0 if digits of one may be lost."""
    total = 0.0
    for j in range(n):
        element = alpha[at * n + n + j]
        if checked and end[j] > 0 and element < LEAST_SUM:
            return 0.0
        total += element * end[j]
    return total


@jit
def dense_forward_span(arrays, rows, floor, offsets, lo, hi, start, stop, values):
    """Compute alpha of the frames from `start` to `stop`; return whether it is exact.

    With a `floor` it is a bound, and `dense_backward_span` returns whether it is
    exact. Row 0 of alpha is that of the frame before `start`; frame t is row
    t - start + 1. Log-likelihoods are added up in `values`.
    """
    n = len(arrays.emits)
    least = LEAST_WEIGHT if floor is None else LEAST_PRODUCT
    # taken out of their tuples here, since the loops would count references to each
    matrix, first, end = arrays.transitions, arrays.start, arrays.end
    end_has_zeros = arrays.end_has_zeros
    log_start, log_transition, log_end = arrays.log_scales
    alpha, emissions, sums, tops = rows.alpha, rows.emissions, rows.sums, rows.tops
    ratios = rows.ratios
    for q in range(lo, hi):
        product = 1.0  # of ratios whose logarithms are not yet subtracted
        for t in range(max(offsets[q], start), min(offsets[q + 1], stop)):
            at = t - start
            if t == offsets[q]:
                total = dense_first_row(first, alpha, emissions, n, at, floor)
                before, values[q] = 1.0, log_start
                ratios[at + 1] = 1.0
            else:
                scale = ratios[at]
                total = dense_forward_row(matrix, alpha, emissions, n, at, scale, floor)
                before = sums[at] * scale
                values[q] += log_transition
            if total < least:
                return False
            sums[at + 1] = total
            ratios[at + 2] = before / total
            values[q] += tops[at]
            product *= ratios[at + 2]
            if not LEAST_WEIGHT < product < 1 / LEAST_WEIGHT:
                values[q] -= np.log(product)
                product = 1.0
            if t == offsets[q + 1] - 1:
                last = last_sum(end, alpha, n, at, end_has_zeros)
                if last < LEAST_SUM:
                    return False
                values[q] += log_end + np.log(last / total)
        values[q] -= np.log(product)
    return True


@jit
def dense_backward_row(matrix, alpha, pairs, beta, n, at, scale, floor):
    """Write a row of beta; return its sum, and that of its product with alpha."""
    always_inline()
    width = padded(n)
    total, product = splat(0.0), splat(0.0)
    for j in range(0, n, WIDTH):
        row = multiply(pairs, at * width + width, matrix, n, j, width) * splat(scale)
        if floor is not None:
            row = maximum(row, splat(floor))
        store(beta, j, row)
        total = total + row
        product = product + row * load(alpha, at * n + n + j)
    return sum_elements(total), sum_elements(product)


@jit
def dense_last_row(end, alpha, pairs, beta, n, at):
    """Write a last row of beta; return its sum, and that of its product with alpha."""
    width = padded(n)
    total, product = 0.0, 0.0
    for j in range(width):
        pairs[at * width + width + j] = 0.0
        beta[j] = end[j]
    for j in range(n):
        total += end[j]
        product += end[j] * alpha[at * n + n + j]
    return total, product


@jit
def later_row(beta, emissions, pairs, n, at, floor):
    """Write the product of emissions and beta; return its sum, as that of alpha."""
    always_inline()
    width = padded(n)
    total = splat(0.0)
    for j in range(0, n, WIDTH):
        product = load(beta, j) * load(emissions, at * n + j)
        if floor is not None:
            product = maximum(product, splat(floor))
        store(pairs, at * width + j, product)
        total = total + product
    return sum_elements(total)


@jit
def scale_row(values, at, width, factor):
    """Multiply a row with a number."""
    always_inline()
    for j in range(at, at + width, WIDTH):
        store(values, j, load(values, j) * splat(factor))


@jit
def write_posteriors(posteriors, alpha, beta, n, n_columns, at, scale):
    """Write the posteriors of a frame, if each state reads its own column."""
    always_inline()
    own, place = at * n + n, at * n_columns
    whole = n - n % WIDTH
    for j in range(0, whole, WIDTH):
        values = load(alpha, own + j) * (load(beta, j) * splat(scale))
        store(posteriors, place + j, values)
    for j in range(whole, n):
        posteriors[place + j] = alpha[own + j] * beta[j] * scale
    for j in range(n, n_columns):
        posteriors[place + j] = 0.0


@jit
def add_posteriors(posteriors, columns, alpha, beta, n, n_columns, at, scale):
    """Write the posteriors of a frame, summed over the states with the same column."""
    for j in range(n_columns):
        posteriors[at * n_columns + j] = 0.0
    for j in range(n):
        own = alpha[at * n + n + j] * beta[j] * scale
        posteriors[at * n_columns + columns[j]] += own


@jit
def add_start(start_counts, alpha, beta, n, at, scale):
    """Add the posteriors of a first frame."""
    for j in range(n):
        start_counts[j] += alpha[at * n + n + j] * beta[j] * scale


@jit
def dense_backward_span(arrays, rows, floor, offsets, lo, hi, start, stop, scales,
                        weights, columns, n_columns, posteriors,
                        start_counts):  # fmt: skip
    """Write posteriors of the frames from `start` to `stop`; return whether exact.

    The expected transitions are the product of alpha, transposed, and the pairs, times
    the transitions. Without `columns`, None, each state has its own.
    """
    n = len(arrays.emits)
    width = padded(n)
    matrix, end = arrays.transposed, arrays.end
    alpha, emissions, pairs = rows.alpha, rows.emissions, rows.pairs
    beta, later_sum = rows.beta, rows.later_sum
    least = LEAST_SUM if floor is None else LEAST_PRODUCT
    for q in range(hi - 1, lo - 1, -1):
        first, last = max(offsets[q], start), min(offsets[q + 1], stop) - 1
        for t in range(last, first - 1, -1):
            at = t - start
            if t == offsets[q + 1] - 1:
                total, product = dense_last_row(end, alpha, pairs, beta, n, at)
                if product < least:
                    return False
            else:
                scale = 1 / later_sum[0]
                total, product = dense_backward_row(
                    matrix, alpha, pairs, beta, n, at, scale, floor
                )
                # what was raised before the division by this sum weighs more
                if product * min(later_sum[0], 1.0) < least:
                    return False
                scale *= weights[q] / product
                scale_row(pairs, at * width + width, width, scale)
            scale = scales[q] / product
            if columns is None:
                write_posteriors(posteriors, alpha, beta, n, n_columns, at, scale)
            else:
                add_posteriors(
                    posteriors, columns, alpha, beta, n, n_columns, at, scale
                )
            if t == offsets[q]:
                add_start(start_counts, alpha, beta, n, at, weights[q] / product)
                continue
            later_sum[0] = total
            total = later_row(beta, emissions, pairs, n, at, floor)
            if total < (LEAST_SUM if floor is None else LEAST_WEIGHT):
                return False
            if total < LEAST_WEIGHT:  # its products with transitions would underflow
                scale_row(pairs, at * width, width, 1 / total)
                later_sum[0] = 1.0
    return True


@jit
def write_scaled(logs, weights):
    """Write weights divided by the largest one; return its logarithm."""
    top = -np.inf
    for k in range(len(logs)):
        top = max(top, logs[k])
    if top > -np.inf:
        for k in range(len(logs)):
            weights[k] = np.exp(logs[k] - top)
    return top


@jit
def write_transitions(ptr, src, weights, transitions, transposed):
    """Add the weights of edges to both matrices, which are 0 before.

    Returns the least sum of the weights between two states that have an edge, and how
    many of these pairs there are.
    """
    n = len(ptr) - 1
    width = padded(n)
    for s in range(n):
        for e in range(ptr[s], ptr[s + 1]):
            transitions[src[e] * width + s] += weights[e]
            transposed[s * width + src[e]] += weights[e]
    least, used = np.inf, 0
    for s in range(n):
        for i in range(n):
            weight = transposed[s * width + i]
            if weight > 0:
                least = min(least, weight)
                used += 1
    return least, used


@jit
def add_edge_counts(ptr, src, weights, products, edge_counts):
    """Add the expected uses of edges: products of pairs of states times weights."""
    for s in range(len(ptr) - 1):
        for e in range(ptr[s], ptr[s + 1]):
            edge_counts[e] += products[src[e], s] * weights[e]


def dense_arrays(graph: ChainGraph) -> DenseArrays | None:
    """Make a matrix of a graph, if the dense kernel suits it.

    Parameters
    ----------
    graph : ChainGraph
        The graph.

    Returns
    -------
    DenseArrays or None
        The weights; None for a graph of more than 64 states with fewer than half of all
        edges, or with weights that differ by more than 1e100 from each other.
    """
    n_states, n_edges = len(graph.emits), len(graph.src)
    if n_states > MATRIX_STATES and 2 * n_edges <= n_states * n_states:
        return None
    ptr, src = np.array(graph.ptr), np.array(graph.src)
    width = (n_states + WIDTH - 1) // WIDTH * WIDTH
    transitions = aligned_zeros(n_states * width)
    transposed = aligned_zeros(n_states * width)
    start, weights, end = np.empty(n_states), np.empty(n_edges), np.zeros(width)
    log_scales = (
        write_scaled(np.array(graph.log_start), start),
        write_scaled(np.array(graph.log_weights), weights),
        write_scaled(np.array(graph.log_end), end),
    )
    if -np.inf in log_scales or not weights.all():
        return None
    least, n_used = write_transitions(ptr, src, weights, transitions, transposed)
    if least < LEAST_WEIGHT:
        return None
    return DenseArrays(
        transitions=transitions,
        transposed=transposed,
        start=start,
        end=end,
        emits=np.array(graph.emits),
        log_scales=log_scales,
        has_zeros=n_used < n_states * n_states,
        end_has_zeros=bool((end[:n_states] < LEAST_WEIGHT).any()),
        ordered=bool((graph.emits == np.arange(n_states)).all()),
    )


def aligned_zeros(size: int) -> np.ndarray:
    """Return zeros that begin at a cache line, which vectors then do not straddle."""
    line = CACHE_LINE // 8
    zeros = np.zeros(size + line)
    start = -(zeros.ctypes.data // 8) % line
    return zeros[start : start + size]


def dense_rows(n_rows: int, n_states: int) -> DenseRows:
    """Make the workspace of spans of at most `n_rows` frames.

    Parameters
    ----------
    n_rows, n_states : int
        Number of frames and of states.

    Returns
    -------
    DenseRows
        The workspace.
    """
    width = padded(n_states)
    return DenseRows(
        alpha=aligned_zeros((n_rows + 1) * n_states + WIDTH),
        sums=np.ones(n_rows + 1),
        ratios=np.ones(n_rows + 2),
        emissions=aligned_zeros(n_rows * n_states + WIDTH),
        tops=np.empty(n_rows),
        pairs=aligned_zeros((n_rows + 1) * width),
        later_sum=np.ones(1),
        beta=aligned_zeros(width),
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
        self._rows = dense_rows(n_rows, n_states)
        self._floor = FLOOR if arrays.has_zeros else None
        self._table, self._offsets = log_emissions, offsets
        self._values = np.zeros(len(offsets) - 1)
        cells = (n_rows + 1) * n_states
        self._alpha = self._rows.alpha[:cells].reshape(-1, n_states)
        self._pairs = self._rows.pairs.reshape(n_rows + 1, -1)
        self._edges = np.array(graph.ptr), np.array(graph.src)
        self._weights = np.exp(graph.log_weights - arrays.log_scales[1])

    @property
    def is_bound(self) -> bool:
        """Whether a backward pass has to confirm that no digits are lost."""
        return self._floor is not None

    def forward(self, sequences: range, start: int, stop: int) -> bool:
        """Compute alpha of a span; return whether no digits are lost, if it can."""
        n, arrays, rows = stop - start, self._arrays, self._rows
        # differences are written where alpha will be: the loop over them is vectorised
        # if it writes elsewhere
        logs, scaled = self._table[start:stop], self._alpha[1 : n + 1]
        if not emission_rows(logs, arrays.emits, arrays.ordered, scaled, rows.tops):
            return False
        scaled_exponentials(scaled.ravel(), 0.0, rows.emissions)
        return dense_forward_span(
            arrays, rows, self._floor, self._offsets, sequences.start, sequences.stop,
            start, stop, self._values,
        )  # fmt: skip

    def save(self, n_frames: int) -> tuple[np.ndarray, ...]:
        """Return the last row of alpha of a span, and what scales the next ones."""
        sums, ratios = self._rows.sums, self._rows.ratios
        scales = sums[n_frames : n_frames + 1], ratios[n_frames : n_frames + 2]
        return self._alpha[n_frames].copy(), *(own.copy() for own in scales)

    def restore(self, row: tuple[np.ndarray, ...]) -> None:
        """Make a row of alpha the one before the next span."""
        self._alpha[0], self._rows.sums[:1], self._rows.ratios[:2] = row

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
        n, n_states = stop - start, self._alpha.shape[1]
        self._pairs[n] = self._pairs[0]
        ordered = np.array_equal(columns, np.arange(n_states))
        exact = dense_backward_span(
            self._arrays, self._rows, self._floor, self._offsets, sequences.start,
            sequences.stop, start, stop, scales, weights, None if ordered else columns,
            posteriors.shape[1], posteriors.ravel(), start_counts,
        )  # fmt: skip
        if exact:
            pairs = self._pairs[1 : n + 1, :n_states]
            products = self._alpha[1 : n + 1].T @ pairs
            add_edge_counts(*self._edges, self._weights, products, edge_counts)
        return exact

    def log_likelihoods(self, sequences: range) -> np.ndarray:
        """Return the logarithms of the sums over all paths."""
        return self._values[sequences.start : sequences.stop].copy()
