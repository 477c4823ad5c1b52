"""Alignment of two modalities that pass the same states, one before the other."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np

from mmfusion._sklearn_compat import Interval
from mmfusion._typing import ByModality, ColumnSpecLike, ModalitiesLike
from mmfusion.alignment._base import SampleSequences
from mmfusion.alignment._durations import initial_stays
from mmfusion.alignment._hmm_base import (
    BaseHMMAligner,
    DecodedSequence,
    joined_emission,
)
from mmfusion.alignment._initial_states import equal_states
from mmfusion.alignment._state_segments import (
    edges_of_states,
    expected_edges,
    states_of_edges,
)
from mmfusion.graphical._chain_model import ChainModel, EMHistory, decode_states
from mmfusion.graphical._graph import ChainGraph, destinations
from mmfusion.graphical._graph_builders import product_graph

PRODUCT_CHAIN = "both modalities"
N_CHAINS = 2
INITIAL_DELAYS = 0.0, 0.5, -0.5  # of the first modality, in segments


class ProductHMMAligner(BaseHMMAligner):
    """Find which of two modalities leads, and align both.

    Both modalities of a sample are on one clock, and pass the same states from left to
    right, but not at the same time: a state of the model is a pair (a, v) of states of
    the first and of the second modality with ``|a - v| <= max_lag``. In a step each of
    both stays or goes on by one; both begin in the first state and end in the last.
    The likelihood of a sample is

    .. math:: p(x) = \\sum_{(a, v)} \\prod_t P(a_t, v_t \\mid a_{t-1}, v_{t-1})
              \\, \\tilde b_1(x_{t1} \\mid a_t) \\, \\tilde b_2(x_{t2} \\mid v_t),

    with the densities of `HMMAligner`. The chain is learned from all samples by
    expectation-maximisation. Which modality leads at a frame is seen by the expected
    difference of both states. Modalities that are tables pass through as they are.

    Parameters
    ----------
    n_states : int, float or 'auto', default=8
        Number of states K; a float is a share of the frames of the shortest sequence of
        `fit`. 'auto' is half of them.
    max_lag : int, default=1
        Largest difference of the states of both modalities; 0 is one chain for both,
        and K - 1 leaves them free. Time and memory grow with ``2 * max_lag + 1``.
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
        First states of the frames. 'equal': equal segments of all sequences; of three
        fits, with those of one modality half a segment earlier or later than those of
        the other, or neither, the one of best objective is kept. 'dtw': a sample of
        median length is cut into homogeneous segments by Ward's method, and every
        sequence is aligned with it by `dtw_path`, modality by modality; the fit may
        keep the delay of that sample. 'auto' is 'equal'.
    decoding : {'posterior', 'viterbi'}, default='posterior'
        Where a sequence enters its states: at the expected frames, which may lie
        between frames, or at those of the likeliest path.
    reference : int or str, default='states'
        Time axis of a sample: see `HMMAligner`.
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
    lag_ : ndarray of object of shape (n_samples,)
        Expected difference a - v at each step of the clock of each sample of `fit`, as
        arrays of shape (n_steps,): positive where the first modality is ahead. NaN for
        samples that lack a modality. The clock has the steps of the longer sequence.
    delay_ : ndarray of float64 of shape (n_samples,)
        Steps by which the first modality enters a state later than the second, in the
        mean over states; negative where it leads.
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
        Minus the log-likelihood of the sample per step, for each of its observed
        modalities. It is NaN for missing sequences and tables.
    cost_ : float
        Mean of `distances_` without NaN; NaN if all are NaN.
    axis_edges_ : ndarray of shape (n_states + 1,)
        Edges of the states on the axis 'states'; without states on other axes.
    means_, covariances_ : dict of str to ndarray
        Parameters of Gaussian modalities by state.
    transitions_ : dict of str to ndarray or csr_array
        Transition probabilities of the pairs of states, of the chain of 'both
        modalities'.
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
        If a sequence is empty or has a value that is NaN or infinite, other than two
        modalities hold sequences, a sample has fewer frames than there are states, or
        the reference is not a modality of sequences.

    Warns
    -----
    ConvergenceWarning
        If the chain still improves after `max_iter` iterations.

    See Also
    --------
    HMMAligner : Aligns modalities whose delays are not limited.
    mmfusion.plotting.LagDisplay : Draw the lag of a sample.

    Notes
    -----
    A delay is that between the k-th changes of both modalities, so that the states need
    to be cut where both change. With more states than changes, or gradual ones, a delay
    that all samples share may become part of the states; delays are then relative to
    it.

    References
    ----------
    Potamianos, G., Neti, C., Gravier, G., Garg, A. and Senior, A. W. (2003). Recent
    advances in the automatic recognition of audiovisual speech. Proceedings of the IEEE
    91, 1306-1326. (product models)

    Examples
    --------
    >>> from mmfusion.alignment import ProductHMMAligner
    >>> from mmfusion.datasets import make_audio_visual_sequences
    >>> X, delays, _ = make_audio_visual_sequences(20, random_state=0)
    >>> aligner = ProductHMMAligner(n_states=8).fit(X)
    >>> delays[:5].tolist(), aligner.delay_[:5].round(1).tolist()
    ([1, -4, -1, -1, 3], [1.2, -3.6, -0.8, -0.7, 2.8])
    """

    _parameter_constraints: dict = {
        **BaseHMMAligner._parameter_constraints,
        "max_lag": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_states: int | float | str = 8,
        *,
        max_lag: int = 1,
        emission: ByModality[Any] = "gaussian",
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
        self.max_lag = max_lag
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

    def lag(self, X: ModalitiesLike) -> np.ndarray:
        """Compute by how many states the first modality is ahead, by frame.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of object of shape (n_samples,)
            For each sample, the expected difference of the states at each step of the
            clock, as an array of shape (n_steps,): see `lag_`.
        """
        return self._lags(self._samples(self._validate(X, reset=False, raw=True)))

    def delay(self, X: ModalitiesLike) -> np.ndarray:
        """Compute how many frames later the first modality enters its states.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples,)
            The mean over states: see `delay_`.
        """
        return self._delays(self.lag(X))

    def _delays(self, lags: np.ndarray) -> np.ndarray:
        """Return mean delays in frames.

        The sum of the differences a - v over time is that of the frames between the
        entries of v and of a into each state.
        """
        n_entered = max(self.n_states_ - 1, 1)
        return np.array([-lag.sum() / n_entered for lag in lags], dtype=np.float64)

    def _lags(self, samples: list[SampleSequences]) -> np.ndarray:
        found = np.full(len(samples), None, dtype=object)
        for i, sample in enumerate(samples):
            if not self._chains or len(sample) < N_CHAINS:
                n_steps = max(map(len, sample.values()), default=0)
                found[i] = np.full(max(n_steps, 1), np.nan)
                continue
            frames = self._on_clock(PRODUCT_CHAIN, [(i, sample)])
            posteriors, _ = self._posteriors(PRODUCT_CHAIN, frames, i)
            found[i] = posteriors @ (self._pairs[:, 0] - self._pairs[:, 1])
        return found

    def _set_results(self, samples: list[SampleSequences]) -> None:
        super()._set_results(samples)
        self.lag_ = self._lags(samples)
        self.delay_ = self._delays(self.lag_)

    def _fit_chains(self, samples: list[SampleSequences], names: list[str]) -> None:
        if len(names) != N_CHAINS:
            raise ValueError(
                f"the modalities {names} hold sequences, and one of two follows the "
                "other: give two of them, such as X[['audio', 'video']]"
            )
        delays = [0.0]
        if self.max_lag and not self._is_started_by_dtw(names):
            delays = list(INITIAL_DELAYS)
        fits = [self._fit_from(samples, names, delay) for delay in delays]
        best = max(fits, key=lambda fitted: fitted[1].objective[-1])
        self._chains[PRODUCT_CHAIN] = best[0]
        self._keep_history({PRODUCT_CHAIN: best[1]})

    def _fit_from(
        self, samples: list[SampleSequences], names: list[str], delay: float
    ) -> tuple[ChainModel, EMHistory]:
        """Fit a chain, begun with states of the first modality that are delayed."""
        start = self._start(samples, names, (delay / 2, -delay / 2))
        lengths = [max(map(len, sample.values())) for sample in samples if sample]
        n_frames = float(np.mean(lengths))
        stays = [initial_stays(n_frames * start.shares[name]) for name in names]
        graph, self._pairs = lagging_graph(stays[0], stays[1], self.max_lag)
        columns = {name: self._pairs[:, v] for v, name in enumerate(names)}
        chain = ChainModel(graph, joined_emission(start.emissions), columns)
        self._chains[PRODUCT_CHAIN] = chain
        self._frame_limits[PRODUCT_CHAIN] = self.n_states_, None
        return chain, self._fit_chain(PRODUCT_CHAIN, samples, self.max_iter)

    def _decode_sample(
        self, sample: SampleSequences, i: int
    ) -> dict[str, DecodedSequence]:
        if not sample:
            return {}
        chain = self._chains[PRODUCT_CHAIN]
        frames = self._on_clock(PRODUCT_CHAIN, [(i, sample)])
        of_pairs, log_likelihood = self._posteriors(PRODUCT_CHAIN, frames, i)
        path = None
        if self.decoding == "viterbi":
            path = self._pairs[chain.graph.emits[decode_states(chain, frames)[0]]]
        n_steps = frames.n_steps
        decoded = {}
        for v, name in enumerate(chain.emission.emissions):
            if name not in sample:
                continue
            posteriors = of_pairs @ np.eye(self.n_states_)[self._pairs[:, v]]
            if path is None:
                edges = expected_edges(posteriors)
                states = states_of_edges(edges)
            else:
                states = path[:, v]
                edges = edges_of_states(states, self.n_states_)
            n_frames = len(sample[name])
            steps = equal_states(n_frames, n_steps)
            decoded[name] = DecodedSequence(
                states[steps],
                edges * n_frames / n_steps,
                posteriors[steps],
                -log_likelihood / n_steps,
            )
        return decoded


def lagging_graph(
    stay: np.ndarray, other_stay: np.ndarray, max_lag: int
) -> tuple[ChainGraph, np.ndarray]:
    """Return the graph of two chains with the probabilities of staying in states.

    Parameters
    ----------
    stay, other_stay : ndarray of shape (n_states,)
        Probability that each chain stays in each state, but the last, in which it stays
        for good.
    max_lag : int
        Largest difference of the two states.

    Returns
    -------
    graph : ChainGraph
        The graph, whose transitions have the product of the probabilities of both
        chains; where the lag allows not all moves, divided by the sum of those it
        allows.
    pairs : ndarray of int32 of shape (n_pairs, 2)
        State of each chain in each state of the graph.
    """
    graph, pairs = product_graph(len(stay), max_lag=max_lag)
    src, dst = graph.src, destinations(graph)
    weights = np.ones(len(src))
    for v, probabilities in enumerate((stay, other_stay)):
        own = np.append(probabilities[:-1], 1.0)[pairs[src, v]]
        stays = pairs[src, v] == pairs[dst, v]
        weights *= np.where(stays, own, 1 - own)
    totals = np.bincount(src, weights, minlength=len(pairs))
    return graph._replace(log_weights=np.log(weights / totals[src])), pairs
