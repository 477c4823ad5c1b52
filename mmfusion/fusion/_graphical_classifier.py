"""Classification of sequences by a hidden Markov model of each class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from mmfusion._chain_estimators import (
    CHAIN_CONSTRAINTS,
    ChainMixin,
    SamplesOfModel,
    posteriors_by_sample,
    reliability_by_sample,
    samples_of_models,
    states_by_sample,
)
from mmfusion._numbers import check_count
from mmfusion._progress import FitProgress
from mmfusion._row_chunks import by_row_chunks
from mmfusion._sklearn_compat import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    fit_context,
)
from mmfusion._target_checks import (
    check_target,
    validate_sample_weight,
)
from mmfusion._threads import threads_of_n_jobs
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    CrossValidationLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion._warnings import warn_user
from mmfusion.base import ModalityMixin, SupervisedMixin
from mmfusion.fusion._class_priors import checked_priors
from mmfusion.fusion._folds import fold_by_splitter
from mmfusion.fusion._graphical_calibration import (
    class_scores,
    held_out_scores,
    observed_modalities,
    temperatures_of_samples,
)
from mmfusion.fusion._graphical_class_models import (
    COUPLINGS,
    ChainDesign,
    design_chain,
    fit_class_models,
    fold_of_samples,
    refuse_crowded_samples,
    share_covariances,
    signal_of_modalities,
    without_whole_classes,
)
from mmfusion.fusion._sequence_labeler import as_ragged
from mmfusion.graphical._asynchronous_model import AsynchronousModel
from mmfusion.graphical._chain_model import (
    sample_sequences,
)
from mmfusion.graphical._class_scores import discriminative_weights, fit_temperature
from mmfusion.graphical._clock import Frames
from mmfusion.graphical._graph import transition_matrix
from mmfusion.modalities import Modalities


class HMMClassifier(
    ChainMixin,
    SupervisedMixin,
    ModalityMixin,
    ClassifierMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    r"""Classify sequences by a hidden Markov model of each class.

    A chain of states emits the frames of all modalities. Its states are how far a
    movement, word or event has come, so that samples may differ in pace. With the
    transition probabilities a of class c, the likelihood of a sample is a sum over all
    sequences of states q,

    .. math:: p(x \mid c) = \sum_q \prod_t a_{q_{t-1} q_t} \prod_v \tilde
              b_v(x_{tv} \mid q_t)^{\lambda_v}, \qquad
              \tilde b_v = (1 - \epsilon) b_v + \epsilon \,
              \mathcal{N}(m_v, 5 S_v) ,

    where v goes over the modalities that are observed at t: what is missing is
    marginalised exactly, in `fit` and in `predict`. The last term, of outliers with the
    pooled moments m and S, limits what frames that no state explains can do, so that a
    modality may be bad for a while, or always. The class is the largest of
    ``log p(c) + log p(x | c) / T``.

    Parameters
    ----------
    n_states : int, default=5
        Number of states of the chain of a class; at most the frames of the longest
        sequence.
    topology : {'left-to-right', 'ergodic'}, default='left-to-right'
        Whether the states of 'synchronous' and 'asynchronous' follow one another in a
        fixed order, or in any order.
    coupling : str, default='synchronous'
        How modalities share the chain: 'synchronous', 'product', 'coupled' or
        'asynchronous'. 'synchronous': all of them are emitted by the same state.
        'product': each of two modalities has states of its own from left to right,
        which are at most `max_lag` apart. 'coupled': each modality has states of its
        own in any order, and the next one depends on the states of all.
        'asynchronous': one of two modalities has a frame at each step, and the other
        one fewer, in order but without times; see Notes.
    max_lag : int, default=1
        Largest difference between the states of two modalities, for 'product'.
    emission : str, object or dict, default='gaussian'
        Kind of the densities b of all modalities, or of each by name: of real numbers
        ('gaussian', 'mixture'), of integers or one-hot rows ('categorical'), of counts
        ('multinomial', 'poisson') or of features that are 0 or 1 ('bernoulli'). An
        object has methods
        ``log_density(X)``, which returns an array of shape (n_frames, n_states), and
        ``update(X, posteriors)``; it has no outlier component.
    covariance_type : {'diag', 'full', 'tied', 'spherical'} or dict, default='diag'
        Covariances of the Gaussian densities: variances of the features, a full
        matrix, one matrix of all states, or one variance of all features.
    covariance_tied : bool, default=False
        Whether all states of all classes have the mean of their covariances, which
        suits classes of a few samples.
    n_mixtures : int or dict, default=2
        Number of Gaussian components of a state, for 'mixture'.
    outlier_share : float or dict, default=0.01
        Share of outliers among the frames, the epsilon of the formula, of all
        modalities or of each by name. 0 is the model of the textbooks, which one bad
        modality can mislead.
    modality_weights : float, dict or 'discriminative', default=1.0
        Exponents lambda of the modalities, or of each by name. They cannot be learned
        by likelihood: search over them, or learn them by 'discriminative', which
        maximises the probability of the classes of held-out samples.
    clock : str or int, default=None
        The steps of the chain: the frames of a modality by name, or a number of steps.
        None is the modality with most frames, in each sample; for 'asynchronous' in
        all.
    rate : {'mean', 'sum'} or dict, default='mean'
        How several frames of a modality in one step count: by the mean of their log
        densities, or the sum.
    slow : {'once', 'hold'} or dict, default='once'
        How a frame counts that lasts several steps: at one of them, or at all with
        weights that sum to 1.
    priors : array-like of shape (n_classes,) or dict, default=None
        Probabilities of the classes, in sorted order or by class. None takes their
        shares in `fit`.
    cv : int, cross-validation generator or iterable, default=3
        Folds of the held-out samples to which the temperature T and 'discriminative'
        weights are fitted. An integer divides each class, with equal samples in one
        fold. None leaves T at 1: predictions are the same for equal priors, but
        probabilities are mostly 0 and 1.
    max_iter : int, default=100
        Maximum number of iterations of expectation-maximisation.
    tol : float, default=1e-4
        Increase of the objective per frame below which the iterations stop.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of threads, over classes in `fit` and over samples later. None is 1
        unless in a joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Randomness of the first states of ergodic chains, and of `sample`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
    class_prior_ : ndarray of float64 of shape (n_classes,)
        Probabilities of the classes.
    temperature_ : float
        The temperature T by which log-likelihoods are divided.
    modality_temperatures_ : ndarray of float64 of shape (n_modalities,)
        The temperatures of samples with a single modality.
    modality_weights_ : ndarray of float64 of shape (n_modalities,)
        Exponents of the modalities.
    start_probabilities_ : ndarray of float64 of shape (n_classes, n_states)
        Probabilities of the first state.
    transitions_ : ndarray of float64 of shape (n_classes, n_states, n_states)
        Probabilities of each state (last axis) after each state. With several chains,
        a state is one of each.
    event_probabilities_ : ndarray of shape (n_classes, n_states) or None
        Probability that a step has a frame of the second modality, by state, for
        'asynchronous'; otherwise None.
    means_ : dict of str to ndarray of shape (n_classes, n_states, n_features)
        Means of the Gaussian densities, by modality.
    covariances_ : dict of str to ndarray of shape (n_classes, n_states, ...)
        Their variances or covariance matrices; one per class if 'tied'.
    objective_history_ : list of ndarray of shape (n_iter,)
        Penalised log-likelihood of each class before each iteration.
    converged_ : ndarray of bool of shape (n_classes,)
        Whether the iterations of a class stopped by `tol`.
    n_iter_ : ndarray of int of shape (n_classes,)
        Number of iterations of each class.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features, of a frame; for a table its columns.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If options do not fit the modalities, or priors the classes.

    Warns
    -----
    ConvergenceWarning
        If the iterations of a class have not converged after `max_iter`.
    UserWarning
        If all samples of a class lack a modality: its densities there are the pooled
        ones.

    See Also
    --------
    HMMLabeler : Labels frames in place of samples.
    EarlyFusionClassifier : With `SequencePooling`, classifies by statistics over time.
    DTWKernel : Similarities of sequences, for support vector machines.
    mmfusion.preprocessing.SequenceGradients : Adds gradients, which often help.

    Notes
    -----
    *Estimates* are posterior modes: variances have a prior of two frames with the
    pooled variance, and a floor of a thousandth of it; every transition has a tenth of
    a count. Units of features have no influence.

    *Temperature.* Frames are not as independent as the model takes them to be, so that
    log-likelihoods of classes differ by hundreds. T is fitted to scores of held-out
    samples, whose models get there by one iteration without them from the models of all
    samples. Folds by an integer depend on the data alone, not on their order. Where
    people or recordings have several samples, give folds that keep them together. The
    fewer modalities, the less overconfident are likelihoods: between samples with one
    modality and those with all, the logarithm of T is linear in their number.

    *Asynchronous modalities.* With 'asynchronous', a step emits a frame of the modality
    `clock`, and along with it, with a probability that the state has, the next frame of
    the other one [1]_. The likelihood is a sum over all steps at which these may have
    been, so that words without times, or gestures, need not be spread evenly. Each
    sample has at most as many of them as steps; `rate` and `slow` have no effect. Time
    is proportional to both numbers and to the square of `n_states`. A sample without
    them has the likelihood of the chain of the steps; one without the modality of the
    steps that of the states at its frames, a sum over all numbers of steps between.

    *Private chains.* There is no 'factorial' coupling: its densities are Gaussian with
    one covariance, without `emission`, `covariance_tied` or weights learned for each
    modality, and private chains would need numbers of states of their own. Give the
    posteriors of `HMMTransformer` with ``coupling='factorial'`` to a classifier.

    *Tables.* Where all modalities are tables, rows are series of one feature, a frame
    per column; beside sequences, the row of a table is one frame. Frames may hold NaN.
    A sample that lacks every modality gets the prior.

    References
    ----------
    .. [1] Bengio, S. (2003). An asynchronous hidden Markov model for audio-visual
       speech recognition. NeurIPS 15, 1213-1220.

    Rabiner, L. R. (1989). A tutorial on hidden Markov models and selected applications
    in speech recognition. Proceedings of the IEEE 77, 257-286.

    Potamianos, G., Neti, C., Gravier, G., Garg, A. and Senior, A. W. (2003). Recent
    advances in the automatic recognition of audiovisual speech. Proceedings of the IEEE
    91, 1306-1326. (exponents of streams, product models)

    Examples
    --------
    >>> from mmfusion import HMMClassifier
    >>> from mmfusion.datasets import make_multimodal_sequences
    >>> X, y, _ = make_multimodal_sequences(
    ...     60, {"audio": 3, "video": 5}, n_classes=3, random_state=0
    ... )
    >>> classifier = HMMClassifier(n_states=4).fit(X[:40], y[:40])
    >>> classifier.score(X[40:], y[40:])
    1.0
    >>> classifier.predict_proba(X[40:]).shape
    (20, 3)
    """

    _parameter_constraints: dict = {
        **CHAIN_CONSTRAINTS,
        "n_states": [Interval(Integral, 1, None, closed="left")],
        "topology": [StrOptions({"left-to-right", "ergodic"})],
        "coupling": [StrOptions(set(COUPLINGS))],
        "covariance_tied": ["boolean"],
        "max_lag": [Interval(Integral, 0, None, closed="left")],
        "modality_weights": [
            Interval(Real, 0, None, closed="left"),
            dict,
            StrOptions({"discriminative"}),
        ],
        "priors": ["array-like", dict, None],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_states: int = 5,
        *,
        topology: str = "left-to-right",
        coupling: str = "synchronous",
        max_lag: int = 1,
        emission: ByModality[Any] = "gaussian",
        covariance_type: ByModality[str] = "diag",
        covariance_tied: bool = False,
        n_mixtures: ByModality[int] = 2,
        outlier_share: ByModality[float] = 0.01,
        modality_weights: ByModality[float] | str = 1.0,
        clock: str | int | None = None,
        rate: ByModality[str] = "mean",
        slow: ByModality[str] = "once",
        priors: ArrayLike | Mapping[Any, float] | None = None,
        cv: CrossValidationLike = 3,
        max_iter: int = 100,
        tol: float = 1e-4,
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.n_states = n_states
        self.topology = topology
        self.coupling = coupling
        self.max_lag = max_lag
        self.emission = emission
        self.covariance_type = covariance_type
        self.covariance_tied = covariance_tied
        self.n_mixtures = n_mixtures
        self.outlier_share = outlier_share
        self.modality_weights = modality_weights
        self.clock = clock
        self.rate = rate
        self.slow = slow
        self.priors = priors
        self.cv = cv
        self.max_iter = max_iter
        self.tol = tol
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    @threads_of_n_jobs
    def fit(
        self, X: ModalitiesLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the chain of each class, and the temperature.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples. None is equal weights.

        Returns
        -------
        self
            The fitted classifier.
        """
        frame = self._validate(X, reset=True)
        y = check_target(self, frame, y)
        check_classification_targets(y)
        weight = validate_sample_weight(sample_weight, frame).astype(np.float64)
        counted = weight > 0
        folds = np.full(int(counted.sum()), -1)
        if not (self.cv is None or isinstance(self.cv, Integral)):
            folds = fold_by_splitter(self.cv, frame, y, counted)
        frame, y, weight = frame[counted], y[counted], weight[counted]
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.class_prior_ = np.bincount(codes, weight) / weight.sum()
        if self.priors is not None:
            self.class_prior_ = checked_priors(self.priors, self.classes_)
        self._warn_of_missing(frame, codes)
        if self.coupling == "asynchronous":
            self._signal = self._choose_signal(frame, weight)
        frames = self._frames(frame)
        self._median_steps = int(np.median(np.diff(frames.offsets)))
        design = self._design(frames, weight)
        if isinstance(self.cv, Integral):
            folds = fold_of_samples(frames, codes, int(self.cv))
        folds = without_whole_classes(folds, codes)
        learns_weights = isinstance(self.modality_weights, str)
        n_steps = (1 + learns_weights) * len(self.classes_) + 1
        with FitProgress(self, X, y, n_steps) as progress:
            self._fit_models(design, frames, codes, weight, progress)
            if learns_weights:
                weights = self._discriminative_weights(frames, codes, folds, weight)
                design.model.emission.modality_weights = weights
                self._fit_models(design, frames, codes, weight, progress)
            with progress.timed("temperatures"):
                self._fit_temperatures(frames, codes, folds, weight)
        self._set_parameters()
        progress.finish()
        return self

    @property
    def _log_prior(self) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(self.class_prior_)

    def _warn_of_missing(self, frame: Modalities, codes: np.ndarray) -> None:
        """Warn of modalities that a class lacks."""
        for name, own in zip(frame.names, frame.observed.T, strict=True):
            n_observed = np.bincount(codes, own)
            if not n_observed.all():
                label = self.classes_[int(np.argmin(n_observed))]
                warn_user(
                    f"modality {name!r} is missing for every sample of class {label}: "
                    "its densities there are those of all classes together",
                )

    def _choose_signal(self, frame: Modalities, weight: np.ndarray) -> str:
        """Return the modality of which 'asynchronous' has a frame at each step."""
        n_frames = {
            name: sum(w * len(x) for w, x in zip(weight, block, strict=True))
            for name, block in (
                (n, [() if x is None else x for x in block])
                for n, block in frame.to_dict().items()
            )
        }
        given = self.modality_weights
        weights = {} if isinstance(given, str) else self._checked_weights(given)
        return signal_of_modalities(n_frames, self.clock, weights)

    def _steps(self) -> str | int | None:
        """Return the clock: of 'asynchronous', the modality of the signal."""
        return self._signal if self.coupling == "asynchronous" else self.clock

    def _frames(self, frame: Modalities) -> Frames:
        """Place the sequences of all samples on their clocks."""
        if self.coupling != "asynchronous":
            return self._placed(frame, self.slow)
        placed = self._placed(frame, "once")
        refuse_crowded_samples(frame, self._signal)
        return placed

    def _design(self, frames: Frames, weight: np.ndarray) -> ChainDesign:
        """Return the unfitted chain of every class."""
        n_states = min(self.n_states, int(np.diff(frames.offsets).max()))
        names = self._layout.names
        emission = self._make_emission(n_states)
        emission.prepare(frames, sample_weight=weight)
        if not isinstance(self.modality_weights, str):
            emission.modality_weights = self._checked_weights(self.modality_weights)
        elif self.cv is None:
            raise ValueError(
                "modality_weights='discriminative' are fitted to held-out samples; "
                "leave cv at its default"
            )
        return design_chain(
            self.coupling,
            names,
            n_states,
            self.topology,
            self.max_lag,
            emission,
            self._make_emission,
            self._signal if self.coupling == "asynchronous" else None,
        )

    def _fit_models(
        self,
        design: ChainDesign,
        frames: Frames,
        codes: np.ndarray,
        weight: np.ndarray,
        progress: FitProgress,
    ) -> None:
        """Fit the chains of all classes."""
        self._chains = design.chains
        self._models, histories = fit_class_models(
            design,
            frames,
            codes,
            weight,
            max_iter=self.max_iter,
            tol=self.tol,
            seed=check_random_state(self.random_state).randint(2**31 - 1),
            progress=progress,
            titles=[f"class {label}" for label in self.classes_],
            n_jobs=self.n_jobs,
        )
        if self.covariance_tied:
            share_covariances(self._models, np.bincount(codes, weight))
        self.objective_history_ = [history.objective for history in histories]
        self.n_iter_ = np.array([len(history.objective) for history in histories])
        self.converged_ = np.array([history.converged for history in histories])
        if not self.converged_.all():
            label = self.classes_[int(np.argmin(self.converged_))]
            warn_user(
                f"{type(self).__name__} has not converged after max_iter="
                f"{self.max_iter} iterations for class {label}; raise max_iter or tol",
                ConvergenceWarning,
            )

    def _discriminative_weights(
        self, frames: Frames, codes: np.ndarray, folds: np.ndarray, weight: np.ndarray
    ) -> dict[str, float]:
        """Fit exponents of modalities to scores of held-out samples."""
        chosen = folds >= 0
        names = self._layout.names
        if not chosen.any() or len(self.classes_) < 2:
            return dict.fromkeys(names, 1.0)
        _, scores = self._held_out_scores(frames, codes, folds, weight, names)
        return discriminative_weights(
            {name: found[chosen] for name, found in scores.items()},
            codes[chosen],
            log_prior=self._log_prior,
            sample_weight=weight[chosen],
        )

    def _held_out_scores(self, *data: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        return held_out_scores(
            self._models, *data, has_shared_covariances=self.covariance_tied
        )

    def _fit_temperatures(
        self, frames: Frames, codes: np.ndarray, folds: np.ndarray, weight: np.ndarray
    ) -> None:
        """Fit temperatures to scores of held-out samples; 1 without any."""
        names = self._layout.names
        self.temperature_, self.modality_temperatures_ = 1.0, np.ones(len(names))
        chosen = (folds >= 0) & (self.class_prior_[codes] > 0)
        if self.cv is None or not chosen.any() or len(self.classes_) < 2:
            return
        scores, alone = self._held_out_scores(frames, codes, folds, weight, names)

        def fitted(found: np.ndarray, rows: np.ndarray) -> float:
            return fit_temperature(
                found[rows],
                codes[rows],
                log_prior=self._log_prior,
                sample_weight=weight[rows],
            )

        self.temperature_ = fitted(scores, chosen)
        observed = observed_modalities(frames, names)
        for v, name in enumerate(names):
            own = chosen & observed[:, v]
            if own.any():
                self.modality_temperatures_[v] = fitted(alone[name], own)

    def _set_parameters(self) -> None:
        """Set the attributes that show the parameters of the models."""
        names = self._layout.names
        models = self._models
        emission = models[0].emission
        self.modality_weights_ = np.array([emission.weight(name) for name in names])
        self.start_probabilities_ = np.exp([m.graph.log_start for m in models])
        self.transitions_ = np.array([transition_matrix(m.graph) for m in models])
        found = [
            m.event_probabilities for m in models if isinstance(m, AsynchronousModel)
        ]
        self.event_probabilities_ = np.array(found) if found else None
        self.means_, self.covariances_ = (
            {
                name: np.array(
                    [getattr(m.emission.emissions[name], kind) for m in models]
                )
                for name in names
                if hasattr(emission.emissions[name], kind)
            }
            for kind in ("means", "covariances")
        )

    def _later_frames(self, X: ModalitiesLike) -> Frames:
        check_is_fitted(self)
        return self._frames(self._validate(X, reset=False))

    def _joint_scores(self, frames: Frames) -> np.ndarray:
        """Compute ``log p(c) + log p(x | c) / T`` of each class."""
        scores = class_scores(self._models, frames, self.n_jobs)
        weighted = self.modality_weights_ > 0
        temperatures = temperatures_of_samples(
            observed_modalities(frames, self._layout.names)[:, weighted],
            self.temperature_,
            self.modality_temperatures_[weighted],
        )
        return self._log_prior + scores / temperatures[:, None]

    @by_row_chunks
    @threads_of_n_jobs
    def decision_function(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the tempered joint log-likelihood of samples and classes.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes), or (n_samples,)
            ``log p(c) + log p(x | c) / T``, up to a constant of the sample; for two
            classes the difference of the second and the first.
        """
        scores = self._joint_scores(self._later_frames(X))
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    @by_row_chunks
    @threads_of_n_jobs
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the classes of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels of the predicted classes.
        """
        scores = self._joint_scores(self._later_frames(X))
        return self.classes_[scores.argmax(axis=1)]

    def predict_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return np.exp(self.predict_log_proba(X))

    @by_row_chunks
    @threads_of_n_jobs
    def predict_log_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes)
            Logarithms of the result of `predict_proba`.
        """
        return log_softmax(self._joint_scores(self._later_frames(X)), axis=1)

    @threads_of_n_jobs
    def reliability(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Compute the probability that each frame is no outlier.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            For each modality and sample, an array of shape (n_frames,) of posterior
            probabilities under the predicted class, NaN where nothing was measured;
            None where the sample lacks the modality.
        """
        check_is_fitted(self)
        frame = self._validate(X, reset=False)
        parts = self._by_predicted_class(self._frames(frame))
        as_given = self._placed(frame, "once")
        return reliability_by_sample(parts, as_given, frame, self.n_jobs)

    @threads_of_n_jobs
    def state_posteriors(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Compute the probabilities of the states of the predicted class.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            For each sample an array of shape (n_steps, n_states) of probabilities on
            the clock: of the chain 'state', or of one chain for each modality.
        """
        frames = self._later_frames(X)
        parts = self._by_predicted_class(frames)
        n_samples = len(frames.offsets) - 1
        return posteriors_by_sample(parts, self._chains, n_samples, self.n_jobs)

    @threads_of_n_jobs
    def decode(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Find the likeliest states of the predicted class.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            For each sample an array of int of shape (n_steps,) of states on the clock:
            of the chain 'state', or of one chain for each modality.
        """
        frames = self._later_frames(X)
        parts = self._by_predicted_class(frames)
        n_samples = len(frames.offsets) - 1
        return states_by_sample(parts, self._chains, n_samples, self.n_jobs)

    def _by_predicted_class(self, frames: Frames) -> Iterator[SamplesOfModel]:
        """Iterate over the predicted classes, with their samples and models."""
        predicted = self._joint_scores(frames).argmax(axis=1)
        return samples_of_models(frames, self._models, predicted)

    def sample(self, n_samples: int = 1) -> tuple[Modalities, np.ndarray]:
        """Draw samples from the models.

        Parameters
        ----------
        n_samples : int, default=1
            Number of samples. They have as many frames in each modality as the median
            sample of `fit` has steps, and no outliers.

        Returns
        -------
        X : Modalities of shape (n_samples, n_modalities)
            The sequences.
        y : ndarray of shape (n_samples,)
            Their classes, drawn by the prior.
        """
        check_is_fitted(self)
        check_count(n_samples, "n_samples")
        random_state = check_random_state(self.random_state)
        codes = random_state.choice(len(self._models), n_samples, p=self.class_prior_)
        drawn = [
            sample_sequences(self._models[c], 1, self._median_steps, random_state)[0][0]
            for c in codes
        ]
        blocks = {
            name: as_ragged([sequences[name] for sequences in drawn])
            for name in self._layout.names
        }
        return Modalities(blocks), self.classes_[codes]
