"""Sums over paths, posteriors and best paths of many sequences."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, NamedTuple, Protocol

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import ArrayLike

from mmfusion._options import check_flags
from mmfusion._threads import one_thread
from mmfusion.graphical._arguments import read_floats, read_integers
from mmfusion.graphical._dense_kernels import DenseArrays, DensePass, dense_arrays
from mmfusion.graphical._factorial import (
    FactorialGraph,
    FactorialPass,
    best_factorial_paths,
)
from mmfusion.graphical._graph import ChainGraph, check_graph
from mmfusion.graphical._sparse_kernels import EdgeArrays, SparsePass, edge_arrays
from mmfusion.graphical._viterbi_kernels import best_edges, best_paths

# frames whose alpha and posteriors are kept at a time
CHUNK_FRAMES = 2048
LARGEST_CHUNK_CELLS = 1 << 19
# frames times states of a chunk of few states, which fits into a cache
STATE_CHUNK_CELLS = 1 << 16

# called with the first frame of a chunk, the one after its last, and the posteriors
Visitor = Callable[[int, int, np.ndarray], None]


class ChainPosteriors(NamedTuple):
    """Result of a forward and a backward pass.

    Parameters
    ----------
    log_likelihoods : ndarray of shape (n_sequences,)
        Logarithm of the sum over all paths of each sequence: its log-likelihood, where
        weights are probabilities and emissions densities. -inf without a path, and 0
        without a frame.
    posteriors : ndarray of shape (n_frames, n_columns) or None
        Probability that a state with each column of emissions is visited at each frame,
        given the sequence; or that of each state. It is 0 in sequences without a path.
    edge_counts : ndarray of shape (n_edges,)
        Expected number of uses of each edge, summed over the sequences with their
        weights.
    start_counts : ndarray of shape (n_states,)
        Expected number of sequences that begin in each state, with their weights.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.graphical import forward_backward, left_to_right_graph
    >>> result = forward_backward(left_to_right_graph(2), np.zeros((3, 2)), [0, 3])
    >>> result.posteriors.round(2)
    array([[1.  , 0.  ],
           [0.33, 0.67],
           [0.  , 1.  ]])
    """

    log_likelihoods: np.ndarray
    posteriors: np.ndarray | None
    edge_counts: np.ndarray
    start_counts: np.ndarray


def forward_backward(
    graph: ChainGraph,
    log_emissions: ArrayLike,
    offsets: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    by_state: bool = False,
    n_jobs: int | None = None,
) -> ChainPosteriors:
    """Compute the probabilities of all states at all frames.

    Parameters
    ----------
    graph : ChainGraph
        States and edges.
    log_emissions : array-like of shape (n_frames, n_columns)
        Logarithm of the weight of each frame in the states that read each column; the
        frames of all sequences one after another.
    offsets : array-like of int of shape (n_sequences + 1,)
        First frame of each sequence, and the number of frames.
    sample_weight : array-like of shape (n_sequences,), default=None
        Weight of each sequence in the counts. Posteriors have none.
    by_state : bool, default=False
        Return posteriors of states instead of columns of emissions.
    n_jobs : int, default=None
        Number of threads, as in joblib. Results do not depend on it.

    Returns
    -------
    ChainPosteriors
        Log-likelihoods, posteriors, and expected counts of edges and first states.

    Raises
    ------
    ValueError
        If the table of emissions and the offsets do not fit the graph.

    See Also
    --------
    viterbi : The best path instead of the sum over all.

    References
    ----------
    .. [1] L. R. Rabiner, "A tutorial on hidden Markov models and selected applications
       in speech recognition", Proceedings of the IEEE 77, 1989, eq. 19 to 37.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.graphical import ergodic_graph, forward_backward
    >>> graph = ergodic_graph([[0.9, 0.1], [0.2, 0.8]], [0.5, 0.5])
    >>> log_emissions = np.log([[0.8, 0.2], [0.7, 0.3], [0.1, 0.9]])
    >>> result = forward_backward(graph, log_emissions, [0, 3])
    >>> result.posteriors.round(2)
    array([[0.73, 0.27],
           [0.64, 0.36],
           [0.33, 0.67]])
    """
    check_flags(by_state=by_state)
    table, bounds = _check_input(graph, log_emissions, offsets)
    n_columns = len(graph.emits) if by_state else table.shape[1]
    posteriors = np.empty((len(table), n_columns))

    def visit(start: int, stop: int, chunk: np.ndarray) -> None:
        posteriors[start:stop] = chunk

    task = _make_task(graph, table, bounds, visit, by_state)
    weights = _check_weights(sample_weight, len(bounds) - 1)
    result = _run(task, np.ones(len(weights)), weights, n_jobs)
    return result._replace(posteriors=posteriors)


def scaled_posteriors(
    graph: ChainGraph,
    log_emissions: np.ndarray,
    offsets: np.ndarray,
    *,
    sample_weight: np.ndarray,
    n_jobs: int | None = None,
) -> ChainPosteriors:
    """Compute posteriors times the weights of their sequences, many frames at a time.

    For passes that are repeated over the same frames: the time of Python for each
    chunk counts where a chunk of few states is done in microseconds.

    Parameters
    ----------
    graph, log_emissions, offsets
        As in `forward_backward`.
    sample_weight : ndarray of shape (n_sequences,)
        Weight of each sequence in posteriors and counts.
    n_jobs : int, default=None
        Number of threads, as in joblib.

    Returns
    -------
    ChainPosteriors
        Log-likelihoods, posteriors of columns, and counts.
    """
    table, bounds = _check_input(graph, log_emissions, offsets)
    posteriors = np.empty(table.shape)

    def visit(start: int, stop: int, chunk: np.ndarray) -> None:
        posteriors[start:stop] = chunk

    task = _make_task(graph, table, bounds, visit)
    weights = _check_weights(sample_weight, len(bounds) - 1)
    rows = STATE_CHUNK_CELLS // len(graph.emits)
    result = _run(task, weights, weights, n_jobs, rows)
    return result._replace(posteriors=posteriors)


def expected_counts(
    graph: ChainGraph,
    log_emissions: ArrayLike,
    offsets: ArrayLike,
    visit: Visitor,
    *,
    sample_weight: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> ChainPosteriors:
    """Compute what an M-step needs, without a table of all posteriors.

    Parameters
    ----------
    graph, log_emissions, offsets
        As in `forward_backward`.
    visit : callable
        Called as ``visit(start, stop, posteriors)`` with the posteriors of the frames
        from `start` to `stop`, of shape (stop - start, n_columns), times the weights of
        their sequences. The array is written again afterwards. Each frame is visited
        once, one chunk at a time, in an order that does not depend on `n_jobs`.
    sample_weight : array-like of shape (n_sequences,), default=None
        Weight of each sequence in posteriors and counts.
    n_jobs : int, default=None
        Number of threads, as in joblib.

    Returns
    -------
    ChainPosteriors
        Log-likelihoods and counts; its posteriors are None.
    """
    table, bounds = _check_input(graph, log_emissions, offsets)
    weights = _check_weights(sample_weight, len(bounds) - 1)
    task = _make_task(graph, table, bounds, visit)
    return _run(task, weights, weights, n_jobs)


def chain_log_likelihood(
    graph: ChainGraph,
    log_emissions: ArrayLike,
    offsets: ArrayLike,
    *,
    n_jobs: int | None = None,
) -> np.ndarray:
    """Compute the log-likelihood of each sequence, without posteriors.

    Parameters
    ----------
    graph, log_emissions, offsets, n_jobs
        As in `forward_backward`.

    Returns
    -------
    ndarray of shape (n_sequences,)
        The log-likelihoods; -inf without a path, and 0 without a frame.
    """
    table, bounds = _check_input(graph, log_emissions, offsets)
    rows = _rows_of_chunk(graph, bounds)
    workers = _Workers(_make_task(graph, table, bounds), rows)
    values = np.zeros(len(bounds) - 1)
    ones, columns = np.ones(len(values)), np.array(graph.emits)

    def confirm(
        worker: _Worker, kernel: _Kernel, sequences: range, span: tuple[int, int]
    ) -> bool:
        counts = np.zeros(_n_counts(graph)), np.zeros(len(graph.emits))
        part = worker.chunk[: span[1] - span[0]]
        return kernel.backward(sequences, *span, ones, ones, columns, part, *counts)

    def score(sequences: range) -> None:
        worker = workers.take()
        spans = list(_spans(bounds, sequences, rows))
        for kernel in worker.kernels(len(spans)):
            exact = _forward(kernel, sequences, spans, [])
            if exact and isinstance(kernel, DensePass) and kernel.is_bound:
                exact = confirm(worker, kernel, sequences, spans[0])
            if exact:
                break
        values[sequences.start : sequences.stop] = kernel.log_likelihoods(sequences)
        workers.give_back(worker)

    _for_each(score, [(group,) for group in _groups_of_sequences(bounds, rows)], n_jobs)
    return values


def viterbi(
    graph: ChainGraph,
    log_emissions: ArrayLike,
    offsets: ArrayLike,
    *,
    n_jobs: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the best path of each sequence.

    Parameters
    ----------
    graph : ChainGraph
        States and edges.
    log_emissions : array-like of shape (n_frames, n_columns)
        Logarithm of the weight of each frame in the states that read each column.
    offsets : array-like of int of shape (n_sequences + 1,)
        First frame of each sequence, and the number of frames.
    n_jobs : int, default=None
        Number of threads, as in joblib.

    Returns
    -------
    states : ndarray of int32 of shape (n_frames,)
        State at each frame, -1 in sequences without a path. Of paths with equal scores,
        the one with the lowest numbers of states, compared from the last frame.
    scores : ndarray of shape (n_sequences,)
        Logarithm of the weight of the best path; -inf without a path.

    See Also
    --------
    forward_backward : The sum over all paths instead of the best.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.graphical import ergodic_graph, viterbi
    >>> graph = ergodic_graph([[0.9, 0.1], [0.2, 0.8]], [0.5, 0.5])
    >>> log_emissions = np.log([[0.8, 0.2], [0.7, 0.3], [0.1, 0.9]])
    >>> states, scores = viterbi(graph, log_emissions, [0, 3])
    >>> states
    array([0, 0, 0], dtype=int32)
    """
    table, bounds = _check_input(graph, log_emissions, offsets)
    if isinstance(graph, FactorialGraph):
        return best_factorial_paths(graph, table, bounds)
    rows = _rows_of_chunk(graph, bounds)
    states = np.empty(len(table), dtype=np.int32)
    scores = np.zeros(len(bounds) - 1)
    edges = best_edges(graph)

    def decode(sequences: range) -> None:
        best_paths(edges, table, bounds, sequences, rows, states, scores)

    _for_each(
        decode, [(group,) for group in _groups_of_sequences(bounds, rows)], n_jobs
    )
    return states, scores


