"""HMMTransformer: posteriors of hidden states as features on a common time axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mmfusion._chain_estimators import CHAIN_CONSTRAINTS, ChainMixin
from mmfusion._numbers import check_count, is_integer
from mmfusion._options import by_modality
from mmfusion._progress import FitProgress
from mmfusion._sklearn_compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
)
from mmfusion._threads import threads_of_n_jobs
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion._validation import is_multimodal
from mmfusion._warnings import warn_user
from mmfusion.base import ModalityMixin, ModalityTransformerMixin
from mmfusion.fusion._graphical_couplings import (
    CouplingOptions,
    FittedCoupling,
    batches,
    fit_coupling,
    order_of_samples,
)
from mmfusion.fusion._sequence_labeler import as_ragged
from mmfusion.graphical._clock import Frames, select_sequences
from mmfusion.graphical._emissions import KINDS
from mmfusion.graphical._initialization import refuse_too_many_states
from mmfusion.modalities import Modalities

CHAIN_COUPLINGS = ("synchronous", "product", "coupled", "factorial", "hierarchical")
PARAMETERS = {  # of emissions, by the attribute that has those of all modalities
    "means_": "means",
    "covariances_": "covariances",
    "emission_probabilities_": "probabilities",
    "rates_": "rates",
}

Results = dict[str, np.ndarray]  # arrays by sample, of each chain or modality


class HMMTransformer(
    ChainMixin,
    ModalityMixin,
    ModalityTransformerMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    """Hidden Markov model of several modalities; its state posteriors as features.

    Maximises ``log p(X) + log prior`` by expectation-maximisation, where frames of the
    modalities are independent given hidden states on one clock:

    .. math:: p(X) = \\sum_s p(s_1) \\prod_t p(s_{t+1} | s_t) \\prod_v p(x_{vt} | s_t)

    `transform` returns the posteriors of the states at every step of the clock: one
    sequence for each chain of states, all on one time axis. Frames, features and
    modalities that are missing are marginalised exactly.

    Parameters
    ----------
    n_states : int or dict, default=4
        Number of states of a chain: of each modality's chain if they are coupled (then
        it may be a dict by modality name), of the shared chain if factorial, and of
        each unit if hierarchical.
    coupling : {'synchronous', 'product', 'coupled', 'factorial', 'hierarchical'}, \
            default='synchronous'
        What the chains are, and how they depend on each other.

        - 'synchronous': one chain 'state', by which all modalities are emitted;
        - 'product': for each of two modalities a chain of the same states from left to
          right, which are at most `max_lag` states apart;
        - 'coupled': a chain for each modality, whose next state depends on the last
          states of all chains, ``p(a'|a, b) p(b'|a, b)``; at most 256 combinations;
        - 'factorial': a chain 'shared' by all modalities, and a private one of each.
          The mean of a modality is the sum of what both contribute, with one covariance
          for all states. Beyond 1,024 combinations, the posterior is approximated by
          one of each chain (structured mean field);
        - 'hierarchical': one chain of the units 'unit', each of which has states of its
          own, and follows other units only.
    n_units : int, default=2
        Number of units, if hierarchical.
    n_private_states : int or dict, default=2
        Number of states of a private chain, if factorial, or a dict by modality name;
        of 1, a modality has none.
    max_lag : int, default=1
        Largest difference between the states of two modalities, for 'product'.
    emission : str or dict, default='gaussian'
        Kind of the densities of all modalities, or of each by name: of real numbers
        ('gaussian', 'mixture'), of integers or one-hot rows ('categorical'), of counts
        ('multinomial', 'poisson') or of features that are 0 or 1 ('bernoulli').
    covariance_type : {'diag', 'full', 'tied', 'spherical'} or dict, default='diag'
        Covariances of the Gaussian densities: variances of the features, a full
        matrix, one matrix of all states, or one variance of all features. If factorial,
        all states have one: 'diag' or a full matrix.
    n_mixtures : int or dict, default=2
        Number of Gaussian components of a state, for 'mixture'.
    modality_weights : float or dict, default=1.0
        Exponents of the densities, or of each by name. With others than 1, scores are
        no log-likelihoods.
    outlier_share : float or dict, default=0.01
        Share of outliers among the frames of all modalities, or of each by name.
        Outliers have no part in the states; 0 is the model of the textbooks.
    clock : str or int, default=None
        The steps of the chain: the frames of a modality by name, or a number of steps.
        None is the modality with most frames, in each sample.
    rate : {'mean', 'sum'} or dict, default='mean'
        How several frames of a modality in one step count: by the mean of their log
        densities, or the sum.
    slow : {'once', 'hold'} or dict, default='once'
        How a frame counts that lasts several steps: at one of them, or at all with
        weights that sum to 1.
    n_init : int, default=3
        Number of fits from other starts, of which the one of best objective is kept.
    max_iter : int, default=100
        Largest number of iterations of a fit.
    tol : float, default=1e-4
        Increase of the objective, per step of the clock, below which a fit ends.
    random_state : int, RandomState or None, default=None
        Seed of the starts.
    n_jobs : int, default=None
        Number of threads over sequences.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    verbose : bool or int, default=False
        Whether to show the progress of the iterations of `fit`: True or 1 by a bar,
        where tqdm is installed and stderr is a terminal or a notebook, else by lines
        with their seconds; 2 by lines.

    Attributes
    ----------
    chain_names_ : ndarray of str of shape (n_chains,)
        Names of the chains.
    joint_states_ : ndarray of int of shape (n_joint_states, n_chains)
        State of each chain in each joint state.
    start_probabilities_ : ndarray of shape (n_joint_states,)
        Probabilities of the first joint state.
    transitions_ : ndarray or csr_array of shape (n_joint_states, n_joint_states)
        Transition probabilities of joint states; sparse beyond 1,024. This and the
        last two are None if posteriors are approximated.
    chain_transitions_ : dict of str to ndarray
        Transition probabilities of each chain that has its own: of shape (n_states_1,
        ..., n_states_M, n_states_m) if coupled, else (n_states_m, n_states_m).
    means_, covariances_ : dict of str to ndarray
        Parameters of Gaussian modalities, by the states they are emitted by; if
        factorial, by the states of the shared chain (varying slowest) and of their own.
    emission_probabilities_ : dict of str to ndarray or list of ndarray
        Probabilities of categories, words and ones, by state; of categories a list with
        those of each feature.
    rates_ : dict of str to ndarray of shape (n_states, n_features)
        Rates of Poisson modalities.
    objective_history_ : ndarray of shape (`n_iter_`,)
        Penalised log-likelihood before each iteration, of the best start.
    converged_ : bool
        Whether the best fit ended by `tol`.
    n_iter_ : int
        Number of its iterations.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    See Also
    --------
    HMMClassifier : A model of chains for each class.
    mmfusion.alignment.ProductHMMAligner : Find which of two modalities leads.
    mmfusion.plotting.StatePosteriorDisplay : Draw the posteriors of a sample.
    mmfusion.plotting.ReliabilityDisplay : Draw the reliability of its modalities.

    Notes
    -----
    There is no 'asynchronous' coupling, where frames have no times: all modalities are
    on one clock. `HMMClassifier` with that coupling, fitted with one label for all
    samples, has the state posteriors at the frames of its clock, and
    `AsynchronousHMMAligner` the posteriors of the times of events.

    States of a chain are numbered by their expected frames, the most frequent first,
    and so are units; those of a product from left to right.

    The rows of a table are series of one feature. Of tables, the posteriors of all
    steps are the columns of tables.

    References
    ----------
    .. [1] L. R. Rabiner, "A tutorial on hidden Markov models and selected applications
       in speech recognition", Proceedings of the IEEE 77(2), 1989.
    .. [2] M. Brand, N. Oliver, A. Pentland, "Coupled hidden Markov models for complex
       action recognition", CVPR 1997.
    .. [3] Z. Ghahramani, M. I. Jordan, "Factorial hidden Markov models", Machine
       Learning 29, 1997.
    .. [4] S. Fine, Y. Singer, N. Tishby, "The hierarchical hidden Markov model:
       analysis and applications", Machine Learning 32, 1998.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion.fusion import HMMTransformer
    >>> rng = np.random.default_rng(0)
    >>> states = np.repeat([0, 1, 0], 20)
    >>> X = {
    ...     "audio": [np.c_[3.0 * states] + rng.normal(size=(60, 1)) for _ in range(4)],
    ...     "video": [np.c_[2.0 * states] + rng.normal(size=(60, 1)) for _ in range(4)],
    ... }
    >>> model = HMMTransformer(n_states=2, random_state=0).fit(X)
    >>> model.transform(X)["state"][0].shape
    (60, 2)
    >>> model.predict(X)[0][[0, 30, 59]]
    array([0, 1, 0])
    """

    _parameter_constraints: dict = {
        **CHAIN_CONSTRAINTS,
        "emission": [StrOptions(set(KINDS)), dict],
        "n_states": [Interval(Integral, 1, None, closed="left"), dict],
        "coupling": [StrOptions(set(CHAIN_COUPLINGS))],
        "n_units": [Interval(Integral, 1, None, closed="left")],
        "n_private_states": [Interval(Integral, 1, None, closed="left"), dict],
        "max_lag": [Interval(Integral, 0, None, closed="left")],
        "modality_weights": [Interval(Real, 0, None, closed="left"), dict],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_states: int | Mapping[str, int] = 4,
        coupling: str = "synchronous",
        *,
        n_units: int = 2,
        n_private_states: ByModality[int] = 2,
        max_lag: int = 1,
        emission: ByModality[Any] = "gaussian",
        covariance_type: ByModality[str] = "diag",
        n_mixtures: ByModality[int] = 2,
        modality_weights: ByModality[float] = 1.0,
        outlier_share: ByModality[float] = 0.01,
        clock: str | int | None = None,
        rate: ByModality[str] = "mean",
        slow: ByModality[str] = "once",
        n_init: int = 3,
        max_iter: int = 100,
        tol: float = 1e-4,
        random_state: RandomStateLike = None,
        n_jobs: int | None = None,
        modalities: ColumnSpecLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_states = n_states
        self.coupling = coupling
        self.n_units = n_units
        self.n_private_states = n_private_states
        self.max_lag = max_lag
        self.emission = emission
        self.covariance_type = covariance_type
        self.n_mixtures = n_mixtures
        self.modality_weights = modality_weights
        self.outlier_share = outlier_share
        self.clock = clock
        self.rate = rate
        self.slow = slow
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.modalities = modalities
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @threads_of_n_jobs
    def fit(self, X: ModalitiesLike, y: object = None) -> Self:
        """Fit the model to sequences.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The sequences; the rows of a table are series of one feature.
        y : object, default=None
            Not used.

        Returns
        -------
        self
            The fitted model.

        Raises
        ------
        ValueError
            If numbers of states do not fit the coupling, a product is not of two
            modalities or has more states than a sample has steps, or coupled chains
            have more than 256 combinations of states.
        """
        frame = self._validate(X, reset=True)
        options = self._coupling_options()
        frames = self._frames(frame)
        # those without any modality teach nothing
        observed = np.flatnonzero(frame.observed.any(axis=1))
        frames = select_sequences(frames, observed)
        frames = select_sequences(frames, order_of_samples(frames))
        self._refuse_too_many_states(frames)
        seeds = check_random_state(self.random_state).randint(2**31, size=self.n_init)
        n_steps = self.n_init * self.max_iter
        fits: list[FittedCoupling] = []
        with FitProgress(self, X, y, n_steps, "iteration") as progress:
            for start, seed in enumerate(seeds):
                fitted = fit_coupling(
                    options,
                    frames,
                    int(seed),
                    max_iter=self.max_iter,
                    tol=self.tol,
                    n_jobs=self.n_jobs,
                    on_step=progress.of_start(start),
                )
                fits.append(fitted)
                if progress.is_stopped:
                    break
        best = max(fits, key=lambda fitted: fitted.history.objective[-1])
        self._chains = best.chains
        self.objective_history_ = best.history.objective
        self.converged_ = best.history.converged
        self.n_iter_ = len(best.history.objective)
        self._set_parameters()
        if not (self.converged_ or progress.is_stopped):
            warn_user(
                f"the fit did not converge in max_iter={self.max_iter} iterations; "
                "raise max_iter or tol",
                ConvergenceWarning,
            )
        progress.finish()
        return self

    def _refuse_too_many_states(self, frames: Frames) -> None:
        n_frames = sum(own.values.shape[0] for own in frames.modalities.values())
        given: dict[str, ByModality[int]] = {"n_states": self.n_states}
        if self.coupling == "factorial":
            given["n_private_states"] = self.n_private_states
        for parameter, value in given.items():
            numbers = value.values() if isinstance(value, Mapping) else [value]
            largest = max([n for n in numbers if is_integer(n)], default=0)
            n_samples = len(frames.offsets) - 1
            refuse_too_many_states(parameter, largest, n_frames, n_samples)

    def _coupling_options(self) -> CouplingOptions:
        names = self._layout.names
        return CouplingOptions(
            self.coupling,
            names,
            self.n_states,
            self.n_units,
            self.n_private_states,
            self.max_lag,
            self._checked_weights(self.modality_weights),
            by_modality(self.covariance_type, names, "covariance_type", "diag"),
            by_modality(self.emission, names, "emission", "gaussian"),
            self._make_emission,
        )

    def _set_parameters(self) -> None:
        chains = self._chains
        self.chain_names_ = np.array(list(chains.chains), dtype=object)
        states, start, transitions = chains.joint_parameters()
        self.joint_states_: np.ndarray | None = states
        self.start_probabilities_: np.ndarray | None = start
        self.transitions_: Any = transitions
        self.chain_transitions_ = chains.chain_transitions()
        with np.errstate(over="ignore"):  # variances of 1e300-scaled data are infinite
            for attribute, parameter in PARAMETERS.items():
                found = {
                    name: getattr(own, parameter)
                    for name, own in chains.emissions.items()
                    if hasattr(own, parameter)
                }
                setattr(self, attribute, found)

    @threads_of_n_jobs
    def transform(self, X: ModalitiesLike) -> Any:
        """Compute the posteriors of the states at every step of the clock.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The sequences.

        Returns
        -------
        Modalities or array
            The posteriors by chain: for each sample an array of shape (n_steps,
            n_states), None for a sample without any modality. Of tables, arrays of
            shape (n_samples, n_steps * n_states), step after step. Modalities if X had
            modalities or there are several chains of sequences, else an array.
        """
        frame = self._validate(X, reset=False)
        blocks = self._by_sample(frame, self._chains.posteriors)
        if not self._layout.sequences:
            blocks = {
                name: np.stack([p.ravel() for p in own]) for name, own in blocks.items()
            }
        out = Modalities(blocks)
        if self._layout.sequences and len(blocks) > 1 and not is_multimodal(X):
            return out
        return self._output(out, like=X)

    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Find the most probable states, all together: the Viterbi path.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The sequences.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_steps[, n_chains])
            For each sample, an array of int of shape (n_steps,): the states of the one
            chain, or the units of a hierarchical one; of several chains (n_steps,
            n_chains). None for a sample without any modality. Of tables, one array.
        """
        decoded = self.decode(X)
        names = ["unit"] if self.coupling == "hierarchical" else list(decoded)
        by_sample = np.full(len(decoded[names[0]]), None, dtype=object)
        for i, first in enumerate(decoded[names[0]]):
            if first is not None and len(names) == 1:
                by_sample[i] = first
            elif first is not None:
                by_sample[i] = np.column_stack([decoded[name][i] for name in names])
        if self._layout.sequences:
            return by_sample
        return np.stack(list(by_sample))

    @threads_of_n_jobs
    def decode(self, X: ModalitiesLike) -> Results:
        """Find the most probable states of every chain.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The sequences.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            By chain, arrays of int of shape (n_steps,); None for a sample without any
            modality. If posteriors are approximated, those of each chain by itself.
        """
        return self._by_sample(self._validate(X, reset=False), self._chains.decode)

    @threads_of_n_jobs
    def state_posteriors(self, X: ModalitiesLike) -> Results:
        """Compute the posteriors of the states of every chain.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The sequences.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            By chain, arrays of shape (n_steps, n_states); None for a sample without any
            modality.
        """
        frame = self._validate(X, reset=False)
        return self._by_sample(frame, self._chains.posteriors)

    def _by_sample(
        self,
        frame: Modalities,
        compute: Callable[[Frames, int | None], Mapping[str, np.ndarray]],
    ) -> Results:
        """Return what a function computes for the steps of each chain."""
        found: Results = {
            name: np.full(len(frame), None, dtype=object) for name in self.chain_names_
        }
        for positions, frames in self._batches(frame):
            by_chain = compute(frames, self.n_jobs)
            for i, start, stop in _steps_of_samples(positions, frames):
                for name, own in by_chain.items():
                    found[name][i] = own[start:stop]
        return found

    @threads_of_n_jobs
    def reliability(self, X: ModalitiesLike) -> Results:
        """Compute the posterior probability that each frame is no outlier.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The sequences.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            By modality, arrays of shape (n_frames,), NaN where nothing was measured;
            None for a sample that lacks the modality. 1 without outlier component.
        """
        frame = self._validate(X, reset=False)
        found: Results = {
            name: np.full(len(frame), None, dtype=object) for name in frame.names
        }
        once = self._placed(frame, "once")  # each frame by itself
        for positions, frames in self._batches(frame):
            given = select_sequences(once, positions)
            inliers = self._chains.inliers(frames, given, self.n_jobs)
            for name, values in inliers.items():
                start = 0
                for i in positions[frame.observed[positions, frame.names.index(name)]]:
                    stop = start + len(frame[name][i])
                    found[name][i] = values[start:stop]
                    start = stop
        return found

    def score(self, X: ModalitiesLike, y: object = None) -> float:
        """Compute the mean log-likelihood of a step of the clock.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The sequences.
        y : object, default=None
            Not used.

        Returns
        -------
        float
            The mean, over the samples that have a modality; a lower bound of it if
            posteriors are approximated, and no log-likelihood if `modality_weights` are
            others than 1.
        """
        total, n_steps = self._total_score(X)
        return total / max(n_steps, 1)

    def aic(self, X: ModalitiesLike) -> float:
        """Compute the Akaike information criterion, ``2 p - 2 log p(X)``.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The sequences.

        Returns
        -------
        float
            The criterion for p free parameters; lower is better.
        """
        total, _ = self._total_score(X)
        return 2 * self._chains.n_parameters - 2 * total

    def bic(self, X: ModalitiesLike) -> float:
        """Compute the Bayesian information criterion, ``p log(n) - 2 log p(X)``.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The sequences.

        Returns
        -------
        float
            The criterion for p free parameters and n steps of the clock; lower is
            better.
        """
        total, n_steps = self._total_score(X)
        return self._chains.n_parameters * float(np.log(max(n_steps, 1))) - 2 * total

    def sample(
        self,
        n_samples: int = 1,
        n_steps: int = 100,
        random_state: RandomStateLike = None,
    ) -> tuple[Modalities, Results]:
        """Draw sequences from the model, without outliers.

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples.
        n_steps : int, default=100
            Number of steps of each; all modalities have a frame at every step.
        random_state : int, RandomState or None, default=None
            Seed.

        Returns
        -------
        X : Modalities
            The sequences.
        states : dict of str to ndarray of object of shape (n_samples,)
            States of every chain, as of `decode`.

        Raises
        ------
        ValueError
            If a number is none, or too small for a product.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        check_count(n_steps, "n_steps")
        samples, states = self._chains.sample(
            n_samples, n_steps, check_random_state(random_state)
        )
        X = {
            name: as_ragged([sample[name] for sample in samples])
            for name in self._layout.names
        }
        return Modalities(X), {
            name: as_ragged([own[name] for own in states]) for name in self.chain_names_
        }

    @threads_of_n_jobs
    def _total_score(self, X: ModalitiesLike) -> tuple[float, int]:
        frame = self._validate(X, reset=False)
        total, n_steps = 0.0, 0
        for positions, frames in self._batches(frame):
            scores = self._chains.scores(frames, self.n_jobs)
            observed = frame.observed[positions].any(axis=1)
            total += float(scores[observed].sum())
            n_steps += int(np.diff(frames.offsets)[observed].sum())
        return total, n_steps

    def _frames(self, frame: Modalities) -> Frames:
        """Place the sequences of all samples on their clocks."""
        frames = super()._frames(frame)
        if self.coupling == "product" and is_integer(self.n_states):
            self._check_lengths(frames, frame)
        return frames

    def _steps(self) -> str | int | None:
        """Return the clock: of tables a number, since the output has its columns."""
        return self.clock if self._layout.sequences else self._n_table_steps

    @property
    def _n_table_steps(self) -> int:
        """Number of steps of the rows of tables."""
        if isinstance(self.clock, Integral):
            return int(self.clock)
        widths = dict(zip(self._layout.names, self._layout.widths, strict=True))
        if self.clock is None:
            return max(widths.values())
        if self.clock not in widths:
            raise ValueError(
                f"clock={self.clock!r} is no modality; give one of {list(widths)}, a "
                "number of steps, or None"
            )
        return widths[self.clock]

    def _check_lengths(self, frames: Frames, frame: Modalities) -> None:
        lengths = np.diff(frames.offsets)
        observed = frame.observed.any(axis=1)
        short = np.flatnonzero((lengths < self.n_states) & observed)
        if len(short):
            raise ValueError(
                f"sample {short[0]} has {lengths[short[0]]} steps of the clock, fewer "
                f"than the n_states={self.n_states} states of a product; lower "
                "n_states, or leave such samples out"
            )

    def _batches(self, frame: Modalities) -> Iterator[tuple[np.ndarray, Frames]]:
        """Yield positions of samples and their frames, of bounded memory."""
        frames = self._frames(frame)
        # samples without any modality have no steps, unless a clock has given them
        with_steps = np.arange(len(frame))
        if self._layout.sequences:
            with_steps = np.flatnonzero(frame.observed.any(axis=1))
        frames = select_sequences(frames, with_steps)
        for own in batches(frames, self._chains.n_columns):
            yield with_steps[own], select_sequences(frames, own)

    def _names_out(self) -> list[np.ndarray]:
        prefix = type(self).__name__.lower()
        steps = [""]
        if not self._layout.sequences:
            steps = [f"t{t}_" for t in range(self._n_table_steps)]
        return [
            np.array(
                [f"{prefix}_{t}{chain}{k}" for t in steps for k in range(n)],
                dtype=object,
            )
            for chain, n in self._chains.chains.items()
        ]


def _steps_of_samples(
    positions: np.ndarray, frames: Frames
) -> Iterator[tuple[int, int, int]]:
    """Yield the position of each sample with the first and last of its steps."""
    yield from zip(
        positions.tolist(),
        frames.offsets[:-1].tolist(),
        frames.offsets[1:].tolist(),
        strict=True,
    )
