"""Graphs of the models: ergodic, left-to-right, product, coupled, hierarchical."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mmfusion._memory import check_fits
from mmfusion._numbers import check_count, is_integer
from mmfusion.graphical._arguments import read_floats, read_integers
from mmfusion.graphical._graph import BYTES_PER_STATE, ChainGraph, graph_from_edges


def ergodic_graph(transitions: ArrayLike, start: ArrayLike) -> ChainGraph:
    """Make the graph of a matrix of transition probabilities.

    Parameters
    ----------
    transitions : array-like of shape (n_states, n_states)
        Probability of each state (column) after each state (row). An edge with
        probability 0 does not exist, and never will by learning.
    start : array-like of shape (n_states,)
        Probability of each first state.

    Returns
    -------
    ChainGraph
        The graph, with one parameter for each edge and one group for each row. A path
        may end anywhere.

    Examples
    --------
    >>> from mmfusion.graphical import ergodic_graph
    >>> graph = ergodic_graph([[0.9, 0.1], [0.2, 0.8]], [0.5, 0.5])
    >>> graph.src
    array([0, 1, 0, 1], dtype=int32)
    """
    matrix = read_floats("transitions", transitions)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"transitions has shape {matrix.shape}, and is to be square")
    first = read_floats("start", start)
    if not (np.isfinite(matrix) & (matrix >= 0)).all():
        raise ValueError("transitions are finite and at least 0, and some are not")
    if first.shape != (len(matrix),) or not (first >= 0).all():
        raise ValueError(
            f"start has shape {first.shape}; it needs {len(matrix)} probabilities"
        )
    edges = np.argwhere(matrix > 0)
    with np.errstate(divide="ignore"):
        log_start = np.log(first)
    return graph_from_edges(
        len(matrix),
        edges,
        np.log(matrix[matrix > 0]),
        tie=np.arange(len(edges)),
        group=edges[:, 0],
        log_start=log_start,
    )


class _EdgeList:
    """Edges of a graph that grows, with parameters in groups."""

    def __init__(self) -> None:
        self.edges: list[tuple[int, int]] = []
        self.weights: list[float] = []
        self.tie: list[int] = []
        self.group: list[int] = []
        self._n_groups = 0

    def add_group(self, probabilities: np.ndarray) -> list[int]:
        """Add the parameters of a distribution; a single one is fixed."""
        if len(probabilities) < 2:
            return [-1] * len(probabilities)
        first = len(self.group)
        self.group += [self._n_groups] * len(probabilities)
        self._n_groups += 1
        return list(range(first, len(self.group)))

    def add(self, src: int, dst: int, weight: float, tie: int) -> None:
        self.edges.append((src, dst))
        self.weights.append(weight)
        self.tie.append(tie)


def left_to_right_graph(
    n_states: int,
    *,
    max_skip: int = 0,
    min_duration: int | ArrayLike = 1,
    max_duration: int | ArrayLike | None = None,
    stay: float | ArrayLike = 0.5,
) -> ChainGraph:
    """Make the graph of states in a fixed order.

    A path begins in the first state and ends in the last. Durations are limited by
    copies of a state, which read the same column of emissions and have the same
    probabilities to stay and to go on.

    Parameters
    ----------
    n_states : int
        Number of states, which is the number of columns of emissions.
    max_skip : int, default=0
        Most states that a step may leave out.
    min_duration : int or array-like of int of shape (n_states,), default=1
        Fewest frames of a visit of each state.
    max_duration : int or array-like of int of shape (n_states,), default=None
        Most frames of a visit of each state; None is without limit.
    stay : float or array-like of shape (n_states,), default=0.5
        Probability to stay in a state that may be left. The rest is shared by the next
        state and those after it, each half as probable as the one before.

    Returns
    -------
    ChainGraph
        The graph: a group of parameters for each state that may be both kept and left,
        or that has several states to go to.

    Examples
    --------
    >>> from mmfusion.graphical import left_to_right_graph
    >>> graph = left_to_right_graph(3, min_duration=2)
    >>> graph.emits
    array([0, 0, 1, 1, 2, 2], dtype=int32)
    """
    check_count(n_states, "n_states")
    n_states = int(n_states)
    check_fits(n_states * BYTES_PER_STATE, "a graph", "lower n_states")
    if not (is_integer(max_skip) and max_skip >= 0):
        raise ValueError(f"max_skip is {max_skip!r}; give an integer of at least 0")
    shortest = _durations("min_duration", min_duration, n_states)
    longest = shortest
    if max_duration is not None:
        longest = _durations("max_duration", max_duration, n_states)
    if (longest < shortest).any():
        at = int(np.argmax(longest < shortest))
        raise ValueError(
            f"max_duration of state {at} is {longest[at]}, below its min_duration of "
            f"{shortest[at]}"
        )
    keep = _of_states("stay", read_floats("stay", stay), n_states)
    if not ((keep >= 0) & (keep <= 1)).all():
        raise ValueError(f"stay is a probability, and not {stay!r}")
    first = np.concatenate([[0], np.cumsum(longest)])
    graph = _EdgeList()
    for state in range(n_states):
        copies = range(first[state], first[state + 1])
        targets = first[state + 1 : min(state + 2 + int(max_skip), n_states)]
        onward = 0.5 ** np.arange(len(targets))
        onward /= max(onward.sum(), 1.0)
        chances = keep[state] if len(targets) else 1.0, onward
        limited = max_duration is not None
        _add_copies(graph, copies, shortest[state], targets, chances, limited)
    log_start, log_end = np.full((2, first[-1]), -np.inf)
    log_start[0] = 0.0
    log_end[first[-2] + shortest[-1] - 1 :] = 0.0
    return graph_from_edges(
        first[-1],
        graph.edges,
        graph.weights,
        emits=np.repeat(np.arange(n_states), longest),
        tie=graph.tie,
        group=graph.group,
        log_start=log_start,
        log_end=log_end,
    )


def _durations(name: str, durations: int | ArrayLike, n_states: int) -> np.ndarray:
    frames = _of_states(name, read_integers(name, durations), n_states)
    if (frames < 1).any():
        raise ValueError(
            f"{name} is a number of frames, at least 1, and not {durations!r}"
        )
    n_bytes = int(frames.sum(dtype=float)) * BYTES_PER_STATE
    check_fits(n_bytes, "a graph", f"lower {name}")
    return frames


def _of_states(name: str, values: np.ndarray, n_states: int) -> np.ndarray:
    if values.ndim and values.shape != (n_states,):
        raise ValueError(f"{name} has shape {values.shape}, not ({n_states},)")
    return np.broadcast_to(values, (n_states,))


def _add_copies(
    graph: _EdgeList,
    copies: range,
    shortest: int,
    targets: np.ndarray,
    chances: tuple[float, np.ndarray],
    limited: bool,
) -> None:
    """Add the edges from all copies of one state.

    The copies before the `shortest` have one edge, to the next copy. The others may
    also be left. The last one has a self loop, unless durations are limited.
    """
    may_stay = not limited or len(copies) > shortest
    keep, onward = chances
    probabilities = np.append(keep, (1 - keep) * onward)
    ties = graph.add_group(probabilities) if may_stay else []
    for number, copy in enumerate(copies, start=1):
        if number < shortest:
            graph.add(copy, copy + 1, 0.0, -1)
        elif may_stay and (number < len(copies) or not limited):
            ends = [copy + 1 if number < len(copies) else copy, *targets]
            for end, probability, tie in zip(ends, probabilities, ties, strict=True):
                graph.add(copy, int(end), float(np.log(probability)), tie)
        else:
            own = graph.add_group(onward)
            for end, probability, tie in zip(targets, onward, own, strict=True):
                graph.add(copy, int(end), float(np.log(probability)), tie)


def product_graph(n_states: int, *, max_lag: int) -> tuple[ChainGraph, np.ndarray]:
    """Make the graph of two left-to-right chains that may be apart by a few states.

    A state is a pair of states, one of each chain, and each of both stays or goes on by
    one in a step. Both begin in the first state and end in the last.

    Parameters
    ----------
    n_states : int
        Number of states of each chain.
    max_lag : int
        Largest difference of the two states; 0 is one chain for both.

    Returns
    -------
    graph : ChainGraph
        The graph: a column of emissions for each pair, and a group of parameters for
        each pair with several successors, which are equally probable at first.
    pairs : ndarray of int32 of shape (n_pairs, 2)
        State of each chain in each state of the graph.

    Examples
    --------
    >>> from mmfusion.graphical._graph_builders import product_graph
    >>> graph, pairs = product_graph(3, max_lag=1)
    >>> pairs.tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2], [2, 1], [2, 2]]
    """
    grid = np.argwhere(np.ones((n_states, n_states), dtype=bool))
    pairs = grid[abs(grid[:, 0] - grid[:, 1]) <= max_lag]
    number = {(int(a), int(v)): at for at, (a, v) in enumerate(pairs)}
    graph = _EdgeList()
    for (a, v), at in number.items():
        moves = [(a, v), (a, v + 1), (a + 1, v), (a + 1, v + 1)]
        ends = [number[move] for move in moves if move in number]
        probabilities = np.full(len(ends), 1 / len(ends))
        ties = graph.add_group(probabilities)
        for end, tie in zip(ends, ties, strict=True):
            graph.add(at, end, -float(np.log(len(ends))), tie)
    log_start, log_end = np.full((2, len(pairs)), -np.inf)
    log_start[0] = log_end[-1] = 0.0
    chain = graph_from_edges(
        len(pairs),
        graph.edges,
        graph.weights,
        tie=graph.tie,
        group=graph.group,
        log_start=log_start,
        log_end=log_end,
    )
    return chain, pairs.astype(np.int32)


def coupled_graph(
    transitions: list[np.ndarray], start: ArrayLike | list[np.ndarray]
) -> tuple[ChainGraph, np.ndarray]:
    """Make the graph of chains, each of which depends on the last states of all.

    Parameters
    ----------
    transitions : list of ndarray of shape (n_states_1, ..., n_states_M, n_states_m)
        For each chain m, the probability of its next state after the states of all M
        chains.
    start : list of ndarray of shape (n_states_m,), or ndarray
        Probability of the first state of each chain; or one array of shape (n_states_1,
        ..., n_states_M) with that of all together.

    Returns
    -------
    graph : ChainGraph
        The ergodic graph of the product: a column of emissions for each combination of
        states, the last chain's varying fastest.
    states : ndarray of int32 of shape (n_combinations, M)
        State of each chain in each state of the graph.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.graphical._graph_builders import coupled_graph
    >>> tables = [np.full((2, 3, 2), 1 / 2), np.full((2, 3, 3), 1 / 3)]
    >>> graph, states = coupled_graph(tables, [np.ones(2) / 2, np.ones(3) / 3])
    >>> states.tolist()
    [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    """
    shape = tuple(table.shape[-1] for table in transitions)
    for at, table in enumerate(transitions):
        if table.shape != (*shape, shape[at]):
            raise ValueError(
                f"transitions[{at}] has shape {table.shape}, not {(*shape, shape[at])}"
            )
    n_states = int(np.prod(shape))
    joint = np.ones((n_states, 1))
    for table in transitions:
        rows = table.reshape(n_states, 1, -1)
        joint = (joint[:, :, None] * rows).reshape(n_states, -1)
    if isinstance(start, list) and np.ndim(start[0]) == 1 and len(start) == len(shape):
        first = np.ones(1)
        for own in start:
            first = np.outer(first, own).ravel()
    else:
        first = np.asarray(start, dtype=float).ravel()
    states = np.stack(np.unravel_index(np.arange(n_states), shape), axis=1)
    return ergodic_graph(joint, first), states.astype(np.int32)


def hierarchical_graph(
    units: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    between: ArrayLike,
    start: ArrayLike | None = None,
) -> tuple[ChainGraph, np.ndarray]:
    """Make the graph of units that follow one another, each a chain of its own.

    Parameters
    ----------
    units : list of tuple (transitions, exits, entries)
        For each unit of n states, the probabilities of transitions inside, shape (n,
        n), of leaving the unit after each state, shape (n,), and of its first state,
        shape (n,). Each row of the transitions sums to 1 with the exit.
    between : array-like of shape (n_units, n_units)
        Probability of each unit (column) after each (row).
    start : array-like of shape (n_units,), default=None
        Probability of the first unit; None is the same for all.

    Returns
    -------
    graph : ChainGraph
        The graph, with one parameter for each edge and one group for each source. Where
        a unit may follow itself, an edge inside and one by way of its exit join the
        same two states.
    unit_of_state : ndarray of int32 of shape (n_states,)
        Unit of each state.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.graphical._graph_builders import hierarchical_graph
    >>> unit = np.array([[0.5, 0.5], [0, 0.8]]), np.array([0, 0.2]), np.array([1, 0])
    >>> graph, unit_of_state = hierarchical_graph([unit, unit], [[0, 1], [1, 0]])
    >>> unit_of_state
    array([0, 0, 1, 1], dtype=int32)
    """
    follows = np.asarray(between, dtype=float)
    n_units = len(units)
    first = np.full(n_units, 1 / n_units) if start is None else np.asarray(start)
    sizes = [len(entries) for _, _, entries in units]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    entries = np.concatenate([entry for _, _, entry in units])
    unit_of_state = np.repeat(np.arange(n_units), sizes)
    exits = np.concatenate([leave for _, leave, _ in units])
    across = exits[:, None] * follows[np.ix_(unit_of_state, unit_of_state)] * entries
    inside = np.zeros_like(across)
    for unit, (matrix, _, _) in enumerate(units):
        rows = slice(offsets[unit], offsets[unit + 1])
        inside[rows, rows] = matrix
    edges = np.concatenate([np.argwhere(inside > 0), np.argwhere(across > 0)])
    weights = np.concatenate([inside[inside > 0], across[across > 0]])
    with np.errstate(divide="ignore"):
        log_start = np.log(first[unit_of_state] * entries)
    graph = graph_from_edges(
        offsets[-1],
        edges,
        np.log(weights),
        tie=np.arange(len(edges)),
        group=edges[:, 0],
        log_start=log_start,
    )
    return graph, unit_of_state.astype(np.int32)
