"""Best paths: values of a block of frames, from which the path is found again.

Only values are computed, without pointers to predecessors, since these would keep the
loops from being vectorised; the predecessor of a state on the path is found again from
the values before it. Of a long sequence, the values at the last frame of each block are
kept, and those of a block are computed again when the path comes to it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit
from mmfusion._simd import (
    WIDTH,
    always_inline,
    first_false,
    largest_element,
    load,
    maximum,
    splat,
    store,
)
from mmfusion.graphical._graph import ChainGraph, destinations

# share of all pairs of states with an edge above which a matrix is faster
LEAST_DENSITY = 0.25


class BestEdges(NamedTuple):
    """Weights of the edges: a list by destination, or a matrix if most are there.

    Parameters
    ----------
    emits : ndarray of int32 of shape (n_states,) or None
        Column of emissions of each state; None is that of its own number. What is None
        is left out when the functions are compiled, which are slow with both cases.
    ptr, src, weights : ndarray
        As in `ChainGraph`.
    matrix, transposed : ndarray of shape (n_states * width,) or None
        Rows of the largest weights from each state (row) to each state, and of their
        transpose, each filled up with -inf to a multiple of the SIMD width; None for a
        graph with few edges.
    start, end : ndarray of shape (n_states,)
        Logarithms of the weights of first and last states.
    """

    emits: np.ndarray | None
    ptr: np.ndarray
    src: np.ndarray
    weights: np.ndarray
    matrix: np.ndarray | None
    transposed: np.ndarray | None
    start: np.ndarray
    end: np.ndarray


@jit
def best_of_all(matrix, rows, n, before, own, table, place):
    """Write the best sums of the values from `before` on and weights, from `own` on.

    Emissions from `place` on in the table are added; there are as many after it as fill
    all vectors. Without a table, None, none are added.
    """
    always_inline()
    width = (n + WIDTH - 1) // WIDTH * WIDTH
    whole = n - n % 4
    for j in range(0, n, WIDTH):
        a = splat(-np.inf)
        b, c, d = a, a, a
        for i in range(0, whole, 4):  # four maxima that do not wait for each other
            at = i * width + j
            a = maximum(a, splat(rows[before + i]) + load(matrix, at))
            b = maximum(b, splat(rows[before + i + 1]) + load(matrix, at + width))
            at += 2 * width
            c = maximum(c, splat(rows[before + i + 2]) + load(matrix, at))
            d = maximum(d, splat(rows[before + i + 3]) + load(matrix, at + width))
        for i in range(whole, n):
            a = maximum(a, splat(rows[before + i]) + load(matrix, i * width + j))
        best = maximum(maximum(a, b), maximum(c, d))
        if table is not None:
            best = best + load(table, place + j)
        store(rows, own + j, best)


@jit
def best_of_edges(ptr, src, weights, rows, n, before, own):
    """Write the same over lists of edges."""
    for s in range(n):
        best = -np.inf
        for e in range(ptr[s], ptr[s + 1]):
            best = max(best, rows[before + src[e]] + weights[e])
        rows[own + s] = best


@jit
def add_emissions(table, emits, place, rows, n, own):
    """Add the emissions from `place` on in the table to the values from `own` on."""
    always_inline()
    if emits is None:
        whole = n - n % WIDTH
        for j in range(0, whole, WIDTH):
            store(rows, own + j, load(rows, own + j) + load(table, place + j))
        for j in range(whole, n):
            rows[own + j] += table[place + j]
    else:
        for s in range(n):
            rows[own + s] += table[place + emits[s]]


@jit
def best_values(matrix, ptr, src, weights, rows, n, before, own):
    """Write the best sums by the matrix, or by the lists if there is none."""
    always_inline()
    if matrix is None:
        best_of_edges(ptr, src, weights, rows, n, before, own)
    else:
        best_of_all(matrix, rows, n, before, own, None, 0)


@jit
def values_in_order(matrix, rows, n, table, n_columns, start, at, n_frames):
    """Write the values of frames whose states read the columns in order.

    Returns the first frame that is left, since vectors would reach beyond the table;
    without a matrix, None, the frame to begin with.
    """
    if matrix is not None:
        width = (n + WIDTH - 1) // WIDTH * WIDTH
        until = min(n_frames, (len(table) - width) // n_columns + 1 - start)
        while at < until:
            place = (start + at) * n_columns
            best_of_all(matrix, rows, n, at * n, at * n + n, table, place)
            at += 1
    return at


@jit
def best_source_of_all(transposed, rows, n, before, state):
    """Return the lowest of the best predecessors of a state."""
    width = (n + WIDTH - 1) // WIDTH * WIDTH
    place = state * width
    largest = splat(-np.inf)
    for i in range(0, n, WIDTH):
        sums = load(rows, before + i) + load(transposed, place + i)
        largest = maximum(largest, sums)
    best = splat(largest_element(largest))
    for i in range(0, n, WIDTH):
        sums = load(rows, before + i) + load(transposed, place + i)
        k = first_false(sums < best)
        if k < WIDTH:
            return i + k
    return -1


@jit
def best_source_of_edges(ptr, src, weights, rows, before, state):
    """Return the same over lists of edges."""
    best, source = -np.inf, -1
    for e in range(ptr[state], ptr[state + 1]):
        value = rows[before + src[e]] + weights[e]
        if value > best:
            best, source = value, src[e]
    return source


@jit
def values_of_block(edges, table, n_columns, first, start, stop, rows):
    """Compute the values of a block: row 0 is before it, frame t in t - start + 1."""
    emits, ptr, src, weights = edges.emits, edges.ptr, edges.src, edges.weights
    matrix, n, n_frames, at = edges.matrix, len(edges.start), stop - start, 0
    if start == first:
        rows[n : 2 * n] = edges.start
        add_emissions(table, emits, first * n_columns, rows, n, n)
        at = 1
    if emits is None:
        at = values_in_order(matrix, rows, n, table, n_columns, start, at, n_frames)
    while at < n_frames:
        before, own = at * n, at * n + n
        best_values(matrix, ptr, src, weights, rows, n, before, own)
        add_emissions(table, emits, (start + at) * n_columns, rows, n, own)
        at += 1


@jit
def path_of_block(edges, transposed, first, start, stop, rows, state, states):
    """Write the best path through a block to `state`; return the state before it.

    Of the tuple, only an argument that is None is left out in compilation.
    """
    ptr, src, weights = edges.ptr, edges.src, edges.weights
    n = len(edges.start)
    for t in range(stop - 1, start - 1, -1):
        states[t] = state
        before = (t - start) * n
        if t == first:
            continue
        if transposed is None:
            state = best_source_of_edges(ptr, src, weights, rows, before, state)
        else:
            state = best_source_of_all(transposed, rows, n, before, state)
    return state


@jit
def decode_sequence(edges, table, n_columns, first, last, n_rows, rows, kept, states):
    """Write the best path of the frames from `first` to `last`; return its score."""
    n = len(edges.start)
    n_blocks = (last - first + n_rows - 1) // n_rows
    for block in range(n_blocks):
        start = first + block * n_rows
        stop = min(start + n_rows, last)
        values_of_block(edges, table, n_columns, first, start, stop, rows)
        end = (stop - start) * n
        kept[block] = rows[end : end + n]
        rows[:n] = kept[block]
    score, state = -np.inf, -1
    for s in range(n):
        value = kept[n_blocks - 1, s] + edges.end[s]
        if value > score:
            score, state = value, s
    if state < 0:
        states[first:last] = -1
        return score
    for block in range(n_blocks - 1, -1, -1):
        start = first + block * n_rows
        stop = min(start + n_rows, last)
        if block > 0:
            rows[:n] = kept[block - 1]
        if block < n_blocks - 1:
            values_of_block(edges, table, n_columns, first, start, stop, rows)
        state = path_of_block(
            edges, edges.transposed, first, start, stop, rows, state, states
        )
    return score


@jit
def decode_span(edges, table, n_columns, offsets, lo, hi, n_rows, rows, kept, states,
                scores):  # fmt: skip
    """Decode the sequences from `lo` to `hi`."""
    for q in range(lo, hi):
        if offsets[q] < offsets[q + 1]:
            scores[q] = decode_sequence(
                edges, table, n_columns, offsets[q], offsets[q + 1], n_rows, rows,
                kept, states,
            )  # fmt: skip


def best_edges(graph: ChainGraph) -> BestEdges:
    """Make a list or a matrix of the weights of all edges.

    Parameters
    ----------
    graph : ChainGraph
        The graph.

    Returns
    -------
    BestEdges
        What the recursion needs.
    """
    n_states = len(graph.emits)
    matrix = transposed = None
    if LEAST_DENSITY * n_states * n_states < len(graph.src):
        weights = np.full((n_states, n_states), -np.inf)
        np.maximum.at(weights, (graph.src, destinations(graph)), graph.log_weights)
        padding = [(0, 0), (0, -n_states % WIDTH)]
        matrix, transposed = (
            np.pad(each, padding, constant_values=-np.inf).ravel()
            for each in (weights, weights.T)
        )
    ordered = np.array_equal(graph.emits, np.arange(n_states))
    return BestEdges(
        emits=None if ordered else np.array(graph.emits),
        ptr=np.array(graph.ptr),
        src=np.array(graph.src),
        weights=np.array(graph.log_weights),
        matrix=matrix,
        transposed=transposed,
        start=np.array(graph.log_start),
        end=np.array(graph.log_end),
    )


def best_paths(
    edges: BestEdges,
    log_emissions: np.ndarray,
    offsets: np.ndarray,
    sequences: range,
    n_rows: int,
    states: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Write the best paths of some sequences, and their scores.

    Parameters
    ----------
    edges : BestEdges
        The graph.
    log_emissions, offsets : ndarray
        Table of emissions and bounds of the sequences.
    sequences : range
        Which sequences.
    n_rows : int
        Frames of a block whose values are kept at a time.
    states, scores : ndarray
        Where the states of all frames, and the scores of all sequences, are written.
    """
    lengths = np.diff(offsets[sequences.start : sequences.stop + 1])
    longest = int(lengths.max(initial=1))
    n_rows = min(n_rows, longest)
    n_states = len(edges.start)
    # vectors at the end of a row reach into the next one, or into the slack
    rows = np.full((n_rows + 1) * n_states + WIDTH, -np.inf)
    kept = np.empty((-(-longest // n_rows), n_states))
    decode_span(
        edges, log_emissions.ravel(), log_emissions.shape[1], offsets, sequences.start,
        sequences.stop, n_rows, rows, kept, states, scores,
    )  # fmt: skip
