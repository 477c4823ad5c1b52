"""Hidden conditional random fields: chains of states of each class, and gradient."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import logsumexp

from mmfusion.graphical._graph import ChainGraph, graph_from_edges
from mmfusion.graphical._inference import chain_log_likelihood, scaled_posteriors
from mmfusion.graphical._label_batches import Design
from mmfusion.graphical._lbfgs import count_parameters, split_parameters

LINKINGS = ("shared", "linked", "coupled")
LARGEST_JOINT_STATES = 64  # of the product of all chains of a class
PRIOR_COUNT = 0.1  # of each transition and first state, beside those that are counted
LEAST_VARIANCE = 1e-2  # inside states, where features have variance 1


class HiddenStates(NamedTuple):
    """Joint states of the chains of a class, and what their scores are sums of.

    Parameters
    ----------
    n_states : int
        Number of states of each chain.
    own : ndarray of int of shape (n_chains, n_joint_states)
        State of each chain in each joint state.
    links : bool
        Whether joint states have scores of their own at every step.
    pairs : list of tuple of int
        Chains of the transition scores: those from a state of the first to a state of
        the second.
    """

    n_states: int
    own: np.ndarray
    links: bool
    pairs: list[tuple[int, int]]

    @property
    def n_joint(self) -> int:
        """Number of joint states."""
        return self.own.shape[1]


class HiddenParameters(NamedTuple):
    """Parameters of a hidden conditional random field.

    Parameters
    ----------
    coef : list of ndarray of shape (n_columns, n_classes * n_states)
        Weights of the columns of each chain, by class and state.
    intercepts : ndarray of shape (n_chains, n_classes * n_states)
        Scores of the states of each chain at every step.
    transitions : ndarray of shape (n_pairs, n_classes, n_states, n_states)
        Scores of each state (last axis) after each state, for each pair of chains.
    start, joint : ndarray of shape (n_classes, n_joint_states)
        Scores of joint states at the first and at every step.
    classes : ndarray of shape (n_classes,)
        Scores of the classes.
    """

    coef: list[np.ndarray]
    intercepts: np.ndarray
    transitions: np.ndarray
    start: np.ndarray
    joint: np.ndarray
    classes: np.ndarray


class ClassifiedFrames(NamedTuple):
    """Frames of sequences with classes.

    Parameters
    ----------
    designs : list of ndarray or CSR array of shape (n_frames, n_columns)
        Features of the frames, of each chain.
    codes : ndarray of int of shape (n_sequences,)
        Classes, from 0.
    offsets : ndarray of int of shape (n_sequences + 1,)
        First frame of each sequence, and the number of frames.
    weight : ndarray of shape (n_sequences,)
        Weights of the sequences.
    """

    designs: list[Design]
    codes: np.ndarray
    offsets: np.ndarray
    weight: np.ndarray


def hidden_states(n_states: int, n_chains: int, linking: str) -> HiddenStates:
    """Make the joint states of the chains of a class.

    Parameters
    ----------
    n_states : int
        Number of states of each chain.
    n_chains : int
        Number of chains; 1 for 'shared'.
    linking : {'shared', 'linked', 'coupled'}
        How chains depend on one another; see `HiddenCRFClassifier`.

    Returns
    -------
    HiddenStates
        The states.
    """
    grid = np.indices((n_states,) * n_chains).reshape(n_chains, -1)
    pairs = [(v, v) for v in range(n_chains)]
    if linking == "coupled":
        pairs += list(permutations(range(n_chains), 2))
    return HiddenStates(n_states, grid, linking == "linked" and n_chains > 1, pairs)


class HiddenCRFObjective:
    r"""Penalised negative log-likelihood of classes, given the frames.

    .. math:: C \sum_i w_i \left(\log \sum_c Z_c(x_i) - \log Z_{y_i}(x_i)\right)
              + \frac{1}{2} \|\theta - \theta_0\|^2

    with the sum Z of a class over its sequences of states. Scores of the classes are
    not penalised. The parameters :math:`\theta_0`, the attribute `center`, are 0 until
    they are set.

    Parameters
    ----------
    states : HiddenStates
        States of each class.
    data : ClassifiedFrames
        Frames and classes.
    n_classes : int
        Number of classes.
    C : float
        Weight of the likelihood.
    n_jobs : int or None, default=None
        Number of threads.
    """

    def __init__(
        self,
        states: HiddenStates,
        data: ClassifiedFrames,
        n_classes: int,
        C: float,
        n_jobs: int | None = None,
    ) -> None:
        self.states, self.data, self.n_classes = states, data, n_classes
        self.C, self.n_jobs = C, n_jobs
        self.center: np.ndarray | float = 0.0
        k, n_chains = states.n_states, len(states.own)
        self._shapes: list[tuple[int, ...]] = [
            *((design.shape[1], n_classes * k) for design in data.designs),
            (n_chains, n_classes * k),
            (len(states.pairs), n_classes, k, k),
            (n_classes, states.n_joint),
            (n_classes, states.n_joint if states.links else 0),
            (n_classes,),
        ]
        self._transposed = [
            sparse.csr_array(x.T) if sparse.issparse(x) else x.T for x in data.designs
        ]

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return count_parameters(self._shapes)

    def parameters(self, theta: np.ndarray) -> HiddenParameters:
        """Return the parameters of a flat array, as views."""
        parts = split_parameters(theta, self._shapes)
        n_chains = len(self.data.designs)
        return HiddenParameters(parts[:n_chains], *parts[n_chains:])

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Compute the objective and its gradient.

        Parameters
        ----------
        theta : ndarray of shape (n_parameters,)
            The parameters.

        Returns
        -------
        value : float
            The objective.
        gradient : ndarray of shape (n_parameters,)
            Its gradient.
        """
        own, data, states = self.parameters(theta), self.data, self.states
        chains = chain_scores(data.designs, own)
        tables = [joint_table(chains, states, own, c) for c in range(self.n_classes)]
        graphs = [class_graph(states, own, c) for c in range(self.n_classes)]
        scores = own.classes + np.column_stack(
            [
                chain_log_likelihood(graph, table, data.offsets, n_jobs=self.n_jobs)
                for graph, table in zip(graphs, tables, strict=True)
            ]
        )
        log_sums = logsumexp(scores, axis=1)
        rows = np.arange(len(scores))
        loss = float(data.weight @ (log_sums - scores[rows, data.codes]))
        errors = np.exp(scores - log_sums[:, None])
        errors[rows, data.codes] -= 1
        errors *= data.weight[:, None] * self.C
        gradient = np.zeros_like(theta)
        grown = self.parameters(gradient)
        grown.classes[:] = errors.sum(axis=0)
        by_chain = [np.zeros_like(chain) for chain in chains]
        for c in range(self.n_classes):
            self._add_class(grown, by_chain, graphs[c], tables[c], errors[:, c], c)
        for v, counts in enumerate(by_chain):
            grown.coef[v][:] = self._transposed[v] @ counts
            grown.intercepts[v] = counts.sum(axis=0)
        flat = theta - self.center
        self.parameters(flat).classes[:] = 0
        return self.C * loss + 0.5 * float(flat @ flat), gradient + flat

    def _add_class(
        self,
        grown: HiddenParameters,
        by_chain: list[np.ndarray],
        graph: ChainGraph,
        table: np.ndarray,
        errors: np.ndarray,
        c: int,
    ) -> None:
        """Add what one class contributes to the gradient."""
        states, offsets = self.states, self.data.offsets
        chain = scaled_posteriors(
            graph, table, offsets, sample_weight=errors, n_jobs=self.n_jobs
        )
        assert chain.posteriors is not None
        joint = chain.posteriors
        k = states.n_states
        for v, own in enumerate(states.own):
            members = own[:, None] == np.arange(k)
            by_chain[v][:, c * k : (c + 1) * k] = joint @ members
        counts = chain.edge_counts.reshape(states.n_joint, states.n_joint).T
        for p, (u, v) in enumerate(states.pairs):
            before, after = states.own[u][:, None], states.own[v][None, :]
            np.add.at(grown.transitions[p, c], (before, after), counts)
        grown.start[c] = chain.start_counts
        if states.links:
            grown.joint[c] = joint.sum(axis=0)


