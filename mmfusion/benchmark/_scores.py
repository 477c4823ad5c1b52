"""Scores by name for `compare`: of clusterings, and scorers of predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.metrics import (
    adjusted_mutual_info_score,
    adjusted_rand_score,
    get_scorer,
    get_scorer_names,
    normalized_mutual_info_score,
)

from mmfusion._row_labels import short_repr
from mmfusion._text import encodable_keys
from mmfusion.benchmark._cells import Score
from mmfusion.benchmark._tasks import CLASSIFICATION, CLUSTERING, REGRESSION
from mmfusion.metrics import (
    clustering_accuracy_score,
    modality_silhouette_score,
    pairwise_f_score,
    purity_score,
)
from mmfusion.modalities import Modalities

MetricsLike = str | Sequence[str] | Mapping[str, Callable[..., float]]

DEFAULT_METRICS = {
    CLUSTERING: ("clustering_accuracy", "normalized_mutual_info", "adjusted_rand"),
    CLASSIFICATION: ("accuracy", "balanced_accuracy", "f1_macro"),
    REGRESSION: (
        "r2",
        "neg_root_mean_squared_error",
        "neg_mean_absolute_error",
    ),
}

SCORES_WITH_CLASSES = {
    "adjusted_mutual_info": adjusted_mutual_info_score,
    "adjusted_rand": adjusted_rand_score,
    "clustering_accuracy": clustering_accuracy_score,
    "normalized_mutual_info": normalized_mutual_info_score,
    "pairwise_f": pairwise_f_score,
    "purity": purity_score,
}
SILHOUETTE_NAME = "modality_silhouette"
ROC_AUC_NAME = "roc_auc"

METRIC_NAMES = {
    CLUSTERING: (*sorted(SCORES_WITH_CLASSES), SILHOUETTE_NAME),
    CLASSIFICATION: (*DEFAULT_METRICS[CLASSIFICATION], "neg_log_loss", ROC_AUC_NAME),
    REGRESSION: DEFAULT_METRICS[REGRESSION],
}

# names by which papers shorten metrics, in the tables that are added to a comparison
SHORT_NAMES = {
    "acc": ("clustering_accuracy", "accuracy"),
    "ami": ("adjusted_mutual_info",),
    "ari": ("adjusted_rand",),
    "bacc": ("balanced_accuracy",),
    "f1": ("f1_macro",),
    "mae": ("neg_mean_absolute_error",),
    "nmi": ("normalized_mutual_info",),
    "rmse": ("neg_root_mean_squared_error",),
}
NEGATED = "neg_"  # prefix of scikit-learn's scorers of which the loss is the negative


def is_negated_loss(metric: str) -> bool:
    """Return whether a metric is the negative of a loss, by scikit-learn's name."""
    return metric.startswith(NEGATED) and metric in get_scorer_names()


def resolve_scores(metrics: MetricsLike | None, task: str) -> dict[str, Score]:
    """Make functions of (X, y, labels or predictor) from names or functions."""
    if metrics is None:
        metrics = DEFAULT_METRICS[task]
    if not isinstance(metrics, str | Sequence | Mapping | Set) or issparse(metrics):
        raise TypeError(
            f"metrics is a {type(metrics).__name__}; give names, or a dict of "
            f"functions of {_arguments(task)} by name"
        )
    if isinstance(metrics, Mapping):
        scores = {name: _score_of(name, s, task) for name, s in metrics.items()}
    else:
        names = [metrics] if isinstance(metrics, str) else metrics
        by_name = _clustering_score if task == CLUSTERING else _predictor_score
        scores = {_checked_name(name): by_name(name, task) for name in names}
    if not scores:
        raise ValueError("metrics is empty; give at least one")
    return encodable_keys(scores)


def _arguments(task: str) -> str:
    return "(labels_true, labels_pred)" if task == CLUSTERING else "(y_true, y_pred)"


def _score_of(name: str, score: Any, task: str) -> Score:
    if not callable(score):
        raise TypeError(
            f"metrics: {name!r} is a {type(score).__name__}; give a function of "
            f"{_arguments(task)}"
        )
    if task == CLUSTERING:
        return partial(_score_with_classes, score)
    if isinstance(score, type(get_scorer("accuracy"))):  # as make_scorer returns
        return partial(_apply_scorer, score)
    return partial(_score_predictions, score)


def _checked_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(
            f"metrics: {short_repr(name)} is not a name; give functions in a dict"
        )
    return name


def _clustering_score(name: str, task: str) -> Score:
    plain = name.removesuffix("_score")  # names of scikit-learn's scorers lack it
    if plain == SILHOUETTE_NAME:
        return _score_silhouette
    if plain not in SCORES_WITH_CLASSES:
        raise ValueError(
            f"metrics: there is no metric {name!r}; there are "
            f"{list(METRIC_NAMES[task])}. "
            "Give others as a dict of functions of (labels_true, labels_pred)"
        )
    return partial(_score_with_classes, SCORES_WITH_CLASSES[plain])


def _predictor_score(name: str, task: str) -> Score:
    if task == CLASSIFICATION and name == ROC_AUC_NAME:
        return _score_roc_auc
    names = get_scorer_names()
    if name in names:
        return partial(_apply_scorer, get_scorer(name))
    remedy = f"; give {NEGATED + name!r}" if NEGATED + name in names else ""
    raise ValueError(
        f"metrics: there is no metric {name!r} for {task}{remedy}; there are "
        f"{list(METRIC_NAMES[task])}, and others of "
        "sklearn.metrics.get_scorer_names(). Give your own as a dict of functions of "
        "(y_true, y_pred)"
    )


def _score_with_classes(
    score: Callable[..., Any], X: Modalities, y: np.ndarray, labels: np.ndarray
) -> Any:
    return score(y, labels)


def _score_silhouette(X: Modalities, y: np.ndarray, labels: np.ndarray) -> float:
    return modality_silhouette_score(X, labels)


def _apply_scorer(
    scorer: Callable[..., Any], X: Modalities, y: np.ndarray, predictor: BaseEstimator
) -> Any:
    return scorer(predictor, X, y)


def _score_predictions(
    score: Callable[..., Any], X: Modalities, y: np.ndarray, predictor: BaseEstimator
) -> Any:
    return score(y, predictor.predict(X))


def _score_roc_auc(X: Modalities, y: np.ndarray, predictor: BaseEstimator) -> Any:
    """Compute the area under the ROC curve, of each class against the others."""
    name = ROC_AUC_NAME if len(predictor.classes_) <= 2 else f"{ROC_AUC_NAME}_ovr"
    return get_scorer(name)(predictor, X, y)
