"""Multilabel targets: labels of which a sample may have several, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if

from mmfusion._options import errors_about
from mmfusion._typing import NumericBlock
from mmfusion.fusion._targets import refuse_other_numbers
from mmfusion.fusion.combination import _opinion_pools
from mmfusion.fusion.combination._predictor_weights import mean_log_loss
from mmfusion.fusion.combination._sample_weights import certainty
from mmfusion.preprocessing._sequence_layouts import as_read_by

THRESHOLD_PROBABILITY = 0.5  # above which a sample is given a label


@dataclass(frozen=True)
class LabelsTarget:
    """Labels of which a sample has any number, and their prior probabilities.

    The interface is that of `ClassificationTarget`, with a column for the probability
    of every label instead of one for every class.

    Parameters
    ----------
    prior : ndarray of shape (n_labels,)
        Shares of the samples of `fit` that have each label, as samples weigh.
    dtype : str
        Name of the dtype of y, in which labels are predicted.
    """

    prior: np.ndarray
    dtype: str
    is_exclusive = False  # whether the probabilities of a sample add up to 1
    n_redundant_outputs = 0

    def adapt(self, classifier: BaseEstimator) -> BaseEstimator:
        """Return a classifier of several labels: itself, or one for each label.

        Parameters
        ----------
        classifier : classifier
            Unfitted classifier.

        Returns
        -------
        classifier
            The same, if it takes an indicator matrix as y.
        """
        if predicts_labels(classifier):
            return classifier
        return LabelwiseClassifier(classifier)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Return the indicator matrix as floats."""
        return y.astype(float)

    @property
    def names(self) -> list[str | None]:
        """Names of the columns of predictions: the labels."""
        return [f"y{j}" for j in range(len(self.prior))]

    @property
    def most_frequent(self) -> np.ndarray:
        """Labels that most samples of `fit` have, as a row of 0 and 1."""
        return self.decide(self.prior)

    @property
    def prior_scores(self) -> np.ndarray:
        """Log-odds of the labels in `fit`."""
        return self.log_margins(self.prior)

    def is_constant(self, y: np.ndarray) -> bool:
        """Return False: constant labels are up to the classifiers of labels."""
        return False

    def is_learnable(self, y: np.ndarray) -> bool:
        """Return whether there are samples to fit a final estimator to."""
        return len(y) > 0

    def unseen(self, predictor: BaseEstimator, y: np.ndarray) -> np.ndarray:
        """Return False for every sample: no label is a class of its own."""
        return np.zeros(len(y), dtype=bool)

    def absent(self, final_estimator: BaseEstimator | None) -> np.ndarray:
        """Return whether a final estimator predicts no labels, as an array of one."""
        return np.array([final_estimator is None])

    def predictions(
        self, predictor: BaseEstimator, matrix: NumericBlock, method: str
    ) -> np.ndarray:
        """Predict by a classifier, with a column for each label.

        Parameters
        ----------
        predictor : classifier
            Classifier fitted to an indicator matrix.
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Samples.
        method : {'predict_proba', 'decision_function', 'predict'}
            Method of the classifier.

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            Probabilities, decision values, or 1 for predicted labels. A label that
            all or none of the classifier's samples had keeps its prior probability.
        """
        if method == "predict":
            return self.encode(self.predict(predictor, matrix))
        values = getattr(predictor, method)(as_read_by(predictor, matrix))
        what = f"{method} of {type(predictor).__name__}"
        if isinstance(values, list):  # an array of all classes of each label
            if len(values) != len(self.prior):
                raise ValueError(
                    f"{what} has returned arrays of {len(values)} labels; it needs to "
                    f"return those of {len(self.prior)}"
                )
            columns = [
                prior
                if len(classes) == 1
                else np.asarray(own)[:, int(np.flatnonzero(classes == 1)[0])]
                for own, classes, prior in zip(
                    values, predictor.classes_, self.prior, strict=True
                )
            ]
            values = np.empty((matrix.shape[0], len(columns)))
            for j, column in enumerate(columns):
                values[:, j] = column
        values = np.asarray(values)
        refuse_other_numbers(values, (matrix.shape[0], len(self.prior)), what)
        return values

    def predict(self, predictor: BaseEstimator, matrix: NumericBlock) -> np.ndarray:
        """Predict labels by a classifier, and check them.

        Parameters
        ----------
        predictor : classifier
            Fitted classifier.
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            1 for the labels of a sample, else 0.

        Raises
        ------
        ValueError
            If the classifier returns anything else.
        """
        labels = np.asarray(predictor.predict(as_read_by(predictor, matrix)))
        shape = (matrix.shape[0], len(self.prior))
        what = f"predict of {type(predictor).__name__}"
        refuse_other_numbers(labels, shape, what)
        if not np.isin(labels, [0, 1]).all():
            raise ValueError(f"{what} has returned labels other than 0 and 1")
        return labels.astype(self.dtype)

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Return labels whose probability is above one half.

        Parameters
        ----------
        probabilities : ndarray of shape (..., n_labels)
            Probabilities or shares of votes.

        Returns
        -------
        ndarray of the same shape
            1 for the labels of a sample, else 0.
        """
        return (probabilities > THRESHOLD_PROBABILITY).astype(self.dtype)

    def votes(self, predictions: np.ndarray, *, are_scores: bool) -> np.ndarray:
        """Turn the predictions of one branch into votes.

        Parameters
        ----------
        predictions : ndarray of shape (n_samples, n_labels)
            Probabilities or decision values.
        are_scores : bool
            Whether they are decision values, of which positive ones are votes.

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            1 for labels voted for, else 0.
        """
        threshold = 0 if are_scores else THRESHOLD_PROBABILITY
        return (predictions > threshold).astype(float)

    def log_pool(self, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Compute the logarithmic opinion pool of each label against its absence.

        Parameters
        ----------
        predictions : ndarray of shape (n_branches, n_samples, n_labels)
            Probabilities.
        weights : ndarray of shape (n_samples, n_branches)
            Exponents of the branches' likelihood ratios.

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            Probabilities.
        """
        pooled = [
            _opinion_pools.log_opinion_pool(
                _with_complement(own), weights, _with_complement(prior)
            )[:, 1]
            for own, prior in zip(
                np.moveaxis(predictions, -1, 0), self.prior, strict=True
            )
        ]
        return np.column_stack(pooled)

    def certainty(self, probabilities: np.ndarray) -> np.ndarray:
        """Compute one minus the mean of the labels' normalised entropies.

        It is the normalised entropy of all labels together, if they are independent.

        Parameters
        ----------
        probabilities : ndarray of shape (n_samples, n_labels)
            Probabilities.

        Returns
        -------
        ndarray of shape (n_samples,)
            1 where every label is certain, a thousandth where none is.
        """
        return certainty(_with_complement(probabilities.T))

    def error_rate(
        self,
        predictions: np.ndarray,
        truth: np.ndarray,
        sample_weight: np.ndarray | None,
    ) -> float:
        """Compute the Hamming loss: the share of wrong labels.

        Parameters
        ----------
        predictions : ndarray of shape (n_samples, n_labels)
            Probabilities.
        truth : ndarray of shape (n_samples, n_labels)
            1 for the labels of a sample, else 0.
        sample_weight : ndarray of shape (n_samples,) or None
            Weights of the samples.

        Returns
        -------
        float
            Value between 0 and 1.
        """
        wrong = (predictions > THRESHOLD_PROBABILITY) != (truth > 0)
        return float(np.average(wrong.mean(axis=1), weights=sample_weight))

    def log_loss(
        self,
        predictions: np.ndarray,
        truth: np.ndarray,
        sample_weight: np.ndarray | None,
    ) -> float:
        """Compute the log loss of a label against its absence, averaged over labels.

        Parameters
        ----------
        predictions : ndarray of shape (n_samples, n_labels)
            Probabilities.
        truth : ndarray of shape (n_samples, n_labels)
            1 for the labels of a sample, else 0.
        sample_weight : ndarray of shape (n_samples,) or None
            Weights of the samples.

        Returns
        -------
        float
            Non-negative value.
        """
        by_label = [
            mean_log_loss(_with_complement(own), _with_complement(true), sample_weight)
            for own, true in zip(predictions.T, truth.T, strict=True)
        ]
        return float(np.mean(by_label))

    def vote_margins(self, shares: np.ndarray) -> np.ndarray:
        """Return the shares of votes for each label minus those against it."""
        return 2 * shares - 1

    def log_margins(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the log-odds of each label, finite for probabilities of 0 and 1."""
        tiny = np.finfo(float).tiny
        against = np.log(np.maximum(1 - probabilities, tiny))
        return np.log(np.maximum(probabilities, tiny)) - against

    def flattened(self, scores: np.ndarray) -> np.ndarray:
        """Return decision values as they are, one for each label."""
        return scores


def _with_complement(probabilities: np.ndarray) -> np.ndarray:
    """Return probabilities of two classes: without a label, and with it."""
    return np.stack([1 - probabilities, probabilities], axis=-1)


def predicts_labels(classifier: BaseEstimator) -> bool:
    """Return whether a classifier takes an indicator matrix of labels as y.

    Parameters
    ----------
    classifier : classifier
        Unfitted classifier.

    Returns
    -------
    bool
        Whether its tags allow it; for a Pipeline those of its last step, for a search
        those of the classifier within.
    """
    if isinstance(classifier, Pipeline):
        return predicts_labels(classifier.steps[-1][1])
    if hasattr(classifier, "refit") and hasattr(classifier, "estimator"):
        return predicts_labels(classifier.estimator)
    if isinstance(classifier, OneVsRestClassifier):  # its tags do not mention labels
        return True
    if not hasattr(classifier, "__sklearn_tags__"):
        return False
    tags = get_tags(classifier)
    by_label = tags.classifier_tags is not None and tags.classifier_tags.multi_label
    return bool(by_label or tags.target_tags.multi_output)


def _inner_has(method: str) -> Callable[[LabelwiseClassifier], bool]:
    def check(classifier: LabelwiseClassifier) -> bool:
        return hasattr(classifier.estimator, method)

    return check


class LabelwiseClassifier(ClassifierMixin, BaseEstimator):
    """Binary relevance: one copy of a classifier for each label.

    Unlike scikit-learn's MultiOutputClassifier it takes labels that all or none of the
    samples have, as occur among those that have some modality or are in some fold.

    Parameters
    ----------
    estimator : classifier
        Classifier of a single label; it is cloned.

    Attributes
    ----------
    estimators_ : list of classifier
        Fitted classifier of each label; a DummyClassifier for constant ones.
    classes_ : list of ndarray
        Classes of each label: 0 and 1, or one of them.
    """

    def __init__(self, estimator: BaseEstimator) -> None:
        self.estimator = estimator

    def fit(self, X: Any, y: np.ndarray, **params: Any) -> Self:
        """Fit a classifier to each label.

        Parameters
        ----------
        X : object
            What the classifier takes.
        y : ndarray of shape (n_samples, n_labels)
            Labels.
        **params : dict
            Metadata for every classifier's `fit`.

        Returns
        -------
        self
            The fitted classifier.
        """
        self.estimators_ = []
        for j, label in enumerate(y.T):
            if (label == label[0]).all():  # most classifiers refuse a single class
                constant = DummyClassifier(strategy="prior")
                self.estimators_.append(constant.fit(X, label))
                continue
            with errors_about(f"label {j}"):
                self.estimators_.append(clone(self.estimator).fit(X, label, **params))
        self.classes_ = [fitted.classes_ for fitted in self.estimators_]
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the labels.

        Parameters
        ----------
        X : object
            What the classifier takes.

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            Labels.
        """
        by_label = [np.ravel(fitted.predict(X)) for fitted in self.estimators_]
        return np.column_stack(by_label)

    @available_if(_inner_has("predict_proba"))
    def predict_proba(self, X: Any) -> list[np.ndarray]:
        """Predict the probabilities of the classes of each label.

        Parameters
        ----------
        X : object
            What the classifier takes.

        Returns
        -------
        list of ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        return [fitted.predict_proba(X) for fitted in self.estimators_]

    @available_if(_inner_has("decision_function"))
    def decision_function(self, X: Any) -> np.ndarray:
        """Compute the decision value of each label.

        Parameters
        ----------
        X : object
            What the classifier takes.

        Returns
        -------
        ndarray of shape (n_samples, n_labels)
            Decision values; of constant labels -1 or 1.
        """
        by_label = [
            2.0 * np.asarray(fitted.predict(X)) - 1
            if len(fitted.classes_) == 1
            else np.asarray(fitted.decision_function(X))
            for fitted in self.estimators_
        ]
        return np.column_stack(by_label)
