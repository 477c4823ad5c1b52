"""Alignment of features with label sequences by hidden Markov models of units."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from numbers import Integral

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from mmfusion._chain_estimators import (
    CHAIN_CONSTRAINTS,
    ChainEmissionOptions,
    chain_emission,
)
from mmfusion._progress import FitProgress
from mmfusion._sklearn_compat import Interval
from mmfusion._threads import one_thread
from mmfusion._typing import ByModality, ColumnSpecLike, ModalitiesLike
from mmfusion._warnings import warn_user
from mmfusion.alignment._span_base import BaseSpanAligner, LabelChain, LabeledFrames
from mmfusion.graphical._clock import frames_on_clock
from mmfusion.graphical._unit_em import UnitModel, UnitSequence


class ForcedAligner(BaseSpanAligner):
    """Align labels with frames by hidden Markov models of their units.

    A label, such as a word, is a sequence of units, such as its phones, by a lexicon; a
    unit has some states in one order, which are the same wherever it occurs. The
    states of all units of a sample in their order make a chain, and a path q through it

    .. math:: p(x, q) = \\prod_t a_{q_{t-1} q_t} b(x_t \\mid q_t) .

    The densities b and the durations are fitted to the frames and label sequences
    alone, without any known boundaries, by expectation-maximisation. It starts flat,
    with equal segments of every sample. The likeliest path of a sample has the frames
    of each label. Frames of several modalities are fused: b is the product of their
    densities, over those that a sample has. Modalities that are tables pass through.

    Parameters
    ----------
    lexicon : dict of hashable to list of hashable, default=None
        Units of each label. None has each label as its own unit.
    n_states : int, default=3
        Number of states of a unit, of which each has at least one frame.
    silence : bool, default=False
        Whether there may be silence, of one state, before, between and after labels.
    star : hashable, default=None
        Label that stands for anything of one frame or more, such as a part of a
        recording without transcript. Its density is half of the largest of the frame,
        so that it leaves labels their frames. None is without.
    emission : {'gaussian', 'mixture', 'categorical', 'multinomial', 'poisson', \
'bernoulli'} or dict, default='gaussian'
        Kind of the densities b, or a dict by modality name; see `HMMClassifier`.
    covariance_type : {'diag', 'full', 'tied', 'spherical'} or dict, default='diag'
        Covariances of the Gaussian densities: variances of the features, a full
        matrix, one matrix of all states, or one variance of all features.
    n_mixtures : int or dict, default=2
        Number of Gaussian components of a state, for 'mixture'.
    outlier_share : float or dict, default=0.01
        Prior probability that a frame is an outlier, or a dict by modality name.
        Outliers hardly count for the states; 0 is the textbook model.
    clock : str or int, default=None
        Modality whose frames the labels are aligned with, or a number of steps, on
        which frames of other modalities are placed by their time. None is the modality
        with most frames, for each sample.
    band : float, default=None
        Largest distance of a path from the diagonal, as a share of the states, when
        samples are aligned. None allows all paths.
    max_iter : int, default=50
        Largest number of iterations of expectation-maximisation.
    tol : float, default=1e-3
        Increase of the objective, per frame, below which the iterations end.
    n_jobs : int, default=None
        Number of threads over samples. None is 1 unless in a joblib context, -1 all
        processors.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    verbose : bool or int, default=False
        Whether to show the progress of the iterations: True or 1 by a bar, where tqdm
        is installed and stderr is a terminal or a notebook, else by lines with their
        seconds; 2 by lines.

    Attributes
    ----------
    units_ : dict of hashable to int
        Number of each unit.
    means_, covariances_ : dict of str to ndarray
        Parameters of Gaussian densities by modality and state: those of unit u are from
        ``u * n_states`` on, and silence is last.
    stay_probabilities_ : ndarray of shape (n_columns,)
        Probability to stay in each state; that of the star is after all others.
    objective_history_ : ndarray of shape (n_iter,)
        Penalised log-likelihood before each iteration.
    converged_ : bool
        Whether the fit ended by `tol`.
    n_iter_ : int
        Number of iterations.
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
        If X has no modality of frames, or several of labels, a label or unit was not in
        `fit`, or a sample has fewer frames than its labels have states.

    Warns
    -----
    ConvergenceWarning
        If the objective still improves after `max_iter` iterations.

    See Also
    --------
    CTCAligner : Uses the log-probabilities of a trained network.
    LabelSpans : What `align` returns for a sample.
    mmfusion.plotting.SpanDisplay : Draw the spans of a sample.

    Notes
    -----
    *Forms of labels.* A modality is a list with a list of labels for each sample, text
    or integers, in a list or dict of modalities, or in `Modalities` as arrays of shape
    (n_labels, 1). Frames are arrays of float, of shape (n_frames, n_features).

    *What can be found.* Units are distinguished by their neighbours in the label
    sequences: those that always occur together share their frames in any way.

    *Estimates* are posterior modes: variances have a prior of two frames with the
    pooled variance, and a floor of a thousandth of it; staying and leaving have a tenth
    of a count.

    References
    ----------
    Rabiner, L. R. (1989). A tutorial on hidden Markov models and selected applications
    in speech recognition. Proceedings of the IEEE 77, 257-286.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.alignment import ForcedAligner
    >>> rng = np.random.default_rng(0)
    >>> labels = [["b", "a"], ["a", "b", "a"], ["b", "a", "a"], ["a", "b"]] * 3
    >>> values = [np.repeat([x == "b" for x in own], 10) for own in labels]
    >>> frames = [own[:, None] + 0.1 * rng.normal(size=(len(own), 1)) for own in values]
    >>> X = {"sensor": frames, "labels": labels}
    >>> aligner = ForcedAligner(n_states=1).fit(X)
    >>> aligner.align(X)[0].spans.tolist()
    [[0, 10], [10, 20]]
    """

    _parameter_constraints: dict = {
        **BaseSpanAligner._parameter_constraints,
        **{
            name: CHAIN_CONSTRAINTS[name]
            for name in (
                "emission",
                "covariance_type",
                "n_mixtures",
                "outlier_share",
                "clock",
                "max_iter",
                "tol",
            )
        },
        "lexicon": [dict, None],
        "n_states": [Interval(Integral, 1, None, closed="left")],
        "silence": ["boolean"],
        "star": "no_validation",
        "verbose": ["verbose"],
    }

    _fuses_modalities = True

    def __init__(
        self,
        lexicon: Mapping[Hashable, Sequence[Hashable]] | None = None,
        *,
        n_states: int = 3,
        silence: bool = False,
        star: Hashable = None,
        emission: ByModality[object] = "gaussian",
        covariance_type: ByModality[str] = "diag",
        n_mixtures: ByModality[int] = 2,
        outlier_share: ByModality[float] = 0.01,
        clock: str | int | None = None,
        band: float | None = None,
        max_iter: int = 50,
        tol: float = 1e-3,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.lexicon = lexicon
        self.n_states = n_states
        self.silence = silence
        self.star = star
        self.emission = emission
        self.covariance_type = covariance_type
        self.n_mixtures = n_mixtures
        self.outlier_share = outlier_share
        self.clock = clock
        self.band = band
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.modalities = modalities
        self.verbose = verbose

    def _fit_samples(
        self, samples: list[LabeledFrames] | None, X: ModalitiesLike
    ) -> None:
        self.units_: dict[Hashable, int] = {}
        self.stay_probabilities_ = np.zeros(0)
        self.objective_history_ = np.zeros(0)
        self.n_iter_, self.converged_ = 1, True
        if self._frame_modality is None:
            self._report_tables(X)
            return
        if not samples:
            if samples is None:
                self._labels_of(None, 0)  # raises an error
            raise ValueError(
                "no sample has frames and labels: nothing can be fitted; check that "
                "their samples correspond"
            )
        self._check_star()
        for sample in samples:
            for own in self._units_by_label(sample):
                for unit in own or []:
                    self.units_.setdefault(unit, len(self.units_))
        if not self.units_:
            raise ValueError(
                f"all labels are star={self.star!r}, and none has units that could be "
                "fitted: give samples with labels"
            )
        sequences = [self._sequence_of(sample) for sample in samples]
        self._model = self._flat_model(sequences)
        with (
            one_thread(),
            FitProgress(self, X, None, int(self.max_iter), "iteration") as progress,
        ):
            history = self._model.fit(
                sequences,
                max_iter=int(self.max_iter),
                tol=float(self.tol),
                n_jobs=self.n_jobs,
                on_step=lambda objective: progress.step(f"objective {objective:.6g}"),
            )
            self._set_results(history.objective, history.converged)
            progress.finish()

    def _report_tables(self, X: ModalitiesLike) -> None:
        """Report a fit to tables alone, which has no iteration."""
        with FitProgress(self, X, None, 1) as progress:
            progress.finish()

    def _flat_model(self, sequences: list[UnitSequence]) -> UnitModel:
        """Return the model of equal segments."""
        names = self._frame_modalities
        n_columns = len(self.units_) * int(self.n_states) + bool(self.silence)
        options = ChainEmissionOptions(
            self.emission, self.covariance_type, self.n_mixtures, self.outlier_share
        )
        emission = chain_emission(options, self._layout.names, n_columns, names)
        silence = n_columns - 1 if self.silence else None
        stay = np.full(n_columns + (self.star is not None), 0.5)
        model = UnitModel(emission, stay, silence, self.clock)
        model.start_flat(sequences)
        return model

    def _check_star(self) -> None:
        if not isinstance(self.star, Hashable):
            raise TypeError(
                f"star={self.star!r:.40} is of type {type(self.star).__name__}, which "
                "cannot be the key of a dict; give text, a number or a tuple"
            )
        if self.star is not None and self.star in (self.lexicon or {}):
            raise ValueError(
                f"star={self.star!r} is a label of lexicon, too; give a star that is "
                "no other label"
            )

    def _set_results(self, objective: np.ndarray, converged: bool) -> None:
        own = self._model.emission.emissions
        for attribute in ("means", "covariances"):
            found = {n: getattr(x, attribute, None) for n, x in own.items()}
            found = {n: values for n, values in found.items() if values is not None}
            if found:
                setattr(self, f"{attribute}_", found)
        self.stay_probabilities_ = self._model.stay
        self.objective_history_, self.converged_ = objective, converged
        self.n_iter_ = len(objective)
        if not converged:
            warn_user(
                f"after max_iter={self.max_iter} iterations the objective still "
                f"increases by more than tol={self.tol} per frame; raise max_iter or "
                "tol",
                ConvergenceWarning,
            )

    def _units_by_label(self, sample: LabeledFrames) -> list[list[Hashable] | None]:
        """Return the units of each label of a sample; None for the star."""
        units: list[list[Hashable] | None] = []
        for label in sample.labels:
            if self.star is not None and label == self.star:
                units.append(None)
                continue
            if self.lexicon is None:
                units.append([label])
                continue
            own = self.lexicon.get(label)
            if own is None or isinstance(own, str) or len(own) == 0:
                found = "is not in lexicon" if own is None else f"has the units {own!r}"
                raise ValueError(
                    f"the label {label!r} of sample {sample.position} {found}: give "
                    "lexicon a list of its units"
                )
            units.append(list(own))
        return units

    def _sequence_of(self, sample: LabeledFrames) -> UnitSequence:
        """Return the states of a sample, if it has as many frames."""
        units = self._units_by_label(sample)
        flat = [unit for own in units for unit in own or []]
        unknown = [unit for unit in flat if unit not in self.units_]
        if unknown:
            raise ValueError(
                f"the unit {unknown[0]!r} of sample {sample.position} was in no sample "
                f"of fit, which had {list(self.units_)[:20]}: fit to samples that have "
                "it"
            )
        n_states = int(self.n_states)
        star = len(self.units_) * n_states + bool(self.silence)
        columns = [
            [star]
            if own is None
            else [self.units_[u] * n_states + k for u in own for k in range(n_states)]
            for own in units
        ]
        labels = np.repeat(np.arange(len(units)), [len(own) for own in columns])
        n_frames = self._n_frames(sample)
        if n_frames < len(labels):
            raise ValueError(
                f"modality {self._frame_modality!r}: sample {sample.position} has "
                f"{n_frames} frames, and its {len(units)} labels, of "
                f"{len(flat)} units of {n_states} states, need {len(labels)}: lower "
                "n_states, or give fewer labels"
            )
        return UnitSequence(sample.frames, np.concatenate(columns), labels)

    def _n_frames(self, sample: LabeledFrames) -> int:
        return frames_on_clock([sample.frames], clock=self.clock).n_steps

    def _chain_of(self, sample: LabeledFrames) -> LabelChain:
        sequence = self._sequence_of(sample)
        chain, owner = self._model.chain(sequence)
        table = self._model.log_density([sequence])
        states = np.flatnonzero(owner >= 0)
        bounds = np.flatnonzero(np.diff(owner[states], prepend=-1, append=-1))
        return LabelChain(chain, table, states[bounds[:-1]], states[bounds[1:] - 1])
