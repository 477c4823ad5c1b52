"""Alignment of the modalities of a sample by a pair hidden Markov model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
from scipy import sparse

from mmfusion._sklearn_compat import INTEGER, Interval, StrOptions
from mmfusion._threads import one_thread
from mmfusion._typing import ColumnSpecLike, MetricLike, ModalitiesLike
from mmfusion.alignment._alignments import Alignment
from mmfusion.alignment._base import BaseAligner, SampleSequences
from mmfusion.alignment._ctw_aligner import CTWAligner
from mmfusion.alignment._dtw_aligner import resolve_reference
from mmfusion.alignment._pair_lattice import (
    PairHMM,
    PairPosteriors,
    PairScores,
    pair_posteriors,
    sum_pair_paths,
)
from mmfusion.alignment._pair_parameters import (
    PairEM,
    PairLearning,
    PairParameters,
    SequencePair,
    learn_parameters,
    scale_of_costs,
    warping_hmm,
)
from mmfusion.alignment._pair_viterbi import pair_path
from mmfusion.alignment.dtw._constraints import Constraints
from mmfusion.alignment.dtw._costs import LOCAL_METRICS
from mmfusion.alignment.dtw._soft import SOFT_WINDOWS, SoftOptions
from mmfusion.graphical._em import warn_of_unfinished
from mmfusion.modalities import Modalities

LEAST_POSTERIOR = 1e-6  # of a pair of frames that `match_posterior_` holds


@dataclass(frozen=True)
class PairAlignment(Alignment):
    """The alignment of a sequence by a pair hidden Markov model.

    Parameters
    ----------
    frame_confidence : ndarray of shape (n_frames,)
        Probability that the alignment of each frame is right: of the frames of the axis
        that it is aligned with, or of having no counterpart where it has none.
    spread : ndarray of shape (n_frames,)
        Standard deviation, in frames of the axis, of the counterpart of each frame.
    match_posterior : csr_array of shape (n_axis_frames, n_frames)
        Probability of each pair of frames to be matched.
    """

    frame_confidence: np.ndarray | None = None
    spread: np.ndarray | None = None
    match_posterior: sparse.csr_array | None = None


class PairHMMAligner(BaseAligner):
    """Align by a pair hidden Markov model, with the probability of each pair of frames.

    Where DTWAligner has the path of least cost, this sums over all paths. A path
    through the reference r and another sequence x of a sample is a chain of steps, each
    in one of three states: M matches a frame of both, or repeats the last frame of one
    of them, as in warping; X and Y consume a frame of r or of x that has no
    counterpart. The weight of a path is the product of its transitions and

    .. math:: e_M(i, j) = \\exp(-c(r_i, x_j) / \\gamma), \\qquad
              e_X = e_Y = \\exp(-c_0 / \\gamma)

    with the local cost c, the cost c_0 of a frame without counterpart and the softness
    :math:`\\gamma`. The result is the posterior probability of every pair of frames,
    which shows where other alignments are as likely and what has no counterpart.
    Modalities that are tables pass through as they are.

    Parameters
    ----------
    reference : int or str, default=0
        Modality, by position or by name, whose frames are the time axis of each sample.
        The axis of a sample that lacks it is its longest sequence.
    n_frames : int, default=None
        Number of frames of the output, at least 2, to which the axis of every sample
        is resampled linearly. None keeps the length of each sample's axis.
    metric : {'sqeuclidean', 'euclidean', 'cosine', 'manhattan', 'correlation'} or \
            callable, default='sqeuclidean'
        Local cost of two frames, as in DTWAligner. A callable may compare modalities of
        different features.
    scale : float, default=4.0
        Softness gamma as a multiple of the median cost along the paths of least cost of
        the samples of `fit`, so that it has no unit. Smaller values come closer to
        dynamic time warping; larger ones are less sure.
    gap_weight : float, default=0.0
        Weight, at most 1, of beginning a part without counterpart: smaller values need
        longer or clearer ones. At 0 every frame is aligned.
    transitions : {'free', 'learned'}, default='free'
        'free': all transitions but those have weight 1, and without gaps the sum over
        paths is that of soft-DTW. 'learned': probabilities by expectation maximisation;
        longer paths then pay for each step.
    noise : {'equal', 'diagonal'}, default='equal'
        'diagonal': learn weights of the features in squared differences, inversely
        proportional to the variance of these between aligned frames. It had
        more errors than 'equal' on velocities of piano keys.
    n_components : int, default=None
        Number of directions of CTWAligner, to whose projections all modalities are
        brought first; linear maps to the projected reference are then learned with the
        alignment. None does so where features differ in number, with as many as
        CTWAligner has by default.
    decode : {'expected_accuracy', 'viterbi'}, default='expected_accuracy'
        Path of each sequence: the one with the fewest pairs of frames that are expected
        to be wrong, visited or not, under the posterior; or the likeliest single path.
    window : {'sakoe_chiba', 'itakura'}, default=None
        Frames that may be aligned; see `dtw_path`. None allows all pairs.
    radius : int or float, default=0.1
        Half width of 'sakoe_chiba' in frames; a float is a share of the longer
        sequence, at most 1.
    max_slope : float, default=2.0
        Largest slope of 'itakura', relative to the straight line.
    max_iter : int, default=20
        Largest number of iterations of expectation maximisation, for each modality.
    tol : float, default=1e-4
        Increase of the objective per frame below which the iterations end.
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
    match_posterior_ : list of dict of str to csr_array of shape \
            (n_axis_frames, n_frames)
        Probability that a path visits a pair of frames, for each sample of `fit` by its
        observed modalities; those below 1e-6 are 0. `match_posteriors` returns those of
        other samples.
    confidence_ : list of dict of str to ndarray of shape (n_frames,)
        Probability that the alignment of each frame is right: of the frames of the axis
        that it is aligned with, among those that it may be; for a frame that is left
        out, of having no counterpart.
    spread_ : list of dict of str to ndarray of shape (n_frames,)
        Standard deviation of the counterpart of each frame, in frames of the axis; NaN
        where the probability of all is 0.
    softness_ : dict of str to float
        Softness gamma of each modality but the reference, in units of the local cost.
    gap_costs_ : dict of str to float
        Cost c_0 of a frame without counterpart: the geometric mean of the median costs
        along the paths of least cost and of all pairs of frames.
    transitions_ : dict of str to ndarray of shape (3, 3)
        Weights of transitions from state (row) to state (column), in the order M, X, Y.
    step_weights_ : dict of str to ndarray of shape (3,)
        Weights of steps to M: of a frame of both, of the axis alone, of the modality
        alone.
    feature_weights_ : dict of str to ndarray of shape (n_features,) or None
        Weights of the squared differences of features, of geometric mean 1, for the
        noise 'diagonal'.
    projections_ : dict of str to ndarray of shape (n_features + 1, n_components)
        Linear map of the frames of each modality, followed by 1, to the common
        features; None where modalities are compared in their own.
    objective_history_ : dict of str to ndarray of shape (n_iter,)
        Log of the summed weights of paths plus the log prior, per frame, before each
        iteration; empty if nothing is learned.
    n_iter_ : int
        Largest number of iterations; 1 if nothing is learned.
    paths_ : list of dict of str to ndarray of int64 of shape (length, 2)
        Pairs of aligned frames, of the axis (before it is resampled) and of the
        modality, for each sample of `fit` by its observed modalities.
    distances_ : ndarray of float64 of shape (n_samples, n_modalities)
        Mean local cost along each path. It is 0 for the axis, and NaN for missing
        sequences and tables.
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
        If a sequence is empty or has a value that is NaN or infinite, no sample of
        `fit` has both the reference and some modality, the reference is not a modality
        of sequences, the metric does not fit the noise, no path has a finite cost, or
        posteriors do not fit into memory.

    See Also
    --------
    DTWAligner : Aligns along the path of least cost alone.
    HMMAligner : Aligns all samples by one model of states.
    soft_dtw_alignment : Posterior probabilities of pairs of frames of two sequences.

    Notes
    -----
    With ``transitions='free'`` and ``gap_weight=0`` the summed weight of all paths is
    ``exp(-softDTW / gamma)``, the posterior is the expected alignment of soft-DTW, and
    the path of 'viterbi' is that of DTW. Softness, gap cost and all that is learned are
    those of pairs of the reference with one modality; later samples are aligned by
    them.

    Time and memory are proportional to the product of both lengths.

    *The alignment may be sure and wrong*: a posterior is a probability under the model,
    whose frames are independent given the path. Take `confidence_` and `spread_` as an
    order of the frames, from sure to unsure.

    References
    ----------
    Durbin, R., Eddy, S., Krogh, A. and Mitchison, G. (1998). Biological sequence
    analysis. Cambridge University Press. Chapter 4.

    Cuturi, M. and Blondel, M. (2017). Soft-DTW: a differentiable loss function for
    time-series. ICML 34, 894-903. (the limit without gaps)

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import Modalities
    >>> from mmfusion.alignment import PairHMMAligner
    >>> audio = np.array([[0.0], [1.0], [2.0], [1.0]])
    >>> video = np.array([[0.2], [0.8], [1.4], [1.6], [1.3]])
    >>> aligner = PairHMMAligner().fit(Modalities({"audio": [audio], "video": [video]}))
    >>> aligner.paths_[0]["video"].tolist()
    [[0, 0], [1, 1], [1, 2], [2, 3], [3, 4]]
    >>> aligner.match_posterior_[0]["video"].toarray().round(2)[1].tolist()
    [0.12, 0.91, 0.72, 0.18, 0.02]
    >>> aligner.confidence_[0]["video"].round(2).tolist()
    [0.9, 0.81, 0.57, 0.59, 0.83]
    """

    _parameter_constraints: dict = {
        **BaseAligner._parameter_constraints,
        "reference": [INTEGER, str],
        "metric": [str, callable],
        "scale": [Interval(Real, 0, None, closed="neither")],
        "gap_weight": [Interval(Real, 0, 1, closed="both")],
        "transitions": [StrOptions({"free", "learned"})],
        "noise": [StrOptions({"equal", "diagonal"})],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "decode": [StrOptions({"expected_accuracy", "viterbi"})],
        "window": [StrOptions(set(SOFT_WINDOWS)), None],
        "radius": [Interval(Real, 0, None, closed="left")],
        "max_slope": [Interval(Real, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        reference: int | str = 0,
        *,
        n_frames: int | None = None,
        metric: MetricLike = "sqeuclidean",
        scale: float = 4.0,
        gap_weight: float = 0.0,
        transitions: str = "free",
        noise: str = "equal",
        n_components: int | None = None,
        decode: str = "expected_accuracy",
        window: str | None = None,
        radius: float = 0.1,
        max_slope: float = 2.0,
        max_iter: int = 20,
        tol: float = 1e-4,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.reference = reference
        self.n_frames = n_frames
        self.metric = metric
        self.scale = scale
        self.gap_weight = gap_weight
        self.transitions = transitions
        self.noise = noise
        self.n_components = n_components
        self.decode = decode
        self.window = window
        self.radius = radius
        self.max_slope = max_slope
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.modalities = modalities
        self.verbose = verbose

    def match_posteriors(self, X: ModalitiesLike) -> list[dict[str, np.ndarray]]:
        """Compute the probabilities of pairs of frames to be matched.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        list of dict of str to ndarray of shape (n_axis_frames, n_frames)
            For each sample, the probabilities by modality but the axis.
        """
        samples = self._samples(self._validate(X, reset=False, raw=True))
        found = []
        with one_thread():
            for i, sample in enumerate(samples):
                axis, others = self._axis_and_others(sample)
                found.append(
                    {
                        name: self._posteriors(sample, axis, name, i)[1].match
                        for name in others
                    }
                )
        return found

    def score(self, X: ModalitiesLike, y: object = None) -> float:
        """Return the mean log weight of all paths per frame.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.
        y : object, default=None
            Not used.

        Returns
        -------
        float
            Sum over samples and modalities of the log of the summed weights of paths,
            divided by the frames of both sequences; NaN if no sample has two. A greater
            `scale` raises it: compare models of one scale.
        """
        samples = self._samples(self._validate(X, reset=False, raw=True))
        total, n_frames = 0.0, 0
        with one_thread():
            for i, sample in enumerate(samples):
                axis, others = self._axis_and_others(sample)
                for name in others:
                    hmm, scores = self._scores(sample, axis, name)
                    log_likelihood = sum_pair_paths(hmm, scores)
                    self._check_path(log_likelihood, axis, name, i)
                    total += log_likelihood
                    n_frames += sum(scores.match.shape)
        return total / n_frames if n_frames else np.nan

    def _set_results(self, samples: list[SampleSequences]) -> None:
        self.confidence_ = self._of_alignments("frame_confidence")
        self.spread_ = self._of_alignments("spread")
        self.match_posterior_ = self._of_alignments("match_posterior")

    def _of_alignments(self, field: str) -> list[dict[str, Any]]:
        return [
            {name: getattr(alignment, field) for name, alignment in sample.items()}
            for sample in self._alignments
        ]

    def _fit_samples(self, samples: list[SampleSequences], **metadata: Any) -> None:
        layout = self._layout
        self._reference = resolve_reference(
            self.reference, layout.names, layout.sequences, ()
        )
        self._check_options()
        self._parameters: dict[str, PairParameters] = {}
        histories: dict[str, PairEM] = {}
        self._reference_projection: np.ndarray | None = None
        if layout.sequences:
            projections = self._initial_projections(samples)
            for name in layout.sequences:
                if name == self._reference:
                    continue
                pairs = self._pairs_of(samples, name)
                found = self._learn(pairs, projections.get(name))
                self._parameters[name] = found.parameters
                histories[name] = found
        self._keep_history(histories)

    def _check_options(self) -> None:
        if not callable(self.metric) and self.metric not in LOCAL_METRICS:
            raise ValueError(
                f"metric={self.metric!r} is not one of {LOCAL_METRICS}, nor callable"
            )
        if self.noise == "diagonal" and self.metric != "sqeuclidean":
            raise ValueError(
                f"noise='diagonal' weighs squared differences of features, and metric="
                f"{self.metric!r} has others: leave metric at 'sqeuclidean', or set "
                "noise='equal'"
            )

    def _initial_projections(
        self, samples: list[SampleSequences]
    ) -> dict[str, np.ndarray]:
        """Return projections to common features, if modalities have different ones."""
        widths = {n: x.shape[1] for sample in samples for n, x in sample.items()}
        if self.n_components is None and len(set(widths.values())) <= 1:
            return {}
        if callable(self.metric):
            return {}
        names = list(self._layout.sequences)
        complete = [sample for sample in samples if len(sample) == len(names)]
        blocks: dict[str, Any] = {}
        for name in names:
            blocks[name] = np.empty(len(complete), dtype=object)
            blocks[name][:] = [sample[name] for sample in complete]
        aligner = CTWAligner(self.n_components, n_jobs=self.n_jobs)
        aligner.fit(Modalities(blocks))
        maps = {
            name: np.vstack([projection, -aligner.means_[name] @ projection])
            for name, projection in aligner.projections_.items()
        }
        self._reference_projection = maps.pop(self._reference)
        return maps

    def _pairs_of(
        self, samples: list[SampleSequences], name: str
    ) -> list[SequencePair]:
        """Return the sequences of the reference and of a modality, where both are."""
        reference = self._reference
        pairs = [
            (self._in_common(s[reference], reference), s[name])
            for s in samples
            if reference in s and name in s
        ]
        if not pairs:
            raise ValueError(
                f"no sample of fit has sequences of both {reference!r}, the reference, "
                f"and {name!r}: give such samples, or leave {name!r} out"
            )
        return pairs

    def _in_common(self, sequence: np.ndarray, name: str) -> np.ndarray:
        """Return a sequence in the features of the reference, before any weights."""
        projection = (
            self._reference_projection
            if name == self._reference
            else self._parameters[name].projection
        )
        if projection is None:
            return sequence
        return sequence @ projection[:-1] + projection[-1]

    def _learn(
        self, pairs: list[SequencePair], projection: np.ndarray | None
    ) -> PairEM:
        """Learn the parameters of a modality."""
        n_features = pairs[0][0].shape[1]
        learns_transitions = self.transitions == "learned"
        hmm = warping_hmm(float(self.gap_weight), is_normalized=learns_transitions)
        weights = np.ones(n_features) if self.noise == "diagonal" else None
        learning = PairLearning(
            self.metric,
            self._window(),
            learns_transitions,
            weights is not None,
            projection is not None,
        )
        initial = PairParameters(1.0, 1.0, hmm, weights, projection)
        with one_thread():
            initial = self._scaled(initial, pairs)
            if not learning.learns:
                return PairEM(initial, np.empty(0), True)
            found = learn_parameters(
                learning,
                initial,
                pairs,
                max_iter=self.max_iter,
                tol=self.tol,
                n_jobs=self.n_jobs,
            )
            if learning.learns_weights or learning.learns_projection:
                # the costs that `scale` is relative to have changed
                found = found._replace(parameters=self._scaled(found.parameters, pairs))
        return found

    def _scaled(
        self, parameters: PairParameters, pairs: list[SequencePair]
    ) -> PairParameters:
        """Return parameters whose softness is that of the data."""
        costs = scale_of_costs(
            [parameters.pair_of(*pair) for pair in pairs],
            self.metric,
            self._constraints(),
            self.n_jobs,
        )
        return replace(
            parameters,
            softness=float(self.scale) * costs.matched,
            gap_cost=float(np.sqrt(costs.matched * costs.unmatched)),
        )

    def _keep_history(self, histories: dict[str, PairEM]) -> None:
        """Set the attributes of what is learned, and warn of fits without end."""
        own = self._parameters
        self.softness_ = {name: p.softness for name, p in own.items()}
        self.gap_costs_ = {name: p.gap_cost for name, p in own.items()}
        self.transitions_ = {name: p.hmm.transitions for name, p in own.items()}
        self.step_weights_ = {name: p.hmm.steps for name, p in own.items()}
        self.feature_weights_ = {name: p.weights for name, p in own.items()}
        self.projections_ = {self._reference: self._reference_projection}
        self.projections_ |= {name: p.projection for name, p in own.items()}
        self.objective_history_ = {n: h.objective for n, h in histories.items()}
        self.n_iter_ = max((len(h.objective) for h in histories.values()), default=0)
        self.n_iter_ = max(self.n_iter_, 1)
        converged = {name: h.converged for name, h in histories.items()}
        warn_of_unfinished(converged, self.max_iter, self.tol)

    def _window(self) -> SoftOptions:
        return SoftOptions(
            window=self.window, radius=self.radius, max_slope=self.max_slope
        )

    def _constraints(self) -> Constraints:
        return Constraints("symmetric1", self.window, self.radius, self.max_slope)

    def _axis_and_others(self, sample: SampleSequences) -> tuple[str, list[str]]:
        """Return the modality that is the axis of a sample, and the other ones."""
        axis = self._reference
        if axis not in sample and sample:
            axis = max(sample, key=lambda name: len(sample[name]))
        return axis, [name for name in sample if name != axis]

    def _scores(
        self, sample: SampleSequences, axis: str, name: str
    ) -> tuple[PairHMM, PairScores]:
        """Return the model of a modality, and its scores with the axis of a sample.

        An axis that is not the reference is mapped to its features like the modality,
        which is compared with it by its own parameters.
        """
        parameters = self._parameters.get(name) or self._parameters[axis]
        own = self._in_common(sample[axis], axis)
        try:
            scores = parameters.scores_of(
                own, sample[name], self.metric, self._window()
            )
        except ValueError as error:
            raise ValueError(f"modality {name!r}: {error}") from error
        return parameters.hmm, scores

    def _posteriors(
        self, sample: SampleSequences, axis: str, name: str, i: int
    ) -> tuple[tuple[PairHMM, PairScores], PairPosteriors]:
        hmm, scores = self._scores(sample, axis, name)
        found = pair_posteriors(hmm, scores)
        self._check_path(found.log_likelihood, axis, name, i)
        return (hmm, scores), found

    def _check_path(self, log_likelihood: float, axis: str, name: str, i: int) -> None:
        if log_likelihood == -np.inf:
            raise ValueError(
                f"modality {name!r}: the sequence of sample {i} has no path to "
                f"{axis!r} of finite cost; let the metric return finite costs, or "
                "widen the window"
            )

    def _sample_aligner(
        self, samples: list[SampleSequences], **metadata: Any
    ) -> Callable[[int], dict[str, Alignment]]:
        def align(i: int) -> dict[str, Alignment]:
            sample = samples[i]
            axis, others = self._axis_and_others(sample)
            alignments: dict[str, Alignment] = {axis: _identity(len(sample[axis]))}
            for name in others:
                (hmm, scores), found = self._posteriors(sample, axis, name, i)
                alignments[name] = _aligned(
                    hmm, scores, found.match, self._softness_of(name, axis), self.decode
                )
            return alignments

        return align

    def _softness_of(self, name: str, axis: str) -> float:
        return (self._parameters.get(name) or self._parameters[axis]).softness


def _identity(n: int) -> PairAlignment:
    """Align a sequence with itself."""
    frames = np.arange(n)
    return PairAlignment(
        np.column_stack([frames, frames]),
        cost=0.0,
        confidence=1.0,
        frame_confidence=np.ones(n),
        spread=np.zeros(n),
        match_posterior=sparse.eye_array(n, format="csr"),
    )


def _aligned(
    hmm: PairHMM,
    scores: PairScores,
    match: np.ndarray,
    softness: float,
    decode: str,
) -> PairAlignment:
    """Decode an alignment, and measure how sure it is."""
    if decode == "viterbi":
        found = pair_path(hmm, scores)
    else:
        found = pair_path(*_accuracies(hmm, scores, match))
    path = found.matches
    if not len(path):  # all frames lack a counterpart: keep the likeliest pair
        path = np.array([np.unravel_index(np.argmax(match), match.shape)])
    confidence, spread = _certainty(match, path)
    kept = sparse.csr_array(np.where(match >= LEAST_POSTERIOR, match, 0.0))
    return PairAlignment(
        path,
        cost=float(scores.match[tuple(path.T)].mean()) * -softness,
        confidence=float(confidence.mean()),
        shape=match.shape,
        frame_confidence=confidence,
        spread=spread,
        match_posterior=kept,
    )


def _accuracies(
    hmm: PairHMM, scores: PairScores, match: np.ndarray
) -> tuple[PairHMM, PairScores]:
    """Return the model whose likeliest path is expected to be the least wrong.

    A path that visits a pair of probability p has 1 - p wrong pairs more on average,
    and one that does not visit it p: the sum of p - 1/2 over the visited pairs is to be
    maximal. To leave out a frame of both sequences compares with visiting their pair as
    the mean probability of having no counterpart does with p.
    """
    gap_x, gap_y = ((0.5 - np.minimum(match.sum(axis=axis), 1)) / 2 for axis in (1, 0))
    has_gaps = float(hmm.transitions[0, 1] > 0)
    allowed = np.ones((3, 3))
    allowed[:, 1:] = has_gaps
    equal = PairHMM(allowed[0], allowed, np.ones(3))
    inside = np.where(np.isfinite(scores.match), match - 0.5, -np.inf)
    return equal, PairScores(inside, gap_x, gap_y, scores.window)


def _certainty(match: np.ndarray, path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the confidence of each frame, and the spread of its counterparts."""
    n, m = match.shape
    mass = match.sum(axis=0)
    matched = np.bincount(path[:, 1], match[tuple(path.T)], m)
    is_matched = np.bincount(path[:, 1], minlength=m) > 0
    at_most_one = np.minimum(mass, 1)
    confidence = np.where(is_matched, matched / np.maximum(mass, 1), 1 - at_most_one)
    with np.errstate(invalid="ignore", divide="ignore"):
        frames = np.arange(n)
        mean = frames @ match / mass
        variance = frames**2 @ match / mass - mean**2
    return np.minimum(confidence, 1), np.sqrt(np.maximum(variance, 0))
