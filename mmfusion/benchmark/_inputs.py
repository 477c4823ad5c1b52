"""Methods and data sets in every form in which `compare` takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch, check_consistent_length

from mmfusion._options import errors_about
from mmfusion._row_labels import check_row_labels, short_repr
from mmfusion._text import encodable_keys
from mmfusion._validation import as_modalities
from mmfusion.benchmark._baselines import baselines
from mmfusion.benchmark._cells import Dataset
from mmfusion.benchmark._presets import Preset
from mmfusion.benchmark._registry import BASELINES, load_dataset, make_method
from mmfusion.benchmark._tasks import (
    CLUSTERING,
    as_target,
    check_task,
    common_task,
    task_of,
)
from mmfusion.modalities import Modalities

Methods = Mapping[str, BaseEstimator]
MethodLike: TypeAlias = str | BaseEstimator
MethodsFunction: TypeAlias = Callable[[Modalities], Methods]
MethodsLike: TypeAlias = (
    MethodLike
    | Mapping[str, MethodLike]
    | Iterable[MethodLike | MethodsFunction]
    | MethodsFunction
    | Preset
)
DatasetLike = str | PathLike[str] | tuple[Any, Any] | Mapping[str, Any]
DatasetsLike = DatasetLike | Mapping[str, DatasetLike] | Iterable[str | PathLike[str]]

BUNCH_KEYS = {"data", "target"}
ONE_DATASET = "data"  # name of a data set that is given without one
PAIR_OR_BUNCH = "a pair (X, y), or a Bunch with data and target"


def read_inputs(
    methods: MethodsLike, datasets: DatasetsLike, task: str | None
) -> list[tuple[Dataset, Methods]]:
    """Read methods and data sets, and decide on the task.

    Parameters
    ----------
    methods : str, estimator, dict, list, callable or Preset
        The methods, as `compare` takes them.
    datasets : str, path, pair, Bunch, dict or list
        The data sets, as `compare` takes them.
    task : str or None
        The task, that of the methods for None.

    Returns
    -------
    list of (Dataset, dict of str to estimator)
        Every data set with its methods.
    """
    if task is not None:
        check_task(task)
    make_methods = _methods_factory(methods, task)
    pairs = encodable_keys(_named_pairs(datasets))
    if not pairs:
        raise ValueError("there is nothing to compare: datasets has no data sets")
    frames = {name: _as_frame(name, X) for name, (X, _) in pairs.items()}
    by_dataset = [make_methods(name, frame) for name, frame in frames.items()]
    found = common_task(by_dataset)
    if task is not None and found != task:
        raise ValueError(
            f"task={task!r}, and the methods are for {found}; leave it out"
        )
    sets = [
        _make_dataset(name, frames[name], y, found) for name, (_, y) in pairs.items()
    ]
    return list(zip(sets, by_dataset, strict=True))


def _methods_factory(
    methods: MethodsLike, task: str | None
) -> Callable[[str, Modalities], Methods]:
    """Return a function of the name and X of a data set that makes its methods."""
    items = _method_items(methods)
    if task is None:
        given = [
            task_of(name, item)
            for name, item in items
            if not (isinstance(item, str) or _is_function(item))
        ]
        task = given[0] if given else CLUSTERING
    # before the first data set is loaded, so that wrong names are refused at once
    made = {
        name: make_method(item, task) if isinstance(item, str) else item
        for name, item in items
        if not (_is_function(item) or (isinstance(item, str) and item == BASELINES))
    }

    def make(dataset: str, X: Modalities) -> Methods:
        chosen: dict[str, BaseEstimator] = {}
        for name, item in items:
            if name in made:
                chosen[name] = made[name]
            elif isinstance(item, str):
                chosen |= baselines(X, task)
            else:
                chosen |= _call_for(item, dataset, X)
        return encodable_keys(chosen)

    return make


def _is_function(item: object) -> bool:
    return callable(item) and not hasattr(item, "get_params")


def _call_for(
    function: Callable[[Modalities], Any], dataset: str, X: Modalities
) -> Methods:
    with errors_about("methods"):
        made = function(X)
    if not isinstance(made, Mapping):
        raise TypeError(
            f"methods returned a {type(made).__name__} for data set {dataset!r}; a "
            "function of X returns a dict of estimators"
        )
    return made


def _method_items(methods: Any) -> list[tuple[str, Any]]:
    """Return names and methods of any form, functions of X included."""
    if isinstance(methods, Preset):
        return methods._items()
    if isinstance(methods, Mapping) and not issparse(methods):
        return list(methods.items())
    if isinstance(methods, type):
        raise TypeError(
            f"methods is the class {methods.__name__}; give an instance, such as "
            f"{methods.__name__}()"
        )
    if isinstance(methods, str) or callable(methods) or hasattr(methods, "get_params"):
        methods = [methods]
    if not isinstance(methods, list | tuple):
        raise TypeError(
            f"methods is a {type(methods).__name__}; give names, estimators, a list of "
            "these, or a dict such as {'my method': estimator}"
        )
    for item in methods:
        if not (isinstance(item, str) or callable(item) or hasattr(item, "get_params")):
            raise TypeError(
                f"methods: {short_repr(item)} is neither a name nor an estimator; "
                "mmfusion.benchmark.methods() lists the names; give own names by one "
                "dict of all methods"
            )
    return list(zip(_names(methods), methods, strict=True))


def _names(methods: Iterable[Any]) -> list[str]:
    """Name methods of a list: estimators by their class, by their repr if it recurs."""
    short = [_short_name(item) for item in methods]
    counts = Counter(short)
    names = [
        name if counts[name] == 1 or isinstance(item, str) else _one_line_repr(item)
        for name, item in zip(short, methods, strict=True)
    ]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(
            f"methods: {twice[0]!r} is there twice; leave one out, or give a dict with "
            "a name for each"
        )
    return names


def _short_name(item: Any) -> str:
    if isinstance(item, str):
        return item
    return str(getattr(item, "__name__", type(item).__name__))


def _one_line_repr(item: object) -> str:
    return " ".join(repr(item).split())


def _named_pairs(datasets: Any) -> dict[str, tuple[Any, Any]]:
    """Return the data sets of any form as pairs (X, y) by name."""
    if isinstance(datasets, Mapping) and not issparse(datasets):
        if isinstance(datasets, Bunch) and datasets.keys() >= BUNCH_KEYS:
            return {ONE_DATASET: _as_pair(ONE_DATASET, datasets)}
        return {name: _as_pair(name, data) for name, data in datasets.items()}
    if isinstance(datasets, str | PathLike):
        datasets = [datasets]
    if not isinstance(datasets, list | tuple):
        raise TypeError(
            f"datasets is a {type(datasets).__name__}; give names, paths, "
            f"{PAIR_OR_BUNCH}, or a dict such as {{'my data': (X, y)}}"
        )
    if all(isinstance(given, str | PathLike) for given in datasets):
        return _load_all(datasets)
    if isinstance(datasets, tuple) and len(datasets) == 2:
        return {ONE_DATASET: _as_pair(ONE_DATASET, datasets)}
    raise TypeError(
        "datasets is a list that holds data without names; give a dict such as "
        "{'my data': (X, y), ...}"
    )


def _load_all(given: Iterable[str | PathLike[str]]) -> dict[str, tuple[Any, Any]]:
    loaded: dict[str, tuple[Any, Any]] = {}
    for item in given:
        name, data = load_dataset(item if isinstance(item, str) else Path(fspath(item)))
        if name in loaded:
            raise ValueError(f"two data sets are called {name!r}; rename a file")
        loaded[name] = _as_pair(name, data)
    return loaded


def _as_pair(name: str, data: Any) -> tuple[Any, Any]:
    if isinstance(data, str | PathLike):
        data = load_dataset(data if isinstance(data, str) else Path(fspath(data)))[1]
    # a sparse DOK array is a dict
    if isinstance(data, Mapping) and not issparse(data) and data.keys() >= BUNCH_KEYS:
        data = data["data"], data["target"]
    if not (isinstance(data, tuple) and len(data) == 2):
        raise ValueError(
            f"datasets: {name!r} is a {type(data).__name__}; give {PAIR_OR_BUNCH}, a "
            "name or a path"
        )
    if data[1] is None:
        raise ValueError(
            f"data set {name!r} has no classes to score against; give (X, y), of a "
            "file by load_file(path, target=...), or --target on the command line"
        )
    return data


def _as_frame(name: str, X: Any) -> Modalities:
    try:
        return as_modalities(X)
    except (TypeError, ValueError) as error:
        raise ValueError(f"data set {name!r}: {error}") from error


def _make_dataset(name: str, frame: Modalities, y: ArrayLike, task: str) -> Dataset:
    try:
        check_row_labels(frame._index, y, "y")
        target = as_target(y, task)
        check_consistent_length(frame, target)
    except (TypeError, ValueError) as error:
        raise ValueError(f"data set {name!r}: {error}") from error
    return Dataset(name, frame, target, task)
