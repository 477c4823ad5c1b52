"""Late fusion of classifiers, one for each modality."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if

from mmfusion._progress import FitProgress
from mmfusion._row_chunks import by_row_chunks
from mmfusion._sklearn_compat import StrOptions, fit_context
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    CrossValidationLike,
    EstimatorLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.fusion._branch import Branch, HeldOut, Predictions
from mmfusion.fusion._late_predictor import (
    LATE_PREDICTOR_CONSTRAINTS,
    LateFusionPredictor,
)
from mmfusion.fusion._multilabel import LabelsTarget
from mmfusion.fusion._predictor import ClassifierRole, nan_unless_observed
from mmfusion.fusion._targets import ClassificationTarget, has_probabilities
from mmfusion.fusion.combination._calibration import (
    Calibrator,
    fit_calibrator,
    log_odds,
)
from mmfusion.fusion.combination._opinion_pools import weighted_mean
from mmfusion.fusion.combination._predictor_weights import (
    mean_squared_error,
    skill,
)
from mmfusion.modalities import Modalities

STACK_METHODS = ("predict_proba", "decision_function", "predict")
SMALLEST_BRIER_SCORE = 1e-6  # its inverse is a weight


def _combines_probabilities(estimator: LateFusionClassifier) -> bool:
    """Return whether a fusion classifier has probabilities, or raise the reason."""
    if estimator.combine == "hard_vote":
        raise AttributeError(
            "combine='hard_vote' counts votes and has no probabilities; use "
            "'soft_vote' or 'log_pool'"
        )
    if estimator.combine == "stacking":
        final = estimator.final_estimator
        return final is None or hasattr(final, "predict_proba")
    if estimator.calibration is None:
        for template in estimator._templates().values():
            if not has_probabilities(template):
                raise AttributeError(_without_probabilities(template))
    return True


def _combines_scores(estimator: LateFusionClassifier) -> bool:
    """Return whether a fusion classifier has scores, or raise the reason."""
    final = estimator.final_estimator
    if estimator.combine == "stacking" and hasattr(final, "decision_function"):
        return True
    return estimator.combine == "hard_vote" or _combines_probabilities(estimator)


def _without_probabilities(template: BaseEstimator) -> str:
    calibrates = (
        "give calibration='sigmoid', which makes probabilities of its decisions, or "
    ) * hasattr(template, "decision_function")
    return (
        f"{type(template).__name__} has no predict_proba; {calibrates}"
        "give combine='hard_vote'"
    )


class LateFusionClassifier(
    LateFusionPredictor, ClassifierRole, ClassifierMixin, BaseEstimator
):
    """Opinion pool of classifiers, one for each modality.

    With the probabilities ``p_v(y | x_v)`` of the modality v, weights ``w_v`` and the
    class prior ``p(y)``, the class is the argmax of

    - ``sum_v w_v p_v(y | x_v)`` for 'soft_vote' (linear opinion pool),
    - ``log p(y) + sum_v w_v (log p_v(y | x_v) - log p(y))`` for 'log_pool',
    - ``sum_v w_v [y = argmax_k p_v(k | x_v)]`` for 'hard_vote',

    over the modalities that the sample has, or the prediction of a final estimator for
    'stacking'. Samples may lack modalities, in `fit` and later: each classifier is
    fitted to the samples that have its modality.

    Parameters
    ----------
    estimator : classifier or dict, default=None
        Classifier of one modality: one scikit-learn classifier that is cloned, or a
        dict by modality name, whose nested parameters are named ``audio__C``, and in
        which 'drop' leaves a modality out. None is
        ``LogisticRegression(max_iter=1000)``. Class weights are a parameter of it:
        ``estimator__class_weight``.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality; see `EarlyFusion`. For a modality alone 'auto' takes
        'standard' where it would take 'block', divided by the square root of a tenth of
        the number of features, if there are more than ten.
    combine : {'soft_vote', 'hard_vote', 'log_pool', 'stacking'}, default='soft_vote'
        Combination of the classifiers' predictions.

        - 'soft_vote': the weighted mean of their probabilities;
        - 'hard_vote': the class of most weighted votes, the first one in case of a tie;
        - 'log_pool': the product of their probabilities, with the class prior counted
          once [1]_: the posterior, if modalities are independent given the class and
          the probabilities are correct, for which see `calibration`. Weights are
          exponents, of which the largest is taken as 1;
        - 'stacking': `final_estimator` is fitted to held-out predictions [2]_. Missing
          predictions are replaced by the mean, and marked by one more feature if
          samples of `fit` lacked them.
    weights : {'uniform', 'score', 'log_loss', 'inverse_variance'}, array-like of \
