"""One cell of a comparison: one method on one data set with one seed, or one fold."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import joblib
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from mmfusion import _blocks
from mmfusion._text import encodable
from mmfusion.benchmark._predictions import predict_responses, stored_predictor
from mmfusion.benchmark._tasks import CLUSTERING, REGRESSION
from mmfusion.benchmark._watch import Watch
from mmfusion.fusion._nested_estimators import seeded
from mmfusion.modalities import Modalities

# of X, classes or values, and either labels or a predictor
Score = Callable[[Modalities, np.ndarray, Any], float]


class Split(NamedTuple):
    """Positions of training and test samples, or of a subsample and the rest."""

    number: int  # equal for equal positions, whatever the repeat
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, eq=False)
class Dataset:
    """Data set: modalities, and the classes or values of its samples."""

    name: str
    X: Modalities
    y: np.ndarray
    task: str = CLUSTERING

    @property
    def n_classes(self) -> int:
        """Return the number of classes."""
        return len(np.unique(self.y))

    def describe(self) -> str:
        """Return the size in one line."""
        parts = [f"{len(self.y)} samples"]
        if self.task != REGRESSION:
            parts.append(f"{self.n_classes} classes")
        parts += [
            f"{name} {_blocks.shape_name(block)}"
            for name, block in self.X.to_dict().items()
        ]
        missing = int((~self.X.observed).sum())
        return ", ".join([*parts, f"{missing} cells missing"] if missing else parts)

    def __sizeof__(self) -> int:
        # dask sends objects that it takes for small along with every cell
        return sum(getattr(block, "nbytes", 2**20) for block in self.X.blocks)


def run_cell(
    dataset: Dataset,
    estimator: BaseEstimator,
    seed: int,
    split: Split | None,
    outcome: dict[str, Any] | None,
    scores: Mapping[str, Score],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fit a method, unless its outcome is given, and score its labels or predictions.

    Parameters
    ----------
    dataset : Dataset
        The data.
    estimator : estimator
        The unfitted method.
    seed : int
        Seed of the estimator, and of the order of samples of a clustering.
    split : Split or None
        Training and test samples of a predictor; of a clusterer the samples to
        cluster, and those left out. None for a clusterer of all samples.
    outcome : dict or None
        Outcome of an earlier run.
    scores : dict of str to callable
        Functions of (X, y, labels or predictor).

    Returns
    -------
    outcome : dict
        Values of JSON types: ``labels`` (None if it failed), ``responses`` (of a
        predictor), ``error``, ``traceback``, ``fit_seconds``, ``cpu_seconds``,
        ``peak_memory_mb``, ``warnings``.
    scored : dict
        ``scores`` by name (those that could be computed), ``errors``, ``warnings``.
    """
    # an estimator runs in parallel by its own n_jobs, not by that of the cells
    with joblib.parallel_config(backend="threading", n_jobs=1):
        if outcome is None:
            outcome = _fit(dataset, estimator, seed, split)
        return outcome, _score(dataset, split, outcome, scores)


def _fit(
    dataset: Dataset, estimator: BaseEstimator, seed: int, split: Split | None
) -> dict[str, Any]:
    labels, responses, error, where = None, None, None, None
    with Watch() as watch:
        try:
            if dataset.task == CLUSTERING:
                labels = _fit_clusterer(watch, dataset, estimator, seed, split)
            elif split is not None:
                responses = _fit_predictor(watch, dataset, estimator, seed, split)
        except (Exception, SystemExit) as exception:
            error = describe_error(exception)
            where = encodable(traceback.format_exc())
    return {
        "labels": labels,
        "responses": responses,
        "error": error,
        "traceback": where,
        "fit_seconds": watch.seconds,
        "cpu_seconds": None if error is not None else watch.cpu_seconds,
        "peak_memory_mb": None if error is not None else watch.peak_memory_mb,
        "warnings": list(map(encodable, watch.warnings)),
    }


def _fit_clusterer(
    watch: Watch,
    dataset: Dataset,
    estimator: BaseEstimator,
    seed: int,
    split: Split | None,
) -> list[int]:
    X, y = _scored_samples(dataset, split)
    model = prepare_clusterer(estimator, len(np.unique(y)), seed)
    # a generator apart: the clusterer draws from one of the same seed
    order = np.random.default_rng(seed).permutation(len(y))
    shuffled = X[order]
    with watch.measured():
        found = model.fit_predict(shuffled)
    labels = np.empty(len(order), dtype=int)
    labels[order] = _check_predicted_labels(found, len(order))
    return labels.tolist()


