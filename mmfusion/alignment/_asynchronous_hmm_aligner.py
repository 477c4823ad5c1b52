"""Alignment of sparse events with a dense signal, by an asynchronous HMM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from mmfusion._chain_estimators import (
    ChainEmissionOptions,
    chain_emission,
    chain_graph,
)
from mmfusion._progress import Progress
from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions
from mmfusion._threads import one_thread
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.alignment._alignments import Alignment
from mmfusion.alignment._base import BaseAligner, SampleSequences
from mmfusion.alignment._dtw_aligner import resolve_reference
from mmfusion.graphical._asynchronous_lattice import (
    AsynchronousPosteriors,
    asynchronous_log_likelihood,
    asynchronous_path,
    asynchronous_posteriors,
)
from mmfusion.graphical._asynchronous_learning import set_asynchronous_start
from mmfusion.graphical._asynchronous_model import AsynchronousModel
from mmfusion.graphical._chain_model import EMHistory, fit_chain_model
from mmfusion.graphical._clock import Frames, frames_on_clock
from mmfusion.graphical._em import warn_of_unfinished
from mmfusion.graphical._initialization import (
    kmeans_states,
    refuse_too_many_states,
)


@dataclass(frozen=True)
class EventAlignment(Alignment):
    """The alignment of events with the frames of a signal.

    Parameters
    ----------
    frame_confidence : ndarray of shape (n_events,)
        Probability that each event happened at the frame it is aligned with.
    spread : ndarray of shape (n_events,)
        Standard deviation, in frames of the signal, of when each event happened.
    """

    frame_confidence: np.ndarray | None = None
    spread: np.ndarray | None = None


class AsynchronousHMMAligner(BaseAligner):
    """Find when each of a sample's sparse events happened in its dense signal.

    Each sample has a signal of T frames x and a sequence of S events y, with S at most
    T, in the order in which they happened but without times. A chain of states emits a
    frame of the signal at each step, and along with it, with probability
    :math:`\\epsilon_i` in state i, the next event:

    .. math:: \\alpha(t, s, j) = p(x_t | j) \\sum_i a_{ij} \\big[(1 - \\epsilon_j)
              \\alpha(t - 1, s, i) + \\epsilon_j p(y_s | j) \\alpha(t - 1, s - 1, i)
              \\big]

    All parameters are learned from the samples of `fit` without any time of an event,
    by expectation maximisation from clusters of the frames; later samples are aligned
    by them. Several modalities of events have a model each. Modalities that are tables
    pass through as they are.

    Parameters
    ----------
    n_states : int, default=8
        Number of states: at least as many as there are kinds of frames, with an event
        or without.
    reference : int or str, default=0
        The signal: a modality, by position or by name. The other modalities of
        sequences are events.
    n_frames : int, default=None
        Number of frames of the output, at least 2, to which the axis of every sample
        is resampled linearly. None keeps the length of each sample's axis.
    emission : str or dict by modality of str, default='gaussian'
        Kind of the densities of frames and of events.
    covariance_type : {'diag', 'full', 'tied', 'spherical'} or dict by modality of \
            these, default='diag'
        Covariances of Gaussian densities.
    outlier_share : float or dict by modality of float, default=0.01
        Prior probability that a frame or event is an outlier, which no state explains;
        0 has none.
    decode : {'expected_accuracy', 'viterbi'}, default='expected_accuracy'
        Frames of the events: those that are right with the highest expected number, or
        those of the likeliest single path.
    band : float, default=None
        Most events, at least 1, by which the number of past events may deviate from an
        even spread over the signal, which makes long samples faster. None has no limit.
    n_init : int, default=3
        Number of initial clusterings; the fit of the largest objective is kept.
    max_iter : int, default=100
        Largest number of iterations, from each of them.
    tol : float, default=1e-4
        Increase of the objective per frame below which the iterations end.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial clusterings. An integer gives the same model at every call.
    n_jobs : int, default=None
        Number of samples aligned at once, in threads. None is 1 unless in a joblib
        context, -1 all processors.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    verbose : bool or int, default=False
        Whether to show the progress of many samples: True or 1 by a bar, where tqdm is
        installed and stderr is a terminal or a notebook, else by lines with their
        seconds; 2 by lines.

    Attributes
    ----------
    event_frames_ : list of dict of str to ndarray of int64 of shape (n_events,)
        Frame of the signal at which each event happened, in ascending order, for each
        sample of `fit` by its modalities of events. Samples without a signal have none.
    confidence_ : list of dict of str to ndarray of shape (n_events,)
        Posterior probability of each of these frames.
    spread_ : list of dict of str to ndarray of shape (n_events,)
        Standard deviation of when each event happened, in frames.
    transitions_ : dict of str to ndarray of shape (n_states, n_states)
        Probabilities of the next state (column) given a state (row), by modality of
        events.
    start_probabilities_ : dict of str to ndarray of shape (n_states,)
        Probabilities of the first state.
    event_probabilities_ : dict of str to ndarray of shape (n_states,)
        Probability of an event at a frame, by state.
    objective_history_ : dict of str to ndarray of shape (n_iter,)
        Log-likelihood plus log prior, per frame, before each iteration.
    n_iter_ : int
        Largest number of iterations of a modality.
    paths_ : list of dict of str to ndarray of int64 of shape (length, 2)
        Pairs of a frame of the signal (before it is resampled) and an event, for each
        sample of `fit` by its observed modalities. That of the signal is straight.
    distances_ : ndarray of float64 of shape (n_samples, n_modalities)
        Minus the log-likelihood of events and signal per frame; 0 for signals, and NaN
        for missing sequences and tables.
    cost_ : float
        Mean of `distances_` without NaN; NaN if all are NaN.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features; of a frame, where they hold sequences.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a sequence is empty or has a value that is NaN or infinite, a sample has more
        events than frames, no sample of `fit` has both the signal and some events, the
        reference is not a modality of sequences, or the model does not fit into memory.

    See Also
    --------
    PairHMMAligner : Aligns two dense sequences.
    HMMAligner : Aligns all samples by one model of states.
    mmfusion.datasets.make_event_sequences : Makes a signal with events.

    Notes
    -----
    On the axis of the signal, `transform` interpolates events linearly between the
    frames at which they happen; `event_frames_` and `event_posteriors` are the result.

    The objective has several maxima. If events are found at the wrong kind of frames,
    raise `n_init` or `n_states`.

    Time is proportional to the number of frames, of events and of pairs of states.

    References
    ----------
    Bengio, S. (2003). An asynchronous hidden Markov model for audio-visual speech
    recognition. NeurIPS 15, 1213-1220.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.alignment import AsynchronousHMMAligner
    >>> from mmfusion.datasets import make_event_sequences
    >>> X, frames, _ = make_event_sequences(12, random_state=0)
    >>> aligner = AsynchronousHMMAligner(random_state=0).fit(X)
    >>> found = [sample["events"] for sample in aligner.event_frames_]
    >>> errors = np.abs(np.concatenate(found) - np.concatenate(frames))
    >>> bool((errors <= 2).all())
    True
    """

    _parameter_constraints: dict = {
        **BaseAligner._parameter_constraints,
        "n_states": [Interval(Integral, 1, None, closed="left")],
        "reference": [INTEGER, str],
        "emission": [str, dict],
        "covariance_type": [StrOptions({"diag", "full", "tied", "spherical"}), dict],
        "outlier_share": [Interval(Real, 0, 1, closed="left"), dict],
        "decode": [StrOptions({"expected_accuracy", "viterbi"})],
        "band": [Interval(Real, 1, None, closed="left"), None],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_states: int = 8,
        *,
        reference: int | str = 0,
        n_frames: int | None = None,
        emission: ByModality[str] = "gaussian",
        covariance_type: ByModality[str] = "diag",
        outlier_share: ByModality[float] = 0.01,
        decode: str = "expected_accuracy",
        band: float | None = None,
        n_init: int = 3,
        max_iter: int = 100,
        tol: float = 1e-4,
        random_state: RandomStateLike = None,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_states = n_states
        self.reference = reference
        self.n_frames = n_frames
        self.emission = emission
        self.covariance_type = covariance_type
        self.outlier_share = outlier_share
        self.decode = decode
        self.band = band
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.modalities = modalities
        self.verbose = verbose

    def event_posteriors(self, X: ModalitiesLike) -> list[dict[str, np.ndarray]]:
        """Compute when each event may have happened.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        list of dict of str to ndarray of shape (n_frames, n_events)
            For each sample with a signal, the probability that an event happened at a
            frame, by modality of events; columns sum to 1.
        """
        samples = self._samples(self._validate(X, reset=False, raw=True))
        with one_thread():
            return [
                {
                    name: self._posteriors(sample, name, i).events
                    for name in self._events_of(sample)
                }
                for i, sample in enumerate(samples)
            ]

    def state_posteriors(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Compute the posterior probabilities of the states of the signals.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            For each modality of events, given these: the probabilities at each frame,
            as an array of shape (n_frames, n_states); None where the sample lacks the
            signal or the events.
        """
        samples = self._samples(self._validate(X, reset=False, raw=True))
        found = {name: np.full(len(samples), None, object) for name in self._models}
        with one_thread():
            for i, sample in enumerate(samples):
                for name in self._events_of(sample):
                    found[name][i] = self._posteriors(sample, name, i).states
        return found

    def score(self, X: ModalitiesLike, y: object = None) -> float:
        """Return the mean log-likelihood of samples per frame of the signal.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        float
            Sum of the log-likelihoods of signals and events over samples and modalities
            of events, divided by the frames of the signals; NaN if no sample has both.
        """
        samples = self._samples(self._validate(X, reset=False, raw=True))
        total, n_frames = 0.0, 0
        with one_thread():
            for i, sample in enumerate(samples):
                for name in self._events_of(sample):
                    model, tables = self._tables(sample, name, i)
                    found = asynchronous_log_likelihood(
                        model.chain, *tables, band=model.band
                    )
                    self._check_path(found, name, i)
                    total += found
                    n_frames += len(tables[0])
        return total / n_frames if n_frames else np.nan

    def _set_results(self, samples: list[SampleSequences]) -> None:
        of_events = [
            {n: a for n, a in sample.items() if isinstance(a, EventAlignment)}
            for sample in self._alignments
        ]
        self.event_frames_ = [
            {name: self._path_of(a)[:, 0] for name, a in sample.items()}
            for sample in of_events
        ]
        self.confidence_ = [
            {name: a.frame_confidence for name, a in sample.items()}
            for sample in of_events
        ]
        self.spread_ = [
            {name: a.spread for name, a in sample.items()} for sample in of_events
        ]

    @staticmethod
    def _path_of(alignment: Alignment) -> np.ndarray:
        assert alignment.path is not None
        return alignment.path

    def _fit_samples(self, samples: list[SampleSequences], **metadata: Any) -> None:
        layout = self._layout
        self._reference = resolve_reference(
            self.reference, layout.names, layout.sequences, ()
        )
        random_state = check_random_state(self.random_state)
        self._models: dict[str, AsynchronousModel] = {}
        histories: dict[str, EMHistory] = {}
        for name in layout.sequences:
            if name == self._reference:
                continue
            frames = self._complete(samples, name)
            with one_thread():
                fits = [
                    self._learn(frames, name, random_state) for _ in range(self.n_init)
                ]
            model, history = max(fits, key=lambda fit: fit[1].objective[-1])
            self._models[name] = model
            per_frame = history.objective / frames.n_steps
            histories[name] = history._replace(objective=per_frame)
        self._keep_history(histories)

    def _complete(self, samples: list[SampleSequences], name: str) -> Frames:
        """Return the samples with both the signal and a modality of events."""
        both = [
            (i, {n: sample[n] for n in (self._reference, name)})
            for i, sample in enumerate(samples)
            if self._reference in sample and name in sample
        ]
        if not both:
            raise ValueError(
                f"no sample of fit has both the signal {self._reference!r} and events "
                f"{name!r}: give such samples, or leave {name!r} out"
            )
        for i, sample in both:
            self._check_lengths(
                len(sample[self._reference]), len(sample[name]), name, i
            )
        return frames_on_clock([sample for _, sample in both], clock=self._reference)

    def _check_lengths(self, n_steps: int, n_events: int, name: str, i: int) -> None:
        if n_events > n_steps:
            raise ValueError(
                f"modality {name!r}: sample {i} has {n_events} events, and its signal "
                f"{self._reference!r} {n_steps} frames, each of which has at most one "
                "event: let reference= be the modality with more frames, or resample "
                "the signal"
            )

    def _learn(
        self, frames: Frames, name: str, random_state: np.random.RandomState
    ) -> tuple[AsynchronousModel, EMHistory]:
        """Learn a model from one initial clustering of the frames of the signal."""
        refuse_too_many_states(
            "n_states", self.n_states, int(frames.offsets[-1]), len(frames.offsets) - 1
        )
        options = ChainEmissionOptions(
            self.emission, self.covariance_type, 2, self.outlier_share
        )
        emission = chain_emission(
            options, self._layout.names, self.n_states, [self._reference, name]
        )
        emission.prepare(frames)
        model = AsynchronousModel(
            chain_graph(self.n_states, "ergodic"),
            emission,
            signal=self._reference,
            band=self.band,
        )
        signal = Frames(
            frames.offsets, {self._reference: frames.modalities[self._reference]}
        )
        states = kmeans_states(signal, self.n_states, random_state)
        set_asynchronous_start(model, frames, states)
        title = f"{type(self).__name__}, modality {name!r}"
        with Progress(title, self.max_iter, verbose=self.verbose) as steps:
            history = fit_chain_model(
                model,
                frames,
                max_iter=self.max_iter,
                tol=self.tol,
                n_jobs=self.n_jobs,
                on_step=lambda objective: steps.step(f"objective {objective:.6g}"),
            )
        return model, history

    def _keep_history(self, histories: dict[str, EMHistory]) -> None:
        """Set the attributes of what is learned, and warn of fits without end."""
        chains = {name: model.chain for name, model in self._models.items()}
        self.transitions_ = {name: c.transitions for name, c in chains.items()}
        self.start_probabilities_ = {name: c.start for name, c in chains.items()}
        self.event_probabilities_ = {
            name: c.event_probabilities for name, c in chains.items()
        }
        self.objective_history_ = {n: h.objective for n, h in histories.items()}
        self.n_iter_ = max((len(h.objective) for h in histories.values()), default=1)
        converged = {name: h.converged for name, h in histories.items()}
        warn_of_unfinished(converged, self.max_iter, self.tol)

    def _events_of(self, sample: SampleSequences) -> list[str]:
        """Return the observed modalities of events of a sample that has a signal."""
        if self._reference not in sample:
            return []
        return [name for name in self._models if name in sample]

    def _tables(
        self, sample: SampleSequences, name: str, i: int
    ) -> tuple[AsynchronousModel, tuple[np.ndarray, np.ndarray]]:
        """Return the model of a modality of events, and the log densities."""
        signal, events = sample[self._reference], sample[name]
        self._check_lengths(len(signal), len(events), name, i)
        model = self._models[name]
        return model, model.log_densities(signal, events)

    def _posteriors(
        self, sample: SampleSequences, name: str, i: int
    ) -> AsynchronousPosteriors:
        model, tables = self._tables(sample, name, i)
        found = asynchronous_posteriors(model.chain, *tables, band=model.band)
        self._check_path(found.log_likelihood, name, i)
        return found

    def _check_path(self, log_likelihood: float, name: str, i: int) -> None:
        if log_likelihood == -np.inf:
            raise ValueError(
                f"modality {name!r}: no path of the model explains sample {i}; raise "
                "band, or check its values"
            )

    def _sample_aligner(
        self, samples: list[SampleSequences], **metadata: Any
    ) -> Callable[[int], dict[str, Alignment]]:
        def align(i: int) -> dict[str, Alignment]:
            sample = samples[i]
            of_events = self._events_of(sample)
            alignments: dict[str, Alignment] = {}
            for name, sequence in sample.items():
                if name in of_events:
                    alignments[name] = self._align_events(sample, name, i)
                else:  # the signal, or events without any
                    frames = np.arange(len(sequence))
                    straight = np.column_stack([frames, frames])
                    alignments[name] = Alignment(straight, cost=0.0, confidence=1.0)
            return alignments

        return align

    def _align_events(
        self, sample: SampleSequences, name: str, i: int
    ) -> EventAlignment:
        """Decode when the events of a sample happened."""
        found = self._posteriors(sample, name, i)
        n_steps, n_events = found.events.shape
        if self.decode == "viterbi":
            model, tables = self._tables(sample, name, i)
            steps = asynchronous_path(model.chain, *tables, band=model.band).steps
        else:
            steps = decoded_steps(found.events)
        confidence = np.minimum(found.events[steps, np.arange(n_events)], 1)
        frames = np.arange(n_steps)
        mean = frames @ found.events
        variance = ((frames[:, None] - mean) ** 2 * found.events).sum(axis=0)
        return EventAlignment(
            np.column_stack([steps, np.arange(n_events)]),
            cost=-found.log_likelihood / n_steps,
            confidence=float(confidence.mean()),
            shape=(n_steps, n_events),
            frame_confidence=confidence,
            spread=np.sqrt(variance),
        )


def decoded_steps(events: np.ndarray) -> np.ndarray:
    """Return the steps of events that are right with the highest expected number.

    Parameters
    ----------
    events : ndarray of shape (n_steps, n_events)
        Probability that an event is emitted at a step.

    Returns
    -------
    ndarray of int64 of shape (n_events,)
        The steps, in ascending order.
    """
    n_steps, n_events = events.shape
    # best[t]: of the events so far, all before step t
    best = np.zeros(n_steps + 1)
    tables = []
    for s in range(n_events):
        values = best[:-1] + events[:, s]
        values[:s] = -np.inf  # earlier events need steps, too
        best = np.append(-np.inf, np.maximum.accumulate(values))
        tables.append(values)
    steps, stop = np.empty(n_events, np.int64), n_steps
    for s in range(n_events - 1, -1, -1):
        steps[s] = stop = int(np.argmax(tables[s][:stop]))
    return steps
