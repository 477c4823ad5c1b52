"""Forward and backward passes over many sequences of labels at a time.

A batch of WIDTH sequences has an element of each vector for each, so that no step waits
for the sum over labels of the one before. Sequences are sorted by length, the longest
first: at each step the first ones of a batch are active, which have a frame, and the
frames of a step are successive rows. The others have numbers that count for nothing.

A row of labels is filled up to a multiple of TILE, whose vectors are kept in registers.
With all transitions, first and last weights above 1e-100 of the largest, no sum
underflows; see `_dense_kernels`.
"""

from __future__ import annotations

import numpy as np

from mmfusion._compilation import jit
from mmfusion._simd import (
    WIDTH,
    always_inline,
    any_true,
    load,
    splat,
    store,
    sum_elements,
)
from mmfusion.graphical._dense_kernels import padded
from mmfusion.graphical._exponents import scaled_exponentials

TILE = 4
# steps whose rows stay in the innermost cache while transitions are counted
COUNTED_STEPS = 8
# products of sums outside of these bounds are replaced by their logarithms
LEAST_PRODUCT, LARGEST_PRODUCT = 1e-100, 1e100


@jit
def write_emissions(scores, intercept, start, stop, tops, differences, weights):
    """Write the weights of labels in a batch, divided by the largest of each frame."""
    n = stop - start
    tops[:n] = -np.inf
    for j in range(len(intercept)):
        for f in range(n):
            tops[f] = max(tops[f], scores[j, start + f] + intercept[j])
    for j in range(len(intercept)):
        for f in range(n):
            differences[f] = scores[j, start + f] + intercept[j] - tops[f]
        scaled_exponentials(differences[:n], 0.0, weights[j, :n])
        weights[j, n : n + WIDTH] = 1.0  # read where no sequence is active


@jit
def multiply_tile(rows, at, matrix, n, column):
    """Return TILE vectors of the product of a matrix and the rows of labels."""
    always_inline()
    width = padded(n)
    a, b, c, d = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    for i in range(n):
        own, place = load(rows, at + i * WIDTH), i * width + column
        a = a + own * splat(matrix[place])
        b = b + own * splat(matrix[place + 1])
        c = c + own * splat(matrix[place + 2])
        d = d + own * splat(matrix[place + 3])
    return a, b, c, d


@jit
def store_tile(rows, at, tile):
    """Store TILE vectors one after another."""
    always_inline()
    store(rows, at, tile[0])
    store(rows, at + WIDTH, tile[1])
    store(rows, at + 2 * WIDTH, tile[2])
    store(rows, at + 3 * WIDTH, tile[3])


@jit
def scale_rows(rows, at, n, factor):
    """Multiply the labels of each sequence with a factor."""
    always_inline()
    for j in range(n):
        place = at + j * WIDTH
        store(rows, place, load(rows, place) * factor)


@jit
def forward_batch(weights, rows, first, active, emissions, tops, values):
    """Write alpha of a batch, which sums to 1 at each frame, and log-likelihoods.

    `first` are the first rows of the steps of the batch, counted from its own first
    one, and `active` how many sequences have each.
    """
    n = len(weights.start)
    width = (n + TILE - 1) // TILE * TILE
    matrix, begin, end = weights.transitions, weights.start, weights.end
    log_start, log_transition, log_end = weights.log_scales
    alpha, products = rows.alpha, rows.products
    flat, stride = rows.flat_emissions, emissions.shape[1]
    products[:] = 1.0
    values[:] = log_start + log_end
    for t in range(len(active)):
        at = t * width * WIDTH
        total = splat(0.0)
        if t == 0:
            for j in range(n):
                row = load(flat, j * stride) * splat(begin[j])
                store(alpha, at + j * WIDTH, row)
                total = total + row
        else:
            before = at - width * WIDTH
            for j in range(0, n, TILE):
                tile = multiply_tile(alpha, before, matrix, n, j)
                store_tile(alpha, at + j * WIDTH, tile)
            for j in range(n):
                row = load(alpha, at + j * WIDTH) * load(flat, j * stride + first[t])
                store(alpha, at + j * WIDTH, row)
                total = total + row
        product = load(products, 0) * total
        store(products, 0, product)
        scale_rows(alpha, at, n, splat(1.0) / total)
        for k in range(active[t]):
            values[k] += tops[first[t] + k]
        if any_true(product < splat(LEAST_PRODUCT)) or any_true(
            splat(LARGEST_PRODUCT) < product
        ):
            for k in range(active[t]):
                values[k] += np.log(products[k])
            products[:] = 1.0
        later = active[t + 1] if t + 1 < len(active) else 0
        for k in range(later, active[t]):
            last = 0.0
            for j in range(n):
                last += alpha[at + j * WIDTH + k] * end[j]
            values[k] += np.log(products[k] * last) + t * log_transition


@jit
def write_active(beta, alpha, at, n, factors, n_active, table, place, stride):
    """Write the posteriors of all labels at one step, of active sequences."""
    always_inline()
    factor = load(factors, 0)
    if n_active == WIDTH:
        for j in range(n):
            own = load(beta, j * WIDTH) * load(alpha, at + j * WIDTH)
            store(table, place + j * stride, own * factor)
        return
    for j in range(n):
        for k in range(n_active):
            own = beta[j * WIDTH + k] * alpha[at + j * WIDTH + k]
            table[place + j * stride + k] = own * factors[k]


