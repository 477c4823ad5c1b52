"""Expectation-maximisation of chain models, by posterior modes (MAP)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import singledispatch
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from mmfusion._progress import OnStep, go_on
from mmfusion._warnings import warn_user
from mmfusion.graphical._clock import Frames
from mmfusion.graphical._graph import ChainGraph, destinations
from mmfusion.graphical._inference import expected_counts, viterbi
from mmfusion.graphical._multimodal_emission import Inliers
from mmfusion.graphical._standardized import KEPT_CELLS
from mmfusion.graphical._tied_transitions import TiedTransitions, TransitionModel

if TYPE_CHECKING:
    from mmfusion.graphical._chain_model import ChainModel
    from mmfusion.graphical._emissions import Emission

EMPTY_STATE_FRAMES = 1e-3  # expected frames below which a state is seeded anew
SEED_SHARE = 0.25  # of the frames per state, which a state seeded anew gets


class EMHistory(NamedTuple):
    """Course of a fit: the penalised objective of each iteration, and whether it ended.

    ``objective[i]`` is that of the parameters before M-step i, so that
    ``objective[0]`` is that of the initial parameters. If `converged`, the last one is
    that of the final parameters.
    """

    objective: np.ndarray
    converged: bool


def warn_of_unfinished(
    converged: Mapping[str, bool], max_iter: int, tol: float
) -> None:
    """Warn of the first of several fits that has not converged, named by its key."""
    unfinished = [name for name, has_ended in converged.items() if not has_ended]
    if unfinished:
        warn_user(
            f"after max_iter={max_iter} iterations the objective of "
            f"{unfinished[0]!r} still increases by more than tol={tol} per frame; "
            "raise max_iter or tol",
            ConvergenceWarning,
        )


@singledispatch
def fit_chain_model(
    model: ChainModel,
    frames: Frames,
    *,
    max_iter: int = 100,
    tol: float = 1e-4,
    transition_prior: float = 0.1,
    sample_weight: np.ndarray | None = None,
    n_jobs: int | None = None,
    on_step: OnStep = go_on,
    hard_iterations: int = 0,
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
    on_step : callable, default=go_on
        Function of the objective, called in each iteration; True stops.
    hard_iterations : int, default=0
        Number of first iterations that use the likeliest path alone.

    Returns
    -------
    EMHistory
        The objective by iteration, and whether the fit converged.

    Raises
    ------
    ValueError
        If no path through the graph is as long as a sequence.
    """
    weight = (
        np.ones(len(frames.offsets) - 1) if sample_weight is None else sample_weight
    )
    fit = _Fit(model, frames, weight, transition_prior, n_jobs)
    least_gain = tol * float(weight @ np.diff(frames.offsets))
    objective: list[float] = []
    without_seeds: _Parameters | None = None
    may_seed = True
    while len(objective) < max_iter:
        is_hard = len(objective) < hard_iterations
        expected = fit.expect_path() if is_hard else fit.expect()
        value = fit.objective(expected)
        if without_seeds is not None and value < objective[-1]:
            without_seeds.restore(model)
            without_seeds = None
            continue
        without_seeds = None
        objective.append(value)
        stops = on_step(value)
        gain = value - objective[-2] if len(objective) > 1 else np.inf
        if not is_hard and gain < least_gain:
            return EMHistory(np.array(objective), True)
        if stops:
            break
        fit.maximize(expected)
        has_empty_states = expected.occupancy.min() < EMPTY_STATE_FRAMES
        # not in the last iteration: none would follow to find whether seeds are worse
        if may_seed and has_empty_states and len(objective) < max_iter:
            may_seed = False
            without_seeds = _Parameters.of(model)
            fit.seed_empty_states(expected)
    return EMHistory(np.array(objective), False)


def refuse_impossible_sequences(
    scores: np.ndarray, weight: np.ndarray, frames: Frames
) -> None:
    """Raise an error if a sequence that counts has no path through the graph.

    Parameters
    ----------
    scores : ndarray of shape (n_sequences,)
        Log-likelihoods.
    weight : ndarray of shape (n_sequences,)
        Weights of the sequences.
    frames : Frames
        Frames on the clock.

    Raises
    ------
    ValueError
        If there is one.
    """
    impossible = np.flatnonzero((weight > 0) & ~np.isfinite(scores))
    if not len(impossible):
        return
    i = int(impossible[0])
    n_steps = int(np.diff(frames.offsets)[i])
    raise ValueError(
        f"no path of the model explains sample {i}, which has {n_steps} clock "
        "steps: it is shorter or longer than the states allow, or has values that "
        "are impossible in all of them"
    )


class _Parameters(NamedTuple):
    """Parameters of a model, to return to them."""

    emissions: dict[str, Emission]
    graph: ChainGraph
    transition_model: TransitionModel | None

    @classmethod
    def of(cls, model: ChainModel) -> _Parameters:
        return cls(
            copy.deepcopy(model.emission.emissions),
            model.graph,
            copy.deepcopy(model.transition_model),
        )

    def restore(self, model: ChainModel) -> None:
        model.emission.emissions = self.emissions
        model.graph = self.graph
        model.transition_model = self.transition_model


class _Expected(NamedTuple):
    """Result of an E-step."""

    log_likelihoods: np.ndarray
    edge_counts: np.ndarray
    start_counts: np.ndarray
    occupancy: np.ndarray  # (n_columns,): expected frames
    statistics: dict[str, Any]


