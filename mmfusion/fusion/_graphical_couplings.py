"""Fits of coupled chains: their structure, a start, EM, and their numbering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmfusion._numbers import is_integer
from mmfusion._options import by_modality
from mmfusion._typing import ByModality
from mmfusion.graphical import _couplings
from mmfusion.graphical._chain_model import (
    ChainModel,
    EMHistory,
    fit_chain_model,
    n_free_parameters,
    state_posteriors,
)
from mmfusion.graphical._clock import Frames, select_sequences
from mmfusion.graphical._coupling_starts import (
    EmissionMaker,
    set_start,
    start_states,
)
from mmfusion.graphical._couplings import Coupling
from mmfusion.graphical._emissions import KINDS
from mmfusion.graphical._factorial import FactorialGraph
from mmfusion.graphical._factorial_gaussian import FactorialGaussian
from mmfusion.graphical._gaussian import pooled_moments
from mmfusion.graphical._graph import ChainGraph, transition_matrix
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.graphical._transition_models import ChainTransitions

DEFAULT_STATES = 4  # of modalities that a dict of numbers lacks
DEFAULT_PRIVATE_STATES = 2
CELLS_AT_A_TIME = 2**22  # of posteriors of joint states: 32 MiB


class CouplingOptions(NamedTuple):
    """Options of chains and of the densities of their frames.

    Parameters
    ----------
    coupling : {'synchronous', 'product', 'coupled', 'factorial', 'hierarchical'}
        How modalities are coupled.
    names : sequence of str
        Names of the modalities.
    n_states : int or dict of str to int
        Number of states of a chain.
    n_units : int
        Number of units.
    n_private_states : int or dict of str to int
        Number of states of private chains.
    max_lag : int
        Largest difference of states of a product.
    modality_weights : dict of str to float
        Exponents.
    covariance_types : list of str
        Type of each modality.
    kinds : list
        Kind of the densities of each modality.
    make_emission : callable
        Given a number of states and names of modalities, returns their emission.
    """

    coupling: str
    names: Sequence[str]
    n_states: ByModality[int]
    n_units: int
    n_private_states: ByModality[int]
    max_lag: int
    modality_weights: dict[str, float]
    covariance_types: list[str]
    kinds: list[Any]
    make_emission: EmissionMaker


class FittedCoupling(NamedTuple):
    """A fitted model, its coupling, and the course of the fit."""

    model: ChainModel
    coupling: Coupling
    history: EMHistory


def fit_coupling(
    options: CouplingOptions,
    frames: Frames,
    seed: int,
    *,
    max_iter: int,
    tol: float,
    n_jobs: int | None,
) -> FittedCoupling:
    """Fit one model from one start.

    Parameters
    ----------
    options : CouplingOptions
        The chains and densities.
    frames : Frames
        Frames on the clock.
    seed : int
        Seed of the start.
    max_iter : int
        Largest number of iterations.
    tol : float
        Increase of the objective per step below which the fit ends.
    n_jobs : int or None
        Number of threads over sequences.

    Returns
    -------
    FittedCoupling
        The model, its states numbered by occupancy.
    """
    coupling = make_coupling(options)
    emission = _emission(options, coupling)
    emission.prepare(frames)
    columns = None if len(coupling.chains) == 1 else coupling.columns
    model = ChainModel(coupling.graph, emission, columns, coupling.transition_model)

    states = start_states(coupling, frames, options.make_emission, seed)
    set_start(model, coupling, frames, states)
    history = fit_chain_model(model, frames, max_iter=max_iter, tol=tol, n_jobs=n_jobs)
    _number_by_occupancy(model, coupling, frames, n_jobs)
    return FittedCoupling(model, coupling, history)


def make_coupling(options: CouplingOptions) -> Coupling:
    """Make the coupling of given options.

    Parameters
    ----------
    options : CouplingOptions
        The chains and densities.

    Returns
    -------
    Coupling
        The coupling, with initial transitions.

    Raises
    ------
    ValueError
        If numbers of states do not fit the coupling.
    """
    names = list(options.names)
    if options.coupling == "coupled":
        counts = by_modality(options.n_states, names, "n_states", DEFAULT_STATES)
        return _couplings.coupled_coupling(_counts_by_name(names, counts, "n_states"))
    if isinstance(options.n_states, Mapping):
        raise ValueError(
            f"n_states={options.n_states!r} is a dict, and coupling="
            f"{options.coupling!r} has no chain of each modality that it could be for; "
            "give a number, or use coupling='coupled'"
        )
    n_states = int(options.n_states)
    if options.coupling == "product":
        return _couplings.product_coupling(names, n_states, int(options.max_lag))
    if options.coupling == "factorial":
        counts = by_modality(
            options.n_private_states, names, "n_private_states", DEFAULT_PRIVATE_STATES
        )
        private = _counts_by_name(names, counts, "n_private_states")
        return _couplings.factorial_coupling(n_states, private)
    if options.coupling == "hierarchical":
        return _couplings.hierarchical_coupling(names, int(options.n_units), n_states)
    return _couplings.synchronous_coupling(names, n_states)


def _counts_by_name(
    names: Sequence[str], counts: Sequence[Any], parameter: str
) -> dict[str, int]:
    for name, count in zip(names, counts, strict=True):
        if not is_integer(count) or count < 1:
            raise ValueError(
                f"{parameter}[{name!r}] is {count!r}; give a number of at least 1"
            )
    return dict(zip(names, map(int, counts), strict=True))


def _emission(options: CouplingOptions, coupling: Coupling) -> MultimodalEmission:
    """Make the emission of all modalities with their numbers of columns."""
    names = list(options.names)
    for name, kind in zip(names, options.kinds, strict=True):
        if not isinstance(kind, str):
            raise ValueError(
                f"emission of modality {name!r} is {kind!r}; give one of {KINDS}: own "
                "objects have one start and one number of states"
            )
    made = {
        name: options.make_emission(coupling.n_columns(name), [name]).emissions[name]
        for name in names
    }
    if options.coupling == "factorial":
        made = {
            name: _factorial_gaussian(name, kind, covariance_type, coupling)
            for name, kind, covariance_type in zip(
                names, options.kinds, options.covariance_types, strict=True
            )
        }
    outliers = options.make_emission(1, names).outliers
    return MultimodalEmission(made, options.modality_weights, outliers)


def _factorial_gaussian(
    name: str, kind: object, covariance_type: str, coupling: Coupling
) -> FactorialGaussian:
    if kind != "gaussian" or covariance_type == "spherical":
        raise ValueError(
            f"coupling='factorial' is of Gaussian modalities with one covariance, and "
            f"modality {name!r} has emission={kind!r} and covariance_type="
            f"{covariance_type!r}; give 'gaussian', and 'diag' or 'full'"
        )
    own = [coupling.chains["shared"]]
    own += [coupling.chains[name]] if name in coupling.chains else []
    return FactorialGaussian(tuple(own), is_diagonal=covariance_type == "diag")


def _number_by_occupancy(
    model: ChainModel, coupling: Coupling, frames: Frames, n_jobs: int | None
) -> None:
    """Renumber the states of every chain, in place: the most frequent first."""
    occupancy = np.zeros(len(coupling.states))
    for batch in batches(frames, len(coupling.states)):
        found = state_posteriors(model, select_sequences(frames, batch), n_jobs)
        assert found.posteriors is not None
        occupancy += found.posteriors.sum(axis=0)
    order = _couplings.occupancy_order(coupling, occupancy)
    if order is None:
        return
    model.graph = _couplings.reordered_graph(model.graph, order)
    for name, emission in model.emission.emissions.items():
        emission.reorder(_couplings.column_order(coupling.columns[name], order))


def batches(frames: Frames, n_columns: int) -> list[np.ndarray]:
    """Divide sequences into batches whose posteriors are in memory at once.

    Parameters
    ----------
    frames : Frames
        Frames on the clock.
    n_columns : int
        Number of posteriors at a step.

    Returns
    -------
    list of ndarray of int
        Positions of the sequences of each batch.
    """
    n_steps = max(1, CELLS_AT_A_TIME // n_columns)
    number = np.cumsum(np.diff(frames.offsets)) // n_steps
    return [np.flatnonzero(number == one) for one in np.unique(number)]


def order_of_samples(frames: Frames) -> np.ndarray:
    """Order sequences by their values, whatever their order and that of modalities.

    Starts are drawn from frames in order, so that without it permuted samples could
    lead to another optimum.

    Parameters
    ----------
    frames : Frames
        Frames on the clock.

    Returns
    -------
    ndarray of int of shape (n_sequences,)
        Positions of the sequences.
    """
    total = np.zeros(len(frames.offsets) - 1)
    for values, steps, _ in frames.modalities.values():
        at = np.arange(frames.n_steps) if steps is None else steps
        own = np.searchsorted(frames.offsets, at, side="right") - 1
        center, scale, _ = pooled_moments(values)
        standardised = np.nan_to_num((values - center) / scale)
        # weights distinguish sequences of the same frames in another order
        weights = np.sqrt(at - frames.offsets[own] + 1.0)
        terms = standardised.sum(axis=1) * weights
        total += np.bincount(own, terms, minlength=len(total))
    return np.lexsort((total, np.diff(frames.offsets)))


def chain_transitions(coupling: Coupling, graph: ChainGraph) -> dict[str, np.ndarray]:
    """Return the transition probabilities of the chains that have their own.

    Parameters
    ----------
    coupling : Coupling
        The coupling.
    graph : ChainGraph
        Its graph, with learned weights.

    Returns
    -------
    dict of str to ndarray
        By chain, of shape (n_states_1, ..., n_states_M, n_states_m) if chains depend on
        all, else (n_states_m, n_states_m); empty if joint states have weights of their
        own.
    """
    step = coupling.transition_model
    if isinstance(graph, FactorialGraph):
        return dict(zip(coupling.chains, graph.transitions, strict=True))
    if len(coupling.chains) == 1:
        return dict.fromkeys(coupling.chains, transition_matrix(graph))
    if not isinstance(step, ChainTransitions):
        return {}
    n_chains = len(step.shape)
    joint = transition_matrix(graph).reshape(step.shape + step.shape)
    tables = {}
    for m, name in enumerate(coupling.chains):
        others = tuple(c for c in range(n_chains) if c != m)
        table = joint.sum(axis=tuple(n_chains + c for c in others))
        # the same whatever the others, of chains that do not depend on them
        tables[name] = table if step.is_coupled else table.mean(axis=others)
    return tables


def n_parameters(model: ChainModel, coupling: Coupling) -> int:
    """Count the free parameters of a model.

    Parameters
    ----------
    model : ChainModel
        The model.
    coupling : Coupling
        Its coupling.

    Returns
    -------
    int
        Parameters of emissions and transitions.
    """
    if coupling.transition_model is None:
        return n_free_parameters(model)
    return model.emission.n_parameters + coupling.transition_model.n_parameters