class _Kernel(Protocol):
    """Forward and backward passes over spans of frames."""

    def forward(self, sequences: range, start: int, stop: int) -> bool: ...

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
    ) -> bool: ...

    def save(self, n_frames: int) -> Any: ...

    def restore(self, row: Any) -> None: ...

    def log_likelihoods(self, sequences: range) -> np.ndarray: ...


class _Task(NamedTuple):
    """Input of the passes, and the visitor of their posteriors."""

    graph: ChainGraph
    dense: DenseArrays | None
    table: np.ndarray
    offsets: np.ndarray
    columns: np.ndarray
    n_columns: int
    visit: Visitor


def _make_task(
    graph: ChainGraph,
    table: np.ndarray,
    offsets: np.ndarray,
    visit: Visitor = lambda start, stop, posteriors: None,
    by_state: bool = False,
) -> _Task:
    n_states = len(graph.emits)
    columns = np.arange(n_states, dtype=np.int32) if by_state else graph.emits
    n_columns = n_states if by_state else table.shape[1]
    dense = None if isinstance(graph, FactorialGraph) else dense_arrays(graph)
    return _Task(graph, dense, table, offsets, columns.copy(), n_columns, visit)


def _run(
    task: _Task,
    scales: np.ndarray,
    weights: np.ndarray,
    n_jobs: int | None,
    rows: int | None = None,
) -> ChainPosteriors:
    """Run both passes over all sequences, and visit posteriors times `scales`."""
    rows = max(rows or 0, _rows_of_chunk(task.graph, task.offsets))
    workers = _Workers(task, rows)
    values = np.zeros(len(task.offsets) - 1)
    edge_counts = np.zeros(_n_counts(task.graph))
    start_counts = np.zeros(len(task.graph.emits))
    turns = _Turns()

    def compute(number: int, sequences: range) -> None:
        spans = list(_spans(task.offsets, sequences, rows))
        worker = workers.take()
        counts = np.zeros_like(edge_counts), np.zeros_like(start_counts)

        def backward(kernel: _Kernel, span: tuple[int, int]) -> bool:
            part = worker.chunk[: span[1] - span[0]]
            return kernel.backward(
                sequences, *span, scales, weights, task.columns, part, *counts
            )

        for kernel in worker.kernels(len(spans)):
            saved: list[Any] = []
            exact = _forward(kernel, sequences, spans, saved)
            likelihoods = kernel.log_likelihoods(sequences)
            if exact and backward(kernel, spans[-1]):
                break
            for count in counts:
                count[:] = 0.0
        values[sequences.start : sequences.stop] = likelihoods
        with turns.of(number):
            task.visit(*spans[-1], worker.chunk[: spans[-1][1] - spans[-1][0]])
            # alpha of the chunks before is computed again from the row before each
            for at in range(len(spans) - 2, -1, -1):
                if at:
                    kernel.restore(saved[at - 1])
                kernel.forward(sequences, *spans[at])
                backward(kernel, spans[at])
                task.visit(*spans[at], worker.chunk[: spans[at][1] - spans[at][0]])
            edge_counts[:] += counts[0]
            start_counts[:] += counts[1]
        workers.give_back(worker)

    def compute_or_stop(number: int, sequences: range) -> None:
        try:
            compute(number, sequences)
        except BaseException:
            turns.stop()  # otherwise the others would wait for ever
            raise

    _for_each(
        compute_or_stop,
        list(enumerate(_groups_of_sequences(task.offsets, rows))),
        n_jobs,
    )
    return ChainPosteriors(values, None, edge_counts, start_counts)