shape (n_modalities,) or dict, default='uniform'
        Weight of each modality: given, by modality name (1 where a dict does not name
        it), or learned from held-out predictions. 'score': the share of the error of
        the class prior that is avoided, a thousandth of the best one's at least.
        'log_loss': the exponential of its negative log loss. 'inverse_variance': the
        inverse of the squared error of its probabilities. A modality of weight 0 is
        not used; 'stacking' depends only on which weights are 0.
    sample_weighting : {'entropy', 'conformal', 'distance'}, default=None
        Factor of a modality's weight for each sample to predict. 'entropy': one minus
        the normalised entropy of the modality's probabilities. 'conformal': 1, unless
        the sample is significantly unlike those of `fit` in this modality, at level
        .02 [3]_; then a thousandth. (With fewer than 50 samples none can be.)
        'distance': the typical squared distance to the nearest samples of `fit` over
        that of the sample, at most 1. 'stacking' does not use it.
    calibration : {'sigmoid', 'isotonic'}, default=None
        Calibration of each modality's probabilities (or decision values, without
        ``predict_proba``) on held-out samples: Platt's sigmoid or any monotone
        function, class against the rest.
    final_estimator : classifier, default=None
        Classifier of 'stacking'; None is ``LogisticRegression(max_iter=1000)``.
    stack_method : {'auto', 'predict_proba', 'decision_function', 'predict'}, \
