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
from mmfusion.graphical._graph import ChainGraph, destinations

# share of all pairs of states with an edge above which a matrix is faster
LEAST_DENSITY = 0.25


class BestEdges(NamedTuple):
    """Weights of the edges: a list by destination, or a matrix if most are there.

    Parameters
    ----------
    emits, ptr, src, weights : ndarray
        As in `ChainGraph`.
    matrix, transposed : ndarray of shape (n_states, n_states)
        Largest weight from each state (row) to each state, and its transpose; empty for
        a graph with few edges.
    start, end : ndarray of shape (n_states,)
        Logarithms of the weights of first and last states.
    """

    emits: np.ndarray
    ptr: np.ndarray
    src: np.ndarray
    weights: np.ndarray
    matrix: np.ndarray
    transposed: np.ndarray
    start: np.ndarray
    end: np.ndarray


@jit
def best_of_all(matrix, before, row):
    """Compute the best sums of values before and weights, over a matrix."""
    n = len(row)
    row[:] = -np.inf
    whole = n - n % 4
    for i in range(0, whole, 4):  # four rows at a time spare reading and writing `row`
        a, b, c, d = before[i], before[i + 1], before[i + 2], before[i + 3]
        for j in range(n):
            left = max(a + matrix[i, j], b + matrix[i + 1, j])
            right = max(c + matrix[i + 2, j], d + matrix[i + 3, j])
            row[j] = max(row[j], max(left, right))
    for i in range(whole, n):
        a = before[i]
        for j in range(n):
            row[j] = max(row[j], a + matrix[i, j])


@jit
def best_of_edges(edges, before, row):
    """Compute the best sums of values before and weights, over lists of edges."""
    for s in range(len(row)):
        best = -np.inf
        for e in range(edges.ptr[s], edges.ptr[s + 1]):
            best = max(best, before[edges.src[e]] + edges.weights[e])
        row[s] = best


@jit
def best_source(edges, before, state):
    """Return the lowest of the best predecessors of a state."""
    best, source = -np.inf, -1
    if len(edges.matrix):
        weights = edges.transposed[state]
        for i in range(len(before)):  # vectorised, which a search for the place is not
            best = max(best, before[i] + weights[i])
        for i in range(len(before)):
            if before[i] + weights[i] == best:
                return i
    for e in range(edges.ptr[state], edges.ptr[state + 1]):
        value = before[edges.src[e]] + edges.weights[e]
        if value > best:
            best, source = value, edges.src[e]
    return source


@jit
def values_of_block(edges, log_emissions, first, start, stop, before, rows):
    """Compute the values of a block; those of frame t are in row t - start."""
    for t in range(start, stop):
        row = rows[t - start]
        if t == first:
            row[:] = edges.start
        elif len(edges.matrix):
            best_of_all(edges.matrix, before, row)
        else:
            best_of_edges(edges, before, row)
        for s in range(len(row)):
            row[s] += log_emissions[t, edges.emits[s]]
        before = row


@jit
def decode_sequence(edges, log_emissions, first, last, rows, kept,
                    states):  # fmt: skip
    """Write the best path of the frames from `first` to `last`; return its score."""
    n_rows = len(rows)
    n_blocks = (last - first + n_rows - 1) // n_rows
    for block in range(n_blocks):
        start = first + block * n_rows
        stop = min(start + n_rows, last)
        values_of_block(edges, log_emissions, first, start, stop,
                        kept[block - 1], rows)  # fmt: skip
        kept[block] = rows[stop - start - 1]
    score, state = -np.inf, -1
    for s in range(len(edges.end)):
        value = kept[n_blocks - 1, s] + edges.end[s]
        if value > score:
            score, state = value, s
    if state < 0:
        states[first:last] = -1
        return score
    for block in range(n_blocks - 1, -1, -1):
        start = first + block * n_rows
        stop = min(start + n_rows, last)
        if block < n_blocks - 1:
            values_of_block(edges, log_emissions, first, start, stop,
                            kept[block - 1], rows)  # fmt: skip
        for t in range(stop - 1, start - 1, -1):
            states[t] = state
            if t > first:
                before = rows[t - start - 1] if t > start else kept[block - 1]
                state = best_source(edges, before, state)
    return score


@jit
def decode_span(edges, log_emissions, offsets, lo, hi, rows, kept, states,
                scores):  # fmt: skip
    """Decode the sequences from `lo` to `hi`."""
    for q in range(lo, hi):
        if offsets[q] < offsets[q + 1]:
            scores[q] = decode_sequence(
                edges, log_emissions, offsets[q], offsets[q + 1], rows, kept, states,
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
    matrix = np.empty((0, 0))
    if LEAST_DENSITY * n_states * n_states < len(graph.src):
        matrix = np.full((n_states, n_states), -np.inf)
        np.maximum.at(matrix, (graph.src, destinations(graph)), graph.log_weights)
    return BestEdges(
        emits=np.array(graph.emits),
        ptr=np.array(graph.ptr),
        src=np.array(graph.src),
        weights=np.array(graph.log_weights),
        matrix=matrix,
        transposed=matrix.T.copy(),
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
    rows = np.empty((n_rows, len(edges.emits)))
    kept = np.empty((-(-longest // n_rows), len(edges.emits)))
    decode_span(
        edges, log_emissions, offsets, sequences.start, sequences.stop, rows, kept,
        states, scores,
    )  # fmt: skip