def _forward(
    kernel: _Kernel, sequences: range, spans: list[tuple[int, int]], saved: list[Any]
) -> bool:
    """Save the last row of alpha of all chunks; return whether no digits are lost."""
    for start, stop in spans:
        if not kernel.forward(sequences, start, stop):
            return False
        saved.append(kernel.save(stop - start))
        kernel.restore(saved[-1])
    return True


class _Worker:
    """Workspace of one thread."""

    def __init__(self, task: _Task, rows: int, edges: Callable[[], EdgeArrays]) -> None:
        rows = min(rows, len(task.table))
        self._rows = rows
        self._task, self._edges = task, edges
        self._sparse: SparsePass | None = None
        self._dense: DensePass | None = None
        self._factorial: FactorialPass | None = None
        self.chunk = np.empty((rows, task.n_columns))

    def kernels(self, n_chunks: int) -> Iterator[_Kernel]:
        """Yield the kernels to try, until one loses no digits."""
        task = self._task
        if isinstance(task.graph, FactorialGraph):
            if self._factorial is None:
                self._factorial = FactorialPass(
                    task.graph, task.table, task.offsets, self._rows
                )
            yield self._factorial
            return
        # digits lost in a backward pass are noticed before anything is visited only
        # in the first chunk
        if task.dense is not None and (n_chunks == 1 or not task.dense.has_zeros):
            if self._dense is None:
                self._dense = DensePass(
                    task.dense, task.graph, task.table, task.offsets, self._rows
                )
            yield self._dense
        if self._sparse is None:
            self._sparse = SparsePass(
                self._edges(), task.table, task.offsets, self._rows
            )
        yield self._sparse