default='auto'
        Method of the classifiers whose results are the features of the final estimator
        of 'stacking'. 'auto' is the first of these that a classifier has. 'predict'
        gives 1 for the predicted class and 0 for others. For two classes the column of
        the first one is left out.
    passthrough : bool, default=False
        Whether the final estimator of 'stacking' gets the scaled modalities beside the
        predictions, as scikit-learn's stacking gives it X. Missing
        modalities are replaced by their means.
    cv : int, cross-validation generator or iterable, default=5
        Folds of the held-out samples, for 'stacking', calibration and weights; the
        scaling is fitted without them too. An integer is the number of stratified
        folds.
    on_empty : {'prior', 'raise'}, default='prior'
        Prediction for samples that lack every modality: the class prior, or an error,
        in `fit` too.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Number of modalities and folds that are fitted at a time. None is 1 unless in a
        joblib context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Set on the classifiers, unless None, and for the draw of 2000 samples that
        distances are measured to, if there are more.
    verbose : bool or int, default=False
        Whether to show the progress of the fits of modalities: True or 1 by a bar,
        where tqdm is installed and stderr is a terminal or a notebook, else by lines
        with their seconds; 2 by lines.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,) or (n_labels, 2)
        Labels of the classes; 0 and 1 for each of several labels.
    estimators_ : dict of str to classifier
        Fitted classifiers by modality. Where all samples with a modality are
        of one class, a DummyClassifier, whose predictions become the class prior.
    final_estimator_ : classifier or None
        Fitted final estimator; None unless ``combine='stacking'``.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights of the modalities, with mean 1.
    scaling_ : dict of str to str
        Scaling of each modality; 'auto' is resolved.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Names of the modalities.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Number of features of each modality.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a modality is missing for every sample of `fit`, an observed cell is NaN or
        infinite, or a classifier has no probabilities where they are needed.

    See Also
    --------
    EarlyFusionClassifier : Classifies the concatenation of modalities.
    HybridFusionClassifier : Does both, and combines them.
    sklearn.ensemble.VotingClassifier : Combines classifiers of the same features.

    Notes
    -----
    A class that no sample with some modality has keeps its prior probability in the
    predictions from that modality. 'log_pool' divides by the class prior of `fit`: with
    class weights in the classifiers calibrate, which undoes them.

    Calibration, weights and 'stacking' fit every classifier once more for each fold.
    For 'stacking' and weights, the held-out predictions of a fold are calibrated by
    those of the other folds.

    y of shape (n_samples, n_labels) gives a sample any number of labels. Each label is
    then predicted like two classes, its absence and itself, and weights of modalities
    are by mean error, loss and entropy over the labels. A classifier whose tags do not
    allow several labels is fitted to each label; the fitted ones are in a list
    ``estimators_`` of it. Folds are not stratified by labels.

    References
    ----------
    .. [1] G. E. Hinton (2002), Training products of experts by minimizing contrastive
       divergence. Neural Computation 14(8), 1771-1800.
    .. [2] D. H. Wolpert (1992), Stacked generalization. Neural Networks 5(2), 241-259.
    .. [3] R. Laxhammar, G. Falkman (2010), Conformal prediction for distribution-
       independent anomaly detection in streaming vessel data. StreamKDD.

    Examples
    --------
    >>> from sklearn.svm import SVC
    >>> from mmfusion import LateFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(
    ...     n_features={"audio": 5, "video": 5}, missing_rate=0.2, random_state=0
    ... )
    >>> classifier = LateFusionClassifier(combine="log_pool", weights="score")
    >>> classifier.fit(X[:80], y[:80]).predict_proba(X[80:]).shape
    (20, 3)
    >>> own = LateFusionClassifier({"audio": SVC()}, calibration="sigmoid")
    >>> own.set_params(audio__C=10).fit(X, y).modality_predictions(X).shape
    (100, 2)
    """

    _parameter_constraints: dict = {
        **LATE_PREDICTOR_CONSTRAINTS,
        "combine": [StrOptions({"soft_vote", "hard_vote", "log_pool", "stacking"})],
        "weights": [
            StrOptions({"uniform", "score", "log_loss", "inverse_variance"}),
            "array-like",
            dict,
        ],
        "sample_weighting": [StrOptions({"entropy", "conformal", "distance"}), None],
        "calibration": [StrOptions({"sigmoid", "isotonic"}), None],
        "stack_method": [StrOptions({"auto", *STACK_METHODS})],
    }

    _target: ClassificationTarget | LabelsTarget
    _calibrators: list[Calibrator]

    def __init__(
        self,
        estimator: EstimatorLike = None,
        *,
        scaling: ByModality[str | None] = "auto",
        combine: str = "soft_vote",
        weights: str | ArrayLike | dict[str, float] = "uniform",
        sample_weighting: str | None = None,
        calibration: str | None = None,
        final_estimator: BaseEstimator | None = None,
        stack_method: str = "auto",
        passthrough: bool = False,
        cv: CrossValidationLike = 5,
        on_empty: str = "prior",
        modalities: ColumnSpecLike = None,
        n_jobs: int | None = None,
        random_state: RandomStateLike = None,
        verbose: bool | int = False,
    ) -> None:
        self.estimator = estimator
        self.scaling = scaling
        self.combine = combine
        self.weights = weights
        self.sample_weighting = sample_weighting
        self.calibration = calibration
        self.final_estimator = final_estimator
        self.stack_method = stack_method
        self.passthrough = passthrough
        self.cv = cv
        self.on_empty = on_empty
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ModalitiesLike, y: ArrayLike, **params: Any) -> Self:
        """Fit a classifier for every branch, and learn to combine them.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
            Classes of the samples; of several labels 1 for those of a sample, else 0.
        **params : dict
            Metadata. ``sample_weight`` is for the predictors, scalings, weights and
            the final estimator; ``groups`` for the splitter ``cv``; everything else
            for the predictors' `fit`. Values with one entry per sample are passed on
            for the samples that have the modality. With metadata routing enabled,
            each gets what it requests.

        Returns
        -------
        self
            The fitted estimator.
        """
        self._check_parameters()
        frame, positions = self._without_dropped(self._validate(X, reset=True))
        complete = self._training_data(frame, y, params, list(positions))
        data = complete.without_weight_zero()
        self._target = self._make_target(data)
        folds = self._split(complete)  # cv may give positions among all samples
        self._n_redundant_outputs = self._target.n_redundant_outputs
        unfitted = self._make_branches(data, positions)
        n_fits = len(unfitted) * (1 + len(folds))
        with FitProgress(self, X, y, n_fits, "fit") as progress:
            branches, predicted = self._fit_branches(unfitted, data, folds, progress)
        self._set_branches(branches, frame.names)
        self._calibrators, self.final_estimator_ = [], None
        if self._needs_held_out():
            truth, weight = self._target.encode(data.y), data.sample_weight
            held_out = self._gather_held_out(predicted, folds, data.y)
            if self.calibration is not None:
                held_out = self._fit_calibrators(
                    held_out, truth, weight, self.calibration
                )
            self.modality_weights_ = self._learned_weights(
                held_out.predictions, truth, weight
            )
            if self.combine == "stacking":
                self._fit_final_estimator(held_out, data)
        else:
            self.modality_weights_ = self._given_weights()
        self._references = self._fit_references(data)
        progress.finish()
        return self

    def _method_of(self, template: BaseEstimator, title: str) -> str:
        needs_labels = (
            self.combine == "hard_vote" and self.sample_weighting != "entropy"
        )
        if needs_labels and self.calibration is None:
            return "predict"
        if self.combine == "stacking" and self.stack_method != "auto":
            return self._given_stack_method(template, title)
        if has_probabilities(template):
            return "predict_proba"
        has_scores = hasattr(template, "decision_function")
        if self.combine == "stacking" and self.calibration is None:
            return "decision_function" if has_scores else "predict"
        if self.calibration is None or not has_scores:
            raise ValueError(f"{title}: {_without_probabilities(template)}")
        return "decision_function"

    def _given_stack_method(self, template: BaseEstimator, title: str) -> str:
        """Return `stack_method`, or raise an error if a classifier lacks it."""
        method = self.stack_method
        if method == "predict" and self.calibration is not None:
            raise ValueError(
                f"calibration={self.calibration!r} is of probabilities or decision "
                "values, but stack_method='predict' gives labels; leave "
                "calibration=None"
            )
        is_there = hasattr(template, method)
        if method == "predict_proba":
            is_there = has_probabilities(template)
        if not is_there:
            raise ValueError(
                f"{title}: {type(template).__name__} has no {method}; give "
                "stack_method='auto', which takes what each classifier has"
            )
        return method

    def _fit_calibrators(
        self,
        held_out: HeldOut,
        truth: np.ndarray,
        sample_weight: np.ndarray | None,
        method: str,
    ) -> HeldOut:
        """Fit a calibrator per branch; calibrate each fold by the other folds."""
        predictions, fold = held_out.predictions, held_out.fold
        weight = np.ones(len(truth)) if sample_weight is None else sample_weight
        values = predictions.values.copy()
        for b, observed in enumerate(predictions.observed.T):
            scores = self._scores(b, predictions.values[b])

            def fitted(rows: np.ndarray, scores: np.ndarray = scores) -> Calibrator:
                return fit_calibrator(
                    scores[rows],
                    truth[rows],
                    method,
                    weight[rows],
                    is_exclusive=self._target.is_exclusive,
                )

            self._calibrators.append(fitted(observed))
            # a calibrator fitted to the samples it is applied to would be optimistic
            for number in range(fold.max() + 1):
                rows = observed & (fold == number)
                others = observed & (fold != number)
                if rows.any() and others.any():
                    values[b, rows] = fitted(others).apply(scores[rows])
        calibrated = Predictions(values, predictions.observed)
        return HeldOut(calibrated, fold, held_out.unseen)

    def _scores(self, branch: int, values: np.ndarray) -> np.ndarray:
        """Turn predictions into the unbounded scores that are calibrated."""
        is_score = self._branches[branch].method == "decision_function"
        return values if is_score else log_odds(values)

    def _calibrated(self, branch: int, values: np.ndarray) -> np.ndarray:
        if self.calibration is None:
            return values
        return self._calibrators[branch].apply(self._scores(branch, values))

    def _weigh(
        self, predictions: Predictions, by_sample: np.ndarray
    ) -> tuple[Predictions, np.ndarray]:
        if self.sample_weighting == "entropy" and self.combine != "stacking":
            by_sample = np.column_stack(
                [self._target.certainty(p) for p in predictions.values]
            )
        return super()._weigh(predictions, by_sample)

    def _quality(
        self,
        predictions: np.ndarray,
        truth: np.ndarray,
        sample_weight: np.ndarray | None,
    ) -> float:
        if self.weights == "log_loss":
            return float(
                np.exp(-self._target.log_loss(predictions, truth, sample_weight))
            )
        if self.weights == "inverse_variance":
            error = mean_squared_error(predictions, truth, sample_weight)
            return 1 / max(error, SMALLEST_BRIER_SCORE)
        prior = np.tile(self._target.prior, (len(truth), 1))
        return skill(
            self._target.error_rate(predictions, truth, sample_weight),
            self._target.error_rate(prior, truth, sample_weight),
        )

    def _times_counted(self) -> np.ndarray:
        """Sum the exponents of each modality over the branches that contain it."""
        times = np.zeros(self.n_modalities_in_)
        for branch, weight in zip(self._branches, self.modality_weights_, strict=True):
            times[branch.modalities] += weight
        return times

    def _pool(self, frame: Modalities) -> np.ndarray:
        """Combine probabilities or votes; the prior where no branch has a weight.

        For 'stacking' it gives the classes that the final estimator did not learn.
        """
        predictions, weights = self._predict_branches(frame)
        prior = self._target.prior
        if self.combine == "log_pool":
            # the evidence of no modality counts more than once
            exponents = weights / self._times_counted().max()
            pooled = self._target.log_pool(predictions.values, exponents)
        elif self.combine == "hard_vote" or self._has_scores():
            # decision values of different classifiers have no common unit
            pooled = weighted_mean(self._votes(predictions), weights)
        else:
            pooled = weighted_mean(predictions.values, weights)
        without = ~weights.any(axis=1)
        if without.any():
            pooled[without] = prior
        return pooled

    def _votes(self, predictions: Predictions) -> np.ndarray:
        """Turn the predictions of every branch into votes."""
        return np.stack(
            [
                self._target.votes(values, are_scores=self._gives_scores(branch))
                for values, branch in zip(
                    predictions.values, self._branches, strict=True
                )
            ]
        )

    def _gives_scores(self, branch: Branch) -> bool:
        return self.calibration is None and branch.method == "decision_function"

    def _has_scores(self) -> bool:
        """Return whether some branch has decision values, which have no mean."""
        return any(map(self._gives_scores, self._branches))

    @by_row_chunks
    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the class of samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            Predicted classes; of several labels 1 for those of a sample, else 0.
        """
        frame = self._checked(X)
        if self.combine != "stacking":
            return self._target.decide(self._pool(frame))
        absent = self._target.absent(self.final_estimator_)
        # probabilities compare absent classes with learned ones, labels cannot
        final: Any = self.final_estimator_  # not None unless all classes are absent
        if absent.all() or (absent.any() and hasattr(final, "predict_proba")):
            return self._target.decide(self._stack(frame))
        stacked = self._predict_final(
            frame,
            lambda features: self._target.predict(final, features),
            self._target.most_frequent,
        )
        if absent.any():
            pooled = self._pool(frame)
            from_pool = absent[pooled.argmax(axis=1)]
            stacked = np.where(from_pool, self._target.decide(pooled), stacked)
        return stacked

    def _stack(self, frame: Modalities) -> np.ndarray:
        """Predict probabilities by the final estimator, pooled for absent classes."""
        absent = self._target.absent(self.final_estimator_)
        if absent.all():
            return self._pool(frame)
        stacked = self._predict_final(
            frame,
            lambda features: self._target.predictions(
                self.final_estimator_, features, "predict_proba"
            ),
            self._target.prior,
        )
        if absent.any():
            pooled = self._pool(frame)
            learned = stacked[:, ~absent]
            # absent classes keep their pooled probability, the others share the rest
            left = 1 - pooled[:, absent].sum(axis=1)
            stacked[:, absent] = pooled[:, absent]
            stacked[:, ~absent] = learned * (left / learned.sum(axis=1))[:, None]
        return stacked

    def _stacked_scores(self, frame: Modalities) -> np.ndarray:
        """Compute the decision function of the final estimator, for all classes."""
        scores = self._predict_final(
            frame,
            lambda features: self._target.predictions(
                self.final_estimator_, features, "decision_function"
            ),
            self._target.prior_scores,
        )
        absent = self._target.absent(self.final_estimator_)
        if absent.any():  # as in `predict`, the pool decides on classes it lacks
            best = self._pool(frame).argmax(axis=1)
            rows = np.flatnonzero(absent[best])
            scores[rows, best[rows]] = scores[rows].max(axis=1) + 1
        return self._target.flattened(scores)

    @available_if(_combines_probabilities)
    @by_row_chunks
    def predict_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities, in the order of ``classes_``; of several labels the
            probability of each.
        """
        return self._probabilities(self._checked(X))

    def _probabilities(self, frame: Modalities) -> np.ndarray:
        return self._stack(frame) if self.combine == "stacking" else self._pool(frame)

    @available_if(_combines_scores)
    @by_row_chunks
    def decision_function(self, X: ModalitiesLike) -> np.ndarray:
        """Score the classes by log probabilities, shares of votes or decision values.

        Shares of votes are those of 'hard_vote', decision values those of the final
        estimator of 'stacking', if it has any.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.

        Returns
        -------
        ndarray of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            Scores, of which the largest is that of the predicted class. For two
            classes the second one's score minus the first one's; of several labels
            that of each label minus that of its absence.
        """
        frame = self._checked(X)
        if self.combine == "stacking" and hasattr(
            self.final_estimator_, "decision_function"
        ):
            return self._stacked_scores(frame)
        if self.combine == "hard_vote":
            return self._target.vote_margins(self._pool(frame))
        return self._target.log_margins(self._probabilities(frame))

    @by_row_chunks
    def modality_predictions(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the class of samples from each modality alone.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; samples may lack modalities.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities[, n_labels])
            Labels. Numbers are floats, NaN where a sample lacks the modality; other
            labels are objects, None there. In hybrid fusion there is one column for
            every branch.
        """
        predictions, _ = self._predict_branches(self._checked(X))
        labels = self._target.decide(self._votes(predictions))
        return nan_unless_observed(np.swapaxes(labels, 0, 1), predictions.observed)
