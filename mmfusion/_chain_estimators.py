"""Chains of states that emit the frames of several modalities: options and input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import Tags

from mmfusion._block_checks import ModalityTags
from mmfusion._numbers import check_count
from mmfusion._options import by_modality, errors_name
from mmfusion._sklearn_compat import INTEGER, HasMethods, Interval, StrOptions
from mmfusion._typing import ByModality, ColumnSpecLike
from mmfusion._validation import Layout
from mmfusion.graphical._chain_model import (
    ChainModel,
    decode_states,
    inlier_probability,
    state_posteriors,
)
from mmfusion.graphical._clock import (
    RATES,
    SLOW,
    Frames,
    frames_of_clock,
    frames_on_clock,
    select_sequences,
)
from mmfusion.graphical._emissions import (
    COVARIANCE_TYPES,
    KINDS,
    Emission,
    make_emission,
)
from mmfusion.graphical._graph import ChainGraph
from mmfusion.graphical._graph_builders import ergodic_graph, left_to_right_graph
from mmfusion.graphical._multimodal_emission import MultimodalEmission
from mmfusion.graphical._outliers import OutlierComponent
from mmfusion.modalities import Modalities

FIRST_STAY = 0.9  # probability to stay in a state, before an ergodic model is fitted
OUTLIER_SCALE = 5.0  # variances of outliers, as a multiple of the pooled ones

CHAIN_CONSTRAINTS: dict = {
    "emission": [StrOptions(set(KINDS)), dict, HasMethods(["log_density", "update"])],
    "covariance_type": [StrOptions(set(COVARIANCE_TYPES)), dict],
    "n_mixtures": [Interval(Integral, 1, None, closed="left"), dict],
    "outlier_share": [Interval(Real, 0, 1, closed="left"), dict],
    "clock": [str, Interval(Integral, 1, None, closed="left"), None],
    "rate": [StrOptions(set(RATES)), dict],
    "slow": [StrOptions(set(SLOW)), dict],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0, None, closed="left")],
    "n_jobs": [INTEGER, None],
    "modalities": ["array-like", str, dict, INTEGER, None],
}


class ChainMixin:
    """Mixin of estimators whose samples are frames on the clock of a chain."""

    emission: ByModality[Any]
    covariance_type: ByModality[str]
    n_mixtures: ByModality[int]
    outlier_share: ByModality[float]
    clock: str | int | None
    rate: ByModality[str]
    slow: ByModality[str]
    modalities: ColumnSpecLike
    _layout: Layout

    def _frames(self, frame: Modalities) -> Frames:
        """Place the sequences of all samples on their clocks."""
        return self._placed(frame, self.slow)

    def _placed(
        self,
        frame: Modalities,
        slow: ByModality[str],
        rate: ByModality[str] | None = None,
    ) -> Frames:
        """Place sequences on clocks, slow modalities as given.

        A sample that lacks every modality has one frame of NaN, without information.
        """
        blocks = frame.to_dict()
        name, block = next(iter(blocks.items()))
        if len(blocks) == 1 and self._steps() in (None, name):
            lengths = [0 if x is None else len(x) for x in block]
            if all(lengths):
                return frames_of_clock(name, block)
        samples: list[dict[str, np.ndarray]] = []
        for i in range(len(frame)):
            own = {n: block[i] for n, block in blocks.items() if block[i] is not None}
            samples.append(own or self._unknown_sample(blocks))
        return frames_on_clock(
            samples,
            clock=self._steps(),
            rate=self.rate if rate is None else rate,
            slow=slow,
            names=frame.names,
        )

    def _steps(self) -> str | int | None:
        """Return the clock: a modality, a number of steps, or None."""
        return self.clock

    def _unknown_sample(self, blocks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return one frame of NaN, of the width of the first modality."""
        name = self._layout.names[0]
        observed = (x.shape[1] for x in blocks[name] if x is not None)
        return {name: np.full((1, next(observed, self._widths[name])), np.nan)}

    @property
    def _widths(self) -> dict[str, int]:
        """Numbers of features of a frame."""
        names = self._layout.names
        if self._is_of_series:
            return dict.fromkeys(names, 1)
        return dict(zip(names, self._layout.widths, strict=True))

    @property
    def _is_of_series(self) -> bool:
        """Whether rows of tables are series of one feature."""
        tag = self.__modality_tags__().sequences
        return tag == "series" and not self._layout.sequences

    def _make_emission(
        self, n_states: int, chosen: Sequence[str] | None = None
    ) -> MultimodalEmission:
        """Return the unfitted emission of all modalities, or of some."""
        options = ChainEmissionOptions(
            self.emission, self.covariance_type, self.n_mixtures, self.outlier_share
        )
        return chain_emission(options, self._layout.names, n_states, chosen)

    def _checked_weights(self, option: ByModality[float]) -> dict[str, float]:
        """Return the exponents of the modalities."""
        names = self._layout.names
        given = by_modality(option, names, "modality_weights", 1.0)
        for name, weight in zip(names, given, strict=True):
            if not (isinstance(weight, Real) and 0 <= float(weight) < np.inf):
                raise ValueError(
                    f"modality_weights of {name!r} is {weight!r}; give a number of at "
                    "least 0"
                )
        return {n: float(weight) for n, weight in zip(names, given, strict=True)}

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(
            missing=True, sequences="series", takes_nan=lambda name: True
        )

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.allow_nan = True
        return tags


