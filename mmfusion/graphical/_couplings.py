"""Couplings: how the modalities share one chain, or several that depend on each other.

All are one graph over joint states. They differ in what its states stand for, in the
column of a modality's emissions that each joint state reads, and in the parameters
behind the weights of the edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple, cast

import numpy as np

from mmfusion.graphical._factorial import FactorialGraph, reordered_chains
from mmfusion.graphical._graph import ChainGraph, destinations
from mmfusion.graphical._graph_builders import ergodic_graph, product_graph
from mmfusion.graphical._transition_models import (
    ChainTransitions,
    HierarchicalTransitions,
)

LARGEST_COUPLED_STATES = 256  # an iteration costs their square for each frame
LARGEST_FACTORIAL_STATES = 1024
STAY_PROBABILITY = 0.9  # of a chain before it has learned


class Coupling(NamedTuple):
    """A graph over joint states, and what the joint states stand for.

    Parameters
    ----------
    chains : dict of str to int
        Number of states of each chain, by name.
    states : ndarray of int32 of shape (n_joint_states, n_chains)
        State of each chain in each joint state.
    graph : ChainGraph or FactorialGraph
        The graph of the joint states.
    columns : dict of str to ndarray of int32 of shape (n_joint_states,)
        Column of a modality's emissions that each joint state reads.
    transition_model : ChainTransitions, HierarchicalTransitions or None
        Parameters of the weights; None where they are the ties of the edges.
    """

    chains: dict[str, int]
    states: np.ndarray
    graph: ChainGraph
    columns: dict[str, np.ndarray]
    transition_model: ChainTransitions | HierarchicalTransitions | None = None

    def n_columns(self, modality: str) -> int:
        """Return the number of emission columns of a modality.

        Parameters
        ----------
        modality : str
            Name of the modality.

        Returns
        -------
        int
            The number.
        """
        return int(self.columns[modality].max()) + 1


def synchronous_coupling(names: Sequence[str], n_states: int) -> Coupling:
    """Couple modalities by one chain, which all of them are emitted by.

    Parameters
    ----------
    names : sequence of str
        Names of the modalities.
    n_states : int
        Number of states.

    Returns
    -------
    Coupling
        The ergodic chain 'state'.
    """
    graph = synchronous_graph(n_states)
    own = np.arange(n_states, dtype=np.int32)
    return Coupling({"state": n_states}, own[:, None], graph, dict.fromkeys(names, own))


def synchronous_graph(n_states: int) -> ChainGraph:
    """Make the ergodic graph of one chain before it has learned.

    Parameters
    ----------
    n_states : int
        Number of states.

    Returns
    -------
    ChainGraph
        The graph, whose states are kept with probability 0.9 and more.
    """
    transitions = np.full((n_states, n_states), (1 - STAY_PROBABILITY) / n_states)
    transitions[np.diag_indices(n_states)] += STAY_PROBABILITY
    return ergodic_graph(transitions, np.full(n_states, 1 / n_states))


def product_coupling(names: Sequence[str], n_states: int, max_lag: int) -> Coupling:
    """Couple two modalities by left-to-right chains that may be apart by a few states.

    Parameters
    ----------
    names : sequence of str
        Names of the modalities.
    n_states : int
        Number of states of each.
    max_lag : int
        Largest difference of the two states.

    Returns
    -------
    Coupling
        A chain for each modality, of its name.

    Raises
    ------
    ValueError
        If there are not two modalities.
    """
    if len(names) != 2:
        raise ValueError(
            f"coupling='product' is of two modalities, and there are {len(names)}: "
            f"{list(names)}; use 'coupled' or 'synchronous'"
        )
    graph, pairs = product_graph(n_states, max_lag=max_lag)
    return Coupling(
        dict.fromkeys(names, n_states),
        pairs,
        graph,
        dict(zip(names, pairs.T, strict=True)),
    )


def coupled_coupling(n_states: Mapping[str, int]) -> Coupling:
    """Couple modalities by a chain each, whose next state depends on all chains.

    Parameters
    ----------
    n_states : dict of str to int
        Number of states of each modality.

    Returns
    -------
    Coupling
        A chain for each modality, of its name.

    Raises
    ------
    ValueError
        If there are too many joint states.
    """
    shape = tuple(n_states.values())
    _check_size(n_states, LARGEST_COUPLED_STATES, "coupled")
    model = ChainTransitions(shape, is_coupled=True)
    states = _joint_states(shape)
    columns = dict(zip(n_states, states.T, strict=True))
    return Coupling(dict(n_states), states, model.graph(), columns, model)


def factorial_coupling(n_shared: int, n_private: Mapping[str, int]) -> Coupling:
    """Couple modalities by a chain that all share, beside a private one of each.

    Parameters
    ----------
    n_shared : int
        Number of states of the shared chain.
    n_private : dict of str to int
        Number of states of the private chain of each modality; of 1, there is none.

    Returns
    -------
    Coupling
        The chain 'shared', and a chain for each modality that has one, of its name. A
        column of emissions of a modality stands for a state of the shared chain
        (varying slowest) with one of its own.

    Raises
    ------
    ValueError
        If there are too many joint states, or a modality has the name of the shared
        chain.
    """
    private = {name: k for name, k in n_private.items() if k > 1}
    if "shared" in private:
        raise ValueError(
            "a modality is called 'shared', as the chain that all modalities share; "
            "rename it"
        )
    chains = {"shared": n_shared, **private}
    _check_size(chains, LARGEST_FACTORIAL_STATES, "factorial")
    shape = tuple(chains.values())
    model = ChainTransitions(shape, is_coupled=False)
    states = _joint_states(shape)
    columns = {
        name: states[:, 0] * k + states[:, list(chains).index(name)]
        if k > 1
        else states[:, 0]
        for name, k in n_private.items()
    }
    return Coupling(chains, states, model.graph(), columns, model)


def hierarchical_coupling(
    names: Sequence[str], n_units: int, n_states: int
) -> Coupling:
    """Couple modalities by one chain of units, each a chain of its own states.

    Parameters
    ----------
    names : sequence of str
        Names of the modalities.
    n_units : int
        Number of units.
    n_states : int
        Number of states of each unit.

    Returns
    -------
    Coupling
        The chain 'unit', and the chain 'state' of the states of all units.
    """
    model = HierarchicalTransitions(n_units, n_states)
    own = np.arange(n_units * n_states, dtype=np.int32)
    states = np.column_stack([own // n_states, own]).astype(np.int32)
    chains = {"unit": n_units, "state": n_units * n_states}
    return Coupling(chains, states, model.graph(), dict.fromkeys(names, own), model)


def _joint_states(shape: tuple[int, ...]) -> np.ndarray:
    numbers = np.unravel_index(np.arange(prod(shape)), shape)
    return np.ascontiguousarray(np.stack(numbers, axis=1), dtype=np.int32)


def _check_size(n_states: Mapping[str, int], limit: int, coupling: str) -> None:
    n_joint = prod(n_states.values())
    if n_joint > limit:
        raise ValueError(
            f"coupling={coupling!r} has {n_joint} joint states of the chains "
            f"{dict(n_states)}, and {n_joint}^2 = {n_joint**2:,} products for each "
            f"frame; at most {limit} are supported: lower the numbers of states"
        )


def chain_posteriors(
    coupling: Coupling, posteriors: np.ndarray
) -> dict[str, np.ndarray]:
    """Sum the posteriors of joint states by the states of each chain.

    Parameters
    ----------
    coupling : Coupling
        The coupling.
    posteriors : ndarray of shape (n_frames, n_joint_states)
        Posteriors of the joint states.

    Returns
    -------
    dict of str to ndarray of shape (n_frames, n_states)
        Posteriors of each chain.
    """
    return {
        name: posteriors @ (own[:, None] == np.arange(k)).astype(float)
        for (name, k), own in zip(
            coupling.chains.items(), coupling.states.T, strict=True
        )
    }


def occupancy_order(coupling: Coupling, occupancy: np.ndarray) -> np.ndarray | None:
    """Order joint states so that the states of each chain fall in occupancy.

    Parameters
    ----------
    coupling : Coupling
        The coupling.
    occupancy : ndarray of shape (n_joint_states,)
        Expected frames in each joint state.

    Returns
    -------
    ndarray of int of shape (n_joint_states,) or None
        Former number of each joint state. None where states have an order of their
        own, from left to right.
    """
    model = coupling.transition_model
    if isinstance(model, ChainTransitions):
        shape = model.shape
        by_chain = occupancy.reshape(shape)
        orders = [
            _falling(by_chain.sum(axis=tuple(c for c in range(len(shape)) if c != m)))
            for m in range(len(shape))
        ]
        return np.ravel_multi_index(np.ix_(*orders), shape).ravel()
    if isinstance(model, HierarchicalTransitions):
        by_unit = occupancy.reshape(model.n_units, model.n_states)
        order = [
            g * model.n_states + _falling(by_unit[g])
            for g in _falling(by_unit.sum(axis=1))
        ]
        return np.concatenate(order)
    return _falling(occupancy) if len(coupling.chains) == 1 else None


def _falling(occupancy: np.ndarray) -> np.ndarray:
    # of equal ones, the first remains first
    return np.argsort(-occupancy, kind="stable")


def column_order(columns: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return the order of emission columns that an order of joint states leads to.

    Parameters
    ----------
    columns : ndarray of int of shape (n_joint_states,)
        Column that each joint state reads, before and after.
    order : ndarray of int of shape (n_joint_states,)
        Former number of each joint state.

    Returns
    -------
    ndarray of int of shape (n_columns,)
        Former number of each column.
    """
    former = np.empty(columns.max() + 1, dtype=np.int64)
    former[columns] = columns[order]
    return former


def reordered_graph(graph: ChainGraph, order: np.ndarray) -> ChainGraph:
    """Number the states of a graph anew.

    Parameters
    ----------
    graph : ChainGraph or FactorialGraph
        The graph, whose states read columns of their own numbers.
    order : ndarray of int of shape (n_states,)
        Former number of each state.

    Returns
    -------
    ChainGraph or FactorialGraph
        The same paths, with the same columns of their new numbers.
    """
    if isinstance(graph, FactorialGraph):
        return cast("ChainGraph", reordered_chains(graph, order))
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order))
    src, dst = rank[graph.src], rank[destinations(graph)]
    edges = np.lexsort((src, dst))
    counts = np.bincount(dst, minlength=len(order))
    return graph._replace(
        ptr=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        src=src[edges],
        log_weights=graph.log_weights[edges],
        tie=graph.tie[edges],
        log_start=graph.log_start[order],
        log_end=graph.log_end[order],
    )
