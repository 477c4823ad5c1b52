"""What is to be predicted, and how to read what a predictor says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Classes:
    """Classes and their prior probabilities.

    Parameters
    ----------
    labels : ndarray of shape (n_classes,)
        Sorted labels.
    prior : ndarray of shape (n_classes,)
        Their shares in `fit`.
    """

    labels: np.ndarray
    prior: np.ndarray

    def truth(self, y: np.ndarray) -> np.ndarray:
        """Write labels as rows of 0 and 1.

        Parameters
        ----------
        y : ndarray of shape (n_samples,)
            Labels.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            1 for the class of a sample.
        """
        return (y[:, None] == self.labels).astype(float)

    def tells_nothing(self, y: np.ndarray) -> bool:
        """Tell whether a predictor could learn nothing from these labels."""
        return len(self.labels) > 1 and bool((y == y[0]).all())

    def can_learn(self, y: np.ndarray) -> bool:
        """Return whether a final estimator can learn from these labels."""
        return len(np.unique(y)) >= min(2, len(self.labels))

    def unseen(self, predictor: Any, y: np.ndarray) -> np.ndarray:
        """Return which labels a classifier was not trained on.

        Parameters
        ----------
        predictor : classifier
            Fitted.
        y : ndarray of shape (n_samples,)
            Labels.

        Returns
        -------
        ndarray of bool of shape (n_samples,)
            True for labels that are none of the classifier's classes.
        """
        return ~np.isin(y, predictor.classes_)

    def read(self, predictor: Any, matrix: Any, method: str) -> np.ndarray:
        """Ask a classifier, and align what it says with all classes.

        Parameters
        ----------
        predictor : classifier
            Fitted, on some of the classes at least.
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Samples.
        method : {'predict_proba', 'decision_function', 'predict'}
            What to ask for.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, decision values, or 1 for the predicted class. A class that
            the classifier never saw keeps its prior probability, or gets the lowest
            decision value.
        """
        known = np.asarray(predictor.classes_)
        if method == "decision_function" and len(known) == 1:
            return np.zeros((matrix.shape[0], len(self.labels)))
        if method == "predict":
            return self.truth(self.predict(predictor, matrix))
        said = np.asarray(getattr(predictor, method)(matrix))
        if said.ndim == 1 and len(known) == 2 and method == "decision_function":
            said = np.column_stack([-said, said])
        shape = (matrix.shape[0], len(known))
        refuse_other_numbers(said, shape, f"{method} of {type(predictor).__name__}")
        if len(known) == len(self.labels):
            return said
        places = np.searchsorted(self.labels, known)
        if method == "decision_function":
            lowest = said.min(axis=1, keepdims=True)
            aligned = np.repeat(lowest, len(self.labels), axis=1)
            aligned[:, places] = said
            return aligned
        aligned = np.tile(self.prior, (len(said), 1))
        aligned[:, places] = said * self.prior[places].sum()
        return aligned

    def predict(self, predictor: Any, matrix: Any) -> np.ndarray:
        """Predict labels by a classifier, and check them.

        Parameters
        ----------
        predictor : classifier
            Fitted.
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Samples.

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels.
        """
        labels = np.asarray(predictor.predict(matrix))
        return self._checked_labels(labels, predictor, matrix.shape[0])

    def _checked_labels(
        self, labels: np.ndarray, predictor: Any, n_samples: int
    ) -> np.ndarray:
        labels = labels.ravel() if labels.shape == (n_samples, 1) else labels
        if labels.shape != (n_samples,) or not np.isin(labels, self.labels).all():
            raise ValueError(
                f"predict of {type(predictor).__name__} has returned labels of shape "
                f"{labels.shape} for {n_samples} samples, {labels.ravel()[:3]}; it "
                f"needs to return one of the classes {self.labels[:5]} for each"
            )
        return labels


def refuse_other_numbers(values: np.ndarray, shape: tuple[int, ...], what: str) -> None:
    """Refuse what is not finite numbers of this shape.

    Parameters
    ----------
    values : ndarray
        What was returned.
    shape : tuple of int
        The shape it needs to have.
    what : str
        What has returned it, for errors.

    Raises
    ------
    ValueError
        If it has another shape or dtype, or holds NaN or infinity.
    """
    if values.shape != shape or values.dtype.kind not in "fiub":
        raise ValueError(
            f"{what} has returned {values.dtype} of shape {values.shape}; it needs to "
            f"return numbers of shape {shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{what} has returned NaN or infinity")


@dataclass(frozen=True)
class Outputs:
    """Outputs of a regression and their means.

    Parameters
    ----------
    prior : ndarray of shape (n_outputs,)
        Means in `fit`.
    spread : ndarray of shape (n_outputs,)
        Standard deviations in `fit`; 1 for constant outputs.
    is_flat : bool
        Whether y had one dimension.
    """

    prior: np.ndarray
    spread: np.ndarray
    is_flat: bool

    def truth(self, y: np.ndarray) -> np.ndarray:
        """Give y two dimensions.

        Parameters
        ----------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            Values.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            The same.
        """
        return y.reshape(len(y), -1)

    def tells_nothing(self, y: np.ndarray) -> bool:
        """Any values can be learned from."""
        return False

    def can_learn(self, y: np.ndarray) -> bool:
        """Return whether there are values for a final estimator to learn from."""
        return len(y) > 0

    def unseen(self, predictor: Any, y: np.ndarray) -> np.ndarray:
        """No value needs to be among those that a regressor was trained on."""
        return np.zeros(len(y), dtype=bool)

    def read(self, predictor: Any, matrix: Any, method: str) -> np.ndarray:
        """Ask a regressor.

        Parameters
        ----------
        predictor : regressor
            Fitted.
        matrix : ndarray or CSR matrix of shape (n_samples, n_features)
            Samples.
        method : {'predict', 'return_std'}
            What to ask for.

        Returns
        -------
        ndarray of shape (n_samples, n_outputs)
            Predictions; for 'return_std' followed by their standard deviations.
        """
        n_samples = matrix.shape[0]
        if method == "predict":
            return self._values(predictor.predict(matrix), predictor, n_samples)
        mean, std = predictor.predict(matrix, return_std=True)
        mean = self._values(mean, predictor, n_samples)
        std = np.asarray(std)
        std = np.broadcast_to(std[:, None] if std.ndim == 1 else std, mean.shape)
        refuse_other_numbers(
            std, mean.shape, f"return_std of {type(predictor).__name__}"
        )
        return np.hstack([mean, std])

    def _values(self, values: Any, predictor: Any, n_samples: int) -> np.ndarray:
        values = np.asarray(values)
        values = values[:, None] if values.ndim == 1 else values
        shape = (n_samples, len(self.prior))
        refuse_other_numbers(values, shape, f"predict of {type(predictor).__name__}")
        return values
