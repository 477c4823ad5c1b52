"""Fits of classifiers and regressors, and their predictions, which scorers read."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.metaestimators import available_if

RESPONSES = ("predict_proba", "decision_function")


def predict_responses(model: Any, X: Any, n_samples: int) -> dict[str, Any]:
    """Return the predictions of a fitted model and what else scorers may read.

    Parameters
    ----------
    model : estimator
        The fitted classifier or regressor.
    X : Modalities
        Samples of the test.
    n_samples : int
        Number of these.

    Returns
    -------
    dict
        ``predict``, and of classifiers ``classes`` and, where they have these,
        ``predict_proba`` or ``decision_function``: lists.
    """
    predicted = np.asarray(model.predict(X))
    _check_response("predict", predicted, n_samples)
    if predicted.ndim != 1:
        raise ValueError(
            f"predict returned an array of shape {predicted.shape}; expected one "
            "prediction for each sample"
        )
    responses = {"predict": predicted.tolist()}
    if hasattr(model, "classes_"):
        responses["classes"] = np.asarray(model.classes_).tolist()
        for name in RESPONSES:
            if hasattr(model, name):
                values = np.asarray(getattr(model, name)(X), dtype=float)
                _check_response(name, values, n_samples)
                responses[name] = values.tolist()
    return responses


def _check_response(name: str, values: np.ndarray, n_samples: int) -> None:
    if len(np.atleast_1d(values)) != n_samples or values.dtype.kind not in "biufU":
        raise ValueError(
            f"{name} returned {values.dtype} of shape {values.shape}; expected one row "
            f"for each of the {n_samples} test samples"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(f"{name} returned NaN or infinite values")


def stored_predictor(responses: dict[str, Any]) -> BaseEstimator:
    """Make an estimator that returns stored predictions, for scikit-learn's scorers."""
    if "classes" in responses:
        return _StoredClassifier(responses)
    return _StoredRegressor(responses)


class _StoredPredictions(BaseEstimator):
    """Estimator whose predictions of its test samples are stored."""

    def __init__(self, responses: dict[str, Any]) -> None:
        self.responses = responses

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: object) -> np.ndarray:
        """Return the stored predictions; a copy, which a score may change."""
        return np.array(self.responses["predict"])


def _has(name: str) -> Any:
    return available_if(lambda estimator: name in estimator.responses)


class _StoredClassifier(ClassifierMixin, _StoredPredictions):
    @property
    def classes_(self) -> np.ndarray:
        """Classes in the order of the columns of probabilities."""
        return np.array(self.responses["classes"])

    @_has("predict_proba")
    def predict_proba(self, X: object) -> np.ndarray:
        """Return the stored probabilities."""
        return np.array(self.responses["predict_proba"])

    @_has("decision_function")
    def decision_function(self, X: object) -> np.ndarray:
        """Return the stored decisions."""
        return np.array(self.responses["decision_function"])


class _StoredRegressor(RegressorMixin, _StoredPredictions):
    pass