@jit
def backward_batch(weights, rows, first, active, emissions, scales, start, n_rows,
                   table):  # fmt: skip
    """Write posteriors of a batch times scales, and add the expected transitions."""
    n = len(weights.start)
    width = (n + TILE - 1) // TILE * TILE
    matrix, end = weights.transposed, weights.end
    alpha, pairs, beta, factors = rows.alpha, rows.pairs, rows.beta, rows.factors
    flat, stride = rows.flat_emissions, emissions.shape[1]
    n_steps = len(active)
    for t in range(n_steps - 1, -1, -1):
        at, after = t * width * WIDTH, (t + 1) * width * WIDTH
        later = active[t + 1] if t + 1 < n_steps else 0
        if t + 1 < n_steps:
            for j in range(0, n, TILE):
                tile = multiply_tile(pairs, after, matrix, n, j)
                store_tile(beta, j * WIDTH, tile)
        # the sequences that end here; and at the end of a batch, those that are none
        until = active[t] if t + 1 < n_steps else WIDTH
        for j in range(n):
            for k in range(later, until):
                beta[j * WIDTH + k] = end[j]
        total, product = splat(0.0), splat(0.0)
        for j in range(n):
            own = load(beta, j * WIDTH)
            product = product + own * load(alpha, at + j * WIDTH)
            row = own * load(flat, j * stride + first[t])
            store(pairs, at + j * WIDTH, row)
            total = total + row
        store(factors, 0, load(scales, 0) / product)
        place = start + first[t]
        write_active(beta, alpha, at, n, factors, active[t], table, place, n_rows)
        if later:
            for k in range(later, WIDTH):
                factors[k] = 0.0
            scale_rows(pairs, after, n, load(factors, 0))
        scale_rows(pairs, at, n, splat(1.0) / total)
    for t in range(0, n_steps - 1, COUNTED_STEPS):
        until = min(t + COUNTED_STEPS, n_steps - 1)
        count_transitions(alpha, pairs, n, width, t, until, rows.counts)


@jit
def count_transitions(alpha, pairs, n, width, start, stop, counts):
    """Add the products of alpha and what follows, from step `start` to `stop`."""
    stride = width * WIDTH
    for i in range(n):
        for j in range(0, n, TILE):
            place = i * stride + j * WIDTH
            a, b = load(counts, place), load(counts, place + WIDTH)
            c, d = load(counts, place + 2 * WIDTH), load(counts, place + 3 * WIDTH)
            for t in range(start, stop):
                own = load(alpha, t * stride + i * WIDTH)
                at = (t + 1) * stride + j * WIDTH
                a = a + own * load(pairs, at)
                b = b + own * load(pairs, at + WIDTH)
                c = c + own * load(pairs, at + 2 * WIDTH)
                d = d + own * load(pairs, at + 3 * WIDTH)
            store_tile(counts, place, (a, b, c, d))


@jit
def label_passes(weights, rows, intercept, batches, lo, hi, scales, table, values):
    """Replace the scores of batches by posteriors times the scales of sequences.

    `batches` are the first step of each batch, the first row of each step and the
    number of sequences that have it. Each batch has WIDTH numbers of sequences.
    """
    steps, starts, active = batches
    emissions, flat = rows.emissions, table.ravel()
    for q in range(lo, hi):
        a, b, at = steps[q], steps[q + 1], q * WIDTH
        start, stop = starts[a], starts[b]
        write_emissions(
            table, intercept, start, stop, rows.tops, rows.differences, emissions
        )
        first, own = starts[a:b] - start, active[a:b]
        forward_batch(
            weights, rows, first, own, emissions, rows.tops,
            values[at : at + WIDTH],
        )  # fmt: skip
        backward_batch(
            weights, rows, first, own, emissions, scales[at : at + WIDTH], start,
            table.shape[1], flat,
        )  # fmt: skip


@jit
def add_elements(counts, transitions, n, out):
    """Add the expected transitions of all sequences, times their weights."""
    width = (n + TILE - 1) // TILE * TILE
    for i in range(n):
        for j in range(n):
            total = sum_elements(load(counts, (i * width + j) * WIDTH))
            out[i, j] += total * transitions[i * padded(n) + j]


@jit
def write_sparse_scores(ptr, places, values, coef, width, buffer, table):
    """Write the scores of labels, of which `table` has one row each.

    `places` are those of the columns in flat coefficients, their numbers times the
    width; values are 1 if None. Unsigned indices need no test for negative ones, and
    the buffer makes sums successive: LLVM vectorises a tile only then.
    """
    one = np.uint64(1)
    for f in range(len(ptr) - 1):
        for j in range(0, width, TILE):
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for k in range(ptr[f], ptr[f + 1]):
                at = np.uint64(places[k]) + np.uint64(j)
                value = 1.0 if values is None else values[k]
                a += value * coef[at]
                b += value * coef[at + one]
                c += value * coef[at + one + one]
                d += value * coef[at + one + one + one]
            buffer[0], buffer[1], buffer[2], buffer[3] = a, b, c, d
            for label in range(TILE):
                table[j + label, f] = buffer[label]


@jit
def add_sparse_sums(ptr, places, values, table, width, sums):
    """Add the sums of features, weighed by each label, as `write_sparse_scores`."""
    one = np.uint64(1)
    for f in range(len(ptr) - 1):
        for j in range(0, width, TILE):
            a, b, c, d = table[j, f], table[j + 1, f], table[j + 2, f], table[j + 3, f]
            for k in range(ptr[f], ptr[f + 1]):
                at = np.uint64(places[k]) + np.uint64(j)
                value = 1.0 if values is None else values[k]
                sums[at] += value * a
                sums[at + one] += value * b
                sums[at + one + one] += value * c
                sums[at + one + one + one] += value * d
