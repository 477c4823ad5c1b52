"""Structured mean field: a shared chain and private ones that are approximated apart.

The posterior of all chains together is approximated by a product of chains,

``q(s) = prod_m q_m(s_1, ..., s_T of chain m)``,

each with an emission score of its own (Ghahramani & Jordan 1997, section 3.4):

``log B_shared(t, k) = sum_v sum_j q_v(t, j) log b_v(x_vt | k, j)`` and
``log B_v(t, j) = sum_k q_shared(t, k) log b_v(x_vt | k, j)``.

Each update maximises a lower bound of the log-likelihood, which no sweep decreases. The
cost is that of the pairs of states by which modalities are emitted, not that of the
combinations of all chains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from mmfusion._progress import OnStep, go_on
from mmfusion.graphical._clock import Frames
from mmfusion.graphical._couplings import reordered_graph
from mmfusion.graphical._em import EMHistory
from mmfusion.graphical._graph import ChainGraph
from mmfusion.graphical._inference import ChainPosteriors, forward_backward
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.graphical._tied_transitions import TiedTransitions

MEAN_FIELD_SWEEPS = 30
SWEEP_GAIN = 1e-6  # of the bound per step of the clock, below which sweeps end
CHUNK_STEPS = 2000

Beliefs = dict[str, np.ndarray]  # posteriors of each chain, (n_steps, n_states)


@dataclass
class MeanFieldModel:
    """A chain that all modalities share, and private ones.

    Parameters
    ----------
    graphs : dict of str to ChainGraph
        Each chain by name, the shared one first.
    emission : MultimodalEmission
        Densities of each modality by pairs of a state of the shared chain (varying
        slowest) with one of its own, if it has a chain.
    """

    graphs: dict[str, ChainGraph]
    emission: MultimodalEmission

    @property
    def shared(self) -> str:
        """Name of the shared chain."""
        return next(iter(self.graphs))

    def n_states(self, chain: str) -> int:
        """Return the number of states of a chain; 1 if there is none.

        Parameters
        ----------
        chain : str
            Name of the chain.

        Returns
        -------
        int
            The number.
        """
        return len(self.graphs[chain].emits) if chain in self.graphs else 1

    def reorder(self, orders: dict[str, np.ndarray]) -> None:
        """Number the states of all chains anew, in place.

        Parameters
        ----------
        orders : dict of str to ndarray of int of shape (n_states,)
            Former number of each state of a chain.
        """
        for chain, order in orders.items():
            self.graphs[chain] = reordered_graph(self.graphs[chain], order)
        shared = orders[self.shared]
        for name, emission in self.emission.emissions.items():
            own = orders.get(name, np.zeros(1, dtype=np.int64))
            emission.reorder((shared[:, None] * len(own) + own).ravel())

    def of_modality(self, name: str) -> MultimodalEmission:
        """Return the emission of one modality, with its weight.

        Parameters
        ----------
        name : str
            Name of the modality.

        Returns
        -------
        MultimodalEmission
            The emission.
        """
        return self.emission.of(name)


class Expectation(NamedTuple):
    """Result of an approximate E-step.

    Parameters
    ----------
    bounds : ndarray of shape (n_sequences,)
        Lower bound of the log-likelihood of each sequence.
    beliefs : dict of str to ndarray of shape (n_steps, n_states)
        Posteriors of each chain.
    scores : dict of str to ndarray of shape (n_steps, n_states)
        Emission scores of each chain.
    chains : dict of str to ChainPosteriors
        Expected counts of each chain.
    """

    bounds: np.ndarray
    beliefs: Beliefs
    scores: Beliefs
    chains: dict[str, ChainPosteriors]


def approximate(
    model: MeanFieldModel,
    frames: Frames,
    beliefs: Beliefs | None = None,
    *,
    n_jobs: int | None = None,
) -> Expectation:
    """Compute the posteriors of all chains by sweeps over them.

    Parameters
    ----------
    model : MeanFieldModel
        The model.
    frames : Frames
        Frames on the clock.
    beliefs : dict of str to ndarray of shape (n_steps, n_states), default=None
        Posteriors to start from. By default, the shared chain starts from private
        states that are equally probable.
    n_jobs : int, default=None
        Number of threads over sequences.

    Returns
    -------
    Expectation
        Bounds, posteriors and counts.
    """
    tables = _pair_tables(model, frames)
    beliefs = {} if beliefs is None else dict(beliefs)
    scores: Beliefs = {}
    chains: dict[str, ChainPosteriors] = {}
    total = -np.inf
    for _ in range(MEAN_FIELD_SWEEPS):
        for chain, graph in model.graphs.items():
            scores[chain] = _chain_scores(model, tables, chain, beliefs, frames.n_steps)
            found = forward_backward(
                graph, scores[chain], frames.offsets, n_jobs=n_jobs
            )
            assert found.posteriors is not None
            chains[chain], beliefs[chain] = found, found.posteriors
        bounds = _bounds(model, tables, scores, chains, beliefs, frames.offsets)
        gain, total = bounds.sum() - total, bounds.sum()
        if gain < SWEEP_GAIN * frames.n_steps:
            break
    return Expectation(bounds, beliefs, scores, chains)


def _pair_tables(model: MeanFieldModel, frames: Frames) -> dict[str, np.ndarray]:
    """Return log densities by modality, (n_steps, shared states, private states)."""
    n_shared = model.n_states(model.shared)
    return {
        name: model.of_modality(name)
        .log_density(frames)
        .reshape(frames.n_steps, n_shared, -1)
        for name in model.emission.emissions
    }


def _chain_scores(
    model: MeanFieldModel,
    tables: dict[str, np.ndarray],
    chain: str,
    beliefs: Beliefs,
    n_steps: int,
) -> np.ndarray:
    """Average log densities over the posteriors of the other chains."""
    if chain != model.shared:
        return np.einsum("tkj,tk->tj", tables[chain], beliefs[model.shared])
    scores = np.zeros((n_steps, model.n_states(chain)))
    for name, table in tables.items():
        if name in beliefs:
            scores += np.einsum("tkj,tj->tk", table, beliefs[name])
        else:  # a first sweep, or a modality without a chain of its own
            scores += logsumexp(table, axis=2) - np.log(table.shape[2])
    return scores


def _bounds(
    model: MeanFieldModel,
    tables: dict[str, np.ndarray],
    scores: Beliefs,
    chains: dict[str, ChainPosteriors],
    beliefs: Beliefs,
    offsets: np.ndarray,
) -> np.ndarray:
    """Compute the lower bound of each sequence.

    The expected log density of the states with their entropy is, for each chain, its
    log-likelihood under its scores without the expectation of these.
    """
    by_step = np.zeros(int(offsets[-1]))
    for name, table in tables.items():
        averaged = np.einsum("tkj,tk->tj", table, beliefs[model.shared])
        own = beliefs.get(name)
        by_step += averaged[:, 0] if own is None else (averaged * own).sum(axis=1)
    for chain, score in scores.items():
        by_step -= (score * beliefs[chain]).sum(axis=1)
    sums = np.concatenate([[0.0], np.cumsum(by_step)])
    bounds = sums[offsets[1:]] - sums[offsets[:-1]]
    return bounds + sum(found.log_likelihoods for found in chains.values())


def emission_posteriors(
    model: MeanFieldModel, beliefs: Beliefs, name: str
) -> np.ndarray:
    """Return the posteriors of the pairs of states that emit a modality.

    Parameters
    ----------
    model : MeanFieldModel
        The model.
    beliefs : dict of str to ndarray of shape (n_steps, n_states)
        Posteriors of each chain.
    name : str
        Name of the modality.

    Returns
    -------
    ndarray of shape (n_steps, n_pairs)
        Products of the posteriors of both chains.
    """
    shared = beliefs[model.shared]
    if name not in beliefs:
        return shared
    return (shared[:, :, None] * beliefs[name][:, None, :]).reshape(len(shared), -1)


def fit_mean_field(
    model: MeanFieldModel,
    frames: Frames,
    *,
    max_iter: int,
    tol: float,
    transition_prior: float = 0.1,
    n_jobs: int | None = None,
    on_step: OnStep = go_on,
) -> EMHistory:
    """Fit a model by variational expectation-maximisation.

    Maximises the lower bound with the log prior, which no iteration decreases.

    Parameters
    ----------
    model : MeanFieldModel
        The model with its initial parameters, which are changed.
    frames : Frames
        Frames on the clock.
    max_iter : int
        Largest number of iterations.
    tol : float
        Increase of the objective, per clock step, below which the fit ends.
    transition_prior : float, default=0.1
        Count added to each transition.
    n_jobs : int, default=None
        Number of threads over sequences.
    on_step : callable, default=go_on
        Function of the objective, called in each iteration; True stops.

    Returns
    -------
    EMHistory
        The objective by iteration, and whether the fit converged.
    """
    transitions = TiedTransitions()
    objective: list[float] = []
    beliefs: Beliefs | None = None
    while len(objective) < max_iter:
        expected = approximate(model, frames, beliefs, n_jobs=n_jobs)
        beliefs = expected.beliefs
        value = float(expected.bounds.sum()) + model.emission.log_prior()
        value += sum(
            transitions.log_prior(graph, transition_prior)
            for graph in model.graphs.values()
        )
        objective.append(value)
        stops = on_step(value)
        if len(objective) > 1 and value - objective[-2] < tol * frames.n_steps:
            return EMHistory(np.array(objective), True)
        if stops:
            break
        for chain, found in expected.chains.items():
            model.graphs[chain] = transitions.maximize(
                model.graphs[chain],
                found.edge_counts,
                found.start_counts,
                transition_prior,
            )
        _maximize_emission(model, frames, beliefs)
    return EMHistory(np.array(objective), False)


def _maximize_emission(model: MeanFieldModel, frames: Frames, beliefs: Beliefs) -> None:
    for name in model.emission.emissions:
        own = model.of_modality(name)
        statistics = own.statistics()
        for start in range(0, frames.n_steps, CHUNK_STEPS):
            chunk = {
                chain: belief[start : start + CHUNK_STEPS]
                for chain, belief in beliefs.items()
            }
            own.accumulate(
                statistics, frames, start, emission_posteriors(model, chunk, name)
            )
        own.maximize(statistics)
