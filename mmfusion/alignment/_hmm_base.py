"""The base of aligners by hidden Markov models: input, decoding, axis and output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from mmfusion._chain_estimators import CHAIN_CONSTRAINTS, ChainMixin
from mmfusion._options import by_modality
from mmfusion._progress import Progress
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions
from mmfusion._threads import one_thread
from mmfusion._typing import ByModality, ModalitiesLike
from mmfusion.alignment._alignments import Alignment
from mmfusion.alignment._base import BaseAligner, SampleSequences
from mmfusion.alignment._dtw_aligner import resolve_reference
from mmfusion.alignment._initial_states import equal_states, states_by_dtw
from mmfusion.alignment._state_segments import (
    mean_edges,
    path_between,
)
from mmfusion.graphical._chain_model import (
    ChainModel,
    EMHistory,
    fit_chain_model,
    score_sequences,
    state_posteriors,
)
from mmfusion.graphical._clock import Frames, frames_on_clock
from mmfusion.graphical._em import warn_of_unfinished
from mmfusion.graphical._graph import transition_matrix
from mmfusion.graphical._initialization import (
    initialize_emission,
    refuse_too_many_states,
)
from mmfusion.graphical._multimodal_emission import MultimodalEmission

STATES = "states"  # the reference that is the latent time of all samples
CHAIN_OPTIONS = (
    "emission",
    "covariance_type",
    "n_mixtures",
    "outlier_share",
    "max_iter",
    "tol",
)
REFERENCE_WORDS = (STATES, "longest")
AUTO_FRAMES_PER_STATE = 2  # of the shortest sequence

# samples by the modalities of a chain, with their positions
Members = list[tuple[int, SampleSequences]]


@dataclass(frozen=True)
class StateAlignment(Alignment):
    """The alignment of a sequence by the states that it passes.

    Parameters
    ----------
    edges : ndarray of shape (n_states + 1,)
        Times, in frames, at which the sequence goes on to the next state; from 0 to its
        number of frames.
    frame_confidence : ndarray of shape (n_frames,)
        Posterior probability of the state of each frame.
    """

    edges: np.ndarray | None = None
    frame_confidence: np.ndarray | None = None


class DecodedSequence(NamedTuple):
    """States of one sequence.

    Parameters
    ----------
    states : ndarray of int of shape (n_frames,)
        Decoded states.
    edges : ndarray of shape (n_states + 1,)
        Edges of their segments.
    posteriors : ndarray of shape (n_frames, n_states)
        Posterior probabilities of the states.
    cost : float
        Minus the log-likelihood per step of the chain.
    """

    states: np.ndarray
    edges: np.ndarray
    posteriors: np.ndarray
    cost: float


class Start(NamedTuple):
    """Where the fit of chains begins, by modality.

    Parameters
    ----------
    emissions : dict of MultimodalEmission
        Emission of the modality alone.
    shares : dict of ndarray of shape (n_states,)
        Share of the frames that are in each state.
    """

    emissions: dict[str, MultimodalEmission]
    shares: dict[str, np.ndarray]


class BaseHMMAligner(BaseAligner, ChainMixin):
    """Base of aligners whose modalities pass the same states, each at its own time.

    A subclass implements `_fit_chains`, which sets `_chains`, and `_decode_sample`.
    """

    _parameter_constraints: dict = {
        **BaseAligner._parameter_constraints,
        **{name: CHAIN_CONSTRAINTS[name] for name in CHAIN_OPTIONS},
        "n_states": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Real, 0, 1, closed="neither"),
            StrOptions({"auto"}),
        ],
        "modality_weights": [Interval(Real, 0, None, closed="left"), dict],
        "init": [StrOptions({"auto", "dtw", "equal"})],
        "decoding": [StrOptions({"posterior", "viterbi"})],
        "reference": [INTEGER, str],
    }

    n_states: int | float | str
    modality_weights: ByModality[float]
    init: str
    decoding: str
    reference: int | str
    max_iter: int
    tol: float

    _chains: dict[str, ChainModel]

    def _fit_chains(self, samples: list[SampleSequences], names: list[str]) -> None:
        """Fit the chains to samples with at least one sequence, and set `_chains`."""
        raise NotImplementedError

    def _decode_sample(
        self, sample: SampleSequences, i: int
    ) -> dict[str, DecodedSequence]:
        """Decode the states of the sequences of sample i."""
        raise NotImplementedError

    def score(self, X: ModalitiesLike, y: object = None) -> float:
        """Return the mean log-likelihood of samples per frame.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        float
            Sum of the log-likelihoods over samples and chains, divided by the steps of
            their clocks; NaN if there are only tables. It depends on the units of the
            modalities, and with `modality_weights` other than 1 it is no likelihood.
        """
        samples = self._samples(self._validate(X, reset=False, raw=True))
        total, n_steps = 0.0, 0
        for name, chain in self._chains.items():
            members = members_of(samples, chain.emission)
            if not members:
                continue
            frames = self._on_clock(name, members)
            with one_thread():
                scores = score_sequences(chain, frames, self.n_jobs)
            self._check_scores(name, scores, frames, [i for i, _ in members])
            total += float(scores.sum())
            n_steps += frames.n_steps
        return total / n_steps if n_steps else np.nan

    def decode(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Decode the states of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            For each modality of sequences, the state of each frame, as an array of int
            of shape (n_frames,); None where the sample lacks the modality.
        """
        return self._decoded_by_modality(X, "states")

    def state_posteriors(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Compute the posterior probabilities of the states of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            For each modality of sequences, the probabilities at each frame, as an array
            of shape (n_frames, n_states); None where the sample lacks the modality.
        """
        return self._decoded_by_modality(X, "posteriors")

    def reliability(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Compute the probability of each frame to be no outlier.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            For each modality of sequences, the posterior probabilities by frame, as an
            array of shape (n_frames,); 1 without `outlier_share`, and None where the
            sample lacks the modality.
        """
        samples = self._samples(self._validate(X, reset=False, raw=True))
        found = self._empty_by_modality(len(samples))
        for chain_name, chain in self._chains.items():
            for i, sample in members_of(samples, chain.emission):
                frames = self._on_clock(chain_name, [(i, sample)])
                posteriors, _ = self._posteriors(chain_name, frames, i)
                probabilities = chain.emission.inlier_probability(
                    frames, posteriors, chain.columns
                )
                for name in sample:
                    found[name][i] = probabilities[name]
        return found

    def _decoded_by_modality(
        self, X: ModalitiesLike, field: str
    ) -> dict[str, np.ndarray]:
        samples = self._samples(self._validate(X, reset=False, raw=True))
        found = self._empty_by_modality(len(samples))
        for i, decoded in enumerate(self._decode_all(samples)):
            for name, sequence in decoded.items():
                found[name][i] = getattr(sequence, field)
        return found

    def _empty_by_modality(self, n_samples: int) -> dict[str, np.ndarray]:
        names = self._layout.sequences
        return {name: np.full(n_samples, None, dtype=object) for name in names}

    def _set_results(self, samples: list[SampleSequences]) -> None:
        self.edges_ = self._of_alignments("edges")
        self.confidence_ = self._of_alignments("frame_confidence")

    def _of_alignments(self, field: str) -> list[dict[str, np.ndarray]]:
        return [
            {name: getattr(alignment, field) for name, alignment in sample.items()}
            for sample in self._alignments
        ]

    def _fit_samples(self, samples: list[SampleSequences], **metadata: Any) -> None:
        names = list(self._layout.sequences)
        self._chains = {}
        self._frame_limits: dict[str, tuple[int, int | None]] = {}
        self.n_iter_, self.converged_ = 1, True
        self.objective_history_: dict[str, np.ndarray] = {}
        self.means_: dict[str, np.ndarray] = {}
        self.covariances_: dict[str, np.ndarray] = {}
        self.transitions_: dict[str, Any] = {}
        self.axis_edges_ = np.zeros(1)
        self.n_states_ = 0
        self._check_reference()
        if not names:
            return
        self.n_states_ = self._resolve_n_states(samples)
        self._fit_chains(samples, names)
        self._set_parameters()
        if self.reference == STATES:
            decoded = self._decode_all(samples)
            edges = [d.edges for sample in decoded for d in sample.values()]
            longest = [max(map(len, sample.values())) for sample in samples if sample]
            self.axis_edges_ = mean_edges(edges, float(np.mean(longest)))

    def _set_parameters(self) -> None:
        for chain_name, chain in self._chains.items():
            self.transitions_[chain_name] = transition_matrix(chain.graph)
            for name, own in chain.emission.emissions.items():
                for kept, attribute in (
                    (self.means_, "means"),
                    (self.covariances_, "covariances"),
                ):
                    if hasattr(own, attribute):
                        kept[name] = getattr(own, attribute)

    def _check_reference(self) -> str:
        layout = self._layout
        return resolve_reference(
            self.reference, layout.names, layout.sequences, REFERENCE_WORDS
        )

    def _resolve_n_states(self, samples: list[SampleSequences]) -> int:
        """Return the number of states."""
        if isinstance(self.n_states, Integral):
            n_frames = sum(len(x) for sample in samples for x in sample.values())
            n_states = int(self.n_states)
            refuse_too_many_states("n_states", n_states, n_frames, len(samples))
            return n_states
        shortest = min(len(x) for sample in samples for x in sample.values())
        if isinstance(self.n_states, str):
            return max(shortest // AUTO_FRAMES_PER_STATE, 1)
        return max(int(self.n_states * shortest), 1)

    def _is_started_by_dtw(self, names: list[str]) -> bool:
        if self.init != "auto":
            return self.init == "dtw"
        # the path of DTW compares values, which those of other kinds do not allow
        kinds = by_modality(self.emission, self._layout.names, "emission", "gaussian")
        of_values = all(kind in ("gaussian", "mixture") for kind in kinds)
        return len(names) == 1 and of_values

    def _start(
        self,
        samples: list[SampleSequences],
        names: list[str],
        delays: tuple[float, ...] = (),
    ) -> Start:
        """Return the emissions of initial states, and how long these are.

        Equal segments of each modality may be delayed by a part of a segment.
        """
        by_name = dict(zip(names, delays or [0.0] * len(names), strict=True))
        if self._is_started_by_dtw(names):
            states = states_by_dtw(samples, names, self.n_states_)
        else:
            states = [
                {
                    n: equal_states(len(x), self.n_states_, by_name[n])
                    for n, x in sample.items()
                }
                for sample in samples
            ]
        weights = self._checked_weights(self.modality_weights)
        start = Start({}, {})
        for name in names:
            emission = self._make_emission(self.n_states_, [name])
            emission.modality_weights = {name: weights[name]}
            frames = frames_on_clock([{name: s[name]} for s in samples if name in s])
            emission.prepare(frames)
            given = np.concatenate([s[name] for s in states if name in s])
            initialize_emission(emission, frames, given)
            counts = np.bincount(given, minlength=self.n_states_)
            start.emissions[name] = emission
            start.shares[name] = counts / len(given)
        return start

    def _fit_chain(
        self, name: str, samples: list[SampleSequences], n_iter: int
    ) -> EMHistory:
        """Fit a chain to the samples that have a modality of it."""
        chain = self._chains[name]
        members = members_of(samples, chain.emission)
        frames = self._on_clock(name, members)
        title = f"{type(self).__name__}, chain {name!r}"
        with one_thread(), Progress(title, n_iter, verbose=self.verbose) as steps:
            return fit_chain_model(
                chain,
                frames,
                max_iter=n_iter,
                tol=self.tol,
                n_jobs=self.n_jobs,
                on_step=lambda objective: steps.step(f"objective {objective:.6g}"),
            )

    def _keep_history(self, histories: dict[str, EMHistory]) -> None:
        """Set the attributes of the iterations, and warn of fits without end."""
        self.objective_history_ = {n: h.objective for n, h in histories.items()}
        self.n_iter_ = max(len(h.objective) for h in histories.values())
        converged = {name: h.converged for name, h in histories.items()}
        self.converged_ = all(converged.values())
        warn_of_unfinished(converged, self.max_iter, self.tol)

    def _on_clock(self, chain_name: str, members: Members) -> Frames:
        """Return the frames of samples on the clock of a chain."""
        frames = frames_on_clock([sample for _, sample in members])
        fewest, most = self._frame_limits[chain_name]
        for (i, sample), n in zip(members, np.diff(frames.offsets), strict=True):
            if n < fewest or (most is not None and n > most):
                name = max(sample, key=lambda name: len(sample[name]))
                many = "at least" if n < fewest else "at most"
                remedy = "raise n_states or max_duration"
                if n < fewest:
                    remedy = "lower n_states"
                    if hasattr(self, "max_skip"):
                        remedy += " or min_duration, or raise max_skip"
                raise ValueError(
                    f"modality {name!r}: the sequence of sample {i} has {n} frames, "
                    f"and the {self.n_states_} states need {many} "
                    f"{fewest if n < fewest else most}: {remedy}"
                )
        return frames

    def _posteriors(
        self, chain_name: str, frames: Frames, i: int, *, by_state: bool = False
    ) -> tuple[np.ndarray, float]:
        """Return the posterior probabilities and the log-likelihood of sample i."""
        chain = self._chains[chain_name]
        found = state_posteriors(chain, frames, by_state=by_state)
        self._check_scores(chain_name, found.log_likelihoods, frames, [i])
        assert found.posteriors is not None
        return found.posteriors, float(found.log_likelihoods[0])

    def _check_scores(
        self, chain_name: str, scores: np.ndarray, frames: Frames, positions: list[int]
    ) -> None:
        """Raise an error for samples that no path of the chain explains."""
        impossible = np.flatnonzero(~np.isfinite(scores))
        if impossible.size:
            k = int(impossible[0])
            n = int(np.diff(frames.offsets)[k])
            names = list(self._chains[chain_name].emission.emissions)
            raise ValueError(
                f"modality {' and '.join(map(repr, names))}: no path through the "
                f"{self.n_states_} states explains sample {positions[k]} of {n} "
                "frames: widen min_duration, max_duration and max_skip, or check values"
            )

    def _decode_all(
        self, samples: list[SampleSequences]
    ) -> list[dict[str, DecodedSequence]]:
        with one_thread():
            return Parallel(n_jobs=self.n_jobs, prefer="threads")(
                delayed(self._decode_sample)(sample, i)
                for i, sample in enumerate(samples)
            )

    def _sample_aligner(
        self, samples: list[SampleSequences], **metadata: Any
    ) -> Callable[[int], dict[str, Alignment]]:
        reference = self._check_reference()

        def align(i: int) -> dict[str, Alignment]:
            decoded = self._decode_sample(samples[i], i)
            axis = self.axis_edges_
            if reference != STATES:
                name = reference
                if name not in decoded:
                    name = max(decoded, key=lambda name: len(decoded[name].states))
                axis = decoded[name].edges
            return {name: _state_alignment(axis, own) for name, own in decoded.items()}

        return align


def members_of(samples: list[SampleSequences], emission: MultimodalEmission) -> Members:
    """Return the samples with modalities of a chain, by these, and their positions.

    Parameters
    ----------
    samples : list of dict of str to ndarray of shape (n_frames, n_features)
        Observed sequences of each sample, by modality.
    emission : MultimodalEmission
        Emission of the chain.

    Returns
    -------
    list of tuple of (int, dict)
        Position of each sample that has any, and its sequences.
    """
    own = [{name: s[name] for name in emission.emissions if name in s} for s in samples]
    return [(i, sample) for i, sample in enumerate(own) if sample]


def joined_emission(emissions: dict[str, MultimodalEmission]) -> MultimodalEmission:
    """Return one emission of several modalities, which are independent in a state.

    Parameters
    ----------
    emissions : dict of MultimodalEmission
        Emission of each modality alone.

    Returns
    -------
    MultimodalEmission
        Emission of all of them.
    """
    return MultimodalEmission(
        {n: e.emissions[n] for n, e in emissions.items()},
        {n: e.modality_weights[n] for n, e in emissions.items()},
        {n: e.outliers.get(n) for n, e in emissions.items()},
    )


def _state_alignment(axis: np.ndarray, own: DecodedSequence) -> StateAlignment:
    confidence = own.posteriors[np.arange(len(own.states)), own.states]
    return StateAlignment(
        path_between(axis, own.edges),
        cost=own.cost,
        confidence=float(confidence.mean()),
        shape=(round(axis[-1]), len(own.states)),
        edges=own.edges,
        frame_confidence=confidence,
    )
