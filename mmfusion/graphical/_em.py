"""Expectation-maximisation of chain models, by posterior modes (MAP)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from mmfusion.graphical._clock import Frames
from mmfusion.graphical._graph import ChainGraph, destinations, with_transitions
from mmfusion.graphical._inference import expected_counts, viterbi

if TYPE_CHECKING:
    from mmfusion.graphical._chain_model import ChainModel
    from mmfusion.graphical._multimodal_emission import MultimodalEmission

EMPTY_STATE_FRAMES = 1e-3  # expected frames below which a state is seeded anew
CHUNK_STEPS = 2000  # of assignments to states, whose indicators are in memory at once
SEEDS_PER_STATE = 20  # a state seeded anew gets a frame of this many per state


class EMHistory(NamedTuple):
    """Course of a fit: the penalised objective of each iteration, and whether it ended.

    ``objective[i]`` is that of the parameters before M-step i, so that
    ``objective[0]`` is that of the initial parameters. If `converged`, the last one is
    that of the final parameters.
    """

    objective: np.ndarray
    converged: bool


class TransitionModel(Protocol):
    """M-step of the transitions of a graph."""

    def maximize(
        self,
        graph: ChainGraph,
        edge_counts: np.ndarray,
        start_counts: np.ndarray,
        prior: float,
    ) -> ChainGraph:
        """Return the graph with the weights of expected counts."""

    def log_prior(self, graph: ChainGraph, prior: float) -> float:
        """Compute the log prior of the weights, up to a constant."""


class TiedTransitions:
    """Transition parameters that edges share by ``graph.tie``, and first states."""

    def maximize(
        self,
        graph: ChainGraph,
        edge_counts: np.ndarray,
        start_counts: np.ndarray,
        prior: float,
    ) -> ChainGraph:
        """Return the graph with the posterior modes of its parameters.

        Parameters
        ----------
        graph : ChainGraph
            The graph.
        edge_counts : ndarray of shape (n_edges,)
            Expected numbers of uses of the edges.
        start_counts : ndarray of shape (n_states,)
            Expected numbers of starts in the states.
        prior : float
            Count added to each transition parameter and to each state that may be the
            first. Forbidden edges stay forbidden.

        Returns
        -------
        ChainGraph
            The graph with new weights. Distributions without counts and prior stay.
        """
        if len(graph.group):
            is_tied = graph.tie >= 0
            counts = np.bincount(
                graph.tie[is_tied], edge_counts[is_tied], minlength=len(graph.group)
            )
            present = edge_parameters(graph)
            graph = with_transitions(
                graph, _normalized(counts + prior, graph.group, present)
            )
        return with_starts(graph, start_counts, prior)

    def log_prior(self, graph: ChainGraph, prior: float) -> float:
        """Compute the log density of the Dirichlet prior, up to a constant.

        Parameters
        ----------
        graph : ChainGraph
            The graph.
        prior : float
            The count of `maximize`.

        Returns
        -------
        float
            Log prior.
        """
        if prior == 0:
            return 0.0
        return float(prior * (np.log(edge_parameters(graph)).sum() + log_starts(graph)))


def with_starts(
    graph: ChainGraph, start_counts: np.ndarray, prior: float
) -> ChainGraph:
    """Set the probabilities of first states to the posterior mode.

    Parameters
    ----------
    graph : ChainGraph
        The graph.
    start_counts : ndarray of shape (n_states,)
        Expected numbers of starts in the states.
    prior : float
        Count added to each state that may be the first.

    Returns
    -------
    ChainGraph
        The graph; as it is if one state alone may be the first.
    """
    may_start = np.isfinite(graph.log_start)
    starts = np.where(may_start, start_counts + prior, 0.0)
    total = starts.sum()
    if np.count_nonzero(may_start) < 2 or not total > 0:
        return graph
    with np.errstate(divide="ignore"):
        return graph._replace(log_start=np.log(starts / total))


def log_starts(graph: ChainGraph) -> float:
    """Sum the log probabilities of first states, unless one alone is possible."""
    logs = graph.log_start[np.isfinite(graph.log_start)]
    return float(logs.sum()) if len(logs) > 1 else 0.0


def edge_parameters(graph: ChainGraph) -> np.ndarray:
    """Return the transition parameters that the weights of a graph hold.

    Parameters
    ----------
    graph : ChainGraph
        The graph.

    Returns
    -------
    ndarray of shape (n_parameters,)
        The weight of the edges of each parameter.
    """
    parameters = np.ones(len(graph.group))
    is_tied = graph.tie >= 0
    parameters[graph.tie[is_tied]] = np.exp(graph.log_weights[is_tied])
    return parameters


def _normalized(
    counts: np.ndarray, group: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """Divide counts by the sums of their groups; groups without any stay."""
    totals = np.bincount(group, counts)[group]
    return np.divide(counts, totals, out=present.copy(), where=totals > 0)


def fit_chain_model(
    model: ChainModel,
    frames: Frames,
    *,
    max_iter: int = 100,
    tol: float = 1e-4,
    transition_prior: float = 0.1,
    sample_weight: np.ndarray | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    hard_iterations: int = 0,
    update_transitions: bool = True,
) -> EMHistory:
    """Fit a chain model to frames by expectation-maximisation.

    Maximises ``sum_i w_i log p(x_i) + log prior``, which no iteration decreases. A
    state that no frame is likely to have been in is seeded from the frames that are
    explained worst, once.

    Parameters
    ----------
    model : ChainModel
        The model with its initial parameters, which are changed.
    frames : Frames
        Frames on the clock.
    max_iter : int, default=100
        Largest number of iterations.
    tol : float, default=1e-4
        Increase of the objective, per clock step, below which the fit ends.
    transition_prior : float, default=0.1
        Count added to each transition parameter.
    sample_weight : ndarray of shape (n_sequences,), default=None
        Weights of the sequences.
    n_jobs : int, default=None
        Number of threads over sequences.
    verbose : int, default=0
        Whether to print the objective of each iteration.
    hard_iterations : int, default=0
        Number of first iterations that use the likeliest path alone.
    update_transitions : bool, default=True
        Whether transitions and first states are learned.

    Returns
    -------
    EMHistory
        The objective by iteration, and whether the fit converged.

    Raises
    ------
    ValueError
        If no path through the graph is as long as a sequence.
    """
    transitions = model.transition_model or TiedTransitions()
    weight = (
        np.ones(len(frames.offsets) - 1) if sample_weight is None else sample_weight
    )
    n_steps = float(weight @ np.diff(frames.offsets))
    objective: list[float] = []
    before_seeding: MultimodalEmission | None = None
    may_seed = True
    while len(objective) < max_iter:
        is_hard = len(objective) < hard_iterations
        expect = _hard_expectation if is_hard else _soft_expectation
        expected = expect(model, frames, sample_weight, n_jobs)
        value = float(np.where(weight > 0, weight, 0) @ expected.log_likelihoods)
        value += model.emission.log_prior()
        if update_transitions:
            value += transitions.log_prior(model.graph, transition_prior)
        if before_seeding is not None and value < objective[-1]:
            model.emission, before_seeding = before_seeding, None
            continue  # the seeds were worse than the state without frames
        before_seeding = None
        objective.append(value)
        if verbose:
            print(f"iteration {len(objective)}: objective {value:.6f}")
        gain = value - objective[-2] if len(objective) > 1 else np.inf
        if not is_hard and gain < tol * n_steps:
            return EMHistory(np.array(objective), True)
        if update_transitions:
            model.graph = transitions.maximize(
                model.graph,
                expected.edge_counts,
                expected.start_counts,
                transition_prior,
            )
        model.emission.maximize(expected.statistics)
        if may_seed and expected.occupancy.min() < EMPTY_STATE_FRAMES:
            may_seed = False
            before_seeding = copy.deepcopy(model.emission)
            _seed_empty_states(model, frames, expected)
    return EMHistory(np.array(objective), False)


class _Expected(NamedTuple):
    """Result of an E-step."""

    log_likelihoods: np.ndarray
    edge_counts: np.ndarray
    start_counts: np.ndarray
    occupancy: np.ndarray  # (n_columns,): expected frames
    statistics: dict[str, Any]


def _accumulator(
    model: ChainModel, frames: Frames
) -> tuple[dict[str, Any], np.ndarray, Callable[[int, int, np.ndarray], None]]:
    """Return statistics, occupancies, and the function that adds posteriors to them."""
    statistics = model.emission.statistics()
    occupancy = np.zeros(model.emission.n_columns(model.columns))

    def visit(start: int, stop: int, posteriors: np.ndarray) -> None:
        occupancy[...] += posteriors.sum(axis=0)
        model.emission.accumulate(statistics, frames, start, posteriors, model.columns)

    return statistics, occupancy, visit


def _soft_expectation(
    model: ChainModel,
    frames: Frames,
    sample_weight: np.ndarray | None,
    n_jobs: int | None,
) -> _Expected:
    table = model.emission.log_density(frames, model.columns)
    statistics, occupancy, visit = _accumulator(model, frames)
    counts = expected_counts(
        model.graph,
        table,
        frames.offsets,
        visit,
        sample_weight=sample_weight,
        n_jobs=n_jobs,
    )
    refuse_impossible(counts.log_likelihoods, frames.offsets)
    return _Expected(
        counts.log_likelihoods,
        counts.edge_counts,
        counts.start_counts,
        occupancy,
        statistics,
    )


def _hard_expectation(
    model: ChainModel,
    frames: Frames,
    sample_weight: np.ndarray | None,
    n_jobs: int | None,
) -> _Expected:
    """Count along the likeliest paths."""
    graph = model.graph
    table = model.emission.log_density(frames, model.columns)
    states, scores = viterbi(graph, table, frames.offsets, n_jobs=n_jobs)
    refuse_impossible(scores, frames.offsets)
    lengths = np.diff(frames.offsets)
    weight = np.repeat(
        np.ones(len(lengths)) if sample_weight is None else sample_weight, lengths
    )
    statistics, occupancy, visit = _accumulator(model, frames)
    for start in range(0, len(states), CHUNK_STEPS):
        rows = slice(start, start + CHUNK_STEPS)
        columns = graph.emits[states[rows]]
        indicators = np.zeros((len(columns), table.shape[1]))
        indicators[np.arange(len(columns)), columns] = weight[rows]
        visit(start, start + len(columns), indicators)
    starts = frames.offsets[:-1]
    start_counts = np.bincount(states[starts], weight[starts], len(graph.emits))
    edge_counts = _counts_along_paths(graph, states, starts, weight)
    return _Expected(scores, edge_counts, start_counts, occupancy, statistics)


def _counts_along_paths(
    graph: ChainGraph, states: np.ndarray, starts: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Count the edges of paths; of several between two states, the heaviest."""
    n_states = len(graph.emits)
    pairs = graph.src.astype(np.int64) * n_states + destinations(graph)
    order = np.lexsort((-graph.log_weights, pairs))
    follows = np.ones(len(states), dtype=bool)
    follows[starts] = False
    at = np.flatnonzero(follows)
    used = states[at - 1].astype(np.int64) * n_states + states[at]
    edges = order[np.searchsorted(pairs[order], used)]
    return np.bincount(edges, weight[at], len(graph.src))


