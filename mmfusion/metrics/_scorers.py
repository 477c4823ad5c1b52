"""Scorers for searches over clusterers, and the split for transductive ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.metrics import get_scorer as sklearn_get_scorer
from sklearn.metrics import get_scorer_names as sklearn_get_scorer_names
from sklearn.metrics import make_scorer
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from mmfusion._typing import ModalitiesLike
from mmfusion._validation import as_modalities
from mmfusion.metrics._clustering import (
    clustering_accuracy_score,
    pairwise_f_score,
    purity_score,
)
from mmfusion.metrics._label_sequences import (
    edit_score,
    segment_f1,
    sequence_accuracy,
    sequence_f1,
)
from mmfusion.metrics._silhouette import modality_silhouette_score

_SCORES_WITH_CLASSES: dict[str, Callable[..., float]] = {
    "clustering_accuracy": clustering_accuracy_score,
    "pairwise_f": pairwise_f_score,
    "purity": purity_score,
    "sequence_accuracy": sequence_accuracy,
    "sequence_f1_macro": sequence_f1,
    "segment_f1": segment_f1,
    "edit_score": edit_score,
}


def _silhouette_scorer(
    estimator: BaseEstimator, X: ModalitiesLike, y: object = None
) -> float:
    """Score predicted clusters; an estimator may split one array into modalities."""
    frame = as_modalities(X, getattr(estimator, "modalities", None))
    return modality_silhouette_score(frame, estimator.predict(X))


_SCORERS = {
    **{name: make_scorer(score) for name, score in _SCORES_WITH_CLASSES.items()},
    "modality_silhouette": _silhouette_scorer,
}


def get_scorer(scoring: str) -> Callable[..., float]:
    """Return a scorer by name, for ``scoring`` in a search or cross-validation.

    ====================== ======= ==================================================
    name                   needs y score
    ====================== ======= ==================================================
    'clustering_accuracy'  yes     :func:`clustering_accuracy_score`
    'pairwise_f'           yes     :func:`pairwise_f_score`
    'purity'               yes     :func:`purity_score`
    'sequence_accuracy'    yes     :func:`sequence_accuracy`
    'sequence_f1_macro'    yes     :func:`sequence_f1`
    'segment_f1'           yes     :func:`segment_f1`
    'edit_score'           yes     :func:`edit_score`
    'modality_silhouette'  no      :func:`modality_silhouette_score`
    any name of            mostly  :func:`sklearn.metrics.get_scorer`
    scikit-learn
    ====================== ======= ==================================================

    Parameters
    ----------
    scoring : str
        Name of the scorer.

    Returns
    -------
    callable
        Function of (estimator, X, y) that calls `predict` of the estimator and returns
        a float; larger is better.

    Raises
    ------
    ValueError
        If the name is unknown.
    TypeError
        If `scoring` is not a string.

    See Also
    --------
    labels_scorer : Returns a scorer of clusterers without `predict`.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn.model_selection import cross_val_score
    >>> from mmfusion import EarlyFusionClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.metrics import get_scorer
    >>> X, _ = make_multimodal_blobs(random_state=0)
    >>> clusterer = EarlyFusionClusterer(KMeans(3), random_state=0)
    >>> scores = cross_val_score(
    ...     clusterer, X, scoring=get_scorer("modality_silhouette"), cv=3)
    >>> scores.shape
    (3,)
    """
    if not isinstance(scoring, str):
        raise TypeError(
            f"scoring is {scoring!r}, not a name; use a callable as the scorer itself, "
            "or convert it with sklearn.metrics.make_scorer"
        )
    if scoring in _SCORERS:
        return _SCORERS[scoring]
    try:
        return sklearn_get_scorer(scoring)
    except ValueError as error:
        raise ValueError(
            f"scoring {str(scoring)!r} is unknown; the names are {get_scorer_names()}"
        ) from error


def get_scorer_names() -> list[str]:
    """Return the names that `get_scorer` supports, including those of scikit-learn.

    Returns
    -------
    list of str
        Sorted names.

    Examples
    --------
    >>> from mmfusion.metrics import get_scorer_names
    >>> "clustering_accuracy" in get_scorer_names()
    True
    """
    return sorted({*_SCORERS, *sklearn_get_scorer_names()})


class FixedLabels(ClusterMixin, BaseEstimator):
    """Clusterer that predicts given labels, for the scorers of scikit-learn.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
        The labels.
    """

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def predict(self, X: object) -> np.ndarray:
        """Return the labels, whatever X is."""
        return self.labels


def _score_fitted_labels(
    estimator: Any,
    X: Any,
    y: ArrayLike | None = None,
    *,
    scorer: Callable[..., float],
) -> float:
    """Score the labels of a clusterer that was fitted to the samples of X."""
    # labels_ are those of the training samples, so that X must be the same samples
    check_is_fitted(estimator, "labels_")
    check_consistent_length(X, estimator.labels_)
    return scorer(FixedLabels(estimator.labels_), X, y)


def _call_score(
    labels_true: np.ndarray, labels_pred: np.ndarray, *, score: Callable[..., float]
) -> float:
    """Call a function of the user and check that it returns a finite number."""
    value = score(labels_true, labels_pred)
    # searches would rank NaN last without an error
    is_number = np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf"
    if not is_number or not np.isfinite(value):
        name = getattr(score, "__name__", repr(score))
        raise ValueError(
            f"score {name!r} returned {value!r}; it takes (labels_true, labels_pred) "
            "and returns a finite number"
        )
    return float(value)


def check_score(score: object, metric: str) -> float:
    """Check that a scorer returned a finite number.

    Parameters
    ----------
    score : object
        Returned value.
    metric : str
        Name of the score in errors.

    Returns
    -------
    float
        The number.
    """
    value = np.asarray(score)
    if value.size != 1 or value.dtype.kind not in "fiub":
        raise TypeError(f"scoring {metric!r} has returned {score!r}, not a number")
    if not np.isfinite(value).all():
        raise ValueError(
            f"scoring {metric!r} has returned {score!r}; give scoring= that is defined "
            "for these samples, or scale y if its squares are beyond the floats"
        )
    return float(value.item())


def labels_scorer(score: str | Callable[..., float]) -> Callable[..., float]:
    """Return a scorer of the ``labels_`` of a fitted clusterer.

    It does not need `predict`, and thus supports transductive clusterers.

    Parameters
    ----------
    score : str or callable
        A name that `get_scorer` supports, or a function of (labels_true, labels_pred).

    Returns
    -------
    callable
        Scorer of (estimator, X, y), to be used with `WholeDataSplit`.

    Raises
    ------
    ValueError
        If the name is unknown; when scoring, if the estimator was fitted to another
        number of samples, or a callable does not return a finite number.

    See Also
    --------
    WholeDataSplit : Splitter for ``cv`` that this scorer needs.

    Examples
    --------
    >>> from sklearn.cluster import AgglomerativeClustering
    >>> from sklearn.model_selection import GridSearchCV
    >>> from mmfusion import EarlyFusionClusterer
    >>> from mmfusion.datasets import make_multimodal_blobs
    >>> from mmfusion.metrics import WholeDataSplit, labels_scorer
    >>> X, _ = make_multimodal_blobs(random_state=0)
    >>> search = GridSearchCV(
    ...     EarlyFusionClusterer(AgglomerativeClustering()),
    ...     {"clusterer__n_clusters": [2, 3, 4]},
    ...     cv=WholeDataSplit(),
    ...     scoring=labels_scorer("modality_silhouette"),
    ... ).fit(X)
    >>> search.best_estimator_.labels_.shape
    (100,)
    """
    if callable(score):
        scorer: Any = make_scorer(partial(_call_score, score=score))
    else:
        scorer = get_scorer(score)
    return partial(_score_fitted_labels, scorer=scorer)


class WholeDataSplit:
    """Splitter with a single split, whose training and test sets are all samples.

    Transductive clusterers, which have no `predict`, can only be scored on the samples
    they were fitted to. A search with this ``cv`` and a `labels_scorer` compares them
    in this way.

    See Also
    --------
    labels_scorer : Returns the scorer for this splitter.

    Examples
    --------
    >>> from mmfusion.metrics import WholeDataSplit
    >>> [(train.tolist(), test.tolist()) for train, test in
    ...  WholeDataSplit().split([[0.0], [1.0]])]
    [([0, 1], [0, 1])]
    """

    def get_n_splits(
        self, X: object = None, y: object = None, groups: object = None
    ) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X : object, default=None
            Not used.
        y : object, default=None
            Not used.
        groups : object, default=None
            Not used.

        Returns
        -------
        int
            Number of splits, which is 1.
        """
        return 1

    def split(
        self, X: Any, y: object = None, groups: object = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the split.

        Parameters
        ----------
        X : object with a length
            Data to split.
        y : object, default=None
            Not used.
        groups : object, default=None
            Not used.

        Yields
        ------
        train : ndarray of int of shape (n_samples,)
            Positions of all samples.
        test : ndarray of int of shape (n_samples,)
            Positions of all samples.
        """
        # sparse matrices have no length
        everything = np.arange(X.shape[0] if hasattr(X, "shape") else len(X))
        yield everything, everything
