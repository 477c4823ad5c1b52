"""Fits of coupled chains: their structure, a start, EM, and their numbering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple, cast

import numpy as np

from mmfusion._numbers import is_integer
from mmfusion._options import by_modality
from mmfusion._progress import OnStep, go_on
from mmfusion._typing import ByModality
from mmfusion.fusion._graphical_fits import ExactChains, MeanFieldChains
from mmfusion.graphical import _couplings
from mmfusion.graphical._chain_model import (
    ChainModel,
    EMHistory,
    fit_chain_model,
    state_posteriors,
)
from mmfusion.graphical._clock import Frames, select_sequences
from mmfusion.graphical._coupling_starts import (
    EmissionMaker,
    set_mean_field_start,
    set_start,
    start_states,
)
from mmfusion.graphical._couplings import Coupling, synchronous_graph
from mmfusion.graphical._emissions import KINDS, Emission
from mmfusion.graphical._factorial_gaussian import FactorialGaussian
from mmfusion.graphical._gaussian import pooled_moments
from mmfusion.graphical._mean_field import (
    MeanFieldModel,
    approximate,
    fit_mean_field,
)
from mmfusion.graphical._multimodal_emission import MultimodalEmission

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
    """Fitted chains, and the course of the fit."""

    chains: ExactChains | MeanFieldChains
    history: EMHistory


def fit_coupling(
    options: CouplingOptions,
    frames: Frames,
    seed: int,
    *,
    max_iter: int,
    tol: float,
    n_jobs: int | None,
    on_step: OnStep = go_on,
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
    on_step : callable, default=go_on
        Function of the objective, called in each iteration; True stops.

    Returns
    -------
    FittedCoupling
        The model, its states numbered by occupancy.
    """
    if options.coupling == "factorial":
        chains = _factorial_chains(options)
        if prod(chains.values()) > _couplings.LARGEST_FACTORIAL_STATES:
            return _fit_mean_field(
                options, chains, frames, seed, max_iter, tol, n_jobs, on_step
            )
    coupling = make_coupling(options)
    emission = _emission(options, {n: coupling.n_columns(n) for n in options.names})
    emission.prepare(frames)
    columns = None if len(coupling.chains) == 1 else coupling.columns
    model = ChainModel(coupling.graph, emission, columns, coupling.transition_model)
    states = start_states(coupling, frames, options.make_emission, seed)
    set_start(model, coupling, frames, states)
    history = fit_chain_model(
        model, frames, max_iter=max_iter, tol=tol, n_jobs=n_jobs, on_step=on_step
    )
    _number_by_occupancy(model, coupling, frames, n_jobs)
    return FittedCoupling(ExactChains(model, coupling), history)


def _fit_mean_field(
    options: CouplingOptions,
    chains: dict[str, int],
    frames: Frames,
    seed: int,
    max_iter: int,
    tol: float,
    n_jobs: int | None,
    on_step: OnStep,
) -> FittedCoupling:
    """Fit chains whose joint states are too many to be listed."""
    n_columns = {name: chains["shared"] * chains.get(name, 1) for name in options.names}
    emission = _emission(options, n_columns)
    emission.prepare(frames)
    model = MeanFieldModel(
        {name: synchronous_graph(k) for name, k in chains.items()}, emission
    )
    set_mean_field_start(model, frames, seed)
    history = fit_mean_field(
        model, frames, max_iter=max_iter, tol=tol, n_jobs=n_jobs, on_step=on_step
    )
    occupancy = dict.fromkeys(chains, np.zeros(1))
    for batch in batches(frames, sum(n_columns.values())):
        own = approximate(model, select_sequences(frames, batch), n_jobs=n_jobs)
        for name, belief in own.beliefs.items():
            occupancy[name] = occupancy[name] + belief.sum(axis=0)
    orders = {
        name: np.argsort(-frames_in, kind="stable")
        for name, frames_in in occupancy.items()
    }
    model.reorder(orders)
    return FittedCoupling(MeanFieldChains(model), history)


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
        return _couplings.factorial_coupling(n_states, _private_states(options))
    if options.coupling == "hierarchical":
        return _couplings.hierarchical_coupling(names, int(options.n_units), n_states)
    return _couplings.synchronous_coupling(names, n_states)


def _private_states(options: CouplingOptions) -> dict[str, int]:
    names = list(options.names)
    counts = by_modality(
        options.n_private_states, names, "n_private_states", DEFAULT_PRIVATE_STATES
    )
    return _counts_by_name(names, counts, "n_private_states")


def _factorial_chains(options: CouplingOptions) -> dict[str, int]:
    """Return the number of states of each chain, if the options allow it."""
    if isinstance(options.n_states, Mapping):
        return {}
    private = {name: k for name, k in _private_states(options).items() if k > 1}
    return {"shared": int(options.n_states)} | private


def _counts_by_name(
    names: Sequence[str], counts: Sequence[Any], parameter: str
) -> dict[str, int]:
    for name, count in zip(names, counts, strict=True):
        if not is_integer(count) or count < 1:
            raise ValueError(
                f"{parameter}[{name!r}] is {count!r}; give a number of at least 1"
            )
    return dict(zip(names, map(int, counts), strict=True))


def _emission(
    options: CouplingOptions, n_columns: Mapping[str, int]
) -> MultimodalEmission:
    """Make the emission of all modalities with their numbers of columns."""
    names = list(options.names)
    for name, kind in zip(names, options.kinds, strict=True):
        if not isinstance(kind, str):
            raise ValueError(
                f"emission of modality {name!r} is {kind!r}; give one of {KINDS}: own "
                "objects have one start and one number of states"
            )
    made: dict[str, Emission] = {}
    for name, kind, covariance_type in zip(
        names, options.kinds, options.covariance_types, strict=True
    ):
        n_states = n_columns[name]
        if options.coupling != "factorial":
            made[name] = options.make_emission(n_states, [name]).emissions[name]
            continue
        if kind != "gaussian" or covariance_type == "spherical":
            raise ValueError(
                f"coupling='factorial' is of Gaussian modalities with one covariance, "
                f"and modality {name!r} has emission={kind!r} and covariance_type="
                f"{covariance_type!r}; give 'gaussian', and 'diag' or 'full'"
            )
        n_shared = int(cast("int", options.n_states))
        shape = (n_shared, n_states // n_shared)
        is_diagonal = covariance_type == "diag"
        made[name] = FactorialGaussian(
            shape if shape[1] > 1 else shape[:1], is_diagonal=is_diagonal
        )
    outliers = options.make_emission(1, names).outliers
    return MultimodalEmission(made, options.modality_weights, outliers)


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
