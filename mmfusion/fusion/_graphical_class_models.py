"""Models of the classes: their start, their fit, and the couplings of modalities."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from mmfusion._chain_estimators import chain_graph
from mmfusion._progress import Job, Progress
from mmfusion.graphical._asynchronous_learning import set_asynchronous_start
from mmfusion.graphical._asynchronous_model import AsynchronousModel
from mmfusion.graphical._chain_model import ChainModel, EMHistory, fit_chain_model
from mmfusion.graphical._clock import Frames, select_sequences
from mmfusion.graphical._coupling_starts import (
    EmissionMaker,
    set_start,
    start_states,
)
from mmfusion.graphical._couplings import coupled_coupling, product_coupling
from mmfusion.graphical._gaussian import DiagonalGaussian
from mmfusion.graphical._gaussian_full import FullGaussian
from mmfusion.graphical._initialization import (
    equal_segments,
    initialize_emission,
    kmeans_states,
)
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.modalities import Modalities

COUPLINGS = ("synchronous", "product", "coupled", "asynchronous")


class ChainDesign(NamedTuple):
    """The unfitted chain of every class.

    Parameters
    ----------
    model : ChainModel
        Its graph, and densities of the pooled frames in every state.
    chains : dict of str to ndarray of int of shape (n_joint_states,)
        State of each chain, by name, in each state of the graph.
    start : callable
        Given a copy of the model, the frames of a class and the weights of its
        samples, sets the parameters from which the fit starts. Its last argument is a
        seed.
    """

    model: ChainModel
    chains: dict[str, np.ndarray]
    start: Callable[[ChainModel, Frames, np.ndarray, int], None]


def design_chain(
    coupling: str,
    names: Sequence[str],
    n_states: int,
    topology: str,
    max_lag: int,
    emission: MultimodalEmission,
    make_emission: EmissionMaker,
    signal: str | None = None,
) -> ChainDesign:
    """Make the chain of a class, before it is fitted.

    Parameters
    ----------
    coupling : {'synchronous', 'product', 'coupled', 'asynchronous'}
        How the modalities share the chain; see `HMMClassifier`.
    names : sequence of str
        Names of the modalities.
    n_states : int
        Number of states of each chain.
    topology : {'left-to-right', 'ergodic'}
        Order of the states of 'synchronous' and 'asynchronous'.
    max_lag : int
        Largest difference of the states of 'product'.
    emission : MultimodalEmission
        Densities of the pooled frames, of `n_states` states of each modality.
    make_emission : callable
        Given a number of states and names of modalities, returns their emission.
    signal : str, default=None
        Modality with a frame at each step, for 'asynchronous'.

    Returns
    -------
    ChainDesign
        The chain.

    Raises
    ------
    ValueError
        If 'product' does not have two modalities, or 'coupled' has too many states.
    """
    own = np.arange(n_states, dtype=np.int32)
    is_ordered = topology == "left-to-right"
    if coupling == "synchronous":
        model = ChainModel(chain_graph(n_states, topology), emission)
        start = _start_of_segments if is_ordered else _start_of_clusters
        return ChainDesign(model, {"state": own}, start)
    if coupling == "asynchronous":
        assert signal is not None
        model = AsynchronousModel(
            chain_graph(n_states, topology), emission, signal=signal
        )
        start = _start_of_signal_segments if is_ordered else _start_of_signal_clusters
        return ChainDesign(model, {"state": own}, start)
    if coupling == "product":
        coupled = product_coupling(names, n_states, max_lag)
    else:
        coupled = coupled_coupling(dict.fromkeys(names, n_states))
    model = ChainModel(
        coupled.graph._replace(log_end=np.zeros_like(coupled.graph.log_end)),
        emission,
        coupled.columns,
        coupled.transition_model,
    )

    def start_coupled(
        model: ChainModel, frames: Frames, weight: np.ndarray, seed: int
    ) -> None:
        own = coupled._replace(transition_model=copy.deepcopy(coupled.transition_model))
        model.transition_model = own.transition_model
        states = start_states(own, frames, make_emission, seed, sample_weight=weight)
        set_start(model, own, frames, states, sample_weight=weight)

    chains = dict(zip(coupled.chains, coupled.states.T, strict=True))
    return ChainDesign(model, chains, start_coupled)


def signal_of_modalities(
    n_frames: Mapping[str, float],
    clock: str | int | None,
    weights: Mapping[str, float],
) -> str:
    """Return the modality of which 'asynchronous' has a frame at each step.

    Parameters
    ----------
    n_frames : dict of str to float
        Number of frames of each modality.
    clock : str, int or None
        The modality, if given.
    weights : dict of str to float
        Weights of the modalities; 1 for those that are not in it.

    Returns
    -------
    str
        The given modality, or that with most frames, and with a weight.

    Raises
    ------
    ValueError
        If there are not two modalities, or the given one is a number or has no weight.
    """
    if len(n_frames) != 2:
        raise ValueError(
            f"coupling='asynchronous' is of two modalities, and there are "
            f"{len(n_frames)}: {list(n_frames)}; use 'synchronous', or give X with the "
            "two modalities alone"
        )
    if isinstance(clock, Integral):
        raise ValueError(
            f"clock={clock!r} is a number of steps, and the steps of "
            "coupling='asynchronous' are the frames of a modality; give its name, or "
            "None for that with most frames"
        )
    weighted = [name for name in n_frames if weights.get(name, 1.0) > 0]
    if clock is None and weighted:
        return max(weighted, key=lambda name: n_frames[name])
    if clock not in weighted and (clock is None or clock in n_frames):
        name = clock or next(iter(n_frames))
        raise ValueError(
            f"modality_weights of {name!r} is 0, and its frames are the steps of "
            "coupling='asynchronous'; give a larger weight, or another clock"
        )
    return str(clock)


def refuse_crowded_samples(frame: Modalities, signal: str) -> None:
    """Raise an error for a sample that has more frames beside the signal than in it.

    Parameters
    ----------
    frame : Modalities
        The samples, of two modalities.
    signal : str
        Modality with a frame at each step.

    Raises
    ------
    ValueError
        If there is one.
    """
    (other,) = set(frame.names) - {signal}
    pairs = zip(frame.to_dict()[signal], frame.to_dict()[other], strict=True)
    for i, (x, y) in enumerate(pairs):
        if x is not None and y is not None and len(y) > len(x):
            raise ValueError(
                f"modality {other!r}: sample {i} has {len(y)} frames, and {signal!r} "
                f"{len(x)}, each of which emits at most one of them, in coupling="
                "'asynchronous'; let clock= be the modality that has more frames in "
                "every sample, or use coupling='coupled'"
            )


def _start_of_segments(
    model: ChainModel, frames: Frames, weight: np.ndarray, seed: int
) -> None:
    """Start from equal segments of each sample."""
    states = equal_segments(frames.offsets, len(model.graph.log_start))
    initialize_emission(model.emission, frames, states, sample_weight=weight)


def _start_of_clusters(
    model: ChainModel, frames: Frames, weight: np.ndarray, seed: int
) -> None:
    """Start from clusters of frames."""
    random_state = np.random.RandomState(seed)
    n_states = len(model.graph.log_start)
    states = kmeans_states(frames, n_states, random_state, sample_weight=weight)
    initialize_emission(model.emission, frames, states, sample_weight=weight)


def _start_of_signal_segments(
    model: ChainModel, frames: Frames, weight: np.ndarray, seed: int
) -> None:
    """Start from equal segments of the signal of each sample."""
    assert isinstance(model, AsynchronousModel)
    states = equal_segments(frames.offsets, len(model.graph.log_start))
    set_asynchronous_start(model, frames, states, sample_weight=weight)


def _start_of_signal_clusters(
    model: ChainModel, frames: Frames, weight: np.ndarray, seed: int
) -> None:
    """Start from clusters of the frames of the signal."""
    assert isinstance(model, AsynchronousModel)
    states = kmeans_states(
        Frames(frames.offsets, {model.signal: frames.modalities[model.signal]}),
        len(model.graph.log_start),
        np.random.RandomState(seed),
        sample_weight=weight,
    )
    set_asynchronous_start(model, frames, states, sample_weight=weight)


def fit_class_models(
    design: ChainDesign,
    frames: Frames,
    codes: np.ndarray,
    weight: np.ndarray,
    *,
    max_iter: int,
    tol: float,
    seed: int,
    progress: Progress,
    titles: Sequence[str],
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
    progress : Progress
        Progress of the fit, of which each class is a step.
    titles : sequence of str
        Titles of these steps.
    n_jobs : int, default=None
        Number of threads.

    Returns
    -------
    models : list of ChainModel
        The fitted chain of each class.
    histories : list of EMHistory
        The course of each fit.
    """

    def fit_class(code: int, task: Any = None) -> tuple[ChainModel, EMHistory]:
        rows = np.flatnonzero(codes == code)
        own, of_rows = select_sequences(frames, rows), weight[rows]
        model = copy.deepcopy(design.model)
        design.start(model, own, of_rows, seed)
        history = fit_chain_model(
            model, own, max_iter=max_iter, tol=tol, sample_weight=of_rows
        )
        return model, history

    jobs = [Job(title, fit_class, (code,)) for code, title in enumerate(titles)]
    fitted = progress.run(jobs, n_jobs, prefer="threads")
    return [model for model, _ in fitted], [history for _, history in fitted]


