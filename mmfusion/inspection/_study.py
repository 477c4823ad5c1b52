"""Fits and held-out scores of an estimator on subsets of the modalities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import clone, is_classifier, is_clusterer, is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.model_selection import check_cv
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import check_classification_targets

from mmfusion._blocks import as_dense_array
from mmfusion._options import check_estimators, errors_about
from mmfusion._row_labels import check_row_labels
from mmfusion._target_checks import check_target
from mmfusion._typing import CrossValidationLike, EstimatorLike, ModalitiesLike
from mmfusion._validation import as_modalities
from mmfusion.fusion._folds import Folds, checked_folds
from mmfusion.inspection._predictors import PriorFallback
from mmfusion.metrics import get_scorer
from mmfusion.metrics._labels import validate_labels
from mmfusion.metrics._scorers import FixedLabels, check_score
from mmfusion.modalities import Modalities

ScorerLike: TypeAlias = str | Callable[..., float] | None

CLASSIFIER, REGRESSOR, CLUSTERER = "classifier", "regressor", "clusterer"
SILHOUETTE = "modality_silhouette"


@dataclass(frozen=True)
class Inspection:
    """Estimator, data and score of an inspection.

    Parameters
    ----------
    estimator : estimator
        Estimator to clone and fit, or a fitted one.
    kind : {'classifier', 'regressor', 'clusterer'}
        Kind of the estimator.
    frame : Modalities
        Data of at least two modalities.
    y : ndarray of shape (n_samples, ...) or None
        Target or classes.
    scorer : callable
        Scorer of (estimator, X, y).
    metric : str
        Name of the score.
    """

    estimator: Any
    kind: str
    frame: Modalities
    y: np.ndarray | None
    scorer: Callable[..., float]
    metric: str

    def fit(self, rows: np.ndarray, names: Sequence[str]) -> Any:
        """Fit a clone to modalities of the samples that have one of them.

        Parameters
        ----------
        rows : ndarray of int
            Positions of the samples.
        names : sequence of str
            Names of the modalities.

        Returns
        -------
        estimator
            The fitted clone, or its `PriorFallback` if supervised.
        """
        part = self.frame[rows][list(names)]
        observed = part.observed.any(axis=1)
        if not observed.any():
            raise ValueError(f"no training sample has one of {list(names)}")
        model = restricted(clone(self.estimator), names, self.frame.names)
        if self.kind == CLUSTERER:  # classes are for evaluation only
            return model.fit(part[observed])
        return model.fit(part[observed], self.targets(rows[observed]))

    def score(
        self, model: Any, part: Modalities, test: np.ndarray, dummy: Any
    ) -> float:
        """Score a fitted model on modalities of held-out samples.

        Parameters
        ----------
        model : estimator
            Fitted to the modalities of `part`.
        part : Modalities
            Modalities of the held-out samples, as they are given to the model.
        test : ndarray of int
            Positions of the held-out samples.
        dummy : estimator or None
            Predictor of samples without any modality; None for clusterers.

        Returns
        -------
        float
            The score.
        """
        if self.kind == CLUSTERER:
            return self._score_labels(self._labels(model, part), test)
        if dummy is not None and not part.observed.any(axis=1).all():
            model = PriorFallback(model, dummy)
        return check_score(self.scorer(model, part, self.targets(test)), self.metric)

    def dummy(self, train: np.ndarray) -> Any:
        """Fit the predictor without any modality; None for clusterers."""
        if self.kind == CLUSTERER:
            return None
        dummies = {CLASSIFIER: DummyClassifier, REGRESSOR: DummyRegressor}
        return dummies[self.kind]().fit(self.frame[train], self.targets(train))

    def empty_score(self, test: np.ndarray, dummy: Any) -> float:
        """Score the predictions without any modality: the prior, or one cluster."""
        if self.kind != CLUSTERER:
            score = self.scorer(dummy, self.frame[test], self.targets(test))
            return check_score(score, self.metric)
        if self.metric == SILHOUETTE:  # undefined for one cluster
            return 0.0
        return self._score_labels(np.zeros(len(test), dtype=int), test)

    def attempt(self, what: str, remedy: str, action: Callable[[], Any]) -> Any:
        """Run a step, with errors that describe it and give a remedy."""
        try:  # the estimators and scorers of users may raise anything
            return action()
        except Exception as error:
            name = type(self.estimator).__name__
            text = f"{type(error).__name__}: {error}"
            raise ValueError(f"{name} failed {what}: {text}; {remedy}") from error

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """Return the target of some samples."""
        if self.y is None:
            raise ValueError(f"y is None; a {self.kind} needs a target")
        return self.y[rows]

    def _score_labels(self, labels: np.ndarray, test: np.ndarray) -> float:
        # silhouettes of all subsets are in all modalities, to be comparable
        data = self.frame[test], None if self.y is None else self.y[test]
        return check_score(self.scorer(FixedLabels(labels), *data), self.metric)

    def _labels(self, model: Any, part: Modalities) -> np.ndarray:
        """Return predicted clusters, one more of the samples without a modality."""
        observed = part.observed.any(axis=1)
        if hasattr(model, "predict"):
            own = np.asarray(model.predict(part[observed]))
        else:
            own = np.asarray(model.labels_)
        labels = np.full(len(part), -2)
        labels[observed] = own
        return labels


def restricted(estimator: Any, names: Sequence[str], among: Sequence[str]) -> Any:
    """Set parameters that are dicts by modality to those of some modalities.

    Parameters
    ----------
    estimator : estimator
        Estimator, which is changed.
    names : sequence of str
        Names of the modalities that it is fitted to.
    among : sequence of str
        Names of all modalities.

    Returns
    -------
    estimator
        The same estimator.
    """
    if len(names) == len(among):
        return estimator
    params = estimator.get_params(deep=True)
    own = {
        key: {name: value[name] for name in value if name in names}
        for key, value in params.items()
        if isinstance(value, Mapping) and value and set(value) <= set(among)
    }
    return estimator.set_params(**own) if own else estimator


def checked_study(
    estimator: EstimatorLike,
    X: ModalitiesLike,
    y: ArrayLike | None,
    scoring: ScorerLike,
) -> Inspection:
    """Check the estimator, data and score of an inspection.

    Parameters
    ----------
    estimator : estimator
        Classifier, regressor or clusterer.
    X : list, dict or Modalities
        Data by modality, or a table that the estimator's `modalities` splits.
    y : array-like or None
        Target, or classes to compare clusters with.
    scoring : str, callable or None
        Score of which larger is better.

    Returns
    -------
    Inspection
        The checked arguments.

    Raises
    ------
    TypeError
        If the estimator or scorer is none.
    ValueError
        If there is one modality, or y does not fit.
    """
    check_estimators(estimator, "estimator", ["fit"])
    kind = _kind(estimator)
    frame = as_modalities(X, getattr(estimator, "modalities", None))
    if frame.shape[1] < 2:
        raise ValueError(
            f"X has one modality, {frame.names[0]!r}; at least 2 are needed: split a "
            "table by Modalities.from_table(X, modalities)"
        )
    target = _checked_target(estimator, kind, frame, y)
    if scoring is None:
        with_classes = "adjusted_rand_score" if target is not None else SILHOUETTE
        defaults = {CLASSIFIER: "accuracy", REGRESSOR: "r2", CLUSTERER: with_classes}
        scoring = defaults[kind]
    if isinstance(scoring, str):
        return Inspection(
            estimator, kind, frame, target, get_scorer(scoring), str(scoring)
        )
    if not callable(scoring):
        raise TypeError(f"scoring is {scoring!r}; give a name or a scorer")
    name = getattr(scoring, "__name__", type(scoring).__name__)
    return Inspection(estimator, kind, frame, target, scoring, name)


def _kind(estimator: Any) -> str:
    """Return the kind of an estimator."""
    tests = {
        CLASSIFIER: is_classifier,
        REGRESSOR: is_regressor,
        CLUSTERER: is_clusterer,
    }
    if hasattr(estimator, "__sklearn_tags__"):
        for kind, is_kind in tests.items():
            if is_kind(estimator):
                return kind
    raise TypeError(
        f"estimator is a {type(estimator).__name__}; give a classifier, a regressor or "
        "a clusterer, such as a Pipeline that ends in one"
    )


def _checked_target(
    estimator: Any, kind: str, frame: Modalities, y: ArrayLike | None
) -> np.ndarray | None:
    """Check the target, or the classes that clusters are compared with."""
    if kind == CLUSTERER:
        if y is None:
            return None
        check_row_labels(frame._index, y, "y")
        classes = validate_labels(y, "y")
        check_consistent_length(frame, classes)
        return classes
    is_numeric = kind == REGRESSOR
    target = check_target(estimator, frame, y, multi_output=True, y_numeric=is_numeric)
    if not is_numeric:
        with errors_about("y"):
            check_classification_targets(target)
            classes = np.unique(target)  # raises if types are mixed
        if target.ndim == 1 and len(classes) < 2:
            raise ValueError(
                f"y has one class only, {classes.tolist()}, so that no modality can "
                "contribute to its prediction; give samples of at least 2 classes"
            )
    return target


def _checked_groups(groups: ArrayLike | None, frame: Modalities) -> np.ndarray | None:
    """Check the groups of samples."""
    if groups is None:
        return None
    check_row_labels(frame._index, groups, "groups")
    if sparse.issparse(groups):
        raise TypeError("groups is a sparse matrix; give a dense array, by toarray()")
    with errors_about("groups"):
        array = as_dense_array(groups, "groups")
        check_consistent_length(frame, array)
    return array


def study_folds(
    study: Inspection, cv: CrossValidationLike, groups: ArrayLike | None
) -> Folds:
    """Split the samples into folds, of 5 by default.

    Parameters
    ----------
    study : Inspection
        Estimator and data.
    cv : int, cross-validation generator, iterable or None
        Number of folds, splitter or folds.
    groups : array-like of shape (n_samples,) or None
        Groups for the splitter.

    Returns
    -------
    list of tuple of ndarray
        Positions of training and test samples.

    Raises
    ------
    ValueError
        If there is no fold, or a clusterer without `predict` has samples held out.
    """
    if sparse.issparse(cv):  # scikit-learn would iterate over its rows
        raise TypeError("cv is a sparse matrix; give a number of folds or a splitter")
    frame, y = study.frame, study.y
    checked = _checked_groups(groups, frame)
    with errors_about("cv and y"):
        splitter = check_cv(cv, y, classifier=study.kind == CLASSIFIER)
    folds = checked_folds(splitter, len(frame), frame, y, groups=checked)
    if not folds or not all(len(rows) for fold in folds for rows in fold):
        raise ValueError(
            f"cv={cv!r:.60} gives no fold, or one without samples; give a number of "
            "folds, or a splitter that does"
        )
    held_out = not all(np.array_equal(train, test) for train, test in folds)
    if held_out and not hasattr(study.estimator, "predict"):
        raise TypeError(
            f"estimator is a {type(study.estimator).__name__} without predict, which "
            "cannot be scored on held-out samples; give cv=WholeDataSplit() of "
            "mmfusion.metrics"
        )
    return folds


def masked(frame: Modalities, names: Sequence[str]) -> Modalities:
    """Return a frame in which the other modalities are missing for all samples."""
    kept = np.isin(frame.names, list(names))
    return Modalities(frame, observed=frame.observed & kept)


def corrected_error(by_fold: np.ndarray, folds: Folds) -> np.ndarray:
    """Compute the standard error of means over folds of cross-validation.

    Training sets overlap, which the factor ``1 / n_folds + n_test / n_train`` of the
    variance corrects (Nadeau and Bengio, 2003).

    Parameters
    ----------
    by_fold : ndarray of shape (n_folds, ...)
        Values of each fold.
    folds : list of tuple of ndarray
        Positions of training and test samples.

    Returns
    -------
    ndarray of shape (...)
        Standard errors; NaN for one fold.
    """
    if len(folds) < 2:
        return np.full(by_fold.shape[1:], np.nan)
    ratio = float(np.mean([len(test) / len(train) for train, test in folds]))
    return by_fold.std(axis=0, ddof=1) * np.sqrt(1 / len(folds) + ratio)