def _fit_predictor(
    watch: Watch, dataset: Dataset, estimator: BaseEstimator, seed: int, split: Split
) -> dict[str, Any]:
    model = seeded(clone(estimator), seed)
    X_train, y_train = dataset.X[split.train], dataset.y[split.train]
    with watch.measured():
        model.fit(X_train, y_train)
    return predict_responses(model, dataset.X[split.test], len(split.test))


def _scored_samples(
    dataset: Dataset, split: Split | None
) -> tuple[Modalities, np.ndarray]:
    """Return the samples that are clustered or predicted, and their targets."""
    if split is None:
        return dataset.X, dataset.y
    rows = split.train if dataset.task == CLUSTERING else split.test
    return dataset.X[rows], dataset.y[rows]


def describe_error(error: BaseException) -> str:
    """Return the type and the text of an error, if it has one that can be printed."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be printed)"
    return encodable(f"{type(error).__name__}: {text}")


def _score(
    dataset: Dataset,
    split: Split | None,
    outcome: Mapping[str, Any],
    scores: Mapping[str, Score],
) -> dict[str, Any]:
    values: dict[str, float] = {}
    errors: list[str] = []
    X, y = _scored_samples(dataset, split)
    with Watch() as watch:
        for name, score in scores.items() if outcome["error"] is None else ():
            try:
                # copies, since a score may change its arguments in place
                if dataset.task == CLUSTERING:
                    found = score(X, y.copy(), np.array(outcome["labels"]))
                else:
                    found = score(X, y.copy(), stored_predictor(outcome["responses"]))
                values[name] = _finite_score(found)
            except (Exception, SystemExit) as exception:
                errors.append(f"{name}: {describe_error(exception)}")
    texts = list(map(encodable, watch.warnings))
    return {"scores": values, "errors": errors, "warnings": texts}


def _finite_score(value: object) -> float:
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(
            f"the score is a {type(value).__name__}; a metric returns one real number"
        )
    if not np.isfinite(float(value)):
        raise ValueError(f"the score is {value}")
    return float(value)


def _check_predicted_labels(predicted: ArrayLike, n_samples: int) -> np.ndarray:
    labels = np.asarray(predicted)
    if labels.shape != (n_samples,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"fit_predict returned {labels.dtype} of shape {labels.shape}; expected "
            f"one integer for each of the {n_samples} samples"
        )
    return labels


def prepare_clusterer(
    estimator: BaseEstimator, n_classes: int, seed: int
) -> BaseEstimator:
    """Clone a clusterer, seed it, and set its number of clusters where that is open.

    Parameters
    ----------
    estimator : clusterer
        The clusterer, which is not changed.
    n_classes : int
        Value of ``n_clusters``, of the clusterer or of the last step of a pipeline,
        where that is None by default and still is; unless its inner ``clusterer``
        determines the number (it has no such parameter, or is set to None).
    seed : int
        Value of every ``random_state``, nested ones included.

    Returns
    -------
    clusterer
        The unfitted clone.
    """
    model = clone(estimator)
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if _needs_n_clusters(last):
        last.set_params(n_clusters=n_classes)
    return seeded(model, seed)


def _needs_n_clusters(estimator: BaseEstimator) -> bool:
    params = estimator.get_params(deep=False)
    signature = inspect.signature(type(estimator)).parameters
    if "n_clusters" not in params or params["n_clusters"] is not None:
        return False
    inner = params.get("clusterer")
    templates = inner.values() if isinstance(inner, Mapping) else [inner]
    return signature["n_clusters"].default is None and all(
        template is None or _has_n_clusters(template) for template in templates
    )


def _has_n_clusters(clusterer: BaseEstimator) -> bool:
    params = clusterer.get_params(deep=False)
    names = [name for name in ("n_clusters", "n_components") if name in params]
    if not names:
        return False
    default = inspect.signature(type(clusterer)).parameters[names[0]].default
    # None is a choice of AgglomerativeClustering, and open in clusterers of mmfusion
    return params[names[0]] is not None or default is None
