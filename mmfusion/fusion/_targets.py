"""Targets: the classes or outputs of y, and the checked predictions of a predictor."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import Parameter, signature

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from mmfusion._typing import NumericBlock
from mmfusion.fusion.combination import _opinion_pools
from mmfusion.fusion.combination._predictor_weights import error_rate, mean_log_loss
from mmfusion.fusion.combination._sample_weights import certainty
from mmfusion.preprocessing._sequence_layouts import as_read_by


@dataclass(frozen=True)
class ClassificationTarget:
    """Classes and their prior probabilities.

    Parameters
    ----------
    labels : ndarray of shape (n_classes,)
        Sorted labels.
    prior : ndarray of shape (n_classes,)
        Shares of the classes in `fit`, as samples weigh.
    """

    labels: np.ndarray
    prior: np.ndarray
    is_exclusive = True  # whether the probabilities of a sample add up to 1

    @property
    def n_redundant_outputs(self) -> int:
        """Number of first columns that the others determine: one of two classes."""
        return int(len(self.labels) == 2)

    def adapt(self, classifier: BaseEstimator) -> BaseEstimator:
        """Return the classifier itself, as every classifier takes classes."""
        return classifier

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Encode labels as rows of 0 and 1.

        Parameters
        ----------
        y : ndarray of shape (n_samples,)
            Labels.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            1 for the class of a sample, else 0.
        """
        return (y[:, None] == self.labels).astype(float)

    @property
    def names(self) -> list[str | None]:
        """Names of the columns of predictions: the classes."""
        return [str(label) for label in self.labels.tolist()]

    @property
    def most_frequent(self) -> np.ndarray:
        """The label of the largest prior probability."""
        return self.decide(self.prior)

    @property
    def prior_scores(self) -> np.ndarray:
        """Log probabilities of the prior; of two classes the log-odds of each."""
        scores = np.log(np.maximum(self.prior, np.finfo(float).tiny))
        return scores - scores[::-1] if len(scores) == 2 else scores

    def is_constant(self, y: np.ndarray) -> bool:
        """Return whether only one of several classes is among these labels."""
        return len(self.labels) > 1 and bool((y == y[0]).all())

    def is_learnable(self, y: np.ndarray) -> bool:
        """Return whether these labels are enough to fit a final estimator."""
        return len(np.unique(y)) >= min(2, len(self.labels))

    def unseen(self, predictor: BaseEstimator, y: np.ndarray) -> np.ndarray:
        """Return which labels a classifier was not trained on.

        Parameters
        ----------
        predictor : classifier
            Fitted classifier.
        y : ndarray of shape (n_samples,)
            Labels.

        Returns
        -------
        ndarray of bool of shape (n_samples,)
            True for labels that are not among the classifier's classes.
        """
        return ~np.isin(y, predictor.classes_)

    def absent(self, final_estimator: BaseEstimator | None) -> np.ndarray:
        """Return which classes a final estimator was not trained on.

        Parameters
        ----------
        final_estimator : classifier or None
            Fitted classifier; None if there was nothing to fit it to.

        Returns
        -------
        ndarray of bool of shape (n_classes,)
            True for absent classes.
        """
        if final_estimator is None:
            return np.ones(len(self.labels), dtype=bool)
        return ~np.isin(self.labels, getattr(final_estimator, "classes_", self.labels))

    def predictions(
        self, predictor: BaseEstimator, matrix: NumericBlock, method: str
    ) -> np.ndarray:
        """Predict by a classifier, with a column for each of all classes.

        Parameters
        ----------
        predictor : classifier
            Classifier fitted to some of the classes at least.
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Samples.
        method : {'predict_proba', 'decision_function', 'predict'}
            Method of the classifier.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, decision values, or 1 for the predicted class. A class that
            the classifier was not trained on keeps its prior probability, or gets the
            lowest decision value.
        """
        trained = np.asarray(predictor.classes_)
        if method == "decision_function" and len(trained) == 1:
            return np.zeros((matrix.shape[0], len(self.labels)))
        if method == "predict":
            return self.encode(self.predict(predictor, matrix))
        values = np.asarray(getattr(predictor, method)(as_read_by(predictor, matrix)))
        if values.ndim == 1 and len(trained) == 2 and method == "decision_function":
            values = np.column_stack([-values, values])
        shape = (matrix.shape[0], len(trained))
        refuse_other_numbers(values, shape, f"{method} of {type(predictor).__name__}")
        if len(trained) == len(self.labels):
            return values
        columns = np.searchsorted(self.labels, trained)
        if method == "decision_function":
            lowest = values.min(axis=1, keepdims=True)
            aligned = np.repeat(lowest, len(self.labels), axis=1)
            aligned[:, columns] = values
            return aligned
        aligned = np.tile(self.prior, (len(values), 1))
        # the classes it was trained on share what the others leave
        aligned[:, columns] = values * self.prior[columns].sum()
        return aligned

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
        ndarray of shape (n_samples,)
            Labels, each of them one of the classes.

        Raises
        ------
        ValueError
            If the classifier returns anything else.
        """
        labels = np.asarray(predictor.predict(as_read_by(predictor, matrix)))
        return self._checked_labels(labels, predictor, matrix.shape[0])

    def _checked_labels(
        self, labels: np.ndarray, predictor: BaseEstimator, n_samples: int
    ) -> np.ndarray:
        # some classifiers return a column where others return a vector
        labels = labels.ravel() if labels.shape == (n_samples, 1) else labels
        if labels.shape != (n_samples,) or not np.isin(labels, self.labels).all():
            raise ValueError(
                f"predict of {type(predictor).__name__} has returned labels of shape "
                f"{labels.shape} for {n_samples} samples, {labels.ravel()[:3]}; it "
                f"needs to return one of the classes {self.labels[:5]} for each"
            )
        return labels

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Return the labels of the largest scores, the first ones of equal scores.

        Parameters
        ----------
        scores : ndarray of shape (..., n_classes)
            Probabilities, votes or decision values.

        Returns
        -------
        ndarray of shape (...)
            Labels.
        """
        return np.asarray(self.labels[scores.argmax(axis=-1)])

    def votes(self, predictions: np.ndarray, *, are_scores: bool) -> np.ndarray:
        """Turn the predictions of one branch into votes for one class.

        Parameters
        ----------
        predictions : ndarray of shape (n_samples, n_classes)
            Probabilities or decision values.
        are_scores : bool
            Whether they are decision values; the largest one counts in either case.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            1 for the class voted for, else 0.
        """
        return _opinion_pools.votes(predictions)

    def log_pool(self, predictions: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Compute the logarithmic opinion pool; see `log_opinion_pool`."""
        return _opinion_pools.log_opinion_pool(predictions, weights, self.prior)

    def certainty(self, probabilities: np.ndarray) -> np.ndarray:
        """Compute one minus the normalised entropy; see `certainty`."""
        return certainty(probabilities)

    def error_rate(
        self,
        predictions: np.ndarray,
        truth: np.ndarray,
        sample_weight: np.ndarray | None,
    ) -> float:
        """Compute the share of samples of a wrong class; see `error_rate`."""
        return error_rate(predictions, truth, sample_weight)

    def log_loss(
        self,
        predictions: np.ndarray,
        truth: np.ndarray,
        sample_weight: np.ndarray | None,
    ) -> float:
        """Compute the log loss of the true classes; see `mean_log_loss`."""
        return mean_log_loss(predictions, truth, sample_weight)

    def vote_margins(self, shares: np.ndarray) -> np.ndarray:
        """Return shares of votes; of two classes the second one's minus the first's."""
        return shares[:, 1] - shares[:, 0] if shares.shape[1] == 2 else shares

    def log_margins(self, probabilities: np.ndarray) -> np.ndarray:
        """Return log probabilities; of two classes the log-odds of the second one."""
        # finite scores for probabilities of 0
        scores = np.log(np.maximum(probabilities, np.finfo(float).tiny))
        return self.vote_margins(scores)

    def flattened(self, scores: np.ndarray) -> np.ndarray:
        """Return decision values in scikit-learn's shape: of two classes one each."""
        return scores[:, 1] if scores.shape[1] == 2 else scores


def has_probabilities(classifier: BaseEstimator) -> bool:
    """Return whether a classifier predicts probabilities with its parameters."""
    if not hasattr(classifier, "predict_proba"):
        return False
    if isinstance(classifier, Pipeline):
        return has_probabilities(classifier.steps[-1][1])
    # support vector machines of tslearn always have the method, which then fails
    return getattr(classifier, "probability", True) is not False


def refuse_other_numbers(values: np.ndarray, shape: tuple[int, ...], what: str) -> None:
    """Raise an error unless predictions are finite numbers of the expected shape.

    Parameters
    ----------
    values : ndarray
        Predictions.
    shape : tuple of int
        Expected shape.
    what : str
        Method and predictor that returned them, for the error.

    Raises
    ------
    ValueError
        If they have another shape or dtype, or hold NaN or infinity.
    """
    if values.shape != shape or values.dtype.kind not in "fiub":
        raise ValueError(
            f"{what} has returned {values.dtype} of shape {values.shape}; it needs to "
            f"return numbers of shape {shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{what} has returned NaN or infinity")


def refuse_without_std(regressor: BaseEstimator, title: str) -> None:
    """Raise an error for a regressor that predicts no standard deviation.

    Parameters
    ----------
    regressor : regressor
        The regressor.
    title : str
        Its role, for the error.

    Raises
    ------
    ValueError
        If its `predict` does not take ``return_std``.
    """
    # a Pipeline passes return_std on to its last step
    accepted = signature(regressor.predict).parameters.values()
    if not any(
        p.name == "return_std" or p.kind is Parameter.VAR_KEYWORD for p in accepted
    ):
        raise ValueError(
            f"{title}: {type(regressor).__name__} predicts no variance (its predict "
            "has no return_std); use weights='inverse_variance', or a regressor "
            "such as BayesianRidge or GaussianProcessRegressor"
        )


@dataclass(frozen=True)
class RegressionTarget:
    """Outputs of a regression and their means.

    Parameters
    ----------
    prior : ndarray of shape (n_outputs,)
        Means of the outputs in `fit`, as samples weigh.
    spread : ndarray of shape (n_outputs,)
        Standard deviations of the outputs in `fit`; 1 for constant ones.
    is_flat : bool
        Whether y had one dimension.
    """

    prior: np.ndarray
    spread: np.ndarray
    is_flat: bool

    def adapt(self, regressor: BaseEstimator) -> BaseEstimator:
        """Return the regressor itself, whose tags decide on several outputs."""
        return regressor

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Reshape y to two dimensions.

        Parameters
        ----------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Values.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            The same values.
        """
        return y.reshape(len(y), -1)

    @property
    def names(self) -> list[str | None]:
        """Names of the columns of predictions; None for a single output."""
        return [None] if self.is_flat else [f"y{j}" for j in range(len(self.prior))]

    def is_constant(self, y: np.ndarray) -> bool:
        """Return False: regressors take constant values."""
        return False

    def is_learnable(self, y: np.ndarray) -> bool:
        """Return whether there are values to fit a final estimator to."""
        return len(y) > 0

    def unseen(self, predictor: BaseEstimator, y: np.ndarray) -> np.ndarray:
        """Return False for every sample: a regressor is trained on no classes."""
        return np.zeros(len(y), dtype=bool)

    def predictions(
        self, predictor: BaseEstimator, matrix: NumericBlock, method: str
    ) -> np.ndarray:
        """Predict by a regressor, and check the values.

        Parameters
        ----------
        predictor : regressor
            Fitted regressor.
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Samples.
        method : {'predict', 'return_std'}
            Whether standard deviations are predicted too.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            Predictions; for 'return_std' followed by their standard deviations.
        """
        n_samples = matrix.shape[0]
        read = as_read_by(predictor, matrix)
        if method == "predict":
            return self._values(predictor.predict(read), predictor, n_samples)
        mean, std = predictor.predict(read, return_std=True)
        mean = self._values(mean, predictor, n_samples)
        std = np.asarray(std)
        std = np.broadcast_to(std[:, None] if std.ndim == 1 else std, mean.shape)
        refuse_other_numbers(
            std, mean.shape, f"return_std of {type(predictor).__name__}"
        )
        return np.hstack([mean, std])

    def _values(
        self, values: ArrayLike, predictor: BaseEstimator, n_samples: int
    ) -> np.ndarray:
        values = np.asarray(values)
        values = values[:, None] if values.ndim == 1 else values
        shape = (n_samples, len(self.prior))
        refuse_other_numbers(values, shape, f"predict of {type(predictor).__name__}")
        return values
