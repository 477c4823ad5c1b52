"""Alignment of the sequences of many samples by a left-to-right hidden Markov model."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real

import numpy as np

from mmfusion._options import by_modality
from mmfusion._sklearn_compat import Interval
from mmfusion._typing import ByModality, ColumnSpecLike
from mmfusion.alignment._base import SampleSequences
from mmfusion.alignment._durations import Duration, resolve_durations
from mmfusion.alignment._hmm_base import (
    BaseHMMAligner,
    DecodedSequence,
    Start,
    joined_emission,
    members_of,
)
from mmfusion.alignment._initial_states import equal_states
from mmfusion.alignment._state_segments import (
    edges_of_states,
    expected_edges,
    states_of_edges,
)
from mmfusion.graphical._chain_model import ChainModel, decode_states
from mmfusion.graphical._multimodal_emission import MultimodalEmission

JOINT_CHAIN = "all modalities"


class HMMAligner(BaseHMMAligner):
    """Align the sequences of all samples by the states that they pass in one order.

    A chain of K states, left to right, is learned from all samples. Its states are a
    latent time that samples and modalities have in common: each passes them at a pace
    of its own, from the first state in its first frame to the last in its last. With
    the probabilities a of staying or going on, a sequence has the likelihood

    .. math:: p(x_v) = \\sum_q \\prod_t a_{q_{t-1} q_t} \\tilde b_v(x_{tv} \\mid q_t),
              \\qquad \\tilde b_v = (1 - \\epsilon) b_v
              + \\epsilon \\, \\mathcal{N}(m_v, 5 S_v),

    a sum over all paths q through the states, where m and S are the pooled moments of
    modality v. Frames of two sequences are aligned if they are at the same place of the
    same state, within a state linearly in time. The chain is fitted by
    expectation-maximisation, and aligns later samples, too. Modalities that are tables
    pass through as they are.

    Parameters
    ----------
    n_states : int, float or 'auto', default='auto'
        Number of states K; a float is a share of the frames of the shortest sequence of
        `fit`. 'auto' is half of them.
    max_skip : int, default=0
        Most states that a step may leave out. With 0, sequences have at least K frames.
    min_duration : int, float, array-like of shape (n_states,) or dict, default=1
        Fewest frames of a state that is not left out, the same for all or one for each;
        a float is a multiple of the mean frames in a state. A dict has one by modality.
    max_duration : int, float, array-like of shape (n_states,) or dict, default=None
        Most frames of a state, likewise; None is without limit.
    joint : bool, default=False
        Whether all modalities of a sample pass the states together, at the same shares
        of their frames, so that only samples are aligned with one another. By default
        each modality of a sample has its own path.
    n_joint_iter : int, default=10
        Number of first iterations in which all modalities of a sample are together.
        They tie the states of the modalities, each of which learns alone afterwards.
    emission : {'gaussian', 'mixture', 'categorical', 'multinomial', 'poisson', \
'bernoulli'}, object or dict, default='gaussian'
        Kind of the densities b of all modalities, or of each by name; see
        `HMMClassifier`.
    covariance_type : {'diag', 'full', 'tied', 'spherical'} or dict, default='diag'
        Covariances of the Gaussian densities: variances of the features, a full
        matrix, one matrix of all states, or one variance of all features.
    n_mixtures : int or dict, default=2
        Number of Gaussian components of a state, for 'mixture'.
    outlier_share : float or dict, default=0.01
        Prior probability that a frame of a modality is an outlier, the epsilon of the
        formula, or a dict by modality name. Outliers hardly count for the states; 0 is
        the textbook model.
    modality_weights : float or dict, default=1.0
        Exponents of the densities, or a dict by modality name. With others than 1,
        scores are no log-likelihoods.
    init : {'auto', 'dtw', 'equal'}, default='auto'
        First states of the frames. 'equal': equal segments of all sequences. 'dtw': a
        sample of median length is cut into homogeneous segments by Ward's method, and
        every sequence is aligned with it by `dtw_path`, modality by modality; the
        states of several modalities are then tied by that sample alone. 'auto' is 'dtw'
        for Gaussian sequences of one modality, and else 'equal'.
    decoding : {'posterior', 'viterbi'}, default='posterior'
        Where a sequence enters its states: at the expected frames, which may lie
        between frames, or at those of the likeliest path.
    reference : int or str, default='states'
        Time axis of a sample: 'states', the latent time at mean pace, which is the same
        for all samples; a modality, by position or by name; or 'longest', the longest
        of its sequences (the first of several). The axis of a sample that lacks the
        modality is its longest sequence. Both words take precedence over a modality of
        that name.
    n_frames : int, default=None
        Number of frames of the output, at least 2, to which the axis of every sample
        is resampled linearly. None keeps the length of each sample's axis.
    max_iter : int, default=100
        Largest number of iterations of expectation-maximisation, of each chain.
    tol : float, default=1e-3
        Increase of the objective, per frame, below which the iterations end.
    n_jobs : int, default=None
        Number of samples aligned at once, in threads, and of sequences in the fit. None
        is 1 unless in a joblib context, -1 all processors.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    verbose : bool or int, default=False
        Whether to show the progress of many samples: True or 1 by a bar, where tqdm is
        installed and stderr is a terminal or a notebook, else by lines with their
        seconds; 2 by lines.

    Attributes
    ----------
    n_states_ : int
        Number of states; 0 if there are only tables.
    edges_ : list of dict of str to ndarray of shape (n_states + 1,)
        Frames at which each sequence of `fit` goes on to the next state, from 0 to its
        number of frames, by its observed modalities.
    confidence_ : list of dict of str to ndarray of shape (n_frames,)
        Posterior probability of the state of each frame. It is low where several
        alignments are possible, or a part has no counterpart.
    paths_ : list of dict of str to ndarray of int64 of shape (length, 2)
        Pairs of aligned frames, of the axis (before it is resampled) and of the
        modality, for each sample of `fit` by its observed modalities.
    distances_ : ndarray of float64 of shape (n_samples, n_modalities)
        Minus the log-likelihood of each sequence per frame; if `joint`, that of all of
        the sample per step. It is NaN for missing sequences and tables.
    cost_ : float
        Mean of `distances_` without NaN; NaN if all are NaN.
    axis_edges_ : ndarray of shape (n_states + 1,)
        Edges of the states on the axis 'states'; without states on other axes.
    means_, covariances_ : dict of str to ndarray
        Parameters of Gaussian modalities by state.
    transitions_ : dict of str to ndarray or csr_array
        Transition probabilities of the chain of each modality; if `joint`, of that of
        'all modalities'. With limited durations, a state has several copies.
    objective_history_ : dict of str to ndarray of shape (n_iter,)
        Penalised log-likelihood before each iteration, of each chain.
    converged_ : bool
        Whether all chains ended by `tol`.
    n_iter_ : int
        Number of iterations, of the chain with most.
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
        If a sequence is empty, has a value that is NaN or infinite, or fewer or more
        frames than the states allow, or the reference is not a modality of sequences.

    Warns
    -----
    ConvergenceWarning
        If a chain still improves after `max_iter` iterations.

    See Also
    --------
    ProductHMMAligner : Finds which of two modalities leads.
    CTWAligner : Aligns modalities of different features by learned projections.
    DTWAligner : Aligns modalities of the same features, without learning.
    mmfusion.plotting.StatePosteriorDisplay : Draw the posteriors of a sample.

    Notes
    -----
    *Estimates* are posterior modes: variances have a prior of two frames with the
    pooled variance, and a floor of a thousandth of it; every transition has a tenth of
    a count. The scale of a modality has no influence, that of single features only on
    `init`.

    *Samples of one modality*, such as performances of a piece, are aligned with one
    another on the axis 'states'. From `edges_`, the time s of sample i is
    ``np.interp(s, edges_[i][name], edges_[j][name])`` in sample j.

    *Durations* are limited by copies of a state, so that time and memory grow with the
    sum of the limits. The mean frames in a state, of which floats are multiples, are
    the mean length of a modality divided by K.

    References
    ----------
    Rabiner, L. R. (1989). A tutorial on hidden Markov models and selected applications
    in speech recognition. Proceedings of the IEEE 77, 257-286.

    Examples
    --------
    >>> from mmfusion.alignment import HMMAligner
    >>> from mmfusion.datasets import make_audio_visual_sequences
    >>> X, _, states = make_audio_visual_sequences(12, random_state=0)
    >>> aligner = HMMAligner(n_states=8).fit(X[:8])
    >>> entered = aligner.align(X[8:])[0]["audio"].edges
    >>> entered.round().astype(int).tolist()
    [0, 13, 25, 42, 57, 70, 83, 97, 111]
    >>> aligner.transform(X[8:])["video"][0].shape
    (97, 3)
    """

    _parameter_constraints: dict = {
        **BaseHMMAligner._parameter_constraints,
        "max_skip": [Interval(Integral, 0, None, closed="left")],
        "min_duration": [Real, "array-like", dict],
        "max_duration": [Real, "array-like", dict, None],
        "joint": ["boolean"],
        "n_joint_iter": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_states: int | float | str = "auto",
        *,
        max_skip: int = 0,
        min_duration: ByModality[Duration] = 1,
        max_duration: ByModality[Duration] = None,
        joint: bool = False,
        n_joint_iter: int = 10,
        emission: ByModality[object] = "gaussian",
        covariance_type: ByModality[str] = "diag",
        n_mixtures: ByModality[int] = 2,
        outlier_share: ByModality[float] = 0.01,
        modality_weights: ByModality[float] = 1.0,
        init: str = "auto",
        decoding: str = "posterior",
        reference: int | str = "states",
        n_frames: int | None = None,
        max_iter: int = 100,
        tol: float = 1e-3,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_states = n_states
        self.max_skip = max_skip
        self.min_duration = min_duration
        self.max_duration = max_duration
        self.joint = joint
        self.n_joint_iter = n_joint_iter
        self.emission = emission
        self.covariance_type = covariance_type
        self.n_mixtures = n_mixtures
        self.outlier_share = outlier_share
        self.modality_weights = modality_weights
        self.init = init
        self.decoding = decoding
        self.reference = reference
        self.n_frames = n_frames
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs
        self.modalities = modalities
        self.verbose = verbose

    def _fit_chains(self, samples: list[SampleSequences], names: list[str]) -> None:
        start = self._start(samples, names)
        if self.joint:
            self._add_chain(JOINT_CHAIN, samples, start)
            history = self._fit_chain(JOINT_CHAIN, samples, self.max_iter)
            self._keep_history({JOINT_CHAIN: history})
            return
        if self.n_joint_iter and len(names) > 1:
            self._add_chain(JOINT_CHAIN, samples, start, limited=False)
            self._fit_chain(JOINT_CHAIN, samples, self.n_joint_iter)
            together = self._chains.pop(JOINT_CHAIN).emission
            start = start._replace(emissions=_separated(together))
        histories = {}
        for name in names:
            own = Start({name: start.emissions[name]}, {name: start.shares[name]})
            self._add_chain(name, samples, own)
            histories[name] = self._fit_chain(name, samples, self.max_iter)
        self._keep_history(histories)

    def _add_chain(
        self,
        chain_name: str,
        samples: list[SampleSequences],
        start: Start,
        *,
        limited: bool = True,
    ) -> None:
        """Add a chain with its initial parameters, of limited durations or not."""
        emission = joined_emission(start.emissions)
        lengths = [
            max(len(sequence) for sequence in own.values())
            for _, own in members_of(samples, emission)
        ]
        n_frames = float(np.mean(lengths))
        limits = self._limits_of(chain_name) if limited else (1, None)
        durations = resolve_durations(
            self.n_states_, self.max_skip, *limits, n_frames / self.n_states_
        )
        shares = np.mean(list(start.shares.values()), axis=0)
        self._frame_limits[chain_name] = durations.frame_limits()
        graph = durations.graph(n_frames * shares)
        self._chains[chain_name] = ChainModel(graph, emission)

    def _limits_of(self, chain_name: str) -> tuple[Duration, Duration]:
        """Return the limits of durations that are given for a chain."""
        given = {"min_duration": self.min_duration, "max_duration": self.max_duration}
        found = []
        for (option, value), default in zip(given.items(), (1, None), strict=True):
            if self.joint and isinstance(value, Mapping):
                raise ValueError(
                    f"joint=True has one clock for all modalities, and {option} is a "
                    "dict by modality: give one value"
                )
            names = self._layout.names
            values = by_modality(value, names, option, default)
            found.append(values[0 if self.joint else names.index(chain_name)])
        return found[0], found[1]

    def _decode_sample(
        self, sample: SampleSequences, i: int
    ) -> dict[str, DecodedSequence]:
        decoded = {}
        for chain_name, chain in self._chains.items():
            own = {n: sample[n] for n in chain.emission.emissions if n in sample}
            if not own:
                continue
            frames = self._on_clock(chain_name, [(i, own)])
            posteriors, log_likelihood = self._posteriors(chain_name, frames, i)
            n_steps = frames.n_steps
            if self.decoding == "posterior":
                edges = expected_edges(posteriors)
                states = states_of_edges(edges)
            else:
                states = chain.graph.emits[decode_states(chain, frames)[0]]
                edges = edges_of_states(states, self.n_states_)
            cost = -log_likelihood / n_steps
            for name, sequence in own.items():
                # the frames of all modalities are at the same shares of the clock
                steps = equal_states(len(sequence), n_steps)
                decoded[name] = DecodedSequence(
                    states[steps],
                    edges * len(sequence) / n_steps,
                    posteriors[steps],
                    cost,
                )
        return decoded


def _separated(emission: MultimodalEmission) -> dict[str, MultimodalEmission]:
    """Return an emission for each modality."""
    return {
        name: MultimodalEmission(
            {name: own},
            {name: emission.modality_weights[name]},
            {name: emission.outliers.get(name)},
        )
        for name, own in emission.emissions.items()
    }
