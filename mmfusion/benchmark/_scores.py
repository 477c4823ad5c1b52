"""Scores of clusterings by name, for `compare`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    normalized_mutual_info_score,
)

from mmfusion._row_labels import short_repr
from mmfusion.benchmark._cells import Score
from mmfusion.metrics import (
    clustering_accuracy_score,
    modality_silhouette_score,
    pairwise_f_score,
    purity_score,
)
from mmfusion.modalities import Modalities

DEFAULT_METRICS = ("clustering_accuracy", "normalized_mutual_info", "adjusted_rand")

SCORES_WITH_CLASSES = {
    "adjusted_mutual_info": adjusted_mutual_info_score,
    "adjusted_rand": adjusted_rand_score,
    "clustering_accuracy": clustering_accuracy_score,
    "normalized_mutual_info": normalized_mutual_info_score,
    "pairwise_f": pairwise_f_score,
    "purity": purity_score,
}
SILHOUETTE_NAME = "modality_silhouette"

METRIC_NAMES = (*sorted(SCORES_WITH_CLASSES), SILHOUETTE_NAME)


def resolve_scores(
    metrics: str | Sequence[str] | Mapping[str, Callable[..., float]],
) -> dict[str, Score]:
    """Make functions of (X, labels_true, labels_pred) from names or functions."""
    if not isinstance(metrics, str | Sequence | Mapping | Set) or issparse(metrics):
        raise TypeError(
            f"metrics is a {type(metrics).__name__}; give names, or a dict of "
            "functions of (labels_true, labels_pred) by name"
        )
    if isinstance(metrics, Mapping):
        for name, score in metrics.items():
            if not callable(score):
                raise TypeError(
                    f"metrics: {name!r} is a {type(score).__name__}; give a function "
                    "of (labels_true, labels_pred)"
                )
        scores: dict[str, Score] = {
            name: partial(_score_with_classes, score) for name, score in metrics.items()
        }
    else:
        names = [metrics] if isinstance(metrics, str) else metrics
        scores = {name: _score_of_name(name) for name in names}
    if not scores:
        raise ValueError("metrics is empty; give at least one")
    return scores


def _score_of_name(name: object) -> Score:
    if not isinstance(name, str):
        raise TypeError(
            f"metrics: {short_repr(name)} is not a name; give functions in a dict"
        )
    plain = name.removesuffix("_score")  # names of scikit-learn's scorers lack it
    if plain == SILHOUETTE_NAME:
        return _score_silhouette
    if plain not in SCORES_WITH_CLASSES:
        raise ValueError(
            f"metrics: there is no metric {name!r}; there are {list(METRIC_NAMES)}. "
            "Give others as a dict of functions of (labels_true, labels_pred)"
        )
    return partial(_score_with_classes, SCORES_WITH_CLASSES[plain])


def _score_with_classes(
    score: Callable[..., Any], X: Modalities, y: np.ndarray, labels: np.ndarray
) -> Any:
    return score(y, labels)


def _score_silhouette(X: Modalities, y: np.ndarray, labels: np.ndarray) -> float:
    return modality_silhouette_score(X, labels)