def share_covariances(models: Sequence[ChainModel], weight: np.ndarray) -> None:
    """Give all states of all classes the mean of their covariances, by modality.

    Parameters
    ----------
    models : sequence of ChainModel
        The fitted chain of each class, which is changed.
    weight : ndarray of shape (n_classes,)
        Weight of each class.

    Raises
    ------
    ValueError
        If the densities of a modality are not Gaussian.
    """
    for name in models[0].emission.emissions:
        own = [model.emission.emissions[name] for model in models]
        covariances = []
        for emission in own:
            if not isinstance(emission, DiagonalGaussian | FullGaussian):
                raise ValueError(
                    f"modality {name!r}: covariance_tied=True needs the emission "
                    "'gaussian'"
                )
            is_one = isinstance(emission, FullGaussian) and emission.is_tied
            matrix = emission.covariances
            covariances.append(matrix if is_one else matrix.mean(axis=0))
        mean = np.average(covariances, axis=0, weights=weight)
        for emission in own:
            if isinstance(emission, DiagonalGaussian):
                variances = np.broadcast_to(mean, emission.means.shape)
                emission.set_parameters(emission.means, variances)
            elif isinstance(emission, FullGaussian):
                repeated = mean if emission.is_tied else [mean] * emission.n_states
                emission.set_parameters(emission.means, np.array(repeated))


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
