"""Hybrid fusion: modalities alone and side by side, combined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from mmfusion._sklearn_compat import Interval, StrOptions
from mmfusion.fusion._hybrid_parts import (
    branches_of,
    check_subsets,
    fused_part,
    modality_sets,
)
from mmfusion.fusion._parts import Part
from mmfusion.fusion._pool import (
    CLASSIFIER_POOL_CONSTRAINTS,
    REGRESSOR_POOL_CONSTRAINTS,
    ClassifierPool,
    PoolMixin,
    RegressorPool,
)

HYBRID_CONSTRAINTS: dict = {
    "subsets": [list, tuple, None],
    "missing": [StrOptions({"mean", "knn", "zero", "skip"})],
    "modality_dropout": [Interval(Real, 0, 1, closed="left")],
}


class HybridMixin(PoolMixin):
    """Has parts of several modalities beside those of one."""

    subsets: Any
    missing: str
    modality_dropout: float

    def _check_scheme(self) -> None:
        check_subsets(self.subsets)
        super()._check_scheme()

    def _modality_sets(self, names: Sequence[str]) -> dict[str, list[int]]:
        return modality_sets(names, self.subsets)

    def _branches_of(self, name: str) -> list[str]:
        return branches_of(name, self.subsets)

    def _takes_nan(self, name: str) -> bool:
        return self.missing != "knn" and super()._takes_nan(name)

    def _part(
        self,
        name: str,
        positions: list[int],
        estimator: Any,
        hows: dict[str, str | None],
        seed: int,
    ) -> Part:
        if name in hows:
            return super()._part(name, positions, estimator, hows, seed)
        part = fused_part(name, positions, hows, self.missing)
        return replace(
            part,
            estimator=estimator,
            dropout=self.modality_dropout,
            seed=seed,
            method=self._method_of(estimator, name),
        )


class HybridFusionClassifier(
    HybridMixin, ClassifierPool, ClassifierMixin, BaseEstimator
):
    """Classify by every modality alone and by all side by side, then combine.

    Late fusion, with early fusion as one more opinion. Works with samples that lack
    modalities, in `fit` and later.

    Parameters
    ----------
    estimator : classifier or dict, default=None
        Classifies one part: one scikit-learn classifier that is cloned, or a dict by
        name of the part: a modality, ``'audio+video'`` for a subset, ``'early'`` for
        all modalities side by side. None is ``LogisticRegression(max_iter=1000)``.
    subsets : list of list of str, default=None
        Names of modalities that are put side by side as further parts.
    combine : {'soft_vote', 'hard_vote', 'log_pool', 'stacking'}, default='soft_vote'
        How they are combined; see `LateFusionClassifier`. In 'log_pool' the weights of
        the parts that share a modality are brought to add up to 1 at most, so that
        its evidence counts once.
    weights : {'uniform', 'score', 'log_loss', 'inverse_variance'}, array-like of \
shape (n_parts,) or dict, default='uniform'
        Weight of each part: modalities, subsets, 'early', in this order or by name;
        or found as in `LateFusionClassifier`.
    sample_weighting : {'entropy', 'conformal', 'distance'}, default=None
        What a part's weight is multiplied by for each sample; see
        `LateFusionClassifier`.
    calibration : {'sigmoid', 'isotonic'}, default=None
        How each part's probabilities are corrected; see `LateFusionClassifier`.
    final_estimator : classifier, default=None
        The classifier of 'stacking'; None is ``LogisticRegression(max_iter=1000)``.
    cv : int, cross-validation generator or iterable, default=5
        Who is held out from whom, for 'stacking', calibration and weights; the scaling
        is fitted without them too. An integer is the number of stratified folds.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How each modality is scaled; see `EarlyFusion`. For a modality alone 'auto'
        takes 'standard' where it would take 'block'.
    missing : {'mean', 'knn', 'zero', 'skip'}, default='mean'
        How parts of several modalities treat samples that lack some of them: filled
        in by `ModalityImputer`; or, with 'skip', they learn from, and speak of,
        samples that have all.
    modality_dropout : float, default=0.0
        Probability with which a modality is dropped from copies of the samples, on
        which parts of several modalities are trained too; see `EarlyFusionClassifier`.
        Not of use with 'skip'.
    empty : {'prior', 'raise'}, default='prior'
        What is said of samples that lack every modality: the class prior, or an
        error, in `fit` too.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Parts and folds that are fitted at a time. None is 1 unless in a joblib
        context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Set on the classifiers, unless None, and for the draw of 2000 samples that
        distances are measured to, if there are more.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    estimators_ : dict of str to classifier
        The fitted classifiers by name of the part.
    final_estimator_ : classifier or None
        The fitted final estimator; None unless ``combine='stacking'``.
    modality_weights_ : ndarray of shape (n_parts,)
        Weights of the parts, in the order of ``estimators_``, with mean 1.
    scales_ : dict of str to str
        The scaling of each modality alone; 'auto' is resolved.
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
        infinite, a subset names no or unknown modalities, a modality has the name of
        another part, or a classifier has no probabilities where they are needed.

    See Also
    --------
    EarlyFusionClassifier : Classifies the concatenation of modalities.
    LateFusionClassifier : Classifies by every modality alone, then combines.

    Examples
    --------
    >>> from mmfusion import HybridFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(missing_rate=0.2, random_state=0)
    >>> classifier = HybridFusionClassifier(subsets=[list(X.names)[:2]]).fit(X, y)
    >>> list(classifier.estimators_)
    ['modality_0', 'modality_1', 'modality_0+modality_1', 'early']
    """

    _parameter_constraints: dict = {
        **CLASSIFIER_POOL_CONSTRAINTS,
        **HYBRID_CONSTRAINTS,
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        subsets: Any = None,
        combine: str = "soft_vote",
        weights: Any = "uniform",
        sample_weighting: str | None = None,
        calibration: str | None = None,
        final_estimator: Any = None,
        cv: Any = 5,
        scaling: Any = "auto",
        missing: str = "mean",
        modality_dropout: float = 0.0,
        empty: str = "prior",
        modalities: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.subsets = subsets
        self.combine = combine
        self.weights = weights
        self.sample_weighting = sample_weighting
        self.calibration = calibration
        self.final_estimator = final_estimator
        self.cv = cv
        self.scaling = scaling
        self.missing = missing
        self.modality_dropout = modality_dropout
        self.empty = empty
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state


class HybridFusionRegressor(HybridMixin, RegressorPool, RegressorMixin, BaseEstimator):
    """Regress on every modality alone and on all side by side, then combine.

    Late fusion, with early fusion as one more opinion. Works with samples that lack
    modalities, in `fit` and later.

    Parameters
    ----------
    estimator : regressor or dict, default=None
        Regresses on one part: one scikit-learn regressor that is cloned, or a dict by
        name of the part: a modality, ``'audio+video'`` for a subset, ``'early'`` for
        all modalities side by side. None is Ridge.
    subsets : list of list of str, default=None
        Names of modalities that are put side by side as further parts.
    combine : {'mean', 'median', 'stacking'}, default='mean'
        How they are combined; see `LateFusionRegressor`.
    weights : {'uniform', 'score', 'inverse_variance', 'error_covariance'}, \
