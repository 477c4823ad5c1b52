"""Graphs of states: which state may follow which, with what weight and parameter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from mmfusion._memory import check_fits
from mmfusion._numbers import check_count
from mmfusion.graphical._arguments import read_floats, read_integers

# transition matrices of more states are sparse
LARGEST_DENSE_STATES = 1024
BYTES_PER_STATE = 500  # of lists of edges that grow


class ChainGraph(NamedTuple):
    """States of a chain and the weighted edges between them.

    A path ``s_1, ..., s_T`` through the graph has the score ``log_start[s_1] + sum_t
    log_emissions[t, emits[s_t]] + sum_t log_weight(s_t, s_t+1) + log_end[s_T]``.
    Weights need not be probabilities. Edges are sorted by destination, then by source;
    several may join the same two states, and then count as several paths.

    Parameters
    ----------
    emits : ndarray of int32 of shape (n_states,)
        Column of the emission table that each state reads. Several states may read the
        same one.
    ptr : ndarray of int64 of shape (n_states + 1,)
        The edges into state ``s`` are those from ``ptr[s]`` up to ``ptr[s + 1]``.
    src : ndarray of int32 of shape (n_edges,)
        State from which each edge comes.
    log_weights : ndarray of shape (n_edges,)
        Logarithms of the weights.
    tie : ndarray of int32 of shape (n_edges,)
        Transition parameter of each edge; -1 is a fixed weight.
    group : ndarray of int32 of shape (n_parameters,)
        Distribution that each parameter belongs to: those of a group sum to 1.
    log_start, log_end : ndarray of shape (n_states,)
        Logarithms of the weights of a first and of a last state, -inf where a path may
        not begin or end.

    See Also
    --------
    graph_from_edges : Make one of a list of edges.

    Examples
    --------
    >>> from mmfusion.graphical import left_to_right_graph
    >>> graph = left_to_right_graph(3)
    >>> graph.src  # of the edges into state 0, then 1, then 2
    array([0, 0, 1, 1, 2], dtype=int32)
    """

    emits: np.ndarray
    ptr: np.ndarray
    src: np.ndarray
    log_weights: np.ndarray
    tie: np.ndarray
    group: np.ndarray
    log_start: np.ndarray
    log_end: np.ndarray


def graph_from_edges(
    n_states: int,
    edges: ArrayLike,
    log_weights: ArrayLike,
    *,
    emits: ArrayLike | None = None,
    tie: ArrayLike | None = None,
    group: ArrayLike | None = None,
    log_start: ArrayLike | None = None,
    log_end: ArrayLike | None = None,
) -> ChainGraph:
    """Make a graph of a list of edges.

    Parameters
    ----------
    n_states : int
        Number of states.
    edges : array-like of int of shape (n_edges, 2)
        Source and destination of each edge.
    log_weights : array-like of shape (n_edges,)
        Logarithms of the weights of the edges.
    emits : array-like of int of shape (n_states,), default=None
        Column of the emission table that each state reads; by default, that of its own
        number.
    tie : array-like of int of shape (n_edges,), default=None
        Transition parameter of each edge: edges with the same number have one weight,
        learned from their counts together. -1 is a fixed weight, the default for all.
    group : array-like of int of shape (n_parameters,), default=None
        Distribution that each parameter belongs to. By default, that of the source of
        its first edge.
    log_start, log_end : array-like of shape (n_states,), default=None
        Logarithms of the weights of a first and of a last state, -inf where a path may
        not begin or end; 0 by default.

    Returns
    -------
    ChainGraph
        The graph.

    Raises
    ------
    ValueError
        If a state, weight or parameter does not exist or is not a number.

    Examples
    --------
    A phase that may be repeated, and must be left before the end. Both edges out of
    state 0 have parameters of their own, which sum to 1:

    >>> import numpy as np
    >>> from mmfusion.graphical import forward_backward, graph_from_edges
    >>> graph = graph_from_edges(
    ...     2,
    ...     [(0, 0), (0, 1), (1, 1)],
    ...     np.log([0.7, 0.3, 1.0]),
    ...     tie=[0, 1, -1],
    ...     log_start=[0, -np.inf],
    ...     log_end=[-np.inf, 0],
    ... )
    >>> log_emissions = np.log([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    >>> result = forward_backward(graph, log_emissions, [0, 3])
    >>> result.posteriors.round(2)
    array([[1.  , 0.  ],
           [0.51, 0.49],
           [0.  , 1.  ]])
    """
    check_count(n_states, "n_states")
    n_states = int(n_states)
    check_fits(n_states * BYTES_PER_STATE, "a graph", "lower n_states")
    ends = read_integers("edges", edges)
    if ends.size == 0:
        ends = ends.reshape(0, 2)  # of a lone state
    if ends.ndim != 2 or ends.shape[1] != 2:
        raise ValueError(f"edges has shape {ends.shape}, not (n_edges, 2)")
    _check_numbers("edges", ends, 0, n_states, "states")
    weights = _floats("log_weights", log_weights, len(ends))
    ties = np.full(len(ends), -1) if tie is None else read_integers("tie", tie)
    if ties.shape != (len(ends),):
        raise ValueError(f"tie has shape {ties.shape}, and there are {len(ends)} edges")
    columns = np.arange(n_states) if emits is None else read_integers("emits", emits)
    if columns.shape != (n_states,):
        raise ValueError(f"emits has shape {columns.shape}, not ({n_states},)")
    _check_numbers("emits", columns, 0, np.iinfo(np.int32).max, "columns")
    order = np.lexsort((ends[:, 0], ends[:, 1]))  # ties of paths: the lowest source
    counts = np.bincount(ends[:, 1], minlength=n_states)
    return ChainGraph(
        emits=columns.astype(np.int32),
        ptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        src=ends[order, 0].astype(np.int32),
        log_weights=weights[order],
        tie=ties[order].astype(np.int32),
        group=_groups_of_parameters(group, ties, ends[:, 0]),
        log_start=_end_weights("log_start", log_start, n_states),
        log_end=_end_weights("log_end", log_end, n_states),
    )


def _groups_of_parameters(
    group: ArrayLike | None, ties: np.ndarray, src: np.ndarray
) -> np.ndarray:
    """Check the groups of all parameters, or make one for each source."""
    n_parameters = int(ties.max(initial=-1)) + 1
    used, first = np.unique(ties, return_index=True)
    missing = np.setdiff1d(np.arange(n_parameters), used)
    if len(missing) or used.min(initial=-1) < -1:
        which = int(missing[0]) if len(missing) else int(used.min())
        raise ValueError(
            "tie numbers parameters from 0, without gaps, and fixed weights as -1: "
            f"{which} is {'without edges' if len(missing) else 'neither'}"
        )
    if group is None:
        return src[first[used >= 0]].astype(np.int32)
    groups = read_integers("group", group)
    if groups.shape != (n_parameters,):
        raise ValueError(
            f"group has shape {groups.shape}, and tie names {n_parameters} parameters"
        )
    _check_numbers("group", groups, 0, np.iinfo(np.int32).max, "groups")
    return groups.astype(np.int32)


def _check_numbers(
    name: str, numbers: np.ndarray, least: int, limit: int, of: str
) -> None:
    wrong = (numbers < least) | (numbers >= limit)
    if wrong.any():
        which = int(numbers[wrong].flat[0])
        raise ValueError(f"{name} holds {which}, and {of} are {least} to {limit - 1}")


def _floats(name: str, values: ArrayLike, n: int) -> np.ndarray:
    array = read_floats(name, values)
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}, not ({n},)")
    wrong = np.isnan(array) | (array == np.inf)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(
            f"{name} holds {array[at]} at {at}; logarithms of weights are finite or "
            "-inf"
        )
    return array


def _end_weights(name: str, values: ArrayLike | None, n_states: int) -> np.ndarray:
    if values is None:
        return np.zeros(n_states)
    array = _floats(name, values, n_states)
    if not np.isfinite(array).any():
        raise ValueError(f"{name} is -inf for all states: there is no path")
    return array


def check_graph(graph: object) -> None:
    """Raise an error unless an argument is a graph.

    Parameters
    ----------
    graph : object
        The argument.

    Raises
    ------
    TypeError
        If it is not.
    """
    if not isinstance(graph, ChainGraph):
        raise TypeError(
            f"graph is {type(graph).__name__}; give a ChainGraph, as graph_from_edges "
            "makes it"
        )


def destinations(graph: ChainGraph) -> np.ndarray:
    """Return the state to which each edge goes.

    Parameters
    ----------
    graph : ChainGraph
        The graph.

    Returns
    -------
    ndarray of int32 of shape (n_edges,)
        The destinations.
    """
    states = np.arange(len(graph.emits), dtype=np.int32)
    return np.repeat(states, np.diff(graph.ptr))


def with_transitions(graph: ChainGraph, parameters: ArrayLike) -> ChainGraph:
    """Set the weights of all edges that are not fixed.

    Parameters
    ----------
    graph : ChainGraph
        The graph.
    parameters : array-like of shape (n_parameters,)
        Weight of each transition parameter.

    Returns
    -------
    ChainGraph
        The graph with these weights.

    Raises
    ------
    ValueError
        If there are more or fewer parameters than the graph has.

    See Also
    --------
    graph_from_edges : Make a graph, with ties between edges.

    Examples
    --------
    >>> from mmfusion.graphical import left_to_right_graph, with_transitions
    >>> graph = left_to_right_graph(2)
    >>> with_transitions(graph, [0.9, 0.1]).log_weights.round(2)
    array([-0.11, -2.3 ,  0.  ])
    """
    check_graph(graph)
    values = read_floats("parameters", parameters)
    if values.shape != graph.group.shape:
        raise ValueError(
            f"parameters has shape {values.shape}, not {graph.group.shape}"
        )
    if not (np.isfinite(values) & (values >= 0)).all():
        raise ValueError("parameters are finite and at least 0, and some are not")
    with np.errstate(divide="ignore"):
        logs = np.append(np.log(values), 0.0)  # the last one is for ties of -1
    weights = np.where(graph.tie < 0, graph.log_weights, logs[graph.tie])
    return graph._replace(log_weights=weights)


def transition_matrix(graph: ChainGraph) -> np.ndarray | sparse.csr_array:
    """Return the weights between all states as a matrix.

    Parameters
    ----------
    graph : ChainGraph
        The graph.

    Returns
    -------
    ndarray or csr_array of shape (n_states, n_states)
        Sum of the weights of the edges from each state (row) to each state; sparse
        beyond 1,024 states.

    Examples
    --------
    >>> from mmfusion.graphical import left_to_right_graph, transition_matrix
    >>> transition_matrix(left_to_right_graph(3)).round(2)
    array([[0.5, 0.5, 0. ],
           [0. , 0.5, 0.5],
           [0. , 0. , 1. ]])
    """
    check_graph(graph)
    n_states = len(graph.emits)
    ends = (graph.src, destinations(graph))
    matrix = sparse.coo_array(
        (np.exp(graph.log_weights), ends), shape=(n_states, n_states)
    )
    return matrix.toarray() if n_states <= LARGEST_DENSE_STATES else matrix.tocsr()
