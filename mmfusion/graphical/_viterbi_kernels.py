"""Best paths: values of a block of frames, from which the path is found again.

Only values are computed, without pointers to predecessors, since these would keep the
loops from being vectorised; the predecessor of a state on the path is found again from
the values before it. Of a long sequence, the values at the last frame of each block are
kept, and those of a block are computed again when the path comes to it.
"""

from __future__ import annotations

import numpy as np

from mmfusion._compilation import jit
from mmfusion.graphical._graph import ChainGraph


@jit
def best_frame(edges, logs, before, row):
    """Compute the best values of one frame from those of the frame before."""
    emits, ptr, src, weights = edges
    for s in range(len(row)):
        best = -np.inf
        for e in range(ptr[s], ptr[s + 1]):
            best = max(best, before[src[e]] + weights[e])
        row[s] = best + logs[emits[s]]


@jit
def best_source(edges, before, state):
    """Return the lowest of the best predecessors of a state."""
    _, ptr, src, weights = edges
    best, source = -np.inf, -1
    for e in range(ptr[state], ptr[state + 1]):
        value = before[src[e]] + weights[e]
        if value > best:
            best, source = value, src[e]
    return source


@jit
def values_of_block(edges, log_start, log_emissions, first, start, stop, before, rows):
    """Compute the values of a block; those of frame t are in row t - start."""
    for t in range(start, stop):
        row = rows[t - start]
        if t == first:
            for s in range(len(row)):
                row[s] = log_start[s] + log_emissions[t, edges[0][s]]
        else:
            best_frame(edges, log_emissions[t], before, row)
        before = row


@jit
def decode_sequence(edges, log_start, log_end, log_emissions, first, last, rows, kept,
                    states):  # fmt: skip
    """Write the best path of the frames from `first` to `last`; return its score."""
    n_rows = len(rows)
    n_blocks = (last - first + n_rows - 1) // n_rows
    for block in range(n_blocks):
        start = first + block * n_rows
        stop = min(start + n_rows, last)
        values_of_block(edges, log_start, log_emissions, first, start, stop,
                        kept[block - 1], rows)  # fmt: skip
        kept[block] = rows[stop - start - 1]
    score, state = -np.inf, -1
    for s in range(len(log_end)):
        value = kept[n_blocks - 1, s] + log_end[s]
        if value > score:
            score, state = value, s
    if state < 0:
        states[first:last] = -1
        return score
    for block in range(n_blocks - 1, -1, -1):
        start = first + block * n_rows
        stop = min(start + n_rows, last)
        if block < n_blocks - 1:
            values_of_block(edges, log_start, log_emissions, first, start, stop,
                            kept[block - 1], rows)  # fmt: skip
        for t in range(stop - 1, start - 1, -1):
            states[t] = state
            if t > first:
                before = rows[t - start - 1] if t > start else kept[block - 1]
                state = best_source(edges, before, state)
    return score


@jit
def decode_span(edges, log_start, log_end, log_emissions, offsets, lo, hi, rows, kept,
                states, scores):  # fmt: skip
    """Decode the sequences from `lo` to `hi`."""
    for q in range(lo, hi):
        if offsets[q] < offsets[q + 1]:
            scores[q] = decode_sequence(
                edges, log_start, log_end, log_emissions, offsets[q], offsets[q + 1],
                rows, kept, states,
            )  # fmt: skip


def best_paths(
    graph: ChainGraph,
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
    graph : ChainGraph
        States and edges.
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
    n_rows = min(n_rows, max(longest, 1))
    rows = np.empty((n_rows, len(graph.emits)))
    kept = np.empty((-(-longest // n_rows), len(graph.emits)))
    edges = (
        np.array(graph.emits),
        np.array(graph.ptr),
        np.array(graph.src),
        np.array(graph.log_weights),
    )
    decode_span(
        edges, np.array(graph.log_start), np.array(graph.log_end), log_emissions,
        offsets, sequences.start, sequences.stop, rows, kept, states, scores,
    )  # fmt: skip
