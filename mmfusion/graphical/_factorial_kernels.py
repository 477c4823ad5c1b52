"""Recursions of independent chains with common emissions, one chain after another.

The transitions of all chains together are the Kronecker product of those of each. A row
over the combinations of states is multiplied with it mode by mode: as a tensor with an
axis for each chain, by the matrix of one chain along its axis. This costs K_1 + ... +
K_M products for each combination, instead of K_1 ... K_M (Ghahramani & Jordan 1997,
appendix B).

All transitions are above 1e-100 of the largest: then no combination of states loses
digits that may matter later.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmfusion._compilation import jit, jit_reordered

LEAST_WEIGHT = 1e-100  # of a transition, relative to the largest
LEAST_TOTAL = 1e-300


class ChainArrays(NamedTuple):
    """Matrices of all chains, one after another.

    Parameters
    ----------
    sizes : ndarray of int64 of shape (n_chains,)
        Numbers of states.
    first : ndarray of int64 of shape (n_chains + 1,)
        First element of the matrix of each chain.
    matrices, transposed : ndarray of shape (n_parameters,)
        Elements of the matrices, row by row, and of their transposes.
    start : ndarray of shape (n_states,)
        Probabilities of the first states of all chains together.
    """

    sizes: np.ndarray
    first: np.ndarray
    matrices: np.ndarray
    transposed: np.ndarray
    start: np.ndarray


@jit_reordered
def mode_product(row, matrices, at, left, k, right, out):
    """Multiply a tensor of shape (left, k, right) with a matrix along axis 1."""
    for a in range(left):
        for j in range(k):
            place = (a * k + j) * right
            for r in range(right):
                out[place + r] = 0.0
        for i in range(k):
            source = (a * k + i) * right
            if right == 1:  # the innermost loop is over j
                for j in range(k):
                    out[a * k + j] += row[source] * matrices[at + i * k + j]
                continue
            for j in range(k):
                weight = matrices[at + i * k + j]
                place = (a * k + j) * right
                for r in range(right):
                    out[place + r] += weight * row[source + r]


@jit_reordered
def add_mode_counts(before, after, left, k, right, scale, counts, at):
    """Add the products of two tensors, summed over all axes but axis 1."""
    for a in range(left):
        for i in range(k):
            own = (a * k + i) * right
            for j in range(k):
                other = (a * k + j) * right
                total = 0.0
                for r in range(right):
                    total += before[own + r] * after[other + r]
                counts[at + i * k + j] += scale * total


@jit
def multiply_all(row, matrices, sizes, first, work, out):
    """Multiply a row with the matrices of all chains."""
    n, left = len(row), 1
    out[:] = row
    for m in range(len(sizes)):
        k = sizes[m]
        work[:] = out
        mode_product(work, matrices, first[m], left, k, n // (left * k), out)
        left *= k


@jit
def emission_row(logs, out):
    """Write the emission weights of a frame; return the largest of their logarithms."""
    top = -np.inf
    for s in range(len(out)):
        top = max(top, logs[s])
    for s in range(len(out)):
        out[s] = np.exp(logs[s] - top) if top > -np.inf else 0.0
    return top


@jit
def forward_chains(arrays, table, offsets, lo, hi, start, stop, alpha, emissions, work,
                   values, possible):  # fmt: skip
    """Compute alpha of the frames from `start` to `stop`.

    Row 0 of alpha is that of the frame before `start`. Rows sum to 1. Sequences without
    a path are marked in `possible`.
    """
    n = len(arrays.start)
    for q in range(lo, hi):
        for t in range(max(offsets[q], start), min(offsets[q + 1], stop)):
            at = t - start
            own = alpha[at + 1]
            top = emission_row(table[t], emissions[at])
            if t == offsets[q]:
                own[:] = arrays.start
                values[q] = 0.0
            else:
                multiply_all(
                    alpha[at], arrays.matrices, arrays.sizes, arrays.first, work, own
                )
            total = 0.0
            for s in range(n):
                own[s] *= emissions[at, s]
                total += own[s]
            if total < LEAST_TOTAL:
                possible[q] = False
                own[:] = 1 / n
                continue
            for s in range(n):
                own[s] /= total
            values[q] += top + np.log(total)


@jit
def multiply_later(arrays, later, partial):
    """Multiply a row with the transposed matrices, and keep all partial products."""
    n, n_chains, right = len(later), len(arrays.sizes), 1
    partial[n_chains, :] = later
    for m in range(n_chains - 1, -1, -1):
        k = arrays.sizes[m]
        left = n // (k * right)
        mode_product(
            partial[m + 1], arrays.transposed, arrays.first[m], left, k, right,
            partial[m],
        )  # fmt: skip
        right *= k


@jit
def add_counts(arrays, alpha, partial, work, scale, counts):
    """Add the expected transitions of each chain, without their probabilities.

    Those of chain m are the products of alpha with the matrices of the chains before it
    and of the partial product with the transposed ones of the chains after it.
    """
    n, n_chains, left = len(alpha), len(arrays.sizes), 1
    row, other = work[0], work[1]
    row[:] = alpha
    for m in range(n_chains):
        k = arrays.sizes[m]
        right = n // (left * k)
        add_mode_counts(
            row, partial[m + 1], left, k, right, scale, counts, arrays.first[m]
        )
        if m < n_chains - 1:
            mode_product(row, arrays.matrices, arrays.first[m], left, k, right, other)
            row, other = other, row
        left *= k


@jit
def backward_chains(arrays, offsets, lo, hi, start, stop, scales, weights, alpha,
                    emissions, possible, later, partial, work, columns, posteriors,
                    counts, start_counts):  # fmt: skip
    """Write posteriors of the frames from `start` to `stop`, and add counts.

    `later` is the product of emissions and beta of the frame after the present one.
    ``partial[m]`` is its product with the transposed matrices of the chains from m on.
    """
    n, beta = len(arrays.start), partial[0]
    for q in range(hi - 1, lo - 1, -1):
        first, last = max(offsets[q], start), min(offsets[q + 1], stop) - 1
        for t in range(last, first - 1, -1):
            at = t - start
            own = alpha[at + 1]
            posteriors[at, :] = 0.0
            if not possible[q]:
                continue
            has_next = t < offsets[q + 1] - 1
            if has_next:
                multiply_later(arrays, later, partial)
            else:
                beta[:] = 1.0
            product = 0.0
            for s in range(n):
                product += own[s] * beta[s]
            for s in range(n):
                posteriors[at, columns[s]] += scales[q] * own[s] * beta[s] / product
            if has_next:
                add_counts(arrays, own, partial, work, weights[q] / product, counts)
            if t == offsets[q]:
                for s in range(n):
                    start_counts[s] += weights[q] * own[s] * beta[s] / product
                continue
            total = 0.0
            for s in range(n):
                later[s] = emissions[at, s] * beta[s]
                total += later[s]
            for s in range(n):
                later[s] /= total


@jit
def best_mode(row, logs, at, left, k, right, out):
    """Write the best sums of a tensor and a matrix of logarithms along axis 1."""
    for a in range(left):
        for j in range(k):
            place = (a * k + j) * right
            for r in range(right):
                best = -np.inf
                for i in range(k):
                    best = max(
                        best, row[(a * k + i) * right + r] + logs[at + i * k + j]
                    )
                out[place + r] = best


@jit
def best_step(row, logs, sizes, first, emissions, work, out):
    """Write the values of a frame from those of the frame before."""
    n, left = len(row), 1
    out[:] = row
    for m in range(len(sizes)):
        k = sizes[m]
        work[:] = out
        best_mode(work, logs, first[m], left, k, n // (left * k), out)
        left *= k
    for s in range(n):
        out[s] += emissions[s]


@jit
def best_before(row, logs, sizes, first, states, state):
    """Return the combination of states before a given one."""
    best, found = -np.inf, 0
    for s in range(len(row)):
        value = row[s]
        for m in range(len(sizes)):
            value += logs[first[m] + states[s, m] * sizes[m] + states[state, m]]
        if value > best:
            best, found = value, s
    return found


@jit
def best_chain_path(log_start, logs, sizes, first, states, table, path):
    """Write the best path of one sequence; return its score.

    The values at the last frame of each block are kept, and those of a block are
    computed again when the path comes to it.
    """
    n_frames, n = table.shape
    size = int(np.sqrt(n_frames)) + 1
    n_blocks = (n_frames + size - 1) // size
    kept = np.empty((n_blocks, n))
    values = np.empty((size + 1, n))
    work, row = np.empty(n), np.empty(n)
    row[:] = log_start + table[0]
    kept[0] = row
    for t in range(1, n_frames):
        best_step(row.copy(), logs, sizes, first, table[t], work, row)
        if t % size == 0:
            kept[t // size] = row
    score = row.max()
    if score == -np.inf:
        path[:] = -1
        return score
    state = np.argmax(row)
    path[n_frames - 1] = state
    for block in range(n_blocks - 1, -1, -1):
        begin, end = block * size, min((block + 1) * size, n_frames)
        values[0] = kept[block]
        for t in range(begin + 1, end):
            at = t - begin
            best_step(values[at - 1], logs, sizes, first, table[t], work, values[at])
        for t in range(end - 1, begin - 1, -1):
            if t < n_frames - 1:
                state = best_before(
                    values[t - begin], logs, sizes, first, states, state
                )
                path[t] = state
    return score
