"""Scorers for searches over clusterers, and the split that transductive ones need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.metrics import get_scorer as sklearn_get_scorer
from sklearn.metrics import get_scorer_names as sklearn_get_scorer_names
from sklearn.metrics import make_scorer
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from mmfusion._validation import as_modalities
from mmfusion.metrics._clustering import (
    clustering_accuracy_score,
    pairwise_f_score,
    purity_score,
)
from mmfusion.metrics._silhouette import modality_silhouette_score

_WITH_LABELS: dict[str, Callable[..., float]] = {
    "clustering_accuracy": clustering_accuracy_score,
    "pairwise_f": pairwise_f_score,
    "purity": purity_score,
}


def _silhouette_scorer(estimator: Any, X: Any, y: Any = None) -> float:
    frame = as_modalities(X, getattr(estimator, "modalities", None))
    return modality_silhouette_score(frame, estimator.predict(X))


_SCORERS = {
    **{name: make_scorer(score) for name, score in _WITH_LABELS.items()},
    "modality_silhouette": _silhouette_scorer,
}


def get_scorer(scoring: str) -> Callable[..., float]:
    """Get a scorer by name, for the ``scoring`` of a search or cross-validation.

    ====================== ======= ==================================================
    name                   needs y score
    ====================== ======= ==================================================
    'clustering_accuracy'  yes     :func:`clustering_accuracy_score`
    'pairwise_f'           yes     :func:`pairwise_f_score`
    'purity'               yes     :func:`purity_score`
    'modality_silhouette'  no      :func:`modality_silhouette_score`
    any name known to      mostly  :func:`sklearn.metrics.get_scorer`
    scikit-learn
    ====================== ======= ==================================================

    Parameters
    ----------
    scoring : str
        The name.

    Returns
    -------
    callable
        Takes (estimator, X, y), calls the estimator's `predict`, returns a float of
        which larger is better.

    Raises
    ------
    ValueError
        If there is no scorer of that name.
    TypeError
        If it is no name.

    See Also
    --------
    labels_scorer : For clusterers without `predict`.

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
            f"scoring is {scoring!r}, not a name; a callable is a scorer by itself, or "
            "by sklearn.metrics.make_scorer"
        )
    if scoring in _SCORERS:
        return _SCORERS[scoring]
    try:
        return sklearn_get_scorer(scoring)
    except ValueError as error:
        raise ValueError(
            f"scoring {str(scoring)!r} is no scorer; there are {get_scorer_names()}"
        ) from error


def get_scorer_names() -> list[str]:
    """List the names that `get_scorer` knows, scikit-learn's included.

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


class _Found(ClusterMixin, BaseEstimator):
    """Predicts the clusters that were found, for the scorers of scikit-learn."""

    def __init__(self, labels: np.ndarray) -> None:
        self.labels = labels

    def predict(self, X: Any) -> np.ndarray:
        return self.labels


def _score_labels(estimator: Any, X: Any, y: Any = None, *, scorer: Any) -> float:
    check_is_fitted(estimator, "labels_")
    check_consistent_length(X, estimator.labels_)
    return scorer(_Found(estimator.labels_), X, y)


def _checked_score(labels_true: Any, labels_pred: Any, *, score: Any) -> float:
    """Call a function of the user, which has to return a finite number."""
    value = score(labels_true, labels_pred)
    is_number = np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf"
    if not is_number or not np.isfinite(value):
        name = getattr(score, "__name__", repr(score))
        raise ValueError(
            f"score {name!r} returned {value!r}; it takes (labels_true, labels_pred) "
            "and returns a finite number"
        )
    return float(value)


def labels_scorer(score: str | Callable[..., float]) -> Callable[..., float]:
    """Score the ``labels_`` of a fitted clusterer, which need no `predict`.

    Parameters
    ----------
    score : str or callable
        A name that `get_scorer` knows, or a function of (labels_true, labels_pred).

    Returns
    -------
    callable
        A scorer of (estimator, X, y), to be used with `WholeDataSplit`.

    Raises
    ------
    ValueError
        If there is no scorer of that name; when scoring, if X is not what the
        estimator was fitted on, or a callable returns no finite number.

    See Also
    --------
    WholeDataSplit : The ``cv`` that goes with it.

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
        scorer: Any = make_scorer(partial(_checked_score, score=score))
    else:
        scorer = get_scorer(score)
    return partial(_score_labels, scorer=scorer)


class WholeDataSplit:
    """The one split that fits on all samples and scores the same samples.

    Transductive clusterers (no `predict`) can only be scored on what they were fitted
    on. A search with this ``cv`` and a `labels_scorer` compares them that way.

    See Also
    --------
    labels_scorer : The scorer that goes with it.

    Examples
    --------
    >>> from mmfusion.metrics import WholeDataSplit
    >>> [(train.tolist(), test.tolist()) for train, test in
    ...  WholeDataSplit().split([[0.0], [1.0]])]
    [([0, 1], [0, 1])]
    """

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
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
            Always 1.
        """
        return 1

    def split(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Generate the split.

        Parameters
        ----------
        X : object with a length
            The data.
        y : object, default=None
            Not used.
        groups : object, default=None
            Not used.

        Yields
        ------
        train : ndarray of int of shape (n_samples,)
            All positions.
        test : ndarray of int of shape (n_samples,)
            All positions.
        """
        everything = np.arange(X.shape[0] if hasattr(X, "shape") else len(X))
        yield everything, everything
