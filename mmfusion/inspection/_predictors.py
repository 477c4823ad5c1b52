"""Predictors of samples and subsets of modalities that a model cannot predict."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if

from mmfusion.modalities import Modalities


def _model_has_probabilities(self: PriorFallback) -> bool:
    return hasattr(self.model, "predict_proba")


class PriorFallback(BaseEstimator):
    """Fitted model whose predictions of samples without any modality are a dummy's.

    Parameters
    ----------
    model : estimator
        Fitted classifier or regressor.
    dummy : estimator
        Dummy predictor, fitted to the target of all training samples.
    """

    def __init__(self, model: Any, dummy: Any) -> None:
        self.model = model
        self.dummy = dummy

    def __sklearn_tags__(self) -> Tags:
        return get_tags(self.dummy)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def classes_(self) -> np.ndarray:
        """Return the classes of all training samples."""
        return self.dummy.classes_

    def predict(self, X: Modalities) -> np.ndarray:
        """Predict classes or values."""
        out = np.array(self.dummy.predict(X))
        observed = X.observed.any(axis=1)
        if observed.any():
            own = np.asarray(self.model.predict(X[observed]))
            out = out.astype(np.result_type(out.dtype, own.dtype), copy=False)
            out[observed] = own.reshape(-1, *out.shape[1:])
        return out

    @available_if(_model_has_probabilities)
    def predict_proba(self, X: Modalities) -> np.ndarray:
        """Predict the probabilities of classes."""
        out = np.array(self.dummy.predict_proba(X), dtype=float)
        observed = X.observed.any(axis=1)
        if observed.any():
            out[observed] = aligned_probabilities(
                self.model, X[observed], self.dummy.classes_
            )
        return out


def aligned_probabilities(model: Any, X: Modalities, classes: np.ndarray) -> np.ndarray:
    """Predict probabilities of given classes, 0 for those that a model lacks.

    Parameters
    ----------
    model : classifier
        Fitted classifier, of some of the classes.
    X : Modalities
        The data.
    classes : ndarray of shape (n_classes,)
        Sorted classes.

    Returns
    -------
    ndarray of float of shape (n_samples, n_classes)
        Probabilities by class.
    """
    out = np.zeros((len(X), len(classes)))
    columns = np.searchsorted(classes, model.classes_)
    out[:, columns] = model.predict_proba(X)
    return out