class _Workers:
    """Workspaces, as many as threads."""

    def __init__(self, task: _Task, rows: int) -> None:
        # sorted once for all threads, and only if a sequence needs it
        self._arguments = task, rows, cache(partial(edge_arrays, task.graph))
        self._free: list[_Worker] = []

    def take(self) -> _Worker:
        """Return one that no other thread uses."""
        try:
            return self._free.pop()
        except IndexError:
            return _Worker(*self._arguments)

    def give_back(self, used: _Worker) -> None:
        """Leave one to other threads."""
        self._free.append(used)


class _Turns:
    """Order of the parts of tasks that must not be concurrent."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next = 0
        self._stopped = False

    @contextmanager
    def of(self, number: int) -> Iterator[None]:
        """Wait until all lower numbers are done."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._next == number)
            if self._stopped:
                raise RuntimeError("another part of the task failed")
        yield
        with self._changed:
            self._next += 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


def _for_each(
    function: Callable[..., None], tasks: list[Any], n_jobs: int | None
) -> None:
    """Call a function with the arguments of all tasks, in threads."""
    if len(tasks) < 2 or effective_n_jobs(n_jobs) == 1:
        for arguments in tasks:
            function(*arguments)
        return
    with one_thread():
        Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(function)(*arguments) for arguments in tasks
        )