array-like of shape (n_parts,) or dict, default='uniform'
        Weight of each part: modalities, subsets, 'early', in this order or by name;
        or found as in `LateFusionRegressor`. Errors of parts that share modalities go
        together, which 'error_covariance' makes use of.
    sample_weighting : {'predictive_variance', 'conformal', 'distance'}, default=None
        What a part's weight is multiplied by for each sample; see
        `LateFusionRegressor`.
    final_estimator : regressor, default=None
        The regressor of 'stacking'; None is RidgeCV.
    cv : int, cross-validation generator or iterable, default=5
        Who is held out from whom, for 'stacking' and weights; the scaling is fitted
        without them too. An integer is the number of folds.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How each modality is scaled; see `EarlyFusion`. For a modality alone 'auto'
        takes 'standard' where it would take 'block'.
    missing : {'mean', 'knn', 'zero', 'skip'}, default='mean'
        How parts of several modalities treat samples that lack some of them: filled
        in by `ModalityImputer`; or, with 'skip', they learn from, and speak of,
        samples that have all.
    modality_dropout : float, default=0.0
        Probability with which a modality is dropped from copies of the samples, on
        which parts of several modalities are trained too; see `EarlyFusionRegressor`.
        Not of use with 'skip'.
    empty : {'prior', 'raise'}, default='prior'
        What is said of samples that lack every modality: the mean of y in `fit`, or an
        error, in `fit` too.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    n_jobs : int, default=None
        Parts and folds that are fitted at a time. None is 1 unless in a joblib
        context, -1 all processors.
    random_state : int, RandomState instance or None, default=None
        Set on the regressors, unless None, and for the draw of 2000 samples that
        distances are measured to, if there are more.

    Attributes
    ----------
    estimators_ : dict of str to regressor
        The fitted regressors by name of the part.
    final_estimator_ : regressor or None
        The fitted final estimator; None unless ``combine='stacking'``.
    modality_weights_ : ndarray of shape (n_parts,)
        Weights of the parts, in the order of ``estimators_``, with mean 1.
    scales_ : dict of str to str
        The scaling of each modality alone; 'auto' is resolved.
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
        infinite, a subset names no or unknown modalities, a modality has the name of
        another part, or a regressor does not tell the predictive variance asked for.

    See Also
    --------
    EarlyFusionRegressor : Regresses on the concatenation of modalities.
    LateFusionRegressor : Regresses on every modality alone, then combines.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import HybridFusionRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = {"audio": rng.normal(size=(200, 2)), "video": rng.normal(size=(200, 3))}
    >>> y = X["audio"][:, 0] + X["video"][:, 0]
    >>> regressor = HybridFusionRegressor(weights="error_covariance").fit(X, y)
    >>> int(regressor.modality_weights_.argmax()), list(regressor.estimators_)
    (2, ['audio', 'video', 'early'])
    """

    _parameter_constraints: dict = {
        **REGRESSOR_POOL_CONSTRAINTS,
        **HYBRID_CONSTRAINTS,
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        subsets: Any = None,
        combine: str = "mean",
        weights: Any = "uniform",
        sample_weighting: str | None = None,
        final_estimator: Any = None,
        cv: Any = 5,
        scaling: Any = "auto",
        missing: str = "mean",
        modality_dropout: float = 0.0,
        empty: str = "prior",
        modalities: Any = None,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.subsets = subsets
        self.combine = combine
        self.weights = weights
        self.sample_weighting = sample_weighting
        self.final_estimator = final_estimator
        self.cv = cv
        self.scaling = scaling
        self.missing = missing
        self.modality_dropout = modality_dropout
        self.empty = empty
        self.modalities = modalities
        self.n_jobs = n_jobs
        self.random_state = random_state
