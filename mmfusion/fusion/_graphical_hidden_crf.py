"""Classification of sequences by a conditional random field with hidden states."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from mmfusion._progress import FitProgress
from mmfusion._sklearn_compat import (
    INTEGER,
    CallbackSupportMixin,
    HasMethods,
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
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.base import ModalityMixin, SupervisedMixin
from mmfusion.fusion._conditional_field import ConditionalFieldMixin
from mmfusion.fusion._frame_features import (
    join_blocks,
)
from mmfusion.graphical._clock import Frames
from mmfusion.graphical._crf import LabelledFrames, count_dependent_frames
from mmfusion.graphical._hidden_crf import (
    LARGEST_JOINT_STATES,
    LINKINGS,
    ClassifiedFrames,
    HiddenCRFObjective,
    HiddenParameters,
    generative_parameters,
    hidden_class_scores,
    hidden_states,
)
from mmfusion.graphical._initialization import equal_segments
from mmfusion.graphical._label_batches import Design
from mmfusion.graphical._lbfgs import Minimum, minimize

FIRST_NOISE = 0.01  # deviation of the noise on the first weights


class HiddenCRFClassifier(
    ConditionalFieldMixin,
    SupervisedMixin,
    ModalityMixin,
    ClassifierMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    r"""Classify sequences by a conditional random field with hidden states.

    Each class c has states of its own, and the probability of a class sums over its
    sequences of states h [1]_,

    .. math:: p(c \mid x) \propto e^{b_c} \sum_{h \in H_c^T} \exp \Big[\sum_t \sum_v
              w_{v, h_t}^\top f_v(x, t) + \sum_{t > 1} A_{h_{t-1} h_t}
              + \alpha_{h_1}\Big] ,

    with features f of the frames around t. `fit` minimises

    .. math:: C \sum_i -\log p(y_i \mid x_i) + \frac{1}{2} \left(\|w - w_0\|^2
              + \|A - A_0\|^2 + \|\alpha - \alpha_0\|^2\right) ,

    where :math:`w_0, A_0, \alpha_0` are the weights of a generative model, whose states
    are equal segments of the sequences, with Gaussian densities of the same variances.
    So a small C is that model, which few samples suffice for, and a large C is the
    model of the conditional likelihood alone [2]_. The modalities may share the states,
    or have states of their own, which depend on one another [3]_. The features of a
    missing modality count as 0.

    Parameters
    ----------
    n_states : int, default=3
        Number of states of each chain of a class; the chains of a class have 64 joint
        states at most.
    linking : {'shared', 'linked', 'coupled'}, default='shared'
        'shared': all modalities share the states. 'linked': each modality has a chain
        of states, and the states of all chains at the same step have a score together.
        'coupled': each has a chain, and a state has a score with the states of the
        other chains one step before. Sums over all chains are exact.
    C : float, default=1.0
        Inverse strength of the penalty, which draws weights to the generative model.
    features : transformer or dict, default=None
        Transformer of the frames of all modalities, or of each by name, such as
        PolynomialFeatures; OneHotEncoder, whose output is sparse, for codes of words.
        Frames that hold NaN are left out, and are missing.
    scaling : {'standard'} or dict, default='standard'
        'standard': dense features have mean 0 and variance 1 in `fit`, of all
        modalities or of each by name. None leaves them.
    context : int or dict, default=0
        Number of steps on either side of a step whose features it has too, of all
        modalities or of each by name. The weights learn how far modalities are apart.
    clock : str or int, default=None
        The steps of the chain: the frames of a modality by name, or a number of steps.
        None is the modality with most frames, in each sample. Several frames of
        another modality in a step have their mean, and a frame that lasts several
        steps is that of each.
    n_init : int, default=1
        Number of starts with other noise on the first weights; the smallest objective
        counts.
    max_iter : int, default=200
        Maximum number of iterations of L-BFGS of a start.
    tol : float, default=1e-3
        Largest element of the gradient, relative to that at the start or to 1, below
        which the iterations stop; so they do at a relative decrease below 1e-4 of it.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of threads over samples. None is 1 unless in a joblib context, -1 all
        processors.
    random_state : int, RandomState instance or None, default=None
        Randomness of the noise on the first weights.
    verbose : bool or int, default=False
        Whether to show the progress of the iterations of `fit`: True or 1 by a bar,
        where tqdm is installed and stderr is a terminal or a notebook, else by lines
        with their seconds; 2 by lines.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes.
    transition_scores_ : ndarray of shape (n_pairs, n_classes, n_states, n_states)
        Scores of each state (last axis) after each state: of every chain, then, for
        'coupled', of a state of one chain after a state of another.
    objective_history_ : ndarray of shape (n_iter + 1,)
        Objective at the start, and after each iteration.
    n_iter_ : int
        Number of iterations of the best start.
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
        If the chains of a class have more than 64 joint states, or options do not fit
        the modalities.

    Warns
    -----
    ConvergenceWarning
        If the iterations of the best start have not converged after `max_iter`.

    See Also
    --------
    HMMClassifier : The generative model, which often needs fewer samples.
    CRFLabeler : Labels frames in place of samples.

    Notes
    -----
    *Tables.* Where all modalities are tables, rows are series of one feature, a frame
    per column; beside sequences, the row of a table is one frame.

    References
    ----------
    .. [1] Quattoni, A., Wang, S., Morency, L.-P., Collins, M. and Darrell, T. (2007).
       Hidden conditional random fields. IEEE Transactions on Pattern Analysis and
       Machine Intelligence 29, 1848-1852.
    .. [2] Lasserre, J. A., Bishop, C. M. and Minka, T. P. (2006). Principled hybrids of
       generative and discriminative models. CVPR, 87-94.
    .. [3] Song, Y., Morency, L.-P. and Davis, R. (2012). Multi-view latent variable
       discriminative models for action recognition. CVPR, 2120-2127.

    Examples
    --------
    >>> from mmfusion import HiddenCRFClassifier
    >>> from mmfusion.datasets import make_multimodal_sequences
    >>> X, y, _ = make_multimodal_sequences(
    ...     60, {"audio": 3, "video": 5}, n_classes=3, random_state=0
    ... )
    >>> classifier = HiddenCRFClassifier(2, random_state=0).fit(X[:40], y[:40])
    >>> classifier.score(X[40:], y[40:])
    1.0
    """

    _parameter_constraints: dict = {
        "n_states": [Interval(Integral, 1, None, closed="left")],
        "linking": [StrOptions(set(LINKINGS))],
        "C": [Interval(Real, 0, None, closed="neither")],
        "features": [HasMethods(["fit", "transform"]), dict, None],
        "scaling": [StrOptions({"standard"}), dict, None],
        "context": [Interval(Integral, 0, None, closed="left"), dict],
        "clock": [str, Interval(Integral, 1, None, closed="left"), None],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "modalities": ["array-like", str, dict, INTEGER, None],
        "n_jobs": [INTEGER, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_states: int = 3,
        *,
        linking: str = "shared",
        C: float = 1.0,
        features: ByModality[Any] = None,
        scaling: ByModality[str | None] = "standard",
        context: ByModality[int] = 0,
        clock: str | int | None = None,
        n_init: int = 1,
        max_iter: int = 200,
        tol: float = 1e-3,
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.n_states = n_states
        self.linking = linking
        self.C = C
        self.features = features
        self.scaling = scaling
        self.context = context
        self.clock = clock
        self.n_init = n_init
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
        """Fit the weights by the classes of all samples.

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
        frame, y, weight = frame[counted], y[counted], weight[counted]
        self.classes_, codes = np.unique(y, return_inverse=True)
        n_chains = 1 if self.linking == "shared" else len(self._layout.names)
        self._refuse_too_many_states(n_chains)
        self._states = hidden_states(self.n_states, n_chains, self.linking)
        frames = self._frames(frame)
        self._features = self._fit_features(frames, weight)
        data = ClassifiedFrames(self._designs(frames), codes, frames.offsets, weight)
        n_steps = self.n_init * self.max_iter
        with FitProgress(self, X, y, n_steps, "iteration") as progress:
            self._minimize(data, progress)
        progress.finish()
        return self

    def _refuse_too_many_states(self, n_chains: int) -> None:
        n_joint = float(self.n_states) ** n_chains
        if n_joint > LARGEST_JOINT_STATES:
            fewer = int(LARGEST_JOINT_STATES ** (1 / n_chains) + 1e-9)
            remedy = "" if n_chains == 1 else ", or linking='shared'"
            raise ValueError(
                f"n_states={self.n_states} gives the {n_chains} chains of a class "
                f"{n_joint:.0f} joint states, more than {LARGEST_JOINT_STATES}; give "
                f"n_states={fewer}{remedy}"
            )

    def _designs(self, frames: Frames) -> list[Design]:
        """Compute the features of each chain."""
        blocks = self._features.blocks(frames)
        return [join_blocks(blocks)] if self.linking == "shared" else blocks

    def _minimize(self, data: ClassifiedFrames, progress: FitProgress) -> None:
        """Minimise the objective from all starts, and set the parameters."""
        objective = HiddenCRFObjective(
            self._states, data, len(self.classes_), self.C, self.n_jobs
        )
        segments = equal_segments(data.offsets, self.n_states)
        lengths = np.diff(data.offsets)
        codes = np.repeat(data.codes, lengths) * self.n_states + segments
        labelled = LabelledFrames(
            join_blocks(data.designs), codes, data.offsets, data.weight
        )
        temperature = count_dependent_frames(labelled)
        center = generative_parameters(objective, segments, temperature)
        objective.center = center
        random_state = check_random_state(self.random_state)
        best: Minimum | None = None
        for _ in range(self.n_init):
            start = center + FIRST_NOISE * random_state.normal(size=len(center))
            found = minimize(
                objective,
                start,
                max_iter=self.max_iter,
                tol=self.tol,
                on_step=lambda value: progress.step(f"objective {value:.6g}"),
            )
            if best is None or found.history[-1] < best.history[-1]:
                best = found
            if progress.is_stopped:
                break
        assert best is not None
        self._report_minimum(best, progress)
        own = objective.parameters(best.x.copy())
        self._parameters: HiddenParameters = own
        self.transition_scores_ = own.transitions.copy()

    @threads_of_n_jobs
    def _scores(self, X: ModalitiesLike) -> np.ndarray:
        check_is_fitted(self)
        frames = self._frames(self._validate(X, reset=False))
        return hidden_class_scores(
            self._designs(frames),
            frames.offsets,
            self._states,
            self._parameters,
            self.n_jobs,
        )

    def decision_function(self, X: ModalitiesLike) -> np.ndarray:
        """Compute the logarithm of the sum over the states of each class.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_classes), or (n_samples,)
            The logarithms; for two classes the difference of the second and the first.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

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
        codes = self._scores(X).argmax(axis=1)
        return self.classes_[codes]

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
        return log_softmax(self._scores(X), axis=1)
