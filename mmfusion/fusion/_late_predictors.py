"""Late fusion of classifiers and of regressors, one for each modality."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from mmfusion.fusion._pool import (
    CLASSIFIER_POOL_CONSTRAINTS,
    REGRESSOR_POOL_CONSTRAINTS,
    ClassifierPool,
    RegressorPool,
)


class LateFusionClassifier(ClassifierPool, ClassifierMixin, BaseEstimator):
    """Classify by every modality alone, then combine what they say.

    Works with samples that lack modalities, in `fit` and later: each classifier
    learns from the samples that have its modality, and each sample is classified by
    those it has.

    Parameters
    ----------
    estimator : classifier or dict, default=None
        Classifies one modality: one scikit-learn classifier that is cloned, or a dict
        by modality name, whose nested parameters are named ``audio__C``. None is
        ``LogisticRegression(max_iter=1000)``. Class weights are a parameter of it.
    combine : {'soft_vote', 'hard_vote', 'log_pool', 'stacking'}, default='soft_vote'
        How they are combined.

        - 'soft_vote': the weighted mean of their probabilities;
        - 'hard_vote': the class of most weighted votes, of equal ones the first;
        - 'log_pool': the product of their probabilities, with the class prior counted
          once [1]_: the posterior, if modalities are independent given the class and
          the probabilities are right, for which see `calibration`. Weights are
          exponents, of which the largest is taken as 1;
        - 'stacking': `final_estimator` learns from what they say of held-out samples
          [2]_. What a sample lacks is filled with the mean, and told by one more
          input if samples of `fit` lacked it.
    weights : {'uniform', 'score', 'log_loss', 'inverse_variance'}, array-like of \