class _Fit:
    """E-steps and M-steps of one model on given frames.

    Parameters
    ----------
    model : ChainModel
        The model.
    frames : Frames
        Frames on the clock.
    weight : ndarray of shape (n_sequences,)
        Weights of the sequences.
    transition_prior : float
        Count added to each transition parameter.
    n_jobs : int or None
        Number of threads.
    """

    def __init__(
        self,
        model: ChainModel,
        frames: Frames,
        weight: np.ndarray,
        transition_prior: float,
        n_jobs: int | None,
    ) -> None:
        self._model = model
        self._frames = model.emission.standardized(frames)
        self._weight = weight
        self._prior = transition_prior
        self._n_jobs = n_jobs
        self._table: np.ndarray | None = None
        n_columns = model.emission.n_columns(model.columns)
        n_frames = sum(own.values.shape[0] for own in frames.modalities.values())
        is_small = n_frames * n_columns <= KEPT_CELLS
        self._inliers: Inliers | None = {} if is_small else None

    def _log_densities(self) -> np.ndarray:
        """Compute the emission table, in the memory of the one before."""
        emission, columns = self._model.emission, self._model.columns
        self._table = emission.log_density(
            self._frames, columns, self._table, self._inliers
        )
        return self._table

    @property
    def _transitions(self) -> TransitionModel:
        return self._model.transition_model or TiedTransitions()

    def objective(self, expected: _Expected) -> float:
        """Return the log-likelihood and the log prior of the present parameters."""
        weighted = self._weight > 0
        value = self._weight[weighted] @ expected.log_likelihoods[weighted]
        value += self._model.emission.log_prior()
        value += self._transitions.log_prior(self._model.graph, self._prior)
        return float(value)

    def expect(self) -> _Expected:
        """Sum over all paths."""
        model, frames = self._model, self._frames
        table = self._log_densities()
        statistics = model.emission.statistics()
        occupancy = np.zeros(table.shape[1])

        def visit(start: int, stop: int, posteriors: np.ndarray) -> None:
            occupancy[...] += np.ones(stop - start) @ posteriors
            model.emission.accumulate(
                statistics, frames, start, posteriors, model.columns, self._inliers
            )

        counts = expected_counts(
            model.graph,
            table,
            frames.offsets,
            visit,
            sample_weight=self._weight,
            n_jobs=self._n_jobs,
        )
        refuse_impossible_sequences(counts.log_likelihoods, self._weight, self._frames)
        return _Expected(
            counts.log_likelihoods,
            counts.edge_counts,
            counts.start_counts,
            occupancy,
            statistics,
        )

    def expect_path(self) -> _Expected:
        """Count along the likeliest paths alone."""
        model, frames = self._model, self._frames
        graph = model.graph
        table = self._log_densities()
        n_columns = table.shape[1]
        states, scores = viterbi(graph, table, frames.offsets, n_jobs=self._n_jobs)
        refuse_impossible_sequences(scores, self._weight, frames)
        states = np.maximum(states, 0)  # -1 in impossible sequences of weight 0
        weight = np.repeat(self._weight, np.diff(frames.offsets))
        columns = graph.emits[states]
        statistics = model.emission.statistics()
        model.emission.accumulate_assigned(
            statistics, frames, columns, weight, model.columns, self._inliers
        )
        starts = frames.offsets[:-1]
        return _Expected(
            scores,
            _counts_along_paths(graph, states, starts, weight),
            np.bincount(states[starts], weight[starts], len(graph.emits)),
            np.bincount(columns, weight, n_columns),
            statistics,
        )

    def maximize(self, expected: _Expected, additional_prior: float = 0.0) -> None:
        """Set the parameters to the posterior mode given expected counts."""
        model = self._model
        model.graph = self._transitions.maximize(
            model.graph,
            expected.edge_counts,
            expected.start_counts,
            self._prior + additional_prior,
        )
        model.emission.maximize(expected.statistics)

    def seed_empty_states(self, expected: _Expected) -> None:
        """Give states without frames those that all states explain worst.

        Transitions get a larger prior this time, so that paths reach these states.
        """
        model, frames = self._model, self._frames
        table = self._log_densities()
        empty = np.flatnonzero(expected.occupancy < EMPTY_STATE_FRAMES)
        n_columns = len(expected.occupancy)
        n_each = max(1, int(SEED_SHARE * len(table) / n_columns))
        n_seeds = min(n_each * len(empty), len(table))
        best = table.max(axis=1)
        best[np.repeat(self._weight == 0, np.diff(frames.offsets))] = np.inf
        worst = np.argpartition(best, n_seeds - 1)[:n_seeds]
        worst.sort()  # neighbours in time go to one state
        assigned = np.full(len(table), -1)
        for column, steps in zip(empty, np.array_split(worst, len(empty)), strict=True):
            assigned[steps] = column
        model.emission.accumulate_assigned(
            expected.statistics,
            frames,
            assigned,
            np.ones(len(table)),
            model.columns,
            self._inliers,
        )
        edge_counts = expected.edge_counts
        of_edges = float(edge_counts.sum()) / max(1, len(edge_counts))
        self.maximize(expected, additional_prior=SEED_SHARE * of_edges)


def _counts_along_paths(
    graph: ChainGraph, states: np.ndarray, starts: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Count the edges of paths; of several between two states, the heaviest."""
    n_states = len(graph.emits)
    pairs = graph.src.astype(np.int64) * n_states + destinations(graph)
    order = np.lexsort((-graph.log_weights, pairs))
    follows = np.ones(len(states), dtype=bool)
    follows[starts] = False
    at = np.flatnonzero(follows & (weight > 0))
    used = states[at - 1].astype(np.int64) * n_states + states[at]
    edges = order[np.searchsorted(pairs[order], used)]
    return np.bincount(edges, weight[at], len(graph.src))
