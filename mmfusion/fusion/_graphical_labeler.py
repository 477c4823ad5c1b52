"""Labels of frames by a hidden Markov model with states of its own for each label."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mmfusion._block_checks import ModalityTags
from mmfusion._chain_estimators import (
    CHAIN_CONSTRAINTS,
    ChainMixin,
    SamplesOfModel,
    refuse_impossible,
    reliability_by_sample,
)
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
from mmfusion._warnings import warn_user
from mmfusion.base import ModalityMixin
from mmfusion.fusion._known_labels import KNOWN_LABELS, KnownLabels, with_known_labels
from mmfusion.fusion._sequence_labeler import (
    SequenceLabelerMixin,
    as_ragged,
    encode_labels,
)
from mmfusion.graphical._chain_model import (
    ChainModel,
    decode_states,
    fit_chain_model,
    state_posteriors,
)
from mmfusion.graphical._clock import Frames, select_sequences
from mmfusion.graphical._coupling_starts import set_start
from mmfusion.graphical._couplings import hierarchical_coupling
from mmfusion.graphical._initialization import (
    kmeans_states,
    refuse_too_many_states,
)
from mmfusion.graphical._transition_models import HierarchicalTransitions


class HMMLabeler(
    ChainMixin,
    SequenceLabelerMixin,
    ModalityMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    r"""Label the frames of sequences by a hidden Markov model of all labels.

    Each label has states of its own, which emit the frames of all modalities. With the
    states q, transition probabilities a inside labels and between them, and densities
    b of the modalities v that are observed at t, the labels of a sample are decoded
    from

    .. math:: p(x, q) = \prod_t a_{q_{t-1} q_t} \prod_v \tilde
              b_v(x_{tv} \mid q_t)^{\lambda_v}, \qquad
              \tilde b_v = (1 - \epsilon) b_v + \epsilon \,
              \mathcal{N}(m_v, 5 S_v) .

    In `fit` the labels are known, and states inside a label are found by
    expectation-maximisation. What is missing is marginalised exactly, and the last term
    limits the effect of outliers, as in `HMMClassifier`.

    Parameters
    ----------
    states_per_label : int, default=1
        Number of states of each label, such as the phases of an activity.
    decoding : {'posterior', 'viterbi'}, default='posterior'
        'posterior': the likeliest label of each frame, over all sequences of states,
        which leaves the fewest frames wrong. 'viterbi': the labels of the likeliest
        sequence of states, which change less often; with several states, a label whose
        states are alike loses by it.
    emission : str, object or dict, default='gaussian'
        Kind of the densities b of all modalities, or of each by name; see
        `HMMClassifier`.
    covariance_type : {'diag', 'full', 'tied', 'spherical'} or dict, default='diag'
        Covariances of the Gaussian densities: variances of the features, a full
        matrix, one matrix of all states, or one variance of all features.
    n_mixtures : int or dict, default=2
        Number of Gaussian components of a state, for 'mixture'.
    outlier_share : float or dict, default=0.01
        Share of outliers among the frames, the epsilon of the formula, of all
        modalities or of each by name. 0 is the model of the textbooks, which one bad
        modality can mislead.
    modality_weights : float or dict, default=1.0
        Exponents lambda of the modalities, or of each by name.
    clock : str or int, default=None
        The steps of the chain, which y has labels of: the frames of a modality by name,
        or a number of steps. None is the modality with most frames, in each sample.
    rate : {'mean', 'sum'} or dict, default='mean'
        How several frames of a modality in one step count: by the mean of their log
        densities, or the sum.
    slow : {'once', 'hold'} or dict, default='once'
        How a frame counts that lasts several steps: at one of them, or at all with
        weights that sum to 1.
    max_iter : int, default=100
        Maximum number of iterations of expectation-maximisation.
    tol : float, default=1e-4
        Increase of the objective per frame below which the iterations stop.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of threads over samples. None is 1 unless in a joblib context, -1 all
        processors.
    random_state : int, RandomState instance or None, default=None
        Randomness of the first states inside labels.
    verbose : bool or int, default=False
        Whether to show the progress of the iterations of `fit`: True or 1 by a bar,
        where tqdm is installed and stderr is a terminal or a notebook, else by lines
        with their seconds; 2 by lines.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
    label_transitions_ : ndarray of float64 of shape (n_classes, n_classes)
        Probability of each label (column) after each other one, where it changes.
    modality_weights_ : ndarray of float64 of shape (n_modalities,)
        Exponents of the modalities.
    objective_history_ : ndarray of shape (n_iter,)
        Penalised log-likelihood before each iteration.
    n_iter_ : int
        Number of iterations.
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
        If a sample has not one label for each step of its clock, or lacks every
        modality.

    Warns
    -----
    ConvergenceWarning
        If the iterations have not converged after `max_iter`.

    See Also
    --------
    HMMClassifier : Predicts one label for each sample.

    Notes
    -----
    *y* holds one array of labels for each sample, in a list or an object array, and
    `predict` returns an object array of such. Search and cross-validation of
    scikit-learn take both, with the `score` of the labeler; splitters that stratify
    need one label for each sample. scikit-learn's own scorers refuse such y.

    *Tables.* Where all modalities are tables, each row is a sequence of one frame, and
    y has one label for each row. Beside sequences, a row is one frame, too.

    References
    ----------
    Fine, S., Singer, Y. and Tishby, N. (1998). The hierarchical hidden Markov model:
    analysis and applications. Machine Learning 32, 41-62. (of two levels here)

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import HMMLabeler, Modalities
    >>> rng = np.random.default_rng(0)
    >>> y = [np.repeat(["walk", "run", "walk"], [5, 8, n]) for n in (4, 6, 9, 5)]
    >>> audio = [(own == "run")[:, None] + 0.3 * rng.normal(size=(len(own), 2))
    ...          for own in y]
    >>> labeler = HMMLabeler().fit(Modalities({"audio": audio}), y)
    >>> labeler.predict(Modalities({"audio": audio}))[0].tolist() == y[0].tolist()
    True
    """

    _parameter_constraints: dict = {
        **CHAIN_CONSTRAINTS,
        "states_per_label": [Interval(Integral, 1, None, closed="left")],
        "decoding": [StrOptions({"posterior", "viterbi"})],
        "modality_weights": [Interval(Real, 0, None, closed="left"), dict],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        states_per_label: int = 1,
        *,
        decoding: str = "posterior",
        emission: ByModality[Any] = "gaussian",
        covariance_type: ByModality[str] = "diag",
        n_mixtures: ByModality[int] = 2,
        outlier_share: ByModality[float] = 0.01,
        modality_weights: ByModality[float] = 1.0,
        clock: str | int | None = None,
        rate: ByModality[str] = "mean",
        slow: ByModality[str] = "once",
        max_iter: int = 100,
        tol: float = 1e-4,
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.states_per_label = states_per_label
        self.decoding = decoding
        self.emission = emission
        self.covariance_type = covariance_type
        self.n_mixtures = n_mixtures
        self.outlier_share = outlier_share
        self.modality_weights = modality_weights
        self.clock = clock
        self.rate = rate
        self.slow = slow
        self.max_iter = max_iter
        self.tol = tol
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=True)
    @threads_of_n_jobs
    def fit(
        self, X: ModalitiesLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the chain of all labels.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : array-like of object of shape (n_samples,)
            The labels of each sample, an array of shape (n_steps,) on its clock.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples. None is equal weights.

        Returns
        -------
        self
            The fitted labeler.
        """
        frame = self._validate(X, reset=True)
        samples = self._labelled_samples(frame, y, sample_weight)
        self.classes_, codes = encode_labels(samples.labels)
        with FitProgress(self, X, y, self.max_iter, "iteration") as progress:
            self._model = self._fit_model(
                samples.frames, codes, samples.weight, progress
            )
        progress.finish()
        return self

    def _fit_model(
        self,
        frames: Frames,
        codes: np.ndarray,
        weight: np.ndarray,
        progress: FitProgress,
    ) -> ChainModel:
        """Fit the chain by expectation-maximisation, with the labels known."""
        n_labels, k = len(self.classes_), self.states_per_label
        refuse_too_many_states(
            "states_per_label", k, frames.n_steps, len(frames.offsets) - 1
        )
        coupling = hierarchical_coupling(self._layout.names, n_labels, k)
        emission = self._make_emission(n_labels * k)
        emission.modality_weights = self._checked_weights(self.modality_weights)
        emission.prepare(frames, sample_weight=weight)
        emission.emissions[KNOWN_LABELS] = KnownLabels(n_labels, k)
        model = ChainModel(
            coupling.graph, emission, transition_model=coupling.transition_model
        )
        states = self._first_states(frames, codes, weight)
        labelled = with_known_labels(frames, codes)
        set_start(model, coupling, labelled, states, sample_weight=weight)
        history = fit_chain_model(
            model,
            labelled,
            max_iter=self.max_iter,
            tol=self.tol,
            sample_weight=weight,
            n_jobs=self.n_jobs,
            on_step=lambda objective: progress.step(f"objective {objective:.6g}"),
        )
        del model.emission.emissions[KNOWN_LABELS]
        if not (history.converged or progress.is_stopped):
            warn_user(
                f"{type(self).__name__} has not converged after max_iter="
                f"{self.max_iter} iterations; raise max_iter or tol",
                ConvergenceWarning,
            )
        self.objective_history_ = history.objective
        self.n_iter_ = len(history.objective)
        step = model.transition_model
        assert isinstance(step, HierarchicalTransitions)
        self.label_transitions_ = step.between.copy()
        self.modality_weights_ = np.array(list(emission.modality_weights.values()))
        return model

    def _first_states(
        self, frames: Frames, codes: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """Cluster the frames of each label into its states."""
        k = self.states_per_label
        if k == 1:
            return codes.astype(np.int32)
        random_state = check_random_state(self.random_state)
        starts = frames.offsets[:-1]
        changes = np.union1d(starts, np.flatnonzero(np.diff(codes)) + 1)
        runs = frames._replace(offsets=np.append(changes, len(codes)))
        of_runs = weight[np.searchsorted(starts, changes, side="right") - 1]
        states = k * codes.astype(np.int32)
        for code in range(len(self.classes_)):
            chosen = np.flatnonzero(codes[changes] == code)
            states[codes == code] += kmeans_states(
                select_sequences(runs, chosen), k, random_state, of_runs[chosen]
            )
        return states

    def _label_posteriors(self, frames: Frames) -> np.ndarray:
        """Sum the posteriors of states by label."""
        chain = state_posteriors(self._model, frames, self.n_jobs, by_state=True)
        refuse_impossible(chain.log_likelihoods, range(len(chain.log_likelihoods)))
        joint = np.asarray(chain.posteriors)
        return joint.reshape(len(joint), len(self.classes_), -1).sum(axis=2)

    @threads_of_n_jobs
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the labels of the frames of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of object of shape (n_samples,)
            For each sample an array of labels of shape (n_steps,), on its clock. For
            tables one label for each row.
        """
        check_is_fitted(self)
        frames = self._labelled_frames(self._validate(X, reset=False))
        if self.decoding == "viterbi":
            path, scores = decode_states(self._model, frames, self.n_jobs)
            refuse_impossible(scores, range(len(scores)))
            codes = path // self.states_per_label
        else:
            codes = self._label_posteriors(frames).argmax(axis=1)
        return self._in_form_of_y(np.split(self.classes_[codes], frames.offsets[1:-1]))

    @threads_of_n_jobs
    def predict_marginals(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the probabilities of the labels of each frame.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of object of shape (n_samples,)
            For each sample an array of shape (n_steps, n_classes) of probabilities, in
            the order of ``classes_``.
        """
        check_is_fitted(self)
        frames = self._labelled_frames(self._validate(X, reset=False))
        return as_ragged(np.split(self._label_posteriors(frames), frames.offsets[1:-1]))

    def state_posteriors(self, X: ModalitiesLike) -> dict[str, np.ndarray]:
        """Return the result of `predict_marginals`, for displays.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        dict of str to ndarray of object of shape (n_samples,)
            The probabilities of the chain 'label'.
        """
        return {"label": self.predict_marginals(X)}

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
            probabilities, NaN where nothing was measured; None where the sample lacks
            the modality.
        """
        check_is_fitted(self)
        frame = self._validate(X, reset=False)
        frames, as_given = self._labelled_frames(frame), self._placed(frame, "once")
        parts = [SamplesOfModel(np.arange(len(frame)), self._model, frames)]
        return reliability_by_sample(parts, as_given, frame, self.n_jobs)

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(
            missing=True, sequences="frames", takes_nan=lambda name: True
        )