shape (n_modalities,) or dict, default='uniform'
        Weight of each modality: given, by modality name (1 where a dict does not name
        it), or by how it predicts held-out samples. 'score': how far its accuracy is
        above that of guessing, a thousandth of the best one's at least. 'log_loss':
        the exponential of its negative log loss. 'inverse_variance': the inverse of
        the squared error of its probabilities. A modality of weight 0 has no say;
        'stacking' only asks which weights are 0.
    sample_weighting : {'entropy', 'conformal', 'distance'}, default=None
        What a modality's weight is multiplied by for each sample, when it is
        classified. 'entropy': one minus the normalised entropy of the modality's
        probabilities. 'conformal': 1, unless the sample is significantly unlike those
        of `fit` in this modality, at level .02 [3]_; then a thousandth. (Of less than
        49 samples none can be.)
        'distance': the typical squared distance to the nearest samples of `fit` over
        that of the sample, at most 1. 'stacking' does not use it.
    calibration : {'sigmoid', 'isotonic'}, default=None
        How each modality's probabilities (or decision values, without
        ``predict_proba``) are corrected by what they were for held-out samples: by
        Platt's sigmoid or any rising function, class against the rest.
    final_estimator : classifier, default=None
        The classifier of 'stacking'; None is ``LogisticRegression(max_iter=1000)``.
    cv : int, cross-validation generator or iterable, default=5
        Who is held out from whom, for 'stacking', calibration and weights; the scaling
        is fitted without them too. An integer is the number of stratified folds.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How each modality is scaled; see `EarlyFusion`. As a modality is alone, 'auto'
        takes 'standard' where it would take 'block'.
    empty : {'prior', 'raise'}, default='prior'
        What is said of samples that lack every modality: the class prior, or an
        error, in `fit` too.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Modalities and folds that are fitted at a time. None is 1 unless in a joblib
        context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Set on the classifiers, unless None, and for the draw of 2000 samples that
        distances are measured to, if there are more.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    estimators_ : dict of str to classifier
        The fitted classifiers by modality. One whose samples are all of one class is
        a DummyClassifier, which knows the prior.
    final_estimator_ : classifier or None
        The fitted final estimator; None unless ``combine='stacking'``.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights, with mean 1.
    scales_ : dict of str to str
        The scaling of each modality; 'auto' is resolved.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Their names.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features.
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
    A class that no sample with some modality has keeps its prior probability in what
    that modality says. 'log_pool' divides by the class prior of `fit`: with class
    weights in the classifiers calibrate, which undoes them.

    Calibration, weights and 'stacking' fit every classifier once more for each fold.
    Calibrated predictions of held-out samples, from which 'stacking' and weights are
    learned, are calibrated by the other folds'.

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

    _parameter_constraints: dict = CLASSIFIER_POOL_CONSTRAINTS

    def __init__(
        self,
        estimator: Any = None,
        *,
        combine: str = "soft_vote",
        weights: Any = "uniform",
        sample_weighting: str | None = None,
        calibration: str | None = None,
        final_estimator: Any = None,
        cv: Any = 5,
        scaling: Any = "auto",
        empty: str = "prior",
        modalities: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.combine = combine
        self.weights = weights
        self.sample_weighting = sample_weighting
        self.calibration = calibration
        self.final_estimator = final_estimator
        self.cv = cv
        self.scaling = scaling
        self.empty = empty
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state


class LateFusionRegressor(RegressorPool, RegressorMixin, BaseEstimator):
    """Regress on every modality alone, then combine what they say.

    Works with samples that lack modalities, in `fit` and later: each regressor learns
    from the samples that have its modality, and each sample is predicted by those it
    has.

    Parameters
    ----------
    estimator : regressor or dict, default=None
        Regresses on one modality: one scikit-learn regressor that is cloned, or a
        dict by modality name, whose nested parameters are named ``audio__alpha``.
        None is Ridge.
    combine : {'mean', 'median', 'stacking'}, default='mean'
        How they are combined: by the weighted mean or median of their predictions, or
        by 'stacking': `final_estimator` learns from what they say of held-out samples
        [1]_. What a sample lacks is then filled with the mean, and told by one more
        input if samples of `fit` lacked it.
    weights : {'uniform', 'score', 'inverse_variance', 'error_covariance'}, \
array-like of shape (n_modalities,) or dict, default='uniform'
        Weight of each modality: given, by modality name (1 where a dict does not name
        it), or by how it predicts held-out samples. 'score': its coefficient of
        determination, a thousandth of the best one's at least. 'inverse_variance':
        the inverse of the variance of its errors. 'error_covariance': the weights of
        the least variance if errors go together [2]_, which can be negative, found
        anew for each set of modalities that samples have. A modality of weight 0 has
        no say; 'stacking' only asks which weights are 0.
    sample_weighting : {'predictive_variance', 'conformal', 'distance'}, default=None
        What a modality's weight is multiplied by for each sample, when it is
        predicted. 'predictive_variance': the inverse of the variance that the
        regressor tells by ``predict(X, return_std=True)``. 'conformal': 1, unless the
        sample is significantly unlike those of `fit` in this modality, at level .02;
        then a thousandth. (Of less than 49 samples none can be.) 'distance': the
        typical squared distance to the nearest samples of `fit` over that of the
        sample, at most 1. 'stacking' does not use it.
    final_estimator : regressor, default=None
        The regressor of 'stacking'; None is RidgeCV.
    cv : int, cross-validation generator or iterable, default=5
        Who is held out from whom, for 'stacking' and weights; the scaling is fitted
        without them too. An integer is the number of folds.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How each modality is scaled; see `EarlyFusion`. As a modality is alone, 'auto'
        takes 'standard' where it would take 'block'.
    empty : {'prior', 'raise'}, default='prior'
        What is said of samples that lack every modality: the mean of y in `fit`, or an
        error, in `fit` too.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Modalities and folds that are fitted at a time. None is 1 unless in a joblib
        context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Set on the regressors, unless None, and for the draw of 2000 samples that
        distances are measured to, if there are more.

    Attributes
    ----------
    estimators_ : dict of str to regressor
        The fitted regressors by modality.
    final_estimator_ : regressor or None
        The fitted final estimator; None unless ``combine='stacking'``.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights, with mean 1.
    scales_ : dict of str to str
        The scaling of each modality; 'auto' is resolved.
    n_modalities_in_ : int
        Number of modalities seen in `fit`.
    modality_names_in_ : ndarray of str of shape (n_modalities,)
        Their names.
    n_features_per_modality_in_ : ndarray of int of shape (n_modalities,)
        Their numbers of features.
    n_features_in_ : int
        Number of features in all.
    feature_names_in_ : ndarray of str of shape (`n_features_in_`,)
        Names ``<modality>__<feature>``, if the input had names.

    Raises
    ------
    ValueError
        If a modality is missing for every sample of `fit`, an observed cell is NaN or
        infinite, or a regressor does not tell the predictive variance asked for.

    See Also
    --------
    EarlyFusionRegressor : Regresses on the concatenation of modalities.
    HybridFusionRegressor : Does both, and combines them.
    sklearn.ensemble.VotingRegressor : Combines regressors of the same features.

    Notes
    -----
    With several outputs a modality has one weight for all: variances are means over
    outputs, each in units of its standard deviation.

    References
    ----------
    .. [1] L. Breiman (1996), Stacked regressions. Machine Learning 24, 49-64.
    .. [2] J. M. Bates, C. W. J. Granger (1969), The combination of forecasts.
       Operational Research Quarterly 20(4), 451-468.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import LateFusionRegressor
    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(size=200)
    >>> X = {"audio": y[:, None] + rng.normal(size=(200, 1)),
    ...      "video": y[:, None] + 0.1 * rng.normal(size=(200, 1))}
    >>> regressor = LateFusionRegressor(weights="inverse_variance").fit(X, y)
    >>> bool(regressor.modality_weights_[1] > 10 * regressor.modality_weights_[0])
    True
    >>> regressor.predict({"audio": X["audio"], "video": None}).shape
    (200,)
    """

    _parameter_constraints: dict = REGRESSOR_POOL_CONSTRAINTS

    def __init__(
        self,
        estimator: Any = None,
        *,
        combine: str = "mean",
        weights: Any = "uniform",
        sample_weighting: str | None = None,
        final_estimator: Any = None,
        cv: Any = 5,
        scaling: Any = "auto",
        empty: str = "prior",
        modalities: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.combine = combine
        self.weights = weights
        self.sample_weighting = sample_weighting
        self.final_estimator = final_estimator
        self.cv = cv
        self.scaling = scaling
        self.empty = empty
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
