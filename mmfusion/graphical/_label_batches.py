"""Sequences of labelled frames in batches, for passes that are repeated many times."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy import sparse

from mmfusion._simd import WIDTH
from mmfusion.graphical._dense_kernels import (
    CACHE_LINE,
    LEAST_WEIGHT,
    aligned_zeros,
    dense_arrays,
)
from mmfusion.graphical._graph import ChainGraph
from mmfusion.graphical._inference import _for_each
from mmfusion.graphical._label_kernels import (
    TILE,
    add_elements,
    add_sparse_sums,
    label_passes,
    write_sparse_scores,
)

Design: TypeAlias = "np.ndarray | sparse.csr_array"

# of the workspace of a thread
LARGEST_WORKSPACE_CELLS = 1 << 22
# of a batch, relative to those that have a frame
LARGEST_BATCH_SHARE = 2
# of batches that one thread takes at a time
GROUP_FRAMES = 1 << 15
PAGE_NUMBERS = 512  # of 8 bytes


class _BatchRows(NamedTuple):
    """Workspace of a batch; vectors of sequences for each step and label."""

    alpha: np.ndarray
    pairs: np.ndarray
    beta: np.ndarray
    factors: np.ndarray
    products: np.ndarray
    counts: np.ndarray
    tops: np.ndarray
    differences: np.ndarray
    emissions: np.ndarray
    flat_emissions: np.ndarray


class LabelBatches:
    """Frames of sequences in the order in which passes over many need them.

    Parameters
    ----------
    design : ndarray or CSR array of shape (n_frames, n_columns)
        Features of frames.
    offsets : ndarray of int of shape (n_sequences + 1,)
        First frame of each sequence, and the number of frames.
    weight : ndarray of shape (n_sequences,)
        Weights of the sequences.
    n_labels : int
        Number of labels.
    n_jobs : int or None
        Number of threads.
    """

    def __init__(
        self,
        design: Design,
        offsets: np.ndarray,
        weight: np.ndarray,
        n_labels: int,
        n_jobs: int | None,
    ) -> None:
        self._n_labels, self._n_jobs = n_labels, n_jobs
        self._width = -(-n_labels // TILE) * TILE
        lengths = np.diff(offsets)
        order = np.argsort(-lengths, kind="stable")
        order = order[lengths[order] > 0]
        self._lengths = lengths[order]
        steps, active = [0], []
        for a in range(0, len(order), WIDTH):
            own = self._lengths[a : a + WIDTH]
            active.append((own[:, None] > np.arange(own[0])).sum(axis=0))
            steps.append(steps[-1] + int(own[0]))
        n_active = np.concatenate([np.zeros(0, dtype=np.int64), *active])
        starts = np.concatenate([[0], np.cumsum(n_active)])
        self._batches = np.array(steps), starts, n_active
        self._scales = np.zeros((len(steps) - 1) * WIDTH)
        self._scales[: len(order)] = weight[order]
        self._first, self._last, self._frames = self._rows_of(
            order, offsets, starts, steps
        )
        self._design: Any = design[self._frames]
        if sparse.issparse(design):
            self._csr = _csr_of_labels(self._design, self._width)
        self._n_frames = len(self._frames)
        self._table = _rows_of_labels(self._width, self._n_frames)
        self._free: list[_BatchRows] = []

    def _rows_of(
        self, order: np.ndarray, offsets: np.ndarray, starts: np.ndarray, steps: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows of first and last frames, and the frame of each row."""
        number = np.arange(len(order))
        first_step = np.array(steps)[number // WIDTH]
        first = starts[first_step] + number % WIDTH
        last = starts[first_step + self._lengths - 1] + number % WIDTH
        sequence = np.repeat(number, self._lengths)
        t = np.arange(len(sequence)) - np.repeat(
            np.cumsum(self._lengths) - self._lengths, self._lengths
        )
        rows = starts[first_step[sequence] + t] + sequence % WIDTH
        frames = np.empty(len(rows), dtype=np.int64)
        frames[rows] = offsets[order][sequence] + t
        return first, last, frames

    @staticmethod
    def suit(offsets: np.ndarray, n_labels: int) -> bool:
        """Return whether most of a batch is active, and it fits in memory."""
        lengths = np.sort(np.diff(offsets))[::-1]
        longest = lengths[::WIDTH].astype(np.float64)
        cells = max(float(longest.max(initial=0)), n_labels) * n_labels * WIDTH
        share = WIDTH * longest.sum() / max(float(lengths.sum()), 1.0)
        return bool(cells <= LARGEST_WORKSPACE_CELLS and share <= LARGEST_BATCH_SHARE)

    def counts(
        self,
        graph: ChainGraph,
        coef: np.ndarray,
        intercept: np.ndarray,
        forbidden: np.ndarray | None = None,
    ) -> tuple[float, tuple[np.ndarray, ...]] | None:
        """Compute sums over sequences; None where the recursions would lose digits.

        Parameters
        ----------
        graph : ChainGraph
            Graph with a state for each label and an edge between any two.
        coef : ndarray of shape (n_columns, n_labels)
            Weights of the features.
        intercept : ndarray of shape (n_labels,)
            Scores of the labels of every frame.
        forbidden : ndarray of bool of shape (n_labels, n_frames), default=None
            Labels that the sums leave out; not all of a frame.

        Returns
        -------
        log_likelihood : float
            Logarithms of the sums over all labels, with the weights of sequences.
        counts : tuple of ndarray
            Expected sums of features by label, of shape (n_columns, n_labels), and
            expected numbers of labels, of transitions, and of first and last labels.
        """
        arrays = dense_arrays(graph)
        if arrays is None or arrays.has_zeros or arrays.end_has_zeros:
            return None
        if arrays.start.min() < LEAST_WEIGHT:
            return None
        self._write_scores(coef)
        if forbidden is not None:
            np.copyto(
                self._table[: self._n_labels, : self._n_frames],
                -np.inf,
                where=forbidden[:, self._frames],
            )
        values = np.zeros(len(self._scales))
        n = self._n_labels
        transitions = np.zeros((n, n))
        groups = self._groups()
        found: list[np.ndarray] = [transitions] * len(groups)

        def run(number: int, lo: int, hi: int) -> None:
            rows = self._free.pop() if self._free else self._workspace()
            rows.counts[:] = 0.0
            label_passes(
                arrays, rows, intercept, self._batches, lo, hi, self._scales,
                self._table, values,
            )  # fmt: skip
            found[number] = np.zeros((n, n))
            add_elements(rows.counts, arrays.transitions, n, found[number])
            self._free.append(rows)

        _for_each(run, [(i, *group) for i, group in enumerate(groups)], self._n_jobs)
        log_likelihood = float(self._scales @ values)
        if not np.isfinite(log_likelihood):
            return None
        table = self._table[:n, : self._n_frames]
        return log_likelihood, (
            self._sums(),
            table.sum(axis=1),
            np.sum(found, axis=0),
            table[:, self._first].sum(axis=1),
            table[:, self._last].sum(axis=1),
        )

    def _write_scores(self, coef: np.ndarray) -> None:
        """Write the scores of the labels of all frames, without intercepts."""
        n = self._n_labels
        if not sparse.issparse(self._design):
            np.matmul(coef.T, self._design.T, out=self._table[:n, : self._n_frames])
            return
        flat = np.zeros((len(coef), self._width))
        flat[:, :n] = coef
        buffer = np.empty(TILE)
        write_sparse_scores(*self._csr, flat.ravel(), self._width, buffer, self._table)

    def _sums(self) -> np.ndarray:
        """Compute the sums of features by label, from posteriors."""
        n = self._n_labels
        if not sparse.issparse(self._design):
            return (self._table[:n, : self._n_frames] @ self._design).T
        sums = np.zeros((self._design.shape[1], self._width))
        self._table[n:] = 0.0
        add_sparse_sums(*self._csr, self._table, self._width, sums.ravel())
        return sums[:, :n]

    def _groups(self) -> list[tuple[int, int]]:
        """Return the first and last batches that a thread takes at a time."""
        steps, starts, _ = self._batches
        group = starts[steps[:-1]] // GROUP_FRAMES
        first = np.flatnonzero(np.diff(group, prepend=-1))
        return list(zip(first, [*first[1:], len(steps) - 1], strict=True))

    def _workspace(self) -> _BatchRows:
        longest = int(self._lengths.max(initial=1))
        steps, starts, _ = self._batches
        largest = int(np.diff(starts[steps]).max(initial=1)) + WIDTH
        cells = longest * self._width * WIDTH
        emissions = _rows_of_labels(self._n_labels, largest)
        return _BatchRows(
            alpha=aligned_zeros(cells),
            pairs=aligned_zeros(cells),
            beta=aligned_zeros(self._width * WIDTH),
            factors=aligned_zeros(WIDTH),
            products=aligned_zeros(WIDTH),
            counts=aligned_zeros(self._n_labels * self._width * WIDTH),
            tops=np.zeros(largest),
            differences=np.zeros(largest),
            emissions=emissions,
            flat_emissions=emissions.ravel(),
        )


def _csr_of_labels(
    design: sparse.csr_array, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return starts of rows, places of columns, and values unless all are 1."""
    fits = design.shape[1] * width < 1 << 32
    dtype = np.uint32 if fits else np.uint64
    values = np.asarray(design.data, dtype=np.float64)
    return (
        design.indptr.astype(np.int64),
        design.indices.astype(dtype) * dtype(width),
        None if (values == 1).all() else values,
    )


def _rows_of_labels(n_rows: int, n_frames: int) -> np.ndarray:
    """Return rows of at least `n_frames`, whose starts differ modulo a page.

    Otherwise the frames of all labels would share a few places of the cache.
    """
    size = (n_frames // PAGE_NUMBERS + 1) * PAGE_NUMBERS + 3 * CACHE_LINE // 8
    return aligned_zeros(n_rows * size).reshape(n_rows, size)