def _n_counts(graph: ChainGraph) -> int:
    return graph.n_counts if isinstance(graph, FactorialGraph) else len(graph.src)


def _rows_of_chunk(graph: ChainGraph, offsets: np.ndarray) -> int:
    """Return the frames of a chunk: few, but not fewer than there are chunks."""
    longest = int(np.diff(offsets).max(initial=1))
    rows = min(CHUNK_FRAMES, LARGEST_CHUNK_CELLS // len(graph.emits))
    return max(rows, math.isqrt(longest) + 1)


def _groups_of_sequences(offsets: np.ndarray, rows: int) -> list[range]:
    """Group consecutive sequences that fit into a chunk together."""
    groups, first, n_sequences = [], 0, len(offsets) - 1
    while first < n_sequences:
        # the last ones that end within the chunk, but at least one
        last = int(np.searchsorted(offsets, offsets[first] + rows, "right")) - 1
        last = max(first + 1, last)
        groups.append(range(first, last))
        first = last
    return groups


def _spans(
    offsets: np.ndarray, sequences: range, rows: int
) -> Iterator[tuple[int, int]]:
    """Cut the frames of a group of sequences into chunks."""
    first, last = int(offsets[sequences.start]), int(offsets[sequences.stop])
    for start in range(first, max(last, first + 1), rows):
        yield start, min(start + rows, last)


def _check_input(
    graph: ChainGraph, log_emissions: ArrayLike, offsets: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(graph, FactorialGraph):
        check_graph(graph)
    table = np.ascontiguousarray(read_floats("log_emissions", log_emissions))
    if not table.flags.writeable:  # numba compiles read-only arrays separately
        table = table.copy()
    bounds = np.array(read_integers("offsets", offsets))
    needed = int(graph.emits.max()) + 1
    if table.ndim != 2 or table.shape[1] < needed:
        raise ValueError(
            f"log_emissions has shape {table.shape}, and the states read {needed} "
            "columns"
        )
    if (
        bounds.ndim != 1
        or len(bounds) < 2
        or bounds[0] != 0
        or bounds[-1] != len(table)
    ):
        raise ValueError(
            f"offsets are to begin with 0 and to end with {len(table)}, the number of "
            "frames"
        )
    if (np.diff(bounds) < 0).any():
        raise ValueError("offsets decrease")
    return table, bounds


def _check_weights(sample_weight: ArrayLike | None, n_sequences: int) -> np.ndarray:
    if sample_weight is None:
        return np.ones(n_sequences)
    weights = np.array(read_floats("sample_weight", sample_weight))
    if weights.shape != (n_sequences,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}, and there are {n_sequences} "
            "sequences"
        )
    return weights
