"""One cell of a comparison: one method on one data set with one seed."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from typing import Any

import joblib
import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from mmfusion import _blocks
from mmfusion.benchmark._watch import Watch
from mmfusion.fusion._nested_estimators import seeded
from mmfusion.modalities import Modalities

Score = Callable[[Modalities, np.ndarray, np.ndarray], float]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Data, and the classes that they are scored against."""

    name: str
    X: Modalities
    y: np.ndarray

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(np.unique(self.y))

    def describe(self) -> str:
        """Tell the size in one line."""
        parts = [f"{len(self.y)} samples", f"{self.n_classes} classes"]
        parts += [
            f"{name} {_blocks.shape_name(block)}"
            for name, block in self.X.to_dict().items()
        ]
        missing = int((~self.X.observed).sum())
        return ", ".join([*parts, f"{missing} cells missing"] if missing else parts)

    def __sizeof__(self) -> int:
        # what dask takes for small it sends along with every cell
        return sum(getattr(block, "nbytes", 2**20) for block in self.X.blocks)


def run_cell(
    dataset: Dataset,
    estimator: Any,
    seed: int,
    outcome: dict[str, Any] | None,
    scores: Mapping[str, Score],
    trace: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fit, unless there is an outcome already, and score.

    Parameters
    ----------
    dataset : Dataset
        The data.
    estimator : clusterer
        Unfitted.
    seed : int
        Orders the samples and seeds the clusterer.
    outcome : dict or None
        That of an earlier run.
    scores : dict of str to callable
        Functions of (X, labels_true, labels_pred).
    trace : bool
        Whether to trace memory.

    Returns
    -------
    outcome : dict
        Of JSON types: ``labels`` (None if it failed), ``error``, ``traceback``,
        ``fit_seconds``, ``peak_memory_mb``, ``warnings``.
    scored : dict
        ``scores`` by name (those that could be computed), ``errors``, ``warnings``.
    """
    # estimators parallelise if they are told to, not because the cells do
    with joblib.parallel_config(backend="threading", n_jobs=1):
        if outcome is None:
            outcome = _fit(dataset, estimator, seed, trace)
        return outcome, _score(dataset, outcome["labels"], scores)


def _fit(dataset: Dataset, estimator: Any, seed: int, trace: bool) -> dict[str, Any]:
    labels, error, where = None, None, None
    peak = None
    with Watch(trace=False) as watch:
        try:
            model = prepare(estimator, dataset.n_classes, seed)
            # not the generator that the clusterer draws from
            order = np.random.default_rng(seed).permutation(len(dataset.y))
            shuffled = dataset.X[order]
            with watch.measured():
                found = model.fit_predict(shuffled)
            labels = np.empty(len(order), dtype=int)
            labels[order] = _checked_labels(found, len(order))
        except (Exception, SystemExit) as exception:
            labels, error = None, describe_error(exception)
            where = _encodable(traceback.format_exc())
    if trace and error is None:
        # a fit of its own, since tracing slows down estimators that loop in Python
        with Watch(trace=True) as tracing, suppress(Exception, SystemExit):
            again = prepare(estimator, dataset.n_classes, seed)
            with tracing.measured():
                again.fit_predict(shuffled)
            peak = tracing.peak_memory_mb
    return {
        "labels": None if labels is None else labels.tolist(),
        "error": error,
        "traceback": where,
        "fit_seconds": watch.seconds,
        "peak_memory_mb": peak,
        "warnings": list(map(_encodable, watch.warnings)),
    }


def describe_error(error: BaseException) -> str:
    """Return type and text of an error; not every one can be printed."""
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be printed)"
    return _encodable(f"{type(error).__name__}: {text}")


def _encodable(text: str) -> str:
    """Write what cannot be encoded, as in names of foreign files, by its code."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _score(
    dataset: Dataset, labels: list[int] | None, scores: Mapping[str, Score]
) -> dict[str, Any]:
    values: dict[str, float] = {}
    errors: list[str] = []
    with Watch(trace=False) as watch:
        for name, score in scores.items() if labels is not None else ():
            try:
                # copies, since a score may sort in place what others are to get
                found = score(dataset.X, dataset.y.copy(), np.array(labels))
                values[name] = _checked_score(found)
            except (Exception, SystemExit) as exception:
                errors.append(f"{name}: {describe_error(exception)}")
    texts = list(map(_encodable, watch.warnings))
    return {"scores": values, "errors": errors, "warnings": texts}


def _checked_score(value: Any) -> float:
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(
            f"the score is a {type(value).__name__}; a metric returns one real number"
        )
    if not np.isfinite(float(value)):
        raise ValueError(f"the score is {value}")
    return float(value)


def _checked_labels(labels: Any, n_samples: int) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (n_samples,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"fit_predict gave {labels.dtype} of shape {labels.shape}; expected one "
            f"integer for each of the {n_samples} samples"
        )
    return labels


def prepare(estimator: Any, n_classes: int, seed: int) -> Any:
    """Clone a clusterer, seed it, and tell it the number of classes if it asks.

    Parameters
    ----------
    estimator : clusterer
        It is not changed.
    n_classes : int
        For ``n_clusters``, of the clusterer or of the last step of a pipeline, where
        that is None and None is its default; unless its own ``clusterer`` decides
        on the number (it has no such parameter, or is set to None).
    seed : int
        For every ``random_state``, nested ones included.

    Returns
    -------
    clusterer
        Unfitted.
    """
    model = clone(estimator)
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if _asks_for_number(last):
        last.set_params(n_clusters=n_classes)
    return seeded(model, seed)


def _asks_for_number(estimator: Any) -> bool:
    params = estimator.get_params(deep=False)
    signature = inspect.signature(type(estimator)).parameters
    if "n_clusters" not in params or params["n_clusters"] is not None:
        return False
    inner = params.get("clusterer")
    templates = inner.values() if isinstance(inner, Mapping) else [inner]
    return signature["n_clusters"].default is None and all(
        template is None or _has_number(template) for template in templates
    )


def _has_number(clusterer: Any) -> bool:
    params = clusterer.get_params(deep=False)
    names = [name for name in ("n_clusters", "n_components") if name in params]
    return bool(names) and params[names[0]] is not None