def chain_scores(
    designs: Sequence[Design], parameters: HiddenParameters
) -> list[np.ndarray]:
    """Compute the scores of the states of each chain.

    Parameters
    ----------
    designs : sequence of ndarray or CSR array of shape (n_frames, n_columns)
        Features of each chain.
    parameters : HiddenParameters
        The weights.

    Returns
    -------
    list of ndarray of shape (n_frames, n_classes * n_states)
        The scores.
    """
    return [
        np.asarray(design @ coef) + intercept
        for design, coef, intercept in zip(
            designs, parameters.coef, parameters.intercepts, strict=True
        )
    ]


def joint_table(
    chains: Sequence[np.ndarray],
    states: HiddenStates,
    parameters: HiddenParameters,
    c: int,
) -> np.ndarray:
    """Compute the scores of the joint states of a class at each frame.

    Parameters
    ----------
    chains : sequence of ndarray of shape (n_frames, n_classes * n_states)
        Scores of the states of each chain.
    states : HiddenStates
        The states.
    parameters : HiddenParameters
        The scores of joint states.
    c : int
        Position of the class.

    Returns
    -------
    ndarray of shape (n_frames, n_joint_states)
        The scores.
    """
    first = c * states.n_states
    table = sum(
        chain[:, first + own] for chain, own in zip(chains, states.own, strict=True)
    )
    table = np.asarray(table)
    return table + parameters.joint[c] if states.links else table