def _seed_empty_states(model: ChainModel, frames: Frames, expected: _Expected) -> None:
    """Give states without frames the frames that all states explain worst."""
    table = model.emission.log_density(frames, model.columns)
    empty = np.flatnonzero(expected.occupancy < EMPTY_STATE_FRAMES)
    n_columns = len(expected.occupancy)
    n_each = max(1, len(table) // (SEEDS_PER_STATE * n_columns))
    n_seeds = min(n_each * len(empty), len(table))
    worst = np.argpartition(table.max(axis=1), n_seeds - 1)[:n_seeds]
    worst.sort()  # neighbours in time go to one state
    for column, steps in zip(empty, np.array_split(worst, len(empty)), strict=True):
        for start in steps:
            indicator = np.zeros((1, n_columns))
            indicator[0, column] = 1
            model.emission.accumulate(
                expected.statistics, frames, int(start), indicator, model.columns
            )
    model.emission.maximize(expected.statistics)


def refuse_impossible(scores: np.ndarray, offsets: np.ndarray) -> None:
    """Raise an error if a sequence has no path through the graph.

    Parameters
    ----------
    scores : ndarray of shape (n_sequences,)
        Log-likelihoods, or scores of the likeliest paths.
    offsets : ndarray of int of shape (n_sequences + 1,)
        Borders of the sequences.

    Raises
    ------
    ValueError
        If a score is not finite.
    """
    impossible = np.flatnonzero(~np.isfinite(scores))
    if len(impossible):
        i = int(impossible[0])
        raise ValueError(
            f"no path of the model explains sample {i}, which has "
            f"{offsets[i + 1] - offsets[i]} clock steps: it is shorter or longer than "
            "the states allow, or has values that are impossible in all of them"
        )
