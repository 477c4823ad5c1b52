"""Early fusion with a classifier of the concatenated modalities."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from mmfusion._row_chunks import by_row_chunks
from mmfusion._typing import (
    ByModality,
    ColumnSpecLike,
    EstimatorLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion.fusion._early_predictor import (
    EARLY_PREDICTOR_CONSTRAINTS,
    EarlyFusionPredictor,
    estimator_has,
)
from mmfusion.fusion._predictor import ClassifierRole
from mmfusion.modalities import Modalities


class EarlyFusionClassifier(
    EarlyFusionPredictor, ClassifierRole, ClassifierMixin, BaseEstimator
):
    """Classifier of the concatenation of scaled modalities.

    Fits one classifier to ``x = [w_1 s_1(x_1), ..., w_V s_V(x_V)]``, with the weights w
    and scalings s of `EarlyFusion`. Samples may lack modalities, in `fit` and later:
    missing modalities are filled in.

    Parameters
    ----------
    estimator : classifier, default=None
        Any scikit-learn classifier; it is cloned. None is
        ``LogisticRegression(max_iter=1000)``. Class weights are a parameter of it:
        ``estimator__class_weight``.
    scaling : {'auto', 'block', 'standard', 'l2'} or None or dict, default='auto'
        Scaling of each modality; see `EarlyFusion`.
    reducer : transformer or dict, default=None
        Dimension reduction of each scaled modality, one for all or a dict by modality
        name; see `EarlyFusion`.
    weights : {'uniform'}, array-like of shape (n_modalities,) or dict, \
default='uniform'
        Factor of each modality's block; see `EarlyFusion`.
    missing : {'mean', 'knn', 'zero', 'raise'}, default='mean'
        Strategy of `ModalityImputer` by which modalities that samples lack are filled
        in, before scaling; 'raise' refuses such samples.
    modality_dropout : float, default=0.0
        Probability with which a modality is dropped in a copy of each sample. The
        classifier is fitted to these copies too, with dropped modalities filled in, so
        that it does not rely on one modality. Without effect with 'raise'.
    on_empty : {'prior', 'raise'}, default='prior'
        Prediction for samples that lack every modality: the class prior, or an
        error, in `fit` too.
    modalities : int, list of int, str or dict, default=None
        Column spec that splits a plain 2-D X; None takes it as one modality. See
        :meth:`Modalities.from_table`.
    random_state : int, RandomState instance or None, default=None
        Set on the classifier, unless None, and seed of the dropout, which is the same
        in each `fit` with None.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,) or (n_labels, 2)
        Labels of the classes; 0 and 1 for each of several labels.
    estimator_ : classifier
        Fitted classifier.
    fusion_ : EarlyFusion
        Fitted fusion; ``fusion_.scaling_`` holds the scalings that 'auto' chose.
    imputer_ : ModalityImputer or None
        Fitted imputer; None with ``missing='raise'``.
    modality_weights_ : ndarray of shape (n_modalities,)
        Weights of the modalities.
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
        infinite, or a sample lacks a modality with ``missing='raise'``.

    See Also
    --------
    EarlyFusion : The transformer, to be followed by any estimator.
    LateFusionClassifier : Classifies by each modality alone, then combines.

    Notes
    -----
    For dense data without missing modalities, and without a reducer, no array of the
    size of the data is made apart from the concatenation.

    y of shape (n_samples, n_labels) gives a sample any number of labels. A classifier
    whose tags do not allow that is fitted to each label; the fitted ones are in a list
    ``estimators_`` of it.

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

    _parameter_constraints: dict = EARLY_PREDICTOR_CONSTRAINTS

    def __init__(
        self,
        estimator: EstimatorLike = None,
        *,
        scaling: ByModality[str | None] = "auto",
        reducer: EstimatorLike = None,
        weights: str | ArrayLike | dict[str, float] = "uniform",
        missing: str = "mean",
        modality_dropout: float = 0.0,
        on_empty: str = "prior",
        modalities: ColumnSpecLike = None,
        random_state: RandomStateLike = None,
    ) -> None:
        self.estimator = estimator
        self.scaling = scaling
        self.reducer = reducer
        self.weights = weights
        self.missing = missing
        self.modality_dropout = modality_dropout
        self.on_empty = on_empty
        self.modalities = modalities
        self.random_state = random_state

    def _predict_checked(self, frame: Modalities) -> np.ndarray:
        return self._predict_observed(
            frame,
            lambda matrix: self._target.predict(self.estimator_, matrix),
            self._target.most_frequent,
        )

    def _predict_by(
        self, X: ModalitiesLike, method: str, default: np.ndarray
    ) -> np.ndarray:
        return self._predict_observed(
            self._checked(X),
            lambda matrix: self._target.predictions(self.estimator_, matrix, method),
            default,
        )

    @available_if(estimator_has("predict_proba"))
    @by_row_chunks
    def predict_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            Probabilities, in the order of ``classes_``; of several labels the
            probability of each.
        """
        check_is_fitted(self)
        return self._predict_by(X, "predict_proba", self._target.prior)

    @available_if(estimator_has("decision_function"))
    @by_row_chunks
    def decision_function(self, X: ModalitiesLike) -> np.ndarray:
        """Score the classes by the classifier's decision function.

        Parameters
        ----------
        X : list, dict, Modalities, or array-like of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_labels)
            Decision values; of samples that lack every modality log probabilities of
            the prior. For two classes the value of the second one; of several labels
            one for each.
        """
        check_is_fitted(self)
        scores = self._predict_by(X, "decision_function", self._target.prior_scores)
        return self._target.flattened(scores)