def class_graph(
    states: HiddenStates, parameters: HiddenParameters, c: int
) -> ChainGraph:
    """Make the graph of the joint states of a class.

    Parameters
    ----------
    states : HiddenStates
        The states.
    parameters : HiddenParameters
        The scores of transitions and of first states.
    c : int
        Position of the class.

    Returns
    -------
    ChainGraph
        The graph, with an edge between any two states.
    """
    n = states.n_joint
    weights = np.zeros((n, n))
    for p, (u, v) in enumerate(states.pairs):
        before, after = states.own[u][:, None], states.own[v][None, :]
        weights += parameters.transitions[p, c][before, after]
    edges = np.indices((n, n)).reshape(2, -1).T
    return graph_from_edges(n, edges, weights.ravel(), log_start=parameters.start[c])


def hidden_class_scores(
    designs: Sequence[Design],
    offsets: np.ndarray,
    states: HiddenStates,
    parameters: HiddenParameters,
    n_jobs: int | None = None,
) -> np.ndarray:
    """Compute the logarithm of the sum over the states of each class.

    Parameters
    ----------
    designs : sequence of ndarray or CSR array of shape (n_frames, n_columns)
        Features of each chain.
    offsets : ndarray of int of shape (n_sequences + 1,)
        First frame of each sequence, and the number of frames.
    states : HiddenStates
        The states.
    parameters : HiddenParameters
        The parameters.
    n_jobs : int or None, default=None
        Number of threads.

    Returns
    -------
    ndarray of shape (n_sequences, n_classes)
        The scores.
    """
    chains = chain_scores(designs, parameters)
    found = [
        chain_log_likelihood(
            class_graph(states, parameters, c),
            joint_table(chains, states, parameters, c),
            offsets,
            n_jobs=n_jobs,
        )
        for c in range(len(parameters.classes))
    ]
    return parameters.classes + np.column_stack(found)


def generative_parameters(
    objective: HiddenCRFObjective, segments: np.ndarray, temperature: float
) -> np.ndarray:
    """Compute weights by which scores are the logarithms of a generative model.

    Its states are equal segments of the sequences, and have Gaussian densities with the
    same variances, whose logarithms are linear in the features. They are divided by a
    temperature, since frames depend on one another. Chains are independent.

    Parameters
    ----------
    objective : HiddenCRFObjective
        The objective.
    segments : ndarray of int of shape (n_frames,)
        Number of the segment of each frame.
    temperature : float
        The temperature.

    Returns
    -------
    ndarray of shape (n_parameters,)
        The parameters.
    """
    data, k = objective.data, objective.states.n_states
    theta = np.zeros(objective.n_parameters)
    own = objective.parameters(theta)
    lengths = np.diff(data.offsets)
    by_frame = np.repeat(data.codes, lengths)
    states, weight = by_frame * k + segments, np.repeat(data.weight, lengths)
    members = sparse.csr_array(
        (weight, (states, np.arange(len(states)))),
        shape=(objective.n_classes * k, len(states)),
    )
    totals = np.maximum(members.sum(axis=1), np.finfo(float).tiny)[:, None]
    for v, design in enumerate(data.designs):
        means = members @ design / totals
        means = means.toarray() if sparse.issparse(means) else np.asarray(means)
        square = (
            design**2 if isinstance(design, np.ndarray) else design.multiply(design)
        )
        inside = weight @ square - (totals * means**2).sum(axis=0)
        variances = np.asarray(inside).ravel() / totals.sum()
        variances = np.maximum(variances, LEAST_VARIANCE)
        own.coef[v][:] = (means / variances).T / temperature
        own.intercepts[v] = -0.5 * (means**2 / variances).sum(axis=1) / temperature
    _write_transitions(objective, own, segments, by_frame, weight)
    return theta


def _write_transitions(
    objective: HiddenCRFObjective,
    own: HiddenParameters,
    segments: np.ndarray,
    codes: np.ndarray,
    weight: np.ndarray,
) -> None:
    """Write log-probabilities of the next and of the first segments by class."""
    states, data = objective.states, objective.data
    n_classes, k = objective.n_classes, states.n_states
    starts = data.offsets[:-1][np.diff(data.offsets) > 0]
    later = np.delete(np.arange(len(codes)), starts)
    counts = np.full((n_classes, k, k), PRIOR_COUNT)
    np.add.at(
        counts, (codes[later], segments[later - 1], segments[later]), weight[later]
    )
    own.transitions[: len(states.own)] = np.log(counts / counts.sum(2, keepdims=True))
    first = np.full((n_classes, k), PRIOR_COUNT)
    np.add.at(first, (codes[starts], segments[starts]), weight[starts])
    by_state = np.log(first / first.sum(axis=1, keepdims=True))
    own.start[:] = by_state[:, states.own].sum(axis=1)