class ChainEmissionOptions(NamedTuple):
    """Options of the densities, each for all modalities or a dict by name."""

    emission: ByModality[Any]
    covariance_type: ByModality[str]
    n_mixtures: ByModality[int]
    outlier_share: ByModality[float]


def chain_emission(
    options: ChainEmissionOptions,
    names: Sequence[str],
    n_states: int,
    chosen: Sequence[str] | None = None,
) -> MultimodalEmission:
    """Make the unfitted emission of modalities.

    Parameters
    ----------
    options : ChainEmissionOptions
        The options.
    names : sequence of str
        Names of all modalities.
    n_states : int
        Number of states.
    chosen : sequence of str, default=None
        Names of those that are emitted; all by default.

    Returns
    -------
    MultimodalEmission
        The emission, with outlier components where their share is above 0.

    Raises
    ------
    ValueError
        If an option does not fit, by name of the modality.
    """
    kinds = by_modality(options.emission, names, "emission", "gaussian")
    types = by_modality(
        options.covariance_type, names, "covariance_type", "diag", COVARIANCE_TYPES
    )
    numbers = by_modality(options.n_mixtures, names, "n_mixtures", 2)
    shares = by_modality(options.outlier_share, names, "outlier_share", 0.01)
    emissions: dict[str, Emission] = {}
    outliers: dict[str, OutlierComponent | None] = {}
    for name, kind, covariance_type, n_mixtures, share in zip(
        names, kinds, types, numbers, shares, strict=True
    ):
        if chosen is not None and name not in chosen:
            continue
        with errors_name(name):
            check_share(share)
            check_count(n_mixtures, "n_mixtures")
            emissions[name] = make_emission(
                kind,
                n_states,
                covariance_type=covariance_type,
                n_mixtures=n_mixtures,
            )
        if share > 0 and isinstance(kind, str):
            outliers[name] = OutlierComponent(float(share), OUTLIER_SCALE)
    return MultimodalEmission(emissions, {}, outliers)


def check_share(share: object) -> None:
    """Raise an error unless a share of outliers is at least 0 and below 1.

    Parameters
    ----------
    share : object
        The share, of a dict by modality.

    Raises
    ------
    ValueError
        If it is no such number.
    """
    if not (isinstance(share, Real) and 0 <= float(share) < 1):
        raise ValueError(
            f"outlier_share={share!r}; give a share of at least 0, below 1"
        )


def refuse_impossible(
    log_likelihoods: np.ndarray, rows: Sequence[int] | np.ndarray
) -> None:
    """Raise an error for a sample whose values are impossible in all states.

    Parameters
    ----------
    log_likelihoods : ndarray of shape (n,)
        Log-likelihoods, -inf where no path explains a sample.
    rows : sequence of int of length n
        Positions of the samples in X.

    Raises
    ------
    ValueError
        If there is one.
    """
    impossible = np.flatnonzero(np.isneginf(log_likelihoods))
    if impossible.size:
        raise ValueError(
            f"no path of the model explains sample {rows[int(impossible[0])]}: some of "
            "its values have density 0 in all states; correct them, or write NaN"
        )


def inliers_by_sample(
    model: ChainModel, frames: Frames, posteriors: np.ndarray
) -> dict[str, list[np.ndarray]]:
    """Compute the probability that each frame is no outlier, by modality and sample.

    Parameters
    ----------
    model : ChainModel
        The model.
    frames : Frames
        Frames on the clock, each at one step.
    posteriors : ndarray of shape (n_steps, n_columns)
        Posteriors of the emission columns.

    Returns
    -------
    dict of str to list of ndarray of shape (n_frames,)
        The probabilities of each sample, none where it lacks the modality.
    """
    inliers = inlier_probability(model, frames, posteriors)
    found = {}
    for name, values in inliers.items():
        steps, borders = frames.modalities[name].steps, frames.offsets
        if steps is not None:
            borders = np.searchsorted(steps, borders)
        found[name] = np.split(values, borders[1:-1])
    return found


class SamplesOfModel(NamedTuple):
    """Samples of which one chain is that of the predicted class or cluster.

    Parameters
    ----------
    rows : ndarray of int of shape (n_rows,)
        Positions of the samples in X.
    model : ChainModel
        The chain.
    frames : Frames
        Their frames on the clock.
    """

    rows: np.ndarray
    model: ChainModel
    frames: Frames


