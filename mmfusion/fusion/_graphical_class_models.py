"""Models of the classes: their start, their fit, and the couplings of modalities."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed

from mmfusion.fusion._graphical_chains import chain_graph
from mmfusion.graphical._chain_model import ChainModel, EMHistory, fit_chain_model
from mmfusion.graphical._clock import Frames, select_sequences
from mmfusion.graphical._couplings import product_coupling
from mmfusion.graphical._initialization import (
    equal_segments,
    initialize_emission,
    kmeans_states,
)
from mmfusion.graphical._multimodal_emission import MultimodalEmission

COUPLINGS = ("synchronous", "product")


class ChainDesign(NamedTuple):
    """The unfitted chain of every class.

    Parameters
    ----------
    model : ChainModel
        Its graph, and densities of the pooled frames in every state.
    chains : dict of str to ndarray of int of shape (n_joint_states,)
        State of each chain, by name, in each state of the graph.
    is_ordered : bool
        Whether states follow one another from left to right.
    """

    model: ChainModel
    chains: dict[str, np.ndarray]
    is_ordered: bool


def design_chain(
    coupling: str,
    names: Sequence[str],
    n_states: int,
    topology: str,
    max_lag: int,
    emission: MultimodalEmission,
) -> ChainDesign:
    """Make the chain of a class, before it is fitted.

    Parameters
    ----------
    coupling : {'synchronous', 'product'}
        How the modalities share the chain; see `HMMClassifier`.
    names : sequence of str
        Names of the modalities.
    n_states : int
        Number of states of each chain.
    topology : {'left-to-right', 'ergodic'}
        Order of the states of 'synchronous'.
    max_lag : int
        Largest difference of the states of 'product'.
    emission : MultimodalEmission
        Densities of the pooled frames, of `n_states` states of each modality.

    Returns
    -------
    ChainDesign
        The chain.

    Raises
    ------
    ValueError
        If 'product' does not have two modalities, or its states no order.
    """
    if coupling == "synchronous":
        model = ChainModel(chain_graph(n_states, topology), emission)
        own = np.arange(n_states, dtype=np.int32)
        return ChainDesign(model, {"state": own}, topology == "left-to-right")
    if topology == "ergodic":
        raise ValueError(
            "coupling='product' is of states from left to right; leave topology at its "
            "default, or set coupling='synchronous'"
        )
    product = product_coupling(names, n_states, max_lag)
    graph = product.graph._replace(log_end=np.zeros_like(product.graph.log_end))
    return ChainDesign(
        ChainModel(graph, emission, product.columns), dict(product.columns), True
    )


def fit_class_models(
    design: ChainDesign,
    frames: Frames,
    codes: np.ndarray,
    weight: np.ndarray,
    *,
    max_iter: int,
    tol: float,
    seed: int,
    n_jobs: int | None = None,
) -> tuple[list[ChainModel], list[EMHistory]]:
    """Fit the chain of each class to its samples, in threads.

    Parameters
    ----------
    design : ChainDesign
        The chain of every class.
    frames : Frames
        Frames of all samples.
    codes : ndarray of int of shape (n_samples,)
        Class of each sample; each has one.
    weight : ndarray of shape (n_samples,)
        Weights of the samples.
    max_iter : int
        Largest number of iterations.
    tol : float
        Increase of the objective, per frame, below which a fit ends.
    seed : int
        Seed of k-means, by which ergodic chains start.
    n_jobs : int, default=None
        Number of threads.

    Returns
    -------
    models : list of ChainModel
        The fitted chain of each class.
    histories : list of EMHistory
        The course of each fit.
    """

    def fit_class(code: int) -> tuple[ChainModel, EMHistory]:
        rows = np.flatnonzero(codes == code)
        own, of_rows = select_sequences(frames, rows), weight[rows]
        model = copy.deepcopy(design.model)
        columns = model.columns
        states = _first_states(design, own, seed)
        initialize_emission(
            model.emission, own, states, sample_weight=of_rows, columns=columns
        )
        history = fit_chain_model(
            model, own, max_iter=max_iter, tol=tol, sample_weight=of_rows
        )
        return model, history

    fitted = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(fit_class)(code) for code in range(codes.max() + 1)
    )
    return [model for model, _ in fitted], [history for _, history in fitted]


def _first_states(design: ChainDesign, frames: Frames, seed: int) -> np.ndarray:
    """Assign a state of the graph to each step: segments, or clusters of frames."""
    chains = np.column_stack(list(design.chains.values()))
    n_states = int(chains.max()) + 1
    if not design.is_ordered:
        return kmeans_states(frames, n_states, np.random.RandomState(seed))
    together = np.flatnonzero((chains == chains[:, :1]).all(axis=1))
    return together[equal_segments(frames.offsets, n_states)].astype(np.int32)


def fold_of_samples(
    frames: Frames, groups: Sequence[int] | np.ndarray, n_folds: int
) -> np.ndarray:
    """Divide the samples of each group among folds, equal samples into one fold.

    The division depends on the data alone: neither on the order of the samples nor on
    how often one occurs, so that weights have the effect of repetitions.

    Parameters
    ----------
    frames : Frames
        Frames of the samples.
    groups : array-like of int of shape (n_samples,)
        Group, such as the class, of each sample.
    n_folds : int
        Number of folds.

    Returns
    -------
    ndarray of int of shape (n_samples,)
        Fold of each sample.
    """
    key = np.column_stack(
        [np.diff(frames.offsets), *(_sums(frames, n) for n in frames.modalities)]
    )
    groups = np.asarray(groups)
    folds = np.empty(len(key), dtype=np.int64)
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        which = np.unique(key[own], axis=0, return_inverse=True)[1]
        folds[own] = which.ravel() % n_folds
    return folds


def without_whole_classes(folds: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Hold out no sample of classes that would have no others left in a fold.

    Parameters
    ----------
    folds : ndarray of int of shape (n_samples,)
        Fold of each sample, or -1.
    codes : ndarray of int of shape (n_samples,)
        Class of each sample.

    Returns
    -------
    ndarray of int of shape (n_samples,)
        The folds, with -1 for samples of such classes.
    """
    folds = folds.copy()
    for code in np.unique(codes):
        own = codes == code
        if (folds[own] == folds[own][0]).all():
            folds[own] = -1
    return folds


def _sums(frames: Frames, name: str) -> np.ndarray:
    """Sum the values of each sample in a modality, without NaN."""
    values, steps, _ = frames.modalities[name]
    borders = frames.offsets
    if steps is not None:
        borders = np.searchsorted(steps, borders)
    with np.errstate(over="ignore", invalid="ignore"):
        rows = np.append(np.nan_to_num(values).sum(axis=1), 0.0)
        sums = np.add.reduceat(rows, borders[:-1])
    return np.nan_to_num(np.where(np.diff(borders) > 0, sums, 0.0))
