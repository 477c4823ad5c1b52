"""Early fusion for classifiers and regressors, where samples may lack modalities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.utils.metadata_routing import MetadataRouter
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from mmfusion._accepted_cells import accepted_cells
from mmfusion._blocks import over_all_samples
from mmfusion._sklearn_compat import HasMethods, Interval, StrOptions, fit_context
from mmfusion._validation import ModalityTags, refuse_empty_samples
from mmfusion.base import ModalityMixin
from mmfusion.fusion._clusterers import seeded
from mmfusion.fusion._early import EarlyFusion, check_reducers
from mmfusion.fusion._hybrid_parts import EARLY
from mmfusion.fusion._parts import Part
from mmfusion.fusion._supervised import (
    ESTIMATOR,
    ClassifierRole,
    RegressorRole,
    check_predictors,
    make_router,
    route,
    seed_of,
    take_sparse,
    templates,
    unless_observed,
)
from mmfusion.modalities import Modalities
from mmfusion.preprocessing import ModalityImputer

EARLY_CONSTRAINTS: dict = {
    **EarlyFusion._parameter_constraints,
    "estimator": [HasMethods(["fit", "predict"]), None],
    "missing": [StrOptions({"mean", "knn", "zero", "raise"})],
    "modality_dropout": [Interval(Real, 0, 1, closed="left")],
    "empty": [StrOptions({"prior", "raise"})],
    "random_state": ["random_state"],
}


def _estimator_has(method: str) -> Callable[[Any], bool]:
    def check(estimator: Any) -> bool:
        return hasattr(templates(estimator)[ESTIMATOR], method)

    return check


def _fills_in(estimator: Any) -> bool:
    if estimator.missing == "raise":
        raise AttributeError(
            "missing='raise' lets no modality be missing, so that none can be asked "
            "alone; give missing='mean'"
        )
    return True


class EarlyMixin(ModalityMixin):
    """Fits one predictor on all modalities side by side."""

    estimator: Any
    scaling: Any
    reducer: Any
    weights: Any
    missing: str
    modality_dropout: float
    empty: str
    random_state: Any

    _target: Any
    _check_target: Callable[[Modalities, Any], np.ndarray]
    _make_target: Callable[[np.ndarray, Any], Any]
    _default_estimator: Callable[[], Any]

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, **params: Any) -> Self:
        """Fuse, and fit the predictor.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data; see the user guide on input.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            What to predict; several outputs are for regressors that take them.
        **params : dict
            Metadata for the predictor's `fit`, such as ``sample_weight``, which then
            weighs the scaling too. With metadata routing enabled, what it requests.

        Returns
        -------
        self
            The fitted estimator.
        """
        check_predictors(self)
        check_reducers(self.reducer)
        frame = self._validate(X, reset=True)
        if self.empty == "raise":
            refuse_empty_samples(frame)
        y = self._check_target(frame, y)
        metadata = route(self, params, [EARLY], frame)
        counted = metadata.counted(len(frame))
        if not counted.all():
            frame, y, metadata = frame[counted], y[counted], metadata.of(counted)
        self._target = self._make_target(y, metadata.sample_weight)
        template = templates(self)[ESTIMATOR]
        name = frame.names[0] if len(frame.names) == 1 else EARLY
        seed = seed_of(self.random_state)
        imputer = None if self.missing == "raise" else ModalityImputer(self.missing)
        part = Part(
            name,
            list(range(len(frame.names))),
            template if seed is None else seeded(clone(template), seed),
            EarlyFusion(self.scaling, reducer=self.reducer, weights=self.weights),
            imputer,
            self.modality_dropout,
            seed or 0,
        )
        self._part = part.fit(frame, y, self._target, metadata.parts[EARLY])
        self.estimator_ = self._part.estimator
        self.fusion_ = self._part.fusion
        self.fusion_._take_layout(self)
        self.imputer_ = self._part.imputer
        self.modality_weights_ = self.fusion_.modality_weights_
        return self

    def _checked(self, X: Any) -> Modalities:
        frame = self._validate(X, reset=False)
        if self.empty == "raise":
            refuse_empty_samples(frame)
        return frame

    def _answers(
        self, frame: Modalities, ask: Callable[[Any], np.ndarray], default: Any
    ) -> np.ndarray:
        """Ask about samples that have some modality; others get the default."""
        rows = self._part.present(frame)
        default = np.asarray(default)
        if not rows.any():
            return np.broadcast_to(default, (len(frame), *default.shape)).copy()
        return over_all_samples(ask(self._part.matrix(frame, rows)), rows, default)

    def _predicted(self, frame: Modalities) -> np.ndarray:
        raise NotImplementedError

    def predict(self, X: Any) -> np.ndarray:
        """Predict for samples.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Labels, or values.
        """
        return self._predicted(self._checked(X))

    @available_if(_fills_in)
    def modality_predictions(self, X: Any) -> np.ndarray:
        """Tell what would be predicted from each modality, with the others filled in.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_modalities[, n_outputs])
            Labels or values. Numbers are floats, NaN where a sample lacks the
            modality; other labels are objects, None there.
        """
        frame = self._checked(X)
        said = []
        for v in range(len(frame.names)):
            alone = np.zeros(frame.shape, dtype=bool)
            alone[:, v] = True
            said.append(self._predicted(Modalities(frame, observed=alone)))
        return unless_observed(np.stack(said, axis=1), frame.observed)

    def get_metadata_routing(self) -> MetadataRouter:
        """Get the metadata that the predictor requests.

        Returns
        -------
        MetadataRouter
            The routing of `fit`.
        """
        return make_router(self)

    def __modality_tags__(self) -> ModalityTags:
        return ModalityTags(
            sparse=take_sparse(self),
            missing=self.missing != "raise",
            same_dtype=True,
            takes_nan=self._takes_nan,
        )

    def _takes_nan(self, name: str) -> bool:
        reducer = self.reducer
        if isinstance(reducer, Mapping):
            reducer = reducer.get(name)
        first = templates(self)[ESTIMATOR] if reducer is None else reducer
        return self.missing != "knn" and accepted_cells(first).nan


class EarlyFusionClassifier(EarlyMixin, ClassifierRole, ClassifierMixin, BaseEstimator):
    """Classify the concatenation of scaled modalities.

    Samples may lack modalities, in `fit` and later: what they lack is filled in.

    Parameters
    ----------
    estimator : classifier, default=None
        Any scikit-learn classifier; it is cloned. None is
        ``LogisticRegression(max_iter=1000)``. Class weights are a parameter of it.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How each modality is scaled; see `EarlyFusion`.
    reducer : transformer or dict, default=None
        Reduces each scaled modality; see `EarlyFusion`.
    weights : array-like of shape (n_modalities,) or dict, default=None
        Factor of each modality's block; see `EarlyFusion`.
    missing : {'mean', 'knn', 'zero', 'raise'}, default='mean'
        How modalities that samples lack are filled in, before scaling, by
        `ModalityImputer`; 'raise' refuses such samples.
    modality_dropout : float, default=0.0
        Probability with which a modality is dropped from a copy of each sample. The
        classifier is trained on these copies too, with what was dropped filled in as
        it is later, so that it does not rely on one modality. Not of use with 'raise'.
    empty : {'prior', 'raise'}, default='prior'
        What is said of samples that lack every modality: the class prior, or an
        error, in `fit` too.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Set on the classifier, unless None, and for the dropout, which is the same
        each time with None.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels.
    estimator_ : classifier
        The fitted classifier.
    fusion_ : EarlyFusion
        The fitted fusion; ``fusion_.scales_`` tells what 'auto' chose.
    imputer_ : ModalityImputer or None
        The fitted imputer; None with ``missing='raise'``.
    modality_weights_ : ndarray of shape (n_modalities,)
        The weights.
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
        infinite, or a sample lacks a modality with ``missing='raise'``.

    See Also
    --------
    EarlyFusion : The fusion alone, for any estimator behind it.
    LateFusionClassifier : Classifies by every modality alone, then combines.

    Notes
    -----
    For dense data of which nothing is missing, and without a reducer, no array of the
    size of the data is made apart from the concatenation.

    Examples
    --------
    >>> from sklearn.svm import SVC
    >>> from sklearn.model_selection import GridSearchCV
    >>> from mmfusion import EarlyFusionClassifier
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> X, y = make_multimodal_blobs(missing_rate=0.2, random_state=0)
    >>> classifier = EarlyFusionClassifier(modality_dropout=0.3).fit(X, y)
    >>> classifier.predict_proba(X).shape
    (100, 3)
    >>> search = GridSearchCV(
    ...     EarlyFusionClassifier(SVC()), {"estimator__C": [0.1, 1], "missing": ["knn"]}
    ... )
    >>> search.fit(X, y).best_estimator_.predict(X[:2]).shape
    (2,)
    """

    _parameter_constraints: dict = EARLY_CONSTRAINTS

    def __init__(
        self,
        estimator: Any = None,
        *,
        scaling: Any = "auto",
        reducer: Any = None,
        weights: Any = None,
        missing: str = "mean",
        modality_dropout: float = 0.0,
        empty: str = "prior",
        modalities: Any = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.scaling = scaling
        self.reducer = reducer
        self.weights = weights
        self.missing = missing
        self.modality_dropout = modality_dropout
        self.empty = empty
        self.modalities = modalities
        self.random_state = random_state

    def _predicted(self, frame: Modalities) -> np.ndarray:
        commonest = self.classes_[self._target.prior.argmax()]
        return self._answers(
            frame,
            lambda matrix: self._target.predict(self.estimator_, matrix),
            commonest,
        )

    def _read(self, X: Any, method: str, default: np.ndarray) -> np.ndarray:
        return self._answers(
            self._checked(X),
            lambda matrix: self._target.read(self.estimator_, matrix, method),
            default,
        )

    @available_if(_estimator_has("predict_proba"))
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return self._read(X, "predict_proba", self._target_prior())

    def _target_prior(self) -> np.ndarray:
        check_is_fitted(self)
        return self._target.prior

    @available_if(_estimator_has("decision_function"))
    def decision_function(self, X: Any) -> np.ndarray:
        """Score the classes by the classifier's decision function.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Decision values; of samples that lack every modality log probabilities of
            the prior. For two classes the value of the second one.
        """
        prior = np.log(np.maximum(self._target_prior(), np.finfo(float).tiny))
        if len(prior) != 2:
            return self._read(X, "decision_function", prior)
        odds = np.array([prior[0] - prior[1], prior[1] - prior[0]])
        return self._read(X, "decision_function", odds)[:, 1]


class EarlyFusionRegressor(EarlyMixin, RegressorRole, RegressorMixin, BaseEstimator):
    """Regress on the concatenation of scaled modalities.

    Samples may lack modalities, in `fit` and later: what they lack is filled in.

    Parameters
    ----------
    estimator : regressor, default=None
        Any scikit-learn regressor; it is cloned. None is Ridge.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        How each modality is scaled; see `EarlyFusion`.
    reducer : transformer or dict, default=None
        Reduces each scaled modality; see `EarlyFusion`.
    weights : array-like of shape (n_modalities,) or dict, default=None
        Factor of each modality's block; see `EarlyFusion`.
    missing : {'mean', 'knn', 'zero', 'raise'}, default='mean'
        How modalities that samples lack are filled in, before scaling, by
        `ModalityImputer`; 'raise' refuses such samples.
    modality_dropout : float, default=0.0
        Probability with which a modality is dropped from a copy of each sample. The
        regressor is trained on these copies too, with what was dropped filled in as
        it is later, so that it does not rely on one modality. Not of use with 'raise'.
    empty : {'prior', 'raise'}, default='prior'
        What is said of samples that lack every modality: the mean of y in `fit`, or an
        error, in `fit` too.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Set on the regressor, unless None, and for the dropout, which is the same each
        time with None.

    Attributes
    ----------
    estimator_ : regressor
        The fitted regressor.
    fusion_ : EarlyFusion
        The fitted fusion; ``fusion_.scales_`` tells what 'auto' chose.
    imputer_ : ModalityImputer or None
        The fitted imputer; None with ``missing='raise'``.
    modality_weights_ : ndarray of shape (n_modalities,)
        The weights.
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
        infinite, or a sample lacks a modality with ``missing='raise'``.

    See Also
    --------
    EarlyFusion : The fusion alone, for any estimator behind it.
    LateFusionRegressor : Regresses on every modality alone, then combines.

    Notes
    -----
    For dense data of which nothing is missing, and without a reducer, no array of the
    size of the data is made apart from the concatenation.

    Examples
    --------
    >>> import numpy as np
    >>> from mmfusion import EarlyFusionRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = {"audio": rng.normal(size=(200, 2)), "video": rng.normal(size=(200, 3))}
    >>> y = X["audio"][:, 0] + X["video"][:, 0]
    >>> regressor = EarlyFusionRegressor().fit(X, y)
    >>> bool(regressor.score(X, y) > 0.95)
    True
    >>> regressor.predict({"audio": X["audio"], "video": None}).shape
    (200,)
    """

    _parameter_constraints: dict = EARLY_CONSTRAINTS

    def __init__(
        self,
        estimator: Any = None,
        *,
        scaling: Any = "auto",
        reducer: Any = None,
        weights: Any = None,
        missing: str = "mean",
        modality_dropout: float = 0.0,
        empty: str = "prior",
        modalities: Any = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.scaling = scaling
        self.reducer = reducer
        self.weights = weights
        self.missing = missing
        self.modality_dropout = modality_dropout
        self.empty = empty
        self.modalities = modalities
        self.random_state = random_state

    def _predicted(self, frame: Modalities) -> np.ndarray:
        values = self._answers(
            frame,
            lambda matrix: self._target.read(self.estimator_, matrix, "predict"),
            self._target.prior,
        )
        return values[:, 0] if self._target.is_flat else values
