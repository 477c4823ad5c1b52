"""Predictors of one modality, given or chosen by cross-validation of training data."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    RegressorMixin,
    clone,
)
from sklearn.model_selection import cross_val_score
from sklearn.utils.metaestimators import available_if

from mmfusion._typing import (
    CrossValidationLike,
    EstimatorLike,
    ModalitiesLike,
    RandomStateLike,
)
from mmfusion._validation import as_modalities
from mmfusion.fusion import EarlyFusionClassifier, EarlyFusionRegressor
from mmfusion.fusion._nested_estimators import seeded
from mmfusion.fusion._single_modality import BEST_MODALITY
from mmfusion.modalities import Modalities


class _SingleModalityPredictor(MetaEstimatorMixin, BaseEstimator):
    """Predictor of one modality.

    Parameters
    ----------
    modality : str, default='best'
        Name of the modality. 'best' is the one whose predictor has the best mean score
        (its own ``score``) in a cross-validation of the samples of `fit`.
    estimator : estimator, default=None
        Estimator of `Modalities`; None is early fusion of that modality, standardised.
    cv : int, cross-validation generator or iterable, default=5
        Folds by which the modality is chosen.
    random_state : int, RandomState instance or None, default=None
        Set on the estimator, unless None.
    """

    _default_estimator: type[BaseEstimator]

    def __init__(
        self,
        modality: str = BEST_MODALITY,
        *,
        estimator: EstimatorLike = None,
        cv: CrossValidationLike = 5,
        random_state: RandomStateLike = None,
    ) -> None:
        self.modality = modality
        self.estimator = estimator
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: ModalitiesLike, y: ArrayLike) -> Self:
        """Fit the predictor of the modality, and choose it first if it is open."""
        frame = as_modalities(X)
        self.scores_: dict[str, float] | None = None
        self.modality_ = self.modality
        if self.modality == BEST_MODALITY:
            scores = {name: self._score(frame[[name]], y) for name in frame.names}
            self.modality_ = max(scores, key=scores.__getitem__)
            self.scores_ = scores
        elif self.modality not in frame.names:
            raise ValueError(
                f"modality={self.modality!r}, but the modalities are "
                f"{list(frame.names)}; give one of these, or 'best'"
            )
        self.estimator_ = self._make_estimator().fit(frame[[self.modality_]], y)
        return self

    def _score(self, X: Modalities, y: ArrayLike) -> float:
        scores = cross_val_score(self._make_estimator(), X, y, cv=self.cv)
        return float(np.mean(scores))

    def _make_estimator(self) -> BaseEstimator:
        if self.estimator is None:
            made = self._default_estimator(scaling="standard")
        else:
            made = clone(self.estimator)
        return made if self.random_state is None else seeded(made, self.random_state)

    def _own(self, X: ModalitiesLike) -> Modalities:
        return as_modalities(X)[[self.modality_]]

    def predict(self, X: ModalitiesLike) -> np.ndarray:
        """Predict by the modality."""
        return self.estimator_.predict(self._own(X))


def _has_probabilities(estimator: Any) -> bool:
    inner = getattr(estimator, "estimator_", estimator.estimator)
    return inner is None or hasattr(inner, "predict_proba")


class SingleModalityClassifier(ClassifierMixin, _SingleModalityPredictor):
    """Classifier of one modality."""

    _default_estimator = EarlyFusionClassifier

    @property
    def classes_(self) -> np.ndarray:
        """Classes of the fitted classifier."""
        return self.estimator_.classes_

    @available_if(_has_probabilities)
    def predict_proba(self, X: ModalitiesLike) -> np.ndarray:
        """Predict probabilities by the modality."""
        return self.estimator_.predict_proba(self._own(X))


class SingleModalityRegressor(RegressorMixin, _SingleModalityPredictor):
    """Regressor of one modality."""

    _default_estimator = EarlyFusionRegressor