def samples_of_models(
    frames: Frames, models: Sequence[ChainModel], predicted: np.ndarray
) -> Iterator[SamplesOfModel]:
    """Iterate over the models that are predicted for some sample.

    Parameters
    ----------
    frames : Frames
        Frames of all samples.
    models : sequence of ChainModel
        The models.
    predicted : ndarray of int of shape (n_samples,)
        Position of the model of each sample.

    Yields
    ------
    SamplesOfModel
        The samples of a model.
    """
    for number, model in enumerate(models):
        rows = np.flatnonzero(predicted == number)
        if rows.size:
            yield SamplesOfModel(rows, model, select_sequences(frames, rows))


def posteriors_by_sample(
    parts: Iterable[SamplesOfModel],
    chains: Mapping[str, np.ndarray],
    n_samples: int,
    n_jobs: int | None,
) -> dict[str, np.ndarray]:
    """Compute the probabilities of the states of each chain.

    Parameters
    ----------
    parts : iterable of SamplesOfModel
        All samples, by model.
    chains : dict of str to ndarray of int of shape (n_joint_states,)
        State of each chain, by name, in each state of a graph.
    n_samples : int
        Number of samples.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    dict of str to ndarray of object of shape (n_samples,)
        Arrays of shape (n_steps, n_states) by chain.
    """
    found = {name: np.full(n_samples, None, dtype=object) for name in chains}
    for rows, model, frames in parts:
        chain = state_posteriors(model, frames, n_jobs, by_state=True)
        refuse_impossible(chain.log_likelihoods, rows)
        joint = np.asarray(chain.posteriors)
        for name, states in chains.items():
            by_state = joint @ (states[:, None] == np.arange(states.max() + 1))
            own = np.split(by_state, frames.offsets[1:-1])
            for i, of_sample in zip(rows, own, strict=True):
                found[name][i] = of_sample
    return found


def states_by_sample(
    parts: Iterable[SamplesOfModel],
    chains: Mapping[str, np.ndarray],
    n_samples: int,
    n_jobs: int | None,
) -> dict[str, np.ndarray]:
    """Find the likeliest states of each chain.

    Parameters
    ----------
    parts, chains, n_samples, n_jobs
        As in `posteriors_by_sample`.

    Returns
    -------
    dict of str to ndarray of object of shape (n_samples,)
        Arrays of int of shape (n_steps,) by chain.
    """
    found = {name: np.full(n_samples, None, dtype=object) for name in chains}
    for rows, model, frames in parts:
        path, scores = decode_states(model, frames, n_jobs)
        refuse_impossible(scores, rows)
        for name, states in chains.items():
            own = np.split(states[path], frames.offsets[1:-1])
            for i, of_sample in zip(rows, own, strict=True):
                found[name][i] = of_sample
    return found


def reliability_by_sample(
    parts: Iterable[SamplesOfModel],
    as_given: Frames,
    frame: Modalities,
    n_jobs: int | None,
) -> dict[str, np.ndarray]:
    """Compute the probability that each frame is no outlier.

    Parameters
    ----------
    parts : iterable of SamplesOfModel
        All samples, by model.
    as_given : Frames
        Their frames, each at one step.
    frame : Modalities
        The samples.
    n_jobs : int or None
        Number of threads.

    Returns
    -------
    dict of str to ndarray of object of shape (n_samples,)
        Arrays of shape (n_frames,) by modality; None where a sample lacks it.
    """
    found = {name: np.full(len(frame), None, dtype=object) for name in frame.names}
    for rows, model, frames in parts:
        chain = state_posteriors(model, frames, n_jobs)
        refuse_impossible(chain.log_likelihoods, rows)
        given = select_sequences(as_given, rows)
        inliers = inliers_by_sample(model, given, np.asarray(chain.posteriors))
        for name, of_name in inliers.items():
            observed = frame.observed[rows, frame.names.index(name)]
            for i in np.flatnonzero(observed):
                found[name][rows[i]] = of_name[i]
    return found


def chain_graph(n_states: int, topology: str) -> ChainGraph:
    """Make the graph of a chain of states, whose paths may end in any state.

    Parameters
    ----------
    n_states : int
        Number of states.
    topology : {'left-to-right', 'ergodic'}
        Whether states follow one another in a fixed order, or in any.

    Returns
    -------
    ChainGraph
        The graph, with its first transition probabilities.
    """
    if topology == "left-to-right":
        graph = left_to_right_graph(n_states)
        return graph._replace(log_end=np.zeros_like(graph.log_end))
    others = (1 - FIRST_STAY) / max(n_states - 1, 1)
    transitions = np.full((n_states, n_states), others)
    np.fill_diagonal(transitions, FIRST_STAY if n_states > 1 else 1.0)
    return ergodic_graph(transitions, np.full(n_states, 1 / n_states))
